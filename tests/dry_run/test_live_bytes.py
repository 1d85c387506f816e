import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from rlhf.dry_run.live_bytes import LiveBytes, bytes_of


def test_bytes_are_counted_while_they_are_held():
    with FakeTensorMode():
        weight = torch.empty(10, 10)
        with LiveBytes(held=[weight]) as live:
            kept = weight * 2
            assert live.now == 400
            gone = kept @ weight
            assert live.now == 800
            del gone
            view = kept[1:]
            weight.t()
            assert (live.now, live.peak) == (400, 800)
            del kept, view
            assert live.now == 0


def test_backward_frees_activations_and_makes_gradients():
    with FakeTensorMode():
        weight = torch.empty(100, 100, requires_grad=True)
        with LiveBytes(held=[weight]) as live:
            out = (torch.empty(50, 100) @ weight).exp().sum()
            before = live.now
            assert before >= 2 * 50 * 100 * 4  # the input and the exponential
            out.backward()
            del out
        assert live.now == 100 * 100 * 4 and live.peak >= before


def test_tied_weights_are_one():
    with FakeTensorMode():
        weight = torch.empty(3, 4)
        assert bytes_of([weight, weight.t(), torch.empty(2)]) == 56
