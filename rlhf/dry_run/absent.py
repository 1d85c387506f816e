"""A dry run goes on where a tokenizer or a dataset is not on this machine, and says so."""

from __future__ import annotations

from collections.abc import Iterator

from rlhf.dry_run.blueprints import NotOnThisMachine
from rlhf.errors import DataError


def unless_absent(dataset: str, lines: Iterator[str]) -> Iterator[str]:
    """`lines`, up to a line about what is not here where making them needs it; `dataset` is the path of the data."""
    try:
        yield from lines
    except NotOnThisMachine as absent:
        yield f"not known here: {absent}"
    except DataError as error:
        if not isinstance(error.__cause__, ConnectionError):
            raise
        yield f"not known here: {dataset} is not on this machine; the run would ask the hub for it"
