"""What a chat judge is told: a text file with a few placeholders, filled in without ever reading the answers as code.

A template is the judge's instructions, a line `---`, and the comparison. `$prompt`, `$answer_a` and `$answer_b` must
occur, `$format` (how to reply) too; `$fence` is a mark that differs from comparison to comparison and cannot be known
to the one who wrote the answers, so that no answer can end its own section. `$$` is a dollar sign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from string import Template

from rlhf.config.paths import config_folder
from rlhf.errors import ConfigError
from rlhf.judges.types import Comparison, sound

FORMAT = (
    'Reply with one JSON object and nothing else: {"reason": "one or two sentences", "winner": "A" or "B" or "tie"}. '
    "Give the reason first."
)
"""Stands for `$format`. Read back by rlhf.judges.parsing."""

RULER = "\n---\n"
REQUIRED = {"prompt", "answer_a", "answer_b", "format"}
OFFERED = REQUIRED | {"fence"}


@dataclass(frozen=True)
class JudgeTemplate:
    """The two messages of a comparison, unfilled."""

    name: str
    system: str
    user: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all text that is the same for every comparison."""
        return hashlib.sha256("\0".join((self.system, self.user, FORMAT)).encode()).hexdigest()

    def messages(self, comparison: Comparison) -> list[dict[str, str]]:
        """The request, the first answer as A and the second as B."""
        texts = [sound(text) for text in (comparison.prompt, comparison.first, comparison.second)]
        values = dict(zip(("prompt", "answer_a", "answer_b"), texts, strict=True)) | {
            "format": FORMAT,
            "fence": hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8],
        }
        filled = [("system", self.system), ("user", self.user)]
        return [{"role": role, "content": Template(text).substitute(values)} for role, text in filled]


def load_template(name: str) -> JudgeTemplate:
    """The template called `name` in conf/judge/templates, or the file at that path.

    Raises ConfigError for a file that is not there, or lacks a part or a placeholder, or has an unknown one."""
    return JudgeTemplate(*read_template("judge", name, "comparison", required=REQUIRED, offered=OFFERED))


def read_template(
    section: str, name: str, question: str, *, required: Set[str], offered: Set[str]
) -> tuple[str, str, str]:
    """(name, instructions, question) of the template called `name` in conf/<section>/templates, or at that path;
    `question` is what its second part is, for errors.

    Raises ConfigError as `load_template`."""
    folder = config_folder("conf") / section / "templates"
    path = folder / f"{name}.txt" if (folder / f"{name}.txt").is_file() else Path(name)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in folder.glob("*.txt")))
        raise ConfigError(f"{section}.template={name} is neither a file nor one of {names}")
    text = path.read_text(encoding="utf-8")
    system, ruler, user = text.partition(RULER)
    if not ruler:
        raise ConfigError(f"{path}: a template is the {section}'s instructions, a line '---', and the {question}")
    _check_placeholders(path, (system, user), required, offered)
    return Path(name).stem, system.strip(), user.strip()


def _check_placeholders(path: Path, parts: Sequence[str], required: Set[str], offered: Set[str]) -> None:
    used: set[str] = set()
    for part in parts:
        template = Template(part)
        if not template.is_valid():
            raise ConfigError(f"{path}: a dollar sign that begins no placeholder is written $$")
        used |= set(template.get_identifiers())
    if unknown := sorted(used - offered):
        raise ConfigError(f"{path}: ${unknown[0]} is no placeholder; there are {_dollars(offered)}")
    if missing := required - used:
        raise ConfigError(f"{path} lacks {_dollars(missing)}")


def _dollars(names: Set[str]) -> str:
    return ", ".join(f"${name}" for name in sorted(names))
