"""The decoding loop: prompts are read once, then one token a step for every answer still going.

Answers that end leave the batch; those that wait take their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rlhf.rollout.choice import choose_tokens
from rlhf.rollout.random_numbers import uniforms
from rlhf.rollout.stopping import StoppingRule
from rlhf.types import FinishReason, SamplingDistribution

COMPACT_BELOW = 0.9
"""Share of rows still going below which the others leave the batch: it costs a copy of the key-value cache."""
REFILL_FROM = 0.25
"""Share of the batch that must be free before waiting answers enter: reading few prompts at a time is slow."""


class Interrupted(Exception):
    """Sampling was ended from outside: nobody wants the answers any more."""


@dataclass
class Answer:
    """One answer while it is sampled."""

    prompt: int  # which prompt of the call
    key: int  # of its random numbers
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason | None = None


class Engine(Protocol):
    """A model with the key-value cache of the rows that it decodes."""

    device: torch.device
    refills: bool  # whether rows can enter while others are going

    def admit(self, prompts: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
        """Read each prompt once and append `counts` rows for it. Returns the new rows' next-token logits."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to every row. tokens [B] -> [B, V] logits of the token after it."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which come in this order from now on."""
        ...


class Decoder:
    """Fills answers in, at most `batch_size` at a time."""

    def __init__(
        self,
        engine: Engine,
        rule: StoppingRule,
        distribution: SamplingDistribution,
        batch_size: int,
        interrupted: Callable[[], bool] = lambda: False,
    ):
        """`interrupted` is asked before every token."""
        self.engine, self.interrupted = engine, interrupted
        self.rule = rule
        self.distribution = distribution
        self.batch_size = batch_size

    def decode(self, prompts: Sequence[tuple[int, ...]], answers: Sequence[Answer]) -> None:
        """Sample every answer to its end. `answers` of one prompt are neighbours. Raises Interrupted."""
        waiting = deque(self._groups(answers))
        going: list[Answer] = []
        tokens = torch.empty(0, dtype=torch.long, device=self.engine.device)
        while waiting or going:
            if self.interrupted():
                raise Interrupted
            left = [row for row, answer in enumerate(going) if answer.finish is None]
            refill = bool(waiting) and self._has_room(len(waiting[0]), len(left))
            if len(left) < len(going) and (refill or len(left) < COMPACT_BELOW * len(going)):
                self.engine.keep(left)
                tokens, going = tokens[left], [going[row] for row in left]
            if refill:
                new = self._next(waiting, self.batch_size - len(left))
                logits = self.engine.admit([prompts[group[0].prompt] for group in new], [len(group) for group in new])
                entered = [answer for group in new for answer in group]
                tokens, going = torch.cat([tokens, self._choose(entered, logits)]), going + entered
            elif going:
                tokens = self._choose(going, self.engine.step(tokens))

    def _groups(self, answers: Sequence[Answer]) -> list[list[Answer]]:
        """Answers of one prompt together, in pieces that fit the batch."""
        groups = [list(group) for _, group in groupby(answers, key=lambda answer: answer.prompt)]
        size = self.batch_size
        return [group[first : first + size] for group in groups for first in range(0, len(group), size)]

    def _has_room(self, needed: int, left: int) -> bool:
        free = self.batch_size - left
        return not left or (self.engine.refills and free >= max(needed, REFILL_FROM * self.batch_size))

    @staticmethod
    def _next(waiting: deque[list[Answer]], free: int) -> list[list[Answer]]:
        taken = []
        while waiting and len(waiting[0]) <= free:
            taken.append(waiting.popleft())
            free -= len(taken[-1])
        return taken

    def _choose(self, going: list[Answer], logits: Tensor) -> Tensor:
        """The next token of every row; noted in those answers that have not ended."""
        keys = np.array([answer.key for answer in going], dtype=np.uint64)
        draws = uniforms(keys, np.array([len(answer.ids) for answer in going]))
        draws = torch.from_numpy(draws.astype(np.float32)).to(logits.device)
        tokens, logprobs = choose_tokens(logits, draws, self.distribution)
        for answer, token, logprob in zip(going, tokens.tolist(), logprobs.tolist(), strict=True):
            if answer.finish is None:
                answer.ids.append(token)
                answer.logprobs.append(logprob)
                answer.finish = self.rule.finish(answer.ids)
        return tokens
