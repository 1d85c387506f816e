"""A language model that reads an answer and writes its score, as a reward."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Sequence

import torch

from rlhf.config.score_prompts import ScorePrompt
from rlhf.data.pointwise import score_request
from rlhf.data.rendering import Renderer
from rlhf.rewards.checking import checked
from rlhf.rewards.score_parsers import ParsedScore
from rlhf.rewards.score_sampling import ScoreSampler, failure_components, mean_score
from rlhf.types import Prompt, RewardScores, Rollout

STEP = 0
"""The step that scores are sampled under: an answer has the same score whenever it is asked for."""


class GenerativeReward:
    """The mean of the scores that a model writes for an answer, in score points; `unparsable` where none can be read.

    Equal answers to one prompt are scored once, and the score depends on the seed, the model, the prompt and the answer
    alone: not on the step, nor on what else is scored.

    Components: parsed, failed_<reason> and several_tags (shares of the answer's samples), spread (standard deviation of
    its scores, score points; NaN below two), prompt_cut (0 | 1: the model did not see the whole request).
    """

    def __init__(
        self,
        sampler: ScoreSampler,
        renderer: Renderer,
        *,
        model: torch.nn.Module,
        max_new_tokens: int,
        unparsable: float,
        name: str,
    ) -> None:
        """`renderer` and `max_new_tokens` are the sampler's; `model`, what it samples from, is frozen from now on."""
        self.sampler, self.renderer, self.unparsable, self.name = sampler, renderer, unparsable, name
        self.max_new_tokens = max_new_tokens
        self.model = model.eval().requires_grad_(False)

    @property
    def score_prompt(self) -> ScorePrompt:
        """How the model is asked."""
        return self.sampler.score_prompt

    def score(self, rollouts: Sequence[Rollout]) -> RewardScores:
        """One score an answer. Whether an answer was cut by the token limit is not seen: its text alone is read."""
        requests = [self.request(rollout.prompt, rollout.text) for rollout in rollouts]
        different = list({request.id: request for request in requests}.values())
        asked = self.sampler.scores(different, step=STEP)
        by_id = {request.id: row for request, row in zip(different, asked, strict=True)}
        scores = [by_id[request.id] for request in requests]
        means = [mean_score(row) for row in scores]
        components = failure_components(scores)
        components["spread"] = [_spread(row) for row in scores]
        components["prompt_cut"] = [float(self.renderer.prompt_was_truncated(request)) for request in requests]
        total = [self.unparsable if mean is None else mean for mean in means]
        return checked(self.name, RewardScores(total, components), rollouts)

    def tokens_of(self, rollouts: Sequence[Rollout]) -> int:
        """Tokens that the model reads and at most writes for the scores of `rollouts`, each request read once."""
        requests = {request.id: request for request in (self.request(r.prompt, r.text) for r in rollouts)}
        written = self.sampler.samples * self.max_new_tokens
        return sum(len(self.renderer.prompt_ids(request)) + written for request in requests.values())

    def request(self, prompt: Prompt, answer: str) -> Prompt:
        """The prompt that asks for the score of `answer`. Its id follows from the texts."""
        written = repr((prompt.as_text(), answer)).encode(errors="surrogatepass")
        name = f"{prompt.id}/{hashlib.sha256(written).hexdigest()[:16]}"
        return score_request(prompt, answer, self.score_prompt, id=name, metadata={})


def _spread(scores: Sequence[ParsedScore]) -> float:
    values = [score.value for score in scores if score.value is not None]
    return statistics.pstdev(values) if len(values) > 1 else math.nan
