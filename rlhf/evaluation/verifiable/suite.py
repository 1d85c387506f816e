"""suite=math: several answers to each held-out question, graded: accuracy, pass@k, maj@k, format, how answers fail."""

from __future__ import annotations

from typing import Any

from rlhf.config.sections import EvalStageConfig
from rlhf.config.verifiers import FROM_TEMPLATE
from rlhf.evaluation.answering import Answering
from rlhf.evaluation.models import labelled_models, reference_of
from rlhf.evaluation.policy.export import export_answers
from rlhf.evaluation.policy.models import Reader, common_prompts, readers_of
from rlhf.evaluation.reporter import Reporter
from rlhf.evaluation.verifiable.console import summary_lines
from rlhf.evaluation.verifiable.exhibits import verifiable_exhibits
from rlhf.evaluation.verifiable.measures import Graded, graded
from rlhf.evaluation.verifiable.reading import answer_reader
from rlhf.evaluation.verifiable.summary import summary_of
from rlhf.rewards.verifiers.build import check_prompts
from rlhf.rollout.samples import sample_rows
from rlhf.tracking.files import write_json_atomic
from rlhf.types import Prompt


class VerifiableEvaluation:
    """Samples, grades and compares. One model is in memory at a time."""

    def __init__(self, config: EvalStageConfig, *, parts: Any, seed: int) -> None:
        """Raises ConfigError for labels that clash, a reference or earlier answers that are not there."""
        self.config, self.parts, self.run_config, self.seed = config, parts, parts.run_config, seed
        self.models = labelled_models(self.run_config.models, self.run_config.model.path)
        self.reference = reference_of(self.models, config.reference)
        self.read = answer_reader(getattr(self.run_config.reward, "extractor", FROM_TEMPLATE))
        self.answering = Answering(self.models, config.answers, parts=parts)

    def evaluate(self, reporter: Reporter) -> dict[str, Any]:
        """summary.json of the run; its exhibits, answers and samples/ are written on the way."""
        readers = readers_of(self.models, self.run_config)
        prompts, told = common_prompts(readers, self.run_config, self.config.limit)
        for line in told:
            reporter.message(line)
        check_prompts(self.run_config.reward, prompts)
        found: dict[str, Graded] = {}
        about: dict[str, dict[str, Any]] = {}
        for label in self.models:
            found[label], about[label] = self._grade(label, readers[label], prompts, reporter)
        options = {
            "confidence": self.config.confidence,
            "resamples": self.config.bootstrap_resamples,
            "seed": self.seed,
        }
        summary = summary_of(found, self.models, self.reference, about, options)
        exhibits = verifiable_exhibits(summary, found, self.config.samples_in_report)
        write_json_atomic(self.parts.run_dir.exhibits, exhibits.to_dict())
        for line in [*summary_lines(summary), *(f"{f.verdict}: {f.text}" for f in exhibits.findings)]:
            reporter.message(line)
        return summary

    def _grade(
        self, label: str, reader: Reader, prompts: tuple[Prompt, ...], reporter: Reporter
    ) -> tuple[Graded, dict[str, Any]]:
        respondent = self.answering.load(label, reader)
        rollouts, where = self.answering.answers(respondent, prompts, self.config.samples_per_prompt, reporter)
        scores = self.parts.reward.score(rollouts)
        found = graded(rollouts, scores, self.read)
        columns = {"model": [label] * len(rollouts), "outcome": found.outcomes()}
        columns["reference_answer"] = [r.prompt.reference_answer for r in rollouts]
        rows = sample_rows(rollouts, scores, **columns)
        reporter.samples(None, rows)
        if self.config.export:
            export_answers(self.parts.run_dir.path, self.answering.names[label], label, rows, self.config.export)
        return found, {"model": respondent.fingerprint, **where}
