"""Who sees whom where nothing is remembered: a batch of texts, padded or packed."""

from __future__ import annotations

import torch
from torch import Tensor


def positions_and_mask(
    ids: Tensor, attention_mask: Tensor | None = None, documents: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Positions, int64 ``[batch or 1, time]``, of the tokens `ids` ``[batch, time]``, and who sees whom among them,
    bool ``[batch, 1, time, time]``; None: each sees all before it. The arguments as in `MiniDeepSeek.states`."""
    if attention_mask is not None:
        real = attention_mask.bool()
        square = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device)
        # A padded query sees itself, so that its softmax is not empty; nobody looks at it.
        mask = square.tril() & real[:, None, :] | square.tril().triu()
        return (real.cumsum(1) - 1).clamp(min=0), mask.unsqueeze(1)
    positions = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
    if documents is None:
        return positions, None
    # Positions run on: rotations tell distances alone, and those within a document stay what they are.
    same = documents[:, :, None] == documents[:, None, :]
    return positions, same.tril().unsqueeze(1)
