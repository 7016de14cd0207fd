"""The settings of learning from reward: the policy's, and those of a critic where there is one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from minidsk.rl.grpo import LOSS_TYPES, SCALES
from minidsk.rl.kl import ESTIMATORS
from minidsk.rl.rewards import REWARDS
from minidsk.settings import AT_ONCE, BACKENDS, LAST_SEED, limits, one_of, positive, require, sampling, within
from minidsk.train.optim import OptimConfig


@dataclass(frozen=True)
class RLConfig:
    """A step samples answers to problems, and updates the policy on their rewards.

    scale, loss_type, kl_estimator: see `grpo`; resample: see `rollout.Sampler`. Raises `ValueError` for a field that
    does not fit.
    """

    steps: int = 60  # batches of problems to learn from
    prompts: int = 16  # problems in a step
    group: int = 16  # answers to each problem
    max_new_tokens: int = 160  # the longest answer, in tokens; a longer one is cut off
    temperature: float = 1.0  # at which answers are sampled
    rewards: Mapping[str, float] = field(default_factory=lambda: {"accuracy": 1.0})  # weights by name, see REWARDS
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(decay=0.3, betas=(0.9, 0.99)))
    updates: int = 1  # updates of the policy on the answers of a step
    clip_low: float = 0.2  # how far below 1 the ratio of new to old probability counts; inf: without limit
    clip_high: float = 0.28  # how far above 1 the ratio of new to old probability counts; inf: without limit
    kl_coef: float = 0.0  # price of a nat away from the policy at the start
    rows: int = 256  # answers computed at a time; fewer take less memory
    kernels: str = "torch"  # who computes experts and norms of an update: torch, or triton for minidsk.kernels
    graph: bool = False  # on a GPU, replay the gradients of an update from CUDA graphs
    scale: str = "group"  # what an advantage is divided by: the deviation of its group, of the batch, or none
    loss_type: str = "dapo"  # what is clipped and averaged: grpo, bnpo, dr_grpo, dapo, gspo or cispo, see grpo
    kl_estimator: str = "k3"  # how the distance from the start is estimated: k1, k2 or k3
    resample: int = 0  # how many more batches of problems a step may draw to replace groups without signal
    save_every: int = 10  # steps between states from which an interrupted run goes on
    seed: int = 0  # of the problems and of the sampling

    def __post_init__(self) -> None:
        positive(self, "steps", "updates", "rows", "save_every")
        within(self, 1, AT_ONCE, "prompts", "group", "max_new_tokens")
        require(self, "prompts", self.prompts * self.group <= AT_ONCE, f"at most {AT_ONCE:,} answers in a step")
        within(self, 0, math.inf, "kl_coef", "resample")
        within(self, 0, LAST_SEED, "seed")
        limits(self, "clip_low", "clip_high", zero=True)
        sampling(self, "temperature")
        one_of(self, "kernels", BACKENDS)
        one_of(self, "scale", SCALES)
        one_of(self, "loss_type", LOSS_TYPES)
        one_of(self, "kl_estimator", ESTIMATORS)
        for name, weight in self.rewards.items():
            if name not in REWARDS:
                raise ValueError(f"rewards: {name!r} is not known; give some of {', '.join(REWARDS)}")
            require(self, "rewards", abs(weight) < 1e38, "weights below 1e38 by name")


@dataclass(frozen=True)
class CriticConfig:
    """PPO's critic: what it makes of rewards, and how it learns. Raises `ValueError` for a field that does not fit.

    kl_coef prices the reward of each token (see `ppo.token_rewards`).
    """

    optim: OptimConfig = field(default_factory=lambda: OptimConfig(decay=0.3, betas=(0.9, 0.99)))  # its own
    gamma: float = 1.0  # what a reward is worth a token earlier
    lam: float = 0.95  # lambda of the advantages: 0 trusts the critic alone, 1 the rewards alone
    whiten: bool = True  # bring advantages to mean 0 and deviation 1
    kl_coef: float = 0.0  # price of a nat away from the policy at the start
    updates: int = 4  # updates of the critic on the answers of a step
    alone: int = 2  # first steps, in which the critic learns alone
    value_clip: float = 0.2  # how far a value may move from the one before the step; inf: without limit

    def __post_init__(self) -> None:
        positive(self, "updates")
        within(self, 0, math.inf, "kl_coef", "alone")
        within(self, 0, 1, "gamma", "lam")
        limits(self, "value_clip")
