"""Reward models: a decoder with one scalar read at the last token (Ouyang et al., arXiv 2203.02155, section 3.4)."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from rlhf.config.sections import ModelConfig
from rlhf.errors import ModelError
from rlhf.hardware import Hardware
from rlhf.models.architecture import body_of, score_head_of
from rlhf.models.lora import adapter_settings, merge_adapter
from rlhf.models.paths import is_adapter
from rlhf.models.policies import finish, load_tokenizer, other_model, tokenizer_at
from rlhf.models.sources import base_causal_lm, is_reward_config, load_whole, locate, read_config


def reward_model_from_policy(config: ModelConfig, hardware: Hardware, *, seed: int) -> PreTrainedModel:
    """A sequence-classification model with one label: the language model's body and a fresh head.

    The head is drawn from N(0, 1 / (hidden size + 1)) (Stiennon et al., arXiv 2009.01325, appendix B.1), so first
    scores are near zero. With model.lora the adapter is trained, and the head whole. Raises ModelError.
    """
    tokenizer = load_tokenizer(config)
    model = with_score_head(base_causal_lm(config, seed=seed), seed=seed)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return finish(model.to(hardware.device), config, seed=seed, task="SEQ_CLS")


def load_reward_model(
    path: str, hardware: Hardware, *, template: ModelConfig
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A trained reward model and its own tokenizer, frozen and in eval mode.

    `path` is a run directory, a folder, an adapter's folder or a hub name. `template` gives the attention
    implementation. Raises ModelError for a model without a score head, or with more labels than one.
    """
    location, own = locate(path), other_model(template, path)
    if isinstance(location, Path) and is_adapter(location):
        model = _load_adapter(location, own)
    else:
        model = load_whole(AutoModelForSequenceClassification, location, read_reward_config(location), own)
    tokenizer = tokenizer_at(location, own)
    return model.to(hardware.device).eval().requires_grad_(False), tokenizer


def load_reward_tokenizer(path: str, *, template: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer that `load_reward_model` gives for `path`, without the model. Raises ModelError as it does."""
    location, own = locate(path), other_model(template, path)
    if not (isinstance(location, Path) and is_adapter(location)):
        read_reward_config(location)
    return tokenizer_at(location, own)


def has_score_head(path: str) -> bool:
    """Whether the model at `path` gives a score, rather than tokens. Raises ModelError where there is no model."""
    location = locate(path)
    if isinstance(location, Path) and is_adapter(location):
        return adapter_settings(location).get("task_type") == "SEQ_CLS"
    return is_reward_config(read_config(location, None))


def read_reward_config(location: Path | str) -> PretrainedConfig:
    """The configuration of the reward model at `location`. Raises ModelError where it is none or has several labels."""
    settings = read_config(location, None)
    if not is_reward_config(settings):
        raise ModelError(
            f"{location} is not a reward model: its architecture is {settings.architectures}; train one with "
            "stage=reward, or name a sequence-classification model"
        )
    if settings.num_labels != 1:
        raise ModelError(f"{location} has {settings.num_labels} labels; a reward model has one (num_labels=1)")
    return settings


def _load_adapter(folder: Path, template: ModelConfig) -> PreTrainedModel:
    settings = adapter_settings(folder)
    if settings.get("task_type") != "SEQ_CLS" or "score" not in (settings.get("modules_to_save") or ()):
        raise ModelError(
            f"the adapter in {folder} is not a reward model: task_type {settings.get('task_type')}, no score head saved"
        )
    base = base_causal_lm(other_model(template, settings["base_model_name_or_path"]), seed=0)
    return merge_adapter(with_score_head(base, seed=0), folder)


def with_score_head(language_model: PreTrainedModel, *, seed: int) -> PreTrainedModel:
    """The body of `language_model`, moved under a new score head; its configuration is changed too."""
    config = language_model.config
    config.num_labels = 1
    name = language_model.name_or_path
    try:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
    except (ValueError, KeyError) as error:
        raise ModelError(f"{type(language_model).__name__} has no sequence-classification variant: {error}") from error
    head = score_head_of(model)
    if not isinstance(head, torch.nn.Linear):
        raise ModelError(f"{type(model).__name__} has no linear `score` head on its last hidden state")
    setattr(model, model.base_model_prefix, body_of(language_model))
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(1, head.in_features, generator=generator) / (head.in_features + 1) ** 0.5
    model.score = torch.nn.Linear(head.in_features, 1, bias=head.bias is not None)
    with torch.no_grad():
        model.score.weight.copy_(weight)
        if model.score.bias is not None:
            model.score.bias.zero_()
    model.config._name_or_path = model.name_or_path = name
    return model
