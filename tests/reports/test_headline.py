"""The sentences follow from the numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from rlhf.reports.headline import findings, result, tiles, watch
from rlhf.reports.progress import _t_quantile, change, smoothed
from rlhf.reports.reading import read_run


def _rewrite(run, series: dict[str, list[float]], first_step: int = 1) -> None:
    """Replace metrics.jsonl by these series."""
    length = len(next(iter(series.values())))
    rows = [{"step": first_step + i} | {name: values[i] for name, values in series.items()} for i in range(length)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _only(run):
    (finding,) = findings(read_run(run))
    return finding


def test_gold_that_turns_down_is_the_headline(healthy):
    finding = _only(healthy)
    assert (finding.tone, finding.verdict) == ("bad", "Over-optimised")
    assert "peaked at" in finding.text and "learned reward went on rising" in finding.text


def test_a_clear_rise_is_an_improvement(healthy):
    rng = np.random.default_rng(0)
    _rewrite(healthy, {"reward/mean": list(np.linspace(0, 1, 60) + rng.normal(0, 0.1, 60))})
    finding = _only(healthy)
    assert finding.tone == "good" and "Training reward rose from" in finding.text and "95% interval +" in finding.text


def test_a_clear_fall_is_not(healthy):
    rng = np.random.default_rng(0)
    _rewrite(healthy, {"reward/mean": list(np.linspace(1, 0, 60) + rng.normal(0, 0.1, 60))})
    assert (_only(healthy).tone, _only(healthy).verdict) == ("bad", "Got worse")


def test_noise_alone_is_rarely_called_a_change(healthy):
    verdicts = []
    for seed in range(60):
        _rewrite(healthy, {"reward/mean": np.random.default_rng(seed).normal(size=60).tolist()})
        verdicts.append(_only(healthy).tone)
    assert verdicts.count("unclear") >= 50  # 95% expected


def test_noise_alone_is_rarely_called_over_optimisation(healthy):
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        learned = np.linspace(0, 1, 100) + rng.normal(0, 0.05, 100)
        gold = np.linspace(0, 0.5, 100) + rng.normal(0, 0.1, 100)
        _rewrite(
            healthy, {"reward/learned": learned.tolist(), "reward/gold": gold.tolist(), "reward/mean": learned.tolist()}
        )
        alarms += _only(healthy).verdict == "Over-optimised"
    assert alarms == 0


def test_a_held_out_rise_that_training_does_not_share_is_not_clear(healthy):
    noise = np.random.default_rng(1).normal(0, 1, 40)
    _rewrite(healthy, {"reward/mean": noise.tolist(), "eval/reward_mean": np.linspace(0, 0.1, 40).tolist()})
    assert _only(healthy).tone == "unclear"


def test_for_a_loss_down_is_good_and_its_unit_is_told(unevaluated):
    finding = _only(unevaluated)
    assert finding.verdict == "Improved" and "Training loss fell from" in finding.text and "nats" in finding.text


def test_held_out_accuracy_gets_an_interval_where_the_number_of_examples_is_known(reward_run):
    finding = _only(reward_run)
    assert "Held-out accuracy rose from 51.0% to 74.0%" in finding.text
    moved = change(read_run(reward_run), "eval/accuracy")
    expected = 1.96 * np.sqrt((0.51 * 0.49 + 0.74 * 0.26) / 200)
    assert moved.half_width == pytest.approx(expected, rel=1e-9)


def test_a_failed_run_says_why_and_when(failed):
    finding = _only(failed)
    assert finding.tone == "failed"
    assert "after 23 steps" in finding.text and "TripwireError: the gradient norm is nan" in finding.text
    assert "Loss was not a finite number at step 23." in watch(read_run(failed))


def test_a_preempted_run_says_how_to_go_on(healthy):
    (healthy / "status.json").write_text(json.dumps({"state": "preempted", "seconds": 10}))
    assert "resume=" in _only(healthy).text


def test_an_evaluation_is_judged_by_its_intervals(evaluation):
    better, unclear = findings(read_run(evaluation))
    assert (better.tone, unclear.tone) == ("good", "unclear")
    assert "grpo scores 0.316 above start (95% interval 0.254 to 0.378; p < 0.001)" in better.text
    assert "dpo differs from start by +0.029 (95% interval −0.033 to +0.091; p = 0.34)" in unclear.text
    assert any("dpo's answers have 71.0 tokens against 37.9" in note for note in watch(read_run(evaluation)))


def test_a_worse_model_is_called_worse(evaluation):
    summary = json.loads((evaluation / "summary.json").read_text())
    summary["models"]["grpo"]["difference"]["reward/total"] = {
        "mean": -0.2,
        "low": -0.3,
        "high": -0.1,
        "p_value": 0.004,
    }
    (evaluation / "summary.json").write_text(json.dumps(summary))
    worse = findings(read_run(evaluation))[0]
    assert worse.tone == "bad" and "grpo scores 0.20 below start (95% interval 0.10 to 0.30; p = 0.004)" in worse.text


@pytest.mark.parametrize(("low", "high", "tone"), [(0.6, 0.8, "good"), (0.45, 0.6, "unclear"), (0.2, 0.4, "bad")])
def test_reward_models_are_judged_against_chance(evaluation, low, high, tone):
    accuracy = {"mean": (low + high) / 2, "low": low, "high": high, "n": 200}
    summary = {"suite": "reward_model", "confidence": 0.9, "models": {"rm": {"metrics": {"accuracy": accuracy}}}}
    (evaluation / "summary.json").write_text(json.dumps(summary))
    (finding,) = findings(read_run(evaluation))
    assert finding.tone == tone and "90% interval" in finding.text and "chance is 50%" in finding.text


def test_an_interval_from_one_prompt_is_not_a_verdict(evaluation):
    summary = json.loads((evaluation / "summary.json").read_text())
    summary["models"]["grpo"]["difference"]["reward/total"] = {"mean": 0.9, "low": None, "high": None, "p_value": 1.0}
    (evaluation / "summary.json").write_text(json.dumps(summary))
    assert findings(read_run(evaluation))[0].tone == "unclear"


def test_tiles_and_result(healthy, evaluation):
    labels = [tile.label for tile in tiles(read_run(healthy))]
    assert labels == ["Held-out reward", "KL to the start", "Entropy", "Answer length", "Steps", "Time"]
    assert [tile.value for tile in tiles(read_run(evaluation))][:3] == ["0.102", "0.418", "0.131"]
    assert result(read_run(healthy))[1].startswith("held-out reward, from")


@pytest.mark.parametrize("degrees", [4, 8, 18, 98])
def test_t_quantile_is_near_scipys(degrees):
    assert _t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.02)


def test_smoothing_keeps_constants_and_lengths():
    assert smoothed(np.full(50, 3.0)).tolist() == [3.0] * 50
    assert len(smoothed(np.arange(7.0))) == 7
    inner = smoothed(np.arange(100.0))[5:-5]
    np.testing.assert_allclose(inner, np.arange(100.0)[5:-5])


@pytest.mark.parametrize(
    ("stage", "when"), [("grpo", "before its first step (2 min 05 s)"), ("compare", "after 2 min 05 s")]
)
def test_a_failure_says_when_by_what_its_stage_counts(tmp_path, stage, when):
    run = tmp_path / "run"
    run.mkdir()
    status = {"state": "failed", "stage": stage, "seconds": 125.0, "error": {"type": "RunsFailed", "message": "one"}}
    (run / "status.json").write_text(json.dumps(status))
    (run / "config.yaml").write_text(f"stage: {stage}\nname: x\n")
    assert findings(read_run(run))[0].text == f"Stopped {when}: RunsFailed: one"
