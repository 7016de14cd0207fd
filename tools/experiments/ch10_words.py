"""Chapter 10: the policy gradient that learned tic-tac-toe, on two-digit answers of a language model.

    python tools/experiments/ch10_words.py --seeds 0 1 2 --out results/ch10_words

A MiniDeepSeek with random weights is shown two digits and writes two tokens; the score is 1 if they are the same digits
in the other order (or, for "addition", their sum), 0 otherwise, or half a point for each right digit; an offset may be
added. 80 of the 100 problems are learned from, 20 are held out. Writes metrics.json into the folder after each run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidsk.atomic import atomic
from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.selfplay import policy_gradient

TOKENIZER = CharTokenizer("0123456789>", specials=("<pad>", "<bos>", "<eos>", "<unk>"))
MODEL = ModelConfig(
    vocab_size=TOKENIZER.vocab_size, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, kv_lora_rank=16,
    qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=16, intermediate_size=64, n_routed_experts=0,
)  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One row of the table."""

    addition: bool = False
    digit_by_digit: bool = False
    baseline: bool = True
    entropy: float = 0.05
    lr: float = 5e-3
    steps: int = 300
    offset: float = 0.0


METHODS = {
    "the recipe": Method(),
    "no entropy bonus": Method(entropy=0.0),
    "no baseline": Method(baseline=False),
    "no baseline, scores 1 and 2": Method(baseline=False, offset=1.0),
    "scores 1 and 2": Method(offset=1.0),
    "half a point a digit": Method(digit_by_digit=True),
    "rate 0.1": Method(lr=0.1),
    "addition": Method(addition=True),
}


def problems(addition: bool) -> tuple[Tensor, Tensor]:
    """All 100 prompts and their answers, ids ``[100, 4]`` and ``[100, 2]``."""
    pairs = [(a, b) for a in range(10) for b in range(10)]
    prompts = torch.tensor([[TOKENIZER.bos_id, *TOKENIZER.encode(f"{a}{b}>")] for a, b in pairs])
    answers = torch.tensor([TOKENIZER.encode(f"{a + b:02d}" if addition else f"{b}{a}") for a, b in pairs])
    return prompts, answers


def one_run(method: Method, seed: int, batch: int, every: int) -> dict[str, Any]:
    """One model: its curve of [answers, sampled score, greedy on the 80, greedy on the 20], and the seconds."""
    generator = torch.Generator().manual_seed(seed)
    model = MiniDeepSeek(MODEL, generator).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=method.lr, betas=(0.9, 0.99))
    prompts, answers = problems(method.addition)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    learned, held_out = order[:80], order[80:]
    curve: list[list[float]] = []
    began = time.process_time()
    for step in range(method.steps):
        chosen = learned[torch.randint(80, (batch,), generator=generator)]
        ids = model.generate(prompts[chosen], 2, generator=generator)
        right = (ids[:, -2:] == answers[chosen]).double()
        score = method.offset + (right.mean(1) if method.digit_by_digit else right.prod(1))
        logp = model(ids[:, :-1]).logits[:, -2:].log_softmax(-1)
        entropy = -(logp.exp() * logp).sum(-1).mean()
        taken = logp.gather(-1, ids[:, -2:, None]).squeeze(-1)
        advantage = score - score.mean() if method.baseline else score
        loss = policy_gradient(taken, advantage[:, None]) - method.entropy * entropy
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % every == 0:
            exact = (model.generate(prompts, 2, temperature=0)[:, -2:] == answers).all(1).double()
            row = [score.mean().item() - method.offset, exact[learned].mean().item(), exact[held_out].mean().item()]
            curve.append([(step + 1) * batch, *(round(x, 4) for x in row)])
    return {"seed": seed, "config": dataclasses.asdict(method), "curve": curve, "batch": batch,
            "learned": curve[-1][2], "held_out": curve[-1][3],
            "seconds": round(time.process_time() - began, 2)}  # fmt: skip


def write(path: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="The policy gradient of a board game, on two-digit answers.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--every", type=int, default=20, help="steps between two evaluations")
    parser.add_argument("--only", nargs="*", help="some methods alone, by name")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which no run is begun")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    torch.set_num_threads(1)
    began = time.time()
    a.out.mkdir(parents=True, exist_ok=True)
    todo = [(name, seed) for name in METHODS for seed in a.seeds if not a.only or name in a.only]
    runs: list[dict[str, Any]] = []
    print(f"{'method':28} seed  learned  held out  seconds")
    for name, seed in todo:
        if time.time() - began > a.limit:
            break
        run = {"method": name, **one_run(METHODS[name], seed, a.batch, a.every)}
        runs.append(run)
        write(a.out / "metrics.json", {"runs": runs})
        print(f"{name:28} {seed:4} {run['learned']:8.0%} {run['held_out']:9.0%} {run['seconds']:8.1f}", flush=True)
    print(f"{len(runs)} runs, {len(todo) - len(runs)} left out for time, {time.time() - began:.0f} s in all")


if __name__ == "__main__":
    main()
