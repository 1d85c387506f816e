"""Memory while answers are sampled: the key-value cache, packed weights, and the pass that reads the prompts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rlhf.config.run import RunConfig
from rlhf.config.sections import HardwareConfig
from rlhf.dry_run.machine import tokens_at_once
from rlhf.dry_run.parts import Part
from rlhf.dry_run.played_step import play_reading
from rlhf.models.architecture import unwrap
from rlhf.rollout.batch_size import LOGITS_OF_A_ROW, cache_bytes_per_token
from rlhf.rollout.key_values import whole_blocks


@dataclass(frozen=True)
class SamplingSize:
    """The largest decoding batch of a run."""

    rows: int  # answers at once
    prompts: int  # of them different prompts, read at once
    longest_prompt: int  # tokens
    max_new_tokens: int


def sampling_parts(
    config: RunConfig, model: nn.Module, mode: FakeTensorMode, size: SamplingSize, device: str
) -> list[Part]:
    """The parts that exist only while answers are sampled."""
    if config.rollout.vllm is not None:
        where = "in a process of its own" if config.rollout.vllm.mode == "server" else "rollout.vllm.memory_share"
        return [Part("vLLM", f"{where}, not counted")]
    hardware = config.hardware
    bf16 = hardware.precision == "bf16"
    column = cache_bytes_per_token(model, 2 if bf16 else 4)
    prompt_columns = size.prompts * whole_blocks(size.longest_prompt)
    own_columns = size.rows * whole_blocks(size.max_new_tokens)
    logits = LOGITS_OF_A_ROW * size.rows * unwrap(model).config.get_text_config().vocab_size * 4
    at_once = max(1, min(size.prompts, tokens_at_once(hardware) // size.longest_prompt))
    reading = play_reading(model, mode, rows=at_once, columns=size.longest_prompt, bf16=bf16)
    cached = f"{size.prompts} prompts x {size.longest_prompt} tokens, {size.rows} answers x {size.max_new_tokens}"
    return [
        Part("packed weights", "a copy laid out for decoding", packed_weight_bytes(model, hardware, device)),
        Part("KV cache", cached, (prompt_columns + own_columns) * column),
        Part("workspace", "of sampling", max(logits, reading)),
    ]


def packed_weight_bytes(model: nn.Module, hardware: HardwareConfig, device: str) -> int:
    """What rlhf.rollout.weights copies. An adapter is merged into the copy."""
    bf16 = hardware.precision == "bf16"
    copied = bf16 or (device == "cpu" and hardware.matmul_precision != "highest")
    weights = {id(m.weight): m.weight.numel() for m in model.modules() if type(m) is nn.Linear}
    return sum(weights.values()) * (2 if bf16 else 4) if copied else 0
