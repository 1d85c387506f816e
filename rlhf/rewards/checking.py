"""What every reward must return: one finite number an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlhf.errors import RewardError
from rlhf.types import RewardScores, Rollout


def checked(name: str, scores: RewardScores, rollouts: Sequence[Rollout]) -> RewardScores:
    """`scores` unchanged. Raises RewardError naming the reward, and the first answer whose total is not finite."""
    if len(scores.total) != len(rollouts):
        raise RewardError(f"reward {name} returned {len(scores.total)} totals for {len(rollouts)} answers")
    for component, values in scores.components.items():
        if len(values) != len(rollouts):
            raise RewardError(
                f"reward {name}: component {component} has {len(values)} values for {len(rollouts)} answers"
            )
    for value, rollout in zip(scores.total, rollouts, strict=True):
        if not math.isfinite(value):
            raise RewardError(
                f"reward {name} is {value} for sample {rollout.sample} of prompt {rollout.prompt.id}: "
                f"{rollout.text[:80]!r}"
            )
    return scores
