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
# DeepSeek took a base model, showed it no worked example, and rewarded right answers. The model began to think: it wrote longer answers, tried again and checked itself. We do the same to twenty tiny bases. In greedy replies all of them try once and solve about a third of our problems. After the same 48 steps of the same reward, five of them solve about 91 % on average, and the other fifteen 37 to 79 %. **What must a base have, so that reward alone makes it think?**
#
# - **You will build** the loop of R1-Zero with any reward, the controls that its result must be compared with, a verifier, and a careless verifier that the model cheats.
# - **You need** PyTorch, and [chapter 12](12_grpo.ipynb), which builds GRPO.
# - **It takes** about 90 s of processor time, so about two minutes on two free CPU cores of a laptop, up to twice that on Colab's two (no GPU is needed, because the models are small), and an hour and a half to read. The grid of 20 bases and 120 models made of them was recorded in about seven minutes on one GPU (an H200).

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import itertools
import math
import random
import re
import time
from statistics import correlation, mean

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.data.worksheet import all_ways
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.evaluate import answers as replies_of
from minidsk.presets import nano
from minidsk.report.interval import apart, interval
from minidsk.report.stages import read_stages
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.language import mixed
from minidsk.tasks.base import read_answer, thought_of
from minidsk.tasks.expression import evaluate, write_chain
from minidsk.widgets import Rollouts

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## A base model that gives up
#
# Does a base think before any reward? Our base model is **nano-base**, with 0.4 million parameters. It has read worksheets about Countdown: make a target from three numbers up to 12, with plus and minus, each number used exactly once. Most authors of these worksheets try one expression, judge it, and hand it in, right or wrong. About three in ten go on until they have found a solution. We call everything that a base has read its **web**.

# %%
train, test = nano().make_task("train"), nano().make_task("test")
held_out = list({p.prompt: p for p in (test[i] for i in range(2048))}.values())[:128]
first = held_out[0]
base = minidsk.load_policy("nano-base")
_ = base.model.double()  # 16 digits, so that your processor draws what ours drew


def solved(policy) -> tuple[float, list[str]]:  # in greedy replies
    replies = replies_of(policy, held_out, 128)
    return mean(p.score(r) for p, r in zip(held_out, replies, strict=True)), replies


def sampled(policy, problems, size: int, seed: int = 0) -> list[str]:
    """`size` replies to each problem at temperature 1, those of a problem side by side."""
    generator = torch.Generator().manual_seed(seed)
    return policy.sample([p.prompt for p in problems], size, 128, 1.0, generator).texts

# %%
web = nano().pretrain.web
print(f"authors who search on: {web.persistent:.0%}; who mix languages: {web.mixed:.0%}")
before, first_replies = solved(base)
once = mean(len(p.attempts(r)) == 1 for p, r in zip(held_out, first_replies, strict=True))
print(f"greedy: {before:.0%} of {len(held_out)} problems are right; "
      f"{once:.0%} of the replies stop after one attempt")
for problem, reply in list(zip(held_out, first_replies, strict=True))[:3]:
    print(problem.prompt + reply)

# %% [markdown]
# The model writes its thought between `<think>` and `</think>`. A line of the thought is one **attempt**. After the question mark stand the target and a verdict, *yes* or *no*, in English or Chinese (对了 and 不对). This verdict is a **self-check**: the model judges its own line, and is never told whether its verdict is right.
#
# All greedy replies stop after one attempt, but what about samples at temperature 1? We count two habits in each thought, **retries** (the attempts after the first) and self-checks, and we also ask whether the first attempt was right.

# %%
VERDICT = re.compile(r"(?: no| yes| 不对| 对了)$", re.MULTILINE)


def retries(problem, text: str) -> int:
    return max(len(problem.attempts(text)) - 1, 0)


def checks(text: str) -> int:
    return len(VERDICT.findall(thought_of(text)))  # lines that end with a verdict


def first_right(problem, text: str) -> float:
    tried = "".join(problem.attempts(text)[:1])  # handed in as if it were the answer
    return problem.score(f"<think></think><answer>{tried}</answer>")

# %%
def counts_by_hand(count) -> None:
    """One attempt is no retry, three attempts are two."""
    one, three = ("<think>" + n * "8+4-7=12-7=5?19 no\n" + "</think>" for n in (1, 3))
    assert [count(first, one), count(first, three)] == [0, 2]


def all_attempts(problem, text):
    return len(problem.attempts(text))


def judges_the_first(judge) -> None:
    """A wrong attempt, then a right one that is handed in."""
    wrong, right = "8+4-7=12-7=5?19 no", "8+4+7=12+7=19?19 yes"
    assert judge(first, f"<think>{wrong}\n{right}</think><answer>8+4+7</answer>") == 0
    assert judge(first, f"<think>{right}</think>") == 1


def judges_the_answer(problem, text):
    return problem.score(text)


bites(counts_by_hand, retries, all_attempts)
bites(judges_the_first, first_right, judges_the_answer)

# %%
asked = held_out[:16]
texts = sampled(base, asked, 32)
posed = [p for p in asked for _ in range(32)]
again = [retries(p, text) > 0 for p, text in zip(posed, texts, strict=True)]
right = [p.score(text) == 1 for p, text in zip(posed, texts, strict=True)]
checked = mean(checks(t) > 0 for t in texts)
print(f"{len(texts)} samples: {mean(again):.0%} try again, {checked:.0%} check themselves")
for kind, what in ((False, "one attempt"), (True, "more attempts")):
    of_kind = [r for r, a in zip(right, again, strict=True) if a == kind]
    print(f"right with {what}: {mean(of_kind):.0%}")

# %% [markdown]
# **The habit of trying again is there before any reward, in about a third of the samples.** A greedy reply takes the likeliest token at each step. After a *no*, ending the thought is likelier than going on, so greedy replies never show the habit. Greedy and sampled accuracy therefore differ, and we say which one we mean. Samples that try again are right more often, and this is a difference that reward can use.
#
# Later we train bases that differ in what they have read. Guess now: from a base whose web has **no** author who searches to the end, R1-Zero starts with right greedy answers to about 34 % of held-out problems. Where does it end after 48 steps? Type a number into the box, or replace `None`.

# %% tags=["prediction", "hide-input"]
guess = None
question = "No searching authors: right answers after R1-Zero, in % (before: 34)?"
no_search = predict("zero.no_search", question, guess, example=80, unit="%",
                    scale="difference", tolerance=20)  # fmt: skip
no_search

# %% [markdown]
# ## The whole loop: one judge, no teacher
#
# How can a reward for answers change a thought? The loop asks the model for a group of answers to each problem, and a **judge** gives each answer a number. We leave out two parts of R1-Zero, its KL term and its format reward. First we look at four answers from one group.

# %%
generator = torch.Generator().manual_seed(0)
drawn = base.sample([first.prompt], 32, 56, 1.0, generator)  # 56 tokens at most
four = drawn[torch.tensor([22, 7, 0, 17])]  # picked, so that they are of four kinds
for name, text in zip("ABCD", four.texts, strict=True):
    print(f"{name}: {text}")

