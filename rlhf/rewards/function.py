"""A Python function as a reward."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlhf.errors import RewardError
from rlhf.rewards.checking import checked
from rlhf.types import RewardScores, Rollout

OFFERED: dict[str, Callable[[Rollout], Any]] = {
    "prompts": lambda r: r.prompt.as_text(),
    "answers": lambda r: r.text,
    "reference_answers": lambda r: r.prompt.reference_answer,
    "metadata": lambda r: r.prompt.metadata,
    "finish": lambda r: r.finish,
    "rollouts": lambda r: r,
}
"""What a reward function may ask for by naming a parameter; each is a list with one entry an answer."""


class FunctionReward:
    """Calls `function` with lists named after its parameters (see OFFERED) and `arguments`.

    The function returns one number an answer, or one mapping an answer with a "total" and further named components.
    """

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any] | None = None) -> None:
        self.function, self.arguments = function, dict(arguments or {})
        self.name = getattr(function, "__name__", type(function).__name__)
        parameters = inspect.signature(function).parameters.values()
        self.asked = [p.name for p in parameters if p.name in OFFERED and p.name not in self.arguments]
        known = {*OFFERED, *self.arguments}
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if takes_any:
            self.asked = [name for name in OFFERED if name not in self.arguments]
        for p in parameters:
            if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in known:
                raise RewardError(
                    f"reward function {self.name} needs {p.name!r}, which nobody gives: "
                    f"offered are {', '.join(OFFERED)}; others come from reward.arguments"
                )
        for name in self.arguments:
            if not takes_any and name not in {p.name for p in parameters}:
                raise RewardError(f"reward.arguments.{name} is not a parameter of reward function {self.name}")

    def score(self, rollouts: Sequence[Rollout]) -> RewardScores:
        """Totals and components of the answers. Raises RewardError for a wrong count or a value that is not finite."""
        offered = {name: [OFFERED[name](r) for r in rollouts] for name in self.asked}
        returned = list(self.function(**offered, **self.arguments))
        if returned and isinstance(returned[0], Mapping):
            names = list(returned[0])
            if "total" not in names:
                raise RewardError(
                    f"reward function {self.name} returned mappings without a 'total': {', '.join(names)}"
                )
            components = {n: [float(row[n]) for row in returned] for n in names if n != "total"}
            scores = RewardScores([float(row["total"]) for row in returned], components)
        else:
            scores = RewardScores([float(value) for value in returned], {})
        return checked(self.name, scores, rollouts)


def import_function(path: str) -> Callable[..., Any]:
    """The object behind `module:function`; modules beside the working directory are found. Raises RewardError."""
    module_name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise RewardError(f"reward.function={path}: cannot import {module_name} ({error})") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise RewardError(f"reward.function={path}: {module_name} has no function {attribute!r}")
    return function
