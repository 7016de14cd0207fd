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
# The reasoner is finished, and its weights stay as they are. It can still spend more on each problem: think for longer, answer many times and vote, or search through a tree of thoughts. **Can it be right more often, without another step of training, just by spending more?** And which way of spending gives the most right answers for the same number of operations?
#
# - **You will build** a forced budget, a vote, best-of-n with three different judges, and a tree search that finds the best leaf of a known tree. Then you compare all of them on one axis.
# - **You need** PyTorch and [chapter 12](12_grpo.ipynb), from which the reasoner comes. [Chapter 11](11_human_feedback.ipynb) explains reward models.
# - **It takes** about a minute to run on one CPU core (the set-up cell allows one thread), up to twice that on Colab or a busy machine, and an hour and a half to read. A GPU is no faster, because the models are small. The large comparison was recorded earlier, also on a CPU.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import math
import random
from collections import Counter
from statistics import mean

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.search import voting
from minidsk.infer.search.account import Blind, Judged, verify
from minidsk.infer.search.forcing import budget_forcing
from minidsk.infer.search.mcts import TreeConfig, steps_of, tree_search
from minidsk.infer.search.paths import Paths
from minidsk.infer.search.tree import RULES, Node, back_up, grow, select
from minidsk.infer.search.voting import best_of_n, draw_within, liked_best
from minidsk.presets import nano
from minidsk.report.interval import apart, interval
from minidsk.rl.harvest import FAR
from minidsk.rl.process import ProcessJudge, step_rankings
from minidsk.rl.reward_model import RewardModel, RewardModelConfig, train_reward_model
from minidsk.scale.cost import parameters
from minidsk.widgets import Curve

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## Two models, and what one answer costs
#
# We take two models that ship with the package. **nano-zero** is the finished reasoner, which learned from right answers alone. **nano-base** is what it was before, a base model that has read worksheets and nothing else. Both solve Countdown problems with three numbers up to 12, plus and minus, and targets up to 20.
#
# The held-out split of these problems is small, and many of its problems are the same numbers in another order, so we pose each different prompt once.

# %%
task = nano().make_task("test")
held_out = list({p.prompt: p for p in (task[i] for i in range(4096))}.values())[:432]
same = Counter((*sorted(p.numbers), p.target) for p in held_out)
problems = held_out[:48]
print(f"{len(held_out)} problems, made of {len(same)} sets of numbers and a target")
print(repr(held_out[1].prompt))

# %%
zero, base = minidsk.load_policy("nano-zero"), minidsk.load_policy("nano-base")


def right(found) -> float:
    """The share of the 48 problems that are solved."""
    return mean(p.score(reply) for p, reply in zip(problems, found.replies, strict=True))


# %% [markdown]
# A token costs about two operations per weight. So we do not count answers but floating-point operations, **FLOPs**. We count them for every token that a method reads and writes, and for the judge that reads its replies. Each search of the package returns this count with its replies. Here is one greedy answer per problem:

# %%
plain = {}
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    plain[name] = found = budget_forcing(policy, problems, 160, None)
    print(f"{name}: {right(found):.0%} right, {mean(found.tokens):.0f} tokens, "
          f"{found.flops / 48 / 1e6:.1f} million FLOPs per problem")

# %% [markdown]
# We can nearly get these numbers by hand: two operations, times the weights that work on a token, times the tokens of prompt and reply. nano-base costs more per token *written*, because every prompt has about 20 tokens that are read as well, and its replies are shorter.

# %%
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    config = policy.actor.config
    weights = parameters(config, active=True) - config.vocab_size * config.hidden_size
    read = mean(len(policy.tokenizer.encode(p.prompt)) for p in problems)
    by_hand = 2 * weights * (read + mean(plain[name].tokens))
    part = by_hand / (plain[name].flops / 48)
    print(f"{name}: 2 x {weights:,} weights x ({read:.0f} tokens read + "
          f"{mean(plain[name].tokens):.0f} written) = {by_hand / 1e6:.1f} million FLOPs, "
          f"{part:.0%} of the count")
    assert 0.8 < part < 1

# %% [markdown]
# The weights are those of the experts that work on a token, without the embedding, which is a look-up. The missing tenth is attention: each token also looks back at all earlier ones, and so it costs more in a longer reply.

# %% [markdown]
# Below, nano-zero will draw about nine replies at temperature 1 and hand in its most frequent answer. By how many points of accuracy will this vote be above one greedy answer? Replace `None` by a number; a negative number means below.

# %% tags=["prediction", "hide-input"]
guess = None
question = "Vote of nine replies minus one greedy answer, nano-zero, in points?"
vote_gain = predict("search.vote_gain", question, guess, example=3, scale="difference",
                    tolerance=8)  # fmt: skip
vote_gain

# %% [markdown]
# ## Longer thoughts: cut them, or keep them from ending
#
# The simplest way to spend more, or less, is the length of one thought. **Budget forcing** {cite}`muennighoff2025s1` sets this length from outside. When a thought reaches its budget, we end it and begin the answer. When the model wants to end its thought too early, we put a word such as *Wait* in the place of the end, and the model goes on. On our worksheets we put a new line there, because a new line begins a new attempt.
#
# Here is the first half, without the package: write at most `budget` tokens, close the thought, and let the model answer.

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
# Our version writes one problem at a time and reads everything again after the cut. The package's does all problems at once and keeps the cache. Both give the same text for the same budget:

# %%
for budget in (12, 30, 60):
    theirs = budget_forcing(zero, problems[:4], budget, None)
    ours = [force(zero, p.prompt, budget) for p in problems[:4]]
    assert ours == list(zip(theirs.replies, theirs.cut, strict=True))
print("12 replies, and whether they were cut: all the same")

# %% [markdown]
# ### Truncation is not thinking
#
# Accuracy rises with the budget, and it is tempting to conclude that *longer thoughts are better*. But a thought that is cut has not finished what it was doing. So we count the problems whose thought was cut separately from the others. The next table is from the recorded experiment, which poses all 432 problems. Each of three seeds gets a different 144 of them, so the spread between seeds also contains the difference between problems.

# %% tags=["hide-input"]
runs = results.read("ch17_search")["runs"]
SEEDS = sorted({run["seed"] for run in runs})


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


def clustered(differences) -> tuple[float, float]:
    """The mean over all problems, and half its 95 % interval; orders of one set count once."""
    middle, sums = mean(differences), Counter()
    for p, d in zip(held_out, differences, strict=True):
        sums[(*sorted(p.numbers), p.target)] += d - middle
    return middle, 1.96 * math.sqrt(sum(s * s for s in sums.values())) / len(differences)


