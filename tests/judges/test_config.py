"""The `judge:` section: every option opens, prices and names are checked, keys are never shown."""

from functools import cache

import pytest

from rlhf.config.compose import compose
from rlhf.config.door import open_section
from rlhf.config.endpoints import Price, price_of
from rlhf.config.judges import JUDGE_KINDS
from rlhf.config.paths import config_folder
from rlhf.errors import ConfigError

OPTIONS = sorted(p.stem for p in (config_folder("conf") / "judge").glob("*.yaml") if p.stem != "base")
NEEDS = {"reward": ["judge.model=x"], "replay": ["judge.file=x"]}


@cache
def plain(option):
    return compose(["stage=eval", f"judge={option}", *NEEDS.get(option, [])]).plain["judge"]


def judge(option, **changes):
    """The option's section with changes, through the door."""
    return open_section("judge", {**plain(option), **changes}, JUDGE_KINDS, "eval")


def test_every_option_opens_and_every_kind_has_one():
    assert {judge(option).kind for option in OPTIONS} == set(JUDGE_KINDS)


@pytest.mark.parametrize("option", ["openai", "anthropic", "gemini", "local"])
def test_the_default_model_of_every_server_has_a_price(option):
    config = judge(option)
    assert price_of(config, config.model) is not None


def test_a_price_is_the_one_given_or_the_models_or_that_of_any_model():
    """$0.4 and $1.6 a million tokens: 1,000 in and 100 out are $0.0004 + $0.00016."""
    assert price_of(judge("openai"), "gpt-4.1-mini").of(1000, 100) == pytest.approx(0.00056)
    given = judge("openai", model="mine", input_price=3, output_price=4)
    assert price_of(given, "mine") == Price(3e-6, 4e-6)
    assert price_of(judge("local"), "whatever") == Price(0.0, 0.0)
    unknown = judge("openai", model="mine", max_cost_usd=None, max_calls=10)
    assert price_of(unknown, "mine") is None


@pytest.mark.parametrize(
    ("option", "changes", "said"),
    [
        (
            "openai",
            {"model": "mine"},
            "max_cost_usd=5 cannot be held: the price of mine is not known. Give judge.input",
        ),
        ("openai", {"model": "mine", "max_cost_usd": None}, "nothing bounds what the judge costs"),
        ("openai", {"input_price": 1.0}, "judge.input_price and judge.output_price go together"),
        ("openai", {"prices": {"m": {"input": 1}}}, "judge.prices.m must be {input: dollars, output: dollars}"),
        ("openai", {"prices": {"m": {"input": 1, "output": None}}}, "must have both prices, or null for both"),
        ("openai", {"prices": {"m": {"input": "a", "output": 1}}}, "at least 0, or null; got 'a'"),
        ("openai", {"base_url": "api.openai.com"}, "judge.base_url must be an address such as https://"),
        ("openai", {"timeout_s": 0.0}, "judge.timeout_s must be above 0"),
        ("openai", {"backoff_max_s": 0.5}, "judge.backoff_max_s must be at least 1.0 (judge.backoff_s)"),
        ("openai", {"response_format": "xml"}, "judge.response_format must be one of auto, json_schema"),
        ("openai", {"max_calls": -1}, "judge.max_calls must be at least 0"),
        ("openai", {"concurrency": 0}, "judge.concurrency must be at least 1"),
        ("openai", {"template": ""}, "judge.template is empty"),
        ("reward", {"model": None}, "judge=reward has no model"),
        ("replay", {"file": None}, "judge=replay has no file"),
        ("gold", {"tie_margin": -1.0}, "judge.tie_margin must be at least 0"),
    ],
)
def test_a_wrong_value_is_one_line_that_says_what_is_right(option, changes, said):
    with pytest.raises(ConfigError) as caught:
        judge(option, **changes)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["judge=openai", "judge.temprature=1"], "Did you mean judge.temperature?"),
        (
            ["judge=openai", "judge.extra_body.seed=1"],
            "judge.extra_body has no 'seed' so far: add it with +judge.extra",
        ),
        (["judge.model=x"], "judge.model is not an option of the chosen judge. See conf/judge/"),
        (["judge=gold", "suite=reward_model"], "a judge compares answers, which suite=policy samples"),
        (["judge=opnai"], "Did you mean judge=openai?"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_what_is_right(overrides, said):
    with pytest.raises(ConfigError) as caught:
        compose(["stage=eval", *overrides])
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"api_key_env": "sk-abc123"}, {"base_url": "https://me:sk-abc123@api.com/v1"}])
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(wrong):
    with pytest.raises(ConfigError) as caught:
        judge("openai", **wrong)
    assert "abc123" not in str(caught.value)
