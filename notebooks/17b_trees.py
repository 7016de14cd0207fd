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
# **Is a search through a tree of thoughts better than replies that all begin at the prompt?**
#
# - **You will build** a Monte Carlo tree search.
# - **You need** PyTorch and [Thinking longer](17_thinking_longer.ipynb).
# - **It takes** a minute on a CPU (a GPU is no faster).

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

# %%
task = nano().make_task("test")
held_out = list({p.prompt: p for p in (task[i] for i in range(4096))}.values())[:432]
same = Counter((*sorted(p.numbers), p.target) for p in held_out)
problems = held_out[:48]
print(f"{len(held_out)} problems, made of {len(same)} sets of numbers and a target")

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
# ## A tree of steps
#
# Best-of-n begins each reply at the prompt. If a thought has begun well, why not draw several continuations of *it*? A **step** is a line of the worksheet, and the replies to one problem become a tree. **Monte Carlo tree search** (MCTS) grows it try by try. For each step it keeps the number of visits $n$, and the total worth $w$ of the replies that went through it.

# %% tags=["diagram", "hide-input"]
diagram("tree_of_steps")

# %% [markdown]
# ### Which step is tried next?
#
# The search should prefer steps that did well, but also try steps that were rarely tried. **UCT** {cite}`kocsis2006uct` goes to the step with the largest
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
# ### Does it find the best leaf of a known tree?
#
# Before we search among thoughts, we search a tree whose best leaf we know. It has five steps with three choices each, which makes 243 leaves. The worth of a leaf is the share of its steps that agree with a secret way, so only one leaf is worth 1.
#
# In our variant, a node has to be tried `WIDTH` times before the search goes down from it, and each roll-out stays in the tree as a whole. (The usual MCTS tries each new step once, and adds one node per roll-out.) With nine draws, each of the three choices comes up three times on average. `CURIOUS` is the $c$ of UCT. It is below 1 because one right step changes a leaf's worth by only 0.2. `done` holds the nodes below which everything has been tried.

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
        while n[way] >= WIDTH:  # 1. select: go down, where enough was drawn
            steps = [x for x in below(n, way) if x not in done]
            way = max(steps, key=lambda x: uct(w[x], n[x], n[x[:-1]], CURIOUS))
        while len(way) < len(SECRET):  # 2. expand and roll out: draw the rest
            way = (*way, rng.randrange(3))
        reached = worth(way)  # 3. evaluate
        for k in range(len(way), -1, -1):  # 4. back up: update every step on the way
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
print("20 searches of 100 tries: the same visits; means differ by less than 1e-12")

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


print("the best leaf was found, in % of 400 searches")
for title, hits in (
    ("UCT, worth is the share of right steps", [holds_best(worth, s) for s in range(400)]),
    ("UCT, worth is all or nothing", [holds_best(all_or_nothing, s) for s in range(400)]),
    ("drawing from the root", [blind(100, s) for s in range(400)]),
):
    half = 196 * math.sqrt(mean(hits) * (1 - mean(hits)) / 400)
    print(f"  {title:39} {100 * mean(hits):.1f} ± {half:.1f}")

# %% [markdown]
# With the share as worth, search wins clearly, because the statistics at the first steps say where to go. With all or nothing, they say nothing before the best leaf is found, and the search is about as good as drawing from the root. So a tree pays if the worth of a beginning can be seen before the end.
#
# ### What does a tree of thoughts look like?
#
# With a language model, a try draws the rest of a reply, and a step ends after each new line, and before the thought's end. Our search keeps one text per problem in its cache. When it jumps to another branch, it reads that branch again, and we count it. Here is a tree of nano-base, judged by the verifier, with `width` 4: the first four replies are drawn from the root, and then the search goes down.

# %% tags=["hide-input"]
# tolerance: 3%
config = TreeConfig(longest=96, width=4)
tree = tree_search(base, problems[:1], verify, 320, seeded(), config).trees[0]
SHOWN = {"</think>": "", "<think>": "", "<answer>": "answer ", "</answer>": "", "<eos>": "",
         "不对": "no", "对了": "yes"}  # fmt: skip


def drawn_below(node, depth: int = 1, above: int = 0, most: int = 3) -> list:
    """(depth, row above, row, step, text) of each step below, the most visited first."""
    rows = []
    for step in sorted(node.children, key=lambda step: -step.visits):
        text = base.tokenizer.decode(step.text[len(node.text) :]).strip()
        for tag, instead in SHOWN.items():
            text = text.replace(tag, instead)
        here = above + len(rows) + 1
        rows.append((depth, above, here, step, text))
        if depth < most:
            rows += drawn_below(step, depth + 1, here, most)
    return rows


rows = [(0, 0, 0, tree, problems[0].prompt.strip()), *drawn_below(tree, most=2)]

# %% tags=["hide-input"]
# tolerance: 3%
fig, ax = plt.subplots(figsize=(4.7, 0.27 * len(rows) + 0.3))
for depth, above, here, step, text in rows:
    if depth:
        _ = ax.plot([depth - 1, depth - 1, depth], [above, here, here], color="0.6", zorder=0)
    _ = ax.scatter(depth, here, 18 * step.visits, c=["C1" if step.q < 0.5 else "C0"])
    _ = ax.text(depth + 0.22, here, f"{text}   n {step.visits}, Q {step.q:.2f}", va="center",
                fontsize=8)  # fmt: skip
