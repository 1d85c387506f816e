"""What a reader should take away from the scores of a teacher, each with a verdict and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlhf.exhibits import Finding
from rlhf.explore.formatting import SPLITS, amount, percent, share_with_interval

MANY_FAILURES = 0.05
MANY_TIES = 0.3
ONE_SCORE = 0.6
"""Of all scores: from here on the scale is hardly used."""

Stats = Mapping[str, Any]


def findings_of(splits: Mapping[str, Stats], teacher: str) -> list[Finding]:
    """The findings, most urgent first."""
    found = [finding for split, stats in splits.items() for finding in _of_split(SPLITS[split], stats, teacher)]
    order = {"bad": 0, "unclear": 1, "plain": 2, "good": 3}
    return sorted(found, key=lambda finding: order[finding.tone])


def _of_split(name: str, stats: Stats, teacher: str) -> Iterator[Finding]:
    failed = stats["pairs"] - stats["scored"]
    if failed:
        reasons = ", ".join(f"{reason} {number}" for reason, number in stats["failures"].items())
        text = f"{failed} of {amount(stats['pairs'], f'{name} pair')} have no scores: {reasons}."
        yield Finding("bad" if failed > MANY_FAILURES * stats["pairs"] else "plain", "Pairs without scores", text)
    if not stats["examples"]:
        text = f"No {name} pair gave an example; sft/ has no file of them."
        yield Finding("bad", "Nothing is kept", f"{text} Hold some of the others out: dataset.eval_split=null.")
    if not stats["scored"]:
        return
    yield _agreement(name, stats, teacher)
    yield from _spread(name, stats)
    first = stats["first_higher"]
    if first is not None and not first["low"] <= 0.5 <= first["high"]:
        text = f"Of {name} pairs with different scores, the first answer has the higher one in "
        text += f"{share_with_interval(first)}; half would be fair. Fewer pairs a request, or another model, may help."
        yield Finding("bad", "Position matters", text)
    kept = f"{amount(stats['examples'], 'example')} of {amount(stats['pairs'], f'{name} pair')}"
    reasons = {**stats["dropped"], **stats["left_out"]}
    left = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
    yield Finding("plain", "What is kept", f"{kept}{f'; not kept: {left}' if left else ''}.")


def _agreement(name: str, stats: Stats, teacher: str) -> Finding:
    rate = stats["agreement"]
    text = f"{teacher} orders {share_with_interval(rate)} of {amount(stats['scored'], f'{name} pair')} as the "
    text += "annotators do, ties half"
    if rate["low"] > 0.5:
        return Finding("good", "Agrees with the annotators", f"{text}.")
    if rate["high"] < 0.5:
        return Finding("bad", "Orders pairs the other way round", f"{text}: less than chance. Look at the pairs below.")
    return Finding("unclear", "No agreement shown", f"{text}, which chance would do too.")


def _spread(name: str, stats: Stats) -> Iterator[Finding]:
    ties = stats["tie"] / stats["scored"]
    if ties > MANY_TIES:
        text = (
            f"{percent(ties)} of the scored {name} pairs have equal scores. A finer scale may tell more of them apart."
        )
        yield Finding("unclear", "Many ties", text)
    scores = stats["scores"]
    if scores["commonest_share"] > ONE_SCORE:
        commonest = max(scores["counts"], key=scores["counts"].get)
        text = (
            f"{percent(scores['commonest_share'])} of the {name} scores are {commonest}: a student would learn to say "
        )
        text += "that. Another score prompt or teacher may spread them."
        yield Finding("bad", "The scale is hardly used", text)
