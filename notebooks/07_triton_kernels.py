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
# A softmax over 134 million numbers takes about 700 million operations, and the matrix units of an H100 can do that many in less than a microsecond. Yet no softmax on that chip will ever take a microsecond. The best ones take far longer, and PyTorch's own is slower still. What is the chip waiting for? And how can you know, before you write a kernel, how fast it can become?
#
# - **You will build** a softmax that touches each number once, RMSNorm with its gradient, and a loss that never holds all its logits. You also get a meter that counts bytes without a GPU, and tests that tell a right kernel from a lucky one.
# - **You need** PyTorch and Triton, which comes with Colab and with `pip install triton` on Linux. You need **no GPU**: the kernels run here in Triton's interpreter, and the speeds were recorded on an H100 by a command that you can run too.
# - **It takes** 4 to 20 s to run on two CPU cores of a laptop, about twice that on Colab's two, and an hour and a half to read.

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

import inspect
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch.nn.functional as F
import triton
import triton.language as tl

from minidsk import results
from minidsk.diagrams import diagram, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.kernels.launch import INTERPRETED

plt.style.use("minidsk.diagrams.look")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# the interpreter computes with numpy, also in lanes that are masked
_ = np.seterr(invalid="ignore", over="ignore")

# %% [markdown]
# ## A GPU computes far faster than its memory delivers
#
# An H100 has 132 **multiprocessors** (in the figure *SMs*, streaming multiprocessors), which are independent processors on one chip. Each has its own registers and its own shared memory, where the numbers lie within reach of its arithmetic units. All of them share one large **memory**, which holds the tensors. The left half of the figure shows how much there is of each on the whole chip. The registers are 132 × 256 KB in all. Registers and shared memory belong to one multiprocessor, and the others cannot read them; the cache and the memory are open to all. (Each thread has its own registers, and each program its own shared memory. What threads and programs are follows below the next cell. The right half comes back in the section on the roofline.)
#
# How fast do the numbers arrive, and how fast could they be used? The cell below the figure takes both speeds from the data sheet and the white paper of the H100 {cite}`nvidia2022h100`. A tick is one cycle of its clock.

# %% tags=["diagram", "hide-input"]
diagram("memory_hierarchy_and_roofline")

# %%
multiprocessors, clock = 132, 1.83e9
near_bytes = 256 * 1024 + 228 * 1024  # registers and shared memory of one multiprocessor
memory_bytes_s, matrix_flop_s = 3.35e12, 989e12
near = multiprocessors * near_bytes / 1e6
print(f"registers and shared memory, together: {near:.0f} MB; memory: 80 GB")
ticks = multiprocessors * clock
print(f"per tick and multiprocessor: {memory_bytes_s / ticks:.0f} bytes arrive, "
      f"{matrix_flop_s / ticks:,.0f} operations can be done")

# %% [markdown]
# In each tick, seven bf16 numbers arrive at a multiprocessor, and it could do four thousand operations. A kernel that does little with each number therefore waits for memory. There is only one remedy: **move each number once.**
#
# **The work is divided into programs.** A kernel is a *program* that runs many times at once, each time with another number, its `program_id`. A multiprocessor runs several programs at a time. Inside a program, threads work in groups of 32 that move in lockstep, and such a group is called a *warp*. In Triton {cite}`tillet2019triton` you say what one program does with a whole *block* of numbers, and the compiler decides how the warps share the block.
#
# Now guess the answer to the opening question. A softmax does about 5 operations on each number: compare, subtract, exponential, add and divide. We count these at the speed of the matrix units, the fastest on the chip. Type a number into the box. (In your own notebook, replace `None` with it.)

# %% tags=["prediction", "hide-input"]
guess = None
wait = predict("kernels.wait", "On an H100, how many times as long as its operations does the "
               "best softmax take?", guess, example=20)
wait

# %% [markdown]
# ## Five PyTorch operations move the array eight times
#
# We keep one row for the whole chapter. Here is its softmax, step by step. We subtract the largest number first, because that keeps the exponentials from overflowing.

# %%
row = torch.tensor([2.0, 0.0, 3.0, 1.0])
shifted = row - row.max()
print("shifted     ", shifted.tolist())
print("exponentials", [round(v, 4) for v in shifted.exp().tolist()])
print("their sum   ", round(shifted.exp().sum().item(), 3))
print("softmax     ", [round(v, 3) for v in row.softmax(0).tolist()])

# %% [markdown]
# Remember the sum, **1.553**, because it returns below. In PyTorch this softmax is five operations, and each operation is a kernel of its own:

# %% tags=["naive"]
def five_operations(x: torch.Tensor) -> torch.Tensor:
    """Softmax over the last dimension; x: [rows, columns]."""
    largest = x.max(-1, keepdim=True).values
    shifted = x - largest
    e = shifted.exp()
    total = e.sum(-1, keepdim=True)
    return e / total


# %% [markdown]
# Each of these kernels reads its input from memory and writes its result back. The next cell counts these trips for an array of N numbers:

# %%
trips = {"max": (1, 0), "subtract": (1, 1), "exp": (1, 1), "sum": (1, 0), "divide": (1, 1)}
print(f"in all {sum(map(sum, trips.values()))} N; each number read once and written once: 2 N")
table(["operation", "reads", "writes"],
      [[name, f"{read} N", f"{written} N"] for name, (read, written) in trips.items()])

# %% [markdown]
# ## A kernel that reads and writes each number once
#
# In our kernel, one program handles one row. It loads the row into registers and does everything else there.

# %%
@triton.jit
def softmax_kernel(x, y, columns, WIDTH: tl.constexpr):
    column = tl.arange(0, WIDTH)
    inside = column < columns
    at = tl.program_id(0) * columns + column
    value = tl.load(x + at, mask=inside, other=-float("inf")).to(tl.float32)
    value = tl.exp(value - tl.max(value, 0))
    value = value / tl.sum(value, 0)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


