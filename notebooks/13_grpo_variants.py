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
# # Variants of GRPO: which changes matter?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/13_grpo_variants.ipynb)
#
# GRPO's loss fits on one line, and since 2024 people have been changing that line. DAPO averages differently and widens a bound, GSPO clips whole answers, CISPO clips a weight, and a variant named Dr. GRPO removes two divisions. Most of these changes make a training step longer or shorter. One of the two divisions in GRPO's own loss also turns the expected step away from the true gradient, and no number of answers turns it back. **By how many degrees does it turn the step, in a world where we can compute the truth?**
#
# - **You will build** six published losses in one short function, a table of what each does to a single token, and the tests that tell a right clip from a wrong one.
# - **You need** PyTorch and [chapter 12](12_grpo.ipynb), which builds GRPO.
# - **It takes** about 40 s to run on two CPU cores of a laptop, about twice that on the two cores that Colab lends (a GPU is no faster, because the policies here are small tables), and an hour and a half to read. The language-model experiments were recorded earlier; the chapter reads their results.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import math
from statistics import mean

import matplotlib.pyplot as plt
import torch
from torch import tensor

from minidsk import results
from minidsk.diagrams import band, direct_labels, dots, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.homework.coins import World
from minidsk.report.interval import apart, interval
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.kl import kl_estimate
from minidsk.widgets import Group

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## Six losses, and where they differ
#
# All six losses start from the same two things: the advantage $A$ of an answer, and for each of its tokens the ratio $\rho$ of the token's probability now to its probability when it was sampled. They differ in the three choices that the table shows.
#
# | loss | advantage is divided by | what is clipped | how tokens are averaged |
# | --- | --- | --- | --- |
# | GRPO {cite}`deepseekmath` | the group's standard deviation | the ratio of each token | within each answer, then over answers |
# | Dr. GRPO {cite}`liu2025drgrpo` | nothing | the ratio of each token | sum over all tokens, divided by a constant |
# | DAPO {cite}`yu2025dapo` | the group's standard deviation | the ratio of each token; the upper bound is wider | over all tokens of the batch |
# | GSPO {cite}`zheng2025gspo` | the group's standard deviation | one ratio for the whole answer | within each answer, then over answers |
# | CISPO {cite}`minimax2025m1` | the group's standard deviation | the weight of each token, whose gradient stays | over all tokens of the batch |
#
# A sixth name, *bnpo*, is what the library TRL calls the average over all tokens of one batch. It equals DAPO's average as long as a batch is not split.
#
# The chapter answers one question at a time. What does the average over tokens do (last column)? What does the division of the advantage do (first column)? What does the clip do (middle column)? Two smaller questions follow, about groups without a signal and about the KL penalty. The last part asks all of them again in a language model.

# %% [markdown]
# ## What goes wrong first: a long wrong answer gets away
#
# A right answer has 4 tokens and advantage $+1$, and a wrong answer has 7 tokens and advantage $-1$. The policy has not moved yet, so all ratios are 1. How hard does each average pull at one token?

# %%
both, rows = torch.zeros(2, 7, dtype=torch.float64, requires_grad=True), []
two, sign = (torch.arange(7) < tensor([[4], [7]])).double(), tensor([1.0, -1.0])
for how in ("grpo", "dapo", "dr_grpo"):
    loss, _ = policy_loss(both, both.detach(), sign, two, loss_type=how, max_length=10)
    four, seven = (-torch.autograd.grad(loss, both)[0][:, 0]).tolist()
    rows.append([how, f"{four:+.4f}", f"{seven:+.4f}", f"{-seven / four:.2f}"])
table(["average", "a token of the right answer", "of the wrong one", "second / first"], rows,
      "How hard one token is pulled.")

# %% [markdown]
# GRPO divides by the answer's own length: $1/(2 \cdot 4)$ for a token of the first answer and $1/(2 \cdot 7)$ for a token of the second. Each answer is pulled with the same total force, so the tokens of a longer wrong answer feel less of it. Among wrong answers, the long ones survive. DAPO gives every token $1/11$, and Dr. GRPO gives every token $1/(2 \cdot 10)$ whatever else is in the batch.
#
# Spreading a force over more tokens sounds harmless. To find out, we return to the world of [chapter 12](12_grpo.ipynb): *pay 2 with coins of 1 and 2*. Its tokens are `1`, `2` and `.`, an answer has at most three of them, and only `2.` and `11.` are right. The class `World`, which [chapter 12](12_grpo.ipynb) builds, lists all answers of such a world; the package keeps it in `minidsk/homework/coins.py`. So we can compute the true gradient of the probability of being right, and the gradient of every single answer.

# %%
world = World(3)
right = world.pays(2)
leaf = torch.zeros(len(world.contexts), 3, dtype=torch.float64, requires_grad=True)
logp = world.logp(leaf).sum(1)
rows = [torch.autograd.grad(one, leaf, retain_graph=True)[0].flatten() for one in logp]
score, probability = torch.stack(rows), logp.detach().exp()
chance, truth = (probability @ right).item(), (probability * right) @ score
print(f"{len(world.answers)} answers; the uniform policy is right in {chance:.1%} of cases")

# %% [markdown]
# Before you run on, make a guess. We take GRPO's *expected* step, which is what remains if one averages over infinitely many groups, and measure the angle between it and the true gradient. Replace `None` by a number of degrees; the tally stays on your machine.

# %% tags=["prediction", "hide-input"]
guess = None
question = "By how many degrees does dividing by the length turn GRPO's step?"
turned = predict("grpo.angle", question, guess, example=5)
turned

# %% [markdown]
# ## All six in one function
#
# The function below computes any of the losses, one answer and one token at a time. Its comments mark the last two columns of the table above. The first column, by what the advantage is divided, is decided before, by the `scale` of `group_advantages`.

# %% tags=["naive"]
def loss_by_loops(logp, old, advantages, lengths, how, low=0.2, high=0.2, longest=6):
    """The loss of some answers; logp and old [N, T]; one advantage and one length for each."""
    per_answer = []
    for i, length in enumerate(int(n) for n in lengths):
        ratios = (logp[i, :length] - old[i, :length]).exp()
        if how == "gspo":  # one ratio for the whole answer: the geometric mean
            ratios = ratios.prod().pow(1 / length).expand(length)
        clipped = ratios.clamp(1 - low, 1 + high)
        if how == "cispo":  # the clipped ratio is a weight, and has no gradient of its own
            objective = clipped.detach() * advantages[i] * logp[i, :length]
        else:
            objective = torch.minimum(ratios * advantages[i], clipped * advantages[i])
        per_answer.append(objective)
    if how in ("grpo", "gspo"):  # the average
        return -sum(one.mean() for one in per_answer) / len(per_answer)
    total = sum(one.sum() for one in per_answer)
    tokens = len(per_answer) * longest if how == "dr_grpo" else sum(map(len, per_answer))
    return -total / tokens


# %% [markdown]
# ## The package agrees
#
# The package has all of this in `policy_loss`, for whole batches. We compare values and gradients on random answers after the policy has moved. The package's own tests also compare each of the six with TRL {cite}`vonwerra2020trl`.

