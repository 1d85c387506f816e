"""`resume=<run directory>`: which configuration a continued run has, and what changed since it started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from rlhf.config.paths import config_folder
from rlhf.errors import ConfigError

FREE_TO_CHANGE = ("resume", "resume_changed", "dry_run", "tracking", "hydra")
"""Keys and sections that say nothing about what is computed."""


def resumed_arguments(arguments: list[str]) -> list[str]:
    """The command line of a continued run: it writes into the run's own directory.

    Without a group choice beside it, `resume=RUN` brings RUN's stored configuration and further overrides apply to
    that. With one (the original command line given again), the configuration is composed from conf/ as always. Raises
    ConfigError, also for a multirun: a directory holds one run."""
    folder = _resume_folder(arguments)
    if folder is None:
        return arguments
    _refuse_multirun(arguments, folder)
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"resume={folder}: there is no run there (no config.yaml){_jobs_hint(folder)}")
    groups = {p.name for root in ("conf", "sweeps") for p in config_folder(root).iterdir() if p.is_dir()}
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    chooses_group = any(o.partition("=")[0].lstrip("+~") in groups for o in overrides)
    base = [] if chooses_group else ["--config-path", str(folder.resolve()), "--config-name", "config"]
    return [*base, *arguments, f"hydra.run.dir={folder}"]


def _resume_folder(arguments: list[str]) -> Path | None:
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") == "resume" and value not in ("", "null"):
            return Path(value)
    return None


def _refuse_multirun(arguments: list[str], folder: Path) -> None:
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    many = [a for a in arguments if a in ("-m", "--multirun")]
    many += [o for o in overrides if o.startswith("grid=") and o != "grid=null"]
    many += [o for o in overrides if o.partition("=")[0].lstrip("+") == "hydra.mode"]
    if many or any(map(_is_sweep, overrides)):
        raise ConfigError(
            f"resume={folder} continues one run and a sweep is many ({', '.join(many) or 'several values'}); "
            "continue each job by its own directory, resume=<sweep>/0, without -m and grid"
        )


def _is_sweep(override: str) -> bool:
    try:
        return OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:
        return False  # said by the check of the whole command line


def _jobs_hint(folder: Path) -> str:
    jobs = sorted(p.parent.name for p in folder.glob("*/config.yaml"))
    return f"; it holds {len(jobs)} runs, continue one of them: resume={folder / jobs[0]}" if jobs else ""


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


def check_same_data(stored: Mapping[str, Any], current: Mapping[str, Any], *, allow: bool) -> list[str]:
    """One line for each dataset of the run whose examples differ. Raises ConfigError showing them unless `allow`.

    stored, current   name of the part -> {"source", "kept", "fingerprint"}, when the checkpoint was saved and now
    """
    lines = [
        f"{name}: {_described(stored.get(name))} -> {_described(current.get(name))}"
        for name in sorted({*stored, *current})
        if (stored.get(name) or {}).get("fingerprint") != (current.get(name) or {}).get("fingerprint")
    ]
    if lines and not allow:
        raise ConfigError(
            "the data differs from what this run was trained on: "
            + "; ".join(lines)
            + ". Put the data back, or give resume_changed=allow to continue all the same"
        )
    return lines


def _described(data: Mapping[str, Any] | None) -> str:
    return f"{data['kept']} examples of {data['source']} (sha256 {data['fingerprint'][:8]})" if data else "not used"


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
