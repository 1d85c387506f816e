"""The library: objects in memory in, a trained model out (docs/library.md)."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import rlhf
from rlhf.data.loading import prompts_from
from rlhf.data.rendering import Renderer
from rlhf.errors import ConfigError, DataError, ModelError, RewardError
from rlhf.in_memory import data_of, reward_of
from rlhf.library import MemoryParts
from rlhf.models.forward import PackedForward
from rlhf.models.lora import attach_lora
from rlhf.models.reference import make_reference
from rlhf.models.saving import save_model
from rlhf.registry import TRAINERS
from rlhf.rewards.function import FunctionReward
from rlhf.rewards.learned import LearnedReward
from rlhf.rollout.copy import CopySampler
from rlhf.rollout.native import NativeSampler
from rlhf.trainers.grpo import GRPOTrainer
from rlhf.types import Continuation, PackedBatch, RewardScores, TokenGroup

ROOT = Path(__file__).parent.parent
GRPO = ("stage=grpo", "trainer.num_steps=2", "trainer.prompts_per_step=2", "trainer.group_size=4",
        "trainer.learning_rate=1e-3", "dataset=local", "dataset.path=memory", "rollout.max_new_tokens=6")  # fmt: skip
PROMPTS = ["sun", "rain", "sea", "tree"]
BATCH = PackedBatch((TokenGroup((5, 9, 3), (Continuation((7, 8, 9)), Continuation((1,)))),))


def letters(prompts, answers, **more):
    return [sum(letter < "e" for letter in answer) / 8 for answer in answers]


@pytest.fixture
def score_model(tiny_model):
    def make(labels=1, **changes):
        config = tiny_model().config
        for key, value in {"num_labels": labels, **changes}.items():
            setattr(config, key, value)
        return AutoModelForSequenceClassification.from_config(config)

    return make


@pytest.fixture
def grpo(tiny_model, byte_tokenizer):
    def make(*overrides, **given):
        values = {
            "policy": tiny_model(),
            "tokenizer": byte_tokenizer,
            "reward": letters,
            "prompts": PROMPTS,
        } | given
        return rlhf.GRPOTrainer(rlhf.compose([*GRPO, *overrides]), **values)

    return make


def test_importing_it_costs_nothing():
    code = "import rlhf, sys; print([m for m in ('torch', 'transformers', 'hydra') if m in sys.modules], dir(rlhf))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.startswith("[] ") and "'GRPOTrainer'" in out and "'compose'" in out


def test_every_trainer_is_in_it():
    for stage, path in TRAINERS.items():
        trainer = getattr(rlhf, path.partition(":")[2])
        assert trainer.stage == stage and trainer is getattr(rlhf, trainer.__name__) and hasattr(trainer, "save_model")
    with pytest.raises(AttributeError, match=r"no attribute 'GPROTrainer'; it has: .*GRPOTrainer"):
        rlhf.GPROTrainer  # noqa: B018


def test_the_page_runs(tmp_path, monkeypatch, tiny_model, byte_tokenizer, capsys):
    monkeypatch.chdir(tmp_path)
    save_model(tiny_model(spread=0.05), byte_tokenizer, tmp_path / "my_model")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/library.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    exec(compile("\n".join(blocks), "docs/library.md", "exec"), {"__name__": "page"})
    assert len(capsys.readouterr().out.split()) == 4
    for name in ("my_sft", "my_grpo"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "outputs" / name)


def test_it_trains_as_the_stage_does(grpo, tiny_model, byte_tokenizer):
    """The same trainer with the parts made by hand: the same weights, bit by bit."""
    ours = grpo("trainer.kl_coef=0.1")
    ours.train()
    run, model = rlhf.compose([*GRPO, "trainer.kl_coef=0.1"]), tiny_model()
    renderer, hardware = Renderer(byte_tokenizer, run.dataset), ours.hardware
    theirs = GRPOTrainer(
        run.trainer,
        policy=model,
        tokenizer=byte_tokenizer,
        reward=FunctionReward(letters),
        prompts=prompts_from(PROMPTS, renderer, name="prompts"),
        sampler=NativeSampler(model, byte_tokenizer, renderer, run.rollout, batch_size=64, seed=0, hardware=hardware),
        max_new_tokens=6,
        reference=make_reference(PackedForward(model, pad_token_id=byte_tokenizer.pad_token_id)),
        hardware=hardware,
    )
    theirs.train()
    assert not torch.equal(next(model.parameters()), next(tiny_model().parameters()))
    assert all(torch.equal(a, b) for a, b in zip(ours.model.parameters(), model.parameters(), strict=True))


def test_a_whole_configuration_and_its_trainers_part(grpo, tiny_model, byte_tokenizer):
    whole = grpo("rollout.temperature=0.5", "rollout.max_new_tokens=3", "seed=7")
    assert whole.sampler.distribution.temperature == 0.5 and whole.max_new_tokens == 3 and whole.sampler.seed == 7
    given = {"policy": tiny_model(), "tokenizer": byte_tokenizer, "reward": letters, "prompts": PROMPTS}
    part = rlhf.GRPOTrainer(rlhf.compose([*GRPO, "rollout.temperature=0.5"]).trainer, **given)
    assert part.sampler.distribution.temperature == 1.0 and part.num_steps == 2 and part.max_new_tokens == 64
    other = rlhf.GRPOTrainer(part.config, sampler=whole.sampler, **given)
    assert other.policy_update.distribution.temperature == 0.5  # answers are scored as they were drawn


def test_a_copy_samples_ahead_where_the_configuration_says_so(grpo):
    ahead = ("rollout.ahead=true", "trainer.importance_correction=token_truncate")
    trainer = grpo("hardware.rollout_device=cpu", *ahead)
    assert isinstance(trainer.sampler, CopySampler) and trainer.sampler.policy is trainer.model
    assert trainer.train()["sampler/staleness_updates"] == 1


def test_only_the_reward_may_be_left_out():
    assert rlhf.compose(["stage=grpo"]).reward is None
    assert rlhf.compose(["stage=grpo", "reward=gold"]).reward.kind == "gold"
    assert rlhf.compose(["stage=sft"]).trainer.batch_size == 16
    with pytest.raises(ConfigError, match=r"Did you mean trainer\.group_size"):
        rlhf.compose(["stage=grpo", "trainer.group_sise=4"])


@pytest.fixture
def renderer(byte_tokenizer):
    return Renderer(byte_tokenizer, rlhf.compose(GRPO).dataset)


def test_prompts_of_every_shape(renderer):
    turns = [[{"role": "user", "content": text}] for text in PROMPTS]
    rows = [{"prompt": text} for text in PROMPTS]
    shapes = (PROMPTS, tuple(PROMPTS), rows, turns, datasets.Dataset.from_list(rows),
              datasets.Dataset.from_list([{"prompt": t} for t in turns]))  # fmt: skip
    found = [data_of("prompts", shape, renderer) for shape in shapes]
    assert len({data.fingerprint for data in found}) == 1 and len(found[0].examples) == 4
    assert data_of("eval_prompts", found[0], renderer) is found[0]


def test_pairs_of_every_shape(renderer):
    chosen, rejected = ([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": a}] for a in ("yes", "no"))
    rows = [{"prompt": "Hi", "chosen": "yes", "rejected": "no"}]
    shapes = (rows, datasets.Dataset.from_list(rows), [{"chosen": chosen, "rejected": rejected}], [(chosen, rejected)])
    assert len({data_of("pairs", shape, renderer).groups for shape in shapes}) == 1


def test_demonstrations_of_every_shape(renderer):
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "yes"}]
    rows = [{"prompt": "Hi", "answer": "yes"}]
    shapes = (rows, datasets.Dataset.from_list(rows), [turns], [{"messages": turns}])
    assert len({data_of("demonstrations", shape, renderer).groups for shape in shapes}) == 1


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("prompts", "sun", "prompts must be a list of examples or a datasets.Dataset; got str"),
        ("prompts", 3, "got int"),
        ("prompts", {"train": PROMPTS}, "got dict; choose a split, such as prompts['train']"),
        ("prompts", ["sun", 3], "prompts:1: expected a dict or a Prompt; got int"),
        ("prompts", [], "no prompts left of 0 rows"),
        ("demonstrations", [[{"role": "user", "content": "Hi"}]], "demonstrations:0: a conversation to imitate"),
        ("prompts", [["Hi"]], "prompts:0: column 'prompt', turn 1: expected role and content; got Hi"),
        ("demonstrations", ["sun"], "demonstrations:0: expected a dict or a Demonstration; got str"),
        ("eval_pairs", [("a", "b", "c")], "eval_pairs:0: expected a dict or a PreferencePair; got tuple"),
        ("pairs", [{"question": "sun"}], "cannot tell the format from the columns 'question'"),
    ],
)
def test_examples_that_are_none_are_refused(renderer, name, data, said):
    with pytest.raises(DataError) as caught:
        data_of(name, data, renderer)
    assert said in str(caught.value) and "\n" not in str(caught.value)


class Constant:
    def score(self, rollouts):
        return RewardScores([1.0] * len(rollouts), {})


def test_rewards_of_every_kind(renderer, hardware, score_model):
    kept = Constant()
    assert reward_of(kept, renderer, hardware) is kept
    assert isinstance(reward_of(letters, renderer, hardware), FunctionReward)
    learned = reward_of(score_model(), renderer, hardware)
    assert isinstance(learned, LearnedReward) and not any(p.requires_grad for p in learned.model.parameters())


def test_what_is_no_reward_is_refused(renderer, hardware, score_model, tiny_model):
    for wrong, said in (
        (3, "reward must be a function .*; got int"),
        ("letters", "got str"),
        (lambda texts: [], "needs 'texts', which nobody gives"),
        (tiny_model(), "LlamaForCausalLM gives no single score"),
        (score_model(labels=3), "gives no single score"),
        (score_model(vocab_size=200, pad_token_id=None, eos_token_id=None), "knows 200 tokens .* reward_tokenizer="),
    ):  # fmt: skip
        with pytest.raises(RewardError, match=said):
            reward_of(wrong, renderer, hardware)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"policy": "gpt2"}, ModelError, "policy must be a model of transformers"),
        ({"tokenizer": "gpt2"}, ModelError, "tokenizer must be a tokenizer of transformers"),
        ({"prompts": None}, ConfigError, "GRPOTrainer needs prompts="),
        ({"promts": PROMPTS}, ConfigError, "GRPOTrainer takes no promts=; did you mean prompts"),
    ],
)
def test_arguments_that_do_not_fit_are_named(grpo, given, error, said):
    with pytest.raises(error, match=said):
        grpo(**given)


def test_a_configuration_of_another_stage_is_refused(tiny_model, byte_tokenizer):
    for config in (rlhf.compose(["stage=sft"]), rlhf.compose(["stage=sft"]).trainer, {"num_steps": 2}, None):
        with pytest.raises(
            ConfigError, match=r'config must be compose\(\["stage=reward", ...\]\) or its .trainer; got'
        ):
            rlhf.RewardTrainer(config, reward_model=tiny_model(), tokenizer=byte_tokenizer, pairs=[])


def test_held_out_examples_are_evaluated(grpo):
    assert "eval/reward_mean" in grpo(eval_prompts=["moon"]).train()
    assert not any(name.startswith("eval/") for name in grpo().train())


def test_an_adapter_that_was_trained_belongs_to_the_start(grpo, tiny_model, model_config):
    policy = attach_lora(tiny_model(), model_config().lora, seed=0, task="CAUSAL_LM")
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    trainer = grpo("trainer.kl_coef=0.1", policy=policy)
    reference = trainer.policy_update.reference
    start = reference.scores(BATCH).logprobs
    with torch.no_grad():
        torch.testing.assert_close(start, trainer.policy_update.forward(BATCH).logprobs)
        with policy.disable_adapter():
            assert not torch.allclose(start, trainer.policy_update.forward(BATCH).logprobs, atol=1e-3)
    trainer.train()
    assert torch.equal(reference.scores(BATCH).logprobs, start)


def test_the_policy_that_learns_is_the_one_that_sampled(grpo, tiny_model, caplog):
    model = tiny_model("gpt2", attn_pdrop=0.1, resid_pdrop=0.1, embd_pdrop=0.1)
    with caplog.at_level(logging.WARNING):
        trainer = grpo("trainer.num_steps=1", policy=model)
    assert "dropout is off" in caplog.text
    forward = trainer.policy_update.forward.train()
    assert torch.equal(forward(BATCH).logprobs, forward(BATCH).logprobs)


def test_saved_models_load_and_nothing_is_overwritten(grpo, tmp_path, byte_tokenizer):
    trainer = grpo()
    trainer.save_model(tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), trainer.model.parameters(), strict=True))
    with pytest.raises(ModelError, match="out is not empty; name a folder that does not exist yet"):
        trainer.save_model(tmp_path / "out")


def test_parts_follow_from_what_was_given(tiny_model, byte_tokenizer):
    """A part that a trainer wants and nobody gave comes from rlhf.parts: a new trainer needs no line here."""
    given = {"policy": tiny_model(), "tokenizer": byte_tokenizer, "prompts": PROMPTS, "reward": letters}
    parts = MemoryParts(rlhf.compose(GRPO), ["policy", "sampler", "renderer"], given)
    assert parts.part("sampler").model is given["policy"] and parts.part("renderer").tokenizer is byte_tokenizer


def test_preferences_need_no_sampler(tiny_model, byte_tokenizer):
    pairs = [{"prompt": w, "chosen": f"yes {w}", "rejected": "no"} for w in PROMPTS]
    config = rlhf.compose(["stage=dpo", "trainer.num_steps=1", "trainer.batch_size=2"]).trainer
    trainer = rlhf.DPOTrainer(config, policy=tiny_model(), tokenizer=byte_tokenizer, pairs=pairs)
    assert trainer.train()["loss/total"] == pytest.approx(0.693147, abs=1e-5)  # ln 2: policy and reference agree


def ppo(byte_tokenizer, *overrides, **given):
    config = rlhf.compose(["stage=ppo", *GRPO[1:], *overrides])
    return rlhf.PPOTrainer(config, tokenizer=byte_tokenizer, prompts=PROMPTS, **given)


def test_a_critic_of_its_own_starts_as_a_model_that_was_given(tiny_model, byte_tokenizer, score_model):
    policy = tiny_model(hidden_size=16)
    trainer = ppo(byte_tokenizer, "trainer.critic=separate", policy=policy, reward=letters)
    body = trainer.critic.model.model.state_dict()
    assert all(torch.equal(body[name], value) for name, value in policy.model.state_dict().items())
    assert not trainer.critic.model.score.weight.any()
    assert "value/explained_variance" in trainer.train()
    started = ppo(byte_tokenizer, "trainer.critic_init=reward_model", policy=policy, reward=(model := score_model()))
    assert torch.equal(started.critic.model.score.weight, model.score.weight) and started.critic.model is not model
    with pytest.raises(ConfigError, match="needs reward= to be a sequence-classification model"):
        ppo(byte_tokenizer, "trainer.critic_init=reward_model", policy=policy, reward=letters)
