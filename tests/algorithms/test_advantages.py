import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.algorithms.advantages import group_advantages


def test_by_hand():
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 2.0, 4.0, 2.0, 4.0], dtype=torch.float64)
    centred = group_advantages(rewards, 4, scale="none")
    torch.testing.assert_close(centred, torch.tensor([0.75, -0.25, -0.25, -0.25, -1, 1, -1, 1], dtype=torch.float64))
    scaled = group_advantages(rewards, 4, scale="group_std")  # population deviations sqrt(3)/4 and 1
    torch.testing.assert_close(scaled[:4], centred[:4] / (3**0.5 / 4))
    torch.testing.assert_close(scaled[4:], centred[4:])


@pytest.mark.parametrize("scale", ["none", "group_std"])
def test_equal_rewards_are_exactly_zero_whatever_the_float_residue(scale):
    rewards = torch.tensor([0.35] * 7 + [0.1 + 0.25] + [0.3, 0.1 + 0.2] * 4, dtype=torch.float64)
    assert group_advantages(rewards, 8, scale=scale).eq(0.0).all()
    assert group_advantages(rewards.float(), 8, scale=scale).eq(0.0).all()


@given(
    st.integers(2, 6).flatmap(
        lambda g: st.lists(st.lists(st.floats(-100, 100), min_size=g, max_size=g), min_size=1, max_size=5)
    ),
    st.sampled_from(["none", "group_std"]),
)
def test_groups_sum_to_zero_and_order_is_kept(groups, scale):
    rewards = torch.tensor(groups, dtype=torch.float64)
    advantages = group_advantages(rewards.reshape(-1), rewards.shape[1], scale=scale).view_as(rewards)
    assert advantages.isfinite().all()
    assert advantages.sum(dim=1).abs().max().item() < 1e-8
    for row, reward in zip(advantages, rewards, strict=True):
        assert row[reward.argmax()] >= row[reward.argmin()]


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.floats(-10, 10), st.floats(0.5, 10))
def test_scaled_advantages_do_not_depend_on_the_rewards_units(group, shift, factor):
    rewards = torch.tensor(group, dtype=torch.float64)
    if (rewards.max() - rewards.min()) < 1e-2:
        return
    a = group_advantages(rewards, 4, scale="group_std")
    b = group_advantages(rewards * factor + shift, 4, scale="group_std")
    torch.testing.assert_close(a, b)
