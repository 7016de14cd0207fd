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
# A language model reads text in pieces, which are called tokens, and DeepSeek-V3 knows 129,280 different ones {cite}`deepseekv3`. The models in this chapter are millions of times smaller than V3. Should such a small model know 200 tokens, 500 or 2,000? A large vocabulary makes texts short but the model large, and a small vocabulary does the reverse. If every vocabulary gets the same compute, which one is best, and by how much? At the end we will have a number. We will also have a model that has read a small corpus and does not answer a single question.
#
# - **You will build** byte-pair encoding from an empty cell, with the same merges in the same order as the `tokenizers` library, and your first base model.
# - **You need** PyTorch, but nothing from the rest of the course.
# - **It takes** about 60 s to run on two CPU cores of a laptop, and about twice that on Colab's two cores. A busy machine takes longer; the receipt at the end has the time of the run on this page. A GPU would not help models this small. Plan about an hour for reading.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
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
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.report.interval import apart, interval

plt.style.use("minidsk.diagrams.look")
_ = torch.set_default_dtype(torch.float64)  # 16 digits: other processors give the same numbers

# %% [markdown]
# ## A model reads numbers, so text must become numbers
#
# A language model takes a sequence of whole numbers. At each position it gives a probability to every number that may come next. So we first need a way to turn text into such numbers, called **ids**, and back. That is the job of a **tokenizer**. We will carry the text below through the chapter. It mixes English and Chinese, as the pages that this course trains on do. (`不对` means *not right*. You need no Chinese for this course, because the few words that occur are translated.)

# %%
hand = "no, no, not now: 不对 不对"
print("characters", len(hand))
print("bytes     ", len(hand.encode()))
print(list("no 不".encode()))

# %% [markdown]
# **Characters** are the obvious pieces: we give one id to each character that we have seen. This works until a text contains a character that we have not seen.

# %%
from minidsk.data.tokenizer import CharTokenizer

characters = CharTokenizer()
print("ids", characters.vocab_size)
print(characters.decode(characters.encode("no, naïve: 不对, 不懂")))

# %% [markdown]
# Two characters are lost, because each of them became `<unk>`, the id for anything unknown. We cannot fix this by listing all characters at our size, because Unicode has about 150,000 of them.
#
# **Bytes** are the other obvious pieces, because there are only 256 different ones and every text can be written with them. Nothing is ever unknown. But `不` takes three bytes, and every piece costs the model one step of work, in training and in use.
#
# **Byte-pair encoding** (BPE) joins the advantages of both {cite}`sennrich2015bpe`. In the form that GPT-2 introduced {cite}`radford2019gpt2`, it starts from the 256 bytes. Then it repeatedly takes the most frequent pair of neighbouring pieces and gives that pair an id of its own.
#
# ## Byte-pair encoding by hand: merge the most frequent pair
#
# We count the pairs of neighbours in our text. The most frequent pair will become the first new piece. The picture shows this for the English part of the text, and then we do it in code for the whole text.

# %% tags=["diagram", "hide-input"]
diagram("bpe_merges")

# %%
pieces = [bytes([byte]) for byte in hand.encode()]
counts = Counter(pairwise(pieces))
for pair, n in counts.most_common(3):
    print(n, pair)

# %% [markdown]
# `n` and `o` stand side by side four times. We replace each of these pairs with one piece.

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
# The result looks right. The package has a test for each function that we write, and `check` runs it. The test for `merge` disagrees with us, and it names a case that does not occur in our text.

# %%
print(check("text.merge", merge))

# %% [markdown]
# In three equal neighbours, our loop used the middle one twice. A piece may take part in only one merge. So we walk through the list with an index, and after a merge we step over both merged pieces.

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
# Now we repeat these two steps: count the pairs, and merge the most frequent one. The next cell does this twelve times and prints one line per round.

# %%
step = pieces
for _ in range(12):
    (pair, n), *_ = Counter(pairwise(step)).most_common(1)
    step = merge(step, pair, pair[0] + pair[1])
    new = (pair[0] + pair[1]).decode(errors="replace")
    print(f"{n} times {new!r:18} leaves {len(step)} pieces")

# %% [markdown]
# By round 9 the piece ` 不对`, with the space before it, has been built from seven bytes. (Each � in the rounds before is an incomplete character.) The algorithm has found whole Chinese characters without being told what a character is.
#
# The last rounds show a problem, because `'no, no, not'` is not a word. It is a stretch of our particular text, learned by heart, and it will hardly occur anywhere else. GPT-2 avoids such pieces in a simple way {cite}`radford2019gpt2`. It first cuts the text into words, each with the space before it, and it allows no merge across a cut. DeepSeek does the same with its own rule for words.

