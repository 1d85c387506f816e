"""Checks that need more than one section."""

from __future__ import annotations

from rlhf.config.run import RunConfig
from rlhf.errors import ConfigError


def check_across(run: RunConfig) -> None:
    """Refuse sections that contradict each other. Raises ConfigError naming both keys."""
    if run.rollout is not None and run.rollout.engine == "vllm":
        raise ConfigError("rollout.engine=vllm is not available in this version; use rollout=native")
    if run.stage == "grpo" and run.rollout.temperature == 0:
        raise ConfigError("rollout.temperature=0 samples the same answer group_size times; give a value above 0")
    if run.stage == "grpo" and run.model.lora.enabled and run.model.lora.dropout > 0:
        raise ConfigError(
            f"model.lora.dropout={run.model.lora.dropout} makes the policy that learns another than the policy that "
            "sampled; set it to 0 for stage=grpo"
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
