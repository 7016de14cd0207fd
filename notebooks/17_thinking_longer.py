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
# One new line, written where a thought would end, takes our finished reasoner from 86 % right answers to 46 %. The same line takes the base model, from which the reasoner grew, from 25 % to 75 %. Why does it spoil one and help the other?
#
# The reasoner's training is over, and its weights stay as they are. It can still spend more on each problem. **What does more computing buy after training: one longer thought, or many replies and a choice among them?**
#
# - **You will build** a limit on the thought, a rule that adds one new line, a vote, and best-of-n with three judges: the model's own *yes*, the verifier, and a learned reward. Then you compare all of them on one axis of operations, and pose problems of your own.
# - **You need** PyTorch and [chapter 12](12_grpo.ipynb), from which the reasoner comes. [Chapter 11](11_human_feedback.ipynb) explains reward models.
# - **It takes** about a minute of one CPU core (longer on Colab), and an hour and a half to read. It needs no GPU.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import itertools
import math
import random
import time
from collections import Counter
from statistics import mean

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
# In **Countdown** we make a target from given numbers, and use each of them exactly once. Our problems have three numbers up to 12, plus and minus, and targets up to 20. Two models solve them. **nano-base** is a base model that has read the **tiny web**, our corpus of pages that a program wrote. **nano-zero**, the finished reasoner, is nano-base after reinforcement learning from right answers alone.
#
# A reply is a **worksheet**, like those of the tiny web: a thought with one attempt per line, and an answer. Here is one by nano-zero, greedy (each token is the most likely one), to *make 6 from 3, 9, 6*. The folded cell says what is wrong in a line, by the rules of the task.

# %%
def thought_of(reply: str) -> str:
    """What stands before the end of the thought."""
    return reply.partition("</think>")[0]


def says_yes(thought: str) -> bool:
    """Whether the last verdict of a thought is yes, in English or Chinese."""
    return thought.rstrip().endswith(("yes", "对了"))

# %% tags=["hide-input"]
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
# The weights are those of the experts that work on a token, without the embedding, which is a look-up. About a tenth is missing, which is attention to all earlier tokens. So one answer of nano-zero costs about 60 million FLOPs.
#
# ### Which problems can compare two methods?
#
# The cells of this page pose 48 problems, to show how each method works. That is too few to compare methods. So **the comparisons from which we conclude are read from a recorded experiment** with all 432 problems. Each of its three seeds has a different 144 of them, and nano-zero and nano-base answer the same ones.
#
# **Intervals are 95 %, over problems.** Orders of one set of numbers count as one problem, because they are not independent. The receipt is the exception: its intervals are over three seeds. The figure shows four of the ways that we compare.

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


def seeded(seed: int = 0) -> torch.Generator:
    """Random numbers from a seed."""
    return torch.Generator().manual_seed(seed)


# %% tags=["figure", "hide-input"]
WAYS = (("one greedy thought", "", {"part": "forced", "budget": 160, "waits": 0}),
        ("one new line, always", "", {"part": "forced", "budget": 160, "when": "always",
                                      "waits": 1}),
        ("nine replies", "vote", {"part": "drawn", "budget": 640, "judge": "majority"}),
        ("nine replies", "judge", {"part": "drawn", "budget": 640, "judge": "learned"}),
)  # fmt: skip
fig, ax = plt.subplots(figsize=(4.7, 3.3))
top, said = 0.0, []
for title, chooser, wanted in WAYS:
    flops = cost(rows_of(model="nano-zero", **wanted))
    lines, end = 9 if chooser else 1, 2.0 if "line" in title else 1.0
    for y in [top + 0.25 * k for k in range(lines)]:
        _ = ax.plot([0, end], [y, y], color="C0", lw=2)
        _ = ax.plot(end, y, "s", color="C0", ms=4)
        if chooser:
            _ = ax.plot([end, 2.2], [y, top + 1], color="0.6", lw=0.8)
    if "line" in title:
        _ = ax.plot(1, top, "|", color="C1", ms=14, mew=3)
    middle = top + 0.125 * (lines - 1)
    _ = ax.text(2.25, middle, chooser, va="center", fontsize=9)
    _ = ax.text(2.9, middle, f"{title}\n{flops:.0f} million FLOPs", va="center", fontsize=9)
    said.append(f"{title} {chooser}: {flops:.0f} million FLOPs")
    top += 0.25 * lines + 0.7
_ = ax.set(xlim=(-0.1, 5.2), ylim=(top - 0.4, -0.5))
ax.axis("off")
show(fig, "Lines: thoughts. Squares: answers. Orange: where the first thought would end, and "
     "a new line stands instead. A learned judge reads all replies, which costs more.",
     "Four ways to spend FLOPs on one problem, recorded. " + "; ".join(said) + ".")

# %% tags=["hide-input"]
def clustered(marks, of=held_out) -> tuple[float, float]:
    """The mean over problems, and half its 95 % interval; orders of one set count once."""
    middle, sums = mean(marks), Counter()
    for p, mark in zip(of, marks, strict=False):
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
# **Budget forcing** {cite}`muennighoff2025s1` sets the length of one thought from outside, in two ways. When a thought reaches a **limit** of tokens, we end it and begin the answer. When the model wants to end its thought too early, we put a word such as *Wait* in the place of the end, and the model goes on.
#
# ### What does a higher limit buy?
#
# Here is the first way, without the package: write at most `limit` tokens, close the thought, and let the model answer.

