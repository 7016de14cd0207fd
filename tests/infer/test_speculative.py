"""Speculation loses nothing: greedy text is the same, drawn text has the same distribution."""

import math
from itertools import product

import pytest
import torch

from minidsk.infer.acceptance import accept
from minidsk.infer.generate import decode
from minidsk.infer.rounds import Rounds
from minidsk.infer.sampling import Sampling
from minidsk.infer.speculative import speculate


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("modules", [1, 2])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("seed", [1, 2, 4])
def test_greedy_text_is_the_same(echo, prompts, modules, depth, seed):
    model, (ids, valid) = echo(seed, num_nextn_predict_layers=modules), prompts
    plain = decode(model, ids, 40, temperature=0.0, attention_mask=valid, eos_token_id=3, pad_token_id=9)
    fast = speculate(model, ids, 40, depth, temperature=0.0, attention_mask=valid, eos_token_id=3, pad_token_id=9)
    assert torch.equal(fast.ids, plain.ids)
    assert torch.equal(fast.mask, plain.mask)
    torch.testing.assert_close(fast.logprobs, plain.logprobs, atol=1e-5, rtol=0)
    assert (fast.kept > 0).any(), "a test of acceptance needs guesses that are accepted"
    assert torch.equal(fast.drafted, depth * (fast.passes - 1))
    written = fast.passes + fast.kept  # up to `depth` more than what was asked for, or than what the end leaves
    assert ((written >= fast.mask.sum(1)) & (written <= fast.mask.sum(1) + depth)).all()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_guesses_are_those_of_the_modules(echo, prompts, monkeypatch, depth):
    """In every round, after every kind of acceptance, against the modules without any cache."""
    model, (ids, valid) = echo(num_nextn_predict_layers=depth), prompts
    rounds = []
    guess = Rounds._guess

    def watched(rows, noise):
        probs = guess(rows, noise)
        for row in (~rows.done).nonzero().squeeze(1):
            begin, end = rows.cache.begins[row], rows.cache.ends[row] + 1
            text, guessed = rows.text[row, begin:end].tolist(), rows.text[row, end : end + depth]
            found = [of_rows[row] for of_rows in probs]
            for k in range(1, depth + 1):
                seen = torch.tensor([text + guessed[: k - 1].tolist()])
                if seen.shape[1] > k:  # before that the module has nothing to say
                    expected = model(seen).mtp_logits[k - 1][0, -1].softmax(-1)
                    torch.testing.assert_close(found[k - 1], expected, atol=1e-10, rtol=0)
            rounds.append(len(text))
        return probs

    monkeypatch.setattr(Rounds, "_guess", watched)
    out = speculate(model, ids, 30, depth, generator=seeded(), attention_mask=valid)
    assert len(rounds) == out.passes.sum() - 3
    assert 0 < out.kept.sum() < out.drafted.sum()


def test_a_module_is_used_again_on_its_own_states(echo, ids, monkeypatch):
    """One module, two guesses: the second rests on the module's state and the first guess."""
    model = echo(num_nextn_predict_layers=1)
    rows = Rounds(model, 3, 32, 2, Sampling(0.0))
    with torch.no_grad():
        rows.begin(ids, torch.ones_like(ids, dtype=torch.bool), 5, torch.zeros(3, dtype=torch.long), ids[0, :0])
        rows._guess(torch.full((3, 3, 32), -1.0))
        guesses = rows.text.gather(1, rows._slots(1, 2))
        text = torch.cat((ids, rows.text.gather(1, rows._slots(0, 1))), 1)
        cache = model.new_cache(3, 13, mtp=True)
        states = model.states(text, cache=cache)
        assert torch.equal(model.lm_head(states.ahead[0][:, -1]).argmax(-1), guesses[:, 0])
        cache.open(torch.ones(3, 1, dtype=torch.bool))
        again = model.look_ahead(1, guesses[:, :1], cache, states.ahead[0][:, -1:])
        assert torch.equal(model.lm_head(again[:, 0]).argmax(-1), guesses[:, 1])


def chi_square_fits(counts, p):
    """Whether counts ``[n]`` could be draws from p ``[n]``; fewer than one fair sampler in ten thousand fails."""
    expected = counts.sum() * p
    common = expected >= 5
    value = ((counts - expected).square() / expected)[common].sum()
    freedom = int(common.sum()) - 1
    assert freedom > 3
    return value < freedom + 4 * math.sqrt(2 * freedom)


