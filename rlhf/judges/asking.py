"""Many requests at once to one server: workers, retries, a stop that loses nothing that was paid for.

Workers take requests from a queue. Whatever makes them stop (a fatal error, a limit, Ctrl-C, SIGTERM), no further
request is sent, and those under way are waited for and stored.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rlhf.errors import JudgeError, Preempted
from rlhf.judges.cache import Reply
from rlhf.judges.client import Failure
from rlhf.judges.pacing import backoff
from rlhf.judges.sending import Messages, Sender
from rlhf.judges.spending import Size
from rlhf.judges.stopping import Stopped, on_sigterm
from rlhf.judges.types import Report

NO_REPLY = "no reply: "
INTERRUPTED, TERMINATED = "interrupted", "SIGTERM"
LONGEST_PAUSE_S = 600.0  # a server that asks for more is not waited for
CLAIM_MARGIN_S = 60.0
POLL_S = 0.2  # between looks at a request that another process has under way
TELL_EVERY_S = 10.0


class Kept(Protocol):
    """Where replies are kept, and who is asking for which (ReplyCache says what each does)."""

    def get(self, key: str) -> Reply | None: ...

    def put(self, key: str, reply: Reply) -> None: ...

    def claim(self, key: str, seconds: float) -> bool: ...

    def release(self, key: str) -> None: ...


@dataclass(frozen=True)
class Request:
    """What is asked: the messages are made when it is its turn."""

    messages: Callable[[], Messages]
    size: Callable[[], Size]


class Asking:
    """One call: sends every request of `wanted` (by key).

    again    keys to ask although a reply is kept
    answers  the server is known to answer others of this call: then a request without a reply is no error

    After `run`, `replies` and `failed` (the reason) hold each key in one of them; replies are in the cache as soon as
    they arrive. `from_others` are those that another process paid for, `retries` counts repeated attempts by reason."""

    def __init__(
        self,
        sender: Sender,
        kept: Kept,
        wanted: Mapping[str, Request],
        report: Report,
        *,
        again: frozenset[str] = frozenset(),
        answers: bool = False,
    ) -> None:
        self.config, self.sender, self.kept = sender.client.config, sender, kept
        self.who = self.config.section
        self.wanted, self.report = wanted, report
        self.again, self.answers = again, answers
        self.replies: dict[str, Reply] = {}
        self.failed: dict[str, str] = {}
        self.from_others: set[str] = set()
        self.retries: Counter[str] = Counter()
        self.stop = sender.stop
        self._queue = deque(wanted)
        self._started = self._told = time.monotonic()
        self._misses_in_a_row = 0
        self._fatal: str | None = None
        self._rng = random.Random()

    async def run(self) -> None:
        """Ask. Raises JudgeError where the server cannot be asked, Preempted after SIGTERM; Ctrl-C passes through."""
        number = min(self.config.concurrency, len(self._queue))
        with on_sigterm(lambda: self.interrupt(TERMINATED)):
            workers = [asyncio.ensure_future(self._work()) for _ in range(number)]
            try:
                await asyncio.wait(workers)
            except asyncio.CancelledError:
                self.interrupt(INTERRUPTED)
                await asyncio.wait(workers)
                raise
        for worker in workers:
            worker.result()  # raises what was not foreseen
        if self._fatal:
            raise JudgeError(self._fatal)
        if self.stop.reason == TERMINATED:
            raise Preempted(f"asked to stop (SIGTERM): {len(self.replies)} replies of the {self.who} are kept")
        self.failed |= dict.fromkeys(self._queue, str(self.stop.reason))

    def interrupt(self, reason: str) -> None:
        """Send nothing more, and say what is still waited for."""
        under_way = self.sender.spending.under_way
        if not self.stop and under_way:
            self.report(
                f"{self.who}: {reason}; waiting for {under_way} replies under way (at most {self.config.timeout_s:g} s)"
            )
        self.stop.set(reason)

    async def _work(self) -> None:
        """Take requests until there is none left, or all is to stop."""
        try:
            while self._queue and not self.stop:
                await self._take(self._queue.popleft())
                self._tell()
        except Stopped:
            return
        except BaseException:
            self.stop.set("error")
            raise

    async def _take(self, key: str) -> None:
        """Send one request, unless another process does. Raises Stopped, the key then back in the queue."""
        if not self.kept.claim(key, self._claim_s()):
            self._queue.append(key)
            await self.stop.pause(POLL_S)
            return
        try:
            known = None if key in self.again else self.kept.get(key)
            if known is None:
                await self._ask(key)
            else:  # another process has had the reply meanwhile
                self.replies[key] = known
                self.from_others.add(key)
        except Stopped:
            self._queue.appendleft(key)
            raise
        finally:
            self.kept.release(key)

    async def _ask(self, key: str) -> None:
        """Attempts until there is a reply or no hope of one. Raises Stopped."""
        request = self.wanted[key]
        messages, size = request.messages(), request.size()
        for attempt in range(self.config.max_retries + 1):
            try:
                reply = await self.sender.attempt(messages, size, lambda wait: self._renew(key, wait))
            except Failure as failure:
                if not await self._again(key, failure, attempt):
                    self._missed(key, failure)
                    return
                continue
            self.kept.put(key, reply)
            self.replies[key] = reply
            self._misses_in_a_row = 0
            return

    async def _again(self, key: str, failure: Failure, attempt: int) -> bool:
        """Whether to try once more, after the pause that it needs. Raises Stopped."""
        c = self.config
        if failure.kind != "retry" or attempt == c.max_retries:
            return False
        pause = backoff(attempt + 1, c.backoff_s, c.backoff_max_s, failure.retry_after_s, self._rng)
        if pause > LONGEST_PAUSE_S:
            self._give_up(f"{failure} (the server asks to wait {pause:.0f} s)")
            return False
        if failure.retry_after_s is not None:
            self.sender.pacer.pause_until(time.monotonic() + failure.retry_after_s)
        self.retries[failure.reason] += 1
        self._tell(f"{failure}; trying again in {pause:.1f} s ({attempt + 1} of {c.max_retries})")
        self._renew(key, pause)
        await self.stop.pause(pause)
        return True

    def _missed(self, key: str, failure: Failure) -> None:
        """No reply to this request. A fatal failure, or many in a row without a reply, end the whole call."""
        self.failed[key] = NO_REPLY + failure.reason
        answers = self.answers or bool(self.replies)
        if failure.kind == "fatal":
            self._give_up(str(failure))
        if failure.kind == "refused" and answers:
            return  # it was this request, too long perhaps
        self._misses_in_a_row += 1
        if self._misses_in_a_row >= max(3, self.config.concurrency) or len(self.failed) == len(self.wanted):
            if answers:
                self.stop.set(NO_REPLY + failure.reason)
            else:
                self._give_up(f"{failure} ({self._misses_in_a_row} requests in a row)")

    def _give_up(self, words: str) -> None:
        client, kept = self.sender.client, f"; {len(self.replies)} replies are kept" if self.replies else ""
        self._fatal = self._fatal or f"{self.who} {client.model} at {client.base_url}: {words}{kept}"
        self.stop.set("fatal")

    def _renew(self, key: str, wait_s: float) -> None:
        """Keep the claim for an attempt that begins in `wait_s` seconds."""
        self.kept.claim(key, wait_s + self._claim_s())

    def _claim_s(self) -> float:
        """Longer than one attempt takes."""
        return self.config.timeout_s + CLAIM_MARGIN_S

    def _tell(self, trouble: str | None = None) -> None:
        """A line of progress now and then; the first trouble at once."""
        now = time.monotonic()
        if now - self._told < TELL_EVERY_S and not (trouble and sum(self.retries.values()) == 1):
            return
        self._told = now
        if trouble:
            self.report(f"{self.who}: {trouble}")
        done = len(self.replies) + len(self.failed)
        left = (now - self._started) / done * (len(self.wanted) - done) if done else None
        ahead = f", about {left:.0f} s left" if left else ""
        self.report(f"{self.who}: {done} of {len(self.wanted)} done, {self.sender.spending.words()}{ahead}")
