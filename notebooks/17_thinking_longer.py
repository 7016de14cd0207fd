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
# - **You will build** a forced budget, a vote, best-of-n with three judges, and a Monte Carlo tree search. Then you compare all of them on one axis, and pose problems of your own.
# - **You need** PyTorch and [chapter 12](12_grpo.ipynb), from which the reasoner comes. [Chapter 11](11_human_feedback.ipynb) explains reward models.
# - **It takes** about a minute of one CPU core (the set-up cell allows one thread), longer on Colab or where others compute, and an hour and a half to read. A GPU is no faster, because the models are small. The large comparison was recorded earlier, also on a CPU.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import math
import random
import time
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
from minidsk.infer.search.mcts import TreeConfig, tree_search
from minidsk.infer.search.tree import RULES, Node, back_up, grow, select
from minidsk.infer.search.voting import best_of_n, draw_within, liked_best, majority
from minidsk.presets import nano
from minidsk.report.interval import apart, interval
from minidsk.rl.harvest import FAR
from minidsk.rl.process import ProcessJudge, step_rankings
from minidsk.rl.reward_model import RewardModel, RewardModelConfig, train_reward_model
from minidsk.scale.cost import parameters
from minidsk.tasks.countdown import Countdown
from minidsk.tasks.expression import evaluate
from minidsk.widgets import Curve

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## Two models, and what one answer costs
#
# In **Countdown** we make a target from given numbers, and use each of them exactly once. Our problems have three numbers up to 12, plus and minus, and targets up to 20. Two models that ship with the package solve them. **nano-base** is a base model that has read the **tiny web**, our corpus of pages that a program wrote. **nano-zero**, the finished reasoner, is nano-base after reinforcement learning from right answers alone.
#
# The held-out split is small, and many of its problems have the same numbers in another order. We pose each different prompt once.

# %%
task = nano().make_task("test")
held_out = list({p.prompt: p for p in (task[i] for i in range(4096))}.values())[:432]
same = Counter((*sorted(p.numbers), p.target) for p in held_out)
problems = held_out[:48]
print(f"{len(held_out)} problems, made of {len(same)} sets of numbers and a target")

# %% [markdown]
# A reply is a **worksheet**, like those of the tiny web: a thought with one attempt per line, and an answer. Here is a greedy one by nano-zero. The folded cell also says what is wrong in a line, by the rules of the task.

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
# The first line adds 9, 6 and 3 step by step and reaches 18. Then it asks *is 18 the target 6?* and gives its verdict, *no*. The second line contains a slip: 15-3 is 12. The third line reaches 6, and its verdict is *yes*. Some pages of the tiny web are in Chinese, and there the verdicts are 不对 (*not right*) and 对了 (*right*).
#
# ### What does an answer cost?
#
# A token costs about two operations per weight. We count floating-point operations, **FLOPs**, and not replies, so that long and short ones can be compared. The count includes every token that a method reads and writes, and the judge that reads its replies. We can nearly get it by hand:

# %%
print("             right written  counted  by hand, million FLOPs per problem")
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    found, config = plain[name], policy.actor.config
    right = sum(p.score(r) for p, r in zip(problems, found.replies, strict=True))
    weights = parameters(config, active=True) - config.vocab_size * config.hidden_size
    read = mean(len(policy.tokenizer.encode(p.prompt)) for p in problems)
    by_hand = 2 * weights * (read + mean(found.tokens)) / 1e6
    counted = found.flops / 48 / 1e6
    print(f"{name}  {right:.0f} of 48 {mean(found.tokens):5.0f} {counted:9.1f} "
          f"{by_hand:8.1f} = 2 x {weights:,} x ({read:.0f} + {mean(found.tokens):.0f})")
    assert 0.8 < by_hand / counted < 1

# %% [markdown]
# The weights are those of the experts that work on a token, without the embedding, which is a look-up. The prompt's 20 tokens are read as well. The missing tenth is attention, which costs more in a longer reply, because each token looks back at all earlier ones.
#
# ### 48 problems to look at, 432 to compare
#
# The cells of this page pose 48 problems, to show how each method works. That is too few to compare methods. So **each comparison below is read from a recorded experiment** with all 432 problems. Each of its three seeds has a different 144 of them, so seeds differ also because their problems differ.

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
# The 48 happen to be easier for nano-base than the rest, and their intervals are wide. The intervals count each set of numbers once, because its orders are not independent.
#
# ## One thought: shorter or longer?
#
# The simplest way to spend more, or less, is the length of one thought. **Budget forcing** {cite}`muennighoff2025s1` sets this length from outside. When a thought reaches its budget, we end it and begin the answer. When the model wants to end its thought too early, we put a word such as *Wait* in the place of the end, and the model goes on. On our worksheets we put a new line there, because a new line begins a new attempt.
#
# ### What does a longer budget buy?
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


