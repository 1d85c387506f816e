from pathlib import Path

import pytest

from rlhf.compare.children import overridden_keys
from rlhf.compare.identity import identity, identity_of_run
from rlhf.compare.plan import evaluation_job, make_plan
from rlhf.config.compose import compose
from rlhf.dry_run.comparing import compared_lines
from rlhf.errors import ConfigError

FOLDER = Path("outputs/compare/x")


@pytest.fixture(scope="module")
def plan(small_config):
    return make_plan(small_config("compare.seeds=[3,4]"), FOLDER)


def test_the_runs_of_the_defaults(plan):
    runs = [f"{algorithm}-seed{seed}" for seed in (3, 4) for algorithm in ("ppo", "grpo", "dpo")]
    assert [j.name for j in plan.jobs] == ["start", "reward", *runs]
    assert [j.config.stage for j in plan.jobs[:5]] == ["sft", "reward", "ppo", "grpo", "dpo"]
    assert {j.config.seed for j in plan.runs if j.name.endswith("3")} == {3}


def test_what_is_equal_between_runs(plan):
    for job in plan.runs:
        assert job.config.model.path == str(FOLDER / "runs" / "start") and job.config.model.source == "auto"
        assert job.config.reward.components["learned"].reward.model == str(FOLDER / "runs" / "reward")
        assert job.config.reward.components["gold"].weight == 0  # measured, never trained on
        budget = job.config.budget
        assert (budget.kind, budget.amount, budget.evaluations) == ("tokens", 1000, 4)
        assert (job.config.trainer.num_steps, job.config.evaluation.every) == (100000, 0)
        assert job.config.dataset.limit == 64 and job.config.rollout.max_new_tokens == 8
        assert job.config.checkpoint.after_training == "delete" and job.config.trainer.learning_rate == 1e-3
    assert plan.start.config.budget.kind is None and plan.start.config.trainer.num_steps == 2


def test_every_algorithm_has_its_own_overrides(plan):
    ppo, grpo, dpo = plan.runs[:3]
    assert (ppo.config.trainer.prompts_per_step, ppo.config.trainer.group_size) == (8, 2)
    assert (grpo.config.trainer.prompts_per_step, grpo.config.trainer.group_size) == (4, 4)
    assert dpo.config.trainer.sample_prompts == 32  # so that its rewards and KL are measured too


SUMS = (
    "dataset=arithmetic", "compare.algorithms=[grpo,sft]", "compare.start=some/model", "compare.seeds=[0]",
    "compare.common={reward: math, reward.equality: numeric}",
)  # fmt: skip


def test_imitating_solutions_is_a_baseline(small_config):
    plan = make_plan(small_config(*SUMS, "compare.overrides=null", "compare.start=null"), FOLDER)
    assert [j.name for j in plan.jobs] == ["start", "grpo-seed0", "sft-seed0"]
    grpo, sft = (job.config for job in plan.runs)
    assert (sft.stage, sft.trainer.sample_prompts, sft.reward.kind) == ("sft", 32, "math")
    assert (sft.budget.kind, sft.trainer.num_steps, sft.dataset.path) == ("tokens", 100000, "arithmetic")
    assert sft.model.path == grpo.model.path == str(FOLDER / "runs" / "start")
    assert sft.rollout == grpo.rollout and sft.reward == grpo.reward
    # the start is a stage=sft too, but answers nothing and measures no reward
    assert plan.start.config.trainer.sample_prompts == 0 and plan.start.config.reward.kind == "none"


@pytest.mark.parametrize("kind", ["trained_tokens", "flops", "seconds"])
def test_budgets_that_sft_has(small_config, kind):
    own = "compare.overrides={sft: {trainer.sample_prompts: 7}}"
    plan = make_plan(small_config(*SUMS, own, "compare.algorithms=[sft]", f"compare.budget={kind}"), FOLDER)
    assert (plan.runs[0].config.budget.kind, plan.runs[0].config.trainer.sample_prompts) == (kind, 7)


