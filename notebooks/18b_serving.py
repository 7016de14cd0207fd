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
# # Rows that come and go
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/18b_serving.ipynb)
#
# Many texts in one batch cost little more than one text ([fast inference](18_fast_inference.ipynb)). But replies differ in length, and of our reasoner's replies the longest is 18 times as long as the shortest. If a batch waits for its longest reply, most of its rows compute for nothing. If a free row takes the next prompt at once, the batch changes all the time. **How much work does this save, and does a reply stay the same, whatever stands in the rows beside it?**
#
# - **You will build** a scheduler that refills rows, first with lengths alone and then with a real cache. Then come noise that does not depend on the neighbours, and a product that adds in one order in batches of any size. At the end stands a sampler of few bits, and what a trainer learns from it.
# - **You need** PyTorch, and the cache and the batch of [fast inference](18_fast_inference.ipynb).
# - **It takes** about 30 s on a CPU (no GPU is needed), and an hour to read.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import copy
import os
import time
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
import torch

import minidsk
from minidsk import results
from minidsk.diagrams import direct_labels, show, table
from minidsk.homework import bites, check, predict, receipt
from minidsk.infer.engine import Engine
from minidsk.infer.generate import decode, left_padded
from minidsk.infer.noise import ENTRY, FIRST, PLACE, REPLY, SECOND, Noise, log_uniform
from minidsk.presets import nano
from minidsk.report.interval import apart
from minidsk.rl.grpo import policy_loss
from minidsk.rl.policy import MiniPolicy
from minidsk.widgets import Batching
from minidsk.widgets.batching import turns

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)
# The core's time, to which other programs add little; Windows counts it too coarsely.
clock = time.perf_counter if os.name == "nt" else time.process_time

# %% [markdown]
# ## How much work does waiting waste?
#
# A batch in which every row waits for the longest reply takes as many steps as that reply has tokens. A row's step is *useful* if it writes a token of a reply. We begin with five replies of 9, 2, 2, 2 and 2 tokens, which two rows write.

# %%
def steps_waiting(lengths, rows):
    """Batches of `rows` replies; each takes as many steps as its longest reply has tokens."""
    batches = [lengths[i : i + rows] for i in range(0, len(lengths), rows)]
    return sum(max(batch) for batch in batches)


def share_useful(lengths, rows, steps):
    """Tokens written, as a share of what all rows could have written."""
    return sum(lengths) / (rows * steps)

# %%
five = [9, 2, 2, 2, 2]
steps = steps_waiting(five, 2)
print(f"{steps} steps of two rows write {sum(five)} tokens:",
      f"{100 * share_useful(five, 2, steps):.0f} % are useful")

# %% [markdown]
# The lengths of real replies differ more than these. We take 1,024 recorded replies of our `small` model after R1-Zero training, to problems that it was not trained on. We count their tokens (characters and marks), the end included.

# %%
policy = minidsk.load_policy("nano-zero")
model, tokenizer = policy.model, policy.tokenizer
replies = results.read("reason_small", "seed0/zero/evaluation.json")["replies"]
lengths = [len(tokenizer.encode(reply["reply"])) + 1 for reply in replies]
print("the first:", *lengths[:12])
print(f"shortest {min(lengths)}, middle {median(lengths):.0f}, longest {max(lengths)} tokens")
print(f"the longest is {max(lengths) / min(lengths):.0f} times as long as the shortest")

# %% [markdown]
# Suppose that 32 rows write these replies in batches that wait. Guess which share of the steps is useful.

# %% tags=["prediction", "hide-input"]
guess = None
question = "Which share of the rows' steps write a token, in %?"
useful = predict("inference.useful", question, guess, example=75, unit="%", scale="difference",
                 tolerance=40)  # fmt: skip
useful

# %%
waited = 100 * share_useful(lengths, 32, steps_waiting(lengths, 32))
useful.reveal(round(waited, 1))

# %% [markdown]
# Nearly every batch of 32 contains one reply of several hundred tokens, and all its rows wait for it. We cannot sort the replies, because their lengths are not known in advance.
#
# The remedy comes from Orca {cite}`yu2022orca`. When a reply ends, its row takes the next prompt that waits. This is called **continuous batching**, or refilling. To count its steps, a scheduler needs only the lengths:

# %%
def steps_refilled(lengths, rows):
    """A free row, which has no tokens left, takes the next reply that waits."""
    waiting, left, steps = list(lengths), [0] * rows, 0
    while waiting or any(left):
        left = [tokens or (waiting.pop(0) if waiting else 0) for tokens in left]
        left = [max(0, tokens - 1) for tokens in left]  # a token in each row at work
        steps += 1
    return steps

