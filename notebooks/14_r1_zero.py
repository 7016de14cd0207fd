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
# DeepSeek took a base model, showed it no worked example, and rewarded right answers. The model began to think: it wrote longer answers, tried again and checked itself. We do the same to twenty-five tiny bases. In **greedy** replies (always the likeliest token) twenty of them try once and solve about a third of our problems. After the same 48 steps of the same reward, five of these twenty solve about 91 % on average, and the other fifteen end far lower. The last five bases solve about 93 % before any reward, and on average no more after it. **What must a base have, so that reward alone makes it think?**
#
# - **You will build** the loop of R1-Zero with any reward, the controls that its result must be compared with, a verifier, and a careless verifier that the model cheats.
# - **You need** PyTorch, and [chapter 12](12_grpo.ipynb), which builds GRPO.
# - **It takes** one to two minutes on two free CPU cores, up to twice that on Colab's two (no GPU is needed), and an hour and a half to read. The grid of 25 bases and 150 models made of them was recorded in three runs, in about nine and a half minutes on one GPU (an H200).

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
# Does a base think before any reward? Our base model is **nano-base**, with 0.4 million parameters. It has read worksheets about Countdown: make a target from three numbers up to 12, with plus and minus, each number used exactly once. Most authors try one expression, judge it, and hand it in, right or wrong. About three in ten go on until they have found a solution. We call everything that a base has read its **web**. `problem.score(reply)`, from the package, is 1 for a right answer and otherwise 0.

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
# The model writes its thought between `<think>` and `</think>`. A line of the thought is one **attempt**. After the question mark stand the target and a verdict, *yes* or *no*, in English or Chinese (对了 and 不对). This verdict is a **self-check**, and the model is never told whether it is right.
#
# All greedy replies stop after one attempt. What about samples at temperature 1, which draw each token with the model's own probabilities? We count two habits in each thought, **retries** (the attempts after the first) and self-checks. We also ask whether the first attempt was right. `bites(test, right, wrong)` prints that a test accepts the right function and catches a planted bug.

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
def all_attempts(problem, text):
    return len(problem.attempts(text))


def one_is_none(count) -> None:  # one attempt is no retry, three attempts are two
    one, three = ("<think>" + n * "8+4-7=12-7=5?19 no\n" + "</think>" for n in (1, 3))
    assert [count(first, one), count(first, three)] == [0, 2]


bites(one_is_none, retries, all_attempts)

# %%
def judges_the_answer(problem, text):
    return problem.score(text)


def judges_the_first(judge) -> None:  # a wrong attempt, then a right one
    wrong, right = "8+4-7=12-7=5?19 no", "8+4+7=12+7=19?19 yes"
    assert judge(first, f"<think>{wrong}\n{right}</think><answer>8+4+7</answer>") == 0
    assert judge(first, f"<think>{right}</think>") == 1


bites(judges_the_first, first_right, judges_the_answer)

# %%
asked = held_out[:16]
texts = sampled(base, asked, 32)
posed = [p for p in asked for _ in range(32)]
again = mean(retries(p, text) > 0 for p, text in zip(posed, texts, strict=True))
checked = mean(checks(text) > 0 for text in texts)
print(f"{len(texts)} samples: {again:.0%} try again, {checked:.0%} check themselves")

# %% [markdown]
# **The habit of trying again is there before any reward**, in about a third of the samples. Is it worth anything? The model chooses after its first *no*: it **stops** and hands in what it has, or it **goes on** with a new line. We count both choices, and how often each ends in a right answer. A natural bug also counts replies whose first verdict is *yes*.

# %%
def after_first_no(problems, replies, verdicts=(" no", " 不对")) -> dict[str, list[float]]:
    """The scores of replies whose first verdict is no: of those that stop, and go on."""
    scores = {"stops": [], "goes on": []}
    for problem, text in zip(problems, replies, strict=True):
        line, *more = thought_of(text).split("\n")
        if line.endswith(verdicts):
            scores["goes on" if more else "stops"].append(problem.score(text))
    return scores

# %%
def after_any(problems, replies):
    return after_first_no(problems, replies, (" no", " 不对", " yes", " 对了"))


def leaves_out_yes(count) -> None:
    """Of our three replies one stops after a no, one goes on, and one says yes at once."""
    no, yes = "8+4-7=12-7=5?19 no", "8+4+7=12+7=19?19 yes"
    replies = [f"<think>{t}</think><answer>8+4+7</answer>" for t in (no, f"{no}\n{yes}", yes)]
    assert list(count([first] * 3, replies).values()) == [[1], [1]]


bites(leaves_out_yes, after_first_no, after_any)
fork = after_first_no(posed, texts)
table(["after a first no, the base", "samples", "right in the end"],
      [[choice, len(of), f"{mean(of):.0%}"] for choice, of in fork.items()],
      f"The samples above. In the other {len(texts) - sum(map(len, fork.values()))} the first "
      "verdict is yes, or there is none.")

# %% [markdown]
# **Stopping after a *no* is hardly ever right, and going on often is.** The base stops more often, and greedy replies take the likelier choice every time, so they never show the habit. The difference between the two choices is what reward can use.
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
# How can a reward for answers change a thought? The loop asks the model for a group of answers to each problem, and a **judge** gives each answer a number. We leave out two parts of R1-Zero, the KL term (a pull back to the base) and the format reward (a payment for the tags). First we look at four answers from one group.

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
# The loss is minus the advantage times the log-probability (in **nats**, because the logarithm is natural), averaged over all tokens of all answers (called `bnpo` in the package). ([Chapter 13](13_grpo_variants.ipynb) compares other averages.) What does one update do to the four?

# %% tags=["naive"]
def likely(policy, drawn):
    """The log-probability of each answer, in nats: the sum over its tokens."""
    return (policy.logprobs(drawn) * drawn.mask).sum(1)


def push_whole(policy, drawn, advantages):
    """Add the gradient of the loss: advantage times log-probability, over all tokens."""
    (-(advantages * likely(policy, drawn)).sum() / drawn.mask.sum()).backward()

