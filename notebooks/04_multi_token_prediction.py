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
# # Multi-token prediction
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/04_multi_token_prediction.ipynb)
#
# At every token of its training, DeepSeek-V3 answered two questions: which token comes next, and which token comes after that one. The second answer costs an extra layer and an extra softmax, and the finished model can run without it. So why train it? People often say that a second prediction makes the prediction of the next token better, and training cheaper. How much better does it become, what does that cost, and is the second prediction good for anything?
#
# - **You will build** a head that predicts one token further ahead. You will see the simplest version fail at an easy task, fix it, and measure what the fixed version gains and costs.
# - **You need** PyTorch, and a rough idea of a transformer's block (chapters [02](02_latent_attention.ipynb) and [03](03_mixture_of_experts.ipynb)).
# - **It takes** an hour to read, and the code runs in about 30 s on two CPU cores of a laptop, and in about twice that on Colab's two cores. A GPU is no faster, because the models are too small.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import math
import re
import time
from itertools import pairwise
from statistics import fmean

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from minidsk import MiniDeepSeek, ModelConfig, results
from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.infer.evaluate import evaluate
from minidsk.model.mtp import mtp_loss
from minidsk.model.rope import rotation
from minidsk.report.interval import interval
from minidsk.rl.policy import MiniPolicy
from minidsk.scale.cost import training_flops
from minidsk.tasks.countdown import Countdown
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step

plt.style.use("minidsk.diagrams.look")
_ = torch.set_default_dtype(torch.float64)  # 16 digits: other processors give the same numbers

# %% [markdown]
# ## A second head on the same state fails
#
# We begin with a text whose answers we know. It has sixteen questions, the letters `a` to `p`, and each is always followed by its own answer, a capital letter. Which question comes next is drawn at random. So every second token is certain, and no model can name the other tokens more often than one time in sixteen.

# %%
key = torch.randperm(16, generator=torch.Generator().manual_seed(0))

def pairs(rows, seed):
    """Questions 0 to 15, each followed by its answer 16 to 31; int64 [rows, 34]."""
    asked = torch.randint(16, (rows, 17), generator=torch.Generator().manual_seed(seed))
    return torch.stack((asked, 16 + key[asked]), dim=-1).flatten(1)

print("".join("abcdefghijklmnopABCDEFGHIJKLMNOP"[i] for i in pairs(1, seed=1)[0]))

# %% [markdown]
# The obvious way to predict further ahead is a second head. The main head reads the hidden state of position $i$ and predicts token $i+1$. The second head reads the same state and predicts token $i+2$ {cite}`gloeckle2024mtp`.
#
# The main head will learn all the answers. Which share of the answers will the second head get right? Guess before you read on, and type a number into the box. (In your own notebook, replace `None` with it.)

# %% tags=["prediction", "hide-input"]
guess = None
on_answers = predict(
    "mtp.parallel",
    "Which share of the answers does a second head on the same state get right?",
    guess, example=0.5, scale="difference", tolerance=0.5,
)
on_answers

# %% tags=["naive"]
class TwoHeads(nn.Module):
    """The model, and a second linear head that guesses the token after next from its state."""

    def __init__(self, config, seed=0):
        super().__init__()
        self.main = MiniDeepSeek(config, torch.Generator().manual_seed(seed))
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        g = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.head.weight, std=0.02, generator=g)

    def forward(self, ids):
        out = self.main(ids)
        return out.logits, self.head(out.hidden[:, :-1])  # no token follows the last guess

