"""The loop that turns next-token probabilities into text: fill the cache, sample, feed back, until all have ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minidsk.model.recording import RecordedStep, Recorder, pick, recordable

if TYPE_CHECKING:
    from minidsk.model.transformer import MiniDeepSeek


LOOK_EVERY = 16  # tokens after which a recorded decoding asks whether all rows have ended


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
    recorder: Recorder | None = None,
) -> Decoded:
    """Continue each row of `ids` ``[batch, time]`` by at most `max_new_tokens` tokens; see `MiniDeepSeek.generate`.

    `watch` is given the tokens ``[batch]`` of each step as soon as they are drawn; what it sees of a row after that
    row's end token means nothing. Who decodes often with one model on a GPU keeps a `recorder` and gives it each time.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens: {max_new_tokens} does not fit; it must be 1 or more")
    if temperature < 0:
        raise ValueError(f"temperature: {temperature} does not fit; it must be 0 (greedy) or more")
    if valid is None:
        valid = torch.ones_like(ids, dtype=torch.bool)
    elif not valid[:, -1].all():
        raise ValueError("attention_mask: a prompt ends in padding; pad prompts on the left")
    if use_cache and recordable(model):
        recorder = Recorder() if recorder is None else recorder
        recorded = recorder.step(model, ids, max_new_tokens, temperature)
        tokens, logprobs = _replay(recorded, ids, valid, generator, eos_token_id, watch)
        mask = torch.ones_like(tokens, dtype=torch.bool)
    else:
        step = (_Cached if use_cache else _Uncached)(model, ids, valid, max_new_tokens)
        tokens, logprobs, mask = _go_on(step, ids, max_new_tokens, temperature, generator, eos_token_id, watch)
    if eos_token_id is not None:
        _blank_after_end(tokens, logprobs, mask, eos_token_id, pad_token_id)
    used = int(mask.any(0).sum())
    return Decoded(torch.cat((ids, tokens[:, :used]), 1), logprobs[:, :used].clone(), mask[:, :used].clone())


def _go_on(
    step: _Cached | _Uncached,
    ids: Tensor,
    new: int,
    temperature: float,
    generator: torch.Generator | None,
    eos_token_id: int | None,
    watch: Callable[[Tensor], None] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, their log-probabilities, and which of them were drawn, ``[batch, new]``; rows are dropped as they end."""
    batch = len(ids)
    tokens = ids.new_zeros((batch, new))
    logprobs = torch.zeros(batch, new, dtype=torch.float32, device=ids.device)
    mask = torch.zeros(batch, new, dtype=torch.bool, device=ids.device)
    rows = torch.arange(batch, device=ids.device)  # the sequences that have not ended
    going = torch.ones(batch, dtype=torch.bool, device=ids.device)
    for position in range(new):
        drawn, logprob = _sample(step.logits, temperature, generator)
        tokens[rows, position], logprobs[rows, position], mask[rows, position] = drawn, logprob, True
        if watch is not None:
            watch(tokens[:, position])
        if eos_token_id is not None:
            going &= drawn != eos_token_id
            left = int(going.sum())
            if left == 0:
                break
            if left < 0.8 * len(rows):  # moving the cache costs too, so a few ended rows are carried along
                step.keep(going)
                rows, drawn, going = rows[going], drawn[going], going[going]
        if position + 1 < new:
            step.advance(drawn)
    return tokens, logprobs, mask


def _replay(
    step: RecordedStep,
    ids: Tensor,
    valid: Tensor,
    generator: torch.Generator | None,
    eos_token_id: int | None,
    watch: Callable[[Tensor], None] | None,
) -> tuple[Tensor, Tensor]:
    """Tokens and their log-probabilities ``[batch, new']``; rows that have ended are carried along to the end."""
    step.begin(ids, valid)
    new = step.tokens.shape[1]
    for position in range(new):
        step.run(generator)
        if watch is not None:
            watch(step.tokens[:, position])
        # To look is to wait for the GPU: only now and then.
        look = position % LOOK_EVERY == LOOK_EVERY - 1
        if look and eos_token_id is not None and step.tokens[:, : position + 1].eq(eos_token_id).any(1).all():
            new = position + 1
            break
    return step.tokens[:, :new].clone(), step.logprobs[:, :new].clone()


def _sample(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """One token a row from `logits` ``[batch, vocab]``, and its log-probability at temperature 1."""
    logprobs = logits.float().log_softmax(-1)
    noise = torch.empty_like(logprobs).exponential_(generator=generator) if temperature else logprobs
    drawn = pick(logprobs, temperature, noise)
    return drawn, logprobs.gather(1, drawn[:, None]).squeeze(1)


def _blank_after_end(tokens: Tensor, logprobs: Tensor, mask: Tensor, eos: int, pad: int) -> None:
    ended = (tokens == eos).long().cumsum(1)
    after = (ended - (tokens == eos).long()) > 0
    tokens[after], logprobs[after], mask[after] = pad, 0.0, False


class _Cached:
    """Steps with a latent cache."""

    def __init__(self, model: MiniDeepSeek, ids: Tensor, valid: Tensor, max_new_tokens: int) -> None:
        self.model = model
        self.cache = model.new_cache(len(ids), ids.shape[1] + max_new_tokens)
        self.logits = model(ids, valid=valid, cache=self.cache).logits[:, -1]

    def keep(self, going: Tensor) -> None:
        self.cache.keep(going)

    def advance(self, drawn: Tensor) -> None:
        self.logits = self.model(drawn[:, None], cache=self.cache).logits[:, -1]


class _Uncached:
    """Each step computes everything again: slow, and the reference for the cache."""

    def __init__(self, model: MiniDeepSeek, ids: Tensor, valid: Tensor, max_new_tokens: int) -> None:
        self.model, self.ids, self.valid = model, ids, valid
        self.logits = model(ids, valid=valid, mtp=False).logits[:, -1]

    def keep(self, going: Tensor) -> None:
        self.ids, self.valid = self.ids[going], self.valid[going]

    def advance(self, drawn: Tensor) -> None:
        self.ids = torch.cat((self.ids, drawn[:, None]), 1)
        self.valid = torch.cat((self.valid, torch.ones_like(drawn[:, None], dtype=torch.bool)), 1)
        self.logits = self.model(self.ids, valid=self.valid, mtp=False).logits[:, -1]
