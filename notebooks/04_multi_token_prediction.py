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
# At every token of its training, DeepSeek-V3 answered two questions: what comes next, and what comes after that. The second answer is not needed to run the model, and it costs a layer and a softmax. Training like this, one often hears, is cheaper and boosts accuracy as well. How much better does the first answer become, at what price, and is the second one good for anything?
#
# - **You will build** a head that looks one token further, see it fail at something a child can do, mend it, and measure what it buys and what it costs.
# - **You need** PyTorch, and a rough idea of a transformer's block (chapters 02 and 03).
# - **It takes** about 60 s to run on two CPU cores, about as long on a GPU (the models are too small to notice), and an hour to read.

# %% tags=["hide-input"]
import importlib.util; _ = importlib.util.find_spec("minidsk") or get_ipython().run_line_magic("pip", "install -q 'minidsk[notebooks] @ git+https://github.com/minidsk/minidsk'")

# %%
import math
import re
import time
from itertools import pairwise
from statistics import fmean, stdev

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from minidsk import MiniDeepSeek, ModelConfig, results
from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.infer.evaluate import evaluate
from minidsk.model.mtp import mtp_loss
from minidsk.model.rope import rotation
from minidsk.scale.cost import training_flops
from minidsk.rl.policy import MiniPolicy
from minidsk.tasks.countdown import Countdown
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step

_ = torch.set_default_dtype(torch.float64)  # 16 digits: your processor gives the same numbers as ours

# %% [markdown]
# ## The pain first
#
# A text whose answers we know: sixteen questions, `a` to `p`, each always followed by its own answer, a capital letter. Which question comes next is drawn by lot. So every second token is certain, and nobody can do better than one in sixteen at the others.

# %%
key = torch.randperm(16, generator=torch.Generator().manual_seed(0))

def pairs(rows, seed):
    """Questions 0 to 15, each followed by its answer 16 to 31; int64 [rows, 34]."""
    asked = torch.randint(16, (rows, 17), generator=torch.Generator().manual_seed(seed))
    return torch.stack((asked, 16 + key[asked]), dim=-1).flatten(1)

print("".join("abcdefghijklmnopABCDEFGHIJKLMNOP"[i] for i in pairs(1, seed=1)[0]))

# %% [markdown]
# Now the obvious way to look further ahead: beside the head that reads the hidden state of position $i$ and predicts token $i+1$, a second one that reads the same state and predicts token $i+2$ {cite}`gloeckle2024mtp`.
#
# The main head will learn the answers by heart. How well will the second head do on them? Before you run on, guess: replace `None` by a number.

# %% tags=["prediction"]
guess = None
on_answers = predict(
    "mtp.parallel", "Which share of the answers does a second head on the same state get right?",
    guess, example=0.5, scale="difference", tolerance=0.5,
)
print(on_answers)

# %% tags=["naive"]
class TwoHeads(nn.Module):
    """The model, and a second linear head that guesses the token after next from the same hidden state."""

    def __init__(self, config, seed=0):
        super().__init__()
        self.main = MiniDeepSeek(config, torch.Generator().manual_seed(seed))
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        nn.init.normal_(self.head.weight, std=0.02, generator=torch.Generator().manual_seed(seed))

    def forward(self, ids):
        out = self.main(ids)
        return out.logits, self.head(out.hidden[:, :-1])  # the last state's guess would be judged by no token

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
tiny = ModelConfig(vocab_size=32, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, kv_lora_rank=16,
                   qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, intermediate_size=64, n_routed_experts=0)
side_by_side = TwoHeads(tiny)
curve_parallel = fit(side_by_side, two_losses)

# %%
fresh = pairs(256, seed=7)

def right(guesses, ids):
    """The share of guesses that are the text's last tokens: of the answers, and of the questions."""
    targets = ids[:, -guesses.shape[1]:]
    hit, is_answer = guesses == targets, targets >= 16
    return [hit[is_answer].float().mean().item(), hit[~is_answer].float().mean().item()]

logits, second = (x.argmax(-1) for x in side_by_side(fresh[:, :-1]))
print("right               answers  questions")
print("main head             {:5.2f}      {:5.2f}".format(*right(logits, fresh)))
print("second head           {:5.2f}      {:5.2f}".format(*right(second, fresh)))
on_answers.reveal(right(second, fresh)[0])

# %% [markdown]
# The second head is hopeless, at a task that the main head finds trivial. It is not stupid: from `k` and its answer it must name the answer to the *next* question, and the next question is still to be drawn. Token $i+2$ hangs on token $i+1$, and this head is asked for both at once.
#
# Language is full of this. After `7+5=1` the next token is certain. At `7+5` nobody can say what follows the `=` unless they assume the `=`.
#
# ## The idea, small and slow
#
# So let the head see token $i+1$. In training it stands in the text anyway; when the model writes, the main head has just chosen it. DeepSeek's module of depth 1 joins two things at position $i$: what the model knew there, $h_i$, and the embedding of token $i+1$. Each is normalised, a matrix brings both back to the model's width, and one ordinary block follows. Embedding and head are the main model's own.
#
# Our example for the rest of the chapter has six tokens, `7+5=12`. Who sees what, and who must say what?

# %%
sum_text = "7+5=12"
for depth in range(3):
    print(f"depth {depth}")
    for i in range(5 - depth):
        print(f"   at {i}: sees {sum_text[:i + 1 + depth]!r:9} must say {sum_text[i + 1 + depth]!r}")

