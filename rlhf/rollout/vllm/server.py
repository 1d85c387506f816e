"""A server process that never outlives the run."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlhf.rollout.vllm import watch

STOP_S = watch.PATIENCE_S + 5
LONGEST_LINE = 300  # characters
ERROR = r"\b[A-Z]\w*(Error|Exception): .*"


class ServerProcess:
    """`command` under a watcher (rlhf.rollout.vllm.watch), its output added to `log`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path) -> None:
        """`folder` is its working directory."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self._begin = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._watcher = start_watcher(command, stdout=output, env=dict(environment), cwd=folder)

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._watcher.poll()

    def stop(self) -> None:
        """End it and all that it started."""
        stop_watcher(self._watcher)

    def said(self) -> str:
        """The first line of its log that names an error, which caused the others, or its last line."""
        with self.log.open("rb") as file:
            file.seek(self._begin)
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        named = [found[0] for line in lines if (found := re.search(ERROR, line))]
        return (named or lines[-1:] or ["it said nothing"])[0][:LONGEST_LINE]


def start_watcher(command: Sequence[str], folder: Path | None = None, **options) -> subprocess.Popen[bytes]:
    """A process that runs `command`, and ends it, and removes `folder`, when this process is gone."""
    words = [sys.executable, "-I", watch.__file__, str(os.getpid()), str(folder or ""), *command]
    options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "start_new_session": True} | options
    return subprocess.Popen(words, **options)


def stop_watcher(watcher: subprocess.Popen[bytes]) -> None:
    """End a watcher with what it runs."""
    if watcher.poll() is None:
        watcher.terminate()
    try:
        watcher.wait(STOP_S)
    except subprocess.TimeoutExpired:
        watcher.kill()
        watcher.wait()


def free_port() -> int:
    """A port of this machine's own address that nobody listens on now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
