"""Run directories as they were left, whole or not. What is missing or damaged is listed, not hidden."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from rlhf.errors import CheckpointError
from rlhf.exhibits import FILE as EXHIBITS_FILE
from rlhf.exhibits import Exhibits, read_exhibits
from rlhf.reports.jsonl import Samples, Series, read_rows, read_samples, read_series
from rlhf.reports.text import one_line

RUN_FILES = ("status.json", "config.yaml", "metrics.jsonl", "summary.json")
"""A folder that holds one of these is a run directory."""
WITHOUT_STEPS = ("eval", "report", "explore", "pointwise", "teacher", "compare", "selfcheck", "export")
"""Stages that log no metrics over steps."""
PARENTS = ("compare",)
"""Stages whose run directories hold those of other runs."""
_SET_ASIDE = re.compile(r"\.old\d*$")
"""Directories of a comparison's earlier attempts."""


@dataclass(frozen=True)
class RunRecord:
    """Everything that a report needs of one run."""

    path: Path
    label: str
    stage: str
    state: str  # completed | failed | preempted | running | unknown
    config: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Series] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    exhibits: Exhibits = field(default_factory=Exhibits)
    objective: str = ""  # formulas of what was optimised, lines
    children: tuple[RunRecord, ...] = ()  # the runs that a comparison is about, without their metrics
    problems: tuple[str, ...] = ()  # sentences about files that are missing or damaged

    @property
    def last_step(self) -> int | None:
        """The highest step of metrics.jsonl."""
        return max((int(s.steps[-1]) for s in self.metrics.values() if len(s.steps)), default=None)

    @property
    def shown_path(self) -> str:
        """The path as one would type it: relative where the run lies below the working directory."""
        relative = os.path.relpath(self.path)
        return str(self.path) if relative.startswith("..") else relative

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of the configuration; empty where there is none."""
        found = self.config.get(name)
        return found if isinstance(found, Mapping) else {}

    @property
    def error(self) -> str:
        """ "Type: message" of a failed run, else empty."""
        found = self.status.get("error")
        if isinstance(found, Mapping):
            found = ": ".join(str(found[key]) for key in ("type", "message") if found.get(key))
        return str(found) if found else ""


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Each run directory, in order; a folder of run directories (a sweep) stands for those in it.

    Raises CheckpointError for a path that is neither."""
    found: list[Path] = []
    for path in map(Path, paths):
        inner = _runs_in(path) if not _is_run(path) else []
        if not inner and not _is_run(path):
            what = f"holds none of {', '.join(RUN_FILES)}" if path.is_dir() else "is not a folder"
            raise CheckpointError(
                f"no run directory at {path}: it {what}. Name folders like outputs/<stage>/<date>_<name>"
            )
        found += [p for p in inner or [path] if p not in found]
    if not found:
        raise CheckpointError("a report needs at least one run directory; got none")
    return found


def read_runs(paths: Sequence[Path]) -> list[RunRecord]:
    """Records of the runs in `paths`, with labels that tell them apart."""
    return _distinct([read_run(path) for path in find_runs(paths)])


def read_run(path: Path) -> RunRecord:
    """One run directory. Files that cannot be read become sentences in `problems`."""
    problems: list[str] = []
    run = _outline(path, problems)
    unfinished = run.state in ("failed", "preempted", "running")
    summary = _mapping(path / "summary.json", json.loads, problems, required=not unfinished)
    run = replace(run, summary=summary)
    children = _children(run) if run.stage in PARENTS else ()
    samples = read_samples(read_rows(path / "samples.jsonl", problems))
    return replace(
        run,
        environment=_mapping(path / "environment.json", json.loads, problems),
        metrics=read_series(read_rows(path / "metrics.jsonl", problems, required=run.stage not in WITHOUT_STEPS)),
        samples=samples if samples.rows else _evaluated_samples(children),
        exhibits=_exhibits(path / EXHIBITS_FILE, problems),
        children=children,
        problems=tuple(problems),
    )


def _outline(path: Path, problems: list[str]) -> RunRecord:
    """What a run was and how it ended, without what it measured."""
    config = _mapping(path / "config.yaml", yaml.safe_load, problems)
    status = _mapping(path / "status.json", json.loads, problems)
    return RunRecord(
        path=path,
        label=str(config.get("name") or path.name),
        stage=str(config.get("stage") or status.get("stage") or "unknown"),
        state=str(status.get("state") or "unknown"),
        config={key: value for key, value in config.items() if key not in ("hydra", "defaults")},
        status=status,
        objective=_text(path / "objective.txt"),
    )


def _children(run: RunRecord) -> tuple[RunRecord, ...]:
    """The runs that a comparison's summary names, wherever they are, and those inside its directory."""
    named = run.summary.get("runs")
    folders = (
        {str(k): v.get("folder") for k, v in named.items() if isinstance(v, Mapping)}
        if isinstance(named, Mapping)
        else {}
    )
    found = {Path(str(folder)).resolve(): label for label, folder in folders.items() if _is_run(Path(str(folder)))}
    for folder in sorted(p for p in run.path.iterdir() if p.is_dir()):
        for inside in _runs_in(folder):
            if not _SET_ASIDE.search(inside.name):
                found.setdefault(inside.resolve(), inside.name)
    return tuple(replace(_outline(path, []), label=label) for path, label in found.items())


def _evaluated_samples(children: Sequence[RunRecord]) -> Samples:
    """The answers of the evaluation that belongs to a comparison."""
    for child in children:
        if child.stage == "eval":
            return read_samples(read_rows(child.path / "samples.jsonl", []))
    return Samples()


def _runs_in(folder: Path) -> list[Path]:
    return sorted(filter(_is_run, folder.iterdir()), key=_natural) if folder.is_dir() else []


def _is_run(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in RUN_FILES)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""


def _natural(path: Path) -> tuple[int, int, str]:
    """Jobs 0, 1, ..., 10 in number order, then names."""
    return (0, int(path.name), "") if path.name.isdecimal() else (1, 0, path.name)


def _exhibits(path: Path, problems: list[str]) -> Exhibits:
    plain = _mapping(path, json.loads, problems, required=False)
    try:
        return read_exhibits(plain)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problems.append(f"{path.name} is damaged and was left out ({type(error).__name__}: {one_line(error, 160)})")
        return Exhibits()


def _mapping(path: Path, parse: Any, problems: list[str], *, required: bool = True) -> dict[str, Any]:
    try:
        found = parse(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        if required:
            problems.append(f"{path.name} is missing")
        return {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        problems.append(f"{path.name} cannot be read ({one_line(error, 120)})")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path.name} holds no mapping")
        return {}
    return found


def _distinct(runs: list[RunRecord]) -> list[RunRecord]:
    """Labels that name one run each: the name; then with the stage; then with the seed; then with the folder."""

    def more(label: str, run: RunRecord) -> Iterator[str]:
        yield label
        yield f"{label} ({run.stage})"
        yield f"{label} ({run.stage}, seed {run.config.get('seed', '?')})"
        yield f"{label} ({run.path.name})"
        yield f"{label} ({run.path})"

    labels = [list(more(run.label, run)) for run in runs]
    chosen = []
    for mine in labels:
        rivals = [other for other in labels if other is not mine]
        level = next((i for i in range(len(mine)) if all(mine[i] != other[i] for other in rivals)), len(mine) - 1)
        chosen.append(mine[level])
    return [replace(run, label=label) for run, label in zip(runs, chosen, strict=True)]
