"""Chapter 03: what balancing does to experts and to the loss, and what dense models of equal cost reach.

    python tools/experiments/ch03_balance.py --device cuda --seeds 0 1 2 --workers 3 --out results/ch03_balance

Every method trains for the same steps on the same pages of the tiny web; a seed draws the weights and the order of
the pages. Writes metrics.json into the folder after every run, so that a stopped experiment leaves what is finished.
No run is begun after `--limit` seconds; what was left out is named at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.config import ModelConfig
from minidsk.model.moe import max_violation
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import parameters, training_flops
from minidsk.train.device import pick_device, precision
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import Record, arguments, sweep

WEB = TinyWebConfig(numbers=(3, 4), high=99, target_high=None, ops="+-*/")
VALIDATION_SEED = 1_000_003
ROWS_OF_HEAT = 50

MOE = ModelConfig(
    vocab_size=CharTokenizer().vocab_size, hidden_size=256, num_hidden_layers=4, max_position_embeddings=256,
    num_attention_heads=4, kv_lora_rank=96, qk_nope_head_dim=48, qk_rope_head_dim=16, v_head_dim=64,
    intermediate_size=320, first_k_dense_replace=1, moe_intermediate_size=64,
    n_routed_experts=64, num_experts_per_tok=4, n_shared_experts=1,
)  # fmt: skip
TOY = MOE.replace(hidden_size=64, num_hidden_layers=3, num_attention_heads=2, kv_lora_rank=32, qk_nope_head_dim=24,
                  qk_rope_head_dim=8, v_head_dim=32, intermediate_size=80, moe_intermediate_size=16,
                  n_routed_experts=32)  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One row of the table: a model, and how it is balanced."""

    model: ModelConfig
    alpha: float = 0.0
    speed: float = 0.0
    note: str = field(default="", compare=False)


def dense(moe: ModelConfig, context: int, equal: str) -> ModelConfig:
    """The dense model whose cost is the nearest to that of `moe`: in active FLOPs, or in parameters."""

    def cost(config: ModelConfig) -> float:
        return training_flops(config, context / 2) if equal == "flops" else parameters(config)

    widths = range(8, 3 * moe.n_routed_experts * moe.moe_intermediate_size, 8)
    return min((moe.replace(n_routed_experts=0, intermediate_size=width) for width in widths),
               key=lambda config: abs(cost(config) - cost(moe)))  # fmt: skip


def reshaped(moe: ModelConfig, width: int, top_k: int, shared: int) -> ModelConfig:
    """Experts of another width, as many as hold the same weights, the shared ones counted."""
    total = moe.moe_intermediate_size * (moe.n_routed_experts + moe.n_shared_experts)
    return moe.replace(moe_intermediate_size=width, n_routed_experts=total // width - shared,
                       num_experts_per_tok=top_k, n_shared_experts=shared)  # fmt: skip