# %%
def write(policy, text: str, tokens: int) -> str:
    """What the model writes after a text, greedily."""
    return policy.sample([text], 1, tokens, 0.0, None).texts[0]


def force(policy, prompt: str, limit: int) -> tuple[str, bool]:
    """A reply whose thought has at most `limit` tokens, and whether it was cut."""
    thought, closed, _ = write(policy, prompt + "<think>", limit).partition("</think>")
    begun = "<think>" + thought + "</think>" + ("" if closed else "<answer>")
    return begun + write(policy, prompt + begun, 32), not closed


for limit in (12, 30, 60):
    print(limit, *force(zero, problems[1].prompt, limit))


# %% [markdown]
# Twelve tokens end in the middle of the first line, and the answer `9+6+6` is a guess. Sixty tokens are enough for the third line.
#
# The package's version does all problems at once and keeps the cache. Both must give the same text. A test also catches a planted bug:

# %%
def test_a_cut_thought_answers(force) -> None:
    """A thought of 12 tokens is cut, and an answer follows."""
    reply, cut = force(zero, problems[1].prompt, 12)
    assert cut and problems[1].answer(reply) is not None


def only_stops(policy, prompt, limit):
    """A planted bug: nothing ends the thought, so the model goes on thinking."""
    begun = "<think>" + write(policy, prompt + "<think>", limit)
    return begun + write(policy, prompt + begun, 32), True

# %%
bites(test_a_cut_thought_answers, force, only_stops)
for limit in (12, 30, 60):
    theirs = budget_forcing(zero, problems[:4], limit, None)
    ours = [force(zero, p.prompt, limit) for p in problems[:4]]
    assert ours == list(zip(theirs.replies, theirs.cut, strict=True))
print("12 replies, and whether they were cut: all the same")

# %% [markdown]
# Now the record. It is tempting to conclude from the first two columns that *longer thoughts are better*. But a thought that is cut has not finished what it was doing, so we look at those problems separately.

# %% tags=["hide-input"]
LIMITS = (8, 16, 32, 64, 96, 160)
thoughts = {b: rows_of("forced", model="nano-zero", budget=b, when="never") for b in LIMITS}


def split() -> list:
    """Rows of the table: each limit's cuts, and what is right of both kinds."""
    rows, before, had_cut = [], [], []
    for limit, of in thoughts.items():
        ok, cut = bits(of), bits(of, "cut")
        kinds = [[o for o, c in zip(ok, cut, strict=True) if c == kind] for kind in (1, 0)]
        shares = [f"{mean(kind):.0%}" if len(kind) > 20 else "-" for kind in kinds]
        if rows:  # a thought that had ended is the same under a higher limit
            assert all(o == b for o, b, c in zip(ok, before, had_cut, strict=True) if not c)
        before, had_cut = ok, cut
        rows.append([limit, f"{mean(ok):.0%}", f"{mean(cut):.0%}", *shares])
    return rows


forced_rows = split()
table(["limit, tokens", "right", "cut", "right, of those cut", "right, of the others"],
      forced_rows, "nano-zero, greedy, 432 problems. A dash: fewer than 20 problems.")

# %% [markdown]
# Thoughts that ended early are nearly always right. Longer thoughts belong to harder problems, so this share falls to 87 %. Thoughts that were cut are mostly wrong.
#
# **All of the gain comes from thoughts that the lower limit cut.** A thought that had ended gains nothing, because a greedy thought is the same under every limit, up to its cut.
#
# ### What does one new line do?
#
# So a higher limit does not lengthen a thought that ends by itself. The second way of budget forcing does. On our worksheets we put a new line in the place of the end, because a new line begins a new attempt.
#
# When may a thought end? The authors of s1 never let it end the first time: we call this rule *always*. Our own variant acts *in doubt*: it adds the line only when the thought does not end with *yes*. Neither rule asks the verifier.
#
# The base model gives up after one attempt, even where it has just written *no*, and solves 25 % of the problems. How many with one new line in doubt?

# %% tags=["prediction", "hide-input"]
guess = None
question = "nano-base with one new line in doubt: right, in % of 432 problems?"
one_line = predict("search.one_line", question, guess, example=40, scale="difference",
                   tolerance=40)  # fmt: skip
one_line

# %% [markdown]
# Here is one new line, without the package:

# %%
def insist(policy, prompt: str, limit: int, may_end) -> tuple[str, bool]:
    """`force`, and a new line where the thought would end and may not."""
    thought, closed, _ = write(policy, prompt + "<think>", limit).partition("</think>")
    left = limit - len(policy.tokenizer.encode(thought + "\n"))
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

# %% tags=["figure", "hide-input"]
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
places = (0, 1, 2, 3.6, 4.6, 5.6)
fig, ax = plt.subplots(figsize=(4.7, 2.9))
for k, (x, (_, _, shown, *_)) in enumerate(zip(places, waited, strict=True)):
    middle, half = map(float, shown.split(" ± "))
    _ = ax.bar(x, middle, yerr=half, capsize=3, color=("0.6", "C0", "C1")[k % 3])
    _ = ax.text(x, middle + half + 2, f"{middle:.0f}", ha="center", fontsize=9)
_ = ax.set_xticks(places, [when for _, when, *_ in waited])
_ = ax.set(ylabel="right, %", ylim=(0, 105))
for x, name in ((1, "nano-base"), (4.6, "nano-zero")):
    _ = ax.text(x, -22, name, ha="center", va="top", weight="bold")
