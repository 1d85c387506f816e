"""The three datasets that trainers use, from files, the hub, or memory: preference pairs, prompts, demonstrations.

renderer = Renderer(tokenizer, config.dataset)
pairs = load_pairs(config.dataset, "train", renderer, seed=0)
pairs.groups[7]        # the tokens of pairs.examples[7]: chosen first, rejected second
print("\\n".join(pairs.report.lines()))
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlhf.config.score_prompts import load_score_prompt
from rlhf.config.sections import DatasetConfig
from rlhf.data.formats import RowParser
from rlhf.data.pointwise import tokenise_sides
from rlhf.data.preparing import Example, Parsed, different_prompts, parse_rows, tokenise_all
from rlhf.data.rendering import Renderer
from rlhf.data.rows import Row
from rlhf.data.rules import DataReport
from rlhf.data.sources import BUNDLED, Kind, Split, holds_out, iter_rows
from rlhf.data.splits import SPLIT_SEED, hold_out, prompt_of
from rlhf.errors import DataError
from rlhf.types import Demonstration, PreferencePair, Prompt, TokenGroup

Tokenise = Callable[
    [Iterable[Parsed], Renderer, DataReport, int | None], tuple[list[Example], list[TokenGroup]]
]  # rlhf.data.preparing.tokenise_all is one


@dataclass(frozen=True)
class Pairs:
    """N preference pairs."""

    examples: tuple[PreferencePair, ...]  # [N]
    groups: tuple[TokenGroup, ...]  # [N] two continuations each: chosen first, rejected second
    report: DataReport
    fingerprint: str  # sha256: equal where a trainer and a reward would see the same data


@dataclass(frozen=True)
class Prompts:
    """N different prompts; with dataset.score_prompt the sides of N / 2 pairs, side 0 and 1 of each in a row."""

    examples: tuple[Prompt, ...]  # [N]
    report: DataReport
    fingerprint: str  # sha256, as of Pairs
    per_unit: int = 1  # so many consecutive examples stay together in every order and limit


@dataclass(frozen=True)
class Demonstrations:
    """N answers to imitate."""

    examples: tuple[Demonstration, ...]  # [N]
    groups: tuple[TokenGroup, ...]  # [N] one continuation each
    report: DataReport
    fingerprint: str  # sha256, as of Pairs


def load_pairs(config: DatasetConfig, split: Split, renderer: Renderer, *, seed: int) -> Pairs:
    """The preference pairs of a split, in the order of the source, the first dataset.limit (eval_limit) of them.

    `seed` decides which prompts are held out where evaluation has no split of its own. One file and one seed hold out
    the same prompts for every kind of example: no policy is evaluated on what SFT or a reward model has seen.
    Raises DataError for a source that cannot be read, a row that breaks its format, a rule that says error, or no
    example left, with the counts by reason.
    """
    return _pairs(*_load(config, split, "pairs", renderer, seed))


def load_prompts(config: DatasetConfig, split: Split, renderer: Renderer, *, seed: int) -> Prompts:
    """The different prompts of a split, from data of any format; otherwise as `load_pairs`.

    With dataset.score_prompt: both sides of its preference pairs (rlhf.data.pointwise). Limits and the report count
    pairs, and `seed` also decides on which side the preferred answer stands."""
    kind: Kind = "prompts" if config.score_prompt is None else "pairs"
    return _prompts(*_load(config, split, kind, renderer, seed, _tokenise(config, seed)), config.per_unit)


def load_demonstrations(config: DatasetConfig, split: Split, renderer: Renderer, *, seed: int) -> Demonstrations:
    """The answers to imitate of a split: answers, last assistant turns, or chosen sides; otherwise as `load_pairs`."""
    return _demonstrations(*_load(config, split, "demonstrations", renderer, seed))


def pairs_from(
    data: Iterable[Mapping[str, Any] | PreferencePair], renderer: Renderer, *, name: str = "memory"
) -> Pairs:
    """Pairs from memory: dicts with the columns of renderer.config, rows of a datasets.Dataset, or PreferencePair.

    Everything is used: dataset.limit and the splits do not apply. Raises as `load_pairs`, origins being
    "<name>:<index>".
    """
    return _pairs(*_from_memory(data, "pairs", renderer, name))


def prompts_from(
    data: Iterable[str | Mapping[str, Any] | Prompt], renderer: Renderer, *, name: str = "memory"
) -> Prompts:
    """Prompts from memory: strings (a user turn each), dicts, rows of a Dataset, or Prompt; as `pairs_from`.

    With dataset.score_prompt: both sides of pairs, which `data` then holds."""
    config = renderer.config
    kind: Kind = "prompts" if config.score_prompt is None else "pairs"
    return _prompts(*_from_memory(data, kind, renderer, name, _tokenise(config, SPLIT_SEED)), config.per_unit)


def demonstrations_from(
    data: Iterable[Mapping[str, Any] | Demonstration], renderer: Renderer, *, name: str = "memory"
) -> Demonstrations:
    """Demonstrations from memory: dicts, rows of a datasets.Dataset, or Demonstration; as `pairs_from`."""
    return _demonstrations(*_from_memory(data, "demonstrations", renderer, name))


def _load(
    config: DatasetConfig,
    split: Split,
    kind: Kind,
    renderer: Renderer,
    seed: int,
    tokenise: Tokenise = tokenise_all,
) -> tuple[list[Example], list[TokenGroup], DataReport]:
    examples, report, parser = parse_split(config, split, kind, seed=seed)
    limit = config.limit if split == "train" else config.eval_limit or (config.limit if config.streaming else None)
    return _finish(examples, renderer, report, parser, limit, tokenise)


def parse_split(
    config: DatasetConfig, split: Split, kind: Kind, *, seed: int
) -> tuple[Iterable[Parsed], DataReport, RowParser]:
    """The examples of a split before rules, limits and tokens; the report counts rows as the examples are asked for."""
    held_out = holds_out(config)
    own_source = split == "eval" and config.eval_path is not None
    report = DataReport(source=config.eval_path if own_source else config.path, kind=kind, split=split)
    rows = iter_rows(config, split, kind)
    if config.streaming:
        rows = itertools.islice(rows, _stream_length(config, split))
    label = f"{config.name}-eval" if split == "eval" and not held_out else config.name
    bundled = report.source == BUNDLED
    parser = RowParser(config, kind, id_column="id" if bundled and config.columns.id is None else None)
    examples = parse_rows(rows, parser, report, label)
    if held_out and (split == "eval" or config.eval_fraction > 0):
        examples = _one_side(list(examples), config, split, seed, report)
    return examples, report, parser


def _stream_length(config: DatasetConfig, split: Split) -> int:
    """Rows taken of a stream: twice the examples wanted, since some are dropped; equal for both sides of a hold-out."""
    wanted = config.limit if split == "train" else config.eval_limit or config.limit
    return 2 * (config.limit + (config.eval_limit or 0)) if holds_out(config) else 2 * wanted


def _one_side(
    examples: list[Parsed], config: DatasetConfig, split: Split, seed: int, report: DataReport
) -> list[Parsed]:
    if config.eval_fraction == 0:
        raise DataError(
            "nothing to evaluate on: set dataset.eval_split, dataset.eval_path, or dataset.eval_fraction above 0"
        )
    if not examples:
        return []
    typed = [parsed.example for parsed in examples]
    sides = hold_out(typed, [parsed.characters for parsed in examples], config.eval_fraction, seed)
    chosen = {id(example) for example in sides[split == "eval"]}
    report.held_apart = len(examples) - len(chosen)
    return [parsed for parsed in examples if id(parsed.example) in chosen]


def _from_memory(
    data: Iterable[Any], kind: Kind, renderer: Renderer, name: str, tokenise: Tokenise = tokenise_all
) -> tuple[list[Example], list[TokenGroup], DataReport]:
    config = renderer.config
    report = DataReport(source=name, kind=kind, split="train")
    parser = RowParser(config, kind)
    examples = parse_rows(_rows_in_memory(data, kind, config, name), parser, report, name)
    return _finish(examples, renderer, report, parser, None, tokenise)


def _rows_in_memory(data: Iterable[Any], kind: Kind, config: DatasetConfig, name: str) -> Iterator[Row | Parsed]:
    typed = {"pairs": PreferencePair, "prompts": Prompt, "demonstrations": Demonstration}[kind]
    for index, item in enumerate(data):
        origin = f"{name}:{index}"
        if isinstance(item, typed):
            yield Parsed(item, origin)
        elif isinstance(item, Mapping):
            yield Row(dict(item), origin)
        elif isinstance(item, str) and kind == "prompts":
            yield Row({config.columns.prompt or "prompt": item}, origin)
        else:
            raise DataError(f"{origin}: expected a dict or a {typed.__name__}; got {type(item).__name__}")


def _tokenise(config: DatasetConfig, seed: int) -> Tokenise:
    """How prompts are made of what was parsed: as they are, or both sides of a pair as requests for a score."""
    if config.score_prompt is None:
        return tokenise_all
    return partial(tokenise_sides, score_prompt=load_score_prompt(config.score_prompt), seed=seed)


def _finish(
    examples: Iterable[Parsed],
    renderer: Renderer,
    report: DataReport,
    parser: RowParser,
    limit: int | None,
    tokenise: Tokenise,
) -> tuple[list[Example], list[TokenGroup], DataReport]:
    if report.kind == "prompts":
        examples = different_prompts(examples, report)
    kept, groups = tokenise(examples, renderer, report, limit)
    report.format = parser.format or ""
    if not kept:
        reasons = ", ".join(f"{reason} {number}" for reason, number in report.dropped.most_common()) or "none"
        raise DataError(
            f"{report.source} ({report.split}): no {report.kind} left of {report.read} rows; dropped: {reasons}"
        )
    return kept, groups, report


def _fingerprint(examples: Sequence[Example], groups: Sequence[TokenGroup]) -> str:
    """sha256 of ids, tokens, and what a loss or a reward reads besides: margins, reference answers, metadata."""
    digest = hashlib.sha256()
    for example, group in zip(examples, groups, strict=True):
        prompt = prompt_of(example)
        tokens = [group.prompt_ids, [c.ids for c in group.continuations]]
        beside = [prompt.reference_answer, dict(prompt.metadata), getattr(example, "margin", None)]
        digest.update(json.dumps([prompt.id, *tokens, *beside], default=str).encode())
    return digest.hexdigest()


def _pairs(examples: list[PreferencePair], groups: list[TokenGroup], report: DataReport) -> Pairs:
    return Pairs(tuple(examples), tuple(groups), report, _fingerprint(examples, groups))


def _prompts(examples: list[Prompt], groups: list[TokenGroup], report: DataReport, per_unit: int) -> Prompts:
    return Prompts(tuple(examples), report, _fingerprint(examples, groups), per_unit)


def _demonstrations(examples: list[Demonstration], groups: list[TokenGroup], report: DataReport) -> Demonstrations:
    return Demonstrations(tuple(examples), tuple(groups), report, _fingerprint(examples, groups))
