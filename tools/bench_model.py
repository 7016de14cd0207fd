"""How fast the model's two ways to the same result are on this machine, side by side.

python tools/bench_model.py [--repeats 5]

Medians over the repeats, after one run to warm up; each pair also prints the largest difference of its results.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from minidsk import MiniDeepSeek, ModelConfig

CONFIG = ModelConfig(
    vocab_size=128,
    hidden_size=128,
    num_hidden_layers=4,
    num_attention_heads=4,
    q_lora_rank=None,
    kv_lora_rank=32,
    qk_nope_head_dim=32,
    qk_rope_head_dim=16,
    v_head_dim=32,
    intermediate_size=256,
    moe_intermediate_size=64,
    n_routed_experts=16,
    num_experts_per_tok=4,
    n_shared_experts=1,
    n_group=1,
    topk_group=1,
    first_k_dense_replace=1,
)


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """The median time of a call, in seconds, the GPU's queue included."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def compare(title: str, slow: Callable[[], Tensor], fast: Callable[[], Tensor], repeats: int) -> None:
    """Print one row: both medians, their ratio, the largest difference of the results."""
    difference = (slow().double() - fast().double()).abs().max().item()
    before, after = median_seconds(slow, repeats), median_seconds(fast, repeats)
    print(f"{title:<42}{before * 1e3:9.1f} ms{after * 1e3:9.1f} ms{before / after:8.2f}x{difference:14.1e}")


def loop_over_experts(x: Tensor, weights: Tensor, indices: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """Every expert on every token, weighted afterwards: the reference that dispatch is compared with."""
    out = torch.zeros_like(x)
    for expert in range(len(gate_up)):
        gate, up = (x @ gate_up[expert].T).chunk(2, -1)
        share = (weights * (indices == expert)).sum(-1, keepdim=True)
        out += share * ((torch.nn.functional.silu(gate) * up) @ down[expert].T)
    return out


@torch.no_grad()
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Cached, absorbed and dispatched against their plain versions.")
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = MiniDeepSeek(CONFIG, torch.Generator().manual_seed(0)).to(device).eval()
    ids = torch.randint(0, CONFIG.vocab_size, (8, 64), generator=torch.Generator().manual_seed(1)).to(device)
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name}, torch {torch.__version__}, {size:,} parameters, {repeats} repeats")
    print(f"{'':<42}{'plain':>12}{'ours':>12}{'ratio':>9}{'difference':>14}")

    def decode(use_cache: bool) -> Callable[[], Tensor]:
        return lambda: model.generate(ids, 64, temperature=0.0, use_cache=use_cache)

    compare("decoding 64 tokens: uncached, cached", decode(False), decode(True), repeats)

    attention, seed = model.layers[0].self_attn, torch.Generator().manual_seed(2)
    q_nope = torch.randn(8, 4, 1, CONFIG.qk_nope_head_dim, generator=seed).to(device)
    q_rope = torch.randn(8, 4, 1, CONFIG.qk_rope_head_dim, generator=seed).to(device)
    memory = torch.randn(8, 4096, CONFIG.kv_lora_rank + CONFIG.qk_rope_head_dim, generator=seed).to(device)
    seen = torch.ones(8, 1, 1, 4096, dtype=torch.bool, device=device)
    naive, absorbed = attention._naive, attention._absorbed
    step = (q_nope, q_rope, memory, seen)
    compare("one token over 4096: naive, absorbed", lambda: naive(*step), lambda: absorbed(*step), repeats)

    experts = next(layer.mlp.experts for layer in model.layers if hasattr(layer.mlp, "experts"))
    x = torch.randn(4096, CONFIG.hidden_size, generator=torch.Generator().manual_seed(3)).to(device)
    weights, indices = model.routers()[0](x)
    matrices = (experts.gate_up_proj, experts.down_proj)
    compare(
        "experts on 4096 tokens: dense loop, sorted",
        lambda: loop_over_experts(x, weights, indices, *matrices),
        lambda: experts(x, weights, indices),
        repeats,
    )


if __name__ == "__main__":
    main()
