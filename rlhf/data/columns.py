"""The columns of a row: which format they are, and their values with the row's origin in every error."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NoReturn

from rlhf.config.sections import ColumnsConfig
from rlhf.data.math_rows import is_math
from rlhf.data.rows import Row
from rlhf.data.summaries import is_summaries
from rlhf.data.transcripts import is_transcript
from rlhf.errors import DataError

_DEFAULT_NAMES = ("prompt", "chosen", "rejected", "answer", "messages")


def detect_format(values: dict[str, Any], columns: ColumnsConfig) -> str:
    """The format of a dataset from its first row. Raises DataError naming the columns found and sought."""

    def has(key: str) -> bool:
        return getattr(columns, key) is not None and values.get(getattr(columns, key)) is not None

    if has("chosen") and has("rejected"):
        sides = (values[columns.chosen], values[columns.rejected])
        transcripts = not has("prompt") and all(isinstance(side, str) and is_transcript(side) for side in sides)
        return "hh_transcripts" if transcripts else "pairs"
    if is_summaries(values):
        return "summaries"
    if has("messages"):
        return "messages"
    if has("prompt"):
        return "question_answer" if has("answer") else "prompts"
    if is_math(values):
        return "math"
    raise DataError(
        f"cannot tell the format from the columns {', '.join(map(repr, values))}. Looked for chosen and "
        f"rejected, messages, prompt and answer, prompt, or problem and solution; name yours, such as "
        f"dataset.columns.prompt=question"
    )


def refuse_unknown_columns(row: Row, columns: ColumnsConfig) -> None:
    """Raise DataError where the configuration names a column that the row has not."""
    for field in fields(columns):
        name = getattr(columns, field.name)
        if name is not None and name not in row.values and not (field.name == name and name in _DEFAULT_NAMES):
            _missing(row, name, f"dataset.columns.{field.name}={name}")


def value_of(row: Row, name: str | None, asked_by: str) -> Any:
    """What stands in column `name`; raises DataError that names `asked_by`, the key that wants the column."""
    if name is None or name not in row.values:
        _missing(row, str(name), asked_by)
    return row.values[name]


def text_of(row: Row, name: str | None, asked_by: str) -> str:
    """As `value_of`, for text; nothing is the empty text."""
    value = value_of(row, name, asked_by)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{row.origin}: column {name!r} must be text; got {type(value).__name__}")
    return value


def number_of(row: Row, name: str, asked_by: str) -> float | None:
    """As `value_of`, for a number; None where the row has none."""
    value = value_of(row, name, asked_by)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise DataError(f"{row.origin}: column {name!r} must be a number; got {value!r}") from None


def _missing(row: Row, name: str, asked_by: str) -> NoReturn:
    raise DataError(f"{row.origin}: no column {name!r} ({asked_by}); its columns: {', '.join(row.values)}")
