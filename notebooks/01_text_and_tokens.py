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
# # Text and tokens
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/01_text_and_tokens.ipynb)
#
# DeepSeek-V3 cuts text into pieces, and knows 129,280 of them {cite}`deepseekv3`. The models of this course are about a hundred thousand times smaller. How many pieces should *it* know: 200, 500, 2,000? A large vocabulary makes texts short and the model fat; a small one does the reverse. With the same compute for each, which one is best, and by how much? We will have a number at the end, and a model that has read a small web and does not answer a single question.
#
# - **You will build** byte-pair encoding from an empty cell, equal to the `tokenizers` library merge for merge, and your first base model.
# - **You need** PyTorch. Nothing of the course comes before this.
# - **It takes** about 60 s to run on two CPU cores (a GPU would not help models this small), and an hour to read.

# %% tags=["hide-input"]
import importlib.util; _ = importlib.util.find_spec("minidsk") or get_ipython().run_line_magic("pip", "install -q 'minidsk[notebooks] @ git+https://github.com/minidsk/minidsk'")

# %%
import json
import math
import statistics
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minidsk import results
from minidsk.homework import check, describe, predict, receipt, zoo

_ = torch.set_default_dtype(torch.float64)  # 16 digits: your processor gives the same numbers as ours

# %% [markdown]
# ## A model reads numbers
#
# A language model takes whole numbers and gives, for each place, a probability for each number that may come next. Somebody has to turn text into numbers. Here is the text that we carry through the chapter: two languages, as on the pages that this course will train on.

# %%
hand = "no, no, not now: 不对 不对"
print("characters", len(hand))
print("bytes     ", len(hand.encode()))
print(list("no 不".encode()))

# %% [markdown]
# **Characters** are the obvious pieces: one number for each letter that we have seen. It works until somebody writes a letter that we have not.

# %%
from minidsk.data.tokenizer import CharTokenizer

characters = CharTokenizer()
print("ids", characters.vocab_size)
print(characters.decode(characters.encode("no, naïve: 不对, 不懂")))

# %% [markdown]
# Two characters are gone for good. Unicode has about 150,000 of them, so listing all is no way out at our size.
#
# **Bytes** are the other obvious pieces. There are 256, and every text in the world is made of them. But `不` costs three, and every step of the model, in training and in use, is paid per piece.
#
# Byte-pair encoding starts from bytes, so nothing is ever unknown, and then gives frequent neighbours an id of their own, again and again {cite}`sennrich2015bpe`.

# %% [markdown]
# ## Merge by hand
#
# Count the neighbours of our text. The most frequent pair becomes the first new piece.

# %%
pieces = [bytes([byte]) for byte in hand.encode()]
counts = Counter(pairwise(pieces))
for pair, n in counts.most_common(3):
    print(n, pair)

# %% [markdown]
# `n` and `o` meet four times. Replace each such pair by one piece.

# %%
def merge(pieces: list, pair: tuple, new) -> list:
    """The pieces, with every `pair` of neighbours replaced by `new`."""
    out = []
    for i, piece in enumerate(pieces):
        if i and (pieces[i - 1], piece) == pair:
            out[-1] = new
        else:
            out.append(piece)
    return out


print(merge(pieces, (b"n", b"o"), b"no")[:8])

# %% [markdown]
# It looks right. The chapter's test disagrees, and names the case that our text does not hold.

# %%
print(check("text.merge", merge))

# %% [markdown]
# The middle 7 was used twice. A piece takes part in one merge only, so walk with an index and step over what was merged.

# %%
def merge(pieces: list, pair: tuple, new) -> list:
    """The pieces, with every `pair` of neighbours, found from the left, replaced by `new`."""
    out, i = [], 0
    while i < len(pieces):
        found = i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == pair
        out.append(new if found else pieces[i])
        i += 2 if found else 1
    return out


print(check("text.merge", merge))

# %% [markdown]
# Now again and again: count, merge the most frequent pair, count anew. Twelve rounds, one a line.

# %%
step = pieces
for _ in range(12):
    (pair, n), *_ = Counter(pairwise(step)).most_common(1)
    step = merge(step, pair, pair[0] + pair[1])
    new = (pair[0] + pair[1]).decode(errors="replace")
    print(f"{n} times {new!r:18} leaves {len(step)} pieces")

