"""The run directory: the names of its files, and what is written into it before the run starts."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlhf.config.interpolation import escape
from rlhf.config.paths import config_folder
from rlhf.errors import CheckpointError
from rlhf.tracking.environment import describe_environment
from rlhf.tracking.files import read_json, write_json_atomic, write_text_atomic


class RunDirectory:
    """One run's folder. Its attributes are the paths of everything that a run may leave behind; none need exist."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        at = partial(Path, self.path)
        self.config = at("config.yaml")
        self.status = at("status.json")
        self.environment = at("environment.json")
        self.objective = at("objective.txt")
        self.metrics = at("metrics.jsonl")
        self.samples = at("samples.jsonl")
        self.held_out = at("held_out.jsonl")
        self.summary = at("summary.json")
        self.exhibits = at("exhibits.json")
        self.checkpoints = at("checkpoints")
        self.model = at("model")
        self.figures = at("figures")
        self.report_md = at("report.md")
        self.report_html = at("report.html")
        self.log = at("run.log")

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    def create(self, config_plain: Mapping[str, Any], command: Sequence[str], *, resume: bool = False) -> RunDirectory:
        """Make the folder and write config.yaml and environment.json. Returns itself.

        config_plain   the checked configuration as plain values, `RunConfig.plain`
        command        the command line, words; secrets in it are redacted
        resume         continue the run that is there: its environment.json is kept and this start added to it

        Raises CheckpointError if the folder holds a run and `resume` is False, or holds none and `resume` is True.
        """
        if self.status.exists() and not resume:
            raise CheckpointError(
                f"{self.path} already holds a run; choose another directory, or continue it with resume={self.path}"
            )
        if resume and not self.config.exists():
            raise CheckpointError(f"resume={self.path}: there is no run in that folder (it has no config.yaml)")
        self.path.mkdir(parents=True, exist_ok=True)
        environment = describe_environment(command)
        if resume and self.environment.exists():
            earlier = read_json(self.environment)
            environment = earlier | {"resumed": [*earlier.get("resumed", []), environment]}
        write_text_atomic(self.config, config_text(config_plain, self.path))
        write_json_atomic(self.environment, environment)
        return self

    def read_config(self) -> dict[str, Any]:
        """The configuration of the run in this folder as plain values, without Hydra's own block.

        Raises CheckpointError if there is no config.yaml or it cannot be read.
        """
        try:
            config = OmegaConf.load(self.config)
            config.pop("hydra", None)
            return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
        except FileNotFoundError as error:
            raise CheckpointError(f"{self.path} is not a run directory: it has no config.yaml") from error
        except (OSError, YAMLError, OmegaConfBaseException, ValueError, AttributeError) as error:
            raise CheckpointError(f"{self.config} cannot be read: {str(error).splitlines()[0]}") from error


def config_text(config_plain: Mapping[str, Any], path: Path) -> str:
    """The text of config.yaml: complete and resolved, and a Hydra primary configuration that runs again by itself.

    `resume` is cleared, since running a configuration again is a new run, and leave to change it was given for one
    start. Text that holds `${` is escaped.
    """
    cleared = {"resume": None, "resume_changed": "refuse"}
    plain = {key: cleared.get(key, value) for key, value in config_plain.items()}
    body = OmegaConf.to_yaml(OmegaConf.create(escape(plain)))
    hydra = OmegaConf.to_yaml(OmegaConf.create({"hydra": _hydra_block()}))
    folder = shlex.quote(_short(path))
    header = (
        f"# Run it again:  python launch.py --config-dir {folder} --config-name config\n"
        f"# Continue it:   python launch.py resume={folder}\n"
    )
    return f"{header}\n{body}\n# how Hydra starts it: a new dated directory, the same logging\n{hydra}"


def _hydra_block() -> Mapping[str, Any]:
    """The `hydra:` section of conf/config.yaml, interpolations untouched. Its search path has served its purpose."""
    block = OmegaConf.load(config_folder("conf") / "config.yaml").hydra
    block.pop("searchpath", None)
    return block


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def append_log(path: Path, text: str, *, level: str = "INFO", logger: str = "rlhf.tracking") -> None:
    """Add `text` to run.log alone, in the form of the lines that logging writes there; the console does not show it."""
    with open(path, "a", encoding="utf-8", errors="replace") as file:
        file.write(f"[{datetime.now():%Y-%m-%d %H:%M:%S},000][{logger}][{level}] {text}\n")
