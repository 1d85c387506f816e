import pytest

from rlhf.errors import RewardError
from rlhf.rewards.function import FunctionReward, import_function


def by_length(answers):
    return [len(a) for a in answers]


def test_it_hands_in_what_is_named(rollouts):
    seen = {}

    def score(prompts, answers, reference_answers, finish, scale):
        seen.update(prompts=prompts, answers=answers, references=reference_answers, finish=finish)
        return [scale] * len(answers)

    scores = FunctionReward(score, {"scale": 2}).score(rollouts("a", "b"))
    assert scores.total == [2.0, 2.0]
    assert seen == {"prompts": ["question 0", "question 1"], "answers": ["a", "b"], "references": ["r0", "r1"],
                    "finish": ["eos", "eos"]}  # fmt: skip


def test_a_function_of_keywords_gets_everything(rollouts):
    scores = FunctionReward(lambda **k: [len(k)] * len(k["answers"])).score(rollouts("a"))
    assert scores.total == [6.0]


def test_components_come_from_mappings(rollouts):
    scores = FunctionReward(lambda answers: [{"total": 1, "format": 0.5} for _ in answers]).score(rollouts("a", "b"))
    assert scores.total == [1.0, 1.0] and scores.components == {"format": [0.5, 0.5]}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda answers: [1.0], "returned 1 totals for 2 answers"),
        (lambda answers: [1.0, float("nan")], "is nan for sample 0 of prompt p1"),
        (lambda answers: [{"format": 1}] * 2, "without a 'total': format"),
    ],
)
def test_wrong_returns_are_refused(rollouts, function, said):
    with pytest.raises(RewardError, match=said):
        FunctionReward(function).score(rollouts("a", "b"))


def test_parameters_nobody_gives_are_refused_at_once():
    with pytest.raises(RewardError, match="needs 'colour'"):
        FunctionReward(lambda answers, colour: [])
    with pytest.raises(RewardError, match=r"reward\.arguments\.colour is not a parameter"):
        FunctionReward(by_length, {"colour": 1})


def test_import_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_rewards_xyz.py").write_text("def one(answers):\n    return [1.0 for _ in answers]\n")
    monkeypatch.chdir(tmp_path)
    assert import_function("my_rewards_xyz:one")(["a"]) == [1.0]
    with pytest.raises(RewardError, match="has no function 'two'"):
        import_function("my_rewards_xyz:two")
    with pytest.raises(RewardError, match="cannot import no_such_module_xyz"):
        import_function("no_such_module_xyz:f")
