"""Which checkpoint is used, kept and removed; damage is recognised."""

from __future__ import annotations

import json
import logging
import os
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from rlhf.checkpoint import Checkpointer
from rlhf.errors import CheckpointError


def checkpointer(folder, **options) -> Checkpointer:
    return Checkpointer(folder, **{"keep": 2, "select_on": None, "select_mode": "max"} | options)


def save_steps(saver: Checkpointer, steps, values=None) -> None:
    for index, step in enumerate(steps):
        metrics = {"eval/reward_mean": values[index]} if values else {}
        saver.save(step, {"counters": {"step": step}}, metrics)


def folders(path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir())


def flip_byte(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_there_is_nothing_to_load_in_an_empty_or_absent_folder(tmp_path):
    assert checkpointer(tmp_path).load({}) is None
    assert checkpointer(tmp_path / "absent").load({}) is None
    assert checkpointer(tmp_path / "absent").best() is None


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "counters.json", "rng.pt", "manifest.json"])
def test_one_flipped_bit_in_any_file_is_recognised_and_the_one_before_used(tmp_path, caplog, name):
    model = nn.Linear(3, 2)
    state = {"model": model, "optimizer": torch.optim.AdamW(model.parameters()), "counters": {"step": 1}}
    saver, before = checkpointer(tmp_path), model.weight.detach().clone()
    saver.save(1, state, {})
    with torch.no_grad():
        model.weight.zero_()
    state["counters"]["step"] = 2
    flip_byte(saver.save(2, state, {}) / name)
    with caplog.at_level(logging.WARNING, logger="rlhf"):
        assert checkpointer(tmp_path).load(state) == 1
    assert torch.equal(model.weight, before) and state["counters"] == {"step": 1}
    assert "step 2" in caplog.text and name in caplog.text


@pytest.mark.parametrize("name", ["counters.json", "manifest.json"])
def test_a_missing_file_is_recognised(tmp_path, caplog, name):
    saver = checkpointer(tmp_path)
    save_steps(saver, [1, 2])
    (tmp_path / "step-000002" / name).unlink()
    assert checkpointer(tmp_path).load({}) == 1
    assert name in caplog.text


def test_a_half_written_folder_is_named_ignored_and_removed_by_the_next_save(tmp_path, caplog):
    save_steps(checkpointer(tmp_path), [1])
    half = tmp_path / "step-000002.tmp-99-abc"
    shutil.copytree(tmp_path / "step-000001", half)
    saver = checkpointer(tmp_path)
    assert saver.load({}) == 1
    assert half.name in caplog.text
    save_steps(saver, [2])
    assert folders(tmp_path) == ["step-000001", "step-000002"]


def test_a_failure_before_the_rename_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    saver = checkpointer(tmp_path, keep=1)
    save_steps(saver, [1])
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError("disk gone")))
    with pytest.raises(OSError, match="disk gone"):
        save_steps(saver, [2])
    monkeypatch.undo()
    assert folders(tmp_path) == ["step-000001"]
    assert checkpointer(tmp_path).load({}) == 1


def test_without_the_index_everything_is_found_and_the_next_save_writes_it_again(tmp_path):
    saver = checkpointer(tmp_path, select_on="eval/reward_mean")
    save_steps(saver, [1, 2], [5.0, 3.0])
    index = json.loads((tmp_path / "index.json").read_text())
    assert index == {
        "latest": 2,
        "best": {"step": 1, "value": 5.0, "metric": "eval/reward_mean"},
        "all": [
            {"step": 1, "folder": "step-000001", "value": 5.0},
            {"step": 2, "folder": "step-000002", "value": 3.0},
        ],
    }
    (tmp_path / "index.json").unlink()
    again = checkpointer(tmp_path, select_on="eval/reward_mean")
    assert again.load({}) == 2 and again.best() == (1, 5.0)
    save_steps(again, [3], [4.0])
    assert json.loads((tmp_path / "index.json").read_text())["latest"] == 3


def test_the_newest_and_the_best_are_kept(tmp_path):
    saver = checkpointer(tmp_path, keep=2, select_on="eval/reward_mean")
    save_steps(saver, [1, 2, 3, 4, 5], [0.1, 0.9, 0.3, 0.2, 0.4])
    assert folders(tmp_path) == ["step-000002", "step-000004", "step-000005"]
    assert saver.best() == (2, 0.9) and saver.steps() == [2, 4, 5]