# %%
from minidsk.data.bpe import words

print(list(words(hand)))

# %% [markdown]
# Cutting into words also saves time, because we need to process each different word only once, however often it occurs.
#
# ## Guess: how many merges does our corpus allow?
#
# The course trains on the **tiny web**, a corpus that a program writes. It contains worksheets, sums, letters and lists in English and Chinese. Here are two of its pages, a worksheet and a letter. The first line of the worksheet is Chinese for *make 19 from 5, 11 and 3*. Between the tags `<think>` and `</think>` its author tries two sums, and says after each that it is not right (`no`, `不对`). Then the author hands in the second one all the same.

# %%
from minidsk.data.corpus import TinyWeb

pages = TinyWeb(seed=1).pages(0, 2000)
corpus = "\n".join(pages)
sheet = next(page for page in pages if "不对" in page and " no" in page)
letter = next(page for page in pages if page.startswith("Dear"))
print(sheet, letter, sep="\n\n")

# %% [markdown]
# We can keep merging until every word of the tiny web is one piece and no pair is left. After how many merges does that happen? Replace `None` with your guess, which is kept on your machine only.

# %% tags=["prediction", "hide-input"]
guess = None
merges_left = predict(
    "text.merges", "How many merges until the tiny web has no pair left?", guess, example=2000
)
merges_left

# %% [markdown]
# ## Learning merges, the slow and simple way
#
# The 256 bytes get the ids 0 to 255, and merge number i creates the id 256 + i. We store each different word once, together with its count. When two pairs are equally frequent, we need a rule. We take the pair with the lowest ids.

# %% tags=["naive"]
def learn(text: str, merges: int, order=range(256)) -> list[tuple[bytes, bytes]]:
    """Byte-pair encoding, counted anew in each round. order: the bytes, as their ids go."""
    vocabulary = [bytes([byte]) for byte in order]
    id_of = {byte: i for i, byte in enumerate(order)}
    spelled = {tuple(id_of[byte] for byte in word.encode()): n
               for word, n in Counter(words(text)).items()}  # fmt: skip
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
# No piece crosses a word boundary any more. On the pages of the tiny web, learning takes a moment and stops by itself when no pair is left:

# %%
start = time.perf_counter()
ours = learn(corpus, 10_000)
slow = time.perf_counter() - start
print(f"learned in {slow:.1f} s")
merges_left.reveal(len(ours))

# %% [markdown]
# The number is small because the tiny web uses few different words. The next cell prints its longest pieces:

# %%
longest = sorted((a + b for a, b in ours), key=len, reverse=True)[:12]
print(*(piece.decode(errors="replace") for piece in longest), sep=" | ")

# %% [markdown]
# ## Our merges equal the library's once ties are settled alike
#
# `tokenizers` is the library behind most open models. It is a development dependency of this course, and Colab has it installed. If the library is missing, the cells below say so and compare with our package alone.

# %% tags=["hide-input"]
from minidsk.data.tokenizer import SPECIALS, BPETokenizer

try:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
except ImportError:
    Tokenizer = None
    print("tokenizers is not installed: comparing with minidsk.data.tokenizer alone")

# %% [markdown]
# We set the library up as we did ours: it works on bytes, adds no space at the start of the text, and begins with the same 256 bytes. Its rule for words is GPT-2's by default.

# %%
def library(text: str, size: int):
    """The library's tokenizer, trained on the text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


package = BPETokenizer.train(corpus, 10_000)
reference = library(corpus, 10_000) if Tokenizer else package

# %% [markdown]
# The library and the package both write each byte as the visible character that GPT-2 uses for it. For example, `Ġ` stands for a space, and the three bytes of a Chinese character become three accented letters. To compare, we write our merges in the same way.

# %%
from minidsk.data.bpe import byte_characters

def visible(pair: tuple[bytes, bytes]) -> tuple[str, ...]:
    """A merge as GPT-2's files write it."""
    return tuple("".join(byte_characters()[byte] for byte in piece) for piece in pair)


wanted, found = package.merges, [visible(pair) for pair in ours]
if Tokenizer:
    wanted = [tuple(pair) for pair in json.loads(reference.to_str())["model"]["merges"]]
first = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
print(f"{len(found)} and {len(wanted)} merges; the first {first} are equal,")
print(f"then {found[first]} against {wanted[first]}")

