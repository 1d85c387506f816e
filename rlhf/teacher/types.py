"""What every teacher speaks: pairs in, two scores each out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlhf.config.score_prompts import ScorePrompt
from rlhf.errors import ConfigError
from rlhf.judges.types import Report
from rlhf.teacher.questions import Question


@dataclass(frozen=True)
class Scored:
    """What a teacher said of one pair. Scores and reasons are those of side 0 and side 1."""

    scores: tuple[float, float] | None  # None: no scores could be had
    reasons: tuple[str, str] = ("", "")
    failure: str | None = None  # why there are none (few different ones, so that they can be counted)
    cost_usd: float = 0.0  # of all requests for this pair whenever they were paid, its share of each
    input_tokens: int = 0
    output_tokens: int = 0
    cached: bool = False  # True where nothing was asked in this call


@dataclass(frozen=True)
class Plan:
    """What a call of `score` would do."""

    pairs: int
    requests: int  # 0 for teachers on this machine
    words: str  # for a person: what the requests should take, with the limits that bound it


class Teacher(Protocol):
    """Anything that scores the answers of pairs."""

    name: str

    @property
    def spent_usd(self) -> float:
        """What this object has paid so far."""
        ...

    def plan(self, questions: Sequence[Question]) -> Plan:
        """What `score` would do. Asks nothing."""
        ...

    def score(self, questions: Sequence[Question], report: Report) -> list[Scored]:
        """One result a pair, in order."""
        ...


def levels_of(score_prompt: ScorePrompt) -> range:
    """The whole numbers of the scale, which are what teachers give. Raises ConfigError where there are not two."""
    levels = range(math.ceil(score_prompt.lowest), math.floor(score_prompt.highest) + 1)
    if len(levels) < 2:
        raise ConfigError(
            f"score prompt {score_prompt.name}: the scale from {score_prompt.lowest:g} to {score_prompt.highest:g} "
            "holds no two whole numbers, which is what a teacher gives"
        )
    return levels
