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
# # Whose thoughts, and imitation or reward?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/15b_order.ipynb)
#
# A reasoner can learn by imitating thoughts, by reward for right answers, or by reward after imitation. **Whose thoughts should it imitate, and on which of the two should it spend its operations?** [R1: what each stage adds](15_r1.ipynb) builds DeepSeek-R1's four stages, and finds that 256 thoughts of a careful author do nearly all that reward does. This page looks at the two choices behind that result. We compare three authors live, and then read a record of five seeds on two webs.
#
# - **You will build** a comparison of three authors of thoughts, a count of operations that makes imitation and reward comparable, and a score for letters that only a person could complete.
# - **You need** PyTorch and [chapter 15](15_r1.ipynb).
# - **It takes** about a minute to run on two CPU cores of a laptop (no GPU is needed), and half an hour to read. The larger comparisons were recorded on a GPU.

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
from minidsk.diagrams import show, table
from minidsk.homework import bites, predict, receipt
from minidsk.infer.evaluate import answers as replies_of
from minidsk.presets import nano
from minidsk.report.interval import apart
from minidsk.rl.harvest import FAR, FILTERS, Thoughts, harvest
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
train, test = nano().make_task("train"), nano().make_task("test")
held_out = list({p.prompt: p for p in (test[i] for i in range(2048))}.values())[:64]

# %% [markdown]
# ## Whose thoughts teach the most?
#
# Two checkpoints (saved weights) come with the package. **nano-base** has read a small web of worksheets, lists and letters. **nano-zero** is this base after R1-Zero, which is reward for right answers alone. Both play Countdown: make a target from three numbers up to 12, with plus and minus.
#
# The base will imitate 256 thoughts by one of three authors. The first is the **careful author** of the main page, a program. It tries all ways to combine the numbers, beginning at a random one, writes only English, and stops at *yes*:

# %%
def careful(problem, rng: random.Random) -> str:
    """A thought and an answer as a tidy author writes them."""
    ways = list(all_ways(problem.numbers, problem.ops))
    begin, lines = rng.randrange(len(ways)), []
    for way in ways[begin:] + ways[:begin]:
        chain = write_chain(problem.numbers, way)
        right = chain[-1] == str(problem.target)
        lines.append(f"{'='.join(chain)}?{problem.target} {'yes' if right else 'no'}")
        if right:
            break
    return "<think>" + "\n".join(lines) + f"</think><answer>{chain[0]}</answer>"


rng = random.Random(1)
thoughts = {"careful author": [(p.prompt, careful(p, rng))
                               for p in (train[FAR + i] for i in range(256))]}  # fmt: skip
print("".join(thoughts["careful author"][0]))

# %% [markdown]
# The second author is **R1-Zero**. We sample answers and keep those that are right and readable, which means in the right form, in the language of the question, and with no attempt made twice. The third author is the **base itself**, filtered in the same way. Its thoughts hold nothing that the model could not already write, so it is our control.

# %%
wanted, authors = Thoughts(256, 128, keep="readable"), {"R1-Zero": zero, "base itself": base}
for name, author in authors.items():
    thoughts[name] = harvest(author, train, wanted, seed=0).examples

# %%
for name, author in authors.items():
    drawn = author.sample([train[FAR + i].prompt for i in range(128)], 1, 128, 1.0,
                          torch.Generator().manual_seed(0)).texts  # fmt: skip
    passed = mean(FILTERS["readable"](train[FAR + i], text) for i, text in enumerate(drawn))
    # tolerance: 5% + 0.03
    print(f"{name}: the filter keeps {passed:.0%} of 128 answers")

# %% [markdown]
# How do their thoughts differ? We count the attempts, which are the lines of a thought.

# %%
# tolerance: 5% + 0.1
for name, examples in thoughts.items():
    lines = [len(thought_of(text).splitlines()) for _, text in examples]
    print(f"{name}: {mean(lines):.1f} attempts per thought, "
          f"{mean(n == 1 for n in lines):.0%} of thoughts with one alone")

