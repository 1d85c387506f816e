"""A teacher that is killed, terminated or interrupted in the middle: nothing that was stored is paid for again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from rlhf.config.paths import config_folder
from tests.teacher.conftest import questions
from tests.teacher.server import asked_pairs, overrides, reply_to, teacher_server
from tests.teacher.test_chat import assert_scored, quiet, teacher, times_asked

ROOT = config_folder("conf").parent
WORK = """
import signal
import sys
from rlhf.config.compose import compose
from rlhf.config.score_prompts import load_score_prompt
from rlhf.errors import RlhfError
from rlhf.teacher.chat import ChatTeacher
from tests.teacher.conftest import questions

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in its background without it
config = compose(["stage=teacher", *sys.argv[1:]]).teacher
try:
    ChatTeacher(config, load_score_prompt("score_first_5")).score(questions(80), print)
except KeyboardInterrupt:
    sys.exit(77)
except RlhfError as error:
    print(type(error).__name__, error)
    sys.exit(78)
"""


def slow_server():
    return teacher_server(lambda asked: reply_to(asked_pairs(asked), delay_s=0.1))


def stopped(process, server, name):
    """Send the signal once a few requests are under way; returns what was printed."""
    end = time.monotonic() + 90
    while len(server.asked) < 6:
        assert time.monotonic() < end and process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    os.kill(process.pid, getattr(signal, name))
    output, _ = process.communicate(timeout=30)
    time.sleep(0.3)  # the server finishes what it has
    return output


def stored(folder):
    """How many pairs the cache has."""
    return sqlite3.connect(folder / "cache.sqlite").execute("SELECT COUNT(*) FROM replies").fetchone()[0]


@pytest.mark.parametrize(("name", "status", "lost"), [("SIGTERM", 78, 0), ("SIGINT", 77, 0), ("SIGKILL", -9, 4)])
def test_a_stopped_teacher_costs_what_was_under_way_at_most(tmp_path, name, status, lost):
    """80 pairs in 20 requests, four at once: those who are asked to stop wait for what is paid."""
    with slow_server() as server:
        command = [sys.executable, "-c", WORK, *overrides(server, tmp_path, "teacher.concurrency=4")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        output = stopped(process, server, name)
        assert process.returncode == status, output
        before, kept = len(server.asked), stored(tmp_path)
        assert 6 <= before < 20 and 4 * (before - lost) <= kept <= 4 * before

        asked = questions(80)
        found = teacher(server, tmp_path).score(asked, quiet)
        assert_scored(found, asked)
        assert sum(s.cached for s in found) == kept
        again = [pair for pair, times in times_asked(server).items() if times > 1]
        assert len(times_asked(server)) == 80 and len(again) == 4 * before - kept


@pytest.mark.slow
def test_an_interrupted_run_resumes_and_pays_for_the_rest_alone(tmp_path, pairs_file):
    """The same through launch.py, and then resume=."""
    launch, folder = [sys.executable, str(ROOT / "launch.py")], tmp_path / "run"
    with slow_server() as server:
        words = ["stage=teacher", *overrides(server, tmp_path, "teacher.concurrency=4", "model=tiny", "dataset=local")]
        words += [f"dataset.path={pairs_file(80)}", "teacher.split=train", "dataset.eval_fraction=0"]
        words += ["dataset.max_prompt_tokens=2000", "hardware.threads=1", f"hydra.run.dir={folder}"]
        process = subprocess.Popen([*launch, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output = stopped(process, server, "SIGTERM")
        assert process.returncode == 143 and "Preempted: asked to stop (SIGTERM)" in output, output
        assert json.loads((folder / "status.json").read_text())["state"] == "preempted"
        before, kept = len(server.asked), stored(tmp_path)
        assert kept == 4 * before < 80
        done = subprocess.run([*launch, f"resume={folder}"], capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(server.asked) == 20 and set(times_asked(server).values()) == {1}
    rows = [json.loads(line) for line in (folder / "teacher.jsonl").read_text().splitlines()]
    assert len(rows) == 80 and all(row["scores"] for row in rows)
    assert sum(row["cached"] for row in rows) == kept
