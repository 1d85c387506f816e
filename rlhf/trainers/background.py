"""One piece of work at a time in a second thread, and what is known of it in the first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Runs a function while the caller goes on. What it returns, or raises, comes out of `result`."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._value: T | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether something was started whose result nobody has taken."""
        return self._thread is not None

    def start(self, work: Callable[[], T]) -> None:
        """Run `work` in a thread of its own, which does not keep the process alive."""
        assert not self.busy, "the result of the work before was not taken"
        self._thread = threading.Thread(target=self._run, args=(work,), name="rollout-ahead", daemon=True)
        self._thread.start()

    def result(self) -> T:
        """What the work returned, once it has ended. Raises what it raised."""
        self.wait()
        value, error = self._value, self._error
        self._value, self._error = None, None
        if error is not None:
            raise error
        return value

    def wait(self) -> None:
        """Until the work has ended; raises nothing of it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def drop(self, interrupted: threading.Event | None) -> None:
        """End the work, whose result nobody wants: `interrupted` asks it to stop early, where it listens to one."""
        if not self.busy:
            return
        with contextlib.ExitStack() as stack:
            if interrupted is not None:
                interrupted.set()
                stack.callback(interrupted.clear)
            self.wait()
        self._value, self._error = None, None

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._value = work()
        except BaseException as error:  # it is raised where the result is taken
            self._error = error
