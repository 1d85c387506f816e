"""Which jobs a command line stands for: one, or the grid of a multirun."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode

from rlhf.config.compose import compose_raw
from rlhf.errors import ConfigError

FULL_GRID = 64
"""Grids of up to this many jobs are checked job by job; of larger ones, each value beside the others' first."""


def jobs_of(overrides: Sequence[str], *, multirun: bool, folder: Path | None) -> list[list[str]]:
    """The override lists to check. Without a sweep that is `overrides` itself. Raises ConfigError."""
    fixed, choices = _split(overrides)
    if any(o.startswith("grid=") for o in overrides):
        first = [values[0] for values in choices]
        cfg = compose_raw([*fixed, *first], folder=folder, with_hydra=True)
        multirun = multirun or cfg.hydra.mode == RunMode.MULTIRUN
        stored = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.get("params") or {}).items()]
        named = {o.partition("=")[0].lstrip("+~") for o in overrides}
        more_fixed, more_choices = _split([o for o in stored if o.partition("=")[0] not in named])
        fixed, choices = [*fixed, *more_fixed], [*more_choices, *choices]
    if not choices:
        return [fixed]
    if not multirun:
        swept = ", ".join(values[0].partition("=")[0] for values in choices)
        raise ConfigError(
            f"{swept} has several values: add -m to run one job each, or quote the value if the comma is part of it"
        )
    if math.prod(map(len, choices)) <= FULL_GRID:
        return [[*fixed, *combination] for combination in itertools.product(*choices)]
    first = [values[0] for values in choices]
    return [[*fixed, *first[:i], value, *first[i + 1 :]] for i, values in enumerate(choices) for value in values]


def _split(overrides: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Overrides of one value, and for each swept one its values.

    Continuous intervals (for Optuna) are left to the sweeper."""
    try:
        parsed: list[Override] = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(f"{str(error).strip().split(chr(10))[0]}: write key=value") from error
    fixed, choices = [], []
    for text, override in zip(overrides, parsed, strict=True):
        if not override.is_sweep_override():
            fixed.append(text)
        elif override.is_choice_sweep() or override.is_range_sweep():
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
    return fixed, choices
