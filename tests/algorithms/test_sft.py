import math

import pytest
import torch

from rlhf.algorithms.sft import sft_loss


def test_uniform_model_costs_log_vocabulary():
    logprobs = torch.full((2, 4), -math.log(7), dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    assert sft_loss(logprobs, mask, num_tokens=4).item() == pytest.approx(math.log(7), abs=1e-12)


def test_gradient_reaches_counted_tokens_only_and_equally():
    logprobs = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    sft_loss(logprobs, torch.tensor([[True, False, True]]), num_tokens=2).backward()
    torch.testing.assert_close(logprobs.grad, torch.tensor([[-0.5, 0.0, -0.5]], dtype=torch.float64))
