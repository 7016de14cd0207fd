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
# # Thinking longer: what more computing buys
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/17_thinking_longer.ipynb)
#
# The reasoner is finished, and its weights stay as they are. It can still spend more on each problem. **What does more computing buy after training: one longer thought, or many replies and a choice among them?**
#
# - **You will build** a forced budget, a rule that adds one new line, a vote, and best-of-n with three judges. Then you compare all of them on one axis of operations, and pose problems of your own.
# - **You need** PyTorch and [chapter 12](12_grpo.ipynb), from which the reasoner comes. [Chapter 11](11_human_feedback.ipynb) explains reward models.
# - **It takes** about a minute of one CPU core (the set-up cell allows one thread), longer on Colab or where others compute, and an hour and a half to read. A GPU is no faster, because the models are small. The large comparison was recorded earlier, also on a CPU.

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
from collections import Counter
from statistics import mean, stdev

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.diagrams import direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.search import voting
from minidsk.infer.search.account import Blind, Judged, verify
from minidsk.infer.search.forcing import budget_forcing
from minidsk.infer.search.voting import best_of_n, draw_within, liked_best, majority
from minidsk.presets import nano
from minidsk.rl.harvest import FAR
from minidsk.rl.preferences import Ranking
from minidsk.rl.reward_model import RewardModel, RewardModelConfig, train_reward_model
from minidsk.scale.cost import parameters
from minidsk.tasks.countdown import Countdown
from minidsk.tasks.expression import evaluate
from minidsk.widgets import Curve

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %%
# Each different prompt of the held-out split once.
task = nano().make_task("test")
held_out = list({p.prompt: p for p in (task[i] for i in range(4096))}.values())[:432]
same = Counter((*sorted(p.numbers), p.target) for p in held_out)
problems = held_out[:48]
print(f"{len(held_out)} problems, made of {len(same)} sets of numbers and a target")

# %% [markdown]
# ## What does one answer cost?
#
# In **Countdown** we make a target from given numbers, and use each of them exactly once. Our problems have three numbers up to 12, plus and minus, and targets up to 20. Two models that ship with the package solve them. **nano-base** is a base model that has read the **tiny web**, our corpus of pages that a program wrote. **nano-zero**, the finished reasoner, is nano-base after reinforcement learning from right answers alone. We pose each different prompt of the held-out split once.
#
# A reply is a **worksheet**, like those of the tiny web: a thought with one attempt per line, and an answer. Here is a greedy one by nano-zero to *make 6 from 3, 9, 6*. The folded cell also says what is wrong in a line, by the rules of the task.

# %% tags=["hide-input"]
def says_yes(thought: str) -> bool:
    """Whether the last verdict of a thought is yes, in English or Chinese."""
    return thought.rstrip().endswith(("yes", "对了"))


def faults(problem, line: str) -> str:
    """What is wrong in a line of a worksheet; "" where nothing is."""
    chain, _, said = line.removeprefix("<think>").partition("?")
    try:
        sides = [evaluate(side) for side in chain.split("=")]
    except ValueError:
        return "no sum"
    values = [value for value, _, _ in sides]
    numbers = sorted(map(int, sides[0][1]))
    wrong = {"numbers": numbers != sorted(problem.numbers), "arithmetic": len({*values}) > 1,
             "verdict": (values[-1] == problem.target) != says_yes(said)}  # fmt: skip
    return ", ".join(name for name, here in wrong.items() if here)


def thought_of(reply: str) -> str:
    """What stands before the end of the thought."""
    return reply.partition("</think>")[0]


def read_out(problem, reply: str) -> None:
    """Print a reply, and beside each line what is wrong in it."""
    print(problem.prompt.strip())
    for line in thought_of(reply).split("\n"):
        wrong = faults(problem, line)
        print(f"  {line:30}{'wrong: ' + wrong if wrong else ''}".rstrip())
    print(f"  answer {problem.answer(reply)}: {'right' if problem.score(reply) else 'wrong'}")


zero, base = minidsk.load_policy("nano-zero"), minidsk.load_policy("nano-base")
plain = {name: budget_forcing(policy, problems, 160, None)
         for name, policy in (("nano-base", base), ("nano-zero", zero))}  # fmt: skip
read_out(problems[1], plain["nano-zero"].replies[1])

# %% [markdown]
# The first line adds 9, 6 and 3 step by step and reaches 18. Then it asks *is 18 the target 6?* and gives its verdict, *no*. The second line contains a slip, because 15-3 is 12. The third line reaches 6, and its verdict is *yes*. Some pages of the tiny web are in Chinese, and there the verdicts are 不对 (*not right*) and 对了 (*right*).
#
# A token costs about two operations per weight. We count floating-point operations, **FLOPs**, and not replies, so that long and short ones can be compared. The count includes every token that a method reads and writes, and the judge that reads its replies. We can nearly get it by hand:

# %%
rows = []
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    found, config = plain[name], policy.actor.config
    right = sum(p.score(r) for p, r in zip(problems, found.replies, strict=True))
    weights = parameters(config, active=True) - config.vocab_size * config.hidden_size
    read = mean(len(policy.tokenizer.encode(p.prompt)) for p in problems)
    by_hand = 2 * weights * (read + mean(found.tokens)) / 1e6
    counted = found.flops / 48 / 1e6
    rows.append([name, f"{right:.0f}", f"{read:.0f}", f"{mean(found.tokens):.0f}",
                 f"{by_hand:.1f}", f"{counted:.1f}"])  # fmt: skip
    assert 0.8 < by_hand / counted < 1
table(["model", "right", "tokens read", "written", "by hand", "counted"], rows,
      f"48 problems. By hand: 2 x {weights:,} weights x tokens, in million FLOPs.")

# %% [markdown]
# The weights are those of the experts that work on a token, without the embedding, which is a look-up. The missing tenth is attention to all earlier tokens. So one answer of nano-zero costs about 60 million FLOPs.
#
# ### Which problems can compare two methods?
#
# The cells of this page pose 48 problems, to show how each method works. That is too few to compare methods. So **each comparison below is read from a recorded experiment** with all 432 problems. Each of its three seeds has a different 144 of them, and nano-zero and nano-base answer the same ones.
#
# **Every interval on this page is of one kind**, which the folded cell computes: 95 %, over problems, where all orders of one set of numbers count as one, because they are not independent. (Only the receipt has intervals over the three seeds.)

# %% tags=["hide-input"]
runs = results.read("ch17_search")["runs"]


def rows_of(part: str, **wanted) -> list:
    """The rows of one setting, in the order of the seeds."""
    wanted["part"] = part
    found = [r for r in runs if all(r.get(k) == v for k, v in wanted.items())]
    return sorted(found, key=lambda r: r["seed"])


