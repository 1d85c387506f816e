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

    With `per_unit` above 1, so many consecutive examples are one unit, such as the two sides of a pair. All of the
    above then holds of units: each is whole in a batch, in the order of the data, and on one process.

    Example, 3 examples in batches of 2, unshuffled: batch(0) = [0, 1], batch(1) = [2, 0], batch(2) = [1, 2].
    """

    def __init__(
        self, num_examples: int, batch_size: int, *, seed: int, shuffle: bool = True, per_unit: int = 1
    ) -> None:
        """Raises DataError where there is nothing to order, or where the examples or a batch are no whole units."""
        if num_examples < 1 or batch_size < 1:
            raise DataError(
                f"an order needs examples and a batch size; got {num_examples} examples, batch size {batch_size}"
            )
        if num_examples % per_unit or batch_size % per_unit:
            raise DataError(
                f"examples and batches are made of units of {per_unit} that stay whole; got {num_examples} examples, "
                f"batch size {batch_size}"
            )
        self.per_unit = per_unit
        self.num_units = num_examples // per_unit
        self.units_per_batch = batch_size // per_unit
        self.seed = seed
        self.shuffle = shuffle
        self._last: tuple[int, np.ndarray] | None = None  # (epoch, its permutation), the newest computed
        self._before: tuple[int, np.ndarray] | None = None  # the epoch before it, which a batch may still need

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> list[int]:
        """The indices of the examples of `step`, counted from 0; `batch_size` of them, or the share of one process.

        The shares are contiguous, made of whole units, as even as they can be, and in order of rank the whole batch.
        Raises DataError for a rank that is none, and where there are more processes than units."""
        if not 0 <= rank < world_size:
            raise DataError(f"rank {rank} is not one of {world_size} processes, which are counted from 0")
        if world_size > self.units_per_batch:
            raise DataError(f"a batch of {self.units_per_batch} whole units cannot be shared by {world_size} processes")
        low, high = (self.units_per_batch * r // world_size for r in (rank, rank + 1))
        units = self._units(step)[low:high]
        return [unit * self.per_unit + member for unit in units for member in range(self.per_unit)]

    def epoch(self, step: int) -> float:
        """Passes over the data finished before `step`, as a fraction: 1.5 is the middle of the second pass."""
        return step * self.units_per_batch / self.num_units

    def steps_for(self, num_epochs: float) -> int:
        """Steps until every example was visited `num_epochs` times, at least 1; the last may begin the next epoch."""
        return max(1, math.ceil(num_epochs * self.num_units / self.units_per_batch - 1e-9))

    def _units(self, step: int) -> list[int]:
        """The numbers of the units of `step`."""
        first = step * self.units_per_batch
        units: list[int] = []
        while len(units) < self.units_per_batch:
            epoch, offset = divmod(first + len(units), self.num_units)
            missing = self.units_per_batch - len(units)
            units.extend(self._permutation(epoch)[offset : offset + missing].tolist())
        return units

    def _permutation(self, epoch: int) -> np.ndarray:
        """[num_units] the order of `epoch`. Each depends on the one before; a late first call walks there once."""
        if not self.shuffle:
            return np.arange(self.num_units)
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
        return np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(self.num_units)

    def _follow(self, previous: np.ndarray, epoch: int) -> np.ndarray:
        """The shuffle of `epoch`, with what the straddling batch already holds moved behind that batch."""
        order = self._shuffled(epoch)
        held = epoch * self.num_units % self.units_per_batch  # units of `previous` in the batch that straddles
        if held == 0 or self.units_per_batch > self.num_units:
            return order
        taken = np.isin(order, previous[self.num_units - held :])
        head = order[~taken][: self.units_per_batch - held]
        rest = order[~np.isin(order, head)]
        return np.concatenate([head, rest])
