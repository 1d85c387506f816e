import json

import pytest

from rlhf.config.score_prompts import load_score_prompt
from rlhf.data.pointwise import pointwise
from rlhf.teacher.questions import Question
from rlhf.types import Message, PreferencePair, Prompt

SCORE_PROMPT = load_score_prompt("score_first_5")


def question(i, chosen="a long answer that says more", rejected="short", *, score_prompt=SCORE_PROMPT, seed=0):
    """Pair number `i`, its sides placed as the data does it."""
    prompt = Prompt(f"pair-{i}", (Message("user", f"question {i}"),))
    sides = pointwise(PreferencePair(prompt, chosen, rejected), score_prompt, seed=seed)
    answers = tuple(side.metadata["answer"] for side in sides)
    return Question(prompt.id, prompt, answers, sides, sides[0].metadata["preferred_side"])


def questions(n):
    return [question(i, f"a long answer that says more, number {i}", f"short {i}") for i in range(n)]


@pytest.fixture
def pairs_file(tmp_path):
    """Writes n pairs whose preferred answer is the longer one, but for every fifth."""

    def write(n, name="train", first=0):
        path = tmp_path / f"{name}.jsonl"
        rows = []
        for i in range(first, first + n):
            long, short = f"a long answer that says more, number {i}", f"short {i}"
            chosen, rejected = (short, long) if i % 5 == 4 else (long, short)
            rows.append(json.dumps({"prompt": f"question {i}", "chosen": chosen, "rejected": rejected}))
        path.write_text("\n".join(rows) + "\n")
        return path

    return write
