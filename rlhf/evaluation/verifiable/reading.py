"""What an answer comes to, so that answers that mean the same are one vote."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from rlhf.config.verifiers import FROM_TEMPLATE
from rlhf.data.templates import complete_answer
from rlhf.rewards.verifiers.equality import canonical
from rlhf.rewards.verifiers.extract import EXTRACTORS
from rlhf.types import Rollout


def answer_reader(extractor: str) -> Callable[[Rollout], Hashable | None]:
    """`read(rollout)`: equal for answers that mean the same, None where nothing is found.

    `extractor` is a name of EXTRACTORS, or FROM_TEMPLATE: that of each prompt, the whole text where it names none."""

    def read(rollout: Rollout) -> Hashable | None:
        name = rollout.prompt.metadata.get("extractor", "text") if extractor == FROM_TEMPLATE else extractor
        answer = EXTRACTORS[name](complete_answer(rollout)).answer
        return None if answer is None else canonical(answer)

    return read
