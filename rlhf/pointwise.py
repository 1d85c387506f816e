"""stage=pointwise: preference pairs as prompts that ask for a score of each answer, for use outside of this program.

pointwise/train.jsonl   one line a prompt, the two sides of a pair one behind the other: id, messages; with
                        pointwise.metadata pair_id, side, preferred_side, score_prompt, answer, subset, margin
pointwise/eval.jsonl    likewise
summary.json            counts
exhibits.json           the same for the report, with pairs in full

    dataset=local dataset.path=.../train.jsonl dataset.format=messages dataset.columns.id=id dataset.columns.answer=null

reads a file back as prompts, with their metadata.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from rlhf.config.pointwise import PointwiseConfig
from rlhf.data.loading import Prompts, load_prompts
from rlhf.data.splits import SPLIT_SEED
from rlhf.exhibits import Exhibits, Finding, Passage, Section, Table
from rlhf.explore.reading import splits_of
from rlhf.tracking.files import write_json_atomic, write_jsonl_atomic
from rlhf.types import Prompt

FOLDER = "pointwise"
BESIDE = ("pair_id", "side", "preferred_side", "score_prompt", "answer", "subset", "margin")
"""What is known of a prompt and not read by a model."""


class Reporter(Protocol):
    """Where progress goes."""

    def message(self, text: str) -> None: ...


class PointwiseExport:
    """Writes the prompts of dataset.score_prompt, as a policy would read them before the chat template."""

    def __init__(self, config: PointwiseConfig, *, run_config: Any, run_dir: Any, renderer: Any) -> None:
        self.config, self.dataset, self.run_dir, self.renderer = config, run_config.dataset, run_dir, renderer

    def evaluate(self, reporter: Reporter) -> dict[str, Any]:
        """summary.json of the run; the prompts and exhibits.json are written on the way. Raises DataError."""
        folder = self.run_dir.path / FOLDER
        folder.mkdir(exist_ok=True)
        found: dict[str, Prompts] = {}
        for split in splits_of(self.dataset) if self.config.split == "both" else (self.config.split,):
            found[split] = load_prompts(self.dataset, split, self.renderer, seed=SPLIT_SEED)
            for line in found[split].report.lines():
                reporter.message(line)
            write_jsonl_atomic(folder / f"{split}.jsonl", exported_rows(found[split], metadata=self.config.metadata))
            reporter.message(f"{folder / split}.jsonl: {len(found[split].examples)} prompts")
        numbers = {split: counts(data) for split, data in found.items()}
        exhibits = Exhibits(
            findings=tuple(_finding(split, number) for split, number in numbers.items()),
            tiles=tuple(_tile(split, number) for split, number in numbers.items()),
            sections=(_numbers(numbers), *_samples(found, self.config.samples)),
        )
        write_json_atomic(self.run_dir.exhibits, exhibits.to_dict())
        return {"stage": "pointwise", "score_prompt": self.dataset.score_prompt, "splits": numbers}


def exported_rows(data: Prompts, *, metadata: bool) -> Iterator[dict[str, Any]]:
    """One plain mapping a prompt, in the order of the data."""
    for prompt in data.examples:
        beside = {key: prompt.metadata[key] for key in BESIDE if key in prompt.metadata} if metadata else {}
        messages = [{"role": turn.role, "content": turn.content} for turn in prompt.messages]
        yield {"id": prompt.id, "messages": messages, **beside}


def counts(data: Prompts) -> dict[str, Any]:
    """Pairs, prompts, what the rules dropped, and lengths in tokens, of one split."""
    tokens = data.report.prompt_tokens
    sides = [prompt.metadata["preferred_side"] for prompt in data.examples[::2]]
    return {
        "rows": data.report.read,
        "pairs": data.report.kept,
        "prompts": len(data.examples),
        "preferred_on_side_0": sides.count(0),
        "dropped": dict(data.report.dropped),
        "truncated_prompts": data.report.truncated_prompts,
        "mean_prompt_tokens": statistics.fmean(tokens),
        "longest_prompt_tokens": max(tokens),
        "fingerprint": data.fingerprint,
    }


def _finding(split: str, found: Mapping[str, Any]) -> Finding:
    """What to know of a split before it is used: whether all of it can be read whole."""
    whole = f"{split}: {found['prompts']:,} prompts of {found['pairs']:,} pairs"
    dropped = sum(found["dropped"].values())
    left = f"; {dropped:,} of {found['rows']:,} rows left out" if dropped else ""
    if found["truncated_prompts"]:
        return Finding("bad", "Cut", f"{whole}, {found['truncated_prompts']:,} of them cut at their beginning{left}.")
    return Finding("plain", "Whole", f"{whole}, each within its limit{left}.")


def _tile(split: str, found: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{split} prompts", f"{found['prompts']:,}", f"{found['mean_prompt_tokens']:.0f} tokens each"


def _numbers(splits: Mapping[str, Mapping[str, Any]]) -> Section:
    labels = {
        "rows": "rows read",
        "pairs": "pairs kept",
        "prompts": "prompts",
        "preferred_on_side_0": "pairs with the preferred answer on side 0",
        "truncated_prompts": "prompts cut to dataset.max_prompt_tokens",
        "mean_prompt_tokens": "tokens of a prompt, mean",
        "longest_prompt_tokens": "tokens of a prompt, longest",
    }
    rows = [[label, *(round(found[key]) for found in splits.values())] for key, label in labels.items()]
    for reason in dict.fromkeys(reason for found in splits.values() for reason in found["dropped"]):
        rows.append([f"pairs dropped: {reason}", *(found["dropped"].get(reason, 0) for found in splits.values())])
    return Section("Prompts that ask for a score", tables=(Table("Counts", ["", *splits], rows),))


def _samples(splits: Mapping[str, Prompts], number: int) -> Iterator[Section]:
    """The first pairs of each split, both sides in full."""
    if not number:
        return
    for split, data in splits.items():
        shown = data.examples[: 2 * number]
        yield Section(f"Both sides of a pair ({split})", passages=tuple(map(_passage, shown)))


def _passage(prompt: Prompt) -> Passage:
    preferred = prompt.metadata["side"] == prompt.metadata["preferred_side"]
    turns = tuple((turn.role.capitalize(), turn.content) for turn in prompt.messages)
    return Passage(prompt.id, turns, details="the preferred answer" if preferred else "the other answer")
