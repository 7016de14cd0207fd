"""Run a function that may never return."""

import ctypes
import signal
import threading
import time
from collections.abc import Callable
from typing import Any


class OutOfTime(BaseException):
    """The time limit was reached. No Exception, so that the function's own `except Exception` does not swallow it."""


def run_limited(function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> Any:
    """`function(*arguments)`, stopped after `seconds` with OutOfTime; what it raises itself passes through.

    On the main thread of a Unix machine an alarm interrupts the function; elsewhere it runs in a thread into which
    the exception is thrown. Both stop a Python loop for good; neither interrupts one long call into compiled code.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _with_alarm(function, arguments, seconds)
    return _with_thread(function, arguments, seconds)


def _with_alarm(function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> Any:
    def stop(*_: object) -> None:
        raise OutOfTime

    began = time.monotonic()
    previous = signal.signal(signal.SIGALRM, stop)
    # The alarm repeats, for a function that catches even the first one.
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
    try:
        return function(*arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if remaining:  # another's alarm (pytest-timeout): hand it back, less the time spent here
            signal.setitimer(signal.ITIMER_REAL, max(remaining - (time.monotonic() - began), 0.001), interval)


def _with_thread(function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> Any:
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["value"] = function(*arguments)
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(OutOfTime))
        thread.join(1.0)
        raise OutOfTime
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]
