"""Pairs and samples in full, for the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlhf.evaluation.generative.entries import Entry
from rlhf.evaluation.generative.measures import margins, side_means
from rlhf.evaluation.generative.scores import SIDES, Scored, Side
from rlhf.evaluation.policy.names import written
from rlhf.exhibits import Passage
from rlhf.types import Rollout

TEXTS = 3
"""Sampled texts of a side that are shown."""


def worst_pairs(entry: Entry, number: int) -> list[Passage]:
    """The `number` wrong pairs of lowest margin under the first seed, the most wrong first."""
    seed = next(iter(entry.scored))
    d = margins(entry.runs[seed])
    wrong = [int(i) for i in np.argsort(np.nan_to_num(d, nan=np.inf), kind="stable") if d[i] < 0]
    return [_pair(entry.scored[seed], i, float(d[i])) for i in wrong[:number]]


def _pair(scored: Scored, place: int, margin: float) -> Passage:
    texts = []
    for name, side in zip(SIDES, scored.sides[place], strict=True):
        if not texts:
            texts.append(("asked", _asked(side)))
        said = "\n".join(f"{_written(value)}: {one_line(r.text)}" for value, r in _samples(side)[:TEXTS])
        mean = side_means(np.array([value for value, _ in _samples(side)]))
        texts += [(f"{name} answer, score {float(mean):.3g}", str(side.prompt.metadata["answer"])),
                  (f"scores of the {name} answer", said)]  # fmt: skip
    return Passage(
        f"{scored.label}: {scored.pairs[place]}", texts, f"margin {written(margin)} points, seed {scored.seed}"
    )


def sample_passages(entries: Sequence[Entry], number: int) -> list[Passage]:
    """Some texts of every row: samples with a score, and of every reason why there is none."""
    each = max(1, number // max(1, len(entries)))
    found = []
    for entry in entries:
        by_kind: dict[str, list[tuple[str, Rollout]]] = {}
        for scored in entry.scored.values():
            for side in (side for both in scored.sides for side in both):
                for parsed, rollout in zip(side.parsed, side.rollouts, strict=True):
                    kind = parsed.failure or "score"
                    value = "" if parsed.value is None else f" {parsed.value:g}"
                    by_kind.setdefault(kind, []).append((f"{kind.replace('_', ' ')}{value}", rollout))
        chosen = [samples[place] for place in range(each) for samples in by_kind.values() if place < len(samples)]
        question = next(iter(entry.scored.values())).sides[0][0]
        texts = [("asked", question.prompt.as_text()), *((name, rollout.text) for name, rollout in chosen[:each])]
        counts = ", ".join(f"{kind.replace('_', ' ')} {len(samples)}" for kind, samples in by_kind.items())
        found.append(Passage(entry.label, texts, counts))
    return found


def one_line(text: str, length: int = 300) -> str:
    """`text` without line breaks, cut where it is long."""
    plain = " ".join(text.split())
    return plain if len(plain) <= length else f"{plain[:length]} …"


def _asked(side: Side) -> str:
    return side.prompt.as_text()


def _samples(side: Side) -> list[tuple[float, Rollout]]:
    return [(np.nan if p.value is None else p.value, r) for p, r in zip(side.parsed, side.rollouts, strict=True)]


def _written(value: float) -> str:
    return "no score" if np.isnan(value) else f"{value:g}"
