"""The long way: a padded call of the whole model, and gradients to compare."""

from __future__ import annotations

import torch

from rlhf.types import Continuation, PackedBatch, TokenGroup

PAD = 256
BATCH = PackedBatch(
    (
        TokenGroup((5, 9, 3), (Continuation((7, 8, 9, 257)), Continuation((1,)))),
        TokenGroup((65, 66, 67, 68, 69), (Continuation((2, 3), (True, False)), Continuation((4, 4, 4)))),
    )
)


def plain_logprobs(model, batch: PackedBatch, distribution=None) -> torch.Tensor:
    """[B, T] the long way: one padded call with an attention mask, whole logits, log_softmax."""
    rows = [(g.prompt_ids, c) for g in batch.groups for c in g.continuations]
    length = max(len(p) + len(c.ids) for p, c in rows)
    ids = torch.full((len(rows), length), PAD)
    attention = torch.zeros_like(ids)
    for i, (p, c) in enumerate(rows):
        ids[i, : len(p) + len(c.ids)] = torch.tensor(p + c.ids)
        attention[i, : len(p) + len(c.ids)] = 1
    log_p = model(input_ids=ids, attention_mask=attention).logits.log_softmax(-1)
    columns = []
    for i, (p, c) in enumerate(rows):
        mask = c.loss_mask or (True,) * len(c.ids)
        values = [log_p[i, len(p) + t - 1, token] * mask[t] for t, token in enumerate(c.ids)]
        columns.append(torch.stack(values + [log_p.new_zeros(())] * (max(len(r[1].ids) for r in rows) - len(values))))
    return torch.stack(columns)


def gradients(model, value: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    value.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def weights_like(scores: torch.Tensor) -> torch.Tensor:
    return torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype).view_as(scores)


def assert_same_gradients(left: dict, right: dict) -> None:
    assert left.keys() == right.keys() and left
    for name in left:
        torch.testing.assert_close(left[name], right[name], msg=lambda m, n=name: f"{n}: {m}")
