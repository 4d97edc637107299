"""`driftline doctor`, `bugs` and `plans`: what this machine can do, and what there is to run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from harness.commands.exits import EXIT_HARNESS_ERROR
from harness.commands.options import RUNS_DIR
from harness.commands.places import plan_file, plan_folders
from harness.commands.telling import in_color, write_json


def doctor(*, runs: Path = RUNS_DIR, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Try every tool that faults rest on, by using it, and say what each fault will use.

    Exit 0 if the default plan can run, else 4.

    Parameters
    ----------
    runs
        Folder that will hold the runs; its file system is looked at.
    json
        One JSON document.
    """
    import msgspec
    import trio

    from harness import doctor as surgery

    checks = trio.run(surgery.examine, runs)
    if json:
        write_json({"checks": msgspec.to_builtins(checks), "fit": surgery.fit(checks)})
    else:
        for line in surgery.lines(checks, color=in_color()):
            print(line)
    return 0 if surgery.fit(checks) else EXIT_HARNESS_ERROR


def bugs(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """The seeded bugs: what each breaks, the fault that exposes it, how to run it.

    Parameters
    ----------
    json
        One JSON document.
    """
    from harness.systems import raft

    rows = []
    for name, broken, fault, violates in raft.bugs():
        path = plan_file(f"bug/{name}")
        command = ["driftline", "run"]
        command += ["--plan", f"bug/{name}"] if path.exists() else []
        command += ["--bug", name]
        rows.append(
            {
                "name": name,
                "broken": broken,
                "fault": fault,
                "violates": violates,
                "plan": str(path) if path.exists() else None,
                "run": shlex.join(command),
            }
        )
    if json:
        write_json(rows)
        return 0
    from harness import show

    for line in show.bug_lines(rows, color=in_color()):
        print(line)
    return 0


def plans(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """The ready plans: name, length, what they run.

    Parameters
    ----------
    json
        One JSON document.
    """
    from harness.plan import PlanError, read_plan

    rows: dict[str, dict[str, Any]] = {}
    for folder in plan_folders():
        for path in sorted(folder.rglob("*.toml")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in rows:
                continue
            row: dict[str, Any] = {"name": name, "path": str(path)}
            try:
                plan = read_plan(path)
            except PlanError as error:
                row["error"] = str(error)
            else:
                row |= {
                    "nodes": plan.nodes,
                    "clients": plan.clients,
                    "time_s": plan.time_s,
                    "workload": plan.workload.name,
                    "faults": [] if plan.faults.intensity == 0 else plan.faults.kinds,
                    "steps": len(plan.steps),
                    "bugs": plan.bugs,
                    "expect": plan.expect,
                }
            rows[name] = row
    if json:
        write_json(list(rows.values()))
        return 0
    from harness import show

    for line in show.plan_lines(list(rows.values())):
        print(line)
    return 0
