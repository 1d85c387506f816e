"""A chat model behind an OpenAI-compatible API with its key, limits, pace and cache: for a judge, or for a teacher."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlhf.config.endpoints import EndpointConfig, check_base_url, price_of
from rlhf.judges.asking import INTERRUPTED, Asking, Kept, Request
from rlhf.judges.cache import ReplyCache
from rlhf.judges.client import ChatClient
from rlhf.judges.env_file import Variables
from rlhf.judges.pacing import Pacer
from rlhf.judges.reading import ReplySchema
from rlhf.judges.sending import Messages, ResponseFormats, Sender
from rlhf.judges.spending import Size, Spending, size_of
from rlhf.judges.stopping import Stop
from rlhf.judges.types import Expense, Report

IN_MEMORY = ":memory:"


class Endpoint:
    """Asks `config.model` for replies of the form `schema`. The key lives in this object alone; replies live in the
    cache.

    Raises ConfigError for a variable that is not set and for a price that is not known. With asks=False the key is not
    looked for and no cache is begun: such an endpoint says what asking would cost, and cannot be asked."""

    def __init__(
        self, config: EndpointConfig, schema: ReplySchema, variables: Variables | None = None, *, asks: bool = True
    ) -> None:
        at = config.section
        variables = variables or Variables(config.env_file, key=f"{at}.env_file")
        self.config, self.schema = config, schema
        self.model = variables.get(config.model_env, f"{at}.model_env") or config.model
        self.base_url = (variables.get(config.base_url_env, f"{at}.base_url_env") or config.base_url).rstrip("/")
        check_base_url(config.base_url_env or f"{at}.base_url", self.base_url, f"{at}.api_key_env")
        self._key = variables.get(config.api_key_env, f"{at}.api_key_env") if asks else None
        self.spending = Spending(
            price_of(config, self.model),
            max_cost_usd=config.max_cost_usd,
            max_calls=config.max_calls,
            max_tokens=config.max_total_tokens,
        )
        self.pacer = Pacer(config.requests_per_minute, config.tokens_per_minute)
        self.formats = ResponseFormats(config.response_format)
        readable = config.cache and (asks or Path(config.cache).expanduser().exists())
        self.cache = ReplyCache(config.cache if readable else IN_MEMORY, key=f"{at}.cache")

    @property
    def identity(self) -> dict[str, Any]:
        """What a reply depends on besides the messages: a part of its cache key."""
        c = self.config
        sampling = [c.temperature, c.max_tokens, c.response_format, c.extra_body]
        return {"model": self.model, "base_url": self.base_url, "sampling": sampling}

    def size(self, messages: Messages, expected_output: int) -> Size:
        """Tokens of one request; `expected_output` are those of its reply."""
        return size_of(messages, self.config.max_tokens, expected_output)

    def expense(self, sizes: Sequence[Size]) -> Expense:
        """What requests of these sizes should take."""
        inputs, outputs = sum(s.expected_input for s in sizes), sum(s.expected_output for s in sizes)
        most = self.spending.cost(sum(s.most_input for s in sizes), sum(s.most_output for s in sizes))
        known = self.spending.price is not None
        cost = self.spending.cost(inputs, outputs)
        return Expense(len(sizes), inputs, outputs, cost if known else None, most if known else None)

    def words(self, expense: Expense) -> str:
        """An expense for a person, with the limits that bound it."""
        line = f"about {expense.input_tokens:,} tokens in and {expense.output_tokens:,} out"
        if expense.cost_usd is None:
            return f"{line}, price not known{self._limits()}"
        if not self.spending.charges:
            return f"{line}, free{self._limits()}"
        return f"{line}, about ${expense.cost_usd:.4f}, at most ${expense.max_cost_usd:.4f}{self._limits()}"

    def exceeds_cap(self, expense: Expense) -> bool:
        """Whether the limit in dollars will leave some requests unsent, if they cost what is expected."""
        cap = self.spending.max_cost_usd
        return cap is not None and bool(expense.cost_usd) and self.spending.cost_usd + expense.cost_usd > cap

    def ask(
        self,
        wanted: Mapping[str, Request],
        report: Report,
        *,
        kept: Kept | None = None,
        again: frozenset[str] = frozenset(),
        answers: bool = False,
    ) -> Asking:
        """Send all of `wanted` (rlhf.judges.asking.Asking says how), in this thread or, where an event loop runs in it
        already (a notebook), in another. `kept` is where replies go, the cache where it is None.

        Raises JudgeError where the server cannot be reached, refuses the key or does not know the model; Preempted
        after SIGTERM and KeyboardInterrupt after Ctrl-C, once what was under way is stored."""
        started: list[tuple[asyncio.AbstractEventLoop, Asking]] = []

        async def ask() -> Asking:
            client = ChatClient(self.config, self.schema, model=self.model, base_url=self.base_url, api_key=self._key)
            async with client:
                stop = Stop(self.config.deadline_s)
                sender = Sender(client, self.spending, self.pacer, self.formats, stop, report)
                asking = Asking(sender, kept or self.cache, wanted, report, again=again, answers=answers)
                started.append((asyncio.get_running_loop(), asking))
                await asking.run()
                return asking

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(ask())
        done: list[Asking | BaseException] = []
        thread = threading.Thread(target=lambda: done.append(_outcome(ask)), name=self.config.section)
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            for loop, asking in started:
                loop.call_soon_threadsafe(asking.interrupt, INTERRUPTED)
            thread.join()
            raise
        if isinstance(done[0], BaseException):
            raise done[0]
        return done[0]

    def _limits(self) -> str:
        s = self.spending
        limits = [f"${s.max_cost_usd:g}"] if s.max_cost_usd is not None and s.charges else []
        limits += [f"{s.max_calls} requests"] if s.max_calls is not None else []
        limits += [f"{s.max_tokens} tokens"] if s.max_tokens is not None else []
        return f" (limit {', '.join(limits)})" if limits else ""


def _outcome(ask: Callable[[], Any]) -> Asking | BaseException:
    try:
        return asyncio.run(ask())
    except BaseException as error:
        return error