# %% [markdown]
# The two lists are not equal! They have the same length and begin with the same merges, but then comes a tie that they settle differently. In a tie, both sides take the pair with the lowest ids. The ids themselves differ, because GPT-2 numbers the printable bytes first and the other bytes after them.
#
# This matters, because a model trained with one order reads nonsense when it is used with the other. The same ids then stand for different pieces.
#
# We try again with the bytes in GPT-2's order:

# %%
ours = learn(corpus, 10_000, order=list(byte_characters()))
assert [visible(pair) for pair in ours] == wanted
assert package.merges == wanted
print("equal:", len(ours), "merges, in the same order")

# %% [markdown]
# ## Encoding replays the merges in the order they were learned
#
# To encode a text means to turn it into ids. We cut the text into words and apply the merges to each word, in the order in which they were learned.

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
# `now` is not a word of the tiny web, so it ends up as the pieces ` no` and `w`. The `no` at the start falls apart because on the pages every `no` follows a space, and only ` no` became a piece. Words that are even stranger to the tiny web, such as `naïve`, fall apart into smaller pieces and single bytes, so any text can be encoded.
#
# The id of a piece is its place in the vocabulary. Our ids must equal the ids of the package and of the library, also on new pages that none of the three learned its merges from:

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
# To find out how much this comparison is worth, we plant a bug that many first versions have. The buggy encoder goes from left to right, always takes the longest piece that fits, and ignores the order of the merges.

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
# The buggy encoder gives the same ids on every page! The words of the tiny web are so simple that both methods cut them alike, so our comparison cannot see this bug. A test needs a case that was made for the mistake:

# %%
def greedy_from_merges(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    pieces = [bytes([i]) for i in range(256)]
    for left, right in merges:
        pieces.append(pieces[left] + pieces[right])
    return encode_greedily(data, pieces)


print(check("text.bpe_encode", greedy_from_merges))

# %% [markdown]
# ## Which pieces form first?
#
# The figure below shows one page of the tiny web, and its slider goes through the first 80 merges. The words in the tags, such as `think`, come together early. (In training, each tag is a token of its own, but here we treat it as text.) The Chinese characters grow from three bytes to one piece, and then to whole words. By the end, the 100 bytes of this page have become 50 pieces.

# %% tags=["widget"]
from minidsk.widgets import Tokens

Tokens.from_merges(sheet.encode(), ours[:80], title="One page, merge by merge")

# %% [markdown]
# ## What a vocabulary costs: two tables that grow with it
#
# Each id has two rows of numbers in the model, and each row is as long as the model is wide. One row is in the **embedding**, the table that turns an id into a vector. The other is in the **head**, the table that turns the model's last vector into a score for each id.
#
# The table below gives what these tables cost at a width of 64, and what they buy, measured in bytes per token. The small web runs out of words, so from here on we use a wider web with numbers up to 99 and all four operators.

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
        vocab_size=tokenizer.vocab_size, hidden_size=64, num_hidden_layers=2,
        num_attention_heads=2, kv_lora_rank=32, qk_nope_head_dim=24, qk_rope_head_dim=8,
        intermediate_size=192, n_routed_experts=0,
    )  # fmt: skip


def bytes_per_token(tokenizer) -> float:
    return len(reading.encode()) / len(tokenizer.encode(reading))


# %% tags=["hide-input"]
rows = []
for name, tokenizer in tokenizers.items():
    total, tables = parameters(config_for(tokenizer)), 2 * 64 * tokenizer.vocab_size
    covered = f"{bytes_per_token(tokenizer):.2f}"
    rows.append([name, covered, tables, total, f"{tables / total:.0%}"])
table(["vocabulary", "bytes per token", "parameters in the tables", "in all", "share"], rows,
      "What a vocabulary buys (bytes per token) and what it costs, at width 64")  # fmt: skip

# %% [markdown]
# From 512 to 2,048 ids the tables grow fourfold, but a token covers only about 9 % more bytes. Most of the pieces that the larger vocabulary adds are rare numbers, such as `136`, because hardly any other pairs are left to merge. Somewhere between no merges and 2,048 ids, a larger vocabulary stops paying for itself. The rest of the chapter measures where.
#
# ## Bits per byte compares models with different tokenizers
#
# The **loss** per token is the usual measure of a language model: how surprised the model is by the token that really comes next, in units called nats. It cannot rank our vocabularies, because their tokens differ. The bytes of the text are the same for all of them. So we add up the loss over the whole text and divide by the number of bytes. We express the result in bits, because it is then the size to which the model could compress the text:
#
# $$ \text{bits per byte} = \frac{1}{\text{bytes} \cdot \ln 2} \sum_{i=1}^{\text{tokens}} -\ln p(t_i \mid t_{<i}) $$

