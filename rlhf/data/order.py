"""The order in which examples are visited: a pure function of the step, so that nothing has to be stored to resume."""

from __future__ import annotations

import math

import numpy as np

from rlhf.errors import DataError


class ExampleOrder:
    """Which examples make up the batch of each step.

    The examples form one endless sequence of epochs, each a permutation of all of them, cut into batches of
    `batch_size`. A batch may reach over the end of an epoch. It then holds no example twice: the new epoch's
    permutation is rearranged so that the examples already in that batch come later. Only `batch_size > num_examples`
    repeats examples in a batch.

    Example, 3 examples in batches of 2, unshuffled: batch(0) = [0, 1], batch(1) = [2, 0], batch(2) = [1, 2].
    """

    def __init__(self, num_examples: int, batch_size: int, *, seed: int, shuffle: bool = True) -> None:
        """Raises DataError where there is nothing to order."""
        if num_examples < 1 or batch_size < 1:
            raise DataError(
                f"an order needs examples and a batch size; got {num_examples} examples, batch size {batch_size}"
            )
        self.num_examples = num_examples
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self._last: tuple[int, np.ndarray] | None = None  # (epoch, its permutation), the newest computed
        self._before: tuple[int, np.ndarray] | None = None  # the epoch before it, which a batch may still need

    def batch(self, step: int) -> list[int]:
        """The indices of the examples of `step`, counted from 0; `batch_size` of them."""
        first = step * self.batch_size
        indices: list[int] = []
        while len(indices) < self.batch_size:
            epoch, offset = divmod(first + len(indices), self.num_examples)
            missing = self.batch_size - len(indices)
            indices.extend(self._permutation(epoch)[offset : offset + missing].tolist())
        return indices

    def epoch(self, step: int) -> float:
        """Passes over the data finished before `step`, as a fraction: 1.5 is the middle of the second pass."""
        return step * self.batch_size / self.num_examples

    def steps_for(self, num_epochs: float) -> int:
        """Steps until every example was visited `num_epochs` times, at least 1; the last may begin the next epoch."""
        return max(1, math.ceil(num_epochs * self.num_examples / self.batch_size - 1e-9))

    def _permutation(self, epoch: int) -> np.ndarray:
        """[num_examples] the order of `epoch`. Each depends on the one before; a late first call walks there once."""
        if not self.shuffle:
            return np.arange(self.num_examples)
        for known in (self._last, self._before):
            if known is not None and known[0] == epoch:
                return known[1]
        if self._last is None or self._last[0] > epoch:
            self._last = (0, self._shuffled(0))
            self._before = None
        while self._last[0] < epoch:
            number, previous = self._last
            self._before = self._last
            self._last = (number + 1, self._follow(previous, number + 1))
        return self._last[1]

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(self.num_examples)

    def _follow(self, previous: np.ndarray, epoch: int) -> np.ndarray:
        """The shuffle of `epoch`, with what the straddling batch already holds moved behind that batch."""
        order = self._shuffled(epoch)
        held = epoch * self.num_examples % self.batch_size  # examples of `previous` in the batch that straddles
        if held == 0 or self.batch_size > self.num_examples:
            return order
        taken = np.isin(order, previous[self.num_examples - held :])
        head = order[~taken][: self.batch_size - held]
        rest = order[~np.isin(order, head)]
        return np.concatenate([head, rest])
