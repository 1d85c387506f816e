"""summary.csv and summary.md: a line a row and seed, and one over all seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlhf.evaluation.generative.names import NAMES
from rlhf.evaluation.policy.export import as_csv
from rlhf.evaluation.policy.names import ends, written
from rlhf.exhibits import Finding
from rlhf.tracking.files import write_text_atomic

ALL_SEEDS = "all"
Summary = Mapping[str, Any]


def write_tables(folder: Path, summary: Summary, shown: Sequence[str], findings: Sequence[Finding]
                 ) -> list[dict[str, Any]]:  # fmt: skip
    """Both files, each whole or not at all; returns the rows of summary.csv. `shown`: the figures of summary.md."""
    rows = list(csv_rows(summary))
    write_text_atomic(folder / "summary.csv", as_csv(rows))
    write_text_atomic(folder / "summary.md", as_markdown(summary, shown, findings))
    return rows


def csv_rows(summary: Summary) -> Iterator[dict[str, Any]]:
    """Columns: what the row is, then <figure>, <figure>_low, <figure>_high, and with many seeds <figure>_seed_std."""
    names = [name for name in NAMES if any(name in m["metrics"] for m in summary["models"].values())]
    for label, model in summary["models"].items():
        for seed, metrics in _by_seed(model):
            scale = model["scale"]
            row = {"model": label, "kind": model["kind"], "path": model["path"], "score_prompt": model["score_prompt"],
                   "scale": None if scale is None else f"{scale[0]:g} to {scale[1]:g}", "unit": model["unit"],
                   "seed": seed, "pairs": summary["pairs"], "samples": model["samples"],
                   "temperature": model["temperature"]}  # fmt: skip
            for name in names:
                figure = metrics.get(name, {})
                row |= {name: figure.get("mean"), f"{name}_low": figure.get("low"), f"{name}_high": figure.get("high")}
                if len(model["seeds"]) > 1:
                    row[f"{name}_seed_std"] = figure.get("seed_std")
            yield row


def as_markdown(summary: Summary, shown: Sequence[str], findings: Sequence[Finding]) -> str:
    """What was found, then one table: means with intervals."""
    names = [name for name in shown if any(name in m["metrics"] for m in summary["models"].values())]
    about = f"{summary['pairs']} held-out pairs, {summary['samples_per_prompt']} samples a side, "
    about += f"{_seeds(summary['seeds'])}; intervals of {summary['confidence']:.0%} over pairs."
    lines = [f"# {summary['suite']}", "", about, "", *(f"- **{f.verdict}.** {f.text}" for f in findings), ""]
    lines += [_row(["", "seed", *(NAMES[name].label for name in names)]), _row(["---"] * (len(names) + 2))]
    for label, model in summary["models"].items():
        for seed, metrics in _by_seed(model):
            lines.append(_row([_plain(label), seed, *(_cell(name, metrics.get(name)) for name in names)]))
    return "\n".join(lines) + "\n"


def _by_seed(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The figures over all seeds, then those of each where there are several."""
    seeds = model["seeds"]
    yield (ALL_SEEDS if len(seeds) > 1 else next(iter(seeds))), model["metrics"]
    if len(seeds) > 1:
        yield from seeds.items()


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"


def _cell(name: str, figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "–"
    unit = NAMES[name].unit
    return f"{written(figure['mean'], unit)} {ends(figure, unit)}".strip()


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return text.replace("|", "\\|")
