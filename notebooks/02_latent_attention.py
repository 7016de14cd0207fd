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
# To write its next token, a language model looks back at every token before it. An ordinary model of DeepSeek-V3's shape would keep two million numbers in memory for each of these tokens. For a conversation of 128 thousand tokens, this memory alone would fill seven GPUs of 80 GB. DeepSeek-V3 also looks at every token, with as many heads and layers as an ordinary model of its shape, but it keeps less than 2 % of the numbers in memory. What did it throw away, and what does it still have to keep?
#
# - **You will build** attention with a cache, rotary positions, and multi-head latent attention (MLA) in two forms that give the same numbers. Then you will stretch a trained model to eight times its context.
# - **You need** PyTorch, and you should have seen softmax attention once. [Chapter 01](01_text_and_tokens.ipynb) is useful but not required.
# - **It takes** about 60 s to run on two CPU cores of a laptop, and about twice that on Colab's two cores. A busy machine takes longer; the receipt at the end has the time of the run on this page. A GPU is no faster, because the models are too small for it. Plan an hour and a half for reading.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import math
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import tensor

from minidsk import MiniDeepSeek, ModelConfig
from minidsk.data.corpus import TinyWeb
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.model.attention import LatentCache, MultiHeadLatentAttention
from minidsk.model.rope import inverse_frequencies, rotate, rotation, softmax_scale

plt.style.use("minidsk.diagrams.look")

# %% [markdown]
# ## Without a cache, twice the text means four times the reading
#
# Here is a small model with random weights. It writes 32, 64 and 128 tokens, and we do not let it remember anything. For each new token it reads the whole text again. (Times in this chapter are processor time, so that other work on the machine does not count.)

# %%
small = ModelConfig(n_routed_experts=0)
writer = MiniDeepSeek(small, torch.Generator().manual_seed(0)).double()
start = torch.zeros(1, 1, dtype=torch.long)
_ = writer.generate(start, 8)  # the first call of anything is slow

for new in (32, 64, 128):
    began = time.process_time()
    uncached = writer.generate(start, new, temperature=0, use_cache=False)
    took = 1000 * (time.process_time() - began)
    print(f"{new:4d} new tokens read {new * (new + 1) // 2:5,} tokens in {took:.0f} ms")

# %% [markdown]
# When the text is twice as long, the model reads about four times as many tokens. (The time grows a little less, because each reading also has a fixed cost.) To write 128 tokens the model reads 8,256 tokens, nearly all of them again and again. The remedy is to keep whatever can be used again.
#
# ### Three tokens by hand: keys and values can be kept
#
# To see what can be used again, we take one attention head and three tokens that we will keep for the whole chapter. Each token has a **key** and a **value**, and the newest token asks with its **query**. The score of a token is the dot product of the query with the token's key. The softmax turns scores into weights, and the output is the weighted mean of the values.

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
# Remember the three scores **4, 7, 6**, because they will come back.
#
# Nothing in the first token's key depends on the tokens after it. So a key stays valid once it has been computed, and so does a value, while old queries are never needed again. A **KV cache** therefore keeps the keys and values and drops everything else. The function below is attention as it is used in practice. It divides the scores by the square root of the query's length, which our hand example leaves out to keep the numbers round.

