"""Gluon, the language under Triton's, and what its kernels here have in common.

Triton decides which threads hold which numbers, when copies start and what waits for what; in Gluon the kernel says so.
Such kernels are for one kind of chip: `launch.on_hopper` says whether it is there, and before that nobody imports them.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

gluon: Any = importlib.import_module("triton.experimental.gluon")
gl: Any = importlib.import_module("triton.experimental.gluon.language")
hopper: Any = importlib.import_module("triton.experimental.gluon.language.nvidia.hopper")

KINDS = {torch.float8_e4m3fn: "float8e4nv", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def layout_of(dtype: torch.dtype, block: list[int]) -> Any:
    """How a block lies in shared memory, so that tensor cores can read it: its rows are folded and swizzled."""
    return gl.NVMMASharedLayout.get_default_for(block, getattr(gl, KINDS[dtype]))


def descriptor(x: Tensor, block: list[int]) -> Any:
    """Blocks of this shape of `x` for the copy engine; `x` must be as `descriptors.for_tma` returns it."""
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    return TensorDescriptor.from_tensor(x, block, layout_of(x.dtype, block))


def descriptor_type(dtype: torch.dtype, block: list[int]) -> str:
    """The type of a descriptor in words, to compile a kernel without one (see `compiled.compile_kernel`)."""
    from triton._utils import canonicalize_dtype

    return f"tensordesc<{canonicalize_dtype(dtype)}{block},{layout_of(dtype, block)!r}>"


@gluon.jit
def buffers(blocks, NUMBER: gl.constexpr):
    """Shared memory for so many blocks of a descriptor."""
    shape: gl.constexpr = [NUMBER] + blocks.block_type.shape  # noqa: RUF005, Gluon knows no star
    return gl.allocate_shared_memory(blocks.dtype, shape, blocks.layout)


@gluon.jit
def barriers(NUMBER: gl.constexpr, COUNT: gl.constexpr):
    """So many barriers, each of which opens when COUNT have arrived (a copy arrives by its bytes)."""
    made = gl.allocate_shared_memory(gl.int64, [NUMBER, 1], hopper.mbarrier.MBarrierLayout())
    for i in gl.static_range(NUMBER):
        hopper.mbarrier.init(made.index(i), count=COUNT)
    return made
