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
# GRPO's loss fits on one line, and since 2024 people have been changing that line. DAPO averages differently and widens a bound, GSPO clips whole answers, CISPO clips a weight, and a variant named Dr. GRPO removes two divisions. Most of these changes make a training step longer or shorter. One of GRPO's own divisions does more than that: it turns the expected step away from the true gradient, and no number of answers turns it back. **By how many degrees does it turn the step, in a world where we can compute the truth?**
#
# - **You will build** six published losses in one short function, a table of what each does to a single token, and the tests that tell a right clip from a wrong one.
# - **You need** PyTorch and [chapter 12](12_grpo.ipynb), which builds GRPO.
# - **It takes** about 40 s to run on two CPU cores of a laptop, about twice that on the two cores that Colab lends (a GPU is no faster, because the policies here are small tables), and an hour and a half to read. The language-model experiments were recorded earlier; the chapter reads their results.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %%
import itertools
import math
from statistics import mean

import matplotlib.pyplot as plt
import torch
from torch import tensor

from minidsk import results
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.report.interval import apart, interval
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.kl import kl_estimate

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

# %% [markdown]
# ## What goes wrong first: a long wrong answer gets away
#
# A right answer has 4 tokens and advantage $+1$, and a wrong answer has 7 tokens and advantage $-1$. The policy has not moved yet, so all ratios are 1. How hard does each average pull at one token?

# %%
both = torch.zeros(2, 7, dtype=torch.float64, requires_grad=True)
two = (torch.arange(7) < tensor([[4], [7]])).double()
print("pull at one token of       the right 4   the wrong 7   second / first")
for loss_type in ("grpo", "dapo", "dr_grpo"):
    loss, _ = policy_loss(
        both, both.detach(), tensor([1.0, -1.0]), two, loss_type=loss_type, max_length=10
    )
    four, seven = (-torch.autograd.grad(loss, both)[0][:, 0]).tolist()
    print(f"{loss_type:26} {four:+11.4f} {seven:+13.4f} {-seven / four:16.2f}")

# %% [markdown]
# GRPO divides by the answer's own length: $1/(2 \cdot 4)$ for a token of the first answer and $1/(2 \cdot 7)$ for a token of the second. Each answer is pulled with the same total force, so the tokens of a longer wrong answer feel less of it. Among wrong answers, the long ones survive. DAPO gives every token $1/11$, and Dr. GRPO gives every token $1/(2 \cdot 10)$ whatever else is in the batch.
#
# Spreading a force over more tokens sounds harmless. To find out, we return to the world of [chapter 12](12_grpo.ipynb): *pay 2 with coins of 1 and 2*. Its tokens are `1`, `2` and `.`, an answer has at most three of them, and only `2.` and `11.` are right. The next cell repeats that world; open it if you do not remember it.

