"""stage=pointwise from a composed configuration to its run directory, and the files read back."""

import io
import json
from dataclasses import replace

import pytest

from rlhf.config.compose import compose
from rlhf.data.loading import load_prompts
from rlhf.data.rendering import Renderer
from rlhf.dry_run.page import show
from rlhf.errors import ConfigError
from rlhf.exhibits import read_exhibits
from rlhf.models.tokenizers import byte_tokenizer
from rlhf.run import run

NUMBER = 6


def stage(tmp_path, *overrides, number=NUMBER):
    for split, first in (("train", 0), ("eval", 100)):
        rows = [
            {"prompt": f"Question {i}?", "chosen": f"good {i}", "rejected": f"bad {i}", "part": "a", "how": i / 10}
            for i in range(first, first + number)
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [f"dataset.path={tmp_path / 'train.jsonl'}", f"dataset.eval_path={tmp_path / 'eval.jsonl'}"]
    return compose(["stage=pointwise", "model=tiny", "dataset=local", *files, "tracking.console=none", *overrides])


def exported(folder, split):
    return [json.loads(line) for line in (folder / "pointwise" / f"{split}.jsonl").read_text().splitlines()]


def test_two_lines_a_pair_with_what_is_known_of_them(tmp_path, run_dir):
    run(stage(tmp_path, "dataset.columns.subset=part", "dataset.columns.margin=how"), run_dir)
    rows = exported(run_dir, "train")
    assert len(rows) == 2 * NUMBER and len(exported(run_dir, "eval")) == 2 * NUMBER
    for number, (first, second) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        assert (first["side"], second["side"]) == (0, 1) and first["pair_id"] == second["pair_id"]
        assert [first["id"], second["id"]] == [f"{first['pair_id']}/{side}" for side in (0, 1)]
        preferred, other = (first, second) if first["preferred_side"] == 0 else (second, first)
        assert (preferred["answer"], other["answer"]) == (f"good {number}", f"bad {number}")
        for row in (first, second):
            assert row["score_prompt"] == "score_first_5"
            assert [turn["role"] for turn in row["messages"]] == ["user"]
            assert row["answer"] in row["messages"][0]["content"]
            assert (row["subset"], row["margin"]) == ("a", number / 10)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert {k: summary["splits"]["train"][k] for k in ("pairs", "prompts", "preferred_on_side_0")} == {
        "pairs": NUMBER, "prompts": 2 * NUMBER,
        "preferred_on_side_0": sum(row["preferred_side"] == 0 for row in rows[::2])}  # fmt: skip


def test_without_metadata_nothing_tells_which_side_is_preferred(tmp_path, run_dir):
    run(stage(tmp_path, "pointwise.metadata=false", "pointwise.split=eval"), run_dir)
    assert {tuple(row) for row in exported(run_dir, "eval")} == {("id", "messages")}
    assert not (run_dir / "pointwise" / "train.jsonl").exists()


def test_a_file_is_read_back_as_the_same_prompts(tmp_path, run_dir):
    config = stage(tmp_path, "dataset.score_prompt=pros_cons_100")
    run(config, run_dir)
    path = run_dir / "pointwise" / "train.jsonl"
    back = compose(["stage=grpo", "model=tiny", "reward=gold", "dataset=local", f"dataset.path={path}",
                    "dataset.format=messages", "dataset.columns.id=id", "dataset.columns.answer=null",
                    "dataset.eval_fraction=0", "dataset.max_prompt_tokens=768"]).dataset  # fmt: skip
    tokenizer = byte_tokenizer()
    wanted = load_prompts(config.dataset, "train", Renderer(tokenizer, config.dataset), seed=0)
    found = load_prompts(back, "train", Renderer(tokenizer, back), seed=0)
    assert [replace(p, metadata=dict(p.metadata)) for p in found.examples] == list(wanted.examples)
    renderers = (Renderer(tokenizer, config.dataset), Renderer(tokenizer, back))
    first, second = ([r.prompt_ids(p) for p in d.examples] for r, d in zip(renderers, (wanted, found), strict=True))
    assert first == second


def test_pairs_that_are_too_long_are_counted_and_shown(tmp_path, run_dir):
    """Twelve pairs; the last two have a digit more in their question and in their answers."""
    config = stage(tmp_path, number=12)
    data = load_prompts(config.dataset, "train", Renderer(byte_tokenizer(), config.dataset), seed=0)
    longest = max(data.report.prompt_tokens[:20])
    chosen = [f"dataset.max_prompt_tokens={longest}", "pointwise.samples=2", "pointwise.split=train"]
    run(stage(tmp_path, *chosen, number=12), run_dir)
    summary = json.loads((run_dir / "summary.json").read_text())["splits"]["train"]
    assert (summary["pairs"], summary["dropped"]) == (10, {"prompt_too_long": 2})
    assert summary["longest_prompt_tokens"] == longest
    shown = read_exhibits(json.loads((run_dir / "exhibits.json").read_text()))
    assert [f.verdict for f in shown.findings] == ["Whole"]
    assert [len(section.passages) for section in shown.sections] == [0, 4]
    details = [passage.details for passage in shown.sections[1].passages]
    assert sorted(details) == ["the other answer"] * 2 + ["the preferred answer"] * 2
    report = (run_dir / "report.md").read_text()
    assert "20 prompts of 10 pairs" in report and "2 of 12 rows left out" in report and "No result" not in report


def test_what_is_cut_is_told(tmp_path, run_dir):
    run(stage(tmp_path, "dataset.max_prompt_tokens=250", "dataset.rules.prompt_too_long=truncate"), run_dir)
    shown = read_exhibits(json.loads((run_dir / "exhibits.json").read_text()))
    assert {(f.tone, f.verdict) for f in shown.findings} == {("bad", "Cut")}


def test_a_dry_run_counts_the_pairs_and_writes_nothing(tmp_path, run_dir):
    out = io.StringIO()
    show([stage(tmp_path, "dry_run=true", "pointwise.split=eval")], stream=out)
    assert "Dry run of stage=pointwise" in out.getvalue() and f"{NUMBER} pairs of {NUMBER} rows" in out.getvalue()
    assert "train.jsonl" not in out.getvalue() and not run_dir.exists()


def test_it_needs_a_score_prompt():
    with pytest.raises(ConfigError, match=r"stage=pointwise needs dataset.score_prompt"):
        compose(["stage=pointwise", "dataset.score_prompt=null"])
