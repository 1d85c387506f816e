"""Which token attends to which in a packed row, worked out once a batch and used by every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK_COST = 10_000
"""What one more block costs a layer, in pairs of a query and a key: about 0.3 ms against 30 ns."""

PRODUCT_BYTES = 1400
"""Longest row of scores, in bytes, for which a CPU uses plain matrix products: 350 keys in fp32, 700 in bf16.

Up to there they are 1.2 to 5 times faster than the fused kernel, and the scores that backward keeps stay small.
"""


class Segment(NamedTuple):
    """Tokens in a row that attend causally to themselves and, wholly, to a prompt elsewhere in the row."""

    start: int
    length: int
    prompt_start: int
    prompt_length: int  # 0: no prompt but its own tokens

    @property
    def pairs(self) -> int:
        """Queries times keys."""
        return self.length * (self.prompt_length + self.length)


@dataclass(frozen=True)
class Gathering:
    """Rows of a tensor copied to slots; a row may go to several slots, and a slot may be padding.

    M slots, N rows, S slots that hold something.
        source   [M]  the row that each slot copies; padding copies any row
        slots    [S]  the slots that are not padding, ordered by their row
        offsets  [N]  where each row's slots begin in `slots`
        padding  [M - S]  the other slots
    """

    source: Tensor
    slots: Tensor
    offsets: Tensor
    padding: Tensor


@dataclass(frozen=True)
class Block:
    """R segments of like lengths, padded to L queries and K keys inside attention only."""

    rows: int  # R
    queries: int  # L
    keys: int  # K: the longest prompt, then L own keys
    bias: Tensor  # [1 or R, 1, L, K] 0 where a query sees a key, else -inf
    causal: bool  # the bias is the lower triangle and nothing else: no prompts
    products: bool  # plain matrix products rather than torch's fused kernel


@dataclass(frozen=True)
class AttentionPlan:
    """How one packed row attends. `queries` and `keys` lay all blocks' slots out, one block after the other."""

    blocks: tuple[Block, ...]
    queries: Gathering
    keys: Gathering
    dtype: torch.dtype  # what attention computes in
    longest: int  # tokens of the longest answer with its prompt: what a sliding window must cover


def plan_attention(segments: Sequence[Segment], *, device: torch.device, dtype: torch.dtype) -> AttentionPlan:
    """The plan for a row that `segments` cover without gap or overlap."""
    num_tokens = sum(segment.length for segment in segments)
    blocks, queries, keys, query_padding, key_padding = [], [], [], [], []
    for part in _like_lengths(segments):
        block, query_slots, query_real, key_slots, key_real = _block(part, device, dtype)
        blocks.append(block)
        queries.append(query_slots.flatten())
        keys.append(key_slots.flatten())
        query_padding.append(~query_real.flatten())
        key_padding.append(~key_real.flatten())
    return AttentionPlan(
        blocks=tuple(blocks),
        queries=_gathering(torch.cat(queries), torch.cat(query_padding), num_tokens, device),
        keys=_gathering(torch.cat(keys), torch.cat(key_padding), num_tokens, device),
        dtype=dtype,
        longest=max(segment.prompt_length + segment.length for segment in segments),
    )


def _like_lengths(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Segments with and without a prompt apart, each cut where the padding would cost more than another block."""
    parts: list[list[Segment]] = []
    for with_prompt in (False, True):
        chosen = [segment for segment in segments if bool(segment.prompt_length) is with_prompt]
        width = prompt = real = 0
        start = len(parts)
        for segment in sorted(chosen, key=lambda segment: -segment.pairs):
            if len(parts) > start:
                new_width, new_prompt = max(width, segment.length), max(prompt, segment.prompt_length)
                padded = (len(parts[-1]) + 1) * new_width * (new_width + new_prompt)
            if len(parts) == start or padded - real - segment.pairs > BLOCK_COST:
                parts.append([])
                new_width, new_prompt, real = segment.length, segment.prompt_length, 0
            width, prompt, real = new_width, new_prompt, real + segment.pairs
            parts[-1].append(segment)
    return parts


def _block(part: Sequence[Segment], device: torch.device, dtype: torch.dtype):
    """The block, and for its queries [R, L] and keys [R, K]: the token of each slot, and whether it is real."""
    start, length, prompt_start, prompt_length = torch.tensor(part).T[:, :, None]  # [R, 1] each
    width, prompt_width = int(length.max()), int(prompt_length.max())
    own, before = torch.arange(width), torch.arange(prompt_width)
    real = own < length  # [R, L]
    queries = torch.where(real, start + own, start)
    prompt_real = before < prompt_length  # [R, P]
    prompt_keys = torch.where(prompt_real, prompt_start + before, start)
    same_prompts = bool((prompt_length == prompt_width).all())
    seen = torch.cat(
        [
            prompt_real[:, None].expand(-1, width, -1),
            # own padding is on the right, so causality alone hides it
            torch.ones(width, width, dtype=torch.bool).tril().expand(len(part), -1, -1),
        ],
        dim=-1,
    )[: 1 if same_prompts else None]
    bias = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, float("-inf"))[:, None]
    block = Block(
        rows=len(part),
        queries=width,
        keys=prompt_width + width,
        bias=bias.to(device),
        causal=prompt_width == 0,
        products=device.type == "cpu" and (prompt_width + width) * dtype.itemsize <= PRODUCT_BYTES,
    )
    return block, queries, real, torch.cat([prompt_keys, queries], dim=1), torch.cat([prompt_real, real], dim=1)


def _gathering(source: Tensor, padding: Tensor, num_tokens: int, device: torch.device) -> Gathering:
    slots = (~padding).nonzero().squeeze(1)
    tokens = source[slots]
    counts = torch.bincount(tokens, minlength=num_tokens)
    return Gathering(
        source=source.to(device),
        slots=slots[tokens.argsort(stable=True)].to(device),
        offsets=(counts.cumsum(0) - counts).to(device),
        padding=padding.nonzero().squeeze(1).to(device),
    )
