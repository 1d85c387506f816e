"""A judge that is killed, terminated or interrupted in the middle: nothing that was stored is asked again."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import pytest

from tests.judges.server import JudgeServer, Reply, chat_judge, judge_config
from tests.judges.test_chat import comparisons

WORK = """
import json, signal, sys
from rlhf.config.judges import ChatJudgeConfig
from rlhf.errors import RlhfError
from rlhf.judges.chat import ChatJudge
from rlhf.judges.types import Comparison

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in its background without it
try:
    judge = ChatJudge(ChatJudgeConfig(**json.loads(sys.argv[1])))
    judge.compare([Comparison(*texts) for texts in json.loads(sys.argv[2])], report=print)
except KeyboardInterrupt:
    sys.exit(77)
except RlhfError as error:
    print(type(error).__name__, error)
    sys.exit(78)
"""


def started(server, folder, n):
    """A process that has the judge compare `n` pairs, four at once."""
    config = json.dumps(asdict(judge_config(server, folder, concurrency=4)))
    texts = json.dumps([(c.prompt, c.first, c.second) for c in comparisons(n)])
    command = [sys.executable, "-c", WORK, config, texts]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(server, requests):
    end = time.monotonic() + 60
    while len(server.asked) < requests:
        assert time.monotonic() < end, f"only {len(server.asked)} requests"
        time.sleep(0.005)


def stored(folder):
    """How many replies the cache has."""
    return sqlite3.connect(folder / "cache.sqlite").execute("SELECT COUNT(*) FROM replies").fetchone()[0]


def test_a_killed_process_costs_what_was_under_way_and_no_more(tmp_path):
    with JudgeServer(lambda a: Reply(delay_s=0.05)) as server:
        process = started(server, tmp_path, 40)
        wait_for(server, 14)
        process.kill()
        process.wait()
        time.sleep(0.1)  # the server finishes what it has
        before = list(server.questions)
        kept = stored(tmp_path)
        assert len(before) - 4 <= kept <= len(before)

        verdicts = chat_judge(server, tmp_path).compare(comparisons(40))
        assert all(v.winner == "first" for v in verdicts)
        assert len(server.asked) == len(before) + 40 - kept  # nothing that was stored is asked again
        again = [q for q in set(server.questions) if server.questions.count(q) > 1]
        assert len(again) == len(before) - kept <= 4 and set(server.questions) == {
            (c.prompt, c.first, c.second) for c in comparisons(40)
        }


@pytest.mark.parametrize(
    ("name", "status", "said"), [("SIGINT", 77, "interrupted; waiting for"), ("SIGTERM", 78, "Preempted asked to stop")]
)
def test_a_stopped_process_waits_for_what_is_paid(tmp_path, name, status, said):
    with JudgeServer(lambda a: Reply(delay_s=0.1)) as server:
        process = started(server, tmp_path, 40)
        wait_for(server, 6)
        process.send_signal(getattr(signal, name))
        output, _ = process.communicate(timeout=30)
        assert process.returncode == status and said in output, output
        asked = len(server.asked)
        assert asked < 40 and stored(tmp_path) == asked
        chat_judge(server, tmp_path, concurrency=20).compare(comparisons(40))
        assert len(server.asked) == len(set(server.questions)) == 40


@pytest.mark.slow
def test_two_processes_share_the_work(tmp_path):
    with JudgeServer(lambda a: Reply(delay_s=0.02)) as server:
        first = started(server, tmp_path, 30)
        wait_for(server, 1)
        found = []
        thread = threading.Thread(target=lambda: found.extend(chat_judge(server, tmp_path).compare(comparisons(30))))
        thread.start()
        thread.join(60)
        assert first.wait(60) == 0
        assert len(server.asked) == len(set(server.questions)) == 30
        assert len(found) == 30 and all(v.winner == "first" for v in found)
