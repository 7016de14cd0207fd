"""Chapters 07 and 08: pretraining with and without the kernels: tokens a second, peak memory, and the losses.

    python tools/experiments/ch08_training.py --out results/ch08_training [--limit 80]

The `small` preset's model and batches, by torch and with ``kernels="triton"`` (experts, RMSNorm, fused cross-entropy),
with and without torch.compile, and with a vocabulary of 16,384 beside that of characters. Writes `metrics.json`: for
each, seconds of a step (median), tokens a second, peak bytes, and the losses of the first steps. Without a GPU the
model is tiny, and kernels go through Triton's interpreter.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidsk.data.corpus import TinyWeb
from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.operations import Kernels
from minidsk.model.transformer import MiniDeepSeek
from minidsk.presets import PRESETS
from minidsk.train.device import compiled
from minidsk.train.optim import Optimizer
from minidsk.train.pretrain import PackedPages, PretrainConfig, train_step

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TINY = DEVICE.type == "cpu"
WARM_UP = 3


def settings(words: int, kernels: str, compile: bool) -> PretrainConfig:
    """The small preset, changed; on a CPU a model of one layer."""
    config = PRESETS["nano" if TINY else "small"]().pretrain
    model = config.model.replace(vocab_size=max(words, config.model.vocab_size))
    if TINY:
        model = model.replace(num_hidden_layers=2, hidden_size=32, num_nextn_predict_layers=1)
        config = dataclasses.replace(config, batch=2, context=16)
    return dataclasses.replace(config, model=model, kernels=kernels, compile=compile)


def train(config: PretrainConfig, batches: list[Tensor], steps: int) -> dict[str, Any]:
    """Some steps: how long they take, what they hold at most, and what they lose."""
    model = MiniDeepSeek(config.model, torch.Generator().manual_seed(0)).to(DEVICE)
    model.use(Kernels.all(config.kernels))
    trainee = compiled(model) if config.compile else model
    optimizer = Optimizer(model, config.optim, steps)
    times: list[float] = []
    losses: list[float] = []
    for step in range(WARM_UP + steps):
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
            if step == WARM_UP:
                torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        parts, _ = train_step(trainee, optimizer, batches[step % len(batches)], config)
        losses.append(float(parts["loss"]))  # waits for the GPU
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times[WARM_UP:])
    peak = torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else None
    return {"seconds": seconds, "tokens_s": config.batch * config.context / seconds, "peak_bytes": peak,
            "first_seconds": times[0], "losses": losses}  # fmt: skip


def main() -> None:
    """Train each way, print a table last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=80.0, help="seconds; a run that would start later is left out")
    parser.add_argument("--steps", type=int, default=2 if TINY else 12)
    arguments = parser.parse_args()
    start = time.perf_counter()
    config, tokenizer = settings(0, "torch", False), CharTokenizer()
    pages = PackedPages(TinyWeb(config.web, 0), tokenizer, config.batch, config.context)
    batches = [pages[i].to(DEVICE) for i in range(WARM_UP)]
    characters, many = tokenizer.vocab_size, 512 if TINY else 16384
    found: list[dict[str, Any]] = []
    for words, compile in ((characters, False), (many, False), *(() if TINY else ((characters, True),))):
        for kernels in ("torch", "triton"):
            if time.perf_counter() - start > arguments.limit:
                print("the time was up before", words, kernels, compile)
                continue
            entry = train(settings(words, kernels, compile), batches, arguments.steps)
            found.append({"words": words, "kernels": kernels, "compile": compile, **entry})
            if DEVICE.type == "cuda":
                torch.cuda.empty_cache()
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"
    record = {"device": device, "batch": config.batch, "context": config.context, "runs": found}
    (arguments.out / "metrics.json").write_text(json.dumps(record, indent=1) + "\n")
    for run in found:
        print(f"{run['words']:>6} words, {run['kernels']:6} {'compiled' if run['compile'] else 'eager':8} "
              f"{run['tokens_s']:12,.0f} tok/s, peak {(run['peak_bytes'] or 0) / 2**20:8.0f} MiB, "
              f"first step {run['first_seconds']:5.1f} s, last loss {run['losses'][-1]:.4f}")  # fmt: skip
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
