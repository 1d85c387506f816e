"""stage=teacher from a composed configuration to its run directory, and what comes after it: SFT and export."""

import io
import json

import pytest
from transformers import AutoModelForCausalLM

from rlhf.config.compose import compose
from rlhf.config.score_prompts import load_score_prompt
from rlhf.dry_run.page import show
from rlhf.errors import DataError
from rlhf.exhibits import read_exhibits
from rlhf.rewards.score_parsers import parse_score
from rlhf.run import run
from tests.judges.server import Reply
from tests.teacher.server import by_length, overrides, teacher_server

SMALL = ["model=tiny", "hardware.threads=1", "dataset.max_prompt_tokens=2000", "tracking.console=none"]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def teach(folder, *words):
    config = compose(["stage=teacher", *SMALL, *words])
    run(config, folder)
    return json.loads((folder / "summary.json").read_text())


def test_a_whole_run_with_a_server(tmp_path, pairs_file):
    """20 training pairs and 10 held-out ones; the longer answer gets the higher score, and every fifth is shorter."""
    files = [f"dataset.path={pairs_file(20)}", f"dataset.eval_path={pairs_file(10, 'test', first=100)}"]
    with teacher_server() as server:
        summary = teach(tmp_path / "run", *overrides(server, tmp_path, "dataset=local", *files, "teacher.samples=2"))
        assert len(server.asked) == 8  # 30 pairs, four at a time
    folder = tmp_path / "run"
    assert {"config.yaml", "report.html", "summary.json", "exhibits.json", "teacher.jsonl"} <= {
        p.name for p in folder.iterdir()
    }
    train, held_out = summary["splits"]["train"], summary["splits"]["eval"]
    assert (train["right"], train["wrong"], train["tie"], train["examples"]) == (16, 4, 0, 32)
    assert (held_out["right"], held_out["wrong"], held_out["dropped"]) == (8, 2, {"wrong order": 2})
    assert (
        train["agreement"]["mean"] == 0.8 and summary["cost_usd"] == pytest.approx(8 * 0.00014) == summary["spent_usd"]
    )
    rows = lines(folder / "teacher.jsonl")
    assert [row["split"] for row in rows] == ["train"] * 20 + ["eval"] * 10
    for row in rows:
        preferred, other = row["scores"][row["preferred_side"]], row["scores"][1 - row["preferred_side"]]
        assert row["order"] == ("right" if preferred > other else "wrong")
    score_prompt = load_score_prompt("score_first_5")
    examples = lines(folder / "sft/train.jsonl")
    assert len(examples) == 32 and len(lines(folder / "sft/eval.jsonl")) == 16
    for example in examples:
        user, reply = example["messages"]
        assert (user["role"], reply["role"]) == ("user", "assistant") and "Rate the answer above" in user["content"]
        assert parse_score(reply["content"], score_prompt).value == example["score"]
        assert reply["content"].endswith(" letters.")
    shown = read_exhibits(json.loads((folder / "exhibits.json").read_text()))
    titles = [section.title for section in shown.sections]
    assert titles[:2] == ["Pairs and examples", "Scores"] and len(shown.sections[1].figures) == 2
    assert "Ordered the other way (training)" in titles and "Equal scores (training)" not in titles
    assert "Agrees with the annotators" in {finding.verdict for finding in shown.findings}


def test_scores_that_nobody_can_use_end_the_run_and_say_why(tmp_path, pairs_file):
    files = ["dataset=local", f"dataset.path={pairs_file(4)}", "dataset.eval_fraction=0"]
    with teacher_server(lambda a: Reply(content="Nice answers.")) as server:
        with pytest.raises(DataError, match=r"leave no example: no scores in the reply 4; see teacher\.keep"):
            teach(tmp_path / "run", *overrides(server, tmp_path, *files))
        assert json.loads((tmp_path / "run/summary.json").read_text())["splits"]["train"]["failures"]
        assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "failed"
        assert list((tmp_path / "run/sft").iterdir()) == []
        server.answer = by_length  # the unreadable replies are kept: another attempt asks anew
        summary = teach(tmp_path / "more", *overrides(server, tmp_path, *files, "teacher.malformed_retries=2"))
        assert summary["splits"]["train"]["examples"] == 8


