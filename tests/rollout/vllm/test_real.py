"""GRPO with a real vLLM, in an environment of its own: RLHF_VLLM_PYTHON names its interpreter."""

from __future__ import annotations

import json
import os

import pytest

from rlhf.config.compose import compose
from rlhf.errors import TripwireError
from rlhf.rollout.vllm import sync
from rlhf.run import run

PYTHON = os.environ.get("RLHF_VLLM_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="RLHF_VLLM_PYTHON names no interpreter that has vllm"),
]
# vLLM's attention on a CPU knows heads of 32 numbers and more
TINY = ["model=tiny", "model.architecture.hidden_size=128", "rollout.vllm.arguments=[--enforce-eager]"]
SMALL = [
    "trainer.num_steps=3", "trainer.prompts_per_step=2", "trainer.group_size=2", "rollout.max_new_tokens=8",
    "trainer.no_signal=keep", "trainer.kl_coef=0.1", "trainer.learning_rate=1e-3", "evaluation.limit=2",
    "hardware.threads=1", "tracking.console=none",
]  # fmt: skip


def grpo(folder, *overrides):
    """The lines of metrics.jsonl with a step."""
    reward = ["reward=function", "reward.function=tests.rollout.vllm.test_real:length_of_text"]
    engine = ["rollout=vllm", f"rollout.vllm.python={PYTHON}"]
    run(compose(["stage=grpo", *reward, *engine, *TINY, *SMALL, *overrides]), folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "sampler/canary" in line]


def length_of_text(prompts, answers):
    """Differs between answers, so that every round teaches something."""
    return [float(sum(map(ord, answer)) % 17) for answer in answers]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sync_of", ["full", "adapter"])
def test_the_canary_holds(run_dir, sync_of):
    lora = ["model.lora.enabled=true", "rollout.vllm.sync=adapter"] if sync_of == "adapter" else []
    steps = grpo(run_dir, *lora)
    assert [line["step"] for line in steps] == [1, 2, 3]
    assert all(line["sampler/canary"] < 1e-5 and line["sampler/kl"] < 1e-8 for line in steps)
    assert all(line["policy/grad_norm"] > 0 for line in steps)


@pytest.mark.timeout(600)
def test_a_head_that_stays_tied_stops_the_run_within_a_step(run_dir, monkeypatch):
    """The policy as it is, written as its own checkpoint is: vLLM reloads the embedding and leaves the head."""
    monkeypatch.setattr(sync, "untied_copy", lambda model, dtype, *, merged: model)
    with pytest.raises(TripwireError, match="canary: after sync 2"):
        grpo(run_dir)


@pytest.mark.timeout(600)
def test_a_delivery_of_the_first_weights_again_stops_the_run_within_a_step(run_dir, monkeypatch):
    kept = []
    export = sync.untied_copy

    def first(model, dtype, *, merged):
        kept.append(export(model, dtype, merged=merged))
        return kept[0]

    def apart(value, dtype):
        return value.detach().to("cpu", dtype, copy=True)

    monkeypatch.setattr(sync, "_as", apart)  # the first weights must not move with the policy
    monkeypatch.setattr(sync, "untied_copy", first)
    with pytest.raises(TripwireError, match=r"canary: after sync 2 .*(sampler not at all|differ by)"):
        grpo(run_dir)
