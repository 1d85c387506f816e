"""The `teacher:` section: every option opens, YAML and schema agree, what would leak or cannot be is refused."""

import dataclasses

import pytest

from rlhf.config.compose import compose
from rlhf.config.endpoints import price_of
from rlhf.config.paths import config_folder
from rlhf.config.teacher import TEACHER_KINDS
from rlhf.errors import ConfigError

FOLDER = config_folder("conf") / "teacher"
OPTIONS = sorted(p.stem for p in FOLDER.glob("*.yaml") if p.stem != "base")
NEEDS = {"reward": ["teacher.model=x"]}


def run_of(option, *more):
    return compose(["stage=teacher", f"teacher={option}", *NEEDS.get(option, []), *more])


def test_every_kind_has_an_option():
    assert {run_of(option).teacher.kind for option in OPTIONS} == set(TEACHER_KINDS)


@pytest.mark.parametrize("option", OPTIONS)
def test_yaml_and_schema_name_the_same_keys(option):
    run = run_of(option)
    assert set(run.plain["teacher"]) == {f.name for f in dataclasses.fields(TEACHER_KINDS[run.teacher.kind])}


@pytest.mark.parametrize("option", ["openai", "anthropic", "gemini", "local"])
def test_teachers_are_asked_where_judges_are(option):
    """One place for addresses, paces and prices."""
    teacher, judge = run_of(option).plain["teacher"], compose(["stage=eval", f"judge={option}"]).plain["judge"]
    shared = set(teacher) & set(judge)
    assert {"base_url", "prices", "cache", "max_cost_usd"} < shared
    assert {key for key in shared if teacher[key] != judge[key]} == {"template", "max_tokens"}
    assert price_of(run_of(option).teacher, teacher["model"]) is not None


def test_what_bounds_a_run_stands_where_other_stages_have_it():
    run = run_of("gold")
    assert (run.dataset.limit, run.dataset.score_prompt, run.dataset.rules.prompt_too_long) == (
        1000,
        "score_first_5",
        "drop",
    )
    assert run_of("gold", "dataset=hh_rlhf", "dataset.limit=7").dataset.limit == 7


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["teacher=preferred"], "teacher=preferred does not exist. Options: anthropic, gemini, gold"),
        (["teacher.kind=preferred"], "teacher.kind must be one of chat, gold, random, reward; got 'preferred'"),
        (["teacher=random", "teacher.keep=right_order"], "would teach their preferences; use keep=all"),
        (
            ["teacher=gold", "teacher.reason=true"],
            "teacher=gold gives no reasons for dataset.score_prompt=score_first_5",
        ),
        (["teacher=reward"], "teacher=reward has no model"),
        (["dataset.score_prompt=null"], "stage=teacher needs dataset.score_prompt"),
        (["teacher.keep=right"], "teacher.keep must be one of all, right_order; got 'right'"),
        (["teacher.sides=one"], "teacher.sides must be one of both, preferred, other"),
        (["teacher.split=test"], "teacher.split must be one of both, train, eval"),
        (["teacher.pairs_per_request=0"], "teacher.pairs_per_request must be at least 1"),
        (
            ["teacher.model=mine"],
            "teacher.max_cost_usd=5 cannot be held: the price of mine is not known. Give teacher.in",
        ),
        (["teacher.model=mine", "teacher.max_cost_usd=null"], "nothing bounds what the teacher costs"),
        (["teacher.api_key_env=sk-abc"], "teacher.api_key_env must be the name of a variable"),
        (["teacher.timeout_s=0"], "teacher.timeout_s must be above 0"),
        (["teacher.template=''"], "teacher.template is empty"),
        (["teacher.paris_per_request=2"], "Did you mean teacher.pairs_per_request?"),
        (
            ["teacher=gold", "teacher.model=x"],
            "teacher.model is not an option of the chosen teacher. See conf/teacher/",
        ),
    ],
)
def test_a_wrong_value_is_one_line_that_says_what_is_right(overrides, said):
    with pytest.raises(ConfigError) as caught:
        compose(["stage=teacher", *overrides])
    assert said in str(caught.value) and "\n" not in str(caught.value) and "sk-abc" not in str(caught.value)


def test_reasons_are_no_matter_where_the_reply_has_no_place_for_them():
    assert run_of("gold", "dataset.score_prompt=concise_5", "teacher.reason=true").teacher.reason
