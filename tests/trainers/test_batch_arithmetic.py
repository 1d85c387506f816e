"""The numbers of the course that docs/mathematics.md translates: steps a round, and what each loss does in them."""

from __future__ import annotations

import pytest
import torch

from rlhf.models.forward import PackedForward
from rlhf.trainers.collected import Collected
from rlhf.trainers.grpo import GRPOTrainer
from rlhf.types import Prompt, RewardScores, Rollout

TRAINED = "trainer.epochs_per_batch={}", "trainer.minibatches={}"


def rollouts_of(prompts, group_size, seed=0):
    """Ragged answers of random bytes, and random rewards."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for number in range(prompts):
        for sample in range(group_size):
            ids = tuple(torch.randint(97, 122, (1 + (number + 2 * sample) % 5,), generator=draw).tolist())
            prompt = Prompt(str(number), text=str(number))
            found.append(Rollout(prompt, (65 + number % 20, 66), ids, (0.0,) * len(ids), "", "eos", sample))
    return found, torch.randn(len(found), generator=draw, dtype=torch.float64).tolist()


@pytest.fixture
def learner(tiny, hardware):
    """learner(*overrides) -> (trainer, learn): a GRPO trainer that learns one round of given answers."""

    def make(*overrides):
        parts = tiny("grpo", *overrides)
        parts.model.double()
        trainer = GRPOTrainer(
            parts.config, policy=parts.model, tokenizer=parts.tokenizer, reward=None,
            prompts=parts.prompts, sampler=None, max_new_tokens=8, hardware=hardware,
        )  # fmt: skip
        return trainer, lambda given, rewards: trainer.learn(
            Collected(given, RewardScores(rewards, {}), len(given), 0, 0.0)
        )

    return make


def logprobs(model, rollout):
    """[T] of the answer's tokens, straight from the model."""
    ids = torch.tensor([rollout.prompt_ids + rollout.answer_ids])
    rows = model(ids).logits[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
    return rows.gather(1, torch.tensor(rollout.answer_ids)[:, None])[:, 0]


@pytest.mark.parametrize(
    ("preset", "overrides", "prompts", "expected"),
    [  # rollout batch, train batch and epochs of the course -> answers of each optimiser step of a round
        ("reinforce", (), 32, [256]),
        ("reinforce_with_baseline", (), 32, [256]),
        ("grpo_clip", ("trainer.epochs_per_batch=4",), 32, [256] * 4),
        ("grpo_clip", ("trainer.epochs_per_batch=4", "trainer.minibatches=4"), 32, [64] * 16),
        ("grpo_clip", ("trainer.prompts_per_step=128", "trainer.minibatches=4"), 128, [256] * 4),
    ],
)
def test_optimiser_steps_of_a_round(learner, preset, overrides, prompts, expected):
    trainer, learn = learner(f"preset={preset}", "trainer.prompts_per_step=32", "trainer.group_size=8", *overrides)
    assert trainer.config.prompts_per_step == prompts
    given, rewards = rollouts_of(prompts, 8)
    seen, steps, minibatch = [], [], trainer.policy_update.minibatch

    def counted(experience, batch, answers):
        seen.append(answers.tolist())
        return minibatch(experience, batch, answers)

    trainer.policy_update.minibatch = counted
    trainer.optimization.step = lambda: steps.append(1) or trainer.model.zero_grad() or {}
    learn(given, rewards)
    assert [len(answers) for answers in seen] == expected and len(steps) == len(expected)
    epochs = trainer.config.epochs_per_batch
    assert sorted(i for answers in seen for i in answers) == sorted(list(range(prompts * 8)) * epochs)
    assert all(set(a) == {8 * (i // 8) + j for i in a for j in range(8)} for a in seen)  # groups stay whole


def test_old_logprobs_are_those_from_before_the_first_step(learner):
    options = ("preset=grpo_clip", "trainer.epochs_per_batch=3", "trainer.minibatches=2", "trainer.learning_rate=1e-2")
    trainer, learn = learner(*options, "trainer.prompts_per_step=4", "trainer.group_size=2")
    given, rewards = rollouts_of(4, 2)
    with torch.no_grad():
        before = [logprobs(trainer.model, r) for r in given]
    seen, minibatch = [], trainer.policy_update.minibatch

    def watched(experience, batch, answers):
        seen.append((experience.old.clone(), PackedForward(trainer.model, pad_token_id=0)(batch).logprobs.detach()))
        return minibatch(experience, batch, answers)

    trainer.policy_update.minibatch = watched
    metrics, _ = learn(given, rewards)
    assert len(seen) == 6 and metrics["policy/kl_old"] != 0
    for old, _ in seen:
        for row, expected in enumerate(before):
            torch.testing.assert_close(old[row, : len(expected)].double(), expected, atol=1e-5, rtol=0)
    assert not torch.allclose(seen[0][1], seen[2][1])  # while the policy has moved


def advantages(rewards, group_size, preset):
    """As the course has them: R; (R - mean of the group) / (its std with n - 1, plus 1e-6)."""
    rewards = torch.tensor(rewards, dtype=torch.float64).view(-1, group_size)
    if preset == "reinforce":
        return rewards.flatten()
    return ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-6)).flatten()


def course_loss(model, given, chosen, old, a, preset):
    """Mean over answers of the mean over tokens of -A log p, or of -min(r A, clip(r, 0.8, 1.2) A)."""
    terms, clipped = [], 0
    for i in chosen:
        new = logprobs(model, given[i])
        if preset != "grpo_clip":
            terms.append(-(a[i] * new).mean())
            continue
        ratio = (new - old[i]).exp()
        bounded = ratio.clamp(0.8, 1.2) * a[i]
        clipped += int((bounded < ratio * a[i]).sum())
        terms.append(-torch.minimum(ratio * a[i], bounded).mean())
    return torch.stack(terms).mean(), clipped


@pytest.mark.parametrize(
    ("preset", "epochs", "minibatches"), [("reinforce", 1, 1), ("reinforce_with_baseline", 1, 1), ("grpo_clip", 3, 2)]
)
def test_each_loss_moves_the_policy_as_its_formula_says(learner, tiny, preset, epochs, minibatches):
    """Every gradient of a round, against the formula on whole rows at the weights that the trainer had by then."""
    trained = (text.format(n) for text, n in zip(TRAINED, (epochs, minibatches), strict=True))
    trainer, learn = learner(f"preset={preset}", "trainer.prompts_per_step=4", "trainer.group_size=3", *trained)
    given, rewards = rollouts_of(4, 3)
    found = []

    @torch.no_grad()
    def step():
        parameters = list(trainer.model.parameters())
        found.append(([p.clone() for p in parameters], torch.cat([p.grad.flatten() for p in parameters])))
        for p in parameters:  # plain gradient descent, far enough for the clip to act
            p.sub_(0.5 * p.grad)
        trainer.model.zero_grad()
        return {}

    model = tiny("grpo").model.double()
    trainer.optimization.step = step
    metrics, _ = learn(given, rewards)
    with torch.no_grad():
        old = [logprobs(model, r) for r in given]
    a, clipped = advantages(rewards, 3, preset), 0
    for number, (weights, gradient) in enumerate(found):
        with torch.no_grad():
            for own, weight in zip(model.parameters(), weights, strict=True):
                own.copy_(weight)
        model.zero_grad()
        part = number % minibatches
        chosen = range(12 * part // minibatches, 12 * (part + 1) // minibatches)
        loss, cut = course_loss(model, given, chosen, old, a, preset)
        clipped += cut
        loss.backward()
        expected = torch.cat([p.grad.flatten() for p in model.parameters()])
        torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-3)
    assert len(found) == epochs * minibatches
    assert (clipped > 0) == (metrics["policy/clip_fraction"] > 0) == (preset == "grpo_clip")
