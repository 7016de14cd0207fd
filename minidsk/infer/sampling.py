"""How a token is drawn: greedily, or from the probabilities after temperature, top-k and top-p."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from minidsk.infer.noise import Noise
from minidsk.precision import at_least_float32
from minidsk.settings import require, within


@dataclass(frozen=True)
class Sampling:
    """Temperature 0 takes the likeliest token. Otherwise the probabilities at this temperature are cut to the `top_k`
    likeliest tokens, and those to the fewest that hold at least `top_p` of what is left, in this order, as transformers
    does. Raises `ValueError` for a setting that does not fit."""

    temperature: float = 1.0
    top_k: int = 0  # 0: all tokens
    top_p: float = 1.0  # 1: all tokens

    def __post_init__(self) -> None:
        require(self, "temperature", 0 <= self.temperature < math.inf, "0 (greedy) or more")
        within(self, 0, math.inf, "top_k")
        require(self, "top_p", 0 < self.top_p <= 1, "above 0, and 1 at most (1: all tokens)")

    @property
    def of_all(self) -> bool:
        """Whether no token is left out, whatever its probability."""
        return self.top_k == 0 and self.top_p == 1

    def probabilities(self, logits: Tensor) -> Tensor:
        """What each token is drawn with, float32 or float64, from `logits` ``[..., vocab]``, same shape."""
        return self.of(at_least_float32(logits).log_softmax(-1))

    def of(self, logprobs: Tensor) -> Tensor:
        """The same from log-probabilities at temperature 1 ``[..., vocab]``."""
        if self.temperature == 0:
            return torch.zeros_like(logprobs).scatter(-1, logprobs.argmax(-1, keepdim=True), 1.0)
        if self.temperature != 1:
            logprobs = logprobs / self.temperature
        if 0 < self.top_k < logprobs.shape[-1]:
            least = logprobs.topk(self.top_k, dim=-1).values[..., -1:]
            logprobs = logprobs.masked_fill(logprobs < least, -math.inf)
        if self.top_p < 1:
            sorted_, order = logprobs.sort(-1, descending=True)
            p = sorted_.softmax(-1)
            enough = p.cumsum(-1) - p >= self.top_p  # those before it hold the share already
            logprobs = logprobs.masked_fill(enough.scatter(-1, order, enough), -math.inf)
        return logprobs.softmax(-1)

    def draw(self, logprobs: Tensor, noise: Noise) -> Tensor:
        """A token for each row ``[rows]`` from log-probabilities ``[rows, vocab]``; greedily, without any noise.

        -log u is exponential for a uniform u, and the smallest of -log u / p stands at each token with probability p.
        As -log(-log u) is Gumbel's noise, this is the largest of log p plus such noise, with less to compute.
        """
        if self.temperature == 0:
            return logprobs.argmax(-1)
        return (self.of(logprobs) / noise.next()).argmin(-1)  # the smallest of p / log u: the same one
