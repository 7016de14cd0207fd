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
# # The record: three and four numbers up to 99
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/22b_record.ipynb)
#
# [The chapter before](22_capstone.ipynb) posed three numbers up to 20. Others pose three or four numbers up to 99, and give the problem to language models that have read much of the internet. A user of GRPO-Zero [reports](https://github.com/policy-gradient/GRPO-Zero/issues/7) 72 % after four days, with a model of 3 billion parameters. How much of it can a model of 19 million parameters solve that begins with random weights and has ten minutes? And how does it compare where others have measured exactly, on the problems of Stream of Search {cite}`gandhi2024sos`?
#
# - **You will build** a count of what goes wrong in recorded thoughts, a test of what might repair it and its control, an estimate of what such a run costs on another GPU, and the command for your own run.
# - **You need** [the chapter before](22_capstone.ipynb), and no GPU. The runs are recorded.
# - **It takes** about 20 s to run on two CPU cores, and half an hour to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import random
import re
from collections import Counter
from statistics import fmean, median

import matplotlib.pyplot as plt

from minidsk import results
from minidsk.data.backwards import search
from minidsk.data.corpus import TinyWeb
from minidsk.data.worksheet import all_ways
from minidsk.diagrams import direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt
from minidsk.infer.evaluate import wilson
from minidsk.model.config import ModelConfig
from minidsk.presets import capstone
from minidsk.report.ledger import LEDGER, STANDING, elsewhere, ledger, standing
from minidsk.report.stages import read_stages
from minidsk.rl.recipe import title_of
from minidsk.scale.cost import parameters
from minidsk.tasks.countdown import Countdown
from minidsk.tasks.expression import evaluate as value_of
from minidsk.tasks.expression import write_chain

plt.style.use("minidsk.diagrams.look")

# %% [markdown]
# ## The problems
#
# A problem is three or four numbers from 1 to 99 and a target from 10 to 99, each drawn with equal chances. We keep it if an expression with each number once reaches the target through positive whole numbers. About half of the held-out problems have four numbers, and in the text and in reward two thirds have. Here are three that no page of the model's text contains, in any order of their numbers.

# %%
held_out = Countdown((3, 4), high=99, draw="uniform", split="test")
for i in range(3):
    print(held_out[i].prompt, "   one way:", held_out[i].solution)

# %% [markdown]
# How hard are they? With four numbers there are hundreds of ways to combine them, and few of them are right. The persistent authors of the chapter before search *forwards*: they try one way after the other, and write out each. Let us see how much such an author would write on the first ten held-out problems with four numbers. The replies of our models end after 1,100 tokens at the latest, and nearly every token is one character.

# %%
def forwards(rng: random.Random, numbers: tuple[int, ...], target: int) -> str:
    """All ways in turn, from a random one on, up to the first that is right."""
    ways, said = list(all_ways(numbers, "+-*/")), ""
    begin = rng.randrange(len(ways))
    for steps in ways[begin:] + ways[:begin]:
        chain = write_chain(numbers, steps)
        said += "=".join(chain) + (" yes" if chain[-1] == str(target) else " no\n")
        if said.endswith("yes"):
            break
    return said


# %%
four = Countdown((4,), high=99, draw="uniform", split="test")
ten = [(four[i].numbers, four[i].target) for i in range(10)]


def lengths(author) -> str:
    """How much an author writes on the ten problems, in characters."""
    rng = random.Random(0)
    wrote = [len(author(rng, *problem)) for problem in ten]
    room = sum(length <= 1100 for length in wrote)
    return f"median {median(wrote):,.0f}, most {max(wrote):,}, within 1,100: {room} of 10"


print("ways to combine:", *(len(list(all_ways(numbers, "+-*/"))) for numbers, _ in ten))
print("characters, searching forwards:", lengths(forwards))

# %% [markdown]
# So most of these searches do not fit into a reply. Our best authors therefore search from both ends, and this page calls them the *searching authors*.
#
# ## An author who works backwards
#
# In the web from which the model learns, a fifth of the worksheets are by searching authors. Other pages hold sums of two numbers, lists of what pairs make, and notes of unfinished searches. Here is a short worksheet.

# %%
web = TinyWeb(capstone().pretrain.web, seed=0)
print(web[364])

# %% [markdown]
# Read it line by line.
#
# | line | what it says |
# | --- | --- |
# | `37 22:+59-15` | the *pair* 37 and 22 makes 37+22=59 and 37-22=15 |
# | `35:+59` | 35 is set aside, so the pair must make 59, because 59-35=24 (`+`: 24+35=59) |
# | `35 22:+57-13` | the next pair |
# | `37:~13` | 37 is set aside, so the pair must make 13, because 37-13=24 (`~`: from 37) |
# | `!37-(35-22)=...` | the pair makes 13, so the whole is calculated again |
#
# A number that the pair must make is a *need*. Needs that are smaller or larger than all that the pair makes are left out. So are fractions, and at first what is larger than 200, here 37*22=814. (If nothing is found, the author writes `>200` and goes on with larger numbers.) The first pair does make 59, but this author overlooks it, as one hit in twenty is overlooked in this web.
#
# Behind the `!`, the author calculates one operation at a time, up to *yes* or *no*. In Chinese, the words are 对了 and 不对. Sometimes an author takes a near miss for a hit, and the check then ends in *no*. So the search proposes, and written arithmetic decides.

# %% [markdown]
# With four numbers, two are set aside, one after the other.

# %%
print(web[922])

# %% [markdown]
# The pair is 85 and 7, and makes 92 and 78. `36+81:` sets 36 aside. The other three must then make 81, because 81-36=45. Next, 69 would be set aside too, but none of the needs lies between 78 and 92, so nothing is written. `36-9:` sets 36 aside in another way: the others must make 9, because 9+36=45. Then `+78` sets 69 aside, so the pair must make 78, because 78-69=9. It does, and the check follows.
#
# How much do searching authors write on the ten problems from above?

# %%
def from_both_ends(rng: random.Random, numbers: tuple[int, ...], target: int) -> str:
    verdicts = (" no", " yes")
    said, answer = search(rng, numbers, target, "+-*/", verdicts, patience=100_000)
    value, used, _ = value_of(answer)  # right, as at the end of the long search
    assert (value, sorted(used)) == (target, sorted(map(str, numbers)))
    return said


