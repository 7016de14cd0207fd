"""A run is a folder: `config.json`, `metrics.jsonl`, `state/` to resume from, `model.safetensors` when it is done.

The folder of a finished run is also a checkpoint in transformers' layout: `minidsk.load(folder)` reads it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from minidsk.atomic import atomic, clear_leftovers
from minidsk.data.tokenizer import BPETokenizer, CharTokenizer, load_tokenizer
from minidsk.hub.folder import ABOUT, CONFIG, about, damaged, sealed, sha256, sum_of
from minidsk.hub.hf import load_pretrained
from minidsk.model.transformer import MiniDeepSeek

LOG = "metrics.jsonl"
# What a run leaves: where one of these stands without a configuration, nobody knows of which run it is.
PARTS = ("state", LOG, "model.safetensors", "model.safetensors.index.json", "evaluation.json", "examples.jsonl")
SUM_BYTES = 32  # of SHA-256, at the end of a state


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why and what to do."""


def as_plain(config: Any) -> Any:
    """A (nested) dataclass as JSON would return it: dictionaries and lists."""
    return json.loads(json.dumps(dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config))  # type: ignore[arg-type]


class Run:
    """One stage's folder.

    `stage`, `settings` (a dataclass or dictionary) and `given` (fingerprints of the data, the tokenizer, the weights
    that it begins with) say what the run is. A folder that holds another run is left alone: `RunError`.
    """

    def __init__(self, folder: str | Path, stage: str, settings: Any, **given: str) -> None:
        self.folder = Path(folder)
        self.identity = {"stage": stage, "settings": as_plain(settings), "given": given}
        self._started = time.perf_counter()
        self._earlier_seconds = 0.0
        if (self.folder / CONFIG).exists():
            found = about(self.folder)
            if not found:
                raise RunError(f"{self.folder / CONFIG}: says of no run; put back a copy, or name another folder")
            differing = _first_difference(found, self.identity)
            if differing:
                raise self._another(differing)
            self.identity["given"] = {**found["given"], **given}
        else:
            orphan = next((name for name in PARTS if (self.folder / name).exists()), None)
            if orphan:
                raise RunError(f"{self.folder}: holds a {orphan} without the config.json that says of which run; "
                               "put it back, name another folder or delete this one")  # fmt: skip
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(f"{self.folder}: cannot be made ({error.strerror}); name another folder") from error
            self._write_config()
        for place in (self.folder, self.folder / "state"):
            clear_leftovers(place)
        if self.finished:  # a kill between the weights and the end of `finish`
            shutil.rmtree(self.folder / "state", ignore_errors=True)

    def identify(self, **given: str) -> None:
        """Add to what the run is, before its first step: fingerprints of what else it was given.

        Raises `RunError` where the run in the folder was given something else.
        """
        known = self.identity["given"]
        differing = _first_difference(known, {name: given[name] for name in given if name in known}, "given")
        if differing:
            raise self._another(differing)
        if not given.keys() <= known.keys() and not self.finished:
            known.update(given)
            self._write_config()

    @property
    def finished(self) -> bool:
        """Whether `finish` came to its end."""
        return finished(self.folder)

    @property
    def seconds(self) -> float:
        """Seconds this run has taken, earlier parts of a resumed run included."""
        return self._earlier_seconds + time.perf_counter() - self._started

    def log(self, **metrics: float | int | str) -> None:
        """Append one line to `metrics.jsonl`."""
        try:
            with (self.folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")
        except OSError as error:
            raise RunError(f"{self.folder / LOG}: not written ({error.strerror}); free some space") from error

    def metrics(self) -> list[dict[str, Any]]:
        """All lines logged so far."""
        return read_metrics(self.folder)

    def save_state(self, step: int, **parts: Any) -> None:
        """Keep what is needed to go on after `step` steps, each part by its `state_dict`; the state before it stays."""
        metrics = [line for line in self.metrics() if line.get("step", 0) <= step]
        state = {"run": self.identity, "step": step, "seconds": self.seconds, "metrics": metrics}
        state |= {name: part.state_dict() for name, part in parts.items()}
        latest, previous = self.states
        latest.parent.mkdir(exist_ok=True)
        with atomic(latest, previous) as temporary:
            torch.save(state, temporary)
            with temporary.open("ab") as file:  # torch, which checks no sums, reads past it
                file.write(bytes.fromhex(sha256(temporary)))

    def load_state(self, **parts: Any) -> int:
        """Load the parts from the last good state, and bring the metrics back to it; the step to go on from."""
        latest, previous = self.states
        found = [path for path in self.states if path.exists()]
        good = next((path for path in found if _is_whole(path)), None)
        if good is None:
            if found:
                raise RunError(f"{found[0]}: damaged; delete {latest.parent} to start this stage again")
            self._write_metrics([])
            return 0
        state = torch.load(good, map_location="cpu", weights_only=True)
        if state["run"] != self.identity:
            raise RunError(f"{good}: the state of another run; put it back where it came from, or delete it")
        try:
            for name, part in parts.items():
                part.load_state_dict(state[name])
        except (RuntimeError, LookupError, ValueError, TypeError) as error:
            raise RunError(f"{good}: not a state that this version can go on from; delete {latest.parent} "
                           "to start this stage again") from error  # fmt: skip
        if good != found[0]:
            tqdm.write(f"{latest}: damaged; going on from step {state['step']} of {previous.name}", file=sys.stderr)
            os.replace(previous, latest)  # the damaged one would take the place of the good one at the next save
        self._earlier_seconds, self._started = state["seconds"], time.perf_counter()
        self._write_metrics(state["metrics"])
        return int(state["step"])

    @property
    def states(self) -> tuple[Path, Path]:
        """Where the last state is kept, and the one before it."""
        return self.folder / "state" / "latest.pt", self.folder / "state" / "previous.pt"

    def finish(self, save: Callable[[Path, dict[str, Any]], None], **summary: Any) -> None:
        """Let `save` write the weights, and drop the state for resuming. `summary` is kept in `config.json`."""
        summary = {"seconds": round(self.seconds, 2), **summary}
        log = self.folder / LOG
        save(self.folder, {**self.identity, "summary": summary, LOG: sha256(log) if log.exists() else None})
        shutil.rmtree(self.folder / "state", ignore_errors=True)

    def _another(self, differing: str) -> RunError:
        return RunError(f"{self.folder}: holds another run ({differing}); name another folder or delete this one")

    def _write_config(self) -> None:
        with atomic(self.folder / CONFIG) as temporary:
            temporary.write_text(json.dumps({ABOUT: sealed(self.identity)}, indent=2) + "\n", encoding="utf-8")

    def _write_metrics(self, metrics: list[dict[str, Any]]) -> None:
        if metrics or (self.folder / LOG).exists():
            with atomic(self.folder / LOG) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in metrics), encoding="utf-8")


