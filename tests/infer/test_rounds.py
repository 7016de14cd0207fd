"""A round of speculation as a graph needs it: the same text, nothing waited for, everything in its place."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minidsk.infer import engine, generate
from minidsk.infer import recorder as recorders
from minidsk.infer.generate import decode
from minidsk.infer.noise import Noise, streams
from minidsk.infer.recorder import Recorder, Replayed
from minidsk.infer.refill import WINDOW
from minidsk.infer.rounds import Rounds
from minidsk.infer.sampling import Sampling
from minidsk.infer.speculative import LOOK, speculate
from minidsk.model.cache import LatentCache, added

CPU = torch.device("cpu")
STOP = [3, 7]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def slowly(model, prompt, new, depth, sampling, begin):
    """One reply by the rule as it is written: no cache, no batch, a guess at a time; tokens, passes, kept guesses."""
    vocab = model.config.vocab_size
    noise = Noise(begin[None], 2 * vocab + 1)

    def at(place):
        own, of_guess, chance = noise.at(torch.tensor([[place]])).flatten().split((vocab, vocab, 1))
        return own, of_guess, chance.exp()

    def drawn(weights, log_u):
        return int((weights.log() - (-log_u).log()).argmax())  # Gumbel's noise, -log(-log u)

    p = sampling.probabilities(model(torch.tensor([prompt])).logits[0, -1])
    reply, passes, kept = [drawn(p, at(0)[0])], 1, 0
    while len(reply) < new and not {*reply} & {*STOP}:
        guesses, q = [], []
        for k in range(depth):
            seen = torch.tensor([[*prompt, *reply, *guesses]])
            q.append(sampling.probabilities(model(seen).mtp_logits[k][0, -1]))
            guesses.append(drawn(q[-1], at(len(reply) + k)[1]))
        p = sampling.probabilities(model(torch.tensor([[*prompt, *reply, *guesses]])).logits[0, -depth - 1 :])
        first = len(reply)
        for k, x in enumerate(guesses):
            own, _, chance = at(first + k)
            if chance >= min(1, p[k, x] / q[k][x]):
                reply.append(drawn((p[k] - q[k]).clamp(min=0), own))
                break
            reply.append(x)
            kept += 1
        else:
            reply.append(drawn(p[depth], at(first + depth)[0]))
        passes += 1
    return reply, passes, kept


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_k": 12, "top_p": 0.95}])
@pytest.mark.parametrize("depth", [1, 2, 3])
@torch.no_grad()
def test_rounds_write_what_the_rule_says(echo, prompts, depth, options):
    """Token for token, with the same noise: rows of one batch against each by itself."""
    model, (ids, valid) = echo(num_nextn_predict_layers=depth), prompts
    for seed in range(3):
        fast = speculate(model, ids, 24, depth, generator=seeded(seed), attention_mask=valid, eos_token_id=STOP,
                         **options)  # fmt: skip
        for row, begin in enumerate(streams(seeded(seed), 3, CPU)):
            reply, passes, kept = slowly(model, ids[row, valid[row]].tolist(), 24, depth, Sampling(**options), begin)
            found = fast.ids[row, 6:][fast.mask[row]].tolist()
            ends = [place for place, token in enumerate(reply) if token in STOP]
            assert found == reply[: min(ends[0] + 1 if ends else 24, 24)]
            assert (fast.passes[row], fast.kept[row]) == (passes, kept)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_neighbours_do_not_matter(echo, prompts, temperature):
    """A row by itself, in more padding, and beside rows that end sooner or later."""
    model, (ids, valid) = echo(num_nextn_predict_layers=1), prompts
    how = {"temperature": temperature, "eos_token_id": STOP}
    together = speculate(model, ids, 24, 2, generator=seeded(1), attention_mask=valid, **how)
    assert not together.mask.sum(1).eq(together.mask.sum(1)[0]).all(), "a test of neighbours needs rows that differ"
    for row in range(3):
        wider = torch.nn.functional.pad(ids[: row + 1], (5, 0)), torch.nn.functional.pad(valid[: row + 1], (5, 0))
        fewer = speculate(model, wider[0], 24, 2, generator=seeded(1), attention_mask=wider[1], **how)
        length = int(together.mask[row].sum())
        assert torch.equal(fewer.mask[row].nonzero(), together.mask[row].nonzero())
        assert torch.equal(fewer.ids[row, 11 : 11 + length], together.ids[row, 6 : 6 + length])


def begun(model, ids, sampling, depth=2):
    rounds = Rounds(model, len(ids), 64, depth, sampling)
    rounds.begin(ids, torch.ones_like(ids, dtype=torch.bool), 12, streams(seeded(), len(ids), CPU), torch.tensor(STOP))
    return rounds


SAMPLINGS = [Sampling(0.0), Sampling(), Sampling(0.7, 5, 0.9)]


WAITING = {"aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero", "aten::equal",
           "aten::masked_select", "aten::lift_fresh", "aten::_unique2", "aten::bincount"}  # fmt: skip


class Unwaiting(TorchDispatchMode):
    """Raises where Python would wait for a device, or hand it a number of its own."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name
        assert name not in WAITING, f"{name} waits"
        picked = [x for x in tree_leaves(args[1:2]) if isinstance(x, torch.Tensor)] if "index" in name else []
        assert all(x.dtype != torch.bool for x in picked), f"{name} with a mask waits"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_round_waits_for_nothing(echo, ids, sampling):
    rounds = begun(echo(n_routed_experts=0, num_nextn_predict_layers=1), ids, sampling)
    with Unwaiting():
        rounds._step()
    with pytest.raises(AssertionError, match="waits"), Unwaiting():
        bool(rounds.done.all())


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_round_reads_no_number(make, monkeypatch, sampling):
    """On the meta device tensors have shapes alone. Masks by numbers, as a GPU has them, too."""
    model = make(n_routed_experts=0, num_nextn_predict_layers=1).to("meta")
    made = LatentCache.mask
    for mask in (made, lambda cache, depth=0: added(made(cache, depth), torch.float64)):
        monkeypatch.setattr(LatentCache, "mask", mask)
        Rounds(model, 3, 64, 2, sampling)._step()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_everything_keeps_its_place(echo, ids, sampling):
    """What a round reads and the next one reads again is where it was, and new rows find it there."""
    rounds = begun(echo(num_nextn_predict_layers=1), ids, sampling)

    def places():
        found = {f"{type(of).__name__}.{name}": value for of in (rounds, rounds.cache, rounds.noise)
                 for name, value in vars(of).items() if isinstance(value, torch.Tensor)}  # fmt: skip
        found.pop("LatentCache.slots")  # of the tokens being computed: each pass makes its own
        return {name: (value.data_ptr(), value.shape, value.dtype) for name, value in found.items()}

    before = places()
    assert len(before) >= 12
    rounds._step()
    assert places() == before
    rounds.begin(ids[:, 4:], torch.ones_like(ids[:, 4:], dtype=torch.bool), 9, torch.arange(3), torch.tensor([1]))
    assert places() == before