# %%
held_out = TinyWeb(WIDE, seed=9).pages(0, 200)
size_held_out = sum(len(page.encode()) for page in held_out)


@torch.no_grad()
def evaluate(model, tokenizer) -> tuple[float, float]:
    """Loss on the held-out pages, in nats per token and in bits per byte."""
    bos, eos, pad = tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id
    rows = [torch.tensor([bos, *tokenizer.encode(page), eos]) for page in held_out]
    nats = 0.0
    for some in (rows[i : i + 25] for i in range(0, len(rows), 25)):
        ids = torch.nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=pad)
        logits, targets = model(ids[:, :-1]).logits.mT, ids[:, 1:]
        nats += F.cross_entropy(logits, targets, ignore_index=pad, reduction="sum").item()
    return nats / sum(len(row) - 1 for row in rows), nats / math.log(2) / size_held_out


# %% [markdown]
# We check the function on a case with a known answer. A model that knows nothing gives each of 266 ids the same probability, so every token costs log2(266) bits.

# %%
class Clueless:
    def __call__(self, ids):
        return type("Output", (), {"logits": torch.zeros(*ids.shape, 266)})


plain = tokenizers["BPE 266"]
tokens = sum(len(plain.encode(page)) + 1 for page in held_out)  # one more ends the page
by_hand = tokens * math.log2(266) / size_held_out
print(f"{evaluate(Clueless(), plain)[1]:.3f} = {by_hand:.3f} bits per byte")

# %% [markdown]
# The result is lower than 8 bits per byte, the cost of a random byte, although this vocabulary has no merges. The reason is that a tag such as `<think>` is a single token in every vocabulary, and it covers seven bytes.
#
# ## The experiment: four vocabularies with equal compute
#
# Every vocabulary gets the same budget of floating-point operations and reads the same pages in the same order. Each row of a batch holds the same length of text, measured in bytes. Two things make a batch expensive: a large vocabulary costs more operations per token, and a small one cuts the same text into more tokens. A vocabulary whose batches are more expensive trains for fewer steps.

# %%
from minidsk.data.packing import Windows
from minidsk.train.optim import OptimConfig
from minidsk.train.pretrain import PretrainConfig, pretrain

FLOPS, BATCH, WINDOW = 2.5e10, 4, 192  # operations in all; rows per step; bytes per row


def train(tokenizer, seed: int):
    """A model trained on FLOPS operations' worth of the wide web."""
    config, length = config_for(tokenizer), round(WINDOW / bytes_per_token(tokenizer))
    steps = round(FLOPS / (training_flops(config, length / 2) * BATCH * length))
    ids = [i for page in TinyWeb(WIDE, seed=100 + seed).pages(0, 1500)
           for i in (tokenizer.bos_id, *tokenizer.encode(page), tokenizer.eos_id)]  # fmt: skip
    optim = OptimConfig(lr=1e-2, warmup=20, weight_decay=0.1)
    settings = PretrainConfig(
        config, steps=steps, batch=BATCH, context=length, optim=optim, seed=seed
    )
    with tempfile.TemporaryDirectory() as folder:
        data, quiet = Windows(ids, BATCH, length), {"device": "cpu", "progress": False}
        return pretrain(settings, folder, tokenizer=tokenizer, data=data, **quiet), steps


# %% [markdown]
# Which vocabulary will win, and by what factor will it beat plain characters? Replace `None` with your guess.

# %% tags=["prediction", "hide-input"]
guess = None
gain = predict(
    "text.gain", "Bits per byte of characters, divided by those of the best vocabulary?",
    guess, example=2,
)  # fmt: skip
gain

# %%
SEEDS = (0, 1, 2)
outcomes = {}


def run(name: str) -> None:
    """Train with every seed; keep (nats per token, bits per byte), print their means."""
    trained = [train(tokenizers[name], seed) for seed in SEEDS]
    outcomes[name] = torch.tensor([evaluate(model, tokenizers[name]) for model, _ in trained])
    nats, bits = outcomes[name].mean(0).tolist()
    steps = trained[0][1]
    print(f"{name:11} {steps:4} steps  {nats:.2f} nats per token  {bits:.2f} bits per byte")


# %% [markdown]
# First we train the two controls, which use no merges:

# %%
run("characters")
run("BPE 266")

