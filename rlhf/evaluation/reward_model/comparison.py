"""Reward models against each other and against rules that read nothing, on the same pairs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import binomtest, spearmanr

from rlhf.evaluation.multiple import holm
from rlhf.evaluation.resampling import clustered_rate
from rlhf.evaluation.reward_model.scored_pairs import ScoredPairs
from rlhf.evaluation.statistics import paired_difference

LONGER = "longer wins"
RANDOM = "random"


def longer_wins(scored: ScoredPairs) -> np.ndarray:
    """[P] how right the rule "the answer of more characters is better" is: 1, 0, or 0.5 for equal lengths.

    Characters of the whole answers, so that the rule is the same for every model whatever its tokenizer and limits."""
    difference = np.array([len(p.chosen) - len(p.rejected) for p in scored.pairs])
    return (difference > 0) + 0.5 * (difference == 0)


def baselines(scored: ScoredPairs, *, confidence: float) -> dict[str, dict[str, Any]]:
    """Accuracies that cost nothing: the longer answer wins, and a fair coin (its expectation, hence no interval)."""
    rule = clustered_rate(longer_wins(scored), clusters=scored.clusters, confidence=confidence)
    return {
        LONGER: {"accuracy": rule.to_dict()},
        RANDOM: {"accuracy": {"mean": 0.5, "low": None, "high": None, "n": len(scored.pairs)}},
    }


def compare(models: Sequence[ScoredPairs], *, confidence: float, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Every model against "longer wins", then every two models, on the same pairs in the same order.

    difference       accuracy of `first` minus that of `second`, paired by pair, prompts as units (sign-flip p-value)
    p_holm           that p-value adjusted for all comparisons of the list (Holm 1979)
    mcnemar          pairs that only the first, only the second has right, and the exact McNemar p-value: a binomial
                     test of these counts; pairs that either leaves tied are not in them
    agreement        share of pairs that both order alike (models only)
    error_consistency   kappa of being right: agreement in being right beyond what the two accuracies alone give
                     (Geirhos, Meding & Wichmann, arXiv 2006.16736, eq. 3); 0 for independent errors, 1 for the same
    margin_spearman  rank correlation of the margins (models only)
    """
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}
    rule = longer_wins(models[0]) if models else np.zeros(0)
    found = [
        _versus(m.label, m.right, LONGER, rule, m.clusters, options) | {"agreement": None, "margin_spearman": None}
        for m in models
    ]
    for first, second in combinations(models, 2):
        margins = (first.margins, second.margins)
        found.append(
            _versus(first.label, first.right, second.label, second.right, first.clusters, options)
            | {
                "agreement": clustered_rate(
                    (np.sign(margins[0]) == np.sign(margins[1])).astype(float),
                    clusters=first.clusters,
                    confidence=confidence,
                ).to_dict(),
                "margin_spearman": _spearman(*margins),
            }
        )
    for entry, adjusted in zip(found, holm([e["difference"]["p_value"] for e in found]), strict=True):
        entry["p_holm"] = adjusted
    return found


def mcnemar(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Exact McNemar test of two columns of 1 (right), 0 (wrong), 0.5 (tied: left out).  a [P], b [P]"""
    only_first, only_second = int(np.sum((a == 1) & (b == 0))), int(np.sum((a == 0) & (b == 1)))
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return {"only_first": only_first, "only_second": only_second, "p_value": p_value}


def error_consistency(a: np.ndarray, b: np.ndarray) -> float | None:
    """Kappa of two columns of right and wrong, tied pairs left out; None where chance alone makes them agree always."""
    decided = (a != 0.5) & (b != 0.5)
    if not decided.any():
        return None
    first, second = a[decided], b[decided]
    expected = first.mean() * second.mean() + (1 - first.mean()) * (1 - second.mean())
    return float((np.mean(first == second) - expected) / (1 - expected)) if expected < 1 else None


def common_pairs(models: Mapping[str, ScoredPairs]) -> dict[str, ScoredPairs]:
    """The models on the pairs that all of them have, in the order of the first."""
    shared = set.intersection(*({p.pair for p in m.pairs} for m in models.values()))
    order = [p.pair for p in next(iter(models.values())).pairs if p.pair in shared]
    found = {}
    for label, scored in models.items():
        by_id = {p.pair: p for p in scored.pairs}
        found[label] = ScoredPairs(label, scored.path, tuple(by_id[pair] for pair in order), scored.written)
    return found


def _versus(
    first: str, a: np.ndarray, second: str, b: np.ndarray, clusters: Sequence[Hashable], options: dict[str, Any]
) -> dict[str, Any]:
    return {
        "first": first,
        "second": second,
        "n": len(a),
        "difference": paired_difference(a, b, clusters=clusters, **options).to_dict(),
        "mcnemar": mcnemar(a, b),
        "error_consistency": error_consistency(a, b),
    }


def _spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(spearmanr(x, y).statistic)
