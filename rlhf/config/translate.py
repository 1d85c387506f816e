"""Hydra's composition errors, said in one line of this project's words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from rlhf.config.door import known_keys, unknown_key
from rlhf.config.paths import config_folder
from rlhf.config.run import STAGES


def explain_hydra(error: Exception, overrides: Sequence[str]) -> str:
    """One line for an error that Hydra raised.

    The wrong key with its closest match, the wrong group option with its options, or Hydra's own first line."""
    text = str(error).strip()
    stage = stage_of(overrides)
    key = re.search(r"Could not override '([^']+)'", text) or re.search(
        r"Key '[^']+' is not in struct\s+full_key: (\S+)", text
    )
    if key:
        return _wrong_key(key.group(1), stage)
    group = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if group:
        return _wrong_option(*group.groups())
    primary = re.search(r"Cannot find primary config '([^']+)'", text)
    if primary:
        return f"there is no configuration named {primary.group(1)!r} in that folder"
    lines = [
        line.strip()
        for line in text.split("\n")
        if line.strip() and not line.strip().startswith(("full_key", "object_type"))
    ]
    return " ".join(lines[:2])


def _wrong_key(key: str, stage: str) -> str:
    groups = [p.name for p in config_folder("conf").iterdir() if p.is_dir()]
    if key in groups:
        return f"{key} is not an option of stage={stage}: this stage does not use it"
    if key.split(".")[0].lstrip("+") == "reward":
        return f"{key} is not an option of the chosen reward. See conf/reward/ for the keys of each kind"
    section = key.split(".")[0] if "." in key else ""
    known = known_keys(stage, section) or known_keys(stage, "") + groups
    parent, _, leaf = key.rpartition(".")
    if key in known:
        return f"{key} is not an option of the chosen {section}. See conf/{section}/ for the keys of each kind"
    if parent in known:
        return f"{parent} has no {leaf!r} so far: add it with +{key}=..."
    return unknown_key(key, known, stage)


def _wrong_option(group: str, option: str) -> str:
    folder = config_folder("conf") / group
    folder = folder if folder.is_dir() else config_folder("sweeps") / group
    options = sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml") if p.stem != "base")
    close = difflib.get_close_matches(option, options, n=1, cutoff=0.6)
    hint = f"Did you mean {group}={close[0]}? " if close else ""
    return f"{group}={option} does not exist. {hint}Options: {', '.join(options)}"


def stage_of(overrides: Sequence[str]) -> str:
    """The stage that `overrides` name, or their experiment does; grpo where neither says."""
    given = {name.lstrip("+"): value for name, _, value in (override.partition("=") for override in overrides)}
    if given.get("stage") in STAGES:
        return given["stage"]
    file = config_folder("conf") / "experiment" / f"{given.get('experiment')}.yaml"
    chosen = re.search(r"^ *- override /stage: *(\S+)", file.read_text(), re.MULTILINE) if file.is_file() else None
    return chosen.group(1) if chosen else "grpo"
