from __future__ import annotations

from dataclasses import replace

import pytest

from rlhf.data.columns import detect_format
from rlhf.data.conversations import MalformedExample, split_strings
from rlhf.data.formats import RowParser
from rlhf.data.rows import Row
from rlhf.errors import DataError
from rlhf.types import Message


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def messages(*turns):
    return tuple(Message(turn["role"], turn["content"]) for turn in turns)


@pytest.fixture
def parse(make_config):
    """parse(kind, values, **config changes) -> example"""

    def run(kind, values, **changes):
        return RowParser(make_config(**changes), kind).parse(Row(values, "file.jsonl:7"), "toy-6")

    return run


TWICE = "\n\nHuman: a\n\nAssistant: x\n\nAssistant: "
HH = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (HH, "hh_transcripts"),
        (HH | {"prompt": "a"}, "pairs"),
        ({"chosen": "Q A", "rejected": "Q B"}, "pairs"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "pairs"),
        ({"chosen": [user("a"), assistant("b")], "rejected": [user("a"), assistant("c")]}, "pairs"),
        ({"prompt": "a"}, "prompts"),
        ({"prompt": "a", "answer": None}, "prompts"),
        ({"prompt": "a", "answer": "b"}, "question_answer"),
        ({"messages": [user("a"), assistant("b")]}, "messages"),
        ({"messages": [user("a")], "prompt": "a"}, "messages"),
    ],
)
def test_formats_are_told_by_the_columns(local_dataset, values, expected):
    assert detect_format(values, local_dataset.columns) == expected


def test_renamed_columns_are_looked_for(local_dataset):
    columns = replace(local_dataset.columns, prompt="question", answer="solution")
    assert detect_format({"question": "a", "solution": "b"}, columns) == "question_answer"


def test_columns_that_say_nothing_are_listed(parse):
    with pytest.raises(DataError, match=r"file\.jsonl:7: cannot tell the format from the columns 'problem', 'level'"):
        parse("prompts", {"problem": "a", "level": 1})


# --- pairs


def test_transcripts(parse):
    pair = parse("pairs", HH | {"source": "red team"})
    assert pair.prompt.messages == messages(user("a"))
    assert (pair.chosen, pair.rejected) == ("b", "c")
    assert pair.metadata == {"source": "red team"}
    assert pair.prompt.id == "toy-6"


def test_a_speaker_who_goes_on_has_one_turn(parse):
    head = "\n\nHuman: a\n\nHuman: b"
    pair = parse("pairs", {"chosen": head + "\n\nAssistant: c", "rejected": head + "\n\nAssistant: d"})
    assert pair.prompt.messages == messages(user("a\n\nb"))


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        ("Human: a", HH["rejected"], "not_a_transcript"),
        ("\n\nHuman: x\n\nAssistant: b", HH["rejected"], "prompts_differ"),
        ("\n\nHuman: a", HH["rejected"], "no_final_assistant_turn"),
        ("\n\nAssistant: b", "\n\nAssistant: c", "empty_prompt"),
        (TWICE + "b", TWICE + "c", "prompt_ends_with_assistant"),
    ],
)
def test_transcripts_that_hold_no_pair(parse, chosen, rejected, reason):
    with pytest.raises(MalformedExample) as error:
        parse("pairs", {"chosen": chosen, "rejected": rejected}, format="hh_transcripts")
    assert error.value.reason == reason


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": [user("a")], "chosen": "b", "rejected": "c"},
        {"prompt": [user("a")], "chosen": [assistant("b")], "rejected": [assistant("c")]},
        {"prompt": "a", "chosen": [user("a"), assistant("b")], "rejected": [user("a"), assistant("c")]},
        {"prompt": None, "chosen": [user("a"), assistant("b")], "rejected": [user("a"), assistant("c")]},
        {"chosen": [user("a"), assistant("b")], "rejected": [user("a"), assistant("c")]},
    ],
)
def test_pairs_in_every_shape(parse, values):
    pair = parse("pairs", values)
    assert pair.prompt.messages == messages(user("a"))
    assert (pair.chosen, pair.rejected) == ("b", "c")
    assert pair.margin is None


def test_implicit_prompts_of_conversations_hold_all_turns_but_the_last(parse):
    head = [{"role": "system", "content": "s"}, user("a"), assistant("b"), user("c")]
    pair = parse("pairs", {"chosen": [*head, assistant("same")], "rejected": [*head, assistant("same")]})
    assert pair.prompt.messages == messages(*head)  # though the answers are a tie
    assert (pair.chosen, pair.rejected) == ("same", "same")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"chosen": [user("a"), assistant("b")], "rejected": [user("x"), assistant("c")]}, "prompts_differ"),
        ({"chosen": [user("a")], "rejected": [user("a"), assistant("c")]}, "no_final_assistant_turn"),
        ({"chosen": [], "rejected": []}, "no_final_assistant_turn"),
        (
            {"prompt": "a", "chosen": [assistant("b"), user("d")], "rejected": [assistant("c")]},
            "answer_is_not_one_turn",
        ),
        ({"prompt": "  ", "chosen": "b", "rejected": "c"}, "empty_prompt"),
        ({"prompt": [], "chosen": "b", "rejected": "c"}, "empty_prompt"),
        ({"chosen": "yes", "rejected": "no"}, "empty_prompt"),
    ],
)
def test_pairs_that_hold_no_example(parse, values, reason):
    with pytest.raises(MalformedExample) as error:
        parse("pairs", values)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt", "answers"),
    [
        ("Q: 2+2? A: four", "Q: 2+2? A: five", "Q: 2+2? A:", (" four", " five")),  # not after the shared "f"
        ("Q A", "Q", "", ("Q A", "Q")),  # a side that ends inside the other shares no whole word boundary
        ("same text", "same text", "same", (" text", " text")),
        ("x\n\ny", "x\n\nz", "x", ("\n\ny", "\n\nz")),
    ],
)
def test_implicit_prompts_of_strings_end_at_a_word(chosen, rejected, prompt, answers):
    assert split_strings(chosen, rejected) == (prompt, answers)


