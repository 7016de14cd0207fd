"""What is measured: one model of ours, and the same weights as transformers reads them."""

from __future__ import annotations

import importlib
import os
import tempfile
from typing import Any

import torch
from torch import Tensor

from minidsk.data.tokenizer import CharTokenizer
from minidsk.hub.hf import save_pretrained
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek

# 14.7 million parameters, of which a token meets 5.9 million: the model of the course's targets on a GPU.
MOE = ModelConfig(
    vocab_size=128, hidden_size=256, num_hidden_layers=6, num_attention_heads=8, kv_lora_rank=64, qk_nope_head_dim=32,
    qk_rope_head_dim=16, v_head_dim=32, intermediate_size=1024, moe_intermediate_size=192, n_routed_experts=16,
    num_experts_per_tok=4, max_position_embeddings=4096,
)  # fmt: skip


def tiny() -> ModelConfig:
    """A model of a few thousand parameters, to see that all runs."""
    return ModelConfig(
        vocab_size=CharTokenizer().vocab_size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        kv_lora_rank=8, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8, intermediate_size=32,
        moe_intermediate_size=8, n_routed_experts=4, num_experts_per_tok=2,
    )  # fmt: skip


def make(config: ModelConfig, device: torch.device) -> MiniDeepSeek:
    """A model with random weights of a fixed seed, float32."""
    return MiniDeepSeek(config, torch.Generator().manual_seed(0)).to(device).eval()


def random_ids(config: ModelConfig, batch: int, length: int, device: torch.device) -> Tensor:
    """Random tokens ``[batch, length]`` of a fixed seed."""
    seed = torch.Generator().manual_seed(1)
    return torch.randint(0, config.vocab_size, (batch, length), generator=seed).to(device)


def transformers() -> Any:
    """The library, without its bars and its questions to the hub: a rival, and no dependency. Raises `ImportError`."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    library = importlib.import_module("transformers")
    library.utils.logging.disable_progress_bar()
    library.utils.logging.set_verbosity_error()
    return library


class Transformers:
    """The same weights as transformers' `DeepseekV3ForCausalLM` on the same device, made when first called for."""

    def __init__(self, model: MiniDeepSeek, dtype: torch.dtype, experts: str) -> None:
        self.of, self.dtype, self.experts = model, dtype, experts
        self._made: Any = None

    def __call__(self) -> Any:
        """The model. Raises `ImportError` without transformers."""
        if self._made is None:
            library = transformers()
            with tempfile.TemporaryDirectory() as folder:
                save_pretrained(self.of, folder)
                made = library.AutoModelForCausalLM.from_pretrained(
                    folder, dtype=self.dtype, experts_implementation=self.experts
                )
            self._made = made.to(self.of.device).eval()
        return self._made


def rivals(model: MiniDeepSeek, dtype: torch.dtype) -> dict[str, Transformers]:
    """transformers with its grouped products where the GPU has them, on a CPU with each of its ways."""
    ways = ("grouped_mm",) if model.device.type == "cuda" else ("eager", "grouped_mm")
    return {f"transformers, {way}": Transformers(model, dtype, way) for way in ways}
