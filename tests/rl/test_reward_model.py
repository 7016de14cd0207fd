"""The reward model: where it reads, what it minimises, what it learns, and how it is judged."""

import importlib.util
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from minidsk.rl.preferences import Preference, Ranking
from minidsk.rl.reward_model import (
    RewardModel,
    RewardModelConfig,
    accuracy,
    calibration,
    pair_loss,
    ranking_loss,
    train_reward_model,
)
from minidsk.train.optim import OptimConfig

FAST, SLOW = OptimConfig(lr=0.1, warmup=5), OptimConfig(lr=0.01, warmup=5)


def with_a_head(policy, seed=0):
    """A reward model whose head is not 0."""
    rm = RewardModel(policy)
    torch.nn.init.normal_(rm.critic.head.weight, generator=torch.Generator().manual_seed(seed))
    return rm


def test_it_starts_at_zero_and_leaves_the_model_alone(make_policy, tokenizer):
    policy = make_policy()
    model = policy.model
    before = {name: p.clone() for name, p in model.named_parameters()}
    rm = RewardModel(policy)
    assert torch.equal(rm(["ab\n", "c\n"], ["d", "a+b=c"]), torch.zeros(2))
    train_reward_model(rm, [Ranking("ab\n", ("c", "d"))] * 8, RewardModelConfig(batch=4, optim=FAST), progress=False)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert rm(["ab\n"], ["c"]) != 0


def test_it_reads_at_the_end_whatever_stands_beside(make_policy, tokenizer):
    rm = with_a_head(make_policy())
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("ab\n"), *tokenizer.encode("c+d"), tokenizer.eos_id]])
    alone = rm.critic.head(rm.critic.body.states(ids, mtp=False).hidden)[0, -1, 0]
    for others in (["d"], ["a+b=c+d=a+b=c"], ["c+d"]):
        batch = rm(["ab\n"] * 2, ["c+d", *others])
        assert torch.allclose(batch[0], alone, atol=1e-6)
    assert not torch.allclose(rm(["ab\n"], ["c+d "]), alone, atol=1e-3)


def test_slices_do_not_change_scores(make_policy, tokenizer):
    rm = with_a_head(make_policy())
    prompts, replies = ["ab\n", "c\n", "d+a\n", "ab\n", "c\n"], ["a", "b+c=d", "", "dddddd", "a b"]
    assert torch.allclose(rm.score(prompts, replies, rows=2), rm(prompts, replies), atol=1e-6)
    problems = [SimpleNamespace(prompt=prompt) for prompt in prompts]
    assert torch.equal(rm.reward(problems, replies), rm.score(prompts, replies))


def test_centring_moves_the_mean_and_no_margin(make_policy, tokenizer):
    rm = with_a_head(make_policy())
    prompts, replies = ["ab\n"] * 3, ["a", "b", "c+d"]
    pairs = [Preference("ab\n", "a", "c+d"), Preference("ab\n", "b", "a")]
    before = rm.margins(pairs)
    rm.centre(prompts, replies)
    assert abs(rm.score(prompts, replies).mean()) < 1e-6
    assert torch.allclose(rm.margins(pairs), before, atol=1e-6)


def test_the_loss_against_its_definition():
    g = torch.Generator().manual_seed(0)
    chosen, rejected = torch.randn(2, 50, generator=g, dtype=torch.float64)
    want = -(chosen.exp() / (chosen.exp() + rejected.exp())).log().mean()
    assert torch.allclose(pair_loss(chosen, rejected), want, atol=1e-12)
    assert pair_loss(torch.tensor([-1e4]), torch.tensor([1e4])) == 2e4  # nothing overflows


