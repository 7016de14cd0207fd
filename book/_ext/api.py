"""The API from the package's docstrings, with links to the source and back to the chapters that use a name.

A page says `<!-- api: model -->` where the modules of that room shall stand, `<!-- api: . -->` for those at the top of
the package. autodoc reads them; what is added here is the list of modules, the chapters (from the imports in the
notebooks' code), and the way from our docstrings to reStructuredText: a name in backticks is a link where it is public
and code where not, and lines such as ``scale: what the difference is divided by`` describe parameters.
"""

from __future__ import annotations

import inspect
import re
from functools import partial, reduce
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules, walk_packages
from typing import Any, NamedTuple

from chapters_of_names import PACKAGE, chapters
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

PLACE = re.compile(r"^<!-- api: (\S+) -->$", re.MULTILINE)
HIDDEN = re.compile(r"\._|\.sheets\b|\.bench\b")  # private modules, drawings, measurements
CODE = re.compile(r"(?<![`:])`([^`\n]+)`(?![`_])")
PARAMETER = re.compile(r"(\w+): (?=\S)")


class Known(NamedTuple):
    """The public names as docstrings may write them, with what they stand for; and who uses them."""

    names: dict[str, str]
    chapters: dict[str, list[str]]


def modules(room: str) -> list[str]:
    """The dotted names of a room's modules, first the package itself if it defines anything; ``.`` is the top."""
    package = import_module(PACKAGE if room == "." else f"{PACKAGE}.{room}")
    if room == ".":
        return [f"{PACKAGE}.{module.name}" for module in iter_modules(package.__path__) if not module.ispkg]
    found = [module.name for module in walk_packages(package.__path__, f"{package.__name__}.")]
    names = [package.__name__] if public(package.__name__) else []
    return [*names, *(name for name in found if not HIDDEN.search(name))]


def public(name: str) -> list[str]:
    """The functions and classes that a module defines itself, by their dotted names; what runs on a GPU is neither."""
    return [f"{name}.{key}" for key, value in vars(import_module(name)).items()
            if not key.startswith("_") and (inspect.isclass(value) or inspect.isroutine(value))
            and value.__module__ == name]  # fmt: skip


def rooms(app: Sphinx) -> list[str]:
    """The rooms that pages ask for."""
    pages = (Path(app.srcdir) / "book" / "api").glob("*.md")
    return [room for page in sorted(pages) for room in PLACE.findall(page.read_text(encoding="utf-8"))]


def prepare(app: Sphinx) -> None:
    """Find the public names, the classes that one word names without doubt, and the chapters that use them."""
    names = [name for room in rooms(app) for module in modules(room) for name in public(module)]
    short: dict[str, list[str]] = {}
    for name in names:
        if name.rpartition(".")[2][0].isupper():  # words such as `copy` mean other things too
            short.setdefault(name.rpartition(".")[2], []).append(name)
    clear = {key: found[0] for key, found in short.items() if len(found) == 1}
    app.known = Known({**clear, **{name: name for name in names}}, chapters(app))  # type: ignore[attr-defined]