# %% tags=["hide-input"]
class World:
    """Every answer of up to `longest` tokens: what stood before each token, and which one it is."""

    def __init__(self, longest: int):
        self.contexts = ["".join(c) for n in range(longest) for c in itertools.product("12", repeat=n)]
        unended = ["".join(c) for c in itertools.product("12", repeat=longest)]
        self.answers = [c + "." for c in self.contexts] + unended
        self.mask = torch.zeros(len(self.answers), longest, dtype=torch.float64)
        self.context, self.token = self.mask.long(), self.mask.long()
        for i, answer in enumerate(self.answers):
            for t, token in enumerate(answer):
                self.context[i, t] = self.contexts.index(answer[:t])
                self.token[i, t] = "12.".index(token)
                self.mask[i, t] = 1

    def pays(self, price: int) -> torch.Tensor:
        """The reward of each answer: 1 where its coins add up to the price and it ends by itself."""
        paid = [a[-1] == "." and sum(map(int, a[:-1])) == price for a in self.answers]
        return tensor(paid).double()

    def logp(self, policy: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of all tokens of all answers; policy: a row of logits per context."""
        return policy.log_softmax(-1)[self.context, self.token] * self.mask


# %% [markdown]
# In this world the true gradient of the probability of being right can be computed, and so can the gradient of every single answer.

# %%
world = World(3)
right = world.pays(2)
leaf = torch.zeros(len(world.contexts), 3, dtype=torch.float64, requires_grad=True)
logp = world.logp(leaf).sum(1)
rows = [torch.autograd.grad(one, leaf, retain_graph=True)[0].flatten() for one in logp]
score, probability = torch.stack(rows), logp.detach().exp()
chance, truth = (probability @ right).item(), (probability * right) @ score
print(f"{len(world.answers)} answers; the uniform policy is right with probability {chance:.3f}")

# %% [markdown]
# Before you run on, make a guess. We take GRPO's *expected* step, which is what remains if one averages over infinitely many groups, and measure the angle between it and the true gradient. Replace `None` by a number of degrees; the tally stays on your machine.

# %% tags=["prediction"]
guess = None
turned = predict(
    "grpo.angle", "By how many degrees does dividing by the length turn GRPO's step?", guess, example=5
)
turned

# %% [markdown]
# ## All six in one function
#
# The function below computes any of the losses, one answer and one token at a time. Its comments mark the last two columns of the table above. The first column, by what the advantage is divided, is decided before, by the `scale` of `group_advantages`.

# %% tags=["naive"]
def loss_by_loops(logp, old, advantages, lengths, how, low=0.2, high=0.2, longest=6):
    """The loss of some answers, written out; logp and old [N, T]; one advantage and length each."""
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
    return -total / (len(per_answer) * longest if how == "dr_grpo" else sum(map(len, per_answer)))


# %% [markdown]
# ## The package agrees
#
# The package has all of this in `policy_loss`, for whole batches. We compare values and gradients on random answers after the policy has moved. The package's own tests also compare each of the six with TRL {cite}`vonwerra2020trl`.

# %% tags=["agree"]
g = torch.Generator().manual_seed(0)
some_old = torch.randn(8, 6, generator=g, dtype=torch.float64) - 2
some_new = some_old + 0.3 * torch.randn(8, 6, generator=g, dtype=torch.float64)
some_new.requires_grad_()
some_advantages = torch.randn(8, generator=g, dtype=torch.float64)
some_lengths = torch.randint(1, 7, (8,), generator=g)
some_mask = torch.arange(6) < some_lengths[:, None]
difference = 0.0
for how in ("grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo"):
    slow = loss_by_loops(some_new, some_old, some_advantages, some_lengths, how)
    fast, _ = policy_loss(some_new, some_old, some_advantages, some_mask, loss_type=how, max_length=6)
    slopes = [torch.autograd.grad(loss, some_new)[0] for loss in (slow, fast)]
    difference = max(difference, (slow - fast).abs().item(), (slopes[0] - slopes[1]).abs().max().item())
assert difference < 1e-12
print(f"six losses, largest difference: {'below 1e-12' if difference < 1e-12 else difference}")

# %% [markdown]
# ## Dividing by the length turns the step
#
# A group of 16 gives a noisy gradient. Noise averages out, but a bias does not. In our world we can tell them apart, because the expected gradient of GRPO can be computed. An answer's advantage depends on the other answers only through how many of them are right, and that number follows a binomial distribution.

# %%
def expected_advantage(p: float, size: int, scale: str) -> tuple[float, float]:
    """The mean advantage of a wrong and of a right answer in groups of `size`; p: chance of right."""
    result = []
    for own in (0.0, 1.0):
        chances = [math.comb(size - 1, k) * p**k * (1 - p) ** (size - 1 - k) for k in range(size)]
        groups = tensor([[own] + [1.0] * k + [0.0] * (size - 1 - k) for k in range(size)]).double()
        result.append((tensor(chances).double() @ group_advantages(groups, scale)[:, 0]).item())
    return result[0], result[1]


def expected_gradient(size: int, scale: str, by_length: bool) -> torch.Tensor:
    """GRPO's gradient on average; by_length: each answer's tokens are divided by its length."""
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
print(f"{'divided by':13}" + "".join(f"group of {size:<8}" for size in (2, 4, 16, 64)))
for name, switch in switches.items():
    rows = [expected_gradient(size, *switch) for size in (2, 4, 16, 64)]
    along = [(row @ truth / truth.square().sum()).item() for row in rows]
    shown = [f"{x:.2f}, {angle(row, truth):4.1f}°" for x, row in zip(along, rows, strict=True)]
    print(f"{name:13}" + "".join(f"{entry:17}" for entry in shown))
turned.reveal(round(angle(expected_gradient(16, "group", True), truth), 1))

# %% [markdown]
# Each entry has two numbers: the length of the expected step along the true gradient (1 would be the gradient itself), and the angle between the two.
#
# - **Neither.** The direction is exact for every group size. Only the length is too short, by the factor $(G-1)/G$, because an answer is compared with a mean that contains the answer itself. A larger learning rate makes up for that.
# - **Deviation.** The direction is still exact, because on a single question the deviation only rescales the step. With several questions it does more, as we will see below.
# - **Length.** The step is turned by 17 degrees, whatever the size of the group. This division is a bias: more answers do not remove it.
#
# A real run samples its groups. If the theory is right, the average over more and more sampled groups must approach the true direction in one case, and stay 17 degrees away from it in the other.

# %%
def sampled_gradients(groups: int, size: int, by_length: bool, seed: int = 0) -> torch.Tensor:
    """The gradient that each of many sampled groups gives [groups, contexts * 3]."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(probability, groups * size, replacement=True, generator=generator)
    weight = group_advantages(right[drawn].view(groups, size), "none").flatten()
    weight = weight / world.mask[drawn].sum(1) if by_length else weight
    return (weight[:, None] * score[drawn]).view(groups, size, -1).mean(1)


# %%
counts = [2**k for k in range(1, 13)]
angles = {}
for name in ("nothing", "the length"):
    runs = [sampled_gradients(counts[-1], 16, name == "the length", seed) for seed in range(5)]
    angles[name] = tensor([[angle(run[:n].mean(0), truth) for n in counts] for run in runs])
    last = angles[name][:, -1].mean()
    print(f"divided by {name:10}: {last:4.1f} degrees off after {counts[-1]:,} groups of 16")
assert angles["nothing"][:, -1].max() < 3
assert (angles["the length"][:, -1] - 16.9).abs().max() < 3

# %% tags=["figure"]
fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for (name, run), colour in zip(angles.items(), ("C0", "C1"), strict=True):
    _ = ax.plot(counts, run.mean(0), "o-", ms=3, color=colour)
    _ = ax.fill_between(counts, run.min(0).values, run.max(0).values, color=colour, alpha=0.2)
    _ = ax.annotate(f"divided by {name}", (300, run.mean(0)[8] + 4), color=colour)
_ = ax.set(xscale="log", xlabel="groups of 16 that are averaged (five seeds)",
           ylabel="degrees off the true gradient", ylim=(0, 45))
plt.show()
for name, run in angles.items():
    at = [round(run.mean(0)[k].item()) for k in (0, 4, 8)]
    print(f"divided by {name}: {at} degrees after 2, 32 and 512 groups")

# %% [markdown]
# ### The bias shows up in what is learned
#
# We let both averages learn in a longer world, with up to 6 tokens, 127 answers, and the price 4. To compare directions rather than learning rates, every step gets the same length. (Within a batch, the averages of DAPO and Dr. GRPO differ only by a factor, so at equal length they take the same step.)

# %%
def practise(seed, steps, right, world, group=16, rate=2.0, updates=1, loss=policy_loss,
             scale="none", length=None, **options):
    """GRPO in a world: at each step the chance of right, the length of wrong answers, the entropy."""
    policy = torch.zeros(len(world.contexts), 3, dtype=torch.float64, requires_grad=True)
    generator, history = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        logp = world.logp(policy).detach()
        p = logp.sum(1).exp()
        wrong = p * (1 - right) / (p @ (1 - right))
        now = (p @ right, wrong @ world.mask.sum(1), -(p @ logp.sum(1)))
        history.append([x.item() for x in now])
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
for loss_type in ("grpo", "dapo"):
    learned[loss_type] = [
        practise(seed, 41, pays_4, long_world, length=0.3, loss_type=loss_type) for seed in range(10)
    ]
    shown = [interval([run[40][column] for run in learned[loss_type]]) for column in (0, 1)]
    print("{:5} right {:.2f} ± {:.2f}, wrong answers have {:.2f} ± {:.2f} tokens".format(
        loss_type, *shown[0], *shown[1]))
print(f"at the start wrong answers have {learned['grpo'][0][0][1]:.2f} tokens")
longer = apart(*([run[40][1] for run in learned[name]] for name in ("grpo", "dapo")))
print(f"grpo minus dapo, seed by seed: {longer[0]:+.2f} ± {longer[1]:.2f} tokens")
assert longer[0] > longer[1]

# %% [markdown]
# Both averages learn equally well, but under GRPO's average the answers that are still wrong are longer, and the interval excludes zero. In our world that costs no accuracy. In a language model wrong answers may grow to thousands of tokens. That costs time at least, and it is easily mistaken for "thinking longer" {cite}`liu2025drgrpo`. So watch the lengths of right and of wrong answers separately.
#
# ### Which average spares the long wrong answers?
#
# The figure below shows one group of four answers, and how hard each token is pulled. Change the average and watch the tokens of the two long wrong answers. (As it opens, with GRPO's average, a token of the longest answer is pulled down about a third as hard as a token of the shortest wrong one. With the other two averages, all wrong tokens are pulled equally.)

# %% tags=["widget"]
from minidsk.widgets import Group

Group(["2.", "1.", "2121.", "112121"], [1, 0, 0, 0], title="Which average spares long answers?")

# %% [markdown]
# ## Dividing by the deviation changes which questions are heard
#
# On one question the deviation only rescales the step. With several questions it decides how much each of them counts. The table shows the length of a question's expected step for different chances of answering it correctly.

# %%
chances = (0.01, 0.05, 0.1, 0.2, 0.5, 0.8, 0.95, 0.99)
print("chance of right    ", *(f"{q:6}" for q in chances))
for size in (4, 16, 64):
    by_chance = [expected_advantage(q, size, "group") for q in chances]
    print(f"group of {size:2}        ", *(f"{good - bad:6.2f}" for bad, good in by_chance))
print("1 / sqrt(p (1 - p))", *(f"{1 / math.sqrt(q * (1 - q)):6.2f}" for q in chances))

# %% [markdown]
# In groups of 64, a question that is nearly hopeless or nearly solved counts more than three times as much as one with even odds. As groups grow, the weight approaches $1/\sqrt{p(1-p)}$, and $\nabla p / \sqrt{p(1-p)}$ is the gradient of $2 \arcsin \sqrt{p}$. So GRPO with large groups does not maximise the mean of $p$ over questions, but the mean of $2 \arcsin \sqrt p$ {cite}`davis2025objective`. In groups of 4 the row is flat, because most groups of a hard question contain no right answer and are therefore silent.
#
# To find out whether that is bad, the next cell compares both with exact gradients for groups of 64, on three questions of different difficulty. All steps have the same total length, because an optimizer such as Adam also normalises.

# %%
def three_questions(scale: str, steps: int, length: float = 0.15) -> list[float]:
    """The chances of right after steps of one common length, from 0.02, 0.5 and 0.9."""
    logits = torch.logit(tensor([0.02, 0.5, 0.9], dtype=torch.float64))
    for _ in range(steps):
        q = logits.sigmoid()
        wrong, good = tensor([expected_advantage(x, 64, scale) for x in q.tolist()]).double().T
        gradient = (good - wrong) * q * (1 - q)
        logits = logits + length * gradient / gradient.norm()
    return logits.sigmoid().tolist()


for steps in (0, 20, 40, 80):
    off, on = ([round(q, 2) for q in three_questions(scale, steps)] for scale in ("none", "group"))
    print(f"after {steps:2} steps, not divided: {off}, divided: {on}")

# %% [markdown]
# With the division, the hard question improves a little earlier, and the middle one a little later. At equal step length the difference is small, and questions that are answered correctly by luck gain as much weight as hard ones. Dr. GRPO removes the division {cite}`liu2025drgrpo`. DeepSeek removed it in V3.2 as well: the advantage there is $r - \operatorname{mean}(r)$ {cite}`deepseekv32`. Without the division, steps become several times shorter, so a comparison at equal learning rate says little.

# %% [markdown]
# ## Four ways to clip the same answer
#
# In the first update on a group every ratio is 1, and the clip does nothing. It matters when a group is used for several updates. Consider a right answer ($A = +1$) of four tokens whose probabilities have already changed by the factors 0.7, 1.0, 1.1 and 3.0. What does each loss still pull at?

# %%
def still_pulled(ratios, advantage, **options):
    """How hard each token of one answer is still pulled, as a multiple of the first update's pull."""
    logp = tensor([ratios], dtype=torch.float64).log().requires_grad_()
    old, one = torch.zeros_like(logp), tensor([advantage], dtype=torch.float64)
    loss, _ = policy_loss(logp, old, one, torch.ones_like(logp), **options)
    return (-len(ratios) * torch.autograd.grad(loss, logp)[0][0]).tolist()


ways = {
    "DAPO, bounds 0.2 and 0.28": {"loss_type": "dapo", "clip_high": 0.28},
    "GSPO, bounds 0.2": {"loss_type": "gspo"},
    "GSPO, bounds 0.3": {"loss_type": "gspo", "clip_low": 0.3, "clip_high": 0.3},
    "CISPO, weight at most 1.28": {"loss_type": "cispo", "clip_low": math.inf, "clip_high": 0.28},
}
print(f"{'factor so far':28}", *(f"{r:6.1f}" for r in (0.7, 1.0, 1.1, 3.0)))
for name, options in ways.items():
    print(f"{name:28}", *(f"{x + 0.0:6.2f}" for x in still_pulled([0.7, 1.0, 1.1, 3.0], 1.0, **options)))

# %% [markdown]
# - **The token-level clip** of GRPO and DAPO removes the pull of one token, the one that has tripled.
# - **GSPO** computes one ratio for the answer, the geometric mean $(0.7 \cdot 1.0 \cdot 1.1 \cdot 3.0)^{1/4} = 1.23$. Beyond a bound of 0.2 it drops the whole answer. Within a bound of 0.3 it keeps the whole answer, and pulls all four tokens equally.
# - **CISPO** drops nothing, but caps the weight of the tripled token at 1.28 and keeps pulling. Its authors' reason is that the rare words at which a thought changes direction ("wait", "however") move fast, so a clip silences them first {cite}`minimax2025m1`.
#
# ### Why GSPO's bounds are so narrow
#
# GSPO's authors report bounds of 0.0003 and 0.0004 {cite}`zheng2025gspo`, where GRPO uses 0.2. To see why, suppose the logarithm of each token's ratio is random, independent, and about 0.01 in size. The product over $T$ tokens then spreads with $\sqrt T$, and its $T$-th root spreads with $1/\sqrt T$.

# %%
print("tokens   one token   product of all   geometric mean")
for length in (4, 64, 1024, 16384):
    spread = [0.01, 0.01 * math.sqrt(length), 0.01 / math.sqrt(length)]
    print(f"{length:6} " + "".join(f"{'1 ± ' + format(math.expm1(x), '.5f'):>14}" for x in spread))

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
    loss, _ = policy_loss(logp, torch.zeros_like(logp), tensor([advantage]), torch.ones_like(logp))
    return -loss.item(), -torch.autograd.grad(loss, logp)[0].item() + 0.0


print("advantage  ratio   objective     pull")
cases = ((1.0, 0.5), (1.0, 1.1), (1.0, 20.0), (-1.0, 0.5), (-1.0, 0.9), (-1.0, 20.0))
for advantage, ratio in cases:
    objective, pull = one_token(ratio, advantage)
    print(f"{advantage:+9.0f} {ratio:6.1f} {objective:11.2f} {pull:+8.2f}")

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
    "16, CISPO, at most 1.28": {"loss_type": "cispo", "clip_low": math.inf, "clip_high": 0.28},
    "16, GRPO's average": {"loss_type": "grpo"},
    "16, GSPO 0.2": {"loss_type": "gspo"},
    "16, GSPO 0.05": {"loss_type": "gspo", "clip_low": 0.05, "clip_high": 0.05},
    "16, GSPO 0.0003": {"loss_type": "gspo", "clip_low": 3e-4, "clip_high": 4e-4},
}

