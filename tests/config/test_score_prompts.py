"""Score prompts as files: those that come along, and what a wrong one is told."""

import re
from dataclasses import fields

import pytest
import yaml

from rlhf.config.compose import compose
from rlhf.config.paths import config_folder
from rlhf.config.score_prompts import ScorePrompt, load_score_prompt, score_prompt_names
from rlhf.errors import ConfigError

OWN = {"system": None, "prompt": "$conversation: $answer?", "parser": "first_tag", "lowest": 0, "highest": 1,
       "reply": "<s>$score</s>"}  # fmt: skip
STYLES = ("score_first", "concise", "reason_first", "pros_cons")
GRPO = ("stage=grpo", "reward=gold", "dataset.score_prompt=concise_5")


def test_four_styles_on_two_scales():
    assert score_prompt_names() == sorted(f"{style}_{top}" for style in STYLES for top in (5, 100))
    for name in score_prompt_names():
        found = load_score_prompt(name)
        style, top = name.rsplit("_", 1)
        assert (found.name, found.lowest, found.highest) == (name, 1 if top == "5" else 0, int(top))
        assert found.parser == ("first_tag" if style in ("score_first", "concise") else "last_tag")
        assert found.has_reason == (style != "concise")


@pytest.mark.parametrize("name", score_prompt_names())
def test_the_request_says_the_scale_and_shows_the_form(name):
    found = load_score_prompt(name)
    request = found.question("CONVERSATION $5 $x", "ANSWER $$")  # what they hold is no placeholder
    assert "CONVERSATION $5 $x" in request and "ANSWER $$" in request
    instruction = request.split("ANSWER $$")[1]  # comes last, since a request is cut from the left
    assert f"{found.lowest} is worst, {found.highest} is best" in instruction
    assert re.search(r"<s>\d+</s>", instruction) and "CONVERSATION" not in instruction
    assert len(found.question("", "").split()) < 70


@pytest.mark.parametrize("style", STYLES)
def test_the_two_scales_differ_in_their_numbers_alone(style):
    five, hundred = (load_score_prompt(f"{style}_{top}") for top in (5, 100))
    assert re.sub(r"\d+", "#", five.prompt) == re.sub(r"\d+", "#", hundred.prompt)
    assert five.reply == hundred.reply


def test_a_reply_in_form():
    assert load_score_prompt("score_first_5").filled_reply(4, "It helps.") == "<s>4</s> It helps."
    assert load_score_prompt("score_first_5").filled_reply(4.0) == "<s>4</s>"
    assert load_score_prompt("reason_first_100").filled_reply(62.5, "$5 {x}") == "$5 {x} <s>62.5</s>"
    assert load_score_prompt("concise_100").filled_reply(100 / 3) == "<s>33.333333</s>"
    assert load_score_prompt("concise_100").filled_reply(1e-5) == "<s>0.00001</s>"  # no exponent: it would not be read
    assert [load_score_prompt("concise_100").filled_reply(n) for n in (0, 100)] == ["<s>0</s>", "<s>100</s>"]


def test_one_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(OWN | {"system": "You judge.", "lowest": -1.5}))
    found = load_score_prompt(str(path))
    assert (found.name, found.system, found.lowest) == ("mine", "You judge.", -1.5)
    assert compose([*GRPO, f"dataset.score_prompt={path}"]).dataset.score_prompt == str(path)


WRONG = [
    ({"prompt": "$conversation"}, "prompt needs $answer and $conversation"),
    ({"prompt": "$conversation $answer $question"}, "prompt: $question is none of its placeholders"),
    ({"prompt": "$conversation $answer 5$"}, "prompt: a dollar sign that begins no placeholder is written $$"),
    ({"reply": "<s>5</s>"}, "reply needs $score"),
    ({"reply": "$score"}, "reply must hold <s>$score</s> once"),
    ({"reply": "<s>$score</s> <s>$score</s>"}, "reply must hold <s>$score</s> once"),
    ({"parser": "third_tag"}, "parser must be one of first_tag, last_tag; got 'third_tag'"),
    ({"lowest": 1}, "lowest must be a number below highest; got 1 and 1"),
    ({"highest": float("nan")}, "lowest must be a number below highest"),
    ({"lowest": "1"}, "lowest must be a number; got '1'"),
    ({"lowest": True}, "lowest must be a number; got True"),
    ({"reply": None}, "reply must be text; got None"),
    ({"scale": 5}, "scale is not a key of a score prompt; there are system, prompt"),
]


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_a_wrong_one_is_told_what_is_right(tmp_path, change, said):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(OWN | change))
    with pytest.raises(ConfigError) as caught:
        load_score_prompt(str(path))
    assert said in str(caught.value) and "mine" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [f.name for f in fields(ScorePrompt) if f.name != "name"])
def test_a_missing_key_is_named(tmp_path, key):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in OWN.items() if name != key}))
    with pytest.raises(ConfigError, match=rf"mine.yaml: {key} is missing"):
        load_score_prompt(str(path))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([*GRPO, "dataset.score_prompt=concise_6"], "score_prompt=concise_6 is neither a file nor one of concise_100"),
        (
            [*GRPO, "dataset.template=chat"],
            "concise_5 asks for scores of answers and dataset.template=chat",
        ),
        ([*GRPO, "dataset.truncation_side=right"], "dataset.truncation_side=right would cut; use left"),
        ([*GRPO, "trainer.prompts_per_step=7"], "trainer.prompts_per_step must be even; got 7"),
        ([*GRPO, "trainer.minibatches=8"], "must divide the 4 pairs of a step (trainer.prompts_per_step=8)"),
        ([*GRPO, "trainer.minibatches=2", "trainer.no_signal=resample"], "use minibatches=1, or no_signal=drop"),
        (["stage=sft", "dataset.score_prompt=concise_5"], "use null for stage=sft"),
        (["stage=reward", "dataset.score_prompt=concise_5"], "use null for stage=reward"),
        ([*GRPO, "stage=expert_iteration", "trainer.prompts_per_step=3"], "must be even; got 3"),
        ([*GRPO, "trainer.min_reward_spread=0.1"], "use no_signal=drop or resample"),
        ([*GRPO, "trainer.min_reward_spread=-1"], "trainer.min_reward_spread must be at least 0"),
    ],
)
def test_what_parts_a_pair_or_goes_unread_is_refused(overrides, said):
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_what_keeps_pairs_whole_is_accepted():
    drop = "trainer.no_signal=drop"
    for overrides in (
        ["trainer.minibatches=4"],
        ["trainer.minibatches=2", drop],
        ["trainer.no_signal=resample"],
        [drop, "trainer.min_reward_spread=0.1"],
    ):
        assert compose([*GRPO, *overrides]).dataset.per_unit == 2
    assert compose(["stage=grpo", "reward=gold", "trainer.minibatches=8"]).dataset.per_unit == 1


def test_the_comment_of_the_key_names_every_prompt():
    text = (config_folder("conf") / "dataset" / "base.yaml").read_text()
    assert all(style in text for style in STYLES)
