"""What is recorded of machine and command, and that no secret is."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import version

import pytest

from rlhf.tracking.environment import describe_environment, git_state, redact

SECRET = "s3cr3tvalue"


@pytest.mark.parametrize(
    "arguments",
    [
        [f"judge.api_key={SECRET}"],
        [f"+judge.api_key={SECRET}"],
        [f"judge={{name: x, api_key: {SECRET}}}"],
        [f"judge={{'apiKey': '{SECRET}', a: 1}}"],
        ["--hf-token", SECRET],
        [f"--token={SECRET}"],
        [f"dataset.password='{SECRET} with spaces'"],
        [f"HF_TOKEN={SECRET}"],
        [f"dataset.path=https://me:{SECRET}@example.org/data.jsonl"],
        [f"dataset.path=hf_{SECRET}ABCDEFGHIJKLM"],
        [f"name=sk-{SECRET}-abcdefghijkl"],
    ],
)
def test_secrets_are_redacted(arguments):
    cleaned = " ".join(redact(["launch.py", "stage=grpo", *arguments, "seed=1"]))
    assert SECRET not in cleaned and "[redacted]" in cleaned
    assert cleaned.startswith("launch.py stage=grpo ") and cleaned.endswith(" seed=1")


def test_a_value_known_from_the_environment_is_redacted_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "correct-horse-battery")
    monkeypatch.setenv("SHORT_TOKEN", "grpo")
    assert redact(["name=correct-horse-battery-1", "stage=grpo"]) == ["name=[redacted]-1", "stage=grpo"]


def test_ordinary_arguments_are_left_alone():
    arguments = [
        "launch.py", "rollout.max_new_tokens=64", "hardware.tokens_per_microbatch=4096", "model.path=a/tokenizer=b",
        "dataset.columns.prompt=question", "trainer.beta=0.1", "author=me", "-m", "reward={kind: weighted}",
    ]  # fmt: skip
    assert redact(arguments) == arguments


def test_the_record_names_versions_machine_and_command_and_no_environment_variable(monkeypatch):
    monkeypatch.setenv("RLHF_TEST_MARKER", "value-of-a-variable")
    record = json.loads(json.dumps(describe_environment(["launch.py", "name=two words", "judge.api_key=abc"])))
    assert record["command"] == "launch.py 'name=two words' 'judge.api_key=[redacted]'"
    assert record["python"] == platform.python_version()
    assert record["packages"]["torch"] == version("torch") and "hydra-core" in record["packages"]
    assert record["cpu"]["cores"] >= 1 and record["cpu"]["name"] and record["platform"]
    assert record["gpu"] == [] or isinstance(record["gpu"], list) or record["gpu"] is None
    assert "value-of-a-variable" not in json.dumps(record)


def test_git_commit_and_whether_files_changed(tmp_path):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert git_state(tmp_path) is None
    git("init")
    assert git_state(tmp_path) is None  # no commit yet
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path)["dirty"] is True
    (tmp_path / "inside").mkdir()
    assert git_state(tmp_path / "inside") is None  # a package installed inside somebody else's checkout
