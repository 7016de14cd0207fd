"""A test that is worth something: it accepts what is right and catches what is wrong."""

from collections.abc import Callable
from typing import Any


def bites(test: Callable[[Any], None], right: Any, bug: Any) -> None:
    """Print that `test` accepts the function `right` and catches the planted `bug`; raises AssertionError otherwise.

    A test is a function of one version that raises AssertionError where it finds a fault.
    """
    test(right)
    try:
        test(bug)
    except AssertionError:
        print(f"{test.__name__}: accepts {right.__name__}, catches {bug.__name__}")
    else:
        raise AssertionError(f"{test.__name__} accepts {bug.__name__}, which is wrong")