print("characters, searching from both ends:", lengths(from_both_ends))

# %% [markdown]
# ## Ten minutes
#
# The other four fifths of the authors guess and give up. So the base model, which imitates all of them, mostly guesses. Then comes reward for right answers, and nothing else.
#
# Why do we not let all authors search? Because then the base would already solve nearly all problems by imitation, and reward would have little to add. That happens further below, under *Other people's protocol*. Here we want to see what reward can do. So we wanted a base that solves less than 30 %, and a model that owes most of its skill to reward.
#
# We pose held-out problems and let the model answer *greedily*, which means that it always writes its likeliest next token. This is how the base and R1-Zero, which is the model after reward, answer the third of the problems above.

# %%
def replies(record: str, seed: int, stage: str = "zero") -> list[dict]:
    """The recorded answers of one stage of a run: prompt, reply and score."""
    return results.read(record, f"seed{seed}/{stage}/evaluation.json")["replies"]


for stage in ("base", "zero"):
    reply = replies("reason_capstone", 0, stage)[2]
    assert reply["prompt"].strip() == held_out[2].prompt.strip()
    print(f"{title_of(stage)}:\n{reply['reply']}\n")

# %% [markdown]
# The base guesses once, finds 40 instead of 20, writes *no*, and hands its guess in. R1-Zero sets 36 aside, so the others must make 56. Then it sets 18 aside, so the pair must make 74. It does, and the check says *yes*.
#
# The bases solve 14 to 20 % of the problems. Before you run on, guess what R1-Zero solves.

# %% tags=["prediction"]
guess = None
question = "What percent of 2,048 held-out problems does R1-Zero solve?"
solved = predict("record.solved", question, guess, example=60, unit="%",
                 scale="difference", tolerance=40)  # fmt: skip
solved

# %%
def by_count(replies: list[dict]) -> dict[str, list[float]]:
    """The scores of the replies, by how many numbers the problem has."""
    found = {"3 numbers": [], "4 numbers": []}
    for reply in replies:
        count = len(re.findall("[0-9]+", reply["prompt"])) - 1  # the last one is the target
        found[f"{count} numbers"].append(reply["score"])
    return found | {"both": sum(found.values(), [])}


# %% tags=["hide-input"]
def share(right: list[float]) -> str:
    """A share in percent with its 95 % interval over problems."""
    low, high = wilson(fmean(right), len(right))
    return f"{fmean(right):.1%} ({100 * low:.0f} to {100 * high:.0f})"


rows, after = [], []
for seed in (0, 1, 2):
    for stage in ("base", "zero"):
        scores = by_count(replies("reason_capstone", seed, stage))
        rows.append([str(seed), title_of(stage), *(share(right) for right in scores.values())])
    after += scores["both"]
table(["seed", "stage", *scores], rows, "2,048 held-out problems, greedy answers.")

# %%
solved.reveal(round(100 * fmean(after)))

# %%
for seed in (0, 1, 2):
    whole = results.facts("reason_capstone", f"seed{seed}/run.json")["seconds"]
    base, zero = read_stages(results.folder("reason_capstone") / f"seed{seed}")
    taken = base.row["seconds"], zero.row["seconds"], whole
    said = "seed {}: {:.0f} s of pretraining, {:.0f} of reward, {:.0f} in all"
    print(said.format(seed, *taken))

# %% [markdown]
# The time in all begins at an empty file and contains every evaluation. A call to a GPU ends after ten minutes, so for seed 1 a second call repeated the last evaluation. Its 612 seconds are both calls together. Before the third seed we made the code faster ([chapter 18](18_fast_inference.ipynb)), and left the recipe as it was: reward now takes half as long.
#
# GRPO-Zero's problems come from another list of the same kind, so do not compare the accuracies point by point. Its model had about 160 times as many parameters, began as a trained chat model, and still can chat. Ours began with nothing, and has learned nothing except worksheets.

# %% [markdown]
# ## One run is no result
#
# Our present recipe has 19 % searching authors. The first one had 20 %, and no pages of sums (a later section says what they are). Its one run ended at 94.3 %, but its base already solved 34 %. We wanted a base under 30 %. So we ran 15 % and 18 % with seed 0, and 19 % with seed 1. That last run also leaves out the division of advantages by the deviation of their group, because we suspected that the division makes training unsteady. Here are the settings of the four runs, and of the recipe.

# %%
RUNS = {"15 %": ("reason_capstone_share15", 0), "18 %": ("reason_capstone_share18", 0),
        "19 %, seed 1": ("reason_capstone_share19", 1),
        "20 %": ("reason_capstone_share20", 0)}  # fmt: skip


# %% tags=["hide-input"]
SETTINGS = ["run", "worksheets", "of these searching", "pages of sums", "steps of reading",
            "steps of reward", "advantages divided by"]  # fmt: skip


def settings(name: str, record: str, seed: int) -> list[str]:
    """In what the runs of this page differ, besides their seeds, as a row of a table."""
    asked = [results.read(record, f"seed{seed}/{stage}/config.json")["minidsk"]["settings"]
             for stage in ("base", "zero")]  # fmt: skip
    web_of, reward = asked[0]["web"], asked[1]["config"]
    sums = web_of.get("chains", 0) * (1 - web_of["worksheets"])
    shares = (web_of["worksheets"], web_of["backwards"], sums)
    return [name, *(f"{part:.0%}" for part in shares), f"{asked[0]['steps']:,}",
            str(reward["steps"]), {"group": "deviation", "none": "-"}[reward["scale"]]]


table(SETTINGS, [settings(name, *run) for name, run in
                 {**RUNS, "the recipe": ("reason_capstone", 0)}.items()])  # fmt: skip

# %% [markdown]
# Now what they reached. *Sampled* answers are those of the training, drawn at temperature 1.

# %% tags=["hide-input"]
stages = {name: read_stages(results.folder(record) / f"seed{seed}")
          for name, (record, seed) in RUNS.items()}  # fmt: skip