def test_without_a_reward_nothing_is_answered(small_config):
    own = "compare.algorithms={sft: {stage: sft, reward: none}}"
    plan = make_plan(small_config(*SUMS[:1], *SUMS[2:4], own, "compare.overrides=null"), FOLDER)
    assert plan.reward is None and plan.runs[0].config.trainer.sample_prompts == 0


def test_one_stage_twice_from_a_start_that_is_there(small_config):
    config = small_config(
        "compare.algorithms={grpo: {stage: grpo}, rloo: {stage: grpo, preset: rloo, rollout.max_new_tokens: 6}}",
        "compare.overrides=null", "compare.start=some/sft", "compare.reward=some/rm", "compare.seeds=[0]",
        "compare.common={trainer.learning_rate: 1e-4}", "compare.budget=null", "compare.evaluations=0",
    )  # fmt: skip
    plan = make_plan(config, FOLDER)
    assert [j.name for j in plan.jobs] == ["grpo-seed0", "rloo-seed0"]
    grpo, rloo = plan.jobs
    assert (grpo.config.trainer.baseline, rloo.config.trainer.baseline) == ("group_mean", "leave_one_out")
    assert rloo.config.trainer.learning_rate == 1e-4  # common wins over what a preset says
    assert (grpo.config.rollout.max_new_tokens, rloo.config.rollout.max_new_tokens) == (8, 6)
    assert rloo.config.budget.kind is None and rloo.config.trainer.num_steps == 100  # the stage's own
    assert grpo.config.reward.components["learned"].reward.model == "some/rm"


def test_no_reward_model_is_trained_where_none_is_asked_for(small_config):
    config = small_config("compare.algorithms=[grpo]", "compare.overrides=null", "compare.common={reward: gold}")
    plan = make_plan(config, FOLDER)
    assert plan.reward is None and plan.reward_path is None and plan.runs[0].config.reward.kind == "gold"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["compare.overrides={grpo: {trainer.group_sise: 4}}"],
         "compare.algorithms.grpo: trainer.group_sise is not an option of stage=grpo. Did you mean"),
        (["compare.overrides={grpo: {trainer.minibatches: 3}}"], "grpo-seed0: trainer.minibatches must divide"),
        (["compare.algorithms=[explore]", "compare.overrides=null"],
         "compare.algorithms.explore is stage=explore, which makes no policy better"),
        (["compare.algorithms=[grpo,nothing]", "compare.overrides=null"], "stage=nothing does not exist"),
        (["compare.budget=generated_tokens"], "dpo-seed0: budget.kind=generated_tokens never ends stage=dpo"),
        (["compare.algorithms=[grpo,sft]", "compare.overrides=null", "compare.budget=generated_tokens"],
         "sft-seed0: budget.kind=generated_tokens never ends stage=sft"),
        (["compare.start_overrides={trainer.beta: 1}"], "start: trainer.beta is not an option"),
        (["compare.overrides={grpo: ['trainer.group_size=2,4']}"], "has several values; give each a name of its own"),
    ],
)  # fmt: skip
def test_a_wrong_run_is_refused_before_any_starts(small_config, overrides, said):
    with pytest.raises(ConfigError) as caught:
        make_plan(small_config(*overrides), FOLDER)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["compare.algorithms=[]"], "compare.algorithms must be a list of stages"),
        (["compare.algorithms=[grpo,grpo]", "compare.overrides=null"], "compare.algorithms names one twice"),
        (["compare.algorithms={start: {stage: grpo}}", "compare.overrides=null"], "the name 'start' is taken"),
        (["compare.overrides={rloo: {seed: 1}}"], "compare.overrides.rloo: there is no such algorithm among ppo"),
        (["compare.overrides={grpo: 5}"], "compare.overrides.grpo must be {key: value, ...}"),
        (["compare.common=[nonsense]"], "compare.common must be {key: value, ...}"),
        (["compare.seeds=[1,1]"], "compare.seeds must be different whole numbers"),
        (["compare.budget=steps"], "compare.budget must be one of generated_tokens, trained_tokens"),
        (["compare.amount=null"], "compare.budget=tokens needs compare.amount"),
        (["compare.gpus=0"], "compare.gpus must be null or a list"),
        (["compare.threshold=1.5"], "compare.threshold must lie between 0 and 1"),
        (["compare.runs=[]"], "compare.runs must be a list of run directories"),
    ],
)  # fmt: skip
def test_wrong_keys_of_a_comparison(small_config, overrides, said):
    with pytest.raises(ConfigError) as caught:
        small_config(*overrides)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_evaluation_of_all_models(small_config):
    models = {"start": "runs/start", "grpo-seed0": "runs/grpo"}
    config = small_config()
    shared = {name: config.plain[name] for name in ("model", "dataset", "rollout", "judge")}
    job = evaluation_job(config, FOLDER, models, "runs/reward", shared=shared)
    assert job.config.models == models and job.config.suite == "policy" and job.config.model.path == "runs/start"
    assert job.config.evaluation.reference == "start" and job.config.evaluation.learned_reward == "runs/reward"
    assert job.config.evaluation.limit == 6 and job.config.dataset.limit == 64


