"""DeepSeekMath's loop, on a small crawl of pages that we write: what it collects, marks, reviews and counts."""

import dataclasses
import random

import numpy as np
import pytest
import torch

from minidsk.data import mining
from minidsk.data.classifier import Bags, ClassifierConfig, bag
from minidsk.data.harvest import Harvest, crawl_of, cut, read_pages
from minidsk.data.mining import (
    Crawl,
    MiningConfig,
    at_prevalence,
    cross_fit,
    cut_at,
    folders_of,
    groups,
    host_of,
    known_origin,
    mine,
    places_of,
    quality,
)  # fmt: skip
from minidsk.data.packing import PackedPages
from minidsk.data.tokenizer import CharTokenizer

CONFIG = MiningConfig(negatives=40, classifier=ClassifierConfig(buckets=4096))
# Two kinds of mathematics that share few words, as algebra and geometry do, and what else a crawl holds.
ALGEBRA = ["polynomial", "root", "degree", "factor", "ring", "ideal", "quotient", "kernel"]
GEOMETRY = ["circle", "angle", "tangent", "radius", "triangle", "chord", "arc", "plane"]
BOTH = ["theorem", "proof", "let", "hence", "equals", "lemma"]
OTHER = ["server", "header", "file", "socket", "parse", "client", "buffer", "thread", "request", "reply"]


class Document:
    def __init__(self, url, text, mathematics):
        self.url, self.text, self.mathematics = url, text, mathematics


def written(rng, kind, count=60):
    return " ".join(rng.choice(kind + (BOTH if kind is not OTHER else ["let", "the"])) for _ in range(count))


@pytest.fixture(scope="module")
def documents():
    rng = random.Random(0)
    found = [Document(f"https://algebra.example/a/{i}", written(rng, ALGEBRA), True) for i in range(30)]
    found += [Document(f"https://mixed.example/rings/{i}", written(rng, ALGEBRA), True) for i in range(8)]
    found += [Document(f"https://mixed.example/circles/{i}", written(rng, GEOMETRY), True) for i in range(20)]
    found += [Document(f"https://mixed.example/jobs/{i}", written(rng, OTHER), False) for i in range(12)]
    found += [Document(f"https://web{i % 9}.example/x/{i}", written(rng, OTHER), False) for i in range(130)]
    return found


@pytest.fixture(scope="module")
def seed():
    rng = random.Random(1)
    return Bags.join(bag(written(rng, ALGEBRA), CONFIG.classifier) for _ in range(12))


def run(crawl, seed, config=CONFIG, review=None):
    return list(mine(crawl, seed, review or known_origin(crawl), config, torch.Generator().manual_seed(0)))


def test_the_loop_reaches_what_the_seed_does_not_know(documents, seed):
    crawl = crawl_of(documents, CONFIG.classifier)
    rounds = run(crawl, seed)
    circles = ["/circles/" in url for url in crawl.urls]
    assert rounds[0].kept[circles].mean() < 0.2
    assert rounds[-1].kept[circles].all()
    assert rounds[-1].recall > 0.95 > rounds[0].recall
    assert rounds[-1].precision > 0.9
    assert "mixed.example" in rounds[0].marked
    assert not any(host.startswith("web") for host in rounds[0].marked)


def test_without_a_reviewer_there_is_no_second_kind(documents, seed):
    crawl = crawl_of(documents, CONFIG.classifier)
    rounds = run(crawl, seed, review=lambda place, pages: False)
    assert rounds[-1].recall < 0.8
    assert all(found.added == 0 for found in rounds)


def test_the_reviewer_sees_urls_of_marked_hosts_once(documents, seed):
    crawl, asked = crawl_of(documents, CONFIG.classifier), []

    def review(place, pages):
        asked.append(place)
        assert {places_of(crawl.urls)[i] for i in pages} == {place}
        return known_origin(crawl)(place, pages)

    rounds = run(crawl, seed, review=review)
    assert len(asked) == len(set(asked)) == rounds[-1].reviewed
    assert {place.split("/")[0] for place in asked} == {host for found in rounds for host in found.marked}


def test_figures_of_a_round_are_those_of_its_pages(documents, seed):
    crawl = crawl_of(documents, CONFIG.classifier)
    before = np.zeros(len(crawl), bool)
    for found in run(crawl, seed):
        truth = crawl.origin == 1
        assert found.pages == found.kept.sum()
        assert found.tokens == crawl.tokens[found.kept].sum()
        assert found.precision == pytest.approx((found.kept & truth).sum() / found.kept.sum())
        assert found.recall == pytest.approx((found.kept & truth).sum() / truth.sum())
        assert found.new == pytest.approx((found.kept & ~before).sum() / found.kept.sum())
        assert found.kept[found.scores >= found.cut].all()
        before = found.kept


