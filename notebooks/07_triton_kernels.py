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
# # Triton kernels
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/07_triton_kernels.ipynb)
#
# A softmax over 134 million numbers takes about 700 million operations, and the matrix units of an H100 do as many in less than a microsecond. Yet no softmax on that chip will ever take a microsecond: the best take *hundreds* of times as long, and PyTorch's own is slower still. What is the chip waiting for? And how do you know, before you write a kernel, how fast it can become?
#
# - **You will build** a softmax that touches each number once, RMSNorm with its gradient, and a loss that never holds its logits; a meter that counts a kernel's bytes without a GPU; and the tests that tell a right kernel from a lucky one.
# - **You need** PyTorch, and Triton: it comes with Colab and with `pip install triton` on Linux. **No GPU**: kernels run here in Triton's interpreter, and the speeds were recorded on an H100 by a command that you can run too.
# - **It takes** about 6 s to run on two CPU cores of a laptop, about twice that on Colab's two, and an hour and a half to read.

# %% tags=["hide-input"]
import importlib.util; _ = importlib.util.find_spec("minidsk") or get_ipython().run_line_magic("pip", "install -q 'minidsk[notebooks] @ git+https://github.com/minidsk/minidsk'")

# %%
import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels run in Python, one program after the other

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch.nn.functional as F
import triton
import triton.language as tl

from minidsk import results
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.kernels.launch import INTERPRETED

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
_ = np.seterr(invalid="ignore", over="ignore")  # the interpreter computes with numpy, also in lanes that are masked

# %% [markdown]
# ## A chip in two pages
#
# Think of a town of 132 workshops around one big warehouse. Each **multiprocessor** (a workshop) has a bench, its registers and its shared memory, where everything lies within reach. The **memory** (the warehouse) holds all tensors. Between them run the trucks. From the datasheet and the white paper of the H100 {cite}`nvidia2022h100`:

# %%
multiprocessors, clock = 132, 1.83e9
bench_bytes = 256 * 1024 + 228 * 1024  # registers and shared memory of one multiprocessor
memory_bytes_s, matrix_flop_s = 3.35e12, 989e12
print(f"on the benches: {multiprocessors * bench_bytes / 1e6:.0f} MB; in the warehouse: 80 GB")
print(f"each tick, each workshop: {memory_bytes_s / multiprocessors / clock:.0f} bytes arrive, "
      f"{matrix_flop_s / multiprocessors / clock:,.0f} operations can be done")

# %% [markdown]
# Seven bf16 numbers arrive in the time of four thousand operations. A workshop that does little with each number waits for trucks, and there is no way around it but one: **let each number make the trip once.**
#
# Two more things to know.
#
# **Who works.** A kernel is a *program* that is run many times at once, each time with another number, `program_id`. A workshop takes several programs at a time. Inside a program work 32 threads in lockstep, a *warp*, and then a few warps. In Triton {cite}`tillet2019triton` you say what one program does with a whole *block* of numbers; how the warps share the block is the compiler's business.
#
# **Why so many.** A truck takes its time, about half a microsecond from the order to the delivery. To keep the road full, orders for as many bytes as fit on it must be under way:

# %%
latency = 0.5e-6
under_way = memory_bytes_s * latency
print(f"bytes under way on a full road: {under_way / 1e6:.1f} MB, {under_way / multiprocessors / 1024:.0f} KB a workshop")

# %% [markdown]
# A program that asks for one row of 4,096 bf16 numbers (8 KB) and waits is too little for a workshop; two or more such programs side by side will do. Remember this when we choose block sizes.

# %% [markdown]
# Now guess. A softmax does about 5 operations on each number (compare, subtract, exponential, add, divide); let the matrix units' rate stand for what the chip can do at best. Replace `None` by a number; the tally stays on your machine.

# %% tags=["prediction"]
guess = None
wait = predict("kernels.wait", "On an H100, how many times as long as its operations does the best softmax take?", guess,
               example=20)
wait

# %% [markdown]
# ## The pain first: five trips
#
# Here is a row that we will keep for the whole chapter, and its softmax, step by step. Subtracting the largest first keeps the exponentials from overflowing.

# %%
row = torch.tensor([2.0, 0.0, 3.0, 1.0])
shifted = row - row.max()
print("shifted     ", shifted.tolist())
print("exponentials", [round(v, 4) for v in shifted.exp().tolist()])
print("their sum   ", round(shifted.exp().sum().item(), 3))
print("softmax     ", [round(v, 3) for v in row.softmax(0).tolist()])

# %% [markdown]
# Remember **1.553**, the sum. As PyTorch, that is five operations, and each is a kernel of its own:

# %% tags=["naive"]
def five_operations(x: torch.Tensor) -> torch.Tensor:
    """Softmax over the last dimension; x: [rows, columns]."""
    largest = x.max(-1, keepdim=True).values
    shifted = x - largest
    e = shifted.exp()
    total = e.sum(-1, keepdim=True)
    return e / total


# %% [markdown]
# Every arrow to and from the warehouse costs a trip. For an array of N numbers:

# %%
trips = {"max": (1, 0), "subtract": (1, 1), "exp": (1, 1), "sum": (1, 0), "divide": (1, 1)}  # N read, N written
for name, (read, written) in trips.items():
    print(f"{name:9} reads {read} N, writes {written} N")
naive_trips = sum(read + written for read, written in trips.values())
print(f"in all {naive_trips} N; with each number read once and written once it would be 2 N")

# %% [markdown]
# ## A kernel that reads once
#
# One program does one row. It loads the row into registers, and everything else happens there.

