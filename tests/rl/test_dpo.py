"""DPO: the loss against TRL's own and its definition, log-probabilities of replies, and where a run must end."""

import importlib.util
import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from minidsk.rl.dpo import LOSS_TYPES, DPOConfig, direct_preferences, dpo_loss, reply_logprobs
from minidsk.rl.preferences import Preference
from minidsk.train.optim import OptimConfig

TRL = pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="TRL needs Python 3.11 or later")


def batch(seed, pairs=6, length=9):
    """Token log-probabilities ``[2 pairs, length]`` of policy and reference, chosen replies first, and the mask."""
    g = torch.Generator().manual_seed(seed)
    logp, ref = -torch.rand(2, 2 * pairs, length, generator=g, dtype=torch.float64) * 3
    lengths = torch.randint(1, length + 1, (2 * pairs,), generator=g)
    mask = (torch.arange(length) < lengths[:, None]).long()
    return logp * mask, ref * mask, mask


@TRL
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [0.1, 0.7])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_loss_and_gradient_are_trls(loss_type, beta, seed):
    from trl.trainer.dpo_trainer import DPOTrainer

    logp, ref, mask = batch(seed)
    logp.requires_grad_()
    nothing = torch.zeros_like(logp)
    outputs = SimpleNamespace(log_probs=logp, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())
    ref_chosen, ref_rejected = ref.sum(1).chunk(2)
    same = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    stand_in = SimpleNamespace(
        model=SimpleNamespace(training=False), accelerator=same, _metrics={"eval": defaultdict(list)}, ld_alpha=None,
        aux_loss_enabled=False, precompute_ref_logps=True, f_divergence_type="reverse_kl", beta=beta,
        loss_types=[loss_type], loss_weights=[1.0], use_weighting=False, label_smoothing=0.0, _total_train_tokens=0,
    )  # fmt: skip
    # TRL counts a reply's tokens on a mask that begins one token earlier, at the prompt's last.
    shifted = torch.cat((torch.zeros(len(mask), 1, dtype=torch.long), mask), 1)
    inputs = {"input_ids": shifted, "completion_mask": shifted, "attention_mask": shifted,
              "ref_chosen_logps": ref_chosen, "ref_rejected_logps": ref_rejected}  # fmt: skip
    theirs = DPOTrainer._compute_loss(stand_in, lambda **_: outputs, inputs, False)

    chosen, rejected = logp.sum(1).chunk(2)
    ours, stats = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta, loss_type, mask.sum(1).chunk(2))
    assert ours.dtype == torch.float64
    assert abs(float(theirs.detach()) - float(ours.detach())) < 1e-12
    theirs_grad, ours_grad = (torch.autograd.grad(loss, logp, retain_graph=True)[0] for loss in (theirs, ours))
    assert (theirs_grad - ours_grad).abs().max() < 1e-12
    metrics = stand_in._metrics["eval"]
    for name, key in (("accuracy", "rewards/accuracies"), ("margin", "rewards/margins"), ("chosen", "rewards/chosen")):
        assert abs(float(stats[name]) - metrics[key][0]) < 1e-6


def test_the_loss_by_hand():
    loss, stats = dpo_loss(*torch.tensor([[-3.0], [-5.0], [-4.0], [-4.0]]), beta=0.5)
    assert float(loss) == pytest.approx(-math.log(1 / (1 + math.exp(-1.0))))  # margin (1) - (-1) = 2, times 0.5
    assert float(stats["margin"]) == pytest.approx(1.0)
    assert float(stats["accuracy"]) == 1.0


def test_at_the_reference_every_pair_is_a_coin():
    x, y = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    assert float(dpo_loss(x, y, x, y)[0]) == pytest.approx(math.log(2))
    assert float(dpo_loss(x, y, x, y, 0.1, "hinge")[0]) == 1.0


def test_what_both_ratios_share_does_not_matter():
    g = torch.Generator().manual_seed(1)
    a, b, c, d = torch.randn(4, 5, generator=g, dtype=torch.float64)
    shift = torch.randn(5, generator=g, dtype=torch.float64)
    assert torch.allclose(dpo_loss(a, b, c, d)[0], dpo_loss(a + shift, b + shift, c, d)[0])


def test_the_optimum_is_the_closed_form():
    """One prompt, four replies, labels that follow a known reward: the minimum is ref exp(reward / beta) / Z."""
    beta, reward = 0.5, torch.tensor([0.0, 0.4, 1.0, -0.3], dtype=torch.float64)
    ref = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
    weights = torch.sigmoid(reward[:, None] - reward)  # how often i is preferred to j
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]

    def closure():
        optimizer.zero_grad()
        logp = logits.log_softmax(0)
        loss = sum(weights[i, j] * dpo_loss(logp[i : i + 1], logp[j : j + 1], ref[i : i + 1], ref[j : j + 1], beta)[0]
                   for i, j in pairs)  # fmt: skip
        loss.backward()
        return loss

    optimizer.step(closure)
    want = (ref + reward / beta).log_softmax(0)
    assert torch.allclose(logits.log_softmax(0), want, atol=1e-5)


def test_log_probabilities_of_replies(make_policy, tokenizer):
    policy = make_policy()
    model = policy.model
    prompts, replies = ["ab\n", "c\n"], ["c+d", "a"]
    logp, tokens = reply_logprobs(policy, policy.encode(prompts, replies))
    assert tokens.tolist() == [4, 2]  # the end counts
    for i in range(2):
        start = [tokenizer.bos_id, *tokenizer.encode(prompts[i])]
        reply = [*tokenizer.encode(replies[i]), tokenizer.eos_id]
        everything = model(torch.tensor([start + reply])).logits[0].log_softmax(-1)
        want = sum(everything[len(start) + k - 1, token] for k, token in enumerate(reply))
        assert torch.allclose(logp[i], want, atol=1e-5)


def test_a_run_learns_the_preference_and_keeps_the_reference(make_policy):
    policy = make_policy(initializer_range=0.1)
    before = policy.copy()
    pairs = [Preference(prompt, "a+b", "d") for prompt in ("ab\n", "c\n", "d+a\n")]
    config = DPOConfig(steps=30, batch=4, optim=OptimConfig(lr=5e-3, warmup=5, betas=(0.9, 0.99)))
    history = direct_preferences(policy, pairs, config, progress=False)
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert history[-1]["accuracy"] == 1.0
    assert history[-1]["loss"] < 0.5
    replies = policy.encode(["ab\n"] * 2, ["a+b", "d"])
    (now, _), (then, _) = reply_logprobs(policy, replies), reply_logprobs(before, replies)
    assert now[0] - then[0] > now[1] - then[1]
    same = direct_preferences(before.copy(), pairs, config, reference=before, progress=False)
    assert same == history


def test_bad_input(make_policy):
    with pytest.raises(ValueError, match="loss_type: 'rank'"):
        DPOConfig(loss_type="rank")
    with pytest.raises(ValueError, match="beta: 0"):
        DPOConfig(beta=0)
    x = torch.zeros(2)
    with pytest.raises(ValueError, match="lengths: missing"):
        dpo_loss(x, x, x, x, loss_type="ipo")
    with pytest.raises(ValueError, match="preferences: none"):
        direct_preferences(make_policy(), [], DPOConfig())
