"""The ten-second answer: one sentence a run, made from its numbers, and what is worth a second look."""

from __future__ import annotations

from rlhf.reports import numbers
from rlhf.reports.comparison import evaluation_findings, evaluation_tiles, evaluation_watch, finite, models
from rlhf.reports.metric_names import metric
from rlhf.reports.progress import (
    change,
    headline_series,
    last_value,
    training_findings,
    training_tiles,
)
from rlhf.reports.reading import WITHOUT_STEPS, RunRecord
from rlhf.reports.sections import exhibit_findings, exhibit_tiles
from rlhf.reports.text import one_line
from rlhf.reports.views import Finding, Tile


def findings(run: RunRecord) -> list[Finding]:
    """What came out of a run: for a failed one the error, for an evaluation one sentence a model.

    What a stage found itself joins them; of an evaluation it stands instead, for both would say the same."""
    own = list(exhibit_findings(run))
    if run.state in ("failed", "preempted"):
        return [_stopped(run), *own]
    if run.stage == "eval":
        found = own or list(evaluation_findings(run))
    else:
        found = [*training_findings(run), *own]
    if not found:
        found = [Finding("unclear", "No result", "It left neither metrics nor a summary.", run.label)]
    if run.state == "running":
        found = [Finding("running", "Not finished", f"Still running; figures so far. {f.text}", f.run) for f in found]
    return found


def watch(run: RunRecord) -> list[str]:
    """What a careful reader would want pointed out."""
    found = [f"{problem}." for problem in run.problems]
    for name, series in run.metrics.items():
        if series.missing and name.startswith(("loss/", "policy/")):
            shown = metric(name, run.stage).label
            where = "step" if len(series.missing) == 1 else f"{len(series.missing)} steps, first at step"
            found.append(f"{shown} was not a finite number at {where} {series.missing[0]}.")
    truncated = last_value(run, "response/truncated_fraction")
    if truncated is not None and truncated > 0.2:
        found.append(
            f"{numbers.number(truncated, '%')} of the answers are cut off at the token limit: "
            "their reward is for an unfinished text. rollout.max_new_tokens sets the limit."
        )
    entropy = change(run, "policy/entropy")
    if entropy and entropy.first > 0 and entropy.last < 0.2 * entropy.first:
        found.append(
            f"Entropy fell from {numbers.number(entropy.first)} to {numbers.number(entropy.last)} nats a token: "
            "the policy hardly explores any more."
        )
    silent = last_value(run, "reward/no_signal_fraction")
    if silent is not None and silent > 0.5:
        found.append(
            f"{numbers.number(silent, '%')} of the groups had equal rewards at the end: little is left to learn from."
        )
    return found + list(evaluation_watch(run))


def tiles(run: RunRecord) -> list[Tile]:
    """Headline numbers of one run."""
    own = exhibit_tiles(run)
    found = (own or list(evaluation_tiles(run))) if run.stage == "eval" else [*own, *training_tiles(run)]
    if run.last_step is not None:
        planned = run.section("trainer").get("num_steps")
        found.append(Tile("Steps", f"{run.last_step:,}", f"of {planned:,}" if isinstance(planned, int) else ""))
    if (seconds := finite(run.status.get("seconds"))) is not None:
        found.append(Tile("Time", numbers.duration(seconds)))
    return found


def result(run: RunRecord) -> tuple[str, str]:
    """The cell "result" in the table of runs: (value, what it is)."""
    if run.stage == "eval":
        return (f"{len(models(run))} models", str(run.summary.get("suite", ""))) if models(run) else ("–", "")
    name = headline_series(run)
    if name is None:
        first = exhibit_tiles(run)[:1]
        return (first[0].value, first[0].label) if first else ("–", "")
    shown, last = metric(name, run.stage), run.metrics[name].values[-1]
    moved = change(run, name)
    where = "held-out" if name.startswith("eval/") else "training"
    detail = f"{where} {shown.label.lower()}"
    if moved:
        first, end = numbers.pair(moved.first, moved.last, shown.unit)
        return end, f"{detail}, from {first}"
    return numbers.number(float(last), shown.unit), detail


def _stopped(run: RunRecord) -> Finding:
    stopped = f"Stopped {_when(run)}".rstrip()
    if run.state == "preempted":
        text = f"{stopped} with its state saved; resume={run.shown_path} continues it."
        return Finding("running", "Preempted", text, run.label)
    why = one_line(run.error or "no error is recorded; see run.log", 600)
    return Finding("failed", "Failed", f"{stopped}: {why}", run.label)


def _when(run: RunRecord) -> str:
    """After how many steps and how long; nothing where neither is known."""
    seconds = finite(run.status.get("seconds"))
    spent = None if seconds is None else numbers.duration(seconds)
    if run.stage in WITHOUT_STEPS:
        return f"after {spent}" if spent else ""
    after = f"after {run.last_step:,} steps" if run.last_step is not None else "before its first step"
    return f"{after} ({spent})" if spent else after
