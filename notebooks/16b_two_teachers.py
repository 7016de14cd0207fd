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
# # Two teachers, one student
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/16b_two_teachers.ipynb)
#
# A laboratory has two specialists: one model is good at sums, the other at putting numbers in order. It wants one model that is good at both. **Should that model imitate both teachers, be graded by both, or simply be the average of their weights?** The answer depends on what a grade can tell a student, and what it cannot.
#
# - **You will build** a picture of what imitation and grades minimise, a judge that sends each problem to its own teacher, and the average of two models, with the control that shows when averaging fails.
# - **You need** [Distillation: thoughts of a teacher, or grades](16_distillation.ipynb), which derives imitation and grades.
# - **It takes** about 30 s on two CPU cores, up to twice that on Colab (no GPU is needed, because the models are small), and half an hour to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import math
import time
from statistics import mean

import matplotlib.pyplot as plt
import torch

import minidsk
from minidsk import results
from minidsk.diagrams import show, table
from minidsk.homework import bites, predict, receipt
from minidsk.infer.evaluate import answers as replies_of
from minidsk.presets import nano
from minidsk.report.interval import apart, interval
from minidsk.tasks import make_task

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)
teacher, base = minidsk.load_policy("nano-zero"), minidsk.load_policy("nano-base")
student = minidsk.load_policy(results.folder("ch16_student") / "student")
for policy in (teacher, base, student):
    _ = policy.model.double()  # 16 digits, so that your processor draws what ours drew
test = nano().make_task("test")
held_out = list({p.prompt: p for p in (test[i] for i in range(2048))}.values())[:128]


def solved(policy) -> float:
    """The share of 128 held-out problems that a greedy reply solves, in %."""
    replies = replies_of(policy, held_out, 160)
    return 100 * mean(p.score(r) for p, r in zip(held_out, replies, strict=True))

# %% [markdown]
# ## Which two skills?
#
# *Sums* are Countdown problems: make a target up to 20 from three numbers up to 12, with plus and minus. *Pages* ask to put five numbers in order, or to continue a row of numbers. Here is one problem of each, and what nano-base, which both teachers come from, answers:

# %%
pages = make_task("pages", split="test", seed=0)
for name, problem in (("sums", held_out[1]), ("pages", pages[0])):
    [reply] = replies_of(base, [problem], 160)
    verdict = "right" if problem.score(reply) == 1 else "wrong"
    print(f"{name}: {problem.prompt}{reply}\nThis is {verdict}.\n")

# %% [markdown]
# Teacher A is nano-zero, the reasoner of [chapter 14](14_r1_zero.ipynb), which is good at sums. Teacher B is nano-base after fine-tuning on pages. Before we let them teach, we ask what the two ways of teaching aim at.
#
# ## Forward or reverse KL: what should a small student give up?
#
# A student that is too small cannot equal its teacher, and has to give something up. Imitation raises the log-probability of the *teacher's* answers. This minimises the **forward** KL divergence, the mean of $\log p_T(y) - \log p_S(y)$ over answers $y$ that the teacher samples, where $p_T$ and $p_S$ are the probabilities of teacher and student. Grades minimise the **reverse** KL divergence, the mean of $\log p_S(y) - \log p_T(y)$ over answers that the *student* samples.
#
# Take a teacher with three answers only, and two students. Student 1 spreads itself over all three. Student 2 has given up the last answer.

# %%
def kl(p, q) -> float:
    """The mean of log p - log q over what p samples; both are log-probabilities."""
    return float((p.exp() * (p - q)).sum())

# %%
def unequal_by_hand(divergence) -> None:
    """0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75)."""
    half, quarter = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    assert abs(divergence(half, quarter) - 0.5 * math.log(4 / 3)) < 1e-6


def the_other_one_samples(p, q):
    """A planted bug: the mean over what q samples."""
    return float((q.exp() * (p - q)).sum())


