"""Operations without Python: `torch.jit.trace` writes down which ones a function starts, and torch starts them itself.

On a CPU a small model's step is mostly Python: to ask for an operation on a few numbers takes longer than to do it.
A trace is the CPU's counterpart of a CUDA graph, and less strict: which operations follow each other is fixed, not
where the tensors lie nor how large they are. Nothing is compiled, and no compiler is needed.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import has_torch_function

AFTER = 32  # calls that run as written: tracing takes as long as so many save, and most models are not called as often


class Trace:
    """`function`, of tensors to a tensor, in inference mode, which reads the weights of `module`.

    It writes to nothing but its arguments, and may write the same twice.

    What Python decides in it must be the same in every call; shapes may differ. The weights are read anew in each call,
    wherever they then are.
    """

    def __init__(self, module: nn.Module, function: Callable[..., Tensor]) -> None:
        homes: list[Any] = [home for part in module.modules() for home in (part._parameters, part._buffers)]
        self._homes = [(home, name) for home in homes for name, tensor in home.items() if tensor is not None]
        self._function, self._calls, self._fails = function, 0, False
        self._traced: Callable[..., Tensor] | None = None

    def __call__(self, *tensors: Tensor) -> Tensor | None:
        """The result, without Python but for the first times and, said once, where torch cannot: bit for bit the same.
        None, and nothing done, under autocast and where somebody listens to each operation."""
        if has_torch_function(tensors) or torch.is_autocast_enabled(tensors[0].device.type):
            return None
        self._calls += 1
        with torch.inference_mode():  # nothing is kept for a gradient, which saves a fifth
            written = self._fails or self._calls <= AFTER
            result = self._function(*tensors) if written else self._without_python(tensors)
        return result.clone()  # a tensor as any other, not one of inference

    def _without_python(self, tensors: tuple[Tensor, ...]) -> Tensor:
        weights = [home[name] for home, name in self._homes]
        try:
            if self._traced is None:
                self._traced = self._trace(tensors, weights)
            return self._traced(*tensors, *weights)
        except Exception as error:  # whatever a version of torch raises that cannot
            self._fails, self._traced = True, None
            reason = str(error).split("\n")[0].rstrip(".:")
            warnings.warn(f"no trace here ({reason}): Python goes on starting each operation, slower", stacklevel=2)
            return self._function(*tensors)

    def _trace(self, tensors: tuple[Tensor, ...], weights: list[Tensor]) -> Callable[..., Tensor]:
        def function(*given: Tensor) -> Tensor:
            self._put(given[len(tensors) :])
            return self._function(*given[: len(tensors)])

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that traces are old, and that Python decides by what stays the same
                return torch.jit.trace(function, (*tensors, *weights), check_trace=False)  # type: ignore[no-any-return]
        finally:
            self._put(weights)

    def _put(self, weights: Any) -> None:
        for (home, name), weight in zip(self._homes, weights, strict=True):
            home[name] = weight


Module = TypeVar("Module", bound=nn.Module)
Kept = TypeVar("Kept", bound=Trace)
_KEPT: weakref.WeakKeyDictionary[nn.Module, tuple[object, Trace]] = weakref.WeakKeyDictionary()


def kept(module: Module, make: Callable[[Module], Kept]) -> Kept | None:
    """The trace that was made for `module` before, if all that Python knows of it is still the same; else a new one.

    None on a GPU, and where a part of it runs something of its own: hooks, or another `forward`. Whether it is training
    is not asked, and is to change nothing. For each module one kind of trace is kept, as long as the module is; so the
    trace must not hold it.
    """
    parts = list(module.modules())[1:]
    own = any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in parts)
    weight = next(module.parameters())
    if weight.device.type != "cpu" or own:
        return None
    settings = [{name: value for name, value in vars(part).items() if name[0] != "_" and name != "training"}
                for part in parts]  # fmt: skip
    how = weight.dtype, parts, settings
    if module not in _KEPT or _KEPT[module][0] != how:
        _KEPT[module] = how, make(module)
    return _KEPT[module][1]  # type: ignore[return-value]
