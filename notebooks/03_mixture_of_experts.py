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
# We give a small model 16 small networks, called experts, let each token use two of them, and train the model on
# nothing but the loss. How many of the 16 experts end up with hardly any tokens, that is, idle? And **how much loss do
# the idle experts cost?** Both answers are numbers, and the second one surprised us.
#
# - **You will build** a router, a layer of experts, and two ways to keep all the experts at work.
# - **You need** PyTorch, and to know what a transformer's feed-forward layer does. [Chapter 02](02_latent_attention.ipynb) helps but is not
#   required.
# - **It takes** about half a minute to a minute on two free CPU cores of a laptop, about twice as long on Colab's two
#   cores, and an hour to read. The receipt at the end says how long the run on this page took; a busy machine takes
#   longer. A GPU is no faster, because the models are so small. One larger experiment took under five minutes on an
#   H100 GPU, and this chapter only reads its record.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import math
import time
from statistics import mean, stdev

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minidsk import MiniDeepSeek, ModelConfig, results
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.report.interval import apart

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)
# 16 digits, so that your processor gives the same numbers as ours
_ = torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## The problem: every token pays for the whole width
#
# A transformer keeps much of what it knows in its feed-forward layers. A wider layer can know more, but every token
# then pays for the whole width, including the parts that have nothing to do with that token. The figure shows where
# these layers stand in the model. Below it we count DeepSeek-V3's weights from its configuration:

# %% tags=["diagram", "hide-input"]
diagram("transformer_block")

# %%
from minidsk.scale.cost import parameters

v3 = ModelConfig.from_dict({"model_type": "deepseek_v3"})
stored, active = parameters(v3), parameters(v3, active=True)
print(f"stored {stored / 1e9:.0f} billion weights, one token meets {active / 1e9:.1f} billion")
print(f"if every token met them all, it would cost {stored / active:.0f} times as much")

# %% [markdown]
# The paper says 671 and 37 billion. (Our second count includes the whole embedding table of 0.9 billion weights, of
# which a token needs only one row.) The saving comes from cutting the wide layer into many
# narrow ones, the **experts**, and letting each token use only a few of them. A small learned layer, the **router**,
# decides which experts a token uses.
#
# This sounds safe, because training should teach the router to use everything that it has. Below we train such a model
# with 16 experts and call an expert **idle** if it gets less than a tenth of its fair share of the tokens. Guess first
# how many will be idle, by replacing `None` with a number. The tally stays on your machine.

# %% tags=["prediction", "hide-input"]
guess = predict("moe.idle", "Of 16 experts, how many are idle after training on the loss "
                "alone (mean of three seeds)?",
                guess=None, example=0, scale="difference", tolerance=8)
guess

# %% [markdown]
# ## One token's route, by hand
#
# Our example is one token, which is a vector of two numbers, and six experts. Each expert has a vector of its own,
# called its *centroid*, which is a row of the matrix `W`. We keep this example for the whole chapter. The product of
# the token with each centroid gives one number per expert, its *logit*.

# %%
x = torch.tensor([[1.0, 2.0]])
W = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [0.5, 0.0], [0.5, 0.5], [0.0, -1.0]])
logits = x @ W.T
print("logits", logits[0].tolist())

# %% [markdown]
# The router turns each logit into an *affinity* between 0 and 1, which the code calls a score. DeepSeek-V3 uses a
# sigmoid for this, so each expert's affinity is computed on its own. With a softmax the affinities would have to sum to
# 1, and raising one of them would lower all the others.

# %%
scores = torch.sigmoid(logits)
print("scores", [round(s, 3) for s in scores[0].tolist()])

# %% [markdown]
# The token goes to the two experts with the highest scores. We divide these two scores by their sum, and the results
# are the weights with which the token mixes the two experts' outputs.

# %%
chosen = scores.topk(2).indices
weights = scores.gather(1, chosen)
weights = weights / weights.sum(-1, keepdim=True)
print("experts", chosen[0].tolist(), "with weights",
      [round(w, 3) for w in weights[0].tolist()])

# %% [markdown]
# The token goes to experts 0 and 4. Experts 1, 2, 3 and 5 do no work for this token, which is where the saving comes
# from. They also learn nothing from this token, and we will see that this causes the trouble.
#
# ## The router and the experts, written slowly
#
# The same three steps become a function. Its argument `bias` is zero for now. The function uses it for the choice of
# experts but not for the weights, and this will matter later.

