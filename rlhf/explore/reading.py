"""A split of a dataset twice: the examples as their source has them, and what the trainers make of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from rlhf.config.sections import DatasetConfig, PairRulesConfig
from rlhf.data.columns import detect_format
from rlhf.data.formats import PAIRED
from rlhf.data.loading import load_demonstrations, load_pairs, load_prompts, parse_split
from rlhf.data.math_rows import math_row
from rlhf.data.preparing import Example
from rlhf.data.rendering import Renderer
from rlhf.data.rules import DataReport
from rlhf.data.sources import BUNDLED, Kind, Split, holds_out, iter_rows
from rlhf.data.splits import SPLIT_SEED, prompt_key, prompt_of
from rlhf.errors import DataError
from rlhf.types import PreferencePair, Prompt

LOADERS = {"pairs": load_pairs, "demonstrations": load_demonstrations, "prompts": load_prompts}
SIDES = {"pairs": ("chosen", "rejected"), "demonstrations": ("answer",), "prompts": ()}
"""kind -> the texts of an example besides its prompt."""
UNLIMITED_TOKENS = 2**31
RULES = tuple(field.name for field in fields(PairRulesConfig))


@dataclass(frozen=True)
class Part:
    """One split. N examples are used; lengths are before any cut, so that limits can be judged.

    looked_at   what the rows say, before rules and limits of length, as far as the trainers read the source
    examples    [N] what the rules keep
    report      the loader's counts, as the trainers print them; a rule `error` counts here as `drop`
    refused     reason -> number of examples for which its rule `error` stops every trainer
    tokens      side -> [N] int, with what the chat template writes (prompt) and the token that ends an answer
    cut         side -> [N] bool, True where the trainers see less than the whole
    clusters    [N] int, the same number for examples of the same prompt: what is drawn together in intervals
    """

    name: Split
    kind: Kind
    looked_at: tuple[Example, ...]
    examples: tuple[Example, ...]
    report: DataReport
    refused: Counter[str]
    tokens: dict[str, np.ndarray]
    cut: dict[str, np.ndarray]
    clusters: np.ndarray

    def texts(self, side: str) -> list[str]:
        """[N] the texts of one side: prompt (its turns without their roles), chosen, rejected or answer."""
        if side == "prompt":
            return [prompt_words(prompt_of(example)) for example in self.examples]
        return [getattr(example, side) for example in self.examples]

    @property
    def sides(self) -> tuple[str, ...]:
        return SIDES[self.kind]


def prompt_words(prompt: Prompt) -> str:
    """What the turns of a prompt say, without their roles."""
    return prompt.text or "\n".join(message.content for message in prompt.messages)


def answers_of(example: Example) -> tuple[str, ...]:
    """The answers of an example of any kind: (chosen, rejected), (answer,) or ()."""
    if isinstance(example, PreferencePair):
        return (example.chosen, example.rejected)
    return () if isinstance(example, Prompt) else (example.answer,)


def kind_of(config: DatasetConfig, asked: Literal["auto"] | Kind) -> Kind:
    """What explore.kind=auto comes to, from the first row. Raises DataError where there is none, or none like it."""
    if asked != "auto":
        return asked
    if config.path == BUNDLED:
        return "pairs"
    row = next(iter(iter_rows(config, "train", "prompts")), None)
    if row is None:
        raise DataError(f"{config.path} ({config.train_split}) has no rows")
    try:
        found = config.format if config.format != "auto" else detect_format(row.values, config.columns)
    except DataError as error:
        raise DataError(f"{row.origin}: {error}") from None
    if found == "messages":
        turns = row.values.get(config.columns.messages) or [{}]
        answered = isinstance(turns[-1], dict) and turns[-1].get("role") == "assistant"
        return "demonstrations" if answered else "prompts"
    if found == "math":
        problem = math_row(row, question=config.columns.prompt, answer=config.columns.answer)
        return "prompts" if problem.solution is None or problem.answer is None else "demonstrations"
    if found in PAIRED:
        return "pairs"
    return "demonstrations" if found == "question_answer" else "prompts"


def splits_of(config: DatasetConfig) -> tuple[Split, ...]:
    """The splits there are: no eval split where nothing is named for it and nothing is held out."""
    return ("train",) if holds_out(config) and config.eval_fraction == 0 else ("train", "eval")


def read_part(config: DatasetConfig, split: Split, kind: Kind, tokenizer: Any) -> Part:
    """One split of the dataset. Raises DataError as the trainers do, but for rules that say error."""
    renderer = _Recording(tokenizer, replace(config, rules=_forgiving(config.rules)))
    data = LOADERS[kind](renderer.config, split, renderer, seed=SPLIT_SEED)
    report = data.report
    tokens, cut = _lengths(kind, data.examples, report, renderer)
    return Part(
        name=split,
        kind=kind,
        looked_at=tuple(_looked_at(config, split, kind, report)),
        examples=data.examples,
        report=report,
        refused=Counter(
            {r: n for r, n in report.counted.items() if r in RULES and getattr(config.rules, r) == "error"}
        ),
        tokens=tokens,
        cut=cut,
        clusters=numbered([prompt_key(prompt_of(example)) for example in data.examples]),
    )


def numbered(labels: Sequence[Any]) -> np.ndarray:
    """[N] int: equal numbers for equal labels, counted from 0 in the order of their first appearance."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


