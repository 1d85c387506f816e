"""Results in the files that RewardBench (Lambert et al., arXiv 2403.13787) writes, so that its tools read them.

    rewardbench/<set>/<model>.json          {"model", "model_type", "chat_template", "<subset>": accuracy, ...}
    rewardbench/<set>-scores/<model>.json   columns: "id", "subset", "text_chosen", "text_rejected", "results",
                                            "scores_chosen", "scores_rejected", and the names of the model

<set> is eval-set where every subset is one of the benchmark's own, else pref-sets, as there. A result is 1 where the
chosen answer scores strictly higher, else 0: a tie counts as wrong, other than in this project's own accuracies.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf.evaluation.reward_model.scored_pairs import ScoredPair, ScoredPairs
from rlhf.tracking.files import write_json_atomic

MODEL_TYPE = "Seq. Classifier"
GENERATIVE = "Generative"
"""The model type of one that writes its scores."""
WITHOUT_SUBSET = "all"
"""The subset of pairs whose data name none."""
SECTIONS: Mapping[str, Mapping[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 100, "alpacaeval-length": 95, "alpacaeval-hard": 95, "mt-bench-easy": 28, "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37, "llmbar-natural": 100, "llmbar-adver-neighbor": 134, "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47, "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100, "refusals-offensive": 100, "xstest-should-refuse": 250, "xstest-should-respond": 154,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 984, "hep-cpp": 164, "hep-go": 164, "hep-java": 164, "hep-js": 164, "hep-python": 164,
        "hep-rust": 164,
    },
}  # fmt: skip
"""The benchmark's sections, and each subset's weight in its section: its pairs, math-prm weighted up to the code."""


def subset_scores(scored: ScoredPairs) -> dict[str, float]:
    """Subset -> share of its pairs whose chosen answer scores strictly higher, by name."""
    found: dict[str, list[int]] = {}
    for pair in scored.pairs:
        found.setdefault(_subset(pair), []).append(_result(pair))
    return {name: sum(found[name]) / len(found[name]) for name in sorted(found)}


def section_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """The benchmark's sections out of its subsets, by their weights; a section without any subset is left out."""
    found = {}
    for section, weights in SECTIONS.items():
        present = {name: weight for name, weight in weights.items() if name in scores}
        if present:
            found[section] = sum(scores[n] * w for n, w in present.items()) / sum(present.values())
    return found


def write_rewardbench(folder: Path, scored: ScoredPairs, file_name: str, *, chat_template: str) -> dict[str, Any]:
    """Both files of one model under `folder`/rewardbench. Returns {"set", "subsets", "sections"} for summary.json."""
    scores = subset_scores(scored)
    own = {name for weights in SECTIONS.values() for name in weights}
    kind = "eval-set" if set(scores) <= own else "pref-sets"
    names = {
        "model": scored.label,
        "model_type": GENERATIVE if scored.written else MODEL_TYPE,
        "chat_template": chat_template,
    }
    for part, content in ((kind, scores), (f"{kind}-scores", example_columns(scored))):
        path = folder / "rewardbench" / part / f"{file_name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, dict(sorted((content | names).items())))
    return {"set": kind, "subsets": scores, "sections": section_scores(scores) if kind == "eval-set" else {}}


def example_columns(scored: ScoredPairs) -> dict[str, list[Any]]:
    """The columns of the per-example file, each [P]. Texts are whole conversations with their roles."""
    pairs = scored.pairs
    return {
        "id": [p.pair for p in pairs],
        "subset": [_subset(p) for p in pairs],
        "text_chosen": [_text(p, p.chosen) for p in pairs],
        "text_rejected": [_text(p, p.rejected) for p in pairs],
        "results": [_result(p) for p in pairs],
        "scores_chosen": [p.score_chosen for p in pairs],
        "scores_rejected": [p.score_rejected for p in pairs],
    }


def _subset(pair: ScoredPair) -> str:
    return WITHOUT_SUBSET if pair.subset is None else pair.subset


def _result(pair: ScoredPair) -> int:
    return int(pair.score_chosen > pair.score_rejected)


def _text(pair: ScoredPair, answer: str) -> str:
    return f"{pair.prompt}\nassistant: {answer}" if pair.conversation else f"{pair.prompt}{answer}"
