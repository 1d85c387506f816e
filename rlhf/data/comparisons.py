"""Preference pairs whose order is known by construction: `dataset.path=comparisons`.

    longer      the answer with more words is preferred; it has more characters too, and whether its words are friendly
                is left to chance
    positive    the answer with more positive words, among as many words of feeling, is preferred; both answers have
                the same number of words and of characters

Both answers are drawn in the same way and differ in what is asked for alone, so nothing else tells which is preferred.
An answer is a list of clauses, each with one word of feeling: "The kind baker waited, the rude clerk."
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from rlhf.config.procedural import ComparisonOptions
from rlhf.data.comparison_words import NAMES, NEGATIVE, NOUNS, PLACES, POSITIVE, QUESTIONS, THINGS, TIMES, VERBS

SHORTEST_CLAUSE, LONGEST_CLAUSE = 3, 5
"""Words of a clause: the, a word of feeling, a noun, and maybe a verb, and a place or time."""

Letters = list[list[int]]
"""How many letters each word of each clause has, "the" left out."""


def comparison(options: ComparisonOptions, rng: random.Random) -> dict[str, Any]:
    """One pair: prompt, chosen, rejected, and difference, in words (longer) or positive words (positive)."""
    name, thing, time = rng.choice(NAMES), rng.choice(THINGS), rng.choice(TIMES)
    prompt = rng.choice(QUESTIONS).format(name=name, thing=thing, time=time)
    answers = _longer if options.task == "longer" else _positive
    chosen, rejected, difference = answers(options.words, rng)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "difference": difference}


def _longer(words: tuple[int, int], rng: random.Random) -> tuple[str, str, int]:
    """Two answers of different numbers of words, the one with more of them first; it has more characters too."""
    fewest, most = sorted(rng.sample(range(words[0], words[1] + 1), 2))
    while True:
        longer, shorter = (_any_feeling(_letters(_clauses(number, rng), rng), rng) for number in (most, fewest))
        if len(longer) > len(shorter):
            return longer, shorter, most - fewest


def _positive(words: tuple[int, int], rng: random.Random) -> tuple[str, str, int]:
    """Two answers of the same words to the letter's number, the one with more positive words first."""
    letters = _letters(_clauses(rng.randint(*words), rng), rng)
    fewer, more = sorted(rng.sample(range(len(letters) + 1), 2))
    chosen, rejected = (_answer(letters, rng.sample(range(len(letters)), number), rng) for number in (more, fewer))
    return chosen, rejected, more - fewer


def _clauses(words: int, rng: random.Random) -> list[int]:
    """Numbers of words of clauses that have `words` together."""
    found = []
    while words:
        lengths = range(SHORTEST_CLAUSE, LONGEST_CLAUSE + 1)
        found.append(rng.choice([n for n in lengths if words - n == 0 or words - n >= SHORTEST_CLAUSE]))
        words -= found[-1]
    return found


def _letters(clauses: Sequence[int], rng: random.Random) -> Letters:
    """Lengths for the words of clauses of so many words."""
    return [[rng.choice(list(words)) for words in (POSITIVE, NOUNS, VERBS, PLACES)[: n - 1]] for n in clauses]


def _any_feeling(letters: Letters, rng: random.Random) -> str:
    """An answer whose words of feeling are positive or negative by the toss of a coin."""
    return _answer(letters, [clause for clause in range(len(letters)) if rng.random() < 0.5], rng)


def _answer(letters: Letters, positive: Sequence[int], rng: random.Random) -> str:
    """An answer of these lengths: a positive word in the clauses numbered in `positive`, a negative one in others."""
    clauses = []
    for number, lengths in enumerate(letters):
        feeling = POSITIVE if number in positive else NEGATIVE
        kinds = (feeling, NOUNS, VERBS, PLACES)[: len(lengths)]
        clauses.append(" ".join(["the", *(rng.choice(words[n]) for words, n in zip(kinds, lengths, strict=True))]))
    text = ", ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."
