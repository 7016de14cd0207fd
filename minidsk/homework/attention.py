"""Exercises of the chapter on latent attention.

DeepSeek-V2, section 2.1; RoPE: Su et al., 2021; YaRN: Peng et al., 2023.
"""

import math
from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def rotate(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """Turn each pair of neighbouring entries of `x` by its position (RoPE as DeepSeek-V3 is run by transformers).

    x [..., T, d], float, d even; positions [T], integer. The pairs are (x0, x1), (x2, x3), ...; pair i turns by the
    angle position * theta ** (-2 i / d). The output [..., T, d] holds the first members of all pairs, then the second.
    """
    return _rotate(x, positions, theta)


def _rotate(x: Tensor, positions: Tensor, theta: float, *, pairs: str = "neighbours", out: str = "halves",
            sign: float = 1.0, step: float = 2.0, start: int = 0) -> Tensor:  # fmt: skip
    d = x.shape[-1]
    frequency = theta ** (-step * torch.arange(d // 2, dtype=torch.float64) / d)
    angle = sign * (positions.double() + start)[:, None] * frequency
    a, b = (x[..., 0::2], x[..., 1::2]) if pairs == "neighbours" else x.chunk(2, -1)
    turned = (a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos())
    both = torch.cat(turned, -1) if out == "halves" else torch.stack(turned, -1).flatten(-2)
    return both.to(x.dtype)


def cache_bytes(
    kind: str, layers: int, heads: int, head_dim: int, groups: int, rank: int, rope_dim: int, bytes_each: int
) -> int:
    """The bytes that decoding keeps for each token.

    kind: "mha" (keys and values for all heads), "gqa" (for `groups` of heads), "mqa" (for one), or "mla" (one latent of
    `rank` numbers and one rotated key of `rope_dim`, shared by all heads). bytes_each: bytes of one number.
    """
    numbers = {
        "mha": 2 * heads * head_dim,
        "gqa": 2 * groups * head_dim,
        "mqa": 2 * head_dim,
        "mla": rank + rope_dim,
    }[kind]
    return layers * numbers * bytes_each


def absorb(q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, w_k: Tensor) -> Tensor:
    """MLA's attention scores without ever building the keys (DeepSeek-V2, section 2.1.2).

    q_nope [h, q, dn], q_rope [h, q, dr]: the queries of h heads; latent [k, r], k_rope [k, dr]: the cache; w_k
    [h, dn, r] turns a latent into a head's key: key = w_k @ latent. The score of a query and a key is the product of
    [q_nope | q_rope] with [key | k_rope], divided by the square root of their length. Returns scores [h, q, k], before
    the softmax, no mask.
    """
    return _absorb(q_nope, q_rope, latent, k_rope, w_k)


def _absorb(q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, w_k: Tensor, *,
            length: int | None = None, rope: bool = True) -> Tensor:  # fmt: skip
    into_latent = torch.einsum("hqd,hdr->hqr", q_nope.double(), w_k.double())
    scores = torch.einsum("hqr,kr->hqk", into_latent, latent.double())
    if rope:
        scores = scores + torch.einsum("hqd,kd->hqk", q_rope.double(), k_rope.double())
    return (scores / math.sqrt(length or q_nope.shape[-1] + q_rope.shape[-1])).to(q_nope.dtype)


def causal_mask(queries: int, keys: int) -> Tensor:
    """Which key each query may look at: truth values [queries, keys], True where it may.

    The queries are the last of the `keys` positions (the first ones lie in the cache); a query sees its own position
    and all before it.
    """
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


def yarn_inv_freq(dim: int, theta: float, factor: float, original: int, beta_fast: float, beta_slow: float) -> Tensor:
    """RoPE's frequencies [dim / 2], stretched to `factor` times the trained length `original` as YaRN does.

    Pair i turns by theta ** (-2 i / dim) per position. The pair that turns b times within `original` positions is
    number dim * ln(original / (2 pi b)) / (2 ln theta). With low = that of beta_fast, rounded down, and high = that of
    beta_slow, rounded up, both between 0 and dim - 1 (high at least low + 0.001), a ramp climbs from 0 at low to 1 at
    high: frequencies at ramp 0 stay, at ramp 1 they are divided by `factor`, between they are mixed in proportion.
    """
    return _yarn(dim, theta, factor, original, beta_fast, beta_slow)


def _yarn(dim: int, theta: float, factor: float, original: int, beta_fast: float, beta_slow: float, *,
          whole: bool = True, ramp_down: bool = False) -> Tensor:  # fmt: skip
    def pair(turns: float) -> float:
        return dim * math.log(original / (2 * math.pi * turns)) / (2 * math.log(theta))

    low, high = pair(beta_fast), pair(beta_slow)
    if whole:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    i = torch.arange(dim // 2, dtype=torch.float64)
    ramp = ((i - low) / max(high - low, 0.001)).clamp(0, 1)
    ramp = 1 - ramp if ramp_down else ramp
    frequency = theta ** (-2 * i / dim)
    return (frequency * (1 - ramp) + frequency / factor * ramp).float()


def _rotations() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(2)
    return [
        ("position 0, where nothing turns", (torch.randn(1, 4, generator=g), torch.tensor([0]), 10000.0)),
        ("five positions", (torch.randn(5, 6, generator=g), torch.arange(5), 10000.0)),
        ("batch and heads", (torch.randn(2, 3, 4, 8, generator=g), torch.arange(4), 100.0)),
        ("positions from 7 on, as after a cache", (torch.randn(2, 8, generator=g), torch.tensor([7, 8]), 10000.0)),
    ]


def _caches() -> list[tuple[str, tuple[Any, ...]]]:
    v3 = (61, 128, 128, 8, 512, 64, 2)
    small = (4, 8, 16, 2, 32, 8, 4)
    return [(f"{kind}, {who}", (kind, *sizes)) for who, sizes in (("a small model", small), ("V3's sizes", v3))
            for kind in ("mha", "gqa", "mqa", "mla")]  # fmt: skip


def _absorptions() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(6)

    def case(h: int, q: int, k: int, dn: int, dr: int, r: int) -> tuple[Any, ...]:
        shapes = (h, q, dn), (h, q, dr), (k, r), (k, dr), (h, dn, r)
        return tuple(torch.randn(*shape, generator=g) for shape in shapes)

    return [("one head, one query", case(1, 1, 3, 4, 2, 5)), ("four heads", case(4, 5, 5, 8, 4, 6))]


def _masks() -> list[tuple[str, tuple[Any, ...]]]:
    return [("4 queries, 4 keys", (4, 4)), ("1 query after 3 cached keys", (1, 4)), ("2 queries after 3 keys", (2, 5))]


def _yarns() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("V3's sizes", (64, 10000.0, 40.0, 4096, 32.0, 1.0)),
        ("a small model", (16, 1000.0, 4.0, 128, 8.0, 1.0)),
        ("a factor of 1, where nothing changes", (16, 10000.0, 1.0, 512, 32.0, 1.0)),
    ]


EXERCISES = (
    Exercise(
        "attention.rotate",
        rotate,
        _rotations,
        (
            Mistake("halves paired where neighbours belong", "Which entries form the first pair?",
                    lambda *a: _rotate(*a, pairs="halves")),
            Mistake("rotated the other way", "At position 1, theta 1: where does (1, 0) go?",
                    lambda *a: _rotate(*a, sign=-1)),
            Mistake("exponent i / d", "There are d / 2 pairs: how far does the exponent reach?",
                    lambda *a: _rotate(*a, step=1)),
            Mistake("output left interleaved", "In which order does the output hold the members of the pairs?",
                    lambda *a: _rotate(*a, out="pairs")),
            Mistake("positions count from 1", "What happens to x at position 0?", lambda *a: _rotate(*a, start=1)),
            Mistake("the given positions ignored", "With a cache, positions do not begin at 0.",
                    lambda x, p, t: _rotate(x, torch.arange(len(p)), t)),
        ),
        "Take d = 2, theta = 1 and position 1: one pair, turned by one radian.",
    ),
    Exercise(
        "attention.cache_bytes",
        cache_bytes,
        _caches,
        (
            Mistake("values forgotten", "Attention keeps keys, and what else?",
                    lambda kind, *a: cache_bytes(kind, *a) // (1 if kind == "mla" else 2)),
            Mistake("latent kept twice", "MLA's keys and values come from one latent.",
                    lambda kind, la, h, d, g, r, dr, b: cache_bytes(kind, la, h, d, g, 2 * r, dr, b)),
            Mistake("the rotated key kept for each head", "How many rotated keys does a token have in MLA?",
                    lambda kind, la, h, d, g, r, dr, b: cache_bytes(kind, la, h, d, g, r, h * dr, b)),
            Mistake("the rotated key forgotten", "What cannot be rebuilt from the latent?",
                    lambda kind, la, h, d, g, r, dr, b: cache_bytes(kind, la, h, d, g, r, 0, b)),
            Mistake("one layer only", "Each layer keeps its own.", lambda kind, la, *a: cache_bytes(kind, 1, *a)),
            Mistake("gqa and mqa swapped", "Which of the two keeps one key and one value for all heads?",
                    lambda kind, *a: cache_bytes({"gqa": "mqa", "mqa": "gqa"}.get(kind, kind), *a)),
            Mistake("numbers, not bytes", "How many bytes is one number?", lambda *a: cache_bytes(*(*a[:-1], 1))),
        ),
        "List what one layer keeps for one token, number by number.",
    ),
    Exercise(
        "attention.absorb",
        absorb,
        _absorptions,
        (
            Mistake("scaled by the latent's size", "Absorbing changes no score: whose length is under the root?",
                    lambda *a: _absorb(*a, length=a[2].shape[-1] + a[1].shape[-1])),
            Mistake("scaled by the unrotated part's length", "How long is a whole query, rotated part included?",
                    lambda *a: _absorb(*a, length=a[0].shape[-1])),
            Mistake("the rotated part left out", "Which part of the score still carries the positions?",
                    lambda *a: _absorb(*a, rope=False)),
            Mistake("no scale", "What are scores divided by?", lambda *a: _absorb(*a, length=1)),
        ),
        "Build the keys first, get the scores, then move w_k to the query's side; nothing may change.",
    ),
    Exercise(
        "attention.causal_mask",
        causal_mask,
        _masks,
        (
            Mistake("the cache forgotten", "At which position does the first query stand?",
                    lambda q, k: torch.ones(q, k, dtype=torch.bool).tril()),
            Mistake("a token hidden from itself", "May a query see its own position?",
                    lambda q, k: torch.ones(q, k, dtype=torch.bool).tril(k - q - 1)),
            Mistake("True where hidden", "True means: may look.", lambda q, k: ~causal_mask(q, k)),
        ),
        "Draw the rows for 2 queries after 3 cached keys.",
    ),
    Exercise(
        "attention.yarn_inv_freq",
        yarn_inv_freq,
        _yarns,
        (
            Mistake("every frequency divided", "Which pairs turn so fast that they need no stretching?",
                    lambda d, t, f, *a: (t ** (-2 * torch.arange(d // 2, dtype=torch.float64) / d) / f).float()),
            Mistake("the ramp upside down", "Fast pairs stay, slow pairs are stretched.",
                    lambda *a: _yarn(*a, ramp_down=True)),
            Mistake("the ends of the ramp not rounded", "low and high are whole numbers.",
                    lambda *a: _yarn(*a, whole=False)),
        ),
        "Print low and high for V3's sizes: 10 and 23.",
        tolerance=1e-6,
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
