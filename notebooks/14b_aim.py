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
# # New ability, or better aim?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/14b_aim.ipynb)
#
# Five of the bases in [R1-Zero: reward alone](14_r1_zero.ipynb) solved about 39 % of the problems with one sample. After 48 steps of reward, they solved about 85 %. (That page counts greedy answers, of which the same bases get 31 % right and then 91 %.) Some papers say that such a model has learned nothing new, because its base solves the same problems if it may try often enough. Other papers say the opposite. **Did reward teach our models something new, or do they only hit more often what they could hit before?** The first half of this question will stay open, because our world turns out to be too small for it. We work out how large a world would be needed.
#
# - **You will build** an unbiased estimator of "right within k tries", a blind guesser to compare with, and verdicts on five claims from the literature, where a verdict is possible.
# - **You need** PyTorch, and [R1-Zero: reward alone](14_r1_zero.ipynb), which describes the bases and their training.
# - **It takes** about 15 s on a CPU (no GPU is needed, because the large experiment is recorded), and an hour to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import itertools
import math
import random
from fractions import Fraction
from statistics import mean
from types import SimpleNamespace

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.diagrams import direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt
from minidsk.infer.pass_at_k import pass_at_k as of_package
from minidsk.presets import capstone, nano, small
from minidsk.report.interval import apart, interval
from minidsk.tasks.base import read_answer
from minidsk.tasks.expression import evaluate

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)
recorded = {name: results.read(name)["rows"] for name in (
    "ch14_grid", "ch14_grid_corners", "ch14_grid_half")}  # fmt: skip
grid = [row for rows in recorded.values() for row in rows if row["job"] == "grid"]
SHARES = (0.0, 0.01, 0.05, 0.2, 0.5)


def cells(share: float, cell: str) -> list[dict]:
    """The five seeds of one cell of the grid."""
    found = [r for r in grid if (r["share"], r["cell"]) == (share, cell)]
    return sorted(found, key=lambda r: r["seed"])

# %% [markdown]
# ## What is right within k tries?
#
# We begin with one problem of Countdown: make a target from three numbers with plus and minus, each used exactly once. The base model nano-base (0.4 million parameters) has read worksheets of such problems. We draw eight samples at temperature 1, so each token is drawn with the model's own probabilities.

# %%
base = minidsk.load_policy("nano-base")
_ = base.model.double()  # 16 digits, so that your processor draws what ours drew
problem = nano().make_task("test")[0]
generator = torch.Generator().manual_seed(0)
eight = base.sample([problem.prompt], 8, 128, 1.0, generator).texts
marks = [int(problem.score(text)) for text in eight]
table(["sample", "answer", "right"],
      [[i + 1, read_answer(text) or "none", mark] for i, (text, mark)
       in enumerate(zip(eight, marks, strict=True))], problem.prompt.strip())  # fmt: skip

# %% [markdown]
# **pass@k** is the chance that at least one of $k$ samples is right. How large is pass@2 for this problem? Eight samples make 28 pairs. We count the pairs that hold a right sample:

# %% tags=["naive"]
def by_sets(n: int, right: int, k: int) -> float:
    """The share of all sets of k of the n samples that hold a right one, set by set."""
    marks = [1] * right + [0] * (n - right)
    return mean(max(some) for some in itertools.combinations(marks, k))


def plug_in(n: int, right: int, k: int) -> float:
    """The share of right samples, put in place of the unknown chance."""
    return 1 - (1 - right / n) ** k


# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6.6, 3.2))
hit = [[max(a, b) for b in marks] for a in marks]
pairs = [[hit[a][b] if b < a else math.nan for b in range(8)] for a in range(8)]
for ax, cellsof, name in ((axes[0], pairs, "pairs of different samples"),
                          (axes[1], hit, "drawn with replacement")):  # fmt: skip
    known = [x for row in cellsof for x in row if x == x]
    _ = ax.pcolormesh(cellsof, cmap="viridis", vmin=-0.3, vmax=1.4, edgecolors="w", lw=1)
    _ = ax.set_title(f"{name}: {int(sum(known))} of {len(known)}", fontsize=9)
    _ = ax.set_xticks([i + 0.5 for i in range(8)], range(1, 9))
    _ = ax.set_yticks([i + 0.5 for i in range(8)], range(1, 9))
    ax.set_aspect("equal")
    ax.grid(False)