show(fig, "One new line: never, in doubt and always. Bars: right answers of 432; whiskers: "
     "95 % intervals over problems.",
     "; ".join(f"{model}, {when}: {shown} %" for model, when, shown, *_ in waited) + ".")
table(["model", "one new line", "right, %", "cut at 160", "million FLOPs"], waited,
      "All 432 problems, greedy, a limit of 160 tokens. Never: the thought ends where the "
      "model ends it.")

# %%
for model, when in itertools.product(("nano-base", "nano-zero"), ("in doubt", "always")):
    before = bits(rows_of("forced", model=model, budget=160, when="never"))
    always_on = rows_of("forced", model=model, budget=160, when=when, waits=1)
    pairs = list(zip(before, bits(always_on), bits(always_on, "cut"), strict=True))
    lost, right = [cut for a, b, cut in pairs if a > b], sum(before)
    gained, wrong = sum(a < b for a, b, _ in pairs), len(before) - right
    print(f"{model}, {when}: repairs {gained} of {wrong} wrong answers ({gained / wrong:.0%})"
          f",\n  loses {len(lost)} of {right} right ones ({len(lost) / right:.0%}), "
          f"{lost.count(0)} of them uncut")
# After the loop, always_on is that of nano-zero with the rule "always".

# %% [markdown]
# Alone, all 48 thoughts of nano-base have one line. After one new line most have several, so the model does not stop at the second attempt.
#
# **One new line in doubt lifts the base model from 25 % right answers to about 82 %**, for twice the FLOPs. The interval allows nano-zero a lead of up to 11.5 points, so most of the skill, but perhaps not all of it, was already in the base. Our guess at the reason: some authors of the tiny web persist until they have a solution, and a second line makes the text look like one of theirs.
#
# With the rule *in doubt* nano-zero gains nothing. The rule *always* harms it. Its thoughts show why:

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
had = [k for k in whole if any(says_yes(line) and not faults(problems[k], line)
                               for line in thought_of(forced.replies[k]).split("\n"))]
print(f"always: {len(spoilt)} right replies became wrong, {len(whole)} of them uncut; "
      f"of these, {len(had)} had written a right line. One:")
read_out(problems[whole[0]], forced.replies[whole[0]])

# %% [markdown]
# A wrong thought ends with *yes* too, so a rule that reads the verdict finds no doubt. In the second worksheet, the third line had found the solution. The rule *always* made the model write a fourth line. That line uses 9 twice and leaves out 3, and the model handed it in.
#
# In the record, too, most of the answers that *always* loses have a thought that is not cut. So a longer thought helps a model that gave up too early. It harms one that had already found the answer.
#
# ## Many replies: which one should be handed in?
#
# ### What is their most frequent answer?
#
# Instead of one long thought, we can draw many replies and choose one. If we cannot check them, the most frequent answer is a good choice where right replies agree more often than wrong ones. This idea is called **self-consistency** {cite}`wang2022selfconsistency`. Of $n$ replies $y_1, \dots, y_n$ to the prompt $x$, it hands in the answer with the most votes,
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
# By hand: of seven replies to *make 6 from 3, 9, 6*, three answer `9-6+3`, two answer `9+6-3`, one answers `3+6+9`, and one has no answer. Then `9-6+3` has three votes of six.

# %% tags=["naive"]
def vote(answers):
    """The most frequent answer; of equals, the one that came first; no answer, no vote."""
    votes = {}
    for answer in answers:
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1
    return max(votes, key=votes.get) if votes else None

# %%
seven = ["9+6-3", "9-6+3", "9-6+3", "9+6-3", "3+6+9", "9-6+3", None]
for answer, votes in Counter(filter(None, seven)).most_common():
    print(f"{votes} for {answer}, which is {evaluate(answer)[0]}")
print("the vote:", vote(seven))


# %%
def test_silence_is_no_vote(vote) -> None:
    """Three of six replies give no answer, and two agree."""
    assert vote([None, "3", None, None, "5", "5"]) == "5"


def most_common(answers):
    """A planted bug: None votes too."""
    return Counter(answers).most_common(1)[0][0]


bites(test_silence_is_no_vote, vote, most_common)

# %% [markdown]
# All replies to one problem share a **total** of tokens. (The package calls both the total and the limit `budget`.) A reply may take 96 tokens, so the package starts another one only while 96 tokens are left. To save time it draws several at once when all of them are sure to fit. So short replies leave room for more replies. Our five lines and its `vote` must hand in the same answers. (`# tolerance: 3%` tells our CI how far a printed number may differ elsewhere.)

# %%
# tolerance: 3%
def replies_within(policy, prompt: str, total: int, longest: int, generator) -> list[str]:
    """Replies to one prompt, as long as a longest one still fits."""
    replies, spent = [], 0
    while spent + longest <= total:
        found = policy.sample([prompt], 1, longest, 1.0, generator)
        replies += found.texts
        spent += found.lengths.item()
    return replies


for p in problems[:6]:
    theirs, _, _ = draw_within(zero, [p], budget=190, longest=96, temperature=1.0,
                               generator=seeded(), rows=1024)  # fmt: skip
    assert replies_within(zero, p.prompt, 190, 96, seeded()) == theirs[0]
print("6 problems, 190 tokens each: the same replies as the package's")

