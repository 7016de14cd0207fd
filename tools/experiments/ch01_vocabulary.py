"""Chapter 1: which vocabulary gives a small model the fewest bits a byte, at equal compute and for several budgets.

    python tools/experiments/ch01_vocabulary.py --device cuda --workers 4 --out results/ch01_vocabulary

The experiment of the chapter with more compute, up to a hundred times. The batch grows with the square root of the
budget, and so do the steps. Writes `metrics.json` after every run: an entry for each budget, vocabulary and seed.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import SPECIALS, BPETokenizer, CharTokenizer, Tokenizer
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import parameters, training_flops
from minidsk.train.device import pick_device
from minidsk.train.optim import learning_rate, make_optimizers, set_rate
from minidsk.train.pretrain import PretrainConfig, train_step

WIDE = TinyWebConfig(numbers=(3,), high=99, target_high=99, ops="+-*/")
WINDOW = 192  # bytes of text in a row


class Job(NamedTuple):
    """One run: FLOPs to spend, the vocabulary's name, the seed."""

    budget: float
    vocabulary: str
    seed: int


def config_for(tokenizer: Tokenizer, width: int) -> ModelConfig:
    """The chapter's model of two layers, with the tokenizer's vocabulary."""
    return ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=width, num_hidden_layers=2, num_attention_heads=2,
        kv_lora_rank=32, qk_nope_head_dim=24, qk_rope_head_dim=8, intermediate_size=3 * width, n_routed_experts=0,
    )  # fmt: skip


@functools.cache
def page(seed: int, i: int) -> str:
    """Page i of the training web of a seed, the same for every vocabulary."""
    return TinyWeb(WIDE, seed=100 + seed)[i]


def batches(tokenizer: Tokenizer, seed: int, steps: int, batch: int, length: int) -> torch.Tensor:
    """The wide web's pages end to end, cut into int64 ``[steps, batch, length + 1]``."""
    wanted, i = steps * batch * (length + 1), 0
    ids: list[int] = []
    while len(ids) < wanted:
        ids += [tokenizer.bos_id, *tokenizer.encode(page(seed, i)), tokenizer.eos_id]
        i += 1
    return torch.tensor(ids[:wanted]).view(steps, batch, length + 1)


@torch.no_grad()
def bits_per_byte(model: MiniDeepSeek, tokenizer: Tokenizer, pages: list[str]) -> float:
    """Loss on the pages, each with its end, in bits per byte of text."""
    nats = 0.0
    for start in range(0, len(pages), 100):
        rows = [[tokenizer.bos_id, *tokenizer.encode(page), tokenizer.eos_id] for page in pages[start : start + 100]]
        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in rows], batch_first=True, padding_value=tokenizer.pad_id
        ).to(model.device)
        logits = model(ids[:, :-1]).logits.float()
        nats += F.cross_entropy(logits.mT, ids[:, 1:], ignore_index=tokenizer.pad_id, reduction="sum").item()
    return nats / math.log(2) / sum(len(page.encode()) for page in pages)


def run(
    job: Job, tokenizer: Tokenizer, density: float, a: argparse.Namespace, deadline: float
) -> dict[str, Any] | None:
    """Train one model and weigh it on pages it has not read; None when it is too late to begin."""
    if time.time() > deadline:
        return None
    torch.set_num_threads(1)
    device, config, length = pick_device(a.device), config_for(tokenizer, a.width), round(WINDOW / density)
    batch = round(4 * math.sqrt(job.budget / 3e10)) or 1
    steps = round(job.budget / (training_flops(config, length / 2) * batch * length))
    settings = PretrainConfig(config, steps=steps, batch=batch, context=length, lr=a.lr, seed=job.seed)
    data = batches(tokenizer, job.seed, steps, batch, length).to(device)
    model = MiniDeepSeek(config, torch.Generator().manual_seed(job.seed)).to(device)
    optimizers = make_optimizers(model, a.lr, settings.weight_decay)
    for step, ids in enumerate(data):
        set_rate(optimizers, learning_rate(step, steps, a.lr, settings.warmup, settings.decay))
        train_step(model, optimizers, ids, settings)
    bits = bits_per_byte(model, tokenizer, TinyWeb(WIDE, seed=9).pages(0, 500))
    return {"budget": job.budget, "vocabulary": job.vocabulary, "ids": tokenizer.vocab_size, "seed": job.seed,
            "steps": steps, "batch": batch, "bytes_per_token": round(density, 3), "parameters": parameters(config),
            "bits_per_byte": round(bits, 4)}  # fmt: skip


def write(path: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def table(found: list[dict[str, Any]]) -> str:
    """One line a budget and vocabulary: mean and standard deviation over seeds."""
    lines = []
    for budget, name in dict.fromkeys((run["budget"], run["vocabulary"]) for run in found):
        of = [run for run in found if (run["budget"], run["vocabulary"]) == (budget, name)]
        bits = [run["bits_per_byte"] for run in of]
        spread = f"{statistics.stdev(bits):.3f}" if len(bits) > 1 else ""
        lines.append(f"{budget:.0e}  {name:11} {of[0]['steps']:6} steps  {statistics.fmean(bits):.3f} +- {spread}")
    return "\n".join(lines)


def main() -> None:
    """Train every vocabulary at every budget with every seed; write metrics.json, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budgets", type=float, nargs="+", default=[3e10, 3e11, 3e12])
    parser.add_argument("--sizes", type=int, nargs="+", default=[266, 320, 512, 1024])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--workers", type=int, default=1, help="runs at the same time")
    parser.add_argument("--limit", type=float, default=1e9, help="seconds after which no run is begun")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("MINIDSK_RESULT", "results/ch01_vocabulary")))
    a = parser.parse_args()
    began = time.time()
    a.out.mkdir(parents=True, exist_ok=True)
    reading = "\n".join(TinyWeb(WIDE, seed=1).pages(0, 3000))
    tokenizers: dict[str, Tokenizer] = {"characters": CharTokenizer()}
    tokenizers |= {f"BPE {size}": BPETokenizer.train(reading, size, SPECIALS) for size in a.sizes}
    density = {name: len(reading.encode()) / len(known.encode(reading)) for name, known in tokenizers.items()}
    print(f"tokenizers after {time.time() - began:.1f} s", flush=True)
    jobs = [Job(budget, name, seed) for budget in a.budgets for name in tokenizers for seed in a.seeds]
    found: list[dict[str, Any]] = []
    with ProcessPoolExecutor(a.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(run, job, tokenizers[job.vocabulary], density[job.vocabulary], a, began + a.limit)
                   for job in jobs]  # fmt: skip
        for done in as_completed(waiting):
            result = done.result()
            if result is None:
                continue
            found.append(result)
            found.sort(key=lambda run: jobs.index(Job(run["budget"], run["vocabulary"], run["seed"])))
            write(a.out / "metrics.json", found)
            print(f"{time.time() - began:6.1f} s  {result['budget']:.0e} {result['vocabulary']:11} "
                  f"seed {result['seed']}  {result['bits_per_byte']:.4f} bits a byte", flush=True)  # fmt: skip
    print(table(found))
    print(f"{len(found)} runs, {len(jobs) - len(found)} left out for time, {time.time() - began:.0f} s in all")


if __name__ == "__main__":
    main()
