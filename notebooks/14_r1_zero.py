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
# # R1-Zero: reward alone
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/14_r1_zero.ipynb)
#
# DeepSeek took a base model, showed it no worked example, and rewarded right answers. The model began to think: it wrote longer answers, tried again and checked itself. **Reward alone, no human example: does a base model start to think, and what does that need?** Is the thinking a new ability, or does the model only aim better with what it has? Does the reward need to be right? How strong must the base be? On large models these questions are disputed. We ask them in a world that is small enough to measure.
#
# - **You will build** the loop of R1-Zero with any reward, an honest estimator of "right within k tries", and a verifier that cannot be fooled by a model that praises itself.
# - **You need** PyTorch, and [chapter 12](12_grpo.ipynb), which builds GRPO.
# - **It takes** about a minute to run on two CPU cores of a laptop, about twice that on Colab's two (a GPU is no faster, because the models are small), and two hours to read. The grid of 160 runs was recorded on GPUs.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import itertools
import json
import math
import random
import re
from statistics import mean

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.data.worksheet import all_ways
from minidsk.diagrams import diagram, direct_labels, dots, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.evaluate import answers as replies_of
from minidsk.infer.pass_at_k import pass_at_k
from minidsk.presets import nano
from minidsk.report.interval import apart, interval
from minidsk.rl.harvest import readable
from minidsk.rl.language import mixed
from minidsk.rl.rollout import with_signal
from minidsk.tasks.base import thought_of
from minidsk.tasks.expression import write_chain
from minidsk.widgets import Rollouts

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## A base model that gives up
#
# Our base model is **nano-base**, with 0.4 million parameters. It has read worksheets about Countdown: make a target from three numbers up to 12, with plus and minus, each number used exactly once. Most authors of these worksheets try one expression, judge it, and hand it in, right or wrong. Some go on until they have found a solution.

# %%
train, test = nano().make_task("train"), nano().make_task("test")
held_out = list({p.prompt: p for p in (test[i] for i in range(2048))}.values())[:192]
base = minidsk.load_policy("nano-base")
_ = base.model.double()  # 16 digits, so that your processor draws what ours drew


def solved(policy) -> tuple[float, list[str]]:
    """The share of 192 held-out problems that a greedy reply solves, and the replies."""
    replies = replies_of(policy, held_out, 128)
    return mean(p.score(r) for p, r in zip(held_out, replies, strict=True)), replies


# %%
before, first_replies = solved(base)
print(f"greedy: {before:.0%} of {len(held_out)} problems are right")
for problem, reply in list(zip(held_out, first_replies, strict=True))[:3]:
    print(problem.prompt + reply)

# %% [markdown]
# The model writes its thought between `<think>` and `</think>`. A line of the thought is one **attempt**. After the question mark stand the target and a verdict, *yes* or *no*, in English or Chinese (对了 and 不对). This verdict is a **self-check**: the model judges its own line, and nobody tells it whether the verdict is right.
#
# Greedy replies stop after one attempt. What about samples at temperature 1? We count two habits in each thought instead of quoting lucky examples: **retries**, the attempts after the first, and self-checks.

# %%
VERDICT = re.compile(r"(?: no| yes| 不对| 对了)$", re.MULTILINE)


def retries(problem, text: str) -> int:
    """Attempts after the first."""
    return max(len(problem.attempts(text)) - 1, 0)


def checks(text: str) -> int:
    """Lines of the thought that end with a verdict of the model's own."""
    return len(VERDICT.findall(thought_of(text)))


# %%
def sampled(policy, problems, size: int, seed: int = 0) -> list[str]:
    """`size` replies to each problem at temperature 1, those of a problem side by side."""
    generator = torch.Generator().manual_seed(seed)
    return policy.sample([p.prompt for p in problems], size, 128, 1.0, generator).texts


asked = held_out[:24]
texts = sampled(base, asked, 32)
posed = [p for p in asked for _ in range(32)]
again = [retries(p, text) > 0 for p, text in zip(posed, texts, strict=True)]
right = [p.score(text) == 1 for p, text in zip(posed, texts, strict=True)]
print(f"{len(texts)} samples: {mean(again):.0%} try again, "
      f"{mean(checks(t) > 0 for t in texts):.0%} check themselves")
for kind, what in ((False, "one attempt"), (True, "more attempts")):
    print(f"right with {what}: "
          f"{mean(r for r, a in zip(right, again, strict=True) if a == kind):.0%}")

