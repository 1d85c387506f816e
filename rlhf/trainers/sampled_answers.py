"""The policy's own answers at evaluations, for stages that learn from given ones: trainer.sample_prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rlhf.data.loading import Prompts
from rlhf.errors import ConfigError
from rlhf.hardware import Hardware
from rlhf.models.forward import PackedForward
from rlhf.models.reference import ReferencePolicy
from rlhf.rollout.samples import EVALUATION_STEP
from rlhf.trainers.accumulation import micro_scores
from rlhf.trainers.rollout_metrics import Keep, held_out_rewards
from rlhf.types import (
    Continuation,
    Demonstration,
    PackedBatch,
    PreferencePair,
    Prompt,
    Reward,
    Sampler,
    SamplingDistribution,
    TokenGroup,
)


class SampledAnswers:
    """One sampled answer to each of the first `number` prompts: how far from the reference, how long, how good.

    sampler     samples from the policy, under `distribution`
    reference   the policy as it was
    reward      scores the answers; nothing is trained on it. None: nothing does
    keep        takes the answers, where there is a reward
    prompts     what is answered, the first `number` units of them; None: the prompts of `held_out`

    Raises ConfigError where `number` is above 0 and there is no sampler or no reference.
    """

    def __init__(
        self,
        number: int,
        *,
        sampler: Sampler | None,
        reference: ReferencePolicy | None,
        reward: Reward | None,
        prompts: Prompts | None,
        held_out: Sequence[PreferencePair | Demonstration],
        forward: PackedForward,
        distribution: SamplingDistribution | None,
        hardware: Hardware,
        keep: Keep,
    ) -> None:
        if number and sampler is None:
            raise ConfigError("trainer.sample_prompts needs a sampler; set it to 0 to sample nothing")
        if number and reference is None:
            raise ConfigError("trainer.sample_prompts needs a reference (rlhf.models.reference)")
        self.sampler, self.reference, self.reward = sampler, reference, reward
        given = None if prompts is None else prompts.examples[: number * prompts.per_unit]
        self.prompts = distinct_prompts(held_out)[:number] if given is None else given
        self.forward, self.hardware = forward, hardware
        self.distribution, self.keep = distribution or SamplingDistribution(), keep

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Of one answer a prompt: KL(policy, reference) over whole answers, k1, in nats; lengths in tokens; rewards.

        By the names that evaluations log; {} where nothing is sampled. The policy is in eval mode."""
        if not self.prompts:
            return {}
        self.sampler.update_weights()
        rollouts = self.sampler.sample(self.prompts, 1, step=EVALUATION_STEP)
        batch = PackedBatch(tuple(TokenGroup(r.prompt_ids, (Continuation(r.answer_ids),)) for r in rollouts))
        lengths = [len(r.answer_ids) for r in rollouts]
        ours, theirs = (
            micro_scores(forward, batch, self.hardware, self.distribution, width=max(lengths)).double()
            for forward in (self.forward, self.reference.scores)
        )
        kl = (ours - theirs).sum(dim=1).mean().item()
        found = {"policy_kl_ref_answer": kl, "response_length_tokens": sum(lengths) / len(lengths)}
        return found if self.reward is None else found | held_out_rewards(rollouts, self.reward, self.keep)


def distinct_prompts(examples: Sequence[PreferencePair | Demonstration]) -> list[Prompt]:
    """The prompts of `examples`, each text once, in order."""
    found: dict[str, Prompt] = {}
    for example in examples:
        found.setdefault(example.prompt.as_text(), example.prompt)
    return list(found.values())