def test_it_stops_when_hardly_anything_is_new(documents, seed):
    crawl = crawl_of(documents, CONFIG.classifier)
    rounds = run(crawl, seed)
    assert rounds[-1].new <= CONFIG.new
    assert all(found.new > CONFIG.new for found in rounds[:-1])
    assert len(run(crawl, seed, MiningConfig(rounds=1, classifier=CONFIG.classifier))) == 1


def test_labels_enter_by_the_review_alone(documents, seed):
    crawl = crawl_of(documents, CONFIG.classifier)
    blind = Crawl(crawl.urls, crawl.bags, crawl.tokens, np.full(len(crawl), -1, np.int8))
    one, other = run(crawl, seed), run(blind, seed, review=known_origin(crawl))
    assert all(np.array_equal(a.kept, b.kept) for a, b in zip(one, other, strict=True))
    assert other[-1].precision is None
    assert other[-1].recall is None


def test_the_same_generator_gives_the_same_harvest(documents, seed):
    crawl = crawl_of(documents, CONFIG.classifier)
    one, other = run(crawl, seed), run(crawl, seed)
    assert [r.cut for r in one] == [r.cut for r in other]


def test_a_budget_is_kept(documents, seed):
    crawl = crawl_of(documents, CONFIG.classifier)
    [found] = run(crawl, seed, MiningConfig(rounds=1, budget=1000, classifier=CONFIG.classifier))
    assert 800 < found.tokens <= 1000
    assert found.scores[found.kept].min() > found.scores[~found.kept].max()


def test_the_cut_of_a_budget():
    scores, tokens = np.array([0.1, 0.9, 0.5], np.float32), np.array([10, 20, 30])
    assert cut_at(scores, tokens, 20) == pytest.approx(0.9)
    assert cut_at(scores, tokens, 49) == pytest.approx(0.9)
    assert cut_at(scores, tokens, 50) == pytest.approx(0.5)
    assert cut_at(scores, tokens, 19) > 0.9


@pytest.mark.parametrize(("url", "host", "folders"), [
    ("https://Docs.Example.org/solvers/ode.html", "docs.example.org", ("solvers",)),
    ("https://docs.example.org/solvers/a/b.html?c=d/e#f/g", "docs.example.org", ("solvers", "a")),
    ("https://docs.example.org/index.html", "docs.example.org", ()),
    ("https://docs.example.org", "docs.example.org", ()),
    ("no url at all", "", ()),
    ("http://[broken/a/b", "", ()),
    ("", "", ()),
])  # fmt: skip
def test_hosts_and_folders(url, host, folders):
    assert host_of(url) == host
    assert folders_of(url) == folders


def test_a_place_is_where_the_folders_of_a_host_part():
    urls = ["http://a/en/sums/1", "http://a/en/sums/x/2", "http://a/en/news/3", "http://a/about", "http://b/en/sums/1"]
    assert places_of(urls) == ["a/en/sums", "a/en/sums", "a/en/news", "a", "b/en/sums"]
    assert places_of(["http://a/x/1", "http://a/y/z/2"]) == ["a/x", "a/y"]
    assert places_of([]) == []


def test_groups_number_the_pages():
    found = groups(["a", "b", "a"])
    assert {name: numbers.tolist() for name, numbers in found.items()} == {"a": [0, 2], "b": [1]}


def test_quality_leaves_out_what_nobody_knows():
    kept, origin = np.array([1, 1, 1, 0, 1], bool), np.array([1, 0, -1, 1, 1], np.int8)
    assert quality(kept, origin) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert quality(kept & False, origin) == (None, 0)


def test_precision_at_another_prevalence():
    kept = np.array([1] * 9 + [0] + [1] + [0] * 9, bool)
    origin = np.array([1] * 10 + [0] * 10, np.int8)
    assert at_prevalence(kept, origin, 0.5) == pytest.approx(0.9)
    assert at_prevalence(kept, origin, 0.01) == pytest.approx(0.009 / (0.009 + 0.099))
    # The same as a crawl in which each of the other pages stands eleven times.
    many = np.concatenate([np.arange(10), np.tile(np.arange(10, 20), 11)])
    assert at_prevalence(kept, origin, 10 / 120) == pytest.approx(quality(kept[many], origin[many])[0])
    assert at_prevalence(kept, np.ones(20, np.int8), 0.01) is None


def test_a_seed_that_is_too_small_is_refused(documents, seed):
    crawl = crawl_of(documents, CONFIG.classifier)
    with pytest.raises(ValueError, match="seed: 2 pages are too few; give 3 or more"):
        run(crawl, seed.take([0, 1]))


@pytest.mark.parametrize("field", [{"rounds": 0}, {"passing": 1.5}, {"budget": 0}, {"folds": 1}, {"marked": -0.1}])
def test_a_setting_that_does_not_fit_is_named(field):
    with pytest.raises(ValueError, match=f"{next(iter(field))}: .* does not fit"):
        MiningConfig(**field)


