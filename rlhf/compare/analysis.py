"""From runs and their evaluation to what a comparison says, as plain values: summary.json of stage=compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from rlhf.compare.curves import AXIS_LABELS, first_reach, median_of_censored, series
from rlhf.compare.records import Judged, RunRecord, beats, seed_matrix
from rlhf.compare.run_figures import efficiency_of, mean_of, over_optimisation, spent, stability_of, unequal_settings
from rlhf.compare.seed_statistics import compare, crossed_interval, seed_interval, smallest_permutation_p
from rlhf.config.compare import CompareConfig
from rlhf.errors import ConfigError
from rlhf.evaluation.multiple import holm
from rlhf.evaluation.pareto import pareto_front
from rlhf.evaluation.statistics import Interval

KL = "policy/kl_ref_answer"
WIN_RATE = "win_rate/by_reward"
"""Share of answers that score higher by the deciding metric than the start's answer of the same number."""
GOLD_CURVE, REWARD_CURVE = "eval/reward_gold", "eval/reward_mean"


def held_out_curves(metric: str) -> tuple[str, ...]:
    """Curves of a run that stand for the deciding metric before the end, the best first: its own, as evaluations log it
    (reward/answer is eval/reward_answer there), then the gold reward, then whatever the run is rewarded for."""
    return (f"eval/{metric.replace('/', '_')}", GOLD_CURVE, REWARD_CURVE)