def bits(rows, field="right") -> list[int]:
    """One mark per problem, over all seeds."""
    return [int(mark) for row in rows for mark in row[field]]


def cost(rows) -> float:
    """Million FLOPs per problem."""
    return mean(r["flops"] for r in rows) / 1e6


def clustered(marks) -> tuple[float, float]:
    """The mean over problems, and half its 95 % interval; orders of one set count once."""
    middle, sums = mean(marks), Counter()
    for p, mark in zip(held_out, marks, strict=False):
        sums[(*sorted(p.numbers), p.target)] += mark - middle
    return middle, 1.96 * math.sqrt(sum(s * s for s in sums.values())) / len(marks)


def minus(ours, others) -> str:
    """The difference of two lists of marks, in points, with its interval."""
    less = [100 * (a - b) for a, b in zip(ours, others, strict=True)]
    return "{:+.1f} ± {:.1f} points".format(*clustered(less))


print(results.origin("ch17_search"))
last = results.facts("ch17_search")["seconds"]
print(f"  the last three of its six runs, side by side: {last / 60:.0f} minutes")
for name in plain:
    marks = bits(rows_of("forced", model=name, budget=160, when="never"))
    for n in (48, 432):
        print("{}, greedy, {} problems: {:.0f} ± {:.0f} % right".format(
            name, n, *(100 * x for x in clustered(marks[:n]))))

# %% [markdown]
# The 48 happen to be easier for nano-base than the rest, and their intervals are two to three times as wide.
#
# ## One thought: does it help to make it longer?
#
# The simplest way to spend more, or less, is the length of one thought. **Budget forcing** {cite}`muennighoff2025s1` sets this length from outside, in two ways. When a thought reaches its budget, we end it and begin the answer. When the model wants to end its thought too early, we put a word such as *Wait* in the place of the end, and the model goes on.
#
# ### What does a larger budget buy?
#
# Here is the first way, without the package: write at most `budget` tokens, close the thought, and let the model answer.

# %%
def write(policy, text: str, tokens: int) -> str:
    """What the model writes after a text, greedily."""
    return policy.sample([text], 1, tokens, 0.0, None).texts[0]


def force(policy, prompt: str, budget: int) -> tuple[str, bool]:
    """A reply whose thought has at most `budget` tokens, and whether it was cut."""
    thought, closed, _ = write(policy, prompt + "<think>", budget).partition("</think>")
    begun = "<think>" + thought + "</think>" + ("" if closed else "<answer>")
    return begun + write(policy, prompt + begun, 32), not closed


# %%
for budget in (12, 30, 60):
    print(budget, *force(zero, problems[1].prompt, budget))

# %% [markdown]
# Twelve tokens end in the middle of the first line, and the answer `9+6+6` is a guess. Sixty tokens are enough for the third line.
#
# The package's version does all problems at once and keeps the cache. Both must give the same text. A test also catches a planted bug:

# %%
def test_a_cut_thought_answers(force) -> None:
    """A thought of 12 tokens is cut, and an answer follows."""
    reply, cut = force(zero, problems[1].prompt, 12)
    assert cut
    assert problems[1].answer(reply) is not None


def only_stops(policy, prompt, budget):
    """A planted bug: nothing ends the thought, so the model goes on thinking."""
    begun = "<think>" + write(policy, prompt + "<think>", budget)
    return begun + write(policy, prompt + begun, 32), True

# %%
bites(test_a_cut_thought_answers, force, only_stops)
for budget in (12, 30, 60):
    theirs = budget_forcing(zero, problems[:4], budget, None)
    ours = [force(zero, p.prompt, budget) for p in problems[:4]]
    assert ours == list(zip(theirs.replies, theirs.cut, strict=True))
print("12 replies, and whether they were cut: all the same")

# %% [markdown]
# Now the record. It is tempting to conclude from the first two columns that *longer thoughts are better*. But a thought that is cut has not finished what it was doing, so we look at those problems separately.

# %% tags=["hide-input"]
BUDGETS = (8, 16, 32, 64, 96, 160)
thoughts = {b: rows_of("forced", model="nano-zero", budget=b, when="never") for b in BUDGETS}


def split() -> list:
    """Rows of the table: each budget's cuts, and what is right of both kinds."""
    rows = []
    for budget, of in thoughts.items():
        ok, cut = bits(of), bits(of, "cut")
        kinds = [[o for o, c in zip(ok, cut, strict=True) if c == kind] for kind in (1, 0)]
        shares = [f"{mean(kind):.0%}" if len(kind) > 20 else "-" for kind in kinds]
        rows.append([budget, f"{mean(ok):.0%}", f"{mean(cut):.0%}", *shares])
    return rows


forced_rows = split()
table(["budget, tokens", "right", "cut", "right, of those cut", "right, of the others"],
      forced_rows, "nano-zero, greedy, 432 problems. A dash: fewer than 20 problems.")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.7, 2.9))
for label, column in (("right", 1), ("cut", 2)):
    shares = [int(row[column].rstrip("%")) for row in forced_rows]
    _ = ax.plot([row[0] for row in forced_rows], shares, "o-", label=label)
_ = ax.set(xlabel="budget of a thought, tokens", ylabel="of 432 problems, %", xlim=(0, 185))
direct_labels(ax)
show(fig, "nano-zero: the share of right answers rises even from 8 to 16 tokens, where every "
     "thought is cut. From 32 tokens on it rises as fewer thoughts are cut.",
     "Two lines over the budget. " + "; ".join(
         f"{row[0]} tokens: {row[1]} right, {row[2]} cut" for row in forced_rows) + ".")

# %% [markdown]
# Thoughts that ended early are nearly always right. Longer thoughts belong to harder problems, so this share falls to 87 %. Thoughts that were cut are mostly wrong. Where do the newly solved problems come from, from one budget to the next?

# %% tags=["hide-input"]
rows = []
for short, long in zip(BUDGETS, BUDGETS[1:], strict=False):
    ok, cut = bits(thoughts[short]), bits(thoughts[short], "cut")
    more, still = bits(thoughts[long]), bits(thoughts[long], "cut")
    parts = [0, 0, 0]
    for before, was_cut, after, is_cut in zip(ok, cut, more, still, strict=True):
        parts[was_cut + (was_cut and is_cut)] += after - before
    rows.append([f"{short} to {long}", *parts])
table(["budget, tokens", "had ended", "cut, ends now", "cut by both budgets"], rows,
      "Problems gained by the longer budget, less those lost, by what became of the thought.")

