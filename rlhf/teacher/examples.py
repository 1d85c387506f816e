"""From scored pairs to SFT examples: which pairs and sides are kept, and the reply that the student is to give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlhf.config.score_prompts import ScorePrompt
from rlhf.config.teacher import TeacherConfig
from rlhf.rewards.score_parsers import parse_score
from rlhf.teacher.questions import Question
from rlhf.teacher.types import Scored

ORDERS = ("right", "wrong", "tie")


@dataclass(frozen=True)
class Examples:
    """rows: a JSON object an example, as dataset=teacher_scores reads them. dropped: reason -> number of pairs, of
    which nothing is kept; left_out: reason -> number of single answers of kept pairs."""

    rows: list[dict[str, Any]]
    dropped: Counter[str]
    left_out: Counter[str]


def order_of(question: Question, scored: Scored) -> str | None:
    """right, wrong or tie: how the scores order the pair, beside the annotators; None without scores."""
    if scored.scores is None:
        return None
    preferred, other = scored.scores[question.preferred_side], scored.scores[1 - question.preferred_side]
    return "tie" if preferred == other else "right" if preferred > other else "wrong"


def build_examples(
    questions: Sequence[Question], scored: Sequence[Scored], config: TeacherConfig, score_prompt: ScorePrompt
) -> Examples:
    """The examples of pairs [N] and their scores [N], in order.

    teacher.keep decides over pairs (dropped: the teacher's failure, "wrong order", "tie"), teacher.sides over the
    answers of a pair. An answer is left out where teacher.reason asks for a reason that the teacher did not give, and
    where the reply would not be read back as its score: a tag in a reason can do that."""
    examples = Examples([], Counter(), Counter())
    for question, said in zip(questions, scored, strict=True):
        order = order_of(question, said)
        if order is None:
            examples.dropped[str(said.failure)] += 1
        elif config.keep == "right_order" and order != "right":
            examples.dropped["wrong order" if order == "wrong" else "tie"] += 1
        else:
            for side in _sides(question, config.sides):
                _add(examples, question, said, side, config.reason, score_prompt)
    return examples


def _sides(question: Question, sides: str) -> tuple[int, ...]:
    preferred = question.preferred_side
    return {"both": (0, 1), "preferred": (preferred,), "other": (1 - preferred,)}[sides]


def _add(
    examples: Examples, question: Question, said: Scored, side: int, with_reason: bool, score_prompt: ScorePrompt
) -> None:
    wants_reason = with_reason and score_prompt.has_reason
    score, reason = said.scores[side], said.reasons[side] if wants_reason else ""
    reply = score_prompt.filled_reply(score, reason)
    if wants_reason and not reason:
        examples.left_out["no reason given"] += 1
    elif parse_score(reply, score_prompt).value != score:
        examples.left_out["the reason breaks the form of the reply"] += 1
    else:
        examples.rows.append(_row(question, side, score, reply))


def _row(question: Question, side: int, score: float, reply: str) -> dict[str, Any]:
    request = question.requests[side]
    turns = [{"role": m.role, "content": m.content} for m in request.messages]
    return {
        "id": request.id,
        "messages": [*turns, {"role": "assistant", "content": reply}],
        "pair_id": question.pair_id,
        "side": side,
        "score": score,
    }
