"""Which pages are mathematics, known from where they come from: the truth that a harvest is measured against.

A page is mathematics when what it documents is a mathematical object or a computation with one: numbers, functions,
equations, matrices, sets, graphs, distributions, proofs. It is not when it documents the program around these: how
formulas are printed, parsed, drawn, cached, turned into code or kept in a file; nor when it documents arrays or tensors
as such, or any other software. The rule follows the modules of a package, and the pages of a manual.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from minidsk.data.crawl.page import Page


@dataclass(frozen=True)
class Rule:
    """Of one package, the parts that are mathematics, and those within them that are not; "" is all of it."""

    inside: str
    outside: str = ""

    def holds(self, name: str) -> bool:
        """For the page of this dotted name."""
        return _among(name, self.inside.split() or [""]) and not _among(name, self.outside.split())


def is_mathematics(page: Page) -> bool:
    """Whether the page's subject is mathematics, by the package and the module that it documents; see `RULES`."""
    rule = RULES.get(page.origin)
    name = urlsplit(page.url).path.strip("/").removesuffix(".html").replace("/", ".")
    return rule is not None and rule.holds(name)


def _among(name: str, parts: list[str]) -> bool:
    return any(not part or f"{name}.".startswith(f"{part}.") for part in parts)


# Chapters 17, 18, 20 and 23 to 31 of its manual, with some sections of 21 and 22.
_OCTAVE = """
    Arithmetic Exponents-and-Logarithms Complex-Arithmetic Trigonometry Sums-and-Products Utility-Functions
    Special-Functions Rational-Approximations Coordinate-Transformations Mathematical-Constants Linear-Algebra
    Techniques-Used-for-Linear-Algebra Basic-Matrix-Functions Matrix-Factorizations Functions-of-a-Matrix
    Specialized-Solvers Nonlinear-Equations Solvers Minimizers Matrix-Algebra Sparse-Linear-Algebra
    Iterative-Techniques Numerical-Integration Functions-of-One-Variable Orthogonal-Collocation
    Functions-of-Multiple-Variables Differential-Equations Ordinary-Differential-Equations
    Differential_002dAlgebraic-Equations Matlab_002dcompatible-solvers Optimization Linear-Programming
    Quadratic-Programming Nonlinear-Programming Linear-Least-Squares Statistics Descriptive-Statistics
    Statistics-on-Sliding-Windows-of-Data Basic-Statistical-Functions Correlation-and-Regression-Analysis
    Distributions Random-Number-Generation Sets Set-Operations Polynomial-Manipulations Evaluating-Polynomials
    Finding-Roots Products-of-Polynomials Derivatives-_002f-Integrals-_002f-Transforms Polynomial-Interpolation
    Miscellaneous-Functions Interpolation One_002ddimensional-Interpolation Multi_002ddimensional-Interpolation
    Geometry Delaunay-Triangulation Voronoi-Diagrams Convex-Hull Interpolation-on-Scattered-Data
    Vector-Rotation-Matrices Signal-Processing
"""

# Packages that are not named here have no page of mathematics.
RULES = {
    "stdlib": Rule("math cmath statistics fractions"),
    "sympy": Rule(
        "sympy",
        """sympy.printing sympy.parsing sympy.codegen sympy.utilities sympy.testing sympy.external sympy.interactive
        sympy.plotting sympy.multipledispatch sympy.strategies sympy.deprecated sympy.sandbox sympy.unify
        sympy.core.backend sympy.core.cache sympy.core.compatibility sympy.core.coreerrors sympy.core.decorators
        sympy.core.kind sympy.core.parameters sympy.core.random sympy.core.rules sympy.core.singleton
        sympy.core.sorting sympy.core.sympify sympy.core.traversal sympy.polys.polyconfig sympy.polys.polyerrors
        sympy.polys.polyutils sympy.polys.numberfields.exceptions sympy.physics.units sympy.abc sympy.galgebra
        sympy.conftest sympy.release sympy.this""",
    ),
    "mpmath": Rule("mpmath", "mpmath.visualization mpmath.usertools mpmath.libmp.backend"),
    "numpy": Rule("numpy.linalg numpy.fft numpy.polynomial numpy.lib._polynomial_impl numpy.lib._scimath_impl"),
    "torch": Rule("torch.linalg torch.special torch.fft torch.distributions"),
    "networkx": Rule("networkx.algorithms networkx.generators networkx.linalg"),
    # Packages of Debian, see tools/debian_crawl.py.
    "maxima-doc": Rule(""),
    "gap-doc": Rule("gap.doc.ref gap.doc.tut"),  # not the manual of its parallel version
    "libflint-doc": Rule("", "building contributing portability threading memory configuration"),
    "giac-doc": Rule("", "en.casinter"),  # of its windows and buttons
    "python-mpmath-doc": Rule("", "setup plotting"),
    "python-sympy-doc": Rule(
        "modules tutorials.intro-tutorial tutorial guides.solving guides.assumptions",
        """modules.printing modules.parsing modules.codegen modules.utilities modules.testing modules.interactive
        modules.plotting modules.physics.units modules.core.cache modules.index
        tutorials.intro-tutorial.printing""",
    ),
    "python3-doc": Rule("library.math library.cmath library.statistics library.fractions"),
    "octave-doc": Rule(" ".join(f"octave.html.{node}" for node in _OCTAVE.split())),
}