bites(unequal_by_hand, kl, the_other_one_samples)

# %%
three = torch.tensor([0.600, 0.001, 0.399]).log()  # the teacher
for name, chances in (("student 1", [0.4, 0.2, 0.4]), ("student 2", [0.98, 0.01, 0.01])):
    q = torch.tensor(chances).log()
    print(f"{name}: forward {kl(three, q):.2f} nats, reverse {kl(q, three):.2f} nats")

# %% [markdown]
# By the forward divergence student 1 is nearer to the teacher, and by the reverse divergence student 2 is. By the reverse divergence student 1 pays for an answer that the teacher hardly ever gives. By the forward divergence student 2 pays for one that it hardly ever gives itself.
#
# The next cell does the same with 41 answers. The teacher has two **modes**, two separate peaks that hold 60 % and 40 % of its answers, as a mixture of two specialists would. The student can have only one peak. We try every place and width, and keep the best. Where will each student put its peak?

# %% tags=["prediction", "hide-input"]
guess = None
question = "Where will the peak of the forward student be (the teacher's are at 10 and 30)?"
peak_guess = predict("distillation.peak", question, guess, example=10, unit="",
                     scale="difference", tolerance=5)  # fmt: skip
peak_guess

# %%
x = torch.arange(41).double()


def peak(place: float, width: float):
    """Log-probabilities of a single peak over the answers 0 to 40."""
    return (-((x - place) ** 2) / (2 * width**2)).log_softmax(0)


two = (0.6 * peak(10, 2).exp() + 0.4 * peak(30, 2).exp()).log()
tried = [(place, width) for place in range(41) for width in range(1, 21)]
best = {"forward": min(tried, key=lambda pw: kl(two, peak(*pw))),
        "reverse": min(tried, key=lambda pw: kl(peak(*pw), two))}  # fmt: skip
peak_guess.reveal(best["forward"][0])

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.5, 2.8))
_ = ax.fill_between(x, two.exp(), color="gray", alpha=0.3, lw=0)
_ = ax.text(28, 0.085, "teacher", color="gray")
for k, (name, at) in enumerate({"forward": (19, 0.04), "reverse": (12.5, 0.16)}.items()):
    _ = ax.plot(x, peak(*best[name]).exp(), color=f"C{k}")
    _ = ax.text(*at, f"{name} student", color=f"C{k}")
_ = ax.set(xlabel="answer", ylabel="probability", xlim=(0, 40), ylim=(-0.002, 0.21))
places = [f"the {name} student's peak is at {place} with width {width}"
          for name, (place, width) in best.items()]
show(fig, "A teacher with two peaks (grey), and the one-peaked student that is nearest to it "
     "by either divergence.",
     "Probability over the answers 0 to 40. The teacher has peaks at 10 and 30; "
     + "; ".join(places) + ".")

# %% tags=["hide-input"]
rows = []
for name, pw in best.items():
    q = peak(*pw)
    parts = (float(q.exp()[part].sum()) for part in (slice(16, 25), slice(25, 41)))
    rows.append([name, *pw, f"{kl(two, q):.2f}", f"{kl(q, two):.2f}",
                 *(f"{mass:.0%}" for mass in parts)])  # fmt: skip
table(["minimised", "place", "width", "forward KL", "reverse KL", "between (16 to 24)",
       "second peak (25 on)"], rows,
      f"The teacher itself puts {float(two.exp()[16:25].sum()):.1%} between the peaks.")

