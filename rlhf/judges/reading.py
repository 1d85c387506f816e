"""What the replies of chat models have in common: the form that is asked for, and what makes one unusable."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

REFUSAL = "refusal"
"""The finish reason given to a reply that the server marks as a refusal."""

CUT = "cut at max_tokens"

_THOUGHTS = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class ReplySchema:
    """The form of a reply: a name, and a JSON schema in which every object names all its keys as required."""

    name: str
    schema: Mapping[str, Any]

    def response_format(self, kind: str) -> Mapping[str, Any] | None:
        """What is sent as response_format, for one of RESPONSE_FORMATS; None sends nothing."""
        if kind == "json_schema":
            return {"type": kind, "json_schema": {"name": self.name, "strict": True, "schema": dict(self.schema)}}
        return {"type": kind} if kind == "json_object" else None


def without_thoughts(text: str | None) -> str:
    """A reply without the thoughts that a reasoning model writes before it."""
    text = text or ""
    return _THOUGHTS.sub("", text, count=1) if text.lstrip().startswith("<think>") else text


def unusable(text: str, finish_reason: str | None, who: str) -> str | None:
    """Why nothing can be read out of a reply without thoughts, whatever it was to say; None where something may be."""
    if finish_reason == "content_filter":
        return "withheld by a content filter"
    if finish_reason == REFUSAL:
        return f"the {who} refused"
    if not text.strip():
        return CUT if finish_reason == "length" else "empty reply"
    return None


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects of `text`, in order."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            value, end = None, at + 1
        if isinstance(value, dict):
            yield value
        at = text.find("{", end)
