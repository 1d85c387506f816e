"""Range checks for configuration values. Each error names the whole key, what is allowed, and the value got."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rlhf.errors import ConfigError


def one_of(key: str, value: Any, options: Sequence[Any]) -> None:
    """`value` is one of `options`."""
    if value not in options:
        raise ConfigError(f"{key} must be one of {', '.join(map(str, options))}; got {value!r}")


def at_least(key: str, value: float, low: float, why: str = "") -> None:
    """`value` is a finite number, not below `low`."""
    if not math.isfinite(value) or value < low:
        raise ConfigError(f"{key} must be at least {low}{f' ({why})' if why else ''}; got {value}")


def above(key: str, value: float, low: float) -> None:
    """`value` is a finite number above `low`."""
    if not math.isfinite(value) or value <= low:
        raise ConfigError(f"{key} must be above {low}; got {value}")


def within(key: str, value: float, low: float, high: float) -> None:
    """low <= value <= high."""
    if not low <= value <= high:
        raise ConfigError(f"{key} must lie between {low} and {high}; got {value}")