# %% [markdown]
# Round 9 has put `不对` together out of seven bytes (the � are halves of characters). Nobody told it what a character is.
#
# The last rounds are the trouble. `'no, no, not'` is no word; it is our text, learned by heart. A piece like that fits nowhere else. So GPT-2 first cuts the text into words, each with the space before it, and lets no merge cross a cut {cite}`radford2019gpt2`. DeepSeek does the same with a rule of its own.

# %%
from minidsk.data.bpe import words

print(list(words(hand)))

# %% [markdown]
# There is a second gain: each different word needs to be looked at once, however often it occurs.
#
# ## Guess first
#
# The course trains on the **tiny web**: worksheets, sums, letters and lists in English and Chinese, made by a program. Here are two of its pages.

# %%
from minidsk.data.corpus import TinyWeb

pages = TinyWeb(seed=1).pages(0, 2000)
corpus = "\n".join(pages)
sheet = next(page for page in pages if "不对" in page and " no" in page)
letter = next(page for page in pages if page.startswith("Dear"))
print(sheet, letter, sep="\n\n")

# %% [markdown]
# Merges go on until every word of the web is one piece; then no pair is left. After how many? Replace `None` by your number. Your tally stays on your machine.

# %% tags=["prediction"]
guess = None
merges_left = predict("text.merges", "How many merges until the tiny web has no pair left?", guess, example=2000)
print(merges_left)

# %% [markdown]
# ## Learning merges, small and slow
#
# Bytes get the ids 0 to 255, and merge number i makes the id 256 + i. Words are kept with their counts. Where two pairs are equally frequent, somebody has to decide: we take the one of the lowest ids.

# %% tags=["naive"]
def learn(text: str, merges: int, order=range(256)) -> list[tuple[bytes, bytes]]:
    """Byte-pair encoding, counting everything anew in each round. order: the bytes, in the order of their ids."""
    vocabulary = [bytes([byte]) for byte in order]
    id_of = {byte: i for i, byte in enumerate(order)}
    spelled = {tuple(id_of[byte] for byte in word.encode()): n for word, n in Counter(words(text)).items()}
    learned = []
    for _ in range(merges):
        counts = Counter()
        for ids, n in spelled.items():
            for pair in pairwise(ids):
                counts[pair] += n
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        spelled = {tuple(merge(ids, best, len(vocabulary))): n for ids, n in spelled.items()}
        learned.append((vocabulary[best[0]], vocabulary[best[1]]))
        vocabulary.append(b"".join(learned[-1]))
    return learned


print(*learn(hand, 6), sep="\n")

# %% [markdown]
# No piece crosses a word any more. On the web's pages it takes a moment, and then stops by itself:

# %%
start = time.perf_counter()
ours = learn(corpus, 10_000)
slow = time.perf_counter() - start
print(len(ours), "merges;", f"{slow:.1f} s")
merges_left.reveal(len(ours))

# %% [markdown]
# So few: the tiny web has a small stock of words. The longest pieces:

# %%
print([(a + b).decode(errors="replace") for a, b in sorted(ours, key=lambda m: -len(m[0] + m[1]))[:12]])

# %% [markdown]
# ## The same, from the library and from the package
#
# `tokenizers` is the library behind most open models. It is a development dependency of this course, and Colab has it. Where it is missing, the cells below say so and compare with the package alone.

# %%
from minidsk.data.tokenizer import SPECIALS, BPETokenizer

try:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
except ImportError:
    Tokenizer = None
    print("tokenizers is not installed: comparing with minidsk.data.tokenizer alone")

# %% [markdown]
# Byte-level, no space put in front, the same 256 bytes to begin with. The library has one setting more: the rule for words, which is GPT-2's by default.

# %%
def library(text: str, size: int):
    """The library's tokenizer, trained on the text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


package = BPETokenizer.train(corpus, 10_000)
reference = library(corpus, 10_000) if Tokenizer else package

# %% [markdown]
# Both write bytes in GPT-2's visible characters (`Ġ` is a space), so we write ours in the same way, and compare.

# %%
from minidsk.data.bpe import byte_characters

def visible(pair: tuple[bytes, bytes]) -> tuple[str, ...]:
    """A merge as GPT-2's files write it."""
    return tuple("".join(byte_characters()[byte] for byte in piece) for piece in pair)


