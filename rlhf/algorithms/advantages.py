"""From rewards to advantages: how much better an answer was than what the policy usually does."""

from __future__ import annotations

from torch import Tensor

EQUAL_REWARDS = 1e-6
"""Rewards of a group that differ by no more than this, relative to their size, are equal: no signal, advantage zero."""


def group_advantages(rewards: Tensor, group_size: int, *, scale: str) -> Tensor:
    """Reward minus the mean of its group, in group standard deviations if asked.

    DeepSeekMath, arXiv 2402.03300, sec. 4.1.2. P prompts, G = group_size answers each.
        rewards  [P * G]  group by group
        scale    "group_std" divides by the group's standard deviation (population, ddof 0); "none" leaves reward units
                 (Dr. GRPO, arXiv 2503.20783)
    Returns [P * G]; each group sums to zero, and a group of equal rewards is exactly zero."""
    by_prompt = rewards.view(-1, group_size)  # [P, G]
    centred = by_prompt - by_prompt.mean(dim=1, keepdim=True)
    spread = by_prompt.amax(dim=1, keepdim=True) - by_prompt.amin(dim=1, keepdim=True)
    equal = spread <= EQUAL_REWARDS * by_prompt.abs().amax(dim=1, keepdim=True).clamp(min=1.0)
    if scale == "group_std":
        deviation = by_prompt.std(dim=1, keepdim=True, unbiased=False)
        centred = centred / deviation.masked_fill(equal, 1.0)
    return centred.masked_fill(equal, 0.0).reshape(-1)
