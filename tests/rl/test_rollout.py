from dataclasses import dataclass

import pytest
import torch

from minidsk.rl.rollout import rollout
from minidsk.tasks.base import Problem


@dataclass(frozen=True)
class Counting(Problem):
    """Rewards the share of "a" in a reply."""

    def score(self, text):
        return text.count("a") / max(len(text), 1)


PROBLEMS = [Counting("a b\n"), Counting("abcd abcd\n"), Counting("c"), Counting("ab\n")]


@pytest.fixture
def drawn(make_policy, generator):
    return rollout(make_policy(), PROBLEMS, 5, 12, {"accuracy": 1.0, "well_formed": 0.5}, generator=generator)


def test_shapes_and_places(drawn, tokenizer):
    sampled = drawn.completions
    n, width = 20, 1 + len("abcd abcd\n")
    length = sampled.tokens.shape[1]
    assert sampled.ids.shape == sampled.attention_mask.shape == (n, width + length)
    assert sampled.logp.shape == sampled.mask.shape == (n, length)
    assert torch.equal(sampled.ids[:, width:], sampled.tokens)
    for row, problem in enumerate(p for p in PROBLEMS for _ in range(5)):
        prompt = sampled.ids[row, :width][sampled.attention_mask[row, :width]]
        assert tokenizer.decode(prompt) == "<bos>" + problem.prompt
        here = int(sampled.lengths[row])
        assert sampled.mask[row].tolist() == [True] * here + [False] * (length - here)
        answer = sampled.tokens[row, :here].tolist()
        assert tokenizer.eos_id not in answer[:-1]
        assert answer[-1] == tokenizer.eos_id or here == length == 12
        assert sampled.ended[row] == (answer[-1] == tokenizer.eos_id)
        assert sampled.texts[row] == tokenizer.decode([i for i in answer if i != tokenizer.eos_id])


def test_rewards_by_group(drawn):
    scores = [[PROBLEMS[p].score(drawn.completions.texts[5 * p + g]) for g in range(5)] for p in range(4)]
    assert drawn.parts["accuracy"].tolist() == torch.tensor(scores).tolist()
    torch.testing.assert_close(drawn.rewards, drawn.parts["accuracy"] + 0.5 * drawn.parts["well_formed"])
    assert drawn.posed == [problem for problem in PROBLEMS for _ in range(5)]


def test_log_probabilities_kept_from_sampling_equal_a_fresh_pass(drawn, make_policy):
    """Sampled with a cache beside padding; computed anew without either, in slices of any rows."""
    policy, sampled = make_policy(), drawn.completions
    everything = torch.arange(20)
    assert len({len(p.prompt) for p in PROBLEMS}) == 4
    for rows in (everything, everything.flip(0), everything[5:6], sampled.lengths.argsort()[:7]):
        some = sampled[rows]
        logp, entropy = policy.predictions(some)
        assert logp.shape == some.mask.shape == (len(rows), int(sampled.lengths[rows].max()))
        assert some.texts == [sampled.texts[i] for i in rows.tolist()]
        torch.testing.assert_close(logp[some.mask], some.logp[some.mask], rtol=1e-4, atol=1e-5)
        assert (entropy[some.mask] >= 0).all()


def test_the_generator_decides(make_policy):
    def texts(seed):
        g = torch.Generator().manual_seed(seed)
        return rollout(make_policy(), PROBLEMS, 4, 8, {"accuracy": 1.0}, generator=g).completions.texts

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_unknown_rewards_are_refused(make_policy):
    with pytest.raises(ValueError, match="rewards: 'beauty' is not known; give some of accuracy"):
        rollout(make_policy(), PROBLEMS, 2, 2, {"beauty": 1.0})
