"""The Bradley-Terry reward of scores that a policy writes for both answers of a preference pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from rlhf.algorithms.pairwise import PairwiseReward, PairwiseRewards, pair_correct, pair_log_loss, pairwise_rewards
from rlhf.config.score_prompts import ScorePrompt
from rlhf.config.score_rewards import BTPairwiseRewardConfig
from rlhf.errors import RewardError
from rlhf.rewards.checking import checked
from rlhf.rewards.score_parsers import ParsedScore
from rlhf.rewards.score_sampling import failure_components, parsed_rollout
from rlhf.types import RewardScores, Rollout

NEAR_ZERO = 0.1
"""A d of at most this size says next to nothing: log sigmoid is within 0.05 of a tie's."""


class BTPairwiseReward:
    """Rewards of rollouts that stand for both sides of pairs; rlhf.algorithms.pairwise has the formulas.

    Rollouts of one pair (metadata pair_id) may stand anywhere among the others, in any number a side.

    Components, NaN where they do not apply:

        score            score points
        parsed           0 | 1; failed_<reason> and several_tags likewise
        difference       score points, this sample against the mean of the other side, above 0 where the order is right
        near_zero        0 | 1: abs(d) is at most 0.1
        saturated        0 | 1: d stands at clip_high or clip_low
        correct          of the pair, by the means of its sides: 1, 0, or 1/2 for a tie and for an undecided pair
        correct_strict   of the pair: 1 where the preferred side's mean is higher, else 0
        tie, undecided   of the pair: 0 | 1; undecided where a side has no score. correct = correct_strict + (tie +
                         undecided) / 2
        log_loss         of the pair: -log sigmoid(difference of the means / temperature), nats; ln 2 if undecided
    """

    def __init__(self, config: BTPairwiseRewardConfig, score_prompt: ScorePrompt, *, stop: Sequence[str] = ()) -> None:
        """`stop`: the strings that end a sampled score, rollout.stop."""
        self.score_prompt, self.stop = score_prompt, tuple(stop)
        chosen = {field.name: getattr(config, field.name) for field in fields(PairwiseReward)}
        self.how = PairwiseReward(**chosen | {"temperature": config.temperature_on(score_prompt)})

    def score(self, rollouts: Sequence[Rollout]) -> RewardScores:
        """Totals and components. Raises RewardError for a prompt that is no side of a pair, or a pair with one side."""
        found = [parsed_rollout(rollout, self.score_prompt, self.stop) for rollout in rollouts]
        places = _places(rollouts)
        scores, parsed = _arrange(found, places)
        rewards = pairwise_rewards(scores, parsed, self.how)
        components = failure_components([[score] for score in found])
        components = {"score": [_number(score.value) for score in found], **components}
        components |= {n: _read(values, places.of) for n, values in _components(rewards, self.how).items()}
        return checked("bt_pairwise", RewardScores(_read(rewards.rewards, places.of), components), rollouts)


@dataclass(frozen=True)
class _Places:
    """Where each rollout stands in [P, 2, G]."""

    of: list[tuple[int, int, int]]  # [N]
    shape: tuple[int, int, int]


def _places(rollouts: Sequence[Rollout]) -> _Places:
    pairs: dict[str, int] = {}
    counts: dict[tuple[int, int], int] = {}
    found = []
    for rollout in rollouts:
        pair_id, other = _side(rollout)
        row = pairs.setdefault(pair_id, len(pairs))
        column = counts.get((row, other), 0)
        counts[row, other] = column + 1
        found.append((row, other, column))
    for pair_id, row in pairs.items():
        for other, name in ((0, "preferred"), (1, "other")):
            if (row, other) not in counts:
                raise RewardError(
                    f"reward bt_pairwise: no sample of the {name} side of pair {pair_id}: both sides of a pair are "
                    "scored together"
                )
    return _Places(found, (len(pairs), 2, max(counts.values(), default=0)))


def _side(rollout: Rollout) -> tuple[str, int]:
    """(pair, 0 for its preferred side and 1 for the other)."""
    metadata: Mapping[str, object] = rollout.prompt.metadata
    for key in ("pair_id", "side", "preferred_side"):
        if key not in metadata:
            raise RewardError(
                f"reward bt_pairwise: prompt {rollout.prompt.id} is no side of a pair (its metadata has no {key}): use "
                "dataset.score_prompt, which makes two prompts of a pair"
            )
    return str(metadata["pair_id"]), int(metadata["side"] != metadata["preferred_side"])


def _arrange(found: Sequence[ParsedScore], places: _Places) -> tuple[Tensor, Tensor]:
    """Scores [P, 2, G] float64 and which of them are there [P, 2, G]."""
    scores = torch.zeros(places.shape, dtype=torch.float64)
    parsed = torch.zeros(places.shape, dtype=torch.bool)
    for score, place in zip(found, places.of, strict=True):
        if score.value is not None:
            scores[place], parsed[place] = score.value, True
    return scores, parsed


def _components(rewards: PairwiseRewards, how: PairwiseReward) -> dict[str, Tensor]:
    """[P, 2, G] each."""
    d, shape = rewards.d, rewards.d.shape
    clips = [clip for clip in (how.clip_high, how.clip_low) if clip is not None]
    at_a_clip = sum((d == clip for clip in clips), torch.zeros(shape, dtype=torch.bool))
    unknown = rewards.difference.isnan()
    correct = pair_correct(rewards.means)
    undecided = rewards.means.isnan().any(dim=1)
    of_pair = {
        "correct": correct,
        "correct_strict": (correct == 1).double(),
        "tie": ((correct == 0.5) & ~undecided).double(),
        "undecided": undecided.double(),
        "log_loss": pair_log_loss(rewards.means, how.temperature),
    }
    return {
        "difference": rewards.difference,
        "near_zero": torch.where(unknown, torch.nan, (d.abs() <= NEAR_ZERO).double()),
        "saturated": torch.where(unknown, torch.nan, at_a_clip.double()),
        **{name: values[:, None, None].expand(shape) for name, values in of_pair.items()},
    }


def _read(values: Tensor, places: Sequence[tuple[int, int, int]]) -> list[float]:
    """[N] out of [P, 2, G]."""
    if not places:
        return []
    return values[tuple(torch.tensor(axis) for axis in zip(*places, strict=True))].tolist()


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
