"""Whether sampled scores give something to learn from: what single samples say, how far they spread, where they differ.

Aligned sampling: one sample of each side, both drawn from the same model, prompt and settings, independently of each
other. Given n samples a side, every one of the n x n combinations is such a draw; figures are means over all of them,
which have the expectation of comparing the i-th with the i-th sample and less noise. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlhf.evaluation.generative.measures import margins, only, side_means, side_variances
from rlhf.evaluation.generative.scores import SideScores
from rlhf.evaluation.policy.measures import Values
from rlhf.evaluation.resampling import bootstrap_statistic

RANGE_SHARES = (0.05, 0.1, 0.25, 0.5)
"""Thresholds of a range, as shares of the width of the scale."""


@dataclass(frozen=True)
class Combinations:
    """Shares of the n x n combinations of a pair's samples. `void`: a sample of the two holds no score."""

    right: np.ndarray  # [P]
    tied: np.ndarray  # [P]
    wrong: np.ndarray  # [P]
    void: np.ndarray  # [P]

    @property
    def expected(self) -> np.ndarray:
        """[P] P(right) + P(tied or void) / 2: expected correctness of one draw, ties half. Without void ones it is the
        Mann-Whitney statistic U / n^2 of the two sides."""
        return self.right + 0.5 * (self.tied + self.void)

    @property
    def mixed(self) -> np.ndarray:
        """[P] bool: some combination is right and some is wrong, so that samples differ in what they should be paid."""
        return (self.right > 0) & (self.wrong > 0)


def combinations(scores: SideScores) -> Combinations:
    """All n x n combinations of each pair."""
    d = scores.preferred[:, :, None] - scores.other[:, None, :]
    return Combinations(*(np.mean(found, axis=(1, 2)) for found in (d > 0, d == 0, d < 0, np.isnan(d))))


def ranges(scores: np.ndarray) -> np.ndarray:
    """[..., n] -> [...] highest minus lowest score of a side, points; NaN where no sample holds one."""
    held = np.isfinite(scores)
    high = np.where(held, scores, -np.inf).max(axis=-1)
    low = np.where(held, scores, np.inf).min(axis=-1)
    some = held.any(axis=-1)
    return np.subtract(high, low, out=np.full(some.shape, np.nan), where=some)


def has_spread(scores: np.ndarray) -> np.ndarray:
    """[..., n] -> [...] bool: the samples are not all alike, a sample without a score being unlike those with one.

    Where they are alike, every reward that is computed from them is too, and GRPO's advantages are 0."""
    held = np.isfinite(scores)
    return (held.any(axis=-1) & ~held.all(axis=-1)) | (np.nan_to_num(ranges(scores), nan=0.0) > 0)


def overlapping(scores: SideScores) -> np.ndarray:
    """[P] bool: the preferred side's range reaches the other's: its highest score is no less than the other's lowest.
    False where a side holds no score."""
    high = np.where(np.isfinite(scores.preferred), scores.preferred, -np.inf).max(axis=1)
    low = np.where(np.isfinite(scores.other), scores.other, np.inf).min(axis=1)
    return np.isfinite(high) & np.isfinite(low) & (high >= low)


def spread_values(scores: SideScores, width: float) -> dict[str, Values]:
    """Every figure of sampled scores that is a mean over pairs; `width`: highest minus lowest of the scale, points.

    expected_correct          mean over pairs of P(right) + P(tied or void) / 2 over the combinations
    expected_correct_strict   mean of P(right);   sample_tie_rate: mean of P(tied)
    mixed_rate                share of pairs with right and with wrong combinations
    spread_rate               share of groups (a side's n samples, what GRPO compares) that are not all alike
    range                     mean range of a side, points;  range_<s>: share of sides whose range is at least s% of
                              the scale's width
    wrong_overlap_rate        of the pairs whose means are in the wrong order: share whose ranges overlap
    wrong_reachable_rate      of the same: share with some right combination
    """
    found = combinations(scores)
    wide = ranges(scores.both)  # [P, 2]
    decided = np.isfinite(wide).all(axis=1)
    wrong = margins(scores) < 0
    values = {
        "expected_correct": Values(found.expected),
        "expected_correct_strict": Values(found.right),
        "sample_tie_rate": Values(found.tied),
        "mixed_rate": Values(found.mixed.astype(float)),
        "spread_rate": Values(has_spread(scores.both).mean(axis=1)),
    }
    for share in RANGE_SHARES:
        reached = np.nan_to_num(wide, nan=-1.0) >= share * width - 1e-9
        values[f"range_{round(100 * share)}"] = Values(reached.mean(axis=1))
    if decided.any():
        values["range"] = only(wide.mean(axis=1), decided)
    if wrong.any():
        values["wrong_overlap_rate"] = only(overlapping(scores).astype(float), wrong)
        values["wrong_reachable_rate"] = only((found.right > 0).astype(float), wrong)
    return values


def range_curve(scores: SideScores, width: float, *, points: int = 21) -> tuple[list[float], list[float]]:
    """(shares of the scale's width from 0 to 1, share of sides whose range is above 0 or at least that wide)."""
    wide = np.nan_to_num(ranges(scores.both).ravel(), nan=-1.0)
    steps = np.linspace(0, 1, points)
    at_least = [float(np.mean(wide >= s * width - 1e-9 if s else wide > 0)) for s in steps]
    return steps.tolist(), at_least


def variance_parts(scores: SideScores, *, confidence: float, resamples: int, seed: int) -> dict[str, dict] | None:
    """Where the variance of the scores comes from, points squared, each {mean, low, high, n} (bootstrap over pairs).

    A score is the mean of its pair, plus half the difference of the two sides, plus what sampling adds:

        within_side     mean over sides of the variance of a side's samples s^2: what sampling adds
        within_pair     mean over pairs of (d/2)^2 - v: what tells the two sides of a pair apart
        between_pairs   variance over pairs (P - 1 below the sum) of the mean of both sides, - v on average: what tells
                        pairs apart and no order needs
    v = (s_0^2 / n_0 + s_1^2 / n_1) / 4 is what sampling adds to either by chance; with it taken off, each is unbiased
    for the same figure of the scores' distributions and may fall below 0. The three add up to `total`. Pairs count of
    which both sides hold two scores; None for fewer than two of them.
    """
    variances = side_variances(scores)
    usable = np.isfinite(variances).all(axis=1)
    if usable.sum() < 2:
        return None
    counts = np.isfinite(scores.both).sum(axis=-1)[usable]  # [Q, 2]
    noise = (variances[usable] / counts).sum(axis=1) / 4  # [Q]
    means = side_means(scores.both)[usable]
    within_side = variances[usable].mean(axis=1)
    within_pair = ((means[:, 0] - means[:, 1]) / 2) ** 2 - noise
    centre = means.mean(axis=1)
    options = {"confidence": confidence, "resamples": resamples, "seed": seed}

    def mean_of(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return weights @ values / weights.sum(axis=1)

    def between(weights: np.ndarray) -> np.ndarray:
        n, centred = len(centre), centre - centre.mean()
        spread = mean_of(centred**2, weights) - mean_of(centred, weights) ** 2
        return spread * n / (n - 1) - mean_of(noise, weights)

    statistics = {
        "within_side": lambda w: mean_of(within_side, w),
        "within_pair": lambda w: mean_of(within_pair, w),
        "between_pairs": between,
        "total": lambda w: mean_of(within_side + within_pair, w) + between(w),
    }
    return {name: bootstrap_statistic(s, len(centre), **options).to_dict() for name, s in statistics.items()}
