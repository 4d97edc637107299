"""Moves that go together: situations in which one rule of the protocol is all that stands between two truths.

Each scene is a function of the draw, the number of nodes and those that begin the group; most follow the
schedules of tests/node/raft/schedules/, with the exact times left to chance.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from tests.bed.moves import LEADER, OLD, Move

Scene = Callable[[random.Random, int, Sequence[int]], list[Move]]
"""(draw, number of nodes, the numbers of those that begin the group in random order) -> moves."""


def _looks(rng: random.Random) -> list[Move]:
    return [Move("read", OLD, rng.randint(1, 2)), Move("observe", OLD)]


def cut_off_leader(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """A leader that was cut off is asked while another one has already written."""
    moves = [Move("isolate", LEADER)]
    for _ in range(rng.randint(4, 9)):
        moves += [Move("run", rng.choice((25, 50, 75))), *_looks(rng), Move("write", LEADER)]
        moves.append(Move("run", 5))
    return moves


def end_of_the_promises(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """A leader that was cut off is looked at closely while its lease and the promises to it run out (E is 200 ms)."""
    moves = [Move("disk", n, 0) for n in range(nodes)]
    moves += [Move("run", 100), Move("isolate", LEADER), Move("run", 170)]
    for _ in range(25):
        moves += [Move("run", 4), *_looks(rng)]
    return moves


def lagging_candidate(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """A follower misses writes, and comes back as the only one who can elect or be elected."""
    some = rng.randrange(nodes)
    moves = [Move("isolate", some), Move("burst", LEADER, 4), Move("run", 50), Move("heal")]
    return [*moves, Move("isolate", LEADER), Move("vote", some), Move("run", 400)]


def power_loss(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """Power goes right after a write, at some or at all."""
    moves = [Move("burst", LEADER, 3), Move("run", rng.choice((1, 3, 8, 20)))]
    moves += [Move("crash", n) for n in rng.sample(range(nodes), rng.randint(1, nodes))]
    return [*moves, Move("start"), Move("isolate", rng.randrange(nodes)), Move("run", 500)]


def minority_tail(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """A leader in the minority piles up what the others overwrite."""
    moves = [Move("isolate", LEADER), Move("burst", OLD, 6), Move("run", 350)]
    moves += [Move("burst", LEADER, 3), Move("run", 50), Move("heal"), Move("run", 60)]
    return [*moves, Move("isolate", LEADER), Move("vote", OLD), Move("run", 400)]


def triangle(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """One link is cut, and the third node sees both ends."""
    moves = [Move("cut", LEADER, rng.randrange(nodes), 1)]
    for _ in range(12):
        moves += [Move("run", 30), *(Move("observe", n) for n in range(nodes))]
    return moves


def forgotten_promises(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """All followers forget what they had promised, were it not on their minds after a restart."""
    other = rng.randrange(nodes)
    moves = [Move("isolate", LEADER)]
    moves += [Move("crash", n) for n in range(nodes) if n != other]
    moves += [Move("start")]
    for _ in range(10):
        moves += [Move("run", 20), *_looks(rng)]
    return moves


def two_snapshots_away(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """Somebody is away over two snapshots, and is asked right after the one that he gets."""
    some = rng.randrange(nodes)
    moves = [Move("isolate", some)]
    for _ in range(2):
        moves += [Move("burst", LEADER, 8), Move("run", 50), Move("snapshot", LEADER)]
        moves += [Move("run", 60)]
    moves += [Move("heal"), Move("run", 400), Move("crash", some), Move("start")]
    return [*moves, Move("retry", LEADER), Move("run", 100)]


def late_install(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """The order to load a snapshot comes a second time, late, after a newer one was loaded."""
    some = rng.choice(group)
    moves = [Move("isolate", some)]
    for _ in range(2):
        moves += [Move("burst", LEADER, 8), Move("run", 50), Move("snapshot", LEADER)]
        moves += [Move("run", 60)]
    moves += [Move("lag", some, rng.choice((300, 500, 800))), Move("heal_links"), Move("run", 50)]
    moves += [Move("lag", some, 0), Move("run", 200)]
    for _ in range(2):
        moves += [Move("burst", LEADER, 8), Move("run", 50), Move("snapshot", LEADER)]
        moves += [Move("run", 60)]
    return [*moves, Move("run", 500)]


def change_in_part(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """The group changes while a part of it cannot hear of it."""
    some = rng.randrange(nodes)
    moves = [Move("isolate", some), Move("change", rng.randint(1, 2**nodes - 1))]
    moves += [Move("run", 50), Move("write", LEADER), Move("run", 300), Move("vote", some)]
    return [*moves, Move("write", LEADER), Move("run", 300), Move("heal"), Move("run", 200)]


def rivals(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """Two are asked to stand at once, with the leader gone."""
    some, other = rng.randrange(nodes), rng.randrange(nodes)
    moves = [Move("crash", LEADER), Move("run", 300), Move("vote", some), Move("vote", other)]
    return [*moves, Move("run", 100), Move("crash", some), Move("start"), Move("run", 100)]


def split(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """The group falls in two, perhaps in the middle of a change of its members; both parts are written to and read."""
    moves: list[Move] = []
    if rng.random() < 0.6:
        if rng.random() < 0.3:
            moves.append(Move("elect", rng.choice(group)))
        moves.append(Move("change", rng.randint(1, 2**nodes - 1)))
        moves.append(Move("run", rng.choice((0, 1, 2, 5, 20, 60))))
    part = rng.sample(range(nodes), rng.choice((nodes // 2, (nodes + 1) // 2)))
    moves.append(Move("split", sum(1 << n for n in part)))
    moves.append(Move("vote", rng.choice(group)))
    for _ in range(rng.randint(8, 16)):
        moves += [Move("write", OLD), Move("run", rng.choice((20, 30, 40))), *_looks(rng)]
        moves += [Move("write", LEADER)]
    return moves


def late_answers(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """What the leader is told comes late; then it falls silent, and still gets answers to what it said before."""
    moves = [Move("disk", n, 0) for n in range(nodes)]
    moves += [Move("lag", LEADER, rng.choice((60, 90, 150))), Move("run", 300)]
    moves += [Move("mute", LEADER), Move("read", OLD, 1), Move("vote", rng.choice(group))]
    for _ in range(25):
        moves += [Move("run", rng.choice((5, 10, 20))), *_looks(rng), Move("write", LEADER)]
    return moves


def wall_clocks(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """The wall clocks of those who gave promises are set, while the leader cannot hear of what they do."""
    moves = [Move("isolate", LEADER)]
    moves += [Move("wall", n, rng.choice((60_000, 60_000, -60_000))) for n in range(nodes)]
    for _ in range(10):
        moves += [Move("run", 20), *_looks(rng)]
    return moves


def own_promise(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """A part of the voters has not heard of the leader for long; who has is asked to stand with their votes."""
    away = group[: len(group) // 2]
    moves = [Move("cut", LEADER, n, 1) for n in away]
    moves += [Move("run", 300), Move("isolate", LEADER), Move("vote", group[-1])]
    for _ in range(15):
        moves += [Move("run", 12), *_looks(rng)]
    return moves


def figure_8(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """Raft figure 8: an entry of an old term comes to a majority, and power goes just after an election."""
    held = max(1, (len(group) - 1) // 2)
    first, rival, middle = group[0], group[-1], group[held:-1]
    moves = [Move("elect", first), Move("run", 30)]
    moves += [Move("cut", first, n, 1) for n in group[held:]]
    moves += [Move("write", first), Move("run", rng.choice((8, 30, 80))), Move("crash", first)]
    moves += [Move("cut", rival, n, 1) for n in group[1:held]]
    moves += [Move("elect", rival), Move("crash", rival), Move("heal"), Move("boot", first)]
    moves += [Move("disk", n, rng.choice((10_000, 60_000))) for n in middle]
    moves += [Move("disk", n, 0) for n in (first, rival)]
    moves += [Move("elect", first), Move("run", rng.choice((10, 20, 40, 65, 75, 90)))]
    moves += [Move("crash", n) for n in (first, *middle)]
    moves += [Move("boot", n) for n in (rival, *middle)]
    return [*moves, Move("elect", rival), Move("run", 60), Move("start"), Move("run", 200)]


def slow_acknowledgement(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """Followers vote for another leader between an append and its sync."""
    rival = group[0]
    moves = [Move("isolate", rival)]
    moves += [Move("disk", n, 0 if n == rival else 60_000) for n in range(nodes)]
    moves += [Move("run", 100), Move("write", LEADER), Move("run", rng.choice((2, 5, 10, 20)))]
    moves += [Move("heal"), Move("mark", LEADER), Move("cut", LEADER, rival, 1)]
    moves += [Move("vote", rival), Move("run", 65), Move("isolate", OLD), Move("run", 200)]
    return [*moves, *(Move("disk", n, 0) for n in range(nodes)), Move("heal"), Move("run", 100)]


def old_acknowledgements(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """A leader gets the acknowledgements of its last leadership but one, for entries that were overwritten."""
    half = max(1, (len(group) - 1) // 2)
    first, others = group[0], group[half:] or group
    moves = [Move("elect", first), Move("run", 30)]
    moves += [Move("cut", n, m, 1) for n in group[:half] for m in others]
    moves += [Move("lag", first, rng.choice((150, 300, 600))), Move("burst", first, 5)]
    moves += [Move("run", 10), Move("lag", first, 0), Move("elect", others[0]), Move("heal_links")]
    moves += [Move("run", 60), Move("elect", first)]
    moves += [Move("cut", first, n) for n in group[1:] if n != others[-1]]
    moves += [Move("burst", first, 5), Move("run", 300), Move("crash", first)]
    return [*moves, Move("elect", others[0]), Move("run", 60)]


def unfinished_transfer(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """The old leader does not hear of the one who takes over, or who takes over is told so very late."""
    to = group[0]
    moves = [Move("run", 100), Move("mark", LEADER)]
    if rng.random() < 0.5:
        moves += [
            Move("cut", to, OLD),
            Move("transfer", OLD, to),
            Move("run", rng.choice((1, 3, 8))),
        ]
        moves.append(Move("isolate", OLD))
    else:
        moves += [Move("lag", to, rng.choice((250, 300))), Move("transfer", OLD, to)]
        moves += [Move("run", rng.choice((210, 230))), Move("cut", to, OLD)]
        moves += [Move("cut", OLD, n, 1) for n in range(nodes) if n != to]
    for _ in range(15):
        moves += [Move("run", rng.choice((5, 10))), *_looks(rng), Move("write", to)]
    return moves


def successor_is_asked(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """A leader dies when it has acknowledged a write; its successor is read at the moment it leads."""
    some = rng.choice(group)
    moves = [Move("write", LEADER), Move("run", rng.choice((3, 8, 25, 70))), Move("crash", LEADER)]
    moves += [Move("elect", some), Move("read", some, 1), Move("read", some, 2)]
    return [*moves, Move("run", 5), Move("read", some, 2), Move("run", 100)]


def stopped_leader(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """A leader's process is stopped until there is another one, and goes on."""
    ms = rng.choice((300, 400, 600))
    moves = [Move("mark", LEADER), Move("pause", OLD, ms), Move("run", ms - 20)]
    return [*moves, Move("write", LEADER), Move("run", 60)]


