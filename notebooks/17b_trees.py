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
# # A tree of steps
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/17b_trees.ipynb)
#
# [Thinking longer](17_thinking_longer.ipynb) drew many replies to a problem, and each began at the prompt. But some thoughts begin better than others. **If we draw several continuations of a good beginning, do we find more right answers for the same number of operations?**
#
# - **You will build** a Monte Carlo tree search in twenty lines, and run the same lines on a toy tree, on a tree with a known best leaf, and on thoughts of a language model. Then a judge learns from such trees.
# - **You need** PyTorch and [Thinking longer](17_thinking_longer.ipynb), which introduces the task, the two models and best-of-n.
# - **It takes** about a minute of one CPU core, longer on Colab or on a shared machine, and an hour to read. It needs no GPU. The large comparison was recorded earlier, also on a CPU.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import math
import random
import re
import time
from collections import Counter
from statistics import mean

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.diagrams import diagram, show, table
from minidsk.homework import bites, check, describe, predict, receipt
from minidsk.infer.search.account import verify
from minidsk.infer.search.mcts import TreeConfig, text_of, tree_search
from minidsk.infer.search.tree import RULES, Node, back_up, grow, select
from minidsk.presets import nano
from minidsk.report.interval import apart
from minidsk.rl.harvest import FAR
from minidsk.rl.process import ProcessJudge, step_rankings
from minidsk.rl.reward_model import RewardModel, RewardModelConfig, train_reward_model
from minidsk.tasks.expression import evaluate
from minidsk.widgets import Curve

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)
task = nano().make_task("test")
held_out = list({p.prompt: p for p in (task[i] for i in range(4096))}.values())[:432]
same = Counter((*sorted(p.numbers), p.target) for p in held_out)
problems = held_out[:48]
base = minidsk.load_policy("nano-base")

# %% [markdown]
# ## Which step should be tried next?
#
# The task is **Countdown**: make a target from three numbers, and use each exactly once. A reply is a worksheet, with one attempt per line. A **step** is such a line, and the replies to one problem become a tree. **Monte Carlo tree search** (MCTS) grows it try by try. For each step it keeps the number of visits $n$, and the total worth $w$ of the replies that went through it. Their ratio $Q = w/n$ is the step's mean worth.

# %% tags=["diagram", "hide-input"]
diagram("tree_of_steps")

# %% [markdown]
# The search should prefer steps that did well, but also try steps that were rarely tried. **UCT** {cite}`kocsis2006uct` goes to the step with the largest
#
# $$
# Q + c \sqrt{\frac{\ln N}{n}},
# $$
#
# where $N$ is the number of visits of the node above. In the diagram, with $c = 1$, the left step has $\frac12 + \sqrt{(\ln 3)/2} = 1.24$, and the right one $0 + \sqrt{\ln 3} = 1.05$. So the search goes to the left step.

# %%
def uct(w: float, n: int, above: int, c: float) -> float:
    """A step's mean worth, and a bonus that shrinks with its visits."""
    return w / n + c * math.sqrt(math.log(above) / n)


print(f"left {uct(1, 2, 3, 1.0):.2f}, right {uct(0, 1, 3, 1.0):.2f}")

# %%
def test_the_rarer_step_of_equals(score) -> None:
    """Equal means, eight visits and two: the rarer step is less certain."""
    assert score(1, 2, 10, 1.0) > score(4, 8, 10, 1.0)


def by_mean(w, n, above, c):
    """A planted bug: nothing draws the search to what it rarely tried."""
    return w / n


bites(test_the_rarer_step_of_equals, uct, by_mean)

# %% [markdown]
# ### What do four tries do?
#
# Here is the whole search, with the four stages of the diagram. A **way** is a tuple of steps. `draw` says how a reply goes on after a way, and `worth` judges a whole reply.
#
# In our variant, a node has to be tried `width` times before the search goes down from it, and each roll-out stays in the tree as a whole. (The usual MCTS tries each new step once, and adds one node per roll-out.) `done` holds the ways that the search need not visit again: a finished reply, and a step that was tried `width` times and has only such ways below it.

# %%
def below(n, way) -> list:
    """The ways that were tried and are one step longer, in the order in which they came."""
    return [x for x in n if x[:-1] == way and x]


