"""The run directory: what is written into it, and when it is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.config.compose import compose, compose_raw
from rlhf.config.door import open_config
from rlhf.errors import CheckpointError
from rlhf.tracking.run_directory import RunDirectory, append_log

AWKWARD = {
    "stage": "grpo",
    "name": "tiny",
    "seed": 0,
    "resume": "outputs/old",
    "number_as_text": "1e-6",
    "rate": 1e-6,
    "empty": None,
    "template": "{{ '${x}' }} \\${y} ${oc.env:HOME}\nsecond line: é",
    "list": ["a: b", 1, True, {"c": "null"}],
}


def test_the_configuration_comes_back_as_it_was_except_for_resume(tmp_path):
    run_dir = RunDirectory(tmp_path / "run").create(AWKWARD, ["launch.py"])
    assert run_dir.read_config() == AWKWARD | {"resume": None}
    text = run_dir.config.read_text()
    assert text.startswith("# Run it again:  python launch.py --config-dir ")
    assert "--config-name config" in text.splitlines()[0]


def test_environment_is_written_and_the_command_is_redacted(tmp_path):
    run_dir = RunDirectory(tmp_path).create(AWKWARD, ["launch.py", "stage=grpo", "judge.api_key=abc"])
    record = json.loads(run_dir.environment.read_text())
    assert record["command"] == "launch.py stage=grpo 'judge.api_key=[redacted]'"


def test_a_directory_that_holds_a_run_is_refused_unless_it_is_continued(tmp_path):
    run_dir = RunDirectory(tmp_path).create(AWKWARD, ["first"])
    run_dir.status.write_text("{}")
    with pytest.raises(CheckpointError, match=r"already holds a run.*resume="):
        RunDirectory(tmp_path).create(AWKWARD, ["second"])
    assert json.loads(run_dir.environment.read_text())["command"] == "first"
    run_dir.create(AWKWARD, ["second"], resume=True)
    run_dir.create(AWKWARD, ["third"], resume=True)
    record = json.loads(run_dir.environment.read_text())
    assert record["command"] == "first" and [r["command"] for r in record["resumed"]] == ["second", "third"]


def test_continuing_where_there_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="there is no run in that folder"):
        RunDirectory(tmp_path / "absent").create(AWKWARD, ["launch.py"], resume=True)
    assert not (tmp_path / "absent").exists()
    with pytest.raises(CheckpointError, match=r"not a run directory: it has no config.yaml"):
        RunDirectory(tmp_path).read_config()
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(CheckpointError, match=r"config.yaml cannot be read"):
        RunDirectory(tmp_path).read_config()


def test_every_file_of_the_run_directory_has_a_name(tmp_path):
    run_dir = RunDirectory(tmp_path)
    names = {Path(p).name for p in vars(run_dir).values() if p != tmp_path}
    assert names == {
        "config.yaml", "status.json", "environment.json", "objective.txt", "metrics.jsonl", "samples.jsonl",
        "held_out.jsonl", "summary.json", "exhibits.json", "checkpoints", "model", "figures",
        "report.md", "report.html", "run.log",
    }  # fmt: skip
    assert os.fspath(run_dir) == str(tmp_path)


def test_a_stored_configuration_opens_to_the_same_run(tmp_path):
    config = compose(["stage=sft", "dataset.system_prompt='say: {{ this }}'"])
    run_dir = RunDirectory(tmp_path / "run").create(config.plain, ["launch.py"])
    assert open_config(run_dir.read_config()) == config
    assert open_config(compose_raw(folder=run_dir.path)) == config


APP = """
import hydra, json, logging
from hydra.core.hydra_config import HydraConfig
@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg):
    logging.getLogger("rlhf").info("a line for the log")
    with open("result.json", "w") as file:
        json.dump([HydraConfig.get().runtime.output_dir, cfg.trainer.text, cfg.seed], file)
main()
"""


def test_hydra_runs_a_stored_configuration_again_in_a_new_directory(tmp_path):
    plain = {"stage": "sft", "name": "tiny", "seed": 3, "trainer": {"text": "a ${b}"}}
    run_dir = RunDirectory(tmp_path / "old run").create(plain, ["launch.py"])
    before = run_dir.config.read_text()
    (tmp_path / "app.py").write_text(APP)
    command = [sys.executable, "app.py", "--config-dir", str(run_dir.path), "--config-name", "config", "seed=4"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    output, text, seed = json.loads((tmp_path / "result.json").read_text())  # in the folder of the call: no chdir
    output = Path(output)
    assert output.parent == tmp_path / "outputs" / "sft" and output.name.endswith("_tiny")
    assert (text, seed) == ("a ${b}", 4)
    assert "[rlhf][INFO] a line for the log" in (output / "run.log").read_text()
    assert os.listdir(output) == ["run.log"]  # no .hydra folder
    assert run_dir.config.read_text() == before


def test_lines_go_to_the_log_in_its_own_form(tmp_path):
    append_log(tmp_path / "run.log", "text", level="ERROR", logger="a.b")
    assert (tmp_path / "run.log").read_text().endswith("[a.b][ERROR] text\n")
