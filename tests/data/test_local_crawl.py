"""The crawl that every reader has: the documentation of installed packages, and which of it is mathematics."""

from collections import Counter
from urllib.parse import urlsplit

import pytest

from minidsk.data.crawl import Page, default_crawl, is_mathematics, local, local_pages, read_crawl
from minidsk.data.crawl.docstring import render
from minidsk.data.crawl.source import modules, read_module
from minidsk.data.extract import extract


@pytest.fixture(scope="module")
def pages():
    """The first pages of the default crawl."""
    return list(local_pages(150))


def test_the_same_pages_each_time_and_all_sites_mixed(pages):
    assert list(local_pages(40)) == pages[:40]
    assert len({page.url for page in pages}) == len(pages) == 150
    sites = Counter(urlsplit(page.url).hostname for page in pages)
    assert len(sites) >= 8
    assert max(sites.values()) < 50
    assert 0.15 < sum(map(is_mathematics, pages)) / len(pages) < 0.45


def test_every_page_becomes_a_document_of_moderate_length_with_links_and_licence(pages):
    documents = [document for page in pages if (document := extract(page))]
    assert len(documents) >= 147  # a page of nothing but a list looks like one of links
    assert all(500 < len(document.text) < 60_000 for document in documents)
    assert sum(bool(document.links) for document in documents) > 138
    assert all(page.license and page.origin for page in pages)
    addresses = {local.address(name, package) for package in local.PACKAGES for name in modules(package)}
    assert {link for document in documents for link in document.links if ".local/" in link} <= addresses


def test_the_default_crawl_is_made_once(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(local, "local_pages", lambda: made.append(1) or iter([Page("https://a.example/", b"<p>x")]))
    path = default_crawl(tmp_path)
    assert default_crawl(tmp_path) == path
    assert len(made) == 1
    assert [page.url for page in read_crawl(path)] == ["https://a.example/"]
    monkeypatch.setenv("MINIDSK_CACHE", str(tmp_path / "other"))
    assert default_crawl().parent == tmp_path / "other"
    monkeypatch.setattr(local, "version_of", lambda package: "another")
    assert default_crawl(tmp_path) != path


def test_a_module_is_read_without_being_imported(tmp_path):
    path = tmp_path / "thing.py"
    path.write_text(
        '"""The module."""\nimport os\nfrom . import near\nraise SystemExit\n'
        'def f(x, *, y=1):\n    """Of f."""\ndef _g():\n    """Hidden."""\ndef h(): pass\n'
        'class A(dict):\n    """Of A."""\n    def m(self):\n        """Of m."""\n'
        f'lu = add_docstr(_lu, """lu(A) {"words " * 20}""")\n'
    )
    module = read_module("package.thing", path)
    assert module.text == "The module."
    assert [(member.title, member.level) for member in module.members] == [
        ("f(x, *, y=1)", 2), ("class A(dict)", 2), ("m(self)", 3), ("lu", 2)]  # fmt: skip
    assert {"os", "package.near"} <= set(module.imports)
    path.write_text("def broken(:")
    assert read_module("package.thing", path) is None


def test_compiled_modules_of_the_standard_library_are_there():
    assert {"math", "cmath", "statistics", "json"} <= set(modules("stdlib"))
    assert any(member.title == "gcd()" for member in read_module("math", None).members)
    assert modules("no_such_package_here") == {}


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("One < two.", "<p>One &lt; two.</p>"),
        ("See `f` and ``g(x)`` and :func:`h`.", "<p>See <code>f</code> and <code>g(x)</code> and <code>h</code>.</p>"),
        (r"So :math:`x^2 < y` holds", r'<p>So <span class="math">\(x^2 &lt; y\)</span> holds</p>'),
        (r"So `\alpha^2` holds", r'<p>So <span class="math">\(\alpha^2\)</span> holds</p>'),
        (".. math::\n\n    x^2 < y", '<div class="math">\\[x^2 &lt; y\\]</div>'),
        (".. math:: x^2", '<div class="math">\\[x^2\\]</div>'),
        ("Examples\n========\n\n>>> 1 < 2\nTrue", "<h3>Examples</h3>\n<pre>&gt;&gt;&gt; 1 &lt; 2\nTrue</pre>"),
        ("As::\n\n    a = 1\n\nand", "<p>As::</p>\n<pre>a = 1</pre>\n<p>and</p>"),
        ("- one\n- two", "<ul>\n<li>one</li>\n<li>two</li>\n</ul>"),
        (".. versionadded:: 3.1\n\nText", "<p>Text</p>"),
        ("", ""),
    ],
)
def test_docstrings_become_html(text, html):
    assert render(text) == html


@pytest.mark.parametrize(
    ("package", "name", "expected"),
    [
        ("sympy", "sympy/polys/rings", True), ("sympy", "sympy/printing/latex", False), ("sympy", "sympy", True),
        ("sympy", "sympy/core/cache", False), ("sympy", "sympy/core/mul", True), ("numpy", "numpy/linalg", True),
        ("numpy", "numpy/linalg/_linalg", True), ("numpy", "numpy/lib/_npyio_impl", False), ("stdlib", "math", True),
        ("stdlib", "mathematics_not", False), ("stdlib", "json/encoder", False), ("torch", "torch/linalg", True),
        ("torch", "torch/nn/linear", False), ("networkx", "networkx/algorithms/clique", True),
        ("networkx", "networkx/readwrite/gml", False), ("git-doc", "git-add", False), ("", "math", False),
        ("gap-doc", "gap/doc/ref/chap30", True), ("octave-doc", "octave.html/Linear-Algebra", True),
        ("octave-doc", "octave.html/Plotting", False), ("maxima-doc", "maxima_12", True),
    ],
)  # fmt: skip
def test_what_is_mathematics(package, name, expected):
    assert is_mathematics(Page(f"https://docs.local/{name}.html", b"", "", package)) is expected