# %% tags=["agree"]
g = torch.Generator().manual_seed(0)
some_old = torch.randn(8, 6, generator=g, dtype=torch.float64) - 2
some_new = some_old + 0.3 * torch.randn(8, 6, generator=g, dtype=torch.float64)
some_new.requires_grad_()
some = torch.randn(8, generator=g, dtype=torch.float64)  # advantages
lengths = torch.randint(1, 7, (8,), generator=g)
mask = torch.arange(6) < lengths[:, None]
difference = 0.0
for how in ("grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo"):
    slow = loss_by_loops(some_new, some_old, some, lengths, how)
    fast, _ = policy_loss(some_new, some_old, some, mask, loss_type=how, max_length=6)
    slopes = [torch.autograd.grad(loss, some_new)[0] for loss in (slow, fast)]
    gaps = (slow - fast).abs().max(), (slopes[0] - slopes[1]).abs().max()
    difference = max(difference, *[gap.item() for gap in gaps])
assert difference < 1e-12
print(f"six losses, largest difference: {'below 1e-12' if difference < 1e-12 else difference}")

# %% [markdown]
# ## Dividing by the length turns the step
#
# A group of 16 gives a noisy gradient. Noise averages out, but a bias does not. In our world we can tell them apart, because the expected gradient of GRPO can be computed. An answer's advantage depends on the other answers only through how many of them are right, and that number follows a binomial distribution.

# %%
def expected_advantage(p: float, size: int, scale: str) -> tuple[float, float]:
    """Mean advantages of a wrong and of a right answer in groups of `size`; p: of right."""
    others, result = range(size), []
    for own in (0.0, 1.0):
        chances = [math.comb(size - 1, k) * p**k * (1 - p) ** (size - 1 - k) for k in others]
        groups = tensor([[own] + [1.0] * k + [0.0] * (size - 1 - k) for k in others]).double()
        advantages = group_advantages(groups, scale)[:, 0]
        result.append((tensor(chances).double() @ advantages).item())
    return result[0], result[1]


def expected_gradient(size: int, scale: str, by_length: bool) -> torch.Tensor:
    """GRPO's mean gradient; by_length: each answer's tokens are divided by its length."""
    wrong, correct = expected_advantage(chance, size, scale)
    weight = torch.where(right > 0, correct, wrong) / (world.mask.sum(1) if by_length else 1)
    return (probability * weight) @ score


def angle(a: torch.Tensor, b: torch.Tensor) -> float:
    """Degrees between two directions."""
    return math.degrees(math.acos(min(1.0, torch.cosine_similarity(a, b, dim=0).item())))


# %% [markdown]
# GRPO divides twice: the advantage by the group's standard deviation, and the answer by its length. We switch each division on and off. With both switched off, the method is Dr. GRPO.

# %%
switches = {
    "neither": ("none", False),
    "deviation": ("group", False),
    "length": ("none", True),
    "both (GRPO)": ("group", True),
}
sizes, expected, rows = (2, 4, 16, 64), {}, []
for name, switch in switches.items():
    steps = [expected_gradient(size, *switch) for size in sizes]
    along = [(step @ truth / truth.square().sum()).item() for step in steps]
    expected[name] = list(zip(along, [angle(step, truth) for step in steps], strict=True))
    rows.append([name, *(f"{x:.2f}, {degrees:.1f}°" for x, degrees in expected[name])])
