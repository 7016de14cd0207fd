"""Every kernel once, forward and backward, at sizes that no block divides: something for compute-sanitizer to watch.

    compute-sanitizer --tool memcheck --error-exitcode 1 python3 tools/sanitize_kernels.py
"""

from __future__ import annotations

import sys

import torch

from minidsk.kernels import launch
from minidsk.kernels.attention import attention
from minidsk.kernels.cross_entropy import linear_cross_entropy
from minidsk.kernels.rmsnorm import rms_norm
from minidsk.kernels.softmax import LONGEST_ROW, softmax


def pull(out: torch.Tensor, *leaves: torch.Tensor) -> None:
    """Run the backward pass, and see that every number is one."""
    for found in (out, *torch.autograd.grad(out.float().sum(), leaves)):
        assert found.isfinite().all()


def main() -> None:
    """Run them one after the other."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(37, 333, device=device, dtype=torch.float16).requires_grad_()
    if not launch.can_run(x):
        sys.exit(f"sanitize_kernels: {launch.why_not(x)}")
    pull(softmax(x), x)
    long = torch.randn(2, LONGEST_ROW + 7, device=device, dtype=torch.float16).requires_grad_()
    pull(softmax(long), long)
    weight = torch.randn(333, device=device, dtype=torch.float16).requires_grad_()
    pull(rms_norm(x, weight), x, weight)
    words = torch.randn(1001, 333, device=device, dtype=torch.float16).requires_grad_()
    targets = torch.randint(1001, (37,), device=device)
    pull(linear_cross_entropy(x, words, targets, chunk_bytes=10 * 2002), x, words)
    q, k, v = (torch.randn(1, 2, 77, width, device=device, dtype=torch.float16) for width in (48, 48, 24))
    pull(attention(q.requires_grad_(), k.requires_grad_(), v.requires_grad_()), q, k, v)
    if device.type == "cuda":
        torch.cuda.synchronize()
    print("softmax, RMSNorm, cross-entropy, attention: ran")


if __name__ == "__main__":
    main()