# %% tags=["figure", "hide-input"]
fig, panels = plt.subplots(2, 1, figsize=(6.4, 3), sharex=True)
for ax, refill, name in zip(panels, (False, True), ("waiting", "refilled"), strict=True):
    for number, (row, begin, end) in enumerate(turns(five, 2, refill), 1):
        _ = ax.barh(row, end - begin, left=begin, height=0.8, color="C0", edgecolor="white")
        _ = ax.text((begin + end) / 2, row, f"reply {number}", ha="center", va="center",
                    color="white", fontsize=9)
    of = (steps_waiting, steps_refilled)[refill](five, 2)
    _ = ax.axvline(of, color="gray", ls="--", lw=1)
    _ = ax.set_title(f"{name}: {of} steps, {100 * share_useful(five, 2, of):.0f} % useful",
                     fontsize=10, loc="left")
    _ = ax.set(yticks=[0, 1], yticklabels=["row 0", "row 1"], xlim=(0, 14.5))
    ax.invert_yaxis()
_ = panels[1].set_xlabel("steps")
both = [of(five, 2) for of in (steps_waiting, steps_refilled)]
show(fig, "Five replies of 9, 2, 2, 2 and 2 tokens in two rows. While the long reply is "
     "written, row 1 either waits or writes all the others.",
     f"Two timelines with two rows each. Waiting takes {both[0]} steps, because replies 3 and "
     f"4 begin after the ninth step. Refilled, all five end after {both[1]} steps.")

# %% [markdown]
# A common mistake is to refill only when all rows are free, which is the same as waiting. A test with replies of equal length would not notice it. Five replies with a long one at the front do:

# %%
def short_replies_pass_a_long_one(steps) -> None:
    """Nine tokens in one row; meanwhile the other row writes four replies of two."""
    assert steps([3, 3, 3, 3], 2) == 6
    assert steps(five, 2) == 9


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
ends = [[f"{100 * shares[rows][k]:.0f}" for rows in (8, 256)] for k in (0, 1)]
waited, filled = (f"{100 * share:.0f} %" for share in shares[32])
show(fig, f"The 1,024 recorded replies. With 32 rows, {waited} of the steps are useful when "
     f"rows wait, and {filled} when they are refilled.",
     f"Two lines over 8 to 256 rows, both falling. Waiting: from {ends[0][0]} % useful with 8 "
     f"rows to {ends[0][1]} % with 256. Refilled: from {ends[1][0]} % to {ends[1][1]} %.")

# %% [markdown]
# With 256 rows the last long replies keep only a few rows busy, so the share falls. (The package then moves them into a smaller batch.) In the figure below, choose how rows behave and move the step. Red marks a row whose results are thrown away. At the end, 41 % and 74 % of the steps are useful, and not 31 % and 96 %. Among 6 rows, a very long reply is rarer than among 32. Near the end no prompts wait, so rows stay free. With 24 replies this end is a larger part of the run than with 1,024.

# %% tags=["widget"]
batching = Batching(lengths[:24], 6, title="24 recorded replies in 6 rows")
batching.step = 400
batching

# %% [markdown]
# **The answer.** With 32 rows, two thirds of the work are wasted when rows wait, and a few per cent when they are refilled.
#
# ## Can one row of a real cache be refilled?
#
# We now do it with `nano-zero` and its cache of fixed size. The new prompt is read apart from the rows at work, and its cache is copied into the free row. A natural bug is to let the row read the new prompt behind its old reply. (`Engine` holds the cache, and the logits after the last token of each row. Its `prefill` reads prompts, and its `step` appends one token per row.)

# %%
exact = copy.deepcopy(model).double()  # float64, in which rounding decides no greedy token
test = nano().make_task("test")
prompts = [test[i].prompt for i in range(64)]
singles = [left_padded([prompt], tokenizer)[0] for prompt in prompts]


def reads_alone(engine, row, prompt):
    reader = Engine(engine.model, 1, engine.cache.capacity, static=True)
    reader.prefill(prompt)
    return reader


def keeps_its_old_cache(engine, row, prompt):
    reader = engine.fork(row)
    reader.step(prompt)
    return reader

# %% [markdown]
# The test has two rows, of which row 0 takes a third prompt after 20 tokens. Each reply must be the one that a decoder without any cache writes.

# %%
@torch.no_grad()
def write_slowly(model, ids, new):
    """The slow decoder: for each new token, everything is computed again."""
    for _ in range(new):
        ids = torch.cat((ids, model(ids).logits[:, -1:].argmax(-1)), 1)
    return ids


def put(engine, row, prompt, read=reads_alone):
    """Row number `row` begins with a new prompt."""
    row = torch.tensor([row])
    reader = read(engine, row, prompt)
    engine.cache.adopt(row, reader.cache)
    engine.logits[row] = reader.logits


def write_two_rows(read):
    """40 greedy tokens in each of two rows, of which row 0 is refilled after 20: [2, 40]."""
    engine, written = Engine(exact, 2, 160, static=True), []
    engine.prefill(*left_padded(prompts[:2], tokenizer))
    for step in range(40):
        if step == 20:
            put(engine, 0, singles[2], read)
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
# Now the whole scheduler, with prompts instead of lengths. All rows that are free at once read their prompts in one pass. A row that has ended is cleared and goes on computing for nothing, until a prompt takes it.