c = sum(marks)
show(fig, "Pairs with a right sample are light. The square on the right also pairs each "
     "sample with itself.",
     f"Two grids of 8 by 8 samples, {c} of them right. Left, below the diagonal: "
     f"{by_sets(8, c, 2):.3f} of the pairs are light. Right: {plug_in(8, c, 2):.3f} of all.")
print(f"pass@2: pairs {by_sets(8, c, 2):.3f}, with replacement {plug_in(8, c, 2):.3f}")

# %% [markdown]
# The obvious estimate puts $c/n$, the share of right samples, in place of the unknown chance $p$: $1 - (1 - c/n)^k$. It counts the whole square, in which a wrong sample also meets itself. Which of the two is right on average? We need a coin whose $p$ we know:

# %%
def expected(estimate, p: float, n: int, k: int) -> float:
    """The mean of an estimate over all outcomes of n tosses of a coin."""
    return sum(math.comb(n, r) * p**r * (1 - p) ** (n - r) * estimate(n, r, k)
               for r in range(n + 1))  # fmt: skip


rows = [[k, f"{1 - 0.9**k:.3f}", f"{expected(plug_in, 0.1, 12, k):.3f}",
         f"{expected(by_sets, 0.1, 12, k):.3f}"] for k in (1, 2, 4, 8, 12)]  # fmt: skip
table(["k", "true pass@k", "plug-in, on average", "sets, on average"], rows,
      "A coin that is right once in ten tosses, tossed 12 times.")

# %% [markdown]
# The plug-in estimate is too low for every $k$ above 1. The share of sets {cite}`chen2021codex` is right on average.
#
# Listing all sets of 256 samples would take forever, but their share is a short product. In our example 5 of 8 samples are wrong. The first of two samples is wrong with chance 5/8. If it was, 4 wrong ones are left among 7. So both are wrong with chance 5/8 · 4/7 = 10/28, and pass@2 is 18/28, as counted above. The next cell does this for any $k$:

# %% tags=["agree"]
def pass_at_k(n: int, right: int, k: int) -> float:
    """1 minus the chance that k different samples, drawn one by one, are all wrong."""
    return 1 - math.prod(max(n - right - i, 0) / (n - i) for i in range(k))


gap = max(abs(pass_at_k(n, r, k) - other(n, r, k)) for other in (by_sets, of_package)
          for n in range(1, 10) for r in range(n + 1) for k in range(1, n + 1))  # fmt: skip
assert gap < 1e-12
print("all counts up to 9 samples, largest difference: below 1e-12")


def a_full_set_is_right(estimate) -> None:
    """One of two samples is right, and both are drawn."""
    assert estimate(2, 1, 2) == 1


bites(a_full_set_is_right, pass_at_k, plug_in)

# %% [markdown]
# So we estimate pass@k by the share of *different* samples' sets, computed as a product.
#
# ## Does the base catch up?
#
# We recorded 25 bases, five seeds for each of five **webs**, which are the worksheets that a base has read. The webs differ in one number, the share of authors who *search* until they have found a solution: 0, 1, 5, 20 or 50 %. (The web of 50 % was recorded a day later, on another host and from a newer commit of our code; the main page lists both.) From each base, 48 steps of GRPO ([chapter 12](12_grpo.ipynb)) with a reward for right answers make a *rewarded* model. Of each model, 256 samples for 128 held-out problems were recorded.
#
# The bases without searchers solve about a third of the problems with one greedy answer. Which share do they solve if 256 samples are drawn and one right answer is enough?