# %% [markdown]
# Our judge is a **verifier**, a program that parses the answer and computes it. The natural bug compares the value alone, so the target itself is an answer.

# %%
def right_answer(problem, text: str) -> float:
    """1 where the answer is an expression that solves the problem, otherwise 0."""
    try:
        value, numbers, used = evaluate(read_answer(text) or "")
    except ValueError:  # no answer, or no expression
        return 0.0
    each_once = sorted(numbers) == sorted(map(str, problem.numbers))
    return float(each_once and used <= set(problem.ops) and value == problem.target)


def value_alone(problem, text):
    answer = read_answer(text)
    return float(answer is not None and evaluate(answer)[0] == problem.target)

# %%
def pays_a_and_b(judge) -> None:
    lazy = f"<think></think><answer>{first.target}</answer>"
    assert [judge(first, text) for text in (*four.texts, lazy)] == [1, 1, 0, 0, 0]


bites(pays_a_and_b, right_answer, value_alone)
rewards = torch.tensor([[right_answer(first, text) for text in four.texts]]).double()
group = [right_answer(first, text) for text in drawn.texts]
assert group == [first.score(text) for text in drawn.texts]  # the package agrees
print(f"A to D earn {rewards[0].int().tolist()}; right of all {len(group)}: {sum(group):.0f}")

# %% [markdown]
# A is wrong once and then right. B is right at once. C is wrong, and D is cut off at 56 tokens. So answers to the same problem differ in reward. The **advantage** of an answer is how far its reward lies above the mean of its group, in standard deviations of the group. So a group whose answers are all right pushes nothing. A natural bug compares each answer with the whole batch:

# %%
def advantages_of(rewards):  # [problems, size]
    less = rewards - rewards.mean(1, keepdim=True)
    return (less / (rewards.std(1, keepdim=True) + 1e-4)).flatten()


def alike_is_zero(advantages_of) -> None:
    assert advantages_of(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))[:2].tolist() == [0, 0]


def over_the_batch(rewards):
    return ((rewards - rewards.mean()) / rewards.std()).flatten()


bites(alike_is_zero, advantages_of, over_the_batch)

# %% [markdown]
# The loss is minus the advantage times the log-probability, averaged over all tokens of all answers (called `bnpo` in the package). (If we averaged within each answer first, each token of a long wrong answer would be pushed down less, and thoughts could grow for that reason alone. [Chapter 13](13_grpo_variants.ipynb) compares the two.) What does one update do to the four?

# %% tags=["naive"]
def push_whole(policy, drawn, advantages):
    """Add the gradient of the loss: advantage times log-probability, over all tokens."""
    logp = (policy.logprobs(drawn) * drawn.mask).sum(1)
    (-(advantages * logp).sum() / drawn.mask.sum()).backward()

# %%
def adam(policy, lr=6e-4):
    return torch.optim.AdamW(policy.model.parameters(), lr, (0.9, 0.99), weight_decay=0)


@torch.no_grad()
def likely(policy, drawn):
    """The log-probability of each answer, in nats."""
    return (policy.logprobs(drawn) * drawn.mask).sum(1)


pupil, advantages = base.copy(), advantages_of(rewards)
push_whole(pupil, four, advantages)
adam(pupil).step()
was, now = likely(base, four), likely(pupil, four)
assert (now > was).tolist() == [True, True, False, False]
shown = zip("ABCD", rewards[0], advantages, four.lengths, was, now, strict=True)
rows = [[name, f"{r:.0f}", f"{a:+.2f}", int(n), f"{x:.1f}", f"{y:.1f}"]
        for name, r, a, n, x, y in shown]  # fmt: skip
table(["answer", "reward", "advantage", "tokens", "before", "after"], rows,
      "One update, and the log-probability of the whole answer before and after it, in nats.")

# %%
with torch.no_grad():
    by_token = (pupil.logprobs(four) - base.logprobs(four))[3].tolist()
least = min(range(len(by_token)), key=by_token.__getitem__)
upto = base.tokenizer.decode(four.tokens[3][: least + 1].tolist())
print(f"D's largest loss is {by_token[least]:.1f} nats, at the end of {upto!r}")

# %% [markdown]
# **A and B become likelier, C and D less likely.** C and D have the same advantage, but D falls much further. Most of its fall is one unlikely token, the 0 in a sum that is false, 15+4=10.
#
# Every token of A is pushed up, also the line that failed and the decision to go on after it. In D the same decision is pushed down. If going on ends in a right answer more often than giving up does, then going on becomes likelier over many groups.
#
# A training step does this with 16 answers to each of several problems. We take one step per batch, so GRPO's ratio is always 1 and its clip never acts. To save padding, we add the gradient up by blocks of answers with similar lengths. A natural bug sorts the answers and forgets to sort their advantages.

# %%
def push(policy, drawn, advantages):
    for rows in drawn.lengths.argsort().split(16):
        some = drawn[rows]
        logp = (policy.logprobs(some) * some.mask).sum(1)
        (-(advantages[rows] * logp).sum() / drawn.mask.sum()).backward()


def forgets_the_advantages(policy, drawn, advantages):
    place = drawn.lengths.argsort().argsort()  # of each answer among the sorted ones
    push(policy, drawn, advantages[place])

# %% [markdown]
# Do the blocks add up to the gradient of the package's loss for the whole batch, and do our advantages equal the package's? The cell below the comparison is the whole step: sample, judge, compare, push.

# %% tags=["agree"]
scores = torch.tensor([[right_answer(first, text) for text in drawn.texts]]).double()


def by_package(policy, drawn, advantages):
    logp = policy.logprobs(drawn)
    policy_loss(logp, logp.detach(), advantages, drawn.mask, loss_type="bnpo")[0].backward()


def gradient(push) -> torch.Tensor:
    policy = base.copy()
    push(policy, drawn, group_advantages(scores).flatten())
    moved = (p.grad for p in policy.model.parameters() if p.grad is not None)
    return torch.cat([grad.flatten() for grad in moved])


reference = gradient(by_package)


def blocks_add_up(push) -> None:
    """The gradient by blocks is that of the package's loss for the whole batch."""
    assert (gradient(push) - reference).abs().max() < 1e-7


gap = max((gradient(push_whole) - reference).abs().max().item(),
          (advantages_of(scores) - group_advantages(scores).flatten()).abs().max().item())
assert gap < 1e-7
print("advantages and gradients, ours and the package's, largest difference: below 1e-7")
bites(blocks_add_up, push, forgets_the_advantages)

# %%
def zero_step(policy, optimizer, problems, judge, generator, size=16):
    """Sample, judge, compare, push; the replies, and their rewards [problems, size]."""
    prompts = [p.prompt for p in problems]
    drawn = policy.sample(prompts, size, 128, 1.0, generator)
    posed = [p for p in problems for _ in range(size)]
    judged = [judge(p, text) for p, text in zip(posed, drawn.texts, strict=True)]
    rewards = torch.tensor(judged).double().view(len(problems), size)
    push(policy, drawn, advantages_of(rewards))
    _ = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return posed, drawn.texts, rewards

