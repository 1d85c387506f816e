"""Scores that a language model writes: sampled, read, and counted by why they could not be read."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rlhf.config.score_prompts import CLOSING_TAG, ScorePrompt
from rlhf.rewards.score_parsers import FAILURES, ParsedScore, parse_score
from rlhf.types import Prompt, Rollout, Sampler


class ScoreSampler:
    """Asks a model for scores.

        prompts = [score_request(prompt, answer, score_prompt, id=..., metadata={}), ...]
        ScoreSampler(sampler, score_prompt, samples=4).scores(prompts, step=0)     # [N][4] ParsedScore

    The sampler makes the same score of the same (seed, step, prompt id, sample), as it does of any answer.
    """

    def __init__(self, sampler: Sampler, score_prompt: ScorePrompt, samples: int, *, stop: Sequence[str] = ()) -> None:
        """`stop`: the strings that end the sampler's answers, rollout.stop."""
        self.sampler, self.score_prompt, self.samples, self.stop = sampler, score_prompt, samples, tuple(stop)

    def rollouts(self, prompts: Sequence[Prompt], *, step: int) -> list[list[Rollout]]:
        """[N][samples] what the model wrote."""
        flat = self.sampler.sample(prompts, self.samples, step=step)
        return [flat[i : i + self.samples] for i in range(0, len(flat), self.samples)]

    def scores(self, prompts: Sequence[Prompt], *, step: int) -> list[list[ParsedScore]]:
        """[N][samples] what could be read of it."""
        return [self.parsed(samples) for samples in self.rollouts(prompts, step=step)]

    def parsed(self, samples: Sequence[Rollout]) -> list[ParsedScore]:
        """The scores of one prompt's samples."""
        return [parsed_rollout(rollout, self.score_prompt, self.stop) for rollout in samples]


def score_stop(score_prompt: ScorePrompt) -> list[str]:
    """Where sampling may end without changing the score: at the first closing tag, where the first tag counts."""
    return [CLOSING_TAG] if score_prompt.parser == "first_tag" else []


def parsed_rollout(rollout: Rollout, score_prompt: ScorePrompt, stop: Sequence[str]) -> ParsedScore:
    """The score in a sampled text. Where </s> is what ended it, `Rollout.text` leaves that out and it counts as
    written."""
    closed = rollout.finish == "stop" and tuple(stop) == (CLOSING_TAG,)
    return parse_score(rollout.text + CLOSING_TAG if closed else rollout.text, score_prompt)


def mean_score(scores: Sequence[ParsedScore]) -> float | None:
    """The mean over the scores that could be read; None where there is none."""
    values = [score.value for score in scores if score.value is not None]
    return statistics.fmean(values) if values else None


def failure_components(scores: Sequence[Sequence[ParsedScore]]) -> dict[str, list[float]]:
    """Of [N][samples]: shares of each row's samples, [N] each: parsed, failed_<reason>, several_tags."""
    return {
        "parsed": [statistics.fmean(s.value is not None for s in row) for row in scores],
        **{f"failed_{reason}": [statistics.fmean(s.failure == reason for s in row) for row in scores]
           for reason in FAILURES},
        "several_tags": [statistics.fmean(s.tags > 1 for s in row) for row in scores],
    }  # fmt: skip
