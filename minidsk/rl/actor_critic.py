"""The loop of PPO: the policy samples, a critic of the same size says what was to be expected, both learn."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from minidsk.data.tokenizer import Tokenizer
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.answers import answer_logprobs, answer_outputs, over_all
from minidsk.rl.config import PPOConfig
from minidsk.rl.grpo import policy_loss
from minidsk.rl.health import Health
from minidsk.rl.loop import step_in_slices
from minidsk.rl.metrics import describe
from minidsk.rl.ppo import explained_variance, gae, token_rewards, value_loss, whiten
from minidsk.rl.rewards import RewardFunction
from minidsk.rl.rollout import Rollouts
from minidsk.rl.sampler import Sampler
from minidsk.scale.cost import forward_flops, training_flops
from minidsk.tasks.base import Task
from minidsk.train.checkpoint import Run
from minidsk.train.device import precision
from minidsk.train.optim import learning_rate, make_optimizers, set_rate


def critic_of(model: MiniDeepSeek) -> MiniDeepSeek:
    """A copy of `model` whose head puts out one number, at first 0: the value of a text so far, ``[.., T, 1]``."""
    critic = copy.deepcopy(model)
    head = nn.Linear(model.config.hidden_size, 1, bias=False, device=model.device)
    nn.init.zeros_(head.weight)
    critic.lm_head, critic.mtp = head, nn.ModuleList()
    return critic


def reinforce_with_critic(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    task: Task,
    config: PPOConfig,
    run: Run,
    *,
    reward: RewardFunction | None = None,
    reference: MiniDeepSeek | None = None,
    description: str = "ppo",
    progress: bool = True,
) -> MiniDeepSeek:
    """Train `model` in place on `task` by PPO, logging to `run` and going on where it stopped.

    `reward`: as in `loop.reinforce`, such as a reward model. `reference`: the model that `kl` is measured against,
    priced or not; with a `kl_coef`, `model` as it is given if none is. The critic starts as a copy of `model` and is
    not kept. Raises `RunError` where going on makes no sense (see `health`).
    """
    critic = critic_of(model)
    if reference is None and config.kl_coef:
        reference = copy.deepcopy(model)
    optimizers = make_optimizers(model, config.lr, config.weight_decay, betas=(0.9, 0.99))
    critics = make_optimizers(critic, config.critic_lr, config.weight_decay, betas=(0.9, 0.99))
    parts = {"model": model, "optimizers": optimizers, "critic": critic, "critic_optimizers": critics}
    start, health = run.load_state(**parts), Health(run)
    sampler = Sampler(model, tokenizer, task, config, reward=reward)
    flops = sum(line["flops"] for line in run.metrics())
    with tqdm(total=config.steps, initial=start, desc=description, unit="step", disable=not progress) as bar:
        for step in range(start, config.steps):
            set_rate(optimizers, learning_rate(step, config.steps, config.lr, config.warmup, config.decay))
            set_rate(critics, learning_rate(step, config.steps, config.critic_lr, config.warmup, config.decay))
            sampled = sampler(step).sampled
            health.look_at_rewards(step + 1, sampled)
            advantages, returns, values, judged = judge(critic, sampled, config, reference)
            stats: dict[str, float] = {"grad_norm": 0.0}
            for _ in range(config.updates if step >= config.critic_warmup else 0):
                stats = update_policy(model, optimizers, sampled, advantages, config)
            for _ in range(config.critic_updates):
                learned = update_critic(critic, critics, sampled, values, returns, config)
            spent = _flops(model, sampled, config, reference is not None)
            flops += spent
            run.log(step=step + 1, seconds=round(run.seconds, 2), flops=spent, **describe(sampled, tokenizer),
                    **judged, **stats, value_loss=learned["loss"], critic_grad_norm=learned["grad_norm"])  # fmt: skip
            health.look_at_gradient(step + 1, stats["grad_norm"] + learned["grad_norm"])
            if (step + 1) % config.save_every == 0 and step + 1 < config.steps:
                health.save(step + 1, **parts)
            bar.set_postfix(
                reward=f"{float(sampled.rewards.mean()):.2f}", length=f"{float(sampled.lengths.float().mean()):.0f}"
            )
            bar.update()
    health.look_at_weights(config.steps, model=model)
    run.finish(model, tokenizer, flops=flops)
    return model


def judge(
    critic: MiniDeepSeek, sampled: Rollouts, config: PPOConfig, reference: MiniDeepSeek | None = None
) -> tuple[Tensor, Tensor, Tensor, dict[str, float]]:
    """Advantages (whitened where the settings say so), returns and values of all tokens ``[N, T]``, and figures.

    advantage_std: before whitening; explained_variance: how good the critic is; kl and kl_answer: nats away from the
    reference by k1, a token and an answer, where there is a reference.
    """
    values = over_all(lambda rows: answer_outputs(critic, sampled, rows).squeeze(-1), sampled, config.rows)
    ref_logp, figures = None, {}
    if reference is not None:
        known = reference
        ref_logp = over_all(lambda rows: answer_logprobs(known, sampled, rows)[0], sampled, config.rows)
        away = ((sampled.old_logp - ref_logp) * sampled.mask).sum()
        figures = {"kl": float(away / sampled.mask.sum()), "kl_answer": float(away / len(values))}
    rewards = token_rewards(sampled.rewards.flatten(), sampled.old_logp, sampled.mask, ref_logp, config.kl_coef)
    advantages, returns = gae(rewards, values, sampled.mask, config.gamma, config.lam)
    figures["advantage_std"] = float(advantages[sampled.mask].std())
    figures["explained_variance"] = float(explained_variance(values, returns, sampled.mask))
    return whiten(advantages, sampled.mask) if config.whiten else advantages, returns, values, figures


def update_policy(
    model: MiniDeepSeek,
    optimizers: list[torch.optim.Optimizer],
    sampled: Rollouts,
    advantages: Tensor,
    config: PPOConfig,
) -> dict[str, float]:
    """One optimizer step of the policy by the clipped surrogate, averaged over all tokens; what there was to see."""
    tokens = sampled.mask.sum()

    def loss(rows: Tensor) -> tuple[Tensor, Tensor | float, dict[str, Tensor]]:
        with precision(model.device):
            logp, entropy = answer_logprobs(model, sampled, rows)
        width = logp.shape[1]
        mask = sampled.mask[rows, :width]
        value, stats = policy_loss(logp, sampled.old_logp[rows, :width], advantages[rows, :width], mask,
                                   config.clip_low, config.clip_high, loss_type="dapo")  # fmt: skip
        del stats["kl"]  # to a reference that this loss does not know
        stats["entropy"] = (entropy * mask).sum() / mask.sum()
        return value, mask.sum() / tokens, stats

    return step_in_slices(model, optimizers, sampled, _all_of(sampled), config, loss)


def update_critic(
    critic: MiniDeepSeek,
    optimizers: list[torch.optim.Optimizer],
    sampled: Rollouts,
    old_values: Tensor,
    returns: Tensor,
    config: PPOConfig,
) -> dict[str, float]:
    """One optimizer step of the critic towards the returns."""
    tokens = sampled.mask.sum()

    def loss(rows: Tensor) -> tuple[Tensor, Tensor | float, dict[str, Tensor]]:
        with precision(critic.device):
            values = answer_outputs(critic, sampled, rows).squeeze(-1).float()
        width = values.shape[1]
        mask = sampled.mask[rows, :width]
        value = value_loss(values, old_values[rows, :width], returns[rows, :width], mask, config.value_clip)
        return value, mask.sum() / tokens, {}

    return step_in_slices(critic, optimizers, sampled, _all_of(sampled), config, loss)


def _all_of(sampled: Rollouts) -> Tensor:
    return torch.arange(len(sampled.mask), device=sampled.mask.device)


def _flops(model: MiniDeepSeek, sampled: Rollouts, config: PPOConfig, reference: bool) -> float:
    """Operations of one step: each token once forward by policy, critic and reference, and in every update."""
    context = sampled.ids.shape[1] / 2
    forward = forward_flops(model.config, context) * (2 + reference)
    learning = training_flops(model.config, context, mtp=False) * (config.updates + config.critic_updates)
    return float(sampled.valid.sum()) * (forward + learning)
