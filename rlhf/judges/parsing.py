"""From a chat model's reply to a verdict, strictly: what is not clearly one is none, and is counted by its reason."""

from __future__ import annotations

import json
import re
from typing import Any

from rlhf.judges.reading import CUT, ReplySchema, json_objects, unusable, without_thoughts
from rlhf.judges.types import MALFORMED, Verdict, Winner

VERDICT = ReplySchema(
    "verdict",
    {
        "type": "object",
        "properties": {"reason": {"type": "string"}, "winner": {"type": "string", "enum": ["A", "B", "tie"]}},
        "required": ["reason", "winner"],
        "additionalProperties": False,
    },
)
"""The reply as JSON schema. The reason comes first: the verdict then follows from it, and not the other way round."""

WINNERS: dict[str, Winner] = {"a": "first", "b": "second", "tie": "tie"}
_LAST_LINE = re.compile(r"[\W_]*(?:winner|verdict)[\W_]*[:=][\W_]*(a|b|tie)[\W_]*", re.IGNORECASE)


def parse_reply(text: str | None, finish_reason: str | None = "stop") -> tuple[Winner | None, str]:
    """The winner and the judge's reason; or None and why there is no verdict, one of a handful of sentences.

    Read are, in this order: JSON objects in the reply that have a "winner", alone, fenced or amid other text, as long
    as they agree; a last line such as "Winner: A". A letter in a sentence is never taken for a verdict."""
    text = without_thoughts(text)
    if reason := unusable(text, finish_reason, "judge"):
        return None, MALFORMED + reason
    found = [value for value in json_objects(text) if "winner" in value]
    if found:
        winners = {_winner(value["winner"]) for value in found}
        if len(winners) > 1:
            return None, MALFORMED + "several verdicts"
        winner = winners.pop()
        if winner is None:
            return None, MALFORMED + "winner is none of A, B, tie"
        reason = found[-1].get("reason", "")
        return winner, reason if isinstance(reason, str) else json.dumps(reason)
    lines = text.strip().splitlines()
    if match := _LAST_LINE.fullmatch(lines[-1].strip()):
        return WINNERS[match[1].lower()], "\n".join(lines[:-1]).strip()
    return None, MALFORMED + (CUT if finish_reason == "length" else "no verdict in the reply")


def verdict_of(text: str | None, finish_reason: str | None, **costs: Any) -> Verdict:
    """The Verdict of a reply; `costs` are its cost, tokens and whether it was cached."""
    winner, reason = parse_reply(text, finish_reason)
    return Verdict(winner, reason, **costs)


def _winner(value: Any) -> Winner | None:
    return WINNERS.get(value.strip().lower()) if isinstance(value, str) else None