# %% [markdown]
# Depth 0 is the main head. Each depth sees one token more, answers for one token further, and so has one position fewer. Depth 2 works on the states of depth 1, not on the main model's: a chain, with every link one step ahead of the last.
#
# By hand, one position at a time:

# %% tags=["naive"]
def rms(x):
    """RMSNorm without its weight."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

def look_ahead(module, hidden, embedding, turn):
    """One depth from its weights: hidden and embedding [B, T - k, H] to the next depth's hidden states."""
    left, right = module.eh_proj.weight.chunk(2, dim=1)  # what meets the embedding, what meets the state
    states = []
    for h, e in zip(hidden.unbind(1), embedding.unbind(1), strict=True):
        states.append(rms(e) * module.enorm.weight @ left.T + rms(h) * module.hnorm.weight @ right.T)
    x, _ = module.block(torch.stack(states, 1), turn)
    return rms(x) * module.norm.weight

# %% [markdown]
# ## The same, from the package
#
# `minidsk.model.mtp.MTPModule` is these lines with the two products joined into one. `MiniDeepSeek` makes `num_nextn_predict_layers` of them and returns their answers as `out.mtp_logits`. Three depths against three turns of our loop, in float64:

# %% tags=["agree"]
deep = MiniDeepSeek(tiny.replace(num_nextn_predict_layers=3), torch.Generator().manual_seed(1)).double()
ids = fresh[:4, :12]
out = deep(ids)
hidden, difference = out.hidden, 0.0
turn = rotation(torch.arange(12)[None], deep.frequencies)
for k, module in enumerate(deep.mtp, start=1):
    shifted = tuple(t[:, k:] for t in turn)
    hidden = look_ahead(module, hidden[:, :-1], deep.embed_tokens(ids[:, k:]), shifted)
    difference = max(difference, (deep.lm_head(hidden) - out.mtp_logits[k - 1]).abs().max().item())
assert difference < 1e-12
print(f"largest difference, three depths: {'below 1e-12' if difference < 1e-12 else difference}")

# %% [markdown]
# ### Which tokens a depth may see
#
# A head that looks ahead has one way to go wrong that no error message reports: it sees the token that it should guess. So we ask it. Change one token of six, and see whose logits move.

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
        grids.append([(a - b).abs().amax((0, 2)) > 1e-12 for a, b in zip(before, heads(model, other), strict=True)])
    return [torch.stack(grid) for grid in zip(*grids, strict=True)]

with torch.no_grad():
    grids = moved(deep, torch.tensor([[7, 10, 5, 11, 1, 2]]))[:3]

# %% tags=["figure"]
fig, axes = plt.subplots(1, 3, figsize=(8, 2.9), layout="constrained")
for depth, (ax, grid) in enumerate(zip(axes, grids, strict=True)):
    _ = ax.imshow(grid, cmap="Blues", vmin=0, vmax=1.6, aspect="equal")
    for i in range(5 - depth):
        _ = ax.text(i, i + 1 + depth, "?", ha="center", va="center", color="crimson", weight="bold")
    _ = ax.set(title=f"depth {depth}", xlabel="position", xticks=range(grid.shape[1]), yticks=range(6), yticklabels=sum_text)
_ = axes[0].set_ylabel("token that is changed")
plt.show()
for depth, grid in enumerate(grids):
    print(f"depth {depth}: changing '=' (token 3) moves positions {grid[3].nonzero().flatten().tolist()}")

# %% [markdown]
# Blue: the position notices. The red `?` is the token that the position must say. At every depth it lies just below the blue: seen up to the token before, and no further.

# %%
for depth, grid in enumerate(grids):
    j, i = torch.meshgrid(torch.arange(6), torch.arange(grid.shape[1]), indexing="ij")
    assert torch.equal(grid, j <= i + depth)
print("position i of depth k notices token j exactly where j <= i + k; its target is token i + k + 1")

# %% [markdown]
# ### The loss by hand
#
# `7+5=12` has five targets, `+5=12`. Let every head be a coin: each right token gets probability one half, $\ln 2 = 0.6931$ nats. The main head answers for five targets, depth 1 for four, depth 2 for three. DeepSeek divides every depth by the same five, averages the depths and weighs them by $\lambda = 0.3$:

# %%
coin = math.log(2)
depth_1, depth_2 = 4 * coin / 5, 3 * coin / 5
by_hand = 0.3 / 2 * (depth_1 + depth_2)
print(f"depth 1: {depth_1:.4f}   depth 2: {depth_2:.4f}   loss of looking ahead: {by_hand:.4f} nats")

coins = [torch.zeros(1, 5 - k, 2) for k in (1, 2)]  # two equal logits each
loss_difference = abs(mtp_loss(coins, torch.zeros(1, 5, dtype=torch.long), weight=0.3).item() - by_hand)
assert loss_difference < 1e-6
print("the package says the same:", loss_difference < 1e-6)

# %% [markdown]
# ### Back to the questions and answers
#
# Depth 1 sees the question. Its own targets are half answers (certain) and half questions (a draw of 16), so no honest head gets below $\tfrac12 \ln 16$ nats on average. Keep that floor in mind; we need it in a moment.

# %%
def chained(model, ids):
    out = model(ids[:, :-1])
    further = nats(out.mtp_logits[0], ids[:, 2:])
    return nats(out.logits, ids[:, 1:]) + 0.3 * further, further

