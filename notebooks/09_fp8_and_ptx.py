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
# DeepSeek-V3 was trained with most of its products in numbers of eight bits: 254 finite patterns, zero twice among them. Between 256 and 448 there are six steps, and 1.06 does not exist. How can a model learn anything at such a resolution? And is it true, as the story goes, that they "bypassed CUDA", and wrote assembler?
#
# - **You will build** a quantiser with a scale for each block, a model of how tensor cores add, a linear layer in FP8, and a kernel with a line of PTX in it, which you will read without owning a GPU; and see what it took to make eight bits faster than sixteen.
# - **You need** chapter 07 (kernels). **No GPU**: Triton brings NVIDIA's assembler, so kernels are compiled for an H100 here; FP8 arithmetic is emulated, and speeds were recorded on an H100.
# - **It takes** about 25 s to run on two CPU cores of a laptop, about twice that on Colab's two, and an hour to read.

# %% tags=["hide-input"]
import importlib.util; _ = importlib.util.find_spec("minidsk") or get_ipython().run_line_magic("pip", "install -q 'minidsk[notebooks] @ git+https://github.com/minidsk/minidsk'")

# %%
import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels run in Python, one program after the other

# %%
import math

import matplotlib.pyplot as plt

from minidsk import results
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.kernels import fp8, ptx
from minidsk.kernels.compiled import compile_kernel
from minidsk.kernels.fp8 import dequantize, quantize, scaled_matmul
from minidsk.kernels.fp8_linear import fp8_linear
from minidsk.kernels.launch import tl, triton
from minidsk.widgets import Curve

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# ## Eight bits
#
# A float is a sign, an exponent and a mantissa. **E4M3** has 4 bits of exponent and 3 of mantissa; **E5M2** has 5 and 2 {cite}`micikevicius2022fp8`. Eight bits are so few that we can look at *all* of them:

# %%
every_pattern = torch.arange(256, dtype=torch.uint8)
formats = {"E4M3": torch.float8_e4m3fn, "E5M2": torch.float8_e5m2}
for name, dtype in formats.items():
    values = every_pattern.view(dtype).float()
    values = values[values.isfinite()]
    small = values[values > 0].min().item()
    print(f"{name}: {len(values)} finite patterns, largest {values.max():.0f}, smallest above 0 {small:.2g}")

# %%
fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
for row, dtype in enumerate([*formats.values(), torch.bfloat16]):
    if row < 2:
        values = every_pattern.view(dtype).float()
    else:
        values = torch.arange(0, 32640, 8, dtype=torch.int16).view(dtype).float()
    values = values[values.isfinite() & (values > 2**-10) & (values < 2**10)]
    _ = ax.plot(values, [row] * len(values), "|", ms=14)
_ = ax.set(xscale="log", yticks=range(3), yticklabels=[*formats, "bf16, every 8th"], xlabel="value", ylim=(-0.5, 2.5))
plt.show()
between = every_pattern.view(torch.float8_e4m3fn).float()
print("E4M3 from 1 to 2:", between[(between >= 1) & (between <= 2)].tolist())

# %% [markdown]
# Each doubling is cut into eight steps, so rounding moves a number by at most a sixteenth of itself, 6 %. Below $2^{-6}$ the steps stay as wide as they are, and below $2^{-10}$ all is 0: a small number next to a large one is not rounded, it is *gone*.
#
# ## Four numbers, one of them loud
#
# Keep these for the chapter: three quiet numbers and a loud one, in two blocks of two.

# %%
x = torch.tensor([[0.3, -0.7, 0.2, 1e6]])


def with_one_scale(x: torch.Tensor) -> torch.Tensor:
    """Quantise and give back, with one scale for the whole tensor."""
    scale = x.abs().max() / 448
    return (x / scale).to(torch.float8_e4m3fn).float() * scale


print("one scale ", [round(v, 3) for v in with_one_scale(x)[0].tolist()])

