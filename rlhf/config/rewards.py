"""`reward:` has one shape per kind. REWARD_KINDS maps the kind to its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlhf.config.score_rewards import SCORE_KINDS
from rlhf.config.verifiers import VERIFIER_KINDS
from rlhf.errors import ConfigError


@dataclass(frozen=True)
class LearnedRewardConfig:
    """A reward model: a run directory, a local folder or a hub name, with one output label."""

    kind: str
    model: str | None

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError(
                "the learned reward has no model: give a run directory of stage=reward, a model folder or a hub name "
                "(reward.model=outputs/reward/...), or choose another reward (reward=gold)"
            )


@dataclass(frozen=True)
class NoRewardConfig:
    """No reward: for stages that can measure one and need none."""

    kind: str


@dataclass(frozen=True)
class GoldRewardConfig:
    """The rule that labelled the bundled dataset."""

    kind: str


@dataclass(frozen=True)
class FunctionRewardConfig:
    """A Python function, `module:function`, called with the prompts and answers of a step."""

    kind: str
    function: str | None
    arguments: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.function or ":" not in self.function:
            raise ConfigError(f"reward.function must be written module:function; got {self.function!r}")


@dataclass(frozen=True)
class WeightedComponent:
    """One term of a weighted reward, opened: its weight and the reward section that computes it."""

    weight: float
    reward: Any


@dataclass(frozen=True)
class WeightedRewardConfig:
    """A weighted sum of other rewards.

    `components` maps a name to {weight, kind, ...fields of that kind} in YAML, to a WeightedComponent behind the door.
    """

    kind: str
    components: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.components:
            raise ConfigError("reward.components is empty: a weighted reward needs at least one component")


def learned_model(reward: Any) -> str | None:
    """The model of a learned reward, or of the one learned part of a weighted reward; None where there is none, or
    several. A generative reward writes its scores: it has no score head that a critic could start from."""
    if isinstance(reward, LearnedRewardConfig):
        return reward.model
    if isinstance(reward, WeightedRewardConfig):
        found = [m for part in reward.components.values() if (m := learned_model(part.reward)) is not None]
        return found[0] if len(found) == 1 else None
    return None


REWARD_KINDS = {
    "learned": LearnedRewardConfig,
    "gold": GoldRewardConfig,
    "function": FunctionRewardConfig,
    "weighted": WeightedRewardConfig,
    **VERIFIER_KINDS,
    **SCORE_KINDS,
}
