"""Which pairs and answers become examples, and the replies that are taught; statistics of the scores."""

from dataclasses import replace
from functools import cache

import pytest

from rlhf.config.compose import compose
from rlhf.config.score_prompts import load_score_prompt
from rlhf.rewards.score_parsers import parse_score
from rlhf.teacher.examples import build_examples, order_of
from rlhf.teacher.statistics import split_statistics
from rlhf.teacher.types import Scored
from tests.teacher.conftest import questions


def scored(q, preferred, other, reasons=("the preferred", "the other"), **more):
    """Scores and reasons by kind of answer, put on the sides where the answers stand."""
    turned = q.preferred_side == 1
    scores, reasons = ((other, preferred), reasons[::-1]) if turned else ((preferred, other), reasons)
    return Scored(tuple(map(float, scores)), reasons, **more)


ASKED = questions(5)
SAID = [
    scored(ASKED[0], 5, 2),
    scored(ASKED[1], 2, 4),
    scored(ASKED[2], 3, 3),
    Scored(None, failure="cost cap"),
    scored(ASKED[4], 4, 1),
]


@cache
def teacher():
    return compose(["stage=teacher"]).teacher


def built(said=SAID, score_prompt="score_first_5", **changes):
    return build_examples(ASKED, said, replace(teacher(), **changes), load_score_prompt(score_prompt))


def test_orders():
    assert [order_of(q, s) for q, s in zip(ASKED, SAID, strict=True)] == ["right", "wrong", "tie", None, "right"]


@pytest.mark.parametrize(
    ("changes", "kept", "dropped"),
    [
        ({}, {0: [5, 2], 4: [4, 1]}, {"wrong order": 1, "tie": 1, "cost cap": 1}),
        ({"keep": "all"}, {0: [5, 2], 1: [2, 4], 2: [3, 3], 4: [4, 1]}, {"cost cap": 1}),
        ({"sides": "preferred"}, {0: [5], 4: [4]}, {"wrong order": 1, "tie": 1, "cost cap": 1}),
        ({"sides": "other", "keep": "all"}, {0: [2], 1: [4], 2: [3], 4: [1]}, {"cost cap": 1}),
    ],
)
def test_what_is_kept(changes, kept, dropped):
    examples = built(**changes)
    found = {}
    for row in examples.rows:
        asked = next(q for q in ASKED if q.pair_id == row["pair_id"])
        preferred = row["side"] == asked.preferred_side
        found.setdefault(ASKED.index(asked), []).append((not preferred, row["score"]))
        assert row["messages"][0]["content"] == asked.requests[row["side"]].messages[0].content
        assert row["id"] == f"{row['pair_id']}/{row['side']}"
    assert {i: [score for _, score in sorted(each)] for i, each in found.items()} == kept
    assert examples.dropped == dropped and not examples.left_out


@pytest.mark.parametrize(
    ("score_prompt", "reason", "reply"),
    [
        ("score_first_5", True, "<s>5</s> the preferred"),
        ("score_first_5", False, "<s>5</s>"),
        ("reason_first_5", True, "the preferred <s>5</s>"),
        ("reason_first_5", False, "<s>5</s>"),
        ("pros_cons_100", True, "the preferred\n<s>5</s>"),
        ("concise_5", True, "<s>5</s>"),
    ],
)
def test_the_reply_has_the_form_of_the_score_prompt(score_prompt, reason, reply):
    rows = built(reason=reason, sides="preferred", score_prompt=score_prompt).rows
    assert rows[0]["messages"][-1] == {"role": "assistant", "content": reply}
    assert parse_score(reply, load_score_prompt(score_prompt)).value == 5


@pytest.mark.parametrize(
    ("score_prompt", "reason", "left_out"),
    [
        ("score_first_5", "", {"no reason given": 1}),
        ("reason_first_5", "better than <s>1</s>", {}),  # the last tag counts: still read as the score
        ("score_first_5", "better than <s>1</s>", {}),  # the first does
        ("reason_first_5", "an open <s>", {}),
    ],
)
def test_an_answer_without_a_usable_reason_is_left_out(score_prompt, reason, left_out):
    said = [scored(ASKED[0], 5, 2, (reason, "fine")), *SAID[1:]]
    examples = built(sides="preferred", said=said, score_prompt=score_prompt)
    assert examples.left_out == left_out and len(examples.rows) == 2 - sum(left_out.values())


def test_a_reason_that_changes_what_is_read_is_left_out(tmp_path):
    """The reply form puts the reason before the score, and the parser takes the first tag."""
    path = tmp_path / "odd.yaml"
    plain = load_score_prompt("concise_5").prompt.replace("\n", "\n  ")
    path.write_text(
        f"system: null\nprompt: |-\n  {plain}\nparser: first_tag\nlowest: 1\nhighest: 5\nreply: $reason <s>$score</s>\n"
    )
    said = [scored(ASKED[0], 5, 2, ("not <s>1</s>", "fine")), *SAID[1:]]
    examples = built(sides="preferred", said=said, score_prompt=str(path))
    assert examples.left_out == {"the reason breaks the form of the reply": 1} and len(examples.rows) == 1


def test_statistics_by_hand():
    """Agreement (1 + 0 + 1/2 + 1) / 4; scores 5 2, 2 4, 3 3, 4 1: mean 3, preferred 3.5, others 2.5."""
    said = [*SAID[:4], scored(ASKED[4], 4, 1, cost_usd=0.5, input_tokens=7, output_tokens=3, cached=True)]
    stats = split_statistics(ASKED, said, built(), range(1, 6))
    assert (stats["pairs"], stats["scored"], stats["right"], stats["wrong"], stats["tie"]) == (5, 4, 2, 1, 1)
    assert stats["agreement"]["mean"] == 0.625 and stats["agreement"]["low"] < 0.625 < stats["agreement"]["high"]
    assert stats["failures"] == {"cost cap": 1} and stats["examples"] == 4
    spread = stats["scores"]
    assert (spread["mean"], spread["preferred_mean"], spread["other_mean"]) == (3.0, 3.5, 2.5)
    assert spread["std"] == pytest.approx((12 / 8) ** 0.5)  # squares of 2 1 1 1 0 0 1 2: 12 in all
    assert spread["counts"] == {"1": 1, "2": 2, "3": 2, "4": 2, "5": 1} and spread["commonest_share"] == 0.25
    assert (stats["cost_usd"], stats["input_tokens"], stats["output_tokens"], stats["cached"]) == (0.5, 7, 3, 1)
    decided = [(q, s) for q, s in zip(ASKED, said, strict=True) if s.scores and s.scores[0] != s.scores[1]]
    assert stats["first_higher"]["mean"] == pytest.approx(sum(s.scores[0] > s.scores[1] for _, s in decided) / 3)


def test_statistics_without_any_score():
    said = [Scored(None, failure="deadline") for _ in ASKED]
    stats = split_statistics(ASKED, said, built(said=said), range(1, 6))
    assert stats["agreement"] is stats["scores"] is stats["first_higher"] is None
    assert stats["failures"] == {"deadline": 5}