# %% [markdown]
# **All of the gain comes from thoughts that the shorter budget cut.** Some of them now end. Others are cut later and have done more of their work, which is the whole gain up to 16 tokens. A thought that had ended gains nothing, because a greedy thought is the same under every budget, up to its cut.
#
# ### What does one new line do?
#
# So a larger budget does not lengthen a thought that ends by itself. The second way of budget forcing does. On our worksheets we put a new line in the place of the end, because a new line begins a new attempt. The base model gives up after one attempt, even where it has just written *no*, and solves 25 % of the problems. How many with one new line?

# %% tags=["prediction", "hide-input"]
guess = None
question = "nano-base with one new line in doubt: right, in % of 432 problems?"
one_line = predict("search.one_line", question, guess, example=40, scale="difference",
                   tolerance=40)  # fmt: skip
one_line

# %% [markdown]
# When may a thought end? The authors of s1 never let it end the first time: we call this rule *always*. Our own variant acts *in doubt*: it adds the line only when the thought does not end with *yes*. Neither rule asks the verifier, and the second only reads what the model wrote. Here is one new line, without the package:

# %%
def insist(policy, prompt: str, budget: int, may_end) -> tuple[str, bool]:
    """`force`, and a new line where the thought would end and may not."""
    thought, closed, _ = write(policy, prompt + "<think>", budget).partition("</think>")
    left = budget - len(policy.tokenizer.encode(thought + "\n"))
    if closed and left > 0 and not may_end(thought):
        more = write(policy, prompt + "<think>" + thought + "\n", left)
        more, closed, _ = more.partition("</think>")
        thought += "\n" + more
    begun = "<think>" + thought + "</think>" + ("" if closed else "<answer>")
    return begun + write(policy, prompt + begun, 32), not closed


p = next(p for p in problems if p.prompt.startswith("Make 5 from 6 11 10"))
for may_end in (lambda thought: True, says_yes):
    read_out(p, insist(base, p.prompt, 160, may_end)[0])

# %%
def test_a_thought_that_says_yes_may_end(rule) -> None:
    """nano-zero ends this thought with yes, so nothing is added."""
    prompt = problems[1].prompt
    assert insist(zero, prompt, 160, rule) == force(zero, prompt, 160)


def always(thought: str) -> bool:
    """A planted bug here, and s1's rule: no thought may end the first time."""
    return False


bites(test_a_thought_that_says_yes_may_end, says_yes, always)

# %%
after = {}
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    for when, done in (("always", None), ("in doubt", says_yes)):
        after[name, when] = budget_forcing(policy, problems, 160, None, waits=1, done=done)
theirs = after["nano-base", "in doubt"]
for k in range(6):
    ours = insist(base, problems[k].prompt, 160, says_yes)
    assert ours == (theirs.replies[k], theirs.cut[k])
print("6 replies by our rule and by the package's: the same")
for title, of in (("alone", plain["nano-base"]), ("in doubt", theirs)):
    lines = Counter(thought_of(reply).count("\n") + 1 for reply in of.replies)
    print(f"{title:8}, lines and thoughts:", dict(sorted(lines.items())))

# %% tags=["hide-input"]
waited = []
for model in ("nano-base", "nano-zero"):
    for when, waits in (("never", 0), ("in doubt", 1), ("always", 1)):
        of = rows_of("forced", model=model, budget=160, when=when, waits=waits)
        shown = "{:.1f} ± {:.1f}".format(*(100 * x for x in clustered(bits(of))))
        waited.append([model, when, shown, f"{mean(bits(of, 'cut')):.0%}", f"{cost(of):.0f}"])
in_doubt = bits(rows_of("forced", model="nano-base", budget=160, when="in doubt", waits=1))
greedy = bits(rows_of("forced", model="nano-zero", budget=160, when="never"))
one_line.reveal(round(100 * mean(in_doubt), 1))
print("nano-base with a new line in doubt, minus nano-zero alone:", minus(in_doubt, greedy))
table(["model", "one new line", "right, %", "cut at 160", "million FLOPs"], waited,
      "All 432 problems, greedy, a budget of 160 tokens. Never: the thought ends where the "
      "model ends it.")

# %% [markdown]
# Alone, all 48 thoughts of nano-base have one line. After one new line most have several, so the model does not stop at the second attempt.
#
# **One new line in doubt lifts the base model from a quarter of right answers to about four fifths**, for twice the FLOPs. The interval allows nano-zero a lead of up to 11.5 points, so most of the skill, but perhaps not all of it, was already in the base. Our guess at the reason: some authors of the tiny web persist until they have a solution, and a second line makes the text look like one of theirs.
#
# nano-zero gains nothing in doubt, and *always* does harm. Its thoughts show why:

# %%
alone, forced = plain["nano-zero"], after["nano-zero", "always"]
wrong = [k for k, p in enumerate(problems) if not p.score(alone.replies[k])]
sure = [k for k in wrong if says_yes(thought_of(alone.replies[k]))]
print(f"alone: {len(wrong)} wrong replies; {len(sure)} thoughts of them end in yes. One:")
k = min(sure, key=lambda k: len(alone.replies[k]))
read_out(problems[k], alone.replies[k])

# %%
spoilt = [k for k, p in enumerate(problems)
          if p.score(alone.replies[k]) and not p.score(forced.replies[k])]  # fmt: skip
whole = [k for k in spoilt if not forced.cut[k]]
print(f"always: {len(spoilt)} right replies became wrong, {len(whole)} of them uncut. One:")
read_out(problems[whole[0]], forced.replies[whole[0]])

# %% [markdown]
# A wrong thought ends with *yes* too, so a rule that reads the verdict finds no doubt. In the first worksheet, 16-4 is not 10, and 10 is not the target. In the second, the solution had been found in the third line. *Always* made the model go on, its next line uses 9 twice and 3 never, and it handed in that line.
#
# So a longer thought helps a model that gave up too early. It harms one that had already found the answer.

# %% [markdown]
# ## Many replies: which one should be handed in?
#
# ### What is their most frequent answer?
#
# Instead of one long thought, we can draw many replies and choose one. If we cannot check them, the most frequent answer is a good choice, because right replies often agree and wrong ones differ more. This idea is called **self-consistency** {cite}`wang2022selfconsistency`. Of $n$ replies $y_1, \dots, y_n$ to the prompt $x$, it hands in the answer with the most votes,
#
# $$
# \hat a = \mathrm{argmax}_a \sum_{i=1}^{n} [a_i = a], \qquad y_i \sim \pi(\cdot \mid x),
# $$
#
# where $a_i$ is the answer that is read from $y_i$, and the bracket is 1 if they agree and 0 otherwise. nano-zero will draw about nine replies per problem at temperature 1, each of at most 96 tokens. By how many points will their vote be above one greedy answer, whose thought may have 160?

