"""Whole runs on the double: what is logged, what stops them, and that nothing is left behind."""

from __future__ import annotations

import json
import subprocess

import pytest

from rlhf.config.compose import compose
from rlhf.errors import TripwireError
from rlhf.run import run

SMALL = [
    "stage=grpo", "model=tiny", "reward=function", "reward.function=tests.rollout.vllm.test_run:sum_of_codes",
    "rollout=vllm", "rollout.max_new_tokens=6", "trainer.num_steps=3", "trainer.prompts_per_step=2",
    "trainer.group_size=2", "trainer.learning_rate=1e-3", "trainer.kl_coef=0", "evaluation.every=0",
    "evaluation.at_start=false", "evaluation.limit=2", "checkpoint.every=0", "hardware.threads=1",
    "tracking.console=none",
]  # fmt: skip


def sum_of_codes(prompts, answers):
    """Differs between answers, so that every round teaches something."""
    return [float(sum(map(ord, answer)) % 17) for answer in answers]


@pytest.fixture
def grpo(vllm_python, tmp_path, run_dir):
    """Runs and returns the lines of metrics.jsonl that have a canary; afterwards nothing of the server is left."""

    def go(*overrides):
        folder = f"rollout.vllm.sync_folder={tmp_path / 'sync'}"
        try:
            run(compose([*SMALL, f"rollout.vllm.python={vllm_python}", folder, *overrides]), run_dir)
        finally:
            left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
            assert str(vllm_python) not in left and str(tmp_path / "sync") not in left
            assert not list((tmp_path / "sync").iterdir())
        lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        return [line for line in lines if "sampler/canary" in line]

    return go


def test_a_run_logs_its_canary_and_leaves_nothing(grpo, run_dir):
    steps = grpo()
    assert [line["step"] for line in steps] == [1, 2, 3]
    assert all(line["sampler/canary"] < 1e-5 and line["sampler/kl"] < 1e-8 for line in steps)
    assert steps[0]["policy/grad_norm"] > 0 and (run_dir / "vllm.log").exists()


def test_a_tied_head_that_stays_stops_the_run_within_a_step(grpo, run_dir):
    with pytest.raises(TripwireError, match=r"canary: after sync 2 \(step 1 was sampled last\)"):
        grpo("rollout.vllm.arguments=[--fault,tied]")
    assert json.loads((run_dir / "status.json").read_text())["state"] == "failed"


def test_rounds_may_be_sampled_ahead(grpo):
    steps = grpo("rollout.ahead=true", "trainer.importance_correction=token_truncate")
    assert [line["sampler/staleness_updates"] for line in steps] == [0, 1, 1]
    assert all(line["sampler/canary"] < 1e-5 for line in steps) and steps[2]["sampler/kl"] > 1e-7