# %% tags=["agree"]
# tolerance: 3%
drawn, spent, _ = draw_within(zero, problems, budget=640, longest=96, temperature=1.0,
                              generator=seeded(), rows=1024)  # fmt: skip
answers = [[p.answer(r) for r in of] for p, of in zip(problems, drawn, strict=True)]
theirs = [None if (k := voting.vote(of)) is None else of[k] for of in answers]
vote_gap = sum(vote(of) != b for of, b in zip(answers, theirs, strict=True))
assert vote_gap == 0 and max(spent) <= 640
print(f"{mean(map(len, drawn)):.1f} replies per problem; largest difference: {vote_gap}")

# %% tags=["figure", "hide-input"]
# tolerance: 3%
votes = [(problems[k], Counter(a for a in answers[k] if a), answers[k].count(None))
         for k in (1, 8)]  # fmt: skip
fig, axes = plt.subplots(2, 1, figsize=(4.7, 3.4), height_ratios=[len(v) for _, v, _ in votes])
said = []
for ax, (p, of, silent) in zip(axes, votes, strict=True):
    ok = [p.score(f"<think></think><answer>{a}</answer>") for a in of]
    bars = ax.barh([*of], [*of.values()], color=["C0" if o else "C1" for o in ok])
    _ = ax.bar_label(bars, padding=3)
    _ = ax.set(title=f"{p.prompt.strip()} No answer: {silent}", xlim=(0, 10))
    ax.invert_yaxis()
    said += [f"{p.prompt.strip()} {a}: {n}, {'right' if o else 'wrong'}"
             for (a, n), o in zip(of.items(), ok, strict=True)]  # fmt: skip
_ = axes[1].set_xlabel("votes")
show(fig, "Two votes of nano-zero: right answers in blue, wrong ones in orange. The longest "
     "bar wins; of equals, the one that came first.",
     "Bars of votes by answer. " + "; ".join(said) + ".")

# %% [markdown]
# In the first problem, right replies agree. In the second problem several replies are right, but each is written in another way and gets one vote. Two replies give the same wrong answer, which wins. (`6+3-1` and `3+6-1` could vote together, without a verifier. Neither this page nor the record does it.)
#
# How good is a single drawn reply, without a vote?

# %%
# tolerance: 3%
every = [(p, r) for p, of in zip(problems, drawn, strict=True) for r in of]
finished = [thought_of(r) for _, r in every if "</think>" in r]
print(f"of {len(every)} drawn replies to the 48 problems, "
      f"{mean(p.score(r) for p, r in every):.0%} are right,\n  "
      f"and {1 - len(finished) / len(every):.0%} have a thought that is cut; "
      f"{mean(map(says_yes, finished)):.0%} of the others end in yes")

# %%
# tolerance: 3%
# The record votes on answers as they were written, with all 432 problems.
nine_votes = bits(rows_of("drawn", model="nano-zero", judge="majority", budget=640))
vote_gain.reveal(round(100 * (mean(nine_votes) - mean(greedy)), 1))
print(f"vote, {mean(nine_votes):.1%}, minus one greedy answer, {mean(greedy):.1%}: "
      f"{minus(nine_votes, greedy)}")


# %% [markdown]
# **The vote of nine is better than one greedy answer**, although a single drawn reply is much worse.
#
# ### Is the thought's own *yes* a good judge?
#
# A vote treats all replies alike. **Best-of-n** draws the same replies and asks a judge which is best. The cheapest judge is the last word of the thought:

# %%
def own_yes(questions, replies) -> Judged:
    """A judge that believes the thought: it costs nothing, and can be wrong."""
    return Judged([float(says_yes(thought_of(r))) for r in replies], 0.0)

# %%
def best(question, replies, judge):
    """The reply that the judge likes best; of equals, the one that came first."""
    worths = judge([question] * len(replies), replies).values
    return replies[worths.index(max(worths))]


def test_the_first_of_equals(best) -> None:
    """Two thoughts say yes: the first of them is handed in."""
    assert best(None, ["1 no", "2 yes", "3 yes"], own_yes) == "2 yes"


def the_last_of_equals(question, replies, judge):
    """A planted bug: of equals, the last one wins."""
    return best(question, replies[::-1], judge)


bites(test_the_first_of_equals, best, the_last_of_equals)

# %%
# tolerance: 3%
of_base, _, _ = draw_within(base, problems, 320, 96, 1.0, seeded(), 1024)
for p, of in ((problems[k], of_base[k]) for k in (2, 5)):
    print(p.prompt.strip())
    for reply, value in zip(of, own_yes([p] * len(of), of).values, strict=True):
        verdict = "right" if p.score(reply) else "wrong"
        print(f"  worth {value:.0f}: {p.answer(reply)}, {verdict}")
    print("  handed in:", p.answer(best(p, of, own_yes)))
ours = [best(p, of, own_yes) for p, of in zip(problems, of_base, strict=True)]
assert ours == liked_best(own_yes, problems, of_base)[0]
print("48 choices among replies of nano-base: all as the package chooses")

# %% [markdown]
# In the first problem own *yes* finds a right reply. In the second one it misses the right reply, whose verdict is 不对, and a wrong sum says *yes*.
#
# ### Why not simply ask the verifier?
#
# Countdown has a free checker: the numbers and the target stand in the prompt, and anybody could run the verifier. **We forbid it on test problems, to stand for problems that have no checker.** There it only says how often *any* reply is right. No way of choosing can do better, so this is the **ceiling**.

