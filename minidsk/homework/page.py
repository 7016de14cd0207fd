"""A prediction on a page: the question with a place for a number, and the measured value behind a button.

Both parts are HTML that stands alone, with the same look as the figures that move (`minidsk/widgets/look.js`), and they
find each other by the prediction's name. The guesses stay in the browser.
"""

import html as escaping
import json
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_MODULE = "".join(
    path.read_text(encoding="utf-8") for path in (_HERE.parent / "widgets" / "look.js", _HERE / "predict.js")
)


def html(part: str, state: dict[str, Any], words: str) -> str:
    """One part of a prediction as a piece of a page: "ask" or "reveal".

    state: what predict.js reads, plain JSON. words: what is read in place of the input where no script runs.
    """
    data = json.dumps(state, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    call = f'place("{part}", {json.dumps(state["name"])});'
    name, question, words = (escaping.escape(text) for text in (state["name"], state["question"], words))
    still = f"<p><strong>{question}</strong> {words}</p>"
    if part == "reveal":
        still = f"<details><summary>{question} Show the measured value</summary><p>{words}</p></details>"
    data, call = (text.replace("<", "\\u003c") for text in (data, call))  # no </script> that came with a text
    return (
        f'<div data-prediction="{name}" data-part="{part}"><script type="application/json">{data}</script>'
        f'<div>{still}</div><script type="module">\n{_MODULE}{call}\n</script></div>'
    )


def show(text: str, html: str) -> None:
    """Print `text`, or, in a notebook, display it as both text and HTML."""
    shell = sys.modules.get("IPython")
    if shell is None or shell.get_ipython() is None:
        print(text)
    else:
        shell.display.display({"text/plain": text, "text/html": html}, raw=True)


def plain(x: float) -> float | int:
    """`x` as an int where that is what it is, so that a page's bytes do not depend on how a number was written."""
    return int(x) if float(x).is_integer() and abs(x) < 1e15 else float(x)
