"""The model's one configuration, with the field names of transformers' ``DeepseekV3Config``."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from minidsk.settings import positive, require, within


@dataclass(frozen=True)
class ModelConfig:
    """Every size of a `MiniDeepSeek`. The defaults are a toy; the names are DeepSeek-V3's (arXiv:2412.19437).

    Raises `ValueError` with one line that names the field when the sizes do not fit together.
    """

    vocab_size: int = 128  # tokens that there are
    hidden_size: int = 128  # width of the stream from layer to layer
    num_hidden_layers: int = 4  # blocks, each of attention and a feed-forward part
    max_position_embeddings: int = 512  # the longest text that the model is meant for, in tokens
    initializer_range: float = 0.02  # deviation of the random weights at the start
    rms_norm_eps: float = 1e-6  # what the norms add under the root
    tie_word_embeddings: bool = False  # one matrix for embedding and head

    # Multi-head latent attention: the cache holds kv_lora_rank + qk_rope_head_dim numbers a token.
    num_attention_heads: int = 4  # heads of the attention
    q_lora_rank: int | None = None  # width to which queries are compressed; None: they are not
    kv_lora_rank: int = 64  # width of the latent to which keys and values are compressed
    qk_nope_head_dim: int = 32  # width of a head's queries and keys without position
    qk_rope_head_dim: int = 16  # width of their rotated part, which tells positions; even
    v_head_dim: int = 32  # width of a head's values
    attention_bias: bool = False  # biases in some of the attention's products

    # Rotary positions.
    rope_theta: float = 10_000.0  # base of the rotations; the smaller, the faster they turn
    rope_interleave: bool = True  # turn neighbours as pairs, as DeepSeek does; else one half with the other
    rope_scaling: dict[str, Any] | None = None  # YaRN: {"rope_type": "yarn", "factor": ..., ...}

    # Mixture of experts; the first `first_k_dense_replace` layers stay dense.
    intermediate_size: int = 384  # inner width of a dense layer
    first_k_dense_replace: int = 1  # first layers that stay dense; the others are mixtures of experts
    moe_intermediate_size: int = 96  # inner width of an expert
    n_routed_experts: int = 8  # experts from which a router chooses; 0: all layers are dense
    num_experts_per_tok: int = 2  # experts that a router chooses for a token
    n_shared_experts: int = 1  # experts that see every token
    n_group: int = 1  # groups of experts, of which a router first chooses some
    topk_group: int = 1  # groups that a router chooses for a token
    norm_topk_prob: bool = True  # make the weights of the chosen experts sum to 1
    routed_scaling_factor: float = 1.0  # what these weights are then multiplied by

    # Multi-token prediction.
    num_nextn_predict_layers: int = 0  # tokens further ahead that are predicted too, one module each

    def __post_init__(self) -> None:
        positive(self, "vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings", "kv_lora_rank",
                 "num_attention_heads", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "intermediate_size",
                 "initializer_range", "rms_norm_eps", "rope_theta", "routed_scaling_factor")  # fmt: skip
        within(self, 0, math.inf, "first_k_dense_replace", "num_nextn_predict_layers", "n_shared_experts",
               "n_routed_experts")  # fmt: skip
        if self.q_lora_rank is not None:
            positive(self, "q_lora_rank")
        require(self, "qk_rope_head_dim", self.qk_rope_head_dim % 2 == 0, "even: rotations turn pairs")
        if self.has_experts:
            self._check_experts()
        if self.rope_scaling is not None:
            object.__setattr__(self, "rope_scaling", _checked_rope_scaling(self.rope_scaling))

    def _check_experts(self) -> None:
        positive(self, "moe_intermediate_size", "num_experts_per_tok", "n_group", "topk_group")
        require(self, "n_group", self.n_routed_experts % self.n_group == 0,
                f"a divisor of n_routed_experts = {self.n_routed_experts}")  # fmt: skip
        require(self, "topk_group", self.topk_group <= self.n_group, f"at most n_group = {self.n_group}")
        per_group = self.n_routed_experts // self.n_group
        # A group's score is the sum of its best two experts, so a group needs two.
        require(self, "n_group", self.n_group == 1 or per_group >= 2, "small enough for two experts a group")
        left = per_group * self.topk_group
        require(self, "num_experts_per_tok", self.num_experts_per_tok <= left,
                f"at most the {left} experts that topk_group = {self.topk_group} leaves")  # fmt: skip

    @property
    def has_experts(self) -> bool:
        """Whether any layer, or any multi-token module, is a mixture of experts."""
        return self.n_routed_experts > 0 and self.first_k_dense_replace < self.num_hidden_layers

    @property
    def qk_head_dim(self) -> int:
        """Width of one head's query and key: the part without position and the rotated part."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    def is_moe_layer(self, layer: int) -> bool:
        """Whether block `layer` (counted from 0; MTP modules follow the last layer) routes to experts."""
        return self.has_experts and layer >= self.first_k_dense_replace

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> ModelConfig:
        """Read a transformers ``config.json``, in the spelling of version 5 (`rope_parameters`) or before.

        Fields of transformers that change nothing here (dropout at 0, token ids, dtype and the like) are passed
        over; a field that would change the numbers and is not supported raises `ValueError`.
        """
        # In a file of transformers ("model_type" says so) a missing field has the default of transformers.
        values = {**(_TRANSFORMERS_DEFAULTS if "model_type" in config else {}), **config}
        model_type = values.pop("model_type", "deepseek_v3")
        if model_type != "deepseek_v3":
            raise ValueError(f"model_type: {model_type!r} is not deepseek_v3; minidsk reads DeepSeek-V3 configurations")
        rope = values.pop("rope_parameters", None)
        if rope is not None:
            rope = dict(rope)
            values["rope_theta"] = rope.pop("rope_theta", values.get("rope_theta", cls.rope_theta))
            values["rope_scaling"] = rope
        for name, only in _FIXED.items():
            if name in values and values.pop(name) not in only:
                must_be = " or ".join(map(repr, only))
                raise ValueError(f"{name}: {config[name]!r} is not supported; it must be {must_be}")
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known - _IGNORED)
        if unknown:
            raise ValueError(f"{unknown[0]}: no such field in ModelConfig; remove it or see ModelConfig's fields")
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        """The ``config.json`` that transformers reads, both spellings of the rotary settings in it."""
        values = dataclasses.asdict(self)
        rope = {"rope_type": "default", **(self.rope_scaling or {}), "rope_theta": self.rope_theta}
        values |= {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_act": "silu",
                   "num_key_value_heads": self.num_attention_heads, "rope_parameters": rope}
        return values

    def replace(self, **changes: Any) -> ModelConfig:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)