# %%
reused = {}
print(f"{'updates, and what is clipped':30} right after 10 groups   after 40")
for name, options in reuse.items():
    settings = {"updates": 16, "group": 8, "scale": "group", "loss_type": "dapo"} | options
    reused[name] = [practise(seed, 41, wide.pays(4), wide, **settings) for seed in range(10)]
    early, late = (interval([run[step][0] for run in reused[name]]) for step in (10, 40))
    print("{:30} {:12.2f} ± {:.2f} {:11.2f} ± {:.2f}".format(name, *early, *late))

# %% [markdown]
# **The bug learns as fast as no clip at all, and faster than the right version.** No reward curve would have caught it. Only a test on the numbers does.
#
# In this world the clip is a brake. A table of logits shares nothing between contexts, so there is little that a brake could save. In a network, where one step too far on one group spoils others, the picture is different, as the recorded runs below show. CISPO clips no gradient away and behaves like no clip here. GSPO with the bounds of its paper hardly uses the extra 15 updates, because answers of two tokens leave a band of 0.0003 at once.

# %% [markdown]
# ## Silent groups, and drawing until a batch is full
#
# A group whose answers are all right, or all wrong, has advantage 0 everywhere and teaches nothing. The chance of such a silent group is exactly $p^G + (1-p)^G$.

