"""The chat judge before a server that does everything that servers do."""

import asyncio
import logging
import os
import threading

import pytest

from rlhf.errors import ConfigError, JudgeError
from rlhf.judges.chat import ChatJudge
from rlhf.judges.types import Comparison
from tests.judges.server import JudgeServer, Reply, chat_judge, judge_config, longer_wins


def comparisons(n):
    """Different ones; the first answer wins where its number is even."""
    return [Comparison(f"prompt {i}", "long" if i % 2 == 0 else "s", "mid") for i in range(n)]


WINNERS = ["first", "second"]


def assert_judged(verdicts):
    assert [v.winner for v in verdicts] == [WINNERS[i % 2] for i in range(len(verdicts))]


def test_verdicts_come_in_order_and_are_paid_once(tmp_path):
    with JudgeServer() as server:
        judge, said = chat_judge(server, tmp_path), []
        estimate = judge.estimate(comparisons(12))
        assert (estimate.comparisons, estimate.calls, server.asked) == (12, 12, [])
        verdicts = judge.compare(comparisons(12), report=said.append)
        assert_judged(verdicts)
        assert len(server.asked) == 12
        # 100 tokens in at $1 and 20 out at $2 a million
        assert {(v.cost_usd, v.input_tokens, v.output_tokens, v.cached) for v in verdicts} == {
            (0.00014, 100, 20, False)
        }
        assert judge.spending.cost_usd == pytest.approx(12 * 0.00014)
        assert verdicts[0].reason == "It says more."
        assert said[0].startswith("judge local: 12 comparisons, 12 to ask, about ")
        assert said[-1] == "judge local: 12 of 12 answered, $0.0017 spent"

        again = chat_judge(server, tmp_path)
        assert again.estimate(comparisons(12)).cost_usd == 0
        assert all(v.cached for v in again.compare(comparisons(12), report=said.append))
        assert said[-1] == "judge local: all 12 comparisons are known, nothing to ask"
        assert_judged(again.compare(comparisons(13)))
        assert len(server.asked) == 13


def test_the_request_is_what_the_configuration_says(tmp_path):
    with JudgeServer() as server:
        changes = {"temperature": 0.5, "max_tokens": 77, "extra_body": {"seed": 3}, "model": "m"}
        chat_judge(server, tmp_path, **changes).compare(comparisons(1))
        chat_judge(
            server, tmp_path, temperature=None, max_tokens_name="max_completion_tokens",
            response_format="text",
        ).compare(comparisons(1))  # fmt: skip
        one, two = (a.body for a in server.asked)
    assert (one["model"], one["temperature"], one["max_tokens"], one["seed"]) == ("m", 0.5, 77, 3)
    assert one["response_format"]["json_schema"]["schema"]["properties"]["winner"]["enum"] == ["A", "B", "tie"]
    assert two["max_completion_tokens"] == 400
    assert not {"temperature", "max_tokens", "seed", "response_format"} & set(two)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"temperature": 0.1},
        {"max_tokens": 99},
        {"template": "harmless"},
        {"extra_body": {"seed": 1}},
    ],
)
def test_another_judge_is_asked_anew(tmp_path, change):
    with JudgeServer() as server:
        chat_judge(server, tmp_path).compare(comparisons(1))
        chat_judge(server, tmp_path, **change).compare(comparisons(1))
        chat_judge(server, tmp_path, concurrency=3, timeout_s=7).compare(comparisons(1))
        assert len(server.asked) == 2


def test_the_same_comparison_is_asked_once_and_the_other_order_is_another(tmp_path):
    one, turned = Comparison("p", "long", "mid"), Comparison("p", "mid", "long")
    with JudgeServer() as server:
        verdicts = chat_judge(server, tmp_path).compare([one, turned, one, one])
        assert [v.winner for v in verdicts] == ["first", "second", "first", "first"]
        assert [v.cached for v in verdicts] == [False, False, True, True]
        assert sorted(server.questions) == [("p", "long", "mid"), ("p", "mid", "long")]


