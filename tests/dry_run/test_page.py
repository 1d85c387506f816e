"""dry_run=true on the command line, on every stage: status, words, and that nothing is left behind."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.config.compose import compose
from rlhf.dry_run.page import show
from rlhf.dry_run.preview import Previewer
from rlhf.errors import ConfigError, ModelError, RewardError

ROOT = Path(__file__).parents[2]
TINY = ("model=tiny", "dataset.limit=20", "dataset.eval_limit=6")


def launch(cwd, *arguments, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *arguments],
        cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def page(*overrides):
    stream = io.StringIO()
    show([compose([*overrides, "dry_run=true"])], stream=stream)
    return stream.getvalue()


def test_the_command_line_leaves_nothing_behind(tmp_path):
    done = launch(tmp_path, "stage=sft", *TINY, "dry_run=true", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "Memory, cpu" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_wrong_input_is_one_line_and_status_2(tmp_path):
    done = launch(tmp_path, "stage=sft", "model=local", "model.path=outputs/none", "dry_run=true")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("ModelError: no model at outputs/none") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_is_one_table(tmp_path):
    jobs = ("-m", "stage=grpo", "reward=gold", *TINY, "trainer.group_size=2,4", "dry_run=true")
    done = launch(tmp_path, *jobs)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  trainer.group_size=")]
    assert [(row[0], row[2]) for row in rows] == [("trainer.group_size=2", "16"), ("trainer.group_size=4", "32")]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["stage=sft"], ["20 demonstrations of 20 rows", "2 of 16 examples", "activations", "answer tokens"]),
        (["stage=sft"], ["none: trainer.sample_prompts=0"]),
        (["stage=sft", "trainer.sample_prompts=4"], ["KV cache", "4 prompts x", "a frozen copy"]),
        (["stage=reward"], ["20 pairs", "2 of 16 pairs = 32 answers", "chosen", "rejected"]),
        (["stage=grpo", "reward=gold"], ["8 prompts x 8 answers = 64 answers", "KV cache", "frozen copy", "at most"]),
        (["stage=grpo", "reward=gold", "trainer.kl_coef=0"], ["none: trainer.kl_coef=0"]),
        (["experiment=generative_rm"], ["20 pairs of 20 rows", "16 prompts x 8 answers = 128", "Give the score"]),
        (["stage=grpo", "reward=gold", "model.lora.enabled=true"], ["none: the weights without their adapter"]),
        (["stage=ppo", "reward=gold"], ["32 prompts x 2 answers = 64", "critic's AdamW", "frozen copy", "values"]),
        (["stage=ppo", "reward=gold", "trainer.critic=shared"], ["a head on the policy"]),
        (["stage=ppo", "reward=gold", "trainer.critic=lora", "model.lora.enabled=true"], ["an adapter on the policy"]),
        (["stage=grpo", "reward=gold", "hardware.rollout_device=cpu"], ["copied weights"]),
        (
            ["stage=grpo", "reward=gold", "hardware=gpu_2x80gb"],
            ["Memory, cuda\n", "Memory, cuda:1, where a copy of the policy samples\n", "copied weights", "KV cache"],
        ),
        (["stage=eval"], ["1 models x at most 64 prompts x 4 answers = 256 answers", "KV cache"]),
    ],
)
def test_every_stage_has_its_page(overrides, words):
    text = page(*overrides, *TINY)
    for word in words:
        assert word in text, text


def test_a_report_names_its_runs(tmp_path):
    (tmp_path / "status.json").write_text('{"state": "failed", "stage": "sft"}')
    assert "stage=sft, failed" in page("stage=report", f"runs=[{tmp_path}]")


def test_what_is_not_here_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    text = page("stage=sft", "model=qwen2_5_0_5b")
    assert "Qwen/Qwen2.5-0.5B" in text and text.count("is not on this machine") == 1 and "Memory" not in text


@pytest.mark.parametrize(
    ("overrides", "error", "said"),
    [
        (["stage=grpo", "reward=gold", "rollout.max_new_tokens=4000"], ModelError, "context of 2048"),
        (["stage=grpo", "reward.model=outputs/none"], ModelError, "no model at outputs/none"),
        (["stage=grpo", "reward=generative", "reward.model=outputs/none"], ModelError, "no model at outputs/none"),
        (["stage=grpo", "reward=generative", "reward.model=a/hub-name"], ConfigError, "a/hub-name is no run with"),
        (
            ["stage=sft", "reward=learned", "reward.model=outputs/none", "trainer.sample_prompts=2"],
            ModelError,
            "no model",
        ),
        (["stage=grpo", "reward=function", "reward.function=math:nothing"], RewardError, "nothing"),
        (["stage=sft", "model.lora.enabled=true", "model.lora.target_modules=[x]"], ModelError, "target_modules"),
    ],
)
def test_what_the_run_would_refuse_is_refused(overrides, error, said):
    with pytest.raises(error, match=said):
        page(*overrides, *TINY)


def test_dry_run_is_true_or_false():
    with pytest.raises(ConfigError, match="dry_run must be true or false; got 'maybe'"):
        compose(["stage=sft", "dry_run=maybe"])


def test_the_copy_is_counted_where_it_is_and_while_it_samples():
    grpo = ["stage=grpo", "reward=gold", *TINY, "trainer.importance_correction=icepop"]
    look = lambda *more: Previewer().look(compose([*grpo, *more]))  # noqa: E731
    own, beside = look().memory, look("hardware.rollout_device=cpu").memory
    ahead = look("hardware.rollout_device=cpu", "rollout.ahead=true").memory
    bytes_of = lambda memory, name: [p for p in memory.parts if p.name == name]  # noqa: E731
    [weights], [copied] = bytes_of(own, "weights"), bytes_of(beside, "copied weights")
    assert bytes_of(own, "copied weights") == [] and copied.sampling == copied.update == weights.update
    [cache] = bytes_of(ahead, "KV cache")
    assert bytes_of(beside, "KV cache")[0].backward == 0 < cache.backward == cache.sampling
    two = look("hardware=gpu_2x80gb")
    assert two.memory.phases == ("backward", "update") and bytes_of(two.memory, "KV cache") == []
    assert two.copy_memory.device == "cuda:1" and bytes_of(two.copy_memory, "copied weights") == [copied]
    assert look().copy_memory is None
