import dataclasses
from importlib.util import find_spec

import pytest
from omegaconf import OmegaConf

from rlhf.config.compose import compose, compose_raw
from rlhf.config.door import open_config
from rlhf.config.paths import config_folder
from rlhf.config.run import STAGES
from rlhf.errors import ConfigError

GOLD = ["stage=grpo", "reward=gold"]
STAGE_OVERRIDES = {
    "sft": [],
    "reward": [],
    "dpo": [],
    "grpo": ["reward=gold"],
    "ppo": ["reward=gold"],
    "expert_iteration": ["reward=gold"],
    "selfcheck": [],
    **{f"selfcheck/{stage}": [] for stage in ("sft", "reward", "dpo", "ppo")},
    "eval": [],
    "explore": [],
    "pointwise": [],
    "teacher": [],
    "compare": [],
    "report": ["runs=[outputs/a]"],
    "export": ["export.run=outputs/a"],
}


def options(group):
    folder = config_folder("conf") / group
    return sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml") if p.stem != "base")


def message(overrides):
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_stage_composes_and_is_frozen(stage):
    run = compose([f"stage={stage}", *STAGE_OVERRIDES[stage]])
    assert run.stage == stage
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.hardware.threads = 3


def test_every_stage_file_has_a_schema_and_a_test_here():
    assert set(options("stage")) == set(STAGES) == set(STAGE_OVERRIDES)


@pytest.mark.parametrize("group", ["model", "dataset", "hardware", "tracking", "rollout"])
def test_every_option_of_every_group_opens(group):
    needs = {"model=local": ["model.path=x"], "dataset=local": ["dataset.path=x"]}
    needs["dataset=teacher_scores"] = ["dataset.path=x"]
    needs["dataset=reasoning_gym"] = ["dataset.task=chain_sum"]
    for option in options(group):
        choice = f"{group}={option}"
        if choice == "rollout=vllm" and find_spec("vllm") is None:
            assert "needs the package vllm, which is not installed" in message([*GOLD, choice])
            needs[choice] = ["rollout.vllm.python=/opt/vllm/bin/python"]
        if choice == "dataset=reasoning_gym" and find_spec("reasoning_gym") is None:
            assert "needs the package reasoning-gym" in message([*GOLD, choice, *needs[choice]])
            continue
        assert getattr(compose([*GOLD, choice, *needs.get(choice, [])]), group) is not None


@pytest.mark.parametrize("reward", options("reward"))
def test_every_reward_opens(reward):
    needs = {
        "learned": ["reward.model=x"],
        "function": ["reward.function=a:b"],
        "weighted": ["reward.components.learned.model=x"],
        "math": ["dataset=gsm8k", "reward.equality=numeric"],
        "exact_match": ["dataset=gsm8k"],
        "regex": ["dataset=gsm8k", "reward.pattern=a"],
        "reasoning_gym": ["dataset=gsm8k"],
        "bt_pairwise": ["dataset.score_prompt=score_first_5"],
        "generative": ["reward.model=x"],
    }
    if reward == "reasoning_gym" and find_spec("reasoning_gym") is None:
        assert "needs the package reasoning-gym" in message(["stage=grpo", f"reward={reward}", *needs[reward]])
        return
    stage = ["stage=dpo"] if reward == "none" else ["stage=grpo"]  # dpo and sft can do without one
    assert compose([*stage, f"reward={reward}", *needs.get(reward, [])]).reward.kind == reward


@pytest.mark.parametrize("debug", options("debug"))
@pytest.mark.parametrize("stage", ["sft", "reward", "grpo", "ppo"])
def test_every_debug_option_opens(debug, stage):
    assert compose([f"stage={stage}", *STAGE_OVERRIDES[stage], f"debug={debug}"]).tracking.console == "plain"


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_opens(experiment):
    needs = ["reward.components.learned.model=x"] if experiment.endswith(("grpo", "rloo", "ppo")) else []
    if experiment == "math_r1_zero" and find_spec("math_verify") is None:
        assert "needs the package math-verify" in message([f"experiment={experiment}"])
        return
    assert compose([f"experiment={experiment}", *needs]).name


