"""Crawls: pages as they were fetched, in files as Common Crawl publishes them."""

from minidsk.data.crawl.local import default_crawl, local_pages
from minidsk.data.crawl.origin import is_mathematics
from minidsk.data.crawl.page import CrawlError, Page
from minidsk.data.crawl.warc import read_crawl, write_crawl

__all__ = ["CrawlError", "Page", "default_crawl", "is_mathematics", "local_pages", "read_crawl", "write_crawl"]
