import logging

import pytest
import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

logging.getLogger("transformers").setLevel(logging.ERROR)

TINY = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 40, "moe_intermediate_size": 12, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_key_value_heads": 2, "n_shared_experts": 1, "n_routed_experts": 8,
    "routed_scaling_factor": 2.5, "kv_lora_rank": 16, "q_lora_rank": None, "qk_rope_head_dim": 8, "v_head_dim": 12,
    "qk_nope_head_dim": 10, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1,
    "max_position_embeddings": 64, "num_nextn_predict_layers": 0,
}  # fmt: skip


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Every parameter away from its special starting value: norms not 1, biases not 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("e_score_correction_bias"):
            tensor.copy_(0.2 * noise)
        elif "freq" in name:  # a buffer that follows from the configuration
            continue
        elif tensor.dim() == 1:
            tensor.copy_((1.0 if "norm" in name else 0.0) + 0.2 * noise)
        else:
            tensor.copy_(noise / tensor.shape[-1] ** 0.5)


@pytest.fixture
def transformers_model():
    """Makes a tiny transformers DeepSeek-V3 with random weights, float32."""

    def make(**changes) -> DeepseekV3ForCausalLM:
        config = DeepseekV3Config(**TINY | changes)
        config._attn_implementation = "eager"
        config._experts_implementation = "eager"
        model = DeepseekV3ForCausalLM(config).eval()
        randomise(model)
        return model

    return make


@pytest.fixture
def random_weights():
    return randomise
