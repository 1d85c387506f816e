"""`trainer:` of stage=dpo: which losses, and what each choice needs. Meaning, key by key: conf/stage/dpo.yaml."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlhf.config.checks import above, at_least, one_of, within
from rlhf.config.trainers import GivenAnswersConfig
from rlhf.errors import ConfigError

LOSSES = (
    "sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "exo_pair", "discopop", "nca_pair", "sppo_hard", "apo_zero",
    "apo_down", "bco_pair", "aot", "aot_unpaired", "simpo", "orpo", "sft",
)  # fmt: skip
"""The names of rlhf.algorithms.dpo, in the same order."""
WITHOUT_REFERENCE = ("simpo", "orpo", "sft")
OF_THE_DIFFERENCE = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "exo_pair", "discopop")
"""Losses of the difference of two scores, in which another f-divergence is defined."""
SMOOTHED = ("sigmoid", "sigmoid_norm", "robust", "exo_pair", "aot", "aot_unpaired", "simpo")
"""Losses whose formula has label_smoothing."""
DIVERGENCES = ("reverse_kl", "forward_kl", "js", "alpha")


@dataclass(frozen=True)
class DPOTrainerConfig(GivenAnswersConfig):
    """conf/stage/dpo.yaml."""

    loss: Any  # a name of LOSSES, or a mapping name: weight
    beta: float
    label_smoothing: float
    nll_coef: float
    ld_alpha: float | None
    gamma: float
    discopop_tau: float
    f_divergence: str
    f_alpha: float
    reference_free: bool
    precompute_reference: bool
    sync_every: int
    sync_alpha: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_losses(self.loss)
        above("trainer.beta", self.beta, 0)
        at_least("trainer.nll_coef", self.nll_coef, 0)
        if self.ld_alpha is not None:
            within("trainer.ld_alpha", self.ld_alpha, 0, 1)
        at_least("trainer.gamma", self.gamma, 0)
        above("trainer.discopop_tau", self.discopop_tau, 0)
        self._check_label_smoothing()
        self._check_divergence()
        self._check_reference()

    @property
    def loss_weights(self) -> dict[str, float]:
        """Loss name -> weight."""
        return {self.loss: 1.0} if isinstance(self.loss, str) else {k: float(v) for k, v in self.loss.items()}

    @property
    def loss_uses_reference(self) -> bool:
        """Whether a loss compares the policy with a reference model."""
        return not self.reference_free and any(name not in WITHOUT_REFERENCE for name in self.loss_weights)

    @property
    def rewards_per_token(self) -> bool:
        """Whether the implicit reward is beta times the log-prob a token: every loss knows no reference at all."""
        return all(name in WITHOUT_REFERENCE for name in self.loss_weights)

    @property
    def needs_reference(self) -> bool:
        """Whether a reference model is held beside the policy while it trains."""
        return (self.loss_uses_reference and not self.precompute_reference) or super().needs_reference

    def _check_label_smoothing(self) -> None:
        within("trainer.label_smoothing", self.label_smoothing, 0, 0.5)
        names = self.loss_weights
        if self.label_smoothing and not any(name in SMOOTHED for name in names):
            raise ConfigError(
                f"trainer.label_smoothing={self.label_smoothing} changes nothing with trainer.loss={_shown(names)}; "
                f"it belongs to {', '.join(SMOOTHED)}"
            )
        if "exo_pair" in names and self.label_smoothing == 0:
            raise ConfigError("trainer.loss=exo_pair needs trainer.label_smoothing above 0, such as 0.001; got 0")
        if "robust" in names and self.label_smoothing == 0.5:
            raise ConfigError("trainer.loss=robust divides by 1 - 2 label_smoothing: keep it below 0.5; got 0.5")

    def _check_divergence(self) -> None:
        one_of("trainer.f_divergence", self.f_divergence, DIVERGENCES)
        above("trainer.f_alpha", self.f_alpha, 0)
        within("trainer.f_alpha", self.f_alpha, 0, 1)
        if self.f_divergence == "reverse_kl":
            return
        unfit = [name for name in self.loss_weights if name not in OF_THE_DIFFERENCE and name != "sft"]
        if unfit:
            raise ConfigError(
                f"trainer.f_divergence={self.f_divergence} is defined for losses of the difference of two scores "
                f"({', '.join(OF_THE_DIFFERENCE)}), not for {', '.join(unfit)}; use reverse_kl"
            )
        if not self.loss_uses_reference:
            raise ConfigError(f"trainer.f_divergence={self.f_divergence} needs a reference; use reverse_kl")

    def _check_reference(self) -> None:
        at_least("trainer.sync_every", self.sync_every, 0, "0 leaves the reference as it is")
        above("trainer.sync_alpha", self.sync_alpha, 0)
        within("trainer.sync_alpha", self.sync_alpha, 0, 1)
        if self.sync_every and self.precompute_reference:
            raise ConfigError(
                "trainer.sync_every moves the reference, and trainer.precompute_reference computes it once; use one"
            )
        for key in ("sync_every", "precompute_reference"):
            if getattr(self, key) and not self.loss_uses_reference:
                raise ConfigError(
                    f"trainer.{key} has no reference to work on: trainer.loss={_shown(self.loss_weights)}, "
                    f"reference_free={str(self.reference_free).lower()} uses none"
                )


def _check_losses(loss: Any) -> None:
    """Raises ConfigError unless `loss` is a known name or a mapping of known names to numbers above 0."""
    if isinstance(loss, str):
        one_of("trainer.loss", loss, LOSSES)
        return
    if not isinstance(loss, Mapping) or not loss:
        raise ConfigError(f"trainer.loss must be a name or a mapping name: weight; got {loss!r}")
    for name, weight in loss.items():
        if name not in LOSSES:
            raise ConfigError(f"trainer.loss: {name!r} is not one of {', '.join(LOSSES)}")
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or weight <= 0:
            raise ConfigError(f"trainer.loss.{name} must be a weight above 0; got {weight!r}")


def _shown(names: Mapping[str, float]) -> str:
    return "+".join(names)
