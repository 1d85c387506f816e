import pytest

from rlhf.config.compose import compose
from rlhf.config.model_path import with_model_paths
from rlhf.errors import ConfigError


@pytest.mark.parametrize("path", ["outputs/grpo/a_run", "outputs/grpo/a_run@step-000100", "Qwen/Qwen2.5-0.5B", "/a/b"])
def test_a_path_stands_where_an_option_would(path):
    run = compose(["stage=sft", f"model={path}", "model.lora.rank=4"])
    assert (run.model.path, run.model.name, run.model.lora.rank) == (path, "local", 4)


def test_a_folder_without_a_slash_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    assert with_model_paths(["model=weights"]) == ["model=local", "model.path=weights"]
    with pytest.raises(ConfigError, match="model=weight does not exist"):
        compose(["stage=sft", "model=weight"])


@pytest.mark.parametrize("override", ["model=tiny", "model=tiny,gpt2", "model=tiny,a/b", "model.path=a/b", "stage=sft"])
def test_everything_else_is_left_alone(override):
    assert with_model_paths([override]) == [override]


def test_several_paths_are_a_sweep():
    assert with_model_paths(["model=a/b,c/d"]) == ["model=local", "model.path=a/b,c/d"]
