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
# # Fast inference: the same tokens, sooner
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/18_fast_inference.ipynb)
#
# Our reasoner reads a long text at tens of thousands of tokens per second on one core of a laptop. When it writes a text, the same model on the same core manages a few hundred. Why is writing a hundred times slower than reading, **and what makes the same tokens come sooner?**
#
# - **You will build** a decoder that computes everything again for each token, and four remedies: a cache, a batch, a graph, and guesses that are checked. (The graph's times come from a recorded GPU.) Greedy text must stay the same token by token, and drawn text must keep its distribution.
# - **You need** PyTorch, the latent cache of [chapter 02](02_latent_attention.ipynb), and for the guesses the extra module of [chapter 04](04_multi_token_prediction.ipynb).
# - **It takes** one to two minutes to run on two CPU cores. (All figures of the GPU are read from a record.) It takes an hour and a half to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import copy
import dataclasses
import os
import tempfile
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import minidsk
from minidsk import results
from minidsk.bench.subject import MOE
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.generate import decode, left_padded
from minidsk.infer.speculative import speculate
from minidsk.model.operations import Kernels, every_expert
from minidsk.presets import nano
from minidsk.scale.cost import parameters
from minidsk.train.pretrain import pretrain
from minidsk.widgets import Curve

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)
# The core's time, to which other programs add little; Windows counts it too coarsely.
clock = time.perf_counter if os.name == "nt" else time.process_time

# %% tags=["hide-input"]
def seconds(call, turns=5):
    """The shortest time of a call, since other programs only make it longer; one warms up."""
    taken = []
    for _ in range(turns + 1):
        began = clock()
        call()
        taken.append(clock() - began)
    return min(taken[1:])

# %% [markdown]
# ## Is writing really so much slower than reading?
#
# The model of the question is `nano-zero`, a small DeepSeek-V3 that has learned Countdown by reward ([chapter 12](12_grpo.ipynb)). To read, a model predicts the token after each position of a text in a single pass. To write, it needs one pass per token, because each token is part of the input of the next pass.

# %%
policy = minidsk.load_policy("nano-zero")
model, tokenizer = policy.model, policy.tokenizer
test = nano().make_task("test")
prompt = test[0].prompt
one, _ = left_padded([prompt], tokenizer)
print(repr(prompt), "is", one.shape[1], "tokens, the first of which marks the beginning")

# %%
text = torch.randint(4, 60, (16, 128), generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    reading, reading_one = (seconds(partial(model, text[:texts])) for texts in (16, 1))
print(f"reading 16 texts: {text.numel() / reading:,.0f} tok/s")
print(f"reading a single: {text.shape[1] / reading_one:,.0f} tok/s")

# %% [markdown]
# One text alone is read at tens of thousands of tokens per second too, so sharing a pass with other texts is not what makes reading fast. Reading the prompt before a reply is called **prefill**.
#
# But a pass can serve many texts, each of which gets one token. Guess what this costs: on a GPU, a model of 14.7 million parameters writes one token for each of 64 texts in one step. How many times as long as a step for a single text does it take?

# %% tags=["prediction", "hide-input"]
guess = None
question = "A step for 64 texts takes how many times as long as a step for one?"
rows_64 = predict("inference.rows", question, guess, example=64)
rows_64

# %% [markdown]
# The simplest decoder hands the whole text to the model for every new token. It is *greedy*: it takes the likeliest token. Every remedy has to agree with it.

# %% tags=["naive"]
@torch.no_grad()
def write_slowly(model, ids, new):
    """Continue ids [rows, time] by `new` tokens; for each, everything is computed again."""
    for _ in range(new):
        ids = torch.cat((ids, model(ids).logits[:, -1:].argmax(-1)), 1)
    return ids


slow = seconds(lambda: write_slowly(model, one, 100), turns=2)
print(f"writing: {100 / slow:,.0f} tok/s,", f"{slow / 100 * 128 / reading_one:.0f}x slower")

# %% [markdown]
# **The answer.** On one core, one text is written about a hundred times more slowly than it is read.
#
# ## What does a cache save?
#
# A token looks only at the tokens before it, so its states never change when the text grows. A cache keeps what later tokens look at. Elsewhere these are keys and values, hence **KV cache**; here it is the latent of [chapter 02](02_latent_attention.ipynb). Only the new token then goes through the model.
#
# Below the diagram, we look into the cache of the first layer. It has one column per token, which is filled when the token goes through the model. We read the prompt, and then write three tokens.

# %% tags=["diagram", "hide-input"]
diagram("cache_of_a_text")

# %%
exact = copy.deepcopy(model).double()
cache, seen, snapshots = exact.new_cache(1, 30), one, []
for _ in range(4):
    with torch.no_grad():
        logits = exact(seen, cache=cache, mtp=False).logits
    snapshots.append(cache.entries[0, 0].clone())  # [capacity, width]
    print(f"read {seen.shape[1]:2} tokens; the cache holds {int(cache.lengths)}")
    seen = logits[:, -1:].argmax(-1)
width = cache.entries.shape[-1]
print(f"a column of a layer: {width} numbers")
before, after = snapshots[0][:21], snapshots[3][:21]
print("the prompt's columns have not changed:", torch.equal(before, after))

# %% tags=["figure", "hide-input"]
fig, panels = plt.subplots(1, 4, figsize=(6.8, 2.6), sharey=True)
top = snapshots[3].abs().max().item()
for step, (ax, held) in enumerate(zip(panels, snapshots, strict=True)):
    many = int((held != 0).any(1).sum())
    _ = ax.imshow(held[17:26].T, aspect="auto", interpolation="nearest", cmap="RdBu",
                  vmin=-top, vmax=top)  # fmt: skip
    _ = ax.axvline(many - 17.5, color="gray", ls="--", lw=1)
    ax.grid(False)
    _ = ax.set_title(f"{many} tokens", fontsize=10)
    _ = ax.set_xticks([0, 4, 8], ["18", "22", "26"])
_ = panels[0].set(xlabel="token", ylabel="number in the column")
show(fig, "The cache of layer 1 after the prompt and after each of three steps, from its 18th "
     "column on. Each step fills one column, and the others stay as they are.",
     f"Four maps of the columns 18 to 26, {width} numbers high. The first has 21 filled "
     "columns, the others 22, 23 and 24; all columns to the right are empty.")  # fmt: skip

# %% [markdown]
# The decoder with a cache hands over the prompt once, and then only the newest token. A natural mistake is to hand over the whole text although the cache holds most of it already. The cache then holds the text several times, and no error says so. A comparison with the slow decoder notices it.
#
# The package's `decode` does the same for prompts of different lengths, with sampling and ends. We compare the three in **float64**, as in all comparisons of tokens below. There, the ways differ only around the 15th digit, too little to decide between two tokens. (The package keeps log-probabilities in about 7 digits. The comment `# tolerance` says how far a cell's numbers may move on another computer.)

# %%
@torch.no_grad()
def write(model, ids, new):
    """As write_slowly, with a cache: after the prompt, one token per pass."""
    cache, seen = model.new_cache(len(ids), ids.shape[1] + new), ids
    for _ in range(new):
        seen = model(seen, cache=cache, mtp=False).logits[:, -1:].argmax(-1)
        ids = torch.cat((ids, seen), 1)
    return ids

# %%
def the_same_text(write) -> None:
    """A reply of 20 tokens, token by token that of the slow decoder."""
    assert torch.equal(write(model, one, 20), write_slowly(model, one, 20))

# %%
@torch.no_grad()
def hands_over_the_whole_text(model, ids, new):
    cache = model.new_cache(len(ids), 4000)
    for _ in range(new):
        logits = model(ids, cache=cache, mtp=False).logits[:, -1]
        ids = torch.cat((ids, logits.argmax(-1, keepdim=True)), 1)
    return ids


bites(the_same_text, write, hands_over_the_whole_text)

# %% tags=["agree"]
# tolerance: 1e-6
ours = write_slowly(exact, one, 100)
packaged = decode(exact, one, 100, temperature=0.0)
assert torch.equal(ours, packaged.ids)
assert torch.equal(ours, write(exact, one, 100))
with torch.no_grad():
    all_at_once = exact(ours[:, :-1]).logits.log_softmax(-1).gather(-1, ours[:, 1:, None])
difference = (all_at_once[0, -100:, 0] - packaged.logprobs[0]).abs().max().item()
assert difference < 1e-6
print(f"100 tokens are the same; log-probabilities, largest difference: {difference:.0g}")
cached = seconds(lambda: write(model, one, 100), turns=2)
computed = sum(range(one.shape[1], one.shape[1] + 100))  # all texts that it handed over
print(f"writing slowly: {100 / slow:,.0f} tok/s, {computed:,} tokens computed")
print(f"with a cache:   {100 / cached:,.0f} tok/s, {one.shape[1] + 99} tokens computed")

# %% [markdown]
# **The answer.** The cache saves more than 98 % of the tokens, and yet the decoder is not even twice as fast. So computing tokens is not what takes the time.
#
# ## Where does the time of a pass go?
#
# A pass is a series of PyTorch's operations: products, sums, look-ups. We count those that compute something, and leave out those that only give a tensor another shape.

# %% tags=["hide-input"]
VIEWS = ("view", "slice", "select", "expand", "permute", "transpose", "squeeze", "split",
         "alias", "detach", "as_strided", "unbind", "aten.t.")  # fmt: skip


class Count(TorchDispatchMode):
    """Counts the operations in its block that compute something."""

    operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations += not any(view in str(function) for view in VIEWS)
        return function(*args, **(kwargs or {}))

# %%
# tolerance: 5%
cache = model.new_cache(1, 4096)
with torch.no_grad():
    _ = model(one, cache=cache)
passes = {"one token, with a cache": (1, partial(model, one[:, :1], cache=cache, mtp=False)),
          **{f"{rows * time} tokens": (rows * time, partial(model, text[:rows, :time]))
             for rows, time in ((1, 4), (1, 16), (1, 70), (4, 64), (8, 128), (16, 128))}}
rows, pass_ms = [], {}
for name, (tokens, call) in passes.items():
    with torch.no_grad():
        with Count() as counter:
            _ = call()
        pass_ms[tokens] = 1e3 * seconds(call, 5)
    rows.append([name, counter.operations, f"{pass_ms[tokens]:.1f} ms"])
table(["a pass for", "operations", "time"], rows, "nano-zero on this core, in this run")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.8))
(line,) = ax.plot(list(pass_ms), list(pass_ms.values()), "o-")
for tokens, took in pass_ms.items():
    _ = ax.annotate(f"{took:.1f}", (tokens, took), (0, 7), ha="center", fontsize=9,
                    textcoords="offset points", color=line.get_color())
