"""The settings of learning from reward: what GRPO and PPO have in common, and what each has of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from minidsk.rl.grpo import LOSS_TYPES, SCALES
from minidsk.rl.kl import ESTIMATORS


@dataclass(frozen=True)
class PolicyConfig:
    """A step samples `group` answers to each of `prompts` problems and updates the policy `updates` times.

    rewards: weights by name (see `rewards.REWARDS`). lr rises over `warmup` steps and falls over the last `decay` of
    them; clip: largest norm of a gradient; clip_low, clip_high: how far a ratio may go below and above 1 (infinity:
    any); kl_coef: price of a nat away from the reference; rows: answers computed at a time.
    """

    steps: int = 60
    prompts: int = 16
    group: int = 16
    max_new_tokens: int = 160
    temperature: float = 1.0
    rewards: Mapping[str, float] = field(default_factory=lambda: {"accuracy": 1.0})
    lr: float = 1e-3
    warmup: int = 3
    decay: float = 0.3
    weight_decay: float = 0.0
    clip: float = 1.0
    updates: int = 1
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_coef: float = 0.0
    rows: int = 256
    save_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "group", "max_new_tokens", "lr", "updates", "rows", "save_every", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be positive")
        for name in ("temperature", "clip_low", "clip_high", "kl_coef"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be 0 or more")

    def _one_of(self, name: str, known: tuple[str, ...]) -> None:
        if getattr(self, name) not in known:
            raise ValueError(f"{name}: {getattr(self, name)!r} is not known; give {', '.join(known)}")


@dataclass(frozen=True)
class RLConfig(PolicyConfig):
    """One run of GRPO. scale, loss_type, kl_estimator: see `grpo`.

    resample: how many more batches of prompts a step may draw to replace groups without signal (see `sampler`).
    """

    scale: str = "group"
    loss_type: str = "dapo"
    kl_estimator: str = "k3"
    resample: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group < 2:
            raise ValueError(f"group: {self.group!r} does not fit; a group needs 2 answers or more to compare")
        if self.resample < 0:
            raise ValueError(f"resample: {self.resample!r} does not fit; it must be 0 or more")
        self._one_of("scale", SCALES)
        self._one_of("loss_type", LOSS_TYPES)
        self._one_of("kl_estimator", ESTIMATORS)


@dataclass(frozen=True)
class PPOConfig(PolicyConfig):
    """One run of PPO with a critic. gamma, lam: of `ppo.gae`; whiten: whether advantages get mean 0 and deviation 1.

    kl_coef prices the reward of each token (see `ppo.token_rewards`). The critic has its own critic_lr and
    critic_updates a step, is clipped to value_clip around its earlier values, and for the first critic_warmup steps
    learns alone.
    """

    prompts: int = 256
    group: int = 1
    clip_high: float = 0.2
    gamma: float = 1.0
    lam: float = 0.95
    whiten: bool = True
    critic_lr: float = 1e-3
    critic_updates: int = 4
    critic_warmup: int = 2
    value_clip: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("critic_lr", "critic_updates", "value_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be positive")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be from 0 to 1")
        if self.critic_warmup < 0:
            raise ValueError(f"critic_warmup: {self.critic_warmup!r} does not fit; it must be 0 or more")
