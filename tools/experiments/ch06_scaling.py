"""Chapter 06: loss against compute for four sizes, AdamW against Muon, bf16 against float32, and what the base can do.

    python tools/experiments/ch06_scaling.py --seeds 0 1 2 --out results/ch06_scaling

A size is trained once, at a constant rate, to the largest budget. Each smaller budget is a branch: from 80 % of the
budget on, a copy of the run lets its rate fall to 0. So one trunk gives as many finished runs as there are budgets
(Hägele et al., arXiv:2405.18392), each the same as a run of its own. A seed draws the weights and the order of the
rows. Writes metrics.json into the folder after every run; no run is begun after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.infer.generate import complete
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import parameters, training_flops
from minidsk.tasks.countdown import Countdown
from minidsk.train.device import pick_device, precision
from minidsk.train.optim import OptimConfig, Optimizer, learning_rate
from minidsk.train.pretrain import PretrainConfig, train_step

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import Record, arguments, sweep

TOKENIZER = CharTokenizer()
WEB = TinyWebConfig(numbers=(3,), high=99, target_high=99, ops="+-", worksheets=0.6, patience=6)
TASK = Countdown(3, high=99, target_high=99, ops="+-", split="valid")
VALIDATION_SEED = 1_000_003
LAYERS = {64: 2, 128: 3, 256: 4, 384: 5}  # hidden size: layers
TOY_LAYERS = {32: 2, 64: 2}
WARMUP, DECAY = 20, 0.2


def model_of(hidden: int, layers: int) -> ModelConfig:
    """A MiniDeepSeek whose parts all grow with its width: heads of 32, eight experts of which two are active."""
    return ModelConfig(
        vocab_size=TOKENIZER.vocab_size, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=hidden // 32,
        kv_lora_rank=hidden // 4, qk_nope_head_dim=24, qk_rope_head_dim=8, v_head_dim=32, intermediate_size=3 * hidden,
        moe_intermediate_size=3 * hidden // 4, n_routed_experts=8, num_experts_per_tok=2, n_shared_experts=1,
    )  # fmt: skip


def rate_of(hidden: int, peak: float) -> float:
    """`peak` is that of width 128; wider models learn at a lower rate, in inverse proportion to the root of width."""
    return peak * (128 / hidden) ** 0.5


# ---- data: written once, read by every run


def rows(seed: int, first: int, count: int, context: int) -> np.ndarray:
    """Rows of packed pages, uint8 ``[count, context + 1]``: a worker's share of the one stream of `seed`."""
    web, ids, page = TinyWeb(WEB, seed), [], first * context  # far apart: a page has more tokens than one
    while len(ids) < count * (context + 1):
        ids += [TOKENIZER.bos_id, *TOKENIZER.encode(web[page]), TOKENIZER.eos_id]
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


# ---- one run


