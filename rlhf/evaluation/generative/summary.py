"""summary.json of the generative suites: the figures of every row with intervals, by seed and over all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlhf.evaluation.generative.entries import GENERATIVE, Entry, entry_values, figures_of
from rlhf.evaluation.generative.measures import averaging_curve, margins, together
from rlhf.evaluation.generative.variance import range_curve, variance_parts
from rlhf.evaluation.pairs import calibration_error
from rlhf.evaluation.policy.measures import Values
from rlhf.evaluation.policy.summary import adjust
from rlhf.evaluation.reward_model.calibration import chance_calibration_error, fit_temperature, reliability

COMPARED = ("accuracy", "log_loss")
"""Figures whose difference to the reference is tested."""


def generative_summary(
    entries: Sequence[Entry], pairs: Sequence[str], reference: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Of suite=generative_rm, JSON-able. `options` of every interval: confidence, resamples, seed."""
    values = {entry.label: entry_values(entry, spread=False) for entry in entries}
    models = {entry.label: _model(entry, values[entry.label], pairs, options) for entry in entries}
    units = list(pairs) * len(entries[0].runs)
    base = together(values[reference])
    for entry in entries:
        models[entry.label]["calibration"] = _calibration(entry, options)
        models[entry.label]["averaging"] = _averaging(entry)
        if entry.label != reference:
            own = together(values[entry.label])
            models[entry.label]["difference"] = _differences(own, base, units, options)
    adjust(models)
    return _about("generative_rm", entries, pairs, options) | {"reference": reference, "models": models}


def variance_summary(entries: Sequence[Entry], pairs: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Of suite=score_variance, JSON-able; its `models` are models asked in one way."""
    models = {}
    for entry in entries:
        model = _model(entry, entry_values(entry, spread=True), pairs, options)
        model["metrics"] |= variance_parts(entry.first, **options) or {}
        low, high = model["scale"]
        model["range_curve"] = range_curve(entry.first, high - low)
        models[entry.label] = model
    return _about("score_variance", entries, pairs, options) | {"models": models}


def _about(suite: str, entries: Sequence[Entry], pairs: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    sampled = next(entry for entry in entries if entry.kind == GENERATIVE)
    return {
        "suite": suite,
        "confidence": options["confidence"],
        "pairs": len(pairs),
        "samples_per_prompt": sampled.samples,
        "seeds": list(sampled.runs),
    }


def _model(
    entry: Entry, values: Mapping[int, dict[str, Values]], pairs: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    overall, seeds = figures_of(values, pairs, options)
    prompt = entry.score_prompt
    return {
        "kind": entry.kind,
        "path": entry.path,
        "score_prompt": None if prompt is None else prompt.name,
        "scale": None if prompt is None else [prompt.lowest, prompt.highest],
        "unit": entry.unit,
        "temperature": entry.temperature,
        "samples": entry.samples,
        "metrics": overall,
        "seeds": seeds,
        "failures": entry.failures(),
    }


def _differences(
    own: Mapping[str, Values], base: Mapping[str, Values], units: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    return {name: own[name].minus(base[name], units, **options).to_dict() for name in COMPARED}


def _averaging(entry: Entry) -> dict[str, float]:
    """k -> accuracy of the mean of k samples, mean over the seeds."""
    curves = [averaging_curve(scores) for scores in entry.runs.values()]
    return {str(k): float(np.mean([curve[k] for curve in curves])) for k in curves[0]}


def _calibration(entry: Entry, options: Mapping[str, Any]) -> dict[str, Any]:
    """Of the first seed, whose pairs are independent; undecided pairs count as ties. The temperature is in points."""
    d = np.nan_to_num(margins(entry.first), nan=0.0)
    nats = d / entry.temperature
    return {
        "reliability": reliability(nats, confidence=options["confidence"]),
        "error": calibration_error(nats),
        "chance_error": chance_calibration_error(nats, seed=options["seed"]),
        "temperature": fit_temperature(d, confidence=options["confidence"], seed=options["seed"]),
    }