# %% tags=["prediction", "hide-input"]
guess = None
question = "Vote of nine replies minus one greedy answer, nano-zero, in points?"
vote_gain = predict("search.vote_gain", question, guess, example=3, scale="difference",
                    tolerance=8)  # fmt: skip
vote_gain

# %% [markdown]
# By hand: of seven replies to *make 6 from 3, 9, 6*, three answer `9-6+3`, two answer `3+9-6`, one answers `9+3-6`, and one has no answer. Then `9-6+3` has three votes of six. The next cells are the vote, and a test that catches a common mistake.

# %% tags=["naive"]
def vote(answers):
    """The most frequent answer; of equals, the one that came first; no answer, no vote."""
    votes = {}
    for answer in answers:
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1
    return max(votes, key=votes.get) if votes else None


print(vote(["3+9-6", "9-6+3", "9-6+3", "3+9-6", "9+3-6", "9-6+3", None]))

# %%
def test_silence_is_no_vote(vote) -> None:
    """Three of six replies give no answer, and two agree."""
    assert vote([None, "3", None, None, "5", "5"]) == "5"


def most_common(answers):
    """A planted bug: None votes too."""
    return Counter(answers).most_common(1)[0][0]


bites(test_silence_is_no_vote, vote, most_common)

# %% [markdown]
# The package has a **budget** of tokens per problem, and draws replies as long as the longest possible reply still fits. So a method that writes short replies may write more of them. Our five lines and the package's `vote` must hand in the same answers:

# %% tags=["agree"]
# tolerance: 3%
def seeded(seed: int = 0) -> torch.Generator:
    """Random numbers from a seed."""
    return torch.Generator().manual_seed(seed)


drawn, spent, _ = draw_within(zero, problems, 640, 96, 1.0, seeded(), 1024)
answers = [[p.answer(r) for r in of] for p, of in zip(problems, drawn, strict=True)]
places = [voting.vote(of) for of in answers]
theirs = [None if k is None else of[k] for k, of in zip(places, answers, strict=True)]
vote_gap = sum(vote(of) != b for of, b in zip(answers, theirs, strict=True))
assert max(spent) <= 640
assert vote_gap == 0
print(f"{mean(map(len, drawn)):.1f} replies per problem; largest difference: {vote_gap}")

# %% tags=["figure", "hide-input"]
# tolerance: 3%
votes = [(problems[k], Counter(a for a in answers[k] if a), answers[k].count(None))
         for k in (1, 8)]  # fmt: skip
fig, axes = plt.subplots(2, 1, figsize=(4.7, 3.4), height_ratios=[len(v) for _, v, _ in votes])
said = []
for ax, (p, of, silent) in zip(axes, votes, strict=True):
    ok = [p.score(f"<think></think><answer>{a}</answer>") for a in of]
    _ = ax.barh([*of], [*of.values()], color=["C0" if o else "C1" for o in ok])
    _ = ax.set(title=f"{p.prompt.strip()} No answer: {silent}", xlim=(0, 10))
    ax.invert_yaxis()
    said += [f"{p.prompt.strip()} {a}: {n}, {'right' if o else 'wrong'}"
             for (a, n), o in zip(of.items(), ok, strict=True)]  # fmt: skip
_ = axes[1].set_xlabel("votes")
show(fig, "Two votes of nano-zero: right answers in blue, wrong ones in orange. The longest "
     "bar wins; of equals, the one that came first.",
     "Bars of votes by answer. " + "; ".join(said) + ".")

# %% [markdown]
# In the first problem, right replies agree. In the second they do not. The right ones are split among expressions that count as different answers, so a wrong answer wins.
#
# ### Which answers are the same?
#
# `6+3-1`, `3+6-1` and `6-1+3` are one sum in three orders. We can see that without the verifier, because it needs neither the target nor the given numbers: remove the brackets, give each number its sign, and sort.

# %%
def signed(answer: str) -> list[str]:
    """The numbers of a sum, each with the sign that it has without the brackets."""
    signs, sign, terms = [1], 1, []  # of the brackets around; of the next term
    for mark in re.findall(r"\d+|[-+()]", answer):
        if mark in "+-":
            sign = 1 if mark == "+" else -1
        elif mark == "(":
            signs.append(signs[-1] * sign)
            sign = 1
        elif mark == ")":
            _ = signs.pop()
        else:
            terms.append(f"{signs[-1] * sign * int(mark):+d}")
    return terms


def same_terms(answer: str) -> str:
    """One name for all orders of a sum."""
    return " ".join(sorted(signed(answer)))


for answer in ("6+3-1", "3+6-1", "6-1+3", "6-(1-3)", "1+3+6"):
    print(f"{answer:8} is {same_terms(answer)}")

# %%
def test_brackets_turn_signs(name) -> None:
    """9-(9-6) is 9-9+6, and not 9-9-6."""
    assert name("9-(9-6)") == name("9-9+6") != name("9-9-6")


def only_sorted(answer: str) -> str:
    """A planted bug: it sorts the characters."""
    return "".join(sorted(answer))


bites(test_brackets_turn_signs, same_terms, only_sorted)

# %%
# tolerance: 3%
def voted_right(key) -> list[float]:
    """Each problem's mark, when answers with the same key vote together."""
    places = [voting.vote([None if a is None else key(a) for a in of]) for of in answers]
    return [0.0 if k is None else p.score(of[k])
            for p, of, k in zip(problems, drawn, places, strict=True)]  # fmt: skip


apart_, together = voted_right(str.strip), voted_right(same_terms)
print(Counter(answers[8]), Counter(same_terms(a) for a in answers[8] if a), sep="\n")
print(f"right of 48: {sum(apart_):.0f} as written, {sum(together):.0f} by their terms;",
      minus(together, apart_))  # fmt: skip

# %% [markdown]
# Under one name, the right sum has three votes, and it wins the second problem. That is one problem of 48, so we cannot say how much it helps in general. The record votes on answers as they were written, with all 432 problems:

# %%
# tolerance: 3%
nine_votes = bits(rows_of("drawn", model="nano-zero", judge="majority", budget=640))
vote_gain.reveal(round(100 * (mean(nine_votes) - mean(greedy)), 1))
print(f"vote, {mean(nine_votes):.1%}, minus one greedy answer, {mean(greedy):.1%}: "
      f"{minus(nine_votes, greedy)}")

