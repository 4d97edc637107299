"""The harness' exception tree. A message says what was asked, what was found, and the mend.

Everything under HarnessError is a failure of our own machinery, never of the system under test.
"""

from __future__ import annotations


class HarnessError(Exception):
    """The harness could not do its part."""


class PlanError(HarnessError):
    """A plan cannot be used; the message names the path of the field. Wrong usage: exit 64."""


class WardenError(HarnessError):
    """The warden refused a request, or is gone."""


class SpawnError(WardenError):
    """A child could not be started: no such program, no permission, no such folder."""


class LinkError(HarnessError):
    """The links could not be brought to, or held in, their desired state."""


class LinkServerError(LinkError):
    """A link server does not start, or cannot be found."""


class LinkApiError(LinkError):
    """A link server's API refused a call, broke off, or did not answer within its deadline."""


class LinkUnsupportedError(LinkError):
    """This kind of links cannot do what was asked (frame rules on toxiproxy)."""
