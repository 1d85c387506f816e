"""Preference pairs scored by a language model that writes its scores, on the scale of log-odds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlhf.config.score_prompts import ScorePrompt, load_score_prompt
from rlhf.config.score_rewards import GenerativeRewardConfig, scale_temperature
from rlhf.data.rendering import Renderer
from rlhf.evaluation.score_prompt_of import run_score_prompt
from rlhf.models.reward_models import has_score_head
from rlhf.types import PreferencePair, Rollout

INSTRUCTION_TOKENS = 256
"""Room for what a score prompt says, beside a conversation and an answer as long as the dataset lets them be."""


@dataclass(frozen=True)
class Written:
    """The scores of P pairs and what to say of them."""

    scores: np.ndarray  # [P, 2] of the chosen and the rejected answers, score points / temperature
    cut: np.ndarray  # [P] True where the model did not see the whole conversation of a side
    how: str  # one sentence


def score_prompt_to_ask(path: str, config: Any) -> str | None:
    """How the language model at `path` is asked for a score: as our dataset.score_prompt says, else as its run's.

    None for a model with a score head, and where neither says anything. Raises ModelError for no model."""
    name = config.dataset.score_prompt or run_score_prompt(path)
    return None if name is None or has_score_head(path) else name


def score_by_writing(
    path: str, name: str, examples: Sequence[PreferencePair], renderer: Renderer, parts: Any
) -> Written:
    """`examples` scored by the language model at `path`, asked by the score prompt called `name`.

    A side's score is the mean of evaluation.samples_per_prompt scores sampled as `rollout:` says, divided by
    evaluation.log_loss_temperature (null: a quarter of the scale). A side without any score that can be read stands in
    the middle of the scale."""
    run, score_prompt = parts.run_config, load_score_prompt(name)
    temperature = run.evaluation.log_loss_temperature or scale_temperature(score_prompt)
    reward = parts.load_generative_reward(_section(path, name, score_prompt, renderer, run))
    rollouts = [Rollout(e.prompt, (), (), (), text, "eos", 0) for e in examples for text in (e.chosen, e.rejected)]
    found = reward.score(rollouts)
    scores = np.array(found.total, dtype=np.float64).reshape(-1, 2) / temperature
    cut = np.array(found.components["prompt_cut"]).reshape(-1, 2).any(axis=1)
    how = (
        f"scores written on a scale of {score_prompt.lowest:g} to {score_prompt.highest:g} ({score_prompt.name}), the "
        f"mean of {reward.sampler.samples} a side, divided by {temperature:g} points to stand for nats; "
        f"{_failed(found.components)}"
    )
    return Written(scores, cut, how)


def _section(path: str, name: str, score_prompt: ScorePrompt, renderer: Renderer, run: Any) -> GenerativeRewardConfig:
    rollout, lengths = run.rollout, renderer.config
    return GenerativeRewardConfig(
        kind="generative",
        model=path,
        score_prompt=name,
        samples=1 if rollout.temperature == 0 else run.evaluation.samples_per_prompt,
        temperature=rollout.temperature,
        max_new_tokens=rollout.max_new_tokens,
        max_prompt_tokens=lengths.max_prompt_tokens + lengths.max_answer_tokens + INSTRUCTION_TOKENS,
        unparsable=(score_prompt.lowest + score_prompt.highest) / 2,
    )


def _failed(components: Mapping[str, Any]) -> str:
    """The share of samples without a score, by reason."""
    shares = {name.removeprefix("failed_"): np.mean(v) for name, v in components.items() if name.startswith("failed_")}
    reasons = ", ".join(f"{reason.replace('_', ' ')} {share:.1%}" for reason, share in shares.items() if share)
    lost = 1 - float(np.mean(components["parsed"]))
    none = float(np.mean(np.array(components["parsed"]) == 0))
    if not lost:
        return "every sample could be read"
    middle = f", {none:.1%} of the answers had no other and stand in the middle of the scale" if none else ""
    return f"{lost:.1%} of the samples could not be read ({reasons}){middle}"
