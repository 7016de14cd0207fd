"""Kernels side by side with their rivals, in one run: `minidsk bench kernels`.

Each entry of `BENCHES` is a function ``(device, small) -> iterator of Case``. A case is made just before it is
measured and dropped after it, so that no two cases share the memory. `small` asks for sizes that Triton's interpreter
does in about a second: the same code from end to end, for a machine without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from minidsk.kernels.bench import attention, grouped, losses, narrow, rowwise
from minidsk.kernels.bench.case import Case

BENCHES: dict[str, Callable[[torch.device, bool], Iterator[Case]]] = {
    "softmax": rowwise.softmax_cases,
    "rmsnorm": rowwise.rms_norm_cases,
    "cross_entropy": losses.cross_entropy_cases,
    "attention": attention.attention_cases,
    "grouped_gemm": grouped.grouped_cases,
    "moe": grouped.moe_cases,
    "fp8": narrow.fp8_cases,
    "ptx": narrow.ptx_cases,
}