turned.reveal(round(expected["both (GRPO)"][2][1], 1))
table(["divided by", *(f"group of {size}" for size in sizes)], rows,
      "Expected steps: the length along the true gradient, and the angle to it.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 1.9))
for name, (along, degrees) in {name: of[2] for name, of in expected.items()}.items():
    end = (along, along * math.tan(math.radians(degrees)))
    colour = "C1" if degrees > 1 else "C0"
    _ = ax.annotate("", end, (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "lw": 2,
                                                 "shrinkA": 0, "shrinkB": 0})  # fmt: skip
    _ = ax.annotate(name, end, (0, 5 if degrees > 1 else -13), textcoords="offset points",
                    ha="center", color=colour)  # fmt: skip
_ = ax.set(xlim=(0, 2.7), ylim=(-0.22, 0.62), aspect="equal", yticks=[],
           xlabel="along the true gradient, whose length is 1")
ax.grid(visible=False)
ends = {name: "{:.2f} along, {:.1f} degrees".format(*of[2]) for name, of in expected.items()}
show(fig, "The expected steps in groups of 16. The two that divide by the length (orange) "
     "leave the direction of the true gradient, along which the two others lie (blue).",
     "Four arrows from one point, lengths along the true gradient and angles to it: "
     + "; ".join(f"{name} {end}" for name, end in ends.items()) + ".")

# %% [markdown]
# Each entry has two numbers: the length of the expected step along the true gradient (1 would be the gradient itself), and the angle between the two.
#
# - **Neither.** The direction is exact for every group size. Only the length is too short, by the factor $(G-1)/G$, because an answer is compared with a mean that contains the answer itself. A larger learning rate makes up for that.
# - **Deviation.** The direction is still exact, because on a single question all right answers still share one advantage, all wrong answers another, and so only the length of the step changes. With several questions it does more, as we will see below.
# - **Length.** The step is turned by 17 degrees, whatever the size of the group, because two right answers no longer count the same: a token of `2.` is divided by 2, and one of `11.` by 3. This division is a bias: more answers do not remove it.
#
# A real run samples its groups. If the theory is right, the average over more and more sampled groups must approach the true direction in one case, and stay 17 degrees away from it in the other.

# %%
def sampled_gradients(groups: int, size: int, by_length: bool, seed: int = 0) -> torch.Tensor:
    """The gradient that each of many sampled groups gives [groups, contexts * 3]."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(probability, groups * size, True, generator=generator)
    weight = group_advantages(right[drawn].view(groups, size), "none").flatten()
    weight = weight / world.mask[drawn].sum(1) if by_length else weight
    return (weight[:, None] * score[drawn]).view(groups, size, -1).mean(1)


# %%
counts = [2**k for k in range(1, 13)]
angles = {}
for name, by_length in (("nothing", False), ("the length", True)):
    runs = [sampled_gradients(counts[-1], 16, by_length, seed) for seed in range(5)]
    angles[name] = tensor([[angle(run[:n].mean(0), truth) for n in counts] for run in runs])
    print(f"divided by {name}: {angles[name][:, -1].mean():.1f} degrees off at the end")
assert angles["nothing"][:, -1].max() < 3
assert (angles["the length"][:, -1] - 16.9).abs().max() < 3

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.2))
for name, run in angles.items():
    band(ax, counts, [interval(at) for at in run.T.tolist()], f"divided by {name}")
_ = ax.set(xscale="log", xlabel="groups of 16 that are averaged", ylim=(0, None),
           xlim=(2, 4096), ylabel="degrees off the true gradient")
_ = ax.set_xticks(counts[::2], [f"{n:,}" for n in counts[::2]])
_ = ax.set_xticks([], minor=True)
direct_labels(ax)
at = {name: [round(run.mean(0)[k].item()) for k in (0, 4, 8)] for name, run in angles.items()}
show(fig, "More groups remove the noise, and with it all of the error of the blue line. The "
     "orange line keeps its angle. Bands: 95 % intervals over five seeds.",
     "Two lines over 2 to 4,096 groups, in degrees off the true gradient after 2, 32 and 512 "
     "groups: "
     + "; ".join(f"divided by {name} {of}" for name, of in at.items()) + ".")

# %% [markdown]
# ### The bias shows up in what is learned
#
# We let both averages learn in a longer world, with up to 6 tokens, 127 answers, and the price 4. To compare directions rather than learning rates, every step gets the same length. (Within a batch, the averages of DAPO and Dr. GRPO differ only by a factor, so at equal length they take the same step.)

# %%
def practise(seed, steps, right, world, group=16, rate=2.0, updates=1, loss=policy_loss,
             scale="none", length=None, **options):
    """GRPO in a world. At each step: chance of right, length of wrong answers, entropy."""
    policy = torch.zeros(len(world.contexts), 3, dtype=torch.float64, requires_grad=True)
    generator, history = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        logp = world.logp(policy).detach()
        p = logp.sum(1).exp()
        wrong = p * (1 - right) / (p @ (1 - right))
        numbers = (p @ right, wrong @ world.mask.sum(1), -(p @ logp.sum(1)))
        history.append([x.item() for x in numbers])
        drawn = torch.multinomial(p, group, replacement=True, generator=generator)
        advantages = group_advantages(right[drawn][None], scale)[0]
        for _ in range(updates):
            new, mask = world.logp(policy)[drawn], world.mask[drawn]
            value, _ = loss(new, logp[drawn], advantages, mask, **options)
            step = torch.autograd.grad(value, policy)[0]
            step = step * length / step.norm().clamp(min=1e-9) if length else rate * step
            policy = (policy - step).detach().requires_grad_()
    return history


# %%
long_world, learned = World(6), {}
pays_4 = long_world.pays(4)
for how in ("grpo", "dapo"):
    learned[how] = [practise(seed, 41, pays_4, long_world, length=0.3, loss_type=how)
                    for seed in range(10)]  # fmt: skip
    good = interval([run[40][0] for run in learned[how]])
    print("{}: {:.2f} ± {:.2f} right after 40 steps".format(how, *good))
longer = apart(*([run[40][1] for run in learned[how]] for how in ("grpo", "dapo")))
print("wrong answers, grpo minus dapo: {:+.2f} ± {:.2f} tokens".format(*longer))
assert longer[0] > longer[1]

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3))
for how, name in (("grpo", "GRPO's average"), ("dapo", "DAPO's average")):
    points = [interval([run[k][1] for run in learned[how]]) for k in range(41)]
    band(ax, range(41), points, name)
_ = ax.set(xlabel="step", ylabel="tokens per wrong answer", xlim=(0, 40))
direct_labels(ax)
begin = learned["grpo"][0][0][1]
ends = [mean(run[40][1] for run in of) for of in learned.values()]
show(fig, "Answers that are still wrong become longer under GRPO's average than under DAPO's. "
     "Bands: 95 % intervals over ten seeds.",
     f"Two lines over 40 steps, tokens per wrong answer. Both begin at {begin:.2f}; GRPO's "
     f"ends at {ends[0]:.2f}, DAPO's at {ends[1]:.2f}.")

# %% [markdown]
# Both averages learn equally well, but under GRPO's average the answers that are still wrong are longer, and the interval excludes zero. In our world that costs no accuracy. In a language model wrong answers may grow to thousands of tokens. That costs time at least, and it is easily mistaken for "thinking longer" {cite}`liu2025drgrpo`. So watch the lengths of right and of wrong answers separately.
#
# ### Which average spares the long wrong answers?
#
# The figure below shows one group of four answers, and how hard each token is pulled. Change the average and watch the tokens of the two long wrong answers. (As it opens, with GRPO's average, a token of the longest answer is pulled down about a third as hard as a token of the shortest wrong one. With the other two averages, all wrong tokens are pulled equally.)

# %% tags=["widget"]
Group(["2.", "1.", "2121.", "112121"], [1, 0, 0, 0], title="Which average spares long ones?")

# %% [markdown]
# ## Dividing by the deviation changes which questions are heard
#
# On one question the deviation only rescales the step. With several questions it decides how much each of them counts. The figure shows the length of a question's expected step for different chances $p$ of answering it correctly.

# %%
grid, weights = [k / 100 for k in range(1, 100)], {}
for size in (4, 16, 64):
    pairs = [expected_advantage(p, size, "group") for p in grid]
    weights[f"group of {size}"] = [good - bad for bad, good in pairs]
weights["1 / √(p (1 - p))"] = [1 / math.sqrt(p * (1 - p)) for p in grid]

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.2))
for (name, line), style in zip(weights.items(), ("-", "-", "-", ":"), strict=True):
    _ = ax.plot(grid, line, style, label=name, color="black" if style == ":" else None)
_ = ax.set(xlabel="chance p of a right answer", ylabel="weight of a question", ylim=(0, 10.5),
           xlim=(0, 1))  # fmt: skip
direct_labels(ax)
shown = {name: [f"{line[k]:.2f}" for k in (0, 9, 49)] for name, line in weights.items()}
show(fig, "In large groups, questions that are nearly hopeless or nearly solved weigh most. "
     "In groups of 4 all questions weigh about the same.",
     "Four curves of a question's weight, symmetric about p = 0.5, at p = 0.01, 0.1 and 0.5: "
     + "; ".join(f"{name} {', '.join(of)}" for name, of in shown.items()) + ".")

# %% [markdown]
# In groups of 64, a question that is nearly hopeless or nearly solved counts more than three times as much as one with even odds. As groups grow, the weight approaches $1/\sqrt{p(1-p)}$, and $\nabla p / \sqrt{p(1-p)}$ is the gradient of $2 \arcsin \sqrt{p}$. So GRPO with large groups does not maximise the mean of $p$ over questions, but the mean of $2 \arcsin \sqrt p$ {cite}`davis2025objective`. In groups of 4 the line is flat, because most groups of a hard question contain no right answer and are therefore silent.
#
# To find out whether that is bad, the next cell compares both with exact gradients for groups of 64, on three questions of different difficulty. All steps have the same total length, because an optimizer such as Adam also normalises.

# %%
def three_questions(scale: str, steps: int, length: float = 0.15) -> list[float]:
    """The chances of right after steps of one common length, from 0.02, 0.5 and 0.9."""
    logits = torch.logit(tensor([0.02, 0.5, 0.9], dtype=torch.float64))
    for _ in range(steps):
        q = logits.sigmoid()
        pairs = [expected_advantage(x, 64, scale) for x in q.tolist()]
        wrong, good = tensor(pairs).double().T
        gradient = (good - wrong) * q * (1 - q)
        logits = logits + length * gradient / gradient.norm()
    return logits.sigmoid().tolist()


rows = []
for steps in (0, 20, 40, 80):
    off, on = (three_questions(scale, steps) for scale in ("none", "group"))
    rows.append([steps, *(", ".join(f"{q:.2f}" for q in three) for three in (off, on))])
table(["steps", "not divided", "divided by the deviation"], rows,
      "Chances of a right answer: the hard, the middle and the easy question.")

# %% [markdown]
# With the division, the hard question improves a little earlier, and the middle one a little later. At equal step length the difference is small, and the division cannot tell a hard question from one that is answered correctly by luck once in a while: both get the same extra weight. Dr. GRPO removes the division {cite}`liu2025drgrpo`. DeepSeek removed it in V3.2 as well: the advantage there is $r - \operatorname{mean}(r)$ {cite}`deepseekv32`. Without the division, steps become several times shorter, so a comparison at equal learning rate says little.

# %% [markdown]
# ## Four ways to clip the same answer
#
# In the first update on a group every ratio is 1, and the clip does nothing. It matters when a group is used for several updates. Consider a right answer ($A = +1$) of four tokens whose probabilities have already changed by the factors 0.7, 1.0, 1.1 and 3.0. What does each loss still pull at?

# %%
def still_pulled(ratios, advantage, **options):
    """How hard each token of an answer is still pulled, beside the first update's pull."""
    logp = tensor([ratios], dtype=torch.float64).log().requires_grad_()
    old, one = torch.zeros_like(logp), tensor([advantage], dtype=torch.float64)
    loss, _ = policy_loss(logp, old, one, torch.ones_like(logp), **options)
    return (-len(ratios) * torch.autograd.grad(loss, logp)[0][0]).tolist()


cap = {"clip_low": math.inf, "clip_high": 0.28}
ways = {
    "DAPO, bounds 0.2 and 0.28": {"loss_type": "dapo", "clip_high": 0.28},
    "GSPO, bounds 0.2": {"loss_type": "gspo"},
    "GSPO, bounds 0.3": {"loss_type": "gspo", "clip_low": 0.3, "clip_high": 0.3},
    "CISPO, weight at most 1.28": {"loss_type": "cispo", **cap},
}
moved = [0.7, 1.0, 1.1, 3.0]
rows = [[name, *(f"{x + 0.0:.2f}" for x in still_pulled(moved, 1.0, **options))]
        for name, options in ways.items()]  # fmt: skip
table(["factor so far:", *map(str, moved)], rows, "How hard each token is still pulled.")

# %% [markdown]
# - **The token-level clip** of GRPO and DAPO removes the pull of one token, the one that has tripled.
# - **GSPO** computes one ratio for the answer, the geometric mean $(0.7 \cdot 1.0 \cdot 1.1 \cdot 3.0)^{1/4} = 1.23$. Beyond a bound of 0.2 it drops the whole answer. Within a bound of 0.3 it keeps the whole answer, and pulls all four tokens equally.
# - **CISPO** drops nothing, but caps the weight of the tripled token at 1.28 and keeps pulling. Its authors' reason is that the rare words at which a thought changes direction ("wait", "however") move fast, so a clip silences them first {cite}`minimax2025m1`.
#
# ### Why GSPO's bounds are so narrow
#
# GSPO's authors report bounds of 0.0003 and 0.0004 {cite}`zheng2025gspo`, where GRPO uses 0.2. To see why, suppose the logarithm of each token's ratio is random, independent, and about 0.01 in size. The product over $T$ tokens then spreads with $\sqrt T$, and its $T$-th root spreads with $1/\sqrt T$.

# %%
rows = []
for length in (4, 64, 1024, 16384):
    spread = [0.01, 0.01 * math.sqrt(length), 0.01 / math.sqrt(length)]
    rows.append([length, *(f"1 ± {math.expm1(x):.5f}" for x in spread)])
table(["tokens", "ratio of one token", "product of all", "geometric mean"], rows)

# %% [markdown]
# For an answer of a thousand tokens the geometric mean moves by about 0.0003. The product, which is the true importance weight of the answer, moves by a factor that grows without limit: at 16,384 tokens one standard deviation is already a factor of 3.6. That is why GSPO takes the root. The bound must therefore fit the length of the answers, and a bound from a paper may not fit yours.

# %% [markdown]
# ## The clip is one-sided, and a curve does not show it
#
# Here is one token, its ratio, and its advantage. The objective is the *smaller* of the two products $\rho A$ and $\operatorname{clip}(\rho) A$.

# %%
def one_token(ratio: float, advantage: float) -> tuple[float, float]:
    """The objective of one token, and how hard it is pulled up."""
    logp = tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    old, mask = torch.zeros_like(logp), torch.ones_like(logp)
    loss, _ = policy_loss(logp, old, tensor([advantage]), mask)
    return -loss.item(), -torch.autograd.grad(loss, logp)[0].item() + 0.0


rows = []
for advantage, ratio in [(a, r) for a in (1.0, -1.0) for r in (0.5, 0.9, 1.1, 20.0)]:
    objective, pull = one_token(ratio, advantage)
    rows.append([f"{advantage:+.0f}", f"{ratio:.1f}", f"{objective:+.2f}", f"{pull:+.2f}"])
table(["advantage", "ratio", "objective", "pull"], rows)

# %% [markdown]
# A good token that is already 20 times more likely gets no further push. A bad token that is already half as likely gets no further push either. But a **bad token that became 20 times more likely** has the objective $\min(-20, -1.2) = -20$ and the full pull, because that mistake must be undone. A wrong implementation that takes the larger product, or the smaller ratio, gets $-1.2$ and no pull at all. An example with $A = +1$ cannot tell these versions apart. (Nothing bounds the $-20$ from below; TRL has a second clip for that, `delta`, which is off by default.)
#
# Would a learning curve reveal the bug? We plant it, use each group of 8 answers for 16 updates, and compare it with the variants.

# %%
def larger(logp, old, advantages, mask, low=0.2, high=0.2, **_):
    """The bug: the larger of the two products."""
    ratio, advantage = (logp - old).exp(), advantages[:, None]
    objective = torch.maximum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)
    return -(objective * mask).sum() / mask.sum(), {}


