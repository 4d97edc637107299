"""Frame rules: what an embedded link does to frames of given kinds. Pure; relay.py moves the bytes.

A rule that is over (its `count` is used up) leaves the frame to the next one; the first rule that
acts on a frame has it.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class FrameRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an embedded link does to frames of these kinds (an empty list: to every frame).

    `links`: names, or "*". `direction`: "request" flows from the connecting side. The first `after`
    matches pass, then `count` matches (None: all) are acted on. `deliver="new"`: frames whose
    connection died while they were held go out on a newer connection of the same link.
    """

    id: str
    links: list[str] | str
    direction: Literal["request", "response"]
    kinds: list[str]
    action: Literal["hold", "drop", "duplicate", "delay"]
    delay_ms: int = 0
    count: int | None = None
    after: int = 0
    deliver: Literal["same", "new"] = "same"


class RuleState(msgspec.Struct, kw_only=True):
    """A rule with its counters: the evidence that it met something. Lost with the server."""

    rule: FrameRule
    matched: int = 0
    held: int = 0
    dropped: int = 0
    duplicated: int = 0
    delayed: int = 0
    released: int = 0
    discarded: int = 0

    def covers(self, link: str, direction: str) -> bool:
        """Does the rule look at this stream at all?"""
        rule = self.rule
        return direction == rule.direction and (rule.links == "*" or link in rule.links)

    def takes(self, kind: str | None) -> bool:
        """Count one frame that passes by; True if the rule acts on it."""
        rule = self.rule
        if rule.kinds and kind not in rule.kinds:
            return False
        self.matched += 1
        position = self.matched - rule.after
        return position > 0 and (rule.count is None or position <= rule.count)
