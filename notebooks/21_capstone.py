# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From random weights to a reasoner
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/21_capstone.ipynb)
#
# A base model completes documents. Ours has read worksheets, most of them by people who guess once, see that it is wrong, and hand it in anyway. So that is what it does. Now show it no better worksheet. Only say, after each answer: right, or wrong. Can random weights become a reasoner in this way, on one GPU, while you wait? And how much does the reward alone add?
#
# - **You will build** the last loop of the course: four answers become rewards, advantages, a loss and one step of learning; then you watch the climb begin on your own machine, and read the whole climb from recorded runs.
# - **You need** PyTorch, and the idea of a language model. Each step leans on an earlier chapter, but can be read without it.
# - **It takes** about a minute to run on two CPU cores of a laptop, about twice that on the two cores that Colab lends, about a minute on a GPU (the model is tiny), and an hour to read.

# %% tags=["hide-input"]
import importlib.util; _ = importlib.util.find_spec("minidsk") or get_ipython().run_line_magic("pip", "install -q 'minidsk[notebooks] @ git+https://github.com/minidsk/minidsk'")

# %%
import copy
import dataclasses
import json
import re

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.data.corpus import TinyWeb
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.hub.zoo import find
from minidsk.infer.evaluate import answers as greedy
from minidsk.infer.evaluate import evaluate, wilson
from minidsk.report.stages import read_stages, table, telling
from minidsk.rl.completions import token_logprobs
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.loop import update
from minidsk.presets import PRESETS, nano
from minidsk.rl.rollout import rollout
from minidsk.tasks.countdown import CountdownProblem
from minidsk.train.loop import Slices
from minidsk.train.optim import Optimizer
from minidsk.widgets import Rollouts

# %% [markdown]
# ## What the model has read
#
# The task is **Countdown**: reach a target from given numbers, each used exactly once. The tiny web is full of it. Here are three of its pages.

# %%
recipe = nano()
web = TinyWeb(recipe.pretrain.web, seed=0)
sheets = [page for page in web.pages(0, 1000) if "<think>" in page]
thoughts = [re.search("<think>(.*?)</think>", page, re.DOTALL)[1].split("\n") for page in sheets]
tries = [len(thought) for thought in thoughts]

for wanted in (1, 2, 6):
    print(sheets[tries.index(wanted)], end="\n\n")

# %% [markdown]
# Each line of a thought is one attempt, worked out step by step; behind the question mark stands what was wanted, then a verdict. The tags `<think>` and `<answer>` are single tokens; the rest is read character by character. Most authors stop at the first or second attempt, whatever its verdict. A few go on until they read *yes*.
#
# How good would a model be that imitated these authors perfectly?

# %%
solved = [thought[-1].endswith(("yes", "对了")) for thought in thoughts]
once = [right for right, n in zip(solved, tries, strict=True) if n == 1]
long = [right for right, n in zip(solved, tries, strict=True) if n > 2]
print(f"worksheets in 1,000 pages: {len(sheets)}")
print(f"of all of them, right:                 {sum(solved) / len(sheets):.0%}")
print(f"one attempt:    {len(once) / len(sheets):4.0%} of them, right: {sum(once) / len(once):.0%}")
print(f"three or more:  {len(long) / len(sheets):4.0%} of them, right: {sum(long) / len(long):.0%}")

# %% [markdown]
# So the way to be right is on the web, in the pages of a minority. Nothing marks these pages as the good ones. Hold on to that: **everything that reward will teach is already written somewhere; it is only rare.**
#
# ## The pain: it completes documents
#
# `nano-base` read such pages for a few minutes on two CPU cores, starting from random weights, and nothing else. We pose it problems that stand on no page.

# %%
base = minidsk.load_policy("nano-base")
_ = base.model.double()  # 16 digits: your processor draws the answers that ours drew
tokenizer, test = base.tokenizer, recipe.make_task("test")
shown = [test[i] for i in range(3)]
for posed, reply in zip(shown, greedy(base, shown, recipe.max_new_tokens), strict=True):
    print(posed.prompt + reply, f"\n=> reward {posed.score(reply):.0f}\n")

# %%
HELD_OUT = 128
before = evaluate(base, test, HELD_OUT, recipe.max_new_tokens)
print(f"greedy accuracy {before.accuracy:.1%} ({before.low:.1%} to {before.high:.1%}), on {HELD_OUT} held-out problems")
print(f"one thought and one answer: {before.well_formed:.0%}; a thought has {before.thought:.0f} characters")

# %% [markdown]
# The form is perfect, the sums mostly right, the answer mostly wrong. The model does not look for an answer. It writes what a typical page would hold.
#
# Before you run on, guess. We now train it by reward alone: no worked example, a few dozen steps. What share of the same problems will it solve? Replace `None` by a number between 0 and 1; the tally stays on your machine.

# %% tags=["prediction"]
guess = None
after_reward = predict(
    "capstone.zero", "What share will nano-zero solve?", guess, example=0.5, scale="difference", tolerance=0.4
)
after_reward

