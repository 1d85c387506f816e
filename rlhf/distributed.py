"""Processes: the only file that knows how many there are. This version runs one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from rlhf.errors import ConfigError

T = TypeVar("T")


def rank() -> int:
    """Number of this process, from 0, as its launcher set it (RANK)."""
    return _number("RANK", default=0)


def world_size() -> int:
    """Processes of the run, as the launcher set it (WORLD_SIZE); 1 without a launcher."""
    return _number("WORLD_SIZE", default=1)


def is_main() -> bool:
    """Whether this process writes files and talks to the person."""
    return rank() == 0


def refuse_several_processes() -> None:
    """Raise ConfigError if a launcher started several processes: each would train alone and overwrite the others."""
    if world_size() > 1:
        raise ConfigError(
            f"this version runs one process, and a launcher started {world_size()} (WORLD_SIZE={world_size()}); "
            "start it as `python launch.py ...`, without torchrun or accelerate launch"
        )


def barrier() -> None:
    """Wait until every process is here. Raises ConfigError with several processes."""
    refuse_several_processes()


def all_reduce_sum(value: T) -> T:
    """The sum of `value`, a number or a tensor, over processes. Raises ConfigError with several processes."""
    refuse_several_processes()
    return value


def gather_objects(values: Sequence[T]) -> list[T]:
    """The values of every process, in order of rank. Raises ConfigError with several processes."""
    refuse_several_processes()
    return list(values)


def _number(name: str, *, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdigit():
        raise ConfigError(f"the environment variable {name} must be a whole number; got {text!r}")
    return int(text)
