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
# Our reasoner reads a long text at tens of thousands of tokens per second on one core of a laptop. When a plain loop writes with it, the same model on the same core manages a few hundred. Why is writing a hundred times slower than reading, **and what makes the same tokens come sooner?**
#
# - **You will build** a decoder that computes everything again for each token, and four remedies: a cache, a batch, a graph, and guesses that are checked. For a fifth, fused kernels, you will count operations and read records. Greedy text must stay the same token by token, and drawn text must keep its distribution.
# - **You need** PyTorch, the latent cache of [chapter 02](02_latent_attention.ipynb), and for the guesses the extra module of [chapter 04](04_multi_token_prediction.ipynb).
# - **It takes** one to two minutes to run on two CPU cores. (All times of a GPU are recorded.) It takes an hour and a half to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import copy
import dataclasses
import math
import os
import tempfile
import time
from functools import partial
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import minidsk
from minidsk import results
from minidsk.bench.subject import MOE
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.engine import Engine
from minidsk.infer.generate import decode, left_padded
from minidsk.infer.noise import Noise
from minidsk.infer.sampling import Sampling
from minidsk.infer.speculative import speculate
from minidsk.infer.traced import TracedStep
from minidsk.kernels import dispatch, latent_attention, opening, router, trace
from minidsk.model.operations import Kernels, every_expert
from minidsk.presets import nano
from minidsk.scale.cost import parameters
from minidsk.train.pretrain import pretrain
from minidsk.widgets import Curve

# %% tags=["hide-input"]
plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)
clock = time.perf_counter if os.name == "nt" else time.process_time  # ours alone


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
# The model of the question is `nano-zero`, a small DeepSeek-V3 that has learned Countdown by reward ([chapter 12](12_grpo.ipynb)). One run of the model over some tokens is a **pass**. To read, the model predicts the token after each position of a text in a single pass. To write, it needs a pass of its own for each token, because each token is part of the input of the next pass.

# %%
policy = minidsk.load_policy("nano-zero")
model, tokenizer = policy.model, policy.tokenizer
test = nano().make_task("test")
prompt = test[0].prompt
one, _ = left_padded([prompt], tokenizer)
print(repr(prompt), "is", one.shape[1], "tokens, the first of which marks the beginning")
size = parameters(model.config)
print(f"{size:,} weights, {4 * size / 1e6:.1f} MB in float32")

# %%
text = torch.randint(4, 60, (16, 128), generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    reading, reading_one = (seconds(partial(model, text[:texts])) for texts in (16, 1))
print(f"reading 16 texts: {text.numel() / reading:,.0f} tok/s")
print(f"reading a single: {text.shape[1] / reading_one:,.0f} tok/s")

# %% [markdown]
# One text alone is read at tens of thousands of tokens per second too, so sharing a pass with other texts is not what makes reading fast. (Reading the prompt before a reply is called **prefill**.)
#
# The simplest decoder hands the whole text to the model for every new token. It is *greedy*: it takes the likeliest token. Every remedy has to agree with it. (`mtp=False` leaves out the module of [chapter 04](04_multi_token_prediction.ipynb), which only guesses need.)
#
# For 100 tokens after this prompt, the simplest decoder computes 7,050 tokens, because it reads the text 100 times. The cache of the next section will need only 120. How many times as fast does it write?

# %% tags=["prediction", "hide-input"]
guess = None
question = "With a cache, 100 tokens come how many times as fast?"
with_cache = predict("inference.cache", question, guess, example=59)
with_cache

# %% tags=["naive"]
@torch.no_grad()
def write_slowly(model, ids, new):
    """Continue ids [rows, time] by `new` tokens; for each, everything is computed again."""
    for _ in range(new):
        ids = torch.cat((ids, model(ids, mtp=False).logits[:, -1:].argmax(-1)), 1)
    return ids


slow = seconds(lambda: write_slowly(model, one, 100), turns=2)
print(f"writing: {100 / slow:,.0f} tok/s,", f"{slow / 100 * 128 / reading_one:.0f}x slower")

# %% [markdown]
# **The answer.** On one core, one text of 128 tokens is read about a hundred times as fast as this loop writes one.
#
# ## What does a cache save?
#
# A token looks only at the tokens before it, so its states never change when the text grows. A cache keeps what later tokens look at, which here is the latent of [chapter 02](02_latent_attention.ipynb). (Other models keep keys and values, hence **KV cache**.) Only the new token then goes through the model.
#
# Below the diagram, we read the prompt and then write three tokens, in **float64**, which has about 15 digits. Each token leaves a column of numbers in the cache of each layer. If these columns never change, a fresh cache that reads all 24 tokens in one pass must hold the same ones.

# %% tags=["diagram", "hide-input"]
diagram("cache_of_a_text")

# %%
exact = copy.deepcopy(model).double()  # float64
cache, seen, read = exact.new_cache(1, 24), one, []
for _ in range(4):
    read.append(seen)
    with torch.no_grad():
        seen = exact(seen, cache=cache, mtp=False).logits[:, -1:].argmax(-1)
    print(f"read {read[-1].shape[1]:2} tokens; the cache holds {int(cache.lengths)}")

# %%
fresh = exact.new_cache(1, 24)
with torch.no_grad():
    _ = exact(torch.cat(read, 1), cache=fresh, mtp=False)  # all 24 tokens in one pass
gap = (cache.entries - fresh.entries).abs().max().item()  # of [layers, 1, 24, width]
assert gap < 1e-12 < cache.entries.abs().max()
print(f"a column of a layer: {cache.entries.shape[-1]} numbers")
print("24 columns per layer, step by step and in one pass: no difference above 1e-12")

# %% [markdown]
# The decoder with a cache hands over the prompt once, and then only the newest token. A natural mistake is to hand over the whole text each time. No error says so, but a comparison with the slow decoder does.
#
# The package's `decode` works in the same way. All comparisons of tokens below are in float64, where rounding is too small to decide between two tokens. (The package keeps log-probabilities in about 7 digits.)

# %%
@torch.no_grad()
def write(model, ids, new):
    """As write_slowly, with a cache: after the prompt, a pass reads one token."""
    cache, seen = model.new_cache(len(ids), ids.shape[1] + new), ids
    for _ in range(new):
        seen = model(seen, cache=cache, mtp=False).logits[:, -1:].argmax(-1)
        ids = torch.cat((ids, seen), 1)
    return ids

# %%
def the_same_text(write) -> None:
    """A reply of 20 tokens, token by token that of the slow decoder."""
    assert torch.equal(write(model, one, 20), write_slowly(model, one, 20))


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

# %%
# tolerance: 100%
cached = seconds(lambda: write(model, one, 100), turns=2)
computed = sum(range(one.shape[1], one.shape[1] + 100))  # all texts that it handed over
print(f"writing slowly: {100 / slow:,.0f} tok/s, {computed:,} tokens computed")
print(f"with a cache:   {100 / cached:,.0f} tok/s, {one.shape[1] + 99} tokens computed")
assert computed == 7050
with_cache.reveal(round(slow / cached, 1))

# %% [markdown]
# The cache saves more than 98 % of the tokens, and yet it saves far less of the time. Is this different in longer texts? We time the passes for one more token. (The model was made for 512 tokens, so beyond them only the time counts.)

# %%
per_token = {"slow": {}, "with a cache": {}}
for length in (20, 100, 400, 1000):
    long = text.flatten()[:length][None]
    cache = model.new_cache(1, length + 20)
    with torch.no_grad():
        _, step = model(long, cache=cache), partial(model, one[:, :1], cache=cache, mtp=False)
        per_token["slow"][length] = 1e3 * seconds(partial(model, long, mtp=False), 4)
        per_token["with a cache"][length] = 1e3 * seconds(step, 4)

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.6))
for name, of in per_token.items():
    (line,) = ax.plot(list(of), list(of.values()), "o-", label=name)
    for length, ms in of.items():
        _ = ax.annotate(f"{ms:.1f}", (length, ms), (0, 7 if name == "slow" else -15),
                        textcoords="offset points", ha="center", fontsize=9,
                        color=line.get_color())