wanted = [tuple(pair) for pair in json.loads(reference.to_str())["model"]["merges"]] if Tokenizer else package.merges
found = [visible(pair) for pair in ours]
first = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
print(f"{len(found)} and {len(wanted)} merges; the first {first} are equal, then {found[first]} against {wanted[first]}")

# %% [markdown]
# Not equal! As many merges, and a good number of them the same, then a tie. Both sides take the pair of the lowest ids, but the ids differ: GPT-2 numbers the printable bytes first and the others after them. Nobody would notice in the loss. But a model trained with one order reads nonsense with the other, because the same ids mean other pieces.
#
# With the bytes in GPT-2's order:

# %%
ours = learn(corpus, 10_000, order=list(byte_characters()))
assert [visible(pair) for pair in ours] == wanted
assert package.merges == wanted
print("equal:", len(ours), "merges, in the same order")

# %% [markdown]
# ## From merges to ids
#
# To encode a text, replay the merges in the order in which they were learned.

# %%
def encode(text: str) -> list[bytes]:
    """The pieces of a text by the merges that we learned."""
    out = []
    for word in words(text):
        pieces = [bytes([byte]) for byte in word.encode()]
        for pair in ours:
            pieces = merge(pieces, pair, b"".join(pair))
        out += pieces
    return out


print([piece.decode(errors="replace") for piece in encode(hand)])

# %% [markdown]
# `now` is no word of the tiny web, and `naïve` is even less; bytes take over where the pieces end. The id of a piece is its place in the vocabulary. Ours, the package's and the library's must be the same on pages that none of them was trained on:

# %% tags=["agree"]
vocabulary = [bytes([byte]) for byte in byte_characters()] + [a + b for a, b in ours]
id_of = {piece: i for i, piece in enumerate(vocabulary)}
fresh = "\n".join(TinyWeb(seed=2).pages(0, 50)) + hand + "naïve"
mine = torch.tensor([id_of[piece] for piece in encode(fresh)])
packaged = torch.tensor(package.encode(fresh))
theirs = torch.tensor(reference.encode(fresh).ids if Tokenizer else packaged)
difference = max((mine - packaged).abs().max().item(), (mine - theirs).abs().max().item())
assert difference == 0
assert package.decode(mine) == fresh
print(f"{len(mine)} ids; largest difference: {difference}")

# %% [markdown]
# Is that comparison worth anything? Plant a bug that many first versions have: take the longest piece that fits, from left to right, and forget the order of the merges.

# %%
def encode_greedily(data: bytes, pieces: list[bytes]) -> list[int]:
    """Wrong: the longest piece first. pieces: the bytes of each id."""
    ids = []
    while data:
        fitting = [i for i, piece in enumerate(pieces) if data.startswith(piece)]
        ids.append(max(fitting, key=lambda i: len(pieces[i])))
        data = data[len(pieces[ids[-1]]) :]
    return ids


greedy = [i for word in words(fresh) for i in encode_greedily(word.encode(), vocabulary)]
print("the same ids:", greedy == mine.tolist())

# %% [markdown]
# The bug gives the same ids on every page! The words of the tiny web are too plain to tell the two apart, and our comparison is blind to it. A test needs a case that was made for the mistake:

# %%
def greedy_from_merges(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    pieces = [bytes([i]) for i in range(256)]
    for left, right in merges:
        pieces.append(pieces[left] + pieces[right])
    return encode_greedily(data, pieces)


print(check("text.bpe_encode", greedy_from_merges))

# %% [markdown]
# ## A figure that moves
#
# A page of the web, and the slider goes through the merges. Watch the tags close up first (in training they are tokens of their own; here we treat them as text), and the Chinese characters go from three bytes to one piece to whole words. The figure's caption says how many pieces there are before and after, for whoever does not move the slider.

# %% tags=["widget"]
from minidsk.widgets import Tokens

Tokens.from_merges(sheet.encode(), ours[:80], title="One page, merge by merge")

# %% [markdown]
# ## What a vocabulary costs
#
# Each id has a row in the embedding and a row in the head: two rows of the model's width. Here is what that is for a width of 64, beside what it buys, bytes a piece. We take a wider web now, with numbers up to 99 and all four operators, because the small one runs out of words.

# %%
from minidsk.data.corpus import TinyWebConfig

WIDE = TinyWebConfig(numbers=(3,), high=99, target_high=99, ops="+-*/")
reading = "\n".join(TinyWeb(WIDE, seed=1).pages(0, 2000))
tokenizers = {"characters": CharTokenizer()}
for size in (266, 512, 2048):  # 266: the bytes and ten special tokens, no merge at all
    tokenizers[f"BPE {size}"] = BPETokenizer.train(reading, size, SPECIALS)

# %%
from minidsk.model.config import ModelConfig
from minidsk.scale.cost import parameters, training_flops


def config_for(tokenizer) -> ModelConfig:
    """A model of two layers and width 64 (chapters 02 and 03 explain the other fields)."""
    return ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
        kv_lora_rank=32, qk_nope_head_dim=24, qk_rope_head_dim=8, intermediate_size=192, n_routed_experts=0,
    )  # fmt: skip


