"""Which models an evaluation is about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf.errors import ConfigError


def labelled_models(models: Any, default: str) -> dict[str, str]:
    """label -> path. A list takes the last part of each path as its label; None is `default` alone.

    Raises ConfigError for two models of one label, or an empty list."""
    if models is None:
        return {"model": default}
    if isinstance(models, Mapping):
        found = {str(label): str(path) for label, path in models.items()}
    else:
        found = {}
        for path in models:
            label = Path(str(path).rstrip("/")).name
            if label in found:
                raise ConfigError(
                    f"two models would be called {label!r}; name them: models={{a: {found[label]}, b: {path}}}"
                )
            found[label] = str(path)
    if not found:
        raise ConfigError("models is empty: give models=[path, ...] or models={label: path, ...}")
    return found
