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
# # Expert kernels
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/08_expert_kernels.ipynb)
#
# A layer of 64 experts does the same number of multiplications whichever experts its tokens choose. On paper, imbalance is therefore free, but on a GPU the same tokens can take several times as long when most of them choose the same few experts. Even a perfectly even load leaves part of the chip idle if we multiply one expert after the other. Where does the time go, and how much of it can a kernel get back?
#
# - **You will build** three things: a sort that counts instead of comparing, a product of many matrices in one launch, and the schedule of that product. Then you measure what imbalance still costs.
# - **You need** [chapter 03](03_mixture_of_experts.ipynb) (experts) and [chapter 07](07_triton_kernels.ipynb) (kernels). You need **no GPU**: the kernels run here in Triton's interpreter, and the speeds were recorded on an H100.
# - **It takes** 6 to 15 s to run on two CPU cores of a laptop, about twice that on Colab's two, and an hour to read.

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

import heapq
import re
import time
from statistics import median

import matplotlib.pyplot as plt

from minidsk import results
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.kernels.bench.grouped import loads
from minidsk.kernels.experts import experts, experts_reference
from minidsk.kernels.grouped_gemm import grouped_matmul
from minidsk.kernels.launch import tl, triton
from minidsk.kernels.routing import sort_by_expert
from minidsk.model.moe import max_violation
from minidsk.widgets import Curve

plt.style.use("minidsk.diagrams.look")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# ## The problem: 64 small products are slower than one large one
#
# The next cell multiplies 1,024 rows by one matrix. It then cuts the same work into 64 experts of 16 rows each and runs them one after the other. We measure processor time, so that other work on the machine does not count.

# %%
def milliseconds(call, times=100):
    """The median of a call's processor time, after one call to warm up."""
    call()
    took = []
    for _ in range(times):
        began = time.process_time()
        call()
        took.append(time.process_time() - began)
    return 1000 * median(took)


x, weight = torch.randn(1024, 64), torch.randn(64, 64, 64)
pairs = list(zip(x.split(16), weight, strict=True))
one = milliseconds(lambda: x @ weight[0].T)
many = milliseconds(lambda: [part @ matrix.T for part, matrix in pairs])
print(f"one matrix: {one:.2f} ms")
print(f"64 experts: {many:.2f} ms")

# %% [markdown]
# The number of operations is the same, but the 64 small products take more than twice as long. Each of them must be started separately, and each is too small to run efficiently.
#
# The same happens on a GPU, as our record of an H100 shows. It was made by `minidsk bench kernels`. There are 64 experts of 1,536 rows each, and their matrices are 2,048 by 1,408. The time covers the forward and the backward pass. TFLOP/s are trillions of operations per second.

# %% tags=["hide-input"]
bench = results.read("bench_kernels")


def cases_of(name, part):
    """The recorded cases of a bench whose name holds `part`."""
    return [case for case in bench["cases"] if case["bench"] == name and part in case["case"]]


even = cases_of("grouped_gemm", "and backward")[0]["contestants"]
rows = [[name, f"{1000 * found['median']:.2f}", f"{found['tflop_s']:.0f}"]
        for name, found in even.items()]
table(["64 experts", "ms", "TFLOP/s"], rows, "An H100, forward and backward")

# %% [markdown]
# One launch for all experts takes about two thirds of the loop's time. The rest of this chapter builds that launch.
#
# ## A worked example with eight rows
#
# We use four experts and eight (token, expert) pairs. Their counts, **5, 0, 2, 1**, stay with us for the whole chapter. *MaxVio* is the measure of imbalance from [chapter 03](03_mixture_of_experts.ipynb): how far the fullest expert exceeds the mean, as a fraction of the mean.

# %%
chosen = torch.tensor([[0], [2], [0], [0], [3], [0], [2], [0]])
counts = torch.bincount(chosen.flatten(), minlength=4)
print("counts ", counts.tolist(), " MaxVio", round(max_violation(counts.float()).item(), 2))

# %% [markdown]
# There are two ways to give the experts parts of a regular size, which a GPU needs:
#
# - **Padding to the fullest expert:** a batched product needs equal parts, so each expert gets room for 5 rows. The GPU computes 20 rows, and we want 8 of them.
# - **Tiles:** each expert's rows are cut into tiles of two rows, and only an expert's last tile is padded. The GPU computes 6 + 0 + 2 + 2 = 10 rows.

# %%
def rows_computed(counts: torch.Tensor, tile: int) -> tuple[int, int]:
    """Rows that are computed: padded to the fullest expert, and to whole tiles."""
    whole_tiles = (counts + tile - 1) // tile
    return int(counts.max() * len(counts)), int((whole_tiles * tile).sum())


print("wanted 8; padded to the fullest, in tiles of two:", rows_computed(counts, 2))

# %% [markdown]
# In symbols, MaxVio is $\max_i n_i / \bar n - 1$, where $n_i$ is the number of rows of expert $i$ and $\bar n$ is the mean. Before you run the next cell, guess. Suppose 64 experts have a MaxVio of 3. How many times the wanted rows does padding to the fullest expert compute?

# %% tags=["prediction", "hide-input"]
guess = None
question = "At a MaxVio of 3, how many times the wanted rows does padding compute?"
padding = predict("experts.padding", question, guess, example=2)
padding

# %%
three = torch.tensor([4 * 63] + [60] * 63)
violation = max_violation(three.float()).item()
factor = rows_computed(three, 128)[0] / three.sum().item()
padding.reveal(round(factor, 1))
print(f"MaxVio {violation:.2f}: padding computes {factor:.2f} times the rows")