def test_the_smallest_is_best_when_asked(tmp_path):
    saver = checkpointer(tmp_path, keep=1, select_on="eval/reward_mean", select_mode="min")
    save_steps(saver, [1, 2, 3], [0.5, 0.2, 0.3])
    assert saver.best() == (2, 0.2) and folders(tmp_path) == ["step-000002", "step-000003"]
    assert saver.improved({"eval/reward_mean": 0.1}) and not saver.improved({"eval/reward_mean": 0.2})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_value_that_is_not_finite_is_never_best(tmp_path, value, mode):
    saver = checkpointer(tmp_path, select_on="eval/reward_mean", select_mode=mode)
    assert not saver.improved({"eval/reward_mean": value})
    save_steps(saver, [1], [value])
    assert saver.best() is None
    save_steps(saver, [2, 3], [0.5, value])
    assert saver.best() == (2, 0.5) and not saver.improved({"eval/reward_mean": value})


def test_of_equal_values_the_earlier_is_best_and_a_missing_metric_never_is(tmp_path):
    saver = checkpointer(tmp_path, keep=3, select_on="eval/reward_mean")
    save_steps(saver, [1, 2], [0.5, 0.5])
    saver.save(3, {}, {"loss/total": 9.0})
    assert saver.best() == (1, 0.5)
    assert not saver.improved({"loss/total": 9.0}) and saver.improved({"eval/reward_mean": torch.tensor(0.6)})


def test_one_step_can_be_asked_for_and_its_absence_or_damage_is_an_error(tmp_path):
    saver = checkpointer(tmp_path)
    save_steps(saver, [1, 2])
    counters: dict = {}
    assert checkpointer(tmp_path).load({"counters": counters}, step=1) == 1 and counters == {"step": 1}
    with pytest.raises(CheckpointError, match="no checkpoint of step 7; steps: 1, 2"):
        saver.load({}, step=7)
    flip_byte(tmp_path / "step-000001" / "counters.json")
    with pytest.raises(CheckpointError, match=r"step-000001/counters.json is damaged"):
        saver.load({}, step=1)


def test_after_going_back_a_step_the_branch_that_was_left_does_not_count(tmp_path):
    saver = checkpointer(tmp_path, keep=3, select_on="eval/reward_mean")
    save_steps(saver, [10, 20, 30], [0.1, 0.2, 0.9])
    resumed = checkpointer(tmp_path, keep=3, select_on="eval/reward_mean")
    resumed.load({}, step=20)
    assert resumed.best() == (20, 0.2)
    assert folders(tmp_path) == ["step-000010", "step-000020", "step-000030"]  # looking removes nothing
    save_steps(resumed, [25], [0.15])
    assert resumed.steps() == [10, 20, 25] and checkpointer(tmp_path).load({}) == 25


def test_the_same_step_can_be_saved_again(tmp_path):
    saver = checkpointer(tmp_path)
    saver.save(1, {"counters": {"value": 1}}, {})
    saver.save(1, {"counters": {"value": 2}}, {})
    counters: dict = {}
    assert saver.load({"counters": counters}) == 1 and counters == {"value": 2}
    assert folders(tmp_path) == ["step-000001"]


def test_a_metric_that_is_nan_is_null_in_the_manifest(tmp_path):
    folder = checkpointer(tmp_path).save(1, {}, {"loss/total": float("nan"), "reward/mean": np.float32(0.5)})
    assert json.loads((folder / "manifest.json").read_text())["metrics"] == {"loss/total": None, "reward/mean": 0.5}


def test_the_newest_whole_step_can_be_asked_for_without_loading(tmp_path):
    saver = checkpointer(tmp_path)
    assert saver.latest() is None
    save_steps(saver, [1, 2])
    flip_byte(tmp_path / "step-000002" / "rng.pt")
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert checkpointer(tmp_path).latest() == 1
    assert torch.equal(torch.get_rng_state(), state)


def test_a_folder_of_another_format_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("rlhf.checkpoint.manifest.FORMAT", 2)
    save_steps(checkpointer(tmp_path), [1])
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="step-000001 has format 2; this version reads format 1"):
        checkpointer(tmp_path).load({}, step=1)
