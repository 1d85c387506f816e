"""Examples that cannot teach what they should: counted by reason, and kept, dropped or refused as the config says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rlhf.config.sections import PairRulesConfig
from rlhf.errors import DataError


@dataclass
class DataReport:
    """What became of the rows of a source. `lines()` is for the console, `to_dict()` for JSON.

    counted counts the examples a reason was found for, whatever its rule says; dropped counts those dropped for it,
    each for one reason. Reasons without a rule (rows that no example can be made of) are always dropped.
    """

    source: str = ""
    kind: str = ""  # pairs | prompts | demonstrations
    split: str = ""  # train | eval
    format: str = ""
    read: int = 0  # rows looked at; fewer than there are where dataset.limit was reached first
    kept: int = 0
    held_apart: int = 0  # examples on the other side of a hold-out
    duplicate_prompts: int = 0  # kind=prompts: rows whose prompt an earlier row had
    dropped: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    truncated_prompts: int = 0  # of the kept examples
    truncated_answers: int = 0  # of the kept answers
    prompt_tokens: list[int] = field(default_factory=list)  # one number a kept example
    answer_tokens: list[int] = field(default_factory=list)  # one number a kept answer, with its end-of-sequence token

    def drop(self, reason: str) -> None:
        """Count one example as dropped for `reason`."""
        self.counted[reason] += 1
        self.dropped[reason] += 1

    def lines(self) -> list[str]:
        """A few lines that a person reads at the start of a run."""
        name = f"{self.source} ({self.split}, {self.format})" if self.format else f"{self.source} ({self.split})"
        lines = [f"{name}: {self.kept} {self.kind} of {self.read} rows"]
        if self.held_apart:
            lines.append(f"  held apart for the other split: {self.held_apart}")
        if self.duplicate_prompts:
            lines.append(f"  prompts met again: {self.duplicate_prompts}")
        if self.dropped:
            lines.append(f"  dropped: {_counts(self.dropped)}")
        kept_anyway = self.counted - self.dropped
        if kept_anyway:
            lines.append(f"  kept though: {_counts(kept_anyway)}")
        if self.truncated_prompts or self.truncated_answers:
            lines.append(f"  cut to the limit: {self.truncated_prompts} prompts, {self.truncated_answers} answers")
        for label, tokens in (("prompt", self.prompt_tokens), ("answer", self.answer_tokens)):
            if tokens:
                lines.append(f"  {label} tokens: mean {sum(tokens) / len(tokens):.0f}, longest {max(tokens)}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings; token counts as sum and longest."""
        plain = {key: getattr(self, key) for key in ("source", "kind", "split", "format", "read", "kept")}
        plain |= {"held_apart": self.held_apart, "duplicate_prompts": self.duplicate_prompts}
        plain |= {"dropped": dict(self.dropped), "counted": dict(self.counted)}
        plain |= {"truncated_prompts": self.truncated_prompts, "truncated_answers": self.truncated_answers}
        for label, tokens in (("prompt", self.prompt_tokens), ("answer", self.answer_tokens)):
            plain |= {f"{label}_tokens": sum(tokens), f"longest_{label}_tokens": max(tokens, default=0)}
        return plain


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{reason} {number}" for reason, number in counter.most_common())


def apply_rules(reasons: list[str], rules: PairRulesConfig, report: DataReport, origin: str) -> bool:
    """Whether the example is kept; counts its reasons in `report`.

    `reasons` are names of fields of dataset.rules, the weightiest first: the first whose rule is "drop" drops it, and
    is the only one it is counted for. Raises DataError, naming the row and the key, for one whose rule is "error".
    """
    for reason in reasons:
        rule = getattr(rules, reason)
        if rule == "error":
            raise DataError(f"{origin}: {_MEANING[reason]} (dataset.rules.{reason}=error)")
        if rule == "drop":
            report.drop(reason)
            return False
    report.counted.update(reasons)
    return True


_MEANING = {
    "empty_answer": "an answer is empty",
    "tie": "both answers are the same text",
    "prefix": "one answer is the beginning of the other",
    "too_short": "an answer has fewer tokens than dataset.min_answer_tokens",
    "identical_after_truncation": "the answers differ only beyond dataset.max_answer_tokens",
    "prompt_too_long": "the prompt has more tokens than dataset.max_prompt_tokens",
}


def pair_reasons(chosen: str, rejected: str) -> list[str]:
    """What the two texts of a pair say, without tokens. A tie is not also a prefix, and neither is an empty answer."""
    chosen, rejected = chosen.strip(), rejected.strip()
    reasons = [] if chosen and rejected else ["empty_answer"]
    if chosen == rejected:
        reasons.append("tie")
    elif chosen and rejected and (chosen.startswith(rejected) or rejected.startswith(chosen)):
        reasons.append("prefix")
    return reasons
