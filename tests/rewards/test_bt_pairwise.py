"""reward=bt_pairwise on texts: which rollouts belong together, what is read out of them, what is logged."""

import math
from dataclasses import replace

import pytest

from rlhf.config.compose import compose
from rlhf.config.rewards import WeightedComponent, WeightedRewardConfig
from rlhf.config.score_prompts import load_score_prompt
from rlhf.errors import RewardError
from rlhf.rewards.bt_pairwise import BTPairwiseReward
from rlhf.rewards.build import build_reward, scoring_of
from rlhf.trainers.rollout_metrics import rollout_metrics
from rlhf.types import Prompt, Rollout

LN_2 = math.log(2)


def reward(*overrides):
    run = compose(["stage=grpo", "experiment=generative_rm", "reward.clip_high=null", *overrides])
    return build_reward(run.reward, None, scoring_of(run, None))


def sides(pair, preferred, other, *, preferred_side=0, finish="eos"):
    """Rollouts of one pair: texts of its preferred and of its other side; side 0 comes first."""
    texts = (preferred, other) if preferred_side == 0 else (other, preferred)
    about = {"pair_id": pair, "preferred_side": preferred_side}
    prompts = [Prompt(f"{pair}/{side}", text="?", metadata={**about, "side": side}) for side in (0, 1)]
    return [
        Rollout(prompts[side], (1,), (2,), (0.0,), text, finish, i)
        for side, samples in enumerate(texts)
        for i, text in enumerate(samples)
    ]


def tags(*scores):
    return [f"<s>{score}</s> because" for score in scores]


def log_sigmoid(d):
    return -math.log(1 + math.exp(-d))


@pytest.mark.parametrize("preferred_side", [0, 1])
def test_the_preferred_side_is_the_one_that_people_preferred(preferred_side):
    # means 4 and 2: 5 - 2, 3 - 2 | 4 - 1, 4 - 3
    found = reward().score(sides("a", tags(5, 3), tags(1, 3), preferred_side=preferred_side))
    of_side = [found.total[:2], found.total[2:]]
    assert of_side[preferred_side] == pytest.approx([log_sigmoid(3), log_sigmoid(1)])
    assert of_side[1 - preferred_side] == pytest.approx([log_sigmoid(3), log_sigmoid(1)])
    assert found.components["correct"] == [1.0] * 4


def test_pairs_may_be_mixed_and_come_back_in_the_order_they_came():
    first, second = sides("a", tags(5), tags(4)), sides("b", tags(2), tags(5), preferred_side=1)
    plain = reward().score([*first, *second])
    mixed = reward().score([second[1], first[0], second[0], first[1]])
    assert mixed.total == [plain.total[i] for i in (3, 0, 2, 1)]
    for name, values in plain.components.items():
        assert mixed.components[name] == pytest.approx([values[i] for i in (3, 0, 2, 1)], nan_ok=True), name


def test_components_by_hand():
    # preferred: 5 and 2, mean 3.5; other: 2, unreadable, mean 2
    found = reward("reward.unparsable=-9").score(sides("a", tags(5, 2), ["<s>2</s> or <s>4</s>", "five"]))
    expected = {
        "score": [5.0, 2.0, 2.0, math.nan],
        "parsed": [1.0, 1.0, 1.0, 0.0],
        "failed_missing": [0.0, 0.0, 0.0, 1.0],
        "failed_unclosed": [0.0] * 4,
        "failed_not_a_number": [0.0] * 4,
        "failed_out_of_range": [0.0] * 4,
        "several_tags": [0.0, 0.0, 1.0, 0.0],
        "difference": [3.0, 0.0, 1.5, math.nan],  # 5 - 2, 2 - 2 | 3.5 - 2
        "near_zero": [0.0, 1.0, 0.0, math.nan],
        "saturated": [0.0, 0.0, 0.0, math.nan],
        "correct": [1.0] * 4,
        "correct_strict": [1.0] * 4,
        "tie": [0.0] * 4,
        "undecided": [0.0] * 4,
        "log_loss": [-log_sigmoid(1.5)] * 4,
    }
    assert list(found.components) == list(expected)
    for name, values in expected.items():
        assert found.components[name] == pytest.approx(values, nan_ok=True), name
    assert found.total == pytest.approx([log_sigmoid(3), -LN_2, log_sigmoid(1.5), -9.0])


