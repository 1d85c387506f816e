"""Checks that need more than one section."""

from __future__ import annotations

from importlib.util import find_spec

from rlhf.config.pair_checks import check_pairs_together
from rlhf.config.policy_gradient import PolicyGradientConfig
from rlhf.config.rewards import learned_model
from rlhf.config.run import GIVEN_ANSWERS, ROUNDS, RunConfig
from rlhf.config.score_prompts import load_score_prompt
from rlhf.config.score_rewards import check_score_rewards
from rlhf.config.teacher import check_teacher
from rlhf.config.verifiers import check_template
from rlhf.errors import ConfigError

QUANTIZING_STAGES = ("sft", "dpo", "grpo")
"""Stages that train a policy alone: a score head and a critic are made of weights that a 4-bit base does not have."""


READ_BY = {
    "reference": ("policy", "math", "generative_rm"),
    "answers": ("policy", "math", "generative_rm", "score_variance"),
    "learned_reward": ("policy",),
    "safety": ("policy",),
    "score_prompts": ("score_variance",),
    "scalar_reward": ("generative_rm",),
    "log_loss_temperature": ("generative_rm", "reward_model"),
}
"""Keys of stage=eval's `evaluation` that are null or false unless one of these suites is to read them."""

SAMPLING = (*ROUNDS, "selfcheck", "selfcheck/ppo")
"""Stages that learn from sampled answers, and those that take all of their overrides."""


def check_across(run: RunConfig) -> None:
    """Refuse sections that contradict each other. Raises ConfigError naming both keys."""
    if run.model is not None and run.model.lora.quantize != "none":
        _check_quantization(run)
    if run.reward is not None and run.dataset is not None:
        check_template(run.reward, run.dataset.template)
        check_score_rewards(run, learning=run.stage in ROUNDS)
    if run.dataset is not None and run.dataset.score_prompt is not None:
        check_pairs_together(run)
    if run.rollout is not None and run.rollout.vllm is not None:
        _check_vllm(run)
    _check_two_devices(run)
    if run.stage in ROUNDS and run.rollout.temperature == 0:
        raise ConfigError("rollout.temperature=0 samples the same answer group_size times; give a value above 0")
    if run.stage in ("grpo", "ppo") and run.model.lora.enabled and run.model.lora.dropout > 0:
        raise ConfigError(
            f"model.lora.dropout={run.model.lora.dropout} makes the policy that learns another than the policy that "
            f"sampled; set it to 0 for stage={run.stage}"
        )
    if isinstance(run.trainer, PolicyGradientConfig) and run.trainer.overlong_buffer > run.rollout.max_new_tokens:
        raise ConfigError(
            f"trainer.overlong_buffer={run.trainer.overlong_buffer} is longer than rollout.max_new_tokens="
            f"{run.rollout.max_new_tokens}: every answer would lose something; a fifth of it is usual"
        )
    if run.stage == "eval":
        _check_evaluation(run)
    if run.stage == "teacher":
        check_teacher(run)
    if run.stage == "pointwise" and run.dataset.score_prompt is None:
        raise ConfigError("stage=pointwise needs dataset.score_prompt, a name of conf/score_prompt; got null")
    if run.stage == "ppo":
        _check_critic(run)
    if run.stage == "dpo" and run.model.lora.enabled:
        _check_dpo_adapter(run)
    if run.stage in GIVEN_ANSWERS and run.reward.kind != "none" and not run.trainer.sample_prompts:
        raise ConfigError(
            f"reward={run.reward.kind} scores the answers of trainer.sample_prompts, which is 0 for this "
            f"stage={run.stage}: set it to a number of held-out prompts, or use reward=none"
        )
    if run.budget is not None and run.budget.kind == "generated_tokens" and run.stage not in ROUNDS:
        raise ConfigError(
            f"budget.kind=generated_tokens never ends stage={run.stage}, which samples nothing to learn from; use "
            "budget.kind=tokens, which counts generated and trained tokens alike"
        )
    if (
        run.checkpoint is not None
        and run.evaluation is not None
        and run.evaluation.patience
        and not run.checkpoint.select_on
    ):
        raise ConfigError("evaluation.patience needs checkpoint.select_on: the metric that must improve")
    if run.dataset is not None and run.dataset.streaming and run.dataset.limit is None:
        raise ConfigError("dataset.streaming=true needs dataset.limit: how many examples to take from the stream")


