"""Bytes counted against bytes known: what a kernel must move, and not one more."""

import pytest
import torch

from minidsk.kernels.attention import attention
from minidsk.kernels.cross_entropy import cross_entropy
from minidsk.kernels.launch import INTERPRETED, jit, tl
from minidsk.kernels.rmsnorm import rms_norm
from minidsk.kernels.softmax import LONGEST_ROW, softmax
from minidsk.kernels.traffic import traffic

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="counts in the interpreter only")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 50), (17, 64)])
def test_softmax_reads_once_and_writes_once(shape, dtype, normal):
    x = normal(*shape, dtype=dtype, grad=True)
    size = x.numel() * x.element_size()
    with traffic() as moved:
        y = softmax(x)
    assert (moved.read, moved.written, moved.bytes) == (size, size, 2 * size)
    with traffic() as moved:
        torch.autograd.grad(y, x, torch.ones_like(y))
    assert (moved.read, moved.written) == (2 * size, size)


def test_a_long_row_is_read_twice(normal):
    x = normal(1, LONGEST_ROW + 3)
    with traffic() as moved:
        softmax(x)
    assert (moved.read, moved.written) == (8 * x.numel(), 4 * x.numel())


def test_rms_norm_adds_next_to_nothing(normal):
    x, weight = normal(64, 48, dtype=torch.bfloat16, grad=True), normal(48, dtype=torch.bfloat16, grad=True)
    with traffic() as moved:
        y = rms_norm(x, weight)
    programs = -(-64 // (2048 // 64))  # each reads the weight
    assert (moved.read, moved.written) == (2 * x.numel() + programs * 2 * 48, 2 * x.numel() + 4 * 64)
    with traffic() as moved:
        torch.autograd.grad(y, (x, weight), torch.ones_like(y))
    assert moved.read == 2 * 2 * x.numel() + 4 * 64 + programs * 2 * 48
    assert moved.written == 2 * x.numel() + programs * 4 * 48  # dx, and each program's part of dw


def test_cross_entropy_reads_twice_and_writes_once(normal, device):
    logits, targets = normal(5, 700, grad=True), torch.zeros(5, dtype=torch.long, device=device)
    with traffic() as moved:
        cross_entropy(logits, targets)
    assert moved.read == 2 * 4 * logits.numel() + 5 * (8 + 4)  # each row's target, and the logit that it names
    assert moved.written == 4 * logits.numel() + 5 * 4


def test_causal_attention_skips_what_no_query_sees(normal):
    q = normal(1, 1, 64, 32)
    read = {}
    for causal in (True, False):
        with traffic() as moved:
            attention(q, q, q, causal=causal)
        read[causal] = moved.read
    row = 32 * 4
    assert read[False] == (64 + 2 * 2 * 64) * row  # queries once, keys and values for each of two blocks of queries
    assert read[True] == (64 + 2 * (32 + 64)) * row


def test_atomics_count_both_ways(device):
    @jit
    def add_one(x, BLOCK: tl.constexpr):
        tl.atomic_add(x + tl.arange(0, BLOCK), 1.0)

    x = torch.zeros(16, device=device)
    with traffic() as moved:
        add_one[(3,)](x, BLOCK=16)
    assert (x == 3).all()
    assert (moved.read, moved.written) == (3 * 64, 3 * 64)


def test_the_meter_stops_at_the_end(normal):
    x = normal(2, 16)
    with traffic() as first:
        softmax(x)
    with traffic() as second:
        softmax(x)
        softmax(x)
    softmax(x)
    assert (first.bytes, second.bytes) == (256, 512)
