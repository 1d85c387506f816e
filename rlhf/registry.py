"""What each stage runs: plain tables of "module:Name", imported when chosen. A new stage is a line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rlhf.errors import ConfigError

TRAINERS = {
    "sft": "rlhf.trainers.sft:SFTTrainer",
    "reward": "rlhf.trainers.reward:RewardTrainer",
    "grpo": "rlhf.trainers.grpo:GRPOTrainer",
    "ppo": "rlhf.trainers.ppo:PPOTrainer",
    "dpo": "rlhf.trainers.dpo:DPOTrainer",
    "expert_iteration": "rlhf.trainers.expert_iteration:ExpertIterationTrainer",
}
"""Stages that train: classes with .train(), whose constructor names the parts it needs (rlhf.run.Parts)."""

SUITES = {
    "policy": "rlhf.evaluation.policy.suite:PolicyEvaluation",
    "reward_model": "rlhf.evaluation.reward_model.suite:RewardModelEvaluation",
    "math": "rlhf.evaluation.verifiable.suite:VerifiableEvaluation",
    "generative_rm": "rlhf.evaluation.generative.suite:GenerativeEvaluation",
    "score_variance": "rlhf.evaluation.generative.variance_suite:ScoreVariance",
}
"""What stage=eval can evaluate: classes with .evaluate(), parts likewise."""

ANALYSES = {
    "explore": "rlhf.explore.stage:DatasetExploration",
    "pointwise": "rlhf.pointwise:PointwiseExport",
    "teacher": "rlhf.teacher.stage:TeacherScoring",
}
"""Other stages that end in figures alone: classes with .evaluate(), parts likewise; their config is the section of
their name."""


def find(table: Mapping[str, str], name: str, kind: str) -> Any:
    """The object behind `name`. Raises ConfigError listing the options."""
    if name not in table:
        raise ConfigError(f"unknown {kind} {name!r}. Available: {', '.join(sorted(table))}")
    module, attribute = table[name].split(":")
    return getattr(import_module(module), attribute)
