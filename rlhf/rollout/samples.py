"""Sampled answers as lines of samples.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlhf.types import RewardScores, Rollout, Sampler

EVALUATION_STEP = 0
"""The step number that held-out answers are sampled under: the same random numbers at every evaluation."""


def close_sampler(sampler: Sampler) -> None:
    """End what an engine holds outside of this process (a server); most hold nothing."""
    if hasattr(sampler, "close"):
        sampler.close()


def sample_rows(rollouts: Sequence[Rollout], scores: RewardScores, **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """One mapping an answer: the prompt, the answer, every reward; `columns` add one value an answer by name."""
    return [
        {
            "prompt_id": rollout.prompt.id,
            "sample": rollout.sample,
            "prompt": rollout.prompt.as_text(),
            "answer": rollout.text,
            "reward": scores.total[i],
            "components": {name: values[i] for name, values in scores.components.items()},
            "finish": rollout.finish,
            "length_tokens": len(rollout.answer_ids),
            **{name: values[i] for name, values in columns.items()},
        }
        for i, rollout in enumerate(rollouts)
    ]
