import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.algorithms.advantages import answer_advantages, no_signal, whiten

DOUBLE = torch.float64
REWARDS = torch.tensor([1.0, 0.0, 0.0, 0.0, 2.0, 4.0, 2.0, 4.0], dtype=DOUBLE)
BASELINES = ["none", "group_mean", "leave_one_out", "batch_mean"]
SCALES = ["none", "group_std", "batch_std"]


def advantages(rewards, size=4, baseline="group_mean", scale="none", **options):
    return answer_advantages(rewards, size, baseline=baseline, scale=scale, **options)


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ("none", [1, 0, 0, 0, 2, 4, 2, 4]),
        ("group_mean", [0.75, -0.25, -0.25, -0.25, -1, 1, -1, 1]),
        # 1 - 0/3, 0 - 1/3, ...; 2 - 10/3, 4 - 8/3, ...
        ("leave_one_out", [1, -1 / 3, -1 / 3, -1 / 3, -4 / 3, 4 / 3, -4 / 3, 4 / 3]),
        ("batch_mean", [1 - 13 / 8, -13 / 8, -13 / 8, -13 / 8, 3 / 8, 19 / 8, 3 / 8, 19 / 8]),
    ],
)
def test_baselines_by_hand(baseline, expected):
    torch.testing.assert_close(advantages(REWARDS, baseline=baseline), torch.tensor(expected, dtype=DOUBLE))


def test_scales_by_hand():
    centred = advantages(REWARDS)
    population = advantages(REWARDS, scale="group_std")  # sqrt(3)/4 and 1
    torch.testing.assert_close(population, centred / torch.tensor([3**0.5 / 4] * 4 + [1.0] * 4, dtype=DOUBLE))
    sample = advantages(REWARDS, scale="group_std", ddof=1, epsilon=1e-4)  # squares over 3: 0.5 and sqrt(4/3)
    deviations = torch.tensor([0.5] * 4 + [(4 / 3) ** 0.5] * 4, dtype=DOUBLE) + 1e-4
    torch.testing.assert_close(sample, centred / deviations)
    batch = advantages(REWARDS, baseline="none", scale="batch_std")
    mean_of_squares, mean = (1 + 4 + 16 + 4 + 16) / 8, 13 / 8
    torch.testing.assert_close(batch, REWARDS / (mean_of_squares - mean**2) ** 0.5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("baseline", ["group_mean", "leave_one_out", "batch_mean"])
def test_equal_rewards_are_exactly_zero_whatever_the_float_residue(baseline, scale):
    rewards = torch.tensor([0.35] * 7 + [0.1 + 0.25] + [0.3, 0.1 + 0.2] * 4, dtype=DOUBLE)
    rewards = rewards[:8] if baseline == "batch_mean" or scale == "batch_std" else rewards
    assert advantages(rewards, 8, baseline, scale).eq(0.0).all()
    assert advantages(rewards.float(), 8, baseline, scale).eq(0.0).all()


@pytest.mark.parametrize("baseline", ["group_mean", "leave_one_out"])
def test_a_group_of_one_is_zero(baseline):
    assert advantages(torch.tensor([3.0, -2.0]), 1, baseline, "none").tolist() == [0.0, 0.0]


def test_without_a_baseline_the_advantage_is_the_reward_also_in_an_equal_group():
    assert advantages(torch.tensor([2.0, 2.0]), 2, "none", "none").tolist() == [2.0, 2.0]


@given(
    st.integers(2, 6).flatmap(
        lambda g: st.lists(st.lists(st.floats(-100, 100), min_size=g, max_size=g), min_size=1, max_size=5)
    ),
    st.sampled_from(["group_mean", "leave_one_out"]),
    st.sampled_from(SCALES),
)
def test_groups_sum_to_zero_and_order_is_kept(groups, baseline, scale):
    rewards = torch.tensor(groups, dtype=DOUBLE)
    found = advantages(rewards.reshape(-1), rewards.shape[1], baseline, scale).view_as(rewards)
    assert found.isfinite().all()
    assert found.sum(dim=1).abs().max().item() < 1e-7
    for row, reward in zip(found, rewards, strict=True):
        assert row[reward.argmax()] >= row[reward.argmin()]


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.floats(-10, 10), st.floats(0.5, 10))
def test_scaled_advantages_do_not_depend_on_the_rewards_units(group, shift, factor):
    rewards = torch.tensor(group, dtype=DOUBLE)
    if (rewards.max() - rewards.min()) < 1e-2:
        return
    a, b = (advantages(r, scale="group_std") for r in (rewards, rewards * factor + shift))
    torch.testing.assert_close(a, b)


def test_groups_without_signal():
    assert no_signal(torch.tensor([1.0, 0.0, 0.3, 0.1 + 0.2]), 2).tolist() == [False, True]


def test_groups_whose_spread_is_under_a_bound_have_no_signal():
    rewards = torch.tensor([1.0, 0.5, 0.2, 0.3, -0.3, -0.05, 2.0, 2.0], dtype=DOUBLE)  # spreads 0.5, 0.1, 0.25, 0
    assert no_signal(rewards, 2, 0.0).tolist() == [False, False, False, True]
    assert no_signal(rewards, 2, 0.25).tolist() == [False, True, False, True]  # a spread of the bound itself stays
    assert no_signal(rewards, 2, 0.3).tolist() == [False, True, True, True]
    assert no_signal(rewards, 4, 0.6).tolist() == [False, False]  # 1.0 - 0.2, 2.0 + 0.3


def test_whitening_by_hand_sees_no_padding():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    values = torch.tensor([[1.0, 3.0, float("nan")], [5.0, float("inf"), 7.0]], dtype=DOUBLE)
    spread = (8 / 3) ** 0.5  # of 1, 3, 5
    expected = torch.tensor([[-2 / spread, 0, 0], [2 / spread, 0, 0]], dtype=DOUBLE)
    torch.testing.assert_close(whiten(values, mask), expected)
    assert whiten(torch.full((1, 3), 2.5), torch.tensor([[True, True, False]])).eq(0).all()
    assert whiten(values, torch.zeros_like(mask)).eq(0).all()