# %%
def admit(engine, rows, numbers):
    """These rows begin with the prompts of these numbers, which are read in one pass."""
    reader = Engine(engine.model, len(rows), engine.cache.capacity, static=True)
    reader.prefill(*left_padded([prompts[number] for number in numbers], tokenizer))
    engine.cache.adopt(torch.tensor(rows), reader.cache)
    engine.logits[rows] = reader.logits

# %%
def write_all(rows, refill, most=160):
    """Greedy replies to all prompts; the tokens that each row's cache held, step by step."""
    engine, waiting, owner = Engine(exact, rows, 200, static=True), [*range(64)], [None] * rows
    written, held = [[] for _ in prompts], []
    while waiting or any(who is not None for who in owner):
        free = [row for row in range(rows) if owner[row] is None][: len(waiting)]
        if free and (refill or len(free) == rows):
            for row in free:
                owner[row] = waiting.pop(0)
            admit(engine, free, [owner[row] for row in free])
        held.append(engine.cache.lengths.tolist())
        tokens = engine.logits.argmax(-1)
        engine.step(tokens)
        for row, who in enumerate(owner):
            if who is not None:
                written[who].append(int(tokens[row]))
                if tokens[row] == tokenizer.eos_id or len(written[who]) == most:
                    owner[row] = None
        engine.cache.forget(torch.tensor([who is None for who in owner]))
    return written, held

# %%
def timed(call, turns=2):
    """The last result of a call, and the shortest of its times in seconds."""
    spent = []
    for _ in range(turns):
        began = clock()
        out = call()
        spent.append(clock() - began)
    return out, min(spent)


took = {}
(waiting, held_waiting), took["waiting"] = timed(lambda: write_all(8, refill=False))
(refilled, held), took["refilled"] = timed(lambda: write_all(8, refill=True))

# %%
own_lengths = [len(reply) for reply in refilled]
assert waiting == refilled
assert len(held_waiting) == steps_waiting(own_lengths, 8)
assert len(held) == steps_refilled(own_lengths, 8)
print("64 replies are the same in both ways; steps as counted from their lengths")
longest = max(own_lengths)
print(f"longest {longest} tokens, the cap, which {own_lengths.count(longest)} replies reach")
table(["64 replies in 8 rows", "steps", "useful", "time"],
      [[name, len(of), f"{100 * share_useful(own_lengths, 8, len(of)):.0f} %",
        f"{took[name]:.2f} s"]
       for name, of in (("waiting", held_waiting), ("refilled", held))],
      "nano-zero in float64, on this core, the shorter of two times")  # fmt: skip

# %%
engine = Engine(exact, 8, 200, static=True)
admit(engine, [*range(8)], range(8))
_, step = timed(lambda: engine.step(engine.logits.argmax(-1)), 9)
_, one_refill = timed(lambda: admit(engine, [0], [8]), 9)
print(f"a step of 8 rows: {1e3 * step:.1f} ms; a row is refilled in {1e3 * one_refill:.1f} ms")

# %% tags=["figure", "hide-input"]
fig, panels = plt.subplots(2, 1, figsize=(6.4, 3.4), sharex=True, sharey=True)
for ax, of, name in zip(panels, (held_waiting, held), ("waiting", "refilled"), strict=True):
    _ = ax.imshow(np.array(of).T, aspect="auto", interpolation="nearest", cmap="Blues")
    _ = ax.set_title(f"{name}: {len(of)} steps", fontsize=10, loc="left")
    _ = ax.set(yticks=[0, 7], ylabel="row", xlim=(0, len(held_waiting)))
    ax.grid(False)
_ = panels[1].set_xlabel("steps")
show(fig, "How many tokens each of the 8 rows holds in its cache: the darker, the more. A row "
     f"without a reply is cleared. Waiting takes {len(held_waiting)} steps, refilling "
     f"{len(held)}.",
     "Two maps of 8 rows over the steps. Each row darkens while a reply grows and turns pale "
     "when it is refilled. Waiting leaves pale gaps until the longest reply of a batch ends.")

# %% [markdown]
# Refilling needs fewer steps, but a step is not all that takes time. A new prompt is read while the other rows wait, and the cell above the figure times both. The batch that waits reads eight prompts at once. A server avoids this pause by reading a long prompt in pieces beside the other rows' steps (*chunked prefill* {cite}`agrawal2024sarathi`).
#
# The replies must also be those of the slow decoder. Each reply is therefore read alone, in one pass. If each of its tokens is the likeliest after those before it, the slow decoder writes the same reply. The package's version of all this is `minidsk/infer/refill.py`, and it must agree too.

# %%
# tolerance: 1e-6
ids, mask = left_padded(prompts, tokenizer)
ending = {"eos_token_id": tokenizer.eos_id, "attention_mask": mask}
together, package = (decode(exact, ids, 160, temperature=0.0, **ending, **ways)
                     for ways in ({}, {"rows": 8}))  # fmt: skip
