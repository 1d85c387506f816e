"""The command line: `python launch.py ...` in a clone, `rlhf ...` where the package is installed.

Hydra composes, sweeps and names run directories. Before it starts, the same overrides are composed and checked here,
so that a wrong one costs a second and one line, not a traceback; for a multirun, every job of the grid is checked
before the first.
Exit status: 0 done, 2 wrong input (one line on stderr), 143 preempted, 1 anything else, a comparison with
failed runs among it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from rlhf.config.compose import compose_raw
from rlhf.config.door import open_config
from rlhf.config.model_path import with_model_paths
from rlhf.config.paths import config_folder
from rlhf.config.resume import resumed_arguments
from rlhf.config.run import RunConfig
from rlhf.config.sweeps import jobs_of
from rlhf.errors import ConfigError, Preempted, RlhfError, RunsFailed
from rlhf.help_text import help_text

PREEMPTED_STATUS = 143  # what a shell reports for a process ended by SIGTERM


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line `argv` (without the program's name; default sys.argv) and exit."""
    os.environ.setdefault("RLHF_SWEEPS", str(config_folder("sweeps")))
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(help_text())
        return
    try:
        arguments = with_model_paths(resumed_arguments(_replay_arguments(arguments)))
        jobs = _check(arguments)
        if any(config.dry_run for _, config in jobs):
            _dry_run(jobs)
            return
    except RlhfError as error:
        _exit_with(error)
    sys.argv = [sys.argv[0], *arguments]
    hydra.main(version_base="1.3", config_path=str(config_folder("conf")), config_name="config")(_task)()


def _check(arguments: Sequence[str]) -> list[tuple[list[str], RunConfig]]:
    """Compose and open every job of this command line: its overrides and what they come to; none where Hydra only
    shows something. Raises ConfigError."""
    args = get_args_parser().parse_args(list(arguments))
    jobs: list[tuple[list[str], RunConfig]] = []
    if args.hydra_help or args.shell_completion:
        return jobs
    folder = Path(args.config_path) if args.config_path else None
    for overrides in jobs_of(args.overrides, multirun=args.multirun, folder=folder):
        cfg = compose_raw(
            [*overrides, *_extra_folder(args.config_dir)], folder=folder, name=args.config_name or "config"
        )
        if not (args.cfg or args.info):
            config = open_config(cfg)
            if config.stage == "compare":
                _check_runs_of(config)
            jobs.append((overrides, config))
    return jobs


def _check_runs_of(config: RunConfig) -> None:
    """Compose and open every run that a comparison would start. Raises ConfigError."""
    from rlhf.dry_run.comparing import compared_lines

    list(compared_lines(config))


def _dry_run(jobs: Sequence[tuple[list[str], RunConfig]]) -> None:
    """Show every job without Hydra, which would make a run directory. Raises RlhfError."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, which is below: nothing is downloaded
    from rlhf.dry_run.page import show

    shared = set.intersection(*(set(overrides) for overrides, _ in jobs))
    names = [" ".join(o for o in overrides if o not in shared) for overrides, _ in jobs]
    show([config for _, config in jobs], names)


def _extra_folder(config_dir: str | None) -> list[str]:
    """The user's own --config-dir as one more place to look for groups."""
    if config_dir is None:
        return []
    return [f"hydra.searchpath=[file://{os.environ['RLHF_SWEEPS']},file://{Path(config_dir).resolve()}]"]


def _replay_arguments(arguments: list[str]) -> list[str]:
    """`--config-dir RUN --config-name config` runs a stored configuration: RUN/config.yaml, not conf/config.yaml."""
    args = get_args_parser().parse_args(arguments)
    if not (args.config_dir and args.config_name):
        return arguments
    folder = Path(args.config_dir).resolve()
    if not (folder / f"{args.config_name}.yaml").is_file():
        raise ConfigError(f"--config-dir {args.config_dir} has no {args.config_name}.yaml")
    kept = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in ("--config-dir", "-cd"):
            skip = True
        elif not argument.startswith(("--config-dir=", "-cd=")):
            kept.append(argument)
    return ["--config-path", str(folder), *kept]


def _task(cfg: DictConfig) -> float | None:
    hydra_config = HydraConfig.get()
    try:
        from rlhf.run import run

        return run(open_config(cfg), Path(hydra_config.runtime.output_dir))
    except RlhfError as error:
        if hydra_config.mode == RunMode.MULTIRUN:
            raise  # the other jobs go on; Hydra reports the failure at the end
        _exit_with(error)


def _exit_with(error: RlhfError) -> Any:
    text = " ".join(str(error).split())
    sys.stderr.write(f"{type(error).__name__}: {text}\n")
    sys.exit(PREEMPTED_STATUS if isinstance(error, Preempted) else 1 if isinstance(error, RunsFailed) else 2)


if __name__ == "__main__":
    main()
