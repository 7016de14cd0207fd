"""What a forward pass keeps for the backward pass, counted from a configuration before anything runs."""

from __future__ import annotations

from minidsk.model.config import ModelConfig


def kept_numbers(config: ModelConfig, recompute: bool = False) -> int:
    """Numbers that training keeps of each token, in the dtype of the weights and without MTP modules.

    With `recompute` a block keeps its input alone, and the backward pass computes the rest again: for one block at a
    time. Attention keeps no scores, as its fused kernels do (FlashAttention, arXiv:2205.14135).
    """
    blocks = [_kept(config, layer) for layer in range(config.num_hidden_layers)]
    head = 3 * config.hidden_size + config.vocab_size
    if recompute:
        return config.num_hidden_layers * config.hidden_size + max(max(blocks), head)
    return sum(blocks) + head


def _kept(config: ModelConfig, layer: int) -> int:
    """Of a block: what each of its operations needs again, in their order."""
    c = config
    norms = 2 * 3 * c.hidden_size  # each: what comes in, that without its size, and what comes out
    attention = 2 * (c.kv_lora_rank + c.qk_rope_head_dim) + 2 * c.kv_lora_rank  # before and after the latent's norm
    attention += c.num_attention_heads * (2 * c.qk_head_dim + 2 * c.v_head_dim + 1)  # q, k, v, what is mixed, a sum
    attention += 0 if c.q_lora_rank is None else 3 * c.q_lora_rank
    if not c.is_moe_layer(layer):
        return norms + attention + 4 * c.intermediate_size  # gate, its silu, what it gates, and their product
    pairs = 2 * c.hidden_size + 4 * c.moe_intermediate_size  # of a token and an expert: in and out, and as above
    shared = 4 * c.moe_intermediate_size * c.n_shared_experts
    return norms + attention + c.num_experts_per_tok * pairs + shared + c.n_routed_experts
