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
# # Mixture of experts
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/03_mixture_of_experts.ipynb)
#
# Give a small model 16 experts, let each token pick two, and train it on nothing but the loss. How many of the 16 end
# up idle? And the part that surprises people: **how much loss do the idle ones cost?** Both answers are numbers, and
# the second one decides why anybody balances experts at all.
#
# - **You will build** a router, a layer of experts, and two ways to keep all of them at work.
# - **You need** PyTorch, and what a transformer's feed-forward layer does. Chapter 02 helps, but is not needed.
# - **It takes** about 40 s to run on two CPU cores of a laptop, about twice that on Colab's two cores (a GPU is no faster on
#   models this small), and an hour to read.
#   The GPU experiment was recorded once, in under five minutes of one H100; here it is only read.

# %% tags=["hide-input"]
import importlib.util; _ = importlib.util.find_spec("minidsk") or get_ipython().run_line_magic("pip", "install -q 'minidsk[notebooks] @ git+https://github.com/minidsk/minidsk'")

# %%
import math
import time
from itertools import pairwise
from statistics import mean, stdev

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minidsk import MiniDeepSeek, ModelConfig, results
from minidsk.homework import check, describe, predict, receipt, zoo

_ = torch.set_num_threads(1)
_ = torch.set_default_dtype(torch.float64)  # 16 digits: your processor gives the same numbers as ours

# %% [markdown]
# ## The pain first: width is paid for by every token
#
# A feed-forward layer is where a transformer keeps much of what it knows. A wider one knows more, but every token pays
# for the whole width, including the parts that have nothing to do with it. Take DeepSeek-V3's sizes, counted from its
# configuration:

# %%
from minidsk.scale.cost import parameters

v3 = ModelConfig.from_dict({"model_type": "deepseek_v3"})
stored, active = parameters(v3), parameters(v3, active=True)
print(f"stored {stored / 1e9:.0f} billion weights, one token meets {active / 1e9:.1f} billion")
print(f"if every token met them all, it would cost {stored / active:.0f} times as much")

# %% [markdown]
# (The paper says 671 and 37.) So: cut the wide layer into pieces, the **experts**, and let each token use a few. Somebody has to choose which. That
# is the **router**, and it is learned.
#
# It sounds safe: surely the loss will teach the router to use everything it has? We will train such a model below, with
# 16 experts, and call one **idle** if it gets less than a tenth of its fair share of tokens. Guess first: replace `None`
# by a number. The tally stays on your machine.

# %% tags=["prediction"]
guess = predict("moe.idle", "Of 16 experts, how many are idle after training on the loss alone (mean of three seeds)?",
                guess=None, example=0, scale="difference", tolerance=8)
guess

# %% [markdown]
# ## One token's route, by hand
#
# One token, a vector of two numbers, and six experts. Each expert has a vector of its own, its *centroid*: a row of `W`.
# We keep these eight numbers for the whole chapter.

# %%
x = torch.tensor([[1.0, 2.0]])
W = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [0.5, 0.0], [0.5, 0.5], [0.0, -1.0]])
logits = x @ W.T
print("logits", logits[0].tolist())

# %% [markdown]
# Each logit becomes an *affinity* between 0 and 1. DeepSeek-V3 uses a sigmoid: an expert's affinity does not depend on
# the other experts'. (A softmax would make them share one unit.)

# %%
scores = torch.sigmoid(logits)
print("scores", [round(s, 3) for s in scores[0].tolist()])

# %% [markdown]
# The two best are chosen. Their scores, divided by their sum, say how much of each expert's answer the token takes.

# %%
chosen = scores.topk(2).indices
weights = scores.gather(1, chosen)
weights = weights / weights.sum(-1, keepdim=True)
print("experts", chosen[0].tolist(), "with weights", [round(w, 3) for w in weights[0].tolist()])

# %% [markdown]
# The token goes to experts 0 and 4. Experts 1, 2, 3 and 5 never hear of it: that is the saving, and, as we shall see,
# the trouble.
#
# ## The idea, small and slow
#
# The same three steps as a function. `bias` is zero for now; keep an eye on where it is used, and where it is not.

