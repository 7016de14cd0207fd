"""Recorded decoding against the plain one. Without a GPU the step is no graph and runs as written: the same numbers."""

import warnings

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minidsk import MiniDeepSeek
from minidsk.infer import generate
from minidsk.infer import recorder as recorders
from minidsk.infer.engine import Engine
from minidsk.infer.generate import decode
from minidsk.infer.recorder import KEPT, WIDTH, Recorder, Recording, recordable
from minidsk.infer.refill import WINDOW
from minidsk.infer.sampling import Sampling
from minidsk.model import operations
from minidsk.model.attention import MultiHeadLatentAttention
from minidsk.model.cache import LatentCache, added
from minidsk.presets import nano


@pytest.fixture
def both(monkeypatch):
    """Decodes plainly and recorded, with equal seeds."""

    def run(model, ids, new, recorder=None, seed=0, **options):
        results = []
        for recorded in (False, True):
            monkeypatch.setattr(generate, "recordable", lambda model, rows, recorded=recorded: recorded)
            generator = torch.Generator().manual_seed(seed)
            results.append(decode(model, ids, new, generator=generator, recorder=recorder, **options))
        return results

    return run


def assert_equal(plain, recorded):
    assert torch.equal(plain.ids, recorded.ids)
    assert torch.equal(plain.mask, recorded.mask)
    torch.testing.assert_close(plain.logprobs, recorded.logprobs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_recorded_is_plain(make, prompts, both, temperature):
    ids, valid = prompts
    assert_equal(*both(make(), ids, 20, attention_mask=valid, temperature=temperature))


@pytest.mark.parametrize("new", [1, 15, 16, 40])
def test_rows_that_end_are_blank_after_it(make, prompts, both, new):
    model, (ids, valid) = make(), prompts
    eos = decode(model, ids, 12, temperature=0.0, attention_mask=valid).ids[0, 6 + 4].item()
    plain, recorded = both(model, ids, new, attention_mask=valid, temperature=0.0, eos_token_id=eos, pad_token_id=9)
    assert_equal(plain, recorded)


def test_one_row_that_ends_does_not_end_the_others(make, prompts, both):
    """An end that one row reaches early and another never: decoding goes on past the first look."""
    model, (ids, valid) = make(), prompts
    rows = decode(model, ids, 40, temperature=0.0, attention_mask=valid).ids[:, 6:].tolist()
    eos = next(token for token in rows[0][:10] if any(token not in row for row in rows))
    plain, recorded = both(model, ids, 40, attention_mask=valid, temperature=0.0, eos_token_id=eos)
    assert plain.mask.shape[1] == 40
    assert_equal(plain, recorded)


def test_one_recording_serves_prompts_and_answers_that_fit(make, prompts, both):
    model, (ids, valid) = make(), prompts
    recorder = Recorder()
    assert_equal(*both(model, ids, 10, recorder, attention_mask=valid))
    step = recorder.recording(model, 3, 6 + WINDOW, WINDOW, Sampling())
    for seed, width in ((1, 4), (2, 6), (3, 2)):  # what an earlier call left in the cache must not be seen
        assert_equal(*both(model, ids[:, -width:], 10, recorder, seed, attention_mask=valid[:, -width:]))
    with torch.no_grad():
        model.lm_head.weight.mul_(3.0)  # the weights of now count, not those at the time of recording
    assert_equal(*both(model, ids, 10, recorder, 4, attention_mask=valid))
    assert recorder.recording(model, 3, 6 + WINDOW, WINDOW, Sampling()) is step


def test_what_does_not_fit_is_recorded_anew(make):
    model, recorder = make(), Recorder()
    step = recorder.recording(model, 3, 16, 10, Sampling())
    assert step.engine.cache.capacity == WIDTH
    for changed in ((model, 2, 16, 10, Sampling()), (model, 3, 16, 11, Sampling()), (model, 3, 16, 10, Sampling(0.5))):
        assert recorder.recording(*changed) is not step
    assert recorder.recording(model, 3, 16, 10, Sampling()) is step  # others do not drive it out
    wider = recorder.recording(model, 3, WIDTH + 1, 10, Sampling())
    assert wider.engine.cache.capacity == 2 * WIDTH
    assert recorder.recording(model, 3, 16, 10, Sampling()) is wider
    assert recorder.recording(make(), 3, 16, 10, Sampling()) is not wider


def test_few_recordings_are_kept(make):
    model, recorder = make(), Recorder()
    steps = [recorder.recording(model, rows, 16, 10, Sampling()) for rows in range(1, KEPT + 2)]
    assert [recorder.recording(model, rows, 16, 10, Sampling()) for rows in range(2, KEPT + 2)] == steps[1:]
    assert recorder.recording(model, 1, 16, 10, Sampling()) is not steps[0]


def test_a_recorder_leaves_earlier_answers_alone(make, ids, both):
    model, recorder = make(), Recorder()
    _, first = both(model, ids, 5, recorder, 1)
    kept = first.ids.clone(), first.logprobs.clone()
    both(model, ids, 5, recorder, 2)
    assert torch.equal(first.ids, kept[0])
    assert torch.equal(first.logprobs, kept[1])


def test_whoever_watches_sees_each_token(make, ids, both):
    seen = []
    plain, recorded = both(make(), ids, 6, watch=lambda tokens: seen.append(tokens.clone()))
    assert_equal(plain, recorded)
    assert torch.equal(torch.stack(seen[6:], 1), recorded.ids[:, ids.shape[1] :])


def test_a_recorder_without_graphs_replays_none(make, monkeypatch):
    monkeypatch.setattr(recorders, "recordable", lambda model, rows: True)
    monkeypatch.setattr(Recording, "_record", lambda self: "a graph")
    graphs = [recorder.recording(make(), 2, 32, 8, Sampling()).graph for recorder in (Recorder(), Recorder(False))]
    assert graphs == ["a graph", None]


def test_without_graphs_it_goes_on_and_says_so_once(make, prompts, monkeypatch):
    """A driver that cannot record: the same replies as ever."""
    def refuse(self):
        self._step()
        raise RuntimeError("operation not supported\nand much more")

    model, (ids, valid) = make(), prompts
    plain = decode(model, ids, 8, generator=torch.Generator().manual_seed(0), attention_mask=valid)
    monkeypatch.setattr(recorders, "recordable", lambda model, rows: True)
    monkeypatch.setattr(generate, "recordable", lambda model, rows: True)
    monkeypatch.setattr(Recording, "_record", refuse)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(2):
            found = decode(model, ids, 8, generator=torch.Generator().manual_seed(0), attention_mask=valid)
            assert_equal(plain, found)
    [one] = said
    assert str(one.message) == ("no CUDA graph here (operation not supported): "
                                "sampling goes on without it, and is slower")  # fmt: skip


def test_a_prompt_longer_than_the_cache_is_named(make, ids):
    for static in (False, True):
        with pytest.raises(ValueError, match=r"^ids: a prompt of 11 tokens does not fit a cache of 10"):
            Engine(make(), 3, 10, static=static).prefill(ids)


def test_a_cpu_records_nothing(make):
    assert not recordable(make(), 3)


def test_a_step_is_few_operations(monkeypatch):
    """As a GPU has it: mask by numbers, all experts at once, norms, rotations and attention one kernel each."""
    model = MiniDeepSeek(nano().pretrain.model).bfloat16()
    made = LatentCache.mask
    monkeypatch.setattr(LatentCache, "mask", lambda cache, depth=0: added(made(cache, depth), torch.bfloat16))
    cheap = {"experts": operations.every_expert, "norm": lambda x, *_: x.clone(), "rotation": lambda x, *_: x.clone()}
    for name, operation in cheap.items():
        monkeypatch.setitem(operations.TABLE[name], "torch", operation)
    monkeypatch.setattr(MultiHeadLatentAttention, "_fused", lambda attention, q, memory, mask: q[..., :32].clone())
    step = Recording(model, 16, 192, 160, Sampling())
    with torch.no_grad(), Operations() as counted:
        step._step()
    assert counted.total <= 150, "each costs some 3 microseconds a token"


def test_a_row_grows_is_copied_and_cut_back_as_if_it_were_alone(make, ids):
    """Rows of different lengths, forked and truncated, against passes over each text by itself."""
    model = make()
    engine = Engine(model, 3, 20)
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1, :3] = mask[2, :1] = False
    engine.prefill(ids[:, :5], mask)
    texts = [ids[row, :5][mask[row]].tolist() for row in range(3)]

    def check(engine, texts):
        for row, text in enumerate(texts):
            alone = model(torch.tensor([text])).logits[0, -1]
            torch.testing.assert_close(engine.logits[row], alone, atol=1e-10, rtol=0)
        assert engine.cache.lengths.tolist() == [len(text) for text in texts]

    with torch.no_grad():
        check(engine, texts)
        for new in ([7, 8, 9], [1, 2, 3]):
            engine.step(torch.tensor(new))
            texts = [[*text, token] for text, token in zip(texts, new, strict=True)]
        check(engine, texts)
        forked = engine.fork(torch.tensor([2, 0, 0, 1]))
        others = [texts[row] for row in (2, 0, 0, 1)]
        forked.step(torch.tensor([4, 5, 6, 7]))
        others = [[*text, token] for text, token in zip(others, [4, 5, 6, 7], strict=True)]
        check(forked, others)
        forked.truncate(torch.tensor([3, 6, 2, 99]))
        others = [text[:length] for text, length in zip(others, [3, 6, 2, 99], strict=True)]
        forked.step(torch.tensor([[10, 11], [12, 13], [14, 15], [16, 17]]))
        others = [[*text, *pair] for text, pair in zip(others, [[10, 11], [12, 13], [14, 15], [16, 17]], strict=True)]
        check(forked, others)
        engine.step(torch.tensor([9, 9, 9]))  # the one that was forked from goes its own way
        check(engine, [[*text, 9] for text in texts])