# %% [markdown]
# `x` is the address of the first number, so `x + at` gives `WIDTH` addresses, one for each position (*lane*) of the block. `WIDTH` is a `tl.constexpr`, a constant for the compiler, which makes a kernel of its own for each value. A block's size must be a power of two, but the length of a row seldom is. The lanes beyond the end of the row are therefore masked: they load minus infinity, whose exponential is 0, and they store nothing. The *launch*, the call with square brackets, says how many programs run:

# %%
def fused(x: torch.Tensor) -> torch.Tensor:
    """Softmax over the last dimension, one program per row; x: [rows, columns], contiguous."""
    y = torch.empty_like(x)
    rows, columns = x.shape
    softmax_kernel[(rows,)](x, y, columns, WIDTH=triton.next_power_of_2(columns))
    return y


print([round(v, 3) for v in fused(row[None].to(device))[0].tolist()])

# %% [markdown]
# ## The same, from the package
#
# The package's `softmax` does the same. It also handles several short rows per program, rows that are too long for the registers, strides, and the gradient.

# %% tags=["agree"]
from minidsk.kernels.softmax import softmax

x = torch.randn(6, 100, generator=torch.Generator().manual_seed(0)).to(device)


def largest(a, b):
    return (a - b).abs().max().item()


differences = {"five operations and kernel": largest(five_operations(x), fused(x)),
               "kernel and package": largest(fused(x), softmax(x))}
assert max(differences.values()) < 1e-6
print("largest difference: below 1e-6")

# %% [markdown]
# ## Counting bytes without a GPU
#
# You need a GPU to measure speed, but not to count *bytes*. In the interpreter every `tl.load` and `tl.store` is a call of Python with addresses and a mask. The package's meter wraps these calls, and adds up the numbers under each mask times their bytes. It knows no cache, so a byte that is read twice counts twice:

# %%
from minidsk.kernels.traffic import traffic

if INTERPRETED:
    with traffic() as moved:
        _ = fused(x)
    print(f"{x.numel()} numbers of 4 bytes: {moved.read} bytes read, {moved.written} written")
    assert moved.bytes == 2 * x.numel() * x.element_size()

# %% [markdown]
# The kernel moves 2 N numbers and not a byte more, because masked lanes move nothing. That is a quarter of what the five operations move. If the chip waits for bytes, this kernel should be four times as fast. (On the H100 it is six times as fast; the section "On the H100" explains the difference.)
#
# ## How to test a kernel: random inputs, poison, odd sizes
#
# A fast kernel is useless if it is wrong, and kernels go wrong in ways of their own. To see how, we break ours on purpose. `broken(kernel, piece, wrong)`, folded here, returns a kernel with one piece of its text exchanged.

# %% tags=["hide-input"]
def broken(kernel, piece, wrong):
    """The kernel with `wrong` in place of `piece`, which stands in its text once."""
    text = inspect.getsource(kernel.fn)
    assert text.count(piece) == 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broken.py"
        _ = path.write_text("import triton\nimport triton.language as tl\n\n\n"
                            + text.replace(piece, wrong))
        spec = importlib.util.spec_from_file_location("broken", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, kernel.fn.__name__)


# %%
def right(size: int, kernel, poison=0.0) -> bool:
    """Whether a softmax agrees with float64 on five rows of `size` random numbers."""
    # `poison` around them, so that lanes beyond the end have something to read
    room = torch.full((5 * size + 64,), poison, device=device)
    x, y = room.clone(), room.clone()
    x[: 5 * size] = torch.randn(5 * size).to(device)
    kernel[(5,)](x, y, size, WIDTH=triton.next_power_of_2(size))
    exact = x[: 5 * size].view(5, size).double().softmax(-1)
    return bool(torch.allclose(y[: 5 * size].view(5, size).double(), exact, atol=1e-6))


# %%
no_mask = broken(softmax_kernel, 'mask=inside, other=-float("inf")', "")
print("64 columns, load without mask:", right(64, no_mask))
print("50 columns, load without mask:", right(50, no_mask))
print("50 columns, with the mask:    ", right(50, softmax_kernel))

# %% [markdown]
# A test with 64 columns alone would have passed the wrong kernel. Two other mistakes are common: part of a row is never written, or a sum leaves out the last block. If the test uses *zeros*, such a mistake can go unnoticed. Here a kernel writes only the first half of each row:

# %%
half = broken(softmax_kernel, "element_ty), mask=inside",
              "element_ty), mask=column < columns // 2")
# the memory still holds the right answer for zeros
ran_before = torch.full((5 * 50 + 64,), 1 / 50, device=device)
half[(5,)](torch.zeros_like(ran_before), ran_before, 50, WIDTH=64)
same = torch.allclose(ran_before[:250], torch.tensor(1 / 50, device=device))
print("on zeros, into used memory:", bool(same))
print("random numbers, poisoned:  ", right(50, half, poison=float("nan")))

# %% [markdown]
# These mistakes are the reason for four habits in `tests/kernels`:
#
# 1. **Fresh random inputs** in every run, and never zeros.
# 2. **A float64 reference**, with a limit on the relative error: 1e-5 for float32, 2e-3 for fp16 and 1e-2 for bf16.
# 3. **Poisoned outputs**, filled with nan before the kernel runs, so that everything it forgets to write shows.
# 4. **Odd sizes and strides**: sizes of 1, 5, 50 and 4,097, every second column, a transposed array and an expanded one.
#
# The fifth habit is what `broken` does: break the kernel on purpose, and see the test fail.
#
# ## The roofline: how fast a kernel can be
#
# A kernel moves bytes and does operations, and it can do both at once. Neither can go faster than the chip allows, so the time is at least the longer of the two {cite}`williams2009roofline`:
#
# $$ t \ge \max\left(\frac{\text{bytes}}{\text{bandwidth}},\ \frac{\text{operations}}{\text{rate}}\right). $$
#
# Bandwidth and rate are best measured: `minidsk bench kernels` times a large copy and a large product. Dividing the rate by the bandwidth gives the **ridge**, in operations per byte. A kernel with fewer operations per byte waits for the memory, and a kernel with more waits for the arithmetic. The figure at the top took the data sheet's 989 TFLOP/s and 3.35 TB/s, which gives a ridge of 295. A real product and a real copy reach a little less, and from here on we use what was measured:

# %%
facts, bench = results.facts("bench_kernels"), results.read("bench_kernels")
roof = bench["ceilings"]
ridge = roof["matmul_tflop_s"] * 1e12 / (roof["copy_gb_s"] * 1e9)
print(f"{roof['device']}, torch {facts['versions']['torch']}, triton "
      f"{facts['versions']['triton']}")
print(f"copies at {roof['copy_gb_s']:,.0f} GB/s, multiplies bf16 matrices at "
      f"{roof['matmul_tflop_s']:.0f} TFLOP/s")
print(f"ridge: {ridge:.0f} operations per byte")

# %% [markdown]
# The next figure shows where our kernels stand. The dots are measured, and the rings show what the roof allows. Pick a kernel, or move the slider to change the side of a product of two matrices. From which side on does that product no longer wait for the memory?

# %% tags=["widget"]
from minidsk.widgets import Roofline

points, chapter = {}, ("softmax", "rmsnorm", "cross_entropy")
for case in (c for c in bench["cases"] if c["bench"] in chapter):
    measured = case["contestants"]["ours"]["median"]
    point = {"bytes": case["bytes"], "flops": case["flops"], "seconds": measured}
    points.setdefault(case["case"], point)
devices = {roof["device"]: (roof["copy_gb_s"], roof["matmul_tflop_s"]),
           "a laptop of 50 GB/s and 1 TFLOP/s": (50, 1)}
Roofline(devices, points, title="Under the roof")

# %% [markdown]
# The product does $n/3$ operations per byte at side $n$, so on the H100 it waits for the memory up to a side of about 800. Softmax stands far to the left, because it does only 5 operations for each number, which is 4 bytes: 2 read and 2 written. It waits for the memory, whatever we do. How long does the best one wait?

# %%
case = next(c for c in bench["cases"] if c["case"] == "softmax, forward")
arithmetic = case["flops"] / roof["matmul_tflop_s"] / 1e12
wait.reveal(round(case["contestants"]["ours"]["median"] / arithmetic))

# %% [markdown]
# This answers both questions of the opening: the chip waits for numbers. The 213 is generous to the arithmetic, because matrix units cannot take an exponential. The units that can do 16 of them per tick on each multiprocessor, so the 134 million of our record take about $134 \times 10^6 / (132 \times 16 \times 1.83 \times 10^9)$ s, or 35 µs. The kernel needs five times as long even so, all of it for memory. **A softmax can be as fast as a copy of its array, and no faster.** The same two divisions tell how fast the other kernels of this chapter can become, before we write them. The table gives both times for the sizes of our record, all in bf16:

# %% tags=["hide-input"]
copied = case["bytes"] / roof["copy_gb_s"] / 1e9
softmax_took = case["contestants"]["ours"]["median"]
print(f"a copy of the array {1e6 * copied:.0f} µs, our softmax {1e6 * softmax_took:.0f} µs, "
      f"which is {softmax_took / arithmetic:.0f} times its operations")
assert abs(softmax_took / copied - 1) < 0.02
mine = [c for c in bench["cases"] if c["bench"] in chapter]
names = ["softmax, rows of 4,096", "softmax, rows of 131,072",
         "RMSNorm, forward", "RMSNorm, backward", "output layer and its loss",
         "loss on ready logits"]
rows = []
sizes = [*["134 M numbers"] * 4, "32,768 tokens × 2,048, 131,072 words",
         "8,192 tokens × 131,072 words"]
for name, size, case in zip(names, sizes, mine, strict=True):
    needs = [1e3 * case["bytes"] / roof["copy_gb_s"] / 1e9,
             1e3 * case["flops"] / roof["matmul_tflop_s"] / 1e12]
    rows += [[name, size, *(f"{ms:.3f}" for ms in needs),
              "memory" if needs[0] > needs[1] else "arithmetic"]]
table(["", "size", "memory", "arithmetic", "waits for"], rows,
      "The least time on the H100, in milliseconds: to move the bytes, and to do the "
      "operations.")

# %% [markdown]
# ## RMSNorm: one reading, and a gradient that sums over rows
#
# RMSNorm {cite}`zhang2019rmsnorm` divides a row by its root mean square and multiplies it by a weight. It also waits for the memory, so each number should be read and written once. Without the weight, our row becomes:

# %%
r = 1 / row.square().mean().sqrt()
print(f"mean square {row.square().mean():.1f}, r = {r:.4f}")
print("normalised", [round(v, 3) for v in (row * r).tolist()])

# %% [markdown]
# Again one program handles one row. It also writes down the row's $r$, because the backward pass needs it.

