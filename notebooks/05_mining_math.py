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
# # Mining mathematics from a crawl
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/05_mining_math.ipynb)
#
# DeepSeekMath {cite}`deepseekmath` is a 7-billion-parameter model that owes most of its mathematics to 120 billion tokens, which a program collected from a crawl of the web. The program had no list of good sites. It started from pages that were known to be mathematics, looked for more of the same, and was helped by people who looked at some of the sites that it found. We have 30 such pages and a crawl of 1,000 pages of real documentation, of which about three in ten are mathematics. How much of this mathematics does the program find, and how much of what it collects is something else?
#
# - **You will build** a text classifier, and DeepSeekMath's loop around it: collect, look at the sites, extend the seed, collect again.
# - **You need** PyTorch, and to know what a logistic regression is. No other chapter is required.
# - **It takes** about a minute on two free CPU cores of a laptop, twice as long on Colab's two cores, and an hour to read. The first run makes the crawl, which is then kept. A GPU does not help, because the model is a table of 65,536 numbers.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import hashlib
import math
import re
import time
import zlib
from collections import Counter
from itertools import pairwise
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from minidsk import results
from minidsk.data.crawl import default_crawl
from minidsk.data.extract import documents
from minidsk.diagrams import diagram, direct_labels, dots, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.report.interval import apart, interval

plt.style.use("minidsk.diagrams.look")
_ = torch.set_num_threads(1)

# %% [markdown]
# ## A crawl that your machine holds
#
# A crawler fetches pages and writes them to files in a format called WARC. Common Crawl publishes billions of pages in this form. Ours come from nearer by: the documentation of the Python packages on your machine, one site per package and one page per module. The text is real, written by people for readers, and only its HTML is ours, so our pages are tidier than the web's. The first function below turns them into a WARC file once, and keeps it. The second reads the file. It uses a library to take the text out of each page's HTML, so that the same program can read real crawls. Real pages have tags that are never closed, formulas written in MathML, and wrongly declared encodings.
#
# Because the pages come from your own packages, your counts may differ a little from those printed here. A comment in a cell says how far: `# tolerance: 3% + 3` means that each printed number may differ from ours by 3 % of its value, plus 3.

# %%
# tolerance: 3% + 3
path = default_crawl()
began = time.perf_counter()
everything = list(documents(path))
reading = time.perf_counter() - began
print(f"{len(everything):,} pages, from a file of {path.stat().st_size / 2**20:.1f} MiB "
      f"in {reading:.1f} s")

# %% [markdown]
# Each document has its URL and its text. It also has a flag that says whether the page is mathematics. The flag follows from a rule about where the page comes from: sympy's solvers are mathematics, sympy's printers are not, and so on module by module. **The classifier never sees the flag.** But the flags enter in four other places. They choose the 30 pages with which the program starts, they play the human reviewer, and they measure the result. And we used them to compare a few values of one setting, the share of the seed that must pass.

# %% tags=["hide-input"]
# tolerance: 20% + 8
SITES = ("sympy", "networkx", "mpmath", "numpy", "torch", "stdlib")


def site(document):
    """The package whose site it is, or "all others"."""
    name = document.url.split("/")[2].split(".")[1]
    return name if name in SITES else "all others"


pages_of = Counter(site(d) for d in everything)
maths_of = Counter(site(d) for d in everything if d.mathematics)
table(["site", "pages", "of mathematics"],
      [[name, pages_of[name], maths_of[name]] for name in (*SITES, "all others")],
      "The crawl. Each of the six named sites holds pages of both kinds.")

# %% [markdown]
# The seed is 30 pages of mathematics. We take them out of the crawl, so that the program gets no credit for finding what it was given. A hash of the URL chooses them, which gives nearly the same seed on every machine.

# %%
def choose(seed, count=30):
    """Numbers of `count` pages of mathematics."""
    maths = [i for i, document in enumerate(everything) if document.mathematics]
    return sorted(maths, key=lambda i: hashlib.blake2b(
        f"{seed} {everything[i].url}".encode()).digest())[:count]


seed_docs = [everything[i] for i in choose(0)]
pages = [d for i, d in enumerate(everything) if i not in set(choose(0))]
truth = np.array([bool(d.mathematics) for d in pages])

# %% [markdown]
# ## First try: a list of words
#
# The obvious program needs no learning. We write down 24 words that mathematics uses, and compute the fraction of a page's words that are on the list. Two numbers say how well this works:
#
# - **Precision**: which share of the collected pages is mathematics?
# - **Recall**: which share of the crawl's mathematics was collected?
#
# We cannot look at the flags to decide where to cut. But we know the 30 seed pages, so we cut where three quarters of *them* pass. Before you run on, guess how far the whole program of this chapter will get.

# %% tags=["prediction", "hide-input"]
guess = predict("mining.recall", "Which percentage of the crawl's mathematics does the "
                "loop find from 30 pages?", guess=None, example=50, scale="difference",
                tolerance=50)
guess

# %%
def judge(kept):
    """Precision and recall of a harvest, bool [pages]."""
    right = (kept & truth).sum()
    return right / kept.sum(), right / truth.sum()


# %%
# tolerance: 0.12
KEYWORDS = set(re.findall(r"\w+", """algebra angle derivative edge equation geometry
    graph integer integral lemma linear matrix number polynomial prime probability proof
    root series set sum theorem variable vector"""))


def keyword_share(document):
    """The share of a page's words that are keywords."""
    words = re.findall(r"[^\W\d_]+", document.text.lower())
    return sum(word in KEYWORDS for word in words) / max(len(words), 1)


by_keywords = np.array([keyword_share(d) for d in pages])
cut = np.quantile([keyword_share(d) for d in seed_docs], 0.25)
precision, recall = judge(by_keywords >= cut)
print(f"keywords: precision {precision:.2f}, recall {recall:.2f}")

# %% [markdown]
# More than a third of what the keywords collect is something else. Programs, too, speak of sets, numbers and vectors. A longer list would help, but a person has to write it, and each word on it is a guess. So let a program learn the words from the seed.
#
# ## A page becomes a bag of numbers
#
# The classifier does not read a page; it only counts words and pairs of neighbouring words. Here is a tiny page, by hand: *"a prime is a number"*. The word *a* occurs twice; the other three words and the four pairs occur once. We weigh each by $\log(1 + \text{count})$, so that a word with fifty occurrences does not drown the rest. We divide by the vector's length, so a long page does not score higher only for being long.

