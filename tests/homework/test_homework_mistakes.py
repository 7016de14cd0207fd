"""Usual mistakes as readers write them, which is not how the exercises do: each has its name."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from minidsk.homework import check
from minidsk.tasks.countdown import Countdown
from minidsk.tasks.expression import evaluate


def kl_of_the_wrong_sign(logp: Tensor, ref_logp: Tensor) -> dict[str, Tensor]:
    d = ref_logp - logp
    return {"k1": d, "k2": d**2 / 2, "k3": d.exp() - d - 1}


def average(losses: Tensor, mask: Tensor, how: str, max_length: int, wrong: str) -> Tensor:
    x = losses * mask
    if wrong == "exchanged":
        how = {"grpo": "dapo", "dapo": "grpo"}.get(how, how)
    if how == "grpo":
        return x.mean(1).mean() if wrong in ("grpo", "both") else (x.sum(1) / mask.sum(1)).mean()
    if how == "dapo":
        return x.mean() if wrong in ("dapo", "both") else x.sum() / mask.sum()
    if wrong == "answers":
        return x.sum() / max_length
    return x.sum() / len(x) if wrong == "length" else x.sum() / (len(x) * max_length)


def clip(logp: Tensor, old_logp: Tensor, advantages: Tensor, low: float, high: float, wrong: str) -> Tensor:
    ratio, a = logp - old_logp, advantages[:, None]
    if wrong == "bounds":
        ratio, low, high = ratio.exp(), high, low
    return -torch.minimum(ratio * a, torch.clamp(ratio, 1 - low, 1 + high) * a)


def balance(scores: Tensor, indices: Tensor, alpha: float, wrong: str) -> Tensor:
    batch, time, experts = scores.shape
    counts = torch.zeros(batch, experts).scatter_add_(1, indices.flatten(1), torch.ones(indices.flatten(1).shape))
    f = counts * experts / (indices.shape[-1] * time)
    p = (scores / scores.sum(-1, keepdim=True)).mean(1)
    return (f * p).sum(-1).mean() if wrong == "alpha" else alpha * (f * p).mean(-1).mean()


def by_the_median(bias: Tensor, load: Tensor, speed: float) -> Tensor:
    return bias + speed * torch.sign(torch.median(load) - load)


def router(x: Tensor, w: Tensor, bias: Tensor, k: int, groups: int, kept: int, norm: bool, scale: float) -> Any:
    scores = torch.sigmoid(x @ w.T)
    of_groups = scores.view(len(x), groups, -1)
    best = of_groups.topk(min(2, of_groups.shape[-1])).values.sum(-1).topk(kept).indices
    allowed = torch.zeros(len(x), groups).scatter(1, best, 1).repeat_interleave(len(w) // groups, 1)
    indices = (scores + bias).masked_fill(allowed == 0, -torch.inf).topk(k).indices
    weights = scores.gather(1, indices)
    return (weights / weights.sum(-1, keepdim=True) if norm else weights) * scale, indices


def per_token(kind: str, layers: int, heads: int, head: int, groups: int, rank: int, rope: int, size: int) -> int:
    numbers = {"mha": 2 * heads * head, "mqa": 2 * groups * head, "gqa": 2 * head, "mla": rank + rope}
    return layers * size * numbers[kind]


def reward(reply: str, numbers: list[int], target: int, wrong: str) -> float:
    spoken = reply if wrong == "thought" else reply.split("</think>")[-1]
    found = re.findall("<answer>(.*?)</answer>", spoken)
    if not found or (len(found) > 1 and wrong != "first"):
        return 0.0
    text = found[0].split("=")[0] if wrong == "equals" else found[0]
    try:
        value, used, _ = evaluate(text)
    except ValueError:
        return 0.0
    if wrong == "within":
        return float(value == target and all(int(n) in numbers for n in used))
    if wrong == "round":
        return float(round(value) == target and sorted(used) == sorted(map(str, numbers)))
    return float(value == target and sorted(map(int, used)) == sorted(numbers))


def first_slip(chain: str, wrong: str) -> str | None:
    values, slips = [], []
    for part in chain.split("="):
        try:
            value = evaluate(part)[0]
        except ValueError:
            if wrong == "known":
                continue
            value = None
        value = int(value) if wrong == "whole" and value is not None else value
        if value is None or (values and values[-1] != value):
            slips.append(part)
        values.append(value)
    return slips[-1] if slips and wrong == "last" else slips[0] if slips else None


def with_signal(rewards: Tensor, wrong: str) -> float:
    if wrong == "mean":
        return sum(0 < float(row.mean()) < 1 for row in rewards) / len(rewards)
    differ = [len(set(row.tolist())) > 1 for row in rewards]
    if wrong == "count":
        return float(sum(differ))
    return sum(bool(row.any()) for row in rewards) / len(rewards)


def chance(right: int, samples: int, k: int, wrong: str) -> float:
    missed = 1.0
    for drawn in range(k):
        left = samples if wrong == "put back" else samples - drawn
        missed *= max(samples - right - (0 if wrong == "put back" else drawn), 0) / left
    return missed if wrong == "missed" else 1 - missed


def strict(text: str, numbers: list[int], target: int, ops: str, wrong: str) -> float:
    """The sloppy verifier with all its holes closed but one."""
    spoken = {"thought": text, "open": text.split("</think>")[-1]}.get(wrong, text.partition("</think>")[2])
    found = re.findall("<answer>(.*?)</answer>", spoken)
    if not found or (len(found) > 1 and wrong != "last"):
        return 0.0
    try:
        value, used, signs = evaluate(found[-1])
    except ValueError:
        return 0.0
    if wrong == "numbers":
        return float(value == target and signs <= set(ops))
    fits = sorted(map(int, used)) == sorted(numbers)
    return float(fits and value == target and (wrong == "signs" or signs <= set(ops)))


def paired(before: list[float], after: list[float], wrong: str) -> tuple[float, float]:
    gains = torch.tensor(after, dtype=torch.float64) - torch.tensor(before, dtype=torch.float64)
    t = 1.96 if wrong == "normal" else {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}[len(gains)]
    half = t * gains.std(correction=0 if wrong == "n" else 1) / (1 if wrong == "seed" else len(gains) ** 0.5)
    return float(gains.mean()), float(half)


def language_reward(prompt: str, reply: str, wrong: str) -> float:
    text = reply if wrong == "reply" else reply.split("</think>")[0].removeprefix("<think>")
    chinese = "[一-鿿]" if wrong == "characters" else "[一-鿿]+"
    found = text.split() if wrong == "numbers" else re.findall(f"[A-Za-z]+|{chinese}", text)
    if not found:
        return 0.0 if wrong == "silent" else 1.0
    asked = prompt.isascii() if wrong != "english" else True
    share = sum(word.isascii() == asked and not word[0].isdigit() for word in found) / len(found)
    return float(share == 1) if wrong == "all" else share


def rejection(prompts: list[str], groups: list[list[str]], right: list[list[bool]], longest: int, wrong: str) -> Any:
    kept = []
    for prompt, group, verdicts in zip(prompts, groups, right, strict=True):
        for reply, fine in zip(group, verdicts, strict=True):
            thought, closed, rest = reply.removeprefix("<think>").partition("</think>")
            form = closed and rest.startswith("<answer>") and rest.endswith("</answer>")
            lines, pure = thought.split("\n"), language_reward(prompt, reply, "")
            pure = 1.0 if wrong == "language" or (wrong == "most" and pure > 0.5) else pure
            new = wrong == "twice" or len(lines) == len(set(lines))
            short = wrong == "long" or (len(reply) < longest if wrong == "below" else len(reply) <= longest)
            if (fine or wrong == "wrong") and (form or wrong == "form") and pure == 1 and new and short:
                kept.append((prompt, reply))
                if wrong != "every":
                    break
            elif wrong == "one" and fine:
                break
    return kept


def effect(rows: list[dict[str, Any]], arm: str, other: str, wrong: str) -> tuple[float, float]:
    ours, others = ({row["seed"]: row["accuracy"] for row in rows if row["arm"] == name} for name in (arm, other))
    if wrong == "rows":
        return paired(*zip(*zip(others.values(), ours.values(), strict=False), strict=True), wrong="")
    seeds = sorted(ours.keys() | others.keys() if wrong == "zero" else ours.keys() & others.keys())
    return paired([others.get(seed, 0.0) for seed in seeds], [ours.get(seed, 0.0) for seed in seeds], "")


def fit_floor(n: Tensor, d: Tensor, loss: Tensor, floors: list[float], wrong: str) -> tuple[float, ...]:
    best = (float("inf"), 0.0, 0.0, 0.0)
    design = torch.stack((torch.ones_like(n), -n.log(), -d.log()), 1).double()
    for floor in floors:
        if floor < loss.min():
            above = (loss - (0.0 if wrong == "kept" else floor)).double()
            ln_a, alpha, beta = torch.linalg.pinv(design) @ above.log()
            law = (ln_a - alpha * n.log() - beta * d.log()).exp() + (0.0 if wrong == "not put back" else floor)
            against = above if wrong == "above" else loss
            law = law - floor if wrong == "above" else law
            miss = (law.log() - against.log()).square().sum().item()
            best = min(best, (miss, floor, alpha.item(), beta.item()))
    return best[1:]


def grades(student: Tensor, teacher: Tensor, mask: Tensor, gamma: float, wrong: str) -> Tensor:
    """Written with a matrix of powers of gamma, which is not how the exercise does it."""
    grade = student - teacher if wrong == "sign" else teacher - student
    if wrong == "ratio":
        grade = grade.exp()
    if wrong != "leak":
        grade = grade * mask
    steps = torch.arange(mask.shape[1])
    away = steps - steps[:, None] if wrong == "before" else steps[:, None] - steps
    base = torch.tensor(1.0 if wrong == "no gamma" else gamma)
    return grade @ torch.where(away >= 0, base ** away.clamp(min=0), 0.0) * mask


def pool(problems: list[str], teacher: dict[str, list[str]], tries: int, longest: int, wrong: str) -> Any:
    """One loop over all replies and a set of prompts that are served."""
    found, served = [], set()
    for text in problems:
        problem = Countdown.pose(text)
        for number, reply in enumerate(teacher[text]):
            if number >= tries and wrong != "tries":
                continue
            if len(reply) > longest or problem.score(reply) < 1:
                continue
            if (wrong == "form" or problem.well_formed(reply)) and (problem.prompt not in served or wrong == "all"):
                found.append((problem.prompt, reply))
                served.add(problem.prompt)
        if wrong == "twice":
            served.clear()
    return found


def affordable(budget: float, teacher: float, student: float, tokens: float, share: float, epochs: float,
               wrong: str) -> int:  # fmt: skip
    """Counted up, one answer after the other, by halves."""
    kept = 1.0 if wrong == "all are read" else share
    sampled = teacher * tokens * (epochs if wrong == "again" else kept if wrong == "kept only" else 1)
    learned = (1 if wrong == "forward" else 3) * student * tokens * kept * (1 if wrong == "once" else epochs)
    low, high = 0, 10**9
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle * (sampled + learned) <= budget else (low, middle - 1)
    return low


def _wrong(function: Callable[..., Any], how: str) -> Callable[..., Any]:
    return lambda *arguments: function(*arguments, how)


@pytest.mark.parametrize(
    ("name", "function", "mistake"),
    [
        ("grpo.kl_estimators", kl_of_the_wrong_sign, "k1 with the wrong sign"),
        ("grpo.average", _wrong(average, "grpo"), "grpo: divided by all columns"),
        ("grpo.average", _wrong(average, "dapo"), "dapo: divided by all columns"),
        ("grpo.average", _wrong(average, "both"), "grpo and dapo: divided by all columns"),
        ("grpo.average", _wrong(average, "exchanged"), "grpo and dapo swapped"),
        ("grpo.average", _wrong(average, "answers"), "dr_grpo: not divided by the number of answers"),
        ("grpo.average", _wrong(average, "length"), "dr_grpo: not divided by max_length"),
        ("grpo.clipped_loss", _wrong(clip, "bounds"), "the two bounds swapped"),
        ("grpo.clipped_loss", _wrong(clip, "no exp"), "the logarithm of the ratio, without exp"),
        ("zero.groups_with_signal", _wrong(with_signal, "any"), "groups that are all right counted"),
        ("zero.groups_with_signal", _wrong(with_signal, "mean"), "judged by the mean"),
        ("zero.groups_with_signal", _wrong(with_signal, "count"), "a count, not a share"),
        ("zero.pass_at_k", _wrong(chance, "put back"), "drawn with replacement: 1 - (1 - p)^k"),
        ("zero.pass_at_k", _wrong(chance, "missed"), "the chance that none is right"),
        ("zero.strict", _wrong(strict, "numbers"), "the numbers are not compared"),
        ("zero.strict", _wrong(strict, "thought"), "an answer in the thought counts"),
        ("zero.strict", _wrong(strict, "open"), "an answer in a thought that has not ended counts"),
        ("zero.strict", _wrong(strict, "last"), "the last of several answers counts"),
        ("zero.strict", _wrong(strict, "signs"), "every operator is allowed"),
        ("zero.paired", _wrong(paired, "normal"), "1.96, as if there were many seeds"),
        ("zero.paired", _wrong(paired, "n"), "standard deviation that divides by n"),
        ("zero.paired", _wrong(paired, "seed"), "not divided by the root of n"),
        ("r1.language_reward", _wrong(language_reward, "reply"), "the whole reply counts"),
        ("r1.language_reward", _wrong(language_reward, "silent"), "a thought without words gets 0"),
        ("r1.language_reward", _wrong(language_reward, "all"), "all or nothing"),
        ("r1.language_reward", _wrong(language_reward, "characters"), "each Chinese character counts as a word"),
        ("r1.language_reward", _wrong(language_reward, "numbers"), "numbers count as words"),
        ("r1.language_reward", _wrong(language_reward, "english"), "English is always right"),
        ("r1.rejection", _wrong(rejection, "wrong"), "wrong answers are kept"),
        ("r1.rejection", _wrong(rejection, "language"), "two languages are let through"),
        ("r1.rejection", _wrong(rejection, "most"), "most of the words in one language are enough"),
        ("r1.rejection", _wrong(rejection, "twice"), "a thought may say a line twice"),
        ("r1.rejection", _wrong(rejection, "form"), "the form is not looked at"),
        ("r1.rejection", _wrong(rejection, "long"), "no limit on the length"),
        ("r1.rejection", _wrong(rejection, "below"), "a reply of exactly the longest length fails"),
        ("r1.rejection", _wrong(rejection, "every"), "every reply that passes"),
        ("r1.rejection", _wrong(rejection, "one"), "only the first right reply is looked at"),
        ("r1.effect", _wrong(effect, "rows"), "paired as the rows stand"),
        ("r1.effect", _wrong(effect, "zero"), "a missing run counts as 0"),
        ("distillation.token_grades", _wrong(grades, "sign"), "the sign turned round"),
        ("distillation.token_grades", _wrong(grades, "leak"), "the padding's grades reach the answer"),
        ("distillation.token_grades", _wrong(grades, "before"), "discounted the wrong way"),
        ("distillation.token_grades", _wrong(grades, "no gamma"), "gamma left out"),
        ("distillation.token_grades", _wrong(grades, "ratio"), "a ratio, without its logarithm"),
        ("distillation.generate_verify_filter", _wrong(pool, "form"), "the form is not asked"),
        ("distillation.generate_verify_filter", _wrong(pool, "all"),
         "all right replies, each time that a problem comes"),
        ("distillation.generate_verify_filter", _wrong(pool, "tries"), "more replies than were asked for"),
        ("distillation.generate_verify_filter", _wrong(pool, "twice"),
         "a problem that comes twice is in the pool twice"),
        ("distillation.equal_budget", _wrong(affordable, "all are read"), "wrong answers are learned from too"),
        ("distillation.equal_budget", _wrong(affordable, "kept only"), "rejected answers are not paid for"),
        ("distillation.equal_budget", _wrong(affordable, "again"), "sampled in every epoch"),
        ("distillation.equal_budget", _wrong(affordable, "forward"), "learning as cheap as a forward pass"),
        ("distillation.equal_budget", _wrong(affordable, "once"), "read once"),
        ("capstone.reward", _wrong(reward, "thought"), "an answer in the thought counts"),
        ("capstone.reward", _wrong(reward, "first"), "the first of several answers counts"),
        ("capstone.reward", _wrong(reward, "equals"), "what stands before = is enough"),
        ("capstone.reward", _wrong(reward, "within"), "a number may be left out or used twice"),
        ("capstone.reward", _wrong(reward, "round"), "near enough counts"),
        ("capstone.first_slip", _wrong(first_slip, "last"), "the last slip instead of the first"),
        ("capstone.first_slip", _wrong(first_slip, "known"), "what cannot be calculated is passed over"),
        ("capstone.first_slip", _wrong(first_slip, "whole"), "values cut to whole numbers"),
        ("moe.sequence_balance_loss", _wrong(balance, "alpha"), "alpha left out"),
        (
            "moe.sequence_balance_loss",
            _wrong(balance, "mean"),
            "E left out of f, or the mean over the experts where the sum belongs",
        ),
        ("moe.update_bias", by_the_median, "torch.median where the mean belongs"),
        ("moe.router", router, "groups judged without the bias"),
        ("pretraining.fit_floor", _wrong(fit_floor, "kept"), "the floor is not subtracted before the fit"),
        ("pretraining.fit_floor", _wrong(fit_floor, "not put back"), "the floor is not put back"),
        ("pretraining.fit_floor", _wrong(fit_floor, "above"), "misses compared above the floor"),
        ("attention.cache_bytes", per_token, "gqa and mqa swapped"),
    ],
)
def test_it_has_a_name(name: str, function: Callable[..., Any], mistake: str) -> None:
    assert check(name, function).mistake == mistake
