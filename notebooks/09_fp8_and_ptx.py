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
# # FP8 and PTX
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/09_fp8_and_ptx.ipynb)
#
# DeepSeek-V3 did most of its matrix products in training with numbers of eight bits. In its format, eight bits give 254 finite patterns, and two of them are zero. Between 256 and 448 there are only six steps, and 1.06 does not exist at all. How can a model learn anything from numbers of eight bits? And is the popular story true that DeepSeek "bypassed CUDA" and wrote assembler?
#
# - **You will build** a quantiser with one scale per block, a model of how tensor cores add, a linear layer in FP8, and a kernel that contains a line of PTX. You will read its PTX without owning a GPU, and see what it took to make eight bits faster than sixteen.
# - **You need** [chapter 07](07_triton_kernels.ipynb) (kernels), but **no GPU**, because Triton brings NVIDIA's assembler and can compile kernels for an H100 here. FP8 arithmetic is emulated, and the speeds were recorded on an H100.
# - **It takes** 25 s to run on two idle CPU cores of a laptop and up to 110 s on busy ones, about twice that on Colab's two, and an hour to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels run in Python, one program after the other

import math

import matplotlib.pyplot as plt

from minidsk import results
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.kernels import fp8, ptx
from minidsk.kernels.compiled import compile_kernel
from minidsk.kernels.fp8 import dequantize, quantize, scaled_matmul
from minidsk.kernels.fp8_linear import fp8_linear
from minidsk.kernels.launch import tl, triton
from minidsk.report.interval import apart
from minidsk.widgets import Curve

plt.style.use("minidsk.diagrams.look")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# ## Eight bits: every number on one page
#
# A floating-point number consists of a sign, an exponent and a mantissa. FP8 has two common formats: **E4M3** has 4 bits of exponent and 3 of mantissa, and **E5M2** has 5 and 2 {cite}`micikevicius2022fp8`. With eight bits we can look at *all* the numbers that exist:

# %%
every_pattern = torch.arange(256, dtype=torch.uint8)
formats = {"E4M3": torch.float8_e4m3fn, "E5M2": torch.float8_e5m2}
numbers = {name: every_pattern.view(dtype).float() for name, dtype in formats.items()}
numbers = {name: values[values.isfinite()] for name, values in numbers.items()}
for name, values in numbers.items():
    smallest = values[values > 0].min()
    print(f"{name}: {len(values)} finite patterns, largest {values.max():.0f}, "
          f"smallest positive {smallest:.2g}")
between = numbers["E4M3"]
print("E4M3 from 1 to 2:", between[(between >= 1) & (between <= 2)].tolist())

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.5, 2.5))
for row, (name, values) in enumerate(numbers.items()):
    seen = values[(values > 2**-10) & (values < 2**10)]
    _ = ax.plot(seen, [row] * len(seen), "|", markersize=20, markeredgewidth=1)
_ = ax.plot([2**-10, 2**10], [2, 2], color="gray", linewidth=14, solid_capstyle="butt")
_ = ax.set_yticks(range(3), [*formats, "bf16"])
_ = ax.set_xscale("log", base=2)
_ = ax.set(xlabel="value", xlim=(2**-10, 2**10), ylim=(2.6, -0.6))
ticks = {"1/256": 2**-8, "1/16": 2**-4, "1": 1, "16": 2**4, "256": 2**8}
_ = ax.set_xticks(list(ticks.values()), list(ticks))
ax.grid(visible=False)
show(fig, f"Each stroke is a number. E4M3 has eight in each doubling and ends at "
     f"{numbers['E4M3'].max():.0f}. E5M2 has four and goes on. In bf16 there are 128, too "
     "close to be drawn.",
     "Three rows over a logarithmic axis from 1/1024 to 1024. The strokes of E4M3 lie twice "
     f"as close as those of E5M2. They stop at {numbers['E4M3'].max():.0f} on the right, and "
     "on the left they become sparse below 1/64. The row of bf16 is a solid bar.")

# %% [markdown]
# E4M3 cuts each doubling, such as the range from 1 to 2, into eight steps. Rounding therefore changes a number by at most a sixteenth of itself, or 6 %. Below $2^{-6}$ the steps stop shrinking, and everything below $2^{-10}$ becomes 0. If we scale a tensor so that its largest number fits, a number that is far smaller is not rounded but *lost*.
#
# ## One loud number erases the quiet ones
#
# We keep one example for the whole chapter: three *quiet* (small) numbers and one *loud* (large) number, in two blocks of two. To *quantise* them, we divide by a scale so that the largest becomes 448, the largest number of E4M3, and round the results to E4M3. The rounded numbers are called *codes*. The upper part of the figure shows this for one block of four other numbers. We come to the lower parts later: which numbers share a scale, and how a product is added up.

# %% tags=["diagram", "hide-input"]
diagram("fp8_blocks")

# %%
x = torch.tensor([[0.3, -0.7, 0.2, 1e6]])


def with_one_scale(x: torch.Tensor) -> torch.Tensor:
    """Quantise and give back, with one scale for the whole tensor."""
    scale = x.abs().max() / 448
    return (x / scale).to(torch.float8_e4m3fn).float() * scale


print("one scale ", [round(v, 3) for v in with_one_scale(x)[0].tolist()])

# %% [markdown]
# The million survives, but 0.3, -0.7 and 0.2 have become 0. Here is a larger example for you to guess before you run on. Each row has 1,024 normally distributed numbers, and one of them is replaced by 10 million. If the whole tensor has one scale, what percentage of the quiet numbers' norm is lost?

