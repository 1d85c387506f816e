"""reward=generative: scores that a model writes. A scripted sampler for the arithmetic, a tiny model for the rest."""

import math
from dataclasses import replace

import pytest
import torch

from rlhf.config.compose import compose
from rlhf.config.score_prompts import load_score_prompt
from rlhf.data.rendering import Renderer
from rlhf.errors import ConfigError, ModelError
from rlhf.models.loading import load_causal_lm, load_tokenizer, save_model
from rlhf.parts import Parts
from rlhf.rewards.generative import GenerativeReward
from rlhf.rewards.gold_reward import GoldReward
from rlhf.rewards.score_sampling import ScoreSampler, mean_score, score_stop
from rlhf.rewards.weighted import WeightedReward
from rlhf.tracking.run_directory import RunDirectory
from rlhf.trainers.flops import reward_flops
from rlhf.types import Message, Prompt, Rollout

CONCISE = load_score_prompt("concise_5")


class Scripted:
    """Stands for a sampler: what it writes about an answer is in `says`; remembers what it was asked."""

    def __init__(self, says):
        self.says, self.asked = says, []

    def sample(self, prompts, num_samples, *, step):
        self.asked += [(p.id, p.messages[-1].content, step) for p in prompts]
        return [
            Rollout(prompt, (1,), (2,), (0.0,), text, "eos", sample)
            for prompt in prompts
            for answer, texts in self.says.items()
            if answer in prompt.messages[-1].content
            for sample, text in enumerate(texts[:num_samples])
        ]


@pytest.fixture
def renderer():
    run = compose(["stage=grpo", "model=tiny", "reward=gold"])
    return Renderer(load_tokenizer(run.model), replace(run.dataset, max_prompt_tokens=700))


def scripted(says, renderer, samples=2, unparsable=0.0):
    sampler = Scripted(says)
    scores = ScoreSampler(sampler, CONCISE, samples)
    model = torch.nn.Linear(1, 1)
    reward = GenerativeReward(scores, renderer, model=model, max_new_tokens=8, unparsable=unparsable, name="a model")
    return reward, sampler


def test_means_of_what_could_be_read(renderer, rollouts):
    says = {"fine": ["<s>4</s>", "<s>5</s>"], "odd": ["<s>2</s>", "two"], "lost": ["<s>9</s>", "<s>"]}
    reward, _ = scripted(says, renderer, unparsable=-1.5)
    scores = reward.score(rollouts("fine", "odd", "lost"))
    assert scores.total == [4.5, 2.0, -1.5]
    expected = {
        "parsed": [1.0, 0.5, 0.0],
        "failed_missing": [0.0, 0.5, 0.0],
        "failed_unclosed": [0.0, 0.0, 0.5],
        "failed_not_a_number": [0.0, 0.0, 0.0],
        "failed_out_of_range": [0.0, 0.0, 0.5],
        "several_tags": [0.0, 0.0, 0.0],
        "spread": [0.5, math.nan, math.nan],  # of 4 and 5
        "prompt_cut": [0.0, 0.0, 0.0],
    }
    assert set(scores.components) == set(expected)
    for name, values in expected.items():
        assert scores.components[name] == pytest.approx(values, nan_ok=True), name


def test_equal_answers_to_one_prompt_are_asked_once(renderer, rollouts):
    reward, sampler = scripted({"mango": ["<s>3</s>"], "plum": ["<s>1</s>"]}, renderer, samples=1)
    one, two, three = rollouts("mango", "plum", "mango")
    again = replace(one, sample=1)
    scores = reward.score([one, two, again, three])  # three answers p2, one answers p0
    assert scores.total == [3.0, 1.0, 3.0, 3.0]
    assert len(sampler.asked) == 3 and {step for _, _, step in sampler.asked} == {0}
    assert len({name for name, _, _ in sampler.asked}) == 3


def test_what_scoring_costs(renderer, rollouts):
    """Two different answers: each request is read once and answered twice with at most 8 tokens; a Linear(1, 1) has two
    parameters, each two operations a token."""
    reward, _ = scripted({}, renderer)
    made = rollouts("mango", "plum")
    read = sum(len(renderer.prompt_ids(reward.request(r.prompt, r.text))) for r in made)
    assert reward.tokens_of([*made, replace(made[0], sample=1)]) == read + 2 * 2 * 8
    assert reward_flops(reward, made) == 2 * 2 * (read + 32)
    weighted = WeightedReward({"judge": (1.0, reward), "gold": (0.0, GoldReward())})
    assert reward_flops(weighted, made) == reward_flops(reward, made) and reward_flops(GoldReward(), made) == 0


