"""The door: run directories in, report.md, report.html and figures/ out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from rlhf.exhibits import Figure
from rlhf.reports.document import Report, make_report
from rlhf.reports.figures import LARGE, SMALL, figures_png
from rlhf.reports.files import write_atomic
from rlhf.reports.html import to_html
from rlhf.reports.markdown import to_markdown
from rlhf.reports.reading import read_runs
from rlhf.reports.text import slug, visible
from rlhf.reports.views import FigureGroup

log = logging.getLogger(__name__)


def build_report(runs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], title: str) -> Path:
    """Write report.md, report.html and figures/*.png into the folder `out`; returns the path of report.html.

    runs   run directories, finished, failed or under way; a folder of run directories (a sweep) stands for all in it
    out    a folder, made if needed; the run directory itself for the report of one run
    title  heading of the report

    The same runs give the same bytes. Files are replaced whole. Raises CheckpointError for a path without a run;
    damaged or missing files inside a run directory are told in the report instead.
    """
    report = make_report(read_runs([Path(run) for run in runs]), title)
    folder = Path(out)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    names = {}
    for files, figures, heading, width in _files(report):
        write_atomic(folder / "figures" / files, figures_png(figures, heading, width))
        names |= {id(figure): f"figures/{files}" for figure in figures}
    markdown = to_markdown(report, lambda figure: names[id(figure)])
    write_atomic(folder / "report.md", markdown.encode("utf-8", errors="replace"))
    page = folder / "report.html"
    write_atomic(page, to_html(report).encode("utf-8", errors="replace"))
    log.info("report: %s", page)
    return page


def figure_files(run: str | os.PathLike[str]) -> dict[str, bytes]:
    """name -> PNG: the figures of a run's report, for who wants them elsewhere. Raises as `build_report`."""
    report = make_report(read_runs([Path(run)]), "")
    return {Path(name).stem: figures_png(figures, heading, width) for name, figures, heading, width in _files(report)}


def _files(report: Report) -> Iterator[tuple[str, Sequence[Figure], str, float]]:
    """The figures that are files too, the main ones: (file name, its figures, heading, width of each). Names are
    unique. Curves of metrics share a file; an exhibit has one of its own, named as the stage named it."""
    taken: set[str] = set()
    alone = len(report.sections) == 1
    for owner, label, group in _groups(report):
        parts = [(f.name, (f,), "", LARGE) for f in group.figures] if group.large else [
            (group.title, group.figures, visible(f"{label}: {group.title}"), SMALL)]  # fmt: skip
        for title, figures, heading, width in parts:
            stem = slug(title) if alone else f"{slug(owner)}-{slug(title)}"
            name = next(n for i in count() if (n := f"{stem}{f'-{i}' if i else ''}.png") not in taken)
            taken.add(name)
            yield name, figures, heading, width


def _groups(report: Report) -> Iterator[tuple[str, str, FigureGroup]]:
    """(owner, label, group) of the main figures, exhibits first."""
    for section in report.sections:
        groups = [part.figures for part in section.exhibits if part.figures]
        groups += [*([section.intervals] if section.intervals else []), *section.curves]
        for group in groups:
            if group.main and group.figures:
                yield section.run.label, section.run.label, group
    for compared in report.comparisons:
        for group in compared.curves:
            if group.main:
                yield f"compared-{compared.stage}", f"{compared.stage} runs", group
