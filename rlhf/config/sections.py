"""Sections that stages share. Dataclass fields have no defaults: each value stands in conf/*.yaml, with its meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rlhf.config.checks import above, at_least, one_of, within
from rlhf.config.procedural import GENERATED, check_generated
from rlhf.config.score_prompts import check_score_prompt
from rlhf.config.vllm import VLLMConfig
from rlhf.errors import ConfigError


@dataclass(frozen=True)
class LoraConfig:
    """conf/model/*.yaml, `model.lora`: low-rank adapters (Hu et al., arXiv 2106.09685)."""

    enabled: bool
    rank: int
    alpha: float
    dropout: float
    target_modules: Any  # "all-linear", or a list of module names
    quantize: str

    def __post_init__(self) -> None:
        one_of("model.lora.quantize", self.quantize, ("none", "nf4"))
        at_least("model.lora.rank", self.rank, 1)
        above("model.lora.alpha", self.alpha, 0)
        within("model.lora.dropout", self.dropout, 0, 1)


@dataclass(frozen=True)
class ModelConfig:
    """conf/model/*.yaml: where weights come from and how they are loaded."""

    name: str
    path: str
    source: str
    revision: str | None
    attn_implementation: str
    gradient_checkpointing: bool
    chat_template: str | None
    lora: LoraConfig
    architecture: dict[str, Any] | None

    def __post_init__(self) -> None:
        one_of("model.source", self.source, ("auto", "hub", "bundled", "random"))
        one_of("model.attn_implementation", self.attn_implementation, ("auto", "eager", "sdpa", "flash_attention_2"))
        if self.source == "random" and not self.architecture:
            raise ConfigError("model.source=random needs model.architecture (model_type and its sizes); got none")


@dataclass(frozen=True)
class ColumnsConfig:
    """Names of the columns to read; a name that the data does not have is refused unless it is null."""

    prompt: str | None
    chosen: str | None
    rejected: str | None
    answer: str | None
    margin: str | None
    messages: str | None
    id: str | None
    subset: str | None


@dataclass(frozen=True)
class PairRulesConfig:
    """What happens to examples that cannot teach what they should: keep, drop, or refuse to run."""

    tie: str
    identical_after_truncation: str
    empty_answer: str
    too_short: str
    prefix: str
    prompt_too_long: str

    def __post_init__(self) -> None:
        for key in ("tie", "identical_after_truncation", "empty_answer", "too_short", "prefix"):
            one_of(f"dataset.rules.{key}", getattr(self, key), ("keep", "drop", "error"))
        one_of("dataset.rules.prompt_too_long", self.prompt_too_long, ("truncate", "drop", "error"))


FORMATS = ("auto", "hh_transcripts", "pairs", "prompts", "question_answer", "messages", "math", "summaries")


@dataclass(frozen=True)
class DatasetConfig:
    """conf/dataset/*.yaml: where examples come from, how they are read, rendered, cut and split."""

    name: str
    path: str
    subset: str | None
    train_split: str
    eval_split: str | None
    eval_path: str | None
    eval_fraction: float
    task: str | None  # of a generator (path=reasoning_gym)
    task_options: dict[str, Any] | None  # of a generator
    task_seed: int
    format: str
    columns: ColumnsConfig
    template: str | None  # how a question is put (rlhf.config.templates)
    score_prompt: str | None  # how an answer is scored (rlhf.config.score_prompts)
    render: str
    system_prompt: str | None
    max_prompt_tokens: int
    max_answer_tokens: int
    min_answer_tokens: int
    truncation_side: str
    rules: PairRulesConfig
    limit: int | None
    eval_limit: int | None
    streaming: bool
    shuffle: bool

    def __post_init__(self) -> None:
        one_of("dataset.format", self.format, FORMATS)
        one_of("dataset.render", self.render, ("auto", "chat", "plain", "verbatim"))
        one_of("dataset.truncation_side", self.truncation_side, ("left", "right"))
        within("dataset.eval_fraction", self.eval_fraction, 0, 0.9)
        at_least("dataset.max_prompt_tokens", self.max_prompt_tokens, 1)
        at_least("dataset.max_answer_tokens", self.max_answer_tokens, 1)
        at_least("dataset.min_answer_tokens", self.min_answer_tokens, 0)
        for key in ("limit", "eval_limit"):
            if getattr(self, key) is not None:
                at_least(f"dataset.{key}", getattr(self, key), 1)
        at_least("dataset.task_seed", self.task_seed, 0)
        if self.score_prompt is not None:
            check_score_prompt(self.score_prompt, self.template, self.truncation_side)
        if self.path in GENERATED:
            limits = {"limit": self.limit, "eval_limit": self.eval_limit}
            check_generated(self.path, self.task, self.task_options, limits, self.eval_split is not None)
        elif self.task is not None or self.task_options is not None:
            raise ConfigError(
                f"dataset.task and dataset.task_options belong to dataset.path={' or '.join(GENERATED)}; "
                f"got dataset.path={self.path}"
            )

    @property
    def per_unit(self) -> int:
        """Prompts that stay together: both sides of a pair where dataset.score_prompt asks for a score of each."""
        return 1 if self.score_prompt is None else 2


@dataclass(frozen=True)
class RolloutConfig:
    """conf/rollout/*.yaml: how answers are sampled."""

    engine: str
    max_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    stop: list[str]
    ahead: bool
    vllm: VLLMConfig | None  # of engine=vllm

    def __post_init__(self) -> None:
        one_of("rollout.engine", self.engine, ("native", "vllm"))
        if (self.engine == "vllm") != (self.vllm is not None):
            section = "no section rollout.vllm" if self.vllm is None else "the section rollout.vllm"
            raise ConfigError(f"rollout.engine={self.engine} with {section}: choose by rollout=native or rollout=vllm")
        at_least("rollout.max_new_tokens", self.max_new_tokens, 1)
        at_least("rollout.temperature", self.temperature, 0)
        at_least("rollout.top_k", self.top_k, 0)
        above("rollout.top_p", self.top_p, 0)
        within("rollout.top_p", self.top_p, 0, 1)
        if "" in self.stop:
            raise ConfigError("rollout.stop holds an empty string, which would end every answer at once")


@dataclass(frozen=True)
class HardwareConfig:
    """conf/hardware/*.yaml: speed and memory. Nothing here changes what is computed beyond round-off."""

    name: str
    device: str
    rollout_device: str | None
    precision: str
    matmul_precision: str
    threads: int
    allocator: str
    tokens_per_microbatch: int | str
    rollout_batch_size: int | str

    def __post_init__(self) -> None:
        one_of("hardware.device", self.device, ("auto", "cpu", "cuda"))
        if self.rollout_device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", self.rollout_device):
            raise ConfigError(
                f"hardware.rollout_device must be null, cpu, cuda or cuda:<number>; got {self.rollout_device!r}"
            )
        one_of("hardware.precision", self.precision, ("fp32", "bf16"))
        one_of("hardware.matmul_precision", self.matmul_precision, ("highest", "high", "medium"))
        one_of("hardware.allocator", self.allocator, ("fast", "lean"))
        at_least("hardware.threads", self.threads, 0, "0 takes what the machine has")
        for key in ("tokens_per_microbatch", "rollout_batch_size"):
            value = getattr(self, key)
            if value != "auto":
                if isinstance(value, str):
                    raise ConfigError(f"hardware.{key} must be auto or a number; got {value!r}")
                at_least(f"hardware.{key}", value, 1)


@dataclass(frozen=True)
class TrackingConfig:
    """conf/tracking/*.yaml: where metrics go besides metrics.jsonl, which is always written."""

    console: str
    wandb: bool
    tensorboard: bool
    mode: str
    project: str
    entity: str | None
    group: str | None
    tags: list[str]
    samples_per_step: int

    def __post_init__(self) -> None:
        one_of("tracking.console", self.console, ("rich", "plain", "none"))
        one_of("tracking.mode", self.mode, ("online", "offline"))
        at_least("tracking.samples_per_step", self.samples_per_step, 0)


@dataclass(frozen=True)
class CheckpointConfig:
    """`checkpoint:` of a training stage."""

    every: int
    keep: int
    select_on: str | None
    select_mode: str
    after_training: str

    def __post_init__(self) -> None:
        one_of("checkpoint.after_training", self.after_training, ("keep", "delete"))
        at_least("checkpoint.every", self.every, 0, "0 saves at the end only")
        at_least("checkpoint.keep", self.keep, 1)
        one_of("checkpoint.select_mode", self.select_mode, ("max", "min"))


@dataclass(frozen=True)
class EvaluationConfig:
    """`evaluation:` of a training stage."""

    every: int
    at_start: bool
    limit: int
    patience: int

    def __post_init__(self) -> None:
        at_least("evaluation.every", self.every, 0, "0 evaluates at the end only")
        at_least("evaluation.limit", self.limit, 1)
        at_least("evaluation.patience", self.patience, 0, "0 never stops early")


@dataclass(frozen=True)
class SampledEvaluationConfig(EvaluationConfig):
    """`evaluation:` of a stage that learns from sampled answers."""

    samples_per_prompt: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("evaluation.samples_per_prompt", self.samples_per_prompt, 1)


BUDGET_KINDS = ("generated_tokens", "trained_tokens", "tokens", "seconds", "flops")


@dataclass(frozen=True)
class BudgetConfig:
    """`budget:` of a training stage: what the run may use up before it ends."""

    kind: str | None
    amount: float | None
    evaluations: int

    def __post_init__(self) -> None:
        at_least("budget.evaluations", self.evaluations, 0, "0 leaves evaluations to evaluation.every")
        if self.kind is None:
            if self.amount is not None or self.evaluations:
                key = "budget.amount" if self.amount is not None else "budget.evaluations"
                raise ConfigError(f"{key} needs budget.kind, one of {', '.join(BUDGET_KINDS)}; got null")
            return
        one_of("budget.kind", self.kind, BUDGET_KINDS)
        if self.amount is None:
            raise ConfigError(f"budget.kind={self.kind} needs budget.amount: how much of it the run may use")
        above("budget.amount", self.amount, 0)


@dataclass(frozen=True)
class EvalStageConfig:
    """`evaluation:` of stage=eval: how much is sampled and how it is summed up."""

    limit: int
    samples_per_prompt: int
    bootstrap_resamples: int
    confidence: float
    samples_in_report: int
    reference: str | None  # policy: label of the model that the others are compared with; None: the first
    learned_reward: str | None  # policy: a reward model whose scores stand beside `reward`
    answers: str | None  # policy: an earlier evaluation whose answers are used again
    safety: bool  # policy: also the project's own safety prompts
    safety_limit: int | None
    export: int  # policy: answers a model in samples/
    worst_pairs: int  # reward_model, generative_rm: pairs shown in full
    scores: str | None  # reward_model: an earlier evaluation whose scores are analysed again
    score_prompts: Any  # score_variance: a list of score prompts, all, or None: the one of dataset or of the run
    scalar_reward: str | None  # generative_rm: a scalar reward model in the same table
    log_loss_temperature: float | None  # generative_rm: points a nat; None: a quarter of the scale

    def __post_init__(self) -> None:
        at_least("evaluation.worst_pairs", self.worst_pairs, 0, "0 shows none")
        at_least("evaluation.export", self.export, 0, "0 exports none")
        if self.safety_limit is not None:
            at_least("evaluation.safety_limit", self.safety_limit, 1)
        at_least("evaluation.limit", self.limit, 2, "an interval needs two examples")
        at_least("evaluation.samples_per_prompt", self.samples_per_prompt, 1)
        at_least("evaluation.bootstrap_resamples", self.bootstrap_resamples, 100)
        within("evaluation.confidence", self.confidence, 0.5, 0.999)
        at_least("evaluation.samples_in_report", self.samples_in_report, 0)
        if self.log_loss_temperature is not None:
            above("evaluation.log_loss_temperature", self.log_loss_temperature, 0)
        asked = self.score_prompts
        names = isinstance(asked, list) and asked and all(isinstance(name, str) for name in asked)
        if not (asked is None or asked == "all" or names):
            raise ConfigError(
                f"evaluation.score_prompts must be all, or names such as [score_first_5,concise_5]; got {asked!r}"
            )


@dataclass(frozen=True)
class ExportConfig:
    """`export:` of stage=export: what becomes a plain model folder, and where."""

    run: str
    to: str | None

    def __post_init__(self) -> None:
        if not self.run.strip():
            raise ConfigError("export.run is empty: name a run directory, RUN@step-000100, or a folder with a model")
