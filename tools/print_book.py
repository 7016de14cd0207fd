"""The whole book as one PDF: Sphinx writes one page, and Chromium prints it.

    python tools/print_book.py [TARGET]

The target is `_build/minidsk.pdf` unless given. Without a browser there is the page alone, in `_build/singlehtml`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("_build") / "singlehtml" / "index.html"  # in the folder into which the book is built
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
FOOT = '<div style="width: 100%; font-size: 8px; text-align: center"><span class="pageNumber"></span></div>'


def build(folder: Path) -> None:
    """Write the one page, with warnings as errors. Raises `CalledProcessError`.

    Sphinx puts the page where the first one of the book is, while its addresses begin a folder higher.
    """
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", ".", "--path-output", str(folder),
               "--builder", "singlehtml", "-W", "-n", "--keep-going"]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True)
    shutil.move(folder / PAGE.parent / "book" / "intro.html", folder / PAGE)


def print_page(browser: Browser, page: Path, target: Path) -> None:
    """Print a page to a PDF, formulas and all; the target is there as a whole or not at all."""
    tab = browser.new_page(color_scheme="light")
    tab.set_default_timeout(600_000)
    tab.goto(page.as_uri(), wait_until="load")
    part = target.with_name(f"{target.name}.part")
    tab.pdf(path=part, prefer_css_page_size=True, display_header_footer=True, header_template="<i></i>",
            footer_template=FOOT, outline=True, tagged=True)  # fmt: skip
    part.replace(target)
    tab.close()


def main() -> int:
    """Build, and print where there is a browser."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "_build" / "minidsk.pdf").resolve()
    build(ROOT)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no browser to make a PDF: install chromium, or print {ROOT / PAGE} from a browser of yours")
        return 1
    with sync_playwright() as playwright:
        print_page(playwright.chromium.launch(executable_path=browser, args=FLAGS), ROOT / PAGE, target)
    print(f"{target}: {target.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