_ = ax.plot([1, 2048], [pass_ms[2048] / 2048, pass_ms[2048]], "--", color="gray", lw=1)
_ = ax.annotate("in proportion to the tokens", (90, pass_ms[2048] / 2048 * 90), (8, -14),
                textcoords="offset points", color="gray", fontsize=9)
_ = ax.set(xscale="log", yscale="log", xlabel="tokens in the pass", ylabel="one pass, ms")
_ = ax.set_xticks(list(pass_ms), list(map(str, pass_ms)))
_ = ax.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
ax.minorticks_off()
ax.margins(y=0.2)
show(fig, "A pass for few tokens takes hardly less time than a pass for dozens. Dashed: what "
     "it would take if its time were in proportion to the tokens.",
     "One line over 1 to 2,048 tokens, both axes logarithmic: "
     f"{pass_ms[1]:.1f} ms for 1 token, {pass_ms[70]:.1f} ms for 70, "
     f"{pass_ms[2048]:.0f} ms for 2,048.")

# %% [markdown]
# A pass starts about 250 operations, **however many tokens it computes**. Before an operation computes anything, Python and PyTorch have to find a program, check shapes and reserve memory. With few tokens, these starts take most of the pass. The cache removes nearly all tokens but no operation, so at 120 tokens it gains little.
#
# **The answer.** A small model spends a pass for few tokens on starting operations. So more tokens per pass should cost little. The next sections find more tokens: those of other texts, and those of the same text.
#
# ## Do many texts share a step?
#
# A pass can serve many texts, each of which gets one token. We write 50 tokens for 1, 4, 16 and 64 prompts of the same length, with the reading of the prompts included.
#
# Prompts of different lengths are filled up on the left, and a mask hides the filling. A natural bug forgets the mask. (Two tokens of filling disturb this model so little that the test has to write 40 tokens.)
#
# The third cell shows the recorded model of the prediction, with prompts of 32 tokens and replies of 128. The library transformers starts each operation from Python. Our package replays a recording of the whole step, which the next section explains.

# %%
some = [test[i].prompt for i in range(300)]
alike = [prompt for prompt in some if len(tokenizer.encode(prompt)) == 20][:64]
ids, _ = left_padded(alike, tokenizer)  # [64, 21]: each begins with a mark
core_ms = {n: 1e3 * seconds(lambda n=n: write(model, ids[:n], 50), 2) / 50
           for n in (1, 4, 16, 64)}  # fmt: skip
table(["texts", "one step", "all texts together"],
      [[n, f"{ms:.2f} ms", f"{1e3 * n / ms:,.0f} tok/s"] for n, ms in core_ms.items()],
      "nano-zero on this core, in this run")

# %%
def rows_write_as_if_alone(write_both) -> None:
    both = [prompt, max(some, key=len)]
    written = write_both(*left_padded(both, tokenizer))
    for row, alone in zip(written, both, strict=True):
        ids, _ = left_padded([alone], tokenizer)
        assert torch.equal(row[-40:], write_slowly(exact, ids, 40)[0, -40:])


