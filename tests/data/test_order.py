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


@pytest.mark.parametrize(("examples", "batch"), [(0, 1), (1, 0)])
def test_nothing_to_order_is_refused(examples, batch):
    with pytest.raises(DataError, match=f"{examples} examples, batch size {batch}"):
        ExampleOrder(examples, batch, seed=0)
