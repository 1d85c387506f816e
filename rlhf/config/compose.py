"""Compose a configuration from overrides without running anything: for the library, for tests, and for the command
line's check before a run starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from rlhf.config.door import open_config
from rlhf.config.model_path import with_model_paths
from rlhf.config.paths import config_folder
from rlhf.config.run import RunConfig
from rlhf.config.translate import explain_hydra
from rlhf.errors import ConfigError


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """The checked configuration that `python launch.py <overrides>` would run.

        config = compose(["stage=grpo", "trainer.group_size=4", "reward=gold"])

    Raises ConfigError with one line for anything wrong.
    """
    return open_config(compose_raw(with_model_paths(overrides)))


def compose_raw(
    overrides: Sequence[str] = (), *, folder: Path | None = None, name: str = "config", with_hydra: bool = False
) -> DictConfig:
    """The composed, unchecked configuration; `folder` replaces conf/. Raises ConfigError."""
    os.environ.setdefault("RLHF_SWEEPS", str(config_folder("sweeps")))
    folder = (folder or config_folder("conf")).resolve()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            return hydra_compose(name, overrides=list(overrides), return_hydra_config=with_hydra)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain_hydra(error, overrides)) from error
    finally:
        GlobalHydra.instance().hydra = outer
