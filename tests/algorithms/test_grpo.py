import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.algorithms.grpo import grpo_loss

CLIP = {"clip_low": 0.2, "clip_high": 0.2}


def ragged(lengths, width, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    new, old, ref = (-torch.rand(len(lengths), width, dtype=torch.float64, generator=generator) * 3 for _ in range(3))
    return new, old, ref, torch.randn(len(lengths), dtype=torch.float64, generator=generator), mask


def test_on_policy_the_gradient_is_reinforce():
    new, _, _, advantages, mask = ragged([3, 1, 2], 3, seed=0)
    new.requires_grad_(True)
    grpo_loss(new, new.detach(), advantages, mask, **CLIP, num_tokens=6).loss.backward()
    torch.testing.assert_close(new.grad, -advantages[:, None] * mask / 6)


def test_on_policy_the_loss_is_minus_the_mean_advantage_over_tokens():
    new, _, _, advantages, mask = ragged([3, 1, 2], 3, seed=1)
    out = grpo_loss(new, new, advantages, mask, **CLIP, num_tokens=6)
    assert out.loss.item() == pytest.approx(-(advantages * torch.tensor([3, 1, 2])).sum().item() / 6, abs=1e-12)
    assert out.clipped_tokens.item() == 0 and out.log_ratio_sum.item() == 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "clipped"),
    [
        (1.5, 1.0, -1.2, 1),  # gain beyond the interval is cut
        (1.5, -1.0, 1.5, 0),  # a worse answer that became likelier is pulled back in full
        (0.5, -1.0, 0.8, 1),
        (0.5, 1.0, -0.5, 0),
        (1.1, 1.0, -1.1, 0),
    ],
)
def test_the_clip_by_hand(ratio, advantage, expected, clipped):
    new = torch.tensor([[math.log(ratio)]], dtype=torch.float64)
    out = grpo_loss(new, torch.zeros_like(new), torch.tensor([advantage], dtype=torch.float64),
                    torch.ones(1, 1, dtype=torch.bool), **CLIP, num_tokens=1)  # fmt: skip
    assert out.loss.item() == pytest.approx(expected, abs=1e-12)
    assert out.clipped_tokens.item() == clipped


def test_the_penalty_is_k3_per_token():
    new, _, ref, advantages, mask = ragged([2, 3], 3, seed=2)
    plain = grpo_loss(new, new, advantages, mask, **CLIP, num_tokens=5)
    out = grpo_loss(new, new, advantages, mask, **CLIP, num_tokens=5, kl_coef=0.3, reference_logprobs=ref)
    d = (ref - new)[mask]
    k3 = (d.exp() - 1 - d).sum().item()
    assert out.kl_ref_sum.item() == pytest.approx(k3, abs=1e-9)
    assert (out.loss - plain.loss).item() == pytest.approx(0.3 * k3 / 5, abs=1e-9)


def test_the_reference_alone_is_only_measured():
    new, _, ref, advantages, mask = ragged([2, 3], 3, seed=3)
    plain = grpo_loss(new, new, advantages, mask, **CLIP, num_tokens=5)
    measured = grpo_loss(new, new, advantages, mask, **CLIP, num_tokens=5, reference_logprobs=ref)
    assert measured.loss.item() == plain.loss.item()


def test_masked_positions_are_inert():
    new, old, ref, advantages, mask = ragged([2, 1], 3, seed=4)
    poison = lambda x: torch.where(mask, x, float("-inf")).requires_grad_(True)  # noqa: E731
    spoiled = poison(new)
    clean = new.clone().requires_grad_(True)
    a = grpo_loss(clean, old, advantages, mask, **CLIP, num_tokens=3, kl_coef=0.1, reference_logprobs=ref).loss
    b = grpo_loss(spoiled, poison(old).detach(), advantages, mask, **CLIP, num_tokens=3, kl_coef=0.1,
                  reference_logprobs=poison(ref).detach()).loss  # fmt: skip
    a.backward()
    b.backward()
    assert a.item() == b.item()
    torch.testing.assert_close(spoiled.grad, clean.grad)
    assert spoiled.grad[~mask].eq(0).all()


@given(st.lists(st.integers(1, 5), min_size=2, max_size=7), st.integers(1, 3), st.integers(0, 2**31))
def test_any_cut_gives_the_same_loss_and_gradient(lengths, size, seed):
    new, old, ref, advantages, mask = ragged(lengths, 5, seed)
    tokens = sum(lengths)

    def gradient(pieces):
        x = new.clone().requires_grad_(True)
        total = 0.0
        for rows in pieces:
            part = grpo_loss(x[rows], old[rows], advantages[rows], mask[rows], **CLIP, num_tokens=tokens,
                             kl_coef=0.1, reference_logprobs=ref[rows]).loss  # fmt: skip
            part.backward()
            total += part.item()
        return total, x.grad

    whole, grad = gradient([torch.arange(len(lengths))])
    parts, cut_grad = gradient(torch.arange(len(lengths)).split(size))
    assert parts == pytest.approx(whole, abs=1e-10)
    torch.testing.assert_close(cut_grad, grad)


def test_gradient_by_finite_differences():
    new, old, ref, advantages, mask = ragged([2, 3], 3, seed=5)
    new.requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda x: grpo_loss(x, old, advantages, mask, clip_low=0.9, clip_high=30.0, num_tokens=5, kl_coef=0.2,
                            reference_logprobs=ref).loss, (new,))  # fmt: skip
