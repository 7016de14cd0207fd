"""How likely it is that one of k tries is right: the unbiased estimate of Chen et al. (2021, arXiv:2107.03374)."""

from __future__ import annotations

from math import prod


def pass_at_k(tries: int, right: int, k: int) -> float:
    """The share of all sets of `k` out of `tries` replies to a problem in which at least one of the `right` ones is.

    1 - C(tries - right, k) / C(tries, k), equation 1 of the paper, as a product: the binomials of 256 tries are beyond
    what a float holds. Raises `ValueError` unless 0 <= right <= tries and 1 <= k <= tries.
    """
    if not 0 <= right <= tries:
        raise ValueError(f"right: {right} does not fit; it must be from 0 to the {tries} tries")
    if not 1 <= k <= tries:
        raise ValueError(f"k: {k} does not fit; it must be from 1 to the {tries} tries")
    if right > tries - k:  # too few wrong ones to fill a set
        return 1.0
    return 1 - prod(1 - k / n for n in range(tries - right + 1, tries + 1))


def powers_of_two(tries: int) -> list[int]:
    """The k for which a curve of pass@k is drawn: 1, 2, 4, ... as far as the tries go."""
    return [2**i for i in range(tries.bit_length())]
