"""Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1), naive and absorbed, with its cache.

What is remembered of a token is one latent of `kv_lora_rank` numbers and one rotated key of `qk_rope_head_dim`
numbers that all heads share. *Naive*: unfold keys and values of every head from the latent, then attend as usual;
this is cheaper when queries are many (training). *Absorbed*: fold the unfolding into the query and into the output,
and attend to the latents themselves as if all heads shared one key; this is cheaper when one query meets a long cache
(decoding). Both give the same numbers.
"""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from minidsk.model.config import ModelConfig
from minidsk.model.norm import RMSNorm
from minidsk.model.precision import at_least_float32
from minidsk.model.rope import rotate, softmax_scale

PLANLESS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def any_width() -> contextlib.AbstractContextManager[None]:
    """Within, attention is by kernels that take every width alike; for who computes other widths at each step.

    On a Hopper torch prefers cuDNN, which makes a plan for every shape that it has not seen: the steps of 0.39 to
    0.48 s in results/ch12_trl_before, between others of 0.2 s.
    """
    return sdpa_kernel(PLANLESS)


def added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool mask as numbers to add to scores: 0 where a query may look, else so low that nothing is left.

    Not minus infinity: a query of padding, which may look nowhere, then still gets numbers.
    """
    return torch.where(mask, 0.0, -1e30).to(dtype)


class LatentCache:
    """The memory of decoding: per layer and token, the normalised latent beside the rotated key.

    `entries` ``[layers, batch, capacity, kv_lora_rank + qk_rope_head_dim]``; `valid` ``[batch, capacity]`` says which
    slots hold a token rather than padding. All rows of a batch write the same slots, so prompts are padded on the
    left. With `static`, attention always looks at the whole capacity under a mask, so that no shape ever changes and
    a CUDA graph can replay the step; `slots` is then for its owner to move, and nothing valid may lie behind them.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        *,
        layers: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        static: bool = False,
    ) -> None:
        width = config.kv_lora_rank + config.qk_rope_head_dim
        depth = config.num_hidden_layers if layers is None else layers
        self.entries = torch.zeros(depth, batch, capacity, width, device=device, dtype=dtype)
        self.valid = torch.zeros(batch, capacity, dtype=torch.bool, device=device)
        self.slots = torch.zeros(0, dtype=torch.long, device=device)
        self.length = 0
        self.static = static

    @property
    def capacity(self) -> int:
        """Slots a row has."""
        return self.entries.shape[2]

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one token of one sequence takes, all layers together."""
        return self.entries.shape[0] * self.entries.shape[3] * self.entries.element_size()

    def open(self, valid: Tensor) -> Tensor:
        """Make room for the tokens `valid` ``[batch, new]``; return who sees whom, bool ``[batch, 1, new, seen]``.

        Raises `ValueError` when the capacity is used up.
        """
        new = valid.shape[1]
        if not self.static:
            if self.length + new > self.capacity:
                needed = self.length + new
                raise ValueError(f"cache: {needed} tokens do not fit its {self.capacity} slots; make it larger")
            self.slots = torch.arange(self.length, self.length + new, device=self.valid.device)
            self.length += new
        self.valid.index_copy_(1, self.slots, valid)
        if self.static and new == 1:
            return self.valid[:, None, None]
        seen = self.capacity if self.static else self.length
        earlier = torch.arange(seen, device=self.valid.device) <= self.slots[:, None]
        return (earlier & self.valid[:, None, :seen]).unsqueeze(1)

    def positions(self) -> Tensor:
        """How many valid tokens stand before each open slot, int64 ``[batch, new]``."""
        if self.static and len(self.slots) == 1:
            return self.valid.sum(1, keepdim=True) - 1
        return (self.valid.cumsum(1) - 1).clamp(min=0).index_select(1, self.slots)

    def write(self, layer: int, new: Tensor) -> Tensor:
        """Store `new` ``[batch, new, width]`` in the open slots of `layer`; return all that is seen of it."""
        entry = self.entries[layer]
        entry.index_copy_(1, self.slots, new.to(entry.dtype))
        return entry if self.static else entry[:, : self.length]

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows ``[batch']`` of the batch: the sequences that have not ended."""
        self.entries, self.valid = self.entries[:, rows], self.valid[rows]