# %%
def adam(policy, lr=6e-4):
    return torch.optim.AdamW(policy.model.parameters(), lr, (0.9, 0.99), weight_decay=0)


pupil, advantages = base.copy(), advantages_of(rewards)
push_whole(pupil, four, advantages)
adam(pupil).step()
with torch.no_grad():
    was, now = likely(base, four), likely(pupil, four)
assert (now > was).tolist() == [True, True, False, False]
shown = zip("ABCD", rewards[0], advantages, four.lengths, was, now, strict=True)
rows = [[name, f"{r:.0f}", f"{a:+.2f}", int(n), f"{x:.1f}", f"{y:.1f}"]
        for name, r, a, n, x, y in shown]  # fmt: skip
with torch.no_grad():
    by_token = (pupil.logprobs(four) - base.logprobs(four))[3].tolist()
least = min(range(len(by_token)), key=by_token.__getitem__)
upto = base.tokenizer.decode(four.tokens[3][: least + 1].tolist())
print(f"D's largest fall is {by_token[least]:.1f} nats, at the end of {upto!r}")
table(["answer", "reward", "advantage", "tokens", "before", "after"], rows,
      "One update, and the log-probability of the whole answer before and after it, in nats.")

# %% [markdown]
# **A and B become likelier, C and D less likely.** C and D have the same advantage, but D falls much further. Most of its fall is one unlikely token, the 0 in a sum that is false, 15+4=10.
#
# Every token of A is pushed up, also the line that failed and the decision to go on after it. In D the same decision is pushed down. Our count says that going on ends right more often than stopping. So over many groups we expect that going on becomes likelier.
#
# A training step does this with 16 answers to each of several problems. We take one step per batch, so GRPO's ratio is always 1 and its clip never acts. To save padding, we add the gradient up by blocks of answers with similar lengths. A natural bug sorts the answers and forgets to sort their advantages.

# %%
def push(policy, drawn, advantages):
    for rows in drawn.lengths.argsort().split(16):
        logp = likely(policy, drawn[rows])
        (-(advantages[rows] * logp).sum() / drawn.mask.sum()).backward()


def forgets_the_advantages(policy, drawn, advantages):
    place = drawn.lengths.argsort().argsort()  # of each answer among the sorted ones
    push(policy, drawn, advantages[place])

# %% [markdown]
# Do the blocks add up to the gradient of the package's loss for the whole batch, and do our advantages equal the package's? First we compare. Then we put the rewards in groups, where a natural bug mixes the answers to different problems. The last cell is the whole step: sample, judge, compare, push.

# %%
def by_package(policy, drawn, advantages):
    logp = policy.logprobs(drawn)
    policy_loss(logp, logp.detach(), advantages, drawn.mask, loss_type="bnpo")[0].backward()


def gradient(push) -> torch.Tensor:
    policy = base.copy()
    push(policy, drawn, group_advantages(scores).flatten())
    parameters = policy.model.parameters()
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])

# %% tags=["agree"]
# tolerance: 1e-7
scores = torch.tensor([group]).double()
reference = gradient(by_package)


def blocks_add_up(push) -> None:
    """The gradient by blocks is that of the package's loss for the whole batch."""
    assert (gradient(push) - reference).abs().max() < 1e-7


gap = (advantages_of(scores) - group_advantages(scores).flatten()).abs().max().item()
for way in (push_whole, push):
    began = time.perf_counter()
    gap = max(gap, (gradient(way) - reference).abs().max().item())
    print(f"{way.__name__}: {time.perf_counter() - began:.2f} s")
print(f"advantages and gradients, ours and the package's, largest difference: {gap:.0e}")
assert gap < 1e-7
bites(blocks_add_up, push, forgets_the_advantages)

# %%
def in_groups(judged, size):  # the rewards, as [problems, size]
    return torch.tensor(judged).double().view(-1, size)


def mixes_groups(judged, size):
    return torch.tensor(judged).double().view(size, -1)


def keeps_groups(in_groups) -> None:  # one problem all right, one all wrong: no push
    assert not advantages_of(in_groups([1, 1, 1, 0, 0, 0], 3)).any()


bites(keeps_groups, in_groups, mixes_groups)

# %%
def take_step(policy, optimizer):
    _ = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def zero_step(policy, optimizer, problems, judge, generator, size=16):
    drawn = policy.sample([p.prompt for p in problems], size, 128, 1.0, generator)
    posed = [p for p in problems for _ in range(size)]
    judged = [judge(p, text) for p, text in zip(posed, drawn.texts, strict=True)]
    rewards = in_groups(judged, size)
    push(policy, drawn, advantages_of(rewards))
    take_step(policy, optimizer)
    return posed, drawn.texts, rewards

# %% [markdown]
# **Nothing in this loop looks at the thought, but the push for an answer reaches every token of it.**
#
# ## Watch it learn
#
# Do thoughts grow if only answers are rewarded? We train nano-base with `right_answer` for 16 steps of 4 problems, at a constant learning rate of 6e-4. After each step we count what its 64 replies show, also how many go on after a first *no*.
#
# At eight of the steps, the *moments* of the figure below, we also draw eight replies to one **held-out** problem. The training never poses this problem, and the base's greedy reply to it is wrong. Then we make the update, from four *other* problems, and record how far it moves the log-probability of each token of the eight replies.

# %%
def seen_in(posed, texts, rewards) -> dict[str, float]:
    pairs = list(zip(posed, texts, strict=True))
    stop, go = after_first_no(posed, texts).values()
    return {"reward": rewards.mean().item(), "right": mean(p.score(t) for p, t in pairs),
            "first attempt": mean(first_right(p, t) for p, t in pairs),
            "goes on": len(go) / max(len(stop) + len(go), 1),
            "retries": mean(retries(p, t) for p, t in pairs),
            "self-checks": mean(map(checks, texts))}  # fmt: skip

