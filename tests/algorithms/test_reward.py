import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.algorithms.reward import bradley_terry_loss


def scores(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_equal_scores_cost_log_2_and_push_by_one_half():
    chosen, rejected = scores(1.5, -2.0), scores(1.5, -2.0)
    loss = bradley_terry_loss(chosen, rejected, num_pairs=2)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-12)
    torch.testing.assert_close(chosen.grad, torch.full((2,), -0.25, dtype=torch.float64))  # -sigmoid(0) / 2 pairs
    torch.testing.assert_close(rejected.grad, -chosen.grad)


def test_by_hand():
    loss = bradley_terry_loss(scores(2.0), scores(0.0), num_pairs=1)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-12)


def test_margin_is_subtracted():
    with_margin = bradley_terry_loss(scores(2.0), scores(0.0), num_pairs=1, margin=scores(0.5).detach())
    assert with_margin.item() == pytest.approx(math.log(1 + math.exp(-1.5)), abs=1e-12)


def test_label_smoothing_is_least_where_the_model_is_as_sure_as_the_labels():
    # with a share e of wrong labels the loss is least at sigmoid(d) = 1 - e
    e, best = 0.2, math.log(0.8 / 0.2)
    at = [
        bradley_terry_loss(scores(d), scores(0.0), num_pairs=1, label_smoothing=e).item()
        for d in (best - 0.1, best, best + 0.1)
    ]
    assert at[1] < at[0] and at[1] < at[2]


def test_centering_adds_the_squared_sum():
    plain = bradley_terry_loss(scores(2.0), scores(1.0), num_pairs=1).item()
    centred = bradley_terry_loss(scores(2.0), scores(1.0), num_pairs=1, centering_coef=0.01).item()
    assert centred - plain == pytest.approx(0.01 * 9, abs=1e-12)


def test_extreme_scores_stay_finite():
    chosen, rejected = scores(-1e4), scores(1e4)
    loss = bradley_terry_loss(chosen, rejected, num_pairs=1)
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert chosen.grad.item() == pytest.approx(-1.0)


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=9), st.integers(1, 4))
def test_any_cut_gives_the_same_loss(pairs, size):
    both = torch.tensor(pairs, dtype=torch.float64)
    n = len(pairs)
    whole = bradley_terry_loss(both[:, 0], both[:, 1], num_pairs=n, label_smoothing=0.1, centering_coef=0.01).item()
    parts = sum(
        bradley_terry_loss(p[:, 0], p[:, 1], num_pairs=n, label_smoothing=0.1, centering_coef=0.01).item()
        for p in both.split(size)
    )
    assert parts == pytest.approx(whole, abs=1e-9)


@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(-30, 30))
def test_only_the_difference_matters(chosen, rejected, shift):
    a = bradley_terry_loss(scores(chosen), scores(rejected), num_pairs=1).item()
    b = bradley_terry_loss(scores(chosen + shift), scores(rejected + shift), num_pairs=1).item()
    assert a == pytest.approx(b, abs=1e-9)
