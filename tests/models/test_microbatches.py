"""Cutting a batch keeps every answer once, groups whole where they fit, and the budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rlhf.models.microbatches import cut
from rlhf.types import Continuation, PackedBatch, TokenGroup

lengths = st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=5)), max_size=6)


def batch_of(sizes) -> PackedBatch:
    return PackedBatch(
        tuple(TokenGroup((1,) * prompt, tuple(Continuation((2,) * n) for n in answers)) for prompt, answers in sizes)
    )


def packed_tokens(part: PackedBatch) -> int:
    return sum(len(g.prompt_ids) + sum(len(c.ids) for c in g.continuations) for g in part.groups)


@given(lengths, st.integers(1, 80))
def test_every_answer_once_with_its_number_within_the_budget(sizes, budget):
    batch = batch_of(sizes)
    answers = [(g.prompt_ids, c) for g in batch.groups for c in g.continuations]
    seen = []
    for part, numbers in cut(batch, budget):
        assert [(g.prompt_ids, c) for g in part.groups for c in g.continuations] == [answers[n] for n in numbers]
        assert packed_tokens(part) <= budget or len(numbers) == 1
        seen += numbers
    assert sorted(seen) == list(range(batch.num_answers))


@given(lengths, st.integers(1, 80))
def test_groups_that_fit_stay_whole_and_kept_groups_always(sizes, budget):
    batch = batch_of(sizes)
    whole = {g for g in batch.groups if g.continuations and packed_tokens(PackedBatch((g,))) <= budget}
    assert whole <= {g for part, _ in cut(batch, budget) for g in part.groups}
    kept = [g for part, _ in cut(batch, budget, keep_groups=True) for g in part.groups]
    assert sorted(map(repr, kept)) == sorted(repr(g) for g in batch.groups if g.continuations)


def test_longest_first_so_that_like_lengths_share_a_piece():
    parts = cut(batch_of([(2, [1]), (2, [8]), (2, [1]), (2, [8])]), 20)
    assert [numbers for _, numbers in parts] == [[1, 3], [0, 2]]


def test_a_shared_prompt_counts_once():
    assert [numbers for _, numbers in cut(batch_of([(10, [2, 2, 2])]), 16)] == [[0, 1, 2]]
    assert [numbers for _, numbers in cut(batch_of([(10, [2, 3, 2])]), 15)] == [[0, 1], [2]]