class Trainer:
    """A model, its optimizers and its data, at some step; `branch` is a copy that goes its own way."""

    def __init__(self, config: PretrainConfig, data: Tensor, dtype: str) -> None:
        self.config, self.data, self.dtype = config, data, dtype
        self.model = MiniDeepSeek(config.model, torch.Generator().manual_seed(config.seed)).to(data.device)
        self.optimizer = Optimizer(self.model, config.optim, 10**9)
        self.order = torch.randperm(len(data), generator=torch.Generator().manual_seed(config.seed)).to(data.device)
        self.step = 0

    def train(self, until: int, steps: int | None = None) -> None:
        """Go on to step `until` of a run of `steps`, or at a constant rate where no end is known."""
        for step in range(self.step, until):
            c = self.config
            self.optimizer.set_rate(learning_rate(step, steps or 10**9, c.optim.lr, WARMUP, DECAY, 0.0))
            ids = self.data[self.order[step * c.batch : (step + 1) * c.batch]].long()
            with as_asked(self.dtype):
                train_step(self.model, self.optimizer, ids, c)
        self.step = until

    def branch(self) -> Trainer:
        """The same run, from here on apart."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        other.optimizer = Optimizer(other.model, self.config.optim, 10**9)
        other.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        return other


def as_asked(dtype: str) -> contextlib.AbstractContextManager[Any]:
    """float32 throughout where that is asked for; else what `minidsk.train.device.precision` chooses."""
    if dtype == "float32":
        return patch("minidsk.train.pretrain.precision", lambda device, **_: contextlib.nullcontext())
    return contextlib.nullcontext()


@torch.no_grad()
def validation_loss(model: MiniDeepSeek, ids: Tensor) -> float:
    """Nats a token on rows ``[n, context + 1]``."""
    total = torch.zeros((), device=ids.device)
    for part in ids.split(64):
        with precision(model.device):
            logits = model(part[:, :-1]).logits
        total += F.cross_entropy(logits.flatten(0, 1).float(), part[:, 1:].flatten(), reduction="sum")
    return round(float(total) / ids[:, 1:].numel(), 4)


def right_answers(model: MiniDeepSeek, problems: int, samples: int, seed: int) -> dict[str, Any]:
    """How many of `samples` answers to each problem are right (temperature 1), and a few of them as text."""
    # Decoding has its kernels and its CUDA graph for weights in bf16.
    small = copy.deepcopy(model).to(torch.bfloat16) if model.device.type == "cuda" else model
    generator = torch.Generator(model.device).manual_seed(seed)
    replies: list[str] = []
    prompts = [TASK[i].prompt for i in range(problems) for _ in range(samples)]
    for start in range(0, len(prompts), 1024):
        replies += complete(small, TOKENIZER, prompts[start : start + 1024], 128, temperature=1.0, generator=generator)
    right = [TASK[i // samples].score(reply) >= 1 for i, reply in enumerate(replies)]
    counts = [sum(right[i * samples : (i + 1) * samples]) for i in range(problems)]
    shown = [{"prompt": prompts[i * samples], "reply": replies[i * samples]} for i in range(4)]
    return {"samples": samples, "right": counts, "shown": shown}


def load(a: argparse.Namespace, folder: str) -> tuple[Tensor, Tensor]:
    """Training and validation rows on the device."""
    where = pick_device(a.device)
    train, valid = (torch.from_numpy(np.load(f"{folder}/{which}.npy")).to(where) for which in ("train", "valid"))
    return train, valid.long()


def settings_of(job: dict[str, Any], a: argparse.Namespace) -> PretrainConfig:
    model = model_of(job["hidden"], (TOY_LAYERS if a.toy else LAYERS)[job["hidden"]])
    optim = OptimConfig(lr=job["lr"], warmup=WARMUP, decay=DECAY, weight_decay=0.1, muon=job["muon"])
    return PretrainConfig(model=model, web=WEB, steps=a.steps, batch=a.batch, context=a.context, optim=optim,
                          seed=job["seed"])  # fmt: skip


def run(job: dict[str, Any], a: argparse.Namespace, folder: str) -> dict[str, Any]:
    """One job: a trunk with its branches, or one run."""
    data, valid = load(a, folder)
    config = settings_of(job, a)
    start = time.perf_counter()
    trunk, points, flops = Trainer(config, data, job["dtype"]), [], training_flops(config.model, a.context / 2)
    end = trunk
    for steps in job["budgets"]:
        trunk.train(round((1 - DECAY) * steps))
        held = validation_loss(trunk.model, valid)
        end = trunk.branch()
        end.train(steps, steps)
        tokens = steps * a.batch * a.context
        points.append({"steps": steps, "tokens": tokens, "flops": tokens * flops, "before_decay": held,
                       "loss": validation_loss(end.model, valid)})  # fmt: skip
    result = {**job, "layers": config.model.num_hidden_layers, "parameters": parameters(config.model),
              "active_parameters": parameters(config.model, active=True), "flops_per_token": flops, "points": points,
              "loss": points[-1]["loss"]}  # fmt: skip
    if job["part"] == "scaling":
        result["countdown"] = right_answers(end.model, a.problems, a.samples, job["seed"])
    return {**result, "seconds": round(time.perf_counter() - start, 1)}


# ---- the ledger: predicted, counted, achieved; alone on the device


def ledger(hidden: int, dtype: str, a: argparse.Namespace, folder: str) -> dict[str, Any]:
    """FLOPs a token, predicted and counted, and the time of a training step."""
    data, _ = load(a, folder)
    config = settings_of({"hidden": hidden, "lr": 1e-3, "muon": False, "seed": 0}, a)
    trainer, gpu = Trainer(config, data, dtype), data.is_cuda
    tokens = a.batch * a.context
    trainer.train(5)
    with FlopCounterMode(display=False) as counter:
        trainer.train(6)
    by_operator = {str(op).removeprefix("aten."): count / tokens for op, count in
                   counter.get_flop_counts().get("Global", {}).items()}  # fmt: skip
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    trainer.train(6 + a.timed)
    if gpu:
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / a.timed
    predicted = training_flops(config.model, a.context / 2)
    return {"hidden": hidden, "dtype": dtype, "predicted": predicted,
            "predicted_full_attention": training_flops(config.model, a.context),
            "counted": counter.get_total_flops() / tokens, "by_operator": by_operator,
            "ms_per_step": round(1000 * seconds, 2), "flops_per_second": predicted * tokens / seconds,
            "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20) if gpu else 0}  # fmt: skip


# ---- the whole experiment


def jobs_of(a: argparse.Namespace) -> list[dict[str, Any]]:
    """The most telling first: what does not fit into the time is cut from the end."""
    sizes = sorted(TOY_LAYERS if a.toy else LAYERS, reverse=True)
    budgets = [max(a.steps * share // 8, 1) for share in (1, 2, 4, 8)]
    scaling = [{"part": "scaling", "hidden": hidden, "lr": rate_of(hidden, a.lr), "muon": False, "dtype": "bf16",
                "seed": seed, "budgets": budgets} for hidden in sizes for seed in a.seeds]  # fmt: skip
    middle, few = sizes[-2], [max(3 * a.steps // 4, 1)]

    def alone(lr: float, muon: bool, dtype: str = "bf16") -> list[dict[str, Any]]:
        part = "optimizer" if dtype == "bf16" else "precision"
        return [{"part": part, "hidden": middle, "lr": lr, "muon": muon, "dtype": dtype, "seed": seed, "budgets": few}
                for seed in a.seeds]  # fmt: skip

    compared = [job for lr in (a.lr / 3, a.lr) for muon in (False, True) for job in alone(lr, muon)]
    spare = [job for muon in (False, True) for job in alone(3 * a.lr, muon)]
    return scaling + compared + alone(a.lr, False, "float32") + spare


def table(measured: list[dict[str, Any]], runs: list[dict[str, Any]]) -> str:
    """The ledger, then one line for each kind of run: mean over seeds, and half a 95 % interval where there are 3."""
    lines = ["hidden dtype     predicted   counted  ms/step    TFLOP/s"]
    lines += [f"{m['hidden']:6} {m['dtype']:8} {m['predicted'] / 1e6:9.3f}M {m['counted'] / 1e6:8.3f}M "
              f"{m['ms_per_step']:8.2f} {m['flops_per_second'] / 1e12:10.3f}" for m in measured]  # fmt: skip
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in runs:
        for point in r["points"]:
            name = "Muon" if r["muon"] else "AdamW"
            key = (r["part"], r["hidden"], name, f"{r['lr']:.2g}", r["dtype"], point["steps"])
            groups.setdefault(key, []).append(point)
    lines.append("part       hidden optim  lr      dtype   steps   FLOPs      loss     +-  seeds")
    for (part, hidden, name, lr, dtype, steps), points in groups.items():
        losses = [point["loss"] for point in points]
        spread = f"{4.303 * stdev(losses) / 3**0.5:.4f}" if len(losses) == 3 else ""
        lines.append(f"{part:10} {hidden:6} {name:6} {lr:7} {dtype:8} {steps:4} {points[0]['flops']:9.2e} "
                     f"{mean(losses):7.4f} {spread:>6} {len(losses):4}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch06_scaling", workers=8, limit=85.0)
    parser.add_argument("--steps", type=int, default=400, help="the largest budget")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--lr", type=float, default=3e-3, help="peak of width 128")
    parser.add_argument("--valid-rows", type=int, default=512)
    parser.add_argument("--problems", type=int, default=256)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--timed", type=int, default=15, help="steps timed for the ledger")
    parser.add_argument("--parts", nargs="+", default=["scaling", "optimizer", "precision"], help="these parts alone")
    parser.add_argument("--toy", action="store_true", help="two sizes small enough for a CPU")
    a = parser.parse_args()
    jobs = [job for job in jobs_of(a) if job["part"] in a.parts]
    settings = {**{key: value for key, value in vars(a).items() if key != "out"}, "web": vars(WEB),
                "warmup": WARMUP, "decay": DECAY, "valid_tokens": a.valid_rows * a.context}  # fmt: skip
    with tempfile.TemporaryDirectory() as data:
        make_data(Path(data), a.steps * a.batch, a.valid_rows, a.context, min(10, os.cpu_count() or 1))
        measured = [ledger(hidden, dtype, a, data) for hidden in (TOY_LAYERS if a.toy else LAYERS)
                    for dtype in ("bf16", "float32")]  # fmt: skip
        record = Record(a, lambda r: jobs.index({key: r[key] for key in jobs[0]}), settings=settings, ledger=measured)
        sweep([(run, job, a, data) for job in jobs], record.add, a)
    print(table(measured, record.rows))


if __name__ == "__main__":
    main()
