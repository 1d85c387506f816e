from dataclasses import replace

import pytest
import torch

from rlhf.models.forward import PackedForward
from rlhf.models.reference import make_reference
from rlhf.rewards.function import FunctionReward
from rlhf.trainers.grpo import GRPOTrainer, penalised
from rlhf.types import Prompt, Rollout


def count_e(answers):
    return [a.count("e") / 8 for a in answers]


def trainer(parts, hardware, sampler, reward=count_e, reference=True, **more):
    forward = PackedForward(parts.model, pad_token_id=parts.tokenizer.pad_token_id)
    return GRPOTrainer(
        parts.config,
        policy=parts.model,
        tokenizer=parts.tokenizer,
        reward=FunctionReward(reward),
        prompts=parts.prompts,
        sampler=sampler,
        reference=make_reference(forward) if reference else None,
        hardware=hardware,
        **more,
    )


def test_it_raises_its_reward(tiny, hardware, sampler_for):
    parts = tiny("grpo", "trainer.num_steps=25", "trainer.learning_rate=1e-2", "trainer.kl_coef=0.0")
    sampler = sampler_for(parts, max_new_tokens=8)
    t = trainer(parts, hardware, sampler, reference=False, eval_prompts=parts.prompts)
    before = t.evaluate()["reward_mean"]
    t.train()
    assert t.evaluate()["reward_mean"] > before + 0.3


def test_the_first_step_is_on_policy(tiny, hardware, sampler_for):
    parts = tiny("grpo", "trainer.num_steps=1", "trainer.prompts_per_step=2", "trainer.group_size=4")
    metrics = trainer(parts, hardware, sampler_for(parts, max_new_tokens=8)).train()
    assert metrics["policy/kl_old"] == 0.0 and metrics["policy/clip_fraction"] == 0.0
    assert metrics["policy/kl_ref"] == pytest.approx(0.0, abs=1e-9)


def test_equal_rewards_leave_the_weights_alone(tiny, hardware, sampler_for):
    parts = tiny("grpo", "trainer.num_steps=2", "trainer.kl_coef=0.0", "trainer.prompts_per_step=2")
    before = [p.detach().clone() for p in parts.model.parameters()]
    sampler = sampler_for(parts, max_new_tokens=8)
    metrics = trainer(parts, hardware, sampler, reward=lambda answers: [0.35] * len(answers), reference=False).train()
    assert metrics["reward/no_signal_fraction"] == 1.0
    for then, now in zip(before, parts.model.parameters(), strict=True):
        assert torch.equal(then, now)


@pytest.mark.parametrize("tokens", [1, 100, 4096])
def test_the_step_does_not_depend_on_the_micro_batches(tiny, hardware, sampler_for, tokens):
    rollouts = None

    def weights(budget):
        nonlocal rollouts
        options = (
            "trainer.epochs_per_batch=2",
            "trainer.minibatches=2",
            "trainer.prompts_per_step=4",
            "trainer.group_size=3",
        )
        parts = tiny("grpo", "trainer.learning_rate=1e-3", *options)
        rollouts = rollouts or sampler_for(parts, max_new_tokens=6).sample(parts.prompts.examples[:4], 3, step=1)
        parts.model.double()
        t = trainer(parts, replace(hardware, tokens_per_microbatch=budget), sampler=None)
        t.update(rollouts, torch.randn(12, generator=torch.Generator().manual_seed(0)))
        return torch.cat([p.detach().flatten() for p in parts.model.parameters()])

    torch.testing.assert_close(weights(tokens), weights(300))


def test_later_minibatches_are_off_policy(tiny, hardware, sampler_for):
    options = ("trainer.epochs_per_batch=3", "trainer.learning_rate=1e-2", "trainer.prompts_per_step=2")
    parts = tiny("grpo", "trainer.num_steps=1", *options)
    metrics = trainer(parts, hardware, sampler_for(parts, max_new_tokens=8)).train()
    assert metrics["policy/clip_fraction"] > 0 and metrics["policy/kl_old"] != 0


def test_what_is_logged_and_kept(tiny, hardware, sampler_for):
    parts = tiny("grpo", "trainer.num_steps=1", "trainer.prompts_per_step=2", "trainer.group_size=4")
    t = trainer(parts, hardware, sampler_for(parts, max_new_tokens=8))
    kept = []
    t.control.tracker.samples = lambda step, rows: kept.extend(rows)
    metrics = t.train()
    assert len(kept) == 8 and {"prompt", "answer", "reward", "advantage", "components", "finish"} <= set(kept[0])
    assert metrics["reward/mean"] == pytest.approx(sum(r["reward"] for r in kept) / 8)
    assert metrics["budget/generated_tokens"] == sum(r["length_tokens"] for r in kept)
    for name in ("reward/std", "policy/entropy", "policy/grad_norm", "response/truncated_fraction", "time/rollout_s",
                 "throughput/generated_tokens_per_s", "memory/peak_mb", "optimizer/lr", "loss/total"):  # fmt: skip
        assert name in metrics


def test_cut_answers_pay_the_penalty():
    rollouts = [Rollout(Prompt("p"), (1,), (2,), (0.0,), "a", finish, 0) for finish in ("eos", "length", "stop")]
    assert penalised([1.0, 1.0, 1.0], rollouts, 0.25).tolist() == [1.0, 0.75, 1.0]
