"""Proof that vLLM samples from the policy: both say how likely they find the same fixed row of tokens.

A delivery of weights can fail silently, in whole or in part (a head that stays as it was, an adapter that is not
applied), and the run would learn from answers of another policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from rlhf.errors import TripwireError
from rlhf.models.architecture import evaluation_mode, unwrap
from rlhf.models.forward import PackedForward
from rlhf.types import Continuation, PackedBatch, TokenGroup

PROBE_TEXT = (
    "The canary sings while the miners work: 3 + 4 = 7, say the lamps. If it falls silent, everyone must leave at "
    "once; nobody asks why, and the wheel stops turning until the air is clear again."
)
PROBE_TOKENS = 48
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.15}
"""Mean |difference| a token, nats. Round-off is far below in float32; docs/vllm.md has what was seen in bfloat16."""
ROUND_OFF = {"float32": 5e-5, "bfloat16": 0.1}
"""Nats a token by which the difference itself may change from one delivery to the next, under these tolerances."""
MAY_MISS = {"float32": 0.05, "bfloat16": 0.5}
"""Share of a move of the policy that the sampler may miss where that is more than round-off. A head that stayed tied
to what the embedding was misses a seventh; half is nearer to the weights before than to those after."""
STANDS_STILL = {"float32": 1e-6, "bfloat16": 1e-3}
"""A sampler whose values do not move at all, to the last bit, although the policy's moved by more, got nothing."""


def probe_ids(tokenizer: PreTrainedTokenizerBase, vocabulary: int, longest: int) -> tuple[int, ...]:
    """The fixed row, at most `longest` tokens."""
    ids = tokenizer(PROBE_TEXT, add_special_tokens=False)["input_ids"]
    known = [int(token) for token in ids if token < vocabulary]
    while 0 < len(known) < PROBE_TOKENS:
        known += known  # a vocabulary that makes few tokens of it
    return tuple(known[: min(PROBE_TOKENS, longest)])


@dataclass(frozen=True)
class Reading:
    """What was said of the probe after one delivery: log-probs [n - 1] of its tokens but the first, nats."""

    trainer: np.ndarray
    sampler: np.ndarray

    @property
    def error(self) -> float:
        """Mean |difference| a token, nats."""
        return float(np.abs(self.sampler - self.trainer).mean())


class Canary:
    """Compares sampler and trainer after each delivery."""

    def __init__(
        self,
        model: nn.Module,
        ids: Sequence[int],
        *,
        pad_token_id: int,
        dtype: str,
        tolerance: float | None,
    ) -> None:
        """`dtype`: of vLLM's weights. `tolerance`: nats a token; None takes TOLERANCE."""
        self.ids = tuple(ids)
        self.forward = PackedForward(model, pad_token_id=pad_token_id)
        stored = next(unwrap(model).parameters()).dtype
        coarse = "float32" if dtype == "float32" and stored == torch.float32 else "bfloat16"
        self.tolerance = TOLERANCE[coarse] if tolerance is None else tolerance
        self.round_off = ROUND_OFF[coarse] * self.tolerance / TOLERANCE[coarse]
        self.may_miss, self.still = MAY_MISS[coarse], STANDS_STILL[coarse]
        self.last: Reading | None = None

    @torch.no_grad()
    def trainer_values(self) -> np.ndarray:
        """[n - 1] log-probs by the policy as it is now, in the full precision of its weights: products in bf16 or TF32
        would add as much round-off as vLLM's."""
        batch = PackedBatch((TokenGroup(self.ids[:1], (Continuation(self.ids[1:]),)),))
        products = torch.get_float32_matmul_precision()
        try:
            torch.set_float32_matmul_precision("highest")
            with evaluation_mode(self.forward.model):
                return self.forward(batch).logprobs[0].double().cpu().numpy()
        finally:
            torch.set_float32_matmul_precision(products)

    def check(self, trainer: np.ndarray, sampler: Sequence[float], what: str) -> float:
        """The error in nats a token, remembered as the last reading.

        Raises TripwireError, with `what` happened, where sampler and trainer part."""
        reading = Reading(trainer, np.asarray(sampler, dtype=np.float64))
        why = self._parted(reading)
        if why:
            ours, theirs = reading.trainer.mean(), reading.sampler.mean()
            raise TripwireError(
                f"canary: after {what} the sampler is not the policy: it gives the probe {theirs:.5f} nats a token, "
                f"the trainer {ours:.5f}; {why} (docs/vllm.md)"
            )
        self.last = reading
        return reading.error

    def _parted(self, new: Reading) -> str | None:
        """What is wrong, or None."""
        if not np.isfinite(new.sampler).all() or not new.error <= self.tolerance:
            return f"they differ by {new.error:.3g} a token on average, more than {self.tolerance:g}"
        if self.last is None:
            return None
        trainer, sampler = new.trainer - self.last.trainer, new.sampler - self.last.sampler
        moved = float(np.abs(trainer).mean())
        if moved > self.still and not sampler.any():
            return f"the update moved the trainer by {moved:.3g} a token and the sampler not at all"
        missed = float(np.abs(sampler - trainer).mean())
        if missed > self.round_off and missed > self.may_miss * moved:
            near = ", nearer to the weights before than to those after" if missed > np.abs(sampler).mean() else ""
            words = f"the update moved the trainer by {moved:.3g} a token, and the sampler missed {missed:.3g} of it"
            return words + near
        return None
