"""A training step played through without data: which bytes are alive when. Shapes only, so it takes a second.

The tensors are torch's fake tensors: every operation runs through the same kernels' shape functions and the same
autograd graph as the real step, so any architecture, adapters, autocast and gradient checkpointing are counted as they
are, and no formula has to know them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rlhf.dry_run.live_bytes import LiveBytes, parameters_and_buffers
from rlhf.models.architecture import body_of, score_head_of, unwrap
from rlhf.models.head import head_logprobs
from rlhf.models.layout import Layout
from rlhf.models.packed_attention import UnsupportedAttention, attending_packed
from rlhf.models.packing import pack
from rlhf.models.padding import pad_rows
from rlhf.types import PackedBatch, SamplingDistribution

CPU = torch.device("cpu")


@dataclass(frozen=True)
class PlayedStep:
    """Bytes of forward and backward of one micro-batch; weights, and gradients kept from before, not among them."""

    activations: int  # alive when the forward pass ends
    peak: int  # the most at any time; gradients made meanwhile are among them


def play_step(
    model: nn.Module,
    mode: FakeTensorMode,
    batch: PackedBatch,
    *,
    bf16: bool,
    accumulates: bool,
    distribution: SamplingDistribution,
    entropy: bool,
    chunk_tokens: int,
) -> PlayedStep:
    """Forward and backward of one micro-batch through `model`, whose tensors are of `mode`.

    accumulates   whether gradients of an earlier micro-batch are there already
    """
    scored = score_head_of(model) is not None

    def output(layout: Layout) -> Tensor:
        hidden = _states(model, layout)
        if scored:
            return score_head_of(model)(hidden[layout.last])
        return _logprobs(model, hidden, batch.num_loss_tokens, distribution, entropy, chunk_tokens)

    def played(layout: Layout) -> PlayedStep:
        with mode, torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            model.train()
            return _played(model, lambda: output(layout), accumulates=accumulates)

    # whether a packed row also gives the same states shows only with weights
    if getattr(body_of(model), "_supports_attention_backend", False):
        dtype = torch.bfloat16 if bf16 else torch.float32
        with contextlib.suppress(UnsupportedAttention):
            return played(pack(batch, device=CPU, dtype=dtype, whole_answers=scored))
    return played(pad_rows(batch, 0, device=CPU))


def _played(model: nn.Module, forward: Callable[[], Tensor], *, accumulates: bool) -> PlayedStep:
    trainable = [p for p in model.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.grad = torch.empty_like(parameter) if accumulates else None
    kept = [p.grad for p in trainable if p.grad is not None]
    live = LiveBytes(held=[*parameters_and_buffers(model), *kept])
    with live:
        output = forward()
        activations = live.now
        with torch.autocast("cpu", enabled=False):
            output.sum().backward()
    for parameter in trainable:
        parameter.grad = None
    return PlayedStep(activations, live.peak)


def play_reading(model: nn.Module, mode: FakeTensorMode, *, rows: int, columns: int, bf16: bool) -> int:
    """Peak bytes of a forward pass without gradient over `rows` prompts, key-value cache not among them."""
    with mode, torch.no_grad():
        model.eval()
        live = LiveBytes(held=parameters_and_buffers(model))
        ids = torch.zeros(rows, columns, dtype=torch.long)
        positions = torch.arange(columns)[None].expand(rows, columns)
        with live, torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            body_of(model)(input_ids=ids, position_ids=positions, use_cache=False)
    return live.peak


def _states(model: nn.Module, layout: Layout) -> Tensor:
    """[rows * columns, H] last hidden states."""
    body = body_of(model)
    inputs = {name: value for name, value in layout.inputs.items() if name != "attention_mask"}  # it masks nothing
    with attending_packed(body) if "plan" in inputs else contextlib.nullcontext():
        return body(**inputs, use_cache=False).last_hidden_state.flatten(0, 1)


def _logprobs(
    model: nn.Module,
    hidden: Tensor,
    counted: int,
    distribution: SamplingDistribution,
    entropy: bool,
    chunk_tokens: int,
) -> Tensor:
    head = unwrap(model).get_output_embeddings()
    states = torch.zeros(counted, dtype=torch.long)
    logprobs, _ = head_logprobs(
        hidden[states], head.weight, head.bias, states, distribution, entropy=entropy, chunk_tokens=chunk_tokens
    )
    return logprobs
