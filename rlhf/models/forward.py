"""The forward pass over packed batches: the only place where a trainer's batch meets a model."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from rlhf.algorithms.logprobs import token_entropy, token_logprobs, warp_logits
from rlhf.errors import ModelError
from rlhf.models.architecture import body_of, has_plain_head, max_positions, score_head_of, unwrap
from rlhf.models.head import head_logprobs, scoring_dtype
from rlhf.models.rows import Rows, pad_rows
from rlhf.types import PackedBatch, SamplingDistribution, TokenScores

logger = logging.getLogger(__name__)


class PackedForward(nn.Module):
    """A decoder that scores packed batches. Wrap the model once; DDP and FSDP may wrap this module.

        forward = PackedForward(model, pad_token_id=tokenizer.pad_token_id)
        scores = forward(batch, SamplingDistribution(temperature=0.7))   # TokenScores, [B, T]

    Rows are padded on the right, so no token that counts ever attends to padding, and `pad_token_id` may be any token.
    Only positions that predict a counted answer token go through the head.
    """

    def __init__(self, model: nn.Module, *, pad_token_id: int, chunk_tokens: int = 128):
        """`chunk_tokens`: positions whose [n, V] logits exist at once."""
        super().__init__()
        self.model = model
        self.pad_token_id = pad_token_id
        self.chunk_tokens = chunk_tokens
        self.max_positions = max_positions(model)
        self.score_head = score_head_of(model) is not None
        self.plain_head = not self.score_head and has_plain_head(model)
        if not self.plain_head and unwrap(model).get_output_embeddings() is not None:
            name = type(unwrap(model)).__name__
            logger.info("%s has no plain linear head: whole logits are computed, which takes more memory", name)

    def forward(
        self,
        batch: PackedBatch,
        distribution: SamplingDistribution = SamplingDistribution(),  # noqa: B008 - frozen
        *,
        entropy: bool = False,
    ) -> TokenScores:
        """Log-probability of every counted answer token given everything before it, under `distribution`.

        Raises ModelError for an answer without a prompt, a row longer than the model's context, a reward model.
        """
        rows = self._rows(batch)
        if (rows.prompt_lengths == 0).any():
            raise ModelError("an answer has an empty prompt: its first token has nothing to be predicted from")
        row, column, answer_column = rows.counted_positions()
        targets = rows.ids[row, column + 1]
        if self.plain_head:
            head = unwrap(self.model).get_output_embeddings()
            hidden = self._hidden(rows)[row, column]  # [N, H]
            logprobs, entropies = head_logprobs(
                hidden, head.weight, head.bias, targets, distribution, entropy=entropy, chunk_tokens=self.chunk_tokens
            )
        else:
            logits = self._logits(rows)[row, column]  # [N, V]
            logits = warp_logits(logits.to(scoring_dtype(logits.dtype)), distribution, keep=targets)
            logprobs = token_logprobs(logits, targets)
            entropies = token_entropy(logits.detach()) if entropy else None
        mask = rows.answer_mask
        return TokenScores(
            logprobs=_scatter(logprobs, mask, row, answer_column),
            mask=mask,
            entropy=None if entropies is None else _scatter(entropies, mask, row, answer_column),
        )

    def score(self, batch: PackedBatch) -> Tensor:
        """[B] outputs of a sequence-classification model with one label, read at the last real token of each row."""
        rows = self._rows(batch)
        last = rows.lengths - 1
        if (last < 0).any():
            raise ModelError("a row to score has no tokens: neither prompt nor answer")
        if self.score_head:
            hidden = self._hidden(rows)[torch.arange(len(last), device=last.device), last]  # [B, H]
            outputs = score_head_of(self.model)(hidden)
        elif getattr(unwrap(self.model), "num_labels", None) and unwrap(self.model).get_output_embeddings() is None:
            outputs = self.model(input_ids=rows.ids, attention_mask=rows.attention_mask()).logits
        else:
            raise ModelError(
                f"{type(unwrap(self.model)).__name__} is not a sequence-classification model: it has no score"
            )
        if outputs.shape[-1] != 1:
            raise ModelError(f"a reward model gives one number an answer; this one gives {outputs.shape[-1]}")
        return outputs.squeeze(-1).to(scoring_dtype(outputs.dtype))

    def _rows(self, batch: PackedBatch) -> Rows:
        rows = pad_rows(batch, self.pad_token_id, device=unwrap(self.model).device)
        if self.max_positions is not None and rows.ids.shape[1] > self.max_positions:
            raise ModelError(
                f"a row has {rows.ids.shape[1]} tokens, more than the model's context of {self.max_positions}; lower "
                "dataset.max_prompt_tokens, dataset.max_answer_tokens or rollout.max_new_tokens"
            )
        return rows

    def _hidden(self, rows: Rows) -> Tensor:
        """[B, L, H]. Attention is causal and padding is on the right, so the mask need not exclude anything."""
        body = body_of(self.model)
        return body(input_ids=rows.ids, attention_mask=torch.ones_like(rows.ids), use_cache=False).last_hidden_state

    def _logits(self, rows: Rows) -> Tensor:
        """[B, L, V]."""
        output = unwrap(self.model)(input_ids=rows.ids, attention_mask=torch.ones_like(rows.ids), use_cache=False)
        if output.logits.dim() != 3:
            raise ModelError(
                f"{type(unwrap(self.model)).__name__} is not a causal language model: it has no token logits"
            )
        return output.logits


def _scatter(values: Tensor, mask: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """[N] values into a [B, T] tensor of zeros."""
    return values.new_zeros(mask.shape).index_put((row, column), values)