# %%
def route(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x [N, H], weight [E, H], bias [E] -> weights [N, k], experts [N, k]."""
    scores = torch.sigmoid(x @ weight.T)
    chosen = (scores + bias).topk(k).indices
    weights = scores.gather(1, chosen)
    return weights / weights.sum(-1, keepdim=True), chosen


print(route(x, W, torch.zeros(6), 2)[1])

# %% [markdown]
# An expert is an ordinary gated feed-forward layer, only narrow.

# %%
def expert(x: torch.Tensor, gate_up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """x [H], gate_up [2 I, H], down [H, I] -> [H]."""
    gate, up = (gate_up @ x).chunk(2)
    return down @ (F.silu(gate) * up)


# %% [markdown]
# And the layer: token by token, choice by choice.

# %% tags=["naive"]
def naive_experts(x, weights, chosen, gate_up, down):
    """x [N, H], weights and chosen [N, k], gate_up [E, 2 I, H], down [E, H, I] -> [N, H]."""
    out = torch.zeros_like(x)
    for n in range(len(x)):
        for w, e in zip(weights[n], chosen[n], strict=True):
            out[n] += w * expert(x[n], gate_up[e], down[e])
    return out


# %% [markdown]
# ## Fine-grained and shared
#
# DeepSeekMoE {cite}`deepseekmoe` changed two things about the experts of its day.
#
# **Finer.** Cut each expert into four and choose four times as many. Stored weights and cost stay the same, but the
# choices multiply:

# %%
for experts, k in ((16, 2), (64, 8), (256, 8)):
    print(f"{k} of {experts:3} experts: {float(math.comb(experts, k)):.2g} different teams")

# %% [markdown]
# **Shared.** One more expert that every token visits, without a router. What every token needs (a comma is a comma) can
# live there, and the routed experts need not all learn it again.
#
# Here is our layer in the package's configuration: 16 routed experts of width 24, two for each token, one shared.

# %%
from minidsk.data.corpus import TinyWeb
from minidsk.data.tokenizer import CharTokenizer

tokenizer = CharTokenizer.for_text("".join(TinyWeb().pages(0, 2000)))
config = ModelConfig(
    vocab_size=tokenizer.vocab_size, hidden_size=48, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=24,
    qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=24, intermediate_size=72, first_k_dense_replace=1,
    moe_intermediate_size=24, n_routed_experts=16, num_experts_per_tok=2, n_shared_experts=1,
)  # fmt: skip
print(f"{parameters(config):,} weights, {parameters(config, active=True):,} of them active for a token")

# %% [markdown]
# ## The same, from the package
#
# `minidsk.model.moe.MoE` is the layer of the real model. We give it random weights and a bias that is not zero, so that
# a mistake about the bias would show. The slow version must agree.

# %%
from minidsk.model.moe import MoE

g = torch.Generator().manual_seed(0)
layer = MoE(config)
for p in [*layer.parameters(), layer.gate.e_score_correction_bias]:
    p.data = torch.randn(p.shape, generator=g) * 0.3
tokens = torch.randn(4, 64, 48, generator=g)

# %% tags=["agree"]
with torch.no_grad():
    flat = tokens.flatten(0, 1)
    picked = route(flat, layer.gate.weight, layer.gate.e_score_correction_bias, 2)
    slow = naive_experts(flat, *picked, layer.experts.gate_up_proj, layer.experts.down_proj)
    fast, routing = layer(tokens)
    difference = (slow.view_as(tokens) + layer.shared_experts(tokens) - fast).abs().max().item()
assert difference < 1e-12
print(f"largest difference: {'below 1e-12' if difference < 1e-12 else difference}")

# %% [markdown]
# ## Dispatch: sort, multiply, put back
#
# The slow version multiplies a matrix by one vector at a time. A processor would rather multiply it by many at once, so
# the package sorts the choices by expert. By hand, three tokens with two choices each, four experts:

# %%
from minidsk.kernels.dispatch import sort_by_expert

choices = torch.tensor([[2, 0], [0, 1], [2, 3]])
plan = sort_by_expert(choices, 4)
print("choices in a row  ", choices.flatten().tolist())
print("order             ", plan.order.tolist())
print("sorted by expert  ", choices.flatten()[plan.order].tolist())
print("rows end at       ", plan.ends.tolist())

# %% [markdown]
# Choices 1 and 2 are the ones that expert 0 works on (token 0's second choice, token 1's first); its two rows now stand
# side by side. Each expert does one product; then everything goes back to its place. What it buys, on 256 tokens:

# %% tags=["timing"]
def seconds(run, times):
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times


with torch.no_grad():
    stacks = layer.experts.gate_up_proj, layer.experts.down_proj
    looped = seconds(lambda: naive_experts(flat, *picked, *stacks), 2)
    sorted_ = seconds(lambda: layer.experts(flat, *picked), 20)
print(f"token by token {1e3 * looped:.1f} ms, sorted {1e3 * sorted_:.2f} ms: {looped / sorted_:.0f}x faster")

# %% [markdown]
# ## Trained on the loss alone
#
# The data is the tiny web, pages of worksheets, sums and letters; validation pages come from another seed. Every way
# of balancing below sees the same batches. A seed draws the weights, and the same seed gives every way the same weights
# to start from, so that differences can be taken seed by seed.
#
# We compute in float64. Which expert a token picks is a yes-or-no matter, and a difference in the 7th digit between two
# processors can flip it. In float64 they differ in the 16th, and your numbers should be these.

# %%
from minidsk.data.packing import PackedPages

STEPS, BATCH, CONTEXT, SEEDS = 80, 12, 56, (0, 1, 2)
pages = PackedPages(TinyWeb(seed=0), tokenizer, BATCH, CONTEXT)
train = [pages[step] for step in range(STEPS)]
held_out = PackedPages(TinyWeb(seed=1), tokenizer, 96, CONTEXT)[0]
print(f"{STEPS * BATCH * CONTEXT:,} tokens to train on, {held_out[:, 1:].numel():,} to validate")

# %%
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step


def fit(config, seed, balance=0.0, speed=0.0, prepare=lambda model: None):
    """A trained model, and the load of its experts at every step [steps, experts]."""
    optim = OptimConfig(lr=6e-3, warmup=10, weight_decay=0.1)
    run = PretrainConfig(config, steps=STEPS, batch=BATCH, optim=optim, bias_speed=speed, balance=balance)
    model = MiniDeepSeek(config, torch.Generator().manual_seed(seed))
    prepare(model)
    optimizer, loads = Optimizer(model, optim, STEPS), []
    for step in range(STEPS):
        optimizer.schedule(step)
        _, load = train_step(model, optimizer, train[step], run)
        loads += [*load]
    return model, torch.stack(loads) if loads else None


# %% [markdown]
# After training we want the loss on the held-out pages, and how the load is spread there. **MaxVio**
# {cite}`wang2024auxfree` compares the fullest expert with a fair share: 0 is perfect balance, and 3 means that one expert
# does four times its share.

# %%
from minidsk.model.moe import max_violation

hand = torch.tensor([4.0, 0, 2, 0, 2, 0])  # six experts, four tokens with two choices each
print(f"MaxVio by hand: {hand.max() / hand.mean() - 1:.0f}, package: {max_violation(hand):.0f}")

# %%
@torch.no_grad()
def judge(model, loads=None):
    """Validation loss (nats a token); for a mixture MaxVio, idle experts and the loads over time."""
    out = model(held_out[:, :-1])
    result = {"loss": F.cross_entropy(out.logits.flatten(0, 1), held_out[:, 1:].flatten()).item()}
    if out.routing:
        load = out.routing[0].load()
        result |= {"maxvio": max_violation(load).item(), "idle": int((load < 0.1 * load.mean()).sum()), "loads": loads}
    return result


# %% [markdown]
# Three seeds, no balancing of any kind:

# %%
runs = {"none": [judge(*fit(config, seed)) for seed in SEEDS]}
for seed, run in zip(SEEDS, runs["none"], strict=True):
    print(f"seed {seed}: loss {run['loss']:.3f}, MaxVio {run['maxvio']:.2f}, idle {run['idle']} of 16")

# %%
idle = mean(run["idle"] for run in runs["none"])
guess.reveal(idle)

# %% [markdown]
# A column below is an expert, time runs downwards, and brightness is its load as a multiple of a fair share. A few
# columns light up in the first steps and stay lit.

# %% tags=["figure"]
def heat(ax, load, title):
    picture = ax.imshow(load / load.mean(1, keepdim=True), aspect="auto", vmin=0, vmax=4, cmap="magma")
    ax.set(title=title, xlabel="expert", ylabel="step")
    return picture


fig, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
for seed, ax in zip(SEEDS, axes, strict=True):
    picture = heat(ax, runs["none"][seed]["loads"], f"seed {seed}")
_ = fig.colorbar(picture, label="load / fair share")
plt.show()
for seed in SEEDS:
    last = runs["none"][seed]["loads"][-1]
    print(f"seed {seed}, last step:", [round(v, 1) for v in (last / last.mean()).tolist()])

# %% [markdown]
# ## Why the loss does not mend it
#
# Back to the token of the beginning. Suppose the loss would like more of the second chosen expert's answer. What does
# the router learn?

# %%
leaf = logits.clone().requires_grad_()
taken = torch.sigmoid(leaf).gather(1, chosen)
(-(taken / taken.sum())[0, 1]).backward()
print("gradient of each expert's logit:", [round(v, 3) for v in leaf.grad[0].tolist()])
assert (leaf.grad[0, [1, 2, 3, 5]] == 0).all()

# %% [markdown]
# The four experts that were not chosen get a gradient of exactly zero. They are not told that they are bad; they are
# told nothing. An expert without tokens learns nothing, stays as useless as it was born, and nobody ever asks it again:
# the rich get richer.
#
# ## First remedy: an auxiliary loss
#
# Make unevenness cost something. For one sequence of $T$ tokens let $f_i$ be expert $i$'s share of the choices times
# the number of experts, and $P_i$ its mean normalised score. The loss is $\alpha \sum_i f_i P_i$: even routing gives
# $\alpha$, and piling up tokens where the scores already are high gives more. Only $P$ has a gradient; counting has none.
#
# By hand: our token and three others.

# %%
four = torch.tensor([[1.0, 2.0], [1.0, 1.5], [0.5, 2.0], [-1.0, 1.0]])
scores4 = torch.sigmoid(four @ W.T)
chosen4 = route(four, W, torch.zeros(6), 2)[1]
load4 = torch.bincount(chosen4.flatten(), minlength=6)
print("choices", chosen4.tolist())
print("load   ", load4.tolist())

# %%
f = load4 / load4.sum() * 6
P = (scores4 / scores4.sum(1, keepdim=True)).mean(0)
print("f", [round(v, 2) for v in f.tolist()])
print("P", [round(v, 2) for v in P.tolist()])
print(f"sum of f P: {(f * P).sum():.3f} (even routing: 1)")

# %%
from minidsk.model.moe import sequence_balance_loss

balance_difference = abs(sequence_balance_loss(scores4, chosen4, alpha=1.0) - (f * P).sum()).item()
assert balance_difference < 1e-6
print("the package agrees")

# %% [markdown]
# Does its gradient reach the experts that nobody chose? Through $P$ it does, because every score is in every token's
# sum:

# %%
leaf = (four @ W.T).requires_grad_()
sequence_balance_loss(torch.sigmoid(leaf), chosen4, alpha=1.0).backward()
print("mean gradient of each logit:", [round(v, 3) for v in leaf.grad.mean(0).tolist()])

# %% [markdown]
# Gradient descent goes against these signs: the busy experts 0, 2 and 4 are pushed down (expert
# 0, the busiest, hardest), the idle ones up. Now train with it.

# %%
runs["auxiliary loss"] = [judge(*fit(config, seed, balance=0.1)) for seed in SEEDS]
for seed, run in zip(SEEDS, runs["auxiliary loss"], strict=True):
    print(f"seed {seed}: loss {run['loss']:.3f}, MaxVio {run['maxvio']:.2f}, idle {run['idle']} of 16")

# %% [markdown]
# It works. The worry about it is a different one: these gradients go into the same weights that should learn to predict
# text, and $\alpha$ sets how loudly they interrupt.
#
# ## Second remedy: a bias that only the choice sees
#
# DeepSeek's answer needs no gradient {cite}`wang2024auxfree`. Add a number $b_i$ to each expert's score **for the choice
# alone**. After every step, an expert above the mean load goes down by a fixed step, one below goes up.

# %%
def nudge(bias: torch.Tensor, load: torch.Tensor, speed: float) -> torch.Tensor:
    """bias and load [E] -> the next bias [E]."""
    return bias + speed * torch.sign(load.mean() - load)


bias = nudge(torch.zeros(6), load4.double(), speed=0.1)
print("load", load4.tolist())
print("bias", [round(b, 1) for b in bias.tolist()])

# %% [markdown]
# The next time our four tokens come by with that bias, and three more times after that:

# %%
for _ in range(4):
    load = torch.bincount(route(four, W, bias, 2)[1].flatten(), minlength=6).double()
    print(f"bias {[round(b, 1) for b in bias.tolist()]} gives load {load.int().tolist()}, MaxVio {max_violation(load):.2f}")
    bias = nudge(bias, load, speed=0.1)

# %% [markdown]
# Experts that nobody chose get work within a few steps, and no gradient was needed. With four tokens the load cannot
# settle; with thousands it can. The package has the same line:

# %%
from minidsk.model.moe import update_bias

bias_difference = (update_bias(bias, load, 0.1) - nudge(bias, load, 0.1)).abs().max().item()
assert bias_difference == 0
runs["bias"] = [judge(*fit(config, seed, speed=0.01)) for seed in SEEDS]
for seed, run in zip(SEEDS, runs["bias"], strict=True):
    print(f"seed {seed}: loss {run['loss']:.3f}, MaxVio {run['maxvio']:.2f}, idle {run['idle']} of 16")

# %% [markdown]
# ## A figure that moves
#
# Switch between the three ways and drag through the steps of seed 0. What to look for: without balancing the tall bars
# stay where they are; with the bias the tall ones of the first steps sink, and nobody takes their place.

# %% tags=["widget"]
from minidsk.widgets import Routing

Routing({name: of[0]["loads"][::2].tolist() for name, of in runs.items()}, steps=range(0, STEPS, 2))

# %% [markdown]
# ## What idleness costs
#
# Losses differ from seed to seed for reasons that have nothing to do with balance. The seeds are paired (same start, same
# batches), so we take each way's difference from *none* seed by seed, and give its mean with a 95 % interval (Student's
# t, three seeds).

# %%
def interval(values):
    """Mean, and half the width of a 95 % interval for three values."""
    assert len(values) == 3
    return mean(values), 4.303 * stdev(values) / 3**0.5


def compare(name, control="none"):
    middle, half = interval([a["loss"] - b["loss"] for a, b in zip(runs[name], runs[control], strict=True)])
    loss, maxvio, idle = (mean(run[key] for run in runs[name]) for key in ("loss", "maxvio", "idle"))
    print(f"{name:14} MaxVio {maxvio:4.2f}  idle {idle:3.1f}  loss {loss:.3f}  minus {control}: {middle:+.3f} ± {half:.3f}")


for name in runs:
    compare(name)

# %%
fig, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
for (name, of), ax in zip(runs.items(), axes, strict=True):
    picture = heat(ax, of[0]["loads"], f"{name}, seed 0")
_ = fig.colorbar(picture, label="load / fair share")
plt.show()
for name, of in runs.items():
    over_time = [max_violation(part.sum(0)).item() for part in of[0]["loads"].split(STEPS // 4)]
    print(f"{name:16} MaxVio in each quarter of the run:", [round(v, 1) for v in over_time])

# %% [markdown]
# Go back to the column *minus none*, and read it twice. Both remedies put every expert to work, and the intervals of the loss hold zero: **in this
# run we cannot show that idle experts cost any loss at all.** The model is so small and so briefly trained that a few
# experts are enough for what it learns.
#
# Then why balance? Because in a large model the experts live on different devices, and a layer is done when its
# fullest expert is done. With one expert a device, the layer takes $1 + \text{MaxVio}$ times as long as it should:

# %%
for name, of in runs.items():
    slow_down = [1 + run["maxvio"] for run in of]
    print(f"{name:16} waits {mean(slow_down):.1f} times the fair time (from {min(slow_down):.1f} to {max(slow_down):.1f})")

# %% [markdown]
# That cost is real from the first step on. The other one, weights that were paid for and never learn, shows itself when
# a model is trained long enough to need them.
#
# ## The bug that the loss does not show
#
# The bias belongs to the choice. It is easy to let it slip into the weights as well, because one line less does it:

# %%
def leaky(x, weight, bias, k):
    """The bias leaks: the weights come from the biased scores."""
    weights, chosen = (torch.sigmoid(x @ weight.T) + bias).topk(k)
    return weights / weights.sum(-1, keepdim=True), chosen


small = torch.tensor([-0.1, 0, 0, 0, 0, 0])
for router in (route, leaky):
    w, e = router(x, W, small, 2)
    print(f"{router.__name__:6}", {int(i): round(float(v), 3) for i, v in zip(e[0], w[0], strict=True)})

# %% [markdown]
# Same experts, other weights: 0.519 for expert 0 became less than half. A steering wheel that should only say *where*
# now also says *how much*. Does the loss notice? We train the leak, three seeds.

# %%
from types import MethodType


def leaking(router, scores):
    weights, chosen = (scores + router.e_score_correction_bias).topk(2)
    return weights / weights.sum(-1, keepdim=True), chosen


def plant(model):
    gate = model.layers[1].mlp.gate
    gate.choose = MethodType(leaking, gate)


runs["leaky bias"] = [judge(*fit(config, seed, speed=0.01, prepare=plant)) for seed in SEEDS]
compare("leaky bias", control="bias")

# %% [markdown]
# The loss does not give it away: balance is fine, the interval is wide and holds zero, and a curve would look healthy.
# Only a test on the weights themselves catches it. Here is one, seen failing:

# %%
def weights_ignore_the_bias(router):
    """A constant added to every bias changes neither choice nor weights."""
    plain, shifted = (router(x, W, torch.full((6,), b), 2)[0] for b in (0.0, 5.0))
    assert torch.allclose(plain, shifted), f"weights {plain[0].tolist()} became {shifted[0].tolist()}"


weights_ignore_the_bias(route)
try:
    weights_ignore_the_bias(leaky)
    raise RuntimeError("the test let the bug through")
except AssertionError:
    print("route passes; leaky is caught")

# %% [markdown]
# ## A dense model for the same money
#
# The mixture must be compared with a dense model whose token costs the same. `minidsk.scale.cost` counts the FLOPs of
# training on one token; we look for the width that matches.

# %%
from minidsk.scale.cost import training_flops


def cost(config):
    return training_flops(config, context=CONTEXT / 2)


widths = (config.replace(n_routed_experts=0, intermediate_size=width) for width in range(24, 400))
dense = min(widths, key=lambda c: abs(cost(c) - cost(config)))
print(f"mixture {cost(config) / 1e6:.4f} MFLOP a token, {parameters(config):,} weights")
print(f"dense   {cost(dense) / 1e6:.4f} MFLOP a token, {parameters(dense):,} weights, width {dense.intermediate_size}")

# %%
assert abs(cost(dense) / cost(config) - 1) < 0.01
runs["dense"] = [judge(fit(dense, seed)[0]) for seed in SEEDS]
middle, half = interval([a["loss"] - b["loss"] for a, b in zip(runs["dense"], runs["bias"], strict=True)])
print(f"dense {mean(run['loss'] for run in runs['dense']):.3f}; dense minus mixture with bias: {middle:+.3f} ± {half:.3f}")

# %% [markdown]
# Twice the weights, the same price, and no gain that three seeds could show. In this short run the extra weights have hardly been visited: each expert sees an eighth of the tokens.
# Whether a longer run changes that is a question for a GPU, below.
#
# ## Finer and shared, trained
#
# The same weights, cut in other ways: twice as many experts of half the width (top 4, and the shared part as wide as
# before), and no shared expert (three of 17 instead of two of 16 and one). All with the bias.

# %%
shapes = {
    "finer": config.replace(n_routed_experts=32, moe_intermediate_size=12, num_experts_per_tok=4, n_shared_experts=2),
    "no shared": config.replace(n_routed_experts=17, num_experts_per_tok=3, n_shared_experts=0),
}
for name, shape in shapes.items():
    assert abs(cost(shape) / cost(config) - 1) < 0.02
    assert abs(parameters(shape) / parameters(config) - 1) < 0.02
    runs[name] = [judge(*fit(shape, seed, speed=0.01)) for seed in SEEDS]
    compare(name, control="bias")

# %% [markdown]
# Both intervals hold zero. DeepSeekMoE's gains from both are real at 2 billion weights {cite}`deepseekmoe`; a
# model of a hundred thousand weights is the wrong place to look for them.
#
# ## Groups: how many machines does a token visit?
#
# Spread 256 experts over 8 nodes of a cluster. A token that picks 8 experts is sent to every node that holds one of
# them, and between nodes the wires are slow. Guess how many that is, if the choice is as good as random:

# %% tags=["prediction"]
nodes = predict("moe.nodes", "How many of 8 nodes does a token visit that picks 8 of 256 experts at random?",
                guess=None, example=8, scale="difference", tolerance=4)
nodes

# %% [markdown]
# We can count it with the package's router: V3's sizes, random scores, and $n_\text{group} = 8$ groups with 8 (no limit)
# down to 1 of them allowed.

# %%
from minidsk.model.moe import Router

some = torch.rand(4096, 256, generator=torch.Generator().manual_seed(0))


def nodes_visited(topk_group):
    router = Router(v3.replace(hidden_size=8, topk_group=topk_group))
    node = router.choose(some)[1] // 32
    return F.one_hot(node, 8).amax(1).sum(1).float()


visited = {limit: nodes_visited(limit) for limit in (8, 4, 2, 1)}
for limit, count in visited.items():
    print(f"{limit} nodes allowed: {count.mean():.2f} visited on average, {int(count.max())} at most")

# %%
nodes.reveal(visited[8].mean())
exact = 8 * (1 - math.comb(224, 8) / math.comb(256, 8))
print(f"by combinatorics {exact:.2f}")
assert abs(visited[8].mean() - exact) < 0.05

# %% [markdown]
# That is what **group-limited routing** is for: first choose groups, then experts inside them. A group's score is the sum of
# its best *two* biased scores, so that one bright expert among duds does not carry a group. On our six-expert token, with
# three groups of two, of which one may stay:

# %%
def group_limited(scores: torch.Tensor, bias: torch.Tensor, groups: int, kept: int) -> torch.Tensor:
    """Biased scores [N, E], with -inf in all groups but the `kept` best."""
    grouped = (scores + bias).unflatten(1, (groups, -1))
    best = grouped.topk(2).values.sum(-1).topk(kept).indices
    dropped = torch.ones(grouped.shape[:2], dtype=torch.bool).scatter(1, best, False)
    return grouped.masked_fill(dropped[..., None], -math.inf).flatten(1)


left = group_limited(scores, torch.zeros(6), groups=3, kept=1)
print("group scores", [round(v, 2) for v in scores.unflatten(1, (3, 2)).sum(-1)[0].tolist()])
print("left        ", [round(v, 2) for v in left[0].tolist()])

# %% [markdown]
# Experts 0 and 4, the two best of all, are both out of reach: each has a dud for a neighbour. The token goes to 2 and 3.
# Dropped groups become $-\infty$, not 0: after a while biases can pull every score below 0, and then 0 would win.
#
# The package's router does the same:

# %%
limited = Router(config.replace(n_routed_experts=256, num_experts_per_tok=8, n_group=8, topk_group=4))
theirs = limited.choose(some)[1].sort(-1).values
ours = group_limited(some, torch.zeros(256), 8, 4).topk(8).indices.sort(-1).values
assert torch.equal(ours, theirs)
print("all", len(ours), "tokens choose the same experts")

# %% [markdown]
# What a visit costs in bytes: V3 sends a token's 7168 numbers in FP8 (1 byte each) to each node and gets them back in
# BF16 (2 bytes).

# %%
for limit in (8, 4):
    sent = visited[limit].mean() * v3.hidden_size * (1 + 2)
    print(f"{limit} nodes allowed: {sent / 1e3:.0f} kB between nodes, for each token and layer")
worst = [visited[limit].max().item() for limit in (8, 4)]
print(f"a token's worst case: {worst[0]:.0f} nodes without the limit, {worst[1]:.0f} with it")

# %% [markdown]
# On one GPU there are no nodes, and the limit only takes choices away. It pays on a cluster or not at all.
#
# ## The same on a GPU, larger
#
# A model of 4 layers and width 256, 64 experts, top 4, one shared; 1,200 steps of 8,192 tokens on a harder tiny web; three
# seeds. The run was recorded once; this cell only reads it.

# %%
record = results.read("ch03_balance")
print(results.origin("ch03_balance"))

# %%
def rows(metrics, control):
    """Each method that ran with three seeds: its runs, and its loss minus the control's, seed by seed."""
    by = {}
    for run in metrics["runs"]:
        by.setdefault(run["method"], []).append(run)
    for name, of in by.items():
        if len(of) == 3:
            yield name, of, interval([a["loss"] - b["loss"] for a, b in zip(of, by[control], strict=True)])


def show(metrics, control):
    print(f"{'method':24} {'MFLOP':>6} {'weights':>11} {'MaxVio':>6} {'idle':>5} {'loss':>6}   minus {control}")
    for name, of, (middle, half) in rows(metrics, control):
        balance = f"{'-':>6} {'-':>5}"
        if "idle" in of[0]:
            balance = "{:6.2f} {:5.0%}".format(*(mean(run[key] for run in of) for key in ("max_violation", "idle")))
        loss, flops, stored = mean(run["loss"] for run in of), of[0]["flops_per_token"] / 1e6, of[0]["parameters"]
        print(f"{name:24} {flops:6.1f} {stored:11,} {balance} {loss:6.3f}   {middle:+.3f} ± {half:.3f}")


# %%
show(record, "none")

# %% tags=["figure"]
drawn = [row for row in rows(record, "none") if row[0] != "none"]
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
for y, (name, _, (middle, half)) in enumerate(drawn):
    _ = ax.errorbar(middle, y, xerr=half, fmt="o", color="C1" if "dense" in name else "C0", capsize=3)
_ = ax.set_yticks(range(len(drawn)), [name for name, *_ in drawn])
ax.invert_yaxis()
_ = ax.axvline(0, color="grey", lw=1)
_ = ax.set(xlabel="validation loss minus none, nats a token (95 %, 3 seeds)")
plt.show()
print("intervals without zero:", [name for name, _, (middle, half) in drawn if abs(middle) > half])

# %% [markdown]
# Read it with the intervals in view.
#
# - **Collapse is deeper here, and it lasts.** Without balancing nearly two thirds of the 64 experts are idle at the end, and
#   the fullest does twelve times its share. Every remedy mends it, V3's own speed of 0.001 too, a few experts short.
# - **Idleness may cost something now.** With the bias, at either speed, the loss ends lower than without on each of the
#   three seeds. The intervals still hold zero.
# - **Dense or mixture: not decided.**
#
# The losses of the seeds lie far apart because somewhere in these runs a model learns to add, early or late, and falls.
# So we ask when. (The level of 1 nat lies in the middle of that fall. We chose it after seeing the curves, so this is a
# hint and no test.)

# %%
def steps_to(curve, level):
    """Where a curve first falls below the level, on the line between two of its points."""
    for (a, high), (b, low) in pairwise(curve):
        if low < level:
            return a + (b - a) * (high - level) / (high - low)


came = {}
for name, of, _ in rows(record, "none"):
    came[name] = [round(steps_to(run["curve"], 1.0)) for run in of]
    print(f"{name:20} steps until 1 nat, by seed: {came[name]}")
balanced = [of for name, of in came.items() if name.startswith(("auxiliary", "bias"))]
first = [a < b for of in balanced for a, b in zip(of, came["none"], strict=True)]
print(f"{sum(first)} of {len(first)} balanced runs come before the unbalanced run of their seed")

# %% [markdown]
# Most balanced runs get there first, and much of what the table shows is this head start. Balance seems to help a little.
# Three seeds do not prove it.
#
# How many seeds would settle it? And what did the mixture cost in time?

# %%
by = {name: of for name, of, _ in rows(record, "none")}
a, b = by["dense, equal FLOPs"], by["bias 0.01"]
spread = stdev([x["loss"] - y["loss"] for x, y in zip(a, b, strict=True)])
print(f"spread of the paired difference dense minus bias 0.01: {spread:.3f} nats")
print(f"seeds needed to see a difference of 0.02: about {(2 * spread / 0.02) ** 2:.0f}")
slower = mean(x["seconds"] for x in b) / mean(x["seconds"] for x in a)
print(f"at equal FLOPs the mixture took {slower:.1f} times as long")

# %% [markdown]
# Four runs shared the GPU, so take the last figure as rough. Sorting, gathering and many thin products are no FLOPs, and
# still take time; chapter 08 is about that.
#
# ## What DeepSeek did
#
# DeepSeek-V3 {cite}`deepseekv3` (section 2.1.2, equations 12 to 16): for token $t$ with input $u_t$ and centroids $e_i$,
#
# $$ s_{i,t} = \sigma(u_t^\top e_i), \qquad
# g'_{i,t} = \begin{cases} s_{i,t} & s_{i,t} + b_i \in \text{TopK}(\{s_{j,t} + b_j\}, K) \\ 0 & \text{otherwise} \end{cases},
# \qquad g_{i,t} = \frac{g'_{i,t}}{\sum_j g'_{j,t}}, $$
#
# $$ h'_t = u_t + \sum_{i=1}^{N_s} \text{FFN}^{(s)}_i(u_t) + \sum_{i=1}^{N_r} g_{i,t}\, \text{FFN}^{(r)}_i(u_t). $$
#
# The bias stands in the condition and not in the value: that is the whole trick, and the bug above is its loss.
#
# Its sizes: 58 of 61 layers are mixtures, each with $N_r = 256$ routed experts of width 2048, $K = 8$, and $N_s = 1$
# shared; 8 groups, of which a token may use 4; weights times 2.5. The bias moves by 0.001 a step for 14.3 trillion tokens
# and stands still for the last 500 billion. A sequence-wise auxiliary loss with $\alpha = 0.0001$ stays, against single
# sequences that lean on one expert. No token is dropped. They report (section 4.5.2) that the bias beat a purely
# auxiliary loss on most benchmarks, in models of 15.7 and 228.7 billion weights. Ours are more than a thousand times
# smaller than the smaller one; our intervals neither confirm nor contradict them.

# %%
print(f"{v3.num_hidden_layers - v3.first_k_dense_replace} mixture layers, {v3.n_routed_experts} experts of width "
      f"{v3.moe_intermediate_size}, top {v3.num_experts_per_tok}, {v3.topk_group} of {v3.n_group} groups")

# %% [markdown]
# ## What went wrong, or did not help
#
# **V3's own speed failed at first.** Our first recording had 300 steps. A bias that moves by 0.001 a step can reach 0.3 in
# that time, and that is not enough to turn a collapsed router round; *both*, with V3's two constants, did only a little
# better. V3 had hundreds of thousands of steps, and with our 1,200 the same speed gets there. Constants travel badly: what
# matters is speed times steps. And 0.1 overshoots, step after step: scores lie between 0 and 1. The failed runs:

# %%
short = results.read("ch03_balance_300")
print(results.origin("ch03_balance_300"))
show(short, "none")

# %%
heats = {run["method"]: run["load"]["percent_of_mean"] for run in short["runs"] if "load" in run}
fig, axes = plt.subplots(1, 4, figsize=(9, 2.8), layout="constrained", sharey=True)
for ax, name in zip(axes, ("none", "bias 0.001", "bias 0.01", "bias 0.1"), strict=True):
    picture = heat(ax, torch.tensor(heats[name]) / 100, name)
    _ = ax.set(ylabel="")
_ = axes[0].set(ylabel="step / 6")
_ = fig.colorbar(picture, label="load / fair share")
plt.show()
for name in ("none", "bias 0.001", "bias 0.01", "bias 0.1"):
    print(f"{name:10} fullest expert at the end: {max(heats[name][-1]) / 100:.1f} fair shares")

# %% [markdown]
# **What does not pay at this size**, plainly:
#
# - Balancing, if all you want is the loss and three seeds must show it. It pays as soon as experts live on several devices.
# - The mixture itself. At equal FLOPs neither the runs on the CPU nor those on the GPU decide between mixture and dense
#   model, and the mixture runs slower.
# - More weights as such. The *dense* model with as many weights as the mixture costs five times the FLOPs and was not
#   better in the short recording. The web is small and the runs are short: little that more weights could hold.
# - Finer experts and a shared one: no difference that three seeds could show.
# - Group limits: on one device they only take choices away. We did not train with them on the GPU.
#
# So why does our model keep its experts? To be DeepSeek throughout, and because the price is small. The reasons to
# believe in mixtures come from models a thousand times larger.
#
# ## Exercises
#
# ```{exercise} The router, whole
# :label: ex-03-router
#
# *20 minutes.* Write the router with everything in it: bias, groups, normalisation, scale. The signature is printed below.
# `check("moe.router", my_router)` knows ten mistakes by name.
#
# **Hint.** Print one token's scores, biased scores, group scores, choice and weights, in this order. You have all the
# pieces: `route` and `group_limited`.
# ```

# %%
print(describe("moe.router"))

# %%
def my_router(x, weight, bias, top_k, n_group, topk_group, norm_topk_prob, scale):
    raise NotImplementedError


# check("moe.router", my_router)

# %% [markdown]
# ```{solution-start} ex-03-router
# :class: dropdown
# ```

# %%
def whole_router(x, weight, bias, top_k, n_group, topk_group, norm_topk_prob, scale):
    scores = torch.sigmoid(x @ weight.T)
    chosen = group_limited(scores, bias, n_group, topk_group).topk(top_k).indices
    weights = scores.gather(1, chosen)
    if norm_topk_prob:
        weights = weights / weights.sum(-1, keepdim=True)
    return weights * scale, chosen


answer = check("moe.router", whole_router)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} The bias, one step
# :label: ex-03-bias
#
# *5 minutes.* Write `update_bias(bias, load, speed)` without looking above. Then say why the step has a fixed size,
# whatever the distance from the mean.
#
# **Hint.** One expert far above the others: how large would a step in proportion to its distance be, beside scores
# that lie between 0 and 1?
# ```