_ = ax.set(xscale="log", yscale="log", xlabel="tokens before", ylabel="one more token, ms")
_ = ax.set_xticks([20, 100, 400, 1000], ["20", "100", "400", "1,000"])
_ = ax.set_yticks([3, 10, 30], ["3", "10", "30"])
ax.minorticks_off()
ax.margins(x=0.08, y=0.3)
direct_labels(ax)
show(fig, "One more token of nano-zero, on this core. The slow decoder takes longer in a long "
     "text, and the decoder with a cache hardly does.",
     "Two lines over 20 to 1,000 tokens, both axes logarithmic, from nearly the same time on. "
     "Slow grows more than tenfold; with a cache stays nearly flat.")  # fmt: skip

# %% [markdown]
# **The answer.** In a short text, the cache saves nearly all tokens and little time. In a text of 1,000 tokens it makes the next token many times as fast. So in a short text, computing tokens is not what takes the time.
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


def narrowed(by):
    """A model like nano-zero with random weights, whose states are `by` times narrower."""
    narrower = {name: getattr(model.config, name) // by for name in
                ("hidden_size", "intermediate_size", "moe_intermediate_size")}  # fmt: skip
    config = model.config.replace(**narrower)
    return minidsk.MiniDeepSeek(config, torch.Generator().manual_seed(0))


def both_ways(engines, tokens, steps=100):
    """The shortest step of each engine in ms: from Python, and without Python."""
    took = [[] for _ in engines]
    for _ in range(steps):
        for engine, times in zip(engines, took, strict=True):  # in turn
            began = clock()
            engine.step(tokens)
            times.append(1e3 * (clock() - began))
    return [(min(times[:30]), min(times[40:])) for times in took]

# %%
# tolerance: 5%
cache = model.new_cache(1, 4096)
with torch.no_grad():
    _ = model(one, cache=cache)
passes = {1: partial(model, one[:, :1], cache=cache, mtp=False)}
for texts, long in ((1, 4), (1, 16), (1, 70), (4, 64), (8, 128), (16, 128)):
    passes[texts * long] = partial(model, text[:texts, :long])
rows, pass_ms = [], {}
for tokens, call in passes.items():
    with torch.no_grad():
        with Count() as counter:
            _ = call()
        pass_ms[tokens] = 1e3 * seconds(call, 5)
    rows.append([f"{tokens:,}", counter.operations, f"{pass_ms[tokens]:.1f} ms"])
table(["tokens in the pass", "operations", "time"], rows,
      "nano-zero on this core, in this run; the single token with a cache")

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
# A pass starts about 250 operations, **however many tokens it computes**. Before an operation computes anything, Python and PyTorch have to find a program, check shapes and reserve memory. We call this **starting**. But a pass also reads all weights, and this would give the same flat curve. So we build the model once more with an eighth of the width. It starts the same operations, and has a tenth of the weights.
#
# We time one step of each model in the package's `Engine`. (There, every expert computes each token, and `torch.inference_mode` skips some of PyTorch's bookkeeping.)

# %%
# tolerance: 5%
rows, engines = [], [Engine(narrowed(by), 1, 200) for by in (1, 8)]
for engine in engines:
    _ = engine.prefill(one)
    with Count() as counter:
        _ = engine.step(one[0, :1])
    rows.append([f"{parameters(engine.model.config):,}", counter.operations])
(wide, wide_alone), (slim, slim_alone) = both_ways(engines, one[0, :1])
assert wide < 3 * slim  # a tenth of the weights
table(["weights", "operations", "one step"],
      [[*row, f"{ms:.2f} ms"] for row, ms in zip(rows, (wide, slim), strict=True)],
      "For one text on this core, in this run, each operation started from Python")

# %% [markdown]
# The narrow model takes nearly as long, so products and weights take a small part of the step. How much of the rest is Python's?
#
# `torch.jit.trace` runs a function once and writes down its operations, and then PyTorch starts them without Python. We try it on a loop of a hundred additions, which becomes a hundred operations in a row. Each adds only eight numbers.
#
# `Engine.step` does the same with a whole step. It runs 32 steps from Python, makes a trace, and uses it from then on.

# %%
def add(x):
    for _ in range(100):
        x = x + x
    return x


traced = torch.jit.trace(add, torch.ones(8))
python, alone = (1e4 * seconds(partial(way, torch.ones(8)), 100) for way in (add, traced))
print(str(traced.graph).count("aten::add"), "additions in the trace, no loop;",
      f"each takes {python:.2f} µs from Python, {alone:.2f} µs from the trace")

# %%
assert wide_alone < 3 * slim_alone  # a tenth of the weights
assert wide_alone < wide  # the same operations, without Python
table(["weights", "from Python", "from the trace"],
      [[row[0], *(f"{ms:.2f} ms" for ms in of)] for row, of in
       zip(rows, ((wide, wide_alone), (slim, slim_alone)), strict=True)],
      "The same steps, timed in turn in this run")  # fmt: skip

# %% [markdown]
# From the trace, both models take much less time, so Python takes a large part of a step. In what remains, a tenth of the weights again saves little. So products and weights are a small part there too. (So many additions in our loop would take far less time. A step gives Python more to do: modules, shapes, the cache.)
#
# **The answer.** A small model spends a pass for few tokens mostly on starting operations, of which Python is a large part. So more tokens in a pass, of other texts or of the same text, should cost little.
#
# ## Do many texts share a step?
#
# A pass can serve many texts and give each its next token. We call such a pass a **step**. We write 50 tokens with nano-zero for 1 to 64 prompts of the same length, and count the reading of the prompts in.
#
# Beside it stands a record of a GPU. All such records on this page measure one shape of model, with 14.7 million parameters and random weights. (For guesses, near the end of the page, it was trained briefly.) Here it reads prompts of 32 tokens and writes replies of 128. The library transformers starts each operation from Python. Our package replays a recording of the whole step, which the next section explains. How many times as long does the package's step for 64 texts take as for one?

# %% tags=["prediction", "hide-input"]
guess = None
question = "A step for 64 texts takes how many times as long as a step for one?"
rows_64 = predict("inference.rows", question, guess, example=64)
rows_64

# %%
some = [test[i].prompt for i in range(300)]
alike = [prompt for prompt in some if len(tokenizer.encode(prompt)) == 20][:64]
ids, _ = left_padded(alike, tokenizer)  # [64, 21]: each begins with a mark
core_ms = {n: 1e3 * seconds(lambda n=n: write(model, ids[:n], 50), 2) / 50
           for n in (1, 4, 16, 64)}  # fmt: skip
table(["texts", "one step", "all texts together"],
      [[n, f"{ms:.2f} ms", f"{1e3 * n / ms:,.0f} tok/s"] for n, ms in core_ms.items()],
      "nano-zero on this core, in this run")

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
assert step_ms[64] < 2 * step_ms[1] and rival_ms[2048] < 4 * rival_ms[1]
assert f"{parameters(MOE) / 1e6:.1f}" == "14.7"
assert (MOE.num_hidden_layers, MOE.n_routed_experts) == (6, 16)
table(["texts", "transformers, ms", "our package, ms", "its tokens per second"],
      [[f"{batch:,}", f"{rival_ms[batch]:.3g}", f"{step_ms[batch]:.3g}",
        f"{1e3 * batch / step_ms[batch]:,.0f}"] for batch in sampled],
      f"One step of the recorded model on {device}; reading the prompts is counted in, and "
      f"spread over {new[1]:.0f} new tokens per text")

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
_ = ax.set_yticks([0.5, 1, 3, 10], ["0.5", "1", "3", "10"])
ax.minorticks_off()
ax.margins(x=0.08, y=0.2)
ends = f"{step_ms[1]:.2f} to {step_ms[2048]:.2f}"
show(fig, "A step grows far more slowly than the batch. For 2,048 times as many texts, the "
     f"package's step on the GPU takes {step_ms[2048] / step_ms[1]:.1f} times as long.",
     f"Three lines, both axes logarithmic. Our package on the GPU, 1 to 2,048 texts: {ends} "
     f"in milliseconds; transformers: {min(rival_ms.values()):.0f} to "
     f"{max(rival_ms.values()):.0f}, without a trend; nano-zero on this core, 1 to 64 texts: "
     f"{core_ms[1]:.1f} ms to "
     f"{core_ms[64]:.1f} ms.")  # fmt: skip