# %% tags=["prediction", "hide-input"]
guess = None
question = "With one scale, which percentage of the quiet numbers' norm is lost?"
lost = predict("lowprec.lost", question, guess, example=10)
lost

# %% [markdown]
# V3's remedy is to give each block its own scale. A loud number then harms only its own block.

# %% tags=["naive"]
def quantize_blocks(x: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and scales of blocks of 1 x `block`, one after the other; x: [rows, columns]."""
    codes, scales = torch.zeros_like(x), torch.ones(len(x), x.shape[1] // block)
    for i in range(len(x)):
        for j in range(scales.shape[1]):
            part = slice(j * block, (j + 1) * block)
            if (top := x[i, part].abs().max()) > 0:
                scales[i, j] = top / 448
            codes[i, part] = (x[i, part] / scales[i, j]).to(torch.float8_e4m3fn).float()
    return codes, scales


codes, scales = quantize_blocks(x, 2)
back = codes * scales.repeat_interleave(2, 1)
print("codes ", codes[0].tolist(), " scales", [f"{s:.3g}" for s in scales[0].tolist()])
print("blocks of 2", [round(v, 3) for v in back[0].tolist()])

# %% [markdown]
# **0.3 and -0.7 are back.** The 0.2 is still lost, because it shares a block with the million. The package's kernel does the same and reads each number only once. The next cell checks that the two versions agree:

# %% tags=["agree"]
generator = torch.Generator().manual_seed(0)
wild = torch.randn(4, 256, generator=generator)
wild *= torch.exp(3 * torch.randn(4, 256, generator=generator))
ours, slow = quantize(wild.to(device)), quantize_blocks(wild, 128)
differences = {"codes": (ours[0].float().cpu() - slow[0]).abs().max().item(),
               "scales": (ours[1].cpu() - slow[1]).abs().max().item()}  # fmt: skip
assert differences["codes"] == 0
assert differences["scales"] < 1e-6
print("codes equal; largest difference of the scales:", "below 1e-6")

# %% [markdown]
# Blocks cost little memory: one float32 scale for 128 codes adds a quarter of a bit per number. Here is the answer to the larger example that you guessed at:

# %%
quiet = torch.randn(32, 1024, generator=generator)
loud = quiet.clone()
loud[:, 7] = 1e7
elsewhere = slice(128, None)


def loss_of(back: torch.Tensor) -> float:
    """The norm of the error outside of the loud block, in percent of the numbers' norm."""
    return 100 * ((back - loud)[:, elsewhere].norm() / loud[:, elsewhere].norm()).item()


lost.reveal(round(loss_of(with_one_scale(loud))))
blocks = dequantize(*(part.cpu() for part in quantize(loud.to(device))))
print(f"one scale: {loss_of(with_one_scale(loud)):.0f} % lost")
print(f"blocks of 128: {loss_of(blocks):.1f} % lost")

# %% [markdown]
# With one scale everything else is lost, and with blocks of 128 the error is 2.6 %. How loud may the loudest number be before one scale fails? Move the slider along its size and read the error of the quiet ones.

# %% tags=["widget"]
loudness = [10.0**power for power in range(9)]
errors = {"one scale for all": [], "blocks of 1 x 128": []}
for value in loudness:
    loud[:, 7] = value
    errors["one scale for all"].append(max(loss_of(with_one_scale(loud)), 0.01))
    errors["blocks of 1 x 128"].append(loss_of(dequantize(*fp8.quantize_reference(loud))))
Curve({name: {"x": loudness, "y": ys} for name, ys in errors.items()}, title="One loud number",
      xlabel="the loudest number", xlog=True, ylabel="error of the quiet ones, %")

# %% [markdown]
# Up to 10,000, one scale does no harm: the error stays below 3 %. At 100,000 it is 13 %, and at a million 96 %. With blocks the error does not change.
#
# A linear layer multiplies two quantised matrices. Activations have blocks of 1 x 128, because loud numbers tend to sit in single *tokens* or single *channels*. Weights have blocks of 128 x 128. All the products within one block share the same scales, so the layer adds up 128 products first and multiplies by the scales once.

# %%
def block_by_block(qa, qb, width: int = 128) -> torch.Tensor:
    """The product of two quantised matrices: each block's sum, times its two scales."""
    (a, a_scales), (b, b_scales) = qa, qb
    total = torch.zeros(len(a), len(b))
    for k in range(a_scales.shape[1]):
        part = slice(k * width, (k + 1) * width)
        sums = a[:, part].float() @ b[:, part].float().T  # the tensor cores do this
        by_row = b_scales[:, k].repeat_interleave(width)[: len(b)]
        total += a_scales[:, k, None] * by_row * sums
    return total


a = torch.randn(5, 300, generator=generator).to(device)
b = torch.randn(7, 300, generator=generator).to(device)
qa, qb = quantize(a), quantize(b, (128, 128))
product = scaled_matmul(qa, qb, torch.float32)
slowly = block_by_block(*([part.cpu() for part in pair] for pair in (qa, qb)))
differences["product"] = (product.cpu() - slowly).abs().max().item()
assert differences["product"] < 1e-2
error = ((product - a @ b.T).norm() / (a @ b.T).norm()).item()
print(f"relative error of the product: {error:.3f}, all of it from the rounding of the inputs")

# %% [markdown]
# ## Tensor cores lose the end of a long sum
#
# Rounding the inputs is one loss of precision, and the second is in the addition. The GPU's matrix units are called tensor cores. DeepSeek found that those of an H800 add FP8 products with about 14 bits instead of float32's 24 {cite}`deepseekv3`. To see what that does, we add ones in a register of only 4 bits:

# %%
def cut(value: float, bits: int) -> float:
    """`value` cut towards zero to `bits` bits of mantissa."""
    if value == 0:
        return 0.0
    step = 2.0 ** (math.floor(math.log2(abs(value))) - bits + 1)
    return math.trunc(value / step) * step

# %%
def narrow_sum(terms: list[float], bits: int, promote_every: int | None = None) -> float:
    """Add up in a register of `bits` bits; every so many terms, empty it into a wide one."""
    wide = narrow = 0.0
    for i, term in enumerate(terms, start=1):
        narrow = cut(narrow + term, bits)
        if promote_every and i % promote_every == 0:
            wide, narrow = wide + narrow, 0.0
    return wide + narrow


print("ones:", {n: narrow_sum([1.0] * n, 4) for n in (8, 16, 17, 100)})
print("100 ones, emptied every 8:", narrow_sum([1.0] * 100, 4, 8))

# %% [markdown]
# The sum stops at **16**. The number 17 needs five bits, so adding another one changes nothing. If we empty the register into a wide one in time, it counts to 100, and this emptying is called **promotion**. The figure shows the same with 14 bits, for sums of random positive numbers.

# %%
lengths, sums = [2**power for power in range(7, 14)], {}
for every in (None, 512, 128):
    name = "never" if every is None else f"every {every}"
    sums[name] = []
    for length in lengths:
        positive = torch.rand(length, generator=torch.Generator().manual_seed(1)) + 0.5
        terms = positive.tolist()
        sums[name].append(abs(narrow_sum(terms, 14, every) / math.fsum(terms) - 1))
assert sums["never"][-1] > 10 * sums["every 128"][-1]

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(7.5, 3.2))
for name, errors in sums.items():
    _ = ax.plot(lengths, errors, marker=".", label=f"promoted {name}")
