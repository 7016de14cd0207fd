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
# GRPO's loss fits on one line, and since 2024 people have been changing that line. Five published losses, and a sixth that a library adds, differ in only three switches: how they scale an advantage, how they clip, and how they average over tokens. **Which of the three switches matters, and how would you notice in a run that it is set wrong?** For two of them, a world that is small enough to list gives an exact answer: by how many degrees does the switch turn the step away from the true gradient?
#
# - **You will build** the six losses from three short functions, one for each switch, and the tests that tell a right clip from a wrong one.
# - **You need** PyTorch and [chapter 12](12_grpo.ipynb), which builds GRPO.
# - **It takes** about half a minute to run on two CPU cores of a laptop, about twice that on the two cores that Colab lends (a GPU is no faster, because the policies here are small tables), and an hour to read. The language-model experiments were recorded earlier; the chapter reads their results.

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
from minidsk.widgets import Group

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## Six losses, three switches
#
# All six losses start from the same two things: the advantage $A$ of an answer, and for each of its tokens the ratio $\rho$ of the token's probability now to its probability when it was sampled. They differ in the three switches of this table.
#
# | loss | scale: the advantage is divided by | clip: what is kept within bounds | average over tokens |
# | --- | --- | --- | --- |
# | GRPO {cite}`deepseekmath` | the group's standard deviation | the ratio of each token | within each answer, then over answers |
# | Dr. GRPO {cite}`liu2025drgrpo` | nothing | the ratio of each token | sum over all tokens, divided by a constant |
# | DAPO {cite}`yu2025dapo` | the group's standard deviation | the ratio of each token; the upper bound is wider | over all tokens of the batch |
# | GSPO {cite}`zheng2025gspo` | the group's standard deviation | one ratio for the whole answer | within each answer, then over answers |
# | CISPO {cite}`minimax2025m1` | the group's standard deviation | the weight of each token, whose gradient stays | over all tokens of the batch |
#
# The sixth, *bnpo*, comes from the library TRL and has no row of its own. It averages over all tokens of one batch, so it is DAPO's average unless a batch is split.
#
# We take the switches one by one, in a world of 15 answers where we can compute the truth, and then all of them in a language model.

# %% [markdown]
# ## What goes wrong first: a long wrong answer gets away
#
# A right answer has 4 tokens and advantage $+1$, and a wrong answer has 7 tokens and advantage $-1$. The policy has not moved yet, so all ratios are 1. How hard does each average pull at one token?

# %%
advantages, lengths = tensor([1.0, -1.0]), tensor([4, 7])
mask = (torch.arange(7) < lengths[:, None]).double()
logp = torch.zeros(2, 7, dtype=torch.float64, requires_grad=True)
pulls = {}
for how in ("grpo", "dapo", "dr_grpo"):
    loss, _ = policy_loss(logp, logp.detach(), advantages, mask, loss_type=how, max_length=10)
    pulls[how] = (-torch.autograd.grad(loss, logp)[0][:, 0]).tolist()

# %% tags=["hide-input"]
table(["average", "a token of the right answer", "of the wrong one", "second / first"],
      [[how, f"{four:+.4f}", f"{seven:+.4f}", f"{-seven / four:.2f}"]
       for how, (four, seven) in pulls.items()], "How hard one token is pulled.")

# %% [markdown]
# GRPO divides by the answer's own length: $1/(2 \cdot 4)$ for a token of the first answer and $1/(2 \cdot 7)$ for a token of the second. Each answer is pulled with the same total force, so a token of the longer wrong answer feels less of it. DAPO gives every token $1/11$, and Dr. GRPO gives every token $1/(2 \cdot 10)$ whatever else is in the batch.
#
# Spreading a force over more tokens sounds harmless. To find out, we return to the world of [chapter 12](12_grpo.ipynb): *pay 2 with coins of 1 and 2*. Its tokens are `1`, `2` and `.`, an answer has at most three of them, and only `2.` and `11.` are right. The class `World`, which [chapter 12](12_grpo.ipynb) builds, lists all answers. So we can compute the true gradient of the probability of being right, and the score of every answer, which is the gradient of its log-probability.

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
# ## Each switch is one short function
#
# The package's `policy_loss` has all six losses. Here they are in the open, one answer and one token at a time. The first switch, **scale**, decides what an answer's difference from its group's mean is divided by.

# %%
def scaled(rewards, how):
    """The advantages of one group, from its rewards [G]."""
    difference = rewards - rewards.mean()
    return difference / (rewards.std() + 1e-4) if how == "deviation" else difference


