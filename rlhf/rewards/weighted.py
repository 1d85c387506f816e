"""A weighted sum of rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlhf.types import Reward, RewardScores, Rollout


class WeightedReward:
    """sum of weight * total over the parts. A part of weight 0 is measured and does not enter the total.

    Components: each part's total under the part's name, and its own components as part_component.
    """

    def __init__(self, parts: Mapping[str, tuple[float, Reward]]) -> None:
        self.parts = dict(parts)

    def score(self, rollouts: Sequence[Rollout]) -> RewardScores:
        """Every part scores all rollouts."""
        total = [0.0] * len(rollouts)
        components: dict[str, Sequence[float]] = {}
        for name, (weight, reward) in self.parts.items():
            scores = reward.score(rollouts)
            components[name] = scores.total
            components |= {f"{name}_{inner}": values for inner, values in scores.components.items()}
            if weight:
                total = [t + weight * s for t, s in zip(total, scores.total, strict=True)]
        return RewardScores(total, components)
