"""The gold reward: a fixed scoring rule that stands in for human preference in the bundled experiments.

An answer is better the more positive its sentiment is and the closer its length is to a preferred band of words.
The rule needs no model weights and no prompt, so the same number labels the preference pairs, judges a learned
reward model and measures what a policy has gained.
"""

from dataclasses import dataclass
from functools import lru_cache

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

PREFERRED_WORDS_MIN = 8
"""Fewest words an answer can have without a length penalty."""

PREFERRED_WORDS_MAX = 30
"""Most words an answer can have without a length penalty."""

PENALTY_PER_MISSING_WORD = 0.1
"""Reward lost for every word below `PREFERRED_WORDS_MIN`."""

PENALTY_PER_EXTRA_WORD = 0.05
"""Reward lost for every word above `PREFERRED_WORDS_MAX`."""

LENGTH_FLOOR = -1.0
"""Lowest length score; also the length score of an answer without any word."""


@dataclass(frozen=True)
class GoldScore:
    """Gold reward of one answer, with the two parts it is the sum of (all without unit).

    Attributes:
        total: `sentiment + length`, in [-2, 1].
        sentiment: VADER compound score, in [-1, 1]; 0 is neutral.
        length: length penalty, in [-1, 0]; 0 is inside the preferred band.
    """

    total: float
    sentiment: float
    length: float


@lru_cache(maxsize=1)
def _analyzer() -> SentimentIntensityAnalyzer:
    """Return the VADER analyzer, built at the first use because it reads its lexicon from disk."""
    return SentimentIntensityAnalyzer()


def count_words(answer: str) -> int:
    """Return the number of whitespace-separated words of `answer`."""
    return len(answer.split())


def length_score(n_words: int) -> float:
    """Return the length penalty of an answer of `n_words` words, in [-1, 0].

    The penalty is 0 from 8 to 30 words, grows by 0.1 per word below and 0.05 per word above, and stops at -1 (50
    words and more). No words at all is not a short answer but no answer, so it takes the floor of -1 as well.
    """
    if n_words == 0:
        return LENGTH_FLOOR
    missing = max(0, PREFERRED_WORDS_MIN - n_words)
    extra = max(0, n_words - PREFERRED_WORDS_MAX)
    penalty = PENALTY_PER_MISSING_WORD * missing + PENALTY_PER_EXTRA_WORD * extra
    return max(LENGTH_FLOOR, 0.0 - penalty)


def gold_score(answer: str) -> GoldScore:
    """Score one answer with the gold rule.

    The sentiment is the compound score of VADER, a lexicon and rule based sentiment model (Hutto & Gilbert, "VADER: A
    Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014), in [-1, 1]. The length
    part is `length_score` of the number of words, in [-1, 0]. Text that is empty or only whitespace has sentiment 0
    and length -1, so its total is -1.

    Args:
        answer: text of the answer alone, without the prompt and without role markers.

    Returns:
        The total and its two parts.
    """
    sentiment = float(_analyzer().polarity_scores(answer)["compound"])
    length = length_score(count_words(answer))
    return GoldScore(total=sentiment + length, sentiment=sentiment, length=length)
