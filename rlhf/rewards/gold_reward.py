"""The gold reward of the bundled dataset, as a reward for training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf.rewards.gold import gold_score
from rlhf.types import RewardScores, Rollout


class GoldReward:
    """Sentiment plus length rule, in [-2, 1]. Components: sentiment, length."""

    def score(self, rollouts: Sequence[Rollout]) -> RewardScores:
        """Scores the text of each answer alone; the prompt does not enter."""
        scores = [gold_score(r.text) for r in rollouts]
        components = {"sentiment": [s.sentiment for s in scores], "length": [s.length for s in scores]}
        return RewardScores([s.total for s in scores], components)
