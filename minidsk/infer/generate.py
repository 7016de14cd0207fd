"""From next-token probabilities to text: fill the cache, draw, feed back, until all rows have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minidsk.data.tokenizer import Tokenizer
from minidsk.infer.engine import Engine
from minidsk.infer.noise import Noise, streams
from minidsk.infer.recorder import Recorder, recordable
from minidsk.infer.refill import refill
from minidsk.infer.sampling import Sampling
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
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    attention_mask: Tensor | None = None,
    eos_token_id: int | Iterable[int] | None = None,
    pad_token_id: int = 0,
    use_cache: bool = True,
    rows: int | None = None,
    watch: Callable[[Tensor], None] | None = None,
    recorder: Recorder | None = None,
    capacity: int | None = None,
) -> Decoded:
    """Continue each row of `ids` ``[batch, time]`` by at most `max_new_tokens` tokens; see `MiniDeepSeek.generate`.

    Temperature, `top_k` and `top_p` as in `Sampling`. A row ends with any token of `eos_token_id`. `watch` is given the
    tokens ``[batch]`` of each step as soon as they are drawn; what it sees of a row after that row's end means nothing.
    With `rows`, at most so many are at work at once, and the prompts wait their turn; `watch` then sees rows.
    `generator` moves on by one number, from which each row has noise of its own (see `Noise`): what is drawn for a row
    depends on that number, its place in the batch and its prompt, and not on how, or beside whom, it is computed.
    So where the memory does not suffice, half as many rows begin again, and write the same.
    Who decodes often with one model on a GPU keeps a `recorder` and gives it each time. With a `capacity`, attention
    looks at so many places always, some of them empty, as `minidsk.model.exact` needs it.
    """
    sampling = Sampling(temperature, top_k, top_p)
    mask, stop = asked(ids, max_new_tokens, attention_mask, eos_token_id)
    at_once = len(ids) if rows is None else rows
    if at_once < 1:
        raise ValueError(f"rows: {rows} does not fit; it must be 1 or more, or None for all at once")
    nowhere = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
    begins = streams(generator, len(ids), ids.device) if sampling.temperature else nowhere
    recorder = Recorder() if recorder is None else recorder
    while True:
        at_once = min(at_once, len(ids), recorder.most)
        try:
            if use_cache and (capacity is not None or at_once < len(ids) or recordable(model, at_once)):
                tokens, logprobs = refill(model, ids, mask, max_new_tokens, at_once, sampling, begins, stop, recorder,
                                          watch, capacity)  # fmt: skip
            else:
                step = (_Cached if use_cache else _Uncached)(model, ids, mask, max_new_tokens, recorder.graphs)
                tokens, logprobs = _go_on(step, ids, max_new_tokens, sampling, begins, stop, watch)
            return decoded(ids, tokens, logprobs, stop, pad_token_id)
        except torch.OutOfMemoryError:
            if at_once == 1 or not use_cache or watch is not None:
                raise
            recorder.halve(at_once)
        torch.cuda.empty_cache()


def asked(
    ids: Tensor, max_new_tokens: int, attention_mask: Tensor | None, eos_token_id: int | Iterable[int] | None
) -> tuple[Tensor, Tensor]:
    """The mask of the prompts, bool ``[batch, time]``, and the tokens that end a row. Raises `ValueError` for what
    cannot be continued."""
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens: {max_new_tokens} does not fit; it must be 1 or more")
    if ids.shape[1] == 0:
        raise ValueError("ids: the prompt is empty; begin with one token at least")
    mask = torch.ones_like(ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    if not mask[:, -1].all():
        raise ValueError("attention_mask: a prompt ends in padding; pad prompts on the left")
    ends = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id or ())
    return mask, torch.tensor(ends, dtype=ids.dtype, device=ids.device)


def decoded(ids: Tensor, tokens: Tensor, logprobs: Tensor, stop: Tensor, pad_token_id: int) -> Decoded:
    """Prompts and what was drawn ``[batch, new']``, blank after the first end of each row."""
    ended = torch.isin(tokens, stop).cumsum(1)
    here = ended - torch.isin(tokens, stop).long() == 0  # up to and including the first end
    tokens, logprobs = tokens.masked_fill(~here, pad_token_id), logprobs.masked_fill(~here, 0.0)
    used = int(here.any(0).sum())
    return Decoded(torch.cat((ids, tokens[:, :used]), 1), logprobs[:, :used].clone(), here[:, :used].clone())


def _go_on(
    step: _Cached | _Uncached, ids: Tensor, new: int, sampling: Sampling, begins: Tensor, stop: Tensor,
    watch: Callable[[Tensor], None] | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Tokens and their log-probabilities ``[batch, new']``; rows are dropped as they end."""
    tokens = ids.new_zeros(len(ids), new)
    logprobs = torch.zeros(len(ids), new, dtype=torch.float32, device=ids.device)
    rows = torch.arange(len(ids), device=ids.device)  # the sequences that have not ended
    going = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
    noise = Noise(begins, step.logits.shape[-1])
    for position in range(new):
        drawn, logprob = _sample(step.logits, sampling, noise)
        tokens[rows, position], logprobs[rows, position] = drawn, logprob
        if watch is not None:
            watch(tokens[:, position])
        if len(stop):
            going &= ~torch.isin(drawn, stop)
            left = int(going.sum())
            if left == 0:
                return tokens[:, : position + 1], logprobs[:, : position + 1]
            if left < 0.8 * len(rows):  # moving the cache costs too, so a few ended rows are carried along
                step.keep(going)
                noise.streams = noise.streams[going]
                rows, drawn, going = rows[going], drawn[going], going[going]
        if position + 1 < new:
            step.advance(drawn)
    return tokens, logprobs


@torch.inference_mode()
def _sample(logits: Tensor, sampling: Sampling, noise: Noise) -> tuple[Tensor, Tensor]:
    """One token for each row from `logits` ``[batch, vocab]``, and its log-probability at temperature 1."""
    logprobs = logits.float().log_softmax(-1)
    drawn = sampling.draw(logprobs, noise)
    return drawn, logprobs.gather(1, drawn[:, None]).squeeze(1)


class _Cached:
    """Steps with a latent cache."""

    def __init__(self, model: MiniDeepSeek, ids: Tensor, mask: Tensor, new: int, trace: bool) -> None:
        self.engine = Engine(model, len(ids), ids.shape[1] + new)
        self.engine.traced = self.engine.traced if trace else None
        self.logits = self.engine.prefill(ids, mask)

    def keep(self, going: Tensor) -> None:
        self.engine = self.engine.fork(going)

    def advance(self, drawn: Tensor) -> None:
        self.logits = self.engine.step(drawn)


class _Uncached:
    """Each step computes everything again: slow, and the reference for the cache."""

    def __init__(self, model: MiniDeepSeek, ids: Tensor, mask: Tensor, *_: object) -> None:
        self.model, self.ids, self.mask = model, ids, mask
        self.logits = model(ids, attention_mask=mask, mtp=False).logits[:, -1]

    def keep(self, going: Tensor) -> None:
        self.ids, self.mask = self.ids[going], self.mask[going]

    def advance(self, drawn: Tensor) -> None:
        self.ids = torch.cat((self.ids, drawn[:, None]), 1)
        self.mask = torch.cat((self.mask, torch.ones_like(drawn[:, None], dtype=torch.bool)), 1)
        self.logits = self.model(self.ids, attention_mask=self.mask, mtp=False).logits[:, -1]


def left_padded(
    prompts: Sequence[str], tokenizer: Tokenizer, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Prompts as ids with `<bos>` before each, padded on the left: ids and mask, int64 and bool ``[batch, time]``."""
    distinct = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}  # a group has one
    rows = [[tokenizer.bos_id, *tokenizer.encode(prompt)] for prompt in distinct]
    longest = max(map(len, rows))
    ids = torch.tensor([[tokenizer.pad_id] * (longest - len(row)) + row for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    each = torch.tensor([distinct[prompt] for prompt in prompts], device=device)
    return ids[each], torch.arange(longest, device=device) >= longest - lengths[each, None]


def complete(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[str]:
    """The continuation of each prompt as text, up to its end token or `max_new_tokens`, without `<eos>`."""
    ids, mask = left_padded(prompts, tokenizer, model.device)
    done = decode(model, ids, max_new_tokens, temperature=temperature, generator=generator, attention_mask=mask,
                  eos_token_id=tokenizer.eos_id, pad_token_id=tokenizer.pad_id)  # fmt: skip
    return written(done, tokenizer)


def written(done: Decoded, tokenizer: Tokenizer) -> list[str]:
    """The text of each completion before its `<eos>`, or all of it where there is none."""
    tokens = done.ids[:, -done.mask.shape[1] :]
    return tokenizer.decode_all(tokens, (done.mask & (tokens != tokenizer.eos_id)).sum(1))