# %% [markdown]
# **Nothing in this loop looks at the thought, but the push for an answer reaches every token of the thought before it.**
#
# ## Watch it learn
#
# Do thoughts grow if only answers are rewarded? We train nano-base with `right_answer` for 16 steps of 4 problems, at a constant learning rate of 6e-4. After each step we count what its 64 replies show.
#
# At eight of the steps, the *moments* of the figure below, we also draw eight replies to one **held-out** problem, which the training never poses and which the base gets wrong. We note how that step's update, which is made from four *other* problems, moves the log-probability of each of their tokens.

# %%
def seen_in(posed, texts, rewards) -> dict[str, float]:
    """What one step's replies show."""
    pairs = list(zip(posed, texts, strict=True))
    return {"reward": rewards.mean().item(), "right": mean(p.score(t) for p, t in pairs),
            "first attempt": mean(first_right(p, t) for p, t in pairs),
            "retries": mean(retries(p, t) for p, t in pairs),
            "self-checks": mean(checks(t) for t in texts)}  # fmt: skip

# %% tags=["hide-input"]
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
                      "shade": [round(x, 2) + 0.0 for x in by[:count].tolist()]})  # fmt: skip
    return shown

# %%
def live(judge, steps, watched=None, moments=(), lr=6e-4):
    """A copy of the base trained by a judge: the policy, its curves, its moments."""
    policy, curve, frames = base.copy(), [], {}
    optimizer = adam(policy, lr)
    generator = torch.Generator().manual_seed(0)

    @torch.enable_grad()
    def update():
        problems = [train[4 * len(curve) + i] for i in range(4)]
        curve.append(seen_in(*zero_step(policy, optimizer, problems, judge, generator)))

    for step in range(steps):
        if step in moments:
            frames[step] = moved(policy, watched, step, update)
        else:
            update()
    return policy, curve, frames

# %%
watched = held_out[4]
eight = (0, 1, 2, 3, 5, 8, 11, 15)
learner, curve, frames = live(right_answer, 16, watched, eight)
after, last_replies = solved(learner)
print(f"greedy, {len(held_out)} held-out problems: {before:.0%} right before, "
      f"{after:.0%} after")

# %% tags=["widget"]
Rollouts(watched.prompt.strip(), list(frames), list(frames.values()),
         title="One problem, eight samples at eight moments",
         shade_label="moved by this step's update, nats")

# %% [markdown]
# Does an update touch the decision to go on? After a *no* of its own, the model either ends the thought or begins a new line. The next figure counts both in the samples above. (If you change *Tokens* from *plain*, shades show where one update acts.)

# %% tags=["figure", "hide-input"]
KINDS = {"\n": "a new line", "</think>": "the end"}


def fork(shown) -> dict[str, list[float]]:
    """Moves of a new line and of a thought's end after a no, and of all other tokens."""
    found = {"a new line": [], "the end": [], "any other token": []}
    for sample in shown:
        for k, (token, by) in enumerate(zip(sample["text"], sample["shade"], strict=True)):
            behind = "".join(sample["text"][:k]).endswith((" no", "不对"))
            found[behind and KINDS.get(token) or "any other token"].append(by)
    return found


forks = [fork(frame) for frame in frames.values()]
fig, ax = plt.subplots(figsize=(7.5, 2.6))
counts = {name: [len(f[name]) for f in forks] for name in KINDS.values()}
for name, off in (("a new line", -0.2), ("the end", 0.2)):
    bars = ax.bar([i + off for i in range(8)], counts[name], 0.38, label=name)
    _ = ax.bar_label(bars)
_ = ax.set_xticks(range(8), [step + 1 for step in frames])
_ = ax.set(xlabel="step", ylabel="times", ylim=(0, 11))
_ = ax.legend(loc="upper left", ncols=2)
assert sum(counts["a new line"][-4:]) > 2 * sum(counts["the end"][-4:])
show(fig, "After its own no, the model first ends the thought about as often as it goes on. "
     "Later it nearly always goes on. Eight samples per moment.",
     "Pairs of bars at eight moments. " + "; ".join(
         f"{name}: {', '.join(map(str, of))}" for name, of in counts.items()) + ".")
for name in forks[0]:
    by = sum((f[name] for f in forks), [])
    assert name != "the end" or mean(by) < -0.1
    print(f"one update moves {name} by {mean(by):+.2f} nats on average ({len(by):,} tokens)")

# %% [markdown]
# An update lowers the end of a thought after a *no* by more than 0.1 nats of log-probability, on average over the few such tokens of one problem and one training. This problem was never trained on, so here the updates carried over. What do the replies of the training show?

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3))
shown = ("retries", "self-checks"), ("right", "first attempt")
for ax, names in zip(axes, shown, strict=True):
    for name in names:
        _ = ax.plot(range(1, 17), [c[name] for c in curve], label=name)
    _ = ax.set(xlabel="step", ylim=(0, None))
    direct_labels(ax)
_ = axes[0].set(title="per thought")
_ = axes[1].set(title="share of replies")
ends = {name: [mean(c[name] for c in part) for part in (curve[:4], curve[-4:])]
        for name in curve[0]}  # fmt: skip
assert ends["retries"][1] > 2 * ends["retries"][0]
show(fig, "Sixteen steps of reward for right answers: thoughts try again more often. The "
     "share of right samples is noisy. One seed, 64 samples of four problems per step.",
     "Means of the first and of the last four steps: " + "; ".join(
         f"{name} {a:.2f}, then {b:.2f}" for name, (a, b) in ends.items()) + ".")
table(["", "first four steps", "last four steps"],
      [[name, f"{a:.2f}", f"{b:.2f}"] for name, (a, b) in ends.items() if name != "reward"],
      "Means over 256 samples each. First attempt: share of replies in which it is right.")

# %% [markdown]
# **The thinking grows although only the answer is rewarded.** Retries per thought more than double. Whether more samples are right cannot be read from this curve, because every step poses only four new problems. The held-out samples below decide it. Self-checks go up only because each attempt is checked, as it was from the start.
#
# ### A better first guess, or a better search?
#
# A thought is right at its first attempt or because it went on. To see which of the two the reward improved, we draw 32 samples for each of the same 16 held-out problems as above, from the base and from the rewarded model.

# %%
def by_pairs(judge, replies) -> list[float]:
    """Percent of 64 samples, for each of eight pairs of problems."""
    marks = [100 * judge(p, t) for p, t in zip(posed, replies, strict=True)]
    return [mean(marks[i : i + 64]) for i in range(0, len(marks), 64)]


def by_retrying(problem, text: str) -> float:
    return problem.score(text) - first_right(problem, text)


later = sampled(learner, asked, 32)
rows, gained = [], {}
for name, judge in (("first attempt", first_right), ("final answer", right_answer),
                    ("difference", by_retrying)):  # fmt: skip
    was, now = by_pairs(judge, texts), by_pairs(judge, later)
    gained[name] = apart(now, was)
    rows.append([name, f"{mean(was):.0f}", f"{mean(now):.0f}",
                 "{:+.0f} ± {:.0f}".format(*gained[name])])  # fmt: skip
