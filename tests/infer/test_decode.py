import math

import pytest
import torch

from minidsk.infer.engine import Engine
from minidsk.infer.generate import _sample, decode
from minidsk.infer.noise import Noise, streams
from minidsk.infer.recorder import Recorder
from minidsk.infer.sampling import Sampling


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(rows, vocab):
    return Noise(streams(seeded(), rows, torch.device("cpu")), vocab)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_cached_is_uncached(make, prompts, temperature):
    model, (ids, valid) = make(), prompts
    a, b = (decode(model, ids, 20, temperature=temperature, generator=seeded(), attention_mask=valid, eos_token_id=3,
                   use_cache=cached) for cached in (True, False))  # fmt: skip
    assert torch.equal(a.ids, b.ids)
    assert torch.equal(a.mask, b.mask)
    torch.testing.assert_close(a.logprobs, b.logprobs, atol=1e-5, rtol=0)


def test_rows_stop_at_the_end_token_and_are_padded_after_it(make, prompts):
    model, (ids, valid) = make(), prompts
    free = decode(model, ids, 12, temperature=0.0, attention_mask=valid)
    eos = free.ids[0, 6 + 4].item()  # the first row is to end by its fifth token
    out = decode(model, ids, 12, temperature=0.0, attention_mask=valid, eos_token_id=eos, pad_token_id=9)
    assert torch.equal(out.ids[:, :6], ids)
    for row, tokens in enumerate(out.ids[:, 6:].tolist()):
        unlimited = free.ids[row, 6:].tolist()
        length = unlimited.index(eos) + 1 if eos in unlimited else 12
        assert tokens[:length] == unlimited[:length]
        assert all(token == 9 for token in tokens[length:])
        assert out.mask[row].tolist() == [i < length for i in range(out.mask.shape[1])]
        assert (out.logprobs[row, length:] == 0).all()
    assert out.mask.any(0).all()  # nothing after the longest answer
    assert out.mask[0].sum() <= 5


def test_any_of_several_tokens_ends_a_row(make, prompts):
    model, (ids, valid) = make(), prompts
    free = decode(model, ids, 12, temperature=0.0, attention_mask=valid).ids[:, 6:].tolist()
    ends = {free[0][3], free[1][5]}
    out = decode(model, ids, 12, temperature=0.0, attention_mask=valid, eos_token_id=sorted(ends))
    for row, tokens in enumerate(free):
        length = next((i + 1 for i, token in enumerate(tokens) if token in ends), 12)
        assert int(out.mask[row].sum()) == length


def test_all_rows_ended_ends_the_loop(make, ids, monkeypatch):
    model = make()
    eos = decode(model, ids[:1], 1, temperature=0.0).ids[0, -1].item()
    out = decode(model, ids[:1], 50, temperature=0.0, eos_token_id=eos)
    assert out.ids.shape == (1, 12)
    assert out.mask.tolist() == [[True]]


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_logprobs_are_those_of_a_fresh_forward(make, prompts, temperature):
    model, (ids, valid) = make(), prompts
    out = decode(model, ids, 10, temperature=temperature, generator=seeded(), attention_mask=valid, eos_token_id=3)
    valid = torch.cat((valid, out.mask), 1)
    with torch.no_grad():
        logits = model(out.ids, attention_mask=valid).logits
    fresh = logits[:, 5:-1].log_softmax(-1).gather(2, out.ids[:, 6:, None]).squeeze(2)
    torch.testing.assert_close(out.logprobs[out.mask].double(), fresh[out.mask], atol=1e-5, rtol=0)


def test_temperature_zero_takes_the_likeliest(make, ids):
    model = make()
    out = model.generate(ids, 6, temperature=0.0)
    with torch.no_grad():
        assert torch.equal(model(out[:, :-1]).logits[:, 10:].argmax(-1), out[:, 11:])
    assert torch.equal(model.generate(ids, 6, 1e-4, seeded()), out)  # the limit


def test_a_seed_gives_an_answer(make, ids):
    model = make()
    first = model.generate(ids, 8, generator=seeded(1))
    before = torch.get_rng_state()
    assert torch.equal(model.generate(ids, 8, generator=seeded(1)), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(model.generate(ids, 8, generator=seeded(2)), first)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_distribution(temperature):
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0, 0.5])
    n = 20_000
    drawn, logprobs = _sample(logits.expand(n, 5), Sampling(temperature), noise(n, 5))
    expected = n * (logits / temperature).softmax(-1)
    chi_square = ((drawn.bincount(minlength=5) - expected).square() / expected).sum()
    assert chi_square < 18.5  # 0.1 % of fair samplers exceed this, at 4 degrees of freedom
    torch.testing.assert_close(logprobs, logits.log_softmax(-1)[drawn])