def hides_the_filling(padded, mask):
    return decode(exact, padded, 40, temperature=0.0, attention_mask=mask).ids


def forgets_the_mask(padded, mask):
    return write(exact, padded, 40)


bites(rows_write_as_if_alone, hides_the_filling, forgets_the_mask)

# %% tags=["hide-input"]
RECORD = "bench_model"  # what `minidsk bench` measured
recorded = results.read(RECORD)
device, copies = recorded["machine"]["device"], recorded["ceilings"]["copy_gb_s"] * 1e9
sampled = {case["value"]: case for case in recorded["cases"]
           if case["bench"] == "generation" and case["axis"] == "batch"}  # fmt: skip
new = {batch: case["tokens"] / batch for batch, case in sampled.items()}
step_ms, rival_ms = (
    {batch: 1e3 * case["contestants"][who or case["best_rival"]]["median"] / new[batch]
     for batch, case in sampled.items()} for who in ("ours", None))  # fmt: skip
rows_64.reveal(round(step_ms[64] / step_ms[1], 2))
print(results.origin(RECORD))
assert max(rival_ms.values()) < 2 * rival_ms[1]
assert f"{parameters(MOE) / 1e6:.1f}" == "14.7"
table(["texts", "transformers, ms", "our package, ms", "its tokens per second"],
      [[f"{batch:,}", f"{rival_ms[batch]:.3g}", f"{step_ms[batch]:.3g}",
        f"{1e3 * batch / step_ms[batch]:,.0f}"] for batch in sampled],
      f"One step of the recorded model on {device}, with its share of reading the prompts")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.2))
for name, of in (("transformers, GPU", rival_ms), ("our package, GPU", step_ms),
                 ("nano-zero, this run", core_ms)):  # fmt: skip
    (line,) = ax.plot(list(of), list(of.values()), "o-")
    for batch in (1, list(of)[-1]):
        _ = ax.annotate(f"{of[batch]:.2g}", (batch, of[batch]), (0, 7), ha="center",
                        textcoords="offset points", fontsize=9, color=line.get_color())
    _ = ax.annotate(name, (list(of)[-1], list(of.values())[-1]), (9, 0), va="center",
                    textcoords="offset points", color=line.get_color(), annotation_clip=False)
ax.set(xscale="log", yscale="log", xlabel="texts in the batch", ylabel="one step, ms")
_ = ax.set_xticks(sorted({*core_ms, *step_ms}), map(str, sorted({*core_ms, *step_ms})))
_ = ax.set_yticks([1, 3, 10], ["1", "3", "10"])
ax.minorticks_off()
ax.margins(x=0.08, y=0.2)
ends = f"{step_ms[1]:.2f} to {step_ms[2048]:.2f}"
show(fig, "A step grows far more slowly than the batch. For 2,048 times as many texts, the "
     f"package's step on the GPU takes {step_ms[2048] / step_ms[1]:.1f} times as long.",
     f"Three lines, both axes logarithmic. Our package on the GPU, 1 to 2,048 texts: {ends} "
     f"in milliseconds; transformers: {rival_ms[1]:.0f} to {rival_ms[2048]:.0f}, without a "
     f"trend; nano-zero on this core, 1 to 64 texts: {core_ms[1]:.1f} ms to "
     f"{core_ms[64]:.1f} ms.")  # fmt: skip

# %% [markdown]
# **The answer.** Many texts do share a step: on one core, 64 texts take about twice as long as one, and on the GPU only a third longer. So each of them costs far less. (Replies end at different times, and then a batch has rows to fill again. [Rows that come and go](18b_serving.ipynb) does that without changing a token.)
#
# ## Can a whole step be started at once?
#
# On a GPU, nearly every operation starts at least one kernel ([chapter 07](07_triton_kernels.ipynb)). If a kernel ends before Python has started the next one, the GPU waits. To see what a start costs, we count the operations of the recorded model and divide its step for one text by them.

# %% tags=["diagram", "hide-input"]
diagram("starts_and_a_graph")

# %%
# tolerance: 15%
wide, counts = minidsk.MiniDeepSeek(MOE, torch.Generator().manual_seed(0)), {}
for batch in (1, 64):
    cache = wide.new_cache(batch, 64, static=True)
    with torch.no_grad(), Count() as counter:
        _ = wide(torch.zeros(batch, 1, dtype=torch.long), cache=cache, mtp=False)
    counts[batch] = counter.operations
print(f"operations of a step: {counts[1]} for one text, {counts[64]} for 64")
from_python, from_graph = (1e3 * of[1] / counts[1] for of in (rival_ms, step_ms))
print(f"a step of transformers, from Python: {from_python:.0f} us per operation")
print(f"a step of our package, from a graph: {from_graph:.1f} us per operation")

# %% [markdown]
# (Both are divided by our own count, and transformers may start more operations or fewer. No record holds our package without a graph; `minidsk bench generation` measures this pair on your GPU.)
#
# A **CUDA graph** removes most of the cost of starting. The step is run once in recording mode: CUDA writes down which kernels would start, and with which addresses. Then one call starts all of them (not run here):
#
# ```python
# graph, tokens = torch.cuda.CUDAGraph(), torch.zeros(1, 1, dtype=torch.long, device="cuda")
# with torch.cuda.graph(graph):  # records the kernels, after a few ordinary steps
#     logits = model(tokens, cache=cache).logits
# tokens.copy_(next_tokens)  # in place, because the recording holds this address
# graph.replay()  # now logits are those of the new tokens
# ```
#
# We build the same on a CPU with PyTorch's operations. Each operation writes its result again where the recording has it.
#
# A replay repeats shapes, addresses and numbers as they were, and Python decides nothing. So a step needs three changes before it can be recorded:
#
# - The cache has a fixed size (`static=True`), and a mask hides its empty places.
# - Every expert computes each token, and the unchosen get weight 0, because sorting tokens by expert would need sizes that change.
# - The next token stays in a tensor. The planted bug asks Python for it.