# %%
print("chance of right         ", *(f"{q:5}" for q in chances))
for size in (4, 16, 64):
    print(f"silent, group of {size:2}    ", *(f"{q**size + (1 - q) ** size:5.0%}" for q in chances))

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
    print(f"p = {p:4}: {cost:4.0f} groups of 16 drawn for 32 with a signal; computed {computed:4.0f}")

# %% [markdown]
# ## KL: a good estimate can be a bad term of a loss
#
# Some recipes add a penalty that keeps the policy near a reference model. The penalty is a KL divergence, estimated from the sampled tokens. With $d = \log \pi_{\rm ref} - \log \pi$ at the sampled token, Schulman gives three estimates: $k_1 = -d$, $k_2 = d^2/2$ and $k_3 = e^d - d - 1$, which GRPO uses {cite}`schulman2020kl`. We test all three on a policy over three tokens, where the true value and the true gradient are known.

# %%
policy3, reference3 = tensor([0.2, 0.5, 0.3]).double(), tensor([0.6, 0.1, 0.3]).double()
leaf = policy3.log().requires_grad_()
logp = leaf.log_softmax(-1)
kl = (logp.exp() * (logp - reference3.log())).sum()
exact = torch.autograd.grad(kl, leaf, retain_graph=True)[0]
reverse = (reference3 * (reference3.log() - logp)).sum()
other_way = torch.autograd.grad(reverse, leaf, retain_graph=True)[0]
print(f"KL(policy, reference) = {kl:.3f} nats; gradient {[round(x, 2) for x in exact.tolist()]}")
print(f"KL(reference, policy):           gradient {[round(x, 2) for x in other_way.tolist()]}")

