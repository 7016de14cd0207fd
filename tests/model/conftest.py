import pytest
import torch

from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek

SMALL = ModelConfig(
    vocab_size=32, hidden_size=24, num_hidden_layers=3, num_attention_heads=2, kv_lora_rank=12, qk_nope_head_dim=6,
    qk_rope_head_dim=8, v_head_dim=10, intermediate_size=20, moe_intermediate_size=8, n_routed_experts=8,
    num_experts_per_tok=3, n_group=4, topk_group=2, routed_scaling_factor=1.5, initializer_range=0.3,
)  # fmt: skip


@pytest.fixture
def small() -> ModelConfig:
    return SMALL


@pytest.fixture
def make():
    """Makes a small float64 model with weights of some size and unequal balancing biases."""

    def model(seed: int = 0, **changes) -> MiniDeepSeek:
        generator = torch.Generator().manual_seed(seed)
        made = MiniDeepSeek(SMALL.replace(**changes), generator).double()
        for router in made.routers():
            router.e_score_correction_bias.normal_(0.0, 0.2, generator=generator)
        return made

    return model


@pytest.fixture
def ids() -> torch.Tensor:
    """int64 ``[3, 11]``."""
    return torch.randint(32, (3, 11), generator=torch.Generator().manual_seed(5))