def test_a_harvest_is_a_corpus():
    texts = ["first line\nsecond line\n" * 40, "short"]
    corpus = Harvest(texts, piece=100)
    assert [corpus[i] for i in range(9)] == [corpus[i] for i in range(9)]
    assert {corpus[i] for i in range(200)} == set(corpus.pieces)
    assert max(map(len, corpus.pieces)) <= 100
    assert "".join(corpus.pieces).replace("\n", "") == "".join(texts).replace("\n", "")
    assert corpus.fingerprint != Harvest(texts[::-1], piece=100).fingerprint
    assert corpus.fingerprint != Harvest(texts, piece=90).fingerprint
    assert PackedPages(corpus, CharTokenizer(), 2, 16)[3].shape == (2, 17)
    other = Harvest(texts, piece=100, seed=1)
    assert other.fingerprint != corpus.fingerprint
    assert [other[i] for i in range(9)] != [corpus[i] for i in range(9)]
    with pytest.raises(ValueError, match="texts: hold nothing"):
        Harvest(["", "  "])


def test_a_strangers_page_ends_no_page():
    class Pages:
        fingerprint = "f"

        def __getitem__(self, i):
            return "x<eos><bos>y"

    packed = PackedPages(Pages(), CharTokenizer(), 1, 13, allow_special=False)[0][0].tolist()
    assert CharTokenizer().decode(packed) == "<bos>x<eos><bos>y<eos>"
    assert (packed.count(1), packed.count(2)) == (1, 1)


def test_a_page_is_scored_by_who_has_not_read_it():
    """Pages that share no word: whoever learned one knows it, who did not can say nothing of it but the bias."""
    words = [f"{a}{b}" for a in "abcdefgh" for b in "qrstuvwx"]
    bags = [bag(" ".join(3 * [word]), CONFIG.classifier) for word in words]
    crawl, seed = Bags.join(bags[:40]), Bags.join(bags[40:])
    added, others = np.arange(20), np.arange(20, 40)
    scores, held = cross_fit(crawl, seed, added, others, CONFIG, torch.Generator().manual_seed(0))
    assert abs(scores[added].mean() - scores[others].mean()) < 0.3
    assert abs(held.mean() - scores[others].mean()) < 0.3
    fold = dataclasses.replace(CONFIG, folds=2)
    unread, _ = cross_fit(crawl, seed, added[:10], others[:10], fold, torch.Generator().manual_seed(0))
    assert np.isfinite(unread).all()


def test_cutting_loses_nothing():
    assert cut("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]
    assert cut("aaaaaa\nbbbbbb", 10) == ["aaaaaa", "bbbbbb"]
    assert cut("aa\nbbbbbbbbbb", 10) == ["aa\nbbbbbbb", "bbb"]  # a line that ends too early is no place to cut
    assert cut("  ", 10) == []


def test_reading_pages(tmp_path):
    path = tmp_path / "seed.jsonl"
    path.write_text('{"url": "u", "text": "t", "round": 1}\n\n{"url": "v", "text": "w"}\n', encoding="utf-8")
    assert [page["url"] for page in read_pages(path)] == ["u", "v"]
    assert Harvest.read(path).pieces == ["t", "w"]
    with pytest.raises(ValueError, match="nowhere: no such file; give the folder that minidsk mine wrote"):
        Harvest.read(tmp_path / "nowhere")


@pytest.mark.parametrize(("line", "said"), [
    ("nothing", "no url and no text there"), ('{"url": "u"}', "no text there"), ("[1]", "no url and no text"),
    ('{"url": 3, "text": "t"}', "no url there"), ("[" * 100_000, "no url and no text"), ("", "holds no page"),
])  # fmt: skip
def test_a_line_that_is_no_page_is_named(tmp_path, line, said):
    path = tmp_path / "seed.jsonl"
    path.write_text(('{"url": "u", "text": "t"}\n' if line else "") + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=said) as caught:
        read_pages(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_round_learns_of_a_bounded_number_of_pages(documents, seed, monkeypatch):
    sizes = []
    train = mining.train_classifier
    monkeypatch.setattr(mining, "train_classifier", lambda bags, *rest: sizes.append(len(bags)) or train(bags, *rest))
    config = dataclasses.replace(CONFIG, positives=3, folds=2)
    rounds = run(crawl_of(documents, CONFIG.classifier), seed, config)
    assert rounds[0].added > 3
    assert [each.seed for each in rounds[:2]] == [len(seed), len(seed) + 3]
    assert sum(sizes[:2]) == len(seed) + 40  # each page in one of two halves
    assert sum(sizes[2:4]) == len(seed) + 3 + 40
