"""Rollouts: a group of completions for each problem, with their rewards; and which problems a step poses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from einops import rearrange, repeat
from torch import Tensor

from minidsk.rl.completions import Completions, joined
from minidsk.rl.config import RLConfig
from minidsk.rl.policy import Policy
from minidsk.rl.rewards import RewardFunction, score
from minidsk.tasks.base import Problem, Task


@dataclass
class Rollouts:
    """N = P * G completions, those of one problem side by side.

    rewards ``[P, G]``, the weighted sum; parts: each reward by itself ``[P, G]``; faults: why the reward of a
    completion could not be computed, by its number. Such a one has the mean reward of its group (0 where none has
    one): it then says nothing.
    """

    problems: list[Problem]
    completions: Completions
    rewards: Tensor
    parts: dict[str, Tensor]
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def posed(self) -> list[Problem]:
        """The problem of each of the N completions."""
        return [problem for problem in self.problems for _ in range(self.rewards.shape[1])]

    def groups(self, chosen: Tensor) -> Rollouts:
        """The completions of some of the problems: `chosen` ``[P']``, their numbers."""
        group = self.rewards.shape[1]
        rows = (rearrange(chosen, "p -> p 1") * group + torch.arange(group, device=chosen.device)).flatten()
        faults = {new: self.faults[old] for new, old in enumerate(rows.tolist()) if old in self.faults}
        problems = [self.problems[i] for i in chosen.tolist()]
        return Rollouts(problems, self.completions[rows], self.rewards[chosen],
                        {name: values[chosen] for name, values in self.parts.items()}, faults)  # fmt: skip


def join(parts: Sequence[Rollouts]) -> Rollouts:
    """Rollouts of the same group size, one after the other."""
    problems: list[Problem] = []
    faults: dict[int, str] = {}
    for part in parts:
        faults |= {len(problems) * part.rewards.shape[1] + i: reason for i, reason in part.faults.items()}
        problems += part.problems
    each = {name: torch.cat([part.parts[name] for part in parts]) for name in parts[0].parts}
    completions = joined([part.completions for part in parts])
    return Rollouts(problems, completions, torch.cat([part.rewards for part in parts]), each, faults)


def rollout(
    policy: Policy,
    problems: Sequence[Problem],
    group: int,
    max_new_tokens: int,
    weights: Mapping[str, float],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    reward: RewardFunction | None = None,
) -> Rollouts:
    """Sample `group` completions for each problem and reward them.

    `weights` names rewards of `rewards.REWARDS`, which are summed; where `reward` is given, it alone counts, and they
    are computed to be looked at. A verifier that fails ends nothing (see `rewards.score` and `Rollouts.faults`).
    """
    prompts = [problem.prompt for problem in problems]
    completions = policy.sample(prompts, group, max_new_tokens, temperature, generator)
    posed = [problem for problem in problems for _ in range(group)]
    scores = score(posed, completions.texts, weights, reward)
    device = completions.ids.device
    rewards = by_group(scores.total, group).to(device)
    parts = {name: by_group(values, group).to(device) for name, values in scores.parts.items()}
    return Rollouts(list(problems), completions, rewards, parts, scores.faults)


def by_group(values: Tensor, group: int) -> Tensor:
    """``[N]`` as ``[P, G]``, and where a value is NaN the mean of the others of its group, or 0 if there are none."""
    table = rearrange(values, "(p g) -> p g", g=group)
    mean = repeat(table.nanmean(1).nan_to_num(0.0), "p -> p g", g=group)
    return torch.where(table.isnan(), mean, table)


def with_signal(rewards: Tensor) -> Tensor:
    """Which groups of `rewards` ``[P, G]`` have completions to tell apart: bool ``[P]``."""
    return rewards.amax(1) > rewards.amin(1)


@dataclass(frozen=True)
class Drawn:
    """The rollouts of a step, and what they took: `tries` batches of prompts, `flops` operations."""

    rollouts: Rollouts
    tries: int
    flops: float


class Sampler:
    """Draws the rollouts of step after step from `policy` as it then is.

    With `config.resample`, so many more batches may be drawn to replace groups whose rewards are all the same (the
    dynamic sampling of DAPO, arXiv:2503.14476, section 3.2, with a bound). Where they do not suffice, groups without
    signal fill the rest. reward: counts instead of the rewards that `config` names.
    """

    def __init__(self, policy: Policy, task: Task, config: RLConfig, reward: RewardFunction | None = None) -> None:
        self.policy, self.task, self.config, self.reward = policy, task, config, reward

    def __call__(self, step: int) -> Drawn:
        """The rollouts of step number `step`; a run that was interrupted draws the same ones."""
        c = self.config
        generator = torch.Generator(self.policy.device).manual_seed(c.seed * 1_000_003 + step)
        kept: list[Rollouts] = []
        flops, full, tries = 0.0, 0, 0
        while full < c.prompts and tries <= c.resample:
            first = (step * (1 + c.resample) + tries) * c.prompts
            problems = [self.task[first + i] for i in range(c.prompts)]
            drawn = rollout(self.policy, problems, c.group, c.max_new_tokens, c.rewards, temperature=c.temperature,
                            generator=generator, reward=self.reward)  # fmt: skip
            tries, flops = tries + 1, flops + self.policy.flops(drawn.completions)
            if not c.resample:
                return Drawn(drawn, tries, flops)
            signal = with_signal(drawn.rewards)
            full += int(signal.sum())
            kept += [drawn.groups(signal.nonzero().squeeze(1))] if signal.any() else []
        if full < c.prompts:  # what the last batch has without signal fills up
            kept.append(drawn.groups((~signal).nonzero().squeeze(1)))
        first_ones = torch.arange(c.prompts, device=self.policy.device)
        return Drawn(join(kept).groups(first_ones), tries, flops)
