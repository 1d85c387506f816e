"""From a checked `reward:` section to the reward that it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rlhf.config.rewards import FunctionRewardConfig, GoldRewardConfig, LearnedRewardConfig, WeightedRewardConfig
from rlhf.config.run import RunConfig
from rlhf.config.score_prompts import ScorePrompt, load_score_prompt
from rlhf.config.score_rewards import BTPairwiseRewardConfig, GenerativeRewardConfig
from rlhf.config.verifiers import VerifierConfig
from rlhf.rewards.bt_pairwise import BTPairwiseReward
from rlhf.rewards.function import FunctionReward, import_function
from rlhf.rewards.verifiers.build import build_verified
from rlhf.rewards.weighted import WeightedReward
from rlhf.types import Reward


@dataclass(frozen=True)
class Scoring:
    """What rewards of written scores need beside their own section."""

    load_generative: Callable[[GenerativeRewardConfig], Reward]  # brings the model that writes them
    score_prompt: ScorePrompt | None  # how the policy is asked for them: dataset.score_prompt
    stop: Sequence[str]  # rollout.stop


def scoring_of(run: RunConfig, load_generative: Callable[[GenerativeRewardConfig], Reward]) -> Scoring:
    """Of a run with a dataset; `load_generative` as in Scoring."""
    name = run.dataset.score_prompt
    stop = () if run.rollout is None else tuple(run.rollout.stop)
    return Scoring(load_generative, None if name is None else load_score_prompt(name), stop)


def build_reward(config: Any, load_learned: Callable[[str], Reward], scoring: Scoring | None = None) -> Reward:
    """The reward of `config`; `load_learned(path)` brings a reward model. Raises RewardError or ModelError."""
    match config:
        case LearnedRewardConfig(model=model):
            return load_learned(model)
        case GoldRewardConfig():
            from rlhf.rewards.gold_reward import GoldReward

            return GoldReward()
        case FunctionRewardConfig(function=function, arguments=arguments):
            return FunctionReward(import_function(function), arguments)
        case WeightedRewardConfig(components=components):
            return WeightedReward(
                {n: (c.weight, build_reward(c.reward, load_learned, scoring)) for n, c in components.items()}
            )
        case VerifierConfig():
            return build_verified(config)
        case BTPairwiseRewardConfig() if scoring is not None and scoring.score_prompt is not None:
            return BTPairwiseReward(config, scoring.score_prompt, stop=scoring.stop)
        case GenerativeRewardConfig() if scoring is not None:
            return scoring.load_generative(config)
    raise TypeError(f"not a reward section: {config!r}")
