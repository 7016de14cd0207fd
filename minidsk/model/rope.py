"""Rotary positions (Su et al., arXiv:2104.09864) and their stretching by YaRN (Peng et al., arXiv:2309.00071)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minidsk.model.config import ModelConfig


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """Radians that pair i turns per position: ``theta^(-2i/d)``, stretched by YaRN if the configuration says so.

    Returns float32 ``[qk_rope_head_dim / 2]``, computed in float64, because processors differ in the last digit of a
    power. YaRN (section 3.2 of the paper) leaves the fast pairs alone, divides the slow ones by the factor and ramps
    between the two.
    """
    dim, theta = config.qk_rope_head_dim, config.rope_theta
    plain = theta ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    yarn = config.rope_scaling
    if yarn is None:
        return plain.float()

    def pair_that_turns(rotations: float) -> float:
        """The (fractional) pair that makes so many full turns within the original context."""
        length = yarn["original_max_position_embeddings"]
        return dim * math.log(length / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_that_turns(yarn.get("beta_fast") or 32), pair_that_turns(yarn.get("beta_slow") or 1)
    if yarn.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    width = (high - low) or 0.001
    slow = ((torch.arange(dim // 2, dtype=torch.float64) - low) / width).clamp(0, 1)
    return (plain * (1 - slow) + plain / yarn["factor"] * slow).float()


def _mscale(factor: float, strength: float) -> float:
    """YaRN's temperature: attention over a longer context is a little sharper (equation 22)."""
    return 0.1 * strength * math.log(factor) + 1.0 if factor > 1 else 1.0


def attention_factor(config: ModelConfig) -> float:
    """What YaRN multiplies cos and sin by: 1 for DeepSeek-V3, whose two mscales agree."""
    yarn = config.rope_scaling
    if yarn is None:
        return 1.0
    if yarn.get("attention_factor") is not None:
        return float(yarn["attention_factor"])
    factor, one, all_dim = yarn["factor"], yarn.get("mscale"), yarn.get("mscale_all_dim")
    if one and all_dim:
        return _mscale(factor, one) / _mscale(factor, all_dim)
    return _mscale(factor, 1.0)


def softmax_scale(config: ModelConfig) -> float:
    """The factor on attention scores: ``(dn + dr)^-1/2``, times ``mscale^2`` under YaRN with `mscale_all_dim`."""
    scale = config.qk_head_dim**-0.5
    yarn = config.rope_scaling
    if yarn and yarn.get("mscale_all_dim"):
        scale *= _mscale(yarn["factor"], yarn["mscale_all_dim"]) ** 2
    return scale


def rotation(positions: Tensor, frequencies: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """cos and sin of every pair's angle, each ``[..., dim / 2]``, for integer `positions` ``[...]``."""
    angles = positions.unsqueeze(-1).to(frequencies.dtype) * frequencies
    cos, sin = angles.cos(), angles.sin()
    return (cos, sin) if factor == 1 else (cos * factor, sin * factor)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, interleave: bool = True) -> Tensor:
    """Turn the pairs of `x` ``[..., dim]`` by the angles behind `cos` and `sin` ``[..., dim / 2]``.

    Pairs are (x0, x1), (x2, x3), ... with `interleave`, else (x_i, x_{i + dim/2}). The result is laid out in halves
    in both cases, [first members | second members], as transformers does: scores do not notice a permutation that
    queries and keys share.
    """
    if interleave:
        first, second = x[..., 0::2], x[..., 1::2]
    else:
        first, second = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