# %%
tiny = ["a", "prime", "is", "a", "number"]
counts = Counter(tiny + [" ".join(pair) for pair in pairwise(tiny)])
weights = {word: math.log1p(count) for word, count in counts.items()}
length = math.sqrt(sum(w * w for w in weights.values()))
print(", ".join(f"{word} {w / length:.2f}" for word, w in weights.items()))

# %% [markdown]
# A crawl has far too many different words to give each a place of its own. So a hash function turns each word or pair into one of 65,536 numbers, its *bucket*. Two words can share a bucket, and with so many buckets this does little harm. The function below makes three more choices that the tiny page does not show:
#
# - A punctuation mark counts as a word, because formulas and programs use other marks than prose.
# - All numbers count as one word, because *17* says no more about the subject than *23*.
# - Only the first 2,000 words are read, and at most 24,000 characters. A page shows its subject early, and no page should cost a hundred times as much as another.

# %% tags=["naive"]
def slow_bag(text: str) -> dict[int, float]:
    """The buckets of a page's words and pairs, and their weights."""
    words = re.findall(r"[^\W\d_]+|\d+|[^\w\s]", text[:24_000].lower())[:2000]
    codes = [zlib.crc32(("0" if word.isdigit() else word).encode()) for word in words] or [0]
    pairs = [(a * 116049371 + b) % 2**32 for a, b in pairwise(codes)]
    counts = Counter(code % 65_536 for code in codes + pairs)
    length = math.sqrt(sum(math.log1p(count) ** 2 for count in counts.values()))
    return {bucket: math.log1p(count) / length for bucket, count in counts.items()}


print(len(slow_bag("a prime is a number")), "buckets: four words and four pairs")

# %% [markdown]
# ## The classifier is a logistic regression
#
# A page's score is the sum of its weights, each times a number that is learned for its bucket, plus a bias. PyTorch's `EmbeddingBag` computes the sum for many pages at once:

# %%
def slow_scores(numbers, bias, bags):
    """One logit per page."""
    starts = torch.tensor([0, *np.cumsum([len(b) for b in bags])[:-1]])
    buckets = torch.tensor([bucket for b in bags for bucket in b])
    weights = torch.tensor([weight for b in bags for weight in b.values()])
    return numbers(buckets, starts, per_sample_weights=weights)[:, 0] + bias


# %% [markdown]
# The classifier learns to tell the seed from 400 random pages of the crawl. Some of these are mathematics too, but the program cannot know which. Its settings have these reasons:
#
# - The two kinds share the loss in equal halves. Otherwise the 400 would outweigh the 30, and calling every page "something else" would already give a low loss.
# - Weight decay, 0.001 times the sum of the squared weights, keeps 65,536 weights from memorising the 30 pages.
# - Adam changes a number by at most about its rate of 0.3 per step. So 30 steps can take it from zero to several units, which is enough.

# %%
def slow_train(bags, labels, steps=30):
    """A table with a number for each bucket, and a bias."""
    numbers, bias = nn.EmbeddingBag(65_536, 1, mode="sum"), torch.zeros(1, requires_grad=True)
    nn.init.zeros_(numbers.weight)
    optimizer = torch.optim.Adam([numbers.weight, bias], lr=0.3)
    share = torch.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
    for _ in range(steps):
        logits = slow_scores(numbers, bias, bags)
        loss = F.binary_cross_entropy_with_logits(logits, labels, share, reduction="sum")
        optimizer.zero_grad()
        (loss + 1e-3 * numbers.weight.square().sum()).backward()
        optimizer.step()
    return numbers, bias


# %% [markdown]
# Every page of the crawl gets a score from what was learned on the seed and 400 random pages:

# %%
# tolerance: 20% + 8
bags = [slow_bag(d.text) for d in pages]
seed_bags = [slow_bag(d.text) for d in seed_docs]
drawn = torch.randperm(len(pages), generator=torch.Generator().manual_seed(0))[:400]
labels = torch.cat([torch.ones(30), torch.zeros(400)])
learned = slow_train(seed_bags + [bags[i] for i in drawn], labels)
scores = slow_scores(*learned, bags).detach().numpy()
print(f"{truth[drawn].sum()} of the 400 random pages are mathematics")

# %% [markdown]
# ## The package's classifier gives the same scores
#
# `minidsk.data.classifier` keeps all bags in three long arrays, and adds them up with `index_add`. On the same pages it must give the same scores:

# %%
from minidsk.data.classifier import Bags, ClassifierConfig, bag, train_classifier

config = ClassifierConfig()
seed = Bags.join(bag(d.text, config) for d in seed_docs)
crawl_bags = Bags.join(bag(d.text, config) for d in pages)

# %% tags=["agree"]
model = train_classifier(seed + crawl_bags.take(drawn.numpy()), labels.long().numpy(), config)
difference = float(np.abs(model(crawl_bags) - scores).max())
assert difference < 1e-3
print("largest difference of the scores: below 1e-3")

# %% [markdown]
# A check is worth something if it fails on a wrong program. We plant a bug: bags that leave out the pairs of words.

# %%
# tolerance: 1
alone = Bags.join(bag(d.text, ClassifierConfig(ngrams=1)) for d in pages)  # the planted bug
planted = float(np.abs(model(alone) - scores).max())
assert planted > 1e-3
print(f"largest difference with the planted bug: {planted:.1f}, so the check fails")

# %% [markdown]
# ## Learned words rank better than listed ones
#
# Sort the pages by their score, the best first, and walk down the list, page by page. At each place we know the precision and the recall if we cut there.

# %% tags=["figure", "hide-input"]
# tolerance: 0.12
def walk(scores):
    """Recall and precision at each place of the ranking."""
    right = truth[np.argsort(-scores, kind="stable")].cumsum()
    return right / truth.sum(), right / np.arange(1, len(right) + 1)


ranked = {"classifier": walk(scores), "keywords": walk(by_keywords)}
ranked["random order"] = (np.array([0.02, 0.95]), np.full(2, truth.mean()))
fig, ax = plt.subplots(figsize=(4.7, 3.3))  # as wide as a phone shows
for name, (x, y) in ranked.items():
    shown = (x > 0.015) & (x <= 0.95)
    _ = ax.plot(x[shown], y[shown], label=name)
