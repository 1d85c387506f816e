"""Files that survive a crash: whole or not there, one JSON line at a time, never a NaN.

A file is written beside its place under a temporary name, forced to disk and renamed over the old one. Renames
are atomic, so a reader sees the old file or the new one and nothing between.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import uuid4

from rlhf.errors import CheckpointError

# str.splitlines and many editors take these for line ends; JSON allows them raw inside strings
_LINE_ENDS = {"\u0085": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def to_jsonable(value: Any) -> Any:
    """`value` as JSON knows it: NaN and infinities become None; numpy and torch values become numbers and lists.

    Mapping keys become text, dataclasses dicts, paths text, sets sorted lists. Raises TypeError for anything else.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Enum):
        return to_jsonable(value.value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((to_jsonable(item) for item in value), key=str)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, date):  # datetime too
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # numpy and torch, scalars and arrays, without importing either
        return to_jsonable(value.tolist())
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON: {value!r}")


def dump_json(value: Any, *, indent: int | None = None) -> str:
    """JSON text of `value`; without `indent` one line, whatever the strings in it hold."""
    text = json.dumps(to_jsonable(value), ensure_ascii=False, allow_nan=False, indent=indent)
    for character, escape in _LINE_ENDS.items():
        text = text.replace(character, escape)
    return text


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Replace the content of `path` in one step; the folder must exist. A failure leaves the old file and no other."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}-{uuid4().hex[:8]}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text_atomic(path: Path, text: str) -> None:
    """Replace the content of `path` by UTF-8 `text` in one step. Half a surrogate pair becomes a question mark."""
    write_bytes_atomic(path, text.encode("utf-8", errors="replace"))


def write_json_atomic(path: Path, value: Any) -> None:
    """Replace the content of `path` by indented JSON in one step. Raises TypeError for what JSON cannot hold."""
    write_text_atomic(path, dump_json(value, indent=2) + "\n")


def write_jsonl_atomic(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace the content of `path` by one line a row, in one step. Raises TypeError for what JSON cannot hold."""
    write_text_atomic(path, "".join(dump_json(row) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    """The JSON value in `path`. Raises CheckpointError naming the file if it is not there or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line in one write, so that a crash can tear the last line only."""
    line = (dump_json(row) + "\n").encode("utf-8", errors="replace")
    with open(path, "ab", buffering=0) as file:
        file.write(line)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Every row of `path`; none if the file does not exist. A torn last line, left by a crash, is ignored.

    Raises CheckpointError with file and line for anything else that is not a JSON object.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    torn = lines.pop()  # empty where the file ends with a newline
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _parse(line)
        if row is None:
            raise CheckpointError(f"{path}:{number} is not a JSON object: {line[:80]!r}")
        rows.append(row)
    last = _parse(torn) if torn.strip() else None
    return rows if last is None else [*rows, last]


def cut_jsonl(path: Path, keep: Callable[[dict[str, Any]], bool]) -> int:
    """Keep the rows that `keep` accepts, in one step; a torn last line goes too. Returns how many rows were removed."""
    path = Path(path)
    if not path.exists():
        return 0
    rows = read_jsonl(path)
    kept = [row for row in rows if keep(row)]
    write_text_atomic(path, "".join(dump_json(row) + "\n" for row in kept))
    return len(rows) - len(kept)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (UnicodeDecodeError, json.JSONDecodeError):
        return None
    return row if isinstance(row, dict) else None
