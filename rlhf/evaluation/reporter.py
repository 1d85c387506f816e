"""What an evaluation tells while it runs. The tracker of a run is one; tests use one that remembers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Reporter(Protocol):
    """Where answers and progress go."""

    def message(self, text: str) -> None:
        """A line, or several, for the person at the console."""
        ...

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """A table of results for trackers."""
        ...

    def samples(self, step: int | None, rows: Sequence[dict[str, Any]]) -> None:
        """Lines of samples.jsonl; `step` is None for an evaluation."""
        ...
