"""Who computes what: each operation of the model by torch, or by the kernels of `minidsk.kernels`. One table.

The choice belongs to a run, not to an architecture: `MiniDeepSeek.use` sets it for all layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import has_torch_function

from minidsk.kernels import dispatch
from minidsk.model.rope import rotate
from minidsk.precision import at_least_float32
from minidsk.settings import BACKENDS

MANY_ROWS = 2048  # from here on products take longer than starting them
FEW_TOKENS = 8  # of a text at a time: a step of decoding, or one that checks guesses


@dataclass(frozen=True)
class Kernels:
    """The backend of each operation, "torch" or "triton"; the numbers are the same up to rounding.

    experts: a layer's routed experts. norm: RMSNorm. rotation: RoPE. loss: the head and
    its cross-entropy in one, so that no logits are held. step: what decoding does for a few tokens of each row, from
    their embeddings to the choice among experts and their gates, and the draw of a token or the check of guesses.
    """

    experts: str = "torch"
    norm: str = "torch"
    rotation: str = "torch"
    loss: str = "torch"
    step: str = "torch"

    def __post_init__(self) -> None:
        for name, backend in vars(self).items():
            if backend not in BACKENDS:
                raise ValueError(f"{name}: {backend!r} does not fit; it must be {' or '.join(map(repr, BACKENDS))}")

    @classmethod
    def all(cls, backend: str) -> Kernels:
        """The same backend for every operation."""
        return cls(*[backend] * len(fields(cls)))

    def operation(self, name: str) -> Callable[..., Any]:
        """The function that computes the operation called `name`."""
        return TABLE[name][getattr(self, name)]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last dimension; cast down before the weight, as DeepSeek does."""
    wide = at_least_float32(x)
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def routed_experts(x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
    """``sum_k weights[k] down(silu(gate(x)) * up(x))`` over each token's K experts.

    `x` ``[N, H]``, `gate_up` ``[E, 2 I, H]`` with the gate's rows first, `down` ``[E, H, I]``, `weights` and `indices`
    ``[N, K]``; returns ``[N, H]``.
    """
    if suits_every_expert(x, len(gate_up), indices.shape[1]):
        return every_expert(x, gate_up, down, weights, indices)
    x, gate_up, down = _autocast(x, gate_up, down)
    plan = dispatch.sort_by_expert(indices, len(gate_up))
    (inner,) = _autocast(dispatch.gated(dispatch.grouped_matmul(dispatch.gather(x, plan), gate_up, plan.ends)))
    y = dispatch.grouped_matmul(inner, down, plan.ends)
    return dispatch.combine(y, weights, plan)


def suits_every_expert(x: Tensor, experts: int, k: int) -> bool:
    """Whether a GPU had better send the rows `x` ``[N, H]`` through every expert than sort them, without gradients.

    Multiplying by all matrices at once costs ``E / k`` times the work and starts a third of the kernels, and of few
    rows starting kernels takes the time. So does a CPU in inference mode, since a trace (see `minidsk.kernels.trace`)
    has the same operations whatever was chosen; not where somebody listens, as `minidsk.model.exact` does.
    """
    if torch.is_grad_enabled() or len(x) > MANY_ROWS or experts > 4 * k:
        return False
    return x.is_cuda or (torch.is_inference_mode_enabled() and not has_torch_function((x,)))


def every_expert(x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
    """The same sum as `routed_experts` by two large products, with weight 0 where an expert was not chosen."""
    of_all = weights.new_zeros(x.shape[0], len(gate_up)).scatter(1, indices, weights).to(x.dtype)
    return weighted_experts(x, gate_up.flatten(0, 1), down.transpose(0, 1).flatten(1), of_all, dispatch.gate_all)


def weighted_experts(
    x: Tensor, gate_up: Tensor, down: Tensor, of_all: Tensor, gate: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The same from a weight for every expert, `of_all` ``[N, E]``; `gate` as `dispatch.gate_all`. `gate_up`
    ``[E 2 I, H]`` and `down` ``[H, E I]`` are single matrices."""
    return gate(x @ gate_up.T, of_all) @ down.T


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of a head `weight` ``[vocab, H]`` on states ``[N, H]``, against `targets` ``[N]``."""
    return F.cross_entropy(at_least_float32(F.linear(hidden, weight)), targets)


def _rms_norm_kernel(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    if torch.compiler.is_compiling():  # torch.compile fuses the norm by itself
        return rms_norm(x, weight, eps)
    from minidsk.kernels import rmsnorm

    return rmsnorm.rms_norm(x, weight, eps)


def _rotate_kernel(x: Tensor, cos: Tensor, sin: Tensor, interleave: bool = True) -> Tensor:
    if torch.compiler.is_compiling():  # torch.compile fuses it with what comes before and after
        return rotate(x, cos, sin, interleave)
    from minidsk.kernels import rotary

    return rotary.rotate(x, cos, sin, interleave)


def _experts_kernel(x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
    if suits_every_expert(x, len(gate_up), indices.shape[1]):
        return every_expert(x, gate_up, down, weights, indices)
    from minidsk.kernels import experts

    return experts.experts(*_autocast(x, gate_up, down), weights, indices)


def _head_loss_kernel(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    from minidsk.kernels.cross_entropy import linear_cross_entropy

    return linear_cross_entropy(hidden, weight, targets)


def _autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in autocast's dtype, which products of our own would not know of."""
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(kind)) for tensor in tensors)


def laid_out(matrices: tuple[Tensor, Tensor], before: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """What a module keeps of matrices that it has packed: at the place of those `before`, because a recorded step goes
    on reading there."""
    if before is None:
        return matrices
    for kept, new in zip(before, matrices, strict=True):
        kept.copy_(new)
    return before


def packed(
    gate_up: Tensor, down: Tensor, shared: tuple[Tensor, Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """All experts of a layer as the two matrices of `weighted_experts`.

    `shared`: the matrices for gate, up and down of the shared experts, which are experts like the others here, only
    that every token takes them with weight 1: they cost no kernels of their own.
    """
    if shared is not None:
        gate, up = (each.unflatten(0, (-1, down.shape[2])) for each in shared[:2])
        gate_up = torch.cat((gate_up, torch.cat((gate, up), 1)))
        down = torch.cat((down, shared[2].unflatten(1, (len(gate), -1)).transpose(0, 1)))
    return gate_up.flatten(0, 1), down.transpose(0, 1).flatten(1)


def step_of_experts(
    x: Tensor, router: tuple[Tensor, Tensor, int, bool, float], shared: int, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All that a mixture does with few tokens `x` ``[N, H]``, by kernels: ``[N, H]``, and the scores and indices.

    `router`: the arguments of `minidsk.kernels.router.route` after the first, but for the number of `shared` experts.
    `gate_up` and `down` as `packed` returns them.
    """
    from minidsk.kernels.router import gate_all, route

    of_all, scores, indices = route(x, *router, shared)
    return weighted_experts(x, gate_up, down, of_all, gate_all), scores, indices


TABLE: dict[str, dict[str, Callable[..., Any]]] = {
    "experts": {"torch": routed_experts, "triton": _experts_kernel},
    "norm": {"torch": rms_norm, "triton": _rms_norm_kernel},
    "rotation": {"torch": rotate, "triton": _rotate_kernel},
    "loss": {"torch": head_loss, "triton": _head_loss_kernel},
}