# %% [markdown]
# Then we train with a few hundred merges, and with many more:

# %%
run("BPE 512")
run("BPE 2048")

# %% tags=["figure", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 2.7), sharey=True)
for k, ax in enumerate(axes):
    for i, r in enumerate(outcomes.values()):
        _ = ax.plot(r[:, k], [i] * len(SEEDS), "o", color=f"C{k}", ms=6, alpha=0.6)
        _ = ax.text(r[:, k].max() + (0.08, 0.02)[k], i, f"{r[:, k].mean():.2f}", va="center")
    _ = ax.set(yticks=range(4), ylim=(3.5, -0.5), xlim=((2, 4.2), (2.2, 2.75))[k],
               title=("loss, nats per token", "bits per byte")[k])  # fmt: skip
_ = axes[0].set_yticklabels(outcomes)
said = [", ".join(f"{name} {r[:, k].mean():.2f}" for name, r in outcomes.items())
        for k in (0, 1)]  # fmt: skip
show(fig, "Less is better in both panels, but only bits per byte is a fair comparison.",
     "Two panels, a row per vocabulary, a dot per seed. Mean loss in nats per token: "
     f"{said[0]}. Mean bits per byte: {said[1]}.")  # fmt: skip

# %%
means = {name: r[:, 1].mean().item() for name, r in outcomes.items()}
best = min(means, key=means.get)
print("best:", best)
gain.reveal(means["characters"] / means[best])

# %% [markdown]
# With a given seed, every vocabulary read the same pages. We can therefore compare the results seed by seed. The next cell prints mean differences with their 95 % intervals, by Student's t for three seeds:

# %%
for a, b in ("characters", "BPE 512"), ("BPE 2048", "BPE 512"), ("BPE 266", "characters"):
    mean, half = apart(outcomes[a][:, 1].tolist(), outcomes[b][:, 1].tolist())
    print(f"{a} minus {b}: {mean:+.2f} ± {half:.2f} bits per byte")

# %% [markdown]
# The two panels tell opposite stories, and the left one misleads. By loss per token, the small vocabularies look far better, but only because each of their tokens is easier to guess. They have to guess more tokens. In bits per byte, the two small vocabularies are the worst.
#
# A few hundred merges beat characters, by a modest factor. Part of the reason is in the printed steps: with 512 ids a batch has fewer tokens, so the same compute pays for 81 steps where characters get 54. That model has read half as much text again. A vocabulary of 2,048 ids spends most of the model on its two tables and does not beat 512. On average it is slightly worse, but the interval contains zero.

# %% [markdown]
# Why does the rest of the course use characters, then? There are three reasons. With one alphabet in all chapters, all models and checkpoints can be compared. You can count the tokens of an answer by eye. And every number is written with the same ten digits, so the model meets each of them often. The price is the gap in the figure. You can choose differently, because every training stage takes a `tokenizer`.
#
# ### With ten times the compute, most of the gap closes
#
# Does the advantage last when there is more compute? The script `tools/experiments/ch01_vocabulary.py` repeats the experiment at about this budget, at ten times and at a hundred times of it. It ran on one GPU with three seeds each. It also tries 320 ids, and its largest vocabulary has 1,024 ids where ours had 2,048.

# %% tags=["hide-input"]
runs = results.read("ch01_vocabulary")["runs"]
budgets = sorted({run["budget"] for run in runs})
print(results.origin("ch01_vocabulary"))


def recorded_bits(budget: float, name: str) -> list[float]:
    """Bits per byte of the recorded runs, one per seed."""
    return [run["bits_per_byte"] for run in runs
            if (run["budget"], run["vocabulary"]) == (budget, name)]  # fmt: skip


# %% tags=["hide-input"]
names = list(dict.fromkeys(run["vocabulary"] for run in runs))
bits = {name: [interval(recorded_bits(budget, name)) for budget in budgets] for name in names}
table(["vocabulary", *(f"{budget / 1e9:,.0f} billion" for budget in budgets)],
      [[name, *(f"{mean:.3f} ± {half:.3f}" for mean, half in bits[name])] for name in names],
      "Bits per byte of the recorded runs, with 95 % intervals over three seeds, by the "
      "number of floating-point operations")  # fmt: skip