# %%
def fit(model, loss_of, steps=100, lr=1e-2):
    """Train on fresh pairs; the curve of the loss of the further head."""
    optimizer, curve = torch.optim.AdamW(model.parameters(), lr), []
    for step in range(steps):
        loss, further = loss_of(model, pairs(16, seed=1000 + step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(further.item())
    return curve

# %%
def nats(logits, targets):
    """Mean cross-entropy; logits [B, T, V], targets [B, T]."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

def two_losses(model, ids):
    logits, second = model(ids[:, :-1])
    further = nats(second, ids[:, 2:])
    return nats(logits, ids[:, 1:]) + 0.3 * further, further

# %%
tiny = ModelConfig(
    vocab_size=32, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
    kv_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16,
    intermediate_size=64, n_routed_experts=0,
)
side_by_side = TwoHeads(tiny)
curve_parallel = fit(side_by_side, two_losses)

# %%
fresh = pairs(256, seed=7)

def right(guesses, ids):
    """The share of right guesses of the text's last tokens: answers, and questions."""
    targets = ids[:, -guesses.shape[1]:]
    hit, is_answer = guesses == targets, targets >= 16
    return [hit[is_answer].float().mean().item(), hit[~is_answer].float().mean().item()]

logits, second = (x.argmax(-1) for x in side_by_side(fresh[:, :-1]))
on_answers.reveal(right(second, fresh)[0])

# %% tags=["hide-input"]
table(["", "answers", "questions"],
      [[name, *(f"{share:.2f}" for share in right(guesses, fresh))]
       for name, guesses in (("main head", logits), ("second head", second))],
      "The share of tokens that each head gets right")  # fmt: skip

# %% [markdown]
# The second head fails at a task that the main head solves perfectly. Its task is impossible: at the answer to one question it must name the answer to the *next* question, and that question has not been drawn yet. Token $i+2$ depends on token $i+1$, and this head must guess both at once.
#
# Language is full of such cases. After `7+5=1` the next token is certain. At `7+5` no model can know which token follows the `=` unless it assumes that the `=` comes first.
#
# ## The idea, small and slow
#
# The remedy is to let the head see token $i+1$. During training this token is in the text anyway, and when the model writes, the main head has just chosen it. DeepSeek's module of depth 1 combines two things at position $i$: the main model's hidden state $h_i$ and the embedding of token $i+1$. It normalises each of them, a matrix maps both together back to the model's width, and one ordinary transformer block follows. The module uses the main model's own embedding and output head.
#
# The figure shows this module, and a second one after it. Below the figure, a table does the same for our example of six tokens, `7+5=12`. Left of each arrow are the tokens that a depth sees at a position, and right of it is the token that it must predict.

# %% tags=["diagram", "hide-input"]
diagram("mtp")

# %% tags=["hide-input"]
sum_text = "7+5=12"
seen = [f"{sum_text[:end]} → {sum_text[end]}" for end in range(1, 6)] + ["", ""]
table(["position", "depth 0", "depth 1", "depth 2"],
      [[str(i), *seen[i : i + 3]] for i in range(5)],
      "Which tokens each depth sees, and which it must predict")  # fmt: skip

# %% [markdown]
# Depth 0 is the main head, and depth $k$ is module $k$. Each further depth sees one more token and predicts one token further ahead, so it has one position fewer. Depth 2 works on the states of depth 1 rather than on those of the main model. So the modules form a chain, in which each link is one step ahead of the link before it.
#
# We first write one depth by hand, one position at a time:

# %% tags=["naive"]
def rms(x):
    """RMSNorm without its weight."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

def look_ahead(module, hidden, embedding, turn):
    """One depth: hidden and embedding [B, T - k, H] to the next depth's hidden states.

    turn: the rotation of queries and keys by their positions (RoPE, chapter 02)."""
    left, right = module.eh_proj.weight.chunk(2, dim=1)  # for the embedding, for the state
    states = []
    for h, e in zip(hidden.unbind(1), embedding.unbind(1), strict=True):
        h, e = rms(h) * module.hnorm.weight, rms(e) * module.enorm.weight
        states.append(e @ left.T + h @ right.T)
    x, _ = module.block(torch.stack(states, 1), turn)
    return rms(x) * module.norm.weight

# %% [markdown]
# ## The same, from the package
#
# `minidsk.model.mtp.MTPModule` contains the same lines, with the two products joined into one. `MiniDeepSeek` makes `num_nextn_predict_layers` such modules and returns their predictions as `out.mtp_logits`. We compare three depths with three calls of our function, in float64:

# %% tags=["agree"]
three = tiny.replace(num_nextn_predict_layers=3)
deep = MiniDeepSeek(three, torch.Generator().manual_seed(1)).double()
ids = fresh[:4, :12]
out = deep(ids)
hidden, difference = out.hidden, 0.0
turn = rotation(torch.arange(12)[None], deep.frequencies)
for k, module in enumerate(deep.mtp, start=1):
    shifted = tuple(t[:, k:] for t in turn)
    hidden = look_ahead(module, hidden[:, :-1], deep.embed_tokens(ids[:, k:]), shifted)
    away = (deep.lm_head(hidden) - out.mtp_logits[k - 1]).abs().max().item()
    difference = max(difference, away)
assert difference < 1e-12
print("largest difference, three depths: below 1e-12")

# %% [markdown]
# ### Which tokens a depth may see
#
# A head that predicts further ahead can go wrong in a way that no error message reports: it may see the very token that it should predict. We can test for this by changing one of the six tokens and recording which logits change.

# %%
def heads(model, ids):
    out = model(ids)
    return [out.logits, *out.mtp_logits]

def moved(model, ids):
    """For each head, who notices: [token changed, position], True where the logits moved."""
    before, grids = heads(model, ids), []
    for j in range(ids.shape[1]):
        other = ids.clone()
        other[:, j] = (ids[:, j] + 1) % 16
        pairs_of_logits = zip(before, heads(model, other), strict=True)
        grids.append([(a - b).abs().amax((0, 2)) > 1e-12 for a, b in pairs_of_logits])
    return [torch.stack(grid) for grid in zip(*grids, strict=True)]

with torch.no_grad():
    grids = moved(deep, torch.tensor([[7, 10, 5, 11, 1, 2]]))[:3]

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.3), sharey=True)
for depth, (ax, grid) in enumerate(zip(axes, grids[:2], strict=True)):
    j, i = grid.nonzero().T.tolist()
    _ = ax.bar(i, 0.9, 0.9, bottom=[row - 0.45 for row in j])
    for i in range(5 - depth):
        _ = ax.text(i, i + 1 + depth, "?", ha="center", va="center", color="C1",
                    weight="bold", fontsize=14)  # fmt: skip
    _ = ax.set(title=f"depth {depth}", xlabel="position", xticks=range(grid.shape[1]),
               yticks=range(6), yticklabels=sum_text, ylim=(5.6, -0.6),
               xlim=(-0.6, 5.6))  # fmt: skip
    ax.grid(visible=False)
_ = axes[0].set_ylabel("token that is changed")
moves = [grid[3].nonzero().flatten().tolist() for grid in grids]
show(fig, "Each position notices every token up to the one before its target (?), none after.",
     "Two panels, a column per position, a row per token of 7+5=12. A field is filled where "
     "changing the token moves the logits at the position. Changing '=' (token 3) moves "
     f"positions {moves[0]} of depth 0 and {moves[1]} of depth 1.")  # fmt: skip

# %% [markdown]
# Each blue field marks a position whose logits change. The `?` marks the token that the position must predict. At both depths the `?` lies just below the blue fields. So each position sees everything up to the token before its target, and nothing further. The next cell checks this rule for every field, and for depth 2 as well.

# %%
for depth, grid in enumerate(grids):
    j, i = torch.meshgrid(torch.arange(6), torch.arange(grid.shape[1]), indexing="ij")
    assert torch.equal(grid, j <= i + depth)
print("position i of depth k notices token j exactly where j <= i + k")
print("its target is token i + k + 1")

# %% [markdown]
# ### The loss by hand
#
# The text `7+5=12` has five targets, `+5=12`. Suppose that every head gives each right token a probability of one half, as if it tossed a coin. Then each target costs $\ln 2 = 0.6931$ nats, the unit of a loss with natural logarithms. The main head has five targets, depth 1 has four and depth 2 has three. DeepSeek divides the sum of every depth by the same five, takes the mean over the depths, and multiplies it by a weight $\lambda$, here 0.3:

# %%
coin = math.log(2)
depth_1, depth_2 = 4 * coin / 5, 3 * coin / 5
by_hand = 0.3 / 2 * (depth_1 + depth_2)
print(f"depth 1: {depth_1:.4f}   depth 2: {depth_2:.4f}   loss: {by_hand:.4f} nats")

# %%
coins = [torch.zeros(1, 5 - k, 2) for k in (1, 2)]  # two equal logits each
packaged = mtp_loss(coins, torch.zeros(1, 5, dtype=torch.long), weight=0.3).item()
loss_difference = abs(packaged - by_hand)
assert loss_difference < 1e-6
print("the package says the same:", loss_difference < 1e-6)

# %% [markdown]
# ### Depth 1 on the questions and answers
#
# Depth 1 sees the question, so it can know the answer. Half of its targets are answers, which are certain, and half are questions, which are drawn from 16. So no head that sees only what it may see can have a mean loss below $\tfrac12 \ln 16$ nats. We call this value, 1.39 nats, the floor.

# %%
def chained(model, ids):
    out = model(ids[:, :-1])
    further = nats(out.mtp_logits[0], ids[:, 2:])
    return nats(out.logits, ids[:, 1:]) + 0.3 * further, further

# %%
floor = math.log(16) / 2
one_ahead = tiny.replace(num_nextn_predict_layers=1)
ahead = MiniDeepSeek(one_ahead, torch.Generator().manual_seed(0))
curve_chained = fit(ahead, chained)
first, further = right(ahead(fresh[:, :-1]).mtp_logits[0].argmax(-1), fresh)
print(f"depth 1, right: answers {first:.2f}, questions {further:.2f}")
side, chain = fmean(curve_parallel[-10:]), fmean(curve_chained[-10:])
print(f"loss at the end: side by side {side:.2f}, chained {chain:.2f}, floor {floor:.2f} nats")
assert first == 1.0
assert further < 0.12

# %% [markdown]
# Depth 1 gets every answer right, and the questions as often as chance would. This is the best that is possible.
#
# ### A planted bug: the loss is too good
#
# The most natural mistake is in the target. It is to write `ids[:, 1:]`, cut to length, instead of `ids[:, 2:]`. The code runs without an error or a warning.

# %%
def off_by_one(model, ids):
    out = model(ids[:, :-1])
    further = nats(out.mtp_logits[0], ids[:, 1:-1])  # the next token, which depth 1 is shown
    return nats(out.logits, ids[:, 1:]) + 0.3 * further, further

# %%
wrong = MiniDeepSeek(one_ahead, torch.Generator().manual_seed(0))
curve_wrong = fit(wrong, off_by_one)
shares = right(wrong(fresh[:, :-1]).mtp_logits[0].argmax(-1), fresh)
print(f"loss at the end {fmean(curve_wrong[-10:]):.2f} nats")
print(f"right: answers {shares[0]:.2f}, questions {shares[1]:.2f}")

# %% tags=["figure", "hide-input"]
curves = {"side by side": curve_parallel, "chained": curve_chained, "planted bug": curve_wrong}
fig, ax = plt.subplots(figsize=(6.6, 3.2))
for name, curve in curves.items():
    _ = ax.plot(range(1, 101), curve, label=name)
_ = ax.hlines(floor, 1, 100, ls="--", color="gray", lw=1)
_ = ax.text(100, floor - 0.05, "floor", color="gray", ha="right", va="top", fontsize=9.5)
_ = ax.set(xlabel="step", ylabel="loss of the further head, nats", xlim=(0, 100),
           ylim=(-0.1, None))  # fmt: skip
direct_labels(ax)
ends = ", ".join(f"{name} {fmean(curve[-10:]):.2f}" for name, curve in curves.items())
show(fig, "The chained head stops at the floor. The planted bug falls through it, so its "
     "target has leaked.",
     f"Three lines, loss over 100 steps. Means of the last ten steps: {ends} nats. "
     f"The floor is at {floor:.2f} nats.")  # fmt: skip

# %% [markdown]
# The loss of the planted bug is close to zero, but the head has learned nothing useful, because it copies a token that it is shown. Two checks catch this bug in different ways. First, no model can predict a random draw, so a loss below the floor means that the target has leaked. Second, the target must lie outside the tokens that the head sees.

# %%
def below_the_floor(curve):
    return fmean(curve[-10:]) < 0.9 * floor

def sees_its_target(grid, offset):
    """Whether position i notices token i + offset, its target."""
    return any(grid[i + offset, i].item() for i in range(grid.shape[1] - 1))

assert below_the_floor(curve_wrong)
assert not below_the_floor(curve_chained)
table(["target", "below the floor", "sees its target"],
      [["i + 2", str(below_the_floor(curve_chained)), str(sees_its_target(grids[1], 2))],
       ["i + 1", str(below_the_floor(curve_wrong)), str(sees_its_target(grids[1], 1))]])

# %% [markdown]
# ## The experiment: does it make a better model?
#
# Our task is to add two digits, with one sum per line. We train a small model without a further head, with one (D = 1) and with two (D = 2). All three get the same first weights and the same lines in the same order, and we repeat this with three seeds. In the end we ask all hundred sums. A sum is right when greedy decoding, which always takes the likeliest token, writes its result and ends the line.

# %%
ALPHABET = "\n+=0123456789"

def encode(text):
    return torch.tensor([ALPHABET.index(c) for c in text])

def lines(seed, rows, width=33):
    """Random sums, end to end, cut into rows; int64 [rows, width]."""
    g = torch.Generator().manual_seed(seed)
    drawn = torch.randint(10, (rows * width // 5, 2), generator=g).tolist()
    ids = encode("".join(f"{a}+{b}={a + b}\n" for a, b in drawn))
    return ids[: rows * width].view(rows, width)

print(repr("".join(ALPHABET[i] for i in lines(0, 1)[0])))

# %%
asked = [f"{a}+{b}={a + b}\n" for a in range(10) for b in range(10)]
sheet = torch.stack([encode("3+4=7\n" + line.ljust(7, "\n")) for line in asked])

@torch.no_grad()
def right_sums(model):
    """Of the hundred. Greedy decoding is right where each token of the result is likeliest."""
    likeliest = model(sheet, mtp=False).logits.argmax(-1)
    return sum(bool((likeliest[r, 9:len(line) + 5] == sheet[r, 10:len(line) + 6]).all())
               for r, line in enumerate(asked))  # fmt: skip

# %%
sums = ModelConfig(
    vocab_size=len(ALPHABET), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
    kv_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16,
    intermediate_size=96, n_routed_experts=0,
)
held_out = lines(99, 64)
STEPS, BATCH, EVERY = 120, 16, 10

@torch.no_grad()
def look(model):
    """Right sums of 100, and the main head's loss on fresh lines."""
    logits = model(held_out[:, :-1], mtp=False).logits
    return right_sums(model), nats(logits, held_out[:, 1:]).item()

# %%
def study(depth, seed):
    """Train one model; what `look` sees every EVERY steps."""
    config = PretrainConfig(model=sums.replace(num_nextn_predict_layers=depth), mtp_weight=0.3)
    model = MiniDeepSeek(config.model, torch.Generator().manual_seed(seed))
    rows, seen = lines(seed, STEPS * BATCH), []
    settings = OptimConfig(lr=5e-3, warmup=20, decay=0, weight_decay=0.1)
    optimizer = Optimizer(model, settings, STEPS)
    for step in range(STEPS):
        optimizer.schedule(step)
        train_step(model, optimizer, rows[step * BATCH:(step + 1) * BATCH], config)
        if (step + 1) % EVERY == 0:
            seen.append(look(model))
    return seen

# %% [markdown]
# The learning rate stays constant after the warm-up, so every point of a curve is the end of a valid shorter run. Make one guess before you read on. How many more of the 100 sums will D = 1 get right in the end than the model without a further head?

# %% tags=["prediction", "hide-input"]
guess = None
gain = predict(
    "mtp.gain", "How many more of 100 sums does D = 1 get right, at equal tokens?",
    guess, example=5, scale="difference", tolerance=30,
)
gain

# %%
runs, took = {}, {}

def three_seeds(depth):
    began = time.perf_counter()
    runs[depth] = [study(depth, seed) for seed in range(3)]
    took[depth] = (time.perf_counter() - began) / 3 / STEPS

three_seeds(0)

# %%
three_seeds(1)

# %%
three_seeds(2)

# %%
price = {depth: training_flops(sums.replace(num_nextn_predict_layers=depth), 16)
         for depth in runs}  # fmt: skip
for depth in runs:
    share_of_none = price[depth] / price[0]
    print(f"D = {depth}: {share_of_none:.2f} of the FLOPs of D = 0,"
          f" {1000 * took[depth]:.0f} ms per step")  # fmt: skip

# %% [markdown]
# We make two comparisons, because "better" can mean two things. At **equal tokens** every model has read the same lines. At **equal compute** the models with further heads stop earlier, as soon as they have spent the FLOPs (floating-point operations) that the plain model spends in the whole run.

# %%
def at(depth, equal, which):
    """One value per seed (0 right sums, 1 loss), at the end or at the compute of D = 0."""
    point = -1 if equal == "tokens" else round(STEPS * price[0] / price[depth] / EVERY) - 1
    return [seen[point][which] for seen in runs[depth]]

# %%
def against_none(depth, equal, which):
    """Mean difference to D = 0, seed by seed, and the half width of its 95 % interval."""
    pairs = zip(at(depth, equal, which), at(0, equal, which), strict=True)
    return interval([a - b for a, b in pairs])

gain.reveal(against_none(1, "tokens", 0)[0])

# %% tags=["figure", "hide-input"]
arms = [("tokens", 0), ("tokens", 1), ("tokens", 2), ("compute", 1), ("compute", 2)]
fig, ax = plt.subplots(figsize=(6.6, 2.9))
for row, (equal, depth) in enumerate(arms):
    found = at(depth, equal, 0)
    _ = ax.plot(found, [row] * 3, "o", color=f"C{depth}", ms=7, alpha=0.6)
    _ = ax.plot([fmean(found)] * 2, [row - 0.3, row + 0.3], color=f"C{depth}", lw=2.5)
_ = ax.set(yticks=range(5), ylim=(4.6, -0.6), xlabel="right sums of 100", xlim=(0, None),
           yticklabels=[f"D = {depth}, equal {equal}" for equal, depth in arms])  # fmt: skip
said = "; ".join(f"D = {depth}, equal {equal}: {sorted(at(depth, equal, 0))}"
                 for equal, depth in arms)  # fmt: skip
show(fig, "The three seeds of a model (dots) lie far apart, beside the distances between the "
     "models' means (upright lines).",
     f"A row per model and comparison, a dot per seed over right sums of 100. {said}.")

# %% tags=["hide-input"]
def signed(pair, digits):
    """A difference with its interval."""
    return f"{pair[0]:+.{digits}f} ± {pair[1]:.{digits}f}"

table(["", "right sums of 100", "loss, nats", "sums, less D = 0", "loss, less D = 0"],
      [[f"D = {depth}, equal {equal}", f"{fmean(at(depth, equal, 0)):.1f}",
        f"{fmean(at(depth, equal, 1)):.3f}",
        *(signed(against_none(depth, equal, k), (1, 3)[k]) if depth else "-" for k in (0, 1))]
       for equal, depth in arms],
      "Means of three seeds, and differences seed by seed with 95 % intervals")  # fmt: skip

# %% [markdown]
# Look at the dots of one row, the single seeds, before you compare the rows. All models are still learning to add, and the seed matters more than the further heads. At equal tokens both 95 % intervals of the difference contain 0, and the interval for D = 1 is tens of sums wide. At equal compute the plain model is ahead on average, because it has made more steps. Three seeds of this size cannot show more.
#
# ### The same at a larger size
#
# So we repeated the experiment on a GPU. The model there is a mixture of experts of DeepSeek's shape, with width 256 and four layers. It reads pages of the tiny web, the synthetic text of this course, with numbers up to 99, for 1,200 steps of 8,192 tokens, by the script `tools/experiments/ch04_mtp.py`. *Sums* are 512 prompts such as `57+38=`. *Countdown* means 512 held-out problems, in which the model must combine given numbers to reach a target. The model answers both greedily.

# %% tags=["hide-input"]
large = results.read("ch04_mtp")
print(results.origin("ch04_mtp"))
print(f"{len(large['runs'])} runs, side by side: {results.facts('ch04_mtp')['seconds']:.0f} s")

# %% tags=["hide-input"]
MEASURES = {"loss": lambda r: r["loss"][0], "next token": lambda r: 100 * r["next"][0],
            "sums": lambda r: 100 * r["sums"],
            "Countdown": lambda r: 100 * r["countdown"]["accuracy"]}  # fmt: skip

def recorded(depth, equal):
    """The recorded runs, by seed; D = 0 is its own measure at equal compute."""
    equal = equal if depth else "tokens"
    found = [r for r in large["runs"] if (r["depth"], r["equal"]) == (depth, equal)]
    return sorted(found, key=lambda r: r["seed"])

def arm(depth, equal, measure):
    return [MEASURES[measure](r) for r in recorded(depth, equal)]

def means(depth, equal):
    """Each measure over the seeds; the loss needs a digit more."""
    return [over_seeds(arm(depth, equal, name), f".{3 if name == 'loss' else 1}f")
            for name in MEASURES]  # fmt: skip

def over_seeds(values, digits):
    """Mean and 95 % interval; of two values, whose interval says nothing, both."""
    if len(values) == 2:
        return " and ".join(f"{value:{digits}}" for value in values)
    mean, half = interval(values)
    return f"{mean:{digits}} ± {half:{digits.lstrip('+')}}"

table(["", "seeds", "loss, nats", "next token, %", "sums, %", "Countdown, %"],
      [[f"D = {depth}, equal {equal}", len(recorded(depth, equal)), *means(depth, equal)]
       for equal, depth in arms],
      "Means over the seeds with 95 % intervals; where there are two seeds, "
      "both values")  # fmt: skip

# %% tags=["hide-input"]
def differences_to_none(depth, equal, measure):
    """Differences to D = 0, one per seed."""
    plain = {r["seed"]: MEASURES[measure](r) for r in recorded(0, equal)}
    return [MEASURES[measure](r) - plain[r["seed"]] for r in recorded(depth, equal)]

def less_none(depth, equal, measure):
    """Mean difference to D = 0 and half width of its 95 % interval."""
    return interval(differences_to_none(depth, equal, measure))

def starred(depth, equal, measure):
    mean, half = less_none(depth, equal, measure)
    found = differences_to_none(depth, equal, measure)
    clear = len(found) > 2 and abs(mean) > half
    return over_seeds(found, f"+.{3 if measure == 'loss' else 2}f") + " *" * clear

table(["less D = 0", "loss, nats", "next token, points", "sums, points", "Countdown, points"],
      [[f"D = {depth}, equal {equal}", *(starred(depth, equal, name) for name in MEASURES)]
       for equal, depth in arms if depth],
      "Differences to D = 0, seed by seed, points being percentage points; where there are "
      "two seeds, both. A star: the 95 % interval excludes 0")  # fmt: skip

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(3, 1, figsize=(6.6, 5.6), sharex=True)
for seed, ax in enumerate(axes):
    for depth in range(3):
        _ = ax.plot(*zip(*recorded(depth, "tokens")[seed]["curve"], strict=True))
    _ = ax.axhline(0.6, ls="--", color="gray", lw=1)
    _ = ax.set(title=f"seed {seed}", ylim=(0.5, 0.82), xlim=(360, 1200))
for depth, place in enumerate([(730, 0.655), (430, 0.77), (490, 0.615)]):
    _ = axes[0].text(*place, f"D = {depth}", color=f"C{depth}", fontsize=9.5)
_ = axes[1].set_ylabel("loss on fresh pages, nats")
_ = axes[2].set_xlabel("step")
last = [[run["curve"][-1][1] for run in recorded(depth, "tokens")] for depth in range(3)]
ends = [", ".join(f"{loss:.3f}" for loss in losses) for losses in zip(*last, strict=True)]
show(fig, "On every seed the models that look ahead reach 0.6 nats (dashed) first, and the "
     "plain model (D = 0) catches up.",
     "Three panels, one per seed, loss over steps 360 to 1,200 for D = 0, 1 and 2. At the "
     f"end, by seed: {'; '.join(ends)} nats.")  # fmt: skip

# %% [markdown]
# The loss falls from 0.7 to 0.55 nats while a model learns to add. At step 360 no model is ahead on every seed. From step 720 on the two models with further heads are ahead on every seed, by up to 0.08 nats, but the lead shrinks to less than 0.01 in the end. So we can ask a third question: after how many steps does the loss reach 0.6 nats? (We chose this level in the middle of the fall, after seeing the curves, which have a point every 120 steps.) We also convert the steps into compute, because a step of D = 1 costs more.

# %%
def steps_to(curve, level):
    """Where a curve first falls below the level, on the line between two of its points."""
    for (a, high), (b, low) in pairwise(curve):
        if low < level:
            return a + (b - a) * (high - level) / (high - low)

def arrivals(depth):
    return [steps_to(r["curve"], 0.6) for r in recorded(depth, "tokens")]

# %% tags=["hide-input"]
rows = []
for depth in range(3):
    ratio = large["speed"][depth]["flops_per_token"] / large["speed"][0]["flops_per_token"]
    came = arrivals(depth)
    early = interval([x - y for x, y in zip(came, arrivals(0), strict=True)])
    rows.append([f"D = {depth}", ", ".join(f"{x:.0f}" for x in came),
                 ", ".join(f"{ratio * x:.0f}" for x in came),
                 signed(early, 0) if depth else "-"])  # fmt: skip
table(["", "steps", "the same compute in steps of D = 0", "steps, less D = 0"], rows,
      "When the loss reaches 0.6 nats: seeds 0, 1 and 2, and the mean difference")  # fmt: skip

# %% [markdown]
# The last measurement is the price itself. (The three models were timed in turns on a GPU that was also doing other work, so only the ratios of the times mean something.)

# %% tags=["hide-input"]
speed = large["speed"]
table(["", "million weights", "FLOPs", "time", "peak memory"],
      [[f"D = {s['depth']}", f"{s['parameters'] / 1e6:.1f}",
        *(f"{s[what] / speed[0][what]:.2f}" for what in ("flops_per_token", "ms_per_step")),
        f"{s['peak_mib']} MiB"] for s in speed],
      "What one training step costs; FLOPs and time in those of D = 0")  # fmt: skip

# %% [markdown]
# These runs allow three statements:
#
# - **At equal tokens predicting ahead helps a little.** All six models learn to add sooner than the plain model of their seed, although the intervals of that lead still contain 0. At the end D = 1 gets more sums right on every seed, and its interval is well clear of 0. D = 2 names the next token right slightly more often. The losses differ by less than we can measure. Countdown does not change, because it needs more than addition: the model must also search for the answer. Of the eight intervals at equal tokens two exclude 0, both in favour of predicting ahead. By chance we would expect 0.4 of eight.
# - **At equal compute no gain is left.** Counted in plain steps, D = 1 reaches 0.6 nats about when D = 0 does. No measure differs clearly at the end, and the mean loss is slightly worse. (One run of D = 2 had no time left, and two seeds tell us very little.)
# - **Training with further heads is not cheaper here.** Each token costs more FLOPs, time and memory, and the gain is about as large as this cost.
#
# ```{admonition} A number that misleads
# :class: warning
# Do not compare the training losses of D = 0 and D = 1. The loss of D = 1 has an extra term, because depth 1 answers a different question. Only the main head's loss on fresh text is the same quantity in both models.
# ```

# %% [markdown]
# ## The second answer, kept
#
# When the model writes, depth 1 guesses the token after the one that was just chosen. If the main model then says the same in its next pass, the guess is **accepted**: that pass has checked the guess and goes on from there at once, so it yields two tokens. This is called speculative decoding {cite}`leviathan2022speculative`, and a later chapter builds it. Here we measure what its speed depends on, which is how often a guess is accepted.
#
# For the text `fIlAmE`, a pass that begins at `l` yields the answer `A`, from the main head, and depth 1 guesses the next question. If it guesses `m`, the next pass begins at `m`. If it does not, the next pass begins at `A`.
#
# We know how good depth 1 is on this text: it is right on every answer and on one question in sixteen, so on about half of all tokens. If every guess is tried, how many tokens does a pass of the main model yield on average?

# %% tags=["prediction", "hide-input"]
guess = None
pace = predict(
    "mtp.pace", "Tokens for each pass of the main model, on questions and answers?",
    guess, example=1.5, scale="difference", tolerance=1,
)
pace

# %%
def walk(accepted, at, last):
    """Passes of the main model from token `at` to token `last`.

    accepted[k][i]: were the guesses of depth 1 to k + 1, made at i, accepted?"""
    passes = 0
    while at < last:
        passes += 1
        at += 1 + sum(column[at] for column in accepted if at < len(column))
    return passes

# %%
with torch.no_grad():
    guesses = ahead(fresh).mtp_logits[0].argmax(-1)[:, :-1]
accepted = guesses == fresh[:, 2:]
passes = sum(walk([row], 0, 33) for row in accepted.tolist())
print(f"accepted: {accepted.float().mean():.2f} of all guesses")
print(f"tokens per pass: {33 * len(fresh) / passes:.2f}")
pace.reveal(33 * len(fresh) / passes)

# %% [markdown]
# Only half of the guesses are right, and yet nearly every pass yields two tokens. The reason is where the passes begin. From the question `f`, a pass yields `I`, and the guess of `l` fails. The next pass begins at the answer `I`: the main model draws `l` itself, and depth 1 then guesses its answer `A`, which is accepted. So the pass after it begins at an answer again, and so on. The hopeless guesses, those of questions, are seldom needed. A mean over all positions would have promised 1.5 tokens, so **count passes rather than positions.**
#
# Next we take a text of the course's own kind: worksheets of the tiny web, which are small enough to be learned in a minute. We train one model with D = 2.

# %%
web = TinyWebConfig(
    numbers=(2,), high=9, target_high=18, worksheets=1.0, chinese=0.0, mixed=0.0
)
pages = TinyWeb(web, seed=0)
tokenizer = CharTokenizer("\n +-=.0123456789Makefromnyes")
bos, eos = tokenizer.bos_id, tokenizer.eos_id
stream = [i for page in pages.pages(0, 3600) for i in (bos, *tokenizer.encode(page), eos)]
sheets = torch.tensor(stream[: 160 * 12 * 65]).view(-1, 65)
print(pages[3])

# %%
writer_config = PretrainConfig(model=sums.replace(
    vocab_size=tokenizer.vocab_size, hidden_size=48, intermediate_size=128,
    num_nextn_predict_layers=2))
writer = MiniDeepSeek(writer_config.model, torch.Generator().manual_seed(0))
optimizer = Optimizer(writer, OptimConfig(lr=8e-3, warmup=20, weight_decay=0.1), 160)
for step, batch in enumerate(sheets.split(12)):
    optimizer.schedule(step)
    losses, _ = train_step(writer, optimizer, batch, writer_config)
task = Countdown(2, high=9, target_high=18, ops="+-", split="valid")
g = torch.Generator().manual_seed(0)
solved = evaluate(MiniPolicy(writer, tokenizer), task, 96, 64, temperature=1.0, generator=g)
print(f"loss {losses['loss']:.2f} nats; of 100 replies "
      f"{100 * solved.well_formed:.0f} are well formed and {100 * solved.accuracy:.0f} right")
print(task[0].prompt + solved.replies[0])

# %% [markdown]
# The model's answers are mostly wrong, but that does not matter here. A guess is accepted if it equals the token that the main head then wrote, whether the reply is right or wrong. We go over the model's own replies and count the accepted guesses by the kind of token. We draw the replies at temperature 1, because so small a model would greedily write nearly the same reply to every problem. A guess of depth 2 counts only where depth 1 was accepted, because otherwise it rests on a wrong token.

# %%
KIND = re.compile(r"(?P<tags></?\w+>)|(?<==)(?P<results>\d+)|(?P<verdicts> no| yes)"
                  r"|(?P<digits>\d)|(?P<signs>[-+=])|(?P<words>.)", re.DOTALL)

def kinds(ids):
    """What each token belongs to: one of the names in KIND."""
    pieces = [tokenizer.decode([i]) for i in ids]
    found = KIND.finditer("".join(pieces))
    by_character = [match.lastgroup for match in found for _ in match[0]]
    starts = [sum(map(len, pieces[:k])) for k in range(len(pieces))]
    return [by_character[start] for start in starts]

@torch.no_grad()
def judged(ids):
    """For each depth, which guesses (made at position i) the main head then wrote.

    A guess counts only if those of all earlier depths were right too."""
    text, columns = torch.tensor(ids), []
    good = torch.ones(len(ids), dtype=torch.bool)
    for k, logits in enumerate(writer(text[None]).mtp_logits, start=1):
        good = good[:len(ids) - 1 - k] & (logits[0, :-1].argmax(-1) == text[k + 1:])
        columns.append(good)
    return [column.tolist() for column in columns]

# %%
tally = [{}, {}]
passes, written = [0, 0], 0
for number, reply in enumerate(solved.replies):
    prompt = [tokenizer.bos_id, *tokenizer.encode(task[number].prompt)]
    ids = [*prompt, *tokenizer.encode(reply), tokenizer.eos_id]
    kind, columns = kinds(ids), judged(ids)
    for k, column in enumerate(columns, start=1):
        for i in range(len(prompt) - 1, len(ids) - 1 - k):  # the guess of token i + 1 + k
            if k == 1 or columns[0][i]:
                tally[k - 1].setdefault(kind[i + 1 + k], []).append(column[i])
        passes[k - 1] += walk(columns[:k], len(prompt) - 1, len(ids) - 1)
    written += len(ids) - len(prompt)

# %% tags=["hide-input"]
small_pace = [written / p for p in passes]
print(f"tokens per pass: {small_pace[0]:.2f} with depth 1, {small_pace[1]:.2f} with both")
by_share = sorted(tally[0], key=lambda name: -fmean(tally[0][name]))
table(["tokens", "depth 1", "depth 2, after depth 1"],
      [[name, *(f"{fmean(t[name]):.2f} of {len(t[name])}" for t in tally if name in t)]
       for name in by_share],
      "The share of guesses that were accepted, by the kind of token")  # fmt: skip

# %% [markdown]
# The tags are always accepted, because after `</think>` the next tokens are fixed by the form. Four in five signs and verdicts are accepted. The digits of the expression are different: four in five are refused. There are several good ways to begin an expression, and depth 1 often picks another one than the main head then draws.
#
# We measured the same on the larger models, with three seeds and each model's own 512 greedy replies:

# %% tags=["hide-input"]
def share(depth, kind, k=0):
    """The share of guesses of depth k + 1 that were accepted, the three seeds together."""
    counts = [r["replies"]["by_kind"][k].get(kind, [0, 0]) for r in recorded(depth, "tokens")]
    return sum(hit for hit, _ in counts) / max(sum(n for _, n in counts), 1)

paces = [[r["replies"]["per_pass"][-1] for r in recorded(depth, "tokens")] for depth in (1, 2)]
for depth, (mean, half) in enumerate(map(interval, paces), start=1):
    print(f"D = {depth}: tokens per pass {mean:.3f} ± {half:.3f}")
table(["tokens", "D = 1", "D = 2, depth 1", "D = 2, depth 2 after it"],
      [[kind, *(f"{share(*which):.2f}" for which in ((1, kind), (2, kind), (2, kind, 1)))]
       for kind in ("tags", "verdicts", "signs", "digits", "results")],
      "The share of accepted guesses, larger models, three seeds together")  # fmt: skip

# %% [markdown]
# Here nearly all digits are accepted. These models reply greedily and begin with the numbers of the problem, so most digits are copied. The results of the sums cannot be copied. Even so, depth 1 with its single block agrees with the main model on nearly all of them. It had to learn this: in the shorter recording of 500 steps, shown below, it agreed on fewer than six results in ten.
#
# ### The speed that this could buy at most
#
# A pass that yields $n$ tokens replaces $n$ passes of the plain model, but the guessing has a cost. A GPU that writes for a single reader spends most of its time reading weights. It reads them once per pass, whether the pass handles one token or three, and the modules add weights of their own. The FLOPs per token grow with the same weights, so we divide the tokens per pass by the ratio of the FLOPs. For DeepSeek-V3 itself we use an acceptance of 85 %, the lower end of what its paper reports.

# %%
def price_of(config, depth):
    """Operations per token with modules, those of the plain model being 1."""
    looked = config.replace(num_nextn_predict_layers=depth)
    return training_flops(looked, 64) / training_flops(looked, 64, mtp=False)

model = ModelConfig.from_dict(large["settings"]["model"])
v3 = ModelConfig.from_dict({"model_type": "deepseek_v3"})
cases = [("small model", writer_config.model, 1, small_pace[0]),
         ("small model", writer_config.model, 2, small_pace[1]),
         ("larger model", model, 1, fmean(paces[0])),
         ("larger model", model, 2, fmean(paces[1])),
         ("DeepSeek-V3", v3, 1, 1.85)]  # fmt: skip

# %% tags=["hide-input"]
rows = []
for name, config, depth, per_pass in cases:
    cost = price_of(config, depth)
    shown = [f"{x:.2f}" for x in (per_pass, cost, per_pass / cost)]
    rows.append([f"{name}, D = {depth}", *shown])
table(["", "tokens per pass", "cost per token", "speed at most"], rows,
      "The most that the further answers can buy; a plain model has cost 1 and speed 1")

# %% [markdown]
# The deeper the model, the cheaper a module is in comparison. A module is one block and a head. It adds more than half to the work of our model with two layers, more than a quarter to that of the model with four, and a few hundredths to that of V3. For V3, then, a comparison at equal compute is nearly the same as one at equal tokens. Our ceiling for V3 is close to the factor of 1.8 that the paper reports. The ceiling leaves out two costs of a real decoder: its bookkeeping, and the experts that two tokens do not share.
#
# The figure below shows one reply of the small model. Choose a depth and step through the reply to see what was guessed for each token and where the guess was wrong. In words: all depths guess the tags and the word `Make`, and no depth guesses the digits that a problem leaves open.

# %% tags=["widget"]
from minidsk.widgets import Acceptance

ids = [bos, *tokenizer.encode(task[0].prompt + solved.replies[0]), eos]
rows = [logits.argmax(-1)[0].tolist() for logits in heads(writer, torch.tensor([ids]))]
spelled = [[tokenizer.decode([i]) for i in row] + [None] * (len(ids) - len(row))
           for row in (ids, *rows)]  # fmt: skip
Acceptance(spelled[0], spelled[1:], title="A reply, and what each depth guessed")

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeek-V3 has one module, D = 1 {cite}`deepseekv3`. With $h_i^{0}$ the main model's state, depth $k$ computes (equations 21 to 23)
#
# $$ h_i'^{k} = M_k \left[ \mathrm{RMSNorm}(h_i^{k-1}) ; \mathrm{RMSNorm}(\mathrm{Emb}(t_{i+k})) \right] $$
#
# $$ h_{1:T-k}^{k} = \mathrm{TRM}_k(h_{1:T-k}'^{k}), \qquad P_{i+k+1}^{k} = \mathrm{OutHead}(h_i^{k}) $$
#
# and the loss is (equations 24 and 25)
#
# $$ \mathcal{L}^{k}_{\mathrm{MTP}} = -\frac{1}{T} \sum_{i=2+k}^{T+1} \log P_i^{k}[t_i] $$
#
# $$ \mathcal{L}_{\mathrm{MTP}} = \frac{\lambda}{D} \sum_{k=1}^{D} \mathcal{L}^{k}_{\mathrm{MTP}}. $$
#
# The weight $\lambda$ was 0.3 for the first 10 trillion tokens and 0.1 for the other 4.8 trillion. In the paper's formula the state comes first and the embedding second. In the weights that DeepSeek published, and in ours, the order is the other way round.
#
# The idea of training on several tokens at once is older. Gloeckle and others put independent heads side by side on the same state, as our first attempt did {cite}`gloeckle2024mtp`. DeepSeek's change is the chain, in which every head sees all the tokens before its target.
#
# DeepSeek compared the two ways of training at equal tokens and dropped the module afterwards, so that inference costs the same. The paper reports gains on most benchmarks (section 4.5.1). It also reports that the guess for the second token is accepted in 85 to 90 % of cases, which yields 1.8 times the tokens per second (section 5.4.3).

# %% [markdown]
# ## What went wrong, or did not help
#
# - **The sums improved, but the answers did not.** With D = 1 more sums are right, but we could not see that more Countdown problems are solved. Gloeckle and others report that the gain grows with the model, and that small models get worse {cite}`gloeckle2024mtp`. Our models have a few million weights.
# - **A mean over all positions is misleading.** On questions and answers it promises half a token more per pass, while the walk through the passes finds nearly a whole token more.
# - **In the smallest model depth 2 does not pay.** With only two layers below it, one more block costs more than its accepted guesses bring. The ceiling shows this before any decoder is built.
# - **The first recording stopped too soon.** It had 500 steps, and we nearly wrote this chapter about it:

# %% tags=["hide-input"]
short, rows = results.read("ch04_mtp_500"), []
print(results.origin("ch04_mtp_500"))
for depth in range(3):
    at_500 = [r for r in short["runs"] if (r["depth"], r["equal"]) == (depth, "tokens")]
    counts = [r["replies"]["by_kind"][0]["results"] for r in at_500 if depth]
    known = sum(hit for hit, _ in counts) / max(sum(n for _, n in counts), 1)
    final = [f"{100 * r['sums']:.0f} → {x:.0f}"
             for r, x in zip(at_500, arm(depth, "tokens", "sums"), strict=True)]  # fmt: skip
    rows.append([f"D = {depth}", *final, f"{known:.2f}" if depth else "-"])
table(["", "seed 0", "seed 1", "seed 2", "results that depth 1 guessed at 500"], rows,
      "Right sums of 100 after 500 steps, and in the final recording")  # fmt: skip

# %% [markdown]
# While a model is learning a skill, its score mainly measures *when* its seed gets there. The seeds lie far apart, so nothing can be concluded from these numbers. The final recording has more than twice as many steps, each of half the size. There all models have learned to add, and the intervals of the losses are about ten times narrower. The small run of this chapter stops too soon as well. We left it in so that you can see what such a run looks like.

# %% [markdown]
# ## Exercises
#
# ```{exercise} What should depth k say?
# :label: ex-04-targets
#
# *10 minutes.* Write the targets of depth `k` from the token ids, with -100 where the text ends (cross-entropy ignores such targets). `check("mtp.targets", your_function)` names the mistake.
#
# **Hint.** Write the ids of `7+5=12` in a row, and under each id the token that depth 1 should predict there. Where does the row end too early?
# ```

# %%
print(describe("mtp.targets"))

def my_targets(ids, depth):
    """Replace the line below by your own; ids [B, T] to [B, T - depth]."""
    raise NotImplementedError

# check("mtp.targets", my_targets)

# %% [markdown]
# ```{solution-start} ex-04-targets
# :class: dropdown
# ```

# %%
def targets(ids, depth):
    after_the_end = torch.full((len(ids), 1), -100, dtype=ids.dtype)
    return torch.cat((ids[:, depth + 1:], after_the_end), dim=1)

check("mtp.targets", targets)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} How far does one pass get?
# :label: ex-04-accept
#
# *15 minutes.* Several depths guess several tokens. The main model then says which token it would have written before the first guess and after each guess. How many tokens does this pass yield? `check("mtp.accept_length", your_function)` tests your answer.
#
# **Hint.** Go along both lists until they differ. At that place the main model's own token is also a valid token.
# ```

# %%
print(describe("mtp.accept_length"))

def my_accept_length(draft, target):
    """Replace the line below by your own; two lists of ids to 1, 2, ... or len(draft) + 1."""
    raise NotImplementedError

# check("mtp.accept_length", my_accept_length)

# %% [markdown]
# ```{solution-start} ex-04-accept
# :class: dropdown
# ```

# %%
def accept_length(draft, target):
    for kept, (guessed, chosen) in enumerate(zip(draft, target, strict=False)):
        if guessed != chosen:
            return kept + 1
    return len(draft) + 1

check("mtp.accept_length", accept_length)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} The floor of depth 2
# :label: ex-04-floor
#
# *10 minutes.* On the questions and answers, what is the lowest loss that depth 2 can reach without a leak, and how many tokens would a pass yield with D = 2?
#
# **Hint.** At a question, depth 2 must predict the token three places ahead. Which tokens does it see that say something about its target?
# ```
#
# ```{solution} ex-04-floor
# :class: dropdown
#
# The floor of depth 2 is the same, $\tfrac12 \ln 16$, as that of depth 1. Half of its targets are again questions, which cannot be known, and half are answers, whose question depth 2 sees. The number of tokens per pass hardly changes. A pass that begins at an answer yields a question and its answer. Depth 2 must then guess the next question, and it is right once in sixteen times. So 2 tokens per pass become about 2.06. The second module costs as much as the first and is nearly worthless here, because in this text a certain token is always followed by a random one.
# ```