@pytest.mark.parametrize("chunks", [[11], [1] * 11, [4, 1, 2, 4]])
def test_modules_that_look_ahead_have_a_cache_too(make, ids, chunks):
    """Their guesses from a cache, in pieces and after padding, are those without a cache."""
    model = make(num_nextn_predict_layers=2)
    expected = model(ids).mtp_logits
    with torch.no_grad():
        cache = model.new_cache(3, 11, mtp=True)
        parts = [model(part, cache=cache).mtp_logits for part in ids.split(chunks, 1)]
        for depth, wanted in enumerate(expected, start=1):
            found = torch.cat([part[depth - 1] for part in parts], 1)
            torch.testing.assert_close(found[:, depth:], wanted, atol=1e-10, rtol=0)
        padded = torch.cat((torch.zeros(3, 2, dtype=torch.long), ids), 1)
        mask = torch.arange(13).expand(3, -1) >= 2
        engine = Engine(model, 3, 16, mtp=True)
        engine.prefill(padded[:, :8], mask[:, :8])
        for place in range(8, 13):
            engine.step(padded[:, place])
            for depth, wanted in enumerate(expected, start=1):
                torch.testing.assert_close(engine.ahead[depth - 1], wanted[:, place - 2 - depth], atol=1e-10, rtol=0)
        engine.truncate(torch.tensor([4, 6, 9]))
        engine.step(torch.stack([ids[0, 4], ids[1, 6], ids[2, 9]]))
        for row, place in enumerate((4, 6, 9)):
            for depth, wanted in enumerate(expected, start=1):
                torch.testing.assert_close(engine.ahead[depth - 1][row], wanted[row, place - depth], atol=1e-10, rtol=0)


