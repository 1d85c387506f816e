"""One round of sampled answers as tensors: what an update learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.algorithms.aggregation import StepCounts
from rlhf.algorithms.kl import ESTIMATORS
from rlhf.algorithms.length_penalty import overlong_penalty
from rlhf.config.policy_gradient import PolicyGradientConfig
from rlhf.data.pointwise import units_of
from rlhf.types import Continuation, PackedBatch, Rollout, TokenGroup


@dataclass
class Experience:
    """N answers, group by group; T tokens of the longest. Tensors are on the device that trains."""

    groups: tuple[TokenGroup, ...]  # truncated answers count no token where the configuration masks them
    group_size: int
    mask: Tensor  # [N, T] True for the tokens that count
    rewards: Tensor  # [N] float64, penalties taken off
    sampler_logprobs: Tensor  # [N, T] nats, as recorded while sampling
    old: Tensor | None = None  # [N, T] nats, of the policy before the update; None: it is the one being trained
    reference: Tensor | None = None  # [N, T] nats, of the frozen start; None: computed with the loss, or not needed
    advantages: Tensor | None = None  # [N, T]
    updates: int = 0  # optimiser steps taken with it so far
    units: tuple[int, ...] = ()  # a number a group: groups of one unit stay in one minibatch; (): each is one

    @property
    def batch(self) -> PackedBatch:
        """All of it."""
        return PackedBatch(self.groups)

    def minibatches(self, number: int) -> list[tuple[PackedBatch, Tensor]]:
        """Whole units in `number` parts of like size, each with its answers' numbers; fewer where units are fewer."""
        size, edges = self.group_size, self._edges()
        parts = torch.arange(len(edges) - 1).tensor_split(min(number, len(edges) - 1))
        bounds = [(edges[int(p[0])], edges[int(p[-1]) + 1]) for p in parts]
        return [(PackedBatch(self.groups[first:end]), torch.arange(first * size, end * size)) for first, end in bounds]

    def counts(self, answers: Tensor, fixed_length: int) -> StepCounts:
        """Denominators of an optimiser step over `answers`."""
        lengths = self.mask[answers].sum(dim=1)
        return StepCounts(int(lengths.sum()), int((lengths > 0).sum()), fixed_length)

    def select(self, groups: Tensor) -> Experience:
        """Only the groups where `groups` [P] is True; before old log-probs and advantages are there."""
        answers = groups.repeat_interleave(self.group_size)
        kept = groups.nonzero()[:, 0].tolist()
        return Experience(
            tuple(self.groups[i] for i in kept),
            self.group_size,
            self.mask[answers],
            self.rewards[answers.cpu()],
            self.sampler_logprobs[answers],
            units=tuple(self.units[i] for i in kept) if self.units else (),
        )

    def _edges(self) -> list[int]:
        """Where the units begin among the groups, and the number of groups at the end."""
        units, number = self.units, len(self.groups)
        return [i for i in range(number) if i == 0 or not units or units[i] != units[i - 1]] + [number]


def experience_of(
    rollouts: Sequence[Rollout],
    rewards: Sequence[float],
    config: PolicyGradientConfig,
    max_new_tokens: int,
    device: torch.device,
) -> Experience:
    """The rollouts of one round, group by group, with the rewards that training sees."""
    size = config.group_size
    groups = tuple(
        TokenGroup(
            rollouts[i].prompt_ids, tuple(_continuation(r, config.mask_truncated) for r in rollouts[i : i + size])
        )
        for i in range(0, len(rollouts), size)
    )
    width = max((len(r.answer_ids) for r in rollouts), default=0)
    mask = torch.zeros(len(rollouts), width, dtype=torch.bool)
    logprobs = torch.zeros(len(rollouts), width)
    for row, rollout in enumerate(rollouts):
        mask[row, : len(rollout.answer_ids)] = not (config.mask_truncated and rollout.finish == "length")
        logprobs[row, : len(rollout.answer_ids)] = torch.tensor(rollout.logprobs)
    return Experience(
        groups=groups,
        group_size=size,
        mask=mask.to(device),
        rewards=training_rewards(rewards, rollouts, config, max_new_tokens),
        sampler_logprobs=logprobs.to(device),
        units=units_of(rollouts[i].prompt for i in range(0, len(rollouts), size)),
    )


def training_rewards(
    rewards: Sequence[float], rollouts: Sequence[Rollout], config: PolicyGradientConfig, max_new_tokens: int
) -> Tensor:
    """[N] float64: the rewards, less what cut and overlong answers lose."""
    truncated = torch.tensor([r.finish == "length" for r in rollouts], dtype=torch.float64)
    lengths = torch.tensor([len(r.answer_ids) for r in rollouts], dtype=torch.float64)
    soft = overlong_penalty(
        lengths, limit=max_new_tokens, buffer=config.overlong_buffer, penalty=config.overlong_penalty
    )
    return torch.tensor(rewards, dtype=torch.float64) - config.missing_eos_penalty * truncated + soft


def mean_advantages(experience: Experience) -> Tensor:
    """[N] on the CPU: over each answer's counted tokens, 0 for an answer without any."""
    lengths = experience.mask.sum(dim=1).clamp(min=1)
    return (experience.advantages.sum(dim=1) / lengths).cpu()


def kl_costs(experience: Experience, config: PolicyGradientConfig, coef: float) -> Tensor:
    """[N, T] float64: what each token costs where the KL is part of the reward; needs old and reference."""
    estimate = ESTIMATORS[config.kl_estimator](experience.old.double(), experience.reference.double())
    return torch.where(experience.mask, coef * estimate, 0.0)


def _continuation(rollout: Rollout, mask_truncated: bool) -> Continuation:
    ignored = mask_truncated and rollout.finish == "length"
    return Continuation(rollout.answer_ids, (False,) * len(rollout.answer_ids) if ignored else None)