def test_overrides_are_read_as_hydra_does():
    assert overridden_keys(["+trainer.beta=1", "reward=gold", "a.b={x: 1}"]) == ["trainer.beta", "reward", "a.b"]
    with pytest.raises(ConfigError, match="takes something away"):
        overridden_keys(["~trainer.beta"])


def test_identity_is_what_is_computed(tmp_path):
    plain = {"stage": "grpo", "seed": 1, "trainer": {"a": 1}, "name": "x", "tracking": {"wandb": True}, "resume": None}
    other = plain | {"name": "y", "tracking": {"wandb": False}, "resume": "z", "resume_changed": "allow"}
    assert identity(plain) == identity(other) != identity(plain | {"trainer": {"a": 2}})
    assert identity(plain, leave_out=("seed",)) == identity(plain | {"seed": 2}, leave_out=("seed",))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("stage: sft\nseed: 0\n")
    paths = [plain | {"model": {"path": f"{tmp_path / name}@step-000002"}} for name in ("one", "two", "three")]
    assert identity(paths[0]) == identity(paths[1]) != identity(paths[2])
    assert identity_of_run(tmp_path) is None


def test_the_demo_is_a_plan():
    plan = make_plan(compose(["experiment=demo/compare"]), FOLDER)
    ppo, grpo, dpo = plan.runs[:3]
    assert (ppo.config.trainer.epochs_per_batch, ppo.config.trainer.critic_init) == (2, "reward_model")
    assert {j.config.budget.amount for j in plan.runs} == {45000} and {j.seed for j in plan.runs} == {0, 1}
    assert {j.config.trainer.learning_rate for j in (ppo, grpo, dpo)} == {1e-5}
    assert {j.config.hardware.name for j in plan.jobs} == {"cpu_bf16"} and dpo.config.trainer.sample_prompts == 48


def test_a_dry_run_names_every_run(small_config):
    lines = list(
        compared_lines(small_config("compare.seeds=[3,4]", "compare.algorithms=[grpo]", "compare.overrides=null"))
    )
    assert lines[0] == "start: <run>/runs/start; reward model: <run>/runs/reward; workers: 1"
    assert [line.split() for line in lines[1:5]] == [
        ["start", "stage=sft", "2", "steps"], ["reward", "stage=reward", "2", "steps"],
        ["grpo-seed3", "stage=grpo", "until", "1,000", "tokens"],
        ["grpo-seed4", "stage=grpo", "until", "1,000", "tokens"],
    ]  # fmt: skip
