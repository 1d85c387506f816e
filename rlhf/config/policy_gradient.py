"""`trainer:` of the stages that sample and learn from rewards: what an objective is made of, choice by choice."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.config.checks import above, at_least, one_of, within
from rlhf.config.trainers import OptimizationConfig
from rlhf.errors import ConfigError

BASELINES = ("none", "group_mean", "leave_one_out", "batch_mean")
SCALES = ("none", "group_std", "batch_std")
RATIOS = ("none", "token", "sequence")
SURROGATES = ("clip", "cispo")
AGGREGATIONS = ("token_mean", "sequence_mean", "fixed_length")
KL_ESTIMATORS = ("k1", "k2", "k3")
KL_PLACES = ("loss", "reward", "advantage")
CORRECTIONS = ("none", "token_truncate", "sequence_mask", "icepop")
NO_SIGNAL = ("keep", "drop", "resample")


@dataclass(frozen=True)
class PolicyGradientConfig(OptimizationConfig):
    """What grpo and ppo share. Their meaning, key by key, stands in conf/stage/grpo.yaml."""

    num_steps: int
    prompts_per_step: int
    group_size: int
    epochs_per_batch: int
    minibatches: int
    whiten: bool
    ratio: str
    surrogate: str
    clip_low: float
    clip_high: float
    dual_clip: float | None
    aggregation: str
    fixed_length: int | None
    kl_coef: float
    kl_estimator: str
    kl_place: str
    kl_target: float | None
    kl_horizon: int
    entropy_coef: float
    missing_eos_penalty: float
    mask_truncated: bool
    overlong_buffer: int
    overlong_penalty: float
    importance_correction: str
    importance_low: float
    importance_high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_sizes()
        self._check_ratio()
        self._check_kl()
        one_of("trainer.aggregation", self.aggregation, AGGREGATIONS)
        if self.fixed_length is not None:
            at_least("trainer.fixed_length", self.fixed_length, 1)
        at_least("trainer.missing_eos_penalty", self.missing_eos_penalty, 0)
        at_least("trainer.overlong_buffer", self.overlong_buffer, 0)
        at_least("trainer.overlong_penalty", self.overlong_penalty, 0)
        one_of("trainer.importance_correction", self.importance_correction, CORRECTIONS)
        at_least("trainer.importance_low", self.importance_low, 0)
        above("trainer.importance_high", self.importance_high, self.importance_low)

    @property
    def needs_reference(self) -> bool:
        """Whether a frozen start is held beside the policy."""
        return self.kl_coef > 0

    @property
    def single_update(self) -> bool:
        """Whether a batch is used for one optimiser step alone: its policy is then the one that is being trained."""
        return self.epochs_per_batch * self.minibatches == 1

    def _check_sizes(self) -> None:
        at_least("trainer.num_steps", self.num_steps, 1)
        at_least("trainer.prompts_per_step", self.prompts_per_step, 1)
        at_least("trainer.group_size", self.group_size, 1)
        at_least("trainer.epochs_per_batch", self.epochs_per_batch, 1)
        at_least("trainer.minibatches", self.minibatches, 1)
        if self.prompts_per_step % self.minibatches:
            raise ConfigError(
                f"trainer.minibatches must divide trainer.prompts_per_step={self.prompts_per_step}: "
                f"a group stays whole; got {self.minibatches}"
            )

    def _check_ratio(self) -> None:
        one_of("trainer.ratio", self.ratio, RATIOS)
        one_of("trainer.surrogate", self.surrogate, SURROGATES)
        within("trainer.clip_low", self.clip_low, 0, 1)
        at_least("trainer.clip_high", self.clip_high, 0)
        if self.dual_clip is not None:
            above("trainer.dual_clip", self.dual_clip, 1)
            if self.ratio == "none" or self.surrogate != "clip":
                raise ConfigError(
                    "trainer.dual_clip bounds a clipped ratio: it needs ratio=token|sequence, surrogate=clip"
                )
        if self.surrogate == "cispo" and self.ratio != "token":
            raise ConfigError(
                f"trainer.surrogate=cispo weights tokens by their ratio: it needs ratio=token, not {self.ratio}"
            )
        if self.ratio == "none" and not self.single_update:
            raise ConfigError(
                "trainer.ratio=none is right only for the policy that sampled: it needs epochs_per_batch=1 and "
                "minibatches=1; use ratio=token"
            )

    def _check_kl(self) -> None:
        at_least("trainer.kl_coef", self.kl_coef, 0)
        one_of("trainer.kl_estimator", self.kl_estimator, KL_ESTIMATORS)
        one_of("trainer.kl_place", self.kl_place, KL_PLACES)
        at_least("trainer.kl_horizon", self.kl_horizon, 1)
        if self.kl_target is not None:
            above("trainer.kl_target", self.kl_target, 0)
            if self.kl_coef == 0:
                raise ConfigError("trainer.kl_target adapts trainer.kl_coef, which is 0: give it a start, such as 0.04")
        if self.kl_place == "loss" and self.kl_estimator == "k1" and self.kl_coef > 0:
            raise ConfigError(
                "trainer.kl_estimator=k1 has a gradient of mean zero in the loss, so it would do nothing; use k2 or k3 "
                "there, or kl_place=reward"
            )


@dataclass(frozen=True)
class GRPOTrainerConfig(PolicyGradientConfig):
    """conf/stage/grpo.yaml."""

    baseline: str
    scale: str
    std_ddof: int
    std_epsilon: float
    no_signal: str
    min_reward_spread: float
    max_resamples: int

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("trainer.baseline", self.baseline, BASELINES)
        one_of("trainer.scale", self.scale, SCALES)
        one_of("trainer.std_ddof", self.std_ddof, (0, 1))
        at_least("trainer.std_epsilon", self.std_epsilon, 0)
        one_of("trainer.no_signal", self.no_signal, NO_SIGNAL)
        at_least("trainer.min_reward_spread", self.min_reward_spread, 0)
        if self.min_reward_spread and self.no_signal == "keep":
            raise ConfigError(
                f"trainer.min_reward_spread={self.min_reward_spread:g} says which groups go and trainer.no_signal=keep "
                "keeps all: use no_signal=drop or resample"
            )
        at_least("trainer.max_resamples", self.max_resamples, 1)
        if self.group_size < 2:
            for key, value in (("baseline", self.baseline), ("scale", self.scale), ("no_signal", self.no_signal)):
                if value in ("group_mean", "leave_one_out", "group_std", "drop", "resample"):
                    raise ConfigError(
                        f"trainer.{key}={value} compares the answers to one prompt: trainer.group_size must be at "
                        f"least 2; got {self.group_size}"
                    )