_ = ax.set(xlim=(-0.3, 5.6), ylim=(len(rows) - 0.4, -0.6))
ax.axis("off")
show(fig, "Two levels of a tree of nano-base (Chinese verdicts translated). The larger a dot, "
     "the more visits n; Q is the mean worth w / n, in orange below a half.",
     "A tree of steps. " + "; ".join(
         f"level {depth}: {text}, n = {step.visits}, Q = {step.q:.2f}"
         for depth, _, _, step, text in rows) + ".")

# %% [markdown]
# The later tries went down from the root, and UCT sent them below the steps whose first reply was right. Where a step itself ends with *yes*, going down finds nothing new, because only the answer follows.
#
# ### Can a judge learn from the trees?
#
# On test problems we have forbidden the verifier, so a tree needs another judge. rStar-Math {cite}`guan2025rstarmath` trains one on the search's own statistics. They are too noisy to give each step an exact worth, but they show which of two steps led to right answers more often. So its **process preference model** learns from pairs of a better and a worse step, as the reward model of [chapter 11](11_human_feedback.ipynb) does from pairs of replies. We search *training* problems with the verifier, and make pairs of steps that continue the same text, and pairs of whole replies. The test pairs come from sets of numbers that the judge did not learn from.

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
    for judge in ("own yes", "learned", "verifier"):
        of, other = curve("tree", model, judge), curve("drawn", model, judge)
        for budget, flops, marks in zip(of["tokens"], of["flops"], of["marks"], strict=True):
            less = [100 * (a - b) for a, b in zip(marks, at(other, flops), strict=True)]
            gains[judge, budget] = clustered(less)
    return gains


gains = {model: tree_gains(model) for model in ("nano-zero", "nano-base")}
tree_gain.reveal(round(gains["nano-base"]["verifier", 640][0], 1))
ends = [curve(part, "nano-zero", "verifier")["marks"][1] for part in ("tree", "drawn")]
print("nano-zero, verifier, 320 tokens: tree and best-of-n differ on",
      sum(a != b for a, b in zip(*ends, strict=True)), "of 432 problems")
rows = [[model, judge, *("{:+.1f} ± {:.1f}".format(*of[judge, b]) for b in (320, 640))]
        for model, of in gains.items() for judge in list(JUDGES)[1:]]  # fmt: skip
table(["model", "judge", "320 tokens", "640 tokens"], rows,
      "Tree minus best-of-n at equal FLOPs and with the same judge, in points of accuracy.")

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
# On nano-zero the tree hardly begins at 320 tokens: a search draws four times from the root before it goes down, and the budget holds about five replies. With the verifier, both solve the same problems there, and the tree used more FLOPs.
#
# Why is there no gain? After a jump the search reads a branch again, which costs FLOPs. We suspect two more reasons, and tested neither on worksheets. A line may be an attempt of its own, so that a failed line says little about the next; in the known tree, such a worth (all or nothing) takes the whole gain away. And replies that share a beginning may differ less, so a tree may buy less variety for its tokens.

# %% [markdown]
# ### Is the tree at least a good teacher?
#
# In rStar-Math, the policy is fine-tuned on the solutions that the search found, the new policy searches again, and so on for several rounds of **self-evolution**. Does the *tree* matter? The control draws as many tokens from the root and learns from the right replies, which is rejection sampling, as in DeepSeek-R1. In the record, both fine-tune nano-base again in each round, on 384 solutions to training problems (`harvest_trees` in `minidsk/rl/process.py`).

# %% tags=["hide-input"]
print(results.origin("ch17_evolution"))
last = results.facts("ch17_evolution")["seconds"]
print(f"  the last of its six runs: {last / 60:.0f} minutes")
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
# Both ways rise far above the base in their first round. **We see no difference between tree and root** (0.8 ± 4.4 points). All these means are slightly below that of one new line in doubt, which needs no training at all, and we cannot tell them apart. Whether the verifier's choice matters we did not test, because no arm learns from unfiltered replies.
#
# ## What DeepSeek did
#
# DeepSeek-R1 {cite}`deepseekr1` reports two accuracies. The first is pass@1, the share of right answers among $n$ replies that are drawn to each problem,
#
# $$
# \text{pass@1} = \frac{1}{n} \sum_{i=1}^{n} [a_i \text{ is right}],
# $$
#
# and the second is that of the vote. In the first version of its report, a vote among 64 replies lifts R1-Zero on AIME 2024 from a pass@1 of 71.0 % to 86.7 %.
#
# Among its unsuccessful attempts the first version names process reward models and Monte Carlo tree search. A text has far more possible next steps than a board game, and a good model of the value of a step is hard to train. So DeepSeek trained by reward on whole answers, and let the thoughts grow.

# %%
narrow = curve("tree", "nano-base", "verifier", width=2)
others = at(curve("drawn", "nano-base", "verifier"), narrow["flops"][0])
print(f"width 2: {mean(narrow['marks'][0]):.1%} right; minus best-of-n at equal FLOPs:",
      minus(narrow["marks"][0], others))

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

# %%
def guide_reads_solution(prompt, steps):
    return sum(prompt + sum(steps[: k + 1]) for k in range(len(steps)))


check("search.guide_reads", guide_reads_solution)

# %%
# tolerance: 5%
for guide in (None, learned):
    found = tree_search(base, asked, learned, 320, seeded(), config, guide=guide)
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
# ## Bug zoo
#
# The package contains three wrong versions of the vote. The test above accepts the right version and lets one bug escape. Write a second test that catches it; ours are in the folded cell.

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