# %%
print("recorded, within 320 tokens per problem:")
for name in ("nano-base", "nano-zero"):
    once = bits(rows_of("forced", model=name, budget=160, when="never"))
    for judge in ("own yes", "verifier"):
        marks = bits(rows_of("drawn", model=name, judge=judge, budget=320))
        print(f"{name}, best by {judge:8}: {mean(marks):.1%}; minus one greedy answer: "
              f"{minus(marks, once)}")

# %% [markdown]
# **Own *yes* helps the base model, whose thoughts often end with *no*. On nano-zero it only hands in the first finished reply**, because nearly every finished thought of nano-zero ends with *yes*.
#
# The verdict of the verifier leaks easily. With one `problem.score` in the wrong function, a method looks as good as the ceiling. So the package gives `Blind` problems to a search that must not check. They have a prompt and a way to read an answer, but no `score`. A test catches a planted leak:

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
print(f"{len(pairs)} pairs")
assert not {(*sorted(p.numbers), p.target) for p in posed} & {*same}  # nothing held out

# %%
# tolerance: 3%
print("a pair, first the better reply:")
first = next(p for p in posed if p.prompt == pairs[0].prompt)
for reply in pairs[0].replies:
    read_out(first, reply)


# %%
# tolerance: 5%
def trained(pairs) -> RewardModel:
    """A reward model that starts as nano-base and has seen each pair once."""
    model = RewardModel(base)
    _ = train_reward_model(model, pairs, RewardModelConfig(batch=16), progress=False)
    return model

# %%
# tolerance: 5%
preferred = trained(pairs)


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
    for k in range(8):  # where the reply belongs to the prompt
        _ = ax.add_patch(plt.Rectangle((k - 0.5, k - 0.5), 1, 1, fill=False, ec="C1", lw=2))
    _ = ax.set_xticks(range(8), [p.target for p, _ in owners[:8]])
    _ = ax.set_yticks(range(8), [p.answer(r) for p, r in owners[:8]])
    _ = ax.set(xlabel="target of the prompt", ylabel="answer of the reply")
    apart = (scores.amax(1) - scores.amin(1)).mean()
    highest = sum(scores[:, k].argmax() == k for k in range(8))
    said = (f"The scores of one row differ by {apart:.1f} on average. In {highest} of 8 "
            "columns the highest score is in the frame.")  # fmt: skip
    show(fig, title, f"Scores, one row for each reply, one column for each prompt. {said}")
    print(said)


picture(preferred.score, "Learned from pairs of one prompt: all scores of a row are nearly "
        "the same. In the orange frames, the reply belongs to the prompt.")
read_out(*owners[under_each(preferred.score, owners[:8]).mean(1).argmin()])

# %% [markdown]
# **The judge hardly reads the problem.** A reply gets about the same score under every prompt. The reason is probably its training: both replies of a pair belong to the *same* prompt, so the judge can tell the better reply without reading the prompt.
#
# The row with the lowest scores belongs to the worksheet above, whose answer is right but whose verdict says 不对 (*not right*).
#
# So the training would have to contain replies that are wrong only because of the prompt: under each prompt, a right reply to it, and a right reply to another problem. We add such pairs, made of short replies with one line, and give the old pairs twice:

# %%
# tolerance: 25%
rng = random.Random(0)
owned = [(p, r) for p, of in zip(posed, right, strict=True) for r in of if "\n" not in r]
swapped = [Ranking(p.prompt, (r, other)) for p, r in owned
           for _, other in rng.sample(owned, 6) if not p.score(other)]  # fmt: skip
mixed = 2 * pairs + swapped  # twice, so that sums are not forgotten
reading = trained(mixed)
print(f"{len(pairs)} pairs, {len(swapped)} with a swapped reply; own reply above another's:")
for title, model in (("pairs of one prompt", preferred), ("and swapped replies", reading)):
    middle, half = clustered(prefers_its_own(model.score), [p for p, _ in owners])
    print(f"  {title}: {100 * middle:.0f} ± {100 * half:.0f} %, over {len(owners)} problems")

# %% tags=["figure", "hide-input"]
# tolerance: 60% + 3
picture(reading.score, "Learned with swapped replies too: the same replies, and now the score "
        "of a reply changes with the prompt. The frame is seldom the highest of its column.")

# %% [markdown]
# **With swapped replies, the score depends on the prompt.** But the right reply wins only in about two of three comparisons. Without swapped replies it is about half, like a coin. (It saw six times as many pairs. As a control, train a third judge, `trained(6 * pairs)`, and give its `score` to `prefers_its_own`, which takes about half a minute.) A test tells this judge from two that do not read the problem. Then both judges choose among the replies of nano-base:

# %%
# tolerance: 25%
def test_it_reads_the_problem(score) -> None:
    """The right reply to a problem is above right replies to others, in most comparisons."""
    assert mean(prefers_its_own(score)) > 0.6

# %%
# tolerance: 25%
def with_swaps(prompts, replies):
    """The judge that also learned from swapped replies."""
    return reading.score(prompts, replies)


def without_swaps(prompts, replies):
    """A bug that was in our first judge: no pair needs the prompt."""
    return preferred.score(prompts, replies)


def prompt_noise(prompts, replies):
    """A planted bug: the score changes with the prompt, but not with what it asks."""
    noise = torch.tensor([random.Random(prompt).gauss(0, 1) for prompt in prompts])
    return preferred.score(prompts, replies) + noise


