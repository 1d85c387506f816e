"""`trainer:` of stage=ppo: the policy-gradient choices, and a critic's."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.config.checks import above, at_least, one_of, within
from rlhf.config.policy_gradient import PolicyGradientConfig
from rlhf.errors import ConfigError

CRITICS = ("separate", "shared", "lora")
CRITIC_STARTS = ("policy", "reward_model")
REWARD_SCALINGS = ("none", "running_std", "running_mean_std")


@dataclass(frozen=True)
class PPOTrainerConfig(PolicyGradientConfig):
    """conf/stage/ppo.yaml."""

    gamma: float
    gae_lambda: float
    critic: str
    critic_init: str
    critic_learning_rate: float
    critic_warmup_steps: int
    value_clip: float | None
    value_coef: float
    reward_scaling: str
    reward_clip: float | None
    kl_stop: float | None

    def __post_init__(self) -> None:
        super().__post_init__()
        within("trainer.gamma", self.gamma, 0, 1)
        within("trainer.gae_lambda", self.gae_lambda, 0, 1)
        at_least("trainer.critic_learning_rate", self.critic_learning_rate, 0)
        at_least("trainer.value_coef", self.value_coef, 0)
        one_of("trainer.reward_scaling", self.reward_scaling, REWARD_SCALINGS)
        for key in ("value_clip", "reward_clip", "kl_stop"):
            if getattr(self, key) is not None:
                above(f"trainer.{key}", getattr(self, key), 0)
        one_of("trainer.kl_place", self.kl_place, ("reward", "loss"))
        self._check_critic()

    @property
    def no_signal(self) -> str:
        """Groups of equal rewards are kept: they teach the critic."""
        return "keep"

    @property
    def min_reward_spread(self) -> float:
        """Of rlhf.trainers.collection, which counts groups without signal: those of equal rewards."""
        return 0.0

    def _check_critic(self) -> None:
        one_of("trainer.critic", self.critic, CRITICS)
        one_of("trainer.critic_init", self.critic_init, CRITIC_STARTS)
        if self.critic_init == "reward_model" and self.critic != "separate":
            raise ConfigError(
                f"trainer.critic={self.critic} reads the policy's own weights, so it cannot start as the reward model; "
                "use critic=separate, or critic_init=policy"
            )
        at_least("trainer.critic_warmup_steps", self.critic_warmup_steps, 0)
        if self.critic_warmup_steps >= self.num_steps:
            raise ConfigError(
                f"trainer.critic_warmup_steps={self.critic_warmup_steps} leaves the policy no round of "
                f"trainer.num_steps={self.num_steps}; give fewer"
            )
