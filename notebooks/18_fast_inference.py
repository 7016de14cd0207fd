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
# Our reasoner reads a long text at tens of thousands of tokens per second on one core of a laptop. When it writes a text, the same model on the same core manages a few hundred. Why is writing a hundred times slower than reading, **and how much of this speed can we win back, for one text and for many, without changing a single token?**
#
# - **You will build** a decoder that computes everything again for each token, and five remedies: a cache, a batch, a graph (its times come from a recorded GPU), rows that are refilled, and guesses that are checked. In float64, greedy text must stay the same token by token. Drawn text stays the same too if its noise does not depend on the neighbours. With guesses, it only keeps its distribution.
# - **You need** PyTorch, the latent cache of [chapter 02](02_latent_attention.ipynb), and for the guesses the extra module of [chapter 04](04_multi_token_prediction.ipynb).
# - **It takes** one to three minutes to run on two CPU cores. (The GPU's figures are read from a record.) It takes an hour and a half to read.

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
from fractions import Fraction
from functools import partial
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import minidsk
from minidsk import results
from minidsk.bench.generation import bytes_moved
from minidsk.bench.subject import MOE
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import bites, check, describe, predict, receipt, zoo
from minidsk.infer.engine import Engine
from minidsk.infer.generate import decode, left_padded
from minidsk.infer.noise import ENTRY, FIRST, PLACE, REPLY, SECOND, Noise, log_uniform
from minidsk.infer.speculative import speculate
from minidsk.model.operations import Kernels, every_expert
from minidsk.presets import nano, small
from minidsk.rl.policy import MiniPolicy
from minidsk.scale.cost import parameters
from minidsk.train.pretrain import pretrain
from minidsk.widgets import Batching

plt.style.use("minidsk.diagrams.look")

# %% tags=["hide-input"]
# The core's time, to which other programs add little; Windows counts it too coarsely.
clock = time.perf_counter if os.name == "nt" else time.process_time


def seconds(call, turns=5):
    """The shortest time of a call, since other programs only make it longer; one warms up."""
    call()
    taken = []
    for _ in range(turns):
        began = clock()
        call()
        taken.append(clock() - began)
    return min(taken)


_ = torch.set_num_threads(1)
RECORD = "bench_model"  # what `minidsk bench` measured
recorded = results.read(RECORD)
device, copies = recorded["machine"]["device"], recorded["ceilings"]["copy_gb_s"] * 1e9
sampled = {case["value"]: case for case in recorded["cases"]
           if case["bench"] == "generation" and case["axis"] == "batch"}  # fmt: skip
again = results.read("bench_speculation")  # newer code, whose passes with guesses are replayed
guessed, replayed = (
    {case["value"]: case for case in of["cases"] if case["bench"] == "speculation"}
    for of in (recorded, again)
)

# %% [markdown]
# ## Reading is fast, writing is slow
#
# The model of the question is `nano-zero`, a small DeepSeek-V3 that has learned Countdown by reward ([chapter 12](12_grpo.ipynb)). To read, a model predicts the token after each position of a text in a single pass. To write, it needs one pass per token, because each token is part of the input of the next pass.

# %% tags=["hide-input"]
policy = minidsk.load_policy("nano-zero")
model, tokenizer = policy.model, policy.tokenizer
test = nano().make_task("test")
prompts = [test[i].prompt for i in range(64)]
v3 = minidsk.ModelConfig.from_dict({"model_type": "deepseek_v3"})
deep = nano().pretrain.model.replace(
    hidden_size=64, num_hidden_layers=8, num_nextn_predict_layers=1
)


def size(config):
    weights = parameters(config)
    return f"{weights / 1e9:.0f} billion" if weights > 1e9 else f"{weights / 1e6:.1f} million"


table(["model", "parameters", "layers", "machine", "used for"],
      [["nano-zero", size(model.config), model.config.num_hidden_layers, "yours",
        "the question"],
       ["the eight-layer writer", size(deep), deep.num_hidden_layers, "yours", "guesses"],
       ["the recorded model", size(MOE), MOE.num_hidden_layers, device, "times on a GPU"],
       ["small", size(small().pretrain.model), small().pretrain.model.num_hidden_layers,
        "none", "lengths of its recorded replies"],
       ["DeepSeek-V3", size(v3), v3.num_hidden_layers, "none", "counting bytes"]],
      "The models of this chapter, without modules that guess")  # fmt: skip

