"""How a conversation becomes text: the tokenizer's chat template, or plain `Human:` and `Assistant:` turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlhf.data.transcripts import NAMES
from rlhf.errors import DataError, ModelError
from rlhf.types import Message

_PROBE = "PROBE ANSWER"


class ChatTurns:
    """The tokenizer's chat template (jinja2), with the header of the assistant's turn at the end of a prompt.

    A template may add text of its own: that of SmolLM2 opens every conversation without a system turn with "You are a
    helpful AI assistant named SmolLM, ...". It is kept, because the model was tuned with it; `dataset.system_prompt`
    replaces it.

    begin_ids   ids before every prompt; the template writes its own begin token, so none
    lead        text between the prompt and the answer's first character, " " in Mistral's template, mostly ""
    closing     text that the template writes after an assistant's turn at the end of a conversation
    end_id      the token that ends the assistant's turn: <|im_end|>, <|eot_id|>, ..., else the end-of-sequence token
    """

    begin_ids: tuple[int, ...] = ()

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        question = Message("user", "PROBE QUESTION")
        prompt = self.prompt_text([question])
        whole = self._apply([question, Message("assistant", _PROBE)], add_generation_prompt=False)
        before, found, after = whole.rpartition(_PROBE)
        if not found:
            raise ModelError(
                "the chat template leaves out the assistant's answer; name another with model.chat_template"
            )
        self.lead = before[len(prompt) :] if before.startswith(prompt) else ""
        self.closing = after
        self.end_id = self._end_of_turn(after)

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """The turns as text, special tokens written out, with the assistant's header at the end.

        Raises DataError with the template's own words where it refuses the turns (their roles or their order).
        """
        return self._apply(messages, add_generation_prompt=True)

    def whole_text(self, messages: Sequence[Message]) -> str:
        """The turns as text and nothing after them; raises as `prompt_text`."""
        return self._apply(messages, add_generation_prompt=False)

    def _apply(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        import jinja2  # here, because without a chat template nothing needs it

        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except jinja2.TemplateError as error:
            roles = ", ".join(m.role for m in messages)
            raise DataError(f"the chat template refuses a conversation of the turns {roles}: {error}") from error

    def _end_of_turn(self, after: str) -> int:
        special = {i for i, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        special |= set(self._tokenizer.all_special_ids)
        for token_id in self._tokenizer(after, add_special_tokens=False)["input_ids"] if after else ():
            if token_id in special:
                return token_id
        return end_of_sequence(self._tokenizer)


class PlainTurns:
    """Turns as in Anthropic's HH-RLHF: "\\n\\nHuman: ...\\n\\nAssistant:", a system turn as bare text at the beginning.

    Attributes as in ChatTurns; `begin_ids` is the begin token of tokenizers that put one before every text.
    """

    lead = " "
    closing = ""

    def __init__(self, tokenizer: Any) -> None:
        self.end_id = end_of_sequence(tokenizer)
        self.begin_ids = begin_of_text(tokenizer)

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """The turns as text, ending in "\\n\\nAssistant:"."""
        return self.whole_text(messages) + "\n\nAssistant:"

    def whole_text(self, messages: Sequence[Message]) -> str:
        """The turns as text and nothing after them."""
        return "".join(
            m.content if m.role == "system" else f"\n\n{NAMES.get(m.role, m.role.capitalize())}: {m.content}"
            for m in messages
        )


def begin_of_text(tokenizer: Any) -> tuple[int, ...]:
    """The begin token where the tokenizer puts one before every text, else nothing."""
    ids = tokenizer("a")["input_ids"]
    return (ids[0],) if ids and tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id else ()


def end_of_sequence(tokenizer: Any) -> int:
    """The end-of-sequence id. Raises ModelError where the tokenizer has none: no answer could end."""
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-sequence token (eos_token), so no answer could end")
    return tokenizer.eos_token_id
