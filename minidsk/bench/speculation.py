"""Guessing ahead with the model's own MTP module: what it saves, and how that changes with the batch."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minidsk.bench.contest import Contest
from minidsk.bench.plan import Plan
from minidsk.data.tokenizer import CharTokenizer
from minidsk.infer.generate import decode, left_padded
from minidsk.infer.recorder import Recorder
from minidsk.infer.speculative import speculate
from minidsk.model.transformer import MiniDeepSeek
from minidsk.presets import nano
from minidsk.rl.policy import MiniPolicy, load_policy
from minidsk.train.pretrain import pretrain

DEPTHS = 1, 2, 3
"""Guesses a pass: all of them for the first batch, the first one for those that follow."""


def speculation(plan: Plan, axes: tuple[str, ...], device: torch.device) -> Iterator[Contest]:
    """Greedy text with guesses beside the same text without, for each batch: half as many tokens as are sampled.

    The model is `plan.weights`, or one of the usual size that first learns from the tiny web for `plan.learnt` steps:
    with random weights it could not guess. Raises `ValueError` for weights without MTP modules.
    """
    if "batch" not in axes:
        return
    policy = load_policy(plan.weights, device) if plan.weights else MiniPolicy(_learnt(plan, device), CharTokenizer())
    if not policy.model.mtp:
        raise ValueError(f"weights: {plan.weights} has no MTP modules; give a model that has, or none")
    actor, task, new = policy.actor, nano().make_task("test"), max(plan.new // 2, 2)
    for batch in plan.guessing:
        ids, mask = left_padded([task[i].prompt for i in range(batch)], policy.tokenizer, device)
        texts = Texts(actor, ids, mask, new)
        depths = DEPTHS if batch == plan.guessing[0] else DEPTHS[:1]
        yield Contest(
            "speculation", "batch", batch, f"{batch} prompts, {new} new tokens, greedy", batch * new, texts.plain,
            {f"ours, depth {depth}": partial(texts.guessed, depth) for depth in depths},
            look=texts.look,
        )  # fmt: skip


def _learnt(plan: Plan, device: torch.device) -> MiniDeepSeek:
    """A model of the plan's size with one MTP module that has read some pages."""
    recipe, tokens = nano().pretrain, CharTokenizer().vocab_size
    model = plan.config.replace(num_nextn_predict_layers=1, vocab_size=max(plan.config.vocab_size, tokens))
    batch = 64 if device.type == "cuda" else recipe.batch
    settings = dataclasses.replace(recipe, model=model, steps=plan.learnt, batch=batch)
    with tempfile.TemporaryDirectory() as folder:
        return pretrain(settings, folder, device=str(device), progress=False).eval()


class Texts:
    """The same prompts continued greedily, without guesses and with; the last text of each is kept."""

    def __init__(self, actor: MiniDeepSeek, ids: Tensor, mask: Tensor, new: int) -> None:
        self.actor, self.ids, self.mask, self.new = actor, ids, mask, new
        self.recorder = Recorder()
        self.kept: dict[int, Any] = {}

    def plain(self) -> None:
        """One token a step."""
        self.kept[0] = decode(self.actor, self.ids, self.new, temperature=0.0, attention_mask=self.mask,
                              recorder=self.recorder)  # fmt: skip

    def guessed(self, depth: int) -> None:
        """With `depth` guesses a step."""
        self.kept[depth] = speculate(self.actor, self.ids, self.new, depth, temperature=0.0, attention_mask=self.mask,
                                     recorder=self.recorder)  # fmt: skip

    def look(self) -> dict[str, Any]:
        """For each depth: tokens a step, the share of guesses that were kept, and how many rows have the same text."""
        plain = self.kept.pop(0).ids
        found: dict[str, Any] = {}
        for depth, done in self.kept.items():
            # The first pass, the prompt's, checks no guess.
            steps, rows = int(done.passes.sum()) - len(plain), plain[:, : done.ids.shape[1]]
            found[str(depth)] = {
                "tokens_a_step": (int(done.mask.sum()) - len(plain)) / max(steps, 1),
                "accepted": int(done.kept.sum()) / max(int(done.drafted.sum()), 1),
                "same_rows": int((done.ids == rows).all(1).sum()), "rows": len(plain),
            }  # fmt: skip
        notes = [
            f"depth {depth}: {of['tokens_a_step']:.2f} tokens a step, {of['accepted']:.1%} of the guesses kept, "
            f"{of['same_rows']} of {of['rows']} texts the same" for depth, of in found.items()
        ]  # fmt: skip
        return {"depths": found, "notes": notes}