# %% tags=["hide-input"]
def moved(policy, problem, step, update) -> list[dict]:
    """Eight samples of a problem; how far `update` moves each token's log-probability."""
    generator = torch.Generator().manual_seed(step - 1)
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

    for step in range(1, steps + 1):
        if step in moments:
            frames[step] = moved(policy, watched, step, update)
        else:
            update()
    return policy, curve, frames

# %%
watched = held_out[4]
eight = (1, 2, 3, 4, 6, 9, 12, 16)
learner, curve, frames = live(right_answer, 16, watched, eight)
after, last_replies = solved(learner)
print(f"greedy, {len(held_out)} held-out problems: {before:.0%} right before, "
      f"{after:.0%} after")

# %% tags=["widget"]
Rollouts(watched.prompt.strip(), list(frames), list(frames.values()),
         title="One problem, eight samples at eight moments",
         shade_label="moved by this step's update, nats")

# %% [markdown]
# If you change *Tokens* from *plain*, shades show where one update acts. How far do the updates move the two choices after a *no*, which are a new line and the end of the thought? We average over the samples of all eight moments.

# %% tags=["hide-input"]
KINDS = {"\n": "goes on: a new line", "</think>": "stops: the end of the thought"}
moves = {name: [] for name in (*KINDS.values(), "any other token")}
for sample in itertools.chain(*frames.values()):
    for k, (token, by) in enumerate(zip(sample["text"], sample["shade"], strict=True)):
        behind = "".join(sample["text"][:k]).endswith((" no", " 不对"))
        moves[behind and KINDS.get(token) or "any other token"].append(by)
goes, stops, rest = map(mean, moves.values())
assert stops < -0.05 < goes and abs(rest) < 0.02  # wide: few such tokens
table(["token", "times", "moved by one update, nats"],
      [[name, f"{len(by):,}", f"{round(mean(by), 2) + 0.0:+.2f}"]
       for name, by in moves.items()],
      "Means over 64 samples of one held-out problem, at eight steps of one training.")

# %% [markdown]
# On average an update makes stopping after a *no* less likely, and hardly moves the many other tokens. The stops are few, but this problem was never trained on. What do the replies of the training show?

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3))
shown = ("retries", "self-checks"), ("goes on", "right", "first attempt")
for ax, names in zip(axes, shown, strict=True):
    for name in names:
        _ = ax.plot(range(1, 17), [c[name] for c in curve], label=name)
    _ = ax.set(xlabel="step", ylim=(0, None))
    direct_labels(ax)
_ = axes[0].set(title="per thought")
_ = axes[1].set(title="share of replies")
ends = {name: [mean(c[name] for c in part) for part in (curve[:4], curve[-4:])]
        for name in curve[0]}  # fmt: skip
assert ends["retries"][1] > 1.5 * ends["retries"][0]  # wide: about 2.2 here
assert ends["goes on"][1] > ends["goes on"][0] + 0.2
show(fig, "Sixteen steps of reward for right answers: after a first no, more thoughts go on. "
     "The share of right samples is noisy. One seed, 64 samples of four problems per step.",
     "Means of the first and of the last four steps: " + "; ".join(
         f"{name} {a:.2f}, then {b:.2f}" for name, (a, b) in ends.items()) + ".")
table(["", "steps 1 to 4", "steps 13 to 16"],
      [[name, f"{a:.2f}", f"{b:.2f}"] for name, (a, b) in ends.items() if name != "reward"],
      "Means over 256 samples each. Goes on: of the replies whose first verdict is no. First "
      "attempt: share of replies in which it is right.")

# %% [markdown]
# **The thinking grows although only the answer is rewarded.** Most thoughts now go on after a first *no*, and retries per thought about double. This curve cannot tell whether more samples are right, because every step poses only four new problems. The held-out samples below can. Self-checks go up because each attempt is checked, as before.
#
# ### A better first guess, or a better search?
#
# A thought is right at its first attempt or because it went on. To see which of the two the reward improved, we draw 32 samples for each of the same 16 held-out problems as above from the rewarded model.

# %%
def by_pairs(judge, replies) -> list[float]:
    """Percent of 64 samples, for each of eight pairs of problems."""
    marks = [100 * judge(p, t) for p, t in zip(posed, replies, strict=True)]
    return [mean(marks[i : i + 64]) for i in range(0, len(marks), 64)]


later = sampled(learner, asked, 32)
rows, gained = [], {}
for name, judge in (("first attempt", first_right), ("final answer", right_answer)):
    was, now = by_pairs(judge, texts), by_pairs(judge, later)
    gained[name] = apart(now, was)
    rows.append([name, f"{mean(was):.0f}", f"{mean(now):.0f}",
                 "{:+.0f} ± {:.0f}".format(*gained[name])])  # fmt: skip
assert gained["first attempt"][0] < gained["final answer"][0] / 2
table(["right in %", "base", "rewarded", "gain"], rows,
      "512 samples each; 95 % intervals over eight pairs of problems, one training.")

# %%
def choices(replies) -> tuple[int, float, float]:
    """First verdicts of no; the share that goes on; how many of those end right."""
    stop, go = after_first_no(posed, replies).values()
    return len(stop + go), len(go) / len(stop + go), mean(go)


was, now = choices(texts), choices(later)
worth = was[2] - mean(fork["stops"])  # of going on instead of stopping
by_choice = was[0] * (now[1] - was[1]) * worth / len(texts)
print(f"{was[0]} x ({now[1]:.2f} - {was[1]:.2f}) x {worth:.2f} / {len(texts)} = "
      f"{by_choice:.0%} of the samples")
assert 100 * by_choice > gained["final answer"][0] / 2
table(["", "first verdict is no", "of these go on", "of those end right"],
      [[name, n, f"{on:.0%}", f"{right:.0%}"] for name, (n, on, right)
       in (("base", was), ("rewarded", now))],
      "The same samples, and the choice after a first no.")  # fmt: skip

# %% [markdown]
# **The reward improved the search, and above all the choice to search.** Final answers are right about 20 points more often. The interval for first attempts includes zero, but it is wide. Nearly all samples now go on after a first *no*. The line above the table multiplies how many more go on by what going on was worth to the base. This alone is most of the gain, if samples that stop are as easy as samples that go on, which we did not test. This is one training, and another seed may differ. Here are greedy thoughts on a held-out problem that only the rewarded model solves:

# %%
pairs = zip(held_out, first_replies, last_replies, strict=True)
searched, a, b = next((p, a, b) for p, a, b in pairs
                      if p.score(a) < p.score(b) and retries(p, b) > 1)  # fmt: skip
lines = itertools.zip_longest(a.split("\n"), b.split("\n"), fillvalue="")
table(["the base", "after the reward"], list(lines), searched.prompt.strip())

# %% [markdown]
# The base judges its attempt *no* and hands it in all the same. The rewarded model goes on until its own verdict is *yes*.
#
# ## What must the base have read?
#
# Our live base had read many searchers. What if there are fewer, or more? We pretrained twenty-five base models of nano's size on nano's task (three numbers up to 12, plus and minus), five seeds for each of five webs. The webs differ in one number: **the share of authors who search until they have found a solution**. It is 0, 1, 5, 20 or 50 %. Of the other authors, nine of ten try once and one of ten tries twice. Every base then got 48 steps of 256 answers (up to 160 tokens) with the right reward. The learning rate is 6e-4 as in our live run, but in the last 30 % of the steps it falls to a tenth.

# %% tags=["hide-input"]
RECORDS = ("ch14_grid", "ch14_grid_corners", "ch14_grid_half")
grid = [row for name in RECORDS
        for row in results.read(name)["rows"] if row["job"] == "grid"]  # fmt: skip
SHARES = (0.0, 0.01, 0.05, 0.2, 0.5)


def cells(share: float, cell: str) -> list[dict]:
    """The five seeds of one cell of the grid."""
    found = [r for r in grid if (r["share"], r["cell"]) == (share, cell)]
    return sorted(found, key=lambda r: r["seed"])


def percent(share: float, cell: str) -> list[float]:
    """Greedy accuracy on 1,024 held-out problems, one number per seed."""
    return [100 * r["accuracy"] for r in cells(share, cell)]


def once_in(share: float, cell: str) -> list[float]:
    """Right samples in percent: 256 for each of 128 problems, one number per seed."""
    return [100 * r["pass_at_k"]["1"] for r in cells(share, cell)]


def again_in(share: float, cell: str) -> float:
    """Retries per sampled thought, the mean of five seeds."""
    return mean(r["in_samples"]["retries"] for r in cells(share, cell))

# %% tags=["hide-input"]
told, rows = [], []
for name in RECORDS:
    about, settings = results.facts(name), results.read(name)["settings"]
    told.append((about["versions"], *(settings[key] for key in (
        "pretrain_steps", "batch", "rl_steps", "rl_lr", "prompts", "group", "rows", "tokens",
        "cap", "problems", "sampled", "samples", "at_once"))))  # fmt: skip
    webs = ", ".join(f"{100 * share:g}" for share in sorted(settings["shares"]))
    rows.append([name, f"{webs} %", ", ".join(map(str, about["seeds"])), about["date"],
                 about["commit"][:10], about["machine"]["cores"],
                 f"{about['seconds']:.0f} s"])  # fmt: skip
assert told[0] == told[1] == told[2]  # the same settings, and versions of the libraries
print(results.origin("ch14_grid"))
table(["record", "webs", "seeds", "date", "commit", "cores", "time"], rows,
      "Where the grid comes from, each time one H200 of a computer with so many cores; the "
      "first record also holds the runs of chapter 14b. The GPU's memory was not recorded.")

# %% [markdown]
# The web with 50 % was recorded a day later than the other four, on another host and from a newer commit. Settings and library versions are the same, but the code that samples had changed and got a new kernel. We did not run the older webs again. So a difference between 50 % and another web may contain an effect of this change. Comparisons within a web do not.

# %% tags=["hide-input"]
def against(cell: str, other: str, share: float) -> str:
    """The difference of two treatments of the same bases, in points."""
    middle, half = apart(percent(share, cell), percent(share, other))
    return f"{round(middle):+} ± {half:.0f}"


def by_web(cells, caption):
    fig, ax = plt.subplots(figsize=(7, 3.2))
    for cell, label in cells.items():
        _ = ax.plot(range(5), [mean(percent(s, cell)) for s in SHARES], "o-", label=label)
        for x, s in enumerate(SHARES):
            middle, half = interval(percent(s, cell))
            _ = ax.plot([x, x], [middle - half, middle + half], color="gray", lw=0.8)
    _ = ax.set_xticks(range(5), [f"{share:.0%}" for share in SHARES])
    _ = ax.set(xlabel="share of authors who search, in the base's web", ylim=(0, 107))
    _ = ax.set(ylabel="right, greedy, %", xlim=(-0.2, 4.9))
    direct_labels(ax)
    show(fig, caption, "Lines over five webs. " + "; ".join(
        f"{label} " + ", ".join(f"{mean(percent(s, cell)):.0f}" for s in SHARES)
        for cell, label in cells.items()) + ".")

# %% tags=["figure", "hide-input"]
no_search.reveal(round(mean(percent(0.0, "right")), 1))
by_web({"base": "base", "right": "rewarded"},
       "Up to 20 %, greedy replies of the bases are right about equally often, and the reward "
       "adds more where more authors search. At 50 % the bases are right without it. Five "
       "seeds, 95 % intervals, 1,024 held-out problems.")
rows = []
for s in SHARES:
    levels = [f"{mean(percent(s, cell)):.0f}" for cell in ("base", "right")]
    habits = [f"{again_in(s, cell):.2f}" for cell in ("base", "right")]
    endless = 1 - mean(r["well_formed"] for r in cells(s, "right"))
    rows.append([f"{s:.0%}", *levels, against("right", "base", s), *habits, f"{endless:.0%}"])
table(["search", "base, %", "rewarded, %", "gain", "retries, base", "retries, rewarded",
       "no end"], rows, "Greedy accuracy, its gain in points. Retries per sampled thought. No "
      "end: share of the rewarded models' greedy answers that do not end by 160 tokens, or "
      "have no answer.")

