"""The in-place cache against transformers' growing one."""

from __future__ import annotations

import torch
from transformers import DynamicCache

from rlhf.rollout.cache import InPlaceLayer, new_cache


def test_columns_rows_and_regrowth_equal_concatenation(monkeypatch):
    monkeypatch.setattr("rlhf.rollout.cache.GROWTH", 2)
    generator = torch.Generator().manual_seed(0)
    ours, theirs = InPlaceLayer(), DynamicCache()
    rows = 2
    for columns, keep in [
        (3, [0, 0, 1, 1, 1]),
        (1, None),
        (1, [4, 0, 2]),
        (1, None),
        (5, [2, 1]),
        (1, [1]),
        (40, None),
    ]:
        new = torch.randn(2, rows, 2, columns, 4, generator=generator)
        found = ours.update(new[0], new[1])
        expected = theirs.update(new[0], new[1], 0)
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
        assert ours.get_seq_length() == theirs.get_seq_length()
        if keep:
            rows = len(keep)
            ours.reorder_cache(torch.tensor(keep))
            theirs.reorder_cache(torch.tensor(keep))
            assert torch.equal(ours.keys, theirs.layers[0].keys) and torch.equal(ours.values, theirs.layers[0].values)


def test_recurrent_layers_get_the_cache_that_knows_them(tiny_model):
    config = tiny_model().config
    assert isinstance(new_cache(config), type(new_cache(config))) and not isinstance(new_cache(config), DynamicCache)
    config.layer_types = ["linear_attention", "full_attention"]
    assert isinstance(new_cache(config), DynamicCache)