def write_modules(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put a room's modules in their place on a page."""
    if not docname.startswith("book/api/"):
        return
    app.env.note_dependency(__file__)
    for path in (Path(app.srcdir) / "notebooks").glob("*.ipynb"):
        app.env.note_dependency(str(path))
    source[0] = PLACE.sub(lambda found: "\n".join(map(section, modules(found[1]))), source[0])


def section(module: str) -> str:
    """A module's part of a page, in Markdown."""
    return f"""
## `{module}`

```{{eval-rst}}
.. automodule:: {module}
   :members:
   :ignore-module-all:
   :no-value:
   :member-order: bysource
```
"""


def docstring(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Make reStructuredText of a docstring, and end it with the way back to the chapters."""
    known: Known = app.known  # type: ignore[attr-defined]
    here = name if what == "module" else name.rpartition(".")[0]
    given = parameters(value) if what != "module" else set()
    text = [CODE.sub(lambda found: reference(found[1], here, known, given), plain(line))
            for line in describe(lines, given)]  # fmt: skip
    where = known.chapters.get(name)
    if where:
        links = ", ".join(f":doc:`{docname[10:12]} </{docname}>`" for docname in where)
        text += ["", ".. container:: api-chapters", "", f"   Used in chapter{'s' * (len(where) > 1)} {links}.", ""]
    lines[:] = text


def plain(line: str) -> str:
    """A line whose bars outside of code are bars: reStructuredText would look for a substitution."""
    return "".join(part if k % 2 else part.replace("|", "\\|") for k, part in enumerate(re.split(r"(`+[^`]*`+)", line)))


def reference(text: str, here: str, known: Known, given: set[str]) -> str:
    """A link to a public name, of this module or its room before others, else code; parameters are code."""
    room = here.rpartition(".")[0]
    targets = (known.names.get(name) for name in (f"{here}.{text}", f"{room}.{text}", f"{PACKAGE}.{text}", text))
    target = None if text in given else next(filter(None, targets), None)
    return f":py:obj:`{text} <{target}>`" if target else f"``{text}``"


def parameters(value: Any) -> set[str]:
    """The parameters of a function, the fields of a class."""
    try:
        return set(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return set()


def describe(lines: list[str], given: set[str]) -> list[str]:
    """Make fields of lines that begin with a parameter and a colon, and of what follows them in the same paragraph."""
    text, inside = [], False
    for line in lines:
        found = PARAMETER.match(line)
        if found and found[1] in given:
            text += [*([""] if not inside else []), f":param {found[1]}: {line[found.end() :]}"]
            inside = True
        else:
            if inside and not line.startswith(("Raises ", "Returns ")):
                inside = bool(line.strip())
            elif inside:
                text.append("")
                inside = False
            text.append(f"   {line.strip()}" if inside else line)
    return text


def skip(app: Sphinx, what: str, name: str, value: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, which Python itself describes by their position."""
    return True if (getattr(value, "__doc__", None) or "").startswith("Alias for field number") else None


def elsewhere(app: Sphinx, env: BuildEnvironment, node: nodes.Element, contnode: nodes.Element) -> nodes.Element | None:
    """A name of Python, torch or another library stays text: their pages are not ours to check."""
    foreign = node.get("refdomain") == "py" and node.get("reftarget", "").split(".")[0] != PACKAGE
    return contnode if foreign else None


def source_line(repository: str, domain: str, info: dict[str, str]) -> str | None:
    """The address of a name's source, for sphinx.ext.linkcode."""
    try:
        module = import_module(info["module"])
        value = inspect.unwrap(reduce(getattr, info["fullname"].split("."), module))
        value = getattr(value, "fget", None) or getattr(value, "fn", None) or value  # properties, kernels
        lines, first = inspect.getsourcelines(value)
        path = Path(inspect.getsourcefile(value) or "")
    except (AttributeError, TypeError, OSError, ValueError):  # a constant has no line of its own
        return None
    root = Path(import_module(PACKAGE).__file__ or "").parents[1]
    return f"{repository}/blob/main/{path.relative_to(root).as_posix()}#L{first}-L{first + len(lines) - 1}"


def configure(app: Sphinx, config: Config) -> None:
    """Tell linkcode where the source is. Raises `ExtensionError` where the package that is imported is another one."""
    found = Path(import_module(PACKAGE).__file__ or "").parents[1]
    if found != Path(app.srcdir).resolve():
        raise ExtensionError(f"the book stands in {app.srcdir}, but {PACKAGE} is imported from {found}; "
                             "set PYTHONPATH to the book's folder")  # fmt: skip
    config.linkcode_resolve = partial(source_line, config.html_theme_options["repository_url"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register autodoc and linkcode, and what happens around them."""
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.linkcode")
    app.connect("config-inited", configure)
    app.connect("builder-inited", prepare)
    app.connect("source-read", write_modules)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", elsewhere)
    app.add_css_file("api.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
