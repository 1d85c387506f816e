from __future__ import annotations

import json

import pytest

from rlhf.data.loading import demonstrations_from, pairs_from, prompts_from
from rlhf.data.rules import DataReport, pair_reasons
from rlhf.errors import DataError


def pair(chosen, rejected, prompt="q"):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


GOOD = pair("good", "bad")
# With max_answer_tokens=8, min_answer_tokens=2, max_prompt_tokens=20: one id a byte, 3 ids around a prompt.
EXAMPLES = {
    "empty_answer": pair("", "bad"),
    "tie": pair("same", " same "),
    "prefix": pair("good", "good bad"),
    "too_short": pair("x", "bad"),
    "identical_after_truncation": pair("12345678a", "12345678b"),
    "prompt_too_long": pair("good", "bad", prompt="q" * 30),
}
LIMITS = {"max_answer_tokens": 8, "min_answer_tokens": 2, "max_prompt_tokens": 20}
KEEP = dict.fromkeys(EXAMPLES, "keep") | {"prompt_too_long": "truncate"}


@pytest.mark.parametrize("reason", EXAMPLES)
def test_drop(make_renderer, reason):
    renderer = make_renderer(**LIMITS, rules=KEEP | {reason: "drop"})
    pairs = pairs_from([GOOD, EXAMPLES[reason], GOOD], renderer)
    assert [p.chosen for p in pairs.examples] == ["good", "good"]
    assert (pairs.report.read, pairs.report.kept) == (3, 2)
    assert dict(pairs.report.dropped) == dict(pairs.report.counted) == {reason: 1}


@pytest.mark.parametrize("reason", EXAMPLES)
def test_keep_counts(make_renderer, reason):
    pairs = pairs_from([GOOD, EXAMPLES[reason]], make_renderer(**LIMITS, rules=KEEP))
    assert len(pairs.examples) == 2
    assert not pairs.report.dropped
    assert pairs.report.counted[reason] == 1


@pytest.mark.parametrize("reason", EXAMPLES)
def test_error_names_the_row_and_the_rule(make_renderer, reason):
    renderer = make_renderer(**LIMITS, rules=KEEP | {reason: "error"})
    with pytest.raises(DataError, match=rf"memory:1: .*dataset\.rules\.{reason}=error"):
        pairs_from([GOOD, EXAMPLES[reason]], renderer)


def test_what_the_texts_of_a_pair_say():
    assert pair_reasons("a", "b") == []
    assert pair_reasons(" ", "b") == ["empty_answer"]
    assert pair_reasons("", " ") == ["empty_answer", "tie"]
    assert pair_reasons("a ", "a") == ["tie"]
    assert pair_reasons("a", "a b") == pair_reasons("a b", "a") == ["prefix"]


def test_an_example_is_dropped_for_one_reason_only(make_renderer):
    report = pairs_from([GOOD, pair("", "")], make_renderer(**LIMITS)).report
    assert dict(report.counted) == dict(report.dropped) == {"empty_answer": 1}


def test_an_answer_of_exactly_the_limit_is_cut_but_one_below_is_not(make_renderer):
    report = pairs_from(
        [pair("1234567", "12345678")], make_renderer(**LIMITS)
    ).report  # 7 and the end token; 8 and no room
    assert report.truncated_answers == 1
    assert report.answer_tokens == [8, 8]


def test_too_short_does_not_count_the_end_token(make_renderer):
    renderer = make_renderer(min_answer_tokens=3)
    report = pairs_from([pair("abc", "de"), GOOD], renderer).report
    assert dict(report.dropped) == {"too_short": 1}


def test_rules_of_demonstrations_and_prompts(make_renderer):
    renderer = make_renderer(**LIMITS, rules={"prompt_too_long": "drop"})
    rows = [{"prompt": "q", "answer": a} for a in ("fine", " ", "x")] + [{"prompt": "q" * 30, "answer": "fine"}]
    assert dict(demonstrations_from(rows, renderer).report.dropped) == {
        "empty_answer": 1,
        "too_short": 1,
        "prompt_too_long": 1,
    }
    prompts = prompts_from(["q", "q" * 30], renderer)
    assert [p.id for p in prompts.examples] == ["memory-0"]
    assert dict(prompts.report.dropped) == {"prompt_too_long": 1}


def test_no_example_left_is_an_error_with_the_counts(make_renderer):
    with pytest.raises(DataError, match=r"memory \(train\): no pairs left of 3 rows; dropped: tie 2, empty_answer 1"):
        pairs_from([pair("a b", "a b"), pair("c", ""), pair("d d", "d d")], make_renderer())


def test_the_report_in_words_and_as_json(make_renderer):
    rows = [GOOD, EXAMPLES["tie"], EXAMPLES["prefix"], EXAMPLES["prompt_too_long"]]
    report = pairs_from(rows, make_renderer(**LIMITS), name="mine").report
    assert report.lines() == [
        "mine (train, pairs): 3 pairs of 4 rows",
        "  dropped: tie 1",
        "  kept though: prefix 1, prompt_too_long 1",
        "  cut to the limit: 1 prompts, 1 answers",  # "good bad" is 8 bytes, so its end token has no room
        "  prompt tokens: mean 9, longest 20",  # (4 + 4 + 20) / 3
        "  answer tokens: mean 5, longest 8",  # (5 + 4 + 5 + 8 + 5 + 4) / 6
    ]
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["dropped"] == {"tie": 1}
    assert (plain["read"], plain["kept"], plain["answer_tokens"], plain["longest_prompt_tokens"]) == (4, 3, 31, 20)
    assert DataReport(source="x", kind="pairs", split="train").lines() == ["x (train): 0 pairs of 0 rows"]
