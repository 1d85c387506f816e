"""How a batch of answers lies in the tensors that a model sees, padded or packed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlhf.types import PackedBatch


@dataclass(frozen=True)
class Layout:
    """What to call the model's body with, and where its answers' states are.

    B answers, T tokens of the longest. States are counted over the flattened [rows * columns] hidden states.
    """

    inputs: dict[str, Any]  # keyword arguments of the body; `input_ids` among them
    answer_ids: Tensor  # [B, T] int64, 0 after an answer's end
    answer_mask: Tensor  # [B, T] bool; True where an answer token counts
    before: Tensor  # [B] the state that predicts an answer's first token
    start: Tensor  # [B] the state of an answer's first token; the ones after it follow
    last: Tensor  # [B] the state of a row's last token

    def counted(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For each of the N counted tokens: its answer, its column, the state that predicts it, the token itself."""
        row, column = self.answer_mask.nonzero(as_tuple=True)
        states = torch.where(column == 0, self.before[row], self.start[row] + column - 1)
        return row, column, states, self.answer_ids[row, column]


def answer_tokens(batch: PackedBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask of the answers, each [B, T]; a continuation without a loss mask counts everywhere."""
    answers = [answer for group in batch.groups for answer in group.continuations]
    ids = torch.zeros(len(answers), max((len(answer.ids) for answer in answers), default=0), dtype=torch.long)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for number, answer in enumerate(answers):
        length = len(answer.ids)
        ids[number, :length] = torch.tensor(answer.ids, dtype=torch.long)
        mask[number, :length] = torch.tensor(answer.loss_mask, dtype=torch.bool) if answer.loss_mask else True
    return ids.to(device), mask.to(device)