# %% [markdown]
# **The answer.** Many texts do share a step. On one core, a step for 64 texts takes far less than 64 times as long as for one, and on the GPU our package's step takes less than twice as long. (Transformers' step takes hardly longer for 2,048 texts than for a few, so most of it is probably Python's. Its times vary, and we did not look for the cause.)
#
# ## Can a whole step be started at once?
#
# On a GPU, nearly every operation starts at least one *kernel*, a program of the GPU ([chapter 07](07_triton_kernels.ipynb)). If a kernel ends before Python has started the next one, the GPU waits:

# %% tags=["diagram", "hide-input"]
diagram("starts_and_a_graph")

# %% [markdown]
# A **CUDA graph** is a recording of a step. Python goes through the step once. CUDA notes the kernels and their addresses, and does not run them. Then one call starts all of them (not run here):
#
# ```python
# graph, tokens = torch.cuda.CUDAGraph(), torch.zeros(1, 1, dtype=torch.long, device="cuda")
# with torch.cuda.graph(graph):  # records the kernels, after a few ordinary steps
#     logits = model(tokens, cache=cache).logits
# tokens.copy_(next_tokens)  # in place, because the recording holds this address
# graph.replay()  # now logits are those of the new tokens
# ```
#
# We build the same on a CPU. Our replay runs each of PyTorch's operations again and copies its result into the tensor that the recording holds. This saves no time, because Python still starts each operation, but it shows whether the text stays the same.
#
# A replay repeats shapes, addresses and numbers as they were, and Python decides nothing. So a step needs three changes before it can be recorded:
#
# - The cache has a fixed size (`static=True`), and a mask hides its empty places.
# - Every expert computes each token, and the unchosen get weight 0, because sorting tokens by expert would need sizes that change.
# - The next token stays in a tensor (the planted bug asks Python for it).
#
# On a CPU, the trace is PyTorch's counterpart of a graph. Shapes and addresses may change, but Python decides nothing here either. So again every expert computes each token, and the package traces only if that costs less than Python does.

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


# %%
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

# %% tags=["hide-input"]
of_core = results.read("bench_cpu_generation")
most = TracedStep(minidsk.MiniDeepSeek(MOE, torch.Generator().manual_seed(0))).rows
rows, trace_gain = [], {}
for texts in (1, 64):
    engine = Engine(copy.deepcopy(model), texts, 200)
    _ = engine.prefill(ids[:texts])
    [(python, alone)] = both_ways([engine], ids[:texts, 0])
    rows.append(["nano-zero, this run", texts, f"{python:.2f} ms", f"{alone:.2f} ms",
                 f"{python / alone:.1f}x faster"])
for case in of_core["cases"]:
    took = {name: 1e3 * of["median"] * case["value"] / case["tokens"]
            for name, of in case["contestants"].items()}  # fmt: skip
    trace_gain[case["value"]] = took["ours, from Python"] / took["ours"]
    traced = case["value"] <= most
    rows.append(["14.7 million", case["value"], f"{took['ours, from Python']:.1f} ms",
                 f"{took['ours']:.1f} ms" if traced else "not traced",
                 f"{trace_gain[case['value']]:.1f}x faster" if traced else "-"])
assert trace_gain[1] > 2
print(results.origin("bench_cpu_generation"))
table(["model", "texts", "from Python", "from the trace", "gain"], rows,
      "One step on a core; 14.7 million: recorded, with its share of reading the prompts")

# %% [markdown]
# In the core's record, one text comes several times as fast from a trace, and with more texts Python's share shrinks. (The recorded model has larger experts, so for 64 texts and more the package does not trace it. From Python, its tokens are sorted by expert, which takes a part of the recorded time.)
#
# The GPU's record has our step from Python and from a graph, beside transformers. It also has longer prompts, and models with other numbers of experts and layers:

# %% tags=["hide-input"]
def settings(case):
    """Texts, and what differs from 16 experts, 6 layers, and prompts of 32 tokens."""
    texts = int(case["setting"].split()[0])
    differs = {"batch": "", "context": "prompts of {} tokens"}.get(case["axis"], "{} {}")
    return texts, differs.format(case["value"], case["axis"])


rows, graph_gain, gains = [], {}, {}
for case in (case for case in recorded["cases"] if case["bench"] == "generation"):
    texts, differs = settings(case)
    ms = {name: 1e3 * of["median"] * texts / case["tokens"]
          for name, of in case["contestants"].items()}  # fmt: skip
    python, theirs = ms.get("ours, from Python"), ms[case["best_rival"]]
    gains[case["axis"], case["value"]] = theirs / ms["ours"]
    if python:
        graph_gain[texts] = python / ms["ours"]
        assert 1.2 < theirs / python < 4
    rows.append([f"{texts:,}", differs, f"{theirs:.1f}", f"{python:.1f}" if python else "-",
                 f"{ms['ours']:.2f}", f"{theirs / ms['ours']:.1f}"])
assert min(graph_gain.values()) > 4
assert gains["context", 1920] < gains["context", 512] < gains["batch", 1024]
assert gains["experts", 64] < gains["batch", 1024]
table(["texts", "what differs", "transformers, ms", "ours from Python, ms",
       "ours from a graph, ms", "as fast as transformers"], rows,
      f"One step on {device}, with its share of reading the prompts; "
      f"{case['tokens'] // texts} new tokens per text")

# %% [markdown]
# From Python, our step already takes less time than transformers'. The rest of our gain is the graph's, which saves starts and nothing else. With longer prompts and with 64 experts, the gain over transformers is smaller, probably because the GPU computes or reads more per start.
#
# **The answer.** A graph, or on a CPU a trace, starts a whole step with one call. On the GPU, our two ways run the same kernels, and the graph's step is several times as fast. Even for 2,048 texts, starting takes most of the time from Python.
#
# ## Do fewer kernels help too?
#
# A graph starts kernels without Python, but each still reads its numbers from memory and writes its result back for the next. An older record's graph takes 0.81 ms per step for one text, and reading all weights once would take a hundredth of that (below). To **fuse** kernels is to write one that does the work of several and keeps the numbers in between in registers ([chapter 07](07_triton_kernels.ipynb)). The package does this for five parts of a step. Kernels need a GPU, so we count the operations that each replaces.
#
# Other kernels need not run at all. In absorbed attention ([chapter 02](02_latent_attention.ipynb)), the unrotated part of a query is $W^{UK\top} (W^Q x)$, two products in a row. We can multiply the two matrices before the first token and use their product in every step, as DeepSeek-V2's paper suggests (section 2.1.2 of {cite}`deepseekv2`). The second cell does it.

# %%
x, cache = torch.randn(1, 8, 1, 80), torch.zeros(1, 96, 80)  # 8 heads; 96 slots
none, angles = torch.zeros(1, 1, dtype=torch.long), torch.zeros(2, 1, 1, 8)
parts = {  # what each kernel is tested against, in the recorded model's shapes
    "latent attention": partial(
        latent_attention.latent_attention_reference, x[..., :64], x[..., 64:], x[:, 0],
        torch.ones(64), *angles, cache, none[0], none, 1.0),
    "choice of experts": partial(router.route_reference, torch.randn(1, 256),
                                 torch.randn(16, 256), torch.zeros(16), 4, True, 1.0),
    "gates of all experts": partial(dispatch.gate_all, torch.randn(1, 16 * 2 * 192),
                                    torch.ones(1, 16)),
    "embedding and angles": partial(opening.opening_reference, none, torch.randn(128, 256),
                                    none, none[0], torch.randn(8)),
    "draw of a token": partial(Sampling().draw, torch.randn(1, 128).log_softmax(-1),
                               Noise(none[0], 128)),
}  # fmt: skip
step = 0
for (part, compute), layers in zip(parts.items(), (6, 5, 5, 1, 1), strict=True):
    with Count() as counter:
        _ = compute()
    step += layers * counter.operations
    print(f"{part:21}{counter.operations:3} operations, {layers} times in six layers")
