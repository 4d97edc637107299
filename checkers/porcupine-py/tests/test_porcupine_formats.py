"""Porcupine's logs are read as they were meant."""

from __future__ import annotations

import pytest

from porcupine import UNKNOWN, FormatError, Operation
from porcupine.formats import read_etcd_log, read_kv_log

ETCD = """\
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 1\t:invoke\t:write\t3
INFO  jepsen.util - 0\t:ok\t:read\tnil
INFO  jepsen.util - 1\t:ok\t:write\t3
INFO  jepsen.util - 2 :invoke :cas    [3 4]
INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]
INFO  jepsen.util - 2\t:ok\t:cas\t[3 4]
INFO  jepsen.util - 3\t:fail\t:cas\t[1 2]
INFO  jepsen.util - 4\t:invoke\t:write\t0
INFO  jepsen.util - 4\t:info\t:write\t:timed-out
INFO  jepsen.util - 5\t:invoke\t:read\tnil
INFO  jepsen.util - 5\t:fail\t:read\t:timed-out
INFO  jepsen.util - 6\t:invoke\t:read\tnil
"""


def test_an_etcd_log_becomes_operations_in_order_of_call() -> None:
    assert read_etcd_log(ETCD) == [
        Operation(0, ("read",), 0, None, 2),
        Operation(1, ("write", 3), 1, None, 3),
        Operation(2, ("cas", 3, 4), 4, True, 6),
        Operation(3, ("cas", 1, 2), 5, False, 7),
        Operation(4, ("write", 0), 8, UNKNOWN, None, "info"),
        Operation(5, ("read",), 10, None, 11, "fail"),
        Operation(6, ("read",), 12, UNKNOWN, None, "info"),
    ]


def test_a_failed_compare_and_set_can_be_dropped() -> None:
    assert read_etcd_log(ETCD, failed_cas="dropped")[3].outcome == "fail"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "INFO  jepsen.util - 0\t:invoke\t:delete\t3",
            r"event 0 \(line 1\): 'delete' has no meaning",
        ),
        ("INFO  jepsen.util - 0\tinvoke\t:read\t3", "line 1 is not an event"),
        ("INFO  jepsen.util - 0\t:ok\t:read\t3", r"event 0 \(line 1\): .* was never invoked"),
        (
            "INFO  jepsen.util - 0\t:invoke\t:cas\t3",
            r"event 0 \(line 1\): a cas wants \[expected new\]",
        ),
        (
            "INFO  jepsen.util - 0\t:invoke\t:read\tnil\nINFO  jepsen.util - 0\t:ok\t:write\t3",
            r"event 1 \(line 2\): process 0 completes 'write', but .* 'read' of event 0 \(line 1\)",
        ),
        (
            "INFO  jepsen.util - 0\t:invoke\t:read\tnil\nINFO  jepsen.util - 0\t:invoke\t:read\tnil",
            r"event 1 \(line 2\): .* is still open",
        ),
    ],
)
def test_a_wrong_etcd_line_is_refused(text: str, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        read_etcd_log(text)


def test_a_foreign_line_in_an_etcd_log_is_passed_over() -> None:
    assert read_etcd_log("WARN something else\n") == []


KV = """\
{:process 0, :type :invoke, :f :append, :key "2", :value "x 0 0 y"}
{:process 1, :type :invoke, :f :get, :key "2", :value nil}
{:process 1, :type :ok, :f :get, :key "2", :value ""}
{:process 0, :type :ok, :f :append, :key "2", :value "x 0 0 y"}
{:process 1, :type :invoke, :f :put, :key "2", :value "z"}
"""


def test_a_kv_log_becomes_operations_in_order_of_call() -> None:
    assert read_kv_log(KV) == [
        Operation(0, ("append", "2", "x 0 0 y"), 0, None, 3),
        Operation(1, ("get", "2"), 1, "", 2),
        Operation(1, ("put", "2", "z"), 4, UNKNOWN, None, "info"),
    ]


def test_a_wrong_kv_line_is_refused() -> None:
    with pytest.raises(FormatError, match="line 1 is not an event"):
        read_kv_log("{:process 0}")
    with pytest.raises(FormatError, match=r"event 0 \(line 1\): .* was never invoked"):
        read_kv_log('{:process 0, :type :ok, :f :get, :key "2", :value ""}')