_ = ax.set_xscale("log", base=2)
_ = ax.set_xticks(lengths, [f"{length:,}" for length in lengths])
_ = ax.set(yscale="log", xlabel="terms", ylabel="relative error")
_ = ax.set_yticks([0.003, 0.01, 0.03, 0.1], ["0.3 %", "1 %", "3 %", "10 %"])
ax.minorticks_off()
direct_labels(ax)
last = {name: f"{100 * errors[-1]:.2g} %" for name, errors in sums.items()}
show(fig, "Without promotion the error grows with the length of the sum. If the register is "
     "emptied every 128 terms, the error stays where it was at 128.",
     f"Three lines over {lengths[0]} to {lengths[-1]:,} terms, both axes logarithmic. All "
     f"start at {100 * sums['never'][0]:.2g} %. At the end the error is {last['never']} "
     f"without promotion, {last['every 512']} with promotion every 512 terms and "
     f"{last['every 128']} with promotion every 128.")

# %% [markdown]
# Without promotion the error grows with the length of the sum, and with promotion it does not. This is only a model of the hardware: it cuts after each term, while the chip adds many terms at once.
#
# Does the real chip behave in the same way? In the package, `matmul_unscaled` takes an argument `promote_every`. We ran it on an H100 with products of random codes, all of them positive (`results/ch09_fp8_h100`).

# %% tags=["hide-input"]
chip = results.read("ch09_fp8_h100")
found = {(entry["signs"], entry["promoted"], entry["length"]): entry["relative_error"]
         for entry in chip["sums"]}  # fmt: skip
lengths = (128, 1024, 4096, 16384, 131072)
ways = ("never", "every 128")
rows = [[length, signs, *(f"{found[signs, way, length]:.3%}" for way in ways)]
        for signs, length in [*(("positive", length) for length in lengths), ("both", 4096)]]
assert found["positive", "never", 131072] > 0.5
assert found["positive", "every 128", 131072] < 0.001
table(["terms", "signs", "promoted never", "every 128"], rows, "Relative error on the H100")

# %% [markdown]
# At 131,072 terms of one sign, **65 % of the sum is missing**, because the narrow register stopped counting long before the end. With promotion every 128 terms, the error stays at that of 128 terms, however long the sum is.
#
# DeepSeek reports a relative error of nearly 2 % at 4,096 terms, for random matrices on an H800 {cite}`deepseekv3`. This lies between our two cases at that length. Without promotion we saw 0.13 % for terms of both signs, whose errors partly cancel, and 7.0 % for terms of one sign.
#
# ## Training in eight bits: it runs, and our seeds cannot show its cost
#
# `fp8_linear` computes all three products of a linear layer in FP8: the output, the gradient of the input and the gradient of the weight. The gradient of the weight sums over the *tokens*, so both of its factors are quantised again with blocks along the tokens.

# %%
inputs = torch.randn(40, 96, generator=generator).to(device).requires_grad_()
weight = torch.randn(64, 96, generator=generator).to(device).requires_grad_()
slope = torch.randn(40, 64, generator=generator).to(device)
narrow = torch.autograd.grad(fp8_linear(inputs, weight), (inputs, weight), slope)
wide = torch.autograd.grad(inputs @ weight.T, (inputs, weight), slope)
for name, ours_gradient, exact_gradient in zip(("input", "weight"), narrow, wide, strict=True):
    share = ((ours_gradient - exact_gradient).norm() / exact_gradient.norm()).item()
    print(f"gradient of the {name}: relative error {share:.3f}")
    assert share < 0.06

