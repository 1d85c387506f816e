"""The figures of a comparison. An algorithm has the same colour in all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlhf.compare.analysis import KL, REWARD_CURVE, Analysis
from rlhf.compare.curves import AXIS_LABELS, band, binned, series
from rlhf.compare.names import AXIS_WORDS, label, named
from rlhf.compare.records import RunRecord
from rlhf.exhibits import Curve, Figure

BINS = 8
"""Points of a training curve over KL: means of neighbouring steps."""
BAND = "mean of the seeds; the band is from the lowest to the highest seed"
ALONG = {
    "eval/reward_learned": ("Learned reward", "held out, nats"),
    "policy/kl_ref": ("KL to the start", "k3 on training answers, nats per token"),
    "policy/entropy": ("Entropy", "training answers, nats per token"),
    "eval/response_length_tokens": ("Answer length", "held out, tokens"),
    "reward/mean": ("Reward in training", "training answers"),
}


def interval_figure(analysis: Analysis, summary: Mapping[str, Any]) -> Figure:
    """The deciding metric of each algorithm with its interval over seeds and prompts."""
    curves = []
    for i, (name, a) in enumerate(summary["algorithms"].items()):
        figure = a["metrics"][analysis.metric]
        curves.append(Curve(name, [name], [figure["mean"]], [figure["low"]], [figure["high"]], style=i))
    start = summary["start"].get(analysis.metric)
    about = "bars: bootstrap over seeds and prompts"
    about += f"; dashed: the start, {start:.3f}" if start is not None else ""
    share = named(analysis.metric).unit == "%"
    return Figure(
        "result",
        label(analysis.metric),
        "interval",
        curves,
        label(analysis.metric),
        "",
        about,
        share=share,
        reference=start,
    )


def budget_figures(analysis: Analysis) -> list[Figure]:
    """The held-out curve of the deciding metric over every budget axis on which runs moved."""
    if analysis.held_out is None:
        return []
    title = "Held-out reward" if analysis.held_out == REWARD_CURVE else label(analysis.metric)
    found = [
        curve_figure(
            analysis,
            analysis.held_out,
            axis,
            f"over-{axis.replace('_', '-')}",
            f"{title} over {AXIS_WORDS[axis]}",
            "held out",
        )
        for axis in AXIS_LABELS
    ]
    return [figure for figure in found if figure is not None]


def other_curves(analysis: Analysis) -> list[Figure]:
    """Rewards, KL, entropy and length over the tokens used."""
    found = [
        curve_figure(analysis, metric, "tokens", metric.replace("/", "-"), title, unit)
        for metric, (title, unit) in ALONG.items()
    ]
    return [figure for figure in found if figure is not None]


def curve_figure(
    analysis: Analysis, metric: str, axis: str, name: str, title: str, unit: str, *, log_x: bool = False
) -> Figure | None:
    """One metric over one axis, a band an algorithm; None where no algorithm has it."""
    curves = []
    for i, (algorithm, runs) in enumerate(analysis.by_algorithm.items()):
        found = band([series(run.rows, metric, axis) for run in runs if run.has(metric)])
        if found is None or len(found.x) < 2 or found.x[-1] == found.x[0]:
            continue
        ends = (found.low, found.high) if found.seeds > 1 else (None, None)
        low, high = (None if e is None else e.tolist() for e in ends)
        noisy = not metric.startswith("eval/")
        curves.append(Curve(algorithm, found.x.tolist(), found.mean.tolist(), low, high, style=i, noisy=noisy))
    several = any(curve.low is not None for curve in curves)
    x_label = AXIS_LABELS[axis]
    return Figure(name, title, "line", curves, x_label, unit, BAND if several else "", log_x=log_x) if curves else None


def over_kl_figures(analysis: Analysis) -> list[Figure]:
    """Learned and gold reward over the KL that they cost, from the runs' own metrics: over-optimisation shows where the
    learned one rises and the gold one falls."""
    figures = []
    for reward, title in (("learned", "Learned reward over KL"), ("gold", "Gold reward over KL")):
        curves = []
        for i, (algorithm, runs) in enumerate(analysis.by_algorithm.items()):
            for run in runs:
                x, y = reward_over_kl(run, reward)
                if len(x) > 1:
                    name = algorithm if len(runs) == 1 else f"{algorithm} {run.seed}"
                    curves.append(Curve(name, x.tolist(), y.tolist(), style=i))
        if curves:
            about = "a line a run, means of neighbouring steps; dpo: at its evaluations"
            x_label = "KL to the start (nats per answer)"
            figures.append(Figure(f"{reward}-over-kl", title, "scatter", curves, x_label, reward, about, joined=True))
    return figures


def reward_over_kl(run: RunRecord, reward: str) -> tuple[np.ndarray, np.ndarray]:
    """KL an answer and reward, early to late. Where a run samples, KL is its k3 a token times the tokens of an answer,
    on training answers; else (dpo) k1 on the held-out answers of its evaluations."""
    if run.has("policy/kl_ref") and run.has(f"reward/{reward}"):
        keys = ("policy/kl_ref", "response/length_tokens", f"reward/{reward}")
        rows = [row for row in run.rows if all(isinstance(row.get(key), (int, float)) for key in keys)]
        kl = np.array([row[keys[0]] * row[keys[1]] for row in rows])
        return binned(kl, np.array([row[keys[2]] for row in rows]), BINS)
    keys = ("eval/policy_kl_ref_answer", f"eval/reward_{reward}")
    rows = [row for row in run.rows if all(isinstance(row.get(key), (int, float)) for key in keys)]
    return np.array([row[keys[0]] for row in rows]), np.array([row[keys[1]] for row in rows])


def pareto_figure(analysis: Analysis, summary: Mapping[str, Any]) -> Figure | None:
    """Every model by KL and the deciding metric, and the line through those that none beats in both."""
    pareto = summary["pareto"]
    if pareto is None:
        return None
    points = pareto["points"]
    curves = []
    for i, (name, a) in enumerate(summary["algorithms"].items()):
        mine = [points[run] for run in a["runs"] if run in points]
        curves.append(Curve(name, [p[0] for p in mine], [p[1] for p in mine], style=i, joined=False))
    start = points[analysis.judged.reference]
    curves.append(Curve("start", [start[0]], [start[1]], style=len(curves), joined=False))
    front = [points[model] for model in pareto["front"]]
    line = Curve("front", [p[0] for p in front], [p[1] for p in front], style=len(curves), joined=True)
    about = "each point is a model; no other has more reward for less KL than those on the line"
    below = [line, *curves]  # the models' own marks stay in sight
    return Figure("pareto", "Reward and KL", "scatter", below, label(KL), label(analysis.metric), about)
