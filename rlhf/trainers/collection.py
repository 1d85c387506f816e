"""Answers for one optimisation round: sampled, scored, and sampled again where groups tell nothing.

Ahead of time where `rollout.ahead` asks for it: while round t is learned, a second thread samples and scores round t+1
from the weights that had learned t-1 rounds. Scores are needed there, since they decide whether resampling draws again.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch

from rlhf.algorithms.advantages import no_signal
from rlhf.config.policy_gradient import GRPOTrainerConfig
from rlhf.data.order import ExampleOrder
from rlhf.errors import ConfigError
from rlhf.trainers.background import Background
from rlhf.trainers.collected import Collected, from_plain, plain, with_plain_scores
from rlhf.trainers.timing import StepTimer
from rlhf.types import Prompt, Reward, RewardScores, Rollout, Sampler


class Collection:
    """Walks through the prompts, round by round. Its state is how far it has come, and a round that was sampled ahead.

    To be used as a context where `ahead` is set: what is still being sampled at its end is given up.
    """

    def __init__(
        self,
        config: GRPOTrainerConfig,
        prompts: Sequence[Prompt],
        sampler: Sampler,
        reward: Reward,
        *,
        seed: int,
        shuffle: bool,
        per_unit: int = 1,
        ahead: bool = False,
    ) -> None:
        """Raises ConfigError where `ahead` is set and `sampler` draws from the very weights that learn."""
        if ahead and not getattr(sampler, "apart", False):
            raise ConfigError(
                "rollout.ahead=true samples while the policy learns, so it needs a sampler with weights of its own: "
                "set hardware.rollout_device, or use a vLLM server"
            )
        self.config, self.prompts, self.sampler, self.reward = config, prompts, sampler, reward
        self.order = ExampleOrder(len(prompts), config.prompts_per_step, seed=seed, shuffle=shuffle, per_unit=per_unit)
        self.ahead = ahead
        self.batches = 0  # of prompts, in the rounds that were handed out
        self.rounds = 0  # handed out
        self.under_way: Background[Collected] = Background()
        self.ready: Collected | None = None  # sampled ahead, and not yet handed out

    def next(self, timer: StepTimer) -> Collected:
        """One round; the rounds before it have been learned. With `ahead`, the one after it is begun, if one comes.

        Raises what sampling or scoring raised, also in the other thread."""
        learned = self.rounds
        collected = self._sampled_before(timer) or self._sampled_now(learned, timer)
        self.batches, self.rounds = collected.batches, learned + 1
        if self.ahead:
            collected.staleness = learned - collected.updates
            if self.rounds < self.config.num_steps:
                with timer("wait"):
                    self.sampler.update_weights()
                self.under_way.start(lambda: self._sampled_beside(collected.batches, learned))
        return collected

    def settle(self) -> None:
        """Wait until nothing is being sampled. Raises what the other thread raised."""
        if self.under_way.busy:
            self.ready = self.under_way.result()

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.under_way.drop(getattr(self.sampler, "interrupted", None))

    def _sampled_before(self, timer: StepTimer) -> Collected | None:
        """The round that was sampled ahead, with the seconds that it took; None where none was."""
        if not self.ahead:
            return None
        with timer("wait"):
            self.settle()
        collected, self.ready = self.ready, None
        for phase, seconds in ({} if collected is None else collected.seconds).items():
            timer.add(phase, seconds)
        return collected

    def _sampled_now(self, learned: int, timer: StepTimer) -> Collected:
        with timer("rollout"):
            self.sampler.update_weights()
        return self._round(self.batches, learned, timer)

    def _sampled_beside(self, batches: int, learned: int) -> Collected:
        """In the other thread."""
        timer = StepTimer()
        collected = with_plain_scores(self._round(batches, learned, timer))
        collected.seconds = timer.seconds
        return collected

    def _round(self, batches: int, learned: int, timer: StepTimer) -> Collected:
        """The round behind the first `batches` of prompts, from weights that have learned `learned` rounds.

        With no_signal=resample further batches of prompts are sampled until prompts_per_step groups tell their answers
        apart, or max_resamples is reached; groups without signal fill up what is missing then."""
        size, wanted = self.config.group_size, self.config.prompts_per_step
        telling: list[tuple[list[Rollout], list[int], RewardScores]] = []
        silent: list[tuple[list[Rollout], list[int], RewardScores]] = []
        answers = tokens = 0
        rounds = self.config.max_resamples + 1 if self.config.no_signal == "resample" else 1
        for _ in range(rounds):
            rollouts, scores = self._sample(batches, timer)
            batches += 1
            answers, tokens = answers + len(rollouts), tokens + sum(len(r.answer_ids) for r in rollouts)
            same_rewards = no_signal(
                torch.tensor(scores.total, dtype=torch.float64), size, self.config.min_reward_spread
            )
            for group, same in enumerate(same_rewards.tolist()):
                rows = list(range(group * size, (group + 1) * size))
                (silent if same else telling).append(([rollouts[i] for i in rows], rows, scores))
            if len(telling) >= wanted:
                break
        silent_fraction = len(silent) / (len(silent) + len(telling))
        if rounds == 1:  # in the order of the prompts
            return Collected(rollouts, scores, answers, tokens, silent_fraction, batches, learned)
        kept = (telling + silent)[:wanted]
        rollouts = [r for group, _, _ in kept for r in group]
        return Collected(rollouts, _joined(kept), answers, tokens, silent_fraction, batches, learned)

    def epoch(self) -> float:
        """Passes over the prompts so far."""
        return self.order.epoch(self.batches)

    def state_dict(self) -> dict[str, Any]:
        """Where the walk is, and the round that was sampled ahead, once it is there."""
        self.settle()
        ready = {} if self.ready is None else {"ready": plain(self.ready)}
        return {"batches": self.batches, "rounds": self.rounds, **ready}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.batches, self.rounds = state["batches"], state["rounds"]
        self.ready = from_plain(state["ready"], self.prompts) if "ready" in state else None

    def _sample(self, batches: int, timer: StepTimer) -> tuple[list[Rollout], RewardScores]:
        prompts = [self.prompts[i] for i in self.order.batch(batches)]
        with timer("rollout"):
            rollouts = self.sampler.sample(prompts, self.config.group_size, step=batches + 1)
        with timer("reward"):
            return rollouts, self.reward.score(rollouts)


def _joined(groups: Sequence[tuple[list[Rollout], list[int], RewardScores]]) -> RewardScores:
    names = list(dict.fromkeys(name for _, _, scores in groups for name in scores.components))
    return RewardScores(
        [scores.total[i] for _, rows, scores in groups for i in rows],
        {name: [scores.components[name][i] for _, rows, scores in groups for i in rows] for name in names},
    )
