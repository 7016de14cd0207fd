"""Problems with verifiers. `make_task(name, ...)` makes a task by its name, and `TASKS` has them all."""

from minidsk.tasks import countdown as countdown  # registers itself
from minidsk.tasks.base import TASKS as TASKS
from minidsk.tasks.base import make_task as make_task