def uct_search(draw, worth, tries: int, width: int, c: float):
    """Visits and total worth of every way; of each try, where it drew from, and its end."""
    n, w, done, log = Counter(), Counter(), set(), []
    while len(log) < tries and () not in done:
        way = ()
        while n[way] >= width:  # 1. select: go down, where enough was drawn
            steps = [x for x in below(n, way) if x not in done]
            way = max(steps, key=lambda x: uct(w[x], n[x], n[x[:-1]], c))
        end = way + draw(way)  # 2. expand and roll out: draw the rest
        reached = worth(end)  # 3. evaluate
        for k in range(len(end), -1, -1):  # 4. back up: update every step on the way
            n[end[:k]] += 1
            w[end[:k]] += reached
            tried = n[end[:k]] >= width and done.issuperset(below(n, end[:k]))
            if k == len(end) or tried:
                done.add(end[:k])
        log.append((way, end))
    return n, w, log

# %% [markdown]
# The tree of the diagram needs no model: we write down what each try draws. The first step of a try is one of two lines, and the last line decides.

# %%
ROLLED = [("8+7-3", "3-7+8"), ("8+3+7", "7+3-8"), ("8+7-3", "7-3+8"), ("8-7+3",)]


def as_rolled():
    """A draw that gives what is written above, in turn."""
    drawn = iter(ROLLED)
    return lambda way: next(drawn)


def solves(way) -> float:
    """Whether the last line makes 4."""
    return float(evaluate(way[-1])[0] == 4)


rows = []
for tries in range(1, 5):
    n, w, log = uct_search(as_rolled(), solves, tries, width=3, c=1.0)
    way, end = log[-1]
    said = [f"{n[x]}, {w[x]:.0f}, {w[x] / n[x]:.2f}, {uct(w[x], n[x], n[()], 1.0):.2f}"
            if n[x] else "-" for x in (("8+7-3",), ("8+3+7",))]  # fmt: skip
    rows.append([tries, "".join(way) or "the root", ", ".join(end[len(way) :]),
                 f"{solves(end):.0f}", *said])  # fmt: skip
table(["try", "draws from", "and draws", "worth", "8+7-3: n, w, Q, score",
       "8+3+7: n, w, Q, score"], rows, "Four tries to make 4 from 8, 3, 7.")

# %% [markdown]
# After three tries from the root, `8+7-3` has the higher score. So the fourth try goes down there and draws only the rest. Its worth of 1 is added to both nodes on its way, which are `8+7-3` and the root. The other step keeps $w = 0$, and its score rises from 1.05 to 1.18, because the root has one visit more. **So UCT returns to a step that was left alone for long.**
#
# The stage that is easiest to get wrong is the last one:

# %%
def test_the_whole_way_is_told(search) -> None:
    """Four tries of worth 1, 0, 0 and 1: the root knows of all, the left step of three."""
    n, w, _ = search(as_rolled(), solves, 4, 3, 1.0)
    assert (n[()], w[()]) == (4, 2)
    assert (n["8+7-3",], w["8+7-3",]) == (3, 2)


# %%
def tells_the_end_only(draw, worth, tries, width, c):
    """A planted bug: only the end of a try learns what it was worth."""
    n, _, log = uct_search(draw, worth, tries, width, c)
    return n, Counter({end: worth(end) for _, end in log}), log


bites(test_the_whole_way_is_told, uct_search, tells_the_end_only)

# %% [markdown]
# ## Does the search find the best leaf of a known tree?
#
# Before we search among thoughts, we run the same function on a larger tree whose best leaf we know. It has five steps with three choices each, which makes 243 leaves. The worth of a leaf is the share of its steps that agree with a secret way, so only one leaf is worth 1. With nine draws per node, each of the three choices comes up three times on average. We take $c = 0.3$, because one right step changes a leaf's worth by only 0.2.

# %%
SECRET, WIDTH, CURIOUS = (2, 0, 1, 1, 2), 9, 0.3


def worth(way) -> float:
    """The share of right steps."""
    return mean(a == b for a, b in zip(way, SECRET, strict=True))


def dice(seed: int):
    """A draw of the steps that are missing."""
    rng = random.Random(seed)
    return lambda way: tuple(rng.randrange(3) for _ in range(len(SECRET) - len(way)))


# %%
n, w, log = uct_search(dice(0), worth, 100, WIDTH, CURIOUS)
for step in range(3):
    print(f"first step {step}: {n[step,]} visits, mean worth {w[step,] / n[step,]:.2f}")
print("best leaf, 2 0 1 1 2:", "found" if n[SECRET] else "not found", f"in {len(log)} tries")

# %% [markdown]
# Most visits go below the first step 2, which is that of the secret way. The package keeps the same statistics in a tree of `Node`s. From the same random numbers it makes the same tries:

# %% tags=["hide-input"]
def package_search(draw, worth, tries: int, width: int, c: float) -> Node:
    """The same with the package's tree."""
    root = Node()
    for _ in range(tries):
        node = select(root, width, c, RULES["uct"])
        end = grow(node, [((step,), 1 / 3) for step in draw(node.text)])
        back_up(end, worth(end.text), width)
    return root


