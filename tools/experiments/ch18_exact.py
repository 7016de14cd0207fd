"""Is greedy text with guesses the same text? 10,000 prompts, continued without guesses and with one to three a pass.

    python tools/record.py ch18_exact -- .venv/bin/python tools/experiments/ch18_exact.py

The model is of the nano size with one MTP module and first reads the tiny web, because with random weights it would
hardly guess anything right. In float32 a pass over several tokens rounds its sums in another order than one over a
single token, and where two tokens are almost equally likely this can decide between them. So texts that differ are
written again in float64.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidsk.atomic import atomic
from minidsk.data.tokenizer import CharTokenizer
from minidsk.infer.generate import decode, left_padded
from minidsk.infer.speculative import speculate
from minidsk.model.transformer import MiniDeepSeek
from minidsk.presets import nano
from minidsk.train.pretrain import pretrain

DEPTHS = 1, 2, 3


def learnt(steps: int, seed: int, device: str) -> MiniDeepSeek:
    """A model with one MTP module that has read some pages."""
    recipe = nano().pretrain
    model = recipe.model.replace(num_nextn_predict_layers=1)
    settings = dataclasses.replace(recipe, model=model, steps=steps, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        return pretrain(settings, folder, device=device, progress=False).eval()


def texts(model: MiniDeepSeek, ids: Tensor, mask: Tensor, new: int) -> tuple[Tensor, dict[int, Any]]:
    """The continuations without guesses ``[batch, time]``, and what `speculate` returns for each depth."""
    plain = decode(model, ids, new, temperature=0.0, attention_mask=mask).ids
    return plain, {k: speculate(model, ids, new, k, temperature=0.0, attention_mask=mask) for k in DEPTHS}


def same(plain: Tensor, guessed: Tensor) -> Tensor:
    """For each row, whether the texts are equal, bool ``[batch]``."""
    return (plain[:, : guessed.shape[1]] == guessed).all(1)


def compare(model: MiniDeepSeek, prompts: Sequence[str], new: int, batch: int, device: str) -> dict[str, Any]:
    """How many texts are the same, in float32 and, where not, in float64; and tokens a pass, by depth."""
    wide, tokenizer = copy.deepcopy(model).double(), CharTokenizer()
    found = {k: {"same": 0, "same_in_float64": 0, "passes": 0, "tokens": 0} for k in DEPTHS}
    for start in range(0, len(prompts), batch):
        ids, mask = left_padded(list(prompts[start : start + batch]), tokenizer, torch.device(device))
        plain, guessed = texts(model, ids, mask, new)
        for k, done in guessed.items():
            equal = same(plain, done.ids)
            found[k]["same"] += int(equal.sum())
            found[k]["passes"] += int(done.passes.sum()) - len(plain)  # the prompt's checks no guess
            found[k]["tokens"] += int(done.mask.sum()) - len(plain)
            if not equal.all():
                again, once_more = texts(wide, ids[~equal], mask[~equal], new)
                found[k]["same_in_float64"] += int(same(again, once_more[k].ids).sum())
    return {str(k): {**counts, "tokens_a_pass": round(counts["tokens"] / max(counts["passes"], 1), 3)}
            for k, counts in found.items()}  # fmt: skip


def main(asked: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--new", type=int, default=48, help="tokens of each text")
    parser.add_argument("--steps", type=int, default=600, help="of pretraining")
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("MINIDSK_RESULT", "results/ch18_exact")))
    a = parser.parse_args(asked)
    torch.set_num_threads(1)
    task = nano().make_task("train")
    prompts = [task[i].prompt for i in range(a.prompts)]
    rows = compare(learnt(a.steps, a.seed, a.device), prompts, a.new, a.batch, a.device)
    for depth, row in rows.items():
        print(f"depth {depth}: {row['same']:,} of {a.prompts:,} texts the same, {row['same_in_float64']} of the others "
              f"in float64; {row['tokens_a_pass']:.2f} tokens a pass")  # fmt: skip
    a.out.mkdir(parents=True, exist_ok=True)
    found = {"prompts": a.prompts, "new": a.new, "seed": a.seed, "depths": rows}
    with atomic(a.out / "metrics.json") as path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
