"""PPO: a critic says what each token of an answer was expected to earn, and the policy moves towards those that did
better."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor, nn

from rlhf.algorithms.advantages import whiten
from rlhf.algorithms.gae import gae, token_rewards
from rlhf.algorithms.value import explained_variance
from rlhf.config.ppo import PPOTrainerConfig
from rlhf.data.loading import Prompts
from rlhf.hardware import Hardware
from rlhf.models.critic import Critic
from rlhf.models.reference import ReferencePolicy
from rlhf.trainers.collection import Collected
from rlhf.trainers.control import TrainingControl
from rlhf.trainers.experience import Experience, experience_of, kl_costs, mean_advantages
from rlhf.trainers.flops import forward_flops, parameters_of, round_tokens, training_flops
from rlhf.trainers.grpo import GRPOTrainer
from rlhf.trainers.optimization import Optimization
from rlhf.trainers.reward_scaling import RewardScaling
from rlhf.trainers.value_update import ValueTargets, ValueUpdate
from rlhf.types import Reward, Sampler, SamplingDistribution


class PPOTrainer(GRPOTrainer):
    """GRPO's rounds, with a critic for a baseline: only what is learned from a round's answers is another."""

    def __init__(
        self,
        config: PPOTrainerConfig,
        *,
        policy: nn.Module,
        critic: Critic,
        tokenizer,
        reward: Reward,
        prompts: Prompts,
        sampler: Sampler,
        max_new_tokens: int,
        reference: ReferencePolicy | None = None,
        eval_prompts: Prompts | None = None,
        distribution: SamplingDistribution | None = None,
        hardware: Hardware | None = None,
        control: TrainingControl | None = None,
        seed: int = 0,
        shuffle: bool = True,
        ahead: bool = False,
        eval_samples: int = 1,
    ) -> None:
        super().__init__(
            config,
            policy=policy,
            tokenizer=tokenizer,
            reward=reward,
            prompts=prompts,
            sampler=sampler,
            max_new_tokens=max_new_tokens,
            reference=reference,
            eval_prompts=eval_prompts,
            distribution=distribution,
            hardware=hardware,
            control=control,
            seed=seed,
            shuffle=shuffle,
            ahead=ahead,
            eval_samples=eval_samples,
        )
        self.critic = critic
        self.value_update = ValueUpdate(config, critic, self.hardware)
        self.reward_scaling = RewardScaling(config.reward_scaling, config.reward_clip)
        a_round, share = config.epochs_per_batch * config.minibatches, self.control.budget_share
        both, alone = config.num_steps * a_round, (config.num_steps - config.critic_warmup_steps) * a_round
        if critic.shares_policy:  # one optimiser for both
            self.optimization = Optimization(critic.module, config, total_updates=both, spent=share)
        else:
            self.optimization = Optimization(policy, config, total_updates=alone, spent=share)
            own = replace(config, learning_rate=config.critic_learning_rate)
            with critic.active():
                self.critic_optimization = Optimization(critic.module, own, total_updates=both, spent=share)

    @property
    def warming_up(self) -> bool:
        """Whether the critic alone learns in this round."""
        return 0 < self.control.step <= self.config.critic_warmup_steps

    def train(self) -> dict[str, float]:
        """Run the loop; returns the last metrics. The policy is left without the critic's adapter, if it had one."""
        self.critic.module.train()  # for gradient checkpointing; there is no dropout
        found = super().train()
        self.critic.leave()
        return found

    def learn(self, collected: Collected) -> tuple[dict[str, float], Tensor]:
        """All optimiser steps of one round: at most epochs_per_batch passes over minibatches of whole groups.

        Returns means over the tokens of the last pass, and each answer's advantage [N] (its tokens' mean)."""
        config = self.config
        experience = experience_of(
            collected.rollouts, collected.scores.total, config, self.max_new_tokens, self.hardware.device
        )
        self.passes = 0
        if not experience.mask.any():
            return {"loss/total": 0.0}, torch.zeros(len(collected.rollouts))
        self.policy_update.measure(experience, old=not config.single_update)
        values = self.value_update.measure(experience)
        experience.advantages, returns = self.advantages_and_returns(experience, values)
        metrics: dict[str, float] = {}
        while self.passes < config.epochs_per_batch and not self._has_moved_enough(metrics):
            metrics = self._one_pass(experience, ValueTargets(values, returns))
            self.passes += 1
        if "policy/kl_ref" in metrics:
            self.policy_update.kl.update(metrics["policy/kl_ref"], len(experience.rewards))
        metrics["value/explained_variance"] = explained_variance(values, returns, experience.mask)
        metrics["value/mean"] = values[experience.mask].mean().item()
        metrics["policy/passes"] = self.passes
        return metrics, mean_advantages(experience)

    def advantages_and_returns(self, experience: Experience, values: Tensor) -> tuple[Tensor, Tensor]:
        """[N, T] each: by GAE, from the scores at the last tokens and the KL at every token; the returns are what the
        critic should have said."""
        config, mask = self.config, experience.mask
        scores = self.reward_scaling(experience.rewards, mask.any(dim=1).cpu()).to(mask.device)
        rewards = token_rewards(scores, mask)
        if config.kl_coef > 0 and config.kl_place == "reward":
            rewards = rewards - kl_costs(experience, config, self.policy_update.kl.coef)
        values = values.double()
        advantages = gae(rewards, values, mask, gamma=config.gamma, lam=config.gae_lambda)
        returns = advantages + values
        return (whiten(advantages, mask) if config.whiten else advantages).float(), returns.float()

    def _has_moved_enough(self, metrics: dict[str, float]) -> bool:
        """Whether the last pass found the policy further from the one that sampled than kl_stop allows."""
        stop = self.config.kl_stop
        return stop is not None and metrics.get("policy/kl_old", 0.0) > stop

    def _one_pass(self, experience: Experience, targets: ValueTargets) -> dict[str, float]:
        sums: Counter[str] = Counter()
        minibatches = experience.minibatches(self.config.minibatches)
        optimizer: dict[str, float] = {}
        for batch, answers in minibatches:
            policy = {} if self.warming_up else self.policy_update.minibatch(experience, batch, answers)
            if policy and not self.critic.shares_policy:
                optimizer |= self.optimization.step()
            value = self.value_update.minibatch(experience, targets, batch, answers)
            optimizer |= self._step_with_values()
            sums.update(policy | value)
        steps, tokens = len(minibatches), max(int(experience.mask.sum()), 1)
        losses = {"loss/value": sums.pop("loss/value") / steps}
        found = {"value/clip_fraction": sums.pop("value/clip_fraction") / tokens}
        if not self.warming_up:
            losses["loss/policy"] = sums.pop("loss") / steps
            found |= self.policy_update.means(sums)
        weight = self.config.value_coef if self.critic.shares_policy else 1.0
        total = losses.get("loss/policy", 0.0) + weight * losses["loss/value"]
        return {"loss/total": total, **losses, **found, **optimizer}

    def _step_with_values(self) -> dict[str, float]:
        """The optimiser step that follows the value loss: of policy and critic where they share, else of the critic."""
        if self.critic.shares_policy:
            if self.warming_up:
                self.model.zero_grad(set_to_none=True)  # the head alone
            return self.optimization.step()
        step = self.critic_optimization.step()
        return {"value/grad_norm": step["policy/grad_norm"], "value/lr": step["optimizer/lr"]}

    @property
    def policy_passes(self) -> int:
        """None while the critic warms up."""
        return 0 if self.warming_up else self.passes

    def _flops(self, collected: Collected) -> int:
        """As GRPO's, and the critic reads once and learns."""
        tokens, critic = round_tokens(collected.rollouts, self.config.group_size), self.critic.module
        with self.critic.active():
            learning = training_flops(critic, tokens) * self.passes
        return super()._flops(collected) + forward_flops(parameters_of(critic), tokens) + learning

    def _state(self) -> dict[str, object]:
        state = {**super()._state(), "critic": self.critic, "reward_scaling": self.reward_scaling}
        return state if self.critic.shares_policy else {**state, "critic_optimizer": self.critic_optimization}
