"""Cells run out of order: a NameError that says what to do."""

import sys
from types import TracebackType
from typing import Any


def explain_missing_names() -> None:
    """In a notebook, follow a NameError with a sentence about the cells above. Elsewhere this does nothing.

    Leaves IPython alone where it has another handler of exceptions already.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and not shell.custom_exceptions:
        shell.set_custom_exc((NameError,), _explain)


def _explain(
    shell: Any, kind: type[NameError], error: NameError, trace: TracebackType, tb_offset: int | None = None
) -> None:
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    if not isinstance(error, UnboundLocalError):
        print(
            f"There is no {error.name} yet. If a cell above makes it, run that one first: "
            "Run > Run All Above Selected Cell (in Colab: Runtime > Run before).",
            file=sys.stderr,
        )
