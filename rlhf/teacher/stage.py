"""stage=teacher: scores of preference pairs by a teacher, and the SFT examples made of them.

teacher.jsonl      every pair: split, pair_id, preferred_side, scores and reasons of side 0 and 1, order, failure, cost
sft/train.jsonl    the examples, for dataset=teacher_scores; sft/eval.jsonl likewise
summary.json       counts, agreement with the annotators, spread of the scores, cost
exhibits.json      the same for the report, with pairs in full
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from rlhf.config.score_prompts import load_score_prompt
from rlhf.config.teacher import TeacherConfig
from rlhf.errors import DataError
from rlhf.teacher.build import build_teacher
from rlhf.teacher.examples import build_examples, order_of
from rlhf.teacher.findings import findings_of
from rlhf.teacher.pages import exhibits_of
from rlhf.teacher.questions import Question, parts_of, read_questions
from rlhf.teacher.statistics import split_statistics
from rlhf.teacher.types import Scored, levels_of
from rlhf.tracking.files import write_json_atomic, write_jsonl_atomic

SFT_FOLDER = "sft"


class Reporter(Protocol):
    """Where progress goes."""

    def message(self, text: str) -> None: ...


class TeacherScoring:
    """Asks a teacher about the pairs of a dataset. A tokenizer is loaded, and no weights but a reward model's."""

    def __init__(self, config: TeacherConfig, *, run_config: Any, run_dir: Any, renderer: Any, parts: Any) -> None:
        self.config, self.dataset, self.run_dir, self.renderer = config, run_config.dataset, run_dir, renderer
        self.seed = run_config.seed
        self.score_prompt = load_score_prompt(self.dataset.score_prompt)
        self.teacher = build_teacher(
            config, self.score_prompt, seed=self.seed, load_learned=parts.load_learned_reward
        )  # before any data is read: a missing key is told at once

    def evaluate(self, reporter: Reporter) -> dict[str, Any]:
        """summary.json of the run; everything else is written on the way.

        Raises DataError where the first part leaves no example, JudgeError where the teacher cannot be asked, Preempted
        after SIGTERM: what was paid for is kept, and a resumed run asks for the rest alone."""
        start = time.monotonic()
        questions = {}
        for split in parts_of(self.dataset, self.config.split):
            questions[split], report = read_questions(self.dataset, split, self.renderer)
            for line in report.lines():
                reporter.message(line)
        results = self._score(questions, reporter)
        examples = {split: build_examples(*result, self.config, self.score_prompt) for split, result in results.items()}
        levels = levels_of(self.score_prompt)
        stats = {split: split_statistics(*results[split], examples[split], levels) for split in results}
        findings = findings_of(stats, self.teacher.name)
        shown = exhibits_of(stats, results, findings, samples=self.config.samples, seed=self.seed)
        (self.run_dir.path / SFT_FOLDER).mkdir(exist_ok=True)
        for split, found in examples.items():
            if found.rows:
                write_jsonl_atomic(self.run_dir.path / SFT_FOLDER / f"{split}.jsonl", found.rows)
        write_jsonl_atomic(self.run_dir.path / "teacher.jsonl", _rows(results))
        write_json_atomic(self.run_dir.exhibits, shown.to_dict())
        for finding in findings:
            reporter.message(f"- {finding.verdict}. {finding.text}")
        summary = {
            "stage": "teacher",
            "teacher": self.teacher.name,
            "score_prompt": self.score_prompt.name,
            "splits": stats,
            "cost_usd": sum(found["cost_usd"] for found in stats.values()),
            "spent_usd": self.teacher.spent_usd,  # by this process
            "findings": [{"tone": f.tone, "verdict": f.verdict, "text": f.text} for f in findings],
            "seconds": time.monotonic() - start,
        }
        if not next(iter(examples.values())).rows:
            write_json_atomic(self.run_dir.summary, summary)
            raise DataError(_nothing_left(stats))
        return summary

    def _score(
        self, questions: dict[str, list[Question]], reporter: Reporter
    ) -> dict[str, tuple[list[Question], list[Scored]]]:
        """All parts in one call: one limit on cost, one scale of ranks."""
        every = [q for part in questions.values() for q in part]
        scored = iter(self.teacher.score(every, reporter.message))
        return {split: (part, [next(scored) for _ in part]) for split, part in questions.items()}


def _rows(results: dict[str, tuple[list[Question], list[Scored]]]) -> list[dict[str, Any]]:
    return [_row(split, *pair) for split, result in results.items() for pair in zip(*result, strict=True)]


def _row(split: str, question: Question, said: Scored) -> dict[str, Any]:
    return {
        "split": split,
        "pair_id": question.pair_id,
        "preferred_side": question.preferred_side,
        "scores": said.scores,
        "reasons": said.reasons if said.scores is not None else None,
        "order": order_of(question, said),
        "failure": said.failure,
        "cost_usd": said.cost_usd,
        "input_tokens": said.input_tokens,
        "output_tokens": said.output_tokens,
        "cached": said.cached,
    }


def _nothing_left(stats: dict[str, Any]) -> str:
    reasons: Sequence[str] = [
        f"{reason} {number}"
        for found in stats.values()
        for key in ("dropped", "left_out")
        for reason, number in found[key].items()
    ]
    return f"the teacher's scores leave no example: {', '.join(reasons)}; see teacher.keep and teacher.reason"
