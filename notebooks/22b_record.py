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
# [The chapter before](22_capstone.ipynb) posed three numbers up to 20. Others pose three or four numbers up to 99, and give the problem to language models that have read much of the internet. A user of GRPO-Zero [reports](https://github.com/policy-gradient/GRPO-Zero/issues/7) 72 % after four days, with a model of 3 billion parameters. How much of it can a model of 19 million parameters solve that begins with random weights and has ten minutes?
#
# - **You will build** a count of what goes wrong in recorded thoughts, a table of what such a run costs on other machines, and the command for your own run.
# - **You need** [the chapter before](22_capstone.ipynb), and no GPU. The runs are recorded.
# - **It takes** about 20 s to run on two CPU cores (no GPU is needed), and half an hour to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import re
from collections import Counter
from statistics import fmean

import matplotlib.pyplot as plt

from minidsk import results
from minidsk.data.corpus import TinyWeb
from minidsk.diagrams import direct_labels, show, table
from minidsk.homework import predict, receipt
from minidsk.infer.evaluate import wilson
from minidsk.presets import capstone
from minidsk.report.ledger import LEDGER, STANDING, elsewhere, ledger, standing
from minidsk.report.stages import read_stages
from minidsk.rl.recipe import title_of
from minidsk.tasks.countdown import Countdown
from minidsk.tasks.expression import evaluate as value_of

plt.style.use("minidsk.diagrams.look")

# %% [markdown]
# ## The problems
#
# Three or four numbers from 1 to 99 and a target from 10 to 99 are drawn, each with equal chances, and a problem is kept if an expression that uses each number once reaches the target. Half of the problems have four numbers. Here are three that no page of the model's text contains, in any order of their numbers.

# %%
held_out = Countdown((3, 4), high=99, draw="uniform", split="test")
for i in range(3):
    print(held_out[i].prompt, "   one way:", held_out[i].solution)

# %% [markdown]
# How hard are they? With four numbers there are thousands of expressions, and few of them are right. Searching forwards from the numbers, as the persistent authors of the chapter before do, would take pages of text for one problem. Our best authors therefore search from both ends.

# %% [markdown]
# ## An author who works backwards
#
# A fifth of the worksheets in this web are by such authors. Here is a short one.

# %%
web = TinyWeb(capstone().pretrain.web, seed=0)
print(web[99])

# %% [markdown]
# Read it line by line. `66 26:+92-40` takes two of the numbers, the *pair*, and lists what they make: 66+26=92 and 66-26=40. `17:+40` sets 17 aside and asks what the pair would have to make: 40, because 40-17=23. The sign is that of the operation that undoes the last one. The pair does make 40, but this author overlooks it, as one hit in twenty is overlooked in this web. With the next pair, 26 and 17, the author needs 43, because 66-43=23 (the sign `~` stands for "from 66"), and the pair makes it.
#
# When one of these needs is among the things that the pair makes, the author writes `!` and calculates the whole expression again, one operation at a time, up to *yes* or *no*. So the search proposes, and written arithmetic decides. A model of this size makes mistakes when it calculates in its head, so it needs the second step.

# %% [markdown]
# ## Ten minutes
#
# The other four fifths of the authors guess and give up. So the base model, which imitates all of them, mostly guesses. Then comes reward for right answers, and nothing else.
#
# The base solves about a third of the problems. Before you run on, guess what R1-Zero solves.

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


rows = []
for stage in ("base", "zero"):
    found = results.read("reason_capstone", f"seed0/{stage}/evaluation.json")
    scores = by_count(found["replies"])
    rows.append([title_of(stage), *(share(right) for right in scores.values())])
table(["stage", *scores], rows, "2,048 held-out problems, greedy answers, one seed.")

# %%
solved.reveal(round(100 * fmean(scores["both"])))

# %% [markdown]
# GRPO-Zero's problems come from another list of the same kind, so do not compare the accuracies point by point. Its model had about 160 times as many parameters, began as a trained chat model, and still can chat. Ours began with nothing, and has learned nothing except worksheets.

# %% [markdown]
# ## One run is no result
#
# We repeated the run with fewer searching authors, so that the base begins lower, and once with another seed. In the table and the figure, each line is one run.

