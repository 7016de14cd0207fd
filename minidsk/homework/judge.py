"""The judge: a process in which no code of a reader's ever runs, so that nothing bends what it finds.

A notebook's first check() starts it (`minidsk.homework.link`); it answers one job per line, each run in a process of
its own, and ends when the notebook's kernel does.
"""

import json
import os
import signal
import sys
from typing import Any

import torch

from minidsk.homework import verdict
from minidsk.homework.process import Process
from minidsk.homework.registry import find

LOADING = 60.0
"""Seconds in which the code must be there: unpacked, and what it needs imported."""


def main(method: str) -> None:
    """Answer the jobs on standard input, a line of JSON each, with a line of JSON on standard output.

    method: how processes for a reader's code are started, see `Process`.
    """
    torch.set_num_threads(1)  # a process with threads cannot be forked safely
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # The two streams move to where no print goes by accident, and a forked process closes them.
    jobs, answers = os.fdopen(os.dup(0), encoding="ascii"), os.fdopen(os.dup(1), "w", encoding="ascii")
    private = jobs.fileno(), answers.fileno()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    waiting: Process | None = None
    try:
        for line in jobs:
            process, waiting = waiting or Process(method, private), None
            try:
                job = json.loads(line)
                process.send(line.encode(), job["memory"])
                answer = answer_to(job, process)
            finally:
                process.stop()
            print(json.dumps({**answer, "printed": process.printed}), file=answers, flush=True)
            # A fresh interpreter takes a second to start: begin before it is needed.
            waiting = Process(method) if method == "spawn" else None
    finally:
        if waiting:
            waiting.stop()


def answer_to(job: dict[str, Any], process: Process) -> dict[str, Any]:
    """The fields of check's Result, or the first complaint of a reader's tests about one version, or None."""
    loaded = process.hear(LOADING)
    if job["version"] is not None:
        return {"complaint": _complaint(job["tests"], loaded, job["limit"], process)}
    exercise = find(job["name"])
    cases, answers = exercise.cases(), []
    if loaded != ("ready",):
        return vars(verdict.stopped(exercise, "", len(cases), loaded, LOADING))
    for tried, _ in cases:
        report = process.hear(job["limit"])
        if report[0] != "output":
            return vars(verdict.stopped(exercise, tried, len(cases), report, job["limit"]))
        answers.append(report[1:])
    return vars(verdict.compare(exercise, cases, answers))


def _complaint(tests: list[str], report: tuple[Any, ...], limit: float, process: Process) -> str | None:
    if report != ("ready",):
        return f"the tests, which cannot be run in a process of their own: {verdict.one_line(str(report[-1]))}"
    for name in tests:
        kind, *parts = process.hear(limit)
        if kind == "late":
            return f"{name}, out of time"
        if kind == "raised":
            return name if parts[3] else f"{name}, which raised {parts[0]}"
        if kind == "large":
            return f"{name}, which took too much memory"
        if kind == "ended":
            return f"{name}, which {verdict.how_it_ended(parts[0])}"
    return None
