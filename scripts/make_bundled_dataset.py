"""Make the bundled preference dataset from the prompts and styles of `bundled_prompts.py`.

SmolLM2-135M-Instruct answers every prompt in several styles, the gold reward scores the answers, and pairs of answers
to the same prompt are labelled by it, with some of the labels flipped at random. With the package installed, run it
from the repository root:

    python scripts/make_bundled_dataset.py --out rlhf/data/bundled --seed 0
"""

import argparse
import itertools
import json
import math
import os
import random
from collections import Counter
from pathlib import Path
from statistics import fmean, pstdev, quantiles
from string import Template

from bundled_prompts import PROMPTS, STYLES
from bundled_sampling import TEMPERATURE, TOP_P, is_usable, load_sampler, sample_style

from rlhf.rewards.gold import count_words, gold_score

TEST_SHARE = 0.2
"""Share of the prompts of each category that is held out."""
NOISE_RATE = 0.1
"""Probability that the label of a pair is flipped."""
MIN_GOLD_GAP = 0.1
"""Smallest difference in gold reward between the two answers of a pair."""
MAX_PAIRS = {"train": 5, "test": 4}
"""Most pairs made from one prompt."""
MAX_PAIRS_PER_ANSWER = 3
DEMONSTRATIONS_PER_PROMPT = 4
CARD_TEMPLATE = Path(__file__).with_name("bundled_card.md")

Answers = dict[str, list[str]]
"""Usable answers to one prompt, by the name of the style they were sampled in."""


def select_prompts(limit: int | None) -> dict[str, tuple[str, ...]]:
    """Return the prompts to use by category: all, or about `limit` spread evenly with two or more per category."""
    if limit is None:
        return PROMPTS
    per_category = max(2, math.ceil(limit / len(PROMPTS)))
    return {category: prompts[:per_category] for category, prompts in PROMPTS.items()}


def split_prompts(selected: dict[str, tuple[str, ...]], rng: random.Random) -> dict[str, list[tuple[str, str]]]:
    """Return the (category, prompt) rows of the train and test split, held out per category."""
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    for category, prompts in selected.items():
        held_out = set(rng.sample(prompts, max(1, round(TEST_SHARE * len(prompts)))))
        for prompt in prompts:
            splits["test" if prompt in held_out else "train"].append((category, prompt))
    return splits


def sample_answers(prompts: list[str], seed: int) -> dict[str, dict[str, list[str]]]:
    """Sample answers that reached their end: style name -> prompt -> answers, unfiltered.

    Each style has a seed of its own, so that a change to one style leaves the answers of the others as they were.
    """
    sampler = load_sampler()
    sampled = {}
    for index, style in enumerate(STYLES):
        answers = sample_style(sampler, style, prompts, seed + index)
        sampled[style.name] = dict(zip(prompts, answers, strict=True))
    return sampled


def usable_answers(sampled: dict[str, dict[str, list[str]]], prompt: str) -> Answers:
    """Return the usable answers to a prompt by style, each text once."""
    seen: set[str] = set()
    answers: Answers = {}
    for style, by_prompt in sampled.items():
        fresh = [text for text in dict.fromkeys(by_prompt[prompt]) if text not in seen and is_usable(text)]
        seen.update(fresh)
        answers[style] = fresh
    return answers


def make_pairs(answers: Answers, most: int, rng: random.Random) -> list[dict]:
    """Draw pairs of answers to one prompt and label them by gold reward with noise (rows without id and prompt)."""
    texts = [text for group in answers.values() for text in group]
    gold = {text: round(gold_score(text).total, 4) for text in texts}
    candidates = [
        (first, second)
        for first, second in itertools.combinations(texts, 2)
        if abs(gold[first] - gold[second]) >= MIN_GOLD_GAP
    ]
    rng.shuffle(candidates)
    uses: Counter[str] = Counter()
    rows: list[dict] = []
    for pair in candidates:
        if len(rows) == most or max(uses[text] for text in pair) == MAX_PAIRS_PER_ANSWER:
            continue
        uses.update(pair)
        flipped = rng.random() < NOISE_RATE
        chosen, rejected = sorted(pair, key=gold.__getitem__, reverse=not flipped)
        rows.append(
            {
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
                "gold_chosen": gold[chosen],
                "gold_rejected": gold[rejected],
                "flipped": flipped,
            }
        )
    return rows


def draw_demonstrations(answers: Answers, rng: random.Random) -> list[dict]:
    """Draw one answer from each of a few randomly chosen styles, whatever its gold reward."""
    styles = [style for style, texts in answers.items() if texts]
    rng.shuffle(styles)
    return [{"answer": rng.choice(answers[style])} for style in styles[:DEMONSTRATIONS_PER_PROMPT]]


