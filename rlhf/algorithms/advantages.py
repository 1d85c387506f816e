"""From rewards to advantages: how much better an answer was than what the policy usually does."""

from __future__ import annotations

import torch
from torch import Tensor

EQUAL_REWARDS = 1e-6
"""Rewards that differ by no more than this, relative to their size, are equal: no signal, advantage zero."""


def answer_advantages(
    rewards: Tensor, group_size: int, *, baseline: str, scale: str, ddof: int = 0, epsilon: float = 0.0
) -> Tensor:
    """Reward minus a baseline, in standard deviations if asked: one number an answer.

    P prompts, G = group_size answers each.
        rewards   [P * G]  group by group
        baseline  none           the reward itself: REINFORCE (Williams 1992)
                  group_mean     of its group: GRPO (DeepSeekMath, arXiv 2402.03300, sec. 4.1.2)
                  leave_one_out  mean of the other answers of its group: RLOO (arXiv 2402.14740, eq. 8)
                  batch_mean     of all answers of the step
        scale     none           reward units: Dr. GRPO (arXiv 2503.20783)
                  group_std      of its group
                  batch_std      of all answers of the step
        ddof      1 divides the sum of squares by n - 1, 0 by n
        epsilon   added to the standard deviation
    Returns [P * G]. A group of equal rewards is exactly zero under the group baselines and scale, and so is a whole
    batch of equal rewards under batch_mean and batch_std; a group of one is zero under the group baselines."""
    groups = rewards.view(-1, group_size)  # [P, G]
    batch = rewards.view(1, -1)  # [1, P * G]
    values = _centred(groups, batch, baseline)
    if scale == "group_std":
        values = _scaled(values, groups, ddof, epsilon)
    elif scale == "batch_std":
        values = _scaled(values, batch, ddof, epsilon)
    return values.reshape(-1)


def no_signal(rewards: Tensor, group_size: int, min_spread: float = 0.0) -> Tensor:
    """[P] True for groups that tell no answer from another: their rewards are all equal, or their largest is less than
    `min_spread` above their smallest, in reward units."""
    groups = rewards.view(-1, group_size)
    spread = groups.amax(dim=1) - groups.amin(dim=1)
    return equal_rows(groups).squeeze(1) | (spread < min_spread)


def equal_rows(values: Tensor) -> Tensor:
    """[R, 1] True for rows of `values` [R, C] whose entries are equal up to float residue."""
    spread = values.amax(dim=1, keepdim=True) - values.amin(dim=1, keepdim=True)
    return spread <= EQUAL_REWARDS * values.abs().amax(dim=1, keepdim=True).clamp(min=1.0)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Values at True positions, shifted and scaled to mean 0 and population variance 1; 0 elsewhere.

    values [B, T], mask [B, T]. All zero where the values are equal. Over the tokens of the whole step: call it once."""
    kept = values[mask].view(1, -1)
    out = torch.zeros_like(values)
    if kept.numel():
        out[mask] = _scaled(kept - kept.mean(), kept, 0, 0.0).view(-1)
    return out


def _centred(groups: Tensor, batch: Tensor, baseline: str) -> Tensor:
    """[P, G]."""
    if baseline == "none":
        return groups
    if baseline == "batch_mean":
        return (groups - batch.mean()).masked_fill(equal_rows(batch), 0.0)
    centred = groups - groups.mean(dim=1, keepdim=True)
    size = groups.shape[1]
    if baseline == "leave_one_out" and size > 1:
        centred = centred * (size / (size - 1))  # r - mean of the others = G / (G - 1) (r - mean of all)
    return centred.masked_fill(equal_rows(groups), 0.0)


def _scaled(values: Tensor, over: Tensor, ddof: int, epsilon: float) -> Tensor:
    """`values` in standard deviations of the rows of `over`; zero where a row's entries are equal."""
    equal = equal_rows(over)
    squares = (over - over.mean(dim=1, keepdim=True)).square().sum(dim=1, keepdim=True)
    deviation = (squares / max(over.shape[1] - ddof, 1)).sqrt()
    return (values / (deviation + epsilon).masked_fill(equal, 1.0)).masked_fill(equal, 0.0)
