import pytest
import torch

from rlhf.algorithms.kl import k1, k3

P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
EXACT = (P * (P / Q).log()).sum().item()


@pytest.mark.parametrize("estimator", [k1, k3])
def test_the_expectation_is_the_exact_divergence(estimator):
    assert (P * estimator(P.log(), Q.log())).sum().item() == pytest.approx(EXACT, abs=1e-12)


@pytest.mark.parametrize("estimator", [k1, k3])
def test_zero_where_the_distributions_agree(estimator):
    assert estimator(P.log(), P.log()).abs().max().item() == 0.0


def test_k3_is_never_negative_and_keeps_its_digits_near_zero():
    log_ratio = torch.tensor([1e-9, -1e-9, 1e-7], dtype=torch.float64)
    value = k3(torch.zeros(3, dtype=torch.float64), log_ratio)
    assert (value >= 0).all()
    x = 1e-3
    series = torch.tensor([x**2 / 2 + x**3 / 6 + x**4 / 24], dtype=torch.float64)
    torch.testing.assert_close(k3(torch.zeros(1, dtype=torch.float64), torch.tensor([x], dtype=torch.float64)), series)


def test_k3_gradient_at_equality_is_zero():
    logprobs = P.log().clone().requires_grad_(True)
    k3(logprobs, P.log()).sum().backward()
    assert logprobs.grad.abs().max().item() == 0.0
