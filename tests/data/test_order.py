from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.data.order import ExampleOrder
from rlhf.errors import DataError

sizes = {"num_examples": st.integers(1, 30), "batch_size": st.integers(1, 40), "seed": st.integers(0, 2**40)}


def visited(order: ExampleOrder, steps: int) -> list[int]:
    return [index for step in range(steps) for index in order.batch(step)]


@given(**sizes, shuffle=st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_epoch_visits_every_example_once(num_examples, batch_size, seed, shuffle):
    order = ExampleOrder(num_examples, batch_size, seed=seed, shuffle=shuffle)
    sequence = visited(order, -(-4 * num_examples // batch_size))
    for epoch in range(4):
        assert sorted(sequence[epoch * num_examples : (epoch + 1) * num_examples]) == list(range(num_examples))


@given(**sizes, step=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_batch_depends_on_its_step_alone(num_examples, batch_size, seed, step):
    walked = ExampleOrder(num_examples, batch_size, seed=seed)
    for earlier in range(step):
        walked.batch(earlier)
    resumed = ExampleOrder(num_examples, batch_size, seed=seed)
    expected = walked.batch(step)
    assert resumed.batch(step) == expected
    resumed.batch(step + 7)
    assert resumed.batch(step) == expected  # going back is allowed too


@given(**sizes)
@settings(max_examples=60, deadline=None)
def test_no_example_twice_in_a_batch_that_the_data_can_fill(num_examples, batch_size, seed):
    order = ExampleOrder(num_examples, batch_size, seed=seed)
    for step in range(12):
        batch = order.batch(step)
        assert len(batch) == batch_size
        assert len(set(batch)) == min(batch_size, num_examples) or batch_size > num_examples


def test_a_batch_larger_than_the_data_repeats_examples_as_evenly_as_it_can():
    batch = ExampleOrder(3, 7, seed=0).batch(0)  # two passes and one more example
    assert sorted(batch.count(i) for i in range(3)) == [2, 2, 3]


def test_seeds_and_epochs_give_different_orders():
    orders = [tuple(ExampleOrder(50, 50, seed=seed).batch(step)) for seed in range(5) for step in range(5)]
    assert len(set(orders)) == 25


def test_each_position_is_equally_likely_for_each_example():
    first = [ExampleOrder(4, 3, seed=seed).batch(2)[0] for seed in range(2000)]  # position 6: the second epoch's third
    counts = [first.count(i) for i in range(4)]
    assert sum((c - 500) ** 2 / 500 for c in counts) < 16.27  # chi squared, 3 degrees of freedom, p = 0.001


def test_without_shuffling_the_order_is_that_of_the_file():
    order = ExampleOrder(3, 2, seed=0, shuffle=False)
    assert [order.batch(step) for step in range(3)] == [[0, 1], [2, 0], [1, 2]]


def test_epochs_and_steps():
    order = ExampleOrder(10, 4, seed=0)
    assert order.epoch(0) == 0.0
    assert order.epoch(5) == 2.0  # 20 examples seen of 10
    assert order.steps_for(1) == 3  # 10 / 4, rounded up
    assert order.steps_for(2) == 5  # 20 / 4
    assert order.steps_for(0.01) == 1
    assert ExampleOrder(10, 1, seed=0).steps_for(0.3) == 3  # 0.3 * 10 is 3.0000000000000004 in some roundings


def test_units_stay_whole_and_in_the_order_of_the_data():
    order = ExampleOrder(6, 4, seed=0, shuffle=False, per_unit=2)
    assert [order.batch(step) for step in range(3)] == [[0, 1, 2, 3], [4, 5, 0, 1], [2, 3, 4, 5]]
    assert (order.epoch(3), order.steps_for(1)) == (2.0, 2)  # 12 examples of 6; 6 / 4, rounded up


@given(
    num_units=st.integers(1, 12),
    units_per_batch=st.integers(1, 12),
    per_unit=st.integers(1, 3),
    world_size=st.integers(1, 6),
    seed=st.integers(0, 2**40),
    shuffle=st.booleans(),
    step=st.integers(0, 40),
)
@settings(max_examples=200, deadline=None)
def test_every_unit_is_whole_in_one_step_and_on_one_process(
    num_units, units_per_batch, per_unit, world_size, seed, shuffle, step
):
    """Whatever the batch, the epoch it reaches over, the step that a run is resumed at, and the number of processes."""
    world_size = min(world_size, units_per_batch)
    sizes = (num_units * per_unit, units_per_batch * per_unit)
    walked = ExampleOrder(*sizes, seed=seed, shuffle=shuffle, per_unit=per_unit)
    for earlier in range(step):
        walked.batch(earlier)
    shares = [
        ExampleOrder(*sizes, seed=seed, shuffle=shuffle, per_unit=per_unit).batch(step, rank, world_size)
        for rank in range(world_size)
    ]  # a fresh order each, as after a resume
    batch = [index for share in shares for index in share]
    assert batch == walked.batch(step)
    units = ExampleOrder(num_units, units_per_batch, seed=seed, shuffle=shuffle).batch(step)
    assert batch == [unit * per_unit + member for unit in units for member in range(per_unit)]
    for share in shares:
        starts = share[::per_unit]
        assert all(start % per_unit == 0 for start in starts)
        assert share == [start + member for start in starts for member in range(per_unit)]
    lengths = [len(share) // per_unit for share in shares]
    assert max(lengths) - min(lengths) <= 1 <= min(lengths)


@pytest.mark.parametrize(("examples", "batch"), [(5, 4), (6, 3)])
def test_sizes_that_cut_a_unit_are_refused(examples, batch):
    with pytest.raises(DataError, match=f"units of 2 that stay whole; got {examples} examples, batch size {batch}"):
        ExampleOrder(examples, batch, seed=0, per_unit=2)


def test_a_batch_has_a_unit_for_every_process():
    order = ExampleOrder(8, 4, seed=0, per_unit=2)
    with pytest.raises(DataError, match="a batch of 2 whole units cannot be shared by 3 processes"):
        order.batch(0, 0, 3)
    for rank in (-1, 2):
        with pytest.raises(DataError, match=f"rank {rank} is not one of 2 processes"):
            order.batch(0, rank, 2)


@pytest.mark.parametrize(("examples", "batch"), [(0, 1), (1, 0)])
def test_nothing_to_order_is_refused(examples, batch):
    with pytest.raises(DataError, match=f"{examples} examples, batch size {batch}"):
        ExampleOrder(examples, batch, seed=0)
