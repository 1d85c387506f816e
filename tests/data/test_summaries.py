"""Comparisons of summaries: their layout, what becomes of it, and what is said of rows without it."""

import gzip
import json
from collections import Counter

import pytest

from rlhf.config.compose import compose
from rlhf.data.loading import load_demonstrations, load_pairs, load_prompts
from rlhf.data.rendering import Renderer
from rlhf.data.rows import Row
from rlhf.data.summaries import summary_row
from rlhf.errors import DataError
from rlhf.explore.reading import kind_of
from rlhf.types import Message

INFO = {"id": "t3_a", "post": "My cat sleeps on the oven. ", "title": "Warm cat", "subreddit": "cats", "site": None,
        "article": None}  # fmt: skip
SHORT, LONG = (
    {"text": " The cat likes heat.", "policy": "ref", "note": ""},
    {"text": " A cat.", "policy": "sup2", "note": ""},
)


def row(number=0, choice=0, info=INFO, **changes):
    values = {"info": info | {"id": f"t3_{number}"}, "split": "train", "summaries": [SHORT, LONG], "choice": choice,
              "worker": "w1", "batch": "b7", "extra": {"confidence": None}}  # fmt: skip
    return values | changes


REQUEST = "Subreddit: cats\nTitle: Warm cat\nPost: My cat sleeps on the oven.\n\nTL;DR:"


@pytest.fixture
def dataset(tmp_path, chat_tokenizer):
    """dataset(rows, *overrides) -> (config, renderer) of dataset=summarize_from_feedback on a file of these rows."""

    def make(rows, *overrides):
        path = tmp_path / "comparisons.jsonl.gz"
        path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
        chosen = ["stage=grpo", "reward=gold", "dataset=summarize_from_feedback", f"dataset.path={path}"]
        config = compose([*chosen, "dataset.eval_split=null", "dataset.eval_fraction=0", *overrides]).dataset
        return config, Renderer(chat_tokenizer, config)

    return make


@pytest.mark.parametrize("choice", [0, 1])
def test_the_choice_says_which_summary_is_preferred(dataset, choice):
    found = load_pairs(*split_of(dataset([row(choice=choice)])), seed=0).examples[0]
    texts = ["The cat likes heat.", "A cat."]
    assert (found.chosen, found.rejected) == (texts[choice], texts[1 - choice])
    assert found.prompt.messages == (Message("user", REQUEST),)
    assert found.metadata["policies"] == [["ref", "sup2"], ["sup2", "ref"]][choice]
    assert (found.metadata["post_id"], found.metadata["worker"]) == ("t3_0", "w1")
    assert {"info", "summaries", "choice"}.isdisjoint(found.metadata)


def split_of(made):
    config, renderer = made
    return config, "train", renderer


def test_articles_and_missing_parts():
    info = {"id": "x", "post": None, "title": " ", "subreddit": None, "site": "news", "article": "It rained."}
    assert summary_row(Row(row(info=info), "f:1")).request == "Article: It rained.\n\nTL;DR:"


def test_prompts_and_demonstrations_come_from_it_too(dataset):
    made = split_of(dataset([row(0), row(1)]))
    assert [p.messages[0].content for p in load_prompts(*made, seed=0).examples] == [REQUEST]  # one post, met twice
    assert [d.answer for d in load_demonstrations(*made, seed=0).examples] == ["The cat likes heat."] * 2


def test_scores_of_summaries(dataset):
    found = load_prompts(*split_of(dataset([row(0), row(1)], "dataset.score_prompt=concise_5")), seed=0)
    assert len(found.examples) == 4 and found.per_unit == 2
    assert f"Human: {REQUEST}" in found.examples[0].messages[-1].content
    assert {p.metadata["answer"] for p in found.examples} == {"The cat likes heat.", "A cat."}


def test_the_columns_tell_the_format(dataset):
    config, renderer = dataset([row()], "dataset.format=auto")
    assert load_pairs(config, "train", renderer, seed=0).report.format == "summaries"
    assert kind_of(config, "auto") == "pairs"
    verbatim, renderer = dataset([row()], "dataset.render=verbatim")
    assert load_pairs(verbatim, "train", renderer, seed=0).examples[0].prompt.text == REQUEST


def test_parts_of_the_data_are_told_apart_by_a_column(dataset):
    config, renderer = dataset([row(), row(1, batch="b8")], "dataset.columns.subset=batch")
    assert [p.subset for p in load_pairs(config, "train", renderer, seed=0).examples] == ["b7", "b8"]


def test_rows_without_a_text_are_counted(dataset):
    empty = row(1, info=INFO | {"post": " "})
    found = load_pairs(*split_of(dataset([row(), empty])), seed=0)
    assert len(found.examples) == 1 and found.report.dropped == Counter(empty_prompt=1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"choice": 2}, "choice must be 0 or 1, the summary that is better; got 2"),
        ({"choice": None}, "choice must be 0 or 1"),
        ({"choice": True}, "choice must be 0 or 1"),
        ({"summaries": [SHORT]}, "summaries must be two, each with a text"),
        ({"summaries": [SHORT, {"policy": "x"}]}, "summaries must be two, each with a text"),
        ({"summaries": "a, b"}, "has the columns info, summaries and choice; its columns: info, split"),
    ],
)
def test_another_layout_is_refused_with_its_line(dataset, wrong, said):
    with pytest.raises(DataError) as caught:
        load_pairs(*split_of(dataset([row(), row(1, **wrong)])), seed=0)
    assert said in str(caught.value) and "comparisons.jsonl.gz:2" in str(caught.value)


def test_a_template_has_no_question_here(dataset):
    with pytest.raises(DataError, match=r"dataset.template=number needs rows with a question, which format summaries"):
        load_pairs(*split_of(dataset([row()], "dataset.template=number")), seed=0)