_ = ax.set(xlabel="recall", ylabel="precision", ylim=(0, 1.03), xlim=(0, 1))
direct_labels(ax)
at = {name: y[np.searchsorted(x, 0.7)] for name, (x, y) in ranked.items() if len(x) > 2}
assert at["classifier"] > at["keywords"] + 0.1
early = {name: y[np.searchsorted(x, 0.2)] for name, (x, y) in ranked.items() if len(x) > 2}
show(fig,
     f"Down to a recall of 0.7, the classifier's list has a precision of "
     f"{at['classifier']:.2f}, that of the keywords {at['keywords']:.2f}.",
     "Precision against recall for three orders of the pages. Both curves start near 1. At a "
     f"recall of 0.2 the classifier's is at {early['classifier']:.2f} and the keywords' at "
     f"{early['keywords']:.2f}; at 0.7 they are at {at['classifier']:.2f} and "
     f"{at['keywords']:.2f}. Random order is flat at {truth.mean():.2f}.")

# %%
# tolerance: 0.12
examples = seed + crawl_bags.take(drawn.numpy())
settings = {"as above": {}, "60 steps": {"steps": 60}, "no decay": {"decay": 0}}
for name, changed in settings.items():
    trained = train_classifier(examples, labels.long().numpy(), ClassifierConfig(**changed))
    x, y = walk(trained(crawl_bags))
    print(f"{name}: precision {y[np.searchsorted(x, 0.7)]:.2f} at a recall of 0.7")

# %% [markdown]
# The cell above trained again with one setting changed. More steps change little, but without the price on large numbers the ranking is much worse.
#
# The figure is not quite fair. It ranks all pages, and the classifier has learned 400 of them as "something else", although more than a hundred of these are mathematics. The next section removes this flaw.
#
# What did the classifier learn? We can ask for the words whose buckets have the largest numbers. *matrix*, *edge* and *graph* are words of the subject. *sympy* is the name of a package, and *from* and *true* are ordinary words. So the classifier has also learned who wrote the seed pages, not only what they are about.

# %% tags=["nbval-ignore-output"]
def value(word):
    return float(model.weight[zlib.crc32(word.encode()) % 65_536])


seen = Counter(w for d in pages for w in set(re.findall(r"[a-z]{4,}", d.text.lower())))
common = sorted((w for w, count in seen.items() if count >= 30), key=value)
print("for mathematics:", " ".join(common[:-9:-1]))
print("against it:     ", " ".join(common[:8]))

# %% [markdown]
# ## Where to cut, without looking
#
# The program may never use the flags, but it knows that the seed pages are mathematics. So the seed decides where to cut: three quarters of its pages must pass. DeepSeek cut by a budget of 40 billion tokens instead, which it chose by training models. The obvious way is to score the seed with the classifier that we have:

# %%
# tolerance: 5
learned_cut = np.quantile(model(seed), 0.25)
above = int((scores >= learned_cut).sum())
print(f"three quarters of the seed score above {learned_cut:.1f}, "
      f"as do {above} pages of the crawl")
assert above < 0.03 * len(pages)

# %% [markdown]
# Hardly any page of the crawl reaches this cut, because a classifier gives high scores to the pages that it learned from. The same happens at the other end: it learned the random pages as "something else", so the mathematics among them gets scores that are too low.
#
# So no page may be scored by a classifier that learned from it. We train three classifiers. Each leaves out a third of the seed and a third of the random pages:
#
# | pages | classifier 1 | classifier 2 | classifier 3 |
# | --- | --- | --- | --- |
# | first third of the seed and of the random pages | **scores** | learns | learns |
# | second third | learns | **scores** | learns |
# | last third | learns | learns | **scores** |
# | all other pages of the crawl | **scores** | **scores** | **scores** |
#
# If several classifiers score a page, we take the mean. First the thirds, drawn at random, and the three classifiers:

# %%
g = torch.Generator().manual_seed(0)
drawn = torch.randperm(len(pages), generator=g)[:400].numpy()  # the same 400 pages as before
third = torch.cat([torch.randperm(count, generator=g) % 3 for count in (30, 400)]).numpy()
examples, kinds = seed + crawl_bags.take(drawn), np.repeat([1, 0], [30, 400])
three = [train_classifier(examples.take(np.flatnonzero(third != left)), kinds[third != left],
                          config) for left in range(3)]

# %% [markdown]
# All three score all examples, and we pick for each example the score of the classifier that left it out, its *held-out* score. The cut follows from these scores of the seed. The other pages of the crawl get the mean of the three.

# %%
# tolerance: 1
by_three = np.stack([classifier(examples) for classifier in three])  # [3, 430]
held = by_three[third, np.arange(430)]
cut = np.quantile(held[:30], 0.25)
assert cut < learned_cut - 0.5
print(f"three quarters of the seed score above {cut:.1f} if held out, not {learned_cut:.1f}")

# %%
# tolerance: 0.12
scores = np.mean([classifier(crawl_bags) for classifier in three], axis=0)
scores[drawn] = held[30:]
kept = scores >= cut
precision, recall = judge(kept)
print(f"one round: precision {precision:.2f}, recall {recall:.2f}")

# %% [markdown]
# The precision is good, but a quarter of the mathematics is missing, because thirty pages cannot know all the words. Which pages are missed? DeepSeek's idea is to look at the sites on which they stand.
#
# ## The loop
#
# A site with much mathematics that we found probably has more that we missed. So DeepSeekMath groups the pages by host, and marks each host of which more than a tenth was collected. Then people look at these hosts and say which of their URLs hold mathematics. Pages at these URLs that were *not* collected are the valuable ones: they are mathematics, and the classifier did not recognise them. They join the seed, and the next round starts.

# %% tags=["diagram", "hide-input"]
diagram("mining_loop")

# %% [markdown]
# Our reviewer is simulated. It is asked about one folder of a site at a time, such as the folder of sympy's solvers, and we call such a folder a URL. It says yes if most of the folder's pages are flagged as mathematics. So the flags help the loop here. Here is one page, its host, and its URL under review. The cell below it makes one review after one round: which hosts are marked, and which pages join the seed?

# %%
from minidsk.data.mining import host_of, places_of

host = np.array([host_of(d.url) for d in pages])
place = np.array(places_of([d.url for d in pages]))
approved = np.isin(place, [p for p in set(place) if truth[place == p].mean() > 0.5])
one = next(i for i, d in enumerate(pages) if "sympy/solvers" in d.url)
print(pages[one].url, host[one], place[one], sep="\n")

