"""Teachers on this machine: rewards whose scores are mapped to the scale, and chance. Free, and without reasons."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from rlhf.judges.types import Report
from rlhf.rewards.gold_reward import GoldReward
from rlhf.teacher.questions import Question
from rlhf.teacher.types import Plan, Scored
from rlhf.types import Reward, Rollout

GOLD_RANGE = (-2.0, 1.0)
"""What rlhf.rewards.gold.gold_score can give."""

Score = Callable[[Sequence[Question]], np.ndarray]
"""[N] pairs -> [N, 2] whole numbers of the scale, for side 0 and side 1."""


class LocalTeacher:
    """Scores that a function gives."""

    spent_usd = 0.0

    def __init__(self, name: str, score: Score) -> None:
        self.name, self._score = name, score

    def plan(self, questions: Sequence[Question]) -> Plan:
        """No requests."""
        return Plan(len(questions), 0, "no request: it works on this machine")

    def score(self, questions: Sequence[Question], report: Report) -> list[Scored]:
        """One result a pair. Raises what the reward raises."""
        report(f"teacher {self.name}: scoring {len(questions):,} pairs")
        return [Scored((float(first), float(second))) for first, second in self._score(questions)]


def gold_scores(questions: Sequence[Question], levels: range) -> np.ndarray:
    """[N, 2]: the gold reward, GOLD_RANGE being stretched over the scale, at the nearest whole number."""
    low, high = GOLD_RANGE
    shares = (_rewards(GoldReward(), questions) - low) / (high - low)
    return np.rint(levels[0] + shares * (levels[-1] - levels[0]))


def random_scores(questions: Sequence[Question], levels: range, *, seed: int) -> np.ndarray:
    """[N, 2]: uniform over the scale, by the seed, the pair's id and the side; other pairs change nothing."""
    drawn = [[random.Random(f"{seed}/{q.pair_id}/{side}").choice(levels) for side in (0, 1)] for q in questions]
    return np.array(drawn, dtype=float).reshape(len(questions), 2)


def quantile_scores(rewards: np.ndarray, levels: range) -> np.ndarray:
    """Rewards [N, 2] on the scale: K levels, each for an equal share of all 2N answers, by rank.

    The level of x is that of the mid-rank of its ties, floor(K (below(x) + equal(x) / 2) / 2N), so that equal rewards
    get equal scores and a higher reward never a lower score."""
    every = np.sort(rewards.ravel())
    below, up_to = (np.searchsorted(every, rewards, side=side) for side in ("left", "right"))
    return levels[0] + np.floor(len(levels) * (below + up_to) / (2 * len(every)))


def reward_scores(questions: Sequence[Question], levels: range, *, load: Callable[[], Reward]) -> np.ndarray:
    """[N, 2]: quantile_scores of a reward over all of `questions`."""
    return quantile_scores(_rewards(load(), questions), levels)


def _rewards(reward: Reward, questions: Sequence[Question]) -> np.ndarray:
    """[N, 2] the rewards of both sides, each answer taken as whole."""
    rollouts = [
        Rollout(question.prompt, (), (), (), answer, "eos", 0) for question in questions for answer in question.answers
    ]
    return np.array(reward.score(rollouts).total, dtype=float).reshape(len(questions), 2)