def test_a_part_without_examples_is_told(tmp_path, pairs_file):
    files = [f"dataset.path={pairs_file(4)}", f"dataset.eval_path={pairs_file(1, 'test', first=4)}"]
    with teacher_server() as server:
        summary = teach(tmp_path / "run", *overrides(server, tmp_path, "dataset=local", *files))
    assert [p.name for p in (tmp_path / "run/sft").iterdir()] == ["train.jsonl"]
    assert "Nothing is kept" in {finding["verdict"] for finding in summary["findings"]}


def test_gold_scores_then_sft_with_lora_then_export(tmp_path):
    """The warm-up whole: what is exported of a checkpoint is the base with the adapter in it, as in model/."""
    words = ["teacher=gold", "dataset.limit=12", "dataset.eval_limit=6", "teacher.keep=all"]
    summary = teach(tmp_path / "teacher", *words)
    assert summary["splits"]["train"]["examples"] == 24 and summary["cost_usd"] == 0
    data = ["dataset=teacher_scores", f"dataset.path={tmp_path}/teacher", "evaluation.limit=4", "trainer.batch_size=4"]
    sft = ["stage=sft", *SMALL, *data, "trainer.learning_rate=0.1", "trainer.warmup_steps=0", "trainer.num_steps=2"]
    run(compose([*sft, "trainer.learning_rate=0"]), tmp_path / "base")  # an adapter needs a base with a folder
    adapter = ["model=local", f"model.path={tmp_path}/base", "model.lora.enabled=true"]
    run(compose([*sft, *adapter]), tmp_path / "sft")
    read = json.loads((tmp_path / "sft/summary.json").read_text())["data"]
    assert (read["demonstrations"]["kept"], read["eval_demonstrations"]["kept"]) == (24, 12)
    export = ["stage=export", f"export.run={tmp_path}/sft@step-000002", "hardware.threads=1"]
    run(compose(export), tmp_path / "export")
    exported, trained, base = (
        AutoModelForCausalLM.from_pretrained(tmp_path / folder / "model").state_dict()
        for folder in ("export", "sft", "base")
    )
    assert set(exported) == set(trained) == set(base) and not (tmp_path / "export/model/adapter").exists()
    assert all((exported[name] == trained[name]).all() for name in base)
    assert any((exported[name] != base[name]).any() for name in base)


def test_a_run_of_chance_is_the_same_twice_and_shows_no_agreement(tmp_path):
    words = ["teacher=random", "dataset.limit=200", "teacher.split=train"]
    first, second = (teach(tmp_path / name, *words) for name in ("a", "b"))
    assert first["splits"] == second["splits"] and list(first["splits"]) == ["train"]
    stats = first["splits"]["train"]
    assert stats["examples"] == 400 and stats["agreement"]["low"] < 0.5 < stats["agreement"]["high"]
    assert (tmp_path / "a/sft/train.jsonl").read_bytes() == (tmp_path / "b/sft/train.jsonl").read_bytes()


def test_a_dry_run_says_what_would_be_asked_and_at_what_cost(tmp_path, pairs_file):
    files = ["dataset=local", f"dataset.path={pairs_file(20)}", "dataset.eval_fraction=0"]
    with teacher_server() as server:
        words = overrides(server, tmp_path, *files, "teacher.api_key_env=NO_SUCH_KEY", "dry_run=true")
        page = io.StringIO()
        show([compose(["stage=teacher", *SMALL, *words])], stream=page)
        assert not server.asked
    assert (
        "nothing is asked or written" in page.getvalue() and "20 pairs, 5 requests to send, about " in page.getvalue()
    )
    assert "at most $0.0" in page.getvalue() and not (tmp_path / "cache.sqlite").exists()
    page = io.StringIO()
    show([compose(["stage=teacher", *SMALL, "teacher=gold", "dataset.limit=3", "dry_run=true"])], stream=page)
    assert "teacher gold: 103 pairs, 0 requests to send, no request" in page.getvalue()
