"""What a step costs in floating-point operations, counted from parameters and tokens: `budget/flops`.

A forward pass takes 2 operations for each parameter and token (one product, one sum); a backward pass 2 through the
activations of every parameter and 2 for the gradient of each trainable one (Kaplan et al., arXiv 2001.08361, section
2.1). Training all weights thus takes 6 a parameter and token, training an adapter about 4. Attention between tokens,
which is small beside this for short answers, the optimiser and evaluations are left out. A prompt counts once for all
its answers, as the packed forward pass computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from rlhf.types import Rollout


def forward_flops(parameters: int, tokens: int) -> int:
    """Of reading or sampling `tokens` with a model of so many parameters."""
    return 2 * parameters * tokens


def training_flops(module: nn.Module, tokens: int) -> int:
    """Of a forward and a backward pass over `tokens`."""
    total = parameters_of(module)
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return (4 * total + 2 * trainable) * tokens


def parameters_of(module: nn.Module | None) -> int:
    """Numbers in the weights, each tied weight once; 0 for None."""
    return 0 if module is None else sum(p.numel() for p in module.parameters())


def reward_parameters(reward: Any) -> int:
    """Parameters that score an answer: of a learned reward its model's, of a weighted one those of all its parts."""
    model = getattr(reward, "model", None)
    own = parameters_of(model) if isinstance(model, nn.Module) else 0
    return own + sum(reward_parameters(part) for _, part in getattr(reward, "parts", {}).values())


def round_tokens(rollouts: Sequence[Rollout], group_size: int) -> int:
    """Tokens that a packed forward pass computes for a round of answers, group by group: each prompt once."""
    prompts = sum(len(r.prompt_ids) for r in rollouts[::group_size])
    return prompts + sum(len(r.answer_ids) for r in rollouts)


def scored_tokens(rollouts: Sequence[Rollout]) -> int:
    """Tokens that a reward model reads: the prompt again for every answer."""
    return sum(len(r.prompt_ids) + len(r.answer_ids) for r in rollouts)


def sampling_flops(policy: nn.Module, reward: Any, rollouts: Sequence[Rollout], group_size: int) -> int:
    """Of sampling a round of answers, and scoring them where the reward is a model."""
    return forward_flops(parameters_of(policy), round_tokens(rollouts, group_size)) + reward_flops(reward, rollouts)


def reward_flops(reward: Any, rollouts: Sequence[Rollout]) -> int:
    """Of scoring answers: a model reads each once, or, where it writes its scores, counts its tokens itself."""
    parts = [part for _, part in getattr(reward, "parts", {}).values()]
    if parts:
        return sum(reward_flops(part, rollouts) for part in parts)
    count = getattr(reward, "tokens_of", scored_tokens)
    parameters = reward_parameters(reward)
    return forward_flops(parameters, count(rollouts)) if parameters else 0
