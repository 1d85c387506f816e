"""From a chat model's reply to the scores of its pairs, strictly: what is not clearly a score is none, and is counted.

A reply to several pairs is cut into one piece a pair as it arrives, and each piece is kept under its pair's own key.
"""

from __future__ import annotations

import json
import re
from typing import Any

from rlhf.judges.cache import Reply
from rlhf.judges.reading import CUT, ReplySchema, json_objects, unusable, without_thoughts
from rlhf.judges.types import sound

SIDES = ("A", "B")
"""What side 0 and side 1 are called in a request."""

_SIDE = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["reason", "score"],
    "additionalProperties": False,
}
_PAIR = {
    "type": "object",
    "properties": {"pair": {"type": "integer"}, **dict.fromkeys(SIDES, _SIDE)},
    "required": ["pair", *SIDES],
    "additionalProperties": False,
}
SCORES = ReplySchema(
    "scores",
    {
        "type": "object",
        "properties": {"pairs": {"type": "array", "items": _PAIR}},
        "required": ["pairs"],
        "additionalProperties": False,
    },
)
"""The reply as JSON schema: a reason before each score, which can so follow from it."""

LEFT_OUT = "{}"
"""The piece of a pair that a reply does not mention."""

_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,9}(\.0*)?\s*")

Scores = tuple[tuple[float, float], tuple[str, str]]
"""(scores, reasons) of side 0 and side 1."""


def pieces_of(reply: Reply, pairs: int) -> list[Reply]:
    """The reply as `pairs` replies: what it says about pair 1, 2, ...; LEFT_OUT where it does not mention one.

    Tokens and cost are shared out evenly, and their sums are those of the reply. A reply without any pair in it stays
    whole in each piece, so that why it is unreadable can still be told."""
    items = _items(without_thoughts(reply.text))
    if pairs == 1 and len(items) == 1:
        items[0].setdefault("pair", 1)  # there was no other that it could be about
    texts = []
    for number in range(1, pairs + 1):
        about = [item for item in items if str(item.get("pair")).strip() == str(number)]
        said = "\n".join(json.dumps(item) for item in about) or LEFT_OUT
        texts.append(said if items else reply.text)
    return [
        Reply(
            text,
            reply.finish_reason,
            _share(reply.input_tokens, i, pairs),
            _share(reply.output_tokens, i, pairs),
            reply.cost_usd / pairs,
            reply.model,
        )
        for i, text in enumerate(texts)
    ]


def read_piece(piece: Reply, levels: range) -> Scores | str:
    """The scores and reasons of one pair; or why there are none, one of a handful of phrases."""
    text = without_thoughts(piece.text)
    if reason := unusable(text, piece.finish_reason, "teacher"):
        return reason
    found = [_read_item(item, levels) for item in _items(text)]
    if not found and piece.finish_reason == "length":
        return CUT
    if not found:
        return "the reply leaves this pair out" if text == LEFT_OUT else "no scores in the reply"
    if any(isinstance(each, str) for each in found):
        return next(each for each in found if isinstance(each, str))
    if len({scores for scores, _ in found}) > 1:
        return "several scores for one answer"
    return found[-1]


def _items(text: str) -> list[dict[str, Any]]:
    """The objects with the scores of a pair: inside `pairs`, in a bare list, alone, or in a reply that breaks off."""
    items: list[dict[str, Any]] = []
    for value in json_objects(text):
        inside = value.get("pairs")
        candidates = inside if isinstance(inside, list) else [value]
        items += [item for item in candidates if isinstance(item, dict) and any(side in item for side in SIDES)]
    return items


def _read_item(item: dict[str, Any], levels: range) -> Scores | str:
    scores, reasons = [], []
    for side in SIDES:
        about = item.get(side)
        if not isinstance(about, dict):
            about = {"score": about}  # {"pair": 1, "A": 3, "B": 4}
        value = about.get("score")
        if value is None:
            return "a score is missing"
        if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
            return "a score is no whole number"
        if int(float(value)) not in levels:
            return "a score is off the scale"
        scores.append(float(int(float(value))))
        reasons.append(_tidy(about.get("reason")))
    return (scores[0], scores[1]), (reasons[0], reasons[1])


def _tidy(reason: Any) -> str:
    """A reason without white space that means nothing; its lines stay lines."""
    text = sound(reason) if isinstance(reason, str) else ""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _share(total: int, i: int, parts: int) -> int:
    return total * (i + 1) // parts - total * i // parts
