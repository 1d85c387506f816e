"""reward=bt_pairwise and reward=generative at the door: what is refused, in one line, before anything is loaded."""

import math

import pytest

from rlhf.config.compose import compose
from rlhf.config.rewards import learned_model
from rlhf.config.score_prompts import load_score_prompt
from rlhf.errors import ConfigError

RM = ["stage=grpo", "experiment=generative_rm"]
JUDGED = ["stage=grpo", "reward=generative", "reward.model=outputs/grpo/a"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["stage=grpo", "reward=bt_pairwise"], "set dataset.score_prompt, for example"),
        (["stage=eval", "reward=bt_pairwise"], "which suite=policy does not keep together: use suite=generative_rm or"),
        (["stage=eval", "suite=math", "reward=bt_pairwise"], "which suite=math does not keep together"),
        (["stage=dpo", "reward=bt_pairwise", "trainer.sample_prompts=4"], "which stage=dpo does not"),
        ([*RM, "rollout.stop=[x]"], "rollout.stop=['x'] beside reward=bt_pairwise"),
        ([*RM, "reward.form=hinge"], "must be one of log_sigmoid, binary, graded, hard_margin; got 'hinge'"),
        ([*RM, "reward.temperature=0"], "reward.temperature must be above 0; got 0.0"),
        ([*RM, "reward.clip_high=-1"], "reward.clip_high must be above 0"),
        ([*RM, "reward.clip_low=1"], "reward.clip_low must be below 0, or null; got 1.0"),
        ([*RM, "reward.form=graded", "reward.margin=4"], "reward.margin=4.0 is above reward.clip_high=3.0"),
        ([*RM, "reward.hard_lambda=2"], "reward.hard_lambda must lie between 0 and 1"),
        ([*RM, "reward.unparsable=-4"], "reward.unparsable=-4 is above -4.018"),
        ([*RM, "reward.unparsable=-inf"], "reward.unparsable must be a finite number"),
        ([*RM, "reward.pair_shared=true"], "trainer.baseline=group_mean sees nothing to learn"),
        ([*RM, "reward.pair_shared=true", "trainer.baseline=batch_mean"], "trainer.scale=group_std sees nothing"),
        ([*RM, "reward.hard_lambda=0.5"], "which trainer.scale=group_std divides out again"),
        (["stage=grpo", "reward=generative"], "the generative reward has no model"),
        ([*JUDGED, "reward.temperature=0"], "reward.temperature=0 writes the same score reward.samples=4 times"),
        ([*JUDGED, "reward.score_prompt=nothing"], "score_prompt=nothing is neither a file nor one of concise_100"),
        ([*JUDGED, "reward.unparsable=nan"], "reward.unparsable must be a finite number"),
        ([*JUDGED, "reward.samples=0"], "reward.samples must be at least 1"),
        (["stage=eval", "suite=math", *JUDGED[1:]], "which reward=generative does not"),
        (["stage=ppo", *JUDGED[1:], "trainer.critic_init=reward_model"], "needs one learned reward to start from"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_that_says_what_is_right(overrides, said):
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        [*RM, "reward.pair_shared=true", "trainer.baseline=batch_mean", "trainer.scale=batch_std"],
        [*RM, "reward.hard_lambda=0.5", "trainer.scale=none"],
        ["stage=ppo", "experiment=generative_rm", "reward.pair_shared=true"],
        [*RM, "dataset.score_prompt=pros_cons_100"],  # the default temperature is of the scale
        [*RM, "reward.form=binary", "reward.unparsable=0"],
        [*RM, "reward.clip_low=-1", "reward.unparsable=-1.5"],  # log sigmoid(-1) = -1.313
        [*JUDGED, "reward.temperature=0", "reward.samples=1"],
        ["stage=ppo", *JUDGED[1:]],
    ],
)
def test_right_input_opens(overrides):
    assert compose(overrides).reward.kind in ("bt_pairwise", "generative")


@pytest.mark.parametrize(
    ("overrides", "least"),
    [
        ((), -math.log(1 + math.exp(4))),  # 1 against 5, a quarter of the scale is one point
        (("reward.scale=2", "reward.offset=1"), 2 * (1 - math.log(1 + math.exp(4)))),
        (("reward.clip_low=-2",), -math.log(1 + math.exp(2))),
        (("reward.form=binary",), 0.0),
        (("reward.form=graded", "reward.margin=2"), -1.0),
        (("reward.form=hard_margin", "reward.offset=-1"), -1.0),
        (("reward.form=binary", "reward.offset=1", "reward.hard_lambda=0.75", "trainer.scale=none"), 0.25),
    ],
)
def test_the_least_that_a_score_can_earn(overrides, least):
    run = compose([*RM, "reward.unparsable=-99", *overrides])
    assert run.reward.least(load_score_prompt("concise_5")) == pytest.approx(least)


def test_a_generative_reward_is_no_start_for_a_critic():
    assert learned_model(compose(JUDGED).reward) is None
