"""Recorded decoding against the plain one. Without a GPU the step is no graph and runs as written: the same numbers."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minidsk import MiniDeepSeek
from minidsk.model import decoding
from minidsk.model.attention import LatentCache, MultiHeadLatentAttention, added
from minidsk.model.decoding import decode
from minidsk.model.moe import Experts
from minidsk.model.norm import RMSNorm
from minidsk.model.recording import ROUND, RecordedStep, Recorder, recordable
from minidsk.rl.recipe import nano


@pytest.fixture
def prompts(ids):
    """Left-padded prompts ``[3, 6]`` of lengths 6, 2 and 4, and which of their tokens are valid."""
    valid = torch.ones(3, 6, dtype=torch.bool)
    valid[1, :4] = valid[2, :2] = False
    return ids[:, :6] * valid, valid


@pytest.fixture
def both(monkeypatch):
    """Decodes plainly and recorded, with equal seeds."""

    def run(model, ids, new, recorder=None, seed=0, **options):
        results = []
        for recorded in (False, True):
            monkeypatch.setattr(decoding, "recordable", lambda model, recorded=recorded: recorded)
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
    assert_equal(*both(make(), ids, 20, valid=valid, temperature=temperature))


@pytest.mark.parametrize("new", [1, 15, 16, 40])
def test_rows_that_end_are_blank_after_it(make, prompts, both, new):
    model, (ids, valid) = make(), prompts
    eos = decode(model, ids, 12, temperature=0.0, valid=valid).ids[0, 6 + 4].item()
    plain, recorded = both(model, ids, new, valid=valid, temperature=0.0, eos_token_id=eos, pad_token_id=9)
    assert_equal(plain, recorded)


def test_one_row_that_ends_does_not_end_the_others(make, prompts, both):
    """An end that one row reaches early and another never: decoding goes on past the first look."""
    model, (ids, valid) = make(), prompts
    rows = decode(model, ids, 40, temperature=0.0, valid=valid).ids[:, 6:].tolist()
    eos = next(token for token in rows[0][:10] if any(token not in row for row in rows))
    plain, recorded = both(model, ids, 40, valid=valid, temperature=0.0, eos_token_id=eos)
    assert plain.mask.shape[1] == 40
    assert_equal(plain, recorded)


def test_one_recording_serves_prompts_and_answers_that_fit(make, prompts, both):
    model, (ids, valid) = make(), prompts
    recorder = Recorder()
    assert_equal(*both(model, ids, 10, recorder, valid=valid))
    step = recorder.step(model, ids, 10, 1.0)
    for seed, width in ((1, 4), (2, 6), (3, 2)):  # what an earlier call left in the cache must not be seen
        assert_equal(*both(model, ids[:, -width:], 10, recorder, seed, valid=valid[:, -width:]))
    assert recorder.step(model, ids, 10, 1.0) is step
    with torch.no_grad():
        model.lm_head.weight.mul_(3.0)  # the weights of now count, not those at the time of recording
    assert_equal(*both(model, ids, 10, recorder, 4, valid=valid))
    assert recorder.step(model, ids, 10, 1.0) is step


def test_what_does_not_fit_is_recorded_anew(make, prompts):
    model, (ids, _) = make(), prompts
    recorder = Recorder()
    step = recorder.step(model, ids, 10, 1.0)
    assert step.cache.capacity == ROUND + 10
    long = ids.repeat(1, 6)
    for changed in ((make(), ids, 10, 1.0), (model, ids[:2], 10, 1.0), (model, ids, 11, 1.0), (model, ids, 10, 0.5),
                    (model, long, 10, 1.0)):  # fmt: skip
        assert recorder.step(*changed) is not step
        step = recorder.step(*changed)
    assert step.cache.capacity == 2 * ROUND + 10


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


def test_a_cpu_records_nothing(make):
    assert not recordable(make())


def test_a_step_is_few_operations(monkeypatch):
    """As a GPU has it: mask by numbers, all experts at once, norms, rotations and attention one kernel each."""
    model = MiniDeepSeek(nano().pretrain.model).bfloat16()
    made = LatentCache.open
    monkeypatch.setattr(LatentCache, "open", lambda cache, valid: added(made(cache, valid), torch.bfloat16))
    monkeypatch.setattr(Experts, "forward", Experts.by_all)
    monkeypatch.setattr(RMSNorm, "forward", lambda norm, x: x.clone())
    monkeypatch.setattr(MultiHeadLatentAttention, "_rotate", lambda attention, x, cos, sin: x.clone())
    monkeypatch.setattr(MultiHeadLatentAttention, "_fused", lambda attention, q, memory, mask: q[..., :32].clone())
    step = RecordedStep(model, 16, 192, 160, 1.0)
    with torch.no_grad(), Operations() as counted:
        step._step()
    assert counted.total <= 140, "each costs some 3 microseconds a token"


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
    assert recordable(model)
    for width in (6, 4, 8):
        given = ids[:, :width].cuda()
        replayed = decode(model, given, 20, temperature=0.0, recorder=recorder)
        plain = decode(model, given, 20, temperature=0.0, use_cache=False)
        assert torch.equal(replayed.ids, plain.ids)
        torch.testing.assert_close(replayed.logprobs, plain.logprobs, atol=1e-4, rtol=0)
    draws = [decode(model, given, 20, recorder=recorder, generator=torch.Generator("cuda").manual_seed(s)).ids
             for s in (0, 0, 1)]  # fmt: skip
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
