"""Weights in eight bits on disk, as DeepSeek-V3 published its own: codes, and a float32 scale for each block.

The weight ``[rows, columns]`` of a linear layer of the attention or of an expert is stored as float8_e4m3fn codes.
Beside it, as ``<name>_scale_inv``, stand float32 scales ``[ceil(rows / 128), ceil(columns / 128)]``, and
``weight = code * scale``: the scale is the inverse of the factor that makes a block's largest value 448. Embedding,
head, norms, routers and `eh_proj` keep the model's dtype, which is bfloat16 in DeepSeek-V3 (arXiv:2412.19437, section
3.3, and README_WEIGHTS of the checkpoint).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from minidsk.hub.folder import CheckpointError

SCALES, CODES = "_scale_inv", "F8_E4M3"
QUANTIZATION: dict[str, Any] = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                "weight_block_size": [128, 128]}  # fmt: skip
"""What `config.json` says of such weights, under "quantization_config"."""

Stored = dict[str, tuple[Path, list[int], str]]
"""File, shape and dtype, as safetensors calls it, of each tensor of a folder."""


def has_codes(key: str) -> bool:
    """Whether the tensor of this name on disk is one that DeepSeek-V3 stores in eight bits."""
    return (".self_attn." in key or ".mlp." in key) and "_proj" in key and key.endswith(".weight")


def narrow(tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Codes and scales for the weights that have them; all else as it is.

    Raises `CheckpointError`, which names `folder`, for a weight with values that are not finite.
    """
    from minidsk.kernels.fp8 import quantize_reference  # within, because it brings Triton

    out = {}
    for key, tensor in tensors.items():
        if not has_codes(key):
            out[key] = tensor
            continue
        codes, scales = quantize_reference(tensor.detach(), (128, 128))
        if codes.isnan().any():
            raise CheckpointError(f"{folder}: the model was not saved, because {key} has values that are not finite; "
                                  "mend the weights, or save them without fp8=True")  # fmt: skip
        out |= {key: codes, key + SCALES: scales}
    return out


def widen(codes: Tensor, scales: Tensor, name: str, path: Path) -> Tensor:
    """``code * scale``, float32 ``[rows, columns]``.

    Raises `CheckpointError`, with the `name` of the scales and the `path` of their file, where one is not finite.
    """
    from minidsk.kernels.fp8 import dequantize

    if not scales.isfinite().all():
        raise CheckpointError(f"{path}: scales {name} are not all finite; save or download it again")
    return dequantize(codes, scales, (128, 128))


def check_announced(path: Path, config: dict[str, Any]) -> bool:
    """Whether `config`, read from `path`, announces these weights; raises `CheckpointError` if it announces others."""
    found = config.get("quantization_config")
    if found is None:
        return False
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: quantization_config: {found!r} is no object; put back a copy of the file")
    for name, wanted in QUANTIZATION.items():
        value = found.get(name, None if name == "quant_method" else wanted)
        if value != wanted and name != "activation_scheme":  # the inputs of products are not quantised here
            raise CheckpointError(f"{path}: quantization_config: {name} {value!r} is not supported, only {wanted!r}; "
                                  "convert the weights to bfloat16 first")  # fmt: skip
    return True


def check_pairs(stored: Stored, announced: bool) -> None:
    """Raise `CheckpointError` where codes and scales do not belong together, or stand where DeepSeek-V3 has none."""
    for key, (path, shape, dtype) in stored.items():
        if dtype == CODES:
            if not has_codes(key) or len(shape) != 2:
                raise CheckpointError(f"{path}: tensor {key} is FP8, which only attention and experts may be; "
                                      "convert it to bfloat16 first")  # fmt: skip
            if not announced:
                raise CheckpointError(f"{path}: tensor {key} is FP8, and config.json has no quantization_config; "
                                      "put back the config.json of these weights")  # fmt: skip
            if key + SCALES not in stored:
                raise CheckpointError(f"{path}: tensor {key} is FP8, and its scales {key + SCALES} are missing; "
                                      "save or download it again")  # fmt: skip
        elif key.endswith(SCALES):
            weight = stored.get(key.removesuffix(SCALES))
            if weight is None or weight[2] != CODES:
                raise CheckpointError(f"{path}: tensor {key} has scales, and no FP8 weight is beside it; "
                                      "save or download it again")  # fmt: skip
            wanted = [-(-size // 128) for size in weight[1]]
            if shape != wanted or dtype != "F32":
                raise CheckpointError(f"{path}: scales {key} are {dtype} {shape} where one for each block of 128 x 128 "
                                      f"makes F32 {wanted}; save or download it again")  # fmt: skip
