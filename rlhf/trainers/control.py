"""What happens between the steps of every trainer: logging, evaluation, checkpoints, early stop, preemption, resume.

A trainer keeps its own loop:

    for step in self.control.steps(num_steps, state=..., evaluate=...):
        ...one step of the algorithm...
        self.control.record(metrics, samples)
"""

from __future__ import annotations

import logging
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch

from rlhf.checkpoint import Checkpointer
from rlhf.config.resume import check_same_data, differences
from rlhf.config.sections import CheckpointConfig, EvaluationConfig
from rlhf.errors import ConfigError, Preempted, TripwireError
from rlhf.hardware import peak_rss_bytes
from rlhf.trainers.budget import Budget
from rlhf.trainers.timing import StepTimer

log = logging.getLogger(__name__)


class MetricSink(Protocol):
    """Where metrics go: rlhf.tracking.Tracker, or nothing when a trainer is used as a library."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None: ...
    def held_out(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None: ...
    def message(self, text: str) -> None: ...


class Silent:
    """A sink that only logs."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        log.info("step %d: %s", step, {k: round(v, 4) for k, v in metrics.items() if "/" in k})

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Answers are not kept."""

    def held_out(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Nor are those of evaluations."""

    def message(self, text: str) -> None:
        log.info(text)


