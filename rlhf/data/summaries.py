"""Rows of OpenAI's summarize-from-feedback (Stiennon et al., arXiv 2009.01325): a text, two summaries, the better one.

    {"info": {"id", "subreddit", "title", "post"}, "summaries": [{"text"}, {"text"}], "choice": 0 | 1, "worker": ...}

News articles, which the validation split has too, stand in info.article.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlhf.data.conversations import MalformedExample
from rlhf.data.rows import Row
from rlhf.errors import DataError

_PARTS = (("Subreddit", "subreddit"), ("Title", "title"), ("Post", "post"), ("Article", "article"))


@dataclass(frozen=True)
class SummaryRow:
    """One comparison of two summaries."""

    request: str  # the text to summarise, and that it is to be
    chosen: str
    rejected: str
    metadata: dict[str, Any]  # post_id, policies (that wrote chosen and rejected), and the row's other columns


def is_summaries(values: Mapping[str, Any]) -> bool:
    """Whether a row is a comparison of summaries: it has a text, summaries and a choice."""
    return isinstance(values.get("info"), Mapping) and isinstance(values.get("summaries"), list) and "choice" in values


def summary_row(row: Row) -> SummaryRow:
    """What a row says. Raises DataError where it has not this layout, and MalformedExample where there is no text."""
    values = row.values
    if not is_summaries(values):
        raise DataError(
            f"{row.origin}: a comparison of summaries has the columns info, summaries and choice; its columns: "
            f"{', '.join(values)}"
        )
    info, summaries, choice = values["info"], values["summaries"], values["choice"]
    texts = [s.get("text") if isinstance(s, Mapping) else None for s in summaries]
    if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{row.origin}: summaries must be two, each with a text; got {str(summaries)[:80]}")
    if isinstance(choice, bool) or choice not in (0, 1):
        raise DataError(f"{row.origin}: choice must be 0 or 1, the summary that is better; got {choice!r}")
    better, worse = choice, 1 - choice
    beside = {key: value for key, value in values.items() if key not in ("info", "summaries", "choice")}
    policies = [summaries[side].get("policy") for side in (better, worse)]
    return SummaryRow(
        _request(info), texts[better].strip(), texts[worse].strip(),
        beside | {"post_id": info.get("id"), "policies": policies},
    )  # fmt: skip


def _request(info: Mapping[str, Any]) -> str:
    """The parts that the row has, each under its name, then the request for a summary."""
    parts = [(name, info.get(key)) for name, key in _PARTS]
    if not any(name in ("Post", "Article") and str(text or "").strip() for name, text in parts):
        raise MalformedExample("empty_prompt")
    shown = [f"{name}: {str(text).strip()}" for name, text in parts if str(text or "").strip()]
    return "\n".join([*shown, "", "TL;DR:"])
