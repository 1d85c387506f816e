"""The policy's weights on disk, as vLLM reads them.

Whole models are written with a head of their own: vLLM's in-place reload leaves a head that is tied to the embedding as
it was, so the two are parted before vLLM starts, and stay so.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import uuid
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.errors import ModelError
from rlhf.models.architecture import unwrap
from rlhf.models.saving import plain_state
from rlhf.rollout.vllm.backend import Delivery
from rlhf.rollout.vllm.server import start_watcher, stop_watcher

IN_MEMORY = Path("/dev/shm")
ROOM = 3.0  # copies of the model that must fit: the one in use, the next, and some air


class Exporter:
    """Writes deliveries, each in a folder of its own, and removes them again."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        dtype: str,
        adapter: bool,
        folder: str | None,
        spare: Path,
    ) -> None:
        """`folder` holds them, None for one in memory, or below `spare` where that has no room."""
        self.model, self.tokenizer = model, tokenizer
        self.dtype, self.adapter = getattr(torch, dtype), adapter
        self.number = 0
        if folder is None:
            self.root = _temporary_folder(model, self.dtype, spare)
        else:
            self.root = Path(folder) / f"rlhf-{uuid.uuid4().hex[:8]}"
            self.root.mkdir(parents=True)
            self.root.chmod(0o755)
        self._watcher = start_watcher([], self.root)  # removes it where this process cannot

    def export(self) -> Delivery:
        """The weights as they are now. With `adapter`, the model beneath the LoRA is written the first time alone."""
        self.number += 1
        if not self.adapter:
            return Delivery(self.number, self._whole(f"update-{self.number:06d}", merged=True), None)
        base = self.root / "base"
        if not base.exists():
            self._whole(base.name, merged=False)
        folder = self.root / f"adapter-{self.number:06d}"
        self.model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
        return Delivery(self.number, base, folder)

    def keep_only(self, delivery: Delivery) -> None:
        """Remove what no vLLM will read again."""
        kept = {delivery.weights, delivery.adapter}
        for folder in self.root.iterdir():
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything. May be called twice."""
        stop_watcher(self._watcher)
        shutil.rmtree(self.root, ignore_errors=True)

    def _whole(self, name: str, *, merged: bool) -> Path:
        folder = self.root / name
        try:
            untied_copy(self.model, self.dtype, merged=merged).save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        except OSError as error:
            raise ModelError(
                f"the weights for vLLM cannot be written to {folder}: {error}; name a folder with room, "
                "rollout.vllm.sync_folder"
            ) from error
        return folder


@torch.no_grad()
def untied_copy(model: nn.Module, dtype: torch.dtype, *, merged: bool) -> PreTrainedModel:
    """A model to be saved: `model`'s weights as `dtype` with a head of their own, a LoRA merged in, or left out."""
    base = unwrap(model)
    config = copy.deepcopy(base.config)
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        part.tie_word_embeddings = False
    if hasattr(config, "quantization_config"):  # what is written is whole
        del config.quantization_config
    config.dtype, config.architectures = dtype, [type(base).__name__]
    with torch.device("meta"):
        untied = type(base)(config)
    state = {name: _as(value, dtype) for name, value in plain_state(model, merged=merged).items()}
    head = next(name for name, module in base.named_modules() if module is base.get_output_embeddings())
    embedding = next(name for name, module in base.named_modules() if module is base.get_input_embeddings())
    state[f"{head}.weight"] = state.get(f"{head}.weight", state[f"{embedding}.weight"]).clone()
    untied.load_state_dict(state, assign=True, strict=False)
    untied.generation_config = base.generation_config
    return untied


def _as(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype)


def _temporary_folder(model: nn.Module, dtype: torch.dtype, spare: Path) -> Path:
    needed = ROOM * dtype.itemsize * sum(p.numel() for p in model.parameters())
    if IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > needed:
        return Path(tempfile.mkdtemp(dir=IN_MEMORY, prefix="rlhf-"))
    spare.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=spare, prefix="vllm-"))
