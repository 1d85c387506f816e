"""What a model path means."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.errors import ModelError
from rlhf.models.paths import is_adapter, resolve_path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "sft" / "run"
    for name in (
        "model/config.json",
        "checkpoints/step-000100/manifest.json",
        "checkpoints/step-000050/config.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (folder / "status.json").write_text("{}")
    return folder


def test_a_run_directory_is_its_model(run):
    assert resolve_path(str(run)) == run / "model"
    assert resolve_path(str(run / "model")) == run / "model"


def test_a_relative_path_and_the_home_folder(run, monkeypatch):
    monkeypatch.chdir(run.parents[2])
    assert resolve_path("outputs/sft/run") == Path("outputs/sft/run/model")
    monkeypatch.setenv("HOME", str(run.parent))
    assert resolve_path("~/run") == run / "model"


def test_a_checkpoint_of_a_run(run):
    assert resolve_path(f"{run}@step-000050") == run / "checkpoints/step-000050"
    assert resolve_path(f"{run}@step-50") == run / "checkpoints/step-000050"
    with pytest.raises(ModelError, match="step-000100 is a checkpoint to resume from and holds no model"):
        resolve_path(f"{run}@step-000100")
    with pytest.raises(ModelError, match="no checkpoint 'step-7'; it has: step-000050, step-000100"):
        resolve_path(f"{run}@step-7")


def test_hub_names_pass(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("gpt2", "HuggingFaceTB/SmolLM2-135M-Instruct"):
        assert resolve_path(name) == name
    (tmp_path / "gpt2").mkdir()  # an empty folder does not hide a hub name
    assert resolve_path("gpt2") == "gpt2"


@pytest.mark.parametrize("path", ["outputs/sft/typo", "./m", "../m", "/no/m", "~/no-such-m", "a/b/c", "gpt2@step-1"])
def test_a_local_path_that_is_missing_is_said_to_be(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no model at"):
        resolve_path(path)


def test_the_error_names_the_part_that_is_missing(run):
    with pytest.raises(ModelError, match=f"{run.parent} exists, but has no typo"):
        resolve_path(str(run.parent / "typo" / "model"))


def test_folders_without_a_model(run, tmp_path):
    (run / "model/config.json").unlink()
    with pytest.raises(ModelError, match=r"without a finished model/ \(see its status.json\)"):
        resolve_path(str(run))
    with pytest.raises(ModelError, match="holds no model"):
        resolve_path(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="is a file"):
        resolve_path(str(tmp_path / "file"))


def test_adapter_folders(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    assert is_adapter(tmp_path) and resolve_path(str(tmp_path)) == tmp_path
    (tmp_path / "config.json").write_text("{}")
    assert not is_adapter(tmp_path)