# %% tags=["prediction", "hide-input"]
guess = None
question = "Base without searchers: problems solved within 256 samples, in %?"
support = predict("zero.support", question, guess, example=70, unit="%",
                  scale="difference", tolerance=30)  # fmt: skip
support


# %%
def passed(share: float, cell: str, k: int) -> list[float]:
    """pass@k in percent, over 128 problems with 256 samples each, one number per seed."""
    return [100 * mean(pass_at_k(256, c, k) for c in r["right"]) for r in cells(share, cell)]


support.reveal(round(mean(passed(0.0, "base", 256)), 1))

# %% tags=["hide-input"]
hardest = [min(c for r in cells(share, "base") for c in r["right"]) for share in SHARES]
table(["search", "pass@256, %", "hardest problem: right samples"],
      [[f"{share:.0%}", f"{mean(passed(share, 'base', 256)):.0f}", least]
       for share, least in zip(SHARES, hardest, strict=True)],
      "The bases: 256 samples for each of 128 problems, five seeds per web.")

# %% [markdown]
# Every base solves every problem, and even its hardest problem is right in a dozen of 256 samples or more. What did the reward do to each problem? A dot in the next figure is one problem: how often the base solves it, and how often the rewarded model does.

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.6), sharey=True)
told = []
for share in SHARES:
    was, now = ([c for r in cells(share, cell) for c in r["right"]]
                for cell in ("base", "right"))
    worse = sum(b < a for a, b in zip(was, now, strict=True))
    told.append((f"{share:.0%}", len(was), worse, now.count(0)))
    if share not in (0.0, 0.2):
        continue
    ax = axes[int(share > 0)]
    _ = ax.scatter(was, now, s=5, alpha=0.5)
    _ = ax.plot([0, 256], [0, 256], color="gray", lw=0.8)
    _ = ax.set(xlabel="base: right samples of 256", xlim=(0, 256), ylim=(-4, 260),
               title=f"{share:.0%} of authors search")
_ = axes[0].set(ylabel="rewarded: right samples of 256")
show(fig, "Each dot is one problem of one seed. Dots below the line became harder. Without "
     "searchers there are many, and some end at 0.", " ".join(
         "{} searchers: of {} dots {} are below the line, {} at 0.".format(*told[i])
         for i in (0, 3)))  # fmt: skip
table(["search", "dots", "became harder", "not solved in 256 samples"], told,
      "Problems times seeds on all five webs, rewarded against base; not solved by the "
      "rewarded model.")

# %% [markdown]
# With 20 % of searchers nearly every problem became easier. Without searchers about three in ten became *harder*, and a few are no longer solved in 256 samples, although the base had solved each of them at least 25 times. The set of answers that a model gives at all is its **support**. Here it seems to have shrunk. The curves of pass@k average over these dots:

# %% tags=["figure", "hide-input"]
ks = [2**i for i in range(9)]


def curves(lines, caption):
    fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), sharey=True)
    for ax, share in zip(axes, (0.0, 0.2), strict=True):
        for label, line in lines.items():
            _ = ax.plot(range(9), [line(share, k) for k in ks], label=label)
        _ = ax.set_xticks(range(0, 9, 2), ks[::2])
        _ = ax.set(xlabel="k", title=f"{share:.0%} of authors search")
        direct_labels(ax)
    _ = axes[0].set(ylabel="pass@k, %")
    low = [f"{s:.0%} searchers, {name}: " + ", ".join(f"{of(s, k):.0f}" for k in (1, 16, 256))
           for s in (0.0, 0.2) for name, of in lines.items()]  # fmt: skip
    show(fig, caption, f"pass@k, and here at 1, 16 and 256. {'; '.join(low)}.")


def middle(cell: str):
    return lambda share, k: mean(passed(share, cell, k))


curves({"base": middle("base"), "rewarded": middle("right")},
       "With one try the rewarded models are far ahead. With many tries the bases catch up, "
       "and without searchers they are ahead on average from k = 8 on.")

