from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import datasets
import pytest

from rlhf.config.compose import compose
from rlhf.data import sources
from rlhf.data.loading import (
    demonstrations_from,
    load_demonstrations,
    load_pairs,
    load_prompts,
    pairs_from,
    prompts_from,
)
from rlhf.data.rendering import Renderer
from rlhf.errors import DataError
from rlhf.types import Demonstration, Message, PreferencePair, Prompt


def rows(count, start=0):
    return [
        {"prompt": f"question {'?' * (i % 17)} {i}", "chosen": f"good {i}", "rejected": f"bad {i}"}
        for i in range(start, start + count)
    ]


@pytest.fixture
def make_data(tmp_path, make_config, chat_tokenizer):
    """make_data(values, **config changes) -> (config, renderer) of a file with these rows."""

    def make(values, name="data.jsonl", **changes):
        path = tmp_path / name
        path.write_text("".join(json.dumps(v) + "\n" for v in values))
        config = make_config(path=path, **changes)
        return config, Renderer(chat_tokenizer, config)

    return make


def test_groups_are_the_tokens_of_the_examples_in_file_order(make_data, chat_tokenizer):
    config, renderer = make_data(rows(3), eval_fraction=0.0)
    pairs = load_pairs(config, "train", renderer, seed=0)
    assert [p.prompt.id for p in pairs.examples] == ["toy-0", "toy-1", "toy-2"]
    for number, group in enumerate(pairs.groups):
        assert chat_tokenizer.decode(group.prompt_ids).endswith(f" {number}<eos><|assistant|>")
        texts = [chat_tokenizer.decode(c.ids) for c in group.continuations]
        assert texts == [f"good {number}<eos>", f"bad {number}<eos>"]  # chosen first
        assert all(c.loss_mask is None for c in group.continuations)


def test_ids_stay_those_of_the_file_when_rows_are_dropped(make_data):
    values = rows(3)
    values[1]["chosen"] = ""
    config, renderer = make_data(values, eval_fraction=0.0)
    assert [p.prompt.id for p in load_pairs(config, "train", renderer, seed=0).examples] == ["toy-0", "toy-2"]


def test_ids_of_the_data_must_be_unique(make_data):
    values = [v | {"key": key} for v, key in zip(rows(3), "aba", strict=True)]
    config, renderer = make_data(values, columns={"id": "key"}, eval_fraction=0.0)
    with pytest.raises(DataError, match=r"data\.jsonl:3: the id 'a' was used before, at .*data\.jsonl:1"):
        load_pairs(config, "train", renderer, seed=0)


def test_held_out_examples_are_the_rest(make_data):
    values = rows(200) + rows(200)  # every prompt twice
    config, renderer = make_data(values, eval_fraction=0.1)
    sides = {split: load_pairs(config, split, renderer, seed=3) for split in ("train", "eval")}
    prompts = {split: {p.prompt.messages for p in pairs.examples} for split, pairs in sides.items()}
    ids = {split: {p.prompt.id for p in pairs.examples} for split, pairs in sides.items()}
    assert not prompts["train"] & prompts["eval"]
    assert ids["train"] | ids["eval"] == {f"toy-{i}" for i in range(400)}
    assert len(sides["eval"].examples) == 40
    assert sides["train"].report.held_apart == 40
    again = load_pairs(config, "eval", renderer, seed=3)
    assert again.fingerprint == sides["eval"].fingerprint != load_pairs(config, "eval", renderer, seed=4).fingerprint
    for load in (load_prompts, load_demonstrations):  # every kind holds out the same
        other = {getattr(e, "prompt", e).messages for e in load(config, "eval", renderer, seed=3).examples}
        assert other == prompts["eval"]


def test_nothing_to_evaluate_on_is_an_error(make_data):
    config, renderer = make_data(rows(3), eval_fraction=0.0)
    with pytest.raises(DataError, match=r"nothing to evaluate on: set dataset\.eval_split"):
        load_pairs(config, "eval", renderer, seed=0)


def test_an_evaluation_file_has_ids_of_its_own(make_data, tmp_path):
    other = tmp_path / "test.jsonl.gz"
    other.write_bytes(gzip.compress("".join(json.dumps(v) + "\n" for v in rows(2, start=10)).encode()))
    config, renderer = make_data(rows(3), eval_path=other)
    assert [p.prompt.id for p in load_pairs(config, "train", renderer, seed=0).examples] == ["toy-0", "toy-1", "toy-2"]
    held = load_pairs(config, "eval", renderer, seed=0)
    assert [p.prompt.id for p in held.examples] == ["toy-eval-0", "toy-eval-1"]
    assert held.report.source == str(other)


