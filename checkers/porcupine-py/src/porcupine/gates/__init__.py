"""Gates: polynomial checks for the ready models, where every value is distinct.

What distinct values give is known by whom each was put in and by whom it was taken out, and that is most of what
a search looks for. Each module here decides one model from that, and refuses a history to which it does not apply;
it then goes to the search. The modules are the reference: the compiled core has the same checks, and where it finds
a contradiction it names the few operations that hold it, which are then judged here, for the words.

An operation of unknown outcome counts if some completed one saw what it did, and then has no return. One that
nobody saw is left out, which makes nothing else harder. Intervals are closed: comparisons of times are strict.
"""

from __future__ import annotations

from porcupine.gates.appends import check_appends, check_lists
from porcupine.gates.counters import check_counter
from porcupine.gates.fifo import check_queue
from porcupine.gates.lifo import check_stack
from porcupine.gates.priority import check_priority_queue
from porcupine.gates.sets import check_set

__all__ = [
    "check_appends",
    "check_counter",
    "check_lists",
    "check_priority_queue",
    "check_queue",
    "check_set",
    "check_stack",
]
