"""Optimizers and the learning-rate schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


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
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                direction = newton_schulz(p.grad.lerp(momentum, group["momentum"]))
                scale = 0.2 * max(p.shape[-2:]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"] * scale)


def make_optimizers(
    model: nn.Module, lr: float, weight_decay: float = 0.1, muon: bool = False, betas: tuple[float, float] = (0.9, 0.95)
) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or for all but the inner matrices when `muon`; vectors are not decayed."""
    matrices, tables, vectors = [], [], []
    for name, p in model.named_parameters():
        if p.ndim < 2:
            vectors.append(p)
        elif "embed_tokens" in name or "lm_head" in name:
            tables.append(p)
        else:
            matrices.append(p)
    fused = all(p.is_cuda for p in vectors + tables + matrices)
    decayed = tables if muon else tables + matrices
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=lr, betas=betas, fused=fused)]
    if muon:
        optimizers.append(Muon(matrices, lr=lr, weight_decay=weight_decay))
    return optimizers


def set_rate(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """Give every parameter group this learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