# %%
class Graph(TorchDispatchMode):
    """Records the operations in its block; replay does them again, at the same addresses."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, out in self.calls:
            again = function(*args, **kwargs)
            for old, new in zip(*(x if type(x) in (tuple, list) else (x,)
                                  for x in (out, again)), strict=True):  # fmt: skip
                if torch.is_tensor(old) and old is not new:
                    old.copy_(new)

# %%
class EveryExpert(Kernels):
    def operation(self, name):
        return every_expert if name == "experts" else super().operation(name)


fixed = copy.deepcopy(exact).use(EveryExpert())


def stays_in_a_tensor(tokens, cache):
    tokens.copy_(fixed(tokens, cache=cache, mtp=False).logits.argmax(-1))


def asks_python(tokens, cache):  # the recording holds this number
    tokens.fill_(int(fixed(tokens, cache=cache, mtp=False).logits.argmax(-1)))


def replays_the_same_text(step) -> None:
    cache = fixed.new_cache(1, 160, static=True)
    with torch.no_grad():
        tokens = fixed(one, cache=cache, mtp=False).logits[:, -1:].argmax(-1)
        with Graph() as graph:
            step(tokens, cache)  # reads one token and writes the second of the reply
    for place in range(2, 20):
        assert tokens == ours[0, one.shape[1] + place - 1]
        graph.replay()


bites(replays_the_same_text, stays_in_a_tensor, asks_python)

# %% [markdown]
# **The answer.** A graph starts a whole step with one call. On the recorded GPU, a step costs about 1 µs per operation from a graph, and 16 µs from Python in the library transformers.
#
# ## What limits a large model?
#
# A processor also has to fetch numbers from memory. Each step fetches once the weights that it uses, for all texts, and the cache of each text. We count both for DeepSeek-V3, with one byte per weight and two per number in the cache. In each of its 58 layers with experts, a token goes to 8 of 256. We take all experts as equally likely.

# %%
v3 = minidsk.ModelConfig.from_dict({"model_type": "deepseek_v3"})
expert = 58 * 3 * v3.hidden_size * v3.moe_intermediate_size  # one expert of every layer


def bytes_of_a_step(rows, seen):
    """Read in one step: weights once, and for each row its cache of `seen` tokens."""
    met = 256 * (1 - (1 - 8 / 256) ** rows)  # how many of 256 experts `rows` tokens meet
    weights = parameters(v3) - v3.vocab_size * v3.hidden_size - (256 - met) * expert
    kept = v3.num_hidden_layers * (v3.kv_lora_rank + v3.qk_rope_head_dim)
    return weights, 2 * rows * seen * kept

# %%
def reads_them_for_each_row(rows, seen):
    weights, cache = bytes_of_a_step(1, seen)
    return rows * weights, rows * cache


def a_large_batch_reads_every_weight_once(count) -> None:
    assert abs(count(1, 0)[0] / 37e9 - 1) < 0.02  # the report's 37 billion
    assert abs(count(2048, 0)[0] / 671e9 - 1) < 0.02  # and its 671 billion


bites(a_large_batch_reads_every_weight_once, bytes_of_a_step, reads_them_for_each_row)
rows = []
for texts in (1, 16, 100, 2048):
    weights, cache = bytes_of_a_step(texts, 4096)
    ms = 1e3 * (weights + cache) / copies
    rows.append([texts, f"{weights / 1e9:.0f}", f"{cache / 1e9:.1f}", f"{ms:.0f}",
                 f"{1e3 * texts / ms:,.0f}"])  # fmt: skip
table(["texts", "weights, GB", "caches, GB", "milliseconds per step", "tokens per second"],
      rows, f"DeepSeek-V3, texts of 4,096 tokens, if bytes alone took time: {device}")

# %% tags=["figure", "hide-input"]
batches = [2**k for k in range(12)]
fig, ax = plt.subplots(figsize=(6.4, 3))
for name, of in (("weights", 0), ("caches", 1)):
    each = [bytes_of_a_step(batch, 4096)[of] / batch / 1e9 for batch in batches]
    (line,) = ax.plot(batches, each, "o-", markevery=[0, 4, 8, 11], label=name)
    for k in (0, 4, 8, 11):
        _ = ax.annotate(f"{each[k]:.2g}", (batches[k], each[k]), (0, -16 if of else 8),
                        fontsize=9, ha="center",
                        textcoords="offset points", color=line.get_color())
ax.set(xscale="log", yscale="log", xlabel="texts in the batch", ylabel="GB per written token")
ax.margins(y=0.15)
direct_labels(ax)
few, many = (sum(bytes_of_a_step(b, 4096)) / b / 1e9 for b in (1, 2048))
show(fig, "Bytes that a step of DeepSeek-V3 reads, per written token, when each text is 4,096 "
     f"tokens long: {few:.0f} GB for a single text, {many:.2f} GB in a batch of 2,048. All "
     "texts share the weights, but each text has a cache of its own.",
     "Two lines over 1 to 2,048 texts, both axes logarithmic: gigabytes of weights per "
     "written token fall, slowly while more experts are met, and then in proportion to the "
     "batch; those of the cache stay the same.")

# %% [markdown]
# **The answer.** A large model spends a step on fetching weights. A hundred texts meet nearly all experts of V3, so a step reads about 18 times as many bytes, and still each text costs about a fifth. In a very large batch, nearly half of the bytes belong to the caches, so it matters that the latent cache is small. (V3 does not fit on one such GPU.)
#
# ## Can one text fill the step by itself?
#
# More texts per step cost little, because they fill it with more tokens. Could a step for a single text check several tokens of *the same* text? It could, if a cheap *guesser* proposed them, because checking them is reading, and reading is fast. This is **speculative decoding** {cite}`leviathan2022speculative,chen2023speculative`.

# %% tags=["diagram", "hide-input"]
diagram("speculation")

# %% [markdown]
# The guesser of Leviathan and others is a second, smaller model. DeepSeek-V3 has one built in, the module of [chapter 04](04_multi_token_prediction.ipynb), which was trained to predict one token further ahead and sees the model's own state. We train a narrow model of eight layers with such a module, a single block and so cheap beside the model. We train in float64, so that other processors train the same model.

# %%
deep = nano().pretrain.model.replace(hidden_size=64, num_hidden_layers=8,
                                     num_nextn_predict_layers=1)  # fmt: skip
course = dataclasses.replace(nano().pretrain, model=deep, steps=80, batch=4)
_ = torch.set_default_dtype(torch.float64)
with tempfile.TemporaryDirectory() as folder:
    writer = pretrain(course, folder, device="cpu", progress=False).eval()
_ = torch.set_default_dtype(torch.float32)
print(f"{sum(weight.numel() for weight in writer.parameters()):,} parameters with the module")

# %% [markdown]
# We begin with greedy text and without a cache. A guess is right if it is the model's own likeliest token. A pass of the model reads the text with the guess at its end. The logits before the guess say whether it was right. If it is right, the logits after it give one more token.

# %%
@torch.no_grad()
def speculate_slowly(model, ids, new):
    """Greedy text of one row with one guess per pass; ids, and the number of passes."""
    end, passes = ids.shape[1] + new, 1
    ids = torch.cat((ids, model(ids).logits[:, -1:].argmax(-1)), 1)
    while ids.shape[1] < end:
        guess = model(ids).mtp_logits[0][:, -1:].argmax(-1)  # the module, at the last place
        says = model(torch.cat((ids, guess), 1)).logits[:, -2:].argmax(-1)  # the pass
        right = bool(guess == says[:, :1])
        ids, passes = torch.cat((ids, says if right else says[:, :1]), 1), passes + 1
    return ids[:, :end], passes


slowly, slow_passes = speculate_slowly(writer, one, 60)
assert torch.equal(slowly, write_slowly(writer, one, 60))
print(f"60 tokens in {slow_passes} passes, and the same tokens as without guesses:")
print(repr(tokenizer.decode(slowly[0, one.shape[1] :].tolist())))

# %% [markdown]
# With a cache, a pass reads only two tokens, the last one and the guess. This brings a trap: when the guess is refused, the cache already holds it, and later tokens would look at it. So the cache must be **rolled back** to the tokens that are true.
#
# In the package, `cache.ends` says how many tokens the cache holds, and `cache.truncate` forgets those behind. `model.look_ahead` runs the module. A kept guess is a token that the module has not read yet. So before it guesses again, `cache.reopen(last, 2)` lets it read the last two tokens.

# %%
@torch.no_grad()
def speculate_cached(model, ids, new, roll_back):
    """As speculate_slowly, with a cache; roll_back(cache, lengths) forgets what follows."""
    end, passes = ids.shape[1] + new, 1
    cache = model.new_cache(1, end + new, mtp=True, static=True)  # the module's part too
    ids = torch.cat((ids, model(ids, cache=cache).logits[:, -1:].argmax(-1)), 1)
    while ids.shape[1] < end:
        known = cache.ends.clone()  # the cache holds all tokens but the last
        cache.reopen(known, 2)
        ahead = model.look_ahead(1, ids[:, -2:], cache)
        guess = model.lm_head(ahead[:, -1:]).argmax(-1)
        checked = torch.cat((ids[:, -1:], guess), 1)
        says = model(checked, cache=cache, mtp=False).logits.argmax(-1)
        right = bool(guess == says[:, :1])
        if not right:
            roll_back(cache, known + 1)  # the last token is true, the guess is not
        ids, passes = torch.cat((ids, says if right else says[:, :1]), 1), passes + 1
    return ids[:, :end], passes

# %%
def rolls_back(cache, lengths):
    cache.truncate(lengths)


def does_not_roll_back(cache, lengths):
    pass


def the_text_without_guesses(roll_back) -> None:
    guessing, passes = speculate_cached(writer, one, 60, roll_back)
    assert torch.equal(guessing, slowly)
    assert passes == slow_passes


bites(the_text_without_guesses, rolls_back, does_not_roll_back)
by_package = speculate(writer, one, 60, 1, temperature=0.0)
assert torch.equal(slowly, by_package.ids) and slow_passes == int(by_package.passes)
print(f"60 tokens in {slow_passes} passes: without a cache, with one, and in the package")

# %% [markdown]
# **The answer.** One text can fill a step with guesses about itself, and greedy text does not change, because only the model's own tokens are written.
#
# ## When may a drawn guess be kept?
#
# For drawn text, the guess $x$ was drawn from the guesser's probabilities $q$, and the text must follow the model's own, $p$. Two rules are enough:
#
# - keep the guess with probability $\min(1, p(x)/q(x))$;
# - if it is refused, draw from what $p$ has more than $q$ (the *surplus*): $\max(0, p - q)$, divided by its sum.
#
# **Three tokens by hand.** The guesser offers token 2 with 0.6, three times as often as it should. So a guess of token 2 is kept one time in three, and guesses of tokens 1 and 3 always. With probability $0.6 \cdot \frac23 = 0.4$, a guess is refused. Then token 1 or 3 is drawn, each with probability one half, because their surpluses are equal. The last column adds up the two ways and gives $p$:
#
# | token | $p$ | $q$ | kept if guessed | written as a kept guess | surplus | written after a refusal | sum |
# | --- | --- | --- | --- | --- | --- | --- | --- |
# | 1 | 0.5 | 0.3 | 1 | 0.3 | 0.2 | 0.4 · ½ = 0.2 | **0.5** |
# | 2 | 0.2 | 0.6 | ⅓ | 0.2 | 0 | 0 | **0.2** |
# | 3 | 0.3 | 0.1 | 1 | 0.1 | 0.2 | 0.4 · ½ = 0.2 | **0.3** |

# %%
p, q = torch.tensor([0.5, 0.2, 0.3]), torch.tensor([0.3, 0.6, 0.1])
kept, surplus = torch.minimum(p, q), (p - q).clamp(min=0)
refused = 1 - kept.sum()
print("written as a kept guess:", *(f"{x:.2f}" for x in kept), f"and {refused:.2f} refused")
for name, instead in (("from the surplus", surplus / surplus.sum()), ("from p again", p)):
    total = kept + refused * instead
    print(f"refused ones replaced {name}:", *(f"{x:.2f}" for x in total))

# %% [markdown]
# The last line is a mistake that sounds right: to replace a refused guess by a fresh draw from $p$. Token 2 then comes too often, because it already came often enough as a guess.
#
# **Why it is always $p$.** As a guess that is kept, token $x$ is written with probability $q(x) \min(1, p(x)/q(x)) = \min(p(x), q(x))$. So at this place a guess is kept with probability
#
# $$ \beta = \sum_x \min(p(x), q(x)), $$
#
# and refused with $1 - \beta$. The surplus $\max(0, p(x) - q(x)) = p(x) - \min(p(x), q(x))$ adds up to $1 - \beta$ too. After a refusal $x$ is therefore drawn with probability $(p(x) - \min(p(x), q(x)))/(1 - \beta)$. The factor $1 - \beta$ cancels, and the two ways add up to $p(x)$. No property of the guesser was used, so bad guesses cost time and never quality.
#
# ### The same rules on our model
#
# We let the writer begin its reply, and stop where its module is often wrong. The module draws its guess for the next token from `q`, and the model itself would draw from `p`.

# %%
begun = write(writer, one, 6)
every = torch.arange(deep.vocab_size)
with torch.no_grad():
    offers = writer(begun)
    p, q = (logits[0, -1].softmax(-1) for logits in (offers.logits, offers.mtp_logits[0]))
    checks = writer(torch.cat((begun.expand(len(every), -1), every[:, None]), 1))
after = checks.logits[:, -1].softmax(-1)  # [V, V]: what follows each possible guess
print("the text so far ends with", repr(tokenizer.decode(begun[0, -6:].tolist())))
named = [tokenizer.decode([k]) for k in every.tolist()]
shown = torch.maximum(p, q).topk(5).indices.tolist()
table(["token", "p", "q", "kept if guessed", "surplus"],
      [[named[k], f"{p[k]:.2f}", f"{q[k]:.2f}", f"{min(1, p[k] / q[k]):.2f}",
        f"{max(0, p[k] - q[k]):.2f}"] for k in shown],
      f"The five likeliest of {len(every)} tokens; "
      f"a guess is kept with {torch.minimum(p, q).sum():.2f}")

# %% [markdown]
# The model most often writes `=` here, but the module offers `-` most often. Now we draw 20,000 times: a guess, a verdict, and if it is refused a token from the surplus. The token after it is drawn from what the model says behind the token that was written. (All guesses have been checked in one pass, so a draw is a look-up.)
#
# Do these pairs of tokens follow the model? Its probabilities of all pairs are known: $p$ of the first token, times what follows it. A chi-square test compares the counts with them. By chance alone, its sum is about the number of cells, and its spread is the root of twice that number. (Plain sampling is the case $q = p$, in which every guess is kept.)

# %%
def pairs(q, instead, draws=20_000):
    """The next two tokens, as one number each; instead(p, q) replaces a refused guess."""
    g = torch.Generator().manual_seed(0)
    guess = torch.multinomial(q, draws, replacement=True, generator=g)
    kept = torch.rand(draws, generator=g) < (p / q)[guess]
    fresh = torch.multinomial(instead(p, q), draws, replacement=True, generator=g)
    first = torch.where(kept, guess, fresh)
    return len(p) * first + torch.multinomial(after[first], 1, generator=g)[:, 0]


def from_the_surplus(p, q):
    return (p - q).clamp(min=0)


def from_p_again(p, q):
    return p
# %%
# tolerance: 0.1
def chi_square(drawn):
    """How far counts are from what the model says, in spreads beyond chance."""
    expected = len(drawn) * (p[:, None] * after).flatten()  # of each pair
    counts = torch.bincount(drawn, minlength=len(expected)).double()
    often = expected >= 5  # rarer pairs are joined
    expected, counts = (torch.cat((x[often], x[~often].sum()[None]))
                        for x in (expected, counts))  # fmt: skip
    cells = len(expected) - 1
    total = ((counts - expected) ** 2 / expected).sum().item()
    return (total - cells) / (2 * cells) ** 0.5


def pairs_follow_the_model(instead) -> None:
    assert chi_square(pairs(q, instead)) < 4


bites(pairs_follow_the_model, from_the_surplus, from_p_again)
assert chi_square(pairs(q, from_p_again)) > 100
ways = {"plain sampling": pairs(p, from_p_again),
        "guesses, from the surplus": pairs(q, from_the_surplus),
        "guesses, from p again": pairs(q, from_p_again)}  # fmt: skip
table(["20,000 pairs", "spreads beyond chance"],
      [[name, f"{chi_square(drawn):.1f}"] for name, drawn in ways.items()],
      "Chi-square against the model's own probabilities; above 4 is no chance")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.8))
firsts = {name: torch.bincount(drawn // len(p), minlength=len(p)) / len(drawn)
          for name, drawn in ways.items()}  # fmt: skip
for shift, (name, each) in zip((-0.28, 0, 0.28), firsts.items(), strict=True):
    bars = ax.bar(np.arange(4) + shift, each[shown[:4]], 0.26, label=name)
    _ = ax.bar_label(bars, [f"{x:.2f}" for x in each[shown[:4]]], fontsize=9, padding=4)
for k in range(4):
    _ = ax.plot([k - 0.43, k + 0.43], [p[shown[k]]] * 2, "--", color="gray", lw=1, zorder=0)
_ = ax.set_xticks(range(4), [f"{named[k]}\np = {p[k]:.2f}, q = {q[k]:.2f}" for k in shown[:4]])
_ = ax.set(ylabel="share of first tokens", ylim=(0, 0.65))
_ = ax.legend(fontsize=9)
rare = (firsts["guesses, from p again"] - p).argmin().item()
show(fig, "How often each token was written first, in 20,000 draws. Dashed: the model's own "
     f"probability. With the bug, {named[rare]} is written with "
     f"{firsts['guesses, from p again'][rare]:.2f} and not with {p[rare]:.2f}, because only "
     "its surplus can make up for a guesser that offers too little of it.",
     "Three bars for each of four tokens. " + "; ".join(
         f"{name}: " + ", ".join(f"{named[k]} {each[k]:.2f}" for k in shown[:4])
         for name, each in firsts.items()) + ".")  # fmt: skip

# %% [markdown]
# **The answer.** A guess may be kept with $\min(1, p/q)$, if a refused one is replaced from the surplus. Then drawn text follows the model: on three tokens exactly, and on our model as far as 20,000 draws can tell. With the bug, the counts are more than 100 spreads beyond chance.
#
# ## How many tokens does a pass give?
#
# Call $\alpha$ the share of guesses that are kept (the mean of $\beta$ over the places where a pass guesses). If each guess is kept with $\alpha$, whatever came before, then $K$ guesses yield on average
#
# $$ 1 + \alpha + \alpha^2 + \dots + \alpha^K $$
#
# tokens per pass. The 1 is the model's own token, which every pass writes. Guess number $k$ counts only if all guesses up to it are right. Choose a number of guesses below, and move the slider to $\alpha$: from which $\alpha$ on do two guesses yield two tokens?
#
# We also ask whether the formula holds. The cell after the figure lets the package write greedy text for 16 prompts, with up to three guesses per pass. (For the second and third guess, the one module runs again on its own output.)

# %% tags=["widget"]
alphas = [k / 20 for k in range(21)]
Curve({f"{K} guess{'es' * (K > 1)}": {"x": alphas, "y": [sum(a**k for k in range(K + 1))
                                                        for a in alphas]}
       for K in (1, 2, 3, 10)}, xlabel="chance that a guess is kept",
      ylabel="tokens per pass", title="How far does a pass get?")  # fmt: skip

# %%
some, rows = ids[:16], []
without = decode(writer, some, 60, temperature=0.0)
for depth in (1, 2, 3):
    done = speculate(writer, some, 60, depth, temperature=0.0)
    assert torch.equal(done.ids, without.ids)
    kept = (done.kept.sum() / done.drafted.sum()).item()
    if depth == 1:
        alpha = kept
    per_pass = (done.mask.sum() - 16) / (done.passes.sum() - 16)  # behind the prompt's pass
    rows.append([depth, f"{kept:.2f}", f"{per_pass:.2f}",
                 f"{sum(alpha**k for k in range(depth + 1)):.2f}"])  # fmt: skip
table(["guesses per pass", "share kept", "tokens per pass", "by the formula"], rows,
      "Greedy text of 16 prompts, 60 tokens each; all texts are the same as without guesses")

# %% [markdown]
# (By the formula, two guesses yield two tokens from $\alpha = 0.62$ on.) The last column takes the first row's share as $\alpha$. With more guesses it promises too much. One reason may be that the module was trained to look one token ahead only.
#
# **The answer.** With one guess, a pass gives $1 + \alpha$ tokens; each further guess gives less.
#
# ## Does guessing pay?
#
# A pass with $K$ guesses works on $K + 1$ tokens per text, and the guesses cost $K$ steps of the module. So the gain is
#
# $$ \frac{\text{tokens per pass} \times \text{time of a plain step}}{\text{time of a pass with guesses} + K \times \text{time of the module}}. $$
#
# We measure it with our own decoders on one core. Before, the cell asserts that the package writes the slow decoder's texts with the cache, the batch and the guesses at once.

# %%
# tolerance: 100%
decoders = {"the slow decoder": (1, partial(write_slowly, writer, one, 60)),
            "a cache": (1, partial(write, writer, one, 60)),
            "a cache and one guess per pass": (1, partial(speculate_cached, writer, one, 60,
                                                          rolls_back)),
            "a cache and 64 texts": (64, partial(write, writer, ids, 60))}  # fmt: skip
together = speculate(writer, ids, 60, 1, temperature=0.0).ids  # cache, batch and guesses
with torch.no_grad():  # the slow decoder writes the likeliest token at each place
    likeliest = writer(together, mtp=False).logits[:, -61:-1].argmax(-1)
assert torch.equal(likeliest, together[:, -60:])
assert torch.equal(together, write(writer, ids, 60))
speeds = {name: rows * 60 / seconds(way, 1) for name, (rows, way) in decoders.items()}
base = speeds["the slow decoder"]
table(["remedies", "tokens per second", "gain"],
      [[name, f"{speed:,.0f} tok/s", f"{speed / base:.1f}x faster"]
       for name, speed in speeds.items()],
      "The eight-layer writer in float64, 60 tokens, one core; all texts are the same")

# %% [markdown]
# On the GPU we recorded the larger model twice. First, Python started the kernels of each pass with guesses, because it had to know how many guesses were kept. We then rewrote the pass over tensors of fixed shape, where this number stays on the GPU. So the second record replays the pass from a graph.
#
# In it, a pass with one guess gives 1.8 tokens. Guess how many times as fast one text comes.

# %% tags=["prediction", "hide-input"]
guess = None
question = "With one guess per pass, one text comes how many times as fast?"
one_guess = predict("inference.one_guess", question, guess, example=1.8)
one_guess

# %% tags=["hide-input"]
again = results.read("bench_speculation")  # newer code, whose passes with guesses are replayed
guessed, replayed = (
    {case["value"]: case for case in of["cases"] if case["bench"] == "speculation"}
    for of in (recorded, again)
)


def speed_gain(case, depth):
    """How many times as fast as plain decoding in the same record."""
    of = case["contestants"]
    return of["ours"]["median"] / of[f"ours, depth {depth}"]["median"]


def in_the_spread(case, depth):
    """A mark where the middle halves of both ways' times overlap."""
    of = case["contestants"]
    fast, slow = of[f"ours, depth {depth}"]["quartiles"], of["ours"]["quartiles"]
    return "" if fast[1] < slow[0] else " (in the spread)"