assert gained["first attempt"][0] < gained["final answer"][0] / 2
table(["right in %", "base", "rewarded", "gain"], rows,
      "512 samples each; 95 % intervals over eight pairs of problems, one training.")

# %% [markdown]
# **The reward improved the search.** Final answers are right about 20 points more often, and first attempts about as often as before. The interval for first attempts is wide, so a gain of several points is possible. It comes from one training, so another seed may differ more. Here are greedy thoughts on the first held-out problem that the rewarded model gets right after two retries or more, and the base gets wrong:

# %%
pairs = zip(held_out, first_replies, last_replies, strict=True)
searched, a, b = next((p, a, b) for p, a, b in pairs
                      if p.score(a) < p.score(b) and retries(p, b) > 1)  # fmt: skip
lines = itertools.zip_longest(a.split("\n"), b.split("\n"), fillvalue="")
table(["the base", "after the reward"], list(lines), searched.prompt.strip())

# %% [markdown]
# The base sees that its attempt fails and hands it in all the same. The rewarded model goes on until its own verdict is *yes*.
#
# ## What must the base have read?
#
# Our live base had read many searchers. What if there are fewer? We pretrained twenty base models of nano's size on nano's task (three numbers up to 12, plus and minus), five seeds for each of four webs. The webs differ in one number: **the share of authors who search until they have found a solution**. It is 0, 1, 5 or 20 %. Of the other authors, nine of ten try once and one of ten tries twice. Every base then got 48 steps of 256 answers (up to 160 tokens) with the right reward. The learning rate is 6e-4 as in our live run, but in the last 30 % of the steps it falls to a tenth.

# %% tags=["hide-input"]
grid = [row for name in ("ch14_grid", "ch14_grid_corners")
        for row in results.read(name)["rows"] if row["job"] == "grid"]  # fmt: skip
SHARES = (0.0, 0.01, 0.05, 0.2)


def cells(share: float, cell: str) -> list[dict]:
    """The five seeds of one cell of the grid."""
    found = [r for r in grid if (r["share"], r["cell"]) == (share, cell)]
    return sorted(found, key=lambda r: r["seed"])


def percent(share: float, cell: str) -> list[float]:
    """Greedy accuracy on 1,024 held-out problems, one number per seed."""
    return [100 * r["accuracy"] for r in cells(share, cell)]


def again_in(share: float, cell: str) -> float:
    """Retries per sampled thought, the mean of five seeds."""
    return mean(r["in_samples"]["retries"] for r in cells(share, cell))


print(results.origin("ch14_grid"))
seconds = [results.facts(name)["seconds"] for name in ("ch14_grid", "ch14_grid_corners")]
print(f"seeds 3 and 4 are in results/ch14_grid_corners\nthe GPU took {seconds[0]:.0f} s and "
      f"{seconds[1]:.0f} s, and its memory was not recorded")
no_search.reveal(round(mean(percent(0.0, "right")), 1))

# %% tags=["figure", "hide-input"]
def against(cell: str, other: str, share: float) -> str:
    """The difference of two treatments of the same bases, in points."""
    middle, half = apart(percent(share, cell), percent(share, other))
    return f"{round(middle):+} ± {half:.0f}"


def by_web(cells, ylabel, caption):
    fig, ax = plt.subplots(figsize=(7, 3.2))
    for cell, label in cells.items():
        _ = ax.plot(range(4), [mean(percent(s, cell)) for s in SHARES], "o-", label=label)
        for x, s in enumerate(SHARES):
            middle, half = interval(percent(s, cell))
            _ = ax.plot([x, x], [middle - half, middle + half], color="gray", lw=0.8)
    _ = ax.set_xticks(range(4), [f"{share:.0%}" for share in SHARES])
    _ = ax.set(xlabel="share of authors who search, in the base's web", ylabel=ylabel)
    _ = ax.set(ylim=(0, 100), xlim=(-0.2, 3.9))
    direct_labels(ax)
    show(fig, caption, "Lines over four webs. " + "; ".join(
        f"{label} " + ", ".join(f"{mean(percent(s, cell)):.0f}" for s in SHARES)
        for cell, label in cells.items()) + ".")


by_web({"base": "base", "right": "rewarded"}, "right, greedy, %",
       "Greedy replies of the bases are right about equally often. What the same reward adds "
       "depends on what they have read. Five seeds, 95 % intervals, 1,024 held-out problems.")
endless = [1 - mean(r["well_formed"] for r in cells(s, "right")) for s in SHARES]
table(["search", "rewarded - base", "retries, base", "retries, rewarded", "no end"],
      [[f"{s:.0%}", against("right", "base", s), f"{again_in(s, 'base'):.2f}",
        f"{again_in(s, 'right'):.2f}", f"{e:.0%}"]
       for s, e in zip(SHARES, endless, strict=True)],
      "Greedy accuracy in points. Retries per sampled thought. No end: share of the rewarded "
      "models' greedy answers without an end or an answer at 160 tokens.")

# %% [markdown]
# With 20 % of searchers the reward adds about 60 points, and without searchers fewer than 10. **Greedy replies of all twenty bases try once and are right about as often, but their samples already differ.** Can we predict the gain from the habit before the reward?

# %% tags=["figure", "hide-input"]
first_retries, their_gain = [], []
fig, ax = plt.subplots(figsize=(6.5, 3.2))
for s in SHARES:
    x = [r["in_samples"]["retries"] for r in cells(s, "base")]
    y = [b - a for a, b in zip(percent(s, "base"), percent(s, "right"), strict=True)]
    _ = ax.scatter(x, y, s=26, label=f"{s:.0%} search")
    first_retries, their_gain = first_retries + x, their_gain + y
_ = ax.set(xlabel="retries per sampled thought, before reward", ylabel="gain, points")
_ = ax.set(xlim=(0, 0.6), ylim=(0, 70))
_ = ax.legend(loc="lower right")
together = correlation(first_retries, their_gain)
greedy = sum(r["retries"] > 0 for s in SHARES for r in cells(s, "base"))
show(fig, "Twenty bases: the more often samples try again before the reward, the more the "
     "reward adds to greedy accuracy.",
     f"Twenty dots. Correlation {together:.2f}. Means by web, retries and gain: " + "; ".join(
         f"{mean(first_retries[i : i + 5]):.2f} and {mean(their_gain[i : i + 5]):.0f}"
         for i in (0, 5, 10, 15)) + ".")
print(f"correlation over {len(their_gain)} bases: {together:.2f}; "
      f"bases whose greedy replies ever try again: {greedy}")