assert torch.equal(together.ids, package.ids)
for k, reply in enumerate(refilled):
    alone = torch.cat((singles[k][0], torch.tensor(reply)))[None]
    with torch.no_grad():
        says = exact(alone).logits[0, -len(reply) - 1 : -1].argmax(-1)
    assert says.tolist() == reply
    assert package.ids[k, ids.shape[1] :][package.mask[k]].tolist() == reply
refill_difference = (together.logprobs - package.logprobs).abs().max().item()
assert refill_difference < 1e-6
print("64 replies: the same refilled, waiting, alone, and in the package;")
print("log-probabilities with 64 rows and with 8,",
      f"largest difference: {refill_difference:.0g}")

# %% [markdown]
# **The answer.** A row can be refilled if the new prompt is read by itself. In float64, no greedy token then depends on the neighbours.
#
# ## Does a drawn reply depend on its neighbours?
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

# %% [markdown]
# Both are fair draws, but the reply could not be repeated in another batch.
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
print("the package's noise is the same, bit for bit")
print("seed 5, reply 3, place 0:", *(f"{-x:.2f}" for x in noise(5, 3, 0, 4)))
print("seed 5, reply 3, place 1:", *(f"{-x:.2f}" for x in noise(5, 3, 1, 4)))

# %% [markdown]
# How does noise become a token? Minus the logarithm of a uniform number is a random waiting time, as if each token had an alarm clock. We divide the waiting time by the token's probability, and take the token whose clock rings first:

# %%
# tolerance: 0.01
three = torch.tensor([0.6, 0.3, 0.1])
waits = -noise(3, torch.arange(20_000), 0, 3)  # a row per reply
rows = [[k + 1, f"{three[k]:.1f}", f"{waits[0, k]:.2f}", f"{waits[0, k] / three[k]:.2f}"]
        for k in range(3)]  # fmt: skip
table(["token", "probability", "waiting time", "divided"], rows,
      f"Reply 0: the clock of token {(waits[0] / three).argmin() + 1} rings first")

# %% [markdown]
# Why is this a fair draw? As long as a clock with the waiting time $-\log u$ has not rung, it rings in the next short moment with the same chance, its rate of 1. Dividing by $p$ makes the rate $p$. The rates of all clocks add up to 1, so the first clock to ring belongs to token $x$ with probability $p(x)$. This is called an **exponential race**; in logarithms it is the Gumbel-max trick.
#
# We check it with a chi-square test on 20,000 races. The planted bug multiplies where it should divide.

# %%
def chi_square(drawn, p):
    """How far counts are from what p expects; for 3 tokens above 13.8 once in 1,000 times."""
    expected = len(drawn) * p
    return ((torch.bincount(drawn, minlength=len(p)) - expected) ** 2 / expected).sum().item()


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
# We now draw whole replies in this way. With noise from an address, the first four replies of a batch of eight must be those of a batch of four. The planted bug is the shared generator.

# %%
def draw_by_address(ids, mask, new, seed):
    """Sampled tokens [rows, new]; each reply has noise of its own."""
    engine, drawn = Engine(exact, len(ids), 200), []
    logits = engine.prefill(ids, mask)
    for place in range(new):
        waits = -noise(seed, torch.arange(len(ids)), place, logits.shape[1])
        drawn.append(divides(waits, logits.softmax(-1)))
        logits = engine.step(drawn[-1])
    return torch.stack(drawn, 1)


def neighbours_do_not_matter(draw) -> None:
    of_4, of_8 = (draw(ids[:n], mask[:n], 40, seed=3) for n in (4, 8))
    assert torch.equal(of_4, of_8[:4])


bites(neighbours_do_not_matter, draw_by_address, draw_with_one_generator)

# %% [markdown]
# The package draws in the same way. One batch of 64, 8 refilled rows, fixed shapes (as for a graph), and the first four prompts by themselves must all draw the same replies.

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
# **The answer.** A drawn reply depends only on its own address and prompt if each number of its noise is computed from its address.
#
# ## Do the sampler and the trainer compute the same numbers?
#
# So far we computed in float64, where rounding shows in no printed digit. Samplers use float32 or bfloat16, and there a sum of floating-point numbers depends on the order of adding. A library multiplies one row and 4,000 rows by different programs, which add in different orders:

# %%
# tolerance: 1e-4
print("(0.1 + 0.2) + 0.3 ==  0.1 + (0.2 + 0.3):", (0.1 + 0.2) + 0.3 == 0.1 + (0.2 + 0.3))
g = torch.Generator().manual_seed(0)
x, weight = torch.randn(4001, 256, generator=g), torch.randn(256, 64, generator=g)
lone_row = x[:1] @ weight - (x @ weight)[:1]
print(f"one row alone and among 4,001, largest difference: {lone_row.abs().max():.0e}")

# %% [markdown]
# This matters in reinforcement learning ([chapter 12](12_grpo.ipynb)). Before the first update, the ratio of a token's new probability to its probability at sampling should be 1. It is not quite 1, because the sampler multiplies few rows at once and the trainer many.
#
# The remedy is one order everywhere, as Thinking Machines showed {cite}`he2025nondeterminism`. Every product is cut into blocks of one fixed shape. We take 24 rows, because libraries work on 4, 6, 8 or 12 rows at a time and treat what is left over otherwise. A natural bug leaves the last block short, so that it goes to another program:

# %%
def in_blocks(x, weight):
    """x @ weight, 24 rows at a time; the last block is filled up with zeros."""
    filled = torch.nn.functional.pad(x, (0, 0, 0, -len(x) % 24))
    return torch.cat([block @ weight for block in filled.split(24)])[: len(x)]


def leaves_the_last_block_short(x, weight):
    return torch.cat([block @ weight for block in x.split(24)])


def a_row_does_not_feel_the_others(product) -> None:
    whole = product(x, weight)
    for first in (0, 7):  # wherever it stands in a block
        for rows in range(1, 26):
            part = slice(first, first + rows)
            assert torch.equal(product(x[part], weight), whole[part])


bites(a_row_does_not_feel_the_others, in_blocks, leaves_the_last_block_short)

# %% [markdown]
# The package's policy has a switch, `exact`, that cuts all products in this way and lets attention always run over the same padded length. We draw 32 replies, let the trainer compute their log-probabilities again, and compare them with those of the sampler.

# %% tags=["hide-input"]
# tolerance: 1e-3 + 200%
trained_on = [nano().make_task("train")[i].prompt for i in range(8)]


def against_the_trainer(length, kind=torch.float32):
    """32 sampled replies: differences of log-probabilities, largest and mean; the seconds."""
    twin = MiniPolicy(copy.deepcopy(model).to(kind), tokenizer, None, exact=length)
    began = clock()
    drawn = twin.sample(trained_on, 4, 160, generator=torch.Generator().manual_seed(0))
    gaps = (twin.logprobs(drawn) - drawn.logp).abs()[drawn.mask.bool()]
    return gaps.max().item(), gaps.mean().item(), clock() - began


_ = against_the_trainer(None)  # warms up
ways = {"float32, as the library adds": (None,), "float32, one order for all": (224,),
        "bfloat16, as the library adds": (None, torch.bfloat16),
        "bfloat16, one order for all": (224, torch.bfloat16)}  # fmt: skip
compared = {name: against_the_trainer(*way) for name, way in ways.items()}
(plain_gap, plain_mean, took), (exact_gap, _, took_exact), (_, coarse_mean, _), _ = (
    compared.values())  # fmt: skip
assert 0 < plain_gap < 1e-3 and exact_gap == 0 and coarse_mean > 1000 * plain_mean
table(["mode", "mean difference", "largest", "largest ratio", "sampling and training pass"],
      [[name, f"{mean:.1g}", f"{gap:.1g}", f"{np.exp(gap):.6g}", f"{spent:.2f} s"]
       for name, (gap, mean, spent) in compared.items()],
      "Differences of log-probabilities of 32 replies, on this core")  # fmt: skip

# %% [markdown]
# In float32 the mean difference is tiny. In bfloat16 it is more than a thousand times as large. With one order of adding it is exactly 0 in both. (Here sampler and trainer have the same weights. If only the sampler rounds its weights to bfloat16, no order of adding helps, and the package refuses.)
#
# **The router** ([chapter 03](03_mixture_of_experts.ipynb)) can make such a difference larger, because another expert then computes what follows. `nano-zero` sends each token to the best 2 of 4 experts. So a token changes an expert only where the second and the third score are nearly equal. We compute the same texts in float32 and in bfloat16, and ask which tokens changed an expert in any layer.

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
# Such tokens are rare, but their log-probabilities differ by many times as much.
#
# **The answer.** Sampler and trainer compute the same numbers only if both add in the same order. Otherwise they differ by rounding. Where rounding to bfloat16 changes an expert, they differ many times as much, probably because of it.
#
# ## What does the difference do to learning?
#
# Samplers round on purpose, because few bits are quicker to read: ours on a GPU to bfloat16, others to 8 bits. Then the trainer learns from tokens that a slightly different model has drawn.
#
# The trainer can correct this. It multiplies the gradient of a token by the **ratio**, the trainer's probability of the token divided by the sampler's ([chapter 12](12_grpo.ipynb)). An example: the sampler draws a wrong token with probability 0.5, where the trainer has 0.3. The ratio 0.3 / 0.5 = 0.6 then makes up for drawing it too often. Four ways are in use:
#
# - **free**: the ratio as it is, here 0.6.
# - **clipped**, as in PPO and GRPO: no gradient for a punished token whose ratio is below 0.8, or a rewarded one whose ratio is above 1.28. Here the weight is 0.
# - **capped**: the ratio, but at most 2. This is *truncated importance sampling*, proposed by Yao et al. for such samplers {cite}`yao2025offpolicy`.
# - **ignored**: the trainer computes the probability anew and takes it for the sampler's. The weight is 1, and nothing shows the difference any more.

