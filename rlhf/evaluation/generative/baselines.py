"""What stands beside generative reward models in the table: a random scorer, and a scalar Bradley-Terry model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rlhf.config.score_prompts import ScorePrompt
from rlhf.data.loading import Pairs, load_pairs
from rlhf.data.rendering import Renderer
from rlhf.data.splits import SPLIT_SEED
from rlhf.evaluation.generative.scores import SideScores
from rlhf.evaluation.reward_model.scoring import Reading, score_model

RANDOM, SCALAR = "random", "scalar"


def random_scores(score_prompt: ScorePrompt, pairs: int, samples: int, seed: int) -> SideScores:
    """Whole numbers of the scale, each as likely, by `seed` alone: [pairs, samples] a side. Expected accuracy 1/2."""
    rng = np.random.default_rng(seed)
    low, high = int(np.ceil(score_prompt.lowest)), int(np.floor(score_prompt.highest))
    drawn = rng.integers(low, high + 1, size=(2, pairs, samples)).astype(np.float64)
    return SideScores(*drawn)


@dataclass(frozen=True)
class ScalarModel:
    """A reward model with a score head, and the pairs as it reads them."""

    path: str
    renderer: Renderer
    pairs: Pairs

    @property
    def ids(self) -> list[str]:
        """[P] ids of the pairs that its rules keep."""
        return [example.prompt.id for example in self.pairs.examples]

    def scores(self, pairs: Sequence[str], parts: Any, tell: Callable[[str], None]) -> SideScores:
        """Its scores of these pairs, nats: one sample a side, since it says the same every time."""
        places = {pair: i for i, pair in enumerate(self.ids)}
        chosen = [places[pair] for pair in pairs]
        examples, groups = (tuple(found[i] for i in chosen) for found in (self.pairs.examples, self.pairs.groups))
        reading = Reading(self.renderer, examples, groups, self.pairs.report)
        found = score_model(SCALAR, self.path, reading, parts, parts.hardware, tell).scores
        return SideScores(found[:, :1], found[:, 1:])


def scalar_model(path: str, parts: Any) -> ScalarModel:
    """The held-out pairs as the reward model at `path` reads them; its tokenizer alone is loaded."""
    renderer = parts.reward_renderer(path)
    section = replace(renderer.config, score_prompt=None)
    return ScalarModel(path, renderer, load_pairs(section, "eval", renderer, seed=SPLIT_SEED))
