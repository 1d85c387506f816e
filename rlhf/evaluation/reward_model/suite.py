"""suite=reward_model: how often reward models order held-out pairs as the labels do, how sure they are, and why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlhf.config.sections import EvalStageConfig
from rlhf.errors import ConfigError, DataError
from rlhf.evaluation.models import file_names, labelled_models
from rlhf.evaluation.reporter import Reporter
from rlhf.evaluation.reward_model.analysis import Options, analyse
from rlhf.evaluation.reward_model.bench import write_rewardbench
from rlhf.evaluation.reward_model.comparison import baselines, common_pairs, compare
from rlhf.evaluation.reward_model.errors import write_errors
from rlhf.evaluation.reward_model.exhibits import exhibits
from rlhf.evaluation.reward_model.findings import text_summary
from rlhf.evaluation.reward_model.scored_pairs import ScoredPairs, read_scores, sample_rows, write_scores
from rlhf.evaluation.reward_model.scoring import read_pairs, score_model
from rlhf.tracking.files import write_json_atomic, write_text_atomic

SCORES = "scores.jsonl"


class RewardModelEvaluation:
    """Scores the same held-out pairs with every model, or takes the scores of an earlier run, and analyses them.

    Leaves in the run directory, besides summary.json and samples.jsonl: scores.jsonl, exhibits.json, summary.txt,
    errors.jsonl and errors.txt, and rewardbench/.
    """

    def __init__(self, config: EvalStageConfig, *, parts: Any, hardware: Any, seed: int) -> None:
        self.config, self.parts, self.hardware, self.seed = config, parts, hardware, seed
        self.run_config = parts.run_config

    def evaluate(self, reporter: Reporter) -> dict[str, Any]:
        """summary.json of the run."""
        folder = self.parts.run_dir.path
        folder.mkdir(parents=True, exist_ok=True)
        scored, counts, templates = self._earlier() if self.config.scores else self._score(reporter)
        models = list(scored.values())
        write_scores(folder / SCORES, models)
        for model in models:
            reporter.samples(None, sample_rows(model))
        options = Options(self.config.confidence, self.config.bootstrap_resamples, self.seed)
        summary = {
            "suite": "reward_model",
            "confidence": self.config.confidence,
            "pairs": counts,
            "models": {model.label: analyse(model, options) for model in models},
            "baselines": baselines(models[0], confidence=options.confidence),
            "comparisons": compare(models, **options.bootstrap),
        }
        for model, name in zip(models, file_names(scored).values(), strict=True):
            bench = write_rewardbench(folder, model, name, chat_template=templates[model.label])
            summary["models"][model.label]["rewardbench"] = bench
        write_errors(folder, models, self.config.worst_pairs)
        shown = exhibits(summary, models, worst=self.config.worst_pairs)
        write_json_atomic(self.parts.run_dir.exhibits, shown.to_dict())
        text = text_summary(summary)
        write_text_atomic(folder / "summary.txt", text + "\n")
        reporter.message(text)
        return summary

    def _score(self, reporter: Reporter) -> tuple[dict[str, ScoredPairs], dict[str, Any], dict[str, str]]:
        """The models' pairs with scores, what was read, and how each model renders its prompts."""
        paths = labelled_models(self.run_config.models, self.run_config.model.path)
        readings, counts = read_pairs(paths, self.parts, self.config.limit)
        for told in dict.fromkeys("\n".join(reading.report.lines()) for reading in readings.values()):
            reporter.message(told)
        if counts["not_for_every_model"]:
            reporter.message(f"{counts['not_for_every_model']} pairs are left out: not every model's rules keep them")
        scored = {
            label: score_model(label, path, readings[label], self.parts, self.hardware, reporter.message)
            for label, path in paths.items()
        }
        return scored, counts, {label: reading.renderer.mode for label, reading in readings.items()}

    def _earlier(self) -> tuple[dict[str, ScoredPairs], dict[str, Any], dict[str, str]]:
        """The same out of the scores.jsonl that evaluation.scores names."""
        scored, counts = earlier_scores(self.config.scores, self.run_config.models, self.config.limit)
        return scored, counts, dict.fromkeys(scored, "earlier")


def earlier_scores(run: str, models: Any, limit: int) -> tuple[dict[str, ScoredPairs], dict[str, Any]]:
    """The first `limit` pairs that all `models` (labels; None: all there are) of an earlier `run` scored; and counts.

    Raises ConfigError for a label that has no scores there, DataError where fewer than two pairs are left."""
    source = Path(run) / SCORES
    found = read_scores(source)
    labels = list(found) if models is None else list(labelled_models(models, ""))
    unknown = [label for label in labels if label not in found]
    if unknown:
        raise ConfigError(f"{source} has no scores of {', '.join(unknown)}; it has {', '.join(found)}")
    common = common_pairs({label: found[label] for label in labels})
    available = len(next(iter(common.values())).pairs)
    if available < 2:
        raise DataError(f"{source} has {available} pairs that all of these models scored; an interval needs two")
    counts = {
        "used": min(available, limit),
        "source": str(source),
        "available": available,
        "not_for_every_model": max(len(found[label].pairs) for label in labels) - available,
    }
    return {label: ScoredPairs(label, m.path, m.pairs[:limit], m.written) for label, m in common.items()}, counts