# %%
def weight_of(ratio, advantage, way):
    """What multiplies a token's gradient; the advantage is positive if it is rewarded."""
    far = ratio > 1.28 if advantage > 0 else ratio < 0.8
    return {"free": ratio, "clipped": 0.0 if far else ratio,
            "capped": min(ratio, 2.0), "ignored": 1.0}[way]  # fmt: skip


def clips_on_both_sides(ratio, advantage, way):
    outside = way == "clipped" and not 0.8 < ratio < 1.28
    return 0.0 if outside else weight_of(ratio, 1, "capped" if way == "capped" else "free")


# %%
BOUNDS = {"free": (np.inf, np.inf, "dapo"), "clipped": (0.2, 0.28, "dapo"),
          "capped": (np.inf, 1.0, "cispo")}  # fmt: skip


def weighs_as_the_package(weigh) -> None:
    """Against the gradient of the package's loss, for one token."""
    for way, (low, high, kind) in BOUNDS.items():
        for ratio, advantage in ((0.6, -1), (0.6, 1), (1.1, 1), (1.5, 1), (3.0, -1)):
            logp = torch.tensor([[np.log(ratio)]], requires_grad=True)
            loss, _ = policy_loss(logp, torch.zeros(1, 1), torch.tensor([float(advantage)]),
                                  torch.ones(1, 1), low, high, loss_type=kind)  # fmt: skip
            loss.backward()
            assert abs(-logp.grad.item() - advantage * weigh(ratio, advantage, way)) < 1e-6


bites(weighs_as_the_package, weight_of, clips_on_both_sides)
for way in ("free", "clipped", "capped", "ignored"):
    print(f"{way:8} {weight_of(0.3 / 0.5, -1, way):.1f}")

# %% [markdown]
# Now we need a sampler that differs by a known amount. A float32 keeps 23 binary digits after the first, a bfloat16 keeps 7, and an 8-bit float (e4m3) keeps 3. We round weights to so many digits. A bug cuts the others off:

# %%
def rounded(x, bits):
    """The nearest numbers with `bits` binary digits after the first."""
    mantissa, exponent = torch.frexp(x)  # x = mantissa * 2 ** exponent
    return torch.ldexp((mantissa * 2 ** (bits + 1)).round() / 2 ** (bits + 1), exponent)


def cut_off(x, bits):
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp((mantissa * 2 ** (bits + 1)).trunc() / 2 ** (bits + 1), exponent)


def seven_bits_are_bfloat16(way) -> None:
    assert torch.equal(way(weight, 7), weight.bfloat16().float())


bites(seven_bits_are_bfloat16, rounded, cut_off)
kept = [rounded(torch.tensor(0.35), bits).item() for bits in (7, 3, 1, 0)]
print(f"0.35 with 7, 3, 1 and 0 bits: {kept}")

# %% [markdown]
# With 0 bits, only powers of two are left, and with 1 bit also the number halfway between each two of them. The recorded experiment trains `nano-base` by reward alone with the settings of the `nano` preset, for 32 steps. The sampler's matrices are rounded anew at each step, and the trainer's stay in float32. Before the training, about 40 % of the sampled answers are right. Trained with an exact sampler, the model ends at 84 %.

# %%
guess = None
question = ("With weights of 1 bit and the ratio clipped, how many % of the problems "
            "does the trained model solve?")  # fmt: skip
broken = predict("inference.broken", question, guess, example=70, unit="%", scale="difference",
                 tolerance=15)  # fmt: skip
broken

# %%
runs = results.read("ch18_rounded")["runs"]
names = list(dict.fromkeys(run["variant"] for run in runs))
of = {name: [run for run in runs if run["variant"] == name] for name in names}
right = {name: [100 * run["accuracy"] for run in of[name]] for name in names}
broken.reveal(round(np.mean(right["1 bit"]), 1))

# %% tags=["hide-input"]
WORDS = {"": "clipped", "the trainer's": "ignored", "capped": "capped", "no clip": "free"}


def row_of(name):
    bits, _, way = name.partition(", ")
    gap = np.mean([run["gap"] for run in of[name]])
    center, half = apart(right[name], right["23 bits"]) if name != "23 bits" else (0, 0)
    change = f"{center:+.0f} ± {half:.0f}" if name != "23 bits" else ""
    seeds = ", ".join(f"{value:.0f}" for value in right[name])
    return [bits, WORDS[way], f"{gap:.4f}", seeds, f"{np.mean(right[name]):.0f}", change]


print(results.origin("ch18_rounded"))
table(["sampler's weights", "ratio", "mean difference, nats", "right, each seed, %", "mean, %",
       "against 23 bits"], [row_of(name) for name in names],
      "512 held-out problems, three numbers up to 12, answered greedily with the trainer's "
      "weights after 32 steps; three seeds, 95 % intervals of paired differences")  # fmt: skip

# %% tags=["figure", "hide-input"]
lines = {"23 bits": "23 bits", "3 bits": "3 bits, clipped", "1 bit": "1 bit, clipped",
         "1 bit, the trainer's": "1 bit, ignored", "1 bit, capped": "1 bit, capped"}
