"""Variables of the environment, or of a file of KEY=value lines. Values are handed out, never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from rlhf.errors import ConfigError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def read_env_file(path: str | os.PathLike[str], key: str = "judge.env_file") -> dict[str, str]:
    """The variables in the file: KEY=value lines, with `export` and quotes or without; # starts a comment. `key` is
    where the configuration names the file.

    Raises ConfigError naming the line, never its content."""
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}={path} cannot be read: {getattr(error, 'strerror', error)}") from error
    found = {}
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{path}:{number} is not of the form KEY=value")
        found[match[1]] = _unquoted(match[2].strip())
    return found


class Variables:
    """Looks names up in the environment first, then in the file."""

    def __init__(
        self, env_file: str | None, environment: Mapping[str, str] | None = None, *, key: str = "judge.env_file"
    ) -> None:
        self.file, self._key = env_file, key
        self._environment = os.environ if environment is None else environment
        self._from_file = read_env_file(env_file, key) if env_file else {}

    def get(self, name: str | None, key: str) -> str | None:
        """The value of the variable `name`, which the configuration names in `key`; None where it names none.

        Raises ConfigError where the variable is neither here nor there, or empty."""
        if name is None:
            return None
        value = (self._environment.get(name) or self._from_file.get(name) or "").strip()
        if not value:
            where = f"neither in the environment nor in {self.file}" if self.file else "not in the environment"
            hint = "" if self.file else f", or name a file with a line for it, {self._key}=..."
            raise ConfigError(f"{key}={name}: that variable is {where}; set it{hint}")
        return value


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return re.split(r"\s#", value, maxsplit=1)[0].strip()