print(f"in a step {step} operations, for which the package starts {6 + 5 + 5 + 1 + 1} kernels")

# %%
tokens = torch.randn(5, 256, dtype=torch.float64)
project = torch.randn(8, 32, 256, dtype=torch.float64)  # of 8 heads
unfold = torch.randn(8, 32, 64, dtype=torch.float64)
two = torch.einsum("hdr,hdi,ni->nhr", unfold, project, tokens)
product = torch.einsum("hdr,hdi->hri", unfold, project)
torch.testing.assert_close(torch.einsum("hri,ni->nhr", product, tokens), two)
print(f"two matrices, {project.numel() + unfold.numel():,} numbers; their product, "
      f"{product.numel():,}")

# %% [markdown]
# A step then multiplies more, but starts one kernel less. The same holds for $W^{UV}$ and the output matrix. And one product can give queries, latents and keys, so two products are left. In V3 the output's product would have 470 million numbers in place of 126 million, so the package does this only where the numbers at most double.
#
# An older record, on another host, has the code before all of this. The table compares greedy texts of 64 tokens. (Compare these times with each other only.)

# %% tags=["hide-input"]
older, newer = (
    {case["value"]: case for case in results.read(name)["cases"]
     if case["bench"] == "speculation"} for name in ("bench_speculation", RECORD))  # fmt: skip


def plain_ms(case):
    """One step without guesses, with its share of reading the prompts."""
    return 1e3 * case["contestants"]["ours"]["median"] * case["value"] / case["tokens"]


print(results.origin("bench_speculation"))
rates = [results.read(name)["ceilings"]["copy_gb_s"] for name in ("bench_speculation", RECORD)]
print("copies on the two hosts, GB per second: {:,.0f} and {:,.0f}".format(*rates))
once = 2 * parameters(MOE) / rates[0] / 1e6
print(f"reading all weights once at the first of these rates: {once:.3f} ms")
assert 0.8 < plain_ms(older[1]) < 0.82 and once < plain_ms(older[1]) / 90
assert all(2 * plain_ms(newer[texts]) < plain_ms(case) for texts, case in older.items())
table(["texts", "before, ms", "after, ms", "gain"],
      [[texts, f"{plain_ms(case):.2f}", f"{plain_ms(newer[texts]):.2f}",
        f"{plain_ms(case) / plain_ms(newer[texts]):.1f}x faster"]
       for texts, case in older.items()],
      "One step from a graph, with its share of reading the prompts; "
      f"{newer[1]['tokens']} new tokens per text; 14.7 million parameters, on two hosts")

# %% [markdown]
# **The answer.** Probably. The newer code's steps take less than half of the time for 1, 16 and 128 texts. But it also reads only the cache's filled places, reads prompts from a graph, and lays out experts once for many steps. No change was measured by itself.
#
# ## What limits a large model?
#
# A processor also has to fetch numbers from memory. Each step fetches the weights that it uses once for all texts, and the cache of each text. For DeepSeek-V3 we count two things per step: the bytes that it fetches, and the products that it computes. A weight takes one byte, and a number in the cache two. In each of V3's 58 layers with experts, a token goes to 8 of 256, which we take as equally likely.

# %%
v3 = minidsk.ModelConfig.from_dict({"model_type": "deepseek_v3"})
expert = 58 * 3 * v3.hidden_size * v3.moe_intermediate_size  # one expert of every layer


def bytes_of_a_step(rows, seen):
    """Read in one step: weights once, and for each row its cache of `seen` tokens."""
    met = 256 * (1 - (1 - 8 / 256) ** rows)  # how many of 256 experts `rows` tokens meet
    weights = parameters(v3) - v3.vocab_size * v3.hidden_size - (256 - met) * expert
    kept = v3.num_hidden_layers * (v3.kv_lora_rank + v3.qk_rope_head_dim)
    return weights, 2 * rows * seen * kept


def products_of_a_step(rows, seen):
    """Products and sums: of the weights that each row uses, and of its cache."""
    heads = v3.num_hidden_layers * v3.num_attention_heads
    of_cache = heads * seen * (2 * v3.kv_lora_rank + v3.qk_rope_head_dim)  # scores, values
    return 2 * rows * (bytes_of_a_step(1, 0)[0] + of_cache)

# %%
def reads_them_for_each_row(rows, seen):
    weights, cache = bytes_of_a_step(1, seen)
    return rows * weights, rows * cache


def a_large_batch_reads_every_weight_once(count) -> None:
    assert abs(count(1, 0)[0] / 37e9 - 1) < 0.02  # the report's 37 billion
    assert abs(count(2048, 0)[0] / 671e9 - 1) < 0.02  # and its 671 billion


bites(a_large_batch_reads_every_weight_once, bytes_of_a_step, reads_them_for_each_row)

# %%
rows, curves, speed = [], {}, recorded["ceilings"]["matmul_tflop_s"] * 1e12
for texts in (1, 16, 100, 500, 2048):
    weights, cache = bytes_of_a_step(texts, 4096)
    fetch, multiply = (weights + cache) / copies, products_of_a_step(texts, 4096) / speed
    curves[texts] = 1e3 * fetch, 1e3 * multiply
    rows.append([texts, f"{weights / 1e9:.0f}", f"{cache / 1e9:.1f}", f"{1e3 * fetch:.0f}",
                 f"{1e3 * multiply:.1f}", f"{texts / max(fetch, multiply):,.0f}"])
print(f"measured on {device}: memory {copies / 1e12:.1f} TB per second,",
      f"bfloat16 products {speed / 1e12:.0f} TFLOP per second")
table(["texts", "weights, GB", "caches, GB", "bytes alone, ms", "products alone, ms",
       "tokens per second"], rows, "A step of DeepSeek-V3, texts of 4,096 tokens, computed")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.8))
for k, (name, up) in enumerate((("bytes alone", 7), ("products alone", -15))):
    (line,) = ax.plot(list(curves), [each[k] for each in curves.values()], "o-", label=name)
    for texts, each in curves.items():
        above = up if texts < 2048 else -up - 8
        _ = ax.annotate(f"{each[k]:.3g}", (texts, each[k]), (0, above), fontsize=9,
                        textcoords="offset points", ha="center", color=line.get_color())
_ = ax.set(xscale="log", yscale="log", xlabel="texts in the step", ylabel="one step, ms")
_ = ax.set_xticks(list(curves), [f"{texts:,}" for texts in curves])
_ = ax.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
ax.minorticks_off()
ax.margins(x=0.08, y=0.2)
direct_labels(ax)
show(fig, "A step of DeepSeek-V3, computed. Bytes take longer than products until the lines "
     "cross, between 500 and 2,048 texts.",
     "Two rising lines over 1 to 2,048 texts, both axes logarithmic. Bytes alone: "
     f"{curves[1][0]:.0f} to {curves[2048][0]:.0f} ms; products alone: "
     f"{curves[1][1]:.1f} to {curves[2048][1]:.0f} ms.")  # fmt: skip

# %% [markdown]
# **The answer.** For up to some hundreds of texts, a large model spends a step on fetching weights. A hundred texts meet nearly all experts. The step reads 18 times as many bytes, so each text costs 18/100, about a fifth, of what it costs alone. For 2,048 texts, nearly half of the bytes belong to the caches, and products take about as long as bytes. (V3 does not fit on one such GPU. In FP8, products could take half as long.)
#
# ## Can one text fill a pass by itself?
#
# More texts in a step cost little. Could one pass check several tokens of *the same* text? It could, if a cheap *guesser* proposed them, because checking them is reading, and reading is fast. This is **speculative decoding** {cite}`leviathan2022speculative,chen2023speculative`.