tree_gap = 0.0
for seed in range(20):
    n, w, _ = uct_search(dice(seed), worth, 100, WIDTH, CURIOUS)
    for node in package_search(dice(seed), worth, 100, WIDTH, CURIOUS).below():
        assert n[node.text] == node.visits
        tree_gap = max(tree_gap, abs(w[node.text] / n[node.text] - node.q))
assert tree_gap < 1e-12
print("20 searches of 100 tries: the same visits; means differ by less than 1e-12")

# %% [markdown]
# How often does it find the best leaf, compared with drawing as many leaves from the root? And what if the worth sees no half-right way?

# %%
def all_or_nothing(way) -> float:
    """A worth that sees no half-right way."""
    return float(way == SECRET)


def holds_best(worth, seed: int) -> bool:
    """Whether 100 tries of UCT hold the best leaf."""
    root = package_search(dice(seed), worth, 100, WIDTH, CURIOUS)
    return any(node.text == SECRET for node in root.below())


def blind(seed: int) -> bool:
    """Whether 100 leaves, drawn from the root, hold the best one."""
    draw = dice(seed)
    return SECRET in {draw(()) for _ in range(100)}


rows = []
for title, hits in (
    ("UCT, worth is the share of right steps", [holds_best(worth, s) for s in range(400)]),
    ("UCT, worth is all or nothing", [holds_best(all_or_nothing, s) for s in range(400)]),
    ("drawing from the root", [blind(s) for s in range(400)]),
):
    half = 196 * math.sqrt(mean(hits) * (1 - mean(hits)) / 400)
    rows.append([title, f"{100 * mean(hits):.1f} ± {half:.1f}"])
table(["search", "best leaf found, %"], rows,
      "100 tries; 400 seeds, with the 95 % interval over seeds.")

# %% [markdown]
# **With the share as worth, search wins clearly**, because the statistics at the first steps say where to go. With all or nothing, they say nothing before the best leaf is found, and the search is about as good as drawing from the root. So a tree pays if the worth of a beginning can be seen before the end.
#
# ## What does a tree of thoughts look like?
#
# With a language model, `draw` lets it continue a text, and the worth of a reply is the verifier's. A step ends after each new line, and before the thought's end. The search itself stays as it is: `width` is now 4, and $c$ is 1.

# %%
# tolerance: 3%
def thinks_on(policy, prompt: str, longest: int, generator):
    """A draw of the steps that a model writes after a way."""

    def draw(way) -> tuple[str, ...]:
        begun = "".join(way)
        left = longest - len(policy.tokenizer.encode(begun))
        text = policy.sample([prompt + begun], 1, left, 1.0, generator).texts[0]
        return tuple(step for step in re.split(r"(?<=\n)|(?=</think>)", text) if step)

    return draw


def verified(way) -> float:
    """The verifier's verdict on the whole reply."""
    return problem.score("".join(way))


problem = problems[0]
draw = thinks_on(base, problem.prompt, 96, torch.Generator().manual_seed(0))
n, w, log = uct_search(draw, verified, 9, width=4, c=1.0)
print(problem.prompt.strip())
for k, (way, end) in enumerate(log, 1):
    began, drew = (re.sub(r"</?\w+>", " ", "".join(steps)).strip().replace("\n", " / ")
                   for steps in (way, end[len(way) :]))  # fmt: skip
    print(f"try {k}, worth {verified(end):.0f}, from {began or 'the root'}:\n    {drew}")

# %% [markdown]
# The first four tries draw from the root. Then the search goes down, and a try draws only what follows. Does the package go the same ways? We let it repeat the draws of our nine tries:

# %%
# tolerance: 3%
repeated = iter(log)


def replay(way) -> tuple[str, ...]:
    """What our try drew; the package must ask for it in the same place."""
    ours, end = next(repeated)
    assert way == ours
    return end[len(way) :]


root = package_search(replay, verified, len(log), 4, 1.0)
assert all((n[node.text], w[node.text]) == (node.visits, node.total) for node in root.below())
print(f"{len(log)} tries of the package's tree: the same ways, visits and worths")

# %% tags=["figure", "hide-input"]
# tolerance: 3%
SHOWN = {"</think>": "", "<think>": "", "<answer>": "answer ", "</answer>": "",
         "不对": "no", "对了": "yes"}  # fmt: skip


