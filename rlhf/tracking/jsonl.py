"""metrics.jsonl, samples.jsonl and held_out.jsonl: written as the run goes, and what reports read."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlhf.tracking.files import append_jsonl, cut_jsonl, read_jsonl
from rlhf.tracking.run_directory import RunDirectory

logger = logging.getLogger(__name__)


class JsonlFiles:
    """One line a step in metrics.jsonl, one line an answer in samples.jsonl, or in held_out.jsonl at evaluations.

    resumed_from_step   None for a run from the beginning: files of an earlier attempt are set aside as *.jsonl.old.
                        A step: lines beyond it are cut, since those steps are done again.
    """

    def __init__(self, run_dir: RunDirectory, *, resumed_from_step: int | None) -> None:
        self._run_dir = run_dir
        for path in (run_dir.metrics, run_dir.samples, run_dir.held_out):
            if resumed_from_step is None:
                _set_aside(path)
            else:
                _cut(path, resumed_from_step)

    def last_time(self) -> float:
        """time_s of the last metrics line, seconds; 0 if there is none."""
        rows = read_jsonl(self._run_dir.metrics)
        return float(rows[-1].get("time_s") or 0.0) if rows else 0.0

    def log(self, step: int, metrics: Mapping[str, float], time_s: float) -> None:
        """Add one line {"step", "time_s", ...metrics}."""
        append_jsonl(self._run_dir.metrics, {"step": step, "time_s": round(time_s, 3), **metrics})

    def samples(self, step: int | None, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add one line an answer; `step` comes first unless it is None."""
        first = {} if step is None else {"step": step}
        for row in rows:
            append_jsonl(self._run_dir.samples, {**first, **row})

    def held_out(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add one line an answer to a held-out prompt."""
        for row in rows:
            append_jsonl(self._run_dir.held_out, {"step": step, **row})


def _cut(path: Path, step: int) -> None:
    removed = cut_jsonl(path, lambda row: not isinstance(row.get("step"), (int, float)) or row["step"] <= step)
    if removed:
        first = max(step, 0)
        logger.info("%s: removed %d lines beyond step %d, which is where this run continues", path.name, removed, first)


def _set_aside(path: Path) -> None:
    if path.exists() and path.stat().st_size:
        logger.info("%s: lines of an earlier attempt are kept in %s.old", path.name, path.name)
        os.replace(path, path.with_name(f"{path.name}.old"))
