"""Panels drawn with matplotlib: PNG files for Markdown and print, inline SVG for the page.

Colours are those of Okabe and Ito, told apart by readers with any colour vision; beyond six lines, dashes help.
The SVG names its colours by CSS variables, so one drawing serves light, dark and paper.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, MaxNLocator

from rlhf.reports import numbers
from rlhf.reports.panels import Line, Panel
from rlhf.reports.progress import smoothed
from rlhf.reports.text import one_line

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MAX_POINTS = 400  # drawn of one line
INK, MUTED, GRID = "#1f2328", "#59636e", "#e3e6ea"

# stand-ins that appear nowhere else in matplotlib's output, replaced by CSS variables
_STAND_INS = {f"#0102{i:02x}": f"var(--series-{i})" for i in range(len(SERIES))}
_SVG_INK, _SVG_MUTED, _SVG_GRID = "#010301", "#010302", "#010303"
_STAND_INS |= {_SVG_INK: "var(--ink)", _SVG_MUTED: "var(--muted)", _SVG_GRID: "var(--grid)"}
RC = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "rlhf-report",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
    "text.usetex": False,
    "text.parse_math": False,  # a label with dollar signs is text
}


class Palette:
    """Colours of one output."""

    def __init__(self, *, svg: bool) -> None:
        self.ink, self.muted, self.grid = (_SVG_INK, _SVG_MUTED, _SVG_GRID) if svg else (INK, MUTED, GRID)
        self.series = tuple(_STAND_INS)[: len(SERIES)] if svg else SERIES


def panel_svg(panel: Panel, prefix: str) -> str:
    """An <svg> element to be put into a page. `prefix` keeps its ids apart from those of other figures.

    Title and legend are left to the page."""
    with mpl.rc_context(RC):
        height = _height(panel)
        figure = Figure(figsize=(4.4, height))
        figure.subplots_adjust(left=_left(panel), right=0.985, top=1 - 0.08 / height, bottom=0.44 / height)
        _draw(figure.add_subplot(), panel, Palette(svg=True))
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(out.getvalue(), prefix)


def panels_png(panels: Sequence[Panel], title: str) -> bytes:
    """One PNG with all panels in a grid, titles, legends and units included; white background, 120 dots an inch."""
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    palette = Palette(svg=False)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(4.4 * columns, 3.1 * lines + 0.35), layout="constrained", facecolor="white")
        figure.suptitle(one_line(title, 90), x=0.01, ha="left", fontsize=11, color=palette.ink)
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(lines, columns, index + 1)
            _draw(axes, panel, palette)
            several = len(panel.lines) > 1 and panel.kind == "curve"
            axes.set_title(panel.title, loc="left", fontsize=9.5, color=palette.ink, pad=18 if several else 6)
            if several:
                _legend(axes, palette)
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.1, wspace=0.03, hspace=0.04)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=120, metadata={"Software": None})
    return out.getvalue()


def swatches(panel: Panel) -> list[tuple[int, int, str]]:
    """(colour, dash pattern, label) of each line, for a legend outside the drawing."""
    return [(line.style % len(SERIES), line.style // len(SERIES) % len(DASHES), line.label) for line in panel.lines]


def _left(panel: Panel) -> float:
    """Share of the width left of the axes: the same for all curves, so that panels of a row align."""
    if panel.kind == "curve":
        return 0.155 if panel.unit not in ("", "%") else 0.115
    return min(0.42, 0.05 + 0.019 * max(len(one_line(line.label, 24)) for line in panel.lines))


def _height(panel: Panel) -> float:
    return 2.5 if panel.kind == "curve" else 0.75 + 0.3 * len(panel.lines)


def _draw(axes: Axes, panel: Panel, palette: Palette) -> None:
    if panel.kind == "interval":
        _draw_intervals(axes, panel, palette)
    else:
        for line in panel.lines:
            _draw_line(axes, line, palette)
        axes.grid(axis="y", color=palette.grid, linewidth=0.8)
        axes.set_xlabel(panel.x_label, color=palette.muted, fontsize=8.5)
        if panel.x_label == "step":
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=2))
        if panel.unit and panel.unit != "%":
            axes.set_ylabel(panel.unit, color=palette.muted, fontsize=8.5)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3))
        _room(axes, panel)
        axes.yaxis.set_major_formatter(TickLabels(panel.unit))
    axes.tick_params(colors=palette.muted, labelsize=8.5)
    axes.spines["bottom"].set_color(palette.grid)


def _draw_line(axes: Axes, line: Line, palette: Palette) -> None:
    colour = palette.series[line.style % len(palette.series)]
    dash = DASHES[line.style // len(palette.series) % len(DASHES)]
    if line.noisy:
        axes.plot(*thinned(line.x, line.y), color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(*thinned(line.x, smoothed(line.y)), color=colour, linewidth=1.8, linestyle=dash, label=line.label)
        return
    few = len(line.x) <= 30
    style = {"marker": "o", "markersize": 3.5} if few else {}
    axes.plot(*thinned(line.x, line.y), color=colour, linewidth=1.6, linestyle=dash, label=line.label, **style)


def _draw_intervals(axes: Axes, panel: Panel, palette: Palette) -> None:
    places = list(range(len(panel.lines)))[::-1]
    for place, line in zip(places, panel.lines, strict=True):
        colour = palette.series[line.style % len(palette.series)]
        axes.plot([line.low[0], line.high[0]], [place, place], color=colour, linewidth=2.2)
        axes.plot(line.x, [place], "o", color=colour, markersize=5.5)
    if len(panel.lines) > 1:
        axes.axvline(panel.lines[0].x[0], color=palette.muted, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
    axes.set_yticks(places, [one_line(line.label, 24) for line in panel.lines])
    axes.set_ylim(-0.6, len(places) - 0.4)
    axes.grid(axis="x", color=palette.grid, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3))
    axes.margins(x=0.08)
    axes.xaxis.set_major_formatter(TickLabels(panel.unit))
    if panel.unit and panel.unit != "%":
        axes.set_xlabel(panel.unit, color=palette.muted, fontsize=8.5)


def _room(axes: Axes, panel: Panel) -> None:
    """The range of the y axis: a little air, no invented precision for a constant, nothing below zero for fractions."""
    values = np.concatenate([line.y for line in panel.lines])
    low, high = float(values.min()), float(values.max())
    size = max(abs(low), abs(high))
    air = 0.08 * (high - low) if high - low > 1e-9 * max(size, 1e-12) else 0.5 * size or 0.5
    bottom = low - air if low < 0 or low - air > 0 else 0.0
    axes.set_ylim(bottom, high + air)


class TickLabels(Formatter):
    """Labels of one axis, all with the same decimals; fractions as percentages."""

    def __init__(self, unit: str) -> None:
        self.scale, self.suffix = (100.0, "%") if unit == "%" else (1.0, "")

    def __call__(self, value: float, pos: int | None = None) -> str:
        """The label at `value` alone."""
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The labels of all ticks."""
        shown = [float(value) * self.scale for value in values]
        sizes = [abs(value) for value in shown if abs(value) > 1e-12]
        if any(size < 1e-3 or size >= 1e7 for size in sizes):
            return [numbers.number(value) + self.suffix for value in shown]
        decimals = max((len(f"{size:.6g}".partition(".")[2]) for size in sizes), default=0)
        return [numbers.number(value, decimals=decimals) + self.suffix for value in shown]