class MultiHeadLatentAttention(nn.Module):
    """MLA with decoupled rotary keys; parameter names are those of DeepSeek's checkpoints.

    Equations 9 to 19 of arXiv:2405.04434 (equations 1 to 11 of DeepSeek-V3). `absorb` as above; with a cache the
    absorbed form is used whatever it says, unless `absorb=False` is passed to `forward`.
    """

    def __init__(self, config: ModelConfig, *, absorb: bool | None = None) -> None:
        super().__init__()
        self.config = config
        self.absorb = config.absorb if absorb is None else absorb
        self.kernels = config.kernels
        self.scale = softmax_scale(config)
        heads, hidden, bias = config.num_attention_heads, config.hidden_size, config.attention_bias
        if config.q_lora_rank is None:
            self.q_proj = nn.Linear(hidden, heads * config.qk_head_dim, bias=False)
        else:
            self.q_a_proj = nn.Linear(hidden, config.q_lora_rank, bias=bias)
            self.q_a_layernorm = RMSNorm(config.q_lora_rank, kernels=config.kernels)
            self.q_b_proj = nn.Linear(config.q_lora_rank, heads * config.qk_head_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(hidden, config.kv_lora_rank + config.qk_rope_head_dim, bias=bias)
        self.kv_a_layernorm = RMSNorm(config.kv_lora_rank, kernels=config.kernels)
        unfolded = heads * (config.qk_nope_head_dim + config.v_head_dim)
        self.kv_b_proj = nn.Linear(config.kv_lora_rank, unfolded, bias=False)
        self.o_proj = nn.Linear(heads * config.v_head_dim, hidden, bias=bias)

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        cache: LatentCache | None = None,
        layer: int = 0,
        absorb: bool | None = None,
    ) -> Tensor:
        """Attend within `x` ``[batch, time, hidden]``, and to what the cache holds.

        `rotation`: cos and sin ``[batch or 1, time, qk_rope_head_dim / 2]``. `mask`: bool ``[batch, 1, time, seen]``,
        True where a query may look, or numbers to add to the scores (see `added`); None means causal. Returns
        ``[batch, time, hidden]``.
        """
        config = self.config
        cos, sin = rotation
        q_nope, q_rope = self._queries(x).split((config.qk_nope_head_dim, config.qk_rope_head_dim), dim=-1)
        q_rope = self._rotate(q_rope, cos.unsqueeze(1), sin.unsqueeze(1))

        latent, k_rope = self.kv_a_proj_with_mqa(x).split((config.kv_lora_rank, config.qk_rope_head_dim), dim=-1)
        k_rope = self._rotate(k_rope.unsqueeze(1), cos.unsqueeze(1), sin.unsqueeze(1)).squeeze(1)
        memory = torch.cat((self.kv_a_layernorm(latent), k_rope), dim=-1)
        if cache is not None:
            memory = cache.write(layer, memory)

        if absorb is None:
            absorb = self.absorb or cache is not None
        attend = self._absorbed if absorb else self._naive
        return self.o_proj(rearrange(attend(q_nope, q_rope, memory, mask), "b h t v -> b t (h v)"))

    def _rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        # The kernel has no backward pass, and is compiled anew for some widths: it is for a token at a time.
        if self.kernels == "triton" and x.shape[2] == 1 and not torch.is_grad_enabled():
            from minidsk.kernels import rotary

            return rotary.rotate(x, cos, sin, self.config.rope_interleave)
        return rotate(x, cos, sin, self.config.rope_interleave)

    def _queries(self, x: Tensor) -> Tensor:
        q = self.q_proj(x) if self.config.q_lora_rank is None else self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        return rearrange(q, "b t (h d) -> b h t d", h=self.config.num_attention_heads)

    def _naive(self, q_nope: Tensor, q_rope: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        config = self.config
        latent, k_rope = memory.split((config.kv_lora_rank, config.qk_rope_head_dim), dim=-1)
        kv = rearrange(self.kv_b_proj(latent), "b s (h d) -> b h s d", h=config.num_attention_heads)
        k_nope, v = kv.split((config.qk_nope_head_dim, config.v_head_dim), dim=-1)
        k_rope = k_rope.unsqueeze(1).expand(-1, config.num_attention_heads, -1, -1)
        q, k = torch.cat((q_nope, q_rope), dim=-1), torch.cat((k_nope, k_rope), dim=-1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=self.scale)

    def _absorbed(self, q_nope: Tensor, q_rope: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        rank = self.config.kv_lora_rank
        unfold = rearrange(self.kv_b_proj.weight, "(h d) r -> h d r", h=self.config.num_attention_heads)
        to_key, to_value = unfold.to(q_nope.dtype).split((self.config.qk_nope_head_dim, self.config.v_head_dim), dim=1)
        # q . (W c) = (W^T q) . c: the query moves into the latent space instead of every key out of it.
        q = torch.cat((torch.einsum("bhtd,hdr->bhtr", q_nope, to_key), q_rope), dim=-1)
        heads, time = q.shape[1], q.shape[2]
        if mask is not None and mask.is_floating_point():
            return torch.einsum("bhtr,hvr->bhtv", self._fused(q, memory, mask), to_value)
        scores = q.flatten(1, 2) @ memory.transpose(1, 2)  # all heads meet the one memory: [b, h*t, s]
        scores = rearrange(at_least_float32(scores), "b (h t) s -> b h t s", h=heads) * self.scale
        if mask is None:
            mask = torch.ones(time, memory.shape[1], dtype=torch.bool, device=q.device).tril()
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1).to(memory.dtype)
        mixed = rearrange(weights, "b h t s -> b (h t) s") @ memory[..., :rank]
        return torch.einsum("bhtr,hvr->bhtv", rearrange(mixed, "b (h t) r -> b h t r", h=heads), to_value)

    def _fused(self, q: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """What the heads of `q` ``[b, h, t, r + dr]`` mix from the latents, ``[b, h, t, r]``: one kernel, not eight.

        All heads have the same keys and values, so they are as many queries of one head.
        """
        heads, shared = q.shape[1], memory.unsqueeze(1)
        seen = rearrange(mask.expand(-1, heads, -1, -1), "b h t s -> b 1 (h t) s")
        latents = shared[..., : self.config.kv_lora_rank]
        with any_width():
            mixed = F.scaled_dot_product_attention(
                rearrange(q, "b h t r -> b 1 (h t) r"), shared, latents, attn_mask=seen, scale=self.scale
            )
        return rearrange(mixed, "b 1 (h t) r -> b h t r", h=heads)
