"""A headless Chromium that tests steer: what a page shows, and what it asks others for.

Speaks the DevTools protocol over a pipe. Names outside this machine are found nowhere.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium")
MISSING = "chromium is not installed: apt-get install --no-install-recommends chromium"
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe"),
)
READ = 1 << 20


class RefusedError(Exception):
    """What the browser does not do, for instance in a frame that is gone by now."""


class Page:
    """One page of a browser."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest = write, read, b""
        self._ids = itertools.count(1)
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for part in ("Page", "Network", "Runtime"):
            self.call(f"{part}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """The result of a method of the protocol. Raises RefusedError where there is none."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
        if "error" in answer:
            raise RefusedError(f"{method}: {answer['error']}")
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            found = os.read(self._read, READ)
            assert found, "the browser has ended"
            self._rest += found
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def open(self, path: Path, width: int, height: int = 900) -> None:
        """Show a file in a window of so many pixels, until all of it is there."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while "Page.loadEventFired" not in [event.get("method") for event in self.events]:
            self.events.append(self._next())

    def evaluate(self, expression: str, **where: Any) -> Any:
        """The value of a JavaScript expression, once it has one."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True, **where}
        answer = self.call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> Any:
        """The value of an expression that will be truthy, within ten seconds."""
        return self.evaluate(
            "new Promise((found, fail) => { const end = Date.now() + 10000; const look = () => {"
            f" const value = {expression}; if (value) found(value);"
            f" else if (Date.now() > end) fail(Error({json.dumps(expression)}));"
            " else setTimeout(look, 20); }; look(); })"
        )

    def framed(self, words: str) -> str:
        """The text of the frame inside the page, once it holds these words."""
        for _ in range(500):
            frames = self.call("Page.getFrameTree")["frameTree"].get("childFrames", [])
            try:
                text = self._text_of(frames[-1]["frame"]["id"]) if frames else ""
            except RefusedError:  # replaced by the next one
                text = ""
            if words in text:
                return text
            time.sleep(0.02)
        raise AssertionError(f"no frame holds {words!r}, but {text[:200]!r}")

    def _text_of(self, frame: str) -> str:
        world = self.call("Page.createIsolatedWorld", frameId=frame)["executionContextId"]
        return str(self.evaluate("document.body ? document.body.innerText : ''", contextId=world))

    def requested(self) -> list[str]:
        """Addresses that were asked for since the page was opened, but for what lies in it."""
        sent = (e for e in self.events if e.get("method") == "Network.requestWillBeSent")
        urls = [str(event["params"]["request"]["url"]) for event in sent]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def screenshot(self, path: Path) -> None:
        """The window as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A page of a new browser, which has a profile of its own and ends with the block."""
    assert PROGRAM, MISSING
    to_read, to_write = os.pipe(), os.pipe()
    command = [PROGRAM, *OPTIONS, f"--user-data-dir={profile}"]
    shell = f'exec "$@" 3<&{to_read[0]} 4>&{to_write[1]}'
    with subprocess.Popen(
        ["bash", "-c", shell, "bash", *command],
        pass_fds=(to_read[0], to_write[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(to_read[0])
        os.close(to_write[1])
        try:
            yield Page(to_read[1], to_write[0])
        finally:
            process.terminate()
            os.close(to_read[1])
            os.close(to_write[0])