def test_limits_count_what_is_kept_and_read_no_further(make_data):
    values = rows(10)
    values[0]["rejected"] = values[0]["chosen"]
    config, renderer = make_data(values, limit=3, eval_fraction=0.0)
    with Path(config.path).open("a") as file:
        file.write("broken\n")
    report = load_pairs(config, "train", renderer, seed=0).report
    assert (report.read, report.kept, report.dropped["tie"]) == (4, 3, 1)
    config, renderer = make_data(values, eval_limit=2, eval_fraction=0.5)
    assert load_pairs(config, "eval", renderer, seed=0).report.kept == 2


def test_prompts_are_different_ones(make_data):
    config, renderer = make_data(rows(3) + rows(2), eval_fraction=0.0)
    prompts = load_prompts(config, "train", renderer, seed=0)
    assert [p.id for p in prompts.examples] == ["toy-0", "toy-1", "toy-2"]
    assert prompts.report.duplicate_prompts == 2
    assert len(load_demonstrations(config, "train", renderer, seed=0).examples) == 5


def test_one_question_with_two_reference_answers_is_two_prompts(make_renderer):
    questions = [{"prompt": "q", "answer": a} for a in ("1", "2", "1")]
    assert [p.reference_answer for p in prompts_from(questions, make_renderer()).examples] == ["1", "2"]


def test_fingerprints_follow_ids_and_tokens(make_renderer):
    renderer, cut = make_renderer(), make_renderer(max_answer_tokens=2)
    base = pairs_from(rows(3), renderer)
    assert len(base.fingerprint) == 64
    assert pairs_from(rows(3), renderer).fingerprint == base.fingerprint
    others = [pairs_from(rows(3), renderer, name="x"), pairs_from(rows(4), renderer), pairs_from(rows(3, 1), renderer)]
    assert len({o.fingerprint for o in (*others, pairs_from(rows(3), cut), base)}) == 5


def test_bad_rows_are_named_by_file_and_line(make_data):
    config, renderer = make_data([*rows(2), {"prompt": "a", "chosen": "b"}], eval_fraction=0.0)
    with pytest.raises(DataError, match=r"data\.jsonl:3: no column 'rejected'"):
        load_pairs(config, "train", renderer, seed=0)


def test_conversations_that_the_chat_template_refuses_are_named(make_data, chat_tokenizer, monkeypatch):
    monkeypatch.setattr(
        chat_tokenizer,
        "chat_template",
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
        "{{ m.content }}{% endfor %}",
    )
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    config, renderer = make_data([{"prompt": "a"}, {"prompt": turns}], eval_fraction=0.0)
    with pytest.raises(DataError, match=r"data\.jsonl:2: the chat template refuses .* system, user: no system turns"):
        load_prompts(config, "train", renderer, seed=0)


# --- memory


def test_typed_examples_from_memory(make_renderer):
    renderer = make_renderer()
    prompt = Prompt("mine", (Message("user", "a"),))
    assert pairs_from([PreferencePair(prompt, "b", "c", margin=2.0)], renderer).examples[0].margin == 2.0
    assert demonstrations_from([Demonstration(prompt, "b")], renderer).examples[0].prompt.id == "mine"
    prompts = prompts_from([prompt, "b", {"prompt": "c"}], renderer, name="m").examples
    assert [p.id for p in prompts] == ["mine", "m-1", "m-2"]
    assert prompts[1].messages == (Message("user", "b"),)


def test_rows_of_a_datasets_dataset(make_renderer):
    turns = [{"role": "user", "content": "a"}]
    data = datasets.Dataset.from_list([{"prompt": turns, "chosen": "b", "rejected": "c"}])
    assert pairs_from(data, make_renderer()).examples[0].prompt.messages == (Message("user", "a"),)


@pytest.mark.parametrize(("build", "item"), [(pairs_from, "text"), (prompts_from, 3), (demonstrations_from, None)])
def test_other_things_in_memory_are_refused(make_renderer, build, item):
    with pytest.raises(DataError, match=f"memory:0: expected a dict or a .*; got {type(item).__name__}"):
        build([item], make_renderer())


# --- streams and bundled data