def drawn_below(way=(), above: int = 0, most: int = 2) -> list:
    """(depth, row above, row, way, text) of each step below, the most visited first."""
    rows = []
    for step in sorted(below(n, way), key=lambda step: -n[step]):
        text = step[-1].strip()
        for tag, instead in SHOWN.items():
            text = text.replace(tag, instead)
        here = above + len(rows) + 1
        rows.append((len(step), above, here, step, text))
        rows += drawn_below(step, here, most) if len(step) < most else []
    return rows


rows = [(0, 0, 0, (), problem.prompt.strip()), *drawn_below()]
fig, ax = plt.subplots(figsize=(4.7, 0.27 * len(rows) + 0.3))
for depth, above, here, step, text in rows:
    if depth:
        _ = ax.plot([depth - 1, depth - 1, depth], [above, here, here], color="0.6", zorder=0)
    q = w[step] / n[step]
    _ = ax.scatter(depth, here, 18 * n[step], c=["C1" if q < 0.5 else "C0"])
    _ = ax.text(depth + 0.22, here, f"{text}   n {n[step]}, Q {q:.2f}", va="center",
                fontsize=8)  # fmt: skip
_ = ax.set(xlim=(-0.3, 5.6), ylim=(len(rows) - 0.4, -0.6))
ax.axis("off")
show(fig, "The first two levels of this tree (Chinese verdicts translated). The larger a dot, "
     "the more visits n; the mean worth Q is in orange below a half.",
     "A tree of steps. " + "; ".join(
         f"level {depth}: {text}, n = {n[step]}, Q = {w[step] / n[step]:.2f}"
         for depth, _, _, step, text in rows) + ".")


# %% [markdown]
# **UCT sends the later tries below steps whose first reply was right.** But where such a step ends with *yes*, only the answer follows. A try that goes down there draws the same answer again and finds nothing new.
#
# Our function reads the prompt and the way again in every try. The package's `tree_search` does many problems at once and keeps one text per problem in its cache. It reads a branch again only when it jumps to another one, and all FLOPs below count that.

# %% [markdown]
# ## Can a judge learn from such trees?
#
# On test problems we forbid the verifier, to stand for problems that have no checker. So a tree needs another judge. rStar-Math {cite}`guan2025rstarmath` trains one on the search's own statistics. They are too noisy to give each step an exact worth, but they show which of two steps led to right answers more often. So its **process preference model** learns from pairs of a better and a worse step, as the reward model of [chapter 11](11_human_feedback.ipynb) does from pairs of replies.
#
# We search *training* problems with the verifier. Both steps of a pair continue the same text. The package adds a second kind of pair: two whole replies to one problem, a right one and a wrong one, because who chooses among replies compares such replies. Here are the pairs of steps:

# %%
def step_pairs(node, most: int = 2) -> list:
    """Of the steps that follow a node, each of the best with each of the worst."""
    steps = sorted((s for s in node.children if not s.ended), key=lambda s: -s.q)
    half = min(most, len(steps) // 2)
    return [(a, b) for a in steps[:half] for b in steps[len(steps) - half :] if a.q > b.q]


# tolerance: 3%
config = TreeConfig(longest=96, width=4)
train = nano().make_task("train")
posed = [train[FAR + i] for i in range(96)]
generator = torch.Generator().manual_seed(1)
trees = tree_search(base, posed, verify, 320, generator, config).trees

# %%
# tolerance: 3%
pairs, of_steps = [], 0
for p, tree in zip(posed, trees, strict=True):
    ours = [pair for node in tree.below() for pair in step_pairs(node)]
    theirs = step_rankings(p.prompt, tree, base.tokenizer)
    for pair, ranking in zip(ours, theirs, strict=False):
        assert ranking.replies == tuple(text_of(node, base.tokenizer) for node in pair)
    of_steps, pairs = of_steps + len(ours), pairs + theirs
sets = {p.prompt: (*sorted(p.numbers), p.target) for p in posed}
learn = pairs[:320]
known = {sets[pair.prompt] for pair in learn}
test = [pair for pair in pairs[320:] if sets[pair.prompt] not in known]
print(f"{of_steps} pairs of steps, as in the package; with whole replies {len(pairs)} pairs")
print(f"{len(learn)} to learn from, {len(test)} of other sets of numbers to test")
assert not {*sets.values()} & {*same}  # and none has the numbers of a held-out problem

# %%
def test_siblings_are_compared(pairs_of) -> None:
    """Both steps of a pair continue the same text, and the better one is worth more."""
    for node in (node for tree in trees for node in tree.below()):
        assert all(a.parent is b.parent and a.q > b.q for a, b in pairs_of(node))


def any_two(node) -> list:
    """A planted bug: a step is compared with all that stands below the node."""
    return [(a, b) for a in node.children for b in node.below() if a.q > b.q]


bites(test_siblings_are_compared, step_pairs, any_two)

# %% [markdown]
# Does it learn more than to read the last *yes*? We compare both on the test pairs. Then we print a pair of steps that own *yes* ties, the one with the most visits:

# %%
# tolerance: 5%
def says_yes(reply: str) -> bool:
    """Whether the last verdict of a thought is yes, in English or Chinese."""
    return reply.partition("</think>")[0].rstrip().endswith(("yes", "对了"))


preferred = RewardModel(base)
_ = train_reward_model(preferred, learn, RewardModelConfig(batch=16), progress=False)
margins = preferred.margins([pair for p in test for pair in p.pairs()]).tolist()
yes = [[says_yes(r) for r in pair.replies] for pair in test]


# %%
# tolerance: 5%
def clustered(marks, sets) -> tuple[float, float]:
    """Their mean, and half its 95 % interval; marks of one set of numbers count as one."""
    middle, sums = mean(marks), Counter()
    for numbers, mark in zip(sets, marks, strict=True):
        sums[numbers] += mark - middle
    return middle, 1.96 * math.sqrt(sum(s * s for s in sums.values())) / len(marks)


tied = [(100.0 * (m > 0), sets[pair.prompt]) for pair, m, (better, worse)
        in zip(test, margins, yes, strict=True) if better == worse]  # fmt: skip
print(f"learned reward: {mean(m > 0 for m in margins):.0%} of {len(test)} pairs in order\n"
      f"own yes: {mean(a > b for a, b in yes):.0%} in order, "
      f"{mean(a == b for a, b in yes):.0%} tied\n"
      f"learned reward, of the {len(tied)} tied: "
      "{:.0f} ± {:.0f} %".format(*clustered(*zip(*tied, strict=True))))


# %%
# tolerance: 5%
def visits(pair) -> list:
    """The two nodes of a pair of steps; none, where it is a pair of replies."""
    tree = next(t for p, t in zip(posed, trees, strict=True) if p.prompt == pair.prompt)
    of = {base.tokenizer.decode(node.text): node for node in tree.below() if not node.ended}
    return [of[reply] for reply in pair.replies if reply in of]


ties = [pair for pair, m, (a, b) in zip(test, margins, yes, strict=True)
        if m > 0 and a == b and len(visits(pair)) == 2]  # fmt: skip
shown = max(ties, key=lambda pair: min(node.visits for node in visits(pair)))
print(shown.prompt.strip())
for title, node in zip(("better", "worse"), visits(shown), strict=True):
    step = base.tokenizer.decode(node.text).strip()
    print(f"  {title:6}: n = {node.visits}, Q = {node.q:.2f}  {step}")

# %% [markdown]
# **It does**: it also orders more than half of the pairs that own *yes* ties. As a judge, it scores a whole reply. But does it compare the reply with the problem? We let it score right replies under the prompts of other problems too:

# %%
# tolerance: 30% + 0.1
written = base.sample([p.prompt for p in problems], 1, 96, 1.0, generator).texts
owners = [(p, r) for p, r in zip(problems, written, strict=True) if p.score(r)]
prompts = [p.prompt for _ in owners for p, _ in owners]
scores = preferred.score(prompts, [r for _, r in owners for _ in owners])
scores = scores.view(len(owners), -1)  # a row for each reply, a column for each prompt
print(f"{len(owners)} right replies; standard deviation of their scores: between replies "
      f"{scores.std(0).mean():.2f}, between prompts {scores.std(1).mean():.2f}")

# %% [markdown]
# **It hardly does**: a reply gets nearly the same score under every prompt. The likely reason is that of [Thinking longer](17_thinking_longer.ipynb). Both members of a pair have the same prompt, so the judge can order them without reading it. The recorded judges below learned from more pairs of this kind. Their weights were not kept, so they are not tested.
#
# ## Is the tree better than replies from the root?
#
# Here the record answers, with 432 problems and three judges: own *yes* (does the thought end with *yes*?), the learned reward, and the verifier. **Every interval over problems is 95 %**, and all orders of one set of numbers count as one.

# %% tags=["hide-input"]
runs = results.read("ch17_search")["runs"]
orders = [(*sorted(p.numbers), p.target) for p in held_out]  # the set of each problem


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


def minus(ours, others) -> str:
    """The difference of two lists of marks, in points, with its interval."""
    less = [100 * (a - b) for a, b in zip(ours, others, strict=True)]
    return "{:+.1f} ± {:.1f} points".format(*clustered(less, orders))


print(results.origin("ch17_search"))

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


JUDGES = ("own yes", "learned", "verifier")

# %% [markdown]
# Best-of-n is the same program as the tree search, but it draws every reply from the root. We read best-of-n's curve at the FLOPs that the tree took (between two of its budgets, on a straight line over the logarithm), and take the difference problem by problem. With the verifier as judge, on nano-base: what does the tree gain?

# %% tags=["prediction", "hide-input"]
guess = None
question = "Tree minus best-of-n at equal FLOPs, nano-base, verifier, 640 tokens, in points?"
tree_gain = predict("search.tree_gain", question, guess, example=4, scale="difference",
                    tolerance=12)  # fmt: skip
tree_gain

# %% tags=["hide-input"]
def tree_gains(model: str) -> dict:
    """By judge and budget: the tree minus best-of-n at the tree's FLOPs, in points."""
    gains = {}
    for judge in JUDGES:
        of, other = curve("tree", model, judge), curve("drawn", model, judge)
        for budget, flops, marks in zip(of["tokens"], of["flops"], of["marks"], strict=True):
            less = [100 * (a - b) for a, b in zip(marks, at(other, flops), strict=True)]
            gains[judge, budget] = clustered(less, orders)
    return gains


gains = {model: tree_gains(model) for model in ("nano-zero", "nano-base")}
tree_gain.reveal(round(gains["nano-base"]["verifier", 640][0], 1))
ends = [curve(part, "nano-zero", "verifier")["marks"][1] for part in ("tree", "drawn")]
print("nano-zero, verifier, 320 tokens: tree and best-of-n differ on",
      sum(a != b for a, b in zip(*ends, strict=True)), "of 432 problems")
rows = [[model, judge, *("{:+.1f} ± {:.1f}".format(*of[judge, b]) for b in (320, 640))]
        for model, of in gains.items() for judge in JUDGES]  # fmt: skip
table(["model", "judge", "320 tokens", "640 tokens"], rows,
      "Tree minus best-of-n at equal FLOPs and with the same judge, in points of accuracy.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(4.7, 2.6))
said = []
for row, (model, judge) in enumerate((m, j) for m in gains for j in JUDGES):
    middle, half = gains[model][judge, 640]
    _ = ax.errorbar(middle, row, xerr=half, fmt="o", color="C0" if "zero" in model else "C1")
    said.append(f"{model}, {judge}: {middle:+.1f} ± {half:.1f}")
_ = ax.axvline(0, color="0.6", lw=1)
_ = ax.set_yticks(range(6), [text.partition(":")[0] for text in said])
_ = ax.set(xlabel="tree minus best-of-n, 640 tokens, points", ylim=(5.5, -0.5))
show(fig, "At equal FLOPs, the tree is not above best-of-n with any judge. Bars: 95 %.",
     "Six differences with intervals. " + "; ".join(said) + ".")

# %% tags=["widget"]
series = {}
for part, prefix in (("drawn", "best-of-n, "), ("tree", "tree, ")):
    for judge in ("learned", "verifier"):
        of = curve(part, "nano-base", judge)
        series[prefix + judge] = {"x": of["flops"], "y": [100 * mean(m) for m in of["marks"]]}
Curve(series, xlabel="million FLOPs", ylabel="right, %", xlog=True,
      title="nano-base: does a tree lie above best-of-n with the same judge?")


# %% [markdown]
# **With none of the three judges is the tree clearly above best-of-n at equal FLOPs.** On nano-base, where a tree has many branches, it is below: with the learned reward at both budgets, and with the verifier at 640 tokens, the interval excludes zero.
#
# On nano-zero the tree hardly begins at 320 tokens: a search draws four times from the root before it goes down, and the budget holds about five replies. With the verifier, both solve the same problems there. The -0.6 points only say that the tree used slightly more FLOPs.
#
# Why is there no gain? After a jump the search reads a branch again, which costs FLOPs, and below a *yes* it draws the same answer again. We also suspected that a failed line says little about what follows, as with a worth of all or nothing in the known tree. This can be measured. We take two first lines that say *no* for each of 24 problems, and let nano-base continue each of them 24 times:

# %%
# tolerance: 10%
def failed_lines(problem) -> list[str]:
    """Up to two first lines that say no, as the tree would hold them."""
    replies = base.sample([problem.prompt] * 8, 1, 48, 1.0, generator).texts
    firsts = dict.fromkeys(re.split("\n|</think>", reply)[0] for reply in replies)
    return [line + "\n" for line in firsts if line.endswith(("no", "不对"))][:2]


generator = torch.Generator().manual_seed(0)
failed = [(p, lines) for p in problems if len(lines := failed_lines(p)) == 2][:24]

# %%
# tolerance: 15%
begun = [(p, line) for p, lines in failed for line in lines]
rest = base.sample([p.prompt + line for p, line in begun for _ in range(24)], 1, 72, 1.0,
                   generator).texts  # fmt: skip
marks = [p.score(line + rest[24 * k + j])
         for k, (p, line) in enumerate(begun) for j in range(24)]  # fmt: skip
share = torch.tensor(marks).view(len(failed), 2, 24).mean(2)
noise = (share * (1 - share) / 23).mean()  # the variance of a share, from 24 draws
differ = (share[:, 0] - share[:, 1]).square().mean() / 2 - noise
print(f"right continuations: {share.mean():.0%}, after {len(begun)} lines that say no")
print("two lines of a problem: standard deviation "
      f"{100 * differ.clamp(min=0).sqrt():.0f} points")
print(f"noise of four tries: {100 * (noise * 23 / 4).sqrt():.0f} points")

# %% [markdown]
# **So our suspicion was wrong: failed lines of one problem differ in what follows.** But the share of right ones among four tries is about as noisy as the lines are different, and the budgets hold only a few such tries. More tries per step would show which line is better, and would leave fewer for its continuations. Another suspicion stays untested: replies that share a beginning may differ less, so a tree may buy less variety for its tokens.
#
# ## Is the tree at least a good teacher?
#
# In rStar-Math, the policy is fine-tuned on the solutions that the search found, the new policy searches again, and so on for several rounds of **self-evolution**. Does the *tree* matter? The control draws as many tokens from the root and learns from the right replies, which is rejection sampling, as in DeepSeek-R1. In the record, both fine-tune nano-base again in each round, on 384 solutions to training problems (`harvest_trees` in `minidsk/rl/process.py`). The table shows each of its three seeds.

# %% tags=["hide-input"]
print(results.origin("ch17_evolution"))
last = results.facts("ch17_evolution")["seconds"]
print(f"  the last of its six runs: {last / 60:.0f} minutes")
learning = sorted(results.read("ch17_evolution")["runs"], key=lambda r: r["seed"])
evolution = {(arm, number): [r for r in learning if (r["arm"], r["round"]) == (arm, number)]
             for arm in ("tree", "root") for number in range(4)}  # fmt: skip
right_in = {key: [100 * r["accuracy"] for r in of] for key, of in evolution.items()}
rows = [["the base, before", 0, f"{right_in['tree', 0][0]:.1f}", "-", "0"]]
for arm, title in (("tree", "tree search"), ("root", "drawn from the root")):
    for number in range(1, 4):
        of = right_in[arm, number]
        rows.append([title, number, f"{mean(of):.1f}", ", ".join(f"{x:.1f}" for x in of),
                     f"{cost(evolution[arm, number]) / 1e3:.0f}"])  # fmt: skip
table(["solutions from", "round", "right, %", "its three seeds", "billion FLOPs so far"], rows,
      "Greedy, 432 problems. In the tree's first round the seeds happen to solve equally many "
      "problems, though not the same ones.")

# %% tags=["hide-input"]
print("tree minus root, last round: {:+.1f} ± {:.1f} points".format(
    *apart(right_in["tree", 3], right_in["root", 3])))
marks = {key: list(zip(*(map(int, r["right"]) for r in of), strict=True))
         for key, of in evolution.items()}  # fmt: skip
forced = {"model": "nano-base", "budget": 160}
never = bits(rows_of("forced", when="never", **forced))
in_doubt = bits(rows_of("forced", when="in doubt", waits=1, **forced))
assert [of[0] for of in marks["tree", 0]] == never  # the same problems in the same order
for arm in ("tree", "root"):
    print(f"one new line in doubt, untrained, minus {arm}, last round:",
          minus(in_doubt, map(mean, marks[arm, 3])))

# %% [markdown]
# Both ways rise far above the base in their first round. **We see no difference between tree and root** (0.8 ± 4.4 points). Nor can we tell either from one new line in doubt, which needs no training at all ([Thinking longer](17_thinking_longer.ipynb)); intervals over problems, seeds averaged. Whether the verifier's choice matters we did not test, because no arm learns from unfiltered replies.
#
# ## What others report
#
# The first version of the report on DeepSeek-R1 {cite}`deepseekr1` names as unsuccessful process reward models and Monte Carlo tree search. A text has far more possible next steps than a board game, and a step's value is hard to learn.
#
# rStar-Math {cite}`guan2025rstarmath` reports the opposite. Four rounds of self-evolution and search with a process preference model take Qwen2.5-Math-7B from 58.8 % to 90.0 % on MATH.
#
# ## What went wrong, or did not help
#
# **We expected the tree to win, because it won on the tree with a known leaf.** There it found the best leaf in 83.8 % of the searches, and drawing from the root in 35.0 %. With a worth of all or nothing, the search found it in 36.2 %.
#
# **We could not test everything.** The record has one temperature, one limit of 96 tokens for drawn replies, one kind of step, and a small reward model.
#
# **A narrow tree is worse than no tree.** With two draws per step instead of four, the tree of nano-base with the verifier has tried all its ways before its budget is spent:

# %%
narrow = curve("tree", "nano-base", "verifier", width=2)
others = at(curve("drawn", "nano-base", "verifier"), narrow["flops"][0])
print(f"width 2: {mean(narrow['marks'][0]):.1%} right; minus best-of-n at equal FLOPs:",
      minus(narrow["marks"][0], others))

# %% [markdown]
# ## Exercises
#
# ```{exercise} Which step next?
# :label: ex-17-choose
#
# *15 minutes.* Write `choose(visits, totals, c)`: the place of the step that UCT tries next. `check("search.choose", my_choose)` knows five mistakes by name.
#
# **Hint.** What should happen to a step that was never tried?
# ```

# %%
print(describe("search.choose"))


def my_choose(visits, totals, c):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("search.choose", my_choose)

# %% [markdown]
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

# %%
def guide_reads_solution(prompt, steps):
    return sum(prompt + sum(steps[: k + 1]) for k in range(len(steps)))


check("search.guide_reads", guide_reads_solution)

# %%
# tolerance: 5%
learned = ProcessJudge(preferred)
for guide in (None, learned):
    generator = torch.Generator().manual_seed(0)
    found = tree_search(base, problems, learned, 320, generator, config, guide=guide)
    right = sum(p.score(r) for p, r in zip(problems, found.replies, strict=True))
    print(f"guided: {guide is not None}, {right:.0f} of 48 right, "
          f"{found.flops / len(problems) / 1e6:.0f} million FLOPs per problem")

# %%
guided = rows_of("tree", model="nano-base", judge="learned", budget=320, width=4, guided=True)
unguided = curve("tree", "nano-base", "learned")
print(f"recorded, guided: {mean(bits(guided)):.1%} for {cost(guided):.0f} million FLOPs")
print("minus no guide, 320 tokens each:", minus(bits(guided), unguided["marks"][1]))
print("minus no guide, equal FLOPs:", minus(bits(guided), at(unguided, cost(guided))))

# %% [markdown]
# The guide costs half as many FLOPs again, because it reads every step from the beginning of its reply. At equal tokens it gains 2.3 ± 1.7 points. At equal FLOPs 1.2 ± 1.8 are left, so we cannot say that it is worth them.
#
# ```{solution-end}
# ```
#
# ## Receipt
#
# The time is that of the processor, because the machine was shared.

# %% tags=["receipt"]
spread = {f"right, %, {arm}, round 3": right_in[arm, 3] for arm in ("tree", "root")}
receipt(seconds=time.process_time(), spread=spread, differences={
    "our tree and the package's": (tree_gap, 1e-12),
})

# %% [markdown]
# ## The opening question, answered
#
# If we draw several continuations of a good beginning, do we find more right answers for the same number of operations? **No: at equal FLOPs, a tree over the lines of a worksheet finds no more right answers than replies from the root.** On the base model it finds fewer. On a tree whose beginnings can be judged before the end, the same search wins clearly. On worksheets, failed lines do differ in what follows, but four tries hardly show it. We did not find out whether the search or the task is at fault.
#
# ## Summary
#
# As a teacher, the tree is not visibly better than drawing from the root either. A judge can learn from the tree's statistics which of two steps is better, and it learns more than to read *yes*.
#
# - I can now write a tree search in its four stages, and follow its visits and worths by hand.
# - I can now say when a tree pays: when the worth of a beginning can be seen before the end.
# - I can now make training pairs from a tree's statistics.
# - I can now name the control that a search must be compared with, at test time and as a teacher.

# %% [markdown]
# ## Read on
#
# - rStar-Math {cite}`guan2025rstarmath`, section 3, on the process preference model; Snell and others {cite}`snell2024scaling`, section 5, on when search helps and when it is fooled by its reward.
# - The code of this page in the package: `minidsk/infer/search/tree.py`, `mcts.py` and `minidsk/rl/process.py`.
# - Back to the chapter: [Thinking longer](17_thinking_longer.ipynb). Next: [chapter 18](18_fast_inference.ipynb) makes the same tokens in less time.