# %% tags=["hide-input"]
rows, some = [], (1, 4, 8, 16, 256)
for share in SHARES:
    changes = [apart(passed(share, "right", k), passed(share, "base", k)) for k in some]
    told = ["{:+.1f} ± {:.1f}".format(*c).replace("-0.0 ", "+0.0 ") for c in changes]
    rows.append([f"{share:.0%}", *told])
table(["search", *(f"k = {k}" for k in some)], rows,
      "pass@k, rewarded minus base, points; 95 % intervals over five seeds.")

# %% [markdown]
# **The base does catch up: with one try the rewarded models are 15 to 46 points ahead, and with 256 tries nothing is left of it.** At 50 % the bases have caught up by $k = 8$. That the bases without searchers overtake from $k = 8$ on depends on the seed, and the intervals include zero. (At k = 1 the gains differ from the main page's, because a greedy answer is not a sample. Without searchers, reward adds 15 points here and 8 there. Where half of the authors search, it adds 29 here, and there nothing that the interval could show.)
#
# ## How much of this is blind luck?
#
# A model that solves everything within 256 tries may know much, or the task may be small. Three numbers with plus and minus can be written in 48 ways: six orders of the numbers, four choices of two operators, and each with or without parentheses. A blind guesser draws one of the 48 at each try.

# %%
def forms(problem) -> list[str]:
    """The 48 ways, with parentheses around the last two numbers or without."""
    return [text for a, b, c in itertools.permutations(problem.numbers)
            for o, q in itertools.product("+-", repeat=2)
            for text in (f"{a}{o}{b}{q}{c}", f"{a}{o}({b}{q}{c})")]  # fmt: skip


solving = [text for text in forms(problem) if evaluate(text)[0] == problem.target]
print(f"{problem.prompt.strip()} {len(solving)} of {len(forms(problem))} ways are right:")
print(*solving)


# %%
def each_number_once(forms) -> None:
    used = [sorted(map(int, evaluate(text)[1])) for text in forms(problem)]
    assert used == 48 * [sorted(problem.numbers)]


def puts_numbers_back(problem):
    return [text for a, b, _ in itertools.permutations(problem.numbers)
            for o, q in itertools.product("+-", repeat=2)
            for text in (f"{a}{o}{b}{q}{a}", f"{a}{o}({b}{q}{a})")]  # fmt: skip


assert len(puts_numbers_back(problem)) == len(forms(problem)) == 48
bites(each_number_once, forms, puts_numbers_back)

# %% [markdown]
# The planted bug puts the first number back and uses it twice. It makes 48 ways as well, so only the numbers give it away. Now we let the guesser solve the problems of the grid:

# %%
tests = [nano().seeded(seed).make_task("test") for seed in range(5)]  # as in the grid
chances = [mean(evaluate(text)[0] == p.target for text in forms(p))
           for task in tests for p in (task[i] for i in range(128))]  # fmt: skip


def blind(k: int) -> float:
    """pass@k of the blind guesser, %."""
    return 100 * mean(1 - (1 - chance) ** k for chance in chances)


table([f"k = {k}" for k in ks[::2]], [[f"{blind(k):.0f}" for k in ks[::2]]],
      "pass@k of blind guesses among the 48 ways, %.")

# %% tags=["figure", "hide-input"]
curves({"base": middle("base"), "rewarded": middle("right"), "fine-tuned": middle("sft"),
        "blind": lambda share, k: blind(k)},
       "A blind guesser solves everything within 64 tries, too. Fine-tuned models have "
       "imitated right answers of their base, without any reward.")
behind = [k for k in ks if middle("right")(0.0, k) < blind(k)]
print(f"without searchers, the rewarded models' average lies below blind guessing at k = "
      f"{', '.join(map(str, behind))}")

