"""The settings of learning from reward: the policy's, and those of a critic where there is one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from minidsk.rl.grpo import LOSS_TYPES, SCALES
from minidsk.rl.kl import ESTIMATORS
from minidsk.train.optim import OptimConfig


@dataclass(frozen=True)
class RLConfig:
    """A step samples `group` answers to each of `prompts` problems and updates the policy `updates` times.

    rewards: weights by name (see `rewards.REWARDS`). clip_low, clip_high: how far a ratio may go below and above 1
    (infinity: any). kl_coef: price of a nat away from the reference. rows: answers computed at a time. scale,
    loss_type, kl_estimator: see `grpo`. resample: how many more batches of prompts a step may draw to replace groups
    without signal (see `rollout.Sampler`).
    """

    steps: int = 60
    prompts: int = 16
    group: int = 16
    max_new_tokens: int = 160
    temperature: float = 1.0
    rewards: Mapping[str, float] = field(default_factory=lambda: {"accuracy": 1.0})
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(decay=0.3, betas=(0.9, 0.99)))
    updates: int = 1
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_coef: float = 0.0
    rows: int = 256
    scale: str = "group"
    loss_type: str = "dapo"
    kl_estimator: str = "k3"
    resample: int = 0
    save_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "group", "max_new_tokens", "updates", "rows", "save_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be positive")
        for name in ("temperature", "clip_low", "clip_high", "kl_coef", "resample"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be 0 or more")
        for name, known in (("scale", SCALES), ("loss_type", LOSS_TYPES), ("kl_estimator", ESTIMATORS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not known; give {', '.join(known)}")


@dataclass(frozen=True)
class CriticConfig:
    """What PPO's critic is and does. gamma, lam: of `ppo.gae`; whiten: whether advantages get mean 0 and deviation 1.

    kl_coef prices the reward of each token (see `ppo.token_rewards`). The critic learns by its own `optim`, in
    `updates` a step, is clipped to value_clip around its earlier values, and for the first `alone` steps learns alone.
    """

    optim: OptimConfig = field(default_factory=lambda: OptimConfig(decay=0.3, betas=(0.9, 0.99)))
    gamma: float = 1.0
    lam: float = 0.95
    whiten: bool = True
    kl_coef: float = 0.0
    updates: int = 4
    alone: int = 2
    value_clip: float = 0.2

    def __post_init__(self) -> None:
        for name in ("updates", "value_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be positive")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be from 0 to 1")
        for name in ("kl_coef", "alone"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be 0 or more")
