"""A key-value cache that is written in place. `DynamicCache` copies itself whole for every token."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import Cache, DynamicLayer

GROWTH = 128  # columns allocated ahead


class InPlaceLayer(DynamicLayer):
    """One layer's keys and values, [rows, heads, capacity, head size], of which `length` columns are filled."""

    is_croppable = False

    def __init__(self) -> None:
        super().__init__()
        self.length = 0
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Append columns; returns views of everything so far."""
        key_states, value_states = _as_attended(key_states), _as_attended(value_states)
        end = self.length + key_states.shape[-2]
        if self._buffers is None or end > self._buffers[0].shape[-2]:
            self._buffers = tuple(self._grown(i, new, end) for i, new in enumerate((key_states, value_states)))
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, self.length : end] = new
        self.length = end
        return self._view()

    def get_seq_length(self) -> int:
        """Columns filled."""
        return self.length

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep rows `beam_idx`, in that order; a row may be taken several times (one prompt, many samples)."""
        fewer = len(beam_idx) <= self._buffers[0].shape[0]
        buffers = []
        for buffer in self._buffers:
            rows = buffer[:, :, : self.length].index_select(0, beam_idx)
            kept = buffer[: len(beam_idx)] if fewer else _columns(rows, self.length + GROWTH)
            kept[:, :, : self.length] = rows
            buffers.append(kept)
        self._buffers = tuple(buffers)
        self._view()

    def _grown(self, index: int, new: Tensor, end: int) -> Tensor:
        capacity = max(end + GROWTH, 2 * self.length)
        buffer = _columns(new, capacity)
        if self._buffers is not None:
            buffer[:, :, : self.length] = self._buffers[index][:, :, : self.length]
        return buffer

    def _view(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (buffer[:, :, : self.length] for buffer in self._buffers)
        self.is_initialized = True
        return self.keys, self.values


def _as_attended(states: Tensor) -> Tensor:
    """In the precision that attention would cast to under autocast: once here, not for every later token."""
    device = states.device.type
    return states.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else states


def _columns(like: Tensor, capacity: int) -> Tensor:
    rows, heads, _, size = like.shape
    return torch.empty(rows, heads, capacity, size, dtype=like.dtype, device=like.device)


def new_cache(config: PretrainedConfig) -> Cache:
    """An empty cache for a model: in place for attention layers, transformers' own for recurrent and other kinds.

    Sliding-window layers keep every column here; the window is in the mask that transformers builds.
    """
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ())
    if kinds <= {"full_attention", "sliding_attention"}:
        return Cache(layer_class_to_replicate=InPlaceLayer)
    return DynamicCache(config=config)
