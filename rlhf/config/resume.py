"""`resume=<run directory>`: which configuration a continued run has, and what changed since it started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf.config.paths import config_folder
from rlhf.errors import ConfigError

FREE_TO_CHANGE = ("resume", "resume_changed", "tracking", "hydra")
"""Keys and sections that say nothing about what is computed."""


def resumed_arguments(arguments: list[str]) -> list[str]:
    """The command line of a continued run: it writes into the run's own directory.

    Without a group choice beside it, `resume=RUN` brings RUN's stored configuration and further overrides apply to
    that. With one (the original command line given again), the configuration is composed from conf/ as always. Raises
    ConfigError."""
    folder = _resume_folder(arguments)
    if folder is None:
        return arguments
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"resume={folder}: there is no run there (no config.yaml)")
    groups = {p.name for root in ("conf", "sweeps") for p in config_folder(root).iterdir() if p.is_dir()}
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    chooses_group = any(o.partition("=")[0].lstrip("+~") in groups for o in overrides)
    base = [] if chooses_group else ["--config-path", str(folder.resolve()), "--config-name", "config"]
    return [*base, *arguments, f"hydra.run.dir={folder}"]


def _resume_folder(arguments: list[str]) -> Path | None:
    for argument in arguments:
        if argument.startswith("resume=") and argument.removeprefix("resume=") not in ("", "null"):
            return Path(argument.removeprefix("resume="))
    return None


def check_unchanged(stored: Mapping[str, Any], current: Mapping[str, Any], *, allow: bool) -> list[str]:
    """The lines "key: then -> now" that differ. Raises ConfigError showing them unless `allow`."""
    lines = differences(stored, current)
    if lines and not allow:
        raise ConfigError(
            "the configuration differs from the one this run started with: "
            + "; ".join(lines)
            + ". Give resume_changed=allow to continue all the same"
        )
    return lines


def differences(stored: Mapping[str, Any], current: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Leaf keys whose values differ, as "key: then -> now"."""
    lines: list[str] = []
    for key in sorted({*stored, *current}):
        if not prefix and key in FREE_TO_CHANGE:
            continue
        then, now = stored.get(key), current.get(key)
        if isinstance(then, Mapping) and isinstance(now, Mapping):
            lines += differences(then, now, f"{prefix}{key}.")
        elif then != now:
            lines.append(f"{prefix}{key}: {then!r} -> {now!r}")
    return lines
