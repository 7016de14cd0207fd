"""A meter for bytes: what a kernel asks of the GPU's memory, counted in Triton's interpreter, without a GPU.

A byte that is asked for twice counts twice; on a GPU a cache may serve the second time. Numbers in registers cost
nothing and count nothing, which is the point of fusing.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from minidsk.kernels.launch import INTERPRETED


@dataclass
class Traffic:
    """Bytes that kernels have read and written so far. What torch itself does is not seen."""

    read: int = 0
    written: int = 0

    @property
    def bytes(self) -> int:
        """Read and written together."""
        return self.read + self.written


@contextlib.contextmanager
def traffic() -> Iterator[Traffic]:
    """Count the loads and stores of all kernels that are launched inside. Raises `RuntimeError` on a GPU, where loads
    cannot be watched."""
    if not INTERPRETED:
        raise RuntimeError("traffic: kernels do not run in the interpreter here; set TRITON_INTERPRET=1 before triton "
                           "is imported")  # fmt: skip
    builder, found = importlib.import_module("triton.runtime.interpreter").interpreter_builder, Traffic()
    load, store, update = builder.create_masked_load, builder.create_masked_store, builder.create_atomic_rmw

    def size(pointers: Any, mask: Any) -> int:
        return np.count_nonzero(mask.data) * pointers.get_element_ty().primitive_bitwidth // 8

    def counted_load(pointers: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        found.read += size(pointers, mask)
        return load(pointers, mask, *rest, **named)

    def counted_store(pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        found.written += size(pointers, mask)
        return store(pointers, value, mask, *rest, **named)

    def counted_update(operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        found.read += size(pointers, mask)
        found.written += size(pointers, mask)
        return update(operation, pointers, value, mask, *rest)

    with mock.patch.multiple(builder, create_masked_load=counted_load, create_masked_store=counted_store,
                             create_atomic_rmw=counted_update):  # fmt: skip
        yield found
