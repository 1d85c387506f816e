"""A VLLMSampler of a tiny model, on a double of the server."""

from __future__ import annotations

import dataclasses
import stat
import sys
from pathlib import Path

import pytest

from rlhf.config.compose import compose
from rlhf.rollout.vllm.engine import VLLMSampler
from tests.rollout.answers import TextRenderer
from tests.rollout.vllm import double
from tests.rollout.vllm.double import VLLMDouble


@pytest.fixture
def vllm_python(tmp_path) -> Path:
    """A program that starts the double where an interpreter would start vLLM."""
    program = tmp_path / "vllm-python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{double.__file__}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def vllm_config(vllm_python, tmp_path):
    """Factory: conf/rollout/vllm.yaml with the double as its interpreter, and overrides."""
    given = [f"rollout.vllm.python={vllm_python}", f"rollout.vllm.sync_folder={tmp_path / 'sync'}"]

    def make(*overrides):
        quick = ["rollout.max_new_tokens=12", "rollout.vllm.startup_timeout_s=60", "rollout.vllm.request_timeout_s=20"]
        lora = ["model.lora.enabled=true"] if "rollout.vllm.sync=adapter" in overrides else []
        stage = ["stage=grpo", "model=tiny", "reward=gold", "rollout=vllm"]
        return compose([*stage, *given, *quick, *lora, *overrides]).rollout

    return make


@pytest.fixture
def sampler(tiny_model, byte_tokenizer, vllm_config, hardware, tmp_path):
    """Factory; what it makes is closed after the test."""
    made = []

    def make(*overrides, model=None, seed=0, hardware=hardware, **changes):
        config = dataclasses.replace(vllm_config(*overrides), **changes)
        made.append(
            VLLMSampler(
                model or tiny_model(), byte_tokenizer, TextRenderer(), config,
                longest_prompt=24, seed=seed, hardware=hardware, folder=tmp_path,
            )
        )  # fmt: skip
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def found(sampler, tiny_model, byte_tokenizer, tmp_path):
    """Factory: a double that is there already, holding other weights, and a sampler that uses it."""
    servers = []

    def make(*overrides, fault=None, context=256, **given) -> tuple[VLLMSampler, VLLMDouble]:
        folder = tmp_path / f"other-{len(servers)}"
        other = tiny_model(seed=99, tie_word_embeddings=False)
        other.save_pretrained(folder)
        byte_tokenizer.save_pretrained(folder)
        servers.append(VLLMDouble(Path(folder), fault=fault, context=context).__enter__())
        at = f"rollout.vllm.url={servers[-1].url}"
        return sampler("rollout.vllm.python=null", at, *overrides, **given), servers[-1]

    yield make
    for server in servers:
        server.__exit__()