def test_every_trouble_that_passes_is_got_over(tmp_path):
    troubles = [
        Reply(status=429, headers={"Retry-After": "0.1"}),
        Reply(status=500),
        Reply(status=503, headers={"Retry-After": "Fri, 01 Jan 2021 00:00:00 GMT"}),
        Reply(status=408),
        Reply(cut=True),
        Reply(raw=b"<html>busy</html>"),
        Reply(raw=b"<html>busy</html>", headers={"Content-Type": "text/html"}),
        Reply(raw=b'{"choices": []}'),
        Reply(raw=b'{"choices": null, "error": {"message": "upstream"}}'),
        Reply(delay_s=0.8),
    ]
    with JudgeServer(lambda a: troubles[a.number] if a.number < len(troubles) else longer_wins(a)) as server:
        judge, said = chat_judge(server, tmp_path, timeout_s=0.4), []
        assert_judged(judge.compare(comparisons(8), report=said.append))
        assert len(server.asked) == 8 + len(troubles)
        assert "tried again: 1 connection, 1 rate limit, 3 server error, 1 timeout, 4 unreadable" in said[-1]
        # 8 replies, and 9 that may have been charged count in full; the 429 is free
        worst = max(judge._size(c).most_input * 1e-6 + 400 * 2e-6 for c in comparisons(8))
        assert 8 * 0.00014 + 8 * worst < judge.spending.cost_usd <= 8 * 0.00014 + 9 * worst


def test_a_reply_that_trickles_in_has_no_more_time_than_another(tmp_path):
    """Ten pieces, 0.1 s apart: never silent for the 0.4 s of the time-out, and not done within them."""
    with JudgeServer(lambda a: Reply(drip_s=0.1 if a.number == 0 else 0.0)) as server:
        judge = chat_judge(server, tmp_path, timeout_s=0.4)
        assert judge.compare(comparisons(1))[0].winner == "first"
        assert len(server.asked) == 2


def test_retry_after_is_kept_by_all(tmp_path):
    def answer(asked):
        return Reply(status=429, headers={"Retry-After": "0.5"}) if asked.number == 0 else Reply(delay_s=0.1)

    with JudgeServer(answer) as server:
        judge = chat_judge(server, tmp_path, concurrency=2, response_format="text")
        assert all(v.winner == "first" for v in judge.compare(comparisons(6)))
        later = [a.time - server.asked[0].time for a in server.asked[2:]]  # the second was under way already
        assert min(later) >= 0.5


def test_a_server_that_asks_for_an_hour_is_not_waited_for(tmp_path):
    with (
        JudgeServer(lambda a: Reply(status=429, headers={"Retry-After": "3600"})) as server,
        pytest.raises(JudgeError, match="the server asks to wait 3600 s"),
    ):
        chat_judge(server, tmp_path).compare(comparisons(2))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            Reply(status=401, error={"message": "Incorrect API key: sk-very-secret"}),
            "status 401: Incorrect API key: [key]",
        ),
        (Reply(status=403, error={"message": "not allowed"}), "status 403: not allowed"),
        (Reply(status=404, error={"message": "no model\ncalled local"}), "status 404: no model called local"),
        (
            Reply(status=429, error={"message": "quota used up", "code": "insufficient_quota"}),
            "status 429: quota used up",
        ),
    ],
)
def test_what_cannot_pass_stops_at_once_with_one_line(tmp_path, monkeypatch, reply, said):
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    with JudgeServer(lambda a: reply) as server:
        judge = chat_judge(server, tmp_path, api_key_env="JUDGE_KEY")
        with pytest.raises(JudgeError) as caught:
            judge.compare(comparisons(50))
        assert len(server.asked) == 1
    text = str(caught.value)
    assert text == f"judge local at {server.url}: {said}" and "\n" not in text
    assert judge.spending.cost_usd == 0


def test_replies_before_a_fatal_error_are_kept(tmp_path):
    with JudgeServer(lambda a: longer_wins(a) if a.number < 5 else Reply(status=403)) as server:
        with pytest.raises(JudgeError, match="; 5 replies are kept"):
            chat_judge(server, tmp_path, concurrency=1).compare(comparisons(9))
        server.answer = longer_wins
        assert_judged(chat_judge(server, tmp_path).compare(comparisons(9)))
        assert sorted(server.questions[:5] + server.questions[6:]) == sorted(set(server.questions))


def test_no_server_is_an_error_after_a_few_comparisons_not_after_all(tmp_path):
    with JudgeServer() as server:
        pass
    with pytest.raises(JudgeError, match=r"attempts failed \(8 requests in a row\)"):
        chat_judge(server, tmp_path, max_retries=1).compare(comparisons(500))


