"""Real pages that every reader has: the documentation of the packages on their machine, as a small web of sites.

Each package is a site, each module a page with links to the modules around it. No page is passed on, because
the reader's machine makes the pages from what is installed on it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from html import escape
from importlib import metadata
from pathlib import Path

from minidsk.data.crawl.docstring import render
from minidsk.data.crawl.page import Page
from minidsk.data.crawl.source import Module, modules, read_module
from minidsk.data.crawl.warc import write_crawl

# All but the last four come with the package itself and with what it needs; the others with a notebook.
PACKAGES = (
    "stdlib", "sympy", "mpmath", "numpy", "torch", "networkx", "jinja2", "fsspec", "einops", "rich", "tqdm",
    "setuptools", "safetensors", "cloudpickle", "matplotlib", "IPython", "ipywidgets", "traitlets",
)  # fmt: skip
PAGES = 1000  # of the default crawl
SITE = 150  # pages of one package at most, so that no site is most of the crawl
SHORTEST, LONGEST = 600, 20_000  # characters of documentation on a page
_EDITION = 1  # of what `local_pages` makes: another number makes the default crawl anew


def local_pages(limit: int | None = None) -> Iterator[Page]:
    """The pages, at most `limit`, in an order that mixes the sites and is the same each time. About 10 s for all."""
    known = {package: modules(package) for package in PACKAGES}
    everything = {name: package for package, names in known.items() for name in names}
    count = dict.fromkeys(PACKAGES, 0)
    licenses = {package: license_of(package) for package in PACKAGES}
    made = 0
    for name in sorted(everything, key=_shuffled):
        package = everything[name]
        if count[package] == SITE or made == (PAGES if limit is None else limit):
            continue
        module = read_module(name, known[package][name])
        if module and module.length >= SHORTEST:
            count[package] += 1
            made += 1
            yield Page(address(name, package), _html(module, everything, licenses[package]), licenses[package], package)


def default_crawl(cache: str | Path | None = None) -> Path:
    """The WARC file of `local_pages`, made once and kept in the folder `cache`. About 1,000 pages.

    Without `cache` it is $MINIDSK_CACHE, or minidsk in the user's own folder for such files. The file's name says what
    it was made from, so that a new version of a package makes a new one.
    """
    versions = [(package, version_of(package)) for package in PACKAGES]
    name = hashlib.blake2b(repr((_EDITION, PAGES, versions)).encode(), digest_size=6).hexdigest()
    path = (Path(cache) if cache else cache_folder()) / f"crawl-{name}.warc.gz"
    if not path.exists():
        write_crawl(path, local_pages())
    return path


def cache_folder() -> Path:
    """Where files are kept that can be made again: $MINIDSK_CACHE, or the user's cache folder."""
    own = os.environ.get("MINIDSK_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(own) if own else Path(base) / "minidsk"


def address(name: str, package: str) -> str:
    """The page of a module: a site per package, a folder per level."""
    return f"https://docs.{package.lower()}.local/{name.replace('.', '/')}.html"


def license_of(package: str) -> str:
    """What the package says of its licence, in a word or two."""
    if package == "stdlib":
        return "PSF-2.0"
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return ""
    stated = next((about[name] for name in ("License-Expression", "License") if about[name]), "")
    kinds = [line.split(" :: ")[-1] for line in about.get_all("Classifier") or [] if line.startswith("License :: ")]
    return stated if stated and len(stated) < 120 and "\n" not in stated else ", ".join(kinds)


def version_of(package: str) -> str:
    """The version that is installed; of Python for the standard library, "" where there is none."""
    if package == "stdlib":
        return sys.version.split()[0]
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _shuffled(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _html(module: Module, everything: dict[str, str], license: str) -> bytes:
    """The page: links to the pages around it, the documentation, the licence."""
    parent = module.name.rpartition(".")[0]
    around = [parent, *(name for name in everything if name.rpartition(".")[0] == module.name)]
    links = [name for name in dict.fromkeys([*around, *module.imports]) if name in everything and name != module.name]
    anchors = "\n".join(f'<li><a href="{address(name, everything[name])}">{name}</a></li>' for name in links)
    body, seen, left = [render(module.text[:LONGEST])], set[str](), LONGEST - len(module.text)
    for member in module.members:
        if member.text not in seen and left > 0:
            seen.add(member.text)
            left -= len(member.text)
            heading = f"<h{member.level}><code>{escape(member.title)}</code></h{member.level}>"
            body.append(f"{heading}\n{render(member.text[:LONGEST])}")
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{module.name}</title></head>
<body>
<nav><ul>
{anchors}
</ul></nav>
<main>
<h1>{module.name}</h1>
{chr(10).join(body)}
</main>
<footer>Licence: {escape(license)}</footer>
</body>
</html>
""".encode()