def eager_readers(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """Followers are read just after a write, of whose commit they have not heard."""
    moves: list[Move] = []
    for _ in range(3):
        moves += [Move("burst", LEADER, 3), Move("run", rng.choice((2, 5, 15, 40)))]
        moves += [*(Move("read", n, 1) for n in range(nodes)), Move("run", rng.choice((5, 30)))]
    return moves


def tail_and_snapshot(rng: random.Random, nodes: int, group: Sequence[int]) -> list[Move]:
    """A leader in the minority has a longer log than the snapshot that it must load later."""
    moves = [
        Move("isolate", LEADER),
        Move("burst", OLD, 8),
        Move("burst", OLD, 8),
        Move("run", 400),
    ]
    for _ in range(2):
        moves += [Move("burst", LEADER, 3), Move("run", 60), Move("snapshot", LEADER)]
        moves += [Move("run", 70)]
    return [*moves, Move("heal"), Move("run", 400)]


SCENES: Final[tuple[Scene, ...]] = (
    cut_off_leader,
    end_of_the_promises,
    lagging_candidate,
    power_loss,
    minority_tail,
    triangle,
    forgotten_promises,
    two_snapshots_away,
    late_install,
    change_in_part,
    rivals,
    split,
    split,
    late_answers,
    wall_clocks,
    own_promise,
    figure_8,
    slow_acknowledgement,
    old_acknowledgements,
    unfinished_transfer,
    successor_is_asked,
    stopped_leader,
    eager_readers,
    tail_and_snapshot,
)
