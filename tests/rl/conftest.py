import pytest
import torch

from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.policy import MiniPolicy

TOKENIZER = CharTokenizer("ab cd+=\n")
CONFIG = ModelConfig(vocab_size=TOKENIZER.vocab_size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                     kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4, intermediate_size=24,
                     moe_intermediate_size=8, n_routed_experts=4, num_experts_per_tok=2, num_nextn_predict_layers=1,
                     initializer_range=0.3)  # fmt: skip


@pytest.fixture
def tokenizer():
    """Ten special tokens and eight characters."""
    return TOKENIZER


@pytest.fixture
def make_model():
    """Makes a small model with experts for that tokenizer."""

    def make(seed=0, **changes):
        return MiniDeepSeek(CONFIG.replace(**changes), torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def make_policy(make_model):
    """Makes a policy of such a model."""

    def make(seed=0, **changes):
        return MiniPolicy(make_model(seed, **changes), TOKENIZER)

    return make
