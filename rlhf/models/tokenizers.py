"""Tokenizers: the byte tokenizer of random models, and what every loaded tokenizer needs before training."""

from __future__ import annotations

import logging
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rlhf.errors import ModelError

logger = logging.getLogger(__name__)

BYTE_SPECIAL_TOKENS = ("<pad>", "<eos>", "<|system|>", "<|user|>", "<|assistant|>")
BYTE_CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# tokens that vocabularies reserve, best first; a token of a conversation must never become padding
PAD_CANDIDATES = (
    "<|pad|>",
    "<pad>",
    "[PAD]",
    "<|finetune_right_pad_id|>",
    "<|endoftext|>",
    "<|reserved_special_token_0|>",
)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Token i is byte i (0-255), then <pad>, <eos> and three role tokens. Every text survives encode and decode."""
    alphabet = _byte_alphabet()
    tokenizer = Tokenizer(models.BPE(vocab={character: byte for byte, character in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in BYTE_SPECIAL_TOKENS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        additional_special_tokens=list(BYTE_SPECIAL_TOKENS[2:]),
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = BYTE_CHAT_TEMPLATE
    return fast


def prepare_tokenizer(
    tokenizer: PreTrainedTokenizerBase, chat_template: str | None, *, vocabulary_size: int | None = None
) -> PreTrainedTokenizerBase:
    """Give `tokenizer` a padding token of its own where it can have one, and the chat template of a jinja file.

    A tokenizer without padding token, or that pads with its end-of-sequence token, takes a reserved token of its
    vocabulary; failing that a new token, if the model's embedding (`vocabulary_size` rows) has room; failing that the
    end-of-sequence token. The last is safe here: masks come from lengths, never from comparing ids with the padding
    token. `padding_side` is left alone: `PackedForward` (right) and the sampler (left) lay rows out themselves.

    Raises ModelError for a chat template that cannot be read and a tokenizer without end-of-sequence token.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-sequence token: answers could never end; set tokenizer.eos_token")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        _choose_pad_token(tokenizer, vocabulary_size)
    if chat_template is not None:
        tokenizer.chat_template = _read_template(chat_template)
    tokenizer.clean_up_tokenization_spaces = False
    return tokenizer


def _choose_pad_token(tokenizer: PreTrainedTokenizerBase, vocabulary_size: int | None) -> None:
    vocabulary = tokenizer.get_vocab()
    taken = {tokenizer.eos_token, tokenizer.bos_token}
    for token in PAD_CANDIDATES:
        if token in vocabulary and token not in taken:
            tokenizer.pad_token = token
            return
    if vocabulary_size is not None and len(tokenizer) < vocabulary_size:
        tokenizer.add_special_tokens({"pad_token": PAD_CANDIDATES[0]})
        return
    logger.info("no token is free for padding; %r pads (masks do not depend on it)", tokenizer.eos_token)
    tokenizer.pad_token = tokenizer.eos_token


def _read_template(path: str) -> str:
    file = Path(path).expanduser()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"model.chat_template must be a readable jinja file; got {path!r}: {error}") from error


def _byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in byte-level BPE (Radford et al. 2019, GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
