"""One job looked at without running it: its data, arithmetic, memory and samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rlhf.config.resume import check_unchanged
from rlhf.config.rewards import learned_model
from rlhf.config.run import GIVEN_ANSWERS, ROUNDS, RunConfig
from rlhf.config.score_rewards import GenerativeRewardConfig
from rlhf.config.sections import ModelConfig
from rlhf.data.loading import load_demonstrations, load_pairs, load_prompts
from rlhf.data.rendering import Renderer
from rlhf.data.splits import SPLIT_SEED
from rlhf.dry_run.arithmetic import Arithmetic, count
from rlhf.dry_run.blueprints import (
    NotOnThisMachine,
    critic_blueprint,
    policy_blueprint,
    reward_model_blueprint,
    score_blueprint,
    tokenizer_of,
)
from rlhf.dry_run.machine import answers_at_once
from rlhf.dry_run.memory import Memory, Models, estimate, estimate_copy
from rlhf.dry_run.samples import Sample, samples_of
from rlhf.dry_run.sampling_memory import SamplingSize
from rlhf.dry_run.scoring import as_asked
from rlhf.errors import DataError, ModelError
from rlhf.evaluation.models import labelled_models, reference_of
from rlhf.evaluation.reward_model.written import score_prompt_to_ask
from rlhf.evaluation.score_prompt_of import score_prompt_of
from rlhf.models.architecture import max_positions
from rlhf.models.policies import other_model
from rlhf.rewards.build import build_reward, scoring_of
from rlhf.rewards.verifiers.build import check_prompts
from rlhf.tracking.run_directory import RunDirectory
from rlhf.types import TokenGroup


@dataclass
class Preview:
    """What a dry run knows of one job. Parts that would need a download are None, and `missing` says why."""

    config: RunConfig
    job: str = ""  # what tells it apart from the other jobs of a sweep
    data: list[str] = field(default_factory=list)
    arithmetic: Arithmetic | None = None
    memory: Memory | None = None
    copy_memory: Memory | None = None  # of the device on which a copy of the policy samples, where it is another
    samples: list[Sample] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Data:
    """Tokens and counts of one dataset."""

    train: Sequence[TokenGroup]  # empty for stage=eval
    held_out: Sequence[TokenGroup]
    lines: list[str]


class Previewer:
    """Looks at jobs; what jobs share (a tokenizer, a dataset) is read once."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}

    def look(self, config: RunConfig, job: str = "") -> Preview:
        """Everything about one job of a stage other than report. Raises RlhfError as the run itself would."""
        if config.resume:
            stored = RunDirectory(config.resume).read_config()
            check_unchanged(stored, config.plain, allow=config.resume_changed == "allow")
        preview = Preview(config, job)
        config = as_asked(config)
        tokenizer = self._or_missing(preview, lambda: self._tokenizer(config))
        data = tokenizer and self._or_missing(preview, lambda: self._data(config, tokenizer))
        models = self._or_missing(preview, lambda: _models(config))
        if data:
            preview.data = data.lines
            preview.arithmetic = count(config, data.train) if config.stage != "eval" else None
            shown = preview.arithmetic.first if preview.arithmetic else data.held_out
            new_tokens = config.rollout.max_new_tokens if config.rollout and not _is_reward_suite(config) else 0
            preview.samples = samples_of(_kind(config), shown, tokenizer, new_tokens)
        if data and models:
            sampling = _sampling_size(config, data)
            if sampling is not None:
                _check_context(models.main, sampling)
            preview.memory = estimate(config, models, preview.arithmetic, sampling)
            preview.copy_memory = estimate_copy(config, models, sampling)
        return preview

    def _or_missing(self, preview: Preview, find: Callable[[], Any]) -> Any:
        try:
            return find()
        except NotOnThisMachine as absent:
            if str(absent) not in preview.missing:
                preview.missing.append(str(absent))
            return None

    def _tokenizer(self, config: RunConfig) -> Any:
        model = config.model if config.stage != "eval" else _evaluated(config)[0]
        return self._once(f"tokenizer {model}", lambda: tokenizer_of(model))

    def _data(self, config: RunConfig, tokenizer: Any) -> _Data:
        key = f"data {_kind(config)} {config.stage == 'eval'} {config.model} {config.dataset} {config.evaluation.limit}"
        loss_on = getattr(config.trainer, "loss_on", "answer")
        return self._once(
            f"{key} {loss_on}", lambda: _read(config, Renderer(tokenizer, config.dataset, loss_on=loss_on))
        )

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._seen:
            self._seen[key] = make()
        return self._seen[key]


def _read(config: RunConfig, renderer: Renderer) -> _Data:
    """Both splits as the stage reads them. Raises DataError, and NotOnThisMachine for a dataset of the hub."""
    load = {"sft": load_demonstrations, "reward": load_pairs, "dpo": load_pairs, "grpo": load_prompts}[_kind(config)]
    splits = ("eval",) if config.stage == "eval" else ("train", "eval")
    found: dict[str, Sequence[TokenGroup]] = {"train": ()}
    lines: list[str] = []
    per_unit = config.dataset.per_unit if load is load_prompts else 1
    for split in splits:
        try:
            data = load(config.dataset, split, renderer, seed=SPLIT_SEED)
        except DataError as error:
            if isinstance(error.__cause__, ConnectionError):
                raise NotOnThisMachine(
                    f"{config.dataset.path} is not on this machine; the run would ask the hub for it"
                ) from error
            raise
        if load is load_prompts:
            check_prompts(config.reward, data.examples)
        found[split] = getattr(data, "groups", None) or [TokenGroup(renderer.prompt_ids(p), ()) for p in data.examples]
        lines += data.report.lines()
    return _Data(found["train"], found["eval"][: config.evaluation.limit * per_unit], lines)


