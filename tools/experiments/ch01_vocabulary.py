"""Chapter 1: which vocabulary gives a small model the fewest bits a byte, at equal compute and for several budgets.

    python tools/experiments/ch01_vocabulary.py --device cuda --workers 4 --out results/ch01_vocabulary

The experiment of the chapter with more compute, up to a hundred times. The batch grows with the square root of the
budget, and so do the steps. Writes `metrics.json` after every run: an entry for each budget, vocabulary and seed.
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import sys
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
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import Record, arguments, sweep

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


def run(job: Job, tokenizer: Tokenizer, density: float, a: argparse.Namespace) -> dict[str, Any]:
    """Train one model and weigh it on pages it has not read."""
    device, config, length = pick_device(a.device), config_for(tokenizer, a.width), round(WINDOW / density)
    batch = round(4 * math.sqrt(job.budget / 3e10)) or 1
    steps = round(job.budget / (training_flops(config, length / 2) * batch * length))
    settings = PretrainConfig(config, steps=steps, batch=batch, context=length, seed=job.seed,
                              optim=OptimConfig(lr=a.lr, warmup=20, weight_decay=0.1))  # fmt: skip
    data = batches(tokenizer, job.seed, steps, batch, length).to(device)
    model = MiniDeepSeek(config, torch.Generator().manual_seed(job.seed)).to(device)
    optimizer = Optimizer(model, settings.optim, steps)
    for step, ids in enumerate(data):
        optimizer.schedule(step)
        train_step(model, optimizer, ids, settings)
    bits = bits_per_byte(model, tokenizer, TinyWeb(WIDE, seed=9).pages(0, 500))
    return {"budget": job.budget, "vocabulary": job.vocabulary, "ids": tokenizer.vocab_size, "seed": job.seed,
            "steps": steps, "batch": batch, "bytes_per_token": round(density, 3), "parameters": parameters(config),
            "bits_per_byte": round(bits, 4)}  # fmt: skip


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
    parser = arguments(__doc__, "results/ch01_vocabulary")
    parser.add_argument("--budgets", type=float, nargs="+", default=[3e10, 3e11, 3e12])
    parser.add_argument("--sizes", type=int, nargs="+", default=[266, 320, 512, 1024])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-2)
    a = parser.parse_args()
    reading = "\n".join(TinyWeb(WIDE, seed=1).pages(0, 3000))
    tokenizers: dict[str, Tokenizer] = {"characters": CharTokenizer()}
    tokenizers |= {f"BPE {size}": BPETokenizer.train(reading, size, SPECIALS) for size in a.sizes}
    density = {name: len(reading.encode()) / len(known.encode(reading)) for name, known in tokenizers.items()}
    jobs = [Job(budget, name, seed) for budget in a.budgets for name in tokenizers for seed in a.seeds]
    record = Record(a, lambda run: jobs.index(Job(run["budget"], run["vocabulary"], run["seed"])))
    sweep([(run, job, tokenizers[job.vocabulary], density[job.vocabulary], a) for job in jobs], record.add, a)
    print(table(record.rows))


if __name__ == "__main__":
    main()