# %%
one, _ = left_padded(prompts[:1], tokenizer)
print(repr(prompts[0]), "is", one.shape[1], "tokens, the first of which marks the beginning")
text = torch.randint(4, 60, (16, 128), generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    reading, reading_one = (seconds(partial(model, text[:texts])) for texts in (16, 1))
print(f"reading 16 texts: {text.numel() / reading:,.0f} tok/s")
print(f"reading a single: {text.shape[1] / reading_one:,.0f} tok/s")

# %% [markdown]
# One text alone is read at tens of thousands of tokens per second too, so sharing a pass with other texts is not what makes reading fast. Writing needs one pass per token. (Reading the prompt is called **prefill**.) But a pass can serve many texts at once. Guess what that costs: on a GPU, the recorded model writes one token for each of 64 texts in one step. How many times as long as a step for a single text does it take?

# %% tags=["prediction", "hide-input"]
guess = None
question = "A step for 64 texts takes how many times as long as a step for one?"
rows_64 = predict("inference.rows", question, guess, example=64)
rows_64

# %% [markdown]
# ## The slow decoder
#
# The simplest decoder hands the whole text to the model for every new token. It is *greedy*: it takes the likeliest token. Every remedy has to agree with it.

# %% tags=["naive"]
@torch.no_grad()
def write_slowly(model, ids, new):
    """Continue ids [rows, time] by `new` tokens; for each, everything is computed again."""
    for _ in range(new):
        ids = torch.cat((ids, model(ids).logits[:, -1:].argmax(-1)), 1)
    return ids


slow = seconds(lambda: write_slowly(model, one, 100), turns=3)
print(f"writing slowly: {100 / slow:,.0f} tok/s")

# %% [markdown]
# A token looks only at the tokens before it, so its states never change when the text grows. A cache keeps what later tokens look at (elsewhere keys and values, hence **KV cache**; here the latent of [chapter 02](02_latent_attention.ipynb)). Only the new token goes through the model. A natural mistake is to hand over the whole text although the cache holds most of it already. The cache then holds the text several times, without an error.

# %% tags=["diagram", "hide-input"]
diagram("cache_of_a_text")

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


@torch.no_grad()
def hands_over_the_whole_text(model, ids, new):
    cache = model.new_cache(len(ids), 4000)
    for _ in range(new):
        logits = model(ids, cache=cache, mtp=False).logits[:, -1]
        ids = torch.cat((ids, logits.argmax(-1, keepdim=True)), 1)
    return ids


bites(the_same_text, write, hands_over_the_whole_text)

# %% [markdown]
# ### The package gives the same text
#
# The package's `decode` does the same for prompts of different lengths, with sampling and ends. We compare the three in **float64**, as in all comparisons of tokens below. In float64 the ways differ only around the 15th digit, too little to decide between two tokens. (The package keeps log-probabilities in float32, and so in about 7 digits. A comment such as `# tolerance: 1e-6` says how far a cell's numbers may move on another computer.)

# %% tags=["agree"]
# tolerance: 1e-6
exact = copy.deepcopy(model).double()
ours = write_slowly(exact, one, 100)
packaged = decode(exact, one, 100, temperature=0.0)
assert torch.equal(ours, packaged.ids)
assert torch.equal(ours, write(exact, one, 100))
with torch.no_grad():
    all_at_once = exact(ours[:, :-1]).logits.log_softmax(-1).gather(-1, ours[:, 1:, None])
difference = (all_at_once[0, -100:, 0] - packaged.logprobs[0]).abs().max().item()
assert difference < 1e-6
print(f"100 tokens are the same; log-probabilities, largest difference: {difference:.0g}")
cached = seconds(lambda: write(model, one, 100), turns=3)
computed = sum(range(one.shape[1], one.shape[1] + 100))  # all texts that it handed over
print(f"writing slowly: {100 / slow:,.0f} tok/s, {computed:,} tokens computed")
print(f"with a cache:   {100 / cached:,.0f} tok/s, {one.shape[1] + 99} tokens computed")
print(f"reading one text: {text.shape[1] / reading_one:,.0f} tok/s")

# %% [markdown]
# The decoder with a cache computes less than 2 % of the tokens, and yet it is not even twice as fast. Where does the time of a pass go?
#
# ## Where the time goes: starting operations
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
alone, full = Engine(model, 1, 160), Engine(model, 64, 160)
for engine, texts in ((alone, 1), (full, 64)):
    _ = engine.prefill(*left_padded(prompts[:texts], tokenizer))
passes = {"70 tokens of one text": (70, partial(model, text[:1, :70])),
          "one token, with a cache": (1, partial(alone.step, one[:, 5])),
          "one token of each of 64 texts": (64, partial(full.step, one[:, 5].expand(64))),
          "reading 16 texts": (text.numel(), partial(model, text))}  # fmt: skip
rows = []
for name, (tokens, call) in passes.items():
    with torch.no_grad():
        with Count() as counter:
            _ = call()
        took = seconds(call, 20)
    rows.append([name, f"{tokens:,}", counter.operations, f"{1e3 * took:.1f} ms",
                 f"{1e6 * took / counter.operations:.0f} µs"])  # fmt: skip
table(["a pass for", "tokens", "operations", "time", "per operation"], rows,
      "nano-zero on this core, in this run")

# %% [markdown]
# A pass starts about 250 operations, **however many tokens it computes**. On our core each takes around ten microseconds even for a single token, because Python and PyTorch have to find a program, check shapes and reserve memory before anything is computed. The cache removes nearly all tokens but no operation. So it gains little here: a pass for 70 tokens, the slow decoder's average, takes less than twice as long as a pass for one. Only with 2,048 tokens does computing take most of the time. More tokens per pass should therefore cost little.
#
# ## Many texts share a step
#
# We measure steps of `nano-zero` on your machine, with 50 tokens for each text and the reading of the prompts included. In the record, prompts have 32 tokens (in the last rows more) and replies 128. The library transformers starts each operation from Python, and our package replays a recording (next section).

# %% tags=["hide-input"]
rows, per_step = [], {}
for batch in (1, 4, 16, 64):
    batch_ids, batch_mask = left_padded(prompts[:batch], tokenizer)
    call = partial(decode, model, batch_ids, 50, temperature=0.0, attention_mask=batch_mask)
    step = per_step[batch] = seconds(call, 3) / 50
    rows.append([batch, f"{1e3 * step:.2f} ms", f"{batch / step:,.0f} tok/s"])
table(["texts", "one step", "all texts together"], rows, "nano-zero, measured in this run")
longer = per_step[64] / per_step[1]
print(f"a step for 64 texts is {longer:.2f}x slower than a step for one,\n"
      f"but each text gets its token {64 / longer:.0f}x faster")

# %% tags=["hide-input"]
new = {batch: case["tokens"] / batch for batch, case in sampled.items()}
step_ms, rival_ms = (
    {batch: 1e3 * case["contestants"][who or case["best_rival"]]["median"] / new[batch]
     for batch, case in sampled.items()} for who in ("ours", None))  # fmt: skip
rows_64.reveal(round(step_ms[64] / step_ms[1], 2))
print(results.origin(RECORD))
assert max(rival_ms.values()) < 2 * rival_ms[1]
rows = [[f"{batch:,}", 32, f"{rival_ms[batch]:.3g}", f"{step_ms[batch]:.3g}",
         f"{1e3 * batch / step_ms[batch]:,.0f}"] for batch in sampled]  # fmt: skip
for case in recorded["cases"]:
    if (case["bench"], case["axis"]) == ("generation", "context"):
        took = [1e3 * case["contestants"][who]["median"] * 1024 / case["tokens"]
                for who in (case["best_rival"], "ours")]  # fmt: skip
        rows.append(["1,024", f"{case['value']:,}", *(f"{ms:.3g}" for ms in took),
                     f"{1e3 * 1024 / took[1]:,.0f}"])  # fmt: skip
table(["texts", "prompt, tokens", "transformers, ms", "our package, ms",
       "its tokens per second"], rows,
      f"One step of the recorded model on {device}, with its share of reading the prompts")

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 3.2))
core_ms = {batch: 1e3 * step for batch, step in per_step.items()}
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
# On one core, a step for 64 texts takes about twice as long as one for a single text, so each text costs far less. On the GPU, our package's step takes only a third longer. transformers takes 10 to 17 ms per step, without a trend: its slowest batch is 64. Long prompts take far more time: they must be read, and every step looks at all their tokens. The record does not separate them.
#
# ## A graph starts a whole step at once
#
# On a GPU, nearly every operation starts at least one kernel ([chapter 07](07_triton_kernels.ipynb)). The GPU waits if a kernel ends before Python has started the next one. What does a start cost? We count the operations of the recorded model and divide its step for one text by them.

# %% tags=["diagram", "hide-input"]
diagram("starts_and_a_graph")

# %%
# tolerance: 15%
wide, counts = minidsk.MiniDeepSeek(MOE, torch.Generator().manual_seed(0)), {}
for batch in (1, 64):
    engine = Engine(wide, batch, 64, static=True)
    with torch.no_grad(), Count() as counter:
        _ = engine.step(torch.zeros(batch, dtype=torch.long))
    counts[batch] = counter.operations
print(f"operations of a step: {counts[1]} for one text, {counts[64]} for 64")
from_python, from_graph = (1e3 * of[1] / counts[1] for of in (rival_ms, step_ms))
print(f"one text, a step divided by our operations: {from_python:.0f} us in transformers, "
      f"from Python;\n{from_graph:.1f} us in our package, from a graph")

# %% [markdown]
# Both times are divided by our own count, and transformers may start more operations or fewer. No record holds our package without a graph; `minidsk bench generation` measures this pair on your GPU.
#
# A **CUDA graph** removes most of the cost of starting. The step is run once in recording mode: CUDA writes down which kernels would start, and with which addresses. Then one call starts all of them (not run here):
#
# ```python
# graph, tokens = torch.cuda.CUDAGraph(), torch.zeros(1, dtype=torch.long, device="cuda")
# with torch.cuda.graph(graph):  # records the kernels, after a few ordinary steps
#     logits = engine.step(tokens)
# tokens.copy_(next_tokens)  # in place, because the recording holds this address
# graph.replay()  # now logits are those of the new tokens
# ```
#
# We build the same on a CPU with PyTorch's operations. Each operation writes its result again where the recording has it.
#
# A replay repeats shapes, addresses and numbers as they were, and Python decides nothing. So the package's `Engine` with `static=True` keeps a cache of fixed size and hides the empty places with a mask. Also, every expert computes each token and the unchosen get weight 0, because sorting tokens by expert would need sizes that change. The planted bug asks Python for the next token.

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


def stays_on_the_device(engine, tokens):
    tokens.copy_(engine.step(tokens).argmax(-1))


def asks_python(engine, tokens):
    tokens.fill_(int(engine.step(tokens).argmax(-1)))  # the recording holds this number


def replays_the_same_text(step) -> None:
    engine = Engine(copy.deepcopy(exact).use(EveryExpert()), 1, 160, static=True)
    tokens = engine.prefill(one).argmax(-1)
    with Graph() as graph, torch.no_grad():
        step(engine, tokens)  # reads one token and writes the second of the reply
    for place in range(2, 20):
        assert tokens == ours[0, one.shape[1] + place - 1]
        graph.replay()


bites(replays_the_same_text, stays_on_the_device, asks_python)

# %%
# tolerance: 1e-12
growing, fixed = Engine(exact, 1, 160), Engine(exact, 1, 160, static=True)
_ = [engine.prefill(one) for engine in (growing, fixed)]
apart = [growing.step(token[None]) - fixed.step(token[None])
         for token in ours[0, one.shape[1] :]]  # fmt: skip
graph_difference = max(difference.abs().max().item() for difference in apart)
assert graph_difference < 1e-12
print(f"growing and fixed shapes, 100 steps, largest difference: {graph_difference:.0g}")

# %% [markdown]
# ## What changes for a large model: bytes
#
# A processor also has to fetch numbers from memory. Each step fetches once the weights that it uses, for all texts, and the cache of each text. We count both for the recorded model, where a token goes to only 4 of 16 experts. A number takes 2 bytes, as in bfloat16.

# %%
def bytes_of_a_step(config, rows, seen):
    """Read in one step: weights once, and for each row its memory of `seen` tokens."""
    experts = min(config.n_routed_experts, rows * config.num_experts_per_tok)
    met = config.replace(n_routed_experts=experts, num_experts_per_tok=1)
    weights = parameters(met) - config.vocab_size * config.hidden_size  # a look-up, no product
    kept = config.num_hidden_layers * (config.kv_lora_rank + config.qk_rope_head_dim)
    return 2 * weights, 2 * rows * seen * kept

