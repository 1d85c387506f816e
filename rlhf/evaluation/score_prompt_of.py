"""The score prompt that a generative reward model was trained with, out of its run directory."""

from __future__ import annotations

from typing import Any

from rlhf.config.score_prompts import ScorePrompt, load_score_prompt
from rlhf.errors import ConfigError
from rlhf.models.paths import resolve_path, run_folder
from rlhf.tracking.run_directory import RunDirectory


def run_score_prompt(path: str) -> str | None:
    """dataset.score_prompt of the run directory that `path` is, or is a checkpoint of; None where there is none."""
    name = run_section(path, "dataset").get("score_prompt")
    return None if name is None else str(name)


def run_section(path: str, section: str) -> dict[str, Any]:
    """A section of the configuration of the run directory `path`; empty where that has none, or is no run."""
    run = RunDirectory(run_folder(path))
    found = run.read_config().get(section) if run.config.is_file() else None
    return dict(found or {})


def score_prompt_of(path: str, asked: str | None, key: str) -> ScorePrompt:
    """The score prompt called `asked`, or that of the run at `path`.

    Raises ConfigError where neither is there, naming the `key` that would name one; ModelError for no model."""
    name = asked or run_score_prompt(path)
    if name is None:
        resolve_path(path)
        raise ConfigError(
            f"{path} is no run with a score prompt (dataset.score_prompt of its config.yaml): say how it is asked with "
            f"{key}, for example {key}=score_first_5"
        )
    return load_score_prompt(name)
