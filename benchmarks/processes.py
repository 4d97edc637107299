"""CPU time of a bed's processes by role, from /proc: what other people's work on the same machine distorts least."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.bed import Bed

ROLES = ("clients", "leader", "followers", "links")


class CpuTimes:
    """User and system time of every process of `bed` from here on; this process is the clients."""

    def __init__(self, bed: Bed) -> None:
        self._roles: dict[int, str] = {os.getpid(): "clients"}
        for name, member in bed.cluster.members.items():
            if member.process is not None:
                leads = name == bed.cluster.leader
                self._roles[member.process.pid] = "leader" if leads else "followers"
        for server in bed.cluster.links.servers.values():
            if server.process is not None:
                self._roles[server.process.pid] = "links"
        self._begin = {pid: cpu_seconds(pid) for pid in self._roles}

    def spent(self) -> dict[str, float]:
        """Seconds since the start by role, of all processes of each."""
        found = dict.fromkeys(ROLES, 0.0)
        for pid, role in self._roles.items():
            found[role] += cpu_seconds(pid) - self._begin[pid]
        return found


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, its dead children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