# %% [markdown]
# ## Four answers, by hand
#
# One step of learning, slowly. The problem is *make 4 from 3, 7 and 8*. Four answers came back, and we keep them for the rest of the page:
#
# - **a** guesses once, sees that it is wrong, and hands it in;
# - **b** tries, checks, and tries again;
# - **c** claims success: it writes *yes* behind a wrong result;
# - **d** has the right idea, but puts more than an expression into its answer.

# %%
problem = CountdownProblem("Make 4 from 3 7 8.\n", (3, 7, 8), 4, "8-(7-3)", "+-")
answers = {
    "a": "<think>3+7+8=10+8=18?4 no</think><answer>3+7+8</answer>",
    "b": "<think>3+7+8=10+8=18?4 no\n3+7-8=10-8=2?4 no\n8-(7-3)=8-4=4?4 yes</think><answer>8-(7-3)</answer>",
    "c": "<think>3+7+8=10+8=18?4 yes</think><answer>3+7+8</answer>",
    "d": "<think>8-(7-3)=8-4=4?4 yes</think><answer>8-(7-3)=4</answer>",
}
rewards = torch.tensor([[problem.score(text) for text in answers.values()]], dtype=torch.float64)
print("rewards", rewards.tolist()[0])

# %% [markdown]
# **0, 1, 0, 0.** The verifier reads the expression in the answer with a parser of its own, computes with exact fractions, and looks at nothing else. It does not read the thought: **c**'s *yes* earns nothing, and **b**'s two failed attempts cost nothing.
#
# *How would you cheat this reward?* Think for a minute before you read on; one of our runs found a way to fool itself, further below.
#
# ### Rewards become advantages
#
# Is a reward of 1 good? Only beside the others. GRPO {cite}`deepseekmath` compares each answer with its group: subtract the mean, divide by the standard deviation. The mean is $1/4$. The deviations are $-\frac14, \frac34, -\frac14, -\frac14$; their squares add up to $\frac34$; divided by $4 - 1$ that is $\frac14$, and its root is $\frac12$. So:
#
# | answer | reward | advantage |
# | --- | --- | --- |
# | a | 0 | $-0.25 / 0.5 = -0.5$ |
# | b | 1 | $+0.75 / 0.5 = +1.5$ |
# | c | 0 | $-0.5$ |
# | d | 0 | $-0.5$ |

# %% tags=["naive"]
def by_hand(group: list[float], eps: float = 1e-4) -> list[float]:
    """Each reward less the mean, divided by the standard deviation (one below the sum) plus eps."""
    mean = sum(group) / len(group)
    deviation = (sum((r - mean) ** 2 for r in group) / (len(group) - 1)) ** 0.5
    return [(r - mean) / (deviation + eps) for r in group]


print([round(a, 2) for a in by_hand([0, 1, 0, 0])])

# %% [markdown]
# Before you trust a formula, climb a ladder of cases: all wrong, one right, half, one wrong, all right. What should the advantages be at either end?

# %% tags=["agree"]
ladder = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]], dtype=torch.float64)
ours = torch.tensor([by_hand(group) for group in ladder.tolist()], dtype=torch.float64)
theirs = group_advantages(ladder)
for group, row in zip(ladder.tolist(), theirs.tolist(), strict=True):
    print([int(r) for r in group], "->", [round(a, 2) for a in row])
advantage_gap = (ours - theirs).abs().max().item()
assert advantage_gap < 1e-12
print("largest difference from minidsk.rl.grpo: below 1e-12")

# %% [markdown]
# At both ends: nothing. Where all four fail, nobody knows what to do better; where all four succeed, there is nothing left to prefer. Only groups with both kinds carry a signal. We will count them. Note also the middle: one right answer among three wrong ones is pulled three times as hard as one of three right ones.
#
# A check is worth something if it fails when it should. Plant a bug: one mean for the whole batch instead of one for each group.

# %%
def planted(rewards: torch.Tensor) -> torch.Tensor:
    """Wrong: compares with everybody in the batch."""
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


def silent_at_both_ends(advantages) -> bool:
    """The rule just read off the ladder."""
    return bool((advantages(ladder)[[0, -1]] == 0).all())


print("package passes:", silent_at_both_ends(group_advantages), "| planted bug passes:", silent_at_both_ends(planted))
assert silent_at_both_ends(group_advantages)
assert not silent_at_both_ends(planted)

# %% [markdown]
# ### Answers become log-probabilities
#
# How likely was each of the four, in the eyes of `nano-base`? We let it read prompt and answer, and look up the probability that it gave to each token. The logarithms add up.

