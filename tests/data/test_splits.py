from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rlhf.data.splits import hold_out, prompt_key
from rlhf.errors import DataError
from rlhf.types import Message, PreferencePair, Prompt


def prompts(texts):
    return [Prompt(id=str(i), messages=(Message("user", text),)) for i, text in enumerate(texts)]


@given(
    texts=st.lists(st.integers(0, 30), min_size=2, max_size=80),
    fraction=st.floats(0.01, 0.9),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=80, deadline=None)
def test_a_partition_in_order_that_shares_no_prompt(texts, fraction, seed):
    examples = prompts(map(str, texts))
    if len(set(texts)) < 2:
        return
    train, held = hold_out(examples, [len(e.as_text()) for e in examples], fraction, seed)
    assert train and held
    assert sorted(train + held, key=lambda e: int(e.id)) == examples
    assert not {prompt_key(e) for e in train} & {prompt_key(e) for e in held}
    for side in (train, held):
        assert [int(e.id) for e in side] == sorted(int(e.id) for e in side)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.5, 0.8])
def test_both_sides_have_the_same_lengths(fraction):
    lengths = np.random.default_rng(0).lognormal(4, 1, 1000).astype(int).tolist()
    examples = prompts(f"{i}" for i in range(1000))
    by_id = {e.id: length for e, length in zip(examples, lengths, strict=True)}
    worst = 0.0
    for seed in range(10):
        train, held = hold_out(examples, lengths, fraction, seed)
        assert len(held) == fraction * 1000
        result = stats.ks_2samp([by_id[e.id] for e in train], [by_id[e.id] for e in held])
        worst = max(worst, result.statistic)
    assert worst < 0.03  # one in a stratum; an unstratified draw of 100 from 1000 reaches 0.13 in one of ten


def test_seeds_draw_differently_and_repeat():
    examples = prompts(map(str, range(100)))
    draws = [tuple(e.id for e in hold_out(examples, [1] * 100, 0.1, seed)[1]) for seed in (0, 1, 2, 0)]
    assert len(set(draws)) == 3
    assert draws[0] == draws[3]


def test_one_example_less_hardly_changes_the_draw():
    examples = prompts(map(str, range(400)))
    lengths = [i % 50 for i in range(400)]
    held = {e.id for e in hold_out(examples, lengths, 0.1, seed=0)[1]}
    fewer = {e.id for e in hold_out(examples[1:], lengths[1:], 0.1, seed=0)[1]}
    assert len(held & fewer) > 20  # of 40; two independent draws share 4


def test_pairs_of_one_prompt_stay_together():
    prompt, other = prompts(["a", "b"])
    pairs = [PreferencePair(p, "x", "y") for p in (prompt, other, prompt, prompt)]
    train, held = hold_out(pairs, [2, 2, 2, 2], 0.5, seed=0)
    assert {len(train), len(held)} == {1, 3}


def test_a_single_prompt_cannot_be_split():
    with pytest.raises(DataError, match="1 different prompts"):
        hold_out(prompts(["a", "a"]), [1, 1], 0.1, seed=0)
