"""What the package cannot do without, said in a sentence before some import fails for want of it."""

import re
from importlib import metadata

OLDEST_TORCH = (2, 6)


def check_torch() -> None:
    """Raises `ImportError` where torch is older than the oldest that the package was written for.

    The version is asked of what pip installed: importing torch to ask it takes seconds.
    """
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:  # none, or one that pip did not install: its import will tell
        return
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise ImportError(f"minidsk needs torch {oldest} or newer, and this is {version}: pip install -U torch")


check_torch()
