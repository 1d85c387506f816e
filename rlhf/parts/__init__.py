"""What stages are built from: models, rewards, data, samplers, bookkeeping, each made when somebody first asks.

A trainer or an evaluation asks for parts by the names of its constructor's parameters, as tests ask for fixtures:

    class SFTTrainer:
        def __init__(self, config, *, policy, tokenizer, demonstrations, hardware, control, ...)

`build` reads those names and hands the parts in, so a new stage needs no line here unless it needs a new part. Parts
have a file a kind, whose class builds on the one before: common, models, rewards, data, sampling, everything.
"""

from rlhf.parts.data import first_of
from rlhf.parts.everything import Parts, build

__all__ = ["Parts", "build", "first_of"]
