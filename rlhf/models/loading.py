"""One place to import from: everything that brings a tokenizer or a model from a path or a configuration, and back."""

from __future__ import annotations

from rlhf.models.paths import resolve_path
from rlhf.models.policies import load_causal_lm, load_tokenizer, other_model
from rlhf.models.reward_models import load_reward_model, load_reward_tokenizer, reward_model_from_policy
from rlhf.models.saving import save_model

__all__ = [
    "load_causal_lm",
    "load_reward_model",
    "load_reward_tokenizer",
    "load_tokenizer",
    "other_model",
    "resolve_path",
    "reward_model_from_policy",
    "save_model",
]
