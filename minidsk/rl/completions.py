"""Completions, and who writes them: the contract between learning from reward and a language model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minidsk.precision import at_least_float32


@dataclass
class Completions:
    """N texts after prompts: those of one prompt side by side, prompts padded on the left, texts on the right.

    `ids` and `attention_mask` (bool) ``[N, P + T]``; of the completions alone `tokens`, `mask` (True up to and
    including the end) and `logp` (float32, natural log at temperature 1 when they were sampled) ``[N, T]``; `texts`
    without their end; `ended` (bool) ``[N]``, False where the limit of tokens came first.
    """

    ids: Tensor
    attention_mask: Tensor
    tokens: Tensor
    mask: Tensor
    logp: Tensor
    texts: list[str]
    ended: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each completion ``[N]``."""
        return self.mask.sum(1)

    @property
    def padding(self) -> Tensor:
        """Padding on the left of each prompt ``[N]``."""
        return (~self.attention_mask[:, : self.prompt_width]).sum(1)

    @property
    def prompt_width(self) -> int:
        """P, the tokens of the longest prompt."""
        return self.ids.shape[1] - self.tokens.shape[1]

    def __getitem__(self, rows: Tensor) -> Completions:
        """Those with the numbers `rows` ``[n]``, cut to the longest prompt and completion among them."""
        first, longest = int(self.padding[rows].min()), int(self.lengths[rows].max())
        wide = slice(first, self.prompt_width + longest)
        tokens, mask, logp = (x[rows, :longest] for x in (self.tokens, self.mask, self.logp))
        texts = [self.texts[i] for i in rows.tolist()]
        return Completions(self.ids[rows, wide], self.attention_mask[rows, wide], tokens, mask, logp, texts,
                           self.ended[rows])  # fmt: skip

    def filled(self, rows: int, prompt: int, longest: int) -> Completions:
        """The same in tables of `rows` texts, of prompts `prompt` tokens wide and completions of `longest`.

        Behind the last, its first text is repeated, with nothing of it in `mask`.
        """
        here = torch.arange(rows, device=self.ids.device)
        some = here.where(here < len(self), 0)
        left, right = prompt - self.prompt_width, longest - self.tokens.shape[1]
        ids, seen = (F.pad(x[some], (left, right)) for x in (self.ids, self.attention_mask))
        tokens, mask, logp = (F.pad(x[some], (0, right)) for x in (self.tokens, self.mask, self.logp))
        texts = self.texts + self.texts[:1] * (rows - len(self))
        return Completions(ids, seen, tokens, mask & (here < len(self))[:, None], logp, texts, self.ended[some])


class Policy:
    """What all policies share. `model` holds the weights that are trained, `tokenizer` reads and writes its text."""

    model: nn.Module
    tokenizer: Any
    width: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def sample(
        self,
        prompts: Sequence[str],
        group: int = 1,
        max_new_tokens: int = 256,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Completions:
        """`group` completions of each prompt, of at most `max_new_tokens` tokens; temperature 0 takes the likeliest."""
        raise NotImplementedError

    def encode(self, prompts: Sequence[str], texts: Sequence[str]) -> Completions:
        """Given texts as completions of given prompts, one each, with `logp` 0: for learning from examples."""
        raise NotImplementedError

    def hidden(self, completions: Completions, after: bool = False) -> Tensor:
        """The hidden state before each token of the completions, or `after` it: ``[N, T, width]``, with gradient."""
        raise NotImplementedError

    def predictions(self, completions: Completions) -> tuple[Tensor, Tensor]:
        """Of each token of the completions the log-probability, with gradient, and the entropy of the prediction in
        nats, without: both float32 ``[N, T]``."""
        raise NotImplementedError

    def use(self, backend: str) -> None:
        """Let `backend` compute what it can: torch, or triton for `minidsk.kernels`. Raises `ValueError` where there is
        no choice."""
        raise ValueError(f"kernels: {backend!r} does not fit; only a model of ours can be computed by kernels of ours")

    def flops(self, completions: Completions, updates: int = 0) -> float:
        """Operations of one pass forward over prompts and completions, and of so many `updates` from them."""
        raise NotImplementedError

    def save(self, folder: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write weights and tokenizer as transformers reads them; `extra` goes into config.json under "minidsk"."""
        raise NotImplementedError

    def logprobs(self, completions: Completions) -> Tensor:
        """The log-probability of each token of the completions, with gradient, ``[N, T]``."""
        return self.predictions(completions)[0]

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights that are trained."""
        return (p for p in self.model.parameters() if p.requires_grad)

    def copy(self) -> Policy:
        """A policy with a copy of the weights: a reference that stays."""
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        return twin

    def body(self) -> Policy:
        """A copy without the head, which has hidden states and makes no predictions: what a critic reads with."""
        raise NotImplementedError


def completed(
    ids: Tensor, mask: Tensor, rows: Sequence[Sequence[int]], texts: Sequence[str], pad_id: int, ends: Sequence[int]
) -> Completions:
    """Prompts ``[N, P]``, padded on the left, with the given tokens after each; those with one of `ends` last ended."""
    longest = max(map(len, rows))
    tokens = torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows], device=ids.device)
    here = torch.arange(longest, device=ids.device) < torch.tensor([[len(row)] for row in rows], device=ids.device)
    ended = torch.tensor([row[-1] in ends for row in rows], device=ids.device)
    return Completions(torch.cat((ids, tokens), 1), torch.cat((mask, here), 1), tokens, here,
                       torch.zeros(tokens.shape, device=ids.device), list(texts), ended)  # fmt: skip


def token_logprobs(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each token, and the entropy of each prediction in nats (without gradient).

    `logits` ``[N, T, vocab]`` predict `tokens` ``[N, T]``; both results are ``[N, T]``.
    """
    everything = at_least_float32(logits).log_softmax(-1)
    with torch.no_grad():
        entropy = -(everything.exp() * everything).sum(-1)
    return everything.gather(-1, tokens.unsqueeze(-1)).squeeze(-1), entropy


@torch.no_grad()
def over_all(compute: Callable[[Completions], Tensor], completions: Completions, rows: int) -> Tensor:
    """`compute` of all completions, ``[N, T]`` and 0 behind their ends, in slices of `rows` of similar length.

    `compute` maps some completions to their ``[n, T]``, as `Policy.logprobs` and a `Critic` do.
    """
    parts = completions.lengths.argsort().split(rows)
    values = [compute(completions[part]) for part in parts]
    result = values[0].new_zeros(completions.mask.shape)
    for part, some in zip(parts, values, strict=True):
        result[part, : some.shape[1]] = some
    return result * completions.mask


def joined(parts: Sequence[Completions]) -> Completions:
    """Completions one after the other; prompts are padded on the left, texts on the right."""
    if len(parts) == 1:
        return parts[0]
    prompt, longest = max(p.prompt_width for p in parts), max(p.tokens.shape[1] for p in parts)
    columns: dict[str, list[Tensor]] = {}
    for part in parts:
        right, left = longest - part.tokens.shape[1], prompt - part.prompt_width
        for name in ("ids", "attention_mask", "tokens", "mask", "logp"):
            sides = (left, right) if name in ("ids", "attention_mask") else (0, right)
            columns.setdefault(name, []).append(F.pad(getattr(part, name), sides))  # by 0, which nothing looks at
    texts, ended = [text for part in parts for text in part.texts], torch.cat([part.ended for part in parts])
    return Completions(**{name: torch.cat(column) for name, column in columns.items()}, texts=texts, ended=ended)
