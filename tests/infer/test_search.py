"""Votes, best of many, forced budgets, and paths that go back: exact budgets, exact accounts, no unasked verifier."""

import itertools
from collections import Counter
from dataclasses import dataclass

import pytest
import torch

from minidsk.data.tokenizer import CharTokenizer
from minidsk.infer.search.account import Blind, Judged, verify
from minidsk.infer.search.forcing import budget_forcing
from minidsk.infer.search.paths import Paths, common
from minidsk.infer.search.voting import best_of_n, draw_within, majority, vote
from minidsk.rl.policy import MiniPolicy
from minidsk.tasks.base import Problem

TOKENIZER = CharTokenizer("abc=+\n")


@dataclass(frozen=True)
class Letter(Problem):
    """The whole reply is the answer; "a" is right, and "b" is half right."""

    def answer(self, text):
        return text or None

    def score(self, text):
        return {"a": 1.0, "b": 0.5}.get(text, 0.0)


@pytest.fixture
def exact(make):
    """A small policy in float64 that knows a few letters."""
    return MiniPolicy(make(vocab_size=TOKENIZER.vocab_size), TOKENIZER)


@pytest.mark.parametrize(("answers", "place"), [
    ("aba", 0), ("abb", 1), ("ab", 0), ("cab", 0), ("cabba", 1), ([None, "a", None], 1), ([None, None], None),
    ([], None),
])  # fmt: skip
def test_the_most_frequent_answer_wins_and_the_first_of_equals(answers, place):
    assert vote(list(answers)) == place


def test_majority_is_the_exact_majority(exact):
    """One token a reply: the chance that the majority of three says "a" can be enumerated."""
    prompt = [TOKENIZER.bos_id, *TOKENIZER.encode("ab")]
    with torch.no_grad():
        chances = exact.model(torch.tensor([prompt])).logits[0, -1].softmax(-1).tolist()
    texts = [TOKENIZER.decode([i]) for i in range(TOKENIZER.vocab_size)]
    texts[TOKENIZER.eos_id] = ""  # no answer
    winner = Counter()
    for three in itertools.product(range(len(chances)), repeat=3):
        given = [texts[i] for i in three if texts[i]]
        best = max(given, key=lambda text: (given.count(text), -given.index(text)), default="")
        winner[best] += chances[three[0]] * chances[three[1]] * chances[three[2]]
    asked = [Letter("ab")] * 4000
    found = majority(exact, asked, 3, torch.Generator().manual_seed(0), longest=1)
    seen = Counter(found.replies)
    for text, chance in winner.items():
        deviation = (chance * (1 - chance) / 4000) ** 0.5
        assert abs(seen[text] / 4000 - chance) < 4.5 * deviation + 1e-9, text
    assert set(found.tokens) == {3}
    assert set(found.samples) == {3}


@pytest.mark.parametrize("budget", [30, 31, 100, 250])
def test_a_budget_is_used_up_and_never_exceeded(base, posed, budget, generator):
    drawn, spent, flops = draw_within(base, posed, budget, 30, 1.0, generator, rows=5)
    for problem, replies, used in zip(posed, drawn, spent, strict=True):
        sampled = base.encode([problem.prompt] * len(replies), replies)
        lengths = [min(length, 30) for length in sampled.lengths.tolist()]
        assert used == sum(lengths)
        assert budget - 30 < used <= budget
    assert flops > 0
    with pytest.raises(ValueError, match="^budget: 29 does not fit; it must hold one reply of 30 tokens"):
        draw_within(base, posed, 29, 30, 1.0, generator, rows=5)


def test_the_best_is_what_the_judge_likes_best(exact, generator):
    asked = [Letter("ab"), Letter("c")] * 20
    verified = best_of_n(exact, asked, verify, 8, generator, longest=1)
    drawn, _, flops = draw_within(exact, asked, 8, 1, 1.0, torch.Generator().manual_seed(0), 1024)
    for reply, replies in zip(verified.replies, drawn, strict=True):
        assert Letter("").score(reply) == max(Letter("").score(each) for each in replies)
    assert verified.flops == flops

    def likes_b(questions, replies):
        return Judged([float(reply == "b") for reply in replies], 1000.0)

    learned = best_of_n(exact, [Blind(q) for q in asked], likes_b, 8, torch.Generator().manual_seed(0), longest=1)
    for reply, replies in zip(learned.replies, drawn, strict=True):
        assert reply == ("b" if "b" in replies else replies[0])
    assert learned.flops == flops + 1000


def test_who_is_blind_cannot_check(posed):
    blind = Blind(posed[0])
    assert blind.prompt == posed[0].prompt
    assert blind.answer("<think></think><answer>1+1</answer>") == "1+1"
    assert [name for name in dir(blind) if not name.startswith("_")] == ["answer", "prompt"]  # no way to the verifier
    with pytest.raises(AttributeError):
        verify([blind], [""])


