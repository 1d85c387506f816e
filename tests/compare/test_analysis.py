import csv
import io
import math

import pytest

from rlhf.compare.analysis import WIN_RATE, Analysis, held_out_curves
from rlhf.compare.exhibits import comparison_exhibits
from rlhf.compare.findings import findings, pair_of
from rlhf.compare.records import read_judged, read_record
from rlhf.compare.run_figures import over_optimisation, unequal_settings
from rlhf.compare.table import table_csv
from rlhf.errors import ConfigError
from rlhf.exhibits import read_exhibits
from tests.compare.conftest import training_rows, write_evaluation, write_run

MEANS = {"start": 0.1, "grpo-seed0": 0.70, "grpo-seed1": 0.72, "dpo-seed0": 0.50, "dpo-seed1": 0.56}
GRPO = {"trainer": {"prompts_per_step": 4, "group_size": 2}}
DPO = {"trainer": {"batch_size": 6}}


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_config):
    """Two algorithms, two seeds each, and their evaluation; analysed."""
    folder = tmp_path_factory.mktemp("compare")
    records = []
    for label, final in MEANS.items():
        if label == "start":
            continue
        algorithm, seed = label.split("-seed")
        rows = training_rows(final, generated=algorithm == "grpo", seed=int(seed))
        write_run(
            folder / label, stage=algorithm, seed=int(seed), rows=rows, config=GRPO if algorithm == "grpo" else DPO
        )
        records.append(read_record(folder / label, label, algorithm, int(seed)))
    write_evaluation(folder / "evaluation", MEANS, kl={"grpo-seed0": 4.0, "grpo-seed1": 6.0, "dpo-seed0": 8.0})
    config = small_config("compare.amount=2000", "compare.resamples=500").compare
    return Analysis(config, records, read_judged(folder / "evaluation"), seed=0)


@pytest.fixture(scope="module")
def summary(made):
    return made.summary()


def test_each_figure_has_the_interval_of_its_seeds(summary):
    figure = summary["algorithms"]["dpo"]["metrics"]["reward/total"]
    assert figure["mean"] == pytest.approx(0.53) and figure["seeds"] == [0.50, 0.56]
    assert figure["seed_high"] - figure["mean"] == pytest.approx(12.7062 * 0.03, rel=1e-4)  # t(1), s / sqrt(2) = 0.03
    assert figure["seed_low"] < figure["low"] < figure["mean"] < figure["high"] < figure["seed_high"]
    assert summary["ranking"] == ["grpo", "dpo"] and summary["start"]["reward/total"] == 0.1


def test_the_held_out_curve_is_that_of_the_deciding_metric_where_runs_have_it(summary):
    assert held_out_curves("reward/answer")[0] == "eval/reward_answer"
    assert held_out_curves("reward/total")[1:] == ("eval/reward_gold", "eval/reward_mean")
    assert summary["held_out_curve"] == "eval/reward_gold"  # no run logs eval/reward_total


def test_answers_are_set_against_the_starts(summary):
    won = summary["algorithms"]["grpo"]["metrics"][WIN_RATE]
    assert 0.9 < won["mean"] <= 1.0 and len(won["seeds"]) == 2


def test_a_pair_says_what_seeds_and_what_prompts_say(summary):
    (pair,) = summary["pairs"]
    assert (pair["a"], pair["b"]) == ("grpo", "dpo") and pair["mean"] == pytest.approx(0.18)
    assert pair["p_seeds_exact"] == pytest.approx(1 / 3) == pair["p_seeds_exact_smallest"]
    assert pair["p_prompts"] == pair["p_prompts_holm"] < 0.01  # of one pair nothing is adjusted
    turned = pair_of(summary, "dpo", "grpo")
    assert turned["mean"] == -pair["mean"] and (turned["low"], turned["high"]) == (-pair["high"], -pair["low"])


def test_what_was_used_and_how_fast(summary):
    grpo, dpo = (summary["algorithms"][name] for name in ("grpo", "dpo"))
    assert (grpo["spent"]["generated_tokens"], grpo["spent"]["tokens"], grpo["spent"]["seconds"]) == (1000, 2000, 40)
    assert (dpo["spent"]["generated_tokens"], dpo["spent"]["tokens"]) == (0, 2000)
    assert grpo["efficiency"]["samples_per_s"] == pytest.approx(8 * 20 / 40)
    assert dpo["efficiency"]["samples_per_s"] == pytest.approx(2 * 6 * 20 / 40)
    assert grpo["efficiency"]["tokens_per_s"] == 50 and grpo["efficiency"]["peak_memory_mb"] == 520


def test_convergence_is_to_a_share_of_the_best_gain(summary, made):
    # start 0.1, best algorithm ends at 0.71: 0.1 + 0.9 * 0.61; a straight line to 0.7 comes there at 0.549 / 0.6
    assert made.target() == pytest.approx(0.649)
    grpo, dpo = (summary["algorithms"][name]["convergence"] for name in ("grpo", "dpo"))
    assert (grpo["reached"], dpo["reached"]) == (2, 0) and dpo["tokens"]["median"] is None
    assert grpo["steps"]["runs"][0] == pytest.approx(20 * 0.549 / 0.60)
    assert grpo["tokens"]["median"] == pytest.approx(100 * grpo["steps"]["median"])