group = tensor([0.0, 1.0, 0.0, 0.0]).double()
for how in ("deviation", "nothing"):
    print(f"divided by {how}:", [round(a, 2) for a in scaled(group, how).tolist()])

# %% [markdown]
# The second switch, **clip**, decides what we maximise at each token of an answer. GSPO replaces the ratios of the tokens by one ratio, their geometric mean. CISPO takes the clipped ratio as a mere weight, without a gradient of its own.

# %%
def clipped(logp, old, advantage, how, low=0.2, high=0.2):
    """What is maximised at each token of one answer; logp and old [tokens]."""
    ratio = (logp - old).exp()
    if how == "gspo":
        ratio = ratio.prod().pow(1 / len(ratio)).expand(len(ratio))
    bounded = ratio.clamp(1 - low, 1 + high)
    if how == "cispo":
        return bounded.detach() * advantage * logp
    return torch.minimum(ratio * advantage, bounded * advantage)


# %% [markdown]
# The third switch, **average**, makes one number of all tokens of all answers.

# %%
def averaged(answers, how, longest):
    """One number from what is maximised at each token, one tensor per answer."""
    if how in ("grpo", "gspo"):
        return sum(one.mean() for one in answers) / len(answers)
    total = sum(one.sum() for one in answers)
    return total / (len(answers) * longest if how == "dr_grpo" else sum(map(len, answers)))


# %% [markdown]
# The loss is the average, with the opposite sign because optimizers minimise.

# %% tags=["naive"]
def loss_by_loops(logp, old, advantages, lengths, how, longest=6):
    """The loss of some answers; logp and old [N, T]; one advantage and one length each."""
    answers = [clipped(logp[i, :n], old[i, :n], advantages[i], how)
               for i, n in enumerate(lengths.tolist())]  # fmt: skip
    return -averaged(answers, how, longest)


# %% [markdown]
# ### The package agrees
#
# We compare values and gradients on random answers after the policy has moved. The package's own tests also compare each of the six with TRL {cite}`vonwerra2020trl`.

# %%
g = torch.Generator().manual_seed(0)
old = torch.randn(8, 6, generator=g, dtype=torch.float64) - 2
new = (old + 0.3 * torch.randn(8, 6, generator=g, dtype=torch.float64)).requires_grad_()
some = torch.randn(8, generator=g, dtype=torch.float64)  # advantages
lengths = torch.randint(1, 7, (8,), generator=g)
mask = torch.arange(6) < lengths[:, None]


def gap(how: str, package: str) -> float:
    """How far our loss `how` and its gradient are from the package's loss `package`."""
    ours = loss_by_loops(new, old, some, lengths, how)
    theirs, _ = policy_loss(new, old, some, mask, loss_type=package, max_length=6)
    slopes = [torch.autograd.grad(loss, new)[0] for loss in (ours, theirs)]
    return max((ours - theirs).abs().item(), (slopes[0] - slopes[1]).abs().max().item())


# %% tags=["agree"]
gaps = [gap(how, how) for how in ("grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo")]
for how, package in (("deviation", "group"), ("nothing", "none")):
    theirs = group_advantages(group[None], package)[0]
    gaps.append((scaled(group, how) - theirs).abs().max().item())
difference = max(gaps)
assert difference < 1e-12
print("two scales and six losses, largest difference: below 1e-12")
assert gap("grpo", "dapo") > 0.01  # a wrong average does not pass
print("GRPO's average planted where DAPO's belongs: noticed")

# %% [markdown]
# ## The average turns the step, the scale does not
#
# A group of 16 gives a noisy gradient. Noise averages out, but a bias does not. In our world we can tell them apart, because the expected step of GRPO can be computed. An answer's advantage depends on the other answers only through how many of them are right, and that number follows a binomial distribution.

# %%
def expected_advantage(own: float, p: float, size: int, scale: str) -> float:
    """Mean advantage of an answer with reward `own` in groups of `size`; p: of right."""
    total = 0.0
    for k in range(size):  # of the others, k are right
        odds = math.comb(size - 1, k) * p**k * (1 - p) ** (size - 1 - k)
        rewards = tensor([[own] + [1.0] * k + [0.0] * (size - 1 - k)]).double()
        total += odds * group_advantages(rewards, scale)[0, 0].item()
    return total


# %%
def expected_step(size: int, scale: str, by_length: bool) -> torch.Tensor:
    """GRPO's mean step; by_length: each answer's tokens are divided by its length."""
    wrong, good = (expected_advantage(own, chance, size, scale) for own in (0.0, 1.0))
    pull = wrong + (good - wrong) * right
    return (probability * (pull / world.mask.sum(1) if by_length else pull)) @ score


