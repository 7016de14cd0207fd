"""Where a kernel can run: on a GPU, in Triton's interpreter on a CPU, or not at all.

Triton is no dependency of the package (it does not exist for every system), so kernel files import it from here, and
import without it. The interpreter is for learning and testing: it runs a kernel's source in Python, one program after
the other, where the environment variable `TRITON_INTERPRET` is 1 when triton is imported.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

triton: Any
tl: Any
try:
    triton, tl = importlib.import_module("triton"), importlib.import_module("triton.language")
except ImportError:
    triton = tl = None

INTERPRETED = triton is not None and not isinstance(tl.sum, triton.JITFunction)
"""Whether kernels run in the interpreter. Read off triton's own functions: the variable may have changed since."""

Blocks = dict[str, Any]
"""Block sizes of a kernel by name, with `num_warps` and `num_stages`."""

_VERSION = (0, 0) if triton is None else tuple(int(part) for part in triton.__version__.split(".")[:2])
_FORMATS = (torch.float32, torch.float16, torch.bfloat16)


def _loop_to_a_number(interpreter: Any) -> None:
    """Let a loop of an interpreted kernel end at a number that the kernel was given, whatever numpy is installed.

    The interpreter holds such a number as an array of shape [1]. To count to it, triton 3.6 and earlier call `int` on
    the array, which numpy 2.4 and later refuse; triton 3.7 takes the one number out of the array first, as we do here.
    The interpreter gives methods to its tensors at each launch, and this adds ours after its own.
    """
    theirs = interpreter._patch_lang_tensor

    def patch(tensor: Any, *scope: Any) -> None:
        theirs(tensor, *scope)
        tensor.__index__ = lambda number: number.handle.data.item()

    interpreter._patch_lang_tensor = patch


if INTERPRETED and _VERSION < (3, 7):
    _loop_to_a_number(importlib.import_module("triton.runtime.interpreter"))


def jit(kernel: Callable[..., Any]) -> Any:
    """`triton.jit`; without triton the function as it is, which nobody calls."""
    return kernel if triton is None else triton.jit(kernel)


def autotune(
    configs: Sequence[tuple[dict[str, int], int, int]],
    small: dict[str, int],
    key: Sequence[str],
    hook: Callable[[dict[str, Any]], None] | None = None,
) -> Any:
    """`triton.autotune` over (block sizes, warps, stages); in the interpreter, which cannot choose, the `small` blocks.

    `key` names the arguments whose change means choosing anew. `hook` is given all arguments before each launch, to
    set what follows from the blocks, such as those of a descriptor.
    """
    if triton is None:
        return lambda kernel: kernel
    if INTERPRETED:
        configs = [(small, 1, 1)]
    choices = [triton.Config(blocks, num_warps=warps, num_stages=stages, pre_hook=hook)
               for blocks, warps, stages in configs]  # fmt: skip
    return triton.autotune(choices, key=list(key))


def cdiv(a: int, b: int) -> int:
    """How many blocks of `b` it takes for `a`. Triton's own, which kernels may call too, takes longer."""
    return -(-a // b)


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is no less than `n`, which is positive."""
    return 1 << (n - 1).bit_length()


def why_not(x: Tensor) -> str | None:
    """Why no kernel can take `x`, in a few words; None where one can."""
    if triton is None:
        return "triton is not installed"
    if x.dtype not in _FORMATS:
        return f"kernels are for float32, float16 and bfloat16, not {str(x.dtype).removeprefix('torch.')}"
    if x.is_cuda:
        return None if INTERPRETED else _gpu_lacks(x.device.index or 0, x.dtype)
    if x.device.type != "cpu":
        return f"no kernel runs on {x.device.type}"
    return None if INTERPRETED else "no GPU here, and TRITON_INTERPRET was not 1 when triton was imported"


def can_run(*tensors: Tensor) -> bool:
    """Whether kernels can take all of these."""
    return all(why_not(x) is None for x in tensors)


@functools.lru_cache
def _gpu_lacks(index: int, dtype: torch.dtype) -> str | None:
    capability = torch.cuda.get_device_capability(index)
    name = f"{torch.cuda.get_device_name(index)} (compute capability {capability[0]}.{capability[1]})"
    if capability < (7, 0):
        return f"{name} is older than Triton supports"
    if dtype == torch.bfloat16 and capability < (8, 0):
        return f"{name} has no bfloat16; use float16"
    return None


def has_fp8(device: torch.device | str | int = 0) -> bool:
    """Whether this GPU multiplies 8-bit floats: compute capability 8.9 (Ada) or more."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 9)


def processors(x: Tensor) -> int:
    """How many multiprocessors the GPU of `x` has; 1 in the interpreter, so that a program has several blocks to do."""
    return _processors(x.device) if x.is_cuda else 1


@functools.lru_cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def on_hopper(x: Tensor) -> bool:
    """Whether kernels written for Hopper alone can take `x`: compute capability 9.0, and a Triton that has Gluon."""
    return triton is not None and not INTERPRETED and x.is_cuda and _is_hopper(x.device.index or 0)


@functools.lru_cache
def _is_hopper(index: int) -> bool:
    return torch.cuda.get_device_capability(index) == (9, 0) and _VERSION >= (3, 6)
