import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.algorithms.logprobs import token_entropy, token_logprobs, warp_logits
from rlhf.types import SamplingDistribution

LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64).log()


def kept(distribution, keep=None):
    return warp_logits(LOGITS, distribution, keep).isfinite()[0].tolist()


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (SamplingDistribution(), [True] * 4),
        (SamplingDistribution(top_k=2), [True, True, False, False]),
        (SamplingDistribution(top_k=9), [True] * 4),
        (SamplingDistribution(top_p=0.5), [True, False, False, False]),
        (SamplingDistribution(top_p=0.51), [True, True, False, False]),
        (SamplingDistribution(top_p=0.9), [True, True, True, False]),
        (SamplingDistribution(top_p=1e-6), [True, False, False, False]),
        (SamplingDistribution(top_k=3, top_p=0.99), [True, True, True, False]),
    ],
)
def test_which_tokens_stay(distribution, expected):
    assert kept(distribution) == expected


def test_a_kept_token_is_never_removed():
    assert kept(SamplingDistribution(top_k=1), torch.tensor([3])) == [True, False, False, True]
    assert kept(SamplingDistribution(top_p=0.5), torch.tensor([2])) == [True, False, True, False]


def test_temperature_sharpens():
    half = warp_logits(LOGITS, SamplingDistribution(temperature=0.5)).softmax(-1)[0]
    squares = LOGITS.exp().square()[0]
    torch.testing.assert_close(half, squares / squares.sum())


def test_entropy_by_hand_and_with_removed_tokens():
    assert token_entropy(torch.zeros(1, 8, dtype=torch.float64)).item() == pytest.approx(math.log(8), abs=1e-12)
    assert token_entropy(warp_logits(LOGITS, SamplingDistribution(top_k=1))).item() == 0.0


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=10), st.floats(0.1, 3), st.floats(0.05, 1), st.integers(0, 10))
def test_what_stays_is_a_distribution(row, temperature, top_p, top_k):
    logits = torch.tensor([row], dtype=torch.float64)
    warped = warp_logits(logits, SamplingDistribution(temperature, top_k, top_p))
    assert warped.softmax(-1).sum().item() == pytest.approx(1.0, abs=1e-9)
    assert warped[0, logits.argmax()].isfinite()
    targets = warped.argmax(-1)
    assert token_logprobs(warped, targets).item() == pytest.approx(warped.softmax(-1).max().log().item(), abs=1e-9)
