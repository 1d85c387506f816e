"""status.json through every way a run can end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

import rlhf
from rlhf.errors import CheckpointError, Preempted, TripwireError
from rlhf.tracking.run_directory import RunDirectory
from rlhf.tracking.status import recorded_status


def status(path: Path) -> dict:
    return json.loads((path / "status.json").read_text())


def test_running_then_completed(tmp_path):
    with recorded_status(RunDirectory(tmp_path), "grpo") as handle:
        running = status(tmp_path)
        handle.objective = 0.25
    assert running["state"] == "running" and running["pid"] == os.getpid() and running["ended"] is None
    done = status(tmp_path)
    assert done["state"] == "completed" and done["stage"] == "grpo" and done["objective"] == 0.25
    assert done["error"] is None and done["seconds"] >= 0 and done["attempts"] == 1
    assert datetime.fromisoformat(done["started"]) <= datetime.fromisoformat(done["ended"])


@pytest.mark.parametrize("error", [TripwireError("loss is not finite"), ValueError("bad"), KeyError("x")])
def test_failed_with_the_error_and_its_traceback(tmp_path, error):
    with pytest.raises(type(error)), recorded_status(tmp_path, "grpo"):
        raise error
    done = status(tmp_path)
    assert done["state"] == "failed" and done["error"] == {"type": type(error).__name__, "message": str(error)}
    log = (tmp_path / "run.log").read_text()
    assert "Traceback (most recent call last)" in log and type(error).__name__ in log


def test_preempted(tmp_path):
    with pytest.raises(Preempted), recorded_status(tmp_path, "grpo"):
        raise Preempted("asked to stop at step 7")
    done = status(tmp_path)
    assert done["state"] == "preempted" and done["error"]["message"] == "asked to stop at step 7"
    assert "Traceback" not in (tmp_path / "run.log").read_text()


def test_interrupted_from_the_keyboard(tmp_path):
    with pytest.raises(KeyboardInterrupt), recorded_status(tmp_path, "sft"):
        raise KeyboardInterrupt
    assert status(tmp_path)["state"] == "failed"
    assert status(tmp_path)["error"] == {"type": "KeyboardInterrupt", "message": "interrupted from the keyboard"}


@pytest.mark.parametrize(("code", "state"), [(None, "completed"), (0, "completed"), (2, "failed")])
def test_exit(tmp_path, code, state):
    with pytest.raises(SystemExit), recorded_status(tmp_path, "sft"):
        sys.exit(code)
    assert status(tmp_path)["state"] == state


def test_an_objective_that_is_nan_is_null(tmp_path):
    with recorded_status(tmp_path, "sft") as handle:
        handle.objective = float("nan")
    assert status(tmp_path)["objective"] is None


def test_seconds_and_the_first_start_continue_over_attempts(tmp_path):
    with pytest.raises(Preempted), recorded_status(tmp_path, "sft"):
        raise Preempted("stop")
    earlier = status(tmp_path) | {"seconds": 100.0, "started": "2020-01-01T00:00:00+00:00"}
    (tmp_path / "status.json").write_text(json.dumps(earlier))
    with recorded_status(tmp_path, "sft"):
        pass
    done = status(tmp_path)
    assert 100.0 <= done["seconds"] < 130.0 and done["attempts"] == 2 and done["error"] is None
    assert done["started"].startswith("2020")


def test_two_processes_cannot_run_in_one_directory_and_a_killed_one_holds_nothing(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from rlhf.tracking.status import recorded_status\n"
        "with recorded_status(Path(sys.argv[1]), 'sft'):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(60)\n"
    )
    root = Path(rlhf.__file__).parents[1]
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "up\n"
        with pytest.raises(CheckpointError, match="another process is running"), recorded_status(tmp_path, "sft"):
            raise AssertionError("not reached")
        assert status(tmp_path)["pid"] == other.pid
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert status(tmp_path)["state"] == "running"  # nobody was left to say otherwise
    with recorded_status(tmp_path, "sft"):
        pass
    assert status(tmp_path)["state"] == "completed"


def test_a_secret_in_an_error_message_is_redacted(tmp_path):
    with pytest.raises(ValueError, match="key"), recorded_status(tmp_path, "sft"):
        raise ValueError("wrong key: api_key=abcdefgh")
    assert status(tmp_path)["error"]["message"] == "wrong key: api_key=[redacted]"
    assert "abcdefgh" not in (tmp_path / "run.log").read_text()
