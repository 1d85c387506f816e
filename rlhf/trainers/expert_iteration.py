"""Expert iteration: sample answers, keep the right ones, imitate them, repeat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from rlhf.algorithms.sft import sft_loss
from rlhf.config.expert_iteration import ExpertIterationConfig
from rlhf.data.loading import Prompts
from rlhf.hardware import Hardware, default_hardware
from rlhf.models.forward import PackedForward
from rlhf.models.microbatches import packed_tokens
from rlhf.rollout.samples import sample_rows
from rlhf.trainers.accumulation import Accumulation
from rlhf.trainers.collection import Collection
from rlhf.trainers.control import TrainingControl
from rlhf.trainers.flops import sampling_flops, training_flops
from rlhf.trainers.optimization import Optimization
from rlhf.trainers.rollout_metrics import held_out_answers, rollout_metrics, sampler_metrics
from rlhf.types import Continuation, PackedBatch, Reward, Rollout, Sampler, TokenGroup


class ExpertIterationTrainer:
    """Minimises the cross-entropy (rlhf.algorithms.sft) of those answers of the policy itself that a reward accepts."""

    def __init__(
        self,
        config: ExpertIterationConfig,
        *,
        policy: nn.Module,
        tokenizer,
        reward: Reward,
        prompts: Prompts,
        sampler: Sampler,
        eval_prompts: Prompts | None = None,
        hardware: Hardware | None = None,
        control: TrainingControl | None = None,
        seed: int = 0,
        shuffle: bool = True,
        ahead: bool = False,
        eval_samples: int = 1,
    ) -> None:
        self.config, self.model, self.reward, self.sampler, self.seed = config, policy, reward, sampler, seed
        self.eval_prompts, self.eval_samples = eval_prompts.examples if eval_prompts else (), eval_samples
        self.hardware, self.control = hardware or default_hardware(), control or TrainingControl()
        self.num_steps = config.num_steps
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
        self.forward = PackedForward(policy, pad_token_id=tokenizer.pad_token_id)
        self.accumulate = Accumulation(policy, self.hardware)
        updates = config.num_steps * config.epochs_per_batch * config.minibatches
        self.optimization = Optimization(policy, config, total_updates=updates, spent=self.control.budget_share)

    def train(self) -> dict[str, float]:
        """Run the loop; returns the last metrics."""
        self.model.train()
        with self.collection:
            for step in self.control.steps(self.num_steps, state=self._state(), evaluate=self.evaluate):
                self._round(step)
        return self.control.last_metrics

    def _round(self, step: int) -> None:
        timer = self.control.timer
        collected = self.collection.next(timer)
        kept = kept_answers(collected.rollouts, collected.scores.total, self.config)
        with timer("update"):
            metrics, flops = self.imitate([collected.rollouts[i] for i in kept], step)
        trained = sum(len(collected.rollouts[i].answer_ids) for i in kept) * self.config.epochs_per_batch
        flops += sampling_flops(self.model, self.reward, collected.rollouts, self.config.group_size)
        self.control.count(generated_tokens=collected.sampled_tokens, trained_tokens=trained, flops=flops)
        rewards = rollout_metrics(collected.rollouts, collected.scores, self.config.group_size)
        share = {"data/kept_fraction": len(kept) / len(collected.rollouts), "data/epoch": self.collection.epoch()}
        speed = {"throughput/generated_tokens_per_s": collected.sampled_tokens / timer.seconds["rollout"]}
        chosen = set(kept)
        flags = [i in chosen for i in range(len(collected.rollouts))]
        self.control.record(
            rewards | collected.ahead_metrics() | sampler_metrics(self.sampler) | metrics | share | speed,
            sample_rows(collected.rollouts, collected.scores, kept=flags),
        )

    def imitate(self, answers: Sequence[Rollout], step: int) -> tuple[dict[str, float], int]:
        """All optimiser steps of one round on `answers`, in an order drawn from (seed, step); none for no answers.

        Returns the last pass's mean loss in nats a token with the optimiser's figures; floating-point operations."""
        if not answers:
            return {"loss/total": 0.0}, 0
        order = np.random.default_rng([self.seed, step])
        flops = 0
        for _ in range(self.config.epochs_per_batch):
            total = tokens = 0.0
            shuffled = order.permutation(len(answers))
            for part in np.array_split(shuffled, min(self.config.minibatches, len(answers))):
                batch = PackedBatch(tuple(_group(answers[i]) for i in part.tolist()))
                loss = self._gradient(batch)
                figures = self.optimization.step()
                total, tokens = total + loss * batch.num_loss_tokens, tokens + batch.num_loss_tokens
                flops += training_flops(self.model, packed_tokens(batch))
        return {"loss/total": total / tokens, **figures}, flops

    def _gradient(self, batch: PackedBatch) -> float:
        number = batch.num_loss_tokens
        return self.accumulate(
            batch, self.forward, lambda scores, _: {"loss": sft_loss(scores.logprobs, scores.mask, num_tokens=number)}
        )["loss"]

    def _state(self) -> dict[str, object]:
        return {
            "model": self.model,
            "optimizer": self.optimization,
            "token_budget": self.hardware.budget,
            "prompts": self.collection,
        }

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Rewards and lengths of `eval_samples` answers to each held-out prompt; of several, how many are right."""
        self.collection.settle()  # one call of the sampler at a time
        keep = self.control.held_out
        return held_out_answers(self.sampler, self.eval_prompts, self.reward, self.eval_samples, keep)


def kept_answers(rollouts: Sequence[Rollout], rewards: Sequence[float], config: ExpertIterationConfig) -> list[int]:
    """Positions of the answers to imitate, in order.

    Their reward is at least keep_reward, they have tokens, they came to an end (unless keep_truncated), each text
    stands once a prompt, and there are at most keep_per_prompt of a prompt."""
    seen: dict[str, set[tuple[int, ...]]] = {}
    kept = []
    for i, (rollout, reward) in enumerate(zip(rollouts, rewards, strict=True)):
        if not reward >= config.keep_reward or not rollout.answer_ids:  # nan is not kept
            continue
        if rollout.finish == "length" and not config.keep_truncated:
            continue
        answers = seen.setdefault(rollout.prompt.id, set())
        full = config.keep_per_prompt is not None and len(answers) >= config.keep_per_prompt
        if full or rollout.answer_ids in answers:
            continue
        answers.add(rollout.answer_ids)
        kept.append(i)
    return kept


def _group(rollout: Rollout) -> TokenGroup:
    return TokenGroup(rollout.prompt_ids, (Continuation(rollout.answer_ids),))