def test_a_server_that_dies_leaves_the_rest_without_a_verdict(tmp_path):
    with JudgeServer(lambda a: longer_wins(a) if a.number < 4 else Reply(status=500)) as server:
        verdicts = chat_judge(server, tmp_path, concurrency=1, max_retries=2).compare(comparisons(30))
    assert_judged(verdicts[:4])
    assert {(v.winner, v.reason) for v in verdicts[4:]} == {(None, "no reply: server error")}
    assert len(server.asked) == 4 + 3 * 3  # three comparisons in a row, three attempts each


def test_one_request_that_the_server_refuses_costs_that_verdict_alone(tmp_path):
    def answer(asked):
        too_long = asked.texts[0] == "prompt 3"
        return Reply(status=400, error={"message": "context too long"}) if too_long else longer_wins(asked)

    with JudgeServer(answer) as server:
        verdicts = chat_judge(server, tmp_path).compare(comparisons(10))
        assert [v.winner is None for v in verdicts] == [i == 3 for i in range(10)]
        assert verdicts[3].reason == "no reply: refused by the server (400)"
        assert len(server.asked) == 10  # the response format had been decided: nothing else is tried


def test_a_rerun_of_what_the_server_refuses_is_no_error(tmp_path):
    """Four comparisons are too long, both orders of two prompts in a row, and all that is left for the second run."""

    def answer(asked):
        too_long = asked.texts[0] in ("prompt 2", "prompt 3", "prompt 4", "prompt 5")
        return Reply(status=400, error={"message": "context too long"}) if too_long else longer_wins(asked)

    with JudgeServer(answer) as server:
        for requests in (8, 8 + 3 * 4):  # the second judge does not know the response format yet
            verdicts = chat_judge(server, tmp_path, concurrency=1).compare(comparisons(8))
            assert [v.winner is None for v in verdicts] == [2 <= i <= 5 for i in range(8)]
            assert len(server.asked) == requests


def test_a_rerun_of_what_never_gets_a_reply_is_no_error(tmp_path):
    with JudgeServer(lambda a: Reply(status=500) if a.texts[0] == "prompt 1" else longer_wins(a)) as server:
        for _ in range(2):
            verdicts = chat_judge(server, tmp_path, max_retries=1).compare(comparisons(4))
            assert [v.reason for v in verdicts if v.winner is None] == ["no reply: server error"]


def test_requests_that_are_all_refused_are_an_error(tmp_path):
    wrong = Reply(status=400, error={"message": "temperature is not supported"})
    with JudgeServer(lambda a: wrong) as server:
        with pytest.raises(JudgeError, match="status 400: temperature is not supported"):
            chat_judge(server, tmp_path).compare(comparisons(100))
        assert len(server.asked) <= 3 * 8  # three response formats for each of eight


@pytest.mark.parametrize(
    ("refuses", "uses"), [(["json_schema"], "json_object"), (["json_schema", "json_object"], "text")]
)
def test_the_strictest_format_that_the_server_takes_is_found_once_and_told(tmp_path, refuses, uses):
    def answer(asked):
        kind = asked.body.get("response_format", {"type": "text"})["type"]
        refused = Reply(status=400, error={"message": f"response_format {kind} is not supported"})
        return refused if kind in refuses else longer_wins(asked)

    with JudgeServer(answer) as server:
        judge, said = chat_judge(server, tmp_path), []
        assert_judged(judge.compare(comparisons(10), report=said.append))
        assert len(server.asked) == 10 + len(refuses)
        assert f"judge: the server refuses response_format {', '.join(refuses)}; using {uses}" in said
        judge.compare(comparisons(20), report=said.append)
        assert len(server.asked) == 20 + len(refuses)
        assert sum("refuses response_format" in line for line in said) == 1


