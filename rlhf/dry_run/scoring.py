"""What stage=eval asks of models that write scores: both sides of each pair, by every score prompt and seed."""

from __future__ import annotations

from dataclasses import replace

from rlhf.config.run import RunConfig
from rlhf.config.score_rewards import PAIR_SUITES
from rlhf.evaluation.generative.asking import score_prompts_of
from rlhf.evaluation.models import labelled_models


def asks_for_scores(config: RunConfig) -> bool:
    """Whether the run is one of suite=generative_rm or score_variance."""
    return config.stage == "eval" and config.suite in PAIR_SUITES


def as_asked(config: RunConfig) -> RunConfig:
    """`config` with the dataset as the first model is asked by its first score prompt; others as they are.

    Raises ConfigError where no score prompt is named."""
    if not asks_for_scores(config):
        return config
    path = next(iter(labelled_models(config.models, config.model.path).values()))
    name = next(iter(score_prompts_of(path, config)))
    return replace(config, dataset=replace(config.dataset, score_prompt=name))


def score_lines(config: RunConfig) -> list[str]:
    """How many scores are sampled."""
    models = labelled_models(config.models, config.model.path)
    ways = sum(len(score_prompts_of(path, config)) for path in models.values())
    seeds, each = len(config.seeds or [config.seed]), config.evaluation.samples_per_prompt
    samples = ways * seeds * 2 * config.evaluation.limit * each
    beside = f"{len(models)} models, {ways} ways to ask in all" if ways > len(models) else f"{len(models)} models"
    sides = f"{config.evaluation.limit} pairs x 2 sides"
    return [
        f"  {beside} x {seeds} seeds x at most {sides} x {each} samples = {samples:,}",
        f"  generated tokens  {samples * config.rollout.max_new_tokens:,} at most",
    ]
