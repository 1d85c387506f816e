"""Verdicts in a file: written down beside any judge, and given out again without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from rlhf.errors import CheckpointError, JudgeError
from rlhf.judges.types import Comparison, CostEstimate, Judge, Report, Verdict, Winner
from rlhf.tracking.files import append_jsonl, read_jsonl

Question = tuple[str, str, str]
WINNERS = (*get_args(Winner), None)


class ReplayJudge:
    """Answers from the JSONL file `path`, one line a comparison:

        {"judge": "gpt-4.1-mini", "prompt": "...", "first": "...", "second": "...", "winner": "second", "reason": "..."}

    winner is first, second, tie or null. The costs are those of the recording; nothing is paid here, so verdicts come
    as cached. Raises JudgeError for a file that is missing, empty or wrong, and for two judges in it."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise JudgeError(f"judge.file={path} does not exist; a run with judge.record={path} writes it")
        self._verdicts, names = _read(self.path)
        if len(names) != 1:
            found = ", ".join(sorted(names)) or "no verdict"
            raise JudgeError(f"judge.file={path} must hold the verdicts of one judge; it holds {found}")
        self.name = f"replay:{names.pop()}"

    def estimate(self, comparisons: Sequence[Comparison]) -> CostEstimate:
        """No calls."""
        return CostEstimate(0, 0, 0, 0.0, 0.0, len(comparisons))

    def compare(self, comparisons: Sequence[Comparison], *, report: Report | None = None) -> list[Verdict]:
        """The recorded verdicts. Raises JudgeError where one is not in the file."""
        missing = [c for c in comparisons if _question(c) not in self._verdicts]
        if missing:
            raise JudgeError(
                f"{self.path} has no verdict for {len(missing)} of {len(comparisons)} comparisons, the first about the "
                f"prompt {missing[0].prompt[:80]!r}: it was recorded with other prompts, models or sampling"
            )
        return [self._verdicts[_question(c)] for c in comparisons]


class RecordingJudge:
    """`judge`, its settled verdicts added to the JSONL file `path` that ReplayJudge reads. Each comparison is written
    once. Raises JudgeError for a file with the verdicts of another judge."""

    def __init__(self, judge: Judge, path: str) -> None:
        self.judge, self.path, self.name = judge, Path(path).expanduser(), judge.name
        recorded, names = _read(self.path)
        self._recorded = set(recorded)
        if names - {self.name}:
            raise JudgeError(f"judge.record={path} holds verdicts of {', '.join(sorted(names))}; name another file")

    def estimate(self, comparisons: Sequence[Comparison]) -> CostEstimate:
        """That of the judge."""
        return self.judge.estimate(comparisons)

    def compare(self, comparisons: Sequence[Comparison], *, report: Report | None = None) -> list[Verdict]:
        """The judge's verdicts, recorded."""
        verdicts = self.judge.compare(comparisons, report=report)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for comparison, verdict in zip(comparisons, verdicts, strict=True):
            if verdict.settled and _question(comparison) not in self._recorded:
                self._recorded.add(_question(comparison))
                append_jsonl(self.path, _row(self.name, comparison, verdict))
        return verdicts


def _question(comparison: Comparison) -> Question:
    return (comparison.prompt, comparison.first, comparison.second)


def _row(judge: str, comparison: Comparison, verdict: Verdict) -> dict[str, Any]:
    return {
        "judge": judge,
        "prompt": comparison.prompt,
        "first": comparison.first,
        "second": comparison.second,
        "winner": verdict.winner,
        "reason": verdict.reason,
        "cost_usd": verdict.cost_usd,
        "input_tokens": verdict.input_tokens,
        "output_tokens": verdict.output_tokens,
    }


def _read(path: Path) -> tuple[dict[Question, Verdict], set[str]]:
    """The verdicts by comparison, and the names of the judges. Raises JudgeError naming the line."""
    try:
        rows = read_jsonl(path)
    except CheckpointError as error:
        raise JudgeError(str(error)) from error
    found: dict[Question, Verdict] = {}
    names: set[str] = set()
    for number, row in enumerate(rows, start=1):
        texts = tuple(row.get(name) for name in ("prompt", "first", "second"))
        if not all(isinstance(t, str) for t in texts) or row.get("winner", "") not in WINNERS:
            raise JudgeError(
                f"{path}, row {number}: a verdict has prompt, first, second, and winner first|second|tie|null"
            )
        verdict = Verdict(
            row["winner"],
            str(row.get("reason", "")),
            float(row.get("cost_usd", 0.0)),
            int(row.get("input_tokens", 0)),
            int(row.get("output_tokens", 0)),
            cached=True,
        )
        if found.setdefault(texts, verdict).winner != verdict.winner:
            raise JudgeError(f"{path}, row {number}: another verdict on this comparison stands further up")
        names.add(str(row.get("judge", "unnamed")))
    return found, names