# %% [markdown]
# The base mostly gives up after one wrong attempt, and the filter throws such answers away. What stays is mostly a lucky first attempt, and in about a third of the cases a real search. The two other authors search more often.
#
# Guess first: nano-base solves 31 % of 64 held-out problems. How many will it solve after imitating 256 of **its own** right answers?

# %% tags=["prediction", "hide-input"]
guess = None
question = "nano-base after 256 of its own right answers: right, greedy, in %?"
own_guess = predict("r1.own", question, guess, example=35, unit="%",
                    scale="difference", tolerance=30)  # fmt: skip
own_guess

# %% [markdown]
# Each student takes 16 steps of 16 draws, with replacement, from its author's 256 thoughts. The main page builds this loop, and finds it equal to the package's `fine_tune`.

# %%
def imitate(policy, examples):
    """A copy of the policy, fine-tuned by the package on pairs of prompt and reply."""
    student = policy.copy()
    settings = SFTConfig(steps=16, batch=16, optim=OptimConfig(lr=1e-3, warmup=5))
    with tempfile.TemporaryDirectory() as folder:
        fine_tune(student, examples, settings, Run(folder, "cold", settings), progress=False)
    return student


students = {name: imitate(base, examples) for name, examples in thoughts.items()}

# %% tags=["hide-input"]
asked = [p for p in held_out[:32] for _ in range(4)]


def mixed(text: str) -> bool:
    """Whether a thought has words of both languages."""
    thought = thought_of(text)
    return bool(re.search("[A-Za-z]", thought) and re.search("[一-鿿]", thought))


def look(policy) -> list[float]:
    """Right answers, greedily and in samples at temperature 1; samples that mix languages."""
    generator = torch.Generator().manual_seed(0)
    drawn = policy.sample([p.prompt for p in asked], 1, 128, 1.0, generator)
    greedy = zip(held_out, replies_of(policy, held_out, 160), strict=True)
    sampled = zip(asked, drawn.texts, strict=True)
    return [float(mean(found)) for found in (
        [p.score(t) for p, t in greedy], [p.score(t) for p, t in sampled],
        [mixed(t) for t in drawn.texts])]  # fmt: skip