# %%
def my_update(bias, load, speed):
    raise NotImplementedError


# check("moe.update_bias", my_update)

# %% [markdown]
# ```{solution-start} ex-03-bias
# :class: dropdown
# ```

# %%
answer = check("moe.update_bias", nudge)
assert answer
answer

# %% [markdown]
# A fixed step cannot throw an expert from one end to the other on one strange batch. The price: it never rests, and
# once balance is reached it jitters by `speed`.
#
# ```{solution-end}
# ```
#
# ```{exercise} The balance loss of a batch
# :label: ex-03-balance
#
# *10 minutes.* Write `sequence_balance_loss(scores, indices, alpha)` for scores `[B, T, E]` and indices `[B, T, K]`: f and P
# belong to one sequence each, and the batch is averaged last.
#
# **Hint.** `F.one_hot` turns indices into something you can average. What is f when everything is even?
# ```

# %%
def my_balance(scores, indices, alpha):
    raise NotImplementedError


# check("moe.sequence_balance_loss", my_balance)

# %% [markdown]
# ```{solution-start} ex-03-balance
# :class: dropdown
# ```

# %%
def balance_solution(scores, indices, alpha):
    experts = scores.shape[-1]
    f = F.one_hot(indices, experts).to(scores.dtype).mean((1, 2)) * experts
    P = (scores / scores.sum(-1, keepdim=True)).mean(1)
    return alpha * (f * P).sum(-1).mean()