# %%
def reads_them_for_each_row(config, rows, seen):
    weights, cache = bytes_of_a_step(config, 1, seen)
    return rows * weights, rows * cache


def a_full_batch_reads_every_weight_once(count) -> None:  # the embedding is only looked up
    sizes = {name: weight.numel() for name, weight in wide.named_parameters()}
    assert count(MOE, 64, 96)[0] == 2 * (sum(sizes.values()) - sizes["embed_tokens.weight"])


bites(a_full_batch_reads_every_weight_once, bytes_of_a_step, reads_them_for_each_row)

# %% tags=["figure", "hide-input"]
read = sum(sum(bytes_of_a_step(MOE, 64, 32 + k + 1)) for k in range(128))
wrote = 2 * 128 * 64 * MOE.num_hidden_layers * (MOE.kv_lora_rank + MOE.qk_rope_head_dim)
assert read + wrote == bytes_moved(MOE, 2, 64, 32, 128)  # the bench's own count
batches = [2**k for k in range(12)]
fig, ax = plt.subplots(figsize=(6.4, 3.2))
for name, of in (("weights", 0), ("cache", 1)):
    each = [bytes_of_a_step(MOE, batch, 96)[of] / batch / 1e6 for batch in batches]
    (line,) = ax.plot(batches, each, "o-", markevery=[0, 6, 11], label=name)
    for k in (0, 6, 11):
        _ = ax.annotate(f"{each[k]:.2g}", (batches[k], each[k]), (7, 7), fontsize=9,
                        textcoords="offset points", color=line.get_color())
ax.set(xscale="log", yscale="log", xlabel="texts in the batch", ylabel="MB per written token")
ax.margins(y=0.15)
direct_labels(ax)
few, many = (sum(bytes_of_a_step(MOE, b, 96)) / b / 1e6 for b in (1, 2048))
for texts in (1, 2048):
    copy_ms = 1e3 * sampled[texts]["bytes"] / new[texts] / copies
    print(f"{texts:5,} texts: copying a step's bytes takes {copy_ms:.4f} of "
          f"{step_ms[texts]:.2f} milliseconds, one in {step_ms[texts] / copy_ms:.0f}")
peak = recorded["ceilings"]["matmul_tflop_s"] * 1e12  # two operations per weight and text
product_ms = 1e3 * 2 * 2048 * bytes_of_a_step(MOE, 2048, 96)[0] / 2 / peak
print(f"2,048 texts: its products at the GPU's rate take {product_ms:.2f} milliseconds")
near = recorded["ceilings"]["l2_bytes"]
print(f"its weights: {2 * parameters(MOE) / 1e6:.0f} MB;",
      f"the GPU's own cache: {near / 1e6:.0f} MB")
show(fig, "Bytes that a step reads, per written token, when each text is 96 tokens long: "
     f"{few:.1f} MB for a single text, {many:.2f} MB in a batch of 2,048. All texts share the "
     "weights, but each text has a cache of its own.",
     "Two lines over 1 to 2,048 texts, both axes logarithmic: megabytes of weights per "
     "written token fall in proportion to the batch, those of cache stay the same.")

# %% [markdown]
# (The bend at four texts comes from the experts: up to there, each text can need four more.) In a very large batch most of the bytes belong to the caches, and this is why the small latent cache matters for writing.
#
# For one text, a step of the recorded model takes hundreds of times as long as copying its bytes, so bytes do not limit it. For 2,048 texts it is still about 40 times as long. The step for one text, these bytes and the products with all weights do not add up to this time, which we have not profiled. (The GPU also has a fast cache of its own, in which all these weights fit.)
#
# In a large model, bytes do limit a step. A token of DeepSeek-V3 uses 37 billion weights {cite}`deepseekv3`, of which we count each as one byte. We take all 256 experts of a layer as equally likely.

# %%
expert = 3 * v3.hidden_size * v3.moe_intermediate_size * 58  # one expert in each of 58 layers
for texts in (1, 100):
    met = 256 * (1 - (1 - 8 / 256) ** texts)  # how many of 256 experts a step has to read
    fetched = 37e9 + (met - 8) * expert
    print(f"{texts:3} texts: {fetched / 1e9:.0f} GB and",
          f"{1e3 * fetched / copies:.0f} ms per step,",
          f"at most {texts * copies / fetched:.0f} tokens per second")

# %% [markdown]
# A hundred texts meet nearly all experts, so a step reads 17 times as many bytes, and still each text costs about a sixth. (V3 does not fit on one such GPU.)
#
# ## Rows that end early
#
# A batch runs until its longest reply ends. Rows whose reply has ended go on computing for nothing. We take 1,024 recorded replies of our own `small` model after R1-Zero training, on problems that it was not trained on, and count their lengths in tokens (characters and marks), the end included.
#
# Suppose that 32 rows write them, and each batch waits for its longest. A row's step is useful if it writes a token. Guess which share of the steps is useful.

# %%
replies = results.read("reason_small", "seed0/zero/evaluation.json")["replies"]
lengths = [len(tokenizer.encode(reply["reply"])) + 1 for reply in replies]
print("the first:", *lengths[:12])
print(f"shortest {min(lengths)}, middle {median(lengths):.0f}, longest {max(lengths)} tokens")

# %% tags=["prediction", "hide-input"]
guess = None
question = "Which share of the rows' steps write a token, in %?"
useful = predict("inference.useful", question, guess, example=75, unit="%", scale="difference",
                 tolerance=40)  # fmt: skip
useful

# %%
def steps_waiting(lengths, rows):
    """Batches of `rows` replies; each takes as many steps as its longest reply has tokens."""
    batches = [lengths[i : i + rows] for i in range(0, len(lengths), rows)]
    return sum(max(batch) for batch in batches)


def share_useful(lengths, rows, steps):
    """Tokens written, as a share of what all rows could have written."""
    return sum(lengths) / (rows * steps)


useful.reveal(round(100 * share_useful(lengths, 32, steps_waiting(lengths, 32)), 1))

# %% [markdown]
# Nearly every batch of 32 contains one reply of several hundred tokens. We cannot sort them, because lengths are not known in advance.
#
# The remedy comes from Orca {cite}`yu2022orca`: when a reply ends, its row takes the next prompt that waits. This is called **continuous batching**, or refilling. A toy scheduler needs only the lengths. A common mistake is to refill only when all rows are free, which is the same as waiting. The test needs one long reply to notice this:

# %%
def steps_refilled(lengths, rows):
    """A free row, which has no tokens left, takes the next reply that waits."""
    waiting, left, steps = list(lengths), [0] * rows, 0
    while waiting or any(left):
        left = [tokens or (waiting.pop(0) if waiting else 0) for tokens in left]
        left = [max(0, tokens - 1) for tokens in left]  # a token in each row at work
        steps += 1
    return steps

# %%
def short_replies_pass_a_long_one(steps) -> None:
    """Nine tokens in one row; meanwhile the other row writes four replies of two."""
    assert steps([9, 2, 2, 2, 2], 2) == 9
    assert steps([3, 3, 3, 3], 2) == 6


bites(short_replies_pass_a_long_one, steps_refilled, steps_waiting)

# %% tags=["figure", "hide-input"]
shares = {rows: [share_useful(lengths, rows, steps(lengths, rows))
                 for steps in (steps_waiting, steps_refilled)]
          for rows in (8, 16, 32, 64, 128, 256)}  # fmt: skip
fig, ax = plt.subplots(figsize=(6.4, 3))
for k, name in enumerate(("waiting", "refilled")):
    each = [100 * pair[k] for pair in shares.values()]
    (line,) = ax.plot(list(shares), each, "o-", label=name)
    for rows, y in zip(shares, each, strict=True):
        _ = ax.annotate(f"{y:.0f}", (rows, y), (0, 7), textcoords="offset points", ha="center",
                        fontsize=9, color=line.get_color())
