"""Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1), naive and absorbed, with its cache.

What is remembered of a token is one latent of `kv_lora_rank` numbers and one rotated key of `qk_rope_head_dim`
numbers that all heads share. *Naive*: unfold keys and values of every head from the latent, then attend as usual;
this is cheaper when queries are many (training). *Absorbed*: fold the unfolding into the query and into the output,
and attend to the latents themselves as if all heads shared one key; this is cheaper when one query meets a long cache
(decoding). Both give the same numbers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel

from minidsk.model.cache import LatentCache
from minidsk.model.config import ModelConfig
from minidsk.model.norm import RMSNorm
from minidsk.model.operations import FEW_TOKENS, Kernels, laid_out
from minidsk.model.rope import softmax_scale
from minidsk.precision import PLANLESS, at_least_float32


class MultiHeadLatentAttention(nn.Module):
    """MLA with decoupled rotary keys; parameter names are those of DeepSeek's checkpoints.

    Equations 9 to 19 of arXiv:2405.04434 (equations 1 to 11 of DeepSeek-V3). `absorb` as above; None absorbs where
    more is seen than the new tokens. `forward` takes it too, for one call.
    """

    def __init__(self, config: ModelConfig, *, absorb: bool | None = None) -> None:
        super().__init__()
        self.config = config
        self.absorb = absorb
        self.kernels = Kernels()
        self.scale = softmax_scale(config)
        heads, hidden, bias = config.num_attention_heads, config.hidden_size, config.attention_bias
        if config.q_lora_rank is None:
            self.q_proj = nn.Linear(hidden, heads * config.qk_head_dim, bias=False)
        else:
            self.q_a_proj = nn.Linear(hidden, config.q_lora_rank, bias=bias)
            self.q_a_layernorm = RMSNorm(config.q_lora_rank)
            self.q_b_proj = nn.Linear(config.q_lora_rank, heads * config.qk_head_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(hidden, config.kv_lora_rank + config.qk_rope_head_dim, bias=bias)
        self.kv_a_layernorm = RMSNorm(config.kv_lora_rank)
        unfolded = heads * (config.qk_nope_head_dim + config.v_head_dim)
        self.kv_b_proj = nn.Linear(config.kv_lora_rank, unfolded, bias=False)
        self.o_proj = nn.Linear(heads * config.v_head_dim, hidden, bias=bias)
        self.packed: tuple[Tensor, Tensor] | None = None

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
        True where a query may look, or numbers to add to the scores (see `cache.added`); None means causal. Returns
        ``[batch, time, hidden]``.
        """
        config = self.config
        cos, sin = rotation
        absorb = self.absorb if absorb is None else absorb
        if cache is not None and absorb is not False and self.is_step(x, x.shape[1], cache):
            return self._step(x, rotation, cache, layer)

        q_nope, q_rope = self._queries(x).split((config.qk_nope_head_dim, config.qk_rope_head_dim), dim=-1)
        q_rope = self._rotate(q_rope, cos.unsqueeze(2), sin.unsqueeze(2))
        kv = self.kv_a_proj_with_mqa(x)
        latent, k_rope = kv.split((config.kv_lora_rank, config.qk_rope_head_dim), dim=-1)
        k_rope = self._rotate(k_rope.unsqueeze(2), cos.unsqueeze(2), sin.unsqueeze(2)).squeeze(2)
        memory = torch.cat((self.kv_a_layernorm(latent), k_rope), dim=-1)
        if cache is not None:
            kept = cache.write(layer, memory)
            memory = memory if mask is None else kept

        absorb = cache is not None and mask is not None if absorb is None else absorb
        attend = self._absorbed if absorb else self._naive
        return self.o_proj(attend(q_nope, q_rope, memory, mask).transpose(1, 2).flatten(2))

    def _rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return self.kernels.operation("rotation")(x, cos, sin, self.config.rope_interleave)

    def _queries(self, x: Tensor) -> Tensor:
        q = self.q_proj(x) if self.config.q_lora_rank is None else self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        return q.unflatten(-1, (self.config.num_attention_heads, -1))

    def is_step(self, like: Tensor, new: int, cache: LatentCache) -> bool:
        """Whether `new` tokens of each row, of numbers `like` these, are a step of decoding that one kernel is to do,
        and can. It needs no mask."""
        if self.absorb is False or self.kernels.step != "triton" or new > FEW_TOKENS or torch.is_grad_enabled():
            return False
        from minidsk.kernels.launch import can_run

        return can_run(like) and cache.entries.dtype == like.dtype

    @torch.no_grad()
    def pack(self) -> None:
        """Multiply the matrices that follow each other in a step of decoding, where that saves time: see
        `MiniDeepSeek.pack`.

        The unfolding of keys goes into the queries' projection, that of values into the output's (section 2.1.2
        of arXiv:2405.04434): of five products beside attention itself two are left, with more to multiply.
        """
        config = self.config
        if config.q_lora_rank is not None or config.attention_bias:
            return  # something stands between the matrices
        apart = sum(layer.weight.numel() for layer in (self.q_proj, self.kv_b_proj, self.o_proj))
        if config.num_attention_heads * config.kv_lora_rank * config.hidden_size <= apart:  # twice so many instead
            self.packed = laid_out(self._products(), self.packed)

    def _products(self) -> tuple[Tensor, Tensor]:
        """From a token to its queries in the latent space, the rest of them, and its latent and key; and from what all
        heads mix to the output. Multiplied in float32 at least."""
        config, out = self.config, self.o_proj.weight
        to_key, to_value = (at_least_float32(x) for x in self._unfolding(out.dtype))
        q = self.q_proj.weight.unflatten(0, (config.num_attention_heads, -1))
        nope, rope = q.split((config.qk_nope_head_dim, config.qk_rope_head_dim), dim=1)
        to_latent = torch.einsum("hdr,hdi->hri", to_key, nope.to(to_key.dtype)).to(out.dtype)
        from_latent = torch.einsum("hvr,ohv->ohr", to_value, out.unflatten(1, to_value.shape[:2]).to(to_value.dtype))
        into = torch.cat((to_latent.flatten(0, 1), rope.flatten(0, 1), self.kv_a_proj_with_mqa.weight))
        return into, from_latent.flatten(1).to(out.dtype)

    def _step(self, x: Tensor, rotation: tuple[Tensor, Tensor], cache: LatentCache, layer: int) -> Tensor:
        """What `_absorbed` gives for a few new tokens of each row, and the cache is written too."""
        from minidsk.kernels.latent_attention import latent_attention

        config = self.config
        heads, rank, rope = config.num_attention_heads, config.kv_lora_rank, config.qk_rope_head_dim
        if self.packed is None:
            to_key, to_value = self._unfolding(x.dtype)
            q, q_rope = self._queries(x).transpose(1, 2).split((config.qk_nope_head_dim, rope), dim=-1)
            q, kv = torch.einsum("bhtd,hdr->bhtr", q, to_key), self.kv_a_proj_with_mqa(x)
        else:
            into, from_latent = self.packed
            q, q_rope, kv = F.linear(x, into).split((heads * rank, heads * rope, rank + rope), dim=-1)
            q, q_rope = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (q, q_rope))
        depth = max(layer + 1 - config.num_hidden_layers, 0)  # of an MTP module, which sees fewer slots
        begins, norm = cache.begins + depth if depth else cache.begins, self.kv_a_layernorm
        mixed = latent_attention(q, q_rope, kv, norm.weight, *rotation, cache.entries[layer], begins, cache.slots,
                                 self.scale, norm.eps, config.rope_interleave)  # fmt: skip
        if self.packed is not None:
            return F.linear(mixed.transpose(1, 2).flatten(2), from_latent)
        return self.o_proj(torch.einsum("bhtr,hvr->bhtv", mixed, to_value).transpose(1, 2).flatten(2))

    def _unfolding(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """What unfolds a latent into the keys ``[heads, nope, rank]`` and values ``[heads, v, rank]`` of all heads."""
        unfold = self.kv_b_proj.weight.unflatten(0, (self.config.num_attention_heads, -1)).to(dtype)
        return unfold.split((self.config.qk_nope_head_dim, self.config.v_head_dim), dim=1)

    def _naive(self, q_nope: Tensor, q_rope: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        config = self.config
        latent, k_rope = memory.split((config.kv_lora_rank, config.qk_rope_head_dim), dim=-1)
        kv = rearrange(self.kv_b_proj(latent), "b s (h d) -> b s h d", h=config.num_attention_heads)
        k_nope, v = kv.split((config.qk_nope_head_dim, config.v_head_dim), dim=-1)
        k_rope = repeat(k_rope, "b s d -> b s h d", h=config.num_attention_heads)
        q, k = torch.cat((q_nope, q_rope), dim=-1), torch.cat((k_nope, k_rope), dim=-1)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=self.scale)

    def _absorbed(self, q_nope: Tensor, q_rope: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        rank = self.config.kv_lora_rank
        to_key, to_value = self._unfolding(q_nope.dtype)
        q_nope, q_rope = q_nope.transpose(1, 2), q_rope.transpose(1, 2)
        # q . (W c) = (W^T q) . c: the query moves into the latent space instead of every key out of it.
        q = torch.cat((torch.einsum("bhtd,hdr->bhtr", q_nope, to_key), q_rope), dim=-1)
        heads, time = self.config.num_attention_heads, q.shape[2]
        if mask is not None and mask.is_floating_point():
            return torch.einsum("bhtr,hvr->bhtv", self._fused(q, memory, mask), to_value)
        scores = q.flatten(1, 2) @ memory.transpose(1, 2)  # all heads meet the one memory: [b, h*t, s]
        scores = at_least_float32(scores).unflatten(1, (heads, -1)) * self.scale
        if mask is None:
            mask = torch.ones(time, memory.shape[1], dtype=torch.bool, device=q.device).tril()
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1).to(memory.dtype)
        mixed = weights.flatten(1, 2) @ memory[..., :rank]
        return torch.einsum("bhtr,hvr->bhtv", mixed.unflatten(1, (heads, -1)), to_value)

    def _fused(self, q: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """What the heads of `q` ``[b, h, t, r + dr]`` mix from the latents, ``[b, h, t, r]``: one kernel, not eight.

        All heads have the same keys and values, so they are as many queries of one head.
        """
        heads, shared = q.shape[1], memory.unsqueeze(1)
        seen = rearrange(mask.expand(-1, heads, -1, -1), "b h t s -> b 1 (h t) s")
        latents = shared[..., : self.config.kv_lora_rank]
        with sdpa_kernel(PLANLESS):
            mixed = F.scaled_dot_product_attention(
                rearrange(q, "b h t r -> b 1 (h t) r"), shared, latents, attn_mask=seen, scale=self.scale
            )
        return rearrange(mixed, "b 1 (h t) r -> b h t r", h=heads)
