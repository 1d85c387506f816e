from dataclasses import replace

import pytest
import torch

from rlhf.config.compose import compose
from rlhf.data.rendering import Renderer
from rlhf.hardware import default_hardware
from rlhf.models.loading import load_tokenizer, reward_model_from_policy
from rlhf.rewards.learned import LearnedReward


@pytest.fixture
def reward():
    run = compose(["stage=reward", "model=tiny"])
    hardware = replace(default_hardware(), tokens_per_microbatch=200)
    return LearnedReward(
        reward_model_from_policy(run.model, hardware, seed=0),
        Renderer(load_tokenizer(run.model), run.dataset),
        hardware,
    )


def test_scores_are_the_models_own(reward, rollouts):
    made = rollouts("short", "a much longer answer than the first one", "x")
    scores = reward.score(made).total
    for rollout, score in zip(made, scores, strict=True):
        ids = reward.renderer.prompt_ids(rollout.prompt) + reward.renderer.answer_ids(rollout.prompt, rollout.text)
        with torch.no_grad():
            expected = reward.model(input_ids=torch.tensor([ids])).logits.item()
        assert score == pytest.approx(expected, abs=1e-5)


def test_a_cut_answer_keeps_its_missing_end(reward, rollouts):
    ended, cut = (reward.score(rollouts("same words", finish=f)).total[0] for f in ("eos", "length"))
    assert ended != cut


def test_an_answer_of_nothing_is_scored(reward, rollouts):
    assert len(reward.score(rollouts("", finish="length")).total) == 1
