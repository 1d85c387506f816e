"""Write a model so that `AutoModel...from_pretrained(folder)` loads it, whole or not at all."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.errors import ModelError
from rlhf.models.architecture import unwrap

ADAPTER = "adapter"


def save_model(model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Model and tokenizer in Hugging Face format, atomically; `folder` is replaced if it exists.

    With LoRA the folder holds the merged weights, and folder/adapter the adapter alone. The live model is not changed.
    One process at a time: what an earlier one left half-written beside `folder` is removed.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for pattern in (f".{folder.name}.tmp-*", f".{folder.name}.old-*"):
        for leftover in folder.parent.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.tmp-"))
    try:
        temporary.chmod(0o755)
        if hasattr(model, "peft_config"):
            model.save_pretrained(temporary / ADAPTER, save_embedding_layers=False)
            merged_copy(model).save_pretrained(temporary)
        else:
            model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        _replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def complete_checkpoint(state: Mapping[str, object], tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Make a checkpoint's folder one that `AutoModel...from_pretrained(folder)` loads: its weights are there already.

    state    what is saved; `model` is the one that is completed: its configuration and tokenizer, or its adapter once
             more in peft's format. A model of which only some weights are trained is left alone: there is no whole.
    """
    model = state.get("model")
    if hasattr(model, "peft_config"):
        model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
    elif isinstance(model, PreTrainedModel) and all(p.requires_grad for p in model.parameters()):
        config = copy.deepcopy(model.config)
        config.architectures, config.dtype = [type(model).__name__], str(model.dtype).removeprefix("torch.")
        config.save_pretrained(folder)
        if getattr(model, "generation_config", None) is not None:
            model.generation_config.save_pretrained(folder)
    else:
        return
    tokenizer.save_pretrained(folder)


def new_folder(folder: str | Path) -> Path:
    """`folder` as a path that a model may go to. Raises ModelError where it holds anything, which would be lost."""
    path = Path(folder).expanduser()
    if path.is_dir() and any(path.iterdir()):
        raise ModelError(f"{path} is not empty; name a folder that does not exist yet")
    if path.exists() and not path.is_dir():
        raise ModelError(f"{path} is a file; name a folder that does not exist yet")
    return path


def merged_copy(model: nn.Module) -> PreTrainedModel:
    """A peft model's weights with the adapter added in, as a plain model on the CPU; `model` stays as it is.

    Merging in place and undoing it would leave round-off in the weights that training continues with.
    """
    base = unwrap(model)
    config = copy.deepcopy(base.config)
    if hasattr(config, "quantization_config"):  # the merged weights are whole again
        del config.quantization_config
    with torch.device("meta"):
        merged = type(base)(config)
    merged.load_state_dict(_merged_state(base), assign=True, strict=False)
    merged.tie_weights()
    if hasattr(base, "generation_config"):  # a reward model has none
        merged.generation_config = base.generation_config
    return merged


def plain_state(model: nn.Module, *, merged: bool = True) -> dict[str, Tensor]:
    """The weights by the names of the plain model: of a peft model with its adapter added in, or (`merged` False) of
    what lies beneath it."""
    return _merged_state(unwrap(model), merged=merged) if hasattr(model, "peft_config") else model.state_dict()


@torch.no_grad()
def _merged_state(base: nn.Module, *, merged: bool = True) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, module in base.named_modules():
        if merged and hasattr(module, "get_delta_weight"):
            weight = dequantize_module_weight(module.get_base_layer())
            delta = sum(module.get_delta_weight(adapter) for adapter in module.active_adapters)
            state[f"{name}.weight"] = (weight + delta).cpu()
        elif type(getattr(module, "weight", None)).__name__ == "Params4bit" and not name.endswith(".base_layer"):
            state[f"{name}.weight"] = dequantize_module_weight(module).cpu()
    quantized = getattr(base, "is_loaded_in_4bit", False)
    for name, value in base.state_dict().items():
        if ".lora_" in name or ".original_module." in name or (quantized and ".weight." in name):
            continue  # the last: scales and tables of 4-bit weights
        plain = name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
        state.setdefault(plain, value.detach().cpu())
    return state


def _replace(temporary: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(temporary, folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old-"))
    os.rename(folder, old / folder.name)
    os.rename(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)
