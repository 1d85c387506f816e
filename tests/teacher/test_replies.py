"""From replies to scores: what counts, what does not, and why."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.judges.cache import Reply
from rlhf.teacher.replies import SCORES, pieces_of, read_piece

FIVE = range(1, 6)


def reply(text, finish="stop", tokens=(100, 21), cost=0.03):
    return Reply(text, finish, *tokens, cost, "m")


def entry(number, a, b, reason="x"):
    return {"pair": number, "A": {"reason": reason, "score": a}, "B": {"reason": "y", "score": b}}


def read(text, n=1, finish="stop", levels=FIVE):
    return [read_piece(piece, levels) for piece in pieces_of(reply(text, finish), n)]


GOOD = [((4.0, 2.0), ("x", "y")), ((1.0, 5.0), ("x", "y"))]
BOTH = [entry(1, 4, 2), entry(2, 1, 5)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"pairs": BOTH}),
        json.dumps({"pairs": BOTH[::-1]}),
        json.dumps(BOTH),
        "\n".join(map(json.dumps, BOTH)),
        f"Here it is:\n```json\n{json.dumps({'pairs': BOTH}, indent=1)}\n```\nDone.",
        f"<think>{json.dumps({'pairs': [entry(1, 1, 1)]})}</think>{json.dumps({'pairs': BOTH})}",
        json.dumps({"pairs": [*BOTH, entry(2, 1, 5)]}),
        json.dumps({"pairs": [entry("1", "4", 2.0), entry(2, " 1", "5.0")]}),
    ],
)
def test_scores_are_read_wherever_they_clearly_stand(text):
    assert read(text, 2) == GOOD


@pytest.mark.parametrize(
    ("text", "finish", "said"),
    [
        ("I would say 4 and 2.", "stop", "no scores in the reply"),
        ("", "stop", "empty reply"),
        (None, "length", "cut at max_tokens"),
        ("let me think", "length", "cut at max_tokens"),
        ("x", "content_filter", "withheld by a content filter"),
        ("I cannot do that", "refusal", "the teacher refused"),
        (json.dumps({"pairs": [entry(1, 6, 2)]}), "stop", "a score is off the scale"),
        (json.dumps({"pairs": [entry(1, 0, 2)]}), "stop", "a score is off the scale"),
        (json.dumps({"pairs": [entry(1, 3.5, 2)]}), "stop", "a score is no whole number"),
        (json.dumps({"pairs": [entry(1, True, 2)]}), "stop", "a score is no whole number"),
        (json.dumps({"pairs": [entry(1, "four", 2)]}), "stop", "a score is no whole number"),
        (json.dumps({"pairs": [entry(1, 10**400, 2)]}), "stop", "a score is no whole number"),
        (json.dumps({"pairs": [entry(1, None, 2)]}), "stop", "a score is missing"),
        (json.dumps({"pairs": [{"pair": 1, "A": {"score": 3}}]}), "stop", "a score is missing"),
        (json.dumps({"pairs": [entry(1, 4, 2), entry(1, 2, 4)]}), "stop", "several scores for one answer"),
    ],
)
def test_what_is_not_clearly_a_score_is_none_with_a_reason(text, finish, said):
    assert read(text, finish=finish) == [said]


def test_one_bad_pair_does_not_spoil_the_others():
    text = json.dumps({"pairs": [entry(1, 4, 2), entry(2, 9, 5), entry(4, 1, 5)]})
    assert read(text, 4) == [GOOD[0], "a score is off the scale", "the reply leaves this pair out", GOOD[1]]


def test_a_reply_that_breaks_off_keeps_its_whole_pairs():
    text = json.dumps({"pairs": BOTH})
    assert read(text[: text.index('"pair": 2') + 20], 2, "length") == [GOOD[0], "cut at max_tokens"]


def test_reasons_may_be_left_out_and_lose_idle_space():
    assert read('{"pair": 1, "A": 4, "B": 2}') == [((4.0, 2.0), ("", ""))]
    told = entry(1, 4, 2, "  Pros:  clear. \n\n Cons: long.  ")
    assert read(json.dumps(told))[0][1][0] == "Pros: clear.\nCons: long."


@given(st.integers(1, 9), st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0, 10))
def test_the_pieces_share_out_what_the_reply_cost(n, tokens_in, tokens_out, cost):
    whole = reply(
        json.dumps({"pairs": [entry(i + 1, 1, 2) for i in range(n)]}), tokens=(tokens_in, tokens_out), cost=cost
    )
    pieces = pieces_of(whole, n)
    assert sum(p.input_tokens for p in pieces) == tokens_in and sum(p.output_tokens for p in pieces) == tokens_out
    assert sum(p.cost_usd for p in pieces) == pytest.approx(cost)
    assert max(p.input_tokens for p in pieces) - min(p.input_tokens for p in pieces) <= 1


@given(st.text(max_size=60), st.integers(1, 3), st.sampled_from(["stop", "length", None]))
def test_any_text_is_read_without_an_error(text, n, finish):
    assert len(read(text, n, finish)) == n


def test_the_schema_is_strict_in_the_sense_of_the_servers():
    """Every object names all its properties as required and takes no others."""

    def check(schema):
        if schema["type"] == "object":
            assert set(schema["required"]) == set(schema["properties"]) and schema["additionalProperties"] is False
            for inner in schema["properties"].values():
                check(inner)
        if schema["type"] == "array":
            check(schema["items"])

    check(SCORES.schema)