# %% [markdown]
# The habit of trying again is there before any reward, but it is rare, and greedy decoding never shows it. Samples that try again are right far more often. That is all that reward has to work with.
#
# The large experiment of this chapter repeats this on bases that we trained ourselves. Guess now: from a base whose web has **no** author who searches to the end, R1-Zero starts at about 34 % of held-out problems. Where does it end after 48 steps? Replace `None` by a number.

# %% tags=["prediction", "hide-input"]
guess = None
question = "No searching authors: right answers after R1-Zero, in % (before: 34)?"
no_search = predict("zero.no_search", question, guess, example=80, unit="%",
                    scale="difference", tolerance=20)  # fmt: skip
no_search

# %% [markdown]
# ## The whole loop: one judge, no teacher

# %% tags=["diagram", "hide-input"]
diagram("grpo_loop")

# %% [markdown]
# The loop below is R1-Zero. The model answers each problem 16 times. A **judge** gives each answer a number. Answers that were judged better than their group's mean become likelier, and the others less likely. We take one step per batch, so GRPO's ratio is always 1, its clip never acts, and the loss is minus advantage times log-probability. Apart from that it is [chapter 12](12_grpo.ipynb)'s loop. Nothing in it says *think*.

# %% tags=["naive"]
def zero_step(policy, optimizer, problems, judge, generator, size=16):
    """Sample, judge, compare, push; the replies, and their rewards [problems, size]."""
    prompts = [p.prompt for p in problems]
    drawn = policy.sample(prompts, size, 128, 1.0, generator)
    posed = [p for p in problems for _ in range(size)]
    judged = [judge(p, text) for p, text in zip(posed, drawn.texts, strict=True)]
    rewards = torch.tensor(judged).double().view(len(problems), size)
    less = rewards - rewards.mean(1, keepdim=True)
    advantages = (less / (rewards.std(1, keepdim=True) + 1e-4)).flatten()
    for rows in drawn.lengths.argsort().split(16):  # similar lengths, little padding
        some = drawn[rows]
        logp = (policy.logprobs(some) * some.mask).sum(1) / some.mask.sum(1)
        (-(advantages[rows] * logp).sum() / len(posed)).backward()
    _ = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return posed, drawn.texts, rewards


# %% [markdown]
# We will hand five judges to this loop. Here are their verdicts on three replies to the first problem:

# %%
def right_answer(problem, text: str) -> float:
    return problem.score(text)


def wrong_answer(problem, text: str) -> float:
    return float(problem.well_formed(text) and problem.score(text) != 1)


def random_coin(problem, text: str) -> float:
    return float(random.Random(problem.prompt + text).random() < 0.5)


def right_form(problem, text: str) -> float:
    return float(problem.well_formed(text))


# %% tags=["hide-input"]
first = held_out[0]
good = next(t for t in texts[:32] if first.score(t) == 1)
bad = next(t for t in texts[:32] if first.score(t) != 1 and first.well_formed(t))
judges = {"right": right_answer, "wrong": wrong_answer, "random": random_coin,
          "format": right_form}  # fmt: skip
rows = [[name, *(int(judge(first, t)) for t in (good, bad, good[:-9]))]
        for name, judge in judges.items()]  # fmt: skip
print(first.prompt + good, bad, good[:-9] + " (cut off)", sep="\n")
table(["judge", "the first", "the second", "the third"], rows,
      "Rewards. The fifth judge, capped, is right_answer on answers cut at 40 tokens.")

# %% [markdown]
# ## Watch it learn
#
# We train nano-base with `right_answer` for 20 steps of 4 problems. At ten moments we also draw eight replies to one **held-out** problem, which the training never poses. We note the log-probability of each of their tokens before and after that step's update. So we see how an update made from four *other* problems moves these tokens.

# %%
def moved(policy, problem, step, update) -> list[dict]:
    """Eight samples of a problem; how far `update` moves each token's log-probability."""
    generator = torch.Generator().manual_seed(step)
    drawn = policy.sample([problem.prompt], 8, 128, 1.0, generator)
    with torch.no_grad():
        then = policy.logprobs(drawn)
        update()
        shift = policy.logprobs(drawn) - then
    shown = []
    for ids, text, mask, by in zip(drawn.tokens, drawn.texts, drawn.mask, shift, strict=True):
        count = min(int(mask.sum()), len(policy.tokenizer.encode(text)))
        tokens = [policy.tokenizer.decode([i]) for i in ids[:count].tolist()]
        shown.append({"text": tokens, "reward": problem.score(text),
                      "shade": by[:count].tolist()})  # fmt: skip
    return shown


