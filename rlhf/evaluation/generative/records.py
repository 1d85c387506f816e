"""The scores and texts of an evaluation as lines of JSON: scores.jsonl for programs, samples.jsonl for the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rlhf.evaluation.generative.scores import SIDES, Scored
from rlhf.tracking.files import dump_json, write_text_atomic

FILE = "scores.jsonl"


def write_scores(folder: Path, found: Iterable[Scored]) -> Path:
    """scores.jsonl, whole or not at all: a line a model, score prompt, seed, pair and side."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    write_text_atomic(path, "".join(f"{dump_json(row)}\n" for scored in found for row in scored.rows()))
    return path


def sample_rows(scored: Scored, *, seeds: int = 1, model: str | None = None) -> list[dict[str, Any]]:
    """Lines of samples.jsonl: every text, with its score as the reward. `seeds`: how many the evaluation has; `model`:
    what it is called, where that is not the label."""
    name = (model or scored.label) + (f", seed {scored.seed}" if seeds > 1 else "")
    return [
        {"prompt_id": side.prompt.id, "sample": rollout.sample, "prompt": side.prompt.as_text(), "answer": rollout.text,
         "reward": parsed.value, "components": {"preferred": float(which == SIDES[0])}, "finish": rollout.finish,
         "length_tokens": len(rollout.answer_ids), "model": name, "failure": parsed.failure}
        for both in scored.sides
        for which, side in zip(SIDES, both, strict=True)
        for rollout, parsed in zip(side.rollouts, side.parsed, strict=True)
    ]  # fmt: skip


def side_by_side(lists: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Lines of several ways to ask about the same answers, those about one answer behind each other: the report shows
    the first answers of a file, which should be those of every way."""
    order = {prompt: i for i, prompt in enumerate(dict.fromkeys(row["prompt_id"] for row in lists[0]))}
    return sorted((row for rows in lists for row in rows), key=lambda row: order[row["prompt_id"]])
