"""The stage as a whole, with runs that are written instead of trained."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.compare import stage
from rlhf.compare.execution import Outcome
from rlhf.compare.existing import existing_runs
from rlhf.config.compose import compose
from rlhf.errors import ConfigError, RunsFailed
from rlhf.run import run
from rlhf.tracking.run_directory import RunDirectory
from rlhf.tracking.status import read_status
from tests.compare.conftest import SMALL, training_rows, write_evaluation, write_run

TWO = ("compare.algorithms=[grpo,dpo]", "compare.resamples=200", "compare.overrides=null")
THERE = ("compare.start=some/sft", "compare.reward=some/rm")
FINAL = {"grpo": 0.7, "dpo": 0.5}


class Written:
    """Stands for an Execution: writes what its runs would leave behind."""

    failing = ()

    def __init__(self, folder, **options):
        self.options = options

    def run(self, jobs):
        return [self.one(job) for job in jobs]

    def one(self, job):
        if job.name in self.failing:
            return Outcome(job, "failed", job.folder, 1.0, ("exit status 2", "DataError: gone"))
        if job.name == "evaluation":
            write_evaluation(job.folder, {n: 0.1 if n == "start" else FINAL[n.split("-")[0]] + 0.01 * int(n[-1])
                                          for n in job.config.models})  # fmt: skip
        elif job.algorithm:
            rows = training_rows(FINAL[job.algorithm], generated=job.algorithm == "grpo", seed=job.seed)
            write_run(job.folder, stage=job.config.stage, seed=job.seed, rows=rows)
        return Outcome(job, "done", job.folder, 1.0)


@pytest.fixture
def written(monkeypatch):
    monkeypatch.setattr(stage, "Execution", Written)
    monkeypatch.setattr("rlhf.run.build_report", lambda *_: None)
    return Written


def test_a_comparison_leaves_its_files(written, small_config, run_dir):
    run(small_config(*TWO), run_dir)
    left = {p.name for p in run_dir.iterdir()}
    assert left >= {"summary.json", "table.csv", "exhibits.json", "status.json", "config.yaml", "runs"}
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["ranking"] == ["grpo", "dpo"] and summary["failed"] == {} and summary["stage"] == "compare"
    assert read_status(RunDirectory(run_dir))["state"] == "completed"


def test_a_finished_comparison_can_be_extended(written, small_config, run_dir):
    run(small_config(*TWO, *THERE, "compare.seeds=[0]"), run_dir)
    more = (*TWO, *THERE, "compare.seeds=[0,1]", f"resume={run_dir}", "resume_changed=allow")
    shutil.rmtree(run_dir / "runs")  # what is finished is kept by an Execution, which this is not about
    run(small_config(*more), run_dir)
    assert json.loads((run_dir / "summary.json").read_text())["algorithms"]["grpo"]["seeds"] == [0, 1]


def test_a_failed_run_is_reported_at_the_end_and_the_others_are_compared(written, small_config, run_dir, monkeypatch):
    monkeypatch.setattr(written, "failing", ("dpo-seed1",))
    with pytest.raises(RunsFailed, match=r"^1 run failed: dpo-seed1 \(exit status 2\); the others are compared in"):
        run(small_config(*TWO, *THERE), run_dir)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["failed"] == {"dpo-seed1": ["exit status 2", "DataError: gone"]}
    assert summary["algorithms"]["dpo"]["runs"] == ["dpo-seed0"]  # one seed is left, and compared
    assert read_status(RunDirectory(run_dir))["state"] == "failed"  # so that resume= tries it again


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        (("start",), "start failed, and nothing can be compared without it: exit status 2 | DataError: gone"),
        (("grpo-seed0", "dpo-seed0"), "2 runs failed: grpo-seed0"),
        (("evaluation",), "evaluation failed, and nothing can be compared without it"),
    ],
)
def test_without_what_all_need_it_ends(written, small_config, run_dir, monkeypatch, failing, said):
    monkeypatch.setattr(written, "failing", failing)
    there = () if failing == ("start",) else THERE
    with pytest.raises(RunsFailed) as caught:
        run(small_config(*TWO, *there, "compare.seeds=[0]"), run_dir)
    assert said in str(caught.value) and not (run_dir / "summary.json").exists()


def test_failed_runs_are_exit_status_1(monkeypatch, capsys):
    from rlhf.cli import _exit_with

    with pytest.raises(SystemExit) as caught:
        _exit_with(RunsFailed("2 runs failed"))
    assert caught.value.code == 1 and capsys.readouterr().err == "RunsFailed: 2 runs failed\n"


def test_gpus_are_those_that_are_visible(monkeypatch):
    assert stage.visible_gpus([0, "GPU-3"]) == ["0", "GPU-3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert stage.visible_gpus(None) == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert stage.visible_gpus(None) == []


@pytest.fixture
def four(tmp_path):
    folders = []
    for algorithm, final in FINAL.items():
        for seed in (0, 1):
            folder = tmp_path / f"{algorithm}_{seed}"
            extra = {"model": {"path": "some/sft"}, "dataset": {"limit": 5}}
            reward = {
                "reward": {"kind": "weighted", "components": {"learned": {"kind": "learned", "model": "some/rm"}}}
            }
            rows = training_rows(final, seed=seed)
            write_run(folder, stage=algorithm, seed=seed, rows=rows, config=extra | reward | {"name": "label"})
            folders.append(str(folder))
    return folders


def test_existing_runs_are_grouped_by_all_but_their_seed(small_config, four):
    found = existing_runs(small_config(f"compare.runs=[{','.join(four)}]"))
    assert [r.label for r in found.records] == ["grpo-seed0", "grpo-seed1", "dpo-seed0", "dpo-seed1"]
    assert found.models["start"] == "some/sft" and found.models["dpo-seed1"] == four[3]
    assert found.reward_path == "some/rm" and found.shared["dataset"] == {"limit": 5}
    named = existing_runs(small_config(f"compare.runs={{a: [{four[0]},{four[1]}], b: {four[2]}}}"))
    assert [r.label for r in named.records] == ["a-seed0", "a-seed1", "b-seed0"]


def test_two_configurations_of_one_stage_are_two_algorithms(small_config, four, tmp_path):
    other = tmp_path / "other"
    write_run(other, stage="grpo", seed=0, rows=training_rows(0.6), config={"model": {"path": "some/sft"}, "extra": 1})
    found = existing_runs(small_config(f"compare.runs=[{four[0]},{other},{four[1]}]"))
    assert [(r.label, r.folder.name) for r in found.records] == [
        ("grpo-seed0", "grpo_0"), ("grpo-seed1", "grpo_1"), ("grpo_2-seed0", "other"),
    ]  # fmt: skip


def test_existing_runs_that_cannot_be_compared(small_config, four, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    write_run(elsewhere, stage="ppo", seed=0, rows=[], config={"model": {"path": "another/sft"}})
    with pytest.raises(ConfigError, match=r"must have one start; they have another/sft, some/sft"):
        existing_runs(small_config(f"compare.runs=[{four[0]},{elsewhere}]"))
    with pytest.raises(ConfigError, match=r"two runs of a with seed 0"):
        existing_runs(small_config(f"compare.runs={{a: [{four[0]},{four[0]}]}}"))
    with pytest.raises(ConfigError, match=r"nowhere is not a run directory"):
        existing_runs(small_config("compare.runs=[nowhere]"))
    (Path(four[0]) / "status.json").write_text(json.dumps({"state": "failed"}))
    with pytest.raises(ConfigError, match=r"is no finished training run \(state failed"):
        existing_runs(small_config(f"compare.runs=[{four[0]}]"))


def launch(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "rlhf.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sums_with_imitation_as_a_baseline(tmp_path):
    """GRPO, expert iteration and SFT on the solutions, in fresh processes; all have a held-out curve and a KL."""
    keys = ("compare.overrides", "compare.common", "compare.evaluation_overrides")
    done = launch(
        *(o for o in SMALL if not o.startswith(keys)),
        "dataset=arithmetic", "compare.algorithms=[grpo,expert_iteration,sft]", "compare.seeds=[0]",
        "compare.common={reward: math, reward.equality: numeric, trainer.learning_rate: 1e-3, evaluation.limit: 4}",
        "compare.overrides={sft: {trainer.sample_prompts: 4}}", "compare.metric=reward/answer",
        "compare.evaluation_overrides={reward: math, reward.equality: numeric, evaluation.limit: 6}",
        "compare.workers=2", "compare.resamples=200", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary["algorithms"]) == {"grpo", "expert_iteration", "sft"} and summary["failed"] == {}
    assert summary["held_out_curve"] == "eval/reward_answer"  # that of compare.metric
    assert all(found["spent"]["tokens"] >= 1000 for found in summary["algorithms"].values())
    assert summary["algorithms"]["sft"]["spent"]["generated_tokens"] == 0
    assert {"reward/answer", "policy/kl_ref_answer"} <= set(summary["algorithms"]["sft"]["metrics"])
    lines = (tmp_path / "run" / "runs" / "sft-seed0" / "metrics.jsonl").read_text().splitlines()
    assert {"eval/reward_answer", "eval/policy_kl_ref_answer"} <= set(json.loads(lines[0])) & set(json.loads(lines[-1]))
    assert "expert_iteration − sft" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.slow
def test_the_whole_on_the_tiny_model(tmp_path):
    """Fresh processes, two at once: trained, evaluated, resumed, extended, and compared again as existing runs."""
    overrides = [*SMALL, "compare.workers=2", "compare.resamples=200"]
    first = launch(*overrides, f"hydra.run.dir={tmp_path / 'one'}")
    assert first.returncode == 0, first.stderr + first.stdout
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    for name in ("ppo", "grpo", "dpo"):
        assert summary["algorithms"][name]["spent"]["tokens"] >= 1000 and len(summary["algorithms"][name]["seeds"]) == 2
    assert {"reward/total", "reward/learned", "policy/kl_ref_answer", "policy/entropy", "win_rate/by_reward"} <= set(
        summary["algorithms"]["dpo"]["metrics"]
    )
    assert (
        summary["held_out_curve"] == "eval/reward_gold"
        and "Pairs by reward" in (tmp_path / "one" / "report.md").read_text()
    )
    more = launch(*overrides, "compare.seeds=[0,1,2]", f"compare.reuse=[{tmp_path / 'one'}]",
                  "compare.algorithms=[grpo]", f"hydra.run.dir={tmp_path / 'two'}")  # fmt: skip
    assert more.returncode == 0, more.stderr + more.stdout
    assert more.stdout.count("finished before in") == 4 and "grpo-seed2: done" in more.stdout
    runs = ",".join(str(tmp_path / "one" / "runs" / n) for n in ("grpo-seed0", "dpo-seed0"))
    again = launch(*[o for o in overrides if "evaluation" in o or o.startswith("stage")], "hardware.threads=1",
                   f"compare.runs=[{runs}]", "compare.resamples=200",
                   f"hydra.run.dir={tmp_path / 'three'}")  # fmt: skip
    assert again.returncode == 0, again.stderr + again.stdout
    assert "comparing 2 runs; nothing is trained" in again.stdout


def test_compose_of_small_is_a_comparison():
    assert compose(SMALL).stage == "compare"