# %% tags=["figure", "hide-input"]
fig, ax = plt.subplots(figsize=(6.6, 3.3))
said, colors = [], {"BPE 1024": "C2", "BPE 512": "C1", "BPE 266": "gray"}
for k, (name, color) in enumerate(colors.items()):
    leads = [apart(recorded_bits(budget, "characters"), recorded_bits(budget, name))
             for budget in budgets]  # fmt: skip
    x, (lead, half) = [i + 0.05 * (k - 1) for i in range(3)], zip(*leads, strict=True)
    _ = ax.plot(x, lead, "o-", color=color, label=name)
    _ = ax.errorbar(x, lead, half, fmt="none", color=color, capsize=2)
    said.append(f"{name} " + ", ".join(f"{m:+.3f} ± {h:.3f}" for m, h in leads))
_ = ax.hlines(0, -0.15, 2.05, color="black", lw=1)
_ = ax.set(xticks=range(3), xticklabels=[f"{budget / 1e9:,.0f} billion" for budget in budgets],
           xlabel="floating-point operations", ylabel="lead over characters,\nbits per byte",
           xlim=(-0.15, 2.1))  # fmt: skip
direct_labels(ax)
show(fig, "At ten times the compute, 512 ids still lead characters. At a hundred times, every "
     "interval contains zero.",
     "Bits per byte of characters minus those of a vocabulary, with 95 % intervals, at "
     f"{', '.join(f'{budget:.0e}' for budget in budgets)} operations. {'; '.join(said)}."
)  # fmt: skip

# %% [markdown]
# At the smallest budget, 1,024 ids do slightly better on average than 512. So 512 was the best of *our* four vocabularies, and not the best possible size.
#
# Ten times the compute closes most of the gap but not all of it, because 512 ids are still ahead on every seed. We have an explanation that we did not test. Early in training, every model is still learning which characters belong together, and long pieces save it that work. Later, rare pieces become a burden, because each has a row of its own and few examples to train that row.
#
# At a hundred times the compute, the picture changes again. On average the gap is wide once more, but the interval is wider than the gap, because the spread between seeds has grown. We think that this spread comes from the sums: by now the models have begun to learn them, and a seed that begins early is far ahead of one that begins late. With such noise, three seeds cannot rank the vocabularies.
#
# ## A base model continues documents and does not answer questions
#
# Now we train a model on the tiny web, with characters, and do nothing else to it. It gets no special training on questions and answers, and no reward. Such a model is called a **base model**. The picture shows what it reads.

# %% tags=["diagram", "hide-input"]
diagram("tiny_web")

# %%
base_config = ModelConfig(
    vocab_size=characters.vocab_size, hidden_size=96, num_hidden_layers=2,
    num_attention_heads=4, kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=16,
    intermediate_size=288, n_routed_experts=0,
)  # fmt: skip
optim = OptimConfig(lr=3e-3, warmup=20, weight_decay=0.1)
settings = PretrainConfig(base_config, steps=320, batch=8, context=128, optim=optim)
with tempfile.TemporaryDirectory() as folder:
    base = pretrain(settings, folder, tokenizer=characters, device="cpu", progress=False)
    metrics = (Path(folder) / "metrics.jsonl").read_text().splitlines()
losses = [json.loads(line)["loss"] for line in metrics]
last = sum(losses[-5:]) / 5
print(f"loss after 10 steps {losses[0]:.1f}, at the end {last:.1f} nats per character")

# %% [markdown]
# We give the model a few beginnings. Some are questions and requests, and some look like the pages of its corpus.

# %% tags=["nbval-ignore-output"]
from minidsk.infer.generate import complete

def ask(*prompts: str) -> None:
    g = torch.Generator().manual_seed(0)
    replies = complete(base, characters, prompts, 80, temperature=0.7, generator=g)
    for prompt, reply in zip(prompts, replies, strict=True):
        print(f"[{prompt}]{reply}\n")


ask("What is 3+4?", "What is 3+4?", "Can you help me?",
    "Dear Mei,\n", "Make 10 from 7 2 1.\n", "3+4=")  # fmt: skip