# %%
# tolerance: 20% + 3
def review(kept):
    """The marked hosts, and the pages that join the seed, bool [pages]."""
    marked = [h for h in np.unique(host) if kept[host == h].mean() > 0.1]
    return marked, np.isin(host, marked) & approved & ~kept


marked, joins = review(kept)
print(f"{len(marked)} of {len(set(host))} hosts are marked, {joins.sum()} pages join the seed")

# %% [markdown]
# From the second round on there is a third kind of example, the pages that the review added. They are learned as mathematics, they are split into thirds as the seed is, and three quarters of seed and added pages together must pass the cut. The random pages change too. They come only from what was neither collected nor added, so fewer of them are mathematics:

# %%
def find(added, others, g):
    """The pages above the cut, bool [pages], when the pages `added` have joined the seed."""
    drawn = others[torch.randperm(len(others), generator=g)[:400].numpy()]
    inside, sizes = np.concatenate([added, drawn]), (30, len(added), len(drawn))
    third = torch.cat([torch.randperm(size, generator=g) % 3 for size in sizes]).numpy()
    examples, kinds = seed + crawl_bags.take(inside), np.repeat([1, 1, 0], sizes)
    three = [train_classifier(examples.take(np.flatnonzero(third != left)),
                              kinds[third != left], config) for left in range(3)]
    by_three = np.stack([classifier(examples) for classifier in three])
    held = by_three[third, np.arange(sum(sizes))]
    scores = np.mean([classifier(crawl_bags) for classifier in three], axis=0)
    scores[inside] = held[30:]
    return scores >= np.quantile(held[kinds == 1], 0.25)


# %% [markdown]
# The loop collects and reviews in turn. What the reviewer approved is collected in any case, even if no classifier recognises it:

# %%
g, history = torch.Generator().manual_seed(0), []
kept = added = np.zeros(len(pages), bool)
for _ in range(4):
    found = find(np.flatnonzero(added), np.flatnonzero(~kept & ~added), g)
    kept = found | added
    marked, joins = review(kept)
    history.append({"added": added, "found": found, "kept": kept, "marked": marked})
    added = added | joins

# %% tags=["hide-input"]
# tolerance: 15% + 0.08
rows, before = [], np.zeros(len(pages), bool)
for number, state in enumerate(history, 1):
    precision, recall = judge(state["kept"])
    new, before = (state["kept"] & ~before).sum() / state["kept"].sum(), state["kept"]
    rows.append([number, int(30 + state["added"].sum()), int(before.sum()), f"{new:.2f}",
                 f"{precision:.2f}", f"{recall:.2f}", f"{judge(state['found'])[1]:.2f}"])
table(["round", "pages to learn from", "collected", "new", "precision", "recall",
       "recall, classifiers alone"], rows,
      "Four rounds, one seed. New is the share that the round before did not have. The last "
      "column leaves out reviewed pages that no classifier recognised.")

# %% [markdown]
# Recall jumps in the second round, and from the third round on hardly anything is new. DeepSeekMath stopped after its fourth round, when 98 % of the pages had already been collected in the third. Where does the jump come from? We count the pages of mathematics in round 2:

# %%
# tolerance: 20% + 8
first, second = history[:2]
added, found = second["added"] & truth, second["found"] & truth
alone = (found & ~added & ~first["kept"]).sum()
print(f"{(first['kept'] & truth).sum()} pages of mathematics in round 1, {added.sum()} added "
      f"by the review, {(second['kept'] & truth).sum()} in round 2")
print(f"classifiers that did not learn from them recognise {(found & added).sum()} of the "
      f"{added.sum()}")
lost = (first["kept"] & truth & ~second["kept"]).sum()
print(f"the classifiers of round 2 find {alone} further pages of mathematics, and lose {lost} "
      "pages of round 1")
left = ~first["kept"] & ~second["added"]
print(f"mathematics among the pages that the random ones come from: {truth.mean():.0%} in "
      f"round 1, {truth[left].mean():.0%} in round 2")
assert alone < added.sum() / 2

# %% [markdown]
# So with this seed, the reviewed pages *are* the jump. Round 1 and the review together already have about as many pages of mathematics as round 2, and the retrained classifiers find hardly any others. They did learn from the review, because they recognise most of the reviewed pages that they did not learn from, and the last column of the table rises too. But on our crawl, nearly all that they newly recognise has been reviewed already. On the web, a reviewer sees a tiny part, and this ability would have to find the rest.
#
# The package's loop, `minidsk.data.mining.mine`, also counts tokens, accepts a budget, and asks the reviewer about each URL once. With the same generator it collects the same pages:

# %%
from minidsk.data.harvest import crawl_of
from minidsk.data.mining import MiningConfig, known_origin, mine

crawl = crawl_of(pages, config)
rounds = list(mine(crawl, seed, known_origin(crawl), MiningConfig(rounds=4, new=0.0),
                   torch.Generator().manual_seed(0)))

# %% tags=["agree"]
others = [int((ours["kept"] ^ theirs.kept).sum())
          for ours, theirs in zip(history, rounds, strict=False)]
assert max(others) == 0
print("largest difference in any round:", max(others), "pages")

# %% [markdown]
# ## Where is the mathematics that a round misses?
#
# Step through the rounds, where each bar is a site. The strong green is mathematics that we have, the faint green beside it is mathematics that we miss, and red is what we collected by mistake. The lines above the figure count the misses. A star marks a site whose URLs the reviewer looks at.

# %% tags=["widget", "nbval-ignore-output"]
# not compared: another version of numpy has other pages, and may or may not be marked
from minidsk.widgets import Harvest

for number, state in enumerate(history, 1):
    missed, there = truth & ~state["kept"], np.isin(host, state["marked"])
    print(f"round {number} misses {(missed & there).sum()} on the hosts that it marks, and "
          f"{(missed & ~there).sum()} elsewhere:",
          *(h.split(".")[1] for h in state["marked"]))  # fmt: skip


def by_site(state):
    """The counts of each site in one round."""
    names, kept = np.array([site(d) for d in pages]), state["kept"]
    marked = {site(d) for d, h in zip(pages, host, strict=True) if h in state["marked"]}
    return [{"right": (kept & truth & (names == name)).sum(),
             "missed": (~kept & truth & (names == name)).sum(),
             "wrong": (kept & ~truth & (names == name)).sum(),
             "left": (~kept & ~truth & (names == name)).sum(),
             "marked": name in marked and name in SITES} for name in (*SITES, "all others")]


