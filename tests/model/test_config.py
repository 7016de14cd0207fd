import dataclasses

import pytest
from transformers import DeepseekV3Config

from minidsk.model.config import ModelConfig

YARN = {"factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
        "mscale": 1.0, "mscale_all_dim": 1.0}  # fmt: skip
# The settings of DeepSeek-V3's own config.json, in the spelling of its day.
V3 = {
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}, "aux_loss_alpha": 0.001, "bos_token_id": 0,
    "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu", "hidden_size": 7168,
    "initializer_range": 0.02, "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840,
    "model_type": "deepseek_v3", "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8,
    "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": True, "num_attention_heads": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
    "pretraining_tp": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
    "rope_scaling": YARN | {"type": "yarn"}, "rope_theta": 10000, "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid", "seq_aux": True, "tie_word_embeddings": False, "topk_group": 4,
    "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "transformers_version": "4.33.1", "use_cache": True,
    "v_head_dim": 128, "vocab_size": 129280,
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, bad) for name in ("vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings",
                                   "kv_lora_rank", "num_attention_heads", "qk_nope_head_dim", "qk_rope_head_dim",
                                   "v_head_dim", "intermediate_size", "moe_intermediate_size", "num_experts_per_tok",
                                   "n_group", "topk_group") for bad in (0, -1, 2.0, "8", True, None)),
        *((name, bad) for name in ("first_k_dense_replace", "num_nextn_predict_layers", "n_shared_experts",
                                   "n_routed_experts") for bad in (-1, 1.5, None)),
        *((name, bad) for name in ("initializer_range", "rms_norm_eps", "rope_theta", "routed_scaling_factor")
          for bad in (0, -1.0, float("nan"), float("inf"), "1")),
        ("q_lora_rank", 0), ("q_lora_rank", 1.5), ("qk_rope_head_dim", 7),
        ("n_group", 3), ("n_group", 8), ("topk_group", 2), ("num_experts_per_tok", 9),
    ],
)  # fmt: skip
def test_a_size_that_does_not_fit_is_named(field, value):
    with pytest.raises(ValueError, match=f"^{field}: ") as caught:
        ModelConfig(**{field: value})
    assert "\n" not in str(caught.value)


def test_experts_are_chosen_from_the_groups_that_stay():
    ModelConfig(n_group=4, topk_group=2, num_experts_per_tok=4)
    with pytest.raises(ValueError, match=r"^num_experts_per_tok: .* the 4 experts that topk_group = 2 leaves"):
        ModelConfig(n_group=4, topk_group=2, num_experts_per_tok=5)


def test_a_dense_model_asks_nothing_of_its_experts():
    assert not ModelConfig(n_routed_experts=0).has_experts
    assert not ModelConfig(first_k_dense_replace=4).is_moe_layer(4)
    assert [ModelConfig().is_moe_layer(layer) for layer in (0, 1, 4)] == [False, True, True]


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"type": "linear", "factor": 2.0}, "type 'linear' is not supported"),
        ({"type": "yarn", "factor": 0.5, "original_max_position_embeddings": 8}, "factor 0.5 does not fit"),
        ({"rope_type": "yarn", "original_max_position_embeddings": 8}, "factor None does not fit"),
        ({"rope_type": "yarn", "factor": "4", "original_max_position_embeddings": 8}, "factor '4' does not fit"),
        ({"rope_type": "yarn", "factor": 4}, "original_max_position_embeddings None does not fit"),
        ({"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 0}, "_embeddings 0 does not fit"),
        ("yarn", "'yarn' does not fit"),
    ],
)
def test_rope_scaling_is_checked(scaling, message):
    with pytest.raises(ValueError, match=f"^rope_scaling: .*{message}"):
        ModelConfig(rope_scaling=scaling)


def test_v3_in_both_spellings():
    old = ModelConfig.from_dict(V3)
    new = dict(V3)
    del new["rope_scaling"], new["rope_theta"]
    new["rope_parameters"] = YARN | {"rope_type": "yarn", "rope_theta": 10000}
    assert ModelConfig.from_dict(new) == old
    assert (old.hidden_size, old.qk_head_dim, old.rope_scaling) == (7168, 192, YARN | {"rope_type": "yarn"})
    assert ModelConfig.from_dict(DeepseekV3Config(**V3).to_dict()) == old


def test_a_default_rotation_is_none():
    for rope in ({"rope_type": "default", "rope_theta": 5.0}, {"rope_theta": 5.0}):
        config = ModelConfig.from_dict({"rope_parameters": rope})
        assert config.rope_scaling is None
        assert config.rope_theta == 5.0


def test_a_file_of_transformers_has_the_defaults_of_transformers():
    assert ModelConfig.from_dict({"model_type": "deepseek_v3"}) == ModelConfig.from_dict(DeepseekV3Config().to_dict())
    assert ModelConfig.from_dict({}) == ModelConfig()


def test_fields_that_change_nothing_are_passed_over_and_others_are_not():
    assert ModelConfig.from_dict({"torch_dtype": "float16", "eos_token_id": 3, "head_dim": 9}) == ModelConfig()
    for field, value in {"hidden_act": "gelu", "attention_dropout": 0.1, "scoring_func": "softmax",
                         "topk_method": "greedy", "model_type": "llama", "hidden_sise": 3}.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"^{field}: "):
            ModelConfig.from_dict({field: value})


CHANGES = [{}, {"rope_theta": 7.0}, {"rope_scaling": {"type": "yarn", **YARN}}]


@pytest.mark.parametrize("changes", CHANGES)
def test_to_dict_and_back(changes):
    config = ModelConfig(**changes)
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_frozen_and_replaced_with_the_same_checks():
    config = ModelConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.hidden_size = 3
    assert config.replace(hidden_size=64).hidden_size == 64
    with pytest.raises(ValueError, match=r"^n_group: "):
        config.replace(n_group=3)
