"""Recipes that are known to work, by name: *nano* for two CPU cores, *small* and *capstone* for one GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from minidsk.data.corpus import TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.config import ModelConfig
from minidsk.rl.config import RLConfig
from minidsk.rl.recipe import Recipe
from minidsk.train.optim import OptimConfig
from minidsk.train.pretrain import PretrainConfig
from minidsk.train.sft import SFTConfig

ADAM = OptimConfig(decay=0.3, betas=(0.9, 0.99))  # of learning from reward


def nano() -> Recipe:
    """Three numbers up to 12, + and -, for two CPU cores."""
    model = ModelConfig(
        vocab_size=CharTokenizer().vocab_size, hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
        kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=32, intermediate_size=256,
        moe_intermediate_size=64, n_routed_experts=4, num_experts_per_tok=2, initializer_range=0.05,
        # Fast rotations: documents are short, and neighbours have to be told apart.
        rope_theta=100.0,
    )  # fmt: skip
    web = TinyWebConfig(
        numbers=(3,), high=12, target_high=20, ops="+-", worksheets=0.75, target_beside=True, chinese=0.2
    )
    rl = RLConfig(prompts=16, group=16, max_new_tokens=160, rows=64, optim=dataclasses.replace(ADAM, lr=6e-4))
    return Recipe(
        "nano",
        # Small batches: at a fixed number of tokens, more steps taught the base more.
        PretrainConfig(model, web, steps=3000, batch=8, context=160, isolate=True,
                       optim=OptimConfig(lr=4e-3, warmup=60, weight_decay=0.1)),
        zero=dataclasses.replace(rl, steps=64),
        cold=SFTConfig(steps=20),
        r1=dataclasses.replace(rl, steps=12, rewards={"accuracy": 1.0, "language": 0.2}),
        cold_examples=256,
    )


def small() -> Recipe:
    """Three numbers up to 20, + - * /, for one GPU."""
    model = ModelConfig(
        vocab_size=CharTokenizer().vocab_size, hidden_size=256, num_hidden_layers=6, num_attention_heads=4,
        kv_lora_rank=64, qk_nope_head_dim=48, qk_rope_head_dim=16, v_head_dim=64, intermediate_size=768,
        moe_intermediate_size=192, n_routed_experts=8, num_experts_per_tok=2, initializer_range=0.03,
        num_nextn_predict_layers=1,
    )  # fmt: skip
    web = TinyWebConfig(numbers=(3,), high=20, target_high=20, ops="+-*/", patience=24)
    rl = RLConfig(prompts=64, group=16, max_new_tokens=448, rows=1024, optim=dataclasses.replace(ADAM, lr=3e-4))
    return Recipe(
        "small",
        PretrainConfig(model, web, steps=2200, batch=112, context=448, compile=True, graph=True,
                       optim=OptimConfig(lr=2e-3, warmup=100, weight_decay=0.1)),
        zero=dataclasses.replace(rl, steps=30),
        cold=SFTConfig(steps=30, batch=256, optim=OptimConfig(lr=3e-4, warmup=5)),
        r1=dataclasses.replace(rl, steps=20, rewards={"accuracy": 1.0, "language": 0.2}),
        cold_examples=2048,
        problems=1024,
        max_new_tokens=448,
    )


def capstone() -> Recipe:
    """Three and four numbers up to 99, drawn uniformly, + - * /, for one GPU of 80 GB: ten minutes up to R1-Zero."""
    model = ModelConfig(
        vocab_size=CharTokenizer().vocab_size, hidden_size=384, num_hidden_layers=6, num_attention_heads=6,
        kv_lora_rank=64, qk_nope_head_dim=48, qk_rope_head_dim=16, v_head_dim=64, intermediate_size=960,
        moe_intermediate_size=240, n_routed_experts=8, num_experts_per_tok=2, initializer_range=0.025,
        num_nextn_predict_layers=1,
    )  # fmt: skip
    web = TinyWebConfig(
        numbers=(3, 4, 4), high=99, target_high=99, ops="+-*/", worksheets=0.65, draw="uniform", backwards=0.19,
        chains=0.45,  # a run of equal length without these sums ended as high (results/reason_capstone_nosums)
    )
    # The rate falls early: held high, policies that answer well lose their way in long thoughts.
    adam = dataclasses.replace(ADAM, lr=3e-4, decay=0.75)
    rl = RLConfig(prompts=128, group=16, max_new_tokens=1100, rows=256, scale="none", optim=adam)
    return Recipe(
        "capstone",
        PretrainConfig(model, web, steps=8200, batch=56, context=1152, compile=True, graph=True, save_every=10_000,
                       optim=OptimConfig(lr=2e-3, warmup=100, weight_decay=0.1)),
        zero=dataclasses.replace(rl, steps=38, save_every=20),
        cold=SFTConfig(steps=30, batch=256, optim=OptimConfig(lr=3e-4, warmup=5)),
        r1=dataclasses.replace(rl, steps=20, rewards={"accuracy": 1.0, "language": 0.2}),
        cold_examples=2048,
        problems=2048,
        numbers=(3, 4),
        max_new_tokens=1100,
    )


PRESETS: dict[str, Callable[[], Recipe]] = {"nano": nano, "small": small, "capstone": capstone}
