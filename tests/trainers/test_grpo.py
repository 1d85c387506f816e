from dataclasses import replace

import pytest
import torch

from rlhf.config.compose import compose
from rlhf.errors import ConfigError, TripwireError
from rlhf.models.forward import PackedForward
from rlhf.models.reference import make_reference
from rlhf.rewards.function import FunctionReward
from rlhf.trainers.collection import Collected
from rlhf.trainers.experience import experience_of, training_rewards
from rlhf.trainers.grpo import GRPOTrainer
from rlhf.types import Prompt, RewardScores, Rollout


def count_e(answers):
    return [a.count("e") / 8 for a in answers]


def trainer(parts, hardware, sampler, reward=count_e, reference=True, max_new_tokens=8, **more):
    forward = PackedForward(parts.model, pad_token_id=parts.tokenizer.pad_token_id)
    return GRPOTrainer(
        parts.config,
        policy=parts.model,
        tokenizer=parts.tokenizer,
        reward=FunctionReward(reward),
        prompts=parts.prompts,
        sampler=sampler,
        max_new_tokens=max_new_tokens,
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
        rewards = torch.randn(12, generator=torch.Generator().manual_seed(0)).tolist()
        t.learn(Collected(rollouts, RewardScores(rewards, {}), 12, 12, 0.0))
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
    config = compose(["stage=grpo", "reward=gold", "trainer.missing_eos_penalty=0.25"]).trainer
    assert training_rewards([1.0, 1.0, 1.0], rollouts, config, 8).tolist() == [1.0, 0.75, 1.0]


SMALL = ("trainer.num_steps=2", "trainer.prompts_per_step=4", "trainer.group_size=2", "trainer.kl_coef=0.0")


def length_of_first_word(answers):
    """Equal for every second pair of answers."""
    return [float(i % 4 == 1) for i in range(len(answers))]


@pytest.mark.parametrize("no_signal", ["keep", "drop"])
def test_groups_without_signal_are_kept_or_left_out_of_the_denominators(tiny, hardware, sampler_for, no_signal):
    parts = tiny("grpo", *SMALL, f"trainer.no_signal={no_signal}", "trainer.scale=none")
    t = trainer(parts, hardware, None, reference=False)
    rollouts = sampler_for(parts, max_new_tokens=6).sample(parts.prompts.examples[:2], 2, step=1)
    seen = []
    t.optimization.step = lambda: seen.append([p.grad.clone() for p in parts.model.parameters()]) or {}
    t.learn(Collected(rollouts, RewardScores([1.0, 0.0, 0.5, 0.5], {}), 4, 4, 0.5))
    kept, dropped = (sum(len(r.answer_ids) for r in rollouts[:n]) for n in (4, 2))
    parts.model.zero_grad(set_to_none=True)
    t.learn(Collected(rollouts[:2], RewardScores([1.0, 0.0], {}), 2, 2, 0.0))
    factor = 1.0 if no_signal == "drop" else dropped / kept
    for found, alone in zip(*seen, strict=True):
        torch.testing.assert_close(found, factor * alone, atol=1e-6, rtol=1e-4)


def test_groups_of_little_spread_are_left_out_too(tiny, hardware, sampler_for):
    """Two groups, spreads 1 and 0.1: under a bound of 0.2 the round is that of the first group alone."""
    parts = tiny("grpo", *SMALL, "trainer.no_signal=drop", "trainer.scale=none", "trainer.min_reward_spread=0.2")
    t = trainer(parts, hardware, None, reference=False)
    rollouts = sampler_for(parts, max_new_tokens=6).sample(parts.prompts.examples[:2], 2, step=1)
    seen = []
    t.optimization.step = lambda: seen.append([p.grad.clone() for p in parts.model.parameters()]) or {}
    _, shown = t.learn(Collected(rollouts, RewardScores([1.0, 0.0, 0.5, 0.4], {}), 4, 4, 0.5))
    parts.model.zero_grad(set_to_none=True)
    t.learn(Collected(rollouts[:2], RewardScores([1.0, 0.0], {}), 2, 2, 0.0))
    for found, alone in zip(*seen, strict=True):
        torch.testing.assert_close(found, alone, atol=1e-6, rtol=1e-4)
    assert shown.tolist() == pytest.approx([0.5, -0.5, 0.0, 0.0])


def test_resampling_counts_groups_of_little_spread(tiny, hardware, sampler_for):
    parts = tiny("grpo", *SMALL, "trainer.no_signal=resample", "trainer.max_resamples=1",
                 "trainer.min_reward_spread=0.2")  # fmt: skip
    spread = [0.0, 0.1] * 4  # of every group 0.1
    t = trainer(parts, hardware, sampler_for(parts, max_new_tokens=6), lambda answers: spread[: len(answers)], False)
    assert t.collection.next(t.control.timer).silent_fraction == 1.0


def test_a_round_without_any_signal_changes_nothing_when_dropped(tiny, hardware, sampler_for):
    parts = tiny("grpo", *SMALL, "trainer.no_signal=drop")
    before = [p.detach().clone() for p in parts.model.parameters()]
    t = trainer(parts, hardware, sampler_for(parts, max_new_tokens=6), lambda answers: [1.0] * len(answers), False)
    assert t.train()["reward/no_signal_fraction"] == 1.0
    assert all(torch.equal(a, b) for a, b in zip(before, parts.model.parameters(), strict=True))


def test_resampling_draws_other_prompts_until_the_round_is_full(tiny, hardware, sampler_for):
    parts = tiny("grpo", *SMALL, "trainer.no_signal=resample", "trainer.max_resamples=3")
    t = trainer(parts, hardware, sampler_for(parts, max_new_tokens=6), length_of_first_word, False)
    rows = []
    t.control.tracker.samples = lambda step, kept: rows.append(kept)
    metrics = t.train()
    assert metrics["reward/no_signal_fraction"] == 0.5 and t.collection.batches == 4  # two batches a round
    for kept in rows:
        by_prompt = [kept[i : i + 2] for i in range(0, 8, 2)]
        assert all(a["reward"] != b["reward"] and a["prompt_id"] == b["prompt_id"] for a, b in by_prompt)
    assert metrics["budget/generated_tokens"] > sum(r["length_tokens"] for kept in rows for r in kept)


def test_resampling_stops_at_its_bound_and_fills_up(tiny, hardware, sampler_for):
    parts = tiny("grpo", *SMALL, "trainer.no_signal=resample", "trainer.max_resamples=2")
    t = trainer(parts, hardware, sampler_for(parts, max_new_tokens=6), lambda answers: [1.0] * len(answers), False)
    collected = t.collection.next(t.control.timer)
    assert len(collected.rollouts) == 8 and collected.sampled_answers == 24 and collected.silent_fraction == 1.0


def test_masked_truncated_answers_count_in_no_loss_but_in_the_baseline(tiny, hardware, sampler_for):
    parts = tiny("grpo", *SMALL, "trainer.mask_truncated=true")
    rollouts = [
        Rollout(Prompt("p"), (1, 2), (3, 4, 257), (-1.0,) * 3, "a", "eos", 0),
        Rollout(Prompt("p"), (1, 2), (5, 6, 7), (-1.0,) * 3, "b", "length", 1),
    ]
    found = experience_of(rollouts, [1.0, 0.0], parts.config, 3, torch.device("cpu"))
    assert found.mask.tolist() == [[True] * 3, [False] * 3] and found.batch.num_loss_tokens == 3
    t = trainer(parts, hardware, None, reference=False)
    advantages = t.advantages(found)
    assert advantages[0].tolist() == pytest.approx([1.0] * 3) and advantages[1].eq(0).all()
    assert found.counts(torch.arange(2), 1).sequences == 1


@pytest.mark.parametrize("place", ["reward", "advantage"])
def test_kl_in_the_reward_by_hand(tiny, hardware, place):
    parts = tiny("grpo", *SMALL[:3], "trainer.kl_coef=0.5", f"trainer.kl_place={place}", "trainer.kl_estimator=k1",
                 "trainer.scale=none")  # fmt: skip
    t = trainer(parts, hardware, None)
    rollouts = [Rollout(Prompt("p"), (1,), (2, 3)[: i + 1], (0.0,) * (i + 1), "", "eos", i) for i in range(2)]
    found = experience_of(rollouts, [1.0, 0.0], parts.config, 2, torch.device("cpu"))
    found.old, found.reference = torch.tensor([[-1.0, 9], [-2, -3]]), torch.tensor([[-1.4, 9], [-2.2, -3.6]])
    # the tokens' costs: 0.5 x 0.4; 0.5 x 0.2, 0.5 x 0.6
    if place == "reward":  # 1 - 0.2 against 0 - 0.4: 0.6 either side of their mean
        expected = [[0.6, 0], [-0.6, -0.6]]
    else:
        expected = [[0.5 - 0.2, 0], [-0.5 - 0.4, -0.5 - 0.3]]
    torch.testing.assert_close(t.advantages(found), torch.tensor(expected))


def test_whitened_advantages_have_mean_zero_over_tokens(tiny, hardware, sampler_for):
    parts = tiny("grpo", *SMALL, "trainer.whiten=true", "trainer.baseline=none", "trainer.scale=none")
    rollouts = sampler_for(parts, max_new_tokens=6).sample(parts.prompts.examples[:4], 2, step=1)
    found = experience_of(rollouts, [float(i) for i in range(8)], parts.config, 6, torch.device("cpu"))
    values = trainer(parts, hardware, None, reference=False).advantages(found)[found.mask]
    assert values.mean().item() == pytest.approx(0, abs=1e-6) and values.var(unbiased=False).item() == pytest.approx(1)


def test_an_adapted_kl_coefficient_moves_and_is_logged(tiny, hardware, sampler_for):
    parts = tiny(
        "grpo", "trainer.num_steps=3", "trainer.prompts_per_step=2", "trainer.kl_target=1000", "trainer.kl_horizon=4"
    )
    metrics = trainer(parts, hardware, sampler_for(parts, max_new_tokens=6)).train()
    assert metrics["policy/kl_coef"] < parts.config.kl_coef


def test_a_policy_that_is_not_itself_stops_the_run(tiny, hardware, sampler_for):
    parts = tiny("grpo", *SMALL, "trainer.epochs_per_batch=2")
    t = trainer(parts, hardware, sampler_for(parts, max_new_tokens=6), reference=False)
    measure = t.policy_update.measure

    def then_moved(experience, **options):
        measure(experience, **options)
        with torch.no_grad():
            parts.model.get_output_embeddings().weight.mul_(1.5)

    t.policy_update.measure = then_moved
    with pytest.raises(TripwireError, match="away from itself"):
        t.train()


def test_the_entropy_bonus_raises_entropy(tiny, hardware, sampler_for):
    def entropy_after(coef):
        parts = tiny("grpo", "trainer.num_steps=4", "trainer.prompts_per_step=2", "trainer.kl_coef=0",
                     "trainer.learning_rate=1e-3", f"trainer.entropy_coef={coef}")  # fmt: skip
        with torch.no_grad():  # a fresh model is as uncertain as can be
            parts.model.get_input_embeddings().weight.mul_(10)
        zero = lambda answers: [0.0] * len(answers)  # noqa: E731
        return trainer(parts, hardware, sampler_for(parts, max_new_tokens=6), zero, False).train()["policy/entropy"]

    assert entropy_after(1.0) > entropy_after(0.0)


def test_the_mismatch_of_the_sampler_is_logged_and_nothing_for_itself(tiny, hardware, sampler_for):
    parts = tiny("grpo", *SMALL, "trainer.importance_correction=icepop", "trainer.importance_low=0.5")
    metrics = trainer(parts, hardware, sampler_for(parts, max_new_tokens=6), reference=False).train()
    assert metrics["sampler/kl"] == pytest.approx(0, abs=1e-6) and metrics["sampler/ess_fraction"] == pytest.approx(1)
    assert metrics["sampler/ratio_mean"] == pytest.approx(1, abs=1e-4) and metrics["sampler/removed_fraction"] == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.group_size=1"], "group_size must be at least 2"),
        (["trainer.ratio=none", "trainer.minibatches=2"], "right only for the policy that sampled"),
        (["trainer.kl_estimator=k1"], "gradient of mean zero"),
        (["trainer.kl_target=0.1", "trainer.kl_coef=0"], "give it a start"),
        (["trainer.surrogate=cispo", "trainer.ratio=sequence"], "needs ratio=token"),
        (["trainer.dual_clip=3", "trainer.ratio=none"], "bounds a clipped ratio"),
    ],
)
def test_choices_that_contradict_each_other_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose(["stage=grpo", "reward=gold", *overrides])
