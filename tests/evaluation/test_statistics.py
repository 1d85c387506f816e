"""Statistics against scipy, closed forms, and coverage by simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlhf.errors import DataError
from rlhf.evaluation.statistics import Interval, bootstrap_interval, paired_difference, wilson_interval


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (7, 10), (10, 10), (312, 400), (1, 1)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_equals_scipy(successes, n, confidence):
    ours = wilson_interval(successes, n, confidence=confidence)
    theirs = stats.binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert (ours.mean, ours.n) == (successes / n, n)


def test_wilson_counts_a_tie_as_half():
    assert wilson_interval(5.5, 11).mean == 0.5
    assert wilson_interval(5.5, 11).low == pytest.approx(1 - wilson_interval(5.5, 11).high, abs=1e-12)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, 2 * n), st.just(n))))
def test_wilson_holds_its_rate_and_stays_between_0_and_1(halves_and_n):
    halves, n = halves_and_n
    interval = wilson_interval(halves / 2, n)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


def test_wilson_coverage_is_exact_enough():
    n, rate = 30, 0.9
    covered = [wilson_interval(k, n).low <= rate <= wilson_interval(k, n).high for k in range(n + 1)]
    coverage = sum(stats.binom.pmf(k, n, rate) for k in range(n + 1) if covered[k])  # a sum, not a simulation
    assert 0.93 < coverage < 0.98


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_bootstrap_agrees_with_scipy(method):
    values = np.random.default_rng(3).exponential(size=60)
    ours = bootstrap_interval(values, resamples=20_000, method=method)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=0.95, method=method, rng=np.random.default_rng(4)
    ).confidence_interval
    spread = values.std() / math.sqrt(60)
    assert ours.mean == pytest.approx(values.mean(), abs=1e-12)
    assert abs(ours.low - theirs.low) < 0.06 * spread  # Monte Carlo error of 20,000 resamples, about 3 standard errors
    assert abs(ours.high - theirs.high) < 0.06 * spread


def test_bca_moves_towards_the_long_tail():
    values = np.random.default_rng(0).exponential(size=40)
    bca, percentile = (bootstrap_interval(values, method=m, resamples=8000) for m in ("bca", "percentile"))
    assert bca.low > percentile.low and bca.high > percentile.high


def test_bootstrap_coverage_of_a_skewed_mean():
    rng = np.random.default_rng(11)
    hits = 0
    for trial in range(400):
        interval = bootstrap_interval(rng.exponential(size=50), resamples=600, seed=trial)
        hits += interval.low <= 1.0 <= interval.high
    assert 0.90 < hits / 400 < 0.98  # nominal 0.95; BCa at n = 50 of an exponential reaches about 0.93


def _clustered(rng, prompts=40, answers=6):
    """Values whose spread is between prompts: 4 times the variance within."""
    values = rng.normal(0, 2, size=(prompts, 1)) + rng.normal(0, 1, size=(prompts, answers))
    return values.ravel(), np.repeat(np.arange(prompts), answers)


def test_cluster_bootstrap_covers_and_ignoring_clusters_does_not():
    rng = np.random.default_rng(5)
    with_clusters = without = 0
    for trial in range(300):
        values, prompts = _clustered(rng)
        interval = bootstrap_interval(values, resamples=500, seed=trial, clusters=prompts)
        naive = bootstrap_interval(values, resamples=500, seed=trial)
        with_clusters += interval.low <= 0 <= interval.high
        without += naive.low <= 0 <= naive.high
    assert 0.90 < with_clusters / 300 < 0.985
    assert without / 300 < 0.75  # one standard error is too short by sqrt(1 + 5 * 0.8) = 2.2


def test_clusters_of_one_equal_no_clusters_and_n_counts_clusters():
    values = np.random.default_rng(1).normal(size=30)
    assert bootstrap_interval(values, clusters=[f"p{i}" for i in range(30)]) == bootstrap_interval(values)
    assert bootstrap_interval(values, clusters=["a", "b", "c"] * 10).n == 3


def test_unequal_clusters_keep_the_plain_mean():
    assert bootstrap_interval([1, 1, 1, 5], clusters=["a", "a", "a", "b"]).mean == 2.0


def test_a_seed_repeats_and_chunking_is_invisible(monkeypatch):
    values = np.random.default_rng(2).normal(size=200)
    whole = bootstrap_interval(values, seed=7)
    monkeypatch.setattr("rlhf.evaluation.statistics.CHUNK_ELEMENTS", 5000)
    assert bootstrap_interval(values, seed=7) == whole
    assert bootstrap_interval(values, seed=8) != whole


def test_equal_values_give_a_point_and_one_value_gives_no_interval():
    assert bootstrap_interval([0.5] * 10) == Interval(0.5, 0.5, 0.5, 10)
    single = bootstrap_interval([2.0])
    assert (single.low, single.high) == (-math.inf, math.inf)
    assert json.loads(json.dumps(single.to_dict(), allow_nan=False)) == {"mean": 2.0, "low": None, "high": None, "n": 1}


@pytest.mark.parametrize(
    ("values", "words"), [([], "at least one"), ([1, math.nan], "1 of 2"), ([[1, 2]], "shape"), ([math.inf], "finite")]
)
def test_values_that_say_nothing_are_refused(values, words):
    with pytest.raises(DataError, match=words):
        bootstrap_interval(values)


def test_wrong_arguments_are_refused():
    with pytest.raises(DataError, match="3 labels for 2 values"):
        bootstrap_interval([1, 2], clusters=[1, 2, 3])
    with pytest.raises(DataError, match="2 and 3"):
        paired_difference([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="successes=3, n=2"):
        wilson_interval(3, 2)
    with pytest.raises(DataError, match="confidence"):
        wilson_interval(1, 2, confidence=95)


def test_sign_flip_is_exact_for_few_pairs():
    a, b = [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]
    assert paired_difference(a, b).p_value == 2 / 2**4  # only all-plus and all-minus are as extreme as the data


def test_sign_flip_equals_scipys_permutation_test():
    rng = np.random.default_rng(9)
    a, b = rng.normal(0.4, 1, 10), rng.normal(0, 1, 10)
    theirs = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert paired_difference(a, b).p_value == pytest.approx(theirs.pvalue, abs=1e-12)


def test_sign_flip_by_simulation_is_near_the_exact_value():
    rng = np.random.default_rng(12)
    a, b = rng.normal(0.5, 1, 14), rng.normal(0, 1, 14)
    exact = paired_difference(a, b, resamples=2**14).p_value
    drawn = paired_difference(a, b, resamples=8000).p_value
    assert abs(drawn - exact) < 4 * math.sqrt(exact * (1 - exact) / 8000) + 1 / 8000


def test_paired_difference_is_antisymmetric_and_pairs_remove_shared_spread():
    rng = np.random.default_rng(6)
    prompt_effect = rng.normal(0, 10, 80)
    a, b = prompt_effect + rng.normal(0.5, 1, 80), prompt_effect + rng.normal(0, 1, 80)
    forth, back = paired_difference(a, b, method="percentile"), paired_difference(b, a, method="percentile")
    assert forth.mean == pytest.approx(-back.mean, abs=1e-12)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert forth.p_value == back.p_value and forth.p_bootstrap == back.p_bootstrap
    alone = bootstrap_interval(a)
    assert forth.high - forth.low < (alone.high - alone.low) / 4


def test_p_values_hold_their_level_when_there_is_no_difference():
    rng = np.random.default_rng(21)
    trials = 300
    flips, boots = [], []
    for trial in range(trials):
        result = paired_difference(rng.normal(size=40), rng.normal(size=40), resamples=400, seed=trial)
        flips.append(result.p_value)
        boots.append(result.p_bootstrap)
    assert np.mean(np.array(flips) < 0.05) < 0.09  # 0.05 + 3 standard errors
    assert np.mean(np.array(boots) < 0.05) < 0.11
    assert 0.4 < np.mean(flips) < 0.6  # uniform under the null


def test_no_difference_at_all_has_p_1_and_p_never_is_0():
    assert paired_difference([1, 2, 3], [1, 2, 3]).p_value == 1.0
    assert paired_difference([1, 2, 3], [1, 2, 3]).p_bootstrap == 1.0
    clear = paired_difference(np.arange(50) + 100.0, np.arange(50) * 1.0)
    assert 0 < clear.p_value < 0.001 and 0 < clear.p_bootstrap < 0.002
    assert set(clear.to_dict()) == {"mean", "low", "high", "n", "p_value", "p_bootstrap"}