rows = [[name, f"{base.row['tokens'] / 1e6:.0f} million",
         *(f"{stage.row['accuracy']:.1%}" for stage in (base, zero)),
         f"{fmean(step['accuracy'] for step in zero.metrics[-4:]):.0%}"]
        for name, (base, zero) in stages.items()]  # fmt: skip
table(["searching authors", "tokens read", "base, greedy", "R1-Zero, greedy",
       "R1-Zero, sampled"], rows,
      "2,048 held-out problems; the last column is the mean of the last four steps of reward.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.4))
for k, (name, (_, zero)) in enumerate(stages.items()):
    right = [100 * step["accuracy"] for step in zero.metrics]
    _ = ax.plot(range(1, 1 + len(right)), right, color=f"C{k}", label=name)
_ = ax.set(xlabel="step of reward", ylabel="sampled answers that are right, %", ylim=(0, 100))
direct_labels(ax)
ends = {name: [100 * zero.metrics[k]["accuracy"] for k in (0, -1)]
        for name, (_, zero) in stages.items()}  # fmt: skip
told = "; ".join(f"{name} {begin:.0f} to {end:.0f} %" for name, (begin, end) in ends.items())
show(fig, "Four runs, one seed each, by the share of authors who search. All climb, and the "
     "three with fewer searching authors stop lower.",
     f"Four rising lines over the steps of reward: {told}.")

# %% [markdown]
# All four climb, but three of them end about six points (greedy) or ten (sampled) below the fourth. Why? No two of these runs differ in one setting alone, so the table cannot tell. We look at what the models still get wrong.

# %% [markdown]
# ## What is still wrong?
#
# Each check stands behind a `!` (a guess has none, and does not count here). So we can calculate it again and compare its parts, which all have to be equal.

# %%
CHECK = re.compile(r"!([^ \n!]+) (?:yes|no|对|不对)")


def is_false(chain: str) -> bool:
    """Whether a check such as 3*4+2=12+2=14 holds a mistake."""
    try:
        return len({value_of(part)[0] for part in chain.split("=")}) > 1
    except ValueError:  # no expression at all
        return True


for chain in ("(13-90/15)*8=(13-6)*8=7*8=56", "64-70/(59+3)=64-70/72=64-1=63", "55/0=5"):
    print(is_false(chain), chain)

# %% [markdown]
# The second chain is from a reply: 59+3 is not 72. The third shows that a check which cannot be calculated counts as false. To test `is_false`, we change a digit in every true check of one run, once in the last part and once in the second, where both ends still agree. Each must be found.

# %%
def planted(chain: str, k: int) -> str:
    """The check with another last digit in its part number `k`."""
    parts = chain.split("=")
    at = max(m.start() for m in re.finditer("[0-9]", parts[k]))
    digit = (int(parts[k][at]) + 1) % 10
    parts[k] = f"{parts[k][:at]}{digit}{parts[k][at + 1:]}"
    return "=".join(parts)


written = [chain for reply in replies("reason_capstone_share20", 0)
           for chain in CHECK.findall(reply["reply"])]  # fmt: skip
true = [chain for chain in written if not is_false(chain)]
found = {k: sum(is_false(planted(chain, k)) for chain in true) for k in (-1, 1)}
print(f"of {len(true):,} true checks, found: {found[-1]:,} at the end, "
      f"{found[1]:,} in the middle")
assert set(found.values()) == {len(true)}


def by_ends(chain: str) -> bool:
    """A wrong version, which compares the two ends alone."""
    first, *_, last = chain.split("=")
    return value_of(first)[0] != value_of(last)[0]


print("by the ends alone, in the middle:", sum(by_ends(planted(chain, 1)) for chain in true))

# %% [markdown]
# Now the replies that fail. A reply can be *cut off* at its limit of 1,100 tokens, because its search did not end. It can *give up*, so that the thought ends without a *yes*. Or the thought claims a hit and is wrong. Then either its last *check is false*, or the check is true and gives a *wrong answer*, because it has other numbers than the problem or ends at another target.

# %%
KINDS = ("cut off", "gave up", "false check", "true check, wrong answer")
CLAIM = re.compile(r"([^ \n!>]+) (?:yes|对了)$")


def why(reply: dict) -> str:
    """How a reply fails: one of `KINDS`, or "right"."""
    thought, closed, _ = reply["reply"].partition("</think>")
    claim = CLAIM.search(thought)
    if reply["score"]:
        return "right"
    if not closed:
        return "cut off"
    if claim is None:
        return "gave up"
    return "false check" if is_false(claim[1]) else "true check, wrong answer"


# %% [markdown]
# The argument of this section rests on `why`, so we test it with thoughts of our own, at least one for each kind. The task's verifier gives the scores. The third has its slip in the middle, because 84-36 is not 28.

# %%
PLANTED = [("right", "66+8-18-36=74-18-36=56-36=20 yes</think>", "66+8-18-36"),
           ("gave up", "66-(36-18)-8=66-18-8=48-8=40 no</think>", "66-(36-18)-8"),
           ("false check", "66+18-36-8=84-36-8=28-8=20 yes</think>", "66+18-36-8"),
           (KINDS[3], "66-36-8-2=30-8-2=22-2=20 yes</think>", "66-36-8-2"),
           (KINDS[3], "66-36+18-8=30+18-8=48-8=40 yes</think>", "66-36+18-8"),
           ("cut off", "66 8:+74-58\n36+56:", None)]  # fmt: skip
for kind, thought, answer in PLANTED:
    text = f"<think>{thought}" + (f"<answer>{answer}</answer>" if answer else "")
    made = why({"reply": text, "score": held_out[2].score(text)})
    print("ok   " if made == kind else "WRONG", kind)
    assert made == kind

# %% [markdown]
# Here is the shortest recorded reply of each kind. The middle of long thoughts is left out.

# %% tags=["hide-input"]
pool = [reply for run in RUNS.values() for reply in replies(*run)]
for kind in KINDS:
    reply = min((one for one in pool if why(one) == kind), key=lambda one: len(one["reply"]))
    said = reply["reply"]
    said = said if len(said) < 150 else f"{said[:50]} ... {said[-60:]}"
    print(f"-- {kind}: {reply['prompt'].strip()}\n{said}\n")

# %% [markdown]
# How do the failures divide? The last column of the table counts the wrong replies with a false check *anywhere*, even if they were cut off later.

# %% tags=["hide-input"]
def checks(reply: dict) -> list[bool]:
    """For each check in a reply, whether it is false."""
    return [is_false(chain) for chain in CHECK.findall(reply["reply"])]


def stacked(rows: dict[str, Counter], caption: str) -> None:
    """A bar for each row, from its failures of each kind; counts from 15 on are written in."""
    fig, ax = plt.subplots(figsize=(7.2, 0.9 + 0.42 * len(rows)))
    left = [0] * len(rows)
    for k, kind in enumerate(KINDS):
        counts = [row[kind] for row in rows.values()]
        bars = ax.barh(list(rows), counts, 0.7, left, color=f"C{k}", label=kind)
        _ = ax.bar_label(bars, [str(n) if n >= 15 else "" for n in counts],
                         label_type="center", color="white", fontsize=9)  # fmt: skip
        left = [a + b for a, b in zip(left, counts, strict=True)]
    _ = ax.legend(ncols=4, loc="lower left", bbox_to_anchor=(-0.02, 1), columnspacing=1.2)
    _ = ax.set(xlabel="wrong replies", ylim=(len(rows) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    told = "; ".join(f"{name}: " + ", ".join(f"{row[kind]} {kind}" for kind in KINDS)
                     for name, row in rows.items())  # fmt: skip
    show(fig, caption, f"Stacked bars of wrong replies. {told}.")


# %% tags=["figure", "hide-input"]
failed = {name: Counter(map(why, replies(*run))) for name, run in RUNS.items()}
stacked(failed, "Why replies of R1-Zero fail, of 2,048 in each run. The run that ends "
        "highest has the fewest false checks.")

# %% tags=["hide-input"]
def with_a_slip(record: str, seed: int) -> str:
    """How many wrong replies of R1-Zero have a false check anywhere."""
    wrong = [any(checks(reply)) for reply in replies(record, seed) if not reply["score"]]
    return f"{sum(wrong)} of {len(wrong)}"


table(["searching authors", *KINDS, "wrong with a false check anywhere"],
      [[name, *(str(failed[name][kind]) for kind in KINDS), with_a_slip(*run)]
       for name, run in RUNS.items()],
      "Wrong replies of R1-Zero. The four kinds divide them.")

# %% [markdown]
# And how many of *all* checks are false, before and after reward?

# %% tags=["hide-input"]
def slips(record: str, seed: int) -> list[str]:
    """The share of false checks among all, of the base and of R1-Zero."""
    shares = []
    for stage in ("base", "zero"):
        judged = [false for reply in replies(record, seed, stage) for false in checks(reply)]
        shares.append(f"{fmean(judged):.1%} ({sum(judged)} of {len(judged):,})")
    return shares


table(["searching authors", "checks that are false, base", "the same, R1-Zero"],
      [[name, *slips(*run)] for name, run in RUNS.items()],
      "All checks in 2,048 replies, those in right replies too.")

# %% [markdown]
# The model that ends highest writes the truest checks: 38 of 2,040 are false, one in fifty. With seed 1 it is 432 of 2,361, which is 18 %. In its base 13 % were false (42 of 313). Reward made checks far more frequent, but seldom truer. In two of these runs the share of false ones rose. It fell in the other two, whose bases wrote only 12 and 90 checks, and it rises in each run of the later tables. (A base may check easier finds, so the sums are not the same.)
#
# And look at the last column of the wrong replies. Those *without* a false check are 79, 91, 59 and 94, so the best run has as many of them as the others. Nearly all of the gap lies in replies with a false check. In the 15 % run, most of these were cut off later. (This is an association: a hard problem needs more checks, and so has more chances for a slip.)

# %% [markdown]
# A possible explanation is that reward notices a slip only as one wrong answer more, and does not say which of many sums was wrong. Then only pretraining teaches sums, and in a web with fewer searching authors there are fewer of their checks to learn from. Four runs cannot show it, because seed, share and length of reading change together. But the explanation predicts something that we can test: with few searching authors and many worked sums, a model should search *and* calculate.

# %% [markdown]
# ## The test: pages of worked sums
#
# So we put a new kind of page between the worksheets. It has sums of three and four numbers, worked out one operation at a time as in a check, and all of them are true. They contain no search, so they cannot teach the base to search.

# %%
print(web[3])

# %% [markdown]
# One page in six is like this now. Among the worksheets, 19 % are by searching authors, as in the run of seed 1 above, of whose checks 18 % were false. The new runs are also a little longer, in reading and in reward, because the ten minutes had room left.

# %% tags=["hide-input"]
TESTED = {"19 %, seed 1": RUNS["19 %, seed 1"],
          **{f"with sums, seed {seed}": ("reason_capstone", seed) for seed in (1, 0, 2)}}


def compared(name: str, record: str, seed: int) -> list[str]:
    """What a run reached, and its false checks, as a row of a table."""
    base, zero = ([reply["score"] for reply in replies(record, seed, stage)]
                  for stage in ("base", "zero"))  # fmt: skip
    return [name, f"{fmean(base):.1%}", share(zero), *slips(record, seed),
            with_a_slip(record, seed)]


COMPARED = ["run", "base", "R1-Zero", "checks that are false, base", "the same, R1-Zero",
            "wrong with a false check"]  # fmt: skip
table(COMPARED, [compared(name, *run) for name, run in TESTED.items()],
      "2,048 held-out problems, greedy; the first line is one of the runs above.")

# %% [markdown]
# The direction is as predicted. With sums, seed 1 writes 171 false checks of 2,294 instead of 432 of 2,361, and R1-Zero gains 4.6 points, although its base began 4.5 points *lower*. The wrong replies that it loses are those with a false check.

# %% [markdown]
# ## The control
#
# It is tempting to stop here. But the runs with sums also read an eighth more text, had six more steps of reward, and had fewer worksheets on their pages. So we made the missing control. It is seed 1 again with everything as in the run with sums, and more of the other pages in place of the worked sums. Of these, half hold simpler arithmetic, and a quarter notes of searches. Here are the settings of the three runs with seed 1. The last two lines differ in one setting. (The control ran with the faster code.)

# %%
PAIR = {"19 %, seed 1": RUNS["19 %, seed 1"], "with sums, seed 1": ("reason_capstone", 1),
        "no sums, as long, seed 1": ("reason_capstone_nosums", 1)}  # fmt: skip
table(SETTINGS, [settings(name, *run) for name, run in PAIR.items()])

# %% [markdown]
# The shorter run without sums had ended at 88 %, the one with sums at 93 %. Where does the control end? If worked sums of three and four numbers are the reason, it should be near 88 %.

# %% tags=["prediction"]
guess = None
question = "What percent does the control solve, as long as the test and without sums?"
control = predict("record.control", question, guess, example=88, unit="%",
                  scale="difference", tolerance=5)  # fmt: skip
control

# %%
ended = fmean(reply["score"] for reply in replies("reason_capstone_nosums", 1))
control.reveal(round(100 * ended))

# %% tags=["figure", "hide-input"]
OTHERS = {"with sums, seed 0": ("reason_capstone", 0),
          "with sums, seed 2": ("reason_capstone", 2), "20 %, seed 0": RUNS["20 %"]}
points = {}
for name, run in {**PAIR, **OTHERS}.items():
    right = [reply["score"] for reply in replies(*run)]
    points[name] = [100 * x for x in (fmean(right), *wilson(fmean(right), len(right)))]
fig, ax = plt.subplots(figsize=(7, 3))
for y, (name, (at, low, high)) in enumerate(points.items()):
    colour = "C1" if name == "no sums, as long, seed 1" else "C0"
    _ = ax.plot([low, high], [y, y], color=colour)
    _ = ax.plot(at, y, "o", color=colour)
    _ = ax.text(high + 0.2, y, f"{at:.1f}", va="center", fontsize=9.5)
_ = ax.set_yticks(range(len(points)), list(points))
_ = ax.set(xlabel="right answers of R1-Zero, %", xlim=(86, 97), ylim=(len(points) - 0.5, -0.5))
ax.grid(axis="y", visible=False)
told = "; ".join(f"{name} {at:.1f} ({low:.1f} to {high:.1f})"
                 for name, (at, low, high) in points.items())  # fmt: skip
show(fig, "2,048 held-out problems, one run in each line, 95 % intervals over problems. The "
     "control without worked sums (orange) ends where the same seed with sums ends.",
     f"Points with intervals, in %: {told}.")

# %% tags=["hide-input"]
CONTROLS = {**PAIR, "with sums, seed 0": OTHERS["with sums, seed 0"]}
table(COMPARED, [compared(name, *run) for name, run in CONTROLS.items()],
      "2,048 held-out problems, greedy, one run each; intervals over problems.")

# %% [markdown]
# **The control contradicts us.** Without a single page of these worked sums it solves 92.6 %, as much as with them, and its checks are false no more often (123 of 2,195). So with this seed we see no sign that the sums are the reason. What is left are chance (one run each), longer reading, six more steps of reward, and fewer worksheets with more arithmetic of any kind. We did not separate them. The last three cannot be the whole story, because the 20 % run read less than these, had 32 steps and as many worksheets as the lower three, and still ends among the highest.
#
# Our prediction came true, but its explanation has lost its support. Without the control we would have told you a story in which everything fits.

# %% [markdown]
# ## Is it the mixture of experts?
#
# A second control has no experts: each block has one feed-forward layer, so wide that a token costs as many operations as in the mixture. Attention, text, reward, length and seed are those of seed 0. For the seconds, we compare it with seed 2, because both ran with the faster code.

# %% tags=["hide-input"]
rows = []
for name, (record, seed) in {"mixture, seed 0": ("reason_capstone", 0),
                             "mixture, seed 2": ("reason_capstone", 2),
                             "dense, seed 0": ("reason_capstone_dense", 0)}.items():
    base, zero = read_stages(results.folder(record) / f"seed{seed}")
    config = ModelConfig.from_dict(results.read(record, f"seed{seed}/base/config.json"))
    rows.append([name, f"{parameters(config) / 1e6:.1f} million",
                 f"{zero.row['accuracy']:.1%}", f"{base.row['seconds']:.0f}",
                 f"{zero.row['seconds']:.0f}"])  # fmt: skip
table(["model", "weights", "R1-Zero", "seconds of reading", "seconds of reward"], rows,
      "Weights without the module for multi-token prediction (with it 19 million), one H200.")

# %% [markdown]
# The dense model has half as many weights. It solves 92.6 %, and the mixture of the same seed 92.9 %. The intervals overlap almost entirely, so at this size, and with one seed of each, we see no gain from experts. DeepSeek reports a gain for models a thousand times larger {cite}`deepseekmoe`, and [chapter 03](03_mixture_of_experts.ipynb) could not decide at its size either.

# %% [markdown]
# ## Are the problems too kind?
#
# Our own generator made the problems, and our own verifier judged the answers. `reasoning-gym` {cite}`stojanovski2025gym` is a library of such tasks by other people. It makes its problems from a random expression, and it parses answers with `sympy`. So we let four shipped checkpoints answer its problems, of the size on which each was trained, and let both scorers judge all replies. `capstone-zero` is this page's model of seed 0, in the FP8 format of [chapter 09](09_fp8_and_ptx.ipynb). The other three come from a shorter run than the recorded one of the `nano` preset ([chapter 22](22_capstone.ipynb) says by how much).

# %% tags=["hide-input"]
rows, draws = [], ("our draw", "their draw")
for row in (*results.read("countdown_gym", "metrics.json"),
            *results.read("countdown_gym_capstone", "metrics.json")):  # fmt: skip
    right = [share([1.0] * row[draw]["theirs"]
                   + [0.0] * (row[draw]["problems"] - row[draw]["theirs"])) for draw in draws]
    agree = all(len({row[draw][who] for who in ("ours", "theirs", "both")}) == 1
                for draw in draws)  # fmt: skip
    asked = row["sizes"]
    counts = " or ".join(str(n) for n in sorted({asked["min_numbers"], asked["max_numbers"]}))
    posed = f"{counts} up to {asked['max_value']}, {' '.join(asked['operators'])}"
    rows.append([row["checkpoint"], posed, *right, "yes" if agree else "no"])
table(["checkpoint", "numbers", "our problems", "reasoning-gym's", "scorers agree"], rows,
      f"{row['our draw']['problems']:,} held-out problems each, greedy, one seed, judged by "
      "reasoning-gym's scorer.")

# %% [markdown]
# No reply was right for one scorer and wrong for the other. The two accuracies of a small checkpoint differ by two points at most. `capstone-zero` solves five points *more* of their problems than of ours. So our problems are not the kinder ones. We have not examined in what theirs are easier.

# %% [markdown]
# ## Other people's protocol
#
# Where have others measured exactly? Stream of Search {cite}`gandhi2024sos` has four numbers from 1 to 99 and targets from 10 to 100. One target in ten never occurs in training. A model learns from 500,000 problems, and is then measured on 10,000 new problems with targets that it has seen, and on 10,000 with targets that it has not.
#
# For this task, no base has to begin low, so in our web *all* authors work backwards. All pages share 490,000 problems, each of which authors work through some five times, and reward poses 5,760 others. The model, the optimizer and the reward stay the same.

# %% tags=["hide-input"]
SOS = {"this course": "reason_sos",  # the name of a row, and its record
       "a new problem on each page": "reason_sos_free"}  # fmt: skip
rows = [["GPT-2, answers at once", "303M", "45.8 % (*)", ""],
        ["Stream of Search", "250M", "51 %", ""],
        ["Stream of Search, guided, then PPO", "250M", "75 %", "73 %"],
        ["discrete diffusion", "85M", "91.5 % (*)", ""]]
found = {kind: results.read("reason_sos", f"seed0/{kind}.json") for kind in ("seen", "unseen")}
new = {"seen": results.read("reason_sos_free", "seed0/zero/evaluation.json")["row"],
       "unseen": results.read("reason_sos_free", "seed0/unseen.json")["accuracy"]}  # fmt: skip
new["seen"]["value"] = new["seen"]["accuracy"]
both = [{kind: found[kind]["accuracy"] for kind in found}, new]
for name, ours in zip(SOS, both, strict=True):
    rows.append([name, "19M", *("{value:.1%} ({low:.1%} to {high:.1%})".format(**ours[kind])
                                for kind in found)])  # fmt: skip
table(["model", "weights", "seen targets", "unseen targets"], rows,
      f"Four numbers. Ours: {found['seen']['problems']:,} problems each, in the last row "
      f"{new['seen']['problems']:,}, greedy, one seed, 95 % intervals over problems. The "
      "others as reported, each on its own draw; (*) we do not know on which kind of target.")

# %% tags=["hide-input"]
rows = []
for name, record in SOS.items():
    base, zero = read_stages(results.folder(record) / "seed0")
    took = results.facts(record, "seed0/run.json")["seconds"] / 60
    rows.append([name, f"{base.row['tokens'] / 1e6:.0f}", f"{base.row['accuracy']:.1%}",
                 f"{zero.row['accuracy']:.1%}", f"{took:.0f}", *slips(record, 0)])  # fmt: skip
table(["model", "million tokens", "base", "R1-Zero", "minutes in all",
       "checks that are false, base", "the same, R1-Zero"], rows,
      f"{zero.row['problems']:,} problems with seen targets, greedy.")

# %% [markdown]
# The first and the last of the four others are from the work on diffusion {cite}`ye2025diffusion`, the second from Stream of Search, and the third {cite}`moon2024guided` we know from another paper that quotes it.
#
# So 19 million parameters solve more than the larger models, after a quarter of an hour on one GPU. This does not say that our architecture is better, because model, text and reward all differ. The authors in Stream of Search try expressions forwards by simple rules, and many of their searches end without an answer. Ours search from both ends, check in writing, and seldom fail (the next section counts). We think that this difference matters most. And as the base has learned nearly all of it, reward adds less than two points.
#
# Unseen targets cost two points. This model has one seed, and its rules for drawing problems are ours.
#
# Does the limit of problems cost anything? The model of the last row has none, because each page poses a new problem. It read as many tokens, and with both kinds of target the two models differ by less than their intervals are wide. So half a million problems, each posed some five times, teach as much here. (The last row was measured on fewer problems, and with unseen targets on a CPU in bfloat16, because the GPU's time was up. Its run took fewer minutes because the package's code had become faster.)

# %% [markdown]
# ## Five numbers
#
# With five numbers our authors set one aside first, such that little is left to be made, and then search as before. The last search below begins with `68-19;`. It sets 68 aside, so the other four must make 19, because 19+68=87. We count how many problems such authors solve, with all their slips, before they run out of patience: 1,000 characters with four numbers, and 1,900 with five.

# %%
def found_by_authors(count: int, patience: int) -> tuple[int, str]:
    """How many of 100 problems searching authors solve, and the last one with its search."""
    task = Countdown((count,), high=99, target_high=100, draw="uniform", split="test")
    drawn, found = random.Random(0), 0
    for i in range(100):
        numbers, target = task[i].numbers, task[i].target
        said, answer = search(drawn, numbers, target, "+-*/", (" no", " yes"),
                              patience=patience)  # fmt: skip
        found += answer is not None
    return found, f"{task[99].prompt.strip()} {said[:40]} ..."


for count, patience in ((4, 1000), (5, 1900)):
    right, said = found_by_authors(count, patience)
    print(f"{count} numbers: {right} of 100 solved within {patience:,} characters")
print(said)

# %% tags=["hide-input"]
rows = []
for stage in ("base", "zero"):
    row = results.read("reason_five", f"seed0/{stage}/evaluation.json")["row"]
    right = f"{row['accuracy']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
    rows.append([title_of(stage), right, f"{row['thought']:.0f}"])
table(["stage", "right", "characters of a thought"], rows,
      f"{row['problems']:,} held-out problems with five numbers up to 99, seen targets from "
      "10 to 100, greedy, at most 2,000 tokens, one seed.")

# %% [markdown]
# The work on diffusion {cite}`ye2025diffusion` reports 46.6 % with five numbers, on problems of its own draw. Our base solves 55.8 %, about nine percentage points more, after four and a half minutes of pretraining. (A clock stopped the run before its last evaluation, so we made that one on a CPU, with the weights in bfloat16.) Text and reward also had problems with four numbers, one in three.
#
# The 18 steps of reward did not change the total. Did they change anything? `why` can tell.

# %% tags=["figure", "hide-input"]
five = {title_of(stage): replies("reason_five", 0, stage) for stage in ("base", "zero")}
failed = {name: Counter(map(why, some)) for name, some in five.items()}
stacked(failed, "Why replies to five numbers fail, of 1,024 before and after reward. Fewer "
        "give up, and more claim a false success.")

# %% tags=["hide-input"]
rows = []
for name, counts in failed.items():
    long = sum(len(reply["reply"].partition("</think>")[0]) >= 1700
               for reply in five[name] if not reply["score"])  # fmt: skip
    claims = counts["false check"] + counts["true check, wrong answer"]
    rows.append([name, str(sum(counts[kind] for kind in KINDS)),
                 *(str(counts[kind]) for kind in KINDS), str(claims), str(long)])  # fmt: skip
table(["stage", "wrong", *KINDS, "claim a success", "1,700 characters or more"], rows,
      "The four kinds divide the wrong replies; the last two of them claim a success. False "
      "checks before and after reward: " + ", ".join(slips("reason_five", 0)) + ".")

# %% [markdown]
# Reward changed *how* the model fails. It runs out of patience less often: long wrong thoughts fall from 392 to 327. But it claims false successes twice as often, 140 times instead of 64. The two effects cancel, so the total stays.
#
# Again reward makes checks no truer: the share of false ones doubles (the caption). Reward counts a false *yes* like any other wrong answer. An exercise asks where these checks slip.
#
# Why was so little gained? We have not tested it. The authors themselves stop without an answer on 36 of the 100 problems, after 1,900 characters. A model that imitates them meets the same limit, unless reward finds a shorter way to search.

# %% [markdown]
# ## What it cost, and what it would cost you
#
# The dollars are DeepSeek's own assumption of 2 dollars per hour of a GPU {cite}`deepseekv3`, and the watt-hours assume that the board takes all that its data sheet allows.

# %% tags=["hide-input"]
facts = results.facts("reason_capstone", "seed2/run.json")
table(LEDGER, ledger(read_stages(results.folder("reason_capstone") / "seed2"), facts),
      f"Three and four numbers, seed 2, on one {facts['machine']['gpus'][0]}.")

# %% [markdown]
# Colab lends a T4, a GPU of 2018 with a fifteenth of the H200's memory bandwidth and no bf16, so all of our products run in float32 there. We have none, so this is an estimate by two bounds. Either a stage waits for memory, and slows down as the bandwidth does, or it computes at half of the GPU's float32 peak, and we take the longer time. Put the two numbers of your own GPU into `MINE`, from its data sheet (if it has bf16, its peak in bf16).

# %%
MINE = {"bandwidth": 3.2e11, "peak": 8.1e12}  # a T4: bytes and operations per second
ON = 4.8e12  # bytes per second of the H200 that we used


def bounds(seconds: float, operations: float, bandwidth: float, peak: float):
    """Seconds if the stage waits for memory, and if it computes at half of the peak."""
    return seconds * ON / bandwidth, operations / (peak / 2)


# %%
done = read_stages(results.folder("reason_capstone") / "seed2")
mine = [bounds(stage.row["seconds"], stage.row["flops"], **MINE) for stage in done]
theirs = elsewhere(done, results.facts("reason_capstone", "seed2/run.json"))
apart = max(abs(max(a) - b) for a, (_, b) in zip(mine, theirs, strict=False))
print(f"largest difference to the package's estimate for a T4: {apart:.2g} s")
assert apart < 1e-6
table(["stage", "minutes on an H200", "on MINE, by memory", "on MINE, by arithmetic"],
      [[stage.title, *(f"{seconds / 60:.1f}" for seconds in (stage.row["seconds"], *both))]
       for stage, both in zip(done, mine, strict=True)],
      "Capstone, seed 2, training alone. The larger of the two estimates counts.")

# %% [markdown]
# The package does the same for three commands, with a T4's numbers.

# %% tags=["hide-input"]
def minutes(preset: str, until: str) -> tuple[str, str]:
    """Recorded and estimated minutes of a preset's stages, from the first one to `until`."""
    about = results.facts(f"reason_{preset}", "seed2/run.json")
    done = read_stages(results.folder(f"reason_{preset}") / "seed2")
    done = done[: 1 + [stage.name for stage in done].index(until)]
    there = sum(seconds for _, seconds in elsewhere(done, about)[: len(done)])
    return f"{sum(stage.row['seconds'] for stage in done) / 60:.1f}", f"{there / 60:.0f}"


# %% tags=["hide-input"]
COMMANDS = {("small", "zero"): "minidsk reason --preset small --until zero",
            ("small", "r1"): "minidsk reason --preset small",
            ("capstone", "zero"): "minidsk reason --preset capstone --until zero"}  # fmt: skip
table(["command", "minutes, recorded", "minutes on a T4, estimated"],
      [[f"`{command}`", *minutes(*what)] for what, command in COMMANDS.items()],
      "Training alone, without start and evaluations. small: three numbers up to 20, "
      "on an H100; capstone: this page's task, on an H200.")

# %% [markdown]
# So the whole way of the `small` preset, up to R1, fits into an hour of a T4, and this page's run does not. The estimates count time and not memory. A T4 has 16 GB, and the batches of this page's run are made for a GPU of 80 GB. Where memory does not suffice, the code halves the rows that it takes at once and adds their gradients up (`Slices` in `minidsk/train/loop.py`). The result is the same step, but it takes longer than in the table, and we have not tried it on 16 GB. On a CPU, `make reason` takes the way of the `nano` preset in about eight minutes.
#
# The table to beat is printed by `make record`. It shows your own runs beside ours: `make record ARGS=runs/mine`.

# %% tags=["hide-input"]
table(STANDING, [standing(name, sorted(results.folder(f"reason_{name}").glob("seed*")))
                 for name in ("capstone", "sos", "five", "small", "nano")],
      "Accuracies in %, greedy, held-out problems: mean over seeds and 95 % interval; with "
      "one seed, over problems. Weights without the MTP "
      "module, with it 19 million. sos, five: the two sections above. Blank: not run. "
      "nano: the recorded runs, which are longer than that of the shipped checkpoints.")

# %% [markdown]
# ## What went wrong, or did not help
#
# 1. **A text with a fault.** In two older runs, notes of the searching authors began with the numbers, `>` and the target. After reward, one model often wrote `>` in the middle of a search and went on with a target that was not in the problem: in 141 of its 208 wrong replies to four numbers. The [lab notebook](../book/lab_notebook.md) has the story.
# 2. **Gentler reward.** We suspected that the division by the deviation of the group held the runs back. We cannot say: one run without it ended no higher, but its seed and its share of searching authors differ too. The later runs leave it out as well.
# 3. **An explanation.** An earlier version of this page said that worked sums repair false checks. Two seeds agreed with it, and the control of equal length did not.

# %% [markdown]
# ## Exercises
#
# ```{exercise} The first slip
# :label: ex-22b-slip
#
# *15 minutes.* `is_false` says whether a check holds a mistake, and not where. Write `first_slip(chain)`, which returns the first part that does not follow from the part before it, or `None`. `check("capstone.first_slip", my_slip)` knows five mistakes by name. Is 8/0+1=1 a slip, and is 9+5+6=13+6=20?
#
# **Hint.** Split the chain at each `=`. What is to be done with a part that has no value?
# ```

# %%
print(describe("capstone.first_slip"))


def my_slip(chain):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("capstone.first_slip", my_slip)

# %% [markdown]
# ```{solution-start} ex-22b-slip
# :class: dropdown
# ```

# %%
def slip_solution(chain):
    before = None
    for part in chain.split("="):
        try:
            value = value_of(part)[0]
        except ValueError:
            return part
        if before is not None and value != before:
            return part
        before = value
    return None


check("capstone.first_slip", slip_solution)

# %% [markdown]
# A part that has no value is a slip wherever it stands, and two slips can cancel, so it is not enough to compare the ends.
#
# ```{solution-end}
# ```

# %% [markdown]
# ```{exercise} Where five numbers fail
# :label: ex-22b-five
#
# *20 minutes.* After reward, the model for five numbers claims more false successes. In `five["R1-Zero"]`, take the replies that `why` calls *false check*, and find out in which part of their check the first slip stands. Is it the same place as in the base's? Then read three of these replies. What did the author take over wrongly?
#
# **Hint.** `CLAIM.search(thought)[1]` is the check, and `my_slip` of the exercise above returns a part. Compare that part with what the pair's line says.
# ```

# %% [markdown]
# ```{solution-start} ex-22b-five
# :class: dropdown
# ```

# %%
for name, some in five.items():
    at = Counter()
    for reply in some:
        if why(reply) == "false check":
            chain = CLAIM.search(reply["reply"].partition("</think>")[0])[1]
            at[1 + chain.split("=").index(slip_solution(chain))] += 1
    print(f"{name}: first slip in part", dict(sorted(at.items())))

# %% tags=["hide-input"]
asked = "Make 57 from 18 82 56 2 22."
print(next(one["reply"] for one in five["R1-Zero"] if one["prompt"].strip() == asked))

# %% [markdown]
# Most slips stand in the second part, where the first operation has just been worked out. In the example, the model needs 41, and the pair 82 and 2 does make it, as 82/2. But it writes 82-2 and says that this is 41. So it copied the 41 that it needed beside the wrong operation, and did not calculate. Before reward, 13 of 55 slips come later, and after it 41 of 126, which may be chance.
#
# ```{solution-end}
# ```

# %% [markdown]
# ```{exercise} Which bound holds on your GPU?
# :label: ex-22b-bound
#
# *5 minutes.* On a T4, one of the two bounds decides for pretraining and the other one for reward. From which peak on, in operations per second, does memory decide for pretraining as well, if the bandwidth stays that of a T4?
#
# **Hint.** Set the two values of `bounds` equal.
# ```

# %% [markdown]
# ```{solution-start} ex-22b-bound
# :class: dropdown
# ```

# %%
base = done[0]
waiting, _ = bounds(base.row["seconds"], base.row["flops"], **MINE)
equal = 2 * base.row["flops"] / waiting
print(f"from {equal / 1e12:.1f} TFLOP/s on")
assert min(bounds(base.row["seconds"], base.row["flops"], MINE["bandwidth"], equal)) == waiting

# %% [markdown]
# Half of the peak has to do the operations in the time that the memory takes. Who gives the whole peak is off by a factor of two.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
receipt()

# %% [markdown]
# ## Summary
#
# How much can 19 million parameters solve in ten minutes from random weights? Three seeds solve 92.9, 92.7 and 95.0 % of three and four numbers up to 99, from bases that solve 14 to 20 %.
#
# Most of the gap between four earlier runs lay in replies with a false check. The runs with pages of worked sums ended higher, as predicted. But a control without these sums ended as high, so it gives no sign that they are the reason. What remains are chance, longer reading, six more steps and fewer worksheets with more arithmetic of any kind, which we did not separate. Why the 20 % run ended six points above the other three we do not know. It read less than the runs with sums, and it is one seed. Reward made checks more frequent but seldom truer. With five numbers it changed how the model fails, and not how often.
#
# On the problems of Stream of Search, one seed solves 97.6 % with seen targets and 95.3 % with others. We think that its text is the reason, and have no control for that.
#
# - I can now read a search from both ends, with three numbers and with four, and say why its result is calculated again.
# - I can now sort failures by their cause, and ask for a control of equal length.
# - I can now estimate what such a run costs on another GPU from two numbers of its data sheet, and say what that leaves out.

# %% [markdown]
# ## Read on
#
# - Stream of Search {cite}`gandhi2024sos` trains models from random weights on written searches in Countdown, the closest relative of this page.
# - TinyZero {cite}`pan2025tinyzero` started with Countdown and a base of 3 billion parameters.
# - `minidsk reason --preset capstone --until zero` repeats the run, and `minidsk chat capstone-zero --max-new-tokens 1100` lets you pose problems to our model of seed 0.