def test_implicit_prompts_of_strings_stay_text(parse):
    pair = parse("pairs", {"chosen": "The sky is blue", "rejected": "The sky is red"})
    assert (pair.prompt.messages, pair.prompt.text) == ((), "The sky is")
    assert (pair.chosen, pair.rejected) == (" blue", " red")


def test_margins_and_ids(parse):
    values = {"prompt": "a", "chosen": "b", "rejected": "c", "score": "1.5", "key": 12}
    pair = parse("pairs", values, columns={"margin": "score", "id": "key"})
    assert (pair.margin, pair.prompt.id, dict(pair.metadata)) == (1.5, "12", {})
    with pytest.raises(DataError, match=r"file\.jsonl:7: column 'score' must be a number; got 'high'"):
        parse("pairs", values | {"score": "high"}, columns={"margin": "score"})


# --- other kinds


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"prompt": "a"}, messages(user("a"))),
        ({"prompt": [user("a"), assistant("b"), user("c")]}, messages(user("a"), assistant("b"), user("c"))),
        (
            {"prompt": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"},
            messages(user("a"), assistant("b"), user("c")),
        ),
        ({"prompt": "\n\nHuman: a"}, messages(user("a"))),
        ({"prompt": "a", "answer": "b"}, messages(user("a"))),
        ({"messages": [user("a"), assistant("b")]}, messages(user("a"))),
        ({"messages": [user("a")]}, messages(user("a"))),
        (HH, messages(user("a"))),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, messages(user("a"))),
    ],
)
def test_prompts_come_from_every_format(parse, values, expected):
    assert parse("prompts", values).messages == expected


def test_reference_answers_and_metadata_are_kept(parse):
    prompt = parse("prompts", {"question": "1+1?", "answer": "2", "level": 3}, columns={"prompt": "question"})
    assert (prompt.reference_answer, dict(prompt.metadata)) == ("2", {"level": 3})


def test_verbatim_keeps_strings(parse):
    prompt = parse("prompts", {"prompt": "Once upon"}, render="verbatim")
    assert (prompt.messages, prompt.text) == ((), "Once upon")


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        (HH, "b"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "b"),
        ({"prompt": "a", "answer": "b"}, "b"),
        ({"messages": [user("a"), assistant("b")]}, "b"),
    ],
)
def test_demonstrations_come_from_everything_with_an_answer(parse, values, answer):
    demonstration = parse("demonstrations", values)
    assert (demonstration.prompt.messages, demonstration.answer) == (messages(user("a")), answer)


def test_a_conversation_that_ends_with_the_user_demonstrates_nothing(parse):
    with pytest.raises(MalformedExample) as error:
        parse("demonstrations", {"messages": [user("a")]})
    assert error.value.reason == "no_final_assistant_turn"


@pytest.mark.parametrize(
    ("kind", "values", "changes", "what"),
    [
        ("pairs", {"prompt": "a", "answer": "b"}, {}, "holds no preference pairs"),
        ("demonstrations", {"prompt": "a"}, {}, "holds no answers"),
        ("pairs", {"chosen": "a"}, {"format": "pairs"}, r"no column 'rejected' \(dataset.format=pairs\)"),
        (
            "prompts",
            {"prompt": "a"},
            {"columns": {"prompt": "question"}},
            r"no column 'question' .*its columns: prompt",
        ),
        ("prompts", {"prompt": "a"}, {"columns": {"margin": "gap"}}, r"dataset\.columns\.margin=gap"),
        ("prompts", {"prompt": 3}, {}, "column 'prompt' must be text; got int"),
        ("prompts", {"messages": "hi"}, {}, "column 'messages' must be a list of turns; got str"),
        ("prompts", {"messages": [{"from": "human"}]}, {}, "turn 1: expected role and content"),
        (
            "prompts",
            {"messages": [user("a"), {"role": "gpt", "content": "b"}]},
            {},
            "turn 2: role must be one of system",
        ),
        (
            "prompts",
            {"messages": [{"role": "user", "content": None}]},
            {},
            "content text; got role 'user' and NoneType",
        ),
        (
            "pairs",
            {"prompt": "a", "chosen": "b", "rejected": [assistant("c")]},
            {},
            "must both be text or both be lists",
        ),
    ],
)
def test_rows_that_break_their_format_are_named(parse, kind, values, changes, what):
    with pytest.raises(DataError, match=what) as error:
        parse(kind, values, **changes)
    assert str(error.value).startswith("file.jsonl:7: ")
