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
# # Latent attention
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/02_latent_attention.ipynb)
#
# To write its next token, a language model looks back at every token before. An ordinary model of DeepSeek-V3's shape would keep two million numbers for each of them: a conversation of 128 thousand tokens would fill seven GPUs of 80 GB, with nothing but its memory. DeepSeek-V3 has as many heads and as many layers, looks at every token all the same, and keeps under 2 % of that. What did it throw away, and what does it still have to keep?
#
# - **You will build** attention with a cache, rotary positions, and multi-head latent attention (MLA) in two forms that give the same numbers; then stretch a trained model to eight times its context.
# - **You need** PyTorch, and to have seen softmax attention once. Chapter 01 is useful, not required.
# - **It takes** about 60 s to run on two CPU cores of a laptop, about twice that on Colab's two cores, no less on a GPU (the models are too small to notice it), and an hour and a half to read.

# %% tags=["hide-input"]
import importlib.util; _ = importlib.util.find_spec("minidsk") or get_ipython().run_line_magic("pip", "install -q 'minidsk[notebooks] @ git+https://github.com/minidsk/minidsk'")

# %%
import math
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import tensor

from minidsk import MiniDeepSeek, ModelConfig
from minidsk.data.corpus import TinyWeb
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.model.attention import LatentCache, MultiHeadLatentAttention
from minidsk.model.rope import inverse_frequencies, rotate, rotation, softmax_scale

# %% [markdown]
# ## The pain first
#
# Times in this chapter are processor time, so that other work on the machine does not count. Here is a small model with random weights. We let it write 32, 64 and 128 tokens, and forbid it to remember anything: for each new token it reads the whole text again.

# %%
small = ModelConfig(n_routed_experts=0)
writer = MiniDeepSeek(small, torch.Generator().manual_seed(0)).double()
start = torch.zeros(1, 1, dtype=torch.long)
_ = writer.generate(start, 8)  # the first call of anything is slow

for new in (32, 64, 128):
    began = time.process_time()
    uncached = writer.generate(start, new, temperature=0, use_cache=False)
    print(f"{new:4d} new tokens read {new * (new + 1) // 2:5,} tokens in {1000 * (time.process_time() - began):.0f} ms")

# %% [markdown]
# Twice the text, four times the reading: 128 tokens cost 8,256 readings, though only 128 different tokens were ever read. The remedy is as old as the decoder: remember what can be used again.
#
# ### Three tokens, by hand
#
# What can be used again? Take one head, and three tokens that we will keep for the whole chapter. Each token has a key; the newest token asks with its query. The score of a token is the product of query and key.

# %%
keys = tensor([[2.0, 2.0], [6.0, 1.0], [4.0, 2.0]])
values = tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
query = tensor([1.0, 1.0])
scores = keys @ query
weights = scores.softmax(0)
print("scores ", scores.tolist())
print("weights", [round(w, 3) for w in weights.tolist()])
print("output ", [round(v, 3) for v in (weights @ values).tolist()])

# %% [markdown]
# Remember **4, 7, 6**. These three scores will come back.
#
# Nothing in the first token's key depends on the tokens after it. So a key, once computed, stays valid for ever, and so does a value. Old queries are never used again. That is the **KV cache**: keep keys and values, forget the rest.

# %%
def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention of one head; q [new, d] are the last of the tokens of k, v [time, d]."""
    new, seen = len(q), len(k)
    may_look = torch.ones(new, seen, dtype=torch.bool).tril(seen - new)
    scores = (q @ k.T / math.sqrt(q.shape[-1])).masked_fill(~may_look, -torch.inf)
    return scores.softmax(-1) @ v


# %%
q, k, v = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
at_once = attend(q, k, v)
one_by_one = torch.cat([attend(q[t : t + 1], k[: t + 1], v[: t + 1]) for t in range(6)])
assert torch.allclose(at_once, one_by_one, atol=1e-12)
print("six tokens at once, and one by one with a cache: equal")

# %% [markdown]
# ## The price
#
# The cache turns reading into remembering. How much is there to remember? Two vectors (key and value) for each head, in each layer, for each token. DeepSeek-V3 has 61 layers and 128 heads of 128 numbers.
#
# Before you run on, guess: replace `None` by a number. The tally stays on your machine.

# %% tags=["prediction"]
guess = None
kept_by_v3 = predict("attention.elements", "How many numbers per token does V3's cache keep?", guess, example=100_000)
kept_by_v3

# %% [markdown]
# Others had attacked this price before. **Multi-query attention** (MQA) lets all heads share one key and one value {cite}`shazeer2019mqa`; **grouped-query attention** (GQA) lets a group of heads share {cite}`ainslie2023gqa`. Both save by making heads look at the same thing. Eight groups is a usual choice; V3 uses neither. In bf16, two bytes a number, and for a text of 131,072 tokens:

# %%
layers, heads, head_dim, groups = 61, 128, 128, 8
numbers = {
    "MHA": layers * 2 * heads * head_dim,
    "GQA": layers * 2 * groups * head_dim,
    "MQA": layers * 2 * head_dim,
}
for kind, n in numbers.items():
    print(f"{kind}  {n:9,} numbers a token, {2 * n:9,} bytes, {2 * n * 131072 / 1e9:6.1f} gigabytes in all")

# %% [markdown]
# MQA is cheap because it is poor: 128 heads, one key. Can a cache be small and the keys still differ from head to head?

# %% [markdown]
# ## Keep the latent, not the keys
#
# The keys of all heads come from one hidden state, so they cannot be all that independent. Suppose that each token has a short vector, its **latent** $c$, and that the key of a head is $W^{UK} c$, its value $W^{UV} c$ (UK: *up to the key*). Then the latent is all that must be kept. Here are latents behind our three tokens:

# %%
latents = tensor([[1.0, 2.0], [3.0, 1.0], [2.0, 2.0]])
w_uk = tensor([[2.0, 0.0], [0.0, 1.0]])
print("keys  ", (latents @ w_uk.T).tolist())
print("scores", (latents @ w_uk.T @ query).tolist())

# %% [markdown]
# 4, 7, 6 again. But we paid for it: each step unfolds the keys of the *whole* past from their latents. Memory became small, work became large.
#
# Now move a bracket. $q \cdot (W^{UK} c) = (W^{UK\top} q) \cdot c$. Instead of unfolding every key, fold the matrix into the query, once:

# %%
absorbed_query = w_uk.T @ query
print("absorbed query", absorbed_query.tolist())
print("scores        ", (latents @ absorbed_query).tolist())

# %% [markdown]
# 4, 7, 6, and no key was ever built. This is **absorption**: the query meets the latents themselves. The same move works for the values: mix the latents first, apply $W^{UV}$ once to the mixture.
#
# If this were all, the chapter would end here. What is missing is order.

# %% [markdown]
# ## Where is a token?
#
# Attention sees a bag. Shuffle keys and values together, and the output is the same:

# %%
order = tensor([2, 0, 1])
shuffled = (keys[order] @ query).softmax(0) @ values[order]
print("in order", [round(x, 3) for x in (weights @ values).tolist()])
print("shuffled", [round(x, 3) for x in shuffled.tolist()])

# %% [markdown]
# **Rotary positions** (RoPE) {cite}`su2021roformer` turn each pair of numbers of a query or a key by an angle proportional to its position. Turn both, and their product depends on the *difference* of the angles alone: on the distance. Let one position be a quarter turn, so that we can do it in our heads:

# %%
def quarter_turns(x: torch.Tensor, times: int) -> torch.Tensor:
    """Turn the 2-d vector x by 90 degrees, `times` times."""
    for _ in range(times):
        x = torch.stack((-x[1], x[0]))
    return x


for m, n in ((2, 1), (7, 6), (2, 0), (7, 5)):
    product = quarter_turns(query, m) @ quarter_turns(keys[1], n)
    print(f"query at {m}, key at {n}: distance {m - n}, score {product.item():.0f}")

# %% [markdown]
# Same distance, same score, wherever the two stand. A real model has many pairs, and pair $i$ turns by $\theta^{-2i/d}$ radians a position: the first pair is a second hand, the last an hour hand. Written with complex numbers, the definition is one line:

# %%
def rope_complex(x: torch.Tensor, positions: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Turn the neighbouring pairs of x [time, d] by positions [time] times frequencies [d/2]; pairs stay in place."""
    angles = positions[:, None] * frequencies
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(-2)


