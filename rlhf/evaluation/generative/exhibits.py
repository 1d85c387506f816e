"""What suite=generative_rm has to show: findings, tables, figures, and the worst pairs in full."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlhf.evaluation.generative.baselines import RANDOM
from rlhf.evaluation.generative.entries import GENERATIVE, Entry
from rlhf.evaluation.generative.figures import (
    averaging_figure,
    checkpoint_figure,
    failure_figure,
    interval_figure,
    margin_figure,
    points_cell,
    score_figure,
)
from rlhf.evaluation.generative.findings import generative_findings
from rlhf.evaluation.generative.names import IN_POINTS, NAMES
from rlhf.evaluation.generative.passages import worst_pairs
from rlhf.evaluation.policy.findings import clear
from rlhf.evaluation.policy.names import ends, p_value, written
from rlhf.evaluation.reward_model.figures import reliability_figure
from rlhf.evaluation.reward_model.words import p_value as p_words
from rlhf.evaluation.reward_model.words import percent
from rlhf.evaluation.reward_model.words import temperature as fitted
from rlhf.exhibits import Exhibits, Section, Table

ORDER = ("accuracy", "accuracy_strict", "tie_rate", "undecided_rate", "log_loss", "log_loss_untied", "parse_rate")
DOUBT = ("margin", "margin_right", "margin_wrong", "confidence_wrong", "entropy_wrong", "deviation_right",
         "deviation_wrong")  # fmt: skip
TILES = 4
COST = ("parse_rate", "several_tags_rate", "length_tokens", "truncated_rate")

Summary = Mapping[str, Any]


def generative_exhibits(summary: Summary, entries: Sequence[Entry], *, worst: int) -> Exhibits:
    """Everything of one evaluation; `worst` pairs of each model are shown in full."""
    sections = [_order(summary), _seeds(summary), _samples(summary), _calibration(summary), _margins(summary, entries)]
    sections += [_scores(summary, entries)]
    wrong = [passage for entry in entries if entry.scored for passage in worst_pairs(entry, worst)]
    if wrong:
        sections.append(Section("Wrong pairs", ["Of each model those of lowest margin first."], passages=wrong))
    accuracies = {k: m["metrics"]["accuracy"] for k, m in summary["models"].items() if m["kind"] != RANDOM}
    tiles = [(f"Accuracy of {k}", written(f["mean"], "%"), ends(f, "%")) for k, f in accuracies.items()][:TILES]
    return Exhibits(generative_findings(summary), tiles, [section for section in sections if section is not None])


def figures_table(title: str, summary: Summary, names: Sequence[str], caption: str = "", *, first: str = "") -> Table:
    """A line a row, a column a figure that some row has; intervals below."""
    models = summary["models"]
    names = [name for name in names if any(name in model["metrics"] for model in models.values())]
    rows = [[label, *(cell_of(model, name) for name in names)] for label, model in models.items()]
    return Table(title, [first, *map(_header, names)], rows, caption)


def cell_of(model: Mapping[str, Any], name: str) -> dict[str, str] | None:
    """A figure with its interval and, where there is one, its difference to the reference."""
    figure = model["metrics"].get(name)
    if figure is None or name in IN_POINTS:
        return points_cell(model, name)
    unit = NAMES[name].unit
    cell = {"text": written(figure["mean"], unit), "detail": ends(figure, unit)}
    difference = model.get("difference", {}).get(name)
    if difference is not None:
        cell["note"] = f"{written(difference['mean'], unit, signed=True)}, {p_value(difference['p_holm'])}"
        if clear(difference):
            cell["tone"] = "good" if (difference["mean"] > 0) == (NAMES[name].better == "up") else "bad"
    return cell


def _header(name: str) -> str:
    unit = NAMES[name].unit
    return f"{NAMES[name].label} ({unit})" if unit not in ("", "%", "tokens") else NAMES[name].label


def _order(summary: Summary) -> Section:
    level, n = f"{summary['confidence']:.0%}", summary["samples_per_prompt"]
    caption = (
        f"Means with {level} intervals over {summary['pairs']} pairs; a side has the mean of {n} samples. Below: "
        f"the difference to {summary['reference']}, paired by pair, its p-value adjusted over the rows (Holm). The "
        f"log-loss divides margins by {_temperatures(summary)}; a coin's is 0.693."
    )
    figures = [
        interval_figure(
            summary, "accuracy", "accuracy", "Accuracy", about="Ties and undecided pairs count half. Dashed: chance."
        ),
        checkpoint_figure(summary),
    ]
    table = figures_table("Order of the pairs", summary, ORDER, caption, first="model")
    return Section("Results", figures=[f for f in figures if f is not None], tables=[table])


def _temperatures(summary: Summary) -> str:
    written_in_points = (m["temperature"] for m in summary["models"].values() if m["unit"] == "points")
    found = dict.fromkeys(f"{t:g} point{'' if t == 1 else 's'}" for t in written_in_points)
    scalar = any(m["unit"] != "points" for m in summary["models"].values())
    return " and ".join(found) + (" (a scalar model's are nats)" if scalar else "")


def _seeds(summary: Summary) -> Section | None:
    if len(summary["seeds"]) < 2:
        return None
    rows = []
    for label, model in summary["models"].items():
        each = [found["accuracy"] for found in model["seeds"].values()]
        spread = model["metrics"]["accuracy"]["seed_std"]
        cells = [{"text": written(f["mean"], "%"), "detail": ends(f, "%")} for f in each]
        rows.append([label, *cells, written(model["metrics"]["accuracy"]["mean"], "%"), f"{100 * spread:.1f} points"])
    header = ["model", *(f"seed {seed}" for seed in summary["seeds"]), "mean", "std of the seeds"]
    text = [
        "Seeds draw other samples of the same pairs: their spread is what sampling adds, not what other pairs would."
    ]
    return Section("Seeds", text, tables=[Table("Accuracy by seed", header, rows)])


def _samples(summary: Summary) -> Section:
    figures = [figure for figure in (averaging_figure(summary), failure_figure(summary)) if figure is not None]
    generative = {**summary, "models": {k: m for k, m in summary["models"].items() if m["kind"] == GENERATIVE}}
    table = figures_table("What was written", generative, COST, first="model")
    return Section("Samples", figures=figures, tables=[table])


def _calibration(summary: Summary) -> Section:
    rows = []
    for label, model in summary["models"].items():
        found = model["calibration"]
        fit, chance = found["temperature"], found["chance_error"]
        after = _cross_fitted(fit["log_loss_after"])
        expected = {"text": f"{chance['mean']:.3f}", "detail": p_words(chance["p_value"])}
        taken, best = f"{model['temperature']:g}", fitted(fit).removeprefix("T = ")
        rows.append([label, f"{found['error']:.3f}", expected, taken, best, after])
    header = ["model", "calibration error", "of a calibrated model", "temperature taken", "temperature fitted",
              "log-loss with it (cross-fitted)"]  # fmt: skip
    text = [
        "Under Bradley-Terry a difference d says that the order is right with probability sigmoid(d / temperature)."
    ]
    caption = "First seed; ties and undecided pairs count as a coin. Temperatures in the row's own points."
    return Section("Calibration", text, figures=[reliability_figure(summary)],
                   tables=[Table("Calibration", header, rows, caption)])  # fmt: skip


def _cross_fitted(loss: float | None) -> str | None:
    """None for too few pairs; without end where four fifths had no wrong pair, and the last fifth has one."""
    return None if loss is None else f"{loss:.3f}" if math.isfinite(loss) else "without end"


def _margins(summary: Summary, entries: Sequence[Entry]) -> Section:
    units = ", ".join(dict.fromkeys(f"{e.label}: {e.unit}" for e in entries if e.unit != "points"))
    caption = f"Margins and deviations in points{f' ({units})' if units else ''}. Confidence and entropy: of "
    caption += f"sigmoid(margin / temperature); {percent(0.5)} and 0.693 are a coin's."
    table = figures_table("Margins, and doubt where the order is wrong", summary, DOUBT, caption, first="model")
    return Section("Margins", figures=[margin_figure(entries)], tables=[table])


def _scores(summary: Summary, entries: Sequence[Entry]) -> Section:
    return Section("Scores by side", figures=[score_figure(entry) for entry in entries if entry.scored])
