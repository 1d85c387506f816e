"""`judge:` has one shape per kind. JUDGE_KINDS maps the kind to its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rlhf.config.checks import at_least
from rlhf.config.endpoints import EndpointConfig
from rlhf.errors import ConfigError


@dataclass(frozen=True)
class NoJudgeConfig:
    """Nobody is asked."""

    kind: str


@dataclass(frozen=True)
class ChatJudgeConfig(EndpointConfig):
    """A chat model. The comments of conf/judge/base.yaml say what the keys beside its endpoint's mean."""

    section: ClassVar[str] = "judge"

    template: str
    retry_malformed: bool
    record: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.template.strip():
            raise ConfigError("judge.template is empty")


@dataclass(frozen=True)
class RewardJudgeConfig:
    """A learned reward model: the higher score wins."""

    kind: str
    model: str | None
    tie_margin: float
    record: str | None

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("judge=reward has no model: give a run directory of stage=reward, a folder or a hub name")
        at_least("judge.tie_margin", self.tie_margin, 0)


@dataclass(frozen=True)
class GoldJudgeConfig:
    """The rule that labelled the bundled dataset: the higher gold reward wins."""

    kind: str
    tie_margin: float
    record: str | None

    def __post_init__(self) -> None:
        at_least("judge.tie_margin", self.tie_margin, 0)


@dataclass(frozen=True)
class ReplayJudgeConfig:
    """Verdicts out of a file."""

    kind: str
    file: str | None

    def __post_init__(self) -> None:
        if not self.file:
            raise ConfigError("judge=replay has no file: give the JSONL file that judge.record wrote, judge.file=...")


JUDGE_KINDS = {
    "none": NoJudgeConfig,
    "chat": ChatJudgeConfig,
    "reward": RewardJudgeConfig,
    "gold": GoldJudgeConfig,
    "replay": ReplayJudgeConfig,
}
