"""Parameters and floating-point operations, counted from a configuration before anything runs."""

from __future__ import annotations

from minidsk.model.config import ModelConfig


def parameters(config: ModelConfig, active: bool = False, mtp: bool = False) -> int:
    """Weights of the main model; with `active`, those that one token meets; with `mtp`, the MTP modules' too."""
    layers = config.num_hidden_layers
    dense = min(config.first_k_dense_replace, layers) if config.has_experts else layers
    block = dense * _block(config, 0, active) + (layers - dense) * _block(config, layers - 1, active)
    head = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    embedding = config.vocab_size * config.hidden_size
    total = block + head + embedding + config.hidden_size
    if mtp:  # a block, the projection of two states to one, and three norms
        module = _block(config, layers, active) + 2 * config.hidden_size**2 + 3 * config.hidden_size
        total += config.num_nextn_predict_layers * module
    return total


def forward_flops(config: ModelConfig, context: float) -> float:
    """Operations to compute one token's logits when `context` tokens are looked at: two for each weight and token.

    The embedding is a look-up and costs nothing; attention adds ``2 heads (dn + dr + dv)`` per earlier token and layer.
    """
    matrices = parameters(config, active=True) - config.vocab_size * config.hidden_size
    if config.tie_word_embeddings:
        matrices += config.vocab_size * config.hidden_size
    attention = config.num_attention_heads * (config.qk_head_dim + config.v_head_dim) * config.num_hidden_layers
    return 2.0 * matrices + 2.0 * attention * context


def training_flops(config: ModelConfig, context: float, mtp: bool = True) -> float:
    """Operations to train on one token: forward, and twice that backward; an MTP module is a block and a head."""
    total = forward_flops(config, context)
    if mtp:
        block = _block(config, config.num_hidden_layers, active=True) + 2 * config.hidden_size**2
        attention = config.num_attention_heads * (config.qk_head_dim + config.v_head_dim) * context
        per_depth = 2.0 * (block + config.vocab_size * config.hidden_size + attention)
        total += config.num_nextn_predict_layers * per_depth
    return 3.0 * total


def _block(config: ModelConfig, layer: int, active: bool) -> int:
    c = config
    queries = c.num_attention_heads * c.qk_head_dim
    if c.q_lora_rank is None:
        attention = c.hidden_size * queries
    else:
        attention = c.q_lora_rank * (c.hidden_size + queries + 1)
    attention += c.hidden_size * (c.kv_lora_rank + c.qk_rope_head_dim) + c.kv_lora_rank
    attention += c.kv_lora_rank * c.num_attention_heads * (c.qk_nope_head_dim + c.v_head_dim)
    attention += c.num_attention_heads * c.v_head_dim * c.hidden_size
    if c.attention_bias:
        attention += (c.q_lora_rank or 0) + c.kv_lora_rank + c.qk_rope_head_dim + c.hidden_size
    if not c.is_moe_layer(layer):
        mlp = 3 * c.hidden_size * c.intermediate_size
    else:
        experts = (c.num_experts_per_tok if active else c.n_routed_experts) + c.n_shared_experts
        mlp = 3 * c.hidden_size * c.moe_intermediate_size * experts + c.n_routed_experts * c.hidden_size
    return attention + mlp + 2 * c.hidden_size
