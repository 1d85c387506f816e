"""Device, precision, threads and seeds: what a run computes on. Nothing here changes the result beyond round-off."""

from __future__ import annotations

import contextlib
import os
import platform
import random
import resource
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlhf.allocator import set_allocator
from rlhf.config.sections import HardwareConfig
from rlhf.errors import ConfigError
from rlhf.token_budget import TokenBudget


@dataclass(frozen=True)
class Hardware:
    """What a HardwareConfig became on this machine."""

    device: torch.device
    precision: str  # fp32 | bf16: precision of matrix products; weights stay fp32
    matmul_precision: str  # highest | high | medium: how fp32 products are computed
    threads: int  # CPU threads of one operation
    tokens_per_microbatch: int | str  # as configured: a number, or auto
    rollout_batch_size: int | str  # answers sampled at once: a number, or auto
    rollout_device: torch.device | None = None  # of the copy of the policy that samples; None: the policy samples
    budget: TokenBudget = field(init=False, compare=False, repr=False)  # tokens that go through a model at once, now

    def __post_init__(self) -> None:
        object.__setattr__(self, "budget", TokenBudget(self.tokens_per_microbatch, self.device))

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bf16 autocast where precision is bf16, else a context that does nothing."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def describe(self) -> dict[str, Any]:
        """JSON-able: what was resolved and what the machine is."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "budget"}
        values |= {"device": str(self.device), "device_name": device_name(self.device)}
        values["rollout_device"] = None if self.rollout_device is None else str(self.rollout_device)
        values |= {"bf16_products": has_bf16_products(self.device), "torch": str(torch.__version__)}
        if self.device.type == "cuda":
            values["device_memory_mb"] = torch.cuda.get_device_properties(self.device).total_memory // 2**20
        return values


PRODUCTS = {
    "highest": "fp32 products in full",
    "high": "fp32 products as TF32 or three bf16 products where the device has them",
    "medium": "fp32 products through oneDNN, or as bf16 or TF32 where the device has them",
}
"""What torch makes of hardware.matmul_precision."""


def setup_hardware(config: HardwareConfig) -> Hardware:
    """Set allocator, threads and the precision of fp32 products for this process, and resolve the device.

    Raises ConfigError for hardware.device=cuda without a CUDA device, and for bf16 on a GPU that has none.
    """
    device = _resolve_device(config.device)
    set_allocator(config.allocator, device)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.set_float32_matmul_precision(config.matmul_precision)
    if config.precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError(
            f"hardware.precision=bf16, but {device_name(device)} has no bf16; use hardware.precision=fp32"
        )
    return Hardware(
        device=device,
        precision=config.precision,
        matmul_precision=config.matmul_precision,
        threads=torch.get_num_threads(),
        tokens_per_microbatch=config.tokens_per_microbatch,
        rollout_batch_size=config.rollout_batch_size,
        rollout_device=rollout_device_of(config),
    )


def rollout_device_of(config: HardwareConfig) -> torch.device | None:
    """The device of hardware.rollout_device. Raises ConfigError for a GPU that this machine does not have."""
    if config.rollout_device is None:
        return None
    device = torch.device(config.rollout_device)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= found:
        raise ConfigError(
            f"hardware.rollout_device={device}, but torch sees {found} CUDA devices; use one of those, cpu, or null: "
            "the policy itself samples"
        )
    return device


def one_line(hardware: Hardware) -> str:
    """For the log: device, threads, and how products are computed."""
    threads = f", {hardware.threads} threads" if hardware.device.type == "cpu" else ""
    products = "bf16 products, fp32 weights" if hardware.precision == "bf16" else PRODUCTS[hardware.matmul_precision]
    copied = "" if hardware.rollout_device is None else f"; a copy of the policy samples on {hardware.rollout_device}"
    return f"{device_name(hardware.device)}{threads}: {products} (matmul_precision={hardware.matmul_precision}){copied}"


def default_hardware() -> Hardware:
    """For use as a library: the device the machine has, fp32, global settings of torch left as they are."""
    return Hardware(
        device=_resolve_device("auto"),
        precision="fp32",
        matmul_precision=torch.get_float32_matmul_precision(),
        threads=torch.get_num_threads(),
        tokens_per_microbatch=4096,
        rollout_batch_size=64,
    )


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def device_name(device: torch.device) -> str:
    """The name of the GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def has_bf16_products(device: torch.device) -> bool | None:
    """Whether bf16 matrix products have instructions of their own here; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if not os.path.exists("/proc/cpuinfo"):
        return None
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "").split()
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))


def _resolve_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "hardware.device=cuda, but torch sees no CUDA device; use hardware.device=auto or hardware=cpu"
        )
    return torch.device(name)


def peak_rss_bytes() -> int:
    """The most resident memory that this process has held.

    getrusage would do, but on Linux its figure begins with that of the process that started this one."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
