"""Rows that take the next prompt when a reply has ended, against each prompt by itself."""

import math

import pytest
import torch

from minidsk.infer import refill
from minidsk.infer.generate import decode
from minidsk.infer.noise import streams
from minidsk.infer.recorder import Recorder
from minidsk.infer.sampling import Sampling


@pytest.fixture
def queue():
    """Forty left-padded prompts ``[40, 6]`` of 1 to 6 tokens, and which of their tokens are valid."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(32, (40, 6), generator=generator)
    valid = torch.arange(6) >= torch.randint(6, (40, 1), generator=generator)
    return ids * valid, valid


@pytest.mark.parametrize("rows", [1, 3, 16, 39])
@pytest.mark.parametrize("new", [1, 16, 50])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_few_rows_write_what_all_at_once_write(make, queue, rows, new, temperature):
    model, (ids, valid) = make(), queue
    how = {"temperature": temperature, "attention_mask": valid, "eos_token_id": [3, 7, 11], "pad_token_id": 9}
    plain, queued = (decode(model, ids, new, rows=n, generator=torch.Generator().manual_seed(1), **how)
                     for n in (None, rows))  # fmt: skip
    assert torch.equal(queued.ids, plain.ids)
    assert torch.equal(queued.mask, plain.mask)
    torch.testing.assert_close(queued.logprobs, plain.logprobs, atol=1e-5, rtol=0)
    lengths = plain.mask.sum(1)
    assert new == 1 or lengths.min() < 8 < lengths.max(), "a test of refilling needs replies of many lengths"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_last_rows_move_to_smaller_steps(make, queue, monkeypatch, temperature):
    """Forty rows, then ten, then two, when the others have ended: the same replies, and less work."""
    model, (ids, valid) = make(), queue
    monkeypatch.setattr(refill, "FEWEST", 2)
    monkeypatch.setattr(refill, "WINDOW", 4)
    begins = streams(torch.Generator().manual_seed(1), 40, torch.device("cpu"))
    plain = decode(model, ids, 50, temperature=temperature, generator=torch.Generator().manual_seed(1),
                   attention_mask=valid, eos_token_id=[3, 7, 11])  # fmt: skip
    recorder, stepped = Recorder(), []
    step = refill.Recording._step
    monkeypatch.setattr(refill.Recording, "_step", lambda self: (stepped.append(len(self.tokens)), step(self)))
    stop = torch.tensor([3, 7, 11])
    tokens, _ = refill.refill(model, ids, valid, 50, 40, Sampling(temperature), begins, stop, recorder)
    for row, (found, expected) in enumerate(zip(tokens, plain.ids[:, 6:], strict=True)):
        length = int(plain.mask[row].sum())
        assert torch.equal(found[:length], expected[:length])
    assert list(dict.fromkeys(stepped)) == sorted({*stepped}, reverse=True)
    assert {*stepped} >= {40, 10}


def test_the_order_of_the_prompts_does_not_matter(make, queue):
    """Each with its own noise: whoever waits longest draws what it would have drawn first."""
    model, (ids, valid), stop = make(), queue, torch.tensor([3, 7, 11])
    begins = streams(torch.Generator().manual_seed(1), 40, torch.device("cpu"))
    plain = decode(model, ids, 50, generator=torch.Generator().manual_seed(1), attention_mask=valid,
                   eos_token_id=[3, 7, 11])  # fmt: skip
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    tokens, _ = refill.refill(model, ids[order], valid[order], 50, 7, Sampling(), begins[order], stop, Recorder())
    new = plain.mask.shape[1]
    assert torch.equal(tokens[:, :new][plain.mask[order]], plain.ids[order, 6:][plain.mask[order]])


def test_rows_are_free_as_soon_as_their_replies_end(make, queue, monkeypatch):
    """The steps of four rows are no more than the windows of all replies need, shared among four."""
    model, (ids, valid) = make(), queue
    monkeypatch.setattr(refill, "WINDOW", 4)
    stepped = []
    step = refill.Recording._step
    monkeypatch.setattr(refill.Recording, "_step", lambda self: (stepped.append(4), step(self)))
    out = decode(model, ids, 48, rows=4, temperature=0.0, attention_mask=valid, eos_token_id=[3, 7, 11])
    windows = sum(math.ceil(length / 4) for length in out.mask.sum(1).tolist())
    assert len(stepped) / 4 <= windows / 4 + 12  # the last reply may be 12 windows longer than the others


def test_drawn_replies_follow_the_probabilities(make, ids):
    """3,000 copies of a prompt, 64 at a time: pairs of tokens against the chain rule; a seed gives an answer."""
    model, n = make(vocab_size=8), 3000
    prompt = ids[:1, :5] % 8
    pairs = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    with torch.no_grad():
        logits = model(torch.cat((prompt.expand(64, -1), pairs), 1)).logits[:, 4:6]
        p = logits.softmax(-1).gather(2, pairs.unsqueeze(-1)).squeeze(-1).prod(1)
    draws = [decode(model, prompt.expand(n, -1), 2, rows=64, generator=torch.Generator().manual_seed(s)).ids[:, 5:]
             for s in (0, 0, 1)]  # fmt: skip
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    counts = torch.bincount(draws[0] @ torch.tensor([8, 1]), minlength=64)
    common = n * p >= 5
    chi_square = ((counts - n * p).square() / (n * p))[common].sum()
    assert chi_square < common.sum() + 4 * math.sqrt(2 * common.sum())


def test_no_rows_are_too_few(make, ids):
    with pytest.raises(ValueError, match=r"^rows: 0 does not fit; it must be 1 or more, or None"):
        decode(make(), ids, 3, rows=0)
