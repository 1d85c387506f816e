"""One process works as a group of one; several are refused."""

from __future__ import annotations

import pytest
import torch

from rlhf import distributed
from rlhf.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_one_process_is_a_group_of_one():
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    distributed.barrier()
    distributed.refuse_several_processes()
    assert distributed.all_reduce_sum(2.5) == 2.5
    tensor = torch.arange(3)
    assert torch.equal(distributed.all_reduce_sum(tensor), tensor)
    assert distributed.gather_objects(("a", "b")) == ["a", "b"]
    assert not torch.distributed.is_initialized()


def test_a_launcher_with_one_process_is_welcome(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    distributed.refuse_several_processes()


def test_several_processes_are_refused_and_never_quietly_wrong(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (1, 2, False)
    for call in (
        distributed.refuse_several_processes,
        distributed.barrier,
        lambda: distributed.all_reduce_sum(1.0),
        lambda: distributed.gather_objects([1]),
    ):
        with pytest.raises(ConfigError, match=r"one process.*WORLD_SIZE=2"):
            call()


def test_a_world_size_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE must be a whole number; got 'two'"):
        distributed.world_size()
