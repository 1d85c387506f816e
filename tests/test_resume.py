"""A run that was interrupted and continued cannot be told from one that was not: bit for bit, stage by stage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.run_equality import run_differences
from rlhf.checkpoint import Checkpointer
from rlhf.config.compose import compose
from rlhf.data.loading import pairs_from, prompts_from
from rlhf.data.rendering import Renderer
from rlhf.errors import ConfigError, Preempted
from rlhf.run import run
from rlhf.tracking.run_directory import RunDirectory
from rlhf.trainers.control import TrainingControl
from rlhf.types import PreferencePair, Prompt

ROOT = Path(__file__).parent.parent
N = 3
STAGES = {
    # adapter dropout draws from torch's generator; the cosine needs the number of the step
    "sft": ["model.lora.enabled=true", "model.lora.dropout=0.2", "trainer.batch_size=3"],
    "reward": ["trainer.batch_size=3", "checkpoint.select_on=eval/loss", "checkpoint.select_mode=min"],
    "grpo": ["reward=gold", "trainer.prompts_per_step=2", "trainer.group_size=2", "trainer.epochs_per_batch=2",
             "trainer.minibatches=2", "trainer.lr_schedule=cosine", "rollout.max_new_tokens=8"],
    "expert_iteration": ["reward=gold", "trainer.prompts_per_step=2", "trainer.group_size=4", "trainer.minibatches=2",
                         "trainer.epochs_per_batch=2", "trainer.keep_reward=-9", "trainer.keep_truncated=true",
                         "rollout.max_new_tokens=8"],
    "ppo": ["reward=gold", "trainer.prompts_per_step=2", "trainer.group_size=2", "trainer.epochs_per_batch=2",
            "trainer.minibatches=2", "trainer.lr_schedule=cosine", "rollout.max_new_tokens=8",
            "trainer.critic_warmup_steps=1", "trainer.critic_learning_rate=1e-2", "trainer.kl_target=0.01",
            "trainer.reward_scaling=running_mean_std"],
}  # fmt: skip
KILLED = """
import os, sys
import rlhf.trainers.control as control
from rlhf.config.compose import compose
from rlhf.run import run

def record(self, *arguments, _record=control.TrainingControl.record):
    _record(self, *arguments)
    if self.step == {last}:  # its samples are written, its metrics are not; the checkpoint is of {last} - 2
        os._exit(9)

control.TrainingControl.record = record
sys.modules["rlhf.run"].build_report = lambda *_: None
from rlhf.trainers import grpo, ppo, reward, sft  # once, not once a child
for overrides, folder in {runs!r}:
    child = os.fork()
    if child == 0:
        run(compose(overrides), folder)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
"""


def overrides(stage: str, *more: str) -> list[str]:
    common = ["model=tiny", "hardware.threads=1", "tracking.console=none", "dataset.limit=10", "dataset.eval_limit=4"]
    common += ["dataset.max_prompt_tokens=48", "dataset.max_answer_tokens=32", "trainer.learning_rate=1e-3"]
    common += [f"trainer.num_steps={2 * N}", f"checkpoint.every={N}", "evaluation.every=2", "evaluation.limit=4"]
    return [f"stage={stage}", *common, *STAGES[stage], *more]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def killed(folder) -> dict[str, Path]:
    """One run a stage whose process ended at step N + 2, without a word, after the checkpoint of step N."""
    runs = [(overrides(stage), str(folder / f"{stage}_killed")) for stage in STAGES]
    for _, name in runs:
        Path(name).mkdir()
    program = KILLED.format(last=N + 2, runs=runs).replace("folder)", "__import__('pathlib').Path(folder))")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {stage: Path(name) for stage, (_, name) in zip(STAGES, runs, strict=True)}


@pytest.fixture(scope="module")
def undisturbed(folder) -> dict[str, Path]:
    """One run of 2N steps a stage."""
    made = {stage: folder / stage for stage in STAGES}
    for stage, path in made.items():
        run(compose(overrides(stage)), path)
    return made


@pytest.fixture
def copy_of(killed, tmp_path):
    """A killed run of one's own."""

    def make(stage: str) -> Path:
        return Path(shutil.copytree(killed[stage], tmp_path / "run"))

    return make