# %%
# tolerance: 3%
every = [(p, r) for p, of in zip(problems, drawn, strict=True) for r in of]
finished = [thought_of(r) for _, r in every if "</think>" in r]
print(f"of {len(every)} drawn replies to the 48 problems, "
      f"{mean(p.score(r) for p, r in every):.0%} are right,\n  "
      f"and {1 - len(finished) / len(every):.0%} have a thought that is cut; "
      f"{mean(map(says_yes, finished)):.0%} of the others end in yes")

# %% [markdown]
# **The vote of nine is better than one greedy answer**, although a single drawn reply is much worse. Sampling makes mistakes, and a drawn reply has at most 96 tokens, so that more of them fit into a budget. But different replies seldom make the same mistake.
#
# ### Is the thought's own *yes* a good judge?
#
# A vote treats all replies alike. **Best-of-n** draws the same replies and asks a judge which is best. The cheapest judge is the last word of the thought:

# %%
def own_yes(questions, replies) -> Judged:
    """A judge that believes the thought: it costs nothing, and can be wrong."""
    return Judged([float(says_yes(thought_of(r))) for r in replies], 0.0)


def best(question, replies, judge):
    """The reply that the judge likes best; of equals, the one that came first."""
    worths = judge([question] * len(replies), replies).values
    return replies[worths.index(max(worths))]

# %% [markdown]
# ### Why not simply ask the verifier?
#
# Countdown has a free checker: the numbers and the target stand in the prompt, and anybody could run the verifier. With such a checker, as with unit tests for code, best-of-n is a real method. **We forbid it on test problems, to stand for problems that have no checker.** There it only says how often *any* reply is right. No way of choosing can do better, so this is the **ceiling**.

# %%
for judge in (own_yes, verify):
    theirs, _ = liked_best(judge, problems, drawn)
    assert theirs == [best(p, of, judge) for p, of in zip(problems, drawn, strict=True)]
print("48 choices by own yes and 48 by the verifier: the same as by the package")

# %%
print("recorded, within 320 tokens per problem:")
for name in ("nano-base", "nano-zero"):
    once = bits(rows_of("forced", model=name, budget=160, when="never"))
    for judge in ("own yes", "verifier"):
        marks = bits(rows_of("drawn", model=name, judge=judge, budget=320))
        print(f"{name}, best by {judge:8}: {mean(marks):.1%}; minus one greedy answer: "
              f"{minus(marks, once)}")

# %% [markdown]
# **Own *yes* helps the base model, whose thoughts often end with *no*. It does not help nano-zero**, because nearly every finished thought of nano-zero ends with *yes*. And the ceiling is far above both, so a better judge would be worth a lot.
#
# The verdict of the verifier leaks easily. With one `problem.score` in the wrong function, a method looks as good as the ceiling. So the package gives `Blind` problems to a search that must not check. They have a prompt and a way to read an answer, but no `score`. A test catches a planted leak:

# %%
def test_it_needs_no_verifier(search) -> None:
    """A search that never checks also runs on problems without a verifier."""
    try:
        _ = search([Blind(p) for p in problems[:2]])
    except AttributeError as error:
        raise AssertionError(str(error)) from None


# %%
def by_own_yes(questions):
    """What it should be."""
    return best_of_n(zero, questions, own_yes, 200, seeded(), longest=96)


def leaking(questions):
    """A planted bug: the verifier chooses."""
    return best_of_n(zero, questions, verify, 200, seeded(), longest=96)


bites(test_it_needs_no_verifier, by_own_yes, leaking)

# %% [markdown]
# ### Can a model learn to judge?
#
# A reward model learns from pairs of a better and a worse reply, as in [chapter 11](11_human_feedback.ipynb). The verifier may say which is better, because these are *training* problems. nano-base draws about six replies to each, and we pair right ones with wrong ones.

# %%
# tolerance: 3%
train = nano().make_task("train")
posed = [train[FAR + i] for i in range(160)]
tried, _, _ = draw_within(base, posed, 320, 96, 1.0, seeded(1), 1024)
right, wrong = [], []
for p, of in zip(posed, tried, strict=True):
    once = [*dict.fromkeys(of)]
    right.append([r for r in once if p.score(r)][:4])
    wrong.append([r for r in once if not p.score(r)])
pairs = [Ranking(p.prompt, pair) for p, a, b in zip(posed, right, wrong, strict=True)
         for pair in zip(a, b, strict=False)]  # fmt: skip
print(f"{len(pairs)} pairs; one of them, first the better reply:")
first = next(p for p in posed if p.prompt == pairs[0].prompt)
for reply in pairs[0].replies:
    read_out(first, reply)
assert not {(*sorted(p.numbers), p.target) for p in posed} & {*same}  # nothing held out

# %%
# tolerance: 5%
def trained(pairs) -> RewardModel:
    """A reward model that starts as nano-base and has seen each pair once."""
    model = RewardModel(base)
    _ = train_reward_model(model, pairs, RewardModelConfig(batch=16), progress=False)
    return model


preferred = trained(pairs)
of_base, _, _ = draw_within(base, problems, 320, 96, 1.0, seeded(), 1024)


def learned(questions, replies) -> Judged:
    """The learned reward of each reply, in [-1, 1], and what reading them cost."""
    prompts = [question.prompt for question in questions]
    values = preferred.score(prompts, replies).tanh().tolist()
    return Judged(values, preferred.flops(prompts, replies))


picked, _ = liked_best(learned, [Blind(p) for p in problems], of_base)
fooled = [(p, r) for p, r, of in zip(problems, picked, of_base, strict=True)
          if not p.score(r) and any(map(p.score, of))]  # fmt: skip
print(f"{sum(p.score(r) for p, r in zip(problems, picked, strict=True)):.0f} of 48 right; "
      f"for {len(fooled)} more, a wrong reply pleased more than a right one. One of them:")
read_out(*fooled[0])

# %% [markdown]
# The judge is fooled by wrong sums that end in *yes*. Is that its only weakness?
#
# ### Does the learned judge read the problem?
#
# Take one right reply to each of eight problems, and let the judge score each reply under each of the eight prompts. A reply is right under its own prompt, and nearly always wrong under the others. A judge that reads the problem has its high scores on the diagonal.

# %%
owners = [(p, next(r for r in of if p.score(r)))
          for p, of in zip(problems, of_base, strict=True)
          if any(map(p.score, of))]  # fmt: skip


def under_each(score, some) -> torch.Tensor:
    """Scores of every reply (row) under every prompt (column)."""
    prompts = [p.prompt for _ in some for p, _ in some]
    replies = [r for _, r in some for _ in some]
    return score(prompts, replies).view(len(some), len(some))


