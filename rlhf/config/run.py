"""The whole configuration of a run behind the door, and which keys and sections each stage has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlhf.config import dpo, expert_iteration, policy_gradient, ppo, sections, trainers
from rlhf.config.checks import at_least, one_of
from rlhf.config.compare import CompareConfig
from rlhf.config.explore import ExploreConfig
from rlhf.config.judges import JUDGE_KINDS
from rlhf.config.pointwise import PointwiseConfig
from rlhf.config.rewards import REWARD_KINDS, NoRewardConfig
from rlhf.config.teacher import TEACHER_KINDS
from rlhf.errors import ConfigError

TRAINING = {
    "checkpoint": sections.CheckpointConfig,
    "evaluation": sections.EvaluationConfig,
    "budget": sections.BudgetConfig,
}
SAMPLED_TRAINING = TRAINING | {"evaluation": sections.SampledEvaluationConfig}
MODEL_AND_DATA = {"model": sections.ModelConfig, "dataset": sections.DatasetConfig}
SAMPLING = {"reward": REWARD_KINDS, "rollout": sections.RolloutConfig}
MAYBE_REWARD = REWARD_KINDS | {"none": NoRewardConfig}
COMMON = {"hardware": sections.HardwareConfig, "tracking": sections.TrackingConfig}

# stage -> section -> its schema; a dict of schemas means "chosen by the section's `kind`"
STAGES: dict[str, dict[str, Any]] = {
    "sft": COMMON
    | MODEL_AND_DATA
    | TRAINING
    | {"reward": MAYBE_REWARD, "rollout": sections.RolloutConfig, "trainer": trainers.SFTTrainerConfig},
    "reward": COMMON | MODEL_AND_DATA | TRAINING | {"trainer": trainers.RewardTrainerConfig},
    "grpo": COMMON | MODEL_AND_DATA | SAMPLING | SAMPLED_TRAINING | {"trainer": policy_gradient.GRPOTrainerConfig},
    "ppo": COMMON | MODEL_AND_DATA | SAMPLING | SAMPLED_TRAINING | {"trainer": ppo.PPOTrainerConfig},
    "expert_iteration": COMMON
    | MODEL_AND_DATA
    | SAMPLING
    | SAMPLED_TRAINING
    | {"trainer": expert_iteration.ExpertIterationConfig},
    "dpo": COMMON
    | MODEL_AND_DATA
    | TRAINING
    | {"reward": MAYBE_REWARD, "rollout": sections.RolloutConfig, "trainer": dpo.DPOTrainerConfig},
    "selfcheck": COMMON | MODEL_AND_DATA | SAMPLING | SAMPLED_TRAINING | {"trainer": policy_gradient.GRPOTrainerConfig},
    "explore": COMMON | MODEL_AND_DATA | {"explore": ExploreConfig},
    "pointwise": COMMON | MODEL_AND_DATA | {"pointwise": PointwiseConfig},
    "teacher": COMMON | MODEL_AND_DATA | {"teacher": TEACHER_KINDS},
    "eval": COMMON | MODEL_AND_DATA | SAMPLING | {"judge": JUDGE_KINDS, "evaluation": sections.EvalStageConfig},
    "compare": COMMON
    | MODEL_AND_DATA
    | {"rollout": sections.RolloutConfig, "judge": JUDGE_KINDS, "compare": CompareConfig},
    "report": COMMON,
    "export": COMMON | {"export": sections.ExportConfig},
}
STAGES |= {f"selfcheck/{stage}": STAGES[stage] for stage in ("sft", "reward", "dpo", "ppo")}
ROUNDS = ("grpo", "ppo", "expert_iteration")
"""Stages that learn, round by round, from answers that the policy samples."""
GIVEN_ANSWERS = ("sft", "dpo")
"""Stages that learn from answers of a dataset; they sample some at evaluations where trainer.sample_prompts says so."""
EVALUATIONS = ("policy", "reward_model", "math", "generative_rm", "score_variance")
"""What stage=eval can evaluate, by the name of its suite."""
COMMON_KEYS = ("stage", "name", "seed", "resume", "resume_changed", "dry_run")
STAGE_KEYS: dict[str, tuple[str, ...]] = {
    "eval": ("suite", "models", "seeds"),
    "report": ("runs", "title"),
    "grpo": ("preset",),
    "selfcheck": ("preset",),
}


@dataclass(frozen=True)
class RunConfig:
    """One run, typed and checked. Sections and keys that the stage does not have are None."""

    stage: str
    name: str
    seed: int
    resume: str | None  # run directory to continue
    resume_changed: str  # refuse | allow: what a changed configuration does to a resumed run
    dry_run: bool  # show what the run would do and need; run and write nothing
    hardware: sections.HardwareConfig
    tracking: sections.TrackingConfig
    trainer: Any = None
    model: sections.ModelConfig | None = None
    dataset: sections.DatasetConfig | None = None
    reward: Any = None
    judge: Any = None
    rollout: sections.RolloutConfig | None = None
    checkpoint: sections.CheckpointConfig | None = None
    evaluation: Any = None
    budget: sections.BudgetConfig | None = None
    compare: CompareConfig | None = None
    export: sections.ExportConfig | None = None
    explore: ExploreConfig | None = None
    pointwise: PointwiseConfig | None = None
    teacher: Any = None
    suite: str | None = None  # stage=eval: what is evaluated, one of EVALUATIONS
    models: Any = None  # stage=eval: {label: path}, or a list of paths; None means model.path alone
    seeds: Any = None  # stage=eval suite=generative_rm: seeds that scores are sampled under; None: that of the run
    runs: Any = None  # stage=report: list of run directories
    title: str | None = None  # stage=report
    preset: str | None = None  # grpo, ppo: the name under which the objective was chosen
    plain: Mapping[str, Any] = field(default_factory=dict)  # the same configuration as plain YAML values

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        one_of("resume_changed", self.resume_changed, ("refuse", "allow"))
        if not isinstance(self.dry_run, bool):
            raise ConfigError(f"dry_run must be true or false; got {self.dry_run!r}")
        if self.stage == "eval":
            one_of("suite", self.suite, EVALUATIONS)
            if self.models is not None and not isinstance(self.models, (list, Mapping)):
                raise ConfigError(f"models must be a list of paths or a mapping label: path; got {self.models!r}")
            _check_seeds(self.seeds)
        if self.stage == "report" and (not isinstance(self.runs, list) or not self.runs):
            raise ConfigError("runs is empty: name the run directories to report on, runs=[outputs/grpo/...,...]")


def _check_seeds(seeds: Any) -> None:
    """None, or different whole numbers that are not negative."""
    if seeds is None:
        return
    whole = isinstance(seeds, list) and seeds and all(isinstance(s, int) and not isinstance(s, bool) for s in seeds)
    if not whole or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds must be a list of different whole numbers, at least 0 each; got {seeds!r}")