# %%
def logprobs(model, prompt: str, texts: list[str]) -> list[torch.Tensor]:
    """Log-probabilities of each text's tokens, the end token included, one tensor a text."""
    start, rows = [tokenizer.bos_id, *tokenizer.encode(prompt)], []
    for text in texts:
        ids = torch.tensor([start + tokenizer.encode(text) + [tokenizer.eos_id]])
        logp, _ = token_logprobs(model(ids[:, :-1]).logits, ids[:, 1:])
        rows.append(logp[0, len(start) - 1 :])
    return rows


with torch.no_grad():
    old = logprobs(base.model, problem.prompt, list(answers.values()))
for name, logp in zip(answers, old, strict=True):
    print(f"{name}: {len(logp):3d} tokens, log-probability {float(logp.sum()):6.1f}, the least likely token {logp.min().exp():.2g}")

# %% [markdown]
# **b** is the longest of the four and no page that was ever read. Still, it is not far behind the lazy **a**, because each of its tokens is what *some* author would have written. That is why reward can find it: it only has to turn up among the samples.
#
# ### Log-probabilities become a loss
#
# Each token of an answer gets its answer's advantage. The policy that samples is still the policy that learns, so the ratio of their probabilities is 1 everywhere, and the loss is no more than the weighted mean of the advantages, with the sign turned round. By answers: $-(-0.5 + 1.5 - 0.5 - 0.5)/4 = 0$. By tokens (DAPO {cite}`yu2025dapo`, which our recipe uses), long answers weigh more:

# %%
advantages = theirs[1]
lengths = torch.tensor([len(logp) for logp in old])
token_mean = -(advantages * lengths).sum() / lengths.sum()
print("tokens", lengths.tolist(), "-> loss by answers", abs(round(-advantages.mean().item(), 4)), "by tokens", round(token_mean.item(), 4))

# %%
def padded(rows: list[torch.Tensor]) -> torch.Tensor:
    """Rows of different lengths, side by side; zeros fill up."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


mask = padded([torch.ones_like(logp) for logp in old])
loss, _ = policy_loss(padded(old), padded(old), advantages, mask, loss_type="dapo")
loss_gap = abs(loss.item() - token_mean.item())
assert loss_gap < 1e-6
print("minidsk.rl.grpo.policy_loss:", round(loss.item(), 4), "| largest difference below 1e-6")

# %% [markdown]
# ```{warning}
# This loss is not a loss. It does not say how good the model is: averaged over answers it is 0 at *every* first step, however bad the model. Only its gradient means something. Watch the reward, not the loss.
# ```
#
# ### The loss becomes one step
#
# Take the gradient, take one small step on a copy, and read the four answers again.

# %%
def step_on(model, rate: float = 0.05) -> list[torch.Tensor]:
    """One step of plain gradient descent on our four answers; their log-probabilities afterwards."""
    logp = padded(logprobs(model, problem.prompt, list(answers.values())))
    policy_loss(logp, padded(old), advantages, mask, loss_type="dapo")[0].backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= rate * (weight.grad if weight.grad is not None else 0)
        model.zero_grad()
        return logprobs(model, problem.prompt, list(answers.values()))


new = step_on(copy.deepcopy(base.model))
for name, a, then, now in zip(answers, advantages.tolist(), old, new, strict=True):
    print(f"{name}: advantage {a:+.1f}, log-probability {float(then.sum()):6.1f} -> {float(now.sum()):6.1f}")
assert float((new[1] - old[1]).sum()) > 0

# %% [markdown]
# **b** became likelier. But what was learned? **a** and **b** begin with the same words, `3+7+8=10+8=18?4 no`, and then part: **a** writes `</think>` and gives up, **b** writes a line break and tries again. This fork is the whole story of the page. **c** had left them one word earlier, at its *yes*.

# %%
fork = len(tokenizer.encode("<think>3+7+8=10+8=18?4 no"))
for name, k, what in (("a", fork, "give up, after no"), ("b", fork, "try again, after no"), ("c", fork - 2, "yes, after 18?4")):
    then, now = (rows["abc".index(name)][k].exp().item() for rows in (old, new))
    print(f"{what:20} probability {then:.2f} -> {now:.2f}")
again, give_up = (new[i][fork] - old[i][fork] for i in (1, 0))
assert again > give_up

# %% [markdown]
# No one told the model *to try again*. It follows from one right answer and the arithmetic of a group. The figure shades every token of the four answers by how that one step moved its log-probability. (If you cannot see it: the strongest movements are printed above it.)

# %%
moved = [(now - then).tolist() for then, now in zip(old, new, strict=True)]
pieces = [[tokenizer.decode([i]) for i in tokenizer.encode(text)] + ["<eos>"] for text in answers.values()]
for name, piece, shade in zip(answers, pieces, moved, strict=True):
    k = max(range(len(shade)), key=lambda i: abs(shade[i]))
    print(f"{name}: moved most at {piece[k]!r} after {''.join(piece[max(0, k - 6) : k])!r}, by {shade[k]:+.2f}")

# %% tags=["widget"]
samples = [
    {"text": piece, "reward": reward, "shade": shade}
    for piece, reward, shade in zip(pieces, rewards[0].tolist(), moved, strict=True)
]
Rollouts(problem.prompt, [1], [samples], title="Four answers after one step", shade_label="change of log-probability")

# %% [markdown]
# ## The loop, on your machine
#
# All of R1-Zero is now on the table: sample, reward, compare within groups, step. Here it is once more, with the package's parts. 8 problems a step with 16 answers each; the recorded runs use more problems, and many more steps. `rewarded` is the only thing that we will change later.

# %%
settings = dataclasses.replace(recipe.zero, prompts=8, steps=8)
train = recipe.make_task("train")


def climb(policy, rewarded, steps: int = settings.steps) -> list[dict[str, float]]:
    """A few steps of GRPO on `policy`, in place; rewarded(rewards, generator) are the rewards that it learns from."""
    optimizer, slices, history = Optimizer(policy.model, settings.optim, steps), Slices(settings.rows), []
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        posed = [train[settings.prompts * step + i] for i in range(settings.prompts)]
        sampled = rollout(policy, posed, settings.group, settings.max_new_tokens, {"accuracy": 1.0}, generator=generator)
        advantages = group_advantages(rewarded(sampled.rewards, generator)).flatten()
        _ = update(policy, optimizer, slices, sampled, advantages, settings)
        history.append({"right": float(sampled.rewards.mean()), "tokens": float(sampled.completions.lengths.double().mean())})
    return history


# %%
learner = base.copy()
learned = climb(learner, lambda rewards, generator: rewards)
print("right ", [round(h["right"], 2) for h in learned])
print("tokens", [round(h["tokens"]) for h in learned])

# %% [markdown]
# Is it the reward? Any training at all might shake a model into longer answers. The control takes the same steps with the same number of ones and zeros, **handed to the wrong answers**: shuffled over the batch.

# %%
def shuffled(rewards: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The same rewards, in the wrong hands."""
    return rewards.flatten()[torch.randperm(rewards.numel(), generator=generator)].view_as(rewards)