# %%
@triton.jit
def norm_kernel(x, weight, y, inverse, columns, eps, WIDTH: tl.constexpr):
    row, column = tl.program_id(0), tl.arange(0, WIDTH)
    inside = column < columns
    value = tl.load(x + row * columns + column, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    r = tl.rsqrt(tl.sum(value * value, 0) / columns + eps)
    value = value * r * scale
    tl.store(y + row * columns + column, value.to(y.dtype.element_ty), mask=inside)
    tl.store(inverse + row, r)


# %%
def norm_forward(x, weight, kernel=norm_kernel, eps=1e-6):
    """y, and the r of each row; x: [rows, columns], contiguous."""
    y, inverse = torch.full_like(x, torch.nan), torch.full_like(x[:, 0], torch.nan)
    rows, columns = x.shape
    kernel[(rows,)](x, weight, y, inverse, columns, eps,
                    WIDTH=triton.next_power_of_2(columns))
    return y, inverse


# %% [markdown]
# The outputs begin as nan, and 50 columns fill no block of 64: two of the habits above. Is the kernel equal to float64 and to the package's? And would we notice a mean over all 64 lanes instead of 50?

# %%
from minidsk.kernels.rmsnorm import rms_norm, rms_norm_reference

g = torch.Generator().manual_seed(1)
x, weight, dy = (torch.randn(*shape, generator=g).to(device)
                 for shape in ((30, 50), (50,), (30, 50)))
exact = rms_norm_reference(x.double(), weight.double())
y, inverse = norm_forward(x, weight)
differences["RMSNorm, forward"] = max(largest(y, exact), largest(y, rms_norm(x, weight)))
assert differences["RMSNorm, forward"] < 1e-5

# %%
all_lanes = broken(norm_kernel, "/ columns", "/ WIDTH")
off = largest(norm_forward(x, weight, all_lanes)[0], exact)
print(f"kernel: below 1e-5; with a mean over all lanes: off by {off:.2f}")
assert off > 0.1

# %% [markdown]
# ### Its gradient, slowly
#
# The kernel's `eps` is a small $\epsilon$ that keeps a row of zeros from a division by 0, so $r = (\mathrm{mean}(x^2) + \epsilon)^{-1/2}$. Let $\hat x = x r$ be the normalised row and $g = w\, dy$ the gradient that reaches it. Each $x$ has two effects. It stands in the numerator of its own $\hat x$, which gives $r g$. It also stands in $r$, which multiplies the whole row. The derivative of $r$ with respect to $x$ is $-r^3 x$, divided by the number of columns. The chain rule adds up both effects:
#
# $$ dx = r\, g - r\, \hat x \cdot \mathrm{mean}(g\, \hat x), \qquad dw = \sum_{\text{rows}} dy\, \hat x. $$
#
# The function does this with one PyTorch operation after the other. The cell behind it tries our row, when only the first output matters.

# %% tags=["naive"]
def slow_backward(x, weight, dy, eps=1e-6):
    """dx [rows, columns] and dw [columns], one PyTorch operation after the other."""
    r = (x.square().mean(-1, keepdim=True) + eps).rsqrt()
    normal, g = x * r, weight * dy
    through_numerator = r * g
    through_r = -r * normal * (g * normal).mean(-1, keepdim=True)
    return through_numerator + through_r, (dy * normal).sum(0)


# %%
dx, _ = slow_backward(row[None], torch.ones(4), torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
print("dx", [round(v, 3) for v in dx[0].tolist()])
print(f"x times dx, summed: {abs((row * dx).sum().item()):.3f}")

# %% [markdown]
# The sum must be 0. If the whole row is multiplied by a number, the output stays the same, so the gradient has no part along $x$. Autograd in float64 confirms the formula, and so does the homework's test. Without the second term, the sum would not be 0 and `dx` would be wrong:

# %%
leaves = [t.double().requires_grad_() for t in (x, weight)]
exact = torch.autograd.grad(rms_norm_reference(*leaves), leaves, dy.double())
slow = slow_backward(x.double(), weight.double(), dy.double())
assert max(map(largest, slow, exact)) < 1e-12
frozen = weight * dy * inverse[:, None]
print(f"against autograd: below 1e-12; without the second term: off by "
      f"{largest(frozen, exact[0]):.1f}")
assert largest(frozen, exact[0]) > 0.1
check("kernels.rms_norm_backward", slow_backward)

# %% [markdown]
# ### Its gradient as a kernel
#
# One row is enough for `dx`: read `x` and `dy`, reduce, write `dx`. But `dw` sums over *all* rows, and programs cannot talk to each other. There are three ways to do it nevertheless:
#
# - All programs add to one array in memory. This is slow where thousands queue for the same address, and the sum differs in its last digits from run to run.
# - Each program writes its products, and a second kernel sums them, which moves a whole additional array.
# - **Few programs handle many rows each.** Each keeps its part of the sum in registers and writes it once.
#
# We take the third way. With four programs, the rows are dealt out like cards:
#
# | program | rows of `x` and `dy` that it reads | rows of `dx` that it writes | once, at its end |
# | --- | --- | --- | --- |
# | 0 | 0, 4, 8, … | 0, 4, 8, … | `parts[0]` |
# | 1 | 1, 5, 9, … | 1, 5, 9, … | `parts[1]` |
# | 2 | 2, 6, 10, … | 2, 6, 10, … | `parts[2]` |
# | 3 | 3, 7, 11, … | 3, 7, 11, … | `parts[3]` |
#
# PyTorch then adds the four rows of `parts`, and their sum is `dw`. So it moves three arrays and one $r$ per row, and for each program the weight and its part of `dw`. The meter confirms that at the end. (The package's kernel handles several rows per turn, and finds out how many programs the GPU can run at once.)

# %%
@triton.jit
def norm_backward_kernel(x, weight, inverse, dy, dx, parts, rows, columns,
                         WIDTH: tl.constexpr):
    program, column = tl.program_id(0), tl.arange(0, WIDTH)
    inside = column < columns
    scale = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    dw = tl.zeros([WIDTH], tl.float32)
    for row in range(program, rows, tl.num_programs(0)):
        at = row * columns + column
        value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        slope = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
        r = tl.load(inverse + row)
        normal, g = value * r, slope * scale
        dw += slope * normal
        middle = tl.sum(g * normal, 0) / columns
        tl.store(dx + at, (r * (g - normal * middle)).to(dx.dtype.element_ty), mask=inside)
    tl.store(parts + program * columns + column, dw, mask=inside)


# %%
def norm_backward(x, weight, inverse, dy, kernel=norm_backward_kernel, programs=4):
    """dx and dw from `programs` programs; x and dy: [rows, columns], contiguous."""
    dx = torch.full_like(x, torch.nan)
    parts = x.new_full((programs, x.shape[1]), torch.nan)
    kernel[(programs,)](x, weight, inverse, dy, dx, parts, *x.shape,
                        WIDTH=triton.next_power_of_2(x.shape[1]))
    return dx, parts.sum(0)


# %%
leaves = [t.clone().requires_grad_() for t in (x, weight)]
package = torch.autograd.grad(rms_norm(*leaves), leaves, dy)
ours = norm_backward(x, weight, inverse, dy)
differences["RMSNorm, dx and dw"] = max(map(largest, ours + ours, exact + package))
assert differences["RMSNorm, dx and dw"] < 1e-5

# %%
last_row = broken(norm_backward_kernel, "dw += slope", "dw = slope")
off = largest(norm_backward(x, weight, inverse, dy, last_row)[1], exact[1])
print(f"kernel: below 1e-5; dw from the last row of each program: off by {off:.1f}")
assert off > 0.1

# %%
if INTERPRETED:
    with traffic() as moved:
        _ = norm_backward(x, weight, inverse, dy)
    least = 3 * x.nbytes + inverse.nbytes
    print(f"x, dy, dx and r: {least} bytes; counted {moved.bytes}")
    assert moved.bytes == least + 4 * 2 * weight.nbytes

# %% [markdown]
# ## The logits are the largest array of all
#
# The last layer of a language model turns each token's state into one logit per word of the vocabulary, and V3's vocabulary has 129,280 words {cite}`deepseekv3`. How fast can its loss become? Here memory is short in two ways: the logits take time to move, and room. For a batch of 32,768 tokens:

# %%
tokens, words, hidden = 32768, 129280, 7168
print(f"states of the batch: {2 * tokens * hidden / 1e9:.1f} GB in bf16")
print(f"its logits:          {2 * tokens * words / 1e9:.1f} GB in bf16, "
      f"{4 * tokens * words / 1e9:.1f} GB in float32, where the loss is taken")

# %% [markdown]
# The gradient of the logits is just as large. Yet the results that we want are small: one number, and two gradients as large as the states and the weights. For a single token, let our row be its logits and word 0 the right one. The loss is $\log \sum e^{z} - z_0$, and its gradient is the softmax minus one at the right word:

# %%
loss = row.logsumexp(0) - row[0]
gradient = row.softmax(0) - torch.tensor([1.0, 0, 0, 0])
print(f"loss {loss:.3f} = 3 + log 1.553 - 2")
print("gradient", [round(v, 3) for v in gradient.tolist()])

# %% [markdown]
# ## A row that does not fit is read twice, not three times
#
# The loss and its gradient both need the maximum and the sum. A row of 4,096 numbers fits into the registers of one program, but the logits of one token do not. Must we read them three times, for the maximum, for the sum and for the gradient?

# %% tags=["diagram", "hide-input"]
diagram("online_softmax")

# %% [markdown]
# The same in code, with our row in two blocks of two numbers:

# %%
first, second = row[:2], row[2:]
top, total = first.max(), (first - first.max()).exp().sum()
print(f"[2, 0]: maximum {top:.0f}, sum {total:.3f}")

# %% [markdown]
# Then comes a 3, which is larger than the old maximum of 2. The sum so far was computed relative to 2, and relative to 3 it is smaller by a factor of $e^{2-3}$. So we rescale it and go on:

# %%
higher = torch.maximum(top, second.max())
total = total * (top - higher).exp() + (second - higher).exp().sum()
print(f"then [3, 1]: maximum {higher:.0f}, sum {total:.3f}")

# %% [markdown]
# The sum is **1.553** again, after a single reading {cite}`milakov2018online`. A softmax whose maximum and sum are kept in this way is called *online*. (Attention is a softmax between two products. It keeps the same pair, so its scores never leave the chip {cite}`dao2023flash2`.)
#
# Now the kernel. One program per row reads the logits block by block and keeps the pair, `top` and `total`. Then it reads them again and writes the gradient *in their place*. `chosen` is the logit of the right word:

# %%
@triton.jit
def loss_kernel(logits, targets, losses, words, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    logits += row * words
    target = tl.load(targets + row)
    chosen = tl.load(logits + target).to(tl.float32)
    top, total = -float("inf"), 0.0
    for start in range(0, words, BLOCK):
        word = start + tl.arange(0, BLOCK)
        z = tl.load(logits + word, mask=word < words, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(z, 0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(z - higher), 0)
        top = higher
    tl.store(losses + row, top + tl.log(total) - chosen)
    for start in range(0, words, BLOCK):
        word = start + tl.arange(0, BLOCK)
        z = tl.load(logits + word, mask=word < words, other=-float("inf")).to(tl.float32)
        slope = tl.exp(z - top) / total - tl.where(word == target, 1.0, 0.0)
        tl.store(logits + word, slope.to(logits.dtype.element_ty), mask=word < words)


# %%
def loss_in_place(z, targets, kernel=loss_kernel, block=64):
    """The loss of each row; the logits z [rows, words] are replaced by their gradient."""
    losses = torch.full_like(z[:, 0], torch.nan)
    kernel[(len(z),)](z, targets, losses, z.shape[1], BLOCK=block)
    return losses


z, target = row[None].clone().to(device), torch.tensor([0], device=device)
print(f"loss {loss_in_place(z, target, block=2).item():.3f}")
print("in place of the logits", [round(v, 3) for v in z[0].tolist()])

# %% [markdown]
# In two blocks of two words the kernel finds the loss and the gradient from above. Is it equal to float64 and to the package's kernel on 20 rows of 300 words? And would we notice if `total` were not rescaled when a larger logit comes?

# %%
from minidsk.kernels.cross_entropy import cross_entropy

logits = 3 * torch.randn(20, 300, generator=g).to(device)
targets = torch.randint(300, (20,), generator=g).to(device)


def with_gradient(mean_loss, z):
    """A mean loss over 20 rows, and 20 times its gradient."""
    leaf = z.clone().requires_grad_()
    loss = mean_loss(leaf, targets)
    return loss, 20 * torch.autograd.grad(loss, leaf)[0]


# %%
def from_kernel(kernel):
    z = logits.clone()
    return loss_in_place(z, targets, kernel).mean(), z


exact = with_gradient(F.cross_entropy, logits.double())
package = with_gradient(cross_entropy, logits)
ours = from_kernel(loss_kernel)
differences["loss, in place"] = max(map(largest, ours + ours, exact + package))
assert differences["loss, in place"] < 1e-5

# %%
not_rescaled = broken(loss_kernel, "total * tl.exp(top - higher)", "total")
loss_off, slope_off = map(largest, from_kernel(not_rescaled), exact)
print(f"kernel: below 1e-5; not rescaled: loss off by {loss_off:.2f}, gradient by "
      f"{slope_off:.2f}")
assert min(loss_off, slope_off) > 0.1

# %%
if INTERPRETED:
    with traffic() as moved:
        _ = from_kernel(loss_kernel)
    print(f"read {moved.read / logits.nbytes:.2f} times, written "
          f"{moved.written / logits.nbytes:.2f} times")

# %% [markdown]
# The kernel reads each logit twice, once more than the roof counts, because a long row does not fit into the registers.
#
# ### The whole output layer, without its logits
#
# What we really want are the gradients of the states and of the weights, `dx` and `dw`. The gradient of the logits is ready as soon as the loss is, so we can compute both at once and then forget the logits. So we work through the tokens in chunks, and only one chunk's logits exist at a time:

# %%
def chunked_loss(x, weight, targets, chunk):
    """Mean cross-entropy of x @ weight.T and both gradients, `chunk` tokens at a time."""
    losses, dx, dw = x.new_empty(len(x)), torch.empty_like(x), torch.zeros_like(weight)
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        z = x[part] @ weight.T
        losses[part] = loss_in_place(z, targets[part])  # from here on z is the gradient
        dx[part] = z @ weight
        dw += z.T @ x[part]
    return losses.mean(), dx / len(x), dw / len(x)


# %%
from minidsk.kernels.cross_entropy import linear_cross_entropy

x, weight = (torch.randn(*shape, generator=g).to(device) for shape in ((20, 8), (300, 8)))


def all_at_once(loss_of, x, weight):
    """A loss of the whole layer, and both gradients by autograd."""
    leaves = [t.clone().requires_grad_() for t in (x, weight)]
    loss = loss_of(*leaves, targets)
    return loss, *torch.autograd.grad(loss, leaves)


# %%
exact = all_at_once(lambda x, w, t: F.cross_entropy(x @ w.T, t), x.double(), weight.double())
package = all_at_once(linear_cross_entropy, x, weight)
ours = chunked_loss(x, weight, targets, 7)
differences["output layer and loss"] = max(map(largest, ours + ours, exact + package))
assert differences["output layer and loss"] < 1e-5

# %%
# the planted bug: the mean of the chunks' means, though the last chunk is shorter
means = [F.cross_entropy(x[i : i + 7] @ weight.T, targets[i : i + 7]) for i in (0, 7, 14)]
off = abs(sum(means) / 3 - exact[0]).item()
print(f"chunks of 7 tokens: below 1e-5; the mean of the chunks' means: off by {off:.2g}")
assert off > 1e-3

# %% [markdown]
# ## On the H100: as fast as a copy where a row is read once
#
# We measured each kernel beside its rivals, in turns, in one run on one GPU. Ours are the package's, with block sizes that were tried out there. The rivals compute the same in plain PyTorch (*eager*), through `torch.compile`, and in Liger-Kernel {cite}`hsu2024liger`, a library of Triton kernels.

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(7.5, 4.2))
told = []
for y, (name, case) in enumerate(zip(names, mine, strict=True)):
    floor = max(case["bytes"] / roof["copy_gb_s"] / 1e9,
                case["flops"] / roof["matmul_tflop_s"] / 1e12)
    reached = {who: 100 * floor / case["contestants"][who]["median"]
               for who in ("ours", case["best_rival"])}
    for k, (who, percent) in enumerate(reached.items()):
        who = who.replace("liger", "Liger")
        _ = ax.barh(y + 0.38 * k - 0.19, percent, 0.34, color=f"C{1 - k}")
        _ = ax.text(percent + 1, y + 0.38 * k - 0.19, f"{who} {percent:.0f} %", va="center")
    told += [f"{name}: "
             + ", ".join(f"{who} {percent:.0f} %" for who, percent in reached.items())]
_ = ax.set_yticks(range(len(mine)), names)
_ = ax.set(xlabel="% of the speed that the roof allows", xlim=(0, 125), ylim=(5.6, -0.6),
           xticks=range(0, 101, 20))
ax.grid(axis="x")
ax.grid(axis="y", visible=False)
show(fig,
     "Ours (orange) beside the fastest rival (blue). A bar of 100 % is as fast as the roof "
     "allows.",
     "A pair of bars for each of six kernels, in percent of the roof. " + "; ".join(told)
     + ".")

# %% tags=["hide-input"]
print(results.origin("bench_kernels"))
found = [f for case in mine for f in case["contestants"].values() if "median" in f]
spread = max((f["quartiles"][1] - f["quartiles"][0]) / f["median"] for f in found)
held = {who: mine[4]["contestants"][who]["peak_bytes"] for who in ("ours", "liger", "eager")}
print(f"largest distance between quartiles: {spread:.1%} of the median")
print("output layer and its loss, of eager's memory: "
      f"ours {held['ours'] / held['eager']:.1%}, Liger {held['liger'] / held['eager']:.1%}")
for case in (c for c in bench["cases"] if c["bench"] == "attention"):
    ours, cudnn = (case["contestants"][who]["median"] for who in ("ours", "sdpa cudnn"))
    print(f"{case['case']}: cuDNN takes {cudnn / ours:.2f} times as long as ours")
rivals = ["ours", "liger", "torch.compile", "torch.nn.functional", "eager", "five operations"]
rows = []
for name, case in zip(names, mine, strict=True):
    times = [case["contestants"].get(who, {}).get("median") for who in rivals]
    rows += [[name, *(f"{1e3 * t:.3f}" if t else "-" for t in times)]]
table(["", "ours", "Liger", "compile", "PyTorch's own", "eager", "five ops"], rows,
      "Time in milliseconds, the median of many calls. A dash: it cannot run this, or there "
      "is none.")

# %% [markdown]
# The quartiles lie close together, so the times can be trusted.
#
# - **Softmax and RMSNorm (forward) are as fast as a copy** for rows of 4,096, within about a percent, and so are Liger's. `torch.compile`'s softmax takes 1.7 times as long, and PyTorch's own `torch.softmax`, in the column *eager*, 2.3 times. The five operations take six times as long, not four, because each of them is also slower than a copy.
# - **RMSNorm's backward pass** takes an eighth less time than `torch.compile`'s. PyTorch's own `F.rms_norm` takes 1.4 times as long as ours forward and 2.2 times as long backward. (*Eager* is the formula in single operations. For softmax it is `torch.softmax`, which is one kernel.)
# - **Softmax for rows of 131,072** reaches 70 %. Such a row does not fit into the registers of one program, so the kernel reads it twice. Three trips instead of two would give 67 %. We measured a little more, because the cache still holds part of the row at the second reading.
# - **The output layer with its loss** is 6 % ahead of `torch.compile` and uses a fifteenth of eager's memory. Four fifths of its time are what the products need at full rate. Liger holds still less memory but is slower, because its chunks are small.

# %% [markdown]
# In two cases a rival is ahead of us:
#
# - **The loss on logits that already exist** reaches a third of the roof, and Liger's takes a tenth less time. The roof counts two trips of the array, one to read the logits and one to write the gradient. The kernel on this page makes three, because it reads the logits twice. The package's kernel makes five. Its backward pass makes the last two: it reads the stored gradient, multiplies it by the incoming gradient, and writes it back. The kernel cannot do this earlier, because autograd supplies the incoming gradient only then. Two trips of five would be 40 % of the roof, and we measured 32 %. We did not find out where the rest of the time goes. Liger skips these two trips where that incoming gradient is 1. But it overwrites the logits, so our bench gives it a fresh copy, and the two trips of that copy are part of its time. Without them it would be further ahead.
# - **Attention's backward pass**, which is not in the figure, is slower than that of cuDNN, NVIDIA's library. Our forward pass is ahead of it.

# %% [markdown]
# ## What DeepSeek did
#
# DeepSeek-V3 {cite}`deepseekv3` is known for its kernels for expert products, FP8 and communication, the subject of chapters [08](08_expert_kernels.ipynb) and [09](09_fp8_and_ptx.ipynb). Another decision belongs here, because it follows from the roofline.
#
# **V3 computes the output of RMSNorm twice** (section 3.2.3). The output of each norm would have to be kept for the backward pass. DeepSeek reports that V3 throws it away and computes it again. If a layer's activations are $N$ numbers of two bytes, that frees $2N$ bytes. A norm is as fast as a copy, so the extra time is
#
# $$ t_{\text{again}} = \frac{2N + 2N \text{ bytes}}{\text{bandwidth}}. $$
#
# V3 does the same with MLA's *up-projections*, the products that make queries, keys and values from short latents. From our record we can compute what recomputing the norms would cost on one GPU, for a batch of 32,768 tokens and V3's 7,168 numbers per token:

# %%
numbers = 32768 * 7168
again = 4 * numbers / roof["copy_gb_s"] / 1e9
norm = next(c for c in bench["cases"] if c["case"] == "RMSNorm, forward")
reached = norm["contestants"]["ours"]["gb_s"] / roof["copy_gb_s"]
print(f"a norm: {2 * numbers / 1e6:.0f} MB less to keep, {1e3 * again / reached:.2f} ms more")
print(f"two norms in each of 61 layers: {122 * 2 * numbers / 1e9:.0f} GB less, "
      f"{1e3 * 122 * again / reached:.0f} ms more")

# %% [markdown]
# V3's layers are spread over many GPUs, but the ratio of time to memory stays the same. For MLA's attention V3 is served with a library of its own, FlashMLA {cite}`flashmla2025`.

# %% [markdown]
# ## What went wrong, or did not help
#
# **We timed Python instead of the GPU.** In our first table, three of five kernels disagreed with another measurement on the same kind of chip on the same day. Their quartiles lay 8 to 39 % of the median apart, too much for equal work. The cause was Python, which needs time to launch a kernel. This time does not count *as long as the GPU has other work in its queue*, so the bench gave it a third of a millisecond of work before each call. On a busy machine that was not enough. Now the bench first measures Python's time, and gives the GPU twice as much work.
#
# **Long rows do not stay in the cache.** A row of 131,072 logits takes 256 KB. With two programs on each of the 132 multiprocessors, the rows in work are 69 million bytes, and the L2 cache holds 50 million. So cross-entropy reads most of its array twice from the memory. One program per multiprocessor was no faster, because it has nothing to do while it waits.
#
# **Our first block sizes were guesses.** How many rows should a program take, and with how many warps? We tried a grid on the H100 (`tools/experiments/ch07_blocks.py`). For softmax, most choices were within a few percent of the best. But with many rows and few warps the numbers no longer fit into the registers, and the slowest choice took 9 times as long. The best choice holds only for its machine and its shapes.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Softmax in blocks
# :label: ex-07-online
#
# *20 minutes.* Write `online_softmax(x, block)` in plain PyTorch. It may read the row once for maximum and sum, and once more to write the result. If yours is wrong, `check("kernels.online_softmax", my_online)` can name five mistakes.
#
# **Hint.** The section on a row that does not fit has one merge. What are maximum and sum before the first block? And what is the exponential if the whole first block is masked?
# ```

# %%
print(describe("kernels.online_softmax"))


def my_online(x, block):
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
# *5 minutes.* Write `floor(moved, flops, copy, rate)`, the smallest number of seconds that a kernel can take, and test it with `check("kernels.floor", my_floor)`. Then use it with the figures of the data sheet: from which side on is a product of two square bf16 matrices bound by the arithmetic?
#
# **Hint.** The product moves $6 n^2$ bytes and does $2 n^3$ operations.
# ```

# %%
print(describe("kernels.floor"))


def my_floor(moved, flops, copy, rate):
    raise NotImplementedError


# check("kernels.floor", my_floor)

# %% [markdown]
# ```{solution-start} ex-07-floor
# :class: dropdown
# ```

# %%
def floor_solution(moved, flops, copy, rate):
    return max(moved / copy, flops / rate)


side = next(n for n in range(1, 10_000)
            if 2 * n**3 / matrix_flop_s >= 6 * n**2 / memory_bytes_s)
sheet = matrix_flop_s / memory_bytes_s
print(f"from side {side} on: 3 times the ridge of {sheet:.0f} operations per byte")
answer = check("kernels.floor", floor_solution)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Tokens that do not count
# :label: ex-07-loss
#
# *10 minutes.* Our loss kernel counts every token. In practice some do not count, such as those of a prompt, and their target is a number `ignore`. Write `cross_entropy_gradient(logits, targets, ignore)` in plain PyTorch, and test it with `check("kernels.cross_entropy_gradient", my_gradient)`.
#
# **Hint.** `ignore` matters in two places: in the rows, and in the number by which they are divided.
# ```

# %%
print(describe("kernels.cross_entropy_gradient"))


def my_gradient(logits, targets, ignore):
    raise NotImplementedError


# check("kernels.cross_entropy_gradient", my_gradient)

# %% [markdown]
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
# *40 minutes.* The feed-forward layer computes `silu(gate) * up`, which is two operations in PyTorch. Write it as one Triton kernel, `swiglu(gate, up)`, for arrays of any shape. `check("kernels.swiglu", my_swiglu)` says whether it is right, and the meter says whether it moves more bytes than it must.
#
# **Hint.** Treat the array as flat, use blocks of a few hundred numbers with a mask at the end, and use `tl.sigmoid`. If the inputs have strides, `.contiguous()` is enough.
# ```

# %%
print(describe("kernels.swiglu"))


def my_swiglu(gate, up):
    raise NotImplementedError


# check("kernels.swiglu", my_swiglu)

# %% [markdown]
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

# %% [markdown]
# The kernel moves three arrays, and PyTorch's two operations move five: one reads and writes, and the other reads twice and writes. On a GPU your kernel should therefore take 3/5 of the time.
#
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains three wrong versions of `online_softmax`, which are right on many inputs and wrong on some. The test below accepts the right version and catches only one of the wrong ones. One of the four habits catches a second one: which? None of the habits catches the third, because `torch.randn` only draws numbers near 0. What other numbers must a softmax handle? Our own tests are in the folded cell, for after you have tried.

# %% tags=["zoo"]
def weights_sum_to_one(online_softmax):
    total = online_softmax(torch.tensor([2.0, 0.0, 3.0, 1.0]), 2).sum()
    assert abs(total - 1) < 1e-5


zoo("kernels", [weights_sum_to_one])

# %% tags=["hide-cell"]
def a_size_that_no_block_divides(online_softmax):
    x = torch.randn(11, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(online_softmax(x, 4), x.softmax(0), atol=1e-5)


def numbers_far_below_zero(online_softmax):
    x = torch.tensor([-2000.0, -2001.0, -2003.0, -2000.0])
    assert torch.allclose(online_softmax(x, 2), x.softmax(0), atol=1e-5)


caught = zoo("kernels", [weights_sum_to_one, a_size_that_no_block_divides,
                         numbers_far_below_zero])
assert caught
caught

# %% [markdown]
# ## Receipt
#
# This is what the run cost, and how far our results are from the references. Only the inputs depend on a seed. The record holds the spread of the times as quartiles.

# %% tags=["receipt"]
receipt(differences={name: (value, 1e-5) for name, value in differences.items()})

# %% [markdown]
# ## Summary
#
# The chip is waiting for numbers from its memory. A softmax does five operations on each number. At the rate of the H100's matrix units, these would take less than a microsecond, while a copy of the array takes 181 µs in our record: **213 times** as long. (A softmax cannot use those units: its exponentials alone take about 35 µs, still a fifth of the copy.) Our softmax takes as long as the copy, within a percent, for rows of 4,096. So no other kernel can be much faster. You can find this limit before you write a line: divide the bytes by the bandwidth and the operations by the rate, and take the longer time.
#
# - I can now count a kernel's bytes and operations, and say from two measured ceilings how fast it can become.
# - I can now write a Triton kernel with a mask, run it without a GPU, and count the bytes that it moves.
# - I can now keep a softmax online, and recognise the same trick in cross-entropy.
# - I can now train an output layer of 128 thousand words without holding its logits.
# - I can now test a kernel so that a wrong one fails: with fresh random inputs, float64, poison and odd sizes.
#
# `minidsk bench kernels` measures all of this on your own GPU.

# %% [markdown]
# ## Read on
#
# - Williams, Waterman and Patterson {cite}`williams2009roofline` introduce the roofline, and describe what lies below it.
# - Milakov and Gimelshein {cite}`milakov2018online` explain the online softmax in three pages. Dao {cite}`dao2023flash2` and Shah and others {cite}`shah2024flash3` carry it into attention.
# - Liger Kernel {cite}`hsu2024liger` has more kernels of this kind, which many trainers use.
# - The code of this chapter is in `minidsk/kernels/`, in `softmax.py`, `rmsnorm.py` and `cross_entropy.py`.
# - Next, [chapter 08](08_expert_kernels.ipynb) asks the same questions of a mixture of experts, where the rows of a product are not known in advance.
