"""The score that a model wrote: a number between <s> and </s>, on the scale of its prompt, or why there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rlhf.config.score_prompts import CLOSING_TAG, OPENING_TAG, ScorePrompt

FAILURES = ("missing", "unclosed", "not_a_number", "out_of_range")
"""Why a text has no score: no tag | no end to the tag that counts | no number in it | a number off the scale."""

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_CHOICE = {"first_tag": 0, "last_tag": -1}


@dataclass(frozen=True)
class ParsedScore:
    """What was read out of one text: a value, or the reason why there is none; never both, never neither."""

    value: float | None
    failure: str | None  # one of FAILURES
    tags: int  # opening tags in the text; above 1 the parser has chosen one of them


def parse_score(text: str, score_prompt: ScorePrompt) -> ParsedScore:
    """The score in `text`, read as score_prompt.parser says: in the first tag, or in the last.

    A tag reaches from <s> to the next </s>, and another <s> before that leaves it open. Inside stands a decimal number
    in ASCII digits, white space around it allowed; no fraction, no unit, no exponent.

        "<s>4</s>"              first_tag 4, last_tag 4, tags 1
        "<s>4</s> or <s>2</s>"  first_tag 4, last_tag 2, tags 2
        "<s>4"                  unclosed, tags 1
    """
    tags = text.split(OPENING_TAG)[1:]
    if not tags:
        return ParsedScore(None, "missing", 0)
    inside, closed, _ = tags[_CHOICE[score_prompt.parser]].partition(CLOSING_TAG)
    if not closed:
        return ParsedScore(None, "unclosed", len(tags))
    if not _NUMBER.fullmatch(inside.strip()):
        return ParsedScore(None, "not_a_number", len(tags))
    value = float(inside)
    if not score_prompt.lowest <= value <= score_prompt.highest:
        return ParsedScore(None, "out_of_range", len(tags))
    return ParsedScore(value, None, len(tags))
