"""Which pages are mathematics, known from where they come from: the truth that a harvest is measured against."""

from __future__ import annotations

from urllib.parse import urlsplit

from minidsk.data.crawl.page import Page

# Of each package, the modules that are mathematics, and those within them that are not.
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "stdlib": (("math", "cmath", "statistics", "fractions"), ()),
    "sympy": (("sympy",), ("sympy.printing", "sympy.parsing", "sympy.codegen", "sympy.utilities", "sympy.testing",
                           "sympy.external", "sympy.interactive", "sympy.plotting", "sympy.assumptions.cnf",
                           "sympy.core.cache", "sympy.physics.units", "sympy.release", "sympy.this")),
    "mpmath": (("mpmath",), ("mpmath.visualization", "mpmath.usertools", "mpmath.rational")),
    "numpy": (("numpy.linalg", "numpy.fft", "numpy.polynomial"), ()),
    "torch": (("torch.linalg", "torch.special", "torch.fft", "torch.distributions"), ()),
    "networkx": (("networkx.algorithms", "networkx.generators", "networkx.linalg"), ()),
}  # fmt: skip


def is_mathematics(page: Page) -> bool:
    """Whether the page's subject is mathematics, by the package and the module that it documents."""
    inside, outside = RULES.get(page.origin, ((), ()))
    name = urlsplit(page.url).path.strip("/").removesuffix(".html").replace("/", ".")
    return _among(name, inside) and not _among(name, outside)


def _among(name: str, modules: tuple[str, ...]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)
