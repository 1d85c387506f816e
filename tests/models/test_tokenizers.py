"""The byte tokenizer, and what tokenizers need before training."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rlhf.errors import ModelError
from rlhf.models.tokenizers import byte_tokenizer, prepare_tokenizer

TOKENIZER = byte_tokenizer()


@given(st.text().filter(lambda text: not any(t in text for t in TOKENIZER.all_special_tokens)))
def test_every_text_survives(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert ids == list(text.encode())
    assert TOKENIZER.decode(ids) == text


def test_save_and_load(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    turn = [{"role": "user", "content": "Grüße"}]
    for tokenizer in (TOKENIZER, loaded):
        ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert ids == [259, *"Grüße".encode(), 257, 260]
    assert (len(loaded), loaded.pad_token_id, loaded.eos_token_id) == (261, 256, 257)
    assert loaded.decode([72, 257, 260], skip_special_tokens=True) == "H"


def words(*special: str, **roles: str) -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(["a", "b", *special])}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="a")))
    for role, token in roles.items():
        setattr(tokenizer, role, token)
    return tokenizer


def test_a_padding_token_of_its_own_is_kept():
    assert prepare_tokenizer(words("<e>", "<p>", eos_token="<e>", pad_token="<p>"), None).pad_token == "<p>"


@pytest.mark.parametrize("roles", [{"eos_token": "<e>"}, {"eos_token": "<e>", "pad_token": "<e>"}])
def test_a_reserved_token_becomes_padding(roles):
    tokenizer = prepare_tokenizer(words("<e>", "<|endoftext|>", **roles), None, vocabulary_size=100)
    assert (tokenizer.pad_token, len(tokenizer)) == ("<|endoftext|>", 4)


def test_a_new_token_only_where_the_embedding_has_room():
    roomy = prepare_tokenizer(words("<e>", eos_token="<e>"), None, vocabulary_size=4)
    assert (roomy.pad_token, roomy.pad_token_id) == ("<|pad|>", 3)
    for size in (3, None):
        full = prepare_tokenizer(words("<e>", eos_token="<e>", pad_token="<e>"), None, vocabulary_size=size)
        assert (full.pad_token, len(full)) == ("<e>", 3)


def test_the_end_of_sequence_token_is_never_taken_for_padding_while_another_is_free():
    tokenizer = words("<|endoftext|>", "<pad>", eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    assert prepare_tokenizer(tokenizer, None).pad_token == "<pad>"


def test_a_tokenizer_that_cannot_end_an_answer_is_refused():
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        prepare_tokenizer(words(), None)


def test_chat_template_from_a_file(tmp_path):
    (tmp_path / "t.jinja").write_text("{{ messages[0]['content'] }}!")
    tokenizer = prepare_tokenizer(byte_tokenizer(), str(tmp_path / "t.jinja"))
    assert tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "x!"
    with pytest.raises(ModelError, match=r"model\.chat_template .* 'nowhere\.jinja'"):
        prepare_tokenizer(byte_tokenizer(), "nowhere.jinja")
