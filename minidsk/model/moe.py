"""DeepSeekMoE (arXiv:2401.06066) as DeepSeek-V3 has it: sigmoid scores, groups, shared experts, balance by a bias."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minidsk.model.config import ModelConfig
from minidsk.model.operations import Kernels, laid_out, packed, step_of_experts, suits_every_expert
from minidsk.precision import WideBuffers, at_least_float32


class Routing(NamedTuple):
    """What one layer decided: `scores` ``[batch, time, experts]``, `indices` ``[batch, time, K]``."""

    scores: Tensor
    indices: Tensor

    def load(self) -> Tensor:
        """How many tokens each expert was given, float32 ``[experts]``."""
        chosen = self.indices.flatten()
        zeros = self.scores.new_zeros(self.scores.shape[-1], dtype=torch.float32)
        return zeros.index_add(0, chosen, torch.ones_like(chosen, dtype=torch.float32))  # bincount would wait for a GPU


class MLP(nn.Module):
    """The gated feed-forward layer, ``down(silu(gate(x)) * up(x))`` (Shazeer, arXiv:2002.05202)."""

    def __init__(self, hidden: int, intermediate: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`x` ``[..., hidden]`` to ``[..., hidden]``."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))

    def matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the gate and of what it gates ``[intermediate, hidden]``, of the way back ``[hidden, intermediate]``."""
        return self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight


class Router(WideBuffers):
    """Which experts a token goes to, and with what weights (DeepSeek-V3, equations 12 to 16).

    The bias steers the choice alone: it is added to the scores that are compared, never to the weights. It is a
    buffer, moved by `update_bias` and not by the gradient, and float32 whatever the model's dtype.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.zeros(config.n_routed_experts, config.hidden_size))
        self.e_score_correction_bias: Tensor
        self.register_buffer("e_score_correction_bias", torch.zeros(config.n_routed_experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`x` ``[..., hidden]``, read as N tokens, to weights ``[N, K]`` (float32) and indices ``[N, K]`` (int64)."""
        return self.choose(self.scores(x.flatten(0, -2)))

    def scores(self, x: Tensor) -> Tensor:
        """Affinity of each token and expert in (0, 1): ``[..., hidden]`` to ``[..., experts]``, float32 or better."""
        with torch.autocast(x.device.type, enabled=False):
            return torch.sigmoid(F.linear(at_least_float32(x), at_least_float32(self.weight)))

    def rule(self) -> tuple[Tensor, Tensor, int, bool, float]:
        """How experts are chosen, without groups: weights, bias, how many, whether weights sum to 1, their factor."""
        c, bias = self.config, self.e_score_correction_bias
        return self.weight, bias, c.num_experts_per_tok, c.norm_topk_prob, c.routed_scaling_factor

    def choose(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The top K of the best groups, ``[N, experts]`` to weights and indices ``[N, K]``; their order is free."""
        config = self.config
        compared = scores.detach() + self.e_score_correction_bias
        if config.n_group > 1:
            grouped = rearrange(compared, "n (g e) -> n g e", g=config.n_group)
            best_groups = grouped.topk(2, dim=-1).values.sum(-1).topk(config.topk_group, dim=-1).indices
            dropped = torch.ones_like(grouped[..., 0], dtype=torch.bool).scatter(1, best_groups, 0)
            compared = rearrange(grouped.masked_fill(dropped.unsqueeze(-1), -torch.inf), "n g e -> n (g e)")
        indices = likeliest(compared, config.num_experts_per_tok)
        weights = scores.gather(1, indices)
        if config.norm_topk_prob:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        if config.routed_scaling_factor != 1:
            weights = weights * config.routed_scaling_factor
        return weights, indices


def likeliest(compared: Tensor, k: int) -> Tensor:
    """Where the `k` largest of each row ``[N, experts]`` stand, ``[N, k]``, in any order."""
    if not torch.compiler.is_compiling():
        return compared.topk(k, dim=-1, sorted=False).indices
    every, found = torch.arange(compared.shape[-1], device=compared.device), []
    for _ in range(k):  # one after the other, which torch.compile makes one kernel of; it has none for topk
        found.append(compared.argmax(-1, keepdim=True))
        compared = compared.masked_fill(every == found[-1], -torch.inf)
    return torch.cat(found, -1)


class Experts(nn.Module):
    """All routed experts in two tensors: `gate_up_proj` ``[E, 2I, H]`` (gate rows first), `down_proj` ``[E, H, I]``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        experts, hidden, inner = config.n_routed_experts, config.hidden_size, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.zeros(experts, 2 * inner, hidden))
        self.down_proj = nn.Parameter(torch.zeros(experts, hidden, inner))
        self.kernels = Kernels()

    def forward(self, x: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
        """Send N tokens ``[N, H]`` to their experts, `weights` and `indices` ``[N, K]``; return the sum ``[N, H]``."""
        return self.kernels.operation("experts")(x, self.gate_up_proj, self.down_proj, weights, indices)


class MoE(nn.Module):
    """``sum_k w_k expert_k(x) + shared(x)``; the shared experts are one MLP of their joint width."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)
        self.shared_experts = (
            MLP(config.hidden_size, config.moe_intermediate_size * config.n_shared_experts)
            if config.n_shared_experts else None
        )  # fmt: skip
        self.packed: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """`x` ``[batch, time, hidden]`` to the same shape, and what was decided."""
        batch, time, _ = x.shape
        flat = x.flatten(0, 1)
        step = self._is_step(flat)
        if step:
            shared = self.gate.config.n_shared_experts
            y, scores, indices = step_of_experts(flat, self.gate.rule(), shared, *(self.packed or self._matrices()))
        else:
            scores = self.gate.scores(flat)
            weights, indices = self.gate.choose(scores)
            y = self.experts(flat, weights, indices)
        y = y.view_as(x)
        if self.shared_experts is not None and not step:
            y = y + self.shared_experts(x)
        return y, Routing(scores.unflatten(0, (batch, time)), indices.unflatten(0, (batch, time)))

    @torch.no_grad()
    def pack(self) -> None:
        """Lay out all experts for steps of decoding once, and not at every step: see `MiniDeepSeek.pack`."""
        self.packed = laid_out(self._matrices(), self.packed)

    def _matrices(self) -> tuple[Tensor, Tensor]:
        shared = None if self.shared_experts is None else self.shared_experts.matrices()
        return packed(self.experts.gate_up_proj, self.experts.down_proj, shared)

    def _is_step(self, flat: Tensor) -> bool:
        """Whether these are the few tokens of a step of decoding, which kernels are to send through all experts."""
        config = self.gate.config
        few = suits_every_expert(flat, config.n_routed_experts, config.num_experts_per_tok)
        return few and config.n_group == 1 and self.experts.kernels.step == "triton"


@torch.no_grad()
def update_bias(bias: Tensor, load: Tensor, speed: float) -> Tensor:
    """``b_i + speed * sign(mean(load) - load_i)``: idle experts become attractive (arXiv:2408.15664, algorithm 1).

    `bias` and `load` ``[experts]``; returns the new bias and leaves the old one as it was.
    """
    load = load.to(bias.dtype)
    return bias + speed * torch.sign(load.mean() - load)


def sequence_balance_loss(scores: Tensor, indices: Tensor, alpha: float) -> Tensor:
    """``alpha * sum_i f_i P_i`` within each sequence, averaged over sequences (DeepSeek-V3, equations 17 to 20).

    `scores` ``[..., T, E]`` before the bias, `indices` ``[..., T, K]``. f_i is the share of the T tokens that chose
    expert i, times E / K; P_i is the mean of the normalised score. Even routing gives `alpha`.
    """
    experts, k = scores.shape[-1], indices.shape[-1]
    chosen = torch.zeros_like(scores).scatter(-1, indices, 1.0)
    f = chosen.mean(dim=-2) * experts / k
    p = (scores / scores.sum(-1, keepdim=True)).mean(dim=-2)
    return alpha * (f * p).sum(-1).mean()


def max_violation(load: Tensor) -> Tensor:
    """MaxVio, ``max_i load_i / mean(load) - 1``: 0 when balanced, E - 1 when one expert takes all (2408.15664)."""
    return load.max() / load.mean() - 1
