"""Estimators of the KL divergence from samples (Schulman, "Approximating KL Divergence", 2020)."""

from __future__ import annotations

import torch
from torch import Tensor


def k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """log p - log q of tokens drawn from p: unbiased for KL(p || q), may be negative. [B, T] nats -> [B, T]."""
    return logprobs - reference_logprobs


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """q/p - 1 - log(q/p) of tokens drawn from p: unbiased for KL(p || q), never negative, less noisy than k1.

    The penalty of GRPO (DeepSeekMath, arXiv 2402.03300, eq. 4). [B, T] nats -> [B, T].
    expm1 keeps the digits where the two distributions are close."""
    log_ratio = reference_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio
