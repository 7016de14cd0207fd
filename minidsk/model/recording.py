"""The decoding step of a small model is mostly the cost of starting kernels: record it once, and replay it.

The step draws a token for each row, keeps it, and computes what comes after it. All that it reads and writes has a
fixed place and a fixed shape, so that on a GPU one launch, of a CUDA graph, replays all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minidsk.model.dispatch import has_grouped_kernel

if TYPE_CHECKING:
    from minidsk.model.transformer import MiniDeepSeek

ROUND = 32  # prompts of different lengths share a recording: slots are made for a multiple of so many


def recordable(model: MiniDeepSeek) -> bool:
    """Whether a step of `model` can be a CUDA graph: on a GPU, with nothing in it that waits for the CPU."""
    weight, config = model.embed_tokens.weight, model.config
    if not config.has_experts:
        return weight.is_cuda
    return has_grouped_kernel(weight, config.hidden_size, config.moe_intermediate_size)


def pick(logprobs: Tensor, temperature: float, noise: Tensor) -> Tensor:
    """A token a row ``[batch]`` from `logprobs` ``[batch, vocab]``; `noise` is exponential, of the same shape.

    The largest of log p / T + Gumbel noise is a draw from softmax(log p / T); -log(exponential) is such noise.
    """
    if temperature == 0:
        return logprobs.argmax(-1)
    if temperature != 1:
        logprobs = logprobs / temperature
    return (logprobs - noise.clamp(min=1e-30).log()).argmax(-1)


class RecordedStep:
    """Draw the next token of each of `batch` rows, up to `new` of them, and compute what comes after it.

    `tokens` and `logprobs` ``[batch, new]`` fill up from the left. Where there is no GPU, the step runs as it is
    written: slower, and the same.
    """

    def __init__(self, model: MiniDeepSeek, batch: int, capacity: int, new: int, temperature: float) -> None:
        self.model, self.temperature = model, temperature
        device, vocab = model.device, model.config.vocab_size
        self.cache = model.new_cache(batch, capacity, static=True)
        self.slots = self.cache.slots = torch.zeros(1, dtype=torch.long, device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.logits = torch.zeros(batch, vocab, dtype=model.embed_tokens.weight.dtype, device=device)
        self.noise = torch.ones(batch, vocab, device=device)
        self.tokens = torch.zeros(batch, new, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(batch, new, device=device)
        self.graph = self._record() if device.type == "cuda" else None

    def begin(self, ids: Tensor, valid: Tensor) -> None:
        """Read the prompts ``[batch, time]``, padded on the left where `valid` is False."""
        cache = self.cache
        cache.static, cache.length = False, 0
        cache.valid.zero_()
        self.logits.copy_(self.model(ids, valid=valid, cache=cache).logits[:, -1])
        cache.static, cache.slots = True, self.slots
        self.slots.fill_(ids.shape[1])
        self.place.zero_()

    def run(self, generator: torch.Generator | None) -> None:
        """Draw one token more."""
        if self.temperature:
            self.noise.exponential_(generator=generator)
        if self.graph is None:
            self._step()
        else:
            self.graph.replay()

    def _step(self) -> None:
        logprobs = self.logits.log_softmax(-1, dtype=torch.float32)
        drawn = pick(logprobs, self.temperature, self.noise).unsqueeze(1)
        self.tokens.index_copy_(1, self.place, drawn)
        self.logprobs.index_copy_(1, self.place, logprobs.gather(1, drawn))
        self.logits.copy_(self.model(drawn, cache=self.cache).logits[:, -1])
        self.slots.add_(1)
        self.place.add_(1)

    def _record(self) -> torch.cuda.CUDAGraph:
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # what the first passes allocate and choose must not be part of the recording
                self._step()
                self.slots.zero_()
                self.place.zero_()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            self._step()
        return graph


class Recorder:
    """Keeps a recorded step from one call of `decode` to the next. Recording takes as long as dozens of steps."""

    def __init__(self) -> None:
        self._asked: tuple[object, ...] = ()
        self._step: RecordedStep | None = None

    def step(self, model: MiniDeepSeek, ids: Tensor, new: int, temperature: float) -> RecordedStep:
        """The step for prompts `ids` ``[batch, time]``: the one of the last call, where that fits."""
        batch, time = ids.shape
        asked = (model, batch, new, temperature)
        if self._step is None or self._asked != asked or self._step.cache.capacity < time + new:
            self._step = None  # give its memory back before the next one takes its own
            capacity = -(-time // ROUND) * ROUND + new
            self._step = RecordedStep(model, batch, capacity, new, temperature)
            self._asked = asked
        return self._step
