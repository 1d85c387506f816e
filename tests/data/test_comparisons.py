"""Pairs made on demand: ordered as the rule says, alike in everything else, never on both sides of the hold-out."""

import random
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.config.compose import compose
from rlhf.config.procedural import FEWEST_WORDS, MOST_WORDS, comparison_options
from rlhf.data.comparison_words import NEGATIVE, NOUNS, PLACES, POSITIVE, VERBS
from rlhf.data.comparisons import comparison
from rlhf.data.loading import load_demonstrations, load_pairs, load_prompts
from rlhf.data.procedural import generated_rows
from rlhf.data.rendering import Renderer
from rlhf.errors import ConfigError, DataError
from rlhf.models.bundled import BUNDLED, bundled_file
from rlhf.models.loading import load_tokenizer
from rlhf.models.tokenizers import byte_tokenizer

GOOD, BAD = ({word for words in found.values() for word in words} for found in (POSITIVE, NEGATIVE))


@cache
def dataset(*overrides):
    return compose(["stage=reward", "dataset=comparisons", *overrides]).dataset


def rows(split="train", *overrides):
    return [row.values for row in generated_rows(dataset(*overrides), split)]


def task(name):
    return f"dataset.task_options.task={name}"


def words(answer):
    return answer.lower().replace(",", "").removesuffix(".").split()


def feeling(answer):
    """(positive, negative) words, counted from the text."""
    found = Counter("good" if w in GOOD else "bad" for w in words(answer) if w in GOOD | BAD)
    return found["good"], found["bad"]


@st.composite
def ranges(draw, different):
    low = draw(st.integers(FEWEST_WORDS, MOST_WORDS - different))
    return [low, draw(st.integers(low + different, MOST_WORDS))]


@settings(max_examples=60, deadline=None)
@given(asked=ranges(different=1), seed=st.integers(0, 10**6))
def test_the_longer_answer_is_preferred(asked, seed):
    pair = comparison(comparison_options({"task": "longer", "words": asked}), random.Random(seed))
    chosen, rejected = words(pair["chosen"]), words(pair["rejected"])
    assert asked[0] <= len(rejected) < len(chosen) <= asked[1]
    assert pair["difference"] == len(chosen) - len(rejected)
    assert len(pair["chosen"]) > len(pair["rejected"])


@settings(max_examples=60, deadline=None)
@given(asked=ranges(different=0), seed=st.integers(0, 10**6))
def test_the_friendlier_of_two_equally_long_answers_is_preferred(asked, seed):
    pair = comparison(comparison_options({"task": "positive", "words": asked}), random.Random(seed))
    (more, less), (fewer, rest) = feeling(pair["chosen"]), feeling(pair["rejected"])
    assert more > fewer and more + less == fewer + rest  # as many words of feeling
    assert pair["difference"] == more - fewer
    assert len(pair["chosen"]) == len(pair["rejected"])
    assert asked[0] <= len(words(pair["chosen"])) == len(words(pair["rejected"])) <= asked[1]


def test_nothing_else_tells_which_answer_is_longer():
    """Feeling is tossed: over 3,000 pairs with some 3 such words a side the two shares differ by noise."""
    found = rows("train", task("longer"), "dataset.limit=3000")
    shares = []
    for side in ("chosen", "rejected"):
        good, bad = map(sum, zip(*(feeling(row[side]) for row in found), strict=True))
        assert abs(good / (good + bad) - 0.5) < 4 * 0.5 / (good + bad) ** 0.5
        shares.append(good / (good + bad))
    assert abs(shares[0] - shares[1]) < 0.04


def test_the_words_are_as_many_of_each_length_and_in_one_list_alone():
    assert {n: len(found) for n, found in POSITIVE.items()} == {n: len(found) for n, found in NEGATIVE.items()}
    lists = [[w for found in kind.values() for w in found] for kind in (POSITIVE, NEGATIVE, NOUNS, VERBS, PLACES)]
    flat = [word for kind in lists for word in kind]
    assert len(flat) == len(set(flat)) > 100
    assert all(n == len(word) for kind in (POSITIVE, NEGATIVE, NOUNS) for n, found in kind.items() for word in found)