# %% tags=["diagram", "hide-input"]
diagram("speculation")

# %% [markdown]
# DeepSeek-V3 has a guesser built in, the module of [chapter 04](04_multi_token_prediction.ipynb), which was trained to predict one token further ahead and sees the model's own state. We train a narrow model of eight layers with such a module, a single block. We train in float64, so that other processors train the same.

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
# We begin with greedy text and without a cache. A pass reads the text with the guess at its end. The logits before the guess say whether it is the model's own likeliest token. If so, it is right, and the logits after it give one more token.
#
# The first pass reads the prompt and checks no guess. The number of tokens that a later pass writes of one text, on average, is called **tokens per pass**; without guesses it would be 1.

# %%
@torch.no_grad()
def speculate_slowly(model, ids, new):
    """Greedy text of one row with one guess per pass; ids, and the number of passes."""
    end, passes = ids.shape[1] + new, 1
    ids = torch.cat((ids, model(ids).logits[:, -1:].argmax(-1)), 1)
    while ids.shape[1] < end:
        # The module, at the last place. A cache will spare the model's run for it.
        guess = model(ids).mtp_logits[0][:, -1:].argmax(-1)
        says = model(torch.cat((ids, guess), 1)).logits[:, -2:].argmax(-1)  # the pass
        right = bool(guess == says[:, :1])
        ids, passes = torch.cat((ids, says if right else says[:, :1]), 1), passes + 1
    return ids[:, :end], passes


slowly, slow_passes = speculate_slowly(writer, one, 60)
assert torch.equal(slowly, write_slowly(writer, one, 60))
print(f"60 tokens in {slow_passes} passes, and the same tokens as without guesses.")
print(f"tokens per pass: 59 / {slow_passes - 1} = {59 / (slow_passes - 1):.2f}")
print(repr(tokenizer.decode(slowly[0, one.shape[1] :].tolist())))

# %% [markdown]
# With a cache, a pass reads only two tokens, the last one and the guess. This brings a trap: when the guess is refused, the cache already holds it, and later tokens would look at it. So the cache must be **rolled back** to the tokens that are true.
#
# In the package, `cache.ends` says how many tokens the cache holds, and `cache.truncate` forgets those behind. `model.look_ahead` runs the module. After a kept guess, two tokens are new to the module, otherwise one. So `cache.reopen(known, 2)` always lets it read the last two.
#
# One text is a small test. So a record follows these cells, in which a model of nano's size continued 10,000 prompts in float32, with the package.

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

# %% tags=["hide-input"]
many = results.read("ch18_exact", "metrics.json")
assert all(row["same"] == many["prompts"] for row in many["depths"].values())
rows = [[depth, f"{row['same']:,} of {many['prompts']:,}", f"{row['tokens_a_pass']:.2f}"]
        for depth, row in many["depths"].items()]  # fmt: skip
table(["guesses per pass", "texts that are the same", "tokens per pass"], rows,
      f"{many['new']} tokens each, greedy, float32, one seed")

# %% [markdown]
# **The answer.** One text can fill a pass with guesses about itself, and greedy text does not change, because only the model's own tokens are written.
#
# ## When may a drawn guess be kept?
#
# For drawn text, the guess $x$ was drawn from the guesser's probabilities $q$, and the text must follow the model's own, $p$. Two rules are enough:
#
# - keep the guess with probability $\min(1, p(x)/q(x))$;
# - if it is refused, draw from the **surplus**, the part of $p$ above $q$: $\max(0, p - q)$, divided by its sum.
#
# Below stand the second rule and a mistake that sounds right. The figure shows three tokens by their probabilities.

# %%
def from_the_surplus(p, q):
    return (p - q).clamp(min=0)


def from_p_again(p, q):
    return p


def written(p, q, instead):
    """Probabilities of tokens: kept guesses, and draws from instead(p, q) after refusals."""
    kept, rest = torch.minimum(p, q), instead(p, q)
    return kept + (1 - kept.sum()) * rest / rest.sum()

# %% tags=["figure", "hide-input"]
three = torch.tensor([[0.5, 0.2, 0.3], [0.3, 0.6, 0.1]])  # p and q of three tokens
kept, place = three.min(0).values, torch.arange(3)
fig, ax = plt.subplots(figsize=(6.4, 2.8))
for k, (name, above) in enumerate((("p", "surplus"), ("q", "refused"))):
    at, rest = place + 0.4 * k - 0.2, three[k] - kept
    _ = ax.bar(at, kept, 0.36, color="gray", label=None if k else "overlap: kept guesses")
    drawn = ax.bar(at, rest, 0.36, kept, label=f"{above}: {name} above {'qp'[k]}")
    _ = ax.bar_label(drawn, [f"{name} = {x:.1f}" for x in three[k]], fontsize=9, padding=2)
    inside = [f"{above}\n{x:.1f}" if x > 0 else "" for x in rest]
    _ = ax.bar_label(drawn, inside, label_type="center", fontsize=8, color="white")
_ = ax.set_xticks(place, [f"token {token}" for token in (1, 2, 3)])
_ = ax.set(ylabel="probability", ylim=(0, 0.75))
_ = ax.legend(fontsize=9, ncols=3, loc="upper center")
show(fig, "p and q of three tokens. Where they overlap, guesses are kept. The guesser offers "
     f"token 2 too often, and {kept.sum():.1f} of all guesses are kept. What is then "
     "missing of p is the surplus.",
     "Two bars for each of three tokens. " + "; ".join(
         f"token {k + 1}: p {three[0, k]:.1f}, q {three[1, k]:.1f}, overlap {kept[k]:.1f}, "
         f"surplus {three[0, k] - kept[k]:.1f}" for k in range(3)) + ".")  # fmt: skip

# %% [markdown]
# **Three tokens by hand.** Token 2 is offered three times as often as it should be, so a guess of it is kept one time in three. Guesses of tokens 1 and 3 are always kept. With probability $0.6 \cdot \frac23 = 0.4$, a guess is refused. Then token 1 or 3 is drawn, each with probability one half, because their surpluses are equal. The two ways add up to $p$:
#
# | token | as a kept guess | after a refusal | sum |
# | --- | --- | --- | --- |
# | 1 | 0.3 | 0.4 · ½ = 0.2 | **0.5** |
# | 2 | 0.2 | 0 | **0.2** |
# | 3 | 0.1 | 0.4 · ½ = 0.2 | **0.3** |
#
# The mistake replaces a refused guess by a fresh draw from $p$. But kept guesses already write token 2 with 0.2, which is all of $p$. Any further draw of it is too much, and it would be written with $0.2 + 0.4 \cdot 0.2 = 0.28$.
#
# **Why it is always $p$.** As a kept guess, token $x$ is written with probability $q(x) \min(1, p(x)/q(x)) = \min(p(x), q(x))$. So at this place a guess is kept with probability
#
# $$ \beta = \sum_x \min(p(x), q(x)), $$
#
# and refused with $1 - \beta$. The surplus $\max(0, p(x) - q(x)) = p(x) - \min(p(x), q(x))$ adds up to $1 - \beta$ too. After a refusal $x$ is therefore drawn with probability $(p(x) - \min(p(x), q(x)))/(1 - \beta)$. The factor $1 - \beta$ cancels, and the two ways add up to $p(x)$. No property of the guesser was used, so bad guesses cost time and never quality.
#
# The first cell below checks this on the three tokens and on 100 random pairs of $p$ and $q$. In the second, our writer begins a reply and stops where its module is often wrong. The module draws its guess from `q`, and the model itself would draw from `p`.

# %%
many = torch.randn(100, 2, 9, generator=torch.Generator().manual_seed(0)).softmax(-1)


def adds_up_to_p(instead) -> None:
    for p, q in (three, *many):
        assert torch.allclose(written(p, q, instead), p, atol=1e-6)