# %%
def seen_in(posed, texts, rewards) -> dict[str, float]:
    """What one step's replies show."""
    pairs = list(zip(posed, texts, strict=True))
    return {"reward": rewards.mean().item(), "right": mean(p.score(t) for p, t in pairs),
            "tokens": mean(len(base.tokenizer.encode(t)) for t in texts),
            "retries": mean(retries(p, t) for p, t in pairs),
            "checks": mean(checks(t) for t in texts),
            "no signal": 1 - with_signal(rewards).double().mean().item(),
            "mixed": mean(mixed(thought_of(t)) for t in texts),
            "readable": mean(readable(p, t) for p, t in pairs)}  # fmt: skip


# %%
def live(judge, steps, watched=None, lr=6e-4):
    """A copy of the base trained by a judge: the policy, its curves, its ten moments."""
    policy, curve, frames = base.copy(), [], {}
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr, (0.9, 0.99), weight_decay=0)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        problems = [train[4 * step + i] for i in range(4)]

        def update():
            with torch.enable_grad():
                done = zero_step(policy, optimizer, problems, judge, generator)
            curve.append(seen_in(*done))

        if watched is not None and step % 2 == 0:
            frames[step] = moved(policy, watched, step, update)
        else:
            update()
    return policy, curve, frames


# %%
watched = held_out[0]
learner, curve, frames = live(right_answer, 20, watched)
after, last_replies = solved(learner)
print(f"greedy, {len(held_out)} held-out problems: {before:.0%} right before, {after:.0%} after")

# %% tags=["widget"]
Rollouts(watched.prompt.strip(), list(frames), list(frames.values()),
         title="One problem, eight samples at ten moments",
         shade_label="moved by this step's update, nats")

# %% [markdown]
# Go through the steps. A wrong attempt is followed by a new line more and more often, and replies with several lines turn up among the right ones. The shades show where one update acts. Most tokens hardly move, because the arithmetic was certain already. Tokens at the fork after a *no* move most.

# %% tags=["hide-input"]
def fork(shown) -> dict[str, list[float]]:
    """Shifts of a new line and of a thought's end behind a no, and of all other tokens."""
    found = {"a new line": [], "the end of the thought": [], "all other tokens": []}
    for sample in shown:
        for k, (token, by) in enumerate(zip(sample["text"], sample["shade"], strict=True)):
            said = "".join(sample["text"][:k])
            behind = said.endswith((" no", "不对"))
            kind = {"\n": "a new line", "</think>": "the end of the thought"}.get(token)
            found[kind if behind and kind else "all other tokens"].append(by)
    return found


moves = {name: sum((fork(f)[name] for f in frames.values()), []) for name in fork([])}
rows = [[name, len(by), f"{mean(by):+.2f}", f"{mean(map(abs, by)):.2f}"]
        for name, by in moves.items()]  # fmt: skip
table(["token", "how many", "mean move", "mean size"], rows,
      "Moves of log-probabilities by one update, nats, over ten moments of a held-out problem.")

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3))
for ax, names in zip(axes, (("retries", "checks"), ("right", "readable", "mixed")), strict=True):
    for name in names:
        _ = ax.plot(range(1, 21), [c[name] for c in curve], label=name)
    _ = ax.set(xlabel="step", ylim=(0, None))
    direct_labels(ax)
_ = axes[0].set(title="per thought")
_ = axes[1].set(title="share of replies")
ends = {name: [mean(c[name] for c in part) for part in (curve[:5], curve[-5:])]
        for name in curve[0]}  # fmt: skip
show(fig, "Twenty steps of reward for right answers: thoughts try again and check themselves "
     "more often. One seed, 64 samples per step.",
     "Means of the first and of the last five steps: " + "; ".join(
         f"{name} {a:.2f}, then {b:.2f}" for name, (a, b) in ends.items()) + ".")

# %% tags=["hide-input"]
assert ends["retries"][1] > 2 * ends["retries"][0]
table(["", "first five steps", "last five steps"],
      [[name, f"{a:.2f}", f"{b:.2f}"] for name, (a, b) in ends.items() if name != "reward"],
      "Means over 320 samples each. no signal: share of groups whose answers were all judged "
      "alike. mixed: thoughts in two languages. readable: see below.")

# %% [markdown]
# **The thinking grows although only the answer is rewarded.** Retries and self-checks per thought go up, and so does the share of right samples. The rest of the table is a price, to which we come back: more and more sampled thoughts mix their two languages.
#
# This was one seed of a small run. The recorded runs below had three seeds, a larger model (*small*: three numbers up to 20, all four operators), and 1,024 samples per step.

# %% tags=["hide-input"]
def lines(name: str) -> list[dict]:
    """A recorded run, step by step."""
    path = results.folder("reason_small") / name / "zero" / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


