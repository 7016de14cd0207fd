"""Whether a model fits into the memory of a device, asked before anything of it is allocated."""

from __future__ import annotations

import math
import os

import torch

from minidsk.model.config import ModelConfig
from minidsk.scale.cost import parameters

TRAINING = 16  # bytes a parameter: weight, gradient and AdamW's two moments, each in float32


def memory(device: torch.device) -> float:
    """Bytes of memory that the device has, free or not; infinity where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return math.inf


def check_room(config: ModelConfig, device: torch.device, bytes_each: int = TRAINING) -> None:
    """Raises `ValueError` where the device cannot hold `bytes_each` bytes for every parameter, MTP modules included."""
    needed, there = bytes_each * parameters(config, mtp=True), memory(device)
    if needed > there:
        raise ValueError(
            f"model: {needed / bytes_each:.2g} parameters take {needed / 1e9:,.0f} GB, and {device} has "
            f"{there / 1e9:,.0f} GB; make hidden_size, num_hidden_layers or another size smaller"
        )
