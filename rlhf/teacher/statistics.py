"""What the scores of a teacher are like: agreement with the annotators, ties, spread, position, cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlhf.evaluation.resampling import clustered_rate
from rlhf.teacher.examples import Examples, order_of
from rlhf.teacher.questions import Question
from rlhf.teacher.types import Scored

CONFIDENCE = 0.95
ALARM_CONFIDENCE = 0.99
"""Of first_higher, which is looked at for a defect in every part of every run."""
HALF = {"right": 1.0, "tie": 0.5, "wrong": 0.0}
"""order -> its part in the agreement."""


def split_statistics(
    questions: Sequence[Question], scored: Sequence[Scored], examples: Examples, levels: range
) -> dict[str, Any]:
    """JSON-able, of pairs [N] and their scores [N]. Rates are None where no pair has scores.

    agreement      share of the scored pairs whose preferred answer has the higher score, ties half, with its interval
                   (pairs of one prompt drawn together)
    right, wrong, tie   numbers of pairs
    first_higher   of the pairs with different scores, the share whose first answer (side 0) has the higher one, with
                   its 99% interval; 0.5 is fair, since the preferred answer stands first by a fair coin
    scores         number, mean, std, count of each, share of the commonest, and the mean of either kind of answer
    """
    orders = Counter(filter(None, map(order_of, questions, scored)))
    told = [(q, s) for q, s in zip(questions, scored, strict=True) if s.scores is not None]
    return {
        "pairs": len(questions),
        "scored": len(told),
        "failures": dict(Counter(s.failure for s in scored if s.failure)),
        **{order: orders[order] for order in HALF},
        "agreement": _agreement(told),
        "first_higher": _first_higher(told),
        "scores": _spread(told, levels),
        "examples": len(examples.rows),
        "dropped": dict(examples.dropped),
        "left_out": dict(examples.left_out),
        "cost_usd": sum(s.cost_usd for s in scored),
        "input_tokens": sum(s.input_tokens for s in scored),
        "output_tokens": sum(s.output_tokens for s in scored),
        "cached": sum(s.cached for s in scored),
    }


Told = Sequence[tuple[Question, Scored]]


def _agreement(told: Told) -> dict[str, Any] | None:
    return _rate([HALF[order_of(q, s)] for q, s in told], [q.conversation for q, _ in told])


def _first_higher(told: Told) -> dict[str, Any] | None:
    decided = [(q, s) for q, s in told if s.scores[0] != s.scores[1]]
    higher = [float(s.scores[0] > s.scores[1]) for _, s in decided]
    return _rate(higher, [q.conversation for q, _ in decided], ALARM_CONFIDENCE)


def _rate(values: Sequence[float], clusters: Sequence[str], confidence: float = CONFIDENCE) -> dict[str, Any] | None:
    if not values:
        return None
    return clustered_rate(np.array(values), clusters=clusters, confidence=confidence).to_dict()


def _spread(told: Told, levels: range) -> dict[str, Any] | None:
    if not told:
        return None
    scores = np.array([s.scores for _, s in told])
    sides = np.array([q.preferred_side for q, _ in told])
    rows = np.arange(len(told))
    counts = Counter(int(score) for score in scores.ravel())
    preferred, other = scores[rows, sides], scores[rows, 1 - sides]
    return {
        "number": scores.size,
        "mean": float(scores.mean()),
        "std": float(scores.std()),
        "preferred_mean": float(preferred.mean()),
        "other_mean": float(other.mean()),
        "commonest_share": max(counts.values()) / scores.size,
        "levels": [levels[0], levels[-1]],
        "counts": {str(level): counts[level] for level in sorted(counts)},
        "preferred_counts": _counts(preferred),
        "other_counts": _counts(other),
    }


def _counts(scores: np.ndarray) -> dict[str, int]:
    counted = Counter(int(score) for score in scores)
    return {str(level): counted[level] for level in sorted(counted)}
