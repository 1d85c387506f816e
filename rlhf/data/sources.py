"""Where rows come from: the bundled dataset, questions made on demand, local files and folders, and the Hugging Face
hub through `datasets`."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from rlhf.config.procedural import GENERATED
from rlhf.config.sections import DatasetConfig
from rlhf.data.procedural import generated_rows
from rlhf.data.rows import SUFFIXES, Row, format_of, read_file
from rlhf.errors import DataError

Split = Literal["train", "eval"]
Kind = Literal["pairs", "prompts", "demonstrations"]
BUNDLED = "bundled"


def holds_out(config: DatasetConfig) -> bool:
    """Whether evaluation examples are a part of the training split, for want of a split or file of their own."""
    return config.eval_path is None and config.eval_split is None


def load_rows(config: DatasetConfig, split: Split, kind: Kind) -> list[Row]:
    """All rows of a split; see `iter_rows`."""
    return list(iter_rows(config, split, kind))


def iter_rows(config: DatasetConfig, split: Split, kind: Kind) -> Iterator[Row]:
    """The rows of a split in the order of the source, read as they are asked for.

    For split="eval" without a split or file of its own these are the training rows, to be held out from (`holds_out`).
    `kind` chooses among the bundled files; other sources hold what they hold.

    Raises DataError for what does not exist or cannot be read, naming the nearest existing files or the splits there
    are.
    """
    if config.path in GENERATED and not (split == "eval" and config.eval_path is not None):
        return generated_rows(config, split)
    if split == "eval" and config.eval_path is not None:
        named = config.eval_split or _slice_part(config.train_split)[0]
        return _rows_of(config, config.eval_path, named, kind, own_file=True)
    if split == "eval" and config.eval_split is not None:
        return _rows_of(config, config.path, config.eval_split, kind)
    return _rows_of(config, config.path, config.train_split, kind)


def _rows_of(config: DatasetConfig, path: str, split: str, kind: Kind, *, own_file: bool = False) -> Iterator[Row]:
    if path == BUNDLED:
        return _sliced(list(_read_bundled(split, kind)), split)
    local = Path(path).expanduser()
    if local.is_file():
        if not own_file and _slice_part(split)[0] != _slice_part(config.train_split)[0]:
            raise DataError(
                f"{path} is one file and has no split {split!r}: name another file with dataset.eval_path, "
                f"or set dataset.eval_split=null to hold out dataset.eval_fraction of it"
            )
        return _maybe_sliced(read_file(local), split)
    if local.is_dir():
        return _read_folder(_folder_of_examples(local), split)
    if _looks_local(path):
        raise DataError(f"{path} does not exist.{_nearest(local)}")
    return _read_hub(config, path, split)


def _looks_local(path: str) -> bool:
    """A hub name is `name` or `owner/name`; anything with a data file's ending or more of a path than that is local."""
    stated = path.startswith(("/", "./", "../", "~")) or format_of(Path(path)) is not None or path.endswith(".gz")
    return stated or path.count("/") > 1


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent}"
    names = sorted(p.name for p in path.parent.iterdir() if p.is_dir() or format_of(p))
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5) or names[:5]
    return f" In {path.parent} there is: {', '.join(close)}" if close else f" {path.parent} holds no data file"


def _read_bundled(split: str, kind: Kind) -> Iterator[Row]:
    name = _slice_part(split)[0]
    file = files("rlhf.data") / BUNDLED / f"{kind}_{name}.jsonl"
    if name not in ("train", "test") or not file.is_file():
        raise DataError(f"the bundled dataset has no split {name!r} of {kind}; its splits are train and test")
    yield from read_file(Path(str(file)))


def _folder_of_examples(folder: Path) -> Path:
    """Of a run directory of stage=teacher the folder with its examples; any other folder as it is."""
    return folder / "sft" if (folder / "teacher.jsonl").is_file() else folder


