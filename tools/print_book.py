"""The whole book as one PDF: Sphinx writes one page, and Chromium prints it.

    python tools/print_book.py [TARGET]

The target is `_build/minidsk.pdf` unless given. Without a browser there is the page alone, `_build/singlehtml`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "_build" / "singlehtml" / "index.html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
FOOT = '<div style="width: 100%; font-size: 8px; text-align: center"><span class="pageNumber"></span></div>'


def build() -> None:
    """Write the one page, with warnings as errors. Raises `CalledProcessError`.

    Sphinx puts it where the first page of the book is, and its addresses begin a folder higher.
    """
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "--builder", "singlehtml",
               "-W", "-n", "--keep-going"]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True)
    shutil.move(PAGE.parent / "book" / "intro.html", PAGE)


def print_page(browser: str, page: Path, target: Path) -> None:
    """Print a page to a PDF, formulas and all; the target is there as a whole or not at all."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        tab = chromium.new_page(color_scheme="light")
        tab.set_default_timeout(600_000)
        tab.goto(page.as_uri(), wait_until="load")
        tab.wait_for_function("!document.querySelector('.math') || window.MathJax?.startup?.promise !== undefined")
        tab.evaluate("() => window.MathJax?.startup?.promise")
        part = target.with_name(f"{target.name}.part")
        tab.pdf(path=part, prefer_css_page_size=True, display_header_footer=True, header_template="<i></i>",
                footer_template=FOOT, outline=True, tagged=True)  # fmt: skip
        part.replace(target)
        chromium.close()


def main() -> int:
    """Build, and print where there is a browser."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "_build" / "minidsk.pdf").resolve()
    build()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no browser to make a PDF: install chromium, or print {PAGE} from a browser of yours")
        return 1
    print_page(browser, PAGE, target)
    print(f"{target}: {target.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