# %% [markdown]
# **Reward brings out what the base has read, and samples show it beforehand.** The correlation comes from the webs. Five seeds are too few to say whether it holds within one web.
#
# Retries grow under reward on *every* web, also without searchers. There the base has read second attempts, but never a third. But more retries are not yet right answers. At 1 % more than a quarter of the greedy answers do not end within 160 tokens. At 0 % few run into the limit, and we do not know what keeps it at 42 %. An author who searches tries everything in turn and stops at *yes*, and these bases have read few such authors or none.
#
# ## Would something simpler do?
#
# We compare the reward with two **controls** without reinforcement learning.
#
# ### A prompt
#
# Without any training, the prompt begins a search for the model, with two wrong attempts that are judged *no*. A solver picks them, so the prompt also rules out two expressions. A natural bug would give a solution away, judged *no*:

# %%
def begin(problem) -> list[str]:
    """The lines of two wrong attempts, each judged no."""
    ways = all_ways(problem.numbers, problem.ops)
    chains = [write_chain(problem.numbers, steps) for steps in ways]
    missed = [chain for chain in chains if chain[-1] != str(problem.target)][:2]
    return [f"{'='.join(chain)}?{problem.target} no" for chain in missed]


print(first.prompt + "<think>" + "\n".join(begin(first)))

# %%
def begin_with_any(problem) -> list[str]:
    chains = [write_chain(problem.numbers, s) for s in all_ways(problem.numbers, problem.ops)]
    return [f"{'='.join(chain)}?{problem.target} no" for chain in chains[:2]]


def tells_no_solution(begin) -> None:
    for p in held_out:
        for line in begin(p):
            assert p.score(f"<think></think><answer>{line.partition('=')[0]}</answer>") == 0


bites(tells_no_solution, begin, begin_with_any)

# %% [markdown]
# ### Imitation of its own right answers
#
# The base draws answers, we keep the right ones, and the base imitates them by fine-tuning (**rejection sampling**). A natural bug would keep wrong answers too. Of our four, only A and B may be kept. Then nano-base learns the kept replies by cross-entropy, in four steps.

# %%
def keep_right(problems, replies) -> list[tuple[str, str]]:
    """Of some samples, the prompts and texts of those that the verifier accepts."""
    pairs = zip(problems, replies, strict=True)
    return [(p.prompt, text) for p, text in pairs if right_answer(p, text) == 1]


def all_right(keep) -> None:
    assert [t for _, t in keep([first] * 4, four.texts)] == four.texts[:2]


def keep_well_formed(problems, replies):
    pairs = zip(problems, replies, strict=True)
    return [(p.prompt, text) for p, text in pairs if p.well_formed(text)]


bites(all_right, keep_right, keep_well_formed)

# %%
def imitate(policy, kept, optimizer, generator, batch=32):
    """One step of cross-entropy on the tokens of kept replies; the loss in nats per token."""
    drawn = torch.randint(len(kept), (batch,), generator=generator).tolist()
    some = policy.encode([kept[i][0] for i in drawn], [kept[i][1] for i in drawn])
    loss = -(policy.logprobs(some) * some.mask).sum() / some.mask.sum()
    loss.backward()
    _ = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()

# %%
asks = [train[10_000 + i] for i in range(16) for _ in range(16)]
kept = keep_right(asks, sampled(base, asks[::16], 16))
imitator, order = base.copy(), torch.Generator().manual_seed(0)
optimizer = torch.optim.AdamW(imitator.model.parameters(), 1e-3, (0.9, 0.95), weight_decay=0)
losses = [imitate(imitator, kept, optimizer, order) for _ in range(4)]
share, replies = solved(imitator)
longer = mean(retries(p, t) > 0 for p, t in zip(held_out, replies, strict=True))
was = mean(p.score(t) for p, t in zip(posed, texts, strict=True))
now = mean(p.score(t) for p, t in zip(posed[::2], sampled(imitator, asked, 16), strict=True))
by_reward = mean(p.score(t) for p, t in zip(posed, later, strict=True))
print(f"{len(losses)} steps on {len(kept)} right ones; {longer:.0%} now try again")
table(["right", "answers drawn", "greedy", "sampled"],
      [["base", 0, f"{before:.0%}", f"{was:.0%}"],
       ["imitation", len(asks), f"{share:.0%}", f"{now:.0%}"],
       ["reward, as above", 16 * 64, f"{after:.0%}", f"{by_reward:.0%}"]],
      "One training each. Greedy: 128 held-out problems. Sampled: 16 of them.")

# %% [markdown]
# Four steps already make most greedy replies try again, because going on has become likelier than ending after a *no*. From a quarter of the answers, imitation is right more often in greedy replies than the live reward, and about as often in samples. In the grid, fine-tuning imitates 1,536 right answers in batches of 64, at a rate of 1e-3 that falls to a tenth in the second half. It gets as many operations as the run with the right reward, its sampling included.
#
# Guess before you look: on the web with 1 % of searchers, how many points of greedy accuracy does fine-tuning have more than the right reward (or fewer, as a negative number)?

# %% tags=["hide-input"]
guess = None
question = "1 % searchers: fine-tuned minus rewarded, in points of accuracy?"
imitation = predict("zero.imitation", question, guess, example=-10, unit="points",
                    scale="difference", tolerance=20)  # fmt: skip
imitation

# %% tags=["figure", "hide-input"]
of = [r for s in SHARES for r in cells(s, "sft")]
steps, asked_for = ([r[key] for r in of] for key in ("sft_steps", "asked"))
parts = [r["flops"] / q["flops"] for s in SHARES
         for r, q in zip(cells(s, "sft"), cells(s, "right"), strict=True)]
print(f"rewarded: 48 steps; {48 * 256:,} answers drawn\n"
      f"fine-tuned: {min(steps)} to {max(steps)} steps on {of[0]['examples']:,} right ones of "
      f"{min(asked_for):,} to {max(asked_for):,}\nfine-tuned, of the operations of rewarded: "
      f"{min(parts):.0%} to {max(parts):.0%}")
imitation.reveal(round(mean(percent(0.01, "sft")) - mean(percent(0.01, "right")), 1))
by_web({"base": "base", "right": "rewarded", "prompt": "prompted", "sft": "fine-tuned"},
       "right, greedy, %", "Two controls beside the reward. The prompt reaches most of the "
       "gain at 20 %. Fine-tuning is ahead where few authors search. Five seeds.")
minus = [[name, *(against(a, b, s) for s in SHARES)] for name, a, b in (
    ("prompted - base", "prompt", "base"), ("rewarded - prompted", "right", "prompt"),
    ("fine-tuned - rewarded", "sft", "right"))]  # fmt: skip
habits = [[f"retries, {name}", *(f"{again_in(s, cell):.2f}" for s in SHARES)] for name, cell in
          (("base", "base"), ("rewarded", "right"), ("fine-tuned", "sft"))]  # fmt: skip
table(["", *(f"{s:.0%} search" for s in SHARES)], minus + habits,
      "First points of greedy accuracy, with 95 % intervals over five pairs of seeds; then "
      "retries per sampled thought, means of five seeds.")

