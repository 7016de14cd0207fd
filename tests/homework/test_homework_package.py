"""The package's own functions are right answers to the exercises."""

import ast
import operator
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from minidsk.data import bpe
from minidsk.homework import check
from minidsk.infer.pass_at_k import pass_at_k
from minidsk.kernels.cross_entropy import cross_entropy
from minidsk.kernels.dispatch import sort_by_expert
from minidsk.kernels.rmsnorm import rms_norm
from minidsk.model import moe, mtp, rope
from minidsk.model.config import ModelConfig
from minidsk.report.interval import apart
from minidsk.rl import selfplay
from minidsk.rl.completions import Completions
from minidsk.rl.distill import TeacherBaseline
from minidsk.rl.dpo import dpo_loss
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.harvest import readable
from minidsk.rl.kl import ESTIMATORS, kl_estimate
from minidsk.rl.language import language
from minidsk.rl.metrics import with_signal
from minidsk.rl.ppo import gae, token_rewards
from minidsk.rl.reward_model import pair_loss
from minidsk.rl.rollout import Rollouts
from minidsk.tasks.base import Problem
from minidsk.tasks.countdown import CountdownProblem


def router(
    x: Tensor, weight: Tensor, bias: Tensor, top_k: int, n_group: int, topk_group: int, norm: bool, scale: float
) -> tuple[Tensor, Tensor]:
    config = ModelConfig(
        hidden_size=x.shape[1], n_routed_experts=len(weight), num_experts_per_tok=top_k, n_group=n_group,
        topk_group=topk_group, norm_topk_prob=norm, routed_scaling_factor=scale,
    )  # fmt: skip
    module = moe.Router(config)
    module.load_state_dict({"weight": weight, "e_score_correction_bias": bias})
    return module(x)


def rotate(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    frequencies = rope.inverse_frequencies(ModelConfig(qk_rope_head_dim=x.shape[-1], rope_theta=theta))
    return rope.rotate(x, *rope.rotation(positions, frequencies))


def yarn_inv_freq(dim: int, theta: float, factor: float, original: int, fast: float, slow: float) -> Tensor:
    scaling = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original, "beta_fast": fast,
               "beta_slow": slow}  # fmt: skip
    return rope.inverse_frequencies(ModelConfig(qk_rope_head_dim=dim, rope_theta=theta, rope_scaling=scaling))


def dispatch(indices: Tensor, n_experts: int) -> tuple[Tensor, Tensor]:
    plan = sort_by_expert(indices, n_experts)
    return plan.order, plan.ends.diff(prepend=plan.ends.new_zeros(1))