def angle(a: torch.Tensor, b: torch.Tensor) -> float:
    """Degrees between two directions."""
    return math.degrees(math.acos(min(1.0, torch.cosine_similarity(a, b, dim=0).item())))


# %% [markdown]
# So GRPO divides twice: the advantage by the group's standard deviation, and the answer by its length. We switch each division on and off. With both off, the step is Dr. GRPO's.

# %%
switches = {"neither": ("none", False), "deviation": ("group", False),
            "length": ("none", True), "both (GRPO)": ("group", True)}  # fmt: skip
sizes, expected = (2, 4, 16, 64), {}
for name, switch in switches.items():
    steps = [expected_step(size, *switch) for size in sizes]
    expected[name] = [((step @ truth / truth.square().sum()).item(), angle(step, truth))
                      for step in steps]  # fmt: skip

# %% tags=["hide-input"]
turned.reveal(round(expected["both (GRPO)"][2][1], 1))

# %% [markdown]
# The figure draws the four expected steps in groups of 16, and the table below it has all sizes. Each entry gives the length of the step along the true gradient (1 would be the gradient itself), and the angle between the two.

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

# %% tags=["hide-input"]
table(["divided by", *(f"group of {size}" for size in sizes)],
      [[name, *(f"{along:.2f}, {degrees:.1f}°" for along, degrees in of)]
       for name, of in expected.items()],
      "Expected steps: the length along the true gradient, and the angle to it.")

# %% [markdown]
# - **Neither.** The direction is exact for every group size. Only the length is too short, by the factor $(G-1)/G$, because an answer is compared with a mean that contains the answer itself. A larger learning rate makes up for that.
# - **Deviation.** The direction is still exact, because on one question all right answers share one advantage and all wrong answers another. Only the length of the step changes.
# - **Length.** The step of the uniform policy is turned by 17 degrees, whatever the size of the group, because answers with the same reward no longer count the same. A token of `2.` is divided by 2 and one of `11.` by 3. The wrong answers differ too: a token of `.` is divided by 1, and one of `222` by 3. This division is a bias: more answers do not remove it.
#
# A real run samples its groups. If the theory is right, the average over more and more sampled groups must approach the true direction in one case, and stay 17 degrees away from it in the other.