for budget in (12, 30, 60):
    print(budget, *force(zero, problems[1].prompt, budget))

# %% [markdown]
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
# A thought that ended early is nearly always right. Longer thoughts belong to harder problems, so this share falls to 87 %. A thought that was cut is mostly wrong. Where do the newly solved problems come from, from one budget to the next?

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
# **All of the gain comes from thoughts that the shorter budget cut.** Some of them now end. Others are cut later and have done more of their work, which is the whole gain up to 16 tokens. A thought that had ended gains nothing, because a greedy thought is the same under every budget, up to its cut. This does not show that a finished thought would gain from being longer, which the next section tests.
#
# ### What does one new line do?
#
# The other half of budget forcing keeps a thought from ending. The base model gives up after one attempt, even where it has just written *no*. We put one new line there. nano-base alone solves 25 % of the problems. How many with the new line?

# %% tags=["prediction", "hide-input"]
guess = None
question = "nano-base with one new line in doubt: right, in % of 432 problems?"
one_line = predict("search.one_line", question, guess, example=40, scale="difference",
                   tolerance=40)  # fmt: skip
one_line

# %% [markdown]
# When should we keep a thought from ending? The authors of s1 do it *always*. In our own variant we do it *in doubt*: only when the thought does not end with *yes*. Neither rule asks the verifier, and the second only reads what the model wrote.

# %%
after = {}
for name, policy in (("nano-base", base), ("nano-zero", zero)):
    for when, done in (("always", None), ("in doubt", says_yes)):
        after[name, when] = budget_forcing(policy, problems, 160, None, waits=1, done=done)
# %%
for title, of in (("alone", plain["nano-base"]), ("in doubt", after["nano-base", "in doubt"])):
    lines = Counter(thought_of(reply).count("\n") + 1 for reply in of.replies)
    print(f"{title:8}, lines and thoughts:", dict(sorted(lines.items())))
k = next(k for k, reply in enumerate(of.replies) if reply.count("\n") == 3)
read_out(problems[k], of.replies[k])

# %% [markdown]
# Alone, all 48 thoughts have one line. After one new line most have several, so the model does not stop at the second attempt. Does this help, and does it help the reasoner too?

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
one_line.reveal(round(100 * mean(in_doubt), 1))
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
# **One new line in doubt lifts the base model from a quarter of right answers to more than four fifths**, for twice the FLOPs. The interval allows nano-zero a lead of up to 11.5 points, so most of the skill, but perhaps not all of it, was already in the base. Our guess at the reason: some authors of the tiny web persist until they have a solution, and a second line makes the text look like one of theirs.
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
# A wrong thought ends with *yes* too, so a rule that reads the verdict finds no doubt. In the first worksheet, 16-4 is not 10, and 10 is not the target. In the second, the solution had been found in the third line. *Always* made the model go on, its next line uses 9 twice and 3 never, and it handed in that line. Other thoughts reach the limit of 160 tokens, so part of the loss is truncation again.
#
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
# By hand: of seven replies to *make 4 from 8, 3, 7*, three answer `8-7+3`, two answer `8+3-7`, one answers `8+7-3`, and one has no answer. Then `8-7+3` has three votes of six. The next cells are the vote, and a test that catches a common mistake.

# %% tags=["naive"]
def vote(answers):
    """The most frequent answer; of equals, the one that came first; no answer, no vote."""
    votes = {}
    for answer in answers:
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1
    return max(votes, key=votes.get) if votes else None


print(vote(["8+3-7", "8-7+3", "8-7+3", "8+3-7", "8+7-3", "8-7+3", None]))

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
# In the first problem, right replies agree. In the second they do not: the right ones are split among expressions that count as different answers, so a wrong answer wins. (We did not sort the terms first, which needs no verifier.) The record has all 432 problems:

# %%
# tolerance: 3%
nine_votes = bits(rows_of("drawn", model="nano-zero", judge="majority", budget=640))
vote_gain.reveal(round(100 * (mean(nine_votes) - mean(greedy)), 1))
for limit in (160, 96):
    marks = bits(thoughts[limit])
    print(f"vote, {mean(nine_votes):.1%}, minus a greedy answer with a limit of {limit}, "
          f"{mean(marks):.1%}:\n  {minus(nine_votes, marks)}")
