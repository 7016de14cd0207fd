from dataclasses import dataclass

import pytest
import torch

from minidsk.rl.loop import answer_logprobs
from minidsk.rl.rollout import rollout
from minidsk.tasks.base import Problem


@dataclass(frozen=True)
class Counting(Problem):
    """Rewards the share of "a" in a reply."""

    def score(self, text):
        return text.count("a") / max(len(text), 1)


PROBLEMS = [Counting("a b\n"), Counting("abcd abcd\n"), Counting("c"), Counting("ab\n")]


@pytest.fixture
def sampled(make_model, tokenizer, generator):
    return rollout(make_model(), tokenizer, PROBLEMS, 5, 12, {"accuracy": 1.0, "well_formed": 0.5}, generator=generator)


def test_shapes_and_places(sampled, tokenizer):
    n, width = 20, 1 + len("abcd abcd\n")
    length = sampled.tokens.shape[1]
    assert sampled.ids.shape == sampled.valid.shape == (n, width + length)
    assert sampled.old_logp.shape == sampled.mask.shape == (n, length)
    assert torch.equal(sampled.ids[:, width:], sampled.tokens)
    for row, problem in enumerate(p for p in PROBLEMS for _ in range(5)):
        prompt = sampled.ids[row, :width][sampled.valid[row, :width]]
        assert tokenizer.decode(prompt) == "<bos>" + problem.prompt
        here = int(sampled.lengths[row])
        assert sampled.mask[row].tolist() == [True] * here + [False] * (length - here)
        answer = sampled.tokens[row, :here].tolist()
        assert tokenizer.eos_id not in answer[:-1]
        assert answer[-1] == tokenizer.eos_id or here == length == 12
        assert sampled.texts[row] == tokenizer.decode([i for i in answer if i != tokenizer.eos_id])


def test_rewards_by_group(sampled):
    scores = [[PROBLEMS[p].score(sampled.texts[5 * p + g]) for g in range(5)] for p in range(4)]
    assert sampled.parts["accuracy"].tolist() == torch.tensor(scores).tolist()
    torch.testing.assert_close(sampled.rewards, sampled.parts["accuracy"] + 0.5 * sampled.parts["well_formed"])


def test_log_probabilities_kept_from_sampling_equal_a_fresh_pass(sampled, make_model):
    """Sampled with a cache beside padding; computed anew without either, in slices of any rows."""
    model = make_model()
    everything = torch.arange(20)
    assert len({len(p.prompt) for p in PROBLEMS}) == 4
    for rows in (everything, everything.flip(0), everything[5:6], sampled.lengths.argsort()[:7]):
        logp, entropy = answer_logprobs(model, sampled, rows)
        width = logp.shape[1]
        assert width == int(sampled.lengths[rows].max())
        mask = sampled.mask[rows, :width]
        torch.testing.assert_close(logp[mask], sampled.old_logp[rows, :width][mask], rtol=1e-4, atol=1e-5)
        assert (entropy[mask] >= 0).all()


def test_the_generator_decides(make_model, tokenizer):
    def texts(seed):
        g = torch.Generator().manual_seed(seed)
        return rollout(make_model(), tokenizer, PROBLEMS, 4, 8, {"accuracy": 1.0}, generator=g).texts

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_unknown_rewards_are_refused(make_model, tokenizer):
    with pytest.raises(ValueError, match="rewards: 'beauty' is not known; give some of accuracy"):
        rollout(make_model(), tokenizer, PROBLEMS, 2, 2, {"beauty": 1.0})


def test_a_model_from_outside_needs_generate_and_logits_alone(make_model, tokenizer, sampled):
    """A stand-in with the interface of transformers: `generate(attention_mask=...)` and `.logits`."""
    inner = make_model()

    class Outside:
        device = torch.device("cpu")

        def generate(self, ids, attention_mask, max_new_tokens, do_sample, temperature, eos_token_id, pad_token_id):
            assert do_sample
            return inner.generate(ids, max_new_tokens, temperature, torch.Generator().manual_seed(0),
                                  attention_mask=attention_mask, eos_token_id=eos_token_id,
                                  pad_token_id=pad_token_id)  # fmt: skip

        def __call__(self, ids, attention_mask):
            return inner(ids, valid=attention_mask.bool())

    got = rollout(Outside(), tokenizer, PROBLEMS, 5, 12, {"accuracy": 1.0})
    assert got.texts == sampled.texts
    assert torch.equal(got.mask, sampled.mask)
    torch.testing.assert_close(got.old_logp, sampled.old_logp, rtol=1e-4, atol=1e-5)
