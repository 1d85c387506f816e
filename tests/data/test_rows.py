from __future__ import annotations

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from rlhf.data.rows import Row, format_of, read_file
from rlhf.errors import DataError

ROWS = [{"prompt": 'Grüße, "you"\nnext', "answer": "a"}, {"prompt": "second\u2028line", "answer": ""}]


def write(path, text: str):
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8", newline="")
    return path


JSONL = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n"
CSV = 'prompt,answer\n"Grüße, ""you""\nnext",a\nsecond\u2028line,\n'
JSON = json.dumps(ROWS, indent=1)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("x.jsonl", JSONL), ("x.ndjson", JSONL), ("x.json", JSON), ("x.json", JSONL), ("x.csv", CSV), ("X.JSONL", JSONL)],
)
def test_text_files(tmp_path, name, text, suffix):
    assert [row.values for row in read_file(write(tmp_path / (name + suffix), text))] == ROWS


def test_parquet_with_lists_of_turns(tmp_path):
    rows = [
        {"prompt": [{"role": "user", "content": "a"}], "n": 1},
        {"prompt": [{"role": "user", "content": "b"}], "n": 2},
    ]
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert list(read_file(path)) == [Row(rows[0], f"{path}:row 1"), Row(rows[1], f"{path}:row 2")]


def test_origins_are_lines_of_the_file(tmp_path):
    path = write(tmp_path / "x.jsonl", '{"a": 1}\n\n  \n{"a": 2}')
    assert [row.origin for row in read_file(path)] == [f"{path}:1", f"{path}:4"]
    path = write(tmp_path / "x.csv", 'a,b\n"1\n2",3\n4,5\n')
    assert [row.origin for row in read_file(path)] == [f"{path}:3", f"{path}:4"]  # where the row ends


def test_a_byte_order_mark_is_not_a_column_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfprompt\nhi\n")
    assert next(read_file(path)).values == {"prompt": "hi"}


def test_fields_longer_than_csvs_default_limit(tmp_path):
    path = write(tmp_path / "x.csv", "prompt\n" + "a" * 200_000 + "\n")
    assert len(next(read_file(path)).values["prompt"]) == 200_000


@pytest.mark.parametrize(
    ("name", "text", "where", "what"),
    [
        ("x.jsonl", '{"a": 1}\n{"a": \n', ":2", "not valid JSON"),
        ("x.jsonl.gz", '{"a": 1}\n{"a": \n', ":2", "not valid JSON"),
        ("x.jsonl", '{"a": 1}\n[1, 2]\n', ":2", "expected an object with named columns; got list"),
        ("x.json", '[{"a": 1},\n {"a": }]', ":2", "not valid JSON"),
        ("x.json", "[1]", ":row 1", "expected an object"),
        ("x.csv", "a,b\n1,2\n3\n", ":3", "names 2 columns"),
        ("x.csv", "a,b\n1,2,3\n", ":2", "names 2 columns"),
        ("x.csv", 'a\n"x"y\n', ":2", "not valid CSV"),
        ("x.csv", 'a\nx\n"y\n', ":3", "not valid CSV"),
        ("x.parquet", "no parquet", "", "not a readable Parquet file"),
        ("x.txt", "hi", "", "must end in .jsonl"),
    ],
)
def test_errors_name_file_and_line(tmp_path, name, text, where, what):
    path = write(tmp_path / name, text)
    with pytest.raises(DataError) as error:
        list(read_file(path))
    assert str(error.value).startswith(f"{path}{where}:")
    assert what in str(error.value)


def test_damaged_files_are_named(tmp_path):
    torn = tmp_path / "x.jsonl.gz"
    torn.write_bytes(gzip.compress(b'{"a": 1}\n' * 100)[:-12])
    latin = tmp_path / "y.jsonl"
    latin.write_bytes('{"a": "é"}\n'.encode("latin-1"))
    not_gzip = write(tmp_path / "z.jsonl", "{}\n").rename(tmp_path / "z.jsonl.gz")
    for path, what in ((torn, "cannot be read"), (latin, "not UTF-8"), (not_gzip, "cannot be read")):
        with pytest.raises(DataError, match=what) as error:
            list(read_file(path))
        assert str(path) in str(error.value)


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    rows = read_file(write(tmp_path / "x.jsonl", '{"a": 1}\nbroken\n'))
    assert next(rows).values == {"a": 1}


def test_formats_are_told_by_the_name(tmp_path):
    from pathlib import Path

    names = {"a.jsonl": ".jsonl", "a.JSON.gz": ".json", "a.csv": ".csv", "a.parquet": ".parquet", "a.parquet.gz": None}
    assert {name: format_of(Path(name)) for name in names} == names
