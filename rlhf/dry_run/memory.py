"""Memory by part and by phase of a step: sampling, backward, optimiser step. The total is that of the worst phase."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rlhf.config.run import ROUNDS, RunConfig
from rlhf.dry_run.arithmetic import Arithmetic
from rlhf.dry_run.copy_memory import at_any_time, beside_the_policy, copied_weights, copy_device
from rlhf.dry_run.critic_memory import critic_parts
from rlhf.dry_run.kernels import kernel_bytes
from rlhf.dry_run.live_bytes import bytes_of, parameters_and_buffers
from rlhf.dry_run.machine import baseline_bytes, device_of, tokens_at_once
from rlhf.dry_run.parts import ADAM_MOMENTS, Part
from rlhf.dry_run.played_step import play_step
from rlhf.dry_run.sampling_memory import SamplingSize, sampling_parts
from rlhf.models.architecture import unwrap
from rlhf.models.forward import PackedForward
from rlhf.models.microbatches import packed_tokens
from rlhf.token_budget import total_bytes
from rlhf.types import SamplingDistribution

CHUNK_TOKENS: int = inspect.signature(PackedForward).parameters["chunk_tokens"].default
LOGITS_OF_A_CHUNK = 3  # tensors of [chunk, V] at once in backward: logits, their log-softmax, their gradient


@dataclass(frozen=True)
class Memory:
    """The estimate of one run."""

    parts: tuple[Part, ...]
    phases: tuple[str, ...]  # those that the stage has
    device: str
    available: int | None  # bytes of the device; None where this machine does not have it

    def of(self, phase: str) -> int:
        """Bytes of one phase."""
        return sum(getattr(part, phase) for part in self.parts)

    @property
    def total(self) -> int:
        """Bytes of the worst phase."""
        return max(map(self.of, self.phases))

    @property
    def baseline(self) -> int:
        """Bytes that were taken before any model: the first part."""
        return max(getattr(self.parts[0], phase) for phase in self.phases)


@dataclass(frozen=True)
class Models:
    """Blueprints of everything that a run holds, on tensors of `mode`."""

    mode: FakeTensorMode
    main: nn.Module | None  # the policy, or the reward model that is trained
    reward: Sequence[nn.Module] = ()  # reward models that score
    others: Sequence[nn.Module] = ()  # stage=eval: held beside `main`
    critic: nn.Module | None = None  # stage=ppo: one with weights of its own


def estimate(config: RunConfig, models: Models, arithmetic: Arithmetic | None, sampling: SamplingSize | None) -> Memory:
    """What `config` needs. `arithmetic` is None where nothing is trained, `sampling` where nothing is sampled."""
    device = device_of(config.hardware)
    parts = [Part.always(*baseline_bytes(device)), *_held(config, models)]
    if arithmetic is not None:
        learning = _learning(config, models, arithmetic)
        parts += learning
        if config.stage == "ppo":
            parts += critic_parts(config, models.critic, models.mode, arithmetic, learning)
    if sampling is not None and copy_device(config) is not None and not beside_the_policy(config):
        sampling = None  # elsewhere: estimate_copy counts it
    if sampling is not None:
        parts += _sampling(config, models, sampling, device)
    if models.main is not None:
        parts.append(_kernels(config, models.main, arithmetic, sampling, device))
    steps = () if arithmetic is None else ("backward", "update")
    phases = ("sampling", *steps) if sampling is not None or not steps else steps
    return Memory(tuple(parts), phases, device, total_bytes(device))


def estimate_copy(config: RunConfig, models: Models, sampling: SamplingSize | None) -> Memory | None:
    """What the copy of the policy needs that samples on a device of its own; None where there is none."""
    there = copy_device(config)
    if there is None or sampling is None or beside_the_policy(config):
        return None
    kind = there.partition(":")[0]
    parts = [
        Part.always(*baseline_bytes(kind)),
        copied_weights(models.main),
        *sampling_parts(config, models.main, models.mode, sampling, kind),
    ]
    return Memory(tuple(parts), ("sampling",), there, total_bytes(kind))


def _sampling(config: RunConfig, models: Models, sampling: SamplingSize, device: str) -> list[Part]:
    """By the policy itself, or by a copy of it on the same device."""
    parts = sampling_parts(config, models.main, models.mode, sampling, device)
    if copy_device(config) is None:
        return parts
    return [copied_weights(models.main), *(at_any_time(parts) if config.rollout.ahead else parts)]


def _held(config: RunConfig, models: Models) -> list[Part]:
    """Weights, for as long as the run lasts."""
    parts = []
    if models.main is not None:
        number = sum(p.numel() for p in models.main.parameters())
        parts.append(Part.always("weights", f"{number / 1e6:.1f}M parameters, fp32", _size(models.main)))
    if hasattr(config.trainer, "needs_reference"):
        parts.append(_reference(config, models))
    if models.others:
        parts.append(Part.always("other models", "one at a time beside the first", max(map(_size, models.others))))
    if models.reward:
        parts.append(Part.always("reward model", f"{len(models.reward)} x fp32", sum(map(_size, models.reward))))
    return parts


def _kernels(
    config: RunConfig, model: nn.Module, arithmetic: Arithmetic | None, sampling: SamplingSize | None, device: str
) -> Part:
    lengths = round(arithmetic.micro_batches * arithmetic.updates * arithmetic.steps) if arithmetic else 0
    rows = sampling.rows if sampling else 0
    size = kernel_bytes(model, config.hardware, device, trained_lengths=lengths, sampled_rows=rows)
    return Part.always("kernels", "kept by oneDNN, one for each shape that a product has had", size)


def _reference(config: RunConfig, models: Models) -> Part:
    if not config.trainer.needs_reference:
        why = "trainer.kl_coef=0" if hasattr(config.trainer, "kl_coef") else "computed beforehand, or not compared with"
        why = "trainer.sample_prompts=0" if config.stage == "sft" else why
        return Part.always("reference", f"none: {why}", 0)
    if config.model.lora.enabled:
        return Part.always("reference", "none: the weights without their adapter", 0)
    return Part.always("reference", "a frozen copy of the weights", _size(models.main))


def _learning(config: RunConfig, models: Models, arithmetic: Arithmetic) -> list[Part]:
    """Gradients, moments, and what the largest micro-batch needs."""
    model, batch = models.main, arithmetic.largest
    gradients = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    sampled = config.stage in ROUNDS
    step = play_step(
        model,
        models.mode,
        batch,
        bf16=config.hardware.precision == "bf16",
        accumulates=arithmetic.accumulates,
        distribution=distribution_of(config) if sampled else SamplingDistribution(),
        entropy=sampled,
        chunk_tokens=CHUNK_TOKENS,
    )
    beyond = step.peak - step.activations
    vocabulary = unwrap(model).config.get_text_config().vocab_size
    chunk = 0 if config.stage == "reward" else min(CHUNK_TOKENS, batch.num_loss_tokens)
    logits = min(LOGITS_OF_A_CHUNK * chunk * vocabulary * 4, beyond)
    # with a single micro-batch gradients take the place of activations one by one
    at_the_peak = gradients if arithmetic.accumulates else min(gradients, beyond - logits)
    workspace = beyond - logits - (0 if arithmetic.accumulates else at_the_peak)
    tokens = f"{packed_tokens(batch)} tokens at once, of at most {tokens_at_once(config.hardware)}"
    return [
        Part("gradients", "fp32", 0, at_the_peak, gradients),
        Part.always("optimiser", "AdamW's two moments", ADAM_MOMENTS * gradients),
        Part("activations", tokens, 0, step.activations, 0),
        Part("logits chunk", f"{chunk} positions x {vocabulary} tokens", 0, logits, 0),
        Part("workspace", "of the backward pass", 0, workspace, 0),
    ]


def distribution_of(config: RunConfig) -> SamplingDistribution:
    """The distribution that answers are drawn from and scored under; plain where nothing is sampled."""
    rollout = config.rollout
    return (
        SamplingDistribution(rollout.temperature, rollout.top_k, rollout.top_p) if rollout else SamplingDistribution()
    )


def _size(model: nn.Module) -> int:
    return bytes_of(parameters_and_buffers(model))
