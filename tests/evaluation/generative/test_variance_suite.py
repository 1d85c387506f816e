"""suite=score_variance end to end, with a sampler that writes scores by rule; and what the door says of both suites."""

import csv
import io
import itertools
import json

import numpy as np
import pytest

from rlhf.config.compose import compose
from rlhf.config.score_prompts import score_prompt_names
from rlhf.dry_run.page import show
from rlhf.errors import ConfigError
from rlhf.evaluation.generative.variance_suite import ScoreVariance
from rlhf.exhibits import read_exhibits
from rlhf.hardware import default_hardware
from rlhf.models.loading import load_causal_lm, load_tokenizer, save_model
from rlhf.parts import Parts, build
from rlhf.tracking.run_directory import RunDirectory
from tests.evaluation.generative.scripted import Memory, Scripted

SMALL = ["stage=eval", "suite=score_variance", "model=tiny", "dataset.eval_limit=9", "evaluation.limit=8",
         "evaluation.samples_per_prompt=4", "evaluation.bootstrap_resamples=200"]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    path, config = tmp_path_factory.mktemp("models"), compose(["stage=sft", "model=tiny"]).model
    for name, seed in (("one", 0), ("two", 1)):
        model = load_causal_lm(config, default_hardware(), seed=seed)
        save_model(model, load_tokenizer(config), path / name)
    return path


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    monkeypatch.setattr(Parts, "sampler_of", lambda parts, *models, seed: Scripted(*models, seed=seed))
    Scripted.asked = []


def evaluate(run, *overrides):
    config = compose([*SMALL, *overrides])
    run.mkdir(exist_ok=True)
    memory = Memory()
    return build(ScoreVariance, config.evaluation, Parts(config, RunDirectory(run))).evaluate(memory), memory


def test_score_prompts_stand_in_one_table(folders, tmp_path):
    summary, memory = evaluate(tmp_path / "run", f"models=[{folders}/one]",
                               "evaluation.score_prompts=[concise_5,reason_first_100]")  # fmt: skip
    assert list(summary["models"]) == ["concise_5", "reason_first_100"] and summary["pairs"] == 8
    rows = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 8 * 2
    for label, model in summary["models"].items():
        sides = [[np.nan if s is None else s for s in row["scores"]] for row in rows if row["score_prompt"] == label]
        expected, mixed = [], []
        for preferred, other in zip(sides[::2], sides[1::2], strict=True):
            d = np.array([a - b for a, b in itertools.product(preferred, other)])
            expected.append(np.mean(np.where(np.isnan(d) | (d == 0), 0.5, d > 0)))
            mixed.append((d > 0).any() and (d < 0).any())
        metrics = model["metrics"]
        assert metrics["expected_correct"]["mean"] == pytest.approx(np.mean(expected))
        assert metrics["mixed_rate"]["mean"] == pytest.approx(np.mean(mixed))
        assert metrics["spread_rate"]["mean"] == pytest.approx(np.mean([len(set(map(str, s))) > 1 for s in sides]))
        parts = ("within_side", "within_pair", "between_pairs")
        assert sum(metrics[part]["mean"] for part in parts) == pytest.approx(metrics["total"]["mean"])
        unread = sum(np.isnan(s).sum() for s in map(np.array, sides))
        assert sum(model["failures"].values()) == pytest.approx(unread / (8 * 2 * 4))
    # 5 and 1 lie further apart on 1 to 5 than on 0 to 100
    ranges = [model["metrics"]["range_50"]["mean"] for model in summary["models"].values()]
    assert ranges[0] > 0 and ranges[1] == 0
    table = list(csv.DictReader(io.StringIO((tmp_path / "run" / "summary.csv").read_text())))
    assert [row["model"] for row in table] == list(summary["models"])
    assert float(table[0]["within_side"]) == summary["models"]["concise_5"]["metrics"]["within_side"]["mean"]
    assert "| concise_5 | 0 |" in (tmp_path / "run" / "summary.md").read_text()
    # the two ways to ask about an answer stand behind each other
    assert [row["model"] for row in memory.rows[:8]] == ["concise_5"] * 4 + ["reason_first_100"] * 4
    assert len({row["prompt_id"] for row in memory.rows[:8]}) == 1