def minus(ours, others) -> str:
    """The difference of two lists of marks, in points, with its interval."""
    less = [100 * (a - b) for a, b in zip(ours, others, strict=True)]
    return "{:+.1f} ± {:.1f} points".format(*clustered(less))


print(results.origin("ch17_search"))

# %% tags=["hide-input"]
def split(model: str) -> list:
    """Rows of the table: each budget's cuts, and what is right of both kinds."""
    rows = []
    for budget in (8, 16, 32, 64, 96, 160):
        of = rows_of("forced", model=model, budget=budget, when="never")
        ok, cut = bits(of), bits(of, "cut")
        kinds = [[o for o, c in zip(ok, cut, strict=True) if c == kind] for kind in (1, 0)]
        shares = [f"{mean(kind):.0%}" if len(kind) > 20 else "-" for kind in kinds]
        rows.append([budget, f"{mean(ok):.0%}", f"{mean(cut):.0%}", *shares])
    return rows


forced_rows = split("nano-zero")
table(["budget, tokens", "right", "cut", "right, of those cut", "right, of the others"],
      forced_rows, "nano-zero, greedy. A dash: fewer than 20 problems.")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.7, 2.9))
for label, column in (("right", 1), ("cut", 2)):
    shares = [int(row[column].rstrip("%")) for row in forced_rows]
    _ = ax.plot([row[0] for row in forced_rows], shares, "o-", label=label)
_ = ax.set(xlabel="budget of a thought, tokens", ylabel="of 432 problems, %", xlim=(0, 185))
direct_labels(ax)
show(fig, "nano-zero: the share of right answers rises as the share of cut thoughts falls. "
     "The numbers are those of the table.",
     "Two lines over the budget. " + "; ".join(
         f"{row[0]} tokens: {row[1]} right, {row[2]} cut" for row in forced_rows) + ".")

# %% [markdown]
# Look at the last two columns. A thought that ended early is nearly always right. Longer thoughts belong to harder problems, so this share falls to 87 %. A thought that was cut is mostly wrong, because the model has to answer before it has a solution.
#
# A greedy thought is the same under every budget, up to the place where it is cut. So accuracy rises with the budget for one reason only: fewer thoughts are cut. At 160 tokens hardly any thought is cut, so a higher limit could gain almost nothing.

# %% [markdown]
# ### One new line
#
# The other half of budget forcing keeps a thought from ending. The base model gives up after one attempt, even where it has just written *no*. Here is such a thought, and what the same model writes when a new line replaces its end:

# %%
replies = plain["nano-base"].replies
gave_up = next(p for p, r in zip(problems, replies, strict=True) if not p.score(r))
thought = write(base, gave_up.prompt + "<think>", 160).partition("</think>")[0]
print(gave_up.prompt + "alone:", thought)
print("after a new line:", write(base, gave_up.prompt + "<think>" + thought + "\n", 160))

# %% [markdown]
# When should we keep a thought from ending? The authors of s1 do it *always*. In our own variant we do it *in doubt*, which means only when the thought does not end with *yes*. Neither rule asks the verifier, and the second one only reads what the model wrote. Its *yes* may be English or Chinese, the two languages of the tiny web (对了 means *right*, 不对 means *wrong*).

# %%
def says_yes(thought: str) -> bool:
    """Whether the last verdict of a thought is yes, in English or Chinese."""
    return thought.rstrip().endswith(("yes", "对了"))


after = {}
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    for when, done in (("always", None), ("in doubt", says_yes)):
        after[name, when] = found = budget_forcing(policy, problems, 160, None, waits=1,
                                                   done=done)  # fmt: skip
        print(f"{name}, one new line, {when}: {right(found):.0%} right "
              f"(alone {right(plain[name]):.0%}), {mean(found.tokens):.0f} tokens")

# %% tags=["hide-input"]
waited = []
rules = (("never", 0), ("always", 1), ("always", 2), ("in doubt", 1))
for model in ("nano-base", "nano-zero"):
    for when, waits in rules[: 4 if model == "nano-base" else 3]:
        of = rows_of("forced", model=model, budget=160, when=when, waits=waits)
        rule = f"{when}, up to {waits}" if waits else when
        waited.append([model, rule, f"{mean(bits(of)):.1%}", f"{mean(bits(of, 'cut')):.0%}",
                       f"{cost(of):.0f}"])  # fmt: skip
in_doubt = bits(rows_of("forced", model="nano-base", budget=160, when="in doubt", waits=1))
greedy = bits(rows_of("forced", model="nano-zero", budget=160, when="never"))
print("nano-base with a new line in doubt, minus nano-zero:", minus(in_doubt, greedy))
shown = table(["model", "kept from ending", "right", "cut at 160", "million FLOPs"], waited,
              "All 432 problems, greedy. In doubt, up to four new lines give nano-base the "
              "same numbers as one, and nano-zero the same numbers as never.")
for model, same_as in (("nano-base", ("in doubt", 1)), ("nano-zero", ("never", 0))):
    pair = [bits(rows_of("forced", model=model, budget=160, when=when, waits=waits))
            for when, waits in (("in doubt", 4), same_as)]  # fmt: skip
    assert mean(pair[0]) == mean(pair[1])
shown

# %% [markdown]
# **One new line in doubt lifts the base model from a quarter of right answers to more than four fifths**, for twice the FLOPs. nano-zero, which took 22 steps of reinforcement learning, is only 4.2 ± 7.3 points above it. So the base model already had the skill. Some authors of the tiny web persist until they have found a solution, and a second line makes the model continue like one of them.
#
# nano-zero gains nothing in doubt, and *always* does harm. Its thoughts show why:

# %%
alone, forced = plain["nano-zero"], after["nano-zero", "always"]
wrong = [p.prompt + r for p, r in zip(problems, alone.replies, strict=True)
         if not p.score(r)]  # fmt: skip
sure = [r for r in wrong if says_yes(r.partition("</think>")[0])]
print(f"alone: {len(wrong)} wrong replies, {len(sure)} with a thought that ends in yes; one:")
print(min(sure, key=len), "\n")
spoilt = [k for k, p in enumerate(problems)
          if p.score(alone.replies[k]) and not p.score(forced.replies[k])]  # fmt: skip
whole = [k for k in spoilt if not forced.cut[k]]
print(f"always: {len(spoilt)} right replies became wrong, {len(whole)} of them uncut; one:")
print(problems[whole[0]].prompt + forced.replies[whole[0]])

# %% [markdown]
# A wrong thought ends with *yes* too: it has made a mistake in a line, and believes it. So a rule that reads the verdict finds no doubt. Under *always*, a thought that has found a solution must go on. It then makes such a mistake in a later line, and hands in that line. Others reach the limit: after two new lines, 48 % (nano-base) and 62 % (nano-zero) of the thoughts are cut at 160 tokens, so part of that loss is truncation again.

