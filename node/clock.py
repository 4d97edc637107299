"""The clock seam: a node's own monotonic clock is a function of true time, and this file is where true time enters.

Own time is piecewise linear in true time and never goes back: its rate may change (own time stays continuous), and it may
jump forward. All arithmetic is on integers. True time must stay true when libfaketime is preloaded, whose lies cover every
clock of libc; what it cannot reach is the kernel's vdso, called by address.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from typing import Final

BILLION: Final = 1_000_000_000
_CLOCK_MONOTONIC: Final = 1
OFFSET_NS_MAX: Final = 86_400 * BILLION
"""A day: more would say nothing new, and every reading must fit into 64 bits of a record."""
_SYS_CLOCK_GETTIME: Final = 228
"""x86-64's number; on other machines the call is tried once and dropped when it disagrees with the clock."""


def _python_clock() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _vdso_clock() -> Callable[[], int] | None:
    try:
        function = ctypes.CDLL("linux-vdso.so.1").__vdso_clock_gettime
    except (OSError, AttributeError):
        return None
    return _timespec_reader(
        lambda address: function(_CLOCK_MONOTONIC, address), function, (ctypes.c_int,)
    )


def _syscall_clock() -> Callable[[], int] | None:
    if os.uname().machine != "x86_64":
        return None
    function = ctypes.CDLL(None).syscall
    return _timespec_reader(
        lambda address: function(_SYS_CLOCK_GETTIME, _CLOCK_MONOTONIC, address),
        function,
        (ctypes.c_long, ctypes.c_long),
    )


def _timespec_reader(
    call: Callable[[int], int], function: object, before: tuple[type, ...]
) -> Callable[[], int] | None:
    function.argtypes = (*before, ctypes.c_void_p)  # type: ignore[attr-defined]
    timespec = (ctypes.c_int64 * 2)()
    address = ctypes.addressof(timespec)
    if call(address) != 0 or timespec[0] == 0:
        return None

    def read() -> int:
        call(address)
        return timespec[0] * BILLION + timespec[1]

    return read


def faketime_is_loaded() -> bool:
    """Whether some library named like libfaketime is mapped into this process."""
    if "faketime" in os.environ.get("LD_PRELOAD", ""):
        return True
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            return "faketime" in maps.read()
    except OSError:
        return False


def true_clock() -> Callable[[], int]:
    """A reader of the host's CLOCK_MONOTONIC in nanoseconds, true even under libfaketime.

    Python's own call costs about 50 ns and is taken where nothing fakes it; the vdso costs about 0.5 us, a bare system call
    about 2 us. Not for several threads at once.
    """
    if not faketime_is_loaded():
        return _python_clock
    return _vdso_clock() or _syscall_clock() or _python_clock


class NodeClock:
    """Own time, counted like true time from `origin_ns`, so that without faults both read the same.

    `rate` is own nanoseconds per true nanosecond, kept in parts per billion.
    """

    __slots__ = ("_base_own", "_base_true", "_origin", "_rate_ppb", "offset_ns", "true_abs")

    def __init__(
        self, true_abs: Callable[[], int], origin_ns: int, *, rate: float = 1.0, offset_ns: int = 0
    ) -> None:
        self.true_abs = true_abs
        self._origin = origin_ns
        self._base_true = true_abs()
        self._base_own = self._base_true - origin_ns
        self._rate_ppb = BILLION
        self.offset_ns = 0
        self.set(rate=rate, offset_ns=offset_ns)

    def __repr__(self) -> str:
        return f"<NodeClock rate={self.rate} offset_ns={self.offset_ns}>"

    @property
    def rate(self) -> float:
        return self._rate_ppb / BILLION

    def true(self) -> int:
        """True time in ns since the origin."""
        return self.true_abs() - self._origin

    def own(self) -> int:
        """Own time in ns now."""
        return self.own_at(self.true_abs() - self._origin)

    def own_at(self, true: int) -> int:
        """Own time at the true time `true` (ns since the origin), which must not lie before the newest change."""
        passed = true + self._origin - self._base_true
        if self._rate_ppb != BILLION:
            passed = passed * self._rate_ppb // BILLION
        return self._base_own + passed

    def true_until(self, own_deadline: int, own_now: int) -> int:
        """True nanoseconds from `own_now` until own time reaches `own_deadline`; 0 if it has, rounded up."""
        left = own_deadline - own_now
        if left <= 0:
            return 0
        if self._rate_ppb != BILLION:
            left = -(-left * BILLION // self._rate_ppb)
        return left

    def set(self, *, rate: float | None = None, offset_ns: int = 0) -> None:
        """Go on from now at another `rate`, and jump forward by `offset_ns`; ValueError for what would go back or stand."""
        if offset_ns < 0:
            raise ValueError(f"a monotonic clock jumps forward only, asked was {offset_ns} ns")
        if rate is not None and not 0.001 <= rate <= 1000:
            raise ValueError(f"a clock's rate lies between 0.001 and 1000, asked was {rate}")
        if offset_ns > OFFSET_NS_MAX:
            raise ValueError(
                f"a clock jumps forward by {OFFSET_NS_MAX} ns at most, asked was {offset_ns}"
            )
        ppb = self._rate_ppb if rate is None else round(rate * BILLION)
        true_abs = self.true_abs()
        own = self.own_at(true_abs - self._origin)
        self._base_true = true_abs
        self._base_own = own + offset_ns
        self._rate_ppb = ppb
        self.offset_ns += offset_ns
