"""YAML files that hold the words of a prompt: found by name or path, every key there and of its type, every placeholder
known. conf/template and conf/score_prompt are such files.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import fields
from pathlib import Path
from string import Template
from typing import Any

import yaml

from rlhf.config.paths import config_folder
from rlhf.errors import ConfigError


def names_in(group: str) -> list[str]:
    """The files of conf/<group>, without their endings."""
    return sorted(path.stem for path in (config_folder("conf") / group).glob("*.yaml"))


def read_prompt_file(
    cls: type, name: str, *, group: str, key: str, numbers: Set[str] = frozenset(), nullable: Set[str] = frozenset()
) -> tuple[str, dict[str, Any]]:
    """(name, values) of the file called `name` in conf/<group>, or of the YAML file at that path.

    `cls` is the dataclass that the values are for, all of its fields but `name`; `numbers` are its fields that hold
    numbers, `nullable` those that may be null; the others are text. `key` is the configuration key that named the file.
    Raises ConfigError for a file that is not there, is no YAML, or lacks a key or has an unknown one.
    """
    own = config_folder("conf") / group / f"{name}.yaml"
    path = own if own.is_file() else Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"{key}={name} is neither a file nor one of {', '.join(names_in(group))}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    return path.stem, _checked(cls, path, group.replace("_", " "), values, numbers, nullable)


def check_placeholders(where: str, text: str, *, offered: Set[str], required: Set[str] = frozenset()) -> None:
    """Refuse a text with a placeholder that it is not offered, without one that it needs, or without any.

    Raises ConfigError that begins with `where`."""
    template = Template(text)
    if not template.is_valid():
        raise ConfigError(f"{where}: a dollar sign that begins no placeholder is written $$")
    used = set(template.get_identifiers())
    if unknown := sorted(used - offered):
        raise ConfigError(f"{where}: ${unknown[0]} is none of its placeholders, {_dollars(offered)}")
    if not used or required - used:
        raise ConfigError(f"{where} needs {_dollars(required or offered)}")


def _checked(cls: type, path: Path, kind: str, values: Any, numbers: Set[str], nullable: Set[str]) -> dict[str, Any]:
    """`values`, no key missing and none too many, with text where text belongs and numbers where numbers do."""
    keys = [f.name for f in fields(cls) if f.name != "name"]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: a {kind} is a mapping with the keys {', '.join(keys)}")
    for key in values:
        if key not in keys:
            raise ConfigError(f"{path}: {key} is not a key of a {kind}; there are {', '.join(keys)}")
    for key in keys:
        if key not in values:
            raise ConfigError(f"{path}: {key} is missing")
        value = values[key]
        if value is None and key in nullable:
            continue
        right = (int, float) if key in numbers else str
        if not isinstance(value, right) or isinstance(value, bool):
            raise ConfigError(f"{path}: {key} must be {'a number' if key in numbers else 'text'}; got {value!r}")
    return dict(values)


def _dollars(names: Set[str]) -> str:
    return " and ".join(f"${name}" for name in sorted(names))