class Tape(TorchDispatchMode):
    """A graph as a CPU can have it: the operations of a step, replayed on the same tensors, without Python between."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, found))
        return found

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, found in self.calls:
            if all(one.alias_info is None for one in function._schema.returns):  # no view, nothing in place
                for old, new in zip(tree_leaves(found), tree_leaves(function(*args, **kwargs)), strict=True):
                    old.copy_(new)
            elif any(one.alias_info is not None and one.alias_info.is_write for one in function._schema.arguments):
                function(*args, **kwargs)


@pytest.fixture
def taped(monkeypatch):
    """Lets steps be recorded, as they are on a GPU, on a tape."""
    tapes = []

    def record(self):
        for _ in range(2):
            self._step()
            self._forget()
        tapes.append(Tape())
        with tapes[-1]:
            self._step()
        self._forget()
        return tapes[-1]

    for module in (recorders, generate):
        monkeypatch.setattr(module, "recordable", lambda model, tokens: True)
    monkeypatch.setattr(engine, "kept", lambda model, make: None)  # a GPU has no traces
    monkeypatch.setattr(Replayed, "_record", record)
    return tapes


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_recording_replays_what_the_round_does(echo, prompts, taped, depth, sampling, monkeypatch):
    """One recording for prompts of several lengths, several limits, ends and seeds, against rounds as written."""
    model, (ids, valid) = echo(n_routed_experts=0, num_nextn_predict_layers=1), prompts
    recorder, kept = Recorder(), 0
    for width, new, stop, seed in ((6, 20, STOP, 0), (3, 7, [5], 1), (6, 1, [], 2), (1, 24, [*STOP, 5], 3)):
        how = {"attention_mask": valid[:, -width:], "eos_token_id": stop, "pad_token_id": 9, **vars(sampling)}
        replayed = speculate(model, ids[:, -width:], new, depth, generator=seeded(seed), recorder=recorder, **how)
        with monkeypatch.context() as without:
            without.setattr(recorders, "recordable", lambda model, tokens: False)
            plain = speculate(model, ids[:, -width:], new, depth, generator=seeded(seed), **how)
        for name, value in vars(plain).items():
            assert torch.equal(getattr(replayed, name), value), name
        kept += int(plain.kept.sum())
    assert kept > 0
    assert len(taped) == 1


def test_plain_decoding_replays_too(make, prompts, taped, monkeypatch):
    model, (ids, valid) = make(n_routed_experts=0), prompts
    replayed = decode(model, ids, 40, generator=seeded(), attention_mask=valid, eos_token_id=STOP)
    assert taped
    monkeypatch.setattr(generate, "recordable", lambda model, tokens: False)
    plain = decode(model, ids, 40, generator=seeded(), attention_mask=valid, eos_token_id=STOP)
    assert torch.equal(replayed.ids, plain.ids)


def test_one_recorder_keeps_steps_and_rounds(echo, prompts, taped):
    """Of the same rows and sampling: neither takes the other's place, and earlier answers stay."""
    model, (ids, valid), recorder = echo(n_routed_experts=0, num_nextn_predict_layers=1), prompts, Recorder()
    how = {"temperature": 0.0, "attention_mask": valid, "recorder": recorder}
    first = speculate(model, ids, 16, WINDOW, **how)  # as many guesses as a step of `decode` has room for tokens
    seen = first.ids.clone(), first.passes.clone()
    plain = decode(model, ids, 16, **how)
    assert torch.equal(first.ids, plain.ids)
    assert len(taped) == 2
    speculate(model, ids[:, -1:], 5, WINDOW, temperature=0.0, recorder=recorder)
    assert len(taped) == 2
    assert torch.equal(first.ids, seen[0])
    assert torch.equal(first.passes, seen[1])