def test_the_front_of_reward_and_kl(summary):
    assert summary["pareto"]["points"]["start"] == [0.0, 0.1]
    assert summary["pareto"]["front"] == ["start", "grpo-seed0", "grpo-seed1"]  # dpo-seed1 has KL 5 and less reward


def test_two_seeds_are_not_called_significant(summary):
    first = findings(summary)[0]
    assert (first.tone, first.verdict) == ("unclear", "Not beyond seed noise")
    assert (
        "grpo has the highest reward, 0.710, 0.180 above dpo" in first.text and "cannot go below p = 0.33" in first.text
    )


def test_what_is_beyond_seed_noise_is_said_so(summary):
    sure = summary["pairs"][0] | {"p_seeds": 0.001, "p_seeds_holm": 0.001, "low": 0.1, "high": 0.2}
    assert findings(summary | {"pairs": [sure]})[0].verdict == "Beyond seed noise"
    unknown = summary["pairs"][0] | {"p_prompts_holm": 0.4}
    assert findings(summary | {"pairs": [unknown]})[0].verdict == "No difference shown"


def test_budgets_are_checked(summary):
    verdicts = {f.verdict: f for f in findings(summary)}
    assert verdicts["Equal budgets"].text.startswith(
        "2,000 tokens (generated and trained) each, exceeded by 0.0% at most"
    )
    short = {**summary, "budget": {"kind": "tokens", "amount": 4000}}
    assert "Budget not used up" in [f.verdict for f in findings(short)]
    none = {**summary, "budget": {"kind": None, "amount": None}}
    assert "Budgets differ" in [f.verdict for f in findings(none)]
    failed = {**summary, "failed": {"ppo-seed0": ["exit status 2", "ConfigError: x"]}}
    assert findings(failed)[-1].text == "Left out: ppo-seed0: exit status 2, ConfigError: x."


def test_over_optimisation_is_gold_falling_while_learned_rises(made, tmp_path):
    assert not over_optimisation(made.records[0])["flagged"]
    rows = training_rows(0.7)
    rows[-1]["eval/reward_gold"] = 0.2  # at the end, from 0.55 at step 15; the learned reward rose on
    write_run(tmp_path / "run", stage="grpo", seed=0, rows=rows)
    found = over_optimisation(read_record(tmp_path / "run", "a", "grpo", 0))
    assert found["flagged"] and found["peak_step"] == 15 and found["lost"] == pytest.approx(0.35)
    rows[0]["eval/reward_gold"] = 0.9  # nothing was ever gained, so nothing was optimised too far
    write_run(tmp_path / "worse", stage="grpo", seed=0, rows=rows)
    assert not over_optimisation(read_record(tmp_path / "worse", "a", "grpo", 0))["flagged"]


def test_settings_that_differ_are_named(made):
    assert unequal_settings(made.records) == []
    one, other = made.records[0], made.records[2]
    changed = type(other)(**{**vars(other), "config": {**other.config, "model": {"path": "elsewhere"}}})
    assert unequal_settings([one, changed]) == ["model.path: grpo start, dpo elsewhere"]


def test_a_metric_that_was_not_evaluated_is_refused(made):
    config = type(made.config)(**{**vars(made.config), "metric": "reward/nothing"})
    with pytest.raises(
        ConfigError, match=r"compare.metric=reward/nothing was not evaluated. There are: .*reward/total"
    ):
        Analysis(config, made.records, made.judged, seed=0)


def test_the_exhibits_show_everything_and_survive_json(made, summary):
    exhibits = read_exhibits(comparison_exhibits(made, summary).to_dict())
    titles = {s.title: s for s in exhibits.sections}
    assert list(titles) == ["Results", "Along the budget", "Other curves", "Reward and KL", "Convergence and stability",
                            "Answers", "Runs"]  # fmt: skip
    over = {f.name: f for f in titles["Along the budget"].figures}
    assert set(over) == {"over-steps", "over-generated-tokens", "over-trained-tokens", "over-tokens", "over-seconds",
                         "over-flops"}  # fmt: skip
    assert [c.label for c in over["over-tokens"].curves] == ["grpo", "dpo"]
    assert [c.label for c in over["over-generated-tokens"].curves] == ["grpo"]  # dpo generates nothing
    assert over["over-tokens"].curves[0].low is not None and over["over-tokens"].curves[0].x[-1] == 2000
    assert {c.label for f in titles["Reward and KL"].figures for c in f.curves} >= {"grpo 0", "dpo 1", "front", "start"}
    assert titles["Answers"].passages[0].texts[1][0].startswith("grpo")
    rows = {row[0]: row for row in titles["Results"].tables[0].rows}
    assert rows["Reward"][1:3] == ("0.100", {"text": "0.710", "detail": "[0.583, 0.837]"})
    assert exhibits.tiles[0][:2] == ("grpo", "0.710")


def test_the_table_for_other_programs(summary):
    rows = list(csv.DictReader(io.StringIO(table_csv(summary))))
    found = next(r for r in rows if (r["algorithm"], r["metric"]) == ("grpo", "reward/total"))
    assert float(found["mean"]) == pytest.approx(0.71) and found["values"] == "0.7 0.72" and found["seeds"] == "2"


def test_no_number_is_infinite(summary):
    def walk(value):
        if isinstance(value, dict):
            return all(map(walk, value.values()))
        if isinstance(value, (list, tuple)):
            return all(map(walk, value))
        return not isinstance(value, float) or math.isfinite(value)

    assert walk(summary)