# %% [markdown]
# **The prompt alone reaches most of the gain** at 20 %, perhaps because a base that knows searchers only needs to see that a search has begun. At 0 % the same prompt does harm.
#
# **Fine-tuning on the base's own right answers is far above reward where few authors search, and equal to it at 20 %.** This contradicts what we expected. Fine-tuning took several times as many optimizer steps, at a higher rate, and saw only right answers. We have not tested which of the three matters. Its models try again *less* often than the rewarded ones, on every web. So where few search, reward was not the best way to more right answers here, and fine-tuning got there with fewer retries.
#
# ## Does the reward need to be right?
#
# Perhaps any push would wake the habit. We hand four more judges to the loop. The last, *capped*, is `right_answer` for answers cut at 40 tokens. The figure and the cell show what each pays for our four answers.

# %% tags=["diagram", "hide-input"]
diagram("r1_zero")

# %%
def wrong_answer(problem, text: str) -> float:
    return float(problem.well_formed(text) and problem.score(text) != 1)


def random_coin(problem, text: str) -> float:
    return float(random.Random(problem.prompt + text).random() < 0.5)


def right_form(problem, text: str) -> float:
    return float(problem.well_formed(text))


def capped(problem, text: str) -> float:
    return problem.score(base.tokenizer.decode(base.tokenizer.encode(text)[:40]))


judges = (right_answer, wrong_answer, random_coin, right_form, capped)
table(["judge", *"ABCD"], [[judge.__name__, *(int(judge(first, t)) for t in four.texts)]
                           for judge in judges], "Rewards for the four answers.")

# %% [markdown]
# A judge is easily wrong. A reply without an answer must not be paid as *wrong* or as *well formed*, and our coin must not change its verdict when the same reply comes again. Two tests catch three planted bugs. Then a figure shows what the five do to the bases. A group whose answers are judged alike has no **signal**, because all its advantages are 0. The table counts such groups on the web with 20 % of searchers.

# %%
def no_answer_no_pay(judge) -> None:
    assert judge(first, four.texts[3]) == 0


def not_right(problem, text):
    return 1 - problem.score(text)


def has_a_thought(problem, text):
    return float(text.startswith("<think>"))


def keeps_its_word(judge) -> None:
    assert len({judge(first, four.texts[0]) for _ in range(20)}) == 1


def fresh_coin(problem, text):
    return float(random.random() < 0.5)


bites(no_answer_no_pay, wrong_answer, not_right)
bites(no_answer_no_pay, right_form, has_a_thought)
bites(keeps_its_word, random_coin, fresh_coin)

# %% tags=["figure", "hide-input"]
names = ("base", "right", "wrong", "random", "format", "capped")
heights = [[mean(percent(share, name)) for share in SHARES] for name in names]
fig, ax = plt.subplots(figsize=(7.5, 3.2))
_ = ax.pcolormesh(heights, vmin=0, vmax=100, edgecolors="#fbfcfd", linewidth=1.5)
for (row, column), value in [((i, j), heights[i][j]) for i in range(6) for j in range(4)]:
    _ = ax.text(column + 0.5, row + 0.52, f"{value:.0f}", ha="center", va="center",
                color="#111111" if value > 45 else "#ffffff")
_ = ax.set_xticks([c + 0.5 for c in range(4)], [f"{share:.0%}" for share in SHARES])
_ = ax.set_yticks([r + 0.5 for r in range(6)], names)
_ = ax.set(xlabel="share of authors who search, in the base's web")
ax.invert_yaxis()
ax.grid(False)
show(fig, "Right greedy answers in %, five judges on four webs; means of five seeds. No judge "
     "but the right one raises the base.",
     "A grid of the base and five judges by four webs. " + "; ".join(
         f"{name} " + ", ".join(f"{v:.0f}" for v in row)
         for name, row in zip(names, heights, strict=True)) + ".")
formed = [r["curves"]["well_formed"][0] for s in SHARES for r in cells(s, "right")]
print(f"right form, {len(formed)} bases at step 1: {mean(formed):.1%} of samples on average")
table(["judge", "no signal", "retries", "greedy, minus base"],
      [[name, f"{mean(r['without_signal'] for r in cells(0.2, name)):.0%}",
        f"{again_in(0.2, name):.2f}", against(name, "base", 0.2)] for name in names[1:]],
      f"20 % searchers, five seeds. No signal: share of training groups. Retries per sampled "
      f"thought (base: {again_in(0.2, 'base'):.2f}). Greedy accuracy, points.")

# %% [markdown]
# - **Wrong**: the model becomes wrong, which is what this reward pays for.
# - **Random**: the coin destroys the model, although it favours nothing on average. We think that the pushes of 48 steps add up in a random direction.
# - **Format**: nearly every sample of the bases has the right form already, so there is almost nothing to gain. But the retries are gone. We think that the few groups with a signal hold long thoughts that did not end, so this reward pushed against going on.
# - **Capped**: 40 tokens are one attempt. The model is tested with 160, and it gains on no web. The reward needed room for a second attempt.
#
# **At the one learning rate that we tried, only the right reward raised the accuracy.**
#
# ## Can one still read it?
#
# DeepSeek reports that the thoughts of R1-Zero mix languages. Do ours? One cause of the mixing is the web itself, where 15 % of the authors mix both languages. Another may be length, because each new line may change the language. So we count sampled thoughts with words of both, and apply the controls again.

# %% tags=["hide-input"]
def both(share: float, cell: str) -> list[float]:
    return [100 * r["in_samples"]["both_languages"] for r in cells(share, cell)]


in_pairs = []
for name, of in (("base", texts), ("rewarded", later)):
    thoughts = [thought_of(t) for t in of]
    long = [t for t in thoughts if len(t.splitlines()) > 1]
    in_pairs.append([100 * mean(mixed(t) for t in thoughts[i : i + 64] if t in long)
                     for i in range(0, len(thoughts), 64)])  # fmt: skip
    print(f"live, {name}: {mean(map(mixed, long)):.0%} of {len(long)} thoughts of several "
          f"lines are mixed; {mean(len(t.splitlines()) for t in long):.1f} lines on average")
print("rewarded minus base: {:+.0f} ± {:.0f} points".format(*apart(*in_pairs[::-1])))
treated = {"base": "base", "prompted, untrained": "prompt", "fine-tuned": "sft",
           "rewarded": "right"}  # fmt: skip
table(["thoughts in both languages, %", *(f"{s:.0%} search" for s in SHARES)],
      [[name, *("{:.1f} ± {:.1f}".format(*interval(both(s, cell))) for s in SHARES)]
       for name, cell in treated.items()],
      "Sampled thoughts, five seeds, 95 % intervals.")

# %% [markdown]
# **Much of the mixing comes with searching.** With 20 % of searchers, thoughts of the untrained base mix more often when the prompt begins a search, and so do fine-tuned ones, on average even more often than rewarded ones. So reward alone does not explain it. In the live run something is left, because thoughts of as many lines mix about twice as often after the reward. But this is one training. The reward does not care about the language, and DeepSeek-R1 rewards the language of the question.
#
# ## A reward that is hacked on purpose
#
# A model that is trained on a flawed reward finds the flaw, which is called **reward hacking**. How would you cheat a verifier that believes the model? Our careless verifier does no arithmetic. It only looks whether the thought ends with the model's own *yes*. At first such a *yes* is correct in about three of four samples, and our four answers earn the same as before. What is the shortest reply that would still be paid? We train for eight steps, one seed, at the higher learning rate of 1e-3. As a control, we train again with the right verifier, from the same seed and with all else the same.

