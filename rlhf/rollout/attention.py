"""Attention for one new token on a CPU: two matrix products, with the query heads of a key-value head side by side.

torch's fused CPU kernel is three to five times slower at a query length of one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "rlhf_decode"


def decode_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs,
) -> tuple[Tensor, None]:
    """What transformers' "sdpa" computes; anything but plain attention of one token is handed on to it.

        query       [B, H, 1, D]
        key, value  [B, G, K, D]  G key-value heads; query heads h*H/G .. (h+1)*H/G - 1 belong to head h
        mask        [B, 1, 1, K]  bool, True where a key is seen
    Returns [B, 1, H, D].
    """
    special = any(kwargs.get(name) is not None for name in ("position_bias", "softcap", "cache", "s_aux"))
    shared_mask = attention_mask is None or (attention_mask.dtype == torch.bool and attention_mask.shape[1] == 1)
    if query.shape[2] != 1 or dropout or special or not shared_mask:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    batch, heads, _, size = query.shape
    groups = key.shape[1]
    scale = size**-0.5 if scaling is None else scaling
    scores = (query * scale).view(batch, groups, heads // groups, size) @ key.transpose(-1, -2)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, float("-inf"))
    output = scores.softmax(dim=-1) @ value  # [B, G, H/G, D]
    return output.view(batch, 1, heads, value.shape[-1]), None


AttentionInterface.register(NAME, decode_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextlib.contextmanager
def decoding_attention(model: nn.Module) -> Iterator[None]:
    """Inside, `model` attends through `decode_attention` if it uses "sdpa" and runs on a CPU."""
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    changed = [config for config in configs.values() if getattr(config, "_attn_implementation", None) == "sdpa"]
    if next(model.parameters()).device.type != "cpu":
        changed = []
    for config in changed:
        config._attn_implementation = NAME
    try:
        yield
    finally:
        for config in changed:
            config._attn_implementation = "sdpa"
