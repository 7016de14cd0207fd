"""Multi-token prediction: small modules that look further ahead, in sequence (DeepSeek-V3, section 2.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minidsk.model.block import Block
from minidsk.model.cache import LatentCache
from minidsk.model.config import ModelConfig
from minidsk.model.moe import Routing
from minidsk.model.norm import RMSNorm
from minidsk.precision import at_least_float32


class MTPModule(nn.Module):
    """Depth k: from what was known at position i and the embedding of token i + k, predict token i + k + 1.

    Equations 21 to 23. The embedding and the output head belong to the main model and are shared. The hidden state
    is taken after the final norm, and handed on after this module's norm, as transformers does.
    """

    def __init__(self, config: ModelConfig, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.enorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.hnorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.eh_proj = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.block = Block(config, config.num_hidden_layers + depth - 1)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden: Tensor | None,
        embedding: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        cache: LatentCache | None = None,
        layer: int = 0,
    ) -> tuple[Tensor, Routing | None]:
        """`hidden` and `embedding` ``[batch, time - k, hidden]`` to the next depth's hidden states, same shape.

        `mask`, `cache` and `layer` as in `MultiHeadLatentAttention`. `hidden` None: those that the cache keeps, which
        a kernel then reads.
        """
        if hidden is not None:
            joined = torch.cat((self.enorm(embedding), self.hnorm(hidden)), dim=-1)
        else:
            assert cache is not None
            joined = self._joined(embedding, cache)
        x = self.eh_proj(joined)
        x, routing = self.block(x, rotation, mask, cache, layer)
        return self.norm(x), routing

    def _joined(self, embedding: Tensor, cache: LatentCache) -> Tensor:
        from minidsk.kernels.opening import joined

        kept = cache.hidden[self.depth - 1]
        return joined(embedding, kept, cache.slots, self.enorm.weight, self.hnorm.weight, self.enorm.eps)


def mtp_loss(mtp_logits: list[Tensor], targets: Tensor, weight: float, mask: Tensor | None = None) -> Tensor:
    """``weight / D * sum_k L_k`` with L_k the cross-entropy of depth k (equations 24 and 25).

    `mtp_logits`: per depth ``[batch, time - k, vocab]``; `targets` ``[batch, time]`` are the main model's, token i + 1
    at position i, so that depth k reads them from position k on. `mask` ``[batch, time]`` leaves targets out. As in
    the paper, each L_k is divided by the number of main targets, not by its own.
    """
    count = targets.numel() if mask is None else mask.sum().clamp(min=1)
    total = targets.new_zeros((), dtype=torch.float32)
    for k, logits in enumerate(mtp_logits, start=1):
        losses = F.cross_entropy(at_least_float32(logits).flatten(0, 1), targets[:, k:].flatten(), reduction="none")
        total = total + ((losses if mask is None else losses * mask[:, k:].flatten()).sum() / count)
    return weight * total / max(len(mtp_logits), 1)
