"""The engine under all decoding: rows of text that grow token by token, be it by a reply, a search or a speculation.

Its steps can have fixed places and shapes, so that a GPU replays them: see `minidsk.infer.recorder`.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from minidsk.infer.traced import TracedStep
from minidsk.kernels.trace import kept
from minidsk.model.transformer import MiniDeepSeek
from minidsk.precision import PLANLESS


class Engine:
    """`rows` texts of at most `capacity` tokens, and what comes next in each: `logits` ``[rows, vocab]``.

    `static`: whether all shapes are fixed, as a recording needs them; where there is no GPU it computes the same.
    `mtp` and `lead` as in `LatentCache`. `traced`: the step that a CPU does without Python; None to do without it.
    `naive`: whether prompts are read by attention's naive form, which makes no mask and no latent query. A CPU
    keeps the absorbed one, and with it the last digits of what was recorded there.
    """

    def __init__(
        self, model: MiniDeepSeek, rows: int, capacity: int, *, mtp: bool = False, static: bool = False, lead: int = 0
    ) -> None:
        self.model, self.mtp = model, mtp
        self.cache = model.new_cache(rows, capacity, mtp=mtp, static=static, lead=lead)
        dtype, vocab = model.embed_tokens.weight.dtype, model.config.vocab_size
        self.logits = torch.zeros(rows, vocab, dtype=dtype, device=model.device)
        self.ahead: list[Tensor] = []
        self.traced = None if mtp else kept(model, TracedStep)
        self.naive = model.device.type == "cuda"

    @torch.no_grad()
    def prefill(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Begin anew with the prompts `ids` ``[rows, time]``, padded on the left where the mask is 0; the logits.

        Each loses its padding first, so that how long the others are does not move what it adds up. Raises `ValueError`
        for prompts that are longer than the cache.
        """
        room = self.cache.capacity - self.cache.lead
        if ids.shape[1] > room:
            raise ValueError(f"ids: a prompt of {ids.shape[1]} tokens does not fit a cache of {room}")
        self.cache.clear()
        if attention_mask is None:
            self._advance(ids, fresh=self.naive)
            return self.logits
        ids, lengths = unpadded(ids, attention_mask)
        self._advance(ids, lengths - 1, fresh=self.naive)
        self.cache.truncate(lengths, ask=False)
        return self.logits

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to each row, `tokens` ``[rows]``, or several, ``[rows, new]``; the logits after the last."""
        tokens = tokens[:, None] if tokens.ndim == 1 else tokens
        logits = None if self.traced is None else self.traced.after(tokens, self.cache)
        if logits is None:
            self._advance(tokens)
        else:
            self._keep(logits)
        return self.logits

    def fork(self, rows: Tensor) -> Engine:
        """An engine that goes on from copies of these rows ``[rows']`` of this one."""
        copy = object.__new__(Engine)
        copy.__dict__ |= self.__dict__
        copy.cache, copy.logits = self.cache.fork(rows), self.logits[rows]
        copy.ahead = [logits[rows] for logits in self.ahead]
        return copy

    def truncate(self, lengths: Tensor) -> None:
        """Cut each row back to its first `lengths` ``[rows]`` tokens; the next `step` gives logits again."""
        self.cache.truncate(lengths)

    def _advance(self, ids: Tensor, last: Tensor | None = None, fresh: bool = False) -> None:
        """`last` ``[rows]``: after which of the tokens logits are wanted; None: after the last."""
        with sdpa_kernel(PLANLESS) if fresh else contextlib.nullcontext():
            states = self.model.states(ids, cache=self.cache, mtp=self.mtp, fresh=fresh)
        rows = torch.arange(len(ids), device=ids.device)
        hidden, *ahead = (x[:, -1] if last is None else x[rows, last] for x in (states.hidden, *states.ahead))
        self._keep(self.model.lm_head(hidden))
        self.ahead = [self.model.lm_head(x) for x in ahead]

    def _keep(self, logits: Tensor) -> None:
        # A recording reads the logits where it wrote them last; elsewhere a new tensor is as good.
        self.logits = self.logits.copy_(logits) if self.cache.static else logits


def unpadded(ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Prompts ``[rows, time]`` moved to the left, over their padding, and their lengths ``[rows]``. What then follows
    a prompt means nothing."""
    lengths, time = attention_mask.sum(1), ids.shape[1]
    places = torch.arange(time, device=ids.device) + (time - lengths)[:, None]
    return ids.gather(1, places.clamp(max=time - 1)), lengths