def prefers_its_own(score) -> list[float]:
    """By problem: how often its own right reply is above right replies to others."""
    scores, shares = under_each(score, owners), []
    for k, (p, _) in enumerate(owners):
        others = [i for i, (_, r) in enumerate(owners) if not p.score(r)]
        shares.append((scores[k, k] > scores[others, k]).float().mean().item())
    return shares

# %% tags=["figure", "hide-input"]
# tolerance: 30%
def picture(score, title: str) -> None:
    """Eight replies under eight prompts, as a heat map with its numbers."""
    scores = under_each(score, owners[:8])
    fig, ax = plt.subplots(figsize=(4.7, 3.6))
    _ = ax.imshow(scores, cmap="viridis", vmin=-3.5, vmax=3.5)
    ax.grid(False)
    for i, j in itertools.product(range(8), repeat=2):
        value = scores[i, j].item()
        _ = ax.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=8,
                    color="white" if value < 0 else "black")  # fmt: skip
    _ = ax.set_xticks(range(8), [p.target for p, _ in owners[:8]])
    _ = ax.set_yticks(range(8), [p.answer(r) for p, r in owners[:8]])
    _ = ax.set(xlabel="target of the prompt", ylabel="answer of the reply")
    apart = (scores.amax(1) - scores.amin(1)).mean()
    show(fig, title, "A grid of scores, one row for each reply, one column for each prompt. "
         f"The scores of one row differ by {apart:.1f} on average.")


picture(preferred.score, "Learned from pairs of one prompt: all scores of a row are nearly "
        "the same. On the diagonal, the reply is right.")

# %% [markdown]
# **The judge hardly reads the problem.** A reply gets about the same score under every prompt. The reason is its training: both replies of a pair belong to the *same* prompt, so nothing in a pair can only be told from the prompt. What it learned is what a good worksheet looks like.
#
# So the training would have to contain replies that are wrong only because of the prompt: under each prompt, a right reply to it, and a right reply to another problem. We add such pairs, made of short replies with one line, and give the old pairs twice:

# %%
# tolerance: 25%
rng = random.Random(0)
owned = [(p, r) for p, of in zip(posed, right, strict=True) for r in of if "\n" not in r]
swapped = [Ranking(p.prompt, (r, other)) for p, r in owned
           for _, other in rng.sample(owned, 6) if not p.score(other)]  # fmt: skip
reading = trained(2 * pairs + swapped)  # twice, so that sums are not forgotten
print(f"{len(pairs)} pairs, {len(swapped)} with a swapped reply; own reply above another's:")
for title, model in (("pairs of one prompt", preferred), ("and swapped replies", reading)):
    of = prefers_its_own(model.score)
    half = 196 * stdev(of) / math.sqrt(len(of))
    print(f"  {title}: {100 * mean(of):.0f} ± {half:.0f} %, over {len(of)} problems")

# %% tags=["figure", "hide-input"]
# tolerance: 30%
picture(reading.score, "Learned with swapped replies too: the same replies, and now the score "
        "of a reply changes with the prompt.")

# %%
# tolerance: 25%
def test_it_reads_the_problem(score) -> None:
    """The scores of one reply under eight prompts differ by more than half a unit."""
    scores = under_each(score, owners[:8])
    assert (scores.amax(1) - scores.amin(1)).mean() > 0.5


def with_swaps(prompts, replies):
    """The judge that also learned from swapped replies."""
    return reading.score(prompts, replies)


def without_swaps(prompts, replies):
    """A bug that was in our first judge: no pair needs the prompt."""
    return preferred.score(prompts, replies)


bites(test_it_reads_the_problem, with_swaps, without_swaps)
chosen, _ = liked_best(lambda questions, replies: Judged(reading.score(
    [q.prompt for q in questions], replies).tolist(), 0.0), problems, of_base)  # fmt: skip
better, first = ([p.score(r) for p, r in zip(problems, of, strict=True)]
                 for of in (chosen, picked))  # fmt: skip
print(f"chosen right, of 48: {sum(better):.0f} with swaps, {sum(first):.0f} without")

# %% [markdown]
# **With swapped replies, the judge reads the problem.** It prefers the reply to the problem in about two of three comparisons, and without swapped replies in about half, like a coin. But it chooses no better. Our guess is that most wrong replies of nano-base do address their own problem, and contain a slip in a sum that the judge still overlooks.
#
# A learned judge is also not free. It is as large as the policy and reads the prompt again with *every* reply, so judging costs more FLOPs than drawing.
#
# ## What buys most for the same FLOPs?
#
# The recorded experiment puts all methods on one axis. Its learned judge has no swapped replies. For each model and seed, it learned from pairs that a tree search on 192 training problems had made, as in [A tree of steps](17b_trees.ipynb). Its training is not on the axis.
#
# ### Who should choose for the finished reasoner?

# %% tags=["hide-input"]
def curve(part: str, model: str, judge: str) -> dict:
    """FLOPs per problem and marks of all problems, budget by budget."""
    budgets = sorted({r["budget"] for r in rows_of(part, model=model, judge=judge)})
    each = [rows_of(part, model=model, judge=judge, budget=b) for b in budgets]
    return {"flops": [cost(of) for of in each], "marks": [bits(of) for of in each],
            "tokens": budgets}  # fmt: skip


def at(of: dict, flops: float) -> list[float]:
    """Each problem's mark where the curve has so many FLOPs, between two budgets."""
    k = max(i for i, f in enumerate(of["flops"][:-1]) if i == 0 or f <= flops)
    (x0, x1), (a, b) = of["flops"][k : k + 2], of["marks"][k : k + 2]
    part = math.log(flops / x0) / math.log(x1 / x0)
    return [one + part * (other - one) for one, other in zip(a, b, strict=True)]


JUDGES = {"majority": "vote", "own yes": "own yes", "learned": "learned reward",
          "verifier": "verifier (ceiling)"}  # fmt: skip

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(4.7, 3.4))
said = []
for judge, label in JUDGES.items():
    of = curve("drawn", "nano-zero", judge)
    share = [100 * mean(marks) for marks in of["marks"]]
    short = label.partition(" (")[0].removesuffix(" reward")
    _ = ax.plot(of["flops"], share, "o-", label=short)
    said.append(f"{label}: {share[0]:.0f} to {share[-1]:.0f} %")
once = cost(rows_of("forced", model="nano-zero", budget=160, when="never"))
_ = ax.plot(once, 100 * mean(greedy), "*", color="black", ms=11)
_ = ax.set(xscale="log", ylabel="right, %", xlim=(45, 2200))
_ = ax.set_xlabel("million FLOPs per problem")
_ = ax.set_xticks([50, 100, 200, 500, 1000, 2000], [50, 100, 200, 500, "1,000", "2,000"])
ax.minorticks_off()
direct_labels(ax)
show(fig, "nano-zero. Star: one greedy answer. Lines: replies drawn from the prompt, within "
     "160 to 1,280 tokens, and who chooses among them.",
     "Right answers against FLOPs per problem. One greedy answer: "
     f"{100 * mean(greedy):.0f} % for {once:.0f} million. " + "; ".join(said) + ".")

