"""Every kernel once, forward and backward, at sizes that no block divides: something for compute-sanitizer to watch.

    compute-sanitizer --tool memcheck --error-exitcode 1 python3 tools/sanitize_kernels.py [NAMES]

Without NAMES all of them. Each tensor is given memory of its own, so that reading past its end shows: torch would
otherwise cut tensors from large pieces, within which nobody sees it. compute-sanitizer comes with the CUDA toolkit, or
in the wheel nvidia-cuda-sanitizer-api.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

os.environ.setdefault("PYTORCH_NO_CUDA_MEMORY_CACHING", "1")  # read when torch is imported

import torch
from torch import Tensor

from minidsk.kernels import launch, ptx
from minidsk.kernels.attention import attention
from minidsk.kernels.cross_entropy import cross_entropy, linear_cross_entropy
from minidsk.kernels.experts import experts, gated
from minidsk.kernels.fp8 import dequantize, matmul_unscaled, quantize, scaled_matmul
from minidsk.kernels.fp8_linear import fp8_linear
from minidsk.kernels.grouped_gemm import grouped_matmul
from minidsk.kernels.rmsnorm import rms_norm
from minidsk.kernels.routing import combine, gather, sort_by_expert
from minidsk.kernels.softmax import LONGEST_ROW, softmax

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def random(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
    """Normal numbers whose gradient is asked for."""
    return torch.randn(shape, device=DEVICE, dtype=dtype).requires_grad_()


def pull(out: Tensor, *leaves: Tensor) -> None:
    """Run the backward pass, and see that every number is one."""
    for found in (out, *torch.autograd.grad(out.float().sum(), leaves)):
        assert found.isfinite().all()


def softmaxes() -> None:
    """Rows that fit into a program, and rows that do not."""
    for shape in ((37, 333), (2, LONGEST_ROW + 7)):
        x = random(*shape)
        pull(softmax(x), x)


def norms() -> None:
    """RMSNorm."""
    x, weight = random(37, 333), random(333)
    pull(rms_norm(x, weight), x, weight)


def losses() -> None:
    """With the head, in chunks of ten tokens, and on logits."""
    x, words, targets = random(37, 333), random(1001, 333), torch.randint(1001, (37,), device=DEVICE)
    pull(linear_cross_entropy(x, words, targets, chunk_bytes=10 * 2002), x, words)
    logits = random(37, 1001)
    pull(cross_entropy(logits, targets), logits)


def attentions() -> None:
    """Causal and not, values narrower than keys; the second widths are for Hopper's own kernel."""
    for causal in (True, False):
        for key, value in ((48, 24), (192, 100)):
            q, k, v = (random(1, 2, 77, width) for width in (key, key, value))
            pull(attention(q, k, v, causal), q, k, v)


def products() -> None:
    """Grouped products, an expert without rows among them; the second sizes are for Hopper's own kernel."""
    for out, width in ((29, 37), (520, 600)):
        x, weight = random(53, width), random(4, out, width)
        pull(grouped_matmul(x, weight, torch.tensor([20, 20, 52, 53], device=DEVICE, dtype=torch.int32)), x, weight)


def routings() -> None:
    """Sort, gather and combine; expert 2 is never chosen."""
    plan = sort_by_expert(choices(), 5)
    x, weights = random(53, 37), random(53, 3)
    pull(combine(gather(x, plan), weights, plan), x, weights)


def choices() -> Tensor:
    """Three experts of five for each of 53 tokens, never expert 2."""
    chances = torch.rand(53, 5, device=DEVICE)
    chances[:, 2] = -1
    return chances.topk(3).indices


def layers() -> None:
    """A layer of experts; its first product both ways."""
    leaves = random(53, 37), random(5, 46, 37), random(5, 37, 23), random(53, 3)
    x, gate_up, _, weights = (leaf.detach() for leaf in leaves)
    indices = choices()
    pull(experts(*leaves, indices), *leaves)
    for fetch in (True, False):
        assert all(part.isfinite().all() for part in gated(x, gate_up, weights, sort_by_expert(indices, 5), fetch))


def narrow() -> None:
    """FP8: quantised both ways, multiplied both ways, and a linear layer; 200 columns are for Hopper's own kernel."""
    x, weight = random(37, 333, dtype=torch.bfloat16), random(201, 333, dtype=torch.bfloat16)
    for block in ((1, 128), (128, 128)):
        for part in (weight.detach(), weight.detach()[:200]):
            codes = quantize(part, block)
            assert dequantize(*codes, block).isfinite().all()
            assert scaled_matmul(quantize(x.detach()), codes).isfinite().all()
    assert matmul_unscaled(quantize(x.detach())[0], codes[0], 128).isfinite().all()
    pull(fp8_linear(x, weight), x, weight)


def lines_of_ptx() -> None:
    """With and without PTX."""
    x = random(37, 336, dtype=torch.bfloat16).detach()
    for inline in (True, False):
        for y in (ptx.silu(x, inline), ptx.exp2(x, inline), ptx.to_bf16(x.float(), inline), ptx.copy(x, inline)):
            assert y.isfinite().all()


KERNELS: dict[str, Callable[[], None]] = {
    "softmax": softmaxes, "rmsnorm": norms, "cross_entropy": losses, "attention": attentions,
    "grouped_gemm": products, "routing": routings, "experts": layers, "fp8": narrow, "ptx": lines_of_ptx,
}  # fmt: skip


def main() -> None:
    """Run them one after the other."""
    probe = torch.empty(0, device=DEVICE, dtype=torch.float16)
    if not launch.can_run(probe):
        sys.exit(f"sanitize_kernels: {launch.why_not(probe)}")
    unknown = [name for name in sys.argv[1:] if name not in KERNELS]
    if unknown:
        sys.exit(f"sanitize_kernels: {unknown[0]!r} is not known; give some of {', '.join(KERNELS)}")
    for name in sys.argv[1:] or KERNELS:
        KERNELS[name]()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        print(name, "ran", flush=True)


if __name__ == "__main__":
    main()