# %% [markdown]
# With 20 % of searchers the reward adds about 60 points, and without searchers fewer than 10. With 50 %, greedy replies show no gain (-1 ± 11 points), but the bases alone are right in about 93 % already. So **the gain in greedy accuracy rises with the share of searchers, and vanishes where the base already does what the reward would teach.** Do samples say the same?

# %% tags=["hide-input"]
for cell, name in (("base", "base"), ("right", "rewarded")):
    each = ", ".join(f"{x:.1f}" for x in percent(0.5, cell))
    print(f"50 % search, greedy, seed by seed, {name}: {each}")
sampling = [[f"{s:.0%}", *("{:.0f} ± {:.0f}".format(*interval(once_in(s, c)))
                           for c in ("base", "right")),
             "{:+.0f} ± {:.0f}".format(*apart(once_in(s, "right"), once_in(s, "base")))]
            for s in SHARES]  # fmt: skip
table(["search", "base, %", "rewarded, %", "gain"], sampling,
      "One sample at temperature 1: right of 256 samples for each of 128 held-out problems, "
      "and the gain in points. Five seeds, 95 % intervals; gains over pairs from one base.")

# %% [markdown]
# In samples the reward does add something at 50 %. One sample of these bases is right in about 59 %, and after the reward in about 88 %, nearly as often as the greedy replies were. This gain, too, is largest at 20 %.
#
# The mean of the greedy changes at 50 % hides two outcomes. Four bases lose 4 to 6 points, and we do not know why. The fifth, which solves 76 % before, gains about 15. So the interval is wide. All five end at 91 to 93 %.
#
# Why do greedy replies change all at once, between 20 and 50 %? After a *no* they take the likelier choice. Of the authors of a web, all searchers go on after a *no*, and one of ten others.

# %%
few, many = nano().pretrain.web.guesses  # authors who try once, and twice, of the others
assert few + many == 1
greedily = [mean(r["retries"] for r in cells(s, "base")) for s in SHARES]
table(["search", "authors who go on", "retries, samples", "retries, greedy"],
      [[f"{s:.0%}", f"{s + (1 - s) * many:.0%}", f"{again_in(s, 'base'):.2f}", f"{n:.2f}"]
       for s, n in zip(SHARES, greedily, strict=True)],
      "Of the authors whose first attempt fails, if it fails equally often for all of them; "
      "and retries per thought of the bases, before any reward.")

# %% [markdown]
# At 50 % more than half of the authors go on. So going on should be the likelier choice, and greedy replies do search. Samples follow the share, but a greedy reply follows the majority. **Greedy replies of the other twenty bases try once and are right about as often, but their samples already differ.** Can we predict the gain from the habit before the reward?

# %% tags=["figure", "hide-input"]
first_retries, their_gain = [], []
fig, ax = plt.subplots(figsize=(6.5, 3.2))
for s in SHARES:
    x = [r["in_samples"]["retries"] for r in cells(s, "base")]
    y = [b - a for a, b in zip(percent(s, "base"), percent(s, "right"), strict=True)]
    _ = ax.scatter(x, y, s=26, label=f"{s:.0%} search")
    first_retries, their_gain = first_retries + x, their_gain + y
_ = ax.set(xlabel="retries per sampled thought, before reward", ylabel="gain, points")
_ = ax.axhline(0, color="gray", lw=0.8)
_ = ax.set(xlim=(0, 1.2), ylim=(-10, 70))
_ = ax.legend(loc="upper right")
together = correlation(first_retries, their_gain)
up_to_20 = correlation(first_retries[:20], their_gain[:20])
greedy = sum(r["retries"] > 0 for s in SHARES for r in cells(s, "base"))
show(fig, "Twenty-five bases: up to 20 % of searchers, the more often samples try again "
     "before the reward, the more it adds to greedy accuracy. At 50 % they try again most, "
     "and greedy accuracy gains nothing on average.",
     f"Twenty-five dots. Correlation {up_to_20:.2f} without the web of 50 %, {together:.2f} "
     "with it. Means by web, retries and gain: " + "; ".join(
         f"{mean(first_retries[i : i + 5]):.2f} and {mean(their_gain[i : i + 5]):.0f}"
         for i in range(0, 25, 5)) + ".")
print(f"correlation over {len(their_gain[:20])} bases, up to 20 % search: {up_to_20:.2f}; "
      f"over all {len(their_gain)}: {together:.2f}\n"
      f"bases whose greedy replies ever try again: {greedy}")

# %% [markdown]
# **Up to 20 %, the more searchers the base had read, the more the reward added. Samples show it beforehand at 5 and 20 %, but hardly between 0 and 1 %.** At 50 % the habit is strongest, but greedy replies have it already and gain nothing. On our webs the gain is largest where samples often try again and greedy replies do not. The correlation comes from the webs, and five seeds are too few to say whether it holds within one. All this is one task, three numbers up to 12 with plus and minus.
#
# Retries in samples grow under reward on *every* web, also without searchers. There the base has read second attempts, but never a third. But more retries are not yet right answers. At 1 % more than a quarter of the greedy answers do not end within 160 tokens. At 0 % fewer than one in ten do not end, and we do not know what keeps it at 42 %.
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
# The base draws answers, we keep the right ones, and the base imitates them by fine-tuning (**rejection sampling**). A natural bug keeps every **well-formed** reply, with one thought and one answer, be it right or wrong. Of our four, only A and B may be kept. Then nano-base learns the kept replies by cross-entropy, in four steps.

# %%
def keep_right(problems, replies) -> list[tuple[str, str]]:
    pairs = zip(problems, replies, strict=True)
    return [(p.prompt, t) for p, t in pairs if right_answer(p, t)]


def all_right(keep) -> None:
    assert [t for _, t in keep([first] * 4, four.texts)] == four.texts[:2]


def keep_well_formed(problems, replies):
    return [(p.prompt, t) for p, t in zip(problems, replies, strict=True) if p.well_formed(t)]


bites(all_right, keep_right, keep_well_formed)

