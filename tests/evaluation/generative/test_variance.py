"""What single samples say, against brute force over all combinations and over all samples that there could be."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from rlhf.evaluation.generative.measures import correct
from rlhf.evaluation.generative.scores import SideScores
from rlhf.evaluation.generative.variance import (
    combinations,
    has_spread,
    overlapping,
    range_curve,
    ranges,
    spread_values,
    variance_parts,
)

NAN = math.nan
BARE = {"confidence": 0.95, "resamples": 100, "seed": 0}
sides = st.lists(st.one_of(st.just(NAN), st.integers(1, 5).map(float)), min_size=4, max_size=4)


def one(preferred, other):
    return SideScores(np.array([preferred], dtype=float), np.array([other], dtype=float))


@given(sides, sides)
def test_expected_correctness_is_that_of_all_combinations(preferred, other):
    found = combinations(one(preferred, other))
    right = tied = void = 0
    for a, b in itertools.product(preferred, other):
        void += math.isnan(a) or math.isnan(b)
        right += a > b
        tied += a == b
    assert found.right[0] == right / 16 and found.tied[0] == tied / 16 and found.void[0] == void / 16
    assert found.expected[0] == pytest.approx((right + (tied + void) / 2) / 16)
    assert found.right[0] + found.tied[0] + found.wrong[0] + found.void[0] == pytest.approx(1)


def test_without_failures_it_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    preferred, other = rng.integers(1, 6, size=(2, 8)).astype(float)
    statistic = mannwhitneyu(preferred, other).statistic
    assert combinations(one(preferred, other)).expected[0] == pytest.approx(statistic / 64)


def test_it_expects_what_a_fresh_sample_of_each_side_gives():
    """Over all pairs of samples that two small distributions can give, both estimates have one mean."""
    a, b = (1.0, 4.0, NAN), (1.0, 3.0, 3.0)  # each value as likely
    every, aligned = [], []
    for x, y in itertools.product(itertools.product(a, repeat=2), itertools.product(b, repeat=2)):
        every.append(combinations(one(x, y)).expected[0])
        aligned.append(correct(np.array(x) - np.array(y)).mean())  # the i-th against the i-th
    # 1 against (1, 3, 3): 1/2, 0, 0; 4 against any: 1; no score: 1/2 each; over 9
    truth = (0.5 + 3 + 1.5) / 9
    assert np.mean(every) == pytest.approx(truth) and np.mean(aligned) == pytest.approx(truth)
    assert np.var(every) < np.var(aligned)


def test_ranges_spread_and_overlap_by_hand():
    scores = np.array([[1.0, 4.0], [2.0, 2.0], [3.0, NAN], [NAN, NAN]])
    assert ranges(scores)[:3].tolist() == [3.0, 0.0, 0.0] and math.isnan(ranges(scores)[3])
    assert has_spread(scores).tolist() == [True, False, True, False]  # a failure beside a score is a difference
    found = overlapping(SideScores(np.array([[1.0, 3.0], [1.0, 2.0], [1.0, 2.0], [NAN, NAN]]),
                                   np.array([[3.0, 5.0], [3.0, 5.0], [1.5, 5.0], [1.0, 1.0]])))  # fmt: skip
    assert found.tolist() == [True, False, True, False]


def test_every_figure_by_hand():
    # means 2 < 4, ranges [1, 3] and [3, 5] touch, no combination is right | means 2 < 3, and 3 > 1 is right
    # | nothing moves and the order is right
    scores = SideScores(np.array([[1.0, 3.0], [1.0, 3.0], [5.0, 5.0]]), np.array([[3.0, 5.0], [1.0, 5.0], [1.0, 1.0]]))
    values = spread_values(scores, 4.0)
    means = {n: v.sums.sum() / (len(v.sums) if v.weights is None else v.weights.sum()) for n, v in values.items()}
    assert means["expected_correct_strict"] == pytest.approx((0 + 1 / 4 + 1) / 3)
    assert means["sample_tie_rate"] == pytest.approx((1 / 4 + 1 / 4 + 0) / 3)
    assert means["expected_correct"] == pytest.approx((1 / 8 + 3 / 8 + 1) / 3)
    assert means["mixed_rate"] == pytest.approx(1 / 3)
    assert means["spread_rate"] == pytest.approx((1 + 1 + 0) / 3)
    assert means["range"] == pytest.approx((2 + 2 + 2 + 4 + 0 + 0) / 6)
    assert [means[f"range_{s}"] for s in (5, 25, 50)] == pytest.approx([4 / 6, 4 / 6, 4 / 6])
    assert means["wrong_overlap_rate"] == 1.0 and means["wrong_reachable_rate"] == 0.5
    at, shares = range_curve(scores, 4.0, points=5)
    assert at == [0, 0.25, 0.5, 0.75, 1.0] and shares == pytest.approx([4 / 6, 4 / 6, 4 / 6, 1 / 6, 1 / 6])


def test_the_parts_of_the_variance_are_unbiased():
    """Over all samples of two pairs whose sides have two equally likely scores each, the estimates have the mean that
    the distributions have: within a side ((a - b) / 2)^2; between sides a quarter of the squared difference of means;
    between pairs the variance of the two centres."""
    values = [[(1.0, 3.0), (2.0, 2.0)], [(4.0, 5.0), (1.0, 5.0)]]  # pair, side
    found = []
    for drawn in itertools.product(*[itertools.product(side, repeat=2) for pair in values for side in pair]):
        table = np.array(drawn).reshape(2, 2, 2)
        parts = variance_parts(SideScores(table[:, 0], table[:, 1]), **BARE)
        found.append([parts[name]["mean"] for name in ("within_side", "within_pair", "between_pairs", "total")])
    within_side = (1 + 0 + 0.25 + 4) / 4
    within_pair = ((2 - 2) ** 2 / 4 + (4.5 - 3) ** 2 / 4) / 2
    between = (2 - 3.75) ** 2 / 2  # of the centres (2 + 2) / 2 and (4.5 + 3) / 2, one degree of freedom
    truth = [within_side, within_pair, between, within_side + within_pair + between]
    assert len(found) == 256 and np.mean(found, axis=0) == pytest.approx(truth)


def test_the_parts_add_up_and_have_intervals_around_them():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(30, 2, 5)) + 2 * rng.normal(size=(30, 1, 1))
    parts = variance_parts(SideScores(table[:, 0], table[:, 1]), confidence=0.95, resamples=500, seed=0)
    assert sum(parts[name]["mean"] for name in ("within_side", "within_pair", "between_pairs")) == pytest.approx(
        parts["total"]["mean"]
    )
    assert all(part["low"] < part["mean"] < part["high"] and part["n"] == 30 for part in parts.values())
    assert parts["between_pairs"]["low"] > parts["within_pair"]["high"]


def test_pairs_with_a_single_score_a_side_have_no_variance():
    scores = SideScores(np.array([[1.0, NAN], [1.0, 2.0]]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert variance_parts(scores, **BARE) is None
