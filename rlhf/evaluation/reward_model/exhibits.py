"""What the reward-model suite shows: tables and figures of its summary, and the worst pairs in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf.evaluation.reward_model.comparison import LONGER, RANDOM
from rlhf.evaluation.reward_model.errors import passages
from rlhf.evaluation.reward_model.figures import (
    accuracy_figure,
    confidence_figure,
    length_figure,
    margin_figure,
    margin_length_figure,
    reliability_figure,
    selective_figure,
    slice_figure,
)
from rlhf.evaluation.reward_model.findings import findings
from rlhf.evaluation.reward_model.scored_pairs import ScoredPairs
from rlhf.evaluation.reward_model.words import (
    counted_cell,
    ends,
    number,
    p_value,
    percent,
    point_ends,
    points,
    rate_cell,
    slice_cell,
    temperature,
)
from rlhf.exhibits import Exhibits, Section, Table

Summary = Mapping[str, Any]


def exhibits(summary: Summary, models: Sequence[ScoredPairs], *, worst: int) -> Exhibits:
    """The whole page of one evaluation; `worst` pairs of each model are shown in full."""
    return Exhibits(
        findings=findings(summary),
        sections=[
            _accuracy(summary),
            _calibration(summary),
            _margins(models),
            _length(summary, models),
            _confidence(summary),
            *([_slices(summary)] if any(m["slices"] for m in summary["models"].values()) else []),
            *(_worst(scored, worst) for scored in models if worst),
        ],
    )


def _accuracy(summary: Summary) -> Section:
    rows = []
    for label, model in summary["models"].items():
        m, length = model["metrics"], model["length"]
        rows.append([
            label, *map(rate_cell, (m["accuracy"], length["partialled_accuracy"], length["balanced_accuracy"])),
            {"text": f"{m['log_loss']['mean']:.3f}", "detail": ends(m["log_loss"], share=False, digits=3)},
            f"{m['calibration_error']['mean']:.3f}", percent(m["tie_rate"]["mean"]),
        ])  # fmt: skip
    longer = summary["baselines"][LONGER]["accuracy"]
    rows.append([f"baseline: {LONGER}", rate_cell(longer), None, "50.0%", None, None, None])
    rows.append([f"baseline: {RANDOM}", "50.0%", "50.0%", "50.0%", "0.693", "0.000", None])
    header = ("", "Accuracy", "with length partialled out", "balanced for length", "Log-loss (nats a pair)",
              "Calibration error", "Ties")  # fmt: skip
    caption = (
        f"{summary['pairs']['used']} pairs. A tie counts half. Intervals cover {summary['confidence']:.0%}: Wilson for "
        f"accuracies, bootstrap over prompts for the others. The longer answer is the one of more characters."
    )
    return Section(
        "Accuracy",
        text=[f"{label}: {m['written']}." for label, m in summary["models"].items() if "written" in m],
        figures=[accuracy_figure(summary)],
        tables=[Table("Models and baselines", header, rows, caption), _comparisons(summary)],
    )


def _comparisons(summary: Summary) -> Table:
    rows = []
    for c in summary["comparisons"]:
        only = f"{c['mcnemar']['only_first']} : {c['mcnemar']['only_second']}"
        tone = "plain" if c["p_holm"] >= 0.05 else "good" if c["difference"]["mean"] > 0 else "bad"
        rows.append([
            f"{c['first']} − {c['second']}",
            {"text": points(c["difference"]).partition(" [")[0], "detail": point_ends(c["difference"]), "tone": tone},
            p_value(c["difference"]["p_value"]), p_value(c["p_holm"]),
            {"text": only, "detail": p_value(c["mcnemar"]["p_value"])}, rate_cell(c["agreement"]),
            None if c["error_consistency"] is None else f"{c['error_consistency']:.2f}",
            None if c["margin_spearman"] is None else f"{c['margin_spearman']:.2f}",
        ])  # fmt: skip
    header = ("Accuracy of", "Difference", "Sign-flip test", "adjusted (Holm)", "Only one right (McNemar)",
              "Order alike", "Error consistency κ", "Rank correlation of margins")  # fmt: skip
    caption = (
        "Paired on the same pairs. Error consistency: agreement in being right beyond what the two accuracies give by "
        "chance, 0 to 1. The intervals of two models may overlap although their paired difference is clear."
    )
    return Table("Against the baseline and each other", header, rows, caption)


def _calibration(summary: Summary) -> Section:
    rows, bins = [], []
    for label, model in summary["models"].items():
        fit, chance = model["calibration"]["temperature"], model["calibration"]["chance_error"]
        after = None if fit["log_loss_after"] is None else f"{fit['log_loss_after']:.3f}"
        rows.append([
            label, f"{model['metrics']['calibration_error']['mean']:.3f}",
            {"text": f"{chance['mean']:.3f}",
             "detail": f"95% below {chance['high']:.3f}, {p_value(chance['p_value'])}"},
            temperature(fit), p_value(fit["p_value"]), f"{fit['log_loss_before']:.3f}", after,
        ])  # fmt: skip
        bins += [
            [label, f"{percent(b['from'], 0)} to {percent(b['to'], 0)}", b["n"], percent(b["confidence"]),
             {"text": percent(b["accuracy"]["mean"]), "detail": ends(b["accuracy"])}]
            for b in model["calibration"]["reliability"]
        ]  # fmt: skip
    header = ("", "Calibration error", "expected of a calibrated model", "Temperature", "test of T = 1",
              "Log-loss as it is", "with temperature")  # fmt: skip
    text = (
        "The model prefers one answer of each pair with confidence sigmoid(|margin|). Calibrated, it is right as often "
        "as it is confident: points on the diagonal. Below: too sure. Confidence below 50% does not exist.",
        "A temperature divides all margins and changes no order. Above 1 the model was too sure. The log-loss with it "
        "is cross-fitted: each fifth of the pairs is scaled by the temperature of the others.",
    )
    return Section(
        "Calibration",
        text=text,
        figures=[reliability_figure(summary)],
        tables=[
            Table("Calibration", header, rows),
            Table("Reliability", ("", "Confidence", "Pairs", "Mean confidence", "Accuracy"), bins,
                  "Ten equal bins; bins without pairs are left out. Few pairs make wide intervals."),
        ],
    )  # fmt: skip


def _margins(models: Sequence[ScoredPairs]) -> Section:
    text = "Score of the preferred answer minus the other's. Left of 0 the model disagrees with the label."
    return Section("Margins", text=[text], figures=[margin_figure(models)])


def _length(summary: Summary, models: Sequence[ScoredPairs]) -> Section:
    names = (
        ("Scores the longer answer higher", "longer_scored"),
        ("Labels prefer the longer answer", "longer_preferred"),
        ("Accuracy with length partialled out", "partialled_accuracy"),
        ("Accuracy where the longer is preferred", "longer_preferred_accuracy"),
        ("Accuracy where the shorter is preferred", "shorter_preferred_accuracy"),
        ("Mean of these two", "balanced_accuracy"),
        ("Accuracy on pairs of matched length", "matched_accuracy"),
    )
    found = [model["length"] for model in summary["models"].values()]
    rows: list[list[Any]] = [[title, *(counted_cell(length[key]) for length in found)] for title, key in names]
    for title, key in (
        ("Score and tokens, over answers", "score_length"),
        ("Margin and difference in tokens", "margin_length"),
    ):
        for kind, name in (("spearman", "Spearman"), ("pearson", "Pearson")):
            rows.append([f"{title}: {name}", *(number(length[key][kind]) for length in found)])
    rows.append(["Nats a further token", *(number(length["nats_per_token"], 4) for length in found)])
    caption = (
        "Lengths in tokens as the model reads them, cut at the dataset's limits. Partialled out: the margin's "
        "regression on the difference in length, through the origin, is subtracted. Matched: lengths within a tenth of "
        "each other. Below each accuracy the number of prompts behind it."
    )
    return Section(
        "Length",
        figures=[*(length_figure(m) for m in models), margin_length_figure(models)],
        tables=[Table("What length explains", ("", *summary["models"]), rows, caption)],
    )


def _confidence(summary: Summary) -> Section:
    areas, errors, tenths = [], [], []
    for label, model in summary["models"].items():
        area = model["confidence"]["risk_coverage_area"]
        gain = None if area["gain"] is None else f"{area['gain']:.2f}"
        areas.append([label, f"{area['value']:.3f}", f"{area['random']:.3f}", f"{area['best']:.3f}", gain])
        errors += [
            [label, f"{percent(e['confidence'], 0)} or more", e["n"], e["wrong"], f"{e['expected_wrong']:.1f}"]
            for e in model["confidence"]["errors"]
        ]
        tenths += [
            [
                label,
                f"{percent(t['from'])} to {percent(t['to'])}",
                t["n"],
                rate_cell(t["accuracy"]),
                percent(t["confidence"]),
            ]
            for t in model["confidence"]["tenths"]
        ]
    text = (
        "If a model could abstain on the pairs that it is least sure of, how accurate would it be on the rest? A model "
        "that knows when it is right rises to the left.",
    )
    about_areas = (
        "Mean error over all coverages. Gain: 0 where confidence tells nothing of correctness, 1 where every right "
        "pair is surer than every wrong one."
    )
    about_errors = "The last column is how many a model of these confidences would have wrong if it were calibrated."
    return Section(
        "Confidence",
        text=text,
        figures=[selective_figure(summary), confidence_figure(summary)],
        tables=[
            Table("Area under the risk-coverage curve", ("", "Area", "in random order", "in the best order", "Gain"),
                  areas, about_areas),
            Table("Confident errors", ("", "Confidence", "Pairs", "Wrong", "Wrong if calibrated"),
                  errors, about_errors),
            Table("By tenths of confidence", ("", "Confidence", "Pairs", "Accuracy", "Mean confidence"), tenths),
        ],
    )  # fmt: skip


def _slices(summary: Summary) -> Section:
    labels = list(summary["models"])
    keys = list(dict.fromkeys((s["dimension"], s["name"]) for m in summary["models"].values() for s in m["slices"]))
    by_key = {label: {(s["dimension"], s["name"]): s for s in m["slices"]} for label, m in summary["models"].items()}
    rows = []
    for key in keys:
        first = next(by_key[label][key] for label in labels if key in by_key[label])
        cells = [slice_cell(by_key[label].get(key)) for label in labels]
        rows.append(
            [f"{key[0]}: {key[1]}", {"text": str(first["n"]), "detail": "few" if first["small"] else ""}, *cells]
        )
    caption = (
        "p: Fisher's exact test of the slice against all other pairs, adjusted for all slices of the model (Holm); "
        "ties are left out of it. Slices of fewer than 30 pairs are marked: their intervals are wide, and with twenty "
        "slices one looks special by chance. Sure: mean confidence. Length difference: preferred answer less the other."
    )
    return Section(
        "Accuracy by slice",
        figures=[
            slice_figure(label, model, style)
            for style, (label, model) in enumerate(summary["models"].items())
            if model["slices"]
        ],
        tables=[Table("Slices", ("", "Pairs", *labels), rows, caption)],
    )


def _worst(scored: ScoredPairs, count: int) -> Section:
    shown = passages(scored, count)
    text = (
        f"The {len(shown)} pairs of lowest margin under {scored.label}, the most confidently wrong first, in full; the "
        "same in errors.txt and errors.jsonl. Look for wrong labels, for what the answers share, and for what was cut."
    )
    return Section(f"Worst pairs of {scored.label}", text=[text], passages=shown)
