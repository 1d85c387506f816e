"""A model's answers to held-out prompts: sampled once, kept beside what they were sampled from, taken again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from rlhf.evaluation.answer_store import NEW, AnswerStore, Origin, prompts_fingerprint
from rlhf.evaluation.models import file_names
from rlhf.evaluation.policy.models import Reader
from rlhf.evaluation.reporter import Reporter
from rlhf.models.fingerprint import weights_fingerprint
from rlhf.models.loading import load_causal_lm
from rlhf.rollout.samples import EVALUATION_STEP, close_sampler
from rlhf.types import Prompt, Rollout, Sampler

SETTINGS = ("max_new_tokens", "temperature", "top_k", "top_p", "stop")


@dataclass(frozen=True)
class Respondent:
    """One evaluated model, loaded."""

    label: str
    reader: Reader
    model: Any
    fingerprint: str  # of its weights


@dataclass(frozen=True)
class _Asked:
    """Who answers, how often, under which seed, and what samples the answers, made when it is first needed."""

    respondent: Respondent
    samples: int
    seed: int
    sampler: Callable[[], Sampler]


class Answering:
    """Loads models and has them answer, as `rollout:` says."""

    def __init__(self, models: Mapping[str, str], earlier: str | None, *, parts: Any) -> None:
        """`models`: label -> path; `earlier`: the run directory of an evaluation whose answers may be taken.

        Raises ConfigError where `earlier` holds no answers."""
        self.parts, self.run_config = parts, parts.run_config
        self.names = file_names(models)
        self.store = AnswerStore(parts.run_dir.path, earlier)

    def load(self, label: str, reader: Reader) -> Respondent:
        """The model behind `reader`, with its weights."""
        model = load_causal_lm(reader.config, self.parts.hardware, seed=self.parts.seed)
        return Respondent(label, reader, model, weights_fingerprint(model))

    def answers(
        self,
        respondent: Respondent,
        prompts: Sequence[Prompt],
        samples: int,
        reporter: Reporter,
        *,
        suffix: str = "",
        seed: int | None = None,
        block: int | None = None,
    ) -> tuple[list[Rollout], dict[str, Any]]:
        """`samples` answers to each prompt, from the store or sampled and kept; and where they are.

        `suffix` tells several sets of answers of one model apart; `seed` None is that of the run. With `block` the
        answers to so many prompts at a time are kept as soon as they are there: an interruption costs one block."""
        reader, seed = respondent.reader, self.parts.seed if seed is None else seed
        sampler = cache(partial(self.parts.sampler_of, respondent.model, reader.tokenizer, reader.renderer, seed=seed))
        asked = _Asked(respondent, samples, seed, sampler)
        many = block is not None and block < len(prompts)
        try:
            return self._answers(asked, prompts, suffix, reporter, block if many else None)
        finally:
            if sampler.cache_info().currsize:  # a server a model at a time
                close_sampler(sampler())

    def _answers(
        self, asked: _Asked, prompts: Sequence[Prompt], suffix: str, reporter: Reporter, block: int | None = None
    ) -> tuple[list[Rollout], dict[str, Any]]:
        respondent = asked.respondent
        ids = [respondent.reader.renderer.prompt_ids(prompt) for prompt in prompts]
        origin = self._origin(asked, prompts, ids)
        name, label = self.names[respondent.label] + suffix, respondent.label
        what = f"{len(prompts) * asked.samples}{suffix.replace('.', ' ')} answers"
        found, where = self.store.find(name, origin, prompts, ids)
        parts: list[Path] = []
        if found is not None:
            reporter.message(f"{label}: {what} taken from {where}")
            rollouts = found
        elif block is not None:
            rollouts, parts = self._in_blocks(asked, prompts, suffix, reporter, block)
        else:
            if where != NEW:
                reporter.message(f"{label}: {where}")
            reporter.message(f"{label}: sampling {what} from {respondent.reader.path}")
            rollouts = asked.sampler().sample(prompts, asked.samples, step=EVALUATION_STEP)
        kept = self.store.keep(name, origin, rollouts, label=label, path=respondent.reader.path)
        for part in parts:
            part.unlink(missing_ok=True)
        return rollouts, {"file": str(kept), "sampled": found is None}

    def _origin(self, asked: _Asked, prompts: Sequence[Prompt], ids: Sequence[tuple[int, ...]]) -> Origin:
        settings = {f"rollout.{key}": getattr(self.run_config.rollout, key) for key in SETTINGS}
        settings |= {"seed": asked.seed, "evaluation.samples_per_prompt": asked.samples}
        settings["hardware.precision"] = self.parts.hardware.precision
        return Origin(asked.respondent.fingerprint, prompts_fingerprint(prompts, ids), settings)

    def _in_blocks(
        self, asked: _Asked, prompts: Sequence[Prompt], suffix: str, reporter: Reporter, block: int
    ) -> tuple[list[Rollout], list[Path]]:
        """The answers, and the files of the blocks, which the file of all answers is to replace."""
        rollouts: list[Rollout] = []
        files: list[Path] = []
        count = math.ceil(len(prompts) / block)
        for number in range(count):
            some = prompts[number * block : (number + 1) * block]
            found, where = self._answers(asked, some, f"{suffix}.part{number + 1}of{count}", reporter)
            rollouts += found
            files.append(Path(where["file"]))
        return rollouts, files