class _Recording(Renderer):
    """Notes which prompts had to be cut, which a report only counts."""

    def __init__(self, tokenizer: Any, config: DatasetConfig) -> None:
        super().__init__(tokenizer, config)
        self.cut_prompts: set[str] = set()

    def prompt_was_truncated(self, prompt: Prompt) -> bool:
        truncated = super().prompt_was_truncated(prompt)
        if truncated:
            self.cut_prompts.add(prompt.id)
        return truncated


def _forgiving(rules: PairRulesConfig) -> PairRulesConfig:
    """The rules with `error` turned into `drop`: a look at the data must not end at the first bad row."""
    return replace(rules, **{name: "drop" for name in RULES if getattr(rules, name) == "error"})


def _looked_at(config: DatasetConfig, split: Split, kind: Kind, report: DataReport) -> list[Example]:
    """The examples that the loader behind `report` looked at, dropped ones included."""
    by_rule = sum(number for reason, number in report.dropped.items() if reason in RULES)
    parsed, _, _ = parse_split(config, split, kind, seed=SPLIT_SEED)
    number = report.kept + by_rule + report.duplicate_prompts
    return [found.example for found in itertools.islice(parsed, number)]


def _lengths(
    kind: Kind, examples: Sequence[Example], report: DataReport, renderer: _Recording
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(tokens, cut) of every side. Only what was cut is tokenised again, without limits."""
    limits = {"max_prompt_tokens": UNLIMITED_TOKENS, "max_answer_tokens": UNLIMITED_TOKENS}
    whole = Renderer(renderer.tokenizer, replace(renderer.config, **limits))
    prompts = [prompt_of(example) for example in examples]
    tokens = {"prompt": np.array(report.prompt_tokens, dtype=np.int64)}
    cut = {"prompt": np.array([prompt.id in renderer.cut_prompts for prompt in prompts], dtype=bool)}
    for i in np.flatnonzero(cut["prompt"]):
        tokens["prompt"][i] = len(whole.prompt_ids(prompts[i]))
    sides = SIDES[kind]
    answers = np.array(report.answer_tokens, dtype=np.int64).reshape(len(examples), len(sides))
    for number, side in enumerate(sides):
        tokens[side] = answers[:, number].copy()
        cut[side] = np.zeros(len(examples), dtype=bool)
        for i in np.flatnonzero(tokens[side] == renderer.config.max_answer_tokens):  # whole, or cut at the limit
            tokens[side][i] = len(whole.answer_ids(prompts[i], getattr(examples[i], side)))
            cut[side][i] = tokens[side][i] > renderer.config.max_answer_tokens
    return tokens, cut
