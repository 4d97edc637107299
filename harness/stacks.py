"""Where every trio task stands: what is left to look at when a run did not come to its end."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import trio


def task_stacks() -> str:
    """One block per task of this trio run, outermost frame first, children below their parents."""
    root = trio.lowlevel.current_root_task()
    return "\n".join(_told(root, 0)) if root is not None else ""


def _told(task: trio.lowlevel.Task, depth: int) -> Iterator[str]:
    indent = "  " * depth
    yield f"{indent}task {task.name}"
    frames = traceback.StackSummary.extract(task.iter_await_frames())
    for line in frames.format():
        for part in line.rstrip().splitlines():
            yield f"{indent}{part}"
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _told(child, depth + 1)