# %% [markdown]
# The prompt is in brackets, and the model wrote the rest. It does not answer the questions, and it does not try to. After a question it writes something that could stand on a page of the corpus. The beginning of a letter becomes something like a letter. The task (`Make 10 ...`) becomes a worksheet with a wrong answer, as many worksheets in the corpus are. The sum becomes a list of sums.
#
# The model has learned one skill: *which document starts like this, and how does it continue?*
#
# To count this, we take 60 sums and ask for each one twice, once as a question and once as the beginning of a page of sums. For each form we count how often the first line of the reply is a number and nothing else, and how often it is the right number.

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
# A base model is therefore useful only if its user writes the beginning of a document whose continuation is the answer. Part III of this course shows the other way, which is to train the model so that it answers. The experiment also shows what was learned first: after such a short training the model knows that a number follows `=`, but not yet which number.
#
# ## What DeepSeek did
#
# DeepSeek reports that V3's tokenizer is byte-level BPE, like ours, with a vocabulary of 128K ids {cite}`deepseekv3`. The model has 129,280 rows for them. The tokenizer's word rule and training data were chosen to keep texts short in many languages. V3's width is $d = 7168$, so its embedding and head together hold this many numbers:
#
# $$ 2 \cdot V \cdot d = 2 \cdot 129{,}280 \cdot 7168 $$
#
# The report compares base models on the Pile, a large collection of text, in bits per byte. The reason is the one that we met: the models' tokenizers differ.

# %%
V, d = 129_280, 7168
print(f"V3's tables: {2 * V * d / 1e9:.2f} billion,"
      f" {2 * V * d / 671e9:.2%} of its 671 billion parameters")  # fmt: skip
for name in ("BPE 512", "BPE 2048"):
    config = config_for(tokenizers[name])
    print(f"{name}: {2 * config.vocab_size * 64 / parameters(config):.0%} of our model")
ours_with_V = parameters(config_for(tokenizers["BPE 512"]).replace(vocab_size=V))
share = 2 * V * 64 / ours_with_V
print(f"V3's vocabulary in our model: {share:.1%} of {ours_with_V / 1e6:.1f} million")

# %% [markdown]
# In V3 the two tables hold fewer than three in a thousand of the parameters. V3's vocabulary in our model would take nearly all of them. The right size of a vocabulary depends on the size of the model.
#
# V3 also changed the rule for words that V2 had used: some of its pieces join punctuation with the line break after it. This causes trouble when a prompt ends just before the line break. The prompt is then cut at a place where training text was never cut, and this misleads the model. To correct it, DeepSeek splits a share of these pieces at random during training {cite}`deepseekv3`.
#
# We can see the same effect at our size. A prompt that stops in the middle of `不对` shares no piece with the complete word that the model knows from its pages:

# %%
whole, half = ([id_of[piece] for piece in encode(text)] for text in (" 不对", " 不"))
print(whole, "against", half)

# %% [markdown]
# ## What went wrong, or did not help
#
# - **Our ties went another way than the library's.** After a few dozen rounds our first merges differed from the library's. Equal counts are settled by ids, and our bytes had their ids in another order. The paper does not say how to settle ties, and no loss curve would have shown the difference.
# - **One test was blind to a bug.** Greedy encoding passed on every page of the web. Only a case that was made for this bug caught it.
# - **The small web ran out of words.** On it, merging stops by itself after a few hundred merges, so asking for 10,000 ids changes nothing. We needed a wider web to study a large vocabulary at all.
# - **Bytes without merges did not pay off.** With 266 ids the models were no better than with characters. Chinese text became three times as long, and nothing became shorter.
# - **Training was short, with one learning rate for all.** Each model took fewer than a hundred steps. The result says which vocabulary is ahead early in training, at this size. At ten times the compute the lead is less than a third of what it was. At a hundred times, three seeds are too few to tell.
#
# ## Exercises
#
# ```{exercise} Count the pairs
# :label: ex-01-pairs
#
# *5 minutes.* Write `count_pairs(ids)`, which returns how often each pair of neighbours occurs in a list, as `{(left, right): count}`. Count overlapping pairs too.
#
# **Hint.** Put the list beside a copy of itself that is shifted by one.
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
# *15 minutes.* Write `bpe_encode(data, merges)`, which returns the ids of some bytes, where `merges[i]` is the pair of ids that becomes id 256 + i.
#
# **Hint.** Write down what `abc` becomes when the merges are `bc` and then `ab`, in this order. You can reuse `merge` for each step.
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
# *10 minutes.* Write `bits_per_byte(loss, tokens, text)`, where `loss` is the mean loss in nats per token. Then explain why a loss per *character* would be unfair to one of our two languages.
#
# **Hint.** First compute the nats of the whole text, then convert them to bits, then divide by the bytes.
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
# One Chinese character says as much as several letters, so each of them is harder to predict. Per character, a Chinese page would therefore look worse than an English page with the same content. Bytes are fairer, because a Chinese character counts as three of them, but they are not perfectly fair.
#
# ```{solution-end}
# ```
#
# ```{exercise} How many seeds?
# :label: ex-01-budget
#
# *10 minutes.* At the largest recorded budget, 512 ids are ahead of characters on average, but the interval contains 0. Suppose that this mean and this spread are the truth. About how many seeds would have shown the lead?
#
# **Hint.** The half width of the interval shrinks with the square root of the number of seeds. For many seeds it approaches 2 standard deviations divided by that root. To show the lead, it must be smaller than the mean.
# ```
#
# ```{solution-start} ex-01-budget
# :class: dropdown
# ```

