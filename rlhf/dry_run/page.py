"""The page that dry_run=true prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from rlhf.config.run import ROUNDS, RunConfig
from rlhf.dry_run.arithmetic import STEPS_LOOKED_AT, Arithmetic
from rlhf.dry_run.comparing import compared_lines
from rlhf.dry_run.exploring import explored_lines
from rlhf.dry_run.machine import tokens_at_once
from rlhf.dry_run.memory import Memory
from rlhf.dry_run.preview import Preview, Previewer
from rlhf.dry_run.samples import as_text, visible
from rlhf.dry_run.scoring import asks_for_scores, score_lines
from rlhf.dry_run.teaching import taught_lines
from rlhf.evaluation.reward_model.suite import earlier_scores
from rlhf.export import describe
from rlhf.reports.reading import read_runs
from rlhf.tracking.noise import quiet_libraries

UNITS = {"sft": "examples", "reward": "pairs", "dpo": "pairs", **dict.fromkeys(ROUNDS, "prompts")}

NO_MODEL = ("report", "export", "explore", "pointwise", "compare", "teacher")
"""Stages that neither train nor sample."""


def show(configs: Sequence[RunConfig], jobs: Sequence[str] = ("",), stream: TextIO | None = None) -> None:
    """Print what `configs` would do and need: a page for one, a table for the jobs of a sweep.

    `jobs` tells the configurations apart. Nothing is downloaded if HF_HUB_OFFLINE=1 was set before the first import of
    huggingface_hub; nothing is written but to `stream` (standard output). Raises RlhfError as a run would.
    """
    quiet_libraries()
    stream = stream or sys.stdout
    console = Console(file=stream, highlight=False, soft_wrap=True, emoji=False)
    previewer = Previewer()
    previews = [previewer.look(c, job) for c, job in zip(configs, jobs, strict=True) if _loads(c)]
    lines = list(_report_lines([c for c in configs if c.stage == "report"]))
    lines += _export_lines([c for c in configs if c.stage == "export"])
    lines += _explore_lines([c for c in configs if c.stage in ("explore", "pointwise")])
    lines += _teacher_lines([c for c in configs if c.stage == "teacher"])
    lines += _compare_lines([c for c in configs if c.stage == "compare"])
    lines += _score_lines([c for c in configs if c.stage == "eval" and c.evaluation.scores])
    if len(configs) == len(previews) == 1:
        lines += _page_lines(previews[0], colour=console.is_terminal)
    elif previews:
        lines += _table_lines(previews)
    for line in lines:
        console.print(_printable(line, stream))


def _page_lines(preview: Preview, *, colour: bool) -> Iterator[Text]:
    config = preview.config
    yield Text(f"Dry run of stage={config.stage}, {config.name}: nothing is loaded, trained or written", style="bold")
    for line in preview.missing:
        yield Text(f"  not known here: {line}")
    yield from _section("Data", (f"  {line}" for line in preview.data))
    if preview.arithmetic is not None:
        yield from _section("Steps", _step_lines(config, preview.arithmetic))
        yield from _section("Tokens", _token_lines(config, preview.arithmetic))
    elif config.stage == "eval":
        yield from _section("Evaluation", _evaluation_lines(preview))
    if preview.memory is not None:
        yield from _section(f"Memory, {preview.memory.device}", _memory_lines(preview.memory))
    if preview.copy_memory is not None:
        where = f"Memory, {preview.copy_memory.device}, where a copy of the policy samples"
        yield from _section(where, _memory_lines(preview.copy_memory))
    if preview.samples:
        yield Text()
        how = "green" if colour else "in ⟦ ⟧"
        yield Text(f"Samples (what counts is {how}; {_what_counts(config)})", style="bold")
        for sample in preview.samples:
            yield Text(f"  {sample.title}")
            yield Text("    ") + as_text(sample, colour=colour)


def _section(title: str, lines: Iterable[str]) -> Iterator[Text]:
    lines = list(lines)
    if lines:
        yield Text()
        yield Text(title, style="bold")
        yield from (Text(visible(line)) for line in lines)


def _step_lines(config: RunConfig, a: Arithmetic) -> Iterator[str]:
    unit = UNITS[config.stage]
    answers = {
        **dict.fromkeys(ROUNDS, f" x {a.answers // a.examples} answers = {a.answers} answers"),
        "reward": f" = {a.answers} answers",
        "dpo": f" = {a.answers} answers",
    }
    yield f"  steps             {a.steps} of {a.examples} {unit}{answers.get(config.stage, '')}"
    yield f"  epochs            {a.epochs:.2f} passes over the training {unit}"
    updates = f"{a.updates} a step, {a.updates * a.steps} in all"
    if config.stage in ROUNDS:
        updates += f" (epochs_per_batch {config.trainer.epochs_per_batch} x minibatches {config.trainer.minibatches})"
    yield f"  optimiser steps   {updates}"
    most = ", where all answers are as long as they may be" if config.stage in ROUNDS else ""
    budget = f"{tokens_at_once(config.hardware)} tokens"
    budget += " (auto may choose fewer)" if config.hardware.tokens_per_microbatch == "auto" else ""
    yield f"  micro-batches     {a.micro_batches:.1f} an optimiser step, of at most {budget}{most}"
    yield f"  evaluations       {a.evaluations}"


def _token_lines(config: RunConfig, a: Arithmetic) -> Iterator[str]:
    yield f"  {'':<18}{'a step':>14}{'the whole run':>18}"
    rows = [("prompt", a.prompt_tokens, "")]
    if a.generated_tokens:
        rows.append(("generated", a.generated_tokens, "at most"))
    rows.append(("trained", a.trained_tokens, "at most" if a.generated_tokens else ""))
    for name, tokens, note in rows:
        yield f"  {name:<18}{tokens:>14,.0f}{tokens * a.steps:>18,.0f}  {note}".rstrip()
    if not a.exact:
        yield f"  (means over the first {STEPS_LOOKED_AT} steps)"


def _evaluation_lines(preview: Preview) -> Iterator[str]:
    config = preview.config
    models = len(config.models) if config.models else 1
    if config.suite == "reward_model":
        yield f"  {models} reward models, at most {config.evaluation.limit} held-out pairs each"
        return
    if asks_for_scores(config):
        yield from score_lines(config)
        return
    answers = config.evaluation.limit * config.evaluation.samples_per_prompt
    each = f"at most {config.evaluation.limit} prompts x {config.evaluation.samples_per_prompt} answers"
    yield f"  {models} models x {each} = {models * answers} answers"
    yield f"  generated tokens  {models * answers * config.rollout.max_new_tokens:,} at most"


def _memory_lines(memory: Memory) -> Iterator[str]:
    yield f"  {'':<16}" + "".join(f"{phase:>11}" for phase in memory.phases)
    for part in memory.parts:
        sizes = [getattr(part, phase) for phase in memory.phases]
        yield f"  {part.name:<16}" + "".join(f"{_size(s) if s else '-':>11}" for s in sizes) + f"   {part.note}"
    yield f"  {'total':<16}" + "".join(f"{_size(memory.of(phase)):>11}" for phase in memory.phases)
    if memory.available is None:
        yield f"  at most {_size(memory.total)} at once; this machine has no {memory.device} device to compare with"
        return
    share = memory.total / memory.available
    verdict = "" if share <= 0.9 else "; lower hardware.tokens_per_microbatch or hardware.rollout_batch_size"
    yield f"  at most {_size(memory.total)} at once, {share:.0%} of the {_size(memory.available)} there are{verdict}"


def _table_lines(previews: Sequence[Preview]) -> Iterator[Text]:
    yield Text(f"Dry run of {len(previews)} jobs: nothing is loaded, trained or written", style="bold")
    for line in dict.fromkeys(line for preview in previews for line in preview.missing):
        yield Text(f"  not known here: {line}")
    header = ("job", "steps", "answers a step", "updates a step", "micro-batches", "tokens trained", "memory")
    rows = [header, *(_table_row(preview) for preview in previews)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield Text("  " + "  ".join(cells), style="bold" if row is header else "")


def _table_row(preview: Preview) -> tuple[str, ...]:
    a = preview.arithmetic
    counts = ("-",) * 5
    if a is not None:
        trained = f"{a.trained_tokens * a.steps:,.0f}"
        counts = (str(a.steps), str(a.answers), str(a.updates), f"{a.micro_batches:.1f}", trained)
    return (visible(preview.job), *counts, _size(preview.memory.total) if preview.memory else "-")


def _report_lines(configs: Sequence[RunConfig]) -> Iterator[Text]:
    for config in configs:
        yield Text(f"Dry run of stage=report, {visible(config.title or '')}: nothing is written", style="bold")
        for record in read_runs([Path(run) for run in config.runs]):
            last = "" if record.last_step is None else f", {record.last_step} steps"
            yield Text(visible(f"  {record.shown_path}: stage={record.stage}, {record.state}{last}"))
            yield from (Text(visible(f"    {problem}")) for problem in record.problems)


def _loads(config: RunConfig) -> bool:
    """Whether the run has models; an evaluation of earlier scores has none."""
    return config.stage not in NO_MODEL and not getattr(config.evaluation, "scores", None)


def _score_lines(configs: Sequence[RunConfig]) -> Iterator[Text]:
    for config in configs:
        scored, counts = earlier_scores(config.evaluation.scores, config.models, config.evaluation.limit)
        yield Text("Dry run of stage=eval, suite=reward_model: nothing is loaded or written", style="bold")
        yield Text(visible(f"  {counts['used']} pairs of {counts['source']}, scored by {', '.join(scored)}"))


def _export_lines(configs: Sequence[RunConfig]) -> Iterator[Text]:
    for config in configs:
        yield Text("Dry run of stage=export: nothing is loaded or written", style="bold")
        yield Text(visible(f"  {describe(config.export)}"))


def _compare_lines(configs: Sequence[RunConfig]) -> Iterator[Text]:
    for config in configs:
        yield Text(f"Dry run of stage=compare, {visible(config.name)}: nothing is started or written", style="bold")
        yield from (Text(visible(f"  {line}")) for line in compared_lines(config))


def _explore_lines(configs: Sequence[RunConfig]) -> Iterator[Text]:
    for config in configs:
        yield Text(f"Dry run of stage={config.stage}, {visible(config.name)}: nothing is written", style="bold")
        yield from (Text(visible(f"  {line}")) for line in explored_lines(config))


def _teacher_lines(configs: Sequence[RunConfig]) -> Iterator[Text]:
    for config in configs:
        yield Text(f"Dry run of stage=teacher, {visible(config.name)}: nothing is asked or written", style="bold")
        yield from (Text(visible(f"  {line}")) for line in taught_lines(config))


def _what_counts(config: RunConfig) -> str:
    if config.stage == "reward" or config.suite == "reward_model":
        return "the token that the score is read at"
    return "tokens in the loss" if config.stage != "eval" else "sampled tokens"


def _size(size: int) -> str:
    """Bytes as 512 MB or 1.25 GB, of 2^20 and 2^30."""
    return f"{size / 2**30:.2f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"


def _printable(line: Text, stream: TextIO) -> Text:
    """`line` with characters that the stream's encoding lacks written out."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        line.plain.encode(encoding)
        return line
    except UnicodeEncodeError:
        return Text(line.plain.encode(encoding, "backslashreplace").decode(encoding))