every = [(p, r) for p, of in zip(problems, drawn, strict=True) for r in of]
finished = [thought_of(r) for _, r in every if "</think>" in r]
print(f"of {len(every)} drawn replies to the 48 problems, "
      f"{mean(p.score(r) for p, r in every):.0%} are right,\n  "
      f"and {1 - len(finished) / len(every):.0%} have a thought that is cut; "
      f"{mean(map(says_yes, finished)):.0%} of the others end in yes")

# %% [markdown]
# The vote is better, although a single drawn reply is much worse than a greedy one. Sampling makes mistakes, and a drawn reply has at most 96 tokens, so that more of them fit into a budget. The longer limit favours the greedy answer by about 2.5 points. Below, we compare with the better greedy answer, that of 160.
#
# ### Who may judge them?
#
# **Best-of-n** draws the same replies and asks a judge which is best:
#
# | judge | what it reads | in this chapter it may be used |
# | --- | --- | --- |
# | its own yes | the last word of each thought | always |
# | a learned reward | problem and reply | always; it was trained with the verifier, on *training* problems |
# | the verifier | the numbers and the target | in training; on test problems only to see the ceiling |
#
# Countdown has a free checker: the numbers and the target stand in the prompt, and anybody could run the verifier. With such a checker, as with unit tests for code, best-of-n is a real method. **We forbid it on test problems, to stand for problems that have no checker.** There it only says how often *any* reply is right. No way of choosing can do better, so this is the **ceiling**.

# %%
def best(question, replies, judge):
    """The reply that the judge likes best; of equals, the one that came first."""
    worths = judge([question] * len(replies), replies).values
    return replies[worths.index(max(worths))]


# %%
def own_yes(questions, replies) -> Judged:
    """A judge that believes the thought: it costs nothing, and can be wrong."""
    return Judged([float(says_yes(thought_of(r))) for r in replies], 0.0)


for judge in (own_yes, verify):
    theirs, _ = liked_best(judge, problems, drawn)
    assert theirs == [best(p, of, judge) for p, of in zip(problems, drawn, strict=True)]
print("48 choices by own yes and 48 by the verifier: the same as by the package")

# %% tags=["hide-input"]
print("recorded, within 320 tokens per problem:")
for name in ("nano-base", "nano-zero"):
    once = bits(rows_of("forced", model=name, budget=160, when="never"))
    for judge in ("own yes", "verifier"):
        marks = bits(rows_of("drawn", model=name, judge=judge, budget=320))
        print(f"{name}, best by {judge:8}: {mean(marks):.1%}; minus one greedy answer: "
              f"{minus(marks, once)}")

# %% [markdown]
# Choosing by its own *yes* helps the base model, whose thoughts often end with *no*. For nano-zero it chooses worse than one greedy answer, because nearly every finished thought ends with *yes*.
#
# The verdict leaks easily: with one `problem.score` in the wrong function, a method looks as good as the ceiling. So the package gives `Blind` problems to a search that must not check. They have a prompt and a way to read an answer, but no `score`. A test catches a planted leak:

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

# %% [markdown]
# Does it learn more than to read the last *yes*? We compare both on the test pairs, and print one in which both steps say *no*:

# %%
# tolerance: 5%
preferred = RewardModel(base)
_ = train_reward_model(preferred, learn, RewardModelConfig(batch=16), progress=False)
margins = preferred.margins([pair for p in test for pair in p.pairs()]).tolist()
yes = [[says_yes(thought_of(r)) for r in pair.replies] for pair in test]
tied = [m > 0 for m, (better, worse) in zip(margins, yes, strict=True) if better == worse]
print(f"learned reward: {mean(m > 0 for m in margins):.0%} of {len(test)} pairs in order\n"
      f"own yes: {mean(a > b for a, b in yes):.0%} in order, "
      f"{mean(a == b for a, b in yes):.0%} tied\n"
      f"learned reward, of the tied pairs: {mean(tied):.0%} in order. One of them:")
shown = next(pair for pair, m, (a, b) in zip(test, margins, yes, strict=True)
             if m > 0 and a == b and "<answer>" not in "".join(pair.replies))  # fmt: skip
tree = next(t for p, t in zip(posed, trees, strict=True) if p.prompt == shown.prompt)
print(shown.prompt.strip())
for title, text in zip(("better", "worse"), shown.replies, strict=True):
    node = next(n for n in tree.below() if base.tokenizer.decode(n.text) == text)
    print(f"  {title:6}: n = {node.visits}, Q = {node.q:.2f}  {text.strip()}")

# %% [markdown]
# It does: it also orders most of the pairs that own *yes* ties. As a judge, it scores the whole reply, and its FLOPs are those of reading prompt and reply. The package's `ProcessJudge` does the same. The test catches a judge that reads only the reply:

# %%
def learned(questions, replies) -> Judged:
    """The learned reward of each reply, in [-1, 1], and what reading them cost."""
    prompts = [question.prompt for question in questions]
    values = preferred.score(prompts, replies).tanh().tolist()
    return Judged(values, preferred.flops(prompts, replies))


def forgets_the_problem(questions, replies) -> Judged:
    """A planted bug: it judges without the problem."""
    return learned([problems[0]] * len(replies), replies)


def test_it_reads_the_problem(judge) -> None:
    """One reply, which fits the first of eight problems. The judge hardly notices that."""
    values = judge(problems[:8], [drawn[0][0]] * 8).values
    assert max(values) - min(values) > 1e-4  # more than rounding, and not by much


bites(test_it_reads_the_problem, learned, forgets_the_problem)
asked, first = [Blind(p) for p in problems], [of[0] for of in drawn]
assert learned(asked, first) == ProcessJudge(preferred)(asked, first)

# %%
# tolerance: 5%
of_base, _, _ = draw_within(base, problems, 320, 96, 1.0, seeded(), 1024)
picked, _ = liked_best(learned, asked, of_base)
fooled = [(p, r) for p, r, of in zip(problems, picked, of_base, strict=True)
          if not p.score(r) and any(map(p.score, of))]  # fmt: skip
worths = learned([p for p, _ in fooled], [r for _, r in fooled]).values
print(f"a right reply was there, and a wrong one pleased more: {len(fooled)} of 48. One:")
read_out(*fooled[worths.index(max(worths))])

# %% [markdown]
# The learned reward orders most pairs, but it can be fooled by a wrong line that ends in *yes*.
#
# It is also not free. It is as large as the policy and reads the prompt again with *every* reply, while the record's search reads it once per problem. So judging costs 1.1 to 1.5 times as many FLOPs as drawing. It also had to be trained, and no axis in this chapter shows that.
#
# ## One axis of FLOPs
#
# The recorded experiment puts all methods on one axis. For the learned reward it trained one judge per model and seed, on 192 training problems.

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