wide, free = World(4), {"clip_low": math.inf, "clip_high": math.inf}
reuse = {
    "1 update": {"updates": 1},
    "16, clip 0.2": {},
    "16, clip 0.2 and 0.28": {"clip_high": 0.28},
    "16, no clip": free,
    "16, the bug": {"loss": larger},
    "16, CISPO, at most 1.28": {"loss_type": "cispo", **cap},
    "16, GRPO's average": {"loss_type": "grpo"},
    "16, GSPO 0.2": {"loss_type": "gspo"},
    "16, GSPO 0.05": {"loss_type": "gspo", "clip_low": 0.05, "clip_high": 0.05},
    "16, GSPO 0.0003": {"loss_type": "gspo", "clip_low": 3e-4, "clip_high": 4e-4},
}

# %%
reused, pays = {}, wide.pays(4)
for name, options in reuse.items():
    settings = {"updates": 16, "group": 8, "scale": "group", "loss_type": "dapo"} | options
    reused[name] = [practise(seed, 41, pays, wide, **settings) for seed in range(10)]

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.8))
early, late = ({name: interval([run[k][0] for run in of]) for name, of in reused.items()}
               for k in (10, 40))  # fmt: skip
dots(ax, early, ["16, the bug"])
for y, (middle, _) in enumerate(late.values()):
    _ = ax.plot(middle, y, "|", color="gray", ms=12, mew=2)
_ = ax.set(xlabel="chance of a right answer", xlim=(0.1, 1.02))
show(fig, "Updates per group and what is clipped. Dots: right after 10 groups, with 95 % "
     "intervals over ten seeds; strokes: after 40. The bug (orange) learns as fast as no "
     "clip, and faster than the right clip.",
     "Ten rows, the number of updates per group and what is clipped; the chance of a right "
     "answer after 10 groups and after 40: " + "; ".join(
         "{} {:.2f} ± {:.2f} and {:.2f}".format(name, *early[name], late[name][0])
         for name in reused) + ".")