# %% [markdown]
# ```{exercise} A smaller weight
# :label: ex-04-weight
#
# *20 minutes.* DeepSeek lowered $\lambda$ to 0.1 late in training. Run `study` for D = 1 with `mtp_weight` 0, 0.1, 0.3 and 1, with three seeds each. Write down first what you expect and what would count as a difference.
#
# **Hint.** With weight 0 the numbers must equal those of D = 0 to the last digit. This check costs one run.
# ```
#
# ```{solution} ex-04-weight
# :class: dropdown
#
# The curve of weight 0 equals that of D = 0 exactly. `train_step` leaves the modules out at weight 0, and the main weights of a seed are drawn before those of the modules. For the other weights, compare the differences seed by seed, with their interval. With three seeds of this size the interval is tens of sums wide. So the only safe prediction is the size of the interval.
# ```

# %% [markdown]
# ## Bug zoo
#
# The package contains three plausible wrong versions of the loss. Write tests that accept the right version and catch all three wrong ones. The coin example of `7+5=12` is a start, and you can do it without a computer. The single test below accepts the right version, but it catches nothing yet.

# %% tags=["zoo"]
def the_loss_is_a_finite_number(loss):
    ids = torch.zeros(1, 5, dtype=torch.long)
    assert math.isfinite(float(loss([torch.zeros(1, 4, 2), torch.zeros(1, 3, 2)], ids, 0.3)))