_ = ax.set(xscale="log", xlabel="rows", ylabel="useful steps of rows, %", ylim=(0, 115))
_ = ax.set_xticks(list(shares), list(map(str, shares)))
ax.minorticks_off()
direct_labels(ax)
ends = [f"{100 * shares[rows][1]:.0f}" for rows in (8, 256)]
waited, filled = (f"{100 * share:.0f} %" for share in shares[32])
show(fig, f"With 32 rows, {waited} of the steps are useful when rows wait, and {filled} when "
     "they are refilled.",
     f"Two lines over 8 to 256 rows. Waiting: about {waited} of the steps are useful. "
     f"Refilled: {ends[0]} % with 8 rows, falling to {ends[1]} % with 256.")  # fmt: skip

# %% tags=["widget"]
Batching(lengths[:24], 6, title="24 recorded replies in 6 rows")

# %% [markdown]
# (In the moving figure, red marks a row whose results are thrown away. With 256 rows, the last long replies keep only a few rows busy. The package then moves them into a smaller batch.)
#
# ### Refilling one row of a real cache
#
# When a row begins a new reply, its part of the cache is cleared. The new prompt is read by itself, and its cache is copied into that row. A natural bug is to let the row read the new prompt after its old reply. We test both with two rows, of which row 0 takes a third prompt after 20 tokens. Each reply must be the slow decoder's:

# %%
def reads_alone(engine, row, prompt):
    reader = Engine(engine.model, 1, engine.cache.capacity, static=True)
    reader.prefill(prompt)
    return reader


def keeps_its_old_cache(engine, row, prompt):
    reader = engine.fork(row)
    reader.step(prompt)
    return reader


singles = [left_padded([prompt], tokenizer)[0] for prompt in prompts]
row = torch.tensor([0])


def write_two_rows(read):
    """40 greedy tokens in each of two rows, of which row 0 is refilled after 20: [2, 40]."""
    engine, written = Engine(exact, 2, 160, static=True), []
    engine.prefill(*left_padded(prompts[:2], tokenizer))
    for step in range(40):
        if step == 20:
            reader = read(engine, row, singles[2])
            engine.cache.adopt(row, reader.cache)
            engine.logits[row] = reader.logits
        written.append(engine.logits.argmax(-1))
        engine.step(written[-1])
    return torch.stack(written, 1)

# %%
def each_writes_as_if_alone(read) -> None:
    ours = write_two_rows(read)
    assert torch.equal(ours[0, :20], write_slowly(exact, singles[0], 20)[0, -20:])
    assert torch.equal(ours[0, 20:], write_slowly(exact, singles[2], 20)[0, -20:])
    assert torch.equal(ours[1], write_slowly(exact, singles[1], 40)[0, -40:])


bites(each_writes_as_if_alone, reads_alone, keeps_its_old_cache)

# %% [markdown]
# The package does this for many rows in `minidsk/infer/refill.py`. Here it writes 64 replies: all in one batch, then in batches of 8, each of which waits for its longest reply, then in 8 rows that are refilled. Each reply is also read alone, in one pass. If each of its tokens is the likeliest after those before it, the slow decoder writes the same reply.

# %%
# tolerance: 1e-6
ids, mask = left_padded(prompts, tokenizer)
ending = {"eos_token_id": tokenizer.eos_id, "temperature": 0.0}


def reply_to(some, new=160, **ways):
    """The greedy replies to these prompts, and the seconds that they took."""
    began = clock()
    done = decode(exact, ids[some], new, attention_mask=mask[some], temperature=0.0, **ways)
    return done, clock() - began


end = {"eos_token_id": tokenizer.eos_id}
together, together_took = reply_to(slice(None), **end)
written_lengths = together.mask.sum(1).tolist()
eights = [reply_to(slice(k, k + 8), max(written_lengths[k : k + 8])) for k in range(0, 64, 8)]
refilled, refilled_took = reply_to(slice(None), rows=8, **end)
assert torch.equal(together.ids, refilled.ids)