for batch in (16, 128):
    was, now = (of[batch]["contestants"]["ours"]["median"] for of in (guessed, replayed))
    print(f"plain, {batch} texts: {100 * (now / was - 1):.0f} % slower in the second record")
one_guess.reveal(round(speed_gain(replayed[1], "1"), 2))
rows = [[batch, depth, f"{of['accepted']:.2f}", f"{of['tokens_a_step']:.2f}",
         f"{speed_gain(guessed[batch], depth):.2f}",
         f"{speed_gain(case, depth):.2f}{in_the_spread(case, depth)}",
         f"{of['same_rows']} of {of['rows']}"]
        for batch, case in replayed.items()
        for depth, of in case["depths"].items()]  # fmt: skip
table(["texts", "guesses", "share kept", "tokens per pass",
       "gain, from Python", "gain, replayed", "same texts"], rows,
      f"Recorded on {device}, greedy, bfloat16; all but one column: the second record")

# %% [markdown]
# In the column "gain, from Python", Python starts the passes with guesses, but the plain run beside it is replayed. Such text came **ten times more slowly**. Replayed, one text gains 9 % with one guess and 14 % with two. A third guess added nothing, and batches of 16 and 128 gain nothing beyond the spread.
#
# Nearly all texts are the same as without guesses. In bfloat16, a pass for two tokens can round differently from a pass for one, and where two tokens are nearly equally likely this may decide. (Why the number of rows changes the rounding is shown in [rows that come and go](18b_serving.ipynb).)
#
# Why is the recorded gain so small? The formula would expect that a pass for two tokens costs as much as a plain step, and the module, one block beside six, a sixth of a step. The cell compares this with the record.

