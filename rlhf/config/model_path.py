"""`model=<path>`: weights named where an option of conf/model would stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlhf.config.paths import config_folder


def with_model_paths(overrides: Sequence[str]) -> list[str]:
    """`overrides` with model=outputs/grpo/<run> written as Hydra needs it, model=local model.path=outputs/grpo/<run>.

    A path is what holds a slash, or is a folder, and is no option of conf/model; several with commas are a sweep. Other
    overrides stay as they are."""
    found: list[str] = []
    for override in overrides:
        key, _, value = override.partition("=")
        paths = value.strip("'\"").split(",")
        if key == "model" and all(map(_is_path, paths)):
            found += ["model=local", f"model.path={value}"]
        else:
            found.append(override)
    return found


def _is_path(value: str) -> bool:
    option = (config_folder("conf") / "model" / f"{value}.yaml").is_file()
    return not option and bool(value) and ("/" in value or Path(value).is_dir())
