"""A reward as a judge: the answer with the higher reward wins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from rlhf.judges.types import Comparison, CostEstimate, Report, Verdict
from rlhf.types import Prompt, Reward, Rollout

log = logging.getLogger(__name__)


class RewardJudge:
    """Scores each different answer once. Its verdicts do not depend on the order, and cost nothing.

    load         brings the reward when it is first needed
    tie_margin   a difference up to this is a tie
    """

    def __init__(self, name: str, load: Callable[[], Reward], *, tie_margin: float = 0.0) -> None:
        self.name, self.tie_margin = name, tie_margin
        self._load = load
        self._reward: Reward | None = None

    def estimate(self, comparisons: Sequence[Comparison]) -> CostEstimate:
        """No calls."""
        return CostEstimate(0, 0, 0, 0.0, 0.0, len(comparisons))

    def compare(self, comparisons: Sequence[Comparison], *, report: Report | None = None) -> list[Verdict]:
        """One verdict a comparison. Raises what the reward raises."""
        pairs = [c.rollouts or _rollouts(c) for c in comparisons]
        different = {_identity(r): r for pair in pairs for r in pair}
        if not different:
            return []
        (report or log.info)(f"judge {self.name}: scoring {len(different)} answers")
        self._reward = self._reward or self._load()
        scores = self._reward.score(list(different.values())).total
        score = dict(zip(different, map(float, scores), strict=True))
        return [self._verdict(score[_identity(first)], score[_identity(second)]) for first, second in pairs]

    def _verdict(self, first: float, second: float) -> Verdict:
        words = f"{first:.4g} against {second:.4g}"
        if abs(first - second) <= self.tie_margin:
            return Verdict("tie", words)
        return Verdict("first" if first > second else "second", words)


def _rollouts(comparison: Comparison) -> tuple[Rollout, Rollout]:
    """The answers of a comparison that came as text alone: whole answers to a plain prompt."""
    prompt = Prompt(id="", text=comparison.prompt)
    texts = (comparison.first, comparison.second)
    return tuple(Rollout(prompt, (), (), (), text, "eos", 0) for text in texts)  # type: ignore[return-value]


def _identity(rollout: Rollout) -> tuple[object, ...]:
    """What a reward can tell answers apart by: answers alike in all of it are scored once."""
    return (rollout.prompt.id, rollout.prompt.as_text(), rollout.text, rollout.finish)
