import os
import signal

import pytest
import torch

from rlhf.checkpoint import Checkpointer
from rlhf.config.sections import CheckpointConfig, EvaluationConfig
from rlhf.errors import ConfigError, Preempted, TripwireError
from rlhf.trainers.control import TrainingControl


class Memory:
    """A sink that remembers."""

    def __init__(self):
        self.lines, self.said = {}, []

    def log(self, step, metrics):
        self.lines[step] = dict(metrics)

    def samples(self, step, rows):
        pass

    def held_out(self, step, rows):
        pass

    def message(self, text):
        self.said.append(text)


def control(tmp_path, *, every=0, evaluate_every=0, select_on=None, patience=0, at_start=False, **options):
    made = TrainingControl(
        checkpoint=CheckpointConfig(every=every, keep=2, select_on=select_on, select_mode="max", after_training="keep"),
        evaluation=EvaluationConfig(every=evaluate_every, at_start=at_start, limit=4, patience=patience),
        checkpointer=Checkpointer(tmp_path, keep=2, select_on=select_on, select_mode="max"),
        **options,
    )
    made.attach(Memory())
    return made


def walk(made, num_steps, model=None, evaluate=None, body=None):
    seen = []
    for step in made.steps(num_steps, state={"model": model or torch.nn.Linear(1, 1)}, evaluate=evaluate):
        seen.append(step)
        if body:
            body(step)
        made.record({"loss/total": float(step)})
    return seen


def test_steps_are_logged_evaluated_and_saved_on_time(tmp_path):
    made = control(tmp_path, every=2, evaluate_every=3, at_start=True)
    assert walk(made, 5, evaluate=lambda: {"x": 1.0}) == [1, 2, 3, 4, 5]
    assert [s for s, m in made.tracker.lines.items() if "eval/x" in m] == [0, 3, 5]  # the last step is always evaluated
    assert made.checkpointer.steps() == [4, 5]  # 2 was pruned, the last is always saved
    assert made.tracker.lines[4]["time/step_s"] >= 0


def test_early_stop_waits_for_patience(tmp_path):
    values = iter([0.1, 0.5, 0.4, 0.3, 0.9, 0.9])
    made = control(tmp_path, evaluate_every=1, select_on="eval/x", patience=2)
    assert walk(made, 6, evaluate=lambda: {"x": next(values)}) == [1, 2, 3, 4]
    assert made.checkpointer.best() == (2, 0.5)
    assert "has not improved for 2 evaluations" in made.tracker.said[-1]


def test_a_metric_that_nobody_measures_is_refused(tmp_path):
    made = control(tmp_path, evaluate_every=1, select_on="eval/y")
    with pytest.raises(ConfigError, match=r"checkpoint.select_on=eval/y is not measured.*eval/x"):
        walk(made, 1, evaluate=lambda: {"x": 1.0})


def test_sigterm_saves_and_stops_and_resume_goes_on(tmp_path):
    model = torch.nn.Linear(1, 1)

    def body(step):
        with torch.no_grad():
            model.weight.fill_(step)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted, match="after step 3"):
        walk(control(tmp_path), 9, model=model, body=body)
    fresh = torch.nn.Linear(1, 1)
    again = control(tmp_path, resume=True)
    assert walk(again, 5, model=fresh) == [4, 5]
    assert fresh.weight.item() == 3.0
    assert again.tracker.said == ["Continuing from step 3."]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    made = control(tmp_path)
    with pytest.raises(TripwireError, match="loss is nan at step 1"):
        for _ in made.steps(2, state={}):
            made.record({"loss/total": float("nan")})


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    options = {"evaluate_every": 1, "select_on": "eval/x", "patience": 2}
    assert walk(control(tmp_path, **options), 9, evaluate=lambda: {"x": 1.0}) == [1, 2, 3]
    again = control(tmp_path, **options, resume=True)
    assert walk(again, 9, evaluate=lambda: {"x": 1.0}) == []
    assert again.step == 3 and again.last_metrics["eval/x"] == 1.0 and again.checkpointer.best() == (1, 1.0)


def test_a_signal_at_the_worst_moment_loses_nothing(tmp_path, monkeypatch):
    made = control(tmp_path)

    def due(step, every):
        if step == 1:  # asked whether to save, after it was asked whether to stop
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    monkeypatch.setattr("rlhf.trainers.control._due", due)
    with pytest.raises(Preempted, match="after step 2"):
        walk(made, 9)
    assert made.checkpointer.latest() == 2


def test_another_machine_is_told(tmp_path, caplog):
    walk(control(tmp_path, machine={"threads": 2}), 1)
    walk(control(tmp_path, machine={"threads": 4}, resume=True), 2)
    assert "Continuing on another machine, exact up to round-off only: threads: 2 -> 4" in caplog.text