# %%
def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention of one head; q [new, d] are the last tokens of k, v [time, d]."""
    new, seen = len(q), len(k)
    may_look = torch.ones(new, seen, dtype=torch.bool).tril(seen - new)
    scores = (q @ k.T / math.sqrt(q.shape[-1])).masked_fill(~may_look, -torch.inf)
    return scores.softmax(-1) @ v


q, k, v = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
at_once = attend(q, k, v)
one_by_one = torch.cat([attend(q[t : t + 1], k[: t + 1], v[: t + 1]) for t in range(6)])
assert torch.allclose(at_once, one_by_one, atol=1e-12)
print("six tokens at once, and one by one with a cache: equal")

# %% [markdown]
# ## What the cache holds: two vectors per head, layer and token
#
# The cache replaces reading by remembering, so how much does the model have to remember? For each token, each head in each layer needs two vectors, a key and a value. DeepSeek-V3 has 61 layers and 128 heads, and its key and value vectors have 128 numbers.
#
# Before you run the next cells, replace `None` with your guess. Your score is kept on your machine only.

# %% tags=["prediction", "hide-input"]
guess = None
kept_by_v3 = predict(
    "attention.elements", "How many numbers per token does V3's cache keep?",
    guess, example=100_000,
)  # fmt: skip
kept_by_v3

# %% [markdown]
# Two earlier methods make the cache smaller. In **multi-query attention** (MQA) all heads share one key and one value {cite}`shazeer2019mqa`. In **grouped-query attention** (GQA) the heads of a group share them {cite}`ainslie2023gqa`. Both save memory by making several heads look at the same keys. V3 uses neither of them. The table shows what a model of its shape would need with each of them (GQA with eight groups) and with ordinary multi-head attention (MHA). The text has 131,072 tokens, and each number takes two bytes, in the format bf16.

# %%
layers, heads, head_dim, groups = 61, 128, 128, 8
numbers = {
    "MHA": layers * 2 * heads * head_dim,
    "GQA": layers * 2 * groups * head_dim,
    "MQA": layers * 2 * head_dim,
}

# %% tags=["hide-input"]
table(["", "numbers per token", "bytes per token", "gigabytes for 131,072 tokens"],
      [[kind, n, 2 * n, f"{2 * n * 131072 / 1e9:.1f}"] for kind, n in numbers.items()],
      "What the cache of a model of V3's shape would hold")  # fmt: skip

# %% [markdown]
# MQA is cheap because its 128 heads share a single key, and this limits what they can look for. Can we make the cache small and still give each head its own keys?
#
# ## Keep the latent, not the keys
#
# The keys of all heads in a layer are computed from one vector, the token's hidden state, so they cannot be fully independent of each other. Suppose that each token has a short vector $c$, its **latent**. A head computes its key as $W^{UK} c$ and its value as $W^{UV} c$, where UK means *up to the key* and UV *up to the value*. Then we need to keep only the latent. The next cell has a matrix $W^{UK}$, and latents from which it makes the keys of our three tokens:

# %%
latents = tensor([[1.0, 2.0], [3.0, 1.0], [2.0, 2.0]])
w_uk = tensor([[2.0, 0.0], [0.0, 1.0]])
print("keys  ", (latents @ w_uk.T).tolist())
print("scores", (latents @ w_uk.T @ query).tolist())

# %% [markdown]
# The scores are 4, 7, 6 again. But this has a cost, because each step has to compute the keys of the *whole* past from their latents. We save memory and pay for it with work.
#
# Since $q \cdot (W^{UK} c) = (W^{UK\top} q) \cdot c$, we can avoid this work. Instead of multiplying every latent by the matrix, we multiply the query by it, once:

# %%
absorbed_query = w_uk.T @ query
print("absorbed query", absorbed_query.tolist())
print("scores        ", (latents @ absorbed_query).tolist())

# %% [markdown]
# The scores are the same, and no key was ever computed. This is called **absorption**, because the query absorbs the matrix and then meets the latents directly. The same works for the values: we first average the latents with the attention weights and then apply $W^{UV}$ once to the result.
#
# One thing is still missing, because so far the model cannot know the order of the tokens.
#
# ## Attention ignores order, so positions must be added
#
# Attention treats its tokens as a set. If we shuffle keys and values together, the output is the same:

# %%
order = tensor([2, 0, 1])
shuffled = (keys[order] @ query).softmax(0) @ values[order]
print("in order", [round(x, 3) for x in (weights @ values).tolist()])
print("shuffled", [round(x, 3) for x in shuffled.tolist()])

# %% [markdown]
# **Rotary positions** (RoPE) {cite}`su2021roformer` add the order by splitting each query and key into pairs of numbers. They rotate each pair by an angle proportional to the token's position. When both a query and a key are rotated, their dot product depends only on the *difference* of the two angles, and so only on the distance between the tokens. We can check this in our heads if one position is a quarter turn:

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
# The same distance gives the same score, wherever the two tokens stand. A real model has many pairs, and pair $i$ turns by $\theta^{-2i/d}$ radians per position. Here $d$ is the length of the vector, and $\theta$ is a constant, usually 10,000. We can think of the pairs as the hands of a clock: the first pair turns fast like the second hand, and the last pair turns slowly like the hour hand. With complex numbers, the definition takes four lines:

# %%
def rope_complex(x: torch.Tensor, positions: torch.Tensor, frequencies: torch.Tensor):
    """Turn the neighbouring pairs of x [time, d] by positions [time] times frequencies [d/2].

    Pairs stay in place. Returns [time, d]."""
    angles = positions[:, None] * frequencies
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
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
print("largest difference of the scores: below 1e-12")

# %% [markdown]
# We compared *scores* and not vectors, because the package stores the rotated numbers in another order, as the transformers library does. It puts the first members of all pairs first, and then the second members. Queries and keys share that order, so it does not change any score.
#
# ## Rotated keys cannot be absorbed
#
# We now try to combine the two ideas. With RoPE, the score of a query at position $m$ and a key at position $n$ is $q^\top R_{n-m} W^{UK} c$. A rotation $R_{n-m}$ stands *between* the query and the matrix. If the query is to absorb the matrix, it must absorb the rotation too. The next cell computes the result, $W^{UK\top} R_{m-n}\, q$, for our query:

# %%
for distance in range(4):
    absorbed = w_uk.T @ quarter_turns(query, distance)
    print(f"distance {distance}: absorbed query {absorbed.int().tolist()}")

# %% [markdown]
# The single query has become four different ones, one for each distance. With real frequencies there would be as many as there are tokens. No single vector can be compared with all latents any more, so absorption no longer saves any work.
#
# Could we rotate the latent instead of the key? That works only if rotation and matrix can change places, that is, if $R W = W R$. We try this with our three tokens:

# %%
for n, c in enumerate(latents):
    true = quarter_turns(query, 2 - n) @ (w_uk @ c)
    wrong = quarter_turns(absorbed_query, 2 - n) @ c
    print(f"token {n}, distance {2 - n}: score {true.item():3.0f};"
          f" with the latent rotated instead {wrong.item():3.0f}")  # fmt: skip

# %% [markdown]
# At distance 0 nothing turns, so both scores agree. At distance 2 they also agree, because half a turn only changes the sign of both. At distance 1 they differ, because the true score is -5 and the other one is -1. The reason can be seen in two small matrices:

# %%
turn = tensor([[0.0, -1.0], [1.0, 0.0]])
print("first W, then turn:", (turn @ w_uk).tolist())
print("first turn, then W:", (w_uk @ turn).tolist())

# %% [markdown]
# $W$ stretches the first direction, and a rotation changes which numbers stand in the first direction. So it matters which of the two comes first. In general $W$ and $R$ do not commute, and nothing in training makes them commute.
#
# ## DeepSeek's solution: a separate position key
#
# DeepSeek-V2 solves this by splitting the key into two parts {cite}`deepseekv2`. The **content** part comes from the latent and is never rotated, so it can be absorbed. The **position** part is one short extra key per token, which all heads share. It is rotated *before* it goes into the cache. The scores of the two parts are added. DeepSeek calls the position part the **decoupled key**.
#
# In our example, every token gets the position key (1, 0), the query gets the position part (1, 0), and one position is again a quarter turn.

# %%
content = latents @ absorbed_query
position_query = quarter_turns(tensor([1.0, 0.0]), 2)
position_keys = torch.stack([quarter_turns(tensor([1.0, 0.0]), n) for n in range(3)])
print("content ", content.tolist())
print("position", (position_keys @ position_query).tolist())
print("sum     ", (content + position_keys @ position_query).tolist())

# %% [markdown]
# The scores 4, 7, 6 have become 3, 7, 7: the nearest token has gained and the farthest has lost. We still did not compute any content key. Each token keeps its latent and one rotated key, and nothing else. For V3 that makes 512 + 64 numbers in each of 61 layers, which is the row that our table lacked:

# %%
numbers["MLA"] = layers * (512 + 64)
assert numbers["MLA"] == 35_136
kept_by_v3.reveal(numbers["MLA"])

# %% tags=["hide-input"]
share = {kind: f"{100 * n / numbers['MHA']:.2f} %" for kind, n in numbers.items()}
table(["", "numbers per token", "bytes per token", "share of MHA"],
      [[kind, n, 2 * n, share[kind]] for kind, n in numbers.items()],
      "What the cache of a model of V3's shape holds")  # fmt: skip

# %% tags=["diagram", "hide-input"]
diagram("kv_cache_to_mla")

# %% [markdown]
# The figure puts the three ways side by side. The matrix $W^{DKV}$ makes the latent from the token's hidden state (*down*, because the latent is short), and $W^{KR}$ makes the position key.
#
# MLA costs as much memory as GQA with (512 + 64) / (2 · 128) = 2.25 groups. Yet each of its 128 heads has keys of its own.
#
# ## The whole of MLA, small and slow
#
# Now we use a layer of realistic shape and compute one head at a time. From the package we take only the layer's *matrices*, whose names are those in DeepSeek's checkpoints, and we do everything else ourselves. First we compute what is kept for each token. The matrix `kv_a_proj_with_mqa` is $W^{DKV}$ and $W^{KR}$ in one. Before a latent is kept, it is divided by its root mean square and multiplied by learned weights (this is called RMSNorm), so that all latents have about the same size:

# %% tags=["naive"]
def remember(layer, x: torch.Tensor, frequencies: torch.Tensor):
    """The latents [time, r] and the rotated keys [time, dr] of x [time, hidden]."""
    c = layer.config
    both = layer.kv_a_proj_with_mqa(x)
    latent, k_rope = both.split((c.kv_lora_rank, c.qk_rope_head_dim), dim=-1)
    latent = latent * (latent.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    latent = latent * layer.kv_a_layernorm.weight
    return latent, rope_complex(k_rope, torch.arange(len(x)).to(frequencies), frequencies)


# %% [markdown]
# Then each head computes its own keys and values from the latents, and attends as at the beginning of the chapter. `kv_b_proj` holds the $W^{UK}$ and $W^{UV}$ of all heads:

# %%
def head_by_head(layer, x: torch.Tensor, frequencies: torch.Tensor):
    """For each head, its attention map [time, time] and its values [time, dv]."""
    c, time = layer.config, len(x)
    latent, k_rope = remember(layer, x, frequencies)
    queries = layer.q_proj(x).unflatten(-1, (c.num_attention_heads, -1))
    unfold = layer.kv_b_proj.weight.unflatten(0, (c.num_attention_heads, -1))
    for head in range(c.num_attention_heads):
        q_nope, q_rope = queries[:, head].split((c.qk_nope_head_dim, c.qk_rope_head_dim), -1)
        k_nope, v = (latent @ unfold[head].T).split((c.qk_nope_head_dim, c.v_head_dim), -1)
        q_rope = rope_complex(q_rope, torch.arange(time).to(frequencies), frequencies)
        scores = (q_nope @ k_nope.T + q_rope @ k_rope.T) / math.sqrt(c.qk_head_dim)
        future = torch.ones(time, time, dtype=torch.bool).triu(1)
        yield scores.masked_fill(future, -torch.inf).softmax(-1), v


def slow_mla(layer, x: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """MLA on one text, x [time, hidden] to the same shape."""
    outputs = [weights @ v for weights, v in head_by_head(layer, x, frequencies)]
    return layer.o_proj(torch.cat(outputs, dim=-1))


# %% [markdown]
# ## Four versions from the package give the same numbers
#
# The package has both forms of MLA, and the argument `absorb` chooses between them. It also has a `LatentCache` that holds latents and rotated keys. In float64, all versions must give the same output. Our test is a layer with random weights and a text of 20 random vectors:

# %%
g = torch.Generator().manual_seed(3)
config = ModelConfig(
    hidden_size=64, num_attention_heads=4, kv_lora_rank=24, qk_nope_head_dim=16, v_head_dim=16
)
layer = MultiHeadLatentAttention(config).double().requires_grad_(False)
for parameter in layer.parameters():
    _ = parameter.normal_(0, 0.3, generator=g)
x = torch.randn(1, 20, 64, generator=g, dtype=torch.float64)
frequencies = inverse_frequencies(config).double()
cos, sin = rotation(torch.arange(20).unsqueeze(0), frequencies)


# %% [markdown]
# To decode, we give the layer one token at a time. Each token is rotated by its own position, and everything earlier is read from the cache.

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
assert max(differences.values()) < 1e-12
for name in differences:
    print(f"{name:17s} largest difference from ours: below 1e-12")

# %% [markdown]
# Would this check notice a mistake? A likely one with a cache is to rotate each new token as if it stood at position 0, because the new text *is* only one token long. The next cell makes this mistake on purpose:

# %%
always_zero = (cos[:, :1].expand_as(cos), sin[:, :1].expand_as(sin))
bug = token_by_token(layer, x, *always_zero, absorb=True) - reference
print(f"first token off by less than 1e-12: {bool(bug[:, 0].abs().max() < 1e-12)}")
print(f"largest difference over all tokens: {bug.abs().max():.2g}")
assert bug.abs().max() > 0.01

# %% [markdown]
# The first token is right and the others are wrong. The program raises no error and prints no warning. In a real model, the only sign would be text that slowly gets worse. For this reason the book asserts equality wherever it can.
#
# ## Without rotation the model cannot reverse a word
#
# To see what the rotated key does, we choose a task with a known answer, which is to write a word of eight letters backwards. After the word come eight markers, one for each letter to be written. At marker $j$, counted from 0, the model must name letter $7 - j$. The model has one layer and one head. The letters are random, so only attention can bring them to the markers. If the model is right, its map of attention weights must be an anti-diagonal.

# %%
length, letters = 8, 10


def words(count: int, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Letters and markers [count, 16], and the answers [count, 8]."""
    word = torch.randint(letters, (count, length), generator=g)
    markers = torch.arange(letters, letters + length).expand(count, length)
    return torch.cat((word, markers), dim=1), word.flip(1)