# %% [markdown]
# **The forward student covers both peaks, and the reverse student chooses one.** The forward student puts about 29 % of its answers between the peaks, where the teacher nearly never writes. The reverse student gives up the smaller peak. So grades teach a student what *not* to write. And because the reverse divergence is a mean over the student's own samples, it says nothing about an answer that the student never samples.
#
# The picture is about a student that is too small. In the experiment below the students are as large as their teachers, so they could equal both. There the second point matters, not the first.
#
# ## What do the grades know?
#
# The **grade** of a token is $\log p_T - \log p_S$, the teacher's log-probability of it minus the student's. The student of [Distillation: thoughts of a teacher, or grades](16_distillation.ipynb) has a quarter of nano-zero's weights and solves about 30 % of the sums. (It serves for looking at grades and for a few steps. The experiment has students of nano's size.) We sample its answers to 48 held-out problems, and ask two questions about the teacher's grades.
#
# ### Do grades know which answers are right?
#
# The teacher says how likely it would have written a token, and not whether the answer is right. If grades judged answers, a right answer should have the better sum.

# %%
def grades_of(logp_student, logp_teacher, mask):
    """The grade of each sampled token [N, T]; 0 on padding."""
    return (logp_teacher - logp_student) * mask


asked = held_out[:48]
own = student.sample([p.prompt for p in asked], 4, 160, 1.0, torch.Generator().manual_seed(2))
posed = [p for p in asked for _ in range(4)]
was_right = [p.score(text) == 1 for p, text in zip(posed, own.texts, strict=True)]

# %%
with torch.no_grad():
    graded = grades_of(student.logprobs(own), teacher.logprobs(own), own.mask)
sums = graded.sum(1).tolist()
good, bad = ([s for s, fine in zip(sums, was_right, strict=True) if fine == kind]
             for kind in (True, False))  # fmt: skip
better = mean(float(g > b) for g in good for b in bad)
print(f"sum of grades: {mean(good):.0f} nats for right answers, {mean(bad):.0f} for wrong")
print(f"of a right and a wrong answer, the right one has the better sum in {better:.0%}")

# %% [markdown]
# **Hardly.** Of a right and a wrong answer, the right one has the better sum in about 62 %, where a coin would have 50 % and the verifier has 100 %.
#
# ### Which tokens do they complain about?
#
# We sort the tokens by their place in the answer.

# %%
def place(before: str, token: str) -> str:
    """Where in an answer a token stands."""
    if "</think>" in before:
        return "the answer"
    if before.endswith((" no", "不对")):
        return "thought ended after no" if token == "</think>" else "new line after no"
    line = before.rpartition("\n")[2]
    if "?" in line or token == "?":
        return "target and verdict"
    return "results of sums" if "=" in line and token in "-0123456789" else "the expression"


places = {}
for ids, here, row in zip(own.tokens, own.mask, graded, strict=True):
    written = [student.tokenizer.decode([i]) for i in ids[here].tolist()]
    for k, token in enumerate(written):
        where = place("".join(written[:k]), token)
        places.setdefault(where, []).append(float(row[k]))

# %% tags=["hide-input"]
# tolerance: 10%
whole = sum(abs(g) for of_place in places.values() for g in of_place)
body = [[name, len(g), f"{mean(g):+.2f}", f"{sum(map(abs, g)) / whole:.0%}"]
        for name, g in sorted(places.items(), key=lambda item: mean(item[1]))]
table(["token", "how many", "mean grade, nats", "share of all grades"], body,
      f"Grades of {len(posed)} sampled answers of the untaught student. Share: of the sum of "
      "their sizes.")

# %% [markdown]
# **The largest grade falls on ending the thought after a *no*.** It costs nearly 8 nats, more than ten times any other place, and takes about 24 % of all grades. Most of the rest is about which expression to try, and how to write.
#
# So grades find the habit that the student lacks (to try again), and are a poor judge of whole answers. A student that is graded in two skills at once has to live with both facts.
#
# ## Which way keeps both skills?
#
# All models in this experiment have nano's size and begin at nano-base. The student may spend the same operations in three ways:
#
# - **thoughts**: right answers of both teachers, half of the budget for each;
# - **grades**: it answers both kinds of problems, and the teacher of the kind grades each token;
# - **reward** for both kinds.
#
# Grades need a judge that sends each problem to its own teacher:

# %%
def advantages_of(grades, gamma: float):
    """Each token's grade, plus gamma times the advantage of the next token."""
    advantages = grades.clone()
    for t in reversed(range(grades.shape[1] - 1)):
        advantages[:, t] += gamma * advantages[:, t + 1]
    return advantages

# %%
def by_two_teachers(teachers, posed, answers, logp, gamma: float = 0.0):
    """The problems alternate between the kinds; each teacher grades its own."""
    graded, operations = torch.zeros_like(logp), 0.0
    for kind, expert in enumerate(teachers):
        rows = torch.arange(kind, len(posed), len(teachers))
        some = answers[rows]
        with torch.no_grad():
            judged = expert.logprobs(some)
        width = judged.shape[1]
        graded[rows, :width] = grades_of(logp[rows, :width], judged, some.mask)
        operations += expert.flops(some)
    return advantages_of(graded, gamma), operations

# %% [markdown]
# Two checks. If both teachers are the same model, two must grade as one does. And if the second teacher is the student itself, all grades of its problems must be 0. A version that gives each teacher one half of the batch, instead of every other problem, fails the second check:

# %%
def each_grades_its_own(judge) -> None:
    """The second teacher is the student itself, which agrees with every token."""
    found, _ = judge([teacher, student], asked[:32], sampled, sampled.logp)
    assert found[1::2].abs().max() < 1e-9


def by_halves(teachers, posed, answers, logp):
    order = torch.arange(len(posed)).view(2, -1).T.flatten()  # first half to the first
    found, flops = by_two_teachers(teachers, posed, answers[order], logp[order])
    return found[order.argsort()], flops


generator = torch.Generator().manual_seed(1)
sampled = student.sample([p.prompt for p in asked[:32]], 1, 160, 1.0, generator)
with torch.no_grad():
    sampled.logp = student.logprobs(sampled) * sampled.mask
    one = grades_of(sampled.logp, teacher.logprobs(sampled), sampled.mask)
pair, _ = by_two_teachers([teacher, teacher], asked[:32], sampled, sampled.logp)
pair_gap = float((one - pair).abs().max())
assert pair_gap < 1e-9
bites(each_grades_its_own, by_two_teachers, by_halves)

# %% [markdown]
# Now one step of learning with both teachers. The small student answers 16 sums and 16 pages. Nano-zero grades the sums. We have no teacher of pages at hand, so nano-base, which solves about half of them, grades the pages. After the step, tokens with a bad grade should be less likely than before, and tokens with a good one likelier.

# %%
def push_by_two(policy, teachers, posed, answers, rate: float = 3e-4) -> torch.Tensor:
    """Move the weights once by the grades of both teachers; the grades (gamma 0)."""
    logp = policy.logprobs(answers)
    grades, _ = by_two_teachers(teachers, posed, answers, logp.detach())
    (-(grades * logp).sum() / answers.mask.sum()).backward()
    _ = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    torch.optim.AdamW(policy.model.parameters(), rate, weight_decay=0).step()
    return grades

# %%
pages_to_learn, learner = make_task("pages", split="train", seed=0), student.copy()
posed = [p for i in range(16) for p in (asked[i], pages_to_learn[i])]
generator = torch.Generator().manual_seed(3)
written = learner.sample([p.prompt for p in posed], 1, 160, 1.0, generator)
grades = push_by_two(learner, [teacher, base], posed, written)
with torch.no_grad():
    moved = learner.logprobs(written) - student.logprobs(written)

# %%
# tolerance: 0.03
for name, rows in (("sums", slice(0, None, 2)), ("pages", slice(1, None, 2))):
    bad, good = (moved[rows][kind].mean() for kind in (grades[rows] < -1, grades[rows] > 1))
    print(f"{name}: tokens graded below -1 move by {bad:+.2f} nats, above 1 by {good:+.2f}")
    assert bad < 0 < good