def _read_folder(folder: Path, split: str) -> Iterator[Row]:
    """A folder saved by `datasets`, or data files: those whose path names the split, or all where no name does."""
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        return _read_saved(folder, split)
    data = sorted(p for p in folder.rglob("*") if p.is_file() and format_of(p))
    if not data:
        raise DataError(f"{folder} holds no file that ends in {', '.join(SUFFIXES)} (.gz for text)")
    name = _slice_part(split)[0]
    words = {p: set(re.split(r"[^a-z0-9]+", str(p.relative_to(folder)).lower())) for p in data}
    chosen = [p for p in data if name.lower() in words[p]]
    known = {"train", "test", "validation", "valid", "dev", "eval"}
    if not chosen and any(words[p] & known for p in data):
        raise DataError(f"{folder} has no file of the split {name!r}; its files: {', '.join(p.name for p in data[:8])}")
    return _maybe_sliced(itertools.chain.from_iterable(read_file(p) for p in chosen or data), split)


def _read_saved(folder: Path, split: str) -> Iterator[Row]:
    import datasets

    data = datasets.load_from_disk(str(folder))
    name = _slice_part(split)[0]
    if isinstance(data, datasets.DatasetDict):
        if name not in data:
            raise DataError(f"{folder} has no split {name!r}; its splits: {', '.join(data)}")
        data = data[name]
    return _maybe_sliced(_numbered(data, f"{folder}[{name}]"), split)


def _read_hub(config: DatasetConfig, path: str, split: str) -> Iterator[Row]:
    name, bounds = _slice_part(split)
    asked = name if config.streaming else split  # a stream knows no slices, so they are taken here
    try:
        data = _load_hub(path, config.subset, split=asked, streaming=config.streaming)
    except Exception as error:  # `datasets` raises a dozen kinds, some of its own, some of its network libraries
        first = next(iter(str(error).strip().splitlines()), "")
        raise DataError(
            f"cannot load the dataset {path!r}, split {split!r}: {type(error).__name__}: {first}. "
            f"A file on this machine works without a network: dataset.path=<file or folder>"
        ) from error
    rows = _numbered(data, f"{path}[{asked}]")
    return _maybe_sliced(rows, split) if config.streaming and bounds else rows


def _load_hub(path: str, subset: str | None, **options: Any) -> Any:
    """A dataset of the hub; where only a script would make it, which `datasets` no longer runs, the Parquet files that
    the hub itself made of it: a folder for each configuration, on a branch of their own."""
    import datasets

    try:
        return datasets.load_dataset(path, subset, **options)
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        return datasets.load_dataset(path, revision="refs/convert/parquet", data_dir=subset, **options)


def _numbered(data: Any, label: str) -> Iterator[Row]:
    return (Row(dict(values), f"{label}:{index}") for index, values in enumerate(data))


def _slice_part(split: str) -> tuple[str, str]:
    """("train", "10:20") of "train[10:20]"; ("train", "") of "train"."""
    match = re.fullmatch(r"([^\[\]]+?)(?:\[([^\[\]]*)\])?", split.strip())
    if match is None:
        raise DataError(f"cannot read the split {split!r}: write a name, or a name with a slice such as train[:1000]")
    return match.group(1), match.group(2) or ""


def _maybe_sliced(rows: Iterator[Row], split: str) -> Iterator[Row]:
    """`rows` cut to the slice of `split`; read no further than it reaches where its bounds are plain numbers."""
    bounds = _slice_part(split)[1]
    numbers = re.fullmatch(r"(\d*):(\d*)", bounds)
    if numbers:
        low, high = (int(n) if n else None for n in numbers.groups())
        return itertools.islice(rows, low, high)
    return _sliced(list(rows), split) if bounds else rows


def _sliced(rows: list[Row], split: str) -> Iterator[Row]:
    """Slices as in `datasets`: [10:20], [-5:], [:10%]."""
    bounds = _slice_part(split)[1]
    if not bounds:
        return iter(rows)
    match = re.fullmatch(r"(-?\d+%?)?:(-?\d+%?)?", bounds)
    if match is None:
        raise DataError(f"cannot read the slice of {split!r}: write [low:high] in examples or percent, such as [:10%]")

    def position(bound: str | None) -> int | None:
        if bound is None:
            return None
        return round(int(bound[:-1]) / 100 * len(rows)) if bound.endswith("%") else int(bound)

    return iter(rows[position(match.group(1)) : position(match.group(2))])
