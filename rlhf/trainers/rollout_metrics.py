"""What is logged about sampled answers, and how they become a batch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import torch

from rlhf.algorithms.advantages import group_advantages
from rlhf.types import Continuation, PackedBatch, RewardScores, Rollout, TokenGroup


def rollout_batch(rollouts: Sequence[Rollout], group_size: int) -> PackedBatch:
    """Rollouts, group by group, as a batch: answer i of the batch is rollout i."""
    groups = (rollouts[i : i + group_size] for i in range(0, len(rollouts), group_size))
    return PackedBatch(tuple(TokenGroup(g[0].prompt_ids, tuple(Continuation(r.answer_ids) for r in g)) for g in groups))


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
        advantages = group_advantages(torch.tensor(totals, dtype=torch.float64), group_size, scale="none")
        silent = (advantages.view(-1, group_size) == 0).all(dim=1)
        found["reward/group_std"] = advantages.view(-1, group_size).std(dim=1, unbiased=False).mean().item()
        found["reward/no_signal_fraction"] = silent.double().mean().item()
    return found
