"""The rows of an evaluation: a model asked in one way, under one seed or several, or what stands beside it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rlhf.config.score_prompts import ScorePrompt
from rlhf.evaluation.generative.measures import pair_values, together
from rlhf.evaluation.generative.scores import Scored, SideScores
from rlhf.evaluation.generative.variance import spread_values
from rlhf.evaluation.policy.measures import Values
from rlhf.evaluation.resampling import Statistic, bootstrap_statistic
from rlhf.evaluation.statistics import Interval, wilson_interval
from rlhf.rewards.score_parsers import ParsedScore
from rlhf.types import Rollout

GENERATIVE = "generative"


@dataclass(frozen=True)
class Entry:
    """One row. `runs`: the scores by seed, all of the same pairs; `scored`: the texts behind them, where there are."""

    label: str
    kind: str  # generative | scalar | random
    path: str
    score_prompt: ScorePrompt | None  # None: a scalar model, whose scores have no scale
    temperature: float  # points a nat
    runs: Mapping[int, SideScores]
    scored: Mapping[int, Scored] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """Of scores and margins."""
        return "nats" if self.score_prompt is None else "points"

    @property
    def first(self) -> SideScores:
        """The scores under the first seed."""
        return next(iter(self.runs.values()))

    @property
    def samples(self) -> int:
        """n, of a side and seed."""
        return self.first.samples

    def failures(self) -> dict[str, float]:
        """Share of all samples without a score, by reason."""
        counts = sum((Counter(found.failures()) for found in self.scored.values()), Counter())
        samples = sum(scores.both.size for scores in self.runs.values())
        return {reason: count / samples for reason, count in counts.most_common()}


def entry_values(entry: Entry, *, spread: bool) -> dict[int, dict[str, Values]]:
    """seed -> name -> values, pair by pair. `spread`: also what single samples say (rlhf...generative.variance)."""
    found = {}
    for seed, scores in entry.runs.items():
        values = pair_values(scores, entry.temperature)
        if spread and entry.score_prompt is not None:
            values |= spread_values(scores, entry.score_prompt.highest - entry.score_prompt.lowest)
        if seed in entry.scored:
            values |= _text_values(entry.scored[seed])
        found[seed] = values
    return found


def figures_of(
    by_seed: Mapping[int, dict[str, Values]], pairs: Sequence[str], options: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, dict[str, Any]]]]:
    """(name -> {mean, low, high, n, seed_std} over all seeds, seed -> name -> {mean, low, high, n}).

    The mean over seeds is over all of their pairs, and its interval resamples pairs with all that every seed said of
    them: it holds for these seeds. seed_std is the standard deviation of the seeds' own means (S - 1 below the sum),
    None for one seed."""
    seeds = {str(seed): {name: interval_of(name, v, pairs, options).to_dict() for name, v in values.items()}
             for seed, values in by_seed.items()}  # fmt: skip
    units = list(pairs) * len(by_seed)
    overall = {}
    for name, values in together(by_seed).items():
        means = [found[name]["mean"] for found in seeds.values() if name in found]
        spread = statistics.stdev(means) if len(means) > 1 else None
        overall[name] = interval_of(name, values, units, options).to_dict() | {"seed_std": spread}
    return overall, seeds


def interval_of(name: str, values: Values, units: Sequence[str], options: Mapping[str, Any]) -> Interval:
    """The bootstrap's interval over pairs. For a share that is the same for every pair, which no resampling can vary,
    Wilson's at 0 and 1, and none between. A figure of some pairs counts these in n, and has no interval for one.
    `options`: confidence, resamples, seed."""
    weights = np.ones(len(values.sums)) if values.weights is None else values.weights
    counted = values.sums[weights > 0]
    pairs = len({unit for unit, weight in zip(units, weights, strict=True) if weight > 0})
    if is_share(name) and counted.min() == counted.max():
        if counted[0] in (0, 1):
            return wilson_interval(counted[0] * pairs, pairs, confidence=options["confidence"])
        return Interval(float(counted[0]), -math.inf, math.inf, pairs)
    if values.weights is None:
        return values.interval(units, **options)
    if pairs < 2:
        return Interval(float(values.sums.sum() / weights.sum()), -math.inf, math.inf, pairs)
    ratio = bootstrap_statistic(_ratio_of(values.sums, weights), len(weights), clusters=units, **options)
    return replace(ratio, n=pairs)


def is_share(name: str) -> bool:
    """Whether a figure is a share of pairs, sides, samples or combinations."""
    return name.startswith(("accuracy", "expected_correct", "range_")) or name.endswith("_rate")


def _ratio_of(sums: np.ndarray, weights: np.ndarray) -> Statistic:
    """sum(sums) / sum(weights), not defined for a draw without weight."""

    def ratio(drawn: np.ndarray) -> np.ndarray:
        total = drawn @ weights
        return np.divide(drawn @ sums, total, out=np.full(len(total), np.nan), where=total > 0)

    return ratio


def _text_values(scored: Scored) -> dict[str, Values]:
    """Length in tokens, share cut at the limit, share with several tags: means over both sides' samples, [P]."""

    def mean(of: Callable[[Rollout, ParsedScore], float]) -> Values:
        by_pair = [[of(*sample) for side in both for sample in zip(side.rollouts, side.parsed, strict=True)]
                   for both in scored.sides]  # fmt: skip
        return Values(np.mean(by_pair, axis=1))

    return {
        "length_tokens": mean(lambda rollout, _: len(rollout.answer_ids)),
        "truncated_rate": mean(lambda rollout, _: rollout.finish == "length"),
        "several_tags_rate": mean(lambda _, parsed: parsed.tags > 1),
    }
