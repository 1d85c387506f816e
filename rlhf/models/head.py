"""The language-model head over answer positions only, in chunks: [B, T, V] logits never exist."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlhf.algorithms.logprobs import warp_logits
from rlhf.types import SamplingDistribution


def head_logprobs(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    distribution: SamplingDistribution,
    *,
    entropy: bool,
    chunk_tokens: int,
) -> tuple[Tensor, Tensor | None]:
    """log p(target) at each position under the warped distribution, and that distribution's entropy.

    N positions, H hidden size, V vocabulary.
        hidden   [N, H]
        weight   [V, H], bias [V] or None: the head; under autocast the product is in its precision
        targets  [N]     never removed by top-k or top-p
    Returns logprobs [N] and entropy [N] (None unless asked; no gradient), nats; float64 for a float64 model, else fp32.
    """
    autocast = hidden.device.type
    if torch.is_autocast_enabled(autocast):
        precision = torch.get_autocast_dtype(autocast)
        hidden, weight = hidden.to(precision), weight.to(precision)
        bias = None if bias is None else bias.to(precision)
    logprobs, entropies = _HeadLogprobs.apply(hidden, weight, bias, targets, distribution, entropy, chunk_tokens)
    return logprobs, entropies if entropy else None


def scoring_dtype(dtype: torch.dtype) -> torch.dtype:
    """At least fp32: bf16 log-probs would differ by 0.01 nats a token."""
    return torch.promote_types(dtype, torch.float32)


class _HeadLogprobs(torch.autograd.Function):
    """Chunked linear layer, warp and log-softmax; backward computes each chunk's logits once more."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, distribution, entropy, chunk_tokens):
        dtype = scoring_dtype(hidden.dtype)
        logprobs = torch.empty(len(hidden), dtype=dtype, device=hidden.device)
        entropies = torch.empty(len(hidden) if entropy else 0, dtype=dtype, device=hidden.device)
        for start in range(0, len(hidden), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            log_p = _log_softmax(hidden[part], weight, bias, targets[part], distribution)
            logprobs[part] = log_p.gather(-1, targets[part, None]).squeeze(-1)
            if entropy:
                entropies[part] = torch.special.entr(log_p.exp()).sum(dim=-1)
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.distribution, ctx.chunk_tokens = distribution, chunk_tokens
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_logprobs, _grad_entropies):
        hidden, weight, bias, targets = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        grad_weight = torch.zeros_like(weight) if need_weight else None
        grad_bias = torch.zeros_like(bias) if need_bias else None
        temperature = ctx.distribution.temperature or 1.0
        for start in range(0, len(hidden), ctx.chunk_tokens):
            part = slice(start, start + ctx.chunk_tokens)
            grad = (grad_logprobs[part] / temperature)[:, None]  # [n, 1]
            # d logp[target] / d logits = onehot(target) - p; removed tokens have p = 0 and so no gradient
            grad_logits = _log_softmax(hidden[part], weight, bias, targets[part], ctx.distribution).exp_()
            grad_logits.mul_(-grad).scatter_add_(-1, targets[part, None], grad)
            grad_logits = grad_logits.to(hidden.dtype)
            if need_hidden:
                torch.mm(grad_logits, weight, out=grad_hidden[part])
            if need_weight:
                grad_weight.addmm_(grad_logits.t(), hidden[part])
            if need_bias:
                grad_bias += grad_logits.sum(dim=0)
        return grad_hidden, grad_weight, grad_bias, None, None, None, None


def _log_softmax(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, distribution: SamplingDistribution
) -> Tensor:
    """[n, V] log-probabilities of the warped distribution."""
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return warp_logits(logits.to(scoring_dtype(logits.dtype)), distribution, keep=targets).log_softmax(dim=-1)