# %% [markdown]
# The factor is always 1 + MaxVio, because the fullest expert has $(1 + \text{MaxVio})$ times the mean and padding brings every expert up to that size. So with padding, an unbalanced router costs time directly.
#
# ## Sorting by expert without comparing
#
# The rows of one expert must lie next to each other in memory, so we sort them by expert. A general sort compares numbers, but expert numbers below 64 need no comparisons. We count how many rows each expert has, and the running sum of the counts says where each expert begins. After that, each row can be put in its place in one pass.

# %% tags=["naive"]
def counting_sort(chosen: torch.Tensor, experts: int) -> tuple[list[int], list[int]]:
    """The sorted order of the choices, and where each expert's end; one number at a time."""
    flat, counts = chosen.flatten().tolist(), [0] * experts
    for expert in flat:
        counts[expert] += 1
    ends = torch.tensor(counts).cumsum(0).tolist()
    place = [end - count for end, count in zip(ends, counts, strict=True)]
    order = [0] * len(flat)
    for pair, expert in enumerate(flat):
        order[place[expert]] = pair
        place[expert] += 1
    return order, ends


order, ends = counting_sort(chosen, 4)
print("order", order, " ends", ends)

# %% [markdown]
# Pairs 0, 2, 3, 5 and 7 chose expert 0, so they come first. The ends say where each expert's rows stop: expert 0 at 5, expert 1 also at 5 because it has none, expert 2 at 7 and expert 3 at 8.
#
# A GPU cannot afford a loop over single pairs. So it cuts the pairs into blocks, and each block counts its own pairs. A running sum over these counts tells every block where its first pair for each expert goes. After that, no block has to wait for another.

# %%
def sort_in_blocks(chosen: torch.Tensor, experts: int, size: int) -> list[int]:
    """The same order, by blocks of `size` pairs."""
    blocks = chosen.flatten().split(size)
    counts = torch.stack([torch.bincount(block, minlength=experts) for block in blocks])
    # in front: all pairs of earlier experts, and this expert's in earlier blocks
    before = counts.sum(0).cumsum(0) - counts.sum(0)
    place = before + counts.cumsum(0) - counts
    print("counts of each block", counts.tolist())
    print("its first places    ", place.tolist())
    order = [0] * chosen.numel()
    for number, block in enumerate(blocks):  # on a GPU, all at the same time
        for i, expert in enumerate(block.tolist()):
            order[place[number, expert]] = number * size + i
            place[number, expert] += 1
    return order


assert sort_in_blocks(chosen, 4, size=4) == order

# %% [markdown]
# The first block has three pairs for expert 0, so the second block puts its first one in place 3. The package's kernel `sort_by_expert` works in this way. It uses no atomics (additions to memory that many programs share, whose order is a matter of chance), so the result is the same in every run.

# %%
plan = sort_by_expert(chosen.to(device), 4)
assert (plan.order.tolist(), plan.ends.tolist()) == (order, ends)
print("the kernel gives the same order and the same ends")

# %% [markdown]
# ## One launch for all experts
#
# The naive product takes the experts one after the other. A grouped product cuts the work into tiles, where a tile is a block of rows of *one* expert by a block of columns. It numbers the tiles through all experts and deals them out to its $P$ programs: program $p$ takes tiles $p, p + P, p + 2P, \dots$ Every program gets the same amount of work, because all tiles cost the same, however unevenly the rows are spread.

# %% tags=["diagram", "hide-input"]
diagram("grouped_product_tiles")