# %% [markdown]
# **At large $k$ this world is too small to tell ability from aim.** Whatever a model has learned, 256 blind guesses solve every problem, so pass@256 cannot show an ability that the base lacks. Without searchers, the rewarded models even fall below blind guessing at large $k$, because they have given up some answers that a blind guesser still tries. At small $k$ we see better aim, because after the reward one sample often solves a problem that took several before.
#
# ### How large must a world be?
#
# For larger tasks we cannot list all ways, but we can draw them. This guesser replaces two random numbers by their sum, difference, product or quotient until one number is left. A natural bug forgets to take a used number away.

# %%
def guess_value(problem, rng: random.Random) -> Fraction | None:
    """The value of a random expression of all numbers; None after a division by zero."""
    left = [Fraction(int(number)) for number in problem.numbers]
    while len(left) > 1:
        a, b = (left.pop(rng.randrange(len(left))) for _ in range(2))
        op = rng.choice(problem.ops)
        if op == "/" and b == 0:
            return None
        left.append({"+": a + b, "-": a - b, "*": a * b}[op] if op != "/" else a / b)
    return left[0]


def only_plus_gives_the_sum(guess) -> None:
    plus = SimpleNamespace(numbers=(1, 2, 4), ops="+")
    assert {guess(plus, random.Random(seed)) for seed in range(20)} == {7}


def draws_again(problem, rng):
    return sum(Fraction(rng.choice(problem.numbers)) for _ in problem.numbers)


bites(only_plus_gives_the_sum, guess_value, draws_again)

# %% [markdown]
# We draw 512 expressions for each of 48 problems, count the right ones, and apply our estimator:

# %% tags=["figure", "hide-input"]
worlds = {"nano: 3 numbers up to 12, + -": (nano(), 3),
          "small: 3 up to 20, + - * /": (small(), 3),
          "capstone: 3 up to 99, + - * /": (capstone(), 3),
          "capstone: 4 up to 99, + - * /": (capstone(), 4)}
rng, luck = random.Random(0), {}
for world, (recipe, size) in worlds.items():
    task = recipe.make_task("test")
    some = itertools.islice((p for p in map(task.__getitem__, itertools.count())
                             if len(p.numbers) == size), 48)  # fmt: skip
    hits = [sum(guess_value(p, rng) == p.target for _ in range(512)) for p in some]
    luck[world] = [100 * mean(pass_at_k(512, c, k) for c in hits) for k in ks]
fig, ax = plt.subplots(figsize=(7.5, 3.2))
for world, line in luck.items():
    _ = ax.plot(range(9), line, label=world.replace(", + - * /", "").replace(", + -", ""))
_ = ax.set_xticks(range(0, 9, 2), ks[::2])
_ = ax.set(xlabel="k", ylabel="pass@k of blind guesses, %")
direct_labels(ax)
show(fig, "Blind luck solves small worlds within 256 tries. With four numbers up to 99 many "
     "problems remain.", "pass@256 of blind guesses: " + "; ".join(
         f"{world} {line[-1]:.0f} %" for world, line in luck.items()) + ".")
table(["world", *(f"k = {k}" for k in (1, 16, 256))],
      [[world, *(f"{line[i]:.1f}" for i in (0, 4, 8))] for world, line in luck.items()],
      "pass@k of blind guesses, %, drawn for 48 problems per world. (The table of the 48 ways "
      "is exact, over 640 problems.)")

# %% [markdown]
# **Four numbers up to 99 would be enough for a test**, because blind guessing leaves about half of those problems unsolved within 256 tries. Our recorded run of that size has no samples of its base, so we cannot make the test here. It would need hundreds of samples per problem, of base and rewarded model, and problems that the base never solves.
#
# ## Which of the disputed papers holds where?
#
# The papers below measured large models, and outsiders do not know what those had read. Our grid varies just that. Each claim has a row in the next figure, and Gandhi's has two:
#
# - DeepSeek {cite}`deepseekr1`: right rewards raise the accuracy of one try.
# - Yue and others {cite}`yue2025limit`: with many tries the base catches up or wins.
# - ProRL {cite}`liu2025prorl`: after *long* training (ours is short), models solve problems that the base never does.
# - Shao and others {cite}`shao2025spurious`: even a random reward adds 21 points for Qwen2.5-Math-7B on MATH-500, while other families of models often gain nothing.
# - Gandhi and others {cite}`gandhi2025habits`: models gain more if their base already verifies and goes back.
#
# Three of the claims cannot get a fair test here, whatever we measure. Yue's and ProRL's need problems that the base leaves unsolved, and Shao's coin was tried at one learning rate only. Their numbers are grey. For the others a verdict follows from an interval. A gain would speak against Yue's claim, which the planted bug forgets.

