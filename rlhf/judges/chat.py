"""A chat model behind an OpenAI-compatible API as a judge."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rlhf.config.judges import ChatJudgeConfig
from rlhf.judges.asking import Asking, Request
from rlhf.judges.cache import Reply, cache_key
from rlhf.judges.endpoint import Endpoint
from rlhf.judges.env_file import Variables
from rlhf.judges.parsing import VERDICT, parse_reply, verdict_of
from rlhf.judges.spending import Size
from rlhf.judges.templates import load_template
from rlhf.judges.types import Comparison, CostEstimate, Report, Verdict

log = logging.getLogger(__name__)

EXPECTED_OUTPUT_TOKENS = 80  # a reason of one or two sentences and the verdict


class ChatJudge:
    """Asks `config.model`. The key lives in its endpoint alone; replies live in the cache.

    Raises ConfigError for a variable that is not set, a template that cannot be used, a price that is not known."""

    def __init__(self, config: ChatJudgeConfig, variables: Variables | None = None) -> None:
        self.config = config
        self.endpoint = Endpoint(config, VERDICT, variables)
        self.name = self.endpoint.model
        self.template = load_template(config.template)
        self.spending, self.cache = self.endpoint.spending, self.endpoint.cache

    def estimate(self, comparisons: Sequence[Comparison]) -> CostEstimate:
        """What `compare` would cost: different comparisons that the cache has no reply to, one request each."""
        return self._estimate(comparisons, list(self._wanted(self._keys(comparisons), comparisons)[0].values()))

    def compare(self, comparisons: Sequence[Comparison], *, report: Report | None = None) -> list[Verdict]:
        """One verdict a comparison. Comparisons beyond a limit have none: "cost cap", "call cap", "token cap",
        "deadline", or "no reply: ..." where the server did not answer this one. Raises as Endpoint.ask."""
        report = report or log.info
        keys = self._keys(comparisons)
        wanted, kept, again = self._wanted(keys, comparisons)
        report(self._announcement(self._estimate(comparisons, list(wanted.values()))))
        if not wanted:
            return [_verdict(kept[key], cached=True) for key in keys]
        requests = {key: self._request(comparison) for key, comparison in wanted.items()}
        asking = self.endpoint.ask(requests, report, again=again, answers=bool(kept))
        replies = kept | asking.replies
        free = set(kept) - set(wanted) | asking.from_others
        verdicts = []
        for key in keys:
            if key in asking.failed:
                verdicts.append(Verdict(None, asking.failed[key]))
                continue
            verdicts.append(_verdict(replies[key], cached=key in free))
            free.add(key)  # the same comparison once more costs nothing
        report(self._result(asking))
        return verdicts

    def _keys(self, comparisons: Sequence[Comparison]) -> list[str]:
        same = self.endpoint.identity | {"template": self.template.fingerprint}
        return [cache_key(same | {"prompt": x.prompt, "first": x.first, "second": x.second}) for x in comparisons]

    def _wanted(
        self, keys: Sequence[str], comparisons: Sequence[Comparison]
    ) -> tuple[dict[str, Comparison], dict[str, Reply], frozenset[str]]:
        """What is to be asked, in order; the replies that are kept; and whose kept reply is to be asked for again."""
        by_key = dict(zip(keys, comparisons, strict=True))
        kept = self.cache.get_many(by_key)
        again = frozenset(
            key
            for key, reply in kept.items()
            if self.config.retry_malformed and parse_reply(reply.text, reply.finish_reason)[0] is None
        )
        return {k: c for k, c in by_key.items() if k not in kept or k in again}, kept, again

    def _request(self, comparison: Comparison) -> Request:
        return Request(lambda: self.template.messages(comparison), lambda: self._size(comparison))

    def _size(self, comparison: Comparison) -> Size:
        return self.endpoint.size(self.template.messages(comparison), EXPECTED_OUTPUT_TOKENS)

    def _estimate(self, comparisons: Sequence[Comparison], wanted: Sequence[Comparison]) -> CostEstimate:
        expense = self.endpoint.expense([self._size(c) for c in wanted])
        return CostEstimate(**asdict(expense), comparisons=len(comparisons))

    def _announcement(self, e: CostEstimate) -> str:
        """What is about to be asked, and what that should cost."""
        if not e.calls:
            return f"judge {self.name}: all {e.comparisons:,} comparisons are known, nothing to ask"
        line = f"judge {self.name}: {e.comparisons:,} comparisons, {e.calls:,} to ask, {self.endpoint.words(e)}"
        return line + ("; the limit will leave some without a verdict" if self.endpoint.exceeds_cap(e) else "")

    def _result(self, asking: Asking) -> str:
        """What became of what was asked."""
        reasons = Counter(asking.failed.values())
        for reply in asking.replies.values():
            winner, reason = parse_reply(reply.text, reply.finish_reason)
            reasons[reason] += winner is None
        trouble = [f"{n} {reason}" for reason, n in sorted(reasons.items()) if n]
        again = [f"{n} {reason}" for reason, n in sorted(asking.retries.items())]
        line = f"judge {self.name}: {len(asking.replies):,} of {len(asking.wanted):,} answered"
        line += f", {self.spending.words()} spent"
        line += f"; no verdict: {', '.join(trouble)}" if trouble else ""
        return line + (f"; tried again: {', '.join(again)}" if again else "")


def _verdict(reply: Reply, *, cached: bool) -> Verdict:
    return verdict_of(
        reply.text,
        reply.finish_reason,
        cost_usd=reply.cost_usd,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        cached=cached,
    )