for bug in (without_swaps, prompt_noise):
    bites(test_it_reads_the_problem, with_swaps, bug)


# %%
# tolerance: 25% + 10
def chosen_right(model) -> list[float]:
    """Which problems are right when this judge chooses among the replies of nano-base."""
    found, _ = liked_best(lambda questions, replies: Judged(
        model.score([q.prompt for q in questions], replies).tolist(), 0.0), problems, of_base)
    return [p.score(r) for p, r in zip(problems, found, strict=True)]


with_, without = map(chosen_right, (reading, preferred))
print(f"{sum(with_):.0f} of 48 with swaps, {sum(without):.0f} without;", minus(with_, without))

# %% [markdown]
# 48 problems cannot tell which judge chooses better. Our guess is that most wrong replies of nano-base do address their own problem, and contain a slip in a sum that the judge still overlooks.
#
# A learned judge is also not free. It is as large as the policy and reads the prompt again with *every* reply. Here is the cost for nano-zero within 640 tokens, by hand:

# %%
judging = rows_of("drawn", model="nano-zero", judge="learned", budget=640)
replies, tokens = (mean(r[what] for r in judging) for what in ("samples", "tokens"))
drawing = cost(rows_of("drawn", model="nano-zero", judge="majority", budget=640))
counted = cost(judging) - drawing
print(f"recorded: {replies:.1f} replies, {tokens:.0f} tokens in all; million FLOPs: "
      f"{drawing:.0f} to draw them, {counted:.0f} to judge them")

# %%
def judging_cost(replies: float, tokens: float) -> float:
    """Million FLOPs; weights, and `read` tokens of a prompt, are those of the first table."""
    return 2 * weights * (read * replies + tokens) / 1e6


def test_near_the_count(judging_cost) -> None:
    """Attention is missing, but no more than a fifth of the count."""
    assert 0.8 < judging_cost(replies, tokens) / counted < 1


def without_prompts(replies, tokens):
    """A planted bug: the judge's prompts are not counted."""
    return judging_cost(0, tokens)


bites(test_near_the_count, judging_cost, without_prompts)
print(f"2 x {weights:,} weights x ({replies:.1f} x {read:.0f} + {tokens:.0f}) tokens = "
      f"{judging_cost(replies, tokens):.0f} million FLOPs")

# %% [markdown]
# Judging costs more than drawing.
#
# ## What buys most for the same FLOPs?
#
# The recorded experiment puts all methods on one axis. Its totals are 160 to 1,280 tokens per problem.
#
# **The recorded judge is another one.** It has the same size, and no swapped replies. For each model and seed it learned from pairs of 192 training problems, which [A tree of steps](17b_trees.ipynb) explains how to make. Its training is not on the axis. Its weights were not kept, so whether it reads the problem was not tested: use the heat maps to understand our judge, not the recorded curve.
#
# ### Who should choose for the finished reasoner?

# %% tags=["hide-input"]
def curve(part: str, model: str, judge: str) -> dict:
    """FLOPs per problem, marks of all problems and replies, total by total."""
    budgets = sorted({r["budget"] for r in rows_of(part, model=model, judge=judge)})
    each = [rows_of(part, model=model, judge=judge, budget=b) for b in budgets]
    return {"flops": [cost(of) for of in each], "marks": [bits(of) for of in each],
            "replies": [mean(r["samples"] for r in of) for of in each],
            "tokens": budgets}  # fmt: skip


def at(of: dict, flops: float) -> list[float]:
    """Each problem's mark where the curve has so many FLOPs, between two totals."""
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
_ = ax.plot(cost(always_on), 100 * mean(bits(always_on)), "X", color="black", ms=8)
_ = ax.set(xscale="log", ylabel="right, %", xlim=(45, 2200))
_ = ax.set_xlabel("million FLOPs per problem")
_ = ax.set_xticks([50, 100, 200, 500, 1000, 2000], [50, 100, 200, 500, "1,000", "2,000"])
ax.minorticks_off()
direct_labels(ax)
show(fig, "nano-zero. Star: one greedy answer. Cross: one new line, always. Lines: "
     "replies drawn from the prompt, within "
     "160 to 1,280 tokens, and who chooses among them.",
     "Right answers against FLOPs per problem. One greedy answer: "
     f"{100 * mean(greedy):.0f} % for {once:.0f} million; one new line, "
     f"always: {100 * mean(bits(always_on)):.0f} % for {cost(always_on):.0f} million. "
     + "; ".join(said) + ".")

# %% tags=["hide-input"]
def by_budget(model: str):
    """The table of one model: what is right by judge, and each total's replies and cost."""
    of = {judge: curve("drawn", model, judge) for judge in JUDGES}
    rows = [[label, *(f"{mean(marks):.1%}" for marks in of[judge]["marks"])]
            for judge, label in JUDGES.items()]  # fmt: skip
    rows.append(["replies", *(f"{n:.1f}" for n in of["majority"]["replies"])])
    for what, judge in (("million FLOPs", "majority"), ("with the learned reward", "learned")):
        rows.append([what, *(round(flops) for flops in of[judge]["flops"])])
    head = [model, *(f"{budget:,}" for budget in of["majority"]["tokens"])]
    return table(head, rows, f"{model}: right answers of 432, by total of tokens; replies and "
                 "million FLOPs per problem. The learned reward also reads the replies.")