# %%
def verdict(gain, half, reward_wins=True, fair=True) -> str:
    """What gain ± half says of a claim that reward wins, or that the base does."""
    if not fair:
        return "not testable"  # whatever the gain is
    for_it, against = gain - half > 0, gain + half < 0
    if not reward_wins:
        for_it, against = against, for_it
    return "holds" if for_it else "fails" if against else "open"


def a_gain_speaks_against_yue(verdict) -> None:
    assert verdict(10, 2, reward_wins=False) == "fails" == verdict(-10, 2)


def one_sign(gain, half, reward_wins=True, fair=True) -> str:
    return verdict(gain, half, fair=fair)


bites(a_gain_speaks_against_yue, verdict, one_sign)


# %% tags=["hide-input"]
def gains(share: float, cell: str = "right", k: int | None = None) -> list[float]:
    """A cell minus its base, points per seed: greedy accuracy, or pass@k."""
    ours, bases = (passed(share, c, k) if k else [100 * r["accuracy"] for r in cells(share, c)]
                   for c in (cell, "base"))  # fmt: skip
    return [a - b for a, b in zip(ours, bases, strict=True)]


def more_than_none(share: float, k: int | None = None) -> list[float]:
    """A web's gains less those without searching authors."""
    return [a - b for a, b in zip(gains(share, k=k), gains(0.0, k=k), strict=True)]


claims = {  # what is subtracted, and whether a gain speaks for the claim
    "DeepSeek: pass@1, rewarded - base": (lambda s: gains(s, k=1), True),
    "Yue: pass@256, rewarded - base": (lambda s: gains(s, k=256), False),
    "ProRL: pass@256, rewarded - base": (lambda s: gains(s, k=256), True),
    "Shao: greedy, coin - base": (lambda s: gains(s, "random"), True),
    "Gandhi: greedy gain - that at 0 %": (lambda s: more_than_none(s), True),
    "Gandhi: pass@1 gain - that at 0 %": (lambda s: more_than_none(s, k=1), True),
}  # fmt: skip
found, verdicts = {}, {}
for claim, (measure, wins) in claims.items():
    for s in SHARES[claim.startswith("Gandhi") :]:
        found[claim, s] = interval(measure(s))
        room = "@256" not in claim or min(passed(s, "base", 256)) < 100
        fair = room and "coin" not in claim  # the coin was tried at one learning rate
        verdicts[claim, s] = verdict(*found[claim, s], wins, fair)

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(8.8, 4.2))
look = {"holds": ("C0", "o"), "fails": ("C1", "X"), "open": ("C2", "s"),
        "not testable": ("#c0c0c0", ".")}  # fmt: skip
for (claim, share), (m, h) in found.items():
    column, row = SHARES.index(share), list(claims).index(claim)
    colour, marker = look[verdicts[claim, share]]
    _ = ax.scatter(column, row - 0.12, s=80, color=colour, marker=marker)
    grey = "#909090" if verdicts[claim, share] == "not testable" else None
    told = f"{m:+.0f} ± {h:.0f}"
    _ = ax.text(column, row + 0.3, told, ha="center", va="center", color=grey)