def _check_two_devices(run: RunConfig) -> None:
    """What hardware.rollout_device and rollout.ahead need."""
    if run.stage in ROUNDS and run.hardware.rollout_device is not None:
        asked = f"hardware.rollout_device={run.hardware.rollout_device}"
        if run.rollout.engine != "native":
            raise ConfigError(
                f"{asked} is where a copy of the policy samples, and rollout.engine={run.rollout.engine} samples by "
                "itself: set hardware.rollout_device=null, or use rollout=native"
            )
        if run.model.lora.quantize != "none":
            raise ConfigError(
                f"{asked} copies whole weights, which model.lora.quantize={run.model.lora.quantize} does not have: set "
                "one of them off"
            )
    if run.rollout is None or not run.rollout.ahead:
        return
    if run.stage not in SAMPLING:
        raise ConfigError(
            f"rollout.ahead=true is for stage={', '.join(ROUNDS)}, which learn from sampled answers round by round; "
            f"set it to false for stage={run.stage}"
        )
    served = run.rollout.engine == "vllm" and getattr(getattr(run.rollout, "vllm", None), "mode", None) == "server"
    if run.hardware.rollout_device is None and not served:
        raise ConfigError(
            "rollout.ahead=true samples while the policy learns, so it needs a sampler with weights of its own: set "
            "hardware.rollout_device (cuda:1, or cpu), or use rollout=vllm with rollout.vllm.mode=server"
        )
    if isinstance(run.trainer, PolicyGradientConfig) and run.trainer.importance_correction == "none":
        raise ConfigError(
            "rollout.ahead=true learns from answers that are one update old, which trainer.importance_correction=none "
            "takes for the policy's own: set it to token_truncate, sequence_mask or icepop"
        )


def _check_quantization(run: RunConfig) -> None:
    """What model.lora.quantize needs, before anything is loaded."""
    asked = f"model.lora.quantize={run.model.lora.quantize}"
    if run.stage not in QUANTIZING_STAGES:
        raise ConfigError(f"{asked} is there for stage={', '.join(QUANTIZING_STAGES)}; got stage={run.stage}")
    if not run.model.lora.enabled:
        raise ConfigError(f"{asked} freezes the weights it quantises: it needs model.lora.enabled=true")
    if run.model.source == "random":
        raise ConfigError(f"{asked} needs weights to quantise; model.source=random has none")
    if find_spec("bitsandbytes") is None:
        raise ConfigError(f"{asked} needs the package bitsandbytes, which is not installed: pip install bitsandbytes")


def _check_vllm(run: RunConfig) -> None:
    """vLLM where it is to run in this environment; an adapter where one is to be delivered."""
    vllm = run.rollout.vllm
    found = find_spec("vllm") if vllm.url is None and vllm.python is None else None
    if vllm.url is None and vllm.python is None and (found is None or found.origin is None):
        instead = "rollout.vllm.python=<an interpreter that has it> or rollout.vllm.url=<a server>"
        raise ConfigError(
            f"rollout=vllm needs the package vllm, which is not installed: pip install 'rlhf-lab[vllm]', or {instead}"
            if vllm.mode == "server"
            else "rollout.vllm.mode=in_process needs the package vllm, which is not installed in the environment of "
            "this run: pip install 'rlhf-lab[vllm]', or use mode=server"
        )
    if vllm.sync == "adapter" and not (run.model.lora.enabled and run.model.lora.quantize == "none"):
        raise ConfigError(
            "rollout.vllm.sync=adapter delivers the LoRA alone: it needs model.lora.enabled=true and "
            "model.lora.quantize=none; use sync=full, which delivers all weights"
        )
    if vllm.sync == "adapter" and run.stage == "eval":
        raise ConfigError("rollout.vllm.sync=adapter belongs to training; use sync=full for stage=eval")