# %%
# tolerance: 5% + 0.06
models = {"nano-base": base, **students, "nano-zero": zero}
looks = {name: look(policy) for name, policy in models.items()}
own_guess.reveal(round(100 * looks["base itself"][0]))
assert looks["careful author"][0] > looks["base itself"][0] > 1.5 * looks["nano-base"][0]
table(["model, or whose thoughts it imitated", "right, greedy", "right, sampled", "mixed"],
      [[name, *(f"{x:.0%}" for x in of)] for name, of in looks.items()],
      "64 held-out problems with three numbers up to 12, greedily; 128 samples. One seed.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.5, 2.4))
names, shares = list(looks)[::-1], [100 * of[0] for of in looks.values()][::-1]
colours = ["C1" if name in students else "gray" for name in names]
_ = ax.barh(names, shares, height=0.5, color=colours)
for y, x in enumerate(shares):
    _ = ax.text(x + 1, y, f"{x:.0f}", va="center")
_ = ax.set(xlabel="right, greedy, % of 64 held-out problems", xlim=(0, 105))
show(fig, "In colour, the base after imitating 256 thoughts. Its own right answers about "
     "double what it solves.", "Bars: " + ", ".join(
         f"{n} {x:.0f} %" for n, x in zip(names, shares, strict=True)) + ".")  # fmt: skip

# %% [markdown]
# **The base's own right answers already double its greedy accuracy.** Every thought was the base's own; only the selection is new. They make the authors who search likelier than those who give up. R1-Zero's thoughts add more, and the careful author's most. Samples at temperature 1 have another order, because the student of R1-Zero's thoughts is ahead there. With 64 problems and one seed, differences of less than about 15 points can be chance.
#
# All students have nearly stopped mixing languages, because no example mixed them.
#
# ## In which language does it think afterwards?
#
# All 256 problems were in English. What do the students do with 64 **Chinese** questions? We print one reply of the careful author's student, and count the rest:

# %%
# tolerance: 5% + 0.06
in_chinese = [make_task(**{**nano().problem, "split": "test", "language": "zh"})[i]
              for i in range(64)]  # fmt: skip
rows, kept = [], {}
for name, policy in models.items():
    of = list(zip(in_chinese, replies_of(policy, in_chinese, 160), strict=True))
    kept[name] = mean(language(p, t) == 1 for p, t in of)
    rows.append([name, f"{mean(p.score(t) for p, t in of):.0%}", f"{kept[name]:.0%}"])
assert kept["nano-base"] == 1
assert max(kept[name] for name in students) < 0.85
wrote = replies_of(students["careful author"], in_chinese[:8], 160)
print(*next((p.prompt, t) for p, t in zip(in_chinese, wrote, strict=False)
            if language(p, t) < 1), sep="")
table(["model, or whose thoughts it imitated", "right, greedy", "in Chinese alone"], rows,
      "64 held-out questions in Chinese. In Chinese alone: no English word in the thought.")

# %% [markdown]
# **The students answer between a third and a half of the Chinese questions in English, at least in part**, and solve most of them all the same. The base and R1-Zero do not do this. Examples in one language teach that language, whatever the question's is.
#
# A reward can ask for the question's language instead. Its judge is the share of a thought's words that are in this language. A natural mistake is to ask for English always:

# %%
def english_always(problem, text: str) -> float:
    """A planted bug: it never looks at the question."""
    words = re.findall("[A-Za-z]+|[一-鿿]+", thought_of(text))
    return mean(word.isascii() for word in words) if words else 1.0


def chinese_is_paid(share) -> None:
    """A Chinese thought to a Chinese question has no word in the wrong language."""
    assert share(in_chinese[0], "<think>3+4=7?8 不对</think><answer>3+4</answer>") == 1


bites(chinese_is_paid, language, english_always)

# %% [markdown]
# What does this reward cost in accuracy? The record of the main page answers it for English questions. Its bases come from two webs. In the **poor** web 1 % of the authors search until they find a solution, and in the **rich** web 20 % do. From each base and from each cold start, 48 steps of reward were run without the language reward, and with weight 0.2 or 1. After the cold start, form was rewarded too, with weight 0.2 in all three.

# %% tags=["hide-input"]
record = [row for row in results.read("ch15_stages")["rows"] if "failed" not in row]
WEBS = {"poor": 0.01, "rich": 0.2}
MEASURES = {
    "right": lambda r: 100 * r["accuracy"],
    "mixed": lambda r: 100 * r["sampled"]["both_languages"],
    "pages": lambda r: 100 * r["pages"],
    "cost": lambda r: r["total_flops"] / 1e12,
    "letters": lambda r: 100 * r["letters"],
    "letters that add up": lambda r: 100 * r["letters_true"],
}


def seeds_of(web: str, arm: str, what: str) -> dict[int, float]:
    """One measure of one arm (a variant of the experiment), by seed."""
    return {r["seed"]: MEASURES[what](r) for r in record
            if (r["share"], r["arm"]) == (WEBS[web], arm)}  # fmt: skip


def average(web: str, arm: str, what: str) -> float:
    return mean(seeds_of(web, arm, what).values())


def effect(web: str, arm: str, other: str, what: str = "right") -> tuple[float, float]:
    """Arm minus other, seed by seed: the mean, and half of its 95 % interval."""
    ours, others = seeds_of(web, arm, what), seeds_of(web, other, what)
    both = sorted(set(ours) & set(others))
    return apart([ours[s] for s in both], [others[s] for s in both])


print(results.origin("ch15_stages"))

# %% tags=["hide-input"]
PRICES = {"from the base": ("zero", "zero_language", "zero_language_1"),
          "from the cold start": ("cold_form", "cold_language", "cold_language_1")}
rows = []
for web in WEBS:
    for begin, (without, *weighted) in PRICES.items():
        row = [web, begin, f"{average(web, without, 'mixed'):.1f}"]
        for arm in weighted:
            row += [f"{average(web, arm, 'mixed'):.1f}",
                    "{:+.1f} ± {:.1f}".format(*effect(web, arm, without))]
        rows.append(row)
table(["web", "48 steps of reward", "mixed, w = 0", "mixed, w = 0.2", "right, minus w = 0",
       "mixed, w = 1", "right, minus w = 0"], rows,
      "Mixed: % of sampled thoughts, means of five seeds. Right: points of greedy accuracy on "
      "1,024 held-out problems, 95 % intervals over five pairs of seeds.")

# %% [markdown]
# From the base, a weight of 0.2 is enough: mixing falls from about one thought in eight to 3 % or less. After a cold start in one language, nothing is left for it to do. **We cannot see a price**, because all intervals of accuracy include zero. They are wide, up to ± 11 points, so the slight loss that DeepSeek reports {cite}`deepseekr1` could hide in them.
#
# ## Are R1-Zero's own thoughts worth a stage?
#
# DeepSeek's thoughts came partly from R1-Zero, and people corrected them. The package's recipes *nano* and *small* let R1-Zero's right and readable thoughts be imitated as they are, and reward the model again afterwards, as in R1's second stage. What did these recorded runs gain on R1-Zero?

# %% tags=["hide-input"]
def stage_row(name: str, seed: int, stage: str) -> float:
    row = results.read(name, f"seed{seed}/{stage}/evaluation.json")["row"]
    return 100 * row["accuracy"]


rows, worlds = [], {"reason_nano": ["nano: up to 12, + -", 256],
                    "reason_small": ["small: up to 20, + - * /", 2048]}  # fmt: skip
for name, of in worlds.items():
    values = {stage: [stage_row(name, s, stage) for s in range(3)]
              for stage in ("base", "zero", "cold", "r1")}  # fmt: skip
    rows.append([*of, *(f"{mean(v):.1f}" for v in values.values()),
                 "{:+.1f} ± {:.1f}".format(*apart(values["r1"], values["zero"]))])
for web in WEBS:
    rows.append([f"{web} web, as above", 256, *(f"{average(web, arm, 'right'):.1f}"
                 for arm in ("base", "zero", "cold_own", "own_language")),
                 "{:+.1f} ± {:.1f}".format(*effect(web, "own_language", "zero"))])
for web in WEBS:
    print("{} web, mixed: R1-Zero {:.1f} %, the cold start from its thoughts {:.1f} %".format(
        web, *(average(web, arm, "mixed") for arm in ("zero", "cold_own"))))
table(["world", "thoughts", "base", "R1-Zero", "cold start", "then reward", "minus R1-Zero"],
      rows, "Greedy accuracy in %, three numbers. nano: 512 held-out problems, small: 1,024, "
      "three seeds each; the webs: five seeds. The last column has 95 % intervals.")

# %% [markdown]
# **On none of the four worlds is the result clearly better than R1-Zero.** On *nano* it lies a few points below, which three seeds cannot tell from chance. This is no surprise: the same reward had paid for these thoughts before, and they teach the base what R1-Zero can already do. What they do change is the mixing of languages, as the printed lines say.

# %% [markdown]
# ## Imitation, reward, or half of each?
#
# R1 rewards a model that has imitated first. Tulu 3 {cite}`lambert2024tulu3` does the same with fine-tuning, and later reward from a verifier. Is it better to spend everything on one of the two? To compare them, we must give each the same number of operations.
#
# Reading or writing a token takes about 2 operations per weight that it uses, a multiplication and an addition. Learning from it takes about 6, because the backward pass costs twice as much as the forward pass. Imitation only learns. Reward must **write every answer first**, so each of its tokens takes 2 + 6 operations per weight.
#
# R1-Zero has 48 steps of 256 answers. How many steps of 64 examples does imitation get, if all texts are equally long?

# %%
def imitation_steps(steps: int, answers: int, batch: int) -> float:
    """Steps of imitation that take as many operations as some steps of reward."""
    return steps * answers * (2 + 6) / (batch * 6)


def writing_is_free(steps: int, answers: int, batch: int) -> float:
    """A planted bug: counts only what is learned."""
    return steps * answers / batch


def six_for_eight(count) -> None:
    """Six answers of a token take 6 * 8 operations per weight, as eight examples do."""
    assert count(steps=1, answers=6, batch=1) == 8


bites(six_for_eight, imitation_steps, writing_is_free)
recorded = {r["arm"]: r for r in record if r["share"] == WEBS["poor"] and r["seed"] == 0}
print(f"{imitation_steps(48, 256, 64):.0f} steps by this count, "
      f"{recorded['sft_few']['steps']} in the record, which counts every token")

# %% [markdown]
# Each way now gets the operations of R1-Zero's 48 steps: all for reward, all for imitating careful thoughts, or half for each. Because people can write few thoughts and programs many, imitation has either 256 thoughts or 2,048. The 256 are therefore drawn more than sixty times each on average, which the column *passes* shows.
#
# The budget is **not fair to reward**. The careful thoughts bring knowledge from outside, because their author knows every solution, and writing them costs no operations here.
#
# How many points of accuracy will imitating 2,048 thoughts have more than reward, on the poor web?

# %% tags=["prediction", "hide-input"]
guess = None
question = "Poor web, equal operations: 2,048 thoughts minus reward, in points?"
author_guess = predict("r1.author", question, guess, example=15, unit="points",
                       scale="difference", tolerance=40)  # fmt: skip
author_guess

# %% tags=["hide-input"]
BUDGET = {"zero": "reward alone", "half_few_sft": "256 thoughts, half the budget",
          "half_few": "256, then reward", "sft_few": "256, all the budget",
          "half_many_sft": "2,048 thoughts, half the budget",
          "half_many": "2,048, then reward (one seed)", "sft_many": "2,048, all the budget"}
author_guess.reveal(round(effect("poor", "sft_many", "zero")[0], 1))
rows = []
for arm, name in BUDGET.items():
    count = len(seeds_of("poor", arm, "right"))
    passes = recorded[f"{arm}_sft" if f"{arm}_sft" in BUDGET else arm].get("epochs")
    row = [name, f"{passes:.0f}" if passes else "", count]
    for web in WEBS:
        several = arm != "zero" and count > 1
        gain = "{:+.0f} ± {:.0f}".format(*effect(web, arm, "zero")) if several else ""
        row += [f"{average(web, arm, 'right'):.0f}", gain, f"{average(web, arm, 'pages'):.0f}"]
    rows.append(row)
table(["way", "passes", "seeds", "poor: right, %", "minus reward", "pages, %",
       "rich: right, %", "minus reward", "pages, %"], rows,
      "Greedy accuracy on 1,024 held-out problems, and 512 pages of the web that need no "
      "thought; 95 % intervals over pairs of seeds. Passes are on average. The row with one "
      "seed has no interval, and its pages differ so much that they show nothing.")

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
WAYS = {"256": ("half_few_sft", "sft_few"), "2,048": ("half_many_sft", "sft_many")}
said = []
for ax, web in zip(axes, WEBS, strict=True):
    at = {arm: (average(web, arm, "pages"), average(web, arm, "right"))
          for arm in ("base", *BUDGET)}  # fmt: skip
    for arm, name, spot in (("base", "base", (-12, -15)), ("zero", "reward alone", (6, 3))):
        _ = ax.plot(*at[arm], "o", color="gray")
        _ = ax.annotate(name, at[arm], spot, textcoords="offset points")
    for colour, (count, (half, more)) in zip(("C0", "C1"), WAYS.items(), strict=True):
        _ = ax.plot(*zip(at["base"], at[half], at[more], strict=True), "o-", color=colour)
        _ = ax.annotate(count, at[more], (-6, 8), textcoords="offset points")
    _ = ax.annotate("", at["half_few"], at["half_few_sft"], arrowprops={
        "arrowstyle": "->", "color": "gray", "ls": "--"})  # fmt: skip
    _ = ax.set(title=f"{web} web", xlabel="pages right, %", xlim=(0, 110), ylim=(20, 105))
    said.append(f"{web} web: " + ", ".join(
        f"{name} {at[arm][0]:.0f} and {at[arm][1]:.0f}" for arm, name in BUDGET.items()))
_ = axes[0].set(ylabel="problems right, %")
show(fig, "Imitation of 256 or 2,048 thoughts goes up and far to the left: it solves more and "
     "forgets pages. On each line: the base, half the budget, and all of it. The dashed "
     "arrow is reward on top of 256 thoughts. Means of five seeds.",
     "Two panels, pages right and problems right in %. " + "; ".join(said) + ".")

# %% [markdown]
# Is reward worth its half of the budget, once a model has imitated 256 thoughts?

# %% tags=["hide-input"]
for web in WEBS:
    for other, name in (("half_few_sft", "the model before it"),
                        ("sft_few", "imitation for all the budget")):
        found = "{:+.1f} ± {:.1f}".format(*effect(web, "half_few", other))
        print(f"{web} web, 256 thoughts then reward, minus {name}: {found} points")

# %% [markdown]
# **Imitating a careful author beats reward on the poor web by far**, and with 2,048 thoughts on both webs, in a budget that leaves out what the thoughts cost. With 256 thoughts on the rich web, imitation alone ends below reward on average.
#
# **Reward on top of imitation lost accuracy in our setting**: on both webs against the model before it, and on the poor web against more imitation. So half a budget for reward after imitation, as in R1 and Tulu, was not the best use of it here. We did not try reward first and imitation after it.
#
# Imitation for so long forgets most of the pages, while reward alone keeps four fifths of them. Imitation is cheap, and needs an author, and pages in the mix against forgetting. Reward needs only a verifier, and disturbs less of what it does not reward.

# %% [markdown]
# ## What still needs people?
#
# Both ways need a judge: an author, or a rule. Letters, which the web also has, show where a rule ends. We can score their form, which is a greeting, thanks, and a name below:

# %%
LETTER = re.compile(r"Dear (\w+),\nthank you for the (\d+) (\w+)\. "
                    r"I gave (\d+) away\.\nYours, (\w+)\s*")  # fmt: skip


def letter_form(text: str) -> float:
    """1 for a text with all parts of a letter."""
    return float(LETTER.fullmatch(text) is not None)


# %%
begun = [p for p in ("Dear Ada,\n", "Dear Tom,\n", "Dear Mei,\n") for _ in range(32)]
drawn = base.sample(begun, 1, 128, 1.0, torch.Generator().manual_seed(0))
letters = [p + t for p, t in zip(begun, drawn.texts, strict=True)]
formed = [LETTER.fullmatch(t).groups() for t in letters if letter_form(t)]
print(f"{len(formed)} of {len(letters)} letters of nano-base have the form")

# %% [markdown]
# Here are three letters that this score marks alike:

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
# You cannot give away more than you had, and Ada does not thank herself. Each fault can become a rule, but only *after* a person has noticed it. Here is the rule for the first fault:

# %%
def letter_adds_up(text: str) -> float:
    """1 for a letter that also gives away no more than there was."""
    found = LETTER.fullmatch(text)
    return float(found is not None and int(found[4]) <= int(found[2]))


def nobody_gives_six_of_one(score) -> None:
    """A letter may have all its parts and still be impossible."""
    words = "Dear Tom,\nthank you for the {} stamps. I gave {} away.\nYours, Lin"
    assert score(words.format(6, 1)) == 1
    assert score(words.format(1, 6)) == 0


bites(nobody_gives_six_of_one, letter_adds_up, letter_form)

# %% [markdown]
# Does training on other rewards move what no reward looks at? The record sampled 256 letters from the model after each of R1's stages:

# %% tags=["hide-input"]
WAY = {"base": "base", "zero": "R1-Zero, 48 steps", "cold": "1 cold start",
       "cold_language": "2 reasoning", "rejection": "3 rejection sampling",
       "full": "4 all kinds: R1"}  # fmt: skip
rows = [[name, *(f"{average(web, arm, what):.0f}" for web in WEBS
                 for what in ("letters", "letters that add up"))]
        for arm, name in WAY.items()]  # fmt: skip
table(["model", "poor: form, %", "and adds up", "rich: form, %", "and adds up"], rows,
      "Sampled letters, means of five seeds. Adds up: gives away no more than it had.")

# %% tags=["hide-input"]
for web in WEBS:
    gain, half = effect(web, "rejection", "cold_language", "letters that add up")
    print(f"{web} web, stage 3 minus 2, letters that add up: {gain:+.0f} ± {half:.0f} points")

# %% [markdown]
# The cold start loses many letters, and stage 3 brings them back, because its pages contain letters of the web. So **imitation can teach what no score sees**.
#
# DeepSeek's answer is a reward model trained on people's judgements ([chapter 11](11_human_feedback.ipynb)), used only for the last 400 steps, because a longer use invites hacking {cite}`deepseekr1`.
#
# ## What went wrong, or did not help
#
# **Reward after long imitation.** We expected that the gains of imitation and of reward would add up. All rewards had R1-Zero's learning rate, which may be too high for a model that is already good. We did not try a lower one.
#
# **The record is not complete.** Time ran out before reward on top of 2,048 thoughts had more than one seed, so the table gives no interval for it.
#
# **The record has no Chinese questions.** It poses English problems alone, so it does not show what its cold start does to Chinese ones. The live run above does, on one seed.
#
# ## Exercises
#
# ```{exercise} The second fault
# :label: ex-15b-letter
#
# *10 minutes.* Write `letter_is_sensible(text)`, which is 1 for a letter that adds up and does not go to its own author. Then write a test that accepts it and catches `letter_adds_up`.
#
# **Hint.** `LETTER.fullmatch(text)` has five groups: to, had, thing, gave, by. Your test needs one good letter and one whose first and last group are equal.
# ```
#
# ```{solution-start} ex-15b-letter
# :class: dropdown
# ```

# %%
def letter_is_sensible(text: str) -> float:
    """1 for a letter that adds up and goes to another person than its author."""
    found = LETTER.fullmatch(text)
    return letter_adds_up(text) * float(found is not None and found[1] != found[5])


def nobody_thanks_herself(score) -> None:
    words = "Dear {},\nthank you for the 6 stamps. I gave 1 away.\nYours, Lin"
    assert [score(words.format(to)) for to in ("Tom", "Lin")] == [1, 0]


bites(nobody_thanks_herself, letter_is_sensible, letter_adds_up)

# %% [markdown]
# ```{solution-end}
# ```
#
# ## Receipt
#
# The time is that of the processor, because the machine was shared.

# %% tags=["receipt"]
spread = {f"recorded, 2,048 thoughts, right, %, {web} web":
          [*seeds_of(web, "sft_many", "right").values()] for web in WEBS}  # fmt: skip
receipt(seconds=time.process_time(), spread=spread, differences={})

# %% [markdown]
# ## Summary
#
# **Whose thoughts?** Even the base's own right answers double its greedy accuracy. R1-Zero's thoughts add more, and a careful author's most. After R1-Zero's own thoughts, reward gains nothing that we can see on R1-Zero itself. Examples in one language teach that language, even where the question is in another one. A language reward repairs mixing at no price that we could measure.
#
# **Imitation or reward?** At equal operations, imitating 2,048 careful thoughts beats reward on both webs, and by 49 points on the poor one. What it costs to write the thoughts is not counted, and their author knows every solution. Reward after imitation lost accuracy in our setting. Imitation forgets most of the pages, and reward few of them. Where no author can write thoughts, only reward is left.
#
# - I can now compare authors of thoughts with a control whose thoughts are the model's own.
# - I can now give imitation and reward equally many operations.
# - I can now show a fault that a score does not see, and write the rule and the test for it.
#
# ## Read on
#
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.3, on its cold start; Tulu 3 {cite}`lambert2024tulu3`, which also imitates before it rewards, with preferences in between.
# - The experiment is `tools/experiments/ch15_stages.py`, and `ch15_cells.py` beside it has all variants as data.
# - Next: [chapter 16](16_distillation.ipynb) teaches a small model with what a larger one writes.