# %%
def estimates(logp: torch.Tensor, name: str) -> torch.Tensor:
    """The estimate at each token; "ratio k3" multiplies k3 by the ratio of now and then."""
    if name == "ratio k3":
        return (logp - logp.detach()).exp() * estimates(logp, "k3")
    return kl_estimate(logp, reference3.log(), name) if name != "none" else torch.zeros(3).double()


for name in ("k1", "k2", "k3", "ratio k3"):
    value = estimates(logp, name)
    average = policy3 @ value.detach()
    spread = (policy3 @ (value.detach() - average).square()).sqrt()
    drift = torch.autograd.grad(policy3 @ value, leaf, retain_graph=True)[0]
    shown = [round(x, 2) + 0.0 for x in drift.tolist()]
    print(f"{name:8} mean {average:.3f}, spread {spread:.2f}; mean gradient {shown}")

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
print("the optimum", [round(x, 3) for x in (best / best.sum()).tolist()])
ends = {}
for name in ("none", "k1", "k2", "k3", "ratio k3"):
    logits = reference3.log()
    for _ in range(2000):
        leaf = logits.clone().requires_grad_()
        logp = leaf.log_softmax(-1)
        p, ratio = logp.detach().exp(), (logp - logp.detach()).exp()
        objective = p @ (ratio * (reward3 - p @ reward3) - beta * estimates(logp, name))
        logits = logits + 0.5 * torch.autograd.grad(objective, leaf)[0]
    ends[name] = logits.softmax(-1)
    print(f"{name:11}", [round(x, 3) for x in ends[name].tolist()])
