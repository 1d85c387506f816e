"""The first optimiser step of any trainer, arranged in other ways: the same gradient must reach its optimisers.

The trainer itself runs, on a few examples of the user's data. Its optimisers keep the gradient that they would have
used and move nothing, so every arrangement starts from the same model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlhf.models.forward import PackedForward
from rlhf.models.microbatches import packed_tokens
from rlhf.parts import Parts, build, first_of
from rlhf.registry import TRAINERS, find
from rlhf.selfcheck.material import GROUP_SIZE, NEW_TOKENS, NUM_PROMPTS, with_garbage
from rlhf.selfcheck.outcomes import GRADIENT, NORM, Outcome, distance
from rlhf.token_budget import MOST_TOKENS
from rlhf.trainers.control import TrainingControl
from rlhf.trainers.optimization import Optimization
from rlhf.types import PackedBatch

NUM_EXAMPLES = 4
FEW_TOKENS = 100
"""Of a micro-batch that holds some of the answers that are sampled here."""
EXAMPLES = {"sft": "demonstrations", "reward": "pairs", "dpo": "pairs"}
"""Stage -> the part with its training examples."""
READS_THE_END = ("reward",)
"""Stages whose models read an answer's last token: nothing may stand behind it."""
SMALL = {
    "batch_size": NUM_EXAMPLES, "prompts_per_step": NUM_PROMPTS, "group_size": GROUP_SIZE, "minibatches": 1,
    "epochs_per_batch": 1, "critic_warmup_steps": 0, "num_steps": 1, "warmup_steps": 0, "sample_prompts": 0,
}  # fmt: skip
"""Keys of a trainer that make its step small; those that it does not have are left out."""
SHARED = ("policy", "reward_model", "reference", "critic", "reward", "tokenizer", "renderer", "prompts")
"""Parts that are made once, for all arrangements."""
MARGIN = {"fp32": 1e-3, "bf16": 1.0}
"""Allowed log-ratio between the sides of a pair where the policy is its reference, nats an answer."""


class Step:
    """One optimiser step of `stage` on the first examples, with `parts` made of the user's configuration."""

    def __init__(self, stage: str, parts: Parts) -> None:
        config, names = parts.run_config, {f.name for f in fields(parts.run_config.trainer)}
        small = {name: value for name, value in SMALL.items() if name in names}
        config = replace(config, trainer=replace(config.trainer, **small))
        if config.rollout is not None:
            tokens = min(NEW_TOKENS, config.rollout.max_new_tokens)
            config = replace(config, rollout=replace(config.rollout, max_new_tokens=tokens))
        self.stage, self.run_config, self.parts = stage, config, parts
        self.trainer_class = find(TRAINERS, stage, "stage")
        self.metrics: dict[str, float] = {}  # of the step that was taken last

    def gradients(
        self, *, tokens: int | None = None, padded: bool = False, turned: bool = False, garbage: int = 0
    ) -> dict[str, Tensor]:
        """Name of an optimiser -> the gradient [parameters] that reached it, float64.

        tokens    of a micro-batch        padded    without the packed row
        turned    examples last to first  garbage   tokens after each answer that count in nothing
        """
        parts = self._arranged(tokens or MOST_TOKENS[self.parts.hardware.device.type], turned, garbage)
        trainer = build(self.trainer_class, self.run_config.trainer, parts)
        trainer.num_steps = 1
        kept: dict[str, Tensor] = {}
        for name, value in vars(trainer).items():
            if isinstance(value, Optimization):
                value.step = partial(_keep, kept, name, value)
        if padded:
            for forward in _forwards(trainer):
                forward.padded = forward.padded or "asked for"
        self.metrics = trainer.train()
        return kept

    def _arranged(self, tokens: int, turned: bool, garbage: int) -> Parts:
        """The parts of a run of one small step; models are shared with every other arrangement."""
        asked = self.trainer_class.__init__.__annotations__
        for name in SHARED:
            if name in asked:
                getattr(self.parts, name)
        parts = copy.copy(self.parts)
        parts.run_config = self.run_config
        parts.hardware = replace(self.parts.hardware, tokens_per_microbatch=tokens)
        parts.__dict__["control"] = _quiet_control()
        parts.__dict__.pop("sampler", None)
        parts.__dict__ |= {name: None for name in asked if name.startswith("eval_")}
        name = EXAMPLES.get(self.stage)
        if name is not None:
            parts.__dict__[name] = _examples(getattr(self.parts, name), turned, garbage)
        return parts

    def tokens_of_a_half(self) -> int:
        """A token budget that cuts the step into a few micro-batches."""
        name = EXAMPLES.get(self.stage)
        if name is None:
            return FEW_TOKENS
        return packed_tokens(PackedBatch(first_of(getattr(self.parts, name), NUM_EXAMPLES).groups)) // 2 + 1