# %% [markdown]
# ## Many replies: five lines of voting
#
# Instead of one long thought, we can draw many replies and choose one. If there is no way to check them, the most frequent answer is a good choice, because right replies often agree and wrong ones differ more. This idea is called **self-consistency** {cite}`wang2022selfconsistency`. Of $n$ replies $y_1, \dots, y_n$ to the prompt $x$, it hands in the answer with the most votes,
#
# $$
# \hat a = \mathrm{argmax}_a \sum_{i=1}^{n} [a_i = a], \qquad y_i \sim \pi(\cdot \mid x),
# $$
#
# where $a_i$ is the answer that is read from $y_i$, and the bracket is 1 if they agree and 0 otherwise. Take an example by hand, seven replies to *make 4 from 8, 3, 7*:
#
# - three answer `8-7+3`,
# - two answer `8+3-7`,
# - one answers `8+7-3`,
# - and one has no answer.
#
# Then `8-7+3` has three votes of six.
#
# The example also shows that on Countdown the reason is only half true. `8-7+3` and `8+3-7` are both right and count as two different answers, so right votes are split.

# %% tags=["naive"]
def vote(answers):
    """The most frequent answer; of equals, the one that came first; no answer, no vote."""
    votes = {}
    for answer in answers:
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1
    return max(votes, key=votes.get) if votes else None


print(vote(["8+3-7", "8-7+3", "8-7+3", "8+3-7", "8+7-3", "8-7+3", None]))

# %% [markdown]
# A common mistake is to let replies without an answer vote together. The following check catches it:

# %%
def test_silence_is_no_vote(vote) -> None:
    """Three of six replies give no answer, and two agree."""
    assert vote([None, "3", None, None, "5", "5"]) == "5"


def most_common(answers):
    """A planted bug: None votes too."""
    return Counter(answers).most_common(1)[0][0]


bites(test_silence_is_no_vote, vote, most_common)

# %% [markdown]
# The package has a **budget** of tokens per problem, and draws replies as long as the longest possible reply still fits into it. The budget limits tokens and not replies, so a method that writes short replies may write more of them. Our five lines and the package's `vote`, which its `majority` calls, hand in the same answers:

# %% tags=["agree"]
# tolerance: 3%
def seeded(seed: int = 0) -> torch.Generator:
    """Random numbers from a seed."""
    return torch.Generator().manual_seed(seed)


drawn, spent, flops = draw_within(zero, problems, 640, 96, 1.0, seeded(), 1024)
answers = [[p.answer(r) for r in of] for p, of in zip(problems, drawn, strict=True)]
ours, places = [vote(of) for of in answers], [voting.vote(of) for of in answers]
voted = ["" if k is None else of[k] for k, of in zip(places, drawn, strict=True)]
theirs = [p.answer(r) for p, r in zip(problems, voted, strict=True)]
vote_gap = sum(a != b for a, b in zip(ours, theirs, strict=True))
assert max(spent) <= 640
assert vote_gap == 0
print(f"{mean(map(len, drawn)):.1f} replies per problem; largest difference: {vote_gap}")

# %% [markdown]
# Your prediction is scored against the record, which has all 432 problems:

# %%
nine_votes = bits(rows_of("drawn", model="nano-zero", judge="majority", budget=640))
vote_gain.reveal(round(100 * (mean(nine_votes) - mean(greedy)), 1))

# %%
# tolerance: 3%
every = [(p, r) for p, of in zip(problems, drawn, strict=True) for r in of]
print(f"one greedy answer: {right(plain['nano-zero']):.0%} right")
print(f"one reply drawn at temperature 1: {mean(p.score(r) for p, r in every):.0%} right, "
      f"{mean(p.answer(r) is None for p, r in every):.0%} without an answer, "
      f"{mean('</think>' not in r for _, r in every):.0%} with a thought cut at 96 tokens")
closed = [(p, r) for p, r in every if "</think>" in r]
sure = [(p, r) for p, r in closed if says_yes(r.partition("</think>")[0])]
print(f"{len(sure) / len(closed):.0%} of the finished thoughts end in yes; "
      f"of those, {mean(p.score(r) for p, r in sure):.0%} are right")
solved = mean(p.score(r) for p, r in zip(problems, voted, strict=True))
print(f"the vote: {solved:.0%} right, for "
      f"{flops / plain['nano-zero'].flops:.1f} times the FLOPs of the greedy answer")
short = bits(rows_of("forced", model="nano-zero", budget=96, when="never"))
for limit, marks in ((160, greedy), (96, short)):
    print(f"recorded: the vote, {mean(nine_votes):.1%}, minus a greedy answer with a limit of "
          f"{limit}, {mean(marks):.1%}: {minus(nine_votes, marks)}")

# %% [markdown]
# A reply drawn at temperature 1 is much worse than a greedy one, for two reasons. Sampling makes mistakes. And a drawn reply has at most 96 tokens, so that more of them fit into a budget, while a greedy thought may use 160. A fifth of the drawn replies are cut before their thought ends, and a few more in their answer. The vote has to make up for both. In the record, the longer limit favours the greedy answer by about 2.5 points (85.9 % against 83.3 %). Below, we compare with the better greedy answer, that of 160.

# %% [markdown]
# ## Best-of-n, and who may see the verifier
#
# **Best-of-n** draws the same replies and asks a judge which is best. Its accuracy depends on the judge. So does its use, because not every judge is there when a user asks:
#
# | judge | what it reads | when it may be used |
# | --- | --- | --- |
# | the vote | the answers | always |
# | its own yes | the last word of each thought | always |
# | a learned reward | problem and reply | always; it was trained with the verifier, on *training* problems |
# | the verifier | the numbers and the target | in training; at test time only to see the ceiling |
#
# Some problems of users come with a checker, such as unit tests, and for these best-of-n with the verifier is a real method. For all others it only says for how many problems *any* reply is right. No way of choosing can do better, so this is the ceiling.

# %%
def best(question, replies, judge):
    """The reply that the judge likes best; of equals, the one that came first."""
    worths = judge([question] * len(replies), replies).values
    return replies[worths.index(max(worths))]


# %% [markdown]
# From the replies that we voted on above, our three lines and `liked_best`, the part of the package's `best_of_n` that chooses, pick the same ones:

# %%
def own_yes(questions, replies) -> Judged:
    """A judge that believes the thought: it costs nothing, and can be wrong."""
    return Judged([float(says_yes(r.partition("</think>")[0])) for r in replies], 0.0)


for judge in (own_yes, verify):
    theirs, _ = liked_best(judge, problems, drawn)
    assert theirs == [best(p, of, judge) for p, of in zip(problems, drawn, strict=True)]
