"""suite=score_variance: whether a score prompt gives GRPO something to learn from, before any training."""

from __future__ import annotations

from typing import Any

from rlhf.config.score_rewards import scale_temperature
from rlhf.config.sections import EvalStageConfig
from rlhf.evaluation.answering import Answering
from rlhf.evaluation.generative.asking import common_pairs, questions_of
from rlhf.evaluation.generative.entries import GENERATIVE, Entry
from rlhf.evaluation.generative.records import sample_rows, side_by_side, write_scores
from rlhf.evaluation.generative.sampling import sample_scores
from rlhf.evaluation.generative.scores import Scored
from rlhf.evaluation.generative.summary import variance_summary
from rlhf.evaluation.generative.tables import write_tables
from rlhf.evaluation.generative.variance_exhibits import variance_exhibits
from rlhf.evaluation.models import labelled_models
from rlhf.evaluation.reporter import Reporter
from rlhf.tracking.files import write_json_atomic

SHOWN = ("parse_rate", "spread_rate", "mixed_rate", "expected_correct", "expected_correct_strict", "accuracy",
         "tie_rate", "within_side", "within_pair", "between_pairs")  # fmt: skip
"""Figures of summary.md."""


class ScoreVariance:
    """Samples several scores of each side of the same pairs, under every score prompt asked for.

    Leaves in the run directory what suite=generative_rm leaves.
    """

    def __init__(self, config: EvalStageConfig, *, parts: Any, seed: int) -> None:
        """Raises ConfigError for labels that clash, or earlier answers that are not there."""
        self.config, self.parts, self.seed = config, parts, seed
        self.models = labelled_models(parts.run_config.models, parts.run_config.model.path)
        self.answering = Answering(self.models, config.answers, parts=parts)

    def evaluate(self, reporter: Reporter) -> dict[str, Any]:
        """summary.json of the run."""
        questions, told = questions_of(self.models, self.parts)
        for line in told:
            reporter.message(line)
        pairs = common_pairs([q.pairs for q in questions], self.config.limit)
        questions = [question.of_pairs(pairs) for question in questions]
        found: list[Scored] = []
        entries = []
        samples = self.config.samples_per_prompt
        for scored in sample_scores(self.answering, questions, [self.seed], samples, reporter):
            found.append(scored)
            entries.append(self._entry(scored))
            write_scores(self.parts.run_dir.path, found)
        rows = [sample_rows(scored, model=entry.label) for scored, entry in zip(found, entries, strict=True)]
        reporter.samples(None, side_by_side(rows))
        options = {
            "confidence": self.config.confidence,
            "resamples": self.config.bootstrap_resamples,
            "seed": self.seed,
        }
        summary = variance_summary(entries, pairs, options)
        exhibits = variance_exhibits(summary, entries, examples=self.config.samples_in_report)
        reporter.table("results", write_tables(self.parts.run_dir.path, summary, SHOWN, exhibits.findings))
        write_json_atomic(self.parts.run_dir.exhibits, exhibits.to_dict())
        for finding in exhibits.findings:
            reporter.message(f"{finding.verdict}: {finding.text}")
        return summary

    def _entry(self, scored: Scored) -> Entry:
        """Named after its score prompt, and after its model where there are several."""
        prompt = scored.score_prompt
        label = prompt.name if len(self.models) == 1 else f"{scored.label}, {prompt.name}"
        runs, texts = {scored.seed: scored.scores}, {scored.seed: scored}
        return Entry(label, GENERATIVE, scored.path, prompt, scale_temperature(prompt), runs, texts)
