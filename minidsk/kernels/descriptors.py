"""Tensor descriptors: Hopper copies a block of a tensor by one instruction, and fills up with zeros at the edges.

Other GPUs and the interpreter run the same source with ordinary loads.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.kernels.launch import INTERPRETED


def for_tma(x: Tensor) -> Tensor:
    """`x` itself where the copy engine can read it: rows of multiples of 16 bytes, each without gaps; else a copy
    padded with zeros. The interpreter multiplies bfloat16 wrongly and gets float32.
    """
    if INTERPRETED and x.dtype == torch.bfloat16:
        x = x.float()
    step = 16 // x.element_size()
    if x.shape[-1] % step:
        return F.pad(x, (0, -x.shape[-1] % step))
    fits = x.stride(-1) == 1 and all(s % step == 0 and s > 0 for s in x.stride()[:-1]) and x.data_ptr() % 16 == 0
    return x if fits else x.clone(memory_format=torch.contiguous_format)


def descriptor(x: Tensor, block: list[int]) -> Any:
    """Blocks of this shape of `x`, which must be as `for_tma` returns it; what lies outside of `x` reads as 0."""
    from triton.tools.tensor_descriptor import TensorDescriptor

    return TensorDescriptor.from_tensor(x, block)
