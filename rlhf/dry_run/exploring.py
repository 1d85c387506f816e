"""What stage=explore and stage=pointwise would read."""

from __future__ import annotations

from collections.abc import Iterator

from rlhf.config.run import RunConfig
from rlhf.data.rendering import Renderer
from rlhf.data.splits import SPLIT_SEED
from rlhf.dry_run.absent import unless_absent
from rlhf.dry_run.blueprints import tokenizer_of
from rlhf.explore.reading import LOADERS, kind_of, splits_of


def explored_lines(config: RunConfig) -> Iterator[str]:
    """The data of every split, with what the rules keep and drop. Raises RlhfError as a trainer would, `error` rules
    included."""
    return unless_absent(config.dataset.path, _lines(config))


def _lines(config: RunConfig) -> Iterator[str]:
    renderer = Renderer(tokenizer_of(config.model), config.dataset)
    kind, splits = "prompts", splits_of(config.dataset)
    if config.explore is not None:
        kind = kind_of(config.dataset, config.explore.kind)
    elif config.pointwise.split != "both":
        splits = (config.pointwise.split,)
    for split in splits:
        yield from LOADERS[kind](config.dataset, split, renderer, seed=SPLIT_SEED).report.lines()
