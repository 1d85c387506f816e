"""What is logged about sampled answers, and how they become a batch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from rlhf.algorithms.advantages import no_signal
from rlhf.config.verifiers import FROM_TEMPLATE
from rlhf.evaluation.verifiable.held_out import right_answer_metrics
from rlhf.evaluation.verifiable.reading import answer_reader
from rlhf.rollout.samples import EVALUATION_STEP, sample_rows
from rlhf.types import Prompt, Reward, RewardScores, Rollout, Sampler


def rollout_metrics(rollouts: Sequence[Rollout], scores: RewardScores, group_size: int) -> dict[str, float]:
    """Means over all answers; the names are those of docs/metrics.md."""
    totals = list(scores.total)
    lengths = [len(r.answer_ids) for r in rollouts]
    found = {
        "reward/mean": statistics.fmean(totals),
        "reward/std": statistics.pstdev(totals),
        "response/length_tokens": statistics.fmean(lengths),
        "response/truncated_fraction": statistics.fmean(r.finish == "length" for r in rollouts),
    }
    for name, values in scores.components.items():
        finite = [v for v in values if math.isfinite(v)]
        if finite:
            found[f"reward/{name}"] = statistics.fmean(finite)
    if group_size > 1:
        rewards = torch.tensor(totals, dtype=torch.float64)
        found["reward/group_std"] = rewards.view(-1, group_size).std(dim=1, unbiased=False).mean().item()
        found["reward/no_signal_fraction"] = no_signal(rewards, group_size).double().mean().item()
    return found


def sampler_metrics(sampler: Sampler) -> dict[str, float]:
    """What the engine says of itself (sampler/canary, ...); {} for one that says nothing."""
    metrics = getattr(sampler, "metrics", None)
    return {} if metrics is None else metrics()


Keep = Callable[[Sequence[Mapping[str, Any]]], None]
"""Takes the answers of an evaluation as rows (rlhf.rollout.samples)."""


def held_out_answers(
    sampler: Sampler, prompts: Sequence[Prompt], reward: Reward, samples: int = 1, keep: Keep | None = None
) -> dict[str, float]:
    """Rewards and lengths of `samples` new answers to each of `prompts`, by the names that evaluations log; {} for no
    prompts. Of several answers also how many are right (rlhf.evaluation.verifiable.held_out), where the reward says."""
    if not prompts:
        return {}
    sampler.update_weights()
    rollouts = sampler.sample(prompts, samples, step=EVALUATION_STEP)
    scores = reward.score(rollouts)
    if keep is not None:
        keep(sample_rows(rollouts, scores))
    found = _held_out(rollouts, scores) | {"num_examples": len(prompts)}
    if samples == 1:
        return found
    read = answer_reader(getattr(reward, "extractor", FROM_TEMPLATE))
    return found | right_answer_metrics(rollouts, scores, read)


def held_out_rewards(rollouts: Sequence[Rollout], reward: Reward, keep: Keep | None = None) -> dict[str, float]:
    """Means over answers, under the names that evaluations log: reward_mean, response_truncated_fraction, ..."""
    scores = reward.score(rollouts)
    if keep is not None:
        keep(sample_rows(rollouts, scores))
    return _held_out(rollouts, scores)


def _held_out(rollouts: Sequence[Rollout], scores: RewardScores) -> dict[str, float]:
    found = rollout_metrics(rollouts, scores, 1)
    return {name.replace("/", "_"): v for name, v in found.items() if name.startswith(("reward/", "response/"))}
