"""A chat model behind an OpenAI-compatible API as a teacher: several pairs a request, nothing paid for twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlhf.config.score_prompts import ScorePrompt
from rlhf.config.teacher import ChatTeacherConfig
from rlhf.judges.asking import Request
from rlhf.judges.cache import Reply, ReplyCache, cache_key
from rlhf.judges.endpoint import Endpoint
from rlhf.judges.types import Report
from rlhf.teacher.questions import Question
from rlhf.teacher.replies import SCORES, Scores, pieces_of, read_piece
from rlhf.teacher.requests import load_teacher_template
from rlhf.teacher.types import Plan, Scored, levels_of

EXPECTED_OUTPUT_TOKENS = 110  # of one pair: two reasons of a sentence or two, two scores


class ChatTeacher:
    """Asks `config.model`. Each pair's reply is kept by itself, under what it depends on: pairs may come and go between
    runs, and only those that are new are asked about.

    Raises ConfigError as Endpoint, and for a template that cannot be used. With asks=False it only plans."""

    def __init__(self, config: ChatTeacherConfig, score_prompt: ScorePrompt, *, asks: bool = True) -> None:
        self.config = config
        self.endpoint = Endpoint(config, SCORES, asks=asks)
        self.name = self.endpoint.model
        self.levels = levels_of(score_prompt)
        self.template = load_teacher_template(config.template, score_prompt, self.levels)
        self.cache = self.endpoint.cache

    @property
    def spent_usd(self) -> float:
        """What this teacher has paid so far, requests that may have been charged for in vain included."""
        return self.endpoint.spending.cost_usd

    def plan(self, questions: Sequence[Question]) -> Plan:
        """The requests for what the cache does not have; replies that will turn out unreadable are not foreseen."""
        sizes, left = [], list(questions)
        for attempt in range(1 + self.config.malformed_retries):
            kept = self._kept(left, attempt)
            batches = self._batches([q for q in left if self._identity(q) not in kept], attempt)
            sizes += [self._request(batch).size() for batch in batches.values()]
            unreadable = {key for key, piece in kept.items() if isinstance(self._read(piece), str)}
            left = [q for q in left if self._identity(q) in unreadable]
        expense = self.endpoint.expense(sizes)
        words = self.endpoint.words(expense) if sizes else "all are known, nothing to ask"
        if self.endpoint.exceeds_cap(expense):
            words += "; the limit will leave some without a score"
        return Plan(len(questions), len(sizes), words)

    def score(self, questions: Sequence[Question], report: Report) -> list[Scored]:
        """One result a pair. Pairs beyond a limit have none: "cost cap", "call cap", "token cap", "deadline", or
        "no reply: ..." where the server did not answer their request.

        A pair whose reply cannot be read is asked about again, alone, teacher.malformed_retries times. Raises as
        Endpoint.ask."""
        plan = self.plan(questions)
        report(f"teacher {self.name}: {plan.pairs:,} pairs, {plan.requests:,} requests to send, {plan.words}")
        different = {self._identity(q): q for q in questions}
        found = {key: Scored(None, cached=True) for key in different}
        left = list(different.values())
        for attempt in range(1 + self.config.malformed_retries):
            left = self._attempt(left, attempt, found, report)
            if not left:
                break
        results = self._in_order(questions, found)
        report(self._result(results))
        return results

    def _attempt(
        self, questions: Sequence[Question], attempt: int, found: dict[str, Scored], report: Report
    ) -> list[Question]:
        """Enter what is known of each pair after this attempt; returns those whose reply could not be read."""
        before = self._kept(questions, attempt)
        batches = self._batches([q for q in questions if self._identity(q) not in before], attempt)
        failed: dict[str, str] = {}
        if batches:
            keys = {key: [self._key(q, attempt) for q in batch] for key, batch in batches.items()}
            requests = {key: self._request(batch) for key, batch in batches.items()}
            answers = bool(before) or attempt > 0
            asking = self.endpoint.ask(requests, report, kept=_Pieces(self.cache, keys), answers=answers)
            failed = {own: reason for key, reason in asking.failed.items() for own in keys[key]}
        after = self._kept(questions, attempt)
        unreadable = []
        for question in questions:
            identity = self._identity(question)
            earlier, piece = found[identity], after.get(identity)
            if piece is None:  # an attempt without a reply: what was wrong with an earlier one stays
                reason = earlier.failure or failed[self._key(question, attempt)]
                found[identity] = replace(earlier, failure=reason, cached=False)
                continue
            result = _added(earlier, piece, self._read(piece), cached=identity in before)
            found[identity] = result
            if result.scores is None:
                unreadable.append(question)
        return unreadable

    def _read(self, piece: Reply) -> Scores | str:
        return read_piece(piece, self.levels)

    def _batches(self, questions: Sequence[Question], attempt: int) -> dict[str, list[Question]]:
        """Requests by their own key, in order. What is asked again is asked alone."""
        size = self.config.pairs_per_request if attempt == 0 else 1
        different = list({self._identity(q): q for q in questions}.values())
        batches = [different[i : i + size] for i in range(0, len(different), size)]
        return {cache_key({"pairs": [self._key(q, attempt) for q in batch]}): batch for batch in batches}

    def _identity(self, question: Question) -> str:
        """Equal for pairs of equal texts, whose score is asked for once; ids may repeat between parts of a dataset."""
        return self._key(question, 0)

    def _in_order(self, questions: Sequence[Question], found: Mapping[str, Scored]) -> list[Scored]:
        """One result a pair; the same pair once more has cost nothing."""
        results, met = [], set()
        for key in map(self._identity, questions):
            free = {"cost_usd": 0.0, "input_tokens": 0, "output_tokens": 0, "cached": True} if key in met else {}
            results.append(replace(found[key], **free))
            met.add(key)
        return results

    def _key(self, question: Question, attempt: int) -> str:
        """All that the reply about a pair depends on, but for the other pairs of its request."""
        depends = {"task": "teacher", "template": self.template.fingerprint, "attempt": attempt}
        depends |= {"pairs_per_request": self.config.pairs_per_request}
        pair = {"conversation": question.conversation, "answers": list(question.answers)}
        return cache_key(self.endpoint.identity | depends | pair)

    def _kept(self, questions: Sequence[Question], attempt: int) -> dict[str, Reply]:
        """What the cache has, by identity."""
        keys = {self._identity(q): self._key(q, attempt) for q in questions}
        replies = self.cache.get_many(keys.values())
        return {identity: replies[key] for identity, key in keys.items() if key in replies}

    def _request(self, batch: Sequence[Question]) -> Request:
        def messages() -> list[dict[str, str]]:
            return self.template.messages(batch)

        return Request(messages, lambda: self.endpoint.size(messages(), EXPECTED_OUTPUT_TOKENS * len(batch)))

    def _result(self, results: Sequence[Scored]) -> str:
        """What became of the pairs."""
        trouble = Counter(scored.failure for scored in results if scored.failure)
        line = f"teacher {self.name}: {len(results) - trouble.total():,} of {len(results):,} pairs scored"
        line += f", {self.endpoint.spending.words()} spent"
        return line + "".join(f"; {number} {reason}" for reason, number in sorted(trouble.items()))


def _added(earlier: Scored, piece: Reply, read: Scores | str, *, cached: bool) -> Scored:
    """What the piece says, its cost added to that of earlier attempts."""
    scores, reasons, failure = (None, ("", ""), read) if isinstance(read, str) else (*read, None)
    return Scored(
        scores,
        reasons,
        failure,
        cost_usd=earlier.cost_usd + piece.cost_usd,
        input_tokens=earlier.input_tokens + piece.input_tokens,
        output_tokens=earlier.output_tokens + piece.output_tokens,
        cached=earlier.cached and cached,
    )


class _Pieces:
    """The cache as the sender of requests sees it: a reply goes in whole, and is kept as one piece a pair."""

    def __init__(self, cache: ReplyCache, keys: Mapping[str, Sequence[str]]) -> None:
        """`keys`: a request's key -> the keys of its pairs."""
        self.cache, self.keys = cache, keys
        self.claim, self.release = cache.claim, cache.release

    def get(self, key: str) -> Reply | None:
        """The first piece, where all are there: that there is nothing to ask is all that is asked."""
        pieces = self.cache.get_many(self.keys[key])
        return pieces[self.keys[key][0]] if len(pieces) == len(set(self.keys[key])) else None

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply: it is on disk when this returns."""
        keys = self.keys[key]
        for own, piece in zip(keys, pieces_of(reply, len(keys)), strict=True):
            self.cache.put(own, piece)
