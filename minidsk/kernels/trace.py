"""Operations without Python: `torch.jit.trace` writes down which ones a function starts, and torch starts them by itself.

On a CPU a small model's step is mostly Python, which takes several times as long to ask for an operation of a few
numbers as the operation takes. This is the CPU's counterpart of a CUDA graph, and less strict: only which operations
follow each other is fixed, not where the tensors lie nor how large they are. It compiles nothing and needs no compiler.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import has_torch_function

AFTER = 32  # calls that run as written: to trace takes as long as what it saves in so many, and most models do fewer


class Trace:
    """`function`, of tensors to a tensor, without a gradient, which reads the weights of `module` and writes to nothing but its arguments.

    What Python decides in it must be the same in every call; shapes may differ. The weights are read anew in each call,
    wherever they then are.
    """

    def __init__(self, module: nn.Module, function: Callable[..., Tensor]) -> None:
        homes = [home for each in module.modules() for home in (each._parameters, each._buffers)]
        self._homes = [(home, name) for home in homes for name, tensor in home.items() if tensor is not None]
        self._function, self._calls, self._fails = function, 0, False
        self._traced: Callable[..., Tensor] | None = None

    def __call__(self, *tensors: Tensor) -> Tensor | None:
        """The result without Python, or None where the caller had better run the function as it is written: the first
        times, under autocast, where somebody listens to each operation, and, said once, where torch cannot."""
        if self._fails or has_torch_function(tensors) or torch.is_autocast_enabled(tensors[0].device.type):
            return None
        self._calls += 1
        if self._calls <= AFTER:
            return None
        weights = [home[name] for home, name in self._homes]
        try:
            if self._traced is None:
                self._traced = self._trace(tensors, weights)
            with torch.inference_mode():  # a fifth less: nothing is kept for a gradient
                result = self._traced(*tensors, *weights)
            return result.clone()  # a tensor as any other
        except Exception as error:  # whatever a version of torch raises that has no traces
            self._fails, self._traced = True, None
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(f"no trace here ({reason}): Python goes on starting each operation, slower", stacklevel=2)
            return None

    def _trace(self, tensors: tuple[Tensor, ...], weights: list[Tensor]) -> Callable[..., Tensor]:
        def function(*given: Any) -> Tensor:
            self._put(given[len(tensors) :])
            return self._function(*given[: len(tensors)])

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that traces are old, and that Python decides by shapes that stay
                return torch.jit.trace(function, (*tensors, *weights), check_trace=False)  # type: ignore[no-any-return]
        finally:
            self._put(weights)

    def _put(self, weights: Any) -> None:
        for (home, name), weight in zip(self._homes, weights, strict=True):
            home[name] = weight
