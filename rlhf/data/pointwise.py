"""Preference pairs as prompts that ask for a score: one prompt for each side, the two sides one behind the other.

A policy that answers such prompts is a generative reward model. The pair stays behind the prompts, in their metadata:
its id, which side this is, and which side people preferred. What the policy reads does not say it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from rlhf.config.score_prompts import CLOSING_TAG, OPENING_TAG, ScorePrompt
from rlhf.data.preparing import Parsed
from rlhf.data.rendering import Renderer
from rlhf.data.rules import DataReport, apply_rules, pair_reasons
from rlhf.data.transcripts import transcript
from rlhf.errors import DataError
from rlhf.types import Message, PreferencePair, Prompt, TokenGroup


def score_request(
    prompt: Prompt, answer: str, score_prompt: ScorePrompt, *, id: str, metadata: Mapping[str, Any]
) -> Prompt:
    """The prompt that asks to score `answer` to `prompt`: one user turn, after a system turn where there is one.

    The conversation stands in it with `Human:` and `Assistant:` before its turns, a text prompt as it is."""
    conversation = transcript(prompt.messages) if prompt.messages else prompt.text
    system = () if score_prompt.system is None else (Message("system", score_prompt.system),)
    question = score_prompt.question(conversation.strip(), answer.strip())
    return Prompt(id, (*system, Message("user", question)), metadata=metadata)


def pointwise(pair: PreferencePair, score_prompt: ScorePrompt, *, seed: int) -> tuple[Prompt, Prompt]:
    """Side 0 and side 1 of a pair. The preferred answer is either with probability 1/2, by (seed, the pair's id) alone.

    Ids are "<pair id>/0" and "<pair id>/1". Metadata of each: pair_id, side (0 | 1), preferred_side (0 | 1),
    score_prompt (its name), answer (the text that is scored); subset and margin where the pair has them."""
    preferred = preferred_side(pair.prompt.id, seed)
    shared = {"pair_id": pair.prompt.id, "preferred_side": preferred, "score_prompt": score_prompt.name}
    shared |= {key: value for key in ("subset", "margin") if (value := getattr(pair, key)) is not None}
    answers = (pair.chosen, pair.rejected) if preferred == 0 else (pair.rejected, pair.chosen)
    first, second = (
        score_request(
            pair.prompt,
            answer,
            score_prompt,
            id=f"{pair.prompt.id}/{side}",
            metadata=shared | {"side": side, "answer": answer},
        )
        for side, answer in enumerate(answers)
    )
    return first, second


def preferred_side(pair_id: str, seed: int) -> int:
    """0 or 1: a fair coin that follows from the seed and the id, whatever other pairs there are."""
    return hashlib.sha256(repr((seed, pair_id)).encode(errors="surrogatepass")).digest()[0] & 1


def check_tags(tokenizer: Any) -> None:
    """Raise DataError where the tags around a score are special tokens, which a decoded answer does not show."""
    special = [tag for tag in (OPENING_TAG, CLOSING_TAG) if tag in tokenizer.all_special_tokens]
    if special:
        raise DataError(
            f"a score stands between {OPENING_TAG} and {CLOSING_TAG}, and {special[0]} is a special token of the "
            f"tokenizer {tokenizer.name_or_path}: no score could be read; use a model whose tokenizer writes it as text"
        )


def units_of(prompts: Iterable[Prompt]) -> tuple[int, ...]:
    """The number of the unit that each prompt belongs to, counted from 0: neighbours of one pair are one unit.

    Three prompts, the last two of one pair: (0, 1, 1)."""
    numbers: list[int] = []
    before: Any = None
    for prompt in prompts:
        pair = prompt.metadata.get("pair_id")
        together = pair is not None and pair == before
        numbers.append(numbers[-1] + (not together) if numbers else 0)
        before = pair
    return tuple(numbers)


def tokenise_sides(
    pairs: Iterable[Parsed],
    renderer: Renderer,
    report: DataReport,
    limit: int | None,
    *,
    score_prompt: ScorePrompt,
    seed: int,
) -> tuple[list[Prompt], list[TokenGroup]]:
    """Both sides of the pairs that the rules keep, and their tokens, the first `limit` pairs; `report` counts pairs.

    A rule that drops a side drops its pair. dataset.max_prompt_tokens bounds each side's whole request, the answer in
    it; dataset.max_answer_tokens has no say. Raises DataError where a rule says so, and as `check_tags`."""
    check_tags(renderer.tokenizer)
    prompts: list[Prompt] = []
    groups: list[TokenGroup] = []
    for parsed in pairs:
        sides = pointwise(parsed.example, score_prompt, seed=seed)
        if not _kept(parsed.example, sides, renderer, report, parsed.origin):
            continue
        prompts.extend(sides)
        groups.extend(TokenGroup(renderer.prompt_ids(side), ()) for side in sides)
        report.kept += 1
        report.truncated_prompts += sum(renderer.prompt_was_truncated(side) for side in sides)
        report.prompt_tokens.extend(len(group.prompt_ids) for group in groups[-2:])
        if report.kept == limit:
            break
    return prompts, groups


def _kept(
    pair: PreferencePair, sides: tuple[Prompt, Prompt], renderer: Renderer, report: DataReport, origin: str
) -> bool:
    """Whether every rule keeps the pair; what the rules find is counted."""
    answers, shortest = (pair.chosen, pair.rejected), renderer.config.min_answer_tokens
    reasons = pair_reasons(*answers)
    if any(len(renderer.text_ids(answer)) < shortest for answer in answers):
        reasons.append("too_short")
    if "tie" not in reasons and renderer.prompt_ids(sides[0]) == renderer.prompt_ids(sides[1]):
        reasons.append("identical_after_truncation")
    if any(renderer.prompt_was_truncated(side) for side in sides):
        reasons.append("prompt_too_long")
    return apply_rules(reasons, renderer.config.rules, report, origin)
