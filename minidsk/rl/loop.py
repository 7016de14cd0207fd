"""The loop of reinforcement learning: sample, reward, compare within groups, take a step; watch what happens."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm.auto import tqdm

from minidsk.data.tokenizer import Tokenizer
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.answers import answer_logprobs
from minidsk.rl.config import PolicyConfig, RLConfig
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.health import Health
from minidsk.rl.metrics import describe
from minidsk.rl.rewards import RewardFunction
from minidsk.rl.rollout import Rollouts
from minidsk.rl.sampler import Sampler
from minidsk.scale.cost import forward_flops, training_flops
from minidsk.tasks.base import Task
from minidsk.train.checkpoint import Run
from minidsk.train.device import precision, suited_threads
from minidsk.train.optim import learning_rate, make_optimizers, set_rate

Loss = Callable[[Tensor], "tuple[Tensor, Tensor | float, dict[str, Tensor]]"]


def reinforce(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    task: Task,
    config: RLConfig,
    run: Run,
    *,
    reward: RewardFunction | None = None,
    reference: MiniDeepSeek | None = None,
    description: str = "rl",
    progress: bool = True,
) -> MiniDeepSeek:
    """Train `model` in place on `task` by GRPO, logging to `run` and going on where it stopped.

    `reward` judges instead of the rewards that `config` names, which are then only logged. `reference`: the model that
    `kl` is measured against, penalised or not; with a `kl_coef`, `model` as it is given if none is. Raises `RunError`
    where going on makes no sense (see `health`).
    """
    optimizers = make_optimizers(model, config.lr, config.weight_decay, betas=(0.9, 0.99))
    if reference is None and config.kl_coef:
        reference = copy.deepcopy(model)
    start, health = run.load_state(model=model, optimizers=optimizers), Health(run)
    sampler = Sampler(model, tokenizer, task, config, config.resample, reward)
    flops = sum(line["flops"] for line in run.metrics())
    bar = tqdm(total=config.steps, initial=start, desc=description, unit="step", disable=not progress)
    with suited_threads(model), bar:
        for step in range(start, config.steps):
            set_rate(optimizers, learning_rate(step, config.steps, config.lr, config.warmup, config.decay))
            drawn = sampler(step)
            sampled = drawn.sampled
            health.look_at_rewards(step + 1, sampled)
            advantages = group_advantages(sampled.rewards, config.scale).flatten()
            stats: dict[str, float] = {}
            for _ in range(config.updates):
                stats = update(model, optimizers, sampled, advantages, config, reference)
            spent = _flops(model, sampled, drawn.tokens, config)
            flops += spent
            run.log(step=step + 1, seconds=round(run.seconds, 2), flops=spent, **describe(sampled, tokenizer),
                    tries=drawn.tries, advantage_std=float(group_advantages(sampled.rewards, "none").std()),
                    **stats)  # fmt: skip
            health.look_at_gradient(step + 1, stats["grad_norm"])
            if (step + 1) % config.save_every == 0 and step + 1 < config.steps:
                health.save(step + 1, model=model, optimizers=optimizers)
            bar.set_postfix(
                reward=f"{float(sampled.rewards.mean()):.2f}", length=f"{float(sampled.lengths.float().mean()):.0f}"
            )
            bar.update()
    health.look_at_weights(config.steps, model=model)
    run.finish(model, tokenizer, flops=flops)
    return model


def update(
    model: MiniDeepSeek,
    optimizers: list[torch.optim.Optimizer],
    sampled: Rollouts,
    advantages: Tensor,
    config: RLConfig,
    reference: MiniDeepSeek | None = None,
) -> dict[str, float]:
    """One optimizer step on all rollouts, in slices of `rows` answers of similar length; what there was to see.

    Answers with advantage 0 have no gradient and are left out, unless a KL penalty pulls at them.
    """
    if config.kl_coef:
        chosen = torch.arange(len(advantages), device=advantages.device)
    else:
        chosen = advantages.nonzero().squeeze(1)
    if len(chosen) == 0:
        return {"grad_norm": 0.0}
    tokens = sampled.mask.sum()

    def loss(rows: Tensor) -> tuple[Tensor, Tensor | float, dict[str, Tensor]]:
        by_tokens = config.loss_type in ("bnpo", "dapo")
        weight = sampled.mask[rows].sum() / tokens if by_tokens else len(rows) / len(advantages)
        with precision(model.device):
            logp, entropy = answer_logprobs(model, sampled, rows)
            with torch.no_grad():
                ref_logp = answer_logprobs(reference, sampled, rows)[0] if reference is not None else None
        width = logp.shape[1]
        mask = sampled.mask[rows, :width]
        value, stats = policy_loss(
            logp, sampled.old_logp[rows, :width], advantages[rows], mask, config.clip_low, config.clip_high,
            ref_logp, config.kl_coef, config.loss_type, config.max_new_tokens, config.kl_estimator,
        )  # fmt: skip
        stats["entropy"] = (entropy * mask).sum() / mask.sum()
        return value, weight, stats

    return step_in_slices(model, optimizers, sampled, chosen, config, loss)


def step_in_slices(
    model: MiniDeepSeek,
    optimizers: list[torch.optim.Optimizer],
    sampled: Rollouts,
    chosen: Tensor,
    config: PolicyConfig,
    loss: Loss,
) -> dict[str, float]:
    """One optimizer step from the answers numbered `chosen` ``[n]``, in slices of `config.rows` of similar length.

    `loss` maps the numbers of some answers to their loss, its weight in the whole, and statistics, which are averaged
    by tokens. Returns these, with `loss` and `grad_norm` (before clipping). Where the gradient is not finite, nothing
    moves.
    """
    chosen = chosen[sampled.lengths[chosen].argsort()]
    compared = sampled.mask[chosen].sum()
    sums: dict[str, Tensor] = {}
    for rows in chosen.split(config.rows):
        share = sampled.mask[rows].sum() / compared
        value, weight, stats = loss(rows)
        (value * weight).backward()
        stats["loss"] = value.detach()
        for name, figure in stats.items():
            sums[name] = sums.get(name, torch.zeros_like(figure)) + figure * (weight if name == "loss" else share)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    # A step from a gradient that is not finite would spoil the weights for good.
    if bool(torch.isfinite(norm)):
        for optimizer in optimizers:
            optimizer.step()
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    return {**{name: float(value) for name, value in sums.items()}, "grad_norm": float(norm)}


def _flops(model: MiniDeepSeek, sampled: Rollouts, drawn: int, config: RLConfig) -> float:
    """Operations of one step: every token `drawn` once forward; those kept forward and backward in each update."""
    context = sampled.ids.shape[1] / 2
    once = training_flops(model.config, context, mtp=False) * config.updates
    return drawn * forward_flops(model.config, context) + float(sampled.valid.sum()) * once
