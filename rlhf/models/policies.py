"""Tokenizers and policies from a ModelConfig, ready to train or to sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.config.sections import ModelConfig
from rlhf.hardware import Hardware
from rlhf.models.lora import attach_lora
from rlhf.models.paths import resolve_path
from rlhf.models.sources import base_causal_lm, locate, read_config, read_tokenizer, tokenizer_location
from rlhf.models.tokenizers import byte_tokenizer, prepare_tokenizer


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """The model's tokenizer with a padding token and, where configured, another chat template. Raises ModelError."""
    if config.source == "random":
        return prepare_tokenizer(byte_tokenizer(), config.chat_template)
    return tokenizer_at(locate(config.path, config.source), config)


def tokenizer_at(location: Path | str, config: ModelConfig) -> PreTrainedTokenizerBase:
    """The prepared tokenizer of a located folder or hub name; revision and chat template from `config`."""
    revision = config.revision if isinstance(location, str) else None
    tokenizer = read_tokenizer(location, revision)
    vocabulary = None
    where = tokenizer_location(location)
    if isinstance(where, str) or (where / "config.json").is_file():
        vocabulary = read_config(where, revision).get_text_config().vocab_size
    return prepare_tokenizer(tokenizer, config.chat_template, vocabulary_size=vocabulary)


def load_causal_lm(config: ModelConfig, hardware: Hardware, *, seed: int) -> PreTrainedModel:
    """The policy: fp32 weights, no dropout, on the device; a PeftModel with a fresh adapter where model.lora.enabled.

    A path to an adapter folder loads its base and merges the adapter, so that an SFT adapter belongs to the start (and
    to the reference). `seed` decides random weights and the adapter's. Raises ModelError with one line.
    """
    model = base_causal_lm(config, seed=seed).to(hardware.device)
    return finish(model, config, seed=seed, task="CAUSAL_LM")


def other_model(template: ModelConfig, path: str) -> ModelConfig:
    """`template`'s way of loading for the model at `path`: without its revision, chat template and adapter."""
    lora = replace(template.lora, enabled=False, quantize="none")
    return replace(template, path=path, source="auto", revision=None, chat_template=None, lora=lora)


def finish(
    model: PreTrainedModel, config: ModelConfig, *, seed: int, task: Literal["CAUSAL_LM", "SEQ_CLS"]
) -> PreTrainedModel:
    """Attach the adapter and switch gradient checkpointing on, where `config` says so."""
    if config.lora.enabled:
        model = attach_lora(model, config.lora, seed=seed, task=task)
        model.peft_config["default"].base_model_name_or_path = str(resolve_path(config.path))  # of a run: its model/
    if config.gradient_checkpointing:
        enable_checkpointing(model)
    return model


def enable_checkpointing(model: PreTrainedModel) -> None:
    """Recompute activations in backward."""
    # transformers 5.20 and later call it activation checkpointing, and warn about the old name
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