# %% [markdown]
# **Both teachers are heard.** The cheapest rival needs no training: the two teachers have the same base, so their **weights can be averaged**.

# %%
def averaged(models) -> dict:
    """The mean of the weights, by name."""
    weights = [model.state_dict() for model in models]
    return {name: torch.stack([w[name] for w in weights]).mean(0) for name in weights[0]}


itself = averaged([teacher.model, teacher.model])
assert all(torch.equal(itself[k], v) for k, v in teacher.model.state_dict().items())
print("the average of a model with itself: the model")

# %% [markdown]
# Guess how well the average does on sums, where teacher A has about 86 % and teacher B about 28 %.

# %% tags=["hide-input"]
guess = None
question = "Average of two teachers' weights: right sums, in %?"
average_guess = predict("distillation.average", question, guess, example=55, unit="%",
                        scale="difference", tolerance=25)  # fmt: skip
average_guess

# %% tags=["hide-input"]
print(results.origin("ch16_merge"))
merged = results.read("ch16_merge")["runs"]


def merge_of(arm: str, kind: str) -> list[float]:
    """Accuracy on a kind of problems in %, one number per seed."""
    found = sorted((r["seed"], r[kind]) for r in merged if r["arm"] == arm)
    return [100 * value for _, value in found]


average_guess.reveal(round(mean(merge_of("average", "sums")), 1))

# %% tags=["hide-input"]
def spread_of(values, digits: int = 0) -> str:
    """A mean with its 95 % interval over seeds."""
    return "{:.{d}f} ± {:.{d}f}".format(*interval(values), d=digits)

# %% tags=["hide-input"]
MERGE = {"base": "the base", "teacher of sums": "teacher A, sums",
         "teacher of pages": "teacher B, pages", "average": "average of the weights",
         "thoughts": "thoughts of both", "graded": "grades of both",
         "rewarded": "reward for both"}  # fmt: skip
both = {arm: [(a + b) / 2 for a, b in zip(*(merge_of(arm, k) for k in ("sums", "pages")),
                                          strict=True)] for arm in MERGE}  # fmt: skip
body = []
for arm, name in MERGE.items():
    against = "{:+.0f} ± {:.0f}".format(*apart(both[arm], both["average"]))
    spent = mean(r["flops"] for r in merged if r["arm"] == arm)
    if arm in ("graded", "rewarded"):
        print(f"{name}: pages minus the base's {{:+.0f}} ± {{:.0f}} points".format(
            *apart(merge_of(arm, "pages"), merge_of("base", "pages"))))
    body.append([name, *(spread_of(merge_of(arm, k)) for k in ("sums", "pages")),
                 spread_of(both[arm]), against if arm != "average" else "",
                 f"{spent / 1e9:.0f}"])
