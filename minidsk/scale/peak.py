"""The memory that tensors take on a CPU, seen operation by operation: a GPU counts it itself."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Peak(TorchDispatchMode):
    """Within, `most` becomes the largest number of bytes that tensors made within held at once, gradients among them.

    What an operation takes and gives back itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._held: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation, and see what it made."""
        result = func(*args, **(kwargs or {}))
        given = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for x in tree_leaves(result):
            if isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in given:
                self._hold(x.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if size and place not in self._held:
            self._held.add(place)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._release, place, size)

    def _release(self, place: int, size: int) -> None:
        self._held.discard(place)
        self.now -= size
