"""The loop that turns next-token probabilities into text: fill the cache, sample, feed back, until all have ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minidsk.model.dispatch import has_grouped_kernel

if TYPE_CHECKING:
    from minidsk.model.transformer import MiniDeepSeek


@dataclass
class Decoded:
    """`ids` ``[batch, time + new]``; for the new tokens, `logprobs` ``[batch, new]`` float32 (natural log, at
    temperature 1 whatever the sampling temperature, 0 after the end) and `mask` ``[batch, new]``, True up to and
    including the end token."""

    ids: Tensor
    logprobs: Tensor
    mask: Tensor


@torch.no_grad()
def decode(
    model: MiniDeepSeek,
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    valid: Tensor | None = None,
    eos_token_id: int | None = None,
    pad_token_id: int = 0,
    use_cache: bool = True,
    watch: Callable[[Tensor], None] | None = None,
) -> Decoded:
    """Continue each row of `ids` ``[batch, time]`` by at most `max_new_tokens` tokens; see `MiniDeepSeek.generate`.

    `watch` is given the tokens ``[batch]`` of each step as soon as they are drawn; what it sees of a row after that
    row's end token means nothing.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens: {max_new_tokens} does not fit; it must be 1 or more")
    if temperature < 0:
        raise ValueError(f"temperature: {temperature} does not fit; it must be 0 (greedy) or more")
    batch = len(ids)
    if valid is None:
        valid = torch.ones_like(ids, dtype=torch.bool)
    elif not valid[:, -1].all():
        raise ValueError("attention_mask: a prompt ends in padding; pad prompts on the left")
    tokens = ids.new_full((batch, max_new_tokens), pad_token_id)
    logprobs = torch.zeros(batch, max_new_tokens, device=ids.device)
    mask = torch.zeros(batch, max_new_tokens, dtype=torch.bool, device=ids.device)
    step = (_Cached if use_cache else _Uncached)(model, ids, valid, max_new_tokens)

    rows = torch.arange(batch, device=ids.device)  # the sequences that have not ended
    going = torch.ones(batch, dtype=torch.bool, device=ids.device)
    for position in range(max_new_tokens):
        drawn, logprob = _sample(step.logits, temperature, generator)
        tokens[rows, position], logprobs[rows, position], mask[rows, position] = drawn, logprob, True
        if watch is not None:
            watch(tokens[:, position])
        if eos_token_id is not None:
            going &= drawn != eos_token_id
            if position % step.look_every == step.look_every - 1:  # on a GPU this waits for it: only now and then
                left = int(going.sum())
                if left == 0:
                    break
                if left < 0.8 * len(rows):  # moving the cache costs too, so a few ended rows are carried along
                    rows, drawn, going = step.keep(rows, drawn, going)
        if position + 1 < max_new_tokens:
            step.advance(drawn)
    if eos_token_id is not None:
        _blank_after_end(tokens, logprobs, mask, eos_token_id, pad_token_id)
    used = int(mask.any(0).sum())
    return Decoded(torch.cat((ids, tokens[:, :used]), 1), logprobs[:, :used].clone(), mask[:, :used].clone())


def _sample(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """One token a row from `logits` ``[batch, vocab]``, and its log-probability at temperature 1."""
    logprobs = logits.float().log_softmax(-1)
    if temperature == 0:
        drawn = logprobs.argmax(-1)
    else:
        # The largest of log p / T + Gumbel noise is a draw from softmax(log p / T); -log(exponential) is such noise.
        noise = torch.empty_like(logprobs).exponential_(generator=generator).clamp_(min=1e-30).log_()
        drawn = (logprobs / temperature - noise).argmax(-1)
    return drawn, logprobs.gather(1, drawn[:, None]).squeeze(1)


def _blank_after_end(tokens: Tensor, logprobs: Tensor, mask: Tensor, eos: int, pad: int) -> None:
    ended = (tokens == eos).long().cumsum(1)
    after = (ended - (tokens == eos).long()) > 0
    tokens[after], logprobs[after], mask[after] = pad, 0.0, False


class _Cached:
    """Steps with a latent cache; on a GPU with a grouped product, under one CUDA graph."""

    def __init__(self, model: MiniDeepSeek, ids: Tensor, valid: Tensor, max_new_tokens: int) -> None:
        self.model = model
        graph = has_grouped_kernel(model.embed_tokens.weight) or (ids.is_cuda and not model.config.has_experts)
        # Rows are dropped as they end where each costs time; a graph's shapes are fixed, and it looks less often.
        self.look_every = 16 if graph else 1
        self.cache = model.new_cache(len(ids), ids.shape[1] + max_new_tokens, static=False)
        self.logits = model(ids, valid=valid, cache=self.cache).logits[:, -1]
        self.graph = _Graph(model, self.cache, self.logits) if graph else None

    def keep(self, rows: Tensor, drawn: Tensor, going: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.graph is not None:
            return rows, drawn, going
        self.cache.keep(going)
        return rows[going], drawn[going], going[going]

    def advance(self, drawn: Tensor) -> None:
        if self.graph is not None:
            self.logits = self.graph.replay(drawn)
        else:
            self.logits = self.model(drawn[:, None], cache=self.cache).logits[:, -1]


class _Uncached:
    """Each step computes everything again: slow, and the reference for the cache."""

    def __init__(self, model: MiniDeepSeek, ids: Tensor, valid: Tensor, max_new_tokens: int) -> None:
        self.model, self.ids, self.valid, self.look_every = model, ids, valid, 1
        self.logits = model(ids, valid=valid, mtp=False).logits[:, -1]

    def keep(self, rows: Tensor, drawn: Tensor, going: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.ids, self.valid = self.ids[going], self.valid[going]
        return rows[going], drawn[going], going[going]

    def advance(self, drawn: Tensor) -> None:
        self.ids = torch.cat((self.ids, drawn[:, None]), 1)
        self.valid = torch.cat((self.valid, torch.ones_like(drawn[:, None], dtype=torch.bool)), 1)
        self.logits = self.model(self.ids, valid=self.valid, mtp=False).logits[:, -1]


class _Graph:
    """One decoding step, recorded once and replayed: a small model's step is mostly the cost of launching kernels."""

    def __init__(self, model: MiniDeepSeek, cache, logits: Tensor) -> None:  # type: ignore[no-untyped-def]
        self.cache = cache
        cache.static = True
        cache.slots = torch.tensor([cache.length], device=logits.device)
        self.tokens = torch.zeros(len(logits), 1, dtype=torch.long, device=logits.device)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        # Warming up writes one wrong entry into the next slot, which the first replay overwrites.
        with torch.cuda.stream(side):
            for _ in range(2):
                model(self.tokens, cache=cache)
        torch.cuda.current_stream().wait_stream(side)
        self.recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.recorded):
            self.logits = model(self.tokens, cache=cache).logits[:, -1]
            cache.slots += 1

    def replay(self, drawn: Tensor) -> Tensor:
        self.tokens.copy_(drawn[:, None])
        self.recorded.replay()
        return self.logits
