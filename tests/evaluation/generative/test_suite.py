"""suite=generative_rm end to end: real data, models and files, and a sampler that writes scores by rule."""

import csv
import json
import math
import statistics

import numpy as np
import pytest

from rlhf.config.compose import compose
from rlhf.errors import ConfigError, DataError
from rlhf.evaluation.generative import sampling
from rlhf.evaluation.generative.baselines import random_scores
from rlhf.evaluation.generative.measures import correct, margins
from rlhf.evaluation.generative.suite import GenerativeEvaluation
from rlhf.evaluation.reward_model.suite import RewardModelEvaluation
from rlhf.exhibits import read_exhibits
from rlhf.hardware import default_hardware
from rlhf.models.loading import load_causal_lm, load_tokenizer, reward_model_from_policy, save_model
from rlhf.parts import Parts, build
from rlhf.tracking.run_directory import RunDirectory, config_text
from tests.evaluation.generative.scripted import Memory, Scripted

PAIRS, SAMPLES = 10, 4
SMALL = ["stage=eval", "model=tiny", "dataset.eval_limit=12", f"evaluation.limit={PAIRS}",
         "evaluation.bootstrap_resamples=200", "evaluation.worst_pairs=2"]  # fmt: skip
SUITE = [*SMALL, "suite=generative_rm", f"evaluation.samples_per_prompt={SAMPLES}"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two policies, a run of which one is a checkpoint, and a reward model."""
    path, hardware = tmp_path_factory.mktemp("models"), default_hardware()
    config = compose(["stage=sft", "model=tiny"]).model
    tokenizer = load_tokenizer(config)
    for name, seed in (("one", 0), ("two", 1), ("two/checkpoints/step-000200", 2)):
        save_model(load_causal_lm(config, hardware, seed=seed), tokenizer, path / name)
    trained = compose(["stage=grpo", "model=tiny", "reward=bt_pairwise", "dataset.score_prompt=concise_5"])
    (path / "two" / "config.yaml").write_text(config_text(trained.plain, path / "two"))
    save_model(reward_model_from_policy(config, hardware, seed=0), tokenizer, path / "scorer")
    return path


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    monkeypatch.setattr(Parts, "sampler_of", lambda parts, *models, seed: Scripted(*models, seed=seed))
    Scripted.asked = []


def evaluate(cls, run, *overrides):
    config = compose([*overrides])
    run.mkdir(exist_ok=True)
    memory = Memory()
    return build(cls, config.evaluation, Parts(config, RunDirectory(run))).evaluate(memory), memory


@pytest.fixture(scope="module")
def evaluated(folders, tmp_path_factory):
    """Two models and three seeds beside a scalar model."""
    run = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parts, "sampler_of", lambda parts, *models, seed: Scripted(*models, seed=seed))
        models = f"models={{start: {folders}/one, mid: {folders}/two@step-200, end: {folders}/two}}"
        return run, *evaluate(GenerativeEvaluation, run, *SUITE, models, "seeds=[0,1,5]",
                              "dataset.score_prompt=score_first_5",
                              f"evaluation.scalar_reward={folders}/scorer")  # fmt: skip


def lines(run, **where):
    rows = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def test_figures_are_those_of_the_lines_that_were_kept(evaluated):
    run, summary, _ = evaluated
    assert summary["pairs"] == PAIRS and summary["seeds"] == [0, 1, 5] and summary["reference"] == "start"
    assert list(summary["models"]) == ["start", "mid", "end", "scalar", "random"]
    assert len(lines(run)) == 3 * 3 * PAIRS * 2  # models, seeds, pairs, sides
    by_seed = {}
    for seed in (0, 1, 5):
        rows = lines(run, model="end", seed=seed)
        right, parsed = [], []
        for preferred, other in zip(rows[::2], rows[1::2], strict=True):
            assert (preferred["side"], other["side"]) == ("preferred", "other") and preferred["pair"] == other["pair"]
            held = [[s for s in row["scores"] if s is not None] for row in (preferred, other)]
            parsed += [s is not None for row in (preferred, other) for s in row["scores"]]
            d = statistics.fmean(held[0]) - statistics.fmean(held[1])
            right.append(1 if d > 1e-9 else 0.5 if abs(d) < 1e-9 else 0)
        by_seed[seed] = statistics.fmean(right)
        found = summary["models"]["end"]["seeds"][str(seed)]
        assert found["accuracy"]["mean"] == pytest.approx(by_seed[seed])
        assert found["parse_rate"]["mean"] == pytest.approx(statistics.fmean(parsed))
    accuracy = summary["models"]["end"]["metrics"]["accuracy"]
    assert accuracy["mean"] == pytest.approx(statistics.fmean(by_seed.values())) and accuracy["n"] == PAIRS
    assert accuracy["seed_std"] == pytest.approx(statistics.stdev(by_seed.values()))
    assert accuracy["low"] <= accuracy["mean"] <= accuracy["high"]
    unread = [f for row in lines(run, model="end") for f in row["failures"] if f]
    failures = summary["models"]["end"]["failures"]
    assert sum(failures.values()) == pytest.approx(len(unread) / (3 * PAIRS * 2 * SAMPLES))
    assert set(failures) <= {"unclosed", "out_of_range"} and unread
    several = [tags > 1 for row in lines(run, model="end") for tags in row["tags"]]
    assert summary["models"]["end"]["metrics"]["several_tags_rate"]["mean"] == pytest.approx(np.mean(several))


def test_models_are_compared_with_the_reference_and_with_chance(evaluated):
    _, summary, memory = evaluated
    models = summary["models"]
    accuracy = {label: m["metrics"]["accuracy"]["mean"] for label, m in models.items()}
    assert accuracy["end"] > accuracy["start"]  # as they were written
    for label in ("mid", "end", "scalar", "random"):
        difference = models[label]["difference"]["accuracy"]
        assert difference["mean"] == pytest.approx(accuracy[label] - accuracy["start"])
        assert difference["p_holm"] >= difference["p_value"]
    assert "difference" not in models["start"]
    assert any(line.startswith("Above chance: end") for line in memory.told)
    drawn = np.concatenate([margins(random_scores(_prompt(), PAIRS, SAMPLES, seed)) for seed in (0, 1, 5)])
    assert accuracy["random"] == pytest.approx(correct(drawn).mean())


def _prompt():
    from rlhf.config.score_prompts import load_score_prompt

    return load_score_prompt("score_first_5")


def test_a_random_scorer_is_uniform_over_the_scale():
    scores = random_scores(_prompt(), 20_000, 1, 0)
    values, counts = np.unique(scores.both, return_counts=True)
    assert values.tolist() == [1, 2, 3, 4, 5] and counts / 40_000 == pytest.approx(0.2, abs=0.01)
    assert correct(margins(scores)).mean() == pytest.approx(0.5, abs=0.02)
    assert (margins(scores) == 0).mean() == pytest.approx(0.2, abs=0.02)
    assert not np.array_equal(random_scores(_prompt(), 50, 1, 1).preferred, scores.preferred[:50])


def test_the_scalar_model_has_the_accuracy_that_its_own_suite_gives_it(evaluated, folders, tmp_path):
    _, summary, _ = evaluated
    alone, _ = evaluate(RewardModelEvaluation, tmp_path / "run", *SMALL, "suite=reward_model",
                        f"models=[{folders}/scorer]", "dataset.rules.prompt_too_long=drop",
                        "dataset.max_prompt_tokens=1024")  # fmt: skip
    ours, theirs = summary["models"]["scalar"], alone["models"]["scorer"]["metrics"]
    assert ours["unit"] == "nats" and ours["temperature"] == 1.0
    for name in ("accuracy", "log_loss", "margin"):
        assert ours["metrics"][name]["mean"] == pytest.approx(theirs[name]["mean"])
    assert ours["metrics"]["accuracy"]["seed_std"] == 0.0


def test_tables_exhibits_and_samples_are_written(evaluated):
    run, summary, memory = evaluated
    with open(run / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["model"], r["seed"]) for r in rows[:5]] == [
        ("start", "all"), ("start", "0"), ("start", "1"), ("start", "5"), ("mid", "all")
    ]  # fmt: skip
    end = next(r for r in rows if (r["model"], r["seed"]) == ("end", "1"))
    assert float(end["accuracy"]) == summary["models"]["end"]["seeds"]["1"]["accuracy"]["mean"]
    assert end["scale"] == "1 to 5" and end["temperature"] == "1.0" and end["score_prompt"] == "score_first_5"
    assert [(r["model"], r["seed"]) for r in memory.tables["results"]] == [(r["model"], r["seed"]) for r in rows]
    table = (run / "summary.md").read_text()
    assert "| end | all |" in table and f"{PAIRS} held-out pairs, {SAMPLES} samples a side, seeds 0, 1, 5" in table
    shown = read_exhibits(json.loads((run / "exhibits.json").read_text()))
    titles = [section.title for section in shown.sections]
    assert titles[:6] == ["Results", "Seeds", "Samples", "Calibration", "Margins", "Scores by side"]
    assert "Wrong pairs" in titles
    figures = {figure.name: figure for section in shown.sections for figure in section.figures}
    assert sum(figures["scores-end"].curves[0].y) == pytest.approx(1.0)  # samples without a score among them
    assert figures["averaging"].curves[0].x == [1, 2, 4]
    rows = [row for row in memory.rows if row["model"] == "end, seed 1"]
    assert len(rows) == 2 * PAIRS * SAMPLES and all((r["reward"] is None) == bool(r["failure"]) for r in rows)


def test_checkpoints_of_a_run_are_a_curve(folders, tmp_path):
    run = folders / "two"
    save = run / "checkpoints" / "step-000100"
    save.mkdir(exist_ok=True)
    for name in (run / "checkpoints/step-000200").iterdir():
        (save / name.name).write_bytes(name.read_bytes())
    summary, _ = evaluate(GenerativeEvaluation, tmp_path / "run", *SUITE,
                          f"models=[{run}@step-000100,{run}@step-000200]")  # fmt: skip
    assert {m["score_prompt"] for m in summary["models"].values()} == {"concise_5"}  # of their run
    shown = read_exhibits(json.loads((tmp_path / "run" / "exhibits.json").read_text()))
    curve = next(f for s in shown.sections for f in s.figures if f.name == "checkpoints").curves[0]
    assert (curve.label, curve.x) == ("two", [100, 200])
    assert curve.y == [m["metrics"]["accuracy"]["mean"] for m in list(summary["models"].values())[:2]]


def test_an_interrupted_sweep_samples_what_is_missing_and_ends_alike(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK_PAIRS", 3)
    arguments = (*SUITE, f"models={{start: {folders}/one, end: {folders}/two}}", "dataset.score_prompt=concise_5",
                 "seeds=[3,4]")  # fmt: skip
    whole, _ = evaluate(GenerativeEvaluation, tmp_path / "whole", *arguments)
    assert sorted(p.name for p in (tmp_path / "whole" / "answers").iterdir()) == [
        f"{m}.concise_5.seed{seed}.jsonl" for m in ("end", "start") for seed in (3, 4)
    ]
    once, sample = sorted(Scripted.asked), Scripted.sample
    Scripted.asked, calls = [], []

    def failing(self, prompts, num_samples, *, step):
        calls.append(len(prompts))
        if len(calls) == 7:  # four blocks a model and seed: the third block of the second seed
            raise KeyboardInterrupt
        return sample(self, prompts, num_samples, step=step)

    monkeypatch.setattr(Scripted, "sample", failing)
    with pytest.raises(KeyboardInterrupt):
        evaluate(GenerativeEvaluation, tmp_path / "run", *arguments)
    assert len(lines(tmp_path / "run")) == 2 * PAIRS  # the first seed is there
    again, _ = evaluate(GenerativeEvaluation, tmp_path / "run", *arguments)
    assert sorted(Scripted.asked) == once and calls[:4] == [6, 6, 6, 2]
    assert again == whole and not list((tmp_path / "run" / "answers").glob("*part*"))
    assert (tmp_path / "run" / "scores.jsonl").read_text() == (tmp_path / "whole" / "scores.jsonl").read_text()


def test_a_seed_of_many_is_the_run_with_that_seed(folders, tmp_path):
    asked = (*SUITE, f"models=[{folders}/one]", "dataset.score_prompt=concise_5")
    many, _ = evaluate(GenerativeEvaluation, tmp_path / "many", *asked, "seeds=[0,4]")
    alone, _ = evaluate(GenerativeEvaluation, tmp_path / "alone", *asked, "seed=4")
    assert lines(tmp_path / "many", seed=4) == lines(tmp_path / "alone", seed=4)
    own = alone["models"]["one"]["metrics"]["log_loss"]["mean"]
    assert many["models"]["one"]["seeds"]["4"]["log_loss"]["mean"] == own
    assert alone["seeds"] == [4] and alone["models"]["one"]["metrics"]["accuracy"]["seed_std"] is None


def test_the_log_loss_has_the_temperature_that_was_asked_for(folders, tmp_path):
    asked = (*SUITE, f"models=[{folders}/one]", "dataset.score_prompt=score_first_100")
    summary, _ = evaluate(GenerativeEvaluation, tmp_path / "run", *asked)
    assert summary["models"]["one"]["temperature"] == 25 and summary["models"]["one"]["scale"] == [0, 100]
    other, _ = evaluate(GenerativeEvaluation, tmp_path / "other", *asked, "evaluation.log_loss_temperature=2",
                        f"evaluation.answers={tmp_path}/run")  # fmt: skip
    rows = lines(tmp_path / "run")
    mean = [statistics.fmean(s for s in row["scores"] if s is not None) for row in rows]
    d = np.array(mean[::2]) - np.array(mean[1::2])
    assert summary["models"]["one"]["metrics"]["log_loss"]["mean"] == pytest.approx(np.logaddexp(0, -d / 25).mean())
    assert other["models"]["one"]["metrics"]["log_loss"]["mean"] == pytest.approx(np.logaddexp(0, -d / 2).mean())
    assert len(Scripted.asked) == 2 * PAIRS  # the second took what the first had kept


def test_greedy_is_one_sample(folders, tmp_path):
    greedy = ("rollout.temperature=0", f"models=[{folders}/one]", "dataset.score_prompt=concise_5")
    with pytest.raises(ConfigError, match=r"gives the same score every time, and evaluation.samples_per_prompt=4"):
        compose([*SUITE, *greedy])
    summary, _ = evaluate(GenerativeEvaluation, tmp_path / "run", *SUITE, *greedy, "evaluation.samples_per_prompt=1")
    assert list(summary["models"]["one"]["averaging"]) == ["1"]
    shown = read_exhibits(json.loads((tmp_path / "run" / "exhibits.json").read_text()))
    assert "averaging" not in {figure.name for section in shown.sections for figure in section.figures}
    assert "deviation_right" not in summary["models"]["one"]["metrics"]
    assert math.isfinite(summary["models"]["one"]["metrics"]["log_loss"]["mean"])


def test_what_cannot_be_asked_is_refused(folders, tmp_path):
    with pytest.raises(ConfigError, match="one is no run with a score prompt"):
        evaluate(GenerativeEvaluation, tmp_path / "run", *SUITE, f"models=[{folders}/one]")
    named = (f"models={{random: {folders}/one}}", "dataset.score_prompt=concise_5")
    with pytest.raises(ConfigError, match="a model cannot be called random"):
        evaluate(GenerativeEvaluation, tmp_path / "run", *SUITE, *named)
    short = (f"models=[{folders}/one]", "dataset.score_prompt=concise_5", "dataset.max_prompt_tokens=10")
    with pytest.raises(DataError, match="no pairs left"):
        evaluate(GenerativeEvaluation, tmp_path / "run", *SUITE, *short)