floor = math.log(16) / 2
ahead = MiniDeepSeek(tiny.replace(num_nextn_predict_layers=1), torch.Generator().manual_seed(0))
curve_chained = fit(ahead, chained)
first, further = right(ahead(fresh[:, :-1]).mtp_logits[0].argmax(-1), fresh)
print(f"depth 1, right: answers {first:.2f}, questions {further:.2f}")
side, chain = fmean(curve_parallel[-10:]), fmean(curve_chained[-10:])
print(f"loss at the end: side by side {side:.2f}, chained {chain:.2f}, floor {floor:.2f} nats")
assert first == 1.0
assert further < 0.12

# %% [markdown]
# All answers, and chance on the questions: what it should be.
#
# ### A planted bug: the loss is too good
#
# The most natural slip is in the target: `ids[:, 1:]`, cut to length, where `ids[:, 2:]` belongs. Everything runs. Nothing warns.

# %%
def off_by_one(model, ids):
    out = model(ids[:, :-1])
    further = nats(out.mtp_logits[0], ids[:, 1:-1])  # the next token, which depth 1 is shown
    return nats(out.logits, ids[:, 1:]) + 0.3 * further, further

wrong = MiniDeepSeek(tiny.replace(num_nextn_predict_layers=1), torch.Generator().manual_seed(0))
curve_wrong = fit(wrong, off_by_one)
shares = right(wrong(fresh[:, :-1]).mtp_logits[0].argmax(-1), fresh)
print(f"loss at the end {fmean(curve_wrong[-10:]):.2f} nats; right: answers {shares[0]:.2f}, questions {shares[1]:.2f}")

# %% [markdown]
# A loss near nothing, and it has learned nothing that we want: it copies what it is shown. Two checks catch it. Nobody beats a draw by lot, so a loss under the floor is no success but a leak. And the target must lie outside of what the head sees.

# %%
def below_the_floor(curve):
    return fmean(curve[-10:]) < 0.9 * floor

def sees_its_target(grid, offset):
    """Whether position i notices token i + offset, its target."""
    return any(grid[i + offset, i].item() for i in range(grid.shape[1] - 1))

print("                  below the floor   sees its target")
print(f"target i + 2      {below_the_floor(curve_chained)!s:15}   {sees_its_target(grids[1], 2)}")
print(f"target i + 1      {below_the_floor(curve_wrong)!s:15}   {sees_its_target(grids[1], 1)}")
assert below_the_floor(curve_wrong)
assert not below_the_floor(curve_chained)

# %% [markdown]
# ## The experiment: does it make a better model?
#
# Sums of two digits, one to a line. We train a small model without any further head, with one (D = 1) and with two (D = 2): the same first weights, the same lines in the same order, three seeds. All hundred sums are asked, and a sum is right when greedy decoding writes its result and ends the line.

# %%
ALPHABET = "\n+=0123456789"

def encode(text):
    return torch.tensor([ALPHABET.index(c) for c in text])