# %% tags=["hide-input"]
RUNS = {"15 %": ("reason_capstone_share15", 0), "18 %": ("reason_capstone_share18", 0),
        "19 %, seed 1": ("reason_capstone_share19", 1),
        "20 %": ("reason_capstone", 0)}  # fmt: skip
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
# All four climb, but three of them stop about six points below the fourth. Why? Reward was nearly the same in all, so we look at what the models still get wrong.

# %% [markdown]
# ## What is still wrong?
#
# A reply that fails can be cut off at its limit of 1,100 tokens, because the search did not end. Or it ended with a wrong answer. An author's final check stands behind a `!`, so we can calculate each check again and compare the parts, which all have to be equal.

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
# The second chain is from a reply: 59+3 is not 72. The third shows that a check which cannot be calculated counts as false. To see whether `is_false` finds a planted mistake, we change the last digit of every check of one run, and each must now be found.

# %%
last = results.read("reason_capstone", "seed0/zero/evaluation.json")["replies"]
written = [chain for reply in last for chain in CHECK.findall(reply["reply"])]
true = [chain for chain in written if not is_false(chain)]
planted = [chain[:-1] + str((int(chain[-1]) + 1) % 10) for chain in true]
print(f"true checks: {len(true):,}; false after the change: {sum(map(is_false, planted)):,}")
assert all(map(is_false, planted))


# %%
def why(reply: dict) -> str:
    """What is wrong with a reply, in two words."""
    problem, chains = Countdown.pose(reply["prompt"].strip()), CHECK.findall(reply["reply"])
    if reply["score"]:
        return "right"
    if "</think>" not in reply["reply"]:
        return "cut off"
    if chains and is_false(chains[-1]):
        return "false check"
    used = re.findall("[0-9]+", problem.answer(reply["reply"]) or "")
    given = sorted(map(str, problem.numbers))
    return "other numbers" if sorted(used) != given else "true check, wrong answer"


# %% [markdown]
# How many of all checks are false, and how do the failures divide?

# %% tags=["hide-input"]
KINDS = ("cut off", "false check", "true check, wrong answer", "other numbers")
rows, slips = [], {}
for name, (record, seed) in RUNS.items():
    for stage in ("base", "zero"):
        some = results.read(record, f"seed{seed}/{stage}/evaluation.json")["replies"]
        judged = [is_false(chain) for reply in some for chain in CHECK.findall(reply["reply"])]
        slips[name, stage] = f"{sum(judged)} of {len(judged):,}"
    counts = Counter(map(why, some))
    rows.append([name, slips[name, "base"], slips[name, "zero"],
                 *(str(counts[kind]) for kind in KINDS)])  # fmt: skip
table(["searching authors", "false checks, base", "false checks, R1-Zero",
       *(f"R1-Zero: {kind}" for kind in KINDS)], rows,
      "Checks that do not add up, and why replies of R1-Zero fail: counts of 2,048 replies.")

# %% [markdown]
# The model that ends highest writes the truest checks: 38 of 2,040 are false, one in fifty. With seed 1 it is 432 of 2,361, nearly one in five. Its base was no better (42 of 313), so reward did not repair it. Reward taught all four models to search, and none of them to calculate.
#
# This is what we would expect. Reward makes what leads to right answers more frequent, and a slip in one of hundreds of sums hardly changes a reward. Only pretraining teaches sums, and in a web with fewer searching authors there are fewer of their checks to learn from. Four runs do not prove it, because seed, share and length of reading change together. The test would be a web with few searching authors and many worked sums, and we have not made it.

# %% [markdown]
# ## Are the problems too kind?
#
# Our own generator made the problems, and our own verifier judged the answers. `reasoning-gym` {cite}`stojanovski2025gym` is a library of such tasks by other people. It makes its problems from a random expression, and it parses answers with `sympy`. So we let the three shipped checkpoints answer its problems of their size, and let both scorers judge all replies.

