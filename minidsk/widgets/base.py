"""The class of figures that move: one ES module, two homes."""

import hashlib
import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError("minidsk.widgets needs anywidget: pip install anywidget") from error

_HERE = Path(__file__).parent
_KIT = "".join((_HERE / name).read_text(encoding="utf-8") for name in ("look.js", "kit.js"))

# What anywidget gives a figure's module, for a page without Python: get, set and listening, nothing else.
_SHIM = """
const host = [...document.querySelectorAll('[data-minidsk="ID"]')].find(e => !e.dataset.live);
if (host) {
  host.dataset.live = "yes";
  const state = JSON.parse(host.querySelector("script").textContent), heard = {};
  const model = {
    get: name => state[name],
    set(name, value) { state[name] = value; (heard["change:" + name] || []).forEach(f => f()); },
    on(event, f) { (heard[event] ||= []).push(f); },
    off() {}, save_changes() {},
  };
  const el = host.querySelector("div");
  el.replaceChildren();
  figure.render({model, el});
}
"""

# In JupyterLab the arrow keys move from cell to cell, unless the element that has the focus says that it wants them.
_LIVE = """
export default {
  render({model, el}) {
    el.addEventListener("focusin", event => { event.target.dataset.lmSuppressShortcuts = "true"; });
    figure.render({model, el});
  },
};
"""


class Figure(anywidget.AnyWidget):
    """A figure that moves.

    In Jupyter it is a widget whose traits Python can read and set. Everywhere else its `text/html` runs the same
    module alone: no request leaves the page, and the same state gives the same bytes.

    A subclass names its module in `js`, tags what the module reads with `sync=True`, and describes the figure in
    `describe` for a reader who cannot see it.

    data: what the figure shows, plain JSON. title: a line above it.
    """

    js: str
    module: str
    data = traitlets.Dict().tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)

    # Colab's ipywidgets 7 displays a widget by this method, without the text/html that outlives the kernel. Where it is
    # None, IPython asks _repr_mimebundle_ below, as with ipywidgets 8.
    _ipython_display_ = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "js" in vars(cls):  # not where anywidget derives a class of its own from this one
            cls.module = _KIT + (_HERE / cls.js).read_text(encoding="utf-8").replace(
                "export default", "const figure =", 1
            )
            cls._esm = cls.module + _LIVE
        super().__init_subclass__(**kwargs)

    def describe(self) -> str:
        """The figure in one or two sentences, for those who cannot see it and for places that run no script."""
        raise NotImplementedError

    def still(self) -> list[list[str]]:
        """The figure as a table whose first row is the head, for places that run no script."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What the module reads, as plain JSON."""
        mine = set(self.traits(sync=True)) - set(anywidget.AnyWidget.class_trait_names(sync=True))
        return {name: getattr(self, name) for name in mine if not name.startswith("_")}

    def html(self) -> str:
        """The figure as a self-contained piece of a page: the state, the module, and words for where no script runs."""
        state = json.dumps(self.state(), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        state = state.replace("<", "\\u003c")
        label = hashlib.sha256((self.module + state).encode()).hexdigest()[:12]
        words = html.escape(self.describe())
        head, *rows = [[html.escape(cell) for cell in row] for row in self.still()]
        table = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
        table = f"<table><tr><th>{'</th><th>'.join(head)}</th></tr>{table}</table>"
        return (
            f'<div data-minidsk="{label}"><script type="application/json">{state}</script>'
            f"<div><p><strong>{html.escape(self.title)}</strong></p><p>{words}</p>{table}</div>"
            f'<script type="module">\n{self.module}{_SHIM.replace("ID", label)}</script></div>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        return {**data, "text/plain": f"{self.title}: {self.describe()}", "text/html": self.html()}, metadata


def numbers(name: str, values: Any, *, digits: int = 4) -> list[Any]:
    """`values` (a list, array or tensor of any depth) as nested lists of numbers with `digits` significant digits.

    Rounding keeps a page's bytes the same between processors. Raises ValueError where an entry is no finite number.
    """
    try:
        array = np.asarray(values.tolist() if hasattr(values, "tolist") else values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, in rows of equal length") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has an entry that is not a finite number")

    def plain(x: Any) -> Any:
        return [plain(v) for v in x] if isinstance(x, list) else rounded(x, digits)

    return plain(array.tolist())


def rounded(x: float, digits: int = 4) -> float | int:
    """`x` with `digits` significant digits, as an int where that is what it is."""
    if x == 0 or not math.isfinite(x):
        return 0
    x = float(x) if float(x).is_integer() and abs(x) < 1e15 else float(f"{x:.{digits}g}")
    return int(x) if x.is_integer() and abs(x) < 1e15 else x


def same_length(**columns: Sequence[Any]) -> int:
    """The common length of the columns. Raises ValueError that names those that differ, or an empty one."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError("of equal length, please: " + ", ".join(f"{name} has {n}" for name, n in lengths.items()))
    length = next(iter(lengths.values()))
    if not length:
        raise ValueError(f"{', '.join(lengths)}: nothing to show")
    return length


def visible(piece: str | bytes) -> str:
    """A token as it can be shown: bytes that are no text become hexadecimal, everything else stays."""
    if isinstance(piece, str):
        return piece
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "".join(chr(b) if 32 <= b < 127 else f"⟨{b:02x}⟩" for b in piece)