# %%
@triton.jit
def softmax_kernel(x, y, columns, WIDTH: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, WIDTH)
    inside = column < columns
    value = tl.load(x + row * columns + column, mask=inside, other=-float("inf")).to(tl.float32)
    value = tl.exp(value - tl.max(value, 0))
    value = value / tl.sum(value, 0)
    tl.store(y + row * columns + column, value.to(y.dtype.element_ty), mask=inside)


# %% [markdown]
# Line by line. `x` is the address of the first number, so `x + row * columns + column` are `WIDTH` addresses, one for each lane. A block's size must be a power of two; rows seldom are, so the lanes beyond the row are masked: they load minus infinity, whose exponential is 0, and store nothing. The *launch* says how many programs there are:

# %%
def fused(x: torch.Tensor) -> torch.Tensor:
    """Softmax over the last dimension, one program a row; x: [rows, columns], contiguous."""
    y = torch.empty_like(x)
    rows, columns = x.shape
    softmax_kernel[(rows,)](x, y, columns, WIDTH=triton.next_power_of_2(columns))
    return y


print([round(v, 3) for v in fused(row[None].to(device))[0].tolist()])

# %% [markdown]
# ## The same, from the package
#
# The package's version does the same, and also several short rows at once, rows too long for the registers, strides, and the gradient.

# %% tags=["agree"]
from minidsk.kernels.softmax import softmax

x = torch.randn(6, 100, generator=torch.Generator().manual_seed(0)).to(device)
differences = {"five operations and kernel": (five_operations(x) - fused(x)).abs().max().item(),
               "kernel and package": (fused(x) - softmax(x)).abs().max().item()}
assert max(differences.values()) < 1e-6
print("largest difference: below 1e-6")

# %% [markdown]
# ## Counting bytes without a GPU
#
# Speed needs a GPU; *bytes* do not. The interpreter sees every load and every store, so the package has a meter for it:

# %%
from minidsk.kernels.traffic import traffic

if INTERPRETED:
    with traffic() as moved:
        _ = fused(x)
    print(f"{x.numel()} numbers of 4 bytes: {moved.read} bytes read, {moved.written} written")
    assert moved.bytes == 2 * x.numel() * x.element_size()

# %% [markdown]
# 2 N, and not a byte more: masked lanes move nothing. Four times fewer bytes than the five operations. If bytes are what the chip waits for, this kernel should be four times as fast. We will see.

# %% [markdown]
# ## How to test a kernel
#
# Before speed comes right or wrong, and kernels are wrong in their own ways. Here is one without a mask:

# %%
@triton.jit
def unmasked_kernel(x, y, columns, WIDTH: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, WIDTH)
    value = tl.load(x + row * columns + column).to(tl.float32)
    value = tl.exp(value - tl.max(value, 0))
    tl.store(y + row * columns + column, value / tl.sum(value, 0))


def right(size: int, kernel, make=torch.randn, poison=0.0) -> bool:
    """Whether a kernel agrees with float64 on five rows of `size` numbers; the memory around them holds `poison`."""
    room = torch.full((5 * size + 64,), poison, device=device)  # so that the bug does not crash the notebook
    x, y = room.clone(), room.clone()
    x[: 5 * size] = make(5 * size).to(device)
    kernel[(5,)](x, y, size, WIDTH=triton.next_power_of_2(size))
    exact = x[: 5 * size].view(5, size).double().softmax(-1)
    return bool(torch.allclose(y[: 5 * size].view(5, size).double(), exact, atol=1e-6))


# %%
print("64 columns, random numbers:", right(64, unmasked_kernel))
print("50 columns, random numbers:", right(50, unmasked_kernel))
print("50 columns, with the mask: ", right(50, softmax_kernel))

# %% [markdown]
# A test at 64 would have passed it. The other classics: a row that is never written, and a sum that forgets the last block. On *zeros* a wrong kernel has an easy life:

# %%
@triton.jit
def lazy_kernel(x, y, columns, WIDTH: tl.constexpr):  # writes only the first half of each row
    row = tl.program_id(0)
    column = tl.arange(0, WIDTH)
    value = tl.load(x + row * columns + column, mask=column < columns, other=-float("inf"))
    value = tl.exp(value - tl.max(value, 0))
    tl.store(y + row * columns + column, value / tl.sum(value, 0), mask=column < columns // 2)


ran_before = torch.full((5 * 50 + 64,), 1 / 50, device=device)  # the memory still holds the right answer for zeros
lazy_kernel[(5,)](torch.zeros_like(ran_before), ran_before, 50, WIDTH=64)
print("on zeros, into used memory:", bool(torch.allclose(ran_before[:250], torch.tensor(1 / 50, device=device))))
print("random numbers, poisoned:  ", right(50, lazy_kernel, poison=float("nan")))

# %% [markdown]
# Hence the four habits of `tests/kernels`:
#
# 1. **Fresh random inputs** in every run, never zeros, never the same twice.
# 2. **A float64 reference**, and the error as a ratio: below 1e-5 for float32, 2e-3 for fp16, 1e-2 for bf16.
# 3. **Poison**: outputs are filled with nan before the kernel runs. What it forgets to write, shows.
# 4. **Odd sizes and strides**: 1, 5, 50, 4,097; every second column; a transposed array; an expanded one.
#
# And a fifth: break the kernel on purpose, and see a test fail.

# %% [markdown]
# ## The roofline
#
# A kernel moves bytes and does operations, both at once. Neither can go faster than the chip allows, so the time is at least the longer of the two {cite}`williams2009roofline`:
#
# $$ t \ge \max\left(\frac{\text{bytes}}{\text{bandwidth}},\ \frac{\text{operations}}{\text{rate}}\right). $$
#
# Bandwidth and rate are best measured, not read off a datasheet. Yours, now, on whatever this notebook runs on:

# %% tags=["timing"]
def seconds(run, times=5):
    """The median time of a call."""
    taken = []
    for _ in range(times + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return sorted(taken[1:])[times // 2]


big = torch.randn(2**24, device=device)
square = torch.randn(1024, 1024, device=device)
copy = big.clone()
here = (2 * 4 * big.numel() / seconds(lambda: copy.copy_(big)), 2 * 1024**3 / seconds(lambda: square @ square))
print(f"this machine copies at {here[0] / 1e9:.0f} GB/s and multiplies float32 matrices at {here[1] / 1e9:.0f} GFLOP/s")

# %% [markdown]
# The ratio of the two is the **ridge**: a kernel with fewer operations a byte waits for the memory, one with more waits for the arithmetic. The H100 of our record, measured by `minidsk bench kernels`:

# %%
facts, bench = results.facts("bench_kernels"), results.read("bench_kernels")
roof = bench["ceilings"]
ridge = roof["matmul_tflop_s"] * 1e12 / (roof["copy_gb_s"] * 1e9)
print(f"{roof['device']}, torch {facts['versions']['torch']}, triton {facts['versions']['triton']}")
print(f"copies at {roof['copy_gb_s']:,.0f} GB/s, multiplies bf16 matrices at {roof['matmul_tflop_s']:.0f} TFLOP/s")
print(f"ridge: {ridge:.0f} operations a byte")

# %% [markdown]
# Where do our kernels stand? The dots are measured, the rings are what the roof allows. Pick a kernel; or move the slider and watch a product of two matrices walk up the slope: at which side does it stop waiting for the memory?

# %% tags=["widget"]
from minidsk.widgets import Roofline

points = {}
for case in (c for c in bench["cases"] if c["flops"]):
    measured = case["contestants"]["ours"]["median"]
    points.setdefault(case["case"], {"bytes": case["bytes"], "flops": case["flops"], "seconds": measured})
devices = {roof["device"]: (roof["copy_gb_s"], roof["matmul_tflop_s"]), "a laptop of 50 GB/s and 1 TFLOP/s": (50, 1)}
Roofline(devices, points, title="Under the roof")

# %% [markdown]
# Softmax stands far left: with 5 operations on 4 bytes, it is the memory's, whatever we do. That is the answer to the first half of the puzzle, and with it comes the second: **a softmax can be as fast as a copy, and no faster.**

# %%
case = next(c for c in bench["cases"] if c["case"] == "softmax, forward")
arithmetic = case["flops"] / roof["matmul_tflop_s"] / 1e12
print(f"arithmetic {1e6 * arithmetic:.2f} µs, a copy of the array {1e6 * case['bytes'] / roof['copy_gb_s'] / 1e9:.0f} µs")
wait.reveal(round(case["contestants"]["ours"]["median"] / arithmetic))

# %% [markdown]
# ## A row that does not fit
#
# A row of 4,096 numbers fits into the registers of one program. A row of 131,072, the logits of one token in a large vocabulary, does not. Must it be read three times, for the maximum, for the sum, and to write? Take our row in two blocks of two. After the first block:

# %%
first, second = row[:2], row[2:]
top, total = first.max(), (first - first.max()).exp().sum()
print(f"[2, 0]: maximum {top:.0f}, sum {total:.3f}")

# %% [markdown]
# Then comes a 3. Everything added so far was measured from the old maximum 2; measured from 3 it is smaller by $e^{2-3}$. Rescale, and go on:

# %%
higher = torch.maximum(top, second.max())
total = total * (top - higher).exp() + (second - higher).exp().sum()
print(f"then [3, 1]: maximum {higher:.0f}, sum {total:.3f}")

# %% [markdown]
# **1.553** again, in one reading {cite}`milakov2018online`. Maximum and sum together make a pair that can be merged in any order, which is what the package does for long rows: one reading for the pair, one to write. The second reading goes *backwards*: what was read last is still in the cache.

# %%
if INTERPRETED:
    long = torch.randn(1, 40_000)
    with traffic() as moved:
        _ = softmax(long)
    print(f"a row of 40,000: read {moved.read / long.nbytes:.0f} times, written {moved.written / long.nbytes:.0f} time")

# %% [markdown]
# ## RMSNorm, and a gradient that sums over rows
#
# RMSNorm {cite}`zhang2019rmsnorm` divides a row by its root mean square and multiplies by a weight. Our row:

# %%
r = 1 / row.square().mean().sqrt()
print(f"mean square {row.square().mean():.1f}, r = {r:.4f}, normalised {[round(v, 3) for v in (row * r).tolist()]}")

# %% [markdown]
# Forward it is softmax again: read, reduce, write. Backward is more interesting. With $n = x r$ and $g = w\, dy$,
#
# $$ dx = r \left(g - n \cdot \mathrm{mean}(g\, n)\right), \qquad dw = \sum_{\text{rows}} dy\, n. $$
#
# The first is a matter of one row: read `x` and `dy`, reduce, write `dx`. But `dw` sums over *all* rows, and programs cannot talk to each other. Three ways out: let all add to one array in memory (slow where thousands queue for the same address, and never the same sum twice); write all products and sum them later (a whole array more to move); or **few programs, each with many rows**, which keep their part of the sum in registers and write it once. The package does the last:

# %%
import inspect

from minidsk.kernels import rmsnorm

source = inspect.getsource(getattr(rmsnorm._backward, "fn", rmsnorm._backward)).splitlines()
print("\n".join(source[source.index(next(s for s in source if "for start" in s)):]))

# %%
from minidsk.kernels.rmsnorm import rms_norm, rms_norm_reference

g = torch.Generator().manual_seed(1)
x, weight, dy = (torch.randn(*shape, generator=g).to(device).requires_grad_() for shape in ((30, 50), (50,), (30, 50)))
ours = torch.autograd.grad(rms_norm(x, weight), (x, weight), dy)
wide = [t.detach().double().requires_grad_() for t in (x, weight)]
exact = torch.autograd.grad(rms_norm_reference(*wide), wide, dy.double())
differences["RMSNorm, dx and dw"] = max((a - b).abs().max().item() for a, b in zip(ours, exact, strict=True))
assert differences["RMSNorm, dx and dw"] < 1e-5
print("dx and dw against float64: below 1e-5")

# %% [markdown]
# How many bytes does the backward pass move? Three arrays, a factor for each row, and one row of `dw` for each program:

# %%
if INTERPRETED:
    y = rms_norm(x, weight)
    with traffic() as moved:
        _ = torch.autograd.grad(y, (x, weight), dy)
    print(f"x and dy {2 * x.nbytes}, dx {x.nbytes}, factors {30 * 4}: {3 * x.nbytes + 120} at least; counted {moved.bytes}")

# %% [markdown]
# ## The largest array of all
#
# The last layer of a language model turns each token's state into one logit for each word of the vocabulary. V3's has 129,280 words {cite}`deepseekv3`. For a batch of 32,768 tokens:

# %%
tokens, words, hidden = 32768, 129280, 7168
print(f"states of the batch: {2 * tokens * hidden / 1e9:.1f} GB in bf16")
print(f"its logits:          {2 * tokens * words / 1e9:.1f} GB in bf16, "
      f"{4 * tokens * words / 1e9:.1f} GB in float32, where the loss is taken")

# %% [markdown]
# And the gradient is as large again. Yet all that comes of it is one number, and two gradients no larger than states and weights. Look at one token, our row, and let the right word be number 0. The loss is $\log \sum e^{z} - z_0$, the gradient is the softmax minus one at the right word:

# %%
loss = row.logsumexp(0) - row[0]
gradient = row.softmax(0) - torch.tensor([1.0, 0, 0, 0])
print(f"loss {loss:.3f} = 3 + log 1.553 - 2")
print("gradient", [round(v, 3) for v in gradient.tolist()])

# %% [markdown]
# Both follow from the pair (maximum, sum). So one kernel can read a row of logits, and write the gradient *where the logits stood*. Nothing has to wait for the backward pass, and nothing has to be kept. Once the gradient is there, we can go on at once to what we really want, `dx` and `dW`, and forget the logits. Which means: a few thousand tokens at a time.

# %%
def chunked_loss(x, weight, targets, chunk):
    """Mean cross-entropy of x @ weight.T, with both gradients; holds the logits of `chunk` tokens."""
    loss, dx, dw = 0.0, torch.empty_like(x), torch.zeros_like(weight)
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        z = x[part] @ weight.T
        loss += F.cross_entropy(z, targets[part], reduction="sum").item()
        z = z.softmax(-1)  # from here on z is the gradient
        z[torch.arange(len(z)), targets[part]] -= 1
        dx[part] = z @ weight
        dw += z.T @ x[part]
    return loss / len(x), dx / len(x), dw / len(x)


# %%
from minidsk.kernels.cross_entropy import linear_cross_entropy

x, weight = (torch.randn(*shape, generator=g).double() for shape in ((20, 8), (300, 8)))
targets = torch.randint(300, (20,), generator=g)
slow = chunked_loss(x, weight, targets, 7)
leaves = [t.float().to(device).requires_grad_() for t in (x, weight)]
loss = linear_cross_entropy(*leaves, targets.to(device), chunk_bytes=7 * 300 * 4)
fast = (loss, *torch.autograd.grad(loss, leaves))
apart = [(torch.as_tensor(a) - b.cpu()).abs().max().item() for a, b in zip(slow, fast, strict=True)]
differences["cross-entropy and gradients"] = max(apart)
assert differences["cross-entropy and gradients"] < 1e-5
print("chunks of 7 tokens in the notebook, and the package's kernel: below 1e-5")

# %% [markdown]
# ## Attention is the same trick
#
# Attention is a softmax between two products. Written out, it holds one score for each pair of tokens; but the softmax can be kept online, and then no score has to leave the bench: a program holds a block of queries, walks over the keys, and keeps for each query the pair (maximum, sum) and the mixed values so far, rescaled whenever the maximum rises {cite}`dao2023flash2`. What MLA adds is an awkward shape: keys of 192 numbers, values of 128. A block's side must be a power of two; rather than to fill 192 up to 256, the package cuts it into 128 and 64, two products into one score.

# %%
from minidsk.kernels.attention import attention, attention_reference

q, k, v = (torch.randn(1, 2, 128, width, generator=g).to(device) for width in (48, 48, 32))
exact = attention_reference(q.double(), k.double(), v.double())
differences["attention"] = (attention(q, k, v) - exact).abs().max().item()
assert differences["attention"] < 1e-5
print("attention, keys of 48 (32 and 16), values of 32, causal, against float64: below 1e-5")

# %% [markdown]
# And the meter shows what causality saves: blocks of keys that no query of the block may see are never loaded.

# %%
if INTERPRETED:
    for causal in (False, True):
        with traffic() as moved:
            _ = attention(q, k, v, causal=causal)
        print(f"causal {causal!s:5}: {moved.read:,} bytes read")

# %% [markdown]
# ## Block sizes, and letting the machine choose
#
# How many rows should a program take, how many warps, how many loads ahead? The roofline does not say; these decide how close to it one comes. The honest way is to try. An autotuner is six lines:

# %%
def tune(run, choices):
    """Time run(choice) for each choice, and return the fastest."""
    times = {choice: seconds(lambda choice=choice: run(choice), 3) for choice in choices}
    for choice, taken in times.items():
        print(f"{choice:3} rows a program: {1e3 * taken:.1f} ms")
    return min(times, key=times.get)


# %% tags=["timing"]
from minidsk.kernels.softmax import _softmax_row

x = torch.randn(16, 64, device=device)
y = torch.empty_like(x)
best = tune(lambda rows: _softmax_row[(16 // rows,)](x, 64, y, 64, 16, 64, HEIGHT=rows, WIDTH=64), (1, 4, 16))
if INTERPRETED:
    print(f"the interpreter likes {best} best")

# %% [markdown]
# Of course it does: for an interpreter a program costs time, and a larger block does not. On a GPU one program for everything would leave 131 workshops idle. **A choice holds for the machine, and for the shapes, on which it was made.** `triton.autotune` does the same as our six lines, when a kernel first meets new shapes; our attention uses it. For softmax, RMSNorm and cross-entropy we tried a grid on the H100 once, by hand (`tools/experiments/ch07_blocks.py`), and wrote the choice into the package:

# %%
tried = {}
for trial in results.read("ch07_blocks")["trials"]:
    tried.setdefault(trial["kernel"], []).append(trial)
for kernel, of in tried.items():
    ran = sorted((t for t in of if "seconds" in t), key=lambda t: t["seconds"])
    print(f"{kernel:22} {len(ran):3} ran, {len(of) - len(ran)} could not; the worst takes "
          f"{ran[-1]['seconds'] / ran[0]['seconds']:.2f} times the best, {ran[0]['blocks']}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for ax, kernel in zip(axes, ("softmax", "attention, forward"), strict=True):
    of = sorted((t for t in tried[kernel] if "seconds" in t), key=lambda t: -t["seconds"])
    _ = ax.barh([" ".join(map(str, t["blocks"].values())) for t in of], [1e3 * t["seconds"] for t in of])
    _ = ax.set(xlabel="milliseconds", title=f"{kernel} ({', '.join(of[0]['blocks'])})")
    _ = ax.title.set_fontsize(9)
    _ = ax.tick_params(labelsize=7)
plt.show()
for kernel in ("softmax", "attention, forward"):
    ran = [1e3 * t["seconds"] for t in tried[kernel] if "seconds" in t]
    print(f"{kernel}: {min(ran):.3f} ms to {max(ran):.3f} ms")

# %% [markdown]
# ## On the H100
#
# Each kernel beside its rivals, in one run on one GPU, the contestants taking turns, medians over the rounds: the same in plain PyTorch (*eager*), through `torch.compile`, in Liger-Kernel {cite}`hsu2024liger`, a library of Triton kernels; for attention all backends of `scaled_dot_product_attention`. (The command also measures the kernels of the next two chapters.) For attention, *ours* is what the package takes on a Hopper, of which more below; *ours, in Triton alone* is the kernel of this chapter.

# %%
print(results.origin("bench_kernels"))
mine = [c for c in bench["cases"] if c["bench"] in ("softmax", "rmsnorm", "cross_entropy", "attention")]
floors = [max(c["bytes"] / roof["copy_gb_s"] / 1e9, c["flops"] / roof["matmul_tflop_s"] / 1e12) for c in mine]

# %%
def line(name, found, floor):
    """One contestant: milliseconds, the distance between its quartiles, share of the roof, memory."""
    if "failed" in found:
        return f"  {name:26} {found['failed'][:75]}"
    low, high = found["quartiles"]
    return (f"  {name:26} {1e3 * found['median']:8.3f}   {(high - low) / found['median']:5.1%}   "
            f"{floor / found['median']:4.0%}   {found['peak_bytes'] / 1e6:9,.0f}")


print(f"{'':28}  time/ms   spread  roof   memory/MB")
for case, floor in zip(mine, floors, strict=True):
    print(f"{case['case']}, {case['setting']}")
    print("\n".join(line(name, found, floor) for name, found in case["contestants"].items()))

# %% tags=["figure"]
fig, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for y, (case, floor) in enumerate(zip(mine, floors, strict=True)):
    for name, found in case["contestants"].items():
        if "median" in found:
            ours = name.startswith("ours")
            _ = ax.plot(100 * floor / found["median"], y, "D" if ours else "o", color="C1" if ours else "C0", ms=8 if ours else 5)
_ = ax.set_yticks(range(len(mine)), [f"{c['case']}\n{c['setting']}" for c in mine], fontsize=7)
_ = ax.invert_yaxis()
_ = ax.set(xlabel="% of the roof (orange: ours; blue: the rivals)", xlim=(0, 105))
_ = ax.grid(axis="x", alpha=0.3)
plt.show()
for case, floor in zip(mine, floors, strict=True):
    print(f"{case['case']:45} {case['setting'].split(',')[0]:24} ours {floor / case['contestants']['ours']['median']:4.0%}")

# %%
for case in mine:
    reached = "reached" if case["ratio"] >= case["target"] else "missed"
    print(f"{case['case']:45} best rival ({case['best_rival']}) / ours {case['ratio']:.3f}, wanted {case['target']:.1f}: {reached}")
    if case["against_copy"]:
        share = case["contestants"]["ours"]["gb_s"] / roof["copy_gb_s"]
        print(f"{'':45} of the copy's bandwidth {share:.2f}, wanted {case['against_copy']}: "
              f"{'reached' if share >= case['against_copy'] else 'missed'}")
    if case["case"] in ("RMSNorm, backward", "linear cross-entropy, forward and backward"):
        held = case["contestants"]["ours"]["peak_bytes"] / case["contestants"]["eager"]["peak_bytes"]
        print(f"{'':45} of eager's memory {held:.3f}, wanted 0.1: {'reached' if held < 0.1 else 'missed'}")

# %% [markdown]
# The column *spread* is the distance between the quartiles: where it is large, be careful (see below).
#
# - **Softmax and RMSNorm are as fast as a copy**, within a percent. Liger's kernels are as well; with one trip there is nothing left to win. `torch.compile`'s softmax takes 1.7 times as long. The five operations take six times as long, not four: each kernel of them also falls short of a copy.
# - **RMSNorm's backward pass** is ahead of `torch.compile` by an eighth, and of the others by more. It could not hold less memory: `dx` alone is a tenth of what eager holds.
# - **The head with its loss** is ahead of `torch.compile`, on a fifteenth of eager's memory. Four fifths of its time are what the products must take at full rate. Liger holds still less memory and pays for it: its chunks are small, and each adds once to the whole gradient of the head.
# - **The loss on logits that exist already** stands at a third of the roof, and Liger's is a tenth faster. The roof counts two trips, to read the logits and to write the gradient; the second reading is a third trip (see below), and autograd's slope, multiplied in at the end, makes five. (Liger looks first whether the slope is 1, for which Python must wait: its launch takes seven times as long as ours.) With the head in the same kernel the slope is multiplied into small arrays.
# - **Attention**: in Triton alone we are behind cuDNN, which takes MLA's shapes as they are; with roles for warps, ahead of it by a sixth. The backward pass, in Triton, takes 1.2 times as long as cuDNN's. The other two backends are far behind.

# %% [markdown]
# ## What DeepSeek did
#
# Chapters 08 and 09 are about the kernels for which DeepSeek-V3 {cite}`deepseekv3` is known: expert products, FP8, communication. Two decisions of the report belong here, and both are sums over a roofline.
#
# **RMSNorm is computed twice** (section 3.2.3). The output of each norm would have to be kept for the backward pass; V3 throws it away and computes it again. With $N$ numbers in a layer's activations, that frees $2N$ bytes and costs
#
# $$ t_{\text{again}} = \frac{2N + 2N \text{ bytes}}{\text{bandwidth}}, $$
#
# since a norm is as fast as a copy. The same for the products that unfold MLA's keys and values, which are short. Our record says what it would cost on one GPU, for the batch of 32,768 tokens and V3's 7,168 numbers a token:

# %%
numbers = 32768 * 7168
again = 4 * numbers / roof["copy_gb_s"] / 1e9
norm = next(c for c in bench["cases"] if c["case"] == "RMSNorm, forward")
reached = norm["contestants"]["ours"]["gb_s"] / roof["copy_gb_s"]
print(f"a norm: {2 * numbers / 1e6:.0f} MB less to keep, {1e3 * again / reached:.2f} ms more")
print(f"two norms in each of 61 layers: {122 * 2 * numbers / 1e9:.0f} GB less, "
      f"{1e3 * 122 * again / reached:.0f} ms more")

# %% [markdown]
# (V3's layers are spread over many GPUs; the ratio stays.)
#
# **Attention for MLA has its own library.** FlashMLA {cite}`flashmla2025` is what serves V3: for decoding, where the cache is read at 3,000 GB/s, nine tenths of an H800's 3,350, or, where there are many queries, 660 TFLOP/s are reached. It is CUDA C++ for one kind of chip, with the warps' roles written out by hand. Ours are for training, short, and stand where the table above says.

# %% [markdown]
# ## What went wrong, or did not help
#
# **We timed Python.** The table above is our second. The first (`results/bench_kernels_first`) measured the same kernels as the sweep of block sizes, on the same kind of chip, on the same day. Put side by side:

# %%
first = results.read("bench_kernels_first")
parts = {"softmax, forward": ["softmax"], "RMSNorm, forward": ["RMSNorm, forward"],
         "RMSNorm, backward": ["RMSNorm, backward"], "attention, forward": ["attention, forward"],
         "attention, backward": ["attention, dk and dv", "attention, dq"]}  # fmt: skip


def of_triton(table, name):
    """Our Triton kernel in a table of kernels."""
    found = next(c for c in table["cases"] if c["case"] == name)["contestants"]
    return found.get("ours, in Triton alone", found["ours"])


best_of = {kernel: min(t["seconds"] for t in of if "seconds" in t) for kernel, of in tried.items()}
alone = {name: sum(best_of[kernel] for kernel in kernels) for name, kernels in parts.items()}
print(f"{'':20} sweep/ms  first table/ms  spread  second/ms  spread  Python/ms")
for name in parts:
    was, now = of_triton(first, name), of_triton(bench, name)
    spread = [(f["quartiles"][1] - f["quartiles"][0]) / f["median"] for f in (was, now)]
    print(f"{name:20} {1e3 * alone[name]:8.3f} {1e3 * was['median']:15.3f} {spread[0]:7.1%} "
          f"{1e3 * now['median']:10.3f} {spread[1]:7.1%} {1e3 * now['host_seconds']:10.2f}")

# %% [markdown]
# In the first table two agree with the sweep to a percent, three do not, and the spread gives them away: a kernel that does the same work each time does not vary by a tenth. The last column says what went wrong. To launch a kernel takes Python its time, longer through autograd, descriptors and an autotuner. Timed between two marks in the GPU's queue this does not count *as long as the queue is never empty*, and to fill it the bench gave the GPU a third of a millisecond of other work before each call. The sweep called the kernels directly, on idle cores; the first table was made on three cores of a busy machine, and there a third of a millisecond was not enough. Now the bench first measures how long Python takes for a call, gives the GPU twice as much to do beforehand, and reports both.
#
# **A switch for roles.** On Hopper the fast way is to let some warps only load and others only multiply, and to take the exponentials of one block while the products of another run {cite}`shah2024flash3`. Triton has a switch for the first, `warp_specialize=True`. With the 8 warps that our attention wants, Triton 3.6 takes no notice of it: the compiled kernel is the same, instruction for instruction. With 4 warps its compiler stops with an internal error. (Both can be seen without a GPU: compiling needs none.) So the package says it by hand, in Gluon, the language below Triton, where it is the author and not the compiler who decides which warp does what, which registers it has and what it waits for (`attention_hopper.py`, forward alone). That works on one kind of chip; elsewhere the Triton kernel runs.
#
# **A gradient that all programs add to.** Seven products are more than five. `attention_backward` can also do it in five, with one kernel whose programs add up `dq` in memory: then `dk`, `dv` and `dq` want to be on the bench at the same time, blocks have to shrink, and every block of `dq` goes over the road once for each block of keys. It was not worth it:

# %%
pull = next(c for c in bench["cases"] if c["case"] == "attention, backward")["contestants"]
for name in ("ours", "ours, adding up dq", "sdpa cudnn"):
    print(name, pull[name].get("failed") or f"{1e3 * pull[name]['median']:.2f} ms")

# %% [markdown]
# **Softmax and products take turns.** Here is what one forward pass has to do, if each multiprocessor does 16 exponentials and 128 simple operations in a tick {cite}`nvidia2022h100`, and every score needs one of the first and about four of the second (scale and shift, maximum, sum, rounding):

# %%
scores = 16 * 8192**2 / 2
ticks = multiprocessors * clock
times = {"products": 2 * scores * (192 + 128) / roof["matmul_tflop_s"] / 1e12, "exponentials": scores / 16 / ticks,
         "the rest of softmax": 4 * scores / 128 / ticks}
for name, taken in times.items():
    print(f"{name:20} {1e6 * taken:4.0f} µs")
print(f"{'one after the other':20} {1e6 * sum(times.values()):4.0f} µs")
pull = next(c for c in bench["cases"] if c["case"] == "attention, forward")["contestants"]
for name in ("ours, in Triton alone", "ours", "sdpa cudnn"):
    print(f"{name:22} {1e6 * pull[name]['median']:4.0f} µs")

# %% [markdown]
# The sum is most of what the Triton kernel takes: each warp multiplies, then waits for its own softmax. Overlapped, the products' time alone would be left at best, and the kernel with roles comes nearer to it, as does cuDNN's.
#
# **More programs than rows in the cache.** A row of 131,072 logits takes 256 KB, and 132 multiprocessors with two programs each have 264 of them under way: 69 million bytes, more than the L2 cache holds (50 million). So the second reading mostly goes to the memory after all, and cross-entropy moves three times its array rather than two. One program a workshop would fit, and was no faster: then nobody works while it waits.
#
# **A grid too small.** Four programs a workshop for RMSNorm's backward pass looked safe ("more in flight"); three were faster, and one, with three loads ahead, nearly as fast. See the sweep.

# %%
for t in sorted((t for t in tried["RMSNorm, backward"] if t["blocks"]["warps"] == 4), key=lambda t: t["seconds"]):
    print(f"{t['blocks']['programs']} programs, {t['blocks']['stages']} stages: {1e6 * t['seconds']:.0f} µs")

# %% [markdown]
# ## Exercises
#
# ```{exercise} Softmax in blocks
# :label: ex-07-online
#
# *20 minutes.* Write `online_softmax(x, block)` in plain PyTorch: one reading for maximum and sum, one to write. `check("kernels.online_softmax", my_online)` knows five mistakes by name.
#
# **Hint.** The section on a row that does not fit has one merge. What are maximum and sum before the first block? And what is their exponential, if the first block is masked as a whole?
# ```

# %%
print(describe("kernels.online_softmax"))

# %%
def my_online(x, block):
    """Replace the line below by your own."""
    raise NotImplementedError


# check("kernels.online_softmax", my_online)

# %% [markdown]
# ```{solution-start} ex-07-online
# :class: dropdown
# ```

# %%
def online_solution(x, block):
    top, total = torch.tensor(-torch.inf), torch.tensor(0.0)
    for part in x.split(block):
        higher = torch.maximum(top, part.max())
        base = higher if higher > -torch.inf else torch.tensor(0.0)
        total = total * (top - base).exp() + (part - base).exp().sum()
        top = higher
    return (x - top).exp() / total


answer = check("kernels.online_softmax", online_solution)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} The floor
# :label: ex-07-floor
#
# *5 minutes.* Write `floor(moved, flops, copy, rate)`, the least seconds of a kernel. `check("kernels.floor", my_floor)`. Then, with it and the datasheet's figures: from which side on is a product of two square bf16 matrices bound by the arithmetic?
#
# **Hint.** $6 n^2$ bytes, $2 n^3$ operations.
# ```
#
# ```{solution-start} ex-07-floor
# :class: dropdown
# ```

# %%
def floor_solution(moved, flops, copy, rate):
    return max(moved / copy, flops / rate)


side = next(n for n in range(1, 10_000) if 2 * n**3 / matrix_flop_s >= 6 * n**2 / memory_bytes_s)
print(f"from side {side} on: 3 times the ridge of {matrix_flop_s / memory_bytes_s:.0f} operations a byte")
answer = check("kernels.floor", floor_solution)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} RMSNorm backwards
# :label: ex-07-rmsnorm
#
# *20 minutes.* Write `rms_norm_backward(x, weight, dy, eps)` in plain PyTorch, without autograd. `check("kernels.rms_norm_backward", my_backward)`.
#
# **Hint.** Write $y = w\, x\, r$ with $r = (\mathrm{mean}(x^2) + \epsilon)^{-1/2}$, and differentiate the two places where $x$ stands.
# ```
#
# ```{solution-start} ex-07-rmsnorm
# :class: dropdown
# ```

# %%
def rms_norm_backward_solution(x, weight, dy, eps):
    r = (x.square().mean(-1, keepdim=True) + eps).rsqrt()
    n, g = x * r, weight * dy
    return r * (g - n * (g * n).mean(-1, keepdim=True)), (dy * n).sum(0)


answer = check("kernels.rms_norm_backward", rms_norm_backward_solution)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} The gradient of the loss
# :label: ex-07-loss
#
# *10 minutes.* Write `cross_entropy_gradient(logits, targets, ignore)`: tokens whose target is `ignore` do not count. `check("kernels.cross_entropy_gradient", my_gradient)`.
#
# **Hint.** Two places know of `ignore`: the rows, and the number that divides them.
# ```
#
# ```{solution-start} ex-07-loss
# :class: dropdown
# ```

# %%
def gradient_solution(logits, targets, ignore):
    counted = targets != ignore
    slope = logits.softmax(-1)
    slope[torch.arange(len(logits)), targets.clamp(min=0)] -= 1
    return slope * counted[:, None] / counted.sum()


answer = check("kernels.cross_entropy_gradient", gradient_solution)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} A kernel of your own
# :label: ex-07-swiglu
#
# *40 minutes.* The feed-forward layer computes `silu(gate) * up`. In PyTorch that is two operations. Write it as one Triton kernel, `swiglu(gate, up)`, for arrays of any shape. `check("kernels.swiglu", my_swiglu)` says whether it is right, and the meter whether it is good: how many bytes must it move?
#
# **Hint.** A flat array, blocks of some hundred numbers, a mask at the end; `tl.sigmoid`. For strides, `.contiguous()` will do.
# ```
#
# ```{solution-start} ex-07-swiglu
# :class: dropdown
# ```

# %%
@triton.jit
def swiglu_kernel(gate, up, out, size, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    g = tl.load(gate + at, mask=at < size, other=0.0).to(tl.float32)
    u = tl.load(up + at, mask=at < size, other=0.0).to(tl.float32)
    tl.store(out + at, (g * tl.sigmoid(g) * u).to(out.dtype.element_ty), mask=at < size)


def swiglu_solution(gate, up):
    gate, up = gate.contiguous().to(device), up.contiguous().to(device)
    out = torch.empty_like(gate)
    swiglu_kernel[(triton.cdiv(gate.numel(), 256),)](gate, up, out, gate.numel(), BLOCK=256)
    return out


answer = check("kernels.swiglu", swiglu_solution)
assert answer
answer

# %%
if INTERPRETED:
    gate, up = torch.randn(2, 1000)
    with traffic() as moved:
        _ = swiglu_solution(gate, up)
    print(f"counted {moved.bytes} bytes: {moved.bytes // gate.nbytes} arrays")

# %% [markdown]
# Three arrays. PyTorch's two operations move five (read, write; read, read, write), so on a GPU yours should take 3/5 of the time.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Bug zoo
#
# Three wrong versions of `online_softmax` live in the package, the kind that kernels have: right on many inputs, wrong on some. The test below accepts the right one and catches too little. Which of the four habits catch the rest?

# %% tags=["zoo"]
def weights_sum_to_one(online_softmax):
    total = online_softmax(torch.tensor([2.0, 0.0, 3.0, 1.0]), 2).sum()
    assert abs(total - 1) < 1e-5


zoo("kernels", [weights_sum_to_one])

# %% [markdown]
# Ours are behind the button. Look at them last.

# %% tags=["hide-cell"]
def a_size_that_no_block_divides(online_softmax):
    x = torch.randn(11, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(online_softmax(x, 4), x.softmax(0), atol=1e-5)


def numbers_far_below_zero(online_softmax):
    x = torch.tensor([-2000.0, -2001.0, -2003.0, -2000.0])
    assert torch.allclose(online_softmax(x, 2), x.softmax(0), atol=1e-5)


caught = zoo("kernels", [weights_sum_to_one, a_size_that_no_block_divides, numbers_far_below_zero])
assert caught
caught

# %% [markdown]
# ## Receipt
#
# What this run cost, and how far we are from the references. (Nothing here depends on a seed but the inputs; the spread of the measured times stands in the record as quartiles.)

# %% tags=["receipt"]
receipt(differences={name: (value, 1e-5) for name, value in differences.items()})

# %% [markdown]
# ## Summary
#
# What is the chip waiting for? For trucks. A softmax does five operations on each number, and a number's way from the memory and back takes as long as hundreds. So the best softmax takes as long as a copy, **hundreds of times** its arithmetic (the number stands under the prediction above), and ours is within a few percent of that: nobody can be much faster, and now you can say so before writing a line.
#
# - I can now count a kernel's bytes and operations, and say from two measured ceilings how fast it can become.
# - I can now write a Triton kernel with a mask, run it without a GPU, and count the bytes that it moves.
# - I can now keep a softmax online, and see the same trick in cross-entropy and attention.
# - I can now train a head of 128 thousand words without holding its logits.
# - I can now test a kernel so that a wrong one fails: fresh random inputs, float64, poison, odd sizes.
#
# `minidsk bench kernels` measures all of this on your own GPU.

# %% [markdown]
# ## Read on
#
# - Williams, Waterman and Patterson {cite}`williams2009roofline`: the roofline, with what lies below it.
# - Milakov and Gimelshein {cite}`milakov2018online`, three pages on the online softmax; Dao {cite}`dao2023flash2` for what it became.
# - Liger Kernel {cite}`hsu2024liger`: more kernels of this kind, used in many trainers.
# - The code of this chapter in the package: `minidsk/kernels/softmax.py`, `rmsnorm.py`, `cross_entropy.py`, `attention.py`.
# - Next: chapter 08 asks the same questions of a mixture of experts, where the rows of a product are not known in advance.
