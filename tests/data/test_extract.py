"""From pages to documents: formulas, links, encodings, pages that nobody can read, duplicates, evaluation problems."""

import multiprocessing
import random
from collections import Counter

import pytest

from minidsk.data.crawl import CrawlError, Page, write_crawl
from minidsk.data.decontaminate import Decontamination
from minidsk.data.duplicates import Seen
from minidsk.data.extract import Document, documents, extract, extracted

TEXT = (
    "Every finite integral domain is a field, because multiplication by an element that is not zero is injective, "
    "and an injective map of a finite set into itself reaches each of its elements, the unit among them."
)
WORDS = sorted(set(TEXT.lower().replace(",", "").replace(".", "").split()))


REASONS = ("hardly any text", "not text", "over 100,000 tags", "nested over 256 deep")


def page(body, url="https://a.example/x/y.html", origin=""):
    """A page of ours around some HTML."""
    html = body if isinstance(body, bytes) else f"<html><body>{body}</body></html>".encode()
    return Page(url, html, "", origin)


def sentence(seed, words=300):
    """Words in an order of their own."""
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def why(html):
    """The reason for which a page is skipped; the page has no document then."""
    skipped = Counter()
    assert extract(page(html), skipped) is None
    assert skipped.total() == 1
    return next(iter(skipped))


@pytest.mark.parametrize(
    ("html", "tex"),
    [
        (r"<p>so \(x^2\) and $$y_1$$", r"so \(x^2\) and $$y_1$$"),
        ('<script type="math/tex">x^2</script>', "$x^2$"),
        ('<script type="math/tex; mode=display">x^2</script>', "$$x^2$$"),
        ('<span class="MathJax">drawn</span><script type="math/tex">x^2</script>', "$x^2$"),
        ('<math alttext="x^2"><msup><mi>x</mi><mn>2</mn></msup></math>', "$x^2$"),
        ('<math display="block"><semantics><mi>no</mi><annotation encoding="application/x-tex">x^2</annotation>'
         "</semantics></math>", "$$x^2$$"),
        ("<math><mi>x</mi> <mo>+</mo> <mi>y</mi></math>", "$x + y$"),
        ('<span class="katex"><span class="katex-mathml"><math><semantics><mi>x</mi><annotation '
         'encoding="application/x-tex">x^2</annotation></semantics></math></span><span class="katex-html">x2</span>'
         "</span>", "$x^2$"),
        ('<img class="math" src="a.png" alt="x^2">', "x^2"),
    ],
)  # fmt: skip
def test_formulas_are_kept_once(html, tex):
    document = extract(page(f"<p>{TEXT} A formula: {html} end."))
    assert document.text.replace("\n", " ").split("A formula:")[1].split() == f"{tex} end.".split()


def test_the_main_content_stays_and_what_surrounds_it_goes():
    document = extract(page(f"<nav><a href='/z'>Home page</a></nav><main><p>{TEXT}</p></main><script>var x</script>"))
    assert document.text == TEXT


def test_links_are_absolute_and_stand_once():
    links = ["z.html#part", "z.html", "/top", "//b.example/", "mailto:a@b.example", "javascript:f()", "http://[", "#x"]
    document = extract(page(f"<p>{TEXT}" + "".join(f'<a href="{link}">more</a>' for link in links)))
    assert document.links == ("https://a.example/x/z.html", "https://a.example/top", "https://b.example/")


def test_language_and_origin():
    german = "Jede stetige Funktion auf einem abgeschlossenen Intervall ist beschränkt und nimmt ihr Maximum an. " * 3
    assert extract(page(f"<p>{TEXT}")).language == "en"
    assert extract(page(f"<p>{german}")).language == "de"
    assert extract(page(f"<p>{TEXT}")).mathematics is None
    assert extract(page(f"<p>{TEXT}", "https://d.local/sympy/sets/sets.html", "sympy")).mathematics is True
    assert extract(page(f"<p>{TEXT}", "https://d.local/sympy/printing/latex.html", "sympy")).mathematics is False


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1", "cp1252", "koi8-r", "shift_jis", "iso2022_jp"])
def test_encodings(encoding):
    words = {
        "koi8-r": "Всякая конечная область целостности есть поле. ",
        "shift_jis": "有限の整域は体である。",
        "iso2022_jp": "有限の整域は体である。",
    }.get(encoding, "Größe, Fläche, größer als jede Fläche? ")
    name = encoding.replace("iso2022_jp", "iso-2022-jp")
    body = f'<html><head><meta charset="{name}"></head><p>{words * 20}</html>'
    assert extract(page(body.encode(encoding))).text == (words * 20).strip()


def test_what_a_page_says_of_its_encoding_goes_before_what_its_bytes_look_like():
    assert extract(page(f"<meta charset=koi8-r><p>{TEXT} Да".encode("koi8-r"))).text.endswith("Да")


def test_a_damaged_character_is_replaced_and_no_other():
    html = f"<meta charset=utf-8><p>{TEXT} Größe".encode() + b"\xff und mehr \xc3"
    assert extract(page(html)).text == f"{TEXT} Größe\ufffd und mehr \ufffd"