def test_values_survive_the_door():
    run = compose([*GOLD, "trainer.group_size=4", "seed=7", "model.lora.enabled=true", "trainer.learning_rate=3e-6"])
    assert (run.trainer.group_size, run.seed, run.model.lora.enabled) == (4, 7, True)
    assert run.trainer.learning_rate == 3e-6
    assert run.plain["trainer"]["group_size"] == 4


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            [*GOLD, "trainer.group_sise=8"],
            "trainer.group_sise is not an option of stage=grpo. Did you mean trainer.group_size?",
        ),
        (
            [*GOLD, "+trainer.group_sise=8"],
            "trainer.group_sise is not an option of stage=grpo. Did you mean trainer.group_size?",
        ),
        ([*GOLD, "++model.lora.rnk=8"], "model.lora.rnk is not an option of stage=grpo. Did you mean model.lora.rank?"),
        (["stage=sft", "trainer.group_size=8"], "trainer.group_size is not an option of stage=sft. Options: trainer."),
        (["stage=sft", "+trainer.group_size=8"], "trainer.group_size is not an option of stage=sft. Options: trainer."),
        (["experiment=demo/compare", "compare.sed=1"], "compare.sed is not an option of stage=compare. Did you mean"),
        (["stage=sft", "sed=1"], "sed is not an option of stage=sft. Did you mean seed?"),
        (["stage=reward", "reward=gold"], "reward is not an option of stage=reward"),
        (["stage=sftt"], "stage=sftt does not exist. Did you mean stage=sft?"),
        (["model=smolm2", "stage=sft"], "Did you mean model=smollm2_135m?"),
        (["stage=sft", "grid=nothing"], "grid=nothing does not exist"),
        ([*GOLD, "trainer.group_size=8.5"], "trainer.group_size must be a whole number; got 8.5"),
        (["stage=sft", "trainer.learning_rate=abc"], "trainer.learning_rate must be a number; got 'abc'"),
        (["stage=sft", "model.lora.enabled=maybe"], "model.lora.enabled must be true or false; got 'maybe'"),
        (["stage=sft", "model=local"], "model.path has no value"),
        (["stage=grpo"], "the learned reward has no model"),
        (["stage=grpo", "reward=weighted"], "the learned reward has no model"),
        (
            ["stage=grpo", "reward=weighted", "reward.components.learned.weight=x"],
            "reward.components.learned.weight must be a number",
        ),
        (["stage=grpo", "reward=function"], "reward.function must be written module:function"),
        ([*GOLD, "trainer.group_size=1"], "trainer.group_size must be at least 2"),
        ([*GOLD, "trainer.minibatches=3"], "trainer.minibatches must divide trainer.prompts_per_step=8"),
        ([*GOLD, "rollout.temperature=0"], "rollout.temperature=0"),
        ([*GOLD, "model.lora.enabled=true", "model.lora.dropout=0.1"], "model.lora.dropout=0.1 makes the policy"),
        ([*GOLD, "rollout.engine=vllm"], "rollout.engine=vllm with no section rollout.vllm: choose by rollout=native"),
        ([*GOLD, "evaluation.patience=2"], "evaluation.patience needs checkpoint.select_on"),
        (
            ["stage=sft", "trainer.lr_schedule=step"],
            "trainer.lr_schedule must be one of constant, linear, cosine; got 'step'",
        ),
        (["stage=sft", "seed=-1"], "seed must be at least 0; got -1"),
        (["stage=sft", "seed=a"], "seed must be a whole number; got 'a'"),
        (["stage=report"], "runs is empty"),
        (["stage=export"], "export.run has no value"),
        (["stage=export", "export.run=''"], "export.run is empty"),
        (["stage=sft", "trainer.loss_on=all"], "trainer.loss_on must be one of answer, assistant_turns; got 'all'"),
        (["stage=sft", "model.lora.quantize=int8"], "model.lora.quantize must be one of none, nf4; got 'int8'"),
        (["stage=sft", "model.lora.quantize=nf4"], "it needs model.lora.enabled=true"),
        (["stage=reward", "model.lora.quantize=nf4"], "is there for stage=sft, dpo, grpo; got stage=reward"),
        (["stage=eval", "suite=nothing"],
         "suite=nothing does not exist. Options: generative_rm, math, policy, reward_model, score_variance"),
        (["stage=eval", "models=x"], "models must be a list"),
        (["stage=sft", "dataset.streaming=true"], "dataset.streaming=true needs dataset.limit"),
        (["nonsense"], "nonsense"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_that_says_what_is_right(overrides, said):
    assert said in message(overrides)


@pytest.mark.parametrize("stage", ["sft", "reward", "grpo"])
def test_a_key_missing_in_yaml_is_an_error(stage):
    cfg = OmegaConf.to_container(compose_raw([f"stage={stage}", *STAGE_OVERRIDES[stage]]))
    del cfg["trainer"]["max_grad_norm"]
    with pytest.raises(ConfigError, match=r"trainer.max_grad_norm is missing"):
        open_config(cfg)


def test_yaml_and_schema_name_the_same_keys():
    for stage, schema in STAGES.items():
        cfg = compose_raw([f"stage={stage}", *STAGE_OVERRIDES[stage]])
        for section, cls in schema.items():
            if not isinstance(cls, dict):
                assert set(cfg[section]) == {f.name for f in dataclasses.fields(cls)}, f"{stage}: {section}"


def test_text_that_looks_like_an_interpolation_stays_text():
    cfg = OmegaConf.to_container(compose_raw(["stage=sft"]), resolve=True)
    cfg["dataset"]["system_prompt"] = r"Write \${name} and stop."
    assert open_config(cfg).dataset.system_prompt == "Write ${name} and stop."
