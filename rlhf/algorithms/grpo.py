"""GRPO's loss: PPO's clipped surrogate with group-relative advantages and a k3 penalty (arXiv 2402.03300, eq. 3).

Averaged over all tokens of the optimiser step. The inputs of one micro-batch and the denominators of the whole step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.algorithms.aggregation import masked_sum, token_mean
from rlhf.algorithms.kl import k3


@dataclass(frozen=True)
class GRPOLoss:
    """The loss of a micro-batch and what is logged about it; every statistic is a SUM over tokens, divided later."""

    loss: Tensor  # scalar, already divided by the tokens of the whole step
    clipped_tokens: Tensor  # scalar; tokens whose ratio left the interval on the side that the clip cuts
    log_ratio_sum: Tensor  # scalar; sum of old - new log-probs, k1 of KL(old || new)
    kl_ref_sum: Tensor | None  # scalar; sum of k3 to the reference; None without a reference


def grpo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    num_tokens: int,
    kl_coef: float = 0.0,
    reference_logprobs: Tensor | None = None,
) -> GRPOLoss:
    """min(r A, clip(r, 1 - low, 1 + high) A) - kl_coef * k3, negated and averaged over the step's tokens.

    B answers, T tokens of the longest.
        logprobs            [B, T]  nats, of the policy being trained
        old_logprobs        [B, T]  nats, of the policy as it was when this batch was first seen; no gradient
        advantages          [B]     one an answer
        mask                [B, T]  True for answer tokens up to and including the end of sequence
        num_tokens          int     True positions in the WHOLE optimiser step
        reference_logprobs  [B, T]  nats, of the frozen start; needed where kl_coef > 0; without kl_coef only measured
    """
    zero = torch.zeros((), dtype=logprobs.dtype, device=logprobs.device)
    log_ratio = torch.where(mask, logprobs - old_logprobs, zero)  # [B, T]; padding may hold anything
    ratio = log_ratio.exp()
    unclipped = ratio * advantages[:, None]
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages[:, None]
    loss = token_mean(-torch.minimum(unclipped, clipped), mask, num_tokens=num_tokens)
    kl_ref_sum = None
    if reference_logprobs is not None:
        penalty = k3(torch.where(mask, logprobs, zero), torch.where(mask, reference_logprobs, zero))
        kl_ref_sum = masked_sum(penalty, mask).detach()
        if kl_coef:
            loss = loss + kl_coef * token_mean(penalty, mask, num_tokens=num_tokens)
    return GRPOLoss(
        loss=loss,
        clipped_tokens=masked_sum((clipped < unclipped).to(ratio.dtype), mask).detach(),
        log_ratio_sum=-log_ratio.sum().detach(),
        kl_ref_sum=kl_ref_sum,
    )