# %% [markdown]
# **The bug learns as fast as no clip at all, and faster than the right version.** No reward curve would have caught it. Only a test on the numbers does.
#
# In this world the clip is a brake. A table of logits shares nothing between contexts, so there is little that a brake could save. In a network, where one step too far on one group spoils others, the picture is different, as the recorded runs below show. CISPO clips no gradient away and behaves like no clip here. GSPO with the bounds of its paper hardly uses the extra 15 updates, because answers of two tokens leave a band of 0.0003 at once.

# %% [markdown]
# ## Silent groups, and drawing until a batch is full
#
# A group whose answers are all right, or all wrong, has advantage 0 everywhere and teaches nothing. The chance of such a silent group is exactly $p^G + (1-p)^G$:

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.8))
silent = {size: [100 * (p**size + (1 - p) ** size) for p in grid] for size in (4, 16, 64)}
for size, line in silent.items():
    _ = ax.plot(grid, line, label=f"group of {size}")
_ = ax.set(xlabel="chance p of a right answer", ylabel="silent groups, %", ylim=(0, 100),
           xlim=(0, 1))  # fmt: skip
direct_labels(ax)
at = {size: [f"{line[k]:.0f}" for k in (0, 4, 49)] for size, line in silent.items()}
show(fig, "How many groups are silent. Questions that are hard, or nearly solved, silence "
     "most of the small groups.",
     "Three curves, symmetric about p = 0.5, of the silent groups in % at p = 0.01, 0.05 and "
     "0.5: "
     + "; ".join(f"groups of {size} {', '.join(of)}" for size, of in at.items()) + ".")

# %% [markdown]
# As a policy succeeds, more of its groups fall silent, so the batches shrink while the run improves. DAPO's **dynamic sampling** keeps drawing until a batch is full of groups that carry a signal {cite}`yu2025dapo`. This gives no information for free, because every silent group was sampled and paid for.

# %%
def filled(p: float, size: int, wanted: int, generator: torch.Generator) -> int:
    """How many groups must be drawn until `wanted` of them carry a signal."""
    drawn = (torch.rand(wanted * 60, size, generator=generator) < p).double()
    signal = (drawn.amax(1) > drawn.amin(1)).nonzero().flatten()
    return signal[wanted - 1].item() + 1


generator = torch.Generator().manual_seed(0)
for p in (0.5, 0.1, 0.02):
    cost = mean(filled(p, 16, 32, generator) for _ in range(100))
    computed = 32 / (1 - p**16 - (1 - p) ** 16)
    print(f"p = {p:4}: {cost:3.0f} groups drawn for 32 with a signal; computed "
      f"{computed:3.0f}")

# %% [markdown]
# ## KL: a good estimate can be a bad term of a loss
#
# Some recipes add a penalty that keeps the policy near a reference model. The penalty is a KL divergence, estimated from the sampled tokens. With $d = \log \pi_{\rm ref} - \log \pi$ at the sampled token, Schulman gives three estimates: $k_1 = -d$, $k_2 = d^2/2$ and $k_3 = e^d - d - 1$, which GRPO uses {cite}`schulman2020kl`. We test all three on a policy over three tokens, where the true value and the true gradient are known.

# %%
policy3, reference3 = tensor([0.2, 0.5, 0.3]).double(), tensor([0.6, 0.1, 0.3]).double()
leaf = policy3.log().requires_grad_()
logp = leaf.log_softmax(-1)
kl = (logp.exp() * (logp - reference3.log())).sum()
reverse = (reference3 * (reference3.log() - logp)).sum()
for name, value in (("policy, reference", kl), ("reference, policy", reverse)):
    gradient = torch.autograd.grad(value, leaf, retain_graph=True)[0].tolist()
    print(f"KL({name}) = {value:.3f} nats, its gradient {[round(x, 2) for x in gradient]}")

# %%
def estimates(logp: torch.Tensor, name: str) -> torch.Tensor:
    """The estimate at each token; "ratio k3" multiplies k3 by the ratio of now and then."""
    if name == "none":
        return torch.zeros(3).double()
    if name == "ratio k3":
        return (logp - logp.detach()).exp() * estimates(logp, "k3")
    return kl_estimate(logp, reference3.log(), name)


rows = []
for name in ("k1", "k2", "k3", "ratio k3"):
    value = estimates(logp, name)
    average = policy3 @ value.detach()
    spread = (policy3 @ (value.detach() - average).square()).sqrt()
    drift = torch.autograd.grad(policy3 @ value, leaf, retain_graph=True)[0]
    gradient = ", ".join(f"{round(x, 2) + 0.0:.2f}" for x in drift.tolist())
    rows.append([name, f"{average:.3f}", f"{spread:.2f}", gradient])
table(["estimate", "mean", "spread", "mean gradient"], rows)

# %% [markdown]
# As estimates, $k_1$ and $k_3$ have the right mean, and $k_3$ is far less noisy. As terms of a loss they behave differently, because autograd differentiates the estimate but not the sampling:
#
# - $k_1$ has the mean gradient **zero**, so minimising it does nothing, at any price.
# - $k_2$ has the wrong value and exactly the right gradient.
# - $k_3$ has the right value and the gradient of **KL the other way round**.
# - $k_3$ times the ratio has both right, and DeepSeek-V3.2 changed to it {cite}`deepseekv32`.
#
# Here we also know where training must end. For a reward $r$ and a price $\beta$ the best policy is $\pi_{\rm ref}\, e^{r/\beta}$, normalised. We reward the second token, set $\beta = 0.5$, and take exact steps until nothing moves.

# %%
reward3, beta = tensor([0.0, 1.0, 0.0]).double(), 0.5
best = reference3 * (reward3 / beta).exp()
ends = {"the optimum": best / best.sum()}
for name in ("none", "k1", "k2", "k3", "ratio k3"):
    logits = reference3.log()
    for _ in range(2000):
        leaf = logits.clone().requires_grad_()
        logp = leaf.log_softmax(-1)
        p, ratio = logp.detach().exp(), (logp - logp.detach()).exp()
        objective = p @ (ratio * (reward3 - p @ reward3) - beta * estimates(logp, name))
        logits = logits + 0.5 * torch.autograd.grad(objective, leaf)[0]
    ends[name] = logits.softmax(-1)
assert (ends["k2"] - ends["the optimum"]).abs().max() < 1e-6
assert ends["k1"][1] > 0.99
table(["penalty", "token 1", "token 2", "token 3"],
      [[name, *(f"{p:.3f}" for p in end.tolist())] for name, end in ends.items()],
      "The policy at the end; only token 2 is rewarded.")

# %% [markdown]
# $k_1$ collapses as if there were no penalty. $k_3$ stops at 0.585, where the optimum is 0.451. For a small $\beta$ and a policy near its reference the three gradients are nearly the same, which is why $k_3$ has served so many people well. Neither DAPO nor Dr. GRPO nor our own recipe uses a KL penalty. With a verifier as the reward there is no reward model to exploit ([chapter 11](11_human_feedback.ipynb)), and the model is meant to move.

