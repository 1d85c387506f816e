"""suite=generative_rm: how well the scores that language models write order held-out pairs, by checkpoint and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf.config.score_prompts import ScorePrompt
from rlhf.config.score_rewards import scale_temperature
from rlhf.config.sections import EvalStageConfig
from rlhf.errors import ConfigError
from rlhf.evaluation.answering import Answering
from rlhf.evaluation.generative.asking import Question, common_pairs, questions_of
from rlhf.evaluation.generative.baselines import RANDOM, SCALAR, ScalarModel, random_scores, scalar_model
from rlhf.evaluation.generative.entries import GENERATIVE, Entry
from rlhf.evaluation.generative.exhibits import generative_exhibits
from rlhf.evaluation.generative.records import sample_rows, write_scores
from rlhf.evaluation.generative.sampling import sample_scores
from rlhf.evaluation.generative.scores import Scored, SideScores
from rlhf.evaluation.generative.summary import generative_summary
from rlhf.evaluation.generative.tables import write_tables
from rlhf.evaluation.models import labelled_models, reference_of
from rlhf.evaluation.reporter import Reporter
from rlhf.tracking.files import write_json_atomic

SHOWN = ("accuracy", "accuracy_strict", "tie_rate", "undecided_rate", "log_loss", "log_loss_untied", "margin",
         "parse_rate")  # fmt: skip
"""Figures of summary.md and the console."""


class GenerativeEvaluation:
    """Samples the scores of the same pairs from every model under every seed, and measures their order.

    Leaves in the run directory, besides summary.json, exhibits.json and samples.jsonl: answers/ (what was sampled, so
    that a continued evaluation goes on), scores.jsonl, summary.csv and summary.md.
    """

    def __init__(self, config: EvalStageConfig, *, parts: Any, seed: int) -> None:
        """Raises ConfigError for labels that clash, a reference or earlier answers that are not there."""
        self.config, self.parts, self.seed = config, parts, seed
        self.seeds = parts.run_config.seeds or [seed]
        self.models = labelled_models(parts.run_config.models, parts.run_config.model.path)
        if taken := sorted({RANDOM, SCALAR} & set(self.models)):
            raise ConfigError(f"a model cannot be called {taken[0]}, which stands beside the models; name it otherwise")
        self.reference = reference_of(self.models, config.reference)
        self.answering = Answering(self.models, config.answers, parts=parts)

    def evaluate(self, reporter: Reporter) -> dict[str, Any]:
        """summary.json of the run."""
        questions, told = questions_of(self.models, self.parts)
        scalar = scalar_model(self.config.scalar_reward, self.parts) if self.config.scalar_reward else None
        lists = [q.pairs for q in questions] + ([] if scalar is None else [scalar.ids])
        pairs = common_pairs(lists, self.config.limit)
        for line in told:
            reporter.message(line)
        questions = [question.of_pairs(pairs) for question in questions]
        entries = self._sampled(questions, reporter)
        entries += self._beside(questions[0].score_prompt, pairs, scalar, reporter)
        return self._finish(entries, pairs, reporter)

    def _sampled(self, questions: Sequence[Question], reporter: Reporter) -> list[Entry]:
        """One entry a model. Each seed's scores are written as soon as they are there."""
        found: dict[str, dict[int, Scored]] = {}
        for scored in sample_scores(
            self.answering, questions, self.seeds, self.config.samples_per_prompt, reporter
        ):  # fmt: skip
            found.setdefault(scored.label, {})[scored.seed] = scored
            reporter.samples(None, sample_rows(scored, seeds=len(self.seeds)))
            write_scores(self.parts.run_dir.path, [s for by_seed in found.values() for s in by_seed.values()])
        prompts = {q.label: q.score_prompt for q in questions}
        return [
            Entry(label, GENERATIVE, self.models[label], prompts[label], self._temperature(prompts[label]),
                  {seed: s.scores for seed, s in by_seed.items()}, by_seed)
            for label, by_seed in found.items()
        ]  # fmt: skip

    def _beside(
        self, score_prompt: ScorePrompt, pairs: Sequence[str], scalar: ScalarModel | None, reporter: Reporter
    ) -> list[Entry]:
        """The scalar model, whose scores no seed changes, and a random scorer on the scale of the first model."""
        n = self.config.samples_per_prompt
        chance = {seed: random_scores(score_prompt, len(pairs), n, seed) for seed in self.seeds}
        found = [Entry(RANDOM, RANDOM, "", score_prompt, self._temperature(score_prompt), chance)]
        if scalar is not None:
            scores: SideScores = scalar.scores(pairs, self.parts, reporter.message)
            found = [Entry(SCALAR, SCALAR, scalar.path, None, 1.0, dict.fromkeys(self.seeds, scores)), *found]
        return found

    def _temperature(self, score_prompt: ScorePrompt) -> float:
        asked = self.config.log_loss_temperature
        return scale_temperature(score_prompt) if asked is None else asked

    def _finish(self, entries: Sequence[Entry], pairs: Sequence[str], reporter: Reporter) -> dict[str, Any]:
        options: Mapping[str, Any] = {
            "confidence": self.config.confidence,
            "resamples": self.config.bootstrap_resamples,
            "seed": self.seed,
        }
        summary = generative_summary(entries, pairs, self.reference, options)
        exhibits = generative_exhibits(summary, entries, worst=self.config.worst_pairs)
        reporter.table("results", write_tables(self.parts.run_dir.path, summary, SHOWN, exhibits.findings))
        write_json_atomic(self.parts.run_dir.exhibits, exhibits.to_dict())
        for finding in exhibits.findings:
            reporter.message(f"{finding.verdict}: {finding.text}")
        return summary
