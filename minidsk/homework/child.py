"""The process in which a reader's code runs: what happens in it stays in it, and ends with it."""

import base64
import codecs
import contextlib
import io
import json
import linecache
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch

from minidsk.homework.compare import fresh
from minidsk.homework.data import pack
from minidsk.homework.exercise import Exercise, called_like
from minidsk.homework.parcel import installed
from minidsk.homework.registry import find

PRINTED = 8000
"""How many bytes that the code prints are passed on, for each stream."""


def run(results: Connection, jobs: Connection, private: Sequence[int] = ()) -> None:
    """Take one job, run the reader's code on its cases, report over `results`, and end this process.

    private: file descriptors of the parent's that a forked process has inherited and must not keep.
    The reports are tuples, packed by `pack`: ("unloadable", text) or ("ready",); then for each case ("output", output,
    arguments after the call) or ("raised", type, text, where, whether it is an AssertionError); in between ("printed",
    stream, text). A report that cannot be packed becomes ("unreadable", text). The first case that raises is the last.
    """
    try:
        for descriptor in private:
            os.close(descriptor)
        _run(_Reports(results), json.loads(jobs.recv_bytes()))
    except (EOFError, OSError):  # nothing listens any more
        pass
    finally:
        os._exit(0)  # does not wait for threads that the code has left behind


def _run(report: "_Reports", job: dict[str, Any]) -> None:
    exercise = find(job["name"])
    calls = [fresh(arguments) for _, arguments in exercise.cases()]  # made before any of the reader's code runs
    if job["version"] is not None:
        calls = [(_version(exercise, job["version"]),)] * len(job["tests"])
    _confine(job["limit"] * len(calls))
    for stream in ("stdout", "stderr"):
        raw = io.BufferedWriter(_Printer(stream, report))
        setattr(sys, stream, io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True))
    try:
        functions = _load(job)
    except BaseException as error:
        report("unloadable", f"{type(error).__name__}: {_text(error)}")
        return
    report("ready")
    functions = functions if job["version"] is not None else [functions] * len(calls)
    for function, arguments in zip(functions, calls, strict=True):
        if not _call(report, function, arguments):
            return


def _load(job: dict[str, Any]) -> Any:
    """The reader's function or tests, in the surroundings of the reader's process."""
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.path[:] = job["path"]
    with contextlib.suppress(OSError):
        os.chdir(job["folder"])
    np.seterr(**job["numpy"])
    torch.set_default_dtype(getattr(torch, job["dtype"]))
    for name, source in job["cells"].items():  # for messages with a line of the source, and for Triton, which reads it
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return cloudpickle.loads(base64.b64decode(job["code"]))


def _version(exercise: Exercise, number: int) -> Callable[..., Any]:
    if number == 0:
        return exercise.reference
    return called_like(exercise.reference, exercise.mistakes[number - 1].function)


def _call(report: "_Reports", function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    result: tuple[Any, ...]
    try:
        output = function(*arguments)
    except BaseException as error:
        result = "raised", type(error).__name__, _text(error), _where(error), isinstance(error, AssertionError)
    else:
        result = "output", output, arguments
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    report(*result)
    return result[0] == "output"


def _text(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except Exception:
        return ""


def _where(error: BaseException) -> str:
    """The last line of the reader's own on the way to the error, or ""."""
    found = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not installed(file) and (line := linecache.getline(file, number, frame.f_globals).strip()):
            place = f"{Path(file).name}, line {number}" if Path(file).exists() else f"line {number}"
            found = f"{place}, in {frame.f_code.co_name}: {line[:200]}"
    return found


def _confine(seconds: float) -> None:
    """Nowhere to write to, a process group of its own, and an end.

    seconds: what the whole run may take. The parent sees to that; this is for the case that the parent is killed.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the judge's own; 0 and 1 lead nowhere already
    if not hasattr(os, "setsid"):
        return
    os.setsid()
    import resource

    with contextlib.suppress(OSError):  # Linux: where memory runs out, this process ends, and no other
        Path("/proc/self/oom_score_adj").write_text("1000")
    for what, limit in ((resource.RLIMIT_CPU, int(seconds * (os.cpu_count() or 1)) + 60), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (limit, limit))


class _Reports:
    """Sends messages, one at a time, whichever thread they come from."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.lock, self.owner = connection, threading.RLock(), os.getpid()

    def __call__(self, *message: Any) -> None:
        if os.getpid() != self.owner:  # the code has forked, and this is the copy
            os._exit(0)
        try:
            data = pack(message)
        except BaseException as error:
            data = pack(("unreadable", _text(error) or type(error).__name__))
        with self.lock:
            self.connection.send_bytes(data)


class _Printer(io.RawIOBase):
    """A stream that reports what is written to it, up to a limit."""

    def __init__(self, stream: str, report: _Reports) -> None:
        self.stream, self.report, self.room = stream, report, PRINTED
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.room >= 0:
            more = "\n... (and more, which is not shown)\n" if len(data) > self.room else ""
            self.report("printed", self.stream, self.decoder.decode(data[: self.room]) + more)
            self.room -= len(data)
        return len(data)
