"""GRPO and its kin: sample a group of answers a prompt, score them, move towards those that did better."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from rlhf.algorithms.advantages import answer_advantages, no_signal, whiten
from rlhf.config.policy_gradient import GRPOTrainerConfig
from rlhf.data.loading import Prompts
from rlhf.hardware import Hardware, default_hardware
from rlhf.models.forward import PackedForward
from rlhf.models.reference import ReferencePolicy
from rlhf.rollout.samples import sample_rows
from rlhf.trainers.collection import Collected, Collection
from rlhf.trainers.control import TrainingControl
from rlhf.trainers.experience import Experience, experience_of, kl_costs, mean_advantages
from rlhf.trainers.flops import forward_flops, parameters_of, round_tokens, sampling_flops, training_flops
from rlhf.trainers.optimization import Optimization
from rlhf.trainers.policy_update import PolicyUpdate
from rlhf.trainers.rollout_metrics import held_out_answers, rollout_metrics, sampler_metrics
from rlhf.types import Reward, Sampler, SamplingDistribution


class GRPOTrainer:
    """Minimises rlhf.algorithms.policy_gradient on answers of the policy itself; the baseline needs no model."""

    def __init__(
        self,
        config: GRPOTrainerConfig,
        *,
        policy: nn.Module,
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
        self.config, self.model, self.reward, self.sampler = config, policy, reward, sampler
        self.eval_prompts, self.eval_samples = eval_prompts.examples if eval_prompts else (), eval_samples
        self.hardware, self.control = hardware or default_hardware(), control or TrainingControl()
        self.max_new_tokens, self.num_steps = max_new_tokens, config.num_steps
        self.passes = config.epochs_per_batch  # over the answers of a round
        self.collection = Collection(
            config,
            prompts.examples,
            sampler,
            reward,
            seed=seed,
            shuffle=shuffle,
            per_unit=prompts.per_unit,
            ahead=ahead,
        )
        self.policy_update = PolicyUpdate(
            config,
            forward=PackedForward(policy, pad_token_id=tokenizer.pad_token_id),
            reference=reference,
            hardware=self.hardware,
            distribution=distribution or SamplingDistribution(),
            max_new_tokens=max_new_tokens,
        )
        updates = config.num_steps * config.epochs_per_batch * config.minibatches
        self.optimization = Optimization(policy, config, total_updates=updates, spent=self.control.budget_share)

    def train(self) -> dict[str, float]:
        """Run the loop; returns the last metrics."""
        timer = self.control.timer
        self.model.train()  # for gradient checkpointing; every dropout is zero, so the policy is the one that sampled
        with self.collection:
            for _ in self.control.steps(self.num_steps, state=self._state(), evaluate=self.evaluate):
                collected = self.collection.next(timer)
                with timer("update"):
                    metrics, advantages = self.learn(collected)
                self.control.record(
                    self._rollout_metrics(collected) | metrics | self._speed(collected),
                    sample_rows(collected.rollouts, collected.scores, advantage=advantages.tolist()),
                )
        return self.control.last_metrics

    def learn(self, collected: Collected) -> tuple[dict[str, float], Tensor]:
        """All optimiser steps of one round: epochs_per_batch passes over minibatches of whole groups.

        Returns means over the tokens of the last pass, and each answer's advantage [N] (its tokens' mean)."""
        config, device = self.config, self.hardware.device
        experience = experience_of(collected.rollouts, collected.scores.total, config, self.max_new_tokens, device)
        learned = torch.ones(len(experience.groups), dtype=torch.bool)
        if config.no_signal == "drop":
            rewards = torch.tensor(collected.scores.total, dtype=torch.float64)
            learned = ~no_signal(rewards, config.group_size, config.min_reward_spread)
            experience = experience.select(learned)
        shown = torch.zeros(len(learned) * config.group_size)
        if not experience.groups or not experience.mask.any():
            return {"loss/total": 0.0}, shown
        self.policy_update.measure(experience, old=not config.single_update)
        experience.advantages = self.advantages(experience)
        shown[learned.repeat_interleave(config.group_size)] = mean_advantages(experience)
        for _ in range(config.epochs_per_batch):
            metrics = self._one_pass(experience)
        if "policy/kl_ref" in metrics:
            self.policy_update.kl.update(metrics["policy/kl_ref"], len(experience.rewards))
        return metrics, shown

    def advantages(self, experience: Experience) -> Tensor:
        """[N, T] of every token: its answer's, less what the KL costs from that token on if it is paid there."""
        config = self.config
        rewards, in_reward = experience.rewards, config.kl_coef > 0 and config.kl_place != "loss"
        costs = kl_costs(experience, config, self.policy_update.kl.coef) if in_reward else None
        if config.kl_place == "reward" and in_reward:
            rewards, costs = rewards - costs.sum(dim=1).cpu(), None
        per_answer = answer_advantages(
            rewards,
            config.group_size,
            baseline=config.baseline,
            scale=config.scale,
            ddof=config.std_ddof,
            epsilon=config.std_epsilon,
        )
        values = per_answer.to(experience.mask.device)[:, None].expand(experience.mask.shape)
        if costs is not None:
            values = values - costs.flip(1).cumsum(dim=1).flip(1)
        values = torch.where(experience.mask, values, 0.0)
        return (whiten(values, experience.mask) if config.whiten else values).float()

    def _one_pass(self, experience: Experience) -> dict[str, float]:
        sums: Counter[str] = Counter()
        minibatches = experience.minibatches(self.config.minibatches)
        for batch, answers in minibatches:
            sums.update(self.policy_update.minibatch(experience, batch, answers))
            optimizer = self.optimization.step()
        return {"loss/total": sums["loss"] / len(minibatches), **self.policy_update.means(sums), **optimizer}

    def _rollout_metrics(self, collected: Collected) -> dict[str, float]:
        found = rollout_metrics(collected.rollouts, collected.scores, self.config.group_size)
        if self.config.group_size > 1:
            found["reward/no_signal_fraction"] = collected.silent_fraction
        return found | collected.ahead_metrics() | sampler_metrics(self.sampler)

    def _speed(self, collected: Collected) -> dict[str, float]:
        seconds = self.control.timer.seconds
        trained = sum(len(r.answer_ids) for r in collected.rollouts) * self.passes
        self.control.count(
            generated_tokens=collected.sampled_tokens, trained_tokens=trained, flops=self._flops(collected)
        )
        return {
            "throughput/generated_tokens_per_s": collected.sampled_tokens / seconds["rollout"],
            "throughput/trained_tokens_per_s": trained / seconds["update"],
            "data/epoch": self.collection.epoch(),
        }

    @property
    def policy_passes(self) -> int:
        """Passes over the answers of this round in which the policy learned."""
        return self.passes

    def _flops(self, collected: Collected) -> int:
        """Of one round: sampling and scoring, with what resampling threw away; what is measured before the update; and
        the update."""
        config, passes = self.config, self.policy_passes
        tokens = round_tokens(collected.rollouts, config.group_size)
        sampled = collected.sampled_answers / len(collected.rollouts)
        policy, in_reward = parameters_of(self.model), config.kl_coef > 0 and config.kl_place != "loss"
        reads = int(not config.single_update or in_reward)
        of_reference = (1 if in_reward else passes) if config.kl_coef > 0 else 0
        return (
            round(sampled * sampling_flops(self.model, self.reward, collected.rollouts, config.group_size))
            + forward_flops(policy, tokens) * (reads + of_reference)
            + training_flops(self.model, tokens) * passes
        )

    def _state(self) -> dict[str, object]:
        return {
            "model": self.model,
            "optimizer": self.optimization,
            "token_budget": self.hardware.budget,
            "prompts": self.collection,
            "kl": self.policy_update.kl,
        }

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Rewards and lengths of `eval_samples` answers to each held-out prompt; of several, how many are right."""
        self.collection.settle()  # one call of the sampler at a time
        keep = self.control.held_out
        return held_out_answers(self.sampler, self.eval_prompts, self.reward, self.eval_samples, keep)
