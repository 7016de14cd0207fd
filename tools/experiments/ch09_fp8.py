"""Chapter 09: what FP8 costs a tiny model's loss, and how exactly tensor cores add up FP8 products.

    python tools/experiments/ch09_fp8.py --out results/ch09_fp8 [--seeds 0 1 2] [--steps 400] [--limit 60]

A dense model is trained on the tiny web in bf16 and with its linear layers in FP8 (blocks of 1 x 128 and 128 x 128),
from the same weights on the same pages. Writes metrics.json after every run, so that a stopped experiment leaves what
is finished; no run is begun after `--limit` seconds. First come the sums: products of random codes, with and without
promotion, against float64.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.kernels.bench.case import relative_error
from minidsk.kernels.fp8 import matmul_unscaled
from minidsk.kernels.fp8_linear import Fp8Linear
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.train.device import pick_device, precision
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step

WEB = TinyWebConfig(numbers=(3, 4), high=99, target_high=None, ops="+-*/")
MODEL = ModelConfig(vocab_size=CharTokenizer().vocab_size, hidden_size=256, num_hidden_layers=4, kv_lora_rank=128,
                    num_attention_heads=4, qk_nope_head_dim=48, qk_rope_head_dim=16, v_head_dim=64,
                    intermediate_size=768, n_routed_experts=0, max_position_embeddings=256)  # fmt: skip
TINY = MODEL.replace(hidden_size=128, num_hidden_layers=2, kv_lora_rank=64, num_attention_heads=2,
                     intermediate_size=256)  # fmt: skip
PROMOTED = {"never": None, "every 128": 128, "every 64": 64, "every 32": 32}


def in_fp8(model: MiniDeepSeek) -> MiniDeepSeek:
    """The same weights, with every linear layer of the blocks in FP8; embedding, norms, attention and head stay."""
    for module in list(model.layers.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and child.bias is None:
                layer = Fp8Linear(child.in_features, child.out_features).to(child.weight.device)
                layer.weight = child.weight
                setattr(module, name, layer)
    return model


def sums(device: torch.device, lengths: list[int], side: int = 256) -> list[dict[str, Any]]:
    """Relative errors of products of codes, by the length of the sum, for numbers of both signs and of one."""
    generator, found = torch.Generator(device).manual_seed(0), []
    for length in lengths:
        for signs in ("both", "positive"):
            a, b = (torch.randn(side, length, device=device, generator=generator) for _ in range(2))
            a, b = ((x if signs == "both" else x.abs()).to(torch.float8_e4m3fn) for x in (a, b))
            exact = a.double() @ b.double().T
            for name, every in PROMOTED.items():
                y = matmul_unscaled(a, b, every)
                worst = ((y.double() - exact).abs() / exact.abs()).max() if signs == "positive" else None
                found.append({"length": length, "signs": signs, "promoted": name,
                              "relative_error": relative_error(y, exact),
                              "worst": None if worst is None else float(worst)})  # fmt: skip
    return found


def rows(first: int, count: int, context: int, seed: int = 0) -> np.ndarray:
    """Rows of packed pages, uint8 `[count, context + 1]`: one share of the stream of `seed`."""
    web, tokenizer = TinyWeb(WEB, seed), CharTokenizer()
    ids: list[int] = []
    page = first * context
    while len(ids) < count * (context + 1):
        ids += [tokenizer.bos_id, *tokenizer.encode(web[page]), tokenizer.eos_id]
        page += 1
    return np.array(ids[: count * (context + 1)], dtype=np.uint8).reshape(count, context + 1)


def train(kind: str, seed: int, data: Tensor, held_out: Tensor, a: argparse.Namespace) -> dict[str, Any]:
    """One run: losses every ten steps, and the loss on held-out rows at the end."""
    start = time.perf_counter()
    size = TINY if a.tiny else MODEL
    model = MiniDeepSeek(size, torch.Generator().manual_seed(seed)).to(data.device)
    model = in_fp8(model) if kind == "fp8" else model
    config = PretrainConfig(model=size, steps=a.steps, batch=a.batch, context=a.context,
                            optim=OptimConfig(lr=2e-3, warmup=20, weight_decay=0.1))  # fmt: skip
    optimizer = Optimizer(model, config.optim, a.steps)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)).to(data.device)
    losses = []
    for step in range(a.steps):
        optimizer.schedule(step)
        batch = data[order[step * a.batch : (step + 1) * a.batch]].long()
        found, _ = train_step(model, optimizer, batch, config)
        losses.append(found["loss"])
    with torch.no_grad(), precision(model.device):
        parts = [F.cross_entropy(model(part[:, :-1].long()).logits.flatten(0, 1).float(), part[:, 1:].flatten().long())
                 for part in held_out.split(a.batch)]  # fmt: skip
    means = torch.stack(losses).unflatten(0, (-1, 10)).mean(1)
    return {"kind": kind, "seed": seed, "loss": [round(x, 5) for x in means.tolist()],
            "held_out": float(torch.stack(parts).mean()), "seconds": time.perf_counter() - start}  # fmt: skip


def main() -> None:
    """The sums, then seed by seed both runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tiny", action="store_true", help="a model for a CPU, where FP8 is emulated")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--context", type=int, default=192)
    parser.add_argument("--held-out", type=int, default=256, help="rows")
    parser.add_argument("--workers", type=int, default=5)
    parser.add_argument("--longest", type=int, default=17, help="the longest sum has 2 to this many terms")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds")
    parser.add_argument("--device", default="auto")
    a = parser.parse_args()
    start, device = time.perf_counter(), pick_device(a.device)
    a.out.mkdir(parents=True, exist_ok=True)
    share = -(-a.steps * a.batch // a.workers)
    metrics: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
                               "batch": a.batch, "context": a.context, "steps": a.steps, "runs": []}  # fmt: skip
    with ProcessPoolExecutor(a.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = [pool.submit(rows, i * share, share, a.context) for i in range(a.workers)]
        other = pool.submit(rows, 0, a.held_out, a.context, 1_000_003)
        metrics["sums"] = sums(device, [2**i for i in range(7, a.longest + 1)])
        data = torch.from_numpy(np.concatenate([part.result() for part in parts])).to(device)
        held_out = torch.from_numpy(other.result()).to(device)
    print(f"sums and pages in {time.perf_counter() - start:.0f} s", flush=True)
    for seed in a.seeds:
        for kind in ("bf16", "fp8"):
            if time.perf_counter() - start > a.limit:
                print("the time was up before", kind, seed)
                continue
            metrics["runs"].append(train(kind, seed, data, held_out, a))
            metrics["seconds"] = time.perf_counter() - start
            (a.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
            run = metrics["runs"][-1]
            print(f"{kind} seed {seed}: held-out loss {run['held_out']:.4f}, {run['seconds']:.1f} s", flush=True)
    for entry in metrics["sums"][-8:]:
        print(entry)


if __name__ == "__main__":
    main()
