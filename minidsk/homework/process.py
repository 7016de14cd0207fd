"""One process for one run of a reader's code, seen from the judge: start it, hear what it reports, end it."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidsk.homework import child
from minidsk.homework.data import BYTES, unpack

SHAPES: dict[str, tuple[type, ...]] = {
    "ready": (),
    "unloadable": (str,),
    "printed": (str, str),
    "output": (object, tuple),
    "raised": (str, str, str, bool),
    "unreadable": (str,),
}
"""What a report consists of, after its name."""


class Process:
    """A process that waits for a job.

    method: "fork" (some milliseconds) or "spawn" (a fresh interpreter, where a fork is not safe or does not exist).
    private: file descriptors that a fork must not keep.
    """

    def __init__(self, method: str, private: Sequence[int] = ()) -> None:
        context: Any = multiprocessing.get_context(method)
        self.results, results = context.Pipe(duplex=False)
        jobs, self.jobs = context.Pipe(duplex=False)
        kept = (*private, self.results.fileno(), self.jobs.fileno()) if method == "fork" else ()
        self.process = context.Process(target=child.run, args=(results, jobs, kept))
        self.process.start()
        results.close()
        jobs.close()
        self.printed: list[tuple[str, str]] = []
        self.memory = 0

    def send(self, job: bytes, memory: int) -> None:
        """Hand the job over. memory: the bytes that the process may hold."""
        self.memory = memory
        with contextlib.suppress(OSError):  # dead already: `hear` says so
            self.jobs.send_bytes(job)

    def hear(self, seconds: float) -> tuple[Any, ...]:
        """The next report, as `child.run` lists them, of which what is printed goes to `printed`.

        Besides: ("late",) where none comes within `seconds`, ("large",) where the process holds too much memory,
        ("ended", exit code) where it has ended, ("garbled",) for what is no report.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not self.results.poll(min(left, 0.05)):
                if self._memory() > self.memory:
                    return ("large",)
                continue
            try:
                kind, *parts = report = unpack(self.results.recv_bytes(2 * BYTES))
            except EOFError:
                self.process.join(1)
                return "ended", self.process.exitcode
            except (OSError, ValueError, TypeError):
                return ("garbled",)
            shape = SHAPES.get(kind) if isinstance(kind, str) and isinstance(report, tuple) else None
            if shape is None or len(parts) != len(shape) or not all(map(isinstance, parts, shape)):
                return ("garbled",)
            if kind != "printed":
                return report
            if sum(len(text) for _, text in self.printed) < 4 * child.PRINTED:
                self.printed.append((parts[0], parts[1][: 2 * child.PRINTED]))
        return ("late",)

    def _memory(self) -> int:
        """The memory that the process holds, in bytes; 0 where the platform does not say."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """End the process, and the processes that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join(5)
        self.results.close()
        self.jobs.close()