# %%
_ = torch.set_default_dtype(torch.float64)  # 16 digits: other processors give the same numbers
reverse_config = ModelConfig(
    vocab_size=letters + length, hidden_size=48, num_hidden_layers=1, n_routed_experts=0,
    intermediate_size=96, num_attention_heads=1, kv_lora_rank=24, qk_nope_head_dim=16,
    qk_rope_head_dim=16, v_head_dim=16, rope_theta=100.0, initializer_range=0.08,
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
# The control is the same model with all frequencies set to zero, so that its rotated key is still there but never rotates. We train each with three seeds and test on 1,000 new words.

# %%
def reversal(seed: int, turning: bool, steps: int = 150, peak: float = 1e-2):
    """The share of 8,000 letters that a trained model gets right, and the model."""
    g = torch.Generator().manual_seed(seed)
    model = MiniDeepSeek(reverse_config, g)
    model.frequencies.mul_(float(turning))

    def loss_of(model):
        ids, answers = words(64, g)
        return F.cross_entropy(model(ids).logits[:, length:].transpose(1, 2), answers)

    fit(model, steps, peak, loss_of)
    ids, answers = words(1000, g)
    with torch.no_grad():
        guesses = model(ids).logits[:, length:].argmax(-1)
    return (guesses == answers).float().mean().item(), model


# %%
with_turns = [reversal(seed, True) for seed in range(3)]
without = [reversal(seed, False) for seed in range(3)]
print("letters right, rotated key:   ", [f"{100 * right:.1f} %" for right, _ in with_turns])
print("letters right, no rotation:   ", [f"{100 * right:.0f} %" for right, _ in without])

# %%
maps = []
for _, model in (with_turns[0], without[0]):
    ids, _ = words(200, torch.Generator().manual_seed(9))
    block = model.layers[0]
    normed = block.input_layernorm(model.embed_tokens(ids)).detach()
    seen = [next(head_by_head(block.self_attn, x, model.frequencies))[0] for x in normed]
    maps.append(torch.stack(seen).mean(0)[length:, :length].detach())
print("each marker looks most at letter", maps[0].argmax(-1).tolist())
print("with a weight of at least", f"{maps[0].max(-1).values.min():.2f}")
assert maps[0].argmax(-1).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
for ax, weights, title in zip(axes, maps, ("rotated key", "no rotation"), strict=True):
    picture = ax.pcolormesh(range(8), range(8), weights, vmin=0, vmax=1, edgecolors="face")
    _ = ax.set(xlabel="letter of the word", title=title, xticks=range(8), aspect="equal")
    ax.grid(visible=False)
axes[0].invert_yaxis()
_ = axes[0].set(ylabel="marker", yticks=range(8))
_ = fig.colorbar(picture, ax=axes, label="attention weight", shrink=0.9)
diagonals = [weights.flip(1).diagonal() for weights in maps]
show(fig, "With a rotated key, marker 0 looks at letter 7, marker 1 at letter 6, and so on. "
     "Without rotation every marker looks at all letters alike.",
     "Two heat maps of attention weights, mean of 200 words, a row per marker, a column per "
     f"letter. On the anti-diagonal the weights are at least {diagonals[0].min():.2f} with "
     f"rotation and at most {diagonals[1].max():.2f} without.")  # fmt: skip

# %% [markdown]
# The figure shows which letter each marker looks at. On the left there is one bright diagonal from bottom left to top right. On the right, the attention is spread evenly over all letters. So sixteen rotated numbers per token carry the whole order of the word. Without rotation the model knows *which* letters are in the word but not *where*. The best it can do is to name the most frequent one, which is right 30 % of the time.
#
# ## How does each cache grow with heads and context?
#
# The figure below shows the sizes that determine the memory. Raise the number of heads and see which bars do not move. Then raise the context until MHA no longer fits on one GPU of 80 GB, and see how far MLA still is from that limit.

# %% tags=["widget"]
from minidsk.widgets import Cache

Cache()

# %% [markdown]
# ## What one new token costs in time and memory
#
# We can compute bytes, but we have to measure time. We take one attention layer with V3's proportions: the latent is 4 times as long as a head's value, and the rotated key is half as long as that value. The layer processes one new token after more and more earlier ones. We compare four ways to serve it. The first keeps nothing, and the second keeps the keys and values of all heads. The third keeps latents and unfolds them into keys and values at each step, and the fourth keeps latents and absorbs.

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
    """One token through multi-head attention: make its query, key and value, then attend."""
    q, _, _ = ordinary_in(x).view(1, 16, 1, 128).split((48, 48, 32), dim=-1)
    return ordinary_out(F.scaled_dot_product_attention(q, k, v).flatten(1))


# %%
def four_ways(past: int) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds for one token after `past` others, and MiB kept for one layer."""
    text = torch.randn(1, past + 1, 256)
    turns = rotation(torch.arange(past + 1).unsqueeze(0), inverse_frequencies(bench))
    now = (turns[0][:, -1:], turns[1][:, -1:])
    k, v = torch.randn(1, 16, past, 48), torch.randn(1, 16, past, 32)
    cache = LatentCache(bench, 1, past + 20, layers=1)
    _ = cache.open(torch.ones(1, past, dtype=torch.bool))
    cache.write(0, torch.randn(1, past, 144))

    def cached(absorb):
        new = text[:, -1:]
        return milliseconds(
            lambda: bench_layer(new, now, cache.open(one), cache, absorb=absorb)
        )

    def uncached():
        return milliseconds(lambda: bench_layer(text, turns), 2) if past <= 1024 else math.nan

    speed = {
        "nothing kept": uncached(),
        "keys and values": milliseconds(lambda: ordinary_step(text[:, -1], k, v)),
        "latents, unfolded": cached(absorb=False),
        "latents, absorbed": cached(absorb=True),
    }
    latent, full = past * (128 + 16) * 4 / 2**20, (k.nbytes + v.nbytes) / 2**20
    return speed, dict(zip(speed, (0.0, full, latent, latent), strict=True))


# %%
pasts = (256, 1024, 4096)
measured = {past: four_ways(past) for past in pasts}
assert measured[4096][0]["latents, absorbed"] < measured[4096][0]["latents, unfolded"]

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.8, 3.6))
took = {way: [measured[past][0][way] for past in pasts] for way in measured[256][0]}
for way, ms in list(took.items())[1:]:
    _ = ax.plot(pasts, ms, "o-", label=way)
_ = ax.plot(pasts[:2], took["nothing kept"][:2], "o-", color="gray")
_ = ax.annotate("nothing kept", (pasts[1], took["nothing kept"][1]), (8, 0), color="gray",
                textcoords="offset points", va="center", fontsize=9.5)  # fmt: skip
_ = ax.set(xscale="log", yscale="log", xlabel="tokens before", ylabel="one new token, ms")
ax.minorticks_off()
_ = ax.set_xticks(pasts, [f"{past:,}" for past in pasts])
_ = ax.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
direct_labels(ax)
last = ", ".join(f"{way} {ms[-1]:.2f} ms" for way, ms in list(took.items())[1:])
show(fig, "Unfolded latents get slow as the past grows, and absorbed latents hardly do.",
     "Four lines on log scales: processor time for one new token over the number of tokens "
     f"before it. After 4,096 tokens: {last}. Nothing kept is measured up to 1,024 tokens: "
     f"{took['nothing kept'][1]:.0f} ms.")  # fmt: skip

# %% tags=["hide-input"]
rows = [[way, *(f"{x:.2f} ms" if math.isfinite(x) else "-" for x in ms),
         f"{measured[4096][1][way]:.2f} MiB"] for way, ms in took.items()]  # fmt: skip
table(["", *(f"after {past:,} tokens" for past in pasts), "kept at 4,096 tokens"], rows,
      "Processor time for one new token, and the memory that one layer keeps")  # fmt: skip

# %% [markdown]
# If we keep nothing, the time grows fastest. (We did not measure it after 4,096 tokens because it takes seconds.) Keys and values are quick to use after a short past, but they take the most memory: 20 MiB for this one layer after 4,096 tokens. Latents that are unfolded at each step save this memory but lose the time again. Absorbed latents save both, and their time grows most slowly. The past costs them only a few matrix products with the latents and the short position keys.
#
# Finally, the model from the beginning of the chapter writes its 128 tokens again, now with a latent cache:

# %%
began = time.process_time()
cached = writer.generate(start, 128, temperature=0)
print(f"128 new tokens read 128 tokens in {1000 * (time.process_time() - began):.0f} ms")
assert torch.equal(cached, uncached)
print("the same 128 tokens as without the cache")

# %% [markdown]
# The model reads each token once instead of 8,256 tokens, so it needs less time than at the beginning. The longer the text, the more the cache saves.
#
# ## YaRN: reading longer texts than the model was trained on
#
# With such a small cache, long contexts become affordable. But does a model understand position 100,000 if it was trained on texts of 4,096 tokens? The 32 pairs of V3's rotated key are its clock hands. The table shows how many turns a hand makes within the trained length and within a text of 163,840 tokens:

# %%
v3 = ModelConfig(qk_rope_head_dim=64, qk_nope_head_dim=128, max_position_embeddings=163_840)
yarn = {
    "rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,
    "mscale": 1.0, "mscale_all_dim": 1.0,
}  # fmt: skip
stretched_v3 = v3.replace(rope_scaling=yarn)
before, after = inverse_frequencies(v3), inverse_frequencies(stretched_v3)


def turns(frequencies: torch.Tensor, tokens: int) -> torch.Tensor:
    """How many turns each pair makes in so many tokens."""
    return frequencies * tokens / (2 * math.pi)


# %% tags=["hide-input"]
columns = (turns(before, 4096), turns(before, 163_840), turns(after, 163_840))
table(["pair", "turns in 4,096", "turns in 163,840", "the same with YaRN", "slowed by"],
      [[pair, *(f"{x:,.0f}" if x > 999 else f"{x:.3g}"
                for x in (column[pair].item() for column in (*columns, before / after)))]
       for pair in (0, 5, 10, 15, 20, 23, 31)],
      "The clock hands of V3's rotated key, before and after YaRN with factor 40")  # fmt: skip

# %% [markdown]
# The fast hands made hundreds of turns, so the model has seen them at every angle in training. The slowest hand made less than a tenth of one turn. Long before position 163,840 it reaches angles that never occurred in training, and we cannot know what the model makes of them.
#
# **YaRN** {cite}`peng2023yarn` treats each hand according to its speed:
#
# - Hands that made more than 32 turns within the trained length are left alone.
# - Hands that made less than one turn are slowed by the full factor, here 40. Then even the long text shows only angles that the model knows.
# - Hands between these bounds are slowed by something between 1 and the full factor.
#
# YaRN also makes the attention scores larger, because attention spreads too thinly when there are more tokens. For a factor of 40, V3 multiplies its scores by 1.87:

# %%
print(f"pairs left alone: 0 to {int((after == before).nonzero().max())}")
first = int((before / after > 39.99).nonzero().min())
print(f"pairs slowed by the full factor: {first} to 31")
larger = softmax_scale(stretched_v3) / softmax_scale(v3)
print(f"scores times {larger:.4f} = (0.1 ln 40 + 1) squared")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.8, 3.4))
for frequencies, label in ((before, "as trained"), (after, "YaRN, factor 40")):
    _ = ax.semilogy(turns(frequencies, 4096), "o-", ms=4, label=label)
for x, bound, side, name in ((31, 32, "right", "32 turns: faster hands are left alone"),
                             (0, 1, "left", "1 turn: slower hands are slowed")):  # fmt: skip
    _ = ax.axhline(bound, ls="--", color="gray", lw=1)
    _ = ax.text(x, bound * 1.25, name, color="gray", ha=side, fontsize=9.5)
_ = ax.set(xlabel="pair", ylabel="turns in 4,096 tokens")
ax.minorticks_off()
_ = ax.set_yticks([0.01, 1, 100], ["0.01", "1", "100"])
direct_labels(ax)
said = [", ".join(f"{turns(f, 4096)[i]:.3g}" for i in (0, 10, 16, 23, 31))
        for f in (before, after)]  # fmt: skip
show(fig, "YaRN leaves the fast hands alone, slows the slow ones by the full factor, and does "
     "something in between for the hands between the dashed lines.",
     "Turns in 4,096 tokens on a log scale, for pairs 0 to 31. Pairs 0, 10, 16, 23, 31 as "
     f"trained: {said[0]}. With YaRN: {said[1]}.")  # fmt: skip

# %% [markdown]
# ### At our size, most of the help comes from further training
#
# We test YaRN on a small model that reads the tiny web, one character per token, in pieces of 32 characters. Then we give it pieces of 256, and report its loss on held-out text, in nats per character, for each eighth of a piece.

# %%
web = TinyWeb(seed=0)
text = "\n".join(web[i] for i in range(4000))
characters = sorted(set(text))
codes = {c: i for i, c in enumerate(characters)}
ids = torch.tensor([codes[c] for c in text])
training, held_out = ids[:-10_280], ids[-10_280:].view(40, 257)
print(f"{len(training):,} characters to learn from, {len(characters)} different ones,"
      f" {len(held_out)} held-out pieces")  # fmt: skip

# %%
_ = torch.set_default_dtype(torch.float64)  # 16 digits again
reader_config = ModelConfig(
    vocab_size=len(characters), hidden_size=48, num_hidden_layers=2, n_routed_experts=0,
    intermediate_size=96, kv_lora_rank=24, qk_nope_head_dim=16, v_head_dim=16,
    initializer_range=0.06, max_position_embeddings=256,
)  # fmt: skip


def read(model: MiniDeepSeek, length: int, tokens: int, steps: int, peak: float, seed: int):
    """Train on pieces of `length` characters, `tokens` characters per step."""
    g = torch.Generator().manual_seed(seed)

    def loss_of(model):
        starts = torch.randint(len(training) - length - 1, (tokens // length, 1), generator=g)
        piece = training[starts + torch.arange(length + 1)]
        return F.cross_entropy(model(piece[:, :-1]).logits.transpose(1, 2), piece[:, 1:])

    fit(model, steps, peak, loss_of)


# %%
def changed(model: MiniDeepSeek, how: str) -> MiniDeepSeek:
    """The same weights with other frequencies: as they were, all slowed 8 times, or YaRN's."""
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
# The plain model, which is not stretched, was trained on 32 characters. How much worse does it get at the end of a piece of 256? Type your guess before you go on:

# %% tags=["prediction", "hide-input"]
guess = None
beyond = predict(
    "attention.beyond",
    "By what factor is the loss larger at characters 225-256 than at 1-32?",
    guess, example=1.2, tolerance=4,
)  # fmt: skip
beyond

# %% [markdown]
# DeepSeek did not only stretch V3 but also trained it further at the new length. So we test each model twice, first as it is and then after 20 more steps on pieces of 256. There are three ways to treat the hands, with three seeds each: plain (the control, which changes nothing), all hands slowed by 8, and YaRN. A fourth row shows YaRN without its larger scores, before the further steps only.

# %%
ways, curves = ("plain", "all slowed", "YaRN", "YaRN, scores as before"), {}
changes = []
for seed in range(3):
    model = MiniDeepSeek(reader_config, torch.Generator().manual_seed(seed))
    read(model, 32, 512, 200, 5e-3, seed)
    changes.append({way: changed(model, way) for way in ways})
for way in ways:
    curves[way, 0] = torch.tensor([loss_by_eighths(others[way]) for others in changes])

# %%
for way in ways[:3]:
    for seed, others in enumerate(changes):
        read(others[way], 256, 768, 20, 1e-3, 100 + seed)
    curves[way, 20] = torch.tensor([loss_by_eighths(others[way]) for others in changes])
plain = curves["plain", 0].mean(0)
beyond.reveal(round((plain[-1] / plain[0]).item(), 1))

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
x = torch.arange(8) * 32 + 16
for (way, steps), runs in curves.items():
    if way in ways[:3]:
        ax, color = axes[steps // 20], f"C{ways.index(way)}"
        _ = ax.plot(x, runs.mean(0), "o-", ms=4, color=color, label=way)
        _ = ax.fill_between(x, *runs.aminmax(dim=0), color=color, alpha=0.15)
for ax, title in zip(axes, ("as it is", "after 20 steps at length 256"), strict=True):
    _ = ax.axvline(32, ls="--", color="gray", lw=1)
    _ = ax.set(xlabel="character of the piece", title=title, xticks=(32, 128, 256))
    direct_labels(ax)
_ = axes[0].set(ylabel="held-out loss,\nnats per character")
ends = [", ".join(f"{way} {curves[way, steps].mean(0)[-1]:.2f}" for way in ways[:3])
        for steps in (0, 20)]  # fmt: skip
show(fig, "Beyond the trained length (dashed line), stretching alone does not help, and 20 "
     "further steps do.",
     "Two panels, loss over the character of the piece, mean and range of three seeds. At the "
     f"last characters, as it is: {ends[0]} nats. After 20 steps: {ends[1]}.")  # fmt: skip

# %% tags=["hide-input"]
table(["characters up to", *map(str, range(32, 257, 32))],
      [[way + (", 20 steps" if steps else ""), *(f"{loss:.2f}" for loss in runs.mean(0))]
       for (way, steps), runs in curves.items()],
      "Held-out loss in nats per character, mean of three seeds")  # fmt: skip

# %% tags=["hide-input"]
compared = {"20 steps, characters 129 to 256": ("plain", 20, slice(4, 8)),
            "20 steps, characters 1 to 32": ("plain", 20, slice(0, 1)),
            "20 steps, all characters": ("all slowed", 20, slice(0, 8)),
            "as it is, all characters": ("plain", 0, slice(0, 8))}  # fmt: skip
yarn_20, plain_20, slowed_20 = (curves[way, 20] for way in ("YaRN", "plain", "all slowed"))
assert yarn_20[:, 4:].mean() < plain_20[:, 4:].mean()
assert (yarn_20[:, 0] > plain_20[:, 0]).all()
assert (yarn_20.mean(1) < slowed_20.mean(1)).all()
rows = []
for where, (other, steps, part) in compared.items():
    leads = (curves[other, steps] - curves["YaRN", steps])[:, part].mean(1).tolist()
    rows.append([where, other, *(f"{lead:+.2f}" for lead in leads)])
table(["YaRN's lead", "over", "seed 0", "seed 1", "seed 2"], rows,
      "How much lower YaRN's loss is, in nats per character")  # fmt: skip

# %% [markdown]
# In the left panel, the plain model becomes much worse soon after the length that it knows. Stretching alone does *not* save it here. YaRN without further training is worse than plain up to character 192 and about equal to it after that, because hands that the model had learned to read now turn more slowly. Slowing *all* hands by 8 makes the loss higher still. This supports one part of YaRN's design: leave the fast hands alone.
#
# In the right panel, 20 further steps put YaRN ahead of the plain model beyond character 128 on average, but not on every one of the three seeds. Within the first 32 characters YaRN is behind on every seed. So it costs something nearby, and three seeds only suggest that it gains something at a distance. In every case, the further training matters more than the choice between plain and YaRN.


# %% [markdown]
# ## What DeepSeek did
#
# For each token with hidden state $h_t$, DeepSeek-V3 {cite}`deepseekv3` computes two vectors in each layer,
#
# $$
# \boxed{c_t^{KV}} = W^{DKV} h_t, \qquad \boxed{k_t^R} = \mathrm{RoPE}(W^{KR} h_t),
# $$
#
# and keeps only these two, which is why they are boxed. They have 512 and 64 numbers. On paper, the keys and values of head $i$ are
#
# $$
# k_{t,i} = [W_i^{UK} c_t^{KV};\ k_t^R], \qquad v_{t,i} = W_i^{UV} c_t^{KV}.
# $$
#
# There are 128 heads, whose keys have 128 + 64 numbers. The output of head $i$ is $\sum_j \mathrm{softmax}_j\!\left(q_{t,i}^\top k_{j,i} / \sqrt{128 + 64}\right) v_{j,i}$. The queries are compressed too, to 1,536 numbers, which saves memory in training and nothing in the cache. The latent passes through a norm, and DeepSeek's code caches the normalised latent. Our package does the same, and it can also compress the queries if `q_lora_rank` is set.
#
# MLA comes from DeepSeek-V2. The V2 report says that V2's cache is 93.3 % smaller than that of DeepSeek 67B, and its maximum throughput 5.76 times as high. In DeepSeek's own comparisons, MLA was *better* than MHA, not only cheaper {cite}`deepseekv2`. We have not tested that claim, because our models are far too small for it.
#
# DeepSeek reports that V3 was pretrained at 4,096 tokens and then stretched by YaRN with factor 40. This took two phases of 1,000 steps, to 32 and then to 128 thousand tokens, and only the decoupled key was changed {cite}`deepseekv3`.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Absorption does not pay for many queries at once.** Absorption makes each query longer: in V3 an absorbed query has 512 + 64 numbers, while an ordinary one has 128 + 64. With one query and a long past, this is a bargain, because no keys have to be computed. With many queries at once, as in training, it is slower:

# %%
text = torch.randn(1, 512, 256, dtype=torch.float32)
turns = rotation(torch.arange(512).unsqueeze(0), inverse_frequencies(bench))
for absorb in (False, True):
    ms = milliseconds(lambda absorb=absorb: bench_layer(text, turns, absorb=absorb), 5)
    print(f"512 queries at once, {'absorbed' if absorb else 'unfolded'}: {ms:.0f} ms")

# %% [markdown]
# **YaRN's larger scores did not help at our size.** The row "scores as before" in the table above leaves them out, and its loss is lower in every column. The YaRN paper fitted its formula to large models and long texts, and at 32 characters we see no benefit. The bounds of 32 turns and 1 turn are also made for thousands of tokens: within 32 characters our fastest hand makes only five turns, and YaRN slows all the others.
#
# **The first attention map that we drew explained nothing.** There the model had two layers and wrote the word itself after a single separator. It got most letters right, but no pattern could be seen in its maps. It did not need to look at letter $7 - j$ directly, because its second layer could fetch the letter from wherever the first had moved it. A map explains a model only if information has just one way to go, so the task above has one layer and markers.
#
# ## Exercises
#
# ```{exercise} RoPE from an empty cell
# :label: ex-02-rotate
#
# *15 minutes.* Write `rotate(x, positions, theta)`, which rotates neighbouring pairs and returns its output in halves. `print(describe("attention.rotate"))` gives the shapes, and `check("attention.rotate", my_rotate)` tests your version.
#
# **Hint.** Begin with `rope_complex` above, and then change the order of the output.
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
# *15 minutes.* Write `absorb(q_nope, q_rope, latent, k_rope, w_k)`, which returns the scores of all heads without computing any key. Run `check("attention.absorb", my_absorb)` to test your version.
#
# **Hint.** Two `einsum` are enough, one of them over the latent's dimension. The square root contains the length of a query *before* it was absorbed.
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
# *10 minutes, on paper.* If $W^{UK}$ commuted with every rotation, RoPE and absorption could be combined, and the decoupled key would not be needed. Which 2 by 2 matrices commute with the quarter turn $J$? What would such a key be unable to express?
#
# **Hint.** Give the four entries of $W$ names, multiply both ways, and compare the four entries. Then think of multiplication by complex numbers.
# ```
#
# ```{solution} ex-02-commute
# :class: dropdown
#
# $WJ = JW$ gives $W_{22} = W_{11}$ and $W_{21} = -W_{12}$, so $W = W_{11} I - W_{12} J$. Such a matrix only stretches and turns, as multiplication by one complex number does. It has two free numbers for each pair where a general matrix has four. A more serious limit is that the latent would have to be as long as the key, so nothing would be compressed. Compression needs a tall matrix, which makes many key numbers from few latent numbers, and a matrix that is not square cannot commute with a rotation at all.
# ```
#
# ```{exercise} How small may the latent be?
# :label: ex-02-rank
#
# *20 minutes.* Train the reversal model with `kv_lora_rank` 1, 2 and 4, for 300 steps with a peak learning rate of 5e-3. Its values must tell ten letters apart. Before you run it, say which rank will be enough.
#
# **Hint.** `reverse_config.replace(kv_lora_rank=...)` gives the configuration. Ask yourself what is left of a latent of one number, since the latent is *normalised*.
# ```
#
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
    shares = [f"{100 * right:.0f} %" for right, _ in tries]
    print(f"rank {rank}, letters right on two seeds:", shares)
reverse_config = full

# %% [markdown]
# A normalised latent of two numbers is a point on a circle. Ten letters have room on the circle, though training does not find a place for all of them on every seed. A normalised latent of one number has only two values, so it can tell only two letters apart. Yet with rank 1 nearly all letters come out right, so something else must carry the others.
#
# We suspect the rotated key, because it is not normalised and may differ from letter to letter. To test this, we give all letters the same rotated key:

# %%
def same_for_all_letters(module, inputs, output):
    """Replace the position key of every letter by the mean of all."""
    output = output.clone()
    output[:, :length, 1:] = output[:, :length, 1:].mean((0, 1), keepdim=True)
    return output


projection = trained[1].layers[0].self_attn.kv_a_proj_with_mqa
handle = projection.register_forward_hook(same_for_all_letters)
ids, answers = words(1000, torch.Generator().manual_seed(5))
right = (trained[1](ids).logits[:, length:].argmax(-1) == answers).float().mean().item()
handle.remove()
print(f"rank 1, one rotated key for all letters: {100 * right:.0f} % right")
assert right < 0.25

# %% [markdown]
# With one rotated key for all, the model gets about two of ten letters right, as many as the two values of the latent can tell apart. So the suspicion was right. The position key had carried the other eight letters through the attention weights. The name of a part says what we meant it for, but training may use it for something else.
#
# ```{solution-end}
# ```
#
# ```{exercise} The bytes of a cache
# :label: ex-02-bytes
#
# *5 minutes.* Write `cache_bytes(kind, layers, heads, head_dim, groups, rank, rope_dim, bytes_each)` for the four kinds of attention, and test it with `check("attention.cache_bytes", my_cache_bytes)`.
#
# **Hint.** List what one layer keeps for one token, and then multiply.
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
#
# ## Bug zoo
#
# The package contains three wrong versions of `rotate`. The single test below accepts the right version and catches one of the wrong ones. Write tests that catch the other two.

# %% tags=["zoo"]
def nothing_turns_at_position_zero(rotate) -> None:
    x = tensor([[1.0, 2.0, 3.0, 4.0]])
    assert torch.allclose(rotate(x, tensor([0]), 100.0), tensor([[1.0, 3.0, 2.0, 4.0]]))


zoo("attention", [nothing_turns_at_position_zero])

# %% [markdown]
# Our own tests are in the folded cell below. Look at them after you have written yours.

# %% tags=["hide-cell"]
def one_radian_turns_counterclockwise(rotate) -> None:
    turned = rotate(tensor([[1.0, 0.0]]), tensor([1]), 100.0)
    assert torch.allclose(turned, tensor([[math.cos(1), math.sin(1)]]))


def slow_pair_turns_by_the_root_of_theta(rotate) -> None:
    turned = rotate(tensor([[0.0, 0.0, 1.0, 0.0]]), tensor([3]), 100.0)
    wanted = tensor([[0.0, math.cos(0.3), 0.0, math.sin(0.3)]])
    assert torch.allclose(turned, wanted, atol=1e-6)


zoo("attention", [nothing_turns_at_position_zero, one_radian_turns_counterclockwise,
                  slow_pair_turns_by_the_root_of_theta])  # fmt: skip

# %% [markdown]
# ## Receipt
#
# The receipt shows what this run cost, the spread over seeds, and how far we are from the reference.

# %% tags=["receipt"]
far = {way: curves[way, 20][:, 4:].mean(1).tolist() for way in ("plain", "YaRN")}
receipt(
    spread={
        "letters right without rotation": [round(right, 2) for right, _ in without],
        "loss beyond 128, plain, 20 steps": [round(x, 2) for x in far["plain"]],
        "loss beyond 128, YaRN, 20 steps": [round(x, 2) for x in far["YaRN"]],
    },
    differences={"MLA": (max(differences.values()), 1e-12), "RoPE": (rope_difference, 1e-12)},
)

# %% [markdown]
# ## Summary
#
# V3 threw away the keys and values of 128 heads, which would take 1,998,848 numbers per token. It keeps **35,136** numbers per token: in each of 61 layers one latent of 512 numbers and one rotated key of 64. The content keys and the values of all heads follow from the latent. The rotated key is separate because a rotation cannot be absorbed into a query. V3 keeps 57 times fewer numbers than ordinary attention, and yet MLA is computed exactly: its unfolded, absorbed and cached versions agree to within 1e-12 in float64.
#
# - I can now compute from a model's sizes what its cache costs, for MHA, GQA, MQA and MLA.
# - I can now rotate a vector by its position, and explain why scores depend only on distances.
# - I can now show with a 2 by 2 matrix why rotation prevents absorption, and how the decoupled key makes it possible again.
# - I can now decode with a latent cache, and say when to absorb and when to unfold.
# - I can now read YaRN's frequencies, and say what stretching alone does and does not do.
#
# ## Read on
#
# - DeepSeek-V2's report presents MLA in section 2.1, and an appendix compares it with MHA {cite}`deepseekv2`.
# - Section 3 of the RoPE paper {cite}`su2021roformer` and section 3 of the YaRN paper {cite}`peng2023yarn` have the derivations.
# - The package has the code of this chapter in `minidsk/model/rope.py`, `attention.py` and `cache.py`.
# - Attention is now cheap to remember, and [chapter 03](03_mixture_of_experts.ipynb) makes the other half of each layer cheap to compute.
