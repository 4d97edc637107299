"""How commands write on standard output."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def write_json(document: Any) -> None:
    print(json.dumps(document, indent=2, default=str))


def in_color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
