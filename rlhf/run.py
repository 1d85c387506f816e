"""The only place that joins the parts: from a checked configuration to a finished run directory."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf.checkpoint.checkpointer import delete_checkpoints
from rlhf.compare.stage import Comparison
from rlhf.config.objective import objective_lines
from rlhf.config.resume import check_unchanged
from rlhf.config.run import RunConfig
from rlhf.distributed import refuse_several_processes
from rlhf.errors import ConfigError
from rlhf.export import export_model
from rlhf.hardware import seed_everything, setup_hardware
from rlhf.models.saving import save_model
from rlhf.parts import Parts, build
from rlhf.registry import ANALYSES, SUITES, TRAINERS, find
from rlhf.reports.build import build_report, figure_files
from rlhf.selfcheck.run import PREFIX, SelfCheck, StepCheck
from rlhf.tracking.files import write_json_atomic, write_text_atomic
from rlhf.tracking.noise import quiet_libraries
from rlhf.tracking.run_directory import RunDirectory
from rlhf.tracking.status import RunHandle, read_status, recorded_status
from rlhf.tracking.tracker import BEFORE_THE_FIRST_STEP, Tracker

log = logging.getLogger(__name__)

OBJECTIVES = {
    "sft": "eval/loss",
    "reward": "eval/accuracy",
    "dpo": "eval/accuracy",
    "grpo": "eval/reward_mean",
    "ppo": "eval/reward_mean",
    "expert_iteration": "eval/reward_mean",
}
"""The metric that a sweep compares, where checkpoint.select_on names none."""


def run(config: RunConfig, folder: Path) -> float | None:
    """Run one stage in `folder`; returns the number that a sweep compares, if the stage has one.

    Whatever happens, status.json says how it ended. Raises what the stage raises."""
    if config.dry_run:
        raise ConfigError("dry_run=true runs nothing: rlhf.dry_run.page.show([config]) shows it, dry_run=false runs it")
    refuse_several_processes()
    quiet_libraries()
    run_dir = RunDirectory(folder)
    if config.resume:
        changed = check_unchanged(run_dir.read_config(), config.plain, allow=config.resume_changed == "allow")
        status = read_status(run_dir)
        if status.get("state") == "completed" and not changed:
            log.info("%s had completed: nothing is left to do, and nothing was changed", run_dir.path)
            return status.get("objective")
        if status.get("state") == "completed" and config.checkpoint and not run_dir.checkpoints.exists():
            raise ConfigError(
                f"{run_dir.path} had completed, and its checkpoints are gone (checkpoint.after_training=delete): it "
                "cannot go on. Start a new run, from its model with model.path if that will do"
            )
        for line in changed:
            log.warning("Continuing with a changed configuration: %s", line)
    run_dir.create(config.plain, ["python", *sys.argv], resume=bool(config.resume))
    try:
        with recorded_status(run_dir, config.stage) as handle:
            seed_everything(config.seed)
            _run_stage(config, run_dir, handle)
    except BaseException:
        _write_report(config, run_dir)  # a failed run has one too; the error goes on its way
        raise
    if config.checkpoint is not None and config.checkpoint.after_training == "delete":
        delete_checkpoints(run_dir.checkpoints)  # the run is recorded as completed: nothing will continue it
    _write_report(config, run_dir)
    return handle.objective


def _write_report(config: RunConfig, run_dir: RunDirectory) -> None:
    """The report of one finished run; stage=report has written its own, and stage=export has nothing to show.

    One that cannot be drawn must not cost the run."""
    if config.stage in ("report", "export"):
        return
    try:
        build_report([run_dir.path], run_dir.path, f"{config.stage}: {config.name}")
    except Exception:
        log.exception("the report could not be written; try stage=report 'runs=[%s]'", run_dir.path)


def _send_figures(tracker: Tracker, run_dir: RunDirectory) -> None:
    """The figures of an evaluation to the trackers. Those that cannot be drawn must not cost the run."""
    try:
        tracker.figures(lambda: figure_files(run_dir.path))
    except Exception:
        log.exception("the figures could not be drawn for the tracker")


def _run_stage(config: RunConfig, run_dir: RunDirectory, handle: RunHandle) -> None:
    if config.stage == "report":
        build_report([Path(r) for r in config.runs], run_dir.path, config.title)
        return
    if config.stage == "export":
        exported = export_model(config.export, run_dir.model, setup_hardware(config.hardware))
        write_json_atomic(run_dir.summary, exported.to_dict())
        log.info("%s: %s, %.1fM parameters", exported.folder, exported.kind, exported.parameters / 1e6)
        return
    if config.stage == "compare":
        Comparison(config, run_dir).run()
        return
    with contextlib.closing(Parts(config, run_dir)) as parts:
        _run_parts(config, run_dir, handle, parts)


def _run_parts(config: RunConfig, run_dir: RunDirectory, handle: RunHandle, parts: Parts) -> None:
    """A stage that is made of parts."""
    if config.stage in TRAINERS:
        _tell_objective(config, run_dir)
        trainer = build(find(TRAINERS, config.stage, "stage"), config.trainer, parts)
        with _tracker(config, run_dir, parts, trainer.num_steps) as tracker:
            parts.control.attach(tracker)
            trainer.train()
            summary = _keep_result(config, run_dir, parts, trainer.model)
            tracker.summary(summary)
        handle.objective = summary["objective"]
    elif config.stage == "selfcheck":
        _tell_objective(config, run_dir)
        build(SelfCheck, config.trainer, parts).run()
    elif config.stage.startswith(PREFIX):
        _tell_objective(config, run_dir)
        build(StepCheck, config.trainer, parts).run()
    else:
        if config.stage in ANALYSES:
            suite = build(find(ANALYSES, config.stage, "stage"), getattr(config, config.stage), parts)
        else:
            suite = build(find(SUITES, config.suite, "suite"), config.evaluation, parts)
        with _tracker(config, run_dir, parts, None) as tracker:
            tracker.summary(suite.evaluate(tracker))
            _send_figures(tracker, run_dir)


def _tell_objective(config: RunConfig, run_dir: RunDirectory) -> None:
    """Show what is optimised, with its numbers, and keep it for the report."""
    lines = objective_lines(config)
    for line in lines:
        log.info(line)
    if lines:
        write_text_atomic(run_dir.objective, "\n".join(lines) + "\n")


def _tracker(config: RunConfig, run_dir: RunDirectory, parts: Parts, num_steps: int | None) -> Tracker:
    resumed_from = None
    if config.resume and num_steps:
        found = parts.control.find_checkpoint()
        resumed_from = BEFORE_THE_FIRST_STEP if found is None else found
    return Tracker(
        run_dir,
        config.tracking,
        stage=config.stage,
        name=config.name,
        config_plain=config.plain,
        num_steps=None if config.budget is not None and config.budget.kind else num_steps,  # it ends nobody knows when
        resumed_from_step=resumed_from,
    )


def _keep_result(config: RunConfig, run_dir: RunDirectory, parts: Parts, model: Any) -> Mapping[str, Any]:
    """Save the best or last weights as model/ and sum the run up."""
    best = parts.checkpointer.best(verified=True) if config.checkpoint.select_on else None
    if best is not None and best[0] != parts.control.step:
        parts.checkpointer.load({"model": model}, step=best[0])
    save_model(model, parts.tokenizer, run_dir.model)
    key = config.checkpoint.select_on or OBJECTIVES.get(config.stage)
    metrics = parts.control.last_metrics
    return {
        "stage": config.stage,
        "steps": parts.control.step,
        "metrics": metrics,
        "objective": best[1] if best else metrics.get(key),
        "objective_metric": key,
        "best": {"step": best[0], "metric": key, "value": best[1]} if best else None,
        "model_step": best[0] if best else parts.control.step,
        "data": parts.data_reports,
    }
