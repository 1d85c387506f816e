"""Families, adapters and gradient checkpointing: what is held, from the shapes alone."""

import dataclasses

import pytest

from rlhf.config.compose import compose
from rlhf.dry_run.preview import Previewer

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2}  # fmt: skip
FAMILIES = {
    "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4},
    "qwen2": {"model_type": "qwen2", **SIZES},
    "gemma2": {"model_type": "gemma2", **SIZES, "head_dim": 16},  # its attention cannot be packed
}


def memory(*overrides, architecture=None):
    config = compose([*overrides, "model=tiny", "dataset.limit=20", "dataset.eval_limit=6"])
    if architecture:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, architecture=architecture))
    return {part.name: part for part in Previewer().look(config).memory.parts}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_every_family_has_an_estimate(family, stage):
    parts = memory(f"stage={stage}", architecture=FAMILIES[family])
    assert parts["gradients"].update == parts["optimiser"].update // 2 > 0
    assert 0 <= parts["weights"].update - parts["gradients"].update < 128  # bytes of buffers
    assert parts["activations"].backward > parts["weights"].backward


def test_an_adapter_is_what_has_gradients():
    full, lora = memory("stage=sft"), memory("stage=sft", "model.lora.enabled=true")
    adapter = lora["gradients"].update
    assert adapter < full["gradients"].update
    assert adapter <= lora["weights"].update - full["weights"].update <= adapter + 64  # and bytes of buffers
    assert lora["optimiser"].update == 2 * adapter


def test_checkpointing_keeps_less_and_works_more():
    plain, checkpointed = memory("stage=sft"), memory("stage=sft", "model.gradient_checkpointing=true")
    assert checkpointed["activations"].backward < plain["activations"].backward / 4
    assert checkpointed["workspace"].backward > plain["workspace"].backward


def test_bf16_products_keep_half_of_most_activations():
    fp32, bf16 = memory("stage=sft"), memory("stage=sft", "hardware=cpu_bf16")
    assert 0.5 < bf16["activations"].backward / fp32["activations"].backward < 0.8


def test_another_device_is_not_compared():
    config = compose(["stage=sft", "model=tiny", "dataset.limit=20", "hardware=gpu_24gb"])
    found = Previewer().look(config).memory
    assert found.device == "cuda" and found.parts[0].name == "CUDA"
