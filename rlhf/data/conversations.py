"""Conversations as they stand in data, and where a compared pair of them parts into prompt and answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlhf.errors import DataError
from rlhf.types import Message

ROLES = ("system", "user", "assistant")
Turns = tuple[Message, ...]


class MalformedExample(Exception):
    """No example can be made of this row; `reason` is the name under which it is counted as dropped."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def turns_of(value: Any, origin: str, column: str | None) -> Turns:
    """The turns of a list of {"role", "content"}. Raises DataError naming row, column and turn for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise DataError(f"{origin}: column {column!r} must be a list of turns; got {type(value).__name__}")
    turns = []
    for number, turn in enumerate(value, start=1):
        if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
            raise DataError(
                f"{origin}: column {column!r}, turn {number}: expected role and content; got {str(turn)[:80]}"
            )
        if turn["role"] not in ROLES or not isinstance(turn["content"], str):
            raise DataError(
                f"{origin}: column {column!r}, turn {number}: role must be one of {', '.join(ROLES)} and content text; "
                f"got role {turn['role']!r} and {type(turn['content']).__name__}"
            )
        turns.append(Message(turn["role"], turn["content"]))
    return tuple(turns)


def split_conversations(chosen: Turns, rejected: Turns) -> tuple[Turns, tuple[str, str]]:
    """(prompt, (chosen answer, rejected answer)) of two whole conversations: their last turns are the answers.

    Raises MalformedExample: `no_final_assistant_turn` where a side does not end in one, `prompts_differ` where the
    turns before it are not the same on both sides, so that the answers are answers to different prompts.
    """
    if any(not side or side[-1].role != "assistant" for side in (chosen, rejected)):
        raise MalformedExample("no_final_assistant_turn")
    if chosen[:-1] != rejected[:-1]:
        raise MalformedExample("prompts_differ")
    return chosen[:-1], (chosen[-1].content, rejected[-1].content)


def answer_of(turns: Turns, prompt: Turns) -> str:
    """The answer on one side of a pair with a prompt of its own; the side may repeat the prompt before it.

    Raises MalformedExample `answer_is_not_one_turn` where anything but one assistant turn follows.
    """
    rest = turns[len(prompt) :] if prompt and turns[: len(prompt)] == prompt else turns
    if len(rest) != 1 or rest[0].role != "assistant":
        raise MalformedExample("answer_is_not_one_turn")
    return rest[0].content


def split_strings(chosen: str, rejected: str) -> tuple[str, tuple[str, str]]:
    """(prompt, (chosen answer, rejected answer)) of two texts, split at the word where they begin to differ.

    The white space before the answers' first words belongs to the answers: "Q: 2+2? A: four" and "Q: 2+2? A: five" give
    "Q: 2+2? A:" with " four" and " five".
    """
    end = 0
    while end < min(len(chosen), len(rejected)) and chosen[end] == rejected[end]:
        end += 1
    while end and not chosen[end - 1].isspace():
        end -= 1
    while end and chosen[end - 1].isspace():
        end -= 1
    return chosen[:end], (chosen[end:], rejected[end:])
