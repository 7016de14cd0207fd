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
# # Title of the chapter
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/NN_name.ipynb)
#
# A puzzle in two or three sentences, that a number answers at the end of the chapter.
#
# - **You will build** the thing, from an empty cell.
# - **You need** PyTorch, and chapter so-and-so.
# - **It takes** about 60 s to run on two CPU cores, 20 s on a GPU, and an hour to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %%
import matplotlib.pyplot as plt
import torch

from minidsk.diagrams import show, table
from minidsk.homework import check, predict, receipt, zoo

plt.style.use("minidsk.diagrams.look")

# %% [markdown]
# ## The pain first
#
# A run, or a small example carried by hand, that shows why the idea is wanted. Keep the numbers: the whole chapter
# carries them along.
#
# Before you run on, guess: replace `None` by a number. The tally stays on your machine.

# %% tags=["prediction"]
guess = None
largest = predict("NN_name.largest", "How large is the largest weight of the row?", guess, example=0.5)
print(largest)

# %% [markdown]
# ## The idea, small and slow
#
# One visible change a cell; at most 8 lines in the median, never more than 30.

# %% tags=["naive"]
def naive(x: torch.Tensor) -> torch.Tensor:
    """Softmax over the last dimension, a row at a time; x: [rows, columns]."""
    return torch.stack([row.exp() / row.exp().sum() for row in x])


# %% [markdown]
# ## The same, from the package
#
# The slow version stays, and the package's version must agree with it.

# %% tags=["agree"]
x = torch.randn(4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
difference = (naive(x) - x.softmax(-1)).abs().max().item()
assert difference < 1e-12
print(f"largest difference: {'below 1e-12' if difference < 1e-12 else difference}")

# %% [markdown]
# ## The experiment
#
# Several seeds, an interval, a control. Print the numbers that the figure shows: pictures are not compared when the
# notebooks run as tests, text is.

# %% tags=["figure", "hide-input"]
weights = x.softmax(-1)[0].tolist()
fig, ax = plt.subplots(figsize=(6, 3))
_ = ax.bar(range(7), weights)
_ = ax.set(xlabel="column", ylabel="weight")
show(fig, "One row of weights: what to see in it.",
     f"A bar for each of 7 columns, from {min(weights):.2f} to {max(weights):.2f}.")

# %%
table(["column", "weight"], [[str(k), f"{v:.3f}"] for k, v in enumerate(weights)])

# %%
largest.reveal(max(weights))

# %% [markdown]
# ## A figure that moves
#
# What to look for, in one sentence, and what a reader who cannot see it should know.

# %% tags=["widget"]
# from minidsk.widgets import ...   (the figure is the value of the cell)

# %% [markdown]
# ## What DeepSeek did
#
# The equation, the numbers of the real model, the citation {cite}`deepseekv3`.
#
# $$ p_i = \frac{e^{x_i}}{\sum_j e^{x_j}} $$

# %% [markdown]
# ## What went wrong, or did not help
#
# The failed run, kept, with what we think of it. What the experiment contradicts is reported as contradicted.

# %% [markdown]
# ## Exercises
#
# Three to five, each with its price in minutes, a hint, a test that names the mistake, and a hidden solution.
#
# ```{exercise} What it asks, in a few words
# :label: ex-NN-first
#
# *10 minutes.* The task. Run `check("chapter.name", your_function)` to see how you stand.
#
# **Hint.** Something that helps without giving the answer away.
# ```

# %%
def my_softmax(x: torch.Tensor) -> torch.Tensor:
    """Replace the line below by your own; x: [rows, columns]."""
    raise NotImplementedError


# print(check("chapter.name", my_softmax))

# %% [markdown]
# ```{solution-start} ex-NN-first
# :class: dropdown
# ```

# %%
def solution(x: torch.Tensor) -> torch.Tensor:
    """The same in one line."""
    return torch.softmax(x, -1)


# print(check("chapter.name", solution))

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} A second one
# :label: ex-NN-second
#
# *5 minutes.* A question to think about, with a number as its answer.
#
# **Hint.** Where to look.
# ```
#
# ```{solution} ex-NN-second
# :class: dropdown
#
# The answer, and why.
# ```
#
# ```{exercise} A third one
# :label: ex-NN-third
#
# *20 minutes.* Change the experiment and say first what you expect.
#
# **Hint.** What to change.
# ```
#
# ```{solution} ex-NN-third
# :class: dropdown
#
# What we found.
# ```

# %% [markdown]
# ## Bug zoo
#
# Three plausible wrong versions live in the package. Write tests that accept the right one and catch all three.

# %% tags=["zoo"]
def rows_sum_to_one(softmax) -> None:
    """A test takes an implementation and fails where it is wrong."""
    assert torch.allclose(softmax(torch.zeros(2, 3)).sum(-1), torch.ones(2))


# print(zoo("chapter.name", [rows_sum_to_one]))

# %% [markdown]
# ## Receipt
#
# What this run cost, the spread over seeds, and how far we are from the reference.

# %% tags=["receipt"]
receipt(differences={"naive and package": (difference, 1e-12)})

# %% [markdown]
# ## Summary
#
# The opening question, answered by its number.
#
# - I can now ...
# - I can now ...

# %% [markdown]
# ## Read on
#
# - A paper, and which section of it {cite}`deepseekv3`.
# - The next chapter, and why it comes next.
