"""What the canary lets pass and what it stops, on numbers."""

from __future__ import annotations

import numpy as np
import pytest

from rlhf.errors import TripwireError
from rlhf.rollout.vllm.canary import PROBE_TOKENS, Canary, probe_ids

OLD = np.linspace(-9.0, -1.0, PROBE_TOKENS - 1)
UP = np.where(np.arange(PROBE_TOKENS - 1) % 2, 1.0, -1.0)  # a mean |value| of 1


@pytest.fixture
def canary(tiny_model, byte_tokenizer):
    """Factory: a canary that has seen `OLD` delivered."""

    def make(dtype="float32", tolerance=None, seen=True):
        ids = probe_ids(byte_tokenizer, 261, 100)
        made = Canary(tiny_model(), ids, pad_token_id=256, dtype=dtype, tolerance=tolerance)
        if seen:
            assert made.check(OLD, OLD, "sync 1") == 0
        return made

    return make


def test_the_probe_fits_vocabulary_and_context(byte_tokenizer):
    assert len(probe_ids(byte_tokenizer, 261, 100)) == PROBE_TOKENS
    assert len(probe_ids(byte_tokenizer, 261, 20)) == 20
    few = probe_ids(byte_tokenizer, 100, 100)  # capitals and digits alone
    assert len(few) == PROBE_TOKENS and max(few) < 100


def test_trainer_values_are_log_probs_of_each_token_but_the_first(canary, tiny_model):
    import torch

    made = canary()
    made.forward.model.train()
    logits = tiny_model()(torch.tensor([made.ids])).logits[0]
    expected = [logits[i].log_softmax(-1)[token].item() for i, token in enumerate(made.ids[1:])]
    np.testing.assert_allclose(made.trainer_values(), expected, atol=1e-5)
    assert made.forward.model.training


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-3), ("bfloat16", 0.15)])
def test_any_difference_above_the_tolerance(canary, dtype, most):
    assert canary(dtype, seen=False).check(OLD, OLD + 0.9 * most * UP, "sync 1") == pytest.approx(0.9 * most)
    with pytest.raises(TripwireError, match=rf"canary: after sync 1 .* -5\.\d+ nats a token, .* more than {most:g}"):
        canary(dtype, seen=False).check(OLD, OLD + 1.1 * most * UP, "sync 1")
    with pytest.raises(TripwireError, match="canary"):
        canary(dtype, seen=False).check(OLD, np.full_like(OLD, np.nan), "sync 1")


def test_a_tolerance_of_ones_own(canary):
    canary(tolerance=0.5, seen=False).check(OLD, OLD + 0.4 * UP, "sync 1")


def test_a_sampler_that_stands_still(canary):
    """Below every tolerance: the policy moved by 1e-5 a token."""
    with pytest.raises(TripwireError, match="the update moved the trainer by 1e-05 a token and the sampler not at all"):
        canary().check(OLD + 1e-5 * UP, OLD, "sync 2")
    canary().check(OLD, OLD, "sync 2")  # nothing moved
    canary().check(OLD + 1e-5 * UP, OLD + 1e-7 * UP, "sync 2")  # something did: round-off hides the rest


@pytest.mark.parametrize(("dtype", "moved", "tolerance"), [("float32", 6e-4, None), ("bfloat16", 0.14, None)])
def test_values_nearer_to_the_weights_before(canary, dtype, moved, tolerance):
    with pytest.raises(TripwireError, match="nearer to the weights before than to those after"):
        canary(dtype, tolerance).check(OLD + moved * UP, OLD + 0.2 * moved * UP, "sync 2")
    canary(dtype, tolerance).check(OLD + moved * UP, OLD + 0.98 * moved * UP, "sync 2")


def test_a_part_that_was_missed(canary):
    """A head that stayed as it was misses a seventh of a small update: 1.4e-4 of 1e-3, below the tolerance."""
    with pytest.raises(TripwireError, match=r"trainer by 0.001 a token, and the sampler missed 0.00014 of it"):
        canary().check(OLD + 1e-3 * UP, OLD + 0.86e-3 * UP, "sync 2")
    canary().check(OLD + 1e-3 * UP, OLD + 0.96e-3 * UP, "sync 2")  # 4e-5 is round-off


def test_a_lasting_difference_is_not_a_missed_update(canary):
    """bf16 weights are always some way from the trainer's; what counts is that they move with them."""
    made = canary("bfloat16", seen=False)
    made.check(OLD, OLD + 0.1 * UP, "sync 1")
    made.check(OLD + 0.3 * UP, OLD + 0.4 * UP, "sync 2")
