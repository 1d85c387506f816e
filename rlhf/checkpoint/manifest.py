"""manifest.json of one checkpoint: what belongs to it and how to tell that it is whole."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf.errors import CheckpointError
from rlhf.tracking.files import dump_json, write_json_atomic

FORMAT = 1
NAME = "manifest.json"


def write_manifest(folder: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Record size and sha256 of every file in `folder`, and force all of it to disk.

    {"format": 1, "step": 100, "metrics": {...}, "files": {"policy.safetensors": {"bytes", "sha256"}},
     "sha256": of all the rest}
    """
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        fsync(path)
    body = json.loads(dump_json({"format": FORMAT, "step": step, "metrics": metrics, "files": files}))
    write_json_atomic(folder / NAME, body | {"sha256": _digest(body)})
    fsync(folder)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of `folder`. Raises CheckpointError if it is absent, damaged, or of another format."""
    path = folder / NAME
    try:
        body = json.loads(path.read_bytes())
        digest = body.pop("sha256")
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder.name} has no {NAME}") from error
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder.name}/{NAME} is damaged") from error
    if digest != _digest(body):
        raise CheckpointError(f"{folder.name}/{NAME} is damaged")
    if body["format"] != FORMAT:
        raise CheckpointError(f"{folder.name} has format {body['format']}; this version reads format {FORMAT}")
    return body


def verify(folder: Path) -> dict[str, Any]:
    """The manifest, after every file's content was compared with it. Raises CheckpointError naming the first fault."""
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{folder.name}/{name} is missing")
        if path.stat().st_size != expected["bytes"] or _sha256(path) != expected["sha256"]:
            raise CheckpointError(f"{folder.name}/{name} is damaged")
    return manifest


def finite_metric(manifest: Mapping[str, Any], name: str) -> float | None:
    """The metric `name` of a checkpoint; None where it was not measured or was not finite."""
    return finite(manifest["metrics"].get(name))


def finite(value: Any) -> float | None:
    """`value` as a float if it is a finite number, else None."""
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def fsync(path: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
