"""Prompts and answers as token ids. The boundary between them is a token boundary: each is tokenised by itself.

Truncation keeps what a model needs to answer. A conversation that is too long first loses whole turns (the oldest, or
with truncation_side=right the newest), never its system turn; if the one user turn that is left is still too long,
its content is cut and the frame around it (headers, end of turn, the assistant's header) stays. Text prompts are cut
token by token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rlhf.config.sections import DatasetConfig
from rlhf.data.turns import ChatTurns, PlainTurns, begin_of_text
from rlhf.errors import ConfigError, DataError
from rlhf.types import Message, Prompt

Ids = tuple[int, ...]
_CUT = "\ue000"  # private-use characters: stand-ins that no template changes and no tokenizer knows as special
_LITERAL = "\ue001"


class Renderer:
    """Token ids of prompts and answers for one tokenizer and one `dataset` section.

    mode     "chat" or "plain", what dataset.render=auto or verbatim came to
    end_id   the id that ends an answer; samplers must stop at it
    """

    def __init__(self, tokenizer: Any, config: DatasetConfig) -> None:
        """Raises ConfigError for render=chat without a chat template; ModelError where nothing can end an answer."""
        has_template = getattr(tokenizer, "chat_template", None) is not None
        if config.render == "chat" and not has_template:
            raise ConfigError(
                "dataset.render=chat, but the tokenizer has no chat template; use plain or model.chat_template"
            )
        self.tokenizer = tokenizer
        self.config = config
        self.mode = "chat" if has_template and config.render != "plain" else "plain"
        self._turns = ChatTurns(tokenizer) if self.mode == "chat" else PlainTurns(tokenizer)
        self._begin_of_text = begin_of_text(tokenizer)
        self.end_id: int = self._turns.end_id
        self._special = _special_pattern(tokenizer)
        self._cached = lru_cache(maxsize=8192)(self._encode_prompt)

    def prompt_ids(self, prompt: Prompt) -> Ids:
        """The ids that an answer follows, at most dataset.max_prompt_tokens; empty for an empty text prompt.

        Raises DataError where the chat template refuses the conversation.
        """
        return self._cached(prompt.messages, prompt.text)[0]

    def prompt_was_truncated(self, prompt: Prompt) -> bool:
        """Whether `prompt_ids` had to leave something out."""
        return self._cached(prompt.messages, prompt.text)[1]

    def answer_ids(self, prompt: Prompt, answer: str) -> Ids:
        """The ids after the prompt, at most dataset.max_answer_tokens, the last one `end_id`.

        An answer that does not fit with its `end_id` is cut on the right and ends without it: it did not end here.
        Special tokens written out in the answer are plain text.
        """
        ids = self.text_ids((self._turns.lead if prompt.messages else "") + answer)
        limit = self.config.max_answer_tokens
        return (*ids, self.end_id) if len(ids) < limit else ids[:limit]

    def answer_was_truncated(self, answer_ids: Ids) -> bool:
        """Whether `answer_ids` returned a cut answer."""
        return answer_ids[-1] != self.end_id

    def text_ids(self, text: str) -> Ids:
        """Ids of plain text: no special token is added, and none is read out of the text."""
        return self._tokenize(text, literal=True)

    def _tokenize(self, text: str, *, literal: bool) -> Ids:
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=literal, verbose=False)
        return tuple(encoded["input_ids"])

    def _encode_prompt(self, messages: tuple[Message, ...], text: str) -> tuple[Ids, bool]:
        """(ids, truncated)."""
        if not messages:
            return self._encode_text(text)
        limit = self.config.max_prompt_tokens
        if self.config.system_prompt is not None and all(m.role != "system" for m in messages):
            messages = (Message("system", self.config.system_prompt), *messages)
        ids = self._encode_turns(messages)
        if len(ids) <= limit:
            return ids, False
        shortest = messages
        for shortest in shorter_conversations(messages, self.config.truncation_side):
            ids = self._encode_turns(shortest)
            if len(ids) <= limit:
                return ids, True
        return self._cut_content(shortest, ids), True

    def _encode_text(self, text: str) -> tuple[Ids, bool]:
        if self.config.system_prompt is not None:
            raise DataError(
                "dataset.system_prompt needs prompts made of turns; this one is verbatim text. Set it to null"
            )
        begin = self._begin_of_text
        ids, room = self.text_ids(text), self.config.max_prompt_tokens - len(begin)
        return begin + self._keep(ids, room), len(ids) > room

    def _keep(self, ids: Ids, room: int) -> Ids:
        """At most `room` ids, from the end that dataset.truncation_side spares."""
        if len(ids) <= room:
            return ids
        return ids[len(ids) - room :] if self.config.truncation_side == "left" else ids[:room]

    def _encode_turns(self, messages: Sequence[Message]) -> Ids:
        """Ids of the conversation. Special tokens are the template's; those written out in a turn are plain text."""
        literals: list[str] = []

        def hide(match: re.Match[str]) -> str:
            literals.append(match.group())
            return _LITERAL

        hidden = [Message(m.role, self._special.sub(hide, m.content)) for m in messages]
        if not literals:
            return self._turns.begin_ids + self._tokenize(self._turns.prompt_text(messages), literal=False)
        pieces = self._turns.prompt_text(hidden).split(_LITERAL)
        ids = self._turns.begin_ids + self._tokenize(pieces[0], literal=False)
        for written_out, piece in zip(literals, pieces[1:], strict=True):
            ids += self.text_ids(written_out) + self._tokenize(piece, literal=False)
        return ids

    def _cut_content(self, messages: tuple[Message, ...], ids: Ids) -> Ids:
        """The conversation with one turn's content cut to what fits; only its last ids where the frame does not fit."""
        limit = self.config.max_prompt_tokens
        system = sum(m.role == "system" for m in messages)
        index = min(system, len(messages) - 1) if self.config.truncation_side == "left" else len(messages) - 1
        framed = (*messages[:index], Message(messages[index].role, _CUT), *messages[index + 1 :])
        head, found, tail = self._turns.prompt_text(framed).partition(_CUT)
        head_ids = self._turns.begin_ids + self._tokenize(head, literal=False)
        tail_ids = self._tokenize(tail, literal=False)
        room = limit - len(head_ids) - len(tail_ids)
        if not found or room < 1:
            return ids[-limit:]
        return head_ids + self._keep(self.text_ids(messages[index].content), room) + tail_ids


def shorter_conversations(messages: tuple[Message, ...], side: str) -> list[tuple[Message, ...]]:
    """The conversation without its oldest (side=left) or newest (side=right) turns, longest first.

    Each keeps the system turn, and begins (left) or ends (right) with a user turn.
    """
    system = tuple(m for m in messages if m.role == "system")
    body = tuple(m for m in messages if m.role != "system")
    users = [i for i, m in enumerate(body) if m.role == "user"]
    if side == "left":
        return [system + body[i:] for i in users if i > 0]
    return [system + body[: i + 1] for i in reversed(users) if i + 1 < len(body)]


def _special_pattern(tokenizer: Any) -> re.Pattern[str]:
    """Matches any special token written out as text, and this module's own stand-in."""
    written = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    written |= {_LITERAL, _CUT}
    return re.compile("|".join(re.escape(t) for t in sorted(written, key=len, reverse=True)))
