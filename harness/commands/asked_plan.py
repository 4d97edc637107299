"""The plan that a command line asks for: a file, with fields that options override."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from harness.commands.exits import Usage
from harness.commands.places import plan_file

if TYPE_CHECKING:
    from harness.plan import Plan


def plan_of(
    name: str | None,
    *,
    nodes: int | None = None,
    time: float | None = None,
    clients: int | None = None,
    rate: float | None = None,
    workload: str | None = None,
    read_modes: list[str] | None = None,
    faults: list[str] | None = None,
    intensity: float | None = None,
    links: Literal["toxiproxy", "embedded"] | None = None,
    bugs: list[str],
    stop_at_first_violation: bool = False,
) -> tuple[Plan, list[str]]:
    """The declared plan with the options laid over it, and the words of the command line that say so."""
    import msgspec

    from harness.plan import KINDS, Plan, read_plan

    path = plan_file(name) if name is not None else None
    plan = Plan() if path is None else read_plan(path)
    words = [] if path is None else ["--plan", str(path)]
    changes: dict[str, Any] = {}
    for field, option, given in (
        ("nodes", "--nodes", nodes),
        ("time_s", "--time", time),
        ("clients", "--clients", clients),
        ("rate", "--rate", rate),
        ("links", "--links", links),
    ):
        if given is not None:
            changes[field] = given
            words += [option, f"{given:g}" if isinstance(given, float) else str(given)]
    wanted = plan.workload
    if workload is not None:
        if workload != wanted.name:
            wanted = msgspec.structs.replace(wanted, name=workload, params={})
        words += ["--workload", workload]
    if read_modes is not None:
        wanted = msgspec.structs.replace(wanted, params={**wanted.params, "read_modes": read_modes})
        words += ["--read-modes", ",".join(read_modes)]
    changes["workload"] = wanted
    schedule = plan.faults
    if faults is not None:
        words += ["--faults", ",".join(faults)]
        if faults == ["none"]:
            # Scripted steps are faults too.
            schedule = msgspec.structs.replace(schedule, kinds=(), intensity=0.0)
            changes["steps"] = []
        else:
            for kind in faults:
                if kind not in KINDS:
                    raise Usage(
                        f"--faults {kind}: no such kind; there are {', '.join(KINDS)}, none"
                    )
            schedule = msgspec.structs.replace(schedule, kinds=tuple(faults))
    if intensity is not None:
        words += ["--intensity", f"{intensity:g}"]
        schedule = msgspec.structs.replace(schedule, intensity=intensity)
    changes["faults"] = schedule
    if stop_at_first_violation:
        changes["stop_at_first_violation"] = True
        words.append("--stop-at-first-violation")
    for bug in bugs:
        words += ["--bug", bug]
    changes["bugs"] = plan.bugs + [bug for bug in bugs if bug not in plan.bugs]
    return msgspec.structs.replace(plan, **changes), words
