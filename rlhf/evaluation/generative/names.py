"""How the figures of the generative suites are called."""

from __future__ import annotations

from rlhf.evaluation.generative.variance import RANGE_SHARES
from rlhf.evaluation.policy.names import Name

NAMES = {
    "accuracy": Name("Accuracy, ties half", "%", "up"),
    "accuracy_strict": Name("Accuracy, strict", "%", "up"),
    "tie_rate": Name("Ties", "%", "down"),
    "undecided_rate": Name("Undecided: a side without a score", "%", "down"),
    "log_loss": Name("Log-loss, all pairs", "nats", "down"),
    "log_loss_untied": Name("Log-loss, pairs that are not tied", "nats", "down"),
    "margin": Name("Margin", "", "up"),
    "margin_right": Name("Margin of right pairs"),
    "margin_wrong": Name("Margin of wrong pairs"),
    "confidence_wrong": Name("Confidence in wrong pairs", "%", "down"),
    "entropy_wrong": Name("Entropy of wrong pairs", "nats", "up"),
    "deviation_right": Name("Deviation of a side's samples, right pairs"),
    "deviation_wrong": Name("Deviation of a side's samples, wrong pairs"),
    "parse_rate": Name("Samples with a score", "%", "up"),
    "several_tags_rate": Name("Samples with several tags", "%"),
    "truncated_rate": Name("Cut off at the limit", "%", "down"),
    "length_tokens": Name("Tokens a sample", "tokens"),
    "expected_correct": Name("Expected correctness, ties half", "%", "up"),
    "expected_correct_strict": Name("Expected correctness, strict", "%", "up"),
    "sample_tie_rate": Name("Ties of two samples", "%", "down"),
    "mixed_rate": Name("Pairs with right and wrong samples", "%", "up"),
    "spread_rate": Name("Groups with any spread", "%", "up"),
    "range": Name("Range of a side"),
    **{f"range_{round(100 * s)}": Name(f"Range of {s:.0%} of the scale or more", "%") for s in RANGE_SHARES},
    "wrong_overlap_rate": Name("Wrong pairs whose ranges overlap", "%", "up"),
    "wrong_reachable_rate": Name("Wrong pairs with a right combination", "%", "up"),
    "within_side": Name("Variance within a side"),
    "within_pair": Name("Variance between the sides of a pair"),
    "between_pairs": Name("Variance between pairs"),
    "total": Name("Variance in all"),
}
"""Every figure of a row of summary.csv, in its order; one without a unit has that of the row's scores."""
IN_POINTS = ("margin", "margin_right", "margin_wrong", "deviation_right", "deviation_wrong", "range")
PARTS = ("within_side", "within_pair", "between_pairs")
"""The parts of the variance, in points squared; they add up to `total`."""
