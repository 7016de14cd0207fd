"""The runs from random weights to a reasoner that are recorded in results/, as a table to beat, and their ledgers.

    python tools/record_table.py [RUN ...]

RUN: folders of your own runs of `minidsk reason`, each a row beside the recorded ones.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from minidsk import results
from minidsk.hub.folder import CheckpointError
from minidsk.report.columns import aligned
from minidsk.report.ledger import LEDGER, STANDING, ledger, standing
from minidsk.report.stages import read_stages
from minidsk.train.checkpoint import RunError

RECORDED = ("capstone", "sos", "five", "small", "nano")


def main(arguments: Sequence[str]) -> int:
    """Print the table and the ledgers; exit code 2 where a folder holds no run."""
    recorded = {name: sorted(results.folder(f"reason_{name}").glob("seed*")) for name in RECORDED}
    rows = [standing(name, folders) for name, folders in recorded.items()]
    try:
        rows += [standing(folder, [Path(folder)]) for folder in arguments]
    except (CheckpointError, RunError) as error:
        print(error, file=sys.stderr)
        return 2
    print(aligned([STANDING, *rows]))
    print("Accuracies in %, greedy, held-out problems: mean over seeds and 95 % interval; one seed: over problems.")
    for name, (first, *_) in recorded.items():
        print(f"\n{name}, {first.name}")
        print(aligned([LEDGER, *ledger(read_stages(first), results.facts(f"reason_{name}/{first.name}"))]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
