"""What oneDNN keeps on a CPU: a compiled kernel for every shape of a matrix product that it has met."""

from __future__ import annotations

import os

import torch
from torch import nn

from rlhf.config.sections import HardwareConfig

CACHED_KERNELS = 1024  # oneDNN's own default; the environment variable of its name overrides it
FORWARD_BYTES = 550 * 2**10  # of a kernel, measured on products of 512 x 1536 and 576 x 1536 with torch 2.13
BACKWARD_BYTES = 1740 * 2**10  # likewise; a product has two, for its input and for its weight


def kernel_bytes(
    model: nn.Module, hardware: HardwareConfig, device: str, *, trained_lengths: int, sampled_rows: int
) -> int:
    """Bytes of the kernels of a whole run, once all of its shapes have been met.

    trained_lengths   micro-batches of the run: each has a number of tokens of its own
    sampled_rows      numbers of rows that decoding meets, at most
    """
    if device != "cpu" or not _uses_onednn(hardware):
        return 0
    shapes = len({tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Linear)})
    number = shapes * (3 * trained_lengths + sampled_rows)
    size = shapes * (trained_lengths * (FORWARD_BYTES + 2 * BACKWARD_BYTES) + sampled_rows * FORWARD_BYTES)
    capacity = int(os.environ.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY") or CACHED_KERNELS)
    return size if number <= capacity else size * capacity // number


def _uses_onednn(hardware: HardwareConfig) -> bool:
    """fp32 products at the highest precision go through another library, and so do all on processors without bf16."""
    if hardware.precision == "fp32" and hardware.matmul_precision == "highest":
        return False
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
