"""What one looks at when learning from reward goes wrong."""

from __future__ import annotations

from torch import Tensor

from minidsk.data.tokenizer import Tokenizer
from minidsk.infer.evaluate import thought_of
from minidsk.rl.rollout import Rollouts


def with_signal(rewards: Tensor) -> Tensor:
    """Which groups of `rewards` ``[P, G]`` have answers to tell apart: bool ``[P]``."""
    return rewards.amax(1) > rewards.amin(1)


def distinct_attempts(texts: list[str]) -> float:
    """The share of lines in the thoughts that try what no earlier line of the same thought tried.

    An attempt is what stands before the line's "=". 1 where there are no lines.
    """
    lines = distinct = 0
    for text in texts:
        attempts = [line.partition("=")[0] for line in thought_of(text).splitlines()]
        lines, distinct = lines + len(attempts), distinct + len(set(attempts))
    return distinct / lines if lines else 1.0


def describe(sampled: Rollouts, tokenizer: Tokenizer) -> dict[str, float | str]:
    """The figures of one step's rollouts; lengths are in tokens.

    reward: the mean, and each part of it by name; length, and that of right and of wrong answers (0 where there are
    none; right: over half of the accuracy, or of the largest reward where accuracy is no part of it); cut_off: share
    that did not end; groups_with_signal: share of groups whose answers differ in reward; distinct_attempts;
    unjudged: share whose reward could not be computed, with one of the reasons under `fault`.
    """
    lengths, judged = sampled.lengths.float(), sampled.parts.get("accuracy")
    correct = (sampled.rewards > 0.5 * sampled.rewards.max() if judged is None else judged > 0.5).flatten()
    ended = (sampled.tokens == tokenizer.eos_id).any(1)
    found: dict[str, float | str] = {
        "reward": float(sampled.rewards.mean()),
        **{name: float(values.mean()) for name, values in sampled.parts.items()},
        "length": float(lengths.mean()),
        "length_right": float(lengths[correct].mean()) if correct.any() else 0.0,
        "length_wrong": float(lengths[~correct].mean()) if (~correct).any() else 0.0,
        "cut_off": float(1 - ended.float().mean()),
        "groups_with_signal": float(with_signal(sampled.rewards).float().mean()),
        "distinct_attempts": distinct_attempts(sampled.texts),
        "unjudged": len(sampled.faults) / len(sampled.texts),
    }
    if sampled.faults:
        found["fault"] = next(iter(sampled.faults.values()))
    return found
