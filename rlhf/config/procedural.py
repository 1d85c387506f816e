"""Tasks that are made rather than read: `dataset.path=arithmetic` and `comparisons`, of this package, and
`dataset.path=reasoning_gym`, any task of that library. Here are their options and the checks of them;
rlhf.data.procedural makes the questions."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any

from rlhf.config.checks import one_of
from rlhf.errors import ConfigError

ARITHMETIC, REASONING_GYM, COMPARISONS = "arithmetic", "reasoning_gym", "comparisons"
GENERATED = (ARITHMETIC, REASONING_GYM, COMPARISONS)
"""Values of dataset.path that name a generator."""
OPERATIONS = ("+", "-", "*")
MOST_DIGITS, MOST_TERMS = 18, 16
ORDERS = ("longer", "positive")
"""What makes an answer of dataset.path=comparisons the preferred one."""
FEWEST_WORDS, MOST_WORDS = 3, 24
SET_ELSEWHERE = {"seed": "dataset.task_seed", "size": "dataset.limit and dataset.eval_limit"}


@dataclass(frozen=True)
class ArithmeticOptions:
    """dataset.task_options of dataset.path=arithmetic, checked."""

    operations: tuple[str, ...]  # of OPERATIONS, each as likely as it occurs here
    digits: tuple[int, int]  # fewest and most of a number
    terms: tuple[int, int]  # fewest and most numbers in a question


@dataclass(frozen=True)
class ComparisonOptions:
    """dataset.task_options of dataset.path=comparisons, checked."""

    task: str  # of ORDERS
    words: tuple[int, int]  # fewest and most of an answer


def check_generated(
    path: str, task: str | None, options: Mapping[str, Any] | None, limits: Mapping[str, int | None], own_split: bool
) -> None:
    """What a generator needs. Raises ConfigError naming the key.

    limits      limit and eval_limit: how many questions of an endless stream are used
    own_split   whether held-out questions come from the generator too, by a split of their own
    """
    for key, value in limits.items():
        if value is None:
            raise ConfigError(f"dataset.path={path} never ends: set dataset.{key}, how many examples of it to use")
    if not own_split:
        raise ConfigError(f"dataset.path={path} holds questions out by itself: leave dataset.eval_split at test")
    if path == REASONING_GYM:
        reasoning_gym_config(task, options)
        return
    if task is not None:
        raise ConfigError(f"dataset.task belongs to dataset.path={REASONING_GYM}; leave it null for {path}")
    check = arithmetic_options if path == ARITHMETIC else comparison_options
    check(options)


def arithmetic_options(options: Mapping[str, Any] | None) -> ArithmeticOptions:
    """The options of dataset.path=arithmetic. Raises ConfigError naming the key."""
    options = _exactly(ArithmeticOptions, options, ARITHMETIC)
    operations = options["operations"]
    if not _is_list(operations) or not operations:
        raise ConfigError(
            f"dataset.task_options.operations must be a list of {', '.join(OPERATIONS)}; got {operations!r}"
        )
    for operation in operations:
        one_of("dataset.task_options.operations", operation, OPERATIONS)
    digits = _range("digits", options["digits"], 1, MOST_DIGITS)
    return ArithmeticOptions(tuple(operations), digits, _range("terms", options["terms"], 2, MOST_TERMS))


def comparison_options(options: Mapping[str, Any] | None) -> ComparisonOptions:
    """The options of dataset.path=comparisons. Raises ConfigError naming the key."""
    options = _exactly(ComparisonOptions, options, COMPARISONS)
    one_of("dataset.task_options.task", options["task"], ORDERS)
    words = _range("words", options["words"], FEWEST_WORDS, MOST_WORDS)
    if options["task"] == "longer" and words[0] == words[1]:
        raise ConfigError(
            f"dataset.task_options.words={list(words)} makes all answers equally long, and task=longer prefers the "
            f"longer one: give two different numbers"
        )
    return ComparisonOptions(options["task"], words)


def reasoning_gym_config(task: str | None, options: Mapping[str, Any] | None) -> type:
    """The configuration class of a task of reasoning-gym, with `options` tried on it.

    Raises ConfigError without the package, for a task or an option that it does not have, and for a value it refuses.
    """
    if find_spec("reasoning_gym") is None:
        raise ConfigError(
            f"dataset.path={REASONING_GYM} needs the package reasoning-gym, which is not installed: "
            "pip install 'rlhf-lab[math]'"
        )
    if task is None:
        raise ConfigError(f"dataset.path={REASONING_GYM} needs the name of a task: dataset.task=chain_sum, for example")
    import reasoning_gym  # noqa: F401  (fills the table of tasks)
    from reasoning_gym.factory import DATASETS

    if task not in DATASETS:
        close = difflib.get_close_matches(str(task), DATASETS, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(close)}?" if close else "See `reasoning_gym.factory.DATASETS` for its tasks"
        raise ConfigError(f"dataset.task={task} is none of the {len(DATASETS)} tasks of reasoning-gym. {hint}")
    schema = DATASETS[task][1]
    known = [f.name for f in fields(schema) if f.name not in SET_ELSEWHERE]
    for key in options or {}:
        if key in SET_ELSEWHERE:
            raise ConfigError(f"dataset.task_options.{key} is not set here: use {SET_ELSEWHERE[key]}")
        if key not in known:
            raise ConfigError(_unknown(key, known, f"dataset.task={task}"))
    try:
        tried = schema(**(options or {}))
        if hasattr(tried, "validate"):
            tried.validate()
    except (AssertionError, ValueError, TypeError) as error:
        raise ConfigError(f"dataset.task_options: {task} refuses {dict(options or {})}: {error}") from error
    return schema


def _exactly(schema: type, options: Mapping[str, Any] | None, path: str) -> Mapping[str, Any]:
    """`options`, which are those of `schema`, no more and no fewer. Raises ConfigError."""
    known = [f.name for f in fields(schema)]
    options = options or {}
    for key in options:
        if key not in known:
            raise ConfigError(_unknown(key, known, f"dataset.path={path}"))
    for key in known:
        if key not in options:
            raise ConfigError(f"dataset.task_options.{key} is missing")
    return options


def _range(key: str, value: Any, low: int, high: int) -> tuple[int, int]:
    whole = _is_list(value) and len(value) == 2 and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if not whole or not low <= value[0] <= value[1] <= high:
        raise ConfigError(
            f"dataset.task_options.{key} must be [fewest, most], whole numbers between {low} and {high}; got {value!r}"
        )
    return value[0], value[1]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _unknown(key: str, known: list[str], of: str) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"Did you mean {close[0]}?" if close else f"Options: {', '.join(known)}"
    return f"dataset.task_options.{key} is not an option of {of}. {hint}"