# %%
def sampled_steps(groups: int, by_length: bool, seed: int, size: int = 16) -> torch.Tensor:
    """The step that each of many sampled groups gives [groups, contexts * 3]."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(probability, groups * size, True, generator=generator)
    pull = group_advantages(right[drawn].view(groups, size), "none").flatten()
    pull = pull / world.mask[drawn].sum(1) if by_length else pull
    return (pull[:, None] * score[drawn]).view(groups, size, -1).mean(1)


# %%
counts, angles = [2**k for k in range(1, 13)], {}
for name, by_length in (("nothing", False), ("the length", True)):
    runs = [sampled_steps(counts[-1], by_length, seed) for seed in range(5)]
    angles[name] = tensor([[angle(run[:n].mean(0), truth) for n in counts] for run in runs])
    print(f"divided by {name}: {angles[name][:, -1].mean():.1f} degrees off at the end")
assert angles["nothing"][:, -1].max() < 3
assert (angles["the length"][:, -1] - expected["length"][2][1]).abs().max() < 3

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
# ### You would notice it in the length of wrong answers
#
# Does the turned step spoil what is learned? We let both averages learn in a longer world, with up to 6 tokens, 127 answers, and the price 4. The loop is [chapter 12](12_grpo.ipynb)'s: measure the policy, sample a group, and take one or several steps on it. (Its three parts are in the folded cell.) To compare directions rather than learning rates, every step here has the same length. Within a batch, the averages of DAPO and Dr. GRPO differ only by a factor, so at equal length they take the same step.

# %% tags=["hide-input"]
def measured(world, policy, right):
    """Over all answers: chance of right, tokens per wrong answer, entropy in nats."""
    logp = world.logp(policy).detach().sum(1)
    p = logp.exp()
    wrong = p * (1 - right) / (p @ (1 - right))
    return [x.item() for x in (p @ right, wrong @ world.mask.sum(1), -(p @ logp))]


def sampled_group(world, policy, right, size, scale, generator):
    """Numbers of sampled answers, their log-probabilities, and their advantages."""
    logp = world.logp(policy).detach()
    drawn = torch.multinomial(logp.sum(1).exp(), size, True, generator=generator)
    return drawn, logp[drawn], group_advantages(right[drawn][None], scale)[0]


def moved(policy, loss, rate, length):
    """The policy after one step, whose length is fixed where one is given."""
    step = torch.autograd.grad(loss, policy)[0]
    step = step * length / step.norm().clamp(min=1e-9) if length else rate * step
    return (policy - step).detach().requires_grad_()


# %%
def practise(seed, steps, right, world, size=16, scale="none", updates=1, loss=policy_loss,
             rate=2.0, length=None, **options):
    """GRPO in a world, `updates` updates per group: what was measured before each step."""
    policy = torch.zeros(len(world.contexts), 3, dtype=torch.float64, requires_grad=True)
    generator, history = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        history.append(measured(world, policy, right))
        drawn, old, advantages = sampled_group(world, policy, right, size, scale, generator)
        for _ in range(updates):
            new, mask = world.logp(policy)[drawn], world.mask[drawn]
            value, _ = loss(new, old, advantages, mask, **options)
            policy = moved(policy, value, rate, length)
    return history


# %%
long_world, learned = World(6), {}
for how in ("grpo", "dapo"):
    learned[how] = [practise(seed, 41, long_world.pays(4), long_world, length=0.3,
                             loss_type=how) for seed in range(10)]  # fmt: skip
    good = interval([run[40][0] for run in learned[how]])
    print("{}: {:.2f} ± {:.2f} right after 40 steps".format(how, *good))

# %%
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
# ## The scale decides which questions are heard
#
# On one question, dividing by the deviation only changes the length of the step. With several questions, it decides how much each of them counts. The figure shows how long a question's expected step is, compared with its true gradient, for different chances $p$ of answering it correctly.

# %%
grid, weights = [k / 100 for k in range(1, 100)], {}
for size in (4, 16, 64):
    good, wrong = ([expected_advantage(own, p, size, "group") for p in grid]
                   for own in (1.0, 0.0))  # fmt: skip
    weights[f"group of {size}"] = [a - b for a, b in zip(good, wrong, strict=True)]

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3))
for name, line in weights.items():
    _ = ax.plot(grid, line, label=name)
_ = ax.axhline(1, color="black", lw=1, ls=":", label="not divided, large groups")
_ = ax.set(xlabel="chance p of a right answer", ylabel="weight of a question", ylim=(0, 7),
           xlim=(0, 1))  # fmt: skip
direct_labels(ax)
shown = {name: [f"{line[k]:.2f}" for k in (0, 9, 49)] for name, line in weights.items()}
show(fig, "In large groups, questions that are nearly hopeless or nearly solved weigh most. "
     "In groups of 4 all questions weigh about the same.",
     "Three curves of a question's weight, symmetric about p = 0.5, at p = 0.01, 0.1 and 0.5: "
     + "; ".join(f"{name} {', '.join(of)}" for name, of in shown.items())
     + ". A dotted line at 1: not divided, in large groups.")

# %% [markdown]
# In groups of 64, a question that is answered correctly once in a hundred times, or wrongly once in a hundred, counts more than three times as much as one with even odds. The division cannot tell a hard question from one that is answered correctly by luck once in a while: both get the same extra weight. In groups of 4 the line is flat, because most groups of a hard question contain no right answer, and such a group has no signal.
#
# Dr. GRPO removes the division {cite}`liu2025drgrpo`. Steps then become several times shorter, so you would notice this switch in the norm of the gradient, and a comparison at equal learning rate says little.

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
    return (-len(ratios) * torch.autograd.grad(loss, logp)[0][0] + 0.0).tolist()


# %%
cap, factors = {"clip_low": math.inf, "clip_high": 0.28}, [0.7, 1.0, 1.1, 3.0]
ways = {
    "DAPO, bounds 0.2 and 0.28": {"loss_type": "dapo", "clip_high": 0.28},
    "GSPO, bounds 0.2": {"loss_type": "gspo"},
    "GSPO, bounds 0.3": {"loss_type": "gspo", "clip_low": 0.3, "clip_high": 0.3},
    "CISPO, weight at most 1.28": {"loss_type": "cispo", **cap},
}
still = {name: still_pulled(factors, 1.0, **options) for name, options in ways.items()}

# %% tags=["hide-input"]
table(["factor so far:", *map(str, factors)],
      [[name, *(f"{x:.2f}" for x in pulled)] for name, pulled in still.items()],
      "How hard each token is still pulled.")

# %% [markdown]
# - **The token-level clip** of GRPO and DAPO removes the pull of one token, the one that has tripled.
# - **GSPO** computes one ratio for the answer, the geometric mean $(0.7 \cdot 1.0 \cdot 1.1 \cdot 3.0)^{1/4} = 1.23$. Beyond a bound of 0.2 it drops the whole answer. Within a bound of 0.3 it keeps the whole answer, and pulls all four tokens equally. In long answers a mean over many tokens hardly moves, which is why GSPO's authors report bounds as narrow as 0.0003 and 0.0004 {cite}`zheng2025gspo`. A bound from a paper may not fit the length of your answers.
# - **CISPO** drops nothing, but caps the weight of the tripled token at 1.28 and keeps pulling. Its authors' reason is that the rare words at which a thought changes direction ("wait", "however") move fast, so a clip silences them first {cite}`minimax2025m1`.

# %% [markdown]
# ## The clip is one-sided, and a curve does not show it
#
# Here is one token, its ratio, and its advantage. The objective is the *smaller* of the two products $\rho A$ and $\operatorname{clip}(\rho) A$.

# %%
def one_token(ratio: float, advantage: float, loss=policy_loss) -> tuple[float, float]:
    """The objective of one token, and how hard it is pulled up."""
    logp = tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    value, _ = loss(logp, torch.zeros_like(logp), tensor([advantage]), torch.ones_like(logp))
    return -value.item(), -torch.autograd.grad(value, logp)[0].item() + 0.0


# %%
cases = [(a, ratio) for a in (1.0, -1.0) for ratio in (0.5, 0.9, 1.1, 20.0)]
table(["advantage", "ratio", "objective", "pull"],
      [[f"{a:+.0f}", f"{ratio:.1f}", *(f"{x:+.2f}" for x in one_token(ratio, a))]
       for a, ratio in cases])  # fmt: skip

# %% [markdown]
# A good token that is already 20 times more likely gets no further push. A bad token that is already half as likely gets no further push either. But a **bad token that became 20 times more likely** has the objective $\min(-20, -1.2) = -20$ and the full pull, because that mistake must be undone. An implementation that takes the larger product is wrong exactly here:

# %%
def larger(logp, old, advantages, mask, low=0.2, high=0.2, **_):
    """The bug: the larger of the two products."""
    ratio, advantage = (logp - old).exp(), advantages[:, None]
    objective = torch.maximum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)
    return -(objective * mask).sum() / mask.sum(), {}


# %% [markdown]
# A test on one bad token tells the two apart. A test with $A = +1$ alone could accept a wrong version, such as one that takes the smaller ratio whatever the sign.

# %%
def mistakes_are_undone(loss) -> bool:
    """Whether a bad token that became 20 times likelier is pulled down with full force."""
    return math.isclose(one_token(20.0, -1.0, loss)[1], -20.0)


assert mistakes_are_undone(policy_loss)
assert not mistakes_are_undone(larger)
print("the package passes, the planted bug does not; the bug's pull:",
      one_token(20.0, -1.0, larger)[1])

# %% [markdown]
# Would a learning curve reveal the bug? We use each group of 8 answers for 16 updates, in a world of up to 4 tokens, and compare six learners.

# %%
reuse = {
    "1 update": {"updates": 1},
    "16, clip 0.2": {},
    "16, no clip": {"clip_low": math.inf, "clip_high": math.inf},
    "16, the bug": {"loss": larger},
    "16, CISPO, at most 1.28": {"loss_type": "cispo", **cap},
    "16, GSPO 0.0003": {"loss_type": "gspo", "clip_low": 3e-4, "clip_high": 4e-4},
}

# %%
wide, reused = World(4), {}
for name, options in reuse.items():
    settings = {"updates": 16, "size": 8, "scale": "group", "loss_type": "dapo"} | options
    reused[name] = [practise(seed, 41, wide.pays(4), wide, **settings) for seed in range(10)]

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.8))
early, late = ({name: interval([run[k][0] for run in of]) for name, of in reused.items()}
               for k in (10, 40))  # fmt: skip
dots(ax, early, ["16, the bug"])
for y, (middle, _) in enumerate(late.values()):
    _ = ax.plot(middle, y, "|", color="gray", ms=12, mew=2)
_ = ax.set(xlabel="chance of a right answer", xlim=(0.1, 1.02))
show(fig, "Updates per group and what is clipped. Dots: right after 10 groups, with 95 % "
     "intervals over ten seeds; strokes: after 40. The bug (orange) learns as fast as no "
     "clip, and faster than the right clip.",
     "Six rows, the number of updates per group and what is clipped; the chance of a right "
     "answer after 10 groups and after 40: " + "; ".join(
         "{} {:.2f} ± {:.2f} and {:.2f}".format(name, *early[name], late[name][0])
         for name in reused) + ".")

# %% [markdown]
# **The bug learns as fast as no clip at all, and faster than the right version.** In this world no reward curve would have caught it, and a test on the numbers does.
#
# In this world the clip is a brake. A table of logits shares nothing between contexts, so there is little that a brake could save. In a network, where one step too far on one group spoils others, the picture is different, as the recorded runs show next.

# %% [markdown]
# ## Every switch, in a language model
#
# Now the same switches on `nano-base`, which solves Countdown with three numbers up to 12, `+` and `-`. The runs were recorded on the CPU cores of a machine that also has a GPU: 16 steps of 16 problems with 8 answers each, 256 held-out problems, three seeds. The learning rate is higher than our recipe's, so that whatever breaks, breaks soon. *Plain* is our recipe: DAPO's average, advantages divided by the deviation, clip bounds 0.2 and 0.28, one update per batch. Every other row changes what its name says.

# %% tags=["hide-input"]
print(results.origin("ch12_ablations"))
called = {"plain": "plain", "sequence mean": "average: GRPO's",
          "dr_grpo": "average: Dr. GRPO's", "unscaled": "scale: none",
          "scaled by batch": "scale: the batch's deviation",
          "4 updates": "4 updates, clip as plain",
          "4 updates, clip 0.2": "4 updates, clip 0.2",
          "4 updates, no clip": "4 updates, no clip"}  # fmt: skip
variants = {name: [] for name in called.values()}
for run in results.read("ch12_ablations")["runs"]:
    if run["variant"] in called:
        variants[called[run["variant"]]].append(run)
columns = {
    "accuracy, %": (".1f", lambda run: 100 * run["accuracy"]),
    "entropy": (".2f", lambda run: run["entropy"]),
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
fig, ax = plt.subplots(figsize=(6.4, 3))
dots(ax, less, [name for name, (middle, half) in less.items() if abs(middle) > half])
_ = ax.axvline(0, color="black", lw=1, ls=":")
_ = ax.set(xlabel="accuracy minus plain's, points")
show(fig, "What each switch does to the accuracy: means of three seeds, with 95 % intervals. "
     "Orange: intervals without zero, all of them with four updates per batch.",
     "Dots with intervals, accuracy minus plain's in points: " + "; ".join(
         f"{name} {middle:+.1f} ± {half:.1f}" for name, (middle, half) in less.items()) + ".")

# %% [markdown]
# Three seeds of small runs leave wide intervals. The table makes 21 comparisons, so about one star would appear by chance alone.
#
# - **The clip decides** as soon as a batch is used more than once. Four updates without it destroy the model on every seed; in our table of logits that was the fastest learner. Four clipped updates survive, but at this learning rate they are worse than one.
# - **The average shows in the lengths.** With GRPO's average, wrong answers end longer. We cannot show that this costs accuracy.
# - **The scale**: without the division the mean accuracy is higher, and with the deviation of the whole batch it is lower, but neither interval excludes zero. Without it steps are also shorter, which at this rate may be all that helps.
#
# ### Four updates per batch: GSPO survives, CISPO does not
#
# Since the clip matters most, here are more ways to clip. The base, the steps and the rate are the same, on another processor. Every run makes four updates per batch. *Clip of tokens* is the clip of GRPO and DAPO, with bounds 0.2 and 0.28. The number behind GSPO is its bound, and *at most* is CISPO's largest weight.

# %% tags=["hide-input"]
print(results.origin("ch13_ratios"))
named = dict(zip(("", ", sequence mean", ", gspo", ", gspo 0.02", ", cispo", ", cispo 0.28"),
                 ("clip of tokens", "with GRPO's average", "GSPO 0.0003", "GSPO 0.02",
                  "CISPO, at most 5", "CISPO, at most 1.28"), strict=True))  # fmt: skip
clips, sides = {}, ("clipped_low", "clipped_high")
for run in results.read("ch13_ratios")["runs"]:
    clips.setdefault(named[run["variant"].removeprefix("4 updates")], []).append(run)
gained = {name: [100 * run["accuracy"] for run in of] for name, of in clips.items()}


def share(run):  # where no group had a signal, nothing was measured
    steps = [k for k, nats in enumerate(run["curves"]["entropy"]) if nats > 0]
    return 100 * sum(run["curves"][side][k] for side in sides for k in steps) / len(steps)


shares, rows = {name: mean(map(share, of)) for name, of in clips.items()}, []
for name, each in gained.items():
    less = apart(each, gained["clip of tokens"])
    rows.append([name, "{:.1f} ± {:.1f}".format(*interval(each)),
                 "{:+.1f} ± {:.1f}".format(*less) if any(less) else "-",
                 f"{shares[name]:.0f}"])
same = apart(gained["GSPO 0.0003"], gained["with GRPO's average"])
print("GSPO minus the clip of tokens with the same average: {:+.1f} ± {:.1f}".format(*same))
table(["what is clipped", "right, %", "minus the first", "clipped, %"], rows,
      "Means of three seeds, with 95 % intervals.")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.4))
for name, each in gained.items():
    colour = "C1" if "CISPO" in name else "C2" if "GSPO" in name else "C0"
    at = (shares[name], mean(each))
    _ = ax.plot([shares[name]] * 3, each, "o", color=colour, ms=4, alpha=0.6)
    _ = ax.plot(*at, "_", color=colour, ms=16, mew=2.5)
    aside, up = -12 if shares[name] > 80 else 12, {"at most 5": 7, "at most 1.28": -4}
    _ = ax.annotate(name, at, (aside, up.get(name[7:], 0)), textcoords="offset points",
                    color=colour, va="center", ha="right" if aside < 0 else "left")
_ = ax.set(xlabel="tokens clipped, %", ylabel="accuracy, %", xlim=(-3, 100), ylim=(-5, 80))
shown = {name: (shares[name], mean(each)) for name, each in gained.items()}
show(fig, "Losses that clip more tokens keep more of the model through four updates per "
     "batch. Dots: seeds; strokes: their means.",
     "Six groups of three dots, clipped tokens and mean accuracy in %: " + "; ".join(
         f"{name} {x:.0f} and {y:.1f}" for name, (x, y) in shown.items()) + ".")

# %% [markdown]
# **GSPO is clearly better here** than the token-level clip, and also better than the token-level clip with GSPO's average. Look at the share of clipped tokens before you conclude that it is the better loss. Its own bounds of 0.0003 clip nine tokens in ten, so most of the extra updates do nothing, and the policy stays near its base. With wider bounds it clips less, moves further, and gains less.
#
# **CISPO destroys the model on every seed**, with either bound, as no clip at all did. CISPO limits how hard a token is pulled but never stops pulling, so at this learning rate nothing keeps the policy near its base.
#
# At this learning rate every brake helps, so the loss that brakes most wins. This says nothing about which loss is best at a rate that suits it.

# %% [markdown]
# ## You would notice a missing clip at once
#
# Every quantity in this chapter has a name in a run's `metrics.jsonl`: `length_wrong`, `grad_norm`, `ratio`, `clipped_low` and others. The page [Symptoms](../book/symptoms.md) lists what one sees when a run fails, the likely cause, the metric to look at, and the fix. Here is the worst of the recorded runs, to practise on.

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3))
ends, steps = {}, range(1, 17)
for k, name in enumerate(("plain", "4 updates, clip as plain", "4 updates, no clip")):
    curves = [run["curves"]["reward"] for run in variants[name]]
    for curve in curves:
        _ = ax.plot(steps, curve, color=f"C{k}", lw=1, alpha=0.4)
    middle = [mean(at) for at in zip(*curves, strict=True)]
    _ = ax.plot(steps, middle, color=f"C{k}", label=name.removesuffix(" as plain"))
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
# A dash marks a step without an update: no sample of the batch was right, so the gradient was 0, and ratio and entropy were not measured. The ratio is an average over tokens and should stay near 1; here it wanders. The entropy quadruples, so this collapse is into noise and not into one answer. More and more answers never end. **A policy that has lost its right answers learns from luck alone**, and no seed recovered within the 16 steps.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeekMath {cite}`deepseekmath` used GRPO with both divisions. DeepSeek-V3.2 {cite}`deepseekv32` turned the switch of the scale: the advantage is no longer divided by the deviation,
#
# $$
# \hat A_i = r_i - \operatorname{mean}(r).
# $$
#
# V3.2 keeps the average within each answer, $1/|o_i|$, which is the division that turned our step by 17 degrees. It also leaves out wrong answers whose probability has moved far since they were sampled. So a pull as large as the $-20$ above no longer occurs.
#
# DeepSeek-R1 {cite}`deepseekr1` used 16 minibatches from each round of sampling and, for R1's first stage, $\varepsilon = 10$, which hardly clips from above. Those are their reports. Our results come from a table of logits and a model of 0.4 million parameters, so they do not show which variant is best at DeepSeek's size. GSPO was developed for Qwen3 {cite}`zheng2025gspo` and CISPO for MiniMax-M1 {cite}`minimax2025m1`.

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
# **DAPO's other changes did nothing that we can see**, at our size and with three seeds. Its wider upper bound is in the table above; its *dynamic sampling*, which draws until every group carries a signal, is in the same record, and so is a KL penalty. The [lab notebook](../book/lab_notebook.md) tells what they did.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Three averages
# :label: ex-13-average
#
# *10 minutes.* Write the third switch for whole batches: `average(losses, mask, how, max_length)` for `"grpo"`, `"dapo"` and `"dr_grpo"`. The task is printed below. Run `check("grpo.average", my_average)` to see how you stand; it knows eleven mistakes by name.
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
# *15 minutes.* Some recipes add a penalty to the loss that keeps the policy near a reference model. It is a KL divergence, estimated at each sampled token in one of three ways {cite}`schulman2020kl`. With $d = \log \pi_{\rm ref} - \log \pi$, they are $k_1 = -d$, $k_2 = d^2/2$, and $k_3 = e^d - d - 1$, which GRPO uses. Write `kl_estimators(logp, ref_logp)`; `check("grpo.kl_estimators", my_kl)` knows five mistakes by name. Then think: as a term of a loss, which of the three does nothing on average?
#
# **Hint.** Autograd differentiates the estimate, but not the sampling. The gradient of $k_1$ is the gradient of $\log \pi$, the score.
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
# Scores average to zero, so $k_1$ does nothing on average, at any price, and only adds noise. The gradient of $k_2$ is $-d$ times the score, which on average is exactly the gradient of the divergence. $k_3$ has the right value, but its gradient is that of the divergence the other way round. DeepSeek-V3.2 therefore multiplies $k_3$ by the ratio, which makes both right {cite}`deepseekv32`.
#
# ```{solution-end}
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
# Which switch matters, and how would you notice?

# %% tags=["hide-input"]
in_model = {name: "{:+.0f} ± {:.0f} points".format(*paired(name, "accuracy, %"))
            for name in ("average: GRPO's", "scale: none", "4 updates, no clip")}
wrong = "{:+.0f} ± {:.0f}".format(*paired("average: GRPO's", "tokens of wrong answers"))
table(["switch", "turns the step by", "accuracy, language model", "notice it by"],
      [["average: GRPO's", f"{expected['length'][2][1]:.1f}°", in_model["average: GRPO's"],
        f"length_wrong: {wrong} tokens"],
       ["scale: none or deviation", f"{expected['deviation'][2][1]:.1f}°",
        in_model["scale: none"], "grad_norm: shorter steps without it"],
       ["clip: none, 4 updates", "-", in_model["4 updates, no clip"],
        "reward, ratio, entropy; in the small world, a wrong clip only by a test"]],
      "The three switches, with the differences from plain in the recorded runs.")

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
# Which switch matters? **The clip decides**, as soon as a batch is used more than once: in a language model with four updates per batch, no clip and CISPO destroyed the model, and GSPO, which clips most, did best. **The average** turns GRPO's expected step by 17 degrees in our world, whatever the size of the group. That did not show in the accuracy, but in longer wrong answers. **The scale** does not turn the step on one question; on several, it gives more weight to the very hard and the very easy ones.
#
# How would you notice? A missing clip shows in the reward, the ratio and the entropy within a few steps, the average in the lengths of wrong answers, and the scale in the size of the steps. In our small world a *bug* in the clip showed in no reward curve. It learned faster than the right version, and only a test on one token caught it. We did not run the bug in the language model.
#
# - I can now name six losses by how they scale, clip and average, and write each switch in a few lines.
# - I can now tell a bias from noise, with a world that is small enough to list.
# - I can now test a clip on the one case that tells the right version from a wrong one.
# - I can now read a failed run from its metrics.

# %% [markdown]
# ## Read on
#
# - DAPO {cite}`yu2025dapo`, Dr. GRPO {cite}`liu2025drgrpo`, GSPO {cite}`zheng2025gspo`, and section 3.1 of MiniMax-M1 {cite}`minimax2025m1`, where the variants come from; DeepSeek-V3.2 {cite}`deepseekv32`, section 3.1, for DeepSeek's own.
# - Schulman's note on estimating KL {cite}`schulman2020kl`: two pages.
# - Davis and Recht {cite}`davis2025objective`: what each method maximises.
# - The code of this chapter in the package: `minidsk/rl/grpo.py`.
# - [Symptoms](../book/symptoms.md): what a failing run looks like, and the fix.