def test_samples_of_a_model_follow_its_probabilities(make, ids):
    model = make(vocab_size=32)
    with torch.no_grad():
        p = model(ids[:1]).logits[0, -1].softmax(-1)
    n = 4000
    drawn = model.generate(ids[:1].expand(n, -1), 1, generator=seeded())[:, -1].bincount(minlength=32)
    common = n * p >= 5
    chi_square = ((drawn - n * p).square() / (n * p))[common].sum()
    freedom = common.sum().item() - 1
    assert freedom > 3
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


def test_a_token_of_probability_zero_is_never_drawn():
    logits = torch.tensor([0.0, -math.inf, 0.0]).expand(5000, 3)
    assert set(_sample(logits, Sampling(), noise(5000, 3))[0].tolist()) == {0, 2}


def test_a_reply_is_the_seeds_its_number_and_its_prompts(make, prompts):
    """Not its neighbours', nor how many they are."""
    model, (ids, valid) = make(), prompts

    def replies(ids, valid):
        out = decode(model, ids, 20, generator=seeded(), attention_mask=valid, eos_token_id=3)
        return [row[here].tolist() for row, here in zip(out.ids[:, ids.shape[1] :], out.mask, strict=True)]

    written = replies(ids, valid)
    assert len({tuple(reply) for reply in replies(ids[:1].expand(3, -1), valid[:1].expand(3, -1))}) == 3
    for rows in (1, 2):
        assert replies(ids[:rows], valid[:rows]) == written[:rows]
    changed = ids.clone()
    changed[0] = ids[2]
    assert replies(changed, valid)[1:] == written[1:]
    assert replies(changed, valid)[0] != written[0]


def test_a_call_takes_one_number_of_its_generator(make, ids):
    model, generator, other = make(), seeded(), seeded()
    for new, rows in ((1, None), (9, None), (5, 2)):
        decode(model, ids, new, generator=generator, rows=rows)
        torch.empty(1, dtype=torch.long).random_(generator=other)
        assert torch.equal(generator.get_state(), other.get_state())
    decode(model, ids, 3, temperature=0.0, generator=generator)  # nothing is drawn
    assert torch.equal(generator.get_state(), other.get_state())


def test_generate_is_decode(make, prompts):
    model, (ids, valid) = make(), prompts
    answer = model.generate(ids, 5, 0.0, attention_mask=valid.long(), eos_token_id=3, pad_token_id=7)
    expected = decode(model, ids, 5, temperature=0.0, attention_mask=valid, eos_token_id=3, pad_token_id=7)
    assert torch.equal(answer, expected.ids)
    assert torch.equal(answer, model.generate(ids, 5, 0.0, attention_mask=valid, eos_token_id=3, pad_token_id=7,
                                              use_cache=False))  # fmt: skip


@pytest.mark.parametrize("rows", [None, 20])
def test_out_of_memory_halves_the_rows_and_writes_the_same(make, ids, monkeypatch, capsys, rows):
    """A memory for eight rows: fewer from there on, said once, and the same replies."""
    model, prompts, tried = make(), ids[:, :6].repeat(8, 1), []
    how = {"rows": rows, "eos_token_id": 3}
    written = decode(model, prompts, 30, generator=seeded(), eos_token_id=3)
    advance = Engine._advance

    def tight(engine, tokens, last=None, fresh=False):
        tried.append(len(tokens))
        if len(tokens) > 8:
            raise torch.OutOfMemoryError("full")
        advance(engine, tokens, last, fresh)

    monkeypatch.setattr(Engine, "_advance", tight)
    recorder = Recorder()
    for _ in range(2):
        out = decode(model, prompts, 30, generator=seeded(), recorder=recorder, **how)
        assert torch.equal(out.ids, written.ids)
        assert torch.equal(out.mask, written.mask)
    halves = [20, 10, 5] if rows else [24, 12, 6]
    assert list(dict.fromkeys(tried))[:3] == halves
    assert tried.count(halves[0]) == 1, "the second call knew it already"
    said = "".join(capsys.readouterr())
    assert said.count("out of memory") == 2
    assert f"out of memory: {halves[-1]} rows at a time are sampled from here on" in said


def test_one_row_that_does_not_fit_is_an_error(make, ids, monkeypatch):
    def full(engine, tokens, last=None, fresh=False):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Engine, "_advance", full)
    with pytest.raises(torch.OutOfMemoryError):
        decode(make(), ids, 3)


def test_wrong_requests_are_named(make, ids, prompts):
    model = make()
    for new in (0, -1):
        with pytest.raises(ValueError, match=f"^max_new_tokens: {new} does not fit"):
            model.generate(ids, new)
    with pytest.raises(ValueError, match=r"^ids: the prompt is empty; begin with one token at least"):
        model.generate(ids[:, :0], 3)
    with pytest.raises(ValueError, match=r"^temperature: -1 does not fit"):
        model.generate(ids, 3, -1)
    with pytest.raises(ValueError, match=r"^attention_mask: .* on the left"):
        model.generate(ids[:, :6], 3, attention_mask=prompts[1].flip(1))
