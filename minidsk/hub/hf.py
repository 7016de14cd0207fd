"""To and from transformers: a folder with `config.json` and safetensors, laid out as DeepSeek-V3's own checkpoint.

On disk an expert has three matrices of its own, and the module of depth k is layer L + k - 1 (DeepSeek-V3's README
on its weights). In memory the experts are stacked. `_by_key` gives every tensor of a model its name on disk, experts
as views into the stack: saving reads through these views and loading writes through them.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from minidsk.atomic import WriteError, under_way
from minidsk.hub.folder import CONFIG, CheckpointError, check_files, put_in_place, read_json
from minidsk.hub.fp8 import CODES, QUANTIZATION, SCALES, Stored, check_announced, check_pairs, narrow, widen
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import parameters

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def save_pretrained(
    model: MiniDeepSeek,
    folder: str | Path,
    tokenizer: Any = None,
    *,
    extra: dict[str, Any] | None = None,
    fp8: bool = False,
) -> None:
    """Write `model` to `folder` as transformers' ``DeepseekV3ForCausalLM`` reads it, MTP modules included.

    `tokenizer` (anything with ``save(folder)``) is written beside it; `extra` goes into `config.json` under
    "minidsk", and with it the SHA-256 of each file, which is checked on loading. All is first written beside it, in
    `folder`, and then moved, the configuration last: whatever happens, no file is half written.
    With `fp8`, attention and experts are written in eight bits, as DeepSeek-V3 published its own weights (see
    `minidsk.hub.fp8`); all else keeps the model's dtype, and the model itself stays as it is.
    Raises `CheckpointError` when the disk is full or not writable, and, with `fp8`, when a weight is not finite; what
    was there before is then untouched.
    """
    folder = Path(folder)
    config = model.config.to_dict()
    config["dtype"] = str(model.embed_tokens.weight.dtype).removeprefix("torch.")
    if not model.config.has_experts:  # transformers knows a dense model by this alone
        config["first_k_dense_replace"] = model.config.num_hidden_layers
    if fp8:
        config["quantization_config"] = QUANTIZATION
    staging = under_way(folder / "checkpoint")
    try:
        staging.mkdir(parents=True, exist_ok=True)
        tensors = _to_write(model)
        save_file(narrow(tensors, folder) if fp8 else tensors, staging / WEIGHTS, metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(staging)
        put_in_place(staging, folder, config, extra)
    except (OSError, WriteError, SafetensorError) as error:
        cause = error.__cause__ if isinstance(error, WriteError) else error
        reason = getattr(cause, "strerror", None) or str(error)
        raise CheckpointError(f"{folder}: the model was not saved ({reason}); free some space or choose another folder"
                              ) from error  # fmt: skip
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def load_pretrained(
    folder: str | Path,
    mtp: bool = True,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> MiniDeepSeek:
    """Read a DeepSeek-V3 model in transformers' layout: old or new spelling of the configuration, one file or several.

    Weights in DeepSeek-V3's own eight bits (see `minidsk.hub.fp8`) are multiplied by their scales and become `dtype`.

    `dtype`: None keeps that of the stored embedding; the routers' balancing bias is float32 always. With `mtp`, the
    MTP modules are read where the folder has them. transformers drops them when it saves, and still announces them
    in `config.json`: a folder without a tensor of theirs gives a model with ``num_nextn_predict_layers = 0``.
    Raises `CheckpointError`, one line, when a file or tensor is missing, damaged, superfluous or of another shape.
    """
    folder = Path(folder)
    values = read_json(folder / CONFIG)
    check_files(folder)
    announced_fp8 = check_announced(folder / CONFIG, values)
    try:
        config = ModelConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(f"device {device}: torch sees no GPU here; use device='cpu'")

    stored = _stored_tensors(folder)
    announced, there = parameters(config), sum(math.prod(shape) for _, shape, _ in stored.values())
    if announced > 2 * there:  # nothing that large is built to find out which tensors do not fit
        raise CheckpointError(f"{folder / CONFIG}: its sizes make {announced:.2g} parameters, and the files beside it "
                              f"hold {there:.2g}; config.json and weights must be of one model")  # fmt: skip
    ahead = {key for key in stored if _is_mtp(key, config)}
    if not mtp or not ahead:
        stored = {key: entry for key, entry in stored.items() if key not in ahead}
        config = config.replace(num_nextn_predict_layers=0)

    # A generator of its own: loading leaves torch's global one as it was.
    model = MiniDeepSeek(config, torch.Generator().manual_seed(0))
    wanted = _by_key(model)
    beside = {key for key in stored if _is_shared_copy(key, config) or key.endswith(SCALES)}
    check_pairs(stored, announced_fp8)
    _check(folder, stored, wanted, beside)
    model.to(dtype or _FLOATS[stored["model.embed_tokens.weight"][2]])
    _read(stored, _by_key(model))
    return model.to(device)


def _by_key(model: MiniDeepSeek) -> dict[str, Tensor]:
    """Every tensor of the model under its name on disk, sharing the model's memory."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        key = _key(name, model.config)
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        if name.endswith(".experts.gate_up_proj"):
            for expert, matrix in enumerate(tensor):
                gate, up = matrix.chunk(2)
                tensors[key.replace("gate_up_proj", f"{expert}.gate_proj.weight")] = gate
                tensors[key.replace("gate_up_proj", f"{expert}.up_proj.weight")] = up
        elif name.endswith(".experts.down_proj"):
            for expert, matrix in enumerate(tensor):
                tensors[key.replace("down_proj", f"{expert}.down_proj.weight")] = matrix
        else:
            tensors[key] = tensor
    return tensors


