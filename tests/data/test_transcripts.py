from __future__ import annotations

import pytest

from rlhf.data.conversations import MalformedExample, split_conversations
from rlhf.data.transcripts import merge_turns, parse_transcript
from rlhf.types import Message

USER, ASSISTANT = "user", "assistant"


def turns(*pairs):
    return tuple(Message(role, content) for role, content in pairs)


def split(chosen, rejected):
    return split_conversations(parse_transcript(chosen), parse_transcript(rejected))


def test_turns_of_a_transcript():
    text = "\n\nHuman: Hi: there\n\nnext line\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: See you. "
    assert parse_transcript(text) == turns(
        (USER, "Hi: there\n\nnext line"), (ASSISTANT, "Hello."), (USER, "Bye"), (ASSISTANT, "See you.")
    )


def test_a_header_inside_a_line_is_words():
    assert parse_transcript("\n\nHuman: a\nHuman: b\n\nAssistant: c Human: d") == turns(
        (USER, "a\nHuman: b"), (ASSISTANT, "c Human: d")
    )


def test_text_without_a_header_at_its_beginning_is_not_a_transcript():
    assert parse_transcript("Hi\n\nHuman: a\n\nAssistant: b") is None
    assert parse_transcript("") is None


def test_split_at_the_last_assistant_turn():
    head = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c"
    prompt, answers = split(head + "\n\nAssistant: good", head + "\n\nAssistant: bad")
    assert prompt == turns((USER, "a"), (ASSISTANT, "b"), (USER, "c"))
    assert answers == ("good", "bad")


@pytest.mark.parametrize("tail", ["\n\nAssistant:", "\n\nAssistant: ", "\n\nAssistant: \n"])
def test_an_empty_answer_is_an_answer(tail):
    assert split("\n\nHuman: a" + tail, "\n\nHuman: a\n\nAssistant: b") == (turns((USER, "a")), ("", "b"))


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        ("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d", "\n\nHuman: a\n\nAssistant: b", "prompts_differ"),
        ("\n\nHuman: a\n\nAssistant: x", "\n\nHuman: b\n\nAssistant: x", "prompts_differ"),
        ("\n\nHuman: a\n\nAssistant: b\n\nAssistant: c", "\n\nHuman: a\n\nAssistant: d", "prompts_differ"),
        ("\n\nHuman: a\n\nAssistant: b\n\nHuman: c", "\n\nHuman: a\n\nAssistant: d", "no_final_assistant_turn"),
    ],
)
def test_sides_that_answer_different_prompts(chosen, rejected, reason):
    with pytest.raises(MalformedExample) as error:
        split(chosen, rejected)
    assert error.value.reason == reason


def test_neighbouring_turns_of_one_speaker_become_one():
    assert merge_turns(turns((USER, "a"), (USER, "b"), (ASSISTANT, ""), (ASSISTANT, "c"))) == turns(
        (USER, "a\n\nb"), (ASSISTANT, "c")
    )
