"""The one place that a trainer reports to: metrics, samples, messages. JSONL always, other trackers if asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from rlhf.config.sections import TrackingConfig
from rlhf.errors import Preempted
from rlhf.tracking.console import make_console
from rlhf.tracking.files import to_jsonable, write_json_atomic
from rlhf.tracking.jsonl import JsonlFiles
from rlhf.tracking.run_directory import RunDirectory, append_log

logger = logging.getLogger(__name__)


BEFORE_THE_FIRST_STEP = -1
"""`resumed_from_step` of a run that goes on as the same run although it had saved no checkpoint: every line is cut."""


class Backend(Protocol):
    """A tracker besides the JSONL files. What it raises after its start is logged once and turns it off."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """The metrics of one step."""
        ...

    def samples(self, step: int | None, rows: Sequence[Mapping[str, Any]]) -> None:
        """Answers of one step."""
        ...

    def summary(self, values: Mapping[str, Any]) -> None:
        """The figures of the whole run."""
        ...

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table of results."""
        ...

    def figures(self, images: Mapping[str, bytes]) -> None:
        """PNG files by name."""
        ...

    def finish(self, status: str) -> None:
        """Write out what is left and close."""
        ...


class Tracker:
    """Metrics, samples and messages of one run. Use it as a context manager, or call `finish` on every path.

    stage, name         labels for the trackers and the console
    config_plain        the configuration as plain values
    num_steps           steps of the whole run, for the progress bar; None where a stage has none
    resumed_from_step   the step whose checkpoint was loaded: lines beyond it are cut. None: a new run

    Raises ConfigError if a tracker that was asked for cannot start.
    """

    def __init__(
        self,
        run_dir: RunDirectory | Path,
        config: TrackingConfig,
        *,
        stage: str,
        name: str,
        config_plain: Mapping[str, Any],
        num_steps: int | None,
        resumed_from_step: int | None = None,
    ) -> None:
        self.run_dir = run_dir if isinstance(run_dir, RunDirectory) else RunDirectory(run_dir)
        self.run_dir.path.mkdir(parents=True, exist_ok=True)
        self._files = JsonlFiles(self.run_dir, resumed_from_step=resumed_from_step)
        self._elapsed_before = self._files.last_time()
        self._start = time.monotonic()
        self._finished = False
        self._wandb_id: str | None = None
        self._backends: list[Backend] = []  # all that were started and must be closed
        try:
            self._start_backends(config, stage, name, config_plain, resumed_from_step)
        except BaseException:
            self._close_backends("failed")
            raise
        self._working = list(self._backends)  # those that have not raised
        self._console = make_console(config.console, f"{stage} {name}", num_steps, max(resumed_from_step or 0, 0))

    def _start_backends(
        self, config: TrackingConfig, stage: str, name: str, config_plain: Mapping[str, Any], resumed_from: int | None
    ) -> None:
        if config.tensorboard:
            from rlhf.tracking.tensorboard_backend import TensorBoardBackend

            self._backends.append(TensorBoardBackend(self.run_dir, config_plain, resumed_from_step=resumed_from))
        if config.wandb:
            from rlhf.tracking.wandb_backend import WandbBackend

            resuming = resumed_from is not None
            backend = WandbBackend(self.run_dir, config, stage, name, config_plain, resuming=resuming)
            self._wandb_id = backend.run_id
            self._backends.append(backend)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began, without the time between an interruption and its resume."""
        return self._elapsed_before + time.monotonic() - self._start

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line of metrics.jsonl, {"step", "time_s", ...}, and the same for every tracker. NaN becomes null."""
        elapsed = self.elapsed_s
        self._files.log(step, metrics, elapsed)
        numbers = _numbers(metrics)
        self._each("log", step, numbers)
        self._console.log(step, numbers)

    def samples(self, step: int | None, rows: Sequence[Mapping[str, Any]]) -> None:
        """One line of samples.jsonl an answer, and a table in wandb that keeps every step. `step` None: of no step."""
        if rows:
            self._files.samples(step, rows)
            self._each("samples", step, to_jsonable(rows))

    def held_out(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """One line of held_out.jsonl an answer that an evaluation of a training sampled, and a table of these."""
        if rows:
            self._files.held_out(step, rows)
            self._each("table", "held_out", to_jsonable([{"step": step, **row} for row in rows]))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Replace summary.json."""
        write_json_atomic(self.run_dir.summary, values)
        self._each("summary", to_jsonable(values))

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table of results for every tracker; the run directory has it as a file of the stage's own."""
        self._each("table", name, to_jsonable(rows))

    def figures(self, draw: Callable[[], Mapping[str, bytes]]) -> None:
        """PNG files by name for every tracker, drawn where there is one; the report draws its own."""
        if self._working:
            self._each("figures", draw())

    def message(self, text: str) -> None:
        """A line for the person at the console, kept in run.log too."""
        append_log(self.run_dir.log, text)
        self._console.message(text)

    def finish(self, status: str = "completed") -> None:
        """Close the console and every tracker, once; `status` is completed, failed or preempted."""
        if self._finished:
            return
        self._finished = True
        try:
            self._console.finish()
        finally:
            self._close_backends(status)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to continue the same curves."""
        return {"elapsed_s": self.elapsed_s, "wandb_run_id": self._wandb_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the clock of the run that `state` was taken from. The wandb run is found by the run directory."""
        self._elapsed_before = float(state["elapsed_s"])
        self._start = time.monotonic()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish("completed" if error is None else "preempted" if isinstance(error, Preempted) else "failed")

    def _each(self, method: str, *arguments: Any) -> None:
        for backend in list(self._working):
            try:
                getattr(backend, method)(*arguments)
            except Exception as error:
                self._working.remove(backend)
                logger.warning(
                    "%s stopped working and is off for the rest of this run; the JSONL files go on: %s: %s",
                    type(backend).__name__, type(error).__name__, error,
                )  # fmt: skip

    def _close_backends(self, status: str) -> None:
        for backend in self._backends:
            try:
                backend.finish(status)
            except Exception as error:
                logger.warning("%s did not close: %s: %s", type(backend).__name__, type(error).__name__, error)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among the metrics, as Python numbers; a NaN has no place in a curve."""
    return {key: value for key, value in to_jsonable(metrics).items() if isinstance(value, (int, float))}
