"""Headless Chromium for tests, driven through the DevTools protocol.

async with Browser() as browser:
    page = await browser.open("http://127.0.0.1:8800/")
    await page.click("button")
    await page.wait("document.title === 'done'")
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--mute-audio",
    "--remote-debugging-port=0",
)
# Asks again and again in the page, which may not be drawn and so has no animation frames to wait for.
WAIT_SCRIPT = """new Promise((done) => {
  const end = performance.now() + TIMEOUT;
  const look = () => {
    let value;
    try { value = (CONDITION); } catch { value = null; }
    if (value || performance.now() > end) done([Boolean(value), value instanceof Node ? true : value]); else setTimeout(look, 20);
  };
  look();
})"""
FIND_SCRIPT = """(() => {
  const found = document.querySelector(SELECTOR);
  if (!found) return null;
  found.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
  const box = found.getBoundingClientRect();
  if (!box.width || !box.height) return null;
  const x = box.x + box.width / 2, y = box.y + box.height / 2;
  const top = document.elementFromPoint(x, y);
  return found.contains(top) || found.labels?.length && [...found.labels].some((label) => label.contains(top)) ? {x, y} : null;
})()"""
DRAWN_SCRIPT = """new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(done));
  setTimeout(done, 300);
})"""
FILL_SCRIPT = """(() => {
  const found = document.querySelector(SELECTOR);
  if (!found) return false;
  found.value = VALUE;
  for (const name of ["input", "change"]) found.dispatchEvent(new Event(name, {bubbles: true}));
  return true;
})()"""
START_S = 30.0
CALL_S = 20.0


class PageError(AssertionError):
    """JavaScript threw, or a condition on the page did not come true; the text says which."""


class Browser:
    """One browser with a profile of its own that is gone with it. `flags` are added to its command line."""

    def __init__(self, *flags: str) -> None:
        self._flags = flags
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    @staticmethod
    def installed() -> bool:
        """Whether there is a Chromium to drive."""
        return shutil.which("chromium") is not None

    async def __aenter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        command = ["chromium", *FLAGS, *self._flags, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(START_S):
                address = await self._address()
                self._socket: ClientConnection = await connect(address, max_size=None, compression=None, proxy=None)
        except BaseException:
            await self._end_process()
            raise
        self._reader = asyncio.create_task(self._read(), name="browser messages")
        self._drain = asyncio.create_task(self._drain_stderr(), name="browser stderr")
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ConnectionClosed, PageError, TimeoutError):  # a test may have killed it
            await self.call("Browser.close", timeout_s=3)
        await self._socket.close()
        await self._end_process()
        await asyncio.gather(self._reader, self._drain)

    async def open(self, url: str, *, width: int = 1440, height: int = 900, dark: bool = False) -> Page:
        """A new page on `url`, loaded, of that size in CSS pixels."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        self._pages[attached["sessionId"]] = page
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        await page.resize(width, height)
        await page.prefer(dark=dark)
        await page.go(url)
        return page

    async def call(self, method: str, *, session: str = "", timeout_s: float = CALL_S, **params: Any) -> dict[str, Any]:
        """One call of the DevTools protocol. Raises PageError with its refusal."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps(message))
        async with asyncio.timeout(timeout_s):
            said = await answer
        if "error" in said:
            raise PageError(f"{method}: {said['error'].get('message')}")
        return dict(said["result"])

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in self._socket:
                message = json.loads(frame)
                if "id" in message:
                    answer = self._answers.pop(message["id"], None)
                    if answer is not None and not answer.done():
                        answer.set_result(message)
                elif message.get("sessionId") in self._pages:
                    self._pages[message["sessionId"]].take(message["method"], message["params"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(PageError("the browser is gone"))
        self._answers.clear()

    async def _address(self) -> str:
        assert self._process.stderr is not None
        said = []
        while line := await self._process.stderr.readline():
            text = line.decode(errors="replace").strip()
            said.append(text)
            if text.startswith("DevTools listening on "):
                return text.removeprefix("DevTools listening on ")
        raise PageError(f"chromium did not start: {' | '.join(said[-5:])}")

    async def _drain_stderr(self) -> None:
        assert self._process.stderr is not None
        while await self._process.stderr.read(65536):
            pass

    async def _end_process(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await self._process.wait()
        with contextlib.suppress(ProcessLookupError):  # its helpers are in the same session
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._profile.cleanup()


class Page:
    """One page. `errors` are its uncaught exceptions and what it logged as an error."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.errors: list[str] = []
        self._browser = browser
        self._session = session
        self._loaded = asyncio.Event()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools call on this page."""
        return await self._browser.call(method, session=self._session, **params)

    async def go(self, url: str) -> None:
        """Loads `url`; returns after its load event."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(CALL_S):
            await self._loaded.wait()

    async def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression (promises are awaited), as JSON. Raises PageError if it throws."""
        said = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in said:
            detail = said["exceptionDetails"]
            raise PageError(detail.get("exception", {}).get("description") or detail["text"])
        return said["result"].get("value")

    async def wait(self, condition: str, timeout_s: float = 10.0) -> Any:
        """The first true value of the expression. Raises PageError when it stays false."""
        script = WAIT_SCRIPT.replace("TIMEOUT", str(timeout_s * 1000)).replace("CONDITION", condition)
        came, value = await self.evaluate(script)
        if not came:
            raise PageError(f"not within {timeout_s} s: {condition}; page errors: {self.errors}")
        return value

    async def click(self, selector: str) -> None:
        """A click of the mouse in the middle of the first match, which must be visible and not covered."""
        script = FIND_SCRIPT.replace("SELECTOR", json.dumps(selector))
        where, before = await self.wait(script), None
        async with asyncio.timeout(CALL_S):
            while where != before:  # what still moves is not hit, nor what was scrolled but not drawn yet
                await self.evaluate(DRAWN_SCRIPT)
                where, before = await self.wait(script), where
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            await self.call("Input.dispatchMouseEvent", type=kind, x=where["x"], y=where["y"], button=button, clickCount=1)

    async def fill(self, selector: str, value: str | float) -> None:
        """Puts a value into an input, slider or select, with the events a user's hand would cause."""
        await self.wait(FILL_SCRIPT.replace("SELECTOR", json.dumps(selector)).replace("VALUE", json.dumps(str(value))))

    async def resize(self, width: int, height: int, *, scale: float = 1.0, mobile: bool = False) -> None:
        """Changes the size of the page, in CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )  # fmt: skip

    async def prefer(self, *, dark: bool) -> None:
        """Sets the colour scheme that the page finds preferred."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[feature])

    async def screenshot(self, path: Path, *, full: bool = False) -> Path:
        """Writes what the page shows, or all of it, as a PNG."""
        params: dict[str, Any] = {"format": "png", "captureBeyondViewport": full}
        if full:
            await self.evaluate("scrollTo(0, 0)")
            size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
            params["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = base64.b64decode((await self.call("Page.captureScreenshot", **params))["data"])
        await asyncio.to_thread(path.write_bytes, data)
        return path

    def take(self, method: str, params: dict[str, Any]) -> None:
        """Takes in an event of this page's session."""
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            detail = params["exceptionDetails"]
            self.errors.append(detail.get("exception", {}).get("description") or detail["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())