# %% [markdown]
# Both gradients are 3 to 4 % off, and in training this happens at every layer and every step. Does it matter for the trained model? The recorded experiment trains a tiny model of four layers on the tiny web, for three seeds (`results/ch09_fp8_h100`, third seed in `..._seed2`). For each seed it trains two models from the same weights on the same pages. One is trained in bf16, and the other has all linear layers of its blocks in FP8, with our kernels on an H100.

# %% tags=["hide-input"]
third_seed = results.read("ch09_fp8_h100_seed2")
record = {**chip, "runs": chip["runs"] + third_seed["runs"]}


def held_out(runs: list[dict]) -> list[list[float]]:
    """Held-out losses by seed, of the wide runs and of those in FP8."""
    runs = sorted(runs, key=lambda run: run["seed"])
    return [[run["held_out"] for run in runs if run["kind"] == kind]
            for kind in ("bf16", "fp8")]  # fmt: skip


rows = []
emulated = results.read("ch09_fp8")["runs"]
for where, runs in (("H100", record["runs"]), ("CPU, emulated", emulated)):
    wide_ends, fp8_ends = held_out(runs)
    for seed, (wide, narrow) in enumerate(zip(wide_ends, fp8_ends, strict=True)):
        gap = f"{narrow - wide:+.3f}"
        rows.append([where, f"{seed}", f"{wide:.3f}", f"{narrow:.3f}", gap])
    middle, half = apart(fp8_ends, wide_ends)
    rows.append([where, "mean", "", "", f"{middle:+.3f} ± {half:.3f}"])
table(["runs", "seed", "wide", "FP8", "FP8 - wide"], rows,
      "Held-out loss, nats per character. Wide is bf16 on the H100 and float32 on the CPU.")

# %% tags=["figure", "hide-input"]
ends = list(zip(*held_out(record["runs"]), strict=True))
fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.4), width_ratios=(3, 2))
for kind, colour in (("bf16", "C0"), ("fp8", "C1")):
    losses = torch.tensor([run["loss"] for run in record["runs"] if run["kind"] == kind])
    steps, low, high = range(10, 10 * losses.shape[1] + 1, 10), losses.amin(0), losses.amax(0)
    _ = left.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    _ = left.plot(steps, losses.mean(0), color=colour)
_ = left.set(xlabel="step", ylabel="loss, nats per character")
_ = left.set(xlim=(50, 400), ylim=(0.75, 2.1))
for seed, pair in enumerate(ends):
    _ = right.plot(pair, [seed, seed], color="gray")
    _ = right.scatter(pair, [seed, seed], s=60, c=["C0", "C1"], zorder=3)
_ = right.text(ends[0][0], -0.3, "bf16", color="C0", ha="right")
_ = right.text(ends[0][1], -0.3, "FP8", color="C1", ha="left")
_ = right.set_yticks(range(3), [f"seed {seed}" for seed in range(3)])
_ = right.set(xlabel="held-out loss", ylim=(2.5, -0.7), xlim=(0.65, 1.25))
said = "; ".join(f"bf16 {wide:.3f} and FP8 {narrow:.3f}" for wide, narrow in ends)
show(fig, "The losses fall alike, and the bands of three seeds overlap (left). FP8 ends worse "
     "with two seeds and better with one (right).",
     f"Left, two falling curves with bands, from step 50 to {steps[-1]}. Right, the held-out "
     f"losses of three seeds as pairs of dots: {said}.")

# %% [markdown]
# Our runs cannot tell whether FP8 costs anything. The differences have both signs, and the interval, +0.071 ± 0.393 nats per character on the H100, contains zero. It is wide because the runs are short and the seeds end far apart. A loss that is worse by a few hundredths would not be visible. So we may say that training in eight bits *runs*, but not that it is free.
#
# The lower half of the table is a control. It comes from still smaller runs on a CPU, where we emulated FP8 with exact sums. Rounding alone did no visible harm there either.
#
# DeepSeek could say more from much larger runs: the loss differs by less than 0.25 % over about a trillion tokens, on two larger models {cite}`deepseekv3`. Training can live with rounding noise, but not with numbers that are *lost* or with sums that stop growing, and the block scales and promotion prevent exactly these two.

# %% [markdown]
# ## Eight bits alone were slower than sixteen
#
# On paper, the H100 does twice as many operations per second in FP8 as in bf16. Here is our Triton kernel on the H100, for matrices of $8192^3$ (8,192 in all three dimensions):

# %% tags=["hide-input"]
bench = results.read("bench_kernels")["cases"]
cases = {case["case"]: case for case in bench if case["bench"] in ("fp8", "ptx")}
product_case = cases["FP8 product, blocks of 1 x 128 and 128 x 128"]


def rate(case: dict, name: str) -> float:
    """TFLOP/s of one contestant."""
    return case["contestants"][name]["tflop_s"]


bf16_rate = rate(product_case, "bf16 torch.matmul")
triton_rate = rate(product_case, "ours, in Triton alone")
print(f"bf16, torch.matmul {bf16_rate:.0f} TFLOP/s")
print(f"FP8, our Triton kernel {triton_rate:.0f} TFLOP/s")
print(f"that is {triton_rate / bf16_rate:.2f} of bf16")

