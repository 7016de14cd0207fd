"""Run a command and record what it takes to run it again.

    python tools/record.py NAME [--seeds 0 1 2] -- COMMAND ...

Writes `results/NAME/run.json`: the exact command, the commit (and whether the tree differed from it), the seeds, the
machine, the versions, the date, the seconds and the exit code. The command finds its folder in $MINIDSK_RESULT, where
it may write its metrics, and the commit in $MINIDSK_COMMIT. The record is written whether or not the command succeeds;
its exit code is passed on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from minidsk.atomic import atomic

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"


def record(
    name: str, command: list[str], seeds: list[int], results: Path = RESULTS, copied_from: str | None = None
) -> int:
    """Run `command` in the repository's root and write `results/NAME/run.json`; returns the command's exit code.

    `copied_from` is the commit that the tree is a copy of, where it came without its git.
    """
    folder = results / name
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "command": shlex.join(command),
        "seeds": seeds,
        **(commit() if copied_from is None else {"commit": copied_from, "dirty": False}),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
    }
    start = time.perf_counter()
    try:
        environment = {**os.environ, "MINIDSK_RESULT": str(folder), "MINIDSK_COMMIT": facts["commit"] or ""}
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    except FileNotFoundError:
        raise SystemExit(f"record: no such command: {command[0]}") from None
    facts.update(seconds=round(time.perf_counter() - start, 1), exit_code=code)
    with atomic(folder / "run.json") as path:
        path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return code


def commit() -> dict[str, Any]:
    """The commit that is checked out, and whether tracked files outside results/ differ from it."""
    head = git("rev-parse", "HEAD")
    return {"commit": head or None, "dirty": bool(git("status", "--porcelain", "-uno", "--", ".", ":!results"))}


def git(*arguments: str) -> str:
    """What a git command prints; empty where there is no repository."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, memory and GPUs; nothing that names the host."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts: dict[str, Any] = {"processor": processor(), "cores": cores, "system": platform.system()}
    try:
        import torch
    except ImportError:
        return facts
    facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return facts


def processor() -> str:
    """The processor's model name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of Python and of the packages whose version moves a result."""
    found = {"python": platform.python_version()}
    for package in ("torch", "triton", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run a command and record it under results/NAME/.")
    parser.add_argument("name", help="a folder under results/")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="the seeds that the command uses")
    parser.add_argument("--commit", help="the commit that this tree is a copy of, where it came without its git")
    head, dashes, command = sys.argv[1:], "--", []
    if dashes in head:
        at = head.index(dashes)
        head, command = head[:at], head[at + 1 :]
    arguments = parser.parse_args(head)
    if not command:
        parser.error("the command to run comes after --")
    if Path(arguments.name).is_absolute() or ".." in Path(arguments.name).parts:
        parser.error(f"{arguments.name}: name a folder under results/")
    return record(arguments.name, command, arguments.seeds, copied_from=arguments.commit)


if __name__ == "__main__":
    sys.exit(main())