assert (ends["k2"] - best / best.sum()).abs().max() < 1e-6
assert ends["k1"][1] > 0.99

# %% [markdown]
# $k_1$ collapses as if there were no penalty. $k_3$ stops at 0.585, where the optimum is 0.451. For a small $\beta$ and a policy near its reference the three gradients are nearly the same, which is why $k_3$ has served so many people well. Neither DAPO nor Dr. GRPO nor our own recipe uses a KL penalty. With a verifier as the reward there is no reward model to exploit ([chapter 11](11_human_feedback.ipynb)), and the model is meant to move.

# %% [markdown]
# ## Every switch, in a language model
#
# Now the same switches on `nano-base`, which solves Countdown with three numbers up to 12, `+` and `-`. The runs were recorded on CPU cores: 16 steps of 16 problems with 8 answers each, 256 held-out problems, three seeds. The learning rate is higher than our recipe's, so that whatever breaks, breaks soon. *plain* is our recipe: the token average (`dapo`), advantages divided by the deviation, clip bounds 0.2 and 0.28, one update per batch, no KL. Every other row changes what its name says.

# %%
print(results.origin("ch12_ablations"))
runs = results.read("ch12_ablations")["runs"]
variants = {}
for run in runs:
    variants.setdefault(run["variant"], []).append(run)
