"""The folder of a crawl's documents: the same whether gathered at once or in sittings, and nothing lost between."""

import json

import numpy as np
import pytest

from minidsk.data.classifier import Bags, ClassifierConfig, bag, train_classifier
from minidsk.data.crawl import Page, read_crawl, write_crawl
from minidsk.data.extract import extract
from minidsk.data.store import Store

CONFIG = ClassifierConfig(buckets=256)
WHO = {"crawl": "a", "seed": "b"}


@pytest.fixture
def crawl(tmp_path):
    """Twelve pages, of which one says what another says."""
    words = [f"word{letter}" for letter in "abcdefghijkl"]  # no digits: numbers count as one word, whatever their value
    texts = [" ".join(words[(i + k * (i + 1)) % 12] for k in range(40)) for i in range(11)]
    pages = [Page(f"https://h{i % 3}.example/a/{i}", f"<html><body><p>{text}</p></body></html>".encode(),
                  origin="sympy" if i < 3 else "rich") for i, text in enumerate([*texts, texts[4]])]  # fmt: skip
    write_crawl(tmp_path / "c.warc.gz", pages)
    return tmp_path / "c.warc.gz"


def nothing(pages, documents):
    pass


def content(folder):
    names = ("documents.jsonl", "buckets.bin", "weights.bin", "facts.bin")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr("minidsk.data.extract.BATCH", 1)
    monkeypatch.setattr("minidsk.data.store._EVERY", 0)


def test_it_holds_the_documents_and_their_bags(crawl, tmp_path):
    store = Store(tmp_path / "s", WHO, CONFIG)
    skipped = store.gather(crawl, 1, {"https://h0.example/a/3"}, nothing)
    assert skipped["in the seed"] == 1
    assert skipped["exact duplicate"] == 1
    found, lines = store.crawl(), list(store.lines())
    assert len(found) == len(lines) == 10
    assert found.urls == [line["url"] for line in lines]
    wanted = {page.url: extract(page).language for page in read_crawl(crawl)}
    assert [line["language"] for line in lines] == [wanted[url] for url in found.urls]
    for i, line in enumerate(lines):
        buckets, weights = bag(line["text"], CONFIG)
        part = slice(found.bags.starts[i], found.bags.starts[i + 1])
        assert np.array_equal(found.bags.buckets[part], buckets)
        assert np.array_equal(found.bags.weights[part], weights)
    assert len({tuple(bag(line["text"], CONFIG)[0]) for line in lines}) == 10


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("after", [1, 5, 11])
def test_interrupted_and_taken_up_again_it_is_the_same(crawl, tmp_path, after):
    whole = Store(tmp_path / "whole", WHO, CONFIG)
    wanted = whole.gather(crawl, 1, set(), nothing)

    def stop(pages, documents):
        if pages >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "parts", WHO, CONFIG).gather(crawl, 1, set(), stop)
    for name in content(tmp_path / "parts"):  # a kill in the middle of writing
        with (tmp_path / "parts" / name).open("ab") as file:
            file.write(b"half a li")
    again = Store(tmp_path / "parts", WHO, CONFIG)
    assert again.state["pages"] == after
    shown = []
    assert again.gather(crawl, 1, set(), lambda pages, documents: shown.append(pages)) == wanted
    assert min(shown, default=12) > after or after == 11
    assert content(tmp_path / "parts") == content(tmp_path / "whole")
    assert Store(tmp_path / "parts", WHO, CONFIG).whole


def test_a_folder_of_another_crawl_is_left_alone(crawl, tmp_path):
    Store(tmp_path / "s", WHO, CONFIG).gather(crawl, 1, set(), nothing)
    before = content(tmp_path / "s")
    with pytest.raises(ValueError, match="holds documents of another crawl; give another --output"):
        Store(tmp_path / "s", {**WHO, "crawl": "other"}, CONFIG)
    assert content(tmp_path / "s") == before


def test_damage_is_named(crawl, tmp_path):
    Store(tmp_path / "s", WHO, CONFIG).gather(crawl, 1, set(), nothing)
    (tmp_path / "s" / "weights.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="weights.bin: damaged; delete"):
        Store(tmp_path / "s", WHO, CONFIG)
    (tmp_path / "s" / "state.json").write_text("[" * 9)
    with pytest.raises(ValueError, match="state.json: damaged; delete"):
        Store(tmp_path / "s", WHO, CONFIG)


def test_a_crawl_without_pages_is_empty(tmp_path):
    write_crawl(tmp_path / "none.warc.gz", [Page("https://a.example/", b" ")])
    store = Store(tmp_path / "s", WHO, CONFIG)
    store.gather(tmp_path / "none.warc.gz", 1, set(), nothing)
    assert len(store.crawl()) == 0
    assert json.loads((tmp_path / "s" / "state.json").read_text())["whole"]


def test_bags_are_read_a_piece_at_a_time(crawl, tmp_path, monkeypatch):
    store = Store(tmp_path / "s", WHO, CONFIG)
    store.gather(crawl, 1, set(), nothing)
    bags = store.crawl().bags
    held = Bags.join(bag(line["text"], CONFIG) for line in store.lines())
    counts, read = [], np.fromfile

    def watched(*words, **options):
        found = read(*words, **options)
        counts.append(len(found))
        return found

    monkeypatch.setattr(np, "fromfile", watched)
    model = train_classifier(held, [1] * 5 + [0] * 6, CONFIG)
    assert model(bags, rows=2).tolist() == model(held, rows=2).tolist()
    assert max(counts) <= 2 * np.diff(held.starts).max() < len(held.buckets) / 2
    some = bags.take([7, 2])
    assert some.buckets.tolist() == held.take([7, 2]).buckets.tolist()
    assert len(bags + some) == 13
