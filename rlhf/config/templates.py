"""Prompt templates: how a question is put to a model, where its answer will stand, and how a worked example looks.

A template is a YAML file of conf/template (`dataset.template=r1_zero`) or one of your own (`dataset.template=my.yaml`).
Its texts hold placeholders: `$question` in `prompt`, `$solution` and `$answer` in `demonstration`; `$$` is a dollar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from string import Template
from typing import Any

from rlhf.config.checks import one_of
from rlhf.config.prompt_files import check_placeholders, names_in, read_prompt_file
from rlhf.errors import ConfigError

EXTRACTORS = ("r1", "boxed", "last_number", "hash", "text")
"""Where an answer may stand; rlhf.rewards.verifiers.extract has the function of each."""


@dataclass(frozen=True)
class PromptTemplate:
    """One file of conf/template, whose comments say what each key means."""

    name: str
    form: str  # text | turns
    system: str | None
    prompt: str
    demonstration: str
    extractor: str
    stop: str | None

    def __post_init__(self) -> None:
        one_of(f"template {self.name}: form", self.form, ("text", "turns"))
        one_of(f"template {self.name}: extractor", self.extractor, EXTRACTORS)
        if self.stop == "":
            raise ConfigError(f"template {self.name}: stop is empty, which would end every answer at once; use null")
        if self.system is not None and self.form == "text":
            raise ConfigError(f"template {self.name}: form=text has no system turn; write it into prompt")
        check_placeholders(f"template {self.name}: prompt", self.prompt, offered={"question"}, required={"question"})
        check_placeholders(f"template {self.name}: demonstration", self.demonstration, offered={"solution", "answer"})

    def question(self, question: str) -> str:
        """`prompt` with the question in it."""
        return Template(self.prompt).substitute(question=question)

    def worked(self, solution: str, answer: str) -> str:
        """`demonstration` with the way to the answer, and the answer, in it."""
        return Template(self.demonstration).substitute(solution=solution, answer=answer)


def template_names() -> list[str]:
    """The templates of conf/template."""
    return names_in("template")


@lru_cache(maxsize=32)
def load_template(name: str) -> PromptTemplate:
    """The template called `name` in conf/template, or the YAML file at that path.

    Raises ConfigError for a file that is not there, is no YAML, or lacks a key or a placeholder or has an unknown one.
    """
    stem, values = read_prompt_file(
        PromptTemplate, name, group="template", key="dataset.template", nullable={"system", "stop"}
    )
    return PromptTemplate(name=stem, **values)


def stop_as_template(sections: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a run, with `rollout.stop` as the template of `dataset` says. Raises ConfigError.

    A grader has to know which text ended an answer, so rollout.stop cannot name another beside the template's."""
    dataset, rollout = sections.get("dataset"), sections.get("rollout")
    if dataset is None or dataset.template is None:
        return dict(sections)
    template = load_template(dataset.template)
    if rollout is None or template.stop is None:
        return dict(sections)
    if rollout.stop not in ([], [template.stop]):
        raise ConfigError(
            f"rollout.stop={rollout.stop} beside dataset.template={dataset.template}, which ends answers at "
            f"{template.stop!r}: leave rollout.stop empty, or write a template of your own"
        )
    return {**sections, "rollout": replace(rollout, stop=[template.stop])}
