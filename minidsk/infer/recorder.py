"""Steps that are recorded once and replayed: drawing a token for each row and computing what comes after it.

A small model's step is mostly the cost of starting kernels. All that a step reads and writes can have a fixed place and
a fixed shape, so that on a GPU one launch, of a CUDA graph, replays all of it.
"""

from __future__ import annotations

import sys
import warnings
from typing import TypeVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

from minidsk.infer.engine import Engine
from minidsk.infer.noise import FIRST, NEGATIVE, PLACE, SECOND, UNIT, Noise
from minidsk.infer.sampling import Sampling
from minidsk.kernels.dispatch import has_grouped_product
from minidsk.model.cache import LatentCache
from minidsk.model.operations import suits_every_expert
from minidsk.model.transformer import MiniDeepSeek

WIDTH = 32  # texts of different lengths share a recording: slots are made for a multiple of so many
KEPT = 8  # recordings, each with a cache of its own


def recordable(model: MiniDeepSeek, tokens: int) -> bool:
    """Whether a step of `model` for so many tokens at once can be a CUDA graph: on a GPU, with nothing that waits for
    the CPU."""
    weight, config = model.embed_tokens.weight, model.config
    if not weight.is_cuda or not config.has_experts:
        return weight.is_cuda
    with torch.no_grad():
        few = suits_every_expert(weight[:1].expand(tokens, -1), config.n_routed_experts, config.num_experts_per_tok)
    return few or has_grouped_product(weight, config.hidden_size, config.moe_intermediate_size)


class Replayed:
    """A step over tensors of fixed places and shapes, recorded once and replayed. What cannot be recorded runs as
    written.

    Each kind has a `cache`, and says what a step is (`_step`) and how all is as before it (`_forget`). It must neither
    wait for the device nor put another tensor in the place of one that outlives the step.
    """

    width, tight = WIDTH, False  # capacities are a multiple of `width`; a larger one serves too where not `tight`
    cache: LatentCache
    graph: torch.cuda.CUDAGraph | None

    def __init__(self, model: MiniDeepSeek, rows: int, capacity: int, new: int, sampling: Sampling) -> None:
        raise NotImplementedError

    def _step(self) -> None:
        raise NotImplementedError

    def _forget(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        """Do one step."""
        if self.graph is None:
            self._step()
        else:
            self.graph.replay()

    def _recorded(self, model: MiniDeepSeek, tokens: int) -> torch.cuda.CUDAGraph | None:
        if not recordable(model, tokens):
            return None
        try:
            return self._record()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # a driver or a model that cannot
            reason = str(error).partition("\n")[0]
            warnings.warn(f"no CUDA graph here ({reason}): sampling goes on without it, and is slower", stacklevel=2)
            return None

    def _record(self) -> torch.cuda.CUDAGraph:
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # what the first passes allocate and choose must not be part of the recording
                self._step()
                self._forget()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            self._step()
        return graph


class Recording(Replayed):
    """Drawing a token for each row and computing what comes after it, up to `new` times.

    `tokens` and `logprobs` ``[rows, new]`` fill up from the left.
    """

    def __init__(self, model: MiniDeepSeek, rows: int, capacity: int, new: int, sampling: Sampling) -> None:
        self.engine = Engine(model, rows, capacity, static=True)
        self.cache = self.engine.cache
        self.sampling = sampling
        self.place = torch.zeros(1, dtype=torch.long, device=model.device)
        begins = torch.zeros(rows, dtype=torch.long, device=model.device)
        self.noise = Noise(begins, model.config.vocab_size)  # each reply that a row takes up brings its own beginning
        self.tokens = torch.zeros(rows, new, dtype=torch.long, device=model.device)
        self.logprobs = torch.zeros(rows, new, device=model.device)
        self.fused = sampling.of_all and model.kernels.step == "triton" and self._can_draw()
        self.graph = self._recorded(model, rows)

    def rewind(self) -> None:
        """Write the next tokens from the left again."""
        self.place.zero_()

    @torch.no_grad()
    def _step(self) -> None:
        self.engine.step(self._by_kernel() if self.fused else self._drawn())
        self.place.add_(1)

    def _can_draw(self) -> bool:
        from minidsk.kernels.draw import can_draw

        return can_draw(self.engine.logits)

    def _drawn(self) -> Tensor:
        logprobs = self.engine.logits.log_softmax(-1, dtype=torch.float32)
        drawn = self.sampling.draw(logprobs, self.noise)
        self.tokens.index_copy_(1, self.place, drawn[:, None])
        self.logprobs.index_copy_(1, self.place, logprobs.gather(1, drawn[:, None]))
        return drawn

    def _by_kernel(self) -> Tensor:
        from minidsk.kernels.draw import Hash, draw

        noise, constants = self.noise, Hash(PLACE, FIRST, SECOND, NEGATIVE, UNIT)
        return draw(self.engine.logits, self.sampling.temperature, noise.streams, noise.entries, constants, self.place,
                    self.tokens, self.logprobs)  # fmt: skip

    def _forget(self) -> None:
        self.cache.clear()
        self.place.zero_()


Kind = TypeVar("Kind", bound=Replayed)


class Recorder:
    """Keeps recordings from one call to the next. Recording takes as long as dozens of steps.

    graphs: whether steps are replayed from a graph where one can be made; else Python starts them, to compare.
    most: rows that were not too many for the memory.
    """

    def __init__(self, graphs: bool = True) -> None:
        self.graphs, self.most = graphs, sys.maxsize
        self._model: MiniDeepSeek | None = None
        self._kept: dict[tuple[object, ...], Replayed] = {}

    def halve(self, rows: int) -> None:
        """So many rows were too many: give back what is kept, say so, and try half as many from here on."""
        self._kept, self.most = {}, rows // 2
        tqdm.write(f"out of memory: {self.most} rows at a time are sampled from here on")

    def recording(self, model: MiniDeepSeek, rows: int, capacity: int, new: int, sampling: Sampling) -> Recording:
        """A recording for `rows` texts of at most `capacity` tokens: one that is there, where that fits."""
        return self.replayed(Recording, model, rows, capacity, new, sampling)

    def replayed(
        self, kind: type[Kind], model: MiniDeepSeek, rows: int, capacity: int, new: int, sampling: Sampling
    ) -> Kind:
        """The same for any kind of step; `new`: how many tokens of a row it is concerned with."""
        if model is not self._model:
            self._model, self._kept = model, {}
        capacity = -(-capacity // kind.width) * kind.width
        asked = (kind, rows, new, sampling, capacity if kind.tight else 0)
        kept = self._kept.pop(asked, None)
        if not isinstance(kept, kind) or kept.cache.capacity < capacity:
            kept = None  # give its memory back before the next one takes its own
            kept = kind(model, rows, capacity, new, sampling)
            if not self.graphs:
                kept.graph = None
        self._kept[asked] = kept  # the one that was asked for last stands last
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return kept