def test_who_is_done_is_asked_every_few_rounds(echo, ids, taped, monkeypatch):
    """All rows end at once: as written after no round more, recorded at the next look."""
    model = echo(n_routed_experts=0, num_nextn_predict_layers=1)
    ran = []
    run = Rounds.run
    monkeypatch.setattr(Rounds, "run", lambda rounds: (ran.append(rounds), run(rounds)))
    done = speculate(model, ids, 40, 1, temperature=0.0, eos_token_id=list(range(1, 32, 2)))
    longest = int(done.passes.max()) - 1
    assert longest > 0
    assert len(ran) == LOOK * math.ceil(longest / LOOK)
    ran.clear()
    monkeypatch.setattr(recorders, "recordable", lambda model, tokens: False)
    speculate(model, ids, 40, 1, temperature=0.0, eos_token_id=list(range(1, 32, 2)))
    assert len(ran) == longest


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_graph_is_what_it_recorded(echo, ids, monkeypatch, temperature):
    model = echo(n_routed_experts=0, num_nextn_predict_layers=1).cuda().float()
    recorder, given = Recorder(), ids.cuda()
    for width in (6, 11):
        how = {"temperature": temperature, "eos_token_id": STOP}
        replayed = speculate(model, given[:, :width], 20, 2, generator=seeded(), recorder=recorder, **how)
        with monkeypatch.context() as without:
            without.setattr(recorders, "recordable", lambda model, tokens: False)
            plain = speculate(model, given[:, :width], 20, 2, generator=seeded(), **how)
        assert torch.equal(replayed.ids, plain.ids)
        assert torch.equal(replayed.passes, plain.passes)
