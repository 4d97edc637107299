"""Schedules for the bugs of snapshots (46 to 51)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from node.raft import configuration
from node.raft.configuration import Configuration
from node.raft.messages import (
    CONFIGURATION,
    AppendEntriesReply,
    Entry,
    InstallSnapshot,
    Message,
)
from tests.node.raft.bed import Bed
from tests.node.raft.schedules.common import MANUAL, Scripts

NO_SNAPSHOTS = msgspec.structs.replace(MANUAL, snapshot_interval_entries=0)


def saved(bed: Bed, *names: str) -> None:
    """Have each save a snapshot, and let it become durable."""
    for name in names:
        bed.snapshot(name)
    bed.run(20)


def cut_log(bed: Bed, name: str) -> None:
    """Two snapshots of `name`, which leads: its log then begins after the first."""
    saved(bed, name)
    bed.propose(name)
    bed.run(100)
    saved(bed, name)
    assert bed.core(name).log.base > 0


def snap_no_sessions(bugs: Sequence[str]) -> Bed:
    """The leader dies before it can answer; the successor restarts from a snapshot and is asked again."""
    bed = Bed(3, NO_SNAPSHOTS, bugs=bugs)
    bed.elect("n1")
    bed.run(100)

    def answers_to_n1(_from: str, to: str, message: Message) -> bool:
        return to == "n1" and isinstance(message, AppendEntriesReply)

    bed.rule = answers_to_n1
    token = bed.propose("n1")
    bed.run(20)
    bed.crash("n1")
    bed.rule = None
    bed.elect("n2")
    bed.run(100)
    saved(bed, "n2")
    bed.restart("n2")
    bed.elect("n2")
    bed.retry("n2", token)
    bed.run(100)
    return bed


def change_on_disk(bed: Bed, members: tuple[str, ...], *names: str) -> None:
    """The logs of `names` end with a change to `members`, as if a leader had just appended it; they restart."""
    data = configuration.encode(Configuration(members))
    for name in names:
        core, disk = bed.core(name), bed.members[name].disk
        change = Entry(core.log.last_index + 1, core.term, CONFIGURATION, data, zlib.crc32(data))
        bed.crash(name)
        disk.entries.append(change)
    for name in names:
        bed.start(name)


def snap_no_conf(bugs: Sequence[str]) -> Bed:
    """n3 and then n2 leave the group; n2 knows of n3's leave by its snapshot alone, and asks n3 for its vote."""
    bed = Bed(3, NO_SNAPSHOTS, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n3")
    change_on_disk(bed, ("n1", "n2"), "n1", "n2")
    bed.elect("n1")
    bed.run(100)
    saved(bed, "n2")
    bed.heal()
    bed.isolate("n1")
    change_on_disk(bed, ("n1",), "n1")
    bed.elect("n1")
    bed.propose("n1")
    bed.restart("n2")
    for _ in range(5):
        bed.vote("n2")
        bed.run(200)
    return bed


def snap_off_by_one(bugs: Sequence[str]) -> Bed:
    """A snapshot is taken while an entry is on its way to being committed; the member restarts."""
    bed = Bed(3, NO_SNAPSHOTS, bugs=bugs)
    bed.elect("n1")
    bed.propose("n1")
    bed.run(100)
    bed.propose("n1")
    saved(bed, "n1")
    bed.run(100)
    bed.restart("n1")
    bed.elect("n1")
    bed.run(100)
    return bed


def snap_regress(bugs: Sequence[str]) -> Bed:
    """A request to install is delivered once more when its follower is far beyond it."""
    bed = Bed(3, NO_SNAPSHOTS, bugs=bugs)
    bed.elect("n1")
    bed.isolate("n3")
    bed.propose("n1")
    bed.run(50)
    cut_log(bed, "n1")
    bed.heal()
    bed.run(300)
    late = [(to, m) for _, _, to, m in bed.sent if isinstance(m, InstallSnapshot)]
    assert bed.named("snapshot_loaded", "n3")
    bed.propose("n1")
    bed.run(100)
    for to, message in late:
        bed.deliver("n1", to, message)
    bed.run(300)
    return bed


def snap_cut_before_durable(bugs: Sequence[str]) -> Bed:
    """Power is lost while the snapshot is being written."""
    bed = Bed(3, NO_SNAPSHOTS, bugs=bugs)
    bed.elect("n1")
    bed.propose("n1")
    bed.run(100)
    bed.members["n1"].disk.save_ns = None
    bed.snapshot("n1")
    bed.run(20)
    bed.restart("n1")
    bed.elect("n1")
    return bed


def snap_keeps_conflict(bugs: Sequence[str]) -> Bed:
    """Two members hold a tail that was never committed; one of them installs a snapshot that ends within it."""
    bed = Bed(5, NO_SNAPSHOTS, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.cut(["n1", "n2"], ["n3", "n4", "n5"])
    for _ in range(12):
        bed.propose("n1")
    bed.run(20)
    bed.elect("n3")
    bed.propose("n3")
    bed.run(50)
    cut_log(bed, "n3")
    covered = bed.core("n3").snapshot
    assert covered is not None
    assert covered.index < bed.core("n1").log.last_index
    bed.crash("n1")
    bed.heal()
    bed.isolate("n2")
    bed.start("n1")
    bed.run_until(lambda: bool(bed.named("snapshot_loaded", "n1")), 1000)
    bed.match_logs()
    bed.run(200)
    return bed


SCRIPTS: Scripts = {
    "snap_no_sessions": (snap_no_sessions, "P-LIN"),
    "snap_no_conf": (snap_no_conf, "P-EL"),
    "snap_off_by_one": (snap_off_by_one, "P-SM"),
    "snap_regress": (snap_regress, "P-SM"),
    "snap_cut_before_durable": (snap_cut_before_durable, "P-DU"),
    "snap_keeps_conflict": (snap_keeps_conflict, "P-LM"),
}
