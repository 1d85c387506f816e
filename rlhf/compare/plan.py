"""Which runs a comparison is made of: all of them composed and checked before the first one starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.compare.children import SHARED, child_config, composed_once, lacks_reward_model, overridden_keys, stage_of
from rlhf.compare.identity import identity
from rlhf.config.compare import COMPARABLE, EVALUATION, REWARD, START, override_list
from rlhf.config.run import GIVEN_ANSWERS, RunConfig
from rlhf.errors import ConfigError

SAMPLED_AT_EVALUATIONS = 32
"""Held-out prompts that dpo and sft answer at their evaluations: as many as evaluation.limit of the others is."""


@dataclass(frozen=True)
class Job:
    """One run to do: where, with which configuration, and what it is in the comparison."""

    name: str
    folder: Path
    config: RunConfig
    algorithm: str | None = None
    seed: int = 0

    @property
    def identity(self) -> str:
        """What it computes; known once the runs that it starts from are finished."""
        return identity(self.config.plain)


@dataclass(frozen=True)
class Plan:
    """All runs: first what the others start from, then the algorithms seed by seed."""

    start: Job | None  # None: compare.start is a model that is there
    reward: Job | None  # None: there is one, or nothing asks for one
    runs: tuple[Job, ...]
    start_path: str
    reward_path: str | None

    @property
    def jobs(self) -> list[Job]:
        """In the order in which they can be done."""
        return [job for job in (self.start, self.reward, *self.runs) if job is not None]


def make_plan(config: RunConfig, folder: Path, elsewhere: Mapping[str, Path] | None = None) -> Plan:
    """The runs of stage=compare in `folder`. Raises ConfigError, naming the run, for anything that one of them refuses.

    elsewhere   folders of the start and the reward model where they are taken from another comparison"""
    c, runs, elsewhere = config.compare, folder / "runs", elsewhere or {}
    shared = {name: config.plain[name] for name in SHARED if name in config.plain}
    common = {"tracking.console": "plain", "resume": None, "dry_run": False}
    common["checkpoint.after_training"] = "delete"  # a model and its optimiser a run would fill the disk
    start = None
    if c.start is None:
        values = {**common, "name": START, "seed": config.seed}
        made = child_config(
            START, ["stage=sft", *override_list("compare.start_overrides", c.start_overrides)], shared, values, None
        )
        start = Job(START, runs / START, made, seed=config.seed)
    start_path = str(elsewhere.get(START, runs / START)) if c.start is None else c.start
    from_start = {"model.path": start_path, "model.source": "auto", "model.revision": None, "model.architecture": None}
    common |= from_start
    common_overrides = override_list("compare.common", c.common)
    algorithms = {name: _overrides_of(name, own, common_overrides) for name, own in c.named_algorithms.items()}
    wanted = c.reward is None and any(_asks_for_reward_model(name, own) for name, own in algorithms.items())
    reward, reward_path = None, c.reward
    if wanted:
        values = {**common, "name": REWARD, "seed": config.seed}
        made = child_config(
            REWARD,
            ["stage=reward", *override_list("compare.reward_overrides", c.reward_overrides)],
            shared,
            values,
            None,
        )
        reward, reward_path = (
            Job(REWARD, runs / REWARD, made, seed=config.seed),
            str(elsewhere.get(REWARD, runs / REWARD)),
        )
    jobs = []
    for seed in c.seeds:
        for name, overrides in algorithms.items():
            label = f"{name}-seed{seed}"
            values = {**common, "name": label, "seed": seed, **_budget_values(config, overrides)}
            if "checkpoint.after_training" in overridden_keys(overrides):
                del values["checkpoint.after_training"]
            made = child_config(label, overrides, shared, values, reward_path)
            jobs.append(Job(label, runs / label, made, algorithm=name, seed=seed))
    return Plan(start, reward, tuple(jobs), start_path, reward_path)


def evaluation_job(
    config: RunConfig, folder: Path, models: Mapping[str, str], reward_path: str | None, *, shared: Mapping[str, Any]
) -> Job:
    """The evaluation of all finished models, `models` label -> path, the first being the start. Raises ConfigError."""
    own = override_list("compare.evaluation_overrides", config.compare.evaluation_overrides)
    overrides = ["stage=eval", "suite=policy", *own]
    chosen = overridden_keys(overrides)
    first, path = next(iter(models.items()))
    values: dict[str, Any] = {
        "models": dict(models),
        "name": EVALUATION,
        "seed": config.seed,
        "resume": None,
        "dry_run": False,
        "tracking.console": "plain",
        "model.path": path,
        "model.source": "auto",
        "model.revision": None,
        "model.architecture": None,
        "evaluation.reference": first,
        "evaluation.confidence": config.compare.confidence,
    }
    if reward_path is not None and "evaluation.learned_reward" not in chosen and "reward" not in chosen:
        values["evaluation.learned_reward"] = reward_path
    made = child_config(EVALUATION, overrides, shared, values, reward_path)
    return Job(EVALUATION, folder / "runs" / EVALUATION, made, seed=config.seed)


def _overrides_of(name: str, own: list[str], common: list[str]) -> list[str]:
    """All overrides of one algorithm, those that it chose itself last. Raises ConfigError."""
    chosen = overridden_keys(own)
    stage = stage_of(f"compare.algorithms.{name}", own)
    if stage not in COMPARABLE:
        raise ConfigError(
            f"compare.algorithms.{name} is stage={stage}, which makes no policy better; one of {', '.join(COMPARABLE)}"
        )
    given = [*(o for o in common if overridden_keys([o])[0] not in chosen), *own]
    keys = overridden_keys(given)
    defaults = [] if "reward" in keys else ["reward=weighted"]
    if stage in GIVEN_ANSWERS and "trainer.sample_prompts" not in keys and "reward=none" not in given:
        defaults.append(f"trainer.sample_prompts={SAMPLED_AT_EVALUATIONS}")
    return [*defaults, *given]


def _asks_for_reward_model(name: str, overrides: list[str]) -> bool:
    try:
        return lacks_reward_model(composed_once(tuple(overrides)).get("reward"))
    except ConfigError as error:
        raise ConfigError(f"compare.algorithms.{name}: {error}") from error


def _budget_values(config: RunConfig, overrides: list[str]) -> dict[str, Any]:
    """How long a run is, in `values` of child_config."""
    c, keys = config.compare, overridden_keys(overrides)
    if c.budget is None:
        return {}
    values: dict[str, Any] = {"budget.kind": c.budget, "budget.amount": c.amount, "budget.evaluations": c.evaluations}
    if "trainer.num_steps" not in keys:
        values["trainer.num_steps"] = c.max_steps
    if "evaluation.every" not in keys:
        values["evaluation.every"] = 0
    return values