# %% tags=["hide-input"]
rows, draws = [], ("our draw", "their draw")
for row in results.read("countdown_gym", "metrics.json"):
    right = [share([1.0] * row[draw]["theirs"]
                   + [0.0] * (row[draw]["problems"] - row[draw]["theirs"])) for draw in draws]
    agree = all(len({row[draw][who] for who in ("ours", "theirs", "both")}) == 1
                for draw in draws)  # fmt: skip
    rows.append([row["checkpoint"], *right, "yes" if agree else "no"])
asked = row["sizes"]
table(["checkpoint", "our problems", "reasoning-gym's problems", "scorers agree on all"], rows,
      f"{row['our draw']['problems']:,} held-out problems each: three numbers up to "
      f"{asked['max_value']}, targets up to {asked['max_target']}, + and -; greedy, one seed, "
      "judged by reasoning-gym's scorer.")

# %% [markdown]
# The two accuracies of a checkpoint differ by two points at most, and no reply was right for one scorer and wrong for the other. The model of the record is not among them, because its weights were not kept.

# %% [markdown]
# ## What it cost, and what it would cost you
#
# The dollars are DeepSeek's own assumption of 2 for an hour of a GPU {cite}`deepseekv3`, and the watt-hours assume that the board takes all that its data sheet allows.

# %% tags=["hide-input"]
facts = results.facts("reason_capstone", "seed0/run.json")
table(LEDGER, ledger(stages["20 %"], facts),
      f"The run with 20 % of searching authors, on one {facts['machine']['gpus'][0]}.")

# %% [markdown]
# Colab lends a T4, a GPU of 2018 with a fifteenth of the H200's memory bandwidth and no bf16, so all of our products run in float32 there. We have none, so this is an estimate by two bounds. A stage takes as many times longer as its memory is slower, or it computes at half of the T4's float32 peak, whichever is longer.

# %%
def minutes(preset: str, until: str) -> tuple[str, str]:
    """Recorded and estimated minutes of a preset's stages, from the first one to `until`."""
    about = results.facts(f"reason_{preset}", "seed0/run.json")
    done = read_stages(results.folder(f"reason_{preset}") / "seed0")
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
# So the whole way of the `small` preset, up to R1, fits into an hour of a T4, and this page's run does not. On a CPU, `make reason` takes the way of the `nano` preset in about eight minutes.
#
# The table to beat is printed by `make record`. It shows your own runs beside ours: `make record ARGS=runs/mine`.

# %% tags=["hide-input"]
table(STANDING, [standing(name, sorted(results.folder(f"reason_{name}").glob("seed*")))
                 for name in ("capstone", "small", "nano")],
      "Accuracies in %, greedy, held-out problems: mean over seeds and 95 % interval; "
      "with one seed, the interval over problems. Weights without the MTP module.")

# %% [markdown]
# ## What went wrong, or did not help
#
# 1. **A text with a fault.** In two older runs, notes of the searching authors began with the numbers, `>` and the target. After reward, one model often wrote `>` in the middle of a search and went on with a target that was not in the problem: in 141 of its 208 wrong replies to four numbers. The [lab notebook](../book/lab_notebook.md) has the story.
# 2. **Gentler reward.** We suspected that reward had made the training unsteady, and left out the division of advantages by the deviation of their group in the run of seed 1. It did not help, and the table of failures shows where the points are lost instead.

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
receipt()

# %% [markdown]
# ## Summary
#
# How much can 19 million parameters solve in ten minutes from random weights? The best of four runs solves 94.3 % of three and four numbers up to 99, after 498 seconds on one H200. The other three, which have fewer searching authors or another seed, solve 87 to 89 %. So one run of a recipe tells you what is possible, and not what to expect.
#
# The runs differ in their arithmetic. The best one writes one false check in fifty, the others one in ten to one in five, and reward repaired it in none of them.
#
# - I can now read a search from both ends, and say why its result is calculated again.
# - I can now sort failures by their cause before I change a training.
# - I can now say what such a run costs on the machine that I have, and by which assumptions.

# %% [markdown]
# ## Read on
#
# - Stream of Search {cite}`gandhi2024sos` trains models from random weights on written searches in Countdown, the closest relative of this page.
# - TinyZero {cite}`pan2025tinyzero` started with Countdown and a base of 3 billion parameters.
# - `minidsk reason --preset capstone --until zero` repeats the run on a GPU with 80 GB or more.