@pytest.mark.parametrize("name", ["utf-7", "no-such-thing", "utf-16", "\0", "x" * 5000, "base64", "rot13", "idna"])
def test_an_encoding_that_does_not_exist_does_no_harm(name):
    html = f"<meta charset='{name}'><p>{TEXT}".encode() + b"\xff"
    extract(page(html), Counter())
    assert extract(page(f"<meta charset='{name}'><p>{TEXT}")).text.endswith(TEXT)


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        (b"", "hardly any text"),
        (b"<html></html>", "hardly any text"),
        (b"<frameset><frame src=a></frameset>", "hardly any text"),
        ("<p>Next: Sets, Previous: Rings", "hardly any text"),
        (bytes(5000), "not text"),
        (random.Random(0).randbytes(5000), "not text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "not text"),
        ("<div>" * 100_000 + TEXT, "over 100,000 tags"),
        ("<div>" * 90_000 + TEXT, "nested over 256 deep"),
        ("<b><i>" * 40_000 + TEXT, "nested over 256 deep"),
        ("<div/>" * 300 + TEXT, "nested over 256 deep"),
        ("<ul><li>" * 300 + TEXT, "nested over 256 deep"),
        (("<table><tr><td>" * 300 + TEXT).encode("utf-16"), "nested over 256 deep"),
    ],
    ids=lambda value: value if value in REASONS else "page",
)  # fmt: skip
def test_what_cannot_be_read_is_skipped_with_its_reason(html, reason):
    assert why(html) == reason


FLAT = ["<p>x" * 30_000, "<li>x" * 30_000, "<br/>" * 9000, "<a name=x />hi " * 9000, "<div>" * 100 + "</div>" * 100,
        "<svg>" + "<path d='M0'/>" * 900 + "</svg>"]  # fmt: skip


@pytest.mark.parametrize("html", FLAT, ids=lambda html: html[:4])
def test_many_tags_are_not_deep(html):
    assert extract(page(f"<p>{TEXT}</p>{html}")) is not None


def test_one_long_line_and_many_formulas_are_read():
    assert len(extract(page("<p>" + "word " * 1_000_000)).text) == 4_999_999
    assert extract(page("<p>" + '<math alttext="x">x</math> ' * 20_000)).text.split() == ["$x$"] * 20_000


# Duplicates.


def test_duplicates_are_told_from_what_is_only_similar():
    seen, text = Seen(), sentence(1)
    assert seen.add(text) is None
    assert seen.add(text.upper().replace(" ", ",\n")) == "exact duplicate"
    words = text.split()
    words[150] = "another"
    assert seen.add(" ".join(words)) == "near duplicate"
    for k in range(0, 300, 6):
        words[k] = "other"
    assert seen.add(" ".join(words)) is None  # the same but for every sixth word: next to no five in a row
    assert all(seen.add(sentence(seed)) is None for seed in range(2, 200))
    assert seen.add("two words") is None
    assert seen.add("Two, words!") == "exact duplicate"
    assert seen.add("") is None


def test_how_much_two_texts_share_decides():
    """Of 100 pairs each, by the share of five words in a row that both have: found, or not."""

    def found(changed):
        hits = 0
        for seed in range(100):
            seen, words = Seen(), sentence(seed, 400).split()
            seen.add(" ".join(words))
            for k in random.Random(seed).sample(range(400), changed):
                words[k] = f"new{k}"
            hits += seen.add(" ".join(words)) == "near duplicate"
        return hits

    assert found(4) >= 95  # shares 0.9
    assert found(60) <= 2  # shares 0.25


# Evaluation problems.


def test_ten_words_of_a_problem_in_a_row_are_too_many():
    problem = "Ten friends share 12 apples and 7 pears; how many pieces of fruit does each friend get at most?"
    known = Decontamination([problem])
    run = "how many pieces of fruit does each friend get at most"
    assert known.holds_problem(f"And now, {run.upper()} of them")
    assert not known.holds_problem("And now, " + run.replace("fruit", "cake"))
    assert not known.holds_problem("how many pieces of fruit does each friend get")  # nine


def test_short_problems_have_to_be_there_whole_and_shorter_ones_do_not_count():
    known = Decontamination(["Compute 3+4*5.", "So what", ""])
    assert set(known.known) == {7}
    assert known.holds_problem("He said: compute 3 + 4 * 5. It is not hard")
    assert not known.holds_problem("Compute 3+4*6.")
    assert not known.holds_problem("So what")
    assert not Decontamination([]).holds_problem("anything")


# All of it.


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    """Sixty pages, of which one is a duplicate, one a near duplicate, one holds a problem and one is empty of text."""
    texts = [sentence(seed) for seed in range(60)]
    texts[10] = texts[3]
    texts[20] = texts[4].replace(" ", "  ", 9) + " more"
    texts[30] = f"{sentence(99, 100)} what is the seventh even number that is no square? {sentence(98, 100)}"
    texts[40] = "x"
    path = tmp_path_factory.mktemp("crawl") / "crawl.warc.gz"
    write_crawl(path, [page(f"<p>{text}", f"https://a.example/{i}") for i, text in enumerate(texts)])
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_documents_come_in_order_and_what_is_missing_is_counted(crawl, workers):
    skipped = Counter()
    found = list(documents(crawl, workers, skipped, problems=["What is the seventh even number that is no square?"]))
    assert [int(document.url[18:]) for document in found] == sorted(set(range(60)) - {10, 20, 30, 40})
    assert skipped == {"exact duplicate": 1, "near duplicate": 1, "evaluation problem": 1, "hardly any text": 1}
    assert found[0] == Document("https://a.example/0", sentence(0), (), found[0].language, None)


def test_duplicates_stay_where_they_are_asked_for(crawl):
    assert len(list(documents(crawl, duplicates=True))) == 59


def test_a_reader_who_has_enough_may_stop(crawl):
    found = documents(crawl, workers=2)
    assert next(found).url == "https://a.example/0"
    found.close()


def test_a_process_that_is_killed_is_said_in_a_line(monkeypatch):
    monkeypatch.setattr("minidsk.data.extract.BATCH", 1)
    batches = extracted((page(f"<p>{sentence(0)}", f"https://a.example/{i}") for i in range(1000)), 2)
    next(batches)
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(CrawlError, match="^workers: one of them was killed; give fewer"):
        list(batches)