def bytes_per_token(tokenizer) -> float:
    return len(reading.encode()) / len(tokenizer.encode(reading))


for name, tokenizer in tokenizers.items():
    total, tables = parameters(config_for(tokenizer)), 2 * 64 * tokenizer.vocab_size
    share = f"{tables / total:.0%} of {total:,} parameters"
    print(f"{name:11} {bytes_per_token(tokenizer):.2f} bytes a token, tables are {share}")

# %% [markdown]
# From 512 to 2048 the tables grow fourfold, and a token gains few bytes: what is left to merge is rare numbers. Somewhere along the way it stops paying. Where?
#
# ## The measure
#
# Loss per token cannot tell us, since the tokens differ. The bytes of the text do not. So add up the loss of the whole text and divide by its bytes; in bits, because then it is the size to which the model could compress the text:
#
# $$ \text{bits per byte} = \frac{1}{\text{bytes} \cdot \ln 2} \sum_{i=1}^{\text{tokens}} -\ln p(t_i \mid t_{<i}) $$

# %%
held_out = TinyWeb(WIDE, seed=9).pages(0, 200)
size_held_out = sum(len(page.encode()) for page in held_out)


@torch.no_grad()
def evaluate(model, tokenizer) -> tuple[float, float]:
    """Loss on the held-out pages, in nats a token and in bits a byte."""
    rows = [torch.tensor([tokenizer.bos_id, *tokenizer.encode(page), tokenizer.eos_id]) for page in held_out]
    pad, nats = tokenizer.pad_id, 0.0
    for some in (rows[i : i + 25] for i in range(0, len(rows), 25)):
        ids = torch.nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=pad)
        logits = model(ids[:, :-1]).logits
        nats += F.cross_entropy(logits.mT, ids[:, 1:], ignore_index=pad, reduction="sum").item()
    return nats / sum(len(row) - 1 for row in rows), nats / math.log(2) / size_held_out


# %% [markdown]
# Check it on a case with a known answer. A model that knows nothing gives each of 266 ids the same chance, so every token costs log2(266) bits.

# %%
class Clueless:
    def __call__(self, ids):
        return type("Output", (), {"logits": torch.zeros(*ids.shape, 266)})


plain = tokenizers["BPE 266"]
tokens = sum(len(plain.encode(page)) + 1 for page in held_out)  # one more for the end of the page
print(f"{evaluate(Clueless(), plain)[1]:.3f} = {tokens * math.log2(266) / size_held_out:.3f} bits a byte")

# %% [markdown]
# (Not 8, because a tag such as `<think>` is one token in every vocabulary, for seven bytes.)

# %% [markdown]
# ## The experiment
#
# Every vocabulary gets the same compute (counted in floating-point operations: a larger head costs more a token, a longer text more tokens), the same pages in the same order, and rows that hold the same stretch of text. What is left of the budget when a token is dear is fewer steps.

# %%
from minidsk.data.packing import Windows
from minidsk.train.optim import OptimConfig
from minidsk.train.pretrain import PretrainConfig, pretrain

FLOPS, BATCH, WINDOW = 2.5e10, 4, 192  # operations in all; rows a step; bytes a row