# %% tags=["hide-input"]
def by_budget(model: str):
    """The table of one model: each budget's cost, and what is right by judge."""
    of = {judge: curve("drawn", model, judge) for judge in JUDGES}
    rows = [[label, *(f"{mean(marks):.1%}" for marks in of[judge]["marks"])]
            for judge, label in JUDGES.items()]  # fmt: skip
    for what, judge in (("million FLOPs", "majority"), ("with the learned reward", "learned")):
        rows.append([what, *(round(flops) for flops in of[judge]["flops"])])
    head = [model, *(f"{budget:,}" for budget in of["majority"]["tokens"])]
    return table(head, rows, f"{model}: right answers of 432, by tokens; and million FLOPs "
                 "per problem. The learned reward costs more, because it reads the replies.")


insisted = bits(rows_of("forced", model="nano-zero", budget=160, when="always", waits=1))
voted = curve("drawn", "nano-zero", "majority")
print(f"nano-zero, minus one greedy answer ({mean(greedy):.1%}):")
print("  one longer thought (a new line, always):", minus(insisted, greedy))
for budget, flops, marks in zip(voted["tokens"], voted["flops"], voted["marks"], strict=True):
    print(f"  a vote within {budget:5,} tokens: {minus(marks, greedy)}, "
          f"for {flops / once:.1f} times the FLOPs")
by_budget("nano-zero")

# %% [markdown]
# **The vote works for the finished reasoner, if there are enough replies.** With one or two (160 tokens) it is far worse than one greedy answer. With four, we cannot tell them apart. With nine it is better, and at 1,280 tokens it reaches about 95 %, which is within 5 points of the ceiling. Neither the learned reward nor own *yes* reaches one greedy answer.
#
# ### Who should choose for the base model?

# %% tags=["widget"]
series = {}
for judge in ("learned", "own yes", "majority"):
    of = curve("drawn", "nano-base", judge)
    series[JUDGES[judge]] = {"x": of["flops"], "y": [100 * mean(m) for m in of["marks"]]}
doubting = cost(rows_of("forced", model="nano-base", budget=160, when="in doubt", waits=1))
series["one new line in doubt"] = {"x": [doubting], "y": [100 * mean(in_doubt)]}
Curve(series, xlabel="million FLOPs", ylabel="right, %", xlog=True,
      title="nano-base: what would you pay for?")

# %% tags=["hide-input"]
by_learned, by_yes = (curve("drawn", "nano-base", judge) for judge in ("learned", "own yes"))
print("nano-base, learned reward minus own yes:")
print("  at 320 tokens each:", minus(by_learned["marks"][1], by_yes["marks"][1]))
for flops in (200, 450, 900):
    print(f"  at {flops} million FLOPs each:", minus(at(by_learned, flops), at(by_yes, flops)))
print("nano-base, one new line in doubt, "
      f"{doubting:.0f} million FLOPs,\n  minus the learned reward, "
      f"{by_learned['flops'][-1]:.0f} million:", minus(in_doubt, by_learned["marks"][-1]))
print("  minus a vote at 880 million:",
      minus(in_doubt, at(curve("drawn", "nano-base", "majority"), 880)))
by_budget("nano-base")

# %% [markdown]
# **For the base model, one new line in doubt gives the most for its cost.** We cannot tell it from the best other method without a verifier, a learned reward that costs about 30 times the FLOPs. The vote is weak here, because wrong replies are in the majority.
#
# **The learned reward leads own *yes* at equal tokens, but not at equal FLOPs**, because it must read every reply. At 200 million FLOPs it is far behind, and from about 450 million on we cannot tell them apart.
#
# For both models, from 640 tokens on, a right reply is among the drawn ones for 97 % or more of the problems. So a better way to choose would gain more than further replies.
#
# Could a search spend the same tokens better, if it draws several continuations of a thought that has begun well? [A tree of steps](17b_trees.ipynb) asks this.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeek-R1 {cite}`deepseekr1` reports two accuracies. The first is pass@1, the share of right answers among $n$ replies that are drawn to each problem,
#
# $$
# \text{pass@1} = \frac{1}{n} \sum_{i=1}^{n} [a_i \text{ is right}],
# $$
#
# and the second is that of the vote. In the first version of its report, a vote among 64 replies lifts R1-Zero on AIME 2024 from a pass@1 of 71.0 % to 86.7 %. DeepSeek trained by reward on whole answers, and let the thoughts grow. We only changed what happens after training.
#
# ## What others report
#
# On models of 7 to 32 billion parameters, or larger, where ours have 0.4 million:
#
# - s1 {cite}`muennighoff2025s1`: budget forcing takes its model from 50 % to 57 % on AIME 2024.
# - Self-consistency {cite}`wang2022selfconsistency`: 17.9 points on GSM8K.
# - *Large Language Monkeys* {cite}`brown2024monkeys`: on SWE-bench Lite, 250 attempts per problem solve 56 %, and one attempt 15.9 %. This is with a verifier; without one, voting and reward models stop improving after some hundred samples.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Two new lines ruin both models.** After a second forced line, a thought that has found its solution must go on again:

# %%
for model in ("nano-base", "nano-zero"):
    for waits in (1, 2):
        of = rows_of("forced", model=model, budget=160, when="always", waits=waits)
        print(f"{model}, always, up to {waits} new lines: {mean(bits(of)):.1%} right, "
              f"{mean(bits(of, 'cut')):.0%} cut, {cost(of):.0f} million FLOPs")
by_learned = curve("drawn", "nano-zero", "learned")
print("nano-zero, learned reward, 1,280 tokens minus 640:",
      minus(by_learned["marks"][-1], by_learned["marks"][-2]))

# %% [markdown]
# About half of these thoughts, or more, are cut at 160 tokens, so part of the loss is truncation.
#
# **More replies did not help a learned judge.** On nano-zero, we see no gain from 640 tokens to 1,280. Our guess is that more replies contain more that please the judge without being right.
#
# **Swapped replies did not make a better chooser.** When we gave each of the old pairs only once, and more swapped ones, the judge even chose worse: it had learned less about sums.
#
# **We could not test everything.** The record has one temperature, one limit of 96 tokens for drawn replies, and a learned judge as small as the policy.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Votes with weights
# :label: ex-17-weighted
#
# *10 minutes.* A vote treats every reply alike, and best-of-n trusts a single one. The weighted vote is a compromise: each answer gets the sum of its replies' worths. Write `weighted_vote(answers, worths)` for the task that is printed below; `check("search.weighted_vote", my_weighted_vote)` knows four mistakes by name.
#
# **Hint.** A dictionary from answers to sums. What happens to a reply without an answer?
# ```

