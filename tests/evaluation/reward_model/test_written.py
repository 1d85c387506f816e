"""suite=reward_model with language models that write their scores, beside one with a score head."""

import io
import json

import numpy as np
import pytest

from rlhf.config.compose import compose
from rlhf.config.score_prompts import load_score_prompt
from rlhf.data.rendering import Renderer
from rlhf.dry_run.page import show
from rlhf.errors import ModelError
from rlhf.evaluation.reward_model.suite import RewardModelEvaluation
from rlhf.evaluation.reward_model.written import score_by_writing, score_prompt_to_ask
from rlhf.hardware import default_hardware
from rlhf.models.loading import load_causal_lm, load_tokenizer, reward_model_from_policy, save_model
from rlhf.parts import Parts, build
from rlhf.rewards.generative import GenerativeReward
from rlhf.rewards.score_sampling import ScoreSampler
from rlhf.tracking.run_directory import RunDirectory
from rlhf.types import PreferencePair, Prompt, Rollout

EVAL = ["stage=eval", "suite=reward_model", "model=tiny", "evaluation.limit=6", "evaluation.bootstrap_resamples=200",
        "evaluation.samples_per_prompt=2", "rollout.max_new_tokens=4"]  # fmt: skip


class Memory:
    """A reporter that remembers."""

    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)

    def samples(self, step, rows):
        pass