Harvest([*SITES, "all others"], [by_site(state) for state in history],
        title="What each round collects, site by site")

# %% [markdown]
# Most of the mathematics that the first round misses lies on hosts that it marks, and the review brings nearly all of it. What is still missing at the end lies on hosts that were marked in the last round or never, so their URLs were not reviewed in time.
#
# ## Five seeds, and what simpler programs reach
#
# A single seed may have been lucky, so we repeat everything with five seeds of 30 pages. The folded cell takes each seed out of the crawl.

# %% tags=["hide-input"]
from minidsk.data.mining import Crawl, quality

whole = crawl_of(everything, config)
shares = np.array([keyword_share(d) for d in everything])
chosen = [choose(number) for number in range(5)]
rest = [np.setdiff1d(np.arange(len(everything)), c) for c in chosen]
crawls = [Crawl([whole.urls[i] for i in r], whole.bags.take(r), whole.tokens[r],
                whole.origin[r]) for r in rest]


def judged(harvests):
    """Precision and recall of five harvests, one for each seed."""
    return [quality(kept, left.origin) for kept, left in zip(harvests, crawls, strict=True)]


# %% [markdown]
# First the loop itself. Its first round is our control without a review. *Classifiers alone* is the last round without the reviewed pages that no classifier recognised. The second cell adds the list of keywords, cut where three quarters of each seed pass, and random pages, as many as the loop collects.

# %%
def rounds_of(number):
    """The loop's rounds from seed `number`."""
    left, start = crawls[number], whole.bags.take(chosen[number])
    return list(mine(left, start, known_origin(left), MiningConfig(rounds=4),
                     torch.Generator().manual_seed(number)))


loops = [rounds_of(number) for number in range(5)]
five = {"the loop": judged(rounds[-1].kept for rounds in loops),
        "classifiers alone": judged(rounds[-1].scores >= rounds[-1].cut for rounds in loops),
        "one round": judged(rounds[0].kept for rounds in loops)}

# %%
five["keywords"] = judged(shares[r] >= np.quantile(shares[c], 0.25)
                          for r, c in zip(rest, chosen, strict=True))
orders = [torch.randperm(len(r), generator=torch.Generator().manual_seed(number)).numpy()
          for number, r in enumerate(rest)]
five["random pages"] = judged(order < rounds[-1].pages
                              for order, rounds in zip(orders, loops, strict=True))

# %% tags=["hide-input"]
# tolerance: 0.12
rows = []
for name, seeds in five.items():
    columns = [interval([figures[k] for figures in seeds]) for k in (0, 1)]
    rows.append([name, *(f"{middle:.2f} ± {half:.2f}" for middle, half in columns)])
ends = {name: [mean(figures[k] for figures in seeds) for k in (0, 1)]
        for name, seeds in five.items()}
for ours, base in (("the loop", "one round"), ("the loop", "keywords"),
                   ("classifiers alone", "one round")):
    middle, half = apart([r for _, r in five[ours]], [r for _, r in five[base]])
    print(f"recall, {ours} minus {base}: {middle:.2f} ± {half:.2f}")
    assert middle > half or ours != "the loop"
assert ends["the loop"][0] >= 0.88  # the mean precision; then the mean recall
assert ends["the loop"][1] >= 0.85
table(["program", "precision", "recall"], rows, "Five seeds; ± is a 95 % interval")

# %% tags=["hide-input"]
# tolerance: 5
guess.reveal(round(100 * ends["the loop"][1]))

# %% [markdown]
# The loop beats the keywords in precision and in recall. It finds more than one round does, and so do its classifiers alone. Its precision and one round's cannot be told apart.
#
# ## How much of this is the reviewer's work?
#
# The loop gets help that one round does not get. A recorded run takes the parts away one by one. *As many tokens* is one round that may collect as much as the loop did. *No reviewer* is the loop without a person who looks at the sites. *A rule as reviewer* asks no person either: it approves each URL of which the first round collected more than half. *URLs alone* takes every page at an approved URL of a marked host, and ignores the scores.

# %% tags=["figure", "hide-input"]
print(results.origin("ch05_mining"))
record = results.read("ch05_mining")["runs"]


def recorded(method, key):
    """One figure of a method, seed by seed."""
    return [run[key] for run in record if run["method"] == method]


names = {"loop": "the loop", "one round": "one round",
         "one round, as many tokens": "one round, as many tokens",
         "no reviewer": "no reviewer", "a rule as reviewer": "a rule as reviewer",
         "reviewed URLs alone": "URLs alone"}
of_loop = [run["rounds"] for run in record if run["method"] == "loop"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.0), sharey=True)
told = []
for ax, key in zip(axes, ("precision", "recall"), strict=True):
    found = {shown: interval(recorded(name, key)) for name, shown in names.items()}
    dots(ax, found, marked=["the loop"])
    for y, (shown, (middle, half)) in enumerate(found.items()):
        _ = ax.annotate(f"{middle:.2f}", (middle, y), (0, 7), textcoords="offset points",
                        ha="center", fontsize=9)
        told.append(f"{shown}, {key} {middle:.2f} ± {half:.2f}")
    _ = ax.set(xlim=(0.4, 1.05), title=key)
asked = interval([rounds[-1]["reviewed"] for rounds in of_loop])
show(fig, f"Means of five recorded seeds with 95 % intervals. The reviewer looks at "
     f"{asked[0]:.0f} ± {asked[1]:.0f} URLs. URLs alone equal the loop in recall, and are "
     "more precise.",
     "Two rows of dots with intervals. " + "; ".join(told) + ".")

# %% tags=["hide-input"]
for number, rounds_found in enumerate(of_loop):
    print(f"seed {number}, sites marked in each round:", *(r["marked"] for r in rounds_found))
pairs = (("loop", "one round, as many tokens"), ("a rule as reviewer", "one round"),
         ("loop", "a rule as reviewer"), ("reviewed URLs alone", "loop"))
table(["paired difference", "precision", "recall"],
      [[f"{ours} minus {base}",
        *("{:+.2f} ± {:.2f}".format(*apart(recorded(ours, key), recorded(base, key)))
          for key in ("precision", "recall"))] for ours, base in pairs], "The same five seeds")

