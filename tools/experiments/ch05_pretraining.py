"""Chapter 5: what a model learns from the harvest, from random pages of the crawl, and from a mix, at equal tokens.

    python tools/experiments/ch05_pretraining.py --workers 2 --out results/ch05_pretraining

A quarter of the crawl is held out. The loop mines the rest; each model reads as many tokens, in pieces drawn from its
own pages, with one vocabulary. Then each is judged on held-out pages, those of mathematics and the others apart.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ch05_mining import loop, part, seed_pages

from minidsk.data.crawl import default_crawl
from minidsk.data.extract import Document, documents
from minidsk.data.harvest import Harvest, crawl_of
from minidsk.data.mining import MiningConfig
from minidsk.data.packing import PackedPages
from minidsk.data.tokenizer import SPECIALS, BPETokenizer, Tokenizer
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import parameters
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import Record, arguments, sweep

ROWS, CONTEXT = 16, 96
EVALUATED = 120  # pieces of each kind


def held_out(document: Document) -> bool:
    """A quarter of the pages, by a hash of their address."""
    return hashlib.blake2b(f"held out {document.url}".encode()).digest()[0] < 64


def diets(found: list[Document], seed: int) -> dict[str, list[str]]:
    """The texts that each model reads. The seed of the loop is part of its harvest."""
    config = MiningConfig()
    everything = crawl_of(found, config.classifier)
    chosen = seed_pages(everything, seed)
    rest = np.setdiff1d(np.arange(len(found)), chosen)
    crawl = part(everything, rest)
    kept = loop(crawl, everything.bags.take(chosen), seed, config)[-1].kept
    harvest = [found[i].text for i in [*chosen, *rest[kept]]]
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed)).tolist()
    drawn = [found[i].text for i in order[: len(harvest)]]
    return {"harvest": harvest, "random pages": drawn, "half and half": harvest[::2] + drawn[::2]}


@torch.no_grad()
def bits_per_byte(model: MiniDeepSeek, tokenizer: Tokenizer, pieces: list[str]) -> float:
    """Loss on the pieces in bits per byte of text."""
    nats = 0.0
    for start in range(0, len(pieces), 20):
        rows = [torch.tensor([tokenizer.bos_id, *tokenizer.encode(piece)]) for piece in pieces[start : start + 20]]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_id)
        logits = model(ids[:, :-1]).logits.float()
        nats += F.cross_entropy(logits.mT, ids[:, 1:], ignore_index=tokenizer.pad_id, reduction="sum").item()
    return nats / math.log(2) / sum(len(piece.encode()) for piece in pieces)


def run(seed: int, found: list[Document], tokenizer: Tokenizer, a: argparse.Namespace) -> list[dict[str, Any]]:
    """Three models of one seed: equal weights at first, equal tokens, unequal pages."""
    torch.set_num_threads(1)
    left = [document for document in found if not held_out(document)]
    judged = {
        name: Harvest((d.text for d in found if held_out(d) and bool(d.mathematics) == kind), piece=300).pieces
        for name, kind in (("mathematics", True), ("other", False))
    }
    draw = torch.Generator().manual_seed(7)
    judged = {name: [pieces[i] for i in torch.randperm(len(pieces), generator=draw)[:EVALUATED].tolist()]
              for name, pieces in judged.items()}  # fmt: skip
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=a.width, num_hidden_layers=2, num_attention_heads=2,
        kv_lora_rank=32, qk_nope_head_dim=24, qk_rope_head_dim=8, intermediate_size=3 * a.width, n_routed_experts=0,
    )  # fmt: skip
    settings = PretrainConfig(config, steps=a.steps, batch=ROWS, context=CONTEXT, seed=seed,
                              optim=OptimConfig(lr=5e-3, warmup=20, weight_decay=0.1))  # fmt: skip
    rows = []
    for name, texts in diets(left, seed).items():
        corpus = Harvest(texts, piece=400)
        data = PackedPages(corpus, tokenizer, ROWS, CONTEXT)
        model = MiniDeepSeek(config, torch.Generator().manual_seed(seed))
        optimizer = Optimizer(model, settings.optim, a.steps)
        for step in range(a.steps):
            optimizer.schedule(step)
            train_step(model, optimizer, data[step], settings)
        scores = {f"bits_{kind}": round(bits_per_byte(model, tokenizer, pieces), 4) for kind, pieces in judged.items()}
        rows.append({"seed": seed, "diet": name, "pages": len(texts), "corpus": corpus.fingerprint,
                     "tokens": a.steps * ROWS * CONTEXT, "parameters": parameters(config), **scores})  # fmt: skip
    return rows


def main() -> None:
    """Train three models with every seed; write metrics.json."""
    parser = arguments(__doc__, "results/ch05_pretraining")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--width", type=int, default=96)
    a = parser.parse_args()
    found = list(documents(default_crawl()))
    reading = "\n".join(d.text[:1500] for d in found if not held_out(d))[:400_000]
    tokenizer = BPETokenizer.train(reading, 640, SPECIALS)
    names = ["harvest", "random pages", "half and half"]
    record = Record(a, lambda row: (row["seed"], names.index(row["diet"])))
    sweep([(run, seed, found, tokenizer, a) for seed in a.seeds], record.add, a)


if __name__ == "__main__":
    main()