# %% [markdown]
# ## Every switch, in a language model
#
# Now the same switches on `nano-base`, which solves Countdown with three numbers up to 12, `+` and `-`. The runs were recorded on the CPU cores of a machine that also has a GPU: 16 steps of 16 problems with 8 answers each, 256 held-out problems, three seeds. The learning rate is higher than our recipe's, so that whatever breaks, breaks soon. *plain* is our recipe: the token average (`dapo`), advantages divided by the deviation, clip bounds 0.2 and 0.28, one update per batch, no KL. Every other row changes what its name says; *sequence mean* is GRPO's average and *dr_grpo* that of Dr. GRPO; *unscaled* does not divide by the deviation, and *scaled by batch* divides by the deviation of the whole batch; *clip 0.2* has both bounds at 0.2.

# %% tags=["hide-input"]
print(results.origin("ch12_ablations"))
variants = {}
for run in results.read("ch12_ablations")["runs"]:
    variants.setdefault(run["variant"], []).append(run)
columns = {
    "accuracy, %": (".1f", lambda run: 100 * run["accuracy"]),
    "entropy": (".2f", lambda run: run["entropy"]),
    "KL per token": (".2f", lambda run: run["kl_per_token"]),
    "tokens of wrong answers": (".0f", lambda run: mean(run["curves"]["length_wrong"][-5:])),
}


def paired(name: str, column: str) -> tuple[float, float]:
    """A variant's mean difference from plain, seed by seed, and half of its 95 % interval."""
    return apart(*(list(map(columns[column][1], variants[of])) for of in (name, "plain")))

# %% tags=["hide-input"]
rows = []
for name, of in variants.items():
    rows.append([name])
    for column, (digits, read) in columns.items():
        less, half = paired(name, column)
        rows[-1].append(f"{mean(map(read, of)):{digits}}" + " *" * (abs(less) > half))
table(["variant", *columns], rows,
      "Means of three seeds. * its difference from plain has a 95 % interval without zero.")

# %% tags=["figure", "hide-input"]
less = {name: paired(name, "accuracy, %") for name in variants if name != "plain"}
fig, ax = plt.subplots(figsize=(6.4, 4))
dots(ax, less, [name for name, (middle, half) in less.items() if abs(middle) > half])
_ = ax.axvline(0, color="black", lw=1, ls=":")
_ = ax.set(xlabel="accuracy minus plain's, points")
show(fig, "What each switch does to the accuracy: means of three seeds, with 95 % intervals. "
     "Orange: intervals without zero, all of them with four updates per batch.",
     "Dots with intervals, accuracy minus plain's in points: " + "; ".join(
         f"{name} {middle:+.1f} ± {half:.1f}" for name, (middle, half) in less.items()) + ".")

# %% [markdown]
# Three seeds of small runs leave wide intervals. The table makes 44 comparisons, so about two stars would appear by chance alone. These differences exclude zero (a star in the table, orange in the figure):
#
# - **The clip matters in a network**: four updates per batch without it destroy the model on every seed. In our table of logits that was the fastest learner. Four clipped updates survive, but at this learning rate they are worse than one.
# - **The length bias is there**: with the mean within answers, wrong answers end longer. We cannot show that this costs accuracy.
# - **KL** with $k_2$ or $k_3$ keeps the policy nearer to its base. With $k_1$ it ends *farther* from the base than without any penalty, because a term whose mean gradient is zero adds only noise.
#
# These do not exclude zero, although each would make a good story:
#
# - $k_2$ and $k_3$ have the highest mean accuracies, but at a rate this high, any brake may help.
# - **The deviation**: without it the mean accuracy is higher, and with the deviation of the whole batch it is lower. Without it steps are also shorter, which at this rate may be all that helps.
# - **Clip-higher** does not raise the entropy here: the runs with 0.28 and with 0.2 are not apart. DAPO's authors report that it does in theirs {cite}`yu2025dapo`.
# - **Dynamic sampling** shows no gain, and this is what it paid:

# %% tags=["hide-input"]
for name in ("plain", "dynamic sampling"):
    of = variants[name]
    tries = mean(mean(run["curves"]["tries"]) for run in of)
    signal = mean(mean(run["curves"]["groups_with_signal"]) for run in of)
    work = mean(run["flops"] for run in of)
    print(f"{name:16} {tries:.2f} batches drawn per step, {signal:.0%} of groups with a "
          f"signal, {work:.2e} operations")

# %% [markdown]
# ### Four updates per batch: GSPO survives, CISPO does not
#
# The last experiment has the same base, steps and rate as the ablations, on another processor. Every run makes four updates per batch, and the runs differ in what they clip. *Clip of tokens* is the clip of GRPO and DAPO, with bounds 0.2 and 0.28. The number behind GSPO is its bound, and *at most* is CISPO's largest weight.

# %% tags=["hide-input"]
print(results.origin("ch13_ratios"))
called = dict(zip(("", ", sequence mean", ", gspo", ", gspo 0.02", ", cispo", ", cispo 0.28"),
                  ("clip of tokens", "with GRPO's average", "GSPO 0.0003", "GSPO 0.02",
                   "CISPO, at most 5", "CISPO, at most 1.28"), strict=True))  # fmt: skip
clips, rows = {}, []
for run in results.read("ch13_ratios")["runs"]:
    clips.setdefault(called[run["variant"].removeprefix("4 updates")], []).append(run)
gained = {name: [100 * run["accuracy"] for run in of] for name, of in clips.items()}
sides = ("clipped_low", "clipped_high")

def share(run):  # where no group had a signal, nothing was measured
    steps = [k for k, nats in enumerate(run["curves"]["entropy"]) if nats > 0]
    return 100 * sum(run["curves"][side][k] for side in sides for k in steps) / len(steps)


clipped = {name: mean(map(share, of)) for name, of in clips.items()}
for name, of in clips.items():
    less = apart(gained[name], gained["clip of tokens"])
    rows.append([name, "{:.1f} ± {:.1f}".format(*interval(gained[name])),
                 "{:+.1f} ± {:.1f}".format(*less) if any(less) else "-",
                 f"{mean(run['kl_per_token'] for run in of):.2f}", f"{clipped[name]:.0f}"])