zoo("mtp.loss", [the_loss_is_a_finite_number])

# %% [markdown]
# Our own tests are in the folded cell below. Look at them after you have written yours.

# %% tags=["hide-cell"]
def coins_by_hand(loss):
    ids = torch.zeros(1, 5, dtype=torch.long)
    value = loss([torch.zeros(1, 4, 2), torch.zeros(1, 3, 2)], ids, 0.3)
    assert abs(float(value) - 0.3 / 2 * 7 / 5 * math.log(2)) < 1e-6

def certain_of_the_right_tokens(loss):
    ids = torch.tensor([[1, 3, 0, 2, 4]])
    sure = [100.0 * F.one_hot(ids[:, k:], 5).float() for k in (1, 2)]
    assert float(loss(sure, ids, 0.3)) < 1e-6

zoo("mtp.loss", [coins_by_hand, certain_of_the_right_tokens])

# %% [markdown]
# ## The opening question in numbers, and the receipt

# %% tags=["hide-input"]
mean, width = less_none(1, "tokens", "sums")
assert mean > width, "the summary below says that D = 1 adds better at equal tokens"
at_equal_compute = [less_none(1, "compute", measure) for measure in MEASURES]
unclear = [abs(mean) < width for mean, width in at_equal_compute]
assert all(unclear), "and that nothing is clear at equal compute"
mean, width = interval(paces[0])
print(f"tokens per pass, if the second answer is kept: {mean:.2f} ± {width:.2f}")
table(["D = 1 less D = 0", "loss, nats", "right sums of 100"],
      [[f"equal {equal}", signed(less_none(1, equal, "loss"), 3),
        signed(less_none(1, equal, "sums"), 1)] for equal in ("tokens", "compute")],
      "The larger models, with 95 % intervals over three seeds")  # fmt: skip

