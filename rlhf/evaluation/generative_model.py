"""Loading a language model that writes scores: a run of experiment=generative_rm, or any other that a prompt asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rlhf.config.score_rewards import GenerativeRewardConfig
from rlhf.data.pointwise import check_tags
from rlhf.data.rendering import Renderer
from rlhf.evaluation.score_prompt_of import score_prompt_of
from rlhf.models.loading import load_causal_lm, load_tokenizer, other_model
from rlhf.rewards.generative import GenerativeReward
from rlhf.rewards.score_sampling import ScoreSampler, score_stop


def load_generative_reward(config: GenerativeRewardConfig, parts: Any) -> GenerativeReward:
    """The model of `config`, asked and rendered as it was trained where that is a run. It samples in this process,
    whatever `rollout:` says. Raises ConfigError where no score prompt is named, ModelError where there is no model."""
    path = str(config.model)
    score_prompt = score_prompt_of(path, config.score_prompt, "reward.score_prompt")
    own = other_model(parts.run_config.model, path)
    model, tokenizer = load_causal_lm(own, parts.hardware, seed=parts.seed), load_tokenizer(own)
    check_tags(tokenizer)
    lengths = {"max_prompt_tokens": config.max_prompt_tokens, "truncation_side": "left"}  # the instruction comes last
    renderer = Renderer(tokenizer, replace(parts.rendering_of(path), **lengths))
    stop = score_stop(score_prompt)
    ours = replace(parts.run_config.rollout, engine="native", vllm=None, top_k=0, top_p=1.0, stop=stop)
    rollout = replace(ours, max_new_tokens=config.max_new_tokens, temperature=config.temperature)
    sampler = parts.sampler_of(model, tokenizer, renderer, rollout)
    scores = ScoreSampler(sampler, score_prompt, config.samples, stop=stop)
    return GenerativeReward(
        scores,
        renderer,
        model=model,
        max_new_tokens=config.max_new_tokens,
        unparsable=config.unparsable,
        name=f"generative {path}",
    )
