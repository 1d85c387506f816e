"""What a chat model is told: the score prompt of the student, the scale, and several pairs at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template

from rlhf.config.score_prompts import ScorePrompt
from rlhf.errors import ConfigError
from rlhf.judges.templates import read_template
from rlhf.judges.types import sound
from rlhf.teacher.questions import Question
from rlhf.teacher.replies import SIDES

FORMAT = (
    'Reply with one JSON object and nothing else: {"pairs": [{"pair": 1, "A": {"reason": "...", "score": %d}, '
    '"B": {"reason": "...", "score": %d}}, ...]}, one entry for each pair, in their order. Give each reason before its '
    "score."
)
"""Stands for `$format`. Read back by rlhf.teacher.replies."""

REQUIRED = {"pairs", "format", "lowest", "highest"}
OFFERED = REQUIRED | {"request"}


@dataclass(frozen=True)
class TeacherTemplate:
    """The two messages of a request, all filled in but the pairs."""

    system: str
    user: str  # $pairs is where they go

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all text that is the same for every request."""
        return hashlib.sha256("\0".join((self.system, self.user)).encode()).hexdigest()

    def messages(self, questions: Sequence[Question]) -> list[dict[str, str]]:
        """The request about these pairs, numbered from 1, side 0 as A and side 1 as B."""
        texts = [[sound(text) for text in (q.conversation, *q.answers)] for q in questions]
        # a mark that nobody can know who wrote the texts, so that none of them can end its own section
        mark = hashlib.sha256("\0".join(text for each in texts for text in each).encode()).hexdigest()[:8]
        pairs = "\n\n".join(_shown(number, each, mark) for number, each in enumerate(texts, start=1))
        user = Template(self.user).substitute(pairs=pairs)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]


def load_teacher_template(name: str, score_prompt: ScorePrompt, levels: range) -> TeacherTemplate:
    """The template called `name` in conf/teacher/templates, or the file at that path, for this score prompt.

    `$request` is what the student is asked, `$lowest` and `$highest` are the ends of the scale, `$format` says how to
    reply, `$pairs` stands in the second part. Raises ConfigError for a file that is not there, or lacks a part or a
    placeholder, or has an unknown one."""
    stem, system, user = read_template("teacher", name, "pairs", required=REQUIRED, offered=OFFERED)
    if "pairs" not in Template(user).get_identifiers():
        raise ConfigError(
            f"teacher.template={stem}: $pairs stands in the instructions; it belongs below the line '---'"
        )
    request = score_prompt.question("(the conversation)", "(the answer)")
    values = {
        "request": request if score_prompt.system is None else f"{score_prompt.system}\n\n{request}",
        "lowest": str(levels[0]),
        "highest": str(levels[-1]),
        "format": FORMAT % (levels[0], levels[-1]),
    }
    # the pairs come later: their place must outlive this filling, and dollar signs of the values the next one
    later = {key: value.replace("$", "$$") for key, value in values.items()} | {"pairs": "$pairs"}
    return TeacherTemplate(Template(system).substitute(values, pairs=""), Template(user).substitute(later))


def _shown(number: int, texts: Sequence[str], mark: str) -> str:
    names = (f"conversation-{number}", *(f"answer-{number}{side}" for side in SIDES))
    sections = (f"<{name}-{mark}>\n{text}\n</{name}-{mark}>" for name, text in zip(names, texts, strict=True))
    return "\n\n".join((f"Pair {number}", *sections))
