"""Where two outputs differ, as a sentence; and whether an argument was changed on the way."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def difference(got: Any, want: Any, tolerance: float) -> str | None:
    """The first difference between `got` and `want` as a phrase, or None where they agree.

    Tensors, arrays and numbers agree when their shapes and kinds (truth values, integers, floats) are the same and
    every entry lies within `tolerance` * max(1, |want|). Lists, tuples and dicts agree when their parts do.
    """
    if isinstance(want, Mapping):
        return _mapping(got, want, tolerance)
    if isinstance(want, (tuple, list)):
        return _sequence(got, want, tolerance)
    if isinstance(want, (Tensor, np.ndarray, bool, int, float)):
        return _numbers(got, want, tolerance)
    return None if got == want else f"expected {show(want)}, got {show(got)}"


def _mapping(got: Any, want: Mapping[Any, Any], tolerance: float) -> str | None:
    if not isinstance(got, Mapping):
        return f"expected a dict, got {_kind(got)}"
    for key in want:
        if key not in got:
            return f"the entry {key!r} (expected {show(want[key])}) is missing"
    for key in got:
        if key not in want:
            return f"the entry {key!r} does not belong here"
    for key, value in want.items():
        if problem := difference(got[key], value, tolerance):
            return f"at {key!r}: {problem}"
    return None


def _sequence(got: Any, want: "list[Any] | tuple[Any, ...]", tolerance: float) -> str | None:
    if not isinstance(got, (tuple, list)):
        return f"expected {_kind(want)} of {len(want)}, got {_kind(got)}"
    if len(got) != len(want):
        return f"expected {len(want)} items, got {len(got)}: expected {show(want)}, got {show(got)}"
    for i, (g, w) in enumerate(zip(got, want, strict=False)):
        if problem := difference(g, w, tolerance):
            return f"item {i}: {problem}"
    return None


def _numbers(got: Any, want: Any, tolerance: float) -> str | None:
    if not isinstance(got, (Tensor, np.ndarray, np.generic, bool, int, float)):
        return f"expected {_kind(want)}, got {_kind(got)}"
    g, w = torch.as_tensor(got).detach().cpu(), torch.as_tensor(want)
    if g.shape != w.shape:
        return f"expected shape {list(w.shape)}, got {list(g.shape)}"
    if _family(g) != _family(w) and not (_family(w) == "floats" and w.dim() == 0 and _family(g) == "integers"):
        return f"expected {_family(w)}, got {_family(g)} ({str(g.dtype).removeprefix('torch.')})"
    g, w = g.double(), w.double()
    apart = (g - w).abs() / w.abs().clamp(min=1)
    same = (g == w) | (g.isnan() & w.isnan())
    apart = torch.where(same, torch.zeros_like(apart), apart.nan_to_num(nan=float("inf")))
    if apart.numel() == 0 or apart.max() <= tolerance:
        return None
    worst = np.unravel_index(int(apart.argmax()), tuple(apart.shape)) if apart.dim() else ()
    where = f" at {[int(i) for i in worst]}" if worst else ""
    count = f" ({int((apart > tolerance).sum())} of {apart.numel()} entries differ)" if worst else ""
    return f"expected {_number(float(w[worst]))}{where}, got {_number(float(g[worst]))}{count}"


def _family(x: Tensor) -> str:
    if x.dtype == torch.bool:
        return "truth values"
    return "floats" if x.is_floating_point() else "complex numbers" if x.is_complex() else "integers"


def _kind(x: Any) -> str:
    if x is None:
        return "None (is a return missing?)"
    if isinstance(x, Tensor):
        return f"a tensor of shape {list(x.shape)}"
    article = "an" if type(x).__name__[0] in "aeiou" else "a"
    return f"{article} {type(x).__name__}"


def _number(x: float) -> str:
    return str(int(x)) if x == x and abs(x) < 1e15 and x == int(x) else f"{x:.4g}"


def show(value: Any, limit: int = 70) -> str:
    """`value` in at most `limit` characters: shape and first entries of a tensor, the beginning of anything else."""
    if isinstance(value, (Tensor, np.ndarray)):
        x = torch.as_tensor(value).detach().cpu()
        numbers = ", ".join(_number(float(v)) for v in x.flatten()[:4])
        dots = ", ..." if x.numel() > 4 else ""
        return f"{list(x.shape)} tensor: {numbers}{dots}" if x.dim() else numbers
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, tuple) and any(isinstance(v, Tensor) for v in value):
        text = "(" + ", ".join(show(v) for v in value) + ")"
        limit *= len(value)
    else:
        try:
            text = repr(value)
        except Exception:
            text = f"a {type(value).__name__} that cannot be printed"
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def changed(before: Any, after: Any) -> bool:
    """Whether an argument is no longer what it was."""
    try:
        return difference(after, before, 0.0) is not None
    except Exception:
        return True


def fresh(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A copy of the arguments that a function may spoil."""
    return tuple(a.clone() if isinstance(a, Tensor) else copy.deepcopy(a) for a in arguments)
