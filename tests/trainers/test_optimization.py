import math

import pytest
import torch

from rlhf.config.compose import compose
from rlhf.errors import TripwireError
from rlhf.trainers.optimization import Optimization, lr_factor


def test_schedules_by_hand():
    factors = [lr_factor(i, schedule="linear", warmup=2, total=6) for i in range(6)]
    assert factors == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert lr_factor(4, schedule="cosine", warmup=2, total=6) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert lr_factor(100, schedule="constant", warmup=0, total=6) == 1.0
    assert lr_factor(0, schedule="cosine", warmup=0, total=1) == 1.0
    assert lr_factor(9, schedule="linear", warmup=0, total=6) == 0.0


def linear(*overrides):
    model = torch.nn.Linear(2, 1).double()
    config = compose(["stage=sft", "trainer.warmup_steps=0", "trainer.lr_schedule=constant", *overrides]).trainer
    return model, Optimization(model, config, total_updates=10)


def test_the_clip_bounds_the_gradient_and_reports_its_norm():
    model, optimization = linear("trainer.max_grad_norm=1.0", "trainer.adam_beta1=0.0", "trainer.adam_beta2=0.0")
    model.weight.grad = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    model.bias.grad = torch.zeros(1, dtype=torch.float64)
    assert optimization.step()["policy/grad_norm"] == pytest.approx(5.0)


def test_a_broken_gradient_leaves_the_weights_alone():
    model, optimization = linear()
    before = model.weight.detach().clone()
    model.weight.grad = torch.tensor([[float("nan"), 1.0]], dtype=torch.float64)
    with pytest.raises(TripwireError, match="gradient norm is nan"):
        optimization.step()
    assert torch.equal(model.weight, before)


def test_decay_shrinks_matrices_and_spares_vectors():
    model, optimization = linear("trainer.weight_decay=0.5", "trainer.learning_rate=0.1")
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    model.weight.grad, model.bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    optimization.step()
    torch.testing.assert_close(model.weight, weight * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias, bias)


def test_state_continues_the_schedule_and_the_moments():
    def run(split):
        torch.manual_seed(0)
        model, optimization = linear("trainer.learning_rate=0.01", "trainer.lr_schedule=linear")
        for i in range(6):
            if i == split:
                state = optimization.state_dict()
                optimization = Optimization(model, optimization.config, total_updates=10)
                optimization.load_state_dict(state)
            (model(torch.tensor([[1.0, i]], dtype=torch.float64)) ** 2).sum().backward()
            optimization.step()
        return model.weight.detach()

    assert torch.equal(run(split=None), run(split=3))
