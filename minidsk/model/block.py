"""One layer of the network: attention, then a feed-forward layer, dense or of experts, each on a normalised input."""

from __future__ import annotations

from torch import Tensor, nn

from minidsk.model.attention import MultiHeadLatentAttention
from minidsk.model.cache import LatentCache
from minidsk.model.config import ModelConfig
from minidsk.model.moe import MLP, MoE, Routing
from minidsk.model.norm import RMSNorm


class Block(nn.Module):
    """``x += attention(norm(x)); x += mlp(norm(x))``; block `layer` is dense or a mixture as the configuration says."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = MultiHeadLatentAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp: MoE | MLP = (
            MoE(config) if config.is_moe_layer(layer) else MLP(config.hidden_size, config.intermediate_size)
        )

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        cache: LatentCache | None = None,
        layer: int = 0,
    ) -> tuple[Tensor, Routing | None]:
        """`x` ``[batch, time, hidden]`` to the same shape, and the routing of a mixture (None of a dense layer)."""
        x = x + self.self_attn(self.input_layernorm(x), rotation, mask, cache, layer)
        normed = self.post_attention_layernorm(x)
        if isinstance(self.mlp, MoE):
            y, routing = self.mlp(normed)
            return x + y, routing
        return x + self.mlp(normed), None
