"""Teachers on this machine: how rewards become scores of the scale."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlhf.rewards.gold import gold_score
from rlhf.teacher.local import gold_scores, quantile_scores, random_scores, reward_scores
from rlhf.types import RewardScores
from tests.teacher.conftest import question, questions

FIVE, HUNDRED = range(1, 6), range(0, 101)


def test_the_gold_reward_is_stretched_over_the_scale():
    """A reward r in [-2, 1] becomes 1 + 4 (r + 2) / 3, at the nearest whole number: -0.5 is the middle, 3."""
    asked = [
        question(i, chosen, "Awful.") for i, chosen in enumerate(["It was a lovely, wonderful day for all.", "No."])
    ]
    for q, scores in zip(asked, gold_scores(asked, FIVE), strict=True):
        expected = [round(1 + 4 * (gold_score(answer).total + 2) / 3) for answer in q.answers]
        assert scores.tolist() == expected and all(1 <= s <= 5 for s in expected)
    assert gold_scores([question(0, "", "")], FIVE).tolist() == [[2.0, 2.0]]  # no words: 0 - 1, so 1 + 4 / 3
    assert gold_scores([question(0, "", "")], HUNDRED).tolist() == [[33.0, 33.0]]


def test_random_scores_follow_from_seed_pair_and_side_alone():
    every = random_scores(questions(400), FIVE, seed=0)
    assert (random_scores(questions(400)[7:9], FIVE, seed=0) == every[7:9]).all()
    assert (random_scores(questions(400), FIVE, seed=1) != every).any()
    counts = Counter(every.ravel().tolist())
    assert set(counts) == set(FIVE) and all(100 < number < 220 for number in counts.values())  # 160 each, sd 11.3
    assert abs(np.corrcoef(every.T)[0, 1]) < 0.15


def test_quantiles_by_hand():
    """Six answers on a scale of 3: two to each level. Ties in the middle share the level of their mid-rank."""
    assert quantile_scores(np.array([[0.1, 9.0], [3.0, 2.0], [0.2, 5.0]]), range(1, 4)).tolist() == [
        [1, 3],
        [2, 2],
        [1, 3],
    ]
    assert quantile_scores(np.array([[7.0, 7.0]]), FIVE).tolist() == [[3, 3]]


@given(arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(-9, 9).map(float)),
       st.sampled_from([FIVE, HUNDRED, range(2)]))  # fmt: skip
def test_quantiles_keep_the_order_and_stay_on_the_scale(rewards, levels):
    scores, flat = quantile_scores(rewards, levels), rewards.ravel()
    assert scores.min() >= levels[0] and scores.max() <= levels[-1]
    order = np.argsort(flat, kind="stable")
    assert (np.diff(scores.ravel()[order]) >= 0).all()
    for value in np.unique(flat):
        assert len(np.unique(scores[rewards == value])) == 1


def test_distinct_rewards_give_every_level_its_equal_share():
    rewards = np.random.default_rng(0).permutation(80).astype(float).reshape(40, 2)
    assert Counter(quantile_scores(rewards, FIVE).ravel().tolist()) == dict.fromkeys((1.0, 2.0, 3.0, 4.0, 5.0), 16)


def test_a_reward_model_sees_the_conversation_and_whole_answers():
    seen = []

    class Length:
        def score(self, rollouts):
            seen.extend(rollouts)
            return RewardScores([float(len(r.text)) for r in rollouts], {})

    asked = questions(3)
    scores = reward_scores(asked, FIVE, load=Length)
    assert [(r.prompt, r.text, r.finish) for r in seen] == [(q.prompt, a, "eos") for q in asked for a in q.answers]
    assert all(row[q.preferred_side] > row[1 - q.preferred_side] for q, row in zip(asked, scores, strict=True))
    assert seen[0].prompt.messages[0].content == "question 0"


@pytest.mark.parametrize("scores", [gold_scores, lambda q, levels: random_scores(q, levels, seed=3)])
def test_scores_are_whole_numbers_of_the_scale(scores):
    found = scores(questions(50), FIVE)
    assert found.shape == (50, 2) and set(found.ravel()) <= set(map(float, FIVE))
