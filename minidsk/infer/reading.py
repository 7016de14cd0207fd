"""Prompts that are read by one launch: of a small model, reading too is mostly the cost of starting kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.infer.engine import Engine
from minidsk.infer.recorder import Recorder, Replayed, recordable
from minidsk.infer.sampling import Sampling
from minidsk.model.transformer import MiniDeepSeek

MOST = 1 << 17  # tokens: of more, kernels take longer than starting them, and a recording keeps all their results


def read(model: MiniDeepSeek, ids: Tensor, mask: Tensor, recorder: Recorder | None = None, lead: int = 0) -> Engine:
    """An engine that has read the prompts `ids` ``[rows, time]``, padded on the left where `mask` is 0.

    From a recording, where a `recorder` keeps some and that is faster; the next prompts then take the place of these.
    With a `lead` (see `LatentCache`) the MTP modules read too.
    """
    if recorder is not None and recorder.graphs and ids.numel() <= MOST and recordable(model, ids.numel()):
        return recorder.replayed(Reading, model, len(ids), lead + ids.shape[1], lead, Sampling()).read(ids, mask)
    engine = Engine(model, len(ids), lead + ids.shape[1], mtp=lead > 0, lead=lead)
    engine.prefill(ids, mask)
    return engine


class Reading(Replayed):
    """Reading `rows` prompts that fill at most `capacity` slots; `lead` as for `read`."""

    width, tight = 8, True  # what prompts lack to a multiple of so many slots is read for nothing

    def __init__(self, model: MiniDeepSeek, rows: int, capacity: int, lead: int, sampling: Sampling) -> None:
        self.engine = Engine(model, rows, capacity, mtp=lead > 0, lead=lead)
        self.cache = self.engine.cache
        self.ids = torch.zeros(rows, capacity - lead, dtype=torch.long, device=model.device)
        self.mask = torch.ones(self.ids.shape, dtype=torch.bool, device=model.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.times = 0  # that it was used; the second time it is recorded, which takes longer than to read once

    def read(self, ids: Tensor, mask: Tensor) -> Engine:
        """The engine that has read these prompts, as `read` takes them."""
        missing = self.ids.shape[1] - ids.shape[1]
        self.ids[:, missing:], self.mask[:, missing:] = ids, mask
        self.mask[:, :missing] = False
        self.times += 1
        if self.times == 2:
            self.graph = self._recorded(self.engine.model, self.ids.numel())
        self.run()
        return self.engine

    @torch.no_grad()
    def _step(self) -> None:
        self.engine.prefill(self.ids, self.mask)

    def _forget(self) -> None:
        self.cache.clear()
