"""Chance with an address: the noise of a token depends on a seed, on whose token it is, and on its place in the reply.

A generator that rows share deals its numbers out in the order of asking, and rows that wait, move or end early ask in
another order: then a reply depends on who else is in the batch. Here nothing is dealt out. As in the counter-based
generators of Salmon et al. ("Parallel random numbers: as easy as 1, 2, 3", SC 2011), a number is a hash of its address.
A few whole-number products make it: the same on every device, in batches of any size, and within a CUDA graph.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Odd numbers without a pattern: of the square roots of 2, 3, 5, 7 and 11 the first 64 bits after the point, the last of
# them a 1, read as int64. Who goes replies, places and entries in steps of such lengths does not come by a place twice.
REPLY, PLACE, ENTRY = 0x6A09E667F3BCC909, -0x4498517A7B3558C5, 0x3C6EF372FE94F82B
FIRST, SECOND = -0x5AB00AC5A0E2C90F, 0x510E527FADE682D1
NEGATIVE = -(2**63)  # with `|`: sets the sign
UNIT = 2.0**-63 * (1 - 2.0**-24)  # the largest number stays below 1 after float32 has rounded it


def scrambled(x: Tensor) -> Tensor:
    """A hash of each int64 number, same shape, whose upper bits all depend on all of `x`. Products wrap around.

    A product carries each bit up to all above it; a fold, `^` with what is shifted down, brings what gathered there
    down again. `>>` repeats the sign, so that a fold keeps 63 of 64 bits, which are enough.
    """
    x = (x ^ (x >> 32)) * FIRST
    return (x ^ (x >> 29)) * SECOND


def streams(generator: torch.Generator | None, replies: int, device: torch.device) -> Tensor:
    """Where the noise of each reply begins, int64 ``[replies]``; `generator` moves on by one number.

    It may live on another device: a seed then means the same replies on all.
    """
    where = device if generator is None else generator.device
    seed = torch.empty(1, dtype=torch.long, device=where).random_(generator=generator).to(device)
    return seed + REPLY * torch.arange(replies, device=device)


def log_uniform(hashed: Tensor) -> Tensor:
    """Hashes as the logarithms of uniform numbers between 0 and 1 (without either), float32, same shape.

    Minus a uniform number, as fine near 0 as float32 has it, comes first; log1p is then as fine near log 1.
    """
    return torch.log1p((hashed | NEGATIVE).float() * UNIT)


class Noise:
    """Noise for the next token of each row. `streams` ``[rows]``: where each row is; a row that moves takes it along.

    A place has so many `entries`, one for each token as a rule. All of it has a fixed shape and stays on the device, as
    a recording needs it.
    """

    def __init__(self, streams: Tensor, entries: int) -> None:
        self.streams = streams.clone()
        self.entries = ENTRY * torch.arange(entries, device=streams.device)

    def at(self, places: Tensor) -> Tensor:
        """Logarithms of uniform numbers for these places ``[rows, n]``, counted from where each row is, which stays:
        ``[rows, n, entries]``."""
        return log_uniform(scrambled((self.streams.unsqueeze(1) + PLACE * places).unsqueeze(-1) + self.entries))

    def next(self) -> Tensor:
        """Logarithms of uniform numbers, as `log_uniform` has them, ``[rows, entries]``."""
        hashed = scrambled(self.streams.unsqueeze(1) + self.entries)
        self.streams += PLACE
        return log_uniform(hashed)
