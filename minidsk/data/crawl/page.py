"""A page of a crawl, and why one may not be read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """One page as it was fetched.

    url: its address. html: its bytes. license: a name or an address, "" where the page states none.
    origin: the package whose documentation it is, "" where that is not known (a page of the real web).
    """

    url: str
    html: bytes
    license: str = ""
    origin: str = ""


class CrawlError(ValueError):
    """A crawl cannot be read at all; the message names it, the reason and the remedy."""
