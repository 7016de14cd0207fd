"""The engine under all decoding: rows of text that grow token by token, be it by a reply, a search or a speculation.

A small model's step is mostly the cost of starting kernels. All that a step reads and writes can have a fixed place and
a fixed shape, so that on a GPU one launch, of a CUDA graph, replays all of it.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.attention import sdpa_kernel
from tqdm.auto import tqdm

from minidsk.infer.noise import Noise
from minidsk.infer.sampling import Sampling
from minidsk.infer.traced import TracedStep
from minidsk.kernels.dispatch import has_grouped_product
from minidsk.kernels.trace import kept
from minidsk.model.cache import LatentCache
from minidsk.model.operations import suits_every_expert
from minidsk.model.transformer import MiniDeepSeek
from minidsk.precision import PLANLESS

WIDTH = 32  # texts of different lengths share a recording: slots are made for a multiple of so many
KEPT = 8  # recordings, each with a cache of its own


class Engine:
    """`rows` texts of at most `capacity` tokens, and what comes next in each: `logits` ``[rows, vocab]``.

    `static`: whether all shapes are fixed, as a recording needs them; where there is no GPU it computes the same.
    `mtp` and `lead` as in `LatentCache`. `traced`: the step that a CPU does without Python; None to do without it.
    `naive`: whether prompts are read by attention's naive form, which makes no mask and no latent query; on a CPU the
    absorbed one is as fast for short prompts.
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
        self.graph = self._recorded(model, rows)

    def rewind(self) -> None:
        """Write the next tokens from the left again."""
        self.place.zero_()

    @torch.no_grad()
    def _step(self) -> None:
        logprobs = self.engine.logits.log_softmax(-1, dtype=torch.float32)
        drawn = self.sampling.draw(logprobs, self.noise).unsqueeze(1)
        self.tokens.index_copy_(1, self.place, drawn)
        self.logprobs.index_copy_(1, self.place, logprobs.gather(1, drawn))
        self.engine.step(drawn)
        self.place.add_(1)

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
