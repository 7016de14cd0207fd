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
# # Which order, and whose thoughts?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/15b_order.ipynb)
#
# In [R1: what each stage adds](15_r1.ipynb), imitating 256 thoughts of a careful author did nearly all that reward did. So two choices are left open. **Whose thoughts should a model imitate, and is a budget of operations better spent on imitation, on reward, or on one after the other?** DeepSeek took thoughts from R1-Zero and had people correct them. We compare three authors live, and then read the record of five seeds on two webs.
#
# - **You will build** a comparison of three authors of thoughts, a count of operations that makes imitation and reward comparable, and a score for letters that a person has to correct.
# - **You need** PyTorch and [chapter 15](15_r1.ipynb), whose stages we use here.
# - **It takes** less than a minute to run on two CPU cores of a laptop (no GPU is needed), and half an hour to read. The larger comparisons were recorded on a GPU.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import random
import re
import tempfile
import time
from statistics import mean

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.data.worksheet import all_ways
from minidsk.diagrams import direct_labels, show, table
from minidsk.homework import bites, predict, receipt
from minidsk.infer.evaluate import answers as replies_of
from minidsk.presets import nano
from minidsk.report.interval import apart
from minidsk.rl.harvest import FAR, Thoughts, harvest
from minidsk.rl.language import language
from minidsk.tasks import make_task
from minidsk.tasks.base import thought_of
from minidsk.tasks.expression import write_chain
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import SFTConfig, fine_tune

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)
base, zero = minidsk.load_policy("nano-base"), minidsk.load_policy("nano-zero")
for policy in (base, zero):
    _ = policy.model.double()  # 16 digits, so that your processor draws what ours drew

# %% [markdown]
# ## Whose thoughts teach the most?
#
# Two checkpoints come with the package. **nano-base** has read a small web of worksheets, lists and letters. **nano-zero** is this base after R1-Zero, which is reward for right answers alone. Both play Countdown: make a target from three numbers up to 12, with plus and minus.
#
# The base will imitate 256 thoughts, for 16 steps of 16, by one of three authors:
#
# - the **careful author**, a program that tries all ways from a random one on, in English, and never repeats a line;
# - **R1-Zero**, of whose sampled answers we keep those that are right and readable (in the form that is wanted, in one language, and without repeats);
# - the **base itself**, filtered in the same way. It brings no knowledge that the model does not have, so it is our control.

# %% tags=["hide-input"]
train, test = nano().make_task("train"), nano().make_task("test")
held_out = list({p.prompt: p for p in (test[i] for i in range(2048))}.values())[:64]


def careful(problem, rng: random.Random) -> str:
    """A thought and an answer as a tidy author writes them; see the page on R1's stages."""
    ways = list(all_ways(problem.numbers, problem.ops))
    begin, lines = rng.randrange(len(ways)), []
    for way in ways[begin:] + ways[:begin]:
        chain = write_chain(problem.numbers, way)
        right = chain[-1] == str(problem.target)
        lines.append(f"{'='.join(chain)}?{problem.target} {'yes' if right else 'no'}")
        if right:
            break
    return "<think>" + "\n".join(lines) + f"</think><answer>{chain[0]}</answer>"

# %%
rng, wanted = random.Random(1), Thoughts(count=256, max_new_tokens=128, keep="readable")
thoughts = {"the careful author": [(p.prompt, careful(p, rng))
                                   for p in (train[FAR + i] for i in range(256))]}  # fmt: skip
for name, author in (("R1-Zero", zero), ("the base itself", base)):
    found = harvest(author, train, wanted, seed=0)
    thoughts[name] = found.examples[:256]
    print(f"{name}: {found.asked} answers were drawn for 256 that are right and readable")

# %% [markdown]
# How do the three kinds of thoughts differ? We count their attempts (one line each).

# %%
for name, examples in thoughts.items():
    lines = [len(thought_of(text).splitlines()) for _, text in examples]
    print(f"{name}: {mean(lines):.1f} attempts per thought, "
          f"{mean(n == 1 for n in lines):.0%} of thoughts with one alone")

# %% [markdown]
# The filter keeps right answers only, so most of the base's own thoughts are lucky first attempts. R1-Zero searches longer, and the careful author longest. Now the base imitates each:

# %%
def imitate(policy, examples, steps: int = 16):
    """A copy of the policy, fine-tuned by the package on pairs of prompt and reply."""
    student = policy.copy()
    settings = SFTConfig(steps=steps, batch=16, optim=OptimConfig(lr=1e-3, warmup=5))
    with tempfile.TemporaryDirectory() as folder:
        fine_tune(student, examples, settings, Run(folder, "cold", settings), progress=False)
    return student


