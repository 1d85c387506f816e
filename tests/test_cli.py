"""The command line, in a fresh process where the exit status or the import time matters."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def launch(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *arguments],
        cwd=cwd, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
    )  # fmt: skip


@pytest.mark.parametrize("override", ["trainer.group_sise=8", "+trainer.group_sise=8", "++trainer.group_sise=8"])
def test_a_wrong_key_is_one_line_status_2_and_fast(override):
    start = time.perf_counter()
    done = launch("stage=grpo", "reward=gold", override)
    assert time.perf_counter() - start < 5  # 0.3 s on an idle machine
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr
        == "ConfigError: trainer.group_sise is not an option of stage=grpo. Did you mean trainer.group_size?\n"
    )


def test_help_lists_stages_groups_and_examples():
    done = launch("--help")
    assert done.returncode == 0
    for word in ("Stages", "grpo", "reward", "Groups", "smollm2_135m", "demo/grpo", "grpo_group_size", "Examples"):
        assert word in done.stdout


def test_the_composed_configuration_is_shown():
    done = launch("stage=grpo", "reward=gold", "--cfg", "job")
    assert done.returncode == 0 and "group_size: 8" in done.stdout
    assert launch("stage=grpo", "trainer.x=1", "--cfg", "job").returncode == 2


def test_a_bad_job_stops_a_sweep_before_the_first(tmp_path):
    done = launch("-m", "stage=grpo", "reward=gold", "trainer.group_size=2,1", cwd=tmp_path)
    assert done.returncode == 2 and "at least 2" in done.stderr
    assert list(tmp_path.iterdir()) == []


TINY = ("stage=sft", "model=tiny", "debug=one_step", "trainer.batch_size=2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    done = launch(*TINY, f"hydra.run.dir={folder}", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_leaves_everything_behind(finished):
    folder, done = finished
    names = {p.name for p in folder.iterdir()}
    expected = {"config.yaml", "status.json", "environment.json", "metrics.jsonl", "summary.json", "checkpoints",
                "model", "report.md", "report.html", "run.log"}  # fmt: skip
    assert expected <= names
    assert json.loads((folder / "status.json").read_text())["state"] == "completed"
    assert "report:" in done.stdout


def test_the_stored_configuration_runs_again(finished, tmp_path):
    folder, _ = finished
    done = launch(
        "--config-dir", str(folder), "--config-name", "config", f"hydra.run.dir={tmp_path}/again", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    then, now = (json.loads((f / "summary.json").read_text())["metrics"] for f in (folder, tmp_path / "again"))
    assert then["loss/total"] == now["loss/total"] and then["eval/loss"] == now["eval/loss"]


def test_an_occupied_directory_is_refused(finished):
    folder, _ = finished
    done = launch(*TINY, f"hydra.run.dir={folder}", cwd=folder.parent)
    assert done.returncode == 2 and "already holds a run" in done.stderr


def test_resume_with_more_steps_needs_permission(finished):
    folder, _ = finished
    refused = launch(f"resume={folder}", "trainer.num_steps=2", cwd=folder.parent)
    assert refused.returncode == 2 and "trainer.num_steps: 1 -> 2" in refused.stderr
    allowed = launch(f"resume={folder}", "trainer.num_steps=2", "resume_changed=allow", cwd=folder.parent)
    assert allowed.returncode == 0, allowed.stderr
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2]


def test_failures_are_recorded(tmp_path):
    done = launch("stage=sft", "model=local", "model.path=outputs/none", f"hydra.run.dir={tmp_path}/run", cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert status["state"] == "failed" and "outputs/none" in status["error"]["message"]


def test_a_sweep_runs_its_jobs(tmp_path):
    done = launch("-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [json.loads((tmp_path / f"sweep/{i}/status.json").read_text())["state"] for i in (0, 1)] == ["completed"] * 2