# %% [markdown]
# The million fits, and 0.3, -0.7 and 0.2 are 0. Before you run on, a larger example: 1,024 normal numbers a row, one of them made 10 million. What share of the *other* numbers' size is lost with one scale for the tensor?

# %% tags=["prediction"]
guess = None
lost = predict("lowprec.lost", "With one scale, which percentage of the quiet numbers' norm is lost?", guess, example=10)
lost

# %% [markdown]
# The remedy is V3's: give each block its own scale, so that a loud number deafens its neighbours alone.

# %% tags=["naive"]
def quantize_blocks(x: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and scales of blocks of 1 x `block`, one block after the other; x: [rows, columns]."""
    codes, scales = torch.zeros_like(x), torch.ones(len(x), x.shape[1] // block)
    for i in range(len(x)):
        for j in range(scales.shape[1]):
            part = slice(j * block, (j + 1) * block)
            if (top := x[i, part].abs().max()) > 0:
                scales[i, j] = top / 448
            codes[i, part] = (x[i, part] / scales[i, j]).to(torch.float8_e4m3fn).float()
    return codes, scales


codes, scales = quantize_blocks(x, 2)
print("codes ", codes[0].tolist(), " scales", [f"{s:.3g}" for s in scales[0].tolist()])
print("blocks of 2", [round(v, 3) for v in (codes * scales.repeat_interleave(2, 1))[0].tolist()])

# %% [markdown]
# **0.3 and -0.7 are back** (0.2, the neighbour of the loud one, is not). The package's kernel reads a tensor once, whatever its strides:

# %% tags=["agree"]
generator = torch.Generator().manual_seed(0)
wild = torch.randn(4, 256, generator=generator) * torch.exp(3 * torch.randn(4, 256, generator=generator))
ours, slow = quantize(wild.to(device)), quantize_blocks(wild, 128)
differences = {"codes": (ours[0].float().cpu() - slow[0]).abs().max().item(),
               "scales": (ours[1].cpu() - slow[1]).abs().max().item()}  # fmt: skip
assert differences["codes"] == 0
assert differences["scales"] < 1e-6
print("codes equal; largest difference of the scales:", "below 1e-6")

# %% [markdown]
# Blocks cost little: one float32 for 128 codes is a quarter of a bit a number. Now the larger example that you guessed at:

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
print(f"one scale: {loss_of(with_one_scale(loud)):.0f} % lost; blocks of 128: {loss_of(blocks):.1f} %")

# %% [markdown]
# Move the loudness yourself: the error of the quiet numbers, by how loud the loudest is.

# %% tags=["widget"]
loudness = [10.0**power for power in range(9)]
errors = {"one scale for all": [], "blocks of 1 x 128": []}
for value in loudness:
    loud[:, 7] = value
    errors["one scale for all"].append(max(loss_of(with_one_scale(loud)), 0.01))
    errors["blocks of 1 x 128"].append(loss_of(dequantize(*fp8.quantize_reference(loud))))
Curve({name: {"x": loudness, "y": ys} for name, ys in errors.items()}, xlabel="the loudest number", xlog=True,
      ylabel="error of the quiet ones, %", title="One loud number")

# %% [markdown]
# A layer multiplies blocks of 1 x 128 (activations: loud *tokens* and loud *channels*) by blocks of 128 x 128 (weights). All the products of one block share a scale, so it can wait until 128 of them are added up:

# %%
a, b = torch.randn(5, 300, generator=generator).to(device), torch.randn(7, 300, generator=generator).to(device)
qa, qb = quantize(a), quantize(b, (128, 128))
product = scaled_matmul(qa, qb, torch.float32)
exact = dequantize(*qa).double() @ dequantize(*qb, (128, 128)).double().T
differences["product"] = (product - exact).abs().max().item()
assert differences["product"] < 1e-2
error = ((product - a @ b.T).norm() / (a @ b.T).norm()).item()
print(f"relative error of the product: {error:.3f}, all of it from the rounding of the inputs")

# %% [markdown]
# ## How tensor cores add
#
# There is a second loss. The tensor cores of an H800 add FP8 products in about 14 bits, not in float32's 24 {cite}`deepseekv3`. Add ones into a register of 4 bits:

# %%
def cut(value: float, bits: int) -> float:
    """`value` cut towards zero to `bits` bits of mantissa."""
    if value == 0:
        return 0.0
    step = 2.0 ** (math.floor(math.log2(abs(value))) - bits + 1)
    return math.trunc(value / step) * step


def narrow_sum(terms: list[float], bits: int, promote_every: int | None = None) -> float:
    """Add up in a register of `bits` bits; every so many terms, empty it into a wide one."""
    wide = narrow = 0.0
    for i, term in enumerate(terms, start=1):
        narrow = cut(narrow + term, bits)
        if promote_every and i % promote_every == 0:
            wide, narrow = wide + narrow, 0.0
    return wide + narrow


print("ones:", {n: narrow_sum([1.0] * n, 4) for n in (8, 16, 17, 100)}, " emptied every 8:", narrow_sum([1.0] * 100, 4, 8))

# %% [markdown]
# It stops at **16**: 17 needs five bits, so one more one changes nothing. Emptied in time into a wide register, it counts to 100. That is **promotion**. With 14 bits and products of random positive numbers:

# %% tags=["figure"]
lengths, sums = [2**power for power in range(7, 14)], {}
for every in (None, 512, 128):
    name = "never" if every is None else f"every {every}"
    sums[name] = []
    for length in lengths:
        terms = (torch.rand(length, generator=torch.Generator().manual_seed(1)) + 0.5).tolist()
        sums[name].append(abs(narrow_sum(terms, 14, every) / math.fsum(terms) - 1))
fig, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
for (name, ys), marker in zip(sums.items(), "os^", strict=True):
    _ = ax.plot(lengths, ys, marker=marker, ms=4, label=f"promoted {name}")
_ = ax.set(xscale="log", yscale="log", xlabel="terms", ylabel="relative error")
_ = ax.legend(frameon=False)
plt.show()
for name, ys in sums.items():
    print(f"promoted {name:10} {lengths[0]} terms: {ys[0]:.1e}; {lengths[-1]} terms: {ys[-1]:.1e}")
assert sums["never"][-1] > 10 * sums["every 128"][-1]

# %% [markdown]
# This is a model of the hardware (it cuts after each term; the chip adds many at once), and it shows the shape of the trouble: without promotion the error grows with the length of the sum; with it, it does not. Does the chip itself do that? `matmul_unscaled` in the package takes `promote_every`, and we ran it on an H100, on products of random codes, all of them positive (`results/ch09_fp8_h100`):

# %%
chip = results.read("ch09_fp8_h100")
found = {(entry["signs"], entry["promoted"], entry["length"]): entry["relative_error"]
         for entry in chip["sums"]}  # fmt: skip
for length in (128, 1024, 4096, 16384, 131072):
    never, often = (found["positive", name, length] for name in ("never", "every 128"))
    print(f"{length:>7} terms, promoted never: {never:7.3%}, every 128: {often:.3%}")
never, often = (found["both", name, 4096] for name in ("never", "every 128"))
print(f"of both signs, 4,096 terms, never: {never:.3%}, every 128: {often:.3%}")
assert found["positive", "never", 131072] > 0.5
assert found["positive", "every 128", 131072] < 0.001

# %% [markdown]
# At 131,072 terms of one sign, **most of the sum is missing**: the register of 14 bits has long stopped counting. Promoted every 128, the error is that of 128 terms, however long the sum. V3's report gives a relative error of nearly 2 % at 4,096 terms, for its random matrices on an H800 {cite}`deepseekv3`; that lies between our two cases: of both signs, where errors cancel, and of one.
#
# ## Training in eight bits
#
# `fp8_linear` has all three products of a layer in FP8: the output, the gradient of the input, the gradient of the weight (whose inner dimension is the *tokens*, so both factors are quantised anew, along them).

# %%
inputs, weight = (torch.randn(*shape, generator=generator).to(device).requires_grad_() for shape in ((40, 96), (64, 96)))
slope = torch.randn(40, 64, generator=generator).to(device)
narrow = torch.autograd.grad(fp8_linear(inputs, weight), (inputs, weight), slope)
wide = torch.autograd.grad(inputs @ weight.T, (inputs, weight), slope)
for name, ours_gradient, exact_gradient in zip(("input", "weight"), narrow, wide, strict=True):
    share = ((ours_gradient - exact_gradient).norm() / exact_gradient.norm()).item()
    print(f"gradient of the {name}: relative error {share:.3f}")
    assert share < 0.06

# %% [markdown]
# Gradients 3 or 4 % off, at every layer and every step. Does it matter? The recorded experiment (`results/ch09_fp8_h100`, its third seed in `..._seed2`) trains a tiny model of four layers on the tiny web, twice from the same weights on the same pages: once in bf16, once with all linear layers of the blocks in FP8, by our kernels on an H100.

# %% tags=["figure"]
third_seed = results.read("ch09_fp8_h100_seed2")
record = {**chip, "runs": chip["runs"] + third_seed["runs"]}
wide_name = {"bf16": "bf16", "fp8": "FP8"}
fig, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
for run in record["runs"]:
    style = {"bf16": ("C0", "-"), "fp8": ("C1", "--")}[run["kind"]]
    label = wide_name[run["kind"]] if run["seed"] == 0 else None
    _ = ax.plot([10 * i + 10 for i in range(len(run["loss"]))], run["loss"], style[1], color=style[0], label=label)
_ = ax.set(xlabel="step", ylabel="loss, nats a character")
_ = ax.legend(frameon=False)
plt.show()
for run in record["runs"]:
    print(f"seed {run['seed']}, {wide_name[run['kind']]:4} held-out loss {run['held_out']:.3f}")

# %%
def gaps_of(runs: list[dict]) -> torch.Tensor:
    """Held-out loss in FP8 less that of the wide run, seed by seed."""
    held = {(run["kind"], run["seed"]): run["held_out"] for run in runs}
    return torch.tensor([held["fp8", seed] - held["bf16", seed] for seed in sorted({run["seed"] for run in runs})])


emulated = results.read("ch09_fp8")["runs"]
for name, runs in (("on the H100, less bf16", record["runs"]), ("emulated on a CPU, less float32", emulated)):
    gaps = gaps_of(runs)
    half = 4.303 * gaps.std() / len(gaps) ** 0.5  # Student's t for 3 seeds
    wide_runs = [run["held_out"] for run in runs if run["kind"] == "bf16"]
    print(f"FP8 {name}: {[f'{gap:+.3f}' for gap in gaps.tolist()]}")
    print(f"  mean {gaps.mean():+.3f} ± {half:.3f}; wide runs over {max(wide_runs) - min(wide_runs):.3f}")

# %% [markdown]
# The differences have both signs, the interval holds zero, and it is wide: these runs are short, seeds end far apart, and a harm of a few hundredths would hide among them. So we may say that training in eight bits *runs*, and may not say that it is free. V3 could say more: a relative difference of loss below 0.25 % over about a trillion tokens, on two larger models {cite}`deepseekv3`. The control is the second line: the same, emulated on a CPU with exact sums and smaller still, where rounding alone did no visible harm either. What training would not live with is a number that is *gone*, or a sum that stops growing, and these two are what scales and promotion prevent.

# %% [markdown]
# ## What FP8 bought
#
# Twice bf16's operations in the same time, on paper. Our kernel in Triton, on the H100, at $8192^3$:

# %%
bench = results.read("bench_kernels")["cases"]
cases = {case["case"]: case for case in bench if case["bench"] in ("fp8", "ptx")}
product_case = cases["FP8 product, blocks of 1 x 128 and 128 x 128"]


def rate(case: dict, name: str) -> float:
    """TFLOP/s of one contestant."""
    return case["contestants"][name]["tflop_s"]


bf16_rate, triton_rate = rate(product_case, "bf16 torch.matmul"), rate(product_case, "ours, in Triton alone")
print(f"bf16, torch.matmul {bf16_rate:.0f} TFLOP/s; FP8 by our Triton {triton_rate:.0f}: {triton_rate / bf16_rate:.2f} times")

# %% [markdown]
# **Slower than bf16.** Half of the bits, and nothing won. Why? After each 128 of the inner dimension the tensor cores stop: the partial sum must be waited for, scaled and added by the ordinary units. Count, for the kernel's tile of 64 by 128:

# %%
def ticks(rows: int, columns: int, depth: int = 128) -> tuple[float, float, float]:
    """Of a multiprocessor: ticks of the product, ticks of scaling and adding, bytes read for each tick of the product."""
    product = rows * columns * depth / 4096  # FP8 multiply-adds in a tick
    return product, rows * columns / 128, (rows + columns) * depth / product  # float32 multiply-adds in a tick


for rows, columns in ((64, 128), (192, 128), (128, 256)):
    product, adding, read = ticks(rows, columns)
    print(f"{rows:>3} x {columns}: product {product:4.0f} ticks, scaling and adding {adding:3.0f}; "
          f"{read:.0f} bytes read a tick")  # fmt: skip

# %% [markdown]
# Two troubles. The adding is a quarter of the product's time, and with waiting for both it is more. And a small tile reads much for little work, nearly twice as much a tick as one of 192 by 128.
#
# The adding need not be *lost*: let one group of warps multiply while another adds. That is what V3's kernels do (section 3.3.2). But Triton decides by itself which warp does what. So we go one storey down, to **Gluon**, the language that Triton's own is built on. There the program says who does what:
#
# - one warp does nothing but order copies from memory, as far ahead as there is room;
# - three groups of four warps multiply, 64 rows each, and each scales and adds while the products of the *others* run;
# - they trade registers: the copier gives its own away;
# - a finished tile goes into shared memory, and the copy engine takes it from there, while the group is at its next tile.
#
# A tile of 128 by 256 would read least. But a group's sums and partial sums are then $2 \cdot 64 \cdot 256 / 128 = 256$ registers for each thread, and a thread can have 255: our first version spilled to memory and was slower than Triton's (a run that we did not keep). Hence 192 by 128. You can check ours without a GPU:

# %%
from minidsk.kernels import fp8_hopper
from minidsk.kernels.hopper import descriptor_type

kinds = {"a": descriptor_type(torch.float8_e4m3fn, [64, 128]), "a_scales": "*fp32",
         "b": descriptor_type(torch.float8_e4m3fn, [128, 128]), "b_scales": "*fp32",
         "y": descriptor_type(torch.bfloat16, [64, 128]),
         **dict.fromkeys(("m", "n", "k", "a_column", "b_row", "b_column"), "i32:16")}  # fmt: skip
fixed = {"a_row": 1, "GROUPS": 3, "STAGES": 4}
made = compile_kernel(fp8_hopper._scaled_matmul_hopper, kinds, fixed, warps=4, most_registers=128)
print(made.stack, "bytes spilled")
for word, meaning in {"QGMMA": "products of FP8", "UTMALDG": "copies in", "UTMASTG": "copies out"}.items():
    print(f"{made.count(word):>3} {meaning}")
assert made.stack == 0

# %% [markdown]
# Twelve products in the code: four of 32 for each 128 of the inner dimension, in each of three groups. And on the chip:

# %% tags=["figure"]
against = cases["FP8 product, against torch's own"]
rates = {"bf16, torch": bf16_rate, "FP8, our Triton": triton_rate, "FP8, our Gluon": rate(product_case, "ours"),
         "FP8, torch: a scale a row": rate(against, "torch, a scale for each row, promoted sums"),
         "FP8, torch: one scale": rate(against, "torch, one scale, sums in the tensor cores")}  # fmt: skip
fig, ax = plt.subplots(figsize=(5.5, 2.4), layout="constrained")
_ = ax.barh(list(rates), list(rates.values()), color=["C7", "C0", "C1", "C7", "C7"])
_ = ax.invert_yaxis()
_ = ax.set(xlabel="TFLOP/s at 8192^3, H100")
plt.show()
for name, value in rates.items():
    print(f"{name:26} {value:5.0f} TFLOP/s, {value / bf16_rate:.2f} of bf16")
errors = product_case["relative_error"], product_case["quantisation_error"]
print(f"error of ours {errors[0]:.4f}, of the quantising alone {errors[1]:.4f}")
quantising = cases["quantise, blocks of 1 x 128"]["contestants"]["ours"]["median"] * 1e6
product_time = product_case["contestants"]["ours"]["median"] * 1e6
print(f"a product takes {product_time:.0f} us; to quantise one factor takes {quantising:.0f} us more")
assert rates["FP8, our Gluon"] > 1.4 * bf16_rate

# %% [markdown]
# **1.6 times bf16**, where 1.4 was wanted, from the same scales and with the same bits in the result. torch's products are faster where they do less: one scale for a whole matrix needs no adding in between, and loses what a loud number makes it lose. With a scale for each row, a compromise, torch is where we are.

# %% [markdown]
# ## Reading your own PTX
#
# You have just read a kernel for a GPU that is not here. What is between Triton and the chip? **PTX**, NVIDIA's language for a machine with any number of registers; NVIDIA's assembler turns it into the chip's own instructions (SASS).

# %%
@triton.jit
def doubled(x, y, size, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + place, 2 * tl.load(x + place, mask=place < size), mask=place < size)


made = compile_kernel(doubled, {"x": "*fp32", "y": "*fp32", "size": "i32"}, {"BLOCK": 128})
print(made.body())

# %% [markdown]
# Read it with a finger: which program am I (`ctaid`), times 128 (a shift by 7), which thread (`tid`), is my place below `size` (`setp`, a predicate), then under that predicate (`@%p1`) a load, an addition, a store. Doubling became *adding to itself*: nobody told the compiler.
#
# ## A line of one's own
#
# The sigmoid is an exponential, an addition and a division. The chip has an instruction for the hyperbolic tangent, and $\sigma(x) = (1 + \tanh(x/2))/2$. Triton has no word for it. One line of PTX has:

# %%
print(ptx.TANH)
types, constants = {"x": "*bf16", "y": "*bf16", "size": "i32:16"}, {"NAME": "silu", "TIMES": 1, "BLOCK": 2048}
compiled = {name: compile_kernel(ptx._map, types, {**constants, "LINE": line}) for name, line in (("plain", ""), ("inline", ptx.TANH))}
for name, made in compiled.items():
    instructions = len([line for line in made.sass.splitlines() if line.strip().endswith(";") or "; " in line])
    print(f"{name:7} {instructions} instructions, of which {made.count('MUFU')} in the slow special unit")
assert compiled["inline"].count("MUFU") < compiled["plain"].count("MUFU")

# %% [markdown]
# Half of the work of the special unit. And yet: this kernel reads and writes memory, and chapter 07 told us what it waits for. Here are the times on the H100, of 67 million numbers, with the function applied once and 32 times over:

# %%
for times in ("once", "32 times over"):
    both = {name: entry["median"] * 1e6 for name, entry in cases[f"silu, {times}"]["contestants"].items()}
    print(f"{times:14} plain {both['without PTX']:5.0f} us, with the line {both['ours']:5.0f} us")

# %% [markdown]
# Once: **nothing saved**, for memory decides. Over and over: more than twice as fast. The line saves instructions, and saves time where a kernel is bound by arithmetic.
#
# Two more lines, and what they bring:

# %%
exp = {"NAME": "exp2", "TIMES": 1, "BLOCK": 2048}
cast = {"NAME": "to_bf16", "TIMES": 1, "BLOCK": 2048}
pairs = {"2 exponentials of bf16 at once": (types, exp, ptx.EXP2_PAIR, "MUFU"),
         "2 float32 into bf16 at once": ({**types, "x": "*fp32"}, cast, ptx.TO_BF16_PAIR, "F2FP")}  # fmt: skip
for name, (kinds, settings, line, instruction) in pairs.items():
    plain, inline = (compile_kernel(ptx._map, kinds, {**settings, "LINE": text}).count(instruction) for text in ("", line))
    print(f"{name}: {instruction} {plain} without the line, {inline} with it")

# %% [markdown]
# Nothing. The assembler takes the pair of exponentials apart again, and the compiler had packed the casts by itself. The chip agrees, and so it does about a hint to the cache:

# %%
for name in ("exp2, 32 times over", "float32 to bf16", "copy, read once"):
    both = {key: entry["median"] * 1e6 for key, entry in cases[name]["contestants"].items()}
    print(f"{name:20} plain {both['without PTX']:5.0f} us, with the line {both['ours']:5.0f} us")

# %% [markdown]
# *Look before you write assembler*, and measure after, is the honest lesson of three lines out of four.

# %% [markdown]
# ## What DeepSeek did
#
# With scales $s$ for blocks $k$ of 128 along the inner dimension, and codes $\hat A$, $\hat B$, V3 computes {cite}`deepseekv3`
#
# $$
# C_{ij} = \sum_{k} s^A_{i,k}\, s^B_{\lceil j/128 \rceil, k} \underbrace{\sum_{l \in k} \hat A_{il} \hat B_{jl}}_{\text{tensor cores, about 14 bits}},
# \qquad s^A_{i,k} = \frac{1}{448} \max_{l \in k} |A_{il}|,
# $$
#
# the outer sum in float32 on ordinary units (section 3.3). E4M3 everywhere, where others take E5M2 for gradients: with scales so local, range is not what is missing. Embedding, head, router, norms and attention stay in bf16 or float32; so do the master weights.
#
# **And the assembler?** Section 3.2.2 speaks of customized PTX instructions in one place: the kernels that send tokens between GPUs, so that these use less of the L2 cache and disturb other kernels less. Their library for it has a load with the same hints as our `LOAD_ONCE` {cite}`deepep2025`:

# %%
print(ptx.LOAD_ONCE)

# %% [markdown]
# So PTX is not a way around CUDA: it is part of it, and the layer that every CUDA program goes through. "Bypassing" is the wrong word for writing a few lines of it by hand, where the language above has no word for what the chip can do. What does that cost the one who does it? The line works on one maker's chips, and often on one generation. No type, no mask, no interpreter: our tests on a CPU cannot reach it. The compiler neither checks nor improves it. And somebody must keep measuring that it still helps.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Three kernels for one product.** The first, in Triton, was no faster than bf16. The second, in Gluon with a tile of 128 by 256, spilled and was slower still. The third, of 192 by 128, got to what was wanted by a hair while its warps wrote the result out by themselves, and past it once the copy engine did. (Only the last one's run is kept, so the others have no figures here.) A tiling of the first with 256 columns was *wrong*: it spans two scales of the weight, and used one. The package refuses it now, and it is the printed error that told us.
#
# **Quantising** is at 0.88 and 0.78 of the copy's bandwidth, where 0.9 was wanted. **The gradient of a weight** has blocks of 1 x 128 on both sides, and is still made in Triton: level with bf16, no more. **Three seeds** of a short run cannot see a small harm; the interval above says how little they see.
#
# **The interpreter's eights.** Triton's interpreter rounds 1.99 to 1 in E4M3: it forgets to carry from the mantissa into the exponent. Our kernel rounds beforehand when it is interpreted:

# %%
near_two = torch.tensor([[1.9911, 448.0]])
print("1.9911 in E4M3:", dequantize(*(part.cpu() for part in quantize(near_two.to(device))))[0, 0].item())

# %% [markdown]
# **A test that was too exact.** On a GPU torch divides by a *number* as a product with its reciprocal, and the last bit differs from a division. Tests that compared scales bit by bit passed on the CPU and, we believe for this reason, failed on the chip.

# %% [markdown]
# ## Exercises
#
# ```{exercise} A pattern and its value
# :label: ex-09-value
#
# *10 minutes.* Write `float_value(bits, exponent, mantissa, bias)`. `check("lowprec.float_value", my_value)` says how you stand.
#
# **Hint.** Three fields, by `>>` and `&`; then the two cases of the definition.
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
# *15 minutes.* Write `quantize(x, block)` without a loop. `check("lowprec.quantize", my_quantize)`.
#
# **Hint.** `unflatten` the columns; mind a block of zeros.
# ```
#
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
# *15 minutes.* Write `promoted_sum(terms, bits, every)`. `check("lowprec.promoted_sum", my_sum)`.
#
# **Hint.** `narrow_sum` above is nearly it; the rest at the end counts too.
# ```
#
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
# **Hint.** Over which dimension does it sum?
# ```
#
# ```{solution} ex-09-gradient
# :class: dropdown
#
# $dW = dY^\top X$ sums over tokens, and each token has its own scale: within a partial sum of 128 tokens the scales would all differ, and could not wait until the sum is done. So X is quantised anew, with blocks along the tokens. V3 does so too (section 3.5.2 asks hardware for help with it).
# ```

# %% [markdown]
# ## Bug zoo
#
# Three wrong quantisers live in the package. This test accepts the right one and misses some. Write the rest.

# %% tags=["zoo"]
def the_largest_becomes_448(quantize) -> None:
    codes, _ = quantize(torch.tensor([[1.0, 2.0, 1.0, 2.0]]), 2)
    assert codes.tolist() == [[224.0, 448.0, 224.0, 448.0]]


zoo("lowprec", [the_largest_becomes_448])

# %% [markdown]
# Ours are behind the button. Look at them last.

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

# %% tags=["receipt"]
spread = {name: [run["held_out"] for run in record["runs"] if run["kind"] == kind]
          for kind, name in (("bf16", "held-out loss, bf16"), ("fp8", "held-out loss, FP8"))}  # fmt: skip
limits = {"codes": 0, "scales": 1e-6, "product": 1e-2}
receipt(spread=spread, differences={name: (value, limits[name]) for name, value in differences.items()})

# %% [markdown]
# ## Summary
#
# How can a model learn in eight bits? Because each block of **128** has a scale of its own, so that a loud number deafens its neighbours alone, and because sums are carried over into float32 every 128 terms, before they stop growing. What is left is noise of a few percent, and in our small runs its harm was lost in the spread over seeds. The speed came only when the kernel said which warps copy, which multiply and which add: 1.6 times bf16, from slower than bf16. And nobody bypassed CUDA: some lines of PTX, where the language had no word.
#
# - I can now say what E4M3 can write, and what becomes of a small number beside a large one.
# - I can now quantise by blocks, and multiply what I quantised.
# - I can now show why a long sum in few bits stops growing, and what promotion does.
# - I can now read the PTX of my own kernel on a laptop, and put a line of it into a kernel.
# - I can now say why eight bits alone made nothing faster, and tell when a line of PTX saves nothing.

# %% [markdown]
# ## Read on
#
# - DeepSeek-V3, section 3.3, and 3.5 for what they ask of hardware {cite}`deepseekv3`.
# - FP8 formats {cite}`micikevicius2022fp8`.
# - The code of this chapter: `minidsk/kernels/fp8.py`, `fp8_linear.py`, `ptx.py`, `compiled.py`.