# %% tags=["hide-input"]
# tolerance: 30% + 1e-6
for k, prompt in enumerate(singles):
    reply = together.ids[k, ids.shape[1] :][together.mask[k]]
    alone_ids = torch.cat((prompt[0], reply))[None]
    with torch.no_grad():
        says = exact(alone_ids).logits[0, -len(reply) - 1 : -1].argmax(-1)
    assert torch.equal(says, reply)
    assert torch.equal(eights[k // 8][0].ids[k % 8, ids.shape[1] :][: len(reply)], reply)
refill_difference = (together.logprobs - refilled.logprobs).abs().max().item()
assert refill_difference < 1e-6
print("64 replies: the same tokens in all four ways; log-probabilities,",
      f"largest difference: {refill_difference:.0g}")
waiting_took = sum(took for _, took in eights)
steps_of = [of(written_lengths, 8) for of in (steps_waiting, steps_refilled)]
print(f"refilled against waiting: {steps_of[0] / steps_of[1]:.2f} times fewer steps, "
      f"{waiting_took / refilled_took:.2f}x faster")
table(["64 replies", "steps by their lengths", "time"],
      [["8 rows, waiting", steps_of[0], f"{waiting_took:.2f} s"],
       ["8 rows, refilled", steps_of[1], f"{refilled_took:.2f} s"],
       ["all in one batch", max(written_lengths), f"{together_took:.2f} s"]],
      "nano-zero in float64, on this core")  # fmt: skip

# %% [markdown]
# Refilling is faster, but by less than the steps say. The count leaves out that each new prompt has to be read while the other rows wait, that the package looks for ended rows only every 16 steps, and that a cache of fixed size is read whole. On this core one batch of 64 is faster still, so refilling is for what does not fit into one batch.
#
# **What servers do besides.** A server promises each user a short wait (*latency*) and wants many tokens per second in all (*throughput*). *Chunked prefill* {cite}`agrawal2024sarathi` reads a long prompt in pieces beside the other rows' steps, so that they need not wait. *PagedAttention* {cite}`kwon2023pagedattention` keeps the cache in small pages that need not lie side by side, so that no row reserves memory for the longest reply. *Prefix caching* {cite}`zheng2024sglang` keeps the pages of a beginning that many prompts share. Our package has none of the three.
#
# ## Noise with an address
#
# When tokens are *drawn* and not greedy, a new problem appears. If one random generator serves the whole batch, the numbers that a text gets depend on the other texts. Here the same prompt meets the same seed in batches of 4 and 8:

# %%
def draw_with_one_generator(ids, mask, new, seed):
    """Sampled tokens [rows, new]; all rows share the generator."""
    generator, engine = torch.Generator().manual_seed(seed), Engine(exact, len(ids), 200)
    logits, drawn = engine.prefill(ids, mask), []
    for _ in range(new):
        p = logits.softmax(-1)
        drawn.append(torch.multinomial(p, 1, generator=generator)[:, 0])
        logits = engine.step(drawn[-1])
    return torch.stack(drawn, 1)


of_4, of_8 = (draw_with_one_generator(ids[:n], mask[:n], 40, seed=0) for n in (4, 8))
print("in a batch of 4:", repr(tokenizer.decode(of_4[1].tolist())))
print("in a batch of 8:", repr(tokenizer.decode(of_8[1].tolist())))
assert not torch.equal(of_4[1], of_8[1])

# %% [markdown]
# Both are fair draws, but a rollout could not be repeated in another batch.
#
# The remedy is to **compute the noise from an address**, as counter-based generators do {cite}`salmon2011random`. The address of a number has four parts: the seed, the reply, the place of the token in the reply, and the entry of the vocabulary. A hash turns the address into a number that looks random, because whole-number products and shifts mix its bits:

# %%
def noise(seed, reply, place, vocab):
    """Logarithms of uniform numbers, one per entry: a function of the address alone."""
    reply, place = (torch.as_tensor(n)[..., None] for n in (reply, place))  # int64, wraps
    x = seed + REPLY * reply + PLACE * place + ENTRY * torch.arange(vocab)
    x = (x ^ (x >> 32)) * FIRST  # products mix upwards;
    x = (x ^ (x >> 29)) * SECOND  # the shifts bring the upper bits down again
    return log_uniform(x)

# %%
stream = Noise(5 + REPLY * torch.tensor([3]), 59)  # the package's: seed 5, reply 3
for place in range(4):
    assert torch.equal(stream.next()[0], noise(5, 3, place, 59))
assert torch.equal(noise(5, 0, 0, 1), noise(-6, 0, 0, 1))  # a mirror
print("the package's noise is the same, bit for bit")
print(f"address 0 and its mirror -1: 2 to the power {noise(0, 0, 0, 1)[0] / np.log(2):.0f}")

# %% [markdown]
# (The hash has two defects. `>>` keeps the sign, so the addresses $x$ and $-1-x$ give the same number. And products and shifts leave 0 at 0, so address 0, like its mirror $-1$, gives the smallest number, $2^{-24}$. Recorded runs need this hash as it is. We take seed 3 here.)
#
# To draw a token, we take minus the logarithm of each uniform number. That is a random waiting time, as if each token had an alarm clock. We divide it by the token's probability, and take the token whose clock rings first:

# %%
# tolerance: 0.01
three = torch.tensor([0.6, 0.3, 0.1])
waits = -noise(3, torch.arange(20_000), 0, 3)  # a row per reply
rows = [[k + 1, f"{three[k]:.1f}", f"{waits[0, k]:.2f}", f"{waits[0, k] / three[k]:.2f}"]
        for k in range(3)]  # fmt: skip
table(["token", "probability", "waiting time", "divided"], rows,
      f"Reply 0: the clock of token {(waits[0] / three).argmin() + 1} rings first")

# %% [markdown]
# Why is this a fair draw? A clock with the waiting time $-\log u$ rings in each short moment with the same chance, its rate of 1. Dividing by $p$ makes the rate $p$. The rates of all clocks add up to 1, so the first clock to ring belongs to token $x$ with probability $p(x)$. This is called an **exponential race**; in logarithms it is the Gumbel-max trick. We test it with a chi-square test. The planted bug multiplies where it should divide.

# %%
def chi_square(drawn, p):
    """How far counts are from what p expects; for 3 tokens above 13.8 once in 1,000 times."""
    expected = len(drawn) * p
    return ((torch.bincount(drawn, minlength=len(p)) - expected) ** 2 / expected).sum().item()

# %%
def follows_the_probabilities(first_to_ring) -> None:
    assert chi_square(first_to_ring(waits, three), three) < 13.8


def divides(waits, p):
    return (waits / p).argmin(-1)


def multiplies(waits, p):
    return (waits * p).argmin(-1)


bites(follows_the_probabilities, divides, multiplies)

# %% tags=["figure", "hide-input"]
# tolerance: 1e-3
fig, ax = plt.subplots(figsize=(6.4, 2.4))
drawn_shares = {way.__name__: torch.bincount(way(waits, three), minlength=3) / len(waits)
                for way in (divides, multiplies)}  # fmt: skip
for shift, (name, each) in zip((-0.2, 0.2), drawn_shares.items(), strict=True):
    bars = ax.bar(np.arange(3) + shift, each, 0.36)
    said = [f"{name}\n{each[0]:.2f}", *(f"{x:.2f}" for x in each[1:])]
    _ = ax.bar_label(bars, said, fontsize=9, padding=3)
for k, p in enumerate(three.tolist()):
    _ = ax.plot([k - 0.44, k + 0.44], [p, p], "--", color="gray", lw=1)
_ = ax.set_xticks(range(3), [f"token {k}, p = {p:.1f}" for k, p in enumerate(three, 1)])
_ = ax.set(ylabel="share of first rings", ylim=(0, 0.82))
shares_said = {name: ", ".join(f"{x:.2f}" for x in each)
               for name, each in drawn_shares.items()}  # fmt: skip
show(fig, "How often each clock is the first of three, in 20,000 races. Divided by p, the "
     f"shares are {shares_said['divides']}; dashed: p.",
     f"Pairs of bars for three tokens. Divides: {shares_said['divides']}. Multiplies: "
     f"{shares_said['multiplies']}. A dashed line at each probability.")  # fmt: skip

# %% [markdown]
# Now a reply depends on its own address and prompt alone. So one batch, 8 refilled rows, fixed shapes (as for a graph), and the first four prompts by themselves must all draw the same replies, in float64.

# %%
def draw(count=64, **ways):
    """The first replies with seed 0, whatever the way."""
    own = {**ending, "temperature": 1.0, "attention_mask": mask[:count], **ways}
    return decode(exact, ids[:count], 160, generator=torch.Generator().manual_seed(0), **own)


plain = draw()
for name, other in (("8 rows, refilled", draw(rows=8)), ("fixed shapes", draw(capacity=224)),
                    ("4 prompts alone", draw(count=4))):  # fmt: skip
    width = other.ids.shape[1]
    assert torch.equal(other.ids, plain.ids[: len(other.ids), :width])
    print(f"{name:17}: the same tokens")

# %% [markdown]
# ## Guess, and check the guesses
#
# A step for 64 texts costs far less than 64 steps. Could a step for a single text check several tokens of *the same* text at once? It could, if a cheap *guesser* proposed them, because checking them is reading, and reading is fast. This is **speculative decoding** {cite}`leviathan2022speculative,chen2023speculative`.

# %% tags=["diagram", "hide-input"]
diagram("speculation")

# %% [markdown]
# For greedy text, we keep guesses as long as each is the model's own likeliest token. For sampled text, the guess $x$ was drawn from the guesser's probabilities $q$, and the text must follow the model's own, $p$. Two rules are enough:
#
# - keep the guess with probability $\min(1, p(x)/q(x))$;
# - if it is refused, draw from what $p$ has more than $q$: $\max(0, p - q)$, divided by its sum.
#
# **Three tokens by hand.** The guesser offers token 2 with 0.6, three times as often as it should. So a guess of token 2 is kept one time in three, and guesses of tokens 1 and 3 always. With probability $0.6 \cdot \frac23 = 0.4$, a guess is refused. Then token 1 or 3 is drawn, each with probability one half, because their surpluses are equal. The two ways add up to $p$:
#
# | token | $p$ | $q$ | kept if guessed | written as a kept guess | surplus | written after a refusal | sum |
# | --- | --- | --- | --- | --- | --- | --- | --- |
# | 1 | 0.5 | 0.3 | 1 | 0.3 | 0.2 | 0.4 · ½ = 0.2 | **0.5** |
# | 2 | 0.2 | 0.6 | ⅓ | 0.2 | 0 | 0 | **0.2** |
# | 3 | 0.3 | 0.1 | 1 | 0.1 | 0.2 | 0.4 · ½ = 0.2 | **0.3** |

# %% [markdown]
# **Why it is always $p$.** As a guess that is kept, token $x$ is written with probability $q(x) \min(1, p(x)/q(x)) = \min(p(x), q(x))$. So at this place a guess is kept with probability
#
# $$ \beta = \sum_x \min(p(x), q(x)), $$
#
# and refused with $1 - \beta$. The surplus $\max(0, p(x) - q(x)) = p(x) - \min(p(x), q(x))$ adds up to $1 - \beta$ too. After a refusal $x$ is therefore drawn with probability $(p(x) - \min(p(x), q(x)))/(1 - \beta)$. The factor $1 - \beta$ cancels, and the two ways add up to $p(x)$. No property of the guesser was used, so bad guesses cost time and never quality.
#
# We check it with fractions, without any rounding. The planted bug replaces a refused guess by a fresh draw from $p$, which sounds right.

# %%
def surplus(p, q):
    """What p has more than q, normalised."""
    more = [max(Fraction(0), a - b) for a, b in zip(p, q, strict=True)]
    return [x / sum(more) for x in more] if sum(more) else p


def tenths(*numbers):
    return [Fraction(n, 10) for n in numbers]

# %%
def written(p, q, instead):
    """The probability of each token, over all guesses and both verdicts, exactly."""
    out = [Fraction(0)] * len(p)
    for guess, offered in enumerate(q):
        keep = min(Fraction(1), p[guess] / offered)
        out[guess] += offered * keep
        for x, chance in enumerate(instead(p, q)):
            out[x] += offered * (1 - keep) * chance
    return out


# %%
def writes_exactly_p(instead) -> None:
    for p, q in ((tenths(5, 2, 3), tenths(3, 6, 1)), (tenths(1, 2, 3, 4), tenths(4, 3, 2, 1))):
        assert written(p, q, instead) == p


def a_fresh_draw(p, q):
    return p


bites(writes_exactly_p, surplus, a_fresh_draw)
wrong = written(tenths(5, 2, 3), tenths(3, 6, 1), a_fresh_draw)
print("with the bug, 0.50, 0.20, 0.30 would become", *(f"{float(x):.2f}" for x in wrong))

# %% [markdown]
# Call $\alpha$ the mean of $\beta$ over the places of a text. If each guess is kept with $\alpha$, whatever came before, then $K$ guesses yield on average
#
# $$ 1 + \alpha + \alpha^2 + \dots + \alpha^K $$
#
# tokens per pass. The 1 is the model's own token, which every pass writes; guess number $k$ counts only if all guesses up to it are right.
#
# ### A guesser for free: the MTP module
#
# The guesser of Leviathan and others is a second, smaller model. DeepSeek-V3 has one built in, the module of [chapter 04](04_multi_token_prediction.ipynb), which was trained to predict one token further ahead and sees the model's own state. We train a narrow model of eight layers with such a module, a single block and so cheap beside the model.

# %%
course = dataclasses.replace(nano().pretrain, model=deep, steps=110, batch=4)
with tempfile.TemporaryDirectory() as folder:
    writer = pretrain(course, folder, device="cpu", progress=False).eval()
print(f"{sum(weight.numel() for weight in writer.parameters()):,} parameters with the module")

# %% [markdown]
# First without a cache, greedy, with one guess per pass. A pass of the model reads the text with the guess at its end. The logits before the guess say whether it was right. If the guess is right, the logits after it give one more token.
#
# The second cell has a cache. A pass then reads only two tokens, the last one and the guess. This brings a trap: when the guess is refused, the cache already holds it, and later tokens would look at it. So the cache must be **rolled back** to the tokens that are true. In the package, `cache.ends` says how many tokens the cache holds, and `cache.truncate` forgets those behind. `model.look_ahead` runs the module. A kept guess is a token that the module has not read yet. So before it guesses again, `cache.reopen(last, 2)` lets it read the last two tokens.

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
# tolerance: 40%
def rolls_back(cache, lengths):
    cache.truncate(lengths)


def does_not_roll_back(cache, lengths):
    pass


def the_text_without_guesses(roll_back) -> None:
    guessing, passes = speculate_cached(careful, one, 60, roll_back)
    assert torch.equal(guessing, slowly)
    assert passes == slow_passes


careful = copy.deepcopy(writer).double()
slowly, slow_passes = speculate_slowly(careful, one, 60)
bites(the_text_without_guesses, rolls_back, does_not_roll_back)
by_package = speculate(careful, one, 60, 1, temperature=0.0)
assert torch.equal(slowly, write_slowly(careful, one, 60))
assert torch.equal(slowly, by_package.ids)
assert slow_passes == int(by_package.passes)
print(f"60 tokens in {slow_passes} passes: without a cache, with one, and in the package")

# %% [markdown]
# Is $\alpha$, the mean of $\beta$, the share of guesses that are kept? We draw 16 texts without guesses and compute $\beta$ at every place. Then the package draws 16 others with guesses, and we count. (The cell after it does greedy text, with up to three guesses per pass. For the second and third, the one module runs again on its own output.)

# %%
# tolerance: 0.06
some, some_mask = left_padded(prompts[:16], tokenizer)
own = {"attention_mask": some_mask, "temperature": 1.0}
begin, seed = some.shape[1], torch.Generator().manual_seed
drawn = decode(careful, some, 60, generator=seed(0), **own)
with torch.no_grad():
    out = careful(drawn.ids, attention_mask=torch.cat((some_mask, drawn.mask), 1))
p = out.logits[:, begin:-1].softmax(-1)
q = out.mtp_logits[0][:, begin - 1 :].softmax(-1)[:, : p.shape[1]]  # it guesses one further
beta = torch.minimum(p, q).sum(-1)
counted = speculate(careful, some, 60, 1, generator=seed(1), **own)
share = counted.kept.sum() / counted.drafted.sum()
print(f"the mean of beta: {beta.mean():.2f}; share of guesses kept: {share:.2f}")
assert (beta.mean() - share).abs() < 0.06

# %% tags=["hide-input"]
# tolerance: 60%
certain = {"temperature": 0.0, "attention_mask": some_mask}
without = decode(careful, some, 60, **certain)
found, kept_shares, rows = {}, [], []
for depth in (1, 2, 3):
    done = speculate(careful, some, 60, depth, **certain)
    assert torch.equal(done.ids, without.ids)
    kept_shares.append((done.kept.sum() / done.drafted.sum()).item())
    found[depth] = (done.mask.sum() / done.passes.sum()).item()
    by_formula = sum(kept_shares[0] ** k for k in range(depth + 1))
    rows.append([depth, f"{kept_shares[-1]:.2f}", f"{found[depth]:.2f}",
                 f"{by_formula:.2f}"])  # fmt: skip
everything = torch.cat((some_mask, without.mask), 1)
kept = torch.cat([  # one pass with three guesses, begun at every fourth place of each text
    speculate(careful, without.ids[:, :place], 2, 3, temperature=0.0,
              attention_mask=everything[:, :place]).kept
    for place in range(begin + 1, begin + 57, 4)])  # fmt: skip
within = [((kept >= k).sum() / (kept >= k - 1).sum()).item() for k in (1, 2, 3)]
print(f"{len(kept)} passes: guess 1 is right with {within[0]:.2f}, guess 2 behind a right "
      f"guess 1\nwith {within[1]:.2f}, guess 3 behind two right ones with {within[2]:.2f}")
table(["guesses per pass", "share kept", "tokens per pass", "by the formula"], rows,
      "Greedy text of 16 prompts, 60 tokens each; all texts are the same as without guesses")

# %% [markdown]
# The formula takes the first row's share as $\alpha$, and assumes that every guess has this chance behind right ones. In our run it comes close, but two guesses do better than it says. The line above the table begins passes at places that we chose, not where a run's passes begin. There the first guess is right more often, and the chance falls from guess to guess. (A guess behind a refused one counts as refused.)
#
# ### Does it pay?
#
# A pass with $K$ guesses works on $K + 1$ tokens per text, and the guesses cost $K$ steps of the module. So the gain is
#
# $$ \frac{\text{tokens per pass} \times \text{time of a plain step}}{\text{time of a pass with guesses} + K \times \text{time of the module}}. $$
#
# We measure both ways on this machine, with one guess; times vary by some per cent. We also recorded the larger model on a GPU twice. First, Python started the kernels of each pass with guesses, because it had to know how many guesses were kept. We then rewrote the pass over tensors of fixed shape, where this number stays on the GPU. So the second record replays the pass from a graph.

# %% tags=["hide-input"]
# tolerance: 100%
gains, rows = {}, []
for batch in (1, 8, 64):
    padded, padded_mask = left_padded(prompts[:batch], tokenizer)
    same = {"temperature": 0.0, "attention_mask": padded_mask}
    ways = (partial(decode, writer, padded, 30, **same),
            partial(speculate, writer, padded, 30, 1, **same))  # fmt: skip
    turns = [[seconds(way, 1) for way in ways] for _ in range(2)]
    best = [min(pair) for pair in zip(*turns, strict=True)]
    gains[batch] = best[0] / best[1]
    times = [f"{1e3 * t / 30:.2f} ms" for t in best]
    rows.append([batch, *times, f"{gains[batch]:.2f}"])
table(["texts", "plain, per token", "guessing, per token", "gain (below 1: slower)"], rows,
      "One guess per pass, on this machine")

# %% tags=["hide-input"]
def speed_gain(case, depth):
    """How many times as fast as plain decoding in the same record."""
    of = case["contestants"]
    return of["ours"]["median"] / of[f"ours, depth {depth}"]["median"]


def in_the_spread(case, depth):
    """A mark where the middle halves of both ways' times overlap."""
    of = case["contestants"]
    fast, slow = of[f"ours, depth {depth}"]["quartiles"], of["ours"]["quartiles"]
    return "" if fast[1] < slow[0] else " (in the spread)"


rows = [[batch, depth, f"{of['accepted']:.2f}", f"{of['tokens_a_step']:.2f}",
         f"{sum(case['depths']['1']['accepted'] ** k for k in range(int(depth) + 1)):.2f}",
         f"{speed_gain(guessed[batch], depth):.2f}",
         f"{speed_gain(case, depth):.2f}{in_the_spread(case, depth)}",
         f"{of['same_rows']} of {of['rows']}"]
        for batch, case in replayed.items()
        for depth, of in case["depths"].items()]  # fmt: skip
pass_ms, lone = {}, replayed[1]["contestants"]
for name, of in (("from Python", guessed[1]), ("replayed", replayed[1])):
    took = 1e3 * of["contestants"]["ours, depth 1"]["median"] / 64
    pass_ms[name] = took * of["depths"]["1"]["tokens_a_step"]
    print(f"one text, one guess, {name}: {pass_ms[name]:.1f} ms per pass")
plain_ms = 1e3 * lone["ours"]["median"] / 64
print(f"replayed, a pass takes as long as {pass_ms['replayed'] / plain_ms:.2f} plain steps; "
      f"the formula has {1 + 1 / 6:.2f}")
for batch in (16, 128):
    was, now = (of[batch]["contestants"]["ours"]["median"] for of in (guessed, replayed))
    print(f"plain, {batch} texts: {100 * (now / was - 1):.0f} % slower in the second record")
table(["texts", "guesses", "share kept", "tokens per pass", "by the formula",
       "gain, from Python", "gain, replayed", "same texts"], rows,
      f"Recorded on {device}, greedy, bfloat16; all but one column: the second record")

# %% [markdown]
# In the column "gain, from Python", Python starts the passes with guesses, but the plain run beside it is replayed. Such text came **ten times more slowly**, although with one guess a pass gives 1.8 tokens. Replayed, one text gains 9 % with one guess and 14 % with two. Larger batches gain nothing beyond the spread. There two recordings of the same plain run differ by 12 to 16 %, more than these gains. A third guess added nothing on one text. Nearly all texts are the same as without guesses; the next section says why some may not be.
#
# Is this what the formula predicts from the recorded times of plain steps? We assume that a pass with one guess takes as long as a step for twice as many texts, and the module, one block beside six, a sixth of a step.

# %% tags=["figure", "hide-input"]
def step_time(texts):
    """The time of a step in ms, on a straight line between recorded batches."""
    return np.interp(texts, sorted(step_ms), [step_ms[batch] for batch in sorted(step_ms)])


def predicted_gain(texts, per_pass):
    return per_pass * step_time(texts) / (step_time(2 * texts) + step_time(texts) / 6)


rate = replayed[128]["depths"]["1"]["tokens_a_step"]
predicted = {texts: predicted_gain(texts, rate) for texts in (1, 4, 16, 64, 256, 1024)}
on_gpu = {batch: speed_gain(case, "1") for batch, case in replayed.items()}
fig, ax = plt.subplots(figsize=(6.4, 3.2))
lines = {"GPU, predicted": predicted, "GPU, recorded": on_gpu, "this run": gains}
for name, of in lines.items():
    (line,) = ax.plot(list(of), list(of.values()), "o-")
    first, last = list(of.items())[0], list(of.items())[-1]
    named, bare = (first, last) if name == "this run" else (last, first)
    look = {"textcoords": "offset points", "color": line.get_color(), "fontsize": 9}
    _ = ax.annotate(f"{named[1]:.2f} {name}", named, (9, 7), annotation_clip=False, **look)
    _ = ax.annotate(f"{bare[1]:.2f}", bare, (16, 5), ha="center", **look)
_ = ax.axhline(1, color="gray", lw=1, ls="--")
_ = ax.set(xscale="log", xlabel="texts in the batch", ylabel="gain by one guess")
_ = ax.set_xticks(list(predicted), list(map(str, predicted)))
ax.minorticks_off()
ax.margins(y=0.2)
said, saw = (", ".join(f"{gain:.2f} for {batch}" for batch, gain in of.items())
             for of in (predicted, on_gpu))  # fmt: skip
show(fig, "Above the dashed line guesses pay. For "
     f"one text the formula promises {predicted[1]:.2f} on the GPU, and the record has "
     f"{on_gpu[1]:.2f}.",
     "Three lines over the texts in the batch, and a dashed one at 1: the gain on this "
     f"machine; the one predicted for the GPU, {said}; and the recorded one, {saw}.")

# %% [markdown]
# The prediction is too good, because a pass with one guess takes 1.66 plain steps and not 1.17. (Straight lines between recorded batches make its bump at 64 texts.) Besides the module, each guess needs its own pass through the output matrix and its own choice of a token, and the verdict takes a dozen small operations. Each starts kernels, which is probably what a guess costs for one text, but we have not profiled it.
#
# ## The sampler against the trainer
#
# Everything so far wrote the same *tokens*. Their *log-probabilities* agreed only up to rounding, because a sum of floating-point numbers depends on the order of adding. A library multiplies one row and 4,000 rows by different programs, which add in different orders. In reinforcement learning, the ratio of a token's new probability to that at sampling should be 1 before the first update ([chapter 12](12_grpo.ipynb)). It is not quite 1 if the sampler, with few rows, and the trainer, with many, differ in this.
#
# The remedy is one order everywhere, as Thinking Machines showed {cite}`he2025nondeterminism`. Every product is cut into blocks of one fixed shape. A natural bug leaves the last block short, so that it goes to another program. The package's policy has a switch, `exact`, that does this to all products and lets attention always run over the same padded length.

# %%
# tolerance: 1e-4
print("(0.1 + 0.2) + 0.3 ==  0.1 + (0.2 + 0.3):", (0.1 + 0.2) + 0.3 == 0.1 + (0.2 + 0.3))
g = torch.Generator().manual_seed(0)
x, weight = torch.randn(4001, 256, generator=g), torch.randn(256, 64, generator=g)
lone_row = x[:1] @ weight - (x @ weight)[:1]
print(f"one row alone and among 4,001, largest difference: {lone_row.abs().max():.0e}")


def in_blocks(x, weight):
    """x @ weight, eight rows at a time; the last block is filled up with zeros."""
    filled = torch.nn.functional.pad(x, (0, 0, 0, -len(x) % 8))
    return torch.cat([block @ weight for block in filled.split(8)])[: len(x)]


def leaves_the_last_block_short(x, weight):
    return torch.cat([block @ weight for block in x.split(8)])


def a_row_does_not_feel_the_others(product) -> None:
    whole = product(x, weight)
    for rows in (1, 4, 100):
        assert torch.equal(product(x[:rows], weight), whole[:rows])


bites(a_row_does_not_feel_the_others, in_blocks, leaves_the_last_block_short)

# %% tags=["hide-input"]
# tolerance: 1e-3 + 200%
trained_on = [nano().make_task("train")[i].prompt for i in range(8)]


def against_the_trainer(length, kind=torch.float32):
    """32 sampled replies: differences of log-probabilities, largest and mean; the seconds."""
    twin = MiniPolicy(copy.deepcopy(model).to(kind), tokenizer, None, exact=length)
    began = clock()
    drawn = twin.sample(trained_on, 4, 160, generator=torch.Generator().manual_seed(0))
    gaps = (twin.logprobs(drawn) - drawn.logp).abs()[drawn.mask.bool()]
    return gaps.max().item(), gaps.mean().item(), f"{clock() - began:.2f} s"


_ = against_the_trainer(None)  # warms up
ways = {"float32, as the library adds": (None,), "float32, one order for all": (224,),
        "bfloat16, as the library adds": (None, torch.bfloat16)}  # fmt: skip
compared = {name: against_the_trainer(*way) for name, way in ways.items()}
(plain_gap, plain_mean, _), (exact_gap, _, _), (_, coarse_mean, _) = compared.values()
assert 0 < plain_gap < 1e-3 and exact_gap == 0 and coarse_mean > 1000 * plain_mean
for kind in (torch.float32, torch.bfloat16):
    few, many, by = x[:1].to(kind), x.to(kind), weight.to(kind)
    took = [1e6 * seconds(lambda x=x, by=by: x @ by, 20) for x in (few, many)]
    print(f"{str(kind)[6:]:9} a product of one row: {took[0]:.0f} us,",
          f"of 4,001: {took[1]:.0f} us")
table(["mode", "mean difference", "largest", "sampling and training pass"],
      [[name, f"{mean:.1g}", f"{gap:.1g}", took] for name, (gap, mean, took)
       in compared.items()], "32 replies: bit for bit equal, at a price")  # fmt: skip

# %% [markdown]
# In float32 the mean difference is tiny. In bfloat16, in which we sample on a GPU, it is about 20,000 times as large. (On our core, small products take longer in it.) This is the likely reason why some recorded greedy texts differed with guesses: where two tokens are nearly equally likely, a pass for two tokens and a pass for one can round differently and choose different tokens.
#
# **The router** ([chapter 03](03_mixture_of_experts.ipynb)) can make such a difference larger, because another expert then computes what follows. `nano-zero` sends each token to the best 2 of 4 experts, so a token changes an expert only where the second and the third score are nearly equal. We compute the same texts in float32 and in bfloat16, and ask which tokens changed an expert in any layer. They are rare, but their log-probabilities differ by many times as much:

# %% tags=["hide-input"]
# tolerance: 90%
with torch.no_grad():
    texts, texts_mask = plain.ids, torch.cat((mask, plain.mask), 1)
    rounded = copy.deepcopy(model).bfloat16()
    high, low = (m(texts, attention_mask=texts_mask, mtp=False) for m in (model, rounded))
flipped = torch.zeros_like(texts_mask)
for a, b in zip(high.routing, low.routing, strict=True):
    flipped |= (a.indices.sort(-1).values != b.indices.sort(-1).values).any(-1)
followed = (texts_mask & texts_mask.roll(-1, 1))[:, :-1]  # a token, and one after it
gaps = [out.logits.float().log_softmax(-1)[:, :-1].gather(-1, texts[:, 1:, None])[..., 0]
        for out in (high, low)]  # fmt: skip
gap, flipped = (gaps[0] - gaps[1]).abs(), flipped[:, :-1]
moved, stayed = (gap[followed & which] for which in (flipped, ~flipped))
assert moved.mean() > 2 * stayed.mean()
share = 100 * len(moved) / int(followed.sum())
print(f"{share:.2f} % of {int(followed.sum()):,} tokens meet another expert")
table(["tokens", "mean difference"],
      [["the same experts", f"{stayed.mean():.4f}"],
       ["another expert", f"{moved.mean():.4f}"]],
      "Difference of log-probabilities between float32 and bfloat16")

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
# **Our own guesses gain little on a GPU.** First they made the text ten times slower, because Python started the kernels of their passes. For the whole pass in a graph we predicted a gain of about a half. The record has 9 %, and 14 % with two guesses.
#
# **Exactness has a price.** With products in blocks of one shape, sampling and training pass took about three times as long.
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
# ```{exercise} A scheduler without steps
# :label: ex-18-steps
#
# *10 minutes.* `steps_refilled` counts step by step. Write `steps(lengths, rows)` that returns the same number with one turn per reply; test it with `check("inference.steps", my_steps)`.
#
# **Hint.** For each row, keep the step at which it will be free. Which row takes the next reply?
# ```
#
# ```{solution-start} ex-18-steps
# :class: dropdown
# ```

# %%
def steps_solution(lengths, rows):
    free = [0] * rows
    for length in lengths:
        free[free.index(min(free))] += length
    return max(free)


assert steps_solution(lengths, 32) == steps_refilled(lengths, 32)
check("inference.steps", steps_solution)

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
# Writing is slow because each token needs a pass of its own, and most of a small pass is starting operations. Reading shares these starts among all tokens of a text. First one remedy at a time:

# %% tags=["hide-input"]
# tolerance: 100%
together_s, read_s, slow_s = 64 / per_step[64], text.numel() / reading, 100 / slow
read_one_s = text.shape[1] / reading_one
graph_gain = {batch: case["contestants"]["ours"]["tokens_s"]
              / case["contestants"][case["best_rival"]]["tokens_s"]
              for batch, case in sampled.items()}  # fmt: skip
alike, of_all = (sum(case["depths"]["1"][what] for case in replayed.values())
                 for what in ("same_rows", "rows"))  # fmt: skip
print(f"one text: written slowly {slow_s:,.0f} tok/s; read {read_one_s:,.0f} tok/s, "
      f"{read_one_s / slow_s:.0f}x faster")
print(f"16 texts are read at {read_s:,.0f} tok/s, {read_s / slow_s:.0f}x faster")
print(f"won back for one text, by the cache: {100 / cached:,.0f} tok/s, "
      f"{slow / cached:.1f}x faster")
print(f"won back for 64 texts together: {together_s:,.0f} tok/s, "
      f"{together_s / slow_s:.0f}x faster")
table(["remedy", "gain", "evidence of the same tokens"],
      [["a cache", f"{slow / cached:.1f}x faster, this core", "asserted: greedy, float64"],
       ["64 texts in a batch", f"{together_s * per_step[1]:.1f}x faster, this core",
        "asserted: greedy and drawn, float64"],
       ["a graph and our package, against transformers",
        f"{graph_gain[1]:.0f} times for one text, {graph_gain[2048]:.0f} times for 2,048; GPU",
        "asserted on the CPU: fixed shapes, a replay; float64"],
       ["a graph and a rewritten pass, one guess",
        f"{pass_ms['from Python'] / pass_ms['replayed']:.0f} times; GPU",
        f"recorded: {alike} of {of_all} greedy texts, bfloat16"],
       ["8 rows refilled", f"{waiting_took / refilled_took:.1f}x faster, this core",
        "asserted: greedy and drawn, float64"],
       ["one guess, one text", f"{gains[1]:.2f} times, this core, eight layers",
        "asserted: greedy, float64; drawn: proved, checked with fractions"]],
      "What each remedy gained")  # fmt: skip

# %% [markdown]
# Do they work together? The model with eight layers can guess, so it now continues the 64 prompts greedily with the cache, the guesses, fixed shapes (as for a graph) and the batch at once. (The package does not refill rows that guess.)

# %% tags=["hide-input"]
# tolerance: 100%
begin, steps_each = ids.shape[1], 60
own = {"temperature": 0.0, "attention_mask": mask}
all_at_once = speculate(careful, ids, steps_each, 1, **own)
for k, prompt in enumerate(singles):
    alone_ids = torch.cat((prompt[0], all_at_once.ids[k, begin:]))[None]
    with torch.no_grad():
        says = careful(alone_ids, mtp=False).logits[0, -steps_each - 1 : -1].argmax(-1)
    assert torch.equal(says, all_at_once.ids[k, begin:])
ways = {"the slow decoder": (1, partial(write_slowly, careful, one, steps_each)),
        "and a cache": (1, partial(write, careful, one, steps_each)),
        "and one guess per pass": (1, partial(speculate, careful, one, steps_each, 1,
                                              temperature=0.0)),
        "and 64 texts": (64, partial(speculate, careful, ids, steps_each, 1, **own)),
        "64 texts and a cache, no guesses": (64, partial(decode, careful, ids, steps_each,
                                                         **own))}  # fmt: skip
speeds = {name: texts * steps_each / seconds(way, 1) for name, (texts, way) in ways.items()}
base = speeds["the slow decoder"]
table(["remedies", "tokens per second", "gain"],
      [[name, f"{speed:,.0f} tok/s", f"{speed / base:.1f}x faster"]
       for name, speed in speeds.items()],
      "The eight-layer writer in float64, 60 tokens, one core; all texts are those of the "
      "slow decoder")  # fmt: skip

# %% [markdown]
# For one text we win back little of a factor of about a hundred: the cache makes it less than twice as fast, and in the eight-layer model guesses add about a quarter. For 64 texts together we win back several tens, and guesses do not reliably add to that. In float64 no greedy token changed, whatever we combined. Drawn tokens stayed the same too, except that with guesses they only keep their distribution. In bfloat16, one text of 16 and one of 128 changed with guesses.
#
# ## Receipt

# %% tags=["receipt"]
receipt(differences={
    "slow decoder and package": (difference, 1e-6),
    "growing and fixed shapes": (graph_difference, 1e-12),
    "with and without refilling": (refill_difference, 1e-6),
    "exact sampler and trainer": (exact_gap, 0),
})

# %% [markdown]
# ## Summary
#
# A small model spends a pass on starting operations, so at 120 tokens a cache gains little. A large model spends it on fetching weights. A graph removes most of the cost of starting, a batch shares the pass among texts, refilling keeps its rows at work, and guesses share the pass among tokens of one text. In float64 greedy text stayed the same. So did drawn text without guesses, because its noise depends only on the address.
#
# - I can now say where the time of a token goes, in starts and in bytes.
# - I can now write a scheduler that refills rows, and compute what it saves from lengths alone.
# - I can now prove that checked guesses do not change the distribution of a text, and say how little they gained on a GPU.
# - I can now say why a sampler and a trainer disagree in the last digits.
#
# ## Read on
#
# - Leviathan and others {cite}`leviathan2022speculative` and Chen and others {cite}`chen2023speculative`: the rule of acceptance, found twice in the same months.
# - Orca {cite}`yu2022orca` on batching by steps; PagedAttention {cite}`kwon2023pagedattention`, the cache of vLLM; Sarathi-Serve {cite}`agrawal2024sarathi` on chunked prefill and latency.
# - Thinking Machines {cite}`he2025nondeterminism` on one order of adding.
# - The code: `minidsk/infer/engine.py`, `refill.py`, `noise.py`, `speculative.py`, and `minidsk/model/exact.py`.
# - [Chapter 22](22_capstone.ipynb) spends most of its time on writing, in large batches.
