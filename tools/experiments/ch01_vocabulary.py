"""Chapter 1: which vocabulary gives a small model the fewest bits a byte, at equal compute and for several budgets.

    python tools/experiments/ch01_vocabulary.py --device cuda --out results/ch01_vocabulary

The experiment of the chapter with more vocabularies and up to a hundred times its compute. The batch grows with the
square root of the budget, and so do the steps. Writes `metrics.json`: one entry for each budget, vocabulary and seed.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import SPECIALS, BPETokenizer, CharTokenizer, Tokenizer
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import parameters, training_flops
from minidsk.train.pretrain import PretrainConfig, pretrain

WIDE = TinyWebConfig(numbers=(3,), high=99, target_high=99, ops="+-*/")
WINDOW = 192  # bytes of text in a row


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


def main() -> None:
    """Train every vocabulary at every budget with every seed; write metrics.json, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budgets", type=float, nargs="+", default=[3e10, 3e11, 3e12])
    parser.add_argument("--sizes", type=int, nargs="+", default=[266, 320, 512, 1024, 2048])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    reading = "\n".join(TinyWeb(WIDE, seed=1).pages(0, 3000))
    held_out = TinyWeb(WIDE, seed=9).pages(0, 500)
    tokenizers: dict[str, Tokenizer] = {"characters": CharTokenizer()}
    tokenizers |= {f"BPE {size}": BPETokenizer.train(reading, size, SPECIALS) for size in args.sizes}
    args.out.mkdir(parents=True, exist_ok=True)
    found = []
    for budget in args.budgets:
        batch = round(4 * math.sqrt(budget / 3e10)) or 1
        for name, tokenizer in tokenizers.items():
            config = config_for(tokenizer, args.width)
            density = len(reading.encode()) / len(tokenizer.encode(reading))
            length = round(WINDOW / density)
            steps = round(budget / (training_flops(config, length / 2) * batch * length))
            for seed in args.seeds:
                settings = PretrainConfig(
                    config, steps=steps, batch=batch, context=length, lr=args.lr, seed=seed, save_every=10**9
                )
                data = batches(tokenizer, seed, steps, batch, length)
                with tempfile.TemporaryDirectory() as folder:
                    model = pretrain(
                        settings, folder, tokenizer=tokenizer, data=data, device=args.device, progress=False
                    )
                bits = bits_per_byte(model, tokenizer, held_out)
                found.append(
                    {"budget": budget, "vocabulary": name, "ids": tokenizer.vocab_size, "seed": seed, "steps": steps,
                     "batch": batch, "bytes_per_token": round(density, 3), "parameters": parameters(config),
                     "bits_per_byte": round(bits, 4)}
                )  # fmt: skip
                temporary = args.out / "metrics.json.tmp"
                temporary.write_text(json.dumps(found, indent=1) + "\n")
                temporary.replace(args.out / "metrics.json")
            runs = [run["bits_per_byte"] for run in found[-len(args.seeds) :]]
            spread = statistics.stdev(runs) if len(runs) > 1 else math.nan
            print(f"{budget:.0e}  {name:11} {steps:6} steps  {statistics.fmean(runs):.3f} ± {spread:.3f}", flush=True)


if __name__ == "__main__":
    main()
