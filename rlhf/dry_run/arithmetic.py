"""Prompts, answers, micro-batches, optimiser steps and tokens of a run, counted with the trainers' own parts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlhf.config.run import ROUNDS, RunConfig
from rlhf.data.order import ExampleOrder
from rlhf.dry_run.machine import tokens_at_once
from rlhf.models.microbatches import cut, packed_tokens
from rlhf.types import Continuation, PackedBatch, TokenGroup

STEPS_LOOKED_AT = 64
"""Steps whose batches are put together and counted; a longer run is extrapolated from these."""


@dataclass(frozen=True)
class Arithmetic:
    """The numbers of one training run. Tokens are means over the steps looked at."""

    steps: int
    epochs: float  # passes over the training examples
    examples: int  # prompts or pairs a step
    answers: int  # a step
    updates: int  # optimiser steps a step
    micro_batches: float  # an optimiser step, mean
    prompt_tokens: float  # a step, each prompt once
    generated_tokens: int  # a step, at most; 0 where nothing is sampled
    trained_tokens: float  # a step, as budget/trained_tokens counts them; at most, where answers are sampled
    evaluations: int
    first: tuple[TokenGroup, ...]  # examples of the first step
    largest: PackedBatch  # the micro-batch with the most tokens
    exact: bool  # whether every step was looked at

    @property
    def accumulates(self) -> bool:
        """Whether a gradient is kept from one micro-batch to the next."""
        return self.micro_batches > 1


def count(config: RunConfig, groups: Sequence[TokenGroup]) -> Arithmetic:
    """The arithmetic of a training stage on `groups`: its training examples, prompts where answers are sampled."""
    return _sampling(config, groups) if config.stage in ROUNDS else _reading(config, groups)


def sampled_groups(groups: Sequence[TokenGroup], group_size: int, max_new_tokens: int) -> PackedBatch:
    """Prompts with `group_size` answers of the full length each: the most that sampling can bring."""
    answers = (Continuation((0,) * max_new_tokens),) * group_size
    return PackedBatch(tuple(TokenGroup(g.prompt_ids, answers) for g in groups))


def _reading(config: RunConfig, groups: Sequence[TokenGroup]) -> Arithmetic:
    """sft, reward and dpo: a step is a batch of examples."""
    trainer, budget = config.trainer, tokens_at_once(config.hardware)
    order = ExampleOrder(len(groups), trainer.batch_size, seed=config.seed, shuffle=config.dataset.shuffle)
    steps = trainer.num_steps or order.steps_for(trainer.num_epochs)
    pairs = config.stage in ("reward", "dpo")
    whole_rows = config.stage == "reward"  # a score reads prompt and answer
    batches = [PackedBatch(tuple(groups[i] for i in order.batch(step))) for step in range(_looked_at(steps))]
    micros = [[micro for micro, _ in cut(batch, budget, keep_groups=pairs)] for batch in batches]
    return Arithmetic(
        steps=steps,
        epochs=order.epoch(steps),
        examples=trainer.batch_size,
        answers=batches[0].num_answers,
        updates=1,
        micro_batches=statistics.fmean(map(len, micros)),
        prompt_tokens=statistics.fmean(sum(len(g.prompt_ids) for g in batch.groups) for batch in batches),
        generated_tokens=0,
        trained_tokens=statistics.fmean(b.num_tokens if whole_rows else b.num_loss_tokens for b in batches),
        evaluations=evaluations(config, steps),
        first=batches[0].groups,
        largest=max((micro for found in micros for micro in found), key=packed_tokens),
        exact=len(batches) == steps,
    )


def _sampling(config: RunConfig, groups: Sequence[TokenGroup]) -> Arithmetic:
    """grpo and ppo: a step samples answers, which are as long as they may be, and learns from them."""
    trainer, new = config.trainer, config.rollout.max_new_tokens
    order = ExampleOrder(
        len(groups),
        trainer.prompts_per_step,
        seed=config.seed,
        shuffle=config.dataset.shuffle,
        per_unit=config.dataset.per_unit,
    )
    looked_at = [[groups[i] for i in order.batch(step)] for step in range(_looked_at(trainer.num_steps))]
    each = trainer.prompts_per_step // trainer.minibatches
    minibatches = [
        sampled_groups(prompts[first : first + each], trainer.group_size, new)
        for prompts in looked_at
        for first in range(0, len(prompts), each)
    ]
    micros = [[micro for micro, _ in cut(batch, tokens_at_once(config.hardware))] for batch in minibatches]
    answers = trainer.prompts_per_step * trainer.group_size
    return Arithmetic(
        steps=trainer.num_steps,
        epochs=order.epoch(trainer.num_steps),
        examples=trainer.prompts_per_step,
        answers=answers,
        updates=trainer.epochs_per_batch * trainer.minibatches,
        micro_batches=statistics.fmean(map(len, micros)),
        prompt_tokens=statistics.fmean(sum(len(g.prompt_ids) for g in prompts) for prompts in looked_at),
        generated_tokens=answers * new,
        trained_tokens=answers * new * trainer.epochs_per_batch,
        evaluations=evaluations(config, trainer.num_steps),
        first=tuple(looked_at[0]),
        largest=max((micro for found in micros for micro in found), key=packed_tokens),
        exact=len(looked_at) == trainer.num_steps,
    )


def evaluations(config: RunConfig, steps: int) -> int:
    """How often a training of `steps` steps evaluates: at the start, every so many steps, and at the end."""
    section: Any = config.evaluation
    regular = steps // section.every if section.every else 0
    at_end = 0 if section.every and steps % section.every == 0 else 1
    return int(section.at_start) + regular + at_end


def _looked_at(steps: int) -> int:
    return min(steps, STEPS_LOOKED_AT)
