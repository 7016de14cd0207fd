"""Which chapters use which names of the package: read off the imports in the notebooks' code, without running it."""

from __future__ import annotations

import ast
import inspect
import json
import re
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx

PACKAGE = "minidsk"


def chapters(app: Sphinx) -> dict[str, list[str]]:
    """For each name of the package, and for its module, the notebooks of the book that use it, in order."""
    found: dict[str, list[str]] = {}
    for docname in sorted(app.env.found_docs):
        if docname.startswith("notebooks/"):
            names = used(code(Path(app.srcdir) / f"{docname}.ipynb"))
            for name in names | {module_of(name) for name in names}:
                found.setdefault(name, []).append(docname)
    return found


def code(notebook: Path) -> str:
    """The Python of a notebook, without the lines that are IPython's."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", text)


def used(source: str) -> set[str]:
    """The names that a piece of Python imports from the package, or takes from a module of it, as they are defined."""
    found, ours = set(), {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = {alias.asname or PACKAGE: alias.name if alias.asname else PACKAGE
                     for alias in node.names if alias.name.split(".")[0] == PACKAGE}  # fmt: skip
            ours |= named
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            ours |= {alias.asname or alias.name: home(node.module or "", alias.name) for alias in node.names}
            found |= {home(node.module or "", alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, *path = ast.unparse(node).split(".")
            if owner in ours:
                found.add(follow(ours[owner], path))
    return found - {PACKAGE}


def follow(owner: str, path: list[str]) -> str:
    """Where `path` leads from a module; a class or a function is its own end."""
    for name in path:
        try:
            owner = home(owner, name)
        except ImportError:
            break
    return owner


def home(module: str, name: str) -> str:
    """Where a name that `module` offers is defined: ``"minidsk.hub.zoo.load"`` for `load` of ``minidsk``."""
    owner = import_module(module)
    value = getattr(owner, name, None)
    if value is None or inspect.ismodule(value):
        return import_module(f"{module}.{name}").__name__ if value is None else value.__name__
    if not hasattr(value, "__qualname__"):  # a constant
        return f"{module}.{name}"
    return f"{value.__module__}.{value.__qualname__}"


def module_of(name: str) -> str:
    """The module of a dotted name."""
    while True:
        try:
            return import_module(name).__name__
        except ImportError:
            name = name.rpartition(".")[0]