print("48 choices by own yes and 48 by the verifier: all the same")

# %%
# tolerance: 3%
def chosen(judge, of) -> float:
    """The share of the 48 problems that are solved if a judge chooses."""
    replies, _ = liked_best(judge, problems, of)
    return mean(p.score(r) for p, r in zip(problems, replies, strict=True))


few = {}
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    few[name], _, _ = draw_within(policy, problems, 320, 96, 1.0, seeded(), 1024)
    for title, judge in (("own yes", own_yes), ("verifier", verify)):
        marks = bits(rows_of("drawn", model=name, judge=title, budget=320))
        print(f"{name}, best of {mean(map(len, few[name])):.1f} by {title:8}: "
              f"{chosen(judge, few[name]):.0%} right; in the record {mean(marks[:48]):.0%} of "
              f"these 48 problems, {mean(marks):.0%} of all")

# %% [markdown]
# nano-zero chooses worse here by its own *yes* than it answers greedily (83 %), and the ceiling only ties with the greedy answer. The record drew other replies to the same 48 problems, and both are clearly higher there, so with about four replies per problem the draw decides much. Own *yes* stays below the greedy answer in the record too (79.9 % against 85.9 %): a drawn thought is wrong more often, and nearly every finished one ends with *yes*, as printed above.

# %% [markdown]
# The verdict leaks easily: with one `problem.score` in the wrong function, a method looks as good as the ceiling. The package guards against such mistakes with a type. It gives `Blind` problems to a search that must not check. They have a prompt and a way to read an answer, but no `score`, and the problem inside is a private field. A test catches a planted leak:

# %%
def test_it_needs_no_verifier(search) -> None:
    """A search that never checks also runs on problems without a verifier."""
    try:
        _ = search([Blind(p) for p in problems[:2]])
    except AttributeError as error:
        raise AssertionError(str(error)) from None


def by_own_yes(questions):
    """What it should be."""
    return best_of_n(zero, questions, own_yes, 200, seeded(), longest=96)


def leaking(questions):
    """A planted bug: the verifier chooses."""
    return best_of_n(zero, questions, verify, 200, seeded(), longest=96)


bites(test_it_needs_no_verifier, by_own_yes, leaking)

# %% [markdown]
# ## A tree of steps
#
# Best-of-n begins each reply at the prompt. If a thought has begun well, why not draw several continuations of *it*? A **step** is a line of the worksheet, and the replies to one problem become a tree. For each step we keep the number of visits $n$, and the total worth $w$ of the replies that went through it.

# %% tags=["diagram", "hide-input"]
diagram("tree_of_steps")

# %% [markdown]
# At each node the search has to choose one of the steps below. It should prefer steps that did well, but also try steps that were rarely tried. **UCT** {cite}`kocsis2006uct` goes to the step with the largest
#
# $$
# \frac{w}{n} + c \sqrt{\frac{\ln N}{n}},
# $$
#
# where $N$ is the number of visits of the node above. In the diagram, with $c = 1$, the left step has $\frac12 + \sqrt{\ln 3 / 2} = 1.24$, and the right one $0 + \sqrt{\ln 3} = 1.05$. So the search goes to the left step.

# %%
def uct(w: float, n: int, above: int, c: float) -> float:
    """A step's mean worth, and a bonus that shrinks with its visits."""
    return w / n + c * math.sqrt(math.log(above) / n)


def test_the_rarer_step_of_equals(score) -> None:
    """Equal means, eight visits and two: the rarer step is less certain."""
    assert score(1, 2, 10, 1.0) > score(4, 8, 10, 1.0)


def by_mean(w, n, above, c):
    """A planted bug: nothing draws the search to what it rarely tried."""
    return w / n


print(f"left {uct(1, 2, 3, 1.0):.2f}, right {uct(0, 1, 3, 1.0):.2f}")
bites(test_the_rarer_step_of_equals, uct, by_mean)

# %% [markdown]
# ### A tree whose best leaf is known
#
# Before we search among thoughts, we search a tree whose best leaf we know. It has five steps with three choices each, which makes 243 leaves. The worth of a leaf is the share of its steps that agree with a secret way, so only one leaf is worth 1.
#
# A node has to be tried `WIDTH` times before the search goes down from it. Until then, the rest is drawn from that node itself. With nine draws, each of the three choices comes up three times on average. `CURIOUS` is the $c$ of UCT. It is smaller than 1 because one right step changes a leaf's worth by only 0.2. `done` holds the nodes below which everything has been tried.

# %%
SECRET, WIDTH, CURIOUS = (2, 0, 1, 1, 2), 9, 0.3


def worth(way) -> float:
    """The share of right steps."""
    return mean(a == b for a, b in zip(way, SECRET, strict=True))


def below(n, way) -> list:
    """The ways that were tried and are one step longer, in the order in which they came."""
    return [x for x in n if x[:-1] == way and x]


# %%
def uct_search(tries: int, seed: int):
    """Visits and total worth of every way, after a UCT search from scratch."""
    rng, n, w, done = random.Random(seed), Counter(), Counter(), set()
    for _ in range(tries):
        way = ()
        while n[way] >= WIDTH:  # 1. go down, where enough was drawn
            steps = [x for x in below(n, way) if x not in done]
            way = max(steps, key=lambda x: uct(w[x], n[x], n[x[:-1]], CURIOUS))
        while len(way) < len(SECRET):  # 2. draw the rest
            way = (*way, rng.randrange(3))
        reached = worth(way)  # 3. judge it
        for k in range(len(way), -1, -1):  # 4. update every step on it
            n[way[:k]] += 1
            w[way[:k]] += reached
            tried = n[way[:k]] >= WIDTH and done.issuperset(below(n, way[:k]))
            if k == len(way) or tried:
                done.add(way[:k])
    return n, w


# %% [markdown]
# The package keeps the same statistics in a tree of `Node`s. From the same random numbers it makes the same tries:

# %% tags=["hide-input"]
def package_search(tries: int, seed: int, worth=worth) -> Node:
    """The same with the package's tree."""
    rng, root = random.Random(seed), Node()
    for _ in range(tries):
        node = select(root, WIDTH, CURIOUS, RULES["uct"])
        rest = [rng.randrange(3) for _ in range(len(SECRET) - len(node.text))]
        end = grow(node, [((step,), 1 / 3) for step in rest])
        back_up(end, worth(end.text), WIDTH)
    return root


tree_gap = 0.0
for seed in range(20):
    n, w = uct_search(100, seed)
    for node in package_search(100, seed).below():
        assert n[node.text] == node.visits
        tree_gap = max(tree_gap, abs(w[node.text] / n[node.text] - node.q))