table(["model", "sums", "pages", "mean of both", "minus the average", "billion operations"],
      body, "Right answers in %, greedy, 256 held-out problems of each kind; three seeds (of "
      "problems, of teacher B and of the sampling), 95 % intervals.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.8))
marks = {}
for arm, name in MERGE.items():
    x_, y_ = (mean(merge_of(arm, k)) for k in ("sums", "pages"))
    marks[name] = (x_, y_)
    _ = ax.plot(x_, y_, "o", color="C1" if arm.startswith("teacher") else "C0")
    down, beside = arm in ("average", "rewarded"), arm == "teacher of sums"
    _ = ax.annotate(name, (x_, y_), textcoords="offset points",
                    ha="left" if beside else "right",
                    xytext=(7, -4) if beside else (-7, -12 if down else 4))
_ = ax.set(xlabel="sums, right, %", ylabel="pages, right, %", xlim=(-12, 122), ylim=(25, 108),
           xticks=range(0, 101, 20))  # fmt: skip
show(fig, "Both skills at once: each dot is a model, the mean of three seeds.",
     "Accuracy on pages over accuracy on sums. " + "; ".join(
         f"{name} {a:.0f} and {b:.0f}" for name, (a, b) in marks.items()) + " %.")

# %% [markdown]
# **The average of the weights keeps both skills and costs nothing.** Averaged over both kinds it solves 86 %, and the student with thoughts of both teachers 87 % (the difference is 1 ± 4 points). Grades and reward help with sums only: with grades, pages stay about where the base was, and with reward they lose 15 ± 10 points. Why reward harms pages we do not know.
#
# On pages there is one right continuation. We suspect that a grade tells the student that its own number is wrong, but not which number is right, whereas a thought shows it. This fits a mean over the student's own samples, but we have not tested it.
#
# ## When can weights be averaged?
#
# Averaging two networks usually gives a network of no use, so we add a control. We reorder the units of nano-base's MLPs, which changes no output, and average the result with nano-zero.

# %%
def reordered(policy):
    """The same function with the hidden units of its MLPs in another order."""
    twin, g = policy.copy(), torch.Generator().manual_seed(0)
    for module in twin.model.modules():
        if hasattr(module, "gate_proj"):
            order = torch.randperm(len(module.gate_proj.weight), generator=g)
            for rows in (module.gate_proj, module.up_proj):
                rows.weight.data = rows.weight.data[order]
            module.down_proj.weight.data = module.down_proj.weight.data[:, order]
    return twin

# %%
other = reordered(base)
same = [replies_of(policy, held_out[:32], 160) for policy in (base, other)]
assert same[0] == same[1]
print("nano-base and its reordered copy give the same 32 answers")

# %%
halfway, body = teacher.copy(), []
for name, policy in (("nano-base", base), ("nano-base, units reordered", other)):
    halfway.model.load_state_dict(averaged([teacher.model, policy.model]))
    gaps = [(a - b).detach().square().sum() for a, b in
            zip(teacher.model.parameters(), policy.model.parameters(), strict=True)]
    length = sum(a.detach().square().sum() for a in teacher.model.parameters())
    body.append([name, f"{solved(policy):.0f}", f"{math.sqrt(sum(gaps) / length):.0%}",
                 f"{solved(halfway):.0f}"])
table(["averaged with nano-zero", "alone, % right", "distance", "the average, % right"], body,
      "Distance: the norm of the difference, as a share of the norm of nano-zero.")

# %% [markdown]
# **Only models whose units are matched can be averaged.** The two copies of the base are equal as functions. The average with the first is as good as nano-zero, and the average with the second solves nothing. Training with reward has moved nano-zero by only 3 % from its base, so each unit still does the same work in both. A small student with another shape cannot be averaged with its teacher at all, and can still be taught.
#
# ## What DeepSeek did
#
# **V3** {cite}`deepseekv3` was taught by specialists: each domain first had its own expert model, which then generated examples for the final one. **V3.2** {cite}`deepseekv32` trains such specialists with large-scale reward, and reports that a model trained on their data is only slightly below them, and that reward afterwards removes the gap. These are *thoughts of many teachers*. **V4** {cite}`deepseekv4` merges its specialists by on-policy distillation, which are *grades of many teachers*, according to its model card.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Grades did not merge the two skills here, and we ran them in one way only.** A token answered for later grades too, with a factor of 0.95 per step. With one teacher a factor of 0 was quicker ([chapter 16](16_distillation.ipynb)), so it might do better here as well.
#
# **Whole distributions were not tried with two teachers.** There the teacher names the right number of a page even where the student never samples it, because all tokens are compared.
#
# **The three seeds share teacher A.** They differ in problems, in teacher B and in the sampling, so the intervals do not cover another nano-zero.
#
# ## Exercises
#
# ```{exercise} A divergence between the two
# :label: ex-16-between
#
# *10 minutes.* Minimise a weighted mean of both divergences over the peaks in `tried`. The reverse KL weighs 0.5, 0.8, 0.9 or 0.95, and the forward KL the rest. Guess first for which of these weights the student chooses one peak.
#
# **Hint.** Give `min` a key that mixes `kl(two, peak(*pw))` and `kl(peak(*pw), two)`.
# ```

# %% [markdown]
# ```{solution-start} ex-16-between
# :class: dropdown
# ```

# %%
for w in (0.5, 0.8, 0.9, 0.95):
    at, width = min(tried, key=lambda pw: w * kl(peak(*pw), two)
                    + (1 - w) * kl(two, peak(*pw)))  # fmt: skip
    print(f"reverse KL weighs {w:g}: place {at}, width {width}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Which teacher grades?
# :label: ex-16-kinds
#
# *15 minutes.* Our judge needs problems that alternate. Write `by_kind(teachers, kinds, answers, logp)`, where `kinds` lists for each answer the number of its teacher. It returns the grades `[N, T]`. Test it with `any_order(my_judge)`.
#
# **Hint.** `answers[rows]` takes a tensor of row numbers, and may be narrower than `answers`.
# ```

# %%
def any_order(judge) -> None:
    """Teacher 1 is the student itself, which agrees with every token."""
    kinds = [1, 0, 0, 1, *[0] * 28]
    found = judge([teacher, student], kinds, sampled, sampled.logp)
    for row, kind in enumerate(kinds):
        wanted = torch.zeros_like(one[row]) if kind else one[row]
        assert (found[row] - wanted).abs().max() < 1e-9


def my_judge(teachers, kinds, answers, logp):
    """Replace the line below by your own."""
    raise NotImplementedError


# any_order(my_judge)

# %% [markdown]
# ```{solution-start} ex-16-kinds
# :class: dropdown
# ```

# %%
def by_kind(teachers, kinds, answers, logp):
    graded = torch.zeros_like(logp)
    for kind, expert in enumerate(teachers):
        rows = torch.tensor([row for row, k in enumerate(kinds) if k == kind])
        some = answers[rows]
        with torch.no_grad():
            judged = expert.logprobs(some)
        width = judged.shape[1]
        graded[rows, :width] = grades_of(logp[rows, :width], judged, some.mask)
    return graded


def in_turn(teachers, kinds, answers, logp):
    return by_two_teachers(teachers, kinds, answers, logp)[0]


bites(any_order, by_kind, in_turn)

# %% [markdown]
# ```{solution-end}
# ```
#
# ## Receipt

# %% tags=["receipt"]
spread = {f"recorded, both kinds, right, %, {MERGE[arm]}": both[arm]
          for arm in ("average", "thoughts", "graded")}  # fmt: skip
receipt(seconds=time.process_time(), spread=spread, differences={
    "two equal teachers and one, grades": (pair_gap, 1e-9),
})

# %% [markdown]
# ## Summary
#
# **Two teachers with the same base were merged best by thoughts of both (87 % on average over sums and pages) or, for nothing, by the average of their weights (86 %).** Grades of both teachers reach 62 %, because pages do not improve. But we ran them only with a $\gamma$ of 0.95, which the chapter before found slower than 0. Three seeds, 256 held-out problems of each kind.
#
# **Grades teach what not to write.** They minimise the reverse KL, under which a student may give up what it never samples. On our student the largest grade falls on ending the thought after a *no*. As a judge of whole answers grades are poor: the right one of two answers has the better sum in about 62 %.
#
# - I can now say what a student gives up under the forward and under the reverse KL.
# - I can now grade a student by several teachers, and test that each grades its own problems.
# - I can now say when two models may be averaged, and show a pair that may not.
#
# ## Read on
#
# - GKD {cite}`agarwal2023gkd`, section 3, on divergences between forward and reverse.
# - DeepSeek-V3.2 {cite}`deepseekv32`, on training specialists and merging them.
# - The experiment is `tools/experiments/ch16_merge.py`.
# - Next: [chapter 17](17_thinking_longer.ipynb) leaves the weights alone and spends more on each answer.
