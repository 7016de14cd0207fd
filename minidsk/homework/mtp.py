"""Exercises of the chapter on predicting several tokens (DeepSeek-V3, section 2.2)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake

IGNORE = -100


def loss(logits: list[Tensor], targets: Tensor, weight: float) -> Tensor:
    """The loss of all MTP heads (DeepSeek-V3, eq. 24 and 25).

    targets [B, T], integer: at position i the main model's target, token i + 1. logits[k - 1] [B, T - k, V] is the head
    of depth k: at position i it predicts the main model's target of position i + k. A depth's loss is the sum of its
    cross-entropies (nats), divided by the number of the main model's targets, B * T, which is the same for every depth.
    Returns a scalar: `weight` times the mean of the depths' losses.
    """
    return _loss(logits, targets, weight)


def _loss(logits: list[Tensor], targets: Tensor, weight: float, *, near: int = 0, own: bool = False,
          mean: bool = True) -> Tensor:  # fmt: skip
    losses = []
    for depth, of_depth in enumerate(logits, 1):
        target = targets[:, depth - near : targets.shape[1] - near]
        nats = F.cross_entropy(of_depth.double().flatten(0, 1), target.flatten(), reduction="sum")
        losses.append(nats / (target.numel() if own else targets.numel()))
    return weight * torch.stack(losses).sum() / (len(logits) if mean else 1)


def targets(ids: Tensor, depth: int) -> Tensor:
    """What the head of depth `depth` should predict at each of its positions.

    ids [B, T], integer. Returns [B, T - depth], integer: at position i the token at i + 1 + depth, and -100 (the value
    that cross-entropy ignores) where the text ends before it. Depth 0 is the main model.
    """
    end = torch.full((len(ids), 1), IGNORE, dtype=ids.dtype)
    return torch.cat([ids[:, depth + 1 :], end], 1)


def accept_length(draft: list[int], target: list[int]) -> int:
    """How many tokens one step of greedy speculative decoding yields.

    draft: K guessed tokens. target: K + 1 tokens, the main model's own choice after each prefix of the draft (target[0]
    before any guess). The guesses count up to the first that differs from the main model's choice, and the main model's
    choice at that place is added (after K right guesses: target[K]). At least 1, at most K + 1.
    """
    kept = 0
    while kept < len(draft) and draft[kept] == target[kept]:
        kept += 1
    return kept + 1


def _losses() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(7)

    def case(depths: int, batch: int, time: int, vocab: int, weight: float) -> tuple[Any, ...]:
        logits = [torch.randn(batch, time - k, vocab, generator=g) for k in range(1, depths + 1)]
        return logits, torch.randint(vocab, (batch, time), generator=g), weight

    return [
        ("one depth", case(1, 2, 6, 5, 0.3)),
        ("two depths", case(2, 2, 6, 5, 0.3)),
        ("three depths, one text", case(3, 1, 8, 4, 0.1)),
    ]


def _texts() -> list[tuple[str, tuple[Any, ...]]]:
    ids = torch.tensor([[10, 11, 12, 13, 14], [20, 21, 22, 23, 24]])
    return [
        ("depth 1", (ids, 1)),
        ("depth 2", (ids, 2)),
        ("depth 0", (ids, 0)),
        ("only just long enough", (ids[:, :3], 2)),
    ]


def _drafts() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("one guess, right", ([5], [5, 6])),
        ("one guess, wrong", ([4], [5, 6])),
        ("right, wrong, right", ([5, 9, 7], [5, 6, 7, 8])),
        ("three right", ([5, 6, 7], [5, 6, 7, 8])),
        ("a guess that is right one place later", ([6, 7], [5, 6, 7])),
        ("no guess", ([], [5])),
    ]


def _rolled(ids: Tensor, depth: int) -> Tensor:
    return ids.roll(-depth - 1, 1)[:, : ids.shape[1] - depth]


EXERCISES = (
    Exercise(
        "mtp.loss",
        loss,
        _losses,
        (
            Mistake("each depth divided by its own targets", "Equation 24 divides every depth by the same number.",
                    lambda *a: _loss(*a, own=True)),
            Mistake("targets one place too near", "At depth 1 the head skips one token: which does it predict?",
                    lambda *a: _loss(*a, near=1)),
            Mistake("depths summed, not averaged", "What happens to the loss when D doubles?",
                    lambda *a: _loss(*a, mean=False)),
            Mistake("the weight left out", "Try weight = 0.", lambda logits, targets, w: _loss(logits, targets, 1.0)),
        ),
        "Take one text of four targets and depth 1: which of them does the head answer for?",
    ),
    Exercise(
        "mtp.targets",
        targets,
        _texts,
        (
            Mistake("the next token again", "The main model predicts i + 1 already.",
                    lambda ids, d: targets(ids, d - 1)[:, : ids.shape[1] - d] if d else targets(ids, 0)),
            Mistake("the text wrapped around", "Which token comes after the last one?", _rolled),
            Mistake("token 0 where the text ends", "Is 0 ignored by cross-entropy?",
                    lambda ids, d: targets(ids, d).clamp(min=0)),
        ),
        "Write the ids in a row, and under each what depth 1 should say there.",
    ),
    Exercise(
        "mtp.accept_length",
        accept_length,
        _drafts,
        (
            Mistake("right guesses counted after a wrong one", "Which text does a guess after a wrong one continue?",
                    lambda d, t: sum(a == b for a, b in zip(d, t, strict=False)) + 1),
            Mistake("the main model's own token left out", "Checking a wrong guess still yields one right token.",
                    lambda d, t: accept_length(d, t) - 1),
            Mistake("compared one place too late", "target[0] was chosen before any guess.",
                    lambda d, t: accept_length(d, t[1:])),
        ),
        "Walk along both lists until they part.",
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