# %% [markdown]
# ### Who should choose?

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
print("nano-base, one new line in doubt minus the learned reward at 1,280 tokens:\n ",
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
# **For the base model the triangle gives the most for its cost.** One new line in doubt is about as good as the best other method that needs no verifier (-0.2 ± 6.8 points). That method is a learned reward that chooses among 29 replies, for about 30 times the FLOPs.
#
# **A learned reward helps where the vote is weak, and hurts where the vote is strong.** On nano-base it chooses far better than the vote. On nano-zero, at about 430 million FLOPs, it is right in 81 % and the vote in 91 %. Neither the learned reward nor the thought's own *yes* reaches one greedy answer there (86 %). From 640 tokens to 1,280 we see no gain (-2.8 ± 3.2 points). Our guess is that more replies contain more that please the judge without being right.

# %% [markdown]
# **The learned reward leads own yes at equal tokens, but not at equal FLOPs.** On nano-base it is 3.5 points ahead at 320 tokens. But at 200 million FLOPs it is far behind, and from about 450 million on we cannot tell them apart.
#
# **From 640 tokens on, a right reply is among the drawn ones for 97 % or more of the problems.** For nano-zero at 1,280 tokens the vote comes within 5 points of this ceiling. On nano-base all three ways of choosing stay far below it.
#
# ### Is a tree better than replies from the root?
#
# Best-of-n here is the same program as the tree search, but it draws every reply from the root. We read best-of-n's curve at the FLOPs that the tree took (between two of its budgets, on a straight line over the logarithm), and take the difference problem by problem. With the verifier as judge, on nano-base: what does the tree gain?

# %% [markdown]
# ## What others report
#
# On models of 7 to 32 billion parameters, or larger, where ours have 0.4 million:
#
# - s1 {cite}`muennighoff2025s1`: budget forcing takes its model from 50 % to 57 % on AIME 2024.
# - Self-consistency {cite}`wang2022selfconsistency`: 17.9 points on GSM8K.
# - *Large Language Monkeys* {cite}`brown2024monkeys`: on SWE-bench Lite, 250 attempts per problem solve 56 %, and one attempt 15.9 %. This is with a verifier; without one, voting and reward models stop improving after some hundred samples.
# - rStar-Math {cite}`guan2025rstarmath`: four rounds of self-evolution and search with a process preference model take Qwen2.5-Math-7B from 58.8 % to 90.0 % on MATH.
#
# ## What went wrong, or did not help
#
# **We expected the tree to win, because it won on the tree with a known leaf.**
#
# **We could not test everything.** The record has one temperature, one limit of 96 tokens for drawn replies, one kind of step, and a reward model as small as the policy.
#
# **A narrow tree is worse than no tree.** With two draws per step instead of four, the tree of nano-base with the verifier has tried all its ways before its budget is spent:

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


check("search.gain", gain_solution)

# %%
short, long = thoughts[64], thoughts[160]
parts = gain_solution(bits(short), bits(short, "cut"), bits(long), bits(long, "cut"))
print("had ended: {:+.1%}; cut, ends now: {:+.1%}; cut by both: {:+.1%}".format(*parts))

# %% [markdown]
# The first part is 0, because a thought that ended before the short budget is the same greedy thought under the long one.
#
# ```{solution-end}
# ```
#
# ```{exercise} What does a guide cost?
# :label: ex-17-guide
#
# *20 minutes.* `tree_search` takes a `guide`, which reads unfinished replies: each new step then begins with its opinion. Write `guide_reads(prompt, steps)`, the tokens that it reads for one reply; `check("search.guide_reads", my_guide_reads)` knows three mistakes by name. Then search the 48 problems with `learned` as judge, with and without `guide=learned`, at 320 tokens. Is the guide worth its FLOPs in the record?
#
# **Hint.** `found.flops / len(problems)`. A fair comparison gives the search without a guide as many FLOPs.
# ```
#
# ```{solution-start} ex-17-guide
# :class: dropdown
# ```

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
# Can the finished reasoner be right more often just by spending more, and which way of spending is best?

# %% tags=["hide-input"]
one = cost(rows_of("forced", model="nano-zero", budget=160, when="never"))
voted = curve("drawn", "nano-zero", "majority")
print("nano-zero, a vote minus one greedy answer:")
for budget, flops, marks in zip(voted["tokens"], voted["flops"], voted["marks"], strict=True):
    print(f"  within {budget:5,} tokens: {minus(marks, greedy)}, "
          f"for {flops / one:.1f} times the FLOPs")
of = [curve("drawn", "nano-zero", judge) for judge in JUDGES]
rows = [[f, *(f"{mean(at(each, f)):.1%}" for each in of)] for f in (200, 430, 880)]
print("nano-base, a vote at 880 million FLOPs, minus one new line in doubt:\n ",
      minus(at(curve("drawn", "nano-base", "majority"), 880), in_doubt))
table(["million FLOPs", *JUDGES.values()], rows,
      "nano-zero, at equal FLOPs; one greedy answer is right in "
      f"{mean(greedy):.1%}, for {one:.0f} million FLOPs.")

# %% [markdown]
# **Yes, from somewhere between 200 and 430 million FLOPs on**, at temperature 1 and with drawn replies cut at 96 tokens. At 430 million the vote gains 5.1 ± 4.7 points over one greedy answer, and at 887 million 9.3 ± 4.5. Among the three ways of choosing without a verifier, the vote is best from 200 million on.
#
# **For the base model, the answer is one new line in doubt**: 81.7 % for 68 million FLOPs. A vote at 880 million is 17 ± 7 points below it.
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
    "our tree and the package's": (tree_gap, 1e-12),
})

# %% [markdown]
# ## Summary
#
# Yes, but it costs an order of magnitude more. Within 1,280 tokens, a vote lifts the finished reasoner from 86 % to **about 95 %**, for about 15 times the FLOPs of one greedy answer. With four replies or fewer it gains nothing. On the base model, one new line in doubt did more than any vote, and about as much as a learned reward that costs 30 times as many FLOPs. A tree over steps added nothing at equal FLOPs and nothing visible as a teacher. From 640 tokens on, a right reply is among the drawn ones for 97 % or more of the problems. So where no checker exists, a better way to choose would gain more than further search.
#
# - I can now say of a gain at a longer budget whether the thoughts ended, or were cut later.
# - I can now write a vote, best-of-n and a tree search, and say which of them saw the verifier.
# - I can now put methods with different judges on one axis, and give the difference with an interval that counts related problems once.
# - I can now name the control that a search must be compared with, at test time and as a teacher.

# %% [markdown]
# ## Read on
#
# - Snell and others {cite}`snell2024scaling`, section 5, on when search helps and when it is fooled by its reward; *Large Language Monkeys* {cite}`brown2024monkeys` on coverage; rStar-Math {cite}`guan2025rstarmath`, section 3, on the process preference model.
# - The code of this chapter in the package: `minidsk/infer/search` (`account.py`, `forcing.py`, `voting.py`, `tree.py`, `mcts.py`) and `minidsk/rl/process.py`.
# - Next: [chapter 18](18_fast_inference.ipynb) makes the same tokens in less time.