# %% [markdown]
# **The FP8 kernel is slower than bf16.** The numbers have half the bits, and nothing was gained.
#
# The reason is that the tensor cores stop after each 128 of the inner dimension. The partial sum must be finished, and then the ordinary units multiply it by the scales and add it to the total. The next cell counts clock ticks for the kernel's tile of 64 by 128 and for two larger tiles:

# %%
def ticks(rows: int, columns: int, depth: int = 128) -> tuple[float, float, float]:
    """A multiprocessor's ticks for the product of a tile, and for scaling and adding.

    Also the bytes that it reads per tick of the product.
    """
    product = rows * columns * depth / 4096  # an H100's FP8 multiply-adds per tick
    adding = rows * columns / 128  # its float32 multiply-adds per tick
    return product, adding, (rows + columns) * depth / product

# %%
tiles = ((64, 128), (192, 128), (128, 256))
table(["tile", "product, ticks", "scaling and adding, ticks", "bytes read per tick"],
      [[f"{rows} x {columns}", *(f"{value:.0f}" for value in ticks(rows, columns))]
       for rows, columns in tiles])

# %% [markdown]
# The count shows two problems of the small tile. First, scaling and adding takes a quarter of the product's time, and waiting for both adds to it. Second, a small tile reads a lot of data for little work: nearly twice as much per tick as a tile of 192 by 128.

# %% [markdown]
# ## Giving warps different jobs made eight bits faster
#
# A *warp* is a group of 32 threads that run together. The time for scaling and adding need not be lost, because one group of warps can multiply while another group adds. DeepSeek reports that V3's kernels do this (section 3.3.2). In Triton we cannot ask for it, because the compiler decides which warp does what. So we use **Gluon**, a language one level lower, in which the program itself says who does what:

# %% tags=["diagram", "hide-input"]
diagram("warp_roles")

# %% [markdown]
# - One warp only requests copies from memory, as far ahead as there is room.
# - Three groups of four warps multiply 64 rows each. Each group scales and adds while the *other* groups' products run.
# - The copying warp needs few registers, so it gives the others most of its own.
# - A finished tile goes into shared memory. The copy engine takes it from there while the group works on its next tile.
#
# A tile of 128 by 256 would read least. But then the sums and partial sums of a group need $2 \cdot 64 \cdot 256 / 128 = 256$ registers per thread, and a thread can have 255. Our first version with that tile had to keep some of them in memory ("spilled") and was slower than Triton's, in a run that we did not keep. Our kernel therefore uses tiles of 192 by 128. You can check without a GPU that our kernel does not spill:

# %%
from minidsk.kernels import fp8_hopper
from minidsk.kernels.hopper import descriptor_type

# the types of the arguments: tiles for the copy engine, pointers, whole numbers
kinds = {"a": descriptor_type(torch.float8_e4m3fn, [64, 128]), "a_scales": "*fp32",
         "b": descriptor_type(torch.float8_e4m3fn, [128, 128]), "b_scales": "*fp32",
         "y": descriptor_type(torch.bfloat16, [64, 128])}  # fmt: skip
kinds |= dict.fromkeys(("m", "n", "k", "a_column", "b_row", "b_column"), "i32:16")
# what is known when the kernel is compiled
fixed = {"a_row": 1, "GROUPS": 3, "STAGES": 4}
made = compile_kernel(fp8_hopper._scaled_matmul_hopper, kinds, fixed, warps=4,
                      most_registers=128)  # fmt: skip
print(made.stack, "bytes spilled")
meanings = {"QGMMA": "products of FP8", "UTMALDG": "copies in", "UTMASTG": "copies out"}
for word, meaning in meanings.items():
    print(f"{made.count(word):>3} {meaning}")
assert made.stack == 0

# %% [markdown]
# The compiled code contains twelve products, four for each of the three groups, because 128 of the inner dimension are four products of 32. The figure shows the speed on the H100:

# %% tags=["figure", "hide-input"]
against = cases["FP8 product, against torch's own"]
by_row = "torch, a scale for each row, promoted sums"
rates = {"bf16, torch": (bf16_rate, "gray"), "FP8, our Triton": (triton_rate, "C1"),
         "FP8, our Gluon": (rate(product_case, "ours"), "C0"),
         "FP8, torch, scale per row": (rate(against, by_row), "gray"),
         "FP8, torch, one scale": (rate(against, "torch, one scale, sums in the tensor cores"),
                                   "gray")}  # fmt: skip
fig, ax = plt.subplots(figsize=(7.5, 2.8))
bars = ax.barh(list(rates), [value for value, _ in rates.values()], 0.7,
               color=[colour for _, colour in rates.values()])  # fmt: skip
shown = [f"{value:,.0f}, {value / bf16_rate:.2f} of bf16" for value, _ in rates.values()]
_ = ax.bar_label(bars, shown, padding=4, fontsize=9.5)
ax.invert_yaxis()
ax.grid(axis="y", visible=False)
_ = ax.set(xlabel="TFLOP/s, matrices of 8,192 by 8,192, H100", xlim=(0, 2000))
assert rates["FP8, our Gluon"][0] > 1.4 * bf16_rate
show(fig, "Our Triton kernel in FP8 is slower than bf16. Our Gluon kernel is much faster, and "
     "about level with torch's product with one scale per row.",
     "Five bars, in TFLOP/s: "
     + "; ".join(f"{name} {text}" for name, text in zip(rates, shown, strict=True)) + ".")