answer = check("moe.sequence_balance_loss", balance_solution)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} One expert for each token
# :label: ex-03-top1
#
# *10 minutes.* Set `num_experts_per_tok=1` and leave `norm_topk_prob=True`. What is the gradient of the router's weight from the
# language loss? Say it first, then print it.
#
# **Hint.** What is a number divided by itself?
# ```

# %% [markdown]
# ```{solution-start} ex-03-top1
# :class: dropdown
# ```

# %%
for norm in (True, False):
    one = MiniDeepSeek(config.replace(num_experts_per_tok=1, norm_topk_prob=norm), torch.Generator().manual_seed(0)).double()
    out = one(held_out[:8, :-1])
    F.cross_entropy(out.logits.flatten(0, 1), held_out[:8, 1:].flatten()).backward()
    size = one.layers[1].mlp.gate.weight.grad.abs().max().item()
    print(f"normalised {norm!s:5}: largest gradient of the router {'0 or rounding' if size < 1e-12 else f'{size:.1g}'}")

# %% [markdown]
# The only weight is 1 whatever the score, so the router learns nothing at all from the loss. With one expert a token the
# weights must not be normalised (Switch {cite}`fedus2021switch` does not).
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Bug zoo
#
# Three wrong routers live in the package, and the leak is one of them. Write tests that pass the right router and catch
# all three; a bug's name is shown once it is caught. These do it; try to do it with fewer.

