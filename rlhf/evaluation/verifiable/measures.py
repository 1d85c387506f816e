"""What is measured of answers that can be right or wrong: accuracy, pass@k, maj@k, format, failures, length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlhf.errors import RewardError
from rlhf.evaluation.policy.measures import Values
from rlhf.evaluation.statistics import bootstrap_interval
from rlhf.evaluation.verifiable.pass_at_k import majority_at_k, pass_at_k, sizes
from rlhf.types import RewardScores, Rollout

RIGHT, WRONG = "right", "wrong"
FAILED = "failed_"  # how the components begin that say why an answer could not be read or compared


@dataclass(frozen=True)
class Graded:
    """N answers of one model, prompt by prompt with the same number of samples each, and what the grader said."""

    rollouts: list[Rollout]
    scores: RewardScores
    votes: list[Hashable]  # [N] equal for answers that mean the same; RIGHT for right ones, None where none was found

    @property
    def correct(self) -> np.ndarray:
        """[N] bool."""
        return np.array([vote == RIGHT for vote in self.votes])

    @property
    def prompts(self) -> list[str]:
        """[N] prompt ids, the units of every interval."""
        return [r.prompt.id for r in self.rollouts]

    @property
    def samples(self) -> int:
        """Answers a prompt."""
        return len(self.rollouts) // len(set(self.prompts))

    def outcomes(self) -> list[str]:
        """[N] right, wrong (read, and another answer), or the first reason why it could not be read or compared."""
        names = [name for name in self.scores.components if name.startswith(FAILED)]
        found = []
        for i, right in enumerate(self.correct):
            failed = next((name.removeprefix(FAILED) for name in names if self.scores.components[name][i]), WRONG)
            found.append(RIGHT if right else failed)
        return found


def graded(
    rollouts: Sequence[Rollout],
    scores: RewardScores,
    read: Callable[[Rollout], Hashable | None],
    *,
    asked_by: str = "suite=math",
) -> Graded:
    """`read` gives what an answer comes to, None where nothing was found in it. Part marks are not right.

    Raises RewardError where the reward does not say which answers are right."""
    answers = scores.components.get("answer")
    if answers is None:
        names = ", ".join(scores.components) or "none"
        raise RewardError(
            f"{asked_by} needs a reward whose component `answer` is 1 for right answers; this one's components: {names}"
        )
    if bad := [value for value in answers if not 0 <= value <= 1]:
        raise RewardError(f"{asked_by}: the component `answer` must lie between 0 and 1 (right); got {bad[0]}")
    votes = [RIGHT if value == 1 else _vote(read(r)) for value, r in zip(answers, rollouts, strict=True)]
    return Graded(list(rollouts), scores, votes)


def _vote(answer: Hashable | None) -> Hashable | None:
    """A wrong answer's vote, which nothing that it says can make a right one."""
    return None if answer is None else (WRONG, answer)


def answer_values(found: Graded) -> dict[str, Values]:
    """name -> values, answer by answer."""
    lengths = np.array([len(r.answer_ids) for r in found.rollouts], dtype=np.float64)
    right = found.correct.astype(np.float64)
    values = {
        "math/accuracy": Values(right),
        "response/length_tokens": Values(lengths),
        "response/truncated_fraction": Values(np.array([r.finish == "length" for r in found.rollouts], dtype=float)),
        "reward/total": Values(np.array(found.scores.total, dtype=np.float64)),
    }
    if "format" in found.scores.components:
        values["math/format_rate"] = Values(np.array(found.scores.components["format"], dtype=np.float64))
    for name, weights in (("right", right), ("wrong", 1 - right)):
        if weights.sum():
            values[f"response/length_{name}_tokens"] = Values(lengths * weights, weights)
    return values


def prompt_values(found: Graded) -> tuple[dict[str, Values], list[str]]:
    """(name -> values prompt by prompt, the prompts): pass@k and maj@k for k = 1, 2, 4, ... and all samples."""
    by_prompt: dict[str, list[Hashable]] = {}
    for prompt, vote in zip(found.prompts, found.votes, strict=True):
        by_prompt.setdefault(prompt, []).append(vote)
    values = {}
    for k in sizes(found.samples):
        passed = [pass_at_k(len(votes), votes.count(RIGHT), k) for votes in by_prompt.values()]
        values[f"math/pass@{k}"] = Values(np.array(passed))
        if k > 1:  # a majority of one is that one
            won = [majority_at_k(votes, RIGHT, k) for votes in by_prompt.values()]
            values[f"math/maj@{k}"] = Values(np.array(won))
    return values, list(by_prompt)


def parts_of(found: Graded, key: str, **options: Any) -> dict[str, dict[str, Any]]:
    """Accuracy of each part of the prompts by their metadata (subject, level), in natural order; empty for one part.

    `options`: confidence, resamples, seed."""
    labels = [r.prompt.metadata.get(key) for r in found.rollouts]
    parts = sorted({str(label) for label in labels if label is not None})
    if len(parts) < 2:
        return {}
    right, prompts = found.correct.astype(np.float64), np.array(found.prompts)
    rows = {part: np.array([str(label) == part for label in labels]) for part in parts}
    return {
        part: bootstrap_interval(right[chosen], clusters=prompts[chosen], **options).to_dict()
        for part, chosen in rows.items()
    }


def shares(found: Graded) -> dict[str, float]:
    """outcome -> share of the answers, most frequent first, right ones left out."""
    counts = Counter(outcome for outcome in found.outcomes() if outcome != RIGHT)
    return {outcome: count / len(found.rollouts) for outcome, count in counts.most_common()}
