"""The door: from a composed Hydra configuration to a typed, checked RunConfig. Past it nobody sees a DictConfig.

Hydra catches a wrong plain override; only this door catches keys smuggled in with `+` or `++`, wrong types inside a
saved config.yaml, and values out of range. Every error is one line: the key, the value got, and what would be right.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from rlhf.config.cross_checks import check_across
from rlhf.config.interpolation import escape
from rlhf.config.rewards import REWARD_KINDS, WeightedComponent, WeightedRewardConfig
from rlhf.config.run import COMMON_KEYS, STAGE_KEYS, STAGES, RunConfig
from rlhf.config.templates import stop_as_template
from rlhf.errors import ConfigError


def open_config(cfg: DictConfig | Mapping[str, Any]) -> RunConfig:
    """Check `cfg` against the schema of its stage and return it frozen.

    Raises ConfigError with one line for: an unknown stage, key or reward kind, a missing or `???` value, a wrong type,
    a value out of range, an interpolation that does not resolve, sections that contradict each other.
    """
    plain = _to_plain(cfg)
    plain.pop("hydra", None)
    stage = plain.get("stage")
    if stage not in STAGES:
        raise ConfigError(f"stage must be one of {', '.join(STAGES)}; got {stage!r}")
    schema = STAGES[stage]
    keys = COMMON_KEYS + STAGE_KEYS.get(stage, ())
    _refuse_unknown(plain, list(keys) + list(schema), stage, prefix="")
    for key in list(keys) + list(schema):
        if key not in plain:
            raise ConfigError(f"{key} is missing from the configuration of stage={stage}")
    values = {key: _typed_scalar(key, plain[key]) for key in keys}
    sections = {name: open_section(name, plain[name], section, stage) for name, section in schema.items()}
    run = RunConfig(**values, **stop_as_template(sections), plain=plain)
    check_across(run)
    return run


def _to_plain(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(OmegaConf.create(cfg), resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value: set it on the command line") from error
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error


def _typed_scalar(key: str, value: Any) -> Any:
    expected = {"seed": int, "stage": str, "name": str, "resume_changed": str}.get(key)
    if expected is None:
        return value
    if isinstance(value, bool) or not isinstance(value, (expected, int) if expected is str else expected):
        raise ConfigError(f"{key} must be {_kind_of(expected)}; got {value!r}")
    return expected(value)


def open_section(name: str, values: Any, schema: Any, stage: str) -> Any:
    """One section as its frozen dataclass. Raises ConfigError.

    `schema` is the dataclass, or a dict of them by `kind`."""
    if isinstance(schema, dict):
        kind = values.get("kind") if isinstance(values, Mapping) else None
        if kind not in schema:
            raise ConfigError(f"{name}.kind must be one of {', '.join(schema)}; got {kind!r}")
        schema = schema[kind]
        stage = f"{stage} with {name}.kind={kind}"
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} must be a section with keys {', '.join(_names(schema))}; got {values!r}")
    _check_keys(values, schema, stage, prefix=f"{name}.")
    try:
        section = OmegaConf.to_object(OmegaConf.merge(_writable(OmegaConf.structured(schema)), escape(values)))
    except ConfigError:
        raise
    except OmegaConfBaseException as error:
        raise ConfigError(_explain(name, values, schema, error)) from error
    return _open_components(section) if isinstance(section, WeightedRewardConfig) else section


def _open_components(reward: WeightedRewardConfig) -> WeightedRewardConfig:
    """Each component is a reward section of its own with a weight beside it."""
    opened = {}
    for name, values in reward.components.items():
        key = f"reward.components.{name}"
        weight = values.get("weight") if isinstance(values, Mapping) else None
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise ConfigError(f"{key}.weight must be a number; got {weight!r}")
        rest = {k: v for k, v in values.items() if k != "weight"}
        opened[name] = WeightedComponent(float(weight), open_section(key, rest, REWARD_KINDS, "this run"))
    return replace(reward, components=opened)


def _writable(node: DictConfig) -> DictConfig:
    """OmegaConf marks what comes from a frozen dataclass read-only, and then refuses to merge values into it."""
    OmegaConf.set_readonly(node, False)
    for name in _names(OmegaConf.get_type(node)):
        child = node._get_node(name)
        if isinstance(child, DictConfig) and is_dataclass(child._metadata.ref_type):
            node[name] = _writable(OmegaConf.structured(child._metadata.ref_type))
    return node


def _check_keys(values: Mapping[str, Any], schema: Any, stage: str, prefix: str) -> None:
    hints = get_type_hints(schema)
    _refuse_unknown(values, _names(schema), stage, prefix)
    for name in _names(schema):
        if name not in values:
            raise ConfigError(f"{prefix}{name} is missing from the configuration of stage={stage}")
        nested = _nested(hints[name])
        if nested is not None and isinstance(values[name], Mapping):
            _check_keys(values[name], nested, stage, f"{prefix}{name}.")


def _refuse_unknown(values: Mapping[str, Any], known: list[str], stage: str, prefix: str) -> None:
    for key in values:
        if key not in known:
            raise ConfigError(unknown_key(f"{prefix}{key}", [f"{prefix}{name}" for name in known], stage))


def unknown_key(key: str, known: list[str], stage: str) -> str:
    """The sentence for a key that this stage does not have: the closest match, or all options of its section."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    hint = f"Did you mean {close[0]}?" if close else f"Options: {', '.join(known)}"
    return f"{key} is not an option of stage={stage}. {hint}"


def known_keys(stage: str, section: str) -> list[str]:
    """Full names of the keys of one section of a stage, of all its kinds; for an empty section, of its top level."""
    schema = STAGES[stage]
    if not section:
        return list(COMMON_KEYS + STAGE_KEYS.get(stage, ())) + list(schema)
    if section not in schema:
        return []
    kinds = schema[section].values() if isinstance(schema[section], dict) else [schema[section]]
    return list(dict.fromkeys(key for kind in kinds for key in _walk(kind, f"{section}.")))


def _walk(schema: Any, prefix: str) -> list[str]:
    hints = get_type_hints(schema)
    found: list[str] = []
    for name in _names(schema):
        nested = _nested(hints[name])
        found += [f"{prefix}{name}"] if nested is None else _walk(nested, f"{prefix}{name}.")
    return found


def _nested(hint: Any) -> Any:
    """The dataclass of a section within a section, which may be null; None for anything else."""
    return next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)


def _explain(section: str, values: Mapping[str, Any], schema: Any, error: OmegaConfBaseException) -> str:
    key = getattr(error, "full_key", None)
    if not key:
        return f"{section}: {_first_line(error)}"
    hint, value = schema, values
    for part in str(key).split("."):
        hint = get_type_hints(_nested(hint)).get(part) if _nested(hint) else None
        value = value.get(part) if isinstance(value, Mapping) else None
    return f"{section}.{key} must be {_kind_of(hint)}; got {value!r}"


def _kind_of(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if hint in words:
        return words[hint]
    if is_dataclass(hint):
        return f"a section with keys {', '.join(_names(hint))}"
    inner = [words[a] for a in getattr(hint, "__args__", ()) if a in words]
    if inner and type(None) in hint.__args__:
        return f"{inner[0]} or null"
    return f"a list of {inner[0]}" if inner else "of another type"


def _names(schema: Any) -> list[str]:
    return [f.name for f in fields(schema)]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