fig, ax = plt.subplots(figsize=(6.4, 3))
for name, label in lines.items():
    curve = 100 * np.mean([run["curves"]["reward"] for run in of[name]], axis=0)
    smooth = np.convolve(curve, np.ones(3) / 3, "valid")
    steps = 2 + np.arange(len(smooth))
    _ = ax.plot(steps, smooth, label=f"{label}, {smooth[-1]:.0f} %")
_ = ax.set(xlabel="step", ylabel="sampled answers right, %", ylim=(0, 100))
direct_labels(ax)
said = "; ".join(line.get_label() for line in ax.get_lines())
show(fig, "What the sampler's answers earn while the trainer learns from them: means of three "
     f"seeds and of three steps. At the end: {said}.",
     "Five lines over the steps, all from about 40 %. Those of 23 bits, of 3 bits, and of 1 "
     "bit with a capped ratio rise, that of 1 bit with the difference ignored falls by half, "
     "and that of 1 bit with a clipped ratio falls to a few per cent.")  # fmt: skip

# %% [markdown]
# Before the runs we expected that 7 and 3 bits change nothing that three seeds can tell, and that with fewer bits the clipped ratio keeps learning alive. The first held for 7 bits. For 3 bits the interval contains 0, although all three seeds ended lower. The second was wrong: with 1 bit and the clip, the model soon solves fewer problems than before, and in each of the three seeds fewer than if the difference is ignored.
#
# The clip was made for a policy that moves away during its updates. Here the ratio is far from 1 before any update. So a wrong token that the sampler draws too often is never made less likely, as in the example above. After seeing this, we added the runs with a free and with a capped ratio.

# %%
pairs = [("3 bits, capped", "3 bits"), ("3 bits, the trainer's", "3 bits"),
         ("1 bit, capped", "1 bit"), ("1 bit, no clip", "1 bit"),
         ("1 bit, no clip", "1 bit, capped")]  # fmt: skip
said = {"3 bits": "3 bits, clipped", "3 bits, the trainer's": "3 bits, ignored",
        "1 bit": "1 bit, clipped", "1 bit, no clip": "1 bit, free"}  # fmt: skip
for one, other in pairs:
    center, half = apart(right[one], right[other])
    print(f"{said.get(one, one)} minus {said.get(other, other)}: {center:+.0f} ± {half:.0f}")

# %%
left_out = [[name, *(f"{100 * np.mean([run['curves'][side] for run in of[name]]):.1f}"
                     for side in ("clipped_low", "clipped_high"))]
            for name in ("7 bits", "3 bits", "1 bit")]  # fmt: skip
table(["weights", "below 0.8, %", "above 1.28, %"], left_out,
      "Tokens that the clip leaves out, means over steps and seeds")

# %% [markdown]
# Not clipping is what helps: at 1 bit, a free and a capped ratio cannot be told apart, and both teach most of what an exact sampler does. At 3 bits ignoring the difference does as well. With 0 bits (clipped and ignored only) nothing is learned.
#
# So far only weights were rounded. Our sampler on a GPU also rounds whatever it computes to bfloat16, and runs other kernels than the trainer, from a graph. The trainer keeps float32 weights and makes its large products in bfloat16. We trained `nano-base` on a GPU in this way with five seeds, and as a control with all of it in float32. We wrote down before the runs that no way would differ from the control by more than five seeds can tell.

# %% tags=["hide-input"]
gpu = {name: [run for run in results.read("ch18_arithmetic")["runs"] if run["variant"] == name]
       for name in ("float32", "bf16", "bf16, capped", "bf16, the trainer's")}  # fmt: skip
solved = {name: [100 * run["accuracy"] for run in group] for name, group in gpu.items()}
rows = []
for name, group in gpu.items():
    center, half = apart(solved[name], solved["float32"]) if name != "float32" else (0, 0)
    assert abs(center) <= half
    kind, _, way = name.partition(", ")
    out = [run["curves"][side] for run in group for side in ("clipped_low", "clipped_high")]
    rows.append([kind.replace("bf16", "bfloat16"), WORDS[way],
                 f"{np.mean([run['gap'] for run in group]):.4f}",
                 f"{max(run['largest'] for run in group):.1f}", f"{200 * np.mean(out):.2f}",
                 ", ".join(f"{value:.0f}" for value in solved[name]),
                 f"{round(center):+} ± {half:.0f}" if half else ""])  # fmt: skip
print(results.origin("ch18_arithmetic"))
table(["sampler and products", "ratio", "mean difference, nats", "largest", "left out, %",
       "right, each seed, %", "against float32"], rows,
      "512 held-out problems, three numbers up to 12, greedy, after 32 steps on a GPU; five "
      "seeds, 95 % intervals of paired differences")  # fmt: skip

