"""Rewards for scores that a generative reward model gives to the two answers of a preference pair.

The model scores each answer by itself, G times. P pairs; axis 1 is the side: 0 the preferred answer, 1 the other one.
All results are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EQUAL_MEANS = 1e-9
"""Means of scores that differ by no more, in score points, are a tie: sums of decimals carry a residue."""


@dataclass(frozen=True)
class PairwiseReward:
    """How a difference of scores becomes a reward. conf/reward/bt_pairwise.yaml says what each field means."""

    form: str  # log_sigmoid | binary | graded | hard_margin
    pair_shared: bool
    temperature: float  # score points
    clip_high: float | None  # on d
    clip_low: float | None  # on d
    margin: float  # units of d
    scale: float
    offset: float
    hard_lambda: float
    hard_tau: float  # units of d
    hard_floor: float
    unparsable: float  # reward units


@dataclass(frozen=True)
class PairwiseRewards:
    """What became of P pairs. NaN where there is nothing to say: no parsed score, or none on a side."""

    rewards: Tensor  # [P, 2, G] finite everywhere that a sample is present
    difference: Tensor  # [P, 2, G] score points, above 0 where the order is right; NaN where unparsable or one-sided
    d: Tensor  # [P, 2, G] the same divided and clipped; 0 where the other side has no score, NaN where unparsable
    means: Tensor  # [P, 2] of each side's parsed scores; NaN for a side without any
    weight: Tensor  # [P] of hard-example weighting; 1 where it is off


def pairwise_rewards(scores: Tensor, parsed: Tensor, how: PairwiseReward) -> PairwiseRewards:
    """The reward of every score: the Bradley-Terry log-likelihood of the preference, or a form of your own choice.

        scores  [P, 2, G]  score points; what stands where `parsed` is False is not looked at
        parsed  [P, 2, G]  True where a score could be read

    For sample i of a side, m being the mean of the other side's parsed scores (Bradley & Terry 1952: the preferred
    answer wins with probability sigmoid of the difference in strength):

        preferred side   difference_i = z_i - m
        other side       difference_i = m - z_i
        pair_shared      difference   = mean of the preferred side - mean of the other, for every sample of both
        d_i              = clip(difference_i / temperature, clip_low, clip_high)
        reward_i         = weight * scale * (form(d_i) + offset)

        log_sigmoid      log sigmoid(d)              at most 0; -ln 2 for a tie, so that offset = ln 2 centres ties
        binary           1 for d > 0, 1/2 for a tie, 0 for d < 0
        graded           d / margin, between -1 and 1
        hard_margin      1 for d >= margin, else 0

        weight           max(hard_floor, 1 - hard_lambda * sigmoid(D / hard_tau)) of the pair, D being the difference of
                         its means divided by the temperature: pairs in the right order count less, as easy examples do
                         in the focal loss (Lin et al., arXiv 1708.02002)

    An unparsable sample gets `unparsable`, whatever scale, offset and weight are. Where a side has no score at all, the
    other side's samples get the reward of a difference of 0, and D is 0: nothing is known of the order.
    """
    scores = torch.where(parsed, scores.double(), 0.0)
    means = side_means(scores, parsed)
    both = means.isfinite().all(dim=1)  # [P]
    gap = means[:, 0] - means[:, 1]  # [P]
    gap = torch.where(gap.abs() <= EQUAL_MEANS, 0.0, gap)
    if how.pair_shared:
        difference = gap[:, None, None].expand_as(scores)
    else:
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64, device=scores.device)[:, None]
        difference = signs * (scores - means.flip(1)[:, :, None])
        difference = torch.where(difference.abs() <= EQUAL_MEANS, 0.0, difference)
    known = torch.where(both[:, None, None], difference, 0.0)
    d = (known / how.temperature).clamp(min=how.clip_low, max=how.clip_high) if _clips(how) else known / how.temperature
    weight = _weight(torch.where(both, gap, 0.0) / how.temperature, how)
    rewards = weight[:, None, None] * how.scale * (FORMS[how.form](d, how.margin) + how.offset)
    return PairwiseRewards(
        rewards=torch.where(parsed, rewards, how.unparsable),
        difference=torch.where(parsed & both[:, None, None], difference, torch.nan),
        d=torch.where(parsed, d, torch.nan),
        means=means,
        weight=weight,
    )


def side_means(scores: Tensor, parsed: Tensor) -> Tensor:
    """[P, 2] means over the parsed scores [P, 2, G] of each side; NaN for a side without any."""
    number = parsed.sum(dim=2)
    total = torch.where(parsed, scores.double(), 0.0).sum(dim=2)
    return torch.where(number > 0, total / number.clamp(min=1), torch.nan)


def pair_correct(means: Tensor) -> Tensor:
    """[P] of means [P, 2]: 1 where the preferred side's is higher, 1/2 for a tie or where a side has none, 0 else."""
    gap = means[:, 0] - means[:, 1]
    return _order(torch.where((gap.abs() <= EQUAL_MEANS) | gap.isnan(), 0.0, gap))


def pair_log_loss(means: Tensor, temperature: float) -> Tensor:
    """[P] -log sigmoid((mean of the preferred side - mean of the other) / temperature), nats.

    The Bradley-Terry log-loss of the pair, without clips: ln 2 for a tie, and where a side has no score."""
    return -F.logsigmoid((means[:, 0] - means[:, 1]).nan_to_num(0.0) / temperature)


def _order(d: Tensor) -> Tensor:
    return (d > 0).double() + 0.5 * (d == 0).double()


def _clips(how: PairwiseReward) -> bool:
    return how.clip_low is not None or how.clip_high is not None


def _weight(gap: Tensor, how: PairwiseReward) -> Tensor:
    return (1 - how.hard_lambda * torch.sigmoid(gap / how.hard_tau)).clamp(min=how.hard_floor)


FORMS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "log_sigmoid": lambda d, margin: F.logsigmoid(d),
    "binary": lambda d, margin: _order(d),
    "graded": lambda d, margin: (d / margin).clamp(-1.0, 1.0),
    "hard_margin": lambda d, margin: (d >= margin).double(),
}
"""form(d [...], margin) -> [...], before scale and offset."""
