"""The loop of reinforcement learning: sample, reward, compare, take a step; watch what happens.

Methods differ in whom a completion is compared with: a `Baseline` makes advantages of rollouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from minidsk.rl.config import RLConfig
from minidsk.rl.grpo import group_advantages
from minidsk.rl.metrics import describe
from minidsk.rl.policy import Policy
from minidsk.rl.rewards import RewardFunction
from minidsk.rl.rollout import Rollouts, Sampler
from minidsk.rl.update import update
from minidsk.tasks.base import Task
from minidsk.train.checkpoint import Run
from minidsk.train.device import threads_for
from minidsk.train.graph import GraphedGradients
from minidsk.train.loop import Slices, fit, stopped
from minidsk.train.optim import Optimizer


class Baseline(Protocol):
    """Who a completion is compared with. `parts`: what a resumed run needs of it, by name."""

    parts: Mapping[str, Any]

    def __call__(self, rollouts: Rollouts, step: int) -> tuple[Tensor, dict[str, Any]]:
        """Advantages ``[N]``, or of each token ``[N, T]``, and figures to log, `flops` among them if it has any."""


class GroupBaseline:
    """GRPO's: the other completions of the same problem. scale: see `grpo.group_advantages`."""

    parts: Mapping[str, Any] = {}

    def __init__(self, scale: str = "group") -> None:
        self.scale = scale

    def __call__(self, rollouts: Rollouts, step: int) -> tuple[Tensor, dict[str, Any]]:
        """Advantages ``[N]``, and their deviation before scaling."""
        rewards = rollouts.rewards
        spread = float(group_advantages(rewards, "none").std())
        return group_advantages(rewards, self.scale).flatten(), {"advantage_std": spread}


def reinforce(
    policy: Policy,
    task: Task,
    config: RLConfig,
    run: Run,
    *,
    baseline: Baseline | None = None,
    reward: RewardFunction | None = None,
    reference: Policy | None = None,
    description: str = "rl",
    progress: bool = True,
) -> Policy:
    """Train `policy` in place on `task`, logging to `run` and going on where it stopped; by GRPO unless told else.

    `baseline`: makes the advantages, such as a `critic.CriticBaseline` for PPO. `reward` judges instead of the rewards
    that `config` names, which are then only logged. `reference`: what `kl` is measured against, penalised or not; with
    a `kl_coef`, `policy` as it is given if none is. Raises `RunError` where going on makes no sense.
    """
    if reference is None and config.kl_coef:
        reference = policy.copy()
    if baseline is None:
        if config.group < 2:
            raise ValueError(f"group: {config.group!r} does not fit; a group needs 2 answers or more to compare")
        baseline = GroupBaseline(config.scale)
    optimizer, slices = Optimizer(policy.model, config.optim, config.steps), Slices(config.rows)
    if config.kernels != "torch":
        policy.use(config.kernels)
    graphed = GraphedGradients(policy.model) if config.graph else None
    sampler = Sampler(policy, task, config, reward)

    def step(number: int) -> dict[str, Any]:
        rate = optimizer.schedule(number)
        drawn = sampler(number)
        rollouts = drawn.rollouts
        if 2 * len(rollouts.faults) >= len(rollouts.completions):
            count, reason = len(rollouts.faults), next(iter(rollouts.faults.values()))
            raise stopped(run, number + 1, f"{count} of {len(rollouts.completions)} answers could not be judged "
                                           f"({reason}); fix the reward and run again")  # fmt: skip
        advantages, figures = baseline(rollouts, number)
        stats: dict[str, Any] = {}
        for again in range(config.updates):
            before = {"logp_gap": stats["logp_gap"]} if again else {}  # later ones see what the first update moved
            stats = update(policy, optimizer, slices, rollouts, advantages, config, reference, graphed) | before
        learned = policy.flops(rollouts.completions, config.updates) - policy.flops(rollouts.completions)
        flops = drawn.flops + learned + figures.pop("flops", 0.0)
        seen = {"flops": flops, **describe(rollouts), "tries": drawn.tries}
        return {"lr": rate, "rows": slices.rows, **seen, **stats, **figures}

    def show(figures: Mapping[str, Any]) -> dict[str, str]:
        return {"reward": f"{figures['reward']:.2f}", "length": f"{figures['length']:.0f}",
                "gap": f"{figures['logp_gap']:.1g}"}  # fmt: skip

    with threads_for(policy.device, policy.width):
        fit(run, config.steps, step, {"model": policy.model, "optimizer": optimizer, **baseline.parts},
            save_every=config.save_every, description=description, progress=progress, show=show)  # fmt: skip
    run.finish(policy.save, flops=sum(line["flops"] for line in run.metrics()))
    return policy