# %%
def believes(problem, text: str) -> float:
    """1 for a well-formed reply whose thought ends with the model's own yes."""
    yes = thought_of(text).endswith((" yes", " 对了"))
    return float(yes and problem.well_formed(text))


print("our four answers earn", *(int(believes(first, text)) for text in four.texts))
of_yes = [p.score(t) for p, t in zip(posed, texts, strict=True) if believes(p, t)]
print(f"base: {mean(of_yes):.0%} of {len(of_yes)} samples that end with yes are right")

# %%
cheat, cheated, _ = live(believes, 8, lr=1e-3)
honest, control, _ = live(right_answer, 8, lr=1e-3)
print(f"greedy, right: base {before:.0%}, careless verifier {solved(cheat)[0]:.0%}, "
      f"right verifier {solved(honest)[0]:.0%}")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.5, 3))
lines = {"careless: paid": [c["reward"] for c in cheated],
         "careless: really right": [c["right"] for c in cheated],
         "right verifier: right": [c["right"] for c in control]}  # fmt: skip
for label, line in lines.items():
    _ = ax.plot(range(1, 9), line, label=label)
_ = ax.set(xlabel="step", ylabel="share of samples", ylim=(0, 1.02))
direct_labels(ax)
thirds_of = {name: [mean(line[:3]), mean(line[-3:])] for name, line in lines.items()}
paid, true, fixed = thirds_of.values()
careless, fair = ([c["right"] for c in of] for of in (cheated, control))
above = [a > b for a, b in zip(careless, fair, strict=True)]
assert all(above[1:5]) and not any(above[5:])
assert max(careless[5:]) < min(careless[1:5])
assert paid[1] - true[1] > 2 * (paid[0] - true[0])
assert fixed[1] > true[1]
show(fig, "The careless verifier pays more and more. Its samples are right more often than "
     "the control's in steps 2 to 5, and less often from step 6 on. One seed.",
     "Three lines over eight steps. Means of the first and of the last three: " + "; ".join(
         f"{name} {a:.2f}, then {b:.2f}" for name, (a, b) in thirds_of.items()) + ".")

# %% tags=["hide-input"]
late = sampled(cheat, asked, 4)
fooled = [(p, t) for p, t in zip([p for p in asked for _ in range(4)], late, strict=True)
          if believes(p, t) and not p.score(t)]
print(f"{len(fooled)} of {len(late)} samples are paid for and wrong; two of them:")
for p, text in sorted(fooled, key=lambda pair: len(pair[1]))[:2]:
    print(p.prompt + text, "->", p.verdict(text))

# %% [markdown]
# Any line is enough if a *yes* follows. In steps 2 to 5 the samples are right even more often than the control's. From step 6 on they are right less often than the control's, while the reward stays high. The control differs in the verifier alone, so the verifier is to blame. Nothing told the model to lie, but a false *yes* was rewarded, so the model writes a false *yes* more often.
#
# **From step 6 on the reward is high and the sampled accuracy stays below the control's.** Our loop logs both, because we also have the right verifier. Without one, check a few replies by hand. The fix is a verifier that ignores the thought, such as `right_answer`. One of the exercises repairs another careless verifier.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeek-R1-Zero {cite}`deepseekr1` is DeepSeek-V3-Base, trained with GRPO and a reward of two parts, both by rule:
#
# $$
# r(y) = r_{\text{accuracy}}(y) + r_{\text{format}}(y).
# $$
#
# The first part compares a final answer in a box with the known one, or runs tests on code. The second pays for a thought between tags. There is no neural reward model, because such a model is easily hacked in a long training. The prompt asks for a thought and then an answer, and says nothing about how to think.
#
# They report that answers grew to thousands of tokens, that pass@1 on AIME 2024 rose from 15.6 % to 71.0 %, and that a vote among 64 answers reached 86.7 % (report of January 2025; the version in *Nature* gives 77.9 % for pass@1). They also report what did not work: the thoughts are hard to read and mix languages. The figure shows our own recorded run with three seeds, a larger model (*small*: three numbers up to 20, all four operators) and 1,024 samples per step. The table behind it has greedy answers, in which *small*'s base never tries again.

# %% tags=["hide-input"]
recorded = [read_stages(results.folder("reason_small") / f"seed{seed}") for seed in range(3)]
small = [next(s.metrics for s in stages if s.name == "zero") for stages in recorded]
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
     "Three lines each over 30 steps. Mean share right in steps 1-10, 11-20, 21-30: "
     + ", ".join(f"{m:.2f}" for m, _ in thirds["accuracy"]) + "; mean tokens: "
     + ", ".join(f"{m:.0f}" for m, _ in thirds["length"]) + ".")
drift = apart(*([100 * mean(line["accuracy"] for line in run[a : a + 10]) for run in small]
                for a in (20, 10)))
assert abs(drift[0]) < 2
print("right, steps 21-30 minus steps 11-20: {:+.1f} ± {:.1f} points".format(*drift))

# %% tags=["hide-input"]
def share_right(name: str, stage: str, seed: int) -> float:
    return 100 * results.read(name, f"seed{seed}/{stage}/evaluation.json")["row"]["accuracy"]


stages = [[share_right("reason_small", stage, s) for s in range(3)]
          for stage in ("base", "zero")]  # fmt: skip
tried = [results.read("reason_small", f"seed{s}/base/evaluation.json")["replies"]
         for s in range(3)]  # fmt: skip
one_line = mean("\n" not in thought_of(r["reply"]) for replies in tried for r in replies)
print(f"small: {one_line:.0%} of the base's greedy replies stop after one attempt")
rows = [["small: 3 numbers up to 20, + - * /", "30 %",
         *("{:.0f} ± {:.0f}".format(*interval(of)) for of in stages), "three"]]
for name, searchers in (("reason_capstone", "20 %"), ("reason_capstone_share18", "18 %"),
                        ("reason_capstone_share15", "15 %")):
    rows.append(["capstone: 3 and 4 numbers up to 99, + - * /", searchers,
                 *(f"{share_right(name, stage, 0):.1f}" for stage in ("base", "zero")), "one"])
table(["task", "searchers", "base", "R1-Zero", "seeds"], rows,
      "Right answers to held-out problems in %, greedy. The capstone's searchers work "
      "backwards from the target. With 15 and 18 % its pretraining was also shorter.")

