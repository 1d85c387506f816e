"""One round is sampled while another is learned: from which weights, what a checkpoint keeps, how it all ends."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import threading
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.errors import ConfigError, RewardError
from rlhf.rewards.function import FunctionReward
from rlhf.rollout.copy import CopySampler
from rlhf.trainers.collected import Collected, from_plain, plain, with_plain_scores
from rlhf.trainers.collection import Collection
from rlhf.trainers.expert_iteration import ExpertIterationTrainer
from rlhf.trainers.grpo import GRPOTrainer
from rlhf.trainers.timing import StepTimer
from rlhf.types import Prompt, RewardScores, Rollout

AHEAD = ("hardware.rollout_device=cpu", "rollout.ahead=true")
CORRECTED = ("trainer.importance_correction=token_truncate",)
PROMPTS = [Prompt(str(i), text=str(i)) for i in range(6)]


class Learner:
    """A policy that is a number: how many rounds it has learned; and its sampler, whose answers say that number."""

    apart = True

    def __init__(self):
        self.learned = self.own = self.calls = 0
        self.interrupted = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.lock = threading.Lock()
        self.threads = []

    @contextlib.contextmanager
    def alone(self):
        assert self.lock.acquire(blocking=False), "two calls of the sampler at a time"
        try:
            yield
        finally:
            self.lock.release()

    def update_weights(self):
        with self.alone():
            self.own = self.learned

    def sample(self, prompts, num_samples, *, step):
        with self.alone():
            self.calls += 1
            self.threads.append(threading.current_thread())
            own = self.own
            while not self.may_answer.wait(0.01):
                if self.interrupted.is_set():
                    raise InterruptedError
            text = f"{own} {step}"
            return [Rollout(p, (1,), (2, 3), (-0.1, -0.2), text, "eos", i) for p in prompts for i in range(num_samples)]


def spread(answers):
    return [float(i % 2) for i in range(len(answers))]


@pytest.fixture
def collection(tiny):
    """make(sampler, reward, *overrides) -> Collection of rounds of two prompts with two answers."""

    def make(sampler, reward=spread, *overrides, ahead=True, steps=5):
        sizes = ("trainer.prompts_per_step=2", "trainer.group_size=2", f"trainer.num_steps={steps}")
        config = tiny("grpo", *CORRECTED, *AHEAD, *sizes, *overrides).config
        return Collection(config, PROMPTS, sampler, FunctionReward(reward), seed=0, shuffle=True, ahead=ahead)

    return make


def rounds_of(collection, learner, number):
    """The rounds, each learned before the next is asked for."""
    found = []
    with collection:
        for _ in range(number):
            found.append(collection.next(StepTimer()))
            learner.learned += 1
    return found


def alive():
    return [t for t in threading.enumerate() if t.name == "rollout-ahead"]


@pytest.mark.parametrize("ahead", [False, True])
def test_which_update_the_answers_come_from(collection, ahead):
    learner = Learner()
    found = rounds_of(collection(learner, ahead=ahead), learner, 5)
    said = [tuple(map(int, c.rollouts[0].text.split())) for c in found]  # (rounds learned, number of the batch)
    if ahead:  # round 1 has no round before it; round t+1 is sampled when round t-1 was learned
        assert said == [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5)]
        assert [c.ahead_metrics() for c in found] == [{"sampler/staleness_updates": n} for n in (0, 1, 1, 1, 1)]
        assert [thread is threading.main_thread() for thread in learner.threads] == [True] + [False] * 4
    else:
        assert said == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
        assert all(c.ahead_metrics() == {} for c in found)
    assert learner.calls == 5 and not alive()  # nothing was sampled for nothing


def test_the_prompts_are_those_of_a_run_that_does_not_sample_ahead(collection):
    asked = []
    for ahead in (False, True):
        learner = Learner()
        found = rounds_of(collection(learner, ahead=ahead), learner, 4)
        asked.append([[r.prompt.id for r in c.rollouts] for c in found])
    assert asked[0] == asked[1]


def test_a_round_comes_back_while_the_next_is_sampled(collection):
    learner = Learner()
    made, timer = collection(learner), StepTimer()
    with made:
        made.next(StepTimer())
        learner.may_answer.clear()
        made.next(timer)  # the second was ready or is waited for; the third cannot be
        assert made.under_way.busy and alive() and made.batches == 2
        assert made.epoch() == 2 * 2 / 6  # of what was handed out, not of what is being sampled
        learner.may_answer.set()
        third = made.next(timer)
    assert third.rollouts[0].text.endswith(" 3") and {"wait", "rollout", "reward"} <= set(timer.seconds)


def test_resampling_happens_in_the_thread_too(collection):
    learner = Learner()
    silent_first = lambda answers: [float(i % 2 and len(learner.threads) % 2 == 0) for i in range(len(answers))]  # noqa: E731
    made = collection(learner, silent_first, "trainer.no_signal=resample", "trainer.max_resamples=3", steps=3)
    found = rounds_of(made, learner, 3)
    assert [c.sampled_answers for c in found] == [8, 8, 8] and made.batches == 6 and learner.calls == 6
    assert [c.silent_fraction for c in found] == [0.5] * 3


@pytest.mark.parametrize("where", ["sampler", "reward"])
def test_errors_of_the_thread_reach_who_asks_next(collection, where):
    learner = Learner()

    def reward(answers):
        if where == "reward" and learner.calls == 2:
            raise RewardError("no score for the second round")
        return spread(answers)

    made = collection(learner, reward)
    made.next(StepTimer())
    if where == "sampler":
        made.under_way.wait()
        learner.sample = lambda *_, **__: 1 / 0
    with pytest.raises(ZeroDivisionError if where == "sampler" else RewardError), made:
        for _ in range(3):
            made.next(StepTimer())
    assert not alive()


def test_an_error_of_the_trainer_ends_the_sampling(collection):
    learner = Learner()
    made = collection(learner)
    with pytest.raises(KeyboardInterrupt), made:
        made.next(StepTimer())
        made.under_way.wait()
        made.under_way.result()
        learner.may_answer.clear()  # nobody will ever let it answer
        made.under_way.start(lambda: made._sampled_beside(1, 0))
        raise KeyboardInterrupt
    assert not alive() and not learner.interrupted.is_set()  # the sampler can be used again


def test_a_sampler_of_the_live_weights_is_refused(collection):
    learner = Learner()
    learner.apart = False
    with pytest.raises(ConfigError, match=r"set hardware\.rollout_device"):
        collection(learner)


def test_a_round_under_way_is_part_of_the_state(collection):
    learner = Learner()
    straight = rounds_of(collection(learner), learner, 5)
    other, learner = [], Learner()
    made = collection(learner)
    for _ in range(2):
        other.append(made.next(StepTimer()))
        learner.learned += 1
    state = made.state_dict()
    assert state["rounds"] == state["batches"] == 2 and state["ready"]["updates"] == 1
    fresh = collection(learner)
    fresh.load_state_dict(state)
    other += rounds_of(fresh, learner, 3)
    shown = lambda c: (c.rollouts, c.scores, c.staleness, c.batches, c.sampled_tokens)  # noqa: E731
    assert [shown(c) for c in other] == [shown(c) for c in straight]
    assert learner.calls == 5  # and the round in the state was not sampled again


finite = st.floats(allow_nan=False)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PROMPTS),
            st.lists(st.tuples(st.integers(0, 2**40), finite), max_size=4),
            st.text(max_size=5),
            st.sampled_from(["eos", "stop", "length"]),
            st.one_of(finite, st.booleans(), st.integers(-5, 5)),
        ),
        max_size=5,
    )
)
def test_what_a_checkpoint_keeps_is_what_was_sampled(rows):
    rollouts = [
        Rollout(prompt, (7, i), tuple(t for t, _ in ids), tuple(p for _, p in ids), text, finish, i)
        for i, (prompt, ids, text, finish, _) in enumerate(rows)
    ]
    scores = RewardScores([row[4] for row in rows], {"part": [row[4] for row in rows]})
    given_ = with_plain_scores(Collected(rollouts, scores, 9, 99, 0.25, 3, 2, {"rollout": 1.5}))
    assert all(type(value) is float for value in given_.scores.total)
    assert from_plain(plain(given_), PROMPTS) == given_


def trainer(parts, hardware, cls=GRPOTrainer, reward=spread, max_new_tokens=6, **more):
    there = dataclasses.replace(hardware, rollout_device=torch.device("cpu"))
    rollout = replace(parts.run.rollout, max_new_tokens=max_new_tokens)
    sampler = CopySampler(parts.model, parts.tokenizer, parts.renderer, rollout, batch_size=32, seed=0, hardware=there)
    more |= {"max_new_tokens": max_new_tokens} if cls is GRPOTrainer else {}
    return cls(
        parts.config, policy=parts.model, tokenizer=parts.tokenizer, reward=FunctionReward(reward),
        prompts=parts.prompts, sampler=sampler, hardware=hardware, ahead=True, **more,
    )  # fmt: skip


SMALL = ("trainer.prompts_per_step=2", "trainer.group_size=2", "trainer.learning_rate=3e-2", *AHEAD)


@pytest.mark.parametrize("cls", [GRPOTrainer, ExpertIterationTrainer])
def test_the_trainer_learns_from_answers_of_the_weights_one_round_before(tiny, hardware, sampler_for, cls):
    stage = "grpo" if cls is GRPOTrainer else "expert_iteration"
    own = CORRECTED if cls is GRPOTrainer else ("reward=gold", "trainer.keep_truncated=true")
    parts = tiny(stage, *SMALL, "trainer.num_steps=4", *own, *(["trainer.kl_coef=0"] if cls is GRPOTrainer else []))
    t = trainer(parts, hardware, cls, eval_prompts=parts.prompts)
    weights, kept, logged = [copy.deepcopy(parts.model.state_dict())], [], []
    t.control.tracker.samples = lambda step, rows: kept.append([row["answer"] for row in rows])
    record, update_weights = t.control.record, t.sampler.update_weights

    def only_while_nothing_is_sampled():
        assert not t.collection.under_way.busy
        update_weights()

    t.sampler.update_weights = only_while_nothing_is_sampled

    def after_the_update(metrics, samples):
        logged.append(metrics)
        weights.append(copy.deepcopy(parts.model.state_dict()))
        record(metrics, samples)
        t.evaluate()  # waits for the thread, and takes the newest weights for its own answers

    t.control.record = after_the_update
    t.train()
    assert [m["sampler/staleness_updates"] for m in logged] == [0, 1, 1, 1]
    sampler = sampler_for(parts, max_new_tokens=6)
    for number, version in enumerate((0, 0, 1, 2)):
        parts.model.load_state_dict(weights[version])
        prompts = [parts.prompts.examples[i] for i in t.collection.order.batch(number)]
        assert [r.text for r in sampler.sample(prompts, 2, step=number + 1)] == kept[number]
    if cls is GRPOTrainer:  # the sampler's log-probs are kept, so the correction sees another policy from round 2 on
        assert logged[0]["sampler/kl"] < 1e-6 < 1e-4 < min(m["sampler/kl"] for m in logged[1:])
    assert not alive()


def test_an_error_of_the_thread_ends_the_training(tiny, hardware):
    parts = tiny("grpo", *SMALL, *CORRECTED, "trainer.num_steps=4", "trainer.kl_coef=0")
    calls = []

    def reward(answers):
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            raise RewardError("no score for the third round")
        return spread(answers)

    with pytest.raises(RewardError, match="third round"):
        trainer(parts, hardware, reward=reward).train()
    assert calls[1:] == ["rollout-ahead"] * 2 and not alive()


def test_an_error_while_learning_ends_the_training_at_once(tiny, hardware):
    parts = tiny("grpo", *SMALL, *CORRECTED, "trainer.num_steps=4", "trainer.kl_coef=0")
    t = trainer(parts, hardware, max_new_tokens=150)
    t.learn = lambda collected: 1 / 0
    with pytest.raises(ZeroDivisionError):
        t.train()
    assert not alive() and t.collection.ready is None
