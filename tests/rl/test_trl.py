"""Losses, gradients and advantages against TRL's own code, run with a trainer that has no model of its own."""

import importlib.util
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from minidsk.rl.grpo import LOSS_TYPES, group_advantages, policy_loss
from minidsk.rl.rollout import by_group

pytestmark = pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="TRL needs Python 3.11 or later")


@pytest.fixture(scope="module")
def trl():
    """TRL's trainer, imported once: it takes seconds."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    return GRPOTrainer


def stand_in(**changes):
    """What the methods of TRL's trainer ask of `self`, on one process without vLLM, tools or images."""
    same = SimpleNamespace(
        device=torch.device("cpu"), num_processes=1, process_index=0, gather=lambda x: x, reduce=lambda x, **_: x
    )
    model = SimpleNamespace(training=True, is_gradient_checkpointing=False)
    settings = {
        "accelerator": same, "model": model, "_metrics": {"train": defaultdict(list)},
        "_logs": defaultdict(list, rewards=defaultdict(list)), "use_vllm": False, "beta": 0.0, "epsilon_low": 0.2,
        "epsilon_high": 0.28, "importance_sampling_level": "token", "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None, "aux_loss_enabled": False, "_entropy_bonus_enabled": False,
        "current_gradient_accumulation_steps": 1, "environment_factories": None, "tools": None, "environments": None,
        "pad_to_multiple_of": None, "_tokenizer": SimpleNamespace(pad_token_id=0), "mask_truncated_completions": False,
        "num_generations": 4, "num_iterations": 1, "multi_objective_aggregation": "sum_then_normalize",
        "reward_func_names": ["accuracy"], "reward_weights": torch.ones(1, dtype=torch.float64),
        "log_multimodal": False, "_pending_extra_logs": {}, "_pending_metrics": {},
    }  # fmt: skip
    args = SimpleNamespace(
        use_bias_correction_kl=False, delta=None, steps_per_generation=1, gradient_accumulation_steps=1,
        per_device_train_batch_size=1, gradient_checkpointing_kwargs=None,
    )  # fmt: skip
    return SimpleNamespace(**{**settings, "args": args, **changes})


def batch(seed, answers=8, length=7):
    g = torch.Generator().manual_seed(seed)
    logp, noise, ref = (torch.randn(answers, length, dtype=torch.float64, generator=g) for _ in range(3))
    lengths = torch.randint(1, length + 1, (answers,), generator=g)
    mask = (torch.arange(length) < lengths[:, None]).long()
    return logp - 2, logp - 2 + 0.3 * noise, logp - 2 + 0.5 * ref, torch.randn(answers, generator=g).double(), mask


# What TRL calls the two that differ in more than the average. Its bound of cispo is that of the ratio itself, and it
# bounds nothing from below. The ratio of an answer moves less than those of its tokens.
THEIR_NAMES = {
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 0.03, "epsilon_high": 0.04},
    "cispo": {"epsilon_high": 1.28},
}
BOUNDS = {"gspo": (0.03, 0.04), "cispo": (1.0, 0.28)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_losses_and_gradients(trl, loss_type, beta, seed):
    logp, old, ref, advantages, mask = batch(seed)
    theirs, ours = logp.clone().requires_grad_(), logp.clone().requires_grad_()
    trainer = stand_in(
        **({"loss_type": loss_type} | THEIR_NAMES.get(loss_type, {})), beta=beta, max_completion_length=9,
        _get_per_token_logps_and_entropies=lambda *_, **__: (theirs, torch.zeros_like(theirs), None),
    )  # fmt: skip
    blank = torch.zeros(8, 1, dtype=torch.long)
    expected = trl._compute_loss(trainer, None, {
        "prompt_ids": blank, "prompt_mask": blank, "completion_ids": torch.zeros_like(mask), "completion_mask": mask,
        "advantages": advantages, "old_per_token_logps": old, "ref_per_token_logps": ref,
        "num_items_in_batch": mask.sum(),
    })  # fmt: skip
    bounds = BOUNDS.get(loss_type, (0.2, 0.28))
    loss, stats = policy_loss(ours, old, advantages, mask, *bounds, ref, beta, loss_type, max_length=9)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    expected.backward()
    loss.backward()
    assert ours.grad.abs().max() > 1e-3
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-12)
    logged = {name: values[0] for name, values in trainer._metrics["train"].items()}
    if loss_type not in THEIR_NAMES:  # of which TRL counts answers, or one side alone
        assert float(stats["clipped_low"]) == pytest.approx(logged["clip_ratio/low_mean"], abs=1e-6)
        assert float(stats["clipped_low"]) > 0.0
        assert float(stats["clipped_high"]) == pytest.approx(logged["clip_ratio/high_mean"], abs=1e-6)
    assert float(stats["clipped_high"]) > 0.0
    if beta:
        assert float(stats["kl"]) == pytest.approx(logged["kl"], abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages(trl, scale, seed):
    rewards = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    rewards[2] = 1.0
    n = rewards.numel()
    trainer = stand_in(
        scale_rewards=scale, _calculate_rewards=lambda *_: rewards.view(-1, 1),
        _generate=lambda prompts: ([[1]] * n, [[1, 2]] * n, None, ["x"] * n, None, {}, None, []),
    )  # fmt: skip
    expected = trl._generate_and_score_completions(trainer, [{"prompt": "x"}] * n)["advantages"]
    # TRL corrects its variance by a factor n / (n - 1) in float32.
    torch.testing.assert_close(group_advantages(rewards, scale).flatten(), expected, rtol=0, atol=5e-8)
    assert expected.view(6, 4)[2].eq(0).all()


def test_advantages_where_one_answer_could_not_be_judged(trl):
    """TRL leaves it out of the mean of its group and gives it advantage 0: what that mean in its place does too."""
    rewards = torch.tensor([[0.0, 1, 1, 0.25], [3, 2, 1, 0]], dtype=torch.float64)
    rewards[0, 1] = torch.nan
    trainer = stand_in(
        scale_rewards="none", _calculate_rewards=lambda *_: rewards.view(-1, 1),
        _generate=lambda prompts: ([[1]] * 8, [[1, 2]] * 8, None, ["x"] * 8, None, {}, None, []),
    )  # fmt: skip
    expected = trl._generate_and_score_completions(trainer, [{"prompt": "x"}] * 8)["advantages"]
    filled = by_group(rewards.flatten(), 4)
    torch.testing.assert_close(group_advantages(filled, "none").flatten(), expected, rtol=0, atol=1e-12)
