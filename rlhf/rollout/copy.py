"""A sampler with a copy of the policy on a device of its own, which takes the policy's weights over when it is told.

So one device trains while another samples, and answers may be sampled while the policy learns.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from rlhf.config.sections import RolloutConfig
from rlhf.hardware import Hardware
from rlhf.rollout.native import NativeSampler, PromptRenderer
from rlhf.types import Prompt, Rollout


class CopySampler(NativeSampler):
    """Samples from a copy of `policy` on `hardware.rollout_device`; implements `rlhf.types.Sampler`.

    On the policy's own device its answers are the policy's, bit for bit."""

    apart = True

    def __init__(
        self,
        policy: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        renderer: PromptRenderer,
        config: RolloutConfig,
        *,
        batch_size: int | str,
        seed: int,
        hardware: Hardware,
    ):
        """As NativeSampler's; `hardware` is that of the training, with its rollout_device."""
        self.policy = policy
        there = replace(hardware, device=hardware.rollout_device, rollout_device=None)
        super().__init__(
            copied(policy, there.device),
            tokenizer,
            renderer,
            config,
            batch_size=batch_size,
            seed=seed,
            hardware=there,
        )

    def sample(self, prompts: Sequence[Prompt], num_samples: int, *, step: int) -> list[Rollout]:
        """As NativeSampler's; may be called from another thread than the one that trains."""
        device = self.hardware.device
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            return super().sample(prompts, num_samples, step=step)

    def update_weights(self) -> None:
        """Take over the policy's weights as they are now; not while `sample` is under way."""
        take_over(self.policy, self.model)


def copied(policy: nn.Module, device: torch.device) -> nn.Module:
    """A copy of `policy` on `device`, adapters included, frozen; tied weights stay tied.

    Weights go straight to `device`: nothing more is needed where they come from."""
    memo: dict[int, object] = {}
    for parameter in policy.parameters():
        there = parameter.detach().to(device, copy=True)
        memo[id(parameter)] = nn.Parameter(there, requires_grad=False)
    for buffer in policy.buffers():
        memo[id(buffer)] = buffer.detach().to(device, copy=True)
    return copy.deepcopy(policy, memo).to(device).eval()


@torch.no_grad()
def take_over(policy: nn.Module, own: nn.Module) -> None:
    """Copy the weights that learn from `policy` into `own`, its copy: all of them, or with LoRA the adapter alone."""
    parameters = dict(own.named_parameters())
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            parameters[name].copy_(parameter)
