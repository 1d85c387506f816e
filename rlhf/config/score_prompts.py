"""Score prompts: how a language model is asked to score one answer, on which scale, and where its score will stand.

A score prompt is a YAML file of conf/score_prompt (`dataset.score_prompt=concise_5`) or one of your own
(`dataset.score_prompt=my.yaml`). A score stands between tags, `<s>4</s>`. Texts hold placeholders: `$conversation` and
`$answer` in `prompt`, `$score` and `$reason` in `reply`; `$$` is a dollar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from string import Template

from rlhf.config.checks import one_of
from rlhf.config.prompt_files import check_placeholders, names_in, read_prompt_file
from rlhf.errors import ConfigError

PARSERS = ("first_tag", "last_tag")
"""Which tag counts where a reply has several; rlhf.rewards.score_parsers reads them."""
OPENING_TAG, CLOSING_TAG = "<s>", "</s>"
SCORE_IN_TAGS = f"{OPENING_TAG}$score{CLOSING_TAG}"


@dataclass(frozen=True)
class ScorePrompt:
    """One file of conf/score_prompt, whose comments say what each key means."""

    name: str
    system: str | None
    prompt: str
    parser: str  # first_tag | last_tag
    lowest: float
    highest: float
    reply: str

    def __post_init__(self) -> None:
        one_of(f"score prompt {self.name}: parser", self.parser, PARSERS)
        if not (math.isfinite(self.lowest) and math.isfinite(self.highest) and self.lowest < self.highest):
            raise ConfigError(
                f"score prompt {self.name}: lowest must be a number below highest; got {self.lowest} and {self.highest}"
            )
        required = {"conversation", "answer"}
        check_placeholders(f"score prompt {self.name}: prompt", self.prompt, offered=required, required=required)
        check_placeholders(
            f"score prompt {self.name}: reply", self.reply, offered={"score", "reason"}, required={"score"}
        )
        if self.reply.count(SCORE_IN_TAGS) != 1:
            raise ConfigError(f"score prompt {self.name}: reply must hold {SCORE_IN_TAGS} once; got {self.reply!r}")

    @property
    def has_reason(self) -> bool:
        """Whether a reply gives reasons beside its score."""
        return "reason" in Template(self.reply).get_identifiers()

    def question(self, conversation: str, answer: str) -> str:
        """`prompt` with the conversation and the answer in it; a dollar sign in either stays one."""
        return Template(self.prompt).substitute(conversation=conversation, answer=answer)

    def filled_reply(self, score: float, reason: str = "") -> str:
        """`reply` with this score, to six decimals and without those that are zero, and this reason; no white space at
        its ends."""
        number = f"{score:.6f}".rstrip("0").rstrip(".")
        return Template(self.reply).substitute(score=number, reason=reason).strip()


def score_prompt_names() -> list[str]:
    """The score prompts of conf/score_prompt."""
    return names_in("score_prompt")


@lru_cache(maxsize=32)
def load_score_prompt(name: str) -> ScorePrompt:
    """The score prompt called `name` in conf/score_prompt, or the YAML file at that path.

    Raises ConfigError for a file that is not there, is no YAML, or lacks a key or a placeholder or has an unknown one.
    """
    stem, values = read_prompt_file(
        ScorePrompt,
        name,
        group="score_prompt",
        key="dataset.score_prompt",
        numbers={"lowest", "highest"},
        nullable={"system"},
    )
    return ScorePrompt(name=stem, **values)


def check_score_prompt(name: str, template: str | None, truncation_side: str) -> None:
    """Raise ConfigError for a score prompt that cannot be loaded, or that other keys of `dataset` contradict."""
    load_score_prompt(name)
    if template is not None:
        raise ConfigError(
            f"dataset.score_prompt={name} asks for scores of answers and dataset.template={template} for answers to "
            "questions: set one of them to null"
        )
    if truncation_side == "right":
        raise ConfigError(
            f"dataset.score_prompt={name} asks for the score at its end, which dataset.truncation_side=right would "
            "cut; use left"
        )
