"""What draws answers."""

from __future__ import annotations

import tempfile
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any

from rlhf.config.run import ROUNDS
from rlhf.config.sections import RolloutConfig
from rlhf.data.rendering import Renderer
from rlhf.parts.data import DataParts
from rlhf.rollout.copy import CopySampler
from rlhf.rollout.native import NativeSampler
from rlhf.rollout.vllm.engine import VLLMSampler
from rlhf.types import Sampler, SamplingDistribution


class SamplingParts(DataParts):
    """Of one run, each made once, when somebody first asks."""

    @cached_property
    def distribution(self) -> SamplingDistribution:
        rollout = self.run_config.rollout
        return SamplingDistribution(rollout.temperature, rollout.top_k, rollout.top_p)

    @property
    def max_new_tokens(self) -> int:
        return self.run_config.rollout.max_new_tokens

    @cached_property
    def sampler(self) -> Sampler:
        """Of the policy itself; where it learns from the answers, of its copy on hardware.rollout_device, if any."""
        if self.hardware.rollout_device is None or self.run_config.stage not in ROUNDS:
            return self.sampler_of(self.policy, self.tokenizer, self.renderer)
        return CopySampler(
            self.policy,
            self.tokenizer,
            self.renderer,
            self.run_config.rollout,
            batch_size=self.hardware.rollout_batch_size,
            seed=self.seed,
            hardware=self.hardware,
        )

    @property
    def ahead(self) -> bool:
        """Whether a round's answers are sampled while the round before is learned."""
        return self.run_config.rollout.ahead

    @property
    def eval_samples(self) -> int:
        """Answers to each held-out prompt at evaluations."""
        return self.run_config.evaluation.samples_per_prompt

    @cached_property
    def answer_sampler(self) -> Sampler | None:
        """The sampler where trainer.sample_prompts asks for answers at evaluations; else None."""
        return self.sampler if self.run_config.trainer.sample_prompts else None

    def sampler_of(
        self,
        model: Any,
        tokenizer: Any,
        renderer: Renderer,
        rollout: RolloutConfig | None = None,
        *,
        seed: int | None = None,
    ) -> NativeSampler | VLLMSampler:
        """An engine that samples from `model` as `rollout`, else the section `rollout:`, says, under `seed`, else the
        run's."""
        rollout, seed = rollout or self.run_config.rollout, self.seed if seed is None else seed
        if rollout.vllm is None:
            batch = self.hardware.rollout_batch_size
            return NativeSampler(
                model, tokenizer, renderer, rollout, batch_size=batch, seed=seed, hardware=self.hardware
            )
        sampler = VLLMSampler(
            model,
            tokenizer,
            renderer,
            rollout,
            longest_prompt=renderer.config.max_prompt_tokens,
            seed=seed,
            hardware=self.hardware,
            folder=Path(tempfile.gettempdir()) if self.run_dir is None else self.run_dir.path.absolute(),
        )
        self.to_close.add(sampler)
        return sampler

    @cached_property
    def to_close(self) -> weakref.WeakSet[VLLMSampler]:
        """What holds processes or files outside of this one. Who is done with a sampler may close and forget it."""
        return weakref.WeakSet()

    def close(self) -> None:
        """End the servers that the run started. May be called twice."""
        for sampler in self.to_close:
            sampler.close()