# %% [markdown]
# A part of the loop's gain is only a looser cut. One round that may collect as many tokens has a recall of 0.89 already, but a sixth of what it collects is something else. At equal size the loop is six to eight points better in both.
#
# Without a reviewer the loop finds no more than one round, because nothing new enters the seed. The rule asks no person, and its recall is about 0.16 above one round's. The reviewer's is higher still on average, in precision too, but five seeds cannot tell the rule and the reviewer apart. The reviewer's verdicts alone beat the loop in precision. On our crawl, a person who knows which folders hold mathematics needs the classifier only to find the hosts.

# %% [markdown]
# Part of this is built in. Our flags follow from the module that a page comes from, and the reviewer judges by folder, so its verdicts are nearly always right. A person makes more mistakes. The classifier's work is to tell the reviewer *where to look*. Of eighteen sites it marked three to six in the first round, and four in the last. So the reviewer saw some sixty URLs instead of every page.
#
# On the web this matters far more than here. A person cannot judge billions of URLs.

# %% [markdown]
# ## At the web's prevalence
#
# Three tenths of our crawl are mathematics. On the web the share is far smaller. DeepSeekMath collected 35.5 million of 40 billion pages {cite}`deepseekmath`; if the collected share is about the true share, one page in a thousand is mathematics. Suppose that the same classifier with the same cut meets such a crawl. Its recall stays, because recall looks at the mathematics alone, but its precision does not. If a share $\pi$ of all pages is mathematics, and the program collects a share $R$ of these and a share $f$ of the others, then its precision is $P = \pi R / (\pi R + (1 - \pi) f)$.

# %%
# tolerance: 15% + 0.05
final = history[-1]["kept"]
R, f = final[truth].mean(), final[~truth].mean()
print(f"R = {R:.2f}, f = {f:.3f}")
for share in (0.3, 0.05, 0.007, 0.001):
    right = share * R
    print(f"prevalence {share:5.1%}: precision {right / (right + (1 - share) * f):.2f}")

# %% tags=["figure", "hide-input"]
# tolerance: 15% + 0.05
pi = np.geomspace(0.0005, 0.5, 60)
fig, ax = plt.subplots(figsize=(6.0, 3.0))
_ = ax.semilogx(100 * pi, pi * R / (pi * R + (1 - pi) * f), label="the harvest above")
cleaner = pi * R / (pi * R + (1 - pi) * f / 10)
_ = ax.semilogx(100 * pi, cleaner, label="a tenth of the mistakes")
for share, name, height in ((0.3, "our crawl", 0.02), (0.001, "one in 1,000", 0.92)):
    _ = ax.axvline(100 * share, color="C2", lw=1, ls=":")
    _ = ax.annotate(name, (100 * share, height), (4, 0), textcoords="offset points")
_ = ax.set(xlabel="share of all pages that is mathematics, %", ylabel="precision",
           ylim=(0, 1))
_ = ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
direct_labels(ax)
at = [x * R / (x * R + (1 - x) * f) for x in (0.001, 0.3)]
show(fig, "The same recall and the same mistakes per page, at other prevalences. At one in "
     "1,000, even ten times fewer mistakes would leave a harvest of mostly other pages.",
     f"Two rising curves of precision over prevalence: the harvest above has {at[0]:.2f} at "
     f"0.1 % and {at[1]:.2f} at 30 %; with a tenth of the mistakes it lies higher.")

# %% [markdown]
# At a prevalence of 0.7 %, about one page in six of the same harvest would be mathematics, and at one in a thousand about one in thirty. The share $f$ is only a few percent, but a few percent of very many pages are many pages. Figures from balanced test sets hide this.
#
# A calculation is not a run. So we also recorded the loop in a crawl in which each page that is not mathematics appears 60 times, the copies on sites of their own. (The hosts with mathematics keep their own pages, which is kind to the rule of a tenth.) There we can move the cut up and let only half, or only a quarter, of the seed pass. With a quarter the seeds differ widely, so the second table shows them one by one.

# %% tags=["hide-input"]
rows = []
for passing in (0.75, 0.5, 0.25):
    of = [run for run in record if run["method"] == f"rare, passing {passing}"]
    first = interval([run["rounds"][0]["recall"] for run in of])
    figures = [interval([run[key] for run in of]) for key in ("precision", "recall")]
    rows.append([f"{passing:.0%}",
                 *("{:.2f} ± {:.2f}".format(*x) for x in (*figures, first))])
table(["of the seed passes", "precision", "recall", "recall after one round"], rows,
      f"Recorded, five seeds; mathematics is {of[0]['prevalence']:.1%} of the pages.")

# %% tags=["hide-input"]
table(["seed", "sites marked in round 1", "its precision", "its recall", "final precision",
       "final recall"],
      [[run["seed"], run["rounds"][0]["marked"],
        *(f"{part[key]:.2f}" for part in (run["rounds"][0], run)
          for key in ("precision", "recall"))] for run in of],
      "Recorded; a quarter of the seed passes.")

# %% [markdown]
# With three quarters of the seed, the run's precision is about what the formula gave. With the strictest cut one round finds little, and the final recall depends on how many sites the first round marks. Three seeds mark three sites, and the review brings their recall to nine tenths. The other two mark one or two sites only, and their recall stays below a half, although every page of their first round is mathematics. On average seven tenths of the final harvest are mathematics, in a crawl where seven pages in a thousand are.
#
# ## What does it buy?
#
# The goal is a better model, not more pages. A recorded run trains small models from random weights on equally many tokens: from the harvest, from random pages of the crawl, and from half of each. A quarter of the crawl was held out, and we measure the loss there in bits per byte.

# %% tags=["hide-input"]
print(results.origin("ch05_pretraining"))
models = results.read("ch05_pretraining")["runs"]


def bits(diet, kind):
    return [run[f"bits_{kind}"] for run in models if run["diet"] == diet]


diets = list(dict.fromkeys(run["diet"] for run in models))
kinds = ("mathematics", "other")
rows = [[diet, *("{:.3f} ± {:.3f}".format(*interval(bits(diet, kind))) for kind in kinds)]
        for diet in diets]
more = ["{:+.3f} ± {:.3f}".format(*apart(bits("harvest", kind), bits("random pages", kind)))
        for kind in kinds]
rows.append(["harvest minus random pages", *more])
table(["trained on", "held-out mathematics", "held-out other pages"], rows,
      f"Bits per byte, lower is better; three seeds, {models[0]['tokens']:,} tokens each")