def test_ties_undecided_pairs_and_the_identity_of_accuracies():
    rollouts = [
        *sides("right", tags(5, 5), tags(4, 4)),
        *sides("tie", tags(2, 4), tags(3, 3)),
        *sides("wrong", tags(1, 1), tags(4, 4)),
        *sides("undecided", tags(5, 5), ["?", "<s>9</s>"]),
    ]
    found = reward().score(rollouts).components
    by_pair = {name: found[name][::4] for name in ("correct", "correct_strict", "tie", "undecided", "log_loss")}
    assert by_pair["correct"] == [1.0, 0.5, 0.0, 0.5]
    assert by_pair["correct_strict"] == [1.0, 0.0, 0.0, 0.0]
    assert (by_pair["tie"], by_pair["undecided"]) == ([0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0])
    assert by_pair["log_loss"] == pytest.approx([-log_sigmoid(1), LN_2, -log_sigmoid(-3), LN_2])
    assert found["failed_out_of_range"][-1] == 1.0


def test_saturation_at_either_clip():
    found = reward("reward.clip_high=2", "reward.clip_low=-1").score(
        [*sides("a", tags(5), tags(2)), *sides("b", tags(2), tags(4)), *sides("c", tags(4), tags(3))]
    )
    assert found.components["saturated"] == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert found.total == pytest.approx([log_sigmoid(2)] * 2 + [log_sigmoid(-1)] * 2 + [log_sigmoid(1)] * 2)


def test_the_scale_gives_the_temperature():
    # a quarter of 0 to 100 is 25 points: 80 - 30 is 2
    found = reward("dataset.score_prompt=score_first_100").score(sides("a", tags(80), tags(30)))
    assert found.total == pytest.approx([log_sigmoid(2)] * 2)
    own = reward("dataset.score_prompt=score_first_100", "reward.temperature=10", "reward.unparsable=-11")
    assert own.score(sides("a", tags(80), tags(30))).total == pytest.approx([log_sigmoid(5)] * 2)


def test_a_closing_tag_that_ended_the_answer_counts_as_written():
    cut = sides("a", ["<s>5"], ["<s>1"], finish="stop")
    assert reward().score(cut).components["score"] == [5.0, 1.0]  # the experiment stops at </s>
    assert reward("rollout.stop=[]").score(cut).components["failed_unclosed"] == [1.0, 1.0]
    limit = [replace(r, finish="length") for r in cut]
    assert reward().score(limit).components["failed_unclosed"] == [1.0, 1.0]


def test_both_sides_are_needed_and_named():
    both = sides("hh-7", tags(5), tags(4))
    with pytest.raises(RewardError, match="no sample of the other side of pair hh-7"):
        reward().score(both[:1])
    with pytest.raises(RewardError, match="no sample of the preferred side of pair hh-7"):
        reward().score(both[1:])
    strange = [replace(both[0], prompt=Prompt("x", text="?"))]
    with pytest.raises(RewardError, match=r"prompt x is no side of a pair .*pair_id.*dataset.score_prompt"):
        reward().score(strange)


def test_what_does_not_apply_is_left_out_of_the_means():
    rollouts = [*sides("a", tags(5, 4), ["?", "?"])]
    logged = rollout_metrics(rollouts, reward().score(rollouts), 2)
    assert logged["reward/score"] == 4.5 and logged["reward/parsed"] == 0.5
    assert "reward/difference" not in logged and logged["reward/correct"] == 0.5
    assert reward().score([]).total == []


def test_a_part_of_a_weighted_reward():
    run = compose(["stage=grpo", "experiment=generative_rm"])
    weighted = WeightedRewardConfig("weighted", {"bt": WeightedComponent(2.0, run.reward)})
    found = build_reward(weighted, None, scoring_of(run, None))
    scores = found.score(sides("a", tags(5), tags(4)))
    assert scores.total == pytest.approx([2 * log_sigmoid(1)] * 2) and scores.components["bt_correct"] == [1.0, 1.0]


def test_made_by_hand():
    config = compose(["stage=grpo", "experiment=generative_rm"]).reward
    own = BTPairwiseReward(config, load_score_prompt("concise_5"))
    assert own.score(sides("a", tags(5), tags(1))).total == pytest.approx([log_sigmoid(3)] * 2)  # clip_high is 3
