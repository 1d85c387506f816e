"""status.json: how a run stands and how it ended, whatever ended it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.errors import CheckpointError, Preempted
from rlhf.tracking.environment import now, redact
from rlhf.tracking.files import read_json, write_json_atomic
from rlhf.tracking.run_directory import RunDirectory, append_log


@dataclass
class RunHandle:
    """What the run may set while it is under way."""

    objective: float | None = None  # the number that a sweep optimises


@contextlib.contextmanager
def recorded_status(run_dir: RunDirectory | Path, stage: str) -> Iterator[RunHandle]:
    """Keep status.json true while the body runs; whatever the body raises is recorded and raised again.

        {"state": "running", "stage": "grpo", "pid": 71, "host": "a", "started": ISO 8601, "ended": null,
         "seconds": 0.0, "objective": null, "error": null, "attempts": 1}

    In the end, state is completed, failed (`error` is {"type", "message"}; the traceback goes to run.log) or preempted
    (errors.Preempted); a run that was killed stays `running`. `seconds` is wall time, summed over attempts that ended.
    Raises CheckpointError if another process is running in this directory.
    """
    run_dir = run_dir if isinstance(run_dir, RunDirectory) else RunDirectory(run_dir)
    run_dir.path.mkdir(parents=True, exist_ok=True)
    with _locked(run_dir.log, run_dir.path):
        record = _first_record(run_dir, stage)
        before, start = record["seconds"], time.monotonic()
        write_json_atomic(run_dir.status, record)
        handle = RunHandle()
        try:
            yield handle
        except BaseException as error:
            record |= _describe(error)
            if record["state"] == "failed":
                append_log(run_dir.log, redact([traceback.format_exc().rstrip()])[0], level="ERROR", logger=__name__)
            raise
        else:
            record["state"] = "completed"
        finally:
            seconds = round(before + time.monotonic() - start, 3)
            record |= {"ended": now(), "seconds": seconds, "objective": handle.objective}
            write_json_atomic(run_dir.status, record)


def read_status(run_dir: RunDirectory) -> dict[str, Any]:
    """status.json, or nothing where no run has started. Raises CheckpointError if it cannot be read."""
    return read_json(run_dir.status) if run_dir.status.exists() else {}


def _first_record(run_dir: RunDirectory, stage: str) -> dict[str, Any]:
    earlier = read_status(run_dir)
    return {
        "state": "running",
        "stage": stage,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": earlier.get("started") or now(),
        "ended": None,
        "seconds": float(earlier.get("seconds") or 0.0),
        "objective": None,
        "error": None,
        "attempts": int(earlier.get("attempts") or 0) + 1,
    }


def _describe(error: BaseException) -> dict[str, Any]:
    """State and error for what ended the run. `sys.exit()` without a status is a run that ended well."""
    if isinstance(error, Preempted):
        return {"state": "preempted", "error": {"type": "Preempted", "message": str(error)}}
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return {"state": "completed"}
    message = "interrupted from the keyboard" if isinstance(error, KeyboardInterrupt) else redact([str(error)])[0]
    return {"state": "failed", "error": {"type": type(error).__name__, "message": message}}


@contextlib.contextmanager
def _locked(path: Path, run_dir: Path) -> Iterator[None]:
    """Hold run.log while the run lives; the system lets go of it however the process ends."""
    with open(path, "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(f"another process is running in {run_dir}; wait for it or stop it first") from error
        except OSError:
            pass  # a file system without locks: nothing is known about other processes
        yield