assert tree_gap < 1e-12
print("20 searches of 100 tries: the same visits; largest difference of a mean: below 1e-12")

# %%
def blind(tries: int, seed: int) -> bool:
    """Whether as many leaves, drawn from the root, hold the best one."""
    rng = random.Random(seed)
    return SECRET in {tuple(rng.randrange(3) for _ in SECRET) for _ in range(tries)}


def all_or_nothing(way) -> float:
    """A worth that sees no half-right way."""
    return float(way == SECRET)


def holds_best(worth, seed: int) -> bool:
    """Whether 100 tries of UCT hold the best leaf."""
    return any(node.text == SECRET for node in package_search(100, seed, worth).below())


for title, hits in (
    ("UCT, worth is the share of right steps", [holds_best(worth, s) for s in range(400)]),
    ("UCT, worth is all or nothing", [holds_best(all_or_nothing, s) for s in range(400)]),
    ("drawing from the root", [blind(100, s) for s in range(400)]),
):
    print(f"{title}: the best leaf in {mean(hits):.1%} ± "
          f"{196 * math.sqrt(mean(hits) * (1 - mean(hits)) / 400):.1f} of 400 searches")

# %% [markdown]
# With the share as worth, search wins clearly, because a half-right way is worth more than a wrong one, and so the statistics at the first steps say where to go. With all or nothing, they say nothing before the best leaf is found, and the search is about as good as drawing from the root. So a tree pays if the worth of a beginning can be seen before the end. The experiment below asks whether thoughts are like that.
#
# ### A tree of thoughts
#
# With a language model, a try draws the rest of a reply, and `steps_of` cuts it into steps after each new line, and before the thought's end. The engine *forks*: it cuts the cache back to a step, so the text before it is not computed again. Drawn greedily, the rest after a fork must be the same as before:

# %%
paths = Paths(base, [problems[0].prompt], 96, 0.0, None)
[reply], [logps] = paths.go_on([0], [[]], [96], (base.tokenizer.eos_id,))
steps, whole_cost = steps_of(reply, logps, base.tokenizer), paths.flops
print([base.tokenizer.decode(tokens) for tokens, probability in steps])
begun = list(steps[0][0])  # go back to the end of the first step, and on from there
[rest], _ = paths.go_on([0], [begun], [96 - len(begun)], (base.tokenizer.eos_id,))
assert begun + rest == reply
print(f"from the prompt: {whole_cost / 1e6:.0f} million FLOPs; "
      f"from the first step: {(paths.flops - whole_cost) / 1e6:.0f}")

# %% [markdown]
# Here is a tree of nano-base, judged by the verifier, with `width` 4: the first four replies are drawn from the root, and then the search goes down. We print two levels, the most visited steps first:

# %%
# tolerance: 3%
config = TreeConfig(longest=96, width=4)
searched = tree_search(base, problems, verify, 320, seeded(), config)
print(f"{right(searched):.0%} right, {mean(searched.samples):.1f} tries and "
      f"{mean(searched.tokens):.0f} tokens per problem")


def draw_tree(node, levels: int, indent: str = "  ") -> None:
    """Print the steps below a node."""
    for step in sorted(node.children, key=lambda step: -step.visits):
        line = base.tokenizer.decode(step.text[len(node.text) :]).strip()
        print(f"{indent}n = {step.visits}, Q = {step.q:.2f}  {line}")
        if levels > 1:
            draw_tree(step, levels - 1, indent + "    ")


tree = searched.trees[0]
print(problems[0].prompt + f"n = {tree.visits}, Q = {tree.q:.2f}")
draw_tree(tree, 2)

# %% [markdown]
# The later replies went down from the root, and UCT sent them below the steps whose first reply was right. Where the step itself ends with *yes*, going down finds nothing new, because only the answer follows. One line that failed has Q = 0.67, and others have 0. With so few visits this may be luck.
#
# ### A reward that learned from the trees
#
# At test time there is no verifier, so a tree needs another judge. rStar-Math {cite}`guan2025rstarmath` trains one on the search's own statistics. They are too noisy to give each step an exact worth, but they show which of two steps led to right answers more often. So the **process preference model** of rStar-Math learns from pairs of a better and a worse step. We search *training* problems with the verifier, and make pairs of steps that continue the same text, and pairs of whole replies. The test pairs come from sets of numbers that the judge did not learn from, because the same numbers in another order would be half known.

# %%
# tolerance: 3%
train = nano().make_task("train")
posed = [train[FAR + i] for i in range(96)]
trees = tree_search(base, posed, verify, 320, seeded(1), config).trees
pairs = [pair for p, tree in zip(posed, trees, strict=True)
         for pair in step_rankings(p.prompt, tree, base.tokenizer)]  # fmt: skip
sets = {p.prompt: (*sorted(p.numbers), p.target) for p in posed}
learn = pairs[:320]
known = {sets[pair.prompt] for pair in learn}
test = [pair for pair in pairs[320:] if sets[pair.prompt] not in known]
print(f"{len(pairs)} pairs, {len(learn)} to learn from, {len(test)} to test")
assert not {*sets.values()} & {*same}  # and none has the numbers of a held-out problem

# %%
# tolerance: 3%
of_steps = [pair for pair in pairs if "<answer>" not in "".join(pair.replies)]
tree = next(t for p, t in zip(posed, trees, strict=True) if p.prompt == of_steps[-1].prompt)
print(of_steps[-1].prompt, end="")
for title, text in zip(("better", "worse"), of_steps[-1].replies, strict=True):
    node = next(n for n in tree.below() if base.tokenizer.decode(n.text) == text)
    print(f"{title}: n = {node.visits}, Q = {node.q:.2f}  {text.strip()}")

# %%
# tolerance: 5%
preferred = RewardModel(base)
_ = train_reward_model(preferred, learn, RewardModelConfig(batch=16), progress=False)
margins = preferred.margins([pair for p in test for pair in p.pairs()])
ordered = (margins > 0).double().mean()
print(f"pairs of other sets of numbers that it puts in the right order: {ordered:.0%}")

# %%
# tolerance: 5%
learned = ProcessJudge(preferred)
picked, _ = liked_best(learned, [Blind(p) for p in problems], few["nano-base"])
print(f"nano-base, best of {mean(map(len, few['nano-base'])):.1f} by the learned reward: "
      f"{mean(p.score(r) for p, r in zip(problems, picked, strict=True)):.0%} right")
fooled = [(p, r) for p, r, of in zip(problems, picked, few["nano-base"], strict=True)
          if not p.score(r) and any(map(p.score, of))]  # fmt: skip
worths = learned([p for p, _ in fooled], [r for _, r in fooled]).values
p, r = fooled[worths.index(max(worths))]
print(f"a right reply was there, and a wrong one pleased more: {len(fooled)} of 48; one, "
      f"reward {max(worths):.1f}:\n{p.prompt}{r}")

