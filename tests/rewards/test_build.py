import pytest

from rlhf.config.compose import compose
from rlhf.rewards.build import build_reward
from rlhf.rewards.gold import gold_score
from rlhf.types import RewardScores

ANSWERS = (
    "What a wonderful, lovely and happy day we had at the sea!",
    "I hate it. It was awful and sad, the worst day.",
)


class Twice:
    """Stands for a reward model: scores 2 everywhere."""

    def score(self, rollouts):
        return RewardScores([2.0] * len(rollouts), {})


def test_gold_is_the_rule(rollouts):
    reward = build_reward(compose(["stage=grpo", "reward=gold"]).reward, load_learned=None)
    scores = reward.score(rollouts(*ANSWERS))
    assert scores.total == [gold_score(a).total for a in ANSWERS]
    assert scores.total[0] > 0 > scores.total[1]
    assert [s + n for s, n in zip(*scores.components.values(), strict=True)] == pytest.approx(scores.total)


def test_weights_and_measured_parts(rollouts):
    run = compose(
        ["stage=grpo", "reward=weighted", "reward.components.learned.model=x", "reward.components.learned.weight=0.5"]
    )
    paths = []
    reward = build_reward(run.reward, lambda path: paths.append(path) or Twice())
    scores = reward.score(rollouts(*ANSWERS))
    assert paths == ["x"]
    assert scores.total == [1.0, 1.0]  # gold has weight 0: measured, not added
    assert scores.components["gold"] == [gold_score(a).total for a in ANSWERS]
    assert scores.components["gold_sentiment"] == [gold_score(a).sentiment for a in ANSWERS]
    assert scores.components["learned"] == [2.0, 2.0]


def test_a_weighted_sum_by_hand(rollouts):
    run = compose(
        ["stage=grpo", "reward=weighted", "reward.components.learned.model=x", "reward.components.gold.weight=10"]
    )
    scores = build_reward(run.reward, lambda path: Twice()).score(rollouts(ANSWERS[0]))
    assert scores.total == [pytest.approx(2.0 + 10 * gold_score(ANSWERS[0]).total)]
