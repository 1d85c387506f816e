"""Supervised fine-tuning: imitate demonstrated answers."""

from __future__ import annotations

import math

import torch
from torch import nn

from rlhf.algorithms.aggregation import masked_sum
from rlhf.algorithms.sft import sft_loss
from rlhf.config.trainers import SFTTrainerConfig
from rlhf.data.loading import Demonstrations, Prompts
from rlhf.data.order import ExampleOrder
from rlhf.hardware import Hardware, default_hardware
from rlhf.models.forward import PackedForward
from rlhf.models.microbatches import over_microbatches, packed_tokens
from rlhf.models.reference import ReferencePolicy
from rlhf.trainers.accumulation import Accumulation
from rlhf.trainers.control import TrainingControl
from rlhf.trainers.flops import training_flops
from rlhf.trainers.optimization import Optimization
from rlhf.trainers.sampled_answers import SampledAnswers
from rlhf.types import PackedBatch, Reward, Sampler, SamplingDistribution


class SFTTrainer:
    """Minimises the cross-entropy of answer tokens (rlhf.algorithms.sft).

    Which tokens count stands in `demonstrations`: their renderer follows trainer.loss_on.

    reference        the policy as it was, where config.needs_reference
    answer_sampler, answer_reward, answer_prompts, distribution
                     of the answers that config.sample_prompts asks for (rlhf.trainers.sampled_answers)
    """

    def __init__(
        self,
        config: SFTTrainerConfig,
        *,
        policy: nn.Module,
        tokenizer,
        demonstrations: Demonstrations,
        eval_demonstrations: Demonstrations | None = None,
        reference: ReferencePolicy | None = None,
        answer_sampler: Sampler | None = None,
        answer_reward: Reward | None = None,
        answer_prompts: Prompts | None = None,
        distribution: SamplingDistribution | None = None,
        hardware: Hardware | None = None,
        control: TrainingControl | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        self.config, self.model, self.data, self.eval_data = config, policy, demonstrations, eval_demonstrations
        self.hardware, self.control = hardware or default_hardware(), control or TrainingControl()
        self.order = ExampleOrder(len(self.data.groups), config.batch_size, seed=seed, shuffle=shuffle)
        self.num_steps = config.num_steps or self.order.steps_for(config.num_epochs)
        self.forward = PackedForward(policy, pad_token_id=tokenizer.pad_token_id)
        self.answers = SampledAnswers(
            config.sample_prompts,
            sampler=answer_sampler,
            reference=reference,
            reward=answer_reward,
            prompts=answer_prompts,
            held_out=eval_demonstrations.examples if eval_demonstrations is not None else (),
            forward=self.forward,
            distribution=distribution,
            hardware=self.hardware,
            keep=self.control.held_out,
        )
        self.accumulate = Accumulation(policy, self.hardware)
        self.optimization = Optimization(policy, config, total_updates=self.num_steps, spent=self.control.budget_share)

    def train(self) -> dict[str, float]:
        """Run the loop; returns the last metrics."""
        self.model.train()
        state = {"model": self.model, "optimizer": self.optimization, "token_budget": self.hardware.budget}
        for step in self.control.steps(self.num_steps, state=state, evaluate=self.evaluate):
            batch = PackedBatch(tuple(self.data.groups[i] for i in self.order.batch(step - 1)))
            num_tokens = batch.num_loss_tokens
            loss = self.accumulate(
                batch,
                self.forward,
                lambda scores, _: {"loss": sft_loss(scores.logprobs, scores.mask, num_tokens=num_tokens)},  # noqa: B023
            )["loss"]
            update = self.optimization.step()
            self.control.count(trained_tokens=num_tokens, flops=training_flops(self.model, packed_tokens(batch)))
            self.control.record({"loss/total": loss, "data/epoch": self.order.epoch(step), **update})
        return self.control.last_metrics

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Held-out loss (nats a token) and perplexity, and what sampled answers are like."""
        self.model.eval()
        found = self._held_out_loss() | self.answers.evaluate()
        self.model.train()
        return found

    def _held_out_loss(self) -> dict[str, float]:
        if self.eval_data is None or not self.eval_data.groups:
            return {}
        batch = PackedBatch(self.eval_data.groups)

        def run(micro: PackedBatch, _: list[int]) -> float:
            with self.hardware.autocast():
                scores = self.forward(micro)
            return masked_sum(scores.logprobs, scores.mask).item()

        total = sum(over_microbatches(batch, self.hardware.budget, run))
        loss = -total / max(batch.num_loss_tokens, 1)
        return {"loss": loss, "perplexity": math.exp(min(loss, 50.0)), "num_examples": len(batch.groups)}