def test_the_request_names_the_conversation_and_the_answer(renderer):
    reward, sampler = scripted({"I am": ["<s>3</s>"]}, renderer, samples=1)
    turns = (Message("user", "Hello"), Message("assistant", "Hi"), Message("user", "Who are you?"))
    reward.score([Rollout(Prompt("p", turns), (1,), (2,), (0.0,), "I am a bot", "eos", 0)])
    text = sampler.asked[0][1]
    assert text.index("Human: Hello") < text.index("Assistant: Hi") < text.index("Who are you?") < text.index("I am a")


def test_a_request_that_is_too_long_is_counted(renderer, rollouts):
    reward, _ = scripted({"": ["<s>3</s>"]}, renderer, samples=1)
    assert reward.score(rollouts("short", "long " * 200)).components["prompt_cut"] == [0.0, 1.0]


def test_sampling_stops_at_the_tag_where_the_first_one_counts():
    assert score_stop(load_score_prompt("score_first_5")) == ["</s>"]
    assert score_stop(load_score_prompt("reason_first_5")) == []
    sampler = ScoreSampler(None, CONCISE, 1, stop=["</s>"])
    stopped = Rollout(Prompt("p"), (), (), (), "<s>4", "stop", 0)
    assert mean_score(sampler.parsed([stopped])) == 4.0
    assert mean_score(sampler.parsed([replace(stopped, finish="length")])) is None


@pytest.fixture
def language_model(tmp_path):
    """A tiny language model in a folder."""
    config = compose(["stage=grpo", "model=tiny", "reward=gold"])
    model = load_causal_lm(config.model, Parts(config, None).hardware, seed=3)
    save_model(model, load_tokenizer(config.model), tmp_path / "lm")
    return tmp_path / "lm"


def parts(path, *overrides):
    run = compose(["stage=grpo", "model=tiny", "hardware.threads=1", "reward=generative", f"reward.model={path}",
                   "reward.max_prompt_tokens=900", "reward.max_new_tokens=4", *overrides])  # fmt: skip
    return Parts(run, RunDirectory(path))


def test_the_score_of_an_answer_does_not_depend_on_what_else_is_scored(language_model, rollouts):
    reward = parts(language_model, "reward.score_prompt=concise_5").reward
    assert not any(p.requires_grad for p in reward.model.parameters())
    made = rollouts("one answer", "another", "a third that is longer than the others")
    written = [_texts(reward, made), _texts(reward, made[::-1])[::-1], [_texts(reward, [r])[0] for r in made]]
    assert written[0] == written[1] == written[2]
    assert written[0] == _texts(parts(language_model, "reward.score_prompt=concise_5").reward, made)
    assert written[0] != _texts(parts(language_model, "reward.score_prompt=concise_5", "seed=1").reward, made)
    assert reward.score(made).total == [0.0, 0.0, 0.0]  # random weights write no tag: reward.unparsable


def _texts(reward, rollouts):
    requests = [reward.request(r.prompt, r.text) for r in rollouts]
    return [[sample.text for sample in row] for row in reward.sampler.rollouts(requests, step=0)]


def test_a_run_brings_its_score_prompt_and_its_rendering(language_model, tmp_path):
    trained = compose(["stage=grpo", "experiment=generative_rm", "model=tiny", "dataset.system_prompt=Be strict.",
                       "dataset.score_prompt=reason_first_100"])  # fmt: skip
    run = RunDirectory(tmp_path / "trained").create(trained.plain, ["a test"])
    run.model.symlink_to(language_model)
    own = parts(run.path).reward
    assert own.score_prompt.name == "reason_first_100"
    assert own.renderer.config.system_prompt == "Be strict." and own.renderer.config.max_prompt_tokens == 900
    assert parts(run.path, "reward.score_prompt=concise_5").reward.score_prompt.name == "concise_5"


def test_what_cannot_be_a_generative_reward_is_refused(language_model, tmp_path):
    with pytest.raises(ConfigError, match=r"is no run with a score prompt .* reward.score_prompt=score_first_5"):
        _ = parts(language_model).reward
    with pytest.raises(ModelError, match="no model at"):
        _ = parts(tmp_path / "nothing", "reward.score_prompt=concise_5").reward
