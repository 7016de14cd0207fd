"""What a package says about itself: the docstrings of a module, read from its source without importing it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Modules of the standard library that are compiled, so that their source is nowhere to read.
COMPILED = ("math", "cmath", "itertools", "time", "sys", "gc", "marshal", "builtins", "atexit", "faulthandler")
_NO_FOLDER = {"tests", "test", "testing", "idle_test", "benchmarks", "site-packages", "dist-packages", "_vendor"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Member:
    """A function, a class or a method with its docstring. level: 2 in the module, 3 in a class."""

    title: str
    text: str
    level: int


@dataclass(frozen=True)
class Module:
    """A module's name, its docstring, its documented members in order, and the modules that it imports."""

    name: str
    text: str
    members: tuple[Member, ...]
    imports: tuple[str, ...]

    @property
    def length(self) -> int:
        """Characters of all docstrings."""
        return len(self.text) + sum(len(member.text) for member in self.members)


def modules(package: str) -> dict[str, Path | None]:
    """The names of a package's public modules and their files; "stdlib" is the standard library. Empty: not installed.

    numpy keeps its functions in modules whose names begin with an underscore, so there they are public.
    """
    if package == "stdlib":
        root, prefix = Path(sysconfig.get_paths()["stdlib"]), ""
    else:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            return {}
        root, prefix = Path(spec.submodule_search_locations[0]), f"{package}."
    found: dict[str, Path | None] = {}
    for path in sorted(_files(root)):
        parts = path.relative_to(root).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        private = any(part.startswith("_") for part in parts) and package != "numpy"
        if not private:
            found[(prefix + ".".join(parts)).rstrip(".")] = path
    found.pop("", None)
    return found | (dict.fromkeys(COMPILED) if package == "stdlib" else {})


def _files(root: Path) -> Iterator[Path]:
    """The Python files below a folder, but not in folders of tests or of other packages."""
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name not in _NO_FOLDER]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def read_module(name: str, path: Path | None) -> Module | None:
    """The module of this name, or None where its source cannot be read. `path` None: one of `COMPILED`."""
    if path is None:
        return _compiled(name)
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    return Module(name, ast.get_docstring(tree) or "", tuple(_own(tree)), tuple(sorted(_imports(tree, name, path))))


def _own(tree: ast.Module | ast.ClassDef, level: int = 2) -> Iterator[Member]:
    """The documented members that stand in the source: what is inherited or imported is documented where it stands."""
    for node in tree.body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            public = not node.name.startswith("_")
            text = ast.get_docstring(node)
            if public and text:
                yield Member(_title(node), text, level)
            if public and isinstance(node, ast.ClassDef) and level == 2:
                yield from _own(node, 3)
        elif isinstance(node, (ast.Assign, ast.Expr)) and isinstance(node.value, ast.Call):
            # torch and numpy document compiled functions so: name = add_docstr(function, "...").
            strings = [a.value for a in node.value.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if isinstance(node, ast.Assign) and strings and len(strings[-1]) > 80:
                yield Member(ast.unparse(node.targets[0]), inspect.cleandoc(strings[-1]), level)


def _title(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}({', '.join(map(ast.unparse, node.bases))})"
    return f"{node.name}({ast.unparse(node.args)})"


def _imports(tree: ast.Module, name: str, path: Path) -> set[str]:
    """Dotted names of the modules that the module's first level imports."""
    home = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def _compiled(name: str) -> Module:
    module = importlib.import_module(name)
    members = []
    for title, value in sorted(vars(module).items()):
        text = inspect.getdoc(value) if callable(value) and not title.startswith("_") else None
        if text:
            members.append(Member(f"{title}()", text, 2))
    return Module(name, inspect.getdoc(module) or "", tuple(members), ())
