import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.algorithms.aggregation import masked_sum, token_mean


def test_token_mean_by_hand():
    values = torch.tensor([[1.0, 2.0, 9.0], [4.0, 9.0, 9.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert token_mean(values, mask, num_tokens=3).item() == (1 + 2 + 4) / 3


def test_what_stands_under_the_mask_moves_neither_value_nor_gradient():
    values = torch.tensor([[1.0, float("-inf")], [2.0, float("nan")]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, False], [True, False]])
    total = masked_sum(values, mask)
    total.backward()
    assert total.item() == 3.0
    torch.testing.assert_close(values.grad, torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64))


def test_nothing_to_average_gives_zero():
    assert token_mean(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool), num_tokens=0).item() == 0.0


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.sampled_from([1, 2, 3]), st.integers(0, 2**31))
def test_any_cut_of_the_batch_gives_the_same_mean(lengths, size, seed):
    values = torch.randn(len(lengths), 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    tokens = sum(lengths)
    whole = token_mean(values, mask, num_tokens=tokens)
    parts = [token_mean(v, m, num_tokens=tokens) for v, m in zip(values.split(size), mask.split(size), strict=True)]
    assert sum(p.item() for p in parts) == pytest.approx(whole.item(), abs=1e-12)
