"""Which curves a report draws: one panel a metric, held-out beside training, runs over each other, reward over KL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rlhf.reports import numbers
from rlhf.reports.comparison import as_interval, models
from rlhf.reports.metric_names import GROUPS, MAIN, METRICS, SUPERVISED_ONLY, metric, twin
from rlhf.reports.progress import learned_and_gold, smoothed
from rlhf.reports.reading import RunRecord, Series

HIDDEN = ("time_s", "data/epoch", "eval/num_examples")


@dataclass(frozen=True)
class Line:
    """One curve. `noisy` ones are drawn faint with their smoothed course on top; `style` picks the colour."""

    label: str
    x: np.ndarray
    y: np.ndarray
    style: int = 0
    noisy: bool = False
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclass(frozen=True)
class Panel:
    """A small chart. kind "curve": lines over `x_label`; "interval": one horizontal interval a line."""

    name: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    x_label: str = "step"
    kind: str = "curve"
    about: str = ""


@dataclass(frozen=True)
class PanelGroup:
    """Panels that stand together under one heading; `main` ones are open at once. `note`: what was not worth a panel.

    `shared_legend`: all panels show the same lines, so that one legend will do."""

    title: str
    panels: tuple[Panel, ...]
    main: bool = True
    note: str = ""
    shared_legend: bool = False


def run_panels(run: RunRecord) -> list[PanelGroup]:
    """The curves of one training run: those that tell how it went, then the others by group."""
    main: list[Panel] = []
    others: dict[str, list[Panel]] = {group: [] for group in GROUPS}
    constant: list[str] = []
    pair = learned_and_gold(run)
    if pair:
        main += [_learned_against_gold(run, pair), *_over_kl(run, pair)]
    taken = set(pair or ())
    for name in _ordered(run):
        if name in taken or name in HIDDEN or len(run.metrics[name].values) == 0:
            continue
        panel, used = _metric_panel(run, name)
        taken |= used
        if _is_constant(panel):
            constant.append(f"{panel.title} {numbers.number(float(panel.lines[0].y[0]), panel.unit)}")
        elif _is_main(name, run.stage):
            main.append(panel)
        else:
            others[metric(name, run.stage).group].append(panel)
    note = f"The same at every step: {', '.join(constant)}." if constant else ""
    groups = [PanelGroup("Curves", tuple(main), note=note)] if main or note else []
    return groups + [PanelGroup(f"More: {g.lower()}", tuple(p), main=False) for g, p in others.items() if p]


def compared_panels(runs: Sequence[RunRecord]) -> list[PanelGroup]:
    """Curves of runs of one stage over each other, metric by metric, held-out figures first."""
    main: list[Panel] = []
    others: list[Panel] = []
    for name in dict.fromkeys(name for run in runs for name in _ordered(run)):
        having = [(i, run) for i, run in enumerate(runs) if name in run.metrics and len(run.metrics[name].values) > 1]
        shown = metric(name, runs[0].stage)
        if len(having) < 2 or name in HIDDEN or shown.group == "Cost":
            continue
        held_out = name.startswith("eval/")
        lines = tuple(_line(run.label, run.metrics[name], i, noisy=not held_out) for i, run in having)
        title = f"{shown.label}, held-out" if held_out else shown.label
        panel = Panel(f"compared-{name}", title, shown.unit, lines, about=shown.about)
        if not _is_constant(panel):
            (main if _is_main(name, runs[0].stage) else others).append(panel)
    groups = (PanelGroup("Curves", tuple(main), True, "", True), PanelGroup("More", tuple(others), False, "", True))
    return [group for group in groups if group.panels]


def evaluation_panels(run: RunRecord) -> PanelGroup | None:
    """One panel a figure with intervals: where each evaluated model lies."""
    found = models(run)
    panels = []
    for name in dict.fromkeys(name for model in found.values() for name in (model.get("metrics") or {})):
        lines = []
        for index, (label, model) in enumerate(found.items()):
            figure = as_interval((model.get("metrics") or {}).get(name))
            if figure is not None and figure[1] is not None and figure[2] is not None:
                mean, low, high = (np.array([value]) for value in figure)
                lines.append(Line(label, mean, np.array([index]), index, low=low, high=high))
        if len(lines) > 1:
            shown = metric(name)
            panels.append(Panel(f"interval-{name}", shown.label, shown.unit, tuple(lines), "", "interval"))
    note = f"The dashed line marks {next(iter(found))}." if panels else ""
    return PanelGroup("Intervals side by side", tuple(panels), note=note) if panels else None


def _is_main(name: str, stage: str) -> bool:
    known = twin(name)
    return known in MAIN and (known not in SUPERVISED_ONLY or stage in ("sft", "reward"))


def _is_constant(panel: Panel) -> bool:
    values = np.concatenate([line.y for line in panel.lines])
    return len(values) > 1 and bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def _ordered(run: RunRecord) -> list[str]:
    """Metric names in the order of metric_names, held-out before training, then the rest."""
    known = {name: i for i, name in enumerate(METRICS)}
    return sorted(run.metrics, key=lambda n: (known.get(twin(n), len(known)), not n.startswith("eval/"), n))


def _metric_panel(run: RunRecord, name: str) -> tuple[Panel, set[str]]:
    """The panel of a metric, with its held-out or training twin on the same axes where it exists."""
    shown = metric(name, run.stage)
    lines, used = [], {name}
    if name.startswith("eval/"):
        partner = twin(name)
        if partner in run.metrics and len(run.metrics[partner].values):
            lines.append(_line("training", run.metrics[partner], 0, noisy=True))
            used.add(partner)
        lines.append(_line("held-out", run.metrics[name], 1, noisy=False))
    else:
        lines.append(_line("training", run.metrics[name], 0, noisy=True))
    return Panel(name, shown.label, shown.unit, tuple(lines), about=shown.about), used


def _line(label: str, series: Series, style: int, *, noisy: bool) -> Line:
    return Line(label, series.steps.astype(float), series.values, style, noisy and len(series.values) >= 12)


def _learned_against_gold(run: RunRecord, pair: tuple[str, str]) -> Panel:
    held_out = pair[0].startswith("eval/")
    labels = ("learned", "gold")
    lines = tuple(_line(labels[i], run.metrics[n], i, noisy=not held_out) for i, n in enumerate(pair))
    where = "held-out" if held_out else "training"
    about = "the policy is trained on the learned reward; where gold turns down, it exploits the reward model"
    return Panel("learned-gold", f"Learned and gold reward, {where}", "", lines, about=about)


def _over_kl(run: RunRecord, pair: tuple[str, str]) -> Iterator[Panel]:
    """Both rewards against the distance from the start (Gao et al., arXiv 2210.10760, figure 1)."""
    kl = run.metrics.get("policy/kl_ref")
    if kl is None or len(kl.values) < 3:
        return
    kl_steps, kl_values = kl.steps, smoothed(kl.values)
    if kl_steps[0] > 0:  # before the first update the policy is the start
        kl_steps, kl_values = np.append(0, kl_steps), np.append(0.0, kl_values)
    lines = []
    for index, (label, name) in enumerate(zip(("learned", "gold"), pair, strict=True)):
        series = run.metrics[name]
        inside = (series.steps >= kl_steps[0]) & (series.steps <= kl_steps[-1])
        if inside.sum() < 2:
            return
        x = np.interp(series.steps[inside], kl_steps, kl_values)
        y = series.values[inside] if name.startswith("eval/") else smoothed(series.values[inside])
        lines.append(Line(label, x, y, index))
    about = "over-optimisation shows as gold bending down while learned goes on rising"
    yield Panel("over-kl", "Reward over KL", "", tuple(lines), x_label="KL to the start (nats/token)", about=about)
