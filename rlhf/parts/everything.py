"""All parts of a run, and how a stage asks for them."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any

from rlhf.checkpoint import Checkpointer
from rlhf.errors import ConfigError
from rlhf.models.saving import complete_checkpoint
from rlhf.parts.sampling import SamplingParts
from rlhf.trainers.budget import budget_of
from rlhf.trainers.control import TrainingControl


class Parts(SamplingParts):
    """The parts of one run, each made once, when somebody first asks."""

    @cached_property
    def checkpointer(self) -> Checkpointer:
        c = self.run_config.checkpoint
        return Checkpointer(
            self.run_dir.checkpoints,
            keep=c.keep,
            select_on=c.select_on,
            select_mode=c.select_mode,
            complete=lambda state, folder: complete_checkpoint(state, self.tokenizer, folder),
        )

    @cached_property
    def control(self) -> TrainingControl:
        return TrainingControl(
            checkpoint=self.run_config.checkpoint,
            evaluation=self.run_config.evaluation,
            checkpointer=self.checkpointer,
            resume=self.run_config.resume is not None,
            resume_changed=self.run_config.resume_changed,
            data=self.data_reports,
            machine=self.hardware.describe(),
            budget=budget_of(self.run_config.budget),
        )

    @property
    def parts(self) -> Parts:
        """All of them, for an evaluation that builds one set a model."""
        return self


def build(cls: Any, config: Any, parts: Parts) -> Any:
    """`cls(config, name=part, ...)` with every part that its constructor names.

    Raises ConfigError for an unknown name."""
    names = [n for n in inspect.signature(cls).parameters if n != "config"]
    for name in names:
        if not hasattr(type(parts), name) and name not in vars(parts):
            raise ConfigError(f"{cls.__name__} asks for a part called {name!r}, which rlhf.parts.Parts does not make")
    return cls(config, **{name: getattr(parts, name) for name in names})