# %% tags=["receipt"]
receipt(
    spread={f"right sums of 100, D = {depth}": at(depth, "tokens", 0) for depth in range(3)},
    differences={"by hand and MTPModule": (difference, 1e-12),
                 "loss by hand and mtp_loss": (loss_difference, 1e-6)},
)

# %% [markdown]
# ## Summary
#
# How much better does the first answer become? At equal tokens it becomes a little better: D = 1 learns to add sooner and ends with about four more right sums in a hundred. The gain costs about as much as it is worth, because at equal compute we cannot tell D = 1 from a plain model. So "boosts accuracy" holds here at equal tokens. "Cheaper" does not hold for a model of four layers, where a module adds more than a quarter to the work. For a model of sixty-one layers, such as V3, the price is small. Is the second answer good for anything? Yes, because with it each pass of the main model yields nearly two tokens.
#
# - I can now build a head that looks ahead along a chain, and say why heads side by side cannot do its work.
# - I can now prove which tokens a head sees, and recognise a loss that is too good.
# - I can now compare two ways of training at equal tokens and at equal compute, with an interval.
# - I can now turn acceptance into tokens per pass, and say why a mean over positions is a different number.

# %% [markdown]
# ## Read on
#
# - Gloeckle and others {cite}`gloeckle2024mtp`, section 2 and the results by model size, show heads side by side and how the gain depends on scale.
# - The report on V3 {cite}`deepseekv3` describes the module in section 2.2 and its ablation in section 4.5.1.
# - Leviathan and others {cite}`leviathan2022speculative` explain why checking guesses does not change what is written. [Chapter 18](18_fast_inference.ipynb) builds this with the head that you have just trained.
# - [Chapter 05](05_mining_math.ipynb) asks where good text comes from, and [chapter 06](06_pretraining.ipynb) puts the whole model together.
