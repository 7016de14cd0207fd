"""Chapter 14: what a cell of its grid is made of: bases, rewards, and what is measured of a policy.

`ch14_grid.py` runs the cells; `a` is its command line.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from minidsk.data.corpus import TinyWeb
from minidsk.data.packing import PackedPages
from minidsk.data.tokenizer import CharTokenizer
from minidsk.data.worksheet import all_ways
from minidsk.infer.evaluate import evaluate
from minidsk.infer.pass_at_k import pass_at_k, powers_of_two
from minidsk.model.transformer import MiniDeepSeek
from minidsk.presets import nano
from minidsk.rl.harvest import Thoughts
from minidsk.rl.language import mixed
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import MiniPolicy
from minidsk.rl.recipe import Recipe
from minidsk.tasks.base import Problem, stream, thought_of
from minidsk.tasks.countdown import CountdownProblem
from minidsk.tasks.expression import write_chain
from minidsk.train.checkpoint import Run
from minidsk.train.loss import prediction_losses
from minidsk.train.optim import Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step
from minidsk.train.sft import SFTConfig, fine_tune

VERDICT = re.compile(r"(?: no| yes| 不对| 对了)$", re.MULTILINE)
CURVES = ("reward", "accuracy", "well_formed", "length", "cut_off", "groups_with_signal", "distinct_attempts",
          "both_languages", "entropy", "grad_norm")  # fmt: skip


def wrong(problems: Sequence[Problem], texts: Sequence[str], seed: int) -> list[float]:
    """1 for a well-formed answer that is wrong."""
    return [float(p.well_formed(text) and p.score(text) != 1) for p, text in zip(problems, texts, strict=True)]


def coin(problems: Sequence[Problem], texts: Sequence[str], seed: int) -> list[float]:
    """A coin for each answer: of the problem and the text alone, so that it says nothing of either."""
    posed = zip(problems, texts, strict=True)
    return [float(stream("coin", seed, p.prompt, text).random() < 0.5) for p, text in posed]


def form(problems: Sequence[Problem], texts: Sequence[str], seed: int) -> list[float]:
    """1 for a well-formed answer."""
    return [float(p.well_formed(text)) for p, text in zip(problems, texts, strict=True)]


# Who judges in place of the verifier (None: nobody). `capped` also has answers cut off at `--cap` tokens in training.
REWARDS: dict[str, Callable[..., list[float]] | None] = {
    "right": None, "wrong": wrong, "random": coin, "format": form, "capped": None,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Begun:
    """The held-out problems of a recipe, each with two attempts made and judged wrong: a prompt that asks for search.

    Only who goes on searching wrote worksheets like that, but for few.
    """

    recipe: Recipe

    def __getitem__(self, i: int) -> Problem:
        problem = self.recipe.make_task("test")[i]
        assert isinstance(problem, CountdownProblem)
        chains = [write_chain(problem.numbers, steps) for steps in all_ways(problem.numbers, problem.ops)]
        missed = ["=".join(chain) for chain in chains if chain[-1] != str(problem.target)][:2]
        lines = "".join(f"{chain}?{problem.target} no\n" for chain in missed)
        return dataclasses.replace(problem, prompt=f"{problem.prompt}<think>{lines}")


def recipe_of(share: float, seed: int, a: Namespace) -> Recipe:
    """Nano with this share of searching authors, and the sizes that were asked for."""
    recipe = nano().seeded(seed)
    web = dataclasses.replace(recipe.pretrain.web, persistent=share)
    pretraining = dataclasses.replace(recipe.pretrain, web=web, steps=a.pretrain_steps, batch=a.batch)
    optim = dataclasses.replace(recipe.zero.optim, lr=a.rl_lr)
    zero = dataclasses.replace(recipe.zero, steps=a.rl_steps, prompts=a.prompts, group=a.group, rows=a.rows,
                               max_new_tokens=a.tokens, optim=optim, save_every=10**6)  # fmt: skip
    return dataclasses.replace(recipe, pretrain=pretraining, zero=zero, max_new_tokens=a.tokens)


def pages_for(config: PretrainConfig, seed: int, numbers: range, device: torch.device) -> Iterator[Tensor]:
    """Batches of the web with this seed; beside a GPU one process makes them (there are as many as there are jobs)."""
    data = PackedPages(TinyWeb(config.web, seed), CharTokenizer(), config.batch, config.context)
    beside = device.type == "cuda"
    loader: Any = DataLoader(data, batch_size=None, sampler=numbers, num_workers=int(beside), pin_memory=beside,
                             prefetch_factor=8 if beside else None)  # fmt: skip
    return (ids.to(device, non_blocking=True) for ids in loader)


def pretrained(config: PretrainConfig, device: torch.device, at: Sequence[int]) -> dict[int, MiniDeepSeek]:
    """Copies of the model at these steps of its pretraining, as `pretrain` does it, in memory."""
    model = MiniDeepSeek(config.model, torch.Generator().manual_seed(config.seed)).to(device)
    optimizer, kept = Optimizer(model, config.optim, config.steps), {}
    for step, ids in enumerate(pages_for(config, config.seed, range(config.steps), device), start=1):
        optimizer.schedule(step - 1)
        train_step(model, optimizer, ids, config, CharTokenizer().bos_id)
        if step in at:
            kept[step] = copy.deepcopy(model)
            kept[step].zero_grad()
    return kept


@torch.no_grad()
def held_out_loss(model: MiniDeepSeek, config: PretrainConfig) -> float:
    """Nats a token on 16 batches of the same web that nobody read."""
    device, bos, losses = model.device, CharTokenizer().bos_id, []
    for ids in pages_for(config, config.seed + 1_000_000, range(16), device):
        found, _ = prediction_losses(model, ids, 0.0, (ids[:, :-1] == bos).cumsum(1))
        losses.append(float(next(iter(found.values()))))
    return mean(losses)


def habits(problems: Sequence[Problem], texts: Sequence[str]) -> dict[str, float]:
    """Per thought: its length in characters, attempts, attempts after the first, verdicts on them; and the share of
    thoughts in both languages."""
    thoughts = [thought_of(text) for text in texts]
    attempts = [len(problem.attempts(text)) for problem, text in zip(problems, texts, strict=True)]
    found = {"thought": mean(map(len, thoughts)), "attempts": mean(attempts),
             "retries": mean(max(n - 1, 0) for n in attempts),
             "checks": mean(len(VERDICT.findall(thought)) for thought in thoughts),
             "both_languages": mean(map(mixed, thoughts))}  # fmt: skip
    return {name: round(float(value), 4) for name, value in found.items()}


def measured(
    policy: MiniPolicy, recipe: Recipe, a: Namespace, task: Any = None, sampled: bool = True
) -> dict[str, Any]:
    """What a policy answers to held-out problems: greedily, and in many samples."""
    task, limit = task or recipe.make_task("test"), recipe.max_new_tokens
    result = evaluate(policy, task, a.problems, limit)
    greedy = {name: round(value, 4) for name, value in result.row().items()}
    row: dict[str, Any] = {**greedy, **habits([task[i] for i in range(a.problems)], result.replies)}
    if not sampled:
        return row
    generator = torch.Generator(policy.device).manual_seed(recipe.seed)
    posed, texts = [task[i] for i in range(min(a.sampled, a.problems))], []
    for first in range(0, len(posed), together := max(a.at_once // a.samples, 1)):
        prompts = [problem.prompt for problem in posed[first : first + together]]
        texts += policy.sample(prompts, a.samples, limit, 1.0, generator).texts
    each = [problem for problem in posed for _ in range(a.samples)]
    marks = [problem.score(text) == 1 for problem, text in zip(each, texts, strict=True)]
    right = [sum(marks[start : start + a.samples]) for start in range(0, len(marks), a.samples)]
    curve = {str(k): round(mean(pass_at_k(a.samples, r, k) for r in right), 4) for k in powers_of_two(a.samples)}
    return {**row, "pass_at_k": curve, "right": right, "in_samples": habits(each, texts)}


def rewarded(base: MiniPolicy, name: str, recipe: Recipe, a: Namespace) -> tuple[MiniPolicy, dict[str, Any]]:
    """The base after one of the rewards, and what was seen on the way."""
    judge, policy, config = REWARDS[name], base.copy(), recipe.zero
    if name == "capped":
        config = dataclasses.replace(config, max_new_tokens=a.cap)

    def reward(problems: list[Problem], texts: list[str]) -> Tensor:
        assert judge is not None
        return torch.tensor(judge(problems, texts, recipe.seed))

    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, name, config)
        reinforce(policy, recipe.make_task("train"), config, run, reward=reward if judge else None, progress=False)
        lines = run.metrics()
    curves = {each: [round(float(line.get(each, 0.0)), 4) for line in lines] for each in CURVES}
    signal = mean(curves["groups_with_signal"])
    return policy, {"flops": sum(line["flops"] for line in lines), "without_signal": round(1 - signal, 4),
                    "curves": curves}  # fmt: skip


def imitated(base: MiniPolicy, recipe: Recipe, flops: float) -> tuple[MiniPolicy, dict[str, Any]]:
    """The base after learning from its own right answers, for `flops` operations, the sampling among them."""
    zero, policy = recipe.zero, base.copy()
    wanted = Thoughts(max(zero.steps * zero.prompts * zero.group // 8, 1), zero.max_new_tokens, "right")
    harvest = wanted.gather(base, recipe.make_task("train"), recipe.seed)
    encoded = base.encode(*map(list, zip(*harvest.examples, strict=True)))
    batch = SFTConfig().batch
    of_a_step = (base.flops(encoded, updates=1) - base.flops(encoded)) / len(harvest.examples) * batch
    steps = max(round((flops - harvest.flops) / of_a_step), 1)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, "sft", config := SFTConfig(steps=steps, batch=batch, save_every=10**6, seed=recipe.seed))
        fine_tune(policy, harvest.examples, config, run, spent=harvest.flops, progress=False)
        spent = harvest.flops + sum(line["flops"] for line in run.metrics())
    return policy, {"flops": spent, "examples": len(harvest.examples), "asked": harvest.asked, "sft_steps": steps}
