"""Chapter 18: a sampler that computes a little differently from the trainer, and what that does to learning.

    python tools/record.py ch18_rounded --seeds 0 1 2 -- python tools/experiments/ch18_rounded.py --seeds 0 1 2

Every run rewards the same checkpoint with the same problems. The sampler's weights are rounded to `bits` binary digits
after the first: 7 are bf16's, 3 are those of eight-bit floats (e4m3), fewer are for seeing where learning breaks. The
trainer's stay as they are. Its loss needs the probability with which a token was drawn: the sampler's own, which lets
the ratio correct the difference and the clip bound it, or the trainer's, which lets nobody see it.

Expected, before any run: 7 and 3 bits change nothing that three seeds can tell. With powers of two (0 bits) the trainer
still learns where the ratio corrects, and learns less where it does not; with 1 bit the two differ a little. Seen: 3
bits cost points, and with 1 bit the corrected runs broke down sooner. So runs were added, for which nothing was
expected: the same ratio without its clip, and capped at 2 with no token left out (truncated importance sampling).

Writes metrics.json after every run, and asked for again does what is missing. No run is begun after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

from minidsk import load_policy
from minidsk.infer.evaluate import evaluate
from minidsk.model.transformer import MiniDeepSeek
from minidsk.presets import nano
from minidsk.rl.completions import Completions
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import MiniPolicy
from minidsk.train.checkpoint import Run

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import arguments, compare

FULL = 23  # binary digits after the first of a float32
CAPPED = {"loss_type": "cispo", "clip_low": math.inf, "clip_high": 1.0}  # a weight of at most 2, and no token left out
FREE = {"clip_low": math.inf, "clip_high": math.inf}
VARIANTS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "23 bits": (FULL, "sampler", {}),
    "7 bits": (7, "sampler", {}),
    "3 bits": (3, "sampler", {}),
    "3 bits, the trainer's": (3, "trainer", {}),
    "3 bits, capped": (3, "sampler", CAPPED),
    "1 bit": (1, "sampler", {}),
    "1 bit, the trainer's": (1, "trainer", {}),
    "1 bit, capped": (1, "sampler", CAPPED),
    "1 bit, no clip": (1, "sampler", FREE),
    "0 bits": (0, "sampler", {}),  # powers of two
    "0 bits, the trainer's": (0, "trainer", {}),
}
CURVES = ("reward", "length", "entropy", "ratio", "clipped_low", "clipped_high", "logp_gap", "grad_norm")
OF_A_RUN = ("base", "steps", "problems", "tokens")  # settings that all runs share


def rounded(x: Tensor, bits: int) -> Tensor:
    """`x` to `bits` binary digits after the first, the nearest; exponents without limit."""
    mantissa, exponent = torch.frexp(x)  # of which the mantissa is in [0.5, 1)
    return torch.ldexp((mantissa * 2 ** (bits + 1)).round() / 2 ** (bits + 1), exponent)


class Rounded(MiniPolicy):
    """A policy whose sampler has rounded weights. gaps: per step, the mean difference of log-probabilities in nats."""

    def __init__(self, policy: MiniPolicy, bits: int, whose: str) -> None:
        super().__init__(policy.model, policy.tokenizer, None)
        self.bits, self.whose, self.gaps = bits, whose, list[float]()
        self._rounded = copy.deepcopy(policy.model)

    @property
    def actor(self) -> MiniDeepSeek:
        """What samples, with the weights of now, rounded; only the matrices are, as samplers in few bits do it."""
        if self.bits == FULL:
            return self.model
        with torch.no_grad():
            for here, there in zip(self._rounded.parameters(), self.model.parameters(), strict=True):
                here.copy_(rounded(there, self.bits) if there.ndim > 1 else there)
            for mine, its in zip(self._rounded.buffers(), self.model.buffers(), strict=True):
                mine.copy_(its)
        return self._rounded

    def sample(self, *args: Any, **options: Any) -> Completions:
        """As `MiniPolicy.sample`; its `logp` are those of `whose`."""
        drawn = super().sample(*args, **options)
        with torch.no_grad():
            logp = self.logprobs(drawn)
        self.gaps.append(float((logp - drawn.logp).abs()[drawn.mask].mean()))
        return dataclasses.replace(drawn, logp=logp) if self.whose == "trainer" else drawn


def train(name: str, seed: int, a: argparse.Namespace) -> dict[str, Any]:
    """One run: its curves, and how well the trainer's weights and the sampler's answer at the end."""
    recipe, (bits, whose, changes) = nano().seeded(seed), VARIANTS[name]
    policy = Rounded(load_policy(a.base, torch.device("cpu")), bits, whose)  # type: ignore[arg-type]
    config = dataclasses.replace(recipe.zero, steps=a.steps, max_new_tokens=a.tokens, save_every=10**6, **changes)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, "grpo", config)
        reinforce(policy, recipe.make_task("train"), config, run, progress=False)
        lines, seconds = run.metrics(), run.seconds
    task, gaps = recipe.make_task("test"), list(policy.gaps)
    full = evaluate(MiniPolicy(policy.model, policy.tokenizer, None), task, a.problems, a.tokens)
    few = evaluate(MiniPolicy(policy.actor, policy.tokenizer, None), task, a.problems, a.tokens)
    curves = {key: [round(float(line.get(key, 0.0)), 4) for line in lines] for key in CURVES}
    return {
        "variant": name, "bits": bits, "whose": whose, "seed": seed, "accuracy": round(full.accuracy, 4),
        "sampler_accuracy": round(few.accuracy, 4), "thought": round(full.thought, 1),
        "gap": round(mean(gaps), 5), "seconds": round(seconds, 1),
        "curves": {**curves, "gap": [round(gap, 5) for gap in gaps]},
    }  # fmt: skip


def summary(runs: list[dict[str, Any]]) -> str:
    """One line a variant: means over seeds, and the standard deviation of the accuracy."""
    lines = [f"{'variant':24s} seeds  right (sd)      sampler right  mean gap  largest  ratio, last 5 steps"]
    for name in VARIANTS:
        rows = [run for run in runs if run["variant"] == name]
        if rows:
            spread = stdev(run["accuracy"] for run in rows) if len(rows) > 1 else 0.0
            right, few, gap = (mean(run[key] for run in rows) for key in ("accuracy", "sampler_accuracy", "gap"))
            largest = max(max(run["curves"]["logp_gap"]) for run in rows)
            ratio = mean(mean(run["curves"]["ratio"][-5:]) for run in rows)
            lines.append(f"{name:24s} {len(rows):5d}  {right:.3f} ({spread:.3f})  {few:13.3f}  {gap:8.4f}  "
                         f"{largest:7.2f}  {ratio:.3f}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch18_rounded", device="cpu", workers=2)
    parser.add_argument("--base", default="nano-base", help="the checkpoint that all start from, by name or folder")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--problems", type=int, default=512, help="held-out problems that each run is tested on")
    compare(parser.parse_args(), list(VARIANTS), train, summary, OF_A_RUN)


if __name__ == "__main__":
    main()