def test_exhibits_and_findings(folders, tmp_path):
    summary, memory = evaluate(tmp_path / "run", f"models={{a: {folders}/one, b: {folders}/two}}",
                               "evaluation.score_prompts=[concise_5,score_first_5]")  # fmt: skip
    labels = ["a, concise_5", "a, score_first_5", "b, concise_5", "b, score_first_5"]
    assert list(summary["models"]) == labels
    shown = read_exhibits(json.loads((tmp_path / "run" / "exhibits.json").read_text()))
    assert [s.title for s in shown.sections] == [
        "Is there something to learn from", "Order", "Variance", "Ranges", "Failures", "Scores by side", "Samples"
    ]  # fmt: skip
    assert [row[0] for row in shown.sections[0].tables[0].rows] == labels
    assert any(line.startswith("Something to learn from: a, concise_5") for line in memory.told)
    assert len(shown.sections[-1].passages) == 4


def test_a_model_that_writes_no_score_is_said_to_give_nothing(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(Scripted, "_rollout", _silent(Scripted._rollout))
    summary, memory = evaluate(tmp_path / "run", f"models=[{folders}/one]", "dataset.score_prompt=concise_5")
    metrics = summary["models"]["concise_5"]["metrics"]
    assert metrics["expected_correct"]["mean"] == 0.5 and metrics["undecided_rate"]["mean"] == 1.0
    assert summary["models"]["concise_5"]["failures"] == {"missing": 1.0}
    assert "within_side" not in metrics and "range" not in metrics and metrics["mixed_rate"]["high"] > 0.2
    assert metrics["accuracy"]["low"] is None  # every pair is half right: nothing varies
    assert any("Nothing to learn from yet: concise_5: no sample holds a score" in line for line in memory.told)
    shown = read_exhibits(json.loads((tmp_path / "run" / "exhibits.json").read_text()))
    assert "Variance" not in {section.title for section in shown.sections}


def _silent(rollout):
    def silent(self, prompt, sample):
        found = rollout(self, prompt, sample)
        return type(found)(**{**vars(found), "text": "a fine answer"})

    return silent


def test_all_are_all_score_prompts(folders, tmp_path):
    summary, _ = evaluate(tmp_path / "run", f"models=[{folders}/one]", "evaluation.score_prompts=all",
                          "evaluation.limit=2", "evaluation.samples_per_prompt=2", "dataset.eval_limit=3")  # fmt: skip
    assert list(summary["models"]) == score_prompt_names()


def test_a_dry_run_counts_what_would_be_sampled():
    page = io.StringIO()
    show([compose([*SMALL, "evaluation.score_prompts=[concise_5,score_first_5]"])], stream=page)
    said = page.getvalue()
    assert "1 models, 2 ways to ask in all x 1 seeds x at most 8 pairs x 2 sides x 4 samples = 128" in said
    assert "Read a conversation and the answer that ends it." in said and "9 pairs of 9 rows" in said


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["suite=policy", "evaluation.score_prompts=all"], "evaluation.score_prompts belongs to suite=score_variance"),
        (["suite=policy", "evaluation.scalar_reward=x"], "evaluation.scalar_reward belongs to suite=generative_rm"),
        (["suite=score_variance", "evaluation.log_loss_temperature=1"], "belongs to suite=generative_rm"),
        (["suite=score_variance", "evaluation.score_prompts=[concise_6]"],
         "evaluation.score_prompts: concise_6 is neither a file nor one of concise_100, concise_5"),
        (["suite=score_variance", "evaluation.score_prompts=concise_5"], "must be all, or names such as"),
        (["suite=score_variance", "evaluation.score_prompts=all", "dataset.score_prompt=concise_5"], "leave one out"),
        (["suite=score_variance", "evaluation.samples_per_prompt=1"], "samples_per_prompt=1 has no variance"),
        (["suite=generative_rm", "rollout.temperature=0"], "gives the same score every time"),
        (["suite=generative_rm", "rollout.temperature=0", "evaluation.samples_per_prompt=1", "seeds=[0,1]"],
         "and seeds=[0, 1] asks for several"),
        (["suite=generative_rm", "seeds=[0,0]"], "seeds must be a list of different whole numbers"),
        (["suite=generative_rm", "seeds=3"], "seeds must be a list of different whole numbers, at least 0 each; got 3"),
        (["suite=generative_rm", "seeds=[-1]"], "at least 0 each; got [-1]"),
        (["suite=score_variance", "seeds=[0]"], "seeds belongs to suite=generative_rm"),
        (["suite=generative_rm", "evaluation.log_loss_temperature=0"], "log_loss_temperature must be above 0"),
    ],
)  # fmt: skip
def test_wrong_settings_are_one_line(overrides, said):
    with pytest.raises(ConfigError) as caught:
        compose(["stage=eval", *overrides])
    assert said in str(caught.value) and "\n" not in str(caught.value)