def resume(stage: str, path: Path, *more: str) -> float | None:
    return run(compose(overrides(stage, f"resume={path}", *more)), path)


def status(path: Path) -> str:
    return json.loads((path / "status.json").read_text())["state"]


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_continued_is_undisturbed(stage, copy_of, undisturbed):
    path = copy_of(stage)
    assert status(path) == "running" and steps_of(path / "metrics.jsonl")[-1] == N + 1
    resume(stage, path)
    assert status(path) == "completed"
    assert run_differences(undisturbed[stage], path) == []


@pytest.fixture(scope="module", autouse=True)
def no_reports():
    """Figures take longer than these runs, and read only what is compared here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlhf.run.build_report", lambda *_: None)
        yield


def test_the_checkpoint_before_a_damaged_one_is_used(copy_of, undisturbed, caplog):
    path = copy_of("reward")
    newest = path / "checkpoints" / f"step-{N + 1:06d}"
    shutil.copytree(newest, newest.with_name("step-000005.tmp-1-abc"))
    damaged = newest / "optimizer.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with caplog.at_level("WARNING", logger="rlhf"):
        resume("reward", path)
    assert caplog.text.count(f"step {N + 1} is not used: {newest.name}/optimizer.pt is damaged; trying the one") == 1
    assert caplog.text.count("step-000005.tmp-1-abc was not written to its end and is ignored") == 1
    assert f"Continuing from step {N}." in (path / "run.log").read_text()
    assert run_differences(undisturbed["reward"], path) == []


def test_without_a_whole_checkpoint_it_starts_again_as_the_same_run(copy_of, undisturbed):
    path = copy_of("sft")
    (path / "checkpoints" / f"step-{N:06d}" / "manifest.json").unlink()
    resume("sft", path)
    assert "starting from step 0" in (path / "run.log").read_text()
    assert run_differences(undisturbed["sft"], path) == [] and not list(path.glob("*.old"))


def test_a_damaged_best_checkpoint_costs_the_next_best(copy_of, undisturbed, monkeypatch, caplog):
    path, best = copy_of("reward"), json.loads((undisturbed["reward"] / "summary.json").read_text())["best"]["step"]

    def best_of(self, *, verified=False, _best=Checkpointer.best):
        if verified:
            (self.folder_of(best) / "model.safetensors").write_bytes(b"")
        return _best(self, verified=verified)

    monkeypatch.setattr(Checkpointer, "best", best_of)
    resume("reward", path)
    assert f"step {best} is not used" in caplog.text
    found = json.loads((path / "summary.json").read_text())
    assert status(path) == "completed" and found["model_step"] == found["best"]["step"] != best


def test_a_run_that_had_completed_says_so_and_stays_as_it_is(undisturbed, caplog):
    path = undisturbed["grpo"]
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with caplog.at_level("INFO", logger="rlhf"):
        objective = resume("grpo", path)
    assert "had completed" in caplog.text
    assert objective == json.loads((path / "status.json").read_text())["objective"] is not None
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_deleted_checkpoints_end_a_run_for_good(tmp_path):
    path = tmp_path / "run"
    given = ["checkpoint.after_training=delete", "trainer.num_steps=2", "evaluation.at_start=false"]
    run(compose(overrides("sft", *given)), path)
    assert status(path) == "completed" and (path / "model/config.json").is_file()
    assert not (path / "checkpoints").exists()
    assert resume("sft", path, *given) is not None  # nothing is left to do
    with pytest.raises(ConfigError, match="its checkpoints are gone"):
        resume("sft", path, *given, "trainer.num_steps=4", "resume_changed=allow")
    assert steps_of(path / "metrics.jsonl") == [1, 2]


def test_the_summary_survives_a_kill_after_the_last_step(undisturbed, tmp_path):
    path = Path(shutil.copytree(undisturbed["sft"], tmp_path / "run"))
    (path / "summary.json").unlink()
    (path / "model").rename(path / ".model.tmp-abc")
    (path / "checkpoints/index.json").unlink()  # and an old checkpoint was not pruned yet
    shutil.copytree(path / "checkpoints/step-000003", path / "checkpoints/step-000002")
    (path / "status.json").write_text(json.dumps({"state": "running"}))
    assert resume("sft", path) is not None
    assert run_differences(undisturbed["sft"], path) == []


def test_sigterm_saves_and_the_run_goes_on(undisturbed, tmp_path, monkeypatch):
    path = tmp_path / "run"

    def record(self, *arguments, _record=TrainingControl.record):
        _record(self, *arguments)
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingControl, "record", record)
        with pytest.raises(Preempted, match="after step 2"):
            run(compose(overrides("sft")), path)
    assert status(path) == "preempted" and steps_of(path / "metrics.jsonl") == [0, 1, 2]
    resume("sft", path)
    assert run_differences(undisturbed["sft"], path) == []


AHEAD = ("hardware.rollout_device=cpu", "rollout.ahead=true")
CORRECTED = (*AHEAD, "trainer.importance_correction=token_truncate")


@pytest.mark.parametrize(
    ("stage", "options"),
    [
        ("ppo", ("trainer.critic=shared",)),
        ("ppo", ("trainer.critic=lora", "model.lora.enabled=true")),
        ("ppo", ("trainer.critic=lora", "model.lora.enabled=true", *CORRECTED)),
        ("grpo", (*CORRECTED, "trainer.no_signal=resample", "trainer.scale=none")),
        ("expert_iteration", AHEAD),
    ],
)
def test_critics_on_the_policy_and_rounds_sampled_ahead_go_on_too(stage, options, tmp_path, monkeypatch):
    run(compose(overrides(stage, *options)), tmp_path / "undisturbed")

    def record(self, *arguments, _record=TrainingControl.record):
        _record(self, *arguments)
        if self.step == N:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingControl, "record", record)
        with pytest.raises(Preempted, match=f"after step {N}"):
            run(compose(overrides(stage, *options)), tmp_path / "stopped")
    resume(stage, tmp_path / "stopped", *options)
    assert run_differences(tmp_path / "undisturbed", tmp_path / "stopped") == []


@pytest.fixture(scope="module")
def on_files(folder) -> list[str]:
    """Overrides of a run on two files, which was killed after its last checkpoint."""
    for name in ("train", "eval"):
        rows = [{"prompt": f"{name} {i}", "answer": str(i)} for i in range(4)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = ["stage=sft", "model=tiny", "dataset=local", f"dataset.path={folder}/train.jsonl", "hardware.threads=1"]
    made += [f"dataset.eval_path={folder}/eval.jsonl", "trainer.num_steps=1", "tracking.console=none"]
    run(compose(made), folder / "on_files")
    (folder / "on_files/status.json").write_text(json.dumps({"state": "running"}))
    return made


@pytest.mark.parametrize(("name", "part"), [("train", "demonstrations"), ("eval", "eval_demonstrations")])
def test_changed_data_is_refused_unless_allowed(on_files, folder, tmp_path, caplog, name, part):
    path, file = Path(shutil.copytree(folder / "on_files", tmp_path / "run")), folder / f"{name}.jsonl"
    original, metrics = file.read_text(), (path / "metrics.jsonl").read_bytes()
    file.write_text(original + json.dumps({"prompt": "new", "answer": "5"}) + "\n")
    try:
        with pytest.raises(
            ConfigError, match=rf"data differs.*: {part}: 4 examples of .*{name}.jsonl .* -> 5 examples"
        ):
            run(compose([*on_files, f"resume={path}"]), path)
        assert (path / "metrics.jsonl").read_bytes() == metrics
        run(compose([*on_files, f"resume={path}", "resume_changed=allow"]), path)
        assert f"Continuing with changed data: {part}: 4 examples" in caplog.text and status(path) == "completed"
        assert RunDirectory(path).read_config()["resume_changed"] == "refuse"  # leave was given once
    finally:
        file.write_text(original)


def test_what_a_reward_reads_is_part_of_the_fingerprint(byte_tokenizer):
    renderer = Renderer(byte_tokenizer, compose(["stage=sft", "model=tiny"]).dataset)
    question = Prompt("q", text="2 + 2", reference_answer="4")
    prompts = [prompts_from([question], renderer), prompts_from([replace(question, reference_answer="5")], renderer)]
    pair = PreferencePair(question, "4", "5", margin=1.0)
    pairs = [pairs_from([pair], renderer), pairs_from([replace(pair, margin=2.0)], renderer)]
    assert prompts[0].fingerprint != prompts[1].fingerprint and pairs[0].fingerprint != pairs[1].fingerprint