def methods(moe: ModelConfig, context: int) -> dict[str, Method]:
    """The most telling first: what does not fit into the time is cut from the end."""
    bias = partial(Method, speed=0.01)
    k = moe.num_experts_per_tok
    width = moe.moe_intermediate_size * (k + moe.n_shared_experts) // 3 - 7
    return {
        "none": Method(moe),
        "auxiliary 0.01": Method(moe, alpha=0.01),
        "bias 0.01": bias(moe),
        "dense, equal FLOPs": Method(dense(moe, context, "flops")),
        "bias 0.001": Method(moe, speed=0.001),
        "both": Method(moe, alpha=0.0001, speed=0.001, note="alpha 0.0001 and speed 0.001, as in V3"),
        "dense, equal parameters": Method(dense(moe, context, "parameters")),
        "coarse": bias(reshaped(moe, -(-width // 8) * 8, 2, shared=1),
                       note="wider and fewer experts, top 2, for as many active and as many stored weights"),
        "no shared": bias(reshaped(moe, moe.moe_intermediate_size, k + 1, shared=0)),
        "groups 2 of 8": bias(moe.replace(n_group=8, topk_group=2)),
        "auxiliary 0.001": Method(moe, alpha=0.001),
        "bias 0.1": Method(moe, speed=0.1),
        "auxiliary 0.1": Method(moe, alpha=0.1),
    }  # fmt: skip


def rows(seed: int, first: int, count: int, context: int) -> np.ndarray:
    """Rows of packed pages, uint8 `[count, context + 1]`: a worker's share of the one stream of `seed`."""
    web, tokenizer = TinyWeb(WEB, seed), CharTokenizer()
    ids: list[int] = []
    page = first * context  # far apart: a page has more tokens than one
    while len(ids) < count * (context + 1):
        ids += [tokenizer.bos_id, *tokenizer.encode(web[page]), tokenizer.eos_id]
        page += 1
    return np.array(ids[: count * (context + 1)], dtype=np.uint8).reshape(count, context + 1)


def make_data(folder: Path, train_rows: int, valid_rows: int, context: int, processes: int) -> None:
    """Training and validation rows as files that every run reads."""
    share = -(-train_rows // processes)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
        held_out = pool.submit(rows, VALIDATION_SEED, 0, valid_rows, context)
        parts = [pool.submit(rows, 0, i * share, share, context) for i in range(processes)]
        np.save(folder / "train.npy", np.concatenate([part.result() for part in parts])[:train_rows])
        np.save(folder / "valid.npy", held_out.result())


@torch.no_grad()
def evaluate(model: MiniDeepSeek, ids: Tensor, batch: int) -> tuple[float, Tensor, float]:
    """Loss in nats a token on rows `[n, context + 1]`; load `[layers, experts]`; groups of 8 that a token touches."""
    total, loads, touched = torch.zeros((), device=ids.device), [], []
    for part in ids.split(batch):
        with precision(model.device):
            out = model(part[:, :-1])
        total += F.cross_entropy(out.logits.flatten(0, 1).float(), part[:, 1:].flatten(), reduction="sum")
        loads.append(torch.stack([r.load() for r in out.routing]) if out.routing else torch.zeros(0, 1))
        for r in out.routing:
            experts = r.scores.shape[-1]
            if experts % 8:
                continue
            marks = F.one_hot(r.indices // (experts // 8), 8).amax(-2)
            touched.append(marks.sum(-1).float().mean())
    loss = float(total) / ids[:, 1:].numel()
    return loss, torch.stack(loads).sum(0).cpu(), float(torch.stack(touched).mean()) if touched else 0.0


def train(name: str, seed: int, a: argparse.Namespace, data: str) -> dict[str, Any]:
    """One run: its curve, its loads and what it cost."""
    where = pick_device(a.device)
    train_ids = torch.from_numpy(np.load(f"{data}/train.npy")).to(where)
    valid_ids = torch.from_numpy(np.load(f"{data}/valid.npy")).to(where).long()
    method = methods(TOY if a.toy else MOE, a.context)[name]
    config = PretrainConfig(model=method.model, steps=a.steps, batch=a.batch, context=a.context, seed=seed,
                            optim=OptimConfig(lr=a.lr, warmup=20, weight_decay=0.1), bias_speed=method.speed,
                            balance=method.alpha)  # fmt: skip
    model = MiniDeepSeek(config.model, torch.Generator().manual_seed(seed)).to(where)
    optimizer = Optimizer(model, config.optim, a.steps)
    order = torch.randperm(len(train_ids), generator=torch.Generator().manual_seed(seed)).to(where)
    every, loads, curve = max(a.steps // ROWS_OF_HEAT, 1), [], []
    start = time.perf_counter()
    for step in range(a.steps):
        if step % max(a.steps // 10, 1) == 0:
            curve.append([step, round(evaluate(model, valid_ids[: 2 * a.batch], a.batch)[0], 4)])
        optimizer.schedule(step)
        ids = train_ids[order[step * a.batch : (step + 1) * a.batch]].long()
        _, load = train_step(model, optimizer, ids, config)
        loads += [load] if len(load) else []
    loss, validation_load, touched = evaluate(model, valid_ids, a.batch)
    seconds = time.perf_counter() - start
    curve.append([a.steps, round(loss, 4)])
    result: dict[str, Any] = {
        "method": name, "note": method.note, "seed": seed, "alpha": method.alpha, "speed": method.speed,
        "parameters": parameters(config.model), "active_parameters": parameters(config.model, active=True),
        "flops_per_token": training_flops(config.model, a.context / 2), "steps": a.steps,
        "tokens": a.steps * a.batch * a.context, "seconds": round(seconds, 2), "loss": round(loss, 4), "curve": curve,
    }  # fmt: skip
    if loads:
        heat = torch.stack(loads).cpu()
        late = [float(max_violation(row)) for row in heat[-(a.steps // 5) :].flatten(0, 1)]
        heat = heat[: len(heat) // every * every, -1].unflatten(0, (-1, every)).mean(1)
        heat = (100 * heat / heat.mean(-1, keepdim=True)).round().int()
        shares = validation_load / validation_load.mean(-1, keepdim=True)
        result |= {
            "max_violation_batch": round(mean(late), 3),
            "max_violation": round(float(shares.amax(-1).mean() - 1), 3),
            "idle": round(float((shares < 0.1).float().mean()), 4), "groups_touched": round(touched, 3),
        }  # fmt: skip
        if seed == a.seeds[0]:
            result["load"] = {"every": every, "percent_of_mean": heat.tolist()}
    return result


def table(runs: list[dict[str, Any]]) -> str:
    """One line a method: the mean over seeds, and half a 95 % interval where there are three."""
    lines = [f"{'method':24} {'parameters':>10} {'MFLOP/tok':>9} {'loss':>7} {'+-':>6} {'MaxVio':>7} {'batch':>6} "
             f"{'idle':>6} {'groups':>6} {'tok a s':>9} {'seeds':>5}"]  # fmt: skip
    for name in dict.fromkeys(run["method"] for run in runs):
        of = [run for run in runs if run["method"] == name]
        losses = [run["loss"] for run in of]
        spread = f"{4.303 * stdev(losses) / 3**0.5:.4f}" if len(of) == 3 else ""
        extra = [mean(run.get(key, 0.0) for run in of)
                 for key in ("max_violation", "max_violation_batch", "idle", "groups_touched")]  # fmt: skip
        speed = mean(run["tokens"] / run["seconds"] for run in of)
        lines.append(f"{name:24} {of[0]['parameters']:10,} {of[0]['flops_per_token'] / 1e6:9.2f} {mean(losses):7.4f} "
                     f"{spread:>6} {extra[0]:7.2f} {extra[1]:6.2f} {extra[2]:6.3f} {extra[3]:6.2f} {speed:9,.0f} "
                     f"{len(of):5}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch03_balance", limit=105.0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--valid-rows", type=int, default=512)
    parser.add_argument("--only", nargs="*", help="some methods alone, by name")
    parser.add_argument("--toy", action="store_true", help="a model small enough for a CPU")
    a = parser.parse_args()
    names = [name for name in methods(TOY if a.toy else MOE, a.context) if not a.only or name in a.only]
    record = Record(a, lambda run: (names.index(run["method"]), run["seed"]))
    with tempfile.TemporaryDirectory() as data:
        make_data(Path(data), a.steps * a.batch, a.valid_rows, a.context, min(10, os.cpu_count() or 1))
        sweep([(train, name, seed, a, data) for name in names for seed in a.seeds], record.add, a)
    print(table(record.rows))


if __name__ == "__main__":
    main()
