"""HH-RLHF transcripts: one string a side, "\\n\\nHuman: ...\\n\\nAssistant: ..." (Bai et al., arXiv 2204.05862)."""

from __future__ import annotations

import re

from rlhf.types import Message

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}
NAMES = {role: name for name, role in _ROLES.items()}
"""Who speaks, by the role of a turn."""


def is_transcript(text: str) -> bool:
    """Whether `text` begins with a turn's header."""
    return text.startswith(("\n\nHuman:", "\n\nAssistant:"))


def parse_transcript(text: str) -> tuple[Message, ...] | None:
    """The turns of a transcript, contents stripped; None where it does not begin with a header."""
    if not is_transcript(text):
        return None
    pieces = _TURN.split(text)[1:]  # header, content, header, content, ...
    return tuple(Message(_ROLES[n], c.strip()) for n, c in zip(pieces[::2], pieces[1::2], strict=True))


def transcript(turns: tuple[Message, ...]) -> str:
    """The turns as text, an empty line between them: "Human: ...\n\nAssistant: ..."; other roles by their own names."""
    return "\n\n".join(f"{NAMES.get(turn.role, turn.role.capitalize())}: {turn.content}" for turn in turns)


def merge_turns(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Neighbouring turns of one speaker, which the original data has, as one turn, joined by an empty line.

    Chat templates want roles that alternate.
    """
    merged: list[Message] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            parts = (merged.pop().content, turn.content)
            turn = Message(turn.role, "\n\n".join(part for part in parts if part))
        merged.append(turn)
    return tuple(merged)
