"""A sampler that writes scores by rule, in the place of a language model: what the suites do with texts needs none."""

from __future__ import annotations

import random
from typing import ClassVar

from rlhf.types import Rollout

QUALITY = {"one": 0.5, "two": 2.0}
"""How far a model, by the name of its folder, moves the preferred side's score up and the other's down."""


class Scripted:
    """Each text depends on (seed, prompt id, sample) and the model alone, as real samples do."""

    asked: ClassVar[list[str]] = []  # ids of prompts, of all of them

    def __init__(self, model, tokenizer, renderer, rollout=None, *, seed=None):
        self.renderer, self.seed = renderer, seed
        path = str(model.config._name_or_path)
        self.quality = next((q for name, q in QUALITY.items() if f"/{name}" in path), 0.0)

    def sample(self, prompts, num_samples, *, step):
        Scripted.asked += [prompt.id for prompt in prompts]
        return [self._rollout(prompt, sample) for prompt in prompts for sample in range(num_samples)]

    def _rollout(self, prompt, sample):
        rng = random.Random(f"{self.seed} {prompt.id} {sample}")
        about = prompt.metadata
        towards = 1 if about["side"] == about["preferred_side"] else -1
        score = round(3 + towards * self.quality / 2 + rng.gauss(0, 1))
        text = rng.choice([f"<s>{score}</s>"] * 8 + [f"<s>{score}", f"<s>{score}</s> or <s>1</s>"])
        ids = tuple(self.renderer.text_ids(text))
        return Rollout(prompt, self.renderer.prompt_ids(prompt), ids, (0.0,) * len(ids), text, "eos", sample)


class Memory:
    """A reporter that remembers."""

    def __init__(self):
        self.rows, self.told, self.tables = [], [], {}

    def message(self, text):
        self.told.append(text)

    def samples(self, step, rows):
        self.rows += rows

    def table(self, name, rows):
        self.tables[name] = rows
