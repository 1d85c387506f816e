"""suite=policy: answers of several models to the same held-out prompts, scored, compared with the first model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from rlhf.config.sections import EvalStageConfig
from rlhf.data.loading import load_prompts
from rlhf.data.rendering import Renderer
from rlhf.data.splits import SPLIT_SEED
from rlhf.errors import DataError
from rlhf.evaluation.models import labelled_models
from rlhf.evaluation.scoring import answer_logprobs
from rlhf.evaluation.statistics import bootstrap_interval, paired_difference
from rlhf.models.loading import load_causal_lm, load_tokenizer
from rlhf.rollout.samples import sample_rows
from rlhf.types import Prompt, RewardScores, Rollout

EVALUATION_STEP = 0
"""Answers are sampled under this step number: the same random numbers for every model."""


class Reporter(Protocol):
    """Where answers and progress go."""

    def message(self, text: str) -> None: ...
    def samples(self, step: int | None, rows: Sequence[dict[str, Any]]) -> None: ...


@dataclass(frozen=True)
class Measured:
    """One model's answers, and per answer its measurements by metric name; all in the same order for every model."""

    rollouts: list[Rollout]
    values: dict[str, np.ndarray]  # name -> [N]


class PolicyEvaluation:
    """Samples, scores and compares policies. The first model is the reference of the differences and of the KL."""

    def __init__(self, config: EvalStageConfig, *, parts: Any, hardware: Any, seed: int) -> None:
        self.config, self.parts, self.hardware, self.seed = config, parts, hardware, seed
        self.run_config = parts.run_config
        self.models = labelled_models(self.run_config.models, self.run_config.model.path)

    def evaluate(self, reporter: Reporter) -> dict[str, Any]:
        """summary.json of the run: every metric with its interval, and the paired differences to the reference."""
        reward = self.parts.reward
        reference_label = next(iter(self.models))
        reference: tuple[Any, Any] | None = None
        measured: dict[str, Measured] = {}
        for label, path in self.models.items():
            reporter.message(f"{label}: sampling from {path}")
            model, tokenizer, renderer, prompts = self._load(path)
            reference = reference or (model, tokenizer)
            sampler = self.parts.sampler_of(model, tokenizer, renderer)
            rollouts = sampler.sample(prompts, self.config.samples_per_prompt, step=EVALUATION_STEP)
            scores = reward.score(rollouts)
            values = _values(rollouts, scores)
            if model is not reference[0] and _same_vocabulary(tokenizer, reference[1]):
                values["policy/kl_ref_answer"] = self._kl(model, reference[0], tokenizer, rollouts)
            measured[label] = Measured(rollouts, values)
            reporter.samples(None, sample_rows(rollouts, scores, model=[label] * len(rollouts)))
            reporter.message(f"{label}: reward {values['reward/total'].mean():.3f} over {len(rollouts)} answers")
        return self._summary(measured, reference_label)

    def _load(self, path: str) -> tuple[Any, Any, Renderer, tuple[Prompt, ...]]:
        ours = self.run_config.model
        config = replace(ours, lora=replace(ours.lora, enabled=False))
        if path != ours.path:
            config = replace(config, path=path, source="auto", revision=None, architecture=None)
        tokenizer = load_tokenizer(config)
        model = load_causal_lm(config, self.hardware, seed=self.seed)
        renderer = Renderer(tokenizer, self.run_config.dataset)
        prompts = load_prompts(self.run_config.dataset, "eval", renderer, seed=SPLIT_SEED).examples[: self.config.limit]
        if len(prompts) < 2:
            raise DataError(
                f"{self.run_config.dataset.name} has {len(prompts)} held-out prompts; an interval needs two"
            )
        return model, tokenizer, renderer, prompts

    def _kl(self, model: Any, reference: Any, tokenizer: Any, rollouts: list[Rollout]) -> np.ndarray:
        """[N] log p(answer) - log q(answer): its mean is the k1 estimate of KL(model || reference), nats an answer."""
        both = [
            answer_logprobs(m, tokenizer.pad_token_id, rollouts, self.parts.distribution, self.hardware)
            for m in (model, reference)
        ]
        return both[0] - both[1]

    def _summary(self, measured: dict[str, Measured], reference_label: str) -> dict[str, Any]:
        reference = measured[reference_label]
        options = {
            "confidence": self.config.confidence,
            "resamples": self.config.bootstrap_resamples,
            "seed": self.seed,
        }
        models: dict[str, Any] = {}
        for label, found in measured.items():
            clusters = [r.prompt.id for r in found.rollouts]
            entry: dict[str, Any] = {"path": self.models[label], "metrics": {}}
            for name, values in found.values.items():
                entry["metrics"][name] = bootstrap_interval(values, clusters=clusters, **options).to_dict()
            if label != reference_label:
                entry["difference"] = {
                    name: paired_difference(values, reference.values[name], clusters=clusters, **options).to_dict()
                    for name, values in found.values.items()
                    if name in reference.values
                }
            models[label] = entry
        return {
            "suite": "policy",
            "reference": reference_label,
            "confidence": self.config.confidence,
            "prompts": len({r.prompt.id for r in reference.rollouts}),
            "samples_per_prompt": self.config.samples_per_prompt,
            "models": models,
        }


def _values(rollouts: Sequence[Rollout], scores: RewardScores) -> dict[str, np.ndarray]:
    """Per answer: total reward, its components, length, truncation."""
    values = {"reward/total": np.array(scores.total, dtype=np.float64)}
    values |= {f"reward/{name}": np.array(v, dtype=np.float64) for name, v in scores.components.items()}
    values["response/length_tokens"] = np.array([len(r.answer_ids) for r in rollouts], dtype=np.float64)
    values["response/truncated_fraction"] = np.array([r.finish == "length" for r in rollouts], dtype=np.float64)
    return {name: v for name, v in values.items() if np.isfinite(v).all()}


def _same_vocabulary(tokenizer: Any, other: Any) -> bool:
    """KL between models is defined over the same tokens only."""
    return tokenizer.get_vocab() == other.get_vocab()
