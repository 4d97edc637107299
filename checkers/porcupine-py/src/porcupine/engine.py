"""Which engine is in use: the compiled core where it was built, else the searches in Python.

Both give the same verdicts. The environment variable PORCUPINE_CORE, read once on import, chooses:
"python" does without the compiled core, "rust" insists on it. `porcupine.core` says what came of it; where nobody
chose, the first search without the compiled core says so once.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib import import_module
from typing import Any, Final, Literal

from porcupine.errors import PorcupineError

VARIABLE: Final = "PORCUPINE_CORE"
API: Final = 7  # as in rust/src/lib.rs: a core left over from an older build is not used
CHOICES: Final = ("", "python", "rust")


def load(wanted: str) -> Any:
    """The compiled core, or None where it is not wanted or was not built."""
    if wanted not in CHOICES:
        raise PorcupineError(f'{VARIABLE} is {wanted!r}; it must be "python", "rust" or not set')
    if wanted == "python":
        return None
    try:
        found = import_module("porcupine._core")
        if getattr(found, "API", None) != API:
            raise ImportError("it was built from other sources than these")
        return found
    except ImportError as error:
        if wanted == "rust":
            raise PorcupineError(
                f'{VARIABLE} is "rust", but the compiled core cannot be loaded ({error}); '
                "install porcupine-py again where cargo is on the PATH"
            ) from error
        return None


compiled: Final[Any] = load(os.environ.get(VARIABLE, ""))
core: Final[Literal["rust", "python"]] = "python" if compiled is None else "rust"


@cache
def remark_on_core() -> None:
    """Say once, through logging, that a search runs in Python though nobody asked for that."""
    if compiled is None and VARIABLE not in os.environ:
        logging.getLogger("porcupine").warning(
            "porcupine: this search runs in pure Python, for the compiled core was not built when porcupine-py was "
            "installed; install it again where cargo is on the PATH, or set %s=python if this is meant",
            VARIABLE,
        )