def test_without_their_layers_in_the_cache_they_stay_silent(make, ids):
    model = make(num_nextn_predict_layers=1)
    with torch.no_grad():
        assert model(ids, cache=model.new_cache(3, 11)).mtp_logits == []


class Operations(TorchDispatchMode):
    """Counts what computes or copies, which on a GPU is at least one kernel each."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        views = any(argument.alias_info is not None and not argument.alias_info.is_write
                    for argument in function._schema.returns)  # fmt: skip
        self.total += not (views or function._schema.name in ("aten::empty.memory_format", "aten::_unsafe_view"))
        return function(*args, **(kwargs or {}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_graph_is_what_it_recorded(make, ids):
    """Greedy answers of a dense model, plain on the GPU and replayed, from several calls with one recorder."""
    model, recorder = make(n_routed_experts=0, num_nextn_predict_layers=0).cuda().float(), Recorder()
    assert recordable(model, 3)
    for width in (6, 4, 8):
        given = ids[:, :width].cuda()
        replayed = decode(model, given, 20, temperature=0.0, recorder=recorder)
        plain = decode(model, given, 20, temperature=0.0, use_cache=False)
        assert torch.equal(replayed.ids, plain.ids)
        torch.testing.assert_close(replayed.logprobs, plain.logprobs, atol=1e-4, rtol=0)
    for kind in ("cuda", "cpu"):
        draws = [decode(model, given, 20, recorder=recorder, generator=torch.Generator(kind).manual_seed(s), **how).ids
                 for s, how in ((0, {}), (0, {}), (0, {"rows": 2}), (0, {"use_cache": False}), (1, {}))]  # fmt: skip
        assert all(torch.equal(draws[0], draw) for draw in draws[1:4])
        assert not torch.equal(draws[0], draws[4])
