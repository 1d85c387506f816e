"""Direct preference optimisation: learn from pairs of answers, held near a reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rlhf.algorithms.dpo import (
    COMPARES_PAIRS,
    LossSettings,
    PairLogprobs,
    RunningMean,
    loss_and_slopes,
    preference_loss,
)
from rlhf.config.dpo import DPOTrainerConfig
from rlhf.data.loading import Pairs, Prompts
from rlhf.data.order import ExampleOrder
from rlhf.errors import ConfigError
from rlhf.hardware import Hardware, default_hardware
from rlhf.models.forward import PackedForward
from rlhf.models.microbatches import packed_tokens
from rlhf.models.reference import ReferencePolicy
from rlhf.trainers.accumulation import Accumulation
from rlhf.trainers.control import TrainingControl
from rlhf.trainers.flops import forward_flops, parameters_of, training_flops
from rlhf.trainers.optimization import Optimization
from rlhf.trainers.pair_forward import PairForward, PairTable, pair_numbers, whole_pairs
from rlhf.trainers.reference_cache import precomputed_logprobs
from rlhf.trainers.reference_sync import ReferenceSync
from rlhf.trainers.sampled_answers import SampledAnswers
from rlhf.types import PackedBatch, Reward, Sampler, SamplingDistribution, TokenGroup


class DPOTrainer:
    """Minimises a weighted sum of the losses of rlhf.algorithms.dpo.

    reference        the policy as it was, where config.needs_reference; the constructor computes what
                     config.precompute_reference asks for, from the policy as it is then
    answer_sampler, answer_reward, answer_prompts, distribution
                     of the answers that config.sample_prompts asks for (rlhf.trainers.sampled_answers)
    """

    def __init__(
        self,
        config: DPOTrainerConfig,
        *,
        policy: nn.Module,
        tokenizer,
        pairs: Pairs,
        eval_pairs: Pairs | None = None,
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
        if config.needs_reference and reference is None:
            raise ConfigError("trainer.loss or trainer.sample_prompts needs a reference (rlhf.models.reference)")
        self.config, self.model, self.data, self.eval_data = config, policy, pairs, eval_pairs
        self.reference = reference
        self.hardware, self.control = hardware or default_hardware(), control or TrainingControl()
        self.order = ExampleOrder(len(pairs.groups), config.batch_size, seed=seed, shuffle=shuffle)
        self.num_steps = config.num_steps or self.order.steps_for(config.num_epochs)
        self.forward = PackedForward(policy, pad_token_id=tokenizer.pad_token_id)
        self.answers = SampledAnswers(
            config.sample_prompts,
            sampler=answer_sampler,
            reference=reference,
            reward=answer_reward,
            prompts=answer_prompts,
            held_out=eval_pairs.examples if eval_pairs is not None else (),
            forward=self.forward,
            distribution=distribution,
            hardware=self.hardware,
            keep=self.control.held_out,
        )
        self.accumulate = Accumulation(policy, self.hardware)
        self.optimization = Optimization(policy, config, total_updates=self.num_steps, spent=self.control.budget_share)
        self.reward_shift = RunningMean()
        self.weights, self.compares_pairs = config.loss_weights, any(n in COMPARES_PAIRS for n in config.loss_weights)
        live = reference.scores if config.loss_uses_reference and not config.precompute_reference else None
        self.policy_pairs = PairForward(self.forward, None, config.ld_alpha)
        self.both_pairs = PairForward(self.forward, live, config.ld_alpha)
        self.stored, self.eval_stored = self._precomputed(pairs), self._precomputed(eval_pairs)
        self.sync = None
        if config.sync_every:
            self.sync = ReferenceSync(policy, reference, every=config.sync_every, share=config.sync_alpha)

    def train(self) -> dict[str, float]:
        """Run the loop; returns the last metrics."""
        self.model.train()
        for step in self.control.steps(self.num_steps, state=self._state(), evaluate=self.evaluate):
            rows = self.order.batch(step - 1)
            batch = PackedBatch(tuple(self.data.groups[i] for i in rows))
            stored = None if self.stored is None else self.stored[rows]
            gradient = self._compared_gradient if self.compares_pairs else self._gradient
            loss, pairs = gradient(batch, stored)
            update = self.optimization.step()
            if self.sync is not None:
                self.sync.after_step(step)
            self.control.count(trained_tokens=batch.num_loss_tokens, flops=self._flops(batch))
            epoch = {"data/epoch": self.order.epoch(step)}
            self.control.record({"loss/total": loss, **self._metrics(pairs, batch), **epoch, **update})
        return self.control.last_metrics

    def _flops(self, batch: PackedBatch) -> int:
        """Of one step: the policy learns, a live reference reads, and losses that compare pairs read them first."""
        tokens = packed_tokens(batch)
        live = self.config.loss_uses_reference and not self.config.precompute_reference
        reading = parameters_of(self.reference.model) if live else 0
        reading += parameters_of(self.model) if self.compares_pairs else 0
        return training_flops(self.model, tokens) + forward_flops(reading, tokens)

    def _state(self) -> dict[str, Any]:
        """What a continued run needs."""
        state = {"model": self.model, "optimizer": self.optimization, "token_budget": self.hardware.budget}
        state |= {"reward_shift": self.reward_shift} if "bco_pair" in self.weights else {}
        return state if self.sync is None else state | {"reference": self.sync}

    def _gradient(self, batch: PackedBatch, stored: Tensor | None) -> tuple[float, PairLogprobs]:
        """One pass: the gradient of losses whose value for a pair is its own affair. Returns loss and pairs."""
        num_pairs, settings = len(batch.groups), self._settings(batch)
        table = PairTable(num_pairs, self.hardware.device)

        def loss(pairs: PairLogprobs, answers: list[int]) -> dict[str, Tensor]:
            numbers = pair_numbers(answers, self.hardware.device)
            pairs = pairs if stored is None else replace(pairs, reference=stored[numbers])
            table.put(numbers, pairs)
            return {"loss": self._loss(pairs, settings, num_pairs)}

        sums = self.accumulate(batch, self.both_pairs, loss, keep_groups=True)
        return sums["loss"], table.pairs()

    def _compared_gradient(self, batch: PackedBatch, stored: Tensor | None) -> tuple[float, PairLogprobs]:
        """Two passes: all pairs are seen without gradient first, so that the cut into micro-batches changes nothing."""
        pairs = whole_pairs(self.both_pairs, batch, self.hardware, stored)
        if "bco_pair" in self.weights:
            self.reward_shift.update(self.config.beta * pairs.log_ratios)
        loss, slopes = loss_and_slopes(pairs, self.weights, self._settings(batch), nll_coef=self.config.nll_coef)

        def surrogate(part: PairLogprobs, answers: list[int]) -> dict[str, Tensor]:
            return {"loss": slopes.surrogate(part, pair_numbers(answers, self.hardware.device))}

        self.accumulate(batch, self.policy_pairs, surrogate, keep_groups=True)
        return loss.item(), pairs

    def _loss(self, pairs: PairLogprobs, settings: LossSettings, num_pairs: int) -> Tensor:
        return preference_loss(pairs, self.weights, settings, num_pairs=num_pairs, nll_coef=self.config.nll_coef)

    def _settings(self, batch: PackedBatch) -> LossSettings:
        """The constants of a step over `batch`."""
        c = self.config
        chosen = PackedBatch(tuple(TokenGroup((), g.continuations[:1]) for g in batch.groups)).num_loss_tokens
        return LossSettings(
            beta=c.beta,
            label_smoothing=c.label_smoothing,
            gamma=c.gamma,
            discopop_tau=c.discopop_tau,
            f_divergence=c.f_divergence,
            f_alpha=c.f_alpha,
            mean_chosen_length=max(chosen, 1) / len(batch.groups),
            reward_shift=self.reward_shift.mean,
        )

    def _metrics(self, pairs: PairLogprobs, batch: PackedBatch) -> dict[str, float]:
        """Means over the pairs: implicit rewards, how often the chosen answer has the higher one, log-probs."""
        scores = pairs.mean_policy if self.config.rewards_per_token else self._settings(batch).scores(pairs)
        chosen, rejected = (self.config.beta * scores).unbind(dim=1)
        accuracy = (chosen > rejected).double() + 0.5 * (chosen == rejected).double()
        found = {
            "reward/chosen": chosen,
            "reward/rejected": rejected,
            "reward/margin": chosen - rejected,
            "reward/accuracy": accuracy,
            "policy/logp_chosen": pairs.plain[:, 0],
            "policy/logp_rejected": pairs.plain[:, 1],
        }
        return {name: values.mean().item() for name, values in found.items()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """The same figures on held-out pairs, and how far sampled answers are from the reference."""
        found: dict[str, float] = {}
        self.model.eval()
        if self.eval_data is not None and self.eval_data.groups:
            batch = PackedBatch(self.eval_data.groups)
            pairs = whole_pairs(self.both_pairs, batch, self.hardware, self.eval_stored)
            found["loss"] = self._loss(pairs, self._settings(batch), len(batch.groups)).item()
            found |= {_held_out_name(name): value for name, value in self._metrics(pairs, batch).items()}
            found["num_examples"] = len(batch.groups)
        found |= self.answers.evaluate()
        self.model.train()
        return found

    def _precomputed(self, data: Pairs | None) -> Tensor | None:
        """[N, 2] log-probs of the policy as it is now, where trainer.precompute_reference; nats, weighted."""
        if data is None or not data.groups or not self.config.precompute_reference:
            return None
        return precomputed_logprobs(self.forward, data, self.hardware, self.config.ld_alpha)


def _held_out_name(name: str) -> str:
    """reward/accuracy -> accuracy, as in the reward stage; policy/logp_chosen -> policy_logp_chosen."""
    return name.removeprefix("reward/") if name in ("reward/accuracy", "reward/margin") else name.replace("/", "_")
