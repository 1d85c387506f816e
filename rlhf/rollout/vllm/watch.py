"""Runs a command until it ends or the process that asked for it is gone, even by SIGKILL. Standard library alone.

    python watch.py <process id> <folder or empty> [command ...]

The command and all that it starts are ended with it, and so is the folder, which is removed where its owner is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

LOOK_EVERY_S = 0.2
PATIENCE_S = 10.0  # between SIGTERM and SIGKILL


def main(owner: int, folder: str, command: list[str]) -> int:
    """The command's exit status; 0 for none."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    child = subprocess.Popen(command, start_new_session=True) if command else None
    while not asked and os.getppid() == owner and (child is None or child.poll() is None):
        time.sleep(LOOK_EVERY_S)
    if child is not None:
        end(child)
    if folder and os.getppid() != owner:
        shutil.rmtree(folder, ignore_errors=True)
    return child.returncode if child else 0


def end(child: subprocess.Popen[bytes]) -> None:
    """End the child's whole process group: by SIGTERM, then by SIGKILL."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
