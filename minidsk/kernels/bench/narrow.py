"""Eight-bit floats: quantising, and blockwise products beside bf16; lines of PTX beside what they replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from minidsk.kernels import ptx
from minidsk.kernels.bench.case import Case, relative_error
from minidsk.kernels.bench.rowwise import rows_of
from minidsk.kernels.fp8 import BLOCKS, dequantize, quantize, quantize_reference, scaled_matmul


def fp8_cases(device: torch.device, small: bool) -> Iterator[Case]:
    """Quantising activations and weights, and the products of a linear layer at 8192^3."""
    side = 40 if small else 8192
    for block in ((1, 128), (128, 128)):
        yield quantize_case(device, side, block)
    for high in (128, 1):
        yield product_case(device, side, high)
    yield against_fp8_case(device, side)


def quantize_case(device: torch.device, side: int, block: tuple[int, int]) -> Case:
    """From bf16 to codes and scales: three bytes for each number."""
    x = rows_of(side, side, device)
    ways: dict[str, Callable[..., object]] = {
        "ours": quantize, "eager": quantize_reference}  # fmt: skip
    calls = {name: lambda way=way: way(x, block) for name, way in ways.items()}
    return Case(f"quantise, blocks of {block[0]} x {block[1]}", f"bf16 {side}x{side}", calls.pop("ours"), calls,
                bytes=3 * x.numel(), flops=3 * x.numel(), against_copy=0.9,
                error=lambda: relative_error(dequantize(*quantize(x, block), block), x))  # fmt: skip


def product_case(device: torch.device, side: int, high: int) -> Case:
    """The product of quantised matrices beside that of the bf16 matrices; with 1 x 128 on both sides, as in dW."""
    a, b = rows_of(side, side, device), rows_of(side, side, device, seed=1)
    narrow = quantize(a), quantize(b, (high, 128))
    part = slice(0, 512)

    def quantisation_error() -> float:
        exact = a[part].float() @ b[part].float().T
        back = dequantize(narrow[0][0][part], narrow[0][1][part]), dequantize(*narrow[1], (high, 128))[part]
        return relative_error(back[0] @ back[1].T, exact)

    return Case(
        f"FP8 product, blocks of 1 x 128 and {high} x 128", f"{side}^3", lambda: scaled_matmul(*narrow),
        {"bf16 torch.matmul": lambda: a @ b.T,
         "ours, in Triton alone": lambda: scaled_matmul(*narrow, blocks=None if side < 1024 else BLOCKS)},
        bytes=2 * side**2 + 2 * side**2, flops=2 * side**3,
        target=1.4 if high == 128 else 1.0, rounds=3 if side < 1024 else 30,
        notes={"quantisation_error": quantisation_error()},
        error=lambda: relative_error(scaled_matmul(*narrow)[part, part], a[part].float() @ b[part].float().T),
    )  # fmt: skip


def against_fp8_case(device: torch.device, side: int) -> Case:
    """Beside what torch has for FP8: one scale for a tensor, a scale for a row, and blocks where it has them."""
    a, b = (rows_of(side, side, device, seed=seed) for seed in (0, 1))
    narrow = quantize(a), quantize(b, (128, 128))
    one = torch.ones((), device=device)
    rows, columns = torch.ones(side, 1, device=device), torch.ones(1, side, device=device)

    def torch_s(left: Tensor, right: Tensor, fast: bool) -> object:
        return torch._scaled_mm(narrow[0][0], narrow[1][0].T, left, right, out_dtype=torch.bfloat16,
                                use_fast_accum=fast)  # fmt: skip

    scales = narrow[0][1], narrow[1][1].T
    return Case(
        "FP8 product, against torch's own", f"{side}^3", lambda: scaled_matmul(*narrow),
        {"torch, one scale, sums in the tensor cores": lambda: torch_s(one, one, True),
         "torch, one scale, promoted sums": lambda: torch_s(one, one, False),
         "torch, a scale for each row, promoted sums": lambda: torch_s(rows, columns, False),
         "torch, blocks": lambda: torch_s(*scales, False)},
        bytes=4 * side**2, flops=2 * side**3, rounds=3 if side < 1024 else 30,
    )  # fmt: skip


def ptx_cases(device: torch.device, small: bool) -> Iterator[Case]:
    """Lines of PTX beside plain versions: once, where memory decides, and 32 times over, where arithmetic does."""
    x = rows_of(*((1, 64) if small else (16384, 4096)), device)
    for times in (1, 32):
        yield ptx_case("silu", x, times, ptx.silu, torch.nn.functional.silu)
        yield ptx_case("exp2", x, times, ptx.exp2, torch.exp2)
    wide = x.float()
    size = f"{x.shape[0]}x{x.shape[1]}"
    yield Case("float32 to bf16", size, lambda: ptx.to_bf16(wide), {"without PTX": lambda: ptx.to_bf16(wide, False)},
               bytes=6 * x.numel(), flops=x.numel())  # fmt: skip
    yield Case("copy, read once", f"bf16 {size}", lambda: ptx.copy(x),
               {"without PTX": lambda: ptx.copy(x, False), "torch": x.clone}, bytes=4 * x.numel(), flops=0)  # fmt: skip


def ptx_case(
    name: str, x: Tensor, times: int, ours: Callable[..., Tensor], exact: Callable[[Tensor], Tensor]
) -> Case:
    """A function applied `times` times over, with and without its line of PTX."""
    return Case(
        f"{name}, {'once' if times == 1 else f'{times} times over'}", f"bf16 {x.shape[0]}x{x.shape[1]}",
        lambda: ours(x, True, times), {"without PTX": lambda: ours(x, False, times)},
        bytes=4 * x.numel(), flops=4 * times * x.numel(), rounds=3 if x.numel() < 10_000 else 30,
        error=lambda: relative_error(ours(x), exact(x.double())),
        notes={"error_without": relative_error(ours(x, False), exact(x.double()))},
    )  # fmt: skip
