"""Text that holds `${` and is not an interpolation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def escape(value: Any) -> Any:
    """The same values, with every `${` written so that OmegaConf reads it as text and not as an interpolation."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda m: m.group(1) * 2 + r"\${", value)
    if isinstance(value, Mapping):
        return {key: escape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escape(item) for item in value]
    return value
