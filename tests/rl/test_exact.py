"""A sampler and a trainer that agree bit for bit, and how they differ without."""

from dataclasses import dataclass

import pytest
import torch

from minidsk.infer.engine import Engine
from minidsk.infer.recorder import WIDTH
from minidsk.model.transformer import MiniDeepSeek
from minidsk.presets import nano
from minidsk.rl.config import RLConfig
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import MiniPolicy
from minidsk.tasks.base import Problem, Task
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig

PROMPTS = ["ab cd=", "a", "dd+dc+ab="]


@pytest.fixture
def make_nano(tokenizer):
    """Makes a policy of the nano preset's size, in float32, whose predictions are not all alike."""

    def make(exact):
        config = nano().pretrain.model.replace(vocab_size=tokenizer.vocab_size)
        model = MiniDeepSeek(config, torch.Generator().manual_seed(0))
        with torch.no_grad():
            model.lm_head.weight.mul_(4)
        return MiniPolicy(model, tokenizer, exact=exact)

    return make


def gaps(policy, group, rows):
    """The largest difference of log-probabilities in each slice of so many rows."""
    some = policy.sample(PROMPTS, group, 40, 1.0, torch.Generator().manual_seed(0))
    assert some.logp.min() < -1
    assert group < 11 or some.lengths.min() < 20 < some.lengths.max()
    parts = [some[part] for part in torch.arange(len(some)).split(rows)]
    return [float(((policy.logprobs(part) - part.logp) * part.mask).abs().max().detach()) for part in parts]


@pytest.mark.parametrize("group", [1, 3, 11])
@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_the_gap_is_exactly_0(make_nano, group, rows):
    assert set(gaps(make_nano(2 * WIDTH), group, rows)) == {0.0}
    assert max(gaps(make_nano(None), group, rows)) > 0


@dataclass(frozen=True)
class Odd(Problem):
    """Worth 1 with an odd number of characters."""

    def score(self, text):
        return float(len(text) % 2)


class Parity(Task):
    """Prompts of three lengths."""

    def __getitem__(self, i):
        return Odd(PROMPTS[i % 3])


@pytest.mark.parametrize("rows", [3, 256])
def test_nor_is_there_a_gap_while_it_learns(make_nano, tmp_path, rows):
    config = RLConfig(steps=4, prompts=3, group=6, max_new_tokens=40, rows=rows, optim=OptimConfig(lr=1e-3))
    for exact in (2 * WIDTH, None):
        run = Run(tmp_path / str(exact), "rl", config)
        reinforce(make_nano(exact), Parity(), config, run, progress=False)
        lines = run.metrics()
        assert min(line["grad_norm"] for line in lines) > 0
        assert {line["logp_gap"] == 0 for line in lines} == {exact is not None}


@pytest.mark.slow
def test_out_of_memory_in_sampling_teaches_the_same(make_nano, tmp_path, monkeypatch, capsys):
    """Half the rows at a time from there on, and every weight the same in the end."""
    config = RLConfig(steps=2, prompts=3, group=6, max_new_tokens=40, optim=OptimConfig(lr=1e-3))
    taught = []
    for room in (64, 5):
        advance = Engine._advance

        def tight(engine, ids, last=None, fresh=False, advance=advance, room=room):
            if len(ids) > room:
                raise torch.OutOfMemoryError("full")
            advance(engine, ids, last, fresh)

        with monkeypatch.context() as patched:
            patched.setattr(Engine, "_advance", tight)
            policy = make_nano(2 * WIDTH)
            reinforce(policy, Parity(), config, Run(tmp_path / str(room), "rl", config), progress=False)
        taught.append(policy.model.state_dict())
    said = "".join(capsys.readouterr())
    assert said.count("out of memory") == 2
    assert "out of memory: 4 rows at a time are sampled from here on" in said
    torch.testing.assert_close(taught[1], taught[0], rtol=0, atol=0)
    assert not torch.equal(taught[0]["lm_head.weight"], make_nano(None).model.lm_head.weight)


def test_whoever_else_is_sampled(make_nano):
    """One prompt's replies, alone and among others: the same numbers, not only the same tokens."""
    policy = make_nano(2 * WIDTH)
    alone, among = (policy.sample(prompts, 4, 30, 1.0, torch.Generator().manual_seed(1))
                    for prompts in (PROMPTS[:1], PROMPTS))  # fmt: skip
    width = alone.tokens.shape[1]
    assert torch.equal(among.tokens[:4, :width][alone.mask], alone.tokens[alone.mask])
    assert torch.equal(among.logp[:4, :width][alone.mask], alone.logp[alone.mask])


def test_the_gradient_is_the_same_up_to_rounding(make_nano):
    plain, exact = make_nano(None), make_nano(2 * WIDTH)
    some = plain.sample(PROMPTS, 2, 20, 1.0, torch.Generator().manual_seed(0))
    for policy in (plain, exact):
        (policy.logprobs(some) * some.mask).sum().backward()
    for a, b in zip(exact.parameters(), plain.parameters(), strict=True):
        assert (a.grad - b.grad).norm() < 1e-4 * b.grad.norm() + 1e-7


def test_a_copy_is_exact_too(make_nano):
    assert make_nano(2 * WIDTH).copy().exact == 2 * WIDTH


def test_what_cannot_be_exact_is_named(make_nano, make_model, tokenizer):
    with pytest.raises(ValueError, match=r"^exact: 33 does not fit; it must be a multiple of 32"):
        MiniPolicy(make_model(), tokenizer, exact=33)
    with pytest.raises(ValueError, match=r"^exact: 32 does not fit; only a CPU that samples from the model itself"):
        MiniPolicy(make_model(), tokenizer, torch.bfloat16, exact=32)
    policy = make_nano(WIDTH)
    with pytest.raises(ValueError, match=r"^capacity: 32 does not fit; prompts of 10 tokens and replies of 40 need 58"):
        policy.sample(PROMPTS, 1, 40)
    some = policy.encode(["a"], ["b" * WIDTH])
    with pytest.raises(ValueError, match=r"^exact: 32 does not fit texts of 35 tokens; give a larger one"):
        policy.logprobs(some)
