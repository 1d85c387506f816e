"""Order, ties, log-loss, margins and doubt of scored pairs, worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.errors import DataError
from rlhf.evaluation.generative.measures import averaging_curve, correct, margins, pair_values, together
from rlhf.evaluation.generative.scores import SideScores
from rlhf.evaluation.policy.measures import Values

NAN = math.nan
# margins: 3 - 2 = 1 | 3 - 3 = 0 | 1 - 2 = -1, one sample without a score | a side without any
PREFERRED = np.array([[4.0, 2.0], [3.0, 3.0], [1.0, NAN], [NAN, NAN]])
SCORES = SideScores(PREFERRED, np.array([[1.0, 3.0], [2.0, 4.0], [2.0, 2.0], [1.0, 1.0]]))


def means(scores, temperature=2.0):
    values = pair_values(scores, temperature)
    weights = {name: np.ones(len(v.sums)) if v.weights is None else v.weights for name, v in values.items()}
    return {name: v.sums.sum() / weights[name].sum() for name, v in values.items()}


def test_every_figure_by_hand():
    found = means(SCORES)
    assert margins(SCORES)[:3].tolist() == [1.0, 0.0, -1.0] and math.isnan(margins(SCORES)[3])
    assert found["accuracy"] == (1 + 0.5 + 0 + 0.5) / 4
    assert (found["accuracy_strict"], found["tie_rate"], found["undecided_rate"]) == (0.25, 0.25, 0.25)
    # at temperature 2: log(1 + e^-1/2) = 0.474077, log(1 + e^1/2) = 0.974077, and log 2 = 0.693147 without an order
    assert found["log_loss"] == pytest.approx((0.474077 + 0.974077 + 2 * 0.693147) / 4, abs=1e-6)
    assert found["log_loss_untied"] == pytest.approx((0.474077 + 0.974077) / 2, abs=1e-6)
    assert (found["margin"], found["margin_right"], found["margin_wrong"]) == (0.0, 1.0, 1.0)
    # 1 / (1 + e^-1/2) = 0.622459; -0.622459 log 0.622459 - 0.377541 log 0.377541 = 0.295080 + 0.367767
    assert found["confidence_wrong"] == pytest.approx(0.622459, abs=1e-6)
    assert found["entropy_wrong"] == pytest.approx(0.295080 + 0.367767, abs=1e-5)
    # pair 0: the variances of (4, 2) and (1, 3) are 2 and 2; of the wrong pair one side holds a single score
    assert found["deviation_right"] == pytest.approx(math.sqrt(2)) and "deviation_wrong" not in found
    assert found["parse_rate"] == (1 + 1 + 3 / 4 + 2 / 4) / 4


def test_a_figure_without_a_pair_is_left_out():
    found = means(SideScores(np.array([[3.0], [3.0]]), np.array([[3.0], [3.0]])))
    assert found["tie_rate"] == 1.0 and found["margin"] == 0.0 and found["log_loss"] == pytest.approx(math.log(2))
    assert not {"log_loss_untied", "margin_right", "margin_wrong", "confidence_wrong", "deviation_right"} & set(found)


def test_sides_of_other_shapes_are_refused():
    with pytest.raises(DataError, match=r"two sides need scores \[P, n\]"):
        SideScores(np.ones((2, 3)), np.ones((2, 2)))


def test_equal_means_of_different_counts_are_a_tie():
    tenths = SideScores(np.array([[0.1, 0.1, 0.1]]), np.array([[0.1, NAN, NAN]]))
    assert (0.1 + 0.1 + 0.1) / 3 != 0.1 and margins(tenths).tolist() == [0.0]


scores = st.lists(
    st.tuples(*[st.one_of(st.just(NAN), st.integers(1, 5).map(float))] * 6), min_size=1, max_size=8
).map(np.array)  # fmt: skip


@given(scores, st.floats(0.1, 10))
def test_accuracy_is_strict_accuracy_and_half_of_what_is_not_ordered(table, temperature):
    forward, backward = SideScores(table[:, :3], table[:, 3:]), SideScores(table[:, 3:], table[:, :3])
    found, swapped = means(forward, temperature), means(backward, temperature)
    undone = found["tie_rate"] + found["undecided_rate"]
    assert found["accuracy"] == pytest.approx(found["accuracy_strict"] + undone / 2)
    assert swapped["accuracy"] == pytest.approx(1 - found["accuracy"])
    d = np.nan_to_num(margins(forward), nan=0.0)  # -log sigmoid(x) + log sigmoid(-x) = -x
    assert found["log_loss"] - swapped["log_loss"] == pytest.approx(-d.mean() / temperature, abs=1e-9)


def test_averaging_takes_every_block_of_k_samples():
    # k = 1: orders 4 > 3, 1 < 3, 4 > 1, 1 = 1, that is 1, 0, 1, 1/2. k = 2: means 2.5 < 3, then 2.5 > 1
    one = SideScores(np.array([[4.0, 1.0, 4.0, 1.0]]), np.array([[3.0, 3.0, 1.0, 1.0]]))
    assert averaging_curve(one) == {1: 2.5 / 4, 2: (0 + 1) / 2, 4: 1.0}
    # three samples: 1, 2 and 3 of them; two make one block, and the third is left over
    three = SideScores(np.array([[2.0, 2.0, 5.0]]), np.array([[3.0, 3.0, 1.0]]))
    assert averaging_curve(three) == {1: 1 / 3, 2: 0.0, 3: 1.0}
    assert averaging_curve(SCORES)[2] == correct(margins(SCORES)).mean()


def test_seeds_together_are_the_mean_over_all_their_pairs():
    first = {"a": Values(np.array([1.0, 0.0])), "w": Values(np.array([2.0, 0.0]), np.array([1.0, 0.0]))}
    second = {"a": Values(np.array([1.0, 1.0]))}  # nothing to measure w on
    found = together({0: first, 1: second})
    assert found["a"].weights is None and found["a"].sums.tolist() == [1, 0, 1, 1]
    assert found["w"].sums.tolist() == [2, 0, 0, 0] and found["w"].weights.tolist() == [1, 0, 0, 0]
