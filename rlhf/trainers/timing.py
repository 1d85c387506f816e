"""Where the seconds of a step go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StepTimer:
    """Seconds by phase: `with timer("rollout"): ...` adds to time/rollout_s; metrics() adds time/step_s and resets."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.started = time.perf_counter()

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(phase, time.perf_counter() - start)

    def add(self, phase: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def metrics(self) -> dict[str, float]:
        """time/<phase>_s of this step, and time/step_s since the last call."""
        now = time.perf_counter()
        found = {f"time/{phase}_s": s for phase, s in self.seconds.items()} | {"time/step_s": now - self.started}
        self.seconds, self.started = {}, now
        return found