_ = ax.set_xticks(range(5), [f"{share:.0%} search" for share in SHARES])
_ = ax.set_yticks(range(len(claims)), list(claims))
_ = ax.set(xlim=(-0.5, 4.5), ylim=(len(claims) - 0.4, -0.6))
ax.grid(False)
said = {claim: [f"{s:.0%} {verdicts[claim, s]}" for s in SHARES if (claim, s) in found]
        for claim in claims}  # fmt: skip
show(fig, "Which claim holds where? Circle: it holds on this web. Cross: it fails. Square: "
     "open. Grey: not testable here. All numbers are points, and each row says what is "
     "subtracted.",
     "Five claims by five webs, one claim in two measures. " + "; ".join(
         f"{claim}: {', '.join(webs)}" for claim, webs in said.items()) + ".")

# %% [markdown]
# - **DeepSeek's claim holds on all five webs**, by 15 to 46 points, most at 20 %.
# - **Yue's and ProRL's cannot be tested here**, because our bases leave no problem unsolved. For ProRL, 48 steps would be too short as well.
# - **Shao's random reward** took away nearly all right answers at our one learning rate. We tried no lower one, so this is no verdict on Qwen.
# - **Gandhi's holds at 5 % and 20 %**, and at 1 % the interval includes zero. At 50 % the verdict depends on the measure. Samples gain more than without searchers, so the claim holds. Greedy replies gain less, because those of the base are right in about 93 % already, and no gain has room.
#
# Only the verdict on Gandhi's claim differs between our webs. Even in samples the gain at 50 % is smaller than at 20 %, so more habit does not always mean more gain.
#
# ## How strong must the base be?
#
# If reward improves the aim of what a base can do already, then the base must be able to do something first. We copied three bases (5 % searchers, one per seed) at ten moments of their pretraining, and applied the right reward to each copy.

# %% tags=["hide-input"]
moments = {}
for row in recorded["ch14_grid"]:
    if row["job"] == "moments":
        moments.setdefault(row["step"], []).append(row)
moments = dict(sorted(moments.items()))


def right_at(step: int, when: str) -> list[float]:
    """Greedy accuracy before or after the reward, %, one number per seed."""
    return [100 * (r["before"] if when == "before" else r)["accuracy"] for r in moments[step]]


# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(7.5, 3.2))
for label in ("before", "after"):
    heights = [mean(right_at(step, label)) for step in moments]
    _ = ax.plot(list(moments), heights, "o-", label=label)
_ = ax.set(xlabel="steps of pretraining", ylabel="right, %", ylim=(0, 80))
_ = ax.axvspan(750, 1500, color="#d3d3d3", alpha=0.4, lw=0)
_ = ax.text(765, 72, "the learning rate of pretraining falls")
direct_labels(ax)
ends_of = [mean(right_at(step, "after")) for step in (375, 1500)]
show(fig, "Greedy accuracy before and after the same reward, from ten moments of pretraining. "
     "Where the gain appears, the learning rate of pretraining is falling. Three seeds.",
     "Two lines over 75 to 1,500 steps of pretraining. Before the reward accuracy reaches "
     f"about 30 % by step 525 and stays; after it, {ends_of[0]:.0f} % at step 375 and "
     f"{ends_of[1]:.0f} % at step 1,500.")

# %% tags=["hide-input"]
rows = []
for step, of in moments.items():
    now, was = right_at(step, "after"), right_at(step, "before")
    rows.append([step, f"{mean(r['loss'] for r in of):.2f}", f"{mean(was):.0f}",
                 "{:+.0f} ± {:.0f}".format(*apart(now, was)),
                 f"{mean(r['without_signal'] for r in of):.0%}"])  # fmt: skip
table(["steps", "loss", "before", "gain", "groups without signal"], rows,
      "Right answers in %, greedy; loss in nats per token on held-out pages; three seeds.")

# %% [markdown]
# A group has no signal if its 16 answers are judged alike, because then none is better than the others. In the first two moments this is so for 80 % and more of the groups, because nearly all their answers are wrong. Later most groups have a signal, and from step 525 on the accuracy of the base no longer tells how much the reward will add. **The gain is visible from step 1,050 on**, and every interval before that includes zero.
#
# The learning rate of pretraining falls from step 750 on, so we cannot separate more reading from the falling rate. A record with a constant rate could.

