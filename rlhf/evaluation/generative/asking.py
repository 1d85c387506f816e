"""Which pairs each model is asked about, and how: the same pairs for all models and score prompts of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlhf.config.score_prompts import ScorePrompt, load_score_prompt, score_prompt_names
from rlhf.data.loading import load_prompts
from rlhf.data.rendering import Renderer
from rlhf.data.splits import SPLIT_SEED
from rlhf.errors import DataError
from rlhf.evaluation.policy.models import Reader, readers_of
from rlhf.evaluation.score_prompt_of import run_score_prompt, score_prompt_of
from rlhf.types import Prompt


@dataclass(frozen=True)
class Question:
    """One model asked in one way: a row of the results."""

    label: str
    reader: Reader
    score_prompt: ScorePrompt
    prompts: tuple[Prompt, ...]  # [2 P] side 0 and side 1 of every pair

    @property
    def pairs(self) -> list[str]:
        """[P] ids of the pairs."""
        return [str(p.metadata["pair_id"]) for p in self.prompts[::2]]

    def of_pairs(self, pairs: Sequence[str]) -> Question:
        """The same about these pairs alone, in their order."""
        by_pair: dict[str, list[Prompt]] = {}
        for prompt in self.prompts:
            by_pair.setdefault(str(prompt.metadata["pair_id"]), []).append(prompt)
        return replace(self, prompts=tuple(prompt for pair in pairs for prompt in by_pair[pair]))


def questions_of(models: Mapping[str, str], parts: Any) -> tuple[list[Question], list[str]]:
    """Every model with every score prompt that it is asked by, each about all held-out pairs that its rules keep; and
    what to tell. Tokenizers are loaded and no model.

    The score prompts are those of evaluation.score_prompts, else dataset.score_prompt, else the one of the run that the
    model comes from. Raises ConfigError where there is none, ModelError for a path without a model."""
    config, told = parts.run_config, []
    read: dict[str, tuple[Prompt, ...]] = {}  # equal tokenizers read the data once
    found = []
    for label, reader in readers_of(models, config).items():
        rendering = parts.rendering_of(reader.path)
        reader = replace(reader, renderer=Renderer(reader.tokenizer, rendering))
        vocabulary = f"{reader.tokenizer.chat_template} {reader.vocabulary()}"
        for name, score_prompt in score_prompts_of(reader.path, config).items():
            section = replace(rendering, score_prompt=name)
            key = f"{section} {vocabulary}"
            if key not in read:
                data = load_prompts(section, "eval", reader.renderer, seed=SPLIT_SEED)
                told += [f"{label}, {score_prompt.name}: {line}" for line in data.report.lines()]
                read[key] = data.examples
            found.append(Question(label, reader, score_prompt, read[key]))
    return found, told


def common_pairs(pairs: Iterable[Sequence[str]], limit: int) -> list[str]:
    """The first `limit` ids that all lists have, in the order of the first. Raises DataError for fewer than two."""
    first, *others = map(list, pairs)
    sets = [set(other) for other in others]
    shared = [pair for pair in first if all(pair in other for other in sets)]
    if len(shared) < 2:
        raise DataError(
            f"{len(shared)} held-out pairs suit every model and score prompt; an interval needs two: raise "
            "dataset.max_prompt_tokens, or look at the counts by rule above"
        )
    return shared[:limit]


def score_prompts_of(path: str, config: Any) -> dict[str, ScorePrompt]:
    """How the model at `path` is asked, by the names of the configuration: as evaluation.score_prompts says, else
    dataset.score_prompt, else the run that it comes from. Raises ConfigError where none of them says anything."""
    asked = config.evaluation.score_prompts
    if asked is None:
        found = score_prompt_of(path, config.dataset.score_prompt, "dataset.score_prompt")
        return {config.dataset.score_prompt or str(run_score_prompt(path)): found}
    return {name: load_score_prompt(name) for name in (score_prompt_names() if asked == "all" else asked)}
