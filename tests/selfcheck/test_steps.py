"""The check of a training stage's step passes on sound configurations and fails where what it guards is broken."""

from __future__ import annotations

import pytest
import torch

from rlhf.config.compose import compose
from rlhf.errors import TripwireError
from rlhf.models.reference import make_reference
from rlhf.parts import Parts, build
from rlhf.selfcheck.run import StepCheck
from rlhf.tracking.run_directory import RunDirectory

DROPOUT = ["model.lora.enabled=true", "model.lora.dropout=0.5"]


@pytest.fixture
def check(tmp_path):
    def run(stage, *overrides):
        overrides = ["model=tiny", "hardware.matmul_precision=highest", "dataset.limit=8", *overrides]
        config = compose([f"stage=selfcheck/{stage}", *overrides])
        parts = Parts(config, RunDirectory(tmp_path))
        before = [p.clone() for p in parts.policy.parameters()] if stage != "reward" else []
        found = build(StepCheck, config.trainer, parts).run()
        assert all(map(torch.equal, before, parts.policy.parameters()))  # nothing has moved
        return found

    return run


@pytest.mark.parametrize(
    ("stage", "overrides", "number"),
    [
        ("sft", [], 6),
        ("sft", ["model.lora.enabled=true"], 6),
        ("reward", ["trainer.centering_coef=0.1"], 5),
        ("dpo", [], 7),
        ("dpo", ["trainer.loss={aot: 1.0, bco_pair: 0.5}", "trainer.ld_alpha=0.5"], 7),
        ("dpo", ["trainer.loss=simpo"], 6),
        ("ppo", [], 8),
        ("ppo", ["trainer.critic=shared", "trainer.entropy_coef=0.01"], 4),
    ],
)
def test_sound_configurations_pass(check, stage, overrides, number):
    outcomes = check(stage, *overrides)
    assert len({outcome.name for outcome in outcomes}) == len(outcomes) == number


def failures(check, *overrides) -> str:
    with pytest.raises(TripwireError) as caught:
        check(*overrides)
    return str(caught.value)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_dropout_is_found(check, stage):
    assert "once more, as it was" in failures(check, stage, *DROPOUT)


def test_a_denominator_of_the_micro_batch_is_found(check, monkeypatch):
    monkeypatch.setattr(
        "rlhf.trainers.sft.sft_loss", lambda logprobs, mask, *, num_tokens: -logprobs[mask].sum() / mask.sum()
    )
    found = failures(check, "sft")
    assert "in several micro-batches" in found and "one answer at a time" in found and "padded" not in found


def test_counting_masked_tokens_is_found(check, monkeypatch):
    real = "rlhf.selfcheck.steps.with_garbage"

    def counted(group, tokens):
        longer = tuple(type(c)((*c.ids, *(17,) * tokens)) for c in group.continuations)
        return type(group)(group.prompt_ids, longer)

    monkeypatch.setattr(real, counted)
    found = failures(check, "dpo")
    assert found.startswith("1 of 7") and "garbage after every answer" in found


def test_a_reference_that_is_another_model_is_found(check, monkeypatch):
    def scaled(policy):
        reference = make_reference(policy)
        with torch.no_grad():
            reference.model.get_input_embeddings().weight.mul_(1.5)
        return reference

    monkeypatch.setattr("rlhf.parts.models.make_reference", scaled)
    assert "first update: log ratio between the sides" in failures(check, "dpo")
