"""One optimiser step's gradient from micro-batches, in pieces that fit the token budget."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlhf.hardware import Hardware
from rlhf.models.forward import PackedForward
from rlhf.models.microbatches import cut
from rlhf.types import PackedBatch, SamplingDistribution, TokenScores


def micro_scores(
    forward: PackedForward, batch: PackedBatch, hardware: Hardware, distribution: SamplingDistribution, *, width: int
) -> Tensor:
    """Log-probs of every answer token of `batch`, without gradient, put back in order: [B, width], 0 where masked."""
    out = torch.zeros(batch.num_answers, width, device=hardware.device)
    with torch.no_grad():
        for micro, answers in cut(batch, hardware.tokens_per_microbatch):
            with hardware.autocast():
                scores = forward(micro, distribution)
            out[answers, : scores.logprobs.shape[1]] = scores.logprobs.float()
    return out


def accumulate(
    batch: PackedBatch,
    hardware: Hardware,
    forward: Callable[[PackedBatch], TokenScores | Tensor],
    loss: Callable[[TokenScores | Tensor, list[int]], Tensor],
    *,
    keep_groups: bool = False,
) -> float:
    """Sum of the micro-batches' losses; their gradients add up in the model.

    `loss` gets the answers' numbers in `batch`. Losses carry the whole step's denominator, so the sum does not depend
    on the cut. With `keep_groups` a group is never split over micro-batches: for losses that compare the answers of a
    group."""
    total = 0.0
    for micro, answers in cut(batch, hardware.tokens_per_microbatch, keep_groups=keep_groups):
        with hardware.autocast():
            output = forward(micro)
        part = loss(output, answers)
        part.backward()
        total += part.item()
    return total