def make_tables(splits: dict, pools: dict[str, Answers], rng: random.Random) -> dict[str, list[dict]]:
    """Return the rows of every file of the dataset, by file name without its suffix."""
    tables: dict[str, list[dict]] = {}
    for split, rows in splits.items():
        made: dict[str, list[dict]] = {"pairs": [], "demonstrations": [], "prompts": []}
        for category, prompt in rows:
            shared = {"category": category, "prompt": [{"role": "user", "content": prompt}]}
            made["pairs"] += [shared | row for row in make_pairs(pools[prompt], MAX_PAIRS[split], rng)]
            made["demonstrations"] += [shared | row for row in draw_demonstrations(pools[prompt], rng)]
            made["prompts"].append(shared)
        for kind, table in made.items():
            tables[f"{kind}_{split}"] = [{"id": f"{split}-{i:04d}"} | row for i, row in enumerate(table, start=1)]
    return tables


def describe_numbers(values: list[float], digits: int) -> str:
    """Return mean, standard deviation and the 5, 25, 50, 75 and 95 % quantiles as cells of a Markdown table."""
    twentieths = quantiles(values, n=20, method="inclusive")
    numbers = [fmean(values), pstdev(values), *(twentieths[i] for i in (0, 4, 9, 14, 18))]
    return " | ".join(f"{number:.{digits}f}" for number in numbers)


def longer_wins(pairs: list[dict]) -> float:
    """Return how often the rule "the answer with more words is the chosen one" is right; equal lengths count half."""
    gaps = [count_words(row["chosen"][0]["content"]) - count_words(row["rejected"][0]["content"]) for row in pairs]
    return fmean(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps)


def style_rows(sampled: dict, pools: dict[str, Answers]) -> str:
    """Return one Markdown table row per style: sampled, finished, usable and the mean gold of the usable answers."""
    lines = []
    for style in STYLES:
        asked = style.copies * len(pools)
        finished = sum(map(len, sampled[style.name].values()))
        kept = [text for answers in pools.values() for text in answers[style.name]]
        gold = fmean(gold_score(text).total for text in kept)
        lines.append(f"| {style.name} | {asked} | {finished / asked:.1%} | {len(kept) / asked:.1%} | {gold:.2f} |")
    return "\n".join(lines)


def fill_card(tables: dict[str, list[dict]], sampled: dict, pools: dict[str, Answers], seed: int) -> str:
    """Return the dataset card with the numbers of this run."""
    facts: dict[str, object] = {"seed": seed, "temperature": TEMPERATURE, "top_p": TOP_P, "gap": MIN_GOLD_GAP}
    facts |= {"noise": f"{NOISE_RATE:.0%}", "categories": len(PROMPTS), "styles": style_rows(sampled, pools)}
    facts |= {f"n_{name}": len(rows) for name, rows in tables.items()}
    texts = [text for answers in pools.values() for group in answers.values() for text in group]
    for split in ("train", "test"):
        pairs, demonstrations = tables[f"pairs_{split}"], [row["answer"] for row in tables[f"demonstrations_{split}"]]
        facts[f"agreement_{split}"] = f"{fmean(not row['flipped'] for row in pairs):.1%}"
        facts[f"longer_{split}"] = f"{longer_wins(pairs):.1%}"
        facts[f"gold_{split}"] = describe_numbers([gold_score(text).total for text in demonstrations], 2)
        facts[f"words_{split}"] = describe_numbers([float(count_words(text)) for text in demonstrations], 1)
    facts["gold_pool"] = describe_numbers([gold_score(text).total for text in texts], 2)
    facts["words_pool"] = describe_numbers([float(count_words(text)) for text in texts], 1)
    facts["n_pool"] = len(texts)
    return Template(CARD_TEMPLATE.read_text(encoding="utf-8")).substitute(facts)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees either the old file or the whole new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def main() -> None:
    """Sample, label and write the dataset."""
    parser = argparse.ArgumentParser(description="Make the bundled preference dataset.")
    parser.add_argument("--out", type=Path, default=Path("rlhf/data/bundled"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split, the sampling, the pairs and the noise")
    parser.add_argument("--prompts", type=int, default=None, help="use about this many prompts only, for a quick try")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    selected = select_prompts(options.prompts)
    splits = split_prompts(selected, rng)
    prompts = [prompt for group in selected.values() for prompt in group]
    sampled = sample_answers(prompts, options.seed)
    pools = {prompt: usable_answers(sampled, prompt) for prompt in prompts}
    tables = make_tables(splits, pools, rng)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")) for row in rows)
        write_atomically(options.out / f"{name}.jsonl", "\n".join(lines) + "\n")
    write_atomically(options.out / "README.md", fill_card(tables, sampled, pools, options.seed))


if __name__ == "__main__":
    main()
