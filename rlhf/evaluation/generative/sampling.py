"""The scores that models write for pairs: sampled once, block by block, and kept in the run directory."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import Any

from rlhf.evaluation.answering import Answering
from rlhf.evaluation.generative.asking import Question
from rlhf.evaluation.generative.scores import Scored, scored_pairs
from rlhf.evaluation.models import file_names
from rlhf.evaluation.reporter import Reporter

BLOCK_PAIRS = 32
"""Pairs whose answers are kept together: what an interruption costs at most."""


def sample_scores(
    answering: Answering, questions: Sequence[Question], seeds: Sequence[int], samples: int, reporter: Reporter
) -> Iterator[Scored]:
    """`samples` scores of each side under each seed, question by question; one model is in memory at a time.

    Answers lie in answers/<model>.<score prompt>.seed<seed>.jsonl, and while they are sampled in one file a block."""
    stop = answering.run_config.rollout.stop
    names = file_names(dict.fromkeys(q.score_prompt.name for q in questions))
    by_model: dict[str, list[Question]] = {}
    for question in questions:
        by_model.setdefault(question.label, []).append(question)
    for label, asked in by_model.items():
        respondent: Any = answering.load(label, asked[0].reader)
        for question in asked:
            for seed in seeds:
                suffix = f".{names[question.score_prompt.name]}.seed{seed}"
                rollouts, _ = answering.answers(
                    respondent, question.prompts, samples, reporter, suffix=suffix, seed=seed, block=2 * BLOCK_PAIRS
                )
                about = {"label": label, "path": question.reader.path, "seed": seed, "stop": stop}
                yield scored_pairs(rollouts, question.score_prompt, **about)
        del respondent
        gc.collect()
