"""Steps without Python against the same steps started from Python."""

import gc
import itertools
import warnings
import weakref

import pytest
import torch

from minidsk.infer import traced
from minidsk.infer.engine import Engine
from minidsk.infer.generate import decode
from minidsk.infer.recorder import Recorder
from minidsk.infer.refill import WINDOW
from minidsk.kernels import trace
from minidsk.model.exact import Exact


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The first step is traced already."""
    monkeypatch.setattr(trace, "AFTER", 0)


def drawn(model, prompts, new=20, *, graphs=True, seed=0, **how):
    ids, valid = prompts
    seed = torch.Generator().manual_seed(seed)
    return decode(model, ids, new, attention_mask=valid, generator=seed, recorder=Recorder(graphs), **how)


def made(model):
    """What torch runs for this model; None where Python does all."""
    return model in trace._KEPT and trace._KEPT[model][1]._traced


def check(model, prompts, new=20, **how):
    """Equal tokens, equal numbers, and torch did it."""
    plain, found = (drawn(model, prompts, new, graphs=graphs, **how) for graphs in (False, True))
    assert made(model)
    assert torch.equal(plain.ids, found.ids)
    assert torch.equal(plain.mask, found.mask)
    torch.testing.assert_close(plain.logprobs, found.logprobs, atol=1e-5, rtol=0)
    return found


@pytest.mark.parametrize("changes", [
    {}, {"n_routed_experts": 0}, {"n_group": 1, "topk_group": 1}, {"q_lora_rank": None}, {"rope_interleave": False},
])  # fmt: skip
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_traced_is_plain(make, prompts, changes, temperature):
    check(make(**changes), prompts, temperature=temperature)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_who_is_not_traced_yet_computes_the_same_bit_for_bit(make, prompts, monkeypatch, dtype):
    """So a run that was interrupted, which begins to count anew, goes on as the other."""
    model = make().to(dtype)
    found = drawn(model, prompts, 40)
    assert made(model)
    for after in (1, 7, 1000):
        monkeypatch.setattr(trace, "AFTER", after)
        again = make().to(dtype)
        other = drawn(again, prompts, 40)
        assert bool(made(again)) == (after < 40)
        assert torch.equal(found.ids, other.ids)
        assert torch.equal(found.logprobs, other.logprobs)


def test_one_trace_serves_all_rows_and_lengths(make, prompts):
    model, (ids, valid) = make().float(), prompts
    first = made(model) if check(model, prompts) else None
    for rows, width in ((1, 6), (3, 2), (2, 4)):
        check(model, (ids[:rows, -width:], valid[:rows, -width:]), 3 * WINDOW, seed=rows)
    check(model, (ids.repeat(30, 1), valid.repeat(30, 1)))
    assert made(model) is first


def test_rows_that_end_are_dropped_or_give_their_place_to_others(make, prompts):
    model, (ids, valid) = make(), prompts
    many = ids.repeat(4, 1), valid.repeat(4, 1)
    ends = drawn(model, many, 12).ids[:4, 6 + 3].tolist()
    found = check(model, many, 40, eos_token_id=ends)
    assert not found.mask.all()
    again = check(model, many, 40, eos_token_id=ends, rows=3)
    assert torch.equal(again.ids, found.ids)


def test_the_weights_of_now_count(make, prompts):
    """Changed where they lie, by a copy of others, and put in the place of others."""
    model, other = make(), make(1)
    texts = [check(model, prompts, temperature=0.0).ids]
    first = made(model)
    with torch.no_grad():
        model.layers[0].self_attn.kv_b_proj.weight.mul_(-2.0)
    texts.append(check(model, prompts, temperature=0.0).ids)
    model.load_state_dict(other.state_dict())
    texts.append(check(model, prompts, temperature=0.0).ids)
    assert torch.equal(texts[-1], drawn(other, prompts, graphs=False, temperature=0.0).ids)
    model.routers()[0].e_score_correction_bias = -10 * model.routers()[0].e_score_correction_bias
    model.lm_head.weight = torch.nn.Parameter(-model.lm_head.weight)
    texts.append(check(model, prompts, temperature=0.0).ids)
    assert made(model) is first
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(texts))


def test_weights_are_themselves_again_after_tracing(make, prompts):
    model = make()
    before = dict(model.named_parameters()) | dict(model.named_buffers())
    check(model, prompts)
    after = dict(model.named_parameters()) | dict(model.named_buffers())
    assert before.keys() == after.keys()
    assert all(tensor is after[name] for name, tensor in before.items())
    model(prompts[0]).logits.sum().backward()
    assert model.lm_head.weight.grad is not None


def test_what_python_decides_is_asked_anew(make, prompts):
    model = make()
    check(model, prompts)
    first = made(model)
    model.eval()  # decides nothing here
    check(model, prompts)
    assert made(model) is first
    for layer in model.layers:
        layer.self_attn.absorb = False
    check(model, prompts)
    second = made(model)
    model.layers[0].mlp = make(1).layers[0].mlp
    check(model, prompts, temperature=0.0)
    third = made(model)
    check(model.float(), prompts)
    assert len({id(one) for one in (first, second, third, made(model))}) == 4


def test_python_has_its_way_where_it_listens(make, prompts, monkeypatch):
    """A hook, a changed method, a mode for functions, tokens by the two: then each step is as written."""
    model, heard = make(), []
    handle = model.layers[0].register_forward_hook(lambda *_: heard.append(1))
    drawn(model, prompts, 5)
    assert len(heard) == 5  # the prompt, and four tokens
    handle.remove()
    with monkeypatch.context() as patched:
        patched.setattr(model.norm, "forward", model.norm.forward)
        drawn(model, prompts, 5)
    assert not made(model)
    for layer in model.layers:
        layer.self_attn.absorb = True
    with Exact():
        drawn(model, prompts, 5)
    engine = Engine(model, 3, 20)
    engine.prefill(prompts[0])
    engine.step(torch.ones(3, 2, dtype=torch.long))
    assert not made(model)
    check(model, prompts)


def test_experts_in_vain_have_a_limit(make, prompts, monkeypatch):
    monkeypatch.setattr(traced, "IN_VAIN", 0)
    model, dense = make(), make(n_routed_experts=0)
    drawn(model, prompts)
    assert not made(model)
    monkeypatch.undo()
    monkeypatch.setattr(trace, "AFTER", 0)
    check(dense, prompts)


def test_a_model_that_is_asked_little_is_not_traced(make, prompts, monkeypatch):
    monkeypatch.setattr(trace, "AFTER", 30)
    model = make()
    drawn(model, prompts, 31)  # a token of a prompt, and 30 steps
    assert not made(model)
    drawn(model, prompts, 2)
    assert made(model)


def test_a_full_cache_is_named(make, ids):
    for wanted in (False, True):
        engine = Engine(make(), 3, 7)
        engine.traced = engine.traced if wanted else None
        engine.prefill(ids[:, :6])
        engine.step(ids[:, 6])
        with pytest.raises(ValueError, match=r"^cache: 8 tokens do not fit its 7 slots"):
            engine.step(ids[:, 7])
        assert engine.cache.lengths.tolist() == [7, 7, 7]


def test_its_logits_are_tensors_as_any_other(make, ids):
    engine = Engine(make(), 3, 9)
    engine.prefill(ids[:, :6])
    for place in (6, 7):
        logits = engine.step(ids[:, place])
    assert made(engine.model)
    assert not logits.is_inference()
    assert not logits.requires_grad


@pytest.mark.parametrize("fails", ["at once", "later"])
def test_where_torch_cannot_it_goes_on_and_says_so_once(make, prompts, monkeypatch, fails):
    def refuse(*_, **__):
        raise RuntimeError("not in this version.\nand much more")

    model = make()
    with monkeypatch.context() as patched:
        patched.setattr(trace, "AFTER", 1000)
        plain = drawn(model, prompts)
    if fails == "at once":
        monkeypatch.setattr(torch.jit, "trace", refuse)
    else:
        monkeypatch.setattr(torch.jit, "trace", lambda *_, **__: refuse)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            found = drawn(model, prompts)
            assert torch.equal(plain.ids, found.ids)
            assert torch.equal(plain.logprobs, found.logprobs)
    assert [str(one.message) for one in said] == [
        "no trace here (not in this version): Python goes on starting each operation, slower"
    ]


def test_nobody_hears_that_traces_are_old(make, prompts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(make(), prompts)


def test_a_trace_holds_no_model(make, prompts):
    model = make()
    check(model, prompts)
    alive, kept = weakref.ref(model), len(trace._KEPT)
    del model
    gc.collect()
    assert alive() is None
    assert len(trace._KEPT) < kept


def test_a_policy_samples_without_python(base, posed):
    """Rollouts of a policy on a CPU: the same replies, and the weights that training moved."""
    policy = base.copy()
    prompts = [problem.prompt for problem in posed[:2]]

    def texts(graphs):
        policy._recorder = Recorder(graphs)
        seed = torch.Generator().manual_seed(3)
        return policy.sample(prompts, 2, 24, generator=seed)

    for scale in (1.0, 3.0):
        with torch.no_grad():
            policy.model.lm_head.weight.mul_(scale)
        plain, found = texts(False), texts(True)
        assert plain.texts == found.texts
        torch.testing.assert_close(plain.logp, found.logp, atol=1e-4, rtol=1e-4)
    assert made(policy.model)