# %% tags=["hide-input"]
errors = product_case["relative_error"], product_case["quantisation_error"]
print(f"error of ours {errors[0]:.4f}, of the quantising alone {errors[1]:.4f}")
quantising = cases["quantise, blocks of 1 x 128"]["contestants"]["ours"]["median"] * 1e6
product_time = product_case["contestants"]["ours"]["median"] * 1e6
print(f"the product takes {product_time:.0f} us")
print(f"quantising one factor takes {quantising:.0f} us more")

# %% [markdown]
# Our Gluon kernel reaches **1.6 times the speed of bf16**. Its relative error is the error of the quantising alone, 0.0369, so the product itself adds almost nothing to it. One of torch's FP8 products is faster because it does less. With one scale per matrix there is nothing to add in between, but that version loses quiet numbers beside a loud one, as in our example. With one scale per row, which is a compromise, torch is about as fast as we are.

# %% [markdown]
# ## Reading your own PTX
#
# You have just compiled a kernel for a GPU that is not here. What lies between Triton and the chip? **PTX** is NVIDIA's language for an imaginary machine with any number of registers. NVIDIA's assembler turns PTX into the chip's own instructions, which are called SASS. Here is a small kernel and its PTX:

# %%
@triton.jit
def doubled(x, y, size, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + place, 2 * tl.load(x + place, mask=place < size), mask=place < size)


made = compile_kernel(doubled, {"x": "*fp32", "y": "*fp32", "size": "i32"}, {"BLOCK": 128})
print(made.body())

# %% [markdown]
# Read the PTX from the top. The program takes the number of the program (`ctaid`) times 128 (a shift by 7) and adds the number of the thread (`tid`). It asks whether that place is below `size` (`setp`, which sets a predicate). Under this predicate (`@%p1`) it loads a number, adds and stores. The compiler turned doubling into adding the number to itself, which we had not asked for.
#
# ## A line of PTX that halves the work
#
# The sigmoid needs an exponential, an addition and a division. The chip has an instruction for the hyperbolic tangent, and $\sigma(x) = (1 + \tanh(x/2))/2$. Triton offers no function for that instruction, but one line of PTX reaches it:

# %%
@triton.jit
def silu(x, y, size, BLOCK: tl.constexpr, LINE: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + place, mask=place < size).to(tl.float32)
    if LINE == "":
        value = value / (1 + tl.exp(-value))
    else:
        half = 0.5 * value
        # registers out and in, type of the result, no side effects, one number at a time
        tanh = tl.inline_asm_elementwise(LINE, "=r,r", [half], tl.float32, True, 1)
        value = half * tanh + half
    tl.store(y + place, value.to(y.dtype.element_ty), mask=place < size)

# %%
types = {"x": "*bf16", "y": "*bf16", "size": "i32:16"}
for line in ("", "tanh.approx.f32 $0, $1;"):
    made = compile_kernel(silu, types, {"BLOCK": 2048, "LINE": line})
    count = sum(text.strip().endswith(";") or "; " in text for text in made.sass.splitlines())
    special = made.count("MUFU")
    print(f"{line or 'plain':24} {count} instructions, {special} in the special unit")
assert made.count("MUFU") == 16

# %% [markdown]
# The line halves the work of the special unit, a slow part of the chip that computes such functions. Whether that saves time depends on what the kernel waits for. This kernel reads and writes memory, and [chapter 07](07_triton_kernels.ipynb) showed that such a kernel waits for memory. The table shows the times on the H100 for 67 million numbers, with the function applied once and 32 times in a row:

# %% tags=["hide-input"]
def both(name: str) -> list[str]:
    """Microseconds and relative errors, each without and with the line of PTX."""
    case = cases[name]
    times = [case["contestants"][key]["median"] for key in ("without PTX", "ours")]
    errors = [case.get("error_without"), case["relative_error"]]
    return [*(f"{1e6 * seconds:.0f}" for seconds in times),
            *("-" if error is None else f"{error:.4f}" for error in errors)]  # fmt: skip


measured = ("plain, µs", "with the line, µs", "error, plain", "error, with the line")
table(["applied", *measured],
      [[times, *both(f"silu, {times}")] for times in ("once", "32 times over")])

# %% [markdown]
# Applied once, the line saves **nothing**, because memory sets the pace. Applied 32 times, it makes the kernel more than twice as fast. The line always saves instructions, but it saves time only in a kernel that is bound by arithmetic. The instruction is an approximation, as its name says. The error of the result is the same with and without it, because rounding to bf16 hides the difference.
#
# ## Three more lines of PTX that save nothing
#
# We tried three more lines. Two of them handle two numbers at once, and the package's kernel `ptx._map` holds them in the same way:

# %%
exp = {"NAME": "exp2", "TIMES": 1, "BLOCK": 2048}
cast = {"NAME": "to_bf16", "TIMES": 1, "BLOCK": 2048}
pairs = {"2 exponentials of bf16 at once": (types, exp, ptx.EXP2_PAIR, "MUFU"),
         "2 float32 into bf16 at once":
             ({**types, "x": "*fp32"}, cast, ptx.TO_BF16_PAIR, "F2FP")}  # fmt: skip
for name, (kinds, settings, line, instruction) in pairs.items():
    plain, inline = (
        compile_kernel(ptx._map, kinds, {**settings, "LINE": text}).count(instruction)
        for text in ("", line)
    )
    print(f"{name}: {instruction} {plain} without the line, {inline} with it")