same = apart(gained["GSPO 0.0003"], gained["with GRPO's average"])
print("GSPO minus the clip of tokens with the same average: {:+.1f} ± {:.1f}".format(*same))
table(["what is clipped", "right, %", "minus the first", "KL per token", "clipped, %"], rows,
      "Means of three seeds, with 95 % intervals.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.4))
for name, each in gained.items():
    colour = "C1" if "CISPO" in name else "C2" if "GSPO" in name else "C0"
    at = (clipped[name], mean(each))
    _ = ax.plot([clipped[name]] * 3, each, "o", color=colour, ms=4, alpha=0.6)
    _ = ax.plot(*at, "_", color=colour, ms=16, mew=2.5)
    aside, up = -12 if clipped[name] > 80 else 12, {"at most 5": 7, "at most 1.28": -4}
    _ = ax.annotate(name, at, (aside, up.get(name[7:], 0)), textcoords="offset points",
                    color=colour, va="center", ha="right" if aside < 0 else "left")
_ = ax.set(xlabel="tokens clipped, %", ylabel="accuracy, %", xlim=(-3, 100), ylim=(-5, 80))
shown = {name: (clipped[name], mean(each)) for name, each in gained.items()}
show(fig, "Losses that clip more tokens keep more of the model through four updates per "
     "batch. Dots: seeds; strokes: their means.",
     "Six groups of three dots, clipped tokens and mean accuracy in %: " + "; ".join(
         f"{name} {x:.0f} and {y:.1f}" for name, (x, y) in shown.items()) + ".")

# %% [markdown]
# **GSPO is clearly better here** than the token-level clip, and also better than the token-level clip with GSPO's average. Look at the share of clipped tokens before you conclude that it is the better loss. Its own bounds of 0.0003 clip nine tokens in ten, so most of the extra updates do nothing, and the policy stays near its base. With wider bounds it clips less, moves further, and gains less.
#
# **CISPO destroys the model on every seed**, with either bound, as no clip at all did. It never takes a gradient away, so at this rate nothing slows it down.
#
# At this learning rate every brake helps, so the loss that brakes most wins. This says nothing about which loss is best at a rate that suits it.

# %% [markdown]
# ## When a run goes wrong
#
# Every quantity in this chapter has a name in a run's `metrics.jsonl`: `clipped_low`, `groups_with_signal`, `length_wrong` and others. The page [Symptoms](../book/symptoms.md) lists what one sees when a run fails, the likely cause, the metric to look at, and the fix. Here is the worst of the recorded runs, to practise on.

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3))
ends, steps = {}, range(1, 17)
for k, name in enumerate(("plain", "4 updates", "4 updates, no clip")):
    curves = [run["curves"]["reward"] for run in variants[name]]
    for curve in curves:
        _ = ax.plot(steps, curve, color=f"C{k}", lw=1, alpha=0.4)
    middle = [mean(at) for at in zip(*curves, strict=True)]
    _ = ax.plot(steps, middle, color=f"C{k}", label=name)
    ends[name] = ", ".join(f"{middle[k]:.2f}" for k in (0, 7, 15))
_ = ax.set(xlabel="step", ylabel="share right among samples", ylim=(0, None), xlim=(1, 16))
direct_labels(ax)
show(fig, "Four updates per batch without a clip lose the right answers within a few steps. "
     "Thin lines: seeds; thick lines: their means.",
     "Three lines over 16 steps, the share of right samples at steps 1, 8 and 16: "
     + "; ".join(f"{name} {at}" for name, at in ends.items()) + ".")

# %% tags=["hide-input"]
worst = variants["4 updates, no clip"][0]["curves"]
keys = ("ratio", "entropy", "cut_off", "groups_with_signal", "grad_norm")
table(["metric", *(f"step {k + 1}" for k in range(0, 16, 3))],
      [[key, *("-" if key in ("ratio", "entropy") and not worst["groups_with_signal"][k]
               else f"{worst[key][k]:.2f}" for k in range(0, 16, 3))] for key in keys],
      "4 updates, no clip, seed 0.")

# %% [markdown]
# A dash marks a step without an update: no sample of the batch was right, so no group carried a signal, the gradient was 0, and ratio and entropy were not measured. The ratio is an average over tokens and should stay near 1; here it wanders. The entropy quadruples, so this collapse is into noise and not into one answer. More and more answers never end. Where no answer is right, the run waits for a lucky sample: at step 16 one group in sixteen holds one. **A policy that has lost its right answers learns from luck alone**, and no seed recovered within the 16 steps.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeekMath {cite}`deepseekmath` used GRPO with both divisions and $k_3$. DeepSeek-V3.2 {cite}`deepseekv32` changed two of the things that our small worlds also point at. The advantage is no longer divided by the deviation, and the penalty became $k_3$ times the ratio:
#
# $$
# \hat A_i = r_i - \operatorname{mean}(r), \qquad
# \mathbb{D}_{KL} = \frac{\pi_\theta}{\pi_{\theta_{old}}} \left( \frac{\pi_{\rm ref}}{\pi_\theta} - \log \frac{\pi_{\rm ref}}{\pi_\theta} - 1 \right).
# $$
#
# V3.2 keeps the average within each answer, $1/|o_i|$, which is the division that turned our step by 17 degrees. It also masks wrong answers that have moved far from the policy that sampled them, which puts a bound on the $-20$ above.
#
# DeepSeek-R1 {cite}`deepseekr1` used 16 minibatches from each round of sampling and, for R1's first stage, $\varepsilon = 10$, which hardly clips from above. That is what they report, while what we saw is a table of a few logits and a model of 0.4 million parameters, and our results say nothing about which variant is best at their size. GSPO was developed for Qwen3 {cite}`zheng2025gspo` and CISPO for MiniMax-M1 {cite}`minimax2025m1`.

# %% [markdown]
# ## What went wrong, or did not help
#
# **A comparison at the same step misled us.** We first compared the entropy of the clipped and the unclipped learner after the same number of steps, and the clip looked as if it preserved variety. But a faster learner has less left to choose. Compared at the same accuracy, most of the difference disappears:

# %% tags=["hide-input"]
rows = []
for name in ("16, clip 0.2", "16, no clip", "16, the bug"):
    same_step = interval([run[10][2] for run in reused[name]])
    same_share = interval([next(h for p, _, h in run if p > 0.85) for run in reused[name]])
    each = ["{:.2f} ± {:.2f}".format(*of) for of in (same_step, same_share)]
    rows.append([name.removeprefix("16, "), *each])
table(["learner", "after 10 groups", "when 0.85 are right"], rows,
      "Entropy in nats, ten seeds.")

# %% [markdown]
# **A comparison at the same learning rate would have misled us too.** GRPO's average gives larger steps than DAPO's where answers are short. That is why the comparison of both averages above fixes the length of the step.
#
# **Clip-higher and dynamic sampling did nothing that we can see** at our size, with three seeds.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Three averages
# :label: ex-13-average
#
# *10 minutes.* Write `average(losses, mask, how, max_length)` for `"grpo"`, `"dapo"` and `"dr_grpo"`. The task is printed below. Run `check("grpo.average", my_average)` to see how you stand.
#
# **Hint.** By what is the loss of a single token divided, in an answer of 2 tokens and in one of 4?
# ```

# %%
print(describe("grpo.average"))


def my_average(losses, mask, how, max_length):
    """Replace the line below by your own; losses and mask: [N, T]."""
    raise NotImplementedError


# check("grpo.average", my_average)

# %% [markdown]
# ```{solution-start} ex-13-average
# :class: dropdown
# ```

# %%
def average_solution(losses, mask, how, max_length):
    masked = losses * mask
    if how == "grpo":
        return (masked.sum(1) / mask.sum(1)).mean()
    return masked.sum() / (mask.sum() if how == "dapo" else len(losses) * max_length)


check("grpo.average", average_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} One ratio for an answer
# :label: ex-13-sequence
#
# *10 minutes.* Write GSPO's `sequence_ratio(logp, old_logp, mask)` for the task that is printed below; `check("grpo.sequence_ratio", my_ratio)` knows six mistakes by name.
#
# **Hint.** The geometric mean of some numbers is the exponential of the mean of their logarithms.
# ```

# %%
print(describe("grpo.sequence_ratio"))


def my_ratio(logp, old_logp, mask):
    """Replace the line below by your own; all three: [N, T]."""
    raise NotImplementedError


# check("grpo.sequence_ratio", my_ratio)