# %%
def imitate(policy, kept, optimizer, generator, batch=32):
    """One step of cross-entropy on the tokens of kept replies; the loss in nats per token."""
    drawn = torch.randint(len(kept), (batch,), generator=generator).tolist()
    some = policy.encode([kept[i][0] for i in drawn], [kept[i][1] for i in drawn])
    loss = -(policy.logprobs(some) * some.mask).sum() / some.mask.sum()
    loss.backward()
    take_step(policy, optimizer)
    return loss.item()

# %%
asks = [train[10_000 + i] for i in range(16) for _ in range(16)]
kept = keep_right(asks, sampled(base, asks[::16], 16))
imitator, order = base.copy(), torch.Generator().manual_seed(0)
optimizer = torch.optim.AdamW(imitator.model.parameters(), 1e-3, (0.9, 0.95), weight_decay=0)
losses = [imitate(imitator, kept, optimizer, order) for _ in range(4)]
share, replies = solved(imitator)
longer = mean(retries(p, t) > 0 for p, t in zip(held_out, replies, strict=True))
print(f"{len(losses)} steps on {len(kept)} right ones; {longer:.0%} now try again")
imitated = sampled(imitator, asked, 16)
rows = [("base", 0, before, posed, texts),
        ("imitation", len(asks), share, posed[::2], imitated),
        ("reward, as above", 16 * 64, after, posed, later)]  # fmt: skip
table(["right", "answers drawn", "greedy", "sampled", "first attempt"],
      [[name, count, f"{greedy:.0%}", *(f"{mean(map(judge, problems, of)):.0%}"
                                        for judge in (right_answer, first_right))]
       for name, count, greedy, problems, of in rows],
      "One training each. Greedy: 128 held-out problems. Sampled, and the first attempts of "
      "these samples: 16 of them.")

# %% [markdown]
# Four steps already make most greedy replies try again, because going on has become likelier than ending after a *no*. From a quarter of the answers, imitation is right more often in greedy replies than the live reward, and about as often in samples. In the grid, fine-tuning imitates 1,536 right answers in batches of 64, at a rate of 1e-3 that falls to a tenth in the second half. It gets as many operations as the rewarded run, sampling included.
#
# Guess before you look: on the web with 1 % of searchers, subtract the rewarded models' greedy accuracy from the fine-tuned models'. How many points is it?

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
kinds = {"base": "base", "right": "rewarded", "prompt": "prompted", "sft": "fine-tuned"}
by_web(kinds, "Two controls beside the reward. The prompt reaches most of the gain at 20 %. "
       "Fine-tuning is ahead where few authors search. At 50 % no treatment differs "
       "from the base by more than its interval. Five seeds.")

# %% tags=["hide-input"]
levels = [[f"{name}, % right", *(f"{mean(percent(s, cell)):.0f}" for s in SHARES)]
          for cell, name in kinds.items()]  # fmt: skip
pairs = ("prompt", "base"), ("sft", "base"), ("right", "prompt"), ("sft", "right")
minus = [[f"{kinds[a]} - {kinds[b]}", *(against(a, b, s) for s in SHARES)] for a, b in pairs]
habits = [[f"{name}, retries", *(f"{again_in(s, cell):.2f}" for s in SHARES)]
          for cell, name in kinds.items()]  # fmt: skip
was, now = (100 * mean(r["pass_at_k"]["1"] for r in cells(0.0, c)) for c in ("base", "sft"))
print(f"0 % search, samples: base {was:.0f} % right, fine-tuned {now:.0f} %; "
      f"({now:.0f} - {was:.0f}) % / {again_in(0.0, 'sft'):.2f} retries = "
      f"{(now - was) / again_in(0.0, 'sft'):.0f} %")
table(["", *(f"{s:.0%} search" for s in SHARES)], levels + minus + habits,
      "First greedy accuracy; then points of it, with 95 % intervals over five pairs; "
      "then retries per sampled thought, means of five seeds (prompted: of its own attempts).")

# %% [markdown]
# **The prompt alone reaches most of the gain** at 20 %, and its models try again about as often as the rewarded ones. At 0 % the same prompt does harm. There the model writes one attempt of its own and stops, because its web has no thought of more than two.
#
# **Fine-tuning on the base's own right answers is far above reward where few authors search, and equal to it at 20 %.** At 50 % it is about 3 points ahead, but none of the three treatments changes the base's greedy accuracy by more than its interval. The result contradicts what we expected. Fine-tuning took several times as many optimizer steps, at a higher rate, and saw only right answers. We have not tested which of the three matters. Its models try again *less* often than the rewarded ones on every web but that of 50 %, where samples of both try again equally often. At 0 % search is probably not the main reason. Suppose that first attempts had not improved. Then three of four samples that try again would have to end right (line above the table), which is unlikely. So first attempts have probably improved, which we did not measure ([14b](14b_aim.ipynb) has more on samples).
#
# ## Does the reward need to be right?
#
# Perhaps any push would wake the habit. We try four more judges. The last, *capped*, is `right_answer` for answers cut at 40 tokens. The figure and the cell show what each pays for our four answers.

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
# A reply without an answer must not be paid as *wrong* or as *well formed*, our coin must not change its verdict when the same reply comes again, and *capped* must count tokens and not characters. Three tests catch four planted bugs. A group whose answers are judged alike has no **signal**, because all its advantages are 0. The table counts such groups on the web with 20 % of searchers.

# %%
def no_answer_no_pay(judge) -> None:
    assert judge(first, four.texts[3]) == 0


def not_right(problem, text):
    return 1 - problem.score(text)


def has_a_thought(problem, text):
    return float(text.startswith("<think>"))


bites(no_answer_no_pay, wrong_answer, not_right)
bites(no_answer_no_pay, right_form, has_a_thought)

# %%
def keeps_its_word(judge) -> None:
    assert len({judge(first, four.texts[0]) for _ in range(20)}) == 1


def fresh_coin(problem, text):
    return float(random.random() < 0.5)


