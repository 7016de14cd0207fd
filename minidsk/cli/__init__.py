"""The command line, `minidsk`: one line and exit code 2 for what the user can correct, exit code 130 for Ctrl-C."""

import os
import sys


def main() -> None:
    """Run what the command line asks for, and exit."""
    open_streams()
    try:
        from minidsk.cli.command import run  # here, so that Ctrl-C is no traceback while torch is being imported

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        print("\nminidsk: stopped", file=sys.stderr)
        code = 130
    sys.exit(code)


def open_streams() -> None:
    """Make every stream usable: one that is closed is empty, and what its encoding does not have is replaced."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (open to the end)
        else:
            stream.reconfigure(errors="replace")
