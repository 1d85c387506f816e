"""The chat teacher before a server that does everything that servers do: nothing is paid for twice."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from rlhf.config.score_prompts import load_score_prompt
from rlhf.errors import ConfigError, JudgeError
from rlhf.teacher.chat import ChatTeacher
from tests.judges.server import Reply
from tests.teacher.conftest import question, questions
from tests.teacher.server import (
    asked_pairs,
    by_length,
    length_score,
    teacher_config,
    teacher_server,
)


def teacher(server, folder, *, score_prompt="score_first_5", asks=True, **changes):
    return ChatTeacher(teacher_config(server, folder, **changes), load_score_prompt(score_prompt), asks=asks)


def quiet(text):
    assert "\n" not in text


def times_asked(server):
    """How often each pair was asked about."""
    return Counter(pair for asked in server.asked for pair in asked_pairs(asked))


def assert_scored(found, asked):
    assert [s.scores for s in found] == [tuple(float(length_score(a)) for a in q.answers) for q in asked]


def test_several_pairs_go_in_one_request_and_are_paid_once(tmp_path):
    asked, said = questions(10), []
    with teacher_server() as server:
        first = teacher(server, tmp_path)
        assert first.plan(asked).requests == 3 and not server.asked
        found = first.score(asked, said.append)
        assert_scored(found, asked)
        assert sorted(len(asked_pairs(a)) for a in server.asked) == [2, 4, 4]
        assert found[0].reasons[0] == f"Because it has {len(asked[0].answers[0])} letters."
        # each request: 100 tokens in at $1, 20 out at $2 a million
        assert sum(s.cost_usd for s in found) == pytest.approx(3 * 0.00014) == first.spent_usd
        assert sum(s.input_tokens for s in found) == 300 and not any(s.cached for s in found)
        assert said[0].startswith("teacher local: 10 pairs, 3 requests to send, about ")
        assert said[-1] == "teacher local: 10 of 10 pairs scored, $0.0004 spent"

        again = teacher(server, tmp_path)
        assert again.plan(asked).requests == 0
        kept = again.score(asked, said.append)
        assert len(server.asked) == 3 and again.spent_usd == 0
        assert [s.scores for s in kept] == [s.scores for s in found] and all(s.cached for s in kept)
        assert "all are known, nothing to ask" in said[-2]


def test_pairs_that_come_later_are_the_only_ones_asked_about(tmp_path):
    with teacher_server() as server:
        teacher(server, tmp_path).score(questions(6), quiet)
        found = teacher(server, tmp_path).score(questions(9)[::-1], quiet)
        assert_scored(found, questions(9)[::-1])
        assert set(times_asked(server).values()) == {1} and len(times_asked(server)) == 9
        assert [s.cached for s in found] == [False] * 3 + [True] * 6


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"temperature": 0.5}, {"max_tokens": 99}, {"pairs_per_request": 2}]
)
def test_another_teacher_is_asked_anew(tmp_path, change):
    with teacher_server() as server:
        teacher(server, tmp_path).score(questions(1), quiet)
        teacher(server, tmp_path, **change).score(questions(1), quiet)
        teacher(server, tmp_path, concurrency=3, keep="all").score(questions(1), quiet)
        teacher(server, tmp_path, score_prompt="reason_first_5").score(questions(1), quiet)
        assert len(server.asked) == 3


def test_equal_pairs_are_asked_about_once(tmp_path):
    asked = [replace(question(1), pair_id=f"copy-{i}") for i in range(6)]
    with teacher_server() as server:
        assert_scored(teacher(server, tmp_path, pairs_per_request=2).score(asked, quiet), asked)
        assert sum(times_asked(server).values()) == 1


def test_pairs_are_told_apart_by_their_texts_not_by_their_ids(tmp_path):
    """Two files may number their rows alike; and a pair that comes twice is paid for once."""
    asked = [replace(q, pair_id="7") for q in questions(3)]
    with teacher_server() as server:
        found = teacher(server, tmp_path).score([*asked, asked[0]], quiet)
        assert_scored(found, [*asked, asked[0]])
        assert sum(s.cost_usd for s in found) == pytest.approx(0.00014) and found[3].cached


def test_half_a_surrogate_pair_in_a_reason_is_kept_as_a_question_mark(tmp_path):
    def answer(asked):
        return Reply(content=by_length(asked).content.replace("Because it", "\\ud83d It"))

    with teacher_server(answer) as server:
        for _ in range(2):
            assert teacher(server, tmp_path).score(questions(2), quiet)[0].reasons[0].startswith("? It has")
        assert len(server.asked) == 1


def test_a_pair_that_cannot_be_read_is_asked_again_alone_and_then_skipped(tmp_path):
    """Pair 1 is never readable, pair 2 only when it is asked alone; the others of their request do not suffer."""

    def answer(asked):
        pairs = asked_pairs(asked)
        entries = json.loads(by_length(asked).content)["pairs"]
        for entry, (conversation, *_) in zip(entries, pairs, strict=True):
            if conversation == "Human: question 1" or (conversation == "Human: question 2" and len(pairs) > 1):
                entry["A"]["score"] = 7
        return Reply(content=json.dumps({"pairs": entries}))

    asked, said = questions(8), []
    with teacher_server(answer) as server:
        found = teacher(server, tmp_path).score(asked, said.append)
        assert [i for i, s in enumerate(found) if s.scores is None] == [1]
        assert found[1].failure == "a score is off the scale" and "; 1 a score is off the scale" in said[-1]
        assert_scored([s for i, s in enumerate(found) if i != 1], [q for i, q in enumerate(asked) if i != 1])
        assert [len(asked_pairs(a)) for a in server.asked] == [4, 4, 1, 1]
        # both attempts are counted: a quarter of a request, and a whole one
        assert found[2].cost_usd == pytest.approx(0.00014 * 1.25) and found[2].input_tokens == 125
        # what is unreadable is kept too: a rerun asks nothing, one with more retries asks about pair 1 alone
        teacher(server, tmp_path).score(asked, quiet)
        assert len(server.asked) == 4
        more = teacher(server, tmp_path, malformed_retries=2)
        assert more.plan(asked).requests == 1
        more.score(asked, quiet)
        assert [pair[0] for pair in asked_pairs(server.asked[-1])] == ["Human: question 1"] and len(server.asked) == 5


def test_no_reply_at_all_in_the_wanted_form(tmp_path):
    with teacher_server(lambda a: Reply(content="Both are fine.")) as server:
        found = teacher(server, tmp_path).score(questions(3), quiet)
        assert {s.failure for s in found} == {"no scores in the reply"}
        assert len(server.asked) == 1 + 3


def test_the_cost_cap_holds_and_the_rest_is_free_to_come_later(tmp_path):
    """A request may cost its bytes at $1 and 1,500 tokens at $2 a million; ten requests would break the cap."""
    asked = questions(40)
    with teacher_server() as server:
        one = teacher(server, tmp_path)
        size = one._request(asked[:4]).size()
        most = size.most_input * 1e-6 + size.most_output * 2e-6
        capped = teacher(server, tmp_path, max_cost_usd=most * 1.05 + 4 * 0.00014)
        found = capped.score(asked, quiet)
        paid = len(server.asked)
        assert 4 <= paid < 10 and capped.spent_usd <= most * 1.05 + 4 * 0.00014
        assert Counter(s.failure for s in found) == {None: 4 * paid, "cost cap": 40 - 4 * paid}
        assert_scored(teacher(server, tmp_path).score(asked, quiet), asked)
        assert set(times_asked(server).values()) == {1}


def test_a_plan_names_the_most_that_it_can_cost(tmp_path):
    asked = questions(8)
    with teacher_server() as server:
        planned = teacher(server, tmp_path, asks=False)
        words = planned.plan(asked).words
        sizes = [planned._request(batch).size() for batch in (asked[:4], asked[4:])]
        most = sum(s.most_input * 1e-6 + 1500 * 2e-6 for s in sizes)
        assert f"at most ${most:.4f} (limit $5)" in words and planned.plan(asked).requests == 2
        assert list(tmp_path.iterdir()) == []  # a plan begins no cache


def test_a_key_is_needed_to_ask_and_not_to_plan(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with teacher_server() as server:
        assert teacher(server, tmp_path, api_key_env="NO_SUCH_KEY", asks=False).plan(questions(2)).requests == 1
        with pytest.raises(ConfigError, match=r"teacher\.api_key_env=NO_SUCH_KEY: .* teacher\.env_file="):
            teacher(server, tmp_path, api_key_env="NO_SUCH_KEY")


def test_a_refused_key_is_one_line_and_what_came_before_is_kept(tmp_path):
    def answer(asked):
        return by_length(asked) if asked.number < 2 else Reply(status=401)

    asked = questions(16)
    with teacher_server(answer) as server:
        with pytest.raises(JudgeError, match=r"^teacher local at http\S+: status 401.*; 2 replies are kept$"):
            teacher(server, tmp_path, concurrency=1).score(asked, quiet)
        server.answer = by_length
        assert_scored(teacher(server, tmp_path).score(asked, quiet), asked)
        assert sorted(times_asked(server).values()) == [1] * 12 + [2] * 4  # the request that was refused


def test_a_server_error_passes(tmp_path):
    def answer(asked):
        return Reply(status=500) if asked.number == 0 else Reply(status=429) if asked.number == 1 else by_length(asked)

    with teacher_server(answer) as server:
        assert_scored(teacher(server, tmp_path).score(questions(5), quiet), questions(5))


def test_a_server_without_json_schema_is_asked_in_words(tmp_path):
    def answer(asked):
        return Reply(status=400) if "response_format" in asked.body else by_length(asked)

    with teacher_server(answer) as server:
        assert_scored(teacher(server, tmp_path).score(questions(9), quiet), questions(9))
        formats = [a.body.get("response_format", {}).get("type") for a in server.asked]
        assert formats == ["json_schema", "json_object", None, None, None]
        assert server.asked[0].body["response_format"]["json_schema"]["name"] == "scores"