# Where transformers' DeepseekV3Config differs from the defaults here.
_TRANSFORMERS_DEFAULTS: dict[str, Any] = {
    "vocab_size": 129280, "hidden_size": 7168, "num_hidden_layers": 61, "max_position_embeddings": 4096,
    "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 18432, "first_k_dense_replace": 3,
    "moe_intermediate_size": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4,
    "routed_scaling_factor": 2.5, "num_nextn_predict_layers": 1,
}  # fmt: skip
# Settings of transformers or of the original checkpoint that must have these values (or be absent) ...
_FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",), "attention_dropout": (0, 0.0), "scoring_func": ("sigmoid",),
    "topk_method": ("noaux_tc",), "moe_layer_freq": (1,), "pretraining_tp": (1,), "ep_size": (1,),
}  # fmt: skip
# ... and those that change no number of the forward pass.
_IGNORED = {
    "architectures", "auto_map", "aux_loss_alpha", "seq_aux", "bos_token_id", "eos_token_id", "pad_token_id",
    "dtype", "torch_dtype", "transformers_version", "use_cache", "num_key_value_heads", "head_dim", "qk_head_dim",
    "quantization_config", "output_router_logits", "output_hidden_states", "output_attentions", "return_dict",
    "_name_or_path", "chunk_size_feed_forward", "id2label", "label2id", "is_encoder_decoder", "problem_type",
    "num_local_experts", "minidsk", "mlp_layer_types", "layer_types", "is_decoder", "add_cross_attention",
    "cross_attention_hidden_size", "tokenizer_class", "prefix", "task_specific_params", "router_aux_loss_coef",
}  # fmt: skip


def _checked_rope_scaling(scaling: dict[str, Any]) -> dict[str, Any] | None:
    if not isinstance(scaling, dict):
        raise ValueError(f"rope_scaling: {scaling!r} does not fit; it must be None or settings by name")
    scaling = dict(scaling)
    kind = scaling.pop("type", None)
    kind = scaling.pop("rope_type", kind)
    scaling.pop("rope_theta", None)
    if kind in (None, "default"):
        return None
    if kind != "yarn":
        raise ValueError(f"rope_scaling: type {kind!r} is not supported; it must be 'yarn' or 'default'")
    for name in ("factor", "original_max_position_embeddings"):
        value = scaling.get(name)
        if not (isinstance(value, (int, float)) and value >= 1):
            raise ValueError(f"rope_scaling: {name} {value!r} does not fit; yarn needs it, 1 or more")
    return {"rope_type": "yarn", **scaling}