# %% tags=["zoo"]
def bias_stays_out_of_the_weights(router):
    plain, shifted = (router(x, W, torch.full((6,), b), 2, 1, 1, True, 1.0)[0] for b in (0.0, 5.0))
    assert torch.allclose(plain.sort().values, shifted.sort().values, atol=1e-5)


def raw_weights_are_sigmoids(router):
    raw = router(x, W, torch.zeros(6), 2, 1, 1, False, 1.0)[0]
    assert torch.allclose(raw.sort().values, torch.sigmoid(torch.tensor([[1.5, 2.0]])), atol=1e-5)


def one_group_means_one_group(router):
    chosen = router(x, W, torch.zeros(6), 2, 3, 1, True, 1.0)[1]
    assert sorted(chosen[0].tolist()) == [2, 3]


caught = zoo("moe", [bias_stays_out_of_the_weights, raw_weights_are_sigmoids, one_group_means_one_group])
assert caught
caught

# %% [markdown]
# ## The opening question
#
# Before the receipt, the two numbers, once more from the runs:

# %%
middle, half = interval([a["loss"] - b["loss"] for a, b in zip(runs["none"], runs["bias"], strict=True)])
print(f"idle without balancing: {idle:.1f} of 16; with the bias: {mean(run['idle'] for run in runs['bias']):.1f}")
print(f"what the idle ones cost: {middle:+.3f} ± {half:.3f} nats a token")
assert 1 <= idle <= 6
assert abs(middle) < half

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
receipt(
    spread={f"validation loss, {name}": [run["loss"] for run in of] for name, of in runs.items()},
    differences={"naive and package": (difference, 1e-12), "balance loss": (balance_difference, 1e-6), "bias": (bias_difference, 0)},
)

