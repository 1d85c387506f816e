"""What suite=score_variance has to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf.evaluation.generative.entries import Entry
from rlhf.evaluation.generative.exhibits import figures_table
from rlhf.evaluation.generative.figures import (
    PART_LABELS,
    failure_figure,
    interval_figure,
    points_cell,
    range_figure,
    score_figure,
    variance_figure,
)
from rlhf.evaluation.generative.findings import variance_findings
from rlhf.evaluation.generative.names import PARTS
from rlhf.evaluation.generative.passages import sample_passages
from rlhf.evaluation.generative.variance import RANGE_SHARES
from rlhf.evaluation.policy.names import ends, written
from rlhf.exhibits import Exhibits, Section, Table

SIGNAL = ("spread_rate", "mixed_rate", "parse_rate", "sample_tie_rate", "tie_rate")
ORDER = ("expected_correct", "expected_correct_strict", "accuracy", "accuracy_strict", "wrong_overlap_rate",
         "wrong_reachable_rate")  # fmt: skip
RANGES = ("range", *(f"range_{round(100 * share)}" for share in RANGE_SHARES))
WRITTEN = ("length_tokens", "truncated_rate", "several_tags_rate", "undecided_rate")

Summary = Mapping[str, Any]


def variance_exhibits(summary: Summary, entries: Sequence[Entry], *, examples: int) -> Exhibits:
    """Everything of one evaluation. `examples`: sampled texts shown in full."""
    some = any(model["metrics"]["parse_rate"]["mean"] for model in summary["models"].values())
    sections = [_signal(summary), *([_order(summary), _variance(summary), _spread(summary)] if some else [])]
    sections.append(_writing(summary))
    sections.append(Section("Scores by side", figures=[score_figure(entry) for entry in entries]))
    if examples:
        sections.append(Section("Samples", passages=sample_passages(entries, examples)))
    tiles = [(f"Pairs with a signal, {label}", written(m["metrics"]["mixed_rate"]["mean"], "%"),
              ends(m["metrics"]["mixed_rate"], "%")) for label, m in summary["models"].items()][:4]  # fmt: skip
    return Exhibits(variance_findings(summary), tiles, sections)


def _signal(summary: Summary) -> Section:
    text = [
        "A group is the samples of one side: GRPO compares them with each other, so that one without spread teaches "
        "nothing. A pair has right and wrong samples where some combination of its samples orders it rightly and some "
        "wrongly: then a reward for the right order pays some samples more than others."
    ]
    caption = f"Means with {summary['confidence']:.0%} intervals over {summary['pairs']} pairs, "
    caption += f"{summary['samples_per_prompt']} samples a side."
    figure = interval_figure(
        summary, "mixed_rate", "mixed", "Pairs with right and wrong samples", about="", chance=False
    )
    table = figures_table("Signal", summary, SIGNAL, caption, first="asked")
    return Section("Is there something to learn from", text, figures=[figure], tables=[table])


def _order(summary: Summary) -> Section:
    text = [
        "Expected correctness is that of one sample a side, drawn independently, over all combinations; accuracy is "
        "that of the means. Of the pairs whose means are in the wrong order, those whose ranges overlap can still be "
        "learned from."
    ]
    figure = interval_figure(summary, "expected_correct", "expected-correctness", "Expected correctness of one sample",
                             about="Ties and samples without a score count half. Dashed: chance.")  # fmt: skip
    return Section("Order", text, figures=[figure], tables=[figures_table("Order", summary, ORDER, first="asked")])


def _variance(summary: Summary) -> Section:
    rows = []
    for label, model in summary["models"].items():
        total = model["metrics"].get("total")
        cells = [_part(model, part, total) for part in PARTS]
        rows.append([label, *cells, None if total is None else points_cell(model, "total")])
    header = ["asked", *(PART_LABELS[part] for part in PARTS), "in all"]
    caption = (
        "Points squared, and shares of the whole. Each part is freed of what sampling alone adds to it, and may fall "
    )
    caption += "below 0; pairs count of which both sides hold two scores."
    found = variance_figure(summary)
    figures = [] if found is None else [found]
    return Section("Variance", figures=figures, tables=[Table("Parts of the variance", header, rows, caption)])


def _part(model: Mapping[str, Any], part: str, total: Mapping[str, Any] | None) -> dict[str, str] | None:
    cell = points_cell(model, part)
    if cell is not None and total and total["mean"] > 0:
        cell["note"] = written(model["metrics"][part]["mean"] / total["mean"], "%")
    return cell


def _spread(summary: Summary) -> Section:
    table = figures_table(
        "Ranges", summary, RANGES, "Highest minus lowest score of a side; the mean in points.", first="asked"
    )
    return Section("Ranges", figures=[range_figure(summary)], tables=[table])


def _writing(summary: Summary) -> Section:
    models = summary["models"]
    reasons = list(dict.fromkeys(reason for model in models.values() for reason in model["failures"]))
    tables = [figures_table("What was written", summary, WRITTEN, first="asked")]
    if reasons:
        rows = [[label, *(written(m["failures"].get(r, 0.0), "%") for r in reasons)] for label, m in models.items()]
        tables.append(Table("Samples without a score", ["asked", *(r.replace("_", " ") for r in reasons)], rows))
    figure = failure_figure(summary)
    return Section("Failures", figures=[] if figure is None else [figure], tables=tables)