def mixed(problem, text: str) -> bool:
    """Whether a thought has words of both languages."""
    thought = thought_of(text)
    return bool(re.search("[A-Za-z]", thought) and re.search("[一-鿿]", thought))

# %%
asked = [p for p in held_out[:32] for _ in range(4)]


def look(policy) -> tuple[float, float, float]:
    """Greedy accuracy; accuracy and mixing of samples at temperature 1."""
    drawn = policy.sample([p.prompt for p in asked], 1, 128, 1.0, torch.Generator().manual_seed(0))
    of = list(zip(asked, drawn.texts, strict=True))
    greedy = zip(held_out, replies_of(policy, held_out, 160), strict=True)
    return (mean(p.score(t) for p, t in greedy), mean(p.score(t) for p, t in of),
            mean(mixed(p, t) for p, t in of))  # fmt: skip


# tolerance: 3% + 0.04
students = {name: imitate(base, examples) for name, examples in thoughts.items()}
models = {"nano-base": base, **students, "nano-zero": zero}
looks = {name: look(policy) for name, policy in models.items()}
table(["model, or whose thoughts it imitated", "right, greedy", "right, sampled", "mixed"],
      [[name, *(f"{x:.0%}" for x in of)] for name, of in looks.items()],
      "64 held-out problems, greedily, and 128 samples. One seed.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.5, 2.6))
names = list(looks)[::-1]
_ = ax.barh(names, [100 * looks[name][0] for name in names], height=0.5)
for y, name in enumerate(names):
    _ = ax.text(100 * looks[name][0] + 1, y, f"{100 * looks[name][0]:.0f}", va="center")
_ = ax.set(xlabel="right, greedy, %", xlim=(0, 105))
show(fig, "PLACEHOLDER", "Bars: " + ", ".join(f"{n} {100 * looks[n][0]:.0f} %" for n in names) + ".")

# %% [markdown]
# TODO

# %%
# tolerance: 3% + 0.02
settings = {**nano().problem, "split": "test", "language": "zh"}
in_chinese = [make_task(**settings)[i] for i in range(64)]
for name, policy in (("base", base), ("cold start", cold)):
    of = list(zip(in_chinese, replies_of(policy, in_chinese, 160), strict=True))
    print(f"{name}: {mean(p.score(t) for p, t in of):.0%} right, "
          f"{mean(in_language(p, t) for p, t in of):.0%} in the language of the question")
assert mean(in_language(p, t) for p, t in of) < 0.7

# %% tags=["hide-input"]
record = [row for row in results.read("ch15_stages")["rows"] if "failed" not in row]
POOR, RICH = 0.01, 0.2
MEASURES = {
    "right": lambda r: 100 * r["accuracy"],
    "readable": lambda r: 100 * r["sampled"]["readable"],
    "mixed": lambda r: 100 * r["sampled"]["both_languages"],
    "pages": lambda r: 100 * r["pages"],
    "in form": lambda r: 100 * r["well_formed"],
    "cost": lambda r: r["total_flops"] / 1e12,
    "letters": lambda r: 100 * r["letters"],
    "letters that add up": lambda r: 100 * r["letters_true"],
}


def seeds_of(share: float, arm: str, what: str) -> dict[int, float]:
    """One measure of one arm, by seed."""
    return {r["seed"]: MEASURES[what](r) for r in record
            if (r["share"], r["arm"]) == (share, arm)}  # fmt: skip


def average(share: float, arm: str, what: str) -> float:
    return mean(seeds_of(share, arm, what).values())


def effect(share: float, arm: str, other: str, what: str = "right") -> tuple[float, float]:
    """Arm minus other, seed by seed: the mean, and half of its 95 % interval."""
    ours, others = seeds_of(share, arm, what), seeds_of(share, other, what)
    both = sorted(set(ours) & set(others))
    return apart([ours[s] for s in both], [others[s] for s in both])


print(results.origin("ch15_stages"))
full_guess.reveal(round(effect(POOR, "full", "zero_longer")[0], 1))

# %% tags=["hide-input"]
PRICES = (("from the base", ("zero", "zero_language", "zero_language_1")),
          ("from the cold start", ("cold_form", "cold_language", "cold_language_1")))
rows = []
for share, web in ((POOR, "poor"), (RICH, "rich")):
    for begin, arms in PRICES:
        row = [web, begin, f"{average(share, arms[0], 'mixed'):.1f}"]
        for arm in arms[1:]:
            row += [f"{average(share, arm, 'mixed'):.1f}",
                    "{:+.1f} ± {:.1f}".format(*effect(share, arm, arms[0]))]
        rows.append(row)
table(["web", "48 steps of reward", "mixed, w = 0", "w = 0.2", "right, minus w = 0", "w = 1",
       "right, minus w = 0"], rows, "Mixed: % of sampled thoughts, means of five seeds. "
      "Right: points of greedy accuracy, 95 % intervals over five pairs of seeds.")

# %% [markdown]
# From the base, a weight of 0.2 is enough: mixing falls from about one thought in eight to 3 % or less. After the cold start in one language, nothing is left for it to do. **We cannot see a price**, because all intervals of accuracy include zero. They are wide, up to ± 11 points, so the *slight* loss that DeepSeek reports could hide in them.
#
# ## Reward on top of imitation, or instead of it?
#
# R1 rewards a model that has imitated first. Tulu 3 {cite}`lambert2024tulu3` has the same order: fine-tuning, and later reward from a verifier. Is it better to spend everything on one of the two? We give each way the operations of R1-Zero's 48 steps: all for reward, all for imitating careful thoughts, or half and half. Because people can write few thoughts and programs many, imitation has either 256 thoughts or 2,048. How many points of accuracy will imitating 2,048 thoughts have more than reward, on the poor web?

# %% tags=["hide-input"]
guess = None
question = "Poor web, equal operations: 2,048 thoughts minus reward, in points?"
author_guess = predict("r1.author", question, guess, example=15, unit="points",
                       scale="difference", tolerance=40)  # fmt: skip
author_guess

# %% tags=["hide-input"]
BUDGET = {"zero": "reward alone", "half_few_sft": "256 thoughts, half the budget",
          "half_few": "... then half for reward", "sft_few": "... or all for imitation",
          "half_many_sft": "2,048 thoughts, half the budget",
          "half_many": "... then half for reward", "sft_many": "... or all for imitation"}
author_guess.reveal(round(effect(POOR, "sft_many", "zero")[0], 1))
NAMES = {"sft_few": "imitation for all the budget", "half_few_sft": "the model before it"}
rows = []
for arm, name in BUDGET.items():
    row = [name, len(seeds_of(POOR, arm, "right"))]
    for share in (POOR, RICH):
        several = arm != "zero" and row[1] > 1
        gain = "{:+.0f} ± {:.0f}".format(*effect(share, arm, "zero")) if several else ""
        row += [f"{average(share, arm, 'right'):.0f}", gain,
                f"{average(share, arm, 'pages'):.0f}", f"{average(share, arm, 'cost'):.1f}"]
    rows.append(row)
for share, web in ((POOR, "poor"), (RICH, "rich")):
    for arm, other in (("half_few", "sft_few"), ("half_few", "half_few_sft")):
        found = "{:+.1f} ± {:.1f}".format(*effect(share, arm, other))
        print(f"{web} web, 256 thoughts then reward, minus {NAMES[other]}: {found} points")
table(["way", "seeds", "poor: right, %", "minus reward", "pages, %", "tera-FLOPs",
       "rich: right, %", "minus reward", "pages, %", "tera-FLOPs"], rows, "Greedy accuracy on "
      "1,024 held-out problems, and pages; 95 % intervals over pairs of seeds. The writing of "
      "the thoughts costs no operations here.")

# %% [markdown]
# **Imitating a careful author beats reward on the poor web by far**, and with 2,048 thoughts on both webs. This is no fair comparison, because these thoughts bring knowledge from outside. With 256 thoughts on the rich web, imitation alone goes over them many times and ends below reward on average.
#
# **Reward on top of imitation lost accuracy in our setting**: on both webs against the model before it, and on the poor web against more imitation. But imitation for so long forgets most other things, while reward alone keeps four fifths of the pages. So the two have different prices. Imitation is cheap and needs an author and pages against forgetting. Reward needs only a verifier, and disturbs less of what it does not reward.
#
# ## When the thoughts are R1-Zero's own
#
# Our recipes *nano* and *small* do not have a careful author. Their cold start takes R1-Zero's own right and readable thoughts, as the checkpoint nano-r1 did. What did these recorded runs gain?

# %% tags=["hide-input"]
def stage_row(name: str, seed: int, stage: str) -> float:
    row = results.read(name, f"seed{seed}/{stage}/evaluation.json")["row"]
    return 100 * row["accuracy"]


rows, worlds = [], {"reason_nano": "nano: up to 12, + -",
                    "reason_small": "small: up to 20, + - * /"}  # fmt: skip
for name, what in worlds.items():
    values = {stage: [stage_row(name, s, stage) for s in range(3)]
              for stage in ("base", "zero", "cold", "r1")}  # fmt: skip
    rows.append([what, *(f"{mean(v):.1f}" for v in values.values()),
                 "{:+.1f} ± {:.1f}".format(*apart(values["r1"], values["zero"]))])
for share, web in ((POOR, "poor"), (RICH, "rich")):
    rows.append([f"{web} web, as above", *(f"{average(share, arm, 'right'):.1f}"
                 for arm in ("base", "zero", "cold_own", "own_language")),
                 "{:+.1f} ± {:.1f}".format(*effect(share, "own_language", "zero"))])
for share, web in ((POOR, "poor"), (RICH, "rich")):
    print("{} web, mixed: R1-Zero {:.1f} %, the cold start from its thoughts {:.1f} %".format(
        web, *(average(share, arm, "mixed") for arm in ("zero", "cold_own"))))
table(["world", "base", "R1-Zero", "cold start", "R1, stage 2", "R1 minus R1-Zero"], rows,
      "Greedy accuracy in %, three numbers. nano: 512 held-out problems, small: 1,024, three "
      "seeds each; the webs: five seeds. The last column has 95 % intervals.")

# %% [markdown]
# **On *small*, R1 equals R1-Zero; on *nano*, it lies a few points below.** The table shows where these points go. In *nano*, imitating 256 of R1-Zero's thoughts loses almost three points, and the 12 steps of reward afterwards do not win them back. In *small*, the cold start has 2,048 thoughts and loses nothing. In the experiment above, imitating as many of R1-Zero's thoughts loses nothing that we can see. So we do not know why *nano* loses.
#
# Nothing was gained either. R1-Zero's own thoughts, filtered, teach the base what R1-Zero already does. What they do change is the mixing, as the printed lines say.
#
# ## What still needs people
#
# Stage 4 could reward our pages because a list has one right answer. What about letters, which the web also has? We can compute a score for their form: a greeting, a thank-you with a number, how many were given away, and a name below. Here are three letters that this score marks alike:

# %%
LETTER = re.compile(r"Dear (\w+),\nthank you for the (\d+) (\w+)\. "
                    r"I gave (\d+) away\.\nYours, (\w+)\s*")  # fmt: skip


def letter_form(text: str) -> float:
    """1 for a text with all parts of a letter."""
    return float(LETTER.fullmatch(text) is not None)


begun = ["Dear Ada,\n", "Dear Tom,\n", "Dear Mei,\n"]
letters = [p + t for p, t in zip([p for p in begun for _ in range(32)],
                                 sampled(base, begun, size=32), strict=True)]
formed = [LETTER.fullmatch(t).groups() for t in letters if letter_form(t)]
print(f"{len(formed)} of {len(letters)} letters of nano-base have the form")


# %% tags=["hide-input"]
def first_with(fault):
    """The first well-formed letter with a fault, or None."""
    found = (t for t in letters if letter_form(t) and fault(*LETTER.fullmatch(t).groups()))
    return next(found, None)


kinds = {
    "nothing wrong": lambda to, had, thing, gave, by: int(gave) <= int(had) and to != by,
    "gives away more than there was": lambda to, had, thing, gave, by: int(gave) > int(had),
    "is to its own author": lambda to, had, thing, gave, by: to == by,
}
for name, fault in kinds.items():
    print(f"score 1, {name}:", first_with(fault), sep="\n", end="\n\n")
both_faults = [sum(fault(*of) for of in formed) for fault in [*kinds.values()][1:]]
print("of {}: {} give too much, {} go to their author".format(len(formed), *both_faults))

# %% [markdown]
# A reader sees at once what the score does not: you cannot give away more than you had, and Ada does not thank herself. Each fault could become a rule, but only *after* a person has noticed it. Does training on other rewards move what no reward looks at? The record sampled 256 letters from each model:

# %% tags=["hide-input"]
rows = []
for arm in ("base", "zero", "cold_language", "rejection", "full"):
    row = [WAY[arm]]
    for share in (POOR, RICH):
        row += [f"{average(share, arm, 'letters'):.0f}",
                f"{average(share, arm, 'letters that add up'):.0f}"]
    rows.append(row)
table(["model", "poor: form, %", "form, and adds up", "rich: form, %", "form, and adds up"],
      rows, "Sampled letters, means of five seeds. Adds up: gives away no more than it had.")

# %% [markdown]
# Letters suffer and recover like the pages that are scored. So **imitation can teach what no score sees**, because the pages of stage 3 contain letters that people wrote. Stage 4 pays for lists and rows only, and on average loses some letters again. DeepSeek's answer is a reward model trained on people's judgements ([chapter 11](11_human_feedback.ipynb)), used only for the last 400 steps, because a longer use invites hacking.

# %% [markdown]
# ## What went wrong, or did not help
#
# TODO
#
# ## Receipt

# %% tags=["receipt"]
receipt(seconds=time.process_time(), spread={}, differences={})

# %% [markdown]
# ## Summary
#
# - I can now
#
# ## Read on
