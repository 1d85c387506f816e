"""One request to an OpenAI-compatible server, and what its failures mean. Nothing is repeated here."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion

from rlhf.config.endpoints import EndpointConfig
from rlhf.judges.reading import REFUSAL, ReplySchema
from rlhf.judges.types import sound

KEYLESS = "none"  # the client insists on a key; servers on one's own machine do not
LONGEST_MESSAGE = 300  # characters of a server's error that are shown


class Failure(Exception):
    """A request without a usable reply.

    kind            retry: another attempt may succeed; refused: this request will not; fatal: no request will
    reason          short, for counting: "timeout", "rate limit", ...
    retry_after_s   what the server asked for
    maybe_paid      whether the server may have worked, and charged, for it
    """

    def __init__(
        self,
        kind: Literal["retry", "refused", "fatal"],
        reason: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        maybe_paid: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind, self.reason, self.retry_after_s, self.maybe_paid = kind, reason, retry_after_s, maybe_paid


@dataclass(frozen=True)
class Answer:
    """What the server said; token counts are None where it does not count."""

    text: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    model: str


class ChatClient:
    """Sends one conversation at a time to `base_url`. Use as an async context manager, inside one event loop."""

    def __init__(
        self, config: EndpointConfig, schema: ReplySchema, *, model: str, base_url: str, api_key: str | None
    ) -> None:
        self.config, self.schema, self.model, self.base_url, self._key = config, schema, model, base_url, api_key
        direct = openai.DefaultAsyncHttpxClient(trust_env=False) if on_loopback(base_url) else None
        self._client = openai.AsyncOpenAI(
            api_key=api_key or KEYLESS,
            base_url=base_url,
            max_retries=0,
            timeout=config.timeout_s,
            http_client=direct,  # a proxy of the environment cannot reach this machine's own servers
        )

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, messages: Sequence[Mapping[str, str]], response_format: str) -> Answer:
        """The server's answer within config.timeout_s. Raises Failure."""
        try:
            async with asyncio.timeout(self.config.timeout_s):
                reply = await self._client.chat.completions.create(**self._request(messages, response_format))
        except (TimeoutError, openai.APITimeoutError) as error:
            words = f"no reply within {self.config.timeout_s:g} s"
            raise Failure("retry", "timeout", words, maybe_paid=True) from error
        except openai.APIStatusError as error:
            raise self._of_status(error) from error
        except openai.APIConnectionError as error:
            reached = "ConnectError" not in type(error.__cause__).__name__
            words = self._clean(f"{error.__cause__ or error}") or "the connection was lost"
            raise Failure("retry", "connection", words, maybe_paid=reached) from error
        except (openai.OpenAIError, ValueError) as error:  # ValueError: a body that is not JSON
            raise Failure("retry", "unreadable", self._clean(str(error)), maybe_paid=True) from error
        return self._read(reply)

    def _request(self, messages: Sequence[Mapping[str, str]], response_format: str) -> dict[str, Any]:
        c = self.config
        request: dict[str, Any] = {"model": self.model, "messages": list(messages), c.max_tokens_name: c.max_tokens}
        if c.temperature is not None:
            request["temperature"] = c.temperature
        form = self.schema.response_format(response_format)
        if form is not None:
            request["response_format"] = form
        return request | {"extra_body": c.extra_body or None}

    def _read(self, reply: Any) -> Answer:
        if not isinstance(reply, ChatCompletion) or not reply.choices or reply.choices[0].message is None:
            raise Failure("retry", "unreadable", "the reply is not a chat completion", maybe_paid=True)
        choice, usage = reply.choices[0], reply.usage
        refused = getattr(choice.message, "refusal", None)
        return Answer(
            text=sound(choice.message.content or refused),
            finish_reason=REFUSAL if refused else choice.finish_reason,
            input_tokens=usage.prompt_tokens if usage else None,
            output_tokens=usage.completion_tokens if usage else None,
            model=reply.model or self.model,
        )

    def _of_status(self, error: openai.APIStatusError) -> Failure:
        status, words = error.status_code, self._words(error)
        if status == 429 and error.code == "insufficient_quota":
            return Failure("fatal", "quota", words)
        if status == 429:
            return Failure("retry", "rate limit", words, retry_after_s=_retry_after(error.response.headers))
        if status in (401, 402, 403, 404):
            return Failure("fatal", "refused", words)
        if status in (408, 409) or (status >= 500 and status != 501):
            wait = _retry_after(error.response.headers)
            return Failure("retry", "server error", words, retry_after_s=wait, maybe_paid=True)
        return Failure("refused", f"refused by the server ({status})", words)

    def _words(self, error: openai.APIStatusError) -> str:
        body = error.body if isinstance(error.body, Mapping) else {}
        said = body.get("message") or error.message or error.response.reason_phrase
        return self._clean(f"status {error.status_code}: {said}")

    def _clean(self, text: str) -> str:
        """One line, not too long, without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        text = " ".join(text.split())
        return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + " ..."


def on_loopback(url: str) -> bool:
    """Whether the address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date (RFC 9110)."""
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after", "")
    try:
        seconds = float(milliseconds) / 1000 if milliseconds else float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
