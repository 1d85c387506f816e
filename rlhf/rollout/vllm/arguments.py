"""The words that start vLLM, as a server or in this process, and the environment of a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from rlhf.config.vllm import VLLMConfig
from rlhf.errors import ModelError
from rlhf.hardware import Hardware
from rlhf.rollout.vllm.backend import Delivery

ADAPTER_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM lays its memory out for; an adapter takes the next one up."""
CPU_KV_CACHE_GB = 1.0
SERVED_NAME = "policy"
DEVELOPER = {"VLLM_SERVER_DEV_MODE": "1"}  # new weights by HTTP
ADAPTERS = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}


@dataclass(frozen=True)
class EngineSettings:
    """What a vLLM of this run must be."""

    dtype: str  # float32 | bfloat16
    context: int  # tokens of the longest row
    adapter_rank: int | None  # of the LoRA that is delivered alone
    on_cpu: bool
    threads: int  # on a CPU

    def words(self, config: VLLMConfig, delivery: Delivery) -> list[str]:
        """Command-line words of vLLM's engine; those of the configuration come last and win."""
        words = ["--model", str(delivery.weights), "--dtype", self.dtype, "--max-model-len", str(self.context)]
        words += ["--generation-config", "vllm"]  # none of the model's own sampling defaults
        words += ["--logprobs-mode", "processed_logprobs"]  # of the distribution that is drawn from
        gigabytes = config.kv_cache_gb or (CPU_KV_CACHE_GB if self.on_cpu else None)
        if gigabytes is None:
            words += ["--gpu-memory-utilization", str(config.memory_share)]
        else:
            words += ["--kv-cache-memory-bytes", str(int(gigabytes * 2**30))]
        if self.on_cpu:  # a prompt read in two steps takes its seeded random numbers back, which no CPU generator can
            words += ["--no-enable-chunked-prefill"]
        if self.adapter_rank is not None:
            words += ["--enable-lora", "--max-loras", "1", "--max-lora-rank", str(self.adapter_rank)]
        return words + list(config.arguments)

    def environment(self, config: VLLMConfig, inherited: Mapping[str, str]) -> dict[str, str]:
        """Environment variables of a server: what this process has, and what vLLM needs."""
        made = {name: value for name, value in inherited.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        made |= DEVELOPER | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        if self.adapter_rank is not None:
            made |= ADAPTERS
        if config.device is not None:
            made["CUDA_VISIBLE_DEVICES"] = config.device
        return made | self.cpu_environment(made)

    def cpu_environment(self, present: Mapping[str, str]) -> dict[str, str]:
        """On a CPU: as many threads as the trainer has, bound to no core, and no process for the worker alone."""
        if not self.on_cpu:
            return {}
        free = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        return {k: v for k, v in free.items() if k not in present} | {"OMP_NUM_THREADS": str(self.threads)}

    def command_line(self, config: VLLMConfig, delivery: Delivery, port: int | None) -> str:
        """What a person types to start such a server on another machine."""
        variables = DEVELOPER | (ADAPTERS if self.adapter_rank is not None else {})
        words = ["vllm", "serve", *self.words(config, delivery)[1:], "--port", str(port or 8000)]
        return " ".join([*(f"{name}={value}" for name, value in variables.items()), *words])


def settings_for(model: nn.Module, config: VLLMConfig, hardware: Hardware, *, context: int) -> EngineSettings:
    """What `model` needs. Raises ModelError for a LoRA that vLLM cannot take alone."""
    auto = "float32" if hardware.precision == "fp32" else "bfloat16"
    return EngineSettings(
        dtype=auto if config.dtype == "auto" else config.dtype,
        context=context,
        adapter_rank=_adapter_rank(model) if config.sync == "adapter" else None,
        on_cpu=hardware.device.type == "cpu" and config.device is None,
        threads=hardware.threads,
    )


def _adapter_rank(model: nn.Module) -> int:
    settings = model.peft_config["default"]
    ranks: Sequence[int] = [settings.r, *(settings.rank_pattern or {}).values()]
    fitting = [rank for rank in ADAPTER_RANKS if rank >= max(ranks)]
    if not fitting:
        raise ModelError(
            f"vLLM takes a LoRA of rank {ADAPTER_RANKS[-1]} at most, and model.lora.rank is {max(ranks)}; use "
            "rollout.vllm.sync=full"
        )
    return fitting[0]
