"""What stage=teacher would ask, and what that would cost."""

from __future__ import annotations

from collections.abc import Iterator

from rlhf.config.run import RunConfig
from rlhf.config.score_prompts import load_score_prompt
from rlhf.data.rendering import Renderer
from rlhf.dry_run.absent import unless_absent
from rlhf.dry_run.blueprints import tokenizer_of
from rlhf.teacher.build import build_teacher
from rlhf.teacher.questions import parts_of, read_questions
from rlhf.types import Reward


def taught_lines(config: RunConfig) -> Iterator[str]:
    """The data of every part, then requests, tokens and dollars. Needs no key. Raises RlhfError as the run would."""
    return unless_absent(config.dataset.path, _lines(config))


def _lines(config: RunConfig) -> Iterator[str]:
    renderer = Renderer(tokenizer_of(config.model), config.dataset)
    questions = []
    for split in parts_of(config.dataset, config.teacher.split):
        found, report = read_questions(config.dataset, split, renderer)
        questions += found
        yield from report.lines()
    teacher = build_teacher(
        config.teacher,
        load_score_prompt(config.dataset.score_prompt),
        seed=config.seed,
        load_learned=_never,
        asks=False,
    )
    plan = teacher.plan(questions)
    yield f"teacher {teacher.name}: {plan.pairs:,} pairs, {plan.requests:,} requests to send, {plan.words}"


def _never(path: str) -> Reward:
    raise AssertionError(f"a plan loads no reward model: {path}")
