"""The picture of a checked history: one HTML file that needs nothing but itself.

After Porcupine's, whose names these are. Its rule: what comes from a history is data. It enters the page escaped, or as
JSON in a block that no browser executes; the page's own script and style are named by their hashes in its
content security policy. The file is plain ASCII, so that no encoding can spoil it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final, Protocol

from porcupine.linearization import LinearizationInfo
from porcupine.model import Model
from porcupine.visualization.data import Bounds, choose, page_data, parts_of
from porcupine.visualization.words import ANSWER, sentence, summary, verdict_of

SCRIPTS: Final = ("data.js", "layout.js", "draw.js", "panels.js", "page.js")
"""One after the other they are one script; each may use what stands before it."""


class TextFile(Protocol):
    """What a picture can be written to."""

    def write(self, text: str, /) -> object: ...


def visualize(
    model: Model,
    info: LinearizationInfo,
    file: TextFile,
    *,
    title: str = "",
    unit: str = "",
    bounds: Bounds | None = None,
) -> None:
    """Write the picture of what a verbose check left to a file that takes text.

    title: what the history is, for the page's head. unit: what the times count, "ns", "us", "ms" or "s", so that
    they can be told as seconds; without it they are shown as they are. bounds: what the page may hold at
    most; what does not fit is left out, and the page says how much. The parts, orders, verdicts and notes are
    the info's; the texts are made by the model's describe_operation, describe_state and
    describe_operation_metadata, and whatever these raise is raised here.
    """
    file.write(page(model, info, title=title, unit=unit, bounds=bounds))


def visualize_path(
    model: Model,
    info: LinearizationInfo,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    unit: str = "",
    bounds: Bounds | None = None,
) -> None:
    """As visualize, to a path, in one step: a reader finds the old file or the new one, never half of it."""
    text = page(model, info, title=title, unit=unit, bounds=bounds)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="ascii", newline="\n")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def page(
    model: Model,
    info: LinearizationInfo,
    *,
    title: str = "",
    unit: str = "",
    bounds: Bounds | None = None,
) -> str:
    """The whole document, in ASCII."""
    bounds = bounds or Bounds()
    parts = parts_of(model, info)
    choose(parts, bounds)
    verdict = verdict_of(parts)
    data = page_data(model, info, parts, bounds)
    data["unit"] = unit
    data["verdict"] = verdict
    style = _asset("page.css")
    script = "(() => {\n" + "".join(map(_asset, SCRIPTS)) + "})();\n"
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    name = title or model.name or "history"
    text = Template(_asset("page.html")).substitute(
        policy=policy,
        style=style,
        script=script,
        title=_ascii(f"{name}: {ANSWER[verdict]}"),
        name=_ascii(name),
        verdict=verdict,
        answer=ANSWER[verdict],
        sentence=_ascii(sentence(model, parts)),
        summary=summary(model, parts).encode("ascii", "xmlcharrefreplace").decode("ascii"),
        data=_json(data),
    )
    assert text.isascii()
    return text


def _ascii(text: str) -> str:
    return escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _json(data: object) -> str:
    """JSON that may stand in a script element: no tag can begin in it, and no line end is in its strings."""
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="ascii")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("ascii")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