columns = {
    "accuracy, %": lambda run: 100 * run["accuracy"],
    "entropy": lambda run: run["entropy"],
    "KL per token": lambda run: run["kl_per_token"],
    "wrong: tokens": lambda run: mean(run["curves"]["length_wrong"][-5:]),
}

# %%
print(f"{'':20}" + "".join(f"{column:>15}" for column in columns))
for name, of in variants.items():
    values = [mean(map(read, of)) for read in columns.values()]
    print(f"{name:20}{values[0]:15.1f}{values[1]:15.2f}{values[2]:15.2f}{values[3]:15.0f}")

# %%
def paired(name: str, column: str) -> tuple[float, float]:
    """A variant's mean difference from plain, seed by seed, and half of its 95 % interval."""
    return apart(*(list(map(columns[column], variants[which])) for which in (name, "plain")))


others = [name for name in variants if name != "plain"]
fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained", sharey=True)
for ax, column in zip(axes, ("accuracy, %", "wrong: tokens"), strict=True):
    for y, name in enumerate(others):
        less, half = paired(name, column)
        colour = "C0" if abs(less) <= half else "C1"
        _ = ax.errorbar(less, y, xerr=half, fmt="o", color=colour, capsize=3)
    _ = ax.axvline(0, color="gray", lw=1)
    _ = ax.set(xlabel=f"{column}, minus plain's (95 %, 3 seeds)")
_ = axes[0].set_yticks(range(len(others)), others)
axes[0].invert_yaxis()
plt.show()
for column in columns:
    print(f"{column}, intervals without zero:")
    for name in others:
        less, half = paired(name, column)
        if abs(less) > half:
            print(f"    {name:20} {less:+.2f} ± {half:.2f}")

# %% [markdown]
# Three seeds of small runs leave wide intervals. These differences exclude zero (orange in the figure):
#
# - **The clip matters in a network**: four updates per batch without it destroy the model on every seed. In our table of logits that was the fastest learner. Four clipped updates survive, but at this rate they are worse than one.
# - **The length bias is there**: with the mean within answers, wrong answers end longer. We cannot show that this costs accuracy.
# - **KL** with $k_2$ or $k_3$ keeps the policy nearer to its base. With $k_1$ it ends *farther* from the base than without any penalty, because a term whose mean gradient is zero adds only noise.
#
# These do not exclude zero, although each would make a good story:
#
# - $k_2$ and $k_3$ have the highest mean accuracies, but at a rate this high, any brake may help.
# - **The deviation**: without it the mean accuracy is higher, and with the deviation of the whole batch it is lower. Without it steps are also shorter, which at this rate may be all that helps.
# - **Clip-higher** does not raise the entropy here: the runs with 0.28 and with 0.2 are not apart. DAPO's authors report that it does in theirs {cite}`yu2025dapo`.
# - **Dynamic sampling** shows no gain, and this is what it paid:

# %%
for name in ("plain", "dynamic sampling"):
    of = variants[name]
    tries = mean(mean(run["curves"]["tries"]) for run in of)
    signal = mean(mean(run["curves"]["groups_with_signal"]) for run in of)
    work = mean(run["flops"] for run in of)
    print(f"{name:17} batches drawn per step {tries:.2f}; groups with a signal {signal:.0%}; "
          f"{work:.2e} operations")

# %% [markdown]
# ### Four updates per batch: GSPO survives, CISPO does not
#
# The last experiment has the same base, steps and rate as the ablations, on another processor. Every run makes four updates per batch, and the runs differ in what they clip. *4 updates* is the token-level clip with bounds 0.2 and 0.28.

# %%
print(results.origin("ch13_ratios"))
clips = {}
for run in results.read("ch13_ratios")["runs"]:
    clips.setdefault(run["variant"], []).append(run)