def _check_critic(run: RunConfig) -> None:
    """What the critic is made of must be there."""
    if run.trainer.critic == "lora" and not run.model.lora.enabled:
        raise ConfigError(
            "trainer.critic=lora is an adapter on the policy's frozen weights, which needs model.lora.enabled=true; "
            "set that, or use critic=separate|shared"
        )
    if run.trainer.critic_init == "reward_model" and learned_model(run.reward) is None:
        raise ConfigError(
            f"trainer.critic_init=reward_model needs one learned reward to start from, and reward={run.reward.kind} "
            "has none or several; use critic_init=policy, or reward=learned"
        )


def _check_evaluation(run: RunConfig) -> None:
    """What a suite does not read is not there for it; two rewards need two names."""
    for key, suites in READ_BY.items():
        if getattr(run.evaluation, key) and run.suite not in suites:
            raise ConfigError(
                f"evaluation.{key} belongs to suite={' and '.join(suites)}; leave it out for suite={run.suite}"
            )
    if run.suite == "math" and run.reward.kind in ("gold", "learned", "generative"):
        raise ConfigError(
            f"suite=math needs a reward that tells right answers from wrong ones, which reward={run.reward.kind} does "
            "not: use reward=math, exact_match, regex, reasoning_gym, or a function with a component `answer`"
        )
    if run.suite in ("generative_rm", "score_variance"):
        _check_score_sampling(run)
    if run.seeds is not None and run.suite != "generative_rm":
        raise ConfigError(f"seeds belongs to suite=generative_rm; leave it out for suite={run.suite}")
    if run.suite != "reward_model" and run.evaluation.scores:
        raise ConfigError(f"evaluation.scores belongs to suite=reward_model; leave it out for suite={run.suite}")
    if run.suite != "policy" and run.judge.kind != "none":
        raise ConfigError(f"a judge compares answers, which suite=policy samples; use judge=none for suite={run.suite}")
    components = getattr(run.reward, "components", {})
    if run.evaluation.learned_reward and "learned" in components:
        raise ConfigError(
            "evaluation.learned_reward would be a second reward/learned beside reward.components.learned: leave one out"
        )


def _check_score_sampling(run: RunConfig) -> None:
    """Score prompts that are there; samples that can differ where several are asked for."""
    asked = run.evaluation.score_prompts
    for name in asked if isinstance(asked, list) else ():
        try:
            load_score_prompt(name)
        except ConfigError as error:
            key = f"dataset.score_prompt={name}"
            raise ConfigError(str(error).replace(key, f"evaluation.score_prompts: {name}")) from error
    if asked is not None and run.dataset.score_prompt is not None:
        raise ConfigError(
            f"dataset.score_prompt={run.dataset.score_prompt} beside evaluation.score_prompts, which names them all: "
            "leave one out"
        )
    samples = run.evaluation.samples_per_prompt
    if run.suite == "score_variance" and samples < 2:
        raise ConfigError(
            f"evaluation.samples_per_prompt={samples} has no variance; suite=score_variance needs 2 or more"
        )
    if run.rollout.temperature == 0 and (samples > 1 or len(run.seeds or ()) > 1):
        why = f"evaluation.samples_per_prompt={samples}" if samples > 1 else f"seeds={run.seeds}"
        raise ConfigError(
            f"rollout.temperature=0 gives the same score every time, and {why} asks for several; use a temperature "
            "above 0, or one sample and one seed"
        )


def _check_dpo_adapter(run: RunConfig) -> None:
    """With an adapter the reference is the model without it: it cannot move, and must be the policy at the start."""
    if run.trainer.sync_every:
        raise ConfigError(
            "trainer.sync_every needs a reference with weights of its own; with model.lora.enabled=true it is the "
            "model without its adapter: set one of them off"
        )
    if run.model.lora.dropout > 0:
        raise ConfigError(
            f"model.lora.dropout={run.model.lora.dropout} makes the policy differ from its reference at random; set it "
            "to 0 for stage=dpo"
        )
