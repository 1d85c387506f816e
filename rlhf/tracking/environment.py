"""What a run needs on record to be judged later: versions, commit, machine, command. Never an environment variable."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import rlhf

PACKAGES = (
    "rlhf-lab", "torch", "transformers", "datasets", "peft", "accelerate", "tokenizers", "safetensors", "numpy", "rich",
    "hydra-core", "omegaconf", "wandb", "tensorboard", "vllm", "vaderSentiment", "gguf",
)  # fmt: skip

REDACTED = "[redacted]"
_SECRET_NAME = r"(?:api[_-]?key|access[_-]?key|private[_-]?key|token|secret|password|passwd|credentials?|authorization)"
# `judge.api_key=...`, `--hf-token=...`, `{api_key: ...}`; longer words such as max_new_tokens or tokenizer do not match
_ASSIGNED = re.compile(
    rf"(?i)((?<![a-z0-9])(?:[\w.]*[_.-])?{_SECRET_NAME}[\"']?\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|[^\s,}}\]]+)"
)
_FLAG = re.compile(rf"(?i)^--?(?:[\w.]*[_.-])?{_SECRET_NAME}$")
_ENVIRONMENT_NAME = re.compile(rf"(?i)(?:^|_){_SECRET_NAME}(?:$|_)")
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[opsu]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|AKIA[A-Z0-9]{12,}"
    r"|xox[abp]-[A-Za-z0-9-]{10,})"
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)")


def redact(arguments: Sequence[str]) -> list[str]:
    """The command line with every value that looks like a secret replaced.

    By name (`api_key=...`, `--token ...`), by the shape of well-known keys, in URLs, and wherever the value of an
    environment variable with a secret's name appears.
    """
    cleaned, hide_next = [], False
    known = [v for k, v in os.environ.items() if _ENVIRONMENT_NAME.search(k) and len(v) >= 8]
    for argument in map(str, arguments):
        if hide_next and not argument.startswith("-"):
            cleaned.append(REDACTED)
            hide_next = False
            continue
        hide_next = bool(_FLAG.match(argument))
        for secret in known:
            argument = argument.replace(secret, REDACTED)
        argument = _ASSIGNED.sub(rf"\g<1>{REDACTED}", argument)
        argument = _URL_PASSWORD.sub(rf"\g<1>{REDACTED}\g<2>", _SHAPES.sub(REDACTED, argument))
        cleaned.append(argument)
    return cleaned


def describe_environment(command: Sequence[str]) -> dict[str, Any]:
    """The content of environment.json; JSON-able. `command` is the command line, redacted here."""
    return {
        "created": now(),
        "command": shlex.join(redact(command)),
        "python": platform.python_version(),
        "packages": _package_versions(),
        "git": git_state(Path(rlhf.__file__).resolve().parent.parent),
        "platform": platform.platform(),
        "cpu": {"name": _cpu_name(), "cores": os.cpu_count(), "memory_gb": _memory_gb()},
        "gpu": _gpus(),
    }


def now() -> str:
    """Local time with its offset, ISO 8601, to the second."""
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")


def git_state(folder: Path) -> dict[str, Any] | None:
    """{"commit", "dirty"} of the checkout at `folder`; None where it is not the top of one, has no commit or no git."""
    if not (folder / ".git").exists():
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    if commit is None:
        return None
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _package_versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _gpus() -> list[dict[str, Any]] | None:
    """Name and memory of each GPU; None where torch is not loaded, so that asking never costs its import."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda"):
        return None
    if not torch.cuda.is_available():
        return []
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [{"name": d.name, "memory_gb": round(d.total_memory / 2**30, 1)} for d in devices]
