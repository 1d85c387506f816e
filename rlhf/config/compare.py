"""`compare:` of stage=compare: which algorithms, with which seeds, for how much, from which start."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlhf.config.checks import above, at_least, one_of, within
from rlhf.config.sections import BUDGET_KINDS
from rlhf.errors import ConfigError

START, REWARD, EVALUATION = "start", "reward", "evaluation"
RESERVED = (START, REWARD, EVALUATION)
"""Names of the runs beside the algorithms: what they start from, what scores them, what judges them."""
COMPARABLE = ("grpo", "ppo", "dpo", "expert_iteration", "sft")
"""Stages that make a policy better."""
_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+]*")


@dataclass(frozen=True)
class CompareConfig:
    """conf/stage/compare.yaml, `compare`."""

    algorithms: Any  # stages, or name: overrides. Overrides are {key: value}, "key=value key=value" or a list of these
    overrides: Any  # null, or name: overrides
    common: Any
    seeds: list[int]
    budget: str | None
    amount: float | None
    max_steps: int
    evaluations: int
    start: str | None
    start_overrides: Any
    reward: str | None
    reward_overrides: Any
    evaluation_overrides: Any
    workers: int
    gpus: Any  # null, or a list of ids
    reuse: list[str]
    runs: Any  # null, or a list or mapping of run directories
    metric: str
    threshold: float
    threshold_kind: str
    confidence: float
    resamples: int

    def __post_init__(self) -> None:
        if self.runs is not None and (not isinstance(self.runs, (list, Mapping)) or not self.runs):
            raise ConfigError(f"compare.runs must be a list of run directories, or label: directory; got {self.runs!r}")
        self._check_algorithms()
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(
                f"compare.seeds must be different whole numbers from 0 on, one at least; got {self.seeds}"
            )
        if self.budget is not None:
            one_of("compare.budget", self.budget, BUDGET_KINDS)
            if self.amount is None:
                raise ConfigError(f"compare.budget={self.budget} needs compare.amount: how much of it each run may use")
            above("compare.amount", self.amount, 0)
        at_least("compare.max_steps", self.max_steps, 1)
        at_least("compare.evaluations", self.evaluations, 0)
        at_least("compare.workers", self.workers, 1)
        if self.gpus is not None and (not isinstance(self.gpus, list) or not self.gpus):
            raise ConfigError(f"compare.gpus must be null or a list of GPU ids, such as [0,1]; got {self.gpus!r}")
        one_of("compare.threshold_kind", self.threshold_kind, ("share", "value"))
        if self.threshold_kind == "share":
            within("compare.threshold", self.threshold, 0, 1)
        within("compare.confidence", self.confidence, 0.5, 0.999)
        at_least("compare.resamples", self.resamples, 100)

    @property
    def named_algorithms(self) -> dict[str, list[str]]:
        """name -> its overrides, those that win last: {"grpo": ["stage=grpo", "trainer.group_size=4"]}."""
        if isinstance(self.algorithms, Mapping):
            own = {n: override_list(f"compare.algorithms.{n}", o) for n, o in self.algorithms.items()}
        else:
            own = {name: [f"stage={name}"] for name in _words(self.algorithms) or ()}
        more = {n: override_list(f"compare.overrides.{n}", o) for n, o in (self.overrides or {}).items()}
        return {name: [*found, *more.get(name, [])] for name, found in own.items()}

    def _check_algorithms(self) -> None:
        names = list(map(str, self.algorithms)) if isinstance(self.algorithms, Mapping) else _words(self.algorithms)
        if not names:
            raise ConfigError(
                "compare.algorithms must be a list of stages, [ppo,grpo,dpo], or name: overrides, "
                f"{{rloo: {{stage: grpo, preset: rloo}}}}; got {self.algorithms!r}"
            )
        for name in names:
            if not _NAME.fullmatch(name) or name in RESERVED:
                why = "taken" if name in RESERVED else "not made of letters, digits and _.+"
                raise ConfigError(f"compare.algorithms: the name {name!r} is {why}; choose another one")
        if len(set(names)) != len(names):
            raise ConfigError(f"compare.algorithms names one twice: {', '.join(names)}")
        if self.overrides is not None and not isinstance(self.overrides, Mapping):
            raise ConfigError(f"compare.overrides must be name: {{key: value}}; got {self.overrides!r}")
        unknown = [name for name in self.overrides or () if name not in (*names, *COMPARABLE)]
        if unknown:
            raise ConfigError(f"compare.overrides.{unknown[0]}: there is no such algorithm among {', '.join(names)}")
        for key in ("common", "start_overrides", "reward_overrides", "evaluation_overrides"):
            override_list(f"compare.{key}", getattr(self, key))
        assert self.named_algorithms  # raises for overrides that are none


def override_list(key: str, overrides: Any) -> list[str]:
    """Overrides as on the command line, from {trainer.group_size: 4, preset: rloo}, the text
    "trainer.group_size=4 preset=rloo" or a list of such words.

    Raises ConfigError, naming `key`, for anything else."""
    if isinstance(overrides, Mapping):
        return [f"{name}={override_value(value)}" for name, value in overrides.items()]
    words = _words(overrides)
    if words is not None and all("=" in word for word in words):
        return words
    raise ConfigError(f"{key} must be {{key: value, ...}}, such as {{trainer.group_size: 4}}; got {overrides!r}")


def _words(value: Any) -> list[str] | None:
    """A list of words, from one or from text with spaces between them; None for anything else."""
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError:  # a quotation mark without its other half
            return None
    return list(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def override_value(value: Any) -> str:
    """`value` in the words of an override: text is quoted where it holds more than letters, digits and _./+-."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {override_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(override_value, value)) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