bites(adds_up_to_p, from_the_surplus, from_p_again)
print("the bug writes token 2 with", f"{written(*three, from_p_again)[1]:.2f}")

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
# The model most often writes `=` here, but the module offers `-` most often. Now we draw 20,000 times: a guess, a verdict, if needed a token from the surplus, and the model's next token.
#
# Do these pairs of tokens follow the model? Its probability of each pair is $p$ of the first token, times what follows it. A chi-square test compares the counts of $n$ kinds of pairs with these. If they follow the model, its sum is about $n$, give or take $\sqrt{2n}$. So we print $(\text{sum} - n)/\sqrt{2n}$. Near 0 is agreement, and above 4 is hardly chance.

# %%
def pairs(q, instead, draws=20_000):
    """The next two tokens, as one number each; instead(p, q) replaces a refused guess."""
    g = torch.Generator().manual_seed(0)
    guess = torch.multinomial(q, draws, replacement=True, generator=g)
    kept = torch.rand(draws, generator=g) < (p / q)[guess]
    fresh = torch.multinomial(instead(p, q), draws, replacement=True, generator=g)
    first = torch.where(kept, guess, fresh)
    return len(p) * first + torch.multinomial(after[first], 1, generator=g)[:, 0]

# %%
def chi_square(drawn):
    """(sum - n) / sqrt(2 n) for the counts of n kinds of pairs; near 0 is agreement."""
    expected = len(drawn) * (p[:, None] * after).flatten()  # of each pair
    counts = torch.bincount(drawn, minlength=len(expected)).double()
    often = expected >= 5  # rarer pairs are joined
    expected, counts = (torch.cat((x[often], x[~often].sum()[None]))
                        for x in (expected, counts))  # fmt: skip
    cells = len(expected) - 1
    total = ((counts - expected) ** 2 / expected).sum().item()
    return (total - cells) / (2 * cells) ** 0.5

# %%
# tolerance: 0.1
def pairs_follow_the_model(instead) -> None:
    assert chi_square(pairs(q, instead)) < 4


bites(pairs_follow_the_model, from_the_surplus, from_p_again)
assert chi_square(pairs(q, from_p_again)) > 100
ways = {"plain sampling": pairs(p, from_p_again),
        "guesses, from the surplus": pairs(q, from_the_surplus),
        "guesses, from p again": pairs(q, from_p_again)}  # fmt: skip
table(["20,000 pairs", "(sum - n) / sqrt(2n)"],
      [[name, f"{chi_square(drawn):.1f}"] for name, drawn in ways.items()],
      "Chi-square against the model's own probabilities; near 0 is agreement")

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
     f"{firsts['guesses, from p again'][rare]:.2f} and not with {p[rare]:.2f}, because the "
     f"module offers it with only {q[rare]:.2f}, and fresh draws from p do not replace enough "
     "of what is missing.",
     "Three bars for each of four tokens. " + "; ".join(
         f"{name}: " + ", ".join(f"{named[k]} {each[k]:.2f}" for k in shown[:4])
         for name, each in firsts.items()) + ".")  # fmt: skip

# %% [markdown]
# **The answer.** A guess may be kept with $\min(1, p/q)$, if a refused one is replaced from the surplus. Then drawn text follows the model: on three tokens exactly, and on our model as far as 20,000 draws can tell. With the bug, the printed number is above 100.
#
# ## How many tokens does a pass write?
#
# Call $\alpha$ the chance that a guess is kept if all guesses before it in this pass were kept. If $\alpha$ is the same for the first guess, the second and so on, then $K$ guesses yield on average
#
# $$ 1 + \alpha + \alpha^2 + \dots + \alpha^K $$
#
# tokens per pass. The 1 is the model's own token, which every pass writes. Guess number $k$ counts only if all guesses up to it are right. Choose a number of guesses below, and move the slider to $\alpha$: from which $\alpha$ on do two guesses yield two tokens?

# %% tags=["widget"]
alphas = [k / 50 for k in range(51)]
ones = {K: np.polyval(np.ones(K + 1), alphas).round(9).tolist() for K in (1, 2, 3, 10)}
Curve({f"{K} guess{'es' * (K > 1)}": {"x": alphas, "y": ones[K]} for K in ones},
      xlabel="chance that a guess is kept",
      ylabel="tokens per pass", title="How far does a pass get?")  # fmt: skip

# %% [markdown]
# ```{admonition} The answer to the slider's question
# :class: dropdown
#
# Two guesses yield two tokens from $\alpha = 0.62$ on.
# ```
#
# Does the formula hold? We write greedy text for 16 prompts, with up to three guesses per pass. (For the second and third guess, the one module runs again on its own output.) What a guess adds to the tokens per pass, divided by what the one before it added, is about its $\alpha$. The formula takes the first guess's $\alpha$ for all.

# %%
some, rows = ids[:16], []
without, per_pass = decode(writer, some, 60, temperature=0.0), [0.0, 1.0]
for depth in (1, 2, 3):
    done = speculate(writer, some, 60, depth, temperature=0.0)
    assert torch.equal(done.ids, without.ids)
    tokens, passes = done.mask.sum().item() - 16, done.passes.sum().item() - 16
    per_pass.append(tokens / passes)  # without the prompt's pass and its token
    chance = (per_pass[-1] - per_pass[-2]) / (per_pass[-2] - per_pass[-3])
    formula = sum((per_pass[2] - 1) ** k for k in range(depth + 1))
    rows.append([depth, f"{chance:.2f}", f"{per_pass[-1]:.2f}",
                 "-" if depth == 1 else f"{formula:.2f}"])  # fmt: skip
table(["guesses per pass", "alpha of the last", "tokens per pass", "by the formula"], rows,
      "Greedy text of 16 prompts, 60 tokens each; all texts are the same as without guesses")

# %% [markdown]
# With more guesses, the formula promises too much, because the second and third guess are kept less often than the first. One reason may be that the module was trained to look one token ahead. (This writer repeats itself, so they are kept often.)
#
# **The answer.** With one guess, a pass writes $1 + \alpha$ tokens on average, and each further guess adds less.
#
# ## Does guessing pay?
#
# A pass with $K$ guesses reads $K + 1$ tokens per text, and the guesses cost $K$ runs of the module. We call both together the *cost of a pass*, and measure it in *plain steps*, which are steps without guesses. Then
#
# $$ \text{gain} = \frac{\text{tokens per pass}}{\text{cost of a pass in plain steps}}. $$
#
# We measure tokens per pass and the gain on one core, and divide. (In a batch, the cost includes waiting for the last text to end.) The cell first checks that the package, with cache, batch and guesses together, writes the same texts as the slow decoder.

# %%
together = speculate(writer, ids, 60, 1, temperature=0.0)  # cache, batch and guesses
with torch.no_grad():  # the slow decoder writes the likeliest token at each place
    likeliest = writer(together.ids, mtp=False).logits[:, -61:-1].argmax(-1)
assert torch.equal(likeliest, together.ids[:, -60:])
assert torch.equal(together.ids, write(writer, ids, 60))
assert torch.equal(together.ids, decode(writer, ids, 60, temperature=0.0).ids)
print("64 texts of 60 tokens: the same")

# %%
# tolerance: 100%
rows, took = [], {("slow", 1): seconds(lambda: write_slowly(writer, one, 60), 1)}
with torch.no_grad():
    reading = seconds(partial(writer, text[:1], mtp=False))  # 128 tokens, for the last table
for texts, prompts, right in ((1, one, by_package), (64, ids, together)):
    turns = 4 if texts == 1 else 1
    took["plain", texts] = plain = seconds(partial(write, writer, prompts, 60), turns)
    took["traced", texts] = seconds(
        partial(decode, writer, prompts, 60, temperature=0.0), turns)
    guess = partial(speculate, writer, prompts, 60, 1, temperature=0.0)
    took["guess", texts] = seconds(guess, turns)
    gain = plain / took["guess", texts]
    mean = 59 * texts / (right.passes.sum().item() - texts)  # without the prompts' passes
    rows.append([f"{texts}", f"{mean:.2f}", f"{mean / gain:.2f}", f"{gain:.2f}"])
