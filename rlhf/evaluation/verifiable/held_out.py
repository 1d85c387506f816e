"""Right and wrong answers to held-out questions while a policy trains: several answers a question, graded."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from rlhf.evaluation.statistics import Interval, wilson_interval
from rlhf.evaluation.verifiable.measures import Graded, answer_values, graded, prompt_values
from rlhf.types import RewardScores, Rollout


def right_answer_metrics(
    rollouts: Sequence[Rollout], scores: RewardScores, read: Callable[[Rollout], Hashable | None]
) -> dict[str, float]:
    """Of n answers to each question: the names that evaluations log, without their eval/.

        avg@n, avg_low, avg_high       share of right answers, and its 95% interval
        pass@k, maj@k                  for k = 2, 4, ... and n (rlhf.evaluation.verifiable.pass_at_k)
        response_length_right_tokens, response_length_wrong_tokens     mean lengths, where there are such answers

    {} for a reward without a component `answer`, which says what is right. Raises RewardError where it is not a share.
    """
    if "answer" not in scores.components:
        return {}
    found = graded(rollouts, scores, read, asked_by="evaluation.samples_per_prompt above 1")
    interval = accuracy_interval(found)
    by_prompt, _ = prompt_values(found)
    several = {
        name.removeprefix("math/"): v.sums.mean().item() for name, v in by_prompt.items() if name != "math/pass@1"
    }
    lengths = {
        name.replace("/", "_"): (values.sums.sum() / values.weights.sum()).item()
        for name, values in answer_values(found).items()
        if name in ("response/length_right_tokens", "response/length_wrong_tokens")
    }
    share = {f"avg@{found.samples}": interval.mean, "avg_low": interval.low, "avg_high": interval.high}
    return share | several | lengths


def accuracy_interval(found: Graded, *, confidence: float = 0.95) -> Interval:
    """Wilson's interval of the share of right answers, for as many independent answers as these are worth.

    Answers to one question are alike: their number is taken to be p(1-p) / Var(mean over questions), Kish's effective
    sample size, between one a question and all of them. One answer a question is Wilson's interval itself; so is a
    share of 0 or 1, where nothing tells how alike they are."""
    shares = found.correct.reshape(-1, found.samples).mean(axis=1)  # answers stand question by question
    questions, rate = len(shares), shares.mean().item()
    variance = shares.var(ddof=1).item() / questions if questions > 1 else 0.0
    number = questions * found.samples if variance == 0 else rate * (1 - rate) / variance
    if rate in (0.0, 1.0):
        number = questions
    number = int(min(max(number, questions), questions * found.samples))
    return wilson_interval(rate * number, number, confidence=confidence)