def bpe_encode(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    return bpe.apply_merges(list(data), {pair: (i, 256 + i) for i, pair in enumerate(merges)})


def clipped_loss(logp: Tensor, old_logp: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """The package averages at once, so each token goes through it alone."""
    one, losses = torch.ones(1, 1), torch.empty_like(logp)
    for n, t in torch.cartesian_prod(torch.arange(logp.shape[0]), torch.arange(logp.shape[1])).tolist():
        at = (slice(n, n + 1), slice(t, t + 1))
        losses[n, t] = policy_loss(logp[at], old_logp[at], advantages[n : n + 1], one, low, high)[0]
    return losses


def average(losses: Tensor, mask: Tensor, how: str, max_length: int) -> Tensor:
    """A loss that is its own ratio: advantage -1, never clipped."""
    logp, minus = losses.clamp(min=1e-9).log(), -torch.ones(len(losses))
    sizes = [policy_loss(x, torch.zeros_like(x), minus, mask, 1.0, 1e9, loss_type=how, max_length=max_length)[0]
             for x in (logp, (-losses).clamp(min=1e-9).log())]  # fmt: skip
    return sizes[0] - sizes[1]


def answer_mask(ids: Tensor, prompt: int, end: int) -> Tensor:
    """As decoding does it: a mask of the new tokens alone, and the prompt is no part of it."""
    ended = (ids[:, prompt:] == end).cumsum(1)
    return torch.cat((torch.zeros_like(ids[:, :prompt]).bool(), ended - (ids[:, prompt:] == end).long() == 0), 1)


def sequence_ratio(logp: Tensor, old_logp: Tensor, mask: Tensor) -> Tensor:
    """GSPO's loss of one answer at a time, never clipped, with advantage -1: its ratio."""
    minus, free = -torch.ones(1), (float("inf"), float("inf"))
    return torch.stack([policy_loss(logp[[n]], old_logp[[n]], minus, mask[[n]], *free, loss_type="gspo")[0]
                        for n in range(len(logp))])  # fmt: skip


def one_answer(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    return gae(rewards[None], values[None], torch.ones(1, len(rewards)), gamma, lam)[0][0]


def priced(score: float, logp: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    mask = torch.ones(1, len(logp))
    return token_rewards(torch.tensor([score]), logp[None], mask, ref_logp[None], beta)[0]


def cross_entropy_gradient(logits: Tensor, targets: Tensor, ignore: int) -> Tensor:
    leaf = logits.clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(cross_entropy(leaf, targets, ignore), leaf)[0]


def rms_norm_backward(x: Tensor, weight: Tensor, dy: Tensor, eps: float) -> tuple[Tensor, ...]:
    leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(rms_norm(*leaves, eps), leaves, dy)


def reinforce(logits: Tensor, legal: Tensor, moves: Tensor, scores: Tensor, baseline: Tensor) -> Tensor:
    leaf = logits.clone().requires_grad_()
    with torch.enable_grad():
        logp = leaf.masked_fill(~legal, -torch.inf).log_softmax(1).gather(1, moves[:, None]).squeeze(1)
        selfplay.policy_gradient(logp, scores - baseline).backward()
    assert leaf.grad is not None
    return leaf.grad


def minimax(tree: Any) -> float:
    return tree if not isinstance(tree, list) else max(1 - minimax(mirrored(branch)) for branch in tree)


def mirrored(tree: Any) -> Any:
    return 1.0 - tree if not isinstance(tree, list) else [mirrored(branch) for branch in tree]


def reward(reply: str, numbers: list[int], target: int) -> float:
    return CountdownProblem("", tuple(numbers), target, solution="").score(reply)


def first_slip(chain: str) -> str | None:
    """By Python's own parser and fractions, part by part from the left."""
    signs = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}

    def value(node: Any) -> Fraction:
        if isinstance(node, ast.Constant):
            return Fraction(node.value)
        return signs[type(node.op)](value(node.left), value(node.right))

    before = None
    for part in chain.split("="):
        try:
            found = value(ast.parse(part, mode="eval").body)
        except (SyntaxError, ZeroDivisionError):
            return part
        if before not in (None, found):
            return part
        before = found
    return None


def strict(text: str, numbers: list[int], target: int, ops: str) -> float:
    return CountdownProblem("", tuple(numbers), target, solution="", ops=ops).score(text)


def rejection(prompts: list[str], groups: list[list[str]], right: list[list[bool]], longest: int) -> Any:
    kept = {}
    for prompt, group, verdicts in zip(prompts, groups, right, strict=True):
        for reply, verdict in zip(group, verdicts, strict=True):
            if verdict and len(reply) <= longest and readable(Problem(prompt), reply):
                kept.setdefault(prompt, reply)
    return list(kept.items())
def token_grades(student: Tensor, teacher: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """The baseline of the loop, whose teacher knows its log-probabilities by heart. A prompt is a row's number."""
    rows, none = len(mask), torch.zeros(mask.shape, dtype=torch.long)
    ids = torch.cat((torch.arange(rows)[:, None], none), 1)
    answers = Completions(ids, ids >= 0, none, mask.bool(), student, [""] * rows, mask[:, 0] > 0)
    reads = SimpleNamespace(fingerprint="the same")
    knows = SimpleNamespace(tokenizer=reads, flops=lambda _: 0.0,
                            logprobs=lambda some: teacher[some.ids[:, 0], : some.tokens.shape[1]])  # fmt: skip
    baseline = TeacherBaseline(knows, SimpleNamespace(tokenizer=reads), gamma, rows=2)
    return baseline(Rollouts([], answers, torch.zeros(0, 0), {}), 0)[0]


OURS: dict[str, Callable[..., Any]] = {
    "text.merge": bpe.merge,
    "text.bpe_encode": bpe_encode,
    "attention.rotate": rotate,
    "attention.yarn_inv_freq": yarn_inv_freq,
    "moe.router": router,
    "moe.update_bias": moe.update_bias,
    "moe.sequence_balance_loss": moe.sequence_balance_loss,
    "moe.max_violation": moe.max_violation,
    "moe.dispatch": dispatch,
    "mtp.loss": mtp.mtp_loss,
    "games.reinforce": reinforce,
    "games.minimax": minimax,  # the negamax of minidsk.tasks.board, on trees
    "kernels.cross_entropy_gradient": cross_entropy_gradient,
    "kernels.rms_norm_backward": rms_norm_backward,
    "feedback.gae": one_answer,
    "feedback.pair_loss": pair_loss,
    "feedback.token_rewards": priced,
    "feedback.dpo_loss": lambda *arguments: dpo_loss(*arguments)[0],
    "grpo.clipped_loss": clipped_loss,
    "grpo.advantages": lambda rewards, eps: group_advantages(rewards, eps=eps),
    "grpo.leave_one_out": lambda rewards: group_advantages(rewards, "none") * rewards.shape[1] / (rewards.shape[1] - 1),
    "grpo.average": average,
    "grpo.answer_mask": answer_mask,
    "grpo.sequence_ratio": sequence_ratio,
    "grpo.kl_estimators": lambda logp, ref_logp: {name: kl_estimate(logp, ref_logp, name) for name in ESTIMATORS},
    "grpo.with_signal": lambda rewards, wanted: with_signal(rewards).nonzero().flatten()[:wanted],
    "zero.groups_with_signal": lambda rewards: float(with_signal(rewards).float().mean()),
    "zero.pass_at_k": lambda right, samples, k: pass_at_k(samples, right, k),
    "zero.strict": strict,
    "zero.paired": lambda before, after: apart(after, before),
    "r1.language_reward": lambda prompt, reply: language(Problem(prompt), reply),
    "r1.rejection": rejection,
    "distillation.token_grades": token_grades,
    "capstone.reward": reward,
    "capstone.first_slip": first_slip,
}


@pytest.mark.parametrize("name", OURS)
def test_ours_is_right(name: str) -> None:
    with torch.no_grad():
        check(name, OURS[name], raises=True)
