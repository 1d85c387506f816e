"""What an evaluation while training logs, by the number of answers a prompt."""

from __future__ import annotations

import json

import pytest

from rlhf.config.compose import compose
from rlhf.errors import ConfigError
from rlhf.rewards.function import FunctionReward
from rlhf.run import run
from rlhf.trainers.rollout_metrics import held_out_answers


def right_where_long(answers):
    return [{"total": 1.0, "answer": float(len(a) % 2)} for a in answers]


PLAIN = {"reward_mean", "reward_std", "response_length_tokens", "response_truncated_fraction", "num_examples"}


def test_one_answer_logs_what_it_always_did_and_several_more(tiny, sampler_for):
    parts = tiny("grpo")
    sampler, prompts = sampler_for(parts, max_new_tokens=6), parts.prompts.examples
    one = held_out_answers(sampler, prompts, FunctionReward(right_where_long))
    assert set(one) == PLAIN | {"reward_answer"}
    four = held_out_answers(sampler, prompts, FunctionReward(right_where_long), 4)
    more = {"avg@4", "avg_low", "avg_high", "pass@2", "pass@4", "maj@2", "maj@4"}
    assert set(four) == set(one) | more | {"response_length_right_tokens", "response_length_wrong_tokens"}
    assert four["num_examples"] == one["num_examples"] == len(prompts)
    assert four["avg@4"] == pytest.approx(four["reward_answer"]) and four["pass@4"] >= four["pass@2"] >= four["avg@4"]
    assert set(held_out_answers(sampler, prompts, FunctionReward(lambda answers: [0.0] * len(answers)), 4)) == PLAIN
    assert held_out_answers(sampler, (), FunctionReward(right_where_long), 4) == {}


def test_the_answers_of_an_evaluation_are_kept(tmp_path, monkeypatch):
    """As many lines as evaluations x questions x answers, those of each step beside it."""
    monkeypatch.setattr("rlhf.run.build_report", lambda *_: None)
    overrides = ["stage=grpo", "reward=gold", "model=tiny", "rollout.max_new_tokens=4", "trainer.num_steps=2"]
    overrides += ["evaluation.every=1", "evaluation.limit=3", "evaluation.samples_per_prompt=2", "dataset.limit=8"]
    run(compose([*overrides, "trainer.prompts_per_step=2", "trainer.group_size=2", "tracking.console=none"]), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "held_out.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0] * 6 + [1] * 6 + [2] * 6
    assert len({row["prompt_id"] for row in rows}) == 3 and {row["sample"] for row in rows} == {0, 1}
    trained = {json.loads(line)["prompt_id"] for line in (tmp_path / "samples.jsonl").read_text().splitlines()}
    assert trained.isdisjoint(row["prompt_id"] for row in rows)


@pytest.mark.parametrize("stage", ["grpo", "ppo", "expert_iteration"])
def test_every_stage_that_samples_has_the_key(stage, tmp_path, monkeypatch):
    monkeypatch.setattr("rlhf.run.build_report", lambda *_: None)
    small = ["trainer.num_steps=1", "trainer.prompts_per_step=2", "trainer.group_size=2", "rollout.max_new_tokens=8"]
    data = ["dataset=arithmetic", "dataset.limit=8", "dataset.eval_limit=4", "reward=math", "reward.equality=numeric"]
    options = [f"stage={stage}", "model=tiny", "tracking.console=none", "hardware.threads=1", *small, *data]
    run(compose([*options, "evaluation.samples_per_prompt=4", "evaluation.at_start=false"]), tmp_path)
    [row] = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"eval/avg@4", "eval/avg_low", "eval/pass@4", "eval/maj@2"} <= set(row) and row["eval/num_examples"] == 4


def test_it_is_at_least_one():
    with pytest.raises(ConfigError, match=r"evaluation\.samples_per_prompt must be at least 1; got 0"):
        compose(["stage=ppo", "reward=gold", "evaluation.samples_per_prompt=0"])
