"""The policies of an evaluation, and the held-out prompts that all of them can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rlhf.config.run import RunConfig
from rlhf.config.sections import ModelConfig
from rlhf.data.loading import load_prompts
from rlhf.data.rendering import Renderer
from rlhf.data.splits import SPLIT_SEED
from rlhf.errors import DataError
from rlhf.models.loading import load_tokenizer
from rlhf.types import Prompt


@dataclass(frozen=True)
class Reader:
    """How one model reads: its configuration, tokenizer and rendering. Costs no weights."""

    path: str
    config: ModelConfig
    tokenizer: Any
    renderer: Renderer

    def vocabulary(self) -> str:
        """Equal for models that mean the same by the same token numbers."""
        return json.dumps(self.tokenizer.get_vocab(), sort_keys=True)


def readers_of(models: Mapping[str, str], run_config: RunConfig) -> dict[str, Reader]:
    """label -> reader. Raises ModelError for a path without a model, naming it, before any weights are loaded."""
    found = {}
    for label, path in models.items():
        ours = run_config.model
        config = replace(ours, lora=replace(ours.lora, enabled=False))
        if path != ours.path:
            config = replace(config, path=path, source="auto", revision=None, architecture=None)
        tokenizer = load_tokenizer(config)
        found[label] = Reader(path, config, tokenizer, Renderer(tokenizer, run_config.dataset))
    return found


def common_prompts(
    readers: Mapping[str, Reader], run_config: RunConfig, limit: int
) -> tuple[tuple[Prompt, ...], list[str]]:
    """The first `limit` held-out prompts that the rules of the dataset keep for every tokenizer, and what to tell.

    Comparisons are paired by prompt, so that a prompt too long for one model is asked of none. Raises DataError for
    fewer than two.
    """
    kept: dict[str, dict[str, Prompt]] = {}  # by vocabulary and template, so that equal tokenizers read the data once
    told: list[str] = []
    for label, reader in readers.items():
        key = f"{reader.tokenizer.chat_template} {reader.vocabulary()}"
        if key not in kept:
            data = load_prompts(run_config.dataset, "eval", reader.renderer, seed=SPLIT_SEED)
            told += [f"{label}: {line}" for line in data.report.lines()] if data.report.dropped else []
            kept[key] = {prompt.id: prompt for prompt in data.examples}
    first, *others = kept.values()
    common = [prompt for name, prompt in first.items() if all(name in other for other in others)]
    if len(common) < len(first):
        told.append(f"{len(first) - len(common)} held-out prompts do not suit every model's tokenizer: asked of none")
    if len(common) < 2:
        raise DataError(f"{run_config.dataset.name} has {len(common)} held-out prompts; an interval needs two")
    return tuple(common[: limit * run_config.dataset.per_unit]), told
