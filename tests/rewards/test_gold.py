"""Tests of the gold reward against values worked out by hand."""

import pytest

from rlhf.rewards.gold import count_words, gold_score, length_score


def neutral_words(count: int) -> str:
    """Return an answer of `count` words that carry no sentiment."""
    return " ".join(["table"] * count)


@pytest.mark.parametrize(
    ("n_words", "expected"),
    [
        (0, -1.0),
        (1, -0.7),
        (7, -0.1),
        (8, 0.0),
        (30, 0.0),
        (31, -0.05),
        (40, -0.5),
        (49, -0.95),
        (50, -1.0),
        (51, -1.0),
        (10_000, -1.0),
    ],
)
def test_length_score_at_the_corners_of_the_rule(n_words: int, expected: float) -> None:
    assert length_score(n_words) == pytest.approx(expected, abs=1e-12)
    score = gold_score(neutral_words(n_words))
    assert score.length == pytest.approx(expected, abs=1e-12)
    assert score.sentiment == 0.0


def test_length_score_rises_to_the_band_and_falls_after_it() -> None:
    scores = [length_score(n) for n in range(60)]
    assert scores[:9] == sorted(scores[:9])
    assert scores[30:] == sorted(scores[30:], reverse=True)
    assert all(-1.0 <= score <= 0.0 for score in scores)


@pytest.mark.parametrize("answer", ["", " ", "\n\t  "])
def test_empty_answer_scores_minus_one(answer: str) -> None:
    score = gold_score(answer)
    assert (score.total, score.sentiment, score.length) == (-1.0, 0.0, -1.0)


@pytest.mark.parametrize(
    "answer",
    [
        "I love it, what a wonderful and happy day for all of us!",
        "I hate it, what a horrible and sad day for all of us.",
        "Fine.",
        "great " * 200,
        "terrible " * 200,
        "日本語 😀 #!?",
    ],
)
def test_total_is_the_sum_and_the_parts_stay_in_range(answer: str) -> None:
    score = gold_score(answer)
    assert score.total == score.sentiment + score.length
    assert -1.0 <= score.sentiment <= 1.0
    assert -1.0 <= score.length <= 0.0


def test_positive_beats_neutral_beats_negative_at_the_same_length() -> None:
    positive = gold_score("The walk was wonderful and I loved every minute of it.")
    neutral = gold_score("The walk was on Monday and I took the road to it.")
    negative = gold_score("The walk was horrible and I hated every minute of it.")
    assert positive.length == neutral.length == negative.length == 0.0
    assert positive.total > neutral.total > negative.total


def test_same_words_lose_reward_when_the_answer_is_too_long() -> None:
    sentence = "The walk was wonderful and I loved every minute of it."
    assert gold_score(sentence).total > gold_score(f"{sentence} {neutral_words(40)}").total


def test_count_words_splits_at_whitespace() -> None:
    assert count_words("  one two\nthree\tfour-five  ") == 4
    assert count_words("") == 0
