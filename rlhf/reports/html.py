"""A report as one HTML file: figures inside, no resource from elsewhere, light and dark, narrow and wide, paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rlhf.reports.document import Report
from rlhf.reports.figures import panel_svg, swatches
from rlhf.reports.panels import Panel
from rlhf.reports.text import one_line, shortened, slug, visible

TEMPLATES = Path(__file__).parent / "templates"


def to_html(report: Report) -> str:
    """The text of report.html.

    Templates escape every value. A content security policy allows this page's own script, by its hash, and nothing
    else: should markup ever slip through, it cannot run or load anything."""
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "shortened": shortened, "one_line": one_line, "slug": slug}
    text = environment.get_template("report.html").render(
        report=report,
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:",
        draw=_drawer(),
        swatches=swatches,
        fullest=lambda group: max(group.panels, key=lambda panel: len(panel.lines)),
    )
    return text.lstrip()


def _drawer() -> Callable[[Panel], Markup]:
    """Draws panels with ids that never meet."""
    numbers = count(1)
    return lambda panel: Markup(panel_svg(panel, f"f{next(numbers)}"))