def train(tokenizer, seed: int):
    """A model trained on FLOPS operations' worth of the wide web."""
    config, length = config_for(tokenizer), round(WINDOW / bytes_per_token(tokenizer))
    steps = round(FLOPS / (training_flops(config, length / 2) * BATCH * length))
    ids = [i for page in TinyWeb(WIDE, seed=100 + seed).pages(0, 1500)
           for i in (tokenizer.bos_id, *tokenizer.encode(page), tokenizer.eos_id)]  # fmt: skip
    data, optim = Windows(ids, BATCH, length), OptimConfig(lr=1e-2, warmup=20, weight_decay=0.1)
    settings = PretrainConfig(config_for(tokenizer), steps=steps, batch=BATCH, context=length, optim=optim, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        return pretrain(settings, folder, tokenizer=tokenizer, data=data, device="cpu", progress=False), steps


# %% [markdown]
# Which one will win? And by how much will it beat plain characters?

# %%
gain = predict("text.gain", "Bits per byte of characters, divided by those of the best vocabulary?", None, example=2)
gain

# %%
SEEDS = (0, 1, 2)
measured = {}


def run(name: str) -> None:
    """Train with every seed, keep (nats a token, bits a byte), print the means and the standard deviation."""
    trained = [train(tokenizers[name], seed) for seed in SEEDS]
    measured[name] = torch.tensor([evaluate(model, tokenizers[name]) for model, _ in trained])
    (nats, bits), spread = measured[name].mean(0).tolist(), measured[name][:, 1].std()
    print(f"{name:11} {trained[0][1]:4} steps  {nats:.2f} nats a token  {bits:.2f} ± {spread:.2f} bits a byte")


# %% [markdown]
# First the two that need no merges, the controls:

# %%
run("characters")

# %%
run("BPE 266")

# %% [markdown]
# Then some hundred merges, and a lot of them:

# %%
run("BPE 512")

# %%
run("BPE 2048")

# %% tags=["figure"]
means = {name: r[:, 1].mean().item() for name, r in measured.items()}
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), constrained_layout=True)
for axis, column, label in ((left, 0, "nats a token"), (right, 1, "bits a byte")):
    for i, r in enumerate(measured.values()):
        _ = axis.plot([i] * len(SEEDS), r[:, column], "o", color="C0", alpha=0.5)
        _ = axis.plot([i - 0.2, i + 0.2], [r[:, column].mean()] * 2, color="C1", lw=2)
    _ = axis.set(xticks=range(len(measured)), title=label)
    _ = axis.set_xticklabels([name.replace("characters", "chars") for name in measured], fontsize=8)
plt.show()
best = min(means, key=means.get)
print("bits a byte:", {name: round(value, 2) for name, value in means.items()}, "best:", best)
gain.reveal(means["characters"] / means[best])

# %% [markdown]
# Each seed read the same pages with every vocabulary, so compare seed by seed:

# %%
def gap(a: str, b: str) -> str:
    """Bits a byte of a less those of b, seed by seed: the mean and its 95 % interval (Student's t, three seeds)."""
    apart = measured[a][:, 1] - measured[b][:, 1]
    half = 4.30 * apart.std() / math.sqrt(len(SEEDS))
    return f"{a} less {b}: {apart.mean():+.2f} ± {half:.2f} bits a byte"


print(gap("characters", "BPE 512"), gap("BPE 2048", "BPE 512"), gap("BPE 266", "characters"), sep="\n")

# %% [markdown]
# The two panels tell opposite stories, and the left one is the trap: by loss per token the small vocabularies look far better. They only answer easier questions, more of them. In bits a byte they are the worst.
#
# The answer to our puzzle is a modest number: a few hundred merges beat characters, by the factor printed above. A vocabulary of 2,048 spends most of the model on its two tables and is no better than 512 for it, if anything a little worse.
#
# Then why will the rest of the course spell with characters? One alphabet for all chapters lets every model and every checkpoint be compared, a reader can count the tokens of a thought, and a number is made of digits that recur in all numbers. It costs what the figure says. You can change it: every stage takes a `tokenizer`.

# %% [markdown]
# Does this last when there is more compute? `tools/experiments/ch01_vocabulary.py` repeats the experiment at about this budget, at ten and at a hundred times of it, on one GPU, three seeds each. It has 1,024 pieces where we had 2,048.

# %%
runs = results.read("ch01_vocabulary")["runs"]
print(results.origin("ch01_vocabulary"))

