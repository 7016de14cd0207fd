"""The loop of reinforcement learning: sample, reward, compare within groups, take a step; watch what happens."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm.auto import tqdm

from minidsk.data.tokenizer import Tokenizer
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.grpo import group_advantages, policy_loss, token_logprobs
from minidsk.rl.rollout import Rollouts, rollout
from minidsk.scale.cost import forward_flops, training_flops
from minidsk.tasks.base import Task
from minidsk.train.checkpoint import Run
from minidsk.train.device import precision
from minidsk.train.optim import learning_rate, make_optimizers, set_rate


@dataclass(frozen=True)
class RLConfig:
    """One run of GRPO. A step samples `group` answers to each of `prompts` problems and updates `updates` times.

    rewards: weights by name (see `rewards.REWARDS`). scale, loss_type, clip_low, clip_high, kl_coef: see `grpo`.
    """

    steps: int = 60
    prompts: int = 16
    group: int = 16
    max_new_tokens: int = 160
    temperature: float = 1.0
    rewards: Mapping[str, float] = field(default_factory=lambda: {"accuracy": 1.0})
    lr: float = 1e-3
    warmup: int = 3
    decay: float = 0.3
    weight_decay: float = 0.0
    clip: float = 1.0
    updates: int = 1
    scale: str = "group"
    loss_type: str = "dapo"
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_coef: float = 0.0
    rows: int = 256
    save_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "max_new_tokens", "lr", "updates", "rows", "save_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be positive")
        if self.group < 2:
            raise ValueError(f"group: {self.group!r} does not fit; a group needs 2 answers or more to compare")


def reinforce(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    task: Task,
    config: RLConfig,
    run: Run,
    *,
    description: str = "rl",
    progress: bool = True,
) -> MiniDeepSeek:
    """Train `model` in place on `task` by GRPO, logging to `run` and going on where it stopped."""
    optimizers = make_optimizers(model, config.lr, config.weight_decay, betas=(0.9, 0.99))
    reference = copy.deepcopy(model) if config.kl_coef else None
    start = run.load_state(model=model, optimizers=optimizers)
    # Sampling in bf16 halves what a step reads; the learner keeps its float32 weights.
    actor = copy.deepcopy(model).to(torch.bfloat16) if model.device.type == "cuda" else model
    flops = sum(line["flops"] for line in run.metrics())
    with tqdm(total=config.steps, initial=start, desc=description, unit="step", disable=not progress) as bar:
        for step in range(start, config.steps):
            set_rate(optimizers, learning_rate(step, config.steps, config.lr, config.warmup, config.decay))
            if actor is not model:
                actor.load_state_dict(model.state_dict())
            # Seeded by the step, so that a run that was interrupted draws the same answers.
            generator = torch.Generator(model.device).manual_seed(config.seed * 1_000_003 + step)
            problems = [task[step * config.prompts + i] for i in range(config.prompts)]
            sampled = rollout(actor, tokenizer, problems, config.group, config.max_new_tokens, config.rewards,
                              temperature=config.temperature, generator=generator)  # fmt: skip
            advantages = group_advantages(sampled.rewards, config.scale).flatten()
            stats: dict[str, float] = {}
            for _ in range(config.updates):
                stats = update(model, optimizers, sampled, advantages, config, reference)
            spent = _flops(model, sampled, config)
            flops += spent
            run.log(step=step + 1, seconds=round(run.seconds, 2), flops=spent, **_describe(sampled, tokenizer), **stats)
            if (step + 1) % config.save_every == 0 and step + 1 < config.steps:
                run.save_state(step + 1, model=model, optimizers=optimizers)
            bar.set_postfix(
                reward=f"{float(sampled.rewards.mean()):.2f}", length=f"{float(sampled.lengths.float().mean()):.0f}"
            )
            bar.update()
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
    chosen = chosen[sampled.lengths[chosen].argsort()]
    tokens, compared = sampled.mask.sum(), sampled.mask[chosen].sum()
    sums: dict[str, Tensor] = {}
    for rows in chosen.split(config.rows):
        here = sampled.mask[rows].sum()
        weight = here / tokens if config.loss_type in ("bnpo", "dapo") else len(rows) / len(advantages)
        with precision(model.device):
            logp, entropy = answer_logprobs(model, sampled, rows)
            with torch.no_grad():
                ref_logp = answer_logprobs(reference, sampled, rows)[0] if reference is not None else None
        width = logp.shape[1]
        mask = sampled.mask[rows, :width]
        loss, stats = policy_loss(
            logp, sampled.old_logp[rows, :width], advantages[rows], mask, config.clip_low, config.clip_high,
            ref_logp, config.kl_coef, config.loss_type, config.max_new_tokens,
        )  # fmt: skip
        (loss * weight).backward()
        stats["entropy"] = (entropy * mask).sum() / mask.sum()
        stats["loss"] = loss.detach()
        for name, value in stats.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value * (
                weight if name == "loss" else here / compared
            )
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    # A step from a gradient that is not finite would spoil the weights for good.
    if bool(torch.isfinite(norm)):
        for optimizer in optimizers:
            optimizer.step()
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    return {**{name: float(value) for name, value in sums.items()}, "grad_norm": float(norm)}


def answer_logprobs(model: MiniDeepSeek, sampled: Rollouts, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the answers in `rows`, ``[rows, T']`` with T' the longest of them.

    Prompts lose their padding and stand at position 0, so that attention needs no mask but the causal one.
    """
    width = sampled.ids.shape[1] - sampled.tokens.shape[1]
    longest = int(sampled.lengths[rows].max())
    padding = (~sampled.valid[rows, :width]).sum(1)
    shortest = int(padding.min())
    ids = sampled.ids[rows, shortest : width + longest]
    place = torch.arange(ids.shape[1], device=ids.device) + (padding - shortest)[:, None]
    ids = ids.gather(1, place.clamp(max=ids.shape[1] - 1))
    # The answer of a row starts where its prompt ends; the logits before each token predict it.
    begin = width - padding - 1
    at = begin[:, None] + torch.arange(longest, device=ids.device)
    hidden = model(ids, mtp=False).logits
    logits = hidden.gather(1, at.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
    return token_logprobs(logits, sampled.tokens[rows, :longest])


def _describe(sampled: Rollouts, tokenizer: Tokenizer) -> dict[str, float]:
    """The metrics that one would debug with."""
    lengths, correct = sampled.lengths.float(), sampled.rewards.flatten() > 0.5 * sampled.rewards.max()
    ended = (sampled.tokens == tokenizer.eos_id).any(1)
    signal = (sampled.rewards.std(1) > 0).float().mean()
    return {
        "reward": float(sampled.rewards.mean()),
        **{name: float(values.mean()) for name, values in sampled.parts.items()},
        "length": float(lengths.mean()),
        "length_right": float(lengths[correct].mean()) if correct.any() else 0.0,
        "length_wrong": float(lengths[~correct].mean()) if (~correct).any() else 0.0,
        "cut_off": float(1 - ended.float().mean()),
        "groups_with_signal": float(signal),
    }


def _flops(model: MiniDeepSeek, sampled: Rollouts, config: RLConfig) -> float:
    """Operations of one step: every token once forward to be sampled, and forward and backward in each update."""
    tokens = float(sampled.valid.sum())
    context = sampled.ids.shape[1] / 2
    once = training_flops(model.config, context, mtp=False) * config.updates
    return tokens * (forward_flops(model.config, context) + once)
