"""When an answer ends: end-of-sequence tokens, stop strings, the token limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from rlhf.errors import ConfigError
from rlhf.types import FinishReason

MARGIN_TOKENS = 8  # decoded before a possible stop string, so that its first bytes are not a decoder's special case


class StoppingRule:
    """Tells after each token whether an answer is over, and cuts its text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: nn.Module, stop: Sequence[str], max_new_tokens: int):
        """Raises ConfigError for a stop string that contains a special token: decoded answers never show one."""
        self.tokenizer = tokenizer
        self.max_new_tokens = max_new_tokens
        self.eos_ids = eos_token_ids(tokenizer, model)
        special = {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}
        self.stop_ids = {special[text] for text in stop if text in special} - self.eos_ids
        self.stop = tuple(text for text in stop if text not in special)
        for text in self.stop:
            inside = [token for token in special if token in text]
            if inside:
                raise ConfigError(
                    f"rollout.stop={text!r} holds the special token {inside[0]!r}, which decoded answers do not show; "
                    "give that token alone, or the text without it"
                )
        self._window = max((len(text.encode()) for text in self.stop), default=0) + MARGIN_TOKENS

    def finish(self, ids: Sequence[int]) -> FinishReason | None:
        """Why the answer `ids` ends after its last token, or None if it goes on."""
        if ids[-1] in self.eos_ids:
            return "eos"
        if ids[-1] in self.stop_ids or (self.stop and self._stopped(ids)):
            return "stop"
        return "length" if len(ids) >= self.max_new_tokens else None

    def text(self, ids: Sequence[int], finish: FinishReason) -> str:
        """The answer without special tokens, cut before its stop string."""
        text = self._decode(ids)
        found = [text.index(stop) for stop in self.stop if stop in text] if finish == "stop" else []
        return text[: min(found)] if found else text

    def _stopped(self, ids: Sequence[int]) -> bool:
        """The last tokens decide whether a whole decode, which is exact, is worth its time."""
        tail = self._decode(ids[-self._window :])
        if not any(stop in tail for stop in self.stop):
            return False
        text = self._decode(ids) if len(ids) > self._window else tail
        return any(stop in text for stop in self.stop)

    def _decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


def eos_token_ids(tokenizer: PreTrainedTokenizerBase, model: nn.Module) -> set[int]:
    """Every token that ends an answer: the tokenizer's, and all of the model's generation configuration."""
    found: set[int] = set()
    for value in (tokenizer.eos_token_id, _generation_eos(model)):
        found |= set(value) if isinstance(value, (list, tuple)) else {value}
    return {int(token) for token in found if token is not None}


def _generation_eos(model: nn.Module) -> Any:
    return getattr(getattr(model, "generation_config", None), "eos_token_id", None)
