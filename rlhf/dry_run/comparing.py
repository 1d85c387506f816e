"""What stage=compare would start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlhf.compare.existing import existing_runs
from rlhf.compare.plan import Job, make_plan
from rlhf.config.run import RunConfig

HERE = Path("<run>")
"""Stands for the directory that the comparison would have."""


def compared_lines(config: RunConfig) -> Iterator[str]:
    """Every run with what ends it, all of them checked. Raises ConfigError as the comparison would."""
    if config.compare.runs is not None:
        found = existing_runs(config)
        yield f"nothing is trained; evaluated with the start {found.models['start']}:"
        yield from (f"  {record.label}: {record.folder}" for record in found.records)
        return
    plan = make_plan(config, HERE)
    yield f"start: {plan.start_path}; reward model: {plan.reward_path or 'none'}; workers: {config.compare.workers}"
    width, stages = (max(map(len, names)) for names in zip(*((j.name, j.config.stage) for j in plan.jobs), strict=True))
    yield from (f"  {job.name:<{width}}  stage={job.config.stage:<{stages}}  {_length(job)}" for job in plan.jobs)
    yield f"then one evaluation of {len(plan.runs) + 1} models"
    yield "dry_run=true with the stage of one algorithm shows its steps, tokens and memory"


def _length(job: Job) -> str:
    budget, trainer = job.config.budget, job.config.trainer
    if budget.kind is not None:
        return f"until {budget.amount:,.0f} {budget.kind.replace('_', ' ')}"
    return f"{trainer.num_steps} steps" if trainer.num_steps else f"{trainer.num_epochs:g} epochs"