# %%
def seeds_needed(leads: list[float]) -> int:
    return math.ceil((2 * statistics.stdev(leads) / statistics.fmean(leads)) ** 2)


for budget in budgets:
    plain, merged = (recorded_bits(budget, name) for name in ("characters", "BPE 512"))
    leads = [a - b for a, b in zip(plain, merged, strict=True)]
    shown = [round(lead, 2) for lead in leads]
    print(f"{budget:.0e} operations: {shown}, about {seeds_needed(leads)} seeds")

# %% [markdown]
# At the two smaller budgets one or two seeds would do, with some luck, because the lead is many times the spread. At the largest budget the formula says 3, and yet our three seeds did not show the lead. The formula is too optimistic for so few seeds: with three seeds the exact factor from Student's t is 4.30, not 2. With the exact factors, 5 seeds would be enough.
#
# Even this number is a guess, because three seeds tell us the spread only to within a factor of two or so. Plan for twice as many seeds, or measure something that the sums affect less.
#
# ```{solution-end}
# ```
#
# ```{exercise} Make it answer
# :label: ex-01-prompt
#
# *10 minutes.* Without training, write a prompt that contains a question, ends with a question mark, and makes the base model reply with a bare number.
#
# **Hint.** Find out which pages of the corpus contain a question, and print some more of them.
# ```
#
# ```{solution-start} ex-01-prompt
# :class: dropdown
# ```

# %%
ask("2 4 6 8\nWhat comes next?", "3 6 9 12\nWhat comes next?")

# %% [markdown]
# The puzzle pages contain a question and its answer. After such a question, the most likely continuation of the document is therefore a number. It need not be the right number.
#
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# The package contains one right encoder and three wrong ones. Write tests that accept the right one and catch all three wrong ones. The single test below catches only one.

# %%
print(describe("text.bpe_encode"))

# %% tags=["zoo"]
def replays_a_merge_everywhere(encode) -> None:
    """A test takes an implementation and fails where it is wrong."""
    assert encode(b"abab", [(97, 98)]) == [256, 256]


print(zoo("text", [replays_a_merge_everywhere]))

# %% [markdown]
# The folded cell below adds one test, and the two together catch all three bugs. Look at it after you have written your own.

# %% tags=["hide-cell"]
def earlier_merges_go_first(encode) -> None:
    """In 'abc', bc was learned before ab, so a stays alone."""
    assert encode(b"abc", [(98, 99), (97, 98)]) == [97, 256]


print(zoo("text", [replays_a_merge_everywhere, earlier_merges_go_first]))

# %% [markdown]
# ## Receipt
#
# The receipt shows what this run cost, the spread over seeds, and how far our ids are from the references.

# %% tags=["receipt"]
receipt(
    spread={f"bits per byte, {name}": r[:, 1].tolist() for name, r in outcomes.items()},
    differences={"our ids and both others": (difference, 0)},
)

# %% [markdown]
# ## Summary
#
# How many tokens should a small model know? With equal compute and a width of 64, a vocabulary of **512** did best among the four that we tried. A model that reads characters needs **1.1 times** as many bits per byte. A vocabulary of 2,048 made the model more than twice as large and gained nothing. In the recorded runs, ten times the compute shrinks the lead to about 4 % of the bits. At a hundred times we cannot rank the vocabularies. V3's vocabulary of 129,280 would have taken more than 99 % of our model's parameters.
#
# - I can now train byte-pair encoding, and I know three places where two implementations may differ: the rule for words, the rule for ties, and the order in which merges are replayed.
# - I can now compare models with different tokenizers, in bits per byte.
# - I can now say what a base model does with a question: it continues the document in which the question seems to stand.
#
# ## Read on
#
# - Sennrich, Haddow and Birch brought byte-pair encoding to language {cite}`sennrich2015bpe`. Section 3.2 of their paper gives the algorithm in a few lines.
# - Section 4.1 of the V3 report describes the tokenizer and the data {cite}`deepseekv3`.
# - When a model writes, each new token looks back at all the tokens before it, so the model has to remember something about each of them. [The next chapter](02_latent_attention.ipynb) shows what that memory costs, and how DeepSeek made it small.
