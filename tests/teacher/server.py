"""What a local server needs to play the teacher: reading requests of several pairs, and replying to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from rlhf.config.compose import compose
from rlhf.config.teacher import ChatTeacherConfig
from tests.judges.server import Asked, JudgeServer, Reply

Pair = tuple[str, str, str]
"""Conversation, side 0, side 1."""


def asked_pairs(asked: Asked) -> list[Pair]:
    """The pairs of a request, in order."""
    user = asked.body["messages"][-1]["content"]
    found = re.findall(r"<((?:conversation|answer)-(\d+)[AB]?-[0-9a-f]{8})>\n(.*?)\n</\1>", user, re.DOTALL)
    numbers = [int(number) for _, number, _ in found]
    assert numbers == [n for n in range(1, len(found) // 3 + 1) for _ in range(3)], user
    texts = [text for _, _, text in found]
    return [tuple(texts[i : i + 3]) for i in range(0, len(texts), 3)]


def length_score(answer: str) -> int:
    """Longer is better, on the scale 1 to 5."""
    return min(5, 1 + len(answer) // 10)


def scores_of(pair: Pair) -> dict[str, Any]:
    return {
        side: {"reason": f"Because it has {len(answer)} letters.", "score": length_score(answer)}
        for side, answer in zip("AB", pair[1:], strict=True)
    }


def reply_to(pairs: list[Pair], **more: Any) -> Reply:
    entries = [{"pair": number, **scores_of(pair)} for number, pair in enumerate(pairs, 1)]
    return Reply(content=json.dumps({"pairs": entries}), **more)


def by_length(asked: Asked) -> Reply:
    return reply_to(asked_pairs(asked))


def teacher_server(answer: Callable[[Asked], Reply] = by_length) -> JudgeServer:
    return JudgeServer(answer)


def settings(server: JudgeServer, folder: Any) -> dict[str, Any]:
    """Of conf/teacher/local.yaml: `server`, quick retries, $1 and $2 a million tokens, a cache in `folder`."""
    return {
        "base_url": server.url,
        "cache": f"{folder}/cache.sqlite",
        "backoff_s": 0.01,
        "backoff_max_s": 0.05,
        "timeout_s": 5.0,
        "input_price": 1.0,
        "output_price": 2.0,
    }


def overrides(server: JudgeServer, folder: Any, *more: str) -> list[str]:
    """The settings as words of a command line, and more of them."""
    return ["teacher=local", *(f"teacher.{key}={value}" for key, value in settings(server, folder).items()), *more]


@cache
def _local() -> ChatTeacherConfig:
    return compose(["stage=teacher", "teacher=local"]).teacher


def teacher_config(server: JudgeServer, folder: Any, **changes: Any) -> ChatTeacherConfig:
    """The settings as a section, with changes."""
    return replace(_local(), **settings(server, folder), **changes)
