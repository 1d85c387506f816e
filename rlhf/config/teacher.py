"""`teacher:` of stage=teacher has one shape per kind. TEACHER_KINDS maps the kind to its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rlhf.config.checks import at_least, one_of
from rlhf.config.endpoints import EndpointConfig
from rlhf.config.score_prompts import load_score_prompt
from rlhf.errors import ConfigError

if TYPE_CHECKING:
    from rlhf.config.run import RunConfig


@dataclass(frozen=True)
class TeacherConfig:
    """What every teacher has: conf/teacher/base.yaml."""

    kind: str
    split: str
    keep: str
    sides: str
    reason: bool
    samples: int

    def __post_init__(self) -> None:
        one_of("teacher.split", self.split, ("both", "train", "eval"))
        one_of("teacher.keep", self.keep, ("all", "right_order"))
        one_of("teacher.sides", self.sides, ("both", "preferred", "other"))
        at_least("teacher.samples", self.samples, 0, "0 shows none")


@dataclass(frozen=True)
class ChatTeacherConfig(TeacherConfig, EndpointConfig):
    """A chat model: conf/teacher/chat/base.yaml beside its endpoint's keys."""

    section: ClassVar[str] = "teacher"

    template: str
    pairs_per_request: int
    malformed_retries: int

    def __post_init__(self) -> None:
        TeacherConfig.__post_init__(self)
        EndpointConfig.__post_init__(self)
        if not self.template.strip():
            raise ConfigError("teacher.template is empty")
        at_least("teacher.pairs_per_request", self.pairs_per_request, 1)
        at_least("teacher.malformed_retries", self.malformed_retries, 0)


@dataclass(frozen=True)
class GoldTeacherConfig(TeacherConfig):
    """The rule that labelled the bundled dataset."""


@dataclass(frozen=True)
class RandomTeacherConfig(TeacherConfig):
    """Scores that say nothing: the form alone is taught."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep != "all":
            raise ConfigError(
                f"teacher.keep={self.keep} picks those random scores that agree with the annotators, which would teach "
                "their preferences; use keep=all with teacher=random"
            )


@dataclass(frozen=True)
class RewardTeacherConfig(TeacherConfig):
    """A learned reward model."""

    model: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model:
            raise ConfigError(
                "teacher=reward has no model: give a run directory of stage=reward, a folder or a hub name, "
                "teacher.model=..."
            )


TEACHER_KINDS = {
    "chat": ChatTeacherConfig,
    "gold": GoldTeacherConfig,
    "random": RandomTeacherConfig,
    "reward": RewardTeacherConfig,
}


def check_teacher(run: RunConfig) -> None:
    """What the teacher needs of the score prompt. Raises ConfigError."""
    name, teacher = run.dataset.score_prompt, run.teacher
    if name is None:
        raise ConfigError(
            "stage=teacher needs dataset.score_prompt: what the student is asked, a name of conf/score_prompt such as "
            "score_first_5"
        )
    if load_score_prompt(name).has_reason and teacher.reason and teacher.kind != "chat":
        raise ConfigError(f"teacher={teacher.kind} gives no reasons for dataset.score_prompt={name}: use reason=false")