voted = curve("drawn", "nano-zero", "majority")
print(f"nano-zero, minus one greedy answer ({mean(greedy):.1%}):")
print("  one longer thought (a new line, always):", minus(bits(always_on), greedy))
for budget, flops, marks in zip(voted["tokens"], voted["flops"], voted["marks"], strict=True):
    print(f"  a vote within {budget:5,} tokens: {minus(marks, greedy)}, "
          f"for {flops / once:.1f} times the FLOPs")
for judge in ("learned", "own yes"):
    marks = curve("drawn", "nano-zero", judge)["marks"][2]
    print(f"  {JUDGES[judge]}, 640, minus one greedy answer: {minus(marks, greedy)};\n"
          f"  vote minus {JUDGES[judge]}: {minus(voted['marks'][2], marks)}")
by_budget("nano-zero")

# %% [markdown]
# **The vote works for the finished reasoner, if there are enough replies.** With a total of 160 tokens (1.6 replies on average) it is 18 points below one greedy answer, because drawn replies are less often right, and some are cut. With four, we cannot tell the vote from one greedy answer. With nine it is better, and at 1,280 tokens it reaches about 95 %, which is within 5 points of the ceiling. **From 640 tokens on, the vote is also better than own *yes* and the learned reward.** At 640 tokens we cannot tell these two from one greedy answer.
#
# ### Who should choose for the base model?

# %% tags=["widget"]
series = {}
for judge, label in JUDGES.items():  # the colours are those of the figure of nano-zero
    of = curve("drawn", "nano-base", judge)
    series[label] = {"x": of["flops"], "y": [100 * mean(m) for m in of["marks"]]}
for label, when in (("one greedy answer", "never"), ("one new line in doubt", "in doubt")):
    of = [row for row in rows_of("forced", model="nano-base", budget=160, when=when)
          if row["waits"] < 2]  # fmt: skip
    series[label] = {"x": [cost(of)], "y": [100 * mean(bits(of))]}
doubting = cost(of)
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
print(f"  minus own yes, {by_yes['flops'][2]:.0f} million:",
      minus(in_doubt, by_yes["marks"][2]))
print("  minus a vote at 880 million:",
      minus(in_doubt, at(curve("drawn", "nano-base", "majority"), 880)))
by_budget("nano-base")

# %%
# tolerance: 10%
marks, outvoted = [], []
for p, of in zip(problems, of_base, strict=True):
    marks += [p.score(r) for r in of]
    if any(map(p.score, of)):
        wrong_votes = Counter(a for r in of if (a := p.answer(r)) and not p.score(r))
        outvoted.append(max(wrong_votes.values(), default=0) > sum(map(p.score, of)))
print(f"{mean(marks):.0%} right; outvoted by one answer: {sum(outvoted)} of {len(outvoted)}")

# %% [markdown]
# **For the base model, one new line in doubt gives the most for its cost.** We cannot tell it from own *yes* at 6 times its FLOPs, nor from the learned reward at about 30 times. The vote is weak here, because only about a third of nano-base's replies are right. The cell above counts the problems where one wrong answer has more votes than all right replies together.
#
# **The learned reward leads own *yes* at equal tokens, but not at equal FLOPs**, because it must read every reply. At 200 million FLOPs it is far behind, and from about 450 million on we cannot tell them apart.
#
# For both models, from 640 tokens on, a right reply is among the drawn ones for 97 % or more of the problems. So a better way to choose would gain more than further replies.
#
# Could a search spend the same tokens better? [A tree of steps](17b_trees.ipynb) asks this.
#
# ## What DeepSeek did
#
# DeepSeek-R1 {cite}`deepseekr1` reports two accuracies. The first is pass@1, the share of right answers among $n$ replies that are drawn to each problem,
#
# $$
# \text{pass@1} = \frac{1}{n} \sum_{i=1}^{n} [a_i \text{ is right}],
# $$
#
# and the second is that of the vote. In the first version of its report, a vote among 64 replies lifts R1-Zero on AIME 2024, a mathematics contest, from a pass@1 of 71.0 % to 86.7 %. DeepSeek trained by reward on whole answers, and let the thoughts grow. We only changed what happens after training.

# %% [markdown]
# ## What others report
#
# On far larger models (ours have 0.4 million parameters, of which 309,216 work on a token, without the embedding):
#
# - s1 {cite}`muennighoff2025s1`: budget forcing takes s1-32B from 50 % to 57 % on AIME 2024.
# - Self-consistency {cite}`wang2022selfconsistency`: PaLM-540B gains 17.9 points on GSM8K.
# - *Large Language Monkeys* {cite}`brown2024monkeys`: on SWE-bench Lite, 250 attempts of DeepSeek-Coder-V2 (236B) solve 56 %, and one attempt 15.9 %. This is with a verifier; without one, voting and reward models stop improving after several hundred samples.
#
# ## What went wrong, or did not help
#
# **Two new lines ruin both models under the rule *always*.** A thought that has found its solution must go on again, and more thoughts are cut at the limit. In doubt, more permitted lines change nothing, because after one line no thought ended without a *yes* before its limit. The count of added lines shows it:

# %%
for model in ("nano-base", "nano-zero"):
    for when, waits in itertools.product(("in doubt", "always"), (1, 2, 4)):
        of = rows_of("forced", model=model, budget=160, when=when, waits=waits)
        print(f"{model}, {when}, up to {waits}: {mean(bits(of)):.1%} right, "
              f"{mean(bits(of, 'cut')):.0%} cut, {mean(r['waited'] for r in of):.2f} added")
