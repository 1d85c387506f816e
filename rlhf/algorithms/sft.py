"""Supervised fine-tuning: the negative log-likelihood of demonstrated answers."""

from __future__ import annotations

from torch import Tensor

from rlhf.algorithms.aggregation import token_mean


def sft_loss(logprobs: Tensor, mask: Tensor, *, num_tokens: int) -> Tensor:
    """Mean cross-entropy of answer tokens, nats a token.

    B answers, T tokens of the longest.
        logprobs    [B, T]  log p(token | everything before it)
        mask        [B, T]  True where a token is part of the answer that is imitated
        num_tokens  int     True positions in the whole optimiser step
    Returns a scalar; exp of it is the perplexity."""
    return token_mean(-logprobs, mask, num_tokens=num_tokens)
