"""Intervals and tests behind every reported number: bootstrap, Wilson, paired differences. NumPy only.

The unit that is resampled is what is independent. Several answers to one prompt are not, so evaluations pass the prompt
ids as `clusters`: whole prompts are drawn, and an interval of 64 prompts with 4 answers each is one of 64 units.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from rlhf.errors import DataError

NORMAL = NormalDist()
CHUNK_ELEMENTS = 2**20  # random numbers held at once: 8 MB


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that covers the true mean with the asked probability.

    `n` counts independent units: clusters where they were given, else values. One unit says nothing about spread, so
    its interval is infinite (null in JSON).
    """

    mean: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """JSON-able: an infinite end is written as None."""
        return {"mean": self.mean, "low": _finite(self.low), "high": _finite(self.high), "n": self.n}


@dataclass(frozen=True)
class PairedDifference:
    """Mean of a - b over pairs, its interval, and two p-values of "there is no difference".

    p_value      sign-flip permutation test, two-sided: exact when few units are paired; holds its level at any size
    p_bootstrap  two-sided, by inverting the percentile bootstrap: how far zero lies in the tail of the resampled means
    """

    mean: float
    low: float
    high: float
    n: int
    p_value: float
    p_bootstrap: float

    def to_dict(self) -> dict[str, float | int | None]:
        """JSON-able: an infinite end is written as None."""
        return Interval(self.mean, self.low, self.high, self.n).to_dict() | {
            "p_value": self.p_value,
            "p_bootstrap": self.p_bootstrap,
        }


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    clusters: Sequence[Hashable] | np.ndarray | None = None,
    method: Literal["bca", "percentile"] = "bca",
) -> Interval:
    """Interval of the mean of `values` [N] by the bootstrap (Efron & Tibshirani 1993, chapters 13 and 14).

    clusters   [N] labels; values of one label are drawn together, and the mean is over all drawn values
    method     bca corrects the percentile interval for bias and skew; percentile does not
    Equal values give an interval of width zero: for rates near 0 or 1 `wilson_interval` is the better choice.
    Raises DataError for no values, values that are not finite, or `clusters` of another length.
    """
    _check_confidence(confidence)
    sums, counts = _units(_checked(values, "values"), clusters)
    mean = float(sums.sum() / counts.sum())
    if len(sums) == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    means = _resampled_means(sums, counts, resamples, seed)
    low, high = _ends(means, mean, sums, counts, confidence, method)
    return Interval(mean, low, high, len(sums))


def wilson_interval(successes: float, n: int, *, confidence: float = 0.95) -> Interval:
    """Score interval of a rate (Wilson 1927). `successes` may be half-integral: count a tie as one half.

    Unlike the normal approximation it stays inside [0, 1] and keeps its coverage near the ends.
    Raises DataError unless 0 <= successes <= n and n >= 1.
    """
    _check_confidence(confidence)
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"a rate needs 0 <= successes <= n and n >= 1; got successes={successes}, n={n}")
    z = NORMAL.inv_cdf(0.5 + confidence / 2)
    rate = successes / n
    shrink = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # at 0 and n successes one end is exactly the rate; round-off must not move it outside
    return Interval(rate, min(rate, max(0.0, centre - half)), max(rate, min(1.0, centre + half)), n)


def paired_difference(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    clusters: Sequence[Hashable] | np.ndarray | None = None,
    method: Literal["bca", "percentile"] = "bca",
) -> PairedDifference:
    """Mean of a - b, `a` [N] and `b` [N] paired by position (same prompt), with `clusters` as in `bootstrap_interval`.

    Raises DataError if the lengths differ, and for what `bootstrap_interval` refuses.
    """
    first, second = _checked(a, "a"), _checked(b, "b")
    if len(first) != len(second):
        raise DataError(f"a and b must be paired value by value; got {len(first)} and {len(second)} values")
    difference = first - second
    interval = bootstrap_interval(
        difference, confidence=confidence, resamples=resamples, seed=seed, clusters=clusters, method=method
    )
    sums, counts = _units(difference, clusters)
    return PairedDifference(
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        p_value=_sign_flip_p(sums, resamples, seed),
        p_bootstrap=_bootstrap_p(_resampled_means(sums, counts, resamples, seed)) if len(sums) > 1 else 1.0,
    )


