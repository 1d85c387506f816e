"""Atomic writes, JSON lines and what JSON cannot hold."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.errors import CheckpointError
from rlhf.tracking import files

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_a_crash_between_writing_and_renaming_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    files.write_json_atomic(path, {"state": "running"})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("power cut")))
    with pytest.raises(OSError, match="power cut"):
        files.write_json_atomic(path, {"state": "completed"})
    assert files.read_json(path) == {"state": "running"}
    assert os.listdir(tmp_path) == ["status.json"]


def test_a_process_that_dies_before_the_rename_leaves_the_old_file(tmp_path):
    path = tmp_path / "status.json"
    path.write_text("old")
    program = (
        "import os, sys; from pathlib import Path; from rlhf.tracking import files; "
        "os.replace = lambda *_: os._exit(9); "
        "files.write_text_atomic(Path(sys.argv[1]), 'new')"
    )
    root = Path(files.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program, str(path)], cwd=root).returncode == 9
    assert path.read_text() == "old"


def test_the_file_is_readable_by_others_as_the_umask_says(tmp_path):
    files.write_text_atomic(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@given(VALUES)
def test_json_never_holds_nan_is_one_line_and_keeps_everything_else(value):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = files.dump_json({"value": value})
    assert len(text.splitlines()) == 1
    assert json.loads(text, parse_constant=refuse) == {"value": files.to_jsonable(value)}
    if not isinstance(value, (list, dict, float)):
        assert files.to_jsonable(value) == value


def test_numbers_of_numpy_and_torch_become_python_numbers():
    @dataclass
    class Point:
        x: float
        where: Path

    value = {
        "np": np.float32(0.5),
        "array": np.array([[1, 2]]),
        "tensor": torch.tensor(1.5, requires_grad=True),
        "bf16": torch.tensor([float("nan"), 2.0], dtype=torch.bfloat16),
        "infinite": -math.inf,
        "point": Point(1.0, Path("a/b")),
        3: {2, 1},
    }
    assert files.to_jsonable(value) == {
        "np": 0.5,
        "array": [[1, 2]],
        "tensor": 1.5,
        "bf16": [None, 2.0],
        "infinite": None,
        "point": {"x": 1.0, "where": "a/b"},
        "3": [1, 2],
    }
    with pytest.raises(TypeError, match="a object cannot be written as JSON"):
        files.to_jsonable({"x": object()})


def test_lines_come_back_and_a_torn_last_one_is_ignored(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": 1, "text": "a\u2028b\nc\r"}, {"step": 2, "text": "日本語 \ud800"}]
    for row in rows:
        files.append_jsonl(path, row)
    assert files.read_jsonl(path) == [rows[0], {"step": 2, "text": "日本語 ?"}]
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[1])):
        path.write_bytes(whole[:-cut] if cut > 1 else whole[:-2])
        assert files.read_jsonl(path) == [rows[0]]


def test_a_last_line_that_lost_only_its_line_end_counts(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}')
    assert files.read_jsonl(path) == [{"step": 1}, {"step": 2}]


def test_damage_elsewhere_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(CheckpointError, match=r"metrics.jsonl:2 is not a JSON object"):
        files.read_jsonl(path)


def test_cutting_removes_rows_and_the_torn_line_and_appending_goes_on_cleanly(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    assert files.cut_jsonl(path, lambda row: row["step"] <= 2) == 1
    files.append_jsonl(path, {"step": 3})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3}\n'
    assert files.read_jsonl(tmp_path / "absent") == [] and files.cut_jsonl(tmp_path / "absent", bool) == 0


def test_reading_json_that_is_not_there_or_broken_names_the_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"status.json does not exist"):
        files.read_json(tmp_path / "status.json")
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"status.json cannot be read as JSON"):
        files.read_json(tmp_path / "status.json")
