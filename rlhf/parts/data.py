"""The examples that a run trains and evaluates on."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from rlhf.data.loading import Demonstrations, Pairs, Prompts, load_demonstrations, load_pairs, load_prompts
from rlhf.data.rendering import Renderer
from rlhf.data.splits import SPLIT_SEED
from rlhf.parts.rewards import RewardParts
from rlhf.rewards.verifiers.build import check_prompts

log = logging.getLogger(__name__)

Data = TypeVar("Data", Demonstrations, Pairs, Prompts)


class DataParts(RewardParts):
    """Of one run, each made once, when somebody first asks."""

    @property
    def shuffle(self) -> bool:
        return self.run_config.dataset.shuffle

    @cached_property
    def renderer(self) -> Renderer:
        loss_on = getattr(self.run_config.trainer, "loss_on", "answer")
        return Renderer(self.tokenizer, self.run_config.dataset, loss_on=loss_on)

    @cached_property
    def demonstrations(self) -> Demonstrations:
        return self._told(
            "demonstrations", load_demonstrations(self.run_config.dataset, "train", self.renderer, seed=SPLIT_SEED)
        )

    @cached_property
    def eval_demonstrations(self) -> Demonstrations:
        return self._held_out("eval_demonstrations", load_demonstrations)

    @cached_property
    def pairs(self) -> Pairs:
        return self._told("pairs", load_pairs(self.run_config.dataset, "train", self.renderer, seed=SPLIT_SEED))

    @cached_property
    def eval_pairs(self) -> Pairs:
        return self._held_out("eval_pairs", load_pairs)

    @cached_property
    def prompts(self) -> Prompts:
        data = load_prompts(self.run_config.dataset, "train", self.renderer, seed=SPLIT_SEED)
        return self._answerable(self._told("prompts", data))

    @cached_property
    def eval_prompts(self) -> Prompts:
        return self._answerable(self._held_out("eval_prompts", load_prompts))

    @cached_property
    def answer_prompts(self) -> Prompts | None:
        """The held-out prompts that answer_sampler answers where a reward scores them: those that grpo and ppo evaluate
        on. None: those of the held-out pairs or demonstrations."""
        wanted = self.run_config.trainer.sample_prompts
        if self.answer_reward is None or not wanted:
            return None
        data = load_prompts(self.run_config.dataset, "eval", self.renderer, seed=SPLIT_SEED)
        return first_of(self._answerable(self._told("answer_prompts", data)), wanted)

    def _held_out(self, name: str, load: Any) -> Any:
        data = self._told(name, load(self.run_config.dataset, "eval", self.renderer, seed=SPLIT_SEED))
        return first_of(data, self.run_config.evaluation.limit)

    def _answerable(self, data: Prompts) -> Prompts:
        """`data`, whose right answers the reward can use. Raises DataError naming the first that it cannot."""
        check_prompts(self.run_config.reward, data.examples)
        return data

    def _told(self, name: str, data: Data) -> Data:
        """`data`, its report shown and kept for summary.json."""
        for line in data.report.lines():
            log.info(line)
        self.data_reports[name] = data.report.to_dict() | {"fingerprint": data.fingerprint}
        return data


def first_of(data: Data, limit: int) -> Data:
    """The first `limit` examples, or of prompts that stay together the first `limit` units of them."""
    number = limit * getattr(data, "per_unit", 1)
    fields = {"examples": data.examples[:number]}
    if hasattr(data, "groups"):
        fields["groups"] = data.groups[:number]
    return replace(data, **fields)