control = climb(base.copy(), shuffled)
print("right ", [round(h["right"], 2) for h in control])
print("tokens", [round(h["tokens"]) for h in control])

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
for ax, key, label in zip(axes, ("right", "tokens"), ("share right among samples", "tokens an answer"), strict=True):
    for history, name, colour in ((learned, "true reward", "#2a747b"), (control, "shuffled reward", "#b8631a")):
        _ = ax.plot(range(1, len(history) + 1), [h[key] for h in history], marker=".", color=colour, label=name)
    _ = ax.set(xlabel="step", ylabel=label, ylim=(0, None))
_ = axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# Eight steps of few samples are a noisy beginning, not a result; run them twice with other seeds and the curve looks different. But the two lines part, and that is what the control is for.

# %%
ends = [sum(h["right"] for h in history[-3:]) / 3 for history in (learned, control)]
assert ends[0] > ends[1]
print("share right in the last three steps: true reward ahead of shuffled reward:", ends[0] > ends[1])

# %%
early = evaluate(learner, test, HELD_OUT, recipe.max_new_tokens)
print(f"greedy, on {HELD_OUT} held-out problems: {before.accuracy:.1%} before, {early.accuracy:.1%} after eight steps")

# %% [markdown]
# ## The whole climb, recorded
#
# `minidsk reason` does all of it: pretraining from random weights, reward alone (R1-Zero), a cold start on R1-Zero's own readable thoughts, and reward again (R1). The preset *small* is for one GPU, *nano* for two CPU cores. The recorded commands stand here as they were given; `results/` has every file.

# %%
runs = {}
for preset in ("small", "nano"):
    record = results.folder(f"reason_{preset}")
    folders = sorted(record.glob("seed*"))
    runs[preset] = [{stage.name: stage for stage in read_stages(folder)} for folder in folders]
    for file in sorted(str(path.relative_to(record)) for path in record.rglob("run.json")):
        print(f"{preset}: {results.origin(record.name, file)}")
        print(f"  {results.facts(record.name, file).get('note', 'ran to its end')}")

# %%
for preset, seeds in runs.items():
    if seeds:
        print(f"{preset}, seed 0 of {len(seeds)}\n{table([stage.row for stage in seeds[0].values()])}\n")

# %% [markdown]
# How small are these models?

# %%
for preset in PRESETS.values():
    million = sum(weight.numel() for weight in minidsk.MiniDeepSeek(preset().pretrain.model).parameters()) / 1e6
    print(f"{preset().name}: {million:.2g} million parameters, {671e3 / million:,.0f} times fewer than DeepSeek-V3's 671 billion")

# %% [markdown]
# One seed proves little. The interval in the table says how far another set of *problems* might lead; only other *seeds* say how far another run might. Here are the mean over seeds and its 95 % interval (Student's $t$; with three values it is wide, as it should be).