# %%
plain_ms = 1e3 * replayed[1]["contestants"]["ours"]["median"] / 64
per_pass = replayed[1]["depths"]["1"]["tokens_a_step"]
for name, of in (("from Python", guessed[1]), ("replayed", replayed[1])):
    per_token = 1e3 * of["contestants"]["ours, depth 1"]["median"] / 64
    ms = per_token * of["depths"]["1"]["tokens_a_step"]
    print(f"a pass, {name}: {ms:.1f} milliseconds, {ms / plain_ms:.2f} plain steps")
print(f"expected: {1 + 1 / 6:.2f} plain steps, and so a gain of {per_pass / (1 + 1 / 6):.2f};",
      f"recorded: {speed_gain(replayed[1], '1'):.2f}")

# %% [markdown]
# Besides the module, each guess needs its own pass through the output matrix and its own choice of a token, and the verdict takes a dozen small operations. Each starts kernels, which is probably what a guess costs for one text, but we have not profiled it.
#
# **The answer.** For one text, guesses paid a little on the GPU. In batches of 16 and more we saw no gain.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeek-V3 writes with the MTP module that it was trained with {cite}`deepseekv3`. Section 5.4.3 of its report says that the second token, the guess, is accepted in 85 to 90 % of cases, and that this yields 1.8 times the tokens per second. With one guess, $K = 1$, the formula gives
#
# $$ 1 + \alpha = 1.85 \ \text{to}\ 1.90 $$
#
# tokens per pass. The report's 1.8 lies just below. We suspect, and the report does not say, that guessing is not free.
#
# The cache is the latent one, about 70 kB per token. Prompts are read and replies written on different machines, because one is limited by computing and the other by memory (section 3.4). The report says that the batch per expert is usually within 256 tokens, and that memory access is then the bottleneck.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Guesses made our text ten times slower at first.** Python started the kernels of each pass with guesses. Then we rewrote the pass for a graph, and predicted a gain of about a half, but the record has 9 %.
#
# **Guesses and a large batch do not add up.** Both fill the same step with more tokens. For 16 texts and more, the record shows no gain beyond the spread.
#
# **A gain smaller than the spread is no gain.** Two recordings of the same plain run differ by more (the lines above the table) than guesses gained in large batches.
#
# ## Exercises
#
# ```{exercise} Keep or refuse
# :label: ex-18-verdict
#
# *15 minutes.* Write `verdict(p, q, guess, chance)`, described below; `check("inference.verdict", my_verdict)` knows five mistakes by name.
#
# **Hint.** Take the three tokens from above, and follow the second one.
# ```

