"""A chat model behind an OpenAI-compatible API, as judges and teachers have it: address, pace, price and limits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from rlhf.config.checks import above, at_least, one_of
from rlhf.errors import ConfigError

ANY_MODEL = "*"
"""In `prices`: the price of every model that has no line of its own."""

RESPONSE_FORMATS = ("json_schema", "json_object", "text")
"""How a JSON reply is asked for, strictest first; response_format=auto goes down this list."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class EndpointConfig:
    """The comments of conf/endpoint/base.yaml say what each key means. `section` is the one that holds them."""

    section: ClassVar[str]

    kind: str
    model: str
    base_url: str
    api_key_env: str | None
    model_env: str | None
    base_url_env: str | None
    env_file: str | None
    temperature: float | None
    max_tokens: int
    max_tokens_name: str
    response_format: str
    extra_body: dict[str, Any]
    concurrency: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    max_retries: int
    backoff_s: float
    backoff_max_s: float
    timeout_s: float
    deadline_s: float | None
    cache: str | None
    input_price: float | None
    output_price: float | None
    prices: dict[str, Any]
    max_cost_usd: float | None
    max_calls: int | None
    max_total_tokens: int | None

    def __post_init__(self) -> None:
        at = self.section
        if not self.model.strip():
            raise ConfigError(f"{at}.model is empty")
        for key in ("api_key_env", "model_env", "base_url_env"):
            _check_variable(f"{at}.{key}", getattr(self, key))
        check_base_url(f"{at}.base_url", self.base_url, f"{at}.api_key_env")
        one_of(f"{at}.max_tokens_name", self.max_tokens_name, ("max_tokens", "max_completion_tokens"))
        one_of(f"{at}.response_format", self.response_format, ("auto", *RESPONSE_FORMATS))
        self._check_numbers(at)
        if (self.input_price is None) != (self.output_price is None):
            raise ConfigError(f"{at}.input_price and {at}.output_price go together: give both, or neither")
        for name, price in self.prices.items():
            _check_price(f"{at}.prices.{name}", price)
        if self.model_env is None:
            price_of(self, self.model)

    def _check_numbers(self, at: str) -> None:
        at_least(f"{at}.max_tokens", self.max_tokens, 1)
        at_least(f"{at}.concurrency", self.concurrency, 1)
        at_least(f"{at}.max_retries", self.max_retries, 0)
        at_least(f"{at}.backoff_s", self.backoff_s, 0)
        at_least(f"{at}.backoff_max_s", self.backoff_max_s, self.backoff_s, f"{at}.backoff_s")
        above(f"{at}.timeout_s", self.timeout_s, 0)
        for key in ("requests_per_minute", "tokens_per_minute", "deadline_s"):
            if getattr(self, key) is not None:
                above(f"{at}.{key}", getattr(self, key), 0)
        for key in ("temperature", "input_price", "output_price", "max_cost_usd", "max_calls", "max_total_tokens"):
            if getattr(self, key) is not None:
                at_least(f"{at}.{key}", getattr(self, key), 0)


@dataclass(frozen=True)
class Price:
    """US dollars for one token."""

    input: float
    output: float

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars."""
        return self.input * input_tokens + self.output * output_tokens


def price_of(config: EndpointConfig, model: str) -> Price | None:
    """What a token of `model` costs; None where that is not known.

    Raises ConfigError where the price is not known and a limit in dollars is asked for, or no other limit is."""
    found = config.prices.get(model, config.prices.get(ANY_MODEL, {"input": None, "output": None}))
    dollars = (config.input_price, config.output_price)
    if config.input_price is None:
        dollars = (found["input"], found["output"])
    if dollars[0] is not None:
        return Price(dollars[0] / 1e6, dollars[1] / 1e6)
    at = config.section
    give = f"Give {at}.input_price and {at}.output_price, in dollars for a million tokens"
    if config.max_cost_usd is not None:
        raise ConfigError(
            f"{at}.max_cost_usd={config.max_cost_usd:g} cannot be held: the price of {model} is not known. {give}, "
            f"or set max_cost_usd=null and {at}.max_calls or {at}.max_total_tokens"
        )
    if config.max_calls is None and config.max_total_tokens is None:
        raise ConfigError(
            f"nothing bounds what the {at} costs: the price of {model} is not known. {give}, or set {at}.max_calls "
            f"or {at}.max_total_tokens"
        )
    return None


def check_base_url(key: str, url: str, key_variable: str) -> None:
    """An http address without a user or a password in it. Raises ConfigError that does not repeat these."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ConfigError(f"{key} must hold no user or password; name the key's variable with {key_variable}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{key} must be an address such as https://api.openai.com/v1; got {url!r}")


def _check_variable(key: str, name: str | None) -> None:
    """Raises ConfigError that does not repeat the value: it may be a key in the wrong place."""
    if name is not None and not _VARIABLE.fullmatch(name):
        raise ConfigError(f"{key} must be the name of a variable, such as OPENAI_API_KEY, not its value")


def _check_price(key: str, price: Any) -> None:
    if not isinstance(price, Mapping) or set(price) != {"input", "output"}:
        raise ConfigError(f"{key} must be {{input: dollars, output: dollars}} for a million tokens; got {price!r}")
    if (price["input"] is None) != (price["output"] is None):
        raise ConfigError(f"{key} must have both prices, or null for both; got {price!r}")
    for value in price.values():
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 <= value < math.inf)
        ):
            raise ConfigError(f"{key} must be dollars for a million tokens, at least 0, or null; got {value!r}")
