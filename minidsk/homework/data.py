"""Outputs as data: what comes from the process that ran a reader's code is parsed, and never unpickled."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

BYTES = 2**26
"""The most bytes that an output may have."""
PARTS = 10**6
"""The most tensors, numbers and containers that an output may consist of."""


class TooMuch(ValueError):
    """An output that is too large or nested too deeply to be looked at."""


def pack(value: Any) -> bytes:
    """`value` as JSON with its tensors behind it in safetensors' format.

    Tensors, arrays, numbers, text, bytes, None, tuples, lists and dicts arrive as they are, tensors on the CPU and
    without their gradients; anything else arrives as an object with the same name of its type and the same repr.
    Raises TooMuch.
    """
    packing = _Packing()
    try:
        head = json.dumps(packing.node(value)).encode()
    except RecursionError:
        raise TooMuch("it is nested too deeply") from None
    return len(head).to_bytes(8, "little") + head + save(packing.tensors)


def unpack(data: bytes) -> Any:
    """What `pack` packed. Raises ValueError where `data` is not of that form, whatever it holds."""
    try:
        size = int.from_bytes(data[:8], "little")
        # Both readers make numbers and text of bytes, and nothing else: `load` is safetensors', not torch's.
        return _value(json.loads(data[8 : 8 + size]), load(data[8 + size :]))
    except Exception as error:
        raise ValueError(f"no packed value: {type(error).__name__}") from error


class _Packing:
    """Takes a value apart into nodes: null, true, a number, a text, or a list that begins with what it stands for."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.bytes = self.parts = 0

    def node(self, x: Any) -> Any:
        self.count(parts=1)
        if x is None or type(x) in (bool, float):
            return x
        if isinstance(x, (str, bytes)):
            self.count(size=6 * len(x))  # as JSON writes the longest
            return str(x) if isinstance(x, str) else ["bytes", base64.b64encode(x).decode()]
        if isinstance(x, (Tensor, np.ndarray, np.generic)):
            return self.numbers(x)
        if isinstance(x, int) and x.bit_length() < 4096:  # Python writes no longer ones as decimals
            return int(x)
        if isinstance(x, (list, tuple)):
            base: type = list if isinstance(x, list) else tuple
            return [base.__name__, *_looks(x, base), [self.node(part) for part in x]]
        if isinstance(x, Mapping):
            return ["dict", *_looks(x, dict), [[self.node(key), self.node(part)] for key, part in x.items()]]
        return float(x) if isinstance(x, float) else ["other", *_looks(x, None)]

    def numbers(self, x: Any) -> Any:
        self.count(size=x.numel() * x.element_size() if isinstance(x, Tensor) else x.nbytes)
        kind = "tensor" if isinstance(x, Tensor) else "array" if isinstance(x, np.ndarray) else "scalar"
        try:
            tensor = x.detach().cpu().to_dense() if isinstance(x, Tensor) else torch.from_numpy(np.array(x))
            if tensor.is_complex():  # safetensors does not know all of these
                kind, tensor = f"complex {kind}", torch.view_as_real(tensor.resolve_conj())
            key = str(len(self.tensors))
            save({key: tensor.contiguous()})  # fails here where it would fail below
            self.tensors[key] = tensor.clone(memory_format=torch.contiguous_format)
        except Exception:  # a dtype, layout or device without data
            return ["other", *_looks(x, None)]
        return [kind, key]

    def count(self, parts: int = 0, size: int = 0) -> None:
        self.parts, self.bytes = self.parts + parts, self.bytes + size
        if self.bytes > BYTES:
            raise TooMuch(f"it has more than {BYTES // 2**20} MiB")
        if self.parts > PARTS:
            raise TooMuch(f"it has more than {PARTS:,} parts")


def _looks(x: Any, base: type | None) -> tuple[str, str]:
    """The name of x's type and the beginning of its repr; nothing where x is a plain `base`."""
    if type(x) is base:
        return "", ""
    try:
        text = repr(x)[:400]
    except Exception:
        text = f"a {type(x).__name__} that cannot be printed"
    return type(x).__name__, text


def _value(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, list):
        return node
    kind, *rest = node
    if kind == "bytes":
        return base64.b64decode(rest[0])
    if kind in ("list", "tuple"):
        return _like(rest[0], rest[1], {"list": list, "tuple": tuple}[kind])(_value(part, tensors) for part in rest[2])
    if kind == "dict":
        return _like(rest[0], rest[1], dict)((_value(key, tensors), _value(part, tensors)) for key, part in rest[2])
    if kind == "other":
        return _like(rest[0], rest[1], object)()
    tensor = tensors[rest[0]]
    if kind.startswith("complex "):
        tensor = torch.view_as_complex(tensor)
    return tensor if kind.endswith("tensor") else tensor.numpy() if kind.endswith("array") else tensor.numpy()[()]


def _like(name: str, text: str, base: type) -> Any:
    """`base`, or a class on top of it that prints as the original did."""
    if not name and base is not object:
        return base
    return type(name if name.isidentifier() else "object", (base,), {"__repr__": lambda _: text})