small = [lines(f"seed{seed}") for seed in range(3)]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3))
for ax, name in zip(axes, ("accuracy", "length"), strict=True):
    for seed, run in enumerate(small):
        _ = ax.plot([line["step"] for line in run], [line[name] for line in run],
                    label=f"seed {seed}", lw=1.3)  # fmt: skip
    _ = ax.set(xlabel="step", ylim=(0, None))
_ = axes[0].set(title="share of samples that are right")
_ = axes[1].set(title="tokens per answer")
thirds = {name: [interval([mean(line[name] for line in run[a : a + 10]) for run in small])
                 for a in (0, 10, 20)] for name in ("accuracy", "length")}  # fmt: skip
show(fig, "Recorded, three seeds: answers become right and twice as long in about ten steps, "
     "and stay so.",
     "Three lines each over 30 steps. Mean share right in the first, second and last ten steps: "
     + ", ".join(f"{m:.2f}" for m, _ in thirds["accuracy"]) + "; mean tokens: "
     + ", ".join(f"{m:.0f}" for m, _ in thirds["length"]) + ".")

# %% tags=["hide-input"]
rows = [[what, *(f"{m:.3g} ± {h:.2g}" for m, h in thirds[what])] for what in thirds]
drift = apart(*([mean(line["accuracy"] for line in run[a : a + 10]) for run in small]
                for a in (20, 10)))
print("accuracy, last third minus middle third: {:+.1f} ± {:.1f} points".format(
    *(100 * x for x in drift)))
assert drift[0] > -0.02
table(["", "steps 1-10", "steps 11-20", "steps 21-30"], rows, "Means, 95 % intervals of 3 seeds.")

# %% [markdown]
# In the last third the runs neither gain nor decay, and the answers stay twice as long as at the start.
#
# ## What must the base have read?
#
# For the grid we pretrained twenty base models, five seeds for each of four webs. The webs differ in one number: **the share of authors who search until they have found a solution**. It is 0, 1, 5 or 20 %. Of the other authors, nine of ten try once and one of ten tries twice. Every base then went through the five judges for 48 steps of 256 answers, and through two **controls** that use no reinforcement learning:
#
# - **fine-tuned**: the base draws answers, we keep the right ones, and the base imitates them (rejection sampling). It may spend as many operations as the run with the right reward did, sampling included.
# - **prompted**: nothing is trained. The prompt begins a search for the model, with two attempts that are judged *no*.
#
# Before you look: of all problems, by how many points is the fine-tuned model above reinforcement learning on the web with 1 % of searchers? Negative means below.

# %% tags=["hide-input"]
guess = None
question = "1 % searchers: fine-tuned minus rewarded, in points of accuracy?"
imitation = predict("zero.imitation", question, guess, example=-10, unit="points",
                    scale="difference", tolerance=20)  # fmt: skip
imitation

# %% tags=["hide-input"]
grid = [row for name in ("ch14_grid", "ch14_grid_corners")
        for row in results.read(name)["rows"] if row["job"] == "grid"]  # fmt: skip
SHARES = (0.0, 0.01, 0.05, 0.2)
CELLS = {"base": "base", "right": "right", "wrong": "wrong", "random": "random",
         "format": "format", "capped": "capped", "sft": "fine-tuned", "prompt": "prompted"}  # fmt: skip


def cells(share: float, cell: str) -> list[dict]:
    """The five seeds of one cell of the grid."""
    found = [r for r in grid if (r["share"], r["cell"]) == (share, cell)]
    return sorted(found, key=lambda r: r["seed"])


def percent(share: float, cell: str) -> list[float]:
    """Greedy accuracy on 1,024 held-out problems, one number per seed."""
    return [100 * r["accuracy"] for r in cells(share, cell)]


print(results.origin("ch14_grid"))
print("and the same for seeds 3 and 4 in results/ch14_grid_corners")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(7.5, 4.2))
heights = [[mean(percent(share, cell)) for share in SHARES] for cell in CELLS]
_ = ax.pcolormesh(heights, vmin=0, vmax=100, edgecolors="#fbfcfd", linewidth=1.5)
for (row, column), value in [((i, j), heights[i][j]) for i in range(8) for j in range(4)]:
    _ = ax.text(column + 0.5, row + 0.52, f"{value:.0f}", ha="center", va="center",
                fontsize=10, color="#111111" if value > 45 else "#ffffff")