# %%
print(describe("inference.verdict"))


def my_verdict(p, q, guess, chance):
    """Replace the line below by your own; p, q: [V]."""
    raise NotImplementedError

# check("inference.verdict", my_verdict)

# %% [markdown]
# ```{solution-start} ex-18-verdict
# :class: dropdown
# ```

# %%
def verdict_solution(p, q, guess, chance):
    if chance < p[guess] / q[guess]:
        return torch.nn.functional.one_hot(torch.tensor(guess), len(p)).float()
    more = (p - q).clamp(min=0)
    return more / more.sum()


check("inference.verdict", verdict_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} How far does a pass get?
# :label: ex-18-pass
#
# *10 minutes.* Write `per_pass(chance, guesses)`, the average number of tokens per pass; test it with `check("inference.per_pass", my_per_pass)`. With a chance of 0.85, how many tokens do ten guesses yield, and infinitely many?
#
# **Hint.** What is the probability that at least two guesses are right?
# ```
#
# ```{solution-start} ex-18-pass
# :class: dropdown
# ```

# %%
def per_pass_solution(chance, guesses):
    return sum(chance**k for k in range(guesses + 1))


for guesses in (1, 10, 1000):
    print(f"{guesses:5} guesses: {per_pass_solution(0.85, guesses):.2f} tokens per pass")
