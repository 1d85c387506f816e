"""Models that a packed row does not suit are recognised, padded by themselves, and right all the same."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from rlhf.models.forward import PackedForward
from rlhf.models.packing_support import sliding_window, why_padded
from rlhf.types import Continuation, PackedBatch, SamplingDistribution, TokenGroup
from tests.models.plain import BATCH, PAD, assert_same_gradients, gradients, plain_logprobs, weights_like

KV = {"intermediate_size": 48, "num_key_value_heads": 2}


@pytest.mark.parametrize(("family", "sizes"), [
    ("llama", {}), ("qwen2", {}), ("gpt2", {}), ("mistral", KV | {"sliding_window": None}),
    ("qwen3", KV | {"head_dim": 8}), ("phi", {}), ("gpt_neox", {"intermediate_size": 48}), ("olmo2", KV), ("phi3", KV),
    ("qwen2_moe", KV | {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}),
])  # fmt: skip
def test_these_families_pack(tiny_model, family, sizes):
    assert why_padded(tiny_model(family, **sizes)) is None


@pytest.mark.parametrize(("family", "sizes", "reason"), [
    ("gemma2", KV | {"head_dim": 8}, "softcap"),
    ("gpt_oss", KV | {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1}, "s_aux"),
    ("bloom", {"n_head": 4, "n_layer": 2}, "attention interface"),
    ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2}, "attention interface"),
    ("qwen3_next", KV | {"head_dim": 8, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16,
                         "shared_expert_intermediate_size": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
                         "linear_key_head_dim": 8, "linear_value_head_dim": 8}, "linear_attention"),
    ("mamba", {"state_size": 4}, "linear_attention"),
])  # fmt: skip
def test_these_families_are_padded_and_the_log_says_why(tiny_model, caplog, family, sizes, reason):
    model = tiny_model(family, dtype=torch.float32, **sizes)
    assert reason in why_padded(model)
    with caplog.at_level(logging.INFO):
        forward = PackedForward(model, pad_token_id=PAD)
        forward(BATCH), forward(BATCH)
    assert sum("gets padded rows" in record.message for record in caplog.records) == 1


def test_an_encoder_is_padded():
    config = AutoConfig.for_model("bert", hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
                                  intermediate_size=48, vocab_size=300, num_labels=1)  # fmt: skip
    model = AutoModelForSequenceClassification.from_config(config).eval()
    assert why_padded(model)
    ids = torch.tensor([[5, 9, 3, 7, 8, 9, 257]])
    scores = PackedForward(model, pad_token_id=PAD).score(BATCH)
    torch.testing.assert_close(scores[:1], model(ids).logits[0])


def test_rows_longer_than_a_sliding_window_are_padded(tiny_model):
    model = tiny_model("mistral", dtype=torch.float64, **KV, sliding_window=16, attn_implementation="eager")
    forward = PackedForward(model, pad_token_id=PAD)
    assert sliding_window(model) == 16 and forward.padded is None
    fits = PackedBatch((TokenGroup(tuple(range(12)), (Continuation((7, 8, 9, 257)), Continuation((1,)))),))
    torch.testing.assert_close(forward(fits).logprobs, plain_logprobs(model, fits))
    assert forward.padded is None
    long = PackedBatch((TokenGroup(tuple(range(13)), (Continuation((7, 8, 9, 257)), Continuation((1,)))),))
    torch.testing.assert_close(forward(long).logprobs, plain_logprobs(model, long))
    assert "sliding window of 16" in forward.padded


def test_windows_that_are_switched_off_do_not_count(tiny_model):
    assert sliding_window(tiny_model("qwen2", sliding_window=4, use_sliding_window=False)) is None


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_eager_models_pack_and_generate_as_before(tiny_model, tmp_path, family):
    model = tiny_model(family, dtype=torch.float64)
    model.set_attn_implementation("eager")
    ids = torch.tensor([[5, 9, 3]])
    before = model.generate(ids, max_new_tokens=5, do_sample=False)
    torch.testing.assert_close(PackedForward(model, pad_token_id=PAD)(BATCH).logprobs, plain_logprobs(model, BATCH))
    assert model.config._attn_implementation == "eager"
    assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False), before)
    model.save_pretrained(tmp_path)
    assert "rlhf_packed" not in json.dumps(json.loads((tmp_path / "config.json").read_text()))


def test_attention_dropout_drops_packed_too(tiny_model):
    model = tiny_model(attention_dropout=0.5, dtype=torch.float64).train()
    forward = PackedForward(model, pad_token_id=PAD)
    assert forward.padded is None and not torch.equal(forward(BATCH).logprobs, forward(BATCH).logprobs)
    model.eval()
    torch.testing.assert_close(forward(BATCH).logprobs, plain_logprobs(model, BATCH))


def test_the_padded_path_gives_the_same_values_and_gradients(tiny_model):
    model = tiny_model(dtype=torch.float64)
    forward = PackedForward(model, pad_token_id=PAD, chunk_tokens=3)
    distribution = SamplingDistribution(temperature=0.7, top_k=50)
    packed = forward(BATCH, distribution, entropy=True)
    left = gradients(model, (packed.logprobs * weights_like(packed.logprobs)).sum())
    forward.padded = "asked for"
    padded = forward(BATCH, distribution, entropy=True)
    torch.testing.assert_close(packed.logprobs, padded.logprobs)
    torch.testing.assert_close(packed.entropy, padded.entropy)
    assert torch.equal(packed.mask, padded.mask)
    assert_same_gradients(left, gradients(model, (padded.logprobs * weights_like(padded.logprobs)).sum()))