# %%
print(describe("search.weighted_vote"))


def my_weighted_vote(answers, worths):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("search.weighted_vote", my_weighted_vote)

# %% [markdown]
# ```{solution-start} ex-17-weighted
# :class: dropdown
# ```

# %%
def weighted_vote_solution(answers, worths):
    sums = {}
    for answer, value in zip(answers, worths, strict=True):
        if answer is not None:
            sums[answer] = sums.get(answer, 0) + value
    return max(sums, key=sums.get) if sums else None


check("search.weighted_vote", weighted_vote_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Where does a gain come from?
# :label: ex-17-gain
#
# *15 minutes.* Write `gain(right, cut, longer, longer_cut)`, which divides the gain of a longer budget into three parts: from thoughts that had ended, from those that were cut and end now, and from those that both budgets cut. `check("search.gain", my_gain)` knows four mistakes by name. Apply it to nano-zero at budgets of 64 and 160. What must the first part be, and why?
#
# **Hint.** All parts are divided by the number of all problems, and a lost problem counts as -1.
# ```
#
# ```{solution-start} ex-17-gain
# :class: dropdown
# ```

# %%
def gain_solution(right, cut, longer, longer_cut):
    parts = [0, 0, 0]
    for before, was, after, still in zip(right, cut, longer, longer_cut, strict=True):
        parts[was + (was and still)] += after - before
    return tuple(part / len(right) for part in parts)


asked = [bits(thoughts[b], what) for b in (64, 160) for what in ("right", "cut")]
print("had ended: {:+.1%}; cut, ends now: {:+.1%}; cut by both: {:+.1%}".format(
    *gain_solution(*asked)))
check("search.gain", gain_solution)

# %% [markdown]
# The first part is 0, because a thought that ended before the short budget is the same greedy thought under the long one.
#
# ```{solution-end}
# ```
#
# ```{exercise} Cheat the judges
# :label: ex-17-cheat
#
# *10 minutes.* Write one wrong reply to *make 6 from 3, 9, 6* that own *yes* likes best, and one right reply that it rejects. Then let `learned` score both. Which of the three judges (vote, own *yes*, verifier) can a single reply not cheat?
#
# **Hint.** Own *yes* reads three letters. `own_yes([problems[1]] * 2, [first, second])` judges your replies, and `learned` takes the same arguments.
# ```
#
# ```{solution} ex-17-cheat
# :class: dropdown
#
# `<think>9-3=6?6 yes</think><answer>9-3</answer>` does not use the second 6, and own *yes* gives it 1. `<think>9-6+3=3+3=6?6 no</think><answer>9-6+3</answer>` is right, and own *yes* gives it 0. A single reply can cheat neither the verifier, which reads numbers and target, nor the vote, where it is one of many. But a mistake that most replies share does cheat the vote.
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of the vote. The test above accepts the right version and lets one bug escape. Write a second test that catches it; ours are in the folded cell.

# %% tags=["zoo"]
zoo("search", [test_silence_is_no_vote])

# %% tags=["hide-cell"]
def the_first_of_equals(vote) -> None:
    """Two answers with two votes each."""
    assert vote(["b", "a", "b", "a"]) == "b"


zoo("search", [test_silence_is_no_vote, the_first_of_equals])

# %% [markdown]
# ## The opening question, answered
#
# What does more computing buy after training: one longer thought, or many replies and a choice?
#
# **For the finished reasoner, it is many replies and a vote, from somewhere between 3 and 7 times the FLOPs on.** Within 1,280 tokens the vote gains 9.3 ± 4.5 points over one greedy answer. A longer thought does harm, because the reasoner already stops where it should.
#
# **For the base model, it is the longer thought**: one new line in doubt, for twice the FLOPs.
#
# ### Yours to keep
#
# The next cell needs nothing from above but its imports. Pose problems of your own, with three numbers up to 12 and a target up to 20, and choose how much to spend:

# %%
# tolerance: 3%
solver = minidsk.load_policy("nano-zero")


def solve(text: str, tokens: int = 640) -> str:
    """The most frequent answer of nano-zero within so many tokens, and the task's verdict."""
    problem, random_numbers = Countdown.pose(text), torch.Generator().manual_seed(0)
    found = majority(solver, [problem], tokens, random_numbers, longest=96)
    answer = problem.answer(found.replies[0])
    return f"{answer} (replies: {found.samples[0]}), {problem.verdict(found.replies[0])}"


for text in ("11 4 2 = 9", "12 5 3 = 10"):
    for tokens in (160, 640):
        print(f"{text}, {tokens} tokens: {solve(text, tokens)}")

# %% [markdown]
# ## Receipt
#
# The time is that of the processor, because the machine was shared.

# %% tags=["receipt"]
spread = {}
for judge, label in JUDGES.items():
    of = rows_of("drawn", model="nano-zero", judge=judge, budget=640)
    spread[f"right, %, {label}"] = [100 * r["accuracy"] for r in of]
receipt(seconds=time.process_time(), spread=spread, differences={
    "our vote and the package's": (vote_gap, 0),
})

# %% [markdown]
# ## Summary
#
# A vote lifts the finished reasoner from 86 % to **about 95 %**, for about 15 times the FLOPs of one greedy answer. With four replies or fewer it gains nothing. A larger budget helps only thoughts that were cut. A forced longer thought rescues the base model, which gave up too early, and spoils the reasoner, which had finished. Own *yes* and a learned reward choose worse than the vote on the reasoner. The learned reward hardly read the problem, because no pair in its training required it.
#
# - I can now say of a gain at a larger budget whether the thoughts ended, or were cut later.
# - I can now write a vote and best-of-n, and say which judge saw the verifier.
# - I can now test whether a learned judge reads the problem, and make the pairs that teach it.
# - I can now put methods with different judges on one axis of FLOPs, and give their difference with an interval.

# %% [markdown]
# ## Read on
#
# - Snell and others {cite}`snell2024scaling`, section 5, on when search helps and when it is fooled by its reward; *Large Language Monkeys* {cite}`brown2024monkeys` on coverage.
# - The code of this chapter in the package: `minidsk/infer/search` (`account.py`, `forcing.py`, `voting.py`).
# - The second page of this chapter: [A tree of steps](17b_trees.ipynb). Next: [chapter 18](18_fast_inference.ipynb) makes the same tokens in less time.