# %%
def mean_and_half(values: list[float]) -> tuple[float, float]:
    """The mean, and half the width of its 95 % interval (Student's t; 2 degrees of freedom for three seeds)."""
    t = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}.get(len(values), 0.0)
    x = torch.tensor(values, dtype=torch.float64)
    return x.mean().item(), t * x.std().item() / len(values) ** 0.5 if t else 0.0


# %%
for preset, seeds in runs.items():
    for name in ("base", "zero", "cold", "r1") if seeds else ():
        rows = [seed[name].row for seed in seeds if name in seed]
        if not rows:
            continue
        mean, half = mean_and_half([row["accuracy"] for row in rows])
        thought = sum(row["thought"] for row in rows) / len(rows)
        spread = f" ± {half:.1%} over {len(rows)} seeds" if half else ""
        print(f"{preset:5} {name:4} accuracy {mean:.1%}{spread}, thoughts of {thought:.0f} characters")

# %% [markdown]
# What reward alone added, seed by seed: the same problems, the same weights before and after.

# %%
gains = {}
for preset, seeds in runs.items():
    gains[preset] = [100 * (seed["zero"].row["accuracy"] - seed["base"].row["accuracy"]) for seed in seeds]
    if seeds:
        mean, half = mean_and_half(gains[preset])
        print(f"{preset:5} gain in points {[round(gain, 1) for gain in gains[preset]]}", f"± {half:.1f}" if half else "")

# %% [markdown]
# And one seed is not one number either. The same commit and the same seed of *nano*, trained three times: with the instructions that our processor has (native), with those of an older one (AVX2), and with those of a very old one (SSE4.1). The first loss agrees to the last digits that are printed. But each processor adds in its own order, and thousands of steps turn the last digit into another model. Count on this when you compare your run with ours.

# %%
for folder in sorted(results.folder("reason_nano_processors").glob("*")):
    rows = [f"{stage.title} {stage.row['accuracy']:.1%}" for stage in read_stages(folder)]
    print(f"{folder.name:7}", ", ".join(rows))

# %% [markdown]
# ### The curves
#
# Four quantities that one would debug with, for every step of R1-Zero: the share of right answers among the samples, the length of an answer, the entropy of the next token (how undecided the model is), and the share of groups with both right and wrong answers, the ones that carry a signal.

# %% tags=["figure"]
panels = {"accuracy": "share right", "length": "tokens an answer", "entropy": "entropy, nats", "groups_with_signal": "groups with signal"}
fig, axes = plt.subplots(2, 2, figsize=(8, 5), layout="constrained")
for ax, (metric, label) in zip(axes.flat, panels.items(), strict=True):
    for (preset, seeds), colour in zip(runs.items(), ("#2a747b", "#b8631a"), strict=True):
        lines = [[line.get(metric, float("nan")) for line in seed["zero"].metrics] for seed in seeds]
        steps = range(1, 1 + min(map(len, lines), default=0))
        centre, half = zip(*[mean_and_half([line[k - 1] for line in lines]) for k in steps], strict=True) if steps else ((), ())
        low, high = [[max(c + sign * h, 0) for c, h in zip(centre, half, strict=True)] for sign in (-1, 1)]
        _ = ax.plot(steps, centre, color=colour, label=preset)
        _ = ax.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    top = 1.02 if metric in ("accuracy", "groups_with_signal") else None
    _ = ax.set(xlabel="step of R1-Zero", ylabel=label, ylim=(0, top))
_ = axes[0, 0].legend(frameon=False)
plt.show()

