"""`pointwise:` of stage=pointwise: which prompts are exported, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.config.checks import at_least, one_of


@dataclass(frozen=True)
class PointwiseConfig:
    """conf/stage/pointwise.yaml, `pointwise:`."""

    split: str
    metadata: bool
    samples: int

    def __post_init__(self) -> None:
        one_of("pointwise.split", self.split, ("both", "train", "eval"))
        at_least("pointwise.samples", self.samples, 0)
