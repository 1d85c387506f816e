"""Rows of local files: JSON Lines, JSON, CSV and Parquet, gzipped too but for the last. A row knows where it stands."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rlhf.errors import DataError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")


@dataclass(frozen=True)
class Row:
    """One record as it was read."""

    values: dict[str, Any]  # column -> value
    origin: str  # "file:line", "file:row 3" where the file has no lines, "name[split]:index" for hub datasets


def format_of(path: Path) -> str | None:
    """The suffix that says how to read `path`, without .gz; None where it is not a data file."""
    name = path.name.lower().removesuffix(".gz")
    suffix = next((s for s in SUFFIXES if name.endswith(s)), None)
    return None if suffix == ".parquet" and path.name.lower().endswith(".gz") else suffix


def read_file(path: Path) -> Iterator[Row]:
    """The rows of one file, in order, read as they are asked for.

    Raises DataError naming file and line for what is not the format the name says, and the file for what cannot be
    read.
    """
    suffix = format_of(path)
    if suffix is None:
        raise DataError(f"{path}: cannot read this kind of file; it must end in {', '.join(SUFFIXES)} (.gz for text)")
    if suffix == ".parquet":
        yield from _read_parquet(path)
        return
    readers = {".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".json": _read_json, ".csv": _read_csv}
    try:
        with _open_text(path) as file:
            yield from readers[suffix](path, file)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _open_text(path: Path) -> TextIO:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _read_jsonl(path: Path, file: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not valid JSON: {error.msg} at column {error.colno}") from error
        yield Row(_object(values, f"{path}:{number}"), f"{path}:{number}")


def _read_json(path: Path, file: TextIO) -> Iterator[Row]:
    """A list of objects; or, since many files named .json are JSON Lines, an object a line."""
    text = file.read()
    if not text.lstrip().startswith("["):
        yield from _read_jsonl(path, text.split("\n"))  # splitlines would also cut at U+2028
        return
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON: {error.msg} at column {error.colno}") from error
    for number, values in enumerate(items, start=1):
        yield Row(_object(values, f"{path}:row {number}"), f"{path}:row {number}")


def _object(values: Any, origin: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise DataError(f"{origin}: expected an object with named columns; got {type(values).__name__}")
    return values


def _read_csv(path: Path, file: TextIO) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # the default, 128 KiB, is shorter than long transcripts
    reader = csv.DictReader(file, strict=True)
    try:
        for values in reader:
            origin = f"{path}:{reader.line_num}"
            if None in values or None in values.values():
                expected = len(reader.fieldnames or ())
                raise DataError(f"{origin}: the header names {expected} columns; this row has another number of fields")
            yield Row(values, origin)
    except csv.Error as error:
        line = reader.reader.line_num  # DictReader's own count stops at the last good row
        raise DataError(f"{path}:{line}: not valid CSV: {error}") from error


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(values, f"{path}:row {number}")
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
