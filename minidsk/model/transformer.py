"""MiniDeepSeek: embedding, blocks, final norm, head, and the modules that look further ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minidsk.model.attention import MultiHeadLatentAttention
from minidsk.model.block import Block
from minidsk.model.cache import LatentCache
from minidsk.model.config import ModelConfig
from minidsk.model.mask import positions_and_mask
from minidsk.model.moe import Experts, MoE, Router, Routing
from minidsk.model.mtp import MTPModule
from minidsk.model.norm import RMSNorm
from minidsk.model.operations import Kernels
from minidsk.model.rope import attention_factor, inverse_frequencies, rotation
from minidsk.precision import WideBuffers

recomputed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)  # nothing in a block is random


@dataclass
class States:
    """What the body of the model computes, before any head.

    `hidden` ``[batch, time, hidden]``, after the final norm; `ahead`: for each depth k of the MTP modules
    ``[batch, time - k, hidden]``, with a cache ``[batch, time, hidden]``; `routing`: one entry for each mixture layer,
    in order, the MTP modules' last.
    """

    hidden: Tensor
    ahead: list[Tensor] = field(default_factory=list)
    routing: list[Routing] = field(default_factory=list)


@dataclass
class Output:
    """What a forward pass returns: `logits` ``[batch, time, vocab]``; `mtp_logits`: ``[batch, time - k, vocab]`` for
    each depth k; `hidden` and `routing` as in `States`."""

    logits: Tensor
    mtp_logits: list[Tensor]
    hidden: Tensor
    routing: list[Routing]


class MiniDeepSeek(WideBuffers):
    """A decoder in the manner of DeepSeek-V3 (arXiv:2412.19437), at whatever size `config` says.

    Weights are drawn from `generator`, so that a seed gives a model.
    """

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.recompute = False  # in a backward pass, what blocks would have kept: less memory, and a third more work
        with torch.random.fork_rng(devices=[]):  # torch's layers draw weights of their own, drawn anew below
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
            self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
            self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
            self.mtp = nn.ModuleList(MTPModule(config, k) for k in range(1, config.num_nextn_predict_layers + 1))
        if config.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight
        self.kernels = Kernels()
        self.frequencies: Tensor
        self.register_buffer("frequencies", inverse_frequencies(config), persistent=False)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every matrix from a normal distribution of `initializer_range`; norms become 1, biases 0."""
        std = self.config.initializer_range
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding, Router)):
                module.weight.normal_(0.0, std, generator=generator)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, Experts):
                module.gate_up_proj.normal_(0.0, std, generator=generator)
                module.down_proj.normal_(0.0, std, generator=generator)
            elif isinstance(module, RMSNorm):
                module.weight.fill_(1.0)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed_tokens.weight.device

    def routers(self) -> list[Router]:
        """The routers of all mixture layers, in the order of `Output.routing`."""
        return [module for module in self.modules() if isinstance(module, Router)]

    def use(self, kernels: Kernels) -> MiniDeepSeek:
        """Let these backends compute all layers; returns the model."""
        for module in self.modules():
            if hasattr(module, "kernels"):
                module.kernels = kernels  # type: ignore[assignment]
        return self

    def pack(self) -> None:
        """Lay out the matrices of all layers for the kernels of a step (see `Kernels`), who then need not do so at
        every step. To be called again whenever the weights have changed."""
        for module in self.modules():
            if isinstance(module, (MoE, MultiHeadLatentAttention)):
                module.pack()

    def forward(
        self,
        ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        documents: Tensor | None = None,
        cache: LatentCache | None = None,
        mtp: bool = True,
    ) -> Output:
        """Predict the next token at each position of `ids`, int64 ``[batch, time]``; the arguments are `states`'."""
        states = self.states(ids, attention_mask=attention_mask, documents=documents, cache=cache, mtp=mtp)
        ahead = [self.lm_head(hidden) for hidden in states.ahead]
        return Output(self.lm_head(states.hidden), ahead, states.hidden, states.routing)

    def states(
        self,
        ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        documents: Tensor | None = None,
        cache: LatentCache | None = None,
        mtp: bool = True,
        fresh: bool = False,
    ) -> States:
        """The hidden states at each position of `ids`, int64 ``[batch, time]``; `lm_head` makes logits of them.

        `attention_mask` ``[batch, time]``, bool or 0 and 1: 0 at padding, which may stand on the left; positions count
        the other tokens alone. `documents` ``[batch, time]`` numbers the documents packed in a row: attention then
        stays within each. With a `cache`, `ids` continue what it holds. `mtp`: whether the MTP modules look ahead too,
        for which a cache needs their layers. `fresh`: the cache is empty and no row has padding, so that `ids` see
        each other alone, in the form of attention that suits many queries.
        """
        if cache is None:
            positions, mask = positions_and_mask(ids, attention_mask, documents)
            embedded, rotary = self._embedded(ids, positions)
        else:
            cache.place(int(ids.shape[1]) if attention_mask is None else attention_mask.bool())
            step = all(self._is_step(block, ids, cache) for block in self.layers)
            mask = None if fresh or step else cache.fused_mask()
            embedded, rotary = self._opened(ids, cache) if step else self._embedded(ids, cache.positions())
        x, routings = embedded, []
        again = self.recompute and cache is None and torch.is_grad_enabled()
        for layer, block in enumerate(self.layers):
            inputs = (x, rotary, mask, cache, layer)
            x, routing = recomputed(block, *inputs) if again else block(*inputs)
            routings.append(routing)
        hidden = self.norm(x)
        if cache is not None:
            cache.keep(1, hidden)
        ahead: list[Tensor] = []
        for depth, module in enumerate(self.mtp if mtp else (), start=1):
            if cache is None:
                last = ahead[-1] if ahead else hidden
                within = None if mask is None else mask[..., :-depth, :-depth]
                shifted = rotary[0][:, depth:], rotary[1][:, depth:]
                parts = (last[:, :-1], embedded[:, depth:], shifted, within)
                x, routing = recomputed(module, *parts) if again else module(*parts)
            elif len(cache.hidden) < depth:
                break
            else:
                x, routing = self._ahead(depth, None, embedded, rotary, cache)
            ahead.append(x)
            routings.append(routing)
        return States(hidden, ahead, [routing for routing in routings if routing is not None])

    def look_ahead(self, depth: int, ids: Tensor, cache: LatentCache, before: Tensor | None = None) -> Tensor:
        """What module `depth` (from 1) knows at the open slots of `cache`, which hold `ids` ``[batch, new]``.

        Its hidden states ``[batch, new, hidden]``; `lm_head` makes of them guesses of the token after each slot. They
        rest on the states `before`, or on those that the cache keeps for this module: see `LatentCache.reopen`.
        """
        step = self._is_step(self.mtp[depth - 1].block, ids, cache)
        embedded, rotary = self._opened(ids, cache) if step else self._embedded(ids, cache.positions())
        return self._ahead(depth, before, embedded, rotary, cache)[0]

    def _ahead(
        self, depth: int, before: Tensor | None, embedded: Tensor, rotary: tuple[Tensor, Tensor], cache: LatentCache
    ) -> tuple[Tensor, Routing | None]:
        layer, module = self.config.num_hidden_layers + depth - 1, self.mtp[depth - 1]
        step = self._is_step(module.block, embedded[..., 0], cache)
        if before is None and not step:
            before = cache.before(depth)
        x, routing = module(before, embedded, rotary, None if step else cache.fused_mask(depth), cache, layer)
        cache.keep(depth + 1, x)
        return x, routing

    def _embedded(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Embeddings, and cos and sin of the angles, which are computed in float32 at least: bf16 cannot tell position
        300 from 301."""
        x = self.embed_tokens(ids)
        cos, sin = rotation(positions, self.frequencies, attention_factor(self.config))
        return x, (cos.to(x.dtype), sin.to(x.dtype))

    def _opened(self, ids: Tensor, cache: LatentCache) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The same for the tokens of a step, in the open slots, by a kernel."""
        from minidsk.kernels.opening import opening

        factor = attention_factor(self.config)
        x, *angles = opening(ids, self.embed_tokens.weight, cache.slots, cache.begins, self.frequencies, factor)
        return x, (angles[0], angles[1])

    def _is_step(self, block: object, ids: Tensor, cache: LatentCache) -> bool:
        """Whether `block` has its own kernels for these tokens ``[batch, new]``, and needs no mask."""
        return isinstance(block, Block) and block.self_attn.is_step(self.embed_tokens.weight, ids.shape[1], cache)

    def generate(
        self,
        ids: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        *,
        attention_mask: Tensor | None = None,
        eos_token_id: int | None = None,
        pad_token_id: int = 0,
        use_cache: bool = True,
    ) -> Tensor:
        """Continue `ids` ``[batch, time]``; return prompts and answers, ``[batch, time + new]``.

        Temperature 0 takes the likeliest token. `attention_mask` is 0 where a prompt is padded, on the left. Rows
        that reached `eos_token_id` are filled with `pad_token_id`. `use_cache=False` computes all anew for each token.
        """
        from minidsk.infer.generate import decode  # users of transformers expect the method; infer stands on model

        return decode(
            self, ids, max_new_tokens, temperature=temperature, generator=generator, attention_mask=attention_mask,
            eos_token_id=eos_token_id, pad_token_id=pad_token_id, use_cache=use_cache,
        ).ids  # fmt: skip

    def new_cache(
        self, batch: int, capacity: int, *, mtp: bool = False, static: bool = False, lead: int = 0
    ) -> LatentCache:
        """An empty cache for this model, in its dtype and on its device."""
        weight = self.embed_tokens.weight
        return LatentCache(
            self.config, batch, capacity, mtp=mtp, device=weight.device, dtype=weight.dtype, static=static, lead=lead
        )
