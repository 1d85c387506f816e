"""What a chat model may cost, and has: limits that hold even if everything under way turns out as dear as it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlhf.config.endpoints import Price

EXPECTED_BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 16  # roles and marks around a message, at most
TOKENS_PER_REQUEST = 256  # what a server adds by itself, at most: the schema of the reply, its own instructions

COST_CAP, CALL_CAP, TOKEN_CAP = "cost cap", "call cap", "token cap"


@dataclass(frozen=True)
class Size:
    """Tokens of one request: as expected, and at the very most."""

    expected_input: int
    most_input: int
    expected_output: int
    most_output: int


def size_of(messages: Sequence[Mapping[str, str]], max_tokens: int, expected_output: int) -> Size:
    """Input is expected to take four bytes a token, and at the very most one: no byte-level tokenizer takes more."""
    length = sum(len(m["content"].encode("utf-8", "replace")) for m in messages)
    around = len(messages) * TOKENS_PER_MESSAGE + TOKENS_PER_REQUEST
    expected = -(-length // EXPECTED_BYTES_PER_TOKEN) + len(messages) * 4
    return Size(expected, length + around, min(expected_output, max_tokens), max_tokens)


@dataclass(frozen=True)
class Hold:
    """What one request under way may come to."""

    cost_usd: float
    tokens: int


class Spending:
    """Counts requests, tokens and dollars of one run against their limits; None is no limit.

    `hold` before a request; then `settle` with what it took, `keep` where nobody knows (it counts in full), or
    `release` where it took nothing. At any moment spent + held is within the limits."""

    def __init__(
        self,
        price: Price | None,
        *,
        max_cost_usd: float | None = None,
        max_calls: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.price = price
        self.max_cost_usd, self.max_calls, self.max_tokens = max_cost_usd, max_calls, max_tokens
        self.calls, self.tokens, self.cost_usd = 0, 0, 0.0
        self.under_way = 0
        self.held_tokens, self.held_cost_usd = 0, 0.0

    @property
    def charges(self) -> bool:
        """Whether a token is known to cost something."""
        return self.price is not None and self.price.of(1, 1) > 0

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars; 0 where the price is not known."""
        return 0.0 if self.price is None else self.price.of(input_tokens, output_tokens)

    def words(self) -> str:
        """What was spent, for a person."""
        return f"${self.cost_usd:.4f}" if self.charges else f"{self.tokens:,} tokens"

    def refusal(self, size: Size) -> str | None:
        """The limit that one more request of this size could break; None where it fits."""
        tokens, cost = self._most(size)
        if self.max_calls is not None and self.calls + 1 > self.max_calls:
            return CALL_CAP
        if self.max_tokens is not None and self.tokens + self.held_tokens + tokens > self.max_tokens:
            return TOKEN_CAP
        if self.max_cost_usd is not None and self.cost_usd + self.held_cost_usd + cost > self.max_cost_usd:
            return COST_CAP
        return None

    def hold(self, size: Size) -> Hold:
        """Set aside what a request may come to; `refusal` must have been None."""
        tokens, cost = self._most(size)
        self.calls += 1
        self.under_way += 1
        self.held_tokens += tokens
        self.held_cost_usd += cost
        return Hold(cost, tokens)

    def settle(self, hold: Hold, input_tokens: int, output_tokens: int) -> float:
        """The request took these tokens. Returns its cost in US dollars."""
        cost = self.cost(input_tokens, output_tokens)
        self.release(hold)
        self.tokens += input_tokens + output_tokens
        self.cost_usd += cost
        return cost

    def keep(self, hold: Hold) -> None:
        """The request may have been paid for: count it in full."""
        self.release(hold)
        self.tokens += hold.tokens
        self.cost_usd += hold.cost_usd

    def release(self, hold: Hold) -> None:
        """The request took nothing."""
        self.under_way -= 1
        self.held_tokens -= hold.tokens
        self.held_cost_usd = max(0.0, self.held_cost_usd - hold.cost_usd) if self.under_way else 0.0

    def _most(self, size: Size) -> tuple[int, float]:
        return size.most_input + size.most_output, self.cost(size.most_input, size.most_output)