# %% [markdown]
# On mathematics, the harvest is clearly better than random pages at equal tokens. On all other pages it is worse, and by more. Half of each lies between, in the mean. The held-out mathematics comes from the same packages as the harvest, so a part of the gain may be their style. So the harvest makes a better model *of mathematics*, which is what DeepSeekMath was for.
#
# ## How fast is it?
#
# Forty billion pages are forty million times our crawl, so speed decides what is possible. We time each part on one core:

# %%
# tolerance: 400% + 1
began = time.perf_counter()
again = Bags.join(bag(d.text, config) for d in everything)
made = time.perf_counter()
_ = model(again)
done = time.perf_counter()
print(f"{len(everything)} pages: reading and HTML {1000 * reading:.0f} ms, "
      f"bags {1000 * (made - began):.0f} ms, scores {1000 * (done - made):.1f} ms")
years = 40e9 / len(everything) / (365 * 24 * 3600)  # for each second that our crawl takes
whole_web = years * (reading + done - began)
print(f"forty billion pages: {whole_web:.1f} years of one core, "
      f"or {whole_web * 365 * 24 / 1000:.0f} hours of a thousand cores")
assert done - made < made - began

# %% [markdown]
# The scores cost almost nothing. The time goes into reading HTML, cutting pages into words and hashing them. A thousand cores need a day or two for the whole crawl.
#
# ## What DeepSeek did
#
# DeepSeekMath {cite}`deepseekmath` describes the loop in its section 2.1. In our notation, page $x$ with weights $x_j$ in buckets $j$ has the score $s(x)$, and a host $D$ is marked if more than a tenth of its pages is in the harvest $K$:
#
# $$ s(x) = b + \sum_j w_j x_j, \qquad \frac{|K \cap D|}{|D|} > 0.1 . $$
#
# The seed was OpenWebMath {cite}`paster2023openwebmath`. From it came 500,000 pages as positive examples, and as many random pages of Common Crawl were the negative ones. The classifier was fastText {cite}`joulin2016fasttext`, with vectors of 256 numbers, a learning rate of 0.1, n-grams of up to three words, words that occur at least three times, and three passes. Ours follows it, but counts enter by their logarithm, and each bucket has one number instead of a vector. After removing duplicates, Common Crawl had 40 billion HTML pages. The first round kept the best 40 billion tokens, a number that was chosen by training models on the best 40, 80, 120 and 160 billion.
#
# Four rounds gave 35.5 million pages with 120 billion tokens. Pages with a run of ten words from a test problem were removed, and for test problems of three to nine words an exact match counted. The paper reports what the corpus is worth to models, but neither precision nor recall of a round.

# %% [markdown]
# ## What went wrong, or did not help
#
# **fastText with DeepSeekMath's settings learned nothing useful from 30 pages.** Three passes over 430 pages are far too few steps for vectors that start at random. We recorded the *average precision*, which is the mean of the precision down to each page of mathematics in the ranking. A random order would reach about 0.29, so this ranking is even a little worse than chance.

# %% tags=["hide-input"]
rivals = ("ours, one training", "fasttext, 25 epochs", "fasttext, DeepSeekMath's settings",
          "keywords")
table(["ranking", "average precision"],
      [[name, "{:.2f} ± {:.2f}".format(*interval(recorded(name, "average_precision")))]
       for name in rivals], "Recorded, five seeds; the first three learn from the same pages")

# %% [markdown]
# More passes help. We think that the mean over all words remains a problem, because the commonest words make up most of it, and that our logarithms and unit length avoid this. With 500,000 examples the difference should be small, and we did not test it.
#
# **A looser cut collects worse pages.** With nine tenths of the seed passing, the recorded loop collects nearly everything, but a sixth of it is something else. The lines above the table are the first seed's first round:

# %% tags=["hide-input"]
# tolerance: 60% + 8
rows = [[f"{passing:.0%}", *("{:.2f} ± {:.2f}".format(*interval(recorded(name, key)))
                             for key in ("precision", "recall"))]
        for passing, name in ((0.7, "loop, passing 0.7"), (0.75, "loop"),
                              (0.8, "loop, passing 0.8"), (0.9, "loop, passing 0.9"))]
first, lowest = held[:30], np.sort(held[:30])[:8]
between = (scores >= np.quantile(first, 0.1)) & (scores < np.quantile(first, 0.25))
print("the eight lowest scores of the seed:", " ".join(f"{score:.1f}" for score in lowest))
print(f"between the cuts of 90% and 75% lie {between.sum()} pages of the crawl, "
      f"{(between & truth).sum()} of them mathematics")
table(["of the seed passes", "precision", "recall"], rows, "Recorded, five seeds")

# %% [markdown]
# A tenth of 30 pages is three, so the cut then lies beside the fourth lowest score of the seed, a page that hardly looks like mathematics to the classifier. Many pages of the crawl that score as low are something else.
#
# We tried 0.9, 0.8 and 0.7 before we settled on 0.75, and the flags told us that 0.9 is bad. So our choice has seen the answers once. Between 0.7 and 0.8 precision and recall move by a few hundredths only.
#
# **A seed from a single site stays at home.** In one more recorded loop, all 30 seed pages come from sympy:

# %% tags=["hide-input"]
table(["loop", "precision", "recall"],
      [[name, *("{:.2f} ± {:.2f}".format(*interval(recorded(name, key)))
                for key in ("precision", "recall"))]
       for name in ("loop", "seed from one site")],
      "Recorded, five seeds")

# %% [markdown]
# It finds less than half of the mathematics. It does not mark networkx, because it recognises less than a tenth of that site's pages, and what is not marked is never reviewed. A seed from several sites avoids this.
#
# ## Exercises
#
# ```{exercise} Who joins the seed?
# :label: ex-05-join
#
# *15 minutes.* Write the step between two rounds for tensors, as the next cell describes it. `check("mining.join_seed", my_join)` recognises five mistakes and names the one you made.
#
# **Hint.** `torch.bincount` counts the pages of each host. With `weights=` it counts the collected ones.
# ```

# %%
print(describe("mining.join_seed"))


def my_join(kept, host, place, holds, marked=0.1):
    raise NotImplementedError


# check("mining.join_seed", my_join)

# %% [markdown]
# ```{solution-start} ex-05-join
# :class: dropdown
# ```

# %%
def join_solution(kept, host, place, holds, marked=0.1):
    found = torch.bincount(host, weights=kept.double())
    share = found / torch.bincount(host)
    return (share > marked)[host] & holds[place] & ~kept