def thinned(x: np.ndarray, y: np.ndarray, limit: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most `limit` points: the mean of each bucket, so that no stretch of the run is left out."""
    if len(x) <= limit:
        return x, y
    buckets = np.array_split(np.arange(len(x)), limit)
    return np.array([x[b].mean() for b in buckets]), np.array([y[b].mean() for b in buckets])


def _legend(axes: Axes, palette: Palette) -> None:
    handles, labels = axes.get_legend_handles_labels()
    shown = [one_line(label, 28) for label in labels]
    axes.legend(
        handles, shown, loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=min(3, len(shown)), frameon=False,
        fontsize=8, labelcolor=palette.muted, handlelength=1.6, columnspacing=1.2, borderaxespad=0.1,
    )  # fmt: skip


def _inline(svg: str, prefix: str) -> str:
    """matplotlib's document as an element: no prologue, no metadata, unique ids, CSS colours, shorter numbers.

    Only tags are rewritten; text between them is as matplotlib escaped it."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    head = r'<svg viewBox="\1" aria-hidden="true" focusable="false">'
    body = re.sub(r'<svg[^>]*viewBox="([^"]*)"[^>]*>', head, body, count=1)
    body = re.sub(r"<[^>]*>", lambda tag: _inline_tag(tag.group(), prefix), body)
    return re.sub(r"\s*\n\s*", "\n", body).strip()


def _inline_tag(tag: str, prefix: str) -> str:
    tag = re.sub(r'\bid="([^"]*)"', rf'id="{prefix}-\1"', tag)
    tag = re.sub(r"(url\(#|xlink:href=\"#)", rf"\1{prefix}-", tag)
    tag = re.sub(r"; font-family: [^;\"]*", "", tag)
    tag = re.sub(r"(\d+\.\d{2})\d+", r"\1", tag)
    for stand_in, variable in _STAND_INS.items():
        tag = tag.replace(stand_in, variable)
    return tag
