"""Everything that the scores of one reward model say, as the mappings that summary.json keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlhf.evaluation.pairs import calibration_error, subset_indices
from rlhf.evaluation.resampling import clustered_rate
from rlhf.evaluation.reward_model.calibration import chance_calibration_error, fit_temperature, reliability
from rlhf.evaluation.reward_model.confidence import (
    accuracy_by_confidence,
    confident_errors,
    risk_coverage_area,
    selective_accuracy,
)
from rlhf.evaluation.reward_model.length_bias import length_bias
from rlhf.evaluation.reward_model.margins import margin_quantiles
from rlhf.evaluation.reward_model.scored_pairs import ScoredPairs
from rlhf.evaluation.reward_model.slices import slice_figures, slices_of
from rlhf.evaluation.statistics import bootstrap_interval


@dataclass(frozen=True)
class Options:
    """How intervals are made: their coverage, bootstrap resamples, and the seed of these."""

    confidence: float
    resamples: int
    seed: int

    @property
    def bootstrap(self) -> dict[str, Any]:
        return {"confidence": self.confidence, "resamples": self.resamples, "seed": self.seed}


def headline_metrics(scored: ScoredPairs, length: Mapping[str, Any], options: Options) -> dict[str, dict[str, Any]]:
    """The metrics of docs/metrics.md, each {mean, low, high, n}. The calibration error, no mean, has no interval."""
    margins, clusters = scored.margins, scored.clusters
    log_losses = np.logaddexp(0.0, -margins)
    by_subset = {
        f"accuracy_{name}": _rate(scored.right[where], [clusters[i] for i in where], options)
        for name, where in subset_indices([p.subset for p in scored.pairs]).items()
    }
    lengths = {
        "length_partialled_accuracy": length["partialled_accuracy"],
        "length_balanced_accuracy": length["balanced_accuracy"],
        "length_spearman": length["score_length"]["spearman"],
    }
    return {
        "accuracy": _rate(scored.right, clusters, options),
        **by_subset,
        "tie_rate": _rate((margins == 0).astype(np.float64), clusters, options),
        "log_loss": bootstrap_interval(log_losses, clusters=clusters, **options.bootstrap).to_dict(),
        "calibration_error": {"mean": calibration_error(margins), "low": None, "high": None, "n": len(margins)},
        "margin": bootstrap_interval(margins, clusters=clusters, **options.bootstrap).to_dict(),
        **{name: figure for name, figure in lengths.items() if figure is not None},
    }


def analyse(scored: ScoredPairs, options: Options) -> dict[str, Any]:
    """The model's entry in summary.json: path, metrics, and the parts of the analysis by name."""
    margins = scored.margins
    length = length_bias(scored.scores, scored.tokens, scored.clusters, **options.bootstrap)
    return {
        "path": scored.path,
        **({"written": scored.written} if scored.written else {}),
        "metrics": headline_metrics(scored, length, options),
        "calibration": {
            "reliability": reliability(margins, confidence=options.confidence),
            "chance_error": chance_calibration_error(margins, seed=options.seed),
            "temperature": fit_temperature(
                margins, clusters=scored.clusters, confidence=options.confidence, seed=options.seed
            ),
        },
        "margins": margin_quantiles(margins),
        "length": length,
        "confidence": {
            "tenths": accuracy_by_confidence(margins, confidence=options.confidence),
            "selective": selective_accuracy(margins, confidence=options.confidence),
            "risk_coverage_area": risk_coverage_area(margins),
            "errors": confident_errors(margins),
        },
        "slices": slice_figures(margins, slices_of(scored.pairs), scored.clusters, confidence=options.confidence),
    }


def _rate(values: np.ndarray, clusters: Sequence[str], options: Options) -> dict[str, Any]:
    return clustered_rate(values, clusters=clusters, confidence=options.confidence).to_dict()