def lines(seed, rows, width=33):
    """Random sums, end to end, cut into rows; int64 [rows, width]."""
    drawn = torch.randint(10, (rows * width // 5, 2), generator=torch.Generator().manual_seed(seed)).tolist()
    return encode("".join(f"{a}+{b}={a + b}\n" for a, b in drawn))[: rows * width].view(rows, width)

print(repr("".join(ALPHABET[i] for i in lines(0, 1)[0])))

# %%
asked = [f"{a}+{b}={a + b}\n" for a in range(10) for b in range(10)]
sheet = torch.stack([encode("3+4=7\n" + line.ljust(7, "\n")) for line in asked])

@torch.no_grad()
def right_sums(model):
    """How many of the hundred: greedy decoding is right where every token of the result is the likeliest one."""
    likeliest = model(sheet, mtp=False).logits.argmax(-1)
    return sum(bool((likeliest[r, 9:len(line) + 5] == sheet[r, 10:len(line) + 6]).all()) for r, line in enumerate(asked))

# %%
sums = ModelConfig(vocab_size=len(ALPHABET), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=16,
                   qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, intermediate_size=96, n_routed_experts=0)
held_out = lines(99, 64)
STEPS, BATCH, EVERY = 120, 16, 10

@torch.no_grad()
def look(model):
    """Right sums of 100, and the main head's loss on fresh lines."""
    return right_sums(model), nats(model(held_out[:, :-1], mtp=False).logits, held_out[:, 1:]).item()

# %%
def study(depth, seed):
    """Train one model; what `look` sees every EVERY steps."""
    config = PretrainConfig(model=sums.replace(num_nextn_predict_layers=depth), mtp_weight=0.3)
    model = MiniDeepSeek(config.model, torch.Generator().manual_seed(seed))
    rows, seen = lines(seed, STEPS * BATCH), []
    optimizer = Optimizer(model, OptimConfig(lr=8e-3, warmup=20, decay=0, weight_decay=0.1), STEPS)
    for step in range(STEPS):
        optimizer.schedule(step)
        train_step(model, optimizer, rows[step * BATCH:(step + 1) * BATCH], config)
        if (step + 1) % EVERY == 0:
            seen.append(look(model))
    return seen

# %% [markdown]
# The rate stays constant after the warm-up, so that every point of a curve is an honest shorter run. One guess first: at the end, of 100 sums, how many more will the model with D = 1 get right than the one without?

# %% tags=["prediction"]
guess = None
gain = predict(
    "mtp.gain", "How many more of 100 sums does D = 1 get right, at equal tokens?",
    guess, example=5, scale="difference", tolerance=30,
)
print(gain)

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
price = {depth: training_flops(sums.replace(num_nextn_predict_layers=depth), 16) for depth in runs}
for depth in runs:
    share_of_none = price[depth] / price[0]
    print(f"D = {depth}: {share_of_none:.2f} of the FLOPs of none, {1000 * took[depth]:.0f} ms a step")

# %% [markdown]
# Two comparisons, because "better" has two meanings. At **equal tokens** each model has read the same lines. At **equal compute** the models that look ahead stop earlier, when they have spent the FLOPs that the plain model spends in all.

# %%
def half_width(values):
    """Of the 95 % interval of a mean of three: Student's t with 2 degrees of freedom. Without bounds for fewer."""
    return 4.303 * stdev(values) / math.sqrt(3) if len(values) == 3 else math.inf

def at(depth, equal, which):
    """The three seeds' values (0 right sums, 1 loss) at equal tokens, or where the compute of D = 0 is spent."""
    point = -1 if equal == "tokens" else round(STEPS * price[0] / price[depth] / EVERY) - 1
    return [seen[point][which] for seen in runs[depth]]

print("equal    D   right sums of 100        loss, nats")
for equal in ("tokens", "compute"):
    for depth in runs:
        right_, loss = at(depth, equal, 0), at(depth, equal, 1)
        print(f"{equal:8} {depth}   {fmean(right_):5.1f}  {str(right_):13}   {fmean(loss):.3f} ± {half_width(loss):.3f}")

# %%
def against_none(depth, equal, which):
    """Mean difference to D = 0, seed by seed, and the half width of its 95 % interval."""
    apart = [a - b for a, b in zip(at(depth, equal, which), at(0, equal, which), strict=True)]
    return fmean(apart), half_width(apart)

print("difference to none   right sums of 100          loss, nats")
for equal in ("tokens", "compute"):
    for depth in (1, 2):
        (s, sw), (x, xw) = against_none(depth, equal, 0), against_none(depth, equal, 1)
        print(f"D = {depth}, equal {equal:8}  {s:+6.1f} ± {sw:5.1f}        {x:+.3f} ± {xw:.3f}")
gain.reveal(against_none(1, "tokens", 0)[0])

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
steps = [EVERY * (k + 1) for k in range(STEPS // EVERY)]
for depth, colour in enumerate(("C0", "C1", "C2")):
    curves = [[point[0] for point in seen] for seen in runs[depth]]
    mean = [fmean(points) for points in zip(*curves, strict=True)]
    for ax, unit in zip(axes, (1.0, price[depth] / price[0]), strict=True):
        x = [unit * step for step in steps]
        _ = [ax.plot(x, curve, color=colour, alpha=0.25, lw=1) for curve in curves]
        _ = ax.plot(x, mean, color=colour, label=f"D = {depth}")
_ = axes[0].set(xlabel="tokens, in steps", ylabel="right sums of 100", title="equal tokens")
_ = axes[1].set(xlabel="compute, in steps of D = 0", title="equal compute", xlim=(0, STEPS * 1.02))
_ = axes[0].legend()
plt.show()

# %% [markdown]
# Look at the thin lines before the thick ones. All models are in the middle of learning to add, and which seed gets it first matters more than whether the model looks ahead: at equal tokens the interval of the difference is tens of sums wide and holds 0. At equal compute the plain model is ahead on average, because it has taken more steps. Three seeds of this size cannot tell more, and we will not let them.
#
# ### The same at a larger size
#
# So the question went to a GPU: a mixture of experts of DeepSeek's shape (width 256, four layers), on pages of the tiny web with numbers up to 99, 1,200 steps of 8,192 tokens, by `tools/experiments/ch04_mtp.py`. *Sums*: 512 prompts such as `57+38=`. *Countdown*: 512 held-out problems. Both are answered greedily.

# %%
def recorded(name):
    """What a recorded run measured; how it was run is printed."""
    print(results.origin(name))
    return results.read(name)

large = recorded("ch04_mtp")

# %%
MEASURES = {"loss": lambda r: r["loss"][0], "next token": lambda r: 100 * r["next"][0],
            "sums": lambda r: 100 * r["sums"], "Countdown": lambda r: 100 * r["countdown"]["accuracy"]}

def arm(depth, equal, measure):
    """One value a seed; D = 0 is its own measure at equal compute."""
    equal = equal if depth else "tokens"
    chosen = [r for r in large["runs"] if (r["depth"], r["equal"]) == (depth, equal)]
    return [MEASURES[measure](r) for r in sorted(chosen, key=lambda r: r["seed"])]

print("equal    D  seeds" + "".join(f"{name:>16}" for name in MEASURES))
for equal, depth in (("tokens", 0), ("tokens", 1), ("tokens", 2), ("compute", 1), ("compute", 2)):
    arms = [arm(depth, equal, name) for name in MEASURES]
    print(f"{equal:8} {depth}  {len(arms[0]):5}" + "".join(f"{fmean(v):8.3g} ± {half_width(v):5.2g}" for v in arms))

# %%
def apart(depth, equal, measure):
    """Difference to D = 0, seed by seed: mean and half width of the 95 % interval."""
    values = [a - b for a, b in zip(arm(depth, equal, measure), arm(0, equal, measure), strict=False)]
    return fmean(values), half_width(values)

for measure in MEASURES:
    print(f"{measure}, difference to none" + (", nats" if measure == "loss" else ", percentage points"))
    for equal in ("tokens", "compute"):
        for depth in (1, 2):
            mean, width = apart(depth, equal, measure)
            said = "clear" if abs(mean) > width else "not clear"
            print(f"   D = {depth}, equal {equal:8} {mean:+8.3f} ± {width:7.3f}   {said}")

# %% tags=["figure"]
fig, axes = plt.subplots(1, 3, figsize=(8, 2.7), sharey=True, layout="constrained")
for seed, ax in enumerate(axes):
    for depth in range(3):
        [run] = [r for r in large["runs"] if (r["depth"], r["seed"], r["equal"]) == (depth, seed, "tokens")]
        curve = run["curve"]
        _ = ax.plot(*zip(*curve, strict=True), label=f"D = {depth}")
    _ = ax.set(title=f"seed {seed}", xlabel="step", ylim=(0.5, 0.95))
_ = axes[0].set_ylabel("loss on fresh pages, nats")
_ = axes[0].legend()
plt.show()
for d in range(3):
    print(f"D = {d}: sums right, of 100, by seed: {[round(v) for v in arm(d, 'tokens', 'sums')]}")

# %% [markdown]
# On every seed the two models that look ahead fall first, and the plain one catches up. The fall is the moment at which a model learns to add. So the question has a third form: how many steps does it take to get down to 0.6 nats? (A level chosen after seeing the curves, in the middle of the fall.) A step of D = 1 costs more, so we count in compute too.

# %%
def steps_to(curve, level):
    """Where a curve first falls below the level, on the line between two of its points."""
    for (a, high), (b, low) in pairwise(curve):
        if low < level:
            return a + (b - a) * (high - level) / (high - low)

def arrivals(depth):
    found = [r for r in large["runs"] if (r["depth"], r["equal"]) == (depth, "tokens")]
    return [steps_to(r["curve"], 0.6) for r in sorted(found, key=lambda r: r["seed"])]

for depth in range(3):
    dear = large["speed"][depth]["flops_per_token"] / large["speed"][0]["flops_per_token"]
    came = arrivals(depth)
    print(f"D = {depth}: steps {[round(x) for x in came]}, at the price of {[round(dear * x) for x in came]} plain ones")
    early = [x - y for x, y in zip(came, arrivals(0), strict=True)]
    print(f"       less D = 0, seed by seed: {fmean(early):+.0f} ± {half_width(early):.0f} steps")

# %% [markdown]
# Then the price itself. (The three were timed in turns, on a GPU that was doing other things too: read the times as ratios.)

# %%
for s in large["speed"]:
    flops, step_time = (s[what] / large["speed"][0][what] for what in ("flops_per_token", "ms_per_step"))
    print(f"D = {s['depth']}: {s['parameters'] / 1e6:.1f} M weights, {flops:.2f} of the FLOPs, "
          f"{step_time:.2f} of the time, {s['peak_mib']} MiB")

# %% [markdown]
# What we may say, and what not:
#
# - **At equal tokens looking ahead is ahead, a little.** All six models learn to add sooner than the plain model of their seed. At the end D = 1 gets more sums right on each seed, with an interval well clear of 0; D = 2 names the next token right a little more often. The losses differ by less than we can tell, and Countdown does not move: being able to add is not yet looking for the answer. Two of eight intervals miss 0, both in favour; chance alone would give fewer than one in two tables like this.
# - **At equal compute nothing is left.** Counted in plain steps, D = 1 arrives when D = 0 does. No measure differs clearly at the end, and the loss leans the other way. (One run of D = 2 had no time left; two seeds say next to nothing.)
# - **Cheaper it is not, here.** A token costs more FLOPs, time and memory, and saves about as much as it costs.
#
# ```{admonition} A number that misleads
# :class: warning
# Do not compare training losses between D = 0 and D = 1. The second has a term more, and depth 1's own loss answers another question. Only the main head's loss, on fresh text, is the same quantity in both.
# ```
#
# ## The second answer, kept
#
# When the model writes, depth 1 makes a guess at the token after the one that was just chosen. If the main model, one pass later, says the same, the guess was right, and that pass need not wait for it: it can check the guess and go on from there. Chapter 17 builds this, speculative decoding {cite}`leviathan2022speculative`. Here we measure what it has to live on: how often the guess is **accepted**.
#
# First where we know the answer. On the questions and answers, depth 1 is right on every answer and on one question in sixteen, so on about half of all tokens. If every guess is tried, how many tokens does a pass of the main model yield, on average?

# %% tags=["prediction"]
guess = None
pace = predict(
    "mtp.pace", "Tokens for each pass of the main model, on questions and answers?",
    guess, example=1.5, scale="difference", tolerance=1,
)
print(pace)

# %%
def walk(accepted, at, last):
    """Passes of the main model from token `at` to token `last`; accepted[k][i]: guesses of depth 1 to k + 1, made at i."""
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
print(f"accepted: {accepted.float().mean():.2f} of all guesses; tokens a pass: {33 * len(fresh) / passes:.2f}")
pace.reveal(33 * len(fresh) / passes)

# %% [markdown]
# Half of the guesses are good, and yet nearly every pass yields two tokens. After an accepted answer the next pass begins at an answer: it draws the question itself, and guesses its answer. The hopeless guesses are seldom asked for. A mean over all positions would have promised 1.5: **count passes, not positions.**
#
# Now a text of the course's own kind: worksheets of the tiny web, small enough for a minute. One model, D = 2.

# %%
web = TinyWebConfig(numbers=(2,), high=9, target_high=18, worksheets=1.0, chinese=0.0, mixed=0.0)
pages = TinyWeb(web, seed=0)
tokenizer = CharTokenizer("\n +-=.0123456789Makefromnyes")
stream = [i for page in pages.pages(0, 3600) for i in (tokenizer.bos_id, *tokenizer.encode(page), tokenizer.eos_id)]
sheets = torch.tensor(stream[: 160 * 12 * 65]).view(-1, 65)
print(pages[3])

# %%
writer_config = PretrainConfig(model=sums.replace(
    vocab_size=tokenizer.vocab_size, hidden_size=48, intermediate_size=128, num_nextn_predict_layers=2))
writer = MiniDeepSeek(writer_config.model, torch.Generator().manual_seed(0))
optimizer = Optimizer(writer, OptimConfig(lr=8e-3, warmup=20, weight_decay=0.1), 160)
for step, batch in enumerate(sheets.split(12)):
    optimizer.schedule(step)
    losses, _ = train_step(writer, optimizer, batch, writer_config)
task = Countdown(2, high=9, target_high=18, ops="+-", split="valid")
solved = evaluate(MiniPolicy(writer, tokenizer), task, 96, 64, temperature=1.0, generator=torch.Generator().manual_seed(0))
print(f"loss {losses['loss']:.2f} nats; of 100 replies "
      f"{100 * solved.well_formed:.0f} are well formed and {100 * solved.accuracy:.0f} right")
print(task[0].prompt + solved.replies[0])

# %% [markdown]
# It is no mathematician yet, and it need not be: a guess is accepted where it is what the main head then wrote, right or wrong. We go over the model's own replies (drawn at temperature 1: greedily so small a model writes nearly the same reply to everybody), and ask of each token what kind it is. Depth 2 is asked only where depth 1 was accepted, for otherwise its guess is worthless.

# %%
KIND = re.compile(r"(?P<tags></?\w+>)|(?<==)(?P<results>\d+)|(?P<verdicts> no| yes)"
                  r"|(?P<digits>\d)|(?P<signs>[-+=])|(?P<words>.)", re.DOTALL)

def kinds(ids):
    """What each token belongs to: one of the names in KIND."""
    pieces = [tokenizer.decode([i]) for i in ids]
    by_character = [match.lastgroup for match in KIND.finditer("".join(pieces)) for _ in match[0]]
    starts = [sum(map(len, pieces[:k])) for k in range(len(pieces))]
    return [by_character[start] for start in starts]

@torch.no_grad()
def judged(ids):
    """For each depth, which guesses (made at position i) the main head then wrote, all earlier depths included."""
    text, columns = torch.tensor(ids), []
    good = torch.ones(len(ids), dtype=torch.bool)
    for k, logits in enumerate(writer(text[None]).mtp_logits, start=1):
        good = good[:len(ids) - 1 - k] & (logits[0, :-1].argmax(-1) == text[k + 1:])
        columns.append(good)
    return [column.tolist() for column in columns]

# %%
tally = [{}, {}]
passes, written = [0, 0], 0
for i, reply in enumerate(solved.replies):
    prompt = [tokenizer.bos_id, *tokenizer.encode(task[i].prompt)]
    ids = [*prompt, *tokenizer.encode(reply), tokenizer.eos_id]
    kind, columns = kinds(ids), judged(ids)
    for k, column in enumerate(columns, start=1):
        for at_ in range(len(prompt) - 1, len(ids) - 1 - k):
            if k == 1 or columns[0][at_]:
                tally[k - 1].setdefault(kind[at_ + 1 + k], []).append(column[at_])
        passes[k - 1] += walk(columns[:k], len(prompt) - 1, len(ids) - 1)
    written += len(ids) - len(prompt)

# %%
print("accepted      depth 1          depth 2, after depth 1")
for name in sorted(tally[0], key=lambda name: -fmean(tally[0][name])):
    row = [f"{fmean(t[name]):.2f} of {len(t[name]):4}" if name in t else "-" for t in tally]
    print(f"{name:10}    {row[0]:14}   {row[1]}")
small_pace = [written / p for p in passes]
print(f"tokens a pass: {small_pace[0]:.2f} with depth 1, {small_pace[1]:.2f} with both")

# %% [markdown]
# Tags are free: after `</think>` everybody knows what follows. The signs and verdicts come nearly as easily. The digits of the expression, on the other hand, are a choice, here among several good ways to begin, and a head that is not the main head makes another.
#
# On the larger models, three seeds, each on its own 512 greedy replies:

# %%
def replies_of(depth):
    """What was measured on the replies of the three seeds, at equal tokens."""
    return [r["replies"] for r in large["runs"] if (r["depth"], r["equal"]) == (depth, "tokens")]

def share(depth, kind, k=0):
    """The share of guesses of depth k + 1 that were accepted, the three seeds together."""
    counts = [replies["by_kind"][k].get(kind, [0, 0]) for replies in replies_of(depth)]
    return sum(hit for hit, _ in counts) / max(sum(n for _, n in counts), 1)

for kind in ("tags", "verdicts", "signs", "digits", "results"):
    print(f"{kind:10} D = 1: {share(1, kind):.2f}    D = 2: {share(2, kind):.2f}, then {share(2, kind, 1):.2f}")
paces = [[replies["per_pass"][-1] for replies in replies_of(depth)] for depth in (1, 2)]
for depth, values in zip((1, 2), paces, strict=True):
    print(f"D = {depth}: tokens a pass {fmean(values):.3f} ± {half_width(values):.3f}")

# %% [markdown]
# Greedy replies begin with the numbers as the problem gives them, so their digits are copied. The results are not: depth 1 adds, in a single block, nearly as reliably as the main model does in four. It had to learn it; what it knew earlier is printed below, among the things that went wrong.
#
# ### What speed that would buy at most
#
# A pass that yields $n$ tokens is worth $n$ passes, less what the guessing costs. A GPU that writes for one reader spends its time on reading weights, for one token or for three alike, and the weights of the modules come on top. FLOPs for one token count the same weights, so we divide by their ratio. For DeepSeek-V3 itself we take the acceptance that the paper reports, 85 %.

# %%
def ceiling(pace, depth, config):
    """Tokens a pass over its cost in operations, one pass of the plain model being 1."""
    looked = config.replace(num_nextn_predict_layers=depth)
    return pace / price_of(looked)

def price_of(config):
    return training_flops(config, 64) / training_flops(config, 64, mtp=False)

for depth, tokens_a_pass in enumerate(small_pace, start=1):
    most = ceiling(tokens_a_pass, depth, writer_config.model)
    print(f"small model, D = {depth}: at most {most:.2f} times the speed")
model = ModelConfig.from_dict(large["settings"]["model"])
for depth, values in zip((1, 2), paces, strict=True):
    print(f"larger model, D = {depth}: at most {ceiling(fmean(values), depth, model):.2f} times the speed")
v3 = ModelConfig.from_dict({"model_type": "deepseek_v3"})
print(f"DeepSeek-V3, D = 1: at most {ceiling(1.85, 1, v3):.2f} times the speed")
print(f"   there, a token with its guess costs {price_of(v3):.3f} of a token without")

# %% [markdown]
# The deeper the model, the cheaper the look ahead. A module is one block and a head: half the work of our model of two layers, more than a quarter of the one with four, and a few hundredths of V3, where comparing at equal compute is nearly the same as comparing at equal tokens. For V3 our ceiling lies close to the 1.8 that the paper reports. It leaves out what a real decoder adds: bookkeeping, and experts that two tokens do not share.
#
# Below, one reply of the small model. Choose a depth and walk along: what was guessed for each token, and where the guess was wrong. Without the figure: tags and the word `Make` are guessed by all depths, the digits that a problem leaves open by none.

# %% tags=["widget"]
from minidsk.widgets import Acceptance

ids = [tokenizer.bos_id, *tokenizer.encode(task[0].prompt + solved.replies[0]), tokenizer.eos_id]
rows = [logits.argmax(-1)[0].tolist() for logits in heads(writer, torch.tensor([ids]))]
spelled = [[tokenizer.decode([i]) for i in row] + [None] * (len(ids) - len(row)) for row in (ids, *rows)]
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
# The weight $\lambda$ was 0.3 for the first 10 trillion tokens and 0.1 for the other 4.8. In the paper's order the state comes first; in the weights that DeepSeek published, and in ours, the embedding does.
#
# The idea of training on several tokens at once is older: Gloeckle and others put independent heads side by side on the same state, as our first try did {cite}`gloeckle2024mtp`. DeepSeek's change is the chain, in which every head sees all tokens before its target.
#
# DeepSeek's own comparison is at equal tokens, with the module dropped afterwards so that inference costs the same; it reports gains on most benchmarks (section 4.5.1). The paper says that the guess for the second token is accepted in 85 to 90 % of cases, for 1.8 times the tokens per second (section 5.4.3).

# %% [markdown]
# ## What went wrong, or did not help
#
# - **A gain in accuracy, and no better answers.** More sums are right with D = 1, and not one Countdown problem more that we could tell. Gloeckle and others report that the gain grows with the model and that small models lose {cite}`gloeckle2024mtp`; ours have a few million weights.
# - **A mean over positions misleads.** On questions and answers it promises half a token more for each pass, and the walk finds nearly a whole one.
# - **In the smallest model depth 2 does not pay.** One more block on top of two costs about what its accepted guesses bring; the ceiling says so before anybody builds it.
# - **The first recording stopped too soon.** It had 500 steps, and we nearly wrote this chapter on it:

# %%
short = recorded("ch04_mtp_500")
for depth in range(3):
    at_500 = [r for r in short["runs"] if (r["depth"], r["equal"]) == (depth, "tokens")]
    print(f"D = {depth}: right sums of 100, by seed: {[round(100 * r['sums']) for r in at_500]}", end="")
    counts = [r["replies"]["by_kind"][0]["results"] for r in at_500 if depth]
    known = sum(hit for hit, _ in counts) / max(sum(n for _, n in counts), 1)
    print(f"; results that depth 1 guessed: {known:.2f}" if depth else "")

# %% [markdown]
# While a skill is being learned, a score measures *when* a seed gets there, and the seeds lie far apart: from these numbers nobody can say anything. With more than twice the steps, of half the size, all have arrived, and the intervals of the losses are ten times narrower. The small run of this chapter has the same fault. It is left in, so that you can see what too short looks like.

# %% [markdown]
# ## Exercises
#
# ```{exercise} What should depth k say?
# :label: ex-04-targets
#
# *10 minutes.* Write the targets of depth `k` from the token ids, with -100 where the text ends (cross-entropy passes over it). `check("mtp.targets", your_function)` names the mistake.
#
# **Hint.** Write the ids of `7+5=12` in a row, and under each what depth 1 should say there. Where does the row run out?
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
# *15 minutes.* Several depths guess several tokens. The main model then says what it would have written after each of them. How many tokens did this pass yield? `check("mtp.accept_length", your_function)`.
#
# **Hint.** Walk along both lists until they part. The main model's own token, at the place where they part, is a good token too.
# ```

# %%
print(describe("mtp.accept_length"))

def my_accept_length(draft, target):
    """Replace the line below by your own; two lists of ids to a number from 1 to len(draft) + 1."""
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
# *10 minutes.* On the questions and answers, what is the lowest loss that an honest head of depth 2 can reach, and how many tokens would a pass yield with D = 2?
#
# **Hint.** At a question, depth 2 must say the token three places on. What does it see of it?
# ```
#
# ```{solution} ex-04-floor
# :class: dropdown
#
# The same floor, $\tfrac12 \ln 16$: its targets are again half questions (nobody knows them) and half answers (it sees their question). But a pass from an answer yields question and answer, and then depth 2 must guess the next question: right once in sixteen. So 2 tokens a pass become about 2.06. The second module costs as much as the first and is nearly worthless here: the text gives certain tokens one at a time.
# ```
#
# ```{exercise} A smaller weight
# :label: ex-04-weight
#
# *20 minutes.* DeepSeek lowered $\lambda$ to 0.1 late in training. Run `study` for D = 1 with `mtp_weight` 0, 0.1, 0.3 and 1, three seeds each. Say first what you expect, and what would count as a difference.
#
# **Hint.** With weight 0, the numbers must be those of D = 0, to the last digit: a check that costs one run.
# ```
#
# ```{solution} ex-04-weight
# :class: dropdown
#
# `train_step` leaves the modules out at weight 0, and the main weights of a seed are drawn first: so the curve of D = 0 comes back exactly. For the others compare differences seed by seed, with their interval. With three seeds of this size the interval is tens of sums wide; only the size of the interval is a safe prediction.
# ```

# %% [markdown]
# ## Bug zoo
#
# Three plausible wrong versions of the loss live in the package. Write tests that accept the right one and catch all three. The coins of `7+5=12` are a start, and the reader who has carried them along can do it without a computer. Two tests of ours stand below, and together they catch all three. Take them out and write your own first.

# %% tags=["zoo"]
def coins_by_hand(loss):
    value = loss([torch.zeros(1, 4, 2), torch.zeros(1, 3, 2)], torch.zeros(1, 5, dtype=torch.long), 0.3)
    assert abs(float(value) - 0.3 / 2 * 7 / 5 * math.log(2)) < 1e-6

def certain_of_the_right_tokens(loss):
    ids = torch.tensor([[1, 3, 0, 2, 4]])
    sure = [100.0 * F.one_hot(ids[:, k:], 5).float() for k in (1, 2)]
    assert float(loss(sure, ids, 0.3)) < 1e-6

zoo("mtp.loss", [coins_by_hand, certain_of_the_right_tokens])

# %% [markdown]
# ## The opening question, and the receipt

# %%
for equal in ("tokens", "compute"):
    for measure in ("loss", "sums"):
        mean, width = apart(1, equal, measure)
        print(f"D = 1 less none, equal {equal:8} {measure:5} {mean:+.3f} ± {width:.3f}")
print(f"tokens a pass, if the second answer is kept: {fmean(paces[0]):.2f} ± {half_width(paces[0]):.2f}")
mean, width = apart(1, "tokens", "sums")
assert mean > width, "the summary below says that D = 1 adds better at equal tokens"
unclear = [abs(mean) < width for mean, width in (apart(1, "compute", measure) for measure in MEASURES)]
assert all(unclear), "and that nothing is clear at equal compute"

# %% tags=["receipt"]
receipt(
    spread={f"right sums of 100, D = {depth}": at(depth, "tokens", 0) for depth in range(3)},
    differences={"by hand and MTPModule": (difference, 1e-12), "loss by hand and mtp_loss": (loss_difference, 1e-6)},
)

# %% [markdown]
# ## Summary
#
# How much better does the first answer become? At equal tokens, a little: D = 1 learns to add sooner and ends with some four sums in a hundred more. At what price? About what it gains: at equal compute we cannot tell it from a plain model. So "boosts accuracy" holds here, token for token, and "cheaper" does not, for a model of four layers, where a module is more than a quarter more work; for one of sixty-one layers the price is small. Is the second answer good for anything? Yes: kept, it yields nearly two tokens for each pass of the main model.
#
# - I can now build a head that looks ahead along a chain, and say why heads side by side cannot do its work.
# - I can now prove which tokens a head sees, and recognise a loss that is too good.
# - I can now compare two ways of training at equal tokens and at equal compute, with an interval.
# - I can now turn acceptance into tokens a pass, and tell it from a mean over positions.

# %% [markdown]
# ## Read on
#
# - Gloeckle and others {cite}`gloeckle2024mtp`, section 2 and the results by model size: heads side by side, and how the gain depends on scale.
# - The report on V3 {cite}`deepseekv3`, section 2.2 for the module and 4.5.1 for its ablation.
# - Leviathan and others {cite}`leviathan2022speculative`, for why checking guesses changes nothing in what is written. Chapter 17 builds it with the head that you have just trained.
# - Chapter 05 asks where good text comes from; chapter 06 puts the whole model together.
