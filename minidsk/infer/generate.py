"""Texts in, texts out: encode and pad a batch of prompts, let the model continue each until it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from minidsk.data.tokenizer import Tokenizer


def left_padded(
    prompts: Sequence[str], tokenizer: Tokenizer, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Prompts as ids with `<bos>` before each, padded on the left: ids and mask, int64 and bool ``[batch, time]``."""
    ids_of = {prompt: [tokenizer.bos_id, *tokenizer.encode(prompt)] for prompt in dict.fromkeys(prompts)}
    rows = [ids_of[prompt] for prompt in prompts]
    longest = max(map(len, rows))
    ids = torch.tensor([[tokenizer.pad_id] * (longest - len(row)) + row for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(longest, device=device) >= longest - lengths[:, None]


def complete(
    model: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[str]:
    """The continuation of each prompt as text, up to its end token or `max_new_tokens`, without `<eos>`."""
    ids, mask = left_padded(prompts, tokenizer, model.device)
    out = model.generate(
        ids, max_new_tokens=max_new_tokens, temperature=temperature, generator=generator, attention_mask=mask,
        eos_token_id=tokenizer.eos_id, pad_token_id=tokenizer.pad_id,
    )  # fmt: skip
    return [until_end(row, tokenizer) for row in out[:, ids.shape[1] :].tolist()]


def until_end(ids: list[int], tokenizer: Tokenizer) -> str:
    """The text of one completion before its `<eos>`, or all of it where there is none."""
    if tokenizer.eos_id in ids:
        ids = ids[: ids.index(tokenizer.eos_id)]
    return tokenizer.decode(ids)