# %% [markdown]
# Here the learned reward is below the model's own *yes* on the same replies (about 67 % against 73 %). Where a right reply was there, it can prefer a wrong one, such as the one above.
#
# The judge is also not free. It reads every reply, which costs more FLOPs than writing it did (1.1 to 1.5 times as many in the record), and an axis of tokens would not show that. It also had to be trained, and no axis in this chapter shows that.
#
# ## One axis of FLOPs
#
# The recorded experiment puts all methods on one axis. Best-of-n is the same program as the tree search, but it draws every reply from the root. Both read a prompt once, so only the *tree* makes the difference. For the learned reward we train one judge per model and seed, on 192 training problems.

# %% tags=["hide-input"]
def curve(part: str, model: str, judge: str, width: int = 4) -> dict:
    """FLOPs per problem and marks of all problems, budget by budget."""
    also = {"width": width, "guided": False} if part == "tree" else {}
    budgets = sorted({r["budget"] for r in rows_of(part, model=model, judge=judge, **also)})
    each = [rows_of(part, model=model, judge=judge, budget=b, **also) for b in budgets]
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
fig, axes = plt.subplots(2, 1, figsize=(4.7, 6.4))
said = []
for ax, model in zip(axes, ("nano-zero", "nano-base"), strict=True):
    for judge, label in JUDGES.items():
        of = curve("drawn", model, judge)
        share = [100 * mean(marks) for marks in of["marks"]]
        short = label.partition(" (")[0].removesuffix(" reward")
        _ = ax.plot(of["flops"], share, "o-", label=short)
        said.append(f"{model}, {label}: {share[0]:.0f} to {share[-1]:.0f} %")
    for mark, size, when, waits in (("*", 11, "never", 0), ("^", 8, "in doubt", 1)):
        once = rows_of("forced", model=model, budget=160, when=when, waits=waits)
        _ = ax.plot(cost(once), 100 * mean(bits(once)), mark, color="black", ms=size)
    _ = ax.set(xscale="log", title=model, ylabel="right, %", xlim=(30, 2200))
    _ = ax.set_xlabel("million FLOPs per problem")
    _ = ax.set_xticks([50, 100, 200, 500, 1000, 2000], [50, 100, 200, 500, "1,000", "2,000"])
    ax.minorticks_off()
for ax in axes:
    direct_labels(ax)
show(fig, "Star: one greedy answer. Triangle: greedy, with a new line in doubt (on nano-zero, "
     "both are in the same place). Lines: replies drawn from the prompt, 160 to 1,280 tokens, "
     "and who chooses among them. Drawn replies have at most 96 tokens, the greedy ones a "
     "thought of at most 160.",
     "Two panels, right answers against FLOPs per problem. " + "; ".join(said) + ".")

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


by_budget("nano-zero")

# %% tags=["hide-input"]
by_learned, by_yes = (curve("drawn", "nano-base", judge) for judge in ("learned", "own yes"))
print("nano-base, learned reward minus own yes:")
print("  at 320 tokens each:", minus(by_learned["marks"][1], by_yes["marks"][1]))
for flops in (200, 450, 900):
    print(f"  at {flops} million FLOPs each:", minus(at(by_learned, flops), at(by_yes, flops)))
print("nano-base, one new line in doubt minus the learned reward at 1,280 tokens:",
      minus(in_doubt, by_learned["marks"][-1]))
print("  replies that it chooses from:",
      round(mean(r["samples"] for r in rows_of("drawn", model="nano-base", judge="learned",
                                               budget=1280))))  # fmt: skip
by_learned = curve("drawn", "nano-zero", "learned")
print("nano-zero, learned reward, 1,280 tokens minus 640:",
      minus(by_learned["marks"][-1], by_learned["marks"][-2]))
by_budget("nano-base")

# %% [markdown]
# **The vote works for the finished reasoner, if there are enough replies.** With one or two (160 tokens) it is far worse than one greedy answer (68 % against 86 %). With four, we cannot tell them apart (85 %). With nine it is better, and at 1,280 tokens it reaches about 95 %.
#
# **For the base model the cheapest point is the triangle.** One new line in doubt is about as good as the best other method that needs no verifier (-0.2 ± 6.8 points). That method is a learned reward that chooses among 29 replies, for about 30 times the FLOPs.
#
# **A learned reward helps where the vote is weak, and hurts where the vote is strong.** On nano-base it chooses far better than the vote. On nano-zero, at about 430 million FLOPs, it is right in 81 % and the vote in 91 %. From 640 tokens to 1,280 we see no gain (-2.8 ± 3.2 points). Our guess is that more replies contain more that please the judge without being right, like the one printed above; [chapter 11](11_human_feedback.ipynb) found this with a judge of people's preferences.

# %% [markdown]
# **Its lead over the thought's own *yes* is gone at equal FLOPs.** On nano-base the record has it 3.5 points ahead at 320 tokens. But at 200 million FLOPs it is far behind, and from about 450 million on we cannot tell them apart.
#
# **The ceiling is far above all of them.** A right reply is nearly always among the drawn ones, and what is missing is a way to recognise it.

# %% tags=["widget"]
series = {}
for part, prefix in (("drawn", "best-of-n, "), ("tree", "tree, ")):
    for judge in ("learned", "verifier"):
        of = curve(part, "nano-base", judge)
        series[prefix + judge] = {"x": of["flops"], "y": [100 * mean(m) for m in of["marks"]]}
Curve(series, xlabel="million FLOPs", ylabel="right, %", xlog=True,
      title="nano-base: does a tree lie above best-of-n with the same judge?")

# %% [markdown]
# ### What does the tree add at equal FLOPs?
#
# We read best-of-n's curve at the FLOPs that the tree took (between two of its budgets, on a straight line over the logarithm), and take the difference problem by problem. The interval counts each set of numbers as one, because its orders are not independent.

# %% tags=["hide-input"]
def tree_gains(model: str) -> dict:
    """By judge and budget: the tree minus best-of-n at the tree's FLOPs, in points."""
    gains = {}
    for judge in ("own yes", "learned", "verifier"):
        of, other = curve("tree", model, judge), curve("drawn", model, judge)
        for budget, flops, marks in zip(of["tokens"], of["flops"], of["marks"], strict=True):
            less = [100 * (a - b) for a, b in zip(marks, at(other, flops), strict=True)]
            gains[judge, budget] = clustered(less)
    return gains


gains = {model: tree_gains(model) for model in ("nano-zero", "nano-base")}
ends = [curve(part, "nano-zero", "verifier")["marks"][1] for part in ("tree", "drawn")]
print("nano-zero, verifier, 320 tokens: the tree and best-of-n differ on",
      sum(a != b for a, b in zip(*ends, strict=True)), "of 432 problems")
