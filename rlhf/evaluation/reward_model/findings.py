"""What a reader should take away from an evaluation of reward models: sentences with verdicts, and a text summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlhf.evaluation.reward_model.comparison import LONGER
from rlhf.evaluation.reward_model.words import apart, number, p_value, percent, points, rate, temperature
from rlhf.exhibits import Finding

SIGNIFICANT = 0.05
SURE = 0.9


def findings(summary: Mapping[str, Any]) -> list[Finding]:
    """Of every model: better than chance and than length, calibrated, length-driven, confidently wrong, uneven; then
    how the models compare."""
    found: list[Finding] = []
    for label, model in summary["models"].items():
        versus = next(c for c in summary["comparisons"] if c["first"] == label and c["second"] == LONGER)
        found += [_accuracy(label, model, versus, summary), _calibration(label, model), *_length(label, model)]
        found += [*_errors(label, model), *_slices(label, model)]
    return [*_between(summary), *found]


def text_summary(summary: Mapping[str, Any]) -> str:
    """The evaluation on a screen of plain text."""
    lines = [
        f"{summary['pairs']['used']} pairs of {summary['pairs']['source']}, intervals of {summary['confidence']:.0%}"
    ]
    for label, model in summary["models"].items():
        lines += ["", label, *(f"  {name:<18} {text}" for name, text in _lines(label, model, summary))]
    between = [c for c in summary["comparisons"] if c["second"] != LONGER]
    if between:
        lines += ["", "between models (accuracy)"]
        lines += [
            f"  {c['first']} - {c['second']}: {_difference(c)}; same order on {rate(c['agreement'])}" for c in between
        ]
    return "\n".join(lines)


def _lines(label: str, model: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    metrics, length, fit = model["metrics"], model["length"], model["calibration"]["temperature"]
    chance, margins = model["calibration"]["chance_error"], model["margins"]["quantiles"]
    versus = next(c for c in summary["comparisons"] if c["first"] == label and c["second"] == LONGER)
    longer = summary["baselines"][LONGER]["accuracy"]
    if "written" in model:
        yield "scores", model["written"]
    yield "accuracy", f"{rate(metrics['accuracy'])}; chance 50%"
    yield "longer answer wins", f"{rate(longer)}; model less rule {_difference(versus)}"
    yield "log-loss", f"{number(metrics['log_loss'], 3)} nats a pair; chance 0.693"
    after = "" if fit["log_loss_after"] is None else f"; log-loss {fit['log_loss_after']:.3f} with it (cross-fitted)"
    yield "temperature", f"{temperature(fit)}, {p_value(fit['p_value'])} for T = 1{after}"
    yield "calibration error", (f"{metrics['calibration_error']['mean']:.3f}; a calibrated model would show "
                                f"{chance['mean']:.3f} on as many pairs, {p_value(chance['p_value'])}")  # fmt: skip
    yield "margin", (f"median {margins['0.5']:.2f} nats, 5% to 95% of the pairs {margins['0.05']:.2f} to "
                     f"{margins['0.95']:.2f}; ties {percent(metrics['tie_rate']['mean'])}")  # fmt: skip
    yield "length", (f"scores the longer answer higher in {rate(length['longer_scored'])}, the labels prefer it in "
                     f"{rate(length['longer_preferred'])}")  # fmt: skip
    yield "", f"rank correlation of score and length {number(length['score_length']['spearman'])}"
    yield (
        "",
        f"accuracy without length {rate(length['partialled_accuracy'])}, balanced {rate(length['balanced_accuracy'])}",
    )
    sure = _sure(model)
    yield (
        "confident errors",
        f"{sure['wrong']} of {sure['n']} pairs at {SURE:.0%} or more; {sure['expected_wrong']:.1f} expected",
    )
    if model["slices"]:
        weakest = min(
            model["slices"], key=lambda s: (s["small"], s["accuracy"]["mean"])
        )  # a small one is the last resort
        caution = ", few pairs" if weakest["small"] else ""
        yield "weakest slice", (f"{weakest['dimension']} {weakest['name']}: {rate(weakest['accuracy'])} of "
                                f"{weakest['n']} pairs{caution} (adjusted {p_value(weakest['p_holm'])})")  # fmt: skip


def _accuracy(label: str, model: Mapping[str, Any], versus: Mapping[str, Any], summary: Mapping[str, Any]) -> Finding:
    accuracy, longer = model["metrics"]["accuracy"], summary["baselines"][LONGER]["accuracy"]
    pairs = summary["pairs"]["used"]
    side = apart(accuracy, 0.5)
    if side <= 0:
        verdict = "Worse than chance" if side < 0 else "Not shown to beat chance"
        text = f"{label} orders {rate(accuracy)} of {pairs} pairs as the labels do; a coin orders 50%."
        return Finding("bad" if side < 0 else "unclear", verdict, text)
    beats = versus["difference"]["p_value"] < SIGNIFICANT and versus["difference"]["mean"] > 0
    rule = f'"The longer answer wins" orders {rate(longer)} ({_difference(versus)}).'
    text = f"{label} orders {rate(accuracy)} of {pairs} pairs as the labels do; a coin orders 50%. {rule}"
    return (
        Finding("good", "Above chance", text) if beats else Finding("unclear", "Above chance, not above length", text)
    )


def _calibration(label: str, model: Mapping[str, Any]) -> Finding:
    fit, chance = model["calibration"]["temperature"], model["calibration"]["chance_error"]
    error = model["metrics"]["calibration_error"]["mean"]
    numbers = (f"calibration error {error:.3f}, a calibrated model would show {chance['mean']:.3f} on as many pairs "
               f"({p_value(chance['p_value'])}); fitted {temperature(fit)}, "
               f"{p_value(fit['p_value'])} for T = 1")  # fmt: skip
    if fit["p_value"] < SIGNIFICANT:
        if fit["limit"] == "infinity" or (fit["value"] or 0.0) > 1:
            return Finding("bad", "Too sure of itself", f"{label}: {numbers}.")
        return Finding("unclear", "Not sure enough", f"{label}: {numbers}. Its order is better than its margins say.")
    if chance["p_value"] < SIGNIFICANT:
        return Finding("bad", "Not calibrated", f"{label}: {numbers}. No temperature mends it.")
    return Finding("good", "No miscalibration found", f"{label}: {numbers}.")


def _length(label: str, model: Mapping[str, Any]) -> Iterator[Finding]:
    length = model["length"]
    if length["longer_gap"] is None:
        yield Finding("plain", "No length to speak of", "The answers of every pair have the same length.")
        return
    gap = length["longer_gap"]
    text = (
        f"{label} scores the longer answer higher in {rate(length['longer_scored'])} of the pairs of unequal length; "
        f"the labels prefer it in {rate(length['longer_preferred'])} (difference {points(gap)}, "
        f"{p_value(gap['p_value'])}). Accuracy with length partialled out: {rate(length['partialled_accuracy'])}; "
        "balanced over pairs where the longer and where the shorter answer is preferred: "
        f"{rate(length['balanced_accuracy'])}."
    )
    if gap["p_value"] < SIGNIFICANT:
        yield Finding("bad", f"Likes {'length' if gap['mean'] > 0 else 'brevity'} more than the labels do", text)
    elif apart(length["longer_scored"], 0.5) and apart(length["balanced_accuracy"] or {}, 0.5) <= 0:
        yield Finding("unclear", "Length may be all it knows", text)
    else:
        yield Finding("plain", "Length as in the labels", text)


def _errors(label: str, model: Mapping[str, Any]) -> Iterator[Finding]:
    sure = _sure(model)
    if sure["n"] and sure["wrong"] > 2 * sure["expected_wrong"] and sure["wrong"] >= 3:
        yield Finding(
            "bad",
            "Confident errors",
            f"Of {sure['n']} pairs on which {label} is at least {SURE:.0%} sure, {sure['wrong']} are wrong; its own "
            f"confidence promises {sure['expected_wrong']:.1f}. Read them below: labels can be wrong too.",
        )


def _slices(label: str, model: Mapping[str, Any]) -> Iterator[Finding]:
    uneven = sorted((s for s in model["slices"] if s["p_holm"] < SIGNIFICANT), key=lambda s: s["p_holm"])
    for s in uneven[:3]:
        below = s["accuracy"]["mean"] < model["metrics"]["accuracy"]["mean"]
        caution = " A small slice." if s["small"] else ""
        yield Finding(
            "bad" if below else "plain",
            "Weak slice" if below else "Strong slice",
            f"{label}, {s['dimension']} {s['name']}: {rate(s['accuracy'])} of {s['n']} pairs against "
            f"{percent(model['metrics']['accuracy']['mean'])} over all (adjusted {p_value(s['p_holm'])}).{caution}",
        )


def _between(summary: Mapping[str, Any]) -> Iterator[Finding]:
    for c in summary["comparisons"]:
        if c["second"] == LONGER:
            continue
        clear = c["p_holm"] < SIGNIFICANT
        better, worse = (c["first"], c["second"]) if c["difference"]["mean"] >= 0 else (c["second"], c["first"])
        verdict = f"{better} is better" if clear else "No difference shown"
        tests = f"{_difference(c)}, adjusted {p_value(c['p_holm'])}, McNemar {p_value(c['mcnemar']['p_value'])}"
        text = (
            f"Accuracy of {c['first']} less that of {c['second']}: {tests}. "
            f"They order {rate(c['agreement'])} of the pairs alike."
        )
        yield Finding(
            "good" if clear else "unclear",
            verdict,
            text if clear else f"{text} Neither {better} nor {worse} leads beyond chance.",
        )


def _difference(comparison: Mapping[str, Any]) -> str:
    return f"{points(comparison['difference'])}, {p_value(comparison['difference']['p_value'])}"


def _sure(model: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(e for e in model["confidence"]["errors"] if e["confidence"] == SURE)