# %%
positions = torch.arange(5, dtype=torch.float64)
frequencies = 10_000.0 ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
x = torch.randn(5, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
ours = rope_complex(x, positions, frequencies)
theirs = rotate(x, *rotation(positions, frequencies))
rope_difference = (ours @ ours.T - theirs @ theirs.T).abs().max().item()
assert rope_difference < 1e-12
print("radians per position:", [f"{f:g}" for f in frequencies.tolist()])
print("largest difference of the scores:", "below 1e-12" if rope_difference < 1e-12 else rope_difference)

# %% [markdown]
# We compare *scores*, not vectors, with reason: the package lays the turned numbers out in another order (first members, then second members), as transformers does. Queries and keys share that order, so no score notices.

# %% [markdown]
# ## Rotation breaks the trick
#
# Put the two ideas together. With RoPE the score of a query at position $m$ and a key at $n$ is $q^\top R_{n-m} W^{UK} c$: a rotation stands *between* the query and the matrix. To absorb, we must fold $R$ too, so the absorbed query is $W^{UK\top} R_{m-n}\, q$. Compute it for our query:

# %%
for distance in range(4):
    absorbed = w_uk.T @ quarter_turns(query, distance)
    print(f"distance {distance}: absorbed query {absorbed.int().tolist()}")

# %% [markdown]
# One query has become four, one for each distance, and with real frequencies there are as many as there are tokens. There is no single vector to compare with all latents: absorption is gone.
#
# Could the rotation be applied elsewhere, on the latent's side of the matrix? Only if $R W = W R$. Try it:

# %%
for n, c in enumerate(latents):
    true = quarter_turns(query, 2 - n) @ (w_uk @ c)
    wrong = quarter_turns(absorbed_query, 2 - n) @ c
    print(f"token {n}, distance {2 - n}: score {true.item():3.0f}; with the latent rotated instead {wrong.item():3.0f}")

# %% [markdown]
# At distance 0 nothing turns and both agree; at distance 2 the two minus signs agree too. In between, they do not: 5 is not 1. And here is why, in four numbers:

# %%
turn = tensor([[0.0, -1.0], [1.0, 0.0]])
print("first W, then turn:", (turn @ w_uk).tolist())
print("first turn, then W:", (w_uk @ turn).tolist())

# %% [markdown]
# $W$ stretches the first direction; the rotation moves what stands in it. In general the two do not commute, and training has no reason to make them.

# %% [markdown]
# ## The decoupled key
#
# DeepSeek-V2's answer {cite}`deepseekv2` is to stop asking one key to do both jobs. The **content** part of the key comes from the latent and never turns, so it can be absorbed. Beside it each token keeps one short **position** key, turned *before* it goes into the cache and shared by all heads. The two scores are added.
#
# By hand: give every token the position key (1, 0) and the query the position part (1, 0), a quarter turn a position.

# %%
content = latents @ absorbed_query
position_query = quarter_turns(tensor([1.0, 0.0]), 2)
position_keys = torch.stack([quarter_turns(tensor([1.0, 0.0]), n) for n in range(3)])
print("content ", content.tolist())
print("position", (position_keys @ position_query).tolist())
print("sum     ", (content + position_keys @ position_query).tolist())

# %% [markdown]
# 4, 7, 6 became 3, 7, 7: near tokens gained, far ones lost, and still nobody built a key. Each token keeps its latent and one rotated key, and that is all. The table's missing row is 61 layers of 512 + 64 numbers:

# %%
numbers["MLA"] = layers * (512 + 64)
kept_by_v3.reveal(numbers["MLA"])
for kind, n in numbers.items():
    print(f"{kind}  {n:9,} numbers a token, {2 * n:9,} bytes, {100 * n / numbers['MHA']:6.2f} % of MHA")
assert numbers["MLA"] == 35_136

# %% [markdown]
# MLA costs as much as GQA with (512 + 64) / (2 · 128) = 2.25 groups, and yet each of its 128 heads has keys of its own.

# %% [markdown]
# ## All of it, small and slow
#
# Now real shapes, one head at a time. We borrow only the *matrices* of the package's layer, under the names that DeepSeek's checkpoints use, and do everything else ourselves. First, what is remembered of a token:

# %% tags=["naive"]
def remember(layer, x: torch.Tensor, frequencies: torch.Tensor):
    """The latent [time, r] and the rotated key [time, dr] of each token of x [time, hidden]."""
    c = layer.config
    latent, k_rope = layer.kv_a_proj_with_mqa(x).split((c.kv_lora_rank, c.qk_rope_head_dim), dim=-1)
    latent = latent * (latent.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * layer.kv_a_layernorm.weight
    return latent, rope_complex(k_rope, torch.arange(len(x)).to(frequencies), frequencies)


# %% [markdown]
# Then each head unfolds its own keys and values from the latents, and attends as in the beginning:

# %%
def head_by_head(layer, x: torch.Tensor, frequencies: torch.Tensor):
    """For each head, its attention map [time, time] and its values [time, dv]."""
    c, time = layer.config, len(x)
    latent, k_rope = remember(layer, x, frequencies)
    queries = layer.q_proj(x).unflatten(-1, (c.num_attention_heads, -1))
    unfold = layer.kv_b_proj.weight.unflatten(0, (c.num_attention_heads, -1))
    for head in range(c.num_attention_heads):
        q_nope, q_rope = queries[:, head].split((c.qk_nope_head_dim, c.qk_rope_head_dim), dim=-1)
        k_nope, v = (latent @ unfold[head].T).split((c.qk_nope_head_dim, c.v_head_dim), dim=-1)
        q_rope = rope_complex(q_rope, torch.arange(time).to(frequencies), frequencies)
        scores = (q_nope @ k_nope.T + q_rope @ k_rope.T) / math.sqrt(c.qk_head_dim)
        future = torch.ones(time, time, dtype=torch.bool).triu(1)
        yield scores.masked_fill(future, -torch.inf).softmax(-1), v


def slow_mla(layer, x: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """MLA on one text, x [time, hidden] to the same shape."""
    return layer.o_proj(torch.cat([weights @ v for weights, v in head_by_head(layer, x, frequencies)], dim=-1))


# %% [markdown]
# ## The same, from the package
#
# The package has both forms, chosen by `absorb`, and a `LatentCache` that holds latents and rotated keys. In float64, all must give the same output. First a layer with random weights and a text of 20 random vectors:

# %%
g = torch.Generator().manual_seed(3)
config = ModelConfig(hidden_size=64, num_attention_heads=4, kv_lora_rank=24, qk_nope_head_dim=16, v_head_dim=16)
layer = MultiHeadLatentAttention(config).double().requires_grad_(False)
for parameter in layer.parameters():
    _ = parameter.normal_(0, 0.3, generator=g)
x = torch.randn(1, 20, 64, generator=g, dtype=torch.float64)
frequencies = inverse_frequencies(config).double()
cos, sin = rotation(torch.arange(20).unsqueeze(0), frequencies)


# %% [markdown]
# Then decoding: token by token, each one turned by its own position, everything earlier read from the cache.

# %%
def token_by_token(layer, x, cos, sin, absorb: bool) -> torch.Tensor:
    """Decode x [1, time, hidden] with a latent cache."""
    cache = LatentCache(layer.config, 1, x.shape[1], layers=1, dtype=x.dtype)
    outputs = []
    for t in range(x.shape[1]):
        mask = cache.open(torch.ones(1, 1, dtype=torch.bool))
        here = (cos[:, t : t + 1], sin[:, t : t + 1])
        outputs.append(layer(x[:, t : t + 1], here, mask, cache, absorb=absorb))
    return torch.cat(outputs, dim=1)


# %% tags=["agree"]
reference = slow_mla(layer, x[0], frequencies).unsqueeze(0)
versions = {
    "naive": layer(x, (cos, sin), absorb=False),
    "absorbed": layer(x, (cos, sin), absorb=True),
    "naive, cached": token_by_token(layer, x, cos, sin, absorb=False),
    "absorbed, cached": token_by_token(layer, x, cos, sin, absorb=True),
}
differences = {name: (out - reference).abs().max().item() for name, out in versions.items()}
for name, difference in differences.items():
    print(f"{name:17s} largest difference from ours: {'below 1e-12' if difference < 1e-12 else difference}")
assert max(differences.values()) < 1e-12

# %% [markdown]
# Does the check bite? The likeliest mistake in a cache is to turn each new token as if it stood at position 0, because the new text *is* one token long. We plant it:

# %%
always_zero = (cos[:, :1].expand_as(cos), sin[:, :1].expand_as(sin))
bug = token_by_token(layer, x, *always_zero, absorb=True) - reference
print(f"first token off by less than 1e-12: {bool(bug[:, 0].abs().max() < 1e-12)}")
print(f"largest difference over all tokens: {bug.abs().max():.2g}")
assert bug.abs().max() > 0.01

# %% [markdown]
# The first token is right, the others are not. No error, no warning: text that gets slowly worse. That is why the book asserts equality wherever it can.

# %% [markdown]
# ## What is the rotated key worth?
#
# A task with a known answer: write a word of eight letters backwards. After the word stand eight markers, one for each letter to write; at the marker $j$ the model must say letter $7 - j$. One layer, one head. The letters are random, so nothing but attention can bring them, and if the model is right, then its map must be an anti-diagonal.

# %%
length, letters = 8, 10


def words(count: int, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Letters and markers [count, 16], and the answers [count, 8]."""
    word = torch.randint(letters, (count, length), generator=g)
    markers = torch.arange(letters, letters + length).expand(count, length)
    return torch.cat((word, markers), dim=1), word.flip(1)


# %%
_ = torch.set_default_dtype(torch.float64)  # 16 digits: your processor gives the same numbers as ours
reverse_config = ModelConfig(
    vocab_size=letters + length, hidden_size=48, num_hidden_layers=1, n_routed_experts=0, intermediate_size=96,
    num_attention_heads=1, kv_lora_rank=24, qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=16,
    rope_theta=100.0, initializer_range=0.08,
)  # fmt: skip


def fit(model: MiniDeepSeek, steps: int, peak: float, loss_of) -> None:
    """AdamW with a short warm-up, then a straight line to zero."""
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = peak * min(1, (step + 1) / 20) * (1 - step / steps)
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


# %% [markdown]
# The control is the same model with all frequencies set to zero: its rotated key stays, and never turns. Three seeds each; the test is 1,000 new words.

# %%
def reversal(seed: int, turning: bool, steps: int = 150, peak: float = 1e-2) -> tuple[float, MiniDeepSeek]:
    """The share of 8,000 letters that a model trained on the task gets right, and the model."""
    g = torch.Generator().manual_seed(seed)
    model = MiniDeepSeek(reverse_config, g)
    model.frequencies.mul_(float(turning))

    def loss_of(model):
        ids, answers = words(64, g)
        return F.cross_entropy(model(ids).logits[:, length:].transpose(1, 2), answers)

    fit(model, steps, peak, loss_of)
    ids, answers = words(1000, g)
    with torch.no_grad():
        return (model(ids).logits[:, length:].argmax(-1) == answers).float().mean().item(), model


# %%
with_turns = [reversal(seed, True) for seed in range(3)]
without = [reversal(seed, False) for seed in range(3)]
print("letters right, rotated key:   ", [f"{100 * right:.1f} %" for right, _ in with_turns])
print("letters right, no rotation:   ", [f"{100 * right:.0f} %" for right, _ in without])

# %%
maps = []
for _, model in (with_turns[0], without[0]):
    ids, _ = words(200, torch.Generator().manual_seed(9))
    normed = model.layers[0].input_layernorm(model.embed_tokens(ids)).detach()
    seen = [next(head_by_head(model.layers[0].self_attn, x, model.frequencies))[0] for x in normed]
    maps.append(torch.stack(seen).mean(0)[length:, :length].detach())
print("each marker looks most at letter", maps[0].argmax(-1).tolist())
print("with a weight of at least", f"{maps[0].max(-1).values.min():.2f}")
assert maps[0].argmax(-1).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]

# %% tags=["figure"]
fig, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
for ax, weights, title in zip(axes, maps, ("rotated key", "no rotation"), strict=True):
    picture = ax.imshow(weights, vmin=0, vmax=1, cmap="Blues")
    _ = ax.set(xlabel="letter of the word", ylabel="marker", title=title)
_ = fig.colorbar(picture, ax=axes, label="attention weight, mean of 200 words")
plt.show()
print("anti-diagonal, rotated key:", [round(w, 2) for w in maps[0].flip(1).diagonal().tolist()])
print("anti-diagonal, no rotation:", [round(w, 2) for w in maps[1].flip(1).diagonal().tolist()])

# %% [markdown]
# The figure shows whom each marker looks at: on the left one dark diagonal from bottom left to top right, on the right an even grey. Sixteen rotated numbers a token carry the whole order of the word. Without them the model knows *which* letters are there but not *where*, and the best it can do is to name the commonest one.

# %% [markdown]
# ## A figure that moves
#
# The sizes that set the price. Raise the number of heads, and see which bar does not move; then raise the context until MHA no longer fits on one GPU of 80 GB, and see how far MLA still is from it.

# %% tags=["widget"]
from minidsk.widgets import Cache

Cache()

# %% [markdown]
# In bytes: 3,997,696 for MHA, 70,272 for MLA, for each token in bf16, at V3's sizes.

# %% [markdown]
# ## What it costs here
#
# Bytes are arithmetic; time must be measured. One attention layer with V3's proportions (latent 4 times a head, rotated key half of it), one new token, a growing past. Four ways to serve it: keep nothing; keep the keys and values of all heads; keep latents and unfold them at each step; keep latents and absorb.

# %%
_ = torch.set_default_dtype(torch.float32)  # 4 bytes a number
bench = ModelConfig(hidden_size=256, num_attention_heads=16, kv_lora_rank=128)
bench_layer = MultiHeadLatentAttention(bench).requires_grad_(False)
one = torch.ones(1, 1, dtype=torch.bool)


def milliseconds(step, repeats: int = 7) -> float:
    """The fastest of several calls."""
    took = []
    for _ in range(repeats):
        began = time.process_time()
        step()
        took.append(1000 * (time.process_time() - began))
    return min(took)


# %%
ordinary_in = torch.nn.Linear(256, 16 * (48 + 48 + 32), bias=False).requires_grad_(False)
ordinary_out = torch.nn.Linear(16 * 32, 256, bias=False).requires_grad_(False)


def ordinary_step(x: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """One token through multi-head attention: its query, key and value are made, then the query meets the cache."""
    q, _, _ = ordinary_in(x).view(1, 16, 1, 128).split((48, 48, 32), dim=-1)
    return ordinary_out(F.scaled_dot_product_attention(q, k, v).flatten(1))


# %%
def four_ways(past: int) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds for one token after `past` others, and MiB kept for one layer, by way of serving."""
    text = torch.randn(1, past + 1, 256)
    turns = rotation(torch.arange(past + 1).unsqueeze(0), inverse_frequencies(bench))
    now = (turns[0][:, -1:], turns[1][:, -1:])
    k, v = torch.randn(1, 16, past, 48), torch.randn(1, 16, past, 32)
    cache = LatentCache(bench, 1, past + 20, layers=1)
    _ = cache.open(torch.ones(1, past, dtype=torch.bool)), cache.write(0, torch.randn(1, past, 144))

    def cached(absorb):
        return milliseconds(lambda: bench_layer(text[:, -1:], now, cache.open(one), cache, absorb=absorb))

    speed = {
        "nothing kept": milliseconds(lambda: bench_layer(text, turns), 2) if past <= 1024 else math.nan,
        "keys and values": milliseconds(lambda: ordinary_step(text[:, -1], k, v)),
        "latents, unfolded": cached(absorb=False),
        "latents, absorbed": cached(absorb=True),
    }
    latent, full = past * (128 + 16) * 4 / 2**20, (k.nbytes + v.nbytes) / 2**20
    return speed, dict(zip(speed, (0.0, full, latent, latent), strict=True))


# %%
pasts = (256, 1024, 4096)
measured = {past: four_ways(past) for past in pasts}
for past, (speed, memory) in measured.items():
    print(f"after {past} tokens")
    for way in speed if past <= 1024 else list(speed)[1:]:
        print(f"  {way:18s} {speed[way]:9.2f} ms   {memory[way]:6.2f} MiB")

# %% tags=["figure", "timing"]
fig, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for way, marker in zip(measured[256][0], "osD^", strict=True):
    _ = ax.plot(pasts, [measured[past][0][way] for past in pasts], marker=marker, label=way)
_ = ax.set(xscale="log", yscale="log", xlabel="tokens before", ylabel="one new token, ms", xticks=pasts)
_ = ax.set_xticks(pasts, pasts)
_ = ax.minorticks_off()
_ = ax.legend(frameon=False)
plt.show()
assert measured[4096][0]["latents, absorbed"] < measured[4096][0]["latents, unfolded"]

# %% [markdown]
# The way that keeps nothing climbs steepest. Keys and values are quick to use, and their 20 MiB a layer grow fastest. Latents that are unfolded at each step save the memory and give back the time. Absorbed latents save both: their curve rises slowest, because two matrix products with the latents are all that the past costs. (The way that keeps nothing was not asked about 4,096 tokens: it takes seconds.)
#
# And the model of the beginning, 128 tokens, now with its latent cache:

# %%
began = time.process_time()
cached = writer.generate(start, 128, temperature=0)
print(f"128 new tokens read 128 tokens in {1000 * (time.process_time() - began):.0f} ms")
assert torch.equal(cached, uncached)
print("the same 128 tokens as without the cache")

# %% [markdown]
# ## Longer than it was trained: YaRN
#
# With so cheap a cache, long contexts become affordable. But does the model understand position 100,000 if it was trained on texts of 4,096 tokens? Look at the clock hands of V3's rotated key (32 pairs), and count the turns that each makes within the trained length:

# %%
v3 = ModelConfig(qk_rope_head_dim=64, qk_nope_head_dim=128, max_position_embeddings=163_840)
yarn = {"rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "mscale": 1.0, "mscale_all_dim": 1.0}
stretched_v3 = v3.replace(rope_scaling=yarn)
before, after = inverse_frequencies(v3), inverse_frequencies(stretched_v3)
print("pair   turns in 4,096   turns in 163,840   with YaRN   divided by")
for pair in (0, 5, 10, 15, 20, 23, 31):
    turns = [f * n / (2 * math.pi) for f, n in ((before[pair], 4096), (before[pair], 163_840), (after[pair], 163_840))]
    print(f"{pair:4d} {turns[0]:16.4g} {turns[1]:18.4g} {turns[2]:11.4g} {before[pair] / after[pair]:12.4g}")

# %% [markdown]
# The fast hands went round hundreds of times: every angle is known to them. The slowest made less than a tenth of a turn. At position 163,840 it would stand where it never stood in training, and what the model makes of that angle is anybody's guess.
#
# **YaRN** {cite}`peng2023yarn` treats the hands by their speed. Those that made more than 32 turns stay; those that made less than one are slowed by the factor, here 40, so that the long text shows them only angles they know; between the two lies a ramp. And scores are made a little larger, because among more tokens attention thins out:

# %%
print(f"pairs left alone: 0 to {int((after == before).nonzero().max())}")
print(f"pairs slowed by the full factor: {int((before / after > 39.99).nonzero().min())} to 31")
print(f"scores times {softmax_scale(stretched_v3) / softmax_scale(v3):.4f} = (0.1 ln 40 + 1) squared")

# %% tags=["figure"]
fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
_ = ax.semilogy(before, "o-", ms=4, label="as trained")
_ = ax.semilogy(after, "s-", ms=4, label="YaRN, factor 40")
_ = ax.axhline(2 * math.pi / 4096, ls=":", color="gray", label="one turn in 4,096 tokens")
_ = ax.set(xlabel="pair", ylabel="radians a position")
_ = ax.legend(frameon=False)
plt.show()
print("pairs          0, 10, 16, 23, 31")
print("as trained", [f"{before[i].item():.3g}" for i in (0, 10, 16, 23, 31)])
print("with YaRN ", [f"{after[i].item():.3g}" for i in (0, 10, 16, 23, 31)])

# %% [markdown]
# ### Does it work here?
#
# A small model reads the course's tiny web, one character a token, in pieces of 32. Then it meets pieces of 256. We report its loss on held-out pages (nats a character), by eighths of the piece.

# %%
web = TinyWeb(seed=0)
text = "\n".join(web[i] for i in range(4000))
characters = sorted(set(text))
codes = {c: i for i, c in enumerate(characters)}
ids = torch.tensor([codes[c] for c in text])
training, held_out = ids[:-10_280], ids[-10_280:].view(40, 257)
print(f"{len(training):,} characters to learn from, {len(characters)} different ones, {len(held_out)} held-out pieces")

# %%
_ = torch.set_default_dtype(torch.float64)  # 16 digits again
reader_config = ModelConfig(
    vocab_size=len(characters), hidden_size=48, num_hidden_layers=2, n_routed_experts=0, intermediate_size=96,
    kv_lora_rank=24, qk_nope_head_dim=16, v_head_dim=16, initializer_range=0.06, max_position_embeddings=256,
)  # fmt: skip


def read(model: MiniDeepSeek, length: int, tokens: int, steps: int, peak: float, seed: int) -> None:
    """Train on pieces of `length` characters, `tokens` characters a step."""
    g = torch.Generator().manual_seed(seed)

    def loss_of(model):
        starts = torch.randint(len(training) - length - 1, (tokens // length, 1), generator=g)
        piece = training[starts + torch.arange(length + 1)]
        return F.cross_entropy(model(piece[:, :-1]).logits.transpose(1, 2), piece[:, 1:])

    fit(model, steps, peak, loss_of)


# %%
def changed(model: MiniDeepSeek, how: str) -> MiniDeepSeek:
    """The same weights with other frequencies: as they were, all of them slowed 8 times, or YaRN's."""
    scaling = {**yarn, "factor": 8, "original_max_position_embeddings": 32}
    if how == "YaRN, scores as before":
        scaling |= {"mscale_all_dim": 0, "attention_factor": 1.0}
    copy = MiniDeepSeek(reader_config.replace(rope_scaling=scaling if "YaRN" in how else None))
    _ = copy.load_state_dict(model.state_dict())
    copy.frequencies.div_(8 if how == "all slowed" else 1)
    return copy


@torch.no_grad()
def loss_by_eighths(model: MiniDeepSeek) -> list[float]:
    logits = model(held_out[:, :-1]).logits
    loss = F.cross_entropy(logits.transpose(1, 2), held_out[:, 1:], reduction="none")
    return loss.mean(0).view(8, 32).mean(1).tolist()


# %% [markdown]
# What will happen beyond the trained length? Guess before you run:

# %% tags=["prediction"]
guess = None
beyond = predict(
    "attention.beyond", "By what factor is the loss larger at characters 225-256 than at 1-32?", guess, example=1.2, tolerance=4,
)  # fmt: skip
beyond

# %% [markdown]
# DeepSeek-V3 was not only stretched: it was trained on for a while at the new length. So we look twice, at the model as it is and after 20 more steps on pieces of 256, at three ways: plain (the control), all hands slowed by 8, and YaRN. Three seeds each.

# %%
readers = [MiniDeepSeek(reader_config, torch.Generator().manual_seed(seed)) for seed in range(3)]
for seed, model in enumerate(readers):
    read(model, 32, 512, 200, 5e-3, seed)

# %%
ways = ("plain", "all slowed", "YaRN", "YaRN, scores as before")
changes = [{way: changed(model, way) for way in ways} for model in readers]
curves = {(way, 0): torch.tensor([loss_by_eighths(others[way]) for others in changes]) for way in ways}

# %%
for way in ways[:3]:
    for seed, others in enumerate(changes):
        read(others[way], 256, 768, 20, 1e-3, 100 + seed)
    curves[way, 20] = torch.tensor([loss_by_eighths(others[way]) for others in changes])

# %%
print(f"{'characters up to':24s}" + "".join(f"{32 * i + 32:6d}" for i in range(8)))
for (way, steps), runs in curves.items():
    name = way + (", 20 steps" if steps else "")
    print(f"{name:24s}" + "".join(f"{loss:6.2f}" for loss in runs.mean(0).tolist()))
plain = curves["plain", 0].mean(0)
beyond.reveal(round((plain[-1] / plain[0]).item(), 1))

# %% tags=["figure"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), layout="constrained", sharey=True)
for (way, steps), runs in curves.items():
    ax, color = axes[steps // 20], f"C{ways.index(way)}"
    _ = ax.plot(torch.arange(8) * 32 + 16, runs.mean(0), "osD^"[ways.index(way)] + "-", ms=4, color=color, label=way)
    _ = ax.fill_between(torch.arange(8) * 32 + 16, runs.min(0).values, runs.max(0).values, color=color, alpha=0.15)
    _ = ax.axvline(32, ls=":", color="gray")
    _ = ax.set(xlabel="character of the piece", title="as it is" if steps == 0 else "after 20 steps at length 256")
_ = axes[0].set(ylabel="held-out loss, nats a character")
_ = axes[0].legend(frameon=False, fontsize=8)
plt.show()
far = {key: runs[:, 4:].mean(1) for key, runs in curves.items()}
print("mean loss of characters 129 to 256:")
for (way, steps), losses in far.items():
    print(f"  {way}, {steps} steps: {losses.mean():.2f}")

# %%
def apart(ours: str, other: str, steps: int, part: slice) -> list[str]:
    """How much lower the loss of `ours` is, seed by seed."""
    return [f"{x:+.2f}" for x in (curves[other, steps][:, part] - curves[ours, steps][:, part]).mean(1).tolist()]


print("YaRN against plain, 20 steps, characters 129 to 256:", apart("YaRN", "plain", 20, slice(4, 8)))
print("YaRN against plain, 20 steps, characters   1 to 32: ", apart("YaRN", "plain", 20, slice(0, 1)))
print("YaRN against all slowed, 20 steps, all characters:  ", apart("YaRN", "all slowed", 20, slice(0, 8)))
print("YaRN against plain, as it is, all characters:       ", apart("YaRN", "plain", 0, slice(0, 8)))

# %% [markdown]
# Left: the plain model falls apart soon after the length that it knows. And stretching alone does *not* save it here. YaRN without a further step is worse than plain within the first 128 characters and no better after them, because hands that the model had learned to read now go slower. Slowing *all* hands is worse still, which is the part of YaRN's case that we can confirm: leave the fast hands alone.
#
# Right: after 20 steps at the new length YaRN is ahead of the plain model beyond character 128 on average, but not on every one of the three seeds. Within the first 32 characters it is behind on every seed. So there is a price close by, and a gain at a distance that three seeds only suggest. In every line it is the further training that does most of the work.

# %%
yarn_20, plain_20, slowed_20 = (curves[way, 20] for way in ("YaRN", "plain", "all slowed"))
assert yarn_20[:, 4:].mean() < plain_20[:, 4:].mean()
assert (yarn_20[:, 0] > plain_20[:, 0]).all()
assert (yarn_20.mean(1) < slowed_20.mean(1)).all()
print("on 40 held-out pieces of 256 characters, after 20 steps, YaRN is")
print("  better than plain beyond character 128, on average")
print("  worse than plain up to character 32, and better than all slowed, on each of three seeds")

# %% [markdown]
# ## What DeepSeek did
#
# For each token with hidden state $h_t$, DeepSeek-V3 {cite}`deepseekv3` computes, in each layer,
#
# $$
# \boxed{c_t^{KV}} = W^{DKV} h_t, \qquad \boxed{k_t^R} = \mathrm{RoPE}(W^{KR} h_t),
# $$
#
# and keeps the two boxed vectors, 512 and 64 numbers. Keys and values of head $i$ are, on paper,
#
# $$
# k_{t,i} = [W_i^{UK} c_t^{KV};\ k_t^R], \qquad v_{t,i} = W_i^{UV} c_t^{KV},
# $$
#
# with 128 heads of 128 + 64 numbers, and the output is $\sum_j \mathrm{softmax}_j\!\left(q_{t,i}^\top k_{j,i} / \sqrt{128 + 64}\right) v_{j,i}$. The queries are compressed too (to 1,536), which saves memory in training and nothing in the cache. A norm stands on the latent; the code keeps it normalised. We do the same; `q_lora_rank` is the package's name for the other compression.
#
# DeepSeek-V2, where MLA comes from, reports a cache 93.3 % smaller than that of DeepSeek 67B and 5.76 times its largest throughput, and in its own comparisons MLA came out *better* than MHA, not only cheaper {cite}`deepseekv2`. We have not tested that claim here: our models are far too small for it.
#
# V3 was pretrained at 4,096 tokens, then stretched by YaRN with factor 40 in two phases of 1,000 steps, to 32 and to 128 thousand tokens; only the decoupled key is changed {cite}`deepseekv3`.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Absorbing everything.** If absorption is so good, why not always? Because it trades: the absorbed query is as long as the latent (512 + 64 in V3) where an ordinary one has 128 + 64. With one query and a long past that is a bargain. With many queries, as in training, it is not:

# %%
text = torch.randn(1, 512, 256, dtype=torch.float32)
turns = rotation(torch.arange(512).unsqueeze(0), inverse_frequencies(bench))
for absorb in (False, True):
    ms = milliseconds(lambda absorb=absorb: bench_layer(text, turns, absorb=absorb), 5)
    print(f"512 queries at once, {'absorbed' if absorb else 'unfolded'}: {ms:.0f} ms")

# %% [markdown]
# **YaRN's larger scores.** In the table above, the row "scores as before" leaves them out, and is at least as good nearly everywhere. The formula was fitted to large models and factors on long texts; at 32 characters we see nothing of its benefit. The bounds of 32 turns and 1 turn are made for thousands of tokens, too: within 32 characters no hand makes 32 turns, so almost all of ours are slowed.
#
# **A map that explained nothing.** Our first reversal task showed no diagonal. There the model wrote the word itself, after a single separator, with two layers: most letters came out right, and its maps were a muddle. It had no need to look at letter $7 - j$ directly; the second layer could fetch it from wherever the first had carried it. A map explains a model only where the path is forced, which is why the task above has one layer and markers.

# %% [markdown]
# ## Exercises
#
# ```{exercise} RoPE from an empty cell
# :label: ex-02-rotate
#
# *15 minutes.* Write `rotate(x, positions, theta)`: neighbouring pairs, the output in halves. `print(describe("attention.rotate"))` has the shapes; `check("attention.rotate", my_rotate)` says how you stand.
#
# **Hint.** Begin with `rope_complex` above; what remains is the order of the output.
# ```

# %%
def my_rotate(x, positions, theta):
    """Replace the line below by your own."""
    raise NotImplementedError


print(describe("attention.rotate"))

# %% [markdown]
# ```{solution-start} ex-02-rotate
# :class: dropdown
# ```

# %%
def rotate_solution(x, positions, theta):
    d = x.shape[-1]
    frequencies = theta ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    turned = rope_complex(x.double(), positions.double(), frequencies)
    return torch.cat((turned[..., 0::2], turned[..., 1::2]), dim=-1).to(x.dtype)


check("attention.rotate", rotate_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Absorb
# :label: ex-02-absorb
#
# *15 minutes.* Write `absorb(q_nope, q_rope, latent, k_rope, w_k)`: the scores of all heads, no key built. `check("attention.absorb", my_absorb)`.
#
# **Hint.** Two `einsum`, one of them over the latent's dimension. Under the root stands the length of a query *before* it was absorbed.
# ```

# %%
def my_absorb(q_nope, q_rope, latent, k_rope, w_k):
    """Replace the line below by your own."""
    raise NotImplementedError


print(describe("attention.absorb"))

# %% [markdown]
# ```{solution-start} ex-02-absorb
# :class: dropdown
# ```

# %%
def absorb_solution(q_nope, q_rope, latent, k_rope, w_k):
    into_latent = torch.einsum("hqd,hdr->hqr", q_nope, w_k)
    scores = into_latent @ latent.T + q_rope @ k_rope.T
    return scores / math.sqrt(q_nope.shape[-1] + q_rope.shape[-1])


check("attention.absorb", absorb_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Which matrices would commute?
# :label: ex-02-commute
#
# *10 minutes, on paper.* If $W^{UK}$ commuted with every rotation, RoPE and absorption would live together and the decoupled key would be needless. Which 2 by 2 matrices commute with the quarter turn $J$? What would such a key be unable to express?
#
# **Hint.** Write $W$ as (a, b; c, d), multiply both ways, compare four entries. Then think of complex numbers.
# ```
#
# ```{solution} ex-02-commute
# :class: dropdown
#
# $WJ = JW$ gives $d = a$ and $c = -b$: $W = aI + bJ$-like, that is, stretch and turn, multiplication by one complex number. Two free numbers for each pair instead of four, and, worse, a latent as long as the key, pair for pair: nothing could be compressed. Compression needs a tall matrix (many key numbers from few latent numbers), and a tall one cannot commute at all.
# ```
#
# ```{exercise} How small may the latent be?
# :label: ex-02-rank
#
# *20 minutes.* Train the reversal model with `kv_lora_rank` 1, 2 and 4, for 300 steps with a peak of 5e-3. Its values must carry one of ten letters. Say first which rank will suffice.
#
# **Hint.** `reverse_config.replace(kv_lora_rank=...)`. The latent is *normalised*: what is left of a latent of one number?
# ```

# %% [markdown]
# ```{solution-start} ex-02-rank
# :class: dropdown
# ```

# %%
full = reverse_config
trained = {}
for rank in (1, 2, 4):
    reverse_config = full.replace(kv_lora_rank=rank)
    tries = [reversal(seed, True, 300, 5e-3) for seed in range(2)]
    trained[rank] = tries[0][1]
    print(f"rank {rank}, letters right on two seeds:", [f"{100 * right:.0f} %" for right, _ in tries])
reverse_config = full

# %% [markdown]
# A normalised latent of two numbers is a point on a circle, and ten letters find room there, though not on every seed. A latent of one number, normalised, has only two values, so it can tell two letters apart. And yet nearly all ten come through. What carries the others? The rotated key is the suspect: it is not normalised, and it may differ from letter to letter. Give all letters the same one:

# %%
def same_for_all_letters(module, inputs, output):
    """Replace the position key of every letter by the mean of all."""
    output = output.clone()
    output[:, :length, 1:] = output[:, :length, 1:].mean((0, 1), keepdim=True)
    return output


handle = trained[1].layers[0].self_attn.kv_a_proj_with_mqa.register_forward_hook(same_for_all_letters)
ids, answers = words(1000, torch.Generator().manual_seed(5))
right = (trained[1](ids).logits[:, length:].argmax(-1) == answers).float().mean().item()
handle.remove()
print(f"rank 1, one rotated key for all letters: {100 * right:.0f} % right")
assert right < 0.25

# %% [markdown]
# Caught: two values, two letters of ten. The other eight were smuggled by the position key, through the attention weights. Names of parts say what we meant them for, not what training makes of them.
#
# ```{solution-end}
# ```
#
# ```{exercise} The bytes of a cache
# :label: ex-02-bytes
#
# *5 minutes.* Write `cache_bytes(kind, layers, heads, head_dim, groups, rank, rope_dim, bytes_each)` for the four kinds. `check("attention.cache_bytes", my_cache_bytes)`.
#
# **Hint.** List what one layer keeps of one token, then multiply.
# ```
#
# ```{solution-start} ex-02-bytes
# :class: dropdown
# ```

# %%
def cache_bytes_solution(kind, layers, heads, head_dim, groups, rank, rope_dim, bytes_each):
    sharing = {"mha": heads, "gqa": groups, "mqa": 1}
    one_layer = rank + rope_dim if kind == "mla" else 2 * sharing[kind] * head_dim
    return layers * one_layer * bytes_each


check("attention.cache_bytes", cache_bytes_solution)

# %% [markdown]
# ```{solution-end}
# ```

# %% [markdown]
# ## Bug zoo
#
# Three wrong versions of `rotate` live in the package. The tests below accept the right one and catch one of them at best. Write the rest.

# %% tags=["zoo"]
def nothing_turns_at_position_zero(rotate) -> None:
    x = tensor([[1.0, 2.0, 3.0, 4.0]])
    assert torch.allclose(rotate(x, tensor([0]), 100.0), tensor([[1.0, 3.0, 2.0, 4.0]]))


zoo("attention", [nothing_turns_at_position_zero])

# %% [markdown]
# Ours are behind the button. Look at them last.

# %% tags=["hide-cell"]
def one_radian_turns_counterclockwise(rotate) -> None:
    turned = rotate(tensor([[1.0, 0.0]]), tensor([1]), 100.0)
    assert torch.allclose(turned, tensor([[math.cos(1), math.sin(1)]]))


def slow_pair_turns_by_the_root_of_theta(rotate) -> None:
    turned = rotate(tensor([[0.0, 0.0, 1.0, 0.0]]), tensor([3]), 100.0)
    assert torch.allclose(turned, tensor([[0.0, math.cos(0.3), 0.0, math.sin(0.3)]]), atol=1e-6)


zoo("attention", [nothing_turns_at_position_zero, one_radian_turns_counterclockwise, slow_pair_turns_by_the_root_of_theta])

# %% [markdown]
# ## Receipt
#
# What this run cost, the spread over seeds, and how far we are from the reference.

# %% tags=["receipt"]
receipt(
    spread={
        "letters right without rotation": [round(right, 2) for right, _ in without],
        "loss beyond 128, plain, 20 steps": [round(x, 2) for x in far["plain", 20].tolist()],
        "loss beyond 128, YaRN, 20 steps": [round(x, 2) for x in far["YaRN", 20].tolist()],
    },
    differences={"MLA": (max(differences.values()), 1e-12), "RoPE": (rope_difference, 1e-12)},
)

# %% [markdown]
# ## Summary
#
# What did V3 throw away? The keys and values of 128 heads: 1,998,848 numbers a token. What does it keep? **35,136**: in each of 61 layers one latent of 512 numbers, from which every key and value follows, and one rotated key of 64, because a rotation cannot be folded into a query. That is 57 times less, and not an approximation: unfolded, absorbed and cached agree to the last digits of a float64.
#
# - I can now say what a cache costs, from a model's sizes, for MHA, GQA, MQA and MLA.
# - I can now turn a vector by its position, and say why scores see only distances.
# - I can now show, with a 2 by 2 matrix, why rotation stops absorption, and how the decoupled key gives it back.
# - I can now decode with a latent cache, and say when to absorb and when to unfold.
# - I can now read YaRN's frequencies, and say what stretching alone does and does not do.

# %% [markdown]
# ## Read on
#
# - DeepSeek-V2, section 2.1 and its appendix on MLA against MHA {cite}`deepseekv2`.
# - RoPE {cite}`su2021roformer`, section 3; YaRN {cite}`peng2023yarn`, section 3.
# - The code of this chapter in the package: `minidsk/model/rope.py` and `attention.py`, 80 and 190 lines.
# - Next: attention is now cheap to remember. Chapter 03 makes the other half of each layer cheap to compute.