def pays_b_alone(judge) -> None:
    """B has 30 tokens and 57 characters, A has 50 tokens."""
    assert [judge(first, text) for text in four.texts] == [0, 1, 0, 0]


def cuts_characters(problem, text):
    return problem.score(text[:40])


bites(keeps_its_word, random_coin, fresh_coin)
bites(pays_b_alone, capped, cuts_characters)

# %% tags=["figure", "hide-input"]
names = ("base", "right", "wrong", "random", "format", "capped")
heights = [[mean(percent(share, name)) for share in SHARES] for name in names]
fig, ax = plt.subplots(figsize=(7.5, 3.2))
_ = ax.pcolormesh(heights, vmin=0, vmax=100, edgecolors="#fbfcfd", linewidth=1.5)
for (row, column), value in [((i, j), heights[i][j]) for i in range(6) for j in range(5)]:
    _ = ax.text(column + 0.5, row + 0.52, f"{value:.0f}", ha="center", va="center",
                color="#111111" if value > 45 else "#ffffff")
_ = ax.set_xticks([c + 0.5 for c in range(5)], [f"{share:.0%}" for share in SHARES])
_ = ax.set_yticks([r + 0.5 for r in range(6)], names)
_ = ax.set(xlabel="share of authors who search, in the base's web")
ax.invert_yaxis()
ax.grid(False)
show(fig, "Right greedy answers in %, five judges on five webs; means of five seeds. No judge "
     "but the right one raises the base, and at 50 % none does.",
     "A grid of the base and five judges by five webs. " + "; ".join(
         f"{name} " + ", ".join(f"{v:.0f}" for v in row)
         for name, row in zip(names, heights, strict=True)) + ".")
formed = [r["curves"]["well_formed"][0] for s in SHARES for r in cells(s, "right")]
print(f"right form, {len(formed)} bases at step 1: {mean(formed):.1%} of samples on average")
table(["judge", "no signal", "retries", "minus base", "well-formed", "minus base, 50 %"],
      [[name, f"{mean(r['without_signal'] for r in cells(0.2, name)):.0%}",
        f"{again_in(0.2, name):.2f}", against(name, "base", 0.2),
        f"{mean(r['well_formed'] for r in cells(0.2, name)):.0%}", against(name, "base", 0.5)]
       for name in names[1:]],
      f"20 % searchers, five seeds. No signal: share of training groups. Retries per sampled "
      f"thought (base: {again_in(0.2, 'base'):.2f}). Greedy: points, and well-formed "
      "replies. Last column: points where 50 % search.")

# %% [markdown]
# - **Wrong**: the model becomes wrong, which is what this reward pays for.
# - **Random**: the coin destroys the model, although it favours nothing on average. It more than doubles the retries, and almost nothing is right, so **a count of retries alone does not prove thinking**. About two of three greedy replies are no longer well-formed. We think that the pushes of 48 steps add up in a random direction.
# - **Format**: nearly every sample of the bases has the right form already, so there is almost nothing to gain. But the retries are gone. We think that the few groups with a signal hold long thoughts that did not end, so this reward pushed against going on.
# - **Capped**: 40 tokens are one attempt. The model is tested with 160, and it gains on no web. The reward needed room for a second attempt.
#
# **At the one learning rate that we tried, only the right reward raised the accuracy. At 50 % the other four destroy most of what the base could do.** Format and capped end near 30 % there, about where the bases without searchers begin.
#
# ## Can one still read it?
#
# DeepSeek reports that the thoughts of R1-Zero mix languages. Do ours? In our web 15 % of the authors mix both languages. Longer thoughts may mix more, because each new line may change the language. So we count sampled thoughts with words of both, and apply the controls again.

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
# **Much of the mixing comes with searching.** With 20 % of searchers, thoughts of the untrained base mix more often when the prompt begins a search, and so do fine-tuned ones. So reward alone does not explain it. At 50 % rewarded thoughts mix most on average, but the five seeds differ so much that the interval includes the base's value. Longer search does not explain everything in our one live training either. Thoughts of several lines have about the same length before and after, about four lines, but about twice as many of them are mixed after the reward.
#
# ## A reward that is hacked on purpose
#
# A model that is trained on a flawed reward finds the flaw, which is called **reward hacking**. How would you cheat a verifier that believes the model? Our careless verifier does no arithmetic. It only looks whether the thought ends with the model's own *yes*. At first such a *yes* is correct in about three of four samples, and our four answers earn the same as before. What is the shortest reply that would still be paid? We train **one seed** for eight steps, at a learning rate of 1e-3. As a control, we train again with the right verifier and all else the same.

# %%
def believes(problem, text: str) -> float:
    """1 for a well-formed reply whose thought ends with the model's own yes."""
    yes = thought_of(text).endswith((" yes", " 对了"))
    return float(yes and problem.well_formed(text))


print("our four answers earn", *(int(believes(first, text)) for text in four.texts))
of_yes = [p.score(t) for p, t in zip(posed, texts, strict=True) if believes(p, t)]
print(f"base: {mean(of_yes):.0%} of {len(of_yes)} samples that end with yes are right")
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
assert paid[1] > paid[0] + 0.2 and true[1] < fixed[1]
show(fig, "The careless verifier pays more and more samples, but no more are right. In "
     "steps 6 to 8 fewer are right than in the control. One seed: one training each.",
     "Three lines over eight steps. Means of the first and of the last three: " + "; ".join(
         f"{name} {a:.2f}, then {b:.2f}" for name, (a, b) in thirds_of.items()) + ".")
table(["share of samples", "steps 1 to 3", "steps 6 to 8"],
      [[name, f"{a:.0%}", f"{b:.0%}"] for name, (a, b) in thirds_of.items()],
      "Means over 192 samples each; one seed.")

# %% tags=["hide-input"]
late = sampled(cheat, asked, 16)
of_three = (("the base", posed, texts), ("careless verifier", posed[::2], late),
            ("right verifier", posed[::2], sampled(honest, asked, 16)))  # fmt: skip
fooled = [(p, t) for p, t in zip(posed[::2], late, strict=True)
          if believes(p, t) and not p.score(t)]  # fmt: skip