# %% [markdown]
# Neither line changes the number of instructions. The assembler splits the pair of exponentials again, and the compiler had already packed the casts by itself. The times on the H100 confirm it. They also show no gain from the third line, a hint to the cache (`copy, read once`):

# %% tags=["hide-input"]
names = ("exp2, 32 times over", "float32 to bf16", "copy, read once")
table(["kernel", *measured], [[name, *both(name)] for name in names])

# %% [markdown]
# So three lines out of four brought nothing, and the pair of exponentials even doubled the error. Look at the compiled code before you write assembler, and measure afterwards.

# %% [markdown]
# ## What DeepSeek did
#
# V3 uses scales $s$ for blocks $k$ of 128 along the inner dimension, and codes $\hat A$, $\hat B$. Its product is {cite}`deepseekv3`
#
# $$
# C_{ij} = \sum_{k} s^A_{i,k}\, s^B_{\lceil j/128 \rceil, k} \underbrace{\sum_{l \in k} \hat A_{il} \hat B_{jl}}_{\text{tensor cores, about 14 bits}},
# \qquad s^A_{i,k} = \frac{1}{448} \max_{l \in k} |A_{il}|.
# $$
#
# The outer sum is done in float32 on ordinary units (section 3.3). V3 uses E4M3 everywhere, where others take E5M2 for gradients. It can do so because each scale covers only a few numbers, so the smaller range of E4M3 is enough. Embedding, head, router, norms and attention stay in bf16 or float32, and so do the master weights.
#
# **The assembler** has a small part in the report. Section 3.2.2 mentions customized PTX instructions in one place: the kernels that send tokens between GPUs. With them, these kernels use less of the L2 cache and disturb other multiprocessors less. DeepSeek's library for this communication has a load with the same hints as our `LOAD_ONCE` {cite}`deepep2025`:

# %%
print(ptx.LOAD_ONCE)

# %% [markdown]
# So DeepSeek did not bypass CUDA, because PTX is a part of CUDA and every CUDA program is translated through it. DeepSeek wrote a few lines of it by hand, where the language above offers no word for what the chip can do.
#
# Lines of PTX written by hand have their price:
#
# - The line works on one maker's chips, and often on one generation only.
# - It has no types, no masks and no interpreter, so our tests on a CPU cannot reach it.
# - The compiler neither checks it nor improves it.
# - Its author must keep measuring whether it still helps.

# %% [markdown]
# ## What went wrong, or did not help
#
# **We needed three kernels for one product.** The first, in Triton, was no faster than bf16. The second, in Gluon with a tile of 128 by 256, spilled and was slower still. The third, with a tile of 192 by 128, was faster than bf16, and faster still when the copy engine wrote the result instead of its warps. (We kept only the runs of the first and the last kernel, so the others have no figures here.)
#
# **One tiling gave wrong results.** A version of the first kernel with 256 columns spans two scales of the weight, and it used only one of them. We noticed because the bench prints the error, and the package now refuses that tiling.
#
# **Quantising is slower than a copy, and the gradient of the weight is no faster than in bf16.** The gradient of the weight has blocks of 1 x 128 on both sides, and we compute it in Triton alone:

# %% tags=["hide-input"]
copy_speed = results.read("bench_kernels")["ceilings"]["copy_gb_s"]
for blocks in ("1 x 128", "128 x 128"):
    speed = cases[f"quantise, blocks of {blocks}"]["contestants"]["ours"]["gb_s"]
    print(f"quantising, blocks of {blocks}: {speed / copy_speed:.2f} of the copy's bandwidth")
gradient_case = cases["FP8 product, blocks of 1 x 128 and 1 x 128"]
share = rate(gradient_case, "ours") / rate(gradient_case, "bf16 torch.matmul")
print(f"the product for the weight's gradient: {share:.2f} of bf16")

# %% [markdown]
# **Three seeds are too few for short runs.** They cannot show a small harm, as the interval above says.
#
# **Triton's interpreter makes a rounding error in E4M3.** It rounds 1.99 to 1, because it forgets to carry from the mantissa into the exponent. Our kernel therefore rounds beforehand when it is interpreted:

# %%
near_two = torch.tensor([[1.9911, 448.0]])
codes_and_scales = [part.cpu() for part in quantize(near_two.to(device))]
print("1.9911 in E4M3:", dequantize(*codes_and_scales)[0, 0].item())

# %% [markdown]
# **One of our tests was too exact.** On a GPU, torch divides by a *number* by multiplying with its reciprocal, and the last bit differs from a true division. Tests that compared scales bit by bit passed on the CPU and failed on the GPU. We believe that this was the reason.

# %% [markdown]
# ## Exercises
#
# ```{exercise} A pattern and its value
# :label: ex-09-value
#
# *10 minutes.* Write `float_value(bits, exponent, mantissa, bias)`, which returns the number that a bit pattern stands for. `check("lowprec.float_value", my_value)` tells you whether it is right.
#
# **Hint.** Take the three fields apart with `>>` and `&`. Then write the two cases of the definition.
# ```

# %%
def my_value(bits, exponent, mantissa, bias):
    """Replace the line below by your own."""
    raise NotImplementedError


print(describe("lowprec.float_value"))

# %% [markdown]
# ```{solution-start} ex-09-value
# :class: dropdown
# ```

# %%
def value_solution(bits, exponent, mantissa, bias):
    m, e = bits % 2**mantissa, bits >> mantissa & 2**exponent - 1
    sign = -1 if bits >> (exponent + mantissa) else 1
    return sign * (m / 2**mantissa + (e > 0)) * 2.0 ** (max(e, 1) - bias)


