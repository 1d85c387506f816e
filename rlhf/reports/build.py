"""The door: run directories in, report.md, report.html and figures/ out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from rlhf.reports.document import Report, make_report
from rlhf.reports.figures import panels_png
from rlhf.reports.files import write_atomic
from rlhf.reports.html import to_html
from rlhf.reports.markdown import to_markdown
from rlhf.reports.panels import PanelGroup
from rlhf.reports.reading import read_runs
from rlhf.reports.text import slug, visible

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
    figures = _figures(report)
    for group, name, heading in figures:
        write_atomic(folder / "figures" / name, panels_png(group.panels, heading))
    names = {id(group): f"figures/{name}" for group, name, _ in figures}
    markdown = to_markdown(report, lambda owner, group: names[id(group)])
    write_atomic(folder / "report.md", markdown.encode("utf-8", errors="replace"))
    page = folder / "report.html"
    write_atomic(page, to_html(report).encode("utf-8", errors="replace"))
    log.info("report: %s", page)
    return page


def _figures(report: Report) -> list[tuple[PanelGroup, str, str]]:
    """The groups that are files too, the main ones: (group, file name, heading). Names are unique."""
    owned = [
        (f"compared-{c.stage}", f"{c.stage} runs", group)
        for c in report.comparisons
        for group in c.curves
        if group.main
    ]
    for section in report.sections:
        groups = [*([section.intervals] if section.intervals else []), *section.curves]
        owned += [(section.run.label, section.run.label, group) for group in groups if group.main and group.panels]
    found: list[tuple[PanelGroup, str, str]] = []
    taken: set[str] = set()
    alone = len(report.sections) == 1
    for owner, label, group in owned:
        stem = slug(group.title) if alone else f"{slug(owner)}-{slug(group.title)}"
        name = next(n for i in range(len(owned) + 1) if (n := f"{stem}{f'-{i}' if i else ''}.png") not in taken)
        taken.add(name)
        found.append((group, name, visible(f"{label}: {group.title}")))
    return found
