"""Products that do not depend on the number of rows: what lets a sampler and a trainer agree bit for bit.

A library multiplies 4 rows and 4,000 by different programs, which add in different orders; so what a token's
probability was when it was drawn, among a few rows, is not what training computes for it among many. The cure of
Thinking Machines ("Defeating nondeterminism in LLM inference", 2025) is one order for all: here every product is cut
into tiles of the same shape, so that each goes through the same program, as does a row at any place of a tile. Curves
such as the sigmoid are computed in whole turns of the loop, since what is left over at a tensor's end goes through
another program too. All else treats each row by itself anyway. What is seen in attention has to be of one width as
well, and attention in one form: both are the caller's part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

TILE = 24  # rows: programs that take 4, 6, 8 or 12 at a time leave none over, for which they would add otherwise
VECTOR = 64  # numbers; a multiple of what one turn of a loop computes
CURVES = (torch.sigmoid, F.silu, torch.cos, torch.sin, torch.rsqrt)
PER_HEAD = {"bhtd,hdr->bhtr": False, "bhtr,hvr->bhtv": True}  # what attention asks of einsum; whether w is transposed


class Exact(TorchFunctionMode):
    """Within, products forward are made tile by tile, with one thread; the gradient's own are made as ever.

    Raises `NotImplementedError` for attention that does not `absorb`, whose order of adding is not known.
    """

    def __enter__(self) -> Exact:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)  # threads share out a product by its size
        return super().__enter__()

    def __exit__(self, *why: object) -> None:
        torch.set_num_threads(self._threads)
        super().__exit__(*why)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See `torch.overrides`."""
        if function is F.linear:
            return _linear(*args, **(kwargs or {}))
        if function in (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__):
            a, b = args
            return _Product.apply(a, b) if a.ndim == b.ndim == 3 else _linear(a, b.T)
        if function is torch.einsum:
            equation, x, w = args
            w = w.transpose(1, 2) if PER_HEAD[equation] else w
            rows = _Product.apply(x.transpose(0, 1).flatten(1, 2), w)
            return rows.unflatten(1, (x.shape[0], x.shape[2])).transpose(0, 1)
        if function in CURVES:
            (x,) = args
            return function(F.pad(x.flatten(), (0, -x.numel() % VECTOR)))[: x.numel()].view(x.shape)
        if function is F.scaled_dot_product_attention:
            raise NotImplementedError("attention: only the absorbed form is exact; set absorb on its layers")
        return function(*args, **(kwargs or {}))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    y = _Product.apply(x.reshape(1, -1, x.shape[-1]), weight.T[None]).view(*x.shape[:-1], len(weight))
    return y if bias is None else y + bias


class _Product(torch.autograd.Function):
    """``a @ b`` of ``[G, M, K]`` and ``[G, K, N]``, as products of ``[TILE, K]`` and ``[K, N]``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        rows = a.shape[1]
        tiles = F.pad(a, (0, 0, 0, -rows % TILE)).unflatten(1, (-1, TILE))
        if tiles.shape[1] == 1:
            y = torch.bmm(tiles[:, 0], b)
        else:
            each = zip(tiles, b, strict=True)
            y = torch.stack([torch.bmm(some, one.expand(len(some), -1, -1)) for some, one in each])
        return y.view(len(a), -1, b.shape[2])[:, :rows]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        a, b = ctx.saved_tensors
        (grad,) = grads
        return grad @ b.transpose(1, 2), a.transpose(1, 2) @ grad
