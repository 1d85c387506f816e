"""Tests of the bundled dataset files: counts, labels, splits and the gold numbers stored with the pairs."""

import json
import math
from pathlib import Path

import pytest

import rlhf
from rlhf.rewards.gold import gold_score

FOLDER = Path(rlhf.__file__).parent / "data" / "bundled"
NOISE_RATE = 0.1
NORMAL_QUANTILE_99 = 2.576
"""Half width, in standard errors, of a central 99 % interval of the normal distribution."""
TABLES = [f"{kind}_{split}" for kind in ("pairs", "demonstrations", "prompts") for split in ("train", "test")]


def read_rows(name: str) -> list[dict]:
    """Return the rows of one file of the dataset."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def prompt_texts(name: str) -> set[str]:
    """Return the distinct prompts of one file."""
    return {row["prompt"][0]["content"] for row in read_rows(name)}


def test_enough_pairs_and_prompts() -> None:
    assert len(read_rows("pairs_train")) >= 1000
    assert len(read_rows("pairs_test")) >= 200
    assert len(prompt_texts("pairs_train")) >= 200
    assert len(prompt_texts("prompts_test")) >= 60
    assert len({row["category"] for row in read_rows("prompts_train")}) >= 16


def test_held_out_prompts_never_occur_in_training() -> None:
    train = prompt_texts("prompts_train") | prompt_texts("pairs_train") | prompt_texts("demonstrations_train")
    test = prompt_texts("prompts_test") | prompt_texts("pairs_test") | prompt_texts("demonstrations_test")
    assert train.isdisjoint(test)
    assert train == prompt_texts("prompts_train")
    assert test == prompt_texts("prompts_test")


@pytest.mark.parametrize("name", TABLES)
def test_ids_are_unique_and_name_the_split(name: str) -> None:
    ids = [row["id"] for row in read_rows(name)]
    assert len(set(ids)) == len(ids)
    assert all(row_id.startswith(name.split("_")[1] + "-") for row_id in ids)


@pytest.mark.parametrize("name", TABLES)
def test_messages_have_roles_and_text(name: str) -> None:
    for row in read_rows(name):
        assert [message["role"] for message in row["prompt"]] == ["user"]
        for field in ("chosen", "rejected"):
            assert [message["role"] for message in row.get(field, [])] == ["assistant"] * (field in row)
        messages = [*row["prompt"], *row.get("chosen", []), *row.get("rejected", [])]
        texts = [message["content"] for message in messages] + [row.get("answer", "text")]
        assert all(text and text == text.strip() for text in texts)
        assert not any("<|" in text for text in texts)


@pytest.mark.parametrize("name", ["pairs_train", "pairs_test"])
def test_stored_gold_is_the_gold_score_of_the_text(name: str) -> None:
    for row in read_rows(name):
        for field in ("chosen", "rejected"):
            expected = gold_score(row[field][0]["content"]).total
            assert row[f"gold_{field}"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["pairs_train", "pairs_test"])
def test_chosen_is_better_unless_flipped(name: str) -> None:
    for row in read_rows(name):
        assert (row["gold_chosen"] > row["gold_rejected"]) is not row["flipped"]
        assert abs(row["gold_chosen"] - row["gold_rejected"]) >= 0.1 - 1e-6


@pytest.mark.parametrize("name", ["pairs_train", "pairs_test"])
def test_share_of_flipped_labels_fits_the_noise_rate(name: str) -> None:
    flips = [row["flipped"] for row in read_rows(name)]
    standard_error = math.sqrt(NOISE_RATE * (1.0 - NOISE_RATE) / len(flips))
    assert abs(sum(flips) / len(flips) - NOISE_RATE) <= NORMAL_QUANTILE_99 * standard_error


def test_demonstrations_are_a_mixture_with_room_to_improve() -> None:
    gold = [gold_score(row["answer"]).total for row in read_rows("demonstrations_train")]
    mean = sum(gold) / len(gold)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in gold) / len(gold))
    assert -0.1 <= mean <= 0.4
    assert deviation >= 0.45


def test_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_200_000
