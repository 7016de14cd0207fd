"""Problems with verifiers. `make_task(name, ...)` makes a task by its name, and `TASKS` has them all.

Every file beside this one is read, and registers what tasks it holds: a new task is a new file.
"""

from importlib import import_module
from pkgutil import iter_modules

from minidsk.tasks.base import TASKS as TASKS
from minidsk.tasks.base import make_task as make_task

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")
