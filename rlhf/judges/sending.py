"""One attempt at one request: at its time, within the limits, in the strictest format that the server takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from rlhf.config.endpoints import RESPONSE_FORMATS
from rlhf.judges.cache import Reply
from rlhf.judges.client import ChatClient, Failure
from rlhf.judges.pacing import Pacer
from rlhf.judges.spending import Hold, Size, Spending
from rlhf.judges.stopping import Stop, Stopped
from rlhf.judges.types import Report

Messages = Sequence[Mapping[str, str]]


class ResponseFormats:
    """Which way of asking for JSON the server accepts. Decided by its first answers, then kept."""

    def __init__(self, setting: str) -> None:
        self.options = RESPONSE_FORMATS if setting == "auto" else (setting,)
        self.level, self.decided = 0, len(self.options) == 1

    @property
    def current(self) -> str:
        """The one to ask with now."""
        return self.options[self.level]

    @property
    def refused(self) -> tuple[str, ...]:
        """Those that the server did not take."""
        return self.options[: self.level]

    def lower(self) -> bool:
        """Go on to the next one; False where there is none, and then back to the first: it was not the format."""
        last = self.level == len(self.options) - 1
        self.level = 0 if last else self.level + 1
        return not last


class Sender:
    """Sends attempts for all workers of one call."""

    def __init__(
        self,
        client: ChatClient,
        spending: Spending,
        pacer: Pacer,
        formats: ResponseFormats,
        stop: Stop,
        report: Report,
    ) -> None:
        self.client, self.spending, self.pacer, self.formats = client, spending, pacer, formats
        self.stop, self.report = stop, report
        self._settled = asyncio.Condition()
        self._deciding = asyncio.Lock()

    async def attempt(self, messages: Messages, size: Size, waiting: Callable[[float], None]) -> Reply:
        """The reply, paid for. `waiting(seconds)` is called where it must wait so long before it may be sent.

        Until the response format is decided, one attempt is under way at a time. Raises Failure, or Stopped."""
        if not self.formats.decided:
            async with self._deciding:
                if not self.formats.decided:
                    return await self._decide(messages, size, waiting)
        return await self._send(messages, size, waiting)

    async def _decide(self, messages: Messages, size: Size, waiting: Callable[[float], None]) -> Reply:
        """The reply in the first format that the server does not refuse, which is kept from then on."""
        while True:
            try:
                reply = await self._send(messages, size, waiting)
            except Failure as failure:
                if failure.kind != "refused" or not self.formats.lower():
                    raise
                continue
            self.formats.decided = True
            if self.formats.refused:
                refused = ", ".join(self.formats.refused)
                who = self.client.config.section
                self.report(f"{who}: the server refuses response_format {refused}; using {self.formats.current}")
            return reply

    async def _send(self, messages: Messages, size: Size, waiting: Callable[[float], None]) -> Reply:
        self.stop.check()
        now = time.monotonic()
        wait = self.pacer.reserve(size.expected_input + size.most_output, now) - now
        if wait > 0:
            waiting(wait)
            await self.stop.pause(wait)
        hold = await self._hold(size)
        try:
            answer = await self.client.ask(messages, self.formats.current)
        except Failure as failure:
            (self.spending.keep if failure.maybe_paid else self.spending.release)(hold)
            raise
        else:
            # a server that does not count is taken to have used what it could
            used_in = size.most_input if answer.input_tokens is None else answer.input_tokens
            used_out = size.most_output if answer.output_tokens is None else answer.output_tokens
            cost = self.spending.settle(hold, used_in, used_out)
            return Reply(answer.text, answer.finish_reason, used_in, used_out, cost, answer.model)
        finally:
            async with self._settled:
                self._settled.notify_all()

    async def _hold(self, size: Size) -> Hold:
        """Set aside what the request may cost, waiting where those under way may leave room. Raises Stopped."""
        async with self._settled:
            while True:
                self.stop.check()
                reason = self.spending.refusal(size)
                if reason is None:
                    return self.spending.hold(size)
                if not self.spending.under_way:
                    self.stop.set(reason)
                    raise Stopped
                await self._settled.wait()
