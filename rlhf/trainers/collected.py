"""The answers of one round with their scores, and how they become part of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from rlhf.types import Prompt, RewardScores, Rollout


@dataclass
class Collected:
    """The rollouts of a round, group by group, and their scores."""

    rollouts: list[Rollout]
    scores: RewardScores
    sampled_answers: int  # with those that resampling threw away
    sampled_tokens: int
    silent_fraction: float  # groups without signal, of all that were sampled
    batches: int = 0  # of prompts taken from their order, up to the end of this round
    updates: int = 0  # rounds that had been learned by the weights that sampled
    seconds: dict[str, float] = field(default_factory=dict)  # of what was done in the background, by phase
    staleness: int | None = (
        None  # rounds learned since they were sampled; None where none ever is (rollout.ahead=false)
    )

    def ahead_metrics(self) -> dict[str, float]:
        """What is logged of answers that were sampled ahead; nothing for others."""
        return {} if self.staleness is None else {"sampler/staleness_updates": self.staleness}


def with_plain_scores(collected: Collected) -> Collected:
    """`collected` with scores that are floats, as they come back from a checkpoint."""
    scores = collected.scores
    components = {str(name): [float(v) for v in values] for name, values in scores.components.items()}
    collected.scores = RewardScores([float(v) for v in scores.total], components)
    return collected


def plain(collected: Collected) -> dict[str, Any]:
    """Tensors and plain values; prompts by their ids. `collected` as `with_plain_scores` makes it."""
    return {
        "rollouts": [_plain_rollout(r) for r in collected.rollouts],
        "total": list(collected.scores.total),
        "components": {name: list(values) for name, values in collected.scores.components.items()},
        "sampled_answers": collected.sampled_answers,
        "sampled_tokens": collected.sampled_tokens,
        "silent_fraction": collected.silent_fraction,
        "batches": collected.batches,
        "updates": collected.updates,
        "seconds": {f"time/{phase}_s": value for phase, value in collected.seconds.items()},
    }


def from_plain(state: Mapping[str, Any], prompts: Sequence[Prompt]) -> Collected:
    """The Collected that `plain` wrote. Raises KeyError for a prompt that is not among `prompts`."""
    by_id = {prompt.id: prompt for prompt in prompts}
    return Collected(
        rollouts=[_rollout(row, by_id) for row in state["rollouts"]],
        scores=RewardScores(state["total"], state["components"]),
        sampled_answers=state["sampled_answers"],
        sampled_tokens=state["sampled_tokens"],
        silent_fraction=state["silent_fraction"],
        batches=state["batches"],
        updates=state["updates"],
        seconds={key.removeprefix("time/").removesuffix("_s"): value for key, value in state["seconds"].items()},
    )


def _plain_rollout(rollout: Rollout) -> dict[str, Any]:
    return {
        "prompt": rollout.prompt.id,
        "prompt_ids": torch.tensor(rollout.prompt_ids, dtype=torch.int64),
        "answer_ids": torch.tensor(rollout.answer_ids, dtype=torch.int64),
        "logprobs": torch.tensor(rollout.logprobs, dtype=torch.float64),
        "text": rollout.text,
        "finish": rollout.finish,
        "sample": rollout.sample,
    }


def _rollout(row: Mapping[str, Any], prompts: Mapping[str, Prompt]) -> Rollout:
    return Rollout(
        prompt=prompts[row["prompt"]],
        prompt_ids=tuple(row["prompt_ids"].tolist()),
        answer_ids=tuple(row["answer_ids"].tolist()),
        logprobs=tuple(row["logprobs"].tolist()),
        text=row["text"],
        finish=row["finish"],
        sample=row["sample"],
    )