rows = [[model, judge, *("{:+.1f} ± {:.1f}".format(*of[judge, b]) for b in (320, 640))]
        for model, of in gains.items() for judge in list(JUDGES)[1:]]  # fmt: skip
table(["model", "judge", "320 tokens", "640 tokens"], rows,
      "Tree minus best-of-n at equal FLOPs and with the same judge, in points of accuracy.")

# %% [markdown]
# **With none of the three judges is the tree above best-of-n at equal FLOPs.** On nano-base, where a tree has many branches, it is below: with the learned reward at both budgets, and with the verifier at 640 tokens, the interval excludes zero.
#
# On nano-zero the tree hardly begins at 320 tokens: a search draws four times from the root before it goes down, and the budget holds about five replies. With the verifier it solves exactly the same problems as best-of-n there, and the -0.6 is only what best-of-n would have gained from the slightly larger FLOPs.
#
# Why is there no gain? We suspect two reasons, and tested neither on worksheets. A line may be an attempt of its own, so that a failed line says little about the next. In the tree with a known leaf, such a worth (all or nothing) takes the whole gain away. And replies that share a beginning may differ less, so a tree may buy less variety for its tokens.

# %% [markdown]
# ## Self-evolution: search as a teacher
#
# Is the tree at least a good teacher? In rStar-Math, the policy is fine-tuned on the solutions that the search found, the new policy searches again, and so on for several rounds.
#
# Does the *tree* matter, or do the right solutions alone explain the gain? The control draws as many tokens from the root and learns from the right replies. This is rejection sampling, as in DeepSeek-R1. In the record, both ways fine-tune nano-base again in each round, on 384 solutions to training problems, and then answer all 432 held-out problems (`harvest_trees` in `minidsk/rl/process.py`).

# %% tags=["hide-input"]
print(results.origin("ch17_evolution"))
learning = sorted(results.read("ch17_evolution")["runs"], key=lambda r: r["seed"])
evolution = {(arm, number): [r for r in learning if (r["arm"], r["round"]) == (arm, number)]
             for arm in ("tree", "root") for number in range(4)}  # fmt: skip
right_in = {key: [100 * r["accuracy"] for r in of] for key, of in evolution.items()}
rows = [["the base, before", 0, f"{right_in['tree', 0][0]:.1f}", "0"]]
for arm, title in (("tree", "tree search"), ("root", "drawn from the root")):
    for number in range(1, 4):
        shown = "{:.1f} ± {:.1f}".format(*interval(right_in[arm, number]))
        rows.append([title, number, shown, f"{cost(evolution[arm, number]) / 1e3:.0f}"])
print("tree minus root, last round: {:+.1f} ± {:.1f} points".format(
    *apart(right_in["tree", 3], right_in["root", 3])))
table(["solutions from", "round", "right, %", "billion FLOPs so far"], rows,
      "Greedy, 432 problems; means of three seeds with 95 % intervals. In the tree's first "
      "round the seeds happen to solve equally many problems, though not the same ones.")

# %% [markdown]
# Both ways rise far above the base in their first round, and later rounds add little. **We see no difference between tree and root** (0.8 ± 4.4 points). Whether the verifier's choice matters we did not test, because no arm learns from unfiltered replies. Neither way is clearly better than one new line in doubt, which needs no training at all.
#
# ## What DeepSeek did
#
# DeepSeek-R1 {cite}`deepseekr1` reports two accuracies. The first is pass@1, the share of right answers among $n$ replies that are drawn to each problem,
#
# $$
# \text{pass@1} = \frac{1}{n} \sum_{i=1}^{n} [a_i \text{ is right}],
# $$
#
# and the second is that of the vote. In the first version of its report, a vote among 64 replies lifts R1-Zero on AIME 2024 from a pass@1 of 71.0 % to 86.7 %. (The later version in *Nature* gives 77.9 % for pass@1.)
#
# Among its unsuccessful attempts the first version names process reward models and Monte Carlo tree search. A text has far more possible next steps than a board game, and a good model of the value of a step is hard to train. So DeepSeek trained by reward on whole answers, and let the thoughts grow.

# %% [markdown]
# ## What others report
#
# On models thousands of times as large as ours:
#
# - s1 {cite}`muennighoff2025s1`: budget forcing takes its model of 32 billion parameters from 50 % to 57 % on AIME 2024.
# - Self-consistency {cite}`wang2022selfconsistency`: 17.9 points on GSM8K.
# - *Large Language Monkeys* {cite}`brown2024monkeys`: on SWE-bench Lite, 250 attempts per problem solve 56 %, and one attempt 15.9 %. This is with a verifier; without one, voting and reward models stop improving after some hundred samples.
# - rStar-Math {cite}`guan2025rstarmath`: four rounds of self-evolution and search with a process preference model take Qwen2.5-Math-7B from 58.8 % to 90.0 % on MATH.
#
# We did not repeat any of these. Our models have 0.4 million parameters.

# %% [markdown]
# ## What went wrong, or did not help
#
# **We expected the tree to win, because it won on the tree with a known leaf.** There, a half-right way is worth more than a wrong one. Whether worksheets have half-right lines, we do not know.
#
# **A narrow tree is worse than no tree.** With two draws per step instead of four, the tree of nano-base with the verifier has tried all its ways before its budget is spent:

# %%
narrow = curve("tree", "nano-base", "verifier", width=2)
others = at(curve("drawn", "nano-base", "verifier"), narrow["flops"][0])
print(f"width 2: {mean(narrow['marks'][0]):.1%} right; minus best-of-n at equal FLOPs:",
      minus(narrow["marks"][0], others))

# %% [markdown]
#
# **We could not test everything.** The record has one temperature, one limit of 96 tokens for drawn replies, one kind of step, and a reward model as small as the policy.

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
# ```{exercise} Which step next?
# :label: ex-17-choose
#
# *15 minutes.* Write `choose(visits, totals, c)`: the place of the step that UCT tries next. `check("search.choose", my_choose)` knows five mistakes by name.
#
# **Hint.** What should happen to a step that was never tried?
# ```
#
# ```{solution-start} ex-17-choose
# :class: dropdown
# ```

# %%
def choose_solution(visits, totals, c):
    n = sum(visits)
    scores = [total / v + c * math.sqrt(math.log(n) / v) if v else math.inf
              for v, total in zip(visits, totals, strict=True)]  # fmt: skip
    return scores.index(max(scores))