# %%
def recorded_bits(budget: float, name: str) -> list[float]:
    """Bits a byte of the recorded runs, one a seed."""
    return [run["bits_per_byte"] for run in runs if (run["budget"], run["vocabulary"]) == (budget, name)]


for budget in sorted({run["budget"] for run in runs}):
    print(f"{budget:.0e} operations       bits a byte        characters less this, seed by seed")
    plain = recorded_bits(budget, "characters")
    for name in dict.fromkeys(run["vocabulary"] for run in runs):
        bits = recorded_bits(budget, name)
        behind = torch.tensor(plain) - torch.tensor(bits)
        half = 4.30 * behind.std() / math.sqrt(len(bits))
        print(f"  {name:11} {statistics.fmean(bits):17.3f} ± {statistics.stdev(bits):.3f} {behind.mean():+18.3f} ± {half:.3f}")

# %% [markdown]
# Ten times the compute closes most of the gap, though not all: 512 pieces are still ahead on every seed. Our explanation, untested: long pieces save steps early, when every model is still learning which characters stand together; later, each rare piece has a row of its own that few examples train.
#
# Then it does not go on like that. At a hundred times the gap is open again on average, and the interval is wider than the gap. What grew is the spread: by now the models have begun to learn sums, and a seed that begins early is far ahead of one that begins late. Three seeds cannot rank vocabularies through that noise.

# %% [markdown]
# ## A base model
#
# Now train a model on the tiny web, with characters, and do nothing else to it: no examples of questions and answers, no reward. That is what is called a base model.

