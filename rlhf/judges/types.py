"""What every judge speaks: comparisons in, one verdict each out. No torch, no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from rlhf.types import Rollout

Winner = Literal["first", "second", "tie"]
Report = Callable[[str], None]
"""Takes a line of progress for a person, for example `reporter.message` or `print`."""

MALFORMED = "malformed: "
"""Reasons that begin so: the judge answered, and no verdict could be read. Asking again would be paid again."""


def sound(text: str | None) -> str:
    """`text` as UTF-8 can hold it: half a surrogate pair becomes a question mark, nothing becomes the empty text."""
    return (text or "").encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class Comparison:
    """One question to a judge: which answer is better?

    `rollouts` are the answers as they were sampled, where they are at hand: a reward model then sees the conversation
    and a missing end of sequence as they were. It enters no comparison and no cache key."""

    prompt: str  # the conversation as text: Prompt.as_text()
    first: str  # the answers in the order shown
    second: str
    rollouts: tuple[Rollout, Rollout] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Verdict:
    """What a judge said of one comparison."""

    winner: Winner | None  # None: no verdict could be had
    reason: str = ""  # the judge's words; where winner is None, why (few different ones, so that they can be counted)
    cost_usd: float = 0.0  # what it cost when it was asked, 0 where that is not known or free
    input_tokens: int = 0
    output_tokens: int = 0
    cached: bool = False  # True where nothing was asked, and so nothing paid, in this call

    @property
    def settled(self) -> bool:
        """The judge has answered, readably or not; False where asking again may bring a verdict (a cap, a deadline)."""
        return self.winner is not None or self.reason.startswith(MALFORMED)


@dataclass(frozen=True)
class Expense:
    """What some requests should take."""

    calls: int
    input_tokens: int  # expected, at four bytes a token
    output_tokens: int  # expected
    cost_usd: float | None  # expected; None where the price is unknown
    max_cost_usd: float | None  # if every prompt byte were a token and every answer ran to its limit; without retries


@dataclass(frozen=True)
class CostEstimate(Expense):
    """What a call of `compare` would take: a request for each different comparison, none for those in the cache. Zero
    for judges on this machine."""

    comparisons: int  # asked about, repeated ones counted


class Judge(Protocol):
    """Anything that compares answers."""

    name: str  # "gpt-4.1-mini", "reward:outputs/reward/...", "gold"

    def compare(self, comparisons: Sequence[Comparison], *, report: Report | None = None) -> list[Verdict]:
        """One verdict a comparison, in the same order. Raises JudgeError where the judge cannot be asked at all."""
        ...

    def estimate(self, comparisons: Sequence[Comparison]) -> CostEstimate:
        """What `compare` would cost. Asks nothing."""
        ...
