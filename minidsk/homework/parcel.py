"""A reader's functions, packed to be run in another process: by value, with all of the reader's own code in them."""

import contextlib
import functools
import inspect
import io
import linecache
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import cloudpickle

INSTALLED = tuple(
    os.path.join(os.path.realpath(folder), "")
    for folder in {
        *(sysconfig.get_paths()[part] for part in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
        str(Path(__file__).parents[1]),
    }
)
"""Folders of what is the same in every process: Python, what pip installed, and this package."""


class NotPortable(ValueError):
    """Something that cannot be copied into another process."""


@functools.cache
def installed(file: str) -> bool:
    """Whether a source file belongs to Python, to an installed package or to this one, and not to the reader."""
    return file.startswith("<frozen ") or os.path.realpath(file).startswith(INSTALLED)


def pack_function(function: Any) -> tuple[bytes, dict[str, str]]:
    """`function` (or a list of functions) in cloudpickle's form, and the sources of the notebook's cells in it by name.

    Functions and classes of the notebook, of a script and of modules in the reader's own folders travel by value, as
    they are in this process now: what stands on the disk may be older or newer. Raises NotPortable, which names what
    cannot be copied.
    """
    try:
        try:
            with _readers_modules_by_value():
                packed = _dumps(function)
        except Exception:  # a module of the reader's holds a lock or a file: the other process may import it instead
            packed = _dumps(function)
    except Exception as error:
        raise NotPortable(f"{_culprit(function)} cannot be copied ({_first_line(error)})") from error
    cells = {
        name: "".join(entry[2])
        for name, entry in list(linecache.cache.items())
        if len(entry) == 4 and name.encode(errors="replace") in packed and not os.path.exists(name)
    }
    return packed, cells


class _Pickler(cloudpickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        # A compiled kernel of Triton's holds locks and machine code; the other process compiles its own.
        if (jit := sys.modules.get("triton.runtime.jit")) and isinstance(obj, jit.JITFunction):
            return sys.modules["triton"].jit, (obj.fn,)
        if isinstance(obj, CodeType):  # cloudpickle drops the file's name, which leads to the lines of the source
            return _code, (obj.co_filename, *self.dispatch_table[CodeType](obj)[:2])
        return super().reducer_override(obj)


def _code(file: str, make: Callable[..., CodeType], arguments: tuple[Any, ...]) -> CodeType:
    return make(*arguments).replace(co_filename=file)


def _dumps(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


@contextlib.contextmanager
def _readers_modules_by_value() -> Iterator[None]:
    modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
    theirs = []
    for module in modules:
        file, name = vars(module).get("__file__"), module.__name__
        if isinstance(file, str) and not installed(file) and sys.modules.get(name) is module and name != "__main__":
            theirs.append(module)
    before = cloudpickle.list_registry_pickle_by_value()
    for module in theirs:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in theirs:
            if module.__name__ not in before:
                cloudpickle.unregister_pickle_by_value(module)


def _culprit(function: Any, name: str = "it") -> str:
    """What keeps `function` from being copied: a variable that it uses, or one that these use, or itself."""
    for one in function if isinstance(function, list) else [function]:
        with contextlib.suppress(TypeError):
            used = inspect.getclosurevars(inspect.unwrap(one))
            for name, value in {**used.globals, **used.nonlocals}.items():
                try:
                    _dumps(value)
                except Exception:
                    return _culprit(value, f"{name}, which is used,")
    return name


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
