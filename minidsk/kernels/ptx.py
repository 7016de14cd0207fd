"""Lines of PTX inside Triton kernels, each beside the plain version that it replaces.

PTX is what NVIDIA's own compiler writes for its assembler: instructions for a machine with any number of registers.
`tl.inline_asm_elementwise` puts a line of it into a kernel. It is needed seldom: where the language has no word for an
instruction of the chip. Inline PTX exists on NVIDIA's GPUs alone; elsewhere, and in the interpreter, the plain version
runs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.kernels.launch import INTERPRETED, can_run, cdiv, jit, tl

# One instruction where exp, an addition and a division stood: sigmoid(x) = (1 + tanh(x / 2)) / 2.
TANH = "tanh.approx.f32 $0, $1;"
# Two exponentials at a time, of two bf16 that share a register.
EXP2_PAIR = "ex2.approx.ftz.bf16x2 $0, $1;"
# Two float32 become two bf16 in one register. The compiler does this by itself: the plain version has the same line.
TO_BF16_PAIR = "cvt.rn.bf16x2.f32 $0, $2, $1;"
# 16 bytes that will not be read again: not into L1, and 256 bytes into L2 at once.
LOAD_ONCE = "ld.global.L1::no_allocate.L2::256B.v4.b32 {$0, $1, $2, $3}, [$4];"

def runs_ptx(x: Tensor) -> bool:
    """Whether inline PTX can run where `x` is: on a GPU of compute capability 9.0 (for bf16 pairs), not interpreted."""
    return x.is_cuda and not INTERPRETED and can_run(x) and torch.cuda.get_device_capability(x.device) >= (9, 0)


def silu(x: Tensor, inline: bool = True, times: int = 1) -> Tensor:
    """``x * sigmoid(x)``, `times` times over; `inline`: the sigmoid by way of `tanh.approx`."""
    return _mapped(x, "silu", TANH if inline else "", times)


def exp2(x: Tensor, inline: bool = True, times: int = 1) -> Tensor:
    """``2 ** x``, of ``-2 ** x`` and so on where `times` is larger; `inline`: two bf16 by one instruction."""
    return _mapped(x, "exp2", EXP2_PAIR if inline else "", times)


def to_bf16(x: Tensor, inline: bool = True) -> Tensor:
    """`x` float32 rounded to bf16; `inline`: two by one instruction."""
    return _mapped(x, "to_bf16", TO_BF16_PAIR if inline else "", 1)


def copy(x: Tensor, inline: bool = True) -> Tensor:
    """A copy of `x`, whose bytes must be a multiple of 16; `inline`: loads that pass L1 by."""
    if x.numel() * x.element_size() % 16:
        raise ValueError(f"x: {x.numel() * x.element_size()} bytes do not fit; they must be a multiple of 16")
    if not runs_ptx(x):
        return x.clone()
    words = x.contiguous().view(-1).view(torch.int32)
    y = torch.empty_like(words)
    _copy[(cdiv(len(words), 8192),)](words, y, len(words) // 4, LINE=LOAD_ONCE if inline else "", BLOCK=2048)
    return y.view(x.dtype).view(x.shape)


def reference(x: Tensor, name: str, times: int = 1) -> Tensor:
    """What the kernels compute, by torch."""
    if name == "to_bf16":
        return x.bfloat16()
    y = x.float()
    for i in range(times):
        y = torch.nn.functional.silu(y) if name == "silu" else torch.exp2(-y if i else y)
    return y.to(x.dtype)


def _mapped(x: Tensor, name: str, line: str, times: int) -> Tensor:
    if not x.numel() or not can_run(x):
        return reference(x, name, times)
    x = x.contiguous()
    y = torch.empty_like(x, dtype=torch.bfloat16 if name == "to_bf16" else x.dtype)
    line = line if runs_ptx(x) else ""
    _map[(cdiv(x.numel(), 2048),)](x, y, x.numel(), NAME=name, LINE=line, TIMES=times, BLOCK=2048)
    return y


@jit
def _map(x, y, size, NAME: tl.constexpr, LINE: tl.constexpr, TIMES: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + place, mask=place < size, other=0.0).to(tl.float32)
    if NAME == "to_bf16":
        if LINE != "":
            value = tl.inline_asm_elementwise(LINE, "=r,r,r", [value], tl.bfloat16, True, 2)
    elif NAME == "silu":
        for _ in tl.static_range(TIMES):
            if LINE != "":
                half = 0.5 * value
                tanh = tl.inline_asm_elementwise(LINE, "=r,r", [half], tl.float32, True, 1)
                value = half * tanh + half
            else:
                value = value * tl.sigmoid(value)
    else:
        if LINE != "":
            pair = value.to(tl.bfloat16)
            for i in tl.static_range(TIMES):
                if i > 0:
                    pair = -pair
                pair = tl.inline_asm_elementwise(LINE, "=r,r", [pair], tl.bfloat16, True, 2)
            value = pair.to(tl.float32)
        else:
            for i in tl.static_range(TIMES):
                value = tl.exp2(-value if i > 0 else value)
    tl.store(y + place, value.to(y.dtype.element_ty), mask=place < size)


@jit
def _copy(x, y, quads, LINE: tl.constexpr, BLOCK: tl.constexpr):
    quad = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    if LINE != "":
        quad = tl.minimum(quad, quads - 1)  # a line of PTX has no mask: the last quad is copied more than once
        a, b, c, d = tl.inline_asm_elementwise(
            LINE, "=r,=r,=r,=r,l", [x + quad * 4], (tl.int32, tl.int32, tl.int32, tl.int32), False, 1
        )
        word = tl.join(tl.join(a, c), tl.join(b, d)).reshape(BLOCK, 4)
        tl.store(y + quad[:, None] * 4 + tl.arange(0, 4)[None, :], word)
    else:
        word = quad[:, None] * 4 + tl.arange(0, 4)[None, :]
        tl.store(y + word, tl.load(x + word, mask=word < quads * 4), mask=word < quads * 4)