by_learned = curve("drawn", "nano-zero", "learned")
print("nano-zero, learned reward, 1,280 tokens minus 640:",
      minus(by_learned["marks"][-1], by_learned["marks"][-2]))

# %% [markdown]
# With two or more lines *always*, about half of the thoughts, or more, are cut at 160 tokens, so part of the loss is truncation.
#
# **More replies did not help a learned judge on nano-zero.** We see no gain from 640 tokens to 1,280. Our guess is that more replies contain more that please the judge without being right.
#
# **We could not test everything.** The record has one temperature, one limit of 96 tokens for drawn replies, and a learned judge as small as the policy.
#
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
    sums = {answer: 0 for answer in answers if answer is not None}
    for answer in sums:
        sums[answer] = sum(w for a, w in zip(answers, worths, strict=True) if a == answer)
    return max(sums, key=sums.get) if sums else None


check("search.weighted_vote", weighted_vote_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Where does a gain come from?
# :label: ex-17-gain
#
# *15 minutes.* Write `gain(right, cut, longer, longer_cut)`, which divides the gain of a higher limit into three parts: from thoughts that had ended, from those that were cut and end now, and from those that both limits cut. `check("search.gain", my_gain)` knows four mistakes by name. Apply it to nano-zero at limits of 64 and 160. What must the first part be? Then compare *always* with *never*: which part holds the loss?
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
forced_on = [bits(always_on, what) for what in ("right", "cut")]
for of in (asked, asked[2:] + forced_on):
    print("had ended: {:+.1%}; cut, ends now: {:+.1%}; cut by both: {:+.1%}".format(
        *gain_solution(*of)))
check("search.gain", gain_solution)

# %% [markdown]
# The first part is 0, because a thought that ended before the lower limit is the same greedy thought under the higher one. With *always*, the whole loss is in the first part, among thoughts that had ended by themselves.
#
# ```{solution-end}
# ```
#
# ```{exercise} Cheat the judges
# :label: ex-17-cheat
#
# *10 minutes.* Write one wrong reply to *make 6 from 3, 9, 6* that own *yes* likes best, and one right reply that it rejects. Then let `learned` score both. Which of the vote, own *yes* and the verifier can a single reply not cheat?
#
# **Hint.** Own *yes* reads only the end of the thought (*yes* or 对了). `own_yes([problems[1]] * 2, [first, second])` judges your replies, and `learned` takes the same arguments.
# ```
#
# ```{solution-start} ex-17-cheat
# :class: dropdown
# ```

# %%
# tolerance: 25% + 0.3
wrong_yes = "<think>9-3=6?6 yes</think><answer>9-3</answer>"
right_no = "<think>9-6+3=3+3=6?6 no</think><answer>9-6+3</answer>"
for title, judge in (("own yes", own_yes), ("learned", learned), ("verifier", verify)):
    first, second = judge([problems[1]] * 2, [wrong_yes, right_no]).values
    print(f"{title:8}: wrong reply {first:.1f}, right reply {second:.1f}")

# %% [markdown]
# The wrong reply leaves out one number, and its *yes* convinces own *yes*. The right one says *no* of a right sum. Only the verifier, which reads numbers and target, is safe from a single reply. The vote is safe only where another answer has at least two more votes: among replies that all differ, the first one wins.
#
# ```{solution-end}
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
# **For the finished reasoner, it is many replies and a vote, from somewhere between 3 and 7 times the FLOPs on.** Within 1,280 tokens the vote gains 9.3 ± 4.5 points over one greedy answer.
#
# **For the base model, it is the longer thought.** One new line in doubt takes it from 25 % to about 82 %, for twice the FLOPs.
#
# Why does the same line spoil one and help the other? With the rule *always*, it repairs 254 of the base model's 323 wrong answers (79 %), and only 7 of the reasoner's 61 (11 %). It loses 180 of the reasoner's 371 right answers (49 %), and 37 of the base model's 109 (34 %). In doubt, the base model loses only 7 and gains 251. So the line helps where the thought ends with *no*. Where it ends with *yes*, it replaces an answer that was usually right.
#
# ### Yours to keep
#
# The next cell needs nothing from above but its imports. Pose problems of your own, with three numbers up to 12 and a target up to 20, and choose how much to spend. (The receipt after it gives processor time.)

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
# A vote lifts the finished reasoner from 86 % to **about 95 %**, for about 15 times the FLOPs of one greedy answer. With a total of 160 tokens it loses about 18 points, and with four replies we cannot tell. A higher limit helps only thoughts that were cut. On the reasoner, own *yes* and a learned reward choose worse than the vote from 640 tokens on. The learned reward that this page trains hardly reads the problem, probably because no pair in its training required it.
#
# - I can now say of a gain at a higher limit whether the thoughts ended, or were cut later.
# - I can now write a vote and best-of-n, and say which judge saw the verifier.
# - I can now test whether the score of a learned judge depends on the problem, and make pairs that need it.
# - I can now put methods with different judges on one axis of FLOPs, and give their difference with an interval.
#
# ## Read on
#
# - Snell and others {cite}`snell2024scaling`, section 5, on when search helps and when it is fooled by its reward.
# - The code of this chapter in the package: `minidsk/infer/search` (`account.py`, `forcing.py`, `voting.py`).
# - The second page of this chapter: [A tree of steps](17b_trees.ipynb). Next: [chapter 18](18_fast_inference.ipynb) makes the same tokens in less time.
