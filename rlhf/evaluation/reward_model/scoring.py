"""Scores of preference pairs under reward models: the same pairs for every model, one model in memory at a time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from rlhf.data.loading import Pairs, load_pairs
from rlhf.data.rendering import Renderer
from rlhf.data.rules import DataReport
from rlhf.data.splits import SPLIT_SEED
from rlhf.errors import DataError
from rlhf.evaluation.reward_model.scored_pairs import ScoredPairs, describe_pair
from rlhf.evaluation.reward_model.written import score_by_writing, score_prompt_to_ask
from rlhf.hardware import Hardware
from rlhf.models.microbatches import over_microbatches, packed_tokens
from rlhf.types import PackedBatch, PreferencePair, TokenGroup

PROGRESS_EVERY_S = 15.0


@dataclass(frozen=True)
class Reading:
    """The pairs as one model reads them."""

    renderer: Renderer
    examples: tuple[PreferencePair, ...]  # [P]
    groups: tuple[TokenGroup, ...]  # [P]
    report: DataReport  # of all held-out pairs as this model reads them


def read_pairs(paths: Mapping[str, str], parts: Any, limit: int) -> tuple[dict[str, Reading], dict[str, Any]]:
    """label -> the first `limit` held-out pairs that the rules keep for every model, in its own tokens; and counts.

    Only tokenizers are loaded. Rules such as dropping what is identical after truncation depend on the tokenizer: a
    pair that one model cannot be asked is asked of none. Raises DataError where fewer than two pairs are left.
    """
    renderers = {label: parts.reward_renderer(path) for label, path in paths.items()}
    data = {label: load_pairs(r.config, "eval", r, seed=SPLIT_SEED) for label, r in renderers.items()}
    shared = set.intersection(*({example.prompt.id for example in pairs.examples} for pairs in data.values()))
    first = next(iter(data.values()))
    order = [example.prompt.id for example in first.examples if example.prompt.id in shared][:limit]
    if len(order) < 2:
        raise DataError(f"{first.report.source} has {len(order)} held-out pairs; an interval needs two")
    counts = {
        "used": len(order),
        "source": first.report.source,
        "available": len(shared),
        "not_for_every_model": max(len(pairs.examples) for pairs in data.values()) - len(shared),
        "data": {label: pairs.report.to_dict() | {"fingerprint": pairs.fingerprint} for label, pairs in data.items()},
    }
    return {label: _chosen(data[label], renderers[label], order) for label in paths}, counts


def score_model(
    label: str, path: str, reading: Reading, parts: Any, hardware: Hardware, tell: Callable[[str], None]
) -> ScoredPairs:
    """`reading` scored by the reward model at `path`, which is let go afterwards: by its score head, or by the scores
    that it writes."""
    name = score_prompt_to_ask(path, parts.run_config)
    if name is not None:
        return _written(label, path, name, reading, parts, tell)
    start = time.monotonic()
    reward = parts.load_learned_reward(path)
    loaded = time.monotonic()
    batch = PackedBatch(reading.groups)
    scores = score_batch(
        reward.forward, batch, hardware, lambda done: tell(f"{label}: {done} of {batch.num_answers} answers scored")
    )
    del reward
    gc.collect()
    seconds = max(time.monotonic() - loaded, 1e-9)
    tell(
        f"{label}: {len(reading.groups)} pairs scored in {seconds:.1f} s ({packed_tokens(batch) / seconds:,.0f} "
        f"tokens/s), loaded in {loaded - start:.1f} s"
    )
    each = zip(reading.examples, reading.groups, scores, strict=True)
    return ScoredPairs(label, path, tuple(describe_pair(e, g, reading.renderer, s) for e, g, s in each))


def _written(
    label: str, path: str, name: str, reading: Reading, parts: Any, tell: Callable[[str], None]
) -> ScoredPairs:
    start = time.monotonic()
    tell(f"{label}: a language model, asked for scores of {len(reading.groups)} pairs ({name})")
    found = score_by_writing(path, name, reading.examples, reading.renderer, parts)
    gc.collect()
    tell(f"{label}: {found.how}; {time.monotonic() - start:.1f} s")
    described = [
        replace(describe_pair(e, g, reading.renderer, s), prompt_cut=bool(cut), chosen_cut=False, rejected_cut=False)
        for e, g, s, cut in zip(reading.examples, reading.groups, found.scores, found.cut, strict=True)
    ]
    return ScoredPairs(label, path, tuple(described), found.how)


@torch.no_grad()
def score_batch(forward: Any, batch: PackedBatch, hardware: Hardware, told: Callable[[int], None]) -> np.ndarray:
    """[P, 2] scores of the chosen and the rejected answers; `told` hears of the number scored every 15 s."""
    scores = torch.zeros(batch.num_answers, dtype=torch.float64)
    done, last = 0, time.monotonic()

    def run(micro: PackedBatch, answers: list[int]) -> None:
        nonlocal done, last
        with hardware.autocast():
            scores[answers] = forward.score(micro).double().cpu()
        done = min(done + len(answers), batch.num_answers)  # counted anew where memory ran out
        if time.monotonic() - last > PROGRESS_EVERY_S:
            last = time.monotonic()
            told(done)

    over_microbatches(batch, hardware.budget, run)
    return scores.view(-1, 2).numpy()


def _chosen(pairs: Pairs, renderer: Renderer, order: list[str]) -> Reading:
    places = {example.prompt.id: i for i, example in enumerate(pairs.examples)}
    kept = [places[prompt_id] for prompt_id in order]
    examples, groups = (tuple(found[i] for i in kept) for found in (pairs.examples, pairs.groups))
    return Reading(renderer, examples, groups, pairs.report)