# %% [markdown]
# That is what we see: every interval contains 0. But each is some points wide, so a loss of a few points would not show. A single token can differ by several nats, probably where rounding changes an expert. The clip leaves out one token in some thousands, and not one in twenty as with 1 bit.
#
# **The answer.** At our size, a sampler in bfloat16 costs nothing that our seeds can tell, be it in its weights alone or in all that it computes. With 1 bit, the same loop ends at a few per cent with the clip and near three quarters without it, probably because the clip leaves out the tokens that would have corrected the sampler. Our package samples in bfloat16, where the clip does no harm that we can see, and so it clips.

# %% [markdown]
# ## What servers do besides
#
# A server promises each user a short wait (*latency*) and wants many tokens per second in all (*throughput*). Three ideas beside refilling serve these two aims, and our package has none of them:
#
# - *Chunked prefill* {cite}`agrawal2024sarathi` reads a long prompt in pieces beside the other rows' steps, so that they need not wait.
# - *PagedAttention* {cite}`kwon2023pagedattention` keeps the cache in small pages that need not lie side by side. So no row reserves memory for the longest reply.
# - *Prefix caching* {cite}`zheng2024sglang` keeps the pages of a beginning that many prompts share.
#
# ## What went wrong, or did not help
#
# **Refilling is for what does not fit into one batch.** The fewest steps for 64 replies come from 64 rows, which take as many steps as the longest reply has tokens. Here these are 160, because we stop every reply there.

# %%
steps_of = {"8 rows, waiting": (8, steps_waiting), "8 rows, refilled": (8, steps_refilled),
            "64 rows": (64, steps_waiting)}  # fmt: skip
for name, (rows, count) in steps_of.items():
    counted = count(own_lengths, rows)
    print(f"{name:16}: {counted:5,} steps,",
          f"{100 * share_useful(own_lengths, rows, counted):.0f} % useful")

# %% [markdown]
# **Exactness has a price.** With products in blocks of one shape, sampling and the training pass took longer (the cell below divides the times of the table above).
#
# **The ratio did not save the coarse sampler.** We had expected that the sampler's own probability keeps learning alive with 1 or 0 bits. With the usual clip it did not (the table above), and only the two ways that we added afterwards did.
#
# **The hash has two defects.** `>>` keeps the sign, so the addresses $x$ and $-1-x$ give the same number. And products and shifts leave 0 at 0, so address 0, like its mirror $-1$, gives the smallest number, $2^{-24}$. Recorded runs need this hash as it is, so it stays. A seed that is drawn at random hardly ever meets them.

# %%
print(f"one order for all: {took_exact / took:.1f}x slower")
assert torch.equal(noise(5, 0, 0, 1), noise(-6, 0, 0, 1))  # a mirror
print(f"address 0 and its mirror -1: 2 to the power {noise(0, 0, 0, 1)[0] / np.log(2):.0f}")

# %% [markdown]
# ## Exercises
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
# ```{exercise} Two seeds side by side
# :label: ex-18-seeds
#
# *10 minutes.* Suppose that `noise` added the reply's number to the seed without multiplying it by `REPLY`. Which two replies of which seeds would then get the same noise, and why would this hurt a run that uses seeds 0, 1 and 2 for its steps?
#
# **Hint.** Compare reply 1 with seed 0 and reply 0 with seed 1.
# ```
#
# ```{solution} ex-18-seeds
# :class: dropdown
#
# All replies for which seed + reply is the same number would get the same noise, for example reply 1 of seed 0 and reply 0 of seed 1. A batch of 64 replies with seed 1 would repeat the noise of 63 replies with seed 0, so the second step would learn from nearly the same chance as the first. The product with a large odd number without a pattern puts the addresses of neighbouring replies far apart.
# ```
#
# ## Receipt

# %% tags=["receipt"]
receipt(differences={
    "64 rows and 8 rows, refilled": (refill_difference, 1e-6),
    "exact sampler and trainer": (exact_gap, 0),
})

# %% [markdown]
# ## Summary
#
# **The opening question, answered.** With 32 rows, waiting for the longest reply wastes two thirds of the work of a batch, and refilling wastes a few per cent. A reply stays the same beside any neighbours if three things do not depend on them: the cache of its row, the noise of its tokens, and the order in which its sums are added. And if the sampler of a training is coarse, the clip decides whether the trainer still learns: at 1 bit it solves 7 % of the problems with it, and 73 % with a cap instead.
#
# - I can now write a scheduler that refills rows of a real cache, and compute what it saves from lengths alone.
# - I can now draw tokens with noise that depends only on the seed, the reply, the place and the entry.
# - I can now say why a sampler and a trainer disagree in the last digits, how to make them agree, and what a larger difference does to learning.
#
# ## Read on
#
# - Orca {cite}`yu2022orca` on batching by steps; PagedAttention {cite}`kwon2023pagedattention`, the cache of vLLM; Sarathi-Serve {cite}`agrawal2024sarathi` on chunked prefill and latency.
# - Thinking Machines {cite}`he2025nondeterminism` on one order of adding.
# - The code: `minidsk/infer/refill.py`, `noise.py`, `sampling.py`, and `minidsk/model/exact.py`.
# - [Fast inference](18_fast_inference.ipynb) on where the time of one token goes.
