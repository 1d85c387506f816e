import pytest

from rlhf.config.sweeps import jobs_of
from rlhf.errors import ConfigError


def test_one_job_without_a_sweep():
    assert jobs_of(["stage=sft", "seed=1"], multirun=False, folder=None) == [["stage=sft", "seed=1"]]


def test_a_grid_is_the_product():
    jobs = jobs_of(["stage=grpo", "trainer.group_size=4,8", "seed=range(0,2)"], multirun=True, folder=None)
    assert jobs == [["stage=grpo", f"trainer.group_size={g}", f"seed={s}"] for g in (4, 8) for s in (0, 1)]


def test_a_stored_grid_needs_no_flag_and_the_command_line_wins():
    jobs = jobs_of(["grid=grpo_group_size", "reward=gold", "seed=5"], multirun=False, folder=None)
    assert {tuple(sorted(j)) for j in jobs} == {
        tuple(sorted(["grid=grpo_group_size", "reward=gold", "seed=5", "stage=grpo", f"trainer.group_size={g}"]))
        for g in (4, 8, 16)
    }


def test_a_large_grid_checks_every_value():
    values = ",".join(map(str, range(20)))
    jobs = jobs_of([f"seed={values}", f"trainer.batch_size={values}"], multirun=True, folder=None)
    assert len(jobs) == 40
    assert {j[0] for j in jobs} == {f"seed={i}" for i in range(20)}


def test_several_values_without_a_multirun_are_refused():
    with pytest.raises(ConfigError, match=r"seed has several values: add -m"):
        jobs_of(["seed=0,1"], multirun=False, folder=None)


def test_an_interval_is_left_to_the_sweeper():
    assert jobs_of(["stage=sft", "trainer.learning_rate=interval(1e-6,1e-4)"], multirun=True, folder=None) == [
        ["stage=sft"]
    ]
