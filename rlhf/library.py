"""Trainers for objects in memory: a model, a tokenizer, lists of examples, a function as reward (docs/library.md).

    GRPOTrainer(config, policy=model, tokenizer=tokenizer, reward=politeness, prompts=["Hi", "Bye"]).train()

Each is the trainer of its stage. What it is given is converted by rlhf.in_memory; what it also wants is made as
rlhf.parts makes it for a run. So a new trainer is here as soon as rlhf.registry names it.
"""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from rlhf.config.in_memory import compose_stage
from rlhf.config.run import STAGES, RunConfig
from rlhf.data.rendering import Renderer
from rlhf.errors import ConfigError
from rlhf.hardware import default_hardware, rollout_device_of
from rlhf.in_memory import checked_model, checked_tokenizer, critic_of, data_of, reward_of, without_dropout
from rlhf.models.critic import Critic
from rlhf.models.saving import new_folder, save_model
from rlhf.parts import Parts
from rlhf.registry import TRAINERS, find
from rlhf.trainers.budget import budget_of
from rlhf.trainers.control import TrainingControl

log = logging.getLogger(__name__)

MODELS = ("policy", "reward_model")
DATA = ("prompts", "pairs", "demonstrations")
MUST_BE_GIVEN = (*MODELS, "tokenizer", "reward", *DATA)
"""What a run reads from its configuration and a library call brings itself."""
BESIDE = ("renderer", "reward_tokenizer")
"""What may be given although no trainer asks for it: how text is rendered, and with what the reward model reads."""


class MemoryParts(Parts):
    """The parts of one training: those that were given, and those that follow from them."""

    def __init__(self, config: RunConfig, wanted: Sequence[str], given: Mapping[str, Any]) -> None:
        self.run_config = replace(config, model=None)  # no part may load another model than the one that was given
        self.run_dir = None
        self.data_reports: dict[str, Any] = {}
        self.given = dict(given)
        self.seed = self.given.get("seed", config.seed)
        model_name = next((name for name in MODELS if name in given), None)
        for name in MODELS:
            if name in given:
                self._set(name, checked_model(name, given[name]))
        self._set("tokenizer", checked_tokenizer(given["tokenizer"], self.given[model_name]))
        self.hardware = given.get("hardware") or replace(
            default_hardware(),
            device=next(self.given[model_name].parameters()).device,
            rollout_device=rollout_device_of(config.hardware),
        )
        self._set("hardware", self.hardware)
        if "renderer" in given:
            self._set("renderer", given["renderer"])
        if "sampler" in wanted:
            without_dropout(self.given[model_name])
        self._convert_data(wanted)
        if "reward" in given:
            self._set("reward", self._reward(given["reward"]))
        if getattr(given.get("sampler"), "distribution", None) is not None:
            self.given.setdefault("distribution", given["sampler"].distribution)
        self.given.setdefault("control", self._control())

    @cached_property
    def critic(self) -> Critic:
        """As of a run; one of its own comes from the models that were given."""
        trainer = self.run_config.trainer
        if trainer.critic != "separate":
            return super().critic
        return critic_of(self.policy, self.reward, self.tokenizer, init=trainer.critic_init, seed=self.seed)

    def part(self, name: str) -> Any:
        """What was given as `name`, or what rlhf.parts makes of the rest."""
        return self.given[name] if name in self.given else getattr(self, name)

    def _set(self, name: str, value: Any) -> None:
        self.given[name] = vars(self)[name] = value  # the latter where other parts look for it

    def _convert_data(self, wanted: Sequence[str]) -> None:
        for name in (*DATA, *(f"eval_{name}" for name in DATA)):
            if name in self.given:
                data = data_of(name, self.given[name], self.renderer)
                self._set(name, self._told(name, data))
                if data.report.dropped:
                    log.warning("%s", "\n".join(data.report.lines()))
            elif name in wanted:
                self._set(name, None)

    def _reward(self, reward: Any) -> Any:
        tokenizer = self.given.get("reward_tokenizer")
        renderer = self.renderer if tokenizer is None else Renderer(tokenizer, self.run_config.dataset)
        return reward_of(reward, renderer, self.hardware)

    def _control(self) -> TrainingControl:
        held_out = any(self.given.get(f"eval_{name}") for name in DATA)
        evaluation = self.run_config.evaluation if held_out else None
        return TrainingControl(evaluation=evaluation, budget=budget_of(self.run_config.budget))

    @property
    def shuffle(self) -> bool:
        return self.run_config.dataset.shuffle


class InMemory:
    """What every trainer of the library adds to that of its stage."""

    stage: str

    def __init__(self, config: Any, **given: Any) -> None:
        """`config` is compose([...]) or its .trainer; the others are named in the stage's own trainer.

        With a whole configuration its sections dataset, rollout and evaluation, and its seed, apply too; else their
        defaults. Raises ConfigError, ModelError, DataError or RewardError with one line for what cannot be used.
        """
        parameters = inspect.signature(super().__init__).parameters
        wanted = [name for name in parameters if name != "config"]
        run = _run_of(self.stage, config)
        given = {name: value for name, value in given.items() if value is not None}
        _check_names(type(self).__name__, wanted, given)
        parts = MemoryParts(run, wanted, given)
        super().__init__(run.trainer, **{name: parts.part(name) for name in wanted})
        self.tokenizer = parts.tokenizer

    def save_model(self, folder: str | Path) -> None:
        """Weights and tokenizer in Hugging Face format, adapters merged: AutoModel...from_pretrained(folder) loads it.

        Raises ModelError where `folder` holds anything."""
        save_model(self.model, self.tokenizer, new_folder(folder))


@cache
def trainer_class(stage: str) -> type:
    """The trainer of `stage` for objects in memory. Raises ConfigError for a stage that trains nothing."""
    base = find(TRAINERS, stage, "stage")
    body = {"stage": stage, "__doc__": base.__doc__, "__module__": "rlhf", "__signature__": inspect.signature(base)}
    return type(base.__name__, (InMemory, base), body)


def _run_of(stage: str, config: Any) -> RunConfig:
    """The whole configuration that `config` is a part of."""
    if isinstance(config, RunConfig) and config.stage == stage:
        return config
    if type(config) is STAGES[stage]["trainer"]:
        return replace(compose_stage(stage), trainer=config)
    got = f"that of stage={config.stage}" if isinstance(config, RunConfig) else type(config).__name__
    raise ConfigError(f'config must be compose(["stage={stage}", ...]) or its .trainer; got {got}')


def _check_names(trainer: str, wanted: Sequence[str], given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in (*wanted, *BESIDE):
            close = difflib.get_close_matches(name, wanted, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it takes config, {', '.join(wanted)}"
            raise ConfigError(f"{trainer} takes no {name}=; {hint}")
    missing = [name for name in wanted if name in MUST_BE_GIVEN and name not in given]
    if missing:
        raise ConfigError(f"{trainer} needs {', '.join(f'{name}=' for name in missing)}")
