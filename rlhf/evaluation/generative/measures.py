"""What the scores of preference pairs say: order, ties, log-loss, margins, doubt. NumPy only; [P] pairs, n samples.

Each side counts with the mean of its samples that hold a score. A pair's margin d is the mean of the preferred side
minus that of the other, in points of the scale. A pair of which a side holds no score has no margin (NaN): it is
undecided, and counts as an order that nobody knows: half right, and not right in the strict accuracy. So

    accuracy = strict accuracy + (tie rate + undecided rate) / 2
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit, xlogy

from rlhf.evaluation.generative.scores import SideScores
from rlhf.evaluation.policy.measures import Values

SAME = 1e-9
"""Means of one side that lie nearer than this are the same: they differ by round-off alone."""


def side_means(scores: np.ndarray) -> np.ndarray:
    """[..., n] -> [...] the mean of the samples that hold a score; NaN where none does."""
    held = np.isfinite(scores)
    count = held.sum(axis=-1)
    total = np.where(held, scores, 0.0).sum(axis=-1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def margins(scores: SideScores) -> np.ndarray:
    """[P] d, points; NaN for an undecided pair."""
    d = side_means(scores.preferred) - side_means(scores.other)
    return np.where(np.abs(d) < SAME, 0.0, d)


def correct(d: np.ndarray) -> np.ndarray:
    """[P] 1 for d > 0, 1/2 for a tie (d = 0) and for an undecided pair, 0 for d < 0."""
    return (d > 0) + 0.5 * ((d == 0) | np.isnan(d))


def log_losses(d: np.ndarray, temperature: float) -> np.ndarray:
    """[P] -log sigmoid(d / T), nats: Bradley & Terry (1952) with scores divided by T. Undecided pairs cost log 2."""
    return np.logaddexp(0.0, -np.nan_to_num(d, nan=0.0) / temperature)


def confidences(d: np.ndarray, temperature: float) -> np.ndarray:
    """[P] sigmoid(|d| / T): the probability that the scorer gives to the order it chose; 1/2 for undecided pairs."""
    return expit(np.abs(np.nan_to_num(d, nan=0.0)) / temperature)


def entropies(d: np.ndarray, temperature: float) -> np.ndarray:
    """[P] -q log q - (1 - q) log(1 - q), nats, of that probability q; log 2 where the scorer has no idea."""
    q = confidences(d, temperature)
    return -(xlogy(q, q) + xlogy(1 - q, 1 - q))


def deviations(scores: SideScores) -> np.ndarray:
    """[P] root mean square over both sides of the standard deviation of a side's samples (n - 1 below the sum), points.

    NaN where a side holds fewer than two scores."""
    return np.sqrt(side_variances(scores).mean(axis=1))


def side_variances(scores: SideScores) -> np.ndarray:
    """[P, 2] unbiased variance of a side's samples that hold a score; NaN for fewer than two."""
    both = scores.both
    held = np.isfinite(both)
    count = held.sum(axis=-1)
    squares = np.where(held, both - side_means(both)[..., None], 0.0) ** 2
    return np.divide(squares.sum(axis=-1), count - 1, out=np.full(count.shape, np.nan), where=count > 1)


def pair_values(scores: SideScores, temperature: float) -> dict[str, Values]:
    """Every figure of a scorer, pair by pair; what has no pair to be measured on is left out.

    accuracy          mean of `correct`
    accuracy_strict   share of d > 0
    tie_rate          share of d = 0;  undecided_rate: share of pairs without d
    log_loss          mean of -log sigmoid(d / T) over all pairs
    log_loss_untied   the same over the pairs with d > 0 or d < 0
    margin            mean of d over decided pairs;  margin_right, margin_wrong: mean of |d| where d > 0, d < 0
    confidence_wrong, entropy_wrong   mean of `confidences`, `entropies` over the pairs with d < 0
    deviation_right, deviation_wrong  mean of `deviations` where d > 0, d < 0 (n of two or more)
    parse_rate        share of the samples that hold a score
    """
    d = margins(scores)
    decided, right, wrong = np.isfinite(d), d > 0, d < 0
    everywhere: dict[str, np.ndarray] = {
        "accuracy": correct(d),
        "accuracy_strict": right.astype(float),
        "tie_rate": (d == 0).astype(float),
        "undecided_rate": (~decided).astype(float),
        "log_loss": log_losses(d, temperature),
        "parse_rate": np.isfinite(scores.both).mean(axis=(1, 2)),
    }
    found = {name: Values(values) for name, values in everywhere.items()}
    spread = deviations(scores)
    parts = {
        "log_loss_untied": (log_losses(d, temperature), right | wrong),
        "margin": (d, decided),
        "margin_right": (np.abs(d), right),
        "margin_wrong": (np.abs(d), wrong),
        "confidence_wrong": (confidences(d, temperature), wrong),
        "entropy_wrong": (entropies(d, temperature), wrong),
        "deviation_right": (spread, right & np.isfinite(spread)),
        "deviation_wrong": (spread, wrong & np.isfinite(spread)),
    }
    return found | {name: only(values, where) for name, (values, where) in parts.items() if where.any()}


def only(values: np.ndarray, where: np.ndarray) -> Values:
    """The mean of `values` [P] over the pairs `where` [P] says so."""
    return Values(np.where(where, values, 0.0), where.astype(float))


def averaging_curve(scores: SideScores) -> dict[int, float]:
    """k -> accuracy where each side is the mean of k samples, for k = 1, 2, 4, ... and n.

    The n samples are cut into floor(n / k) blocks that follow each other, each an independent draw of k; the accuracies
    of the blocks are averaged."""
    n = scores.samples
    sizes = sorted({2**i for i in range(n.bit_length()) if 2**i <= n} | {n})
    return {k: float(np.mean([correct(margins(scores.block(i * k, (i + 1) * k))).mean() for i in range(n // k)]))
            for k in sizes}  # fmt: skip


def together(runs: Mapping[int, dict[str, Values]]) -> dict[str, Values]:
    """The figures of several seeds as one: every seed's pairs behind each other. Pairs stay the units of intervals, so
    units are repeated once a seed. A figure that some seed lacks adds nothing for it."""
    names = dict.fromkeys(name for run in runs.values() for name in run)
    size = max(len(values.sums) for run in runs.values() for values in run.values())
    found = {}
    for name in names:
        parts = [run.get(name, Values(np.zeros(size), np.zeros(size))) for run in runs.values()]
        sums = np.concatenate([part.sums for part in parts])
        plain = all(part.weights is None for part in parts)
        weights = None if plain else np.concatenate([_weights(part) for part in parts])
        found[name] = Values(sums, weights)
    return found


def _weights(values: Values) -> np.ndarray:
    return np.ones(len(values.sums)) if values.weights is None else values.weights
