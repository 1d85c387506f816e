"""Weights & Biases, online or offline."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlhf.config.sections import TrackingConfig
from rlhf.errors import CheckpointError, ConfigError
from rlhf.tracking.files import read_json, read_jsonl, write_json_atomic
from rlhf.tracking.images import pixels
from rlhf.tracking.run_directory import RunDirectory

MAX_TABLE_ROWS = 200_000  # of one wandb table; older rows stay in samples.jsonl
INIT_TIMEOUT_S = 60.0


class WandbBackend:
    """One wandb run. Its id is kept in the run directory (wandb_run.json), so that a resumed run continues it.

    Samples go out twice: step by step as they come (`samples`, an incremental table: a step sends its own rows only),
    and when the run ends as one table of every step (`samples_all`). wandb gets the environment as environment.json has
    it, command redacted, in place of its own record of the machine and the command line.

    Offline runs lie in <run directory>/wandb and are sent by `wandb sync`. The parts of a resumed run share their id,
    and a part that is sent replaces the one before, so each begins with the lines of metrics.jsonl that it continues.
    Raises ConfigError if wandb is missing or cannot start.
    """

    def __init__(
        self,
        run_dir: RunDirectory,
        config: TrackingConfig,
        stage: str,
        name: str,
        config_plain: Mapping[str, Any],
        *,
        resuming: bool,
    ) -> None:
        wandb = _import()
        self._wandb, self._run_dir = wandb, run_dir
        id_file = run_dir.path / "wandb_run.json"
        known = str(read_json(id_file)["id"]) if resuming and id_file.exists() else None
        self._run = _start(
            wandb,
            project=config.project,
            entity=config.entity,
            group=config.group or stage,
            job_type=stage,
            name=name,
            tags=list(config.tags) or None,
            config={**config_plain, "environment": _environment(run_dir)},
            dir=str(run_dir.path),
            mode=config.mode,
            id=known,
            # offline there is no server to ask
            resume="allow" if known and config.mode == "online" else None,
        )
        self.run_id: str = self._run.id
        write_json_atomic(id_file, {"id": self.run_id, "project": config.project, "mode": config.mode})
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self._tables: dict[tuple[str, ...], tuple[str, Any]] = {}  # columns -> name and table
        if known and config.mode == "offline":
            for row in read_jsonl(run_dir.metrics):
                self.log(row["step"], {k: v for k, v in row.items() if k not in ("step", "time_s") and v is not None})

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row of the history, on the axis `step`."""
        self._run.log({"step": step, **metrics})

    def samples(self, step: int | None, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send the rows of this step as the next increment of the table `samples`; `samples_2` for other columns."""
        axis = {} if step is None else {"step": step}
        columns, cells = _cells([{**axis, **row} for row in rows])
        name, table = self._table(tuple(columns))
        for row in cells:
            table.add_data(*row)
        self._run.log({**axis, name: table})

    def _table(self, columns: tuple[str, ...]) -> tuple[str, Any]:
        if columns not in self._tables:
            name = f"samples_{len(self._tables) + 1}" if self._tables else "samples"
            table = self._wandb.Table(columns=list(columns), log_mode="INCREMENTAL", allow_mixed_types=True)
            self._tables[columns] = (name, table)
        return self._tables[columns]

    def summary(self, values: Mapping[str, Any]) -> None:
        """Put the figures of the run into wandb's summary, nested as they are."""
        self._run.summary.update({"result": dict(values)})

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """One table of this name."""
        columns, cells = _cells(rows)
        self._run.log({name: self._wandb.Table(columns=columns, data=cells, allow_mixed_types=True)})

    def figures(self, images: Mapping[str, bytes]) -> None:
        """One image a figure, under figures/."""
        for name, png in images.items():
            self._run.log({f"figures/{name}": self._wandb.Image(pixels(png))})

    def finish(self, status: str) -> None:
        """Send the table of all samples and end the run: finished if `status` is completed, else crashed."""
        try:
            rows = read_jsonl(self._run_dir.samples)[-MAX_TABLE_ROWS:]
            if rows:
                columns, cells = _cells(rows)
                table = self._wandb.Table(columns=columns, data=cells, allow_mixed_types=True)
                self._run.log({"samples_all": table})
            self._run.summary["status"] = status
            if status == "preempted":
                self._run.mark_preempting()
        finally:
            self._run.finish(exit_code=0 if status == "completed" else 1)


def _import() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise ConfigError("tracking.wandb=true needs the wandb package: pip install wandb") from error
    if not hasattr(wandb, "init"):
        raise ConfigError("tracking.wandb=true found a folder called wandb in place of the package; rename that folder")
    return wandb


def _start(wandb: Any, **arguments: Any) -> Any:
    """wandb.init that is silent, never asks at the keyboard, and fails with one line."""
    settings = wandb.Settings(
        silent=True,
        console="off",  # the console and run.log are ours
        init_timeout=INIT_TIMEOUT_S,
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,  # its metadata holds the command line as it was typed, secrets too
    )
    os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")  # it would advertise where a judge has imported openai
    try:
        with _no_keyboard():
            return wandb.init(settings=settings, **arguments)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"tracking.wandb=true, but wandb could not start with tracking.mode={arguments['mode']}: {reason} "
            "Log in with `wandb login`, or use tracking.mode=offline or tracking=jsonl"
        ) from error


@contextlib.contextmanager
def _no_keyboard() -> Iterator[None]:
    """Without an API key wandb would ask for one at the terminal, in the middle of a sweep too; here it raises."""
    keyboard, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = keyboard


def _environment(run_dir: RunDirectory) -> Any:
    try:
        return read_json(run_dir.environment)
    except CheckpointError:
        return None


def _cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns in order of appearance and one list a row; nested mappings become columns `components/length`."""
    flat = [_flatten(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    return columns, [[row.get(name) for name in columns] for row in flat]


def _flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= _flatten(value, f"{prefix}{name}/")
        else:
            found[f"{prefix}{name}"] = value if not isinstance(value, (list, tuple)) else str(value)
    return found
