"""What stage=dpo and stage=sft measure of the policy's own answers at evaluations."""

from dataclasses import replace

import pytest
import torch

from rlhf.config.compose import compose
from rlhf.errors import ConfigError
from rlhf.models.forward import PackedForward
from rlhf.models.reference import make_reference
from rlhf.trainers.dpo import DPOTrainer
from rlhf.trainers.sampled_answers import distinct_prompts
from rlhf.trainers.sft import SFTTrainer
from rlhf.types import RewardScores

LEARNS = {"dpo": (DPOTrainer, "pairs"), "sft": (SFTTrainer, "demonstrations")}
NEW_TOKENS = 6


class LengthReward:
    """Scores an answer by its tokens, and says so."""

    def score(self, rollouts):
        lengths = [float(len(r.answer_ids)) for r in rollouts]
        return RewardScores([2 * n for n in lengths], {"tokens": lengths})


@pytest.fixture(params=sorted(LEARNS))
def learning(request, tiny, hardware, sampler_for):
    """make(*overrides, **parts) -> a trainer of the stage that samples 3 answers, its parts and its sampler."""

    def make(*overrides, **given):
        trainer, data = LEARNS[request.param]
        parts = tiny(request.param, "trainer.sample_prompts=3", *overrides)
        sampler = sampler_for(parts, max_new_tokens=NEW_TOKENS)
        forward = PackedForward(parts.model, pad_token_id=parts.tokenizer.pad_token_id)
        examples = getattr(parts, data)
        values = {data: examples, f"eval_{data}": examples, "answer_sampler": sampler, "hardware": hardware}
        values["reference"] = make_reference(forward) if parts.config.needs_reference else None
        made = trainer(parts.config, policy=parts.model, tokenizer=parts.tokenizer, **values | given)
        return made, parts, sampler

    return make


def test_they_tell_how_far_the_policy_has_moved(learning):
    made, _, _ = learning("trainer.num_steps=4", "trainer.learning_rate=1e-2")
    before = made.evaluate()
    assert before["policy_kl_ref_answer"] == pytest.approx(0.0, abs=1e-5)
    assert 0 < before["response_length_tokens"] <= NEW_TOKENS and "reward_mean" not in before
    made.train()
    assert made.evaluate()["policy_kl_ref_answer"] > 0.01
    assert made.model.training


def test_they_are_scored_by_a_reward_that_nothing_is_trained_on(learning):
    made, _, _ = learning("trainer.num_steps=1", answer_reward=LengthReward())
    found = made.evaluate()
    assert found["reward_tokens"] == pytest.approx(found["response_length_tokens"])
    assert found["reward_mean"] == pytest.approx(2 * found["reward_tokens"])
    assert {"loss", "num_examples"} <= set(found) and found["num_examples"] == 8  # of the data, not of the answers

    def weights(**given):
        trained, parts, _ = learning("trainer.num_steps=2", **given)
        trained.train()
        return torch.cat([p.detach().flatten() for p in parts.model.parameters()])

    assert torch.equal(weights(), weights(answer_reward=LengthReward()))


def asked_of(made, sampler, monkeypatch):
    asked, sample = [], sampler.sample

    def note(prompts, *rest, **named):
        asked.extend(prompts)
        return sample(prompts, *rest, **named)

    monkeypatch.setattr(sampler, "sample", note)
    made.evaluate()
    return asked


def test_who_is_asked(learning, monkeypatch):
    made, parts, sampler = learning()
    held_out = distinct_prompts(parts.pairs.examples)
    assert [p.id for p in asked_of(made, sampler, monkeypatch)] == [p.id for p in held_out[:3]]
    made, parts, sampler = learning(answer_prompts=replace(parts.prompts, examples=parts.prompts.examples[4:]))
    assert asked_of(made, sampler, monkeypatch) == list(parts.prompts.examples[4:7])  # the first 3 of those given
    made, parts, sampler = learning("trainer.sample_prompts=0", answer_prompts=parts.prompts)
    assert asked_of(made, sampler, monkeypatch) == []


def test_pairs_of_prompts_stay_whole(learning, monkeypatch):
    _, parts, _ = learning()
    made, _, sampler = learning("trainer.sample_prompts=2", answer_prompts=replace(parts.prompts, per_unit=2))
    assert asked_of(made, sampler, monkeypatch) == list(parts.prompts.examples[:4])


def test_prompts_are_asked_once(tiny):
    examples = tiny("dpo").pairs.examples
    assert distinct_prompts(examples[:3] + examples[1:4]) == [pair.prompt for pair in examples[:4]]


def test_what_is_missing_is_said(learning):
    with pytest.raises(ConfigError, match=r"trainer.sample_prompts needs a sampler"):
        learning(answer_sampler=None)
    with pytest.raises(ConfigError, match=r"trainer.sample_prompts needs a reference"):
        learning(reference=None)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_reward_without_answers_is_refused(stage):
    with pytest.raises(ConfigError) as caught:
        compose([f"stage={stage}", "reward=gold"])
    assert f"reward=gold scores the answers of trainer.sample_prompts, which is 0 for this stage={stage}" in str(
        caught.value
    )
    with pytest.raises(ConfigError, match=r"trainer.sample_prompts must be at least 0"):
        compose([f"stage={stage}", "trainer.sample_prompts=-1"])
