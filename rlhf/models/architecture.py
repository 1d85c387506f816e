"""Where a Hugging Face model keeps its parts: the body, the language-model head, the score head."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

PROBE_TOKENS = 3


def unwrap(model: nn.Module) -> nn.Module:
    """The transformers model inside a peft model (its adapter stays active), or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def body_of(model: nn.Module) -> nn.Module:
    """The decoder without its head: token ids -> last hidden states, after the final norm."""
    return unwrap(model).base_model


def score_head_of(model: nn.Module) -> nn.Module | None:
    """The scalar head of a decoder's sequence-classification model (`score`, applied to hidden states), or None."""
    return getattr(unwrap(model), "score", None)


def max_positions(model: nn.Module) -> int | None:
    """Tokens that a row may have, or None where the configuration does not say."""
    config = unwrap(model).config
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def has_plain_head(model: nn.Module) -> bool:
    """Whether the logits are one nn.Linear of the last hidden state and nothing after it.

    Found by trying: the head's output is replaced by large known numbers, which the model must hand out untouched.
    Gemma's soft cap, Granite's and Cohere's scaling change them.
    """
    model = unwrap(model)
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear:
        return False
    seen: dict[str, Tensor] = {}

    def replace_output(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen["input"] = inputs[0]
        seen["output"] = torch.linspace(-100, 100, output.numel(), device=output.device).to(output).view_as(output)
        return seen["output"]

    ids = torch.arange(PROBE_TOKENS, device=model.device)[None] % head.weight.shape[0]
    handle = head.register_forward_hook(replace_output)
    try:
        with torch.no_grad(), evaluation_mode(model), torch.autocast(ids.device.type, enabled=False):
            logits = model(input_ids=ids, use_cache=False).logits
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    finally:
        handle.remove()
    if "input" not in seen or seen["input"].shape != hidden.shape:
        return False
    return torch.equal(logits, seen["output"]) and torch.allclose(seen["input"], hidden)


@contextlib.contextmanager
def evaluation_mode(model: nn.Module):
    """`model.eval()` inside, every submodule's own mode restored after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
