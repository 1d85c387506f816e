import pytest

from rlhf.config.resume import check_same_data, check_unchanged, differences, resumed_arguments
from rlhf.errors import ConfigError


def test_differences_name_the_key_and_both_values():
    then = {"seed": 0, "trainer": {"num_steps": 10, "beta": 0.1}, "tracking": {"mode": "online"}, "gone": 1}
    now = {"seed": 0, "trainer": {"num_steps": 20, "beta": 0.1}, "tracking": {"mode": "offline"}, "new": [1]}
    assert differences(then, now) == ["gone: 1 -> None", "new: None -> [1]", "trainer.num_steps: 10 -> 20"]


def test_a_change_is_refused_unless_allowed():
    with pytest.raises(ConfigError, match=r"seed: 0 -> 1.*resume_changed=allow"):
        check_unchanged({"seed": 0}, {"seed": 1}, allow=False)
    assert check_unchanged({"seed": 0}, {"seed": 1}, allow=True) == ["seed: 0 -> 1"]


def test_data_that_changed_appeared_or_went_is_named():
    then = {"pairs": {"source": "a.jsonl", "kept": 3, "fingerprint": "0123456789"}}
    now = {"prompts": {"source": "b.jsonl", "kept": 4, "fingerprint": "abcdefghij"}}
    assert check_same_data(then, then, allow=False) == []
    assert check_same_data(then, now, allow=True) == [
        "pairs: 3 examples of a.jsonl (sha256 01234567) -> not used",
        "prompts: not used -> 4 examples of b.jsonl (sha256 abcdefgh)",
    ]


def test_resume_alone_takes_the_stored_configuration(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    resume = f"resume={tmp_path}"
    assert resumed_arguments([resume, "seed=1"]) == [
        "--config-path", str(tmp_path), "--config-name", "config", resume, "seed=1", f"hydra.run.dir={tmp_path}",
    ]  # fmt: skip
    assert resumed_arguments(["stage=sft", resume]) == ["stage=sft", resume, f"hydra.run.dir={tmp_path}"]


def test_nothing_is_resumed_by_accident(tmp_path):
    assert resumed_arguments(["stage=sft", "resume=null"]) == ["stage=sft", "resume=null"]
    with pytest.raises(ConfigError, match="there is no run there"):
        resumed_arguments([f"resume={tmp_path}"])


@pytest.mark.parametrize("more", [["-m"], ["stage=sft", "seed=0,1"], ["grid=sft"], ["hydra.mode=MULTIRUN"]])
def test_a_sweep_cannot_be_resumed_as_one(tmp_path, more):
    with pytest.raises(ConfigError, match=r"continues one run and a sweep is many.*resume=<sweep>/0"):
        resumed_arguments([f"resume={tmp_path}", *more])


def test_the_directory_of_a_sweep_names_its_jobs(tmp_path):
    for job in "01":
        (tmp_path / job).mkdir()
        (tmp_path / job / "config.yaml").write_text("")
    with pytest.raises(ConfigError, match=rf"holds 2 runs, continue one of them: resume={tmp_path}/0"):
        resumed_arguments([f"++resume={tmp_path}"])