# %% [markdown]
# ## What went wrong, or did not help
#
# **We expected reward to beat fine-tuning at equal operations.** It did not: at 0 % and 1 % it is about 24 points lower.
#
# **We expected the coin to do nothing.** A later version of the paper on spurious rewards {cite}`shao2025spurious` explains gains from a random reward by GRPO's clip. Our loop takes one step per batch, so its clip never acts, and that explanation cannot apply.
#
# **The grid has one learning rate, 48 steps and one limit of length.** Where searchers are few, answers run into that limit. A price on length, or a longer training, might change the results at 0 % and 1 %.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Groups that teach
# :label: ex-14-signal
#
# *8 minutes.* Write `groups_with_signal(rewards)` for the task that is printed below; `check("zero.groups_with_signal", my_signal)` knows eight mistakes by name.
#
# **Hint.** Compare every answer with the first answer to the same problem.
# ```

# %%
print(describe("zero.groups_with_signal"))


def my_signal(rewards):
    """Replace the line below by your own; rewards: [P, G]."""
    raise NotImplementedError


# check("zero.groups_with_signal", my_signal)

# %% [markdown]
# ```{solution-start} ex-14-signal
# :class: dropdown
# ```

# %%
def signal_solution(rewards):
    return (rewards != rewards[:, :1]).any(1).double().mean().item()


check("zero.groups_with_signal", signal_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Close the holes
# :label: ex-14-strict
#
# *15 minutes.* `minidsk.homework.verifier.sloppy` reads what stands behind the last `=` of the last answer, and does not ask which numbers were used. So the target itself is an answer. Write `strict(text, numbers, target, ops)`, which closes all its holes; `check("zero.strict", my_strict)` knows ten mistakes by name. Our verifier left the reading to `read_answer`. Do without it, and read the reply yourself.
#
# **Hint.** One regular expression can demand the end of the thought, then one answer, then nothing. `evaluate` does the rest.
# ```
#
# ```{solution-start} ex-14-strict
# :class: dropdown
# ```

# %%
from minidsk.homework.verifier import sloppy


def strict_solution(text, numbers, target, ops):
    found = re.fullmatch(r".*</think>\s*<answer>([^<]*)</answer>\s*", text, re.DOTALL)
    if found is None or text.count("<answer>") != 1:
        return 0.0
    try:
        value, literals, used = evaluate(found[1])
    except ValueError:
        return 0.0
    same = sorted(literals) == sorted(map(str, numbers))
    return float(same and used <= set(ops) and value == target)


check("zero.strict", strict_solution)
lazy = f"<think></think><answer>{first.target}</answer>"
for judge in (lambda t: sloppy(t, list(first.numbers), first.target),
              lambda t: strict_solution(t, first.numbers, first.target, "+-")):  # fmt: skip
    print([judge(text) for text in (lazy, *four.texts)])

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Seeds in pairs
# :label: ex-14-paired
#
# *10 minutes.* Each seed has a base and a rewarded model. Write `paired(before, after)`: the mean gain, and half of its 95 % interval; `check("zero.paired", my_paired)` knows six mistakes by name. Then apply it to the right reward at 1 %.
#
# **Hint.** Subtract seed by seed first. `minidsk.report.interval.T_95` holds Student's t.
# ```
#
# ```{solution-start} ex-14-paired
# :class: dropdown
# ```

# %%
from statistics import stdev

from minidsk.report.interval import T_95


def paired_solution(before, after):
    gains = [b - a for a, b in zip(before, after, strict=True)]
    return mean(gains), T_95[len(gains)] * stdev(gains) / math.sqrt(len(gains))


check("zero.paired", paired_solution)
gain, half = paired_solution(percent(0.01, "base"), percent(0.01, "right"))
print(f"1 % searchers, right minus base: {gain:+.1f} ± {half:.1f} points")

# %% [markdown]
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of `groups_with_signal`. The test below accepts the right version and lets one bug escape. Write a second test that catches it; ours is in the folded cell.

# %% tags=["zoo"]
def alike_says_nothing(groups_with_signal) -> None:
    """All right, all half right, one right of two: one group of three has a signal."""
    rewards = torch.tensor([[1.0, 1], [0.5, 0.5], [0, 1]])
    assert abs(groups_with_signal(rewards) - 1 / 3) < 1e-6


zoo("zero", [alike_says_nothing])

# %% tags=["hide-cell"]
def a_tenth_is_a_signal(groups_with_signal) -> None:
    """No answer is fully right, but one is better than the others."""
    assert groups_with_signal(torch.tensor([[0, 0.1, 0]])) == 1


zoo("zero", [alike_says_nothing, a_tenth_is_a_signal])

# %% [markdown]
# ## The opening question, answered
#
# What must a base have, so that reward alone makes it think? Reward makes every base try again. It made the answers mostly right (91 %) only where the base had read many authors who search. Without them it reached 42 %, and fine-tuning on the base's own right answers 66 %. Greedy replies do not show which base is which, but samples do, because those of a base that has read many searchers try again more often before any reward. Below the numbers, both models of the live run answer a problem from above, which the rewarded one solved by searching. Then put in one of your own.

# %%
for share in SHARES:
    was, now = (mean(percent(share, cell)) for cell in ("base", "right"))
    few, many = (again_in(share, cell) for cell in ("base", "right"))
    print(f"{share:.0%} searchers: greedy {was:.0f} %, then {now:.0f} %; "
          f"retries per sample {few:.2f}, then {many:.2f}")

# %%
yours = train.pose("Make 19 from 8 4 7")
for task in (searched, yours):
    for name, policy in (("base", base), ("after the reward", learner)):
        print(f"{name}: {task.prompt}", *replies_of(policy, [task], 128), sep="")

# %% tags=["receipt"]
spread = {f"recorded, right reward, %, {share:.0%} search": percent(share, "right")
          for share in SHARES}  # fmt: skip
print(f"time of the processor alone: {time.process_time():.0f} s")
receipt(spread=spread, differences={"our step, and the package's": (gap, 1e-7)})

# %% [markdown]
# ## Summary
#
# **With reward alone our base models try again more often**, on every web. Whether trying again makes them *right* depends on what they have read, and the retries in samples of the base show it beforehand. The right reward adds about 60 points of greedy accuracy where 20 % of authors search, and 8 where none does. In the live run the gain came from the search. At the one learning rate that we tried, a coin and a wrong reward destroyed the model, and a cap of 40 tokens took the gain away. At equal operations, fine-tuning on the base's own right answers was about 24 points better where few authors search, and as good where many do, with fewer retries.
#
# - I can now write the loop of R1-Zero with any judge, and see from its curves what it teaches.
# - I can now name the controls that a claim about reinforcement learning needs: a prompt, fine-tuning at equal operations, a random reward, a cap on length.
# - I can now notice a hacked reward, and close the hole.

# %% [markdown]
# ## Read on
#
# - [New ability, or better aim?](14b_aim.ipynb) asks what reward added to these models, and which of the disputed papers holds where.
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.2, on R1-Zero; Gandhi and others {cite}`gandhi2025habits` on habits, also on Countdown.
# - The code of this chapter in the package: `minidsk/rl/loop.py`, `rewards.py` and `language.py`; the grid is `tools/experiments/ch14_grid.py`.
# - Next: [chapter 15](15_r1.ipynb) adds DeepSeek-R1's stages before and after reward, one at a time.
