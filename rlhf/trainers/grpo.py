"""GRPO: sample a group of answers a prompt, score them, move towards those above their group's mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlhf.algorithms.advantages import group_advantages
from rlhf.algorithms.grpo import grpo_loss
from rlhf.config.trainers import GRPOTrainerConfig
from rlhf.data.loading import Prompts
from rlhf.data.order import ExampleOrder
from rlhf.hardware import Hardware, default_hardware
from rlhf.models.forward import PackedForward
from rlhf.models.reference import ReferencePolicy
from rlhf.rollout.samples import sample_rows
from rlhf.trainers.accumulation import accumulate, micro_scores
from rlhf.trainers.control import TrainingControl
from rlhf.trainers.optimization import Optimization
from rlhf.trainers.rollout_metrics import rollout_batch, rollout_metrics
from rlhf.types import PackedBatch, Reward, Rollout, Sampler, SamplingDistribution, TokenScores

EVALUATION_STEP = 0
"""The step number that held-out answers are sampled under: the same random numbers at every evaluation."""


class GRPOTrainer:
    """Minimises rlhf.algorithms.grpo on answers of the policy itself."""

    def __init__(
        self,
        config: GRPOTrainerConfig,
        *,
        policy: nn.Module,
        tokenizer,
        reward: Reward,
        prompts: Prompts,
        sampler: Sampler,
        reference: ReferencePolicy | None = None,
        eval_prompts: Prompts | None = None,
        distribution: SamplingDistribution | None = None,
        hardware: Hardware | None = None,
        control: TrainingControl | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        self.config, self.model, self.reward, self.sampler, self.reference = config, policy, reward, sampler, reference
        self.prompts, self.eval_prompts = prompts.examples, eval_prompts.examples if eval_prompts else ()
        self.distribution = distribution or SamplingDistribution()
        self.hardware, self.control = hardware or default_hardware(), control or TrainingControl()
        self.order = ExampleOrder(len(self.prompts), config.prompts_per_step, seed=seed, shuffle=shuffle)
        self.forward = PackedForward(policy, pad_token_id=tokenizer.pad_token_id)
        self.num_steps = config.num_steps
        updates = config.num_steps * config.epochs_per_batch * config.minibatches
        self.optimization = Optimization(policy, config, total_updates=updates)

    def train(self) -> dict[str, float]:
        """Run the loop; returns the last metrics."""
        config, timer = self.config, self.control.timer
        self.model.train()  # for gradient checkpointing; every dropout is zero, so the policy is the one that sampled
        state = {"model": self.model, "optimizer": self.optimization}
        for step in self.control.steps(self.num_steps, state=state, evaluate=self.evaluate):
            prompts = [self.prompts[i] for i in self.order.batch(step - 1)]
            with timer("rollout"):
                self.sampler.update_weights()
                rollouts = self.sampler.sample(prompts, config.group_size, step=step)
            with timer("reward"):
                scores = self.reward.score(rollouts)
            rewards = penalised(scores.total, rollouts, config.missing_eos_penalty)
            advantages = group_advantages(rewards, config.group_size, scale=config.scale).float()
            with timer("update"):
                update = self.update(rollouts, advantages)
            generated = sum(len(r.answer_ids) for r in rollouts)
            self.control.count(generated_tokens=generated, trained_tokens=generated * config.epochs_per_batch)
            speed = {
                "throughput/generated_tokens_per_s": generated / timer.seconds["rollout"],
                "throughput/trained_tokens_per_s": generated * config.epochs_per_batch / timer.seconds["update"],
                "data/epoch": self.order.epoch(step),
            }
            metrics = rollout_metrics(rollouts, scores, config.group_size) | update | speed
            self.control.record(metrics, sample_rows(rollouts, scores, advantage=advantages.tolist()))
        return self.control.last_metrics

    def update(self, rollouts: Sequence[Rollout], advantages: Tensor) -> dict[str, float]:
        """All optimiser steps of one round: epochs_per_batch passes over minibatches of whole groups.

        advantages [P * G], in the order of `rollouts`. Returns means over all tokens of the round's last pass."""
        config = self.config
        whole = rollout_batch(rollouts, config.group_size)
        width = max(len(r.answer_ids) for r in rollouts)
        single = config.epochs_per_batch * config.minibatches == 1
        # with a single optimiser step the old policy is the new one: its log-probs are the new ones without gradient
        old = None if single else micro_scores(self.forward, whole, self.hardware, self.distribution, width=width)
        groups_each = config.prompts_per_step // config.minibatches
        for _ in range(config.epochs_per_batch):
            sums = LossSums()
            for first in range(0, config.prompts_per_step, groups_each):
                answers = slice(first * config.group_size, (first + groups_each) * config.group_size)
                batch = PackedBatch(whole.groups[first : first + groups_each])
                part_old = None if old is None else old[answers]
                sums.loss += self._accumulate(batch, advantages[answers], part_old, sums) / config.minibatches
                sums.optimizer = self.optimization.step()
        return sums.metrics(whole.num_loss_tokens)

    def _accumulate(self, batch: PackedBatch, advantages: Tensor, old: Tensor | None, sums: LossSums) -> float:
        num_tokens = batch.num_loss_tokens
        advantages = advantages.to(self.hardware.device)
        micro_reference: list[Tensor | None] = [None]

        def forward(micro: PackedBatch) -> TokenScores:
            if self.reference is not None:
                micro_reference[0] = self.reference.scores(micro, self.distribution).logprobs.float()
            return self.forward(micro, self.distribution, entropy=True)

        def loss(scores: TokenScores, answers: list[int]) -> Tensor:
            new, width = scores.logprobs.float(), scores.logprobs.shape[1]
            out = grpo_loss(
                new,
                new.detach() if old is None else old[answers][:, :width],
                advantages[answers],
                scores.mask,
                clip_low=self.config.clip_low,
                clip_high=self.config.clip_high,
                num_tokens=num_tokens,
                kl_coef=self.config.kl_coef,
                reference_logprobs=micro_reference[0],
            )
            sums.add(out, scores)
            return out.loss

        return accumulate(batch, self.hardware, forward, loss)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Rewards and lengths of one answer to each held-out prompt."""
        if not self.eval_prompts:
            return {}
        self.sampler.update_weights()
        rollouts = self.sampler.sample(self.eval_prompts, 1, step=EVALUATION_STEP)
        found = rollout_metrics(rollouts, self.reward.score(rollouts), 1)
        kept = {name.replace("/", "_"): v for name, v in found.items() if name.startswith(("reward/", "response/"))}
        return kept | {"num_examples": len(rollouts)}


def penalised(rewards: Sequence[float], rollouts: Sequence[Rollout], missing_eos_penalty: float) -> Tensor:
    """[N] float64: the rewards, less the penalty where the answer was cut by the token limit."""
    truncated = torch.tensor([r.finish == "length" for r in rollouts])
    return torch.tensor(rewards, dtype=torch.float64) - missing_eos_penalty * truncated


class LossSums:
    """Sums over the tokens of one pass, and their means."""

    def __init__(self) -> None:
        self.loss, self.clipped, self.log_ratio, self.entropy = 0.0, 0.0, 0.0, 0.0
        self.kl_ref: float | None = None
        self.optimizer: dict[str, float] = {}

    def add(self, out, scores: TokenScores) -> None:
        """Take in one micro-batch."""
        self.clipped += out.clipped_tokens.item()
        self.log_ratio += out.log_ratio_sum.item()
        self.entropy += torch.where(scores.mask, scores.entropy, 0.0).sum().item()
        if out.kl_ref_sum is not None:
            self.kl_ref = (self.kl_ref or 0.0) + out.kl_ref_sum.item()

    def metrics(self, num_tokens: int) -> dict[str, float]:
        """Token means, by the names of docs/metrics.md."""
        found = {
            "loss/total": self.loss,
            "policy/clip_fraction": self.clipped / num_tokens,
            "policy/kl_old": self.log_ratio / num_tokens,
            "policy/entropy": self.entropy / num_tokens,
        }
        if self.kl_ref is not None:
            found["policy/kl_ref"] = self.kl_ref / num_tokens
        return found | self.optimizer
