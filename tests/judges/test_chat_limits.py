"""What the chat judge may spend and how fast it may ask: caps, deadlines, requests at once and a minute."""

import time

import pytest

from tests.judges.server import JudgeServer, Reply, chat_judge, longer_wins
from tests.judges.test_chat import assert_judged, comparisons


def test_the_cost_never_passes_its_cap_and_the_rest_says_so(tmp_path):
    """A request holds its worst case, about $0.0022, and takes $0.00014: eight under way at most, and the last one that
    fits ends at no more than the cap."""
    with JudgeServer() as server:
        judge, said = chat_judge(server, tmp_path, max_cost_usd=0.004), []
        verdicts = judge.compare(comparisons(60), report=said.append)
        n = len(server.asked)
        assert 10 <= n < 30  # 0.004 / 0.00014 = 28 would be affordable; the worst case of the last one is kept back
        assert judge.spending.cost_usd == pytest.approx(n * 0.00014) and judge.spending.cost_usd <= 0.004
        assert server.most_at_once <= 2  # 0.004 / 0.0022: no third one beside two
        assert [v.reason for v in verdicts if v.winner is None] == ["cost cap"] * (60 - n)
        assert "the limit will leave some without a verdict" in said[0]
        assert f"no verdict: {60 - n} cost cap" in said[-1]
        assert [v.reason for v in judge.compare(comparisons(60)) if v.winner is None] == ["cost cap"] * (60 - n)
        assert len(server.asked) == n  # the limit is that of the run
        assert_judged(chat_judge(server, tmp_path).compare(comparisons(60)))
        assert len(server.asked) == 60  # and a new run asks for the rest alone


@pytest.mark.parametrize(
    ("limit", "reason"), [({"max_calls": 7}, "call cap"), ({"max_total_tokens": 5000}, "token cap")]
)
def test_requests_and_tokens_have_caps_where_no_price_is_known(tmp_path, limit, reason):
    with JudgeServer() as server:
        unknown = {"input_price": None, "output_price": None, "prices": {}, "max_cost_usd": None}
        judge = chat_judge(server, tmp_path, **unknown, **limit)
        verdicts = judge.compare(comparisons(50))
        assert {v.reason for v in verdicts if v.winner is None} == {reason}
        assert judge.spending.calls == len(server.asked) == sum(v.winner is not None for v in verdicts)
        assert reason == "token cap" or len(server.asked) == 7
        assert reason == "call cap" or judge.spending.tokens <= 5000


def test_retries_count_as_requests(tmp_path):
    with JudgeServer(lambda a: Reply(status=500) if a.number % 2 == 0 else longer_wins(a)) as server:
        verdicts = chat_judge(server, tmp_path, concurrency=1, max_calls=5).compare(comparisons(10))
        assert len(server.asked) == 5 and sum(v.winner is not None for v in verdicts) == 2


def test_the_deadline_ends_the_call_and_loses_nothing(tmp_path):
    with JudgeServer(lambda a: Reply(delay_s=0.2)) as server:
        start = time.monotonic()
        verdicts = chat_judge(server, tmp_path, deadline_s=0.5, concurrency=2).compare(comparisons(50))
        assert time.monotonic() - start < 2
        assert {v.reason for v in verdicts if v.winner is None} == {"deadline"}
        assert sum(v.winner is not None for v in verdicts) == len(server.asked) >= 2


def test_a_deadline_cuts_long_pauses_short(tmp_path):
    with JudgeServer(lambda a: Reply(status=500)) as server:
        start = time.monotonic()
        verdicts = chat_judge(server, tmp_path, deadline_s=0.3, backoff_s=50.0, backoff_max_s=100.0).compare(
            comparisons(5)
        )
        assert time.monotonic() - start < 5
        assert {v.reason for v in verdicts} == {"deadline"}


def test_requests_keep_to_the_limits(tmp_path):
    with JudgeServer(lambda a: Reply(delay_s=0.05)) as server:
        start = time.monotonic()
        chat_judge(server, tmp_path, concurrency=3).compare(comparisons(12))
        assert 2 <= server.most_at_once <= 3
        assert time.monotonic() - start >= 4 * 0.05
    with JudgeServer() as server:
        start = time.monotonic()
        chat_judge(server, tmp_path, requests_per_minute=1200).compare(comparisons(8))
        assert time.monotonic() - start >= 7 * 0.05  # 1200 a minute: 50 ms apart, whenever a busy machine reads them