def step_outcomes(step: Step) -> Iterator[Outcome]:
    """Every check of one step, in turn."""
    precision = step.parts.hardware.precision
    whole = step.gradients()
    trainer = step.run_config.trainer
    if getattr(trainer, "loss_uses_reference", False) and not trainer.rewards_per_token:
        found = abs(step.metrics["reward/margin"]) / trainer.beta
        yield Outcome("first update: log ratio between the sides", found, MARGIN[precision], "nats")
    arrangements: dict[str, dict[str, Any]] = {
        "once more, as it was": {},
        "in several micro-batches": {"tokens": step.tokens_of_a_half()},
        "one answer at a time": {"tokens": 1},
        "in padded rows": {"padded": True},
    }
    if step.stage in EXAMPLES:
        arrangements["examples in another order"] = {"turned": True}
        if step.stage not in READS_THE_END:
            arrangements["garbage after every answer"] = {"garbage": 3}
    for name, arrangement in arrangements.items():
        found = step.gradients(**arrangement)
        for optimiser, expected in whole.items():
            what = "critic's gradient" if optimiser.startswith("critic") else "gradient"
            yield Outcome(f"{what}: {name}", distance(found[optimiser], expected), GRADIENT[precision], NORM)


def _forwards(trainer: Any) -> list[PackedForward]:
    """What the trained model computes its log-probabilities or scores with."""
    holder = getattr(trainer, "policy_update", trainer)
    return [module for module in holder.forward.modules() if isinstance(module, PackedForward)]


def _keep(kept: dict[str, Tensor], name: str, optimization: Optimization) -> dict[str, float]:
    """What stands in for Optimization.step: the gradient is kept and cleared, the weights stay."""
    parameters = optimization.parameters
    flat = [(torch.zeros_like(p) if p.grad is None else p.grad).detach().flatten().double() for p in parameters]
    kept[name] = torch.cat(flat)
    for parameter in parameters:
        parameter.grad = None
    return {"policy/grad_norm": kept[name].norm().item(), "optimizer/lr": 0.0}


def _examples(data: Any, turned: bool, garbage: int) -> Any:
    data = first_of(data, NUM_EXAMPLES)
    groups = tuple(with_garbage(group, garbage) for group in data.groups) if garbage else data.groups
    if turned:
        return replace(data, examples=data.examples[::-1], groups=groups[::-1])
    return replace(data, groups=groups)


class _Nowhere:
    """A sink that takes metrics, samples and messages, and keeps nothing."""

    def log(self, step: int, metrics: Any) -> None:
        """Not kept: TrainingControl has the last ones."""

    def samples(self, step: int, rows: Any) -> None:
        """Not kept."""

    def held_out(self, step: int, rows: Any) -> None:
        """Not kept."""

    def message(self, text: str) -> None:
        """Not shown."""


def _quiet_control() -> TrainingControl:
    control = TrainingControl()
    control.attach(_Nowhere())
    return control