check("search.choose", choose_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Thinking, or no longer cut?
# :label: ex-17-gain
#
# *10 minutes.* Under a longer budget more problems are solved. Write `gain(right, cut, longer)`, which divides the gain into two parts: from problems whose thought the short budget cut, and from the others. `check("search.gain", my_gain)` knows four mistakes by name. Then apply it to nano-zero at budgets of 64 and 160. What must the second part be, and why?
#
# **Hint.** Both parts are divided by the number of all problems. All of these replies are greedy.
# ```
#
# ```{solution-start} ex-17-gain
# :class: dropdown
# ```

# %%
def gain_solution(right, cut, longer):
    change = [int(after) - int(before) for before, after in zip(right, longer, strict=True)]
    was_cut = sum(d for d, c in zip(change, cut, strict=True) if c)
    return was_cut / len(change), (sum(change) - was_cut) / len(change)


check("search.gain", gain_solution)

# %%
short, long = (rows_of("forced", model="nano-zero", budget=b, when="never") for b in (64, 160))
parts = gain_solution(bits(short), bits(short, "cut"), bits(long))
print("from thoughts that were cut: {:+.1%}; from the others: {:+.1%}".format(*parts))

# %% [markdown]
# The second part is 0, because a thought that ended before the short budget is the same greedy thought under the long one. All of a longer limit's gain comes from thoughts that were cut. To make a thought longer than it would have been, we have to change the thought itself, for example by a new line.
#
# ```{solution-end}
# ```
#
# ```{exercise} A third judge for the tree
# :label: ex-17-guide
#
# *20 minutes.* `tree_search` takes a `guide`, which reads unfinished replies: each new step then begins with its opinion. Search the 48 problems with `learned` as judge, with and without `guide=learned`, at 320 tokens. Compare both accuracy and FLOPs. What do you expect of a guide that reads every step from the beginning?
#
# **Hint.** `found.flops / len(problems)`.
# ```
#
# ```{solution-start} ex-17-guide
# :class: dropdown
# ```

# %%
# tolerance: 5%
asked = [Blind(p) for p in problems]
found = tree_search(base, asked, learned, 320, seeded(), config, guide=learned)
print(f"with a guide: {right(found):.0%} right, "
      f"{found.flops / len(problems) / 1e6:.0f} million FLOPs per problem")

# %%
for guided in (False, True):
    of = rows_of("tree", model="nano-base", judge="learned", budget=320, width=4,
                 guided=guided)  # fmt: skip
    print(f"recorded, guided: {guided}, {mean(bits(of)):.1%} right for {cost(of):.0f} million")

# %% [markdown]
# In the record, the guide costs half as many FLOPs again, because every step is read from the beginning of its reply.
#
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of the vote. The test below accepts the right version and lets one bug escape. Write a second test that catches it; ours are in the folded cell.

# %% tags=["zoo"]
def silence_is_no_vote(vote) -> None:
    """Three of six replies give no answer, and two agree."""
    assert vote([None, "3", None, None, "5", "5"]) == "5"


zoo("search", [silence_is_no_vote])

# %% tags=["hide-cell"]
def the_first_of_equals(vote) -> None:
    """Two answers with two votes each."""
    assert vote(["b", "a", "b", "a"]) == "b"


zoo("search", [silence_is_no_vote, the_first_of_equals])

# %% [markdown]
# ## The opening question, answered
#
# Can the finished reasoner be right more often just by spending more, and which way of spending is best?

# %% tags=["hide-input"]
one = cost(rows_of("forced", model="nano-zero", budget=160, when="never"))
voting = curve("drawn", "nano-zero", "majority")
for k, budget in enumerate(voting["tokens"]):
    print(f"a vote within {budget} tokens, minus one greedy answer: "
          f"{minus(voting['marks'][k], greedy)}, for {voting['flops'][k] / one:.1f} times "
          "the FLOPs")
of = [curve("drawn", "nano-zero", judge) for judge in JUDGES]
rows = [[f, *(f"{mean(at(each, f)):.1%}" for each in of)] for f in (200, 430, 880)]
print("nano-base, a vote at 880 million FLOPs, minus one new line in doubt:",
      minus(at(curve("drawn", "nano-base", "majority"), 880), in_doubt))
table(["million FLOPs", *JUDGES.values()], rows,
      "nano-zero, at equal FLOPs; one greedy answer is right in "
      f"{mean(greedy):.1%}, for {one:.0f} million FLOPs.")

# %% [markdown]
# **Yes, from about 430 million FLOPs on.** There the vote gains 5.1 ± 4.7 points over one greedy answer, an interval that only just excludes zero, and at 887 million 9.3 ± 4.5. At 200 million, one greedy answer is as good and costs 60 million. Of the ways that need no verifier, the vote is the best from 200 million on.
#
# **For the base model, the answer is one new line in doubt**: 81.7 % for 68 million FLOPs. A vote at 880 million is 17 ± 7 points below it.

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
spread = {}
for judge, label in JUDGES.items():
    of = rows_of("drawn", model="nano-zero", judge=judge, budget=640)
    spread[f"recorded, right, %, {label}"] = [100 * r["accuracy"] for r in of]
receipt(spread=spread, differences={
    "five lines and the package's vote, answers": (vote_gap, 0),
    "our tree and the package's, means": (tree_gap, 1e-12),
})

# %% [markdown]
# ## Summary
#
# Yes, but it costs an order of magnitude more. Within 1,280 tokens, a vote lifts the finished reasoner from 86 % to **about 95 %**, for about 15 times the FLOPs of one greedy answer. With four replies or fewer, it is no better than the greedy answer. On the base model, one new line in doubt did more than any vote, and about as much as a learned reward that costs 30 times as many FLOPs. A tree over steps added nothing at equal FLOPs, and as a teacher we could not tell it from plain drawing. A right reply is nearly always among the drawn ones, so our models do not need more search but a way to recognise what is right.
#
# - I can now say of a gain at a longer budget whether it comes from thinking or from thoughts that are no longer cut.
# - I can now write a vote, best-of-n and a tree search, and say which of them saw the verifier.
# - I can now put methods with different judges on one axis, and give the difference with an interval that counts related problems once.
# - I can now name the control that a search must be compared with, at test time and as a teacher.

# %% [markdown]
# ## Read on
#
# - Snell and others {cite}`snell2024scaling`, section 5, on when search helps and when it is fooled by its reward; *Large Language Monkeys* {cite}`brown2024monkeys` on coverage; rStar-Math {cite}`guan2025rstarmath`, section 3, on the process preference model.
# - The code of this chapter in the package: `minidsk/infer/search` (`account.py`, `forcing.py`, `voting.py`, `tree.py`, `mcts.py`) and `minidsk/rl/process.py`.
# - Next: [chapter 22](22_capstone.ipynb) runs the whole recipe once, from random weights to a reasoner.