def test_malformed_replies_are_counted_kept_and_asked_again_where_that_is_wanted(tmp_path):
    contents = ["A is better", '{"winner": "C"}', "", '{"winner": "A"}']
    with JudgeServer(lambda a: Reply(content=contents[a.number % 4])) as server:
        said = []
        verdicts = chat_judge(server, tmp_path, concurrency=1).compare(comparisons(4), report=said.append)
        assert [v.winner for v in verdicts] == [None, None, None, "first"]
        assert all(v.settled and v.cost_usd == 0.00014 for v in verdicts)
        assert said[-1].endswith(
            "no verdict: 1 malformed: empty reply, 1 malformed: no verdict in the reply, "
            "1 malformed: winner is none of A, B, tie"
        )
        assert chat_judge(server, tmp_path).compare(comparisons(4))[0].reason == verdicts[0].reason
        assert len(server.asked) == 4
        server.answer = longer_wins
        again = chat_judge(server, tmp_path, retry_malformed=True).compare(comparisons(4))
        assert [v.winner for v in again] == ["first", "second", "first", "first"]
        assert len(server.asked) == 7


def test_usage_that_is_not_told_counts_in_full(tmp_path):
    with JudgeServer(lambda a: Reply(usage=None)) as server:
        judge = chat_judge(server, tmp_path)
        verdict = judge.compare(comparisons(1))[0]
    size = judge._size(comparisons(1)[0])
    assert (verdict.input_tokens, verdict.output_tokens) == (size.most_input, 400)


def test_it_works_inside_a_running_event_loop(tmp_path):
    async def notebook(judge):
        return judge.compare(comparisons(3))

    with JudgeServer() as server:
        judge = chat_judge(server, tmp_path)
        assert_judged(asyncio.run(notebook(judge)))
        assert_judged(judge.compare(comparisons(5)))


def test_two_judges_on_one_cache_never_ask_the_same(tmp_path):
    """Threads of one process share claims, so the second judge is given another process number."""
    with JudgeServer(lambda a: Reply(delay_s=0.03)) as server:
        judges = [chat_judge(server, tmp_path) for _ in range(2)]
        judges[1].cache.pid = os.getppid()
        found = [None, None]

        def work(i):
            found[i] = judges[i].compare(comparisons(30)[:: 1 if i else -1])

        threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert len(server.asked) == len(set(server.questions)) == 30
        assert all(v.winner == "first" for verdicts in found for v in verdicts)
        assert sum(not v.cached for verdicts in found for v in verdicts) == 30  # each was paid by one of them


def test_the_key_and_the_model_come_from_a_file_and_reach_the_server_alone(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    env = tmp_path / "judge.env"
    with JudgeServer() as server, caplog.at_level(logging.DEBUG):
        env.write_text(f"JUDGE_KEY=sk-very-secret\nJUDGE_MODEL=m-7\nJUDGE_URL={server.url}/\n")
        config = judge_config(
            server, tmp_path, base_url="http://127.0.0.1:1/v1", api_key_env="JUDGE_KEY", model_env="JUDGE_MODEL",
            base_url_env="JUDGE_URL", env_file=str(env),
        )  # fmt: skip
        judge, said = ChatJudge(config), []
        judge.compare(comparisons(2), report=said.append)
    assert judge.name == "m-7" and server.asked[0].body["model"] == "m-7"
    assert server.asked[0].authorization == "Bearer sk-very-secret"
    files = b"".join(p.read_bytes() for p in tmp_path.iterdir() if p != env)
    assert b"sk-very-secret" not in files
    assert "sk-very-secret" not in caplog.text + "".join(said) + repr(config)


def test_a_missing_key_is_a_configuration_error_before_anything_is_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with (
        JudgeServer() as server,
        pytest.raises(ConfigError, match=r"judge\.api_key_env=NO_SUCH_KEY: that variable is not"),
    ):
        chat_judge(server, tmp_path, api_key_env="NO_SUCH_KEY")


def test_without_a_cache_file_replies_last_as_long_as_the_judge(tmp_path):
    with JudgeServer() as server:
        judge = chat_judge(server, tmp_path, cache=None)
        judge.compare(comparisons(2))
        judge.compare(comparisons(3))
        assert len(server.asked) == 3 and list(tmp_path.iterdir()) == []


def test_text_that_is_no_unicode_is_asked_about_and_kept(tmp_path):
    """Half a surrogate pair, in the answers and in the judge's reply, and a zero byte."""
    reply = Reply(content='{"reason": "\\ud83d \\u0000", "winner": "B"} \ud83d')
    with JudgeServer(lambda a: reply) as server:
        for _ in range(2):
            verdict = chat_judge(server, tmp_path).compare([Comparison("p\ud83d", "a\x00", "b")])[0]
            assert verdict.winner == "second"
        assert server.questions == [("p?", "a\x00", "b")]