def _kind(config: RunConfig) -> str:
    """The training stage whose data and samples this one has."""
    if config.stage == "eval":
        return "reward" if _is_reward_suite(config) else "grpo"
    return "grpo" if config.stage in ROUNDS else config.stage


def _is_reward_suite(config: RunConfig) -> bool:
    return config.stage == "eval" and config.suite == "reward_model"


def _evaluated(config: RunConfig) -> list[ModelConfig]:
    """stage=eval: how each model is loaded."""
    plain = replace(config.model, lora=replace(config.model.lora, enabled=False))
    models = labelled_models(config.models, config.model.path)
    reference_of(models, config.evaluation.reference)
    return [replace(plain, path=path) for path in models.values()]


def _models(config: RunConfig) -> Models:
    """Blueprints of every model of the run."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    if _is_reward_suite(config):
        first, *rest = [_scorer(config, m.path, mode) for m in _evaluated(config)]
        return Models(mode, first, others=rest)
    if config.stage == "reward":
        return Models(mode, score_blueprint(config.model, mode))
    if config.stage in GIVEN_ANSWERS:
        scores = _reward_models(config, mode) if config.reward.kind != "none" else ()
        return Models(mode, policy_blueprint(config.model, mode), reward=scores)
    wanted = _evaluated(config) if config.stage == "eval" else [config.model]
    first, *rest = [policy_blueprint(model, mode) for model in wanted]
    return Models(mode, first, reward=_reward_models(config, mode), others=rest, critic=_critic(config, mode))


def _scorer(config: RunConfig, path: str, mode: FakeTensorMode) -> nn.Module:
    """suite=reward_model: a model with a score head, or a language model that writes its scores."""
    if score_prompt_to_ask(path, config) is None:
        return reward_model_blueprint(path, config.model, mode)
    return policy_blueprint(other_model(config.model, path), mode)


def _critic(config: RunConfig, mode: FakeTensorMode) -> nn.Module | None:
    """stage=ppo: a critic with weights of its own."""
    if config.stage != "ppo" or config.trainer.critic != "separate":
        return None
    start = learned_model(config.reward) if config.trainer.critic_init == "reward_model" else None
    return critic_blueprint(config.model, start, mode)


def _reward_models(config: RunConfig, mode: FakeTensorMode) -> list[nn.Module]:
    """Builds the reward as the run does, with blueprints for its learned parts. Raises RewardError or ModelError."""
    found: list[nn.Module] = []

    def look_at(path: str) -> Any:
        found.append(reward_model_blueprint(path, config.model, mode))
        return found[-1]

    def look_at_policy(generative: GenerativeRewardConfig) -> Any:
        path = str(generative.model)
        score_prompt_of(path, generative.score_prompt, "reward.score_prompt")
        found.append(policy_blueprint(other_model(config.model, path), mode))
        return found[-1]

    build_reward(config.reward, look_at, scoring_of(config, look_at_policy))
    if config.stage == "eval" and config.evaluation.learned_reward:
        look_at(config.evaluation.learned_reward)
    if config.stage == "eval" and config.evaluation.scalar_reward:
        look_at(config.evaluation.scalar_reward)
    return found


def _sampling_size(config: RunConfig, data: _Data) -> SamplingSize | None:
    """The largest decoding batch of training and evaluation; None where nothing is sampled."""
    if config.rollout is None or _is_reward_suite(config):
        return None
    batch_size = answers_at_once(config.hardware)
    if config.stage == "eval":
        each, answers = config.evaluation.samples_per_prompt, len(data.held_out) * config.evaluation.samples_per_prompt
        rows, prompts = min(batch_size, answers), min(batch_size, answers) // each + 1
    elif config.stage in GIVEN_ANSWERS:
        rows = prompts = min(batch_size, config.trainer.sample_prompts, len(data.held_out))  # at evaluations
        if not rows:
            return None
    else:
        trainer = config.trainer
        each = config.evaluation.samples_per_prompt
        held_out = min(batch_size, len(data.held_out) * each)
        rows = max(min(batch_size, trainer.prompts_per_step * trainer.group_size), held_out)
        prompts = max(min(trainer.prompts_per_step, rows // trainer.group_size + 1), -(-held_out // each))
    longest = max(len(group.prompt_ids) for group in (*data.train, *data.held_out))
    return SamplingSize(rows, prompts, longest, config.rollout.max_new_tokens)


def _check_context(model: nn.Module, size: SamplingSize) -> None:
    limit = max_positions(model)
    if limit is not None and size.longest_prompt + size.max_new_tokens > limit:
        raise ModelError(
            f"the longest prompt has {size.longest_prompt} tokens; with {size.max_new_tokens} more "
            f"(rollout.max_new_tokens) it exceeds the model's context of {limit}; lower that or "
            "dataset.max_prompt_tokens"
        )
