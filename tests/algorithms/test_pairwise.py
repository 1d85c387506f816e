"""Pairwise rewards against arithmetic done by hand. Scores are on 1 to 5; nan in a list is a sample without a score."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.algorithms.pairwise import PairwiseReward, pair_correct, pair_log_loss, pairwise_rewards, side_means

NAN = float("nan")
PLAIN = PairwiseReward(
    form="log_sigmoid",
    pair_shared=False,
    temperature=1.0,
    clip_high=None,
    clip_low=None,
    margin=1.0,
    scale=1.0,
    offset=0.0,
    hard_lambda=0.0,
    hard_tau=1.0,
    hard_floor=0.0,
    unparsable=-9.0,
)


def tensors(*pairs):
    scores = torch.tensor(pairs, dtype=torch.float64)
    return scores, ~scores.isnan()


def rewards(preferred, other, **changes):
    """(rewards of the preferred side's samples, of the other side's) of one pair."""
    found = pairwise_rewards(*tensors([preferred, other]), replace(PLAIN, **changes))
    return found.rewards[0, 0].tolist(), found.rewards[0, 1].tolist()


def log_sigmoid(d):
    return -math.log(1 + math.exp(-d))


def test_each_sample_against_the_mean_of_the_other_side():
    # means 4 and 2: preferred 5 - 2 = 3, 3 - 2 = 1; other 4 - 1 = 3, 4 - 3 = 1
    assert rewards([5, 3], [1, 3]) == (
        pytest.approx([log_sigmoid(3), log_sigmoid(1)]),
        pytest.approx([log_sigmoid(3), log_sigmoid(1)]),
    )
    # the wrong order: means 1.5 and 4: preferred 1 - 4 = -3, 2 - 4 = -2; other 1.5 - 5 = -3.5, 1.5 - 3 = -1.5
    assert rewards([1, 2], [5, 3]) == (
        pytest.approx([log_sigmoid(-3), log_sigmoid(-2)]),
        pytest.approx([log_sigmoid(-3.5), log_sigmoid(-1.5)]),
    )


def test_a_single_sample_a_side_is_the_likelihood_of_the_pair():
    assert rewards([4], [1]) == ([pytest.approx(-0.04858735)], [pytest.approx(-0.04858735)])  # ln sigmoid(3)


def test_a_tie_costs_ln_2_and_the_offset_centres_it():
    assert rewards([3, 3], [3, 3]) == (pytest.approx([-math.log(2)] * 2), pytest.approx([-math.log(2)] * 2))
    assert rewards([3], [3], offset=math.log(2), scale=7.0) == ([pytest.approx(0.0)], [pytest.approx(0.0)])


def test_temperature_clips_scale_and_offset():
    # differences 3 and 1 (see above) become d = 1.5 and 0.5, then at most 1
    assert rewards([5, 3], [1, 3], temperature=2.0, clip_high=1.0)[0] == pytest.approx(
        [log_sigmoid(1), log_sigmoid(0.5)]
    )
    # -3.5 and -1.5 stop at -2; 10 * (r + 0.25)
    assert rewards([1, 2], [5, 3], clip_low=-2.0, scale=10.0, offset=0.25)[1] == pytest.approx(
        [10 * (log_sigmoid(-2) + 0.25), 10 * (log_sigmoid(-1.5) + 0.25)]
    )


def test_pair_shared_pays_all_samples_the_difference_of_the_means():
    # means 4 and 2.5
    shared = [pytest.approx(log_sigmoid(1.5))] * 2
    assert rewards([5, 3], [1, 4], pair_shared=True) == (shared, shared)


def test_binary():
    # against a mean of 3: 5 is above, 3 ties, 2 is below; the preferred mean is 10 / 3: 1 and 3 lie below, 5 above
    assert rewards([5, 3, 2], [1, 3, 5], form="binary") == ([1.0, 0.5, 0.0], [1.0, 1.0, 0.0])


def test_graded_is_linear_up_to_the_margin():
    # against a mean of 2: 5 -> 3, 3 -> 1, 1 -> -1, over a margin of 2 and no more than 1
    assert rewards([5, 3, 1], [2, 2, 2], form="graded", margin=2.0)[0] == pytest.approx([1.0, 0.5, -0.5])
    assert rewards([1], [5], form="graded", margin=2.0) == ([-1.0], [-1.0])


def test_hard_margin_asks_for_the_margin():
    assert rewards([5, 4, 3], [2, 2, 2], form="hard_margin", margin=2.0)[0] == [1.0, 1.0, 0.0]
    assert rewards([3], [3], form="hard_margin") == ([0.0], [0.0])


def test_hard_pairs_count_more():
    # D = 2, 0, -2; 1 - 0.8 sigmoid(D / 2): sigmoid(1) = 0.731059, sigmoid(0) = 0.5
    pairs = ([[4], [2]], [[3], [3]], [[2], [4]])
    found = pairwise_rewards(*tensors(*pairs), replace(PLAIN, form="binary", hard_lambda=0.8, hard_tau=2.0, scale=3.0))
    assert found.weight.tolist() == pytest.approx([0.4151529, 0.6, 0.7848471])
    assert found.rewards[:, 0, 0].tolist() == pytest.approx([3 * 0.4151529, 3 * 0.6 * 0.5, 0.0])
    floored = pairwise_rewards(*tensors(*pairs), replace(PLAIN, hard_lambda=0.8, hard_tau=2.0, hard_floor=0.5))
    assert floored.weight.tolist() == pytest.approx([0.5, 0.6, 0.7848471])


def test_the_weight_is_of_the_pair_before_clips():
    found = pairwise_rewards(
        *tensors([[5, 3], [1, 1]]), replace(PLAIN, temperature=2.0, clip_high=0.1, hard_lambda=1.0)
    )
    assert found.weight.tolist() == pytest.approx([1 - 1 / (1 + math.exp(-1.5))])  # means 4 and 1, over 2


def test_unparsable_samples_get_the_floor_and_enter_no_mean():
    # the other side's mean is 2 (1 and 3), the preferred side's 4
    assert rewards([4, NAN, 4], [1, NAN, 3], hard_lambda=0.5, scale=2.0, offset=1.0)[1][1] == -9.0
    preferred, other = rewards([4, NAN, 4], [1, NAN, 3])
    assert preferred == pytest.approx([log_sigmoid(2), -9.0, log_sigmoid(2)])
    assert other == pytest.approx([log_sigmoid(3), -9.0, log_sigmoid(1)])


@pytest.mark.parametrize(
    ("form", "of_a_tie"), [("log_sigmoid", -math.log(2)), ("binary", 0.5), ("graded", 0.0), ("hard_margin", 0.0)]
)
@pytest.mark.parametrize("pair_shared", [False, True])
def test_a_side_without_any_score_leaves_the_other_the_reward_of_a_difference_of_0(form, of_a_tie, pair_shared):
    one, none = rewards([5, 1], [NAN, NAN], form=form, pair_shared=pair_shared)
    assert one == pytest.approx([of_a_tie, of_a_tie]) and none == [-9.0, -9.0]
    none, one = rewards([NAN, NAN], [5, NAN], form=form, pair_shared=pair_shared)
    assert none == [-9.0, -9.0] and one == [pytest.approx(of_a_tie), -9.0]
    weighted, _ = rewards([5, 1], [NAN, NAN], form=form, hard_lambda=1.0)  # D is 0: weight 1/2
    assert weighted == pytest.approx([of_a_tie / 2] * 2)


def test_no_score_at_all():
    assert rewards([NAN], [NAN]) == ([-9.0], [-9.0])
    found = pairwise_rewards(*tensors([[NAN], [NAN]]), PLAIN)
    assert found.difference.isnan().all() and found.d.isnan().all() and found.means.isnan().all()


def test_pairs_do_not_see_each_other():
    together = pairwise_rewards(*tensors([[5, 3], [1, 3]], [[1, NAN], [2, 4]]), PLAIN).rewards
    assert together[0].tolist() == [*map(pytest.approx, rewards([5, 3], [1, 3]))]
    assert together[1].tolist() == [*map(pytest.approx, rewards([1, NAN], [2, 4]))]


def test_what_stands_where_nothing_was_parsed_moves_nothing():
    scores, parsed = tensors([[4, 2, NAN], [1, NAN, NAN]])
    results = [
        pairwise_rewards(torch.where(parsed, scores, garbage), parsed, PLAIN).rewards
        for garbage in (0.0, 1e9, float("inf"), NAN)
    ]
    assert all(torch.equal(r, results[0]) for r in results)


def test_correct_and_log_loss_of_pairs():
    means = side_means(*tensors([[5, NAN], [1, 3]], [[1, 2], [2, 1]], [[1, 1], [2, 2]], [[1, 1], [NAN, NAN]]))
    assert means.tolist()[:3] == [[5.0, 2.0], [1.5, 1.5], [1.0, 2.0]]
    assert pair_correct(means).tolist() == [1.0, 0.5, 0.0, 0.5]
    assert pair_log_loss(means, 2.0).tolist() == pytest.approx(
        [-log_sigmoid(1.5), math.log(2), -log_sigmoid(-0.5), math.log(2)]
    )


def test_means_of_decimals_that_differ_by_round_off_are_a_tie():
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in their last digit
    scores, parsed = tensors([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    means = side_means(scores, parsed)
    assert means[0, 0] != means[0, 1] and pair_correct(means).tolist() == [0.5]
    shared = pairwise_rewards(scores, parsed, replace(PLAIN, form="binary", pair_shared=True))
    assert shared.rewards.unique().tolist() == [0.5]


scale = st.integers(1, 5).map(float) | st.just(NAN)
sides = st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.lists(scale, min_size=n, max_size=n)] * 2))


@given(sides, st.sampled_from(["log_sigmoid", "binary", "graded", "hard_margin"]), st.booleans())
def test_every_reward_is_a_number_and_sides_are_alike(pair, form, shared):
    """Turning the scale round (6 - z) and swapping the sides asks the same question."""
    here = rewards(*pair, form=form, pair_shared=shared, clip_high=3.0)
    turned = [[6 - z for z in side] for side in pair]
    there = rewards(turned[1], turned[0], form=form, pair_shared=shared, clip_high=3.0)
    assert all(map(math.isfinite, here[0] + here[1]))
    assert here[0] == pytest.approx(there[1]) and here[1] == pytest.approx(there[0])


@given(sides, st.floats(0.1, 10))
def test_only_differences_in_units_of_the_temperature_count(pair, temperature):
    here = rewards(*pair, hard_lambda=0.5)
    there = rewards(*[[temperature * z + 7 for z in side] for side in pair], temperature=temperature, hard_lambda=0.5)
    assert here[0] == pytest.approx(there[0]) and here[1] == pytest.approx(there[1])


@given(st.lists(scale, min_size=2, max_size=6), st.data())
def test_a_higher_score_never_pays_less_on_the_preferred_side_nor_more_on_the_other(scores, data):
    form = data.draw(st.sampled_from(["log_sigmoid", "binary", "graded", "hard_margin"]))
    other = data.draw(st.lists(scale, min_size=len(scores), max_size=len(scores)))
    for side, sign in ((0, 1), (1, -1)):
        paid = rewards(*((scores, other) if side == 0 else (other, scores)), form=form, clip_high=2.0, clip_low=-2.0)
        ordered = sorted((z, r) for z, r in zip(scores, paid[side], strict=True) if not math.isnan(z))
        steps = [sign * (b[1] - a[1]) for a, b in pairwise(ordered)]
        assert all(step >= -1e-12 for step in steps)