def test_a_ranking_is_the_mean_of_its_pairs():
    scores = torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)
    pairs = [(2.0, 1.0), (2.0, 3.0), (1.0, 3.0)]
    want = sum(torch.log1p(torch.tensor(b - a, dtype=torch.float64).exp()) for a, b in pairs) / 3
    assert torch.allclose(ranking_loss(scores), want, atol=1e-12)
    assert torch.allclose(ranking_loss(scores[:2]), pair_loss(scores[:1], scores[1:2]), atol=1e-12)


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="TRL needs Python 3.11 or later")
def test_the_loss_is_trls():
    from trl.trainer.reward_trainer import RewardTrainer

    g = torch.Generator().manual_seed(1)
    scores = torch.randn(2, 16, generator=g, dtype=torch.float64, requires_grad=True)
    same = SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x)
    stand_in = SimpleNamespace(
        model=SimpleNamespace(training=False), accelerator=same, _metrics={"eval": defaultdict(list)},
        args=SimpleNamespace(center_rewards_coefficient=None), _total_train_tokens=0,
    )  # fmt: skip
    outputs = SimpleNamespace(logits=scores.flatten().unsqueeze(1))
    theirs = RewardTrainer.compute_loss(stand_in, lambda **_: outputs, {})
    ours = pair_loss(*scores)
    assert abs(float(theirs.detach()) - float(ours.detach())) < 1e-12
    theirs_grad, ours_grad = (torch.autograd.grad(loss, scores)[0] for loss in (theirs, ours))
    assert torch.allclose(theirs_grad, ours_grad, atol=1e-12)
    assert abs(stand_in._metrics["eval"]["accuracy"][0] - accuracy(scores[0] - scores[1])) < 1e-6


def test_it_learns_what_the_labels_say(make_policy, tokenizer):
    """Labels that go by one letter: the right order on pairs that were not seen, whatever the prompt."""
    liked = [Ranking(prompt, (a + "c" + b, a + "d" + b))
             for prompt in ("ab\n", "c\n", "d+a\n") for a in ("", "a", "b+") for b in ("", "=a", "b")]  # fmt: skip
    rm = RewardModel(make_policy(initializer_range=0.1))
    losses = train_reward_model(rm, liked, RewardModelConfig(epochs=6, batch=9, optim=SLOW), progress=False)
    assert losses[0] == pytest.approx(0.6931, abs=1e-4)  # log 2: it begins as a coin
    assert losses[-1] < 0.1
    unseen = [Preference("b\n", "a+c=a", "a+d=a"), Preference("ab\n", "bbcb", "bbdb")]
    assert accuracy(rm.margins(unseen)) == 1.0


def test_training_is_reproducible(make_policy, tokenizer):
    data = [Ranking("ab\n", ("c", "d", "a")), Ranking("c\n", ("a", "d"))] * 4
    runs = [
        train_reward_model(RewardModel(make_policy()), data, RewardModelConfig(batch=4), progress=False)
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_accuracy_counts_a_tie_as_half():
    assert accuracy(torch.tensor([1.0, -1.0, 0.0, 2.0])) == 2.5 / 4


def test_calibration_by_hand():
    predicted = torch.tensor([0.1, 0.15, 0.9, 1.0])
    happened = torch.tensor([0.0, 1.0, 1.0, 1.0])
    table, error = calibration(predicted, happened, bins=5)
    assert [row.pairs for row in table] == [2, 2]
    assert [row.predicted for row in table] == pytest.approx([0.125, 0.95])
    assert [row.observed for row in table] == pytest.approx([0.5, 1.0])
    assert error == pytest.approx((0.375 * 2 + 0.05 * 2) / 4)


def test_a_calibrated_judge_has_no_error():
    p = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    happened = torch.rand(200_000, generator=torch.Generator().manual_seed(1)) < p
    assert calibration(p, happened)[1] < 0.01
    assert calibration(p, p)[1] < 1e-6
    assert calibration((4 * (p - 0.5)).sigmoid(), happened)[1] < 0.1
    assert calibration((12 * (p - 0.5)).sigmoid(), happened)[1] > 0.1  # too sure of itself


def test_bad_input(make_policy, tokenizer):
    with pytest.raises(ValueError, match="do not fill a batch of 8"):
        train_reward_model(RewardModel(make_policy()), [Ranking("a", ("b", "c"))], RewardModelConfig())
    with pytest.raises(ValueError, match="epochs: 0"):
        RewardModelConfig(epochs=0)
    for wrong in (torch.tensor([0.5, 1.5]), torch.tensor([float("nan")]), torch.tensor([])):
        with pytest.raises(ValueError, match="not all probabilities"):
            calibration(wrong, torch.zeros(len(wrong)))
