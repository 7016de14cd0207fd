"""Noise by its address: as good as a generator's along every axis, the same however it is asked for, and cheap."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minidsk.infer.noise import ENTRY, PLACE, REPLY, UNIT, Noise, log_uniform, scrambled, streams
from minidsk.infer.sampling import Sampling

CPU = torch.device("cpu")


def begins(replies, seed=0):
    return streams(torch.Generator().manual_seed(seed), replies, CPU)


def uniform(streams, vocab):
    """Numbers in (0, 1), float64 ``[*streams.shape, vocab]``."""
    return Noise(streams.flatten(), vocab).next().double().exp().unflatten(0, streams.shape)


@pytest.fixture(scope="module")
def cube():
    """[replies, places, entries] of one seed."""
    return uniform(begins(128)[:, None] + PLACE * torch.arange(128), 128)


@pytest.fixture(scope="module")
def of_seeds():
    """[seeds, replies, entries]: seeds 0 to 4,095 as they stand, as no generator would give them."""
    return uniform(torch.arange(4096)[:, None] + REPLY * torch.arange(32), 16)


def excess(counts, expected):
    """By how many deviations chi-square is beyond its mean; a fair one stays below 4 but once in some ten thousand."""
    freedom = counts.numel() - 1
    return float((((counts - expected).square() / expected).sum() - freedom) / math.sqrt(2 * freedom))


def bins(x, n):
    return (x * n).long().clamp(max=n - 1).flatten()


def test_numbers_are_uniform(cube, of_seeds):
    for x in (cube, of_seeds):
        for n in (7, 256, 4096):
            assert abs(excess(bins(x, n).bincount(minlength=n), x.numel() / n)) < 4


@pytest.mark.parametrize("kept", [0, 1, 2], ids=["reply", "place", "entry"])
def test_each_line_of_numbers_is_uniform(cube, of_seeds, kept):
    """All numbers with the same reply, place or entry: chi-squares of 16 bins, whose sum is one too."""
    for x in (cube, of_seeds):
        lines = x.movedim(kept, 0).flatten(1)
        counts = torch.stack([bins(line, 16).bincount(minlength=16) for line in lines])
        expected = lines.shape[1] / 16
        freedom = 15 * len(lines)
        value = ((counts - expected).square() / expected).sum()
        assert abs(value - freedom) < 4 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("lag", [1, 2, 3, 16, 64])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_neighbours_know_nothing_of_each_other(cube, axes, lag):
    """Pairs in 32 x 32 bins, and their correlation; diagonals too, one forward and the other back."""
    a, b = cube, cube
    for place, axis in enumerate(axes):
        early, late = (x.narrow(axis, start, 128 - lag) for x, start in ((a, 0), (b, lag)))
        if place:
            early, late = a.narrow(axis, lag, 128 - lag), b.narrow(axis, 0, 128 - lag)
        a, b = early, late
    counts = (bins(a, 32) * 32 + bins(b, 32)).bincount(minlength=1024)
    assert abs(excess(counts, a.numel() / 1024)) < 4
    correlation = torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1]
    assert abs(correlation) * math.sqrt(a.numel()) < 4


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nor_do_neighbouring_seeds(of_seeds, axis):
    a, b = of_seeds.narrow(axis, 1, of_seeds.shape[axis] - 1), of_seeds.narrow(axis, 0, of_seeds.shape[axis] - 1)
    counts = (bins(a, 32) * 32 + bins(b, 32)).bincount(minlength=1024)
    assert abs(excess(counts, a.numel() / 1024)) < 4


def test_each_bit_of_an_address_turns_half_of_the_hash():
    """The 24 bits of which a float32 is made, for each of the 63 that are folded in; 20,000 neighbouring counters."""
    at = torch.arange(20_000) * ENTRY
    for bit in range(63):
        turned = scrambled(at) ^ scrambled(at ^ (1 << bit))
        shares = torch.stack([(turned >> k & 1).double().mean() for k in range(39, 63)])
        assert (shares - 0.5).abs().max() < 5 * 0.5 / math.sqrt(20_000)


def test_no_two_addresses_have_one_hash():
    places = begins(256)[:, None] + PLACE * torch.arange(64)
    counters = (places.unsqueeze(-1) + ENTRY * torch.arange(64)).flatten()
    assert len(counters.unique()) == len(scrambled(counters).unique()) == 2**20


def test_no_number_is_0_or_1():
    """Whatever the hash is: the logarithm is finite and below 0, and fine where it is near 0."""
    ends = torch.tensor([0, 1, -1, 2**62, 2**63 - 1, 2**63 - 2, -(2**63), 1 - 2**63])
    found = log_uniform(ends)
    assert found.isfinite().all()
    assert (found < 0).all()
    assert found.max() == -UNIT
    assert found.min() < -16.6
    some = torch.randint(-(2**62), 2**62, (1000,), generator=torch.Generator().manual_seed(0))
    exact = torch.log1p((some | -(2**63)).double() * 2.0**-63)
    fine = exact > -1
    torch.testing.assert_close(log_uniform(some)[fine].double(), exact[fine], rtol=1e-6, atol=0)


@pytest.mark.parametrize("axis", ["replies", "places", "seeds"])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.6), Sampling(1.0, 3), Sampling(2.0, 0, 0.8)])
def test_draws_follow_the_probabilities(axis, sampling):
    n, logprobs = 40_000, torch.tensor([2.0, 0.0, -1.0, 1.0, 0.5, -9.0, 1.5]).log_softmax(-1)
    where = {"replies": begins(n), "places": begins(1) + PLACE * torch.arange(n),
             "seeds": torch.arange(n)}[axis]  # fmt: skip
    drawn = sampling.draw(logprobs.expand(n, -1), Noise(where, 7)).bincount(minlength=7)
    p = sampling.probabilities(logprobs)
    assert (drawn[p == 0] == 0).all()
    common = n * p >= 5
    assert abs(excess(drawn[common], (n * p)[common])) < 4


def test_rare_tokens_are_drawn_as_rarely_as_they_should_be():
    """One in 4,096, from the fine end of the noise: 2 ** 20 draws."""
    logprobs = torch.tensor([1 - 2.0**-12, 2.0**-12]).log()
    drawn = Sampling().draw(logprobs.expand(2**20, -1), Noise(begins(2**20), 2)).sum()
    assert abs(drawn - 256) < 4 * 16


def test_noise_goes_from_place_to_place_and_leaves_what_it_was_given():
    given = begins(5)
    noise, kept = Noise(given, 9), given.clone()
    drawn = [noise.next() for _ in range(3)]
    assert torch.equal(given, kept)
    for place, expected in zip(torch.arange(3), drawn, strict=True):
        assert torch.equal(Noise(given + place * PLACE, 9).next(), expected)
    assert torch.equal(Noise(given[2:4], 4).next(), drawn[0][2:4, :4])  # whoever else is there


def test_more_replies_begin_as_fewer_do():
    assert torch.equal(begins(100)[:7], begins(7))
    assert not torch.equal(begins(7, 1), begins(7))
    torch.manual_seed(5)
    default = streams(None, 7, CPU)
    assert torch.equal(default, begins(7, 5))


class Counted(TorchDispatchMode):
    """The names of all operations but views."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not any(r.alias_info is not None and not r.alias_info.is_write for r in function._schema.returns):
            self.names.append(function._schema.name)
        return result


def test_a_draw_is_few_operations_and_waits_for_nothing():
    """A graph records it: none reads a number back or has a shape that depends on data."""
    noise, logprobs = Noise(begins(6), 50), torch.randn(6, 50).log_softmax(-1)
    mode = Counted()
    mode.names = []
    with mode:
        Sampling().draw(logprobs, noise)
    assert len(mode.names) <= 15
    assert not {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"} & {*mode.names}
