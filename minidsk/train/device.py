"""Where to compute, and in what precision."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import re
import reprlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.attention import sdpa_kernel

from minidsk.model.transformer import MiniDeepSeek
from minidsk.precision import PLANLESS


def pick_device(name: str = "auto") -> torch.device:
    """`auto` is the GPU where there is one; `cuda:1` is the second one.

    Raises `ValueError` for any other kind of device, and where a GPU is asked for that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", name):
        raise ValueError(f"device: {reprlib.repr(name)} is not known; give auto, cpu or cuda")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: no GPU was found; give --device cpu, or install a torch built for your GPU")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device: {name} is not there; the last one is cuda:{torch.cuda.device_count() - 1}")
    return device


def keep_memory() -> None:
    """Ask glibc to keep freed blocks instead of handing them back to the system after every operation.

    A training step on a CPU frees and takes the same blocks again and again; without this, a fifth of its time goes
    into the system's giving them out anew. Does nothing where the C library is another.
    """
    if sys.platform == "linux":
        trim_threshold, mmap_threshold = -1, -3  # of malloc.h
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(mmap_threshold, 1 << 30)
            libc.mallopt(trim_threshold, (1 << 31) - 1)


@contextlib.contextmanager
def precision(device: torch.device, fixed_width: bool = False) -> Iterator[None]:
    """Within, large products are bf16 on a GPU that has it; elsewhere nothing changes.

    `fixed_width`: whether every call has the same shapes, so that attention may be planned for them.
    """
    with contextlib.ExitStack() as stack:
        if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
            stack.enter_context(torch.autocast("cuda", torch.bfloat16))
        if not fixed_width:
            stack.enter_context(sdpa_kernel(PLANLESS))
        yield


@contextlib.contextmanager
def threads_for(device: torch.device, hidden_size: int) -> Iterator[None]:
    """Within, torch computes a tiny model on a CPU with one thread; larger models, and GPUs, find what is set.

    Its products are so small that a second thread gains little on an idle machine, and costs much on a busy one, where
    every product waits for it. One thread also adds in the same order everywhere, so that a seed gives the same numbers
    however many cores there are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" and hidden_size < 128 else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compiled(model: MiniDeepSeek) -> MiniDeepSeek:
    """A view of `model` with the same weights whose blocks, and the norm behind them, run through torch.compile.

    One block is compiled and serves all layers of its kind; the model itself stays as it was, for decoding, whose
    shapes change from step to step.
    """
    view = copy.copy(model)
    view._modules = dict(model._modules)
    options: dict[str, str | int | bool | Callable[..., Any]] = {"max_autotune_pointwise": True}  # tries block sizes
    view.layers = nn.ModuleList(torch.compile(block, options=options) for block in model.layers)  # type: ignore[misc]
    view.mtp = nn.ModuleList(torch.compile(module, options=options) for module in model.mtp)  # type: ignore[misc]
    view.norm = torch.compile(model.norm, options=options)  # type: ignore[assignment]
    return view
