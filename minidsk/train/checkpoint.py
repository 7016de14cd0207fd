"""A run is a folder: `config.json`, `metrics.jsonl`, `state/` to resume from, `model.safetensors` when it is done.

The folder of a finished run is also a checkpoint in transformers' layout: `minidsk.load(folder)` reads it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
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
from minidsk.hub.folder import sha256
from minidsk.hub.hf import load_pretrained
from minidsk.model.transformer import MiniDeepSeek

PARTS = ("state", "metrics.jsonl", "model.safetensors")
DIGEST = 32  # bytes of SHA-256, before the content of a state


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
        path = self.folder / "config.json"
        if path.exists():
            found = read_json(path).get("minidsk", {})
            differing = _first_difference(found, self.identity)
            if differing:
                raise RunError(
                    f"{self.folder}: holds another run ({differing}); name another folder or delete this one"
                )
        else:
            orphan = next((name for name in PARTS if (self.folder / name).exists()), None)
            if orphan:
                raise RunError(f"{self.folder}: holds a {orphan} without the config.json that says of which run; "
                               "put it back, name another folder or delete this one")  # fmt: skip
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(f"{self.folder}: cannot be made ({error.strerror}); name another folder") from error
            with atomic(path) as temporary:
                temporary.write_text(json.dumps({"minidsk": self.identity}, indent=2) + "\n")
        clear_leftovers(self.folder)
        if self.finished:  # a kill between the weights and the end of `finish`
            shutil.rmtree(self.folder / "state", ignore_errors=True)

    @property
    def finished(self) -> bool:
        """Whether `finish` came to its end: it writes the weights first, and last the summary."""
        return "summary" in read_json(self.folder / "config.json").get("minidsk", {})

    @property
    def seconds(self) -> float:
        """Seconds this run has taken, earlier parts of a resumed run included."""
        return self._earlier_seconds + time.perf_counter() - self._started

    def log(self, **metrics: float | int | str) -> None:
        """Append one line to `metrics.jsonl`."""
        try:
            with (self.folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(metrics) + "\n")
        except OSError as error:
            raise RunError(f"{self.folder}: metrics.jsonl not written ({error.strerror}); free some space") from error

    def metrics(self) -> list[dict[str, Any]]:
        """All lines logged so far."""
        return read_metrics(self.folder)

    def save_state(self, step: int, **parts: Any) -> None:
        """Keep what is needed to go on after `step` steps, each part by its `state_dict`; the state before it stays."""
        state = {"step": step, "seconds": self.seconds, "lines": len(self._until(step)), "run": self.identity}
        state |= {name: part.state_dict() for name, part in parts.items()}
        content = io.BytesIO()
        torch.save(state, content)
        latest, previous = self.states
        latest.parent.mkdir(exist_ok=True)
        with atomic(latest) as temporary:
            temporary.write_bytes(hashlib.sha256(content.getbuffer()).digest() + content.getbuffer())
            if latest.exists():
                os.replace(latest, previous)

    def load_state(self, **parts: Any) -> int:
        """Load the parts from the last good state, forget metrics logged after it; the step to go on from."""
        found = [path for path in self.states if path.exists()]
        for path in found:
            state = _read_state(path)
            if state is None:
                continue
            if path is not found[0]:
                tqdm.write(f"{found[0]}: damaged; going on from step {state['step']} of {path.name}", file=sys.stderr)
            if state["run"] != self.identity:
                raise RunError(f"{path}: the state of another run; put it back where it came from, or delete it")
            if len(self._until(state["step"])) < state["lines"]:
                raise RunError(f"{self.folder / 'metrics.jsonl'}: lines are missing that were logged before "
                               f"{path.name} was saved; put the file back, or delete {path.parent}")  # fmt: skip
            for name, part in parts.items():
                part.load_state_dict(state[name])
            self._earlier_seconds, self._started = float(state["seconds"]), time.perf_counter()
            self._keep_metrics(state["step"])
            return int(state["step"])
        if found:
            raise RunError(f"{found[0]}: damaged; delete {found[0].parent} to start this stage again")
        self._keep_metrics(0)
        return 0

    @property
    def states(self) -> tuple[Path, Path]:
        """Where the last state is kept, and the one before it."""
        return self.folder / "state" / "latest.pt", self.folder / "state" / "previous.pt"

    def finish(self, save: Callable[[Path, dict[str, Any]], None], **summary: Any) -> None:
        """Let `save` write the weights, and drop the state for resuming. `summary` is kept in `config.json`."""
        summary = {"seconds": round(self.seconds, 2), **summary}
        save(self.folder, {**self.identity, "summary": summary})
        shutil.rmtree(self.folder / "state", ignore_errors=True)

    def _until(self, step: int) -> list[dict[str, Any]]:
        return [line for line in self.metrics() if line.get("step", 0) <= step]

    def _keep_metrics(self, step: int) -> None:
        path = self.folder / "metrics.jsonl"
        if path.exists():
            kept = self._until(step)
            with atomic(path) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))


def _read_state(path: Path) -> dict[str, Any] | None:
    """A state whose sum is right; None where it is not. torch itself does not check the sums in its files."""
    content = path.read_bytes()
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        return None
    return dict(torch.load(io.BytesIO(content[DIGEST:]), map_location="cpu", weights_only=True))


def read_json(path: Path, remedy: str = "name another folder or delete this one") -> dict[str, Any]:
    """An object of a run folder; raises `RunError` where it, or what the package wrote into it, is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        about = content.get("minidsk", {})
        if not all(isinstance(part, dict) for part in (about, about.get("settings", {}), about.get("summary", {}))):
            raise TypeError
    except OSError as error:
        raise RunError(f"{path}: not readable ({error.strerror})") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: not readable as JSON; {remedy}") from error
    return dict(content)


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """What a run in `folder` logged, one dictionary a line. A line that a crash cut short ends the list.

    Raises `RunError` where the file is not text.
    """
    path, metrics = Path(folder) / "metrics.jsonl", []
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
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
    return hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()[:16]


def load_checkpoint(
    folder: str | Path, device: torch.device | str = "cpu"
) -> tuple[MiniDeepSeek, CharTokenizer | BPETokenizer]:
    """The weights in `folder`, and the tokenizer that they were trained with.

    Raises `RunError` where a run is not finished or the tokenizer beside the weights is another one, and
    `CheckpointError` or `FileNotFoundError` where files are missing or damaged.
    """
    folder = Path(folder)
    path = folder / "config.json"
    about = read_json(path).get("minidsk") if path.exists() else None
    if not path.exists() or (about is not None and "summary" not in about):
        raise RunError(f"{folder}: no finished run there; run that stage to its end first")
    model, tokenizer = load_pretrained(folder), load_tokenizer(folder)
    written_for = (about or {}).get("tokenizer", tokenizer.fingerprint)
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
