"""Cut a packed batch into pieces that fit the memory. The pieces' sums are the batch's sums, so no gradient changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rlhf.types import PackedBatch, TokenGroup


@dataclass(frozen=True)
class _Unit:
    """A group, or a part of one, that stays together."""

    group: TokenGroup
    answers: tuple[int, ...]  # numbers of its continuations in the whole batch

    @property
    def row_length(self) -> int:
        """Tokens of its longest row: prompt and continuation."""
        return len(self.group.prompt_ids) + max((len(c.ids) for c in self.group.continuations), default=0)

    @property
    def tokens(self) -> int:
        """Tokens that are computed: the prompt once, and every continuation."""
        return len(self.group.prompt_ids) + sum(len(c.ids) for c in self.group.continuations)


def cut(
    batch: PackedBatch, tokens_per_microbatch: int, *, keep_groups: bool = False
) -> list[tuple[PackedBatch, list[int]]]:
    """Micro-batches of at most `tokens_per_microbatch` packed tokens (prompts once a group), longest rows first.

    Each comes with the answer numbers it holds, in its own order: `full[numbers] = part` puts results back. A group
    stays whole where it fits; a larger one is split by continuations, unless `keep_groups` (losses over pairs). One
    answer, or one kept group, may exceed the budget. Groups without continuations are dropped. A model that needs
    padded rows computes more tokens than are counted here; longest first keeps its padding small.
    """
    units = sorted(_units(batch, tokens_per_microbatch, keep_groups), key=lambda unit: -unit.row_length)
    pieces: list[list[_Unit]] = []
    tokens = 0
    for unit in units:
        if not pieces or tokens + unit.tokens > tokens_per_microbatch:
            pieces.append([])
            tokens = 0
        pieces[-1].append(unit)
        tokens += unit.tokens
    return [
        (PackedBatch(tuple(unit.group for unit in piece)), [number for unit in piece for number in unit.answers])
        for piece in pieces
    ]


def _units(batch: PackedBatch, budget: int, keep_groups: bool) -> Iterator[_Unit]:
    start = 0
    for group in batch.groups:
        unit = _Unit(group, tuple(range(start, start + len(group.continuations))))
        start += len(group.continuations)
        if not unit.answers:
            continue
        if keep_groups or unit.tokens <= budget:
            yield unit
        else:
            yield from _split(unit, budget)


def _split(unit: _Unit, budget: int) -> Iterator[_Unit]:
    """Parts of one group, longest continuations first, each within the budget or a single answer."""
    continuations, prompt_ids = unit.group.continuations, unit.group.prompt_ids
    parts: list[list[int]] = []
    tokens = 0
    for number in sorted(range(len(continuations)), key=lambda i: -len(continuations[i].ids)):
        length = len(continuations[number].ids)
        if not parts or tokens + length > budget:
            parts.append([])
            tokens = len(prompt_ids)
        parts[-1].append(number)
        tokens += length
    for part in map(sorted, parts):
        group = TokenGroup(prompt_ids, tuple(continuations[i] for i in part))
        yield _Unit(group, tuple(unit.answers[i] for i in part))
