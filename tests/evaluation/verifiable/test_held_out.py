"""Several graded answers to each held-out question: figures by hand, and an interval that knows how alike they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.config.verifiers import FROM_TEMPLATE
from rlhf.errors import RewardError
from rlhf.evaluation.statistics import wilson_interval
from rlhf.evaluation.verifiable.held_out import accuracy_interval, right_answer_metrics
from rlhf.evaluation.verifiable.measures import RIGHT, Graded
from rlhf.evaluation.verifiable.reading import answer_reader
from rlhf.types import Prompt, RewardScores, Rollout


def answers(*questions):
    """Rollouts of questions given as texts: "4 4 5" are three answers; 4 is right. An answer i is i + 1 tokens long."""
    rollouts, right = [], []
    for number, texts in enumerate(questions):
        prompt = Prompt(str(number), text="2 + 2", reference_answer="4", metadata={"extractor": "last_number"})
        for i, text in enumerate(texts.split()):
            rollouts.append(Rollout(prompt, (1,), tuple(range(i + 1)), (0.0,) * (i + 1), text, "eos", i))
            right.append(float(text == "4"))
    return rollouts, RewardScores(right, {"answer": right})


READ = answer_reader(FROM_TEMPLATE)


def test_figures_by_hand():
    """Four answers each: three of the first are right, one of the second (the 7s outvote it), none of the third."""
    found = right_answer_metrics(*answers("4 4 4 5", "7 7 4 none", "5 6 7 8"), READ)
    assert found["avg@4"] == pytest.approx(4 / 12)
    # 1 - C(1,2)/C(4,2) = 1, 1 - C(3,2)/C(4,2) = 1/2, 0
    assert found["pass@2"] == pytest.approx(1.5 / 3) and found["pass@4"] == pytest.approx(2 / 3)
    # of 6 pairs: 44 thrice, 45 thrice (a toss); 77, 74 twice (a toss), 4 and nothing, 7 and nothing twice
    assert found["maj@2"] == pytest.approx((4.5 / 6 + (2 * 0.5 + 1) / 6) / 3)
    assert found["maj@4"] == pytest.approx(1 / 3)
    # right: answers 1, 2, 3 of the first, 3 of the second; wrong: 4; 1, 2, 4; 1, 2, 3, 4
    assert found["response_length_right_tokens"] == pytest.approx(9 / 4)
    assert found["response_length_wrong_tokens"] == pytest.approx((4 + 7 + 10) / 8)
    assert "pass@1" not in found and 0 < found["avg_low"] < 4 / 12 < found["avg_high"] < 1


def test_no_right_answer_has_no_length():
    found = right_answer_metrics(*answers("5 5", "6 7"), READ)
    assert "response_length_right_tokens" not in found and found["avg@2"] == found["pass@2"] == found["maj@2"] == 0.0
    assert found["avg_low"] == 0.0 < found["avg_high"]


def test_a_reward_that_does_not_say_what_is_right_adds_nothing():
    rollouts, scores = answers("4 5")
    assert right_answer_metrics(rollouts, RewardScores(scores.total, {"format": scores.total}), READ) == {}
    with pytest.raises(
        RewardError, match=r"samples_per_prompt above 1: the component `answer` must lie between 0 and 1"
    ):
        right_answer_metrics(rollouts, RewardScores(scores.total, {"answer": [2.0, 0.0]}), READ)


def grades(*rows):
    """One string a question, 1 for a right answer."""
    rollouts, _ = answers(*(" ".join("4" if c == "1" else "5" for c in row) for row in rows))
    return Graded(rollouts, RewardScores([], {}), [RIGHT if c == "1" else "x" for row in rows for c in row])


def ends(interval):
    return interval.low, interval.high


def test_the_interval_counts_answers_that_are_alike_once():
    # answers to a question all the same: as good as one answer each
    assert ends(accuracy_interval(grades("1111", "0000", "1111", "0000"))) == pytest.approx(ends(wilson_interval(2, 4)))
    # every question the same share: as good as sixteen independent answers
    assert ends(accuracy_interval(grades("1100", "1010", "0011", "0101"))) == pytest.approx(
        ends(wilson_interval(8, 16))
    )
    # one answer each is Wilson's; all right says nothing of how alike they are
    assert ends(accuracy_interval(grades(*"1110"))) == pytest.approx(ends(wilson_interval(3, 4)))
    assert ends(accuracy_interval(grades("111", "111"))) == pytest.approx(ends(wilson_interval(2, 2)))


def test_in_between_by_hand():
    """Shares 1, 1/2, 1/2, 0: p = 1/2, Var of their mean = (1/4 + 1/4) / 3 / 4 = 1/24; 1/4 / (1/24) = 6 answers of 8."""
    assert ends(accuracy_interval(grades("11", "10", "01", "00"))) == pytest.approx(ends(wilson_interval(3, 6)))


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.text("01", min_size=n, max_size=n), min_size=1, max_size=8)))
def test_the_interval_holds_the_share_and_is_no_wider_than_one_answer_each(rows):
    found = accuracy_interval(grades(*rows))
    share = sum(row.count("1") for row in rows) / sum(map(len, rows))
    assert found.mean == pytest.approx(share) and 0 <= found.low <= share + 1e-12 and share - 1e-12 <= found.high <= 1
    widest = wilson_interval(share * len(rows), len(rows))
    assert found.high - found.low <= widest.high - widest.low + 1e-9
