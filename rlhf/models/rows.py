"""A packed batch as padded rows: one row an answer, its prompt repeated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.types import PackedBatch


@dataclass(frozen=True)
class Rows:
    """B rows of L tokens, padded on the right; T is the longest answer. Row b:  prompt answer padding."""

    ids: Tensor  # [B, L] int64
    prompt_lengths: Tensor  # [B]
    lengths: Tensor  # [B] prompt and answer
    answer_mask: Tensor  # [B, T] bool; True where an answer token counts

    def attention_mask(self) -> Tensor:
        """[B, L] int64; 1 on real tokens. Only for models that look both ways."""
        return (torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths[:, None]).long()

    def counted_positions(self) -> tuple[Tensor, Tensor, Tensor]:
        """For each of the N counted tokens: its row, the column of `ids` that predicts it, its column in the answer."""
        row, answer_column = self.answer_mask.nonzero(as_tuple=True)
        return row, self.prompt_lengths[row] + answer_column - 1, answer_column


def pad_rows(batch: PackedBatch, pad_token_id: int, *, device: torch.device) -> Rows:
    """Lay `batch` out as rows on `device`."""
    pairs = [(group.prompt_ids, continuation) for group in batch.groups for continuation in group.continuations]
    lengths = [len(prompt) + len(answer.ids) for prompt, answer in pairs]
    ids = torch.full((len(pairs), max(lengths, default=0)), pad_token_id, dtype=torch.long)
    mask = torch.zeros(len(pairs), max((len(answer.ids) for _, answer in pairs), default=0), dtype=torch.bool)
    for number, (prompt, answer) in enumerate(pairs):
        ids[number, : lengths[number]] = torch.tensor(prompt + answer.ids, dtype=torch.long)
        mask[number, : len(answer.ids)] = torch.tensor(answer.loss_mask or (True,) * len(answer.ids), dtype=torch.bool)
    return Rows(
        ids=ids.to(device),
        prompt_lengths=torch.tensor([len(prompt) for prompt, _ in pairs], dtype=torch.long, device=device),
        lengths=torch.tensor(lengths, dtype=torch.long, device=device),
        answer_mask=mask.to(device),
    )
