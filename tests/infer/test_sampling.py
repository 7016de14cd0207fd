"""Temperature, top-k and top-p against transformers' warpers, and what does not fit."""

import math

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from minidsk.infer.generate import decode
from minidsk.infer.sampling import Sampling


@pytest.fixture
def logits():
    """float64 ``[6, 40]``."""
    return 3 * torch.randn(6, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [0, 1, 7, 40, 99])
@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.9, 1.0])
def test_probabilities_are_those_of_transformers(logits, temperature, top_k, top_p):
    expected = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    found = Sampling(temperature, top_k, top_p).probabilities(logits)
    torch.testing.assert_close(found, expected.softmax(-1), atol=1e-12, rtol=0)


def test_top_p_keeps_the_fewest_that_hold_the_share():
    p = torch.tensor([0.1, 0.5, 0.15, 0.25], dtype=torch.float64)
    for share, kept in ((0.4, {1}), (0.51, {1, 3}), (0.76, {1, 2, 3}), (0.95, {0, 1, 2, 3})):
        found = Sampling(top_p=share).probabilities(p.log())
        assert set(found.nonzero().flatten().tolist()) == kept
        assert math.isclose(found.sum(), 1)


def test_greedy_is_certain(logits):
    p = Sampling(0.0).probabilities(logits)
    assert torch.equal(p.argmax(-1), logits.argmax(-1))
    assert (p.sum(-1) == 1).all()
    assert set(p.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("cut", [{"top_k": 3}, {"top_p": 0.5}, {"temperature": 2.0, "top_k": 4, "top_p": 0.8}])
def test_only_likely_tokens_are_written(make, ids, cut):
    model, prompts = make(), ids[:1].expand(2000, -1)
    with torch.no_grad():
        p = Sampling(**cut).probabilities(model(ids[:1]).logits[0, -1])
    out = decode(model, prompts, 1, generator=torch.Generator().manual_seed(0), **cut)
    drawn = out.ids[:, -1].bincount(minlength=len(p))
    assert (drawn[p == 0] == 0).all()
    common = 2000 * p >= 5
    chi_square = ((drawn - 2000 * p).square() / (2000 * p))[common].sum()
    assert chi_square < common.sum() + 4 * math.sqrt(2 * common.sum())
    whole = model(ids[:1]).logits[0, -1].log_softmax(-1)[out.ids[:, -1]]  # what it says of them is not cut
    torch.testing.assert_close(out.logprobs[:, 0].double(), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"temperature": -1}, "temperature: -1 does not fit; it must be 0 "),
    ({"temperature": math.nan}, "temperature: nan does not fit; it must be 0 "),
    ({"top_k": -1}, "top_k: -1 does not fit; it must be a whole number of 0 or more"),
    ({"top_k": 2.5}, "top_k: 2.5 does not fit; it must be a whole number of 0 or more"),
    ({"top_p": 0}, "top_p: 0 does not fit; it must be above 0, and 1 at most "),
    ({"top_p": 2}, "top_p: 2 does not fit; it must be above 0, and 1 at most "),
])  # fmt: skip
def test_what_does_not_fit_is_named(make, ids, wrong, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        decode(make(), ids, 3, **wrong)
