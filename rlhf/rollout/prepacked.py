"""Linear layers with weights laid out once for oneDNN, for as long as a call to `sample` lasts.

On a CPU, products with a few rows spend much of their time reordering the weights; decoding does that for every token.
The operators are private to torch, so everything here falls back to the plain layers where they are missing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from rlhf.hardware import Hardware

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def prepacked_linears(model: nn.Module, hardware: Hardware) -> Iterator[None]:
    """Inside, every nn.Linear of `model` multiplies with a packed copy of its weight, in bf16 under bf16 precision.

    Costs the packed copy's memory and 0.1 to 0.2 s for 100M parameters. Only on CPUs, for fp32 weights, and where fp32
    products need not go through MKL (matmul_precision other than highest).
    """
    patched: list[nn.Linear] = []
    if hardware.device.type == "cpu" and (hardware.precision == "bf16" or hardware.matmul_precision != "highest"):
        dtype = torch.bfloat16 if hardware.precision == "bf16" else torch.float32
        try:
            _patch(model, dtype, patched)
        except (AttributeError, RuntimeError) as error:
            logger.info("prepacked weights are not available here (%s)", str(error).splitlines()[0])
            _restore(patched)
    try:
        yield
    finally:
        _restore(patched)


def _patch(model: nn.Module, dtype: torch.dtype, patched: list[nn.Linear]) -> None:
    packed: dict[int, Tensor] = {}  # tied weights share one copy
    for module in model.modules():
        if type(module) is not nn.Linear or module.weight.dtype != torch.float32 or "forward" in vars(module):
            continue
        key = module.weight.data_ptr()
        if key not in packed:
            packed[key] = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach().to(dtype).contiguous())
        module.forward = _forward(packed[key], module.bias, dtype)
        patched.append(module)


def _forward(weight: Tensor, bias: nn.Parameter | None, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    bias = None if bias is None else bias.detach().to(dtype)
    return lambda hidden: torch.ops.mkldnn._linear_pointwise(hidden.to(dtype), weight, bias, "none", [], "")


def _restore(patched: list[nn.Linear]) -> None:
    for module in patched:
        del module.forward
    patched.clear()