def test_texts_that_go_back_and_on_are_as_if_they_were_new(exact, generator):
    """Rows that share, leave and return: the next token's logits are those of a fresh pass over the whole text."""
    prompts = ["ab", "c", "abcab"]
    paths = Paths(exact, prompts, 12, 1.0, generator)
    ids = torch.Generator().manual_seed(3)
    for _ in range(12):
        rows = [row for row in range(3) if torch.rand((), generator=ids) < 0.7] or [1]
        texts = [torch.randint(10, 16, (int(torch.randint(0, 8, (1,), generator=ids)),), generator=ids).tolist()
                 for _ in rows]  # fmt: skip
        if torch.rand((), generator=ids) < 0.5:  # from somewhere on the way that is there
            held = [paths.held[row][len(paths.prompts[row]) :] for row in rows]
            texts = [there[: len(text)] for there, text in zip(held, texts, strict=True)]
        drawn, logps = paths.go_on(rows, texts, [4] * len(rows), (TOKENIZER.eos_id,))
        for row, text, new, logp in zip(rows, texts, drawn, logps, strict=True):
            assert 1 <= len(new) <= 4
            assert TOKENIZER.eos_id not in new[:-1]
            assert len(new) == 4 or new[-1] == TOKENIZER.eos_id
            whole = torch.tensor([[TOKENIZER.bos_id, *TOKENIZER.encode(prompts[row]), *text, *new]])
            with torch.no_grad():
                fresh = exact.model(whole).logits[0].log_softmax(-1)
            wanted = fresh[-len(new) - 1 : -1].gather(1, torch.tensor(new)[:, None]).squeeze(1)
            torch.testing.assert_close(torch.tensor(logp), wanted.float(), rtol=0, atol=1e-5)
            assert paths.held[row] == whole[0, :-1].tolist()
            assert int(paths.engine.cache.lengths[row]) == len(paths.held[row])


def test_one_reply_costs_what_sampling_it_costs_and_a_fork_only_what_is_new(exact, generator):
    plain = exact.sample(["abc"], 1, 6, 0.0)
    paths = Paths(exact, ["abc"], 12, 0.0, generator)
    [tokens], _ = paths.go_on([0], [[]], [6], (TOKENIZER.eos_id,))
    assert tokens == plain.tokens[0].tolist()
    assert paths.flops == pytest.approx(exact.flops(plain))
    before = paths.flops
    [more], _ = paths.go_on([0], [tokens[:3]], [2], (TOKENIZER.eos_id,))
    assert more == tokens[3:5]
    longer = exact.encode(["abc"], ["a" * 4])  # with its end as long as what stands now
    kept = exact.encode(["abc"], ["a"])  # all but the last of three is in the cache
    assert paths.flops - before == pytest.approx(exact.flops(longer) - exact.flops(kept))


def test_what_two_texts_share():
    assert [common([1, 2, 3], other) for other in ([1, 2, 4], [1, 2], [], [2], [1, 2, 3, 4])] == [2, 2, 0, 0, 3]


def test_without_force_a_reply_is_the_greedy_one(base, posed):
    forced = budget_forcing(base, posed, 120, None)
    assert forced.replies == tuple(base.sample([p.prompt for p in posed], 1, 160, 0.0).texts)
    assert not any(forced.cut)
    assert all(forced.ended)


@pytest.mark.parametrize("budget", [1, 7, 16, 60])
@pytest.mark.parametrize("waits", [0, 1, 50])
def test_a_thought_has_its_budget_and_no_more(base, posed, budget, waits):
    forced = budget_forcing(base, posed, budget, None, waits=waits)
    encode = base.tokenizer.encode
    for reply, thought, cut, waited in zip(forced.replies, forced.thought, forced.cut, forced.waits, strict=True):
        inside = reply.removeprefix("<think>").partition("</think>")[0]
        assert len(encode(inside)) == thought <= budget
        assert cut == (thought == budget) or not cut
        assert waited <= waits
        if cut:
            assert thought == budget
            assert reply.removeprefix("<think>" + inside + "</think>").startswith("<answer>")
        assert waits < 50 or thought == budget  # enough waits fill any budget
    unforced = budget_forcing(base, posed, 200, None)
    if waits == 0:
        assert list(forced.cut) == [length >= budget for length in unforced.thought]
    if waits == 1 and budget == 60:
        first = [reply.partition("</think>")[0] for reply in unforced.replies]
        assert all(reply.startswith(begun + "\n") for reply, begun in zip(forced.replies, first, strict=True))
        assert set(forced.waits) == {1}


def test_a_continuation_that_does_not_fit_is_left_out(base, posed):
    """Three tokens take the place of an end; with room for two, the thought ends by itself."""
    lengths = budget_forcing(base, posed, 200, None).thought
    for room, waited in ((2, 0), (3, 1)):
        budget = lengths[0] + room
        forced = budget_forcing(base, posed[:1], budget, None, waits=1, wait="\n\n\n")
        assert forced.waits == (waited,)
        assert forced.cut == (waited == 1,)
        assert forced.thought == (budget if waited else lengths[0],)


def test_an_answer_that_does_not_end_is_told_from_a_thought_that_was_cut(base, posed):
    forced = budget_forcing(base, posed, 100, None, answer=3)
    assert not any(forced.cut)
    assert not any(forced.ended)
    assert max(forced.tokens) <= 1 + max(forced.thought) + 1 + 3
    for fields in ({"budget": 0}, {"waits": -1}, {"answer": 1}):
        with pytest.raises(ValueError, match="^budget, waits, answer: "):
            budget_forcing(base, posed, **{"budget": 9, "generator": None, **fields})
    with pytest.raises(ValueError, match="^wait: is empty"):
        budget_forcing(base, posed, 9, None, wait="")


def test_only_a_thought_that_is_not_done_is_kept_from_ending(base, posed):
    asked = []

    def done(thought):
        asked.append(thought)
        return thought.endswith("yes")

    plain = budget_forcing(base, posed, 160, None)
    forced = budget_forcing(base, posed, 160, None, waits=1, done=done)
    thoughts = [reply.partition("</think>")[0].removeprefix("<think>") for reply in plain.replies]
    assert set(asked) >= set(thoughts)
    assert forced.waits == tuple(int(not thought.endswith("yes")) for thought in thoughts)
    assert 0 < sum(forced.waits) < len(posed)
    for waited, before, after in zip(forced.waits, plain.replies, forced.replies, strict=True):
        assert waited or before == after
