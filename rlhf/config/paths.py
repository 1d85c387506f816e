"""Where the YAML lives: inside the package when installed from a wheel, beside it in a clone."""

from __future__ import annotations

from pathlib import Path

import rlhf


def config_folder(name: str) -> Path:
    """Absolute folder of `conf` or `sweeps`."""
    package = Path(rlhf.__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