# %%
for preset, seeds in runs.items():
    steps = min((len(seed["zero"].metrics) for seed in seeds), default=0)
    for k in sorted({1, steps // 4, steps // 2, steps} - {0}):
        at = [seed["zero"].metrics[k - 1] for seed in seeds]
        means = {metric: sum(line.get(metric, 0.0) for line in at) / len(at) for metric in panels}
        print(f"{preset:5} step {k:3d}", *(f"{metric} {value:.3g}" for metric, value in means.items()), sep="  ")

# %% [markdown]
# ::::{admonition} Two baselines
# :class: note
# The first point of the first curve, sampled at temperature 1, lies far above the base's greedy accuracy in the table. Both are right. Greedy decoding takes the likelier road at every fork, and after a first *no* the likelier road is to give up. Sampling takes the other road now and then. So of the gain in the table, a part is *reached by sampling alone*; the rest is what reward added beyond it. We report both, and so should whoever reports one.
# ::::
#
# ### How many attempts?

# %%
def attempts(stage) -> torch.Tensor:
    """Lines of each recorded thought."""
    return torch.tensor([reply["reply"].partition("</think>")[0].count("\n") + 1 for reply in stage.replies])


for preset, seeds in runs.items():
    for stage in seeds[0].values() if seeds else ():
        n = attempts(stage).double()
        print(f"{preset:5} {stage.title:10} attempts: one in {(n == 1).double().mean():.0%} of thoughts, median {n.median():.0f}, most {n.max():.0f}")

# %%
fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
for seed in runs["small"][:1]:
    for name, colour in (("base", "#b8631a"), ("zero", "#2a747b")):
        counts = torch.bincount(attempts(seed[name]), minlength=31)[1:]
        _ = ax.bar(range(1, len(counts) + 1), counts, color=colour, alpha=0.7, label=seed[name].title)
_ = ax.set(xlabel="attempts in a thought (small, greedy)", ylabel="problems (log)", yscale="symlog")
_ = ax.legend(frameon=False) if runs["small"] else None
plt.show()

# %% [markdown]
# And where does R1-Zero still fail?

# %%
for seed in runs["small"][:1]:
    wrong = [reply for reply in seed["zero"].replies if reply["score"] < 1]
    unfinished = sum("</answer>" not in reply["reply"] for reply in wrong)
    print(f"wrong: {len(wrong)} of {len(seed['zero'].replies)}; of these, {unfinished} ran out of tokens before they answered")

# %% [markdown]
# Nearly all of what is left is a thought cut off by its limit, still searching.
#
# ### A thought before and after
#
# One held-out problem, answered by the base and by R1-Zero of the recorded *small* run.

# %%
for seed in runs["small"][:1]:
    number = telling(list(seed.values()))[0]
    print(seed["base"].replies[number]["prompt"].strip())
    for name in ("base", "zero"):
        reply = seed[name].replies[number]
        print(f"--- {seed[name].title}: reward {reply['score']:.0f}\n{reply['reply']}")

# %% [markdown]
# Look closely, and be sober about it. This is no flash of insight. It goes through the ways in a fixed order, works each out, compares, and stops when it is right: the habit of the web's persistent authors. Nobody asked for it. It is what pays.

# %% [markdown]
# And live: `nano-zero`, which was `nano-base` before reward, answers the problems that you saw the base fail or solve above, now under your eyes.

# %%
zero = minidsk.load_policy("nano-zero")
_ = zero.model.double()
for posed, reply in zip(shown, greedy(zero, shown, recipe.max_new_tokens), strict=True):
    print(posed.prompt + reply, f"\n=> reward {posed.score(reply):.0f}\n")

# %%
after = evaluate(zero, test, HELD_OUT, recipe.max_new_tokens)
for name, result in (("nano-base", before), ("nano-zero", after)):
    print(f"{name}: {result.accuracy:.1%} ({result.low:.1%} to {result.high:.1%}), thoughts of {result.thought:.0f} characters")
after_reward.reveal(after.accuracy)

# %% [markdown]
# And the fork? After `3+7+8=10+8=18?4 no`, what does each model want to do?

# %%
stem = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(problem.prompt + "<think>3+7+8=10+8=18?4 no")]])
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    with torch.no_grad():
        p = policy.model(stem).logits[0, -1].softmax(-1)
    print(f"{name}: try again {p[tokenizer.encode(chr(10))[0]]:.2f}, give up {p[tokenizer.encode('</think>')[0]]:.2f}")

# %% [markdown]
# One problem, six samples from each of three models: before reward, after the eight steps of this page, and after the recorded run. Move the slider, and watch the thoughts.

# %%
recorded = json.loads((find("nano-zero") / "config.json").read_text())["minidsk"]["settings"]["config"]["steps"]
frames = []
for policy in (base, learner, zero):
    some = rollout(policy, [test[0]], 6, recipe.max_new_tokens, {"accuracy": 1.0}, generator=torch.Generator().manual_seed(0))
    frames.append([{"text": text, "reward": reward} for text, reward in zip(some.completions.texts, some.rewards[0].tolist(), strict=True)])
Rollouts(test[0].prompt, [0, settings.steps, recorded], frames, title="One problem, while reward works")

# %% [markdown]
# ### Was it there before?
#
# Give the base not one try but 16, at temperature 1, and let the verifier count a problem as solved if any of them is right. The result is a measure of what was in the model before any reward.

# %%
posed = [test[i] for i in range(32)]
tried = rollout(base, posed, 16, recipe.max_new_tokens, {"accuracy": 1.0}, generator=torch.Generator().manual_seed(0))
once, ever = tried.rewards.mean().item(), (tried.rewards.max(1).values > 0).float().mean().item()
low, high = wilson(ever, len(posed))
print(f"base, one sample: {once:.0%} right; any of 16 samples: {ever:.0%} ({low:.0%} to {high:.0%}), {len(posed)} problems")

