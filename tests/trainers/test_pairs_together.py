"""Trainers on pairs: every reward call and every minibatch sees both sides, with all samples, and no step is shared."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.config.compose import compose
from rlhf.config.policy_gradient import GRPOTrainerConfig
from rlhf.config.score_prompts import load_score_prompt
from rlhf.data.loading import prompts_from
from rlhf.data.pointwise import pointwise
from rlhf.data.rendering import Renderer
from rlhf.rollout.native import NativeSampler
from rlhf.trainers.experience import experience_of
from rlhf.trainers.expert_iteration import ExpertIterationTrainer
from rlhf.trainers.grpo import GRPOTrainer
from rlhf.types import PreferencePair, Prompt, RewardScores, Rollout

SCORED = ("dataset.max_prompt_tokens=512", "trainer.group_size=2",
          "trainer.prompts_per_step=4", "trainer.num_steps=5", "trainer.learning_rate=1e-3")  # fmt: skip
CONCISE = load_score_prompt("concise_5")


class Watching:
    """A reward that needs both sides of every pair, all samples of each, in one call; it counts its calls."""

    def __init__(self, group_size):
        self.group_size, self.calls = group_size, []

    def score(self, rollouts):
        seen = {}
        for rollout in rollouts:
            about = rollout.prompt.metadata
            seen.setdefault(about["pair_id"], []).append((about["side"], rollout.sample))
        whole = sorted((side, sample) for side in (0, 1) for sample in range(self.group_size))
        for found in seen.values():
            times, rest = divmod(len(found), len(whole))
            assert rest == 0 and sorted(found) == sorted(whole * times)
        self.calls.append(list(seen))
        return RewardScores([len(r.text) + r.sample / 7 for r in rollouts], {})


def pairs(number):
    return [PreferencePair(Prompt(f"p{i}", text=f"Q{i}"), f"good {i}", f"bad {i}") for i in range(number)]


def trained(trainer_class, tiny, hardware, *overrides, stage="grpo", number=3):
    parts = tiny(stage, "reward=gold", *SCORED, *overrides)
    renderer = Renderer(parts.tokenizer, replace(parts.run.dataset, score_prompt="concise_5"))
    prompts = prompts_from(pairs(number), renderer)
    rollout = replace(parts.run.rollout, max_new_tokens=4)
    sampler = NativeSampler(parts.model, parts.tokenizer, renderer, rollout, batch_size=32, seed=0, hardware=hardware)
    reward = Watching(parts.config.group_size)
    more = {"max_new_tokens": 4} if trainer_class is GRPOTrainer else {}
    trainer = trainer_class(
        parts.config, policy=parts.model, tokenizer=parts.tokenizer, reward=reward, prompts=prompts, sampler=sampler,
        hardware=hardware, **more,
    )  # fmt: skip
    trainer.train()
    return reward


@pytest.mark.parametrize("overrides", [[], ["trainer.no_signal=drop"], ["trainer.no_signal=resample"]])
def test_every_round_of_grpo_has_whole_pairs(tiny, hardware, overrides):
    reward = trained(GRPOTrainer, tiny, hardware, "trainer.kl_coef=0", *overrides)
    assert len(reward.calls) >= 5 and all(len(call) == 2 for call in reward.calls)
    visited = [pair for call in reward.calls for pair in call]
    assert sorted(visited[:3]) == sorted(visited[3:6]) == ["p0", "p1", "p2"]  # epochs of three pairs, two a step


def test_every_round_of_expert_iteration_has_whole_pairs(tiny, hardware):
    reward = trained(ExpertIterationTrainer, tiny, hardware, "trainer.keep_reward=0", stage="expert_iteration")
    assert all(len(call) == 2 for call in reward.calls)


def config(*overrides) -> GRPOTrainerConfig:
    return compose(["stage=grpo", "reward=gold", "model=tiny", *overrides]).trainer


def rollouts_of(prompts, group_size):
    return [
        Rollout(prompt, (1,), (2, i + 3), (0.0, 0.0), "", "eos", sample)
        for i, prompt in enumerate(prompts)
        for sample in range(group_size)
    ]


BASE = config("trainer.group_size=2")


@given(
    number=st.integers(1, 8),
    group_size=st.integers(1, 3),
    minibatches=st.integers(1, 8),
    kept=st.lists(st.booleans(), min_size=16, max_size=16),
)
@settings(max_examples=150, deadline=None)
def test_no_minibatch_parts_a_pair_even_where_sides_have_dropped_out(number, group_size, minibatches, kept):
    sides = [side for pair in pairs(number) for side in pointwise(pair, CONCISE, seed=0)]
    rollouts = rollouts_of(sides, group_size)
    whole = experience_of(rollouts, [0.0] * len(rollouts), replace_size(group_size), 8, torch.device("cpu"))
    keep = torch.tensor(kept[: 2 * number])
    if not keep.any():
        return
    found = whole.select(keep)
    left = [prompt for prompt, k in zip(sides, keep.tolist(), strict=True) if k]
    parts = found.minibatches(minibatches)
    assert torch.cat([answers for _, answers in parts]).tolist() == list(range(len(left) * group_size))
    places = [{int(a) // group_size for a in answers} for _, answers in parts]
    for (batch, answers), groups in zip(parts, places, strict=True):
        assert len(batch.groups) == len(groups) and batch.num_answers == len(answers)
        assert batch.groups == tuple(found.groups[g] for g in sorted(groups))
    of_pair = {}
    for part, groups in enumerate(places):
        for group in groups:
            of_pair.setdefault(left[group].metadata["pair_id"], set()).add(part)
    assert all(len(found_in) == 1 for found_in in of_pair.values())
    assert len(parts) == min(minibatches, len(of_pair))


def replace_size(group_size):
    return (
        replace(BASE, group_size=max(group_size, 2))
        if group_size > 1
        else replace(BASE, group_size=1, baseline="none", scale="none")
    )


def test_prompts_that_are_no_pairs_are_cut_as_before():
    rollouts = rollouts_of([Prompt("a"), Prompt("a"), Prompt("b"), Prompt("c"), Prompt("d")], 2)
    found = experience_of(rollouts, [0.0] * 10, BASE, 8, torch.device("cpu"))
    assert [len(batch.groups) for batch, _ in found.minibatches(2)] == [3, 2]
    assert [len(batch.groups) for batch, _ in found.minibatches(9)] == [1] * 5