# %% [markdown]
# ## Summary
#
# How many experts does the loss alone leave idle? A few of 16 here, more than half of 64 in the larger model. What do
# they cost? **No loss that three seeds can show** (the interval printed above holds zero; in the longer runs each seed leans
# towards balance), but several times the waiting as soon as each expert has a device of its own. A bias that only the
# choice sees puts the idle ones to work, and we saw no price for it.
#
# - I can now follow one token through a router by hand, with and without bias and groups.
# - I can now say why the loss alone lets experts starve, and show the gradient that is zero.
# - I can now balance a mixture in two ways, measure it by MaxVio, and say what it costs and buys.
# - I can now tell a leaking bias from a healthy one, which the loss cannot.
#
# ## Read on
#
# - DeepSeekMoE {cite}`deepseekmoe`, sections 3.1 and 3.2: fine-grained and shared experts, and what each adds at 2 billion
#   weights.
# - Wang et al. {cite}`wang2024auxfree`: the bias, MaxVio, and why an auxiliary loss disturbs.
# - Where it began: sparsely-gated experts {cite}`shazeer2017moe`, GShard {cite}`lepikhin2020gshard`, Switch
#   {cite}`fedus2021switch`.
# - Chapter 04 lets the model look further ahead than the next token. Chapter 08 writes the sorted product as a GPU kernel.