# %% [markdown]
# Reward did not put arithmetic into the model, nor the habit of trying again: both were on the web. It turned the rare habit into the usual one. Whether reward can do more than that is disputed for large models too {cite}`yue2025limit`.
#
# ## What DeepSeek did
#
# DeepSeek-R1-Zero {cite}`deepseekr1` began with DeepSeek-V3-Base, 671 billion parameters, and no worked examples. The reward was a rule: is the answer right, and is the form kept? The objective is GRPO's, for a group of $G$ answers $o_i$ to a question $q$:
#
# $$ J(\theta) = \mathbb{E}\left[ \frac1G \sum_{i=1}^{G} \left( \min\left( r_i A_i,\ \operatorname{clip}(r_i, 1 - \varepsilon, 1 + \varepsilon)\, A_i \right) - \beta\, \mathbb{D}_{KL} \right) \right], \quad r_i = \frac{\pi_\theta(o_i \mid q)}{\pi_{\theta_{old}}(o_i \mid q)} $$
#
# They report that pass@1 on AIME 2024 rose from 15.6 % to 71.0 %, and that the thoughts became longer as training went on, by themselves. Readability was poor and languages were mixed. Hence R1: a cold start on thousands of readable thoughts, reward with a bonus for keeping to one language, then another round of both.
#
# That is their report. What we saw stands above, and apart: the same loop, without the $\beta$ term, and without a reward for the form, which our base keeps anyway. Our models are tens of thousands of times smaller, or more, and know nothing but worksheets; our curves say nothing about AIME. That the method carries over to large models is their evidence, not ours.
#
# ## What went wrong
#
# The runs above are not our first. What failed, in order (the printed tables of these runs are kept in `results/lab_nano`):
#
# 1. **A base that cannot add.** Batches of 6,144 tokens, 400 steps: the loss ended at 0.48, and most lines held a wrong sum. Reward then destroyed the model (AdamW at 1e-3): from 11 % to 0 % within 5 steps. A thought that cannot be trusted is no use, and the samples that happened to be right taught luck.
# 2. **The same tokens in smaller batches.** Batches of 2,560 tokens, 1,000 steps: loss 0.39, 96 % of the sums right. For so small a model the number of steps mattered more than the size of a batch.
# 3. **It fooled itself.** Where the base still gets sums wrong, *yes* is the word that every rewarded answer contains. So the model learned to write it: `11+8=20 yes`, and stopped early. Accuracy stayed at that of one guess, and thoughts became shorter. (Did you guess this cheat? The verifier was never fooled; the model was.) With 99 % of the sums right, the same algorithm climbed from 28 % to 89 % in 12 steps of the *small* preset.
# 4. **Good when sampled, stuck when greedy.** At first the persistent authors of our web tried things at random. Their pupil reached 89 % sampled at temperature 1, but 39 % greedily: its most likely next attempt was the one it had just made, for ever. Since then, our persistent authors go through everything in turn.
#
# 5. **A base that cannot compare.** With 99 % of the sums right, *nano* still did not climb as *small* had. We counted its verdicts: of the lines that missed the target 32 % said *yes*, of those that hit it 56 % said *no*. It had learned to add, and how often people say yes, but not to hold its result against a target dozens of characters back. Trying again does not pay for somebody who does not recognise success. Two changes mended it: authors note the target beside their result (`=18?4 no`), and attention stays within a page, so that nobody else's target is in sight. The same count then: 3 % and 2 %.
#
# 6. **One seed lagged behind.** With 2,000 steps of pretraining, reward gained 62 and 58 points on two seeds of *nano*, and 47 on the third, whose base still wrote sums like `5+5=6`. Ten more steps of reward did not mend it. 1,000 more steps of pretraining did, with smaller and more steps of reward. The two records, seed by seed:

# %%
for name in ("reason_nano_2000", "reason_nano"):
    for seed in sorted(folder.name for folder in results.folder(name).glob("seed*")):
        first, last = (results.read(name, f"{seed}/{stage}/evaluation.json")["row"] for stage in ("base", "zero"))
        print(f"{name:16} {seed}: {first['accuracy']:.1%} -> {last['accuracy']:.1%}, {first['seconds'] + last['seconds']:.0f} seconds")

# %% [markdown]
# What we take from it: the base decides. Reward amplifies what the base does sometimes; what it never does is not found, and what it does wrong is amplified as well. Chapter 13 asks how strong a base has to be, with more controls than the one above (a reward for the form alone, for instance).
#
# ## Exercises
#
# ```{exercise} Advantages
# :label: ex-21-advantages
#
# *10 minutes.* Write the advantages of a whole batch, `[P, G]` to `[P, G]`, without a loop. The task in full is printed below.
#
# **Hint.** Take the rewards 0, 1, 0, 0 from above. `keepdim=True` keeps each group's mean beside its group.
# ```

# %%
print(describe("grpo.advantages"))


def my_advantages(rewards: torch.Tensor, eps: float) -> torch.Tensor:
    """Replace the line below by your own; rewards: [P, G]."""
    raise NotImplementedError


# check("grpo.advantages", my_advantages)

# %% [markdown]
# ```{solution-start} ex-21-advantages
# :class: dropdown
# ```

# %%
def solution(rewards: torch.Tensor, eps: float) -> torch.Tensor:
    """Less the group's mean, by the group's deviation."""
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + eps)