# %% [markdown]
# ```{solution-start} ex-13-sequence
# :class: dropdown
# ```

# %%
def ratio_solution(logp, old_logp, mask):
    return (((logp - old_logp) * mask).sum(1) / mask.sum(1)).exp()


check("grpo.sequence_ratio", ratio_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} k1, k2, k3
# :label: ex-13-kl
#
# *10 minutes.* Write `kl_estimators(logp, ref_logp)`, which returns all three in a dictionary, and run `check("grpo.kl_estimators", my_kl)`. Then answer without running anything: for a policy that equals its reference, what are the three values, and what are the three gradients?
#
# **Hint.** Everything is a function of $d = \log \pi_{\rm ref} - \log \pi$, so expand $e^d$ to second order.
# ```

# %%
print(describe("grpo.kl_estimators"))


def my_kl(logp, ref_logp):
    """Replace the line below by your own; returns {"k1": ..., "k2": ..., "k3": ...}."""
    raise NotImplementedError


# check("grpo.kl_estimators", my_kl)

# %% [markdown]
# ```{solution-start} ex-13-kl
# :class: dropdown
# ```

# %%
def kl_solution(logp, ref_logp):
    d = ref_logp - logp
    return {"k1": -d, "k2": d.square() / 2, "k3": d.exp() - d - 1}


check("grpo.kl_estimators", kl_solution)

# %% [markdown]
# At $d = 0$ all values are 0, and the gradients of $k_2$ and $k_3$ are 0 as well, token by token. The gradient of $k_1$ is the score of the token, which is 0 only on average, so it adds noise from the first step on.
#
# ```{solution-end}
# ```
#
# ```{exercise} Draw until there is a signal
# :label: ex-13-signal
#
# *5 minutes.* Write `with_signal(rewards, wanted)`: the row numbers (at most `wanted` of them, in order) of the first groups that dynamic sampling would keep. The task is printed below; run `check("grpo.with_signal", my_signal)` to see how you stand.
#
# **Hint.** Rewards need not be 0 and 1.
# ```

# %%
print(describe("grpo.with_signal"))


def my_signal(rewards, wanted):
    """Replace the line below by your own; rewards: [P, G]."""
    raise NotImplementedError


# check("grpo.with_signal", my_signal)

# %% [markdown]
# ```{solution-start} ex-13-signal
# :class: dropdown
# ```

# %%
def signal_solution(rewards, wanted):
    signal = rewards.amax(1) > rewards.amin(1)
    return signal.nonzero().flatten()[:wanted]


check("grpo.with_signal", signal_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} What does each method maximise?
# :label: ex-13-mountain
#
# *20 minutes, on paper.* Rewards are 0 and 1, groups are large, and advantages are divided by the deviation. Show that the expected gradient for one question is $\nabla f(p)$ with $f(p) = 2 \arcsin \sqrt p$. What is $f$ if nothing is divided, and what is it if only right answers are used, each with weight $1/p$ (rejection sampling)?
#
# **Hint.** With $s$ the score, $\mathbb{E}[r s] = \nabla p$ and $\mathbb{E}[s] = 0$.
# ```
#
# ```{solution} ex-13-mountain
# :class: dropdown
#
# $\mathbb{E}[(r - p)\, s] / \sqrt{p(1-p)} = \nabla p / \sqrt{p(1-p)}$, and $f'(p) = 2 \cdot \frac{1}{\sqrt{1 - p}} \cdot \frac{1}{2 \sqrt p} = 1/\sqrt{p(1-p)}$. With nothing divided, $f(p) = p$. With weight $1/p$ on right answers alone, $\mathbb{E}[r s]/p = \nabla p / p = \nabla \log p$. Rejection sampling therefore maximises the logarithm, and gives hard questions even more weight {cite}`davis2025objective`.
# ```

# %% [markdown]
# ## Bug zoo
#
# Three wrong versions of the averages live in the package. A test takes an implementation of `average(losses, mask, how, max_length)` and fails where it is wrong. The test below accepts the right version and lets one bug escape. Write a second test that catches it.

# %% tags=["zoo"]
def padding_is_not_counted(average) -> None:
    """Two answers of 2 and 4 tokens; what lies behind the first one's end does not count."""
    losses = tensor([[1.0, 1.0, 9.0, 9.0], [2.0, 2.0, 2.0, 2.0]])
    mask = tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert abs(average(losses, mask, "grpo", 4).item() - 1.5) < 1e-5
    assert abs(average(losses, mask, "dapo", 4).item() - 10 / 6) < 1e-5


zoo("grpo.average", [padding_is_not_counted])

# %% [markdown]
# Our second test is behind the button.

# %% tags=["hide-cell"]
def the_divisor_is_a_constant(average) -> None:
    """dr_grpo divides by 2 answers times 8 tokens, though the longest answer here has 4."""
    losses, mask = torch.ones(2, 4), tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert abs(average(losses, mask, "dr_grpo", 8).item() - 6 / 16) < 1e-5


zoo("grpo.average", [padding_is_not_counted, the_divisor_is_a_constant])

# %% [markdown]
# ## The opening question, answered
#
# By how many degrees does one of GRPO's divisions turn the expected step?

# %%
for name in ("length", "deviation"):
    print(f"dividing by the {name}: {expected[name][2][1]:.1f} degrees, in groups of 16")

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
spread = {f"tokens of wrong answers, {how}": [run[40][1] for run in of]
          for how, of in learned.items()}  # fmt: skip
spread |= {f"recorded accuracy, %, {name}": each for name, each in gained.items()}
receipt(spread=spread, differences={"six losses, loops and package": (difference, 1e-12)})

# %% [markdown]
# ## Summary
#
# Dividing each answer by its own length turns GRPO's expected step **by 17 degrees** in our world, whatever the size of the group, and the wrong answers that remain are longer. Dividing by the deviation does not turn the step on one question; on several questions it gives more weight to the very hard and the very easy ones. The clip hardly matters in a table and decides everything in a network: with four updates per batch, no clip and CISPO destroyed the model, and GSPO, which clips most, did best. A bug in the clip learned faster than the right version, so no curve would have shown it.
#
# - I can now name six losses by what they divide, what they clip and how they average, and write them in one function.
# - I can now tell a bias from noise, with a world that is small enough to enumerate.
# - I can now say why GSPO clips the geometric mean, and why its bounds depend on the length of the answers.
# - I can now say what $k_1$, $k_2$ and $k_3$ do as terms of a loss, which differs from what they do as estimates.
# - I can now read a failed run from its metrics.

# %% [markdown]
# ## Read on
#
# - DAPO {cite}`yu2025dapo`, Dr. GRPO {cite}`liu2025drgrpo`, GSPO {cite}`zheng2025gspo`, and section 3.1 of MiniMax-M1 {cite}`minimax2025m1`, where the variants come from; DeepSeek-V3.2 {cite}`deepseekv32`, section 3.1, for DeepSeek's own.
# - Schulman's note on estimating KL {cite}`schulman2020kl`: two pages.
# - Davis and Recht {cite}`davis2025objective`: what each method maximises.
# - The code of this chapter in the package: `minidsk/rl/grpo.py` and `kl.py`.
# - [Symptoms](../book/symptoms.md): what a failing run looks like, and the fix.
