"""A packed batch as padded rows: one row an answer, its prompt repeated. Any model can read it."""

from __future__ import annotations

import torch

from rlhf.models.layout import Layout, answer_tokens
from rlhf.types import PackedBatch


def pad_rows(batch: PackedBatch, pad_token_id: int, *, device: torch.device, looks_both_ways: bool = False) -> Layout:
    """B rows of L tokens on `device`, padded on the right. Row b:  prompt answer padding.

    Padding is on the right, so causal attention never reaches it from a token that counts, and `pad_token_id` may be
    any token. `looks_both_ways`: the model is not causal, and its attention mask must leave the padding out.
    """
    pairs = [(group.prompt_ids, answer.ids) for group in batch.groups for answer in group.continuations]
    prompts = torch.tensor([len(prompt) for prompt, _ in pairs], dtype=torch.long)
    lengths = torch.tensor([len(prompt) + len(answer) for prompt, answer in pairs], dtype=torch.long)
    width = int(lengths.max()) if pairs else 0
    ids = torch.full((len(pairs), width), pad_token_id, dtype=torch.long)
    for number, (prompt, answer) in enumerate(pairs):
        ids[number, : len(prompt) + len(answer)] = torch.tensor(prompt + answer, dtype=torch.long)
    mask = (torch.arange(width) < lengths[:, None]).long() if looks_both_ways else torch.ones_like(ids)
    start = torch.arange(len(pairs)) * width + prompts
    last = torch.arange(len(pairs)) * width + lengths - 1
    answer_ids, answer_mask = answer_tokens(batch, device)
    return Layout(
        inputs={"input_ids": ids.to(device), "attention_mask": mask.to(device)},
        answer_ids=answer_ids,
        answer_mask=answer_mask,
        before=start.to(device) - 1,
        start=start.to(device),
        last=last.to(device),
    )
