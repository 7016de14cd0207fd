"""Reading prompts: from a recording, by either form of attention, and with the modules that look ahead."""

import pytest
import torch

from minidsk.infer import reading
from minidsk.infer import recorder as recorders
from minidsk.infer.engine import Engine
from minidsk.infer.reading import Reading, read
from minidsk.infer.recorder import Recorder
from minidsk.infer.speculative import speculate


@pytest.fixture
def recorded(monkeypatch):
    """A recorder, on a machine that is said to make graphs; what is recorded runs as written."""
    monkeypatch.setattr(reading, "recordable", lambda model, tokens: True)
    monkeypatch.setattr(Reading, "_recorded", lambda self, model, tokens: None)
    return Recorder()


def rows_of(engine):
    """What each row of an engine holds, and what comes next in it. A module of depth k has no say in the first k."""
    cache, layers = engine.cache, engine.model.config.num_hidden_layers
    held = [(int(begin), int(end)) for begin, end in zip(cache.begins, cache.ends, strict=True)]
    entries = [layer[row, begin + max(number + 1 - layers, 0) : end]
               for row, (begin, end) in enumerate(held) for number, layer in enumerate(cache.entries)]  # fmt: skip
    return held, entries, engine.logits


def assert_same(one, other):
    """Equal up to the rounding of sums over more or fewer slots."""
    (held, entries, logits), (others, theirs, wanted) = rows_of(one), rows_of(other)
    assert held == others
    torch.testing.assert_close(entries, theirs, rtol=0, atol=1e-10)
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lead", [0, 3])
def test_a_recording_reads_what_an_engine_reads(make, prompts, recorded, lead):
    """Prompts of other lengths take the place of the first ones, of which nothing is left."""
    model, (ids, valid) = make(num_nextn_predict_layers=2), prompts
    for width in (6, 4, 6, 2):
        plain = read(model, ids[:, -width:], valid[:, -width:], None, lead)
        again = read(model, ids[:, -width:], valid[:, -width:], recorded, lead)
        assert_same(again, plain)
        assert len(again.ahead) == len(plain.ahead) == (2 if lead else 0)
        for depth, (one, other) in enumerate(zip(again.ahead, plain.ahead, strict=True), start=1):
            spoken = plain.cache.lengths > depth
            torch.testing.assert_close(one[spoken], other[spoken], rtol=0, atol=1e-10)


def test_it_is_recorded_when_it_is_used_again(make, prompts, recorded, monkeypatch):
    made = []
    monkeypatch.setattr(Reading, "_recorded", lambda self, model, tokens: made.append(tokens))
    model, (ids, valid) = make(), prompts
    for _ in range(3):
        read(model, ids, valid, recorded)
    assert made == [3 * 8], "six tokens are read as eight"
    read(model, ids, valid, recorded, 3)
    assert len(made) == 1, "with a lead it is another recording"
    assert read(model, ids.repeat(1, 2), valid.repeat(1, 2)[:, [11] * 12], recorded).cache.capacity == 16
    assert read(model, ids, valid, recorded).cache.capacity == 8, "and a wide one does not serve the narrow"


def test_many_tokens_and_a_recorder_without_graphs_go_without(make, prompts, recorded, monkeypatch):
    model, (ids, valid) = make(), prompts
    assert read(model, ids, valid, recorded).cache.capacity == 8
    assert read(model, ids, valid, Recorder(graphs=False)).cache.capacity == 6
    monkeypatch.setattr(reading, "MOST", 17)
    assert read(model, ids, valid, recorded).cache.capacity == 6


@pytest.mark.parametrize("lead", [0, 3])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("changes", [{}, {"num_nextn_predict_layers": 2}, {"q_lora_rank": None}], ids=str)
def test_the_naive_form_reads_the_same(make, prompts, lead, static, padded, changes, monkeypatch):
    """As a GPU reads prompts: no mask, no latent queries. What follows is decoded as ever."""
    model, (ids, valid) = make(**changes), prompts
    how = {"mtp": model.config.num_nextn_predict_layers > 0, "static": static, "lead": lead}
    absorbed, naive = Engine(model, 3, 15, **how), Engine(model, 3, 15, **how)
    naive.naive = True
    attention, seen = model.layers[0].self_attn, []
    for name in ("_naive", "_absorbed"):
        whole = getattr(attention, name)
        monkeypatch.setattr(attention, name, lambda *a, f=whole, n=name: seen.append((n, a[-1] is None)) or f(*a))
    for each in (absorbed, naive):
        each.prefill(ids, valid if padded else None)
    assert seen == [("_absorbed", False), ("_naive", True)]
    assert_same(naive, absorbed)
    for step in range(3):
        torch.testing.assert_close(naive.step(ids[:, step]), absorbed.step(ids[:, step]), rtol=0, atol=1e-10)
        torch.testing.assert_close(naive.ahead, absorbed.ahead, rtol=0, atol=1e-10)


def test_a_cpu_reads_by_the_absorbed_form(make):
    assert not Engine(make(), 1, 4).naive


def test_guesses_begin_at_recorded_prompts(echo, prompts, recorded):
    model, (ids, valid) = echo(num_nextn_predict_layers=1), prompts
    for width in (6, 4):
        how = {"temperature": 0.0, "attention_mask": valid[:, -width:]}
        plain = speculate(model, ids[:, -width:], 12, 2, **how)
        assert torch.equal(speculate(model, ids[:, -width:], 12, 2, recorder=recorded, **how).ids, plain.ids)
    assert any(isinstance(kept, Reading) for kept in recorded._kept.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("lead", [0, 3])
def test_a_graph_reads_the_same(make, prompts, lead):
    model = make(num_nextn_predict_layers=2, n_routed_experts=0).cuda().float()
    (ids, valid), recorder = (each.cuda() for each in prompts), Recorder()
    assert recorders.recordable(model, 24)
    for width in (6, 6, 4, 5, 6):
        given = ids[:, -width:], valid[:, -width:]
        replayed, plain = read(model, *given, recorder, lead), read(model, *given, None, lead)
        (held, entries, logits), (others, theirs, wanted) = rows_of(replayed), rows_of(plain)
        assert held == others
        torch.testing.assert_close(entries, theirs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-5)
        assert len(replayed.ahead) == (2 if lead else 0)
    assert all(kept.graph is not None for kept in recorder._kept.values())
