"""experiment=generative_rm, and what it trained as a reward, from the configuration to metrics on a tiny model."""

import json
import random

import pytest

from rlhf.config.compose import compose
from rlhf.models.loading import load_causal_lm, load_tokenizer, save_model
from rlhf.parts import Parts, build
from rlhf.registry import TRAINERS, find
from rlhf.tracking.run_directory import RunDirectory

SMALL = ["model=tiny", "hardware=cpu", "hardware.threads=1", "dataset.max_prompt_tokens=900", "dataset.limit=6",
         "dataset.eval_limit=2", "evaluation.limit=2", "trainer.num_steps=1", "trainer.group_size=2",
         "trainer.prompts_per_step=4", "rollout.max_new_tokens=3"]  # fmt: skip


class Rows:
    """A tracker that remembers."""

    def __init__(self):
        self.metrics, self.rows, self.first = {}, [], None

    def log(self, step, metrics):
        self.first = self.first or dict(metrics)
        self.metrics |= metrics

    def samples(self, step, rows):
        self.rows += rows

    def held_out(self, step, rows):
        pass

    def message(self, text):
        pass


def train(folder, *overrides):
    run, seen = compose([*overrides]), Rows()
    parts = Parts(run, RunDirectory(folder))
    parts.control.attach(seen)
    build(find(TRAINERS, run.stage, "stage"), run.trainer, parts).train()
    return seen


@pytest.mark.parametrize("stage", ["grpo", "ppo"])
def test_pairs_of_scores_are_learned_from(stage, tmp_path):
    seen = train(tmp_path, f"stage={stage}", "experiment=generative_rm", *SMALL)
    assert seen.metrics["reward/parsed"] == 0.0 and seen.metrics["reward/mean"] == -5.0  # random weights write no tag
    assert seen.metrics["eval/reward_correct"] == 0.5 and seen.metrics["reward/undecided"] == 1.0
    assert [row["prompt_id"][-2:] for row in seen.rows] == ["/0", "/0", "/1", "/1"] * 2
    assert all(row["components"]["failed_missing"] == 1.0 for row in seen.rows)


@pytest.mark.parametrize("stage", ["grpo", "ppo"])
def test_a_model_that_writes_scores_is_a_reward(stage, tmp_path):
    run = compose([f"stage={stage}", "reward=gold", *SMALL])
    model = load_causal_lm(run.model, Parts(run, None).hardware, seed=5)
    save_model(model, load_tokenizer(run.model), tmp_path / "judge")
    judge = (f"reward.model={tmp_path}/judge", "reward.score_prompt=concise_5", "reward.max_new_tokens=3")
    seen = train(tmp_path / "run", f"stage={stage}", "reward=generative", *judge, *SMALL)
    assert seen.metrics["reward/failed_missing"] == 1.0 and seen.metrics["reward/mean"] == 0.0
    assert set(seen.rows[0]["components"]) >= {"parsed", "spread", "prompt_cut"}
    plain = train(tmp_path / "gold", f"stage={stage}", "reward=gold", *SMALL)
    assert seen.metrics["budget/flops"] > 1.3 * plain.metrics["budget/flops"]  # the judge reads and writes too
    json.dumps(seen.metrics, allow_nan=False)


@pytest.mark.slow
@pytest.mark.timeout(400)  # half a minute on a free core
def test_scores_learn_to_order_what_people_prefer(tmp_path):
    """SFT on random scores teaches the form alone; GRPO on pairs then teaches the order, which no example shows."""
    words, drawn = ("sun", "rain", "sea", "tree", "stone", "bird", "road", "lamp"), random.Random(0)
    ask = ('system: null\nprompt: "$conversation $answer"\nparser: first_tag\nlowest: 1\nhighest: 5\n'
           'reply: "<s>$score</s>"\n')  # fmt: skip
    pairs = [{"prompt": drawn.choice(words), "chosen": "yes yes yes", "rejected": "no no no"} for _ in range(64)]
    forms = [
        {"messages": [{"role": "user", "content": f"Human: {pair['prompt']} {pair[side]}"},
                      {"role": "assistant", "content": f"<s>{drawn.randint(1, 5)}</s>"}]}
        for pair in pairs
        for side in ("chosen", "rejected")
    ]  # fmt: skip
    (tmp_path / "ask.yaml").write_text(ask)
    for name, rows in (("pairs", pairs), ("forms", forms)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def data(name):
        return ["hardware=cpu", "hardware.threads=1", "dataset=local", f"dataset.path={tmp_path}/{name}.jsonl",
                f"dataset.eval_path={tmp_path}/{name}.jsonl", "evaluation.every=0"]  # fmt: skip

    run = compose(["stage=sft", "model=tiny", *data("forms"), "trainer.num_steps=80", "trainer.batch_size=32",
                   "trainer.learning_rate=5e-3", "evaluation.at_start=false"])  # fmt: skip
    parts = Parts(run, RunDirectory(tmp_path / "sft"))
    build(find(TRAINERS, "sft", "stage"), run.trainer, parts).train()
    save_model(parts.policy, parts.tokenizer, tmp_path / "form")
    seen = train(tmp_path / "rl", "stage=grpo", "experiment=generative_rm", "model=local",
                 f"model.path={tmp_path}/form", *data("pairs"), f"dataset.score_prompt={tmp_path}/ask.yaml",
                 "trainer.num_steps=110", "trainer.learning_rate=2e-3", "rollout.max_new_tokens=12")  # fmt: skip
    assert seen.first["eval/reward_parsed"] > 0.7 and abs(seen.first["eval/reward_correct"] - 0.5) < 0.2
    assert seen.metrics["eval/reward_correct"] > 0.9 and seen.metrics["eval/reward_difference"] > 1.0
