"""The kernel's link to the judge: start it when it is first needed, ask it, and do without one that has died."""

import atexit
import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minidsk.homework.parcel import pack_function

START = 300.0
"""Seconds within which a judge has started and answered, besides what the job itself may take."""
MEMORY = 4 * 2**30
"""Bytes of memory that a reader's code may hold: far more than an exercise needs, and less than most machines have."""
BEGIN = """import sys
_, method, root = sys.argv
sys.path[:] = [folder for folder in sys.path if folder]  # '' would be the folder in which this starts
if root not in sys.path:
    sys.path.insert(0, root)
from minidsk.homework.judge import main
main(method)
"""


class NoAnswer(RuntimeError):
    """The judge cannot be started, or has ended before it had answered."""


class Judge:
    """The judge of this process.

    method: how it starts processes for a reader's code, "fork" or "spawn"; by default a fork on Linux, where it is safe
    for a process that has loaded torch.
    """

    def __init__(self, method: str | None = None) -> None:
        self.method = method or ("fork" if sys.platform == "linux" else "spawn")
        self.process: subprocess.Popen[str] | None = None
        self.owner = 0
        self.lock = threading.Lock()
        atexit.register(self.stop)

    def ask(self, job: dict[str, Any], code: Any, seconds: float) -> dict[str, Any]:
        """The judge's answer to a job on `code`, a function or a list of them; what the code printed is printed here.

        seconds: what the job itself may take. Raises NotPortable where the code cannot be copied, NoAnswer where the
        judge has ended.
        """
        packed, cells = pack_function(code)
        job = {**job, "code": base64.b64encode(packed).decode(), "cells": cells, "memory": MEMORY, **_surroundings()}
        with self.lock:
            try:
                answer = self._exchange(json.dumps(job) + "\n", seconds + START)
            except BaseException:  # Ctrl-C: this judge would still answer what was asked before
                self.stop()
                raise
        for stream, text in answer.pop("printed"):
            print(text, end="", file=sys.stderr if stream == "stderr" else sys.stdout)
        return answer

    def _exchange(self, line: str, seconds: float) -> dict[str, Any]:
        process = self.process
        if process is None or process.poll() is not None or self.owner != os.getpid():
            process = self._start()
        assert process.stdin
        assert process.stdout
        watch = threading.Timer(seconds, process.kill)
        watch.start()
        try:
            with contextlib.suppress(OSError):  # it has died: there is no answer to be read either
                process.stdin.write(line)
                process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            watch.cancel()
            watch.join()
        if not answer:
            raise NoAnswer(f"the process that judges ended before it had answered{self._last_words(process)}")
        return json.loads(answer)

    def _start(self) -> "subprocess.Popen[str]":
        self.stop()
        root = str(Path(__file__).parents[2])  # where this very package lies
        self.owner, self.errors = os.getpid(), tempfile.TemporaryFile()  # noqa: SIM115 (as long as the judge lives)
        try:
            self.process = subprocess.Popen(
                [sys.executable or "python3", "-c", BEGIN, self.method, root],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                encoding="ascii",
                cwd=root,  # which is there, whatever became of the reader's folder
                env=os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
                start_new_session=True,  # Ctrl-C is for the kernel
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise NoAnswer(f"the process that judges cannot be started: {error}") from error
        return self.process

    def _last_words(self, process: "subprocess.Popen[str]") -> str:
        """What the judge wrote last, where it ended by an error of its own."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        if not process.returncode or process.returncode < 0:
            return ""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").split("\n")
        words = [line.strip() for line in lines if line.strip()]
        return f" ({words[-1][:160]})" if words else ""

    def stop(self) -> None:
        """End the judge, if there is one; the next question starts another."""
        process, self.process = self.process, None
        if process is None or self.owner != os.getpid():
            return
        process.terminate()
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        self.errors.close()


JUDGE = Judge()
"""The judge that `check` and `zoo` ask."""


def _surroundings() -> dict[str, Any]:
    """What code of the reader's may rely on here, besides what it uses by name."""
    try:
        folder = os.getcwd()
    except OSError:  # the folder was deleted
        folder = ""
    return {
        "environment": dict(os.environ),
        "path": [place for place in sys.path if isinstance(place, str)],
        "folder": folder,
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "numpy": np.geterr(),  # a reader who runs kernels in Triton's interpreter silences its overflows
    }


def time_limit(who: str, seconds: float) -> float:
    """`seconds` as a time limit. Raises ValueError unless it is above 0 and at most a day."""
    if not 0 < seconds <= 86400:
        raise ValueError(f"{who}: limit must be seconds, above 0 and at most 86400 (a day), not {seconds}")
    return float(seconds)
