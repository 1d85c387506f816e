"""What a model path means: a run directory, a checkpoint of one, a folder, or a name on the hub."""

from __future__ import annotations

import re
from pathlib import Path

from rlhf.errors import ModelError

RUN_FILES = ("status.json", "config.yaml")


def resolve_path(path: str) -> Path | str:
    """The folder that `path` names, or `path` itself where it is a hub name.

        outputs/sft/<run>                 the run's model/
        outputs/sft/<run>@step-000100     that checkpoint, also written @step-100
        some/folder                       a folder with config.json, or an adapter's with adapter_config.json
        HuggingFaceTB/SmolLM2-135M        unchanged

    Raises ModelError for a path that looks local and holds no model.
    """
    run, at, step = path.partition("@")
    folder = run_folder(path)
    if folder.is_dir() and not _is_hub_name_shadowed(folder):
        return _checkpoint(folder, step) if at else _model_folder(folder)
    if folder.is_file():
        raise ModelError(f"{path} is a file; a model is a folder in Hugging Face format")
    if _looks_local(run) or at:
        raise ModelError(f"no model at {path}: {_nearest_existing(folder)}")
    return path


def run_folder(path: str) -> Path:
    """The run directory, or the folder, of `outputs/sft/run@step-000100`, which is what stands before the @."""
    return Path(path.partition("@")[0]).expanduser()


def is_adapter(folder: Path | str) -> bool:
    """Whether `folder` holds a peft adapter and no whole model."""
    folder = Path(folder)
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()


def _holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file()


def _is_hub_name_shadowed(folder: Path) -> bool:
    """An empty folder of the working directory does not hide a hub name."""
    return not any(folder.iterdir()) and not _looks_local(str(folder))


def _model_folder(folder: Path) -> Path:
    if _holds_model(folder):
        return folder
    if _holds_model(folder / "model"):
        return folder / "model"
    if any((folder / name).is_file() for name in RUN_FILES):
        steps = sorted(child.name for child in (folder / "checkpoints").glob("step-??????"))
        hint = f"; its last checkpoint is {folder}@{steps[-1]}" if steps else ""
        raise ModelError(f"{folder} is a run directory without a finished model/ (see its status.json){hint}")
    raise ModelError(f"{folder} holds no model: no config.json, no adapter_config.json, and no model/ folder with one")


def _checkpoint(run: Path, step: str) -> Path:
    number = re.fullmatch(r"step-(\d+)", step)
    folder = run / "checkpoints" / (f"step-{int(number[1]):06d}" if number else step)
    if not folder.is_dir() or not number:
        steps = sorted(child.name for child in folder.parent.glob("step-*"))
        raise ModelError(f"{run} has no checkpoint {step!r}; it has: {', '.join(steps) or 'none'}")
    if not _holds_model(folder):
        raise ModelError(f"{folder} is a checkpoint to resume from and holds no model by itself; use {run}")
    return folder


def _looks_local(path: str) -> bool:
    if path.startswith(("/", "./", "../", "~", "outputs/")) or path in (".", "..") or path.count("/") > 1:
        return True
    return "/" in path and Path(path).parent.is_dir()


def _nearest_existing(folder: Path) -> str:
    for parent in folder.parents:
        if parent.is_dir():
            return f"{parent} exists, but has no {folder.relative_to(parent).parts[0]}"
    return "nothing of that path exists"