answer = check("mining.join_seed", join_solution)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} A page as a vector
# :label: ex-05-bag
#
# *10 minutes.* Write `bag_of_words(buckets, size)` as the next cell describes it. Then repeat a page's text ten times: what happens to its vector, and is that good?
#
# **Hint.** `torch.bincount(buckets, minlength=size)`, then `log1p`, then the length.
# ```

# %%
print(describe("mining.bag_of_words"))


def my_bag(buckets, size):
    raise NotImplementedError


# check("mining.bag_of_words", my_bag)

# %% [markdown]
# ```{solution-start} ex-05-bag
# :class: dropdown
# ```

# %%
def bag_solution(buckets, size):
    vector = torch.bincount(buckets, minlength=size).double().log1p()
    return vector / vector.norm()


answer = check("mining.bag_of_words", bag_solution)
assert answer
answer

# %% [markdown]
# Repeating a page leaves its direction nearly as it was, but rare words gain on common ones, because the logarithm grows slowly. A page that repeats itself is therefore no more mathematical than before, which is what we want.
#
# ```{solution-end}
# ```
#
# ```{exercise} The cut
# :label: ex-05-cut
#
# *5 minutes.* Write `cut(held, scores, passing)` as the next cell describes it. Which share of the seed passes on average if you use the scores of a classifier that learned from the seed?
#
# **Hint.** If three quarters have to pass, one quarter lies below the cut.
# ```

# %%
print(describe("mining.cut"))


def my_cut(held, scores, passing):
    raise NotImplementedError


# check("mining.cut", my_cut)

# %% [markdown]
# ```{solution-start} ex-05-cut
# :class: dropdown
# ```

# %%
def cut_solution(held, scores, passing):
    return scores >= torch.quantile(held, 1 - passing)


answer = check("mining.cut", cut_solution)
assert answer
answer

# %% [markdown]
# By construction three quarters of the seed pass either way. But the scores of pages that were learned are far too high, so the cut would be high as well, and hardly any new page would reach it.
#
# ```{solution-end}
# ```
#
# ```{exercise} Precision on the web
# :label: ex-05-web
#
# *10 minutes.* Write `precision_at(recall, false_rate, prevalence)` as the next cell describes it. A program has a recall of 0.9. How small must its false rate be for a precision of 0.9 where one page in two hundred is mathematics?
#
# **Hint.** Count among 100,000 pages.
# ```

# %%
print(describe("mining.precision_at"))


def my_precision(recall, false_rate, prevalence):
    raise NotImplementedError


# check("mining.precision_at", my_precision)

# %% [markdown]
# ```{solution-start} ex-05-web
# :class: dropdown
# ```

# %%
def precision_solution(recall, false_rate, prevalence):
    right, wrong = prevalence * recall, (1 - prevalence) * false_rate
    return right / (right + wrong) if right + wrong else 0.0


print(f"{precision_solution(0.9, 0.0005, 0.005):.2f} with one false page in 2,000")
answer = check("mining.precision_at", precision_solution)
assert answer
answer

# %% [markdown]
# Of 100,000 pages, 500 are mathematics and 450 of them are collected. A precision of 0.9 allows 50 false pages among 99,500, which is one in two thousand.
#
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# Three wrong versions of the step between two rounds live in the package. A test gets such a version, called `join`, and calls it with what was collected, the host and the place of each page (both as numbers), and the review's answer for each place. Write tests that pass on the right version and fail on all three. The one below catches a single bug.

# %% tags=["zoo"]
# ten pages on host 0, of which two are collected; thirty on host 1, of which one is
HOST = torch.tensor([0] * 10 + [1] * 30)
KEPT = torch.zeros(40, dtype=torch.bool)
KEPT[[0, 1, 10]] = True
YES = torch.tensor([True, True])


def what_we_have_does_not_join(join):
    assert not join(KEPT, HOST, HOST, YES)[:2].any()


zoo("mining", [what_we_have_does_not_join])

# %% [markdown]
# The folded cell has one test more, which catches the other two.

# %% tags=["hide-cell"]
def a_host_that_is_not_marked_stays_out(join):
    assert not join(KEPT, HOST, HOST, YES)[10:].any()


caught = zoo("mining", [a_host_that_is_not_marked_stays_out, what_we_have_does_not_join])
assert caught
caught

# %% [markdown]
# ## The opening question, and the receipt

# %% tags=["receipt"]
# tolerance: 0.12
print(f"from 30 pages, the loop finds {ends['the loop'][1]:.2f} of the mathematics; "
      f"{1 - ends['the loop'][0]:.2f} of what it collects is something else")
receipt(
    spread={f"{name}, recall": [recall for _, recall in five[name]] for name in five},
    differences={"scores, slow and package": (difference, 1e-3),
                 "loop, pages": (max(others), 0)},
)

# %% [markdown]
# ## Summary
#
# From 30 pages, the loop finds **about 96 % of the crawl's mathematics, and less than a tenth of what it collects is something else** (means of five seeds). One round finds about three quarters, or about nine tenths at a lower precision if it may collect as many tokens. A list of keywords finds about as much as one round, but more than a third of its pages are something else. Without its reviewer the loop finds no more than one round, and the classifier's main work is to tell the reviewer where to look. Where only 0.7 % of the pages are mathematics, the same cut gives a harvest that is mostly something else. A strict cut together with the loop does better: on average seven tenths of its harvest are mathematics. But with two of five seeds it found less than half of what there was.
#
# - I can now turn a page into a bag of hashed words, and train a classifier on 30 of them.
# - I can now choose a cut without labels, by pages that the classifier has not seen.
# - I can now run DeepSeekMath's loop, and say what each of its parts contributes.
# - I can now say what a precision means at another prevalence, and distrust figures from balanced test sets.
#
# To mine a crawl of your own: `minidsk mine --input crawl.warc.gz --seed-pages seed.jsonl --output corpus/`. A crawl of 10 GB needs less than 1 GiB of memory. To train a model on what it found: `minidsk pretrain --harvest corpus/ --out runs/maths/base`. The run remembers its harvest.

# %% [markdown]
# ## Read on
#
# - DeepSeekMath {cite}`deepseekmath`, section 2.1 has the loop, and section 2.2 compares the corpus with others.
# - OpenWebMath {cite}`paster2023openwebmath` is the seed, and shows how to keep formulas when HTML becomes text.
# - fastText {cite}`joulin2016fasttext` is four pages long.
# - [Chapter 06](06_pretraining.ipynb) puts a corpus to work.