gained = {name: [100 * run["accuracy"] for run in of] for name, of in clips.items()}
print(f"{'':25} accuracy, %     minus '4 updates', points   KL per token   tokens clipped")
for name, of in clips.items():
    kl = mean(run["kl_per_token"] for run in of)
    clipped = mean(mean(run["curves"][f"clipped_{side}"]) for run in of for side in ("low", "high"))
    print("{:25} {:5.1f} ± {:4.1f} {:+14.1f} ± {:4.1f} {:18.2f} {:14.0%}".format(
        name, *interval(gained[name]), *apart(gained[name], gained["4 updates"]), kl, 2 * clipped))
same_average = apart(gained["4 updates, gspo"], gained["4 updates, sequence mean"])
print("gspo minus the token-level clip with the same average: {:+.1f} ± {:.1f} points".format(*same_average))

# %% [markdown]
# **GSPO is clearly better here** than the token-level clip, and also better than the token-level clip with GSPO's average. Look at the last column before you conclude that it is the better loss. Its own bounds of 0.0003 clip nine tokens in ten, so most of the extra updates do nothing, and the policy stays near its base. With wider bounds it clips less, moves further, and gains less.
#
# **CISPO destroys the model on every seed**, with either bound, as no clip at all did. It never takes a gradient away, so at this rate nothing slows it down.
#
# At a rate at which every brake helps, the strongest brake wins. This says nothing about which loss is best at a rate that suits it.

# %% [markdown]
# ## When a run goes wrong
#
# Every quantity in this chapter has a name in a run's `metrics.jsonl`: `clipped_low`, `groups_with_signal`, `length_wrong` and others. The page [Symptoms](../book/symptoms.md) lists what one sees when a run fails, the likely cause, the metric to look at, and the fix. Here is the worst of the recorded runs, to practise on.

# %%
for name in ("plain", "4 updates", "4 updates, no clip"):
    for run in variants[name]:
        shown = " ".join(f"{x:.2f}" for x in run["curves"]["reward"][::3])
        print(f"{name:19} seed {run['seed']}: right at every third step {shown}")

# %%
print("4 updates, no clip, seed 0, every third step")
for key in ("ratio", "entropy", "cut_off", "groups_with_signal", "grad_norm"):
    curve = variants["4 updates, no clip"][0]["curves"][key][::3]
    print(f"{key:18}", " ".join(f"{x:8.2f}" for x in curve))

# %% [markdown]
# The ratio is an average over tokens and should stay near 1; here it wanders. The entropy triples, so this collapse is into noise and not into one answer. More and more answers never end, until the gradient is 0, because where no answer is right, no group carries a signal. **A policy that has lost all right answers cannot recover.**

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

# %%
for name in ("16, clip 0.2", "16, no clip", "16, the bug"):
    same_step = interval([run[10][2] for run in reused[name]])
    same_share = interval([next(h for p, _, h in run if p > 0.85) for run in reused[name]])
    print("{:14} entropy after 10 groups {:.2f} ± {:.2f}, when 0.85 are right {:.2f} ± {:.2f}".format(
        name, *same_step, *same_share))

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
# *10 minutes.* Write `average(losses, mask, how, max_length)` for `"grpo"`, `"dapo"` and `"dr_grpo"`. Run `check("grpo.average", my_average)` to see how you stand.
#
# **Hint.** By what is the loss of a single token divided, in an answer of 2 tokens and in one of 4?
# ```

# %%
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
# *5 minutes.* Write `with_signal(rewards, wanted)`: the numbers of the first groups that dynamic sampling would keep. Run `check("grpo.with_signal", my_signal)` to see how you stand.
#
# **Hint.** Rewards need not be 0 and 1.
# ```

# %%
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
    """Two answers of 2 and 4 tokens; whatever lies behind the first one's end does not count."""
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
print(f"by the length of the answer: {angle(expected_gradient(16, 'none', True), truth):.1f} degrees")
print(f"by the deviation:            {angle(expected_gradient(16, 'group', False), truth):.1f} degrees")

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
spread = {f"tokens of wrong answers, {name}": [run[40][1] for run in of] for name, of in learned.items()}
spread |= {f"recorded accuracy, %, {name}": each for name, each in gained.items()}
receipt(spread=spread, differences={"six losses by loops and the package": (difference, 1e-12)})

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