check("grpo.advantages", solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Two answers of two lengths
# :label: ex-21-lengths
#
# *10 minutes.* A right answer of 4 tokens and a wrong one of 8, advantages $+1$ and $-1$, all ratios 1. What is the loss averaged within answers and then over them? Over all tokens? Which of the two ways pulls harder at a token of the long answer?
#
# **Hint.** Write down what each single token is divided by.
# ```
#
# ```{solution} ex-21-lengths
# :class: dropdown
#
# By answers: $-(1 - 1)/2 = 0$; by tokens: $-(4 \cdot 1 - 8 \cdot 1)/12 = 1/3$. A token of the long answer weighs $1/16$ in the first and $1/12$ in the second; a token of the short one $1/8$ and $1/12$. So the mean within answers is mild with long wrong answers, and that is one way to thoughts that only grow {cite}`liu2025drgrpo`.
# ```
#
# ```{exercise} A lazier web
# :label: ex-21-lazy
#
# *30 minutes, most of it waiting.* Take the persistent authors away: `minidsk reason --pretrain.web.persistent 0 --out runs/lazy`. Say first: what will the base score, how long will R1-Zero's thoughts become, and why?
#
# **Hint.** What is the longest thought on any page of that web? What does a group of 16 samples contain?
# ```
#
# ```{solution} ex-21-lazy
# :class: dropdown
#
# Nobody on that web tries more than twice, so no sample is likely to, and reward has nothing to prefer: it can make two attempts usual, and better chosen, and no more. If your run shows otherwise, look at the thoughts: you have found something.
# ```
#
# ## Bug zoo
#
# Three wrong versions of the advantages live in the package. Write tests that accept the right one and catch all three; `silent_at_both_ends` is a beginning.

# %% tags=["zoo"]
def ladder_ends(advantages) -> None:
    """All wrong and all right say nothing."""
    assert torch.equal(advantages(torch.tensor([[0.0] * 4, [1.0] * 4]), 1e-4), torch.zeros(2, 4))


def one_right(advantages) -> None:
    """The four answers of this page."""
    wanted = torch.tensor([[-0.5, 1.5, -0.5, -0.5]])
    assert torch.allclose(advantages(torch.tensor([[0.0, 1, 0, 0]]), 1e-4), wanted, atol=1e-3)


zoo("grpo.advantages", [ladder_ends, one_right])

# %% [markdown]
# ## The answer, in numbers

# %%
for preset, seeds in runs.items():
    for seed in seeds[:1]:
        first, last = seed["base"].row, seed["zero"].row
        for name, row in (("base", first), ("R1-Zero", last)):
            print(f"{preset:5} {name:8} {row['accuracy']:.1%} ({row['low']:.1%} to {row['high']:.1%}) of {row['problems']} held-out problems")
        print(f"{preset:5} from random weights to R1-Zero: {first['seconds'] + last['seconds']:.0f} seconds of training, {first['flops'] + last['flops']:.1e} operations")
        print(f"{preset:5} of these operations, learning from reward: {last['flops'] / (first['flops'] + last['flops']):.0%}")

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
spread = {
    f"recorded, {preset} {name}: accuracy": [seed[name].row["accuracy"] for seed in seeds]
    for preset, seeds in runs.items()
    for name in ("base", "zero")
    if seeds
}
receipt(spread=spread, differences={"advantages by hand": (advantage_gap, 1e-12), "loss by hand": (loss_gap, 1e-6)})

# %% [markdown]
# ## Summary
#
# Can random weights become a verified reasoner on one GPU? Yes: 174 seconds of training on an H100 took them to 92.8% of held-out problems (three numbers from 1 to 20, four operators, three seeds), because a verifier checked each answer. What did reward alone add? It found a base that solves 10.0% greedily and 35 % when it is sampled, and that gives up after its first attempt; 36 seconds and 5 % of the operations later it tries until it is right. It invented nothing. It found the best habit on the web, and made it the model's own. On `nano-base` one can read it off a single token: after a first *no*, the chance to try again went from 0.36 to 1.00. Reward added 80 to 86 points in the three seeds of *small*, and 63 to 66 in those of *nano*. What came after did not add to it: R1 ended where R1-Zero was in *small*, and 3 to 4 points below it in *nano*, less than its three seeds can tell apart.
#
# - I can now carry four answers by hand through rewards, advantages, log-probabilities and a loss to one step of learning.
# - I can now say which groups teach nothing, and why a policy-gradient loss is not a loss.
# - I can now tell what reward added from what the base already had, by a control and by many samples.
# - I can now run the whole of it, `make reason`, and read its report.

# %% [markdown]
# ## Read on
#
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.2, for R1-Zero; its supplement for the rewards in full.
# - DeepSeekMath {cite}`deepseekmath`, section 4, where GRPO comes from.
# - TinyZero {cite}`pan2025tinyzero`, who showed Countdown with a 3-billion-parameter base; and {cite}`yue2025limit` on what reward does not add.
# - `minidsk chat nano-zero`: pose a problem of your own, and watch it think.
