"""Memory of the copy of the policy that samples on hardware.rollout_device."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rlhf.config.run import ROUNDS, RunConfig
from rlhf.dry_run.live_bytes import bytes_of, parameters_and_buffers
from rlhf.dry_run.machine import device_of
from rlhf.dry_run.parts import Part


def copy_device(config: RunConfig) -> str | None:
    """Where a copy of the policy samples: cpu, cuda:1, ...; None where the policy itself does."""
    return config.hardware.rollout_device if config.stage in ROUNDS else None


def beside_the_policy(config: RunConfig) -> bool:
    """Whether that copy is on the device that trains."""
    here, there = device_of(config.hardware), copy_device(config)
    return there is not None and there.removesuffix(":0") == here


def copied_weights(model: nn.Module) -> Part:
    """The copy's own weights, adapters included."""
    return Part.always("copied weights", "of the policy, fp32, to sample from", bytes_of(parameters_and_buffers(model)))


def at_any_time(parts: Sequence[Part]) -> list[Part]:
    """Parts of sampling that is done while the policy learns (rollout.ahead)."""
    return [Part.always(part.name, f"{part.note}, also while learning", part.sampling) for part in parts]