def _is_whole(state: Path) -> bool:
    """Whether a state ends with the sum of what stands before."""
    size = max(state.stat().st_size - SUM_BYTES, 0)
    with state.open("rb") as file:
        file.seek(size)
        return file.read() == bytes.fromhex(sha256(state, size))


def finished(folder: Path) -> bool:
    """Whether the run in `folder` came to its end: it writes the weights first, and last the summary."""
    return (folder / CONFIG).exists() and "summary" in about(folder)


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """What a run in `folder` logged, one dictionary per line. A line that a crash cut short ends the list.

    Raises `RunError` where the file cannot be read, and `CheckpointError` where a finished run logged something else.
    """
    path, metrics = Path(folder) / LOG, []
    if not path.exists():
        return []
    wanted = about(path.parent).get(LOG) if (path.parent / CONFIG).exists() else None
    if wanted not in (None, sha256(path)):
        raise damaged(path, path.parent)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: not readable as UTF-8; delete it, or the folder to start this stage again") from error
    for line in lines:
        try:
            metrics.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            break
    return metrics


def weights_of(folder: str | Path) -> str:
    """16 hexadecimal digits of the SHA-256 of the weights in `folder`, by which a run knows what it began with."""
    files = sorted(Path(folder).glob("*.safetensors"))
    return sum_of([sha256(path) for path in files])[:16]


def load_checkpoint(
    folder: str | Path, device: torch.device | str = "cpu"
) -> tuple[MiniDeepSeek, CharTokenizer | BPETokenizer]:
    """The weights in `folder`, and the tokenizer that they were trained with.

    Raises `RunError` where a run is not finished or the tokenizer beside the weights is another one, and
    `CheckpointError` or `FileNotFoundError` where files are missing or damaged.
    """
    folder = Path(folder)
    found = about(folder) if (folder / CONFIG).exists() else {"stage": None}
    if found and "summary" not in found:
        raise RunError(f"{folder}: no finished run there; run that stage to its end first")
    model, tokenizer = load_pretrained(folder), load_tokenizer(folder)
    written_for = found.get("tokenizer", tokenizer.fingerprint)
    if tokenizer.fingerprint != written_for or tokenizer.vocab_size > model.config.vocab_size:
        raise RunError(f"{folder}: tokenizer.json is not the one of these weights; put back the one saved with them")
    return model.to(device), tokenizer


def _first_difference(found: Any, wanted: Any, name: str = "") -> str:
    """Where two nested settings differ, as words; empty where all of `wanted` is found."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in wanted:
            difference = _first_difference(found.get(key), wanted[key], f"{name}.{key}" if name else key)
            if difference:
                return difference
        return ""
    return "" if found == wanted else f"{name} is {found!r}, not {wanted!r}"
