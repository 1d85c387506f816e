"""`reward:` of the kinds that read scores which a language model wrote: bt_pairwise, generative."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlhf.config.checks import above, at_least, one_of, within
from rlhf.config.score_prompts import CLOSING_TAG, ScorePrompt, load_score_prompt
from rlhf.errors import ConfigError

PAIRWISE_FORMS = ("log_sigmoid", "binary", "graded", "hard_margin")
SHARE_OF_SCALE = 4
"""temperature=null divides differences by a quarter of the scale."""
PAIR_SUITES = ("generative_rm", "score_variance")
"""Suites of stage=eval that read pairs of scores."""


@dataclass(frozen=True)
class BTPairwiseRewardConfig:
    """conf/reward/bt_pairwise.yaml: both sides of a pair, each scored by the policy; the formulas stand in
    rlhf.algorithms.pairwise."""

    kind: str
    form: str
    pair_shared: bool
    temperature: float | None
    clip_high: float | None
    clip_low: float | None
    margin: float
    scale: float
    offset: float
    hard_lambda: float
    hard_tau: float
    hard_floor: float
    unparsable: float

    def __post_init__(self) -> None:
        one_of("reward.form", self.form, PAIRWISE_FORMS)
        if self.temperature is not None:
            above("reward.temperature", self.temperature, 0)
        if self.clip_high is not None:
            above("reward.clip_high", self.clip_high, 0)
        if self.clip_low is not None and not (math.isfinite(self.clip_low) and self.clip_low < 0):
            raise ConfigError(f"reward.clip_low must be below 0, or null; got {self.clip_low}")
        above("reward.margin", self.margin, 0)
        if self.form in ("graded", "hard_margin") and self.clip_high is not None and self.margin > self.clip_high:
            raise ConfigError(
                f"reward.margin={self.margin} is above reward.clip_high={self.clip_high}: no difference would reach it"
            )
        above("reward.scale", self.scale, 0)
        within("reward.hard_lambda", self.hard_lambda, 0, 1)
        above("reward.hard_tau", self.hard_tau, 0)
        within("reward.hard_floor", self.hard_floor, 0, 1)
        for key in ("offset", "unparsable"):
            if not math.isfinite(getattr(self, key)):
                raise ConfigError(f"reward.{key} must be a finite number; got {getattr(self, key)}")

    def temperature_on(self, score_prompt: ScorePrompt) -> float:
        """Score points that one unit of d stands for."""
        return scale_temperature(score_prompt) if self.temperature is None else self.temperature

    def least(self, score_prompt: ScorePrompt) -> float:
        """The lowest reward that a parsed score can earn on this scale."""
        d = (score_prompt.lowest - score_prompt.highest) / self.temperature_on(score_prompt)
        d = d if self.clip_low is None else max(d, self.clip_low)
        worst = {"log_sigmoid": -math.log1p(math.exp(-d)) if d > -700 else d, "graded": max(d / self.margin, -1.0)}
        reward = self.scale * (worst.get(self.form, 0.0) + self.offset)
        return reward if reward < 0 else reward * max(self.hard_floor, 1 - self.hard_lambda)


@dataclass(frozen=True)
class GenerativeRewardConfig:
    """conf/reward/generative.yaml: a language model that reads an answer and writes its score."""

    kind: str
    model: str | None
    score_prompt: str | None
    samples: int
    temperature: float
    max_new_tokens: int
    max_prompt_tokens: int
    unparsable: float

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError(
                "the generative reward has no model: give a run directory of experiment=generative_rm, a folder of a "
                "language model or a hub name (reward.model=outputs/grpo/...)"
            )
        if self.score_prompt is not None:
            load_score_prompt(self.score_prompt)
        at_least("reward.samples", self.samples, 1)
        at_least("reward.temperature", self.temperature, 0, "0 is greedy")
        if self.temperature == 0 and self.samples > 1:
            raise ConfigError(
                f"reward.temperature=0 writes the same score reward.samples={self.samples} times: set samples=1, or a "
                "temperature above 0"
            )
        at_least("reward.max_new_tokens", self.max_new_tokens, 1)
        at_least("reward.max_prompt_tokens", self.max_prompt_tokens, 1)
        if not math.isfinite(self.unparsable):
            raise ConfigError(f"reward.unparsable must be a finite number; got {self.unparsable}")


SCORE_KINDS = {"bt_pairwise": BTPairwiseRewardConfig, "generative": GenerativeRewardConfig}


def scale_temperature(score_prompt: ScorePrompt) -> float:
    """Score points that one nat of log-odds stands for where nothing else is said: a quarter of the scale's range, so
    that the ends of every scale are four nats apart."""
    return (score_prompt.highest - score_prompt.lowest) / SHARE_OF_SCALE


def rewards_in(reward: Any) -> Iterator[Any]:
    """The reward sections of a reward: itself, and the parts of a weighted one."""
    yield reward
    for part in getattr(reward, "components", {}).values():
        yield from rewards_in(part.reward)


def check_score_rewards(run: Any, *, learning: bool) -> None:
    """What bt_pairwise needs around it. `learning`: the stage learns from sampled answers. Raises ConfigError."""
    for reward in rewards_in(run.reward):
        if isinstance(reward, BTPairwiseRewardConfig):
            _check_pairwise(run, reward, learning)


def _check_pairwise(run: Any, reward: BTPairwiseRewardConfig, learning: bool) -> None:
    if run.stage == "eval" and run.suite not in PAIR_SUITES:
        raise ConfigError(
            f"reward=bt_pairwise compares the two sides of a pair, which suite={run.suite} does not keep together: use "
            f"suite={' or '.join(PAIR_SUITES)}"
        )
    if run.stage != "eval" and not learning:
        raise ConfigError(
            f"reward=bt_pairwise scores both sides of pairs that are sampled together, which stage={run.stage} does "
            "not: use stage=grpo or ppo"
        )
    if run.dataset.score_prompt is None:
        raise ConfigError(
            "reward=bt_pairwise reads scores that the policy writes: set dataset.score_prompt, for example "
            "dataset.score_prompt=score_first_5, or use experiment=generative_rm"
        )
    if run.rollout.stop not in ([], [CLOSING_TAG]):
        raise ConfigError(
            f"rollout.stop={run.rollout.stop} beside reward=bt_pairwise, whose scores end with {CLOSING_TAG}: use "
            f"rollout.stop=[] or 'rollout.stop=[\"{CLOSING_TAG}\"]'"
        )
    _check_floor(reward, load_score_prompt(run.dataset.score_prompt))
    _check_objective(run.trainer, reward)


def _check_floor(reward: BTPairwiseRewardConfig, score_prompt: ScorePrompt) -> None:
    """No score at all must not earn more than a wrong one."""
    least = reward.least(score_prompt)
    if reward.unparsable > least:
        raise ConfigError(
            f"reward.unparsable={reward.unparsable:g} is above {least:.4g}, the least that a score on the scale "
            f"{score_prompt.lowest:g} to {score_prompt.highest:g} earns: writing none would pay; lower it, or set "
            "reward.temperature or reward.clip_low"
        )


def _check_objective(trainer: Any, reward: BTPairwiseRewardConfig) -> None:
    """What is the same for every answer of a group is taken off or divided out where groups are compared."""
    for key, values in (("baseline", ("group_mean", "leave_one_out")), ("scale", ("group_std",)),
                        ("no_signal", ("drop", "resample"))):  # fmt: skip
        chosen = getattr(trainer, key, None)
        if reward.pair_shared and chosen in values:
            raise ConfigError(
                f"reward.pair_shared=true gives all answers of a group one reward, and trainer.{key}={chosen} sees "
                "nothing to learn in it: use baseline=batch_mean, scale=batch_std and no_signal=keep, or stage=ppo"
            )
    if reward.hard_lambda > 0 and getattr(trainer, "scale", None) == "group_std":
        raise ConfigError(
            f"reward.hard_lambda={reward.hard_lambda:g} weights whole pairs, which trainer.scale=group_std divides out "
            "again: use scale=none or batch_std, or hard_lambda=0"
        )
