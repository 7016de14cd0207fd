"""The memory of decoding: per layer and token one latent and one rotated key, with a length for each row."""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.model.config import ModelConfig


def added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool mask as numbers to add to scores: 0 where a query may look, else so low that nothing is left.

    Not minus infinity: a query of padding, which may look nowhere, then still gets numbers.
    """
    return torch.mul(~mask, -1e30, out=torch.empty(mask.shape, dtype=dtype, device=mask.device))


class LatentCache:
    """What is remembered of a batch of growing texts: the normalised latent beside the rotated key.

    `entries` ``[layers, batch, capacity, kv_lora_rank + qk_rope_head_dim]``. Row b holds its tokens in the slots from
    `begins[b]` up to, but without, `ends[b]` (both ``[batch]``): rows may be of different lengths, grow from wherever
    they are, be copied (`fork`) and be cut back (`truncate`). With `mtp`, the layers of the MTP modules follow the
    main ones, and `hidden` ``[depths, batch, capacity, hidden]`` keeps the states that they look at.
    With `static`, attention always looks at the whole capacity under a mask, so that no shape ever changes and a CUDA
    graph can replay the step. A row begins at slot `lead`: those before it stay empty, for who looks back (`reopen`).
    """

    def __init__(
        self, config: ModelConfig, batch: int, capacity: int, *, layers: int | None = None, mtp: bool = False,
        device: torch.device | str | None = None, dtype: torch.dtype | None = None, static: bool = False, lead: int = 0,
    ) -> None:  # fmt: skip
        depths = config.num_nextn_predict_layers if mtp else 0
        width = config.kv_lora_rank + config.qk_rope_head_dim
        layers = config.num_hidden_layers + depths if layers is None else layers
        self.entries = torch.zeros(layers, batch, capacity, width, device=device, dtype=dtype)
        self.hidden = torch.zeros(depths, batch, capacity, config.hidden_size, device=device, dtype=dtype)
        self.begins, self.ends = (torch.full((batch,), lead, dtype=torch.long, device=device) for _ in range(2))
        self._places = torch.arange(capacity, device=device)
        self._behind = self._places - (capacity - 1)  # up to 0
        self.slots = torch.zeros(batch, 0, dtype=torch.long, device=device)  # of the tokens being computed
        self.longest = lead  # no row reaches beyond this slot; known without asking the GPU
        self.static, self.lead = static, lead

    @property
    def capacity(self) -> int:
        """Slots a row has."""
        return self.entries.shape[2]

    @property
    def lengths(self) -> Tensor:
        """How many tokens each row holds, int64 ``[batch]``."""
        return self.ends - self.begins

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one token of one sequence takes, all layers together."""
        return self.entries.shape[0] * self.entries.shape[3] * self.entries.element_size()

    def open(self, attention_mask: Tensor | int) -> Tensor:
        """Make room for new tokens as `place` does; return who sees whom, bool ``[batch, 1, new, seen]``."""
        self.place(attention_mask)
        return self.mask()

    def place(self, attention_mask: Tensor | int) -> None:
        """Make room for new tokens, one slot for each.

        `attention_mask` ``[batch, new]`` is False at padding, which may stand on the left of a row's first tokens; a
        number says how many there are where none is padding. Raises `ValueError` when the capacity is used up.
        """
        new = attention_mask if isinstance(attention_mask, int) else attention_mask.shape[1]
        self.slots = self.ends[:, None] + self._places[:new]
        self.grow(new)
        if new > 1 and isinstance(attention_mask, Tensor):
            self.begins += (~attention_mask).sum(1)

    def grow(self, new: int) -> None:
        """Let each row hold `new` tokens more. Raises `ValueError` when the capacity is used up."""
        needed = self.longest if self.static else self.longest + new
        if needed > self.capacity:
            raise ValueError(f"cache: {needed} tokens do not fit its {self.capacity} slots; make it larger")
        self.longest = needed
        self.ends += new

    def mask(self, depth: int = 0) -> Tensor:
        """Who of the open slots sees whom. An MTP module of depth k has nothing to say of a row's first k tokens."""
        seen = self._places if self.static else self._places[: self.longest]
        begins = self.begins + depth if depth else self.begins
        return (seen >= begins[:, None, None, None]) & (seen <= self.slots[:, None, :, None])

    def fused_mask(self, depth: int = 0) -> Tensor:
        """`mask` in the form that is fastest where it is: as numbers it fits the fused kernels that a GPU has."""
        mask = self.mask(depth)
        return added(mask, self.entries.dtype) if mask.is_cuda else mask

    def reopen(self, last: Tensor, new: int) -> None:
        """Open again the `new` slots up to and including slot `last` ``[batch]``, which hold or may hold tokens."""
        self.slots = last[:, None] + self._behind[self.capacity - new :]
        if not self.static:
            self.longest = int(last.max()) + 1

    def positions(self) -> Tensor:
        """How many tokens stand before each open slot, int64 ``[batch, new]``."""
        positions = self.slots - self.begins[:, None]
        return positions.clamp(min=0) if self.slots.shape[1] > 1 else positions  # padding stands among several

    def write(self, layer: int, new: Tensor) -> Tensor:
        """Store `new` ``[batch, new, width]`` in the open slots of `layer`; return all that is seen of it."""
        return self._put(self.entries[layer], new)

    def keep(self, depth: int, hidden: Tensor) -> None:
        """Keep the states of the open slots ``[batch, new, hidden]`` that module `depth` (from 1) reads, if it does."""
        if depth <= len(self.hidden):
            self._put(self.hidden[depth - 1], hidden)

    def before(self, depth: int) -> Tensor:
        """The states that module `depth` reads at the open slots ``[batch, new, hidden]``: those of the slot before
        each. Before a row's beginning they mean nothing."""
        kept = self.hidden[depth - 1]
        return kept.gather(1, (self.slots - 1).clamp(min=0).unsqueeze(-1).expand(-1, -1, kept.shape[-1]))

    def clear(self) -> None:
        """Forget everything."""
        self.begins.fill_(self.lead)
        self.ends.fill_(self.lead)
        self.longest = self.lead

    def fork(self, rows: Tensor) -> LatentCache:
        """A cache of these rows ``[batch']`` of this one, in this order, each as often as it is named."""
        copy = object.__new__(LatentCache)
        copy.__dict__ |= self.__dict__
        copy.entries, copy.hidden = self.entries[:, rows], self.hidden[:, rows]
        copy.begins, copy.ends = self.begins[rows], self.ends[rows]
        return copy

    def adopt(self, rows: Tensor, other: LatentCache) -> None:
        """Put all rows of `other`, whose texts fit here, in the place of these rows ``[batch']`` of this one."""
        width = min(self.capacity, other.capacity)
        self.entries[:, rows, :width] = other.entries[:, :, :width]
        self.hidden[:, rows, :width] = other.hidden[:, :, :width]
        self.begins[rows], self.ends[rows] = other.begins, other.ends

    def forget(self, rows: Tensor) -> None:
        """Forget these rows, bool ``[batch]``."""
        self.begins.masked_fill_(rows, self.lead)
        self.ends.masked_fill_(rows, self.lead)

    def truncate(self, lengths: Tensor, ask: bool = True) -> None:
        """Forget all but the first `lengths` ``[batch]`` tokens of each row, or nothing where a row has fewer.

        `ask`: whether the device is asked how long the longest row now is, so that no more than that is looked at.
        """
        torch.minimum(self.ends, self.begins + lengths, out=self.ends)
        if ask and not self.static:
            self.longest = int(self.ends.max())

    def _put(self, kept: Tensor, new: Tensor) -> Tensor:
        kept.scatter_(1, self.slots.unsqueeze(-1).expand(-1, -1, new.shape[-1]), new.to(kept.dtype))
        return kept if self.static else kept[:, : self.longest]