check("lowprec.float_value", value_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Scales for blocks
# :label: ex-09-quantize
#
# *15 minutes.* Write `quantize(x, block)` without a loop, and test it with `check("lowprec.quantize", my_quantize)`.
#
# **Hint.** Use `unflatten` on the columns, and think of a block that holds only zeros.
# ```

# %%
def my_quantize(x, block):
    """Replace the line below by your own."""
    raise NotImplementedError


print(describe("lowprec.quantize"))

# %% [markdown]
# ```{solution-start} ex-09-quantize
# :class: dropdown
# ```

# %%
def quantize_solution(x, block):
    parts = x.unflatten(1, (-1, block))
    top = parts.abs().amax(-1)
    scales = torch.where(top > 0, top / 448, 1.0)
    return (parts / scales[..., None]).flatten(1).to(torch.float8_e4m3fn).float(), scales


check("lowprec.quantize", quantize_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Promotion
# :label: ex-09-promotion
#
# *15 minutes.* Write `promoted_sum(terms, bits, every)`, and test it with `check("lowprec.promoted_sum", my_sum)`.
#
# **Hint.** `narrow_sum` above is nearly the answer, but do not forget what is left in the narrow register at the end.
# ```

# %%
def my_sum(terms, bits, every):
    """Replace the line below by your own."""
    raise NotImplementedError


print(describe("lowprec.promoted_sum"))

# %% [markdown]
# ```{solution-start} ex-09-promotion
# :class: dropdown
# ```

# %%
def sum_solution(terms, bits, every):
    return torch.tensor(narrow_sum(terms.double().tolist(), bits, every), dtype=torch.float64)


check("lowprec.promoted_sum", sum_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Why the weight's gradient needs another block
# :label: ex-09-gradient
#
# *5 minutes, on paper.* The input was quantised in blocks of 1 x 128 for the forward pass. Why can the gradient of the weight not use those codes?
#
# **Hint.** Over which dimension does that gradient sum?
# ```
#
# ```{solution} ex-09-gradient
# :class: dropdown
#
# $dW = dY^\top X$ sums over tokens, and each token has its own scale. Within a partial sum of 128 tokens the scales would all differ, so they could not be multiplied in after the sum. Therefore X is quantised again, with blocks along the tokens. V3 does so too, and section 3.5.2 asks hardware makers for help with it.
# ```

# %% [markdown]
# ## Bug zoo
#
# The package contains three wrong versions of `quantize`. The test below accepts the right version and catches one of the wrong ones. Write tests that catch the other two.

# %% tags=["zoo"]
def the_largest_becomes_448(quantize) -> None:
    codes, _ = quantize(torch.tensor([[1.0, 2.0, 1.0, 2.0]]), 2)
    assert codes.tolist() == [[224.0, 448.0, 224.0, 448.0]]


zoo("lowprec", [the_largest_becomes_448])

# %% [markdown]
# Our tests are in the folded cell below, for after you have tried.

# %% tags=["hide-cell"]
def blocks_do_not_hear_each_other(quantize) -> None:
    _, scales = quantize(torch.tensor([[1.0, 2.0, 3.0, 4000.0]]), 2)
    assert torch.allclose(scales, torch.tensor([[2 / 448, 4000 / 448]]))


def loud_and_negative(quantize) -> None:
    codes, _ = quantize(torch.tensor([[1.0, -2.0]]), 2)
    assert codes.tolist() == [[224.0, -448.0]]


zoo("lowprec", [the_largest_becomes_448, blocks_do_not_hear_each_other, loud_and_negative])

# %% [markdown]
# ## Receipt
#
# This is what the run cost, how far the seeds of the recorded training runs lie apart, and how far our results are from the references.

# %% tags=["receipt"]
wide_ends, fp8_ends = held_out(record["runs"])
spread = {"held-out loss, bf16": wide_ends, "held-out loss, FP8": fp8_ends}
limits = {"codes": 0, "scales": 1e-6, "product": 1e-2}
below = {name: (value, limits[name]) for name, value in differences.items()}
receipt(spread=spread, differences=below)

# %% [markdown]
# ## Summary
#
# How can a model learn in eight bits? Each block of **128** numbers has its own scale, so a large number harms only its own block. Sums move into float32 every 128 terms, before they stop growing. What remains is noise of a few percent. In our small runs, any harm from it was hidden by the differences between seeds.
#
# Eight bits became faster only when the kernel said which warps copy, which multiply and which add. That took us from slower than bf16 to 1.6 times its speed. DeepSeek did not bypass CUDA: it wrote some lines of PTX where the language above had no word for an instruction.
#
# - I can now say which numbers E4M3 can write, and what happens to a small number beside a large one.
# - I can now quantise by blocks, and multiply the quantised matrices.
# - I can now show why a long sum in few bits stops growing, and what promotion does about it.
# - I can now read the PTX of my own kernel on a laptop, and put a line of PTX into a kernel.
# - I can now say why eight bits alone made nothing faster, and tell when a line of PTX saves nothing.

# %% [markdown]
# ## Read on
#
# - DeepSeek-V3 {cite}`deepseekv3`: section 3.3 describes FP8 training, and section 3.5 what they ask of hardware makers.
# - Micikevicius and others {cite}`micikevicius2022fp8` define the two FP8 formats.
# - The code of this chapter is in `minidsk/kernels/fp8.py`, `fp8_linear.py`, `ptx.py` and `compiled.py`.