# %%
def route(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
          k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x [N, H], weight [E, H], bias [E] -> weights [N, k], experts [N, k]."""
    scores = torch.sigmoid(x @ weight.T)
    chosen = (scores + bias).topk(k).indices
    weights = scores.gather(1, chosen)
    return weights / weights.sum(-1, keepdim=True), chosen


print(route(x, W, torch.zeros(6), 2)[1])

# %% [markdown]
# An expert is an ordinary gated feed-forward layer, except that it is narrow. Gated means that the input is multiplied
# by two matrices, here stored in one. The first result goes through a smooth switch (`silu`) and decides how much of the
# second one passes. A last matrix returns to the model's width.

# %%
def expert(x: torch.Tensor, gate_up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """x [H], gate_up [2 I, H], down [H, I] -> [H]."""
    gate, up = (gate_up @ x).chunk(2)
    return down @ (F.silu(gate) * up)


# %% [markdown]
# The layer goes through the tokens one by one, and for each token through its chosen experts. It adds up their outputs,
# each multiplied by its weight.

# %% tags=["naive"]
def naive_experts(x, weights, chosen, gate_up, down):
    """x [N, H], weights and chosen [N, k], gate_up [E, 2 I, H], down [E, H, I] -> [N, H]."""
    out = torch.zeros_like(x)
    for n in range(len(x)):
        for w, e in zip(weights[n], chosen[n], strict=True):
            out[n] += w * expert(x[n], gate_up[e], down[e])
    return out


# %% [markdown]
# ## Finer experts and a shared one
#
# DeepSeekMoE {cite}`deepseekmoe` changed two things about the experts that were usual at the time.
#
# **Finer experts:** cut each expert into four, and let each token choose four times as many. The number of stored
# weights and the cost per token stay the same, but there are many more combinations to choose from. The last row has
# V3's numbers:

# %%
for experts, k in ((16, 2), (64, 8), (256, 8)):
    print(f"{k} of {experts:3} experts: {float(math.comb(experts, k)):.2g} different choices")

# %% [markdown]
# **A shared expert:** add one more expert that every token visits without being routed. It can hold what every token
# needs, such as how to handle a comma, so that the routed experts need not all learn it again.
#
# Our own layer has 16 routed experts of width 24, of which each token uses two, and one shared expert:

# %%
from minidsk.data.corpus import TinyWeb
from minidsk.data.tokenizer import CharTokenizer

tokenizer = CharTokenizer.for_text("".join(TinyWeb().pages(0, 2000)))
config = ModelConfig(
    vocab_size=tokenizer.vocab_size, hidden_size=48, num_hidden_layers=2,
    num_attention_heads=2, kv_lora_rank=24, qk_nope_head_dim=16, qk_rope_head_dim=8,
    v_head_dim=24, intermediate_size=72, first_k_dense_replace=1,
    moe_intermediate_size=24, n_routed_experts=16, num_experts_per_tok=2, n_shared_experts=1,
)  # fmt: skip
print(f"{parameters(config):,} weights, {parameters(config, active=True):,} of them active "
      "for one token")

# %% [markdown]
# ## The package's layer gives the same result
#
# The full model uses the layer `minidsk.model.moe.MoE`. We give it random weights, and a bias that is not zero so that
# a mistake in its use would show.

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
    slow = slow.view_as(tokens) + layer.shared_experts(tokens)
    difference = (slow - fast).abs().max().item()
assert difference < 1e-12
print(f"largest difference: {'below 1e-12' if difference < 1e-12 else difference}")

# %% [markdown]
# ## Sorting by expert makes the layer fast
#
# The slow version multiplies a matrix by one vector at a time. A processor is much faster when it multiplies a matrix
# by many vectors at once, so the package first sorts the choices by expert. Here is the sorting for three tokens with
# two choices each and four experts:

# %%
from minidsk.kernels.dispatch import sort_by_expert

choices = torch.tensor([[2, 0], [0, 1], [2, 3]])
plan = sort_by_expert(choices, 4)
print("choices in a row  ", choices.flatten().tolist())
print("order             ", plan.order.tolist())
print("sorted by expert  ", choices.flatten()[plan.order].tolist())
print("rows end at       ", plan.ends.tolist())

# %% [markdown]
# The package numbers the six choices from 0 to 5. Expert 0 was chosen twice, in choice 1 (the second choice of token 0)
# and choice 2 (the first choice of token 1). After sorting, these two rows stand side by side, so expert 0 can process
# them in one product. At the end every result goes back to its token. The next cell times both versions on 256 tokens:

# %%
def seconds(run, times):
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times


with torch.no_grad():
    stacks = layer.experts.gate_up_proj, layer.experts.down_proj
    looped = seconds(lambda: naive_experts(flat, *picked, *stacks), 2)
    sorted_ = seconds(lambda: layer.experts(flat, *picked), 20)
print(f"token by token {1e3 * looped:.1f} ms, sorted {1e3 * sorted_:.2f} ms: "
      f"{looped / sorted_:.0f}x faster")

# %% [markdown]
# ## Trained on the loss alone, several experts go idle
#
# The training data is the tiny web, a made-up collection of worksheets, sums and letters, and the validation pages are
# made with another seed. Every way of balancing below sees the same batches and, for the same seed, starts from the
# same weights. We can therefore compare two ways seed by seed.
#
# We compute in float64 so that your numbers agree with ours. Two processors round differently, and because the choice
# of an expert is all or nothing, a tiny difference can send a token to another expert. In float32 a difference in the
# 7th digit is enough to change some choices. In float64 the processors differ only in the 16th digit, which is
# practically never enough.

# %%
from minidsk.data.packing import PackedPages

STEPS, BATCH, CONTEXT, SEEDS = 80, 12, 56, (0, 1, 2)
pages = PackedPages(TinyWeb(seed=0), tokenizer, BATCH, CONTEXT)
train = [pages[step] for step in range(STEPS)]
held_out = PackedPages(TinyWeb(seed=1), tokenizer, 96, CONTEXT)[0]
print(f"{STEPS * BATCH * CONTEXT:,} tokens to train on, "
      f"{held_out[:, 1:].numel():,} to validate")

# %%
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step


def fit(config, seed, balance=0.0, speed=0.0, prepare=lambda model: None):
    """A trained model, and the load of its experts at every step [steps, experts]."""
    optim = OptimConfig(lr=6e-3, warmup=10, weight_decay=0.1)
    run = PretrainConfig(config, steps=STEPS, batch=BATCH, optim=optim, bias_speed=speed,
                         balance=balance)
    model = MiniDeepSeek(config, torch.Generator().manual_seed(seed))
    prepare(model)
    optimizer, loads = Optimizer(model, optim, STEPS), []
    for step in range(STEPS):
        optimizer.schedule(step)
        _, load = train_step(model, optimizer, train[step], run)
        loads += [*load]
    return model, torch.stack(loads) if loads else None


# %% [markdown]
# After training we measure two things: the loss on the validation pages, and how evenly the experts share the work
# there. The *load* of an expert is the number of times it was chosen. **MaxVio** {cite}`wang2024auxfree` is the load of
# the busiest expert divided by the mean load, minus 1. A MaxVio of 0 means perfect balance, and 3 means that one expert
# does four times its fair share.

# %%
from minidsk.model.moe import max_violation

hand = torch.tensor([4.0, 0, 2, 0, 2, 0])  # six experts, four tokens with two choices each
by_hand = hand.max() / hand.mean() - 1
print(f"MaxVio by hand: {by_hand:.0f}, package: {max_violation(hand):.0f}")

# %%
@torch.no_grad()
def judge(model, loads=None):
    """Loss (nats per token); for a mixture also MaxVio, idle experts, loads over time."""
    out = model(held_out[:, :-1])
    loss = F.cross_entropy(out.logits.flatten(0, 1), held_out[:, 1:].flatten()).item()
    if not out.routing:
        return {"loss": loss}
    load = out.routing[0].load()
    idle = int((load < 0.1 * load.mean()).sum())
    return {"loss": loss, "maxvio": max_violation(load).item(), "idle": idle, "loads": loads}


def tell(runs):
    for seed, run in zip(SEEDS, runs, strict=True):
        print(f"seed {seed}: loss {run['loss']:.3f}, MaxVio {run['maxvio']:.2f}, "
              f"idle {run['idle']} of 16")


# %% [markdown]
# Now we train three seeds without any balancing:

# %%
runs = {"none": [judge(*fit(config, seed)) for seed in SEEDS]}
idle = mean(run["idle"] for run in runs["none"])
guess.reveal(idle)

# %% tags=["hide-output"]
tell(runs["none"])

# %% [markdown]
# The measured value is the mean of three seeds, and the folded output has each of them. How soon does this happen? We look at seed 0 in blocks of ten steps. A load of 1 is an expert's fair share:

# %% tags=["figure", "hide-input"]
load = torch.stack([part.sum(0) for part in runs["none"][0]["loads"].split(10)])
order = load.sum(0).argsort(descending=True)
share = (load / load.mean(1, keepdim=True))[:, order]
fig, ax = plt.subplots(figsize=(7.5, 4.6))
_ = ax.pcolormesh(share.T, vmin=0, vmax=5, edgecolors="#fbfcfd", linewidth=1.5)
for (block, row), value in [((b, r), share[b, r].item()) for b in range(8) for r in range(16)]:
    _ = ax.text(block + 0.5, row + 0.52, f"{value:.1f}", ha="center", va="center",
                fontsize=9.5, color="#111111" if value > 2.2 else "#ffffff")
_ = ax.set_xticks([b + 0.5 for b in range(8)],
                  [f"{10 * b + 1}-{10 * b + 10}" for b in range(8)])
_ = ax.set_yticks([r + 0.5 for r in range(16)], order.tolist())
_ = ax.set(xlabel="training steps", ylabel="expert, busiest first")
ax.invert_yaxis()
ax.grid(False)
ax.tick_params(length=0)
early, late = (share[block, :2].sum() / 16 for block in (0, -1))
show(fig,
     "No balancing, seed 0: each expert's load as a multiple of its fair share. Two experts "
     f"do {early:.0%} of the work in the first ten steps and {late:.0%} in the last ten.",
     "A grid of 16 experts, the busiest on top, by 8 blocks of ten training steps. Experts "
     f"{order[0]} and {order[1]} start at {share[0, 0]:.1f} and {share[0, 1]:.1f} fair shares "
     f"and end at {share[-1, 0]:.1f} and {share[-1, 1]:.1f}. In the last block "
     f"{int((share[-1] < 0.5).sum())} of 16 experts have less than half of their share.")

# %% [markdown]
# ## Why the loss alone does not fix this
#
# Our token from the beginning chose experts 0 and 4. Suppose the loss would fall if the token took more of expert 4's
# output. Each expert's logit then gets this gradient:

# %%
leaf = logits.clone().requires_grad_()
taken = torch.sigmoid(leaf).gather(1, chosen)
(-(taken / taken.sum())[0, 1]).backward()
print("gradient of each expert's logit:", [round(v, 3) for v in leaf.grad[0].tolist()])
assert (leaf.grad[0, [1, 2, 3, 5]] == 0).all()

# %% [markdown]
# The four experts that were not chosen get a gradient of exactly zero. The loss does not tell the router that these
# experts are bad, because it tells the router nothing about them at all. An expert without tokens learns nothing, so it
# stays as useless as it was at the start, and the router has no reason to choose it later. Meanwhile the chosen experts
# keep improving, and the router chooses them even more often.
#
# ## First remedy: an auxiliary loss
#
# The first remedy is a second loss that is higher when the load is uneven. Take one sequence of $T$ tokens. Let $f_i$
# be expert $i$'s share of all choices, multiplied by the number of experts. Let $P_i$ be expert $i$'s mean score, after
# each token's scores have been divided by their sum. The auxiliary loss is $\alpha \sum_i f_i P_i$. If the routing is
# even, this loss equals $\alpha$. It is higher if the busiest experts are also those with high scores. Only $P$ has a
# gradient, because $f$ comes from counting.
#
# We compute it by hand for our token and three others.

# %%
four = torch.tensor([[1.0, 2.0], [1.0, 1.5], [0.5, 2.0], [-1.0, 1.0]])
scores4 = torch.sigmoid(four @ W.T)
chosen4 = route(four, W, torch.zeros(6), 2)[1]
load4 = torch.bincount(chosen4.flatten(), minlength=6)
print("choices", chosen4.tolist())
print("load   ", load4.tolist())


# %%
from minidsk.model.moe import sequence_balance_loss

f = load4 / load4.sum() * 6
P = (scores4 / scores4.sum(1, keepdim=True)).mean(0)
print("f", [round(v, 2) for v in f.tolist()])
print("P", [round(v, 2) for v in P.tolist()])
print(f"sum of f P: {(f * P).sum():.3f} (even routing: 1)")
packages = sequence_balance_loss(scores4, chosen4, alpha=1.0)
balance_difference = abs(packages - (f * P).sum()).item()
assert balance_difference < 1e-6  # the package agrees

# %% [markdown]
# The gradient of this loss reaches even the experts that no token chose. It does so through $P$, because the score of
# every expert is part of the sum by which each token's scores are divided:

# %%
leaf = (four @ W.T).requires_grad_()
sequence_balance_loss(torch.sigmoid(leaf), chosen4, alpha=1.0).backward()
print("mean gradient of each logit:", [round(v, 3) for v in leaf.grad.mean(0).tolist()])

# %% [markdown]
# Gradient descent moves each logit against the sign of its gradient. So it pushes the busy experts 0, 2 and 4 down
# (expert 0, the busiest, the most) and the idle experts up. We now train with this loss added.

# %%
runs["auxiliary loss"] = [judge(*fit(config, seed, balance=0.1)) for seed in SEEDS]
tell(runs["auxiliary loss"])

# %% [markdown]
# The auxiliary loss works, because no expert is idle any more. Its weakness is that its gradients change the same
# weights that should learn to predict text, and $\alpha$ decides how much they interfere.
#
# ## Second remedy: a bias that only affects the choice
#
# DeepSeek-V3 balances its experts without a gradient, by a method of Wang et al. {cite}`wang2024auxfree`. A number
# $b_i$, the bias, is added to each expert's score, **but only for the choice**. After every training step, the bias of
# each expert whose load was above the mean goes down by a fixed amount. The bias of each expert below the mean goes up
# by the same amount, which is called the speed.

# %% tags=["diagram", "hide-input"]
diagram("balancing_by_bias")

# %%
def nudge(bias: torch.Tensor, load: torch.Tensor, speed: float) -> torch.Tensor:
    """bias and load [E] -> the next bias [E]."""
    return bias + speed * torch.sign(load.mean() - load)


bias = nudge(torch.zeros(6), load4.double(), speed=0.1)
print("load", load4.tolist())
print("bias", [round(b, 1) for b in bias.tolist()])

# %% [markdown]
# We route our four tokens with this bias, change the bias again, and repeat this three more times:

# %%
for _ in range(4):
    load = torch.bincount(route(four, W, bias, 2)[1].flatten(), minlength=6).double()
    print(f"bias {[round(b, 1) for b in bias.tolist()]} gives load {load.int().tolist()}, "
          f"MaxVio {max_violation(load):.2f}")
    bias = nudge(bias, load, speed=0.1)

# %% [markdown]
# Experts that no token had chosen get work within a few steps, and no gradient was needed. Because the step is fixed,
# one unusual batch cannot move an expert from one extreme to the other. The price is that each bias keeps moving up and
# down by the speed, even when the load is balanced. With four tokens the load cannot become even, but with thousands it
# nearly can. The package has the same line, and we train with it:

# %%
from minidsk.model.moe import update_bias

bias_difference = (update_bias(bias, load, 0.1) - nudge(bias, load, 0.1)).abs().max().item()
assert bias_difference == 0
runs["bias"] = [judge(*fit(config, seed, speed=0.01)) for seed in SEEDS]
tell(runs["bias"])

# %% [markdown]
# ## Without balancing the same experts stay busy
#
# The figure below shows seed 0 with each way of balancing. Switch between the three ways, and drag the slider through
# the training steps. The bars on the right show each expert's load at the chosen step.
#
# Without balancing, from step 10 until the end, the two longest bars nearly always belong to experts 0 and 13. With the
# bias, single experts also become overloaded, such as expert 1 around step 12 and expert 9 around step 40. Each time
# the bias brings the load down again, and at the end the busiest expert has 1.4 times its share.

# %% tags=["widget"]
from minidsk.widgets import Routing

Routing({name: of[0]["loads"][::2].tolist() for name, of in runs.items()},
        steps=range(0, STEPS, 2))

# %% [markdown]
# ## What idle experts cost: no loss that we can measure
#
# The loss differs from seed to seed for reasons that have nothing to do with balance. We therefore compare runs with
# the same seed, which share their initial weights and batches. From the loss of each way we subtract the loss of *none*
# (no balancing), seed by seed. We report the mean of the three differences with its 95 % interval (from Student's t
# distribution). If that interval contains zero, three seeds cannot show a difference.

# %% tags=["hide-input"]
def losses(name):
    return [run["loss"] for run in runs[name]]


def compared(names, control):
    rows = []
    for name in names:
        middle, half = apart(losses(name), losses(control))
        idle, maxvio = (f"{mean(run[key] for run in runs[name]):{how}}"
                        if key in runs[name][0] else "-"
                        for key, how in (("idle", ".1f"), ("maxvio", ".2f")))
        rows += [[name, idle, maxvio, f"{mean(losses(name)):.3f}",
                  "-" if name == control else f"{middle:+.3f} ± {half:.3f}"]]
    return table(["", "idle experts", "MaxVio", "loss", f"loss minus {control}"], rows,
                 "Means of three seeds on the validation pages. Losses in nats per token.")


compared(runs, "none")

# %% [markdown]
# The last column answers the second opening question. Both remedies put every expert to work, and both intervals of
# the loss difference contain zero. **In this run we cannot show that idle experts cost any loss at all.** We think the
# reason is that the model is so small and so briefly trained that a few experts are enough for what it learns.
#
# Balancing is still needed, because in a large model the experts live on different devices. A layer is finished only
# when its busiest expert is finished. Suppose that each expert has a device of its own. If the busiest expert has 4 fair
# shares of the tokens, the layer takes 4 times as long as with an even load. This factor is $1 + \text{MaxVio}$:

# %% tags=["figure", "hide-input"]
def fair_shares(run):
    """The busiest expert's load in each block of ten steps."""
    return [1 + max_violation(part.sum(0)).item() for part in run["loads"].split(10)]


waits = {name: torch.tensor([fair_shares(run) for run in of]).mean(0).tolist()
         for name, of in runs.items()}
fig, ax = plt.subplots(figsize=(7.5, 3.2))
for name, wait in waits.items():
    _ = ax.plot(range(10, STEPS + 1, 10), wait, marker="o", label=name)
_ = ax.axhline(1, color="gray", linestyle="--")
_ = ax.set(xlabel="training step", ylabel="busiest expert, in fair shares", ylim=(0.8, None))
direct_labels(ax)
show(fig,
     f"Without balancing the busiest expert ends with {waits['none'][-1]:.1f} fair shares, so "
     f"a layer with one expert per device takes {waits['none'][-1]:.1f} times as long as an "
     f"even one (dashed). With the bias it rises to {max(waits['bias']):.1f} before the bias "
     f"has moved far enough, and ends with {waits['bias'][-1]:.1f}.",
     "Lines over 80 training steps, the mean of three seeds, in fair shares at the first and "
     "the last ten steps: "
     + "; ".join(f"{name} {wait[0]:.1f} and {wait[-1]:.1f}" for name, wait in waits.items()))

# %% [markdown]
# This cost is there from the first step of training. The other cost is that idle experts hold weights which never
# learn. We expect it to show only when a model is trained long enough to need all its weights.
#
# ## A bug that the loss does not show
#
# The bias should affect only the choice of experts. It is easy to let it leak into the weights as well, because the
# code with the mistake is one line shorter:

# %%
def leaky(x, weight, bias, k):
    """The bias leaks: the weights come from the biased scores."""
    weights, chosen = (torch.sigmoid(x @ weight.T) + bias).topk(k)
    return weights / weights.sum(-1, keepdim=True), chosen


small = torch.tensor([-0.1, 0, 0, 0, 0, 0])
for router in (route, leaky):
    w, e = router(x, W, small, 2)
    print(f"{router.__name__:6}",
          {int(i): round(float(v), 3) for i, v in zip(e[0], w[0], strict=True)})

# %% [markdown]
# Both routers choose the same experts, but the weight of expert 0 falls from 0.519 to less than a half. The bias was
# meant to say only *where* the token goes. With the bug it also says *how much* of each output the token takes. To see
# whether the loss notices, we train three seeds with the leak.

# %%
from types import MethodType


def leaking(router, scores):
    weights, chosen = (scores + router.e_score_correction_bias).topk(2)
    return weights / weights.sum(-1, keepdim=True), chosen


def plant(model):
    gate = model.layers[1].mlp.gate
    gate.choose = MethodType(leaking, gate)


runs["leaky bias"] = [judge(*fit(config, seed, speed=0.01, prepare=plant)) for seed in SEEDS]
compared(("bias", "leaky bias"), control="bias")

# %% [markdown]
# Nothing in this table reveals the bug. The experts are balanced, and the interval of the loss difference contains
# zero. Only a test of the weights themselves catches the bug, as this one does:

# %%
def weights_ignore_the_bias(router):
    """A constant added to every bias changes neither choice nor weights."""
    plain, shifted = (router(x, W, torch.full((6,), b), 2)[0] for b in (0.0, 5.0))
    became = f"weights {plain[0].tolist()} became {shifted[0].tolist()}"
    assert torch.allclose(plain, shifted), became


weights_ignore_the_bias(route)
try:
    weights_ignore_the_bias(leaky)
    raise RuntimeError("the test let the bug through")
except AssertionError:
    print("route passes; leaky is caught")

# %% [markdown]
# ## Dense, finer, nothing shared: no measurable difference
#
# A fair comparison needs a dense model, one without experts, whose training costs as many FLOPs (arithmetic operations)
# per token. `minidsk.scale.cost` counts them, and we search for the width that comes closest.
#
# We also cut the mixture's weights in two other ways, both with the bias. *Finer* has twice as many routed experts of
# half the width, uses the best four, and keeps the shared part as wide as before. *No shared* has 17 routed experts,
# uses three of them, and has no shared expert.

# %%
from minidsk.scale.cost import training_flops


def cost(config):
    return training_flops(config, context=CONTEXT / 2)


widths = (config.replace(n_routed_experts=0, intermediate_size=width)
          for width in range(24, 400))
dense = min(widths, key=lambda c: abs(cost(c) - cost(config)))
print(f"mixture {cost(config) / 1e6:.4f} MFLOP per token, {parameters(config):,} weights")
print(f"dense   {cost(dense) / 1e6:.4f} MFLOP per token, {parameters(dense):,} weights")


# %%
shapes = {
    "dense": dense,
    "finer": config.replace(n_routed_experts=32, moe_intermediate_size=12,
                            num_experts_per_tok=4, n_shared_experts=2),
    "no shared": config.replace(n_routed_experts=17, num_experts_per_tok=3,
                                n_shared_experts=0),
}  # fmt: skip
for name, shape in shapes.items():
    assert abs(cost(shape) / cost(config) - 1) < 0.02
    runs[name] = [judge(*fit(shape, seed, speed=0.01)) for seed in SEEDS]
compared(("bias", *shapes), control="bias")

# %% [markdown]
# All intervals contain zero. The mixture has twice the weights of the dense model at the same cost per token, but three
# seeds show no gain in loss. One reason may be that each expert sees only an eighth of the tokens of a short run, so
# the additional weights have had little training. DeepSeekMoE reports gains from finer and from shared experts at 2
# billion weights {cite}`deepseekmoe`. Our model, with a hundred thousand, is far too small to confirm or contradict
# that.
#
# ## Groups limit how many machines a token visits
#
# Suppose 256 experts are spread over the 8 nodes (machines) of a cluster. A token that chooses 8 experts is sent to
# every node that holds one of them, and the network between nodes is slow. How many nodes does such a token visit if it
# chooses its experts at random? Please guess:

# %% tags=["prediction", "hide-input"]
nodes = predict("moe.nodes", "How many of 8 nodes does a token visit that picks 8 of 256 "
                "experts at random?",
                guess=None, example=8, scale="difference", tolerance=4)
nodes

# %% [markdown]
# We can count the visits with the package's router. We use V3's sizes and random scores, and divide the experts into
# $n_\text{group} = 8$ groups, one per node. Then we limit each token to 8 groups (no limit), 4, 2 or 1.

# %%
from minidsk.model.moe import Router

some = torch.rand(4096, 256, generator=torch.Generator().manual_seed(0))


def nodes_visited(topk_group):
    router = Router(v3.replace(hidden_size=8, topk_group=topk_group))
    node = router.choose(some)[1] // 32
    return F.one_hot(node, 8).amax(1).sum(1).float()


visited = {limit: nodes_visited(limit) for limit in (8, 4, 2, 1)}
nodes.reveal(visited[8].mean())

# %% tags=["hide-output"]
for limit, count in visited.items():
    print(f"{limit} of 8 nodes allowed: {count.mean():.2f} visited on average, "
          f"{int(count.max())} at most")
exact = 8 * (1 - math.comb(224, 8) / math.comb(256, 8))
print(f"no limit, by combinatorics: {exact:.2f}")
assert abs(visited[8].mean() - exact) < 0.05

# %% [markdown]
# The folded output has the visits under each limit, and the first number by combinatorics.
# **Group-limited routing** keeps the number of visits small. The router first chooses groups, and then chooses experts
# inside these groups only. The score of a group is the sum of its *two* best biased scores, so one strong expert among
# weak ones is not enough for its group to win. We try it on our token with its six experts, in three groups of two, and
# allow one group:

# %%
def group_limited(scores: torch.Tensor, bias: torch.Tensor, groups: int,
                  kept: int) -> torch.Tensor:
    """Biased scores [N, E], with -inf in all groups but the `kept` best."""
    grouped = (scores + bias).unflatten(1, (groups, -1))
    best = grouped.topk(2).values.sum(-1).topk(kept).indices
    dropped = torch.ones(grouped.shape[:2], dtype=torch.bool).scatter(1, best, False)
    return grouped.masked_fill(dropped[..., None], -math.inf).flatten(1)


left = group_limited(scores, torch.zeros(6), groups=3, kept=1)
print("group scores", [round(v, 2) for v in scores.unflatten(1, (3, 2)).sum(-1)[0].tolist()])
print("left        ", [round(v, 2) for v in left[0].tolist()])

# %% tags=["diagram", "hide-input"]
diagram("routing")

# %% [markdown]
# Experts 0 and 4 are the best two of all, but the token cannot reach either of them, because each shares its group with
# a weak expert. The token goes to experts 2 and 3. The same happens in the figure, with 16 experts in four groups. There
# too, the best single expert is lost.
#
# The router sets the scores of all other groups to $-\infty$ and not
# to 0. After some training the biases can make every remaining score negative, and then a 0 would win.

# %%
limited = Router(config.replace(n_routed_experts=256, num_experts_per_tok=8, n_group=8,
                                topk_group=4))
theirs = limited.choose(some)[1].sort(-1).values
ours = group_limited(some, torch.zeros(256), 8, 4).topk(8).indices.sort(-1).values
assert torch.equal(ours, theirs)
print("all", len(ours), "tokens choose the same experts in the package's router")

# %% [markdown]
# On a single GPU there are no nodes, so a group limit only takes choices away from the router and cannot pay.
#
# ## A larger model on a GPU: deeper collapse, the same open question
#
# The larger model has 4 layers, width 256, and 64 routed experts, of which each token uses four, besides one shared
# expert. It trained for 1,200 steps of 8,192 tokens on a harder tiny web, with three seeds. We recorded it once with
# the command below, and the next cells only read the record.

# %% tags=["hide-input"]
def by_method(metrics):
    """The runs of each method that has all three seeds."""
    names = dict.fromkeys(run["method"] for run in metrics["runs"])
    by = {name: [run for run in metrics["runs"] if run["method"] == name] for name in names}
    return {name: of for name, of in by.items() if len(of) == 3}


def versus_none(by, name):
    return apart(*([run["loss"] for run in by[key]] for key in (name, "none")))


def recorded(metrics, caption):
    by, rows = by_method(metrics), []
    for name, of in by.items():
        idle, maxvio = (f"{mean(run[key] for run in of):{how}}" if key in of[0] else "-"
                        for key, how in (("idle", ".0%"), ("max_violation", ".2f")))
        middle, half = versus_none(by, name)
        rows += [[name, f"{of[0]['parameters'] / 1e6:.1f} M", idle, maxvio,
                  f"{mean(run['loss'] for run in of):.3f}",
                  "-" if name == "none" else f"{middle:+.3f} ± {half:.3f}"]]
    return table(["", "weights", "idle", "MaxVio", "loss", "loss minus none"], rows, caption)


record = results.read("ch03_balance")
print(results.origin("ch03_balance"))
recorded(record, "1,200 steps on a GPU, means of three seeds. Losses in nats per token.")

# %% tags=["figure", "hide-input"]
gpu = by_method(record)
drawn = {name: versus_none(gpu, name) for name in gpu if name != "none"}
fig, ax = plt.subplots(figsize=(7.5, 2.6))
for y, (middle, half) in enumerate(drawn.values()):
    _ = ax.errorbar(middle, y, xerr=half, fmt="o", color="C0", capsize=4, lw=2, markersize=7)
_ = ax.set_yticks(range(len(drawn)), drawn)
_ = ax.set_ylim(3.5, -0.5)
_ = ax.axvline(0, color="gray", linestyle="--")
_ = ax.set(xlabel="loss minus that without balancing, nats per token")
clear = sum(abs(middle) > half for middle, half in drawn.values())
show(fig,
     "Mean and 95 % interval over three seeds. Every interval contains zero, so none of the "
     "ways is shown to be better or worse than no balancing.",
     "Four points with intervals along a line of loss differences: "
     + "; ".join(f"{name} {middle:+.3f} ± {half:.3f}"
                 for name, (middle, half) in drawn.items()) + " nats per token.")
assert clear == 0

# %% [markdown]
# - **The collapse is deeper here, and it lasts.** Without balancing, nearly two thirds of the 64 experts are idle at
#   the end, and the busiest one does twelve times its fair share. All remedies fix this, and V3's own speed of 0.001
#   leaves only a few experts idle.
# - **Idle experts may cost some loss here.** With the bias, at either speed, the final loss is lower than without
#   balancing on each of the three seeds, but the intervals still contain zero.
# - **The comparison of dense model and mixture is undecided,** because the interval of their difference is wide.
#
# How many seeds would decide between mixture and dense model, and how much more time did the mixture take?

# %%
a, b = gpu["dense, equal FLOPs"], gpu["bias 0.01"]
spread = stdev([x["loss"] - y["loss"] for x, y in zip(a, b, strict=True)])
print(f"spread of the paired difference dense minus bias 0.01: {spread:.3f} nats")
print(f"seeds needed to see a difference of 0.02: about {(2 * spread / 0.02) ** 2:.0f}")
slower = mean(x["seconds"] for x in b) / mean(x["seconds"] for x in a)
print(f"at equal FLOPs the mixture took {slower:.1f} times as long")

# %% [markdown]
# The ratio of the times is rough, because four runs shared the GPU. The mixture is slower at equal FLOPs because it
# also sorts and gathers rows, and because many narrow products use a GPU less well than a few wide ones. [Chapter 08](08_expert_kernels.ipynb) is
# about that.
#
# ## What DeepSeek did
#
# DeepSeek-V3 {cite}`deepseekv3` describes its layer in section 2.1.2, equations 12 to 16. For token $t$ with input
# $u_t$ and expert centroids $e_i$:
#
# $$ s_{i,t} = \sigma(u_t^\top e_i), \qquad
# g'_{i,t} = \begin{cases} s_{i,t} & s_{i,t} + b_i \in \mathrm{TopK}(\{s_{j,t} + b_j\}, K) \\ 0 & \text{otherwise} \end{cases},
# \qquad g_{i,t} = \frac{g'_{i,t}}{\sum_j g'_{j,t}}, $$
#
# $$ h'_t = u_t + \sum_{i=1}^{N_s} \mathrm{FFN}^{(s)}_i(u_t) + \sum_{i=1}^{N_r} g_{i,t}\, \mathrm{FFN}^{(r)}_i(u_t). $$
#
# The bias $b_i$ appears in the condition but not in the value $s_{i,t}$. This is the whole trick, and the leaky router
# above breaks exactly this rule.
#
# In V3, 58 of the 61 layers are mixtures. Each has $N_r = 256$ routed experts of width 2048, of which a token uses $K =
# 8$, and $N_s = 1$ shared expert. The routed experts form 8 groups, of which a token may use 4, and the weights are
# multiplied by 2.5. The bias moves by 0.001 per step for the first 14.3 trillion tokens and stays fixed for the last
# 500 billion. V3 drops no tokens, and it keeps a sequence-wise auxiliary loss with $\alpha = 0.0001$ to prevent single
# sequences from overloading one expert.
#
# DeepSeek reports (section 4.5.2) that the bias did better than an auxiliary loss alone on most benchmarks, in models
# of 15.7 and 228.7 billion weights. Our larger model is more than a thousand times smaller than the smaller of these
# two, and our intervals neither confirm nor contradict the report.

# %% [markdown]
# ## What went wrong, or did not help
#
# Our first recording of the larger model had only 300 steps, but more ways of balancing:

# %% tags=["hide-input"]
print(results.origin("ch03_balance_300"))
recorded(results.read("ch03_balance_300"),
         "300 steps on a GPU, means of three seeds. Losses in nats per token.")

# %% [markdown]
# **V3's own bias speed of 0.001 failed at first.** A bias that moves by 0.001 per step can reach at most 0.3 in 300
# steps, and this was not enough to reverse the collapse. The row *both* combines V3's two constants, the speed and its
# $\alpha$. It left fewer experts idle, but MaxVio stayed above 5. V3 itself trained for hundreds of
# thousands of steps, and with our later 1,200 steps the same speed does work. What matters is the speed multiplied by
# the number of steps, so a constant from a long run may not suit a short one.
#
# **A speed of 0.1 is too high.** It is the last row of the table, and the only one whose interval of the loss does not
# contain zero: its loss is higher than without balancing.
#
# Why is its MaxVio above 5 although the bias keeps correcting? The scores lie between 0 and 1, so one step of 0.1 moves
# an expert past many others. We train our small model at this speed and at the tenth of it, and follow one expert:

# %%
followed = {speed: fit(config, 0, speed=speed)[1] for speed in (0.1, 0.01)}
followed = {speed: 16 * load[-24:, 15] / load[-24:].sum(1) for speed, load in followed.items()}

# %% tags=["figure", "hide-input"]
jumps = {speed: load.diff().abs().mean().item() for speed, load in followed.items()}
fig, ax = plt.subplots(figsize=(7.5, 3))
for speed, load in followed.items():
    _ = ax.plot(range(STEPS - 23, STEPS + 1), load, marker="o", label=f"bias {speed}")
_ = ax.axhline(1, color="gray", linestyle="--")
_ = ax.set(xlabel="training step", ylabel="load of expert 15, in fair shares",
           ylim=(-0.1, None))
direct_labels(ax)
show(fig,
     f"At a speed of 0.1 the load jumps by {jumps[0.1]:.1f} fair shares from one step to the "
     f"next: idle, overloaded, idle again. At 0.01 it changes by {jumps[0.01]:.1f}.",
     "Two lines over the last 24 steps, seed 0. With 0.1 the load of expert 15 lies between "
     f"{followed[0.1].min():.1f} and {followed[0.1].max():.1f} fair shares, with 0.01 between "
     f"{followed[0.01].min():.1f} and {followed[0.01].max():.1f}.")
assert jumps[0.1] > 2 * jumps[0.01]

# %% [markdown]
# **What does not pay at this size:**
#
# - We could not show that balancing lowers the loss. It pays once the experts live on several devices.
# - The mixture runs more slowly, and at equal FLOPs neither the CPU runs nor the GPU runs show that its loss is better
#   or worse than the dense model's.
# - More weights did not help by themselves. The *dense* model with as many weights as the mixture costs five times the
#   FLOPs and was not better in the short recording. We think the web is too small and the runs are too short for more
#   weights to matter.
# - Finer experts and a shared expert made no difference that three seeds could show.
# - Group limits only take choices away on a single device. We did not train with them on the GPU.
#
# Our model keeps its experts all the same, because we want to build all of DeepSeek's architecture and the price is
# small. The evidence for mixtures comes from models a thousand times larger than ours.
#
# ## Exercises
#
# ```{exercise} The router, whole
# :label: ex-03-router
#
# *20 minutes.* Write the complete router with bias, groups, normalisation and scale, by the signature that the next
# cell prints. `check("moe.router", my_router)` recognises ten mistakes and names the one you made.
#
# **Hint.** For one token, print the scores, the biased scores, the group scores, the choice and the weights, in this
# order. You have all the pieces in `route` and `group_limited`. To warm up, write `nudge` again without looking, and
# give it to `check("moe.update_bias", ...)`.
# ```

# %%
print(describe("moe.router"))


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

# ```{exercise} The balance loss of a batch
# :label: ex-03-balance
#
# *10 minutes.* Write `sequence_balance_loss(scores, indices, alpha)` for scores `[B, T, E]` and indices `[B, T, K]`.
# Compute f and P for each sequence separately, and average over the batch at the end.
#
# **Hint.** `F.one_hot` turns the indices into something that you can average. As a check, find out what f is when the
# load is even.
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
# *10 minutes.* Set `num_experts_per_tok=1` and leave `norm_topk_prob=True`. What is the gradient of the language loss
# with respect to the router's weight? Decide before you print it.
#
# **Hint.** The normalised weight of the only chosen expert is its score divided by itself.
# ```

# %% [markdown]
# ```{solution-start} ex-03-top1
# :class: dropdown
# ```

# %%
for norm in (True, False):
    top1 = config.replace(num_experts_per_tok=1, norm_topk_prob=norm)
    one = MiniDeepSeek(top1, torch.Generator().manual_seed(0)).double()
    out = one(held_out[:8, :-1])
    F.cross_entropy(out.logits.flatten(0, 1), held_out[:8, 1:].flatten()).backward()
    size = one.layers[1].mlp.gate.weight.grad.abs().max().item()
    shown = "0 or rounding" if size < 1e-12 else f"{size:.1g}"
    print(f"normalised {norm!s:5}: largest gradient of the router {shown}")

# %% [markdown]
# The weight of the only chosen expert is 1 whatever its score is, so the router learns nothing at all from the loss. A
# model with one expert per token must therefore not normalise the weights, and Switch {cite}`fedus2021switch` does not.
#
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong routers, and the leaky one is among them. Write tests that pass on the right router
# and fail on all three wrong ones. A bug's name appears once a test has caught it:
# `zoo("moe", [your_test, ...])`. The folded cell below holds three tests that catch all of them. Try to do it with
# fewer.

# %% tags=["zoo", "hide-cell"]
def bias_stays_out_of_the_weights(router):
    plain, shifted = (router(x, W, torch.full((6,), b), 2, 1, 1, True, 1.0)[0]
                      for b in (0.0, 5.0))
    assert torch.allclose(plain.sort().values, shifted.sort().values, atol=1e-5)


def raw_weights_are_sigmoids(router):
    raw = router(x, W, torch.zeros(6), 2, 1, 1, False, 1.0)[0]
    assert torch.allclose(raw.sort().values, torch.sigmoid(torch.tensor([[1.5, 2.0]])),
                          atol=1e-5)


def one_group_means_one_group(router):
    chosen = router(x, W, torch.zeros(6), 2, 3, 1, True, 1.0)[1]
    assert sorted(chosen[0].tolist()) == [2, 3]


caught = zoo("moe", [bias_stays_out_of_the_weights, raw_weights_are_sigmoids,
                     one_group_means_one_group])
assert caught
caught

# %% [markdown]
# ## Both answers, and the receipt
#
# Two numbers from the runs above answer the opening question, and the receipt says what they cost:

# %% tags=["receipt"]
middle, half = apart(losses("none"), losses("bias"))
print(f"idle without balancing: {idle:.1f} of 16; with the bias: "
      f"{mean(run['idle'] for run in runs['bias']):.1f}")
print(f"what the idle ones cost: {middle:+.3f} ± {half:.3f} nats per token")
assert 1 <= idle <= 6
assert abs(middle) < half
receipt(
    spread={f"validation loss, {name}": [run["loss"] for run in of]
            for name, of in runs.items()},
    differences={"naive and package": (difference, 1e-12),
                 "balance loss": (balance_difference, 1e-6), "bias": (bias_difference, 0)},
)

# %% [markdown]
# ## Summary
#
# Trained on the loss alone, our small model leaves **3.7 of its 16 experts** idle (the mean of three seeds), and the
# larger one more than half of its 64. **The idle experts cost +0.009 ± 0.096 nats per token,** so three seeds can show
# no cost at all. In the longer runs balancing lowers the mean loss, but there too every interval contains zero. Idle
# experts do cost time once each expert has a device of its own, because every layer then waits for its busiest expert.
# A bias that affects only the choice puts all experts to work at no loss that we could measure, if its speed is right.
#
# - I can now follow one token through a router by hand, with and without bias and groups.
# - I can now explain why training on the loss alone leaves experts without tokens, and show the gradient that is zero.
# - I can now balance a mixture in two ways, measure it by MaxVio, and say what it costs and brings.
# - I can now find a leaking bias with a test, although the loss does not show it.
#
# ## Read on
#
# - DeepSeekMoE {cite}`deepseekmoe`, sections 3.1 and 3.2, has fine-grained and shared experts and what each adds at 2
#   billion weights.
# - Wang et al. {cite}`wang2024auxfree` introduce the bias and MaxVio, and show how an auxiliary loss disturbs.
# - The beginnings are sparsely-gated experts {cite}`shazeer2017moe`, GShard {cite}`lepikhin2020gshard` and Switch
#   {cite}`fedus2021switch`.
# - [Chapter 04](04_multi_token_prediction.ipynb) lets the model predict further ahead than the next token, and [chapter 08](08_expert_kernels.ipynb) writes the sorted product as a
#   GPU kernel.
