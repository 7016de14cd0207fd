"""What the package cannot do without, said in a sentence before some import fails for want of it."""

import re

import torch

OLDEST_TORCH = (2, 6)


def check_torch() -> None:
    """Raises `ImportError` where torch is older than the oldest that the package was written for."""
    found = re.match(r"(\d+)\.(\d+)", str(torch.__version__))
    if found and (int(found[1]), int(found[2])) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise ImportError(
            f"minidsk needs torch {oldest} or newer, and this is {torch.__version__}: pip install -U torch"
        )


check_torch()
