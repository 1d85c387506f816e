from __future__ import annotations

import json

import datasets
import pytest

from rlhf.data import sources
from rlhf.data.sources import holds_out, iter_rows, load_rows
from rlhf.errors import DataError


def write_jsonl(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"prompt": v}) + "\n" for v in values))
    return path


def read(config, split="train", kind="prompts"):
    return [row.values["prompt"] for row in load_rows(config, split, kind)]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("train[:3]", [0, 1, 2]),
        ("train[7:]", [7, 8, 9]),
        ("train[2:4]", [2, 3]),
        ("train[-2:]", [8, 9]),
        ("train[:30%]", [0, 1, 2]),
        ("train[80%:]", [8, 9]),
    ],
)
def test_slices_of_a_file(tmp_path, make_config, split, expected):
    path = write_jsonl(tmp_path / "x.jsonl", range(10))
    assert read(make_config(path=path, train_split=split)) == expected


@pytest.mark.parametrize("split", ["train[", "train[1]", "train[a:b]", "[:3]", ""])
def test_a_slice_that_cannot_be_read(tmp_path, make_config, split):
    config = make_config(path=write_jsonl(tmp_path / "x.jsonl", range(3)), train_split=split)
    with pytest.raises(DataError, match="cannot read the s"):
        read(config)


def test_where_evaluation_rows_come_from(tmp_path, make_config):
    train = write_jsonl(tmp_path / "a.jsonl", range(10))
    other = write_jsonl(tmp_path / "b.jsonl", range(100, 103))
    own_file = make_config(path=train, eval_path=other, eval_split="test")
    assert (read(own_file, "eval"), holds_out(own_file)) == ([100, 101, 102], False)
    own_slice = make_config(path=train, train_split="train[:8]", eval_split="train[8:]")
    assert (read(own_slice, "eval"), holds_out(own_slice)) == ([8, 9], False)
    part = make_config(path=train, eval_split=None)
    assert (read(part, "eval"), holds_out(part)) == (list(range(10)), True)


def test_a_single_file_has_no_other_split(tmp_path, make_config):
    config = make_config(path=write_jsonl(tmp_path / "x.jsonl", range(3)), eval_split="test")
    with pytest.raises(DataError, match=r"no split 'test'.*dataset\.eval_path"):
        load_rows(config, "eval", "prompts")


def test_folders_are_read_by_the_split_in_the_files_names(tmp_path, make_config):
    write_jsonl(tmp_path / "data" / "train-00001-of-00002.jsonl", [2, 3])
    write_jsonl(tmp_path / "data" / "train-00000-of-00002.jsonl", [0, 1])
    write_jsonl(tmp_path / "test" / "part.jsonl", [9])
    (tmp_path / "README.md").write_text("notes")
    config = make_config(path=tmp_path, eval_split="test")
    assert read(config) == [0, 1, 2, 3]
    assert read(config, "eval") == [9]
    with pytest.raises(DataError, match="no file of the split 'validation'; its files: train-00000"):
        read(make_config(path=tmp_path, train_split="validation"))


def test_a_folder_whose_names_tell_no_split_is_all_of_it(tmp_path, make_config):
    write_jsonl(tmp_path / "b.jsonl", [1])
    write_jsonl(tmp_path / "a.jsonl", [0])
    assert read(make_config(path=tmp_path)) == [0, 1]


def test_an_empty_folder_is_refused(tmp_path, make_config):
    with pytest.raises(DataError, match="holds no file"):
        read(make_config(path=tmp_path))


def test_folders_saved_by_datasets(tmp_path, make_config):
    splits = {"train": datasets.Dataset.from_list([{"prompt": i} for i in range(4)])}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    splits["train"].save_to_disk(str(tmp_path / "one"))
    assert read(make_config(path=tmp_path / "saved", train_split="train[1:]")) == [1, 2, 3]
    assert read(make_config(path=tmp_path / "one")) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="no split 'test'; its splits: train"):
        read(make_config(path=tmp_path / "saved", train_split="test"))


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("paris.jsonl", "there is: pairs.jsonl"), ("nowhere/pairs.jsonl", "There is no folder")],
)
def test_a_missing_file_is_answered_with_the_nearest(tmp_path, make_config, asked, hint):
    write_jsonl(tmp_path / "pairs.jsonl", [1])
    with pytest.raises(DataError, match=r"does not exist\.") as error:
        load_rows(make_config(path=tmp_path / asked), "train", "pairs")
    assert hint in str(error.value)


