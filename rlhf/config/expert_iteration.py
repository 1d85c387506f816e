"""`trainer:` of stage=expert_iteration. Fields have no defaults: values stand in conf/stage/expert_iteration.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rlhf.config.checks import at_least
from rlhf.config.trainers import OptimizationConfig
from rlhf.errors import ConfigError


@dataclass(frozen=True)
class ExpertIterationConfig(OptimizationConfig):
    """conf/stage/expert_iteration.yaml."""

    num_steps: int
    prompts_per_step: int
    group_size: int
    epochs_per_batch: int
    minibatches: int
    keep_reward: float
    keep_per_prompt: int | None
    keep_truncated: bool

    no_signal: ClassVar[str] = (
        "keep"  # of rlhf.trainers.collection: what is not kept is decided by answer, not by group
    )
    min_reward_spread: ClassVar[float] = 0.0
    max_resamples: ClassVar[int] = 0
    needs_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("num_steps", "prompts_per_step", "group_size", "epochs_per_batch", "minibatches"):
            at_least(f"trainer.{key}", getattr(self, key), 1)
        if self.prompts_per_step % self.minibatches:
            raise ConfigError(
                f"trainer.minibatches={self.minibatches} does not divide trainer.prompts_per_step="
                f"{self.prompts_per_step}"
            )
        if self.keep_per_prompt is not None:
            at_least("trainer.keep_per_prompt", self.keep_per_prompt, 1)
