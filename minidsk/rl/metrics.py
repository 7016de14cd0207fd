"""What one looks at when learning from reward goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from minidsk.rl.language import mixed
from minidsk.rl.rollout import Rollouts, with_signal
from minidsk.tasks.base import Problem, thought_of


def distinct_attempts(problems: Sequence[Problem], texts: Sequence[str]) -> float:
    """The share of attempts in the thoughts that no earlier line of the same thought made; 1 where there are none."""
    made = distinct = 0
    for problem, text in zip(problems, texts, strict=True):
        attempts = problem.attempts(text)
        made, distinct = made + len(attempts), distinct + len(set(attempts))
    return distinct / made if made else 1.0


def distinct_replies(texts: Sequence[str], group: int) -> float:
    """The share of replies that no earlier one to the same problem equals; 1 / group where each group agrees."""
    groups = [texts[start : start + group] for start in range(0, len(texts), group)]
    return sum(len(set(some)) for some in groups) / len(texts)


def describe(rollouts: Rollouts) -> dict[str, float | str]:
    """The figures of one step's rollouts; lengths are in tokens.

    reward: the mean, and each part of it by name; length, and that of right and of wrong answers (0 where there are
    none; right: over half of the accuracy, or of the largest reward where accuracy is no part of it); cut_off: share
    that did not end; groups_with_signal: share of groups whose answers differ in reward; distinct_attempts;
    distinct_replies; commonest: share of the reply that was given most often, whatever the problem; well_formed and
    both_languages: shares of replies, and of thoughts with words of both; unjudged: share whose reward could not be
    computed, with one of the reasons under `fault`.
    """
    completions, rewards, texts = rollouts.completions, rollouts.rewards, rollouts.completions.texts
    lengths, judged = completions.lengths.float(), rollouts.parts.get("accuracy")
    correct = (rewards > 0.5 * rewards.max() if judged is None else judged > 0.5).flatten()
    found: dict[str, float | str] = {
        "reward": float(rewards.mean()),
        "well_formed": sum(p.well_formed(text) for p, text in zip(rollouts.posed, texts, strict=True)) / len(texts),
        **{name: float(values.mean()) for name, values in rollouts.parts.items()},
        "length": float(lengths.mean()),
        "length_right": float(lengths[correct].mean()) if correct.any() else 0.0,
        "length_wrong": float(lengths[~correct].mean()) if (~correct).any() else 0.0,
        "cut_off": float(1 - completions.ended.float().mean()),
        "groups_with_signal": float(with_signal(rewards).float().mean()),
        "distinct_attempts": distinct_attempts(rollouts.posed, texts),
        "distinct_replies": distinct_replies(texts, rewards.shape[1]),
        "commonest": Counter(texts).most_common(1)[0][1] / len(texts),
        "both_languages": sum(mixed(thought_of(text)) for text in texts) / len(texts),
        "unjudged": len(rollouts.faults) / len(completions),
    }
    if rollouts.faults:
        found["fault"] = next(iter(rollouts.faults.values()))
    return found