# %%
base_config = ModelConfig(
    vocab_size=characters.vocab_size, hidden_size=96, num_hidden_layers=2, num_attention_heads=4,
    kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=16, intermediate_size=288, n_routed_experts=0,
)  # fmt: skip
optim = OptimConfig(lr=5e-3, warmup=20, weight_decay=0.1)
settings = PretrainConfig(base_config, steps=320, batch=8, context=128, optim=optim)
with tempfile.TemporaryDirectory() as folder:
    base = pretrain(settings, folder, tokenizer=characters, device="cpu", progress=False)
    losses = [json.loads(line)["loss"] for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
print(f"loss after 10 steps {losses[0]:.1f}, at the end {sum(losses[-5:]) / 5:.1f} nats a character")

# %% [markdown]
# Ask it something polite, and something that looks like its web.

# %% tags=["nbval-ignore-output"]
from minidsk.infer.generate import complete

def show(*prompts: str) -> None:
    replies = complete(base, characters, prompts, 80, temperature=0.7, generator=torch.Generator().manual_seed(0))
    for prompt, reply in zip(prompts, replies, strict=True):
        print(f"[{prompt}]{reply}\n")


show("What is 3+4?", "What is 3+4?", "Can you help me?", "Dear Mei,\n", "Make 10 from 7 2 1.\n", "3+4=")

# %% [markdown]
# The brackets hold the prompt; the rest is the model's. It does not answer, and it does not try. After a question it writes a piece of some page in which such words occur. The letter becomes something like a letter, the task becomes a worksheet (a wrong one, handed in anyway, as most hands on this web do), the sum becomes a list of sums.
#
# The model has one skill: *which document is this the beginning of, and how does it go on?*
#
# Count it. The same 60 sums, once as a question and once as the beginning of a page of sums; we look whether the first line of the reply is a number and nothing else, and whether it is the right one.

# %%
sums = [(a, b) for a in range(2, 12) for b in range(3, 9)]
for form in ("What is {}+{}?", "{}+{}="):
    replies = complete(base, characters, [form.format(a, b) for a, b in sums], 24)
    number = [reply.split("\n")[0] for reply in replies]
    at_once = sum(text.isdigit() for text in number)
    right = sum(text == str(a + b) for text, (a, b) in zip(number, sums, strict=True))
    print(f"{form:15} a bare number: {at_once:2} of {len(sums)}, the right one: {right:2}")
# tolerance: 8

# %% [markdown]
# So a base model can be *used* only by somebody who writes the beginning of a document whose end is the answer. The whole third part of this course is about the other way: to make it want to answer. The form comes at once, the sums themselves do not: so short a training taught it that a number follows `=`, and not yet which.
#
# ## What DeepSeek did
#
# V3's tokenizer is byte-level BPE, as ours, with a vocabulary of 128K (129,280 rows in the model), trained to be short in many languages {cite}`deepseekv3`. Its width is $d = 7168$, and its embedding and head are two tables of
#
# $$ 2 \cdot V \cdot d = 2 \cdot 129{,}280 \cdot 7168 $$
#
# numbers. The report compares base models on the Pile in bits per byte, for the reason that we met: their tokenizers differ.

# %%
V, d = 129_280, 7168
print(f"V3's tables: {2 * V * d / 1e9:.2f} billion, {2 * V * d / 671e9:.2%} of its 671 billion parameters")
for name in ("BPE 512", "BPE 2048"):
    config = config_for(tokenizers[name])
    print(f"{name}: {2 * config.vocab_size * 64 / parameters(config):.0%} of our model")
ours_with_V = parameters(config_for(tokenizers["BPE 512"]).replace(vocab_size=V))
print(f"V3's vocabulary in our model: {2 * V * 64 / ours_with_V:.1%} of {ours_with_V / 1e6:.1f} million")

# %% [markdown]
# A share of a few parts in a thousand there, nearly everything here. A vocabulary is sized to its model.
#
# V3 also changed V2's rule for words: some pieces now join punctuation with the line break that follows. A prompt that ends just before the break is then cut in a place where training text never was, which misleads the model; so a share of these pieces is split at random in training {cite}`deepseekv3`. The same can be seen at our size. A prompt that stops in the middle of `不对` shares hardly a piece with the pages that the model knows:

# %%
print([id_of[piece] for piece in encode(" 不对")], "against", [id_of[piece] for piece in encode(" 不")])

# %% [markdown]
# ## What went wrong, or did not help
#
# - **A tie.** Our first merges differed from the library's after a few dozen rounds, because equal counts are settled by ids, and the ids of bytes were in another order. The paper does not say how to settle ties, and no loss curve would have shown it.
# - **A blind test.** Greedy encoding passed on every page of the web. Only a case made for it caught it.
# - **The web runs out of words.** On the small web, merging stops by itself after a few hundred merges. Asking for 10,000 ids changes nothing. We needed a wider web to see a large vocabulary at all.
# - **Bytes alone did not pay.** 266 ids were no better than characters: Chinese became three times as long, and nothing became shorter.
# - **Very short training.** Each model took fewer than a hundred steps, and one learning rate served all. That says who is ahead early, at this size. At ten times the compute the lead is a third of what it was or less, and at a hundred times our three seeds do not suffice.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Count the pairs
# :label: ex-01-pairs
#
# *5 minutes.* Write `count_pairs(ids)`: how often each pair of neighbours stands in a list, as `{(left, right): count}`. Overlapping pairs count too.
#
# **Hint.** Line the list up with itself, moved by one.
# ```

# %%
def my_count_pairs(ids: list[int]) -> dict[tuple[int, int], int]:
    """Replace the line below by your own."""
    raise NotImplementedError


# print(check("text.count_pairs", my_count_pairs))

# %% [markdown]
# ```{solution-start} ex-01-pairs
# :class: dropdown
# ```

# %%
def count_pairs(ids: list[int]) -> dict[tuple[int, int], int]:
    return dict(Counter(pairwise(ids)))


print(check("text.count_pairs", count_pairs))

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Encode
# :label: ex-01-encode
#
# *15 minutes.* Write `bpe_encode(data, merges)`: the ids of some bytes, where `merges[i]` is the pair of ids that becomes id 256 + i.
#
# **Hint.** Write down what `abc` becomes with the merges `bc`, `ab`, in this order. Then reuse `merge`.
# ```

# %%
def my_bpe_encode(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    """Replace the line below by your own."""
    raise NotImplementedError


# print(check("text.bpe_encode", my_bpe_encode))

# %% [markdown]
# ```{solution-start} ex-01-encode
# :class: dropdown
# ```

# %%
def bpe_encode(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    ids = list(data)
    for i, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + i)
    return ids


print(check("text.bpe_encode", bpe_encode))

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Bits per byte
# :label: ex-01-bits
#
# *10 minutes.* Write `bits_per_byte(loss, tokens, text)` from the mean loss in nats a token. Then say why a loss per *character* would be unfair to one of our two languages.
#
# **Hint.** The nats of the whole text first, then the unit, then the share of each byte.
# ```

# %%
def my_bits_per_byte(loss: float, tokens: int, text: str) -> float:
    """Replace the line below by your own."""
    raise NotImplementedError


# print(check("text.bits_per_byte", my_bits_per_byte))

# %% [markdown]
# ```{solution-start} ex-01-bits
# :class: dropdown
# ```

# %%
def bits_per_byte(loss: float, tokens: int, text: str) -> float:
    return loss * tokens / math.log(2) / len(text.encode())


print(check("text.bits_per_byte", bits_per_byte))

# %% [markdown]
# A Chinese character says as much as several letters, so a Chinese page would look hard to predict per character. Bytes are fairer (three a character), not perfectly fair.
#
# ```{solution-end}
# ```
#
# ```{exercise} How many seeds?
# :label: ex-01-budget
#
# *10 minutes.* At the largest recorded budget, 512 pieces lead characters on average, and the interval holds 0. Suppose that mean and that spread are the truth. About how many seeds would have shown the lead?
#
# **Hint.** The half width of the interval falls with the square root of the seeds, and tends to 2 standard deviations over that root. It must become smaller than the mean.
# ```
#
# ```{solution-start} ex-01-budget
# :class: dropdown
# ```

# %%
def seeds_needed(apart: list[float]) -> int:
    return math.ceil((2 * statistics.stdev(apart) / statistics.fmean(apart)) ** 2)


for budget in sorted({run["budget"] for run in runs}):
    pairs_of_runs = zip(recorded_bits(budget, "characters"), recorded_bits(budget, "BPE 512"), strict=True)
    apart = [plain - merged for plain, merged in pairs_of_runs]
    print(f"{budget:.0e} operations: {[round(x, 2) for x in apart]}, about {seeds_needed(apart)} seeds")

# %% [markdown]
# One or two seeds (and some luck) suffice early, when the lead is many times the spread. The number that comes out for the last budget is a guess itself, since three seeds give the spread to a factor of two or so. Plan for twice as many, or measure something that the sums do not drown.
#
# ```{solution-end}
# ```
#
# ```{exercise} Make it answer
# :label: ex-01-prompt
#
# *10 minutes.* Without training, write a prompt that contains a question, ends with a question mark, and makes the base reply with a bare number.
#
# **Hint.** Which pages of its web contain a question? Print some more of them.
# ```
#
# ```{solution-start} ex-01-prompt
# :class: dropdown
# ```

# %%
show("2 4 6 8\nWhat comes next?", "3 6 9 12\nWhat comes next?")

# %% [markdown]
# The puzzle pages ask and answer, so here the most likely rest of the document is an answer.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Bug zoo
#
# Three wrong encoders live in the package. Write tests that accept the right one and catch all three. One test is there; it is not enough.

# %%
print(describe("text.bpe_encode"))

# %% tags=["zoo"]
def replays_a_merge_everywhere(encode) -> None:
    """A test takes an implementation and fails where it is wrong."""
    assert encode(b"abab", [(97, 98)]) == [256, 256]


print(zoo("text", [replays_a_merge_everywhere]))

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
receipt(
    spread={f"bits a byte, {name}": r[:, 1].tolist() for name, r in measured.items()},
    differences={"our ids, the package's and the library's": (difference, 0)},
)

# %% [markdown]
# ## Summary
#
# How many pieces should a small model know? At equal compute and a width of 64, 512 pieces did best among the four we tried: characters need 1.1 times as many bits a byte. 2,048 pieces made the model more than twice as large and gained nothing. With ten times the compute the lead shrinks to a few parts in a hundred; with a hundred times we cannot rank them. V3's 129,280 would have been more than 99 % of it.
#
# - I can now train byte-pair encoding, and I know three places where two implementations part: the rule for words, ties, and the order in which merges are replayed.
# - I can now compare models with different tokenizers, in bits a byte.
# - I can now say what a base model does with a question: it goes on with the document that the question came from.

# %% [markdown]
# ## Read on
#
# - Sennrich, Haddow and Birch brought byte-pair encoding to language {cite}`sennrich2015bpe`; section 3.2 has the algorithm in a few lines.
# - Section 4.1 of V3's report, for the tokenizer and the data {cite}`deepseekv3`.
# - Every piece that we cut will be looked back at by all the pieces after it, and each must be kept. What that costs, and how DeepSeek made it cheap, is [the next chapter](02_latent_attention).