def _key(name: str, config: ModelConfig) -> str:
    if name.startswith("lm_head."):
        return name
    if not name.startswith("mtp."):
        return f"model.{name}"
    _, depth, rest = name.split(".", 2)
    rest = rest.removeprefix("block.")
    rest = f"shared_head.{rest}" if rest.startswith("norm.") else rest
    return f"model.layers.{config.num_hidden_layers + int(depth)}.{rest}"


def _is_mtp(key: str, config: ModelConfig) -> bool:
    parts = key.split(".")
    return parts[:2] == ["model", "layers"] and parts[2].isdigit() and int(parts[2]) >= config.num_hidden_layers


def _is_shared_copy(key: str, config: ModelConfig) -> bool:
    """Whether this is a copy of the embedding or the head, which a module shares or which are tied."""
    if key == "lm_head.weight":
        return config.tie_word_embeddings
    return _is_mtp(key, config) and key.endswith((".embed_tokens.weight", ".shared_head.head.weight"))


def _to_write(model: MiniDeepSeek) -> dict[str, Tensor]:
    """What goes on disk: on the CPU, each tensor with memory of its own."""
    tensors = _by_key(model)
    for depth in range(model.config.num_nextn_predict_layers):
        layer = f"model.layers.{model.config.num_hidden_layers + depth}"
        tensors[f"{layer}.embed_tokens.weight"] = model.embed_tokens.weight.detach().clone()
        tensors[f"{layer}.shared_head.head.weight"] = model.lm_head.weight.detach().clone()
    return {key: tensor.cpu().contiguous() for key, tensor in tensors.items()}


def _stored_tensors(folder: Path) -> Stored:
    """File, shape and dtype of every tensor in the folder."""
    names = [WEIGHTS]
    if not (folder / WEIGHTS).exists() and (folder / INDEX).exists():
        shards = read_json(folder / INDEX).get("weight_map")
        if not isinstance(shards, dict) or any(name != Path(str(name)).name for name in shards.values()):
            raise CheckpointError(f"{folder / INDEX} maps no tensors to files beside it; save or download it again")
        names = sorted(set(shards.values()))
    stored: Stored = {}
    for name in names:
        path = folder / name
        if not path.exists():
            raise CheckpointError(f"{path} is missing; save or download the model again")
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 (no mapping)
                    part = file.get_slice(key)
                    stored[key] = (path, part.get_shape(), part.get_dtype())
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); save or download it again") from error
    return stored


def _check(folder: Path, stored: Stored, wanted: dict[str, Tensor], beside: set[str]) -> None:
    for key, (path, _, dtype) in stored.items():
        if dtype not in _FLOATS and dtype != CODES:
            raise CheckpointError(f"{path}: tensor {key} has dtype {dtype}, which is not supported; "
                                  "convert it to bfloat16 first")  # fmt: skip
    for key, tensor in wanted.items():
        if key not in stored:
            raise CheckpointError(f"{folder}: tensor {key} is missing; config.json and weights must be of one model")
        path, shape, _ = stored[key]
        if shape != list(tensor.shape):
            raise CheckpointError(f"{path}: tensor {key} has shape {shape} where config.json says "
                                  f"{list(tensor.shape)}; config.json and weights must be of one model")  # fmt: skip
    for key in stored:
        if key not in wanted and key not in beside:
            raise CheckpointError(f"{stored[key][0]}: tensor {key} has no place in this model; "
                                  "config.json and weights must be of one model")  # fmt: skip


def _read(stored: Stored, targets: dict[str, Tensor]) -> None:
    # Scales first: they are few, and those of a weight may be in another file.
    coded = {key for key in targets if stored[key][2] == CODES}
    scales = dict(_contents(stored, {key + SCALES for key in coded}))
    for key, tensor in _contents(stored, set(targets)):
        if key in coded:
            tensor = widen(tensor, scales[key + SCALES], key + SCALES, stored[key + SCALES][0])
        targets[key].copy_(tensor)


def _contents(stored: Stored, keys: set[str]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of these names one by one, each file opened once."""
    for path in {stored[key][0] for key in keys}:
        with safe_open(path, framework="pt") as file:
            for key in keys:
                if stored[key][0] == path:
                    yield key, file.get_tensor(key)