packaged = partial(decode, writer, one, 60, temperature=0.0)
with patch.object(trace, "AFTER", math.inf):  # all steps from Python
    took["package", 1] = seconds(packaged, 4)
    assert torch.equal(packaged().ids, slowly)
assert torch.equal(packaged().ids, slowly)  # from the trace
assert took["traced", 1] < 1.3 * took["guess", 1]
assert 0.5 < (ratio := took["package", 1] / took["guess", 1]) < 2
rows.insert(1, ["1, package's step", rows[0][1], f"{float(rows[0][1]) / ratio:.2f}",
                f"{ratio:.2f}"])  # fmt: skip
for way, how in (("guess", "a guess"), ("package", "from Python"), ("traced", "a trace")):
    print(f"one text, package, {how:12}{60 / took[way, 1]:6,.0f} tok/s")
table(["texts", "tokens per pass", "cost of a pass, plain steps", "times as fast"], rows,
      "The eight-layer writer in float64, one guess, 60 tokens per text, on this core; "
      "a plain step is one of `write`, in the second row one of the package from Python")

# %% [markdown]
# For one text, a guess gains on our `write`, but not on the package's own step from Python (second row). There a pass costs about as many plain steps as it writes tokens. For 64 texts, a pass costs more plain steps, and our runs have shown small gains and losses. A traced step without guesses is the fastest, and the package cannot trace passes with guesses yet.
#
# The newer record above also has greedy text with guesses, in bfloat16. A graph replays the plain steps and the passes with guesses. (The number of kept guesses stays on the GPU.) How much did one guess gain, for one text?

# %% tags=["prediction", "hide-input"]
guess = None
mean = newer[1]["depths"]["1"]["tokens_a_step"]
question = f"A pass with a guess writes {mean:.1f} tokens. How many times as fast as without?"
one_guess = predict("inference.one_guess", question, guess, example=1.8)
one_guess

# %% tags=["hide-input"]
def speed_gain(case, depth):
    """How many times as fast as plain decoding in the same record."""
    of = case["contestants"]
    return of["ours"]["median"] / of[f"ours, depth {depth}"]["median"]


def cost(case, depth):
    """A pass with so many guesses, in plain steps."""
    return case["depths"][depth]["tokens_a_step"] / speed_gain(case, depth)


def row(case, depth):
    of = case["contestants"]
    assert of[f"ours, depth {depth}"]["quartiles"][1] < of["ours"]["quartiles"][0]
    gain, mean = speed_gain(case, depth), case["depths"][depth]["tokens_a_step"]
    return [case["value"], depth, f"{plain_ms(case):.2f}",
            f"{plain_ms(case) * cost(case, depth):.2f}", f"{mean:.2f}", f"{gain:.2f}"]


one_guess.reveal(round(speed_gain(newer[1], "1"), 2))
of_one = [case["depths"]["1"] for case in newer.values()]
same, compared = (sum(of[what] for of in of_one) for what in ("same_rows", "rows"))
assert same < compared
before = sum(case["depths"]["1"]["same_rows"] for case in older.values())
print(f"with one guess, the same text as without: {same} of {compared} "
      f"(older record: {before} of {compared})")
table(["texts", "guesses", "plain step, ms", "time per pass, ms", "tokens per pass", "gain"],
      [row(case, depth) for case in newer.values() for depth in case["depths"]],
      "One text is one prompt; 64 new tokens per text, with reading the prompts and waiting "
      "for the last text; medians of 9 rounds. The middle halves of the times with and "
      "without guesses do not overlap")

# %% tags=["figure", "hide-input"]
for case in newer.values():
    assert case["tokens"] == 64 * case["value"] and cost(case, "1") > 1.3
    assert 1.05 < speed_gain(case, "1") < 1.35
assert 1.2 < max(speed_gain(newer[1], depth) for depth in newer[1]["depths"]) < 1.6
assert all(speed_gain(case, "1") < 1.25 for case in older.values())
bars = [(f"{batch} text{'s' * (batch > 1)}\n{depth} guess{'es' * (depth > '1')}",
         of["tokens_a_step"], cost(case, depth),
         f"{speed_gain(case, depth):.2f}")
        for batch, case in newer.items()
        for depth, of in case["depths"].items()]  # fmt: skip
fig, ax = plt.subplots(figsize=(6.8, 3))
for k, name in ((1, "tokens per pass"), (2, "its cost, plain steps")):
    drawn = ax.bar(np.arange(len(bars)) + 0.4 * k - 0.6, [bar[k] for bar in bars], 0.38,
                   label=name)
    _ = ax.bar_label(drawn, [f"{bar[k]:.2f}" for bar in bars], fontsize=9)
_ = ax.set_xticks(range(len(bars)), [f"{bar[0]}\ngain {bar[3]}" for bar in bars])
_ = ax.set(ylabel="per pass", ylim=(0, 3.5))
_ = ax.legend(ncols=2, fontsize=9)
show(fig, "The record. A gain is tokens per pass, divided by the cost.",
     "Two bars for each of five settings. " + "; ".join(
         f"{bar[0]}: {bar[1]:.2f} tokens, {bar[2]:.2f} plain steps, gain {bar[3]}"
         for bar in bars).replace("\n", ", ") + ".")  # fmt: skip

# %% [markdown]
# Suppose that a pass for two tokens cost as much as a plain step. The module is one block and the model has six, so together they would cost 1.17 plain steps, and 1.9 tokens would come 1.6 times as fast. A pass costs more (the figure). The module also needs an embedding, norms, a product and the model's head, and for few texts each kernel probably takes about as long. And the package looks only every fourth pass whether all texts have ended, so up to three passes are in vain.
#
# **The answer.** On a core, guesses for one text gained on our `write`, not on the package's step, and lost to its trace. On the GPU, one text (a single prompt) and 16 texts were written 1.3 times as fast with one guess, and 128 texts 1.1 times. Two or three guesses gained less than one.
#
# ## What DeepSeek did
#
# DeepSeek-V3 writes with the MTP module that it was trained with {cite}`deepseekv3`. Section 5.4.3 of its report says that the second token, the guess, is accepted in 85 to 90 % of cases, and that this yields 1.8 times the tokens per second. With one guess, $K = 1$, the formula gives
#
# $$ 1 + \alpha = 1.85 \ \text{to}\ 1.90 $$
#
# tokens per pass. But a pass for two tokens also meets more experts and has twice the products. We compute what one guess could gain if a pass took as long as its bytes or its products (the module's left out), whichever is longer.

# %%
rows = []
for texts, cache in ((n, bytes_of_a_step(n, 4096)[1]) for n in (1, 16, 100, 2048)):
    plain, checking = (
        1e3 * max((bytes_of_a_step(texts * tokens, 0)[0] + cache) / copies,
                  products_of_a_step(texts * tokens, 4096) / speed) for tokens in (1, 2))
    rows.append([texts, f"{plain:.0f}", f"{checking:.0f}", f"{1.85 * plain / checking:.2f}"])
table(["texts", "a plain step, ms", "with one guess, ms", "gain at most"], rows,
      "DeepSeek-V3, texts of 4,096 tokens, 1.85 tokens per pass, computed for the GPU above")

# %% [markdown]
# For a single text, one guess gains at most about 1.2, because two tokens meet more experts than one. A hundred texts meet nearly all experts anyway, so a guess pays best. For 2,048 texts products fill the step in bfloat16, and a guess would lose. The best row is near the report's 1.8.
#
# ## What went wrong, or did not help
#
# **Guesses gained less than we predicted.** We predicted 1.5 times for one text. In the older record, one guess gives less than 1.25 times. In the newer one, it gives 1.34 times for one text, whose guesses were also kept more often, and 1.33 and 1.11 times for 16 and 128.
#
# **In bfloat16, guesses changed some texts** (the line above the table). A pass for two tokens can [round differently](18b_serving.ipynb) from a pass for one, which may decide between two tokens that are nearly equally likely. The newer record has more; we do not know why.
#
# ## Exercises
#
# ```{exercise} Keep or refuse
# :label: ex-18-verdict
#
# *15 minutes.* Write `verdict(p, q, guess, chance)`, described below; `check("inference.verdict", my_verdict)` knows five mistakes by name. Then take the three tokens from above, and a guesser that always offers token 2. How often is its guess kept, and does the text still follow $p$?
#
# **Hint.** What is $q$ of this guesser, and where is the surplus?
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


