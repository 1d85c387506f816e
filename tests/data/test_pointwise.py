"""Pairs as prompts that ask for scores: what the model reads, what stays behind, and that a pair stays whole."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.config.score_prompts import ScorePrompt, load_score_prompt
from rlhf.data.loading import load_pairs, load_prompts, prompts_from
from rlhf.data.pointwise import check_tags, pointwise, preferred_side, score_request, units_of
from rlhf.data.rendering import Renderer
from rlhf.errors import DataError
from rlhf.models.tokenizers import byte_tokenizer
from rlhf.parts import first_of
from rlhf.types import Message, PreferencePair, Prompt

CONCISE = load_score_prompt("concise_5")
BARE = ScorePrompt("bare", None, "[$conversation][$answer]", "first_tag", 1, 5, "<s>$score</s>")
TALK = (Message("user", "Hello?"), Message("assistant", "Yes."), Message("user", "How?"))


def pair(id="p", **changes):
    return replace(PreferencePair(Prompt(id, TALK), "good", "bad"), **changes)


def test_a_request_shows_conversation_and_answer_and_nothing_else():
    found = score_request(Prompt("p", TALK), " So. ", BARE, id="x", metadata={"a": 1})
    assert found.messages == (Message("user", "[Human: Hello?\n\nAssistant: Yes.\n\nHuman: How?][So.]"),)
    assert (found.id, found.metadata, found.text, found.reference_answer) == ("x", {"a": 1}, "", None)


def test_a_text_prompt_stands_as_it_is_and_a_system_turn_by_its_name():
    plain = score_request(Prompt("p", text="Q: 2+2?"), "4", BARE, id="x", metadata={})
    assert plain.messages[0].content == "[Q: 2+2?][4]"
    told = Prompt("p", (Message("system", "Be kind."), Message("user", "Hi")))
    asked = score_request(told, "a", replace(BARE, system="You judge."), id="x", metadata={})
    assert asked.messages == (Message("system", "You judge."), Message("user", "[System: Be kind.\n\nHuman: Hi][a]"))


def test_both_sides_and_their_metadata():
    found = pointwise(pair(subset="easy", margin=0.5), CONCISE, seed=0)
    assert [side.id for side in found] == ["p/0", "p/1"]
    preferred = preferred_side("p", 0)
    for side, prompt in enumerate(found):
        assert prompt.metadata == {
            "pair_id": "p", "side": side, "preferred_side": preferred, "score_prompt": "concise_5",
            "answer": "good" if side == preferred else "bad", "subset": "easy", "margin": 0.5}  # fmt: skip
    assert {"subset", "margin", "stop"}.isdisjoint(pointwise(pair(), CONCISE, seed=0)[0].metadata)


def test_a_tokenizer_that_would_swallow_the_tags_is_refused():
    tokenizer = byte_tokenizer()
    check_tags(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["</s>"]})
    with pytest.raises(DataError, match="</s> is a special token of the tokenizer"):
        check_tags(tokenizer)


def test_what_the_model_reads_does_not_say_which_side_is_preferred():
    """Swapping the labels swaps the requests, and changes nothing else that is read."""
    one, other = pair(), pair(chosen="bad", rejected="good")
    first, second = pointwise(one, CONCISE, seed=3), pointwise(other, CONCISE, seed=3)
    assert [p.messages for p in first] == [p.messages for p in reversed(second)]
    assert [p.id for p in first] == [p.id for p in second]


def test_the_preferred_side_is_a_fair_coin_of_seed_and_id():
    sides = [[preferred_side(f"pair-{i}", seed) for i in range(4000)] for seed in (0, 1)]
    for found in sides:
        assert abs(sum(found) - 2000) < 4 * 32  # four standard deviations of 4000 fair coins, sqrt(4000) / 2 = 31.6
    agreement = sum(a == b for a, b in zip(*sides, strict=True))
    assert abs(agreement - 2000) < 4 * 32  # seeds are independent
    assert sides[0] == [preferred_side(f"pair-{i}", 0) for i in range(4000)]


def test_neighbours_of_a_pair_are_a_unit():
    prompts = [Prompt("a"), Prompt("b"), *pointwise(pair("p"), BARE, seed=0), *pointwise(pair("q"), BARE, seed=0)]
    assert units_of(prompts) == (0, 1, 2, 2, 3, 3)
    assert units_of([*prompts[:3], *prompts[4:]]) == (0, 1, 2, 3, 3)  # a side that a filter took away
    assert units_of([]) == ()


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(number, **last):
    found = [
        {"id": f"r{i}", "prompt": f"Question {i}?", "chosen": f"good {i}", "rejected": f"bad {i}"}
        for i in range(number)
    ]
    return [*found[:-1], found[-1] | last]


@pytest.fixture
def scored(tmp_path, chat_tokenizer, make_config):
    """scored(rows, limit=2) -> (config, renderer) of dataset.score_prompt=concise_5 on a file of these rows."""

    def make(data, **changes):
        path = write(tmp_path / "pairs.jsonl", data)
        settings = {"score_prompt": "concise_5", "max_prompt_tokens": 1000, "columns": {"id": "id"}, "format": "pairs"}
        config = make_config(path=path, **(settings | changes))
        return config, Renderer(chat_tokenizer, config)

    return make


def test_loading_gives_two_prompts_a_pair_in_the_order_of_the_file(scored):
    config, renderer = scored(rows(4), eval_fraction=0.0)
    found = load_prompts(config, "train", renderer, seed=0)
    assert [p.id for p in found.examples] == [f"r{i}/{side}" for i in range(4) for side in (0, 1)]
    assert found.per_unit == 2
    assert (found.report.kept, found.report.kind, len(found.report.prompt_tokens)) == (4, "pairs", 8)
    for first, second in zip(found.examples[::2], found.examples[1::2], strict=True):
        answers = {p.metadata["side"]: p.metadata["answer"] for p in (first, second)}
        assert answers[first.metadata["preferred_side"]].startswith("good")


@pytest.mark.parametrize("limit", [1, 3])
def test_limits_count_pairs(scored, limit):
    config, renderer = scored(rows(8), limit=limit, eval_limit=limit, eval_fraction=0.5, eval_split=None)
    for split in ("train", "eval"):
        found = load_prompts(config, split, renderer, seed=0)
        assert len(found.examples) == 2 * limit and found.report.kept == limit
    assert [p.id for p in first_of(found, 1).examples] == [p.id for p in found.examples[:2]]
    assert len(first_of(replace(found, per_unit=1), 1).examples) == 1


def test_the_same_pairs_are_held_out_as_for_a_reward_model(scored):
    config, renderer = scored(rows(20), eval_fraction=0.3, eval_split=None)
    ids = {split: [p.metadata["pair_id"] for p in load_prompts(config, split, renderer, seed=0).examples[::2]]
           for split in ("train", "eval")}  # fmt: skip
    for split, found in ids.items():
        assert found == [e.prompt.id for e in load_pairs(config, split, renderer, seed=0).examples]
    assert len(ids["eval"]) == 6


@pytest.mark.parametrize("side", ["chosen", "rejected"])  # one of them is side 0
def test_a_rule_that_drops_one_side_drops_the_pair(scored, side):
    data = rows(3, **{side: "long " * 300})
    config, renderer = scored(data, rules={"prompt_too_long": "drop"}, eval_fraction=0.0)
    found = load_prompts(config, "train", renderer, seed=0)
    assert [p.id for p in found.examples] == ["r0/0", "r0/1", "r1/0", "r1/1"]
    assert found.report.dropped == Counter(prompt_too_long=1)


@pytest.mark.parametrize(
    ("last", "reason"),
    [({"rejected": "good 2"}, "tie"), ({"rejected": ""}, "empty_answer"), ({"rejected": "x"}, "too_short")],
)
def test_pairs_that_cannot_teach_are_counted_by_reason(scored, last, reason):
    config, renderer = scored(rows(3, **last), min_answer_tokens=2, eval_fraction=0.0)
    found = load_prompts(config, "train", renderer, seed=0)
    assert len(found.examples) == 4 and found.report.dropped == Counter({reason: 1})


def test_a_request_that_is_cut_keeps_its_instruction(scored):
    config, renderer = scored(rows(2, prompt="old " * 400), max_prompt_tokens=300, eval_fraction=0.0)
    found = load_prompts(config, "train", renderer, seed=0)
    assert found.report.truncated_prompts == 2 and found.report.counted["prompt_too_long"] == 1
    instruction = CONCISE.question("", "").split("Answer:")[1].strip()
    for prompt in found.examples[2:]:
        shown = renderer.tokenizer.decode(renderer.prompt_ids(prompt))
        assert instruction in shown and "old old" in shown and prompt.metadata["answer"] in shown
        assert len(renderer.prompt_ids(prompt)) == 300


def test_answers_that_differ_only_where_both_are_cut_are_no_pair(scored):
    tail = "same " * 100
    config, renderer = scored(
        rows(2, chosen="good " + tail, rejected="bad " + tail), max_prompt_tokens=300, eval_fraction=0.0
    )
    found = load_prompts(config, "train", renderer, seed=0)
    assert [p.metadata["pair_id"] for p in found.examples] == ["r0", "r0"]
    assert found.report.dropped == Counter(identical_after_truncation=1)


def test_rows_without_pairs_are_refused(scored):
    config, renderer = scored([{"prompt": "Q", "id": "a"}], format="prompts", eval_fraction=0.0)
    with pytest.raises(DataError, match="format prompts holds no preference pairs"):
        load_prompts(config, "train", renderer, seed=0)


def test_pairs_from_memory(make_renderer):
    renderer = make_renderer(score_prompt="concise_5", max_prompt_tokens=1000)
    found = prompts_from([pair("p"), {"prompt": "Q", "chosen": "yes", "rejected": "no"}], renderer)
    assert [p.id for p in found.examples] == ["p/0", "p/1", "memory-1/0", "memory-1/1"] and found.per_unit == 2
    assert prompts_from(["Q"], make_renderer()).per_unit == 1


def test_the_fingerprint_knows_which_side_is_preferred(make_renderer):
    renderer = make_renderer(score_prompt="concise_5", max_prompt_tokens=1000)
    same, again = (prompts_from([pair("p")], renderer).fingerprint for _ in range(2))
    assert same == again != prompts_from([pair("p", chosen="bad", rejected="good")], renderer).fingerprint


@given(words=st.lists(st.text(alphabet="ab $<>\n", min_size=1, max_size=8), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_texts_reach_the_request_unchanged(words):
    prompt = Prompt("p", tuple(Message(role, w) for role, w in zip(("user", "assistant", "user"), words, strict=False)))
    shown = score_request(prompt, words[3], CONCISE, id="x", metadata={}).messages[0].content
    assert words[1] in shown and words[3].strip() in shown
