"""Questions that are made on demand, from a seed, without end, each with its answer and the way to it.

Which questions are held out is a property of the question: its SHA-256 says so, for a share of dataset.eval_fraction.
So no seed, no limit and no other run ever trains on a question that evaluation asks, and both sides are endless.
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from rlhf.config.procedural import (
    ARITHMETIC,
    COMPARISONS,
    REASONING_GYM,
    ArithmeticOptions,
    arithmetic_options,
    comparison_options,
)
from rlhf.config.sections import DatasetConfig
from rlhf.data.comparisons import comparison
from rlhf.data.rows import Row
from rlhf.errors import DataError

log = logging.getLogger(__name__)

PATIENCE = 2000
"""Questions in a row that were made before, after which a task is taken to have no others."""
CHUNK = 1000
"""Questions that one object of reasoning-gym makes."""
SIGNS = {"+": "addition", "-": "subtraction", "*": "multiplication"}


@dataclass(frozen=True)
class Question:
    """One question. `key` is equal for questions that are the same but for order: it decides what is held out."""

    values: dict[str, Any]  # columns of the row: question, answer, and what else the task gives
    key: str


def generated_rows(config: DatasetConfig, split: Literal["train", "eval"]) -> Iterator[Row]:
    """The first dataset.limit (eval_limit) different questions of a split, made as they are asked for.

    Raises DataError where the task has no question of that split."""
    wanted = config.limit if split == "train" else config.eval_limit
    makers = {ARITHMETIC: arithmetic, COMPARISONS: comparisons, REASONING_GYM: reasoning_gym_task}
    make = makers[config.path](config)
    seen: set[str] = set()
    found = repeats = number = 0
    while found < wanted and repeats < PATIENCE:
        question = make(number)
        number += 1
        repeats = repeats + 1 if question.key in seen else 0
        if repeats:
            continue
        seen.add(question.key)
        if is_held_out(question.key, config.eval_fraction) == (split == "eval"):
            found += 1
            yield Row(question.values, f"{config.path}:question {number - 1}")
    if found == 0:
        raise DataError(
            f"{config.name}: none of its {len(seen)} different questions belongs to the split {split}; widen "
            f"dataset.task_options, or change dataset.eval_fraction={config.eval_fraction}"
        )
    if found < wanted:
        log.info("%s has no more than %d different questions of the split %s with these options; %d were asked for",
                 config.name, found, split, wanted)  # fmt: skip


def is_held_out(key: str, fraction: float) -> bool:
    """Whether a question belongs to evaluation: the same for every seed, limit and run."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8]) < fraction * 2**64


def arithmetic(config: DatasetConfig) -> Callable[[int], Question]:
    """Question number i of dataset.path=arithmetic: numbers, joined by operations, in the usual order of precedence.

    The number of terms, the digits of each term, and then its value are uniform; a number of one digit may be 0."""
    options = arithmetic_options(config.task_options)

    def make(number: int) -> Question:
        return _arithmetic_question(options, random.Random(f"{config.task_seed}/{number}"))

    return make


def comparisons(config: DatasetConfig) -> Callable[[int], Question]:
    """Pair number i of dataset.path=comparisons. A prompt comes once, and decides whether its pair is held out."""
    options = comparison_options(config.task_options)

    def make(number: int) -> Question:
        values = comparison(options, random.Random(f"{config.task_seed}/{number}"))
        return Question(values, values["prompt"])

    return make


def _arithmetic_question(options: ArithmeticOptions, rng: random.Random) -> Question:
    terms = [_number(rng.randint(*options.digits), rng) for _ in range(rng.randint(*options.terms))]
    signs = [rng.choice(options.operations) for _ in terms[1:]]
    expression = str(terms[0]) + "".join(f" {sign} {term}" for sign, term in zip(signs, terms[1:], strict=True))
    products = _products(terms, signs)
    answer = sum(sign * math.prod(factors) for sign, factors in products)
    kinds = sorted({SIGNS[sign] for sign in signs})
    values = {
        "question": f"What is {expression}?",
        "answer": str(answer),
        "solution": f"{expression} = {answer}",
        "subject": " and ".join(kinds),
        "level": f"{len(terms)} numbers of up to {max(len(str(t)) for t in terms)} digits",
    }
    return Question(values, str(sorted((sign, sorted(factors)) for sign, factors in products)))


def _number(digits: int, rng: random.Random) -> int:
    return rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def _products(terms: list[int], signs: list[str]) -> list[tuple[int, list[int]]]:
    """(1 or -1, factors) of each summand: 2 + 3 * 4 - 5 is [(1, [2]), (1, [3, 4]), (-1, [5])]."""
    found = [(1, [terms[0]])]
    for sign, term in zip(signs, terms[1:], strict=True):
        if sign == "*":
            found[-1][1].append(term)
        else:
            found.append((1 if sign == "+" else -1, [term]))
    return found


def reasoning_gym_task(config: DatasetConfig) -> Callable[[int], Question]:
    """Question number i of a task of reasoning-gym, with the whole entry that the task's own scorer reads.

    The library seeds question i of an object with seed + i: chunk after chunk continues where the last one ended."""
    import reasoning_gym

    options, start = dict(config.task_options or {}), zlib.crc32(str(config.task_seed).encode()) % 2**31
    chunks: dict[int, Any] = {}

    def make(number: int) -> Question:
        chunk, index = divmod(number, CHUNK)
        if chunk not in chunks:
            chunks.clear()
            seed = (start + chunk * CHUNK) % 2**32
            chunks[chunk] = reasoning_gym.create_dataset(config.task, seed=seed, size=CHUNK, **options)
        entry = chunks[chunk][index]
        values = {"question": entry["question"], "answer": entry["answer"], "task": config.task, "entry": entry}
        return Question(values, entry["question"])

    return make
