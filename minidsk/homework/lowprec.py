"""Exercises of the chapter on FP8: blocks with scales, sums in few bits, and what a format can say."""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake

LARGEST = 448.0


def quantize(x: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Give each block of `block` neighbouring numbers in a row its own scale, and round to E4M3 (V3, section 3.3).

    x [rows, columns], float32, where `block` divides the columns. A block's scale is its largest magnitude over 448, or
    1 where all its numbers are 0. Returns the codes as float32 [rows, columns], numbers that E4M3 can write
    (``.to(torch.float8_e4m3fn)``), and the scales [rows, columns / block].
    """
    return _quantize(x, block)


def _quantize(x: Tensor, block: int, largest: float = LARGEST, zero: float = 1.0, each: str = "block",
              signed: bool = False, backwards: bool = False) -> tuple[Tensor, Tensor]:  # fmt: skip
    parts = x.unflatten(1, (-1, block))
    top = parts.amax(-1) if signed else parts.abs().amax(-1)
    if each == "tensor":
        top = top.amax().expand_as(top)
    scales = torch.where(top > 0, top / largest, zero)
    codes = (parts * scales[..., None] if backwards else parts / scales[..., None]).flatten(1)
    return codes.to(torch.float8_e4m3fn).float(), scales


def promoted_sum(terms: Tensor, bits: int, every: int) -> Tensor:
    """Add up numbers in a narrow register that is emptied into a wide one every `every` terms (V3, section 3.3.2).

    terms [n], float32. The narrow register keeps `bits` bits of mantissa: after each addition, the sum is cut towards
    zero to a multiple of 2^(e - bits + 1), where 2^e is the largest power of two that is not above its magnitude. The
    wide register is float64. Both registers start with 0. After every `every` terms the narrow register is added to the
    wide one and set to 0; what is left in it at the end is added too. Returns a float64 scalar.
    """
    return _promoted(terms, bits, every)


def _promoted(terms: Tensor, bits: int, every: int, *, rest: bool = True, empty: bool = True,
              cut: bool = True, rounding: bool = False) -> Tensor:  # fmt: skip
    total = narrow = torch.zeros((), dtype=torch.float64)
    for i, term in enumerate(terms.double(), start=1):
        narrow = narrow + term
        if cut:
            step = torch.exp2(torch.floor(torch.log2(narrow.abs().clamp(min=1e-300))) - bits + 1)
            narrow = torch.round(narrow / step) * step if rounding else torch.trunc(narrow / step) * step
        if i % every == 0:
            total = total + narrow
            narrow = torch.zeros((), dtype=torch.float64) if empty else narrow
    return total + narrow if rest else total


def float_value(bits: int, exponent: int, mantissa: int, bias: int) -> float:
    """The number that a pattern of sign, exponent and mantissa stands for (no infinities, no NaN among the patterns).

    bits, an integer: the sign is its highest bit, then `exponent` bits, then `mantissa` bits. With exponent field e and
    mantissa field m the magnitude is (1 + m / 2^mantissa) 2^(e - bias), or m / 2^mantissa * 2^(1 - bias) where e is 0.
    """
    return _value(bits, exponent, mantissa, bias)


def _value(bits: int, exponent: int, mantissa: int, bias: int, *, small: bool = True, one: float = 1.0) -> float:
    m, e = bits & (1 << mantissa) - 1, bits >> mantissa & (1 << exponent) - 1
    sign = -1.0 if bits >> (exponent + mantissa) else 1.0
    if e == 0 and small:
        return sign * m / 2**mantissa * 2.0 ** (one - bias)
    return sign * (1 + m / 2**mantissa) * 2.0 ** (e - bias)


def _matrices() -> list[tuple[str, tuple[Tensor, int]]]:
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(3, 16, generator=generator)
    outlier = x.clone()
    outlier[0, 3] = 5000.0
    negative = x.clone()
    negative[:, 2] = -30.0
    zeros = x.clone()
    zeros[1, :8] = 0
    return [("normal numbers", (x, 8)), ("one outlier", (outlier, 4)), ("a large negative number", (negative, 8)),
            ("a block of zeros", (zeros, 8))]  # fmt: skip


def _sums() -> list[tuple[str, tuple[Tensor, int, int]]]:
    generator = torch.Generator().manual_seed(12)
    return [
        ("32 ones into 4 bits", (torch.ones(32), 4, 8)),
        ("a rest that does not fill up", (torch.ones(11), 4, 4)),
        ("positive numbers", (torch.rand(100, generator=generator), 8, 16)),
        ("both signs", (torch.randn(60, generator=generator), 6, 20)),
    ]


def _patterns() -> list[tuple[str, tuple[int, int, int, int]]]:
    return [
        ("E4M3's one", (0b0_0111_000, 4, 3, 7)),
        ("its largest", (0b0_1111_110, 4, 3, 7)),
        ("its smallest", (0b0_0000_001, 4, 3, 7)),
        ("a negative number of E5M2", (0b1_10000_10, 5, 2, 15)),
    ]


EXERCISES = (
    Exercise(
        "lowprec.quantize",
        quantize,
        _matrices,
        (
            Mistake("one scale for the whole tensor", "Does an outlier in one block reach the others?",
                    lambda x, b: _quantize(x, b, each="tensor")),
            Mistake("the largest number where the largest magnitude belongs", "What if the outlier is negative?",
                    lambda x, b: _quantize(x, b, signed=True)),
            Mistake("the largest number of E5M2", "E4M3 goes up to 448.",
                    lambda x, b: _quantize(x, b, largest=57344.0)),
            Mistake("a scale of 0 for a block of zeros", "0 divided by 0 is not 0.",
                    lambda x, b: _quantize(x, b, zero=0.0)),
            Mistake("multiplied by the scale", "code * scale should give x back.",
                    lambda x, b: _quantize(x, b, backwards=True)),
        ),
        "Take one block by hand: its largest magnitude must become 448.",
    ),
    Exercise(
        "lowprec.promoted_sum",
        promoted_sum,
        _sums,
        (
            Mistake("the rest never added", "11 terms, every 4: where do the last three go?",
                    lambda t, b, e: _promoted(t, b, e, rest=False)),
            Mistake("the narrow register not emptied", "After a promotion, what is in it?",
                    lambda t, b, e: _promoted(t, b, e, empty=False)),
            Mistake("nothing is ever cut", "4 bits cannot hold 17.",
                    lambda t, b, e: _promoted(t, b, e, cut=False)),
            Mistake("rounded where it is cut", "Towards zero, not to the nearest.",
                    lambda t, b, e: _promoted(t, b, e, rounding=True)),
        ),
        "Add ones into a register of 4 bits: at which number does it stop growing?",
    ),
    Exercise(
        "lowprec.float_value",
        float_value,
        _patterns,
        (
            Mistake("the smallest numbers treated like others", "With an exponent field of 0 there is no leading 1.",
                    lambda *a: _value(*a, small=False)),
            Mistake("the exponent of the smallest numbers", "It is 1 - bias, the same as for the field 1.",
                    lambda *a: _value(*a, one=0.0)),
            Mistake("the sign left out", "What does the highest bit say?", lambda *a: abs(_value(*a))),
        ),
        "Cut the pattern into three fields with >> and &.",
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
