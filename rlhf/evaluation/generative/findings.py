"""What a reader of the generative suites should take away, in sentences made from the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlhf.evaluation.generative.baselines import RANDOM
from rlhf.evaluation.generative.entries import GENERATIVE
from rlhf.evaluation.policy.findings import clear
from rlhf.evaluation.policy.names import ends, p_value, written
from rlhf.evaluation.reward_model.words import apart, temperature
from rlhf.exhibits import Finding

LOW_PARSE = 0.9
"""Share of samples with a score below which accuracy is also about form."""
MANY_TIES = 0.2
SIGNIFICANT = 0.05
ENOUGH, TOO_LITTLE = 0.25, 0.05
"""Shares of pairs with right and wrong samples: from the first there is a signal, below the second next to none."""

Summary = Mapping[str, Any]


def generative_findings(summary: Summary) -> list[Finding]:
    """Of suite=generative_rm: every model against chance and against the reference, then doubts about it."""
    models = {label: model for label, model in summary["models"].items() if model["kind"] != RANDOM}
    found = [_against_chance(label, model, summary) for label, model in models.items()]
    found += [_compared(label, model, summary) for label, model in models.items() if "difference" in model]
    found += _highest(summary)
    for label, model in models.items():
        found += _doubts(label, model) if model["kind"] == GENERATIVE else ()
    return found


def variance_findings(summary: Summary) -> list[Finding]:
    """Of suite=score_variance: what every row gives GRPO, then which gives most."""
    models = summary["models"]
    found = [_signal(label, model) for label, model in models.items()]
    for label, model in models.items():
        found += _doubts(label, model)
    if len(models) > 1:
        best = max(models, key=lambda label: models[label]["metrics"]["mixed_rate"]["mean"])
        share = _share(models[best], "mixed_rate")
        if models[best]["metrics"]["mixed_rate"]["mean"] >= TOO_LITTLE:
            text = f"{best} has the largest share of pairs with right and wrong samples, {share}."
            found.append(Finding("plain", "Most to learn from", text))
    return found


def _against_chance(label: str, model: Mapping[str, Any], summary: Summary) -> Finding:
    if model["metrics"]["parse_rate"]["mean"] == 0:
        return Finding("bad", "No score", f"{label} writes none at all; of all samples: {_failures(model)}.")
    side = apart(model["metrics"]["accuracy"], 0.5)
    text = f"{label} orders {_share(model, 'accuracy')} of {summary['pairs']} pairs as the annotators do, ties half; "
    text += (
        f"strictly {_share(model, 'accuracy_strict')}. Log-loss {_number(model, 'log_loss')} nats, a coin's is 0.693."
    )
    if side > 0:
        return Finding("good", "Above chance", text)
    return (
        Finding("bad", "Worse than chance", text) if side < 0 else Finding("unclear", "Not shown to beat chance", text)
    )


def _doubts(label: str, model: Mapping[str, Any]) -> Iterator[Finding]:
    metrics = model["metrics"]
    if 0 < metrics["parse_rate"]["mean"] < LOW_PARSE:
        text = (
            f"{label}: {_share(model, 'parse_rate')} of the samples hold a score; of all samples: {_failures(model)}."
        )
        yield Finding("bad", "Often no score", text)
    if metrics["tie_rate"]["mean"] > MANY_TIES:
        text = (
            f"{label} gives both sides the same score in {_share(model, 'tie_rate')} of the pairs: more samples, or a "
        )
        yield Finding("unclear", "Many ties", f"{text}finer scale, would tell them apart.")
    fit = model.get("calibration", {}).get("temperature")
    if fit is not None and fit["value"] is not None and fit["high"] is not None and fit["high"] < model["temperature"]:
        text = f"{label}: the log-loss is lowest at {temperature(fit)} points a nat, and was taken at "
        yield Finding("plain", "Not sure enough", f"{text}{model['temperature']:g}.")
    if fit is not None and fit["low"] is not None and fit["low"] > model["temperature"]:
        text = f"{label}: the log-loss is lowest at {temperature(fit)} points a nat, and was taken at "
        yield Finding("unclear", "Too sure of itself", f"{text}{model['temperature']:g}.")


def _compared(label: str, model: Mapping[str, Any], summary: Summary) -> Finding:
    difference, reference = model["difference"]["accuracy"], summary["reference"]
    tone, verdict = "unclear", "No clear difference"
    if clear(difference):
        tone, verdict = ("good", "Better") if difference["mean"] > 0 else ("bad", "Worse")
    moved = f"{written(difference['mean'], '%', signed=True)} {ends(difference, '%')}".strip()
    text = (
        f"{label}: accuracy {_share(model, 'accuracy')}, {reference} {_share(summary['models'][reference], 'accuracy')}"
    )
    return Finding(tone, verdict, f"{text}: {moved}, {p_value(difference['p_holm'])}, paired by pair.")


def _highest(summary: Summary) -> Iterator[Finding]:
    """Which of many is best, with the caution that choosing needs."""
    models = {label: m for label, m in summary["models"].items() if m["kind"] == GENERATIVE}
    if len(models) < 3:
        return
    best = max(models, key=lambda label: models[label]["metrics"]["accuracy"]["mean"])
    text = f"{best} has the highest accuracy of {len(models)}, {_share(models[best], 'accuracy')}. Chosen on these "
    yield Finding("plain", "Highest", f"{text}pairs, it is expected to do somewhat worse on others.")


def _signal(label: str, model: Mapping[str, Any]) -> Finding:
    metrics = model["metrics"]
    if metrics["parse_rate"]["mean"] == 0:
        text = (
            f"{label}: no sample holds a score (of all samples: {_failures(model)}). Warm the model up first, or ask "
        )
        text += "in another way."
        return Finding("bad", "Nothing to learn from yet", text)
    text = (
        f"{label}: {_share(model, 'spread_rate')} of the groups have any spread and {_share(model, 'mixed_rate')} of "
        f"the pairs right and wrong samples; one sample a side orders {_share(model, 'expected_correct')} "
        f"rightly, ties half; {_share(model, 'parse_rate')} of the samples hold a score."
    )
    mixed = metrics["mixed_rate"]["mean"]
    if mixed >= ENOUGH and metrics["parse_rate"]["mean"] >= 0.5:
        return Finding("good", "Something to learn from", text)
    if mixed < TOO_LITTLE:
        return Finding("bad", "Next to nothing to learn from", text)
    return Finding("unclear", "Little to learn from", text)


def _failures(model: Mapping[str, Any]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {written(share, '%')}" for reason, share in model["failures"].items())


def _share(model: Mapping[str, Any], name: str) -> str:
    figure = model["metrics"][name]
    return f"{written(figure['mean'], '%')} {ends(figure, '%')}".strip()


def _number(model: Mapping[str, Any], name: str) -> str:
    figure = model["metrics"][name]
    return f"{written(figure['mean'])} {ends(figure)}".strip()
