"""The tracker's own files: what is in them, what a resume cuts, and that they outlive a broken backend."""

from __future__ import annotations

import json
import logging
import sys

import numpy as np
import pytest
import torch

from rlhf.errors import Preempted
from rlhf.tracking import tracker as tracker_module
from rlhf.tracking.files import read_jsonl


def steps(path) -> list[int]:
    return [row["step"] for row in read_jsonl(path)]


class Recorder:
    """A backend that remembers its calls, and raises in the method it is told to."""

    def __init__(self, raises: str = "") -> None:
        self.calls: list[tuple] = []
        self._raises = raises

    def _call(self, *call) -> None:
        self.calls.append(call)
        if call[0] == self._raises:
            raise RuntimeError("server gone")

    def log(self, step, metrics):
        self._call("log", step, metrics)

    def samples(self, step, rows):
        self._call("samples", step, rows)

    def summary(self, values):
        self._call("summary", values)

    def finish(self, status):
        self._call("finish", status)


def with_backend(tracker, backend):
    tracker._backends.append(backend)
    tracker._working.append(backend)
    return backend


def test_a_line_a_step_with_time_and_no_nan(make_tracker, tmp_path):
    with make_tracker() as tracker:
        tracker.log(1, {"loss/total": torch.tensor(0.5), "reward/mean": np.float32("nan"), "eval/accuracy": 1})
        tracker.log(2, {"loss/total": 0.25})
    first, second = read_jsonl(tmp_path / "metrics.jsonl")
    assert list(first) == ["step", "time_s", "loss/total", "reward/mean", "eval/accuracy"]
    assert first["loss/total"] == 0.5 and first["reward/mean"] is None and first["eval/accuracy"] == 1
    assert 0 <= first["time_s"] <= second["time_s"]
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_samples_with_and_without_a_step(make_tracker, tmp_path):
    with make_tracker() as tracker:
        tracker.samples(3, [{"prompt": "a", "components": {"x": float("nan")}}, {"prompt": "b"}])
        tracker.samples(None, [{"model": "start", "answer": "<script>"}])
        tracker.samples(4, [])
    assert read_jsonl(tmp_path / "samples.jsonl") == [
        {"step": 3, "prompt": "a", "components": {"x": None}},
        {"step": 3, "prompt": "b"},
        {"model": "start", "answer": "<script>"},
    ]


def test_summary_and_messages(make_tracker, tmp_path):
    with make_tracker() as tracker:
        tracker.summary({"best": float("inf"), "n": 3})
        tracker.message("Continuing from step 3.")
    assert json.loads((tmp_path / "summary.json").read_text()) == {"best": None, "n": 3}
    assert "[INFO] Continuing from step 3.\n" in (tmp_path / "run.log").read_text()


def test_a_resume_cuts_lines_beyond_its_step_and_the_clock_goes_on(make_tracker, tmp_path):
    with make_tracker() as tracker:
        tracker.load_state_dict({"elapsed_s": 500.0})
        for step in range(1, 6):
            tracker.log(step, {"loss/total": 0.1})
            tracker.samples(step, [{"prompt": "p"}])
            tracker.held_out(step, [{"prompt": "q"}])
    for name in ("metrics.jsonl", "samples.jsonl", "held_out.jsonl"):
        with open(tmp_path / name, "a") as file:
            file.write('{"step": 6, "to')  # torn by the crash
    with make_tracker(resumed_from_step=3) as tracker:
        for name in ("metrics.jsonl", "samples.jsonl", "held_out.jsonl"):
            assert steps(tmp_path / name) == [1, 2, 3]
        tracker.log(4, {"loss/total": 0.2})
    assert steps(tmp_path / "metrics.jsonl") == [1, 2, 3, 4]
    times = [row["time_s"] for row in read_jsonl(tmp_path / "metrics.jsonl")]
    assert times == sorted(times) and 500 <= times[-1] < 560


def test_the_state_carries_the_clock(make_tracker):
    with make_tracker() as tracker:
        tracker.load_state_dict({"elapsed_s": 100.0, "wandb_run_id": None})
        state = tracker.state_dict()
    assert 100 <= state["elapsed_s"] < 160 and state["wandb_run_id"] is None


def test_a_run_from_the_beginning_sets_earlier_lines_aside(make_tracker, tmp_path):
    with make_tracker() as tracker:
        tracker.log(1, {"loss/total": 1.0})
    with make_tracker() as tracker:
        tracker.log(1, {"loss/total": 2.0})
    assert [row["loss/total"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [2.0]
    assert [row["loss/total"] for row in read_jsonl(tmp_path / "metrics.jsonl.old")] == [1.0]


def test_a_resume_keeps_rows_that_belong_to_no_step(make_tracker, tmp_path):
    with make_tracker() as tracker:
        tracker.samples(None, [{"model": "start"}])
        tracker.samples(9, [{"prompt": "p"}])
    make_tracker(resumed_from_step=3).finish()
    assert read_jsonl(tmp_path / "samples.jsonl") == [{"model": "start"}]


def test_backends_get_plain_finite_numbers(make_tracker):
    with make_tracker() as tracker:
        backend = with_backend(tracker, Recorder())
        tracker.log(1, {"a": torch.tensor(0.5), "b": float("nan")})
        tracker.samples(1, [{"reward": np.float64("inf"), "ids": (1, 2)}])
    assert backend.calls == [
        ("log", 1, {"a": 0.5}),
        ("samples", 1, [{"reward": None, "ids": [1, 2]}]),
        ("finish", "completed"),
    ]


def test_a_backend_that_breaks_is_named_once_turned_off_and_still_closed(make_tracker, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="rlhf"), make_tracker() as tracker:
        backend = with_backend(tracker, Recorder(raises="log"))
        for step in (1, 2, 3):
            tracker.log(step, {"loss/total": 0.5})
    assert [call[0] for call in backend.calls] == ["log", "finish"]
    assert steps(tmp_path / "metrics.jsonl") == [1, 2, 3]
    assert caplog.text.count("server gone") == 1 and "Recorder stopped working" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("x"), "failed"), (Preempted("x"), "preempted"), (KeyboardInterrupt(), "failed")]
)
def test_everything_is_closed_once_whatever_happens(make_tracker, error, status):
    first, second = Recorder(raises="finish"), Recorder()
    with pytest.raises(type(error)), make_tracker() as tracker:
        with_backend(tracker, first)
        with_backend(tracker, second)
        raise error
    tracker.finish()
    assert first.calls == second.calls == [("finish", status)]


def test_a_backend_that_cannot_start_closes_those_that_did(make_tracker, monkeypatch):
    started = []

    def start(self, *_):
        self._backends.append(Recorder())
        started.extend(self._backends)
        raise ValueError("no")

    monkeypatch.setattr(tracker_module.Tracker, "_start_backends", start)
    with pytest.raises(ValueError, match="no"):
        make_tracker()
    assert started[0].calls == [("finish", "failed")]


def test_a_missing_package_is_one_line_at_the_start(make_tracker, monkeypatch):
    for option, package in (("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ValueError, match=rf"tracking.{option}=true needs .*pip install {option}"):
            make_tracker(**{option: True})
