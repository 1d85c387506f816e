"""Preference pairs as a teacher sees them: a conversation and two answers, without a word on which is preferred."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rlhf.config.sections import DatasetConfig
from rlhf.data.loading import load_prompts, parse_split
from rlhf.data.rendering import Renderer
from rlhf.data.rules import DataReport
from rlhf.data.sources import Split
from rlhf.data.splits import SPLIT_SEED
from rlhf.data.transcripts import transcript
from rlhf.explore.reading import splits_of
from rlhf.types import Prompt


@dataclass(frozen=True)
class Question:
    """One pair. Sides are those of rlhf.data.pointwise: the preferred answer stands on either, by a fair coin."""

    pair_id: str
    prompt: Prompt  # what was said before the answers
    answers: tuple[str, str]  # side 0, side 1
    requests: tuple[Prompt, Prompt]  # what the student is asked about each
    preferred_side: int  # 0 | 1; no teacher reads it

    @property
    def conversation(self) -> str:
        """The prompt's turns with "Human:" and "Assistant:" before them, or its text."""
        prompt = self.prompt
        return (transcript(prompt.messages) if prompt.messages else prompt.text).strip()


def parts_of(config: DatasetConfig, split: str) -> tuple[Split, ...]:
    """The parts of the dataset that teacher.split names: both of them, where there are two."""
    return splits_of(config) if split == "both" else ("eval" if split == "eval" else "train",)


def read_questions(config: DatasetConfig, split: Split, renderer: Renderer) -> tuple[list[Question], DataReport]:
    """The pairs of a split that the rules keep for the student, in the order of the source, and what the rules did.

    Needs dataset.score_prompt. Raises DataError as rlhf.data.loading.load_prompts."""
    data = load_prompts(config, split, renderer, seed=SPLIT_SEED)
    sides = list(zip(data.examples[::2], data.examples[1::2], strict=True))
    prompts = _prompts(config, split, {first.metadata["pair_id"] for first, _ in sides})
    return [_question(pair, prompts) for pair in sides], data.report


def _question(sides: tuple[Prompt, Prompt], prompts: dict[str, Prompt]) -> Question:
    first, second = sides
    return Question(
        pair_id=first.metadata["pair_id"],
        prompt=prompts[first.metadata["pair_id"]],
        answers=(first.metadata["answer"].strip(), second.metadata["answer"].strip()),
        requests=(first, second),
        preferred_side=first.metadata["preferred_side"],
    )


def _prompts(config: DatasetConfig, split: Split, wanted: set[str]) -> dict[str, Prompt]:
    """The prompts of pairs by their id: a request holds the conversation amid other words."""
    found: dict[str, Prompt] = {}
    parsed, _, _ = parse_split(replace(config, score_prompt=None), split, "pairs", seed=SPLIT_SEED)
    for prompt in (each.example.prompt for each in parsed):
        if prompt.id in wanted:
            found[prompt.id] = prompt
            if len(found) == len(wanted):
                break
    return found
