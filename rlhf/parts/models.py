"""The models of a run and how they read text."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from rlhf.config.rewards import learned_model
from rlhf.models.critic import Critic, lora_critic, separate_critic, shared_critic
from rlhf.models.forward import PackedForward
from rlhf.models.loading import load_causal_lm, load_tokenizer, reward_model_from_policy
from rlhf.models.reference import ReferencePolicy, make_reference
from rlhf.parts.common import CommonParts

log = logging.getLogger(__name__)


class ModelParts(CommonParts):
    """Of one run, each made once, when somebody first asks."""

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.run_config.model)

    @cached_property
    def policy(self) -> Any:
        return _counted(load_causal_lm(self.run_config.model, self.hardware, seed=self.seed))

    @cached_property
    def reward_model(self) -> Any:
        """A model with a fresh score head on the weights of model.path."""
        return _counted(reward_model_from_policy(self.run_config.model, self.hardware, seed=self.seed))

    @cached_property
    def reference(self) -> ReferencePolicy | None:
        """The policy as the stage finds it; None where nothing is held near it."""
        needed = self.run_config.trainer.needs_reference
        return make_reference(PackedForward(self.policy, pad_token_id=self.tokenizer.pad_token_id)) if needed else None

    @cached_property
    def critic(self) -> Critic:
        """What predicts the reward to come, as trainer.critic says."""
        trainer, pad = self.run_config.trainer, self.tokenizer.pad_token_id
        if trainer.critic == "shared":
            return shared_critic(self.policy, pad_token_id=pad)
        if trainer.critic == "lora":
            return lora_critic(self.policy, pad_token_id=pad, seed=self.seed)
        start = learned_model(self.run_config.reward) if trainer.critic_init == "reward_model" else None
        return separate_critic(self.run_config.model, self.hardware, self.tokenizer, reward_model=start, seed=self.seed)


def _counted(model: Any) -> Any:
    """`model`, its size told."""
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    log.info("%s: %.1fM parameters, %.1fM trainable", model.config._name_or_path, total / 1e6, trainable / 1e6)
    return model