class Scripted:
    """Writes what `says` has for the answer that a request asks about."""

    def __init__(self, says):
        self.says = says

    def sample(self, prompts, num_samples, *, step):
        return [
            Rollout(prompt, (1,), (2,), (0.0,), text, "eos", i)
            for prompt in prompts
            for answer, texts in self.says.items()
            if answer in prompt.messages[-1].content
            for i, text in enumerate(texts)
        ]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny reward model, a tiny language model, and a run directory that trained the latter to write scores."""
    folder = tmp_path_factory.mktemp("models")
    config = compose(["stage=reward", "model=tiny"]).model
    save_model(reward_model_from_policy(config, default_hardware(), seed=1), load_tokenizer(config), folder / "scalar")
    save_model(load_causal_lm(config, default_hardware(), seed=2), load_tokenizer(config), folder / "plain")
    trained = compose(["stage=grpo", "experiment=generative_rm", "model=tiny"])
    RunDirectory(folder / "writer").create(trained.plain, ["a test"]).model.symlink_to(folder / "plain")
    return folder


def evaluate(folder, *overrides):
    run, memory = compose([*EVAL, *overrides]), Memory()
    suite = build(RewardModelEvaluation, run.evaluation, Parts(run, RunDirectory(folder)))
    return suite.evaluate(memory), memory


def test_means_over_the_temperature_by_hand(monkeypatch):
    """Score points become nats: a quarter of 1 to 5 is one point, and the middle, 3, stands for what cannot be read."""
    says = {"mango": ["<s>5</s>", "<s>4</s>"], "plum": ["<s>1</s>", "?"], "lychee": ["?", "<s>7</s>"]}
    pairs = [
        PreferencePair(Prompt(f"p{i}", text="?"), a, b)
        for i, (a, b) in enumerate([("mango", "plum"), ("plum", "lychee")])
    ]
    run = compose([*EVAL, "models=[x]", "dataset.max_prompt_tokens=700"])
    parts = Parts(run, None)
    asked = []

    def load(config):
        asked.append(config)
        sampler = ScoreSampler(Scripted(says), load_score_prompt("concise_5"), 2)
        model = reward_model_from_policy(run.model, parts.hardware, seed=0)
        return GenerativeReward(
            sampler, parts.renderer, model=model, max_new_tokens=4, unparsable=config.unparsable, name="x"
        )

    monkeypatch.setattr(parts, "load_generative_reward", load)
    found = score_by_writing("x", "concise_5", pairs, parts.renderer, parts)
    assert found.scores.tolist() == [[4.5, 1.0], [1.0, 3.0]] and found.cut.tolist() == [False, False]
    assert (asked[0].samples, asked[0].temperature, asked[0].max_new_tokens) == (2, 1.0, 4)
    # of the samples, each pair's sides counted: 2 + 1 + 1 + 0 of 8 could be read
    assert "divided by 1 points" in found.how and "50.0% of the samples could not be read" in found.how
    assert "(missing 37.5%, out of range 12.5%), 25.0% of the answers had no other" in found.how
    run = compose([*EVAL, "models=[x]", "evaluation.log_loss_temperature=2", "rollout.temperature=0"])
    monkeypatch.setattr(parts, "run_config", run)
    assert score_by_writing("x", "concise_5", pairs, parts.renderer, parts).scores.tolist() == [[2.25, 0.5], [0.5, 1.5]]
    assert asked[-1].samples == 1  # greedy


def test_who_is_asked_and_who_has_a_score_head(models):
    ours, with_prompt = compose(EVAL), compose([*EVAL, "dataset.score_prompt=concise_5"])
    assert score_prompt_to_ask(str(models / "writer"), ours) == "score_first_5"
    assert score_prompt_to_ask(str(models / "writer"), with_prompt) == "concise_5"  # what is asked for wins
    assert score_prompt_to_ask(str(models / "plain"), with_prompt) == "concise_5"
    assert score_prompt_to_ask(str(models / "scalar"), with_prompt) is None
    assert score_prompt_to_ask(str(models / "plain"), ours) is None


def test_both_kinds_in_one_evaluation(models, tmp_path):
    summary, memory = evaluate(tmp_path / "run", f"models=[{models}/scalar, {models}/writer]")
    scalar, writer = summary["models"]["scalar"], summary["models"]["writer"]
    assert "written" not in scalar and "scores written on a scale of 1 to 5 (score_first_5)" in writer["written"]
    assert writer["metrics"]["tie_rate"]["mean"] == 1.0  # random weights write no score: all stand in the middle
    assert writer["metrics"]["accuracy"]["mean"] == 0.5 and scalar["metrics"]["tie_rate"]["mean"] == 0.0
    assert "100.0% of the samples could not be read (missing 100.0%)" in "\n".join(memory.messages)
    exhibits = (tmp_path / "run/exhibits.json").read_text()
    assert "writer: scores written on a scale of 1 to 5" in exhibits
    kinds = {
        p.stem: json.loads(p.read_text())["model_type"] for p in (tmp_path / "run").glob("rewardbench/pref-sets/*")
    }
    assert kinds == {"scalar": "Seq. Classifier", "writer": "Generative"}
    again, _ = evaluate(tmp_path / "again", f"evaluation.scores={tmp_path}/run")
    assert again["models"]["writer"] == writer and "written" not in again["models"]["scalar"]


def test_a_language_model_that_nobody_told_how_is_refused(models, tmp_path):
    with pytest.raises(ModelError, match="is not a reward model"):
        evaluate(tmp_path / "run", f"models=[{models}/plain]")


def test_dry_run_looks_at_both_kinds(models):
    page = io.StringIO()
    show([compose([*EVAL, f"models=[{models}/writer, {models}/scalar]"])], stream=page)
    assert "Memory" in page.getvalue()


def test_a_long_answer_is_read_whole_by_a_writer(models, tmp_path):
    """dataset.max_answer_tokens cuts what a score head reads; a writer sees the whole request, or it is told."""
    run = compose([*EVAL, f"models=[{models}/writer]", "dataset.max_answer_tokens=8", "dataset.max_prompt_tokens=32"])
    parts = Parts(run, RunDirectory(tmp_path))
    renderer = Renderer(load_tokenizer(run.model), run.dataset)
    pairs = [PreferencePair(Prompt(f"p{i}", text="?"), "yes " * n, "no") for i, n in enumerate((4, 400))]
    found = score_by_writing(f"{models}/writer", "score_first_5", pairs, renderer, parts)
    assert found.cut.tolist() == [False, True]  # of 32 + 8 + 256 tokens: bytes, in this tokenizer
    assert np.isfinite(found.scores).all()