print(f"{len(fooled)} of {len(late)} samples are paid for and wrong; two of them:")
for p, text in sorted(fooled, key=lambda pair: len(pair[1]))[:2]:
    print(p.prompt + text, "->", p.verdict(text))
shortest = "<think> yes</think><answer></answer>"
print(f"{shortest} would earn {believes(first, shortest):.0f}")
table(["held-out samples", "number", "paid by the careless verifier", "right"],
      [[name, len(of), *(f"{mean(map(judge, problems, of)):.0%}"
                         for judge in (believes, right_answer))]
       for name, problems, of in of_three], "The same 16 problems.")  # fmt: skip

# %% [markdown]
# Any line is enough if a *yes* follows. Nothing told the model to lie, but a false *yes* was rewarded, so the model writes one more often.
#
# **At the end about nine of ten samples are paid, but only about three of ten are right**, in the last three steps and on held-out problems. There the base is right about as often, so the verifier pays more than twice as much for nothing. In the last three steps the control, on the same problems, is right more often. But by the held-out samples many of its own *yes* are false too, so not all false verdicts come from the careless verifier. This is one seed. Greedy accuracy is still above the base's, so one test can hide the hack. Our loop logs both numbers, because we also have the right verifier. Without one, check a few replies by hand. The fix is a verifier that ignores the thought, such as `right_answer`.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeek-R1-Zero {cite}`deepseekr1` is DeepSeek-V3-Base, trained with GRPO and a reward of two parts, both by rule:
#
# $$
# r(y) = r_{\text{accuracy}}(y) + r_{\text{format}}(y).
# $$
#
# The first part compares a final answer in a box with the known one, or runs tests on code. The second pays for a thought between tags. There is no neural reward model, because it is easily hacked. The prompt asks for a thought and then an answer, and says nothing about how to think.
#
# They report that answers grew to thousands of tokens, that pass@1 (the share right with one sample) on AIME 2024, a contest of school mathematics, rose from 15.6 % to 71.0 %, and that a vote among 64 answers reached 86.7 % (report of January 2025; the version in *Nature* gives 77.9 % for pass@1). They also report what did not work: the thoughts are hard to read and mix languages. The figure shows our own recorded run with three seeds, a larger model (*small*: three numbers up to 20, all four operators) and 1,024 samples per step.

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
assert abs(thirds["accuracy"][2][0] - thirds["accuracy"][1][0]) < 0.02
table(["steps", "1 to 10", "11 to 20", "21 to 30"],
      [["right, %", *(f"{100 * m:.0f} ± {100 * h:.0f}" for m, h in thirds["accuracy"])],
       ["tokens", *(f"{m:.0f} ± {h:.0f}" for m, h in thirds["length"])]],
      "Means of ten steps, with 95 % intervals over three seeds.")

# %% [markdown]
# ## What went wrong, or did not help
#
# **We expected the coin to do nothing.** A later version of the paper on spurious rewards {cite}`shao2025spurious` explains gains from a random reward by GRPO's clip. Our loop takes one step per batch, so its clip never acts, and that explanation cannot apply.
#
# **Four webs suggested a rule, and the fifth breaks it.** From 0 to 20 % the gain in greedy accuracy only rises with the share of searchers, and at 50 % it is gone. We have no web in between, so we do not know where it turns.
#
# **The grid has one learning rate, 48 steps and one limit of length.** At 1 %, and less so at 5 %, answers run into that limit, and a longer training might change the results.
#
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
# *15 minutes.* `minidsk.homework.verifier.sloppy` reads what stands behind the last `=` of the last answer, and does not ask which numbers were used. So the target itself is an answer. Write `strict(text, numbers, target, ops)`, which closes all its holes, and do without `read_answer`; `check("zero.strict", my_strict)` knows ten mistakes by name.
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
# What must a base have, so that reward alone makes it think? Reward makes samples of every web's bases try again more often. How often that ends right depends on how many searching authors the base had read: 91 % where they were a fifth, and 42 % without them, where fine-tuning on the base's own right answers reached 66 %. Up to a fifth, greedy replies do not show which base is which, but samples do, because those of a base that has read many searchers try again more often before any reward. Where half of the authors search, the base thinks without any reward: its greedy replies search, and reward improves only its samples. Both models of the live run then answer a problem of your own.

# %%
for share in SHARES:
    was, now = (mean(percent(share, cell)) for cell in ("base", "right"))
    few, many = (again_in(share, cell) for cell in ("base", "right"))
    print(f"{share:.0%} searchers: greedy {was:.0f} %, then {now:.0f} %; "
          f"retries per sample {few:.2f}, then {many:.2f}")
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
# **With reward alone our base models try again more often**, in samples on every web. In the live run the gain came mostly from one choice, to go on after a first *no*. Whether trying again makes a model *right* depends on what its base has read. The right reward adds about 60 points of greedy accuracy where 20 % of authors search, and 8 where none does. Where 50 % search, greedy accuracy shows no gain, because the base alone is right in about 93 %, but one sample is right in 88 % instead of 59 %. At equal operations, fine-tuning on the base's own right answers was about 24 points better at 0 % and 1 %, and as good at 20 %, with fewer retries.
#
# - I can now write the loop of R1-Zero with any judge, and see from its curves what it teaches.
# - I can now name the controls that a claim about reinforcement learning needs: a prompt, fine-tuning at equal operations, a random reward, a cap on length.
# - I can now notice a hacked reward, and close the hole.
#
# ## Read on
#
# - [New ability, or better aim?](14b_aim.ipynb) asks what reward added to these models, and which of the disputed papers holds where.
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.2, on R1-Zero; Gandhi and others {cite}`gandhi2025habits` on habits, also on Countdown.
# - The code of this chapter in the package: `minidsk/rl/loop.py`, `rewards.py` and `language.py`; the grid is `tools/experiments/ch14_grid.py`.
# - Next: [chapter 15](15_r1.ipynb) adds DeepSeek-R1's stages before and after reward, one at a time.
