"""The picture in a real browser: what it opens with, what pointer and keys do. Skipped where no chromium is.

The browser is driven through its debugging pipe, so that nothing but the standard library is needed.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from porcupine import Annotation, Model, Operation, check_verbose, models, visualize_path
from porcupine.formats import read_etcd_log, read_kv_log

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]
PATIENCE_S = 60.0

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on the PATH"),
    pytest.mark.skipif(
        os.environ.get("PORCUPINE_CORE") == "python",
        reason="the page is the same whichever core judged",
    ),
]


class Browser:
    """One page of a headless chromium; commands go out and answers come in as JSON, each ended by a zero."""

    def __init__(self, profile: Path) -> None:
        from_us, to_browser = os.pipe()
        from_browser, to_us = os.pipe()
        self.out, self.into = to_browser, from_browser
        # It reads from file descriptor 3 and writes to 4.
        shell = f'exec "$@" 3<&{from_us} 4>&{to_us}'
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "chromium", *command],
            pass_fds=[from_us, to_us],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        self.number = 0
        self.session = ""
        self.rest = b""
        self.said: list[dict[str, Any]] = []
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)

    def heard(self) -> dict[str, Any]:
        ends = monotonic() + PATIENCE_S
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.into], [], [], max(0, ends - monotonic()))
            piece = os.read(self.into, 1 << 16) if ready else b""
            if not piece:
                raise EOFError("the browser does not answer")
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found

    def ask(self, method: str, **given: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": given}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.heard()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.said.append(answer)

    def go(self, file: Path, fragment: str = "") -> None:
        """Open a page, and wait until it is drawn."""
        # By way of nowhere: a change of the fragment alone would load nothing.
        for url in ("about:blank", file.as_uri() + fragment):
            self.said = [each for each in self.said if each.get("method") != "Page.loadEventFired"]
            self.ask("Page.navigate", url=url)
            while not any(each.get("method") == "Page.loadEventFired" for each in self.said):
                self.said.append(self.heard())
        assert self.js("document.documentElement.dataset.ready") == "yes", self.complaints()
        self.settle()

    def complaints(self) -> list[Any]:
        """What the browser found wrong with the page, security policy and all."""
        found = [
            each["params"] for each in self.said if each.get("method") == "Runtime.exceptionThrown"
        ]
        logged = [
            each["params"]["entry"] for each in self.said if each.get("method") == "Log.entryAdded"
        ]
        # Warnings are of the readings of pixels that these tests do.
        return found + [entry for entry in logged if entry["level"] == "error"]

    def js(self, text: str) -> Any:
        answer = self.ask(
            "Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def settle(self) -> None:
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def text(self, identity: str) -> str:
        self.settle()
        found: str = self.js(f"document.getElementById('{identity}').textContent")
        return found

    def click_on(self, identity: str) -> None:
        self.js(f"document.getElementById('{identity}').click()")
        self.settle()

    def key(self, name: str) -> None:
        text = {"text": name} if len(name) == 1 else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=name, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=name)
        self.settle()

    def move(self, x: float, y: float) -> None:
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def press(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def inked(self, x: int, y: int, width: int, height: int) -> int:
        """How many different colours a rectangle of the picture has."""
        found: int = self.js(
            f"new Set(new Uint32Array(document.getElementById('canvas').getContext('2d')"
            f".getImageData({x}, {y}, {width}, {height}).data.buffer)).size"
        )
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.into)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    try:
        found = Browser(tmp_path_factory.mktemp("profile"))
    except (EOFError, OSError) as why:
        pytest.skip(f"{CHROMIUM} does not start here: {why}")
    yield found
    found.close()


def draw(tmp_path: Path, model: Model, history: list[Operation], *notes: Annotation) -> Path:
    _, info = check_verbose(history, model)
    info.add_annotations(notes)
    file = tmp_path / "picture.html"
    visualize_path(model, info, file, unit="ms")
    return file


STALE = [
    Operation(0, ("write", 1), 0, None, 20, metadata="to n1"),
    Operation(1, ("write", 2), 5, None, 40),
    Operation(2, ("read",), 10, 1, 20),
    Operation(2, ("read",), 25, 2, 30),
    Operation(2, ("read",), 35, 1, 45),
    Operation(3, ("cas", 9, 3), 12, None, None, "info"),
    Operation(3, ("read",), 50, None, 52, "fail"),
]


def test_it_opens_at_the_first_error_with_the_longest_order_and_its_reason(
    browser: Browser, tmp_path: Path
) -> None:
    browser.go(draw(tmp_path, models.cas_register(), STALE))
    why = browser.text("why")
    assert "The history is not linearizable" in why
    assert "No order gets past the return of client 2: read() -> 1 in [35, 45]" in why
    assert "not possible here" in why
    assert "A contradiction in itself" in why
    steps = browser.text("steps")
    assert "4 of 7 operations" in steps
    assert browser.js("document.querySelectorAll('#steps tbody tr').length") == 5
    assert browser.inked(92, 45, 1000, 250) > 20
    assert browser.complaints() == []


def test_the_pointer_on_an_operation_tells_what_it_is_and_why_it_is_refused(
    browser: Browser, tmp_path: Path
) -> None:
    browser.go(draw(tmp_path, models.cas_register(), STALE))
    stage = browser.js(
        "(() => { const r = document.getElementById('stage').getBoundingClientRect(); return [r.left, r.top]; })()"
    )
    tips: dict[str, str] = {}
    for row in range(4):
        for x in range(100, 1250, 60):
            browser.ask(
                "Input.dispatchMouseEvent",
                type="mouseMoved",
                x=stage[0] + x,
                y=stage[1] + 64 + 33 * row,
            )
            tip = browser.js(
                "(() => { const t = document.getElementById('tip'); return t.hidden ? '' : t.innerText; })()"
            )
            if tip:
                tips[tip.split("\n")[0] + str(row)] = tip.replace("\n", " ")
    assert "metadata to n1" in tips["write(1)0"]
    assert "step 1 of 4 state before None state after 1" in tips["write(1)0"]
    assert "call +5 ms (5) return +40 ms (40)" in tips["write(2)1"]
    assert "state there 2 next? not possible here" in tips["read() -> 12"]
    assert "nobody knows whether it took effect" in tips["cas(9, 3) -> unknown3"]
    assert "it failed" in tips["read() -> None3"]
    assert browser.complaints() == []


def test_keys_walk_the_order_and_a_click_elsewhere_lets_go(
    browser: Browser, tmp_path: Path
) -> None:
    browser.go(draw(tmp_path, models.cas_register(), STALE))
    browser.key("Home")
    assert "step: 1 of 4" in browser.text("told")
    browser.key("ArrowRight")
    assert "client 2: read() -> 1" in browser.text("told")
    assert "step: 2 of 4" in browser.text("told")
    browser.key("End")
    assert "step: 4 of 4" in browser.text("told")
    assert browser.js("location.hash") == "#op=4"
    browser.key("t")
    assert browser.js("document.getElementById('clock').getAttribute('aria-pressed')") == "true"
    assert "time=real" in browser.js("location.hash")
    browser.key("t")
    browser.press(700, 460)
    assert browser.js("location.hash") == ""
    assert "The order shown has 4 steps" in browser.text("told")
    for key in "+-0?o/":
        browser.key(key)
    assert browser.js("document.activeElement.id") == "find"
    assert browser.complaints() == []


def test_a_click_shows_the_longest_order_with_an_operation(
    browser: Browser, tmp_path: Path, lab: Any
) -> None:
    history = read_etcd_log((lab.data / "etcd/etcd_000.log").read_text())
    model = models.cas_register()
    _, info = check_verbose(history, model)
    by_call = sorted(range(len(history)), key=lambda i: history[i].call)
    longest = {
        place: max((len(order) for order in info.orders[0] if index in order), default=0)
        for place, index in enumerate(by_call)
    }
    first = len(info.witnesses[0].partials[0]) if info.witnesses[0] else 0
    other = next(place for place, length in longest.items() if 0 < length < first)
    file = draw(tmp_path, model, history)
    browser.go(file)
    assert f"{first} of 85 operations" in browser.text("steps")
    browser.go(file, f"#op={other}")
    assert f"{longest[other]} of 85 operations" in browser.text("steps")
    assert browser.js("document.querySelectorAll('#steps tr.here').length") == 1
    browser.key("Escape")
    assert f"{first} of 85 operations" in browser.text("steps")
    assert browser.complaints() == []


def test_errors_are_jumped_to_and_parts_listed_with_the_illegal_first(
    browser: Browser, tmp_path: Path, lab: Any
) -> None:
    history = read_kv_log((lab.data / "kv/c10-bad.txt").read_text())
    note = Annotation(40, "partition", 200, tag="nemesis", details="n1 | n2 n3")
    browser.go(draw(tmp_path, models.append_kv(), history, note))
    listed = browser.js("[...document.querySelectorAll('#parts li')].map(li => li.className)")
    assert listed == ["illegal"] * 8 + ["ok"] * 2
    assert "Part 1 is not linearizable" in browser.text("why")
    browser.key("n")
    assert "Part 9 is not linearizable" in browser.text("why")
    browser.key("p")
    browser.key("p")
    assert "Part 1 is not linearizable" in browser.text("why")
    browser.js("document.querySelector('#parts li.ok button').click()")
    assert "is linearizable" in browser.text("why")
    browser.key("e")
    assert "Part 1 is not linearizable" in browser.text("why")
    browser.click_on("others")
    browser.click_on("packed")
    assert browser.inked(92, 45, 900, 250) > 20
    assert browser.complaints() == []


def test_ten_thousand_operations_can_be_scrolled_found_and_seen_whole(
    browser: Browser, tmp_path: Path, lab: Any
) -> None:
    history = lab.history(random.Random(3), 10_000, spread=20, info=0.02)
    for index, operation in enumerate(history):
        operation.client_id = index % 20
    browser.go(draw(tmp_path, models.cas_register(), history))
    assert "The history is linearizable" in browser.text("why")
    wide = browser.js("document.getElementById('scroller').scrollWidth")
    assert wide > 100_000
    browser.js(f"document.getElementById('scroller').scrollLeft = {wide // 2}")
    browser.settle()
    assert browser.inked(92, 45, 1000, 250) > 20
    browser.click_on("fit")
    assert browser.js("document.getElementById('scroller').scrollWidth") < 1_300
    assert browser.inked(92, 45, 1000, 250) > 20
    value = next(o.input[1] for o in history if o.input[0] == "write" and o.input[1] > 5_000)
    browser.js(
        f"(() => {{ const f = document.getElementById('find'); f.value = 'write({value})'; "
        "f.dispatchEvent(new Event('input')); })()"
    )
    assert browser.text("found") == "1 found"
    assert browser.complaints() == []


def test_nothing_and_evil_open_too(browser: Browser, tmp_path: Path) -> None:
    browser.go(draw(tmp_path, models.register(), []))
    assert "The history is linearizable" in browser.text("why")
    evil = "</script><img src=x onerror=\"document.title='broken into'\">\u2028\ud800"
    history = [
        Operation(evil, ("append", evil, evil), 0, None, 5, metadata=evil),
        Operation(1, ("get", evil), 6, "nope", 7),
    ]
    browser.go(draw(tmp_path, models.append_kv(), history, Annotation(1, evil, tag=evil)))
    assert browser.js("document.images.length") == 0
    assert "broken into" not in browser.js("document.title")
    assert "not possible here" in browser.text("why")
    assert browser.complaints() == []