def test_acceptance_gives_the_models_distribution_exactly():
    """A toy of three tokens and two guesses, p and q depending on what stands before: all 27 texts of three tokens."""
    def table(seed):
        return torch.rand(3, 3, 3, generator=seeded(seed), dtype=torch.float64).pow(3).add(0.01)

    p, q = (t / t.sum(-1, keepdim=True) for t in (table(1), table(2)))  # [before, place, token]
    n, g = 60_000, seeded()
    first = torch.multinomial(q[0, 0], n, replacement=True, generator=g)
    second = torch.multinomial(q[first, 1], 1, generator=g).squeeze(1)
    target = torch.stack((p[0, 0].expand(n, -1), p[first, 1], p[second, 2]), 1)
    draft = torch.stack((q[0, 0].expand(n, -1), q[first, 1]), 1)
    kept, token = accept(target, draft, torch.stack((first, second), 1), g)
    texts = torch.stack((first, second, token), 1)
    # What a pass does not give, later passes do, from p itself.
    for place in (0, 1, 2):
        before = torch.zeros_like(first) if place == 0 else texts[:, place - 1]
        own = torch.multinomial(p[before, place], 1, generator=g).squeeze(1)
        texts[:, place] = torch.where(place < kept, texts[:, place], torch.where(place == kept, token, own))
    counts = torch.bincount(texts @ torch.tensor([9, 3, 1]), minlength=27).double()
    exact = torch.stack([p[0, 0, a] * p[a, 1, b] * p[b, 2, c] for a, b, c in product(range(3), repeat=3)])
    assert chi_square_fits(counts, exact)
    by_hand = torch.minimum(p[0, 0], q[0, 0]).sum()  # the chance that the first guess is kept
    assert abs((kept > 0).double().mean() - by_hand) < 4 * math.sqrt(0.25 / n)


@pytest.mark.parametrize(("p", "q", "guess", "kept"), [
    ([1.0, 0.0], [1.0, 0.0], 0, 1), ([0.0, 1.0], [1.0, 0.0], 0, 0), ([0.5, 0.5], [0.5, 0.5], 1, 1),
])  # fmt: skip
def test_what_is_certain_is_certain(p, q, guess, kept):
    target = torch.tensor([p, [0.0, 1.0]])
    for seed in range(20):
        found, token = accept(target, torch.tensor([q]), torch.tensor([guess]), seeded(seed))
        assert found == kept
        assert token == 1


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_k": 4}])
@pytest.mark.parametrize("depth", [1, 2])
def test_drawn_text_has_the_distribution_of_the_model(echo, depth, options):
    """All 216 texts of three tokens over an alphabet of six, by the chain rule, against 12,000 that were written."""
    model = echo(vocab_size=6, num_nextn_predict_layers=1)
    prompt, n = torch.tensor([[1, 4, 2]]), 12_000
    texts = torch.tensor(list(product(range(6), repeat=3)))
    with torch.no_grad():
        logits = model(torch.cat((prompt.expand(216, -1), texts), 1)).logits[:, 2:5]
        p = Sampling(**options).probabilities(logits).gather(2, texts.unsqueeze(-1)).squeeze(-1).prod(1)
    out = speculate(model, prompt.expand(n, -1), 3, depth, generator=seeded(), **options)
    counts = torch.bincount(out.ids[:, 3:] @ torch.tensor([36, 6, 1]), minlength=216).double()
    assert chi_square_fits(counts, p)
    assert 0 < out.kept.sum() < out.drafted.sum()


def test_a_seed_gives_an_answer(make, ids):
    model = make(num_nextn_predict_layers=1)
    a, b, c = (speculate(model, ids, 12, generator=seeded(seed)).ids for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_wrong_requests_are_named(make, ids):
    with pytest.raises(ValueError, match=r"^depth: 0 does not fit; it must be 1 or more, for a model with MTP modules"):
        speculate(make(), ids, 3, 0)
    with pytest.raises(ValueError, match=r"^depth: 1 does not fit; .* with MTP modules"):
        speculate(make(num_nextn_predict_layers=0), ids, 3)
    with pytest.raises(ValueError, match=r"^ids: the prompt is empty"):
        speculate(make(), ids[:, :0], 3)
    with pytest.raises(ValueError, match=r"^top_p: 2 "):
        speculate(make(), ids, 3, top_p=2)
