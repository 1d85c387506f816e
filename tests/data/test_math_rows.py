"""Rows of mathematics in every shape that datasets have them; the verdict stands beside each."""

import os
from functools import cache
from pathlib import Path

import pytest

from rlhf.config.compose import compose
from rlhf.data.columns import detect_format
from rlhf.data.formats import RowParser
from rlhf.data.math_rows import is_math, last_box, math_row
from rlhf.data.rows import Row, read_file
from rlhf.errors import DataError

REAL = os.environ.get("RLHF_REAL_DATA")


def row(**values):
    return Row(values, "rows.jsonl:7")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{4}", "4"),
        (r"\boxed{ 4 }", "4"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{x^{2^{3}}} is it", "x^{2^{3}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),  # escaped braces of a set do not count
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"a line\\\boxed{3}", "3"),
        (r"\boxed 4", "4"),
        (r"\boxed4 and more", "4"),
        (r"\fbox{7}", "7"),
        (r"\boxed {8}", "8"),
        (r"\boxed{\boxed{9}}", "{9}"),
        (r"\boxed{}", ""),
        (r"\boxedvalue{1}", None),  # another command
        ("nothing here", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_last_box(text, found):
    assert last_box(text) == found


@pytest.mark.parametrize("text", [r"\boxed{4", r"\boxed{1} and \boxed{\frac{1}{2}", r"\boxed{\}"])
def test_a_box_that_does_not_close_is_no_answer(text):
    with pytest.raises(ValueError, match="not closed"):
        last_box(text)


@pytest.mark.parametrize(
    ("values", "answer", "solution"),
    [
        ({"problem": "q", "solution": r"so \boxed{5}"}, "5", r"so \boxed{5}"),
        ({"problem": "q", "answer": r"\frac12"}, r"\frac12", None),
        ({"problem": "q", "answer": "5", "solution": "because"}, "5", "because"),
        ({"question": "q", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"}, "7", "3 + 4 = 7"),
        ({"question": "q", "answer": "#### 1,234,567"}, "1234567", None),
        ({"question": "q", "answer": "not #### 1 but\n#### 2"}, "2", "not #### 1 but"),
        ({"question": "q", "answer": "#### -12.50"}, "-12.50", None),
        ({"question": "q", "answer": " 12 "}, "12", None),
        ({"question": "q", "answer": "(1,234)"}, "(1,234)", None),  # a pair, not a number with thousands
        ({"question": "q", "answer": "12,34"}, "12,34", None),
        ({"question": "q", "answer": 12}, "12", None),
        ({"question": "q", "answer": 0.5}, "0.5", None),
        ({"prompt": "q", "answer": "a word"}, "a word", None),
        ({"problem": "q", "answer": "0", "solution": None}, "0", None),
        ({"problem": "q", "answer": None, "solution": r"\boxed{5}"}, "5", r"\boxed{5}"),
    ],
)  # fmt: skip
def test_every_shape_comes_to_question_answer_and_solution(values, answer, solution):
    found = math_row(row(**values))
    assert (found.question, found.answer, found.solution) == ("q", answer, solution)


def test_metadata_is_the_same_whatever_the_columns_are_called():
    mine = math_row(row(problem="q", answer="1", type="Algebra", level="Level 3", unique_id="a/1"))
    theirs = math_row(row(problem="q", answer="1", subject="Algebra", level=3, unique_id="a/1"))
    assert mine.metadata == {"subject": "Algebra", "level": "Level 3", "unique_id": "a/1"}
    assert theirs.metadata == {"subject": "Algebra", "level": "3", "unique_id": "a/1"}


def test_columns_of_other_names():
    found = math_row(row(aufgabe="q", ergebnis="#### 3"), question="aufgabe", answer="ergebnis")
    assert (found.question, found.answer) == ("q", "3")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"problem": "q", "solution": "no box"}, r"column 'solution' has no \boxed{}"),
        ({"problem": "q", "solution": r"\boxed{1"}, "column 'solution': a box is opened and not closed"),
        ({"problem": "q", "solution": r"\boxed{ }"}, "the answer is empty"),
        ({"question": "q", "answer": "worked out, then ####"}, "the answer is empty"),
        ({"question": "q", "answer": ""}, "the answer is empty"),
        ({"question": " ", "answer": "1"}, "the question is empty"),
        ({"question": "q"}, "a row of mathematics has a problem or question, and a solution or answer"),
        ({"answer": "1"}, "its columns: answer"),
        ({"question": ["q"], "answer": "1"}, "column 'question' must be text; got list"),
        ({"question": "q", "answer": {"value": 1}}, "column 'answer' must be text; got dict"),
        ({"question": "q", "answer": True}, "column 'answer' must be text; got bool"),
    ],
)
def test_a_wrong_row_is_refused_with_file_and_line(values, said):
    with pytest.raises(DataError) as caught:
        math_row(row(**values))
    assert str(caught.value).startswith("rows.jsonl:7: ") and said in str(caught.value)


@cache
def dataset(*overrides):
    return compose(["stage=sft", "dataset=local", "dataset.path=x", *overrides]).dataset


def test_the_format_is_recognised_where_nothing_else_is():
    columns = dataset().columns
    assert detect_format({"problem": "q", "solution": r"\boxed{1}"}, columns) == "math"
    assert detect_format({"problem": "q", "answer": "1"}, columns) == "math"
    assert detect_format({"question": "q", "answer": "#### 1"}, columns) == "math"
    assert detect_format({"prompt": "q", "answer": "#### 1"}, columns) == "question_answer"  # as it always was
    assert not is_math({"question": "q", "answer": "Paris"})  # it may be any answer
    with pytest.raises(DataError, match="problem and solution"):
        detect_format({"question": "q", "answer": "Paris"}, columns)


def test_prompts_hold_the_answer_alone_and_demonstrations_the_way_to_it():
    gsm = row(question="How many?", answer="2 + 1 = <<2+1=3>>3\n#### 3")
    prompt = RowParser(dataset(), "prompts").parse(gsm, "id-0")
    assert (prompt.id, prompt.messages[0].content, prompt.reference_answer) == ("id-0", "How many?", "3")
    plain = RowParser(dataset(), "demonstrations").parse(gsm, "id-0")
    assert plain.answer == "2 + 1 = 3" and plain.prompt == prompt
    in_tags = RowParser(dataset("dataset.template=r1_zero"), "demonstrations").parse(gsm, "id-0")
    assert in_tags.answer == " 2 + 1 = 3 </think> <answer> 3 </answer>"
    assert in_tags.prompt.text.endswith("User: How many?\nAssistant: <think>")


def test_a_row_without_a_solution_is_no_demonstration(tmp_path):
    from rlhf.data.conversations import MalformedExample

    with pytest.raises(MalformedExample, match="no_solution"):
        RowParser(dataset("dataset.format=math"), "demonstrations").parse(row(problem="q", answer="1"), "id-0")


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="RLHF_REAL_DATA names the folder of real datasets")
@pytest.mark.parametrize(
    ("name", "rows"), [("gsm8k_train", 7473), ("gsm8k_test", 660), ("math_train", 1500), ("math_test", 500)]
)
def test_every_answer_of_real_data_is_found(name, rows):
    found = [math_row(r) for r in read_file(Path(REAL) / f"{name}.jsonl.gz")]
    assert len(found) == rows and all(f.answer for f in found)
    if name.startswith("gsm8k"):
        assert all(f.answer.lstrip("-").replace(".", "", 1).isdecimal() for f in found)
        assert not any("<<" in f.solution or "####" in f.solution for f in found)