always = [verdict_solution(three[0], torch.eye(3)[1], 1, k / 1000) for k in range(1000)]
print("written (token 2 as often as it is kept):", torch.stack(always).mean(0))
check("inference.verdict", verdict_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} What the cache may keep
# :label: ex-18-held
#
# *15 minutes.* Before a pass, the cache held `known` tokens. The pass read the last token of the text and $K$ guesses, so now it holds `known + 1 + K`. How many of them are true? Write `held(known, guesses, says)`, described below. `guesses` has $K$ entries, and `says`, the model's likeliest token after each token of the pass, has $K + 1$. `check("inference.held", my_held)` knows five mistakes by name.
#
# **Hint.** Of three guesses, let only the second be wrong. What is the third one worth?
# ```

# %%
print(describe("inference.held"))


def my_held(known, guesses, says):
    """Replace the line below by your own; guesses: [K], says: [K + 1]; an int."""
    raise NotImplementedError

# check("inference.held", my_held)

# %% [markdown]
# ```{solution-start} ex-18-held
# :class: dropdown
# ```

# %%
def held_solution(known, guesses, says):
    right = (guesses == says[:-1]).long().cumprod(0).sum()
    return known + 1 + int(right)


cache, last = exact.new_cache(1, 40), ours[0, 21:22]  # the first token behind the prompt
guesses = ours[0, 22:25] + torch.tensor([0, 1, 0])  # the second is wrong
with torch.no_grad():
    _ = exact(one, cache=cache, mtp=False)
    says = exact(torch.cat((last, guesses))[None], cache=cache, mtp=False).logits[0].argmax(-1)
    held = held_solution(21, guesses, says)
    cache.truncate(torch.tensor([held]))
    follows = exact(ours[:, held : held + 1], cache=cache, mtp=False).logits.argmax(-1)
assert follows == ours[0, held + 1]
print(f"three guesses, the second wrong: {held} of 25 tokens are kept, and the text goes on")
check("inference.held", held_solution)


# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} How far does a pass get?
# :label: ex-18-pass
#
# *10 minutes.* Write `per_pass(chance, guesses)`, the average number of tokens per pass, described below; `check("inference.per_pass", my_per_pass)` knows three mistakes by name. Suppose that each guess adds a quarter of a plain step to the cost of a pass. How many guesses write fastest if the chance is 0.85, and how many if it is 0.5?
#
# **Hint.** What does one more guess add, compared with its cost?
# ```

# %%
print(describe("inference.per_pass"))


def my_per_pass(chance, guesses):
    """Replace the line below by your own; chance: a probability; a float."""
    raise NotImplementedError

# check("inference.per_pass", my_per_pass)

# %% [markdown]
# ```{solution-start} ex-18-pass
# :class: dropdown
# ```

# %%
def per_pass_solution(chance, guesses):
    return sum(chance**k for k in range(guesses + 1))


for chance in (0.85, 0.5):
    gains = {K: per_pass_solution(chance, K) / (1 + K / 4) for K in range(9)}
    best = max(gains, key=gains.get)
    print(f"chance {chance}: best K {best}, {gains[best]:.2f} times as fast")
check("inference.per_pass", per_pass_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of `verdict`. The test below lets two of them escape. Write one that catches them; ours is folded.

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
# Writing is slow because each token needs a pass of its own, and a pass for few tokens mostly starts operations. Our reading shared these starts among 128 tokens, which is why it was a hundred times as fast. The table has the model that learned to guess.

# %% tags=["hide-input"]
# tolerance: 100%
ladder = {"the slow decoder": ("slow", 1), "a cache": ("plain", 1),
          "a cache and one guess": ("guess", 1),
          "package's step, from Python": ("package", 1),
          "package's step, from a trace": ("traced", 1),
          "a cache and 64 texts": ("plain", 64),
          "a cache, 64 texts and one guess": ("guess", 64),
          "package's step from a trace, 64 texts": ("traced", 64)}  # fmt: skip
speeds = {"reading 128 tokens": 128 / reading} | {
    name: 60 * way[1] / took[way] for name, way in ladder.items()}  # fmt: skip
base = speeds["the slow decoder"]
recorded_gains = (
    ("CPU, one text, without Python", f"{trace_gain[1]:.1f} times", "not compared"),
    ("GPU, 64 texts, per token", f"{64 * step_ms[1] / step_ms[64]:.0f} times", "not compared"),
    ("GPU, one text, from a graph", f"{graph_gain[1]:.0f} times", "not compared"),
    ("GPU, one guess, one text", f"{speed_gain(newer[1], '1'):.2f} times",
     f"{same} of {compared} texts"))
print("recorded, 14.7 million parameters:", " " * 7, "gain        same tokens?")
for remedy, gain, alike in recorded_gains:
    print(f"{remedy:42}{gain:12}{alike}")
table(["way", "tokens per second", "times as fast as the slow decoder"],
      [[name, f"{speed:,.0f} tok/s", f"{speed / base:.1f}"] for name, speed in speeds.items()],
      "The eight-layer writer, float64, 60 tokens, this core; all texts are asserted the same")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.4))
drawn = ax.barh(list(speeds), list(speeds.values()), 0.7,
                color=["gray" if name.startswith("read") else "C0" for name in speeds])
_ = ax.bar_label(drawn, [f"{speed:,.0f}" for speed in speeds.values()], fontsize=9, padding=3)
_ = ax.set(xscale="log", xlabel="tokens per second, this core", xlim=(30, 30_000))
_ = ax.set_xticks([100, 1_000, 10_000], ["100", "1,000", "10,000"])
ax.minorticks_off()
ax.grid(False)
ax.invert_yaxis()
show(fig, "Reading, and the ways to write. For one text the trace is fastest; 64 texts "
     "together are faster still.",
     "Horizontal bars, one axis, logarithmic: tokens per second. " + "; ".join(
         f"{name}: {speed:,.0f} tok/s" for name, speed in speeds.items()) + ".")

# %% [markdown]
# For one short text, the cache and the package's own step each save some time, and its trace saves most. A guess saves no more than the package's step does. From the trace, 64 texts together come nearly as fast as reading. In a batch, a guess gains little or costs speed. In float64 no greedy token changed, and in float32 none of 10,000 texts changed with guesses. In bfloat16 some texts did.
#
# A batch keeps this gain only if a finished reply's row is given to a new prompt; [the next page](18b_serving.ipynb) does this.
#
# ## Receipt

# %% tags=["receipt"]
receipt(differences={
    "slow decoder and package": (difference, 1e-6),
    "columns of the cache": (gap, 1e-12),
})

# %% [markdown]
# ## Summary
#
# A small model spends a pass for few tokens on starting operations, and a large one on fetching weights. A batch shares the pass among texts, and guesses share it among tokens of one text. A graph or a trace starts it with one call, and fused kernels shorten it.
#
# - I can now say where the time of a token goes, in starts and in bytes.
# - I can now write a decoder with a cache, record its step, and roll a refused guess back.
# - I can now prove that checked guesses do not change the distribution of a text, and test it on a model.
# - I can now say how much guesses gained on a GPU, and what their cost is.
#
# ## Read on
#
# - Leviathan and others {cite}`leviathan2022speculative` and Chen and others {cite}`chen2023speculative` on the rule of acceptance.
# - The package's code is in `minidsk/infer/engine.py`, `recorder.py`, `reading.py`, `generate.py` and `speculative.py`.
