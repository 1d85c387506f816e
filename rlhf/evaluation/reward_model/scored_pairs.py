"""Preference pairs with the scores of one reward model: what every figure of the suite is computed from, and its file.

scores.jsonl holds a line a model and pair, so that figures can be computed again without any model:

    {"model": "reward", "path": "outputs/reward/x", "pair": "hh-7", "score_chosen": 0.4, "score_rejected": -0.1, ...}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlhf.data.rendering import Renderer
from rlhf.errors import DataError
from rlhf.tracking.files import dump_json, read_jsonl, write_text_atomic
from rlhf.types import PreferencePair, TokenGroup


@dataclass(frozen=True)
class ScoredPair:
    """One pair and what the model that scored it was given of it. Lengths count what the model read, in its tokens."""

    pair: str  # the prompt's id
    prompt: str
    conversation: bool  # the prompt is turns, not plain text
    chosen: str
    rejected: str
    subset: str | None
    label_margin: float | None
    turns: int  # of the user in the prompt; 1 for plain text
    prompt_tokens: int
    chosen_tokens: int
    rejected_tokens: int
    prompt_cut: bool  # the model did not see all of it
    chosen_cut: bool
    rejected_cut: bool
    score_chosen: float
    score_rejected: float

    @property
    def margin(self) -> float:
        """Score of the preferred answer minus the other's, nats."""
        return self.score_chosen - self.score_rejected


FIELDS = tuple(field.name for field in dataclasses.fields(ScoredPair))


@dataclass(frozen=True)
class ScoredPairs:
    """P pairs under one model, in the order of the data."""

    label: str
    path: str
    pairs: tuple[ScoredPair, ...]
    written: str = ""  # how a language model wrote the scores; empty for a model with a score head

    @property
    def scores(self) -> np.ndarray:
        """[P, 2] of the chosen and the rejected answers, nats."""
        return np.array([[p.score_chosen, p.score_rejected] for p in self.pairs])

    @property
    def margins(self) -> np.ndarray:
        """[P] nats."""
        return self.scores[:, 0] - self.scores[:, 1]

    @property
    def tokens(self) -> np.ndarray:
        """[P, 2] lengths of the answers."""
        return np.array([[p.chosen_tokens, p.rejected_tokens] for p in self.pairs])

    @property
    def clusters(self) -> list[str]:
        """[P] the prompts: pairs that share one are not independent."""
        return [p.prompt for p in self.pairs]

    @property
    def right(self) -> np.ndarray:
        """[P] 1 where ordered as labelled, 0.5 where tied, else 0."""
        margins = self.margins
        return (margins > 0) + 0.5 * (margins == 0)


def describe_pair(example: PreferencePair, group: TokenGroup, renderer: Renderer, scores: np.ndarray) -> ScoredPair:
    """`example` with its tokens and its two scores [2].  Raises DataError for a score that is not finite."""
    if not np.isfinite(scores).all():
        raise DataError(f"the reward model scores the answers of pair {example.prompt.id} {list(scores)}: not finite")
    ids = [c.ids for c in group.continuations]
    prompt = example.prompt
    return ScoredPair(
        pair=prompt.id,
        prompt=prompt.as_text(),
        conversation=bool(prompt.messages),
        chosen=example.chosen,
        rejected=example.rejected,
        subset=example.subset,
        label_margin=example.margin,
        turns=sum(m.role == "user" for m in prompt.messages) or 1,
        prompt_tokens=len(group.prompt_ids),
        chosen_tokens=len(ids[0]),
        rejected_tokens=len(ids[1]),
        prompt_cut=renderer.prompt_was_truncated(prompt),
        chosen_cut=renderer.answer_was_truncated(ids[0]),
        rejected_cut=renderer.answer_was_truncated(ids[1]),
        score_chosen=float(scores[0]),
        score_rejected=float(scores[1]),
    )


def sample_rows(scored: ScoredPairs) -> list[dict[str, Any]]:
    """Lines of samples.jsonl: both answers of every pair, the chosen one first."""
    return [
        {"prompt_id": p.pair, "prompt": p.prompt, "model": scored.label, "side": side, "answer": answer,
         "reward": score, "length_tokens": tokens, **({} if p.subset is None else {"subset": p.subset})}
        for p in scored.pairs
        for side, answer, score, tokens in (
            ("chosen", p.chosen, p.score_chosen, p.chosen_tokens),
            ("rejected", p.rejected, p.score_rejected, p.rejected_tokens),
        )
    ]  # fmt: skip


def write_scores(path: Path, models: Sequence[ScoredPairs]) -> None:
    """scores.jsonl of all models, whole or not at all."""
    lines = [
        dump_json({"model": scored.label, "path": scored.path, **how, **dataclasses.asdict(pair)})
        for scored in models
        for how in [{"written": scored.written} if scored.written else {}]
        for pair in scored.pairs
    ]
    write_text_atomic(path, "".join(f"{line}\n" for line in lines))


def read_scores(path: Path) -> dict[str, ScoredPairs]:
    """label -> its pairs, as `write_scores` wrote them. Raises DataError naming the line that is no scored pair."""
    if not path.is_file():
        raise DataError(f"{path} does not exist: evaluation.scores names an earlier run of suite=reward_model")
    found: dict[str, tuple[str, str, list[ScoredPair]]] = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        missing = [name for name in ("model", "path", *FIELDS) if name not in row]
        if missing:
            raise DataError(f"{path}:{number}: no scored pair: it lacks {', '.join(missing)}")
        about = (str(row["path"]), str(row.get("written", "")), [])
        found.setdefault(str(row["model"]), about)[2].append(_pair(row, f"{path}:{number}"))
    if not found:
        raise DataError(f"{path} holds no scored pair")
    return {label: ScoredPairs(label, where, tuple(pairs), how) for label, (where, how, pairs) in found.items()}


def _pair(row: Mapping[str, Any], origin: str) -> ScoredPair:
    pair = ScoredPair(**{name: row[name] for name in FIELDS})
    for name in ("score_chosen", "score_rejected", "prompt_tokens", "chosen_tokens", "rejected_tokens"):
        if isinstance(row[name], bool) or not isinstance(row[name], (int, float)):
            raise DataError(f"{origin}: {name} must be a number; got {row[name]!r}")
    return pair
