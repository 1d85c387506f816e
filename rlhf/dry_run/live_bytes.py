"""Counting the bytes of tensors that have shapes and no data."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


class LiveBytes(TorchDispatchMode):
    """Bytes of every tensor made inside this context for as long as something holds it: `now`, and at most `peak`.

    `held` are tensors from before (weights), which are not counted, nor are views of them. What one fused kernel
    allocates inside itself is not seen.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._held = {tensor.untyped_storage()._cdata for tensor in held}
        self._known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, output)
        return output

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._held or key in self._known:
            return
        self.now += size
        self.peak = max(self.peak, self.now)

        def forget(_: weakref.ref) -> None:
            del self._known[key]
            self.now -= size

        self._known[key] = weakref.ref(storage, forget)


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of `tensors`, each storage once (tied weights are one)."""
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


def parameters_and_buffers(model: torch.nn.Module) -> list[Tensor]:
    """Everything that a model keeps in memory."""
    return [*model.parameters(), *model.buffers()]
