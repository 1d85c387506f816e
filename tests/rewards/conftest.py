import pytest

from rlhf.types import Prompt, Rollout


@pytest.fixture
def rollouts():
    """make("answer", ...) -> one finished rollout an answer, to prompts p0, p1, ..."""

    def make(*answers, finish="eos"):
        return [
            Rollout(
                Prompt(f"p{i}", text=f"question {i}", reference_answer=f"r{i}"), (1,), (2,), (0.0,), answer, finish, 0
            )
            for i, answer in enumerate(answers)
        ]

    return make