# %% [markdown]
# ## What went wrong, or did not help
#
# **The world was too small for its question.** We chose a task that nano can learn in minutes. The blind guesser shows that pass@256 says nothing about ability here.
#
# **We let the rate of pretraining fall while we took the ten copies**, so two causes are mixed.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Right within k tries
# :label: ex-14-passk
#
# *15 minutes.* Write `pass_at_k(right, samples, k)` without listing sets; `check("zero.pass_at_k", my_pass)` knows seven mistakes by name. What is it if fewer than `k` samples are wrong, and why?
#
# **Hint.** How many sets of $k$ samples are there, and how many of them hold only wrong ones? See `math.comb`.
# ```

# %%
print(describe("zero.pass_at_k"))


def my_pass(right, samples, k):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("zero.pass_at_k", my_pass)

# %% [markdown]
# ```{solution-start} ex-14-passk
# :class: dropdown
# ```

# %%
def pass_solution(right, samples, k):
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


check("zero.pass_at_k", pass_solution)

# %% [markdown]
# If fewer than $k$ samples are wrong, every set of $k$ holds a right one. `math.comb` is 0 there, so the result is 1.
#
# ```{solution-end}
# ```
#
# ## The opening question, k by k
#
# Is the rewarded model ahead of its base, and could blind luck do the same?

# %% tags=["hide-input"]
def ahead(share: float, k: int) -> str:
    """Whether the rewarded models are ahead of their bases, by an interval over five seeds."""
    gain, half = apart(passed(share, "right", k), passed(share, "base", k))
    return "yes" if gain - half > 0 else "no, behind" if gain + half < 0 else "not shown"


table(["k", *(f"ahead, {share:.0%} search" for share in SHARES), "blind luck, %"],
      [[k, *(ahead(share, k) for share in SHARES), f"{blind(k):.0f}"]
       for k in (1, 4, 16, 256)],
      "Rewarded ahead of base at pass@k? 95 % intervals over five seeds.")

# %% [markdown]
# **Better aim: yes, with one try on every web. A new ability: it cannot be seen here**, because at large $k$ blind luck solves nearly everything.
#
# ## Receipt

# %% tags=["receipt"]
spread = {f"pass@1, rewarded - base, {share:.0%} search": gains(share, k=1)
          for share in SHARES}  # fmt: skip
receipt(spread=spread, differences={"sets, and the package's pass@k": (gap, 1e-12)})

# %% [markdown]
# ## Summary
#
# **Reward gave our models better aim, and we cannot tell whether it gave them a new ability.** One sample of a rewarded model is right 15 to 46 points more often than one of its base, by web. Within 256 samples every base solves every problem, but blind guessing does too, so pass@256 could not show anything new. (With four numbers up to 99, luck would no longer be enough.) Where no author searches, about three in ten problems became harder, and a few were no longer solved. A later copy of a base gains more, but the rate of its pretraining had fallen too.
#
# - I can now estimate pass@k without bias, and show where the obvious estimate goes wrong.
# - I can now ask what blind guessing would reach before I read a curve of pass@k.
# - I can now name what a claim about new ability needs: problems that the base does not solve, and a task too large for luck.

# %% [markdown]
# ## Read on
#
# - Yue and others {cite}`yue2025limit` and ProRL {cite}`liu2025prorl` for the two sides on pass@k; Gandhi and others {cite}`gandhi2025habits` on habits, also on Countdown.
# - The code of this page in the package: `minidsk/infer/pass_at_k.py`; the grid is `tools/experiments/ch14_grid.py`.
# - Back to the training itself: [R1-Zero: reward alone](14_r1_zero.ipynb). Next: [chapter 15](15_r1.ipynb) adds DeepSeek-R1's stages before and after reward, one at a time.
