"""The two ceilings of a device, measured: how fast it copies and how fast it multiplies matrices."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch

from minidsk.kernels.bench.case import time_once
from minidsk.kernels.launch import why_not


def measure_ceilings(device: torch.device, small: bool = False) -> dict[str, Any]:
    """The device's name, its copy bandwidth in GB/s (bytes read and written) and its matrix rates in TFLOP/s."""
    generator = torch.Generator(device).manual_seed(0)
    dtype, (rows, columns), side = torch.float32, (1024, 1024) if small else (32768, 4096), 512 if small else 8192
    if device.type == "cuda":
        narrow = torch.empty(0, device=device, dtype=torch.bfloat16)
        dtype = torch.bfloat16 if why_not(narrow) is None else torch.float16
    name = str(dtype).removeprefix("torch.")
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"}
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        found |= {"processors": facts.multi_processor_count, "memory_bytes": facts.total_memory,
                  "l2_bytes": facts.L2_cache_size, "capability": [facts.major, facts.minor]}  # fmt: skip
    source = torch.randn(rows, columns, device=device, generator=generator).to(dtype)
    target = torch.empty_like(source)
    seconds = median_seconds(lambda: target.copy_(source), device)
    found |= {"copy_gb_s": 2 * source.numel() * source.element_size() / seconds / 1e9,
              "copy_of": f"{name} {rows}x{columns}"}  # fmt: skip
    left, right = (torch.randn(side, side, device=device, generator=generator).to(dtype) for _ in range(2))
    seconds = median_seconds(lambda: left @ right, device)
    return found | {"matmul_tflop_s": 2 * side**3 / seconds / 1e12, "matmul_of": f"{name} {side}^3"}


def median_seconds(call: Callable[[], object], device: torch.device, rounds: int = 20) -> float:
    """The median time of a call, in seconds, after three to warm up."""
    for _ in range(3):
        call()
    return statistics.median(time_once(call, device) for _ in range(rounds))
