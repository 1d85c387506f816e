"""Scores that a model wrote: what is read, which of several, and why there is none."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.config.score_prompts import ScorePrompt, load_score_prompt, score_prompt_names
from rlhf.rewards.score_parsers import FAILURES, ParsedScore, parse_score


def scale(parser="first_tag", lowest=1, highest=5):
    return ScorePrompt("t", None, "$conversation $answer", parser, lowest, highest, "<s>$score</s>")


CASES = [
    # text, (value, failure, tags) with first_tag, with last_tag
    ("<s>4</s>", (4.0, None, 1), (4.0, None, 1)),
    ("because it helps.\n<s> 2.5 </s> so", (2.5, None, 1), (2.5, None, 1)),
    ("<s>\n+3\n</s>", (3.0, None, 1), (3.0, None, 1)),
    ("<s>4</s> or <s>2</s>", (4.0, None, 2), (2.0, None, 2)),
    ("<s>4</s> or <s>9</s>", (4.0, None, 2), (None, "out_of_range", 2)),
    ("<s>x</s><s>3</s><s>y</s>", (None, "not_a_number", 3), (None, "not_a_number", 3)),
    ("<s>4</s> and <s>5", (4.0, None, 2), (None, "unclosed", 2)),
    ("<s>4 <s>5</s>", (None, "unclosed", 2), (5.0, None, 2)),
    ("", (None, "missing", 0), (None, "missing", 0)),
    ("4", (None, "missing", 0), (None, "missing", 0)),
    ("4</s>", (None, "missing", 0), (None, "missing", 0)),
    ("</s>4<s>", (None, "unclosed", 1), (None, "unclosed", 1)),
    ("<S>4</S>", (None, "missing", 0), (None, "missing", 0)),
    ("<s></s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),
    ("<s>four</s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),
    ("<s>4/5</s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),
    ("<s>4 5</s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),
    ("<s>1e0</s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),
    ("<s>nan</s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),
    ("<s>inf</s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),
    ("<s>٣</s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),  # a digit, but no ASCII digit
    ("<s>1_0</s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),
    ("<s>.5</s>", (None, "not_a_number", 1), (None, "not_a_number", 1)),
    ("<s>0</s>", (None, "out_of_range", 1), (None, "out_of_range", 1)),
    ("<s>5.01</s>", (None, "out_of_range", 1), (None, "out_of_range", 1)),
    ("<s>-3</s>", (None, "out_of_range", 1), (None, "out_of_range", 1)),
    (f"<s>{'9' * 400}</s>", (None, "out_of_range", 1), (None, "out_of_range", 1)),  # overflows a float
]


@pytest.mark.parametrize(("text", "first", "last"), CASES, ids=[repr(case[0])[:30] for case in CASES])
def test_what_is_read(text, first, last):
    assert parse_score(text, scale("first_tag")) == ParsedScore(*first)
    assert parse_score(text, scale("last_tag")) == ParsedScore(*last)


def test_every_reason_is_met_above():
    assert {case[1][1] for case in CASES} - {None} == set(FAILURES)


def test_both_ends_of_the_scale_are_on_it():
    wide = scale(lowest=0, highest=100)
    assert [parse_score(f"<s>{n}</s>", wide).value for n in (0, 100)] == [0.0, 100.0]
    assert [parse_score(f"<s>{n}</s>", wide).failure for n in (-1, 101)] == ["out_of_range"] * 2


@given(text=st.text(alphabet="<>/s 0123456789.x-\n", max_size=40), parser=st.sampled_from(["first_tag", "last_tag"]))
@settings(max_examples=300, deadline=None)
def test_a_score_is_on_the_scale_or_there_is_one_reason(text, parser):
    found = parse_score(text, scale(parser))
    assert (found.value is None) == (found.failure is not None)
    assert found.value is None or 1 <= found.value <= 5
    assert found.failure is None or found.failure in FAILURES
    assert found.tags == text.count("<s>")


@given(
    name=st.sampled_from(score_prompt_names()),
    share=st.floats(0, 1),
    reason=st.text(alphabet="abc $.\n<>", max_size=30),
)
@settings(max_examples=200, deadline=None)
def test_a_right_reply_is_read_back_with_every_prompt(name, share, reason):
    score_prompt = load_score_prompt(name)
    score = score_prompt.lowest + share * (score_prompt.highest - score_prompt.lowest)
    found = parse_score(score_prompt.filled_reply(round(score, 6), reason), score_prompt)
    assert found.tags == 1 and math.isclose(found.value, score, abs_tol=1e-6)