class TrainingControl:
    """Runs the bookkeeping of one training. Without arguments it only counts steps: for library use.

    resume           continue from the newest whole checkpoint, if there is one
    resume_changed   refuse | allow: what data that differs from the checkpoint's does
    data             name of a part -> its report with "source", "kept", "fingerprint"; may fill up until the first step
    machine          what decides round-off: a change is told, not refused
    budget           what the run may use up; it ends after the first step that reaches it, if not before
    """

    def __init__(
        self,
        *,
        checkpoint: CheckpointConfig | None = None,
        evaluation: EvaluationConfig | None = None,
        checkpointer: Checkpointer | None = None,
        resume: bool = False,
        resume_changed: str = "refuse",
        data: Mapping[str, Mapping[str, Any]] | None = None,
        machine: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.checkpoint, self.evaluation, self.checkpointer, self.resume = checkpoint, evaluation, checkpointer, resume
        self.resume_changed, self.data, self.machine = resume_changed, {} if data is None else data, machine or {}
        self.tracker: MetricSink = Silent()
        self.timer, self.budget = StepTimer(), budget
        self.counters: dict[str, float] = {
            "budget/generated_tokens": 0,
            "budget/trained_tokens": 0,
            "budget/flops": 0,
            "budget/seconds": 0.0,
        }
        self._share_before = 0.0  # of the budget, when the current step began
        self.step, self.stale_evaluations = 0, 0
        self.best_value: float | None = None
        self.last_metrics: dict[str, float] = {}
        self._pending: dict[str, float] = {}  # of the current step, until it is logged
        self._logged: dict[str, float] = {}  # of the step that was logged last
        self._asked_to_stop = False
        self._found: list[int | None] = []  # the step to continue from, once it was looked for

    def attach(self, tracker: MetricSink) -> None:
        """Send metrics, samples and messages to `tracker`."""
        self.tracker = tracker

    def steps(
        self, num_steps: int, *, state: Mapping[str, Any], evaluate: Callable[[], Mapping[str, float]] | None = None
    ) -> Iterator[int]:
        """Step numbers 1 .. num_steps, from where a resumed run left off. Raises Preempted after SIGTERM, state saved.

        `state` maps names to the objects that a continued run needs (modules, optimiser); `evaluate()` returns
        metrics."""
        state = {**state, "control": self}
        if self.resume and self.checkpointer is not None:
            self._restore(state)
        state["origin"] = self._origin()
        previous = self._listen_for_sigterm()
        stop = self._out_of_patience() or self.budget_share() >= 1  # of a continued run
        try:
            if self.step == 0 and evaluate and self.evaluation and self.evaluation.at_start:
                self._log_evaluation(evaluate)
            while self.step < num_steps and not stop:
                self.timer.metrics()  # the clock of the step starts here
                self.step, self._share_before = self.step + 1, self.budget_share()
                yield self.step
                stop = self._after_step(num_steps, state, evaluate)
        finally:
            if previous is not None:
                signal.signal(signal.SIGTERM, previous)

    def record(self, metrics: Mapping[str, float], samples: Sequence[Mapping[str, Any]] = ()) -> None:
        """The metrics and answers of the current step. Raises TripwireError where the loss is not finite."""
        loss = metrics.get("loss/total", 0.0)
        if not math.isfinite(loss):
            raise TripwireError(f"the loss is {loss} at step {self.step}")
        times = self.timer.metrics()
        self.counters["budget/seconds"] += times["time/step_s"]
        cost = {"memory/peak_mb": peak_memory_mb(), **{k: float(v) for k, v in self.counters.items()}}
        self._pending = {**metrics, **times, **cost}
        if samples:
            self.tracker.samples(self.step, samples)

    def held_out(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """The answers of the evaluation after the current step."""
        self.tracker.held_out(self.step, samples)

    def count(self, *, generated_tokens: int = 0, trained_tokens: int = 0, flops: int = 0) -> None:
        """Add to the run's budget counters; `record` adds the seconds of the step."""
        self.counters["budget/generated_tokens"] += generated_tokens
        self.counters["budget/trained_tokens"] += trained_tokens
        self.counters["budget/flops"] += flops

    def budget_share(self) -> float:
        """The part of the budget that was used, in [0, 1]; 0 where there is none."""
        return 0.0 if self.budget is None else self.budget.share(self.counters)

    def state_dict(self) -> dict[str, Any]:
        """Counters, what early stopping remembers, and the figures that the summary is made of."""
        last = {name: value if type(value) is int else float(value) for name, value in self.last_metrics.items()}
        stopping = {"stale": self.stale_evaluations, "best": self.best_value}
        return {"step": self.step, "counters": self.counters, **stopping, "last_metrics": last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.step, self.counters = state["step"], dict(state["counters"])
        self.stale_evaluations, self.best_value = state["stale"], state["best"]
        self.last_metrics = dict(state["last_metrics"])

    def find_checkpoint(self) -> int | None:
        """The step that a resumed run continues from, looked for once; None: from the beginning. Changes no file.

        Raises ConfigError where the data is not what the checkpoint was trained on, unless resume_changed is allow."""
        if self._found or not self.resume or self.checkpointer is None:
            return self._found[0] if self._found else None
        step = self.checkpointer.latest()
        if step is not None:
            then: dict[str, Any] = {}
            now = self._origin()
            self.checkpointer.load({"origin": then}, step)
            for line in check_same_data(then["data"], now["data"], allow=self.resume_changed == "allow"):
                log.warning("Continuing with changed data: %s", line)
            if lines := differences(then["machine"], now["machine"]):
                log.warning("Continuing on another machine, exact up to round-off only: %s", "; ".join(lines))
        self._found.append(step)
        return step

    def _origin(self) -> dict[str, Any]:
        """What the training depends on besides its configuration."""
        keys = ("source", "kept", "fingerprint")
        return {"data": {n: {k: d[k] for k in keys} for n, d in self.data.items()}, "machine": dict(self.machine)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        assert self.checkpointer is not None
        step = self.find_checkpoint()
        if step is None:
            self.tracker.message("No whole checkpoint yet: starting from step 0.")
            return
        self.checkpointer.load(state, step)
        self.checkpointer.prune()
        self.tracker.message(f"Continuing from step {step}.")

    def _after_step(self, num_steps: int, state: Mapping[str, Any], evaluate: Any) -> bool:
        """Evaluate, log, save, and say whether to stop."""
        spent = self.budget_share() >= 1
        last = self.step == num_steps or spent
        due = bool(evaluate) and self.evaluation is not None and (self._evaluation_due() or last)
        stop_early = self._log_evaluation(evaluate) if due else self._log()
        asked_to_stop = self._asked_to_stop and not (last or stop_early)  # read once: a signal may come at any line
        stopping = last or stop_early or asked_to_stop
        if (
            self.checkpointer is not None
            and self.checkpoint is not None
            and (_due(self.step, self.checkpoint.every) or stopping or (due and self.checkpoint.select_on))
        ):
            self.checkpointer.save(self.step, state, self._logged)
        if asked_to_stop:
            raise Preempted(f"asked to stop (SIGTERM) after step {self.step}; the state is saved")
        if self.budget is not None and last:
            self.tracker.message(self._told_end(spent))
        return stop_early or spent

    def _evaluation_due(self) -> bool:
        by_share = self.budget is not None and self.budget.evaluation_due(self._share_before, self.budget_share())
        return by_share or _due(self.step, self.evaluation.every)

    def _told_end(self, spent: bool) -> str:
        used = self.budget.told(self.counters)
        if spent:
            return f"The budget is used up after step {self.step}: {used}."
        return (
            f"Ended by its number of steps, {self.step}, with {used} used: a larger trainer.num_steps uses all of it."
        )

    def _log_evaluation(self, evaluate: Callable[[], Mapping[str, float]]) -> bool:
        with self.timer("evaluation"):
            found = {f"eval/{name}": value for name, value in evaluate().items()}
        self._pending |= found | {"time/evaluation_s": self.timer.metrics()["time/evaluation_s"]}
        self._log()
        return self._is_stale(found)

    def _log(self) -> bool:
        self._logged, self._pending = self._pending, {}
        self.last_metrics = {**self.last_metrics, **self._logged}
        self.tracker.log(self.step, self._logged)
        return False

    def _is_stale(self, found: Mapping[str, float]) -> bool:
        """Whether early stopping has waited long enough for checkpoint.select_on to improve."""
        if self.checkpoint is None or self.checkpoint.select_on is None:
            return False
        key = self.checkpoint.select_on
        if key not in found:
            raise ConfigError(
                f"checkpoint.select_on={key} is not measured by this run. Measured: {', '.join(sorted(found))}"
            )
        sign = 1 if self.checkpoint.select_mode == "max" else -1
        value = found[key]
        if math.isfinite(value) and (self.best_value is None or sign * value > sign * self.best_value):
            self.best_value, self.stale_evaluations = value, 0
        else:
            self.stale_evaluations += 1
        if self._out_of_patience():
            self.tracker.message(f"Stopped early: {key} has not improved for {self.stale_evaluations} evaluations.")
            return True
        return False

    def _out_of_patience(self) -> bool:
        patience = self.evaluation.patience if self.evaluation else 0
        return patience > 0 and self.stale_evaluations >= patience

    def _listen_for_sigterm(self) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return None

        def handler(signum: int, frame: Any) -> None:
            self._asked_to_stop = True
            log.warning("SIGTERM: finishing step %d, then saving", self.step)

        return signal.signal(signal.SIGTERM, handler)


def peak_memory_mb() -> float:
    """The most memory this process has held: of the GPU where it uses one, else resident."""
    if torch.cuda.is_available() and (held := torch.cuda.max_memory_allocated()):
        return held / 2**20
    return peak_rss_bytes() / 2**20


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
