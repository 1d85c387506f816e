"""The scores that one scorer gave preference pairs: some samples of each side, NaN where a sample holds no score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlhf.config.score_prompts import ScorePrompt
from rlhf.errors import DataError
from rlhf.rewards.score_parsers import ParsedScore
from rlhf.rewards.score_sampling import parsed_rollout
from rlhf.types import Prompt, Rollout

SIDES = ("preferred", "other")


@dataclass(frozen=True)
class SideScores:
    """P pairs, n samples a side, all drawn alike. Which sample of one side stands beside which of the other means
    nothing: sides are sampled apart."""

    preferred: np.ndarray  # [P, n] of the answer that the annotators prefer; points of the scale
    other: np.ndarray  # [P, n]

    def __post_init__(self) -> None:
        if self.preferred.shape != self.other.shape or self.preferred.ndim != 2 or not self.preferred.size:
            raise DataError(f"two sides need scores [P, n]; got {self.preferred.shape} and {self.other.shape}")

    @property
    def samples(self) -> int:
        """n."""
        return self.preferred.shape[1]

    @property
    def both(self) -> np.ndarray:
        """[P, 2, n], the preferred side first."""
        return np.stack([self.preferred, self.other], axis=1)

    def block(self, start: int, stop: int) -> SideScores:
        """The samples start .. stop - 1 of both sides."""
        return SideScores(self.preferred[:, start:stop], self.other[:, start:stop])


@dataclass(frozen=True)
class Side:
    """One answer of one pair: how it was asked about, and what was said n times."""

    prompt: Prompt
    rollouts: tuple[Rollout, ...]  # [n]; empty for a scorer that writes nothing
    parsed: tuple[ParsedScore, ...]  # [n]


@dataclass(frozen=True)
class Scored:
    """One scorer's scores of P pairs under one seed."""

    label: str
    path: str
    score_prompt: ScorePrompt
    seed: int
    pairs: tuple[str, ...]  # [P] ids
    sides: tuple[tuple[Side, Side], ...]  # [P] preferred, other
    scores: SideScores

    def rows(self) -> list[dict[str, Any]]:
        """Lines of scores.jsonl: one a pair and side."""
        about = {"model": self.label, "path": self.path, "score_prompt": self.score_prompt.name, "seed": self.seed}
        return [
            {**about, "pair": pair, "side": name, "asked_as": side.prompt.metadata["side"],
             "scores": [p.value for p in side.parsed], "failures": [p.failure for p in side.parsed],
             "tags": [p.tags for p in side.parsed], "texts": [r.text for r in side.rollouts]}
            for pair, both in zip(self.pairs, self.sides, strict=True)
            for name, side in zip(SIDES, both, strict=True)
        ]  # fmt: skip

    def failures(self) -> dict[str, int]:
        """Samples without a score by reason."""
        counts = Counter(p.failure for both in self.sides for side in both for p in side.parsed if p.failure)
        return dict(counts.most_common())


def scored_pairs(
    rollouts: Sequence[Rollout],
    score_prompt: ScorePrompt,
    *,
    label: str,
    path: str,
    seed: int,
    stop: Sequence[str] = (),
) -> Scored:
    """What the answers to pointwise prompts (rlhf.data.pointwise) say, pair by pair in the order of the prompts.

    rollouts   n to a prompt, prompt by prompt, the two sides of a pair one after the other
    stop       the strings that ended them, rollout.stop
    Raises DataError for a pair of which a side is missing."""
    by_prompt: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        by_prompt.setdefault(rollout.prompt.id, []).append(rollout)
    by_pair: dict[str, dict[bool, Side]] = {}
    for answers in by_prompt.values():
        about = answers[0].prompt.metadata
        parsed = tuple(parsed_rollout(r, score_prompt, stop) for r in answers)
        side = Side(answers[0].prompt, tuple(answers), parsed)
        by_pair.setdefault(str(about["pair_id"]), {})[about["side"] == about["preferred_side"]] = side
    for pair, found in by_pair.items():
        if len(found) != 2:
            raise DataError(f"pair {pair} has one side among the answers; both are needed")
    sides = tuple((found[True], found[False]) for found in by_pair.values())
    scores = SideScores(*(np.array([_values(both[i]) for both in sides]) for i in (0, 1)))
    return Scored(label, path, score_prompt, seed, tuple(by_pair), sides, scores)


def _values(side: Side) -> list[float]:
    return [float("nan") if p.value is None else p.value for p in side.parsed]
