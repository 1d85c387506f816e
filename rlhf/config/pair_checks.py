"""Checks of `dataset.score_prompt` across sections: who reads it, and that both sides of a pair stay together."""

from __future__ import annotations

from rlhf.config.policy_gradient import GRPOTrainerConfig, PolicyGradientConfig
from rlhf.config.run import ROUNDS, RunConfig
from rlhf.errors import ConfigError

SCORING_STAGES = (*ROUNDS, "eval", "compare", "pointwise", "teacher")
"""Stages that read dataset.score_prompt."""


def check_pairs_together(run: RunConfig) -> None:
    """Refuse a score prompt that nobody would read, and sizes that would part the sides of a pair. Raises ConfigError.

    Needs a run with a dataset whose score_prompt is not None."""
    asked = f"dataset.score_prompt={run.dataset.score_prompt}"
    if run.stage not in SCORING_STAGES:
        raise ConfigError(f"{asked} is for stage={', '.join(SCORING_STAGES)}; use null for stage={run.stage}")
    if run.stage not in ROUNDS:
        return
    trainer, together = run.trainer, run.dataset.per_unit
    if trainer.prompts_per_step % together:
        raise ConfigError(
            f"{asked} makes {together} prompts of a pair, which stay in one step: trainer.prompts_per_step must be "
            f"even; got {trainer.prompts_per_step}"
        )
    if not isinstance(trainer, PolicyGradientConfig):
        return
    pairs = trainer.prompts_per_step // together
    if pairs % trainer.minibatches:
        raise ConfigError(
            f"{asked}: trainer.minibatches must divide the {pairs} pairs of a step (trainer.prompts_per_step="
            f"{trainer.prompts_per_step}), since a pair stays whole; got {trainer.minibatches}"
        )
    if isinstance(trainer, GRPOTrainerConfig) and trainer.no_signal == "resample" and trainer.minibatches > 1:
        raise ConfigError(
            f"{asked}: trainer.no_signal=resample fills a step up with sides of other pairs, which trainer.minibatches="
            f"{trainer.minibatches} would part from their own: use minibatches=1, or no_signal=drop"
        )
