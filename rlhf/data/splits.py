"""Holding out a part of the examples for evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from rlhf.errors import DataError
from rlhf.types import Demonstration, PreferencePair, Prompt

Example = TypeVar("Example", Prompt, PreferencePair, Demonstration)


SPLIT_SEED = 0
"""Of every hold-out: the same in all runs, so that stages and seeds are compared on the same held-out examples."""


def prompt_of(example: Prompt | PreferencePair | Demonstration) -> Prompt:
    """The prompt of an example of any kind."""
    return example if isinstance(example, Prompt) else example.prompt


def prompt_key(prompt: Prompt) -> tuple:
    """What makes two prompts the same: their words and roles, whatever their ids."""
    return tuple((m.role, m.content) for m in prompt.messages) or prompt.text


def hold_out(
    examples: Sequence[Example], lengths: Sequence[int], fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Split into (train, eval), stratified by length, each side in the order of `examples`.

    Examples with the same prompt stay together. The prompts are sorted by length (mean over their examples) and cut
    into as many neighbouring strata as the smaller side has prompts; each stratum gives one prompt to that side, by a
    lot that follows from `seed` and the prompt's words. So both sides have the same distribution of lengths, up to one
    stratum, and a few examples more or less change few lots.

    lengths    one number an example, in any unit (characters, tokens)
    fraction   share of the prompts that goes to eval, in (0, 1)

    Raises DataError where there are fewer than two different prompts.
    """
    members: dict[tuple, list[int]] = {}
    for index, example in enumerate(examples):
        members.setdefault(prompt_key(prompt_of(example)), []).append(index)
    if len(members) < 2:
        raise DataError(f"cannot hold out {fraction:.0%} for evaluation: there are {len(members)} different prompts")
    groups = list(members.values())
    groups.sort(key=lambda group: (sum(lengths[i] for i in group) / len(group), group[0]))
    num_eval = min(len(groups) - 1, max(1, round(fraction * len(groups))))
    num_drawn = min(num_eval, len(groups) - num_eval)
    drawn: set[int] = set()
    for stratum in np.array_split(np.arange(len(groups)), num_drawn):
        drawn.update(min((groups[i] for i in stratum), key=lambda group: _lot(prompt_of(examples[group[0]]), seed)))
    inside = [example for index, example in enumerate(examples) if index in drawn]
    outside = [example for index, example in enumerate(examples) if index not in drawn]
    return (outside, inside) if num_drawn == num_eval else (inside, outside)


def _lot(prompt: Prompt, seed: int) -> bytes:
    """A number that looks random but follows from the prompt's words and `seed`: other examples do not change it."""
    return hashlib.sha256(repr((seed, prompt_key(prompt))).encode(errors="surrogatepass")).digest()
