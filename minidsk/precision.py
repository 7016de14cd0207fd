"""What stays in float32 where the rest goes down to bf16: norms, routers, softmaxes, angles and the routing bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend

# Kernels of attention that take every width alike. On a Hopper torch prefers cuDNN, which makes a plan for every shape
# that it has not seen: the steps of 0.39 to 0.48 s in results/ch12_trl_before, between others of 0.2 s.
PLANLESS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
_NARROW = (torch.bfloat16, torch.float16)


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself in float32 or float64, else a float32 copy: what norms, routers and softmaxes compute in."""
    return x.float() if x.dtype in _NARROW else x


class WideBuffers(nn.Module):
    """A module whose own buffers stay as they are when ``.to(bfloat16)`` or ``.half()`` narrows its parameters."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in self._buffers.items():
            kept = before[name]
            if buffer is not None and kept is not None and buffer.dtype in _NARROW:
                self._buffers[name] = kept.to(buffer.device)
        return self