print(f"infinitely many, by the geometric series: 1/(1 - 0.85) = {1 / (1 - 0.85):.2f}")
check("inference.per_pass", per_pass_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} When the caches outweigh the weights
# :label: ex-18-bytes
#
# *10 minutes.* DeepSeek-V3 keeps a latent of 512 and a rotated key of 64 numbers per token in each of 61 layers. Count each number as 2 bytes in the cache and each weight as 1 byte. From how many texts of 4,096 tokens on does a step read more bytes of caches than of all 671 billion weights?
#
# **Hint.** How many bytes does the cache of one text have? (Nearly all experts are met by then.)
# ```
#
# ```{solution-start} ex-18-bytes
# :class: dropdown
# ```

# %%
one_cache = 2 * 61 * (512 + 64) * 4096
print(f"the cache of one text: {one_cache / 1e6:.0f} MB")
print(f"{671e9 / one_cache:,.0f} texts have as many bytes of caches as the weights")
assert one_cache * 2400 > 671e9 > one_cache * 2300

# %% [markdown]
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of `verdict`. The test below accepts the right version and lets two bugs escape. Write a test that catches them; ours is folded.

# %% tags=["zoo"]
def a_guess_that_p_likes_more_is_kept(verdict) -> None:
    out = verdict(torch.tensor([0.5, 0.2, 0.3]), torch.tensor([0.3, 0.6, 0.1]), 0, 0.9)
    assert out.tolist() == [1.0, 0.0, 0.0]


zoo("inference", [a_guess_that_p_likes_more_is_kept])

# %% tags=["hide-cell"]
def the_text_follows_p(verdict) -> None:
    """Over all guesses and 1,000 chances, what is written has the probabilities p."""
    p, q = torch.tensor([0.5, 0.2, 0.3]), torch.tensor([0.3, 0.6, 0.1])
    chances = [(k + 0.5) / 1000 for k in range(1000)]
    mean = sum(q[x] * sum(verdict(p, q, x, u) for u in chances) / 1000 for x in range(3))
    assert (mean - p).abs().max() < 0.005


zoo("inference", [a_guess_that_p_likes_more_is_kept, the_text_follows_p])

# %% [markdown]
# ## The opening question, answered
#
# Writing is slow because each token needs a pass of its own, and most of a small pass is starting operations. Reading shares these starts among all tokens of a text. The table shows what each remedy won back.

# %% tags=["hide-input"]
# tolerance: 100%
together_s, read_s, slow_s = 64e3 / core_ms[64], text.shape[1] / reading_one, 100 / slow
print(f"one text: written slowly {slow_s:,.0f} tok/s; read {read_s:,.0f} tok/s, "
      f"{read_s / slow_s:.0f}x faster")
graph_gain = {batch: case["contestants"]["ours"]["tokens_s"]
              / case["contestants"][case["best_rival"]]["tokens_s"]
              for batch, case in sampled.items()}  # fmt: skip
same, of_all = (sum(case["depths"]["1"][what] for case in replayed.values())
                for what in ("same_rows", "rows"))  # fmt: skip
one_guess_gain = speeds["a cache and one guess per pass"] / speeds["a cache"]
table(["remedy", "gain", "evidence of the same tokens"],
      [["a cache", f"{slow / cached:.1f}x faster, this core", "asserted: greedy, float64"],
       ["64 texts in a batch, beside the slow decoder",
        f"{together_s / slow_s:.0f}x faster, this core", "asserted: greedy, float64"],
       ["a graph and our package, against transformers",
        f"{graph_gain[1]:.0f} times for one text, {graph_gain[2048]:.0f} times for 2,048; GPU",
        "asserted on the CPU: fixed shapes, a replay; float64"],
       ["one guess, one text, eight layers", f"{one_guess_gain:.2f}x faster, this core",
        "asserted: greedy, float64; drawn: proved; chi-square"],
       ["one guess, one text, replayed",
        f"{speed_gain(replayed[1], '1'):.2f} times; GPU",
        f"recorded: {same} of {of_all} greedy texts, bfloat16"]],
      "What each remedy gained")  # fmt: skip

# %% [markdown]
# For one text we win back little of a factor of about a hundred: the cache and the guesses each make it less than twice as fast. For 64 texts together we win back several tens. In float64 no greedy token changed, whatever we combined. In bfloat16, one text of 16 and one of 128 changed with guesses.
#
# A batch keeps this gain only if its rows stay at work when replies end. That is the question of [rows that come and go](18b_serving.ipynb).
#
# ## Receipt

# %% tags=["receipt"]
receipt(differences={
    "slow decoder and package": (difference, 1e-6),
})

# %% [markdown]
# ## Summary
#
# A small model spends a pass on starting operations, so at 120 tokens a cache gains little. A large model spends it on fetching weights. A graph removes most of the cost of starting, a batch shares the pass among texts, and guesses share it among tokens of one text. Greedy text stays the same, and drawn text keeps its distribution if a refused guess is replaced from the surplus.
#
# - I can now say where the time of a token goes, in starts and in bytes.
# - I can now write a decoder with a cache, record its step, and roll a refused guess back.
# - I can now prove that checked guesses do not change the distribution of a text, and test it on a model.
# - I can now say how little guesses gained on a GPU, and why this may be so.
#
# ## Read on
#
# - Leviathan and others {cite}`leviathan2022speculative` and Chen and others {cite}`chen2023speculative`: the rule of acceptance, found twice in the same months.
# - [Rows that come and go](18b_serving.ipynb): refilling, noise that does not depend on the neighbours, and one order of adding.
# - The package's code is in `minidsk/infer/engine.py`, `generate.py` and `speculative.py`.
# - [Chapter 22](22_capstone.ipynb) spends most of its time on writing, in large batches.
