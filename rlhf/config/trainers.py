"""`trainer:` of each stage. Fields have no defaults: values and their meaning stand in conf/stage/<stage>.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.config.checks import above, at_least, one_of, within


@dataclass(frozen=True)
class OptimizationConfig:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) and its schedule: the fields that every trainer has."""

    learning_rate: float
    lr_schedule: str
    warmup_steps: int
    weight_decay: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    max_grad_norm: float

    def __post_init__(self) -> None:
        at_least("trainer.learning_rate", self.learning_rate, 0)
        one_of("trainer.lr_schedule", self.lr_schedule, ("constant", "linear", "cosine"))
        at_least("trainer.warmup_steps", self.warmup_steps, 0)
        at_least("trainer.weight_decay", self.weight_decay, 0)
        within("trainer.adam_beta1", self.adam_beta1, 0, 1)
        within("trainer.adam_beta2", self.adam_beta2, 0, 1)
        above("trainer.adam_epsilon", self.adam_epsilon, 0)
        above("trainer.max_grad_norm", self.max_grad_norm, 0)


@dataclass(frozen=True)
class EpochConfig(OptimizationConfig):
    """Trainers that walk through a dataset: by passes, or by steps where num_steps is set."""

    batch_size: int
    num_epochs: float
    num_steps: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("trainer.batch_size", self.batch_size, 1)
        above("trainer.num_epochs", self.num_epochs, 0)
        if self.num_steps is not None:
            at_least("trainer.num_steps", self.num_steps, 1)


@dataclass(frozen=True)
class GivenAnswersConfig(EpochConfig):
    """Trainers of a policy that learn from answers of a dataset, and sample some at evaluations to be measured."""

    sample_prompts: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("trainer.sample_prompts", self.sample_prompts, 0, "0 samples nothing")

    @property
    def needs_reference(self) -> bool:
        """Whether a reference model is held beside the policy while it trains."""
        return self.sample_prompts > 0


@dataclass(frozen=True)
class SFTTrainerConfig(GivenAnswersConfig):
    """conf/stage/sft.yaml."""

    loss_on: str

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("trainer.loss_on", self.loss_on, ("answer", "assistant_turns"))


@dataclass(frozen=True)
class RewardTrainerConfig(EpochConfig):
    """conf/stage/reward.yaml."""

    use_margin: bool
    label_smoothing: float
    centering_coef: float

    def __post_init__(self) -> None:
        super().__post_init__()
        within("trainer.label_smoothing", self.label_smoothing, 0, 0.5)
        at_least("trainer.centering_coef", self.centering_coef, 0)
