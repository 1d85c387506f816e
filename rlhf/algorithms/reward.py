"""Reward modelling: the Bradley-Terry likelihood of human preferences."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def bradley_terry_loss(
    chosen: Tensor,
    rejected: Tensor,
    *,
    num_pairs: int,
    margin: Tensor | None = None,
    label_smoothing: float = 0.0,
    centering_coef: float = 0.0,
) -> Tensor:
    """Negative log-likelihood of P(chosen > rejected) = sigmoid(chosen - rejected).

    Bradley & Terry 1952; as a reward-model loss Ouyang et al., arXiv 2203.02155, eq. 1.

    P pairs of this micro-batch.
        chosen, rejected  [P]  scores, in nats of log-odds
        num_pairs         int  pairs in the WHOLE optimiser step, so that any split gives the same gradient
        margin            [P]  subtracted from the difference (Llama 2, arXiv 2307.09288, eq. 2)
        label_smoothing   e    probability that a label is wrong: (1 - e) * -log s(d) + e * -log s(-d)
                               (the conservative likelihood of Mitchell's cDPO note, applied to rewards)
        centering_coef    c    adds c * (chosen + rejected)^2 a pair, which holds scores near zero (Eisenstein et al.,
                               arXiv 2312.09244, eq. 2); a Bradley-Terry likelihood alone leaves their level free
    Returns a scalar; log 2 where the two scores are equal."""
    difference = chosen - rejected  # [P]
    if margin is not None:
        difference = difference - margin
    loss = -F.logsigmoid(difference)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * F.logsigmoid(-difference)
    if centering_coef:
        loss = loss + centering_coef * (chosen + rejected).square()
    return loss.sum() / num_pairs
