"""A run is a folder: `config.json`, `metrics.jsonl`, `state/` to resume from, `model.safetensors` when it is done.

The folder of a finished run is also a checkpoint in transformers' layout: `minidsk.load(folder)` reads it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pickle
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from minidsk.data.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, load_tokenizer
from minidsk.hub.hf import load_pretrained, save_pretrained
from minidsk.model.transformer import MiniDeepSeek

FIGURES = ("accuracy", "low", "high", "problems", "well_formed", "one_language", "thought", "seconds", "flops")


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why and what to do."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes `path` when all went well and vanishes when not.

    A full disk, or any other failure of the system, is raised as a `RunError` of one line.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk by a RuntimeError of its own words
        reason = getattr(error, "strerror", None) or "the disk is full, or not writable"
        raise RunError(f"{path}: not written ({reason}); free some space and run again") from error
    finally:
        temporary.unlink(missing_ok=True)


def as_plain(config: Any) -> Any:
    """A (nested) dataclass as JSON would return it: dictionaries and lists."""
    return json.loads(json.dumps(dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config))  # type: ignore[arg-type]


class Run:
    """One stage's folder.

    `stage` and `settings` (a dataclass or dictionary) say what the run is. A folder that holds a run of other
    settings is left alone: `RunError`.
    """

    def __init__(self, folder: str | Path, stage: str, settings: Any) -> None:
        self.folder = Path(folder)
        self.identity = {"stage": stage, "settings": as_plain(settings)}
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
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(f"{self.folder}: cannot be made ({error.strerror}); name another folder") from error
            with atomic(path) as temporary:
                temporary.write_text(json.dumps({"minidsk": self.identity}, indent=2) + "\n")

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
        """Keep what is needed to go on after `step` steps: each part has a `state_dict`, or is plain data or a list."""
        folder = self.folder / "state"
        state = {"step": step, "seconds": self.seconds, **{name: _state_of(part) for name, part in parts.items()}}
        with atomic(folder / "latest.pt") as temporary:
            folder.mkdir(exist_ok=True)
            torch.save(state, temporary)

    def load_state(self, **parts: Any) -> int:
        """Load the parts from the last saved state, forget metrics logged after it; the step to go on from."""
        path = self.folder / "state" / "latest.pt"
        if not path.exists():
            self._keep_metrics(0)
            return 0
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            for name, part in parts.items():
                for target, values in zip(_listed(part), _listed(state[name]), strict=True):
                    target.load_state_dict(values)
            step, self._earlier_seconds = int(state["step"]), float(state["seconds"])
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, LookupError, ValueError, TypeError) as error:
            raise RunError(f"{path}: damaged; delete it to start this stage again") from error
        self._started = time.perf_counter()
        self._keep_metrics(step)
        return step

    def finish(self, model: MiniDeepSeek, tokenizer: Tokenizer, **summary: Any) -> None:
        """Write the weights, and drop the state for resuming. `summary` is kept in `config.json`."""
        summary = {"seconds": round(self.seconds, 2), **summary}
        extra = {**self.identity, "tokenizer": tokenizer.fingerprint, "summary": summary}
        save_pretrained(model, self.folder, tokenizer, extra=extra)
        shutil.rmtree(self.folder / "state", ignore_errors=True)

    def _keep_metrics(self, step: int) -> None:
        kept = [line for line in self.metrics() if line.get("step", 0) <= step]
        if (self.folder / "metrics.jsonl").exists():
            with atomic(self.folder / "metrics.jsonl") as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))


def _state_of(part: Any) -> Any:
    return [item.state_dict() for item in part] if isinstance(part, list) else part.state_dict()


def _listed(part: Any) -> list[Any]:
    return part if isinstance(part, list) else [part]


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


def read_evaluation(folder: Path) -> dict[str, Any]:
    """What `evaluation.json` holds: `row`, the figures by name; `replies`, each with prompt, reply and score; `asked`.

    Raises `RunError` where something is missing or of another kind.
    """
    path, remedy = folder / "evaluation.json", "delete it, and the command that made it evaluates the stage again"
    found = read_json(path, remedy)
    try:
        whole = found["row"]["stage"] == folder.name and len(found["replies"]) > 0
        whole &= all(math.isfinite(found["row"][name]) for name in FIGURES)
        whole &= all(isinstance(reply[name], str) for reply in found["replies"] for name in ("prompt", "reply"))
        whole &= all(math.isfinite(reply["score"]) for reply in found["replies"])
    except (LookupError, TypeError):
        whole = False
    if not whole:
        raise RunError(f"{path}: damaged; {remedy}")
    return found


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
