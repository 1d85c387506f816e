"""The decoding loop: prefill each prompt once, then one token a step for every answer still going."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from rlhf.rollout.cache import new_cache
from rlhf.rollout.choice import choose_tokens
from rlhf.rollout.random_numbers import uniforms
from rlhf.rollout.stopping import StoppingRule
from rlhf.types import FinishReason, SamplingDistribution

COMPACT_BELOW = 0.9  # share of rows still going below which finished rows leave the batch


@dataclass
class Answer:
    """One answer while it is sampled."""

    prompt: int  # which prompt of the call
    key: int  # of its random numbers
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason | None = None


class Decoder:
    """Fills answers in, batch by batch."""

    def __init__(self, model: nn.Module, rule: StoppingRule, distribution: SamplingDistribution, pad_token_id: int):
        self.model = model
        self.rule = rule
        self.distribution = distribution
        self.pad_token_id = pad_token_id

    def decode(self, prompts: Sequence[tuple[int, ...]], answers: Sequence[Answer]) -> None:
        """Sample every answer to its end. `answers` of one prompt are neighbours."""
        device = self.model.device
        numbers = sorted({answer.prompt for answer in answers})
        ids, mask = self._left_padded([prompts[number] for number in numbers], device)
        cache = new_cache(self.model.config)
        logits = self._step(ids, mask, (mask.cumsum(dim=-1) - 1).clamp_(min=0), cache)  # [P, V]
        row_of = {number: row for row, number in enumerate(numbers)}
        rows = torch.tensor([row_of[answer.prompt] for answer in answers], device=device)
        cache.reorder_cache(rows)
        logits, mask = logits[rows], mask[rows]
        lengths = mask.sum(dim=-1)  # [B] tokens so far; also the next token's position

        going = list(answers)
        draws = self._draws(going, device)  # [B, max_new]
        for position in range(self.rule.max_new_tokens):
            tokens, logprobs = choose_tokens(logits, draws[:, position], self.distribution)
            self._record(going, tokens, logprobs)
            left = [row for row, answer in enumerate(going) if answer.finish is None]
            if not left:
                return
            if len(left) < COMPACT_BELOW * len(going):
                keep = torch.tensor(left, device=device)
                cache.reorder_cache(keep)
                tokens, mask, lengths, draws = tokens[keep], mask[keep], lengths[keep], draws[keep]
                going = [going[row] for row in left]
            mask = torch.nn.functional.pad(mask, (0, 1), value=1)
            logits = self._step(tokens[:, None], mask, lengths[:, None], cache)
            lengths = lengths + 1

    def _step(self, ids: Tensor, mask: Tensor, positions: Tensor, cache) -> Tensor:
        """[B, V] logits of the token after the last column."""
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

    def _record(self, going: list[Answer], tokens: Tensor, logprobs: Tensor) -> None:
        for answer, token, logprob in zip(going, tokens.tolist(), logprobs.tolist(), strict=True):
            if answer.finish is None:
                answer.ids.append(token)
                answer.logprobs.append(logprob)
                answer.finish = self.rule.finish(answer.ids)

    def _draws(self, answers: list[Answer], device: torch.device) -> Tensor:
        keys = np.array([answer.key for answer in answers], dtype=np.uint64)
        values = uniforms(keys, np.arange(self.rule.max_new_tokens))
        return torch.from_numpy(values.astype(np.float32)).to(device)

    def _left_padded(self, prompts: list[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
        """[P, L] ids and mask; padding on the left, so that new tokens of all rows share a column."""
        width = max(len(prompt) for prompt in prompts)
        ids = torch.full((len(prompts), width), self.pad_token_id, dtype=torch.long)
        mask = torch.zeros(len(prompts), width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
            mask[row, width - len(prompt) :] = 1
        return ids.to(device), mask.to(device)
