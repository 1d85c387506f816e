"""`rollout.vllm`: how vLLM is reached, and how it gets the policy's weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from rlhf.config.checks import above, at_least, one_of, within
from rlhf.errors import ConfigError


@dataclass(frozen=True)
class VLLMConfig:
    """conf/rollout/vllm.yaml, `rollout.vllm`."""

    mode: str
    url: str | None
    python: str | None
    device: str | None
    port: int | None
    dtype: str
    memory_share: float
    kv_cache_gb: float | None
    sync: str
    sync_folder: str | None
    startup_timeout_s: float
    request_timeout_s: float
    max_restarts: int
    canary_tolerance: float | None
    sleep: bool
    arguments: list[str]

    def __post_init__(self) -> None:
        one_of("rollout.vllm.mode", self.mode, ("server", "in_process"))
        one_of("rollout.vllm.dtype", self.dtype, ("auto", "float32", "bfloat16"))
        one_of("rollout.vllm.sync", self.sync, ("full", "adapter"))
        above("rollout.vllm.memory_share", self.memory_share, 0)
        within("rollout.vllm.memory_share", self.memory_share, 0, 1)
        if self.kv_cache_gb is not None:
            above("rollout.vllm.kv_cache_gb", self.kv_cache_gb, 0)
        above("rollout.vllm.startup_timeout_s", self.startup_timeout_s, 0)
        above("rollout.vllm.request_timeout_s", self.request_timeout_s, 0)
        at_least("rollout.vllm.max_restarts", self.max_restarts, 0, "0 ends the run when the server is lost")
        if self.canary_tolerance is not None:
            above("rollout.vllm.canary_tolerance", self.canary_tolerance, 0)
        if self.port is not None:
            within("rollout.vllm.port", self.port, 1, 65535)
        if self.device is not None and not re.fullmatch(r"[^,\s]+(,[^,\s]+)*", self.device):
            raise ConfigError(f'rollout.vllm.device must be GPU numbers such as "1" or "2,3"; got {self.device!r}')
        self._check_url()

    def _check_url(self) -> None:
        """What belongs to a server that the run starts is not there for one that it finds, nor for none."""
        own = [key for key in ("python", "device", "port") if getattr(self, key) is not None]
        if self.mode == "in_process" and (self.url is not None or own):
            key = "url" if self.url is not None else own[0]
            raise ConfigError(f"rollout.vllm.{key} belongs to rollout.vllm.mode=server; leave it out for in_process")
        if self.url is None:
            return
        if own:
            raise ConfigError(
                f"rollout.vllm.{own[0]} is for a server that the run starts, and rollout.vllm.url={self.url} names one "
                "that is started by somebody else: leave one out"
            )
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ConfigError(f"rollout.vllm.url must be http://host:port; got {self.url!r}")
        if self.sync_folder is None and not on_this_machine(parts.hostname):
            raise ConfigError(
                f"rollout.vllm.url={self.url} is another machine: rollout.vllm.sync_folder must name a folder that "
                "both machines see under the same path"
            )
        if self.sync_folder is not None and not Path(self.sync_folder).is_absolute():
            raise ConfigError(
                f"rollout.vllm.sync_folder must be an absolute path, which a server finds too; got {self.sync_folder!r}"
            )


def on_this_machine(host: str) -> bool:
    """Whether `host` is this machine's own address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
