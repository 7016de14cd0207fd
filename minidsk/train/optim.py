"""Optimizers and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minidsk.settings import limits, positive, require, within


@dataclass(frozen=True)
class OptimConfig:
    """How weights move: AdamW, or Muon for the inner matrices. Raises `ValueError` for a field that does not fit."""

    lr: float = 1e-3  # the learning rate at its peak
    warmup: int = 3  # steps over which the learning rate rises to its peak
    decay: float = 0.5  # share of all steps, the last ones, over which the learning rate falls to a tenth
    weight_decay: float = 0.0  # how strongly AdamW (or Muon) pulls matrices towards 0
    clip: float = 1.0  # the largest norm of a gradient; longer ones are shortened to it; inf: none is
    betas: tuple[float, float] = (0.9, 0.95)  # how much AdamW's two running means keep at each step
    muon: bool = False  # Muon for the inner matrices in the place of AdamW

    def __post_init__(self) -> None:
        positive(self, "lr")
        within(self, 0, math.inf, "warmup", "weight_decay")
        within(self, 0, 1, "decay")
        limits(self, "clip")
        require(self, "betas", all(0 <= beta < 1 for beta in self.betas), "two numbers of at least 0 and below 1")


def learning_rate(step: int, steps: int, peak: float, warmup: int, decay: float = 0.5, floor: float = 0.1) -> float:
    """Warm up, hold, decay: the rate of step `step` (from 0) of `steps`.

    It rises linearly over `warmup` steps to `peak`, holds, and falls linearly over the last `decay` (a share of all
    steps) to `floor` times the peak. DeepSeek-V3 (section 4.2) warms up, holds and decays too, by a cosine.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    falling = min((steps - step) / max(decay * steps, 1), 1.0)
    return peak * (floor + (1 - floor) * falling)


def newton_schulz(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Push the singular values of `matrix` ``[..., m, n]`` towards 1 and leave its singular vectors alone.

    The quintic iteration of Muon (Jordan, 2024), whose coefficients trade exactness for speed: singular values end
    between about 0.7 and 1.2. Computed in the dtype of `matrix`.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan, 2024), scaled to the size of AdamW's steps (Liu et al., arXiv:2502.16982).

    For matrices ``[m, n]`` and stacks of them ``[experts, m, n]``; embeddings, heads and vectors belong to AdamW.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.1
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every matrix by ``-lr * 0.2 sqrt(max(m, n)) * orthogonal(Nesterov momentum)``."""
        skipped = getattr(self, "found_inf", None)  # as torch's fused optimizers have it: nonzero, and nothing moves
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                before = (p.clone(), state["momentum"].clone()) if skipped is not None else ()
                momentum = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                direction = newton_schulz(p.grad.lerp(momentum, group["momentum"]))
                scale = 0.2 * max(p.shape[-2:]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"] * scale)
                for tensor, earlier in zip((p, momentum), before, strict=False):
                    tensor.copy_(torch.where(skipped > 0, earlier, tensor))  # type: ignore[operator, arg-type]


def make_optimizers(model: nn.Module, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or for all but the inner matrices with `muon`; vectors are not decayed."""
    matrices, tables, vectors = [], [], []
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if p.ndim < 2:
            vectors.append(p)
        elif "embed" in name or "lm_head" in name:
            tables.append(p)
        else:
            matrices.append(p)
    fused = all(p.is_cuda for p in vectors + tables + matrices)
    decayed = tables if config.muon else tables + matrices
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=fused)
    ]
    if config.muon:
        optimizers.append(Muon(matrices, lr=config.lr, weight_decay=config.weight_decay))
    return optimizers


class Optimizer:
    """The optimizers of one model, their schedule over `steps`, and the guard that they share.

    The gradient is clipped to `config.clip`, and nothing moves where it is not finite.
    """

    def __init__(self, model: nn.Module, config: OptimConfig, steps: int) -> None:
        self.model, self.config, self.steps = model, config, steps
        self.parts = make_optimizers(model, config)

    def schedule(self, step: int) -> float:
        """Give every parameter the rate of step `step`, from 0; the rate."""
        c = self.config
        return self.set_rate(learning_rate(step, self.steps, c.lr, c.warmup, c.decay))

    def set_rate(self, rate: float) -> float:
        """Give every parameter this rate; the rate."""
        for optimizer in self.parts:
            for group in optimizer.param_groups:
                group["lr"] = rate
        return rate

    def step(self) -> Tensor:
        """Move the weights by their gradients and forget these; the gradient's norm before clipping, a scalar."""
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        finite = norm.isfinite()
        if not norm.is_cuda:  # to ask a GPU is to wait for it; its optimizers are told instead
            if bool(finite):
                for optimizer in self.parts:
                    optimizer.step()
        else:
            for optimizer in self.parts:
                optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
                optimizer.step()
        self.zero_grad()
        return norm

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self.parts:
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on."""
        return {"parts": [optimizer.state_dict() for optimizer in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for optimizer, values in zip(self.parts, state["parts"], strict=True):
            optimizer.load_state_dict(values)
