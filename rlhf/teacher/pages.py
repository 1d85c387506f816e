"""The scores of a teacher as exhibits: figures, tables and pairs in full, for the report to draw."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlhf.exhibits import Curve, Exhibits, Figure, Finding, Passage, Section, Table
from rlhf.explore.formatting import SPLITS, brackets, percent
from rlhf.teacher.examples import order_of
from rlhf.teacher.questions import Question
from rlhf.teacher.types import Scored

MOST_BARS = 11
NUMBERS = {
    "pairs": "pairs",
    "scored": "with scores",
    "right": "ordered as the annotators do",
    "wrong": "ordered the other way",
    "tie": "equal scores",
    "examples": "examples for SFT",
    "cached": "known before this run",
    "input_tokens": "tokens read by the teacher",
    "output_tokens": "tokens written by the teacher",
}

Stats = Mapping[str, Any]
Results = Mapping[str, tuple[Sequence[Question], Sequence[Scored]]]
"""split -> pairs [N] and what was said of them [N]."""


def exhibits_of(
    splits: Mapping[str, Stats], results: Results, findings: Sequence[Finding], *, samples: int, seed: int
) -> Exhibits:
    """Everything that stage=teacher has to show; `samples` pairs of each part and order in full, drawn by `seed`."""
    figures = tuple(_scores(split, stats) for split, stats in splits.items() if stats["scored"])
    sections = [_numbers(splits), Section("Scores", figures=figures)]
    for split, (questions, scored) in results.items():
        sections += _pairs(split, questions, scored, samples, seed)
    return Exhibits(tuple(findings), tuple(_tiles(splits)), tuple(sections))


def _tiles(splits: Mapping[str, Stats]) -> Iterator[tuple[str, str, str]]:
    for split, stats in splits.items():
        yield f"{SPLITS[split]} examples", f"{stats['examples']:,}", f"of {stats['pairs']:,} pairs"
        if stats["agreement"] is not None:
            rate = stats["agreement"]
            yield f"agreement, {SPLITS[split]}", percent(rate["mean"]), brackets(rate, percent)
    cost = sum(stats["cost_usd"] for stats in splits.values())
    if cost:
        yield "cost", f"${cost:.2f}", "of all replies used, whenever they were paid"


def _numbers(splits: Mapping[str, Stats]) -> Section:
    rows: list[list[Any]] = [[label, *(stats[key] for stats in splits.values())] for key, label in NUMBERS.items()]
    for key in ("failures", "dropped", "left_out"):
        about = {"failures": "no scores", "dropped": "pair not kept", "left_out": "answer not kept"}[key]
        reasons = dict.fromkeys(reason for stats in splits.values() for reason in stats[key])
        if key == "dropped":  # what has no scores is told above
            reasons = {r: None for r in reasons if not any(r in stats["failures"] for stats in splits.values())}
        rows += [
            [f"{about}: {reason}", *(stats[key].get(reason, 0) for stats in splits.values())] for reason in reasons
        ]
    rows.append(["cost, US dollars", *(f"{stats['cost_usd']:.4f}" for stats in splits.values())])
    return Section("Pairs and examples", tables=(Table("Counts", ["", *map(SPLITS.get, splits)], rows),))


def _scores(split: str, stats: Stats) -> Figure:
    scores = stats["scores"]
    low, high = scores["levels"]
    bins = _bins(low, high)
    curves = [
        Curve(
            label, [name for name, _ in bins], [sum(scores[key].get(str(v), 0) for v in values) for _, values in bins]
        )
        for label, key in (("preferred answers", "preferred_counts"), ("other answers", "other_counts"))
    ]
    about = f"Mean {scores['mean']:.2f}, standard deviation {scores['std']:.2f}; preferred answers "
    about += f"{scores['preferred_mean']:.2f}, others {scores['other_mean']:.2f}."
    title = f"Scores of {SPLITS[split]} answers"
    return Figure(f"scores_{split}", title, "bars", curves, "score", "answers", about=about)


def _bins(low: int, high: int) -> list[tuple[str, range]]:
    """The whole numbers of the scale one by one, or in MOST_BARS - 1 runs of equal length, the last with the rest."""
    levels = range(low, high + 1)
    if len(levels) <= MOST_BARS:
        return [(str(level), range(level, level + 1)) for level in levels]
    width = len(levels) // (MOST_BARS - 1)
    starts = [low + width * i for i in range(MOST_BARS - 1)]
    ends = [*starts[1:], high + 1]
    return [(f"{a} to {b - 1}", range(a, b)) for a, b in zip(starts, ends, strict=True)]


def _pairs(
    split: str, questions: Sequence[Question], scored: Sequence[Scored], samples: int, seed: int
) -> Iterator[Section]:
    """Pairs in full, by how the teacher orders them."""
    orders = [order_of(q, s) for q, s in zip(questions, scored, strict=True)]
    titles = {"right": "Ordered as the annotators do", "wrong": "Ordered the other way", "tie": "Equal scores"}
    for order, title in titles.items():
        places = [i for i, found in enumerate(orders) if found == order]
        chosen = sorted(random.Random(f"{seed}/{split}/{order}").sample(places, min(samples, len(places))))
        if chosen:
            passages = tuple(_passage(questions[i], scored[i]) for i in chosen)
            yield Section(f"{title} ({SPLITS[split]})", passages=passages)


def _passage(question: Question, said: Scored) -> Passage:
    texts = [("Conversation", question.conversation)]
    for side in (question.preferred_side, 1 - question.preferred_side):
        label = "Preferred answer" if side == question.preferred_side else "Other answer"
        texts.append((f"{label}: {said.scores[side]:g}", question.answers[side]))
        if said.reasons[side]:
            texts.append(("Reason", said.reasons[side]))
    return Passage(question.pair_id, tuple(texts))