def _checked(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    """The values as float64 [N], N >= 1, all finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"{name} must be a list of at least one number; got shape {array.shape}")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise DataError(
            f"{name} must be finite; {bad} of {array.size} are NaN or infinite (leave them out, and say so)"
        )
    return array


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise DataError(f"confidence must lie between 0 and 1; got {confidence}")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _units(values: np.ndarray, clusters: Sequence[Hashable] | np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count of each independent unit, in order of first appearance: [K], [K]."""
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise DataError(f"clusters must label every value; got {len(clusters)} labels for {len(values)} values")
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(label, len(numbers)) for label in clusters])
    return np.bincount(index, weights=values), np.bincount(index).astype(np.float64)


def _chunks(rows: int, columns: int) -> Iterator[int]:
    """Row counts that sum to `rows`, each small enough to hold rows x columns numbers."""
    size = max(1, CHUNK_ELEMENTS // columns)
    while rows > 0:
        yield min(size, rows)
        rows -= size


def _resampled_means(sums: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of `resamples` draws of K units with replacement: [R]."""
    rng = np.random.default_rng(seed)
    parts = []
    for rows in _chunks(resamples, len(sums)):
        drawn = rng.integers(len(sums), size=(rows, len(sums)))  # [rows, K]
        parts.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(parts)


def _ends(
    means: np.ndarray, mean: float, sums: np.ndarray, counts: np.ndarray, confidence: float, method: str
) -> tuple[float, float]:
    """Quantiles of the resampled means: at the nominal levels, or where bias and skew move them (BCa)."""
    levels = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    below = (np.sum(means < mean) + 0.5 * np.sum(means == mean)) / len(means)
    if method == "bca" and 0 < below < 1:
        bias = NORMAL.inv_cdf(below)
        left_out = (sums.sum() - sums) / (counts.sum() - counts)  # jackknife [K]
        deviation = left_out.mean() - left_out
        spread = np.sum(deviation**2)
        skew = np.sum(deviation**3) / (6 * spread**1.5) if spread > 0 else 0.0
        shifted = [bias + NORMAL.inv_cdf(level) for level in levels]
        levels = np.array([NORMAL.cdf(bias + s / (1 - skew * s)) for s in shifted])
    low, high = np.quantile(means, levels)
    return float(low), float(high)


def _bootstrap_p(means: np.ndarray) -> float:
    """Twice the smaller tail beyond zero. The one added to both counts keeps it above 0: R draws cannot show p = 0."""
    tail = min(np.sum(means <= 0), np.sum(means >= 0))
    return float(min(1.0, 2 * (tail + 1) / (len(means) + 1)))


def _sign_flip_p(sums: np.ndarray, resamples: int, seed: int) -> float:
    """P(|sum with random signs| >= |sum|), exact over all 2^K signs where they are no more than `resamples`."""
    units = len(sums)
    observed = abs(sums.sum())
    threshold = observed - 1e-12 * np.abs(sums).sum()  # round-off must not separate equal sums
    if 2**units <= resamples:
        bits = (np.arange(2**units)[:, None] >> np.arange(units)) & 1  # [2^K, K]
        return float(np.mean(np.abs((1 - 2 * bits) @ sums) >= threshold))
    rng = np.random.default_rng(seed)
    extreme = 0
    for rows in _chunks(resamples, units):
        signs = rng.integers(2, size=(rows, units)) * 2 - 1
        extreme += int(np.sum(np.abs(signs @ sums) >= threshold))
    return (extreme + 1) / (resamples + 1)