_ = ax.set_xticks([c + 0.5 for c in range(4)], [f"{share:.0%}" for share in SHARES])
_ = ax.set_yticks([r + 0.5 for r in range(8)], CELLS.values())
_ = ax.set(xlabel="share of authors who search, in the base's web")
ax.invert_yaxis()
ax.grid(False)
ax.tick_params(length=0)
show(fig, "Right answers in % of 1,024 held-out problems, greedy; means of five seeds. Every "
     "base starts at about a third. What reward adds depends on what the base has read.",
     "A grid of eight treatments by four shares of searching authors. " + "; ".join(
         f"{name} " + ", ".join(f"{v:.0f}" for v in row)
         for name, row in zip(CELLS.values(), heights, strict=True)) + ".")

# %% tags=["hide-input"]
def against(cell: str, other: str, share: float) -> str:
    """The difference of two treatments of the same bases, in points."""
    return "{:+.0f} ± {:.0f}".format(*apart(percent(share, cell), percent(share, other)))


pairs = (("right", "base"), ("sft", "right"), ("prompt", "base"), ("capped", "base"),
         ("random", "base"), ("wrong", "base"), ("format", "base"))  # fmt: skip
no_search.reveal(round(mean(percent(0.0, "right")), 1))
imitation.reveal(round(mean(percent(0.01, "sft")) - mean(percent(0.01, "right")), 1))
table(["minus", *(f"{share:.0%} search" for share in SHARES)],
      [[f"{CELLS[a]} minus {CELLS[b]}", *(against(a, b, s) for s in SHARES)] for a, b in pairs],
      "Points of greedy accuracy; 95 % intervals over five pairs of seeds.")

# %% [markdown]
# **Reward brings out what the base has read.** With 20 % of searchers the right reward adds about 60 points, and without searchers it adds fewer than 10. All twenty bases look the same from outside: about a third right, one attempt, one check. What differs is hidden in their rare samples.

# %% tags=["hide-input"]
rows = []
for share in SHARES:
    row = [f"{share:.0%}"]
    for cell in ("base", "right", "sft"):
        of = cells(share, cell)
        row += [f"{mean(r['in_samples'][key] for r in of):.2f}" for key in ("retries", "checks")]
    ended = mean(r["well_formed"] for r in cells(share, "right"))
    rows.append([*row, f"{1 - ended:.0%}"])
table(["search", "base: retries", "checks", "rewarded: retries", "checks",
       "fine-tuned: retries", "checks", "rewarded, greedy, no end"], rows,
      "Per sampled thought, means of five seeds. Last column: greedy replies without an end "
      "or an answer at the limit of 160 tokens.")

# %% [markdown]
# Retries grow under reward on *every* web, also without searchers. There the base has seen a second attempt, but hardly a third one. It learns to go on, but not to search: up to a quarter of its greedy replies run into the limit of 160 tokens. An author who searches never repeats an attempt and stops at *yes*, and this is what the other bases lack.
#
# ### Two controls that are hard to beat
#
# **The prompt alone reaches most of the gain** at 20 %: a base that knows searchers needs only to be told that this is a search. At 0 % the same prompt does harm.
#
# **Fine-tuning on the base's own right answers is far above reward where few authors search, and equal to it at 20 %.** This contradicts what we expected. It used the same operations, but two things differ besides the method: it took 300 to 420 optimizer steps where reward took 48, and it sees only right answers. At 0 % its thoughts hardly contain a second attempt. So it did not learn to search: its *first* attempt became better.

# %% [markdown]
# ### Does the reward need to be right?
#
# In this world it does. The wrong reward makes the model wrong, which is what it pays for. The coin destroys the model too, although it favours nothing on average. The form changes nearly nothing, because nearly every reply of the base has the right form. A group whose 16 answers are judged alike has no **signal**: all its advantages are 0.

# %% tags=["hide-input"]
rows = []
for cell in ("right", "wrong", "random", "format", "capped"):
    of = cells(0.2, cell)
    ends_at = [mean(mean(r["curves"][key][-8:]) for r in of)
               for key in ("reward", "accuracy", "length", "entropy")]
    first_entropy = mean(r["curves"]["entropy"][0] for r in of)
    rows.append([cell, f"{mean(r['without_signal'] for r in of):.0%}",
                 *(f"{x:.2f}" for x in ends_at[:2]), f"{ends_at[2]:.0f}"])
table(["judge", "groups without signal", "reward at the end", "right at the end", "tokens"], rows,
      "20 % searchers, training samples, means of five seeds; the end is the last eight steps.")

# %% [markdown]
# **Length is needed.** `capped` is the right reward on answers cut at 40 tokens, which is one attempt. It gains nothing on any web. The model can only use its reward by writing more.
