"""The one place where per-token values become a scalar. Denominators are those of the whole optimiser step."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over True positions. What stands under False, even inf or nan, moves neither the sum nor its gradient.

    values [B, T], mask [B, T] bool -> scalar."""
    return torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device)).sum()


def token_mean(values: Tensor, mask: Tensor, *, num_tokens: int) -> Tensor:
    """Mean over every token of the optimiser step (DAPO's token-level loss, arXiv 2503.14476, eq. 8).

    values      [B, T]  of this micro-batch
    mask        [B, T]  True where a token counts
    num_tokens  int     True positions in the WHOLE step, over all micro-batches and processes, so that the sum of the
                        micro-batches' results, and its gradient, do not depend on how the step was cut
    Returns a scalar; 0 where nothing counts."""
    return masked_sum(values, mask) / max(num_tokens, 1)
