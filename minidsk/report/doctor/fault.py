"""A fault: how it shows in what a run logged, what causes it, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minidsk.report.doctor.record import Record

Look = Callable[[Record], "str | None"]
SYMPTOMS = "https://minidsk.github.io/minidsk/book/symptoms.html"  # the table of symptoms


@dataclass(frozen=True)
class Fault:
    """`look` gives the evidence, figures and threshold, or None; a fault that is found makes those it `hides` moot."""

    name: str
    kinds: tuple[str, ...]
    causes: str
    remedy: str
    hides: tuple[str, ...]
    look: Look


@dataclass(frozen=True)
class Finding:
    """A fault that a stage has, and the evidence."""

    stage: str
    name: str
    evidence: str
    causes: str
    remedy: str

    def __str__(self) -> str:
        told = {"seen": self.evidence, "likely": self.causes, "do": self.remedy, "more": SYMPTOMS}
        lines = [f"  {f'{word}:':7} {what}" for word, what in told.items()]
        return "\n".join([f"{self.stage}: {self.name}", *lines])


FAULTS: dict[str, Fault] = {}
"""Every fault by name."""


def fault(name: str, *kinds: str, causes: str, remedy: str, hides: tuple[str, ...] = ()) -> Callable[[Look], Look]:
    """Let the doctor know a fault, for runs of these kinds ("rl", "pretrain", "sft"); decorates how to look for it."""

    def known(look: Look) -> Look:
        FAULTS[name] = Fault(name, kinds, causes, remedy, hides, look)
        return look

    return known