def test_bundled_files_are_chosen_by_kind_and_split(tmp_path, make_config, monkeypatch):
    for kind in ("pairs", "prompts"):
        for split in ("train", "test"):
            write_jsonl(tmp_path / "bundled" / f"{kind}_{split}.jsonl", [f"{kind} {split}", "more"])
    monkeypatch.setattr(sources, "files", lambda package: tmp_path)
    config = make_config(path="bundled", eval_split="test[:1]")
    assert read(config, "train", "pairs") == ["pairs train", "more"]
    assert read(config, "eval", "prompts") == ["prompts test"]
    with pytest.raises(DataError, match=r"no split 'dev' of pairs; its splits are train and test"):
        read(make_config(path="bundled", train_split="dev"), "train", "pairs")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """`datasets` itself, with acme/toy standing on this disk instead of the hub."""
    write_jsonl(tmp_path / "repository" / "train.jsonl", range(10))
    write_jsonl(tmp_path / "repository" / "test.jsonl", range(100, 104))
    real = datasets.load_dataset

    def local(path, name=None, **kwargs):
        if path != "acme/toy":
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{path}' doesn't exist on the Hub\nmore lines")
        return real(str(tmp_path / "repository"), name, cache_dir=str(tmp_path / "cache"), **kwargs)

    monkeypatch.setattr(datasets, "load_dataset", local)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("split", "expected"),
    [("train", list(range(10))), ("train[:3]", [0, 1, 2]), ("train[4:6]", [4, 5]), ("test", [100, 101, 102, 103])],
)
def test_hub_datasets_with_slices(hub, make_config, streaming, split, expected):
    config = make_config(path="acme/toy", train_split=split, streaming=streaming, limit=100)
    rows = load_rows(config, "train", "prompts")
    assert [row.values["prompt"] for row in rows] == expected
    whole_stream = "acme/toy[train]:4" if split == "train[4:6]" else f"acme/toy[{split.removesuffix('[:3]')}]:0"
    assert rows[0].origin == (whole_stream if streaming else f"acme/toy[{split}]:0")


def test_percent_slices_of_a_hub_dataset(hub, make_config):
    assert read(make_config(path="acme/toy", train_split="train[:20%]")) == [0, 1]


def test_a_stream_is_read_no_further_than_asked(hub, make_config):
    rows = iter_rows(make_config(path="acme/toy", streaming=True, limit=1), "train", "prompts")
    assert next(rows).values == {"prompt": 0}


@pytest.mark.parametrize(("path", "split"), [("acme/absent", "train"), ("acme/toy", "validation")])
def test_a_hub_dataset_that_cannot_be_loaded_is_one_line(hub, make_config, path, split):
    with pytest.raises(DataError, match=f"cannot load the dataset '{path}', split '{split}': ") as error:
        load_rows(make_config(path=path, train_split=split), "train", "prompts")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_that_a_script_made_is_read_from_the_parquet_files_of_the_hub(
    tmp_path, monkeypatch, make_config, streaming
):
    repository = tmp_path / "converted"
    for part, numbers in (("comparisons/train", [1, 2]), ("comparisons/validation", [3]), ("axis/train", [9])):
        (repository / part).mkdir(parents=True)
        datasets.Dataset.from_list([{"prompt": n} for n in numbers]).to_parquet(repository / part / "0000.parquet")
    real = datasets.load_dataset

    def hub(path, name=None, revision=None, **kwargs):
        if revision is None:
            raise RuntimeError("Dataset scripts are no longer supported, but found toy.py")
        assert (path, name, revision) == ("acme/toy", None, "refs/convert/parquet")
        return real(str(repository), cache_dir=str(tmp_path / "cache"), **kwargs)

    monkeypatch.setattr(datasets, "load_dataset", hub)
    config = make_config(path="acme/toy", subset="comparisons", eval_split="validation", streaming=streaming, limit=9)
    assert [row.values for row in load_rows(config, "train", "prompts")] == [{"prompt": 1}, {"prompt": 2}]
    assert [row.values for row in load_rows(config, "eval", "prompts")] == [{"prompt": 3}]