class Analysis:
    """Of the runs of several algorithms and the one evaluation of all their models."""

    def __init__(self, config: CompareConfig, records: Sequence[RunRecord], judged: Judged, *, seed: int) -> None:
        """Raises ConfigError where the evaluation has no `compare.metric`."""
        self.config, self.records, self.judged, self.seed = config, list(records), judged, seed
        self.by_algorithm: dict[str, list[RunRecord]] = {}
        for record in records:
            self.by_algorithm.setdefault(record.algorithm, []).append(record)
        known = judged.metrics[records[0].label]
        if config.metric not in known:
            raise ConfigError(
                f"compare.metric={config.metric} was not evaluated. There are: {', '.join(sorted(known))}"
            )
        self.metric = config.metric
        shared = [m for m in held_out_curves(self.metric) if all(r.has(m) for r in records)]
        self.held_out = shared[0] if shared else None

    def summary(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        algorithms = {name: self._algorithm(name, runs) for name, runs in self.by_algorithm.items()}
        self._add_convergence(algorithms)
        return {
            "metric": self.metric,
            "held_out_curve": self.held_out,
            "confidence": self.config.confidence,
            "budget": {"kind": self.config.budget if self.config.runs is None else None, "amount": self.config.amount},
            "start": {name: figures.get("mean") for name, figures in self._start().items()},
            "algorithms": algorithms,
            "ranking": sorted(algorithms, key=lambda name: -algorithms[name]["metrics"][self.metric]["mean"]),
            "pairs": self._pairs(),
            "pareto": self._pareto(),
            "runs": {
                r.label: {"algorithm": r.algorithm, "seed": r.seed, "folder": str(r.folder)} for r in self.records
            },
            "unequal": unequal_settings(self.records),
        }

    def metrics_of(self) -> list[str]:
        """Names of everything that was evaluated for all runs."""
        found = [set(self.judged.metrics[r.label]) for r in self.records]
        order = list(self.judged.metrics[self.records[0].label])
        return [name for name in order if all(name in f for f in found)]

    def _start(self) -> Mapping[str, Mapping[str, Any]]:
        return self.judged.metrics.get(self.judged.reference, {})

    def _algorithm(self, name: str, runs: list[RunRecord]) -> dict[str, Any]:
        metrics = {metric: self._figure(metric, runs) for metric in self.metrics_of()}
        if (won := self._win_rates(runs)) is not None:
            metrics[WIN_RATE] = won
        return {
            "seeds": [r.seed for r in runs],
            "runs": [r.label for r in runs],
            "stage": runs[0].stage,
            "metrics": {metric: figure for metric, figure in metrics.items() if figure is not None},
            "spent": {axis: mean_of(spent(r, axis) for r in runs) for axis in AXIS_LABELS},
            "stability": stability_of(runs),
            "efficiency": efficiency_of(runs),
            "over_optimisation": [over_optimisation(r) for r in runs],
        }

    def _figure(self, metric: str, runs: list[RunRecord]) -> dict[str, Any] | None:
        """Mean over seeds, t-interval over seeds, and where answers carry the metric the interval over seeds and
        prompts together."""
        values = [self.judged.value(r.label, metric) for r in runs]
        if any(value is None for value in values):
            return None
        matrix = seed_matrix(self.judged, [r.label for r in runs], metric)
        return self._with_intervals(values, matrix)

    def _win_rates(self, runs: list[RunRecord]) -> dict[str, Any] | None:
        found = [beats(self.judged, r.label, self.judged.reference, self.metric) for r in runs]
        if any(values is None for values in found):
            return None
        prompts = sorted(set.intersection(*(set(values) for values in found)))
        matrix = np.array([[values[p] for p in prompts] for values in found])
        return self._with_intervals(matrix.mean(axis=1).tolist(), matrix)

    def _with_intervals(self, values: Sequence[float], matrix: np.ndarray | None) -> dict[str, Any]:
        own = seed_interval(values, confidence=self.config.confidence).to_dict()
        figure = {"mean": own["mean"], "seeds": list(values), "seed_low": own["low"], "seed_high": own["high"]}
        crossed = Interval(own["mean"], -math.inf, math.inf, len(values))
        if matrix is not None:
            options = {"confidence": self.config.confidence, "resamples": self.config.resamples, "seed": self.seed}
            crossed = crossed_interval(matrix, **options)
        both = crossed.to_dict()
        return figure | {"low": both["low"], "high": both["high"]}

    def _pairs(self) -> list[dict[str, Any]]:
        """Every two algorithms by the deciding metric, p-values adjusted over the pairs (Holm)."""
        found = []
        for a, b in combinations(self.by_algorithm, 2):
            ours, theirs = (
                seed_matrix(self.judged, [r.label for r in self.by_algorithm[name]], self.metric) for name in (a, b)
            )
            if ours is None or theirs is None or ours.shape[1] != theirs.shape[1]:
                continue
            options = {"confidence": self.config.confidence, "resamples": self.config.resamples, "seed": self.seed}
            difference = {k: _finite(v) for k, v in asdict(compare(ours, theirs, **options)).items()}
            smallest = smallest_permutation_p(len(ours), len(theirs))
            found.append({"a": a, "b": b, **difference, "p_seeds_exact_smallest": smallest})
        for kind in ("p_seeds", "p_prompts"):
            known = [pair for pair in found if pair[kind] is not None]
            for pair, adjusted in zip(known, holm([pair[kind] for pair in known]) if known else [], strict=True):
                pair[f"{kind}_holm"] = adjusted
        return found

    def _pareto(self) -> dict[str, Any] | None:
        """Which models no other beats in both KL to the start and the deciding metric; the start is at KL 0."""
        labels = [r.label for r in self.records if self.judged.value(r.label, KL) is not None]
        if not labels:
            return None
        labels = [self.judged.reference, *labels]
        costs = [0.0, *(self.judged.value(label, KL) for label in labels[1:])]
        values = [self.judged.value(label, self.metric) for label in labels]
        front = pareto_front(costs, values)
        points = {label: [c, v] for label, c, v in zip(labels, costs, values, strict=True)}
        return {"cost": KL, "points": points, "front": [labels[i] for i in front.front]}

    def target(self, algorithms: Mapping[str, Any] | None = None) -> float | None:
        """The value of the held-out curve that counts as converged; None without such a curve."""
        if self.held_out is None:
            return None
        if self.config.threshold_kind == "value":
            return self.config.threshold
        curves = {
            name: [series(r.rows, self.held_out, "steps")[1] for r in runs] for name, runs in self.by_algorithm.items()
        }
        begin = float(np.mean([y[0] for ys in curves.values() for y in ys]))
        best = max(float(np.mean([y[-1] for y in ys])) for ys in curves.values())
        return begin + self.config.threshold * (best - begin) if best > begin else None

    def _add_convergence(self, algorithms: Mapping[str, dict[str, Any]]) -> None:
        """Where each run first reaches the target, on every axis, and the median over seeds."""
        target = self.target()
        for name, runs in self.by_algorithm.items():
            if target is None:
                algorithms[name]["convergence"] = None
                continue
            axes = {}
            for axis in AXIS_LABELS:
                reached = []
                for run in runs:
                    x, y = series(run.rows, self.held_out, axis)
                    reached.append(first_reach(x, y, target) if len(x) else None)
                axes[axis] = {"runs": reached, "median": median_of_censored(reached)}
            count = sum(value is not None for value in axes["steps"]["runs"])
            algorithms[name]["convergence"] = {"target": target, "reached": count, "of": len(runs), **axes}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