@pytest.fixture
def stream(monkeypatch):
    """Every hub name is an endless stream of pairs."""

    def endless(path, subset, *, split, streaming):
        assert streaming

        def generate():
            number = 0
            while True:
                yield rows(1, number)[0]
                number += 1

        return datasets.IterableDataset.from_generator(generate)

    monkeypatch.setattr(datasets, "load_dataset", endless)


def test_the_beginning_of_a_stream(stream, make_config, chat_tokenizer):
    config = make_config(path="acme/endless", streaming=True, limit=5, eval_split="test")
    renderer = Renderer(chat_tokenizer, config)
    assert load_pairs(config, "train", renderer, seed=0).report.read == 5
    assert load_pairs(config, "eval", renderer, seed=0).report.read == 5  # no eval_limit: as many as of training


def test_holding_out_of_a_stream(stream, make_config, chat_tokenizer):
    config = make_config(path="acme/endless", streaming=True, limit=20, eval_limit=5, eval_fraction=0.2)
    renderer = Renderer(chat_tokenizer, config)
    train = {p.prompt.id for p in load_pairs(config, "train", renderer, seed=0).examples}
    held = {p.prompt.id for p in load_pairs(config, "eval", renderer, seed=0).examples}
    assert (len(train), len(held), train & held) == (20, 5, set())


def test_bundled_rows_keep_their_ids(tmp_path, make_config, chat_tokenizer, monkeypatch):
    (tmp_path / "bundled").mkdir()
    row = {"id": "food-3", "category": "food", "prompt": "a", "answer": "b"}
    (tmp_path / "bundled" / "demonstrations_train.jsonl").write_text(json.dumps(row))
    monkeypatch.setattr(sources, "files", lambda package: tmp_path)
    config = make_config(path="bundled", eval_split="test")
    example = load_demonstrations(config, "train", Renderer(chat_tokenizer, config), seed=0).examples[0]
    assert (example.prompt.id, example.prompt.metadata) == ("food-3", {"category": "food"})


# --- real data: RLHF_REAL_DATA names a folder with the files of HH-RLHF, GSM8K and MATH


def real_file(name: str) -> str:
    path = Path(os.environ.get("RLHF_REAL_DATA", "")) / name
    if "RLHF_REAL_DATA" not in os.environ or not path.is_file():
        pytest.skip("RLHF_REAL_DATA names no folder with this file")
    return str(path)


def real_config(name: str, *overrides: str):
    return compose(["stage=reward", f"dataset.path={real_file(name)}", *overrides]).dataset


@pytest.mark.slow
def test_hh_pairs(chat_tokenizer):
    overrides = ("dataset=hh_rlhf", f"dataset.eval_path={real_file('hh_harmless_test.jsonl.gz')}")
    config = real_config("hh_harmless_train.jsonl.gz", *overrides)
    renderer = Renderer(chat_tokenizer, config)
    started = time.perf_counter()
    train = load_pairs(config, "train", renderer, seed=0)
    held = load_pairs(config, "eval", renderer, seed=0)
    assert time.perf_counter() - started < 15
    assert (train.report.read, held.report.read) == (1400, 200)
    assert train.report.dropped["prompts_differ"] == 4
    assert train.report.dropped["empty_answer"] == 3
    assert train.report.kept == 1400 - sum(train.report.dropped.values())
    for pairs in (train, held):
        assert all(p.prompt.messages[-1].role == "user" for p in pairs.examples)
        assert all(len(g.prompt_ids) <= 512 and len(g.continuations) == 2 for g in pairs.groups)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "prompt", "answer"),
    [
        ("gsm8k_test.jsonl.gz", 660, "question", "answer"),
        ("math_train.jsonl.gz", 1500, "problem", "answer"),
        ("math_test.jsonl.gz", 500, "problem", "solution"),
    ],
)
def test_questions_with_renamed_columns(chat_tokenizer, name, count, prompt, answer):
    overrides = (f"dataset.columns.prompt={prompt}", f"dataset.columns.answer={answer}", "dataset.eval_fraction=0")
    config = real_config(name, "dataset=local", *overrides)
    renderer = Renderer(chat_tokenizer, config)
    prompts = load_prompts(config, "train", renderer, seed=0)
    assert prompts.report.kept + prompts.report.duplicate_prompts == count
    assert all(p.reference_answer for p in prompts.examples)
    assert load_demonstrations(config, "train", renderer, seed=0).report.kept == count