@pytest.mark.parametrize("name", ["longer", "positive"])
def test_thousands_of_pairs_of_which_no_two_are_alike(name):
    train, held_out = (
        rows("train", task(name), "dataset.limit=4000"),
        rows("eval", task(name), "dataset.eval_limit=400"),
    )
    assert (len(train), len(held_out)) == (4000, 400)
    prompts = [{row["prompt"] for row in found} for found in (train, held_out)]
    assert (len(prompts[0]), len(prompts[1])) == (4000, 400) and not prompts[0] & prompts[1]
    answers = {row[side] for row in train for side in ("chosen", "rejected")}
    assert len(answers) > 7500
    other = rows("train", task(name), "dataset.limit=4000", "dataset.task_seed=1")
    assert not {row["prompt"] for row in other} & prompts[1]  # whatever the seed


def test_a_seed_is_a_dataset_and_a_limit_its_length():
    first, again, other = (rows("train", "dataset.limit=50", f"dataset.task_seed={seed}") for seed in (0, 0, 1))
    assert first == again != other and len(first) == 50
    assert rows("train", "dataset.limit=10") == first[:10]


def test_they_are_loaded_as_every_kind():
    config = dataset("dataset.limit=20", "dataset.eval_limit=5")
    renderer = Renderer(byte_tokenizer(), config)
    pairs, held_out = (load_pairs(config, split, renderer, seed=0) for split in ("train", "eval"))
    assert (len(pairs.examples), len(held_out.examples)) == (20, 5)
    assert (pairs.examples[0].prompt.id, held_out.examples[0].prompt.id) == ("comparisons-0", "comparisons-eval-0")
    assert pairs.report.format == "pairs" and pairs.report.truncated_prompts == pairs.report.truncated_answers == 0
    assert pairs.examples[0].margin == rows("train", "dataset.limit=1")[0]["difference"]
    prompts = load_prompts(config, "train", renderer, seed=0)
    assert [p.id for p in prompts.examples] == [pair.prompt.id for pair in pairs.examples]
    shown = load_demonstrations(config, "train", renderer, seed=0)
    assert [d.answer for d in shown.examples] == [pair.chosen for pair in pairs.examples]


def test_the_longest_are_whole_for_a_model_that_reads_bytes():
    config = dataset(f"dataset.task_options.words=[{MOST_WORDS - 1},{MOST_WORDS}]", "dataset.limit=300")
    report = load_pairs(config, "train", Renderer(byte_tokenizer(), config), seed=0).report
    assert report.truncated_prompts == report.truncated_answers == 0 and not report.dropped


@pytest.mark.skipif(not all(map(bundled_file, BUNDLED)), reason="the bundled model is not installed")
@pytest.mark.parametrize("name", ["longer", "positive"])
def test_they_are_short_for_the_bundled_model(name):
    run = compose(["stage=reward", "dataset=comparisons", task(name), "dataset.limit=500"])
    groups = load_pairs(run.dataset, "train", Renderer(load_tokenizer(run.model), run.dataset), seed=0).groups
    answers = [len(c.ids) for group in groups for c in group.continuations]
    assert max(answers) < 40 and max(len(g.prompt_ids) + len(c.ids) for g in groups for c in g.continuations) < 90


OPTIONS = {"task": "longer", "words": [3, 20]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limit": None}, "dataset.path=comparisons never ends: set dataset.limit"),
        ({"eval_limit": None}, "dataset.path=comparisons never ends: set dataset.eval_limit"),
        ({"eval_split": None}, "holds questions out by itself"),
        ({"task_options": OPTIONS | {"task": "shorter"}}, "task_options.task must be one of longer, positive; got"),
        (
            {"task_options": OPTIONS | {"words": [2, 20]}},
            "words must be [fewest, most], whole numbers between 3 and 24",
        ),
        ({"task_options": OPTIONS | {"words": [9, 8]}}, "words must be [fewest, most]"),
        ({"task_options": OPTIONS | {"words": [8, 8]}}, "words=[8, 8] makes all answers equally long"),
        (
            {"task_options": OPTIONS | {"word": 3}},
            "task_options.word is not an option of dataset.path=comparisons. Did",
        ),
        ({"task_options": {"task": "longer"}}, "dataset.task_options.words is missing"),
        ({"task": "longer"}, "dataset.task belongs to dataset.path=reasoning_gym; leave it null for comparisons"),
    ],
)
def test_wrong_options_are_refused(change, said):
    with pytest.raises(ConfigError) as caught:
        replace(dataset(), **change)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_questions_are_no_pairs():
    config = compose(["stage=reward", "dataset=arithmetic"]).dataset
    with pytest.raises(DataError, match="format math holds no preference pairs"):
        load_pairs(config, "train", Renderer(byte_tokenizer(), config), seed=0)
