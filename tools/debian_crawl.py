"""A larger crawl than the default one: the HTML manuals of Debian's documentation packages, as one WARC file.

On a Debian system with apt, in about two minutes: 7,000 pages, of which a third is mathematics. Nothing is installed,
and the packages are thrown away again.

    python tools/debian_crawl.py runs/debian.warc.gz
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from minidsk.data.crawl import Page, is_mathematics, read_crawl, write_crawl

PACKAGES = (
    "maxima-doc", "gap-doc", "python-sympy-doc", "python-mpmath-doc", "libflint-doc", "giac-doc", "octave-doc",
    "git-doc", "postgresql-doc", "apache2-doc", "python3-doc", "sqlite3-doc", "python-django-doc",
    "debian-reference-en",
)  # fmt: skip
# Pages that send the reader on, lists of names, and copies of source.
_NO_PAGE = re.compile(rb"http-equiv=.?refresh|This file redirects", re.IGNORECASE)
_NO_NAME = re.compile(r"genindex|py-modindex|search\.html|/_sources/|/_static/|_source\.html|/_modules/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path, help="the WARC file to write")
    parser.add_argument("--packages", nargs="*", default=PACKAGES, help="Debian packages, all of them by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pages = [page for name in given.packages for page in manual(name, Path(folder))]
        write_crawl(given.output, sorted(pages, key=lambda page: hashlib.blake2b(page.url.encode()).digest()))
    every = Counter(page.origin for page in read_crawl(given.output))
    mathematics = Counter(page.origin for page in read_crawl(given.output) if is_mathematics(page))
    for name, count in every.most_common():
        print(f"{name:22}{count:6,} pages{mathematics[name]:6,} mathematics")
    print(f"{given.output}: {every.total():,} pages, {mathematics.total() / every.total():.1%} mathematics")


def manual(package: str, folder: Path) -> Iterator[Page]:
    """The pages of a package, or of the package that it stands for: postgresql-doc is the newest version's."""
    root = unpack(package, folder)
    files = sorted(path for path in root.rglob("*.html") if path.is_file() and not path.is_symlink())
    if not files:
        for real in re.findall(r"Depends: (\S+-doc\S*)", run("apt-cache", "depends", package)):
            root = unpack(real, folder)
            files += sorted(path for path in root.rglob("*.html") if path.is_file() and not path.is_symlink())
    if not files:
        raise SystemExit(f"{package}: has no HTML; leave it out with --packages")
    base, license = Path(os.path.commonpath([path.parent for path in files])), license_of(root)
    for path in files:
        html = path.read_bytes()
        name = path.relative_to(base).as_posix()
        if not _NO_NAME.search(f"/{name}") and not _NO_PAGE.search(html[:4096]):
            yield Page(f"https://{package}.debian.local/{name}", html, license, package)


def unpack(package: str, folder: Path) -> Path:
    """Download a package and unpack it, without installing it."""
    run("apt-get", "download", package, cwd=folder)
    archive = next(folder.glob(f"{package}_*.deb"))
    run("dpkg", "-x", str(archive), str(folder / package))
    archive.unlink()
    return folder / package


def license_of(root: Path) -> str:
    """The first licence that the package's copyright file names."""
    for path in root.glob("usr/share/doc/*/copyright"):
        found = re.search(r"^License: *(\S+)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if found:
            return found[1]
    return "see the package's copyright file"


def run(*command: str, cwd: Path | None = None) -> str:
    try:
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip().split("\n")[-1]
        raise SystemExit(f"{' '.join(command[:3])}: {reason}; it needs Debian, and apt-get update before") from error


if __name__ == "__main__":
    main()
