"""The figures of the generative suites, as data. A row keeps its colour through all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlhf.evaluation.generative.entries import GENERATIVE, Entry
from rlhf.evaluation.generative.measures import margins
from rlhf.evaluation.generative.names import NAMES, PARTS
from rlhf.evaluation.generative.scores import SIDES
from rlhf.evaluation.policy.names import written
from rlhf.evaluation.reward_model.margins import histogram, histogram_edges
from rlhf.exhibits import Curve, Figure

FEW_SCORES = 11
"""Whole numbers of a scale that still have a bar each; a longer scale has BARS of them."""
BARS = 20
NO_SCORE = "none"
PART_LABELS = {"within_side": "within a side (sampling)", "within_pair": "between the sides of a pair",
               "between_pairs": "between pairs"}  # fmt: skip

Summary = Mapping[str, Any]


def interval_figure(summary: Summary, metric: str, name: str, title: str, *, about: str, chance: bool = True) -> Figure:
    """One figure of every row with its interval."""
    curves = []
    for style, (label, model) in enumerate(summary["models"].items()):
        figure = model["metrics"].get(metric)
        if figure is not None:
            ends = [[figure[key]] for key in ("mean", "low", "high")]
            curves.append(Curve(label, [None], *ends, style=style))
    return Figure(name, title, "interval", curves, x_label=f"{NAMES[metric].label.lower()} (%)", share=True,
                  reference=0.5 if chance else None, about=about)  # fmt: skip


def checkpoint_figure(summary: Summary) -> Figure | None:
    """Accuracy over the steps of each run of which several checkpoints were evaluated; None where there is none."""
    runs: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for model in summary["models"].values():
        found = re.fullmatch(r"(.*)@step-(\d+)", model["path"] or "")
        if found:
            runs.setdefault(found[1], []).append((int(found[2]), model["metrics"]["accuracy"]))
    curves = []
    for run, points in runs.items():
        points.sort(key=lambda point: point[0])
        ends = [[figure[key] for _, figure in points] for key in ("mean", "low", "high")]
        if len(points) > 1:
            curves.append(Curve(run.rstrip("/").rpartition("/")[2], [step for step, _ in points], *ends))
    if not curves:
        return None
    return Figure("checkpoints", "Accuracy over training", "line", curves, "step of the checkpoint",
                  "accuracy, ties half (%)", "Bands are intervals over pairs.", share=True, reference=0.5)  # fmt: skip


def averaging_figure(summary: Summary) -> Figure | None:
    """Accuracy of the mean of k samples; None for one sample a side."""
    curves = [
        Curve(label, [int(k) for k in model["averaging"]], list(model["averaging"].values()), style=style)
        for style, (label, model) in enumerate(summary["models"].items())
        if len(model["averaging"]) > 1
    ]
    if not curves:
        return None
    about = "All samples are used at every k, in blocks that follow each other."
    return Figure("averaging", "Accuracy by samples averaged", "line", curves, "samples of a side that are averaged",
                  "accuracy, ties half (%)", about, share=True, reference=0.5)  # fmt: skip


def margin_figure(entries: Sequence[Entry]) -> Figure:
    """Histogram of the margins of the first seed over the temperature, the same bars for all rows."""
    found = {entry.label: margins(entry.first) / entry.temperature for entry in entries}
    samples = {label: d[np.isfinite(d)] for label, d in found.items()}
    edges = histogram_edges([d for d in samples.values() if len(d)] or [np.zeros(1)])
    centres = np.round((edges[:-1] + edges[1:]) / 2, 10).tolist()
    curves = [Curve(label, centres, histogram(d, edges), style=style)
              for style, (label, d) in enumerate(samples.items()) if len(d)]  # fmt: skip
    about = f"Points over the temperature; bars {edges[1] - edges[0]:g} nats wide. A tie lies in the bar right of 0."
    return Figure("margins", "Margins", "bars", curves, "margin (nats)", "decided pairs (%)", about, share=True)


def score_figure(entry: Entry) -> Figure:
    """How often each score was written, for the preferred side and for the other."""
    assert entry.score_prompt is not None
    low, high = int(np.ceil(entry.score_prompt.lowest)), int(np.floor(entry.score_prompt.highest))
    few = high - low < FEW_SCORES
    edges = np.arange(low, high + 2) - 0.5 if few else np.linspace(low, high, BARS + 1)
    names = [str(s) for s in range(low, high + 1)] if few else ((edges[:-1] + edges[1:]) / 2).tolist()
    curves = []
    for side in SIDES:
        scores = np.concatenate([getattr(run, side).ravel() for run in entry.runs.values()])
        held = scores[np.isfinite(scores)]
        held_share = len(held) / len(scores)
        shares = [held_share * share for share in histogram(held, edges)] if len(held) else [0.0] * len(names)
        x, y = ([*names, NO_SCORE], [*shares, 1 - held_share]) if few else (names, shares)
        curves.append(Curve(side, x, y))
    about = "Scores between whole numbers count with the nearest." if few else "Samples without a score are in no bar."
    return Figure(f"scores-{_slug(entry.label)}", entry.label, "bars", curves, "score (points)", "samples (%)", about,
                  share=True)  # fmt: skip


def failure_figure(summary: Summary) -> Figure | None:
    """Samples without a score, by reason; None where every sample holds one."""
    models = {label: m for label, m in summary["models"].items() if m["kind"] == GENERATIVE}
    reasons = list(dict.fromkeys(reason for model in models.values() for reason in model["failures"]))
    if not reasons:
        return None
    names = [reason.replace("_", " ") for reason in reasons]
    curves = [
        Curve(label, names, [m["failures"].get(reason, 0.0) for reason in reasons], style=style)
        for style, (label, m) in enumerate(models.items())
    ]
    return Figure("failures", "Samples without a score", "bars", curves, "", "all samples (%)", share=True)


def range_figure(summary: Summary) -> Figure:
    """Share of sides whose samples reach at least a range, over the range."""
    curves = [
        Curve(label, [100 * x for x in model["range_curve"][0]], model["range_curve"][1], style=style)
        for style, (label, model) in enumerate(summary["models"].items())
    ]
    about = "At 0: sides with any range above 0. Ranges are of the scores alone; failures do not count."
    return Figure("ranges", "Range of a side's samples", "line", curves, "range, at least (% of the scale's width)",
                  "sides (%)", about, share=True)  # fmt: skip


def variance_figure(summary: Summary) -> Figure | None:
    """The parts of the variance as shares of all of it; None where no row has any."""
    shares: dict[str, list[float]] = {}
    for label, model in summary["models"].items():
        total = model["metrics"].get("total", {"mean": 0.0})["mean"]
        if total > 0:
            shares[label] = [model["metrics"][part]["mean"] / total for part in PARTS]
    if not shares:
        return None
    curves = [Curve(PART_LABELS[part], list(shares), [found[i] for found in shares.values()])
              for i, part in enumerate(PARTS)]  # fmt: skip
    about = "What GRPO compares is within a side; what orders a pair is between its sides."
    return Figure(
        "variance", "Where the variance comes from", "bars", curves, "", "all variance (%)", about, share=True
    )


def points_cell(model: Mapping[str, Any], metric: str) -> dict[str, str] | None:
    """A table cell in the row's own unit."""
    figure = model["metrics"].get(metric)
    if figure is None:
        return None
    ends = "" if figure["low"] is None else f"[{written(figure['low'])}, {written(figure['high'])}]"
    return {"text": written(figure["mean"]), "detail": ends}


def _slug(label: str) -> str:
    return re.sub(r"[^\w.-]+", "_", label)