# %%
def in_turn(x: torch.Tensor, weight: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Each expert's rows times its matrix, one expert after the other."""
    parts = x.split(counts)
    return torch.cat([part @ matrix.T for part, matrix in zip(parts, weight, strict=True)])


# %% [markdown]
# Here is a small kernel that does the same in one launch. Its tiles have `ROWS` rows and all columns. Every program walks through all the experts and counts the tiles, and it computes only those whose number is its own.

# %%
@triton.jit
def one_launch(x, weight, y, ends, EXPERTS: tl.constexpr, ROWS: tl.constexpr,
               WIDTH: tl.constexpr, OUT: tl.constexpr):  # fmt: skip
    inner, out = tl.arange(0, WIDTH), tl.arange(0, OUT)
    tile, start = 0, 0
    for expert in range(EXPERTS):
        end = tl.load(ends + expert)
        matrix = weight + expert * OUT * WIDTH
        for first in range(start, end, ROWS):
            if tile % tl.num_programs(0) == tl.program_id(0):
                row = first + tl.arange(0, ROWS)[:, None]
                mine = tl.load(x + row * WIDTH + inner, mask=row < end, other=0.0)
                by = tl.load(matrix + out[:, None] * WIDTH + inner)
                product = tl.sum(mine[:, None, :] * by[None, :, :], 2)
                tl.store(y + row * OUT + out, product, mask=row < end)
            tile += 1
        start = end


# %% [markdown]
# The mask `row < end` pads an expert's last tile: where a row belongs to the next expert, the kernel loads zeros and stores nothing. We launch the kernel for our eight rows, with one program and with three, and compare it with the loop over experts.

# %%
generator = torch.Generator().manual_seed(0)
eight = torch.randn(8, 16, generator=generator).to(device)
square = torch.randn(4, 16, 16, generator=generator).to(device)
for programs in (1, 3):
    y = torch.full_like(eight, float("nan"))
    one_launch[(programs,)](eight, square, y, plan.ends, EXPERTS=4, ROWS=2, WIDTH=16, OUT=16)
    assert torch.allclose(y, in_turn(eight, square, counts.tolist()), atol=1e-5)
    print(f"programs: {programs}, equal to the loop over experts")

# %% [markdown]
# The package's `grouped_matmul` also cuts the columns into blocks, multiplies on the tensor cores, and finds a tile's expert without walking there. We compare it with the loop in the forward product and in both gradients. The gradient with respect to the rows is the same kind of product with the matrices transposed. The gradient with respect to the matrices is a sum over each expert's rows, so it is zero for expert 1, which has none.

# %%
rows = torch.randn(8, 20, generator=generator).to(device).requires_grad_()
matrices = torch.randn(4, 24, 20, generator=generator).to(device).requires_grad_()
slope = torch.randn(8, 24, generator=generator).to(device)


def with_gradients(product: torch.Tensor) -> dict[str, torch.Tensor]:
    """A product, and its gradients in a direction."""
    by_rows, by_matrices = torch.autograd.grad(product, (rows, matrices), slope)
    return {"product": product, "rows' gradient": by_rows, "matrices' gradient": by_matrices}


# %% tags=["agree"]
ours = with_gradients(grouped_matmul(rows, matrices, plan.ends))
naive = with_gradients(in_turn(rows, matrices, counts.tolist()))
differences = {name: (ours[name] - naive[name]).abs().max().item() for name in ours}
for name, difference in differences.items():
    assert difference < 1e-4, name
print("largest difference: below 1e-4")

# %% [markdown]
# ## With tiles, imbalance wastes a few percent
#
# With tiles, the waste has a bound. Each expert that has rows wastes half a tile on average, whatever MaxVio is. For 64 experts and tiles of 128 rows, these are 64 · 64 = 4,096 rows. The figure shows the waste for 64 experts with 98,304 rows in all, of which 4,096 are about 4 %. The expert of rank $r$ receives a share proportional to $r^{-s}$, and a larger skew $s$ means a larger MaxVio.

# %%
skews = torch.linspace(0, 2, 21).tolist()
shares = [loads(64, 64 * 1536, skew) for skew in skews]
violations = [max_violation(share.float()).item() for share in shares]
padded = [rows_computed(share, 128)[0] / 98304 for share in shares]
tiled = {tile: [rows_computed(share, tile)[1] / 98304 for share in shares]
         for tile in (64, 128, 256)}  # fmt: skip

# %% tags=["figure", "hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.2))
_ = left.plot(violations, padded, color="C1")
_ = left.plot(violations, tiled[128], color="C0")
_ = left.set(xlabel="MaxVio", ylabel="rows computed / rows wanted", xlim=(0, 40), ylim=(0, 41))
_ = left.text(4, 27, "padded to\nthe fullest", color="C1")
_ = left.text(13, 2.5, "tiles of 128 rows", color="C0")
for (tile, factors), colour in zip(tiled.items(), ("C2", "C0", "C3"), strict=True):
    waste = [100 * (factor - 1) for factor in factors]
    _ = right.plot(violations, waste, color=colour, label=f"tiles of {tile}")
_ = right.set(xlabel="MaxVio", ylabel="wasted rows, %", xlim=(0, 40), ylim=(0, 12))
direct_labels(right)
worst = {tile: f"{max(factors):.2f}" for tile, factors in tiled.items()}
show(fig, "Left: padding to the fullest expert computes 1 + MaxVio times the wanted rows, and "
     "tiles compute hardly more than is wanted. Right: what tiles waste, magnified.",
     f"Two panels over MaxVio from {violations[0]:.0f} to {violations[-1]:.1f}. The padded "
     f"line rises straight to {padded[-1]:.2f} times the wanted rows. Tiles of 64, 128 and "
     f"256 rows compute at most {worst[64]}, {worst[128]} and {worst[256]} times as many.")

# %% tags=["hide-input"]
factors = {"padded": padded, **{f"tiles of {tile}": values for tile, values in tiled.items()}}
rows = [[f"{violations[i]:.1f}", *(f"{values[i]:.2f}" for values in factors.values())]
        for i in (0, 10, 20)]
table(["MaxVio", *factors], rows, "Rows computed, over rows wanted")

# %% [markdown]
# With padding to the fullest expert, the work grows with MaxVio, as it must: at a MaxVio of 38.3 it computes 39.30 times the wanted rows. Tiles of 128 rows compute at most 1.05 times the wanted rows.
#
# ## The heaviest expert should start first
#
# One product behaves differently: the gradient of the matrices. The gradient of one expert's matrix has 2,048 by 1,408 numbers, which are 88 tiles of 256 by 128, one for each program. Each program adds up *all rows of its expert*, so programs do not cost the same. The whole product has to wait for its last program. Programs start in order, and a multiprocessor (one of the H100's 132 independent cores) that becomes free takes the next one. So which expert should start first if we want the shortest total time?

# %%
def last_to_finish(costs: list[int], processors: int = 132) -> int:
    """When all programs are done, if a free processor always takes the next one in order."""
    free = [0] * processors
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


def gradient_times(share: torch.Tensor, tiles: int = 88) -> dict[str, float]:
    """The time of all programs over that of a perfect deal, in three orders of the experts."""
    falling = share.sort(descending=True).values
    orders = {"heaviest first": falling, "as they come": share,
              "lightest first": falling.flip(0)}  # fmt: skip
    ideal = share.sum().item() * tiles / 132
    return {name: last_to_finish(order.repeat_interleave(tiles).tolist()) / ideal
            for name, order in orders.items()}  # fmt: skip


print({name: round(value, 2) for name, value in gradient_times(shares[10]).items()})

# %% [markdown]
# The numbers say how much longer the product takes than a perfect deal, at a MaxVio of 12.5. *As they come* means in the order of the experts' numbers, which is good enough here but not at a larger MaxVio. The programs are the same, and only their order differs. If the **heaviest expert starts first**, the short programs fill the gaps at the end. The price is one small sort of the experts. Move the slider through the skews to compare three orders. The times come from the simulation above, with 132 multiprocessors; they are not measured.

# %% tags=["widget"]
times = [gradient_times(share) for share in shares]
Curve(
    {name: {"x": violations, "y": [entry[name] for entry in times]} for name in times[0]},
    xlabel="MaxVio", ylabel="time / perfect deal", title="Who starts first?",
)

# %%
worst = {name: round(max(entry[name] for entry in times), 2) for name in times[0]}
print("worst over all skews:", ", ".join(f"{way} {value}" for way, value in worst.items()))
assert all(entry["heaviest first"] <= entry["lightest first"] + 1e-9 for entry in times)

# %% [markdown]
# ## On the chip: faster than torch at every load
#
# We gave the H100 the same 98,304 rows at seven loads. The contestants are torch's own grouped product, a loop over experts, and two versions of ours. One of ours is the package's kernel in Triton alone. The other is the version that the package uses on a Hopper GPU such as the H100. It is written in Gluon, a language one level below Triton, and its code says which group of threads does what and waits for what (`grouped_hopper.py`).

# %% tags=["figure", "hide-input"]
forward = [case for case in cases_of("grouped_gemm", "product, forward")
           if "backward" not in case["case"]]
forward.sort(key=lambda case: case["max_violation"])
names = {"ours": "ours, for Hopper", "ours, in Triton alone": "ours, in Triton alone",
         "torch._grouped_mm": "torch", "a loop over experts": "a loop over experts"}
rates = {label: [case["contestants"][name]["tflop_s"] for case in forward]
         for name, label in names.items()}
loads_seen = [case["max_violation"] for case in forward]
fig, ax = plt.subplots(figsize=(7.5, 3.4))
for label, values in rates.items():
    _ = ax.plot(loads_seen, values, marker=".", label=label)
_ = ax.set(xlabel="MaxVio", ylabel="TFLOP/s, forward", xlim=(0, 39), ylim=(350, 740))
direct_labels(ax)
ends = ", ".join(f"{label} from {values[0]:.0f} to {values[-1]:.0f}"
                 for label, values in rates.items())
show(fig, "Ours for Hopper is the fastest at every load, and its lead over torch grows. "
     "A large part of each loss comes with the first step away from the even load.",
     f"Four falling lines over MaxVio, from 0 to {loads_seen[-1]:.0f}. In TFLOP/s: {ends}.")

# %% tags=["hide-input"]
hopper, triton_alone, torchs, _ = rates.values()
rows = [[f"{load:.2f}", *(f"{values[i]:.0f}" for values in rates.values()),
         f"{hopper[i] / torchs[i]:.2f}", f"{triton_alone[i] / torchs[i]:.2f}"]
        for i, load in enumerate(loads_seen)]
lost = [f"{1 - values[-1] / values[0]:.0%}" for values in rates.values()]
for case in cases_of("grouped_gemm", "and backward"):
    print(f"forward and backward, MaxVio {case['max_violation']:.2f}: "
          f"{case['ratio']:.2f} times torch's speed")
table(["MaxVio", "Hopper", "Triton", "torch", "loop", "Hopper / torch", "Triton / torch"],
      [*rows, ["lost", *lost, "", ""]],
      "TFLOP/s, forward. The last row is the loss from the first row to the last.")

# %% [markdown]
# The Hopper version is ahead of torch at every load, by 7 % or more, and by 22 % at the most uneven one. The version in Triton alone is level with torch up to a MaxVio of 7 and 6 to 10 % ahead beyond it.
#
# The difference between our two versions arises at the end of a tile. In Triton, all warps (groups of 32 threads) of a program stop multiplying in order to write the result. When they have finished, the first numbers of the next tile have not arrived yet. In the Hopper version the warps have different roles. One warp requests the numbers of the next tile from memory while two groups of warps write the last one. The result leaves through the GPU's copy engine, which needs no registers and lets the warps go on. If one half of a tile holds no rows, it is skipped.
#
# The copy engine for the results brought the gain. Roles alone did not: while the results were still stored from registers, the kernel with roles was no faster than Triton's. (We did not keep those runs, so there are no figures here.)

# %% [markdown]
# Much of what each contestant loses to imbalance, it loses at the first step away from the even load. At the even load, 1,536 rows are exactly 12 tiles of 128. At any other load nearly every expert has a last tile that is partly empty, which is the waste of about 4 % that we counted above. We suspect, but did not measure, that the rest comes from experts with few rows: the GPU reads each of their matrices for little work, so memory sets the pace. The last row of the table shows what each contestant loses from the most even load to the most uneven one.
#
# ## The whole layer: join the steps around the products
#
# A layer of experts also needs a gather, an activation and a weighted sum around its products. Each of these steps reads and writes a tensor as large as all the rows. `experts` joins these steps to the products. It computes gate and up in one product, and it applies `silu(gate) * up` before anything is stored. It also applies the token's weight *before* the down projection instead of after it. That gives the same result because the projection is linear:

# %%
w, h, W = torch.tensor(0.25), torch.tensor([1.0, 2.0]), torch.tensor([[2.0, 0.0], [1.0, 1.0]])
print("w (h W):", (w * (h @ W)).tolist(), "  (w h) W:", ((w * h) @ W).tolist())

# %% [markdown]
# This also helps in the backward pass. The gradient of the weight becomes a product over the inner width, which is short, and the experts' output need not be kept.

# %%
def random(*shape, scale=1.0):
    return (torch.randn(*shape, generator=generator) * scale).to(device).requires_grad_()


# the tokens, gate and up, down, and the tokens' weights for their two experts
leaves = [random(12, 16), random(4, 24, 16, scale=0.25), random(4, 16, 12, scale=0.25),
          random(12, 2)]  # fmt: skip
choice = torch.rand(12, 4, generator=generator).topk(2).indices.to(device)
fast, slow = experts(*leaves, choice), experts_reference(*leaves, sort_by_expert(choice, 4))
slope = torch.randn_like(slow)
ours = (fast, *torch.autograd.grad(fast, leaves, slope))
naive = (slow, *torch.autograd.grad(slow, leaves, slope))
gaps = [(a - b).abs().max().item() for a, b in zip(ours, naive, strict=True)]
differences["layer"] = max(gaps)
assert differences["layer"] < 1e-5
print("output and four gradients agree, largest difference", "below 1e-5")

# %% [markdown]
# The figure and the table show the times on the H100, forward and backward. They compare our layer with transformers' layer in its three variants, of which `grouped_mm` is the fastest. *Ours, by torch* is the dispatch of [chapter 03](03_mixture_of_experts.ipynb) around torch's grouped product.

# %% tags=["figure", "hide-input"]
layers = cases_of("moe", "layer")
shapes = [", ".join(case["setting"].split(", ")[1:3]) for case in layers]


def relative(way: str) -> list[float]:
    """Its time in each layer, over that of transformers."""
    return [case["contestants"][way]["median"]
            / case["contestants"]["transformers, grouped_mm"]["median"] for case in layers]


ours, by_torch = relative("ours"), relative("ours, by torch")
fig, ax = plt.subplots(figsize=(7.5, 3.4))
both = ((-0.18, ours, "ours", "C0"), (0.18, by_torch, "ours, by torch", "C2"))
for shift, values, name, colour in both:
    bars = ax.barh([i + shift for i in range(4)], values, 0.34, color=colour)
    names_and_values = [f"{name} {value:.2f}" for value in values]
    _ = ax.bar_label(bars, names_and_values, padding=4, fontsize=9.5)
_ = ax.axvline(1, color="C1")
_ = ax.text(0.99, -0.55, "transformers", color="C1", ha="right")
_ = ax.set_yticks(range(4), [shape.replace(", ", "\n") for shape in shapes])
_ = ax.set(xlabel="time, forward and backward; transformers = 1", ylim=(3.5, -0.8))
ax.grid(axis="y", visible=False)
show(fig, "Our layer takes a fifth of transformers' time where rows are narrow, and less than "
     "half where they are wide. Without our kernels (ours, by torch) most of that is lost.",
     "Two bars for each of four layers, as shares of transformers' time. Ours: "
     f"{ours[0]:.2f} and {ours[1]:.2f} at hidden size 256, {ours[2]:.2f} and {ours[3]:.2f} at "
     f"2048. Ours by torch: {min(by_torch):.2f} to {max(by_torch):.2f}.")

# %% tags=["hide-input"]
def time_and_memory(found: dict) -> str:
    if "median" not in found:
        return "-"
    return f"{1000 * found['median']:.2f} / {found['peak_bytes'] / 2**20:,.0f}"


rows = [[way, *(time_and_memory(case["contestants"][way]) for case in layers)]
        for way in layers[0]["contestants"]]
ratios = [f"{case['ratio']:.2f}" for case in layers]
table(["milliseconds / MiB", *shapes], [*rows, ["times faster than transformers", *ratios]],
      "Forward and backward on an H100; a dash means that it ran out of memory")

# %% [markdown]
# At hidden size 2048 our layer takes less than half of transformers' time, and at hidden size 256 less than a fifth. These are the GPU's own times, without the time that Python needs to launch the kernels. Python's time hides part of the gain in narrow layers (see "What went wrong" below). Most of the gain comes from the steps around the products. *Ours, by torch* shows this: it uses torch's good products, but it still pays for the steps around them.
#
# ## Where the time goes
#
# The table comes from a profile of one forward and backward pass, kernel by kernel. *Gate's gradient* is the backward pass through `silu(gate) * up`, and *moving rows* are the gather and the weighted sum. This record was made with the kernels in Triton alone.

# %% tags=["hide-input"]
profile = results.read("ch08_layer")
PARTS = {"products": ("_rows_times", "_gated"), "gate's gradient": ("_gated_backward",),
         "moving rows": ("_collect", "_spread")}


def share_of(kernels: dict[str, float]) -> dict[str, float]:
    """Seconds by part; a kernel belongs to the part with the longest beginning of its name."""
    starts = [(start, part) for part, names in PARTS.items() for start in names]
    starts.sort(key=lambda pair: len(pair[0]))
    found = dict.fromkeys([*PARTS, "sorting and the rest"], 0.0)
    for kernel, taken in kernels.items():
        fits = [part for start, part in starts if kernel.startswith(start)]
        found[fits[-1] if fits else "sorting and the rest"] += taken
    return found


rows = []
for entry in profile["kernels"]:
    _, hidden, _, count, _ = entry["sizes"]
    parts, total = share_of(entry["kernels"]), sum(entry["kernels"].values())
    shares_of = [f"{value / total:.0%}" for value in parts.values()]
    rows.append([f"{hidden}, {count} experts", f"{1e3 * total:.2f}", *shares_of])
table(["hidden size", "ms", *parts], rows, "One forward and backward pass on an H100")

# %% [markdown]
# Wide layers spend their time on products: at hidden size 2048 it is more than four fifths. Narrow layers spend much of it on moving data. At hidden size 256 a row is read, multiplied by a few columns and written back, so memory bandwidth sets the pace. Such a product does far fewer than the 300 operations per byte that [chapter 07](07_triton_kernels.ipynb) found necessary to keep the arithmetic busy.
#
# A plain copy on this GPU moves some 2,900 GB/s. For narrow layers we therefore ask how much of this bandwidth each product reaches. We tried several block sizes for each product:

# %% tags=["hide-input"]
sweep = results.read("ch08_blocks")
called = {"d inner": "gradient of the inner rows", "dx": "gradient of the tokens",
          "d down": "gradient of down", "d gate and up": "gradient of gate and up",
          "gated, fetched": "gate and up", "gated, gathered": "gate and up, after a gather"}
by_product = {}
for trial in sweep["trials"]:
    if "seconds" in trial:
        by_product.setdefault(trial["product"], []).append(trial)
rows = []
for name, ran in by_product.items():
    # a sort is bound by waiting, not by bytes
    if name.startswith("64 experts, ") and not name.endswith("sort"):
        times_of = sorted(1e6 * trial["seconds"] for trial in ran)
        words = called.get(name[12:], name[12:])
        rows.append([words, len(ran), f"{times_of[0]:.0f}", f"{times_of[-1]:.0f}",
                     f"{ran[0]['bytes'] / times_of[0] / 1e3:,.0f}"])  # fmt: skip
table(["product", "block sizes", "best, µs", "worst, µs", "best, GB/s"], rows, "64 experts")

# %% [markdown]
# Most products reach about four fifths of the copy's bandwidth. The product that computes gate and up reaches half of it at best, whatever the block size. It writes three arrays from one tile, and while a program writes, its warps do not multiply. So there is still something to gain in this product. It fetches the tokens' rows by itself, because putting them into order first (last line) took longer.
#
# ## The layer's time hardly depends on balance
#
# How does the time of the whole layer change as its routing gets worse? The figure shows a layer with 16,384 tokens of width 2,048 and 64 experts, of which each token uses 6.

# %% tags=["figure", "hide-input"]
seen = [entry["max_violation"] for entry in profile["violation"]]
ms = {name: [1e3 * entry["seconds"][name] for entry in profile["violation"]]
      for name in profile["violation"][0]["seconds"]}
fig, ax = plt.subplots(figsize=(7.5, 3.4))
for name, values in ms.items():
    _ = ax.plot(seen, values, marker=".", label=name)
_ = ax.set(xlabel="MaxVio", ylabel="ms, forward and backward", xlim=(0, 9.8), ylim=(0, 88))
direct_labels(ax)
ends = ", ".join(f"{name} from {values[0]:.1f} to {values[-1]:.1f}"
                 for name, values in ms.items())
show(fig, "Padding slows the layer down in step with MaxVio. Grouped layers hardly notice it.",
     f"Four lines over MaxVio from {seen[0]:.2f} to {seen[-1]:.2f}. In milliseconds: {ends}.")

# %% tags=["hide-input"]
table(["MaxVio", *ms], [[f"{load:.2f}", *(f"{values[i]:.1f}" for values in ms.values())]
                        for i, load in enumerate(seen)], "Milliseconds, forward and backward")

# %% [markdown]
# The time with padding grows by 6 to 7 ms for each unit of MaxVio, to more than four times its first value. The *one by one* version is slow at every load, because Python waits for the counts and the GPU waits for Python.
#
# The two grouped layers hardly change with the load. **From balance to a MaxVio of 9.7, our layer takes 2 % longer.** No router that picks 6 of 64 experts can exceed that MaxVio: at worst, all tokens choose the same six, which then have 64 / 6 = 10.7 times the mean. The products in the earlier section lost more, because they started from a load that was even to the row. A router's "balanced" load already has half-empty tiles.
#
# So with tiles, imbalance is nearly free on one GPU. DeepSeek balances its experts for another reason, which we reach in "What DeepSeek did".
#
# ## Switching the kernels on for training
#
# One setting turns these kernels on: `PretrainConfig(kernels="triton")`. The model then uses them for its experts and for RMSNorm, and pretraining uses the loss of [chapter 07](07_triton_kernels.ipynb), which never holds all the logits. The results with and without the kernels agree up to rounding, and `tests/model/test_kernels.py` and `tests/train/test_loss.py` check this. The table shows speed and memory for the `small` preset on an H100.

# %% tags=["hide-input"]
def way_of(run: dict) -> list[str | int]:
    return [run["words"], "ours" if run["kernels"] == "triton" else "torch's",
            "compiled" if run["compile"] else "eager"]  # fmt: skip


training = results.read("ch08_training")["runs"]
rows = [[*way_of(run), f"{run['tokens_s']:,.0f}", f"{run['peak_bytes'] / 2**20:,.0f}"]
        for run in training]
table(["vocabulary", "kernels", "mode", "tokens per second", "peak, MiB"], rows,
      "The preset small on an H100")

# %% [markdown]
# The gain depends on the vocabulary:
#
# - With a vocabulary of 181 characters, computing the loss is a small part of the work. The kernels are 11 % faster and use three quarters of the memory.
# - With 16,384 words, the kernels nearly double the speed and use a third of the memory.
# - **With `torch.compile` the switch does not pay.** It makes training 16 % slower and saves only 4 % of the memory. The compiler joins the steps around the products by itself, and each of our layers forces it to break its graph in two.
#
# After 15 steps the losses differ by up to a tenth, between kernels and also between compiled and eager runs. The cause is rounding in bf16: a score that changes in its last bit may choose another expert, and early training amplifies the difference. The first losses, shown below, agree closely. In float32 the gradients agree too, which the tests check.

# %% tags=["hide-input"]
rows = [[*way_of(run), *(f"{run['losses'][i - 1]:.4f}" for i in (1, 2, 3, 15))]
        for run in training]
table(["vocabulary", "kernels", "mode", "step 1", "2", "3", "15"], rows,
      "Loss, nats per token")

# %% [markdown]
# ## What DeepSeek did
#
# A layer of experts adds the outputs of the chosen experts to a token $u_t$ {cite}`deepseekv3`:
#
# $$
# h'_t = u_t + \sum_{i=1}^{N_s} \mathrm{FFN}^{(s)}_i(u_t) + \sum_{i=1}^{N_r} g_{i,t}\, \mathrm{FFN}^{(r)}_i(u_t).
# $$
#
# The first sum runs over the shared experts and the second over the routed ones. In V3, $g_{i,t} = 0$ for all but 8 of the 256 routed experts. A grouped product with tiles of $R$ rows computes the following number of rows:
#
# $$
# \sum_i \left\lceil \frac{n_i}{R} \right\rceil R \;\le\; \sum_i n_i + N_r (R - 1)
# $$
#
# V3 spreads its experts over many GPUs, so tokens must also travel between GPUs. DeepSeek reports kernels for this in section 3.2.2 {cite}`deepseekv3`. They use 20 of an H800's 132 multiprocessors, and their warps have specialised tasks. *Customised PTX instructions* make them use less of the L2 cache and disturb the other multiprocessors less. At inference, section 3.4 places copies of the busiest experts on more GPUs.
#
# In training, the bias of [chapter 03](03_mixture_of_experts.ipynb) keeps MaxVio low. At our size, on one GPU, a grouped product hardly needs that balance. On many GPUs it matters, because the GPU with the busiest experts makes all the others wait, and tiles do not help against that.

# %% [markdown]
# ## What went wrong, or did not help
#
# **We timed Python instead of the GPU, again.** In our first measurement (`results/ch08_first_look`) the narrow layer of 16 experts was *slower* than the same layer around torch's product. We wrote a page about idle multiprocessors to explain it, and the profile showed that the explanation was wrong. The table shows that first time beside the time that the GPU needs and the time that Python needs for the same kind of layer:

# %% tags=["hide-input"]
first_look = (results.folder("ch08_first_look") / "log.txt").read_text()
who = {"hf-like": "first look, around torch's product", "ours": "first look, ours"}
timed = r"\n256 \d+ 16 4 \d+ (hf-like|ours)\s+([\d.]+) ms"
rows = [[who[way], round(1e3 * float(taken))] for way, taken in re.findall(timed, first_look)]
rows += [["the GPU, ours", round(1e6 * profile["kernels"][0]["seconds"])]]
rows += [[f"Python, {name}", round(1e6 * taken)] for name, taken in profile["host"].items()]
in_the_bench = layers[0]["contestants"]["ours"]["host_seconds"]
table(["16 experts, hidden size 256", "µs"],
      [*rows, ["Python, in the bench", round(1e6 * in_the_bench)]],
      "One forward and backward pass, and parts of it")

# %% [markdown]
# The first measurement launched one call after the other. When kernels are short, the GPU has finished a call before the next one arrives, so this measures how fast Python can launch them. The 3.2 ms are what *Python* needs for one pass, and the GPU needs about a sixth of that. Each launch costs Python some 50 µs, or 100 µs with descriptors for the copy engine. The steps together make half of a pass. We suppose that the rest is autograd, which runs backward passes in a thread of its own.
#
# The bench now keeps the GPU busy while Python launches, and reports Python's time separately ([chapter 07](07_triton_kernels.ipynb)). In the bench, Python took half as long. By then the package launched fewer kernels, but the machine may also have been faster that day, and we cannot tell the two apart. If you train a narrow model without `torch.compile` or a CUDA graph, Python's time still limits you.
#
# **Large tiles are bad for small outputs.** This concerns the gradient of gate and up, at hidden size 256 with 16 experts. Tiles of 128 by 256 give only 32 programs, each with thousands of rows to add up, so most of the 132 multiprocessors are idle. Tiles of 64 by 64 read every row more often, but from the cache, and they are faster:

# %% tags=["hide-input"]
rows = []
for trial in by_product["16 experts, d gate and up"]:
    out, width, depth = (trial["blocks"][name] for name in ("OUT", "IN", "ROWS"))
    rows.append([f"{out} x {width}", 16 * (256 // out) * (256 // width), depth,
                 trial["blocks"]["num_stages"], f"{1e6 * trial['seconds']:.0f}"])  # fmt: skip
table(["tiles of", "programs", "rows at a time", "stages", "µs"], rows,
      "The gradient of gate and up")

# %% [markdown]
# With 64 experts the large tiles are faster, so the package counts the programs before it chooses.
#
# **Dealing tiles from both ends was slower.** Where experts have few rows, memory sets the pace, because each matrix is used little. Where experts have many rows, the arithmetic sets the pace. We thought that dealing tiles from both ends of the list would keep both busy at once:

# %% tags=["hide-input"]
rows = []
for load in ("even", "skewed", "skewed, sorted"):
    ways = {bool(trial["blocks"]["MIXED"]): 1e6 * trial["seconds"]
            for trial in by_product[f"large, {load}, forward"][:2]}
    rows.append([load, *(f"{ways[mixed]:.0f}" for mixed in (False, True))])
table(["load", "in order, µs", "from both ends, µs"], rows, "The forward product, 98,304 rows")

# %% [markdown]
# It was slower, even where all experts have the same load and nothing could be gained. We think the reason is the cache. Neighbouring tiles share rows and matrices there, and if tiles are dealt from both ends, only half as many neighbours run at the same time.
#
# What helped was simpler: taking the experts in order of their loads, the heaviest first. That saves 5 % of the time of the skewed product. We did not build it in, because the order would have to be known before the first product. The gradients of the matrices do use it, and they need it more.
#
# **A tiling without waste was slower.** A width of 1,408 columns is exactly 11 tiles of 128, but five and a half tiles of 256. Tiles of 256 rows by 128 columns therefore compute nothing in vain. Still, they were slower in our first measurement:

# %% tags=["hide-input"]
tried = r"\nbalanced (\d+) (\d+) 64 w 8 s 3 sm 1 True (\d+) TF"
for tile_rows, columns, speed in re.findall(tried, first_look):
    if {tile_rows, columns} == {"128", "256"}:
        print(f"tiles of {tile_rows} rows by {columns} columns: {speed} TFLOP/s")

# %% [markdown]
# **A checker reports races that we cannot find in our code.** We ran `compute-sanitizer` over every kernel of the package on the H100, forward and backward (`tools/sanitize_kernels.py`). It ran once for memory errors and once for races, at sizes that no block size divides:

# %% tags=["hide-input"]
for name in ("sanitize_memcheck", "sanitize_racecheck"):
    lines = (results.folder(name) / "log.txt").read_text().splitlines()
    races = [line for line in lines if "Race reported" in line]
    where = sorted({line.split(" at ")[1].split("+")[0] for line in races})
    print(f"{name[9:]:10}", lines[-1].strip("= "), *where)

# %% [markdown]
# It found no bad memory access, but it reported three races. All of them are in kernels whose warps have roles, at the lines where Gluon's compiler hands out the roles. No report points at a line that reads or writes a tensor. We believe that the tool does not follow the compiler's own signals between warps, but we have not proved it. The results agree with float64 in every test.

# %% [markdown]
# ## Exercises
#
# ```{exercise} The schedule
# :label: ex-08-schedule
#
# *15 minutes.* Write `schedule(counts, rows)`, which lists the tiles of a grouped product. `check("experts.schedule", my_schedule)` tells you whether it is right, and names the mistake if it is not.
#
# **Hint.** Use two loops: one over experts, and inside it one over steps of `rows`.
# ```

# %%
def my_schedule(counts, rows):
    """Replace the line below by your own."""
    raise NotImplementedError


print(describe("experts.schedule"))

# %% [markdown]
# ```{solution-start} ex-08-schedule
# :class: dropdown
# ```

# %%
def schedule_solution(counts, rows):
    starts = (counts.cumsum(0) - counts).tolist()
    tiles = [(e, starts[e] + first, min(rows, n - first))
             for e, n in enumerate(counts.tolist())
             for first in range(0, n, rows)]  # fmt: skip
    return torch.tensor(tiles).view(-1, 3)


check("experts.schedule", schedule_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} What padding wastes
# :label: ex-08-waste
#
# *10 minutes.* Write `waste(counts, rows)`, which returns the share of wasted rows for both ways of padding. Test it with `check("experts.waste", my_waste)`.
#
# **Hint.** Our counts 5, 0, 2, 1 with tiles of two give 20 / 8 - 1 and 10 / 8 - 1.
# ```

# %%
def my_waste(counts, rows):
    """Replace the line below by your own."""
    raise NotImplementedError


print(describe("experts.waste"))

# %% [markdown]
# ```{solution-start} ex-08-waste
# :class: dropdown
# ```

# %%
def waste_solution(counts, rows):
    computed = torch.tensor(rows_computed(counts, rows), dtype=torch.float64)
    return computed / counts.sum() - 1


check("experts.waste", waste_solution)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} When is an expert bound by memory?
# :label: ex-08-memory
#
# *10 minutes, on paper.* An expert with $n$ rows reads a matrix of 2048 by 1408 in bf16. An H100 does about 300 operations in the time that it needs to read one byte ([chapter 07](07_triton_kernels.ipynb)). Below which $n$ does reading the matrix take longer than multiplying?
#
# **Hint.** The operations and the bytes both contain the factor 2048 · 1408.
# ```
#
# ```{solution} ex-08-memory
# :class: dropdown
#
# The product does $2 n \cdot 2048 \cdot 1408$ operations on $2 \cdot 2048 \cdot 1408$ bytes, which is $n$ operations per byte. So below about 300 rows, reading the matrix takes longer. At a skew of $s = 1$ the smallest of the 64 experts has only a few rows more than that: see `shares[10].min()`.
# ```

# %% [markdown]
# ## Bug zoo
#
# The package contains three wrong versions of `schedule`. The test below accepts the right schedule and catches two of the wrong ones. Write the test that catches the third.

# %% tags=["zoo"]
def tiles_hold_all_rows(schedule) -> None:
    assert schedule(torch.tensor([5, 0, 2, 1]), 2)[:, 2].sum() == 8


zoo("experts", [tiles_hold_all_rows])

# %% [markdown]
# Our tests are in the folded cell below, for after you have tried.

# %% tags=["hide-cell"]
def no_tile_without_rows(schedule) -> None:
    assert len(schedule(torch.tensor([0, 3, 0]), 2)) == 2


def tiles_follow_one_another(schedule) -> None:
    tiles = schedule(torch.tensor([5, 0, 2, 1]), 2)
    assert tiles[:, 1].tolist() == [0, 2, 4, 5, 7]


zoo("experts", [tiles_hold_all_rows, no_tile_without_rows, tiles_follow_one_another])

# %% [markdown]
# ## Receipt
#
# This is what the run cost, and how far our results are from the references. Only the inputs are random here, so there is no spread over seeds. The recorded speeds are medians of one run.

# %% tags=["receipt"]
receipt(differences={name: (value, 1e-5) for name, value in differences.items()})

# %% [markdown]
# ## Summary
#
# Where does the time go? It goes into starting many small products, into computing rows that are only padding, into moving data around the products, and into the Python code that launches everything. Padding to the fullest expert costs a factor of **1 + MaxVio** in rows. Tiles reduce that to a few percent. At the highest MaxVio that its routing allows, our whole layer takes 2 % longer than at balance. In the gradient of the matrices, programs have unequal lengths, and starting the heaviest first keeps the GPU busy to the end.
#
# How much does a kernel get back? It saves more than half of transformers' time for a layer with wide rows, and four fifths with narrow rows.
#
# - I can now sort by counting, and say why the result is the same in every run.
# - I can now cut a grouped product into tiles, and count what padding wastes.
# - I can now say why the gradient of the matrices needs a different order of its programs than the other products.
# - I can now separate the GPU's time from Python's time, and say which of the two a measurement saw.

# %% [markdown]
# ## Read on
#
# - DeepSeek-V3, sections 3.2 and 3.4 {cite}`deepseekv3`, describes experts on many GPUs.
# - The code of this chapter is in `minidsk/kernels/routing.py`, `grouped_gemm.py` and `experts.py`.
# - Next, [chapter 09](09_fp8_and_ptx.ipynb) makes the numbers themselves smaller.
